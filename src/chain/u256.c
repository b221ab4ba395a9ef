#include "chain/u256.h"
#include "base/hex.h"
#include <math.h>

#define N_WORDS   4u
#define WORD_BITS 64u

__extension__ typedef unsigned __int128 u128; /* a scalar of the compiler's, for carries */

struct u256 u256_of(uint64_t v)
{
    return (struct u256){{v}};
}

struct u256 u256_of_hash(const struct hash256 *h)
{
    struct u256 r = {{0}};
    for (size_t i = 0; i < sizeof h->b; i++)
        r.w[i / 8] |= (uint64_t)h->b[i] << (i % 8 * 8);
    return r;
}

bool u256_of_hex(struct u256 *out, const char *hex)
{
    struct u256 r = {{0}};
    size_t n = strlen(hex);
    if (n == 0 || n > 64)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, hex[i] | 0x20);
        if (!at || !*at)
            return false;
        size_t from_right = n - 1 - i;
        r.w[from_right / 16] |= (uint64_t)(at - digits) << (from_right % 16 * 4);
    }
    *out = r;
    return true;
}

char *u256_hex(const struct u256 *a, char out[65])
{
    uint8_t be[32];
    for (size_t i = 0; i < sizeof be; i++)
        be[i] = (uint8_t)(a->w[(31 - i) / 8] >> ((31 - i) % 8 * 8));
    return hex_encode(bytes_of(be, sizeof be), out, 65);
}

int u256_compare(const struct u256 *a, const struct u256 *b)
{
    for (size_t i = N_WORDS; i-- > 0;)
        if (a->w[i] != b->w[i])
            return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

bool u256_is_zero(const struct u256 *a)
{
    return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}

struct u256 u256_add(const struct u256 *a, const struct u256 *b)
{
    struct u256 r;
    u128 carry = 0;
    for (size_t i = 0; i < N_WORDS; i++) {
        carry += (u128)a->w[i] + b->w[i];
        r.w[i] = (uint64_t)carry;
        carry >>= WORD_BITS;
    }
    return r;
}

struct u256 u256_sub(const struct u256 *a, const struct u256 *b)
{
    struct u256 r;
    uint64_t borrow = 0;
    for (size_t i = 0; i < N_WORDS; i++) {
        u128 d = (u128)a->w[i] - b->w[i] - borrow;
        r.w[i] = (uint64_t)d;
        borrow = (uint64_t)(d >> WORD_BITS) & 1;
    }
    return r;
}

struct u256 u256_mul_u32(const struct u256 *a, uint32_t b)
{
    struct u256 r;
    u128 carry = 0;
    for (size_t i = 0; i < N_WORDS; i++) {
        carry += (u128)a->w[i] * b;
        r.w[i] = (uint64_t)carry;
        carry >>= WORD_BITS;
    }
    return r;
}

/* Divisor of one word: the common case of a retarget. */
static struct u256 div_by_word(const struct u256 *a, uint64_t b)
{
    struct u256 r;
    u128 rest = 0;
    for (size_t i = N_WORDS; i-- > 0;) {
        rest = rest << WORD_BITS | a->w[i];
        r.w[i] = (uint64_t)(rest / b);
        rest %= b;
    }
    return r;
}

/* Shift and subtract: at most 256 steps, and only as many as the quotient has bits. */
struct u256 u256_div(const struct u256 *a, const struct u256 *b)
{
    struct u256 quotient = {{0}}, rest = *a;
    unsigned n_a = u256_bits(a), n_b = u256_bits(b);
    if (n_b <= WORD_BITS)
        return div_by_word(a, b->w[0]);
    if (n_a < n_b)
        return quotient;
    struct u256 d = u256_shl(b, n_a - n_b);
    for (unsigned i = n_a - n_b + 1; i-- > 0; d = u256_shr(&d, 1)) {
        if (u256_compare(&rest, &d) < 0)
            continue;
        rest = u256_sub(&rest, &d);
        quotient.w[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
    }
    return quotient;
}

struct u256 u256_shl(const struct u256 *a, unsigned n_bits)
{
    struct u256 r = {{0}};
    size_t words = n_bits / WORD_BITS;
    unsigned bits = n_bits % WORD_BITS;
    for (size_t i = words; i < N_WORDS; i++) {
        r.w[i] = a->w[i - words] << bits;
        if (bits && i > words)
            r.w[i] |= a->w[i - words - 1] >> (WORD_BITS - bits);
    }
    return r;
}

struct u256 u256_shr(const struct u256 *a, unsigned n_bits)
{
    struct u256 r = {{0}};
    size_t words = n_bits / WORD_BITS;
    unsigned bits = n_bits % WORD_BITS;
    for (size_t i = 0; i + words < N_WORDS; i++) {
        r.w[i] = a->w[i + words] >> bits;
        if (bits && i + words + 1 < N_WORDS)
            r.w[i] |= a->w[i + words + 1] << (WORD_BITS - bits);
    }
    return r;
}

unsigned u256_bits(const struct u256 *a)
{
    for (size_t i = N_WORDS; i-- > 0;)
        if (a->w[i])
            return (unsigned)(WORD_BITS * (i + 1)) - (unsigned)__builtin_clzll(a->w[i]);
    return 0;
}

double u256_double(const struct u256 *a)
{
    double v = 0;
    for (size_t i = N_WORDS; i-- > 0;)
        v = ldexp(v, WORD_BITS) + (double)a->w[i];
    return v;
}

/* --- compact form: one byte of length, three of mantissa whose top bit is a sign ---------------- */

#define COMPACT_SIGN     0x00800000u
#define COMPACT_MANTISSA 0x007fffffu

struct u256 u256_of_compact(uint32_t bits, bool *out_is_negative, bool *out_is_overflow)
{
    unsigned len = bits >> 24;
    uint32_t mantissa = bits & COMPACT_MANTISSA;
    if (len < 3)
        mantissa >>= 8 * (3 - len); /* the sign counts only if something is left of the number */
    if (out_is_negative)
        *out_is_negative = mantissa && (bits & COMPACT_SIGN);
    if (out_is_overflow)
        *out_is_overflow = mantissa && (len > 34 || (mantissa > 0xff && len > 33) ||
                                        (mantissa > 0xffff && len > 32));
    struct u256 r = u256_of(mantissa);
    return len > 3 ? u256_shl(&r, 8 * (len - 3)) : r;
}

uint32_t u256_compact(const struct u256 *a)
{
    unsigned len = (u256_bits(a) + 7) / 8;
    struct u256 top = len > 3 ? u256_shr(a, 8 * (len - 3)) : u256_shl(a, 8 * (3 - len));
    uint32_t mantissa = (uint32_t)top.w[0];
    if (mantissa & COMPACT_SIGN) { /* would read as a sign: one digit fewer */
        mantissa >>= 8;
        len++;
    }
    return mantissa | (uint32_t)len << 24;
}

struct u256 u256_work(uint32_t bits)
{
    bool is_negative, is_overflow;
    struct u256 target = u256_of_compact(bits, &is_negative, &is_overflow), one = u256_of(1);
    if (is_negative || is_overflow || u256_is_zero(&target))
        return u256_of(0);
    /* 2^256 does not fit: (2^256 - 1 - target) / (target + 1) + 1 is the same */
    struct u256 not_target = {{~target.w[0], ~target.w[1], ~target.w[2], ~target.w[3]}};
    struct u256 divisor = u256_add(&target, &one);
    struct u256 quotient = u256_div(&not_target, &divisor);
    return u256_add(&quotient, &one);
}
