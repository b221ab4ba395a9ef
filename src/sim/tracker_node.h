/* tracker_node: the production tracker (torrent/tracker_server.h) on a simulated machine, for HTTP
 * and for UDP at the port of its node.
 *
 * Ownership  tracker_node_free ends it, before net_clear
 * Threads    one owner
 * Errors     memory as in world.h
 */
#pragma once
#include "sim/network.h"
#include "torrent/tracker_server.h"

struct tracker_node {
    struct net *n;
    struct net_node *node;
    struct tracker_server *server;
    struct sim_event tick;
};

/* The node's name and port are what announce URLs say: "http://tracker.sim:6969/announce". */
struct tracker_node *tracker_node_new(struct net *n, const char *name, uint16_t port,
                                      uint32_t interval_s);
void tracker_node_free(struct tracker_node *t);
void tracker_node_crash(struct tracker_node *t); /* dead, and what it knew is gone */
/* Lists a member that does not announce itself. */
void tracker_node_add(struct tracker_node *t, const uint8_t infohash[SHA1_LEN],
                      const struct addr *a, bool is_seed);
uint64_t tracker_node_counter(const struct tracker_node *t, enum tracker_server_counter which);
