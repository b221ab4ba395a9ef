/* hash_xfer, fetching. Every run of a missing layer, and every chunk of leaves, is in one of three
 * states, and OUT exactly while one peer has a request for it:
 *
 *        hash_fetch_next             answer that proves
 *   TODO ----------------> OUT ---------------------------> DONE
 *     ^                     |
 *     +---------------------+ reject, time-out, wrong answer, peer gone
 */
#include "torrent/hash_xfer.h"
#include "base/size.h"
#include "torrent/peer_wire.h"
#include <assert.h>

#define NO_RUN       UINT32_MAX
#define RUN_SCAN_MAX 256u /* ours: runs looked at in one call, so that a poor peer costs little */
#define CHUNKS_MAX   64u  /* a piece of METAINFO_PIECE_LEN_MAX */
static_assert(METAINFO_PIECE_LEN_MAX / MERKLE_BLOCK_LEN <= CHUNKS_MAX * MERKLE_REQUEST_N_MAX,
              "leaves of a piece fit their chunks");

enum part_state { PART_TODO, PART_OUT, PART_DONE };
enum want_kind { WANT_LAYER, WANT_LEAVES };

struct fetch_file {
    uint32_t file, n_left; /* runs */
    uint8_t *layer;        /* n_layer hashes, from the first run that came to the last */
};

struct fetch_run {
    uint32_t slot;  /* in files */
    uint32_t first; /* hash in the layer */
    uint8_t state;
};

struct fetch_leaves {
    bool is_used;
    uint32_t piece, n_chunks, n_left, chunk_len; /* chunk_len in hashes */
    struct merkle_request first;                 /* of chunk 0 */
    uint8_t *leaves;                             /* n_chunks * chunk_len hashes, pads included */
    uint8_t chunks[CHUNKS_MAX];
};

struct fetch_request {
    struct merkle_request q;
    enum want_kind kind;
    uint32_t run;         /* WANT_LAYER */
    uint32_t want, chunk; /* WANT_LEAVES */
    uint64_t sent_at_us;
};

struct fetch_peer {
    uint32_t conn; /* 0: free */
    uint32_t scan_at;
    uint64_t idle_until_us[2]; /* by kind */
    uint8_t n_out;
    struct fetch_request out[HASH_PEER_REQUESTS];
};

struct hash_fetch {
    struct mem *mem;
    struct metainfo *info;
    struct fetch_file *files;
    struct fetch_run *runs;
    uint32_t n_files, n_files_left, n_runs, cursor; /* no run before cursor is TODO */
    struct fetch_leaves leaves[HASH_LEAVES_MAX];
    struct fetch_peer peers[HASH_PEERS_MAX];
    struct hash_fetch_counts counts;
};

/* --- life ------------------------------------------------------------------------------------ */

static bool is_layer_missing(const struct metainfo_file *file)
{
    return file->n_layer && !file->piece_layer;
}

static void list_runs(struct hash_fetch *f)
{
    uint32_t slot = 0, run = 0;
    for (uint32_t i = 0; i < f->info->n_files; i++) {
        if (!is_layer_missing(&f->info->files[i]))
            continue;
        uint32_t n_layer = f->info->files[i].n_layer;
        for (uint32_t first = 0; first < n_layer; first += MERKLE_REQUEST_N_MAX)
            f->runs[run++] = (struct fetch_run){.slot = slot, .first = first};
        f->files[slot++] = (struct fetch_file){
            .file = i, .n_left = (uint32_t)div_ceil(n_layer, MERKLE_REQUEST_N_MAX)};
    }
}

enum err_code hash_fetch_new(struct hash_fetch **out, struct mem *mem, struct metainfo *info)
{
    struct hash_fetch *f = mem_calloc(mem, 1, sizeof *f);
    if (!f)
        return ERR_NO_MEMORY;
    f->mem = mem;
    f->info = info;
    for (uint32_t i = 0; i < info->n_files; i++) {
        if (!is_layer_missing(&info->files[i]))
            continue;
        f->n_files++;
        f->n_runs += (uint32_t)div_ceil(info->files[i].n_layer, MERKLE_REQUEST_N_MAX);
    }
    f->n_files_left = f->n_files;
    f->files = mem_calloc(mem, f->n_files, sizeof *f->files);
    f->runs = mem_calloc(mem, f->n_runs, sizeof *f->runs);
    if (!f->files || !f->runs) {
        hash_fetch_free(f);
        return ERR_NO_MEMORY;
    }
    list_runs(f);
    *out = f;
    return ERR_OK;
}

void hash_fetch_free(struct hash_fetch *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; f->files && i < f->n_files; i++)
        mem_free(f->mem, f->files[i].layer);
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++)
        mem_free(f->mem, f->leaves[i].leaves);
    mem_free(f->mem, f->files);
    mem_free(f->mem, f->runs);
    mem_free(f->mem, f);
}

bool hash_fetch_needs_layers(const struct hash_fetch *f)
{
    return f->n_files_left != 0;
}

static struct merkle_shape shape_of(const struct hash_fetch *f, uint32_t file)
{
    struct merkle_shape shape = {0};
    bool is_ok = merkle_shape_of(f->info->files[file].len, f->info->piece_len, &shape);
    assert(is_ok); /* the metainfo was checked */
    return shape;
}

/* --- leaves wanted --------------------------------------------------------------------------- */

static struct fetch_leaves *find_leaves(const struct hash_fetch *f, uint32_t piece)
{
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++)
        if (f->leaves[i].is_used && f->leaves[i].piece == piece)
            return (struct fetch_leaves *)&f->leaves[i];
    return NULL;
}

static struct fetch_leaves *free_leaves(struct hash_fetch *f)
{
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++)
        if (!f->leaves[i].is_used)
            return &f->leaves[i];
    return NULL;
}

enum err_code hash_fetch_want_leaves(struct hash_fetch *f, uint32_t piece)
{
    uint32_t file, index;
    struct fetch_leaves *l = free_leaves(f);
    if (find_leaves(f, piece))
        return ERR_OK;
    if (!metainfo_v2_piece_hash(f->info, piece) ||
        !layout_piece_file(&f->info->layout, piece, &file, &index))
        return ERR_NOT_FOUND;
    struct merkle_shape shape = shape_of(f, file);
    unsigned height = merkle_piece_root_height(&shape);
    if (!l || height == 0) {
        f->counts.n_refused++;
        return ERR_LIMIT;
    }
    uint32_t n = 1u << height, chunk_len = (uint32_t)u64_min(n, MERKLE_REQUEST_N_MAX);
    uint8_t *leaves = mem_calloc(f->mem, n, SHA256_LEN);
    if (!leaves)
        return ERR_NO_MEMORY;
    *l = (struct fetch_leaves){.is_used = true,
                               .piece = piece,
                               .n_chunks = n / chunk_len,
                               .n_left = n / chunk_len,
                               .chunk_len = chunk_len,
                               .leaves = leaves};
    memcpy(l->first.root, f->info->files[file].pieces_root, SHA256_LEN);
    l->first.index = index << shape.piece_height;
    l->first.length = chunk_len;
    /* BEP 52: layers inside the base hashes count too, though their uncles are left out. */
    l->first.proof_layers = chunk_len < n ? height - 1 : 0;
    return ERR_OK;
}

const uint8_t *hash_fetch_leaves(const struct hash_fetch *f, uint32_t piece)
{
    const struct fetch_leaves *l = find_leaves(f, piece);
    return l && l->n_left == 0 ? l->leaves : NULL;
}

/* --- requests under way ---------------------------------------------------------------------- */

static void set_state(struct hash_fetch *f, const struct fetch_request *r, enum part_state state)
{
    if (r->kind == WANT_LEAVES) {
        f->leaves[r->want].chunks[r->chunk] = (uint8_t)state;
        return;
    }
    f->runs[r->run].state = (uint8_t)state;
    if (state == PART_TODO && r->run < f->cursor)
        f->cursor = r->run;
}

/* Takes a request off its peer; what becomes of the part is the caller's to say. */
static struct fetch_request take_request(struct fetch_peer *p, uint8_t i)
{
    struct fetch_request r = p->out[i];
    p->out[i] = p->out[--p->n_out];
    return r;
}

void hash_fetch_drop_leaves(struct hash_fetch *f, uint32_t piece)
{
    struct fetch_leaves *l = find_leaves(f, piece);
    if (!l)
        return;
    for (uint32_t i = 0; i < HASH_PEERS_MAX; i++) {
        struct fetch_peer *p = &f->peers[i];
        for (uint8_t k = p->n_out; k-- > 0;)
            if (p->out[k].kind == WANT_LEAVES && &f->leaves[p->out[k].want] == l)
                take_request(p, k);
    }
    mem_free(f->mem, l->leaves);
    *l = (struct fetch_leaves){0};
}

/* --- peers ----------------------------------------------------------------------------------- */

static struct fetch_peer *find_peer(struct hash_fetch *f, uint32_t conn)
{
    for (uint32_t i = 0; i < HASH_PEERS_MAX; i++)
        if (f->peers[i].conn == conn)
            return &f->peers[i];
    return NULL;
}

enum err_code hash_fetch_add_peer(struct hash_fetch *f, uint32_t conn)
{
    assert(conn != 0);
    if (find_peer(f, conn))
        return ERR_OK;
    struct fetch_peer *p = find_peer(f, 0);
    if (!p) {
        f->counts.n_refused++;
        return ERR_LIMIT;
    }
    p->conn = conn;
    return ERR_OK;
}

void hash_fetch_remove_peer(struct hash_fetch *f, uint32_t conn)
{
    struct fetch_peer *p = conn ? find_peer(f, conn) : NULL;
    if (!p)
        return;
    for (uint8_t i = 0; i < p->n_out; i++)
        set_state(f, &p->out[i], PART_TODO);
    *p = (struct fetch_peer){0};
}

/* --- choosing -------------------------------------------------------------------------------- */

static bool pick_leaves(struct hash_fetch *f, const struct bitset *have, struct fetch_request *out)
{
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++) {
        const struct fetch_leaves *l = &f->leaves[i];
        if (!l->is_used || l->n_left == 0 || (have && !bitset_get(have, l->piece)))
            continue;
        for (uint32_t c = 0; c < l->n_chunks; c++) {
            if (l->chunks[c] != PART_TODO)
                continue;
            *out =
                (struct fetch_request){.q = l->first, .kind = WANT_LEAVES, .want = i, .chunk = c};
            out->q.index += c * l->chunk_len;
            return true;
        }
    }
    return false;
}

/* BEP 52, "hash request": a peer must serve hashes that cover pieces which it has announced. */
static bool covers_piece(const struct hash_fetch *f, const struct fetch_run *run,
                         const struct bitset *have)
{
    const struct metainfo_file *file = &f->info->files[f->files[run->slot].file];
    uint32_t n = (uint32_t)u64_min(MERKLE_REQUEST_N_MAX, file->n_layer - run->first);
    uint32_t from = file->first_piece + run->first;
    return !have || bitset_next_set(have, from) < from + n;
}

/* Another file with the same root has brought this one's layer. */
static void skip_known(struct hash_fetch *f, struct fetch_run *run)
{
    struct fetch_file *slot = &f->files[run->slot];
    if (run->state != PART_TODO || !f->info->files[slot->file].piece_layer)
        return;
    run->state = PART_DONE;
    if (--slot->n_left)
        return;
    mem_free(f->mem, slot->layer);
    slot->layer = NULL;
    f->n_files_left--;
}

static uint32_t find_run(struct hash_fetch *f, struct fetch_peer *p, const struct bitset *have)
{
    while (f->cursor < f->n_runs && f->runs[f->cursor].state != PART_TODO)
        f->cursor++;
    uint32_t at = (uint32_t)u64_max(p->scan_at, f->cursor);
    for (uint32_t n = 0; n < RUN_SCAN_MAX && at < f->n_runs; n++, at++) {
        skip_known(f, &f->runs[at]);
        if (f->runs[at].state == PART_TODO && covers_piece(f, &f->runs[at], have)) {
            p->scan_at = at;
            return at;
        }
    }
    p->scan_at = at < f->n_runs ? at : 0;
    return NO_RUN;
}

static bool pick_run(struct hash_fetch *f, struct fetch_peer *p, const struct bitset *have,
                     struct fetch_request *out)
{
    uint32_t run = find_run(f, p, have);
    if (run == NO_RUN)
        return false;
    uint32_t file = f->files[f->runs[run].slot].file;
    struct merkle_shape shape = shape_of(f, file);
    uint64_t width = 1ull << (shape.root_height - shape.piece_height);
    *out = (struct fetch_request){.kind = WANT_LAYER, .run = run};
    memcpy(out->q.root, f->info->files[file].pieces_root, SHA256_LEN);
    out->q.base_layer = shape.piece_height;
    out->q.index = f->runs[run].first;
    out->q.length = (uint32_t)u64_min(width, MERKLE_REQUEST_N_MAX);
    out->q.proof_layers = merkle_proof_layers_to_root(&shape, shape.piece_height);
    return true;
}

bool hash_fetch_next(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                     const struct bitset *have, struct merkle_request *out)
{
    struct fetch_request r;
    struct fetch_peer *p = conn ? find_peer(f, conn) : NULL;
    if (!p || p->n_out == HASH_PEER_REQUESTS)
        return false;
    if (!(now_us >= p->idle_until_us[WANT_LEAVES] && pick_leaves(f, have, &r)) &&
        !(now_us >= p->idle_until_us[WANT_LAYER] && pick_run(f, p, have, &r)))
        return false;
    r.sent_at_us = now_us;
    set_state(f, &r, PART_OUT);
    p->out[p->n_out++] = r;
    f->counts.n_requests++;
    *out = r.q;
    return true;
}

/* --- answers --------------------------------------------------------------------------------- */

/* The last run is here. Another file with the same root may have brought the layer already. */
static enum hash_verdict finish_layer(struct hash_fetch *f, struct fetch_file *slot,
                                      uint32_t *out_file)
{
    const struct metainfo_file *file = &f->info->files[slot->file];
    struct bytes layer = bytes_of(slot->layer, (size_t)file->n_layer * SHA256_LEN);
    *out_file = slot->file;
    enum err_code code = ERR_OK;
    if (!file->piece_layer)
        code = metainfo_set_piece_layer(f->info, slot->file, layer, NULL);
    mem_free(f->mem, slot->layer);
    slot->layer = NULL;
    if (code == ERR_OK) {
        f->n_files_left--;
        return HASH_LAYER_DONE;
    }
    for (uint32_t i = 0; i < f->n_runs; i++) {
        if (&f->files[f->runs[i].slot] != slot)
            continue;
        f->runs[i].state = PART_TODO;
        f->cursor = (uint32_t)u64_min(f->cursor, i);
        slot->n_left++;
    }
    return HASH_NO_MEMORY;
}

static enum hash_verdict take_run(struct hash_fetch *f, const struct fetch_request *r,
                                  struct bytes list, uint32_t *out_file)
{
    const struct fetch_run *run = &f->runs[r->run];
    struct fetch_file *slot = &f->files[run->slot];
    const struct metainfo_file *file = &f->info->files[slot->file];
    struct merkle_shape shape = shape_of(f, slot->file);
    if (!merkle_proof_is_good(&r->q, &shape, list.data, list.len / SHA256_LEN))
        return HASH_BAD;
    if (!slot->layer)
        slot->layer = mem_calloc(f->mem, file->n_layer, SHA256_LEN);
    if (!slot->layer)
        return HASH_NO_MEMORY;
    size_t n = size_min(r->q.length, file->n_layer - run->first);
    memcpy(slot->layer + (size_t)run->first * SHA256_LEN, list.data, n * SHA256_LEN);
    set_state(f, r, PART_DONE);
    return --slot->n_left ? HASH_TAKEN : finish_layer(f, slot, out_file);
}

static enum hash_verdict take_chunk(struct hash_fetch *f, const struct fetch_request *r,
                                    struct bytes list, uint32_t *out_piece)
{
    struct fetch_leaves *l = &f->leaves[r->want];
    const uint8_t *want = metainfo_v2_piece_hash(f->info, l->piece);
    uint8_t got[SHA256_LEN];
    unsigned height;
    uint64_t index;
    if (!merkle_proof_fold(&r->q, list.data, list.len / SHA256_LEN, got, &height, &index) ||
        memcmp(got, want, SHA256_LEN) != 0)
        return HASH_BAD;
    size_t len = (size_t)l->chunk_len * SHA256_LEN;
    memcpy(l->leaves + r->chunk * len, list.data, len);
    set_state(f, r, PART_DONE);
    *out_piece = l->piece;
    return --l->n_left ? HASH_TAKEN : HASH_LEAVES_DONE;
}

/* The request that ref repeats; -1: none. */
static int find_request(const struct fetch_peer *p, const struct merkle_request *ref)
{
    for (int i = 0; p && i < p->n_out; i++)
        if (merkle_request_equal(&p->out[i].q, ref))
            return i;
    return -1;
}

enum hash_verdict hash_fetch_on_hashes(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                                       const struct merkle_request *ref, struct bytes list,
                                       uint32_t *out_file, uint32_t *out_piece)
{
    struct fetch_peer *p = conn ? find_peer(f, conn) : NULL;
    int i = find_request(p, ref);
    if (!p || i < 0) {
        f->counts.n_unasked++;
        return HASH_IGNORED;
    }
    struct fetch_request r = take_request(p, (uint8_t)i);
    enum hash_verdict verdict =
        r.kind == WANT_LAYER ? take_run(f, &r, list, out_file) : take_chunk(f, &r, list, out_piece);
    if (verdict == HASH_BAD) {
        f->counts.n_bad++;
        p->idle_until_us[WANT_LAYER] = p->idle_until_us[WANT_LEAVES] = DEADLINE_NEVER;
    }
    if (verdict == HASH_NO_MEMORY)
        p->idle_until_us[r.kind] = now_us + HASH_REJECT_WAIT_US;
    if (verdict == HASH_BAD || (verdict == HASH_NO_MEMORY && f->runs[r.run].state == PART_OUT))
        set_state(f, &r, PART_TODO);
    return verdict;
}

bool hash_fetch_on_reject(struct hash_fetch *f, uint64_t now_us, uint32_t conn,
                          const struct merkle_request *ref)
{
    struct fetch_peer *p = conn ? find_peer(f, conn) : NULL;
    int i = find_request(p, ref);
    if (!p || i < 0) {
        f->counts.n_unasked++;
        return false;
    }
    struct fetch_request r = take_request(p, (uint8_t)i);
    set_state(f, &r, PART_TODO);
    p->idle_until_us[r.kind] = u64_max(p->idle_until_us[r.kind], now_us + HASH_REJECT_WAIT_US);
    f->counts.n_rejects++;
    return true;
}

/* --- time ------------------------------------------------------------------------------------ */

static uint64_t timeout_at_us(const struct fetch_request *r)
{
    return r->sent_at_us + (r->kind == WANT_LEAVES ? HASH_LEAVES_US : HASH_TIMEOUT_US);
}

void hash_fetch_on_tick(struct hash_fetch *f, uint64_t now_us)
{
    for (uint32_t i = 0; i < HASH_PEERS_MAX; i++) {
        struct fetch_peer *p = &f->peers[i];
        for (uint8_t k = p->n_out; k-- > 0;) {
            if (now_us < timeout_at_us(&p->out[k]))
                continue;
            struct fetch_request r = take_request(p, k);
            set_state(f, &r, PART_TODO);
            p->idle_until_us[r.kind] =
                u64_max(p->idle_until_us[r.kind], now_us + HASH_REJECT_WAIT_US);
            f->counts.n_timeouts++;
        }
        for (int kind = 0; kind < 2; kind++)
            if (p->idle_until_us[kind] <= now_us)
                p->idle_until_us[kind] = 0;
    }
}

static bool has_work(const struct hash_fetch *f)
{
    if (f->n_files_left)
        return true;
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++)
        if (f->leaves[i].n_left)
            return true;
    return false;
}

uint64_t hash_fetch_deadline_us(const struct hash_fetch *f)
{
    uint64_t at = DEADLINE_NEVER;
    bool is_working = has_work(f);
    for (uint32_t i = 0; i < HASH_PEERS_MAX; i++) {
        const struct fetch_peer *p = &f->peers[i];
        for (uint8_t k = 0; k < p->n_out; k++)
            at = u64_min(at, timeout_at_us(&p->out[k]));
        for (int kind = 0; kind < 2; kind++)
            if (is_working && p->idle_until_us[kind])
                at = u64_min(at, p->idle_until_us[kind]);
    }
    return at;
}

struct hash_fetch_counts hash_fetch_counts(const struct hash_fetch *f)
{
    return f->counts;
}

/* --- what must hold -------------------------------------------------------------------------- */

static uint32_t n_requests_for(const struct hash_fetch *f, enum want_kind kind, uint32_t a,
                               uint32_t chunk)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < HASH_PEERS_MAX; i++)
        for (uint8_t k = 0; k < f->peers[i].n_out; k++) {
            const struct fetch_request *r = &f->peers[i].out[k];
            n += r->kind == kind &&
                 (kind == WANT_LAYER ? r->run == a : r->want == a && r->chunk == chunk);
        }
    return n;
}

static void check_leaves(const struct hash_fetch *f, uint32_t want)
{
    const struct fetch_leaves *l = &f->leaves[want];
    uint32_t n_left = 0;
    for (uint32_t c = 0; c < l->n_chunks; c++) {
        assert(n_requests_for(f, WANT_LEAVES, want, c) == (l->chunks[c] == PART_OUT));
        n_left += l->chunks[c] != PART_DONE;
    }
    assert(n_left == l->n_left && l->is_used == (l->leaves != NULL));
}

void hash_fetch_check(const struct hash_fetch *f)
{
    uint32_t n_files_left = 0, run = 0;
    for (uint32_t i = 0; i < HASH_LEAVES_MAX; i++)
        check_leaves(f, i);
    for (uint32_t slot = 0; slot < f->n_files; slot++) {
        uint32_t n_left = 0;
        for (; run < f->n_runs && f->runs[run].slot == slot; run++) {
            assert(n_requests_for(f, WANT_LAYER, run, 0) == (f->runs[run].state == PART_OUT));
            assert(run >= f->cursor || f->runs[run].state != PART_TODO);
            n_left += f->runs[run].state != PART_DONE;
        }
        assert(n_left == f->files[slot].n_left);
        assert(n_left || !f->files[slot].layer);
        n_files_left += n_left != 0;
    }
    assert(n_files_left == f->n_files_left && run == f->n_runs);
}
