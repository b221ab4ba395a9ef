#include "test_util.h"

#include "torrent/ban_list.h"
#include "torrent/peer_list.h"

#define SECOND ((uint64_t)1000000)

struct world {
    struct mem mem;
    struct rng rng;
    struct peer_list l;
};

static void world_init(struct world *w, uint32_t n_max)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    rng_init(&w->rng, 1);
    peer_list_init(&w->l, &w->mem, &w->rng, n_max);
}

static void world_clear(struct world *w)
{
    peer_list_check(&w->l);
    peer_list_clear(&w->l);
    mem_check_empty(&w->mem);
}

static struct addr nth(uint32_t i)
{
    return addr_v4(20, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 6881);
}

static struct peer_entry *add(struct world *w, uint64_t now_us, uint32_t i, uint8_t sources)
{
    struct addr a = nth(i);
    return peer_list_add(&w->l, now_us, &a, sources, false);
}

static void test_dedupe_and_refusals(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0);
    struct peer_entry *e = add(&w, SECOND, 1, PEER_FROM_PEX);
    assert_non_null(e);
    assert_ptr_equal(add(&w, 2 * SECOND, 1, PEER_FROM_TRACKER), e);
    assert_int_equal(e->sources, PEER_FROM_PEX | PEER_FROM_TRACKER);
    assert_int_equal(w.l.n, 1);
    assert_int_equal(w.l.counters.n_duplicate, 1);
    struct addr no_port = addr_v4(1, 2, 3, 4, 0), multicast = addr_v4(224, 0, 0, 1, 80);
    assert_null(peer_list_add(&w.l, SECOND, &no_port, PEER_FROM_PEX, false));
    assert_null(peer_list_add(&w.l, SECOND, &multicast, PEER_FROM_PEX, false));
    assert_int_equal(w.l.counters.n_undialable, 2);
    world_clear(&w);
}

static void test_backoff(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0);
    add(&w, 0, 1, PEER_FROM_TRACKER);
    uint64_t now_us = 0, waits_us = PEER_LIST_RETRY_US;
    for (uint32_t i = 0; i < 40; i++) {
        struct peer_entry *e = peer_list_next(&w.l, now_us, NULL);
        assert_non_null(e);
        assert_int_equal(e->state, PEER_DIALING);
        assert_null(peer_list_next(&w.l, now_us, NULL));
        peer_list_on_failed(&w.l, now_us, e);
        uint64_t wait_us = peer_list_deadline_us(&w.l) - now_us;
        assert_in_range(wait_us, waits_us, waits_us + waits_us / 4);
        assert_null(peer_list_next(&w.l, now_us + wait_us - 1, NULL));
        now_us += wait_us;
        waits_us = 2 * waits_us > PEER_LIST_RETRY_US_MAX ? PEER_LIST_RETRY_US_MAX : 2 * waits_us;
        peer_list_check(&w.l);
    }
    struct peer_entry *e = peer_list_next(&w.l, now_us, NULL);
    assert_int_equal(e->n_failures, PEER_LIST_N_FAILURES_MAX);
    peer_list_on_connected(&w.l, now_us, e);
    assert_true(e->was_reached);
    peer_list_on_closed(&w.l, now_us + PEER_LIST_SHORT_US, e, false);
    assert_int_equal(e->n_failures, 0);
    assert_int_equal(peer_list_deadline_us(&w.l),
                     now_us + PEER_LIST_SHORT_US + PEER_LIST_RECONNECT_US);
    /* one that lets us in and throws us out is not dialled at once for ever */
    now_us += 2 * (uint64_t)PEER_LIST_SHORT_US;
    e = peer_list_next(&w.l, now_us, NULL);
    peer_list_on_connected(&w.l, now_us, e);
    peer_list_on_closed(&w.l, now_us + SECOND, e, false);
    assert_int_equal(e->n_failures, 1);
    e = add(&w, now_us, 1, PEER_FROM_MANUAL); /* the user asks for it: now */
    assert_int_equal(e->state, PEER_READY);
    world_clear(&w);
}

static void test_order_of_dialing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0);
    struct addr own = addr_v4(20, 0, 9, 9, 1);
    for (uint32_t i = 0; i < 100; i++)
        add(&w, 0, i, PEER_FROM_TRACKER);
    add(&w, 0, 500, PEER_FROM_MANUAL);
    peer_list_set_own(&w.l, &own);
    peer_list_check(&w.l);
    struct peer_entry *e = peer_list_next(&w.l, 0, NULL);
    struct addr manual = nth(500);
    assert_true(addr_equal(&e->addr, &manual));
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < 100; i++) {
        e = peer_list_next(&w.l, 0, NULL);
        uint32_t priority = addr_peer_priority(&own, &e->addr); /* BEP 40 */
        assert_true(priority <= last);
        last = priority;
        if (i == 50)
            peer_list_on_cancelled(&w.l, 0, e), e = peer_list_next(&w.l, 0, NULL);
    }
    assert_null(peer_list_next(&w.l, 0, NULL));
    assert_int_equal(peer_list_deadline_us(&w.l), UINT64_MAX);
    assert_int_equal(w.l.n_dialing, 101);
    world_clear(&w);
}

static void test_banned_are_dropped(void **state)
{
    (void)state;
    struct world w;
    struct ban_list bans;
    world_init(&w, 0);
    ban_list_init(&bans, &w.mem, &w.rng, 0);
    add(&w, 0, 1, PEER_FROM_TRACKER);
    struct addr a = nth(1);
    ban_list_add(&bans, &a, UINT64_MAX);
    assert_null(peer_list_next(&w.l, 0, &bans));
    assert_int_equal(w.l.n, 0);
    ban_list_clear(&bans);
    world_clear(&w);
}

static void test_incoming_and_its_listening_port(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0);
    struct addr from = addr_v4(20, 0, 0, 1, 50000), listen = nth(1);
    struct peer_entry *e = peer_list_on_incoming(&w.l, 0, &from);
    assert_true(e->has_ephemeral_port);
    assert_null(peer_list_on_incoming(&w.l, 0, &from)); /* in use */
    assert_ptr_equal(peer_list_set_listen_port(&w.l, 0, e, 0), e);
    assert_true(e->has_ephemeral_port);
    assert_ptr_equal(peer_list_set_listen_port(&w.l, 0, e, 6881), e);
    assert_false(e->has_ephemeral_port);
    assert_ptr_equal(peer_list_find(&w.l, &listen), e);
    assert_null(peer_list_find(&w.l, &from));
    peer_list_check(&w.l);

    /* a second connection from the same one is noticed */
    from.port = 50001;
    struct peer_entry *again = peer_list_on_incoming(&w.l, 0, &from);
    assert_null(peer_list_set_listen_port(&w.l, 0, again, 6881));
    peer_list_on_closed(&w.l, 1, again, false); /* unknown port: forgotten */
    assert_null(peer_list_find(&w.l, &from));
    peer_list_on_closed(&w.l, 100 * SECOND, e, false);
    assert_int_equal(e->state, PEER_WAITING);

    /* one that is known and idle is merged with what came in */
    from.port = 50002;
    again = peer_list_on_incoming(&w.l, 101 * SECOND, &from);
    assert_ptr_equal(peer_list_set_listen_port(&w.l, 101 * SECOND, again, 6881), e);
    assert_int_equal(e->state, PEER_CONNECTED);
    assert_int_equal(w.l.n, 1);
    assert_int_equal(w.l.counters.n_merged, 1);
    world_clear(&w);
}

static void test_self_and_seeds_are_not_dialled(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 0);
    struct peer_entry *e = add(&w, 0, 1, PEER_FROM_TRACKER);
    assert_ptr_equal(peer_list_next(&w.l, 0, NULL), e);
    peer_list_mark_self(&w.l, e);
    peer_list_on_failed(&w.l, 0, e);
    add(&w, SECOND, 1, PEER_FROM_TRACKER | PEER_FROM_MANUAL);
    assert_null(peer_list_next(&w.l, 10000 * SECOND, NULL));

    struct addr seed = nth(2);
    assert_non_null(peer_list_add(&w.l, 0, &seed, PEER_FROM_PEX, true));
    peer_list_set_seeding(&w.l, true);
    assert_null(peer_list_next(&w.l, 10000 * SECOND, NULL));
    peer_list_set_seeding(&w.l, false);
    peer_list_check(&w.l);
    e = peer_list_next(&w.l, 10000 * SECOND, NULL);
    assert_true(addr_equal(&e->addr, &seed));
    world_clear(&w);
}

/* Overfilled from every side: bounded, and gossip cannot push out what is worth more. */
static void test_overfill(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100);
    for (uint32_t i = 0; i < 20; i++) { /* reached once */
        add(&w, 0, i, PEER_FROM_TRACKER);
        struct peer_entry *e = peer_list_next(&w.l, 0, NULL);
        peer_list_on_connected(&w.l, 0, e);
        if (i >= 10)
            peer_list_on_closed(&w.l, 100 * SECOND, e, false);
    }
    for (uint32_t i = 100; i < 140; i++)
        add(&w, i * SECOND, i, PEER_FROM_TRACKER);
    for (uint32_t i = 1000; i < 6000; i++) {
        add(&w, 200 * SECOND + i, i, PEER_FROM_PEX);
        assert_true(w.l.n <= 100);
        if (i % 100 == 0)
            peer_list_check(&w.l);
    }
    for (uint32_t i = 0; i < 140; i += i == 19 ? 81 : 1) {
        struct addr a = nth(i);
        assert_non_null(peer_list_find(&w.l, &a));
    }
    assert_int_equal(w.l.counters.n_evicted, 5000 - 40);
    for (uint32_t i = 7000; i < 8000; i++) /* newer ones of better source do */
        assert_non_null(add(&w, 300 * SECOND + i, i, PEER_FROM_TRACKER));
    assert_null(add(&w, 400 * SECOND, 9999, PEER_FROM_PEX));
    assert_int_equal(w.l.counters.n_full, 1);
    world_clear(&w);

    world_init(&w, 5); /* all in use: nobody is put out */
    for (uint32_t i = 0; i < 5; i++) {
        struct addr from = nth(i);
        assert_non_null(peer_list_on_incoming(&w.l, 0, &from));
    }
    struct addr more = nth(6);
    assert_null(peer_list_on_incoming(&w.l, 0, &more));
    assert_null(add(&w, 0, 7, PEER_FROM_MANUAL));
    assert_int_equal(w.l.counters.n_full, 2);
    world_clear(&w);
}

/* Random lives of many endpoints; the list's own check finds what goes wrong. */
static bool live(struct mem *mem, void *ctx)
{
    const uint64_t *seed = ctx;
    struct rng rng, dice;
    struct peer_list l;
    struct peer_entry *busy[64];
    uint32_t n_busy = 0;
    uint64_t now_us = 0, n_dialled = 0;
    rng_init(&rng, *seed);
    rng_init(&dice, *seed + 1);
    peer_list_init(&l, mem, &rng, 60);
    for (uint32_t step = 0; step < 1500; step++) {
        struct addr a = nth(rng_below(&dice, 150));
        uint32_t what = rng_below(&dice, 10), at = n_busy ? rng_below(&dice, n_busy) : 0;
        struct peer_entry *e = NULL;
        now_us += rng_below(&dice, 20000000);
        if (what < 3) {
            peer_list_add(&l, now_us, &a, (uint8_t)(1u << rng_below(&dice, 6)), what == 0);
        } else if (what < 5 && n_busy < 64) {
            e = what == 3 ? peer_list_next(&l, now_us, NULL) : NULL;
            a.port = (uint16_t)(40000 + rng_below(&dice, 10));
            if (what == 4)
                e = peer_list_on_incoming(&l, now_us, &a);
            n_dialled += e && what == 3;
            if (e)
                busy[n_busy++] = e;
        } else if (what == 5) {
            peer_list_set_seeding(&l, rng_below(&dice, 8) == 0);
            struct addr own = nth(rng_below(&dice, 2));
            peer_list_set_own(&l, &own);
        } else if (n_busy > 0) {
            e = busy[at];
            if (what == 6 && e->state == PEER_DIALING) {
                peer_list_on_connected(&l, now_us, e);
            } else if (what == 7 && e->has_ephemeral_port) {
                e = peer_list_set_listen_port(&l, now_us, e, 6881);
                busy[at] = e ? e : busy[at];
            } else if (what >= 8) {
                if (rng_below(&dice, 20) == 0)
                    peer_list_mark_self(&l, e);
                if (rng_below(&dice, 5) == 0)
                    peer_list_mark_seed(&l, e, true);
                if (e->state == PEER_CONNECTED)
                    peer_list_on_closed(&l, now_us, e, what == 9);
                else if (what == 8)
                    peer_list_on_failed(&l, now_us, e);
                else
                    peer_list_on_cancelled(&l, now_us, e);
                busy[at] = busy[--n_busy];
            }
        }
        if (l.counters.n_refused == 0 || mem->fail_at == 0)
            peer_list_check(&l);
    }
    uint64_t n_refused = l.counters.n_refused;
    peer_list_clear(&l);
    return n_refused == 0 && n_dialled > 30;
}

static void test_random_lives(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct mem mem;
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        assert_true(live(&mem, &seed));
        mem_check_empty(&mem);
    }
}

static void test_shortage_of_memory(void **state)
{
    (void)state;
    uint64_t seed = 77;
    assert_true(test_fail_sweep(live, &seed) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dedupe_and_refusals),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_order_of_dialing),
        cmocka_unit_test(test_banned_are_dropped),
        cmocka_unit_test(test_incoming_and_its_listening_port),
        cmocka_unit_test(test_self_and_seeds_are_not_dialled),
        cmocka_unit_test(test_overfill),
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_shortage_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
