/* Whole lives of a torrent with faults in them: each allocation, each answer and each connect in
 * turn fails, or comes late; and storms in which everything fails at random. The invariants hold
 * after every input, and when the storm is over everybody has the data.
 *
 * STORM_SEEDS=n runs n storms (default 100), from STORM_SEED on. STORM_STRIDE=1 fails every allocation
 * of each kind of torrent; else it is every third, another third for the next kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "base/size.h"
#include "swarm.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACKER     "http://tracker.example/announce"
#define UDP_TRACKER "udp://tracker.example:80"

static const enum content_version versions[] = {CONTENT_V1, CONTENT_V2, CONTENT_HYBRID};

/* --- a torrent is added, whatever fails ------------------------------------------------------ */

struct kind {
    enum content_version version;
    bool is_magnet, has_liar, is_check_all, has_small_cache;
    uint32_t piece_len, n_pieces;
};

/* A tracker that knows the first node. */
static bool track(struct mem_world *w, struct mem_node *n, const char *url, uint32_t *out_status,
                  uint8_t *out, size_t out_cap, size_t *out_len)
{
    (void)n, (void)url;
    char text[100];
    const uint8_t *a = w->nodes[0].addr.ip;
    int len = snprintf(text, sizeof(text), "d8:intervali60e5:peers6:");
    assert_true((size_t)len + 7 < out_cap);
    memcpy(out, text, (size_t)len);
    uint8_t tail[] = {a[0], a[1], a[2], a[3], 6881 >> 8, 6881 & 255, 'e'};
    memcpy(out + len, tail, sizeof(tail));
    *out_len = (size_t)len + sizeof(tail);
    *out_status = 200;
    return true;
}

/* The same over UDP (BEP 15): any connection id will do. */
static size_t track_udp(struct mem_world *w, struct mem_node *n, struct bytes in, uint8_t *out)
{
    (void)n;
    struct reader r = reader_init(in);
    struct writer o = writer_init(out, 1500);
    reader_take(&r, 8);
    uint32_t action = reader_u32be(&r), transaction = reader_u32be(&r);
    assert_true(r.err.code == ERR_OK && action <= 1);
    writer_u32be(&o, action);
    writer_u32be(&o, transaction);
    if (action == 0) {
        writer_u64be(&o, 0x1122334455667788u);
        return writer_bytes(&o).len;
    }
    writer_u32be(&o, 60);
    writer_u32be(&o, 1);
    writer_u32be(&o, 1);
    addr_write(&o, &w->nodes[0].addr);
    return writer_bytes(&o).len;
}

static enum err_code add_magnet(struct swarm *sw, struct mem_node *n, struct torrent_params *p)
{
    static const char tail[] = "&tr=http%3a%2f%2ftracker.example%2fannounce"
                               "&tr=udp%3a%2f%2ftracker.example%3a80"
                               "&x.pe=peer.example:6881&x.pe=10.0.0.1:6881";
    struct buf link;
    struct magnet m;
    struct err err = {0};
    buf_init(&link, &sw->world->mem, 65536);
    magnet_write_metainfo(sw->content->info, &link);
    buf_put(&link, BYTES_LIT(tail));
    assert_int_equal(magnet_read(&m, buf_bytes(&link), &sw->world->mem, NULL), ERR_OK);
    p->magnet = &m;
    enum err_code code =
        session_add(n->session, sw->world->now_us, p, &sw->torrents[n->index], &err);
    magnet_clear(&m);
    buf_clear(&link);
    return code;
}

static enum err_code add_info(struct swarm *sw, struct mem_node *n, struct torrent_params *p)
{
    struct err err = {0};
    enum err_code code = content_metainfo(sw->content, &n->mem, &p->info, NULL);
    if (code)
        return code;
    /* The first of the two that answers is enough; who is first, the seed decides. */
    code = metainfo_add_tracker(p->info, TRACKER, 0);
    if (!code)
        code = metainfo_add_tracker(p->info, UDP_TRACKER, 0);
    if (!code)
        code = session_add(n->session, sw->world->now_us, p, &sw->torrents[n->index], &err);
    if (code)
        metainfo_free(p->info);
    return code;
}

static struct bytes resume_of(struct swarm *sw, struct mem_node *n)
{
    return mem_node_resume(n, metainfo_key(sw->content->info));
}

/* Tried until there is memory. */
static void add_until_it_works(struct swarm *sw, struct mem_node *n, const struct kind *k,
                               enum torrent_check check)
{
    sw->world->ctx = sw;
    struct session_config c = mem_node_config(n);
    c.is_announce_off = false;
    c.cache_len_max = k->has_small_cache ? 1 : 0; /* 1: the least there is, 16 blocks */
    for (unsigned i = 0; !n->session; i++) {
        assert_true(i < 10000);
        mem_node_up(n, &c);
    }
    for (unsigned i = 0;; i++) {
        struct torrent_params p = {.dir = "d", .check = check, .resume = resume_of(sw, n)};
        enum err_code code = k->is_magnet ? add_magnet(sw, n, &p) : add_info(sw, n, &p);
        session_check(n->session);
        if (code == ERR_OK)
            return;
        assert_int_equal(code, ERR_NO_MEMORY);
        assert_true(i < 10000);
    }
}

/* What a user does: a torrent that stopped for an error is told to go on. */
static void go_on(struct swarm *sw, struct mem_node *n)
{
    struct torrent_stats st = swarm_stats(sw, n);
    if (st.state != TORRENT_ERROR)
        return;
    assert_true(st.err.code == ERR_NO_MEMORY || st.err.code == ERR_IO ||
                st.err.code == ERR_NOT_FOUND);
    session_resume(n->session, sw->world->now_us, sw->torrents[n->index]);
    session_check(n->session);
}

struct have_wait {
    struct swarm *sw;
    struct mem_node *n;
    uint32_t n_have;
};

static bool has_pieces(void *ctx)
{
    struct have_wait *w = ctx;
    struct torrent_stats st = swarm_stats(w->sw, w->n);
    return st.state == TORRENT_ERROR || (st.n_have >= w->n_have && st.n_pieces);
}

/* Until n has so many pieces, whatever happens to it and to its helpers on the way. */
static bool run_to_pieces(struct swarm *sw, struct mem_node *n, struct mem_node *from,
                          uint32_t n_have)
{
    for (unsigned tries = 0; tries < 40; tries++) {
        struct have_wait wait = {sw, n, n_have};
        swarm_meet(sw, n, from);
        uint64_t until_us = sw->world->now_us + 20 * (uint64_t)US_PER_S;
        mem_world_run(sw->world, until_us, has_pieces, &wait);
        struct torrent_stats st = swarm_stats(sw, n);
        if (st.n_pieces && st.n_have >= n_have && st.state != TORRENT_ERROR)
            return true;
        go_on(sw, n);
        go_on(sw, from);
    }
    return false;
}

static bool is_up_to_date(void *ctx)
{
    struct have_wait *w = ctx;
    enum torrent_state state = swarm_state(w->sw, w->n);
    return state == TORRENT_ERROR || state == TORRENT_SEEDING;
}

static bool run_to_seed(struct swarm *sw, struct mem_node *n)
{
    for (unsigned tries = 0; tries < 40; tries++) {
        struct have_wait wait = {sw, n, 0};
        uint64_t until_us = sw->world->now_us + 60 * (uint64_t)US_PER_S;
        mem_world_run(sw->world, until_us, is_up_to_date, &wait);
        if (swarm_state(sw, n) == TORRENT_SEEDING)
            return true;
        go_on(sw, n);
    }
    return false;
}

/* --- one life -------------------------------------------------------------------------------- */

/* Half a download, a pause, the other half; a second peer is served; a stop; a new start from the
 * resume data. `subject` is the one with the fault. */
struct life {
    struct swarm sw;
    struct mem_node *seed, *subject, *other, *liar;
};

static struct life life_new(const struct kind *k, uint64_t seed)
{
    struct life l = {0};
    l.sw = swarm_new(&(struct swarm_params){.seed = seed,
                                            .version = k->version,
                                            .len = (uint64_t)k->piece_len * k->n_pieces - 30000,
                                            .piece_len = k->piece_len,
                                            .n_files = 2,
                                            .chunk_max = 30000});
    l.sw.world->fetch = track;
    l.sw.world->datagram = track_udp;
    l.seed = swarm_node(&l.sw);
    l.subject = mem_world_add(l.sw.world);
    l.other = swarm_node(&l.sw);
    if (k->has_liar) {
        l.liar = swarm_node(&l.sw);
        l.liar->is_corrupting = true;
    }
    return l;
}

static bool life_run(struct life *l, const struct kind *k)
{
    struct swarm *sw = &l->sw;
    uint32_t n_pieces = sw->content->info->n_pieces;
    sw->world->ctx = sw;
    swarm_seed(sw, l->seed);
    if (l->liar)
        swarm_seed(sw, l->liar);
    add_until_it_works(sw, l->subject, k, CHECK_IF_NEEDED);
    if (l->liar)
        swarm_meet(sw, l->subject, l->liar);
    if (!run_to_pieces(sw, l->subject, l->seed, n_pieces / 2))
        return false;
    session_pause(l->subject->session, sw->world->now_us, sw->torrents[l->subject->index]);
    mem_world_run_for(sw->world, US_PER_S);
    session_resume(l->subject->session, sw->world->now_us, sw->torrents[l->subject->index]);
    if (!run_to_pieces(sw, l->subject, l->seed, n_pieces) || !run_to_seed(sw, l->subject))
        return false;
    swarm_magnet(sw, l->other);
    if (!run_to_pieces(sw, l->other, l->subject, n_pieces))
        return false;
    swarm_assert_disk(sw, l->subject);
    swarm_assert_disk(sw, l->other);
    swarm_stop(sw, l->subject);
    add_until_it_works(sw, l->subject, k, k->is_check_all ? CHECK_ALL : CHECK_IF_NEEDED);
    if (!run_to_pieces(sw, l->subject, l->seed, n_pieces) || !run_to_seed(sw, l->subject))
        return false;
    swarm_assert_disk(sw, l->subject);
    return true;
}

static void life_end(struct life *l)
{
    swarm_stop(&l->sw, l->subject);
    swarm_free(&l->sw);
}

static struct kind kind_of(unsigned i)
{
    return (struct kind){.version = versions[i % 3],
                         .is_magnet = i / 3 % 2,
                         .has_liar = i / 6 % 2,
                         .is_check_all = i / 3 % 2 == i / 6 % 2,
                         .piece_len = 32768,
                         .n_pieces = 7};
}

/* Storms come over longer pieces and a small cache as well: spills, pieces that are read back. */
static struct kind storm_kind(unsigned seed)
{
    struct kind k = kind_of(seed);
    k.has_small_cache = seed / 12 % 2;
    if (seed / 24 % 2) {
        k.piece_len = 512 << 10;
        k.n_pieces = 3;
    }
    return k;
}

#define N_KINDS 12u

#define ASSERT_LIFE(l, k, what, at)                                                                \
    do {                                                                                           \
        if (!life_run(l, k))                                                                       \
            fail_msg("%s %llu: version %d, magnet %d, liar %d", what, (unsigned long long)(at),    \
                     (int)(k)->version, (k)->is_magnet, (k)->has_liar);                            \
    } while (0)

/* --- sweeps ---------------------------------------------------------------------------------- */

static unsigned env_number(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    unsigned stride = env_number("STORM_STRIDE", 3);
    for (unsigned i = 0; i < N_KINDS; i++) {
        struct kind k = kind_of(i);
        uint64_t n_allocs = 1;
        for (uint64_t at = 0; at <= n_allocs; at += at ? stride : 1 + i % stride) {
            struct life l = life_new(&k, 100 + i);
            l.subject->mem.fail_at = at;
            ASSERT_LIFE(&l, &k, "allocation", at);
            n_allocs = at ? n_allocs : l.subject->mem.n_allocs;
            life_end(&l);
        }
        assert_true(n_allocs > 150);
    }
}

enum job_fault { FAULT_NOTHING_DONE, FAULT_HALF_DONE, FAULT_LATE, N_JOB_FAULTS };

static void test_each_answer_fails_or_is_late(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_KINDS * N_JOB_FAULTS; i++) {
        struct kind k = kind_of(i / N_JOB_FAULTS);
        enum job_fault fault = (enum job_fault)(i % N_JOB_FAULTS);
        uint64_t n_jobs = 1;
        for (uint64_t at = 0; at <= n_jobs; at++) {
            struct life l = life_new(&k, 200 + i);
            l.sw.world->is_shuffling = at % 2;
            l.subject->is_fail_partial = fault == FAULT_HALF_DONE;
            l.subject->delay_job_us = 45 * (uint64_t)US_PER_S;
            if (fault == FAULT_LATE)
                l.subject->delay_job_at = at;
            else
                l.subject->fail_job_at = at;
            ASSERT_LIFE(&l, &k, "answer", at);
            n_jobs = at ? n_jobs : l.subject->n_jobs_answered;
            life_end(&l);
        }
        assert_true(n_jobs > 25);
    }
}

static void test_each_connect_fails(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_KINDS; i++) {
        struct kind k = kind_of(i);
        for (uint64_t at = 1; at <= 4; at++) {
            struct life l = life_new(&k, 300 + i);
            l.subject->fail_connect_at = at;
            ASSERT_LIFE(&l, &k, "connect", at);
            life_end(&l);
        }
    }
}

/* Answers in any order lead to the same end. */
static void test_answers_in_any_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_KINDS * 10; i++) {
        struct kind k = kind_of(i);
        struct life l = life_new(&k, 400 + i);
        l.sw.world->is_shuffling = true;
        l.subject->storm = (struct mem_storm){.delay = 2, .delay_us = 3 * US_PER_S};
        ASSERT_LIFE(&l, &k, "order", i);
        life_end(&l);
    }
}

/* --- storms ---------------------------------------------------------------------------------- */

static uint32_t draw(struct mem_world *w, const uint32_t *from, uint32_t n)
{
    return from[rng_below(&w->rng, n)];
}

static void storm_begin(struct life *l)
{
    static const uint32_t rates[] = {0, 0, 4, 15, 60, 250, 1000};
    struct mem_world *w = l->sw.world;
    struct mem_node *nodes[] = {l->subject, l->subject, l->seed, l->other};
    uint32_t n = rng_below(&w->rng, 4);
    for (uint32_t i = 0; i <= n; i++)
        nodes[i]->storm = (struct mem_storm){.alloc = draw(w, rates, 7),
                                             .job = draw(w, rates, 7),
                                             .delay = draw(w, rates, 7),
                                             .delay_us = 30 * US_PER_S,
                                             .connect = draw(w, rates, 7),
                                             .cut = draw(w, rates, 7)};
}

static void storm_end(struct life *l)
{
    struct mem_world *w = l->sw.world;
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        w->nodes[i].storm = (struct mem_storm){0};
        w->nodes[i].mem.fail_at = 0;
    }
}

static void storm_ask(struct life *l, struct mem_node *n)
{
    struct peer_stats peers[8];
    char why[500];
    uint32_t t = l->sw.torrents[n->index];
    if (!n->session)
        return;
    session_peers(n->session, l->sw.world->now_us, t, peers, 8);
    session_sources(n->session, l->sw.world->now_us, t, peers, 8);
    session_torrent_why(n->session, l->sw.world->now_us, t, why, sizeof(why));
    session_check(n->session);
}

/* Something that a user or fate does. */
static void storm_act(struct life *l, const struct kind *k)
{
    struct swarm *sw = &l->sw;
    struct mem_world *w = sw->world;
    struct mem_node *n = l->subject;
    uint32_t t = sw->torrents[n->index];
    static const uint8_t priorities[] = {1, 7};
    switch (rng_below(&w->rng, 14)) {
    case 0:
        session_pause(n->session, w->now_us, t);
        break;
    case 1:
        session_remove(n->session, w->now_us, t);
        break;
    case 2:
        mem_node_kill(n);
        add_until_it_works(sw, n, k, CHECK_IF_NEEDED);
        break;
    case 3:
        mem_node_power_cut(n);
        add_until_it_works(sw, n, k, rng_below(&w->rng, 2) ? CHECK_ALL : CHECK_IF_NEEDED);
        break;
    case 4:
        session_set_limits(n->session, w->now_us, rng_below(&w->rng, 2) ? 50000 : 0, 0);
        break;
    case 5:
        (void)!session_set_file_priorities(n->session, w->now_us, t, priorities, 2);
        break;
    case 6:
    case 7:
        swarm_meet(sw, l->other, n);
        break;
    default:
        swarm_meet(sw, n, rng_below(&w->rng, 2) && l->liar ? l->liar : l->seed);
        break;
    }
    if (!sw->torrents[n->index])
        add_until_it_works(sw, n, k, CHECK_IF_NEEDED);
    session_check(n->session);
    session_resume(n->session, w->now_us, sw->torrents[n->index]);
    go_on(sw, l->seed);
    go_on(sw, l->other);
}

static void storm_blow(struct life *l, const struct kind *k)
{
    struct mem_world *w = l->sw.world;
    uint32_t n_acts = 10 + rng_below(&w->rng, 40);
    for (uint32_t i = 0; i < n_acts; i++) {
        mem_world_run_for(w, 1 + rng_below(&w->rng, 8 * US_PER_S));
        storm_ask(l, l->subject);
        storm_act(l, k);
    }
}

static bool storm_calm(struct life *l, const struct kind *k)
{
    struct swarm *sw = &l->sw;
    uint32_t n_pieces = sw->content->info->n_pieces;
    storm_end(l);
    session_set_limits(l->subject->session, sw->world->now_us, 0, 0);
    mem_world_run_for(sw->world, 40 * (uint64_t)US_PER_S);
    if (!sw->torrents[l->subject->index])
        add_until_it_works(sw, l->subject, k, CHECK_IF_NEEDED);
    session_resume(l->subject->session, sw->world->now_us, sw->torrents[l->subject->index]);
    go_on(sw, l->seed);
    if (!run_to_pieces(sw, l->subject, l->seed, n_pieces) || !run_to_seed(sw, l->subject) ||
        !run_to_pieces(sw, l->other, l->subject, n_pieces)) {
        swarm_run_to_seeding(sw, 1); /* says why */
        return false;
    }
    swarm_assert_disk(sw, l->subject);
    swarm_assert_disk(sw, l->other);
    return true;
}

struct weather {
    uint64_t n_refused, n_failed, n_cut, n_bad, n_banned, n_readbacks;
};

static void weather_add(struct weather *w, const struct life *l)
{
    for (uint32_t i = 0; i < l->sw.world->n_nodes; i++) {
        const struct mem_node *n = &l->sw.world->nodes[i];
        w->n_refused += n->mem.n_refused;
        w->n_failed += n->n_jobs_failed;
        w->n_cut += n->n_cut;
    }
    w->n_readbacks += swarm_counter(l->subject, "readbacks");
    w->n_bad += l->sw.n_bad_pieces;
    w->n_banned += l->sw.n_banned;
}

static void test_storms(void **state)
{
    (void)state;
    struct weather all = {0};
    unsigned first = env_number("STORM_SEED", 1), n = env_number("STORM_SEEDS", 100);
    for (unsigned seed = first; seed < first + n; seed++) {
        struct kind k = storm_kind(seed);
        if (getenv("STORM_SEEDS"))
            fprintf(stderr, "storm %u\r", seed); /* an assertion does not say it */
        struct life l = life_new(&k, seed);
        struct swarm *sw = &l.sw;
        sw->world->is_shuffling = seed % 2;
        swarm_seed(sw, l.seed);
        if (l.liar)
            swarm_seed(sw, l.liar);
        swarm_magnet(sw, l.other);
        storm_begin(&l);
        add_until_it_works(sw, l.subject, &k, CHECK_IF_NEEDED);
        storm_blow(&l, &k);
        if (!storm_calm(&l, &k))
            fail_msg("storm %u: the download did not end", seed);
        weather_add(&all, &l);
        life_end(&l);
    }
    print_message("%llu allocations refused, %llu answers failed, %llu connections cut, %llu bad "
                  "pieces, %llu bans, %llu pieces read back\n",
                  (unsigned long long)all.n_refused, (unsigned long long)all.n_failed,
                  (unsigned long long)all.n_cut, (unsigned long long)all.n_bad,
                  (unsigned long long)all.n_banned, (unsigned long long)all.n_readbacks);
    assert_true(n < 100 || (all.n_refused > 100 && all.n_failed > 100 && all.n_cut > 50));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_answer_fails_or_is_late),
        cmocka_unit_test(test_each_connect_fails),
        cmocka_unit_test(test_answers_in_any_order),
        cmocka_unit_test(test_storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
