#include "torrent/picker_parts.h"

/* --- partial pieces -------------------------------------------------------------------------- */

struct picker_partial *picker_partial_of(const struct picker *p, uint32_t piece)
{
    const struct picker_piece *e = &p->pieces[piece];
    bool has_one = e->state == PICKER_PARTIAL || e->state == PICKER_FULL;
    return has_one ? p->partials[e->place] : NULL;
}

static void put_at(struct picker *p, uint32_t at, struct picker_partial *t)
{
    p->partials[at] = t;
    p->pieces[t->piece].place = at;
}

static void swap_partials(struct picker *p, uint32_t i, uint32_t j)
{
    struct picker_partial *t = p->partials[i];
    put_at(p, i, p->partials[j]);
    put_at(p, j, t);
}

/* partials[0 .. n_open) have free blocks, the others have none. */
static void sort_in(struct picker *p, struct picker_partial *t)
{
    uint32_t at = p->pieces[t->piece].place;
    if (t->n_free > 0 && at >= p->n_open)
        swap_partials(p, at, p->n_open++);
    else if (t->n_free == 0 && at < p->n_open)
        swap_partials(p, at, --p->n_open);
}

static bool has_room_for_partial(struct picker *p)
{
    if (p->n_partials < p->partials_cap)
        return true;
    uint32_t cap = p->partials_cap * 2 + 8;
    void *more = mem_realloc(p->mem, p->partials, sizeof *p->partials * cap);
    if (!more)
        return false;
    p->partials = more;
    p->partials_cap = cap;
    return true;
}

struct picker_partial *picker_partial_open(struct picker *p, uint32_t piece)
{
    uint32_t len = p->config.data_len(p->config.ctx, piece);
    uint32_t n_blocks = len / PICKER_BLOCK_LEN + (len % PICKER_BLOCK_LEN != 0);
    struct picker_partial *t = NULL;
    if (has_room_for_partial(p))
        t = mem_alloc(p->mem, sizeof *t + sizeof t->blocks[0] * n_blocks);
    if (!t) {
        p->counters.n_refused++;
        return NULL;
    }
    memset(t, 0, sizeof *t);
    t->piece = piece;
    t->n_blocks = t->n_free = n_blocks;
    t->last_len = n_blocks ? len - (n_blocks - 1) * PICKER_BLOCK_LEN : 0;
    for (uint32_t i = 0; i < n_blocks; i++)
        t->blocks[i] = (struct picker_block){.request = PICKER_NONE};

    if (bitset_get(&p->idle, piece))
        picker_order_take(p, piece);
    p->pieces[piece].state = n_blocks ? PICKER_PARTIAL : PICKER_FULL;
    put_at(p, p->n_partials++, t);
    sort_in(p, t);
    return t;
}

void picker_partial_close(struct picker *p, struct picker_partial *t, enum picker_state next)
{
    assert(t->n_requests == 0);
    uint32_t piece = t->piece;
    t->n_free = 0;
    sort_in(p, t);
    swap_partials(p, p->pieces[piece].place, p->n_partials - 1);
    p->n_partials--;
    mem_free(p->mem, t);
    p->pieces[piece].state = next & 3;
    if (next == PICKER_IDLE && bitset_get(&p->wanted, piece))
        picker_order_put(p, piece);
}

uint32_t picker_block_len(const struct picker_partial *t, uint32_t block)
{
    return block + 1 < t->n_blocks ? PICKER_BLOCK_LEN : t->last_len;
}

/* The block begins or ends to be free. */
static void block_set_free(struct picker *p, struct picker_partial *t, uint32_t block, bool is_free)
{
    if (is_free) {
        t->n_free++;
        if (block < t->first_free)
            t->first_free = block;
    } else {
        t->n_free--;
    }
    sort_in(p, t);
}

/* --- requests -------------------------------------------------------------------------------- */

static uint32_t request_take(struct picker *p)
{
    if (p->free_request == PICKER_NONE) {
        if (p->n_requests_used == p->requests_cap) {
            uint32_t cap = p->requests_cap * 2 + 32;
            void *more = mem_realloc(p->mem, p->requests, sizeof *p->requests * cap);
            if (!more) {
                p->counters.n_refused++;
                return PICKER_NONE;
            }
            p->requests = more;
            p->requests_cap = cap;
        }
        return p->n_requests_used++;
    }
    uint32_t r = p->free_request;
    p->free_request = p->requests[r].next_in_block;
    return r;
}

static void request_give(struct picker *p, uint32_t r)
{
    p->requests[r].peer = NULL;
    p->requests[r].next_in_block = p->free_request;
    p->free_request = r;
}

uint32_t picker_request_find(const struct picker *p, const struct picker_block *b,
                             const struct picker_peer *peer)
{
    if (b->is_received)
        return PICKER_NONE;
    uint32_t r = b->request;
    while (r != PICKER_NONE && p->requests[r].peer != peer)
        r = p->requests[r].next_in_block;
    return r;
}

static void link_to_peer(struct picker *p, struct picker_peer *peer, uint32_t r)
{
    p->requests[r].prev_in_peer = peer->last_request;
    p->requests[r].next_in_peer = PICKER_NONE;
    if (peer->last_request != PICKER_NONE)
        p->requests[peer->last_request].next_in_peer = r;
    else
        peer->first_request = r;
    peer->last_request = r;
    peer->n_requests++;
}

static void unlink_from_peer(struct picker *p, uint32_t r)
{
    struct picker_request *q = &p->requests[r];
    if (q->prev_in_peer != PICKER_NONE)
        p->requests[q->prev_in_peer].next_in_peer = q->next_in_peer;
    else
        q->peer->first_request = q->next_in_peer;
    if (q->next_in_peer != PICKER_NONE)
        p->requests[q->next_in_peer].prev_in_peer = q->prev_in_peer;
    else
        q->peer->last_request = q->prev_in_peer;
    q->peer->n_requests--;
    q->peer->n_late -= q->is_late;
    q->peer->n_duplicates -= q->is_duplicate;
}

/* The chain is newest first: the last late one is the oldest. */
static void drop_oldest_late(struct picker *p, const struct picker_block *b)
{
    uint32_t n = 0, oldest = PICKER_NONE;
    for (uint32_t r = b->request; r != PICKER_NONE; r = p->requests[r].next_in_block, n++)
        if (p->requests[r].is_late)
            oldest = r;
    if (n >= PICKER_N_CHAIN_MAX && oldest != PICKER_NONE)
        picker_request_remove(p, oldest);
}

bool picker_request_add(struct picker *p, uint64_t now_us, struct picker_peer *peer,
                        struct picker_partial *t, uint32_t block)
{
    struct picker_block *b = &t->blocks[block];
    uint32_t r = request_take(p);
    if (r == PICKER_NONE)
        return false;
    drop_oldest_late(p, b);
    p->requests[r] = (struct picker_request){.peer = peer,
                                             .sent_at_us = now_us,
                                             .piece = t->piece,
                                             .block = block,
                                             .next_in_block = b->request,
                                             .is_duplicate = b->n_active > 0};
    link_to_peer(p, peer, r);
    peer->n_duplicates += b->n_active > 0;
    b->request = r;
    t->n_requests++;
    t->n_active++;
    if (b->n_active++ == 0)
        block_set_free(p, t, block, false);
    return true;
}

static void request_stop_counting(struct picker *p, struct picker_partial *t, uint32_t block)
{
    t->n_active--;
    if (--t->blocks[block].n_active == 0 && !t->blocks[block].is_received)
        block_set_free(p, t, block, true);
}

/* Only the request: an empty partial stays. */
void picker_request_remove(struct picker *p, uint32_t r)
{
    struct picker_request *q = &p->requests[r];
    struct picker_partial *t = picker_partial_of(p, q->piece);
    uint32_t *link = &t->blocks[q->block].request;
    while (*link != r)
        link = &p->requests[*link].next_in_block;
    *link = q->next_in_block;
    t->n_requests--;
    if (!q->is_late)
        request_stop_counting(p, t, q->block);
    unlink_from_peer(p, r);
    request_give(p, r);
}

/* A piece with nothing asked and nothing received is IDLE again. */
static void release(struct picker *p, struct picker_partial *t)
{
    if (t->n_requests == 0 && t->n_received == 0)
        picker_partial_close(p, t, PICKER_IDLE);
}

static void request_end(struct picker *p, uint32_t r)
{
    struct picker_partial *t = picker_partial_of(p, p->requests[r].piece);
    picker_request_remove(p, r);
    release(p, t);
}

/* --- what happens to them -------------------------------------------------------------------- */

static bool is_block_of(const struct picker_partial *t, const struct wire_block *b)
{
    uint32_t block = b->begin / PICKER_BLOCK_LEN;
    return b->begin % PICKER_BLOCK_LEN == 0 && block < t->n_blocks &&
           b->len == picker_block_len(t, block);
}

enum picker_block_result picker_look(const struct picker *p, const struct picker_peer *peer,
                                     const struct wire_block *b)
{
    if (b->piece >= p->config.n_pieces)
        return PICKER_BLOCK_UNREQUESTED;
    if (p->pieces[b->piece].state == PICKER_HAVE)
        return PICKER_BLOCK_DUPLICATE;
    const struct picker_partial *t = picker_partial_of(p, b->piece);
    if (!t || !is_block_of(t, b))
        return PICKER_BLOCK_UNREQUESTED;
    const struct picker_block *block = &t->blocks[b->begin / PICKER_BLOCK_LEN];
    if (block->is_received)
        return PICKER_BLOCK_DUPLICATE;
    return picker_request_find(p, block, peer) != PICKER_NONE ? PICKER_BLOCK_NEW
                                                              : PICKER_BLOCK_UNREQUESTED;
}

/* No request is left but it may have been free. */
static void receive(struct picker *p, struct picker_partial *t, uint32_t block, bool was_free,
                    uint32_t sender)
{
    if (was_free)
        block_set_free(p, t, block, false);
    t->blocks[block] = (struct picker_block){.request = sender, .is_received = true};
    if (++t->n_received == t->n_blocks)
        p->pieces[t->piece].state = PICKER_FULL;
}

enum picker_block_result picker_on_block(struct picker *p, struct picker_peer *peer,
                                         const struct wire_block *b, struct picker_arrival *out)
{
    enum picker_block_result result = picker_look(p, peer, b);
    if (result != PICKER_BLOCK_NEW)
        return result;
    struct picker_partial *t = picker_partial_of(p, b->piece);
    struct picker_block *block = &t->blocks[b->begin / PICKER_BLOCK_LEN];
    const struct picker_request *own = &p->requests[picker_request_find(p, block, peer)];
    *out = (struct picker_arrival){.sent_at_us = own->sent_at_us, .was_late = own->is_late};
    bool was_free = block->n_active == 0;
    block->is_received = true; /* so that it does not turn free with its last request */
    while (block->request != PICKER_NONE) {
        struct picker_peer *asked = p->requests[block->request].peer;
        if (asked != peer)
            out->cancels.peers[out->cancels.n++] = asked;
        picker_request_remove(p, block->request);
    }
    receive(p, t, b->begin / PICKER_BLOCK_LEN, was_free, peer->sender);
    out->is_piece_full = t->n_received == t->n_blocks;
    return PICKER_BLOCK_NEW;
}

bool picker_on_reject(struct picker *p, struct picker_peer *peer, const struct wire_block *b)
{
    if (picker_look(p, peer, b) != PICKER_BLOCK_NEW)
        return false;
    const struct picker_partial *t = picker_partial_of(p, b->piece);
    request_end(p, picker_request_find(p, &t->blocks[b->begin / PICKER_BLOCK_LEN], peer));
    return true;
}

uint32_t picker_drop_requests(struct picker *p, struct picker_peer *peer)
{
    uint32_t n = 0;
    for (; peer->first_request != PICKER_NONE; n++)
        request_end(p, peer->first_request);
    peer->piece = PICKER_NONE;
    return n;
}

uint32_t picker_expire(struct picker *p, struct picker_peer *peer, uint64_t sent_before_us)
{
    uint32_t n = 0, next;
    for (uint32_t r = peer->first_request; r != PICKER_NONE; r = next) {
        struct picker_request *q = &p->requests[r];
        next = q->next_in_peer;
        if (q->sent_at_us >= sent_before_us)
            break;
        if (q->is_late) {
            if (sent_before_us - q->sent_at_us > PICKER_FORGET_US)
                request_end(p, r);
            continue;
        }
        struct picker_partial *t = picker_partial_of(p, q->piece);
        q->is_late = true;
        peer->n_late++;
        request_stop_counting(p, t, q->block);
        n++;
    }
    return n;
}

uint64_t picker_oldest_request_us(const struct picker *p, const struct picker_peer *peer)
{
    uint32_t r = peer->first_request;
    while (r != PICKER_NONE && p->requests[r].is_late)
        r = p->requests[r].next_in_peer;
    return r == PICKER_NONE ? UINT64_MAX : p->requests[r].sent_at_us;
}

bool picker_next_request(const struct picker *p, uint32_t *cursor, struct wire_block *out,
                         uint64_t *out_sent_at_us, bool *out_is_late)
{
    if (*cursor == PICKER_NONE)
        return false;
    const struct picker_request *q = &p->requests[*cursor];
    const struct picker_partial *t = picker_partial_of(p, q->piece);
    *out =
        (struct wire_block){q->piece, q->block * PICKER_BLOCK_LEN, picker_block_len(t, q->block)};
    if (out_sent_at_us)
        *out_sent_at_us = q->sent_at_us;
    if (out_is_late)
        *out_is_late = q->is_late;
    *cursor = q->next_in_peer;
    return true;
}

/* --- pieces ---------------------------------------------------------------------------------- */

void picker_on_block_bad(struct picker *p, uint32_t piece, uint32_t block)
{
    struct picker_partial *t = picker_partial_of(p, piece);
    if (!t || block >= t->n_blocks || !t->blocks[block].is_received)
        return;
    t->blocks[block] = (struct picker_block){.request = PICKER_NONE};
    t->n_received--;
    block_set_free(p, t, block, true);
    p->pieces[piece].state = PICKER_PARTIAL;
    release(p, t);
}

void picker_on_piece_bad(struct picker *p, uint32_t piece, bool is_whole)
{
    struct picker_partial *t = picker_partial_of(p, piece);
    assert(t && p->pieces[piece].state == PICKER_FULL);
    p->pieces[piece].is_whole = is_whole;
    picker_partial_close(p, t, PICKER_IDLE);
}

bool picker_preload_block(struct picker *p, uint32_t piece, uint32_t block, uint32_t sender)
{
    if (p->pieces[piece].state == PICKER_HAVE)
        return false;
    struct picker_partial *t = picker_partial_of(p, piece);
    if (!t)
        t = picker_partial_open(p, piece);
    if (!t)
        return false;
    bool is_new = block < t->n_blocks && !t->blocks[block].is_received &&
                  t->blocks[block].request == PICKER_NONE;
    if (is_new)
        receive(p, t, block, true, sender);
    else
        release(p, t);
    return is_new;
}

uint32_t picker_n_blocks(const struct picker *p, uint32_t piece)
{
    const struct picker_partial *t = picker_partial_of(p, piece);
    if (t)
        return t->n_blocks;
    uint32_t len = p->config.data_len(p->config.ctx, piece);
    return len / PICKER_BLOCK_LEN + (len % PICKER_BLOCK_LEN != 0);
}

bool picker_has_block(const struct picker *p, uint32_t piece, uint32_t block)
{
    if (p->pieces[piece].state == PICKER_HAVE)
        return true;
    const struct picker_partial *t = picker_partial_of(p, piece);
    return t && block < t->n_blocks && t->blocks[block].is_received;
}

uint32_t picker_senders(const struct picker *p, uint32_t piece, uint32_t *out, uint32_t out_cap)
{
    const struct picker_partial *t = picker_partial_of(p, piece);
    if (!t)
        return 0;
    assert(out_cap >= t->n_blocks);
    for (uint32_t i = 0; i < t->n_blocks; i++)
        out[i] = t->blocks[i].is_received ? t->blocks[i].request : PICKER_SENDER_NONE;
    return t->n_blocks;
}
