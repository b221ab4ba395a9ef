#include "raw_checks.h"
#include "base/size.h"
#include "bench_clock.h"
#include "crypto/secp.h"
#include <pthread.h>
#include <stdatomic.h>

#define KEPT_MAX    1024u /* ours, a thread: 200 kB, less than the cache that the import leaves */
#define THREADS_MAX 64u
#define SLICE       64u /* ours, between two looks at the clock: 3 ms */

enum check_kind { CHECK_ECDSA, CHECK_SCHNORR, CHECK_TWEAK };

struct check {
    enum check_kind kind;
    uint8_t sig[SECP_DER_LEN_MAX], pubkey[65], hash[32];
    uint8_t sig_len, pubkey_len;
    bool is_odd, is_good;
};

struct kept {
    size_t n; /* kept so far; the newest take the place of the oldest */
    struct check checks[KEPT_MAX];
};

static struct kept rooms[THREADS_MAX];
static atomic_uint n_rooms;
static _Thread_local struct kept *room;

/* --- keeping --------------------------------------------------------------------------------- */

static struct check *next_place(void)
{
    if (!room) {
        unsigned i = atomic_fetch_add(&n_rooms, 1);
        room = &rooms[i < THREADS_MAX ? i : THREADS_MAX - 1]; /* bound by the import's threads */
    }
    return &room->checks[room->n++ % KEPT_MAX];
}

void raw_checks_keep_ecdsa(struct bytes sig, struct bytes pubkey, const uint8_t hash[32],
                           bool is_good)
{
    if (sig.len == 0 || sig.len > SECP_DER_LEN_MAX || pubkey.len == 0 || pubkey.len > 65)
        return;
    struct check *c = next_place();
    *c = (struct check){.kind = CHECK_ECDSA,
                        .sig_len = (uint8_t)sig.len,
                        .pubkey_len = (uint8_t)pubkey.len,
                        .is_good = is_good};
    memcpy(c->sig, sig.data, sig.len);
    memcpy(c->pubkey, pubkey.data, pubkey.len);
    memcpy(c->hash, hash, sizeof c->hash);
}

void raw_checks_keep_schnorr(const uint8_t sig[64], const uint8_t pubkey[32], struct bytes msg,
                             bool is_good)
{
    if (msg.len != 32)
        return;
    struct check *c = next_place();
    *c = (struct check){.kind = CHECK_SCHNORR, .is_good = is_good};
    memcpy(c->sig, sig, 64);
    memcpy(c->pubkey, pubkey, 32);
    memcpy(c->hash, msg.data, 32);
}

void raw_checks_keep_tweak(const uint8_t output[32], bool is_odd, const uint8_t internal[32],
                           const uint8_t tweak[32], bool is_good)
{
    struct check *c = next_place();
    *c = (struct check){.kind = CHECK_TWEAK, .is_odd = is_odd, .is_good = is_good};
    memcpy(c->sig, output, 32);
    memcpy(c->pubkey, internal, 32);
    memcpy(c->hash, tweak, 32);
}

/* --- running --------------------------------------------------------------------------------- */

struct runner {
    pthread_t thread;
    unsigned index;
    double until_s, cpu_s;
    uint64_t n_checks;
    bool is_wrong;
};

static bool check_again(const struct check *c)
{
    switch (c->kind) {
    case CHECK_ECDSA:
        return secp_ecdsa_verify(bytes_of(c->sig, c->sig_len), bytes_of(c->pubkey, c->pubkey_len),
                                 c->hash);
    case CHECK_SCHNORR:
        return secp_schnorr_verify(c->sig, c->pubkey, bytes_of(c->hash, sizeof c->hash));
    case CHECK_TWEAK:
        return secp_tweak_check(c->sig, c->is_odd, c->pubkey, c->hash);
    }
    return false;
}

/* A slice of what one room holds; the slices follow each other round and round. */
static void check_slice(struct runner *r, const struct kept *k, size_t slice)
{
    size_t n = size_min(k->n, KEPT_MAX), n_slices = div_ceil(n, SLICE);
    size_t from = n_slices ? slice % n_slices * SLICE : 0, until = size_min(from + SLICE, n);
    for (size_t i = from; i < until; i++)
        r->is_wrong |= check_again(&k->checks[i]) != k->checks[i].is_good;
    r->n_checks += until - from;
}

static void *run(void *arg)
{
    struct runner *r = arg;
    size_t n = atomic_load(&n_rooms);
    for (size_t i = r->index; clock_s(CLOCK_MONOTONIC) < r->until_s; i++)
        check_slice(r, &rooms[i % n], i / n);
    r->cpu_s = clock_s(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

bool raw_checks_run(unsigned n_threads, double seconds, struct raw_checks_rate *out)
{
    struct runner runners[THREADS_MAX] = {0};
    unsigned n = 0;
    double from = clock_s(CLOCK_MONOTONIC);
    bool is_right = atomic_load(&n_rooms) > 0 && n_threads <= THREADS_MAX;
    *out = (struct raw_checks_rate){0};
    for (; is_right && n < n_threads; n++) {
        runners[n].index = n;
        runners[n].until_s = from + seconds;
        is_right = pthread_create(&runners[n].thread, NULL, run, &runners[n]) == 0;
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(runners[i].thread, NULL);
        out->n_checks += runners[i].n_checks;
        out->cpu_s += runners[i].cpu_s;
        is_right = is_right && !runners[i].is_wrong;
    }
    out->wall_s = clock_s(CLOCK_MONOTONIC) - from;
    return is_right;
}
