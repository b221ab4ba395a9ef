#include "test_util.h"
#include "torrent/hash_xfer.h"
#include "torrent/peer_wire.h"
#include "v2_torrent.h"

#define KIB 1024ull
#define MIB (1024ull * 1024ull)

struct world {
    struct mem mem;
    struct v2_torrent t;
    struct hash_fetch *fetch;
    struct hash_serve *serve;
    struct hash_serve_peer peer;
    struct bitset all; /* what a seed has */
    /* of the last answer */
    uint8_t hashes[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    size_t n_hashes;
    uint32_t file, piece;
};

static void begin(struct world *w, uint32_t piece_len, const uint64_t *lens, uint32_t n_files)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    v2_torrent_init(&w->t, &w->mem, piece_len, lens, n_files);
    assert_int_equal(hash_fetch_new(&w->fetch, &w->mem, w->t.bare), ERR_OK);
    assert_int_equal(hash_serve_new(&w->serve, &w->mem, w->t.whole), ERR_OK);
    hash_serve_peer_init(&w->peer, 0);
    assert_int_equal(bitset_init(&w->all, &w->mem, w->t.whole->n_pieces), ERR_OK);
    bitset_set_all(&w->all);
}

static void end(struct world *w)
{
    hash_fetch_check(w->fetch);
    hash_fetch_free(w->fetch);
    hash_serve_free(w->serve);
    bitset_clear(&w->all);
    v2_torrent_clear(&w->t);
    mem_check_empty(&w->mem);
}

/* As a seed answers: reads leaves back when they are needed. */
static enum hash_answer ask(struct world *w, const struct merkle_request *q)
{
    uint32_t piece;
    enum hash_answer a =
        hash_serve_on_request(w->serve, 0, &w->peer, q, w->hashes, &w->n_hashes, &piece);
    if (a != HASH_ANSWER_LEAVES)
        return a;
    hash_serve_put_leaves(w->serve, piece, v2_piece_leaves(&w->t, piece));
    a = hash_serve_retry(w->serve, q, w->hashes, &w->n_hashes, &piece);
    assert_true(a != HASH_ANSWER_LEAVES);
    return a;
}

static struct bytes answer_bytes(const struct world *w)
{
    return bytes_of(w->hashes, w->n_hashes * SHA256_LEN);
}

static enum hash_verdict give(struct world *w, uint64_t now_us, uint32_t conn,
                              const struct merkle_request *q)
{
    enum hash_verdict v =
        hash_fetch_on_hashes(w->fetch, now_us, conn, q, answer_bytes(w), &w->file, &w->piece);
    hash_fetch_check(w->fetch);
    return v;
}

static bool next(struct world *w, uint64_t now_us, uint32_t conn, struct merkle_request *q)
{
    bool is_some = hash_fetch_next(w->fetch, now_us, conn, &w->all, q);
    hash_fetch_check(w->fetch);
    return is_some;
}

/* --- a whole magnet -------------------------------------------------------------------------- */

static const struct {
    uint32_t piece_len;
    uint64_t lens[8];
    uint32_t n_files;
} torrents[] = {
    {16 * KIB, {40 * KIB}, 1},
    {16 * KIB, {0, 1, 16 * KIB, 16 * KIB + 1, 100 * KIB, 100 * KIB, 5}, 7},
    {64 * KIB, {64 * KIB, 65 * KIB, 3 * MIB + 5, 20 * KIB}, 4},
    {16 * KIB, {512 * 16 * KIB, 513 * 16 * KIB, 1500 * 16 * KIB + 1}, 3}, /* up to 3 runs */
    {16 * MIB, {100 * MIB, 16 * MIB, 17 * MIB}, 3}, /* pieces of 1024 leaves: two chunks */
};

static void fetch_layers(struct world *w)
{
    struct merkle_request q;
    bool was_done[V2_FILES_MAX] = {false};
    assert_int_equal(hash_fetch_add_peer(w->fetch, 7), ERR_OK);
    while (next(w, 0, 7, &q)) {
        assert_int_equal(ask(w, &q), HASH_ANSWER);
        enum hash_verdict v = give(w, 0, 7, &q);
        assert_true(v == HASH_TAKEN || v == HASH_LAYER_DONE);
        if (v == HASH_LAYER_DONE) {
            assert_false(was_done[w->file]);
            was_done[w->file] = true;
            assert_non_null(w->t.bare->files[w->file].piece_layer);
        }
    }
}

static void test_layers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(torrents); i++) {
        static struct world w;
        begin(&w, torrents[i].piece_len, torrents[i].lens, torrents[i].n_files);
        fetch_layers(&w);
        assert_false(hash_fetch_needs_layers(w.fetch));
        assert_true(w.t.bare->has_piece_layers);
        for (uint32_t piece = 0; piece < w.t.bare->n_pieces; piece++)
            assert_memory_equal(metainfo_v2_piece_hash(w.t.bare, piece),
                                metainfo_v2_piece_hash(w.t.whole, piece), SHA256_LEN);
        assert_int_equal(hash_fetch_deadline_us(w.fetch), DEADLINE_NEVER);
        assert_int_equal(hash_serve_counts(w.serve).n_rejected, 0);
        end(&w);
    }
}

/* The leaves of every piece that has more than one block are what the seed's data gives. */
static void test_leaves(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(torrents); i++) {
        static struct world w;
        struct merkle_request q;
        begin(&w, torrents[i].piece_len, torrents[i].lens, torrents[i].n_files);
        fetch_layers(&w);
        for (uint32_t piece = 0; piece < w.t.bare->n_pieces; piece++) {
            uint32_t n_blocks = layout_n_blocks(&w.t.bare->layout, piece);
            bool is_single = torrents[i].piece_len == 16 * KIB;
            struct merkle_shape s;
            uint32_t file, index;
            assert_true(layout_piece_file(&w.t.bare->layout, piece, &file, &index));
            assert_true(merkle_shape_of(w.t.bare->files[file].len, torrents[i].piece_len, &s));
            is_single |= s.root_height == 0;
            enum err_code want = is_single ? ERR_LIMIT : ERR_OK;
            assert_int_equal(hash_fetch_want_leaves(w.fetch, piece), want);
            if (want)
                continue;
            assert_int_equal(hash_fetch_want_leaves(w.fetch, piece), ERR_OK); /* twice is fine */
            assert_null(hash_fetch_leaves(w.fetch, piece));
            enum hash_verdict v = HASH_TAKEN;
            while (next(&w, 0, 7, &q)) {
                hash_serve_peer_init(&w.peer, 0); /* the rate has its own test */
                assert_int_equal(ask(&w, &q), HASH_ANSWER);
                v = give(&w, 0, 7, &q);
                assert_true(v == HASH_TAKEN || v == HASH_LEAVES_DONE);
            }
            assert_int_equal(v, HASH_LEAVES_DONE);
            assert_int_equal(w.piece, piece);
            assert_memory_equal(hash_fetch_leaves(w.fetch, piece), v2_piece_leaves(&w.t, piece),
                                (size_t)n_blocks * SHA256_LEN);
            hash_fetch_drop_leaves(w.fetch, piece);
            assert_null(hash_fetch_leaves(w.fetch, piece));
        }
        end(&w);
    }
}

/* What goes on the wire, by hand: 3 MiB + 5 in pieces of 64 KiB are 49 pieces, 193 blocks. */
static void test_requests_golden(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q;
    uint64_t lens[] = {3 * MIB + 5};
    begin(&w, 64 * KIB, lens, 1);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    assert_int_equal(hash_fetch_want_leaves(w.fetch, 3), ERR_NOT_FOUND); /* no piece hash yet */
    assert_true(next(&w, 0, 1, &q));
    assert_memory_equal(q.root, w.t.bare->files[0].pieces_root, SHA256_LEN);
    assert_int_equal(q.base_layer, 2);
    assert_int_equal(q.index, 0);
    assert_int_equal(q.length, 64); /* the layer's width, pads included */
    assert_int_equal(q.proof_layers, 5);
    assert_false(next(&w, 0, 1, &q)); /* it is out */
    q.proof_layers = 5;
    assert_int_equal(ask(&w, &q), HASH_ANSWER);
    assert_int_equal(w.n_hashes, 64); /* it reaches the root by itself */
    assert_int_equal(give(&w, 0, 1, &q), HASH_LAYER_DONE);
    assert_int_equal(hash_fetch_want_leaves(w.fetch, 3), ERR_OK);
    assert_true(next(&w, 0, 1, &q));
    assert_int_equal(q.base_layer, 0);
    assert_int_equal(q.index, 12);
    assert_int_equal(q.length, 4);
    assert_int_equal(q.proof_layers, 0);
    end(&w);
}

/* --- what peers do wrong --------------------------------------------------------------------- */

static void test_liar(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q, q2;
    uint64_t lens[] = {1500 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 1);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 2), ERR_OK);
    assert_true(next(&w, 0, 1, &q));
    assert_int_equal(ask(&w, &q), HASH_ANSWER);
    for (size_t at = 0; at < w.n_hashes; at += 37) { /* one bit anywhere */
        if (at)
            assert_true(next(&w, 0, 1, &q));
        w.hashes[at][at % 32] ^= 4;
        assert_int_equal(give(&w, 0, 1, &q), HASH_BAD);
        w.hashes[at][at % 32] ^= 4;
        assert_false(next(&w, 0, 1, &q2)); /* asked no more */
        hash_fetch_remove_peer(w.fetch, 1);
        assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    }
    assert_true(next(&w, 0, 2, &q2)); /* another is asked for the same */
    assert_true(merkle_request_equal(&q, &q2));
    assert_int_equal(give(&w, 0, 2, &q), HASH_TAKEN);
    assert_true(hash_fetch_counts(w.fetch).n_bad > 10);
    end(&w);
}

/* Too few hashes, too many, none. */
static void test_wrong_number(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q;
    uint64_t lens[] = {1500 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 1);
    for (uint32_t conn = 1; conn <= 3; conn++) {
        assert_int_equal(hash_fetch_add_peer(w.fetch, conn), ERR_OK);
        assert_true(next(&w, 0, conn, &q));
        assert_int_equal(ask(&w, &q), HASH_ANSWER);
        w.n_hashes = conn == 1 ? 0 : conn == 2 ? w.n_hashes - 1 : w.n_hashes + 1;
        assert_int_equal(give(&w, 0, conn, &q), HASH_BAD);
    }
    end(&w);
}

static void test_unasked(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q, other;
    uint64_t lens[] = {1500 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 1);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 2), ERR_OK);
    assert_true(next(&w, 0, 1, &q));
    assert_int_equal(ask(&w, &q), HASH_ANSWER);
    assert_int_equal(give(&w, 0, 2, &q), HASH_IGNORED);
    assert_int_equal(give(&w, 0, 0, &q), HASH_IGNORED);
    assert_int_equal(give(&w, 0, 99, &q), HASH_IGNORED);
    other = q;
    other.index += 512;
    assert_int_equal(give(&w, 0, 1, &other), HASH_IGNORED);
    assert_false(hash_fetch_on_reject(w.fetch, 0, 1, &other));
    assert_int_equal(hash_fetch_counts(w.fetch).n_unasked, 5);
    assert_int_equal(give(&w, 0, 1, &q), HASH_TAKEN);
    assert_int_equal(give(&w, 0, 1, &q), HASH_IGNORED); /* twice */
    end(&w);
}

static void test_reject_and_timeout(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q, q2;
    uint64_t lens[] = {100 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 1);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 2), ERR_OK);
    assert_true(next(&w, 5, 1, &q));
    assert_true(hash_fetch_on_reject(w.fetch, 5, 1, &q));
    assert_int_equal(hash_fetch_deadline_us(w.fetch), 5 + HASH_REJECT_WAIT_US);
    assert_false(next(&w, 4 + HASH_REJECT_WAIT_US, 1, &q2));
    assert_true(next(&w, 10, 2, &q2)); /* the other is asked */
    assert_int_equal(hash_fetch_deadline_us(w.fetch), 5 + HASH_REJECT_WAIT_US);
    uint64_t now = 10 + HASH_TIMEOUT_US;
    hash_fetch_on_tick(w.fetch, now - 1);
    assert_int_equal(hash_fetch_counts(w.fetch).n_timeouts, 0);
    assert_int_equal(hash_fetch_deadline_us(w.fetch), now);
    hash_fetch_on_tick(w.fetch, now);
    hash_fetch_check(w.fetch);
    assert_int_equal(hash_fetch_counts(w.fetch).n_timeouts, 1);
    assert_int_equal(give(&w, now, 2, &q2), HASH_IGNORED); /* too late */
    assert_false(next(&w, now, 2, &q2));
    assert_true(next(&w, now, 1, &q2));
    hash_fetch_remove_peer(w.fetch, 1); /* with its request out: free again */
    hash_fetch_check(w.fetch);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 3), ERR_OK);
    assert_true(next(&w, now, 3, &q2));
    assert_int_equal(hash_fetch_counts(w.fetch).n_rejects, 1);
    end(&w);
}

/* A piece waits for its leaves, so that they are asked of the next peer sooner. */
static void test_leaves_time_out_sooner(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q, q2;
    uint64_t lens[] = {100 * 64 * KIB};
    begin(&w, 64 * KIB, lens, 1);
    fetch_layers(&w);
    assert_int_equal(hash_fetch_want_leaves(w.fetch, 3), ERR_OK);
    assert_true(next(&w, 10, 7, &q));
    assert_int_equal(hash_fetch_add_peer(w.fetch, 8), ERR_OK);
    assert_false(next(&w, 10, 8, &q2)); /* one at a time */
    uint64_t now = 10 + HASH_LEAVES_US;
    assert_int_equal(hash_fetch_deadline_us(w.fetch), now);
    hash_fetch_on_tick(w.fetch, now);
    hash_fetch_check(w.fetch);
    assert_int_equal(hash_fetch_counts(w.fetch).n_timeouts, 1);
    assert_false(next(&w, now, 7, &q2));
    assert_true(next(&w, now, 8, &q2));
    assert_true(merkle_request_equal(&q, &q2));
    end(&w);
}

/* --- who is asked for what ------------------------------------------------------------------- */

static void test_have(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q;
    struct bitset have;
    uint64_t lens[] = {1500 * 16 * KIB, 64 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 2);
    assert_int_equal(bitset_init(&have, &w.mem, w.t.bare->n_pieces), ERR_OK);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK);
    assert_false(hash_fetch_next(w.fetch, 0, 1, &have, &q)); /* it has nothing */
    bitset_set(&have, 1024);
    assert_true(hash_fetch_next(w.fetch, 0, 1, &have, &q));
    assert_int_equal(q.index, 1024);
    assert_false(hash_fetch_next(w.fetch, 0, 1, &have, &q));
    bitset_set(&have, 1500); /* the first of the second file */
    assert_true(hash_fetch_next(w.fetch, 0, 1, &have, &q));
    assert_memory_equal(q.root, w.t.bare->files[1].pieces_root, SHA256_LEN);
    assert_false(hash_fetch_next(w.fetch, 0, 1, &have, &q));
    assert_false(hash_fetch_next(w.fetch, 0, 1, &have, &q)); /* and round again */
    bitset_set(&have, 0);
    assert_true(hash_fetch_next(w.fetch, 0, 1, &have, &q));
    assert_int_equal(q.index, 0);
    assert_true(hash_fetch_next(w.fetch, 0, 1, NULL, &q)); /* a seed */
    assert_int_equal(q.index, 512);
    bitset_clear(&have);
    end(&w);
}

static void test_limits(void **state)
{
    (void)state;
    static struct world w;
    struct merkle_request q;
    uint64_t lens[] = {40 * MIB};
    begin(&w, 32 * KIB, lens, 1);
    for (uint32_t conn = 1; conn <= HASH_PEERS_MAX; conn++)
        assert_int_equal(hash_fetch_add_peer(w.fetch, conn), ERR_OK);
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1), ERR_OK); /* known */
    assert_int_equal(hash_fetch_add_peer(w.fetch, 1000), ERR_LIMIT);
    while (next(&w, 0, 1, &q)) {
        assert_int_equal(ask(&w, &q), HASH_ANSWER);
        give(&w, 0, 1, &q);
    }
    assert_false(hash_fetch_needs_layers(w.fetch));
    for (uint32_t piece = 0; piece < HASH_LEAVES_MAX; piece++)
        assert_int_equal(hash_fetch_want_leaves(w.fetch, piece), ERR_OK);
    assert_int_equal(hash_fetch_want_leaves(w.fetch, HASH_LEAVES_MAX), ERR_LIMIT);
    assert_int_equal(hash_fetch_counts(w.fetch).n_refused, 2);
    uint32_t n_out = 0;
    while (next(&w, 0, 1, &q))
        n_out++;
    assert_int_equal(n_out, HASH_PEER_REQUESTS);
    hash_fetch_drop_leaves(w.fetch, 2); /* while its request is out */
    hash_fetch_check(w.fetch);
    assert_int_equal(hash_fetch_want_leaves(w.fetch, HASH_LEAVES_MAX), ERR_OK);
    hash_fetch_check(w.fetch);
    end(&w);
}

/* --- serving --------------------------------------------------------------------------------- */

static void test_serve_refuses(void **state)
{
    (void)state;
    static struct world w;
    uint64_t lens[] = {0, 100 * 64 * KIB, 10, 20 * KIB};
    begin(&w, 64 * KIB, lens, 4);
    struct merkle_request good = {.base_layer = 2, .length = 128, .proof_layers = 0}, q;
    memcpy(good.root, w.t.whole->files[1].pieces_root, SHA256_LEN);
    assert_int_equal(ask(&w, &good), HASH_ANSWER);
    assert_int_equal(w.n_hashes, 128);
    static const struct {
        uint32_t base_layer, index, length, proof_layers;
    } bad[] = {
        {2, 0, 0, 0},
        {2, 0, 1, 0},
        {2, 0, 3, 0},
        {2, 0, 256, 0},
        {2, 1, 128, 0},
        {2, 128, 128, 0},
        {2, 0, 128, 7},
        {9, 0, 2, 0},
        {8, 2, 2, 0},
        {UINT32_MAX, 0, 2, 0},
        {2, UINT32_MAX - 1, 2, 0},
        {0, 0, 8, 0},   /* two pieces' leaves */
        {0, 400, 4, 0}, /* pads only: no such piece */
        {2, 0, 128, UINT32_MAX},
        {2, 0, 1024, 0},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        q = good;
        q.base_layer = bad[i].base_layer;
        q.index = bad[i].index;
        q.length = bad[i].length;
        q.proof_layers = bad[i].proof_layers;
        assert_int_equal(ask(&w, &q), HASH_ANSWER_REJECT);
        assert_int_equal(hash_serve_counts(w.serve).n_bad_range, i + 1);
    }
    q = good;
    q.root[0] ^= 1;
    assert_int_equal(ask(&w, &q), HASH_ANSWER_REJECT);
    assert_int_equal(hash_serve_counts(w.serve).n_unknown_root, 1);
    q = good; /* a file of a single block has no layer to ask for */
    memcpy(q.root, w.t.whole->files[2].pieces_root, SHA256_LEN);
    assert_int_equal(ask(&w, &q), HASH_ANSWER_REJECT);
    assert_int_equal(hash_serve_counts(w.serve).n_answered, 1);
    end(&w);
}

/* Without the layers (a magnet of our own) everything is rejected, nothing asked of the disk. */
static void test_serve_without_layers(void **state)
{
    (void)state;
    static struct world w;
    struct hash_serve *bare;
    uint64_t lens[] = {100 * 64 * KIB};
    uint32_t piece;
    begin(&w, 64 * KIB, lens, 1);
    assert_int_equal(hash_serve_new(&bare, &w.mem, w.t.bare), ERR_OK);
    struct merkle_request q = {.base_layer = 2, .length = 128}, leaves = {.length = 4};
    memcpy(q.root, w.t.whole->files[0].pieces_root, SHA256_LEN);
    memcpy(leaves.root, q.root, SHA256_LEN);
    assert_int_equal(hash_serve_on_request(bare, 0, &w.peer, &q, w.hashes, &w.n_hashes, &piece),
                     HASH_ANSWER_REJECT);
    assert_int_equal(
        hash_serve_on_request(bare, 0, &w.peer, &leaves, w.hashes, &w.n_hashes, &piece),
        HASH_ANSWER_REJECT);
    assert_int_equal(hash_serve_counts(bare).n_rejected, 2);
    hash_serve_free(bare);
    end(&w);
}

/* Every answer that is given proves, for every range and every number of proof layers. */
static void test_serve_all_ranges(void **state)
{
    (void)state;
    static struct world w;
    uint64_t lens[] = {21 * 64 * KIB + 1, 50 * KIB};
    begin(&w, 64 * KIB, lens, 2);
    for (uint32_t file = 0; file < 2; file++) {
        struct merkle_shape s;
        struct merkle_request q;
        assert_true(merkle_shape_of(lens[file], 64 * KIB, &s));
        memcpy(q.root, w.t.whole->files[file].pieces_root, SHA256_LEN);
        for (q.base_layer = 0; q.base_layer < s.root_height; q.base_layer++)
            for (q.length = 2; q.length <= 1u << (s.root_height - q.base_layer); q.length *= 2)
                for (q.index = 0; q.index < 1u << (s.root_height - q.base_layer);
                     q.index += q.length) {
                    uint8_t got[SHA256_LEN];
                    unsigned height;
                    uint64_t index;
                    q.proof_layers = merkle_proof_layers_to_root(&s, q.base_layer);
                    hash_serve_peer_init(&w.peer, 0);
                    if (ask(&w, &q) != HASH_ANSWER)
                        continue;
                    assert_true(merkle_proof_is_good(&q, &s, w.hashes[0], w.n_hashes));
                    q.proof_layers = 0;
                    assert_int_equal(ask(&w, &q), HASH_ANSWER);
                    assert_int_equal(w.n_hashes, q.length);
                    assert_true(
                        merkle_proof_fold(&q, w.hashes[0], w.n_hashes, got, &height, &index));
                }
    }
    assert_true(hash_serve_counts(w.serve).n_answered > 200);
    end(&w);
}

static void test_serve_rate(void **state)
{
    (void)state;
    static struct world w;
    uint32_t n = 0;
    uint64_t lens[] = {512 * 16 * KIB};
    begin(&w, 16 * KIB, lens, 1);
    struct merkle_request q = {.length = 512};
    memcpy(q.root, w.t.whole->files[0].pieces_root, SHA256_LEN);
    while (ask(&w, &q) == HASH_ANSWER)
        n++;
    assert_in_range(n, HASH_SERVE_BURST / 512, HASH_SERVE_BURST / 512 + 1);
    assert_int_equal(hash_serve_counts(w.serve).n_over_rate, 1);
    uint32_t piece;
    assert_int_equal(
        hash_serve_on_request(w.serve, US_PER_S, &w.peer, &q, w.hashes, &w.n_hashes, &piece),
        HASH_ANSWER);
    assert_int_equal(hash_serve_counts(w.serve).n_trees_made, 1); /* made once, used n times */
    end(&w);
}

/* More trees wanted than are kept: the least recently used go, answers stay right. */
static void test_serve_evicts(void **state)
{
    (void)state;
    static struct world w;
    uint64_t lens[V2_FILES_MAX];
    struct merkle_request q = {.length = 4};
    for (uint32_t i = 0; i < V2_FILES_MAX; i++)
        lens[i] = 64 * KIB * (2 + i);
    begin(&w, 64 * KIB, lens, V2_FILES_MAX);
    for (unsigned round = 0; round < 3; round++)
        for (uint32_t i = 0; i < V2_FILES_MAX; i++) {
            uint8_t got[SHA256_LEN];
            unsigned height;
            uint64_t index;
            memcpy(q.root, w.t.whole->files[i].pieces_root, SHA256_LEN);
            hash_serve_peer_init(&w.peer, 0);
            assert_int_equal(ask(&w, &q), HASH_ANSWER);
            assert_true(merkle_proof_fold(&q, w.hashes[0], w.n_hashes, got, &height, &index));
            assert_memory_equal(got,
                                metainfo_v2_piece_hash(w.t.whole, w.t.whole->files[i].first_piece),
                                SHA256_LEN);
        }
    assert_int_equal(hash_serve_counts(w.serve).n_trees_made, 3 * 2 * V2_FILES_MAX);
    assert_int_equal(ask(&w, &q), HASH_ANSWER); /* still warm */
    assert_int_equal(hash_serve_counts(w.serve).n_trees_made, 3 * 2 * V2_FILES_MAX);
    end(&w);
}

/* --- memory that fails ----------------------------------------------------------------------- */

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct v2_torrent *t = ctx;
    struct hash_fetch *fetch = NULL;
    struct hash_serve *serve = NULL;
    static uint8_t hashes[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    struct hash_serve_peer peer;
    struct merkle_request q;
    struct bitset all = {0};
    size_t n;
    uint32_t piece, file;
    bool is_done = false;
    hash_serve_peer_init(&peer, 0);
    if (hash_fetch_new(&fetch, mem, t->bare) == ERR_OK &&
        hash_serve_new(&serve, mem, t->whole) == ERR_OK &&
        bitset_init(&all, mem, t->whole->n_pieces) == ERR_OK &&
        hash_fetch_add_peer(fetch, 1) == ERR_OK && hash_fetch_want_leaves(fetch, 0) == ERR_OK) {
        for (uint32_t i = 0; i < 1000; i++)
            bitset_set(&all, i);
        is_done = true;
        while (hash_fetch_next(fetch, 0, 1, &all, &q)) {
            enum hash_answer a = hash_serve_on_request(serve, 0, &peer, &q, hashes, &n, &piece);
            if (a == HASH_ANSWER_LEAVES) {
                hash_serve_put_leaves(serve, piece, v2_piece_leaves(t, piece));
                a = hash_serve_retry(serve, &q, hashes, &n, &piece);
            }
            if (a != HASH_ANSWER)
                is_done = false;
            if (a != HASH_ANSWER) {
                hash_fetch_on_reject(fetch, 0, 1, &q);
                continue;
            }
            enum hash_verdict v = hash_fetch_on_hashes(
                fetch, 0, 1, &q, bytes_of(hashes, n * SHA256_LEN), &file, &piece);
            is_done &= v == HASH_TAKEN || v == HASH_LEAVES_DONE;
            assert_true(v != HASH_BAD);
            hash_fetch_check(fetch);
        }
    }
    hash_fetch_free(fetch);
    hash_serve_free(serve);
    if (all.mem)
        bitset_clear(&all);
    return is_done;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct mem mem;
    struct v2_torrent t;
    uint64_t lens[] = {60 * KIB, 3000 * 64 * KIB}; /* of six runs two are asked for, so that the
                                                      metainfo stays as it is */
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    v2_torrent_init(&t, &mem, 64 * KIB, lens, 2);
    assert_true(test_fail_sweep(run_sweep, &t) > 5);
    v2_torrent_clear(&t);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_requests_golden),
        cmocka_unit_test(test_liar),
        cmocka_unit_test(test_wrong_number),
        cmocka_unit_test(test_unasked),
        cmocka_unit_test(test_reject_and_timeout),
        cmocka_unit_test(test_leaves_time_out_sooner),
        cmocka_unit_test(test_have),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_serve_refuses),
        cmocka_unit_test(test_serve_without_layers),
        cmocka_unit_test(test_serve_all_ranges),
        cmocka_unit_test(test_serve_rate),
        cmocka_unit_test(test_serve_evicts),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
