/* tx: what is read is written the same again, its parts lie inside the input, and its hashes are
 * those of its bytes; the rules without context hold on anything. First byte: with witness or not.
 */
#include "chain/tx.h"
#include "crypto/sha256d.h"
#include <assert.h>

#define ARENA_LIMIT (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_witness(const struct tx_in *in)
{
    struct bytes rest = in->witness, item;
    uint32_t n = 0;
    while (witness_next(&rest, &item))
        n++;
    assert(n == in->n_witness);
}

static void check_tx(struct tx *t, struct arena *a)
{
    uint8_t *stripped = arena_alloc(a, t->stripped_len), digest[SHA256_LEN];
    struct writer w = writer_init(stripped, t->stripped_len);
    assert(stripped && t->stripped_len <= t->raw.len && t->stripped_len >= 10);
    tx_write_stripped(&w, t);
    assert(writer_ok(&w) && w.pos == t->stripped_len);
    tx_hash(t);
    sha256d(writer_bytes(&w), digest);
    assert(memcmp(digest, t->txid.b, sizeof digest) == 0);
    sha256d(t->raw, digest);
    assert(memcmp(digest, t->wtxid.b, sizeof digest) == 0);
    assert(t->has_witness || hash256_equal(&t->txid, &t->wtxid));
    assert(tx_vsize(t) * 4 >= tx_weight(t) && tx_vsize(t) * 4 < tx_weight(t) + 4);
    for (uint32_t i = 0; i < t->n_in; i++)
        check_witness(&t->in[i]);
}

/* The stripped form reads as the same transaction without its witness. */
static void check_again(const struct tx *t, struct arena *a)
{
    uint8_t *stripped = arena_alloc(a, t->stripped_len);
    struct writer w = writer_init(stripped, t->stripped_len);
    struct tx again;
    tx_write_stripped(&w, t);
    struct reader r = reader_init(writer_bytes(&w));
    enum err_code code = tx_read(&r, a, false, &again);
    assert(code == ERR_OK && reader_left(&r) == 0);
    tx_hash(&again);
    assert(hash256_equal(&again.txid, &t->txid) && again.n_in == t->n_in &&
           again.n_out == t->n_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct arena a;
    struct tx t;
    if (len == 0)
        return 0;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, ARENA_LIMIT);
    struct reader r = reader_init(bytes_of(data + 1, len - 1));
    if (tx_read(&r, &a, data[0] & 1, &t) == ERR_OK) {
        assert(t.raw.data == data + 1 && t.raw.len <= len - 1);
        check_tx(&t, &a);
        check_again(&t, &a);
        (void)tx_check(&t, &a);
    }
    assert(mem.peak_len <= 16 * len + 65536); /* a promise asks for no memory */
    arena_clear(&a);
    mem_check_empty(&mem);
    return 0;
}
