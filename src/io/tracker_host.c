#include "io/tracker_host.h"
#include "crypto/random.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include "io/udp.h"
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#define N_PORT_TRIES 32u     /* ours: to find a port free for TCP and UDP on all addresses */
#define N_CONNS_MAX  4000u   /* ours */
#define TIMEOUT_S    10u     /* ours: an announce is one short request */
#define TICK_US      100000u /* ours: the pause between two parts of a sweep */
#define PAGE_CAP     16384u

/* One address, both protocols. */
struct listener {
    struct tracker_host *host;
    struct addr addr;
    struct http_server *http;
    struct udp *udp;
};

struct tracker_host {
    struct mem mem;
    struct loop *loop;
    struct tracker_server *server;
    struct loop_timer *timer;
    bool is_timer_set, is_stats_off;
    struct listener listeners[TRACKER_HOST_BINDS_MAX];
    size_t n_listeners;
    uint16_t port;
    char page[PAGE_CAP];
    uint8_t reply[TRACKER_SERVER_HTTP_CAP];
};

static_assert(PAGE_CAP <= TRACKER_SERVER_HTTP_CAP, "a page fits where replies do");

/* --- statistics ------------------------------------------------------------------------------ */

void tracker_host_write_json(const struct tracker_host *h, struct writer *w)
{
    struct tracker_server_stats s;
    tracker_server_stats(h->server, &s);
    writer_printf(w,
                  "{\"uptime_s\": %llu, \"swarms\": %u, \"peers\": %u, \"peers_ipv4\": %u, "
                  "\"peers_ipv6\": %u, "
                  "\"seeds\": %llu, \"expired\": %llu, \"peers_evicted\": %llu, "
                  "\"swarms_evicted\": %llu, \"memory_len\": %llu, ",
                  (unsigned long long)((loop_now_us(h->loop) - s.started_at_us) / US_PER_S),
                  s.n_swarms, s.n_peers_v4 + s.n_peers_v6, s.n_peers_v4, s.n_peers_v6,
                  (unsigned long long)s.n_seeds, (unsigned long long)s.n_expired,
                  (unsigned long long)s.n_peers_evicted, (unsigned long long)s.n_swarms_evicted,
                  (unsigned long long)s.memory_len);
    if (s.n_allowed == UINT32_MAX)
        writer_str(w, "\"allowed\": null");
    else
        writer_printf(w, "\"allowed\": %u", s.n_allowed);
    for (unsigned i = 0; i < TRACKER_SERVER_N_COUNTERS; i++)
        writer_printf(w, ", \"%s\": %llu", tracker_server_counter_names[i],
                      (unsigned long long)s.counters[i]);
    writer_str(w, "}\n");
}

static void write_row(struct writer *w, const char *name, uint64_t value)
{
    writer_printf(w, "<tr><td>%s</td><td>%llu</td></tr>\n", name, (unsigned long long)value);
}

static void write_page(const struct tracker_host *h, struct writer *w)
{
    struct tracker_server_stats s;
    tracker_server_stats(h->server, &s);
    writer_str(w, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta http-equiv=\"refresh\" content=\"10\"><title>shoal tracker</title><style>"
                  "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:40em;padding:0 1em}"
                  "td{padding:0 1em 0 0}td+td{text-align:right;font-variant-numeric:tabular-nums}"
                  "</style></head><body><h1>shoal tracker</h1>\n<h2>Swarms</h2><table>\n");
    write_row(w, "swarms", s.n_swarms);
    write_row(w, "peers over IPv4", s.n_peers_v4);
    write_row(w, "peers over IPv6", s.n_peers_v6);
    write_row(w, "of them seeds", s.n_seeds);
    if (s.n_allowed != UINT32_MAX)
        write_row(w, "info-hashes allowed", s.n_allowed);
    writer_str(w, "</table>\n<h2>Since the start</h2><table>\n");
    write_row(w, "seconds", (loop_now_us(h->loop) - s.started_at_us) / US_PER_S);
    write_row(w, "peers gone silent", s.n_expired);
    write_row(w, "peers displaced", s.n_peers_evicted);
    write_row(w, "swarms displaced", s.n_swarms_evicted);
    write_row(w, "bytes of memory", s.memory_len);
    for (unsigned i = 0; i < TRACKER_SERVER_N_COUNTERS; i++)
        write_row(w, tracker_server_counter_names[i], s.counters[i]);
    writer_str(w, "</table>\n<p><a href=\"/stats.json\">The same as JSON</a></p></body></html>\n");
}

/* True when the path is one of ours. */
static bool serve_stats(struct tracker_host *h, const char *path, struct http_response *out)
{
    struct writer w = writer_init(h->page, sizeof h->page);
    if (h->is_stats_off)
        return false;
    if (strcmp(path, "/stats.json") == 0) {
        tracker_host_write_json(h, &w);
        out->content_type = "application/json";
    } else if (strcmp(path, "/") == 0 || strcmp(path, "/stats") == 0) {
        write_page(h, &w);
        out->content_type = "text/html; charset=utf-8";
    } else {
        return false;
    }
    out->status = 200;
    out->body = writer_bytes(&w);
    return true;
}

/* --- requests -------------------------------------------------------------------------------- */

static void tick(void *ctx);

/* The sweep of silent peers has its deadline; while there are swarms, a timer waits for it. */
static void arm_timer(struct tracker_host *h)
{
    uint64_t at_us = tracker_server_deadline_us(h->server);
    if (h->is_timer_set || at_us == DEADLINE_NEVER)
        return;
    loop_timer_set(h->timer, u64_max(at_us, loop_now_us(h->loop) + TICK_US));
    h->is_timer_set = true;
}

static void tick(void *ctx)
{
    struct tracker_host *h = ctx;
    h->is_timer_set = false;
    tracker_server_tick(h->server, loop_now_us(h->loop));
    arm_timer(h);
}

static void http_came(void *ctx, const struct http_request *request, struct http_response *out)
{
    struct listener *l = ctx;
    struct tracker_host *h = l->host;
    if (serve_stats(h, request->path, out))
        return;
    struct writer w = writer_init(h->reply, sizeof h->reply);
    out->status = tracker_server_http(h->server, loop_now_us(h->loop), bytes_of_str(request->path),
                                      request->query, &request->peer, &w);
    out->content_type = "text/plain";
    out->body = writer_bytes(&w);
    arm_timer(h);
}

static void datagram_came(void *ctx, const struct addr *from, struct bytes in)
{
    struct listener *l = ctx;
    struct tracker_host *h = l->host;
    size_t len = tracker_server_udp(h->server, loop_now_us(h->loop), from, in, h->reply);
    if (len)
        udp_reply(l->udp, from, bytes_of(h->reply, len));
}

static void batch_came(void *ctx)
{
    struct listener *l = ctx;
    udp_flush(l->udp);
    arm_timer(l->host);
}

/* --- life ------------------------------------------------------------------------------------ */

static void listener_close(struct listener *l)
{
    http_server_free(l->http);
    udp_free(l->udp);
    *l = (struct listener){0};
}

/* Both protocols on one address; port 0 takes the one that TCP gets. */
static enum err_code listener_open(struct tracker_host *h, const struct addr *bind, uint16_t port,
                                   struct err *err)
{
    struct listener *l = &h->listeners[h->n_listeners];
    struct http_server_config http = {.bind = *bind,
                                      .n_conns_max = N_CONNS_MAX,
                                      .timeout_s = TIMEOUT_S,
                                      .header_len_max = TRACKER_SERVER_QUERY_MAX + 4096u};
    http.bind.port = port;
    *l = (struct listener){.host = h, .addr = *bind};
    enum err_code code = http_server_new(&l->http, h->loop, &http, http_came, l, err);
    if (code == ERR_OK) {
        l->addr.port = http_server_addr(l->http).port;
        code = udp_new(&l->udp, h->loop, &l->addr, datagram_came, batch_came, l, err);
    }
    if (code) {
        listener_close(l);
        return code;
    }
    h->n_listeners++;
    return ERR_OK;
}

static void close_all(struct tracker_host *h)
{
    while (h->n_listeners > 0)
        listener_close(&h->listeners[--h->n_listeners]);
}

/* The port of the first address is the port of all. A machine without IPv6 is no error when nobody
 * asked for an address of that family. */
static enum err_code open_all(struct tracker_host *h, const struct tracker_host_config *c,
                              struct err *err)
{
    static const struct addr any[2] = {{.family = ADDR_V4}, {.family = ADDR_V6}};
    const struct addr *binds = c->n_binds ? c->binds : any;
    size_t n = c->n_binds ? c->n_binds : 2;
    uint16_t port = c->port;
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        enum err_code code = listener_open(h, &binds[i], port, &e);
        bool is_no_ipv6 =
            c->n_binds == 0 && i > 0 && (e.got == EAFNOSUPPORT || e.got == EADDRNOTAVAIL);
        if (code && !is_no_ipv6) {
            close_all(h);
            if (err)
                *err = e;
            return code;
        }
        if (code == ERR_OK)
            port = h->port = h->listeners[h->n_listeners - 1].addr.port;
    }
    return ERR_OK;
}

static enum err_code open_listeners(struct tracker_host *h, const struct tracker_host_config *c,
                                    struct err *err)
{
    enum err_code code = ERR_OK;
    unsigned n_tries = c->port ? 1 : N_PORT_TRIES;
    for (unsigned i = 0; i < n_tries; i++) {
        code = open_all(h, c, err);
        if (code != ERR_IO)
            break;
    }
    return code;
}

static enum err_code start(struct tracker_host *h, const struct tracker_host_config *c,
                           struct err *err)
{
    struct tracker_server_config server = c->server;
    random_fill(server.secret, sizeof server.secret);
    if (tracker_server_new(&h->server, &h->mem, &server, loop_now_us(h->loop), random_u64()) ||
        loop_timer_new(&h->timer, h->loop, tick, h))
        return err_set(err, ERR_NO_MEMORY, "no memory for a tracker");
    return open_listeners(h, c, err);
}

enum err_code tracker_host_new(struct tracker_host **out, struct loop *l,
                               const struct tracker_host_config *config, struct err *err)
{
    struct tracker_host *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return err_set(err, ERR_NO_MEMORY, "no memory for a tracker");
    mem_init(&h->mem, MEM_NO_BUDGET, NULL);
    h->loop = l;
    h->is_stats_off = config->is_stats_off;
    enum err_code code = start(h, config, err);
    if (code) {
        tracker_host_free(h);
        return code;
    }
    *out = h;
    return ERR_OK;
}

void tracker_host_free(struct tracker_host *h)
{
    if (!h)
        return;
    close_all(h);
    loop_timer_free(h->timer);
    tracker_server_free(h->server);
    free(h);
}

uint16_t tracker_host_port(const struct tracker_host *h)
{
    return h->port;
}

struct tracker_server *tracker_host_server(struct tracker_host *h)
{
    return h->server;
}

/* --- addresses ------------------------------------------------------------------------------- */

static bool is_any(const struct addr *a)
{
    struct addr any = {.family = a->family};
    return addr_ip_equal(a, &any);
}

static bool is_link_local(const struct addr *a)
{
    return a->family == ADDR_V6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* Addresses of the interfaces that are up, of one family. */
static size_t interface_addrs(const struct addr *like, bool is_loopback, struct addr *out,
                              size_t out_cap)
{
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all))
        return 0;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct sockaddr_storage ss = {0};
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
            continue;
        int family = i->ifa_addr->sa_family;
        if (family != (like->family == ADDR_V4 ? AF_INET : AF_INET6))
            continue;
        memcpy(&ss, i->ifa_addr,
               family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        struct addr a = sockaddr_to_addr(&ss);
        a.port = like->port;
        if (n < out_cap && a.family == like->family && !is_link_local(&a) &&
            addr_is_loopback(&a) == is_loopback)
            out[n++] = a;
    }
    freeifaddrs(all);
    return n;
}

size_t tracker_host_addrs(const struct tracker_host *h, struct addr *out, size_t out_cap)
{
    size_t n = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < h->n_listeners; i++) {
            const struct addr *a = &h->listeners[i].addr;
            if (is_any(a))
                n += interface_addrs(a, pass == 1, out + n, out_cap - n);
            else if (n < out_cap && addr_is_loopback(a) == (pass == 1))
                out[n++] = *a;
        }
    }
    return n;
}
