/* chainstate_internal: what the files of the chainstate share; not for others.
 *
 *   chainstate.c         open, close, flush, looking
 *   chainstate_feed.c    blocks in: headers judged, data prepared, stored in the order they came
 *   chainstate_window.c  blocks between the tip and the best candidate: applied, checked, committed
 *   chainstate_ask.c     invalidate, reconsider, precious, verify
 *   chain_background.c   what led to a snapshot, with a second chainstate over the same headers
 */
#pragma once
#include "chain/chain_block.h"
#include "chain/chainstate.h"

#define CHAIN_IN_FLIGHT_LEN   (4u << 20) /* ours: some 30 blocks of 2013, one of today */
#define CHAIN_IN_FLIGHT_N_MIN 4u         /* ours: however large they are */
#define CHAIN_IN_FLIGHT_N_MAX 256u       /* ours: however small they are */
#define CHAIN_JOBS_AHEAD      24u /* ours: script jobs out per thread before applying waits */
#define CHAIN_COINS_LEN       ((size_t)450 << 20) /* Bitcoin Core's default */
#define CHAIN_KEEP_BLOCKS     288u /* Bitcoin Core: never pruned; deepest reorganisation */

/* A block that leads to the base and can never be valid. */
struct chain_past_fault {
    bool is_known;
    uint32_t node;
    struct reject reject;
};

struct chainstate {
    struct chainstate_config c;
    struct chain_params params;
    struct mem *mem;
    struct header_chain *headers;
    struct block_tree tree;
    struct coins_cache *coins;
    struct chain_runner runner;
    struct chain_job *inline_done; /* without a runner of the caller's */
    struct mem inline_mem;
    uint32_t tip;        /* verified */
    uint32_t on_disk;    /* whose coins are on disk */
    bool store_is_empty; /* there are none: nothing need be fetched */
    struct list fed;     /* being prepared, in the order they came */
    struct list hot;     /* stored, still parsed in memory */
    struct list applied; /* from the tip's child on: in the coins, checks under way */
    struct list window;  /* what follows: not in the coins yet */
    struct list spare;
    size_t in_flight_len, n_in_flight; /* of the first four lists */
    size_t n_jobs_out;                 /* of any kind */
    struct chainstate_stats stats;
    uint64_t connect_until; /* of stats.n_connected: not beyond it now */
    /* While tree.base is a block: */
    uint32_t past_from; /* height from which on blocks are needed to validate the past */
    bool is_past_valid; /* chain_background came to the base's coins */
    bool is_past_wrong; /* ... or did not: no going on from these coins */
    struct chain_past_fault fault;
};

/* Whether node is the base or leads to it. */
static inline bool chainstate_is_past(const struct chainstate *s, uint32_t node)
{
    return s->tree.base != HEADER_NONE && header_is_ancestor(s->headers, node, s->tree.base);
}

/* --- blocks in flight --- */
/* For the block of a node: what its checks need of the headers is in it. NULL: no memory. */
struct chain_block *chainstate_take_spare(struct chainstate *s, uint32_t node);
void chainstate_release(struct chainstate *s, struct list *from, struct chain_block *b);
void chainstate_submit(struct chainstate *s, struct chain_block *b, struct chain_job *j);
/* Jobs that are done; wait: at least one when some are out. */
bool chainstate_collect(struct chainstate *s, bool wait);
void chainstate_wait_for(struct chainstate *s, const struct chain_block *b);
bool chainstate_is_full(const struct chainstate *s);

void chainstate_tell(struct chainstate *s, enum chain_event_kind kind, uint32_t node,
                     const struct hash256 *hash, const struct reject *r);
enum err_code chainstate_put_record(struct chainstate *s, uint32_t node, struct err *err) MUST_USE;

/* --- feed --- */
/* Stores what is prepared, in order; whether anything was done. */
bool chainstate_finish_fed(struct chainstate *s, struct err *err);

/* --- window --- */
/* One round: collect, store, commit, fill, apply. false: nothing to do but wait for jobs. */
bool chainstate_turn(struct chainstate *s, bool may_apply, struct err *err);
/* Hot blocks that lead nowhere go; whether any did. */
bool chainstate_trim(struct chainstate *s);
/* Until every block that was applied is committed or taken back. */
enum err_code chainstate_settle(struct chainstate *s, struct err *err) MUST_USE;
/* The window is given up; what was applied is taken back. Waits for jobs. */
enum err_code chainstate_drop_window(struct chainstate *s, struct err *err) MUST_USE;
enum err_code chainstate_disconnect_tip(struct chainstate *s, struct err *err) MUST_USE;
/* The tip went back for no better one, by a failure: what it had beaten may be a candidate again. */
void chainstate_went_back(struct chainstate *s);
enum err_code chainstate_write_coins(struct chainstate *s, struct err *err) MUST_USE;
/* The block of a node from disk, parsed, with its undo data taken: into a spare chain_block. */
enum verdict chainstate_load(struct chainstate *s, uint32_t node, bool with_undo,
                             struct chain_block **out, struct reject *r) MUST_USE;
