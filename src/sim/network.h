/* network: nodes joined by access links, byte streams and datagrams between them, on the virtual
 * clock. What runs on a node is a struct net_program: a simulated host with the engine, a tracker,
 * or a peer that misbehaves.
 *
 * The model. Each node hangs on the middle of the network by an up link and a down link with
 * their own rates. Streams are cut into chunks of up to NET_CHUNK_LEN that a node's up link sends
 * one after the other, in turn over its connections; a chunk then travels for the delay of both
 * nodes (plus jitter, order kept) and passes the receiver's down link in the same manner. A
 * connection has at most a window of bytes between its ends that the receiver has not taken: as a
 * sender with congestion control, it shares what the receiver's link can hold in a round trip and
 * NET_QUEUE_US of queue. Loss costs a stream time and window (Mathis et al. 1997), a datagram its
 * life. Short messages on an idle connection do not wait for the bulk of others (as with fair
 * queueing) but are paid for out of the link's time.
 *
 *   connect:  dial --delay--> accept --delay--> connected, then room
 *   close:    what was sent arrives, then closed(ERR_OK); no input to the closing side
 *   crash:    far ends hear closed(ERR_IO) after the delay; with is_silent nothing
 *
 * A program's doors are only called from events, never from inside a net_* call.
 *
 * Ownership  the network owns nodes and connections; programs are borrowed until their node is
 *            crashed or the network cleared
 * Threads    one owner
 * Errors     bytes for connections that are gone vanish; memory as in world.h
 */
#pragma once
#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "sim/content.h"
#include "sim/world.h"

#define NET_CHUNK_LEN        16448u     /* a block and its head in one */
#define NET_SMALL_LEN        640u       /* passes bulk */
#define NET_WINDOW_LEN       (4u << 20) /* default: what systems let a window grow to */
#define NET_WINDOW_MIN       17000u     /* never less: one block in flight */
#define NET_QUEUE_US         200000u    /* of the receiver's link, in bottleneck buffers */
#define NET_PACKET_LEN       1460u      /* unit of loss */
#define NET_CONNECT_US       20000000u  /* nobody answers */
#define NET_FLUSH_US         5000000u   /* a closed connection flushes no longer */
#define NET_DATAGRAM_LEN_MAX 2048u
#define NET_DATAGRAM_QUEUE   (256u * 1024u) /* bytes that wait for a link; more is dropped */
#define NET_NAT_MAX          512u           /* addresses that a NAT remembers; then all forgotten */

struct net;
struct net_name;
struct net_node;

struct net_program {
    /* False: the connection is closed at once. *out_conn: the program's number for it, not 0. */
    bool (*accept)(void *ctx, const struct addr *from, uint32_t *out_conn);
    void (*connected)(void *ctx, uint32_t conn);
    void (*closed)(void *ctx, uint32_t conn, const struct err *err);
    size_t (*lend)(void *ctx, uint32_t conn, struct span *out, size_t out_cap);
    void (*laid)(void *ctx, uint32_t conn, size_t len);
    void (*room)(void *ctx, uint32_t conn, size_t room_len);
    void (*datagram)(void *ctx, const struct addr *from, struct bytes b); /* NULL: dropped */
    /* An HTTP request that arrived: the answer's status, its body into out. NULL: refused. path:
     * all after the host. */
    uint32_t (*http)(void *ctx, const struct addr *from, struct bytes path, struct buf *out);
};

struct net_params {
    struct addr addr;              /* family ADDR_NONE: given by the network */
    uint64_t up_per_s, down_per_s; /* bytes; 0: no bound */
    uint64_t delay_us, jitter_us;  /* one way, to the middle */
    uint32_t loss_ppm;             /* of packets, either way */
    uint32_t window_len;           /* 0: NET_WINDOW_LEN */
    uint32_t send_buf_len;         /* 0: half a second of up link, 192 KiB to 256 KiB */
    uint32_t split_ppm;            /* how often what arrives is handed over in two parts */
    bool is_nat;                   /* can dial, cannot be dialled */
};

struct net_stats {
    uint64_t up_len, down_len; /* through the links */
    uint64_t n_dials, n_accepts, n_datagrams_lost;
    uint64_t n_over_room; /* sends beyond the room announced: a fault of the program */
};

struct net {
    struct world *w;
    struct list conns, dead; /* all; and those to be freed before the next event */
    struct list air;         /* datagrams between links */
    struct map by_ip;        /* 17 bytes -> struct net_node * */
    struct net_name *names;
    struct net_node **nodes;
    uint32_t n_nodes, nodes_cap;
    uint32_t n_conns, next_port;
};

void net_init(struct net *n, struct world *w);
void net_clear(struct net *n);

/* Nodes. The index is a node's number in the trace. */
struct net_node *net_add_node(struct net *n, const struct net_params *p);
void net_start(struct net_node *node, const struct net_program *program, void *ctx); /* it is up */
/* The program ends: its connections are reset, or, is_silent, just stop answering. */
void net_crash(struct net_node *node, bool is_silent);
bool net_is_up(const struct net_node *node);
/* Hands a request that has arrived to what runs there; 0: nobody listens. */
uint32_t net_http(struct net_node *node, const struct addr *from, struct bytes path,
                  struct buf *out);
const struct addr *net_addr(const struct net_node *node);
uint32_t net_index(const struct net_node *node);
struct net_stats net_stats(const struct net_node *node);
void net_set_rates(struct net_node *node, uint64_t up_per_s, uint64_t down_per_s);
/* Nodes of different groups cannot reach each other; all begin in group 0. */
void net_set_group(struct net_node *node, uint32_t group);
struct net_node *net_find(const struct net *n, const struct addr *a); /* by IP; NULL */

/* Names, for resolve and URLs. */
void net_set_name(struct net *n, const char *name, const struct addr *a);
const struct addr *net_resolve(const struct net *n, struct bytes name); /* NULL: no such name */

/* For the program on a node; conn is its own number. */
void net_connect(struct net_node *node, uint32_t conn, const struct addr *to);
void net_send(struct net_node *node, uint32_t conn, struct bytes b);
/* Bytes of content, made where they are received. */
void net_send_content(struct net_node *node, uint32_t conn, const struct content *c, uint64_t off,
                      uint32_t len, uint8_t variant);
void net_want_read(struct net_node *node, uint32_t conn);
void net_close(struct net_node *node, uint32_t conn);
/* Close without a flush; the far side hears ERR_IO. False: no such connection. */
bool net_reset(struct net_node *node, uint32_t conn);
void net_datagram(struct net_node *node, const struct addr *to, struct bytes b);
/* Bytes that pass the links outside of connections (fetches): no events of their own. */
void net_charge(struct net_node *from, struct net_node *to, uint32_t len);
/* One way between two nodes, with jitter; the retransmissions that loss would cost included. */
uint64_t net_path_us(struct net *n, const struct net_node *a, const struct net_node *b);
bool net_can_reach(const struct net_node *a, const struct net_node *b); /* same group */
uint32_t net_queued_len(const struct net_node *node, uint32_t conn);    /* in the send buffer */

void net_check(const struct net *n); /* asserts what the model promises */
