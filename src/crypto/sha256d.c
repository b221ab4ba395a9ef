#include "crypto/sha256d.h"
#include "base/size.h"
#include "crypto/sha256_words.h"
#include "crypto/sha256d_x16.h"
#include "crypto/sha_lanes.h"
#include <endian.h>
#include <stdatomic.h>

#define BLOCK_LEN  64u
#define HEADER_LEN 80u
#define N_LANES    SHA256_N_LANES

void sha256d(struct bytes in, uint8_t out[SHA256_LEN])
{
    sha256(in, out);
    sha256(bytes_of(out, SHA256_LEN), out);
}

/* --- messages of any length ------------------------------------------------------------------ */

/* One message on its way: its whole blocks where they lie, then its padded end, then the digest
 * of that as a message of its own (FIPS 180-4, 5.1.1 for the padding). */
enum lane_stage { STAGE_BODY, STAGE_TAIL, STAGE_SECOND };

struct lane {
    uint32_t h[8];
    const uint8_t *p; /* n_blocks more blocks here belong to the stage */
    size_t n_blocks;
    enum lane_stage stage;
    struct bytes in;
    uint8_t *out;
    uint8_t tail[2 * BLOCK_LEN];
};

/* The digest so far as bytes. */
static void put_digest(const struct lane *l, uint8_t out[SHA256_LEN])
{
    for (size_t i = 0; i < 8; i++) {
        uint32_t be = htobe32(l->h[i]);
        memcpy(out + 4 * i, &be, sizeof be);
    }
}

/* rest: the message's last bytes, fewer than a block; message_len all of it. */
static size_t pad(uint8_t tail[2 * BLOCK_LEN], struct bytes rest, uint64_t message_len)
{
    size_t n_blocks = rest.len < BLOCK_LEN - 8 ? 1 : 2;
    size_t len = n_blocks * BLOCK_LEN;
    if (rest.len)
        memcpy(tail, rest.data, rest.len);
    tail[rest.len] = 0x80;
    memset(tail + rest.len + 1, 0, len - rest.len - 9);
    uint64_t n_bits = htobe64(message_len * 8);
    memcpy(tail + len - sizeof n_bits, &n_bits, sizeof n_bits);
    return n_blocks;
}

static void lane_enter(struct lane *l, enum lane_stage stage)
{
    size_t whole_len = l->in.len / BLOCK_LEN * BLOCK_LEN;
    uint8_t digest[SHA256_LEN];
    l->stage = stage;
    l->p = l->tail;
    if (stage == STAGE_BODY) {
        l->p = l->in.data;
        l->n_blocks = l->in.len / BLOCK_LEN;
    } else if (stage == STAGE_TAIL) {
        l->n_blocks = pad(l->tail, bytes_sub(l->in, whole_len, BLOCK_LEN), l->in.len);
    } else {
        put_digest(l, digest);
        memcpy(l->h, sha256_start_words, sizeof l->h);
        l->n_blocks = pad(l->tail, bytes_of(digest, sizeof digest), sizeof digest);
    }
}

static void lane_start(struct lane *l, struct bytes in, uint8_t *out)
{
    l->in = in;
    l->out = out;
    memcpy(l->h, sha256_start_words, sizeof l->h);
    lane_enter(l, in.len < BLOCK_LEN ? STAGE_TAIL : STAGE_BODY);
}

/* The stage's blocks are done. False when that was the message's last. */
static bool lane_advance(struct lane *l)
{
    if (l->stage == STAGE_SECOND) {
        put_digest(l, l->out);
        return false;
    }
    lane_enter(l, l->stage == STAGE_BODY ? STAGE_TAIL : STAGE_SECOND);
    return true;
}

/* As many blocks of every lane as the one nearest to its stage's end has. */
static void lanes_step(struct lane **lanes, size_t n)
{
    uint32_t *h[N_LANES];
    const uint8_t *data[N_LANES];
    size_t n_blocks = lanes[0]->n_blocks;
    for (size_t i = 1; i < n; i++)
        n_blocks = size_min(n_blocks, lanes[i]->n_blocks);
    for (size_t i = 0; i < n; i++) {
        h[i] = lanes[i]->h;
        data[i] = lanes[i]->p;
        lanes[i]->p += n_blocks * BLOCK_LEN;
        lanes[i]->n_blocks -= n_blocks;
    }
    sha256_blocks_many(h, data, n, n_blocks);
}

void sha256d_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA256_LEN])
{
    struct lane store[N_LANES], *lanes[N_LANES];
    size_t n_busy = 0, next = 0;
    for (; n_busy < N_LANES && next < n; n_busy++, next++) {
        lanes[n_busy] = &store[n_busy];
        lane_start(lanes[n_busy], in[next], out[next]);
    }
    while (n_busy) {
        lanes_step(lanes, n_busy);
        for (size_t i = 0; i < n_busy; i++) {
            if (lanes[i]->n_blocks || lane_advance(lanes[i]))
                continue;
            if (next < n) { /* the lane takes the next message */
                lane_start(lanes[i], in[next], out[next]);
                next++;
            } else {
                lanes[i--] = lanes[--n_busy];
            }
        }
    }
}

/* --- messages of one known length ------------------------------------------------------------ */

/* n <= N_LANES messages of len bytes (64 or 80); all are read before any digest is written. */
static void sha256d_alike(const uint8_t *in, size_t len, size_t n, uint8_t (*out)[SHA256_LEN])
{
    struct lane lanes[N_LANES];
    uint32_t *h[N_LANES];
    const uint8_t *data[N_LANES], *tails[N_LANES];
    for (size_t i = 0; i < n; i++) {
        h[i] = lanes[i].h;
        data[i] = in + i * len;
        tails[i] = lanes[i].tail;
        memcpy(lanes[i].h, sha256_start_words, sizeof lanes[i].h);
        pad(lanes[i].tail, bytes_of(data[i] + BLOCK_LEN, len - BLOCK_LEN), len);
    }
    sha256_blocks_many(h, data, n, 1);
    sha256_blocks_many(h, tails, n, 1);
    for (size_t i = 0; i < n; i++)
        lane_enter(&lanes[i], STAGE_SECOND);
    sha256_blocks_many(h, tails, n, 1);
    for (size_t i = 0; i < n; i++)
        put_digest(&lanes[i], out[i]);
}

/* --- sixteen at a time ----------------------------------------------------------------------- */

enum x16_choice { X16_OPEN, X16_NO, X16_YES };

/* The one choice of a process, made at first use: two threads that race make the same one. */
static _Atomic int x16_choice = X16_OPEN;

/* What the wide routine makes of messages is what libcrypto makes of them. */
static bool x16_self_test(void)
{
    uint8_t in[SHA256D_X16_N * HEADER_LEN], got[SHA256D_X16_N][SHA256_LEN], want[SHA256_LEN];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7 + i / 61 + 3);
    for (size_t len = BLOCK_LEN; len <= HEADER_LEN; len += HEADER_LEN - BLOCK_LEN) {
        sha256d_x16(in, len, got);
        for (size_t m = 0; m < SHA256D_X16_N; m++) {
            sha256d(bytes_of(in + m * len, len), want);
            if (memcmp(got[m], want, sizeof want) != 0)
                return false;
        }
    }
    return true;
}

static bool use_x16(void)
{
    int c = atomic_load_explicit(&x16_choice, memory_order_relaxed);
    if (c == X16_OPEN) {
        c = sha256d_x16_is_there() && x16_self_test() ? X16_YES : X16_NO;
        atomic_store_explicit(&x16_choice, c, memory_order_relaxed);
    }
    return c == X16_YES && !sha_lanes_are_off();
}

const char *sha256d_name(void)
{
    return use_x16() ? "AVX-512, sixteen at a time" : sha_lanes_name();
}

static void sha256d_run(const uint8_t *in, size_t len, size_t n, uint8_t (*out)[SHA256_LEN])
{
    size_t i = 0;
    for (; n - i >= SHA256D_X16_N && use_x16(); i += SHA256D_X16_N)
        sha256d_x16(in + i * len, len, out + i);
    for (size_t k; i < n; i += k) {
        k = size_min(N_LANES, n - i);
        sha256d_alike(in + i * len, len, k, out + i);
    }
}

void sha256d_pairs(const uint8_t *in, size_t n, uint8_t (*out)[SHA256_LEN])
{
    sha256d_run(in, (size_t)2 * SHA256_LEN, n, out);
}

void sha256d_headers(const uint8_t *in, size_t n, uint8_t (*out)[SHA256_LEN])
{
    sha256d_run(in, HEADER_LEN, n, out);
}
