/* connect: one block against the coins: inputs exist, mature, pay enough, locks and sigops hold
 * (ConnectBlock in Bitcoin Core, without the scripts, which other threads check: script_jobs.h).
 *
 * Ownership  the connect borrows block, parameters and headers; its arrays are in the arena given
 *            to connect_init, spent scripts too: they live as long as the arena
 * Threads    one owner, the coins cache's
 * Errors     verdict; a block that is not VALID leaves the coins as they were. UNDECIDED: the world
 *            failed. If even taking back fails (no memory), the cache is unusable: connect_apply
 *            says so in *out_is_broken and the owner drops the cache and starts from the disk
 */
#pragma once
#include "chain/block.h"
#include "chain/coins_cache.h"
#include "chain/header_chain.h"
#include "chain/undo.h"

struct connect {
    const struct chain_params *p;
    const struct header_chain *headers;
    const struct block *block;
    uint32_t node, height;
    uint32_t mtp_prev;
    uint32_t script_flags;
    /* Inputs of all transactions but the coinbase, in order: what they spend. */
    struct coin *coins;
    struct tx_out *spent; /* the same for tx_spend_init */
    uint32_t *first_in;   /* of transaction i among them; n_txs + 1 of them */
    int64_t fees_sat;
    uint64_t sigop_cost;
    uint32_t n_txs_done; /* transactions whose changes are in the cache */
    uint32_t n_in_done;  /* inputs of the next transaction that are spent already */
};

/* node: the block's; its parent is what the cache stands at. */
enum err_code connect_init(struct connect *c, const struct chain_params *p,
                           const struct header_chain *headers, uint32_t node, const struct block *b,
                           struct arena *a) MUST_USE;
enum verdict connect_apply(struct connect *c, struct coins_cache *coins, struct arena *a,
                           struct reject *r, bool *out_is_broken) MUST_USE;
/* Takes everything back. ERR_MALFORMED: the coins do not fit the block. */
enum err_code connect_unapply(struct connect *c, struct coins_cache *coins,
                              struct err *err) MUST_USE;

/* For a block on disk: what it spent comes from its undo data, and is there to be unapplied or
 * judged again. */
enum err_code connect_take_undo(struct connect *c, const struct undo_block *u,
                                struct err *err) MUST_USE;
/* Every rule of connect_apply that needs no set of coins. */
enum verdict connect_judge(struct connect *c, struct reject *r) MUST_USE;
/* The undo data as the codec wants it; arrays in the arena. */
enum err_code connect_undo(const struct connect *c, struct arena *a,
                           struct undo_block *out) MUST_USE;
/* Outputs that this block makes may already be there (BIP 30): whether that must be looked at. */
bool connect_needs_bip30(const struct connect *c);
