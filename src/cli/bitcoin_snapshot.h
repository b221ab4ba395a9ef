/* bitcoin_snapshot: what is noted of a snapshot that a chain began with (DATADIR/NETWORK/
 * snapshot.json), and the validation of its past (chain/chain_background.h) with coins in
 * coins-background/.
 *
 *   (none) --> loading --> loaded --> validated
 *                             |
 *                             +-----> wrong
 *
 * loading    a load that ends here leaves a chain that cannot go on: load again, or reindex
 * loaded     the chain goes on from the snapshot's block; import validates the past
 * validated  a chain like any other; coins-background/ goes
 * wrong      nothing goes on from these coins; reindex begins without them
 *
 * Threads    the main thread
 * Errors     reported on stderr by who finds them
 */
#pragma once
#include "chain/chain_background.h"

struct bitcoin;

enum snapshot_state {
    SNAPSHOT_NONE,
    SNAPSHOT_LOADING,
    SNAPSHOT_LOADED,
    SNAPSHOT_VALIDATED,
    SNAPSHOT_WRONG,
};

struct snapshot_note {
    enum snapshot_state state;
    struct hash256 base, coins_hash;
    uint32_t base_height;
    uint64_t n_chain_txs; /* 0: not known */
};

/* *out NONE when there is no such file. */
bool snapshot_note_read(const char *dir, struct snapshot_note *out);
/* On disk when it returns. */
bool snapshot_note_write(const char *dir, const struct snapshot_note *n);
/* Whether this command can use a chain whose snapshot is in b->snapshot. */
bool bitcoin_can_open(const struct bitcoin *b);
/* The note and coins-background/ go. */
bool bitcoin_forget_snapshot(struct bitcoin *b);

struct past_check {
    enum chain_background_state state;
    uint32_t height, base_height; /* validated up to */
};

/* For a loaded snapshot: checks its past as far as there are blocks, with a progress line. When
 * that comes to its end it is noted, and the chain moves to the best branch there is now. Exit
 * code; OK also when blocks are missing. */
int bitcoin_check_past(struct bitcoin *b, struct past_check *out);
/* How far the past was validated when it was last written; is_empty: not at all. */
bool bitcoin_past_tip(struct bitcoin *b, struct coins_tip *out);
