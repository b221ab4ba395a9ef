/* choker: chooses which interested peers may download from us (BEP 3, "Choking and Optimistic
 * Unchoking").
 *
 * One choker serves a session, with the peers of all its torrents: the upload capacity is one, so
 * the slots are shared; per torrent, each would open its own and all would be slow.
 *
 *                  interested, a slot is free, or best at a rechoke
 *     CHOKED ------------------------------------------------------> UNCHOKED
 *       | ^ <----- not interested, or not among the best at a rechoke ---+ ^
 *       | |                                                                |
 *       | +--- its 30 s are over, and not among the best ---+   among the  |
 *       +------- drawn by lot, new peers weigh 3 -------> OPTIMISTIC ------+ best
 *
 * Rechoke, each 10 s. In a torrent that we download, those who give us most (tit for tat over the
 * rolling rate), a snubbing peer not at all; in one that we seed, a round robin over the fastest
 * takers: a peer keeps its slot until it has had its quota and a minute (or three minutes, or takes
 * nothing), then the one that has waited longest gets it. Seeded torrents get at least a quarter of
 * the slots, if they can use them.
 *
 * Number of slots: slot k must earn k * 2 KiB/s, so that a capacity of R KiB/s opens about sqrt(R)
 * slots. With a limit on upload that sum is done on the limit; without one on what each slot is
 * seen to carry, with half as many again open on top, looked at each second. So on a LAN, where
 * every slot carries much, all interested peers are soon unchoked.
 *
 * Ownership  peers are embedded in their owner and borrowed until choker_remove
 * Threads    one owner
 * Errors     choker_add: ERR_NO_MEMORY
 * Randomness the rng draws the optimistic unchoke
 */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

#define CHOKER_RECHOKE_US       10000000u /* BEP 3: every ten seconds */
#define CHOKER_OPTIMISTIC_US    30000000u /* BEP 3: rotates every 30 seconds */
#define CHOKER_NEW_WEIGHT       3u        /* BEP 3: new connections three times as likely */
#define CHOKER_GROW_US          1000000u  /* ours: how often free capacity is looked for */
#define CHOKER_SLOT_STEP        2048u     /* bytes/s; ours: what slot k must earn is k times this */
#define CHOKER_N_SLOTS_START    16u       /* ours: without a limit, before anything is measured */
#define CHOKER_N_SLOTS_MIN      4u        /* BEP 3 practice: fewer starves the swarm */
#define CHOKER_QUOTA_LEN_MIN    (4u << 20) /* ours; and 8 pieces, if that is more */
#define CHOKER_QUOTA_N_PIECES   8u
#define CHOKER_IDLE_US          20000000u /* ours: who takes nothing so long gives way */
#define CHOKER_IDLE_RATE        1024u
#define CHOKER_TURN_US_MAX      180000000u /* ours: a slow taker gives way to those who wait */
#define CHOKER_N_PER_OPTIMISTIC 16u        /* ours: slots for each optimistic one; at least one */
#define CHOKER_QUOTA_US         60000000u  /* as libtorrent's round robin: at least a minute */

struct choker_peer {
    /* The owner keeps these up to date. */
    uint64_t down_per_s; /* payload it sends us */
    uint64_t up_per_s;   /* payload we send it */
    uint64_t up_total;   /* payload sent, ever */
    uint32_t piece_len;
    bool is_seeding;     /* we have all we want of its torrent */
    bool is_snubbed;     /* it lets our requests hang */
    bool is_upload_only; /* wants nothing whatever it says (BEP 21, or it is a seed) */
    /* The choker's. */
    bool is_interested, is_unchoked, is_optimistic;
    bool was_tried;  /* has been unchoked before: no longer new */
    bool is_changed; /* waits in `changed` */
    bool is_chosen;  /* scratch of a rechoke */
    struct list_node in_changed;
    uint64_t unchoked_at_us; /* the last time */
    uint64_t choked_at_us;   /* the last time, or when it was added */
    uint64_t up_total_at_unchoke;
    uint64_t number; /* order of arrival: breaks every tie */
    size_t index;    /* in peers */
};

struct choker_counters {
    uint64_t n_rechokes, n_unchokes, n_chokes, n_optimistic;
};

struct choker {
    struct mem *mem;
    struct rng *rng;
    struct choker_peer **peers;
    struct choker_peer **ranked; /* scratch of the same size */
    size_t n_peers, cap;
    struct list changed;
    bool is_optimistic_off; /* set after init: no slot is given by lot, to see what that is for */
    uint32_t n_slots_fixed; /* 0: follows the capacity */
    uint64_t max_up_per_s;  /* 0: no limit */
    uint32_t n_slots, n_unchoked, n_wanting; /* wanting: interested and not upload-only */
    uint64_t rechoke_at_us, optimistic_at_us, grow_at_us;
    uint64_t n_added;
    struct choker_counters counters;
};

void choker_init(struct choker *c, struct mem *mem, struct rng *rng, uint64_t now_us,
                 uint32_t n_slots_fixed, uint64_t max_up_per_s);
void choker_clear(struct choker *c);
void choker_check(const struct choker *c);
void choker_set_limits(struct choker *c, uint64_t now_us, uint32_t n_slots_fixed,
                       uint64_t max_up_per_s);

void choker_peer_init(struct choker_peer *p);
enum err_code choker_add(struct choker *c, uint64_t now_us, struct choker_peer *p) MUST_USE;
/* Its slot is given on. */
void choker_remove(struct choker *c, uint64_t now_us, struct choker_peer *p);

/* INTERESTED and NOT INTERESTED; also after is_upload_only changed. Acts at once: a free slot is
 * given, a held one goes to another. */
void choker_on_interest(struct choker *c, uint64_t now_us, struct choker_peer *p,
                        bool is_interested);

/* When choker_on_tick is due; DEADLINE_NEVER (timer.h) while nobody is interested. The rates of
 * all peers are brought up to date before the tick. */
uint64_t choker_deadline_us(const struct choker *c);
void choker_on_tick(struct choker *c, uint64_t now_us);

/* The next peer whose is_unchoked differs from what it was last told; NULL when none. Send CHOKE
 * (and rejects, BEP 6) or UNCHOKE by p->is_unchoked. */
struct choker_peer *choker_next_change(struct choker *c);
