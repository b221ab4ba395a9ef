/* Liars, and hand-made peers that break each rule: every refusal has its counter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "swarm.h"
#include "torrent/ext_handshake.h"
#include "torrent/metainfo.h"
#include "torrent/peer_wire.h"
#include "torrent/pex.h"
#include "torrent/ut_metadata.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const enum content_version versions[] = {CONTENT_V1, CONTENT_V2, CONTENT_HYBRID};

/* --- liars ----------------------------------------------------------------------------------- */

static void run_with_liar(unsigned round, uint32_t corrupt_piece, uint32_t piece_len)
{
    struct swarm sw = swarm_new(&(struct swarm_params){.seed = 40 + round,
                                                       .version = versions[round % 3],
                                                       .len = 3000000,
                                                       .piece_len = piece_len,
                                                       .n_files = 2,
                                                       .chunk_max = 20000});
    struct mem_node *seed = swarm_node(&sw), *liar = swarm_node(&sw), *leech = swarm_node(&sw);
    sw.world->is_shuffling = round % 2;
    swarm_seed(&sw, seed);
    swarm_seed(&sw, liar);
    liar->is_corrupting = true;
    liar->corrupt_piece = corrupt_piece;
    swarm_leech(&sw, leech);
    swarm_meet(&sw, leech, seed);
    swarm_meet(&sw, leech, liar);
    if (!swarm_run_to_seeding(&sw, 300))
        fail_msg("round %u: not finished", round);
    swarm_assert_disk(&sw, leech);
    assert_true(sw.n_bad_pieces > 0 || swarm_counter(leech, "blocks_bad") > 0);
    assert_int_equal(sw.n_banned, 1);
    assert_true(addr_ip_equal(&sw.banned, &liar->addr));
    swarm_stop(&sw, leech);
    swarm_free(&sw);
}

static void test_liar_is_found(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++)
        run_with_liar(round, UINT32_MAX, round % 2 ? 65536 : 262144);
}

static void test_single_block_pieces(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++)
        run_with_liar(round, UINT32_MAX, 16384);
}

/* More than one put per piece: what was written must be read back to tell who lied. */
static void test_liar_in_long_pieces(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 70 + round,
                                                           .version = versions[round % 3],
                                                           .len = 8000000,
                                                           .piece_len = 1u << 22,
                                                           .chunk_max = 40000});
        struct mem_node *seed = swarm_node(&sw), *liar = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_seed(&sw, liar);
        liar->is_corrupting = true;
        swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        swarm_meet(&sw, leech, liar);
        assert_true(swarm_run_to_seeding(&sw, 300));
        swarm_assert_disk(&sw, leech);
        assert_int_equal(sw.n_banned, 1);
        assert_true(addr_ip_equal(&sw.banned, &liar->addr));
        swarm_free(&sw);
    }
}

/* A peer that takes requests and never answers does not hold up the end. */
static void test_silent_peer(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 77, .version = CONTENT_V1, .len = 3000000, .piece_len = 65536});
    struct mem_node *seed = swarm_node(&sw), *mute = swarm_node(&sw), *leech = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_seed(&sw, mute);
    swarm_leech(&sw, leech);
    swarm_meet(&sw, leech, mute);
    session_set_limits(leech->session, sw.world->now_us, 200000, 0);
    mem_world_run_for(sw.world, 1000000);
    mute->is_mute = true;
    swarm_meet(&sw, leech, seed);
    uint64_t began = sw.world->now_us;
    assert_true(swarm_run_to_seeding(&sw, 60));
    assert_true(sw.world->now_us < began + 50 * (uint64_t)US_PER_S);
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

/* --- hand-made peers ------------------------------------------------------------------------- */

struct raw {
    struct swarm sw;
    struct mem_node *n;
    struct addr from;
    uint32_t raw;
    uint8_t buf[400000];
    struct writer w;
};

static struct handshake raw_handshake(const struct raw *r, uint32_t features)
{
    struct handshake h = {0};
    handshake_set_features(&h, features);
    memcpy(h.infohash, metainfo_key(r->sw.content->info), 20);
    memcpy(h.peer_id, "-RW0001-abcdefghijkl", 20);
    return h;
}

static void raw_flush(struct raw *r)
{
    mem_raw_send(r->sw.world, r->raw, writer_bytes(&r->w));
    r->w = writer_init(r->buf, sizeof(r->buf));
    mem_world_run_for(r->sw.world, 1000);
}

static struct raw *raw_new(bool is_seed, uint32_t features)
{
    struct raw *r = calloc(1, sizeof(*r));
    r->sw = swarm_new(&(struct swarm_params){
        .seed = 3, .version = CONTENT_HYBRID, .len = 1000000, .piece_len = 32768});
    r->n = swarm_node(&r->sw);
    r->from = addr_v4(10, 1, 2, 3, 5000);
    r->w = writer_init(r->buf, sizeof(r->buf));
    if (is_seed)
        swarm_seed(&r->sw, r->n);
    else
        swarm_leech(&r->sw, r->n);
    mem_world_run_for(r->sw.world, 1000);
    r->raw = mem_raw_dial(r->sw.world, r->n, &r->from);
    assert_int_not_equal(r->raw, UINT32_MAX);
    if (features != UINT32_MAX) {
        struct handshake h = raw_handshake(r, features);
        handshake_write(&r->w, &h);
        raw_flush(r);
    }
    return r;
}

static void raw_free(struct raw *r)
{
    swarm_free(&r->sw);
    free(r);
}

/* What to say after the handshake. */
static void say_two_bitfields(struct raw *r)
{
    peer_msg_write_plain(&r->w, MSG_HAVE_NONE);
    peer_msg_write_plain(&r->w, MSG_HAVE_NONE);
}

static void say_short_bitfield(struct raw *r)
{
    peer_msg_write_bitfield(&r->w, BYTES_LIT("\xff"));
}

static void say_spare_bits(struct raw *r)
{
    peer_msg_write_bitfield(&r->w, BYTES_LIT("\xff\xff\xff\xff"));
}

static void say_far_have(struct raw *r)
{
    peer_msg_write_piece_index(&r->w, MSG_HAVE, 31);
}

static void say_have_twice(struct raw *r)
{
    peer_msg_write_piece_index(&r->w, MSG_HAVE, 3);
    peer_msg_write_piece_index(&r->w, MSG_HAVE, 3);
}

static void say_far_suggest(struct raw *r)
{
    peer_msg_write_piece_index(&r->w, MSG_SUGGEST, 1000);
}

static void say_suggest(struct raw *r)
{
    peer_msg_write_piece_index(&r->w, MSG_SUGGEST, 1);
}

static void say_far_request(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){31, 0, 16384});
}

static void say_past_end(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){0, 16385, 16384});
}

static void say_wrapping_request(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){0, 0xffffff00, 0x200});
}

static void say_long_request(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){0, 0, 131073});
}

static void say_request(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){0, 0, 16384});
}

static void say_request_twice(struct raw *r)
{
    peer_msg_write_plain(&r->w, MSG_INTERESTED);
    raw_flush(r);
    mem_world_run_for(r->sw.world, 20000000);
    session_set_limits(r->n->session, r->sw.world->now_us, 0, 1); /* so that they wait */
    for (int i = 0; i < 4; i++)
        peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){0, 0, 16384});
    for (int i = 0; i < 4; i++)
        peer_msg_write_block(&r->w, MSG_REQUEST, &(struct wire_block){1, 0, 16384});
}

static void say_cancel(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_CANCEL, &(struct wire_block){0, 0, 16384});
}

static void say_reject(struct raw *r)
{
    peer_msg_write_block(&r->w, MSG_REJECT, &(struct wire_block){0, 0, 16384});
}

static void say_block(struct raw *r)
{
    peer_msg_write_piece_head(&r->w, &(struct wire_block){0, 0, 1000});
    writer_fill(&r->w, 7, 1000);
}

static void say_many_blocks(struct raw *r)
{
    for (int i = 0; i < 66; i++)
        say_block(r);
}

static void say_unknown(struct raw *r)
{
    writer_u32be(&r->w, 5);
    writer_u8(&r->w, 99);
    writer_u32be(&r->w, 1);
}

static void say_huge(struct raw *r)
{
    writer_u32be(&r->w, 0x7fffffff);
    writer_u8(&r->w, MSG_BITFIELD);
}

static void say_port(struct raw *r)
{
    peer_msg_write_port(&r->w, 1234);
}

static void say_unknown_extended(struct raw *r)
{
    peer_msg_write_extended(&r->w, 77, BYTES_LIT("de"));
}

static void say_bad_ext_handshake(struct raw *r)
{
    peer_msg_write_extended(&r->w, 0, BYTES_LIT("d1:"));
}

static void say_bad_metadata(struct raw *r)
{
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_METADATA), BYTES_LIT("x"));
}

static void say_unasked_metadata(struct raw *r)
{
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_METADATA),
                            BYTES_LIT("d8:msg_typei1e5:piecei0e10:total_sizei5eehello"));
}

static void say_far_metadata_request(struct raw *r)
{
    peer_msg_write_extended(&r->w, 0, BYTES_LIT("d1:md11:ut_metadatai3eee"));
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_METADATA),
                            BYTES_LIT("d8:msg_typei0e5:piecei9ee"));
}

static void say_metadata_flood(struct raw *r)
{
    peer_msg_write_extended(&r->w, 0, BYTES_LIT("d1:md11:ut_metadatai3eee"));
    for (int i = 0; i < 2200; i++)
        peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_METADATA),
                                BYTES_LIT("d8:msg_typei0e5:piecei9ee"));
}

static void say_bad_pex(struct raw *r)
{
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_PEX), BYTES_LIT("d5:added5:aaaaae"));
}

static void say_early_pex(struct raw *r)
{
    for (unsigned i = 0; i <= PEX_IN_BURST; i++)
        peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_PEX), BYTES_LIT("de"));
}

static void say_pex_flood(struct raw *r)
{
    for (unsigned i = 0; i <= PEX_IN_BURST + PEX_IN_EARLY_MAX; i++)
        peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_PEX), BYTES_LIT("de"));
}

static void say_far_donthave(struct raw *r)
{
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_DONTHAVE), BYTES_LIT("\0\0\1\0"));
}

static void say_bad_donthave(struct raw *r)
{
    peer_msg_write_extended(&r->w, EXT_OUR_ID(EXT_DONTHAVE), BYTES_LIT("\0\0\1"));
}

static void say_bad_hash_request(struct raw *r)
{
    peer_msg_write_hash_request(&r->w, &(struct merkle_request){.base_layer = 1, .length = 3});
}

static void say_unasked_hashes(struct raw *r)
{
    uint8_t hashes[64] = {0};
    peer_msg_write_hashes(&r->w, &(struct merkle_request){.base_layer = 1, .length = 2},
                          bytes_of(hashes, 64));
}

static void say_have_all(struct raw *r)
{
    peer_msg_write_plain(&r->w, MSG_HAVE_ALL);
}

static void say_request_flood(struct raw *r)
{
    mem_world_run_for(r->sw.world, 15000000);
    peer_msg_write_plain(&r->w, MSG_HAVE_NONE);
    for (int i = 0; i < 310; i++)
        say_request(r);
}

/* It reads nothing, and makes us say much. */
static void say_much_read_nothing(struct raw *r)
{
    peer_msg_write_plain(&r->w, MSG_HAVE_NONE);
    r->sw.world->conns[r->raw].ends[0].is_reading_paused = true;
    for (int k = 0; k < 8 && !mem_raw_is_closed(r->sw.world, r->raw); k++) {
        for (int i = 0; i < 14000; i++)
            say_request(r);
        raw_flush(r);
    }
}

#define ALL_FEATURES (WIRE_FAST | WIRE_EXTENSION | WIRE_V2)

static const struct {
    const char *counter;
    void (*say)(struct raw *r);
    bool is_against_seed, is_closed;
    uint32_t features;
} rules[] = {
    {"bitfield_twice", say_two_bitfields, true, true, ALL_FEATURES},
    {"msg_malformed", say_short_bitfield, true, true, ALL_FEATURES},
    {"bitfield_malformed", say_spare_bits, true, true, ALL_FEATURES},
    {"have_out_of_range", say_far_have, true, true, ALL_FEATURES},
    {"have_duplicate", say_have_twice, true, false, 0},
    {"index_out_of_range", say_far_suggest, true, true, ALL_FEATURES},
    {"msg_malformed", say_suggest, true, true, 0}, /* BEP 6 was not agreed */
    {"suggest_ignored", say_suggest, true, false, ALL_FEATURES},
    {"request_out_of_range", say_far_request, true, true, ALL_FEATURES},
    {"request_out_of_range", say_past_end, true, true, ALL_FEATURES},
    {"request_out_of_range", say_wrapping_request, true, true, ALL_FEATURES},
    {"msg_malformed", say_long_request, true, true, ALL_FEATURES},
    {"request_while_choked", say_request, true, false, ALL_FEATURES},
    {"request_while_choked", say_request, true, false, 0},
    {"request_not_had", say_request, false, false, ALL_FEATURES},
    {"request_flood_closed", say_request_flood, true, true, ALL_FEATURES},
    {"request_duplicate", say_request_twice, true, false, ALL_FEATURES},
    {"outq_overflow", say_much_read_nothing, true, true, ALL_FEATURES},
    {"cancel_unknown", say_cancel, true, false, ALL_FEATURES},
    {"reject_unknown", say_reject, false, false, ALL_FEATURES},
    {"block_unrequested", say_block, false, false, 0},
    {"block_unrequested", say_block, true, false, ALL_FEATURES},
    {"block_unrequested_closed", say_many_blocks, false, true, 0},
    {"msg_unknown", say_unknown, true, false, 0},
    {"msg_malformed", say_huge, true, true, 0},
    {"port_ignored", say_port, true, false, 0},
    {"extended_unknown", say_unknown_extended, true, false, ALL_FEATURES},
    {"extended_malformed", say_bad_ext_handshake, true, true, ALL_FEATURES},
    {"extended_malformed", say_bad_metadata, true, true, ALL_FEATURES},
    {"metadata_unasked", say_unasked_metadata, true, false, ALL_FEATURES},
    {"metadata_refused", say_far_metadata_request, true, false, ALL_FEATURES},
    {"metadata_flood", say_metadata_flood, true, true, ALL_FEATURES},
    {"pex_malformed", say_bad_pex, true, true, ALL_FEATURES},
    {"pex_early", say_early_pex, true, false, ALL_FEATURES},
    {"pex_malformed", say_pex_flood, true, true, ALL_FEATURES},
    {"index_out_of_range", say_far_donthave, true, true, ALL_FEATURES},
    {"extended_malformed", say_bad_donthave, true, true, ALL_FEATURES},
    {"hash_requests_rejected", say_bad_hash_request, true, false, ALL_FEATURES},
    {"hashes_unasked", say_unasked_hashes, true, false, ALL_FEATURES},
    {"seed_to_seed_closed", say_have_all, true, true, ALL_FEATURES},
};

static void test_each_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        struct raw *r = raw_new(rules[i].is_against_seed, rules[i].features);
        assert_false(mem_raw_is_closed(r->sw.world, r->raw));
        assert_int_equal(swarm_counter(r->n, rules[i].counter), 0);
        rules[i].say(r);
        raw_flush(r);
        if (swarm_counter(r->n, rules[i].counter) == 0)
            fail_msg("rule %zu: %s was not counted", i, rules[i].counter);
        if (mem_raw_is_closed(r->sw.world, r->raw) != rules[i].is_closed)
            fail_msg("rule %zu: %s closed: %d", i, rules[i].counter, !rules[i].is_closed);
        mem_raw_close(r->sw.world, r->raw);
        mem_world_run_for(r->sw.world, 1000000);
        raw_free(r);
    }
}

static void test_handshakes(void **state)
{
    (void)state;
    static const char *const counters[] = {"handshake_not_bittorrent", "handshake_unknown_infohash",
                                           "handshake_self", "handshake_inactive_torrent",
                                           "handshake_timeout"};
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        struct raw *r = raw_new(true, UINT32_MAX);
        struct handshake h = raw_handshake(r, ALL_FEATURES);
        if (i == 0)
            writer_str(&r->w, "GET /announce HTTP/1.1\r\n");
        if (i == 1)
            h.infohash[3] ^= 1;
        if (i == 2)
            memcpy(h.peer_id, mem_node_config(r->n).peer_id, 20);
        if (i == 3)
            session_pause(r->n->session, r->sw.world->now_us, r->sw.torrents[0]);
        if (i >= 1 && i < 4)
            handshake_write(&r->w, &h);
        if (i == 4)
            mem_world_run_for(r->sw.world, 21000000);
        raw_flush(r);
        assert_int_equal(swarm_counter(r->n, counters[i]), 1);
        assert_true(mem_raw_is_closed(r->sw.world, r->raw));
        mem_raw_close(r->sw.world, r->raw);
        raw_free(r);
    }
}

/* Both hashes of a hybrid lead to it; with the v2 bit the answer names the v2 hash (BEP 52). */
static void test_handshake_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct raw *r = raw_new(true, UINT32_MAX);
        const struct metainfo *info = r->sw.content->info;
        struct handshake h = raw_handshake(r, i == 1 ? ALL_FEATURES : WIRE_FAST), answer;
        if (i == 2)
            memcpy(h.infohash, info->infohash_v2, 20);
        handshake_write(&r->w, &h);
        raw_flush(r);
        struct bytes heard = mem_raw_heard(r->sw.world, r->raw);
        assert_true(heard.len >= HANDSHAKE_LEN);
        assert_int_equal(handshake_read(bytes_sub(heard, 0, HANDSHAKE_LEN), &answer, NULL), 0);
        assert_memory_equal(answer.infohash, i == 0 ? info->infohash_v1 : info->infohash_v2, 20);
        assert_int_equal(handshake_features(&answer), ALL_FEATURES);
        struct peer_stats st;
        assert_int_equal(
            session_peers(r->n->session, r->sw.world->now_us, r->sw.torrents[0], &st, 1), 1);
        assert_int_equal(st.is_v2, i > 0);
        mem_raw_close(r->sw.world, r->raw);
        raw_free(r);
    }
}

/* A second connection of the same peer: the older stays. */
static void test_duplicate(void **state)
{
    (void)state;
    struct raw *r = raw_new(true, ALL_FEATURES);
    uint32_t first = r->raw;
    r->from.port++;
    r->raw = mem_raw_dial(r->sw.world, r->n, &r->from);
    struct handshake h = raw_handshake(r, ALL_FEATURES);
    handshake_write(&r->w, &h);
    raw_flush(r);
    assert_int_equal(swarm_counter(r->n, "handshake_duplicate"), 1);
    assert_false(mem_raw_is_closed(r->sw.world, first));
    assert_true(mem_raw_is_closed(r->sw.world, r->raw));
    raw_free(r);
}

/* Silence is answered with keep-alives, and then with a close. */
static void test_silence(void **state)
{
    (void)state;
    struct raw *r = raw_new(true, ALL_FEATURES);
    size_t heard = mem_raw_heard(r->sw.world, r->raw).len;
    mem_world_run_for(r->sw.world, 110 * (uint64_t)US_PER_S);
    assert_int_equal(mem_raw_heard(r->sw.world, r->raw).len, heard + 4);
    assert_false(mem_raw_is_closed(r->sw.world, r->raw));
    mem_world_run_for(r->sw.world, 50 * (uint64_t)US_PER_S);
    assert_true(mem_raw_is_closed(r->sw.world, r->raw));
    assert_int_equal(swarm_counter(r->n, "peers_timed_out"), 1);
    raw_free(r);
}

/* More connections than there is room for: somebody useless goes, if there is anybody. */
static void test_connection_limits(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 3, .version = CONTENT_V1, .len = 1000000, .piece_len = 32768});
    struct mem_node *n = mem_world_add(sw.world);
    struct session_config c = mem_node_config(n);
    c.n_conns_max = 20;
    c.n_conns_per_torrent_max = 10;
    assert_true(mem_node_up(n, &c));
    swarm_seed(&sw, n);
    mem_world_run_for(sw.world, 1000);
    struct handshake h = {0};
    memcpy(h.infohash, metainfo_key(sw.content->info), 20);
    for (unsigned i = 0; i < 40; i++) {
        uint8_t buf[HANDSHAKE_LEN];
        struct writer w = writer_init(buf, sizeof(buf));
        struct addr from = addr_v4(10, 5, 0, (uint8_t)i, 999);
        snprintf((char *)h.peer_id, 20, "peer %u", i);
        handshake_write(&w, &h);
        if (i == 30)
            mem_world_run_for(sw.world, 61000000);
        uint32_t raw = mem_raw_dial(sw.world, n, &from);
        assert_int_not_equal(raw, UINT32_MAX);
        mem_raw_send(sw.world, raw, writer_bytes(&w));
        mem_world_run_for(sw.world, 1000);
        assert_int_equal(mem_raw_is_closed(sw.world, raw), i >= 10 && i < 30);
    }
    assert_int_equal(swarm_counter(n, "accept_refused_limit"), 20);
    assert_int_equal(swarm_counter(n, "peers_evicted"), 10);
    /* and those that say nothing keep a part of the room only */
    unsigned n_open = 0;
    uint32_t silent[60];
    for (unsigned i = 0; i < 60; i++) {
        struct addr from = addr_v4(10, 6, 0, (uint8_t)i, 999);
        silent[i] = mem_raw_dial(sw.world, n, &from);
        assert_int_not_equal(silent[i], UINT32_MAX);
    }
    for (unsigned i = 0; i < 60; i++)
        n_open += !mem_raw_is_closed(sw.world, silent[i]);
    assert_int_equal(n_open, 9);
    assert_int_equal(swarm_counter(n, "strangers_evicted"), 51);
    session_check(n->session);
    swarm_free(&sw);
}

/* Before the metadata is here bitfields of any length must be kept: but not without end. */
static void test_early_bitfields(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 3, .version = CONTENT_V1, .len = 100000, .piece_len = 32768});
    struct mem_node *n = swarm_node(&sw);
    swarm_magnet(&sw, n);
    static uint8_t bits[BITFIELD_LEN_MAX], buf[BITFIELD_LEN_MAX + 200];
    struct handshake h = {0};
    memcpy(h.infohash, metainfo_key(sw.content->info), 20);
    for (unsigned i = 0; i < 20; i++) {
        struct addr from = addr_v4(10, 5, 0, (uint8_t)i, 999);
        struct writer w = writer_init(buf, sizeof(buf));
        snprintf((char *)h.peer_id, 20, "peer %u", i);
        handshake_write(&w, &h);
        peer_msg_write_bitfield(&w, bytes_of(bits, sizeof(bits)));
        uint32_t raw = mem_raw_dial(sw.world, n, &from);
        mem_raw_send(sw.world, raw, bytes_of(buf, 100000));
        mem_world_run_for(sw.world, 1000);
        mem_raw_send(sw.world, raw, bytes_of(buf + 100000, w.pos - 100000));
        mem_world_run_for(sw.world, 1000);
        assert_int_equal(mem_raw_is_closed(sw.world, raw), i >= 16);
    }
    assert_int_equal(swarm_counter(n, "msg_early"), 4);
    swarm_free(&sw);
}

static void test_banned_and_local(void **state)
{
    (void)state;
    struct swarm sw = swarm_new(&(struct swarm_params){
        .seed = 3, .version = CONTENT_V1, .len = 100000, .piece_len = 32768});
    struct mem_node *n = mem_world_add(sw.world);
    struct session_config c = mem_node_config(n);
    c.is_local_peers_only = true;
    assert_true(mem_node_up(n, &c));
    swarm_seed(&sw, n);
    struct addr outside = addr_v4(8, 8, 8, 8, 999), inside = addr_v4(192, 168, 1, 1, 5);
    assert_int_equal(mem_raw_dial(sw.world, n, &outside), UINT32_MAX);
    assert_int_equal(swarm_counter(n, "accept_refused_local_only"), 1);
    session_add_peer(n->session, sw.world->now_us, sw.torrents[0], &outside);
    assert_int_equal(swarm_counter(n, "peers_refused_local_only"), 1);
    assert_int_not_equal(mem_raw_dial(sw.world, n, &inside), UINT32_MAX);
    swarm_free(&sw);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_liar_is_found),
        cmocka_unit_test(test_single_block_pieces),
        cmocka_unit_test(test_liar_in_long_pieces),
        cmocka_unit_test(test_silent_peer),
        cmocka_unit_test(test_each_rule),
        cmocka_unit_test(test_handshakes),
        cmocka_unit_test(test_handshake_answers),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_banned_and_local),
        cmocka_unit_test(test_early_bitfields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
