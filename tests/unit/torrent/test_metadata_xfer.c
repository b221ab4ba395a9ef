#include "base/rng.h"
#include "base/size.h"
#include "test_util.h"
#include "torrent/metadata_xfer.h"

#define INFO_CAP (40u * METADATA_PIECE_LEN)

/* --- a world: peers that answer from copies of their own ------------------------------------- */

static uint8_t truth[INFO_CAP], lies[INFO_CAP];

struct fixture {
    struct mem mem;
    struct metadata_fetch *fetch;
    struct bytes info;
};

static struct metadata_want want_of(struct bytes info, bool has_v1, bool has_v2)
{
    struct metadata_want want = {.has_v1 = has_v1, .has_v2 = has_v2};
    sha1(info, want.v1);
    sha256(info, want.v2);
    return want;
}

static void begin(struct fixture *x, size_t info_len)
{
    struct rng rng;
    rng_init(&rng, info_len);
    rng_fill(&rng, truth, info_len);
    for (size_t i = 0; i < info_len; i++)
        lies[i] = (uint8_t)~truth[i];
    mem_init(&x->mem, MEM_NO_BUDGET, NULL);
    x->info = bytes_of(truth, info_len);
    struct metadata_want want = want_of(x->info, true, true);
    assert_int_equal(metadata_fetch_new(&x->fetch, &x->mem, &want), ERR_OK);
}

static void end(struct fixture *x)
{
    metadata_fetch_check(x->fetch);
    metadata_fetch_free(x->fetch);
    mem_check_empty(&x->mem);
}

static struct addr addr_of(uint32_t conn)
{
    return addr_v4(10, 0, 0, (uint8_t)conn, 6881);
}

static void add(struct fixture *x, uint32_t conn, uint64_t size)
{
    struct addr addr = addr_of(conn);
    assert_int_equal(metadata_fetch_add_peer(x->fetch, 0, conn, &addr, size), ERR_OK);
}

static struct ut_metadata_msg data_msg(const uint8_t *from, size_t info_len, uint32_t piece)
{
    struct bytes data = metadata_serve_data(bytes_of(from, info_len), piece);
    return (struct ut_metadata_msg){UT_METADATA_DATA, piece, info_len, data};
}

static enum metadata_verdict answer(struct fixture *x, uint64_t now_us, uint32_t conn,
                                    uint32_t piece, const uint8_t *from)
{
    struct ut_metadata_msg msg = data_msg(from, x->info.len, piece);
    enum metadata_verdict v = metadata_fetch_on_data(x->fetch, now_us, conn, &msg);
    metadata_fetch_check(x->fetch);
    return v;
}

static bool next(struct fixture *x, uint64_t now_us, uint32_t *conn, uint32_t *piece)
{
    bool is_some = metadata_fetch_next(x->fetch, now_us, conn, piece);
    metadata_fetch_check(x->fetch);
    return is_some;
}

/* Answers all requests, peer by peer from its copy (by conn), until there are none. */
static enum metadata_verdict run(struct fixture *x, uint64_t now_us, const uint8_t *const copies[])
{
    enum metadata_verdict v = METADATA_MORE;
    uint32_t conn, piece;
    while (v != METADATA_DONE && next(x, now_us, &conn, &piece))
        v = answer(x, now_us, conn, piece, copies[conn]);
    return v;
}

static void assert_done(struct fixture *x)
{
    uint32_t n_have, n_pieces;
    assert_true(metadata_fetch_is_done(x->fetch));
    test_assert_bytes(metadata_fetch_info(x->fetch), x->info);
    metadata_fetch_progress(x->fetch, &n_have, &n_pieces);
    assert_int_equal(n_have, n_pieces);
    assert_int_equal(n_pieces, div_ceil(x->info.len, METADATA_PIECE_LEN));
    assert_int_equal(metadata_fetch_deadline_us(x->fetch), DEADLINE_NEVER);
}

/* --- fetching -------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 32768, 100000, INFO_CAP};
    const uint8_t *copies[] = {NULL, truth, truth, truth};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (uint32_t n_peers = 1; n_peers <= 3; n_peers++) {
            struct fixture x;
            begin(&x, sizes[i]);
            assert_int_equal(metadata_fetch_info(x.fetch).len, 0);
            for (uint32_t conn = 1; conn <= n_peers; conn++)
                add(&x, conn, sizes[i]);
            assert_int_equal(run(&x, 0, copies), METADATA_DONE);
            assert_done(&x);
            assert_int_equal(metadata_fetch_counts(x.fetch).n_requests,
                             div_ceil(sizes[i], METADATA_PIECE_LEN));
            end(&x);
        }
}

/* Several peers are asked at once, each for at most METADATA_PEER_REQUESTS. */
static void test_spread(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece, n_asked[4] = {0};
    begin(&x, INFO_CAP);
    for (conn = 1; conn <= 3; conn++)
        add(&x, conn, INFO_CAP);
    while (next(&x, 0, &conn, &piece))
        n_asked[conn]++;
    for (conn = 1; conn <= 3; conn++)
        assert_int_equal(n_asked[conn], METADATA_PEER_REQUESTS);
    assert_int_equal(metadata_fetch_deadline_us(x.fetch), METADATA_TIMEOUT_US);
    end(&x);
}

/* One hash or both: a hybrid's metadata must have both. */
static void test_which_hash(void **state)
{
    (void)state;
    for (unsigned mask = 1; mask < 8; mask++) {
        struct fixture x;
        struct metadata_want want;
        const uint8_t *copies[] = {NULL, truth};
        bool is_v2_wrong = mask & 4;
        begin(&x, 5000);
        metadata_fetch_free(x.fetch);
        want = want_of(x.info, mask & 1, mask & 2);
        want.v2[0] ^= is_v2_wrong;
        if (!(mask & 3))
            continue;
        assert_int_equal(metadata_fetch_new(&x.fetch, &x.mem, &want), ERR_OK);
        add(&x, 1, 5000);
        assert_int_equal(run(&x, 0, copies),
                         is_v2_wrong && (mask & 2) ? METADATA_HASH_BAD : METADATA_DONE);
        end(&x);
    }
}

static void test_sole_liar(void **state)
{
    (void)state;
    struct fixture x;
    const uint8_t *copies[] = {NULL, lies, truth};
    uint32_t conn;
    struct addr addr;
    begin(&x, 50000);
    add(&x, 1, 50000);
    assert_int_equal(run(&x, 0, copies), METADATA_HASH_BAD);
    assert_true(metadata_fetch_next_blamed(x.fetch, &conn, &addr));
    assert_int_equal(conn, 1);
    struct addr want = addr_of(1);
    assert_true(addr_equal(&addr, &want));
    assert_false(metadata_fetch_next_blamed(x.fetch, &conn, &addr));
    assert_int_equal(metadata_fetch_add_peer(x.fetch, 0, 1, &want, 50000), ERR_PROTOCOL);
    add(&x, 2, 50000);
    assert_int_equal(run(&x, 0, copies), METADATA_DONE);
    assert_done(&x);
    assert_false(metadata_fetch_next_blamed(x.fetch, &conn, &addr));
    end(&x);
}

/* Any mix of liars and honest peers, one honest at least: the metadata comes, every liar that
 * supplied a piece of a failed try is named, no honest peer ever is. */
static void test_mixed_liars(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (unsigned round = 0; round < 300; round++) {
        struct fixture x;
        const uint8_t *copies[12] = {NULL};
        uint32_t n_peers = 2 + rng_below(&rng, 10), honest = 1 + rng_below(&rng, n_peers), conn;
        size_t len = 1 + rng_below(&rng, INFO_CAP);
        struct addr addr;
        begin(&x, len);
        for (conn = 1; conn <= n_peers; conn++) {
            copies[conn] = conn == honest || rng_below(&rng, 2) ? truth : lies;
            add(&x, conn, len);
        }
        enum metadata_verdict v = METADATA_MORE;
        for (unsigned n_tries = 0; v != METADATA_DONE; n_tries++) {
            assert_true(n_tries <= n_peers + 1);
            v = run(&x, 0, copies);
            while (metadata_fetch_next_blamed(x.fetch, &conn, &addr)) {
                assert_ptr_equal(copies[conn], lies);
                if (rng_below(&rng, 2))
                    metadata_fetch_remove_peer(x.fetch, conn);
            }
        }
        assert_done(&x);
        end(&x);
    }
}

/* In a failed try of several, the liar is named once the truth is here, though it has left. */
static void test_liar_named_later(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    struct addr addr, want = addr_of(1);
    begin(&x, 3 * METADATA_PIECE_LEN);
    add(&x, 1, x.info.len);
    add(&x, 2, x.info.len);
    add(&x, 3, x.info.len);
    while (next(&x, 0, &conn, &piece)) /* piece 0 of peer 1, and so on */
        assert_int_equal(conn, piece + 1);
    for (piece = 0; piece < 3; piece++)
        answer(&x, 0, piece + 1, piece, piece == 0 ? lies : truth);
    assert_int_equal(metadata_fetch_counts(x.fetch).n_hash_bad, 1);
    assert_false(metadata_fetch_next_blamed(x.fetch, &conn, &addr)); /* nobody is sure yet */
    metadata_fetch_remove_peer(x.fetch, 1);
    const uint8_t *copies[] = {NULL, NULL, truth, truth};
    assert_int_equal(run(&x, 0, copies), METADATA_DONE);
    assert_true(metadata_fetch_next_blamed(x.fetch, &conn, &addr));
    assert_int_equal(conn, 0);
    assert_true(addr_equal(&addr, &want));
    assert_false(metadata_fetch_next_blamed(x.fetch, &conn, &addr));
    end(&x);
}

/* --- sizes that disagree --------------------------------------------------------------------- */

static void test_size_majority(void **state)
{
    (void)state;
    struct fixture x;
    const uint8_t *copies[] = {NULL, lies, truth, truth};
    uint32_t conn, piece;
    begin(&x, 40000);
    add(&x, 1, 999999); /* a liar, first to come */
    assert_true(next(&x, 0, &conn, &piece));
    add(&x, 2, 40000);
    assert_true(next(&x, 0, &conn, &piece)); /* one against one: stay */
    assert_int_equal(conn, 1);
    add(&x, 3, 40000);
    assert_int_equal(run(&x, 0, copies), METADATA_DONE);
    assert_done(&x);
    end(&x);
}

/* A peer alone with its size that never answers does not hold up another. */
static void test_size_of_a_mute(void **state)
{
    (void)state;
    struct fixture x;
    const uint8_t *copies[] = {NULL, lies, truth};
    uint32_t conn, piece;
    begin(&x, 40000);
    add(&x, 1, METADATA_LEN_MAX);
    while (next(&x, 0, &conn, &piece))
        assert_int_equal(conn, 1);
    add(&x, 2, 40000);
    uint64_t now = metadata_fetch_deadline_us(x.fetch);
    metadata_fetch_on_tick(x.fetch, now);
    assert_int_equal(metadata_fetch_counts(x.fetch).n_timeouts, METADATA_PEER_REQUESTS);
    assert_int_equal(run(&x, now, copies), METADATA_DONE);
    assert_done(&x);
    end(&x);
}

static void test_size_refused(void **state)
{
    (void)state;
    struct fixture x;
    struct addr addr = addr_of(1);
    uint32_t conn, piece;
    begin(&x, 100);
    assert_int_equal(metadata_fetch_add_peer(x.fetch, 0, 1, &addr, 0), ERR_LIMIT);
    assert_int_equal(metadata_fetch_add_peer(x.fetch, 0, 1, &addr, METADATA_LEN_MAX + 1),
                     ERR_LIMIT);
    assert_int_equal(metadata_fetch_counts(x.fetch).n_refused, 2);
    assert_false(next(&x, 0, &conn, &piece));
    assert_int_equal(metadata_fetch_deadline_us(x.fetch), DEADLINE_NEVER);
    end(&x);
}

/* total_size and the length of a piece must be what the peer's handshake makes them. */
static void test_disagreement(void **state)
{
    (void)state;
    static const struct {
        int64_t size_off;
        int len_off;
    } off[] = {{1, 0}, {-1, 0}, {0, -1}, {0, 1}};
    for (size_t i = 0; i < COUNT_OF(off); i++) {
        struct fixture x;
        uint32_t conn, piece;
        begin(&x, 20000);
        add(&x, 1, 20000);
        assert_true(next(&x, 0, &conn, &piece));
        assert_true(next(&x, 0, &conn, &piece));
        assert_int_equal(piece, 1);
        struct ut_metadata_msg msg = data_msg(truth, 20000, 1);
        msg.total_size = (uint64_t)((int64_t)msg.total_size + off[i].size_off);
        msg.data.len = (size_t)((int)msg.data.len + off[i].len_off);
        assert_int_equal(metadata_fetch_on_data(x.fetch, 0, 1, &msg), METADATA_BAD);
        assert_int_equal(metadata_fetch_counts(x.fetch).n_bad, 1);
        assert_false(next(&x, 0, &conn, &piece)); /* asked no more */
        end(&x);
    }
}

static void test_size_changes(void **state)
{
    (void)state;
    struct fixture x;
    const uint8_t *copies[] = {NULL, truth};
    uint32_t conn, piece;
    begin(&x, 40000);
    add(&x, 1, 70000);
    assert_true(next(&x, 0, &conn, &piece));
    add(&x, 1, 40000);
    assert_int_equal(answer(&x, 0, 1, 0, truth), METADATA_IGNORED); /* asked under the old size */
    assert_int_equal(run(&x, 0, copies), METADATA_DONE);
    end(&x);
}

/* --- time-outs, rejects, departures ---------------------------------------------------------- */

static void test_timeout_asks_another(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    begin(&x, 1000);
    add(&x, 1, 1000);
    assert_true(next(&x, 0, &conn, &piece));
    assert_int_equal(conn, 1);
    add(&x, 2, 1000);
    assert_false(next(&x, METADATA_TIMEOUT_US - 1, &conn, &piece));
    assert_true(next(&x, METADATA_TIMEOUT_US, &conn, &piece));
    assert_int_equal(conn, 2);
    assert_int_equal(answer(&x, METADATA_TIMEOUT_US + 1, 1, 0, truth), METADATA_DONE); /* late */
    assert_int_equal(answer(&x, METADATA_TIMEOUT_US + 2, 2, 0, truth), METADATA_IGNORED);
    end(&x);
}

/* A mute peer is left alone after its strikes, tried again later, and never more than its share
 * of requests is out to it. */
static void test_mute_alone(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece, n_asked = 0;
    begin(&x, 1000);
    add(&x, 1, 1000);
    uint64_t now = 0;
    for (; now < 3600 * (uint64_t)US_PER_S; now = metadata_fetch_deadline_us(x.fetch)) {
        metadata_fetch_on_tick(x.fetch, now);
        while (next(&x, now, &conn, &piece))
            n_asked++;
        assert_true(metadata_fetch_deadline_us(x.fetch) > now);
    }
    assert_in_range(n_asked, 3, 200);
    while (!next(&x, now, &conn, &piece))
        now = metadata_fetch_deadline_us(x.fetch);
    assert_int_equal(answer(&x, now, 1, 0, truth), METADATA_DONE);
    end(&x);
}

static void test_reject(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    begin(&x, 1000);
    add(&x, 1, 1000);
    assert_true(next(&x, 0, &conn, &piece));
    metadata_fetch_on_reject(x.fetch, 5, 1, 1); /* not asked */
    assert_int_equal(metadata_fetch_counts(x.fetch).n_unasked, 1);
    metadata_fetch_on_reject(x.fetch, 5, 1, 0);
    assert_int_equal(metadata_fetch_counts(x.fetch).n_rejects, 1);
    assert_int_equal(metadata_fetch_deadline_us(x.fetch), 5 + METADATA_REJECT_WAIT_US);
    assert_false(next(&x, 6, &conn, &piece));
    assert_false(next(&x, 4 + METADATA_REJECT_WAIT_US, &conn, &piece));
    assert_true(next(&x, 5 + METADATA_REJECT_WAIT_US, &conn, &piece));
    end(&x);
}

static void test_departure(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    begin(&x, 30000);
    add(&x, 1, 30000);
    while (next(&x, 0, &conn, &piece))
        ;
    assert_int_equal(answer(&x, 0, 1, 0, truth), METADATA_MORE);
    metadata_fetch_remove_peer(x.fetch, 1);
    metadata_fetch_check(x.fetch);
    metadata_fetch_remove_peer(x.fetch, 1); /* and once more, and one never known */
    metadata_fetch_remove_peer(x.fetch, 77);
    assert_false(next(&x, 0, &conn, &piece));
    assert_int_equal(answer(&x, 0, 1, 1, truth), METADATA_IGNORED);
    add(&x, 2, 30000);
    assert_true(next(&x, 0, &conn, &piece));
    assert_int_equal(conn, 2);
    assert_int_equal(piece, 1); /* what the first peer gave is kept */
    assert_int_equal(answer(&x, 0, 2, 1, truth), METADATA_DONE);
    end(&x);
}

static void test_unasked(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    begin(&x, 30000);
    add(&x, 1, 30000);
    add(&x, 2, 30000);
    assert_int_equal(answer(&x, 0, 1, 0, truth), METADATA_IGNORED);
    assert_int_equal(answer(&x, 0, 9, 0, truth), METADATA_IGNORED);
    assert_true(next(&x, 0, &conn, &piece));
    assert_int_equal(answer(&x, 0, 3 - conn, piece, truth), METADATA_IGNORED);
    assert_int_equal(answer(&x, 0, conn, piece, truth), METADATA_MORE);
    assert_int_equal(answer(&x, 0, conn, piece, truth), METADATA_IGNORED); /* twice */
    assert_int_equal(metadata_fetch_counts(x.fetch).n_unasked, 4);
    end(&x);
}

/* --- limits ---------------------------------------------------------------------------------- */

/* The table of peers is bounded; those that left make room, even when they had supplied pieces. */
static void test_overfill(void **state)
{
    (void)state;
    struct fixture x;
    struct addr addr = addr_of(1);
    uint32_t conn, piece;
    begin(&x, INFO_CAP);
    for (conn = 1; conn <= METADATA_PEERS_MAX; conn++)
        add(&x, conn, INFO_CAP);
    assert_int_equal(metadata_fetch_add_peer(x.fetch, 0, 1000, &addr, INFO_CAP), ERR_LIMIT);
    assert_int_equal(metadata_fetch_counts(x.fetch).n_refused, 1);
    while (metadata_fetch_next(x.fetch, 0, &conn, &piece))
        ;
    for (conn = 1; conn < METADATA_PEERS_MAX; conn++)
        for (piece = 0; piece < INFO_CAP / METADATA_PIECE_LEN - 1; piece++)
            answer(&x, 0, conn, piece, truth);
    for (conn = 1; conn <= METADATA_PEERS_MAX; conn++)
        metadata_fetch_remove_peer(x.fetch, conn);
    for (conn = 2000; conn < 2000 + METADATA_PEERS_MAX; conn++) {
        add(&x, conn, INFO_CAP);
        metadata_fetch_check(x.fetch);
    }
    assert_int_equal(metadata_fetch_add_peer(x.fetch, 0, 1000, &addr, INFO_CAP), ERR_LIMIT);
    end(&x);
}

/* A claim of 10 MiB costs nothing before a piece of it has come. */
static void test_memory_of_a_claim(void **state)
{
    (void)state;
    struct fixture x;
    uint32_t conn, piece;
    begin(&x, 1000);
    add(&x, 1, METADATA_LEN_MAX);
    assert_true(next(&x, 0, &conn, &piece));
    assert_in_range(x.mem.used_len, 1, 64 * 1024);
    end(&x);
}

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct fixture x;
    uint32_t conn, piece;
    bool is_done = false;
    (void)ctx;
    x.info = bytes_of(truth, 3 * METADATA_PIECE_LEN);
    struct metadata_want want = want_of(x.info, true, false);
    if (metadata_fetch_new(&x.fetch, mem, &want))
        return false;
    add(&x, 1, x.info.len);
    add(&x, 2, x.info.len);
    /* a failed try of two first, so that suspects are remembered */
    for (unsigned n = 0; n < 30 && !is_done; n++) {
        if (!metadata_fetch_next(x.fetch, 0, &conn, &piece))
            continue;
        bool is_lie = metadata_fetch_counts(x.fetch).n_hash_bad == 0 && conn == 1;
        is_done = answer(&x, 0, conn, piece, is_lie ? lies : truth) == METADATA_DONE;
    }
    metadata_fetch_free(x.fetch);
    return is_done;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (uint64_t n = 1; n < 10; n++) { /* after a refusal the fetch goes on and ends well */
        mem.fail_at = n;
        bool is_done = run_sweep(&mem, NULL);
        mem_check_empty(&mem);
        assert_true(is_done || n == 1);
        mem.fail_at = 0;
    }
}

/* --- serving --------------------------------------------------------------------------------- */

static void test_serve(void **state)
{
    (void)state;
    struct metadata_serve s;
    uint32_t piece;
    struct bytes info = bytes_of(truth, 40000);
    metadata_serve_init(&s);
    assert_false(metadata_serve_next(&s, &piece));
    assert_int_equal(metadata_serve_on_request(&s, 2, info.len), METADATA_QUEUED);
    assert_int_equal(metadata_serve_on_request(&s, 0, info.len), METADATA_QUEUED);
    assert_int_equal(metadata_serve_on_request(&s, 3, info.len), METADATA_REJECT); /* no such */
    assert_int_equal(metadata_serve_on_request(&s, 0, 0), METADATA_REJECT); /* we have none */
    assert_true(metadata_serve_next(&s, &piece));
    assert_int_equal(piece, 2);
    assert_int_equal(metadata_serve_data(info, 2).len, 40000 - 2 * METADATA_PIECE_LEN);
    assert_true(metadata_serve_next(&s, &piece));
    assert_int_equal(piece, 0);
    assert_ptr_equal(metadata_serve_data(info, 0).data, info.data);
    assert_int_equal(metadata_serve_data(info, 0).len, METADATA_PIECE_LEN);
    assert_false(metadata_serve_next(&s, &piece));
}

static void test_serve_bounds(void **state)
{
    (void)state;
    struct metadata_serve s;
    uint32_t piece, n_served = 0;
    metadata_serve_init(&s);
    for (uint32_t i = 0; i < METADATA_SERVE_QUEUE; i++)
        assert_int_equal(metadata_serve_on_request(&s, i, METADATA_LEN_MAX), METADATA_QUEUED);
    assert_int_equal(metadata_serve_on_request(&s, 0, METADATA_LEN_MAX), METADATA_REJECT);
    assert_int_equal(s.n_refused, 1);
    metadata_serve_init(&s);
    while (metadata_serve_on_request(&s, n_served % 3, 40000) == METADATA_QUEUED) {
        assert_true(metadata_serve_next(&s, &piece));
        assert_int_equal(piece, n_served++ % 3);
    }
    assert_int_equal(n_served, 3 * METADATA_SERVE_TIMES);
    uint32_t n_refused = 1;
    while (metadata_serve_on_request(&s, 0, 40000) == METADATA_REJECT)
        n_refused++;
    assert_int_equal(n_refused, METADATA_SERVE_FLOOD);
    assert_int_equal(metadata_serve_on_request(&s, 0, 40000), METADATA_CLOSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_spread),
        cmocka_unit_test(test_which_hash),    cmocka_unit_test(test_sole_liar),
        cmocka_unit_test(test_mixed_liars),   cmocka_unit_test(test_liar_named_later),
        cmocka_unit_test(test_size_majority), cmocka_unit_test(test_size_of_a_mute),
        cmocka_unit_test(test_size_refused),  cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_size_changes),  cmocka_unit_test(test_timeout_asks_another),
        cmocka_unit_test(test_mute_alone),    cmocka_unit_test(test_reject),
        cmocka_unit_test(test_departure),     cmocka_unit_test(test_unasked),
        cmocka_unit_test(test_overfill),      cmocka_unit_test(test_memory_of_a_claim),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_serve),
        cmocka_unit_test(test_serve_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
