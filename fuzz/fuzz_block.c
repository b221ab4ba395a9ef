/* block: anything is read or refused within memory in proportion; what is read adds up, and the
 * rules give a verdict. A block whose merkle root is put right is judged by what comes after. */
#include "chain/block.h"
#include <assert.h>

#define ARENA_LIMIT (256u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void set_root(struct block *b, struct arena *a)
{
    struct hash256 *ids = arena_alloc(a, b->n_txs * sizeof *ids);
    assert(ids);
    for (uint32_t i = 0; i < b->n_txs; i++)
        ids[i] = b->txs[i].txid;
    block_merkle_root(ids, b->n_txs, &b->header.merkle_root, NULL);
}

static void judge(struct block *b, struct arena *a)
{
    static const uint32_t heights[] = {0, 1, 16, 17, 500000};
    struct reject r;
    const struct chain_params *p = chain_params_find("regtest");
    enum verdict v = block_check(b, a, &r);
    assert(v == VERDICT_VALID || r.reason);
    set_root(b, a);
    v = block_check(b, a, &r);
    assert(v != VERDICT_INVALID || strcmp(r.reason, "bad-txnmrklroot") != 0);
    if (block_check_mutation(b, true, a, &r) == VERDICT_INVALID)
        assert(r.is_mutated);
    if (v != VERDICT_VALID)
        return;
    for (size_t i = 0; i < sizeof heights / sizeof *heights; i++) {
        v = block_check_context(b, p, heights[i], 600000000, a, &r);
        assert(v == VERDICT_VALID || r.reason);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct arena a;
    struct block b;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, ARENA_LIMIT);
    if (block_read(bytes_of(data, len), &a, &b, &err) == ERR_OK) {
        size_t raw_len = BLOCK_HEADER_LEN + compact_size_len(b.n_txs), stripped_len = raw_len;
        for (uint32_t i = 0; i < b.n_txs; i++) {
            raw_len += b.txs[i].raw.len;
            stripped_len += b.txs[i].stripped_len;
        }
        assert(raw_len == len && stripped_len == b.stripped_len);
        assert(block_weight(&b) == 3 * stripped_len + raw_len);
        judge(&b, &a);
    } else {
        assert(err.code != ERR_OK && err.what);
    }
    assert(mem.peak_len <= 64 * len + 65536);
    arena_clear(&a);
    mem_check_empty(&mem);
    return 0;
}
