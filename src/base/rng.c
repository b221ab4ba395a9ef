#include "base/rng.h"
#include <assert.h>

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void rng_init(struct rng *r, uint64_t rng_seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&rng_seed);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

/* Lemire, "Fast random integer generation in an interval" (2019). */
uint32_t rng_below(struct rng *r, uint32_t n)
{
    assert(n > 0);
    uint64_t wide = (rng_u64(r) >> 32) * n;
    if ((uint32_t)wide < n) {
        uint32_t uneven = (uint32_t)-n % n;
        while ((uint32_t)wide < uneven)
            wide = (rng_u64(r) >> 32) * n;
    }
    return (uint32_t)(wide >> 32);
}

uint64_t rng_below64(struct rng *r, uint64_t n)
{
    assert(n > 0);
    uint64_t uneven = (uint64_t)-n % n, v; /* values below it would make some results likelier */
    do {
        v = rng_u64(r);
    } while (v < uneven);
    return v % n;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

void rng_fill(struct rng *r, void *out, size_t len)
{
    uint8_t *p = out;
    for (size_t i = 0; i < len;) {
        uint64_t v = rng_u64(r);
        for (size_t j = 0; j < 8 && i < len; j++, v >>= 8)
            p[i++] = (uint8_t)v;
    }
}

struct map_seed rng_map_seed(struct rng *r)
{
    struct map_seed seed;
    seed.k0 = rng_u64(r);
    seed.k1 = rng_u64(r);
    return seed;
}

void rng_shuffle_u32(struct rng *r, uint32_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below64(r, i);
        uint32_t kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}
