/* Two ends, no network: announcers against tracker_server through a small host with a clock. */
#include "test_util.h"
#include "torrent/announcer.h"
#include "torrent/tracker_server.h"

#define S             UINT64_C(1000000)
#define N_TRACKERS    4u
#define N_STATUS_KEPT 64u

enum tracker_mode {
    MODE_UP,
    MODE_DOWN,   /* connections fail, datagrams vanish */
    MODE_SILENT, /* nothing is answered, ever */
    MODE_BODY,   /* `body` with `http_status` */
};

struct world {
    struct mem mem;
    uint64_t now_us;
    struct tracker_server *server;
    struct announcer *a;
    struct announcer_config config;
    struct announcer_progress progress;
    enum tracker_mode modes[N_TRACKERS]; /* of t0.test .. t3.test */
    const char *body;
    uint32_t http_status;
    bool has_no_name; /* look-ups fail */
    unsigned client;  /* last byte of our addresses */
    /* what happened */
    unsigned n_resolves, n_fetches, n_connects, n_datagrams, n_stopped, n_statuses, n_peers;
    unsigned n_asked[N_TRACKERS];
    struct announcer_want statuses[N_STATUS_KEPT];
    struct addr peers[2048];
    char last_url[TRACKER_HTTP_URL_MAX];
    uint64_t silent_jobs[256];
    unsigned n_silent;
};

static const uint8_t hash_v1[20] = {1};
static const uint8_t hash_v2[32] = {2};

static struct addr own_addr(const struct world *w, bool is_v6)
{
    struct addr a = addr_v4(10, 1, 0, (uint8_t)w->client, 40000);
    if (is_v6)
        assert_int_equal(addr_parse(BYTES_LIT("2001:db8::1"), 40000, &a), ERR_OK);
    if (is_v6)
        a.ip[15] = (uint8_t)w->client;
    return a;
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    static const struct tracker_server_config server = {
        .interval_s = 100, .min_interval_s = 20, .secret = {5}};
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    w->now_us = 1000 * S;
    w->client = 1;
    w->http_status = 200;
    w->config = (struct announcer_config){.listen_port = 6881};
    w->progress = (struct announcer_progress){.left = 1000};
    memset(w->config.peer_id, 'p', 20);
    assert_int_equal(tracker_server_new(&w->server, &w->mem, &server, w->now_us, 1), ERR_OK);
    return w;
}

static void begin(struct world *w)
{
    assert_int_equal(announcer_new(&w->a, &w->mem, &w->config, NULL, 7), ERR_OK);
}

static void end(struct world *w)
{
    announcer_check(w->a);
    tracker_server_check(w->server);
    announcer_free(w->a);
    tracker_server_free(w->server);
    mem_check_empty(&w->mem);
    free(w);
}

/* "t2.test" or 10.9.0.2 or 2001:db8:9::2: tracker 2 */
static unsigned tracker_of_url(const char *url, uint8_t family)
{
    const char *name = strstr(url, "//t");
    (void)family;
    return name ? (unsigned)(name[3] - '0') : 0;
}

static void on_fetch(struct world *w, const struct announcer_want *want)
{
    static uint8_t body[TRACKER_SERVER_HTTP_CAP];
    static const struct err refused = {.code = ERR_IO, .what = "connection refused", .got = 111};
    unsigned tracker = tracker_of_url(want->url, want->ip_family);
    uint64_t job = want->job;
    w->n_fetches++;
    w->n_asked[tracker]++;
    snprintf(w->last_url, sizeof w->last_url, "%s", want->url);
    if (w->modes[tracker] == MODE_SILENT) {
        w->silent_jobs[w->n_silent++ % COUNT_OF(w->silent_jobs)] = job;
    } else if (w->modes[tracker] == MODE_DOWN) {
        announcer_on_fetched(w->a, w->now_us, job, &refused, 0, (struct bytes){0});
    } else if (w->modes[tracker] == MODE_BODY) {
        announcer_on_fetched(w->a, w->now_us, job, NULL, w->http_status, bytes_of_str(w->body));
    } else {
        struct writer out = writer_init(body, sizeof body);
        const char *path = strchr(want->url + 8, '/');
        const char *query = strchr(path, '?');
        struct addr from = own_addr(w, want->ip_family == ADDR_V6);
        uint32_t status =
            tracker_server_http(w->server, w->now_us, bytes_of(path, (size_t)(query - path)),
                                bytes_of_str(query + 1), &from, &out);
        announcer_on_fetched(w->a, w->now_us, job, NULL, status, writer_bytes(&out));
    }
}

static void on_datagram(struct world *w, const struct announcer_want *want)
{
    uint8_t reply[TRACKER_SERVER_UDP_CAP];
    unsigned tracker = want->to.ip[want->to.family == ADDR_V6 ? 15 : 3];
    struct addr from = own_addr(w, want->to.family == ADDR_V6);
    struct addr to = want->to;
    w->n_datagrams++;
    w->n_asked[tracker]++;
    w->n_connects += want->packet.len == 16;
    if (w->modes[tracker] != MODE_UP)
        return;
    size_t len = tracker_server_udp(w->server, w->now_us, &from, want->packet, reply);
    if (len)
        assert_true(announcer_on_datagram(w->a, w->now_us, &to, bytes_of(reply, len)));
}

static void on_resolve(struct world *w, const struct announcer_want *want)
{
    struct addr addrs[2] = {addr_v4(10, 9, 0, (uint8_t)(want->name[1] - '0'), 0)};
    static const struct err unknown = {.code = ERR_NOT_FOUND, .what = "no such host"};
    assert_int_equal(addr_parse(BYTES_LIT("2001:db8:9::"), 0, &addrs[1]), ERR_OK);
    addrs[1].ip[15] = (uint8_t)(want->name[1] - '0');
    w->n_resolves++;
    if (w->has_no_name)
        announcer_on_resolved(w->a, w->now_us, want->job, &unknown, NULL, 0);
    else
        announcer_on_resolved(w->a, w->now_us, want->job, NULL, addrs, 2);
}

static void on_want(struct world *w, const struct announcer_want *want)
{
    switch (want->kind) {
    case ANNOUNCER_RESOLVE:
        on_resolve(w, want);
        break;
    case ANNOUNCER_DATAGRAM:
        on_datagram(w, want);
        break;
    case ANNOUNCER_FETCH:
        on_fetch(w, want);
        break;
    case ANNOUNCER_PEERS:
        for (size_t i = 0; i < want->n_peers; i++)
            w->peers[w->n_peers++ % COUNT_OF(w->peers)] = want->peers[i];
        break;
    case ANNOUNCER_STATUS:
        w->statuses[w->n_statuses++ % N_STATUS_KEPT] = *want;
        break;
    case ANNOUNCER_STOPPED:
        w->n_stopped++;
        break;
    }
}

static void pump(struct world *w)
{
    struct announcer_want want;
    unsigned n = 0;
    while (announcer_next(w->a, w->now_us, &want)) {
        on_want(w, &want);
        assert_true(n++ < 1000000);
    }
    assert_true(announcer_deadline_us(w->a) > w->now_us);
}

/* Runs the clock from deadline to deadline. */
static void run_until(struct world *w, uint64_t until_us)
{
    pump(w);
    while (announcer_deadline_us(w->a) <= until_us) {
        w->now_us = announcer_deadline_us(w->a);
        pump(w);
        announcer_check(w->a);
    }
    w->now_us = until_us;
}

static void add(struct world *w, uint32_t id, bool has_v1, bool has_v2)
{
    assert_int_equal(
        announcer_add(w->a, id, has_v1 ? hash_v1 : NULL, has_v2 ? hash_v2 : NULL, &w->progress),
        ERR_OK);
}

static enum err_code add_tracker(struct world *w, uint32_t id, uint32_t tier, const char *url)
{
    return announcer_add_tracker(w->a, w->now_us, id, tier, bytes_of_str(url), false);
}

static struct world *start(const char *url)
{
    struct world *w = world_new();
    begin(w);
    add(w, 1, true, false);
    assert_int_equal(add_tracker(w, 1, 0, url), ERR_OK);
    announcer_start(w->a, w->now_us, 1);
    return w;
}

static struct swarm_counts scrape(struct world *w, const uint8_t *hash)
{
    uint8_t packet[64], reply[TRACKER_SERVER_UDP_CAP];
    struct addr from = addr_v4(10, 200, 0, 1, 1);
    struct writer p = writer_init(packet, sizeof packet);
    writer_u64be(&p, 0x41727101980);
    writer_u64be(&p, 0);
    tracker_server_udp(w->server, w->now_us, &from, writer_bytes(&p), reply);
    p = writer_init(packet, sizeof packet);
    writer_put(&p, bytes_of(reply + 8, 8));
    writer_u32be(&p, 2);
    writer_u32be(&p, 0);
    writer_put(&p, bytes_of(hash, 20));
    size_t len = tracker_server_udp(w->server, w->now_us, &from, writer_bytes(&p), reply);
    assert_int_equal(len, 20);
    struct reader r = reader_init(bytes_of(reply + 8, 12));
    struct swarm_counts c = {0};
    c.n_seeders = reader_u32be(&r);
    c.n_completed = reader_u32be(&r);
    c.n_leechers = reader_u32be(&r);
    return c;
}

static void add_other_peer(struct world *w, const uint8_t *hash, uint8_t host)
{
    uint8_t out[TRACKER_SERVER_HTTP_CAP];
    char query[400];
    struct writer q = writer_init(query, sizeof query);
    struct writer o = writer_init(out, sizeof out);
    struct addr from = addr_v4(10, 2, 0, host, 1);
    writer_str(&q, "port=7000&left=0&info_hash=");
    percent_encode(&q, bytes_of(hash, 20));
    assert_int_equal(tracker_server_http(w->server, w->now_us, BYTES_LIT("/announce"),
                                         writer_bytes(&q), &from, &o),
                     200);
}

/* --- life of an announce --------------------------------------------------------------------- */

static const char *const urls[] = {"http://t0.test/announce", "udp://t0.test:6969/announce"};

static void test_started_completed_stopped(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct world *w = start(urls[i]);
        add_other_peer(w, hash_v1, 9);
        pump(w);
        assert_int_equal(w->n_peers, 1); /* the other peer is there over IPv4 only */
        struct addr other = addr_v4(10, 2, 0, 9, 7000);
        assert_true(addr_equal(&w->peers[0], &other));
        assert_int_equal(w->n_statuses, 2); /* both families */
        assert_int_equal(w->statuses[0].err.code, ERR_OK);
        struct swarm_counts c = scrape(w, hash_v1);
        assert_int_equal(c.n_leechers, 2);
        assert_int_equal(c.n_seeders, 1);
        struct announcer_tracker_status status;
        assert_true(announcer_tracker_status(w->a, 1, 0, &status));
        assert_int_equal(status.state, ANNOUNCER_WAITING);
        assert_string_equal(status.url, urls[i]);
        assert_true(status.announced_at_us == w->now_us);
        uint64_t next_us = announcer_next_at_us(w->a, 1);
        assert_true(next_us >= w->now_us + 100 * S && next_us <= w->now_us + 107 * S);

        w->now_us += 5 * S;
        w->progress.left = 0;
        announcer_completed(w->a, w->now_us, 1);
        announcer_completed(w->a, w->now_us, 1);
        run_until(w, w->now_us + 1000 * S);
        c = scrape(w, hash_v1);
        assert_int_equal(c.n_completed, 2); /* once per family */
        assert_int_equal(c.n_seeders, 2);   /* the other one has expired meanwhile */

        announcer_stop(w->a, w->now_us, 1);
        pump(w);
        assert_int_equal(w->n_stopped, 1);
        c = scrape(w, hash_v1);
        assert_int_equal(c.n_seeders + c.n_leechers, 0);
        unsigned n = w->n_fetches + w->n_datagrams;
        run_until(w, w->now_us + 10000 * S);
        assert_int_equal(w->n_fetches + w->n_datagrams, n);
        end(w);
    }
}

static void test_completed_at_start_is_not_told(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->progress.left = 0;
    run_until(w, w->now_us + 500 * S);
    struct swarm_counts c = scrape(w, hash_v1);
    assert_int_equal(c.n_completed, 0);
    assert_int_equal(c.n_seeders, 2);
    end(w);
}

static void test_completed_while_started_is_out(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->modes[0] = MODE_SILENT;
    pump(w);
    w->progress.left = 0;
    announcer_completed(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_fetches, 2);
    for (unsigned i = 0; i < 2; i++)
        announcer_on_fetched(w->a, w->now_us, w->silent_jobs[i], NULL, 200,
                             BYTES_LIT("d8:intervali100ee"));
    w->modes[0] = MODE_UP;
    pump(w);
    assert_int_equal(w->n_fetches, 4);
    assert_non_null(strstr(w->last_url, "event=completed"));
    run_until(w, w->now_us + 150 * S);
    assert_int_equal(w->n_fetches, 6);
    assert_null(strstr(w->last_url, "event="));
    end(w);
}

static void test_hybrid_has_two_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct world *w = world_new();
        begin(w);
        add(w, 1, true, true);
        assert_int_equal(add_tracker(w, 1, 0, urls[i]), ERR_OK);
        announcer_start(w->a, w->now_us, 1);
        pump(w);
        struct tracker_server_stats stats;
        tracker_server_stats(w->server, &stats);
        assert_int_equal(stats.n_swarms, 2);
        assert_int_equal(stats.n_peers_v4, 2);
        assert_int_equal(stats.n_peers_v6, 2);
        assert_int_equal(scrape(w, hash_v2).n_leechers, 2); /* the first 20 bytes of it */
        announcer_stop(w->a, w->now_us, 1);
        pump(w);
        tracker_server_stats(w->server, &stats);
        assert_int_equal(stats.n_peers_v4 + stats.n_peers_v6, 0);
        assert_int_equal(w->n_stopped, 1);
        end(w);
    }
}

static void test_v2_only(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->config.has_no_v6 = true;
    begin(w);
    add(w, 1, false, true);
    assert_int_equal(add_tracker(w, 1, 0, urls[0]), ERR_OK);
    announcer_start(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_fetches, 1);
    assert_non_null(strstr(w->last_url, "info_hash=%02%00%00"));
    end(w);
}

static void test_second_hash_becomes_known(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    pump(w);
    announcer_set_infohash(w->a, 1, hash_v1, hash_v2);
    run_until(w, w->now_us + 150 * S);
    assert_int_equal(scrape(w, hash_v2).n_leechers, 2);
    end(w);
}

static void test_address_literals_have_one_family(void **state)
{
    (void)state;
    static const char *const literals[] = {"http://10.9.0.0:80/announce", "udp://10.9.0.0:80",
                                           "http://[2001:db8:9::]/announce",
                                           "udp://[2001:db8:9::]:80/"};
    for (size_t i = 0; i < COUNT_OF(literals); i++) {
        struct world *w = start(literals[i]);
        pump(w);
        struct tracker_server_stats stats;
        tracker_server_stats(w->server, &stats);
        assert_int_equal(stats.n_peers_v4, i < 2);
        assert_int_equal(stats.n_peers_v6, i >= 2);
        assert_int_equal(w->n_resolves, 0);
        end(w);
    }
}

static void test_partial_seed_is_paused(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->progress.is_partial_seed = true;
    pump(w);
    assert_non_null(strstr(w->last_url, "event=started"));
    run_until(w, w->now_us + 150 * S);
    assert_non_null(strstr(w->last_url, "event=paused")); /* BEP 21 */
    w->progress.wants_no_peers = true;
    run_until(w, w->now_us + 150 * S);
    assert_non_null(strstr(w->last_url, "numwant=0"));
    end(w);
}

/* --- when ------------------------------------------------------------------------------------ */

static void test_want_peers_obeys_min_interval(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    pump(w);
    uint64_t began_us = w->now_us;
    assert_int_equal(w->n_fetches, 2);
    w->now_us += 5 * S;
    announcer_want_peers(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_fetches, 2);
    assert_true(announcer_next_at_us(w->a, 1) == began_us + 20 * S);
    run_until(w, began_us + 20 * S);
    assert_int_equal(w->n_fetches, 4);
    w->now_us += 50 * S;
    announcer_want_peers(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_fetches, 6);
    end(w);
}

static void test_backoff_grows(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    uint64_t last_us = w->now_us, last_wait_us = 0;
    w->modes[0] = MODE_DOWN;
    for (unsigned i = 0; i < 12; i++) {
        run_until(w, w->now_us);
        uint64_t next_us = announcer_next_at_us(w->a, 1);
        uint64_t wait_us = next_us - last_us;
        assert_true(i < 1 || i > 6 || wait_us > last_wait_us);
        assert_true(wait_us >= 7 * S && wait_us <= 2251 * S);
        announcer_want_peers(w->a, w->now_us, 1); /* no way round it */
        assert_true(announcer_next_at_us(w->a, 1) == next_us);
        last_wait_us = wait_us;
        last_us = w->now_us = next_us;
    }
    struct announcer_tracker_status status;
    assert_true(announcer_tracker_status(w->a, 1, 0, &status));
    assert_int_equal(status.state, ANNOUNCER_BAD);
    assert_int_equal(status.err.code, ERR_IO);
    assert_int_equal(status.n_fails, 12);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_FETCH_FAILED), 24); /* two families each */
    w->modes[0] = MODE_UP;
    pump(w);
    assert_true(announcer_tracker_status(w->a, 1, 0, &status));
    assert_int_equal(status.n_fails, 0);
    assert_int_equal(status.state, ANNOUNCER_WAITING);
    end(w);
}

static void test_udp_gives_up_and_tells(void **state)
{
    (void)state;
    struct world *w = start(urls[1]);
    uint64_t began_us = w->now_us;
    w->modes[0] = MODE_DOWN;
    struct announcer_tracker_status status;
    run_until(w, began_us + 20 * S);
    assert_true(announcer_tracker_status(w->a, 1, 0, &status));
    assert_int_equal(status.state, ANNOUNCER_ANNOUNCING);
    assert_string_equal(status.err.what, "no answer yet");
    run_until(w, began_us + 7664 * S); /* 15 * (2^9 - 1), BEP 15 */
    assert_int_equal(w->n_statuses, 0);
    assert_int_equal(w->n_connects, 2 * 9);
    run_until(w, began_us + 7665 * S);
    assert_int_equal(w->n_statuses, 1);
    assert_int_equal(w->statuses[0].err.code, ERR_IO);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_UDP_FAILED), 2);
    end(w);
}

static void test_retry_in(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->modes[0] = MODE_BODY;
    w->body = "d14:failure reason4:full8:retry ini5ee";
    pump(w);
    assert_string_equal(w->statuses[0].text, "full");
    assert_true(announcer_next_at_us(w->a, 1) >= w->now_us + 300 * S);
    w->body = "d14:failure reason7:go away8:retry in5:nevere";
    run_until(w, w->now_us + 301 * S);
    assert_true(announcer_next_at_us(w->a, 1) == DEADLINE_NEVER);
    unsigned n = w->n_fetches;
    run_until(w, w->now_us + 100000 * S);
    assert_int_equal(w->n_fetches, n);
    announcer_stop(w->a, w->now_us, 1); /* a new start asks again */
    announcer_start(w->a, w->now_us, 1);
    w->modes[0] = MODE_UP;
    pump(w);
    assert_int_equal(w->n_fetches, n + 2);
    end(w);
}

/* --- tiers (BEP 12) -------------------------------------------------------------------------- */

static void test_tiers_in_order(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->config.has_no_v6 = true;
    begin(w);
    add(w, 1, true, false);
    assert_int_equal(add_tracker(w, 1, 1, "http://t2.test/announce"), ERR_OK);
    assert_int_equal(add_tracker(w, 1, 0, "http://t0.test/announce"), ERR_OK);
    assert_int_equal(add_tracker(w, 1, 0, "http://t1.test/announce"), ERR_OK);
    assert_int_equal(add_tracker(w, 1, 1, "http://t1.test/announce"), ERR_OK); /* known */
    assert_int_equal(announcer_n_trackers(w->a, 1), 3);
    w->modes[0] = MODE_DOWN;
    announcer_start(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_asked[1], 1);
    assert_int_equal(w->n_asked[2], 0); /* the second tier was not needed */
    struct announcer_tracker_status status;
    assert_true(announcer_tracker_status(w->a, 1, 0, &status));
    assert_string_equal(status.url, "http://t1.test/announce"); /* moved to the front */
    w->n_asked[0] = 0;
    w->modes[1] = MODE_DOWN;
    run_until(w, w->now_us + 110 * S);
    assert_int_equal(w->n_asked[1], 2);
    assert_int_equal(w->n_asked[0], 1);
    assert_int_equal(w->n_asked[2], 1);
    assert_true(announcer_tracker_status(w->a, 1, 2, &status));
    assert_string_equal(status.url, "http://t2.test/announce"); /* but not out of its tier */
    w->modes[1] = MODE_UP;
    run_until(w, w->now_us + 110 * S);
    assert_int_equal(w->n_asked[2], 1); /* each announce begins at the first tier */
    announcer_stop(w->a, w->now_us, 1); /* both that know of us hear it */
    pump(w);
    assert_int_equal(w->n_asked[1], 4);
    assert_int_equal(w->n_asked[2], 2);
    end(w);
}

static void test_tier_is_shuffled(void **state)
{
    (void)state;
    struct world *w = world_new();
    unsigned n_first[N_TRACKERS] = {0};
    begin(w);
    for (uint32_t id = 1; id <= 400; id++) {
        add(w, id, true, false);
        for (unsigned i = 0; i < N_TRACKERS; i++) {
            char url[64];
            snprintf(url, sizeof url, "http://t%u.test/announce", i);
            assert_int_equal(add_tracker(w, id, 0, url), ERR_OK);
        }
        struct announcer_tracker_status status;
        assert_true(announcer_tracker_status(w->a, id, 0, &status));
        n_first[tracker_of_url(status.url, 0)]++;
    }
    for (unsigned i = 0; i < N_TRACKERS; i++)
        assert_in_range(n_first[i], 60, 140);
    end(w);
}

static void test_udp_moves_on_sooner_when_there_are_others(void **state)
{
    (void)state;
    struct world *w = start("udp://t0.test:1");
    assert_int_equal(add_tracker(w, 1, 1, "http://t1.test/announce"), ERR_OK);
    w->modes[0] = MODE_DOWN;
    uint64_t began_us = w->now_us;
    run_until(w, began_us + 104 * S);
    assert_int_equal(w->n_fetches, 0);
    run_until(w, began_us + 105 * S);
    assert_int_equal(w->n_fetches, 2);
    end(w);
}

static void test_tracker_added_while_running(void **state)
{
    (void)state;
    struct world *w = world_new();
    begin(w);
    add(w, 1, true, false);
    announcer_start(w->a, w->now_us, 1);
    pump(w);
    assert_true(announcer_deadline_us(w->a) == DEADLINE_NEVER);
    assert_int_equal(add_tracker(w, 1, 0, urls[0]), ERR_OK);
    pump(w);
    assert_int_equal(w->n_fetches, 2);
    end(w);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void test_bad_answers(void **state)
{
    static const struct {
        const char *name, *body;
        uint32_t http_status;
        enum announcer_counter counter;
        const char *text;
    } cases[] = {
        {"not bencode", "<html>", 200, ANNOUNCER_REPLY_MALFORMED, ""},
        {"a list", "le", 200, ANNOUNCER_REPLY_MALFORMED, ""},
        {"peers cut", "d5:peers7:1234567e", 200, ANNOUNCER_REPLY_MALFORMED, ""},
        {"not found", "no", 404, ANNOUNCER_HTTP_STATUS_BAD, ""},
        {"peers under another status", "d8:intervali60ee", 500, ANNOUNCER_HTTP_STATUS_BAD, ""},
        {"failure", "d14:failure reason2:noe", 200, ANNOUNCER_REPLY_FAILURE, "no"},
        {"failure under another status", "d14:failure reason2:noe", 400, ANNOUNCER_REPLY_FAILURE,
         "no"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world *w = start(urls[0]);
        w->modes[0] = MODE_BODY;
        w->body = cases[i].body;
        w->http_status = cases[i].http_status;
        pump(w);
        assert_int_equal(announcer_counter(w->a, cases[i].counter), 2);
        assert_int_equal(w->n_statuses, 1); /* one line, not one per family */
        assert_int_not_equal(w->statuses[0].err.code, ERR_OK);
        struct announcer_tracker_status status;
        assert_true(announcer_tracker_status(w->a, 1, 0, &status));
        assert_string_equal(status.text, cases[i].text);
        assert_int_equal(w->n_peers, 0);
        end(w);
    }
}

static void test_peers_that_cannot_be_dialled(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->modes[0] = MODE_BODY;
    w->body = "d8:intervali60e5:peersld2:ip7:1.2.3.44:porti0eed2:ip7:0.0.0.04:porti1eeee";
    w->http_status = 200;
    pump(w);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_PEERS_DROPPED), 4); /* two families */
    assert_int_equal(w->n_peers, 0);
    end(w);
}

static void test_tracker_urls_refused(void **state)
{
    static const struct {
        const char *url;
        enum err_code code;
        enum announcer_counter counter;
    } cases[] = {
        {"wss://t0.test/", ERR_UNSUPPORTED, ANNOUNCER_TRACKER_URL_REFUSED},
        {"", ERR_UNSUPPORTED, ANNOUNCER_TRACKER_URL_REFUSED},
        {"udp://t0.test/announce", ERR_MALFORMED, ANNOUNCER_TRACKER_URL_REFUSED},
        {"http:///announce", ERR_MALFORMED, ANNOUNCER_TRACKER_URL_REFUSED},
        {"http://127.0.0.1:9091/transmission/rpc", ERR_PROTOCOL,
         ANNOUNCER_LOOPBACK_TRACKER_REFUSED},
        {"https://[::1]/", ERR_PROTOCOL, ANNOUNCER_LOOPBACK_TRACKER_REFUSED},
        {"http://LocalHost:80?x", ERR_PROTOCOL, ANNOUNCER_LOOPBACK_TRACKER_REFUSED},
    };
    (void)state;
    struct world *w = world_new();
    begin(w);
    add(w, 1, true, false);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t before = announcer_counter(w->a, cases[i].counter);
        assert_int_equal(add_tracker(w, 1, 0, cases[i].url), cases[i].code);
        assert_int_equal(announcer_counter(w->a, cases[i].counter), before + 1);
    }
    assert_int_equal(add_tracker(w, 1, 0, "http://127.0.0.1:1/announce.php"), ERR_OK);
    assert_int_equal(add_tracker(w, 1, 0, "udp://127.0.0.1:1"), ERR_OK);
    assert_int_equal(
        announcer_add_tracker(w->a, w->now_us, 1, 0, BYTES_LIT("http://[::1]:1/x"), true), ERR_OK);
    for (unsigned i = 3; i < ANNOUNCER_TRACKERS_MAX; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://x%u.test/announce", i);
        assert_int_equal(add_tracker(w, 1, i, url), ERR_OK);
    }
    assert_int_equal(add_tracker(w, 1, 0, "http://one.more/announce"), ERR_LIMIT);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_TRACKER_LIMIT_REACHED), 1);
    end(w);
}

static void test_name_without_address(void **state)
{
    (void)state;
    struct world *w = start(urls[1]);
    w->has_no_name = true;
    pump(w);
    assert_int_equal(w->n_statuses, 1);
    assert_int_equal(w->statuses[0].err.code, ERR_NOT_FOUND);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_RESOLVE_FAILED), 1);
    w->has_no_name = false;
    run_until(w, w->now_us + 100 * S); /* remembered for a while, then asked again */
    assert_int_equal(w->n_resolves, 2);
    assert_int_equal(w->statuses[w->n_statuses - 1].err.code, ERR_OK);
    end(w);
}

static void test_late_and_strange_answers(void **state)
{
    (void)state;
    struct world *w = start(urls[0]);
    w->modes[0] = MODE_SILENT;
    pump(w);
    assert_int_equal(w->n_silent, 2);
    announcer_remove(w->a, 1);
    pump(w);
    for (unsigned i = 0; i < 2; i++)
        announcer_on_fetched(w->a, w->now_us, w->silent_jobs[i], NULL, 200, BYTES_LIT("de"));
    announcer_on_fetched(w->a, w->now_us, 12345, NULL, 200, BYTES_LIT("de"));
    announcer_on_resolved(w->a, w->now_us, 12345, NULL, NULL, 0);
    assert_int_equal(announcer_counter(w->a, ANNOUNCER_LATE_ANSWER), 4);
    struct addr from = addr_v4(10, 9, 0, 0, 1);
    assert_false(announcer_on_datagram(w->a, w->now_us, &from, BYTES_LIT("0123456789abcdef")));
    assert_int_equal(announcer_udp_counter(w->a, TRACKER_UDP_UNKNOWN_TRANSACTION), 1);
    pump(w);
    end(w);
}

/* --- stopping -------------------------------------------------------------------------------- */

static void test_stop_is_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct world *w = start(urls[i]);
        pump(w);
        w->modes[0] = MODE_SILENT;
        uint64_t began_us = w->now_us;
        announcer_stop(w->a, w->now_us, 1);
        announcer_stop(w->a, w->now_us, 1);
        pump(w);
        assert_int_equal(w->n_stopped, 0);
        run_until(w, began_us + ANNOUNCER_STOP_US);
        assert_int_equal(w->n_stopped, 1);
        end(w);
    }
}

static void test_stop_before_anyone_heard(void **state)
{
    (void)state;
    struct world *w = start(urls[1]);
    announcer_stop(w->a, w->now_us, 1); /* nothing sent yet */
    pump(w);
    assert_int_equal(w->n_stopped, 1);
    assert_int_equal(w->n_datagrams, 0);
    /* A fetch that is out may be heard, so its end is told. */
    add(w, 2, true, false);
    assert_int_equal(add_tracker(w, 2, 0, urls[0]), ERR_OK);
    announcer_start(w->a, w->now_us, 2);
    w->modes[0] = MODE_SILENT;
    pump(w);
    w->modes[0] = MODE_UP;
    announcer_stop(w->a, w->now_us, 2);
    pump(w);
    assert_int_equal(w->n_fetches, 4);
    assert_non_null(strstr(w->last_url, "event=stopped"));
    assert_int_equal(w->n_stopped, 2);
    end(w);
}

static void test_restart_while_stopping(void **state)
{
    (void)state;
    struct world *w = start(urls[1]);
    pump(w);
    w->modes[0] = MODE_DOWN;
    announcer_stop(w->a, w->now_us, 1);
    pump(w);
    w->modes[0] = MODE_UP;
    announcer_start(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->n_stopped, 0);
    assert_int_equal(scrape(w, hash_v1).n_leechers, 2);
    end(w);
}

/* --- many ------------------------------------------------------------------------------------ */

static void test_many_torrents_share(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->config.has_no_v6 = true;
    begin(w);
    for (uint32_t id = 1; id <= 3000; id++) {
        uint8_t hash[20] = {(uint8_t)id, (uint8_t)(id >> 8)};
        assert_int_equal(announcer_add(w->a, id, hash, NULL, &w->progress), ERR_OK);
        assert_int_equal(add_tracker(w, id, 0, urls[1]), ERR_OK);
        announcer_start(w->a, w->now_us, id);
    }
    pump(w);
    struct tracker_server_stats stats;
    tracker_server_stats(w->server, &stats);
    assert_int_equal(stats.n_peers_v4, 3000);
    assert_int_equal(w->n_resolves, 1);
    assert_int_equal(w->n_connects, 1);
    assert_int_equal(w->n_datagrams, 3001);
    announcer_check(w->a);
    for (uint32_t id = 1; id <= 3000; id++)
        announcer_stop(w->a, w->now_us, id);
    pump(w);
    assert_int_equal(w->n_stopped, 3000);
    tracker_server_stats(w->server, &stats);
    assert_int_equal(stats.n_peers_v4, 0);
    end(w);
}

static void test_fetches_at_once_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->config.n_fetches_max = 4;
    begin(w);
    w->modes[0] = MODE_SILENT;
    for (uint32_t id = 1; id <= 20; id++) {
        add(w, id, true, false);
        assert_int_equal(add_tracker(w, id, 0, urls[0]), ERR_OK);
        announcer_start(w->a, w->now_us, id);
    }
    pump(w);
    assert_int_equal(w->n_fetches, 4);
    for (unsigned i = 0; i < 40; i++) {
        announcer_on_fetched(w->a, w->now_us, w->silent_jobs[i], NULL, 200, BYTES_LIT("de"));
        pump(w);
    }
    assert_int_equal(w->n_fetches, 40);
    end(w);
}

static void test_udp_requests_at_once_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->config.n_udp_requests_max = 5;
    w->config.has_no_v6 = true;
    begin(w);
    w->modes[0] = MODE_DOWN;
    for (uint32_t id = 1; id <= 20; id++) {
        add(w, id, true, false);
        assert_int_equal(add_tracker(w, id, 0, urls[1]), ERR_OK);
        announcer_start(w->a, w->now_us, id);
    }
    pump(w);
    announcer_check(w->a);
    w->modes[0] = MODE_UP;
    run_until(w, w->now_us + 15 * S);
    assert_int_equal(w->n_statuses, 20);
    end(w);
}

/* --- scrape ---------------------------------------------------------------------------------- */

static void test_scrape(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct world *w = start(urls[i]);
        pump(w);
        add_other_peer(w, hash_v1, 9);
        announcer_scrape(w->a, w->now_us, 1);
        announcer_scrape(w->a, w->now_us, 1); /* one at a time */
        pump(w);
        struct announcer_tracker_status status;
        assert_true(announcer_tracker_status(w->a, 1, 0, &status));
        assert_int_equal(status.n_seeders, 1);
        assert_int_equal(status.n_leechers, 2);
        assert_int_equal(status.n_completed, 0);
        end(w);
    }
    struct world *w = start("http://t0.test/x");
    pump(w);
    announcer_scrape(w->a, w->now_us, 1);
    pump(w);
    assert_int_equal(w->statuses[w->n_statuses - 1].err.code, ERR_UNSUPPORTED);
    end(w);
}

/* --- memory ---------------------------------------------------------------------------------- */

static bool run_once(struct mem *mem, void *ctx)
{
    struct world *w = ctx;
    static const char *const all[] = {"http://t0.test/announce", "udp://t1.test:1/announce"};
    bool is_done = announcer_new(&w->a, mem, &w->config, NULL, 7) == ERR_OK;
    if (!is_done)
        return false;
    w->n_peers = w->n_stopped = 0;
    add_other_peer(w, hash_v1, 3);
    is_done = announcer_add(w->a, 1, hash_v1, NULL, &w->progress) == ERR_OK;
    for (size_t i = 0; is_done && i < COUNT_OF(all); i++)
        is_done = add_tracker(w, 1, (uint32_t)i, all[i]) == ERR_OK;
    if (is_done) {
        announcer_start(w->a, w->now_us, 1);
        run_until(w, w->now_us + 400 * S);
        announcer_scrape(w->a, w->now_us, 1);
        announcer_stop(w->a, w->now_us, 1);
        run_until(w, w->now_us + 10 * S);
        assert_int_equal(w->n_stopped, 1);
        is_done = w->n_peers > 0;
    }
    announcer_check(w->a);
    announcer_free(w->a);
    return is_done;
}

static void test_memory_failures(void **state)
{
    (void)state;
    struct world *w = world_new();
    w->modes[0] = MODE_BODY;
    w->body = "d8:intervali60e5:peers6:\x0a\x01\x02\x03\x04\x05"
              "10:tracker id2:hie";
    assert_true(test_fail_sweep(run_once, w) > 10);
    w->modes[0] = MODE_DOWN; /* the same over UDP, from the second tier */
    assert_true(test_fail_sweep(run_once, w) > 10);
    tracker_server_free(w->server);
    mem_check_empty(&w->mem);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_started_completed_stopped),
        cmocka_unit_test(test_completed_at_start_is_not_told),
        cmocka_unit_test(test_completed_while_started_is_out),
        cmocka_unit_test(test_hybrid_has_two_streams),
        cmocka_unit_test(test_v2_only),
        cmocka_unit_test(test_second_hash_becomes_known),
        cmocka_unit_test(test_address_literals_have_one_family),
        cmocka_unit_test(test_partial_seed_is_paused),
        cmocka_unit_test(test_want_peers_obeys_min_interval),
        cmocka_unit_test(test_backoff_grows),
        cmocka_unit_test(test_udp_gives_up_and_tells),
        cmocka_unit_test(test_retry_in),
        cmocka_unit_test(test_tiers_in_order),
        cmocka_unit_test(test_tier_is_shuffled),
        cmocka_unit_test(test_udp_moves_on_sooner_when_there_are_others),
        cmocka_unit_test(test_tracker_added_while_running),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_peers_that_cannot_be_dialled),
        cmocka_unit_test(test_tracker_urls_refused),
        cmocka_unit_test(test_name_without_address),
        cmocka_unit_test(test_late_and_strange_answers),
        cmocka_unit_test(test_stop_is_bounded),
        cmocka_unit_test(test_stop_before_anyone_heard),
        cmocka_unit_test(test_restart_while_stopping),
        cmocka_unit_test(test_many_torrents_share),
        cmocka_unit_test(test_fetches_at_once_are_bounded),
        cmocka_unit_test(test_udp_requests_at_once_are_bounded),
        cmocka_unit_test(test_scrape),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
