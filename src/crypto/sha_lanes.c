#include "crypto/sha_lanes.h"
#include "base/size.h"
#include "crypto/sha256_words.h"
#include <assert.h>
#include <stdatomic.h>

#define SHA_BLOCK_LEN 64u

enum lanes_choice { CHOICE_OPEN, CHOICE_ONE_AT_A_TIME, CHOICE_X86_SHA };

/* The one choice of a process, made at first use: two threads that race make the same one. */
static _Atomic int choice = CHOICE_OPEN;
static _Atomic bool is_forced_off;

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define TARGET_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define LANES_LOOP _Pragma("GCC unroll 4") for (int l = 0; l < N; l++)

/* --- SHA-1 ----------------------------------------------------------------------------------- */

struct sha1_lane {
    __m128i abcd, e0, abcd_before, e_before;
    __m128i w[4]; /* the 16 words in flight, four to a register */
    const uint8_t *p;
};

/* Four rounds with the words of w[i % 4], and the words that come 16 rounds later. FIPS 180-4
 * 6.1.2, in the form that the SHA instructions have it: sha1nexte adds rotated a to the words,
 * msg1, xor and msg2 make w[t] of w[t - 16], w[t - 14], w[t - 8], w[t - 3]. */
#define SHA1_FOUR(i, k)                                                                            \
    LANES_LOOP                                                                                     \
    {                                                                                              \
        struct sha1_lane *s = &lane[l];                                                            \
        __m128i e =                                                                                \
            (i) == 0 ? _mm_add_epi32(s->e0, s->w[0]) : _mm_sha1nexte_epu32(s->e0, s->w[(i) % 4]);  \
        s->e0 = s->abcd;                                                                           \
        if ((i) >= 3 && (i) < 19)                                                                  \
            s->w[((i) + 1) % 4] = _mm_sha1msg2_epu32(s->w[((i) + 1) % 4], s->w[(i) % 4]);          \
        s->abcd = _mm_sha1rnds4_epu32(s->abcd, e, k);                                              \
        if ((i) >= 1 && (i) < 17)                                                                  \
            s->w[((i) + 3) % 4] = _mm_sha1msg1_epu32(s->w[((i) + 3) % 4], s->w[(i) % 4]);          \
        if ((i) >= 2 && (i) < 18)                                                                  \
            s->w[((i) + 2) % 4] = _mm_xor_si128(s->w[((i) + 2) % 4], s->w[(i) % 4]);               \
    }

#define SHA1_TWENTY(i, k)                                                                          \
    SHA1_FOUR(i, k)                                                                                \
    SHA1_FOUR((i) + 1, k) SHA1_FOUR((i) + 2, k) SHA1_FOUR((i) + 3, k) SHA1_FOUR((i) + 4, k)

#define DEFINE_SHA1_BLOCKS(name, n_lanes)                                                          \
    TARGET_SHA static void name(uint32_t *const *h, const uint8_t *const *data, size_t n_blocks)   \
    {                                                                                              \
        enum { N = n_lanes };                                                                      \
        const __m128i swap = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);               \
        struct sha1_lane lane[N];                                                                  \
        LANES_LOOP                                                                                 \
        {                                                                                          \
            lane[l].abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h[l]), 0x1b);        \
            lane[l].e0 = _mm_set_epi32((int)h[l][4], 0, 0, 0);                                     \
            lane[l].p = data[l];                                                                   \
        }                                                                                          \
        while (n_blocks--) {                                                                       \
            LANES_LOOP                                                                             \
            {                                                                                      \
                const __m128i *q = (const __m128i *)(const void *)lane[l].p;                       \
                lane[l].abcd_before = lane[l].abcd;                                                \
                lane[l].e_before = lane[l].e0;                                                     \
                for (int j = 0; j < 4; j++)                                                        \
                    lane[l].w[j] = _mm_shuffle_epi8(_mm_loadu_si128(q + j), swap);                 \
                lane[l].p += SHA_BLOCK_LEN;                                                        \
            }                                                                                      \
            SHA1_TWENTY(0, 0) SHA1_TWENTY(5, 1) SHA1_TWENTY(10, 2) SHA1_TWENTY(15, 3) LANES_LOOP   \
            {                                                                                      \
                lane[l].e0 = _mm_sha1nexte_epu32(lane[l].e0, lane[l].e_before);                    \
                lane[l].abcd = _mm_add_epi32(lane[l].abcd, lane[l].abcd_before);                   \
            }                                                                                      \
        }                                                                                          \
        LANES_LOOP                                                                                 \
        {                                                                                          \
            _mm_storeu_si128((__m128i *)h[l], _mm_shuffle_epi32(lane[l].abcd, 0x1b));              \
            h[l][4] = (uint32_t)_mm_extract_epi32(lane[l].e0, 3);                                  \
        }                                                                                          \
    }

DEFINE_SHA1_BLOCKS(sha1_blocks_x1, 1)
DEFINE_SHA1_BLOCKS(sha1_blocks_x2, 2)
DEFINE_SHA1_BLOCKS(sha1_blocks_x4, 4)

/* --- SHA-256 --------------------------------------------------------------------------------- */

struct sha256_lane {
    __m128i abef, cdgh, abef_before, cdgh_before;
    __m128i w[4];
    const uint8_t *p;
};

/* Four rounds with the words of w[i % 4], and the words that come 16 rounds later: FIPS 180-4
 * 6.2.2; msg1 adds sigma0, alignr brings w[t - 7], msg2 adds sigma1. */
#define SHA256_FOUR(i)                                                                             \
    LANES_LOOP                                                                                     \
    {                                                                                              \
        struct sha256_lane *s = &lane[l];                                                          \
        __m128i kw = _mm_add_epi32(                                                                \
            s->w[(i) % 4], _mm_loadu_si128((const __m128i *)&sha256_round_words[4 * (i)]));        \
        s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, kw);                                     \
        if ((i) >= 3 && (i) < 15) {                                                                \
            __m128i t = _mm_alignr_epi8(s->w[(i) % 4], s->w[((i) + 3) % 4], 4);                    \
            s->w[((i) + 1) % 4] =                                                                  \
                _mm_sha256msg2_epu32(_mm_add_epi32(s->w[((i) + 1) % 4], t), s->w[(i) % 4]);        \
        }                                                                                          \
        s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(kw, 0x0e));            \
        if ((i) >= 1 && (i) < 13)                                                                  \
            s->w[((i) + 3) % 4] = _mm_sha256msg1_epu32(s->w[((i) + 3) % 4], s->w[(i) % 4]);        \
    }

/* The next lines are kept from clang-format, which moves the run of macros at each pass. */
/* clang-format off */
#define DEFINE_SHA256_BLOCKS(name, n_lanes)                                                        \
    TARGET_SHA static void name(uint32_t *const *h, const uint8_t *const *data, size_t n_blocks)   \
    {                                                                                              \
        enum { N = n_lanes };                                                                      \
        const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);               \
        struct sha256_lane lane[N];                                                                \
        LANES_LOOP                                                                                 \
        {                                                                                          \
            __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h[l]), 0xb1);          \
            __m128i u = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&h[l][4]), 0x1b);    \
            lane[l].abef = _mm_alignr_epi8(t, u, 8);                                               \
            lane[l].cdgh = _mm_blend_epi16(u, t, 0xf0);                                            \
            lane[l].p = data[l];                                                                   \
        }                                                                                          \
        while (n_blocks--) {                                                                       \
            LANES_LOOP                                                                             \
            {                                                                                      \
                const __m128i *q = (const __m128i *)(const void *)lane[l].p;                       \
                lane[l].abef_before = lane[l].abef;                                                \
                lane[l].cdgh_before = lane[l].cdgh;                                                \
                for (int j = 0; j < 4; j++)                                                        \
                    lane[l].w[j] = _mm_shuffle_epi8(_mm_loadu_si128(q + j), swap);                 \
                lane[l].p += SHA_BLOCK_LEN;                                                        \
            }                                                                                      \
            SHA256_FOUR(0) SHA256_FOUR(1) SHA256_FOUR(2) SHA256_FOUR(3)                            \
            SHA256_FOUR(4) SHA256_FOUR(5) SHA256_FOUR(6) SHA256_FOUR(7)                            \
            SHA256_FOUR(8) SHA256_FOUR(9) SHA256_FOUR(10) SHA256_FOUR(11)                          \
            SHA256_FOUR(12) SHA256_FOUR(13) SHA256_FOUR(14) SHA256_FOUR(15)                        \
            LANES_LOOP                                                                             \
            {                                                                                      \
                lane[l].abef = _mm_add_epi32(lane[l].abef, lane[l].abef_before);                   \
                lane[l].cdgh = _mm_add_epi32(lane[l].cdgh, lane[l].cdgh_before);                   \
            }                                                                                      \
        }                                                                                          \
        LANES_LOOP                                                                                 \
        {                                                                                          \
            __m128i t = _mm_shuffle_epi32(lane[l].abef, 0x1b);                                     \
            __m128i u = _mm_shuffle_epi32(lane[l].cdgh, 0xb1);                                     \
            _mm_storeu_si128((__m128i *)h[l], _mm_blend_epi16(t, u, 0xf0));                       \
            _mm_storeu_si128((__m128i *)&h[l][4], _mm_alignr_epi8(u, t, 8));                    \
        }                                                                                          \
    }
/* clang-format on */

DEFINE_SHA256_BLOCKS(sha256_blocks_x1, 1)
DEFINE_SHA256_BLOCKS(sha256_blocks_x2, 2)

static bool has_units(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) &&
           __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1);
}

#else

static bool has_units(void)
{
    return false;
}

#endif

/* --- which routine --------------------------------------------------------------------------- */

#if defined(__x86_64__)

/* n streams of n_blocks blocks each; h are the words of the digests. Four lanes of SHA-1 spill
 * registers and still win (3.9 GB/s against 3.1 for two and 1.9 for one, on a Zen 4 core); four
 * of SHA-256 do not (3.4 against 3.3), and lose on the short messages of merkle trees. */
static void sha1_blocks(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        sha1_blocks_x4(h + i, data + i, n_blocks);
    for (; i + 2 <= n; i += 2)
        sha1_blocks_x2(h + i, data + i, n_blocks);
    if (i < n)
        sha1_blocks_x1(h + i, data + i, n_blocks);
}

static void sha256_blocks(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        sha256_blocks_x2(h + i, data + i, n_blocks);
    if (i < n)
        sha256_blocks_x1(h + i, data + i, n_blocks);
}

#else

static void sha1_blocks(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks)
{
    (void)h, (void)data, (void)n, (void)n_blocks;
    assert(!"not chosen on this machine");
}

static void sha256_blocks(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks)
{
    (void)h, (void)data, (void)n, (void)n_blocks;
    assert(!"not chosen on this machine");
}

#endif

static const uint32_t sha1_start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                                       0xc3d2e1f0}; /* FIPS 180-4, 5.3.1 */

static bool is_as_libcrypto(struct bytes in, const uint32_t sha1_words[5],
                            const uint32_t sha256_words[8])
{
    SHA_CTX a;
    SHA256_CTX b;
    SHA1_Init(&a);
    SHA1_Update(&a, in.data, in.len);
    SHA256_Init(&b);
    SHA256_Update(&b, in.data, in.len);
    return sha1_words[0] == a.h0 && sha1_words[1] == a.h1 && sha1_words[2] == a.h2 &&
           sha1_words[3] == a.h3 && sha1_words[4] == a.h4 &&
           memcmp(sha256_words, b.h, 8 * sizeof *sha256_words) == 0;
}

/* What the units make of blocks in every lane is what libcrypto makes of them. */
static bool self_test(void)
{
    uint8_t data[SHA_LANES_MAX][3 * SHA_BLOCK_LEN];
    uint32_t a[SHA_LANES_MAX][5], b[SHA_LANES_MAX][8];
    uint32_t *pa[SHA_LANES_MAX], *pb[SHA_LANES_MAX];
    const uint8_t *p[SHA_LANES_MAX];
    for (size_t l = 0; l < SHA_LANES_MAX; l++) {
        for (size_t i = 0; i < sizeof data[l]; i++)
            data[l][i] = (uint8_t)(i * 7 + l * 131 + 3);
        memcpy(a[l], sha1_start, sizeof a[l]);
        memcpy(b[l], sha256_start_words, sizeof b[l]);
        pa[l] = a[l], pb[l] = b[l], p[l] = data[l];
    }
    /* first all lanes at once, then as a pair and a single one: every routine is run */
    sha1_blocks(pa, p, SHA_LANES_MAX, 2);
    sha256_blocks(pb, p, SHA_LANES_MAX, 2);
    for (size_t l = 0; l < SHA_LANES_MAX; l++)
        p[l] += (size_t)2 * SHA_BLOCK_LEN;
    sha1_blocks(pa + 1, p + 1, SHA_LANES_MAX - 1, 1);
    sha256_blocks(pb + 1, p + 1, SHA_LANES_MAX - 1, 1);
    for (size_t l = 0; l < SHA_LANES_MAX; l++)
        if (!is_as_libcrypto(bytes_of(data[l], (l == 0 ? 2 : 3) * SHA_BLOCK_LEN), a[l], b[l]))
            return false;
    return true;
}

static bool use_units(void)
{
    int c = atomic_load_explicit(&choice, memory_order_relaxed);
    if (c == CHOICE_OPEN) {
        c = has_units() && self_test() ? CHOICE_X86_SHA : CHOICE_ONE_AT_A_TIME;
        atomic_store_explicit(&choice, c, memory_order_relaxed);
    }
    return c == CHOICE_X86_SHA && !atomic_load_explicit(&is_forced_off, memory_order_relaxed);
}

const char *sha_lanes_name(void)
{
    return use_units() ? "x86 SHA units, interleaved" : "one message at a time";
}

bool sha_lanes_set_off(bool is_off)
{
    return atomic_exchange(&is_forced_off, is_off);
}

bool sha_lanes_are_off(void)
{
    return atomic_load_explicit(&is_forced_off, memory_order_relaxed);
}

/* --- whole messages -------------------------------------------------------------------------- */

/* Neighbours of one length from `from` on, at most SHA_LANES_MAX. */
static size_t n_alike(const struct bytes *in, size_t from, size_t n)
{
    size_t k = 1;
    while (k < SHA_LANES_MAX && from + k < n && in[from + k].len == in[from].len)
        k++;
    return k;
}

/* The padded end of a message (FIPS 180-4, 5.1.1): its last partial block, the bit, the length. */
static size_t make_tail(struct bytes in, uint8_t out[2 * SHA_BLOCK_LEN])
{
    size_t rest = in.len % SHA_BLOCK_LEN;
    size_t n_blocks = rest < SHA_BLOCK_LEN - 8 ? 1 : 2;
    memset(out, 0, n_blocks * SHA_BLOCK_LEN);
    if (rest)
        memcpy(out, in.data + in.len - rest, rest);
    out[rest] = 0x80;
    uint64_t n_bits = (uint64_t)in.len * 8;
    for (size_t i = 0; i < 8; i++)
        out[n_blocks * SHA_BLOCK_LEN - 1 - i] = (uint8_t)(n_bits >> (8 * i));
    return n_blocks;
}

static void put_words(const uint32_t *words, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < 4 * n; i++)
        out[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
}

/* What tells SHA-1 from SHA-256 here. */
struct digest {
    const uint32_t *start;
    size_t n_words;
    void (*blocks)(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks);
    void (*one)(struct bytes in, uint8_t *out); /* without the units */
};
static const struct digest digest_sha1 = {sha1_start, SHA1_LEN / 4, sha1_blocks, sha1};
static const struct digest digest_sha256 = {sha256_start_words, SHA256_LEN / 4, sha256_blocks,
                                            sha256};

/* n <= SHA_LANES_MAX messages of one length. All are read before the first digest is written. */
static void hash_alike(const struct digest *d, const struct bytes *in, size_t n, uint8_t *out)
{
    uint32_t h[SHA_LANES_MAX][SHA256_LEN / 4], *ph[SHA_LANES_MAX] = {0};
    uint8_t tails[SHA_LANES_MAX][2 * SHA_BLOCK_LEN];
    const uint8_t *data[SHA_LANES_MAX] = {0}, *tail[SHA_LANES_MAX] = {0};
    size_t n_tail_blocks = 0;
    for (size_t l = 0; l < n; l++) {
        memcpy(h[l], d->start, 4 * d->n_words);
        ph[l] = h[l], data[l] = in[l].data, tail[l] = tails[l];
        n_tail_blocks = make_tail(in[l], tails[l]);
    }
    d->blocks(ph, data, n, in[0].len / SHA_BLOCK_LEN);
    d->blocks(ph, tail, n, n_tail_blocks);
    for (size_t l = 0; l < n; l++)
        put_words(h[l], d->n_words, out + 4 * d->n_words * l);
}

static void hash_many(const struct digest *d, const struct bytes *in, size_t n, uint8_t *out)
{
    bool has_lanes = use_units();
    for (size_t i = 0, k; i < n; i += k) {
        k = n_alike(in, i, n);
        if (has_lanes)
            hash_alike(d, in + i, k, out + 4 * d->n_words * i);
        else
            for (size_t l = 0; l < k; l++)
                d->one(in[i + l], out + 4 * d->n_words * (i + l));
    }
}

void sha1_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA1_LEN])
{
    hash_many(&digest_sha1, in, n, (uint8_t *)out);
}

void sha256_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA256_LEN])
{
    hash_many(&digest_sha256, in, n, (uint8_t *)out);
}

void sha256_pairs(const uint8_t (*in)[SHA256_LEN], size_t n, uint8_t (*out)[SHA256_LEN])
{
    struct bytes pairs[SHA_LANES_MAX];
    bool has_lanes = use_units();
    for (size_t i = 0, k; i < n; i += k) {
        k = size_min(SHA_LANES_MAX, n - i);
        for (size_t l = 0; l < k; l++)
            pairs[l] = bytes_of(in[2 * (i + l)], (size_t)2 * SHA256_LEN);
        if (has_lanes)
            hash_alike(&digest_sha256, pairs, k, out[i]);
        else
            for (size_t l = 0; l < k; l++)
                sha256_pair(in[2 * (i + l)], in[2 * (i + l) + 1], out[i + l]);
    }
}

void sha256_blocks_many(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks)
{
    if (use_units()) {
        sha256_blocks(h, data, n, n_blocks);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        SHA256_CTX c;
        SHA256_Init(&c);
        memcpy(c.h, h[i], sizeof c.h);
        SHA256_Update(&c, data[i], n_blocks * SHA_BLOCK_LEN);
        memcpy(h[i], c.h, sizeof c.h);
    }
}

/* --- streams --------------------------------------------------------------------------------- */

static void sha1_state_to_words(const SHA_CTX *c, uint32_t h[5])
{
    h[0] = c->h0, h[1] = c->h1, h[2] = c->h2, h[3] = c->h3, h[4] = c->h4;
}

/* After n bytes (whole blocks) more. */
static void sha1_state_from_words(SHA_CTX *c, const uint32_t h[5], uint64_t n)
{
    uint64_t n_bits = ((uint64_t)c->Nh << 32 | c->Nl) + 8 * n;
    c->h0 = h[0], c->h1 = h[1], c->h2 = h[2], c->h3 = h[3], c->h4 = h[4];
    c->Nl = (uint32_t)n_bits;
    c->Nh = (uint32_t)(n_bits >> 32);
}

void sha1_update_many(struct sha1_state *const *states, const uint8_t *const *data, size_t n,
                      size_t len)
{
    uint32_t h[SHA_LANES_MAX][5], *ph[SHA_LANES_MAX] = {0};
    size_t whole = len / SHA_BLOCK_LEN * SHA_BLOCK_LEN;
    assert(n <= SHA_LANES_MAX);
    for (size_t l = 0; l < n; l++)
        if (states[l]->ctx.num)
            whole = 0; /* a stream stands inside a block: no lanes */
    if (!use_units())
        whole = 0;
    for (size_t l = 0; l < n && whole; l++) {
        sha1_state_to_words(&states[l]->ctx, h[l]);
        ph[l] = h[l];
    }
    if (whole)
        sha1_blocks(ph, data, n, whole / SHA_BLOCK_LEN);
    for (size_t l = 0; l < n; l++) {
        if (whole)
            sha1_state_from_words(&states[l]->ctx, h[l], whole);
        sha1_update(states[l], bytes_of(data[l] + whole, len - whole));
    }
}
