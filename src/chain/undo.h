/* undo: what a block spent, so that it can be taken back. Bitcoin Core's form (src/undo.h):
 * per transaction but the coinbase, per input: VARINT height * 2 + coinbase, a zero byte when the
 * height is not 0 (a relic), compressed amount and script.
 *
 * Ownership  read: arrays and rebuilt scripts in the arena, other scripts are views of the input
 * Threads    pure functions
 * Errors     ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT, ERR_NO_MEMORY
 */
#pragma once
#include "chain/coin.h"

struct undo_tx {
    struct coin *spent; /* in order of inputs */
    uint32_t n_spent;
};

struct undo_block {
    struct undo_tx *txs; /* txs[i] belongs to the block's transaction i + 1 */
    uint32_t n_txs;
};

size_t undo_len(const struct undo_block *u); /* at most */
void undo_write(struct writer *w, const struct undo_block *u);
enum err_code undo_read(struct bytes in, struct arena *a, struct undo_block *out,
                        struct err *err) MUST_USE;
