/* Undo data from a disk that may hold anything: what is accepted comes back the same when written
 * and read again. */
#include "chain/undo.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_same(const struct undo_block *a, const struct undo_block *b)
{
    assert(a->n_txs == b->n_txs);
    for (uint32_t i = 0; i < a->n_txs; i++) {
        assert(a->txs[i].n_spent == b->txs[i].n_spent);
        for (uint32_t k = 0; k < a->txs[i].n_spent; k++) {
            const struct coin *x = &a->txs[i].spent[k], *y = &b->txs[i].spent[k];
            assert(x->value_sat == y->value_sat && x->value_sat >= 0);
            assert(x->height == y->height && x->is_coinbase == y->is_coinbase);
            assert(bytes_equal(x->script, y->script));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct arena a;
    struct undo_block u, again;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 64u << 20);
    if (!undo_read(bytes_of(data, len), &a, &u, NULL)) {
        size_t out_len = undo_len(&u);
        uint8_t *out = malloc(out_len + 1);
        struct writer w = writer_init(out, out_len);
        undo_write(&w, &u);
        assert(writer_end(&w) == ERR_OK);
        assert(!undo_read(writer_bytes(&w), &a, &again, NULL));
        check_same(&u, &again);
        free(out);
    }
    arena_clear(&a);
    mem_check_empty(&mem);
    return 0;
}
