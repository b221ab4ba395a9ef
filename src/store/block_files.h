/* block_files: blocks and undo data in append-only files, Bitcoin Core's format (blkNNNNN.dat,
 * revNNNNN.dat; src/node/blockstorage.cpp): magic, length, block; magic, length, undo, checksum.
 *
 * Files end at 128 MiB; space is reserved ahead (16 MiB, 1 MiB). Blocks carry their own checksum
 * (the header commits to them); undo data is followed by SHA-256d(hash of the block's parent, undo).
 * Optional xor key as Core's xor.dat. A torn tail is cut off at open.
 *
 * Ownership  read buffers are the caller's (struct buf)
 * Threads    reads from any thread; append, sync and prune from one at a time
 * Errors     ERR_IO with errno; ERR_MALFORMED with the offset when what is there is not a record
 */
#pragma once
#include "base/buf.h"
#include "chain/block_record.h"

struct block_files;

struct block_files_config {
    const char *dir; /* holds blk*.dat and rev*.dat; made when missing */
    uint8_t magic[4];
    uint64_t file_len_max; /* 0: 128 MiB */
    bool use_xor;          /* new folders get a random xor.dat; existing ones keep theirs */
};

enum err_code block_files_open(struct block_files **out, const struct block_files_config *c,
                               struct err *err) MUST_USE;
void block_files_close(struct block_files *f);

/* Appends; durable only after block_files_sync. height is noted for pruning. */
enum err_code block_files_put_block(struct block_files *f, struct bytes raw, uint32_t height,
                                    struct block_pos *out, struct err *err) MUST_USE;
/* Undo goes to the rev file of the block's file number. prev: hash of the block's parent. */
enum err_code block_files_put_undo(struct block_files *f, uint32_t file, struct bytes undo,
                                   const struct hash256 *prev, struct block_pos *out,
                                   struct err *err) MUST_USE;
enum err_code block_files_read_block(struct block_files *f, struct block_pos at, struct buf *out,
                                     struct err *err) MUST_USE;
enum err_code block_files_read_undo(struct block_files *f, struct block_pos at,
                                    const struct hash256 *prev, struct buf *out,
                                    struct err *err) MUST_USE;
enum err_code block_files_sync(struct block_files *f, struct err *err) MUST_USE;
/* Removes files all of whose blocks are below height, oldest first, until at most target_len is
 * left; *out_n_removed files. */
enum err_code block_files_prune(struct block_files *f, uint32_t below_height, uint64_t target_len,
                                uint32_t *out_first_kept, uint32_t *out_n_removed,
                                struct err *err) MUST_USE;
uint64_t block_files_len(const struct block_files *f);     /* bytes on disk */
uint64_t block_files_written(const struct block_files *f); /* since open */

/* Reads any blk*.dat or bootstrap.dat in order: skips garbage to the next magic, names what it
 * skipped. xor_key_len 0 or 8 (a xor.dat beside the file is found by block_scan_open). */
struct block_scan;
enum err_code block_scan_open(struct block_scan **out, const char *path, const uint8_t magic[4],
                              struct err *err) MUST_USE;
/* ERR_NOT_FOUND at the end. out is a view until the next call. skipped: bytes of garbage passed
 * over before this block; at: the offset of its magic. */
enum err_code block_scan_next(struct block_scan *s, struct bytes *out, uint64_t *out_at,
                              uint64_t *out_skipped, struct err *err) MUST_USE;
uint64_t block_scan_len(const struct block_scan *s); /* of the file, for progress */
void block_scan_close(struct block_scan *s);
