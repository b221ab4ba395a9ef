#include "crypto/muhash.h"
#include "crypto/sha.h"
#include <assert.h>
#include <openssl/bn.h>

#define PRIME_DIFF    UINT64_C(1103717) /* 2^3072 minus the prime */
#define ROWS_LIMBS    12u /* measured: below, halving a product costs more than it saves */
#define SCRATCH_LIMBS (4u * MUHASH_LIMBS)

/* --- ChaCha20 (RFC 8439, 2.3) with counter and nonce from zero: six blocks side by side -------- */

#define LANES    8u
#define N_BLOCKS 6u

static_assert(N_BLOCKS * 64 == MUHASH_LEN, "a number is whole blocks");

__extension__ typedef unsigned __int128 wide; /* a limb times a limb */
typedef uint32_t lanes_u32 __attribute__((vector_size(4 * LANES)));

#define ROTL(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define QUARTER(a, b, c, d)                                                                        \
    do {                                                                                           \
        (a) += (b), (d) ^= (a), (d) = ROTL(d, 16);                                                 \
        (c) += (d), (b) ^= (c), (b) = ROTL(b, 12);                                                 \
        (a) += (b), (d) ^= (a), (d) = ROTL(d, 8);                                                  \
        (c) += (d), (b) ^= (c), (b) = ROTL(b, 7);                                                  \
    } while (0)

static void double_round(lanes_u32 v[16])
{
    for (unsigned i = 0; i < 4; i++)
        QUARTER(v[i], v[4 + i], v[8 + i], v[12 + i]);
    for (unsigned i = 0; i < 4; i++)
        QUARTER(v[i], v[4 + (i + 1) % 4], v[8 + (i + 2) % 4], v[12 + (i + 3) % 4]);
}

static uint32_t load_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void keystream(const uint8_t key[32], struct muhash_number *out)
{
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    lanes_u32 start[16] = {{0}}, v[16];
    for (unsigned i = 0; i < 4; i++)
        start[i] += constants[i];
    for (unsigned i = 0; i < 8; i++)
        start[4 + i] += load_u32le(key + 4 * i);
    start[12] = (lanes_u32){0, 1, 2, 3, 4, 5, 6, 7};
    memcpy(v, start, sizeof v);
    for (unsigned i = 0; i < 10; i++)
        double_round(v);
    for (unsigned i = 0; i < 16; i++)
        v[i] += start[i];
    for (unsigned block = 0; block < N_BLOCKS; block++)
        for (unsigned i = 0; i < 8; i++)
            out->limb[block * 8 + i] = (uint64_t)v[2 * i][block] | (uint64_t)v[2 * i + 1][block]
                                                                       << 32;
}

/* --- numbers modulo the prime ---------------------------------------------------------------- */

/* out[0 .. 2n) = a * b, row by row. */
static void mul_rows(uint64_t *out, const uint64_t *a, const uint64_t *b, unsigned n)
{
    memset(out, 0, n * sizeof *out);
    for (unsigned i = 0; i < n; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < n; j++) {
            wide t = (wide)a[i] * b[j] + out[i + j] + carry;
            out[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        out[i + n] = carry;
    }
}

static uint64_t add_limbs(uint64_t *to, const uint64_t *from, unsigned n)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i < n; i++) {
        wide t = (wide)to[i] + from[i] + carry;
        to[i] = (uint64_t)t;
        carry = (uint64_t)(t >> 64);
    }
    return carry;
}

static uint64_t sub_limbs(uint64_t *out, const uint64_t *a, const uint64_t *b, unsigned n)
{
    uint64_t borrow = 0;
    for (unsigned i = 0; i < n; i++) {
        wide t = (wide)a[i] - b[i] - borrow;
        out[i] = (uint64_t)t;
        borrow = (uint64_t)(t >> 64) & 1;
    }
    return borrow;
}

/* out = |a - b|; whether a < b. */
static bool distance(uint64_t *out, const uint64_t *a, const uint64_t *b, unsigned n)
{
    bool is_below = false;
    for (unsigned i = n; i-- > 0;)
        if (a[i] != b[i]) {
            is_below = a[i] < b[i];
            break;
        }
    sub_limbs(out, is_below ? b : a, is_below ? a : b, n);
    return is_below;
}

static void propagate(uint64_t *to, uint64_t carry, unsigned n)
{
    for (unsigned i = 0; carry && i < n; i++) {
        to[i] += carry;
        carry = to[i] < carry;
    }
}

/* Karatsuba: with halves, a * b = hi * 2^2h + (hi + lo - (a1 - a0)(b1 - b0)) * 2^h + lo. scratch:
 * 4n limbs. */
static void mul_halves(uint64_t *out, const uint64_t *a, const uint64_t *b, unsigned n,
                       uint64_t *scratch)
{
    if (n <= ROWS_LIMBS) {
        mul_rows(out, a, b, n);
        return;
    }
    unsigned h = n / 2;
    uint64_t *mid = scratch, *product = scratch + n, *rest = scratch + 2 * n;
    bool is_negative = distance(out, a + h, a, h);
    is_negative ^= distance(out + h, b + h, b, h);
    mul_halves(product, out, out + h, h, rest);
    mul_halves(out, a, b, h, rest);
    mul_halves(out + n, a + h, b + h, h, rest);
    memcpy(mid, out, n * sizeof *mid);
    uint64_t carry = add_limbs(mid, out + n, n);
    if (is_negative)
        carry += add_limbs(mid, product, n);
    else
        carry -= sub_limbs(mid, mid, product, n);
    carry += add_limbs(out + h, mid, n);
    propagate(out + h + n, carry, h);
}

static bool is_above_prime(const struct muhash_number *x)
{
    for (unsigned i = MUHASH_LIMBS; i-- > 1;)
        if (x->limb[i] != UINT64_MAX)
            return false;
    return x->limb[0] >= 0 - PRIME_DIFF;
}

/* x += c * PRIME_DIFF; what goes above 2^3072. c is small. */
static uint64_t add_small(struct muhash_number *x, uint64_t c)
{
    wide t = (wide)c * PRIME_DIFF;
    for (unsigned i = 0; t && i < MUHASH_LIMBS; i++) {
        t += x->limb[i];
        x->limb[i] = (uint64_t)t;
        t >>= 64;
    }
    return (uint64_t)t;
}

static void number_reduce(struct muhash_number *x, uint64_t carry)
{
    while (carry)
        carry = add_small(x, carry);
    if (is_above_prime(x))
        add_small(x, 1); /* the carry out of it is the 2^3072 that goes */
}

/* 2^3072 is PRIME_DIFF: the upper half comes down multiplied by it. */
static void number_mul(struct muhash_number *x, const struct muhash_number *y)
{
    uint64_t out[2 * MUHASH_LIMBS], scratch[SCRATCH_LIMBS], carry = 0;
    mul_halves(out, x->limb, y->limb, MUHASH_LIMBS, scratch);
    for (unsigned i = 0; i < MUHASH_LIMBS; i++) {
        wide t = (wide)out[MUHASH_LIMBS + i] * PRIME_DIFF + out[i] + carry;
        x->limb[i] = (uint64_t)t;
        carry = (uint64_t)(t >> 64);
    }
    number_reduce(x, carry);
}

static void number_of(struct muhash_number *out, struct bytes member)
{
    uint8_t key[32];
    sha256(member, key);
    keystream(key, out);
}

/* --- sets ------------------------------------------------------------------------------------ */

void muhash_init(struct muhash *m)
{
    *m = (struct muhash){.numerator.limb[0] = 1, .denominator.limb[0] = 1};
}

void muhash_add(struct muhash *m, struct bytes member)
{
    struct muhash_number x;
    number_of(&x, member);
    number_mul(&m->numerator, &x);
}

void muhash_remove(struct muhash *m, struct bytes member)
{
    struct muhash_number x;
    number_of(&x, member);
    number_mul(&m->denominator, &x);
}

void muhash_join(struct muhash *m, const struct muhash *other)
{
    number_mul(&m->numerator, &other->numerator);
    number_mul(&m->denominator, &other->denominator);
}

static void number_write(const struct muhash_number *x, uint8_t out[MUHASH_LEN])
{
    struct writer w = writer_init(out, MUHASH_LEN);
    for (unsigned i = 0; i < MUHASH_LIMBS; i++)
        writer_u64le(&w, x->limb[i]);
}

static void number_read(struct muhash_number *x, const uint8_t in[MUHASH_LEN])
{
    struct reader r = reader_init(bytes_of(in, MUHASH_LEN));
    for (unsigned i = 0; i < MUHASH_LIMBS; i++)
        x->limb[i] = reader_u64le(&r);
    number_reduce(x, 0);
}

void muhash_write(const struct muhash *m, uint8_t out[2 * MUHASH_LEN])
{
    number_write(&m->numerator, out);
    number_write(&m->denominator, out + MUHASH_LEN);
}

void muhash_read(struct muhash *m, const uint8_t in[2 * MUHASH_LEN])
{
    number_read(&m->numerator, in);
    number_read(&m->denominator, in + MUHASH_LEN);
}

/* Once per set: libcrypto's inverse does. False when there is no memory. */
static bool number_invert(struct muhash_number *x)
{
    uint8_t raw[MUHASH_LEN];
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *value = BN_new(), *prime = BN_new();
    number_write(x, raw);
    bool is_done = ctx && value && prime && BN_set_bit(prime, 3072) &&
                   BN_sub_word(prime, PRIME_DIFF) && BN_lebin2bn(raw, MUHASH_LEN, value) &&
                   BN_mod_inverse(value, value, prime, ctx) &&
                   BN_bn2lebinpad(value, raw, MUHASH_LEN) == (int)MUHASH_LEN;
    BN_free(prime);
    BN_free(value);
    BN_CTX_free(ctx);
    if (is_done)
        number_read(x, raw);
    return is_done;
}

bool muhash_final(const struct muhash *m, uint8_t out[32])
{
    struct muhash_number x = m->denominator;
    uint8_t raw[MUHASH_LEN];
    if (!number_invert(&x))
        return false;
    number_mul(&x, &m->numerator);
    number_write(&x, raw);
    sha256(bytes_of(raw, sizeof raw), out);
    return true;
}
