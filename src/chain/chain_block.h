/* chain_block: one block on its way through the chainstate, with all memory that its checks use.
 *
 *   handed in or on disk
 *        |  prepare (any thread): read, parse, hash, rules without coins
 *        v
 *   PREPARED --fetch (any thread): its coins from the store--> READY --applied--> SCRIPTS --> DONE
 *        |                                                        |                  |
 *        +------- verdict is not VALID: FAILED <------------------+------------------+
 *
 * n_out jobs of it are with the runner. While there are any, nobody else touches the block, and it
 * is not given back: that is the whole rule of who owns its memory.
 *
 * Ownership  owns its raw bytes, arena and jobs; borrows parameters, stores and headers
 * Threads    the owner's; its jobs run on others, between submit and collect
 * Errors     verdict and reject, when the jobs are back
 */
#pragma once
#include "base/list.h"
#include "chain/chain_store.h"
#include "chain/script_jobs.h"

#define CHAIN_BLOCK_MEM_MAX ((size_t)3 << 30) /* ours: one block with all that it spends */

enum chain_block_state {
    CHAIN_BLOCK_PREPARING,
    CHAIN_BLOCK_PREPARED,
    CHAIN_BLOCK_FETCHING,
    CHAIN_BLOCK_READY,
    CHAIN_BLOCK_SCRIPTS,
    CHAIN_BLOCK_DONE,
    CHAIN_BLOCK_FAILED,
};

struct chain_block {
    struct list_node in_list;
    enum chain_block_state state;
    size_t n_out;
    size_t *n_owner_out; /* the same of all blocks of its chainstate */
    const struct chain_params *p;
    const struct chain_store *blocks;
    const struct coins_store *store;
    struct hash256 hash;
    uint32_t node, height, mtp_prev;
    struct block_pos at; /* where to read it; BLOCK_POS_NONE: it was handed in */
    bool is_on_disk;
    struct chain_job prepare, fetch, undo_job;
    struct mem mem;
    struct arena arena;
    struct buf raw, undo_raw; /* undo_raw: as read from disk */
    size_t counted_len;       /* of raw, as counted among what is in flight */
    struct block block;
    enum verdict verdict;
    struct reject reject;
    /* fetch */
    const struct outpoint **want;
    struct coin *got;
    bool *got_found;
    size_t n_want;
    uint64_t generation; /* of the cache, when want was made */
    /* connect */
    struct connect connect;
    struct script_jobs scripts;
    bool has_scripts; /* false: skipped */
    bool is_broken;   /* applied, failed, and could not be taken back: the cache is unusable */
    struct bytes undo;
};

enum err_code chain_block_new(struct chain_block **out, struct mem *mem) MUST_USE;
void chain_block_free(struct chain_block *b, struct mem *mem);
/* Ready for another block; keeps some memory. */
void chain_block_reset(struct chain_block *b);

/* Jobs; each is to be submitted by the caller, who counts n_out. */
void chain_block_prepare(struct chain_block *b, struct chain_job **out);
/* What the cache lacks; *out NULL when nothing is to be fetched. */
enum err_code chain_block_want(struct chain_block *b, struct coins_cache *coins,
                               struct chain_job **out) MUST_USE;
/* After the fetch: into the cache. */
enum err_code chain_block_put_fetched(struct chain_block *b, struct coins_cache *coins) MUST_USE;
/* Undo data in its serialised form, into b->undo. */
void chain_block_undo(struct chain_block *b, struct chain_job **out);
