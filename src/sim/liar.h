/* liar: peers that do not play by the rules, written against the wire codec, not the engine.
 *
 * Each takes part in one torrent: it claims every piece (but for those that say otherwise), takes
 * connections, dials whom it is told to, and shows one fault. Its counters say how often it had the
 * chance.
 *
 * Ownership  liar_free ends it, before net_clear
 * Threads    one owner
 * Errors     memory as in world.h
 */
#pragma once
#include "sim/network.h"
#include "torrent/wire_in.h"

enum liar_kind {
    LIAR_HONEST,       /* a seed written in a hundred lines, to compare with */
    LIAR_CORRUPTER,    /* sends wrong bytes, every block or as many as wrong_ppm says */
    LIAR_STALLER,      /* unchokes and sends nothing */
    LIAR_SILENT,       /* serves until the other side has nearly all, then nothing */
    LIAR_BITFIELD,     /* claims all and rejects every request */
    LIAR_DRIP,         /* a block now and then: one each ten seconds */
    LIAR_FLOODER,      /* asks for everything, again and again, far beyond any queue */
    LIAR_OUT_OF_RANGE, /* asks for what no torrent has */
    LIAR_GARBAGE,      /* random bytes after the handshake */
    LIAR_METADATA,     /* offers an info dictionary of the right size and the wrong bytes */
    LIAR_PEX,          /* 20,000 addresses that nobody has, each second */
    LIAR_UNASKED,      /* pieces that nobody asked for */
    LIAR_LORIS,        /* a byte of the handshake each four seconds, on many connections */
    LIAR_DOUBLES,      /* an honest seed, but with eight connections to each */
    LIAR_KIND_COUNT
};

#define LIAR_CONNS_MAX    256u
#define LIAR_DOUBLES_N    8u    /* connections that LIAR_DOUBLES dials to each */
#define LIAR_LORIS_N      20u   /* and LIAR_LORIS */
#define LIAR_PEX_N        200u  /* addresses in a message */
#define LIAR_REQUESTS_MAX 1024u /* waiting on one connection; more are forgotten */

struct liar_stats {
    uint64_t n_conns, n_closed, n_requests, n_blocks_right, n_blocks_wrong, n_ignored, n_rejected;
    uint64_t n_sent;   /* messages of its special fault */
    uint64_t n_banned; /* times that an engine banned it (counted by the stage) */
};

struct liar_conn;

struct liar {
    struct net *n;
    struct net_node *node;
    const struct content *content;
    enum liar_kind kind;
    uint32_t wrong_ppm; /* LIAR_CORRUPTER */
    struct rng rng;
    struct sim_event tick;
    struct addr *dials;
    size_t n_dials;
    struct liar_conn *conns[LIAR_CONNS_MAX]; /* number - 1 */
    uint8_t peer_id[WIRE_ID_LEN];
    uint8_t scratch[4096];
    struct liar_stats stats;
};

struct liar *liar_new(struct net *n, const struct net_params *p, const struct content *c,
                      enum liar_kind kind);
void liar_free(struct liar *l);
void liar_dial(struct liar *l, const struct addr *to); /* now, and again when it was closed */
/* As many connections as its kind wants. */
void liar_attack(struct liar *l, const struct addr *to);
const char *liar_kind_name(enum liar_kind kind);
