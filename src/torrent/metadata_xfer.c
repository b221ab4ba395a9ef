#include "torrent/metadata_xfer.h"
#include "base/size.h"
#include <assert.h>

#define NO_SLOT 0xFFu
static_assert(METADATA_PEERS_MAX < NO_SLOT, "slots fit a byte");

struct meta_request {
    uint32_t piece;
    bool is_late; /* timed out: others may be asked, an answer is still welcome */
    uint64_t sent_at_us;
};

struct meta_peer {
    bool is_used, is_gone, is_barred; /* barred: asked no more */
    bool is_blamed, is_blame_told;
    uint8_t n_out, n_strikes;
    uint32_t conn;
    struct addr addr;
    uint64_t size;          /* what it claims */
    uint64_t idle_until_us; /* not asked before; 0: now */
    struct meta_request out[METADATA_PEER_REQUESTS];
};

struct meta_piece {
    bool is_here;
    uint8_t supplier; /* slot, or NO_SLOT */
    uint8_t n_out;    /* requests under way that are not late */
};

/* A piece of the last try that failed with several suppliers. */
struct meta_suspect {
    uint8_t digest[SHA1_LEN];
    uint8_t supplier;
};

struct metadata_fetch {
    struct mem *mem;
    struct metadata_want want;
    struct meta_peer peers[METADATA_PEERS_MAX];
    /* the try */
    uint64_t size; /* 0: none yet */
    uint32_t n_pieces, n_have;
    struct meta_piece *pieces;
    uint8_t *info; /* `size` bytes, once a piece is here */
    bool is_done;
    bool is_single;                /* from one peer at a time: */
    uint8_t single;                /* this one, or NO_SLOT */
    struct meta_suspect *suspects; /* n_suspects == n_pieces of that try */
    uint32_t n_suspects;
    uint64_t suspects_size;
    struct metadata_fetch_counts counts;
};

enum err_code metadata_fetch_new(struct metadata_fetch **out, struct mem *mem,
                                 const struct metadata_want *want)
{
    struct metadata_fetch *f = mem_calloc(mem, 1, sizeof *f);
    assert(want->has_v1 || want->has_v2);
    if (!f)
        return ERR_NO_MEMORY;
    f->mem = mem;
    f->want = *want;
    f->single = NO_SLOT;
    *out = f;
    return ERR_OK;
}

void metadata_fetch_free(struct metadata_fetch *f)
{
    if (!f)
        return;
    mem_free(f->mem, f->pieces);
    mem_free(f->mem, f->info);
    mem_free(f->mem, f->suspects);
    mem_free(f->mem, f);
}

/* --- peers ----------------------------------------------------------------------------------- */

static bool is_active(const struct meta_peer *p)
{
    return p->is_used && !p->is_gone && !p->is_barred;
}

static struct meta_peer *find_peer(struct metadata_fetch *f, uint32_t conn)
{
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++)
        if (f->peers[i].is_used && !f->peers[i].is_gone && f->peers[i].conn == conn)
            return &f->peers[i];
    return NULL;
}

static uint8_t slot_of(const struct metadata_fetch *f, const struct meta_peer *p)
{
    return (uint8_t)(p - f->peers);
}

static bool is_referenced(const struct metadata_fetch *f, uint8_t slot)
{
    for (uint32_t i = 0; i < f->n_pieces; i++)
        if (f->pieces[i].is_here && f->pieces[i].supplier == slot)
            return true;
    for (uint32_t i = 0; i < f->n_suspects; i++)
        if (f->suspects[i].supplier == slot)
            return true;
    return false;
}

/* The slot is about to be another peer's: what it supplied is nobody's now. */
static void forget_slot(struct metadata_fetch *f, uint8_t slot)
{
    for (uint32_t i = 0; i < f->n_pieces; i++)
        if (f->pieces[i].supplier == slot)
            f->pieces[i].supplier = NO_SLOT;
    for (uint32_t i = 0; i < f->n_suspects; i++)
        if (f->suspects[i].supplier == slot)
            f->suspects[i].supplier = NO_SLOT;
    f->peers[slot] = (struct meta_peer){0};
}

/* A free slot; else that of a peer that is gone, best one whose past no longer matters. */
static struct meta_peer *new_slot(struct metadata_fetch *f)
{
    struct meta_peer *gone = NULL;
    for (uint8_t i = 0; i < METADATA_PEERS_MAX; i++) {
        struct meta_peer *p = &f->peers[i];
        if (!p->is_used)
            return p;
        bool is_better = !gone || (gone->is_blamed && !p->is_blamed);
        if (p->is_gone && is_better)
            gone = p;
    }
    if (gone)
        forget_slot(f, slot_of(f, gone));
    return gone;
}

static void drop_requests(struct metadata_fetch *f, struct meta_peer *p)
{
    for (uint8_t i = 0; i < p->n_out; i++)
        if (!p->out[i].is_late)
            f->pieces[p->out[i].piece].n_out--;
    p->n_out = 0;
}

enum err_code metadata_fetch_add_peer(struct metadata_fetch *f, uint64_t now_us, uint32_t conn,
                                      const struct addr *addr, uint64_t metadata_size)
{
    struct meta_peer *p = find_peer(f, conn);
    if (metadata_size == 0 || metadata_size > METADATA_LEN_MAX) {
        f->counts.n_refused++;
        return ERR_LIMIT;
    }
    if (p && p->is_barred)
        return ERR_PROTOCOL;
    if (p && p->size == metadata_size)
        return ERR_OK;
    if (p) {
        drop_requests(f, p);
        p->size = metadata_size;
        p->idle_until_us = now_us;
        return ERR_OK;
    }
    p = new_slot(f);
    if (!p) {
        f->counts.n_refused++;
        return ERR_LIMIT;
    }
    *p = (struct meta_peer){.is_used = true, .conn = conn, .addr = *addr, .size = metadata_size};
    return ERR_OK;
}

void metadata_fetch_remove_peer(struct metadata_fetch *f, uint32_t conn)
{
    struct meta_peer *p = find_peer(f, conn);
    if (!p)
        return;
    drop_requests(f, p);
    p->is_gone = true;
    p->conn = 0;
    if (f->single == slot_of(f, p))
        f->single = NO_SLOT;
    bool has_news = p->is_blamed && !p->is_blame_told;
    if (!has_news && !is_referenced(f, slot_of(f, p)))
        *p = (struct meta_peer){0};
}

static void bar(struct metadata_fetch *f, struct meta_peer *p)
{
    drop_requests(f, p);
    p->is_barred = true;
    if (f->single == slot_of(f, p))
        f->single = NO_SLOT;
}

static void blame(struct metadata_fetch *f, uint8_t slot)
{
    if (slot == NO_SLOT || f->peers[slot].is_blamed)
        return;
    bar(f, &f->peers[slot]);
    f->peers[slot].is_blamed = true;
}

bool metadata_fetch_next_blamed(struct metadata_fetch *f, uint32_t *out_conn, struct addr *out_addr)
{
    for (uint8_t i = 0; i < METADATA_PEERS_MAX; i++) {
        struct meta_peer *p = &f->peers[i];
        if (!p->is_blamed || p->is_blame_told)
            continue;
        p->is_blame_told = true;
        *out_conn = p->conn;
        *out_addr = p->addr;
        if (p->is_gone)
            forget_slot(f, i);
        return true;
    }
    return false;
}

/* --- tries ----------------------------------------------------------------------------------- */

/* How much speaks for this size: each peer that answers counts more than all that do not. */
static uint32_t votes(const struct metadata_fetch *f, uint64_t size)
{
    uint32_t n = 0;
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++) {
        const struct meta_peer *p = &f->peers[i];
        if (is_active(p) && p->size == size)
            n += p->n_strikes < METADATA_STRIKES_MAX ? METADATA_PEERS_MAX + 1 : 1;
    }
    return n;
}

/* The size with most votes; the one being fetched unless another has more. 0: nobody. */
static uint64_t choose_size(const struct metadata_fetch *f)
{
    uint64_t best = f->size;
    uint32_t best_votes = f->size ? votes(f, f->size) : 0;
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++) {
        uint32_t n = is_active(&f->peers[i]) ? votes(f, f->peers[i].size) : 0;
        if (n > best_votes) {
            best = f->peers[i].size;
            best_votes = n;
        }
    }
    return best_votes ? best : 0;
}

static uint32_t piece_len(const struct metadata_fetch *f, uint32_t piece)
{
    uint64_t left = f->size - (uint64_t)piece * METADATA_PIECE_LEN;
    return (uint32_t)u64_min(left, METADATA_PIECE_LEN);
}

/* Nothing is here and nothing under way. */
static void clear_try(struct metadata_fetch *f)
{
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++)
        drop_requests(f, &f->peers[i]);
    mem_free(f->mem, f->info);
    f->info = NULL;
    f->n_have = 0;
    for (uint32_t i = 0; i < f->n_pieces; i++)
        f->pieces[i] = (struct meta_piece){.supplier = NO_SLOT};
}

/* Begin again with this size. False: no memory, no try. */
static bool begin_try(struct metadata_fetch *f, uint64_t size)
{
    uint32_t n = (uint32_t)div_ceil(size, METADATA_PIECE_LEN);
    clear_try(f);
    struct meta_piece *pieces = mem_realloc(f->mem, f->pieces, n * sizeof *pieces);
    if (!pieces)
        return false;
    f->pieces = pieces;
    f->n_pieces = n;
    f->size = size;
    clear_try(f);
    return true;
}

/* Of the peers with this size, one with the fewest strikes, in the order of slots: every peer gets
 * its turn, since one that fails is barred. It stays until it is gone, mute or says another
 * size. */
static void choose_single(struct metadata_fetch *f)
{
    const struct meta_peer *now = f->single == NO_SLOT ? NULL : &f->peers[f->single];
    uint8_t best = NO_SLOT;
    if (now && is_active(now) && now->size == f->size && now->n_strikes < METADATA_STRIKES_MAX)
        return;
    for (uint8_t i = 0; i < METADATA_PEERS_MAX; i++) {
        const struct meta_peer *p = &f->peers[i];
        if (is_active(p) && p->size == f->size &&
            (best == NO_SLOT || p->n_strikes < f->peers[best].n_strikes))
            best = i;
    }
    if (best == f->single)
        return;
    clear_try(f);
    f->single = best;
}

/* --- requests -------------------------------------------------------------------------------- */

static bool is_waiting(const struct meta_peer *p)
{
    for (uint8_t i = 0; i < p->n_out; i++)
        if (!p->out[i].is_late)
            return true;
    return false;
}

/* A peer that owes only late answers is passed over for a while, longer when it goes on. */
static void expire(struct metadata_fetch *f, struct meta_peer *p, uint64_t now_us)
{
    for (uint8_t i = 0; i < p->n_out; i++) {
        struct meta_request *r = &p->out[i];
        if (r->is_late || now_us < r->sent_at_us + METADATA_TIMEOUT_US)
            continue;
        r->is_late = true;
        f->pieces[r->piece].n_out--;
        f->counts.n_timeouts++;
        if (p->n_strikes < METADATA_STRIKES_MAX)
            p->n_strikes++;
    }
    if (p->n_out == 0 || is_waiting(p) || p->idle_until_us)
        return;
    bool is_mute = p->n_strikes == METADATA_STRIKES_MAX;
    p->idle_until_us = now_us + (is_mute ? METADATA_REJECT_WAIT_US : METADATA_TIMEOUT_US);
}

/* Its time of being passed over has ended: what it owed is forgotten, it has one more chance. */
static void wake(struct metadata_fetch *f, struct meta_peer *p, uint64_t now_us)
{
    if (p->idle_until_us == 0 || now_us < p->idle_until_us)
        return;
    drop_requests(f, p);
    p->idle_until_us = 0;
    if (p->n_strikes == METADATA_STRIKES_MAX)
        p->n_strikes--;
}

void metadata_fetch_on_tick(struct metadata_fetch *f, uint64_t now_us)
{
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++) {
        wake(f, &f->peers[i], now_us);
        expire(f, &f->peers[i], now_us);
    }
}

uint64_t metadata_fetch_deadline_us(const struct metadata_fetch *f)
{
    uint64_t at = DEADLINE_NEVER;
    for (size_t i = 0; i < METADATA_PEERS_MAX && !f->is_done; i++) {
        const struct meta_peer *p = &f->peers[i];
        if (is_active(p) && p->idle_until_us)
            at = u64_min(at, p->idle_until_us);
        for (uint8_t k = 0; k < p->n_out; k++)
            if (!p->out[k].is_late)
                at = u64_min(at, p->out[k].sent_at_us + METADATA_TIMEOUT_US);
    }
    return at;
}

static bool has_request(const struct meta_peer *p, uint32_t piece)
{
    for (uint8_t i = 0; i < p->n_out; i++)
        if (p->out[i].piece == piece)
            return true;
    return false;
}

static bool can_ask(const struct metadata_fetch *f, const struct meta_peer *p, uint32_t piece)
{
    return is_active(p) && p->size == f->size && p->idle_until_us == 0 &&
           p->n_out < METADATA_PEER_REQUESTS && !has_request(p, piece) &&
           (!f->is_single || f->single == slot_of(f, p));
}

/* Fewest strikes, then fewest requests under way. */
static struct meta_peer *choose_peer(struct metadata_fetch *f, uint32_t piece)
{
    struct meta_peer *best = NULL;
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++) {
        struct meta_peer *p = &f->peers[i];
        if (!can_ask(f, p, piece))
            continue;
        if (!best || p->n_strikes < best->n_strikes ||
            (p->n_strikes == best->n_strikes && p->n_out < best->n_out))
            best = p;
    }
    return best;
}

bool metadata_fetch_next(struct metadata_fetch *f, uint64_t now_us, uint32_t *out_conn,
                         uint32_t *out_piece)
{
    if (f->is_done)
        return false;
    metadata_fetch_on_tick(f, now_us);
    uint64_t size = choose_size(f);
    if (size == 0 || (size != f->size && !begin_try(f, size)))
        return false;
    if (f->is_single)
        choose_single(f);
    for (uint32_t i = 0; i < f->n_pieces; i++) {
        struct meta_peer *p = NULL;
        if (!f->pieces[i].is_here && f->pieces[i].n_out == 0)
            p = choose_peer(f, i);
        if (!p)
            continue;
        p->out[p->n_out++] = (struct meta_request){.piece = i, .sent_at_us = now_us};
        f->pieces[i].n_out++;
        f->counts.n_requests++;
        *out_conn = p->conn;
        *out_piece = i;
        return true;
    }
    return false;
}

/* Takes the request for this piece off the peer; false when there was none. */
static bool settle(struct metadata_fetch *f, struct meta_peer *p, uint32_t piece)
{
    for (uint8_t i = 0; i < p->n_out; i++) {
        if (p->out[i].piece != piece)
            continue;
        if (!p->out[i].is_late)
            f->pieces[piece].n_out--;
        p->out[i] = p->out[--p->n_out];
        return true;
    }
    return false;
}

void metadata_fetch_on_reject(struct metadata_fetch *f, uint64_t now_us, uint32_t conn,
                              uint32_t piece)
{
    struct meta_peer *p = find_peer(f, conn);
    if (!p || !settle(f, p, piece)) {
        f->counts.n_unasked++;
        return;
    }
    f->counts.n_rejects++;
    p->idle_until_us = now_us + METADATA_REJECT_WAIT_US;
}

/* --- answers --------------------------------------------------------------------------------- */

static bool is_wanted_info(const struct metadata_fetch *f)
{
    struct bytes info = bytes_of(f->info, f->size);
    uint8_t v1[SHA1_LEN], v2[SHA256_LEN];
    bool is_right = true;
    if (f->want.has_v1) {
        sha1(info, v1);
        is_right &= memcmp(v1, f->want.v1, sizeof v1) == 0;
    }
    if (f->want.has_v2) {
        sha256(info, v2);
        is_right &= memcmp(v2, f->want.v2, sizeof v2) == 0;
    }
    return is_right;
}

/* The one peer that supplied everything; NO_SLOT: several, or not known. */
static uint8_t sole_supplier(const struct metadata_fetch *f)
{
    for (uint32_t i = 1; i < f->n_pieces; i++)
        if (f->pieces[i].supplier != f->pieces[0].supplier)
            return NO_SLOT;
    return f->pieces[0].supplier;
}

static void digest_piece(const struct metadata_fetch *f, uint32_t piece, uint8_t out[SHA1_LEN])
{
    const uint8_t *data = f->info + (size_t)piece * METADATA_PIECE_LEN;
    sha1(bytes_of(data, piece_len(f, piece)), out);
}

/* What each supplier gave, to be compared with the right bytes once they are here. Without memory
 * for it the liars among them stay unnamed. */
static void suspect_all(struct metadata_fetch *f)
{
    mem_free(f->mem, f->suspects);
    f->suspects = mem_calloc(f->mem, f->n_pieces, sizeof *f->suspects);
    f->n_suspects = f->suspects ? f->n_pieces : 0;
    f->suspects_size = f->size;
    for (uint32_t i = 0; i < f->n_suspects; i++) {
        digest_piece(f, i, f->suspects[i].digest);
        f->suspects[i].supplier = f->pieces[i].supplier;
    }
}

static enum metadata_verdict conclude_bad(struct metadata_fetch *f)
{
    uint8_t sole = sole_supplier(f);
    f->counts.n_hash_bad++;
    if (sole == NO_SLOT)
        suspect_all(f);
    else
        blame(f, sole);
    f->is_single |= sole == NO_SLOT;
    f->single = NO_SLOT;
    clear_try(f);
    return METADATA_HASH_BAD;
}

static enum metadata_verdict conclude_good(struct metadata_fetch *f)
{
    uint8_t digest[SHA1_LEN];
    f->is_done = true;
    for (uint32_t i = 0; i < f->n_suspects; i++) {
        bool is_right = f->suspects_size == f->size;
        if (is_right) {
            digest_piece(f, i, digest);
            is_right = memcmp(digest, f->suspects[i].digest, sizeof digest) == 0;
        }
        if (!is_right)
            blame(f, f->suspects[i].supplier);
    }
    mem_free(f->mem, f->suspects);
    f->suspects = NULL;
    f->n_suspects = 0;
    return METADATA_DONE;
}

static enum metadata_verdict refuse(struct metadata_fetch *f, struct meta_peer *p)
{
    f->counts.n_bad++;
    bar(f, p);
    return METADATA_BAD;
}

enum metadata_verdict metadata_fetch_on_data(struct metadata_fetch *f, uint64_t now_us,
                                             uint32_t conn, const struct ut_metadata_msg *msg)
{
    struct meta_peer *p = find_peer(f, conn);
    (void)now_us;
    if (!p || p->is_barred || f->is_done || !settle(f, p, msg->piece)) {
        f->counts.n_unasked++;
        return METADATA_IGNORED;
    }
    if (msg->total_size != f->size || msg->data.len != piece_len(f, msg->piece))
        return refuse(f, p);
    p->n_strikes = 0;
    p->idle_until_us = 0;
    struct meta_piece *piece = &f->pieces[msg->piece];
    if (piece->is_here)
        return METADATA_MORE;
    if (!f->info)
        f->info = mem_alloc(f->mem, f->size);
    if (!f->info)
        return METADATA_NO_MEMORY;
    memcpy(f->info + (size_t)msg->piece * METADATA_PIECE_LEN, msg->data.data, msg->data.len);
    piece->is_here = true;
    piece->supplier = slot_of(f, p);
    if (++f->n_have < f->n_pieces)
        return METADATA_MORE;
    return is_wanted_info(f) ? conclude_good(f) : conclude_bad(f);
}

/* --- what may be asked ----------------------------------------------------------------------- */

bool metadata_fetch_is_done(const struct metadata_fetch *f)
{
    return f->is_done;
}

struct bytes metadata_fetch_info(const struct metadata_fetch *f)
{
    return f->is_done ? bytes_of(f->info, f->size) : (struct bytes){0};
}

void metadata_fetch_progress(const struct metadata_fetch *f, uint32_t *out_n_have,
                             uint32_t *out_n_pieces)
{
    *out_n_have = f->n_have;
    *out_n_pieces = f->n_pieces;
}

struct metadata_fetch_counts metadata_fetch_counts(const struct metadata_fetch *f)
{
    return f->counts;
}

static void check_peer(const struct metadata_fetch *f, const struct meta_peer *p)
{
    assert(p->n_out <= METADATA_PEER_REQUESTS && p->n_strikes <= METADATA_STRIKES_MAX);
    assert(!p->n_out || (is_active(p) && p->size == f->size));
    assert(!p->is_blamed || p->is_barred);
    for (uint8_t i = 0; i < p->n_out; i++)
        assert(p->out[i].piece < f->n_pieces);
}

void metadata_fetch_check(const struct metadata_fetch *f)
{
    uint32_t n_have = 0;
    assert(f->n_pieces <= METADATA_N_PIECES_MAX);
    assert(f->n_pieces == div_ceil(f->size, METADATA_PIECE_LEN));
    for (size_t i = 0; i < METADATA_PEERS_MAX; i++)
        check_peer(f, &f->peers[i]);
    for (uint32_t i = 0; i < f->n_pieces; i++) {
        uint32_t n_out = 0;
        for (size_t k = 0; k < METADATA_PEERS_MAX; k++)
            for (uint8_t r = 0; r < f->peers[k].n_out; r++)
                n_out += f->peers[k].out[r].piece == i && !f->peers[k].out[r].is_late;
        assert(n_out == f->pieces[i].n_out);
        n_have += f->pieces[i].is_here;
    }
    assert(n_have == f->n_have && (n_have == 0 || f->info));
    assert(!f->is_done || (f->n_have == f->n_pieces && is_wanted_info(f)));
}

/* --- serving --------------------------------------------------------------------------------- */

void metadata_serve_init(struct metadata_serve *s)
{
    *s = (struct metadata_serve){0};
}

enum metadata_answer metadata_serve_on_request(struct metadata_serve *s, uint32_t piece,
                                               uint64_t info_len)
{
    uint32_t n_pieces = (uint32_t)div_ceil(info_len, METADATA_PIECE_LEN);
    bool is_flood = s->n_served + s->n >= METADATA_SERVE_TIMES * n_pieces;
    if (piece < n_pieces && !is_flood && s->n < METADATA_SERVE_QUEUE) {
        s->queue[(s->first + s->n++) % METADATA_SERVE_QUEUE] = (uint16_t)piece;
        return METADATA_QUEUED;
    }
    return ++s->n_refused > METADATA_SERVE_FLOOD ? METADATA_CLOSE : METADATA_REJECT;
}

bool metadata_serve_next(struct metadata_serve *s, uint32_t *out_piece)
{
    if (s->n == 0)
        return false;
    *out_piece = s->queue[s->first];
    s->first = (uint8_t)((s->first + 1) % METADATA_SERVE_QUEUE);
    s->n--;
    s->n_served++;
    return true;
}

struct bytes metadata_serve_data(struct bytes info, uint32_t piece)
{
    return bytes_sub(info, (size_t)piece * METADATA_PIECE_LEN, METADATA_PIECE_LEN);
}
