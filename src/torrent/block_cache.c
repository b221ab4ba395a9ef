#include "torrent/block_cache.h"
#include <assert.h>

#define BLOCK_CACHE_N_MIN 16u /* ours: less could not hold one request per peer of a small swarm */

struct idle_block {
    struct idle_block *next;
};

void block_cache_init(struct block_cache *c, struct mem *mem, size_t len_max)
{
    size_t n = len_max / BLOCK_LEN;
    *c = (struct block_cache){.mem = mem, .n_max = n < BLOCK_CACHE_N_MIN ? BLOCK_CACHE_N_MIN : n};
}

void block_cache_clear(struct block_cache *c)
{
    assert(c->n_out == 0);
    block_cache_trim(c, 0);
}

uint8_t *block_cache_take(struct block_cache *c)
{
    if (c->n_out >= c->n_max)
        return NULL;
    struct idle_block *b = c->idle;
    if (b) {
        c->idle = b->next;
        c->n_idle--;
    } else if (!(b = mem_alloc(c->mem, BLOCK_LEN))) {
        return NULL;
    }
    c->n_out++;
    if (c->n_out > c->n_out_peak)
        c->n_out_peak = c->n_out;
    return (uint8_t *)b;
}

void block_cache_give(struct block_cache *c, uint8_t *block)
{
    assert(c->n_out > 0);
    struct idle_block *b = (void *)block;
    b->next = c->idle;
    c->idle = b;
    c->n_idle++;
    c->n_out--;
}

void block_cache_trim(struct block_cache *c, size_t n_idle_max)
{
    while (c->n_idle > n_idle_max) {
        struct idle_block *b = c->idle;
        c->idle = b->next;
        c->n_idle--;
        mem_free(c->mem, b);
    }
}

void block_cache_check(const struct block_cache *c)
{
    size_t n = 0;
    for (const struct idle_block *b = c->idle; b; b = b->next)
        n++;
    assert(n == c->n_idle && c->n_out <= c->n_max && c->n_out_peak >= c->n_out);
}
