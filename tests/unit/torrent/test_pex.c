#include "base/rng.h"
#include "test_util.h"
#include "torrent/pex.h"

#define MINUTE PEX_INTERVAL_US

static struct pex_peer peer(uint32_t i)
{
    return (struct pex_peer){
        addr_v4((uint8_t)(1 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1, (uint16_t)(1000 + i)),
        2};
}

/* One message as the far side reads it; false when there was none. */
static bool next(struct pex_out *p, uint64_t now_us, struct pex_peer *peers, size_t n,
                 struct ut_pex_msg *out)
{
    static uint8_t buf[PEX_OUT_LEN_MAX];
    enum err_code err;
    struct writer w = writer_init(buf, sizeof buf);
    bool is_written = pex_out_write(p, now_us, peers, n, &w, &err);
    assert_int_equal(err, ERR_OK);
    pex_out_check(p);
    if (is_written)
        assert_int_equal(ut_pex_read(writer_bytes(&w), out, NULL), ERR_OK);
    return is_written;
}

/* --- sending --------------------------------------------------------------------------------- */

static void test_diffs(void **state)
{
    (void)state;
    struct pex_out p;
    struct mem mem;
    struct ut_pex_msg m;
    struct pex_peer peers[4] = {peer(3), peer(1), peer(2), peer(1)};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    pex_out_init(&p, &mem, 0);
    uint64_t now = pex_out_deadline_us(&p);
    assert_false(next(&p, now - 1, peers, 4, &m));
    assert_true(next(&p, now, peers, 4, &m));
    assert_int_equal(ut_pex_n_added(&m), 3);
    assert_int_equal(ut_pex_n_dropped(&m), 0);
    assert_int_equal(ut_pex_added(&m, 0).flags, 2);
    assert_int_equal(pex_out_deadline_us(&p), now + MINUTE);
    assert_false(next(&p, now + MINUTE - 1, NULL, 0, &m));
    now += MINUTE;
    assert_false(next(&p, now, peers, 3, &m)); /* nothing changed */
    assert_int_equal(pex_out_deadline_us(&p), now + MINUTE);
    now += MINUTE;
    peers[0] = peer(9);
    peers[1] = peer(2);
    assert_true(next(&p, now, peers, 2, &m));
    assert_int_equal(ut_pex_n_added(&m), 1);
    struct addr got = ut_pex_added(&m, 0).addr, want = peer(9).addr;
    assert_true(addr_equal(&got, &want));
    assert_int_equal(ut_pex_n_dropped(&m), 2);
    now += MINUTE;
    assert_true(next(&p, now, NULL, 0, &m));
    assert_int_equal(ut_pex_n_added(&m), 0);
    assert_int_equal(ut_pex_n_dropped(&m), 2);
    assert_int_equal(p.n_told, 0);
    pex_out_clear(&p);
    mem_check_empty(&mem);
}

/* However the swarm changes: at most 50 and 50, nothing told twice or dropped untold, and once
 * it rests the far side knows it. The model is the far side's list. */
static void test_model(void **state)
{
    (void)state;
    struct pex_out p;
    struct mem mem;
    struct rng rng;
    bool is_known[300] = {false}, is_here[300];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 4);
    pex_out_init(&p, &mem, 0);
    uint64_t now = PEX_FIRST_DELAY_US;
    for (unsigned round = 0; round < 300; round++, now += MINUTE) {
        struct pex_peer peers[300];
        struct ut_pex_msg m;
        size_t n = 0, n_known = 0;
        bool is_resting = round % 30 >= 20;
        for (uint32_t i = 0; i < 300 && !is_resting; i++)
            is_here[i] = rng_below(&rng, 300) < (round % 30) * 8 && i < 195;
        for (uint32_t i = 0; i < 300; i++)
            if (is_here[i])
                peers[n++] = peer(i);
        if (next(&p, now, peers, n, &m)) {
            assert_in_range(ut_pex_n_added(&m), 0, PEX_N_MAX);
            assert_in_range(ut_pex_n_dropped(&m), 0, PEX_N_MAX);
            for (size_t i = 0; i < ut_pex_n_added(&m); i++) {
                struct addr a = ut_pex_added(&m, i).addr;
                uint32_t id = a.port - 1000u;
                assert_true(is_here[id] && !is_known[id]);
                is_known[id] = true;
            }
            for (size_t i = 0; i < ut_pex_n_dropped(&m); i++) {
                struct addr a = ut_pex_dropped(&m, i).addr;
                uint32_t id = a.port - 1000u;
                assert_true(!is_here[id] && is_known[id]);
                is_known[id] = false;
            }
        }
        for (uint32_t i = 0; i < 300; i++)
            n_known += is_known[i];
        assert_int_equal(n_known, p.n_told);
        assert_in_range(n_known, 0, PEX_TOLD_MAX);
        if (round % 30 == 29)
            assert_memory_equal(is_known, is_here, sizeof is_known);
    }
    pex_out_clear(&p);
    mem_check_empty(&mem);
}

static void test_full(void **state)
{
    (void)state;
    struct pex_out p;
    struct mem mem;
    struct ut_pex_msg m;
    static struct pex_peer peers[500];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    pex_out_init(&p, &mem, 0);
    uint64_t now = PEX_FIRST_DELAY_US;
    for (uint32_t i = 0; i < 500; i++)
        peers[i] = peer(i);
    for (unsigned round = 0; round < 10; round++, now += MINUTE)
        assert_int_equal(next(&p, now, peers, 500, &m), round < 4);
    assert_int_equal(p.n_told, PEX_TOLD_MAX);
    assert_true(next(&p, now, peers + 450, 50, &m)); /* room is made by dropping */
    assert_int_equal(ut_pex_n_dropped(&m), 50);
    assert_int_equal(ut_pex_n_added(&m), 50);
    pex_out_clear(&p);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct pex_out p;
    struct mem mem;
    uint8_t buf[PEX_OUT_LEN_MAX];
    enum err_code err;
    struct pex_peer one = peer(1);
    struct writer w = writer_init(buf, sizeof buf), tiny = writer_init(buf, 5);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    pex_out_init(&p, &mem, 0);
    mem.fail_at = 1;
    assert_false(pex_out_write(&p, MINUTE, &one, 1, &w, &err));
    assert_int_equal(err, ERR_NO_MEMORY);
    assert_false(pex_out_write(&p, 3 * MINUTE, &one, 1, &tiny, &err));
    assert_int_equal(err, ERR_LIMIT);
    assert_int_equal(p.n_told, 0);
    assert_true(pex_out_write(&p, 5 * MINUTE, &one, 1, &w, &err));
    pex_out_clear(&p);
    mem_check_empty(&mem);
}

/* --- receiving ------------------------------------------------------------------------------- */

static struct bytes message(uint8_t *buf, size_t cap, const struct pex_peer *added, size_t n_added,
                            const struct pex_peer *dropped, size_t n_dropped)
{
    struct writer w = writer_init(buf, cap);
    ut_pex_write(&w, added, n_added, dropped, n_dropped);
    assert_int_equal(writer_end(&w), ERR_OK);
    return writer_bytes(&w);
}

static void test_in_filters(void **state)
{
    (void)state;
    uint8_t buf[1000];
    struct pex_in in;
    struct pex_peer out[PEX_IN_FIRST_MAX];
    size_t n;
    struct pex_peer added[] = {
        {addr_v4(8, 8, 8, 8, 80), 2},
        {addr_v4(8, 8, 8, 8, 81), 2}, /* the same address, another port */
        {addr_v4(10, 0, 0, 1, 80), 0},
        {addr_v4(10, 0, 0, 1, 81), 0},  /* private: both stay */
        {addr_v4(10, 0, 0, 1, 81), 0},  /* the very same */
        {addr_v4(9, 9, 9, 9, 0), 0},    /* no port */
        {addr_v4(224, 0, 0, 1, 80), 0}, /* multicast */
        {addr_v4(7, 7, 7, 7, 80), 0},   /* dropped below */
    };
    struct pex_peer dropped[] = {{addr_v4(7, 7, 7, 7, 80), 0}};
    pex_in_init(&in, 0);
    assert_int_equal(pex_in_read(&in, 0,
                                 message(buf, sizeof buf, added, COUNT_OF(added), dropped, 1), out,
                                 COUNT_OF(out), &n, NULL),
                     ERR_OK);
    assert_int_equal(n, 3);
    assert_true(addr_equal(&out[0].addr, &added[0].addr));
    assert_int_equal(out[0].flags, 2);
    assert_true(addr_equal(&out[1].addr, &added[2].addr));
    assert_true(addr_equal(&out[2].addr, &added[3].addr));
    assert_int_equal(in.n_duplicate, 3);
    assert_int_equal(in.n_undialable, 2);
    assert_int_equal(in.n_taken, 3);
}

static void test_in_bounds(void **state)
{
    (void)state;
    static uint8_t buf[UT_PEX_LEN_MAX(1000, 1000)];
    static struct pex_peer many[1000];
    struct pex_in in;
    struct pex_peer out[PEX_IN_FIRST_MAX];
    size_t n;
    for (uint32_t i = 0; i < 1000; i++)
        many[i] = peer(i);
    struct bytes msg = message(buf, sizeof buf, many, 1000, NULL, 0);
    pex_in_init(&in, 0);
    assert_int_equal(pex_in_read(&in, 0, msg, out, COUNT_OF(out), &n, NULL), ERR_OK);
    assert_int_equal(n, PEX_IN_FIRST_MAX);
    assert_int_equal(in.n_over, 1000 - PEX_IN_FIRST_MAX);
    assert_int_equal(pex_in_read(&in, 0, msg, out, COUNT_OF(out), &n, NULL), ERR_OK);
    assert_int_equal(n, PEX_IN_ADDED_MAX);
    assert_int_equal(pex_in_read(&in, 0, msg, out, 7, &n, NULL), ERR_OK);
    assert_int_equal(n, 7);
}

static void test_in_rate(void **state)
{
    (void)state;
    struct pex_in in;
    struct pex_peer out[PEX_IN_FIRST_MAX];
    struct bytes empty = BYTES_LIT("de");
    struct err err;
    size_t n;
    pex_in_init(&in, 0);
    for (uint64_t minute = 0; minute < 100; minute++) /* as BEP 11 has it */
        assert_int_equal(pex_in_read(&in, minute * MINUTE, empty, out, 1, &n, &err), ERR_OK);
    pex_in_init(&in, 0);
    for (uint32_t i = 0; i < PEX_IN_BURST; i++)
        assert_int_equal(pex_in_read(&in, 1, empty, out, 1, &n, &err), ERR_OK);
    for (uint32_t i = 0; i < PEX_IN_EARLY_MAX; i++)
        assert_int_equal(pex_in_read(&in, 2, empty, out, 1, &n, &err), ERR_LIMIT);
    assert_int_equal(in.n_early, PEX_IN_EARLY_MAX);
    assert_int_equal(pex_in_read(&in, 2, empty, out, 1, &n, &err), ERR_PROTOCOL);
    pex_in_init(&in, 0);
    assert_int_equal(pex_in_read(&in, 0, BYTES_LIT("d5:added1:xe"), out, 1, &n, &err),
                     ERR_MALFORMED);
    assert_int_equal(pex_in_read(&in, 0, BYTES_LIT("d"), out, 1, &n, &err), ERR_MALFORMED);
    assert_int_equal(err.code, ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diffs),      cmocka_unit_test(test_model),
        cmocka_unit_test(test_full),       cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_in_filters), cmocka_unit_test(test_in_bounds),
        cmocka_unit_test(test_in_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
