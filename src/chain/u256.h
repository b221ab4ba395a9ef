/* u256: 256-bit unsigned numbers for targets and work, and their compact form ("nBits").
 *
 * Threads    plain values
 * Source     Bitcoin Core src/arith_uint256.h for the compact form's corner cases
 */
#pragma once
#include "chain/primitives.h"

struct u256 {
    uint64_t w[4]; /* least significant first */
};

struct u256 u256_of(uint64_t v);
struct u256 u256_of_hash(const struct hash256 *h);   /* little endian, as proof of work compares */
bool u256_of_hex(struct u256 *out, const char *hex); /* most significant digit first */
char *u256_hex(const struct u256 *a, char out[65]);  /* 64 digits */
int u256_compare(const struct u256 *a, const struct u256 *b);
bool u256_is_zero(const struct u256 *a);
struct u256 u256_add(const struct u256 *a, const struct u256 *b); /* modulo 2^256 */
struct u256 u256_sub(const struct u256 *a, const struct u256 *b);
struct u256 u256_mul_u32(const struct u256 *a, uint32_t b);
struct u256 u256_div(const struct u256 *a, const struct u256 *b); /* b not zero; rounds down */
struct u256 u256_shl(const struct u256 *a, unsigned n_bits);
struct u256 u256_shr(const struct u256 *a, unsigned n_bits);
unsigned u256_bits(const struct u256 *a);
double u256_double(const struct u256 *a);

/* Compact form to target; the flags (may be NULL) say negative or beyond 256 bits. */
struct u256 u256_of_compact(uint32_t bits, bool *out_is_negative, bool *out_is_overflow);
uint32_t u256_compact(const struct u256 *a);
/* Work of a block with this target: 2^256 / (target + 1). */
struct u256 u256_work(uint32_t bits);
