/* block: headers and blocks: parse, merkle roots with mutation detection, rules without context.
 *
 * Ownership  see primitives.h
 * Threads    pure functions
 * Errors     as tx.h; rules answer with a verdict (verdict.h)
 */
#pragma once
#include "chain/params.h"
#include "chain/tx.h"
#include "chain/verdict.h"

#define BLOCK_WEIGHT_MAX     4000000u    /* BIP 141 */
#define BLOCK_SIGOP_COST_MAX 80000u      /* BIP 141 */
#define WITNESS_SCALE        4u          /* BIP 141 */
#define COINBASE_MATURITY    100u        /* consensus */
#define BLOCK_RAW_LEN_MAX    (32u << 20) /* ours: more is not looked at; weight judges the rest */

enum err_code block_header_read(struct reader *r, struct block_header *out) MUST_USE;
void block_header_write(struct writer *w, const struct block_header *h); /* 80 bytes */
void block_header_hash(const struct block_header *h, struct hash256 *out);
/* Double SHA-256 of n raw 80-byte headers lying one after another; several at a time. */
void block_header_hash_many(const uint8_t *raw, size_t n, struct hash256 *out);

/* All of raw is one block. Transactions are hashed (txid, wtxid), the block too. */
enum err_code block_read(struct bytes raw, struct arena *a, struct block *out,
                         struct err *err) MUST_USE;

/* Merkle root of n ids; ids is overwritten. *out_is_mutated (may be NULL): two equal neighbours
 * were hashed together at some level (CVE-2012-2459). n 0 gives zeros. */
void block_merkle_root(struct hash256 *ids, size_t n, struct hash256 *out, bool *out_is_mutated);

/* Index of the coinbase output with the witness commitment (BIP 141: the last that matches), or
 * -1; *out (may be NULL): the 32 bytes. */
int block_witness_commitment(const struct block *b, struct hash256 *out);

/* CheckBlock: merkle root, size, coinbase first and only, each transaction's own rules, legacy
 * sigops. Not the proof of work (header_chain.h). */
enum verdict block_check(const struct block *b, struct arena *scratch, struct reject *r) MUST_USE;
/* ContextualCheckBlock: finality (BIP 113), coinbase height (BIP 34), witness commitment and
 * unexpected witness (BIP 141), weight. height: of b, which passed block_check; mtp_prev: median
 * time past of its parent. */
enum verdict block_check_context(const struct block *b, const struct chain_params *p,
                                 uint32_t height, uint32_t mtp_prev, struct arena *scratch,
                                 struct reject *r) MUST_USE;
/* The part of both that says whether the data is what the header commits to (IsBlockMutated in
 * Bitcoin Core): merkle root; for a block without coinbase no transaction of 64 bytes, which could
 * be a merkle node; witness commitment. INVALID only with is_mutated. */
enum verdict block_check_mutation(const struct block *b, bool is_segwit, struct arena *scratch,
                                  struct reject *r) MUST_USE;
/* BIP 325: the signet solution of a block satisfies the challenge. */
enum verdict block_check_signet(const struct block *b, struct bytes challenge,
                                struct arena *scratch, struct reject *r) MUST_USE;

/* Block subsidy at a height. */
int64_t block_subsidy(const struct chain_params *p, uint32_t height);
/* BIP 113: whether t may be in a block of this height whose cut-off time is time. */
bool tx_is_final(const struct tx *t, uint32_t height, int64_t time);
