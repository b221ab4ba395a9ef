#include "test_util.h"

#include "../../choker_model.h"

#define SECOND 1000000u

struct world {
    struct mem mem;
    struct rng rng;
    struct choker c;
    struct choker_peer peers[200];
    uint32_t n;
    uint64_t now_us;
};

static void world_init(struct world *w, uint32_t n_slots, uint64_t max_up_per_s)
{
    *w = (struct world){.now_us = 1000 * (uint64_t)SECOND};
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    rng_init(&w->rng, 5);
    choker_init(&w->c, &w->mem, &w->rng, w->now_us, n_slots, max_up_per_s);
}

static struct choker_peer *world_add(struct world *w, bool is_seeding, uint64_t down_per_s)
{
    struct choker_peer *p = &w->peers[w->n++];
    choker_peer_init(p);
    p->is_seeding = is_seeding;
    p->down_per_s = down_per_s;
    p->piece_len = 1u << 20;
    assert_int_equal(choker_add(&w->c, w->now_us, p), ERR_OK);
    choker_on_interest(&w->c, w->now_us, p, true);
    choker_check(&w->c);
    return p;
}

/* Seconds pass; each unchoked peer is sent what its link and the capacity of ours allow. */
static void run(struct world *w, uint32_t seconds, uint64_t link_per_s, uint64_t capacity_per_s)
{
    for (uint32_t s = 0; s < seconds; s++) {
        uint64_t share = w->c.n_unchoked ? capacity_per_s / w->c.n_unchoked : 0;
        for (uint32_t i = 0; i < w->n; i++) {
            struct choker_peer *p = &w->peers[i];
            p->up_per_s = p->is_unchoked ? (share < link_per_s ? share : link_per_s) : 0;
            p->up_total += p->up_per_s;
        }
        w->now_us += SECOND;
        if (choker_deadline_us(&w->c) <= w->now_us)
            choker_on_tick(&w->c, w->now_us);
        choker_check(&w->c);
    }
}

static void world_clear(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        choker_remove(&w->c, w->now_us, &w->peers[i]);
    choker_clear(&w->c);
    mem_check_empty(&w->mem);
}

static void test_tit_for_tat(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 0);
    for (uint32_t i = 0; i < 20; i++)
        world_add(&w, false, i * 1000);
    w.peers[19].is_snubbed = true;
    run(&w, 11, 1 << 20, 1 << 20);
    for (uint32_t i = 16; i < 19; i++) /* 3 regular slots and an optimistic one */
        assert_true(w.peers[i].is_unchoked && !w.peers[i].is_optimistic);
    uint32_t n_optimistic = 0;
    for (uint32_t i = 0; i < 20; i++)
        n_optimistic += w.peers[i].is_optimistic;
    assert_int_equal(n_optimistic, 1);
    assert_int_equal(w.c.n_unchoked, 4);
    assert_true(!w.peers[19].is_unchoked || w.peers[19].is_optimistic);
    world_clear(&w);
}

/* Without the lot, who gives nothing gets nothing while others give. */
static void test_without_optimistic(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 0);
    w.c.is_optimistic_off = true;
    for (uint32_t i = 0; i < 20; i++)
        world_add(&w, false, i < 4 ? 0 : i * 1000);
    run(&w, 11, 1 << 20, 1 << 20);
    for (uint32_t s = 0; s < 600; s++) {
        run(&w, 1, 1 << 20, 1 << 20);
        for (uint32_t i = 0; i < 20; i++)
            assert_int_equal(w.peers[i].is_unchoked, i >= 16);
    }
    assert_int_equal(w.c.counters.n_optimistic, 0);
    world_clear(&w);
}

/* Each peer gets its optimistic turn, 30 s long; a newcomer three times as likely. */
static void test_optimistic_turns(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 0);
    world_add(&w, false, 1 << 20);
    for (uint32_t i = 0; i < 30; i++)
        world_add(&w, false, 0);
    uint32_t n_turns = 0;
    const struct choker_peer *last = NULL;
    uint64_t last_at_us = 0;
    for (uint32_t s = 0; s < 3600; s++) {
        run(&w, 1, 1 << 20, 1 << 20);
        for (uint32_t i = 0; i < w.n; i++) {
            if (!w.peers[i].is_optimistic || last == &w.peers[i])
                continue;
            assert_true(!last || w.now_us - last_at_us >= 29 * SECOND);
            last = &w.peers[i];
            last_at_us = w.now_us;
            n_turns++;
        }
    }
    assert_in_range(n_turns, 110, 121);
    for (uint32_t i = 0; i < w.n; i++)
        assert_true(w.peers[i].was_tried);
    world_clear(&w);

    uint32_t n_new = 0;
    for (uint32_t i = 0; i < 300; i++) {
        world_init(&w, 2, 0);
        rng_init(&w.rng, i);
        world_add(&w, false, 1 << 20);
        world_add(&w, false, 0);
        run(&w, 11, 1, 1); /* peer 1 is the optimistic one */
        world_add(&w, false, 0);
        world_add(&w, false, 0);
        w.peers[2].was_tried = true;
        run(&w, 30, 1, 1);
        n_new += w.peers[3].is_optimistic;
        world_clear(&w);
    }
    assert_in_range(n_new, 200, 250); /* 3 of 4 */
}

/* On a LAN every slot carries much: all are unchoked within seconds. */
static void test_a_lan_is_not_left_idle(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0, 0);
    for (uint32_t i = 0; i < 150; i++)
        world_add(&w, true, 0);
    run(&w, 8, 100 << 20, 1 << 30);
    assert_int_equal(w.c.n_unchoked, 150);
    world_clear(&w);
}

static void test_slots_follow_the_capacity(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t capacity, limit;
        uint32_t least, most;
    } cases[] = {
        {"20 KiB/s seen", 20 << 10, 0, 4, 6},         {"100 KiB/s seen", 100 << 10, 0, 7, 12},
        {"1 MiB/s seen", 1 << 20, 0, 22, 36},         {"10 MiB/s seen", 10 << 20, 0, 70, 110},
        {"limit 10 KiB/s", 10 << 10, 10 << 10, 4, 4}, {"limit 1 MiB/s", 1 << 20, 1 << 20, 22, 23},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world w;
        world_init(&w, 0, cases[i].limit);
        for (uint32_t k = 0; k < 180; k++)
            world_add(&w, true, 0);
        run(&w, 120, 50 << 20, cases[i].capacity);
        if (w.c.n_unchoked < cases[i].least || w.c.n_unchoked > cases[i].most)
            fail_msg("%s: %u unchoked", cases[i].name, w.c.n_unchoked);
        world_clear(&w);
    }
}

/* When seeding, everybody gets turns, and no turn is shorter than a minute. */
static void test_seeding_goes_round(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 0);
    for (uint32_t i = 0; i < 20; i++)
        world_add(&w, true, 0);
    run(&w, 1200, 1 << 20, 4 << 20);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < 20; i++) {
        least = w.peers[i].up_total < least ? w.peers[i].up_total : least;
        most = w.peers[i].up_total > most ? w.peers[i].up_total : most;
    }
    assert_true(least > 60 << 20);
    assert_true(most < 5 * least);
    world_clear(&w);
}

/* An unchoked peer that takes nothing does not keep others waiting for ever. */
static void test_an_idle_taker_gives_way(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 0);
    for (uint32_t i = 0; i < 4; i++)
        world_add(&w, true, 0);
    bool was_unchoked[4] = {false};
    for (uint32_t s = 0; s < 120; s++) {
        run(&w, 1, 0, 0);
        for (uint32_t i = 0; i < 4; i++)
            was_unchoked[i] |= w.peers[i].is_unchoked;
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_true(was_unchoked[i]);
    world_clear(&w);
}

/* One session: those who give to us cannot take all the slots of what we seed. */
static void test_torrents_share_the_slots(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 12, 0);
    for (uint32_t i = 0; i < 40; i++)
        world_add(&w, i % 2, i % 2 ? 0 : 1000 + i);
    run(&w, 60, 100000, 1 << 20);
    uint32_t n[2] = {0};
    for (uint32_t i = 0; i < 40; i++)
        n[i % 2] += w.peers[i].is_unchoked;
    assert_in_range(n[1], 2, 4);
    assert_in_range(n[0], 8, 10);
    world_clear(&w);
}

static void test_interest_acts_at_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 0);
    struct choker_peer *a = world_add(&w, false, 0), *b = world_add(&w, false, 0);
    struct choker_peer *c = world_add(&w, false, 0);
    assert_true(a->is_unchoked && b->is_unchoked && !c->is_unchoked);
    assert_ptr_equal(choker_next_change(&w.c), a);
    assert_ptr_equal(choker_next_change(&w.c), b);
    assert_null(choker_next_change(&w.c));
    choker_on_interest(&w.c, w.now_us, a, false);
    assert_true(!a->is_unchoked && c->is_unchoked);
    b->is_upload_only = true;
    choker_on_interest(&w.c, w.now_us, b, true);
    assert_false(b->is_unchoked);
    choker_on_interest(&w.c, w.now_us, a, true); /* as it was: nothing to tell */
    assert_ptr_equal(choker_next_change(&w.c), c);
    assert_ptr_equal(choker_next_change(&w.c), b);
    assert_null(choker_next_change(&w.c));
    choker_on_interest(&w.c, w.now_us, a, false);
    choker_on_interest(&w.c, w.now_us, c, false);
    assert_int_equal(choker_deadline_us(&w.c), UINT64_MAX);
    world_clear(&w);
}

static void test_model(void **state)
{
    (void)state;
    uint8_t data[2000];
    uint64_t n_told = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        rng_fill(&rng, data, sizeof data);
        n_told += choker_model_run(data, sizeof data);
    }
    assert_true(n_told > 1000);
}

static bool add_many(struct mem *mem, void *ctx)
{
    struct choker_peer *peers = ctx;
    struct rng rng;
    struct choker c;
    rng_init(&rng, 1);
    choker_init(&c, mem, &rng, 0, 0, 0);
    uint32_t n = 0;
    bool is_ok = true;
    for (uint32_t i = 0; i < 100; i++) {
        choker_peer_init(&peers[n]);
        if (choker_add(&c, 0, &peers[n]) == ERR_OK)
            n++;
        else
            is_ok = false;
        choker_check(&c);
    }
    while (n > 0)
        choker_remove(&c, 0, &peers[--n]);
    choker_clear(&c);
    return is_ok;
}

static void test_shortage_of_memory(void **state)
{
    (void)state;
    struct choker_peer peers[100];
    assert_true(test_fail_sweep(add_many, peers) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tit_for_tat),
        cmocka_unit_test(test_without_optimistic),
        cmocka_unit_test(test_optimistic_turns),
        cmocka_unit_test(test_a_lan_is_not_left_idle),
        cmocka_unit_test(test_slots_follow_the_capacity),
        cmocka_unit_test(test_seeding_goes_round),
        cmocka_unit_test(test_an_idle_taker_gives_way),
        cmocka_unit_test(test_torrents_share_the_slots),
        cmocka_unit_test(test_interest_acts_at_once),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_shortage_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
