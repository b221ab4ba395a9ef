/* session: the BitTorrent engine: torrents, their peers and connections, behind one host table.
 *
 * Inputs come through the session_on_* doors; what the engine wants goes out through struct
 * torrent_host; what its owner should know waits in a bounded queue of events.
 *
 * Ownership  the session owns its torrents and connections; metainfo passed in is taken over
 * Threads    one owner
 * Errors     doors for input return nothing: bad bytes close the connection, trouble with storage
 *            stops the torrent, both with a counter and an event
 * Time       every door that can act takes now_us (monotonic); session_deadline_us says when
 *            session_on_tick is due
 */
#pragma once
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "torrent/host.h"

struct metainfo; /* torrent/metainfo.h */
struct magnet;   /* torrent/magnet.h */

struct session;

#define PEER_ID_LEN       20u
#define SESSION_CONN_NONE 0u /* conn ids are never 0 */

struct session_config {
    uint8_t peer_id[PEER_ID_LEN];
    char user_agent[32];  /* "shoal/0.1.0": HTTP trackers and the extension handshake's v */
    uint16_t listen_port; /* told to trackers and peers; 0: we cannot be dialled */
    uint32_t n_conns_max; /* all torrents; 0: default 500 */
    uint32_t n_conns_per_torrent_max;      /* 0: default 100 */
    uint32_t n_half_open_max;              /* connects under way; 0: default 30 */
    uint32_t n_upload_slots;               /* 0: follow the upload capacity */
    uint64_t max_down_per_s, max_up_per_s; /* bytes; 0: no limit */
    size_t cache_len_max;                  /* bytes of blocks in memory; 0: default 32 MiB */
    bool is_pex_off, is_local_peers_only;  /* the latter: dial and accept loopback/private only */
    bool is_announce_off;                  /* no trackers at all (tests, --peer only) */
    bool is_upload_off;                    /* nobody is unchoked: a free-rider, for the simulator */
    bool is_optimistic_off;    /* no slot by lot, no allowed fast set (BEP 6): what are they for? */
    bool has_no_v4, has_no_v6; /* families that the host is not bound to */
    const char *announce_ip;   /* &ip= for trackers; NULL: none */
};

enum torrent_state {
    TORRENT_OPENING,  /* storage is being opened, files compared with resume data */
    TORRENT_CHECKING, /* data on disk is hashed */
    TORRENT_METADATA, /* magnet: the info dictionary is being fetched (BEP 9) */
    TORRENT_DOWNLOADING,
    TORRENT_FINISHED, /* everything wanted is here, some files were not wanted */
    TORRENT_SEEDING,  /* everything is here */
    TORRENT_ERROR,    /* storage failed: no transfer until session_resume */
    TORRENT_PAUSED,
    TORRENT_STOPPING, /* last sync, resume data, stopped announce */
    TORRENT_STOPPED   /* session_remove finished; the id is free after the event */
};

enum torrent_check { CHECK_IF_NEEDED, CHECK_ALL, CHECK_TRUST }; /* at start: the data on disk */

struct torrent_params {
    struct metainfo *info; /* taken over unless session_add fails; or NULL */
    struct magnet *magnet; /* copied; NULL with info. torrent/magnet.h */
    const char *dir;       /* copied */
    /* Those of the torrent's or link's trackers that the user named: they may be on loopback with
     * any path. Compared by URL, not kept. */
    const char *const *own_trackers;
    size_t n_own_trackers;
    struct bytes resume; /* what resume_save got last; may be empty */
    enum torrent_check check;
    enum store_alloc alloc;
    bool is_seed_only; /* storage opened read-only; missing data is an error */
    bool is_sequential;
    bool is_random_order; /* instead of rarest first, to compare */
    bool is_paused;
    const uint8_t *file_priorities; /* one per file, 0 = not wanted, 1..7; copied; NULL: all 4 */
    uint64_t seed_ratio_milli;      /* stop when uploaded/size reaches it; 0: never */
    uint64_t seed_time_us;          /* stop after; 0: never */
};

enum session_event_kind {
    EVENT_STATE,       /* torrent changed state; `state` */
    EVENT_METADATA,    /* the info dictionary is here and verified */
    EVENT_PIECE,       /* `piece` verified and written */
    EVENT_PIECE_BAD,   /* `piece` failed its hash */
    EVENT_PEER_BANNED, /* `addr`, `err.what` says why */
    EVENT_TRACKER,     /* an announce ended: `text` url, `err`, `n` peers */
    EVENT_ERROR,       /* storage: `err`; the torrent is in TORRENT_ERROR, or it was stopping */
    EVENT_GOAL,        /* seed ratio or time reached */
    EVENT_STOPPED
};

struct session_event {
    enum session_event_kind kind;
    uint32_t torrent, piece, n;
    enum torrent_state state;
    struct addr addr;
    struct err err;
    char text[200];
};

/* Peers in words and numbers, for the CLI, RPC and tests. */
struct peer_stats {
    struct addr addr;
    uint8_t peer_id[PEER_ID_LEN];
    char client[48]; /* escaped; from v of the extension handshake or the peer id */
    uint64_t down_total, up_total, down_per_s, up_per_s; /* payload bytes */
    uint32_t n_have;                                     /* pieces */
    uint32_t n_requests_out, n_requests_in, queue_target;
    bool am_choking, am_interested, peer_choking, peer_interested;
    bool is_snubbed, is_optimistic, is_incoming, is_seed, is_upload_only, is_v2;
};

struct torrent_stats {
    enum torrent_state state;
    struct err err;
    uint64_t total_len, wanted_len, have_len, have_wanted_len; /* payload bytes, pads not counted */
    uint32_t n_pieces, n_have, n_checked;
    uint64_t down_total, up_total;     /* payload, over its life: earlier runs included */
    uint64_t down_session, up_session; /* payload, since session_add */
    uint64_t down_per_s, up_per_s;
    uint64_t wasted_len, bad_len; /* duplicate or late; failed the hash */
    uint32_t n_peers, n_connecting, n_seeds, n_known_peers, n_unchoked, n_interested;
    uint32_t min_availability; /* copies of the rarest wanted missing piece among peers */
    uint64_t tracker_next_at_us;
    uint64_t progress_at_us; /* last verified piece, or start */
};

/* --- life ------------------------------------------------------------------------------------ */

enum err_code session_new(struct session **out, struct mem *mem, const struct torrent_host *host,
                          const struct session_config *config, struct log *log, uint64_t now_us,
                          uint64_t rng_seed, struct err *err) MUST_USE;
void session_free(
    struct session *s); /* no host call is made; jobs under way must be answered or gone */

enum err_code session_add(struct session *s, uint64_t now_us, const struct torrent_params *params,
                          uint32_t *out_torrent, struct err *err) MUST_USE;
void session_remove(struct session *s, uint64_t now_us,
                    uint32_t torrent); /* ends in EVENT_STOPPED */
void session_pause(struct session *s, uint64_t now_us, uint32_t torrent);
void session_resume(struct session *s, uint64_t now_us, uint32_t torrent);
/* Peers from outside: --peer, x.pe. */
void session_add_peer(struct session *s, uint64_t now_us, uint32_t torrent, const struct addr *a);
void session_set_limits(struct session *s, uint64_t now_us, uint64_t max_down_per_s,
                        uint64_t max_up_per_s);
/* ERR_NO_MEMORY: nothing changed; ERR_NOT_FOUND, ERR_LIMIT. */
enum err_code session_set_file_priorities(struct session *s, uint64_t now_us, uint32_t torrent,
                                          const uint8_t *priorities, size_t n) MUST_USE;

/* --- inputs ---------------------------------------------------------------------------------- */

/* A connection came in. False: refused, the host closes it and the id means nothing. */
bool session_on_accept(struct session *s, uint64_t now_us, const struct addr *from,
                       uint32_t *out_conn);
void session_on_connected(struct session *s, uint64_t now_us, uint32_t conn);
/* Ended by the far side, by an error, or a connect that failed; err.code ERR_OK: orderly. */
void session_on_closed(struct session *s, uint64_t now_us, uint32_t conn, const struct err *err);

/* Where the next bytes of conn belong: fills up to out_cap spans, in order, and returns how many;
 * 0: do not read until want_read. The host reads into them and calls session_on_bytes with the
 * number of bytes laid down, with no other input in between. */
size_t session_lend(struct session *s, uint64_t now_us, uint32_t conn, struct span *out,
                    size_t out_cap);
void session_on_bytes(struct session *s, uint64_t now_us, uint32_t conn, size_t len);
/* The host would take room_len bytes on conn now. Announced after connecting and whenever the
 * host's queue has drained; replaces what was announced before. */
void session_on_room(struct session *s, uint64_t now_us, uint32_t conn, size_t room_len);

void session_on_datagram(struct session *s, uint64_t now_us, const struct addr *from,
                         struct bytes b);
void session_on_resolved(struct session *s, uint64_t now_us, uint64_t job, const struct err *err,
                         const struct addr *addrs, size_t n_addrs);
void session_on_fetched(struct session *s, uint64_t now_us, uint64_t job, const struct err *err,
                        uint32_t http_status, struct bytes body);
void session_on_done(struct session *s, uint64_t now_us, uint64_t job, const struct err *err);
void session_on_store_error(struct session *s, uint64_t now_us, uint32_t torrent,
                            const struct err *err);
void session_on_tick(struct session *s, uint64_t now_us);
uint64_t session_deadline_us(const struct session *s);

/* --- what the owner may ask ------------------------------------------------------------------ */

bool session_next_event(struct session *s, struct session_event *out);
bool session_torrent_stats(struct session *s, uint64_t now_us, uint32_t torrent,
                           struct torrent_stats *out);
size_t session_peers(struct session *s, uint64_t now_us, uint32_t torrent, struct peer_stats *out,
                     size_t out_cap);
/* Like session_peers, but since the torrent was added: an entry per address that gave or took
 * payload, gone ones included; bounded, the smallest contributors are forgotten first. Of
 * peer_stats only addr, client and the totals are filled. */
size_t session_sources(struct session *s, uint64_t now_us, uint32_t torrent, struct peer_stats *out,
                       size_t out_cap);
const struct metainfo *session_metainfo(const struct session *s,
                                        uint32_t torrent);                   /* NULL: not yet */
const uint8_t *session_have_bits(const struct session *s, uint32_t torrent); /* wire form */
/* In words, what the torrent waits for; one or more lines, terminated. Returns out. */
char *session_torrent_why(struct session *s, uint64_t now_us, uint32_t torrent, char *out,
                          size_t out_cap);
/* Counters by name: every refusal and every way to misbehave (session_counters.h). */
uint64_t session_counter(const struct session *s, const char *name);
size_t session_n_counters(void);
const char *session_counter_name(size_t index);

/* Asserts every invariant of the engine: tests, fuzzers, simulator. */
void session_check(const struct session *s);
