/* Swarms of the production engine: they finish near the bound, whoever lies, whatever crashes; one
 * seed gives one trace. A failing case prints what `shoal sim` needs to show it again. */
#include "base/hex.h"
#include "base/timer.h"
#include "sim/host.h"
#include "sim/liar.h"
#include "sim/scenario.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB (1u << 20)

static void run(const char *name, const struct scenario_params *p, struct scenario_result *r)
{
    const struct scenario *s = scenario_find(name);
    assert_non_null(s);
    scenario_run(s, p, r);
    if (!r->is_ok) {
        buf_u8(&r->table, 0);
        fail_msg("%s --seed %llu --peers %u --size %llu --type %d --files %u: %s\n%s", name,
                 (unsigned long long)p->rng_seed, p->n_peers, (unsigned long long)p->size,
                 (int)p->version, p->n_files, r->why, (const char *)r->table.data);
    }
    assert_int_equal(r->n_done, r->n_honest);
}

/* The engines counted it at least once. */
static bool has_counter(const struct scenario_result *r, const char *name)
{
    return memmem(r->table.data, r->table.len, name, strlen(name)) != NULL;
}

static struct scenario_params params_of(const char *name)
{
    const struct scenario *s = scenario_find(name);
    assert_non_null(s);
    struct scenario_params p = s->defaults;
    p.check_us = 5 * US_PER_S;
    return p;
}

/* The first scenario: one seed and fifty downloaders. */
static void test_fifty_peers_finish_near_the_bound(void **state)
{
    (void)state;
    struct scenario_params p = params_of("swarm");
    struct scenario_result r[3];
    p.size = 16 * MIB;
    for (int i = 0; i < 3; i++) {
        p.rng_seed = i == 2 ? 8 : 7;
        run("swarm", &p, &r[i]);
        assert_int_equal(r[i].n_honest, 50);
        assert_in_range(r[i].last_us, r[i].bound_us, 2 * r[i].bound_us);
        assert_in_range(r[i].seed_up_len, p.size, 20 * (uint64_t)p.size);
        assert_in_range(r[i].peak_mem_len, 1, 12 * MIB);
        assert_int_equal(r[i].n_pieces_bad, 0);
        assert_int_equal(r[i].n_banned, 0);
        assert_in_range(r[i].wasted_len, 0, 50 * (uint64_t)p.size / 12); /* end-game copies */
    }
    assert_memory_equal(r[0].trace_hash, r[1].trace_hash, SHA256_LEN);
    assert_int_equal(r[0].last_us, r[1].last_us);
    assert_memory_not_equal(r[0].trace_hash, r[2].trace_hash, SHA256_LEN);
    for (int i = 0; i < 3; i++)
        scenario_result_clear(&r[i]);
}

/* Every kind of torrent, from the file and from the link, through either kind of tracker. */
static void test_every_kind_of_torrent(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 12; i++) {
        struct scenario_params p = params_of("swarm");
        struct scenario_result r;
        p.n_peers = 5;
        p.size = 3 * MIB + 12345;
        p.piece_len = 32768;
        p.is_phantom = false;
        p.version = (enum content_version)(1 + i % 3);
        p.n_files = i % 2 ? 6 : 1;
        p.is_magnet = i / 3 % 2;
        p.is_udp_tracker = i / 6;
        p.nat_percent = i % 4 == 3 ? 50 : 0;
        p.loss_ppm = i % 5 == 4 ? 10000 : 0;
        p.rng_seed = i;
        run("swarm", &p, &r);
        assert_int_equal(r.n_pieces_bad, 0);
        assert_int_equal(r.n_banned, 0);
        scenario_result_clear(&r);
    }
}

/* As many that stall, go silent at 99 %, lie about what they have, send wrong bytes or drip as there
 * are honest ones: everybody finishes, and the liars are found. */
static void test_nobody_is_stuck(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct scenario_params p = params_of("stuck");
        struct scenario_result r;
        p.n_peers = p.n_liars = 10;
        p.size = 6 * MIB;
        p.piece_len = 128 * 1024;
        p.version = (enum content_version)(1 + i % 3);
        p.rng_seed = 20 + i;
        p.wants_counters = true;
        run("stuck", &p, &r);
        assert_true(has_counter(&r, "rejects_received") && has_counter(&r, "endgame_duplicates"));
        assert_true(r.n_pieces_bad > 0 && r.n_banned > 0);
        assert_int_equal(r.n_honest_banned, 0);
        assert_in_range(r.last_us, 1, 20 * r.bound_us);
        scenario_result_clear(&r);
    }
}

/* A bad piece of v2 waits for proven leaves, which liars do not send: they are asked last and not for
 * long. (Asked in any order, for 20 s each, it was 2.5 times the bound.) */
static void test_liars_do_not_hold_leaves_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct scenario_params p = params_of("stuck");
        struct scenario_result r;
        p.version = CONTENT_V2;
        p.rng_seed = 40 + i;
        run("stuck", &p, &r);
        assert_true(r.n_pieces_bad > 0);
        assert_in_range(r.last_us, 1, 2 * r.bound_us);
        scenario_result_clear(&r);
    }
}

/* A seed that rejects every request is paused, then closed, and dialled again only later. */
static void test_who_rejects_everything_is_closed(void **state)
{
    (void)state;
    struct mem mem;
    struct sim sim;
    struct err err = {0};
    const struct content *c;
    uint32_t torrent;
    struct content_params cp = {
        .name = "rejected", .len = MIB, .piece_len = 65536, .version = CONTENT_V1, .key = 1};
    struct sim_host_params hp = {.net.delay_us = 10000};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    sim_init(&sim, &mem, 1);
    assert_int_equal(sim_add_content(&sim, &cp, &c, &err), ERR_OK);
    struct liar *liar = liar_new(&sim.n, &hp.net, c, LIAR_BITFIELD);
    struct sim_host *h = sim_host_new(&sim, &hp);
    struct sim_add add = {.content = c, .peers = net_addr(liar->node), .n_peers = 1};
    assert_int_equal(sim_host_start(h, &err), ERR_OK);
    assert_int_equal(sim_host_add(h, &add, &torrent, &err), ERR_OK);
    world_run(&sim.w, 10 * US_PER_S);
    assert_int_equal(session_counter(h->session, "rejects_closed"), 0);
    assert_in_range(liar->stats.n_rejected, 10, 60); /* it is not asked as fast as it can reject */
    world_run(&sim.w, 120 * US_PER_S);
    sim_host_check(h, torrent, c);
    assert_in_range(session_counter(h->session, "rejects_closed"), 1, 3);
    assert_int_equal(h->stats.n_lies, 0);
    liar_free(liar);
    sim_clear(&sim);
    mem_check_empty(&mem);
}

static void test_attacks_cost_the_attacker(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct scenario_params p = params_of("hostile");
        struct scenario_result r;
        p.n_peers = 6;
        p.size = 4 * MIB;
        p.piece_len = 65536;
        p.version = (enum content_version)(1 + i % 3);
        p.is_magnet = i % 2;
        p.rng_seed = 40 + i;
        run("hostile", &p, &r);
        assert_int_equal(r.n_honest_banned, 0);
        assert_in_range(r.peak_mem_len, 1, 16 * MIB);
        scenario_result_clear(&r);
    }
}

static void test_gossip_outlives_the_tracker(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct scenario_params p = params_of("tracker-dies");
        struct scenario_result r;
        p.n_peers = 24;
        p.rng_seed = 100 + i;
        p.is_udp_tracker = i == 1;
        run("tracker-dies", &p, &r);
        scenario_result_clear(&r);
    }
}

/* A swarm that was torn in two grows together again. */
static void test_partition_heals(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct scenario_params p = params_of("partition");
        struct scenario_result r;
        p.size = 16 * MIB;
        p.rng_seed = 50 + i;
        run("partition", &p, &r);
        assert_in_range(r.last_us, 200 * US_PER_S, 400 * US_PER_S);
        scenario_result_clear(&r);
    }
}

/* Kills and losses of power: nobody believes what is not on the disk, and nobody begins again. */
static void test_crashes_lose_no_verified_piece(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 9; i++) {
        struct scenario_params p = params_of("crash-restart");
        struct scenario_result r;
        p.n_peers = 8;
        p.size = 8 * MIB;
        p.piece_len = 65536;
        p.version = (enum content_version)(1 + i % 3);
        p.n_files = 1 + i % 4;
        p.up_per_s = p.seed_up_per_s = MIB / 2;
        p.rng_seed = 60 + i;
        run("crash-restart", &p, &r);
        scenario_result_clear(&r);
    }
}

static void test_disks_fail_and_are_mended(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct scenario_params p = params_of("disk-faults");
        struct scenario_result r;
        p.n_peers = 15;
        p.size = 6 * MIB;
        p.piece_len = 65536;
        p.version = (enum content_version)(1 + i % 3);
        p.rng_seed = 80 + i;
        run("disk-faults", &p, &r);
        assert_true(r.n_errors > 0);
        scenario_result_clear(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifty_peers_finish_near_the_bound),
        cmocka_unit_test(test_every_kind_of_torrent),
        cmocka_unit_test(test_nobody_is_stuck),
        cmocka_unit_test(test_liars_do_not_hold_leaves_back),
        cmocka_unit_test(test_who_rejects_everything_is_closed),
        cmocka_unit_test(test_attacks_cost_the_attacker),
        cmocka_unit_test(test_gossip_outlives_the_tracker),
        cmocka_unit_test(test_partition_heals),
        cmocka_unit_test(test_crashes_lose_no_verified_piece),
        cmocka_unit_test(test_disks_fail_and_are_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
