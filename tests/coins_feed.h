/* coins_feed: fills a store of coins, for coins_store.write: coins that follow from their number.
 */
#pragma once
#include "chain/coins_store.h"

struct coins_feed {
    uint32_t n;
    struct outpoint (*outpoint)(uint32_t i);
    struct coin (*coin)(uint32_t i);
    uint32_t step; /* in which order: every step-th, round and round. No factor of n; 0: 1 */
    uint32_t i;    /* so many were given */
};

/* The `next` of a write, with a struct coins_feed as its ctx. */
static inline bool coins_feed_next(void *ctx, struct coins_change *out)
{
    struct coins_feed *f = ctx;
    if (f->i == f->n)
        return false;
    uint32_t i = f->i++ * (f->step ? f->step : 1) % f->n;
    *out = (struct coins_change){.at = f->outpoint(i), .coin = f->coin(i)};
    return true;
}
