/* announcer: tells the trackers of every torrent of a session about us, and learns peers from them
 * (BEP 3, 7, 12, 15, 21, 27, 31, 48).
 *
 * Sans-host: inputs go in; what is wanted comes out of announcer_next, one value at a time. Call it
 * until it gives false after every input and whenever announcer_deadline_us has come.
 *
 * BEP 12 to the letter: trackers are shuffled within their tier; an announce asks them in order,
 * tier by tier, until one answers, and that one moves to the front of its tier. So one tracker at a
 * time hears from us, and each announce begins at the first of the first tier again.
 * One announce is up to four requests: each info-hash (v1, v2 cut to 20 bytes) over each address
 * family (over HTTP by asking the host for that family; over UDP as the name resolves). It has
 * succeeded when the first of them has.
 *
 * Ownership  torrents and trackers are copied in; `progress` is borrowed until announcer_remove
 * Threads    one owner
 * Errors     add: ERR_NO_MEMORY, ERR_LIMIT, and for a tracker those of tracker_url_parse. Later
 *            trouble is a status
 * Limits     trackers per torrent, fetches, UDP requests, names; the rest waits its turn
 */
#pragma once
#include "base/log.h"
#include "torrent/tracker_http.h"
#include "torrent/tracker_udp.h"

#define ANNOUNCER_TRACKERS_MAX 64u /* ours: per torrent */

struct announcer;

struct announcer_config {
    uint8_t peer_id[20];
    uint16_t listen_port;
    const char *announce_ip;     /* borrowed; sent as ip= over HTTP; NULL: none */
    bool has_no_v4, has_no_v6;   /* families that this host cannot use */
    uint32_t n_fetches_max;      /* at once; 0: default 40 */
    uint32_t n_udp_requests_max; /* at once; 0: default 1000 */
    uint32_t numwant;            /* 0: default 200 */
};

/* Read when an announce goes out; kept current by the owner. */
struct announcer_progress {
    uint64_t uploaded, downloaded, left, corrupt; /* payload bytes; left: TRACKER_LEFT_UNKNOWN */
    bool is_partial_seed;                         /* BEP 21: has all it wants, not all there is */
    bool wants_no_peers;                          /* numwant=0: at our limit of connections */
};

enum announcer_want_kind {
    ANNOUNCER_RESOLVE,  /* name, port; answer: announcer_on_resolved(job) */
    ANNOUNCER_DATAGRAM, /* to, packet; best effort; input: announcer_on_datagram */
    ANNOUNCER_FETCH,    /* url, ip_family, ...; answer: announcer_on_fetched(job) */
    ANNOUNCER_PEERS,    /* torrent learned peers[0..n_peers) */
    ANNOUNCER_STATUS,   /* an announce or scrape of torrent ended: tracker, err, text, n_peers */
    ANNOUNCER_STOPPED   /* after announcer_stop: all has been said, or its time ran out */
};

struct announcer_want {
    enum announcer_want_kind kind;
    uint64_t job;        /* RESOLVE, FETCH: below 2^48, so that the owner can tag it */
    const char *name;    /* RESOLVE */
    uint16_t port;       /* RESOLVE */
    struct addr to;      /* DATAGRAM */
    struct bytes packet; /* DATAGRAM */
    const char *url;     /* FETCH; STATUS: the announce URL */
    uint8_t ip_family;   /* FETCH: enum addr_family */
    size_t body_len_max; /* FETCH */
    uint32_t timeout_ms; /* FETCH */
    bool is_by_hand;     /* FETCH: the user named this tracker; else host.h's is_tracker rules */
    uint32_t torrent;    /* PEERS, STATUS, STOPPED: the owner's number */
    const struct addr *peers; /* PEERS */
    size_t n_peers;           /* PEERS, STATUS */
    struct err err;           /* STATUS: ERR_OK, or why not */
    const char *text;         /* STATUS: failure reason or warning of the tracker, escaped, or "" */
    struct addr external; /* STATUS: our address as the tracker sees it (BEP 24), or ADDR_NONE */
};

enum announcer_tracker_state {
    ANNOUNCER_IDLE,       /* not asked so far, or not its turn */
    ANNOUNCER_WAITING,    /* its next announce has a date */
    ANNOUNCER_ANNOUNCING, /* a request is under way */
    ANNOUNCER_BAD         /* the last announce failed; tried again later */
};

/* One line of the user's table. */
struct announcer_tracker_status {
    const char *url;  /* views, good until the torrent changes */
    const char *text; /* last failure reason or warning, "" */
    uint32_t tier;
    enum announcer_tracker_state state;
    struct err err;                              /* of the last announce */
    uint32_t n_seeders, n_leechers, n_completed; /* or TRACKER_COUNT_UNKNOWN */
    uint32_t n_peers;                            /* in the last reply */
    uint32_t n_fails;                            /* in a row */
    uint64_t announced_at_us;                    /* last success; 0: never */
    uint64_t next_at_us;                         /* DEADLINE_NEVER: none planned */
};

enum announcer_counter {
    ANNOUNCER_TRACKER_URL_REFUSED,      /* announcer_add_tracker: scheme, syntax, length */
    ANNOUNCER_TRACKER_LIMIT_REACHED,    /* announcer_add_tracker: beyond ANNOUNCER_TRACKERS_MAX */
    ANNOUNCER_LOOPBACK_TRACKER_REFUSED, /* from a torrent file, on loopback, not /announce */
    ANNOUNCER_REPLY_MALFORMED,
    ANNOUNCER_REPLY_FAILURE, /* the tracker gave a failure reason */
    ANNOUNCER_HTTP_STATUS_BAD,
    ANNOUNCER_FETCH_FAILED,
    ANNOUNCER_RESOLVE_FAILED,
    ANNOUNCER_UDP_FAILED,
    ANNOUNCER_LATE_ANSWER,   /* an answer for a job that nobody waits for any more */
    ANNOUNCER_PEERS_DROPPED, /* peers of a reply that were too many or not dialable */
    ANNOUNCER_N_COUNTERS
};
extern const char *const announcer_counter_names[ANNOUNCER_N_COUNTERS];

enum err_code announcer_new(struct announcer **out, struct mem *mem,
                            const struct announcer_config *config, struct log *log,
                            uint64_t rng_seed) MUST_USE;
void announcer_free(struct announcer *a); /* says nothing to anyone */

/* A torrent, by the owner's number. Either hash may be NULL; infohash_v2 has 32 bytes. */
enum err_code announcer_add(struct announcer *a, uint32_t torrent, const uint8_t *infohash_v1,
                            const uint8_t *infohash_v2,
                            const struct announcer_progress *progress) MUST_USE;
/* A second hash that became known later (a magnet link's metadata turned out to be hybrid). */
void announcer_set_infohash(struct announcer *a, uint32_t torrent, const uint8_t *infohash_v1,
                            const uint8_t *infohash_v2);
/* Duplicate URLs are dropped in silence. The tier's order is drawn when a tracker joins it.
 * is_by_hand: the user gave it on the command line; it may be on loopback with any path. */
enum err_code announcer_add_tracker(struct announcer *a, uint64_t now_us, uint32_t torrent,
                                    uint32_t tier, struct bytes url, bool is_by_hand) MUST_USE;
void announcer_start(struct announcer *a, uint64_t now_us, uint32_t torrent);
/* Everything that was wanted is here: completed is told to whoever heard started (BEP 3). Not to be
 * called for a torrent that was complete when it started. */
void announcer_completed(struct announcer *a, uint64_t now_us, uint32_t torrent);
/* We could use peers: the next announce moves forward, as far as the tracker's min interval lets.
 */
void announcer_want_peers(struct announcer *a, uint64_t now_us, uint32_t torrent);
void announcer_scrape(struct announcer *a, uint64_t now_us, uint32_t torrent);
/* Says stopped, once, to every tracker that heard started; ANNOUNCER_STOPPED follows within
 * ANNOUNCER_STOP_US at most, at once if there is nobody to tell. */
#define ANNOUNCER_STOP_US 4000000u
void announcer_stop(struct announcer *a, uint64_t now_us, uint32_t torrent);
void announcer_remove(struct announcer *a, uint32_t torrent); /* says nothing; after STOPPED */

void announcer_on_resolved(struct announcer *a, uint64_t now_us, uint64_t job,
                           const struct err *err, const struct addr *addrs, size_t n_addrs);
void announcer_on_fetched(struct announcer *a, uint64_t now_us, uint64_t job, const struct err *err,
                          uint32_t http_status, struct bytes body);
/* False: not an answer of a tracker. */
bool announcer_on_datagram(struct announcer *a, uint64_t now_us, const struct addr *from,
                           struct bytes in);

bool announcer_next(struct announcer *a, uint64_t now_us, struct announcer_want *out);
uint64_t announcer_deadline_us(const struct announcer *a); /* 0: announcer_next has something */

size_t announcer_n_trackers(const struct announcer *a, uint32_t torrent);
bool announcer_tracker_status(const struct announcer *a, uint32_t torrent, size_t index,
                              struct announcer_tracker_status *out);
uint64_t announcer_next_at_us(const struct announcer *a, uint32_t torrent); /* next announce */
uint64_t announcer_counter(const struct announcer *a, enum announcer_counter which);
uint64_t announcer_udp_counter(const struct announcer *a, enum tracker_udp_counter which);
void announcer_check(const struct announcer *a);
