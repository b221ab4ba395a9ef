/* chain_background: validates what led to a snapshot's coins while the chain goes on from them (the
 * background chainstate of Bitcoin Core's assumeutxo).
 *
 * A second chainstate over the same headers, block store and threads as the main one, with coins of
 * its own: it connects the line from genesis to the base, block by block as their data comes, in
 * any order, with every check, and writes the undo data that the snapshot did not bring. At the
 * base its coins are hashed.
 *
 *                      the next block is here
 *   NEEDS_BLOCKS <-----------------------------> WALKING
 *        |             or not                     |   |
 *        |                                        |   | the base is connected
 *        | a block of the line breaks a rule      |   v
 *        +-----------------+----------------------+  HASHING -- hash agrees --> VALIDATED
 *                          v                          |
 *                        WRONG <----- hash differs ---+
 *
 * VALIDATED  every block up to the base has its undo data and its verdict in the main chain's
 *            index, on disk. The owner closes this, notes it durably, and calls
 *            chainstate_trust_past: then the main chain reorganises below the base as well
 * WRONG      the coins that the main chain began with are not what its headers lead to: the main
 *            chain does not advance any more; its owner notes it and begins without the snapshot
 *
 * Ownership  borrows the main chainstate and the coins store; closed before them. The main one may
 *            be used between calls
 * Threads    one owner, the main chainstate's; its runner is shared
 * Errors     the world's: nothing changed, the same call may be tried again
 * Crash      its coins carry their tip as any chainstate's; undo data and index are on disk before
 *            them. Opened again it goes on from there; a hash that was not finished begins anew
 */
#pragma once
#include "chain/chainstate.h"

struct chain_background;

enum chain_background_state {
    CHAIN_BACKGROUND_WALKING,
    CHAIN_BACKGROUND_NEEDS_BLOCKS,
    CHAIN_BACKGROUND_HASHING,
    CHAIN_BACKGROUND_VALIDATED,
    CHAIN_BACKGROUND_WRONG,
};

struct chain_background_config {
    struct chainstate *main; /* opened with has_snapshot, not read only */
    struct mem *mem;
    uint64_t rng_seed;
    const struct coins_store *coins; /* its own: empty, or as an earlier run left it */
    size_t coins_cap_len;            /* 0: as chainstate_config */
    struct hash256 coins_hash;       /* hash_serialized_3 that the base's coins must have */
};

/* ERR_PROTOCOL: main has no base; ERR_MALFORMED: the coins belong to a block that does not lead to
 * the base. */
enum err_code chain_background_open(struct chain_background **out,
                                    const struct chain_background_config *c,
                                    struct err *err) MUST_USE;
/* Writes coins and index. Then frees, also when writing failed. */
enum err_code chain_background_close(struct chain_background *b, struct err *err) MUST_USE;
void chain_background_advise(struct chain_background *b, void (*advise)(void *p, size_t len));

/* One step: about n_max blocks, or the hash of as many blocks' worth of coins (0: until the state
 * changes). Nothing when VALIDATED or WRONG. */
enum err_code chain_background_advance(struct chain_background *b, size_t n_max,
                                       struct err *err) MUST_USE;

enum chain_background_state chain_background_state(const struct chain_background *b);

struct chain_background_progress {
    uint32_t height, base_height;
    uint64_t n_txs, n_inputs;    /* checked since open */
    uint64_t n_coins_hashed;     /* HASHING and after */
    struct hash256 coins_hash;   /* VALIDATED; WRONG: zero unless it is the hash that differs */
    uint32_t wrong_node;         /* WRONG: the block that broke a rule, or HEADER_NONE */
    const struct reject *reject; /* which; until close */
};
void chain_background_progress(const struct chain_background *b,
                               struct chain_background_progress *out);
void chain_background_check(const struct chain_background *b);
