/* shoal/session.h: torrents in a process of your own: add them, run the session, read events.
 *
 * Ownership  the session owns its torrents; handles are numbers that stay unique for its life.
 *            Strings in events and status are copies inside the struct.
 * Threads    a session belongs to the thread that created it; several sessions may live in
 *            several threads. Hashing and disk run on workers that the session owns.
 * Errors     what can be refused is refused at once with a note; trouble of the network or the
 *            disk comes later, as events.
 * Loop       call shoal_session_run() in turns, or poll shoal_session_fd() for reading in a loop
 *            of your own and call shoal_session_run(session, 0) when it is ready or when
 *            shoal_session_timeout_ms() has passed.
 *
 * Protocols: BEP 3, 6, 7, 9, 10, 11, 12, 15, 19 (metadata), 20, 21, 23, 24, 27, 31, 38, 40, 41, 47,
 * 48, 52, 53, 54.
 */
#ifndef SHOAL_SESSION_H
#define SHOAL_SESSION_H

#include "shoal/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shoal_session;

/* Set the defaults with shoal_session_options_init(), then change what matters. */
struct shoal_session_options {
    const char *bind_addr;   /* listen there and dial from there; NULL: any address      */
    uint16_t port;           /* to listen on; 0: the system picks one                    */
    bool is_port_fixed;      /* fail when the port is taken; else the next free one      */
    const char *state_dir;   /* resume data; NULL: $XDG_STATE_HOME/shoal                 */
    uint64_t max_down_per_s; /* bytes, payload and protocol; 0: no limit                 */
    uint64_t max_up_per_s;
    uint32_t n_conns_max;           /* 0: 500                                                   */
    uint32_t n_workers;             /* threads for hashing and disk; 0: one per core            */
    size_t cache_len_max;           /* bytes of blocks in memory; 0: 32 MiB                     */
    bool is_pex_off;                /* no peer exchange (BEP 11)                                */
    bool is_announce_off;           /* no trackers                                              */
    const char *congestion_control; /* of TCP to peers: cubic, bbr, lp, ...; NULL: the system's */
    int log_level;                  /* 0 errors .. 4 everything                                 */
    void (*log)(void *ctx, int level, const char *subsystem, const char *line); /* any thread */
    void *log_ctx;
};

SHOAL_API void shoal_session_options_init(struct shoal_session_options *options);

/* Create a session and listen. The options are copied.
 * ERR_IO: the address cannot be listened on, or the state folder not be used.
 * ERR_UNSUPPORTED: the system does not have that congestion control, or only for root.
 */
SHOAL_API enum shoal_err shoal_session_new(struct shoal_session **out,
                                           const struct shoal_session_options *options,
                                           struct shoal_note *note) SHOAL_MUST_USE;

/* Stop every torrent as shoal_torrent_remove() does, wait for at most timeout_ms until resume data
 * is on disk and trackers have been told, and free everything. NULL is fine.
 */
SHOAL_API void shoal_session_free(struct shoal_session *session, int timeout_ms);

SHOAL_API uint16_t shoal_session_port(const struct shoal_session *session);
SHOAL_API void shoal_session_set_limits(struct shoal_session *session, uint64_t max_down_per_s,
                                        uint64_t max_up_per_s);

/* --- running --------------------------------------------------------------------------------- */

/* Handle what is ready; wait for at most timeout_ms (-1: for ever) until something was. Returns as
 * soon as an event waits. */
SHOAL_API void shoal_session_run(struct shoal_session *session, int timeout_ms);
SHOAL_API int shoal_session_fd(const struct shoal_session *session);
SHOAL_API int shoal_session_timeout_ms(const struct shoal_session *session);
/* Make a shoal_session_run() that waits return. The one call that any thread or a signal handler
 * may make. */
SHOAL_API void shoal_session_wake(struct shoal_session *session);

/* --- torrents -------------------------------------------------------------------------------- */

enum shoal_check {
    SHOAL_CHECK_IF_NEEDED, /* what resume data does not vouch for */
    SHOAL_CHECK_ALL,
    SHOAL_CHECK_TRUST /* the data is known to be complete: just made, just copied */
};

struct shoal_torrent_options {
    const char *dir; /* folder that holds the torrent's top name; NULL: "."       */
    enum shoal_check check;
    bool is_seed_only;    /* the data is here and is not changed                       */
    bool is_sequential;   /* pieces in order                                           */
    bool is_preallocated; /* files get their full size on disk at once                 */
    bool is_paused;
    const char *const *only; /* paths or shell patterns of the files wanted; NULL: all    */
    size_t n_only;
    double seed_ratio;           /* EVENT_GOAL when uploaded / size reaches it; 0: never      */
    uint64_t seed_time_s;        /* EVENT_GOAL after; 0: never                                */
    const char *const *trackers; /* more announce URLs, a tier each                          */
    size_t n_trackers;
    const char *const *peers; /* "HOST:PORT" to dial                                       */
    size_t n_peers;
};

SHOAL_API void shoal_torrent_options_init(struct shoal_torrent_options *options);

/* Add a torrent.
 *
 * source   a .torrent file's path, an http(s) URL of one, or a magnet link. What has to be fetched
 *          first is fetched by the session; an event tells.
 * *out     the handle
 * Errors   the notes name the file, the offset or the field, and what was expected
 */
SHOAL_API enum shoal_err shoal_torrent_add(struct shoal_session *session, uint32_t *out,
                                           const char *source,
                                           const struct shoal_torrent_options *options,
                                           struct shoal_note *note) SHOAL_MUST_USE;
/* The same with the bytes of a .torrent file. */
SHOAL_API enum shoal_err shoal_torrent_add_bytes(struct shoal_session *session, uint32_t *out,
                                                 const void *data, size_t data_len,
                                                 const struct shoal_torrent_options *options,
                                                 struct shoal_note *note) SHOAL_MUST_USE;

/* Stop: last sync, resume data, trackers told. SHOAL_EVENT_REMOVED ends the handle's life. */
SHOAL_API void shoal_torrent_remove(struct shoal_session *session, uint32_t torrent);
SHOAL_API void shoal_torrent_pause(struct shoal_session *session, uint32_t torrent);
SHOAL_API void shoal_torrent_resume(struct shoal_session *session, uint32_t torrent);
/* "HOST:PORT"; a name is looked up. */
SHOAL_API enum shoal_err shoal_torrent_add_peer(struct shoal_session *session, uint32_t torrent,
                                                const char *host_port,
                                                struct shoal_note *note) SHOAL_MUST_USE;

enum shoal_state {
    SHOAL_STATE_FETCHING, /* the .torrent file is being fetched from a URL */
    SHOAL_STATE_OPENING,
    SHOAL_STATE_CHECKING,
    SHOAL_STATE_METADATA, /* magnet: the info dictionary is being fetched from the swarm */
    SHOAL_STATE_DOWNLOADING,
    SHOAL_STATE_FINISHED, /* everything wanted is here */
    SHOAL_STATE_SEEDING,  /* everything is here */
    SHOAL_STATE_ERROR,
    SHOAL_STATE_PAUSED,
    SHOAL_STATE_STOPPING,
    SHOAL_STATE_STOPPED
};

struct shoal_status {
    enum shoal_state state;
    char name[256];       /* escaped for a terminal; empty before the metadata is here */
    char infohash_v1[41]; /* hex, empty when there is none */
    char infohash_v2[65];
    char error[256]; /* SHOAL_STATE_ERROR: what happened, in one line */
    uint64_t total_len, wanted_len, have_len, have_wanted_len; /* bytes of files */
    uint32_t piece_len, n_pieces, n_have, n_checked, n_files;
    uint64_t down_total, up_total;     /* payload bytes over its life, earlier runs included */
    uint64_t down_session, up_session; /* payload bytes since it was added to this session */
    uint64_t down_per_s, up_per_s;
    uint64_t wasted_len; /* received twice or too late */
    uint64_t bad_len;    /* failed the hash */
    uint32_t n_peers, n_connecting, n_seeds, n_known_peers, n_unchoked, n_interested;
    uint32_t stalled_s; /* since the last verified piece */
};

SHOAL_API const char *shoal_state_name(enum shoal_state state);
/* False when there is no such torrent. */
SHOAL_API bool shoal_torrent_status(struct shoal_session *session, uint32_t torrent,
                                    struct shoal_status *out);
/* In words, what the torrent waits for: one or more lines, terminated. Returns out. */
SHOAL_API char *shoal_torrent_why(struct shoal_session *session, uint32_t torrent, char *out,
                                  size_t out_cap);
/* The magnet link of the torrent, with its trackers. Returns out. */
SHOAL_API char *shoal_torrent_magnet(struct shoal_session *session, uint32_t torrent, char *out,
                                     size_t out_cap);

struct shoal_peer {
    char addr[64];   /* "1.2.3.4:6881", "[::1]:6881" */
    char client[48]; /* as it calls itself, escaped */
    uint64_t down_total, up_total, down_per_s, up_per_s;
    uint32_t n_have;
    bool am_choking, am_interested, peer_choking, peer_interested;
    bool is_incoming, is_seed, is_snubbed;
};

/* Fills up to out_cap; returns how many there are. */
SHOAL_API size_t shoal_torrent_peers(struct shoal_session *session, uint32_t torrent,
                                     struct shoal_peer *out, size_t out_cap);

/* Where the bytes came from and went to since the torrent was added: one entry per peer address that
 * gave or took payload, those that have left included; the smallest are forgotten beyond 1,024. */
SHOAL_API size_t shoal_torrent_sources(struct shoal_session *session, uint32_t torrent,
                                       struct shoal_peer *out, size_t out_cap);

/* --- events ---------------------------------------------------------------------------------- */

enum shoal_event_kind {
    SHOAL_EVENT_STATE,       /* `state`: the torrent's new one                         */
    SHOAL_EVENT_METADATA,    /* the info dictionary is here and verified               */
    SHOAL_EVENT_PIECE,       /* `piece` is verified and written                        */
    SHOAL_EVENT_PIECE_BAD,   /* `piece` failed its hash                                */
    SHOAL_EVENT_PEER_BANNED, /* `text`: the address; `note` says why                   */
    SHOAL_EVENT_TRACKER,     /* an announce ended: `text` its URL, `note`, `n` peers   */
    SHOAL_EVENT_ERROR,       /* `note`: storage or the fetch of the .torrent failed    */
    SHOAL_EVENT_GOAL,        /* seed ratio or seed time reached                        */
    SHOAL_EVENT_REMOVED
};

struct shoal_event {
    enum shoal_event_kind kind;
    uint32_t torrent, piece, n;
    enum shoal_state state;
    struct shoal_note note;
    char text[256];
};

/* The next event; false when none waits. At most 4096 wait; beyond that SHOAL_EVENT_PIECE ones are
 * dropped first. */
SHOAL_API bool shoal_session_next_event(struct shoal_session *session, struct shoal_event *out);

/* --- counters -------------------------------------------------------------------------------- */

/* Every refusal and every way to misbehave has a counter: walk index from 0 until false. */
SHOAL_API bool shoal_session_counter(const struct shoal_session *session, size_t index,
                                     const char **out_name, uint64_t *out_value);

/* --- a tracker of one's own ------------------------------------------------------------------ */

/* Run an HTTP and UDP tracker inside the session, on the session's bind address.
 *
 * port     0: the system picks one
 * out_url  its announce URL as others may reach it, terminated; cut to fit
 */
SHOAL_API enum shoal_err shoal_session_serve_tracker(struct shoal_session *session, uint16_t port,
                                                     char *out_url, size_t out_url_cap,
                                                     struct shoal_note *note) SHOAL_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
