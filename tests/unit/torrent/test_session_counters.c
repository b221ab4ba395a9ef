/* Ways to misbehave, and mishaps, that take more than one message: each has its counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "crypto/sha.h"
#include "swarm.h"
#include "torrent/ext_handshake.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include "torrent/peer_wire.h"
#include "torrent/session_internal.h"
#include "torrent/ut_metadata.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define ALL_FEATURES (WIRE_FAST | WIRE_EXTENSION | WIRE_V2)

/* --- a hand-made peer ------------------------------------------------------------------------ */

struct hand {
    struct swarm sw;
    struct mem_node *n;
    struct addr from;
    uint32_t raw;
    uint8_t buf[100000];
    struct writer w;
};

static struct hand *hand_new(enum content_version version)
{
    struct hand *h = calloc(1, sizeof(*h));
    h->sw = swarm_new(&(struct swarm_params){
        .seed = 900, .version = version, .len = 1000000, .piece_len = 32768});
    h->n = swarm_node(&h->sw);
    h->from = addr_v4(10, 1, 2, 3, 5000);
    h->w = writer_init(h->buf, sizeof(h->buf));
    return h;
}

static void hand_free(struct hand *h)
{
    swarm_free(&h->sw);
    free(h);
}

static void hand_flush(struct hand *h)
{
    mem_raw_send(h->sw.world, h->raw, writer_bytes(&h->w));
    h->w = writer_init(h->buf, sizeof(h->buf));
    mem_world_run_for(h->sw.world, 1000);
}

static void hand_shake(struct hand *h, const uint8_t *infohash, uint32_t features)
{
    struct handshake hs = {0};
    handshake_set_features(&hs, features);
    memcpy(hs.infohash, infohash, 20);
    memcpy(hs.peer_id, "-RW0001-abcdefghijkl", 20);
    handshake_write(&h->w, &hs);
}

static void hand_dial(struct hand *h, const uint8_t *infohash, uint32_t features)
{
    mem_world_run_for(h->sw.world, 1000);
    h->raw = mem_raw_dial(h->sw.world, h->n, &h->from);
    assert_int_not_equal(h->raw, UINT32_MAX);
    hand_shake(h, infohash, features);
    hand_flush(h);
}

static const uint8_t *hand_hash(const struct hand *h)
{
    return metainfo_key(h->sw.content->info);
}

static uint64_t count(const struct hand *h, const char *name)
{
    return swarm_counter(h->n, name);
}

/* --- connections ----------------------------------------------------------------------------- */

static void test_ordinary_lives_are_counted(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct mem_node *seed = swarm_node(&h->sw);
    swarm_seed(&h->sw, seed);
    swarm_leech(&h->sw, h->n);
    struct addr nobody = addr_v4(10, 77, 0, 1, 1);
    session_add_peer(h->n->session, h->sw.world->now_us, h->sw.torrents[0], &nobody);
    swarm_meet(&h->sw, h->n, seed);
    assert_true(swarm_run_to_seeding(&h->sw, 60));
    mem_world_run_for(h->sw.world, 1000000);
    assert_int_equal(count(h, "conns_dialled"), 2);
    assert_int_equal(count(h, "conns_connected"), 1);
    assert_int_equal(count(h, "connect_failed"), 1);
    assert_int_equal(count(h, "pieces_good"), 31);
    assert_int_equal(swarm_counter(seed, "conns_accepted"), 1);
    assert_int_equal(swarm_counter(seed, "peers_closed_by_them") + count(h, "peers_closed_by_them"),
                     1);
    hand_free(h);
}

static void test_a_banned_address_stays_out(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct mem_node *liar = swarm_node(&h->sw), *seed = swarm_node(&h->sw);
    swarm_seed(&h->sw, seed);
    swarm_seed(&h->sw, liar);
    liar->is_corrupting = true;
    swarm_leech(&h->sw, h->n);
    swarm_meet(&h->sw, h->n, liar);
    mem_world_run_for(h->sw.world, 5000000);
    assert_true(count(h, "pieces_bad") >= 1 && count(h, "blocks_bad") >= 1);
    assert_int_equal(count(h, "peers_banned"), 1);
    struct addr again = liar->addr;
    again.port = 1234;
    assert_int_equal(mem_raw_dial(h->sw.world, h->n, &again), UINT32_MAX);
    assert_int_equal(count(h, "accept_refused_banned"), 1);
    swarm_meet(&h->sw, h->n, liar);
    uint64_t n_dialled = count(h, "conns_dialled");
    mem_world_run_for(h->sw.world, 5000000);
    assert_int_equal(count(h, "conns_dialled"), n_dialled);
    swarm_meet(&h->sw, h->n, seed);
    assert_true(swarm_run_to_seeding(&h->sw, 60));
    hand_free(h);
}

/* We dial somebody, and the answer is about another torrent. */
static void test_another_torrents_handshake(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    uint8_t other[20] = {1, 2, 3};
    swarm_leech(&h->sw, h->n);
    h->sw.world->raw_listens = addr_v4(10, 77, 0, 1, 1);
    session_add_peer(h->n->session, h->sw.world->now_us, h->sw.torrents[0],
                     &h->sw.world->raw_listens);
    mem_world_run_for(h->sw.world, 1000000);
    h->raw = h->sw.world->raw_dialled;
    assert_int_not_equal(h->raw, UINT32_MAX);
    hand_shake(h, other, ALL_FEATURES);
    hand_flush(h);
    assert_true(mem_raw_is_closed(h->sw.world, h->raw));
    assert_int_equal(count(h, "handshake_wrong_infohash"), 1);
    hand_free(h);
}

static void test_no_memory_for_a_connection(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    swarm_seed(&h->sw, h->n);
    mem_world_run_for(h->sw.world, 1000000);
    h->n->mem.fail_at = 1;
    assert_int_equal(mem_raw_dial(h->sw.world, h->n, &h->from), UINT32_MAX);
    assert_int_equal(count(h, "conn_no_memory"), 1);
    session_check(h->n->session);
    hand_free(h);
}

/* --- messages -------------------------------------------------------------------------------- */

static void test_a_later_bitfield(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct peer_stats st;
    swarm_leech(&h->sw, h->n);
    hand_dial(h, hand_hash(h), 0);
    peer_msg_write_bitfield(&h->w, BYTES_LIT("\x80\0\0\0"));
    hand_flush(h);
    peer_msg_write_bitfield(&h->w, BYTES_LIT("\x40\0\0\0"));
    hand_flush(h);
    assert_int_equal(count(h, "bitfield_later"), 1);
    assert_false(mem_raw_is_closed(h->sw.world, h->raw));
    session_peers(h->n->session, h->sw.world->now_us, h->sw.torrents[0], &st, 1);
    assert_int_equal(st.n_have, 2);
    hand_free(h);
}

/* One that may ask h's node, a seed, for everything. */
static void hand_interested(struct hand *h, uint32_t features)
{
    swarm_seed(&h->sw, h->n);
    hand_dial(h, hand_hash(h), features);
    if (features & WIRE_FAST)
        peer_msg_write_plain(&h->w, MSG_HAVE_NONE);
    peer_msg_write_plain(&h->w, MSG_INTERESTED);
    hand_flush(h);
    mem_world_run_for(h->sw.world, 20000000);
}

/* From here on requests wait. */
static void hand_is_served_no_more(struct hand *h)
{
    session_set_limits(h->n->session, h->sw.world->now_us, 0, 1);
}

static void hand_ask(struct hand *h, uint32_t from, uint32_t n)
{
    for (uint32_t i = from; i < from + n; i++)
        peer_msg_write_block(&h->w, MSG_REQUEST, &(struct wire_block){i % 31, i / 31 * 16, 16});
    hand_flush(h);
}

static void test_more_requests_than_reqq(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    hand_interested(h, ALL_FEATURES);
    hand_is_served_no_more(h);
    hand_ask(h, 0, UPLOAD_QUEUE_N_MAX + 50);
    assert_true(count(h, "request_flood") >= 1 && count(h, "request_flood") <= 50);
    assert_int_equal(count(h, "request_duplicate"), 0);
    hand_free(h);
}

/* Who cannot be refused and is fast may ask ahead for eight seconds, farther than rTorrent does. */
static void test_more_requests_of_a_fast_one(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    hand_interested(h, WIRE_EXTENSION);
    for (uint32_t i = 0; i < 31 * 300; i++) {
        peer_msg_write_block(&h->w, MSG_REQUEST, &(struct wire_block){i % 31, 0, BLOCK_LEN});
        if (i % 31 != 30)
            continue;
        hand_flush(h);
        mem_world_run_for(h->sw.world, 20000);
    }
    hand_is_served_no_more(h);
    uint32_t n = UPLOAD_QUEUE_N_MAX + 50;
    hand_ask(h, 0, n);
    assert_int_equal(count(h, "request_flood"), 0);
    for (; n < 20000 && count(h, "request_flood") == 0; n += 500)
        hand_ask(h, n, 500);
    assert_true(n > 11809 && n < 14500); /* 8 s of 31 blocks in 21 ms, and a burst was served */
    hand_free(h);
}

static void test_gossip_that_is_not_wanted(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct mem_node *n = mem_world_add(h->sw.world);
    struct session_config c = mem_node_config(n);
    c.is_pex_off = true;
    assert_true(mem_node_up(n, &c));
    h->n = n;
    swarm_leech(&h->sw, n);
    hand_dial(h, hand_hash(h), ALL_FEATURES);
    peer_msg_write_extended(&h->w, 0, BYTES_LIT("d1:md6:ut_pexi1eee"));
    peer_msg_write_extended(&h->w, EXT_OUR_ID(EXT_PEX), BYTES_LIT("d5:added6:\1\2\3\4\5\6e"));
    hand_flush(h);
    assert_int_equal(count(h, "pex_ignored") + count(h, "extended_unknown"), 1);
    assert_int_equal(swarm_stats(&h->sw, n).n_known_peers, 1); /* itself */
    hand_free(h);
}

/* --- metadata -------------------------------------------------------------------------------- */

/* Offers so many bytes of metadata; is asked for them; gives these. */
static void hand_metadata(struct hand *h, const uint8_t *infohash, uint64_t offered, uint64_t told,
                          struct bytes data)
{
    uint8_t payload[20000];
    struct writer w = writer_init(payload, sizeof(payload));
    hand_dial(h, infohash, WIRE_EXTENSION);
    writer_printf(&w, "d1:md11:ut_metadatai3ee13:metadata_sizei%llue", (unsigned long long)offered);
    writer_str(&w, "e");
    peer_msg_write_extended(&h->w, 0, writer_bytes(&w));
    hand_flush(h);
    w = writer_init(payload, sizeof(payload));
    ut_metadata_write_data(&w, 0, told);
    writer_put(&w, data);
    peer_msg_write_extended(&h->w, EXT_OUR_ID(EXT_METADATA), writer_bytes(&w));
    hand_flush(h);
}

static void test_metadata_of_another_size(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    swarm_magnet(&h->sw, h->n);
    hand_metadata(h, hand_hash(h), 500, 600, BYTES_LIT("x"));
    assert_int_equal(count(h, "metadata_bad"), 1);
    assert_true(mem_raw_is_closed(h->sw.world, h->raw));
    hand_free(h);
}

static void test_metadata_of_another_torrent(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    swarm_magnet(&h->sw, h->n);
    hand_metadata(h, hand_hash(h), 5, 5, BYTES_LIT("d1:xe"));
    assert_int_equal(count(h, "metadata_hash_bad"), 1);
    assert_int_equal(count(h, "peers_banned"), 1); /* it sent all of it */
    assert_true(mem_raw_is_closed(h->sw.world, h->raw));
    hand_free(h);
}

static void test_metadata_that_is_no_torrent(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct bytes info = BYTES_LIT("d4:name1:xe");
    struct torrent_params p = {.dir = "d"};
    struct magnet m = {.has_v1 = true};
    sha1(info, m.infohash_v1);
    p.magnet = &m;
    swarm_add(&h->sw, h->n, &p);
    hand_metadata(h, m.infohash_v1, info.len, info.len, info);
    assert_int_equal(count(h, "metadata_unusable"), 1);
    assert_int_equal(count(h, "peers_banned"), 0); /* it is what was asked for */
    assert_int_equal(swarm_state(&h->sw, h->n), TORRENT_ERROR);
    hand_free(h);
}

/* --- transfer -------------------------------------------------------------------------------- */

static bool is_snubbed(const struct hand *h)
{
    return count(h, "peers_snubbed") > 0;
}

static bool has_first_piece(const struct hand *h)
{
    return bitset_get(&session_torrent(h->n->session, h->sw.torrents[0])->have, 0);
}

/* Some minutes at most, and it says that it is alive. */
static void hand_wait(struct hand *h, bool (*is_so)(const struct hand *h))
{
    for (int i = 0; i < 100 && !is_so(h); i++) {
        mem_world_run_for(h->sw.world, 2000000);
        peer_msg_write_keep_alive(&h->w);
        hand_flush(h);
    }
}

/* A peer with one piece takes requests and is silent; another one gives the piece; then the first
 * sends a block after all. */
static void test_a_block_that_comes_too_late(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct mem_node *seed = swarm_node(&h->sw);
    static const uint8_t block[16384];
    swarm_seed(&h->sw, seed);
    session_set_limits(seed->session, h->sw.world->now_us, 0, 20000);
    swarm_leech(&h->sw, h->n);
    hand_dial(h, hand_hash(h), WIRE_FAST);
    peer_msg_write_bitfield(&h->w, BYTES_LIT("\x80\0\0\0"));
    peer_msg_write_plain(&h->w, MSG_UNCHOKE);
    hand_flush(h);
    hand_wait(h, is_snubbed);
    assert_int_equal(count(h, "peers_snubbed"), 1);
    swarm_meet(&h->sw, h->n, seed);
    hand_wait(h, has_first_piece);
    assert_true(has_first_piece(h) && count(h, "requests_timed_out") >= 1);
    assert_int_equal(count(h, "block_late"), 0);
    peer_msg_write_piece_head(&h->w, &(struct wire_block){0, 0, 16384});
    writer_put(&h->w, bytes_of(block, sizeof(block)));
    hand_flush(h);
    assert_int_equal(count(h, "block_late"), 1);
    assert_int_equal(count(h, "block_unrequested"), 0);
    assert_false(mem_raw_is_closed(h->sw.world, h->raw));
    hand_free(h);
}

/* The first request that it heard. */
static struct wire_block hand_request(const struct hand *h)
{
    static const uint8_t head[] = {0, 0, 0, 13, MSG_REQUEST};
    struct bytes heard = mem_raw_heard(h->sw.world, h->raw);
    const uint8_t *at = memmem(heard.data, heard.len, head, sizeof(head));
    assert_non_null(at);
    struct reader r = reader_init(bytes_of(at + sizeof(head), 12));
    struct wire_block b = {0};
    b.piece = reader_u32be(&r);
    b.begin = reader_u32be(&r);
    b.len = reader_u32be(&r);
    return b;
}

/* The block is dropped, not the peer, and asked for again. */
static void test_no_memory_for_a_block(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct mem_node *seed = swarm_node(&h->sw);
    static const uint8_t block[16384];
    swarm_seed(&h->sw, seed);
    swarm_leech(&h->sw, h->n);
    hand_dial(h, hand_hash(h), WIRE_FAST);
    peer_msg_write_plain(&h->w, MSG_HAVE_ALL);
    peer_msg_write_plain(&h->w, MSG_UNCHOKE);
    hand_flush(h);
    struct wire_block b = hand_request(h);
    h->n->mem.budget_len = h->n->mem.used_len;
    peer_msg_write_piece_head(&h->w, &b);
    writer_put(&h->w, bytes_of(block, b.len));
    hand_flush(h);
    assert_int_equal(count(h, "block_no_buffer"), 1);
    assert_false(mem_raw_is_closed(h->sw.world, h->raw));
    h->n->mem.budget_len = MEM_NO_BUDGET;
    swarm_meet(&h->sw, h->n, seed);
    assert_true(swarm_run_to_seeding(&h->sw, 300));
    hand_free(h);
}

static void test_storage_that_fails(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    h->n->fail_job_at = 1;
    swarm_leech(&h->sw, h->n);
    mem_world_run_for(h->sw.world, 1000000);
    assert_int_equal(count(h, "store_errors"), 1);
    assert_int_equal(swarm_state(&h->sw, h->n), TORRENT_ERROR);
    hand_free(h);
}

static void test_events_that_nobody_fetches(void **state)
{
    (void)state;
    struct hand *h = hand_new(CONTENT_V1);
    struct session_event e = {.kind = EVENT_PIECE};
    for (uint32_t i = 0; i < SESSION_EVENTS_MAX + 10; i++) {
        e.piece = i;
        session_event_push(h->n->session, &e);
    }
    assert_int_equal(count(h, "events_dropped"), 10);
    assert_true(session_next_event(h->n->session, &e));
    assert_int_equal(e.piece, 10); /* the oldest went */
    hand_free(h);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_lives_are_counted),
        cmocka_unit_test(test_a_banned_address_stays_out),
        cmocka_unit_test(test_another_torrents_handshake),
        cmocka_unit_test(test_no_memory_for_a_connection),
        cmocka_unit_test(test_a_later_bitfield),
        cmocka_unit_test(test_more_requests_than_reqq),
        cmocka_unit_test(test_more_requests_of_a_fast_one),
        cmocka_unit_test(test_gossip_that_is_not_wanted),
        cmocka_unit_test(test_metadata_of_another_size),
        cmocka_unit_test(test_metadata_of_another_torrent),
        cmocka_unit_test(test_metadata_that_is_no_torrent),
        cmocka_unit_test(test_a_block_that_comes_too_late),
        cmocka_unit_test(test_no_memory_for_a_block),
        cmocka_unit_test(test_storage_that_fails),
        cmocka_unit_test(test_events_that_nobody_fetches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
