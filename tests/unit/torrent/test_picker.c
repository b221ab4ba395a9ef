#include "test_util.h"

#include "../../picker_model.h"

#define BLOCKS_PER_PIECE 8u
#define MS               1000u
#define SECOND           1000000u

/* --- a small world with a picker in it ------------------------------------------------------- */

struct world {
    struct mem mem;
    struct rng rng;
    struct picker picker;
    uint32_t n_pieces;
    uint32_t n_peers;
    struct picker_peer peers[16];
    struct bitset have[16];
};

static uint32_t whole_piece(const void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
    return BLOCKS_PER_PIECE * PICKER_BLOCK_LEN;
}

static void world_init(struct world *w, uint32_t n_pieces, uint64_t seed)
{
    *w = (struct world){.n_pieces = n_pieces};
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    rng_init(&w->rng, seed);
    struct picker_config config = {.n_pieces = n_pieces,
                                   .piece_len = BLOCKS_PER_PIECE * PICKER_BLOCK_LEN,
                                   .data_len = whole_piece};
    assert_int_equal(picker_init(&w->picker, &w->mem, &w->rng, &config), ERR_OK);
}

/* chance: of 256, for each piece; 256 makes a seed. */
static struct picker_peer *world_add(struct world *w, uint32_t chance, enum picker_speed speed)
{
    uint32_t at = w->n_peers++;
    struct picker_peer *peer = &w->peers[at];
    assert_int_equal(bitset_init(&w->have[at], &w->mem, w->n_pieces), ERR_OK);
    for (uint32_t i = 0; i < w->n_pieces; i++)
        if (rng_below(&w->rng, 256) < chance)
            bitset_set(&w->have[at], i);
    picker_peer_init(peer, NULL, chance >= 256 ? NULL : &w->have[at], chance >= 256);
    peer->sender = at + 1;
    peer->speed = (uint8_t)speed;
    picker_add_peer(&w->picker, peer);
    return peer;
}

static void world_clear(struct world *w)
{
    picker_check(&w->picker);
    for (uint32_t i = 0; i < w->n_peers; i++) {
        picker_remove_peer(&w->picker, &w->peers[i]);
        bitset_clear(&w->have[i]);
    }
    picker_check(&w->picker);
    picker_clear(&w->picker);
    mem_check_empty(&w->mem);
}

static void good(struct world *w, uint32_t piece)
{
    struct picker_peer *peer;
    struct wire_block b;
    while (picker_on_piece_good(&w->picker, piece, &peer, &b))
        ;
}

/* The oldest request of the peer is answered; the piece passes when it is full. */
static bool deliver(struct world *w, struct picker_peer *peer, struct picker_arrival *out)
{
    uint32_t cursor = peer->first_request;
    struct wire_block b;
    uint64_t sent_at_us;
    bool is_late;
    if (!picker_next_request(&w->picker, &cursor, &b, &sent_at_us, &is_late))
        return false;
    assert_int_equal(picker_on_block(&w->picker, peer, &b, out), PICKER_BLOCK_NEW);
    if (out->is_piece_full)
        good(w, b.piece);
    return true;
}

/* Four pieces, so that the random first ones are over. */
static void begin_world(struct world *w)
{
    for (uint32_t i = 0; i < PICKER_N_RANDOM_FIRST; i++)
        good(w, i);
}

/* --- the model ------------------------------------------------------------------------------- */

static void test_model(void **state)
{
    (void)state;
    uint64_t n_received = 0, n_good = 0;
    uint8_t data[1500];
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        rng_fill(&rng, data, sizeof data);
        model_run(data, sizeof data, &n_received, &n_good);
    }
    assert_true(n_received > 5000); /* the operations do reach deep states */
    assert_true(n_good > 1000);
}

/* --- what is picked -------------------------------------------------------------------------- */

static void test_rarest_of_many(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1500, 3);
    begin_world(&w);
    for (uint32_t i = 0; i < 12; i++)
        world_add(&w, 40 + 15 * i, PICKER_FAST);
    for (uint32_t round = 0; round < 600; round++) {
        struct picker_peer *peer = &w.peers[rng_below(&w.rng, w.n_peers)];
        uint32_t n_least = UINT32_MAX;
        for (uint32_t i = 0; i < w.n_pieces; i++)
            if (picker_state(&w.picker, i) == PICKER_IDLE && picker_peer_has(peer, i) &&
                picker_availability(&w.picker, i) < n_least)
                n_least = picker_availability(&w.picker, i);
        struct wire_block b[BLOCKS_PER_PIECE];
        peer->speed = PICKER_FAST;
        w.picker.config.n_partials_max = 0;
        uint32_t n = picker_pick(&w.picker, 0, peer, BLOCKS_PER_PIECE, b);
        if (n_least == UINT32_MAX)
            continue;
        assert_int_equal(n, BLOCKS_PER_PIECE);
        assert_int_equal(picker_availability(&w.picker, b[0].piece), n_least);
        picker_on_have(&w.picker, &w.peers[rng_below(&w.rng, w.n_peers)],
                       rng_below(&w.rng, w.n_pieces));
        if (round % 50 == 0)
            picker_check(&w.picker);
    }
    assert_int_equal(w.picker.counters.n_sampled, 0);
    world_clear(&w);
}

/* A peer whose pieces are all common, behind more rare ones than a pick looks at. */
static void test_sample_when_rare_ones_hide(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 20000, 4);
    begin_world(&w);
    world_add(&w, 256, PICKER_FAST);
    struct picker_peer *poor = world_add(&w, 0, PICKER_FAST), *twin = world_add(&w, 0, PICKER_FAST);
    for (uint32_t i = 0; i < 40; i++) {
        picker_on_have(&w.picker, poor, 10000 + 7 * i);
        picker_on_have(&w.picker, twin, 10000 + 7 * i);
    }
    picker_on_have(&w.picker, poor, 777); /* rarer than its others, and found among the sample */
    struct wire_block b[BLOCKS_PER_PIECE];
    assert_int_equal(picker_pick(&w.picker, 0, poor, BLOCKS_PER_PIECE, b), BLOCKS_PER_PIECE);
    assert_int_equal(w.picker.counters.n_sampled, 1);
    assert_int_equal(b[0].piece, 777);
    for (uint32_t i = 0; i < 40; i++) /* and it finds all the others */
        assert_int_equal(picker_pick(&w.picker, 0, poor, BLOCKS_PER_PIECE, b), BLOCKS_PER_PIECE);
    assert_int_equal(picker_pick(&w.picker, 0, poor, BLOCKS_PER_PIECE, b), 0);
    world_clear(&w);
}

static void test_first_pieces_are_random(void **state)
{
    (void)state;
    uint32_t n_same = 0, last = UINT32_MAX;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct world w;
        world_init(&w, 100, seed);
        struct picker_peer *peer = world_add(&w, 200, PICKER_FAST);
        struct wire_block b;
        assert_int_equal(picker_pick(&w.picker, 0, peer, 1, &b), 1);
        n_same += b.piece == last;
        last = b.piece;
        world_clear(&w);
    }
    assert_true(n_same < 5);
}

/* Random means: not the rarest, which everybody would wait for. */
static void test_first_pieces_are_not_the_rarest(void **state)
{
    (void)state;
    uint32_t n_rare = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct world w;
        world_init(&w, 100, seed);
        struct picker_peer *peer = world_add(&w, 256, PICKER_FAST), *other = world_add(&w, 0, 0);
        for (uint32_t i = 1; i < 100; i++)
            picker_on_have(&w.picker, other, i);
        struct wire_block b;
        assert_int_equal(picker_pick(&w.picker, 0, peer, 1, &b), 1);
        n_rare += b.piece == 0;
        world_clear(&w);
    }
    assert_true(n_rare < 5);
}

/* With is_random the rarest is not the first choice later either. */
static void test_random_instead_of_rarest(void **state)
{
    (void)state;
    for (int is_random = 0; is_random < 2; is_random++) {
        uint32_t n_rare = 0;
        for (uint64_t seed = 0; seed < 30; seed++) {
            struct world w;
            struct picker_peer *to;
            struct wire_block b;
            world_init(&w, 100, seed);
            w.picker.config.is_random = is_random;
            struct picker_peer *peer = world_add(&w, 256, PICKER_FAST),
                               *other = world_add(&w, 0, 0);
            for (uint32_t i = 1; i < 100; i++)
                picker_on_have(&w.picker, other, i);
            for (uint32_t i = 1; i <= PICKER_N_RANDOM_FIRST; i++)
                assert_false(picker_on_piece_good(&w.picker, i, &to, &b));
            assert_int_equal(picker_pick(&w.picker, 0, peer, 1, &b), 1);
            n_rare += b.piece == 0;
            world_clear(&w);
        }
        assert_in_range(n_rare, is_random ? 0 : 30, is_random ? 4 : 30);
    }
}

static void test_a_run_ends_with_its_extent(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4 + 2 * PICKER_EXTENT_LEN / (BLOCKS_PER_PIECE * PICKER_BLOCK_LEN), 5);
    begin_world(&w);
    struct picker_peer *peer = world_add(&w, 256, PICKER_FAST);
    struct wire_block b[20 * BLOCKS_PER_PIECE];
    uint32_t per_extent = PICKER_EXTENT_LEN / w.picker.config.piece_len, n_across = 0;
    assert_int_equal(picker_pick(&w.picker, 0, peer, COUNT_OF(b), b), COUNT_OF(b));
    for (uint32_t i = BLOCKS_PER_PIECE; i < COUNT_OF(b); i += BLOCKS_PER_PIECE)
        n_across += b[i].piece == b[i - 1].piece + 1 && b[i].piece % per_extent == 0;
    assert_int_equal(n_across, 0);
    world_clear(&w);
}

static void test_blocks_are_in_order_and_a_fast_peer_gets_a_run(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 200, 5);
    begin_world(&w);
    struct picker_peer *peer = world_add(&w, 256, PICKER_FAST);
    struct wire_block b[4 * BLOCKS_PER_PIECE];
    assert_int_equal(picker_pick(&w.picker, 0, peer, COUNT_OF(b), b), COUNT_OF(b));
    uint32_t n_joins = 0;
    for (uint32_t i = 1; i < COUNT_OF(b); i++) {
        bool is_new_piece = i % BLOCKS_PER_PIECE == 0;
        assert_int_equal(b[i].begin, i % BLOCKS_PER_PIECE * PICKER_BLOCK_LEN);
        assert_int_equal(b[i].piece != b[i - 1].piece, is_new_piece);
        n_joins += is_new_piece && b[i].piece == b[i - 1].piece + 1;
    }
    assert_in_range(n_joins, 2, 3); /* unless the run came to the end of an extent */
    world_clear(&w);
}

static void test_sequential(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 50, 6);
    picker_set_sequential(&w.picker, true);
    picker_set_priority(&w.picker, 30, 7);
    picker_set_priority(&w.picker, 1, 0);
    picker_update_interest(&w.picker);
    struct picker_peer *peer = world_add(&w, 256, PICKER_MEDIUM);
    const uint32_t want[] = {30, 0, 2, 3};
    struct wire_block b[BLOCKS_PER_PIECE];
    for (uint32_t i = 0; i < COUNT_OF(want); i++) {
        assert_int_equal(picker_pick(&w.picker, 0, peer, BLOCKS_PER_PIECE, b), BLOCKS_PER_PIECE);
        assert_int_equal(b[0].piece, want[i]);
    }
    /* what is given back comes first again */
    struct wire_block first = {2, 0, PICKER_BLOCK_LEN};
    assert_true(picker_on_reject(&w.picker, peer, &first));
    assert_int_equal(picker_pick(&w.picker, 0, peer, 1, b), 1);
    assert_int_equal(b[0].piece, 2);
    world_clear(&w);
}

static void test_priority_zero_is_not_asked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 10, 7);
    for (uint32_t i = 0; i < 10; i++)
        picker_set_priority(&w.picker, i, i == 4 ? 1 : 0);
    picker_update_interest(&w.picker);
    struct picker_peer *peer = world_add(&w, 256, PICKER_FAST);
    assert_int_equal(peer->n_interesting, 1);
    struct wire_block b[20];
    assert_int_equal(picker_pick(&w.picker, 0, peer, 20, b), BLOCKS_PER_PIECE);
    assert_int_equal(b[0].piece, 4);
    good(&w, 4);
    assert_false(picker_is_interesting(peer));
    assert_int_equal(peer->n_requests, 0); /* they were cancelled */
    assert_int_equal(picker_min_availability(&w.picker), UINT32_MAX);
    world_clear(&w);
}

/* --- who shares with whom -------------------------------------------------------------------- */

static void test_speeds_do_not_mix(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100, 8);
    begin_world(&w);
    struct picker_peer *slow = world_add(&w, 256, PICKER_SLOW);
    struct picker_peer *slow2 = world_add(&w, 256, PICKER_SLOW);
    struct picker_peer *fast = world_add(&w, 256, PICKER_FAST);
    struct wire_block a[2], b[2], c[2];
    assert_int_equal(picker_pick(&w.picker, 0, slow, 2, a), 2);
    assert_int_equal(picker_pick(&w.picker, 0, fast, 2, b), 2);
    assert_int_equal(picker_pick(&w.picker, 0, slow2, 2, c), 2);
    assert_int_not_equal(a[0].piece, b[0].piece);
    assert_int_equal(a[0].piece, c[0].piece);
    struct picker_peer *medium = world_add(&w, 256, PICKER_MEDIUM);
    assert_int_equal(picker_pick(&w.picker, 0, medium, 2, c), 2);
    assert_int_not_equal(c[0].piece, a[0].piece);
    assert_int_not_equal(c[0].piece, b[0].piece);
    world_clear(&w);
}

/* Too many begun pieces for so few peers: even a fast one helps to end them before it begins more. */
static void test_a_crowd_of_partials_is_finished_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100, 8);
    begin_world(&w);
    struct picker_peer *slow = world_add(&w, 256, PICKER_SLOW);
    struct picker_peer *fast = world_add(&w, 256, PICKER_FAST);
    struct wire_block b[BLOCKS_PER_PIECE];
    for (uint32_t piece = 10; piece < 20; piece++)
        assert_int_equal(picker_pick_piece(&w.picker, 0, slow, piece, 1, b), 1);
    assert_int_equal(picker_pick(&w.picker, 0, fast, 7, b), 7);
    assert_in_range(b[0].piece, 10, 19);
    world_clear(&w);
}

/* A slow peer's requests turn late: a fast one finishes the piece; the late answer still counts. */
static void test_a_slow_peer_holds_nothing_hostage(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100, 9);
    begin_world(&w);
    struct picker_peer *slow = world_add(&w, 256, PICKER_SLOW);
    struct picker_peer *fast = world_add(&w, 256, PICKER_FAST);
    struct wire_block a[2], b[BLOCKS_PER_PIECE];
    assert_int_equal(picker_pick(&w.picker, 0, slow, 2, a), 2);
    assert_int_equal(picker_expire(&w.picker, slow, 10 * SECOND), 2);
    assert_int_equal(picker_oldest_request_us(&w.picker, slow), UINT64_MAX);
    assert_int_equal(picker_pick(&w.picker, 20 * SECOND, fast, BLOCKS_PER_PIECE, b),
                     BLOCKS_PER_PIECE);
    assert_int_equal(b[0].piece, a[0].piece);
    struct picker_arrival got;
    assert_true(deliver(&w, slow, &got));
    assert_true(got.was_late);
    assert_int_equal(got.cancels.n, 1);
    assert_ptr_equal(got.cancels.peers[0], fast);
    assert_int_equal(fast->n_requests, BLOCKS_PER_PIECE - 1);
    assert_true(deliver(&w, fast, &got)); /* the second block: the slow one is told to stop */
    assert_int_equal(got.cancels.n, 1);
    assert_int_equal(slow->n_requests, 0);
    world_clear(&w);
}

static void test_a_piece_that_failed_comes_whole_from_one(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 5, 10);
    begin_world(&w); /* piece 4 is left */
    struct picker_peer *one = world_add(&w, 256, PICKER_MEDIUM);
    struct picker_peer *two = world_add(&w, 256, PICKER_MEDIUM);
    struct wire_block b[BLOCKS_PER_PIECE];
    struct picker_arrival got;
    assert_int_equal(picker_pick(&w.picker, 0, one, 3, b), 3);
    assert_int_equal(picker_pick(&w.picker, 0, two, 8, b), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(picker_on_block(&w.picker, two, &b[i], &got), PICKER_BLOCK_NEW);
        struct wire_block mine = {4, i * PICKER_BLOCK_LEN, PICKER_BLOCK_LEN};
        assert_true((i < 3) == (picker_on_block(&w.picker, one, &mine, &got) == PICKER_BLOCK_NEW));
    }
    uint32_t senders[BLOCKS_PER_PIECE];
    assert_int_equal(picker_senders(&w.picker, 4, senders, COUNT_OF(senders)), BLOCKS_PER_PIECE);
    for (uint32_t i = 0; i < BLOCKS_PER_PIECE; i++)
        assert_int_equal(senders[i], i < 3 ? 1 : 2);
    assert_int_equal(picker_state(&w.picker, 4), PICKER_FULL);
    picker_on_piece_bad(&w.picker, 4, true);
    assert_int_equal(picker_state(&w.picker, 4), PICKER_IDLE);
    assert_int_equal(picker_pick(&w.picker, 0, two, 2, b), 2);
    assert_int_equal(picker_pick(&w.picker, 0, one, 2, b), 0);
    /* the one at work stalls: then finishing goes before finding the liar */
    assert_int_equal(picker_expire(&w.picker, two, SECOND), 2);
    assert_int_equal(picker_pick(&w.picker, SECOND, one, 8, b), 8);
    world_clear(&w);
}

static void test_a_suspect_works_alone(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 20, 11);
    begin_world(&w);
    struct picker_peer *honest = world_add(&w, 256, PICKER_MEDIUM);
    struct picker_peer *suspect = world_add(&w, 256, PICKER_MEDIUM);
    suspect->is_on_parole = true;
    struct wire_block a, b, c;
    assert_int_equal(picker_pick(&w.picker, 0, honest, 1, &a), 1);
    assert_int_equal(picker_pick(&w.picker, 0, suspect, 1, &b), 1);
    assert_int_not_equal(a.piece, b.piece);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(picker_pick(&w.picker, 0, honest, 1, &c), 1);
        assert_int_not_equal(c.piece, b.piece);
    }
    assert_int_equal(picker_pick(&w.picker, 0, suspect, 1, &c), 1);
    assert_int_equal(c.piece, b.piece);
    world_clear(&w);
}

/* --- the end --------------------------------------------------------------------------------- */

static void test_endgame_is_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 5, 12);
    begin_world(&w);
    struct picker_peer *peers[5];
    for (uint32_t i = 0; i < 5; i++)
        peers[i] = world_add(&w, 256, PICKER_MEDIUM);
    struct wire_block b[32];
    assert_int_equal(picker_pick(&w.picker, 0, peers[0], 32, b), BLOCKS_PER_PIECE);
    assert_int_equal(picker_pick(&w.picker, 100 * MS, peers[1], 32, b), 0); /* too young */
    assert_int_equal(picker_pick(&w.picker, 600 * MS, peers[1], 32, b), BLOCKS_PER_PIECE);
    assert_int_equal(picker_pick(&w.picker, 1000 * MS, peers[2], 32, b), 0); /* newest copy is */
    assert_int_equal(picker_pick(&w.picker, 1200 * MS, peers[2], 5, b), 5);
    assert_int_equal(picker_pick(&w.picker, 1800 * MS, peers[3], 32, b), BLOCKS_PER_PIECE - 5);
    assert_int_equal(picker_pick(&w.picker, 2400 * MS, peers[4], 32, b), 0); /* three of each */
    assert_int_equal(w.picker.counters.n_duplicate_requests, 2 * BLOCKS_PER_PIECE);
    struct picker_arrival got;
    assert_true(deliver(&w, peers[1], &got));
    assert_int_equal(got.cancels.n, 2);
    assert_int_equal(peers[1]->n_duplicates, BLOCKS_PER_PIECE - 1);
    world_clear(&w);
}

/* Copies wait as long as the peer that was asked may well need, and three that nobody answers are
 * not the end of it: one more each PICKER_STALE_US, up to PICKER_N_OLD_COPIES_MAX. */
static void test_endgame_copies_wait_and_go_on(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, 13);
    struct picker_peer *peers[12];
    struct wire_block b[8];
    for (uint32_t i = 0; i < 12; i++)
        peers[i] = world_add(&w, 256, PICKER_MEDIUM);
    peers[0]->patience_us = 3 * SECOND;
    assert_int_equal(picker_pick(&w.picker, 0, peers[0], 8, b), 8);
    assert_int_equal(picker_pick(&w.picker, 2900 * MS, peers[1], 8, b), 0);
    peers[1]->pace_us = 2900 * MS / PICKER_N_PACES; /* it would be much faster */
    assert_int_equal(picker_pick(&w.picker, 2890 * MS, peers[1], 8, b), 0);
    assert_int_equal(picker_pick(&w.picker, 2900 * MS, peers[1], 1, b), 1);
    picker_drop_requests(&w.picker, peers[1]);
    peers[1]->pace_us = 0;
    uint64_t now_us = 3 * SECOND;
    assert_int_equal(picker_pick(&w.picker, now_us, peers[1], 8, b), 8);
    assert_int_equal(picker_pick(&w.picker, now_us += 600 * MS, peers[2], 8, b), 8);
    for (uint32_t i = 3; i < 12; i++) {
        assert_int_equal(picker_pick(&w.picker, now_us + PICKER_STALE_US - MS, peers[i], 8, b), 0);
        now_us += PICKER_STALE_US;
        assert_int_equal(picker_pick(&w.picker, now_us, peers[i], 8, b),
                         i < PICKER_N_OLD_COPIES_MAX ? 8 : 0);
        picker_check(&w.picker);
    }
    world_clear(&w);
}

/* While there is free work elsewhere, an idle peer gets one old block, not a copy of everything. */
static void test_one_stale_block_before_the_end(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 6, 13);
    begin_world(&w);
    struct picker_peer *a = world_add(&w, 0, PICKER_MEDIUM), *b = world_add(&w, 0, PICKER_MEDIUM);
    picker_on_have(&w.picker, a, 4);
    picker_on_have(&w.picker, a, 5);
    picker_on_have(&w.picker, b, 4);
    struct wire_block out[16];
    assert_int_equal(picker_pick_piece(&w.picker, 0, a, 4, 16, out), 8);
    assert_int_equal(picker_pick(&w.picker, SECOND, b, 8, out), 0);
    assert_int_equal(picker_pick(&w.picker, 6 * SECOND, b, 8, out), 1);
    assert_int_equal(out[0].piece, 4);
    assert_int_equal(picker_pick(&w.picker, 7 * SECOND, b, 8, out), 0);
    world_clear(&w);
}

enum manner { PROMPT, SILENT, SLOWLY, CHOKING, LATE };

/* A swarm with peers that stall in their ways and one that serves: it finishes, whatever the peers
 * do, and in a time bounded by the time-outs. */
static void run_swarm(uint64_t seed, bool is_parole)
{
    struct world w;
    world_init(&w, 30, seed);
    static const enum manner manners[] = {PROMPT, SILENT, SLOWLY, CHOKING, LATE, SILENT};
    for (uint32_t i = 0; i < COUNT_OF(manners); i++) {
        struct picker_peer *p = world_add(&w, i == 0 ? 256 : 128, (enum picker_speed)(i % 3));
        p->is_on_parole = is_parole && i % 2 == 0;
    }
    uint64_t now_us = 0;
    for (; w.picker.wanted.n_set > 0; now_us += 250 * MS) {
        assert_true(now_us < 120 * SECOND);
        for (uint32_t i = 0; i < w.n_peers; i++) {
            struct picker_peer *p = &w.peers[i];
            struct wire_block b[8];
            struct picker_arrival got;
            uint64_t oldest_us = picker_oldest_request_us(&w.picker, p);
            picker_expire(&w.picker, p, now_us > 10 * SECOND ? now_us - 10 * SECOND : 0);
            if (p->n_requests < 8)
                picker_pick(&w.picker, now_us, p, 8 - p->n_requests, b);
            uint32_t n = manners[i] == PROMPT ? 6 : 0;
            n += manners[i] == SLOWLY && now_us % (2 * SECOND) == 0;
            n += manners[i] == LATE && oldest_us == UINT64_MAX;
            while (n-- && deliver(&w, p, &got))
                ;
            if (manners[i] == CHOKING && rng_below(&w.rng, 10) == 0)
                picker_drop_requests(&w.picker, p);
        }
        picker_check(&w.picker);
    }
    world_clear(&w);
}

static void test_a_swarm_of_stallers_finishes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        run_swarm(seed, false);
        run_swarm(seed, true);
    }
}

/* --- bounds and shortage --------------------------------------------------------------------- */

static void test_partials_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100, 14);
    begin_world(&w);
    picker_set_partials_max(&w.picker, 3);
    struct wire_block b[64];
    struct picker_peer *fast = world_add(&w, 256, PICKER_FAST);
    assert_int_equal(picker_pick(&w.picker, 0, fast, 64, b), 3 * BLOCKS_PER_PIECE);
    assert_int_equal(w.picker.n_partials, 3);
    world_clear(&w);
}

/* Time-outs again and again leave a block with at most PICKER_N_CHAIN_MAX requests. */
static void test_late_requests_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, 15);
    for (uint32_t i = 0; i < 10; i++) {
        struct picker_peer *p = world_add(&w, 256, PICKER_MEDIUM);
        struct wire_block b[8];
        assert_int_equal(picker_pick(&w.picker, i * 100 * SECOND, p, 8, b), 8);
        assert_int_equal(picker_expire(&w.picker, p, (i + 1) * 100 * SECOND), 8);
        picker_check(&w.picker);
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < 10; i++)
        n += w.peers[i].n_requests;
    assert_int_equal(n, PICKER_N_CHAIN_MAX * 8);
    world_clear(&w);
}

/* A peer that answers nothing is not asked for ever; what it owes is forgotten in the end. */
static void test_late_requests_of_a_peer_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 100, 16);
    struct picker_peer *p = world_add(&w, 256, PICKER_MEDIUM);
    struct wire_block b[8];
    uint64_t now_us = SECOND;
    for (uint32_t i = 0; i < 20; i++, now_us += SECOND) {
        picker_pick(&w.picker, now_us, p, 8, b);
        picker_expire(&w.picker, p, now_us + 1);
    }
    assert_int_equal(p->n_requests, PICKER_N_LATE_MAX);
    now_us += PICKER_FORGET_US;
    assert_int_equal(picker_expire(&w.picker, p, now_us), 0);
    assert_int_equal(p->n_requests, 0);
    assert_int_equal(w.picker.n_partials, 0);
    assert_int_equal(picker_pick(&w.picker, now_us, p, 8, b), 8);
    uint32_t cursor = p->first_request;
    while (picker_next_request(&w.picker, &cursor, &b[0], NULL, NULL))
        assert_true(picker_on_reject(&w.picker, p, &b[0]));
    assert_int_equal(p->n_requests, 0);
    world_clear(&w);
}

static bool run_short(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct rng rng;
    rng_init(&rng, 1);
    struct picker p;
    struct picker_config config = {
        .n_pieces = 40, .piece_len = 8 * PICKER_BLOCK_LEN, .data_len = whole_piece};
    if (picker_init(&p, mem, &rng, &config))
        return false;
    struct picker_peer peers[3];
    struct bitset have[3];
    for (uint32_t i = 0; i < 3; i++) {
        while (bitset_init(&have[i], mem, 40)) /* the sweep's failure may fall here */
            ;
        picker_peer_init(&peers[i], NULL, &have[i], false);
        peers[i].speed = (uint8_t)i;
        picker_add_peer(&p, &peers[i]);
    }
    for (uint32_t i = 0; i < 400; i++) {
        struct picker_peer *peer = &peers[i % 3];
        struct wire_block b[5];
        struct picker_arrival got;
        picker_on_have(&p, peer, i * 7 % 40);
        uint32_t n = picker_pick(&p, i, peer, 5, b);
        for (uint32_t j = 0; j < n; j++)
            if (picker_on_block(&p, peer, &b[j], &got) == PICKER_BLOCK_NEW && got.is_piece_full)
                picker_on_piece_bad(&p, b[j].piece, false);
        if (i % 50 == 0)
            picker_set_priority(&p, i % 40, i / 50 % 8), picker_update_interest(&p);
        picker_check(&p);
    }
    bool has_worked = p.counters.n_picked > 1000;
    for (uint32_t i = 0; i < 3; i++) {
        picker_remove_peer(&p, &peers[i]);
        bitset_clear(&have[i]);
    }
    picker_clear(&p);
    return has_worked;
}

static void test_shortage_of_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(run_short, NULL) > 20);
}

static void test_sizes_around_a_word(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000};
    for (uint32_t i = 0; i < COUNT_OF(sizes); i++) {
        struct world w;
        world_init(&w, sizes[i], i);
        struct picker_peer *p = world_add(&w, 0, PICKER_MEDIUM);
        picker_on_have(&w.picker, p, sizes[i] - 1);
        assert_int_equal(p->n_interesting, 1);
        struct wire_block b[16];
        assert_int_equal(picker_pick(&w.picker, 0, p, 16, b), 8);
        assert_int_equal(b[0].piece, sizes[i] - 1);
        struct picker_why why;
        picker_why(&w.picker, &why);
        assert_int_equal(why.n_unavailable, sizes[i] - 1);
        assert_int_equal(why.unavailable, sizes[i] > 1 ? 0 : PICKER_NONE);
        assert_ptr_equal(why.oldest_peer, p);
        assert_int_equal(why.n_blocks_asked, 8);
        world_clear(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_rarest_of_many),
        cmocka_unit_test(test_sample_when_rare_ones_hide),
        cmocka_unit_test(test_first_pieces_are_random),
        cmocka_unit_test(test_first_pieces_are_not_the_rarest),
        cmocka_unit_test(test_random_instead_of_rarest),
        cmocka_unit_test(test_a_run_ends_with_its_extent),
        cmocka_unit_test(test_a_crowd_of_partials_is_finished_first),
        cmocka_unit_test(test_blocks_are_in_order_and_a_fast_peer_gets_a_run),
        cmocka_unit_test(test_sequential),
        cmocka_unit_test(test_priority_zero_is_not_asked),
        cmocka_unit_test(test_speeds_do_not_mix),
        cmocka_unit_test(test_a_slow_peer_holds_nothing_hostage),
        cmocka_unit_test(test_a_piece_that_failed_comes_whole_from_one),
        cmocka_unit_test(test_a_suspect_works_alone),
        cmocka_unit_test(test_endgame_is_bounded),
        cmocka_unit_test(test_endgame_copies_wait_and_go_on),
        cmocka_unit_test(test_one_stale_block_before_the_end),
        cmocka_unit_test(test_a_swarm_of_stallers_finishes),
        cmocka_unit_test(test_partials_are_bounded),
        cmocka_unit_test(test_late_requests_are_bounded),
        cmocka_unit_test(test_late_requests_of_a_peer_are_bounded),
        cmocka_unit_test(test_shortage_of_memory),
        cmocka_unit_test(test_sizes_around_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
