/* Vectors: the layouts and the time lines of BEP 15 ("Time outs", "UDP tracker protocol"), the
 * examples of BEP 41, and a captured reply (../shared, not ours to copy). */
#include "test_util.h"
#include "torrent/tracker_udp.h"

#define S UINT64_C(1000000)

struct fixture {
    struct mem mem;
    struct tracker_udp u;
    struct addr tracker;
    struct addr peers[TRACKER_PEERS_MAX];
    struct tracker_reply reply;
    struct tracker_udp_done done;
    struct tracker_udp_want want;
    struct tracker_announce what;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(tracker_udp_init(&f->u, &f->mem, 1, 8, 3), ERR_OK);
    f->tracker = addr_v4(10, 0, 0, 1, 6969);
    f->reply.peers = f->peers;
    f->reply.peers_cap = COUNT_OF(f->peers);
    f->what = (struct tracker_announce){.downloaded = 0x0102030405060708,
                                        .uploaded = 0x1112131415161718,
                                        .left = 0x2122232425262728,
                                        .key = 0xdeadbeef,
                                        .numwant = TRACKER_NUMWANT_DEFAULT,
                                        .port = 0x1ae1,
                                        .event = TRACKER_EVENT_STARTED};
    memset(f->what.infohash, 0xaa, 20);
    memset(f->what.peer_id, 0xbb, 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tracker_udp_check(&f->u);
    tracker_udp_clear(&f->u);
    mem_check_empty(&f->mem);
    free(f);
    return 0;
}

static void start(struct fixture *f, uint64_t now_us, unsigned n_retries, uint64_t token)
{
    assert_int_equal(tracker_udp_announce(&f->u, now_us, &f->tracker, &f->what, (struct bytes){0},
                                          n_retries, token),
                     ERR_OK);
}

/* The next thing wanted is a datagram with this action; returns its transaction id. */
static uint32_t expect_send(struct fixture *f, uint64_t now_us, uint32_t action)
{
    assert_true(tracker_udp_next(&f->u, now_us, &f->want));
    assert_int_equal(f->want.kind, TRACKER_UDP_SEND);
    assert_true(addr_equal(&f->want.to, &f->tracker));
    struct reader r = reader_init(f->want.packet);
    reader_skip(&r, 8);
    assert_int_equal(reader_u32be(&r), action);
    tracker_udp_check(&f->u);
    return reader_u32be(&r);
}

static void expect_nothing(struct fixture *f, uint64_t now_us)
{
    assert_false(tracker_udp_next(&f->u, now_us, &f->want));
}

static void expect_failed(struct fixture *f, uint64_t now_us, uint64_t token, enum err_code code)
{
    assert_true(tracker_udp_next(&f->u, now_us, &f->want));
    assert_int_equal(f->want.kind, TRACKER_UDP_FAILED);
    assert_int_equal(f->want.token, token);
    assert_int_equal(f->want.err.code, code);
}

static bool receive(struct fixture *f, uint64_t now_us, const char *hex, uint32_t transaction)
{
    uint8_t packet[256];
    struct bytes b = test_hex(hex, packet, sizeof packet);
    struct writer w = writer_init(packet + 4, 4);
    if (b.len >= 8)
        writer_u32be(&w, transaction);
    uint8_t *exact = test_exact_copy(b);
    bool is_ours = tracker_udp_on_datagram(&f->u, now_us, &f->tracker, bytes_of(exact, b.len),
                                           &f->reply, &f->done);
    free(exact);
    tracker_udp_check(&f->u);
    return is_ours;
}

static const char connect_reply[] = "00000000 00000000 0123456789abcdef";

static uint32_t connect_at(struct fixture *f, uint64_t now_us)
{
    uint32_t transaction = expect_send(f, now_us, 0);
    assert_true(receive(f, now_us, connect_reply, transaction));
    return expect_send(f, now_us, 1);
}

static void test_golden_bytes(void **state)
{
    struct fixture *f = *state;
    char want[512];
    start(f, 0, 8, 7);
    uint32_t transaction = expect_send(f, 0, 0);
    snprintf(want, sizeof want,
             "0000041727101980"
             "00000000"
             "%08x",
             transaction);
    test_assert_hex(f->want.packet, want);
    assert_true(receive(f, 0, connect_reply, transaction));
    transaction = expect_send(f, 0, 1);
    snprintf(want, sizeof want,
             "0123456789abcdef"
             "00000001"
             "%08x"
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
             "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
             "0102030405060708"
             "2122232425262728"
             "1112131415161718"
             "00000002"
             "00000000"
             "deadbeef"
             "ffffffff"
             "1ae1",
             transaction);
    test_assert_hex(f->want.packet, want);
    assert_int_equal(f->want.packet.len, 98);
}

static void test_events(void **state)
{
    static const struct {
        enum tracker_event event;
        uint8_t wire;
    } events[] = {{TRACKER_EVENT_NONE, 0},
                  {TRACKER_EVENT_COMPLETED, 1},
                  {TRACKER_EVENT_STARTED, 2},
                  {TRACKER_EVENT_STOPPED, 3},
                  {TRACKER_EVENT_PAUSED, 0}}; /* BEP 21 names it for HTTP only */
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        f->what.event = events[i].event;
        start(f, 0, 8, i);
        i == 0 ? connect_at(f, 0) : expect_send(f, 0, 1);
        assert_int_equal(f->want.packet.data[83], events[i].wire);
    }
}

static void test_url_data(void **state)
{
    static const struct {
        const char *name, *url_data, *hex;
    } cases[] = {
        {"BEP 41, first example", "/dir?a=b&c=d", "020c2f6469723f613d6226633d64"},
        {"no path, no query", "", ""}, /* BEP 41 allows 0x2 0x0 as well */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(tracker_udp_announce(&f->u, 0, &f->tracker, &f->what,
                                              bytes_of_str(cases[i].url_data), 8, i),
                         ERR_OK);
        i == 0 ? connect_at(f, 0) : expect_send(f, 0, 1);
        test_assert_hex(bytes_sub(f->want.packet, 98, SIZE_MAX), cases[i].hex);
    }
}

static void test_long_url_data_is_cut_in_parts(void **state)
{
    struct fixture *f = *state;
    uint8_t url[3000];
    memset(url, 'x', sizeof url);
    for (size_t len = 250; len < 300; len++) {
        assert_int_equal(
            tracker_udp_announce(&f->u, 0, &f->tracker, &f->what, bytes_of(url, len), 8, len),
            ERR_OK);
        len == 250 ? connect_at(f, 0) : expect_send(f, 0, 1);
        struct reader r = reader_init(bytes_sub(f->want.packet, 98, SIZE_MAX));
        size_t got = 0;
        while (reader_left(&r)) {
            assert_int_equal(reader_u8(&r), 2);
            got += reader_take(&r, reader_u8(&r)).len;
        }
        assert_int_equal(reader_end(&r), ERR_OK);
        assert_int_equal(got, len);
        tracker_udp_cancel(&f->u, len);
    }
    assert_int_equal(
        tracker_udp_announce(&f->u, 0, &f->tracker, &f->what, bytes_of(url, sizeof url), 8, 1),
        ERR_OK);
    connect_at(f, 61 * S);
    assert_int_equal(f->want.packet.len, 98 + 1020 + 2 * 4);
}

static void test_announce_reply(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 8, 99);
    uint32_t transaction = connect_at(f, 0);
    assert_true(receive(f, 1 * S,
                        "00000001 00000000 00000708 00000003 00000004"
                        "0a000002 1ae1 0a000003 0000 7f000001 0050 0102",
                        transaction));
    assert_int_equal(f->done.kind, TRACKER_UDP_ANNOUNCED);
    assert_int_equal(f->done.token, 99);
    assert_int_equal(f->reply.interval_s, 1800);
    assert_int_equal(f->reply.counts.n_leechers, 3);
    assert_int_equal(f->reply.counts.n_seeders, 4);
    assert_int_equal(f->reply.n_peers, 2); /* port 0 cannot be dialled; the tail is ignored */
    assert_int_equal(f->reply.n_peers_dropped, 1);
    struct addr first = addr_v4(10, 0, 0, 2, 0x1ae1);
    assert_true(addr_equal(&f->reply.peers[0], &first));
    expect_nothing(f, 1 * S);
    assert_true(tracker_udp_deadline_us(&f->u) == DEADLINE_NEVER);
    assert_false(receive(f, 1 * S, "00000001 00000000 00000708 00000003 00000004", transaction));
    assert_int_equal(f->u.counters[TRACKER_UDP_UNKNOWN_TRANSACTION], 1);
}

static void test_stride_follows_the_socket(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(addr_parse(BYTES_LIT("[2001:db8::1]:80"), 0, &f->tracker), ERR_OK);
    start(f, 0, 8, 1);
    uint32_t transaction = connect_at(f, 0);
    assert_true(receive(f, 0,
                        "00000001 00000000 00000708 00000000 00000001"
                        "20010db8000000000000000000000002 1ae1",
                        transaction));
    assert_int_equal(f->reply.n_peers, 1);
    char text[ADDR_TEXT_CAP];
    assert_string_equal(addr_format(&f->reply.peers[0], text), "[2001:db8::2]:6881");
}

static void test_captured_reply(void **state)
{
    struct fixture *f = *state;
    char path[TEST_PATH_CAP];
    struct span b = test_read_file(
        test_source_path(path, "../shared/torrents/captures/udp-tracker-announce-response.bin"));
    if (!b.data)
        skip();
    start(f, 0, 8, 1);
    uint32_t transaction = connect_at(f, 0);
    struct writer w = writer_init(b.data + 4, 4);
    writer_u32be(&w, transaction);
    assert_true(tracker_udp_on_datagram(&f->u, 0, &f->tracker, bytes_of(b.data, b.len), &f->reply,
                                        &f->done));
    assert_int_equal(f->done.kind, TRACKER_UDP_ANNOUNCED);
    assert_int_equal(f->reply.interval_s, 0x674);
    assert_int_equal(f->reply.counts.n_leechers, 0x101);
    assert_int_equal(f->reply.counts.n_seeders, 0xd0d);
    assert_int_equal(f->reply.n_peers, 200);
    struct addr first = addr_v4(0x2e, 0, 0x3f, 0x69, 0x1ae1);
    assert_true(addr_equal(&f->reply.peers[0], &first));
    free(b.data);
}

static void test_scrape(void **state)
{
    struct fixture *f = *state;
    uint8_t hashes[2][SHA1_LEN];
    memset(hashes[0], 0x11, SHA1_LEN);
    memset(hashes[1], 0x22, SHA1_LEN);
    assert_int_equal(
        tracker_udp_scrape(&f->u, 0, &f->tracker, (const uint8_t(*)[SHA1_LEN])hashes, 2, 8, 5),
        ERR_OK);
    uint32_t transaction = expect_send(f, 0, 0);
    receive(f, 0, connect_reply, transaction);
    transaction = expect_send(f, 0, 2);
    char want[256];
    snprintf(want, sizeof want,
             "0123456789abcdef"
             "00000002"
             "%08x"
             "1111111111111111111111111111111111111111"
             "2222222222222222222222222222222222222222",
             transaction);
    test_assert_hex(f->want.packet, want);
    /* One entry is missing: not an answer. */
    receive(f, 0, "00000002 00000000 00000001 00000002 00000003", transaction);
    assert_int_equal(f->done.kind, TRACKER_UDP_NONE);
    assert_int_equal(f->u.counters[TRACKER_UDP_TOO_SHORT], 1);
    receive(f, 0, "00000002 00000000 000000010000000200000003 000000040000000500000006",
            transaction);
    assert_int_equal(f->done.kind, TRACKER_UDP_SCRAPED);
    assert_int_equal(f->done.n_scrapes, 2);
    assert_int_equal(f->done.scrapes[1].n_seeders, 4);
    assert_int_equal(f->done.scrapes[1].n_completed, 5);
    assert_int_equal(f->done.scrapes[1].n_leechers, 6);
}

/* BEP 15, the example "connect times out"; then on to n = 8 and the end. */
static void test_connect_times_out(void **state)
{
    struct fixture *f = *state;
    uint64_t at = 0;
    start(f, 0, 8, 3);
    for (unsigned n = 0; n <= 8; n++) {
        expect_send(f, at * S, 0);
        expect_nothing(f, at * S);
        assert_int_equal(tracker_udp_n_retries(&f->u, 3), n);
        at += 15u << n;
        assert_true(tracker_udp_deadline_us(&f->u) == at * S);
        expect_nothing(f, at * S - 1);
        if (n == 0)
            assert_int_equal(at, 15);
        if (n == 2)
            assert_int_equal(at, 105);
    }
    expect_failed(f, at * S, 3, ERR_IO);
    assert_int_equal(f->u.counters[TRACKER_UDP_TIMEOUTS], 8);
    assert_int_equal(f->u.counters[TRACKER_UDP_GAVE_UP], 1);
    expect_nothing(f, at * S);
}

/* BEP 15, the example "announce times out": connect at 0, answered at 1, announce at 2, 17, 47, then
 * connect at 107, because the id is too old, and again at 227. */
static void test_announce_times_out(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 8, 3);
    uint32_t transaction = expect_send(f, 0, 0);
    receive(f, 1 * S, connect_reply, transaction);
    expect_send(f, 2 * S, 1);
    expect_nothing(f, 17 * S - 1);
    expect_send(f, 17 * S, 1);
    expect_nothing(f, 47 * S - 1);
    expect_send(f, 47 * S, 1);
    expect_nothing(f, 107 * S - 1);
    expect_send(f, 107 * S, 0);
    expect_nothing(f, 227 * S - 1);
    transaction = expect_send(f, 227 * S, 0);
    receive(f, 228 * S, connect_reply, transaction);
    expect_send(f, 228 * S, 1);
    expect_nothing(f, 228 * S);
}

/* BEP 15, the example "multiple requests": one id for all within a minute, a new one after that,
 * and one connect for four requests. */
static void test_multiple_requests(void **state)
{
    struct fixture *f = *state;
    static const uint64_t at_s[] = {2, 4, 60};
    start(f, 0, 8, 0);
    uint32_t transaction = expect_send(f, 0, 0);
    receive(f, 1 * S, connect_reply, transaction);
    for (unsigned i = 0; i < 3; i++) {
        if (i > 0)
            start(f, at_s[i] * S, 8, i);
        transaction = expect_send(f, at_s[i] * S, 1);
        receive(f, (at_s[i] + 1) * S, "00000001 00000000 00000708 00000000 00000000", transaction);
        assert_int_equal(f->done.kind, TRACKER_UDP_ANNOUNCED);
    }
    for (unsigned i = 10; i < 14; i++)
        start(f, 62 * S, 8, i);
    transaction = expect_send(f, 62 * S, 0);
    expect_nothing(f, 62 * S);
    receive(f, 63 * S, connect_reply, transaction);
    for (unsigned i = 10; i < 14; i++)
        expect_send(f, 64 * S, 1);
    expect_nothing(f, 64 * S);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *hex;
        enum tracker_udp_counter counter;
    } cases[] = {
        {"shorter than a header", "00000001 000000", TRACKER_UDP_TOO_SHORT},
        {"announce reply cut", "00000001 00000000 00000708 00000003 000000", TRACKER_UDP_TOO_SHORT},
        {"connect reply to an announce", "00000000 00000000 0123456789abcdef",
         TRACKER_UDP_WRONG_ACTION},
        {"unknown action", "00000009 00000000 0123456789abcdef", TRACKER_UDP_WRONG_ACTION},
    };
    struct fixture *f = *state;
    start(f, 0, 8, 1);
    uint32_t transaction = connect_at(f, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t before = f->u.counters[cases[i].counter];
        receive(f, 0, cases[i].hex, transaction);
        assert_int_equal(f->done.kind, TRACKER_UDP_NONE);
        assert_int_equal(f->u.counters[cases[i].counter], before + 1);
    }
    struct addr tracker = f->tracker;
    f->tracker.port++;
    assert_false(receive(f, 0, "00000001 00000000 00000708 00000003 00000004", transaction));
    assert_int_equal(f->u.counters[TRACKER_UDP_WRONG_ENDPOINT], 1);
    f->tracker = tracker;
    receive(f, 0, "00000001 00000000 00000708 00000003 00000004", transaction);
    assert_int_equal(f->done.kind, TRACKER_UDP_ANNOUNCED);
}

static void test_connect_reply_is_checked(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 8, 1);
    uint32_t transaction = expect_send(f, 0, 0);
    receive(f, 0, "00000000 00000000 0123456789abcd", transaction);
    assert_int_equal(f->u.counters[TRACKER_UDP_TOO_SHORT], 1);
    receive(f, 0, "00000001 00000000 0123456789abcdef", transaction);
    assert_int_equal(f->u.counters[TRACKER_UDP_WRONG_ACTION], 1);
    expect_nothing(f, 0);
}

static void test_error_replies(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 8, 1);
    uint32_t transaction = connect_at(f, 0);
    receive(f, 0, "00000003 00000000 6e6f200a", transaction);
    assert_int_equal(f->done.kind, TRACKER_UDP_REFUSED);
    assert_int_equal(f->done.token, 1);
    assert_string_equal(f->reply.failure, "no \\x0a");
    /* The id may have been what it did not like: the next request asks for a new one. An error
     * there ends all that wait. */
    start(f, 1, 8, 2);
    start(f, 1, 8, 3);
    transaction = expect_send(f, 1, 0);
    expect_nothing(f, 1);
    receive(f, 1, "00000003 00000000 627573 79", transaction);
    expect_failed(f, 1, 2, ERR_PROTOCOL);
    assert_string_equal(f->want.text, "busy");
    expect_failed(f, 1, 3, ERR_PROTOCOL);
    expect_nothing(f, 1);
    assert_int_equal(f->u.counters[TRACKER_UDP_ERROR_REPLIES], 2);
}

static void test_cancel_in_every_state(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 8, 1);
    tracker_udp_cancel(&f->u, 1); /* connect not sent */
    expect_nothing(f, 0);
    start(f, 0, 8, 1);
    expect_send(f, 0, 0);
    tracker_udp_cancel(&f->u, 1); /* waits for the id */
    expect_nothing(f, 100 * S);
    start(f, 100 * S, 8, 1);
    connect_at(f, 100 * S);
    tracker_udp_cancel(&f->u, 1); /* in flight */
    tracker_udp_cancel(&f->u, 1); /* unknown */
    expect_nothing(f, 1000 * S);
    assert_true(tracker_udp_deadline_us(&f->u) == DEADLINE_NEVER);
}

static void test_patience_of_each(void **state)
{
    struct fixture *f = *state;
    start(f, 0, 0, 1);
    start(f, 0, 1, 2);
    expect_send(f, 0, 0);
    expect_failed(f, 15 * S, 1, ERR_IO);
    expect_send(f, 15 * S, 0);
    expect_failed(f, 45 * S, 2, ERR_IO);
    expect_nothing(f, 45 * S);
}

/* Overfill: 8 requests, 3 endpoints (setup). */
static void test_limits(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        f->tracker.port = (uint16_t)(1000 + i);
        start(f, 0, 8, i);
    }
    f->tracker.port = 2000;
    assert_int_equal(tracker_udp_announce(&f->u, 0, &f->tracker, &f->what, (struct bytes){0}, 8, 9),
                     ERR_LIMIT);
    tracker_udp_cancel(&f->u, 0); /* the endpoint with port 1000 is idle now, and gives way */
    for (unsigned i = 10; i < 16; i++)
        start(f, 0, 8, i);
    tracker_udp_check(&f->u);
    assert_int_equal(f->u.endpoints.n, 3);
    assert_int_equal(tracker_udp_announce(&f->u, 0, &f->tracker, &f->what, (struct bytes){0}, 8, 9),
                     ERR_LIMIT);
    assert_int_equal(f->u.tokens.n, 8);
}

static bool run_once(struct mem *mem, void *ctx)
{
    struct fixture *f = ctx;
    bool is_done = false;
    assert_int_equal(tracker_udp_init(&f->u, mem, 1, 8, 3), ERR_OK);
    if (tracker_udp_announce(&f->u, 0, &f->tracker, &f->what, (struct bytes){0}, 8, 1) == ERR_OK) {
        while (!is_done && tracker_udp_next(&f->u, 0, &f->want)) {
            if (f->want.kind == TRACKER_UDP_FAILED) {
                assert_int_equal(f->want.err.code, ERR_NO_MEMORY);
                continue;
            }
            struct reader r = reader_init(bytes_sub(f->want.packet, 8, 8));
            uint32_t action = reader_u32be(&r);
            receive(f, 0,
                    action == 0 ? connect_reply : "00000001 00000000 00000708 00000003 00000004",
                    reader_u32be(&r));
            is_done = f->done.kind == TRACKER_UDP_ANNOUNCED;
        }
    }
    tracker_udp_check(&f->u);
    tracker_udp_clear(&f->u);
    return is_done;
}

static void test_memory_failures(void **state)
{
    struct fixture *f = *state;
    tracker_udp_clear(&f->u);
    assert_true(test_fail_sweep(run_once, f) > 3);
    assert_int_equal(tracker_udp_init(&f->u, &f->mem, 1, 8, 3), ERR_OK);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_golden_bytes),
        CASE(test_events),
        CASE(test_url_data),
        CASE(test_long_url_data_is_cut_in_parts),
        CASE(test_announce_reply),
        CASE(test_stride_follows_the_socket),
        CASE(test_captured_reply),
        CASE(test_scrape),
        CASE(test_connect_times_out),
        CASE(test_announce_times_out),
        CASE(test_multiple_requests),
        CASE(test_refusals),
        CASE(test_connect_reply_is_checked),
        CASE(test_error_replies),
        CASE(test_cancel_in_every_state),
        CASE(test_patience_of_each),
        CASE(test_limits),
        CASE(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
