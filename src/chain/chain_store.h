/* chain_store: the doors through which the chainstate keeps blocks, undo data and the index of
 * blocks. store/ puts them into files (block_files, block_index); tests into memory with faults.
 *
 * Ownership  the store outlives its users; what is put is copied; buffers read into are the
 *            caller's
 * Threads    read_block and read_undo from any thread; the rest from the owner's alone
 * Errors     ERR_IO, ERR_MALFORMED: never a verdict about a block
 */
#pragma once
#include "base/buf.h"
#include "chain/block_record.h"

struct chain_store {
    void *ctx;
    enum err_code (*put_block)(void *ctx, struct bytes raw, uint32_t height, struct block_pos *out,
                               struct err *err);
    enum err_code (*put_undo)(void *ctx, uint32_t file, struct bytes undo,
                              const struct hash256 *prev, struct block_pos *out, struct err *err);
    enum err_code (*read_block)(void *ctx, struct block_pos at, struct buf *out, struct err *err);
    enum err_code (*read_undo)(void *ctx, struct block_pos at, const struct hash256 *prev,
                               struct buf *out, struct err *err);
    /* Index: buffered until sync. */
    enum err_code (*put_record)(void *ctx, const struct block_record *r, struct err *err);
    enum err_code (*load)(void *ctx, bool (*each)(void *each_ctx, const struct block_record *r),
                          void *each_ctx, struct err *err);
    /* Blocks and undo first, then the index: what the index names is there. */
    enum err_code (*sync)(void *ctx, struct err *err);
    enum err_code (*prune)(void *ctx, uint32_t below_height, uint64_t target_len,
                           uint32_t *out_first_kept, uint32_t *out_n_removed, struct err *err);
};
