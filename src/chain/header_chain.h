/* header_chain: every header we know as a tree: proof of work, difficulty, work, ancestors.
 *
 * A header is a node number: 0 is genesis, others in order of arrival, never removed. The tree
 * holds headers that passed their checks (header_chain_add); what is known of their blocks is
 * chainstate's (chainstate.h). Mainnet's 900,000 headers load in under two seconds and fit in 120
 * bytes each, hash table included.
 *
 * Ownership  owns its arrays; params are borrowed
 * Threads    one owner; read-only calls may run on others while nothing is added
 * Errors     a verdict with Core's reason: "high-hash", "bad-diffbits", "time-too-old",
 *            "time-too-new" (transient), "bad-version(0x...)", "time-timewarp-attack",
 *            "prev-blk-not-found" (transient)
 */
#pragma once
#include "base/map.h"
#include "chain/params.h"
#include "chain/verdict.h"

#define HEADER_NONE     UINT32_MAX
#define HEADER_FUTURE_S 7200u /* consensus-adjacent: a block may be two hours ahead of our clock */

struct header_chain;

enum err_code header_chain_new(struct header_chain **out, struct mem *mem, struct map_seed seed,
                               const struct chain_params *p, size_t n_max) MUST_USE;
void header_chain_free(struct header_chain *c);

/* Checks h against its parent and adds it. Known already: VALID, *out_node names it. now_s: the
 * clock, for the two-hour rule. hash: of h, computed by the caller. */
enum verdict header_chain_add(struct header_chain *c, const struct block_header *h,
                              const struct hash256 *hash, int64_t now_s, uint32_t *out_node,
                              struct reject *r) MUST_USE;
/* n raw headers in order, hashed several at a time; stops at the first that is refused, *out_n are
 * in. */
enum verdict header_chain_add_many(struct header_chain *c, const uint8_t *raw, size_t n,
                                   int64_t now_s, size_t *out_n, struct reject *r) MUST_USE;

uint32_t header_chain_find(const struct header_chain *c, const struct hash256 *hash); /* or NONE */
size_t header_chain_n(const struct header_chain *c);
const struct hash256 *header_hash(const struct header_chain *c, uint32_t node);
void header_get(const struct header_chain *c, uint32_t node, struct block_header *out);
uint32_t header_parent(const struct header_chain *c, uint32_t node); /* NONE for genesis */
uint32_t header_height(const struct header_chain *c, uint32_t node);
uint32_t header_time(const struct header_chain *c, uint32_t node);
uint32_t header_bits(const struct header_chain *c, uint32_t node);
struct u256 header_work(const struct header_chain *c, uint32_t node); /* genesis to here */
int header_compare_work(const struct header_chain *c, uint32_t a, uint32_t b);
/* Median of the times of node and its ten ancestors (BIP 113). */
uint32_t header_median_time(const struct header_chain *c, uint32_t node);
uint32_t header_ancestor(const struct header_chain *c, uint32_t node, uint32_t height); /* log n */
uint32_t header_fork(const struct header_chain *c, uint32_t a, uint32_t b); /* last in common */
bool header_is_ancestor(const struct header_chain *c, uint32_t ancestor, uint32_t node);
/* The most work, first come first; whatever its blocks are worth. */
uint32_t header_chain_best(const struct header_chain *c);

/* Locator: 12 headers one by one, then doubling steps, genesis last; at most 101. */
size_t header_locator(const struct header_chain *c, uint32_t node, struct hash256 *out,
                      size_t n_max);

/* Difficulty that a child of node with this time must have. */
uint32_t header_next_bits(const struct header_chain *c, uint32_t node, uint32_t time);
/* hash <= target of bits, target within the network's limit. */
bool header_pow_is_right(const struct hash256 *hash, uint32_t bits, const struct chain_params *p);
size_t header_chain_used_len(const struct header_chain *c); /* bytes, for the promise above */
void header_chain_check(const struct header_chain *c);
