/* block_tree: what is known of the block behind every header: data, standing, descendants; which
 * blocks are worth moving to.
 *
 * A block is a candidate when it and all its ancestors were seen (n_chain_txs is not 0) and none of
 * them failed. Among candidates the most work wins, then the one whose data came first. The heap of
 * candidates may hold stale entries: they are thrown away when they come to the top.
 *
 * While the coins come from a snapshot whose past is not validated, its block is the base: what led
 * to it need not have been seen, and only blocks that descend from it are worth moving to.
 *
 * Ownership  owns its arrays; the header chain is borrowed
 * Threads    one owner
 * Errors     ERR_NO_MEMORY
 */
#pragma once
#include "chain/block_record.h"
#include "chain/header_chain.h"

/* In memory only: an ancestor failed. */
#define BLOCK_PARENT_FAILED (1u << 31)
#define BLOCK_ANY_FAILED    (BLOCK_IS_FAILED | BLOCK_PARENT_FAILED)

struct block_node {
    struct block_pos block, undo;
    uint64_t n_chain_txs; /* of all blocks up to this one; 0: some ancestor was not seen */
    int64_t arrival;      /* in which order blocks were complete with their ancestors; 0: not yet */
    int64_t rank;         /* the same, below 0 when precious: the lower goes first among equals */
    uint32_t n_txs;       /* 0: not seen */
    uint32_t status;      /* enum block_status and BLOCK_PARENT_FAILED */
    uint32_t first_child, next_sibling;
};

struct block_tree {
    struct mem *mem;
    const struct header_chain *headers;
    struct block_node *nodes; /* by node number of the header chain */
    size_t n, cap;
    uint32_t *heap; /* of candidates, best on top */
    size_t n_heap, heap_cap;
    int64_t last_arrival, last_precious;
    uint32_t base; /* HEADER_NONE: none */
};

void block_tree_init(struct block_tree *t, struct mem *mem, const struct header_chain *headers);
void block_tree_clear(struct block_tree *t);

/* Take in headers added since. Children of failed blocks are failed. */
enum err_code block_tree_grow(struct block_tree *t) MUST_USE;
/* The block's data is there: it, and descendants that waited for it, may become candidates.
 * arrival: from an earlier run, or 0. */
enum err_code block_tree_set_seen(struct block_tree *t, uint32_t node, uint32_t n_txs,
                                  int64_t arrival) MUST_USE;
/* From a record of the index; the header is in the chain. */
enum err_code block_tree_load(struct block_tree *t, uint32_t node,
                              const struct block_record *r) MUST_USE;
void block_tree_record(const struct block_tree *t, uint32_t node, struct block_record *out);

/* Failed, its descendants with it. Candidates are found anew. */
enum err_code block_tree_fail(struct block_tree *t, uint32_t node, bool is_manual) MUST_USE;
/* node, its ancestors and descendants are as if they had never failed. out_changed (may be NULL)
 * is called for each whose own flag went. */
enum err_code block_tree_forgive(struct block_tree *t, uint32_t node,
                                 void (*changed)(void *ctx, uint32_t node), void *ctx) MUST_USE;
/* node, not the first block, is the base from now on: complete with n_chain_txs transactions up to
 * it, as if all its ancestors had been seen. */
enum err_code block_tree_set_base(struct block_tree *t, uint32_t node,
                                  uint64_t n_chain_txs) MUST_USE;
/* All ancestors of the base are seen: it is a block like others, transactions are counted. */
enum err_code block_tree_clear_base(struct block_tree *t) MUST_USE;
/* First among equals from now on. */
enum err_code block_tree_prefer(struct block_tree *t, uint32_t node) MUST_USE;

/* The best candidate that beats tip (HEADER_NONE: any), or tip. A tip that failed is beaten by any:
 * coins are found on one when the process ended after the index said so and before they left it. */
uint32_t block_tree_best(struct block_tree *t, uint32_t tip);
/* Whether a beats b: more work, or as much and earlier. */
bool block_tree_beats(const struct block_tree *t, uint32_t a, uint32_t b);
/* After the tip went back: what was thrown away may count again. */
enum err_code block_tree_find_candidates(struct block_tree *t) MUST_USE;
void block_tree_check(const struct block_tree *t);
