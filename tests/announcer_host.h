/* announcer_host: one announcer on real sockets, for tests that ask real trackers.
 *
 * Threads    the loop's thread
 */
#pragma once
#include "crypto/random.h"
#include "io/fetch.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/udp.h"
#include "torrent/announcer.h"

#define ANNOUNCER_HOST_PEERS_MAX 512u

struct announcer_host {
    struct mem mem;
    struct loop *loop;
    struct resolver *resolver;
    struct fetch_client *fetch;
    struct udp *udp[2]; /* IPv4, IPv6; the latter NULL without IPv6 */
    struct announcer *a;
    struct announcer_progress progress;
    /* what happened */
    struct addr peers[ANNOUNCER_HOST_PEERS_MAX];
    size_t n_peers;
    unsigned n_good, n_bad, n_ended, n_stopped; /* n_ended: good and bad */
    char last_error[400];
};

static inline void announcer_host_pump(struct announcer_host *h);

static inline void announcer_host_resolved(void *ctx, uint64_t job, const struct err *err,
                                           const struct addr *addrs, size_t n_addrs)
{
    struct announcer_host *h = ctx;
    announcer_on_resolved(h->a, loop_now_us(h->loop), job, err, addrs, n_addrs);
    announcer_host_pump(h);
}

static inline void announcer_host_fetched(void *ctx, uint64_t job, const struct err *err,
                                          uint32_t http_status, struct bytes body)
{
    struct announcer_host *h = ctx;
    announcer_on_fetched(h->a, loop_now_us(h->loop), job, err, http_status, body);
    announcer_host_pump(h);
}

static inline void announcer_host_datagram(void *ctx, const struct addr *from, struct bytes b)
{
    struct announcer_host *h = ctx;
    announcer_on_datagram(h->a, loop_now_us(h->loop), from, b);
    announcer_host_pump(h);
}

static inline void announcer_host_status(struct announcer_host *h, const struct announcer_want *w)
{
    char text[200];
    h->n_ended++;
    if (w->err.code == ERR_OK) {
        h->n_good++;
        return;
    }
    h->n_bad++;
    snprintf(h->last_error, sizeof h->last_error, "%s: %s %s", w->url,
             err_format(&w->err, text, sizeof text), w->text);
}

static inline void announcer_host_want(struct announcer_host *h, const struct announcer_want *w)
{
    struct fetch fetch = {.url = w->url,
                          .user_agent = "shoal-test",
                          .body_len_max = w->body_len_max,
                          .timeout_ms = w->timeout_ms,
                          .ip_family = w->ip_family,
                          .is_tracker = !w->is_by_hand};
    struct udp *udp = h->udp[w->to.family == ADDR_V6];
    struct err no_memory = {ERR_NO_MEMORY, "no memory for a request", 0, 0, 0};
    switch (w->kind) {
    case ANNOUNCER_RESOLVE:
        if (resolve_start(h->resolver, w->name, w->port, announcer_host_resolved, h, w->job))
            announcer_host_resolved(h, w->job, &no_memory, NULL, 0);
        break;
    case ANNOUNCER_DATAGRAM:
        if (udp)
            udp_send(udp, &w->to, w->packet);
        break;
    case ANNOUNCER_FETCH:
        if (fetch_start(h->fetch, &fetch, announcer_host_fetched, h, w->job))
            announcer_host_fetched(h, w->job, &no_memory, 0, (struct bytes){0});
        break;
    case ANNOUNCER_PEERS:
        for (size_t i = 0; i < w->n_peers && h->n_peers < ANNOUNCER_HOST_PEERS_MAX; i++)
            h->peers[h->n_peers++] = w->peers[i];
        break;
    case ANNOUNCER_STATUS:
        announcer_host_status(h, w);
        break;
    case ANNOUNCER_STOPPED:
        h->n_stopped++;
        break;
    }
}

static inline void announcer_host_pump(struct announcer_host *h)
{
    struct announcer_want want;
    while (announcer_next(h->a, loop_now_us(h->loop), &want))
        announcer_host_want(h, &want);
}

/* bind: the address to ask from, any port; "" for all. port: what is told to trackers. */
static inline bool announcer_host_open(struct announcer_host *h, struct loop *loop,
                                       const char *bind, uint16_t port)
{
    static const struct addr any[2] = {{.family = ADDR_V4}, {.family = ADDR_V6}};
    static const struct addr none = {.family = ADDR_NONE};
    struct announcer_config config = {.listen_port = port};
    struct addr from = any[0];
    *h = (struct announcer_host){.loop = loop, .progress = {.left = 1}};
    mem_init(&h->mem, MEM_NO_BUDGET, NULL);
    random_fill(config.peer_id, sizeof config.peer_id);
    if (*bind && addr_parse(bytes_of_str(bind), 0, &from))
        return false;
    bool is_v6 = from.family == ADDR_V6;
    config.has_no_v6 = *bind && !is_v6;
    config.has_no_v4 = *bind && is_v6;
    const struct addr *dial6 = is_v6 ? &from : *bind ? &none : &any[1];
    if (resolver_new(&h->resolver, loop, NULL) ||
        fetch_client_new(&h->fetch, loop, is_v6 ? &none : &from, dial6, NULL) ||
        udp_new(&h->udp[is_v6], loop, &from, announcer_host_datagram, NULL, h, NULL))
        return false;
    if (!*bind && udp_new(&h->udp[1], loop, &any[1], announcer_host_datagram, NULL, h, NULL))
        config.has_no_v6 = true; /* a machine without it */
    return announcer_new(&h->a, &h->mem, &config, NULL, random_u64()) == ERR_OK;
}

/* Turns the loop until *counter reaches n or the time is up. */
static inline bool announcer_host_wait(struct announcer_host *h, const unsigned *counter,
                                       unsigned n, uint64_t wait_us)
{
    uint64_t until_us = loop_now_us(h->loop) + wait_us;
    announcer_host_pump(h);
    while (*counter < n && loop_now_us(h->loop) < until_us) {
        loop_turn(h->loop, 20000);
        announcer_host_pump(h);
    }
    return *counter >= n;
}

static inline void announcer_host_close(struct announcer_host *h)
{
    announcer_free(h->a);
    udp_free(h->udp[0]);
    udp_free(h->udp[1]);
    fetch_client_free(h->fetch);
    resolver_free(h->resolver);
}
