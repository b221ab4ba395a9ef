#include "test_util.h"
#include "torrent/swarm_table.h"

#define S        UINT64_C(1000000)
#define LIFE_US  (64 * S) /* ticks of two seconds */
#define WANT_MAX 200u

struct fixture {
    struct mem mem;
    struct swarm_table t;
    uint64_t now_us;
    uint8_t out[WANT_MAX * 18];
    uint32_t n;
    struct swarm_counts counts;
};

static void table_init(struct fixture *f, uint32_t n_swarms_max, uint32_t n_peers_max)
{
    *f = (struct fixture){.now_us = 1000 * S};
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(swarm_table_init(&f->t, &f->mem, f->now_us, 1, (struct map_seed){3, 4},
                                      n_swarms_max, n_peers_max, LIFE_US),
                     ERR_OK);
}

static void table_end(struct fixture *f)
{
    swarm_table_check(&f->t);
    swarm_table_clear(&f->t);
    mem_check_empty(&f->mem);
}

static struct addr peer(uint32_t i, bool is_v6)
{
    struct addr a = {.family = is_v6 ? ADDR_V6 : ADDR_V4, .port = 6881};
    a.ip[0] = is_v6 ? 0x20 : 10;
    a.ip[1] = (uint8_t)(i >> 16);
    a.ip[2] = (uint8_t)(i >> 8);
    a.ip[3] = (uint8_t)i;
    return a;
}

static uint32_t peer_number(const uint8_t *compact)
{
    return (uint32_t)compact[1] << 16 | (uint32_t)compact[2] << 8 | compact[3];
}

static void make_hash(uint32_t i, uint8_t out[SHA1_LEN])
{
    memset(out, 0, SHA1_LEN);
    memcpy(out, &i, sizeof i);
}

static enum err_code say(struct fixture *f, uint32_t swarm, struct addr a, enum swarm_event event,
                         bool is_seed, uint32_t numwant)
{
    uint8_t hash[SHA1_LEN];
    make_hash(swarm, hash);
    struct swarm_announce announce = {
        .infohash = hash, .peer = a, .event = event, .is_seed = is_seed, .numwant = numwant};
    return swarm_table_announce(&f->t, f->now_us, &announce, f->out, &f->n, &f->counts);
}

static void join(struct fixture *f, uint32_t swarm, uint32_t i, bool is_seed)
{
    assert_int_equal(say(f, swarm, peer(i, false), SWARM_ALIVE, is_seed, 0), ERR_OK);
}

static struct swarm_counts scrape(struct fixture *f, uint32_t swarm)
{
    uint8_t hash[SHA1_LEN];
    struct swarm_counts c;
    make_hash(swarm, hash);
    swarm_table_scrape(&f->t, hash, &c);
    return c;
}

static void test_life_of_a_peer(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 10, 100);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        say(&f, 1, peer(1, v6), SWARM_ALIVE, false, 50);
        assert_int_equal(f.n, 0); /* not oneself */
        assert_int_equal(f.counts.n_leechers, 1);
        say(&f, 1, peer(2, v6), SWARM_ALIVE, true, 50);
        assert_int_equal(f.n, 1);
        assert_int_equal(peer_number(f.out), 1);
        assert_int_equal(f.counts.n_seeders, 1);
        say(&f, 1, peer(1, v6), SWARM_COMPLETED, true, 50);
        assert_int_equal(f.n, 1); /* no leechers: it hears of seeds (aria2 with a magnet link) */
        assert_int_equal(peer_number(f.out), 2);
        assert_int_equal(f.counts.n_completed, v6 + 1);
        say(&f, 1, peer(1, v6), SWARM_COMPLETED, true, 50); /* once */
        say(&f, 1, peer(3, v6), SWARM_COMPLETED, true, 50); /* a stranger */
        assert_int_equal(f.counts.n_completed, v6 + 1);
        assert_int_equal(f.counts.n_seeders, 3);
        say(&f, 1, peer(1, v6), SWARM_STOPPED, true, 50);
        assert_int_equal(f.n, 0);
        assert_int_equal(f.counts.n_seeders, 2);
        say(&f, 1, peer(1, v6), SWARM_STOPPED, true, 50); /* twice is harmless */
        assert_int_equal(f.counts.n_seeders, 2);
        swarm_table_check(&f.t);
    }
    assert_int_equal(scrape(&f, 1).n_seeders, 4); /* of both families */
    assert_int_equal(f.t.n_peers[0], 2);
    assert_int_equal(f.t.n_peers[1], 2);
    say(&f, 2, peer(1, false), SWARM_STOPPED, true, 50); /* makes no swarm */
    assert_int_equal(f.t.n_swarms, 1);
    table_end(&f);
}

static void test_paused_and_unlisted(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t hash[SHA1_LEN];
    table_init(&f, 10, 100);
    make_hash(1, hash);
    struct swarm_announce a = {.infohash = hash, .peer = peer(1, false), .is_paused = true};
    assert_int_equal(swarm_table_announce(&f.t, f.now_us, &a, f.out, &f.n, &f.counts), ERR_OK);
    assert_int_equal(f.counts.n_paused, 1);
    a.is_seed = true; /* paused no more: it has everything */
    assert_int_equal(swarm_table_announce(&f.t, f.now_us, &a, f.out, &f.n, &f.counts), ERR_OK);
    assert_int_equal(f.counts.n_paused, 0);
    struct swarm_announce b = {
        .infohash = hash, .peer = peer(2, false), .is_unlisted = true, .numwant = 50};
    assert_int_equal(swarm_table_announce(&f.t, f.now_us, &b, f.out, &f.n, &f.counts), ERR_OK);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.t.n_peers[0], 1);
    make_hash(2, hash);
    assert_int_equal(swarm_table_announce(&f.t, f.now_us, &b, f.out, &f.n, &f.counts), ERR_OK);
    assert_int_equal(f.t.n_swarms, 1);
    table_end(&f);
}

/* Answers: as many as wanted, no one twice, not the asker, and everyone alike often. */
static void test_answers_are_fair(void **state)
{
    static const struct {
        uint32_t n_peers, want;
    } cases[] = {{2, 1},   {5, 3},    {20, 19},  {20, 20},   {33, 32},   {67, 66},
                 {100, 7}, {100, 50}, {100, 99}, {300, 200}, {1000, 50}, {1000, 200}};
    (void)state;
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct fixture f;
        static unsigned n_named[1024];
        uint32_t n = cases[k].n_peers, want = cases[k].want;
        unsigned n_rounds = 200000 / want;
        uint64_t n_total = 0;
        table_init(&f, 10, 2000);
        memset(n_named, 0, sizeof n_named);
        for (uint32_t i = 0; i <= n; i++)
            join(&f, 1, i, i % 3 == 0);
        for (unsigned round = 0; round < n_rounds; round++) {
            static bool is_named[1024];
            memset(is_named, 0, sizeof is_named);
            say(&f, 1, peer(n, false), SWARM_ALIVE, false, want);
            assert_true(f.n == want || f.n == want - 1);
            n_total += f.n;
            for (uint32_t i = 0; i < f.n; i++) {
                uint32_t who = peer_number(f.out + 6 * i);
                assert_true(who < n && !is_named[who]);
                is_named[who] = true;
                n_named[who]++;
            }
        }
        double mean = (double)n_total / n;
        for (uint32_t i = 0; i < n; i++)
            assert_true(n_named[i] > mean * 0.5 && n_named[i] < mean * 1.6);
        table_end(&f);
    }
}

static void test_seeds_hear_of_leechers_only(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 10, 1000);
    for (uint32_t i = 0; i < 300; i++)
        join(&f, 1, i, i % 2);
    for (unsigned round = 0; round < 50; round++) {
        say(&f, 1, peer(1, false), SWARM_ALIVE, true, 40);
        assert_int_equal(f.n, 40);
        for (uint32_t i = 0; i < f.n; i++)
            assert_int_equal(peer_number(f.out + 6 * i) % 2, 0);
    }
    table_end(&f);
}

/* Many peers in several swarms against the obvious: an array of what each is. */
static void test_against_model(void **state)
{
    enum { N_SWARMS = 5, N_PEERS = 90 };
    static uint8_t model[N_SWARMS][N_PEERS][2]; /* 0 absent, 1 leecher, 2 seed; by family */
    (void)state;
    struct fixture f;
    struct rng rng;
    table_init(&f, 100, 10000);
    memset(model, 0, sizeof model);
    rng_init(&rng, 9);
    for (unsigned step = 0; step < 40000; step++) {
        uint32_t s = rng_below(&rng, N_SWARMS), i = rng_below(&rng, N_PEERS);
        bool v6 = rng_below(&rng, 2), is_seed = rng_below(&rng, 2);
        bool is_stop = rng_below(&rng, step % 10000 < 5000 ? 4 : 2) == 0;
        assert_int_equal(say(&f, s, peer(i, v6), is_stop ? SWARM_STOPPED : SWARM_ALIVE, is_seed,
                             rng_below(&rng, WANT_MAX)),
                         ERR_OK);
        model[s][i][v6] = is_stop ? 0 : is_seed ? 2 : 1;
        uint32_t n_seeds = 0, n_leechers = 0;
        for (uint32_t k = 0; k < N_PEERS; k++) {
            n_seeds += model[s][k][v6] == 2;
            n_leechers += model[s][k][v6] == 1;
        }
        assert_int_equal(f.counts.n_seeders, n_seeds);
        assert_int_equal(f.counts.n_leechers, n_leechers);
        for (uint32_t k = 0; k < f.n; k++) {
            uint32_t who = peer_number(f.out + (v6 ? 18 : 6) * k);
            assert_true(who != i && model[s][who][v6] != 0);
        }
        if (step % 1000 == 0)
            swarm_table_check(&f.t);
    }
    table_end(&f);
}

static void test_silent_peers_go(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 100, 10000);
    for (uint32_t i = 0; i < 50; i++)
        join(&f, 1, i, i % 2);
    join(&f, 2, 1, true);
    say(&f, 3, peer(1, true), SWARM_ALIVE, true, 0);
    for (unsigned k = 0; k < 10; k++) { /* half of one swarm goes on announcing */
        f.now_us += LIFE_US / 8;
        for (uint32_t i = 0; i < 25; i++)
            join(&f, 1, i, i % 2);
        if (k < 7) {
            assert_int_equal(f.t.n_swarms, 3); /* nobody goes before his time */
            assert_int_equal(scrape(&f, 1).n_seeders, 25);
        }
    }
    swarm_table_tick(&f.t, f.now_us);
    swarm_table_check(&f.t);
    assert_int_equal(f.t.n_swarms, 1);
    assert_int_equal(f.t.n_peers[0], 25);
    assert_int_equal(f.t.n_peers[1], 0);
    assert_int_equal(f.t.n_expired, 27);
    f.now_us += LIFE_US * 2;
    while (swarm_table_deadline_us(&f.t) <= f.now_us)
        swarm_table_tick(&f.t, f.now_us);
    assert_int_equal(f.t.n_swarms, 0);
    assert_true(swarm_table_deadline_us(&f.t) == DEADLINE_NEVER);
    join(&f, 1, 1, true); /* after a long sleep with nothing to do */
    f.now_us += 1000000 * S;
    join(&f, 1, 2, true);
    while (swarm_table_deadline_us(&f.t) <= f.now_us)
        swarm_table_tick(&f.t, f.now_us);
    assert_int_equal(f.t.n_peers[0], 1);
    table_end(&f);
}

/* Ticks at any moment and of any length: a peer lives at least LIFE_US and at most two ticks more. */
static void test_time_of_death(void **state)
{
    (void)state;
    struct fixture f;
    struct rng rng;
    table_init(&f, 100000, 100000);
    rng_init(&rng, 5);
    static uint64_t born_us[3000];
    uint32_t first = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        f.now_us += rng_below(&rng, S);
        born_us[i] = f.now_us;
        join(&f, i, i, false);
        while (swarm_table_deadline_us(&f.t) <= f.now_us)
            swarm_table_tick(&f.t, f.now_us);
        while (first < i && scrape(&f, first).n_leechers == 0) {
            assert_true(f.now_us - born_us[first] > LIFE_US);
            first++;
        }
        assert_true(f.now_us - born_us[first] <= LIFE_US + 3 * LIFE_US / SWARM_N_TICKS);
    }
    assert_true(first > 2000);
    table_end(&f);
}

static void test_sweeping_is_cut_in_parts(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 100000, 100000);
    for (uint32_t i = 0; i < 10000; i++)
        join(&f, i, i, false);
    f.now_us += LIFE_US + 4 * LIFE_US / SWARM_N_TICKS;
    swarm_table_tick(&f.t, f.now_us);
    assert_true(f.t.n_swarms > 0 && f.t.n_swarms < 10000);
    assert_true(swarm_table_deadline_us(&f.t) == 0);
    swarm_table_check(&f.t);
    for (unsigned i = 0; i < 10; i++)
        swarm_table_tick(&f.t, f.now_us);
    assert_int_equal(f.t.n_swarms, 0);
    table_end(&f);
}

/* Overfill: at the limit of peers the longest silent go first, more or less. */
static void test_peers_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 1000, 500);
    for (uint32_t i = 0; i < 250; i++)
        join(&f, i % 10, i, false);
    f.now_us += LIFE_US / 2;
    for (uint32_t i = 250; i < 500; i++)
        join(&f, 10 + i % 10, i, false);
    for (uint32_t i = 500; i < 700; i++) {
        join(&f, 20 + i % 10, i, false);
        assert_int_equal(f.t.n_peers[0], 500);
    }
    assert_int_equal(f.t.n_peers_evicted, 200);
    uint32_t n_old = 0;
    for (uint32_t s = 0; s < 10; s++)
        n_old += scrape(&f, s).n_leechers;
    assert_int_equal(n_old, 50);
    swarm_table_check(&f.t);
    for (uint32_t i = 0; i < 2000; i++) { /* all from one swarm: it displaces itself */
        say(&f, 1, peer(1000 + i, i & 1), SWARM_ALIVE, i & 2, 10);
        assert_int_equal(f.t.n_peers[0] + f.t.n_peers[1], 500);
        if (i % 100 == 0)
            swarm_table_check(&f.t);
    }
    table_end(&f);
}

/* Overfill: a flood of one-peer swarms leaves the large ones alone. */
static void test_swarms_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 100, 100000);
    for (uint32_t s = 0; s < 10; s++) {
        for (uint32_t i = 0; i < 40; i++)
            join(&f, s, i, false);
    }
    for (uint32_t s = 100; s < 5000; s++) {
        join(&f, s, s, false);
        assert_true(f.t.n_swarms <= 100);
    }
    for (uint32_t s = 0; s < 10; s++)
        assert_int_equal(scrape(&f, s).n_leechers, 40);
    assert_int_equal(f.t.n_swarms_evicted, 4900 - 90);
    table_end(&f);
}

static void test_one_peer_one_swarm(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 1, 1);
    for (uint32_t i = 0; i < 20; i++) {
        say(&f, i / 5, peer(i, i & 1), SWARM_ALIVE, i & 2, 10);
        assert_int_equal(f.t.n_peers[0] + f.t.n_peers[1], 1);
        swarm_table_check(&f.t);
    }
    table_end(&f);
}

static bool keep_even(void *ctx, const uint8_t *infohash)
{
    (void)ctx;
    return infohash[0] % 2 == 0;
}

static void test_filter_and_remove(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t hash[SHA1_LEN];
    table_init(&f, 100, 1000);
    for (uint32_t s = 0; s < 100; s++) {
        for (uint32_t i = 0; i < 8; i++)
            join(&f, s, i, i % 2);
    }
    swarm_table_filter(&f.t, keep_even, NULL);
    assert_int_equal(f.t.n_swarms, 50);
    assert_int_equal(f.t.n_peers[0], 400);
    make_hash(4, hash);
    assert_true(swarm_table_has(&f.t, hash));
    swarm_table_remove(&f.t, hash);
    swarm_table_remove(&f.t, hash);
    assert_false(swarm_table_has(&f.t, hash));
    swarm_table_check(&f.t);
    for (uint32_t s = 0; s < 100; s++) /* the freed ones are used again */
        join(&f, s, 1, false);
    assert_int_equal(f.t.n_slab, 100);
    table_end(&f);
}

static void test_memory_is_given_back(void **state)
{
    (void)state;
    struct fixture f;
    table_init(&f, 100, 100000);
    join(&f, 1, 1, false);
    size_t before = f.mem.used_len;
    for (uint32_t i = 2; i < 20000; i++)
        join(&f, 1, i, false);
    size_t full = f.mem.used_len;
    assert_true(full - before < 20000 * 33); /* a large swarm, its index included */
    for (uint32_t i = 2; i < 20000; i++)
        say(&f, 1, peer(i, false), SWARM_STOPPED, false, 0);
    assert_true(f.mem.used_len - before < 1000);
    table_end(&f);
}

static bool run_once(struct mem *mem, void *ctx)
{
    struct fixture *f = ctx;
    bool is_done = true;
    f->now_us = 0;
    if (swarm_table_init(&f->t, mem, 0, 1, (struct map_seed){3, 4}, 10, 100, LIFE_US))
        return false;
    for (uint32_t i = 0; i < 80; i++) {
        enum err_code code = say(f, i % 2, peer(i, false), SWARM_ALIVE, i % 3 == 0, 20);
        assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
        is_done = is_done && code == ERR_OK;
    }
    assert_int_equal(f->t.n_refused_memory, !is_done);
    for (uint32_t i = 0; i < 70; i++)
        say(f, i % 2, peer(i, false), SWARM_STOPPED, false, 20);
    swarm_table_check(&f->t);
    swarm_table_clear(&f->t);
    return is_done;
}

static void test_memory_failures(void **state)
{
    (void)state;
    struct fixture f = {0};
    assert_true(test_fail_sweep(run_once, &f) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_peer),
        cmocka_unit_test(test_paused_and_unlisted),
        cmocka_unit_test(test_answers_are_fair),
        cmocka_unit_test(test_seeds_hear_of_leechers_only),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_silent_peers_go),
        cmocka_unit_test(test_time_of_death),
        cmocka_unit_test(test_sweeping_is_cut_in_parts),
        cmocka_unit_test(test_peers_are_bounded),
        cmocka_unit_test(test_swarms_are_bounded),
        cmocka_unit_test(test_one_peer_one_swarm),
        cmocka_unit_test(test_filter_and_remove),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
