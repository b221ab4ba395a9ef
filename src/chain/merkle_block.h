/* merkle_block: a block's header with a partial merkle tree (BIP 37, "Partial Merkle branch
 * format"), which proves that some transactions are in the block; the `merkleblock` message and what
 * gettxoutproof gives.
 *
 * What is proven are leaves of the tree as far as hashes can tell: an inner node is the hash of 64
 * bytes too, so a match counts only with a transaction that is not 64 bytes long (BIP 54).
 *
 * Ownership  a parsed value borrows its input; matches are in the arena
 * Threads    pure functions
 * Errors     ERR_TRUNCATED, ERR_MALFORMED; ERR_LIMIT for more transactions than a block can hold;
 *            ERR_NO_MEMORY from the arena. err->what says which rule was broken
 */
#pragma once
#include "chain/tx.h"

/* No block has more: weight 4,000,000, and 60 bytes for the smallest transaction (as Bitcoin
 * Core). */
#define MERKLE_BLOCK_N_TXS_MAX (4000000u / (4 * 60))

struct merkle_block {
    struct block_header header;
    uint32_t n_txs; /* of the block, as the sender says */
    uint32_t n_hashes;
    struct bytes hashes; /* 32 bytes each, in the order in which a walk from the root meets them */
    struct bytes flags;  /* a bit for each node met, lowest first */
};

struct merkle_match {
    struct hash256 txid;
    uint32_t index; /* in the block */
};

/* At the reader's place; what follows is left. */
enum err_code merkle_block_read(struct reader *r, struct merkle_block *out) MUST_USE;

/* Walks the tree: every bit and hash is used, no two halves are equal (CVE-2012-2459), and the root
 * is the header's. The header itself (work, place in a chain) is not looked at. */
enum err_code merkle_block_verify(const struct merkle_block *m, struct arena *a,
                                  struct merkle_match **out, uint32_t *out_n,
                                  struct err *err) MUST_USE;
