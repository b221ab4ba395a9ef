/* merkle_block: whatever is proven lies in the block that the sender describes, in order, each once,
 * and is one of the hashes that came; the answer is the same again. */
#include "chain/merkle_block.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_matches(const struct merkle_block *m, const struct merkle_match *matches,
                          uint32_t n)
{
    assert(n <= m->n_hashes && n <= m->n_txs);
    for (uint32_t i = 0; i < n; i++) {
        bool is_known = false;
        assert(matches[i].index < m->n_txs);
        assert(i == 0 || matches[i].index > matches[i - 1].index);
        for (uint32_t k = 0; k < m->n_hashes && !is_known; k++)
            is_known = __builtin_memcmp(m->hashes.data + 32 * k, matches[i].txid.b, 32) == 0;
        assert(is_known);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_init(bytes_of(data, len));
    struct merkle_block m;
    struct mem mem;
    struct arena arena;
    struct merkle_match *matches;
    struct err err = {0}, again = {0};
    uint32_t n, n_again;
    if (merkle_block_read(&r, &m) != ERR_OK)
        return 0;
    assert(m.hashes.len == 32 * (size_t)m.n_hashes);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, 8 << 20);
    enum err_code e = merkle_block_verify(&m, &arena, &matches, &n, &err);
    assert(e == ERR_OK ? !err.what : n == 0 && !matches && err.what);
    if (e == ERR_OK)
        check_matches(&m, matches, n);
    enum err_code e_again = merkle_block_verify(&m, &arena, &matches, &n_again, &again);
    assert(e_again == e && n_again == n);
    (void)e_again;
    arena_clear(&arena);
    mem_check_empty(&mem);
    return 0;
}
