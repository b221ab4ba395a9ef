/* How peers are found and what they are told: trackers, gossip, allowed fast, donthave, end-game;
 * and a torrent whose two halves disagree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "swarm.h"
#include "torrent/ext_handshake.h"
#include "torrent/metainfo.h"
#include "torrent/peer_wire.h"
#include "torrent/wire_in.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct swarm plain_swarm(uint64_t seed, enum content_version version)
{
    return swarm_new(&(struct swarm_params){
        .seed = seed, .version = version, .len = 64 * 32768, .piece_len = 32768, .n_files = 2});
}

/* --- trackers ------------------------------------------------------------------------------------ */

struct tracker_log {
    unsigned n_started, n_completed, n_stopped, n_announces;
    bool is_down;
};

static struct tracker_log tracker_log;

/* A tracker that knows the first node. */
static bool track(struct mem_world *w, struct mem_node *n, const char *url, uint32_t *out_status,
                  uint8_t *out, size_t out_cap, size_t *out_len)
{
    (void)w, (void)n;
    tracker_log.n_announces++;
    tracker_log.n_started += strstr(url, "event=started") != NULL;
    tracker_log.n_completed += strstr(url, "event=completed") != NULL;
    tracker_log.n_stopped += strstr(url, "event=stopped") != NULL;
    if (tracker_log.is_down)
        return false;
    struct writer body = writer_init(out, out_cap);
    writer_str(&body, "d8:intervali1800e5:peers6:");
    writer_put(&body, bytes_of("\x0a\x00\x00\x01\x1a\xe1", 6)); /* 10.0.0.1:6881 */
    writer_str(&body, "e");
    *out_status = 200;
    *out_len = body.pos;
    return true;
}

static struct mem_node *node_with_tracker(struct swarm *sw, bool is_seed)
{
    struct mem_node *n = mem_world_add(sw->world);
    struct session_config c = mem_node_config(n);
    static const char *const urls[] = {"http://tracker.example/announce"};
    c.is_announce_off = false;
    assert_true(mem_node_up(n, &c));
    struct torrent_params p = swarm_params_of(sw, n);
    assert_int_equal(metainfo_add_tracker(p.info, urls[0], 0), ERR_OK);
    p.is_seed_only = is_seed;
    if (is_seed)
        swarm_fill_disk(sw, n);
    p.check = is_seed ? CHECK_TRUST : CHECK_IF_NEEDED;
    swarm_add(sw, n, &p);
    return n;
}

static void test_tracker(void **state)
{
    (void)state;
    struct swarm sw = plain_swarm(1, CONTENT_V1);
    tracker_log = (struct tracker_log){0};
    sw.world->fetch = track;
    struct mem_node *seed = node_with_tracker(&sw, true);
    struct mem_node *leech = node_with_tracker(&sw, false);
    assert_true(swarm_run_to_seeding(&sw, 60));
    mem_world_run_for(sw.world, 3000000);
    assert_int_equal(tracker_log.n_started, 2 * 2); /* over IPv4 and IPv6 */
    assert_int_equal(tracker_log.n_completed, 2);
    assert_true(swarm_counter(leech, "tracker_peers") >= 1);
    assert_int_equal(swarm_counter(seed, "handshake_self"), 1); /* it was told of itself */
    swarm_stop(&sw, leech);
    swarm_stop(&sw, seed);
    assert_int_equal(tracker_log.n_stopped, 2 * 2);
    swarm_free(&sw);
}

static void test_tracker_is_down(void **state)
{
    (void)state;
    struct swarm sw = plain_swarm(2, CONTENT_V1);
    tracker_log = (struct tracker_log){.is_down = true};
    sw.world->fetch = track;
    struct mem_node *leech = node_with_tracker(&sw, false);
    mem_world_run_for(sw.world, 5000000);
    char why[1000];
    session_torrent_why(leech->session, sw.world->now_us, sw.torrents[0], why, sizeof(why));
    assert_non_null(strstr(why, "no peers are known"));
    assert_non_null(strstr(why, "the tracker failed"));
    assert_non_null(strstr(why, "connection refused"));
    swarm_stop(&sw, leech); /* and does not wait for it for ever */
    swarm_free(&sw);
}

/* --- gossip --------------------------------------------------------------------------------------- */

/* b and c know the seed alone; they learn of each other from it (BEP 11). */
static void test_gossip(void **state)
{
    (void)state;
    struct swarm sw = plain_swarm(3, CONTENT_V1);
    struct mem_node *seed = swarm_node(&sw), *b = swarm_node(&sw), *c = swarm_node(&sw);
    swarm_seed(&sw, seed);
    swarm_leech(&sw, b);
    swarm_leech(&sw, c);
    session_set_limits(seed->session, sw.world->now_us, 0, 20000);
    swarm_meet(&sw, b, seed);
    swarm_meet(&sw, c, seed);
    mem_world_run_for(sw.world, 90 * (uint64_t)US_PER_S);
    assert_true(swarm_counter(b, "pex_peers") + swarm_counter(c, "pex_peers") > 0);
    assert_int_equal(swarm_stats(&sw, b).n_peers, 2);
    assert_int_equal(swarm_stats(&sw, c).n_peers, 2);
    swarm_free(&sw);
}

/* --- a hand-made leech and a hand-made seed --------------------------------------------------------- */

struct hand {
    struct swarm sw;
    struct mem_node *n;
    struct addr from;
    uint32_t raw;
    struct wire_in in;
    struct mem mem;
};

static void hand_say(struct hand *h, struct writer *w)
{
    mem_raw_send(h->sw.world, h->raw, writer_bytes(w));
    *w = writer_init(w->buf, w->cap);
    mem_world_run_for(h->sw.world, 1000);
}

static void hand_open(struct hand *h, bool is_seed, enum content_version version)
{
    uint8_t buf[100];
    struct writer w = writer_init(buf, sizeof(buf));
    struct handshake hs = {0};
    *h = (struct hand){.sw = plain_swarm(4, version), .from = addr_v4(80, 4, 4, 200, 1000)};
    h->n = swarm_node(&h->sw);
    if (is_seed)
        swarm_seed(&h->sw, h->n);
    else
        swarm_leech(&h->sw, h->n);
    mem_world_run_for(h->sw.world, 1000);
    h->raw = mem_raw_dial(h->sw.world, h->n, &h->from);
    handshake_set_features(&hs, WIRE_FAST | WIRE_EXTENSION);
    memcpy(hs.infohash, metainfo_key(h->sw.content->info), 20);
    memcpy(hs.peer_id, "-HM0001-aaaaaaaaaaaa", 20);
    handshake_write(&w, &hs);
    hand_say(h, &w);
    mem_init(&h->mem, MEM_NO_BUDGET, NULL);
    wire_in_init(&h->in, &h->mem);
}

static void hand_close(struct hand *h)
{
    wire_in_clear(&h->in);
    mem_raw_close(h->sw.world, h->raw);
    mem_world_run_for(h->sw.world, 1000000);
    swarm_free(&h->sw);
}

/* Counts what was said to the hand, by message id. */
struct heard {
    unsigned n[64], n_blocks;
    uint32_t fast[16], n_fast;
    struct wire_block requests[5000], rejects[5000], cancels[5000];
};

static void hand_hear(struct hand *h, struct heard *out)
{
    struct wire_event ev;
    struct bytes heard = mem_raw_heard(h->sw.world, h->raw);
    memset(out, 0, sizeof(*out));
    wire_in_feed(&h->in, heard);
    while (wire_in_next(&h->in, &ev)) {
        if (ev.kind == WIRE_HANDSHAKE) {
            wire_in_set_features(&h->in, WIRE_FAST | WIRE_EXTENSION);
            wire_in_set_n_pieces(&h->in, h->sw.content->info->n_pieces);
        }
        if (ev.kind == WIRE_BLOCK_DATA && ev.is_done)
            out->n_blocks++;
        if (ev.kind != WIRE_MSG)
            continue;
        if (ev.msg.id == MSG_ALLOWED_FAST && out->n_fast < 16)
            out->fast[out->n_fast++] = ev.msg.piece;
        if (ev.msg.id == MSG_REQUEST)
            out->requests[out->n[MSG_REQUEST]] = ev.msg.block;
        if (ev.msg.id == MSG_REJECT)
            out->rejects[out->n[MSG_REJECT]] = ev.msg.block;
        if (ev.msg.id == MSG_CANCEL)
            out->cancels[out->n[MSG_CANCEL]] = ev.msg.block;
        out->n[ev.msg.id]++;
    }
    mem_raw_forget(h->sw.world, h->raw, heard.len);
}

static struct heard heard;

/* BEP 6: a choked newcomer gets its allowed pieces, each at most twice, and nothing else. */
static void test_allowed_fast(void **state)
{
    (void)state;
    static uint8_t buf[100000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct hand h;
    hand_open(&h, true, CONTENT_V1);
    session_set_limits(h.n->session, h.sw.world->now_us, 0, 0);
    peer_msg_write_plain(&w, MSG_HAVE_NONE);
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_HAVE_ALL], 1);
    assert_int_equal(heard.n_fast, 10);
    for (uint32_t i = 0; i < heard.n_fast; i++)
        for (uint32_t begin = 0; begin < 32768; begin += 16384)
            peer_msg_write_block(&w, MSG_REQUEST,
                                 &(struct wire_block){heard.fast[i], begin, 16384});
    hand_say(&h, &w);
    struct heard again;
    uint32_t fast = heard.fast[0];
    hand_hear(&h, &again);
    assert_int_equal(again.n_blocks, 20);
    assert_int_equal(again.n[MSG_REJECT], 0);
    for (unsigned i = 0; i < 30; i++) { /* the second helping, and no third */
        peer_msg_write_block(&w, MSG_REQUEST, &(struct wire_block){fast, 0, 16384});
        hand_say(&h, &w);
    }
    hand_hear(&h, &again);
    assert_int_equal(again.n_blocks, 20);
    assert_int_equal(again.n[MSG_REJECT], 10);
    hand_close(&h);
}

/* A choke rejects what waits; a cancel is answered with a reject (BEP 6). */
static void test_choke_rejects(void **state)
{
    (void)state;
    static uint8_t buf[100000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct hand h;
    hand_open(&h, true, CONTENT_V1);
    peer_msg_write_plain(&w, MSG_HAVE_NONE);
    peer_msg_write_plain(&w, MSG_INTERESTED);
    hand_say(&h, &w);
    mem_world_run_for(h.sw.world, 11000000);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_UNCHOKE], 1);
    session_set_limits(h.n->session, h.sw.world->now_us, 0, 1);
    for (uint32_t i = 0; i < 20; i++)
        peer_msg_write_block(&w, MSG_REQUEST, &(struct wire_block){i, 0, 16384});
    peer_msg_write_block(&w, MSG_CANCEL, &(struct wire_block){15, 0, 16384});
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_REJECT], 1);
    assert_int_equal(heard.rejects[0].piece, 15);
    assert_true(heard.n_blocks < 5);
    unsigned n_blocks = heard.n_blocks;
    peer_msg_write_plain(&w, MSG_NOT_INTERESTED);
    hand_say(&h, &w);
    mem_world_run_for(h.sw.world, 40000000);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_CHOKE], 1);
    /* each request ends in one block or one reject, but for the allowed fast pieces, which stay */
    assert_true(heard.n[MSG_REJECT] + heard.n_blocks + n_blocks + 1 >= 20 - 10);
    assert_true(heard.n[MSG_REJECT] > 0);
    hand_close(&h);
}

static void hand_answer(struct hand *h, struct writer *w, const struct wire_block *b)
{
    const struct metainfo *info = h->sw.content->info;
    peer_msg_write_piece_head(w, b);
    assert_true(writer_room(w) >= b->len);
    content_fill(h->sw.content, (uint64_t)b->piece * info->piece_len + b->begin, 0, w->buf + w->pos,
                 b->len);
    w->pos += b->len;
}

/* The engine as a leech of a hand-made seed: interest, requests, choke, rejects, donthave. */
static void test_hand_made_seed(void **state)
{
    (void)state;
    static uint8_t buf[250000];
    struct writer w = writer_init(buf, sizeof(buf));
    struct hand h;
    hand_open(&h, false, CONTENT_V1);
    peer_msg_write_plain(&w, MSG_HAVE_ALL);
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_HAVE_NONE], 1);
    assert_int_equal(heard.n[MSG_INTERESTED], 1);
    assert_int_equal(heard.n[MSG_REQUEST], 0);
    peer_msg_write_plain(&w, MSG_UNCHOKE);
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    assert_true(heard.n[MSG_REQUEST] >= 2);
    struct heard first = heard;
    for (unsigned i = 0; i < 2; i++)
        hand_answer(&h, &w, &first.requests[i]);
    peer_msg_write_plain(&w, MSG_CHOKE);
    for (unsigned i = 2; i < first.n[MSG_REQUEST]; i++)
        peer_msg_write_block(&w, MSG_REJECT, &first.requests[i]);
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    unsigned n_after = heard.n[MSG_REQUEST];
    for (unsigned i = 0; i < n_after; i++)
        peer_msg_write_block(&w, MSG_REJECT, &heard.requests[i]);
    hand_say(&h, &w);
    hand_hear(&h, &heard);
    assert_int_equal(heard.n[MSG_REQUEST], 0); /* choked: nothing is asked for */
    assert_int_equal(swarm_stats(&h.sw, h.n).down_total, 2 * 16384);
    /* it loses a piece, and is asked for all but that one (BEP 54) */
    uint8_t lost[4] = {0, 0, 0, 9};
    peer_msg_write_extended(&w, EXT_OUR_ID(EXT_DONTHAVE), bytes_of(lost, 4));
    peer_msg_write_plain(&w, MSG_UNCHOKE);
    hand_say(&h, &w);
    for (unsigned k = 0; k < 2000; k++) {
        hand_hear(&h, &heard);
        for (unsigned i = 0; i < heard.n[MSG_REQUEST]; i++) {
            assert_int_not_equal(heard.requests[i].piece, 9);
            hand_answer(&h, &w, &heard.requests[i]);
            if (writer_room(&w) < 20000)
                hand_say(&h, &w);
        }
        hand_say(&h, &w);
    }
    struct torrent_stats st = swarm_stats(&h.sw, h.n);
    assert_int_equal(st.n_have, st.n_pieces - 1);
    assert_int_equal(st.min_availability, 0);
    char why[1000];
    session_torrent_why(h.n->session, h.sw.world->now_us, h.sw.torrents[0], why, sizeof(why));
    assert_non_null(strstr(why, "no connected peer has piece 9"));
    hand_close(&h);
}

/* --- end-game --------------------------------------------------------------------------------------- */

/* Two slow seeds: the last blocks are asked of both, the loser is told to stop. */
static void test_endgame(void **state)
{
    (void)state;
    struct swarm sw = plain_swarm(8, CONTENT_V1);
    struct mem_node *a = swarm_node(&sw), *b = swarm_node(&sw), *leech = swarm_node(&sw);
    swarm_seed(&sw, a);
    swarm_seed(&sw, b);
    session_set_limits(a->session, sw.world->now_us, 0, 200000);
    session_set_limits(b->session, sw.world->now_us, 0, 20000);
    swarm_leech(&sw, leech);
    swarm_meet(&sw, leech, a);
    swarm_meet(&sw, leech, b);
    assert_true(swarm_run_to_seeding(&sw, 60));
    assert_true(swarm_counter(leech, "endgame_duplicates") > 0);
    assert_true(swarm_counter(leech, "cancels_sent") > 0);
    assert_true(swarm_stats(&sw, leech).wasted_len <= 10 * 16384);
    swarm_assert_disk(&sw, leech);
    swarm_free(&sw);
}

/* --- poisoned -------------------------------------------------------------------------------------- */

static struct metainfo *poisoned_info(struct swarm *sw, struct mem *mem)
{
    struct bytes t = buf_bytes(&sw->content->torrent);
    uint8_t *bytes = mem_dup(&sw->world->mem, t.data, t.len);
    struct metainfo *info = NULL;
    size_t at = 0;
    while (memcmp(bytes + at, "6:pieces", 8) != 0)
        at++;
    bytes[at + 20 + 3 * SHA1_LEN] ^= 1; /* in the hash of one of the first pieces */
    assert_int_equal(metainfo_read(&info, bytes_of(bytes, t.len), mem, NULL, NULL), ERR_OK);
    mem_free(&sw->world->mem, bytes);
    return info;
}

/* A hybrid whose v1 hash of a piece is wrong while its v2 hash is right stops (BEP 52). */
static void test_poisoned_hybrid(void **state)
{
    (void)state;
    for (int is_check = 0; is_check < 2; is_check++) {
        struct swarm sw = plain_swarm(9, CONTENT_HYBRID);
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        struct torrent_params p = {.dir = "d", .check = CHECK_TRUST};
        swarm_fill_disk(&sw, seed);
        p.info = poisoned_info(&sw, &seed->mem);
        swarm_add(&sw, seed, &p);
        if (is_check)
            swarm_fill_disk(&sw, leech);
        p = (struct torrent_params){.dir = "d"};
        p.info = poisoned_info(&sw, &leech->mem);
        swarm_add(&sw, leech, &p);
        swarm_meet(&sw, leech, seed);
        assert_true(swarm_run_to_state(&sw, leech, TORRENT_ERROR, 60));
        assert_int_equal(swarm_counter(leech, "torrent_poisoned"), 1);
        assert_int_equal(swarm_counter(leech, "peers_banned"), 0);
        session_resume(leech->session, sw.world->now_us, sw.torrents[leech->index]);
        assert_int_equal(swarm_state(&sw, leech), TORRENT_ERROR);
        swarm_stop(&sw, leech);
        swarm_free(&sw);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracker),       cmocka_unit_test(test_tracker_is_down),
        cmocka_unit_test(test_gossip),        cmocka_unit_test(test_allowed_fast),
        cmocka_unit_test(test_choke_rejects), cmocka_unit_test(test_hand_made_seed),
        cmocka_unit_test(test_endgame),       cmocka_unit_test(test_poisoned_hybrid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
