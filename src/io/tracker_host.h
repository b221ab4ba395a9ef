/* tracker_host: a tracker on a loop: HTTP and UDP on the same port, over IPv4 and IPv6, around
 * torrent/tracker_server.h. `shoal tracker` is one; `shoal seed --tracker` starts one inside.
 *
 * HTTP: /announce, /scrape, and, unless switched off, a page about the tracker at / and the same as
 * JSON at /stats.json. UDP datagrams are taken and answered in batches.
 *
 * Ownership  the loop is borrowed, freed after the host
 * Threads    the loop's thread
 * Errors     tracker_host_new: ERR_IO (no socket could be bound, or one that was asked for by
 *            address), ERR_NO_MEMORY
 */
#pragma once
#include "base/addr.h"
#include "torrent/tracker_server.h"

#define TRACKER_HOST_BINDS_MAX 16u

struct loop;
struct tracker_host;

struct tracker_host_config {
    /* Addresses to listen on, ports ignored. None: all of IPv4, and of IPv6 where there is IPv6. */
    struct addr binds[TRACKER_HOST_BINDS_MAX];
    size_t n_binds;
    uint16_t port; /* 0: any that is free for all of them */
    bool is_stats_off;
    struct tracker_server_config server; /* its secret is drawn here */
};

enum err_code tracker_host_new(struct tracker_host **out, struct loop *l,
                               const struct tracker_host_config *config, struct err *err) MUST_USE;
void tracker_host_free(struct tracker_host *h); /* NULL is fine */
uint16_t tracker_host_port(const struct tracker_host *h);
/* Addresses under which others may find it, port included: those it was bound to, and for "all of
 * them" those of the interfaces that are up, loopback last. Returns how many. */
size_t tracker_host_addrs(const struct tracker_host *h, struct addr *out, size_t out_cap);
/* For its statistics and the allow-list. */
struct tracker_server *tracker_host_server(struct tracker_host *h);

/* The statistics as one JSON object. */
void tracker_host_write_json(const struct tracker_host *h, struct writer *w);
