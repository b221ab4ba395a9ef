#include "torrent/picker_parts.h"

static_assert(BITFIELD_LEN_MAX <= UINT32_MAX / 8, "a piece number fits the places");

/* --- bits ------------------------------------------------------------------------------------ */

uint32_t picker_next_common(const struct bitset *a, const struct bitset *b, uint32_t from)
{
    uint32_t n_words = picker_n_words(a), word = from / 64;
    uint64_t mask = UINT64_MAX >> (from % 64);
    for (; word < n_words; word++, mask = UINT64_MAX) {
        uint64_t both = picker_bits64(a, word) & mask;
        if (b)
            both &= picker_bits64(b, word);
        if (both)
            return word * 64 + (uint32_t)__builtin_clzll(both);
    }
    return a->n;
}

uint32_t picker_count_common(const struct bitset *a, const struct bitset *b)
{
    uint32_t n = 0;
    for (uint32_t word = 0; word < picker_n_words(a); word++)
        n += (uint32_t)__builtin_popcountll(picker_bits64(a, word) & picker_bits64(b, word));
    return n;
}

/* --- life ------------------------------------------------------------------------------------ */

enum err_code picker_init(struct picker *p, struct mem *mem, struct rng *rng,
                          const struct picker_config *config)
{
    *p = (struct picker){.mem = mem, .rng = rng, .config = *config, .free_request = PICKER_NONE};
    list_init(&p->peers);
    p->pieces = mem_calloc(mem, config->n_pieces, sizeof *p->pieces);
    if (!p->pieces || bitset_init(&p->have, mem, config->n_pieces) ||
        bitset_init(&p->wanted, mem, config->n_pieces) ||
        bitset_init(&p->idle, mem, config->n_pieces)) {
        picker_clear(p);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < config->n_pieces; i++)
        p->pieces[i].priority = PICKER_PRIORITY_DEFAULT;
    bitset_set_all(&p->wanted);
    bitset_set_all(&p->idle);
    p->n_idle = config->n_pieces;
    p->is_order_stale = true;
    return ERR_OK;
}

void picker_clear(struct picker *p)
{
    assert(list_is_empty(&p->peers));
    for (uint32_t i = 0; i < p->n_partials; i++)
        mem_free(p->mem, p->partials[i]);
    mem_free(p->mem, p->partials);
    mem_free(p->mem, p->requests);
    picker_orders_clear(p);
    bitset_clear(&p->idle);
    bitset_clear(&p->wanted);
    bitset_clear(&p->have);
    mem_free(p->mem, p->pieces);
    *p = (struct picker){.mem = p->mem};
    list_init(&p->peers);
}

void picker_set_sequential(struct picker *p, bool is_sequential)
{
    p->config.is_sequential = is_sequential;
}

void picker_set_partials_max(struct picker *p, uint32_t n)
{
    p->config.n_partials_max = n;
}

void picker_set_priority(struct picker *p, uint32_t piece, uint8_t priority)
{
    struct picker_piece *e = &p->pieces[piece];
    if (e->priority == priority)
        return;
    bool was_wanted = e->priority > 0;
    e->priority = priority & PICKER_PRIORITY_MAX;
    p->is_order_stale = true;
    if (e->state == PICKER_HAVE || was_wanted == (priority > 0))
        return;
    p->is_interest_stale = true;
    if (priority > 0)
        bitset_set(&p->wanted, piece);
    else
        bitset_unset(&p->wanted, piece);
    if (e->state == PICKER_IDLE && priority > 0)
        picker_order_put(p, piece);
    else if (e->state == PICKER_IDLE)
        picker_order_take(p, piece);
}

uint8_t picker_priority(const struct picker *p, uint32_t piece)
{
    return p->pieces[piece].priority;
}

void picker_update_interest(struct picker *p)
{
    LIST_EACH(&p->peers, peer, struct picker_peer, in_picker)
    peer->n_interesting =
        peer->is_seed ? p->wanted.n_set : picker_count_common(&p->wanted, peer->have);
    p->is_interest_stale = false;
}

/* --- peers ----------------------------------------------------------------------------------- */

void picker_peer_init(struct picker_peer *peer, const void *owner, struct bitset *have,
                      bool is_seed)
{
    *peer = (struct picker_peer){.owner = owner,
                                 .have = have,
                                 .is_seed = is_seed,
                                 .first_request = PICKER_NONE,
                                 .last_request = PICKER_NONE,
                                 .piece = PICKER_NONE};
}

bool picker_peer_has(const struct picker_peer *peer, uint32_t piece)
{
    return peer->is_seed || bitset_get(peer->have, piece);
}

/* When most of the order moves, sorting anew is cheaper than a swap for each piece. */
static void count_all(struct picker *p, const struct picker_peer *peer, int step)
{
    if (peer->have->n_set > p->n_idle / 2)
        p->is_order_stale = true;
    for (uint32_t i = picker_next_common(peer->have, NULL, 0); i < peer->have->n;
         i = picker_next_common(peer->have, NULL, i + 1))
        picker_order_shift(p, i, step);
}

void picker_add_peer(struct picker *p, struct picker_peer *peer)
{
    assert(peer->is_seed || (peer->have && peer->have->n == p->config.n_pieces));
    list_push_back(&p->peers, &peer->in_picker);
    if (peer->is_seed) {
        p->n_seeds++;
        peer->n_interesting = p->wanted.n_set;
        return;
    }
    peer->n_interesting = picker_count_common(&p->wanted, peer->have);
    count_all(p, peer, 1);
}

void picker_remove_peer(struct picker *p, struct picker_peer *peer)
{
    picker_drop_requests(p, peer);
    list_remove(&p->peers, &peer->in_picker);
    if (peer->is_seed)
        p->n_seeds--;
    else
        count_all(p, peer, -1);
    peer->n_interesting = 0;
}

bool picker_on_have(struct picker *p, struct picker_peer *peer, uint32_t piece)
{
    assert(piece < p->config.n_pieces);
    if (peer->is_seed || !bitset_set(peer->have, piece))
        return false;
    peer->n_interesting += bitset_get(&p->wanted, piece);
    picker_order_shift(p, piece, 1);
    return true;
}

bool picker_on_dont_have(struct picker *p, struct picker_peer *peer, uint32_t piece)
{
    assert(piece < p->config.n_pieces);
    if (peer->is_seed || !bitset_unset(peer->have, piece))
        return false;
    peer->n_interesting -= bitset_get(&p->wanted, piece);
    picker_order_shift(p, piece, -1);
    return true;
}

/* --- pieces ---------------------------------------------------------------------------------- */

enum picker_state picker_state(const struct picker *p, uint32_t piece)
{
    return (enum picker_state)p->pieces[piece].state;
}

static void change_interest(struct picker *p, uint32_t piece, uint32_t step)
{
    LIST_EACH(&p->peers, peer, struct picker_peer, in_picker)
    if (picker_peer_has(peer, piece))
        peer->n_interesting += step;
}

static bool cancel_one(struct picker *p, struct picker_partial *t, struct picker_peer **out_peer,
                       struct wire_block *out_block)
{
    for (uint32_t i = 0; t->n_requests > 0 && i < t->n_blocks; i++) {
        uint32_t r = t->blocks[i].request;
        if (t->blocks[i].is_received || r == PICKER_NONE)
            continue;
        *out_peer = p->requests[r].peer;
        *out_block = (struct wire_block){t->piece, i * PICKER_BLOCK_LEN, picker_block_len(t, i)};
        picker_request_remove(p, r);
        return true;
    }
    return false;
}

bool picker_on_piece_good(struct picker *p, uint32_t piece, struct picker_peer **out_peer,
                          struct wire_block *out_block)
{
    struct picker_piece *e = &p->pieces[piece];
    if (e->state == PICKER_HAVE)
        return false;
    struct picker_partial *t = picker_partial_of(p, piece);
    if (t && cancel_one(p, t, out_peer, out_block))
        return true;
    if (t)
        picker_partial_close(p, t, PICKER_HAVE);
    else if (bitset_get(&p->idle, piece))
        picker_order_take(p, piece);
    e->state = PICKER_HAVE;
    e->is_whole = false;
    bitset_set(&p->have, piece);
    if (bitset_unset(&p->wanted, piece))
        change_interest(p, piece, UINT32_MAX);
    return false;
}

void picker_on_piece_lost(struct picker *p, uint32_t piece)
{
    struct picker_piece *e = &p->pieces[piece];
    if (e->state != PICKER_HAVE)
        return;
    e->state = PICKER_IDLE;
    bitset_unset(&p->have, piece);
    if (e->priority == 0)
        return;
    bitset_set(&p->wanted, piece);
    picker_order_put(p, piece);
    change_interest(p, piece, 1);
}

/* --- what stats and `why` ask ---------------------------------------------------------------- */

uint32_t picker_availability(const struct picker *p, uint32_t piece)
{
    return p->pieces[piece].n_have + p->n_seeds;
}

uint32_t picker_min_availability(struct picker *p)
{
    uint32_t least = UINT32_MAX;
    bool is_sorted = picker_order_refresh(p);
    for (uint32_t level = 1; is_sorted && level <= PICKER_PRIORITY_MAX; level++) {
        const struct picker_order *o = &p->orders[level];
        uint32_t n_have = o->n ? p->pieces[o->pieces[0]].n_have : UINT32_MAX;
        least = n_have < least ? n_have : least;
    }
    for (uint32_t i = 0; i < p->n_partials; i++) {
        uint32_t piece = p->partials[i]->piece;
        if (bitset_get(&p->wanted, piece) && p->pieces[piece].n_have < least)
            least = p->pieces[piece].n_have;
    }
    return least == UINT32_MAX ? least : least + p->n_seeds;
}

static void why_partial(const struct picker *p, const struct picker_partial *t,
                        struct picker_why *out)
{
    out->n_blocks_missing += t->n_blocks - t->n_received;
    for (uint32_t i = 0; i < t->n_blocks; i++) {
        const struct picker_block *b = &t->blocks[i];
        if (b->is_received || b->request == PICKER_NONE)
            continue;
        out->n_blocks_asked++;
        out->n_blocks_late += b->n_active == 0;
        for (uint32_t r = b->request; r != PICKER_NONE; r = p->requests[r].next_in_block) {
            const struct picker_request *q = &p->requests[r];
            if (q->sent_at_us >= out->oldest_sent_at_us)
                continue;
            out->oldest_sent_at_us = q->sent_at_us;
            out->oldest_peer = q->peer;
            out->oldest_block =
                (struct wire_block){t->piece, i * PICKER_BLOCK_LEN, picker_block_len(t, i)};
        }
    }
}

void picker_why(const struct picker *p, struct picker_why *out)
{
    *out = (struct picker_why){.unavailable = PICKER_NONE, .oldest_sent_at_us = UINT64_MAX};
    out->n_missing = p->wanted.n_set;
    for (uint32_t i = picker_next_common(&p->wanted, NULL, 0); i < p->config.n_pieces;
         i = picker_next_common(&p->wanted, NULL, i + 1)) {
        const struct picker_piece *e = &p->pieces[i];
        out->n_checking += e->state == PICKER_FULL;
        if (e->state == PICKER_PARTIAL)
            why_partial(p, p->partials[e->place], out);
        if (e->state == PICKER_FULL || e->n_have + p->n_seeds > 0)
            continue;
        out->n_unavailable++;
        if (out->unavailable == PICKER_NONE)
            out->unavailable = i;
    }
}
