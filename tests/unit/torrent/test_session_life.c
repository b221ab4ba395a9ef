/* Magnet links, resume data, pause, priorities, limits, storage errors. */
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

static struct swarm small_swarm(uint64_t seed, enum content_version version, uint64_t len)
{
    return swarm_new(&(struct swarm_params){.seed = seed,
                                            .version = version,
                                            .len = len,
                                            .piece_len = 32768,
                                            .n_files = 3,
                                            .chunk_max = 30000});
}

static void test_magnet(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct swarm sw = small_swarm(7 + i, versions[i], 5000000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_magnet(&sw, leech);
        assert_int_equal(swarm_state(&sw, leech), TORRENT_METADATA);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_seeding(&sw, 120));
        assert_int_equal(sw.n_metadata, 1);
        mem_world_run_for(sw.world, 100000);
        assert_int_equal(
            session_metainfo(leech->session, sw.torrents[leech->index])->has_piece_layers,
            versions[i] != CONTENT_V1);
        swarm_assert_disk(&sw, leech);
        swarm_stop(&sw, leech);
        swarm_stop(&sw, seed);
        swarm_free(&sw);
    }
}

/* The seed dials the magnet's session, and a third gets everything from what was a magnet. */
static void test_magnet_dialled_and_chain(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(20, CONTENT_HYBRID, 800000);
    struct mem_node *seed = swarm_node(&sw), *b = swarm_node(&sw), *c = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_magnet(&sw, b);
    swarm_magnet(&sw, c);
    swarm_meet(&sw, c, b);
    mem_world_run_for(sw.world, 5000000);
    swarm_meet(&sw, seed, b);
    assert_true(swarm_run_to_seeding(&sw, 200));
    swarm_assert_disk(&sw, b);
    swarm_assert_disk(&sw, c);
    swarm_free(&sw);
}

static void test_three_trade(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct swarm sw = small_swarm(31 + i, versions[i], 4000000);
        struct mem_node *seed = swarm_node(&sw), *b = swarm_node(&sw), *c = swarm_node(&sw);
        sw.world->is_shuffling = true;
        swarm_seed(&sw, seed);
        swarm_leech(&sw, b);
        swarm_leech(&sw, c);
        swarm_meet(&sw, b, seed);
        swarm_meet(&sw, c, seed);
        swarm_meet(&sw, b, c);
        swarm_meet(&sw, c, b);
        assert_true(swarm_run_to_seeding(&sw, 200));
        swarm_assert_disk(&sw, b);
        swarm_assert_disk(&sw, c);
        assert_true(swarm_stats(&sw, b).up_total > 0);
        assert_true(swarm_stats(&sw, c).up_total > 0);
        assert_true(swarm_stats(&sw, seed).up_total < 8000000);
        swarm_free(&sw);
    }
}

static void restart(struct swarm *sw, struct mem_node *n)
{
    assert_true(mem_node_up(n, NULL));
    struct torrent_params p = swarm_params_of(sw, n);
    p.resume = mem_node_resume(n, metainfo_key(sw->content->info));
    swarm_add(sw, n, &p);
}

/* kill -9 at many moments: what was saved is believed, nothing else, and all ends well. */
static void test_kill_at_any_step(void **state)
{
    (void)state;
    uint64_t total_down = 0;
    for (unsigned round = 0; round < 24; round++) {
        struct swarm sw = small_swarm(100 + round, versions[round % 3], 1500000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        sw.world->chunk_max = 3000;
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        session_set_limits(leech->session, sw.world->now_us, 300000, 0);
        swarm_meet(&sw, leech, seed);
        unsigned n_kills = 0;
        for (unsigned k = 0; k < 6; k++) {
            mem_world_run_for(sw.world, 200000 + rng_below(&sw.world->rng, 2000000));
            if (swarm_state(&sw, leech) == TORRENT_SEEDING)
                break;
            bool is_power_cut = rng_below(&sw.world->rng, 2) && round % 2;
            uint64_t before = swarm_stats(&sw, leech).n_have;
            if (is_power_cut)
                mem_node_power_cut(leech);
            else
                mem_node_kill(leech);
            n_kills++;
            restart(&sw, leech);
            session_set_limits(leech->session, sw.world->now_us, 300000, 0);
            swarm_meet(&sw, leech, seed);
            mem_world_run_for(sw.world, 300000);
            /* a second's worth and what was in flight, at most */
            if (!is_power_cut)
                assert_true(swarm_stats(&sw, leech).n_have + 14 >= before);
        }
        assert_true(n_kills > 0);
        assert_true(swarm_run_to_seeding(&sw, 200));
        swarm_assert_disk(&sw, leech);
        assert_int_equal(sw.n_bad_pieces, 0);
        total_down += swarm_stats(&sw, seed).up_total;
        swarm_free(&sw);
    }
    assert_true(total_down < 24 * 1500000ull * 3);
}

/* A clean stop: nothing is read back, and the times of the files are believed. */
static void test_clean_restart(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(60, CONTENT_HYBRID, 900000);
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_leech(&sw, leech);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_stop(&sw, leech);
    leech->n_checks = 0;
    restart(&sw, leech);
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_SEEDING, 1));
    assert_int_equal(leech->n_checks, 0);
    assert_int_equal(leech->n_puts > 0, 1);
    swarm_stop(&sw, leech);
    /* one file is touched: its pieces are read again, the others not */
    char path[300];
    snprintf(path, sizeof(path), "d/%s", sw.content->info->files[0].path);
    struct mem_file *f = mem_node_file(leech, path);
    f->mtime_ns++;
    f->data[5] ^= 1;
    restart(&sw, leech);
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_DOWNLOADING, 1));
    assert_true(leech->n_checks > 0 && leech->n_checks < sw.content->info->n_pieces);
    assert_int_equal(swarm_stats(&sw, leech).n_have, sw.content->info->n_pieces - 1);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_assert_disk(&sw, leech);
    swarm_stop(&sw, leech);
    /* a file is gone: its pieces alone */
    mem_node_file(leech, path)->exists = false;
    mem_node_file(leech, path)->len = 0;
    restart(&sw, leech);
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_DOWNLOADING, 1));
    assert_true(swarm_stats(&sw, leech).n_have > 0);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

/* Half of a long piece is on disk: after a kill only the other half is fetched, and if the disk lost
 * what it had, the piece is fetched anew and nobody is blamed. */
static void test_kill_in_a_long_piece(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 9; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 640 + round,
                                                           .version = versions[round % 3],
                                                           .len = 6u << 20,
                                                           .piece_len = 8u << 20,
                                                           .n_files = 1});
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        session_set_limits(leech->session, sw.world->now_us, 1000000, 0);
        swarm_meet(&sw, leech, seed);
        mem_world_run_for(sw.world, 5 * (uint64_t)US_PER_S);
        uint64_t down = swarm_stats(&sw, leech).down_total;
        assert_true(down > 4000000 && down < 6000000);
        if (round < 3)
            mem_node_kill(leech);
        else
            swarm_stop(&sw, leech);
        if (round >= 6) { /* one of the blocks written is not what it was */
            leech->files[0].data[20000] ^= 1;
        }
        restart(&sw, leech);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_seeding(&sw, 60));
        swarm_assert_disk(&sw, leech);
        assert_int_equal(sw.n_banned, 0);
        uint64_t fetched = swarm_stats(&sw, leech).down_session;
        if (round < 6)
            assert_true(fetched <= (6u << 20) - 3000000);
        else if (round % 3 != 0) /* v2: the one block alone */
            assert_true(fetched <= (6u << 20) - 3000000 + 16384);
        assert_int_equal(sw.n_bad_pieces, round >= 6);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

/* While seeding nothing is written: a kill costs no check at the next start. */
static void test_kill_while_seeding(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(61, CONTENT_V1, 900000);
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_leech(&sw, leech);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    mem_world_run_for(sw.world, 1000000);
    mem_node_power_cut(leech);
    leech->n_checks = 0;
    restart(&sw, leech);
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_SEEDING, 1));
    assert_int_equal(leech->n_checks, 0);
    swarm_free(&sw);
}

static void test_magnet_resume_keeps_metadata(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct swarm sw = small_swarm(70 + i, versions[i], 900000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_magnet(&sw, leech);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_seeding(&sw, 60));
        mem_world_run_for(sw.world, 3000000);
        mem_node_kill(leech);
        mem_node_kill(seed);
        assert_true(mem_node_up(leech, NULL));
        struct buf link;
        struct magnet m;
        buf_init(&link, &leech->mem, 65536);
        magnet_write_metainfo(sw.content->info, &link);
        assert_int_equal(magnet_read(&m, buf_bytes(&link), &leech->mem, NULL), 0);
        struct torrent_params p = {.dir = "d", .magnet = &m};
        p.resume = mem_node_resume(leech, magnet_key(&m));
        assert_true(p.resume.len > 0);
        swarm_add(&sw, leech, &p);
        assert_true(swarm_run_to_state(&sw, leech, TORRENT_SEEDING, 5));
        magnet_clear(&m);
        buf_clear(&link);
        swarm_free(&sw);
    }
}

static void test_check_modes(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(80, CONTENT_HYBRID, 900000);
    struct mem_node *n = swarm_node(&sw);
    swarm_fill_disk(&sw, n);
    swarm_leech(&sw, n); /* no resume data, files are there: all is checked */
    assert_true(swarm_run_to_state(&sw, n, TORRENT_SEEDING, 5));
    assert_int_equal(n->n_checks, sw.content->info->n_pieces);
    swarm_stop(&sw, n);
    assert_true(mem_node_up(n, NULL));
    struct torrent_params p = swarm_params_of(&sw, n);
    p.resume = mem_node_resume(n, metainfo_key(p.info));
    p.check = CHECK_ALL;
    n->n_checks = 0;
    swarm_add(&sw, n, &p);
    assert_true(swarm_run_to_state(&sw, n, TORRENT_SEEDING, 5));
    assert_int_equal(n->n_checks, sw.content->info->n_pieces);
    swarm_stop(&sw, n);
    /* a seed without its data says so */
    for (uint32_t i = 0; i < n->n_files; i++) {
        n->files[i].exists = false;
        n->files[i].len = 0;
    }
    assert_true(mem_node_up(n, NULL));
    p = swarm_params_of(&sw, n);
    p.is_seed_only = true;
    swarm_add(&sw, n, &p);
    assert_true(swarm_run_to_state(&sw, n, TORRENT_ERROR, 5));
    assert_int_equal(swarm_stats(&sw, n).err.code, ERR_NOT_FOUND);
    swarm_free(&sw);
}

static void test_resume_refused(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(81, CONTENT_V1, 100000);
    struct mem_node *n = swarm_node(&sw);
    struct torrent_params p = swarm_params_of(&sw, n);
    p.resume = BYTES_LIT("this is not resume data at all.");
    swarm_add(&sw, n, &p);
    assert_int_equal(swarm_counter(n, "resume_refused"), 1);
    assert_true(swarm_run_to_state(&sw, n, TORRENT_DOWNLOADING, 5));
    swarm_free(&sw);
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        struct swarm sw = small_swarm(90 + round, versions[round % 3], 1500000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        sw.world->chunk_max = 5000;
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        for (unsigned k = 0; k < 5; k++) {
            unsigned n_steps = rng_below(&sw.world->rng, 200);
            for (unsigned i = 0; i < n_steps; i++)
                mem_world_step(sw.world, sw.world->now_us + 1000000);
            session_pause(leech->session, sw.world->now_us, sw.torrents[leech->index]);
            assert_int_equal(swarm_state(&sw, leech), TORRENT_PAUSED);
            n_steps = rng_below(&sw.world->rng, 10);
            for (unsigned i = 0; i < n_steps; i++)
                mem_world_step(sw.world, sw.world->now_us + 1000000);
            session_resume(leech->session, sw.world->now_us, sw.torrents[leech->index]);
        }
        assert_true(swarm_run_to_seeding(&sw, 200));
        swarm_assert_disk(&sw, leech);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

static void test_remove_at_any_step(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        struct swarm sw = small_swarm(200 + round, versions[round % 3], 500000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        sw.world->chunk_max = 5000;
        swarm_seed(&sw, seed);
        if (round % 2)
            swarm_magnet(&sw, leech);
        else
            swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        for (unsigned i = 0; i < round * 2; i++)
            mem_world_step(sw.world, sw.world->now_us + 1000000);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

static void test_priorities(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(300, CONTENT_V2, 900000);
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    uint8_t priorities[] = {0, 4, 0};
    swarm_seed(&sw, seed);
    struct torrent_params p = swarm_params_of(&sw, leech);
    p.file_priorities = priorities;
    swarm_add(&sw, leech, &p);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_FINISHED, 60));
    struct torrent_stats st = swarm_stats(&sw, leech);
    assert_int_equal(st.have_wanted_len, st.wanted_len);
    assert_int_equal(st.have_len, sw.content->info->files[1].len);
    mem_world_run_for(sw.world, 2000000);
    priorities[0] = priorities[2] = 7;
    leech->mem.fail_at = 1;
    assert_int_equal(session_set_file_priorities(leech->session, sw.world->now_us,
                                                 sw.torrents[leech->index], priorities, 3),
                     ERR_NO_MEMORY);
    assert_int_equal(swarm_state(&sw, leech), TORRENT_FINISHED);
    assert_int_equal(session_set_file_priorities(leech->session, sw.world->now_us,
                                                 sw.torrents[leech->index], priorities, 3),
                     ERR_OK);
    assert_int_equal(swarm_state(&sw, leech), TORRENT_DOWNLOADING);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 100));
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

static void test_goals(void **state)
{
    (void)state;
    struct swarm sw = small_swarm(310, CONTENT_V1, 500000);
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw), *other = swarm_node(&sw);
    swarm_seed(&sw, seed);
    struct torrent_params p = swarm_params_of(&sw, leech);
    p.seed_time_us = 30 * (uint64_t)US_PER_S;
    swarm_add(&sw, leech, &p);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    uint64_t began = sw.world->now_us;
    assert_true(swarm_run_to_state(&sw, leech, TORRENT_PAUSED, 60));
    assert_int_equal(sw.n_goals, 1);
    assert_true(sw.world->now_us >= began + 29 * (uint64_t)US_PER_S);
    /* by ratio: the seed stops when it has given as much as there is */
    swarm_stop(&sw, leech);
    swarm_stop(&sw, seed);
    assert_true(mem_node_up(seed, NULL));
    p = swarm_params_of(&sw, seed);
    p.check = CHECK_TRUST;
    p.seed_ratio_milli = 1000;
    swarm_add(&sw, seed, &p);
    swarm_leech(&sw, other);
    swarm_meet(&sw, other, seed);
    assert_true(swarm_run_to_state(&sw, seed, TORRENT_PAUSED, 60));
    assert_int_equal(sw.n_goals, 2);
    swarm_free(&sw);
}

/* Each storage job in turn fails once; the torrent says so, and goes on when asked to. */
static void test_storage_errors(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 60; at++) {
        struct swarm sw = small_swarm(400 + at, versions[at % 3], 400000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        sw.world->is_shuffling = at % 2;
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        leech->fail_job_at = at;
        swarm_meet(&sw, leech, seed);
        for (unsigned tries = 0; tries < 5; tries++) {
            mem_world_run_for(sw.world, 30 * (uint64_t)US_PER_S);
            if (swarm_state(&sw, leech) != TORRENT_ERROR)
                continue;
            assert_int_equal(swarm_stats(&sw, leech).err.code, ERR_IO);
            session_resume(leech->session, sw.world->now_us, sw.torrents[leech->index]);
            swarm_meet(&sw, leech, seed);
        }
        assert_true(swarm_run_to_seeding(&sw, 200));
        swarm_assert_disk(&sw, leech);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

static void test_small_cache(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 9; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 500 + round,
                                                           .version = versions[round % 3],
                                                           .len = 6000000,
                                                           .piece_len = 1u << 20,
                                                           .n_files = 2,
                                                           .chunk_max = 20000});
        struct mem_node *seed = swarm_node(&sw), *seed2 = swarm_node(&sw);
        struct mem_node *leech = mem_world_add(sw.world);
        struct session_config c = mem_node_config(leech);
        c.cache_len_max = 1; /* the least there is: 16 blocks */
        assert_true(mem_node_up(leech, &c));
        swarm_seed(&sw, seed);
        swarm_seed(&sw, seed2);
        swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        swarm_meet(&sw, leech, seed2);
        assert_true(swarm_run_to_seeding(&sw, 600));
        swarm_assert_disk(&sw, leech);
        assert_true(swarm_counter(leech, "cache_full") > 0);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

static void test_rate_limits(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        struct swarm sw = small_swarm(600 + round, CONTENT_V1, 2000000);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        if (round == 0)
            session_set_limits(leech->session, sw.world->now_us, 100000, 0);
        else
            session_set_limits(seed->session, sw.world->now_us, 0, 100000);
        swarm_meet(&sw, leech, seed);
        uint64_t began = sw.world->now_us;
        assert_true(swarm_run_to_seeding(&sw, 100));
        double s = (double)(sw.world->now_us - began) / 1e6;
        assert_true(s > 18 && s < 25);
        swarm_free(&sw);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_magnet),
        cmocka_unit_test(test_magnet_dialled_and_chain),
        cmocka_unit_test(test_three_trade),
        cmocka_unit_test(test_kill_at_any_step),
        cmocka_unit_test(test_clean_restart),
        cmocka_unit_test(test_kill_in_a_long_piece),
        cmocka_unit_test(test_kill_while_seeding),
        cmocka_unit_test(test_magnet_resume_keeps_metadata),
        cmocka_unit_test(test_check_modes),
        cmocka_unit_test(test_resume_refused),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_remove_at_any_step),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_goals),
        cmocka_unit_test(test_storage_errors),
        cmocka_unit_test(test_small_cache),
        cmocka_unit_test(test_rate_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
