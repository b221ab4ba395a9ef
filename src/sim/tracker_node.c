/* tracker_node: requests in, replies out, nothing kept here. */
#include "sim/tracker_node.h"
#include <assert.h>

#define STREAM_CONN 1u /* no streams are taken: HTTP comes by net_http */

static bool refuse(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    (void)ctx;
    (void)from;
    *out_conn = STREAM_CONN;
    return false;
}

static void rearm(struct tracker_node *t)
{
    uint64_t at_us = tracker_server_deadline_us(t->server);
    uint64_t now_us = t->n->w->now_us;
    if (at_us == DEADLINE_NEVER)
        world_stop(t->n->w, &t->tick);
    else
        world_set(t->n->w, &t->tick, at_us < now_us ? now_us : at_us);
}

static void on_tick(struct world *w, struct sim_event *ev)
{
    struct tracker_node *t = CONTAINER_OF(ev, struct tracker_node, tick);
    tracker_server_tick(t->server, w->now_us);
    rearm(t);
}

static void on_datagram(void *ctx, const struct addr *from, struct bytes b)
{
    struct tracker_node *t = ctx;
    uint8_t out[TRACKER_SERVER_UDP_CAP];
    size_t len = tracker_server_udp(t->server, t->n->w->now_us, from, b, out);
    if (len)
        net_datagram(t->node, from, bytes_of(out, len));
    rearm(t);
}

static uint32_t on_http(void *ctx, const struct addr *from, struct bytes path, struct buf *out)
{
    struct tracker_node *t = ctx;
    const uint8_t *mark = path.len ? memchr(path.data, '?', path.len) : NULL;
    size_t path_len = mark ? (size_t)(mark - path.data) : path.len;
    struct bytes query = bytes_sub(path, path_len + 1, path.len);
    struct span room = buf_reserve(out, TRACKER_SERVER_HTTP_CAP);
    struct writer w = writer_init(room.data, room.len);
    uint32_t status = tracker_server_http(t->server, t->n->w->now_us, bytes_sub(path, 0, path_len),
                                          query, from, &w);
    buf_commit(out, writer_bytes(&w).len);
    rearm(t);
    return status;
}

static const struct net_program tracker_program = {
    .accept = refuse, .datagram = on_datagram, .http = on_http};

struct tracker_node *tracker_node_new(struct net *n, const char *name, uint16_t port,
                                      uint32_t interval_s)
{
    struct world *w = n->w;
    struct tracker_node *t = world_calloc(w, 1, sizeof *t);
    struct net_params p = {.addr = addr_v4(11, 255, 255, (uint8_t)(1 + n->n_nodes % 250), port),
                           .delay_us = 20000};
    struct tracker_server_config config = {.interval_s = interval_s, .min_interval_s = interval_s};
    t->n = n;
    rng_fill(&w->rng, config.secret, sizeof config.secret);
    sim_event_init(&t->tick, on_tick);
    enum err_code code =
        tracker_server_new(&t->server, w->mem, &config, w->now_us, rng_u64(&w->rng));
    assert(code == ERR_OK);
    (void)code;
    t->node = net_add_node(n, &p);
    net_set_name(n, name, net_addr(t->node));
    net_start(t->node, &tracker_program, t);
    rearm(t);
    return t;
}

void tracker_node_crash(struct tracker_node *t)
{
    net_crash(t->node, true);
    world_stop(t->n->w, &t->tick);
}

void tracker_node_free(struct tracker_node *t)
{
    if (!t)
        return;
    tracker_node_crash(t);
    tracker_server_free(t->server);
    world_free(t->n->w, t);
}

void tracker_node_add(struct tracker_node *t, const uint8_t infohash[SHA1_LEN],
                      const struct addr *a, bool is_seed)
{
    char path[256];
    struct writer w = writer_init(path, sizeof path);
    writer_str(&w, "/announce?info_hash=");
    for (int i = 0; i < 20; i++)
        writer_printf(&w, "%%%02x", infohash[i]);
    writer_str(&w, "&peer_id=-XX0000-");
    for (int i = 0; i < 12; i++)
        writer_u8(&w, (uint8_t)('a' + rng_below(&t->n->w->rng, 26)));
    writer_printf(&w, "&port=%u&left=%u&compact=1", a->port, is_seed ? 0 : 1);
    struct buf out;
    buf_init(&out, t->n->w->mem, SIZE_MAX);
    uint32_t status = on_http(t, a, writer_bytes(&w), &out);
    assert(status == 200);
    (void)status;
    buf_clear(&out);
}

uint64_t tracker_node_counter(const struct tracker_node *t, enum tracker_server_counter which)
{
    struct tracker_server_stats stats;
    tracker_server_stats(t->server, &stats);
    return stats.counters[which];
}
