/* session_internal: the engine's own structures, shared by the files that make it up.
 *
 *   session.c           life, doors, timers, the flush that ends every door
 *   session_view.c      statistics, peers and events for the owner
 *   torrent.c           one torrent: its states, what it wants and has
 *   torrent_start.c     storage opened, resume data compared, data checked
 *   torrent_save.c      sync, resume data, the stop
 *   torrent_peers.c     dialling, peer lists, bans, trackers, gossip
 *   torrent_pieces.c    blocks to pieces to storage, verdicts, blame
 *   torrent_metadata.c  info dictionary and hashes from peers (BEP 9, 52)
 *   peer.c              one connection: handshake, timers, output
 *   peer_messages.c     what a peer says
 *   transfer_down.c     requests out, blocks in
 *   transfer_up.c       choking and serving
 *   why.c               what a torrent waits for, in words
 *
 * Every door does its work by marking torrents and peers dirty and ends in session_flush, which
 * works the marks off: so a batch of messages costs one pass of picking and sending.
 *
 * Ownership  the session owns torrents, a torrent its connections; a closed connection lies in
 *            `graveyard` until the door's end, so that nobody holds a dead pointer
 */
#pragma once
#include "base/bitset.h"
#include "base/bqueue.h"
#include "base/rate.h"
#include "torrent/announcer.h"
#include "torrent/ban_list.h"
#include "torrent/blame.h"
#include "torrent/block_cache.h"
#include "torrent/choker.h"
#include "torrent/ext_handshake.h"
#include "torrent/hash_xfer.h"
#include "torrent/magnet.h"
#include "torrent/metadata_xfer.h"
#include "torrent/metainfo.h"
#include "torrent/peer_list.h"
#include "torrent/pex.h"
#include "torrent/picker.h"
#include "torrent/pipeline.h"
#include "torrent/resume.h"
#include "torrent/session.h"
#include "torrent/session_counters.h"
#include "torrent/slots.h"
#include "torrent/sources.h"
#include "torrent/upload_queue.h"
#include "torrent/wire_in.h"

#define SESSION_CONNS_DEFAULT     500u              /* session.h */
#define SESSION_CONNS_PER_TORRENT 100u              /* session.h */
#define SESSION_HALF_OPEN_DEFAULT 30u               /* session.h */
#define SESSION_CACHE_LEN_DEFAULT (32u << 20)       /* session.h */
#define SESSION_DIALS_PER_S       30u               /* ours: as libtorrent's connection_speed */
#define SESSION_TORRENTS_MAX      200000u           /* ours */
#define SESSION_EVENTS_MAX        4096u             /* ours: the oldest go first */
#define SESSION_JOBS_MAX          (1u << 23)        /* ours */
#define SESSION_TRIM_US           (10u * US_PER_S)  /* ours: idle buffers are given back */
#define HANDSHAKE_TIMEOUT_US      (20u * US_PER_S)  /* ours */
#define SILENCE_TIMEOUT_US        (150u * US_PER_S) /* ours: BEP 3 has keep-alives each 2 min */
#define KEEP_ALIVE_US             (100u * US_PER_S) /* ours: under BEP 3's two minutes */
#define OUTQ_LEN_MAX              (1u << 20)        /* ours: not read by the peer: it is dropped */
#define OUTQ_LEN_SOFT             (64u << 10) /* ours: above, nothing is added that can wait */
#define PUT_LEN_MAX               (1u << 20)  /* ours: one write */
#define PUT_N_BLOCKS_MAX          (PUT_LEN_MAX / BLOCK_LEN)
#define CHECKS_MAX                16u                /* ours: pieces being checked at once */
#define SAVE_US                   (200u * US_PER_MS) /* ours: resume data, while pieces complete */
#define SYNC_US                   (20u * US_PER_S)   /* ours */
#define SYNC_LEN                  (256u << 20)       /* ours: or after so many bytes */
#define LEAVES_WAIT_US            (15u * US_PER_S)   /* ours: then a bad piece starts over */
#define EARLY_LEN_MAX             (4u << 20) /* ours: bitfields of all peers of a torrent, likewise */
#define EARLY_HAVES_MAX           8192u      /* ours: HAVEs kept until metadata is here */
#define UNREQUESTED_MAX           64u        /* ours: blocks never asked for, per peer */
#define REQUESTS_REFUSED_MAX      300u       /* libtorrent: max_invalid_requests */
#define FAST_SET_MAX              10u        /* BEP 6: k */
#define BAN_US                    (3600u * (uint64_t)US_PER_S) /* ours */
#define WANT_PEERS_US             (60u * (uint64_t)US_PER_S)   /* ours: nudges the announcer */

enum session_timer { TIMER_PEER, TIMER_TORRENT, TIMER_CHOKER, TIMER_SESSION };

enum job_kind {
    JOB_OPEN,
    JOB_PUT,
    JOB_READBACK, /* store_check of a piece written out of order */
    JOB_CHECK,
    JOB_BLAME_READ, /* store_read of a bad or a good copy */
    JOB_LEAVES,     /* store_check to answer a hash request */
    JOB_SYNC,
    JOB_STAT,
    JOB_SAVE,
    JOB_CLOSE,
    JOB_RESOLVE
};

/* A question to the host, embedded in whoever waits for the answer. */
struct job {
    enum job_kind kind;
    uint64_t id; /* 0: not under way */
    struct torrent *t;
};

/* --- pieces on their way in ------------------------------------------------------------------ */

/* A piece with blocks received and not verified.
 *
 *     GATHERING --all blocks put--> verdict known --good--> gone
 *        |  ^                          |
 *        |  +--- bad blocks freed -----+--bad: BLAMING or WAITING_LEAVES, then GATHERING or gone
 *        +-- written out of order: READBACK --> verdict
 *
 * blocks[i]: NULL not here; BLOCK_WRITTEN; else a cache buffer
 * front: blocks before it are written, in order and hashed (unless is_v1_broken)
 */
enum piece_stage { PIECE_GATHERING, PIECE_READBACK, PIECE_BLAMING, PIECE_WAITING_LEAVES };

struct piece_in {
    struct list_node in_torrent;
    struct list_node in_cached; /* of the session, while n_cached */
    struct torrent *t;
    enum piece_stage stage;
    uint32_t piece, n_blocks, data_len;
    uint32_t front, n_cached, n_written;
    uint32_t put_first, put_n; /* under way when job.id */
    bool is_v1_broken;
    bool is_preloaded; /* has blocks of an earlier run, which nobody hashed */
    bool is_released;  /* the torrent stopped: what is cached goes once the put is answered */
    uint64_t leaves_until_us;
    struct sha1_state v1, v1_before;
    struct job job; /* put, read-back or blame read */
    struct store_put put;
    struct store_check check;
    struct store_read read;
    uint8_t (*leaves)[SHA256_LEN]; /* n_blocks; NULL in v1 */
    uint8_t *blocks[];
};

extern uint8_t *const BLOCK_WRITTEN;

/* --- a torrent ------------------------------------------------------------------------------- */

struct check_slot {
    struct job job;
    struct store_check q;
};

/* A hash request that waits for leaves to be read back. */
struct leaves_read {
    struct list_node in_torrent;
    struct job job;
    struct store_check q;
    uint32_t conn;
    struct merkle_request request;
};

/*                   add                      metadata (and v2 layers) here
 *      +---------------------------- METADATA ----------------------+
 *      | info known                                                 v
 *      +--------------------------------------------------------> OPENING <--- resume ---+
 *                                                  opened, compared |                    |
 *                                                                   v                    |
 *                                   nothing to check +---------- CHECKING                |
 *                                                    v              v                    |
 *                                     DOWNLOADING --------> FINISHED / SEEDING           |
 *     pause: any of them -> PAUSED -> where it was (METADATA or OPENING)                 |
 *     storage trouble: any -> ERROR ------------------------------------------------------+
 *     remove: any -> STOPPING -> STOPPED
 */
struct torrent {
    struct session *s;
    uint32_t id;
    enum torrent_state state;
    struct err err;
    uint8_t key[SHA1_LEN]; /* of resume data; the hash that came first */
    bool has_v1, has_v2;
    uint8_t infohash_v1[SHA1_LEN], infohash_v2[SHA256_LEN];
    struct metainfo *info; /* NULL until known */
    bool is_info_from_peers;
    struct magnet magnet;
    bool has_magnet;
    char *dir;
    enum store_alloc alloc;
    enum torrent_check check_mode;
    bool is_seed_only, is_sequential, is_random_order, is_storage_open, is_paused_by_user,
        has_picker, was_opened;
    bool is_poisoned;
    uint64_t seed_ratio_milli, seed_time_us;
    uint8_t *file_priorities; /* n_file_priorities; NULL: all default */
    uint32_t n_file_priorities;

    /* what is here */
    struct bitset all;      /* every bit set, once it is needed: what a seed has */
    struct bitset have;     /* verified and written */
    struct bitset unsynced; /* of those: not known to be on disk for good */
    struct bitset syncing;  /* of those: the sync under way covers them */
    uint64_t have_len, wanted_len, have_wanted_len;
    struct picker picker;
    struct blame blame;
    struct list pieces; /* struct piece_in */
    struct map pieces_by_index;
    uint64_t put_len_unsynced;

    /* start */
    struct store_open open;
    struct store_file_stat *files; /* n_files */
    struct job open_job;
    struct buf resume_in; /* what session_add got, until it was compared */
    struct bitset to_check;
    uint32_t n_to_check, n_checked, check_cursor;
    struct check_slot *checks; /* CHECKS_MAX while checking */
    uint32_t n_checks;

    /* save and stop */
    struct job sync_job, stat_job, save_job, close_job;
    uint64_t save_at_us, sync_at_us; /* DEADLINE_NEVER: nothing to save, to sync */
    bool is_save_wanted, is_clean_wanted, is_clean_saved, is_saving_clean, is_sync_wanted;
    bool is_announce_stopped, is_final_saved, is_stats_fresh, is_reopening, is_sync_failed,
        is_stat_failed, is_save_failed;
    struct buf resume_out;
    uint64_t seeded_before_us, seeding_since_us;

    /* peers */
    struct list peers;
    uint32_t n_peers, n_connecting; /* all of `peers`; those of them without a connection yet */
    struct peer_list known;
    struct list_node in_dial; /* of the session */
    uint64_t want_peers_at_us;
    struct announcer_progress progress;
    bool is_announced, was_completed_told;
    struct err tracker_err;
    char tracker_text[160];
    bool has_tracker_answered;
    uint32_t n_tracker_peers;

    /* metadata and hashes */
    struct metadata_fetch *metadata;
    struct hash_fetch *hash_fetch;
    struct hash_serve *hash_serve;
    struct list leaves_reads; /* struct leaves_read */

    /* numbers */
    struct rate down, up;
    uint64_t down_total, up_total, wasted_len, bad_len;
    struct sources sources; /* of peers that have left; the others are asked */
    uint64_t progress_at_us, added_at_us;
    bool is_goal_told;
    size_t early_len;   /* bytes of bitfields kept until the metadata is here */
    bool needs_refill;  /* blocks became free: idle peers may pick again */
    bool needs_release; /* it stopped: cached blocks are given up */

    uint32_t n_jobs;
    struct timer timer;
    struct list_node in_dirty;
};

/* --- a connection ---------------------------------------------------------------------------- */

/*                 connected         68 bytes              first message
 *   CONNECTING ------------> HANDSHAKE ----------> BITFIELD ----------> RUNNING
 *        |  (incoming: starts here) |                 |                    |
 *        +--------------------------+-----------------+--------------------+--> CLOSED
 *
 * BITFIELD: bitfield, have all, have none may come, and extended messages before them
 * CLOSED: in the graveyard, freed at the end of the door
 */
enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_BITFIELD, CONN_RUNNING, CONN_CLOSED };

struct peer {
    struct session *s;
    struct torrent *t; /* NULL: incoming, info-hash not heard yet */
    uint32_t id;
    enum conn_state state;
    struct addr addr;
    struct peer_entry *entry; /* in t->known; NULL: it had no room */
    uint8_t peer_id[PEER_ID_LEN];
    uint32_t features; /* agreed, enum wire_feature */
    bool is_incoming, is_in_picker, is_in_choker, has_handshake_sent, has_have_sent, is_fault;
    bool am_choking, am_interested, peer_choking, peer_interested;
    bool has_have;      /* bitfield or its like was received, or given up on */
    bool is_have_known; /* `have`/is_seed stand for the torrent's pieces */
    bool is_hash_peer, is_metadata_peer;

    struct wire_in in;
    struct bqueue out;
    size_t room_len;

    struct bitset have; /* n == 0 while a seed or before the metadata */
    struct picker_peer pp;
    struct choker_peer cp;
    struct pipeline pipeline;
    struct upload_queue uploads;
    struct ext_peer ext;
    struct metadata_serve metadata_serve;
    struct hash_serve_peer hash_budget;
    struct pex_out pex_out;
    struct pex_in pex_in;
    bool has_pex;
    uint8_t *block;  /* the cache buffer that wire_in fills; NULL: none */
    size_t read_len; /* of the last read */

    /* before the metadata is known */
    uint8_t *early_bits;
    size_t early_bits_len;
    uint32_t *early_haves;
    uint32_t n_early_haves;
    bool early_all;

    uint32_t fast_out[FAST_SET_MAX]; /* what we allowed */
    uint32_t n_fast_out;
    uint32_t fast_in[FAST_SET_MAX]; /* what they allowed */
    uint32_t n_fast_in;

    uint64_t fast_left; /* bytes of fast_out still given while choked */

    uint32_t n_unrequested, n_refused_requests, n_rejects;
    uint32_t n_excused; /* blocks that may still come although they were called off */
    struct rate down, up;
    uint64_t rejected_at_us;
    uint64_t connected_at_us, heard_at_us, sent_at_us, useful_at_us;
    struct timer timer;
    struct list_node in_torrent, in_dirty, in_grave, in_cache_wait, in_down_wait, in_up_wait;
};

/* --- the session ----------------------------------------------------------------------------- */

struct session {
    struct mem *mem;
    struct torrent_host host;
    struct session_config config;
    char *announce_ip;
    struct log *log;
    struct rng rng;
    uint64_t now_us;

    struct timers timers;
    struct timer choker_timer, session_timer;
    uint64_t rescan_at_us; /* a timer could not be set for want of memory: all are set anew */
    uint64_t trim_at_us, dial_at_us, up_at_us, down_at_us;

    struct slots torrents, conns, jobs;
    struct map by_hash; /* 20 bytes -> uint32_t torrent */
    uint32_t n_conns, n_half_open;

    struct block_cache cache;
    struct choker choker;
    struct ban_list bans;
    struct announcer *announcer; /* NULL with is_announce_off */
    struct token_bucket up, down, dials;

    struct list dirty_torrents, dirty_peers, graveyard, strangers;
    struct list cache_wait, down_wait, up_wait; /* peers */
    struct list dial_wait;                      /* torrents that could dial */
    struct list cached_pieces;                  /* with blocks in the cache */
    bool is_announcer_dirty, is_choker_dirty, is_flushing;
    uint32_t n_puts; /* under way */

    struct session_event *events; /* ring; grows up to SESSION_EVENTS_MAX */
    uint32_t event_first, n_events, events_cap;
    uint64_t counters[N_SESSION_COUNTERS];
    struct wire_ahead ahead; /* its spares are of the cache */
    uint8_t scratch[WIRE_SCRATCH_LEN];
};

#define COUNT(s, name)      ((s)->counters[COUNTER_##name]++)
#define COUNT_N(s, name, k) ((s)->counters[COUNTER_##name] += (k))

/* --- session.c ------------------------------------------------------------------------------- */
void session_flush(struct session *s);
void session_mark_torrent(struct torrent *t);
void session_mark_peer(struct peer *p);
void session_set_timer(struct session *s, struct timer *timer, uint64_t at_us);
/* False: no memory; the job is not started. */
bool session_job_start(struct torrent *t, struct job *job, enum job_kind kind);
void session_job_drop(struct session *s, struct job *job); /* its answer will be stale */
struct torrent *session_torrent(const struct session *s, uint32_t id);
struct torrent *session_torrent_by_hash(const struct session *s, const uint8_t hash[SHA1_LEN]);
bool session_hash_put(struct session *s, const uint8_t hash[SHA1_LEN], uint32_t torrent);
void session_hash_remove(struct session *s, const uint8_t hash[SHA1_LEN], uint32_t torrent);

/* --- session_view.c -------------------------------------------------------------------------- */
void session_event_push(struct session *s, const struct session_event *e);

/* --- torrent.c ------------------------------------------------------------------------------- */
enum err_code torrent_new(struct session *s, const struct torrent_params *params,
                          struct torrent **out, struct err *err) MUST_USE;
void torrent_free(struct torrent *t); /* no host call */
void torrent_set_state(struct torrent *t, enum torrent_state state);
void torrent_event(struct torrent *t, enum session_event_kind kind, uint32_t piece,
                   const struct err *err);
void torrent_start(struct torrent *t);   /* to METADATA or OPENING */
void torrent_started(struct torrent *t); /* checked: to DOWNLOADING, FINISHED or SEEDING */
void torrent_fail(struct torrent *t, const struct err *err);
void torrent_pause(struct torrent *t);
void torrent_resume(struct torrent *t);
void torrent_work(struct torrent *t);
void torrent_on_timer(struct torrent *t);
bool torrent_takes_peers(const struct torrent *t);
bool torrent_is_complete(const struct torrent *t); /* all pieces are here */
bool torrent_is_done(const struct torrent *t);     /* all wanted ones */
bool torrent_wants_data(const struct torrent *t);  /* DOWNLOADING */
bool torrent_is_wanted_missing(const struct torrent *t, uint32_t piece);
/* The info dictionary is known: bitsets, picker, what peers said before. t->info is set. */
enum err_code torrent_prepare(struct torrent *t, struct err *err) MUST_USE;
void torrent_apply_priorities(struct torrent *t);
/* A piece is here, verified and written. */
void torrent_gain(struct torrent *t, uint32_t piece, bool is_synced);
void torrent_lose(struct torrent *t, uint32_t piece);
void torrent_completion(struct torrent *t); /* after gains: have we all we want? */
void torrent_check(const struct torrent *t);

/* --- torrent_start.c ------------------------------------------------------------------------- */
void torrent_open(struct torrent *t);
void torrent_reopen(struct torrent *t); /* close, open and compare again */
void torrent_on_opened(struct torrent *t, const struct err *err);
void torrent_check_more(struct torrent *t);
void torrent_on_checked(struct torrent *t, struct check_slot *slot, const struct err *err);
void torrent_adopt_resume(struct torrent *t, struct bytes resume); /* totals, peers, metadata */
enum verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_POISONED };
/* v1: digest or NULL (not known to matter); leaves: NULL where v2 does not matter. */
enum verdict torrent_judge(const struct torrent *t, uint32_t piece, const uint8_t *v1,
                           const uint8_t (*leaves)[SHA256_LEN]);
void torrent_poisoned(struct torrent *t, uint32_t piece);
bool torrent_checks_v2(const struct torrent *t, uint32_t piece);

/* --- torrent_save.c -------------------------------------------------------------------------- */
void torrent_save_soon(struct torrent *t);
void torrent_save_work(struct torrent *t);
uint64_t torrent_save_deadline_us(const struct torrent *t);
void torrent_on_synced(struct torrent *t, const struct err *err);
void torrent_on_stat(struct torrent *t, const struct err *err);
void torrent_on_saved(struct torrent *t, const struct err *err);
void torrent_on_store_closed(struct torrent *t, const struct err *err);
void torrent_stop(struct torrent *t);
uint64_t torrent_seeded_us(const struct torrent *t);

/* --- torrent_peers.c ------------------------------------------------------------------------- */
void torrent_add_peer(struct torrent *t, const struct addr *a, uint8_t sources, bool is_seed);
void torrent_want_dial(struct torrent *t);
void session_dial(struct session *s);
void torrent_close_peers(struct torrent *t);
bool torrent_make_room(struct torrent *t); /* by closing the least useful peer */
bool session_is_addr_allowed(struct session *s, const struct addr *a);
void session_ban(struct session *s, const struct addr *a, struct torrent *t, const char *why);
void session_announcer_pump(struct session *s);
void torrent_announce_start(struct torrent *t);
void torrent_announce_stop(struct torrent *t);
void torrent_update_progress(struct torrent *t);
void torrent_resolve_peer(struct torrent *t, const char *host, uint16_t port);
struct job *torrent_resolve_free(struct job *job); /* frees it; NULL */
bool peer_does_pex(const struct peer *p);
void peer_pex_write(struct peer *p);
void peer_on_pex(struct peer *p, struct bytes payload);

/* --- torrent_pieces.c ------------------------------------------------------------------------ */
struct piece_in *piece_in_find(const struct torrent *t, uint32_t piece);
/* A whole block came: takes the buffer over. */
void torrent_take_block(struct torrent *t, const struct wire_block *b, uint8_t *block);
bool torrent_is_on_disk(const struct torrent *t, uint32_t piece, uint32_t len);
void torrent_on_put(struct piece_in *pi, const struct err *err);
void torrent_on_readback(struct piece_in *pi, const struct err *err);
void torrent_on_blame_read(struct piece_in *pi, const struct err *err);
void torrent_put_all(struct torrent *t);        /* whatever can be put, put now */
void torrent_release_cached(struct torrent *t); /* stop: blocks not written are given up */
void torrent_pieces_free(struct torrent *t);
bool torrent_has_piece_jobs(const struct torrent *t);
void torrent_preload_piece(struct torrent *t, const struct resume_partial *p);
void torrent_forget_unwritten(struct torrent *t); /* partial pieces that left the disk */
void torrent_on_leaves(struct torrent *t, uint32_t piece);
void torrent_leaves_expire(struct torrent *t);
uint64_t torrent_leaves_deadline_us(const struct torrent *t);
void session_cache_pressure(struct session *s);
void torrent_pieces_check(const struct torrent *t);

/* --- torrent_metadata.c ---------------------------------------------------------------------- */
void torrent_metadata_start(struct torrent *t);
void torrent_metadata_work(struct torrent *t);
void torrent_metadata_tick(struct torrent *t);
uint64_t torrent_metadata_deadline_us(const struct torrent *t);
void peer_metadata_join(struct peer *p);
void peer_metadata_leave(struct peer *p);
void peer_on_metadata(struct peer *p, struct bytes payload);
void peer_metadata_serve(struct peer *p);
void peer_hash_join(struct peer *p);
void peer_hash_work(struct peer *p); /* asks for hashes */
/* Asks all peers, in the order of what they gave, suspects last: a liar keeps still. */
void torrent_ask_for_hashes(struct torrent *t);
void peer_on_hashes(struct peer *p, const struct wire_msg *m);
void peer_on_hash_reject(struct peer *p, const struct wire_msg *m);
void peer_on_hash_request(struct peer *p, const struct wire_msg *m);
void torrent_on_leaves_read(struct leaves_read *r, const struct err *err);
void torrent_hashes_free(struct torrent *t);

/* --- peer.c ---------------------------------------------------------------------------------- */
struct peer *peer_new(struct session *s, struct torrent *t, const struct addr *addr,
                      bool is_incoming);
void peer_free(struct peer *p);
void peer_close(struct peer *p, bool is_fault);        /* tells the host */
void peer_closed(struct peer *p, bool is_fault);       /* the host knows */
void peer_misbehaved(struct peer *p, const char *why); /* close; the address is banned */
void peer_on_connected(struct peer *p);
bool peer_on_infohash(struct peer *p, const struct handshake *h);
bool peer_on_handshake(struct peer *p, const struct handshake *h);
void peer_send_have_message(struct peer *p);
void peer_send_ext_handshake(struct peer *p);
void peer_send(struct peer *p, struct bytes b); /* queued; a full queue closes the peer */
void peer_send_plain(struct peer *p, enum msg_id id);
void peer_send_index(struct peer *p, enum msg_id id, uint32_t piece);
void peer_send_block_msg(struct peer *p, enum msg_id id, const struct wire_block *b);
void peer_send_extended(struct peer *p, enum ext_kind kind, struct bytes payload);
void peer_work(struct peer *p);
void peer_on_timer(struct peer *p);
void peer_arm(struct peer *p);
void peer_arm_by(struct peer *p, uint64_t at_us); /* not later than */
bool peer_is_seed(const struct peer *p);
bool peer_has_piece(const struct peer *p, uint32_t piece);
bool peer_can(const struct peer *p, enum wire_feature f);
/* What it gave and took so far, under the endpoint where it listens if that is known. */
struct source peer_source(const struct peer *p);

static inline bool peer_is_running(const struct peer *p)
{
    return p->state == CONN_BITFIELD || p->state == CONN_RUNNING;
}
bool peer_set_have(struct peer *p, bool is_all, struct bytes bits); /* false: closed */
bool peer_join_picker(struct peer *p); /* false: closed for want of memory */
void peer_apply_early(struct peer *p); /* the metadata is here */
bool peer_close_if_useless(struct peer *p);
void peer_check(const struct peer *p);

/* --- peer_messages.c ------------------------------------------------------------------------- */
void peer_on_events(struct peer *p);

/* --- transfer_down.c ------------------------------------------------------------------------- */
void peer_update_interest(struct peer *p);
void peer_request_more(struct peer *p);
void peer_on_block_head(struct peer *p, const struct wire_block *b);
void peer_on_block_data(struct peer *p, const struct wire_event *ev);
void peer_on_choke(struct peer *p);
void peer_on_unchoke(struct peer *p);
void peer_on_reject(struct peer *p, const struct wire_block *b);
void peer_requests_tick(struct peer *p);
void peer_drop_block(struct peer *p); /* the one that is coming in */
void peer_drop_requests(struct peer *p);
void peer_send_cancel(struct peer *p, const struct wire_block *b);
size_t peer_lend(struct peer *p, struct span *out, size_t out_cap);
void session_give_spares(struct session *s); /* what lies ready for blocks to come */
void session_wake_readers(struct session *s);

/* --- transfer_up.c --------------------------------------------------------------------------- */
void peer_on_interested(struct peer *p, bool is_interested);
void peer_on_request(struct peer *p, const struct wire_block *b);
void peer_on_cancel(struct peer *p, const struct wire_block *b);
void peer_serve(struct peer *p);
void peer_set_choke(struct peer *p, bool am_choking);
void peer_grant_fast_set(struct peer *p);
void session_choker_work(struct session *s);
void session_wake_uploads(struct session *s);
