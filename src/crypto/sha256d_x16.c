#include "crypto/sha256d_x16.h"
#include "crypto/sha256_words.h"
#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET  __attribute__((target("avx512f,avx512bw,avx512vl")))
#define INLINE  static inline __attribute__((always_inline)) TARGET
#define N_WORDS 16 /* of a block; also messages side by side */

/* The words of the rounds with those added that a block has which only pads a message of 64 bytes. */
static const uint32_t round_kw_pad64[64] = {
    0xc28a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf374,
    0x649b69c1, 0xf0fe4786, 0x0fe1edc6, 0x240cf254, 0x4fe9346f, 0x6cc984be, 0x61b9411e, 0x16f988fa,
    0xf2c65152, 0xa88e5a6d, 0xb019fc65, 0xb9d99ec7, 0x9a1231c3, 0xe70eeaa0, 0xfdb1232b, 0xc7353eb0,
    0x3069bad5, 0xcb976d5f, 0x5a0f118f, 0xdc1eeefd, 0x0a35b689, 0xde0b7a04, 0x58f4ca9d, 0xe15d5b16,
    0x007f3e86, 0x37088980, 0xa507ea32, 0x6fab9537, 0x17406110, 0x0d8cd6f1, 0xcdaa3b6d, 0xc0bbbe37,
    0x83613bda, 0xdb48a363, 0x0b02e931, 0x6fd15ca7, 0x521afaca, 0x31338431, 0x6ed41a95, 0x6d437890,
    0xc39c91f2, 0x9eccabbd, 0xb5c9a0e6, 0x532fb63c, 0xd2c741c6, 0x07237ea3, 0xa4954b68, 0x4c191d76,
};

bool sha256d_x16_is_there(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

INLINE __m512i xor3(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

/* FIPS 180-4, 4.1.2. */
#define BIG_SIGMA0(x) xor3(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22))
#define BIG_SIGMA1(x) xor3(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25))
#define SMALL_SIGMA0(x)                                                                            \
    xor3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3))
#define SMALL_SIGMA1(x)                                                                            \
    xor3(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10))
#define CHOOSE(x, y, z)   _mm512_ternarylogic_epi32(x, y, z, 0xca)
#define MAJORITY(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xe8)

/* One round whose word plus constant is kw; the eight names turn instead of the values. */
#define ROUND(a, b, c, d, e, f, g, h, kw)                                                          \
    do {                                                                                           \
        __m512i t = _mm512_add_epi32(_mm512_add_epi32(h, kw),                                      \
                                     _mm512_add_epi32(BIG_SIGMA1(e), CHOOSE(e, f, g)));            \
        d = _mm512_add_epi32(d, t);                                                                \
        h = _mm512_add_epi32(t, _mm512_add_epi32(BIG_SIGMA0(a), MAJORITY(a, b, c)));               \
    } while (0)

#define EIGHT_ROUNDS(s, kw, i)                                                                     \
    do {                                                                                           \
        ROUND(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], kw(i));                              \
        ROUND(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], kw((i) + 1));                        \
        ROUND(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], kw((i) + 2));                        \
        ROUND(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], kw((i) + 3));                        \
        ROUND(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], kw((i) + 4));                        \
        ROUND(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], kw((i) + 5));                        \
        ROUND(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], kw((i) + 6));                        \
        ROUND(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], kw((i) + 7));                        \
    } while (0)

INLINE void state_start(__m512i s[8])
{
    for (int i = 0; i < 8; i++)
        s[i] = _mm512_set1_epi32((int)sha256_start_words[i]);
}

/* The word of round i: in place of the one that is sixteen rounds old. */
INLINE __m512i next_word(__m512i w[N_WORDS], int i)
{
    if (i >= N_WORDS)
        w[i % 16] =
            _mm512_add_epi32(_mm512_add_epi32(w[i % 16], SMALL_SIGMA0(w[(i + 1) % 16])),
                             _mm512_add_epi32(w[(i + 9) % 16], SMALL_SIGMA1(w[(i + 14) % 16])));
    return _mm512_add_epi32(w[i % 16], _mm512_set1_epi32((int)sha256_round_words[i]));
}

/* s: the digest on its way; w is used up. */
INLINE void compress(__m512i s[8], __m512i w[N_WORDS])
{
    __m512i before[8];
    memcpy(before, s, sizeof before);
#define WORD(i) next_word(w, i)
    EIGHT_ROUNDS(s, WORD, 0);
    EIGHT_ROUNDS(s, WORD, 8);
    EIGHT_ROUNDS(s, WORD, 16);
    EIGHT_ROUNDS(s, WORD, 24);
    EIGHT_ROUNDS(s, WORD, 32);
    EIGHT_ROUNDS(s, WORD, 40);
    EIGHT_ROUNDS(s, WORD, 48);
    EIGHT_ROUNDS(s, WORD, 56);
#undef WORD
    for (int i = 0; i < 8; i++)
        s[i] = _mm512_add_epi32(s[i], before[i]);
}

/* A block whose words are the same in all messages: they come with the constants added. */
INLINE void compress_known(__m512i s[8], const uint32_t kw[64])
{
    __m512i before[8];
    memcpy(before, s, sizeof before);
#define WORD(i) _mm512_set1_epi32((int)kw[i])
    for (int i = 0; i < 64; i += 8)
        EIGHT_ROUNDS(s, WORD, i);
#undef WORD
    for (int i = 0; i < 8; i++)
        s[i] = _mm512_add_epi32(s[i], before[i]);
}

/* Four by four words turned about their diagonal, in each quarter of the registers. */
INLINE void transpose_quarters(__m512i r[4])
{
    __m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
    __m512i c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);
    r[0] = _mm512_unpacklo_epi64(a, c);
    r[1] = _mm512_unpackhi_epi64(a, c);
    r[2] = _mm512_unpacklo_epi64(b, d);
    r[3] = _mm512_unpackhi_epi64(b, d);
}

/* The same with quarters for words: r[4 i + k] for one k. */
INLINE void transpose_of_quarters(__m512i r[N_WORDS], int k)
{
    __m512i a = _mm512_shuffle_i32x4(r[k], r[4 + k], 0x44);
    __m512i b = _mm512_shuffle_i32x4(r[k], r[4 + k], 0xee);
    __m512i c = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0x44);
    __m512i d = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0xee);
    r[k] = _mm512_shuffle_i32x4(a, c, 0x88);
    r[4 + k] = _mm512_shuffle_i32x4(a, c, 0xdd);
    r[8 + k] = _mm512_shuffle_i32x4(b, d, 0x88);
    r[12 + k] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

INLINE __m512i swap_bytes(__m512i v)
{
    return _mm512_shuffle_epi8(
        v, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203)));
}

/* The first block of each message: word i of all of them in w[i]. */
INLINE void load_block(__m512i w[N_WORDS], const uint8_t *in, size_t len)
{
    for (size_t m = 0; m < SHA256D_X16_N; m++)
        w[m] = swap_bytes(_mm512_loadu_si512(in + m * len));
    for (int i = 0; i < N_WORDS; i += 4)
        transpose_quarters(w + i);
    for (int k = 0; k < 4; k++)
        transpose_of_quarters(w, k);
}

/* The four words behind the first block of each message. */
INLINE void load_rest(__m512i w[4], const uint8_t *in, size_t len)
{
    const __m512i at =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32((int)len));
    for (int i = 0; i < 4; i++)
        w[i] = swap_bytes(_mm512_i32gather_epi32(at, in + 64 + 4 * i, 1));
}

/* FIPS 180-4, 5.1.1: the bit after n words, zeros, the message's length in bits. */
INLINE void pad_words(__m512i w[N_WORDS], int n, uint32_t n_bits)
{
    w[n] = _mm512_set1_epi32((int)0x80000000u);
    for (int i = n + 1; i < N_WORDS - 1; i++)
        w[i] = _mm512_setzero_si512();
    w[N_WORDS - 1] = _mm512_set1_epi32((int)n_bits);
}

INLINE void put_half(__m512i s[4], uint8_t *out)
{
    transpose_quarters(s);
    for (int k = 0; k < 4; k++) {
        __m512i v = swap_bytes(s[k]); /* four words of messages k, k + 4, k + 8, k + 12 */
        __m128i *at = (__m128i *)(void *)(out + (size_t)k * SHA256_LEN);
        _mm_storeu_si128(at, _mm512_extracti32x4_epi32(v, 0));
        _mm_storeu_si128(at + 8, _mm512_extracti32x4_epi32(v, 1));
        _mm_storeu_si128(at + 16, _mm512_extracti32x4_epi32(v, 2));
        _mm_storeu_si128(at + 24, _mm512_extracti32x4_epi32(v, 3));
    }
}

TARGET void sha256d_x16(const uint8_t *in, size_t len, uint8_t (*out)[SHA256_LEN])
{
    __m512i s[8], w[N_WORDS];
    assert(len == 64 || len == 80);
    state_start(s);
    load_block(w, in, len);
    compress(s, w);
    if (len == 64) {
        compress_known(s, round_kw_pad64);
    } else {
        load_rest(w, in, len);
        pad_words(w, 4, 640);
        compress(s, w);
    }
    memcpy(w, s, 8 * sizeof *w);
    pad_words(w, 8, 256);
    state_start(s);
    compress(s, w);
    put_half(s, *out);
    put_half(s + 4, *out + SHA256_LEN / 2);
}

#else

bool sha256d_x16_is_there(void)
{
    return false;
}

void sha256d_x16(const uint8_t *in, size_t len, uint8_t (*out)[SHA256_LEN])
{
    (void)in, (void)len, (void)out;
    assert(!"not chosen on this machine");
}

#endif
