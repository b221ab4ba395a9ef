/* coins_order: the dirty entries of a pool in order of txid bytes, then output number: so a store can
 * write them down as they come.
 *
 * Handles are dealt out by the first bits of the txid, up to 16, into shares of a few; a share is
 * sorted when its turn comes, while its entries are in the processor's cache.
 *
 * Ownership  borrows the pool, which must not change meanwhile
 * Threads    one owner
 * Errors     ERR_NO_MEMORY: 5 bytes are needed for each dirty entry, at once
 */
#pragma once
#include "chain/coins_pool.h"

struct coins_order {
    struct mem *mem;
    const struct coins_pool *pool;
    uint32_t *handles, *ends; /* ends[i]: where share i ends among the handles */
    size_t n, next;
    uint32_t bits, share; /* the one that next is in; sorted */
};

enum err_code coins_order_init(struct coins_order *o, struct mem *mem,
                               const struct coins_pool *pool, size_t n_dirty) MUST_USE;
uint32_t coins_order_next(struct coins_order *o); /* 0 at the end */
void coins_order_clear(struct coins_order *o);

/* What init will ask for. */
size_t coins_order_len(size_t n_dirty);
