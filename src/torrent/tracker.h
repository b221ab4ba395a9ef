/* tracker: what an announce says and what comes back, whichever protocol carries it (BEP 3, 15).
 *
 * Ownership  plain values; in a reply, `peers` is room that the caller lends
 * Threads    plain values
 */
#pragma once
#include "base/addr.h"
#include "crypto/sha.h"

#define TRACKER_PEERS_MAX       500u          /* ours: of one reply; more are dropped and counted */
#define TRACKER_INTERVAL_S      1800u         /* ours: when a reply names none, or 0 */
#define TRACKER_INTERVAL_S_MIN  10u           /* ours: a tracker cannot make us ask more often */
#define TRACKER_INTERVAL_S_MAX  (24u * 3600u) /* ours: nor send us away for more than a day */
#define TRACKER_COUNT_UNKNOWN   UINT32_MAX    /* a count that the reply did not hold */
#define TRACKER_RETRY_NEVER     UINT32_MAX    /* BEP 31: retry in = "never" */
#define TRACKER_LEFT_UNKNOWN    16384u        /* ours: `left` before the metadata is known, not 0 */
#define TRACKER_TEXT_CAP        160u
#define TRACKER_ID_CAP          128u
#define TRACKER_NUMWANT_DEFAULT UINT32_MAX /* leave the number to the tracker */

enum tracker_event {
    TRACKER_EVENT_NONE = 0, /* the numbers are BEP 15's */
    TRACKER_EVENT_COMPLETED = 1,
    TRACKER_EVENT_STARTED = 2,
    TRACKER_EVENT_STOPPED = 3,
    TRACKER_EVENT_PAUSED = 4, /* BEP 21, HTTP only; over UDP it is sent as 0 */
};

struct tracker_announce {
    uint8_t infohash[SHA1_LEN]; /* v1, or the first 20 bytes of v2 (BEP 52) */
    uint8_t peer_id[20];
    uint64_t downloaded, uploaded, left, corrupt;
    uint32_t key;     /* BEP 7, 15: the same for as long as the torrent is in the session */
    uint32_t numwant; /* or TRACKER_NUMWANT_DEFAULT */
    uint16_t port;
    enum tracker_event event;
};

struct tracker_scrape {
    uint32_t n_seeders, n_completed, n_leechers; /* or TRACKER_COUNT_UNKNOWN */
};

struct tracker_reply {
    struct addr *peers; /* in: room for peers_cap; out: n_peers of them, dialable ones only */
    size_t peers_cap, n_peers;
    uint32_t n_peers_dropped; /* beyond peers_cap, or not dialable */
    uint32_t interval_s;      /* clamped */
    uint32_t min_interval_s;  /* clamped; 0: not told */
    struct tracker_scrape counts;
    struct addr external; /* BEP 24; family ADDR_NONE: not told */
    bool is_failure;
    uint32_t retry_in_s;                /* BEP 31, with is_failure; 0: not told */
    char failure[TRACKER_TEXT_CAP];     /* escaped and terminated */
    char warning[TRACKER_TEXT_CAP];     /* escaped and terminated */
    uint8_t tracker_id[TRACKER_ID_CAP]; /* BEP 3 by custom: to be sent back as trackerid */
    size_t tracker_id_len;
};

/* Empties the reply, keeping the room for peers. */
void tracker_reply_reset(struct tracker_reply *r);
/* Adds one peer, or counts it as dropped. */
void tracker_reply_add_peer(struct tracker_reply *r, const struct addr *a);
uint32_t tracker_clamp_interval(uint64_t interval_s); /* 0 gives the default */
