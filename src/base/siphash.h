/* siphash: SipHash (Aumasson and Bernstein, 2012), a hash of 64 bits under a key of 128 that whoever
 * does not know the key cannot steer: SipHash-2-4 (short ids of BIP 152, filters of BIP 158) and
 * SipHash-1-3-UJ in full, and the steps that all its kinds are made of, for map.c's SipHash-1-3.
 *
 * Threads    plain values
 */
#pragma once
#include "base/bytes.h"
#include <string.h>

struct siphash {
    uint64_t v[4];
    uint64_t len;  /* bytes so far */
    uint64_t tail; /* the last len % 8 of them */
};

/* SipHash-2-4, in pieces. siphash_24_end leaves s as it is. */
void siphash_24_init(struct siphash *s, uint64_t k0, uint64_t k1);
void siphash_24_add(struct siphash *s, struct bytes b);
uint64_t siphash_24_end(const struct siphash *s);
/* At once. */
uint64_t siphash_24(uint64_t k0, uint64_t k1, struct bytes b);

/* SipHash-1-3-UJ, Bitcoin Core's own kind for tables keyed by hashes (src/crypto/siphash.h): words
 * of 8 bytes and "jumbo" blocks of 32, in any order; no padding, another constant at the end. Most
 * of what goes into jumbo blocks has to be the output of a cryptographic hash. */
struct siphash_13uj {
    uint64_t v[4];
};
void siphash_13uj_init(struct siphash_13uj *s, uint64_t k0, uint64_t k1);
void siphash_13uj_word(struct siphash_13uj *s, uint64_t word);
void siphash_13uj_jumbo(struct siphash_13uj *s, const uint8_t block[32]);
uint64_t siphash_13uj_end(const struct siphash_13uj *s);

/* --- steps ----------------------------------------------------------------------------------- */

static inline uint64_t siphash_rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void siphash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = siphash_rotl(v[1], 13) ^ v[0];
    v[3] = siphash_rotl(v[3], 16) ^ v[2];
    v[0] = siphash_rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = siphash_rotl(v[1], 17) ^ v[2];
    v[3] = siphash_rotl(v[3], 21) ^ v[0];
    v[2] = siphash_rotl(v[2], 32);
}

static inline void siphash_start(uint64_t v[4], uint64_t k0, uint64_t k1)
{
    v[0] = k0 ^ 0x736f6d6570736575;
    v[1] = k1 ^ 0x646f72616e646f6d;
    v[2] = k0 ^ 0x6c7967656e657261;
    v[3] = k1 ^ 0x7465646279746573;
}

static inline void siphash_word(uint64_t v[4], uint64_t word, int n_rounds)
{
    v[3] ^= word;
    for (int i = 0; i < n_rounds; i++)
        siphash_round(v);
    v[0] ^= word;
}

static inline uint64_t siphash_end(uint64_t v[4], uint64_t mark, int n_rounds)
{
    v[2] ^= mark;
    for (int i = 0; i < n_rounds; i++)
        siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* n bytes, at most 8, least significant first. */
static inline uint64_t siphash_load_part(const uint8_t *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

static inline uint64_t siphash_load(const uint8_t *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
#else
    return siphash_load_part(p, 8);
#endif
}
