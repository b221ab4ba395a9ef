/* tracker_server: the tracker's side of HTTP announces and scrapes (BEP 3, 7, 21, 23, 24, 48) and
 * of the UDP protocol (BEP 15, 41): a request in, a reply out, everything in memory.
 *
 * Ownership  the swarms are the server's; replies go into the caller's room
 * Threads    one owner
 * Errors     a request that is refused gets a failure reason (HTTP) or an error packet or nothing
 *            (UDP), and a counter. tracker_server_new: ERR_NO_MEMORY; allow-list: ERR_MALFORMED
 *            with the number of the line
 * Limits     those of swarm_table; peers per reply; info-hashes per scrape; length of a query
 *
 * UDP connection ids need no state: an id is a keyed hash of the client's address and of the epoch,
 * and the ids of this epoch and the one before are taken, so each lives for 2 to 4 minutes.
 */
#pragma once
#include "torrent/swarm_table.h"

#define TRACKER_SERVER_INTERVAL_S     1800u
#define TRACKER_SERVER_MIN_INTERVAL_S 60u
#define TRACKER_SERVER_NUMWANT        50u /* when the asker leaves it open */
#define TRACKER_SERVER_NUMWANT_MAX    200u
#define TRACKER_SERVER_QUERY_MAX      8192u
#define TRACKER_SERVER_HTTP_CAP       32768u /* room that any HTTP reply fits */
#define TRACKER_SERVER_UDP_CAP        1472u /* room that any UDP reply fits: a packet on Ethernet */
#define TRACKER_SERVER_ID_EPOCH_US    120000000u
#define TRACKER_SERVER_ALLOW_MAX      (1u << 24) /* info-hashes in the allow-list */

struct tracker_server;

struct tracker_server_config {
    uint32_t interval_s, min_interval_s; /* 0: the defaults; min at most interval */
    uint32_t n_peers_max;                /* 0: default 4,000,000 */
    uint32_t n_swarms_max;               /* 0: default 1,000,000 */
    bool trusts_ip_parameter; /* ip= of askers on loopback or in a private network is believed */
    uint8_t secret[16];       /* from crypto/random: connection ids, hash seeds */
};

enum tracker_server_counter {
    /* what was served */
    TRACKER_SERVER_HTTP_ANNOUNCES,
    TRACKER_SERVER_HTTP_SCRAPES,
    TRACKER_SERVER_UDP_CONNECTS,
    TRACKER_SERVER_UDP_ANNOUNCES,
    TRACKER_SERVER_UDP_SCRAPES,
    /* what was refused */
    TRACKER_SERVER_HTTP_PATH_UNKNOWN,
    TRACKER_SERVER_QUERY_TOO_LONG,
    TRACKER_SERVER_QUERY_MALFORMED,  /* a %-escape, or a number that is none */
    TRACKER_SERVER_INFOHASH_MISSING, /* or not 20 bytes */
    TRACKER_SERVER_PORT_MISSING,     /* or not 0 to 65535 */
    TRACKER_SERVER_PEER_ID_BAD,      /* there, but not 20 bytes */
    TRACKER_SERVER_FULL_SCRAPE_REFUSED,
    TRACKER_SERVER_NOT_ALLOWED, /* info-hash not on the allow-list */
    TRACKER_SERVER_NO_MEMORY,   /* answered, but not listed */
    TRACKER_SERVER_PORT_ZERO,   /* answered, but not listed */
    TRACKER_SERVER_IP_PARAMETER_IGNORED,
    TRACKER_SERVER_SCRAPE_CUT, /* more info-hashes than a reply takes */
    TRACKER_SERVER_UDP_TOO_SHORT,
    TRACKER_SERVER_UDP_ACTION_UNKNOWN,
    TRACKER_SERVER_UDP_MAGIC_WRONG,
    TRACKER_SERVER_UDP_ID_WRONG,         /* connection id of another address, or too old */
    TRACKER_SERVER_UDP_OPTION_MALFORMED, /* BEP 41; ignored */
    TRACKER_SERVER_N_COUNTERS
};
extern const char *const tracker_server_counter_names[TRACKER_SERVER_N_COUNTERS];

struct tracker_server_stats {
    uint32_t n_swarms, n_peers_v4, n_peers_v6, n_allowed; /* n_allowed: UINT32_MAX without a list */
    uint64_t n_seeds, n_expired, n_peers_evicted, n_swarms_evicted;
    uint64_t started_at_us;
    size_t memory_len;
    uint64_t counters[TRACKER_SERVER_N_COUNTERS];
};

enum err_code tracker_server_new(struct tracker_server **out, struct mem *mem,
                                 const struct tracker_server_config *config, uint64_t now_us,
                                 uint64_t rng_seed) MUST_USE;
void tracker_server_free(struct tracker_server *s); /* NULL is fine */

/* The text of an allow-list: one hex info-hash per line, 40 digits (v1, or v2 cut) or 64 (v2); empty
 * lines and lines that begin with '#' are skipped. Replaces the list before; swarms that are not
 * on it go. On an error the list before stays in force. */
enum err_code tracker_server_set_allow_list(struct tracker_server *s, struct bytes text,
                                            struct err *err) MUST_USE;

/* path: "/announce" or "/scrape"; query: what follows '?', as it came. The reply goes into out
 * (TRACKER_SERVER_HTTP_CAP bytes); the return is its HTTP status: 200, or 404 for another path, 414
 * for a query that is too long. */
uint32_t tracker_server_http(struct tracker_server *s, uint64_t now_us, struct bytes path,
                             struct bytes query, const struct addr *from, struct writer *out);

/* Writes the reply into out (TRACKER_SERVER_UDP_CAP bytes); returns its length, 0: none. A reply to
 * someone who has not shown his address yet is never longer than what he sent. */
size_t tracker_server_udp(struct tracker_server *s, uint64_t now_us, const struct addr *from,
                          struct bytes in, uint8_t *out);

void tracker_server_tick(struct tracker_server *s, uint64_t now_us);
uint64_t tracker_server_deadline_us(const struct tracker_server *s);
void tracker_server_stats(const struct tracker_server *s, struct tracker_server_stats *out);
void tracker_server_check(const struct tracker_server *s);
