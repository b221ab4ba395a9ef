/* picker: decides which block is asked of which peer next (BEP 3, "peer protocol": random order to
 * begin with; rarest first and end-game as the field does them).
 *
 *              pick opens it            last block arrives
 *     IDLE -----------------> PARTIAL -------------------> FULL
 *      ^ ^                       |                          |  |
 *      | +-- nothing received ---+                          |  | picker_on_piece_good
 *      |     and nothing asked                              |  v
 *      +------------ picker_on_piece_bad -------------------+ HAVE
 *
 * IDLE     no block asked for or received. If its priority is not 0 it stands in the order of its
 *          priority: an array sorted by availability, cut in buckets, random inside a bucket, so
 *          that one HAVE is one swap across a bucket's boundary. Seeds are one counter.
 * PARTIAL  has a table of blocks: free, asked (of whom, when, by how many), received (from whom).
 * FULL     all blocks received; its hash is being checked. HAVE: verified.
 *
 * What a peer is offered, in this order: the piece it is at work on; partial pieces that no one is
 * at work on; partial pieces of its own speed class (a fast peer prefers a piece of its own); a new
 * piece, rarest first (the first PICKER_N_RANDOM_FIRST ones at random; lowest index when
 * sequential); any partial piece; and at the end, when no free block is left anywhere, blocks asked
 * of others, at most PICKER_N_COPIES_MAX at once; more only while nobody answers, slowly. A block whose request is late (picker_expire) is
 * free for others and the late request is remembered, so a slow peer holds nothing hostage and its
 * answer still counts.
 *
 * Ownership  peers are embedded in their owner and borrowed from picker_add_peer until
 *            picker_remove_peer; so is their bitset, which meanwhile changes only through here
 * Threads    one owner
 * Errors     picker_init: ERR_NO_MEMORY. Later shortage of memory: less is picked (n_refused)
 * Bounds     a pick looks at most at PICKER_SCAN_MAX pieces of the order, then at a sample of what
 *            the peer has; requests are as many as were picked; partial pieces: n_partials_max
 */
#pragma once
#include "base/bitset.h"
#include "base/list.h"
#include "base/rng.h"
#include "torrent/peer_wire.h"

#define PICKER_BLOCK_LEN        16384u
#define PICKER_N_RANDOM_FIRST   4u  /* BEP 3 practice: as libtorrent's initial_picker_threshold */
#define PICKER_N_COPIES_MAX     3u  /* ours: requests for one block under way in the end-game */
#define PICKER_N_OLD_COPIES_MAX 8u  /* ours: ... one more each PICKER_STALE_US that none answers */
#define PICKER_N_CHAIN_MAX      8u  /* ours: the same and late ones; the oldest late one goes */
#define PICKER_N_DUPLICATES_MAX 16u /* ours: end-game requests under way per peer */
#define PICKER_SCAN_MAX         2048u /* ours: bench_picker */
#define PICKER_SAMPLE_MAX       256u  /* ours: the best of so many random ones is rare enough */
#define PICKER_EXTENT_LEN       (4u << 20) /* a fast peer's run of equally rare pieces stays in one */
#define PICKER_STALE_US         5000000u   /* ours: asked so long ago, an idle peer may be asked */
#define PICKER_YOUNG_US         500000u    /* ours: ... and before this of nobody */
#define PICKER_N_PACES          8u /* ours: "much less": so many of its blocks would come sooner */
#define PICKER_N_LATE_MAX       32u /* ours: a peer that owes so many late blocks is asked for no more */
#define PICKER_FORGET_US        120000000u /* ours: a late request so much older than late is forgotten */
#define PICKER_PRIORITY_MAX     7u
#define PICKER_PRIORITY_DEFAULT 4u
#define PICKER_NONE             UINT32_MAX
#define PICKER_SENDER_NONE      0u

enum picker_speed { PICKER_SLOW, PICKER_MEDIUM, PICKER_FAST }; /* see pipeline_speed() */

struct picker_peer {
    struct list_node in_picker;
    const void *owner;      /* for whoever reads picker_why */
    struct bitset *have;    /* borrowed; may be NULL when is_seed */
    bool is_seed;           /* had everything when it was added (bitfield or have all) */
    bool is_on_parole;      /* set by the owner at any time: gets whole pieces of its own only */
    uint8_t speed;          /* enum picker_speed; set by the owner at any time */
    uint32_t patience_us;   /* end-game copies of what it was asked for wait so long, */
    uint32_t pace_us;       /* unless it would take another much less; 0: not known */
    uint32_t sender;        /* kept with each block received; the owner's number (blame.h) */
    uint32_t n_interesting; /* pieces it has that are wanted and not verified */
    uint32_t n_requests;    /* under way, late ones included */
    uint32_t n_late, n_duplicates;
    uint32_t first_request, last_request; /* the oldest and newest, PICKER_NONE when none */
    uint32_t piece;                       /* the partial piece it works on, or PICKER_NONE */
};

struct picker_order { /* IDLE pieces of one priority, rarest first */
    uint32_t *pieces;
    uint32_t n, cap;
    uint32_t *starts; /* bucket a is pieces[starts[a]] .. pieces[starts[a + 1] - 1] */
    uint32_t n_buckets, starts_cap;
};

struct picker_piece;
struct picker_partial;
struct picker_request;

struct picker_config {
    uint32_t n_pieces;
    uint32_t piece_len;
    /* Bytes of a piece that are asked for: without the pad bytes at its end
     * (layout_piece_data_len). 0: the piece is never asked for. */
    uint32_t (*data_len)(const void *ctx, uint32_t piece);
    const void *ctx;
    bool is_sequential;
    bool is_random;          /* instead of rarest first: what that is worth, the simulator shows */
    uint32_t n_partials_max; /* 0: no bound but the peers' */
};

struct picker_counters {
    uint64_t n_picked, n_duplicate_requests, n_refused, n_rebuilds, n_scanned, n_sampled;
};

struct picker {
    struct mem *mem;
    struct rng *rng;
    struct picker_config config;
    struct picker_piece *pieces;
    struct bitset have;   /* verified */
    struct bitset wanted; /* priority not 0, not verified */
    struct bitset idle;   /* wanted and in state IDLE: what an order holds */
    struct picker_order orders[PICKER_PRIORITY_MAX + 1]; /* [0] is never used */
    bool is_order_stale;                                 /* the next pick sorts anew */
    bool is_interest_stale;                              /* until picker_update_interest */
    uint32_t n_idle;
    struct picker_partial **partials; /* PARTIAL and FULL; those with free blocks first */
    uint32_t n_partials, n_open, partials_cap;
    struct picker_request *requests;
    uint32_t n_requests_used, requests_cap, free_request;
    struct list peers;
    uint32_t n_seeds;
    uint32_t duplicate_cursor;
    uint64_t pick_serial;
    struct picker_counters counters;
};

/* --- life ------------------------------------------------------------------------------------ */

/* All pieces IDLE at the default priority. A torrent that has everything needs no picker. */
enum err_code picker_init(struct picker *p, struct mem *mem, struct rng *rng,
                          const struct picker_config *config) MUST_USE;
void picker_clear(struct picker *p); /* the peers are removed first */
void picker_check(const struct picker *p);

void picker_set_sequential(struct picker *p, bool is_sequential);
void picker_set_partials_max(struct picker *p, uint32_t n); /* 0: no bound but the peers' */
/* 0 not wanted .. 7. For many at once: cheap enough to call for each piece (O(1), the order and
 * the peers' interest are made anew by picker_update_interest). */
void picker_set_priority(struct picker *p, uint32_t piece, uint8_t priority);
uint8_t picker_priority(const struct picker *p, uint32_t piece);
/* After priorities changed: n_interesting of every peer. O(peers * n_pieces / 64). */
void picker_update_interest(struct picker *p);

/* --- peers ----------------------------------------------------------------------------------- */

/* have: n_pieces bits with what is known so far; or NULL for a seed. */
void picker_peer_init(struct picker_peer *peer, const void *owner, struct bitset *have,
                      bool is_seed);
void picker_add_peer(struct picker *p, struct picker_peer *peer);
void picker_remove_peer(struct picker *p, struct picker_peer *peer); /* drops its requests too */
/* HAVE. False: nothing new. Sets the bit of peer->have. */
bool picker_on_have(struct picker *p, struct picker_peer *peer, uint32_t piece);
/* BEP 54. False: it had said no such thing. Drop the piece's requests with picker_on_reject. A peer
 * added as a seed must be added anew with a bitset first. */
bool picker_on_dont_have(struct picker *p, struct picker_peer *peer, uint32_t piece);
bool picker_peer_has(const struct picker_peer *peer, uint32_t piece);
static inline bool picker_is_interesting(const struct picker_peer *peer)
{
    return peer->n_interesting > 0;
}

/* --- requests -------------------------------------------------------------------------------- */

/* Up to n blocks to ask of the peer now; they count as asked from here on. Fewer than n: there is
 * nothing more for this peer now; ask again after a HAVE, a drop of others' requests, a failed piece,
 * and at least each second (requests of others grow old and late). */
uint32_t picker_pick(struct picker *p, uint64_t now_us, struct picker_peer *peer, uint32_t n,
                     struct wire_block *out);
/* The same from one piece (BEP 6: allowed fast while choked, suggest), which must be wanted and the
 * peer's; otherwise 0. */
uint32_t picker_pick_piece(struct picker *p, uint64_t now_us, struct picker_peer *peer,
                           uint32_t piece, uint32_t n, struct wire_block *out);

enum picker_block_result {
    PICKER_BLOCK_NEW,         /* was asked of this peer: keep it */
    PICKER_BLOCK_DUPLICATE,   /* already here: throw it away (end-game, or late) */
    PICKER_BLOCK_UNREQUESTED, /* not asked of this peer, or no longer, or not a block */
};
/* What a piece message with this head would be, before its payload is read. */
enum picker_block_result picker_look(const struct picker *p, const struct picker_peer *peer,
                                     const struct wire_block *b);
struct picker_cancels {
    struct picker_peer *peers[PICKER_N_CHAIN_MAX]; /* each was asked for the same block */
    uint32_t n;
};
struct picker_arrival {
    uint64_t sent_at_us; /* when it was asked for */
    bool was_late;
    bool is_piece_full;            /* that was the last block: FULL now */
    struct picker_cancels cancels; /* their requests are forgotten here; send them CANCEL */
};
/* A whole block has come. With NEW, *out is filled; else only the peer's own request, if any, is
 * forgotten. */
enum picker_block_result picker_on_block(struct picker *p, struct picker_peer *peer,
                                         const struct wire_block *b, struct picker_arrival *out);
/* REJECT, or a request that could not be sent, or one called off. False: no such request. */
bool picker_on_reject(struct picker *p, struct picker_peer *peer, const struct wire_block *b);
/* CHOKE without the fast extension, disconnect: all requests of the peer, O(their number). */
uint32_t picker_drop_requests(struct picker *p, struct picker_peer *peer);
/* Requests of the peer sent before sent_before_us turn late: their blocks are free for others. They
 * stay in n_requests, for the peer may still be sending them: hold n_requests, not the rest, against
 * the queue's target, or a slow peer is asked for more and more. One that is late already and
 * PICKER_FORGET_US older is forgotten. Returns how many turned late. */
uint32_t picker_expire(struct picker *p, struct picker_peer *peer, uint64_t sent_before_us);
uint64_t picker_oldest_request_us(const struct picker *p,
                                  const struct picker_peer *peer); /* not late; UINT64_MAX: none */
/* Walk the requests of a peer, oldest first: start with *cursor = peer->first_request. What was
 * returned may be rejected or dropped before the next step. The last two may be NULL. */
bool picker_next_request(const struct picker *p, uint32_t *cursor, struct wire_block *out,
                         uint64_t *out_sent_at_us, bool *out_is_late);

/* --- pieces ---------------------------------------------------------------------------------- */

enum picker_state { PICKER_IDLE, PICKER_PARTIAL, PICKER_FULL, PICKER_HAVE };
enum picker_state picker_state(const struct picker *p, uint32_t piece);
/* Verified, now or at start (resume, recheck): any state becomes HAVE. Requests still under way for
 * it are cancelled one by one: call until it gives false, sending CANCEL to each *out_peer. */
bool picker_on_piece_good(struct picker *p, uint32_t piece, struct picker_peer **out_peer,
                          struct wire_block *out_block);
/* Failed its hash: all its blocks are free again. is_whole: next time it is downloaded from one
 * peer alone, so that the copy has one sender (blame.h). FULL pieces only. */
void picker_on_piece_bad(struct picker *p, uint32_t piece, bool is_whole);
/* v2: one block of a PARTIAL or FULL piece was bad: it alone is free again. */
void picker_on_block_bad(struct picker *p, uint32_t piece, uint32_t block);
/* A verified piece is lost (recheck, disk error). */
void picker_on_piece_lost(struct picker *p, uint32_t piece);
/* Resume of a partial piece: the block is here already. False: no memory, or not a block. */
bool picker_preload_block(struct picker *p, uint32_t piece, uint32_t block, uint32_t sender);

uint32_t picker_n_blocks(const struct picker *p, uint32_t piece);
bool picker_has_block(const struct picker *p, uint32_t piece,
                      uint32_t block); /* received or HAVE */
/* Senders of the blocks received: PICKER_SENDER_NONE where there is none. Returns n_blocks, or 0
 * when the piece is not PARTIAL or FULL. out_cap >= n_blocks. */
uint32_t picker_senders(const struct picker *p, uint32_t piece, uint32_t *out, uint32_t out_cap);

/* --- what stats and `why` ask ---------------------------------------------------------------- */

uint32_t picker_availability(const struct picker *p, uint32_t piece); /* seeds included */
/* Copies among peers of the rarest wanted, missing piece; UINT32_MAX when nothing is missing. */
uint32_t picker_min_availability(struct picker *p);
struct picker_why {
    uint32_t n_missing;                     /* wanted, not verified */
    uint32_t n_checking;                    /* of them FULL */
    uint32_t n_unavailable;                 /* of them not FULL and nobody here has them */
    uint32_t unavailable;                   /* the first of those, or PICKER_NONE */
    uint32_t n_blocks_missing;              /* in partial pieces */
    uint32_t n_blocks_asked, n_blocks_late; /* blocks whose only requests are late */
    const struct picker_peer *oldest_peer;  /* holds the oldest request for a missing block */
    struct wire_block oldest_block;
    uint64_t oldest_sent_at_us;
};
/* O(n_pieces): for people, not for every block. */
void picker_why(const struct picker *p, struct picker_why *out);
