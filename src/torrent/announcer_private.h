/* announcer_private: what the two halves of the announcer share: announcer.c decides when and whom
 * to ask, announcer_op.c puts one question to one tracker and brings back the answer.
 */
#pragma once
#include "base/log.h"
#include "torrent/announcer.h"
#include "torrent/name_cache.h"

#define N_HASHES  2u /* v1, v2 */
#define N_STREAMS 4u /* info-hash and address family */

/* One question to one tracker. QUEUED: in a queue of the announcer; RESOLVING: in the waiting list
 * of its host's name; FETCHING, ASKING_UDP: `job` names it. */
enum op_kind { OP_ANNOUNCE, OP_SCRAPE };
enum op_state { OP_QUEUED, OP_RESOLVING, OP_FETCHING, OP_ASKING_UDP };

struct announcer_op {
    struct list_node in_torrent, in_queue;
    struct announcer_torrent *torrent;
    struct announcer_tracker *tracker;
    struct list *queue; /* that in_queue is linked into; NULL */
    enum op_kind kind;
    enum op_state state;
    enum tracker_event event;
    enum addr_family family; /* ADDR_NONE: whichever there is (scrape) */
    uint8_t hash;            /* 0 v1, 1 v2 */
    bool was_completed;      /* the torrent, when this went out */
    uint64_t job;
};

struct announcer_tracker {
    char *url;
    struct tracker_url parts; /* views of url */
    uint32_t tier;
    bool is_by_hand;
    uint8_t heard_started, heard_completed; /* a bit per stream */
    char *text;                             /* NULL: none */
    struct err err;
    struct tracker_scrape counts;
    uint32_t n_peers, n_fails;
    uint64_t announced_at_us;
    uint64_t not_before_us; /* BEP 31 */
    uint8_t *tracker_id;
    size_t tracker_id_len;
};

/*              start                     stop
 *   T_STOPPED --------> T_RUNNING ----------------> T_STOPPING
 *       ^                                              |  all told, or ANNOUNCER_STOP_US over
 *       +----------------------------------------------+  (ANNOUNCER_STOPPED)
 *
 * T_RUNNING: either `timer` is set to the next round, or n_round_ops questions are out, or both
 * (the round has succeeded and some family has not answered yet). */
enum announcer_torrent_state { T_STOPPED, T_RUNNING, T_STOPPING };

struct announcer_torrent {
    struct list_node in_stopped; /* ANNOUNCER_STOPPED is to be said */
    struct timer timer;
    uint32_t id, key;
    enum announcer_torrent_state state;
    uint8_t infohash[N_HASHES][SHA1_LEN];
    bool has_infohash[N_HASHES];
    bool is_completed; /* since announcer_start */
    const struct announcer_progress *progress;
    struct announcer_tracker **trackers; /* in the order in which they are asked */
    size_t n_trackers, trackers_cap;
    struct list ops;
    size_t current;       /* whom this round asks */
    uint32_t n_round_ops; /* RUNNING: announces of the round; STOPPING: stopped events, open */
    bool round_has_ok;
    struct err round_err;
    char round_text[TRACKER_TEXT_CAP];
    uint32_t n_fails;       /* rounds in a row in which nobody answered */
    uint64_t next_at_us;    /* when timer is set, else DEADLINE_NEVER */
    uint64_t allowed_at_us; /* the earliest that min interval allows */
};

enum job_kind { JOB_NAME, JOB_FETCH, JOB_UDP };

struct announcer_job {
    enum job_kind kind;
    struct announcer_op *op; /* NULL: called off */
    struct name_entry *name;
};

struct announcer {
    struct mem *mem;
    struct announcer_config config;
    struct log *log;
    struct rng rng;
    struct map torrents; /* id -> struct announcer_torrent * */
    struct map jobs;     /* job -> struct announcer_job */
    struct name_cache names;
    struct tracker_udp udp;
    struct timers timers;
    struct list fetch_queue, udp_queue; /* ops */
    struct list stopped;                /* torrents */
    uint32_t n_fetches;
    uint64_t last_job;
    struct announcer_want status, peers; /* kept until announcer_next */
    bool has_status, has_peers;
    struct tracker_reply reply;
    struct addr reply_peers[TRACKER_PEERS_MAX];
    char text[TRACKER_TEXT_CAP];
    char url[TRACKER_HTTP_URL_MAX];
    uint64_t counters[ANNOUNCER_N_COUNTERS];
};

/* How an op ended. err.code ERR_OK: a->reply holds the reply (of a scrape: its counts). */
struct op_outcome {
    struct err err;
    const char *text; /* the tracker's words, escaped, or "" */
};

/* --- announcer_op.c -------------------------------------------------------------------------- */

/* Queues a question. */
enum err_code op_start(struct announcer *a, struct announcer_torrent *t,
                       struct announcer_tracker *tracker, enum op_kind kind,
                       enum tracker_event event, uint8_t hash, enum addr_family family) MUST_USE;
void op_cancel(struct announcer *a, struct announcer_op *op); /* frees it */
/* Whether the tracker may have an address of this family that we could use. */
bool op_family_is_usable(const struct announcer *a, const struct announcer_tracker *tracker,
                         enum addr_family family);
/* What the ops want next: a name, a fetch, a datagram. */
bool op_next(struct announcer *a, uint64_t now_us, struct announcer_want *out);
bool op_has_next(const struct announcer *a);
void op_check(const struct announcer *a, const struct announcer_op *op);

static inline unsigned op_stream(const struct announcer_op *op)
{
    return op->hash * 2u + (op->family == ADDR_V6);
}

/* --- announcer.c ----------------------------------------------------------------------------- */

/* An op has ended; it is freed after this. */
void announcer_op_done(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                       const struct op_outcome *outcome);
