/* block_cache: the pool of 16 KiB buffers that blocks of pieces arrive in.
 *
 * Bounded by n_max; what was given back is kept for the next, so that in steady state a block
 * costs no allocation. block_cache_trim() returns what lies idle.
 *
 * Ownership  a buffer from block_cache_take belongs to the taker until block_cache_give
 * Threads    one owner; a buffer may be read elsewhere meanwhile
 * Errors     NULL when n_max buffers are out or memory is refused
 */
#pragma once
#include "base/mem.h"
#include "torrent/host.h"

struct block_cache {
    struct mem *mem;
    void *idle; /* list through the buffers' first bytes */
    size_t n_out, n_idle, n_max;
    size_t n_out_peak;
};

void block_cache_init(struct block_cache *c, struct mem *mem, size_t len_max);
void block_cache_clear(struct block_cache *c); /* all buffers are back */
uint8_t *block_cache_take(struct block_cache *c);
void block_cache_give(struct block_cache *c, uint8_t *block);
void block_cache_trim(struct block_cache *c, size_t n_idle_max);
static inline bool block_cache_is_full(const struct block_cache *c)
{
    return c->n_out >= c->n_max;
}
void block_cache_check(const struct block_cache *c);
