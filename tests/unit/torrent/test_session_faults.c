/* Fault sweeps: the n-th allocation fails, the n-th answer is an error; and inputs that come late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "swarm.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const enum content_version versions[] = {CONTENT_V1, CONTENT_V2, CONTENT_HYBRID};

static bool try_add(struct swarm *sw, struct mem_node *n, bool is_magnet)
{
    struct torrent_params p = {.dir = "d"};
    struct magnet m;
    struct buf link;
    struct err err = {0};
    sw->world->ctx = sw;
    buf_init(&link, &sw->world->mem, 65536);
    if (is_magnet) {
        magnet_write_metainfo(sw->content->info, &link);
        assert_int_equal(magnet_read(&m, buf_bytes(&link), &sw->world->mem, NULL), 0);
        p.magnet = &m;
    } else if (content_metainfo(sw->content, &n->mem, &p.info, NULL)) {
        buf_clear(&link);
        return false;
    }
    bool ok = !session_add(n->session, sw->world->now_us, &p, &sw->torrents[n->index], &err);
    if (is_magnet)
        magnet_clear(&m);
    else if (!ok)
        metainfo_free(p.info);
    buf_clear(&link);
    return ok;
}

/* One download in which the allocation `at` of the leech fails; *out_n gets how many there were. */
static void run_with_failure(enum content_version version, bool is_magnet, uint64_t at,
                             uint64_t *out_n)
{
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 5, .version = version, .len = 400000, .piece_len = 32768, .n_files = 2});
    struct mem_node *seed = swarm_node(&sw), *leech = mem_world_add(sw.world);
    swarm_seed(&sw, seed);
    leech->mem.fail_at = at;
    for (unsigned i = 0; i < 3 && !leech->session; i++)
        mem_node_up(leech, NULL);
    assert_non_null(leech->session);
    bool is_added = false;
    for (unsigned i = 0; i < 3 && !is_added; i++)
        is_added = try_add(&sw, leech, is_magnet);
    assert_true(is_added);
    for (unsigned tries = 0; tries < 20 && swarm_state(&sw, leech) != TORRENT_SEEDING; tries++) {
        swarm_meet(&sw, leech, seed);
        mem_world_run_for(sw.world, 20 * (uint64_t)US_PER_S);
        if (swarm_state(&sw, leech) == TORRENT_ERROR) {
            assert_int_equal(swarm_stats(&sw, leech).err.code, ERR_NO_MEMORY);
            session_resume(leech->session, sw.world->now_us, sw.torrents[leech->index]);
        }
    }
    if (!swarm_run_to_seeding(&sw, 100))
        fail_msg("version %d, magnet %d: allocation %llu", (int)version, is_magnet,
                 (unsigned long long)at);
    swarm_assert_disk(&sw, leech);
    *out_n = leech->mem.n_allocs;
    swarm_stop(&sw, leech);
    swarm_free(&sw);
}

static void sweep_allocations(bool is_magnet)
{
    for (size_t i = 0; i < 3; i++) {
        uint64_t n;
        run_with_failure(versions[i], is_magnet, 0, &n);
        assert_true(n > 50 && n < 5000);
        uint64_t n_now;
        for (uint64_t at = 1; at <= n; at++)
            run_with_failure(versions[i], is_magnet, at, &n_now);
    }
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    sweep_allocations(false);
}

static void test_each_allocation_fails_magnet(void **state)
{
    (void)state;
    sweep_allocations(true);
}

/* Ids that were given up, or never given, are told from those in use, and counted. */
static void test_stale_inputs(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(
        &(struct swarm_params){.seed = 9, .version = CONTENT_V1, .len = 50000, .piece_len = 16384});
    struct mem_node *n = swarm_node(&sw);
    swarm_seed(&sw, n);
    mem_world_run_for(sw.world, 1000000);
    struct addr from = addr_v4(10, 9, 9, 9, 99);
    uint32_t conn;
    struct span span;
    struct err err = {0};
    assert_true(session_on_accept(n->session, sw.world->now_us, &from, &conn));
    session_on_closed(n->session, sw.world->now_us, conn, &err);
    assert_int_equal(swarm_counter(n, "conn_stale"), 0);
    session_on_closed(n->session, sw.world->now_us, conn, &err);
    session_on_bytes(n->session, sw.world->now_us, conn, 10);
    session_on_room(n->session, sw.world->now_us, conn, 10);
    session_on_connected(n->session, sw.world->now_us, conn);
    assert_int_equal(session_lend(n->session, sw.world->now_us, conn, &span, 1), 0);
    session_on_closed(n->session, sw.world->now_us, 0, &err);
    session_on_closed(n->session, sw.world->now_us, UINT32_MAX, &err);
    assert_int_equal(swarm_counter(n, "conn_stale"), 7);
    session_on_done(n->session, sw.world->now_us, 12345, &err);
    session_on_done(n->session, sw.world->now_us, 1ull << 63 | 5, &err);
    session_on_fetched(n->session, sw.world->now_us, 77, &err, 200, (struct bytes){0});
    session_on_resolved(n->session, sw.world->now_us, 78, &err, NULL, 0);
    assert_int_equal(swarm_counter(n, "job_stale"), 4);
    session_on_datagram(n->session, sw.world->now_us, &from, BYTES_LIT("hello"));
    assert_int_equal(swarm_counter(n, "datagram_stray"), 1);
    session_remove(n->session, sw.world->now_us, 0xffffffff);
    session_pause(n->session, sw.world->now_us, 0);
    session_resume(n->session, sw.world->now_us, 0xabcdef);
    session_add_peer(n->session, sw.world->now_us, 0xabcdef, &from);
    session_check(n->session);
    swarm_free(&sw);
}

/* A second torrent with one of the hashes of the first is refused, and stays the caller's. */
static void test_same_torrent_twice(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 9, .version = CONTENT_HYBRID, .len = 50000, .piece_len = 16384});
    struct mem_node *n = swarm_node(&sw);
    swarm_seed(&sw, n);
    struct torrent_params p = swarm_params_of(&sw, n);
    uint32_t id;
    struct err err = {0};
    assert_int_equal(session_add(n->session, sw.world->now_us, &p, &id, &err), ERR_PROTOCOL);
    metainfo_free(p.info);
    p = (struct torrent_params){.dir = "d"};
    assert_int_equal(session_add(n->session, sw.world->now_us, &p, &id, &err), ERR_PROTOCOL);
    session_check(n->session);
    swarm_free(&sw);
}

/* Answers to puts stay away: the cache fills, reading stops, and all goes on when they come. */
static void test_slow_disk(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 11, .version = CONTENT_V1, .len = 5000000, .piece_len = 65536});
    struct mem_node *seed = swarm_node(&sw), *leech = mem_world_add(sw.world);
    struct session_config c = mem_node_config(leech);
    c.cache_len_max = 1 << 20;
    assert_true(mem_node_up(leech, &c));
    swarm_seed(&sw, seed);
    swarm_leech(&sw, leech);
    leech->is_put_held = true;
    swarm_meet(&sw, leech, seed);
    mem_world_run_for(sw.world, 20 * (uint64_t)US_PER_S);
    struct torrent_stats st = swarm_stats(&sw, leech);
    assert_true(st.down_total <= 1 << 20 && st.down_total > 1 << 19);
    assert_int_equal(st.n_have, 0);
    char why[1000];
    session_torrent_why(leech->session, sw.world->now_us, sw.torrents[1], why, sizeof(why));
    assert_non_null(strstr(why, "cache is full"));
    leech->is_put_held = false;
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

/* Resume data that cannot be saved (the folder of states is full) are tried again now and then, not
 * at once and for ever; nothing else is held up, and when it works again all is there. */
static void test_resume_data_cannot_be_saved(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 12, .version = CONTENT_HYBRID, .len = 900000, .piece_len = 32768, .n_files = 3});
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_leech(&sw, leech);
    leech->is_save_broken = true;
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    uint64_t n_before = swarm_counter(leech, "resume_save_failed");
    assert_in_range(n_before, 1, 10);
    mem_world_run_for(sw.world, 200 * (uint64_t)US_PER_S);
    assert_in_range(swarm_counter(leech, "resume_save_failed"), n_before + 9, n_before + 11);
    assert_int_equal(leech->n_resumes, 0);
    leech->is_save_broken = false;
    mem_world_run_for(sw.world, 21 * (uint64_t)US_PER_S);
    assert_in_range(leech->n_resumes, 1, 2);
    mem_world_run_for(sw.world, 200 * (uint64_t)US_PER_S);
    assert_in_range(leech->n_resumes, 1, 2);
    mem_node_kill(leech);
    assert_true(mem_node_up(leech, NULL));
    struct torrent_params p = swarm_params_of(&sw, leech);
    p.resume = mem_node_resume(leech, metainfo_key(sw.content->info));
    swarm_add(&sw, leech, &p);
    assert_true(swarm_run_to_seeding(&sw, 5));
    assert_int_equal(leech->n_checks, 0); /* it was told of all, and clean */
    swarm_free(&sw);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_allocation_fails_magnet),
        cmocka_unit_test(test_stale_inputs),
        cmocka_unit_test(test_same_torrent_twice),
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test(test_resume_data_cannot_be_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
