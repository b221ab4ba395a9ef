/* chain_disk: the disk under a simulated chainstate: blocks, undo data and index in memory, with
 * what was synced apart from what was not, faults on demand, and crashes that lose or tear.
 *
 * Every change and every sync is an operation with a number: a sweep crashes at each in turn. After
 * the crash nothing works until chain_disk_restart, which leaves what a disk would: what was synced,
 * of the rest each block by chance whole, torn or missing, of the index records a beginning.
 *
 * Ownership  owns copies of all bytes; outlives the chainstates that use it
 * Threads    one owner (reads too: use it with a chainstate that has no runner)
 * Errors     ERR_IO while crashed and where a fault was asked for; ERR_MALFORMED for torn data
 */
#pragma once
#include "base/rng.h"
#include "chain/chain_store.h"
#include "chain/coins_mem.h"

struct chain_disk_item; /* a block or undo data */

struct chain_disk_coins {
    struct chain_disk *disk;
    struct coins_mem mem;
    struct coins_store below; /* of mem, without the crash */
};

struct chain_disk {
    struct mem *mem;
    struct rng rng;
    struct chain_disk_item *items;
    size_t n_items, items_cap;
    struct block_record *records; /* the log: the last of a block counts */
    size_t n_records, n_records_synced, records_cap;
    struct chain_disk_coins coins, past; /* past: of chain_background */
    uint64_t n_ops, crash_at;            /* operation that does not return; 0: none */
    uint64_t fail_at;                    /* this one gives ERR_IO and the next ones work; 0: none */
    bool is_crashed;
};

void chain_disk_init(struct chain_disk *d, struct mem *mem, uint64_t rng_seed);
void chain_disk_clear(struct chain_disk *d);
struct chain_store chain_disk_blocks(struct chain_disk *d);
struct coins_store chain_disk_coins(struct chain_disk *d);
struct coins_store chain_disk_past(struct chain_disk *d);
/* After a crash, or as if the power had failed now. */
void chain_disk_restart(struct chain_disk *d);
