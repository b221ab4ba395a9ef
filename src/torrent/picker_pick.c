#include "base/size.h"
#include "torrent/picker_parts.h"

#define OPEN_SCAN_MAX      512u  /* ours: partial pieces looked at for one choice */
#define DUPLICATE_SCAN_MAX 4096u /* ours: blocks looked at for end-game requests */

struct pick {
    struct picker *p;
    struct picker_peer *peer;
    uint64_t now_us;
    uint64_t serial; /* partials with this in `seen` have nothing more for the peer */
    uint32_t n, n_out;
    struct wire_block *out;
};

static bool is_done(const struct pick *k)
{
    return k->n_out == k->n;
}

static bool ask(struct pick *k, struct picker_partial *t, uint32_t block)
{
    if (!picker_request_add(k->p, k->now_us, k->peer, t, block))
        return false;
    k->out[k->n_out++] =
        (struct wire_block){t->piece, block * PICKER_BLOCK_LEN, picker_block_len(t, block)};
    k->p->counters.n_picked++;
    return true;
}

/* --- free blocks of partial pieces ----------------------------------------------------------- */

/* The free blocks of a piece in their order, but for those the peer still owes (it is late). */
static void take_free(struct pick *k, struct picker_partial *t)
{
    if (t->n_active == 0) {
        t->speed = k->peer->speed;
        if (t->sole && t->sole != k->peer)
            t->sole = t->n_received > 0 ? NULL : k->peer;
    }
    bool is_first = true;
    uint32_t i = t->first_free;
    for (; i < t->n_blocks && t->n_free > 0 && !is_done(k); i++) {
        const struct picker_block *b = &t->blocks[i];
        if (b->is_received || b->n_active > 0)
            continue;
        bool is_owed = picker_request_find(k->p, b, k->peer) != PICKER_NONE;
        if (is_owed && is_first)
            t->first_free = i;
        is_first &= !is_owed;
        if (!is_owed && !ask(k, t, i)) {
            k->n = k->n_out; /* no memory: enough for now */
            break;
        }
    }
    if (is_first)
        t->first_free = i;
    if (!is_done(k))
        t->seen = k->serial;
    k->peer->piece = t->piece;
}

/* May the peer take free blocks of t? A suspect only joins what it alone works on. */
static bool can_join(const struct pick *k, const struct picker_partial *t)
{
    if (t->n_free == 0 || t->seen == k->serial || !bitset_get(&k->p->wanted, t->piece) ||
        !picker_peer_has(k->peer, t->piece))
        return false;
    if (t->sole == k->peer)
        return true;
    return !k->peer->is_on_parole && (!t->sole || t->n_active == 0);
}

enum join { JOIN_IDLE, JOIN_SAME_SPEED, JOIN_ANY, JOIN_SUSPECT };

static bool does_match(const struct pick *k, const struct picker_partial *t, enum join how)
{
    if (how == JOIN_SUSPECT) /* nothing else is left for it: finishing goes before finding liars */
        return t->n_free > 0 && t->n_active == 0 && t->seen != k->serial &&
               bitset_get(&k->p->wanted, t->piece) && picker_peer_has(k->peer, t->piece);
    if (!can_join(k, t))
        return false;
    return how == JOIN_ANY || (how == JOIN_IDLE && t->n_active == 0) ||
           (how == JOIN_SAME_SPEED && t->speed == k->peer->speed);
}

/* Higher priority first; then what is nearest to its end; in order when sequential. */
static bool is_better(const struct pick *k, const struct picker_partial *a,
                      const struct picker_partial *b)
{
    uint32_t pa = k->p->pieces[a->piece].priority, pb = k->p->pieces[b->piece].priority;
    if (pa != pb)
        return pa > pb;
    if (k->p->config.is_sequential)
        return a->piece < b->piece;
    uint32_t left_a = a->n_blocks - a->n_received, left_b = b->n_blocks - b->n_received;
    return left_a != left_b ? left_a < left_b : a->piece < b->piece;
}

static struct picker_partial *best_partial(const struct pick *k, enum join how)
{
    struct picker_partial *best = NULL;
    uint32_t n = k->p->n_open < OPEN_SCAN_MAX ? k->p->n_open : OPEN_SCAN_MAX;
    for (uint32_t i = 0; i < n; i++) {
        struct picker_partial *t = k->p->partials[i];
        if (does_match(k, t, how) && (!best || is_better(k, t, best)))
            best = t;
    }
    return best;
}

static void join_partials(struct pick *k, enum join how)
{
    struct picker_partial *t;
    while (!is_done(k) && k->p->n_open > 0 && (t = best_partial(k, how)))
        take_free(k, t);
}

static void continue_own(struct pick *k)
{
    if (k->peer->piece == PICKER_NONE)
        return;
    struct picker_partial *t = picker_partial_of(k->p, k->peer->piece);
    if (t && can_join(k, t))
        take_free(k, t);
}

/* --- new pieces ------------------------------------------------------------------------------ */

static const struct bitset *bits_of(const struct picker_peer *peer)
{
    return peer->is_seed ? NULL : peer->have;
}

static uint32_t scan_order(const struct pick *k, const struct picker_order *o, uint32_t from,
                           uint32_t *budget)
{
    for (uint32_t i = 0; i<o->n && * budget> 0; i++, --*budget) {
        uint32_t at = from + i < o->n ? from + i : from + i - o->n;
        if (picker_peer_has(k->peer, o->pieces[at]))
            return o->pieces[at];
    }
    return PICKER_NONE;
}

/* The rarest of a run of pieces that the peer has, from a random place on. */
static uint32_t sample(const struct pick *k)
{
    const struct picker *p = k->p;
    const struct bitset *bits = bits_of(k->peer);
    uint32_t best = PICKER_NONE, i = rng_below(p->rng, p->config.n_pieces);
    bool has_wrapped = false;
    k->p->counters.n_sampled++;
    for (uint32_t n = 0; n < PICKER_SAMPLE_MAX; i++, n++) {
        i = picker_next_common(&p->idle, bits, i);
        if (i == p->config.n_pieces) {
            if (has_wrapped)
                break;
            has_wrapped = true;
            i = UINT32_MAX;
            continue;
        }
        const struct picker_piece *a = &p->pieces[i],
                                  *b = best == PICKER_NONE ? NULL : &p->pieces[best];
        if (!b || a->priority > b->priority ||
            (a->priority == b->priority && a->n_have < b->n_have))
            best = i;
    }
    return best;
}

static uint32_t highest_level(const struct picker *p)
{
    uint32_t level = PICKER_PRIORITY_MAX;
    while (level > 1 && p->orders[level].n == 0)
        level--;
    return level;
}

/* The first piece of the highest priority, `first` on. */
static uint32_t first_of_highest(const struct pick *k, uint32_t first)
{
    const struct picker *p = k->p;
    uint32_t best = first, level = highest_level(p), i = first;
    for (uint32_t n = 0; n < PICKER_SCAN_MAX && p->pieces[best].priority < level; n++) {
        i = picker_next_common(&p->idle, bits_of(k->peer), i + 1);
        if (i == p->config.n_pieces)
            break;
        if (p->pieces[i].priority > p->pieces[best].priority)
            best = i;
    }
    return best;
}

static uint32_t choose_new(const struct pick *k)
{
    struct picker *p = k->p;
    uint32_t first = picker_next_common(&p->idle, bits_of(k->peer), 0);
    if (first == p->config.n_pieces)
        return PICKER_NONE;
    if (p->config.is_sequential)
        return first_of_highest(k, first);
    bool is_random = p->config.is_random || p->have.n_set < PICKER_N_RANDOM_FIRST;
    uint32_t budget = PICKER_SCAN_MAX, piece = PICKER_NONE;
    for (uint32_t level = PICKER_PRIORITY_MAX; level > 0 && piece == PICKER_NONE; level--) {
        const struct picker_order *o = &p->orders[level];
        if (o->n > 0)
            piece = scan_order(k, o, is_random ? rng_below(p->rng, o->n) : 0, &budget);
    }
    p->counters.n_scanned += PICKER_SCAN_MAX - budget;
    return piece != PICKER_NONE ? piece : sample(k);
}

static bool begin(struct pick *k, uint32_t piece)
{
    struct picker_partial *t = picker_partial_open(k->p, piece);
    if (!t)
        return false;
    if (k->peer->is_on_parole || k->p->pieces[piece].is_whole)
        t->sole = k->peer;
    take_free(k, t);
    if (t->n_blocks == 0 || t->n_requests > 0)
        return true;
    picker_partial_close(k->p, t, PICKER_IDLE); /* no memory for the first request */
    return false;
}

/* Pieces after `piece` that are no less rare: one run on disk, and no worse a choice. */
static bool is_as_good(const struct pick *k, uint32_t piece, uint32_t next)
{
    const struct picker *p = k->p;
    uint32_t per_extent = PICKER_EXTENT_LEN / p->config.piece_len;
    if (per_extent < 2 || next % per_extent == 0 || next >= p->config.n_pieces)
        return false;
    return bitset_get(&p->idle, next) && picker_peer_has(k->peer, next) &&
           p->pieces[next].priority == p->pieces[piece].priority &&
           p->pieces[next].n_have <= p->pieces[piece].n_have;
}

static bool has_room(const struct pick *k)
{
    return !k->p->config.n_partials_max || k->p->n_partials < k->p->config.n_partials_max;
}

static void begin_new(struct pick *k)
{
    uint32_t piece;
    while (!is_done(k) && has_room(k) && (piece = choose_new(k)) != PICKER_NONE) {
        bool has_begun = begin(k, piece);
        if (k->peer->speed == PICKER_FAST && !k->p->config.is_random &&
            k->p->have.n_set >= PICKER_N_RANDOM_FIRST)
            while (has_begun && !is_done(k) && has_room(k) && is_as_good(k, piece, piece + 1))
                has_begun = begin(k, ++piece);
        if (!has_begun)
            break;
    }
}

/* --- blocks asked of others ------------------------------------------------------------------ */

/* No free block is left that anybody here could send. */
static bool is_endgame(const struct picker *p)
{
    for (uint32_t level = 1; level <= PICKER_PRIORITY_MAX; level++) {
        const struct picker_order *o = &p->orders[level];
        if (o->n > 0 && (p->n_seeds > 0 || p->pieces[o->pieces[o->n - 1]].n_have > 0))
            return false;
    }
    for (uint32_t i = 0; i < p->n_open; i++) {
        uint32_t piece = p->partials[i]->piece;
        if (bitset_get(&p->wanted, piece) && picker_availability(p, piece) > 0)
            return false;
    }
    return true;
}

/* The newest active request tells how long the block has been on its way. */
static bool may_duplicate(const struct pick *k, const struct picker_partial *t,
                          const struct picker_block *b, bool is_end)
{
    if (b->is_received || b->n_active == 0 || b->n_active >= PICKER_N_OLD_COPIES_MAX)
        return false;
    uint32_t r = b->request;
    while (k->p->requests[r].is_late)
        r = k->p->requests[r].next_in_block;
    const struct picker_request *q = &k->p->requests[r];
    uint64_t age_us = k->now_us - q->sent_at_us;
    uint64_t patience_us = q->peer->patience_us;
    if (k->peer->pace_us)
        patience_us = u64_min(patience_us, (uint64_t)PICKER_N_PACES * k->peer->pace_us);
    patience_us = u64_max(patience_us, PICKER_YOUNG_US);
    if (t->sole || (!is_end && q->peer->speed >= k->peer->speed))
        patience_us = PICKER_STALE_US;
    if (b->n_active >= PICKER_N_COPIES_MAX) { /* all of them asked of stallers? */
        if (!is_end)
            return false;
        patience_us = u64_max(patience_us, PICKER_STALE_US);
    }
    return age_us >= patience_us && picker_request_find(k->p, b, k->peer) == PICKER_NONE;
}

static void duplicate_in(struct pick *k, struct picker_partial *t, bool is_end)
{
    for (uint32_t i = 0; i < t->n_blocks && !is_done(k); i++) {
        if (!may_duplicate(k, t, &t->blocks[i], is_end))
            continue;
        if (!ask(k, t, i))
            return;
        t->sole = NULL;
        k->p->counters.n_duplicate_requests++;
    }
}

static void duplicate(struct pick *k)
{
    struct picker *p = k->p;
    bool is_end = is_endgame(p);
    if (is_end && k->peer->n_duplicates < PICKER_N_DUPLICATES_MAX)
        k->n = k->n_out + PICKER_N_DUPLICATES_MAX - k->peer->n_duplicates < k->n
                   ? k->n_out + PICKER_N_DUPLICATES_MAX - k->peer->n_duplicates
                   : k->n;
    else if (!is_end && k->peer->n_requests == 0)
        k->n = 1;
    else
        return;
    uint32_t budget = DUPLICATE_SCAN_MAX;
    for (uint32_t i = 0; i < p->n_partials && budget > 0 && !is_done(k); i++) {
        struct picker_partial *t = p->partials[(p->duplicate_cursor + i) % p->n_partials];
        if (t->n_active == 0 || !bitset_get(&p->wanted, t->piece) ||
            !picker_peer_has(k->peer, t->piece))
            continue;
        duplicate_in(k, t, is_end);
        budget -= t->n_blocks < budget ? t->n_blocks : budget;
    }
    p->duplicate_cursor++;
}

/* --- the order of things --------------------------------------------------------------------- */

static bool has_too_many_partials(const struct picker *p)
{
    return p->n_partials > p->peers.n + p->peers.n / 2 + 4;
}

static void pick_rarest(struct pick *k)
{
    continue_own(k);
    join_partials(k, JOIN_IDLE);
    bool is_crowded = has_too_many_partials(k->p);
    if (is_crowded)
        join_partials(k, JOIN_ANY);
    else if (k->peer->speed != PICKER_FAST)
        join_partials(k, JOIN_SAME_SPEED);
    begin_new(k);
    join_partials(k, JOIN_ANY);
}

/* Lowest index first, whether begun or not; priorities go before. */
static void pick_sequential(struct pick *k)
{
    const struct picker *p = k->p;
    while (!is_done(k)) {
        struct picker_partial *t = best_partial(k, JOIN_ANY);
        uint32_t piece = has_room(k) ? choose_new(k) : PICKER_NONE;
        uint32_t level = piece == PICKER_NONE ? 0 : p->pieces[piece].priority;
        if (t && (p->pieces[t->piece].priority > level ||
                  (p->pieces[t->piece].priority == level && t->piece < piece)))
            take_free(k, t);
        else if (piece == PICKER_NONE || !begin(k, piece))
            break;
    }
}

uint32_t picker_pick(struct picker *p, uint64_t now_us, struct picker_peer *peer, uint32_t n,
                     struct wire_block *out)
{
    if (n == 0 || peer->n_interesting == 0 || peer->n_late >= PICKER_N_LATE_MAX ||
        !picker_order_refresh(p))
        return 0;
    struct pick k = {
        .p = p, .peer = peer, .now_us = now_us, .serial = ++p->pick_serial, .n = n, .out = out};
    if (p->config.is_sequential)
        pick_sequential(&k);
    else
        pick_rarest(&k);
    if (k.n_out == 0 && !is_done(&k) && peer->is_on_parole && peer->n_requests == 0)
        join_partials(&k, JOIN_SUSPECT);
    if (k.n_out == 0 && !is_done(&k))
        duplicate(&k);
    return k.n_out;
}

uint32_t picker_pick_piece(struct picker *p, uint64_t now_us, struct picker_peer *peer,
                           uint32_t piece, uint32_t n, struct wire_block *out)
{
    if (n == 0 || piece >= p->config.n_pieces || !bitset_get(&p->wanted, piece) ||
        !picker_peer_has(peer, piece))
        return 0;
    struct pick k = {
        .p = p, .peer = peer, .now_us = now_us, .serial = ++p->pick_serial, .n = n, .out = out};
    struct picker_partial *t = picker_partial_of(p, piece);
    if (t && can_join(&k, t))
        take_free(&k, t);
    else if (!t && has_room(&k))
        begin(&k, piece);
    return k.n_out;
}
