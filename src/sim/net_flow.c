/* net_flow: streams as queues of segments, and the two links of a node that serve them in turn. */
#include "base/size.h"
#include "sim/net_internal.h"
#include <assert.h>
#include <errno.h>

#define SEG_CAP_MIN 128u

static struct net *net_of(struct net_flow *f)
{
    return f->from->conn->net;
}

static struct world *world_of(struct net_flow *f)
{
    return net_of(f)->w;
}

/* --- segments -------------------------------------------------------------------------------- */

static void segs_push(struct net_segs *s, struct net_seg *g)
{
    g->next = NULL;
    if (s->tail)
        s->tail->next = g;
    else
        s->head = g;
    s->tail = g;
    s->len += g->len - g->off;
}

static struct net_seg *segs_pop(struct net_segs *s)
{
    struct net_seg *g = s->head;
    s->head = g->next;
    if (!s->head)
        s->tail = NULL;
    s->len -= g->len - g->off;
    return g;
}

static struct net_seg *seg_new(struct world *w, uint32_t cap)
{
    struct net_seg *g = world_alloc(w, sizeof *g + cap);
    *g = (struct net_seg){.cap = cap};
    return g;
}

void segs_put(struct world *w, struct net_segs *s, struct bytes b)
{
    struct net_seg *t = s->tail;
    if (t && !t->content && t->cap - t->len >= b.len) {
        memcpy(t->data + t->len, b.data, b.len);
        t->len += (uint32_t)b.len;
        s->len += (uint32_t)b.len;
        return;
    }
    struct net_seg *g = seg_new(w, (uint32_t)size_max(b.len, SEG_CAP_MIN));
    memcpy(g->data, b.data, b.len);
    g->len = (uint32_t)b.len;
    segs_push(s, g);
}

void segs_put_content(struct world *w, struct net_segs *s, const struct content *c, uint64_t off,
                      uint32_t len, uint8_t variant)
{
    struct net_seg *g = seg_new(w, 0);
    g->content = c;
    g->content_off = off;
    g->len = len;
    g->variant = variant;
    segs_push(s, g);
}

/* Moves up to len bytes from one queue to the end of another. */
static void segs_move(struct world *w, struct net_segs *from, struct net_segs *to, uint32_t len)
{
    while (from->head && len > 0) {
        struct net_seg *g = from->head;
        uint32_t left = g->len - g->off;
        if (left <= len) {
            len -= left;
            segs_push(to, segs_pop(from));
            continue;
        }
        if (g->content)
            segs_put_content(w, to, g->content, g->content_off + g->off, len, g->variant);
        else
            segs_put(w, to, bytes_of(g->data + g->off, len));
        g->off += len;
        from->len -= len;
        return;
    }
}

/* The next len bytes (len <= s->len) into out. */
static void segs_take(struct world *w, struct net_segs *s, uint8_t *out, uint32_t len)
{
    while (len > 0) {
        struct net_seg *g = s->head;
        uint32_t n = (uint32_t)u64_min(len, g->len - g->off);
        if (g->content)
            content_lay(g->content, g->content_off + g->off, g->variant, out, n);
        else
            memcpy(out, g->data + g->off, n);
        g->off += n;
        s->len -= n;
        out += n;
        len -= n;
        if (g->off == g->len) {
            segs_pop(s);
            world_free(w, g);
        }
    }
}

void segs_free(struct world *w, struct net_segs *s)
{
    while (s->head)
        world_free(w, segs_pop(s));
}

static void chunks_push(struct net_chunks *q, struct net_chunk *c)
{
    c->next = NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

static struct net_chunk *chunks_pop(struct net_chunks *q)
{
    struct net_chunk *c = q->head;
    q->head = c->next;
    if (!q->head)
        q->tail = NULL;
    return c;
}

static void chunk_free(struct world *w, struct net_chunk *c)
{
    segs_free(w, &c->segs);
    world_free(w, c);
}

static void chunks_free(struct world *w, struct net_chunks *q)
{
    while (q->head)
        chunk_free(w, chunks_pop(q));
}

/* --- window ---------------------------------------------------------------------------------- */

static void set_unacked(struct net_flow *f, uint32_t unacked)
{
    struct net_node *to = f->to->node;
    if (!f->unacked && unacked)
        to->n_active_in++;
    if (f->unacked && !unacked)
        to->n_active_in--;
    f->unacked = unacked;
}

static uint32_t isqrt(uint64_t v)
{
    uint32_t r = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1)
        if ((uint64_t)(r | bit) * (r | bit) <= v)
            r |= bit;
    return r;
}

/* Mathis, Semke, Mahdavi, Ott (1997): window = packet * 1.22 / sqrt(p). */
static uint32_t window_under_loss(uint32_t window_len, uint64_t loss_ppm)
{
    if (loss_ppm == 0)
        return window_len;
    uint64_t w = (uint64_t)NET_PACKET_LEN * 122u * 1000u / isqrt(loss_ppm * 10000u);
    return (uint32_t)u64_min(window_len, w);
}

static uint64_t flow_loss_ppm(const struct net_flow *f)
{
    return u64_min((uint64_t)f->from->node->p.loss_ppm + f->to->node->p.loss_ppm, 900000);
}

/* What may be between the ends now: a share of what the receiver's link holds. */
static uint32_t window_now(const struct net_flow *f)
{
    const struct net_node *a = f->from->node, *b = f->to->node;
    uint64_t window = f->window_len, rate = b->down.rate_per_s;
    if (rate) {
        uint64_t rtt_us = 2 * (a->p.delay_us + b->p.delay_us);
        uint64_t budget = rate * (rtt_us + NET_QUEUE_US) / US_PER_S;
        uint64_t n = b->n_active_in + (f->unacked == 0);
        window = u64_min(window, budget / n);
    }
    return (uint32_t)u64_max(window, NET_WINDOW_MIN);
}

/* Whole chunks, so that a nearly full window does not cut crumbs. */
static bool can_send(struct net_flow *f)
{
    if (f->send.len == 0 || f->is_on_up || !net_can_reach(f->from->node, f->to->node))
        return false;
    uint32_t len = (uint32_t)u64_min(f->send.len, NET_CHUNK_LEN);
    return f->unacked == 0 || f->unacked + len <= window_now(f);
}

/* --- air ------------------------------------------------------------------------------------- */

static struct net_chunk *cut_chunk(struct net_flow *f)
{
    struct net_chunk *c = world_calloc(world_of(f), 1, sizeof *c);
    segs_move(world_of(f), &f->send, &c->segs, NET_CHUNK_LEN);
    set_unacked(f, f->unacked + c->segs.len);
    return c;
}

/* A lost packet is sent again a round trip later, and holds up what is behind it. */
static uint64_t loss_penalty_us(struct net_flow *f, uint32_t len)
{
    uint64_t ppm = flow_loss_ppm(f), penalty_us = 0;
    if (ppm == 0)
        return 0;
    const struct net_node *a = f->from->node, *b = f->to->node;
    for (uint32_t n = (uint32_t)div_ceil(len, NET_PACKET_LEN); n > 0; n--)
        if (world_chance(world_of(f), (uint32_t)ppm)) {
            penalty_us = 2 * (a->p.delay_us + b->p.delay_us) + 10000;
            net_link_charge(&f->from->node->up, NET_PACKET_LEN);
        }
    return penalty_us;
}

static void depart(struct net_flow *f, struct net_chunk *c)
{
    struct world *w = world_of(f);
    f->from->node->stats.up_len += c->segs.len;
    c->at_us = w->now_us + net_path_us(net_of(f), f->from->node, f->to->node);
    c->at_us = u64_max(c->at_us + loss_penalty_us(f, c->segs.len), f->last_at_us);
    f->last_at_us = c->at_us;
    chunks_push(&f->air, c);
    if (!sim_event_is_set(&f->arrival))
        world_set(w, &f->arrival, c->at_us);
}

static void send_fin(struct net_flow *f)
{
    struct net_chunk *c = world_calloc(world_of(f), 1, sizeof *c);
    c->is_fin = true;
    f->is_fin_sent = true;
    depart(f, c);
}

/* --- links ----------------------------------------------------------------------------------- */

void net_link_init(struct net_link *l, struct net_node *node, uint64_t rate_per_s,
                   void (*done)(struct world *w, struct sim_event *ev))
{
    *l = (struct net_link){.node = node, .rate_per_s = rate_per_s};
    list_init(&l->ring);
    sim_event_init(&l->done, done);
}

void net_link_clear(struct net_link *l)
{
    struct world *w = l->node->net->w;
    world_stop(w, &l->done);
    world_free(w, l->dgram);
    for (struct net_dgram *d = l->dgram_head, *next; d; d = next) {
        next = d->next;
        world_free(w, d);
    }
}

uint64_t net_link_charge(struct net_link *l, uint32_t len)
{
    uint64_t start_us = u64_max(l->paid_until_us, l->node->net->w->now_us);
    if (l->rate_per_s) {
        uint64_t work = (uint64_t)len * US_PER_S + l->frac;
        start_us += work / l->rate_per_s;
        l->frac = work % l->rate_per_s;
    }
    l->paid_until_us = start_us;
    return start_us;
}

static void link_occupy(struct net_link *l, uint32_t len)
{
    l->is_busy = true;
    world_set(l->node->net->w, &l->done, net_link_charge(l, len));
}

static struct net_dgram *dgrams_pop(struct net_link *l)
{
    struct net_dgram *d = l->dgram_head;
    l->dgram_head = d->next;
    if (!l->dgram_head)
        l->dgram_tail = NULL;
    l->dgram_len -= d->len;
    if (l->dgram_head)
        list_push_back(&l->ring, &l->dgrams_in_ring);
    return d;
}

/* False: the queue is full and the datagram gone. */
static bool dgrams_push(struct net_link *l, struct net_dgram *d)
{
    if (l->dgram_len + d->len > NET_DATAGRAM_QUEUE) {
        l->node->stats.n_datagrams_lost++;
        world_free(l->node->net->w, d);
        return false;
    }
    d->next = NULL;
    if (l->dgram_tail)
        l->dgram_tail->next = d;
    else
        l->dgram_head = d;
    l->dgram_tail = d;
    l->dgram_len += d->len;
    if (!list_node_is_linked(&l->dgrams_in_ring))
        list_push_back(&l->ring, &l->dgrams_in_ring);
    return true;
}

static void up_start(struct net_link *l)
{
    while (!l->is_busy && !list_is_empty(&l->ring)) {
        struct list_node *n = list_pop_front(&l->ring);
        if (n == &l->dgrams_in_ring) {
            l->dgram = dgrams_pop(l);
            link_occupy(l, l->dgram->len);
            return;
        }
        struct net_flow *f = CONTAINER_OF(n, struct net_flow, in_up);
        if (!can_send(f))
            continue; /* the window shrank, or a partition came, while it waited */
        l->flow = f;
        l->chunk = cut_chunk(f);
        f->is_on_up = true;
        link_occupy(l, l->chunk->segs.len);
    }
}

static void dgram_arrival(struct world *w, struct sim_event *ev);

static void dgram_depart(struct net_dgram *d)
{
    struct net_node *a = d->sender, *b = d->to;
    struct world *w = a->net->w;
    a->stats.up_len += d->len;
    uint64_t ppm = u64_min((uint64_t)a->p.loss_ppm + b->p.loss_ppm, 1000000);
    if (world_chance(w, (uint32_t)ppm) || !net_can_reach(a, b)) {
        a->stats.n_datagrams_lost++;
        world_free(w, d);
        return;
    }
    sim_event_init(&d->arrival, dgram_arrival);
    list_push_back(&a->net->air, &d->in_air);
    world_set(w, &d->arrival, w->now_us + net_path_us(a->net, a, b));
}

void net_up_done(struct world *w, struct sim_event *ev)
{
    (void)w;
    struct net_link *l = CONTAINER_OF(ev, struct net_link, done);
    struct net_flow *f = l->flow;
    net_reap(l->node->net);
    l->is_busy = false;
    if (l->dgram) {
        struct net_dgram *d = l->dgram;
        l->dgram = NULL;
        dgram_depart(d);
    }
    if (f) {
        struct net_chunk *c = l->chunk;
        l->flow = NULL;
        l->chunk = NULL;
        f->is_on_up = false;
        depart(f, c);
        net_flow_kick(f);
        net_end_announce(f->from);
    }
    up_start(l);
}

/* One that is in the air when the world ends. */
void net_dgram_free(struct net_dgram *d)
{
    struct world *w = d->to->net->w;
    list_remove(&d->to->net->air, &d->in_air);
    world_stop(w, &d->arrival);
    world_free(w, d);
}

void net_up_datagram(struct net_node *node, struct net_dgram *d)
{
    if (dgrams_push(&node->up, d))
        up_start(&node->up);
}

static void down_start(struct net_link *l)
{
    if (l->is_busy || list_is_empty(&l->ring))
        return;
    struct list_node *n = list_pop_front(&l->ring);
    if (n == &l->dgrams_in_ring) {
        l->dgram = dgrams_pop(l);
        link_occupy(l, l->dgram->len);
        return;
    }
    struct net_flow *f = CONTAINER_OF(n, struct net_flow, in_down);
    l->flow = f;
    l->chunk = chunks_pop(&f->down);
    f->is_on_down = true;
    link_occupy(l, l->chunk->segs.len);
}

static void take_in(struct net_flow *f, struct net_chunk *c)
{
    struct world *w = world_of(f);
    f->to->node->stats.down_len += c->segs.len;
    segs_move(w, &c->segs, &f->recv, c->segs.len);
    f->has_fin = f->has_fin || c->is_fin;
    chunk_free(w, c);
}

static void dgram_deliver(struct world *w, struct net_dgram *d)
{
    struct net_node *to = d->to;
    to->stats.down_len += d->len;
    if (to->program && to->program->datagram) {
        world_trace(w, TRACE_DATAGRAM, to->index, d->len, 0);
        to->program->datagram(to->ctx, &d->from, bytes_of(d->data, d->len));
    }
    world_free(w, d);
}

void net_down_done(struct world *w, struct sim_event *ev)
{
    struct net_link *l = CONTAINER_OF(ev, struct net_link, done);
    struct net_flow *f = l->flow;
    struct net_dgram *d = l->dgram;
    net_reap(l->node->net);
    l->is_busy = false;
    l->flow = NULL;
    l->dgram = NULL;
    if (f) {
        struct net_chunk *c = l->chunk;
        l->chunk = NULL;
        f->is_on_down = false;
        if (f->down.head)
            list_push_back(&l->ring, &f->in_down);
        take_in(f, c);
        down_start(l);
        net_flow_deliver(f);
        return;
    }
    down_start(l);
    if (d)
        dgram_deliver(w, d);
}

static void dgram_arrival(struct world *w, struct sim_event *ev)
{
    struct net_dgram *d = CONTAINER_OF(ev, struct net_dgram, arrival);
    struct net_node *to = d->to;
    net_reap(to->net);
    list_remove(&to->net->air, &d->in_air);
    if (!net_can_reach(d->sender, to)) {
        world_free(w, d);
        return;
    }
    if (dgrams_push(&to->down, d))
        down_start(&to->down);
}

/* --- flows ----------------------------------------------------------------------------------- */

/* Bytes for an end that is not there: gone; a node that came back says so. */
static void discard(struct net_flow *f, struct net_chunk *c)
{
    struct net_end *to = f->to;
    uint32_t len = c->segs.len;
    chunk_free(world_of(f), c);
    if (!to->is_void) {
        set_unacked(f, f->unacked - len);
        net_flow_kick(f);
    } else if (to->node->program && !to->out.is_reset) {
        net_flow_reset(&to->out);
    }
}

static void arrive(struct net_flow *f, struct net_chunk *c)
{
    struct net_link *down = &f->to->node->down;
    if (f->to->state == END_CLOSED) {
        discard(f, c);
    } else if (c->segs.len <= NET_SMALL_LEN && !f->down.head && !f->is_on_down) {
        net_link_charge(down, c->segs.len);
        take_in(f, c);
    } else {
        chunks_push(&f->down, c);
        if (!list_node_is_linked(&f->in_down) && !f->is_on_down)
            list_push_back(&down->ring, &f->in_down);
        down_start(down);
    }
}

static void on_arrival(struct world *w, struct sim_event *ev)
{
    struct net_flow *f = CONTAINER_OF(ev, struct net_flow, arrival);
    struct net_conn *conn = f->from->conn;
    net_reap(conn->net);
    if (f->is_reset) {
        if (f->to->state == END_DIALLING)
            f->to->dial = DIAL_REFUSED;
        if (f->to->state == END_OPEN)
            net_end_closed(f->to, ERR_IO, ECONNRESET, "connection reset by the far side");
        return;
    }
    while (!conn->is_dead && f->air.head && f->air.head->at_us <= w->now_us)
        arrive(f, chunks_pop(&f->air));
    if (!conn->is_dead && f->air.head)
        world_set(w, &f->arrival, f->air.head->at_us);
    if (!conn->is_dead)
        net_flow_deliver(f);
}

static void on_ack(struct world *w, struct sim_event *ev)
{
    (void)w;
    struct net_flow *f = CONTAINER_OF(ev, struct net_flow, ack);
    net_reap(net_of(f));
    set_unacked(f, f->unacked - f->ack_len);
    f->ack_len = 0;
    net_flow_kick(f);
}

/* The program took len bytes. A sender that waits for its window hears of it after the delay; the
 * others need no event for it. */
static void taken(struct net_flow *f, uint32_t len)
{
    struct world *w = world_of(f);
    f->ack_len += len;
    if (sim_event_is_set(&f->ack))
        return;
    if (f->send.len > 0 && !f->is_on_up && !list_node_is_linked(&f->in_up)) {
        world_set(w, &f->ack, w->now_us + net_path_us(net_of(f), f->to->node, f->from->node));
        return;
    }
    set_unacked(f, f->unacked - f->ack_len);
    f->ack_len = 0;
}

void net_flow_init(struct net_flow *f, struct net_end *from, struct net_end *to)
{
    *f = (struct net_flow){.from = from, .to = to};
    uint32_t window = from->node->p.window_len ? from->node->p.window_len : NET_WINDOW_LEN;
    f->window_len = window_under_loss(window, flow_loss_ppm(f));
    sim_event_init(&f->arrival, on_arrival);
    sim_event_init(&f->ack, on_ack);
}

static void leave_link(struct net_link *l, struct net_flow *f)
{
    if (l->flow != f)
        return;
    chunk_free(l->node->net->w, l->chunk); /* the link stays busy until the time is over */
    l->chunk = NULL;
    l->flow = NULL;
}

void net_flow_drop(struct net_flow *f)
{
    struct world *w = world_of(f);
    struct net_node *a = f->from->node, *b = f->to->node;
    world_stop(w, &f->arrival);
    world_stop(w, &f->ack);
    if (list_node_is_linked(&f->in_up))
        list_remove(&a->up.ring, &f->in_up);
    if (list_node_is_linked(&f->in_down))
        list_remove(&b->down.ring, &f->in_down);
    leave_link(&a->up, f);
    leave_link(&b->down, f);
    f->is_on_up = f->is_on_down = false;
    segs_free(w, &f->send);
    segs_free(w, &f->recv);
    chunks_free(w, &f->air);
    chunks_free(w, &f->down);
    f->ack_len = 0;
    set_unacked(f, 0);
}

void net_flow_unread(struct net_flow *f)
{
    struct world *w = world_of(f);
    struct net_link *down = &f->to->node->down;
    uint32_t len = f->recv.len;
    segs_free(w, &f->recv);
    for (const struct net_chunk *c = f->down.head; c; c = c->next)
        len += c->segs.len;
    chunks_free(w, &f->down);
    if (list_node_is_linked(&f->in_down))
        list_remove(&down->ring, &f->in_down);
    if (f->is_on_down) {
        len += down->chunk->segs.len;
        leave_link(down, f);
        f->is_on_down = false;
    }
    if (!f->to->is_void)
        set_unacked(f, f->unacked - len);
}

void net_flow_kick(struct net_flow *f)
{
    struct net_node *node = f->from->node;
    if (list_node_is_linked(&f->in_up))
        return;
    if (can_send(f) && f->send.len <= NET_SMALL_LEN) {
        struct net_chunk *c = cut_chunk(f);
        net_link_charge(&node->up, c->segs.len);
        depart(f, c);
    } else if (can_send(f)) {
        list_push_back(&node->up.ring, &f->in_up);
        up_start(&node->up);
    }
    if (f->is_fin_wanted && !f->is_fin_sent && !f->send.len && !f->is_on_up &&
        net_can_reach(node, f->to->node))
        send_fin(f);
}

static uint32_t lend_len(const struct span *spans, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += spans[i].len;
    return (uint32_t)size_min(len, UINT32_MAX);
}

static void pour(struct net_flow *f, const struct span *spans, uint32_t len)
{
    for (size_t i = 0; len > 0; i++) {
        uint32_t n = (uint32_t)size_min(spans[i].len, len);
        segs_take(world_of(f), &f->recv, spans[i].data, n);
        len -= n;
    }
}

/* Up to len bytes, but a phantom's block begins a delivery of its own: after its head the engine lends
 * the block's buffer, where bytes that do not count need not be laid, nor copied from a scratch. */
static uint32_t run_len(const struct net_flow *f, uint32_t len)
{
    uint32_t n = 0;
    bool has_data = false;
    for (const struct net_seg *g = f->recv.head; g && n < len; g = g->next) {
        if (g->content && g->content->is_phantom && has_data)
            return n;
        has_data |= !g->content;
        n += g->len - g->off;
    }
    return n < len ? n : len;
}

static bool deliver_some(struct net_flow *f)
{
    struct net_end *e = f->to;
    struct world *w = world_of(f);
    struct span spans[4];
    size_t n = e->node->program->lend(e->node->ctx, e->id, spans, 4);
    if (n == 0)
        e->is_stalled = true;
    if (n == 0 || e->state != END_OPEN)
        return false;
    uint32_t len = run_len(f, lend_len(spans, n));
    if (len > 1 && world_chance(w, e->node->p.split_ppm))
        len = 1 + rng_below(&w->rng, len - 1);
    pour(f, spans, len);
    world_trace(w, TRACE_BYTES, e->node->index, e->id, len);
    e->node->program->laid(e->node->ctx, e->id, len);
    if (e->state == END_OPEN)
        taken(f, len);
    else if (!e->conn->is_dead) /* closed by what it read */
        set_unacked(f, f->unacked - len);
    return e->state == END_OPEN;
}

void net_flow_deliver(struct net_flow *f)
{
    struct net_end *e = f->to;
    while (e->state == END_OPEN && !e->is_stalled && f->recv.len > 0)
        if (!deliver_some(f))
            return;
    if (e->state == END_OPEN && f->recv.len == 0 && f->has_fin)
        net_end_closed(e, ERR_OK, 0, NULL);
}

void net_flow_reset(struct net_flow *f)
{
    struct world *w = world_of(f);
    net_flow_drop(f);
    if (f->from->node->group != f->to->node->group)
        return;
    f->is_reset = true;
    world_set(w, &f->arrival, w->now_us + net_path_us(net_of(f), f->from->node, f->to->node));
}

static uint32_t chunks_len(const struct net_chunks *q)
{
    uint32_t len = 0;
    for (const struct net_chunk *c = q->head; c; c = c->next)
        len += c->segs.len;
    return len;
}

static void segs_check(const struct net_segs *s)
{
    uint32_t len = 0;
    for (const struct net_seg *g = s->head; g; g = g->next) {
        assert(g->off < g->len);
        len += g->len - g->off;
    }
    assert(len == s->len);
}

void net_flow_check(const struct net_flow *f)
{
    const struct net_link *up = &f->from->node->up, *down = &f->to->node->down;
    uint32_t len = chunks_len(&f->air) + chunks_len(&f->down) + f->recv.len + f->ack_len;
    assert(f->is_on_up == (up->flow == f));
    assert(f->is_on_down == (down->flow == f));
    if (f->is_on_up)
        len += up->chunk->segs.len;
    if (f->is_on_down)
        len += down->chunk->segs.len;
    assert(f->to->is_void || len == f->unacked);
    segs_check(&f->send);
    segs_check(&f->recv);
    assert(!f->air.head || sim_event_is_set(&f->arrival));
}
