/* Coins in their short form: what can be read comes out the same when written and read again. */
#include "chain/coin.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_again(const struct coin *c, struct arena *a)
{
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    size_t cap = coin_len_max(c);
    uint8_t *out = mem_alloc(&mem, cap);
    if (!out)
        return;
    struct writer w = writer_init(out, cap);
    coin_write(&w, c);
    assert(writer_end(&w) == ERR_OK);
    struct coin again;
    struct reader r = reader_init(writer_bytes(&w));
    enum err_code code = coin_read(&r, a, &again);
    assert(code == ERR_OK && reader_end(&r) == ERR_OK);
    assert(again.value_sat == c->value_sat && again.height == c->height &&
           again.is_coinbase == c->is_coinbase && bytes_equal(again.script, c->script));
    (void)code;
    mem_free(&mem, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct arena a;
    struct coin c;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, SIZE_MAX);
    struct reader r = reader_init(bytes_of(data, len));
    while (reader_left(&r) && coin_read(&r, &a, &c) == ERR_OK) {
        assert(c.value_sat >= 0 && c.value_sat <= MONEY_SATS_MAX && c.height < UINT32_C(1) << 31);
        assert(c.script.len <= COIN_SCRIPT_LEN_MAX);
        check_again(&c, &a);
    }
    r = reader_init(bytes_of(data, len));
    while (reader_left(&r)) {
        uint64_t v = reader_varint(&r);
        assert(!reader_ok(&r) || varint_len(v) <= 10);
        uint32_t x = (uint32_t)v; /* no amount that wraps */
        assert(amount_compress(amount_decompress(x)) == x);
    }
    arena_clear(&a);
    mem_check_empty(&mem);
    return 0;
}
