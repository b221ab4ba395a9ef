#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define PICK_BATCH 64u
#define REFILL_MIN 16u /* ours: requests go out in batches of so many, if the queue is long */
#define REJECTS_MAX                                                                                \
    64u /* libtorrent: max_rejects 50; in a row, from a peer that does not choke us */
#define REJECTS_FEW     4u /* ours: so many in a row cost it a pause: the blocks go to others */
#define REJECT_PAUSE_US US_PER_S
#define READ_BLOCKS     (WIRE_SCRATCH_LEN / BLOCK_LEN + 1)
#define SPARES_MORE     4u

/* --- requests -------------------------------------------------------------------------------- */

void peer_update_interest(struct peer *p)
{
    if (!peer_is_running(p))
        return;
    bool is_interesting =
        torrent_wants_data(p->t) && p->is_in_picker && picker_is_interesting(&p->pp);
    if (is_interesting == p->am_interested)
        return;
    p->am_interested = is_interesting;
    peer_send_plain(p, is_interesting ? MSG_INTERESTED : MSG_NOT_INTERESTED);
}

static void peer_send_requests(struct peer *p, const struct wire_block *blocks, uint32_t n)
{
    for (uint32_t i = 0; i < n && p->state != CONN_CLOSED; i++) {
        pipeline_on_request(&p->pipeline, p->s->now_us, blocks[i].len);
        peer_send_block_msg(p, MSG_REQUEST, &blocks[i]);
    }
}

/* BEP 6: while choked, only from the allowed fast set. */
static uint32_t peer_pick_fast(struct peer *p, uint32_t n, struct wire_block *out)
{
    uint32_t got = 0;
    for (uint32_t i = 0; i < p->n_fast_in && got < n; i++)
        got += picker_pick_piece(&p->t->picker, p->s->now_us, &p->pp, p->fast_in[i], n - got,
                                 out + got);
    return got;
}

void peer_request_more(struct peer *p)
{
    struct session *s = p->s;
    struct torrent *t = p->t;
    if (!p->is_in_picker || !p->am_interested || (p->peer_choking && !p->n_fast_in) ||
        p->out.len > OUTQ_LEN_SOFT)
        return;
    if (p->n_rejects >= REJECTS_FEW && s->now_us < p->rejected_at_us + REJECT_PAUSE_US)
        return;
    uint32_t pending = p->pp.n_requests; /* late ones too: the peer still owes them */
    uint32_t target = pipeline_target(&p->pipeline, s->cache.n_max * BLOCK_LEN);
    if (pending >= target || (pending && target - pending < u64_min(REFILL_MIN, target / 4)))
        return;
    bool was_idle = p->pp.n_requests == 0;
    p->pp.pace_us = (uint32_t)pipeline_pace_us(&p->pipeline);
    p->pp.speed = pipeline_speed(&p->pipeline, t->info->piece_len);
    uint64_t n_duplicates = t->picker.counters.n_duplicate_requests;
    while (pending < target && p->state != CONN_CLOSED) {
        struct wire_block blocks[PICK_BATCH];
        uint32_t n = (uint32_t)u64_min(target - pending, PICK_BATCH);
        uint32_t got = p->peer_choking ? peer_pick_fast(p, n, blocks)
                                       : picker_pick(&t->picker, s->now_us, &p->pp, n, blocks);
        peer_send_requests(p, blocks, got);
        pending += got;
        if (got < n)
            break;
    }
    COUNT_N(s, endgame_duplicates, t->picker.counters.n_duplicate_requests - n_duplicates);
    p->pp.patience_us = (uint32_t)pipeline_patience_us(&p->pipeline);
    if (was_idle && p->state != CONN_CLOSED)
        peer_arm_by(p, s->now_us + US_PER_S);
}

void peer_drop_requests(struct peer *p)
{
    if (!p->is_in_picker || !p->pp.n_requests)
        return;
    p->n_excused += picker_drop_requests(&p->t->picker, &p->pp);
    pipeline_on_dropped(&p->pipeline, p->s->now_us, p->pipeline.pending_len);
    p->t->needs_refill = true;
    session_mark_torrent(p->t);
}

void peer_on_choke(struct peer *p)
{
    p->peer_choking = true;
    if (!peer_can(p, WIRE_FAST)) /* BEP 6 sends a reject for each instead */
        peer_drop_requests(p);
}

void peer_on_unchoke(struct peer *p)
{
    if (!p->peer_choking)
        return;
    p->peer_choking = false;
    p->n_rejects = 0;
    pipeline_restart(&p->pipeline);
}

static void peer_forget_fast(struct peer *p, uint32_t piece)
{
    for (uint32_t i = 0; i < p->n_fast_in; i++)
        if (p->fast_in[i] == piece) {
            p->fast_in[i] = p->fast_in[--p->n_fast_in];
            return;
        }
}

void peer_on_reject(struct peer *p, const struct wire_block *b)
{
    if (!p->is_in_picker || !picker_on_reject(&p->t->picker, &p->pp, b)) {
        COUNT(p->s, reject_unknown);
        return;
    }
    COUNT(p->s, rejects_received);
    pipeline_on_dropped(&p->pipeline, p->s->now_us, b->len);
    peer_forget_fast(p, b->piece);
    p->t->needs_refill = true;
    session_mark_torrent(p->t);
    if (p->peer_choking)
        return;
    p->rejected_at_us = p->s->now_us;
    if (++p->n_rejects <= REJECTS_MAX)
        return;
    COUNT(p->s, rejects_closed);
    peer_close(p, true);
}

void peer_send_cancel(struct peer *p, const struct wire_block *b)
{
    if (!peer_is_running(p))
        return;
    COUNT(p->s, cancels_sent);
    p->n_excused++;
    pipeline_on_dropped(&p->pipeline, p->s->now_us, b->len);
    peer_send_block_msg(p, MSG_CANCEL, b);
}

void peer_requests_tick(struct peer *p)
{
    struct session *s = p->s;
    if (pipeline_on_tick(&p->pipeline, s->now_us)) {
        COUNT(s, peers_snubbed);
        p->cp.is_snubbed = true;
    }
    uint64_t timeout_us = pipeline_timeout_us(&p->pipeline);
    if (s->now_us <= timeout_us)
        return;
    uint32_t n = picker_expire(&p->t->picker, &p->pp, s->now_us - timeout_us);
    if (!n)
        return;
    COUNT_N(s, requests_timed_out, n);
    p->t->needs_refill = true;
    session_mark_torrent(p->t);
}

/* --- blocks in ------------------------------------------------------------------------------- */

static void peer_on_unrequested(struct peer *p)
{
    if (p->n_excused) { /* called off while it was on its way */
        p->n_excused--;
        COUNT(p->s, block_late);
        return;
    }
    COUNT(p->s, block_unrequested);
    if (++p->n_unrequested <= UNREQUESTED_MAX)
        return;
    COUNT(p->s, block_unrequested_closed);
    peer_close(p, true);
}

/* Here already. Was it asked of this peer, too? */
static void peer_on_duplicate(struct peer *p, const struct wire_block *b)
{
    struct picker_arrival unused;
    uint32_t n_requests = p->pp.n_requests;
    picker_on_block(&p->t->picker, &p->pp, b, &unused);
    if (p->pp.n_requests == n_requests) {
        peer_on_unrequested(p);
        return;
    }
    COUNT(p->s, block_late);
    pipeline_on_dropped(&p->pipeline, p->s->now_us, b->len);
}

void peer_on_block_head(struct peer *p, const struct wire_block *b)
{
    struct torrent *t = p->t;
    enum picker_block_result look =
        p->is_in_picker ? picker_look(&t->picker, &p->pp, b) : PICKER_BLOCK_UNREQUESTED;
    if (look == PICKER_BLOCK_UNREQUESTED) {
        peer_on_unrequested(p);
        return;
    }
    if (look == PICKER_BLOCK_DUPLICATE) {
        peer_on_duplicate(p, b);
        return;
    }
    p->block = wire_in_adopt(&p->in);
    if (p->block)
        return;
    p->block = block_cache_take(&p->s->cache);
    if (p->block) {
        wire_in_place(&p->in, p->block);
        return;
    }
    COUNT(p->s, block_no_buffer);
    picker_on_reject(&t->picker, &p->pp, b);
    pipeline_on_dropped(&p->pipeline, p->s->now_us, b->len);
}

static void peer_on_block(struct peer *p, const struct wire_block *b)
{
    struct torrent *t = p->t;
    struct session *s = p->s;
    struct picker_arrival arrival;
    uint8_t *block = p->block;
    p->block = NULL;
    if (picker_on_block(&t->picker, &p->pp, b, &arrival) != PICKER_BLOCK_NEW) {
        COUNT(s, block_late);
        t->wasted_len += b->len;
        block_cache_give(&s->cache, block);
        return;
    }
    pipeline_on_block(&p->pipeline, s->now_us, arrival.sent_at_us, b->len);
    p->cp.is_snubbed = false;
    p->n_rejects = 0;
    p->useful_at_us = s->now_us;
    t->down_total += b->len;
    t->progress.downloaded = t->down_total;
    for (uint32_t i = 0; i < arrival.cancels.n; i++)
        peer_send_cancel(CONTAINER_OF(arrival.cancels.peers[i], struct peer, pp), b);
    torrent_take_block(t, b, block);
}

void peer_on_block_data(struct peer *p, const struct wire_event *ev)
{
    struct session *s = p->s;
    struct torrent *t = p->t;
    token_bucket_spend(&s->down, s->now_us, ev->len);
    if (ev->is_dropped) {
        t->wasted_len += ev->len;
        return;
    }
    rate_add(&p->down, s->now_us, ev->len);
    rate_add(&t->down, s->now_us, ev->len);
    if (ev->is_done)
        peer_on_block(p, &ev->block);
}

void peer_drop_block(struct peer *p)
{
    if (!p->block)
        return;
    wire_in_drop(&p->in);
    block_cache_give(&p->s->cache, p->block);
    p->block = NULL;
}

/* --- lending --------------------------------------------------------------------------------- */

static size_t session_cache_free(const struct session *s)
{
    return s->cache.n_max - s->cache.n_out;
}

/* Those that were adopted are blocks now. */
static uint32_t session_count_spares(struct session *s)
{
    struct wire_ahead *a = &s->ahead;
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_spares; i++)
        if (a->spares[i])
            a->spares[n++] = a->spares[i];
    return a->n_spares = n;
}

static void session_set_spares(struct session *s, uint32_t n_want)
{
    struct wire_ahead *a = &s->ahead;
    uint32_t n = session_count_spares(s);
    while (n > n_want)
        block_cache_give(&s->cache, a->spares[--n]);
    while (n < n_want && (a->spares[n] = block_cache_take(&s->cache)))
        n++;
    a->n_spares = n;
    a->spare_len = BLOCK_LEN;
}

void session_give_spares(struct session *s)
{
    session_set_spares(s, 0);
}

/* Buffers for the blocks behind the one under way: as many as the last read filled and some more,
 * and few enough that if all of it came otherwise, there would still be buffers to copy it to. */
static struct wire_ahead *peer_spares(struct peer *p, size_t out_cap)
{
    struct session *s = p->s;
    size_t n_free = session_cache_free(s) + session_count_spares(s);
    uint64_t n = u64_min(WIRE_AHEAD_MAX, p->read_len / BLOCK_LEN + SPARES_MORE);
    n = u64_min(n, p->pp.n_requests);
    n = u64_min(n, n_free > READ_BLOCKS ? (n_free - READ_BLOCKS) / 2 : 0);
    n = u64_min(n, out_cap > 2 ? (out_cap - 2) / 2 : 0);
    session_set_spares(s, (uint32_t)n);
    return n ? &s->ahead : NULL;
}

size_t peer_lend(struct peer *p, struct span *out, size_t out_cap)
{
    struct session *s = p->s;
    struct span scratch = {s->scratch, sizeof(s->scratch)};
    bool expects_data = p->block || (p->is_in_picker && p->pp.n_requests);
    if (!expects_data)
        return wire_in_lend(&p->in, scratch, NULL, out, out_cap);
    if (!token_bucket_can_spend(&s->down, s->now_us)) {
        if (!list_node_is_linked(&p->in_down_wait))
            list_push_back(&s->down_wait, &p->in_down_wait);
        session_flush(s); /* sets the timer */
        return 0;
    }
    struct wire_ahead *ahead = peer_spares(p, out_cap);
    size_t n_free = session_cache_free(s);
    if (n_free == 0 && !p->block) {
        COUNT(s, cache_full);
        if (!list_node_is_linked(&p->in_cache_wait))
            list_push_back(&s->cache_wait, &p->in_cache_wait);
        session_cache_pressure(s);
        return 0;
    }
    if (n_free == 0)
        out_cap = 1; /* the rest of this block, and no head of another */
    scratch.len = size_min(scratch.len, (n_free ? n_free : 1) * BLOCK_LEN);
    return wire_in_lend(&p->in, scratch, ahead, out, out_cap);
}

static void session_wake(struct session *s, struct list *list, size_t n)
{
    while (n-- && !list_is_empty(list)) {
        struct list_node *node = list_pop_front(list);
        struct peer *p = list == &s->cache_wait ? CONTAINER_OF(node, struct peer, in_cache_wait)
                                                : CONTAINER_OF(node, struct peer, in_down_wait);
        s->host.want_read(s->host.ctx, p->id);
    }
}

void session_wake_readers(struct session *s)
{
    size_t n_free = session_cache_free(s);
    if (n_free)
        session_wake(s, &s->cache_wait, n_free < READ_BLOCKS ? 1 : n_free / READ_BLOCKS);
    if (list_is_empty(&s->down_wait))
        return;
    if (token_bucket_can_spend(&s->down, s->now_us))
        session_wake(s, &s->down_wait, SIZE_MAX);
    else
        s->down_at_us =
            u64_max(token_bucket_ready_at_us(&s->down, s->now_us), s->now_us + US_PER_MS);
}
