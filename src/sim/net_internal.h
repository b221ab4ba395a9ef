/* net_internal: what network.c (nodes, connections, doors) and net_flow.c (links and queues)
 * share. Nobody else includes it.
 *
 * A stream's bytes, from its sender to its receiver:
 *
 *   send --up link--> air --delay--> down --down link--> recv --lend, laid--> program
 *   `unacked` counts what has left `send` and was not taken by the program
 */
#pragma once
#include "sim/network.h"

struct net_seg { /* a stretch of a stream: bytes of its own, or of a content */
    struct net_seg *next;
    const struct content *content; /* NULL: data */
    uint64_t content_off;
    uint32_t len, off; /* off: taken already */
    uint32_t cap;      /* of data */
    uint8_t variant;
    uint8_t data[];
};

struct net_segs {
    struct net_seg *head, *tail;
    uint32_t len;
};

struct net_chunk {
    struct net_chunk *next;
    struct net_segs segs;
    uint64_t at_us; /* arrives */
    bool is_fin;
};

struct net_chunks {
    struct net_chunk *head, *tail;
};

struct net_end;

struct net_flow { /* one direction of a connection */
    struct net_end *from, *to;
    struct net_segs send;
    struct net_chunks air, down;
    struct net_segs recv;
    uint32_t unacked, ack_len; /* ack_len: taken, and the sender does not know yet */
    uint32_t window_len;
    uint64_t last_at_us; /* nothing arrives before what was sent before */
    struct sim_event arrival, ack;
    struct list_node in_up, in_down; /* waits for a link's turn */
    bool is_on_up, is_on_down;       /* its chunk is on the link now */
    bool is_fin_wanted, is_fin_sent, has_fin, is_reset;
};

enum net_end_state { END_NONE, END_DIALLING, END_OPEN, END_CLOSED };
enum net_dial { DIAL_CONNECTED, DIAL_REFUSED, DIAL_TIMED_OUT };

struct net_conn;

struct net_end {
    struct net_conn *conn;
    struct net_node *node;
    uint32_t id; /* the program's number */
    uint32_t room_left;
    enum net_end_state state;
    enum net_dial dial;
    bool is_stalled; /* lend gave nothing */
    bool is_void;    /* crashed silently */
    struct sim_event
        timer; /* NONE: the dial arrives; DIALLING: its outcome; OPEN: room; CLOSED: flush */
    struct net_flow out;
};

struct net_conn {
    struct net *net;
    struct list_node in_conns;
    struct addr from, to;   /* as the dialled side and the dialling side see each other */
    struct net_end ends[2]; /* 0 dialled */
    bool is_dead;
};

struct net_dgram {
    struct net_dgram *next;
    struct list_node in_air;
    struct addr from;
    struct net_node *to;
    struct net_node *sender;
    struct sim_event arrival;
    uint32_t len;
    uint8_t data[];
};

struct net_link {
    struct net_node *node;
    uint64_t rate_per_s, frac; /* frac: of a microsecond, times rate */
    uint64_t paid_until_us;
    struct list ring; /* flows, and dgrams_in_ring, in turn */
    struct list_node dgrams_in_ring;
    struct net_dgram *dgram_head, *dgram_tail;
    uint32_t dgram_len;
    struct sim_event done;
    bool is_busy;
    struct net_flow *flow; /* on the link now; NULL: it went away, or a datagram */
    struct net_chunk *chunk;
    struct net_dgram *dgram;
};

struct net_node {
    struct net *net;
    uint32_t index, group;
    struct net_params p;
    const struct net_program *program; /* NULL: down */
    void *ctx;
    struct map by_id; /* conn -> struct net_end * */
    struct map nat;   /* addr key -> nothing */
    struct net_link up, down;
    uint32_t n_active_in; /* flows to it with bytes under way */
    struct net_stats stats;
};

static inline struct net_end *net_peer(struct net_end *e)
{
    return &e->conn->ends[e == &e->conn->ends[0]];
}

/* net_flow.c */
void segs_put(struct world *w, struct net_segs *s, struct bytes b);
void segs_put_content(struct world *w, struct net_segs *s, const struct content *c, uint64_t off,
                      uint32_t len, uint8_t variant);
void segs_free(struct world *w, struct net_segs *s);
void net_flow_init(struct net_flow *f, struct net_end *from, struct net_end *to);
void net_flow_drop(struct net_flow *f);   /* all its bytes, wherever they are */
void net_flow_unread(struct net_flow *f); /* the receiver will take no more of it */
void net_flow_kick(struct net_flow *f);   /* something may be sent now */
void net_flow_deliver(struct net_flow *f);
void net_flow_reset(struct net_flow *f); /* the far end hears of it after the delay */
void net_flow_check(const struct net_flow *f);
void net_link_init(struct net_link *l, struct net_node *node, uint64_t rate_per_s,
                   void (*done)(struct world *w, struct sim_event *ev));
void net_link_clear(struct net_link *l);
void net_up_done(struct world *w, struct sim_event *ev);
void net_down_done(struct world *w, struct sim_event *ev);
void net_dgram_free(struct net_dgram *d);
void net_up_datagram(struct net_node *node, struct net_dgram *d);
uint64_t net_link_charge(struct net_link *l, uint32_t len); /* when the last of it has passed */

/* network.c */
void net_end_closed(struct net_end *e, enum err_code code, uint64_t err_no, const char *what);
void net_end_announce(struct net_end *e); /* room, when there is enough news */
void net_reap(struct net *n);
