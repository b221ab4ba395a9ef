/* peer_list: the endpoints that a torrent knows, and which of them to dial next.
 *
 *               peer_list_next         peer_list_on_connected
 *     READY -----------------> DIALING ----------------------> CONNECTED
 *      ^                          |                              |
 *      | retry_at_us              | failed                       | closed
 *      +-------- WAITING <--------+------------------------------+
 *
 *     PASSIVE: never dialled: ourselves, a seed while we seed, no usable port. One is CONNECTED
 *     from there when it dials us.
 *
 * READY is ordered by (fewer failures, given by the user, canonical priority of BEP 40, first come). WAITING is
 * ordered by the time of the next try: PEER_LIST_RETRY_US * 2^failures with a quarter of jitter,
 * capped.
 *
 * When the list is full a newcomer takes the place of the entry of least worth, unless its own
 * worth is less: least are those with failures, then those that no dial ever reached and that only
 * gossip told of, then the other unreached, then the reached; among equals the one seen longest ago.
 * DIALING and CONNECTED ones stay.
 *
 * Ownership  entries are the list's; a pointer is good while the entry is DIALING or CONNECTED,
 *            otherwise until the next call that may add or remove
 * Threads    one owner
 * Errors     no memory: the endpoint is not kept (n_refused)
 * Bounds     n_max entries
 */
#pragma once
#include "base/addr.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"

#define PEER_LIST_N_MAX          3000u     /* libtorrent's max_peerlist_size */
#define PEER_LIST_RETRY_US       15000000u /* ours; doubles with each failure */
#define PEER_LIST_RETRY_US_MAX   3600000000u
#define PEER_LIST_RECONNECT_US   5000000u  /* ours: after a connection that worked */
#define PEER_LIST_SHORT_US       60000000u /* ours: so short a connection is a failure */
#define PEER_LIST_N_FAILURES_MAX 30u       /* counting stops */

enum peer_source { /* bits */
                   PEER_FROM_TRACKER = 1,
                   PEER_FROM_PEX = 2,
                   PEER_FROM_INCOMING = 4,
                   PEER_FROM_MANUAL = 8,
                   PEER_FROM_MAGNET = 16,
                   PEER_FROM_RESUME = 32
};

enum peer_entry_state { PEER_READY, PEER_WAITING, PEER_DIALING, PEER_CONNECTED, PEER_PASSIVE };

struct peer_entry {
    struct addr addr;   /* where it listens; or, while has_ephemeral_port, where it dialled from */
    uint8_t state;      /* enum peer_entry_state */
    uint8_t sources;    /* enum peer_source bits */
    uint8_t n_failures; /* in a row: dials that failed, connections too short or bad */
    bool has_ephemeral_port; /* came in, and its listening port is not known: not dialable */
    bool was_reached;        /* a handshake with it has ended well, dialled by us */
    bool is_seed, is_self;
    uint32_t priority;   /* BEP 40 */
    uint64_t seen_at_us; /* last heard of or connected */
    uint64_t retry_at_us;
    uint64_t connected_at_us;
    struct list_node in_all;
    struct heap_node in_queue; /* ready or waiting, by state */
    struct heap_node in_worth; /* least first; not while DIALING or CONNECTED */
};

struct peer_list_counters {
    uint64_t n_added, n_duplicate, n_undialable, n_evicted, n_full, n_refused, n_merged;
};

struct peer_list {
    struct mem *mem;
    struct rng *rng;
    struct map by_addr; /* endpoint -> struct peer_entry * */
    struct list all;    /* oldest first */
    struct heap ready, waiting, worth;
    struct addr own; /* for BEP 40; family ADDR_NONE: not known */
    bool is_seeding; /* seeds are not dialled */
    uint32_t n, n_max, n_dialing, n_connected;
    struct peer_list_counters counters;
};

void peer_list_init(struct peer_list *l, struct mem *mem, struct rng *rng,
                    uint32_t n_max); /* 0: default */
void peer_list_clear(struct peer_list *l);
void peer_list_check(const struct peer_list *l);

/* Our address as others see it (yourip of BEP 10, tracker's external ip). Orders READY anew. */
void peer_list_set_own(struct peer_list *l, const struct addr *own);
void peer_list_set_seeding(struct peer_list *l, bool is_seeding);

/* Heard of an endpoint. NULL: not dialable, full, or no memory (counted). is_seed: says the source
 * (PEX flag 0x02). */
struct peer_entry *peer_list_add(struct peer_list *l, uint64_t now_us, const struct addr *a,
                                 uint8_t sources, bool is_seed);
struct peer_entry *peer_list_find(const struct peer_list *l, const struct addr *a);

/* The best to dial now, DIALING from here on; NULL when none. bans may be NULL: a banned one is
 * dropped from the list. */
struct ban_list;
struct peer_entry *peer_list_next(struct peer_list *l, uint64_t now_us, struct ban_list *bans);
uint64_t peer_list_deadline_us(
    const struct peer_list *l); /* 0: one is READY; or when one will be */

/* Our dial ended in a good handshake. */
void peer_list_on_connected(struct peer_list *l, uint64_t now_us, struct peer_entry *e);
/* An incoming connection was accepted for the torrent. NULL: no room; or the endpoint is in use
 * already. */
struct peer_entry *peer_list_on_incoming(struct peer_list *l, uint64_t now_us,
                                         const struct addr *from);
/* It says where it listens (BEP 10, "p"). Returns the entry for that endpoint, CONNECTED, to be
 * used from now on in place of e, which may be gone; or NULL when another connection with that
 * endpoint is under way: e stays as it is, close one of the two. */
struct peer_entry *peer_list_set_listen_port(struct peer_list *l, uint64_t now_us,
                                             struct peer_entry *e, uint16_t port);
/* The dial failed, or the handshake did. */
void peer_list_on_failed(struct peer_list *l, uint64_t now_us, struct peer_entry *e);
/* A connection that had worked ended. is_fault: by our judgement of what it sent: a failure. An entry whose port is ephemeral is gone after this. */
void peer_list_on_closed(struct peer_list *l, uint64_t now_us, struct peer_entry *e, bool is_fault);
/* A dial or a connection that we ended for reasons of our own (torrent paused): no failure, and it
 * may be dialled again at once. */
void peer_list_on_cancelled(struct peer_list *l, uint64_t now_us, struct peer_entry *e);
void peer_list_mark_self(struct peer_list *l,
                         struct peer_entry *e); /* then on_failed or on_closed */
void peer_list_mark_seed(struct peer_list *l, struct peer_entry *e, bool is_seed);

/* Walk all entries, oldest first: start with NULL; NULL at the end. For resume data, PEX, stats. */
const struct peer_entry *peer_list_each(const struct peer_list *l, const struct peer_entry *after);
