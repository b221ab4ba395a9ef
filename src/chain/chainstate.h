/* chainstate: the most-work valid chain and its coins: takes blocks in any order, connects,
 * reorganises through undo data to any depth, remembers what is invalid, survives crashes.
 *
 * A block's life:
 *
 *   accept          window (read, parsed, checked by     connect (inputs, amounts, locks; in order)
 *   HAS_DATA -----> itself, coins fetched: any thread) ----------> scripts (any thread) --+
 *      |                                                                                   |
 *      +--- INVALID: FAILED, its descendants with it <------------------------------ in order: VALID
 *
 * The coins run ahead: block N + 1 is applied while the scripts of N are still being checked. The
 * tip that others see is the last block all of whose checks came back; coins are written to disk
 * only there. When a script fails, everything above is taken back from the undo data in memory.
 *
 * Ownership  a struct chain_block (raw bytes, arena, parsed block, spent coins) belongs to the
 *            window from the moment it is read until its own checks have ALL come back, on the
 *            failing path too: nothing a check points at can go before it does
 * Threads    one owner. With a runner (chain_runner) its threads see chain_blocks that are handed
 *            to them and nothing else; without one everything runs in the caller
 * Errors     verdicts about blocks; ERR_* when the world fails: then nothing is marked, and the
 *            same call may be tried again
 * Crash      coins carry their tip (coins_store.h). On open the index is read, the coins' block is
 *            found, and the chain moves on from there. Blocks that were connected above are
 *            connected again: nothing needs to be rolled back
 *
 * A chain that began with a snapshot's coins (snapshot.h) says so when it is opened: its block is
 * the base. Blocks on top of it connect as usual; what led to it is validated by a second
 * chainstate (chain_background.h). Until then blocks below the base are taken in any order, no
 * branch that leaves below it is moved to, however heavy (UNDECIDED: its coins cannot be had),
 * nothing below it can be invalidated, and pruning keeps what the second one still needs.
 */
#pragma once
#include "chain/block_tree.h"
#include "chain/chain_runner.h"
#include "chain/chain_store.h"
#include "chain/connect.h"
#include "chain/script_verify.h"

struct chainstate;

enum chain_event_kind {
    CHAIN_CONNECTED,
    CHAIN_DISCONNECTED,
    CHAIN_STORED,  /* a block that was fed is right by itself and kept */
    CHAIN_REFUSED, /* a block that was fed is not; node is NONE when its header is unknown */
    CHAIN_INVALID, /* a stored block broke a rule when it was connected */
};
struct chain_event {
    enum chain_event_kind kind;
    uint32_t node; /* in the header chain, or HEADER_NONE */
    uint32_t height;
    struct hash256 hash;
    const struct reject *reject; /* REFUSED, INVALID; until the call returns */
};

struct chainstate_config {
    const struct chain_params *params;
    struct mem *mem;
    uint64_t rng_seed;
    const struct chain_store *blocks;
    const struct coins_store *coins;
    const struct chain_runner *runner; /* NULL: everything in the caller */
    struct script_cache *cache;        /* may be NULL */
    size_t coins_cap_len;              /* coins in memory; default 450 MiB */
    uint64_t prune_target_len;         /* 0: keep all */
    struct hash256 assume_valid;       /* scripts of its ancestors are not run; zero: all are */
    bool has_assume_valid;             /* false: the network's own */
    size_t in_flight_cap_len;          /* raw bytes of blocks between feed and tip; 0: 4 MiB */
    bool is_read_only;
    /* The coins came from a snapshot of this block, and what led to it is not validated. */
    bool has_snapshot;
    struct hash256 snapshot_block;
    uint64_t snapshot_n_chain_txs; /* transactions up to it; 0: not known */
    /* Of another chainstate, which outlives this one; NULL: its own. */
    struct header_chain *headers;
    /* Called when a block got its verdict or the tip moved; may be NULL. Called from within the
     * calls below, on the owner's thread; must not call back in. */
    void (*on_event)(void *ctx, const struct chain_event *e);
    void *on_event_ctx;
};

enum err_code chainstate_open(struct chainstate **out, const struct chainstate_config *c,
                              struct err *err) MUST_USE;
/* Checks come back, coins and index are written. Then frees, also when writing failed. */
enum err_code chainstate_close(struct chainstate *s, struct err *err) MUST_USE;

/* advise is told of the coins' large blocks of memory as they come (io/huge_pages.h). */
void chainstate_advise(struct chainstate *s, void (*advise)(void *p, size_t len));

/* --- putting in ----------------------------------------------------------------------------- */

/* Headers: see header_chain.h. */
enum verdict chainstate_add_header(struct chainstate *s, const struct block_header *h,
                                   int64_t now_s, uint32_t *out_node, struct reject *r) MUST_USE;

/* A whole block. Its header must be fine, its parent known and not failed, its data right; then it
 * is stored and VALID means "taken": whether it connects is told by chainstate_advance.
 * Known already: VALID, *out_is_new false. Waits for blocks fed before. */
enum verdict chainstate_accept(struct chainstate *s, struct bytes raw, int64_t now_s,
                               uint32_t *out_node, bool *out_is_new, struct reject *r) MUST_USE;
/* The same without waiting: raw is copied; the header is judged now (the verdict), the rest while
 * others are fed, in order: events tell (STORED or REFUSED). When too much is in flight, blocks are
 * connected first; *err says when that failed for the world's reasons (the verdict is then
 * UNDECIDED and the block was not taken). */
enum verdict chainstate_feed(struct chainstate *s, struct bytes raw, int64_t now_s,
                             struct reject *r) MUST_USE;

/* Move to the best chain there is, at most n_max blocks (0: as far as it goes), after all that was
 * fed has been judged. *out_is_done: no better chain is left. ERR_*: the world failed, the state is
 * as consistent as before. */
enum err_code chainstate_advance(struct chainstate *s, size_t n_max, bool *out_is_done,
                                 struct err *err) MUST_USE;
/* Coins, blocks and index to disk now. */
enum err_code chainstate_flush(struct chainstate *s, struct err *err) MUST_USE;

/* invalidateblock, reconsiderblock, preciousblock of Bitcoin Core's RPC; each is followed by
 * chainstate_advance. ERR_PROTOCOL: the base, or what led to it, cannot be invalidated. */
enum err_code chainstate_invalidate(struct chainstate *s, uint32_t node, struct err *err) MUST_USE;
enum err_code chainstate_reconsider(struct chainstate *s, uint32_t node, struct err *err) MUST_USE;
enum err_code chainstate_precious(struct chainstate *s, uint32_t node, struct err *err) MUST_USE;

/* What led to the base is validated (chain_background.h) and the owner has noted it where it opens
 * the chain from: from now on this is a chain like any other. Followed by chainstate_advance. */
enum err_code chainstate_trust_past(struct chainstate *s, struct err *err) MUST_USE;

/* --- looking at ----------------------------------------------------------------------------- */

uint32_t chainstate_tip(const struct chainstate *s); /* verified, as a node */
/* The snapshot's block while what led to it is not validated, or HEADER_NONE. */
uint32_t chainstate_base(const struct chainstate *s);
const struct header_chain *chainstate_headers(const struct chainstate *s);
uint32_t chainstate_status(const struct chainstate *s, uint32_t node); /* enum block_status */
uint32_t chainstate_n_txs(const struct chainstate *s, uint32_t node);  /* 0: not seen */
uint64_t chainstate_n_chain_txs(const struct chainstate *s, uint32_t node);
/* The coins cache; only at rest (no block in flight: after advance). */
struct coins_cache *chainstate_coins(struct chainstate *s);
/* Of the same, at any time. */
void chainstate_coins_stats(const struct chainstate *s, struct coins_cache_stats *out);
enum err_code chainstate_read_block(struct chainstate *s, uint32_t node, struct buf *out,
                                    struct err *err) MUST_USE;
enum err_code chainstate_read_undo(struct chainstate *s, uint32_t node, struct arena *a,
                                   struct buf *raw, struct undo_block *out,
                                   struct err *err) MUST_USE;
/* Tips as getchaintips lists them: every node without children, and the active tip. */
size_t chainstate_tips(const struct chainstate *s, uint32_t *out_nodes, size_t n_max);

/* Check node's block again without changing anything (verify): levels 1 and 2 read it and check what
 * needs no coins, 3 amounts and locks with its undo data, 4 scripts too. Damage on the disk is
 * UNDECIDED. */
enum verdict chainstate_verify_block(struct chainstate *s, uint32_t node, unsigned level,
                                     struct reject *r) MUST_USE;

struct chainstate_stats {
    uint64_t n_connected, n_disconnected, n_invalid, n_txs, n_inputs, n_scripts_skipped;
    uint64_t n_accepted, n_duplicate, n_refused, n_mutated, n_undecided;
    uint64_t block_len;              /* bytes of connected blocks */
    uint64_t n_coin_writes, n_falls; /* falls: back to the tip on disk, memory having failed */
    uint32_t n_in_flight_max;
};
void chainstate_stats(const struct chainstate *s, struct chainstate_stats *out);
void chainstate_check(const struct chainstate *s);
