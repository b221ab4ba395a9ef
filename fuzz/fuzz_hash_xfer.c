/* Both halves of the v2 hash exchange: requests of any kind to hash_serve, whose answers must
 * prove; and a hash_fetch whose peers answer, lie, reject, leave and are silent, as the input says,
 * after which an honest peer stays and every layer must come. Input: one byte and one argument per
 * step. */
#include "../tests/v2_torrent.h"
#include "base/size.h"
#include "torrent/hash_xfer.h"
#include "torrent/peer_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define N_CONNS   8u /* odd ones lie */
#define PIECE_LEN 65536u

static const uint64_t lens[] = {0, 5, 3 * 65536, 600 * 65536ull + 1, 2 * 65536, 50000};
#define N_FILES (sizeof lens / sizeof *lens)

struct world {
    struct mem mem;
    struct v2_torrent t; /* made once; only t.bare is each run's own */
    struct hash_fetch *fetch;
    struct hash_serve *serve;
    struct bitset have;
    uint64_t now_us;
    struct merkle_request q; /* the last one asked */
    uint32_t conn;
    uint8_t hashes[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    size_t n;
};

static enum hash_answer serve(struct world *w, const struct merkle_request *q)
{
    struct hash_serve_peer peer;
    uint32_t piece;
    hash_serve_peer_init(&peer, w->now_us);
    enum hash_answer a =
        hash_serve_on_request(w->serve, w->now_us, &peer, q, w->hashes, &w->n, &piece);
    if (a != HASH_ANSWER_LEAVES)
        return a;
    hash_serve_put_leaves(w->serve, piece, v2_piece_leaves(&w->t, piece));
    a = hash_serve_retry(w->serve, q, w->hashes, &w->n, &piece);
    assert(a != HASH_ANSWER_LEAVES);
    return a;
}

/* What is served folds, and up to the root if it goes that far. */
static void serve_any(struct world *w, const struct merkle_request *q)
{
    struct merkle_shape s;
    uint8_t got[SHA256_LEN];
    unsigned height;
    uint64_t index;
    if (serve(w, q) != HASH_ANSWER)
        return;
    bool is_folded = merkle_proof_fold(q, w->hashes[0], w->n, got, &height, &index);
    assert(is_folded);
    for (uint32_t i = 0; i < N_FILES; i++)
        if (w->t.leaves[i] && memcmp(w->t.whole->files[i].pieces_root, q->root, SHA256_LEN) == 0 &&
            merkle_shape_of(lens[i], PIECE_LEN, &s) && height == s.root_height)
            assert(memcmp(got, q->root, SHA256_LEN) == 0);
}

static void answer(struct world *w, uint32_t conn, uint8_t arg)
{
    uint32_t file, piece;
    if (serve(w, &w->q) != HASH_ANSWER)
        return;
    bool is_lie = conn % 2;
    if (is_lie)
        w->hashes[arg % w->n][arg % SHA256_LEN] ^= 1;
    enum hash_verdict v = hash_fetch_on_hashes(
        w->fetch, w->now_us, conn, &w->q, bytes_of(w->hashes, w->n * SHA256_LEN), &file, &piece);
    assert(v != HASH_NO_MEMORY && (v != HASH_BAD || is_lie));
    assert(!is_lie || v == HASH_BAD || v == HASH_IGNORED);
    if (v == HASH_LEAVES_DONE)
        assert(memcmp(hash_fetch_leaves(w->fetch, piece), v2_piece_leaves(&w->t, piece),
                      layout_n_blocks(&w->t.bare->layout, piece) * SHA256_LEN) == 0);
}

static struct merkle_request any_request(const struct world *w, uint8_t arg, uint8_t more)
{
    struct merkle_request q = {
        .base_layer = arg >> 4, .length = 1u << (arg & 15), .proof_layers = more & 15};
    q.index = q.length * (more >> 4) + (arg == 0xff);
    const uint8_t *root = w->t.whole->files[more % N_FILES].pieces_root;
    if (root)
        memcpy(q.root, root, SHA256_LEN);
    return q;
}

static void step(struct world *w, uint8_t op, uint8_t arg, uint8_t more)
{
    uint32_t conn = 1 + arg % N_CONNS;
    struct merkle_request q;
    switch (op % 8) {
    case 0:
        (void)!hash_fetch_add_peer(w->fetch, conn);
        break;
    case 1:
        hash_fetch_remove_peer(w->fetch, conn);
        break;
    case 2:
        if (hash_fetch_next(w->fetch, w->now_us, conn, &w->have, &w->q))
            w->conn = conn;
        break;
    case 3:
        if (w->conn)
            answer(w, arg & 0x80 ? conn : w->conn, arg);
        break;
    case 4:
        hash_fetch_on_reject(w->fetch, w->now_us, w->conn, &w->q);
        break;
    case 5:
        w->now_us += (uint64_t)arg * US_PER_S / 4;
        hash_fetch_on_tick(w->fetch, w->now_us);
        break;
    case 6:
        if (arg & 1)
            hash_fetch_drop_leaves(w->fetch, arg >> 1);
        else
            (void)!hash_fetch_want_leaves(w->fetch, arg >> 1);
        break;
    default:
        q = any_request(w, arg, more);
        serve_any(w, &q);
        break;
    }
}

static void finish(struct world *w)
{
    for (uint32_t conn = 1; conn <= N_CONNS; conn++)
        hash_fetch_remove_peer(w->fetch, conn);
    enum err_code code = hash_fetch_add_peer(w->fetch, 2);
    assert(code == ERR_OK);
    bitset_set_all(&w->have);
    for (unsigned n = 0; n < 1000 && hash_fetch_next(w->fetch, w->now_us, 2, &w->have, &w->q); n++)
        answer(w, 2, 0);
    assert(!hash_fetch_needs_layers(w->fetch) && w->t.bare->has_piece_layers);
    assert(hash_fetch_deadline_us(w->fetch) == DEADLINE_NEVER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world w;
    static struct v2_torrent torrent;
    static struct mem torrent_mem;
    if (len > 600)
        return 0;
    if (!torrent.whole) {
        mem_init(&torrent_mem, MEM_NO_BUDGET, NULL);
        v2_torrent_init(&torrent, &torrent_mem, PIECE_LEN, lens, N_FILES);
    }
    memset(&w, 0, sizeof w);
    mem_init(&w.mem, MEM_NO_BUDGET, NULL);
    w.t = torrent;
    if (metainfo_read_info(&w.t.bare, buf_bytes(&torrent.info), &w.mem, NULL, NULL) ||
        hash_fetch_new(&w.fetch, &w.mem, w.t.bare) || hash_serve_new(&w.serve, &w.mem, w.t.whole) ||
        bitset_init(&w.have, &w.mem, w.t.bare->n_pieces))
        abort();
    for (uint32_t i = 0; i < w.t.bare->n_pieces; i += 3)
        bitset_set(&w.have, i);
    for (size_t i = 0; i + 2 < len; i += 3) {
        step(&w, data[i], data[i + 1], data[i + 2]);
        hash_fetch_check(w.fetch);
    }
    finish(&w);
    hash_fetch_check(w.fetch);
    hash_fetch_free(w.fetch);
    hash_serve_free(w.serve);
    bitset_clear(&w.have);
    metainfo_free(w.t.bare);
    assert(w.mem.used_len == 0);
    return 0;
}
