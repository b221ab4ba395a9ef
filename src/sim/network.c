/* network: nodes, the life of connections, and the calls of programs. */
#include "sim/network.h"
#include "base/size.h"
#include "sim/net_internal.h"
#include <assert.h>
#include <errno.h>

#define SEND_BUF_MIN 196608u /* three quarters of it take the longest block: host.h, send_block */
#define SEND_BUF_MAX 262144u
#define EPHEMERAL    49152u

struct net_name {
    struct net_name *next;
    struct addr addr;
    char name[];
};

/* --- nodes ----------------------------------------------------------------------------------- */

static void ip_key(const struct addr *a, uint8_t out[17])
{
    out[0] = a->family;
    memcpy(out + 1, a->ip, 16);
}

void net_init(struct net *n, struct world *w)
{
    struct map_seed seed = rng_map_seed(&w->rng);
    *n = (struct net){.w = w};
    list_init(&n->conns);
    list_init(&n->dead);
    list_init(&n->air);
    map_init(&n->by_ip, w->mem, seed, 17, sizeof(struct net_node *), UINT32_MAX);
}

void net_reap(struct net *n)
{
    struct list_node *node;
    while ((node = list_pop_front(&n->dead)))
        world_free(n->w, CONTAINER_OF(node, struct net_conn, in_conns));
}

static void conn_die(struct net_conn *c)
{
    struct net *n = c->net;
    c->is_dead = true;
    for (int i = 0; i < 2; i++) {
        world_stop(n->w, &c->ends[i].timer);
        net_flow_drop(&c->ends[i].out);
    }
    list_remove(&n->conns, &c->in_conns);
    list_push_back(&n->dead, &c->in_conns);
    n->n_conns--;
}

static void node_clear(struct net_node *node)
{
    net_link_clear(&node->up);
    net_link_clear(&node->down);
    map_clear(&node->by_id);
    map_clear(&node->nat);
    world_free(node->net->w, node);
}

void net_clear(struct net *n)
{
    LIST_EACH(&n->conns, c, struct net_conn, in_conns)
    conn_die(c);
    net_reap(n);
    LIST_EACH(&n->air, d, struct net_dgram, in_air)
    net_dgram_free(d);
    for (uint32_t i = 0; i < n->n_nodes; i++)
        node_clear(n->nodes[i]);
    while (n->names) {
        struct net_name *next = n->names->next;
        world_free(n->w, n->names);
        n->names = next;
    }
    world_free(n->w, n->nodes);
    map_clear(&n->by_ip);
}

/* 11.x.y.z, neighbours in number far apart in address, so that no rule about networks joins them. */
static struct addr addr_of_index(uint32_t i)
{
    return addr_v4(11, (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(1 + (i >> 16)), 6881);
}

struct net_node *net_add_node(struct net *n, const struct net_params *p)
{
    struct net_node *node = world_calloc(n->w, 1, sizeof *node);
    uint8_t key[17];
    bool is_new = false;
    *node = (struct net_node){.net = n, .index = n->n_nodes, .p = *p};
    if (node->p.addr.family == ADDR_NONE)
        node->p.addr = addr_of_index(node->index);
    if (!node->p.send_buf_len)
        node->p.send_buf_len =
            p->up_per_s ? (uint32_t)u64_min(u64_max(p->up_per_s / 2, SEND_BUF_MIN), SEND_BUF_MAX)
                        : SEND_BUF_MAX;
    struct map_seed seed = rng_map_seed(&n->w->rng);
    map_init(&node->by_id, n->w->mem, seed, sizeof(uint32_t), sizeof(struct net_end *), UINT32_MAX);
    map_init(&node->nat, n->w->mem, seed, ADDR_KEY_LEN, 1, NET_NAT_MAX);
    net_link_init(&node->up, node, p->up_per_s, net_up_done);
    net_link_init(&node->down, node, p->down_per_s, net_down_done);
    if (n->n_nodes == n->nodes_cap) {
        n->nodes_cap = n->nodes_cap ? 2 * n->nodes_cap : 64;
        n->nodes = world_realloc(n->w, n->nodes, n->nodes_cap * sizeof(struct net_node *));
    }
    n->nodes[n->n_nodes++] = node;
    ip_key(&node->p.addr, key);
    struct net_node **slot = map_put(&n->by_ip, key, &is_new);
    assert(slot && is_new);
    *slot = node;
    return node;
}

void net_start(struct net_node *node, const struct net_program *program, void *ctx)
{
    assert(!node->program);
    node->program = program;
    node->ctx = ctx;
    world_trace(node->net->w, TRACE_NODE, node->index, 1, 0);
}

bool net_is_up(const struct net_node *node)
{
    return node->program != NULL;
}

uint32_t net_http(struct net_node *node, const struct addr *from, struct bytes path,
                  struct buf *out)
{
    if (!node->program || !node->program->http)
        return 0;
    return node->program->http(node->ctx, from, path, out);
}

const struct addr *net_addr(const struct net_node *node)
{
    return &node->p.addr;
}

uint32_t net_index(const struct net_node *node)
{
    return node->index;
}

struct net_stats net_stats(const struct net_node *node)
{
    return node->stats;
}

void net_set_rates(struct net_node *node, uint64_t up_per_s, uint64_t down_per_s)
{
    node->up.rate_per_s = up_per_s;
    node->down.rate_per_s = down_per_s;
    node->up.frac = node->down.frac = 0;
}

void net_set_group(struct net_node *node, uint32_t group)
{
    node->group = group;
    LIST_EACH(&node->net->conns, c, struct net_conn, in_conns)
    for (int i = 0; i < 2; i++)
        net_flow_kick(&c->ends[i].out);
}

struct net_node *net_find(const struct net *n, const struct addr *a)
{
    uint8_t key[17];
    ip_key(a, key);
    struct net_node **slot = map_get(&n->by_ip, key);
    return slot ? *slot : NULL;
}

void net_set_name(struct net *n, const char *name, const struct addr *a)
{
    size_t len = strlen(name);
    struct net_name *e = world_alloc(n->w, sizeof *e + len + 1);
    e->next = n->names;
    e->addr = *a;
    memcpy(e->name, name, len + 1);
    n->names = e;
}

const struct addr *net_resolve(const struct net *n, struct bytes name)
{
    for (const struct net_name *e = n->names; e; e = e->next)
        if (bytes_equal_str(name, e->name))
            return &e->addr;
    return NULL;
}

bool net_can_reach(const struct net_node *a, const struct net_node *b)
{
    return a->group == b->group;
}

uint64_t net_path_us(struct net *n, const struct net_node *a, const struct net_node *b)
{
    uint64_t jitter_us = a->p.jitter_us + b->p.jitter_us;
    uint64_t us = a->p.delay_us + b->p.delay_us;
    return jitter_us ? us + rng_below64(&n->w->rng, jitter_us + 1) : us;
}

void net_charge(struct net_node *from, struct net_node *to, uint32_t len)
{
    net_link_charge(&from->up, len);
    net_link_charge(&to->down, len);
    from->stats.up_len += len;
    to->stats.down_len += len;
}

/* --- connections ----------------------------------------------------------------------------- */

static struct net_end *find_end(const struct net_node *node, uint32_t id)
{
    struct net_end **slot = map_get(&node->by_id, &id);
    return slot ? *slot : NULL;
}

static void set_id(struct net_end *e, uint32_t id)
{
    bool is_new = false;
    struct net_end **slot = map_put(&e->node->by_id, &id, &is_new);
    assert(id != 0 && slot && is_new); /* a program gave the same number twice */
    *slot = e;
    e->id = id;
}

/* The program knows the connection no more. */
static void end_leave(struct net_end *e)
{
    if (e->id)
        map_remove(&e->node->by_id, &e->id);
    e->state = END_CLOSED;
    world_stop(e->conn->net->w, &e->timer);
}

void net_end_closed(struct net_end *e, enum err_code code, uint64_t err_no, const char *what)
{
    struct err err = {.code = code, .what = what, .got = err_no};
    world_trace(e->conn->net->w, TRACE_CLOSED, e->node->index, e->id, (uint64_t)code);
    end_leave(e);
    conn_die(e->conn);
    e->node->program->closed(e->node->ctx, e->id, &err);
}

static uint32_t room_of(const struct net_end *e)
{
    uint32_t cap = e->node->p.send_buf_len;
    return e->out.send.len < cap ? cap - e->out.send.len : 0;
}

static void tell_room(struct net_end *e)
{
    e->room_left = room_of(e);
    e->node->program->room(e->node->ctx, e->id, e->room_left);
}

void net_end_announce(struct net_end *e)
{
    struct world *w = e->conn->net->w;
    if (e->state != END_OPEN || sim_event_is_set(&e->timer))
        return;
    uint32_t room = room_of(e);
    if (room > e->room_left && room - e->room_left >= e->node->p.send_buf_len / 4)
        world_set(w, &e->timer, w->now_us);
}

static void dial_outcome(struct net_conn *c, enum net_dial dial, uint64_t delay_us)
{
    struct world *w = c->net->w;
    c->ends[0].dial = dial;
    world_set(w, &c->ends[0].timer, w->now_us + delay_us);
}

/* A dial reaches the node it is for. */
static void dial_arrives(struct net_end *e)
{
    struct net_conn *c = e->conn;
    struct net_node *node = e->node;
    uint64_t back_us = net_path_us(c->net, node, c->ends[0].node);
    uint32_t id = 0;
    bool is_same_port = c->to.port == node->p.addr.port;
    if (!node->program || !is_same_port) {
        dial_outcome(c, DIAL_REFUSED, back_us);
        return;
    }
    dial_outcome(c, DIAL_CONNECTED, back_us);
    e->out.last_at_us = c->net->w->now_us + back_us;
    e->state = END_OPEN;
    node->stats.n_accepts++;
    if (node->program->accept(node->ctx, &c->from, &id)) {
        set_id(e, id);
        tell_room(e);
        return;
    }
    e->state = END_CLOSED;
    e->out.is_fin_wanted = true;
    net_flow_kick(&e->out);
}

static void dial_ends(struct net_end *e)
{
    const struct net_program *p = e->node->program;
    if (e->dial == DIAL_REFUSED) {
        net_end_closed(e, ERR_IO, ECONNREFUSED, "connection refused");
    } else if (e->dial == DIAL_TIMED_OUT) {
        net_end_closed(e, ERR_IO, ETIMEDOUT, "nobody answers");
    } else {
        e->state = END_OPEN;
        world_trace(e->conn->net->w, TRACE_CONNECTED, e->node->index, e->id, 0);
        p->connected(e->node->ctx, e->id);
        if (e->state == END_OPEN)
            tell_room(e);
    }
}

static void on_timer(struct world *w, struct sim_event *ev)
{
    (void)w;
    struct net_end *e = CONTAINER_OF(ev, struct net_end, timer);
    net_reap(e->conn->net);
    switch (e->state) {
    case END_NONE:
        dial_arrives(e);
        break;
    case END_DIALLING:
        dial_ends(e);
        break;
    case END_OPEN:
        tell_room(e);
        break;
    case END_CLOSED: /* what was not flushed by now is lost */
        if (!e->out.is_fin_sent)
            net_flow_reset(&e->out);
        break;
    }
}

static struct net_conn *conn_new(struct net_node *a, struct net_node *b, const struct addr *to)
{
    struct net *n = a->net;
    struct net_conn *c = world_calloc(n->w, 1, sizeof *c);
    c->net = n;
    c->from = a->p.addr;
    c->from.port = (uint16_t)(EPHEMERAL + n->next_port++ % (65536u - EPHEMERAL));
    c->to = *to;
    for (int i = 0; i < 2; i++) {
        c->ends[i].conn = c;
        c->ends[i].node = i == 0 ? a : b;
        sim_event_init(&c->ends[i].timer, on_timer);
    }
    net_flow_init(&c->ends[0].out, &c->ends[0], &c->ends[1]);
    net_flow_init(&c->ends[1].out, &c->ends[1], &c->ends[0]);
    list_push_back(&n->conns, &c->in_conns);
    n->n_conns++;
    return c;
}

/* The first packet is sent again after 1, 2, 4 s (RFC 6298 with a first timeout of a second). */
static uint64_t syn_penalty_us(struct net *n, const struct net_node *a, const struct net_node *b)
{
    uint64_t penalty_us = 0;
    for (uint64_t wait_us = US_PER_S; penalty_us < NET_CONNECT_US; wait_us *= 2) {
        if (!world_chance(n->w, (uint32_t)u64_min((uint64_t)a->p.loss_ppm + b->p.loss_ppm, 900000)))
            break;
        penalty_us += wait_us;
    }
    return penalty_us;
}

void net_connect(struct net_node *node, uint32_t conn, const struct addr *to)
{
    struct net *n = node->net;
    struct net_node *target = net_find(n, to);
    struct net_conn *c = conn_new(node, target ? target : node, to);
    node->stats.n_dials++;
    world_trace(n->w, TRACE_CONNECT, node->index, conn, target ? target->index : UINT32_MAX);
    c->ends[0].state = END_DIALLING;
    set_id(&c->ends[0], conn);
    if (!target || target->p.is_nat || !net_can_reach(node, target)) {
        c->ends[1].state = END_CLOSED;
        dial_outcome(c, DIAL_TIMED_OUT, NET_CONNECT_US);
        return;
    }
    uint64_t us = net_path_us(n, node, target) + syn_penalty_us(n, node, target);
    world_set(n->w, &c->ends[1].timer, n->w->now_us + us);
}

static struct net_end *open_end(const struct net_node *node, uint32_t conn, uint32_t len)
{
    struct net_end *e = find_end(node, conn);
    if (!e || e->state != END_OPEN)
        return NULL;
    if (len > e->room_left)
        e->node->stats.n_over_room++;
    e->room_left -= (uint32_t)u64_min(len, e->room_left);
    return e;
}

void net_send(struct net_node *node, uint32_t conn, struct bytes b)
{
    struct net_end *e = open_end(node, conn, (uint32_t)b.len);
    if (!e || b.len == 0)
        return;
    segs_put(node->net->w, &e->out.send, b);
    net_flow_kick(&e->out);
    net_end_announce(e);
}

void net_send_content(struct net_node *node, uint32_t conn, const struct content *c, uint64_t off,
                      uint32_t len, uint8_t variant)
{
    struct net_end *e = open_end(node, conn, len);
    if (!e || len == 0)
        return;
    segs_put_content(node->net->w, &e->out.send, c, off, len, variant);
    net_flow_kick(&e->out);
    net_end_announce(e);
}

uint32_t net_queued_len(const struct net_node *node, uint32_t conn)
{
    const struct net_end *e = find_end(node, conn);
    return e ? e->out.send.len : 0;
}

/* The program's own call must not come back as a lend: an event at the present time does it. */
void net_want_read(struct net_node *node, uint32_t conn)
{
    struct net_end *e = find_end(node, conn);
    if (!e || !e->is_stalled)
        return;
    struct world *w = node->net->w;
    struct net_flow *in = &net_peer(e)->out;
    e->is_stalled = false;
    if (!in->is_reset && (in->recv.len > 0 || in->has_fin) &&
        (!sim_event_is_set(&in->arrival) || in->arrival.at_us > w->now_us))
        world_set(w, &in->arrival, w->now_us);
}

static void close_end(struct net_end *e, bool is_reset)
{
    struct net_end *peer = net_peer(e);
    struct world *w = e->conn->net->w;
    bool is_met =
        peer->state == END_OPEN || (peer->state == END_DIALLING && e == &e->conn->ends[1]);
    end_leave(e);
    if (!is_met) {
        conn_die(e->conn);
        return;
    }
    net_flow_unread(&peer->out);
    if (is_reset) {
        net_flow_reset(&e->out);
        return;
    }
    e->out.is_fin_wanted = true;
    world_set(w, &e->timer, w->now_us + NET_FLUSH_US);
    net_flow_kick(&e->out);
    net_flow_kick(&peer->out);
}

void net_close(struct net_node *node, uint32_t conn)
{
    struct net_end *e = find_end(node, conn);
    if (e)
        close_end(e, false);
}

bool net_reset(struct net_node *node, uint32_t conn)
{
    struct net_end *e = find_end(node, conn);
    if (e)
        close_end(e, true);
    return e != NULL;
}

static void crash_end(struct net_end *e, bool is_silent)
{
    struct net_end *peer = net_peer(e);
    bool was_open = e->state == END_OPEN || e->state == END_DIALLING;
    if (!was_open)
        return;
    if (!is_silent || peer->state == END_NONE || peer->state == END_CLOSED) {
        close_end(e, true);
        return;
    }
    end_leave(e);
    e->is_void = true;
    net_flow_drop(&e->out);
    net_flow_unread(&peer->out);
}

void net_crash(struct net_node *node, bool is_silent)
{
    if (!node->program)
        return;
    world_trace(node->net->w, TRACE_NODE, node->index, 0, is_silent);
    LIST_EACH(&node->net->conns, c, struct net_conn, in_conns)
    for (int i = 0; i < 2 && !c->is_dead; i++)
        if (c->ends[i].node == node)
            crash_end(&c->ends[i], is_silent);
    node->program = NULL;
}

/* --- datagrams ------------------------------------------------------------------------------- */

static bool passes_nat(const struct net_node *to, const struct addr *from)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(from, key);
    return !to->p.is_nat || map_get(&to->nat, key);
}

static void remember_nat(struct net_node *node, const struct addr *to)
{
    uint8_t key[ADDR_KEY_LEN];
    bool is_new = false;
    if (!node->p.is_nat)
        return;
    addr_key(to, key);
    if (map_put(&node->nat, key, &is_new))
        return;
    map_clear(&node->nat);
    map_init(&node->nat, node->net->w->mem, rng_map_seed(&node->net->w->rng), ADDR_KEY_LEN, 1,
             NET_NAT_MAX);
}

void net_datagram(struct net_node *node, const struct addr *to, struct bytes b)
{
    struct net *n = node->net;
    struct net_node *target = net_find(n, to);
    remember_nat(node, to);
    if (!target || b.len > NET_DATAGRAM_LEN_MAX || to->port != target->p.addr.port ||
        !passes_nat(target, &node->p.addr)) {
        node->stats.n_datagrams_lost++;
        return;
    }
    struct net_dgram *d = world_alloc(n->w, sizeof *d + b.len);
    *d = (struct net_dgram){
        .from = node->p.addr, .to = target, .sender = node, .len = (uint32_t)b.len};
    memcpy(d->data, b.data, b.len);
    net_up_datagram(node, d);
}

void net_check(const struct net *n)
{
    uint32_t n_conns = 0;
    LIST_EACH(&n->conns, c, struct net_conn, in_conns)
    {
        n_conns++;
        for (int i = 0; i < 2; i++) {
            net_flow_check(&c->ends[i].out);
            assert(c->ends[i].room_left <= c->ends[i].node->p.send_buf_len);
        }
    }
    assert(n_conns == n->n_conns);
}
