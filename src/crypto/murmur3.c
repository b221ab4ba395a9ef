#include "crypto/murmur3.h"

static uint32_t rotl(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static uint32_t scramble(uint32_t word)
{
    return rotl(word * 0xcc9e2d51u, 15) * 0x1b873593u;
}

/* At most four bytes, least significant first. */
static uint32_t load(const uint8_t *p, size_t n)
{
    uint32_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint32_t)p[i] << (8 * i);
    return word;
}

uint32_t murmur3(uint32_t seed, struct bytes in)
{
    uint32_t h = seed;
    size_t i = 0;
    for (; in.len - i >= 4; i += 4)
        h = rotl(h ^ scramble(load(in.data + i, 4)), 13) * 5 + 0xe6546b64u;
    h ^= scramble(load(in.data + i, in.len - i)); /* no bytes: nothing changes */
    h ^= (uint32_t)in.len;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}
