/* Each allocation of the real host fails once: at its start, during a transfer over loopback, while trackers
 * are asked. Nothing crashes, nothing is lost, somebody is told, and the next attempt works.
 *
 * ALLOC_FAULT_STRIDE=1 fails every allocation of a transfer (default every sixth). */
#include "alloc_faults.h"
#include "announcer_host.h"
#include "host_pair.h"
#include "io/chain_pool.h"
#include "io/http_server.h"
#include "io/tracker_host.h"

#define PIECE_LEN    32768u
#define N_ALLOCS_MAX 100000u
#define STALL_US     20000000u
#define ALONE_US     300000u /* a handshake takes less */
#define STRIDE       6u

static const struct fixture_file tree[] = {
    {"a/one", 150000, "", NULL},
    {"a/two", 3, "x", NULL},
    {"b/three", 90001, "", NULL},
};

static uint64_t stride(void)
{
    const char *text = getenv("ALLOC_FAULT_STRIDE");
    return text ? strtoull(text, NULL, 10) : STRIDE;
}

/* --- starting ------------------------------------------------------------------------------- */

struct parts {
    struct loop *loop;
    struct workers *workers;
    struct file_cache *files;
    struct resume_store *resume;
    struct io_host *host;
    struct tracker_host *tracker;
    struct chain_pool *pool;
    char dir[TEST_PATH_CAP];
};

static enum err_code parts_start(struct parts *p, struct err *err)
{
    struct addr local = addr_v4(127, 0, 0, 1, 0);
    struct tracker_host_config tracker = {.n_binds = 1, .binds = {local}};
    enum err_code code = loop_new(&p->loop, err);
    if (code == ERR_OK)
        code = workers_new(&p->workers, 1, 100, err);
    if (code == ERR_OK)
        code = file_cache_new(&p->files, 0, NULL, err);
    if (code == ERR_OK)
        code = resume_store_open(&p->resume, p->dir, NULL, err);
    struct io_host_config host = {.loop = p->loop,
                                  .workers = p->workers,
                                  .files = p->files,
                                  .resume = p->resume,
                                  .net = {.bind4 = local}};
    if (code == ERR_OK)
        code = io_host_new(&p->host, &host, err);
    if (code == ERR_OK)
        code = tracker_host_new(&p->tracker, p->loop, &tracker, err);
    if (code == ERR_OK)
        code = chain_pool_new(&p->pool, 2, err);
    return code;
}

static void parts_end(struct parts *p)
{
    if (p->pool)
        chain_pool_free(p->pool);
    tracker_host_free(p->tracker);
    io_host_free(p->host);
    if (p->resume)
        resume_store_close(p->resume);
    if (p->files)
        file_cache_free(p->files);
    workers_free(p->workers);
    loop_free(p->loop);
}

/* All but the three of the datagram socket: the host tries once more, on another port. */
static void each_start_fails_cleanly(void **state)
{
    (void)state;
    struct parts p = {0};
    uint64_t n = 0, n_refused = 0;
    test_temp_dir(p.dir);
    assert_int_equal(parts_start(&p, NULL), ERR_OK); /* what libraries keep for good is there */
    parts_end(&p);
    size_t n_fds = test_count_fds();
    for (uint64_t at = 1; at < N_ALLOCS_MAX; at++) {
        struct parts q = {0};
        struct err err = {0};
        memcpy(q.dir, p.dir, sizeof q.dir);
        int64_t n_out = alloc_fault_n_out();
        alloc_fault_arm(at);
        enum err_code code = parts_start(&q, &err);
        bool was_hit = alloc_fault_disarm(&n);
        parts_end(&q);
        assert_int_equal(alloc_fault_n_out(), n_out);
        assert_int_equal(test_count_fds(), n_fds);
        if (code) {
            assert_int_equal(code, ERR_NO_MEMORY);
            assert_int_equal(err.code, code);
            assert_non_null(err.what);
            n_refused++;
        }
        if (!was_hit)
            break;
    }
    print_message("%llu allocations, %llu starts refused\n", (unsigned long long)n,
                  (unsigned long long)n_refused);
    assert_int_equal(n_refused + 3, n);
    test_remove_dir(p.dir);
}

/* --- a transfer ------------------------------------------------------------------------------ */

struct attempt {
    struct err err; /* of session_add */
    bool is_done;
};

static bool is_over(const struct node *n)
{
    return n->state == TORRENT_SEEDING || n->state == TORRENT_ERROR;
}

static bool has_peers(struct node *n)
{
    struct torrent_stats stats;
    bool is_there = session_torrent_stats(n->session, clock_now_us(), n->torrent, &stats);
    return is_there && stats.n_peers + stats.n_connecting > 0;
}

/* Until n has all, or is in trouble, or (once dialled) is alone. Stalling is a failure. */
static void wait_until_over(struct world *w, struct node *n, bool is_dialled)
{
    uint64_t now_us = clock_now_us(), end_us = now_us + STALL_US, alone_us = now_us + ALONE_US;
    while (!is_over(n) && !(is_dialled && now_us > alone_us)) {
        if (now_us > end_us)
            fail_msg("stalled: state %d, %u pieces", n->state, n->n_pieces);
        loop_turn(w->loop, 10000);
        now_us = clock_now_us();
        if (has_peers(n))
            alone_us = now_us + ALONE_US;
    }
}

static void node_reset(struct node *n)
{
    n->state = TORRENT_OPENING;
    n->n_pieces = 0;
    n->err = (struct err){0};
}

static void attempt(struct world *w, struct metainfo *info[2], struct attempt *out)
{
    node_reset(&w->a);
    node_reset(&w->b);
    w->a.torrent = w->b.torrent = UINT32_MAX;
    *out = (struct attempt){0};
    if (node_try_add(&w->a, info[0], true, (struct bytes){0}, &out->err))
        return;
    info[0] = NULL;
    wait_until_over(w, &w->a, false);
    if (node_try_add(&w->b, info[1], false, (struct bytes){0}, &out->err))
        return;
    info[1] = NULL;
    while (w->b.state == TORRENT_OPENING || w->b.state == TORRENT_CHECKING)
        loop_turn(w->loop, 10000);
    dial(w);
    wait_until_over(w, &w->b, true);
    out->is_done = w->b.state == TORRENT_SEEDING;
}

static void remove_both(struct world *w)
{
    struct node *nodes[] = {&w->b, &w->a};
    for (int i = 0; i < 2; i++)
        if (nodes[i]->torrent != UINT32_MAX)
            stop(w, nodes[i]);
}

static void must_work(struct world *w)
{
    struct attempt t;
    struct metainfo *info[2] = {metainfo_copy(w, &w->a), metainfo_copy(w, &w->b)};
    attempt(w, info, &t);
    if (!t.is_done)
        fail_msg("after it: a %d %s, b %d %s", w->a.state, w->a.err.what, w->b.state,
                 w->b.err.what);
    remove_both(w);
    assert_same(w);
}

static void empty_folder(const char *dir)
{
    test_remove_dir(dir);
    assert_int_equal(mkdir(dir, 0777), 0);
}

/* One transfer in which allocation number `at` fails. False: it has fewer. */
static bool transfer_with_fault(struct world *w, uint64_t at, struct attempt *t)
{
    uint64_t n;
    struct metainfo *info[2] = {metainfo_copy(w, &w->a), metainfo_copy(w, &w->b)};
    alloc_fault_arm(at);
    attempt(w, info, t);
    bool was_hit = alloc_fault_disarm(&n);
    bool is_told = t->err.code || w->a.err.code || w->b.err.code;
    if (!t->is_done)
        print_message("at %llu: %s / %s / %s%s\n", (unsigned long long)at,
                      t->err.code ? t->err.what : "-", w->a.err.code ? w->a.err.what : "-",
                      w->b.err.code ? w->b.err.what : "-", is_told ? "" : " (the peer is gone)");
    assert_true(was_hit || t->is_done);
    remove_both(w);
    for (int i = 0; i < 2; i++)
        metainfo_free(info[i]);
    return was_hit;
}

static void each_allocation_of_a_transfer_fails(void **state)
{
    (void)state;
    int64_t n_out = alloc_fault_n_out();
    struct world *w =
        world_new(tree, COUNT_OF(tree), PIECE_LEN, addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO);
    unsigned n_runs = 0, n_absorbed = 0;
    must_work(w);
    for (uint64_t at = 1; at < N_ALLOCS_MAX; at += stride(), n_runs++) {
        struct attempt t;
        empty_folder(w->b.dir);
        node_end(&w->a);
        node_end(&w->b);
        node_start(w, &w->a);
        node_start(w, &w->b);
        if (!transfer_with_fault(w, at, &t))
            break;
        n_absorbed += t.is_done;
        if (!t.is_done)
            must_work(w);
    }
    print_message("%u transfers, %u came through\n", n_runs, n_absorbed);
    world_free(w);
    assert_int_equal(alloc_fault_n_out(), n_out);
}

/* --- asking a tracker ------------------------------------------------------------------------ */

struct asking {
    struct loop *loop;
    struct tracker_host *tracker;
    struct announcer_host client;
};

static void asking_begin(struct asking *k)
{
    struct tracker_host_config config = {.n_binds = 1, .binds = {addr_v4(127, 0, 0, 1, 0)}};
    struct err err;
    assert_int_equal(loop_new(&k->loop, &err), ERR_OK);
    assert_int_equal(tracker_host_new(&k->tracker, k->loop, &config, &err), ERR_OK);
    assert_true(announcer_host_open(&k->client, k->loop, "127.0.0.1", 6881));
}

/* Nobody waits for the thread that looks names up: what is its own it frees when it has heard. */
static void asking_end(struct asking *k, int64_t n_out)
{
    announcer_host_close(&k->client);
    tracker_host_free(k->tracker);
    loop_free(k->loop);
    uint64_t end_us = clock_now_us() + STALL_US;
    while (alloc_fault_n_out() != n_out && clock_now_us() < end_us)
        usleep(1000);
    assert_int_equal(alloc_fault_n_out(), n_out);
}

/* The first by a name; one that could not be looked up is not asked for again at once. */
static enum err_code ask(struct asking *k, uint32_t id, const char *scheme)
{
    char url[100];
    uint8_t infohash[SHA1_LEN] = {(uint8_t)id};
    struct announcer *a = k->client.a;
    uint64_t now_us = clock_now_us();
    snprintf(url, sizeof url, "%s://%s:%u/announce", scheme, id == 1 ? "localhost" : "127.0.0.1",
             tracker_host_port(k->tracker));
    enum err_code code = announcer_add(a, id, infohash, NULL, &k->client.progress);
    if (code == ERR_OK)
        code = announcer_add_tracker(a, now_us, id, 0, bytes_of_str(url), false);
    if (code == ERR_OK)
        announcer_start(a, now_us, id);
    return code;
}

/* False: no allocation was left to fail. */
static bool ask_with_fault(struct asking *k, uint64_t at, const char *scheme, unsigned *n_refused)
{
    uint64_t n;
    alloc_fault_arm(at);
    enum err_code code = ask(k, 1, scheme);
    bool is_over = code || announcer_host_wait(&k->client, &k->client.n_ended, 1, STALL_US);
    bool was_hit = alloc_fault_disarm(&n);
    if (!is_over)
        fail_msg("%s, allocation %llu: no answer", scheme, (unsigned long long)at);
    assert_true(was_hit || k->client.n_good == 1);
    *n_refused += k->client.n_good == 0;
    return was_hit;
}

static void each_allocation_of_an_announce_fails(const char *scheme)
{
    unsigned n_refused = 0;
    bool was_hit = true;
    uint64_t at = 1;
    for (; was_hit && at < N_ALLOCS_MAX; at++) {
        struct asking k = {0};
        int64_t n_out = alloc_fault_n_out();
        asking_begin(&k);
        was_hit = ask_with_fault(&k, at, scheme, &n_refused);
        unsigned n_good = k.client.n_good;
        assert_int_equal(ask(&k, 2, scheme), ERR_OK);
        if (!announcer_host_wait(&k.client, &k.client.n_good, n_good + 1, STALL_US))
            fail_msg("%s, after allocation %llu: %s", scheme, (unsigned long long)at,
                     k.client.last_error);
        asking_end(&k, n_out);
    }
    print_message("%s: %llu announces, %u refused\n", scheme, (unsigned long long)at - 1,
                  n_refused);
}

static void each_allocation_of_an_http_announce_fails(void **state)
{
    (void)state;
    each_allocation_of_an_announce_fails("http");
}

static void each_allocation_of_a_udp_announce_fails(void **state)
{
    (void)state;
    each_allocation_of_an_announce_fails("udp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_start_fails_cleanly),
        cmocka_unit_test(each_allocation_of_a_transfer_fails),
        cmocka_unit_test(each_allocation_of_an_http_announce_fails),
        cmocka_unit_test(each_allocation_of_a_udp_announce_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
