/* The announcer and the tracker over real sockets on loopback. */
#include "announcer_host.h"
#include "io/tracker_host.h"
#include "test_util.h"

#define WAIT_US 10000000u

struct fixture {
    struct loop *loop;
    struct tracker_host *tracker;
    struct announcer_host client;
};

static const uint8_t hash_v1[20] = {1};
static const uint8_t hash_v2[32] = {2};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tracker_host_config config = {.n_binds = 1, .binds = {addr_v4(127, 0, 0, 1, 0)}};
    struct err err;
    assert_int_equal(loop_new(&f->loop, &err), ERR_OK);
    assert_int_equal(tracker_host_new(&f->tracker, f->loop, &config, &err), ERR_OK);
    assert_true(announcer_host_open(&f->client, f->loop, "127.0.0.1", 6881));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    announcer_host_close(&f->client);
    tracker_host_free(f->tracker);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void start(struct fixture *f, uint32_t id, const char *scheme)
{
    char url[100];
    struct announcer *a = f->client.a;
    snprintf(url, sizeof url, "%s://127.0.0.1:%u/announce", scheme, tracker_host_port(f->tracker));
    assert_int_equal(announcer_add(a, id, hash_v1, hash_v2, &f->client.progress), ERR_OK);
    assert_int_equal(
        announcer_add_tracker(a, loop_now_us(f->loop), id, 0, bytes_of_str(url), false), ERR_OK);
    announcer_start(a, loop_now_us(f->loop), id);
}

static struct tracker_server_stats stats(struct fixture *f)
{
    struct tracker_server_stats s;
    tracker_server_stats(tracker_host_server(f->tracker), &s);
    return s;
}

static void announce_and_stop(struct fixture *f, const char *scheme)
{
    start(f, 1, scheme);
    assert_true(announcer_host_wait(&f->client, &f->client.n_good, 2, WAIT_US));
    assert_int_equal(stats(f).n_swarms, 2); /* both hashes */
    assert_int_equal(stats(f).n_peers_v4, 2);
    announcer_stop(f->client.a, loop_now_us(f->loop), 1);
    assert_true(announcer_host_wait(&f->client, &f->client.n_stopped, 1, WAIT_US));
    assert_int_equal(stats(f).n_peers_v4, 0);
    assert_int_equal(f->client.n_bad, 0);
}

static void test_http(void **state)
{
    announce_and_stop(*state, "http");
    assert_int_equal(stats(*state).counters[TRACKER_SERVER_HTTP_ANNOUNCES], 4);
}

static void test_udp(void **state)
{
    announce_and_stop(*state, "udp");
    assert_int_equal(stats(*state).counters[TRACKER_SERVER_UDP_ANNOUNCES], 4);
    assert_int_equal(stats(*state).counters[TRACKER_SERVER_UDP_CONNECTS], 1);
}

static void test_two_torrents_at_once(void **state)
{
    struct fixture *f = *state;
    start(f, 1, "http");
    start(f, 2, "udp");
    assert_true(announcer_host_wait(&f->client, &f->client.n_good, 4, WAIT_US));
    assert_int_equal(stats(f).n_peers_v4, 2);
}

static void test_names_are_looked_up(void **state)
{
    struct fixture *f = *state;
    char url[100];
    struct announcer *a = f->client.a;
    snprintf(url, sizeof url, "udp://localhost:%u", tracker_host_port(f->tracker));
    assert_int_equal(announcer_add(a, 1, hash_v1, NULL, &f->client.progress), ERR_OK);
    assert_int_equal(announcer_add_tracker(a, loop_now_us(f->loop), 1, 0, bytes_of_str(url), false),
                     ERR_OK);
    announcer_start(a, loop_now_us(f->loop), 1);
    assert_true(announcer_host_wait(&f->client, &f->client.n_good, 1, WAIT_US));
}

static void test_dead_tracker(void **state)
{
    struct fixture *f = *state;
    start(f, 1, "http");
    tracker_host_free(f->tracker);
    f->tracker = NULL;
    assert_true(announcer_host_wait(&f->client, &f->client.n_bad, 1, WAIT_US));
    assert_int_equal(f->client.n_good, 0);
}

struct page {
    bool is_here;
    uint32_t status;
    char text[16384];
};

static void page_came(void *ctx, uint64_t job, const struct err *err, uint32_t http_status,
                      struct bytes body)
{
    struct page *p = ctx;
    (void)job;
    p->is_here = true;
    p->status = err && err->code ? 0 : http_status;
    snprintf(p->text, sizeof p->text, "%.*s", (int)body.len, (const char *)body.data);
}

static void get(struct fixture *f, const char *path, struct page *p)
{
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", tracker_host_port(f->tracker), path);
    struct fetch request = {
        .url = url, .user_agent = "t", .body_len_max = 100000, .timeout_ms = 10000};
    *p = (struct page){0};
    assert_int_equal(fetch_start(f->client.fetch, &request, page_came, p, 1), ERR_OK);
    for (unsigned i = 0; i < 1000 && !p->is_here; i++)
        loop_turn(f->loop, 10000);
    assert_true(p->is_here);
}

static void test_pages(void **state)
{
    static struct page p;
    struct fixture *f = *state;
    get(f, "/stats.json", &p);
    assert_int_equal(p.status, 200);
    assert_non_null(strstr(p.text, "\"swarms\": 0, \"peers\": 0"));
    assert_non_null(strstr(p.text, "\"udp_option_malformed\": 0}"));
    get(f, "/", &p);
    assert_non_null(strstr(p.text, "</html>"));
    get(f, "/nothing", &p);
    assert_int_equal(p.status, 404);
    get(f, "/announce?info_hash=short", &p);
    assert_int_equal(p.status, 200);
    assert_non_null(strstr(p.text, "d14:failure reason"));
}

static void test_port_zero_serves_both_families(void **state)
{
    struct fixture *f = *state;
    struct tracker_host *h;
    struct tracker_host_config config = {0};
    struct addr addrs[16];
    assert_int_equal(tracker_host_new(&h, f->loop, &config, NULL), ERR_OK);
    assert_int_not_equal(tracker_host_port(h), 0);
    size_t n = tracker_host_addrs(h, addrs, COUNT_OF(addrs));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(addrs[i].port, tracker_host_port(h));
    assert_true(n == 0 || addr_is_loopback(&addrs[n - 1]));
    tracker_host_free(h);
}

static void test_busy_port(void **state)
{
    struct fixture *f = *state;
    struct tracker_host *h;
    struct err err = {0};
    struct tracker_host_config config = {
        .n_binds = 1, .binds = {addr_v4(127, 0, 0, 1, 0)}, .port = tracker_host_port(f->tracker)};
    assert_int_equal(tracker_host_new(&h, f->loop, &config, &err), ERR_IO);
    assert_null(h);
    assert_non_null(err.what);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_http),
        CASE(test_udp),
        CASE(test_two_torrents_at_once),
        CASE(test_names_are_looked_up),
        CASE(test_dead_tracker),
        CASE(test_pages),
        CASE(test_port_zero_serves_both_families),
        CASE(test_busy_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
