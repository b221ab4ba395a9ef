/* chain_miner: makes blocks of a network without difficulty (regtest): for tests and simulations.
 * Outputs are anyone's (OP_TRUE), so blocks test everything but signatures.
 *
 * Ownership  what is built goes into the caller's buf
 * Threads    pure functions
 * Errors     none: running out of memory shows as the buf's sticky error
 */
#pragma once
#include "base/buf.h"
#include "chain/block.h"

struct miner_in {
    struct outpoint prev;
    uint32_t sequence;
};

struct miner_tx {
    const struct miner_in *in;
    const int64_t *out_sat;
    uint32_t n_in, n_out;
    uint32_t version, lock_time;
};

struct miner_block {
    struct hash256 prev;
    uint32_t height, time, bits;
    uint64_t extra_nonce; /* makes the coinbase, and so the block, one of its own */
    int64_t coinbase_sat;
    const struct bytes *txs; /* serialised, without the coinbase */
    uint32_t n_txs;
};

void chain_miner_tx(const struct miner_tx *t, struct buf *out, struct hash256 *out_txid);
/* *out_txid: the coinbase's (may be NULL). */
void chain_miner_block(const struct chain_params *p, const struct miner_block *m, struct buf *out,
                       struct hash256 *out_hash, struct hash256 *out_txid);
