/* Corners: several liars, buffers that lie ready, blocks written before their turn, files that vanish, names in links, haves
 * before the metadata, hashes that do not prove. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "swarm.h"
#include "torrent/ext_handshake.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include "torrent/peer_wire.h"
#include "torrent/session_internal.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const enum content_version versions[] = {CONTENT_V1, CONTENT_V2, CONTENT_HYBRID};

/* Two liars one after the other: the second meets leaves that are known already (v2). */
static void test_two_liars(void **state)
{
    (void)state;
    uint64_t n_blocks_bad = 0;
    for (unsigned round = 0; round < 9; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 800 + round,
                                                           .version = versions[round % 3],
                                                           .len = 6000000,
                                                           .piece_len = 1u << 22,
                                                           .chunk_max = 30000});
        struct mem_node *seed = swarm_node(&sw), *a = swarm_node(&sw), *b = swarm_node(&sw);
        struct mem_node *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_seed(&sw, a);
        swarm_seed(&sw, b);
        a->is_corrupting = b->is_corrupting = true;
        session_set_limits(seed->session, sw.world->now_us, 0, 300000);
        session_set_limits(b->session, sw.world->now_us, 0, 300000);
        swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        swarm_meet(&sw, leech, a);
        mem_world_run_for(sw.world, 2000000);
        swarm_meet(&sw, leech, b);
        assert_true(swarm_run_to_seeding(&sw, 300));
        swarm_assert_disk(&sw, leech);
        assert_true(sw.n_banned >= 1 && sw.n_banned <= 2);
        assert_false(addr_ip_equal(&sw.banned, &seed->addr));
        n_blocks_bad += swarm_counter(leech, "blocks_bad");
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
    assert_true(n_blocks_bad > 0);
}

/* The first blocks hang at a peer that gives nothing more, and the cache is full of what comes
 * after them: it is written where it belongs, and the piece read back to be hashed. */
static void test_spill(void **state)
{
    (void)state;
    uint64_t n_spills = 0, n_readbacks = 0;
    for (unsigned round = 0; round < 6; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 820 + round,
                                                           .version = versions[round % 3],
                                                           .len = 3u << 20,
                                                           .piece_len = 1u << 20,
                                                           .chunk_max = 20000});
        struct mem_node *slow = swarm_node(&sw), *seed = swarm_node(&sw);
        struct mem_node *leech = mem_world_add(sw.world);
        struct session_config c = mem_node_config(leech);
        c.cache_len_max = 1;
        assert_true(mem_node_up(leech, &c));
        swarm_seed(&sw, slow);
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        session_set_limits(slow->session, sw.world->now_us, 0, 1);
        swarm_meet(&sw, leech, slow);
        mem_world_run_for(sw.world, 500000);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_seeding(&sw, 300));
        swarm_assert_disk(&sw, leech);
        assert_int_equal(sw.n_bad_pieces, 0);
        n_spills += swarm_counter(leech, "cache_spills");
        n_readbacks += swarm_counter(leech, "readbacks");
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
    assert_true(n_spills > 0 && n_readbacks > 0);
}

static size_t n_spares(const struct session *s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->ahead.n_spares; i++)
        n += s->ahead.spares[i] != NULL;
    return n;
}

/* Every connection is asked where its next bytes belong. What lies ready for blocks to come is
 * lent to one after the other, not to each its own, and leaves room in the cache. Returns the most
 * that was lent. */
static size_t lend_to_all(struct session *s, uint64_t now_us)
{
    struct span spans[2 * WIRE_AHEAD_MAX + 2];
    size_t n_blocks = s->cache.n_out - n_spares(s), n_most = 0;
    size_t n_free = s->cache.n_max - n_blocks;
    uint32_t cursor = 0;
    const struct peer *p;
    while ((p = slots_next(&s->conns, &cursor))) {
        bool expects_data = p->block || (p->is_in_picker && p->pp.n_requests);
        session_lend(s, now_us, p->id, spans, sizeof(spans) / sizeof(spans[0]));
        session_check(s);
        size_t n = n_spares(s);
        assert_true(n <= WIRE_AHEAD_MAX);
        assert_int_equal(s->cache.n_out, n_blocks + n);
        if (expects_data && n)
            assert_true(2 * n + WIRE_SCRATCH_LEN / BLOCK_LEN < n_free);
        n_most = n > n_most ? n : n_most;
    }
    return n_most;
}

static void test_spares_are_bounded(void **state)
{
    (void)state;
    static const size_t cache_lens[] = {1, 24 * BLOCK_LEN, 40 * BLOCK_LEN, 0};
    size_t n_most[4] = {0};
    for (unsigned round = 0; round < 4; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){
            .seed = 830 + round, .version = CONTENT_V1, .len = 8u << 20, .piece_len = 1u << 18});
        struct mem_node *leech = mem_world_add(sw.world);
        struct session_config c = mem_node_config(leech);
        c.cache_len_max = cache_lens[round];
        assert_true(mem_node_up(leech, &c));
        swarm_leech(&sw, leech);
        for (unsigned i = 0; i < 6; i++) {
            struct mem_node *seed = swarm_node(&sw);
            swarm_seed(&sw, seed);
            swarm_meet(&sw, leech, seed);
        }
        uint64_t end_us = sw.world->now_us + 300 * US_PER_S;
        while (swarm_state(&sw, leech) != TORRENT_SEEDING && sw.world->now_us < end_us) {
            mem_world_step(sw.world, end_us);
            size_t n = lend_to_all(leech->session, sw.world->now_us);
            n_most[round] = n > n_most[round] ? n : n_most[round];
        }
        assert_true(swarm_run_to_seeding(&sw, 300));
        swarm_assert_disk(&sw, leech);
        mem_world_run_for(sw.world, 60 * US_PER_S);
        assert_int_equal(leech->session->cache.n_out, 0); /* those ready have gone, too */
        swarm_free(&sw);
    }
    assert_true(n_most[0] <= 5 && n_most[1] <= 9); /* of 16 and 24 blocks */
    assert_true(n_most[3] >= 4);                   /* and with room there are some */
}

/* A file goes away under a download: the torrent stops and says so; when it is told to go on, what
 * was in that file is fetched again, and nothing else. */
static void test_file_vanishes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 840 + round,
                                                           .version = versions[round],
                                                           .len = 4000000,
                                                           .piece_len = 262144,
                                                           .n_files = 4});
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        session_set_limits(leech->session, sw.world->now_us, 1000000, 0);
        swarm_meet(&sw, leech, seed);
        mem_world_run_for(sw.world, 3000000);
        struct err gone = {ERR_IO, "a file is gone", 0, 2, 0};
        for (uint32_t i = 0; i < leech->n_files; i += 2) {
            leech->files[i].exists = false;
            leech->files[i].len = 0;
        }
        uint32_t n_have = swarm_stats(&sw, leech).n_have;
        session_on_store_error(leech->session, sw.world->now_us, sw.torrents[leech->index], &gone);
        assert_int_equal(swarm_state(&sw, leech), TORRENT_ERROR);
        char why[500];
        session_torrent_why(leech->session, sw.world->now_us, sw.torrents[leech->index], why,
                            sizeof(why));
        assert_non_null(strstr(why, "a file is gone"));
        mem_world_run_for(sw.world, 1000000);
        session_resume(leech->session, sw.world->now_us, sw.torrents[leech->index]);
        assert_true(swarm_run_to_state(&sw, leech, TORRENT_DOWNLOADING, 5));
        assert_true(swarm_stats(&sw, leech).n_have < n_have);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_seeding(&sw, 60));
        swarm_assert_disk(&sw, leech);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

/* x.pe with a name: it is looked up (BEP 9). */
static void test_named_peer_in_link(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 850, .version = CONTENT_V1, .len = 300000, .piece_len = 32768});
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    struct buf link;
    struct magnet m;
    swarm_seed(&sw, seed);
    buf_init(&link, &sw.world->mem, 65536);
    magnet_write_metainfo(sw.content->info, &link);
    buf_str(&link, "&x.pe=seed.example:6881&x.pe=10.0.0.77:1");
    assert_int_equal(magnet_read(&m, buf_bytes(&link), &sw.world->mem, NULL), ERR_OK);
    struct torrent_params p = {.dir = "d", .magnet = &m};
    swarm_add(&sw, leech, &p);
    magnet_clear(&m);
    buf_clear(&link);
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

static uint32_t dial(struct swarm *sw, struct mem_node *n, const struct addr *from,
                     uint32_t features, struct writer *w)
{
    struct handshake h = {0};
    uint32_t raw = mem_raw_dial(sw->world, n, from);
    handshake_set_features(&h, features);
    memcpy(h.infohash, metainfo_key(sw->content->info), 20);
    memcpy(h.peer_id, "-RW0001-abcdefghijkl", 20);
    h.peer_id[19] = (uint8_t)from->port;
    handshake_write(w, &h);
    return raw;
}

static void say(struct swarm *sw, uint32_t raw, struct writer *w)
{
    mem_raw_send(sw->world, raw, writer_bytes(w));
    *w = writer_init(w->buf, w->cap);
    mem_world_run_for(sw->world, 1000);
}

/* HAVE and have all before the metadata is here are kept until it is. */
static void test_haves_before_metadata(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 860, .version = CONTENT_V1, .len = 1 << 20, .piece_len = 32768});
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    static uint8_t buf[200000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct addr a = addr_v4(10, 3, 3, 3, 1), b = addr_v4(10, 3, 3, 4, 2),
                c = addr_v4(10, 3, 3, 5, 3);
    swarm_magnet(&sw, leech);
    uint32_t raw_a = dial(&sw, leech, &a, WIRE_FAST, &w);
    peer_msg_write_plain(&w, MSG_HAVE_NONE);
    for (uint32_t i = 0; i < 5; i++)
        peer_msg_write_piece_index(&w, MSG_HAVE, i * 3);
    for (uint32_t i = 0; i < 10000; i++)
        peer_msg_write_piece_index(&w, MSG_HAVE, 1000000 + i); /* what is too much is forgotten */
    say(&sw, raw_a, &w);
    uint32_t raw_b = dial(&sw, leech, &b, WIRE_FAST, &w);
    peer_msg_write_plain(&w, MSG_HAVE_ALL);
    say(&sw, raw_b, &w);
    uint32_t raw_c = dial(&sw, leech, &c, 0, &w);
    peer_msg_write_bitfield(&w, BYTES_LIT("\xf0")); /* too short, as will turn out */
    say(&sw, raw_c, &w);
    assert_int_equal(swarm_counter(leech, "msg_early"), 10005 - 8192);
    swarm_seed(&sw, seed);
    session_set_limits(leech->session, sw.world->now_us, 1, 0);
    swarm_meet(&sw, leech, seed);
    mem_world_run_for(sw.world, 3000000);
    assert_int_equal(sw.n_metadata, 1);
    struct peer_stats st[8];
    size_t n = session_peers(leech->session, sw.world->now_us, sw.torrents[leech->index], st, 8);
    assert_int_equal(n, 3); /* the seed, a and b; c is gone */
    assert_true(mem_raw_is_closed(sw.world, raw_c));
    for (size_t i = 0; i < n; i++) {
        if (addr_equal(&st[i].addr, &a))
            assert_int_equal(st[i].n_have, 5);
        if (addr_equal(&st[i].addr, &b))
            assert_true(st[i].is_seed);
    }
    swarm_free(&sw);
}

/* A v2 torrent without its piece layers asks for them; wrong ones get their sender banned, a reject
 * sends the question elsewhere (BEP 52, "hash request"). */
static void test_hashes_that_do_not_prove(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 870, .version = CONTENT_V2, .len = 1 << 20, .piece_len = 32768});
    struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
    static uint8_t buf[100000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct addr liar = addr_v4(10, 3, 3, 3, 1), shy = addr_v4(10, 3, 3, 4, 2);
    struct torrent_params p = {.dir = "d"};
    assert_int_equal(metainfo_read_info(&p.info, sw.content->info->info, &leech->mem, NULL, NULL),
                     ERR_OK);
    swarm_add(&sw, leech, &p);
    assert_int_equal(swarm_state(&sw, leech), TORRENT_METADATA);
    struct addr from[] = {liar, shy};
    for (int i = 0; i < 2; i++) {
        uint32_t raw = dial(&sw, leech, &from[i], WIRE_FAST | WIRE_V2, &w);
        peer_msg_write_plain(&w, MSG_HAVE_ALL);
        say(&sw, raw, &w);
        struct bytes heard = mem_raw_heard(sw.world, raw);
        struct bytes last = bytes_sub(heard, heard.len - 49, 49); /* a hash request ends it */
        struct wire_msg m;
        assert_int_equal(last.data[0], MSG_HASH_REQUEST);
        assert_int_equal(peer_msg_read(last, &m, NULL), ERR_OK);
        uint8_t hashes[MERKLE_ANSWER_N_MAX * SHA256_LEN] = {0};
        size_t n = m.hashes.ref.length + merkle_request_n_uncles(&m.hashes.ref);
        if (i == 0)
            peer_msg_write_hashes(&w, &m.hashes.ref, bytes_of(hashes, n * SHA256_LEN));
        else
            peer_msg_write_hash_reject(&w, &m.hashes.ref);
        say(&sw, raw, &w);
        assert_int_equal(mem_raw_is_closed(sw.world, raw), i == 0);
    }
    assert_int_equal(swarm_counter(leech, "hashes_bad"), 1);
    assert_int_equal(sw.n_banned, 1);
    assert_true(addr_equal(&sw.banned, &liar));
    swarm_seed(&sw, seed);
    swarm_meet(&sw, leech, seed);
    assert_true(swarm_run_to_seeding(&sw, 60));
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

/* A peer that rejects whatever it is asked for, without choking, is asked less and then left. */
static void test_rejecting_peer(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 880, .version = CONTENT_V1, .len = 1 << 20, .piece_len = 32768});
    struct mem_node *leech = swarm_node(&sw);
    static uint8_t buf[200000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct addr a = addr_v4(10, 3, 3, 3, 1);
    swarm_leech(&sw, leech);
    mem_world_run_for(sw.world, 1000);
    uint32_t raw = dial(&sw, leech, &a, WIRE_FAST, &w);
    peer_msg_write_plain(&w, MSG_HAVE_ALL);
    peer_msg_write_plain(&w, MSG_UNCHOKE);
    say(&sw, raw, &w);
    for (unsigned i = 0; i < 100 && !mem_raw_is_closed(sw.world, raw); i++) {
        struct bytes heard = mem_raw_heard(sw.world, raw);
        for (size_t at = 0; at + 17 <= heard.len; at++) {
            struct wire_msg m;
            static const uint8_t head[] = {0, 0, 0, 13, MSG_REQUEST};
            if (memcmp(heard.data + at, head, 5) == 0 &&
                !peer_msg_read(bytes_sub(heard, at + 4, 13), &m, NULL))
                peer_msg_write_block(&w, MSG_REJECT, &m.block);
        }
        mem_raw_forget(sw.world, raw, heard.len);
        say(&sw, raw, &w);
        mem_world_run_for(sw.world, 1000000);
    }
    assert_true(mem_raw_is_closed(sw.world, raw));
    assert_int_equal(swarm_counter(leech, "rejects_closed"), 1);
    swarm_free(&sw);
}

static void expect_why(struct swarm *sw, struct mem_node *n, const char *text)
{
    char why[1000];
    session_torrent_why(n->session, sw->world->now_us, sw->torrents[n->index], why, sizeof(why));
    if (!strstr(why, text))
        fail_msg("'%s' is not in '%s'", text, why);
}

/* What it waits for is told in words, from the start to the stop. */
static void test_why_in_every_state(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 970, .version = CONTENT_V2, .len = 200000, .piece_len = 16384});
    struct mem_node *seed = swarm_node(&sw), *n = swarm_node(&sw);
    struct addr nobody = addr_v4(10, 66, 0, 1, 1);
    swarm_seed(&sw, seed);
    struct torrent_params p = swarm_params_of(&sw, n);
    p.check = CHECK_ALL;
    swarm_fill_disk(&sw, n);
    mem_node_file(n, "d/data")->data[100000] ^= 1;
    swarm_add(&sw, n, &p);
    expect_why(&sw, n, "open");
    n->delay_job_at = 2;
    n->delay_job_us = 1000000;
    mem_world_run_for(sw.world, 1000);
    expect_why(&sw, n, "13"); /* pieces to be checked */
    assert_true(swarm_run_to_state(&sw, n, TORRENT_DOWNLOADING, 10));
    expect_why(&sw, n, "trackers are switched off");
    session_add_peer(n->session, sw.world->now_us, sw.torrents[1], &nobody);
    expect_why(&sw, n, "connecting to 1 peers");
    session_pause(n->session, sw.world->now_us, sw.torrents[1]);
    expect_why(&sw, n, "paused");
    session_resume(n->session, sw.world->now_us, sw.torrents[1]);
    n->fail_job_at = 1;
    mem_world_run_for(sw.world, 1000000);
    n->fail_job_at = 0;
    swarm_meet(&sw, n, seed);
    if (swarm_state(&sw, n) == TORRENT_ERROR) {
        expect_why(&sw, n, "stopped by an error: injected failure");
        session_resume(n->session, sw.world->now_us, sw.torrents[1]);
        swarm_meet(&sw, n, seed);
    }
    assert_true(swarm_run_to_state(&sw, n, TORRENT_SEEDING, 100));
    expect_why(&sw, n, "everything is here");
    session_remove(n->session, sw.world->now_us, sw.torrents[1]);
    expect_why(&sw, n, "stopping");
    mem_world_run_for(sw.world, 10000000);
    sw.torrents[1] = 0;
    expect_why(&sw, n, "no such torrent");
    swarm_free(&sw);
}

/* No room for another torrent, and no memory for one, are told apart. */
static void test_too_many_torrents(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 960, .version = CONTENT_V1, .len = 50000, .piece_len = 16384});
    struct mem_node *n = swarm_node(&sw);
    struct torrent_params p = swarm_params_of(&sw, n);
    struct err err = {0};
    uint32_t id;
    n->session->torrents.n_max = 0;
    assert_int_equal(session_add(n->session, sw.world->now_us, &p, &id, &err), ERR_LIMIT);
    assert_string_equal(err.what, "too many torrents");
    n->session->torrents.n_max = 1;
    n->mem.fail_at = 2; /* the torrent itself is the first */
    assert_int_equal(session_add(n->session, sw.world->now_us, &p, &id, &err), ERR_NO_MEMORY);
    assert_int_equal(session_add(n->session, sw.world->now_us, &p, &id, &err), ERR_OK);
    session_check(n->session);
    swarm_free(&sw);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_liars),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_spares_are_bounded),
        cmocka_unit_test(test_file_vanishes),
        cmocka_unit_test(test_named_peer_in_link),
        cmocka_unit_test(test_haves_before_metadata),
        cmocka_unit_test(test_hashes_that_do_not_prove),
        cmocka_unit_test(test_rejecting_peer),
        cmocka_unit_test(test_too_many_torrents),
        cmocka_unit_test(test_why_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
