/* chain_node: a simulated miner: a production chainstate on a simulated disk, blocks that it makes,
 * and what it saw being replaced.
 *
 * Ownership  a node owns its chainstate and disk; blocks are the net's
 * Threads    one owner
 * Errors     none of its own: the first one is kept in err, and the scenario fails
 */
#pragma once
#include "chain/chainstate.h"
#include "sim/chain_disk.h"
#include "sim/chain_miner.h"

#define CHAIN_DEPTHS_MAX 32u

/* A block that somebody made: known to all who asks for it, as bytes on a wire would be. */
struct chain_sim_block {
    struct buf raw;
    struct hash256 hash;
    uint32_t parent; /* index; UINT32_MAX: genesis */
};

struct chain_sim_blocks {
    struct mem *mem;
    struct chain_sim_block *items;
    uint32_t n, cap;
};

struct chain_node {
    struct mem mem, disk_mem;
    struct chain_disk disk;
    struct chain_store blocks;
    struct coins_store coins;
    struct chainstate *s;
    const struct chain_params *p;
    struct err err;
    uint32_t tip;                          /* index of the block, or UINT32_MAX: genesis */
    uint64_t n_replaced[CHAIN_DEPTHS_MAX]; /* reorganisations by how many blocks they took back */
    uint32_t n_back;                       /* of the one under way */
};

void chain_node_init(struct chain_node *n, const struct chain_params *p, uint64_t rng_seed);
void chain_node_clear(struct chain_node *n);
/* The block, and before it the ancestors that the node has not seen. now_s: its clock. */
void chain_node_take(struct chain_node *n, const struct chain_sim_blocks *all, uint32_t index,
                     int64_t now_s);
/* A block on top of parent (an index, or UINT32_MAX: genesis), known to nobody yet. nonce: one of
 * its own. Returns its index, or UINT32_MAX without memory. */
uint32_t chain_sim_make(struct chain_sim_blocks *all, const struct chain_params *p, uint32_t parent,
                        uint32_t height, uint32_t time, uint64_t nonce);
void chain_sim_blocks_clear(struct chain_sim_blocks *all);
uint32_t chain_node_height(const struct chain_node *n);
