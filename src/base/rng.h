/* rng: seedable generator (xoshiro256**, Blackman and Vigna, 2018; seeded through SplitMix64).
 * For decisions and test worlds, never for secrets (those come from crypto/random).
 *
 * Threads    one owner
 */
#pragma once
#include "base/map.h"
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t rng_seed);
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* 0 .. n-1 without bias; n > 0 */
uint64_t rng_below64(struct rng *r, uint64_t n);
double rng_unit(struct rng *r); /* [0, 1) */
void rng_fill(struct rng *r, void *out, size_t len);
struct map_seed rng_map_seed(struct rng *r);
void rng_shuffle_u32(struct rng *r, uint32_t *items, size_t n);
