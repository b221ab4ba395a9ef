/* coins_store: the narrow door to whatever keeps the UTXO set on disk. Implementations: store/
 * (RocksDB), tests (memory, faults).
 *
 * What is written goes atomically together with the tip it belongs to: after a crash the store
 * shows the coins of exactly one tip.
 *
 * Ownership  the store outlives its users; keys and coins are copied
 * Threads    get_many and iterate from any thread at any time; write from one at a time
 * Errors     ERR_IO (the world), ERR_MALFORMED (damaged data): never a verdict about a block
 */
#pragma once
#include "chain/coin.h"

/* The block that the coins on disk belong to. */
struct coins_tip {
    struct hash256 block;
    uint32_t height;
    bool is_empty; /* nothing was ever written */
};

struct coins_change {
    struct outpoint at;
    bool is_spent;     /* erase; coin is not looked at */
    bool is_cancelled; /* with the false of next: nothing is to be written after all */
    struct coin coin;  /* put */
};

struct coins_store_stats {
    uint64_t n_gets, n_found, n_puts, n_erases, n_writes; /* since open */
    uint64_t put_len;                                     /* bytes of keys and values handed in */
    uint64_t written_len; /* bytes the engine wrote to files, log and compaction included */
};

struct coins_store {
    void *ctx;
    /* out[i].found tells; scripts are put in the arena. */
    enum err_code (*get_many)(void *ctx, const struct outpoint *const *at, size_t n,
                              struct coin *out, bool *out_found, struct arena *a, struct err *err);
    /* *next is called until it gives false; one atomic change with the tip. Changes may come in any
     * order, each outpoint once; in order of txid bytes and numbers is cheapest. ERR_CANCELLED when
     * next set is_cancelled. */
    enum err_code (*write)(void *ctx, const struct coins_tip *tip,
                           bool (*next)(void *next_ctx, struct coins_change *out), void *next_ctx,
                           struct err *err);
    enum err_code (*tip)(void *ctx, struct coins_tip *out, struct err *err);
    /* All coins as of now behind after (NULL: all there are), in order of txid bytes, then output
     * number; stops when each() is false (ERR_CANCELLED). The coin lives until each() returns. */
    enum err_code (*iterate)(void *ctx, const struct outpoint *after,
                             bool (*each)(void *each_ctx, const struct outpoint *at,
                                          const struct coin *c),
                             void *each_ctx, struct err *err);
    void (*stats)(void *ctx, struct coins_store_stats *out);
};
