/* tracker_udp: client of UDP trackers (BEP 15, URL data of BEP 41). Requests of all torrents share
 * one connection id per tracker endpoint.
 *
 * Input goes in (a request, a datagram, the time); what is wanted comes out of tracker_udp_next,
 * which is to be called until it gives nothing, after every input and at the deadline.
 *
 * Ownership  requests are copied; a wanted datagram is good until the next call
 * Threads    one owner
 * Errors     start: ERR_LIMIT (requests or endpoints at their maximum), ERR_NO_MEMORY. A request
 *            that started ends once: in a reply (tracker_udp_on_datagram) or in
 *            TRACKER_UDP_FAILED (tracker_udp_next); after tracker_udp_cancel in neither
 * Limits     n_requests_max, n_endpoints_max; a new endpoint takes the place of the one idle for
 *            longest, and is refused when none is idle
 */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/timer.h"
#include "torrent/tracker.h"

#define TRACKER_UDP_RETRY_US      15000000u /* BEP 15, time outs: 15 * 2^n seconds */
#define TRACKER_UDP_N_RETRIES_MAX 8u        /* BEP 15, time outs */
#define TRACKER_UDP_ID_LIFE_US    60000000u /* BEP 15: a client uses an id for a minute */
#define TRACKER_UDP_SCRAPE_MAX    74u       /* BEP 15, scrape: about 74 fit a packet */
#define TRACKER_UDP_URL_DATA_MAX  1020u     /* ours: 4 options of 255 bytes (BEP 41) */
#define TRACKER_UDP_PACKET_CAP    1536u

enum tracker_udp_counter {
    TRACKER_UDP_TOO_SHORT,           /* under 8 bytes, or shorter than its action demands */
    TRACKER_UDP_UNKNOWN_TRANSACTION, /* no request has this transaction id */
    TRACKER_UDP_WRONG_ENDPOINT,      /* transaction known, but from another address */
    TRACKER_UDP_WRONG_ACTION,        /* action does not answer what was asked */
    TRACKER_UDP_TIMEOUTS,            /* requests repeated */
    TRACKER_UDP_GAVE_UP,             /* requests whose last wait ended */
    TRACKER_UDP_ERROR_REPLIES,
    TRACKER_UDP_N_COUNTERS
};
extern const char *const tracker_udp_counter_names[TRACKER_UDP_N_COUNTERS];

struct tracker_udp {
    struct mem *mem;
    struct rng rng;
    struct map requests;  /* transaction id -> struct tracker_udp_request *  */
    struct map tokens;    /* token -> struct tracker_udp_request *           */
    struct map endpoints; /* addr key -> struct tracker_udp_endpoint *       */
    struct list idle;     /* endpoints without requests, longest first       */
    struct list to_send;  /* requests and endpoints whose datagram is due    */
    struct list failed;   /* requests that ended without a reply             */
    struct timers timers;
    size_t n_requests_max, n_endpoints_max;
    uint8_t packet[TRACKER_UDP_PACKET_CAP];
    uint64_t counters[TRACKER_UDP_N_COUNTERS];
};

enum tracker_udp_want_kind { TRACKER_UDP_SEND, TRACKER_UDP_FAILED };

struct tracker_udp_want {
    enum tracker_udp_want_kind kind;
    struct addr to;      /* SEND */
    struct bytes packet; /* SEND */
    uint64_t token;      /* FAILED */
    struct err err;      /* FAILED: ERR_IO time ran out; ERR_PROTOCOL the tracker said error */
    char text[TRACKER_TEXT_CAP]; /* FAILED: the tracker's words, escaped, or "" */
};

/* What a datagram ended; at most one request, apart from an error sent to a connect request, which
 * fails all that waited for it (they come out of tracker_udp_next). */
enum tracker_udp_done_kind {
    TRACKER_UDP_NONE,
    TRACKER_UDP_ANNOUNCED, /* reply is filled */
    TRACKER_UDP_SCRAPED,   /* scrapes[0..n_scrapes) */
    TRACKER_UDP_REFUSED    /* reply->failure holds the tracker's words */
};

struct tracker_udp_done {
    enum tracker_udp_done_kind kind;
    uint64_t token;
    size_t n_scrapes;
    struct tracker_scrape scrapes[TRACKER_UDP_SCRAPE_MAX];
};

enum err_code tracker_udp_init(struct tracker_udp *u, struct mem *mem, uint64_t rng_seed,
                               size_t n_requests_max, size_t n_endpoints_max) MUST_USE;
void tracker_udp_clear(struct tracker_udp *u);

/* Start a request. `token` is the owner's, unique among those under way. url_data: path and query
 * of the announce URL (BEP 41), cut at TRACKER_UDP_URL_DATA_MAX; may be empty. n_retries_max: at
 * most TRACKER_UDP_N_RETRIES_MAX. */
enum err_code tracker_udp_announce(struct tracker_udp *u, uint64_t now_us, const struct addr *to,
                                   const struct tracker_announce *what, struct bytes url_data,
                                   unsigned n_retries_max, uint64_t token) MUST_USE;
enum err_code tracker_udp_scrape(struct tracker_udp *u, uint64_t now_us, const struct addr *to,
                                 const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                 unsigned n_retries_max, uint64_t token) MUST_USE;
void tracker_udp_cancel(struct tracker_udp *u, uint64_t token); /* fine when unknown */

/* A datagram came in. False: it is none of ours (someone else on the socket may know it). `reply`
 * has room for peers and is filled as done->kind says. */
bool tracker_udp_on_datagram(struct tracker_udp *u, uint64_t now_us, const struct addr *from,
                             struct bytes in, struct tracker_reply *reply,
                             struct tracker_udp_done *done);
bool tracker_udp_next(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_want *out);
uint64_t tracker_udp_deadline_us(const struct tracker_udp *u);

/* How often the request was repeated so far; 0 when unknown. */
unsigned tracker_udp_n_retries(const struct tracker_udp *u, uint64_t token);
void tracker_udp_check(const struct tracker_udp *u);
