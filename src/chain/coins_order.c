#include "chain/coins_order.h"
#include <assert.h>

#define BITS_MAX  16u
#define SHARE_LEN 16u /* entries in a share, until there are 2^16 of them */

static uint32_t bits_for(size_t n_dirty)
{
    uint32_t bits = 0;
    while (bits < BITS_MAX && n_dirty >> bits > SHARE_LEN)
        bits++;
    return bits;
}

size_t coins_order_len(size_t n_dirty)
{
    return (n_dirty + ((size_t)1 << bits_for(n_dirty))) * sizeof(uint32_t);
}

static uint32_t share_of(const struct coins_order *o, uint32_t handle)
{
    const uint8_t *txid = coins_pool_at(o->pool, handle)->at.txid.b;
    return ((uint32_t)txid[0] << 8 | txid[1]) >> (BITS_MAX - o->bits);
}

/* Counts, then places: ends[] moves from the beginning of each share to its end. */
static void deal(struct coins_order *o)
{
    struct coins_walk w = {.pool = o->pool, .is_dirty_only = true};
    for (uint32_t handle; (handle = coins_walk_next(&w)); o->n++)
        o->ends[share_of(o, handle)]++;
    uint32_t begin = 0;
    for (uint32_t i = 0; i < UINT32_C(1) << o->bits; i++) {
        uint32_t n = o->ends[i];
        o->ends[i] = begin;
        begin += n;
    }
    w = (struct coins_walk){.pool = o->pool, .is_dirty_only = true};
    for (uint32_t handle; (handle = coins_walk_next(&w));)
        o->handles[o->ends[share_of(o, handle)]++] = handle;
}

static int compare(const void *a, const void *b, void *pool)
{
    const struct outpoint *x = &coins_pool_at(pool, *(const uint32_t *)a)->at;
    const struct outpoint *y = &coins_pool_at(pool, *(const uint32_t *)b)->at;
    int order = memcmp(&x->txid, &y->txid, sizeof x->txid);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static void sort_share(struct coins_order *o, size_t begin, size_t end)
{
    if (end - begin > 1)
        qsort_r(o->handles + begin, end - begin, sizeof *o->handles, compare,
                (void *)(uintptr_t)o->pool);
}

enum err_code coins_order_init(struct coins_order *o, struct mem *mem,
                               const struct coins_pool *pool, size_t n_dirty)
{
    *o = (struct coins_order){.mem = mem, .pool = pool, .bits = bits_for(n_dirty)};
    o->handles = mem_calloc(mem, n_dirty, sizeof *o->handles);
    o->ends = mem_calloc(mem, (size_t)1 << o->bits, sizeof *o->ends);
    if (!o->handles || !o->ends) {
        coins_order_clear(o);
        return ERR_NO_MEMORY;
    }
    deal(o);
    assert(o->n == n_dirty);
    sort_share(o, 0, o->ends[0]);
    return ERR_OK;
}

uint32_t coins_order_next(struct coins_order *o)
{
    if (o->next == o->n)
        return 0;
    while (o->next == o->ends[o->share]) {
        size_t begin = o->ends[o->share++];
        sort_share(o, begin, o->ends[o->share]);
    }
    return o->handles[o->next++];
}

void coins_order_clear(struct coins_order *o)
{
    mem_free(o->mem, o->handles);
    mem_free(o->mem, o->ends);
    *o = (struct coins_order){0};
}
