#include "test_util.h"

#include "torrent/ban_list.h"
#include "torrent/blame.h"

#define N_BLOCKS 6u

static struct bytes block_of(uint32_t piece, uint32_t block, bool is_bad)
{
    static uint8_t data[64];
    memset(data, (int)(piece * 16 + block), sizeof data);
    data[63] ^= is_bad;
    return bytes_of(data, sizeof data);
}

static void fail_piece(struct blame *b, uint32_t piece, const uint32_t senders[N_BLOCKS],
                       uint32_t bad_mask)
{
    assert_int_equal(blame_on_bad(b, piece, senders, N_BLOCKS), BLAME_SENDER_NONE);
    for (uint32_t i = 0; i < N_BLOCKS; i++)
        blame_add_block(b, piece, i, senders[i], block_of(piece, i, bad_mask >> i & 1));
    blame_check(b);
}

static void setup(struct blame *b, struct mem *mem, uint32_t n_blocks_max, uint32_t n_senders_max)
{
    struct rng rng;
    mem_init(mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 2);
    blame_init(b, mem, &rng, n_blocks_max, n_senders_max);
}

static void done(struct blame *b, struct mem *mem)
{
    blame_check(b);
    blame_clear(b);
    mem_check_empty(mem);
}

static void test_names_exactly_the_liars(void **state)
{
    (void)state;
    struct mem mem;
    struct blame b;
    setup(&b, &mem, 0, 0);
    uint32_t s[5];
    for (uint8_t i = 1; i < 5; i++) {
        struct addr a = addr_v4(10, 0, 0, i, 6881);
        s[i] = blame_take_sender(&b, &a);
        assert_int_equal(blame_take_sender(&b, &a), s[i]);
        blame_release_sender(&b, s[i]);
    }
    const uint32_t first[N_BLOCKS] = {s[1], s[2], s[2], s[3], s[1], s[3]};
    fail_piece(&b, 7, first, 0x08); /* block 3 from s[3] */
    const uint32_t second[N_BLOCKS] = {s[4], s[2], s[2], s[1], s[1], s[4]};
    fail_piece(&b, 7, second, 0x01); /* block 0 from s[4] */
    assert_true(blame_has(&b, 7));
    assert_false(blame_has(&b, 8));
    for (uint32_t i = 1; i < 5; i++)
        assert_true(blame_is_suspect(&b, s[i]));
    uint32_t named[8];
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        uint32_t n = blame_judge_block(&b, 7, i, block_of(7, i, false), named, COUNT_OF(named));
        assert_int_equal(n, i == 0 || i == 3);
        if (n)
            assert_int_equal(named[0], i == 0 ? s[4] : s[3]);
    }
    blame_end_piece(&b, 7);
    for (uint32_t i = 1; i < 5; i++)
        assert_false(blame_is_suspect(&b, s[i]));
    assert_int_equal(b.counters.n_named, 2);
    struct addr a;
    blame_release_sender(&b, s[4]); /* it has left: and is still known */
    assert_true(blame_sender_addr(&b, s[4], &a));
    assert_int_equal(a.ip[3], 4);
    done(&b, &mem);
}

static void test_a_sole_sender_is_named_at_once(void **state)
{
    (void)state;
    struct mem mem;
    struct blame b;
    setup(&b, &mem, 0, 0);
    struct addr a = addr_v4(10, 0, 0, 1, 1);
    uint32_t s = blame_take_sender(&b, &a);
    const uint32_t all[N_BLOCKS] = {s, s, s, s, s, s}, none[2] = {0, 0};
    assert_int_equal(blame_on_bad(&b, 1, all, N_BLOCKS), s);
    assert_int_equal(blame_on_bad(&b, 1, none, 2), BLAME_SENDER_NONE);
    assert_int_equal(b.counters.n_sole, 1);
    done(&b, &mem);
}

/* More failed pieces than fit: the oldest are given up and its senders cleared. */
static void test_digests_are_bounded(void **state)
{
    (void)state;
    struct mem mem;
    struct blame b;
    setup(&b, &mem, 100, 0);
    struct addr a1 = addr_v4(10, 0, 0, 1, 1), a2 = addr_v4(10, 0, 0, 2, 1);
    uint32_t s1 = blame_take_sender(&b, &a1), s2 = blame_take_sender(&b, &a2);
    const uint32_t senders[N_BLOCKS] = {s1, s2, s1, s2, s1, s2};
    for (uint32_t piece = 0; piece < 50; piece++)
        fail_piece(&b, piece, senders, 1);
    assert_true(b.counters.n_evicted >= 50 - 17);
    assert_false(blame_has(&b, 0));
    assert_true(blame_has(&b, 49));
    for (uint32_t piece = 0; piece < 50; piece++)
        blame_end_piece(&b, piece);
    assert_false(blame_is_suspect(&b, s1));
    assert_int_equal(b.n_blocks, 0);
    for (uint32_t piece = 0; piece < 2 * BLAME_N_RECORDS_MAX; piece++) /* without digests */
        assert_int_equal(blame_on_bad(&b, piece, senders, N_BLOCKS), BLAME_SENDER_NONE);
    assert_int_equal(b.by_age.n, BLAME_N_RECORDS_MAX);
    done(&b, &mem);
}

static void test_one_piece_beyond_the_bound(void **state)
{
    (void)state;
    struct mem mem;
    struct blame b;
    setup(&b, &mem, 4, 0);
    struct addr a1 = addr_v4(10, 0, 0, 1, 1), a2 = addr_v4(10, 0, 0, 2, 1);
    uint32_t s1 = blame_take_sender(&b, &a1), s2 = blame_take_sender(&b, &a2);
    const uint32_t senders[N_BLOCKS] = {s1, s2, s1, s2, s1, s2};
    fail_piece(&b, 0, senders, 1);
    assert_int_equal(b.n_blocks, 4);
    assert_int_equal(b.counters.n_refused, 2);
    uint32_t named;
    assert_int_equal(blame_judge_block(&b, 0, 0, block_of(0, 0, false), &named, 1), 1);
    assert_int_equal(named, s1);
    done(&b, &mem);
}

static void test_senders_are_bounded(void **state)
{
    (void)state;
    struct mem mem;
    struct blame b;
    setup(&b, &mem, 0, 50);
    struct addr used = addr_v4(9, 9, 9, 9, 9);
    uint32_t kept = blame_take_sender(&b, &used), s0 = 0;
    for (uint32_t i = 0; i < 500; i++) {
        struct addr a = addr_v4(10, 1, (uint8_t)(i >> 8), (uint8_t)i, 5);
        uint32_t s = blame_take_sender(&b, &a);
        s0 = i == 0 ? s : s0;
        blame_release_sender(&b, s);
        blame_check(&b);
    }
    struct addr a;
    assert_true(blame_sender_addr(&b, kept, &a));
    assert_false(blame_sender_addr(&b, s0, &a));
    assert_int_equal(b.senders.n, 50);
    done(&b, &mem);
}

static bool run_short(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct rng rng;
    struct blame b;
    rng_init(&rng, 2);
    blame_init(&b, mem, &rng, 0, 0);
    uint32_t s[N_BLOCKS], n = 0, named[4];
    for (uint8_t i = 0; i < N_BLOCKS; i++) {
        struct addr a = addr_v4(10, 0, 0, i, 1);
        s[i] = blame_take_sender(&b, &a);
        blame_check(&b);
    }
    for (uint32_t piece = 0; piece < 3; piece++) {
        blame_on_bad(&b, piece, s, N_BLOCKS);
        for (uint32_t i = 0; i < N_BLOCKS; i++)
            blame_add_block(&b, piece, i, s[i], block_of(piece, i, i == 2));
        blame_check(&b);
        for (uint32_t i = 0; i < N_BLOCKS; i++)
            n += blame_judge_block(&b, piece, i, block_of(piece, i, false), named, 4);
    }
    blame_clear(&b);
    assert_true(n <= 3); /* shortage hides liars and accuses nobody */
    return n == 3;
}

static void test_shortage_of_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(run_short, NULL) > 10);
}

/* --- ban_list -------------------------------------------------------------------------------- */

static void test_bans(void **state)
{
    (void)state;
    struct mem mem;
    struct rng rng;
    struct ban_list l;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 2);
    ban_list_init(&l, &mem, &rng, 100);
    struct addr a = addr_v4(1, 2, 3, 4, 5), b = addr_v4(1, 2, 3, 4, 99), c = addr_v4(1, 2, 3, 5, 5);
    assert_false(ban_list_has(&l, 0, &a));
    ban_list_add(&l, &a, 1000);
    assert_true(ban_list_has(&l, 999, &b)); /* any port */
    assert_false(ban_list_has(&l, 999, &c));
    ban_list_add(&l, &b, 500); /* the longer one stands */
    assert_true(ban_list_has(&l, 999, &a));
    assert_false(ban_list_has(&l, 1000, &a));
    ban_list_add(&l, &a, UINT64_MAX);
    assert_true(ban_list_has(&l, UINT64_MAX, &a));
    assert_true(ban_list_remove(&l, &a));
    assert_false(ban_list_remove(&l, &a));
    for (uint32_t i = 0; i < 1000; i++) { /* more than fit: the oldest go */
        struct addr each = addr_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 1);
        ban_list_add(&l, &each, UINT64_MAX);
        assert_true(ban_list_has(&l, 0, &each));
        ban_list_check(&l);
    }
    assert_int_equal(l.n_evicted, 900);
    struct addr first = addr_v4(10, 0, 0, 0, 1);
    assert_false(ban_list_has(&l, 0, &first));
    mem.fail_at = 1;
    ban_list_add(&l, &first, UINT64_MAX);
    assert_int_equal(l.n_refused, 1);
    ban_list_check(&l);
    ban_list_clear(&l);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_exactly_the_liars),
        cmocka_unit_test(test_a_sole_sender_is_named_at_once),
        cmocka_unit_test(test_digests_are_bounded),
        cmocka_unit_test(test_one_piece_beyond_the_bound),
        cmocka_unit_test(test_senders_are_bounded),
        cmocka_unit_test(test_shortage_of_memory),
        cmocka_unit_test(test_bans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
