#include "base/size.h"
#include "torrent/allowed_fast.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define REFUSED_GRACE_US   10000000u /* ours: after a choke, requests that were on their way */
#define REQUESTS_AHEAD_S   8u        /* ours: of the rate of a peer that has no way to be refused */
#define REQUESTS_AHEAD_MAX (1u << 18) /* ours: 4 GiB */
#define FAST_TIMES         2u /* ours: how often the allowed fast set is given to a choked peer */

/* --- choking --------------------------------------------------------------------------------- */

void peer_on_interested(struct peer *p, bool is_interested)
{
    p->peer_interested = is_interested;
    if (!p->is_in_choker || p->s->config.is_upload_off)
        return;
    choker_on_interest(&p->s->choker, p->s->now_us, &p->cp, is_interested);
    p->s->is_choker_dirty = true;
}

static void peer_reject(struct peer *p, const struct wire_block *b)
{
    if (peer_can(p, WIRE_FAST))
        peer_send_block_msg(p, MSG_REJECT, b);
}

void peer_set_choke(struct peer *p, bool am_choking)
{
    if (p->am_choking == am_choking || !peer_is_running(p))
        return;
    p->am_choking = am_choking;
    peer_send_plain(p, am_choking ? MSG_CHOKE : MSG_UNCHOKE);
    struct wire_block b;
    bool is_fast = peer_can(p, WIRE_FAST);
    while (am_choking && p->state != CONN_CLOSED &&
           upload_queue_flush_next(&p->uploads, p->fast_out, is_fast ? p->n_fast_out : 0, &b))
        peer_reject(p, &b);
}

static void session_update_rates(struct session *s)
{
    for (size_t i = 0; i < s->choker.n_peers; i++) {
        struct peer *p = CONTAINER_OF(s->choker.peers[i], struct peer, cp);
        p->cp.down_per_s = rate_per_s(&p->down, s->now_us);
        p->cp.up_per_s = rate_per_s(&p->up, s->now_us);
        p->cp.up_total = p->up.total;
    }
}

void session_choker_work(struct session *s)
{
    s->is_choker_dirty = false;
    if (choker_deadline_us(&s->choker) <= s->now_us) {
        session_update_rates(s);
        choker_on_tick(&s->choker, s->now_us);
    }
    struct choker_peer *cp;
    while ((cp = choker_next_change(&s->choker)))
        peer_set_choke(CONTAINER_OF(cp, struct peer, cp), !cp->is_unchoked);
}

/* BEP 6, "Allowed Fast": a newcomer may have a few pieces without an unchoke. */
void peer_grant_fast_set(struct peer *p)
{
    const struct torrent *t = p->t;
    if (p->s->config.is_upload_off || p->s->config.is_optimistic_off || !peer_can(p, WIRE_FAST) ||
        !t->info || p->n_fast_out || !p->is_have_known || peer_is_seed(p) ||
        p->have.n_set > ALLOWED_FAST_K)
        return;
    uint32_t set[ALLOWED_FAST_K_MAX];
    size_t n = allowed_fast_set(&p->addr, t->has_v1 ? t->infohash_v1 : t->infohash_v2,
                                t->info->n_pieces, FAST_SET_MAX, set);
    for (size_t i = 0; i < n; i++) {
        if (!bitset_get(&t->have, set[i]) || peer_has_piece(p, set[i]))
            continue;
        p->fast_out[p->n_fast_out++] = set[i];
        p->fast_left += FAST_TIMES * (uint64_t)layout_piece_len(&t->info->layout, set[i]);
        peer_send_index(p, MSG_ALLOWED_FAST, set[i]);
    }
}

static bool peer_is_allowed_fast(const struct peer *p, const struct wire_block *b)
{
    for (uint32_t i = 0; i < p->n_fast_out; i++)
        if (p->fast_out[i] == b->piece)
            return p->fast_left >= b->len;
    return false;
}

/* --- requests in ----------------------------------------------------------------------------- */

static void peer_refuse_request(struct peer *p, const struct wire_block *b)
{
    struct session *s = p->s;
    peer_reject(p, b);
    if (p->state == CONN_CLOSED || s->now_us < p->cp.choked_at_us + REFUSED_GRACE_US)
        return;
    if (++p->n_refused_requests <= REQUESTS_REFUSED_MAX)
        return;
    COUNT(s, request_flood_closed);
    peer_close(p, true);
}

/* What a request breaks, as a counter; N_SESSION_COUNTERS when it is fine. */
static enum session_counter_id peer_judge_request(const struct peer *p, const struct wire_block *b)
{
    const struct torrent *t = p->t;
    if (!t->info || t->is_poisoned || !t->is_storage_open || !bitset_get(&t->have, b->piece))
        return COUNTER_request_not_had;
    if (p->am_choking && !peer_is_allowed_fast(p, b))
        return COUNTER_request_while_choked;
    return N_SESSION_COUNTERS;
}

/* Who cannot be told no (BEP 6) waits for what was dropped until a minute's time-out. rTorrent, of this
 * kind and deaf to reqq, asks for 3.2 seconds of its rate; we take REQUESTS_AHEAD_S of it, so that
 * what it costs us goes with what they take. */
static void peer_raise_queue(struct peer *p)
{
    if (p->uploads.n < p->uploads.n_max || peer_can(p, WIRE_FAST))
        return;
    uint64_t n_ahead = rate_per_s(&p->up, p->s->now_us) * REQUESTS_AHEAD_S / BLOCK_LEN;
    n_ahead = u64_min(n_ahead, REQUESTS_AHEAD_MAX);
    p->uploads.n_max = (uint32_t)u64_max(n_ahead, p->uploads.n_max);
}

void peer_on_request(struct peer *p, const struct wire_block *b)
{
    struct session *s = p->s;
    const struct torrent *t = p->t;
    if (t->info && !layout_has_range(&t->info->layout, b->piece, b->begin, b->len)) {
        COUNT(s, request_out_of_range);
        peer_close(p, true);
        return;
    }
    enum session_counter_id why = peer_judge_request(p, b);
    if (why != N_SESSION_COUNTERS) {
        s->counters[why]++;
        peer_refuse_request(p, b);
        return;
    }
    peer_raise_queue(p);
    switch (upload_queue_push(&p->uploads, b)) {
    case UPLOAD_QUEUED:
        p->fast_left -= p->am_choking ? b->len : 0;
        break;
    case UPLOAD_DUPLICATE:
        COUNT(s, request_duplicate);
        break;
    case UPLOAD_FULL:
        COUNT(s, request_flood);
        peer_refuse_request(p, b);
        break;
    }
}

void peer_on_cancel(struct peer *p, const struct wire_block *b)
{
    if (upload_queue_cancel(&p->uploads, b))
        peer_reject(p, b);
    else
        COUNT(p->s, cancel_unknown);
}

/* --- blocks out ------------------------------------------------------------------------------ */

static void peer_send_block(struct peer *p, const struct wire_block *b)
{
    struct session *s = p->s;
    struct torrent *t = p->t;
    uint8_t head[PIECE_HEAD_LEN];
    struct writer w = writer_init(head, sizeof(head));
    peer_msg_write_piece_head(&w, b);
    s->host.send_block(s->host.ctx, p->id, writer_bytes(&w), t->id, b->piece, b->begin, b->len);
    p->room_len -= PIECE_HEAD_LEN + b->len;
    p->sent_at_us = p->useful_at_us = s->now_us;
    token_bucket_spend(&s->up, s->now_us, b->len);
    rate_add(&p->up, s->now_us, b->len);
    rate_add(&t->up, s->now_us, b->len);
    t->up_total += b->len;
    t->progress.uploaded = t->up_total;
    if (t->seed_ratio_milli && !t->is_goal_told)
        session_mark_torrent(t);
}

void peer_serve(struct peer *p)
{
    struct session *s = p->s;
    struct wire_block b;
    while (p->state != CONN_CLOSED && upload_queue_peek(&p->uploads, &b) &&
           p->room_len >= PIECE_HEAD_LEN + (size_t)b.len) {
        if (!bitset_get(&p->t->have, b.piece)) { /* lost since it was asked for */
            upload_queue_pop(&p->uploads, &b);
            peer_reject(p, &b);
            continue;
        }
        if (p->out.len)
            return; /* what was said before goes first; this comes back at once */
        if (!token_bucket_can_spend(&s->up, s->now_us)) {
            if (!list_node_is_linked(&p->in_up_wait))
                list_push_back(&s->up_wait, &p->in_up_wait);
            s->up_at_us =
                u64_max(token_bucket_ready_at_us(&s->up, s->now_us), s->now_us + US_PER_MS);
            return;
        }
        upload_queue_pop(&p->uploads, &b);
        peer_send_block(p, &b);
    }
}

void session_wake_uploads(struct session *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->up_wait)))
        session_mark_peer(CONTAINER_OF(n, struct peer, in_up_wait));
}
