/* blame: finds out who sent bad blocks.
 *
 * v1: a piece has one hash, so a piece that fails names nobody unless one peer sent all of it.
 * Then the SHA-1 of each block is kept with its sender; when a good copy of the piece is here, the
 * senders of the blocks that differ are named, exactly those. v2: proven leaves name senders at once;
 * where no peer gives them in time, it goes as in v1.
 *
 *     piece fails --> blame_on_bad --sole sender--> named at once
 *                         |
 *                    blame_add_block for each block (read back, before the piece is released to
 *                         |                          the picker with is_whole)
 *     piece is good --> blame_has? blame_judge_block for each block; blame_end_piece
 *
 * A sender with a failed piece that is not yet settled is a suspect: the owner puts it on parole
 * (picker_peer.is_on_parole), so that its next pieces have one sender.
 *
 * Senders are numbers that stand for an endpoint as long as it is in use or among the last
 * n_senders_max, so that a liar is still named after it has left.
 *
 * Ownership  copies everything
 * Threads    one owner
 * Errors     shortage of memory or bounds: the oldest record is given up; nothing fails
 * Bounds     n_blocks_max digests in BLAME_N_RECORDS_MAX pieces, the oldest piece is given up first;
 *            n_senders_max endpoints beside those in use
 */
#pragma once
#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"

#define BLAME_N_BLOCKS_MAX  32768u /* ours: 512 MiB of failed pieces */
#define BLAME_N_SENDERS_MAX 4096u
#define BLAME_N_RECORDS_MAX 1024u
#define BLAME_SENDER_NONE   0u /* equals PICKER_SENDER_NONE */

struct blame_counters {
    uint64_t n_failed, n_sole, n_named, n_settled, n_evicted, n_refused;
};

struct blame {
    struct mem *mem;
    struct map senders; /* number -> struct blame_sender */
    struct map by_addr; /* endpoint -> number */
    struct map records; /* piece -> struct blame_record * */
    struct list unused; /* senders not in use, oldest first */
    struct list by_age; /* records, oldest first */
    uint32_t n_senders_max, n_blocks_max, n_blocks;
    uint32_t last_sender;
    struct blame_counters counters;
};

void blame_init(struct blame *b, struct mem *mem, struct rng *rng, uint32_t n_blocks_max,
                uint32_t n_senders_max); /* 0: the defaults */
void blame_clear(struct blame *b);
void blame_check(const struct blame *b);

/* The number of an endpoint, the same as before if it is still known; in use until released as
 * often as it was taken. BLAME_SENDER_NONE when memory is short: its blocks name nobody. */
uint32_t blame_take_sender(struct blame *b, const struct addr *a);
void blame_release_sender(struct blame *b, uint32_t sender);
bool blame_sender_addr(const struct blame *b, uint32_t sender, struct addr *out);
bool blame_is_suspect(const struct blame *b, uint32_t sender);

/* The piece failed its hash; senders[i] sent block i. Returns the sole sender, who is the liar, or
 * BLAME_SENDER_NONE: then all are suspects and blame_add_block is wanted for each block. */
uint32_t blame_on_bad(struct blame *b, uint32_t piece, const uint32_t *senders, uint32_t n_blocks);
void blame_add_block(struct blame *b, uint32_t piece, uint32_t block, uint32_t sender,
                     struct bytes data);
/* Is there something to compare the good copy of the piece with? */
bool blame_has(const struct blame *b, uint32_t piece);
/* Compares one block of the good copy: names the senders of copies that differ. */
uint32_t blame_judge_block(struct blame *b, uint32_t piece, uint32_t block, struct bytes good,
                           uint32_t *out, uint32_t out_cap);
/* The piece is settled (or given up): its senders are no suspects on its account. */
void blame_end_piece(struct blame *b, uint32_t piece);
