/* block_files: blocks and undo data in append-only files, Bitcoin Core's format (blkNNNNN.dat,
 * revNNNNN.dat; src/node/blockstorage.cpp): magic, length, block; magic, length, undo, checksum.
 *
 * Files end at 128 MiB; space is reserved ahead (16 MiB, 1 MiB). Blocks carry their own checksum
 * (the header commits to them); undo data is followed by SHA-256d(hash of the block's parent, undo).
 * Optional xor key as Core's xor.dat.
 *
 * How far each file goes and between which heights its blocks lie is kept in files.log
 * (record_log.h), written at each sync once the data is on disk. What was appended after the last
 * sync is cut off at open: nothing names it.
 *
 * Ownership  read buffers are the caller's (struct buf)
 * Threads    reads from any thread; append, sync and prune from one at a time
 * Errors     ERR_IO with errno; ERR_MALFORMED when what is there is not a record (at: its offset,
 *            got: the file's number); ERR_NOT_FOUND: no such file; block_files_open: ERR_MALFORMED
 *            when files.log is damaged or missing beside block files (reindex: must_walk)
 */
#pragma once
#include "base/buf.h"
#include "chain/block_record.h"
#include "store/disk.h"

struct block_files;

#define BLOCK_LEN_MAX 4000000u   /* BIP 141: a block's weight is at least its length */
#define UNDO_LEN_MAX  (1u << 29) /* ours: above what 24,000 inputs of 10,000 bytes can spend */

struct block_files_config {
    const char *dir; /* holds blk*.dat and rev*.dat; made when missing */
    uint8_t magic[4];
    uint64_t file_len_max; /* 0: 128 MiB */
    bool use_xor;          /* new folders get a random xor.dat; existing ones keep theirs */
    /* For reindex: what is known of the files (lengths, heights) is lost or never was there, as in a
     * folder of Bitcoin Core's. block_files_walk finds it out, file by file, block_files_note_height
     * is told, the first sync writes it down. */
    bool must_walk;
    const struct disk_hook *hook; /* tests; NULL */
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
/* Whether there is room for a record at that place; no look at the disk. */
bool block_files_has(const struct block_files *f, struct block_pos at, bool is_undo);
/* Numbers of files: from the first kept to the one that is appended to. */
uint32_t block_files_first(const struct block_files *f);
uint32_t block_files_last(const struct block_files *f);
/* Every record of one file in order: each(view of the block, its place); false stops
 * (ERR_CANCELLED). What is no record is passed over to the next magic; *out_skipped bytes of it. */
enum err_code block_files_walk(struct block_files *f, uint32_t file,
                               bool (*each)(void *ctx, struct bytes raw, struct block_pos at),
                               void *ctx, uint64_t *out_skipped, struct err *err) MUST_USE;
/* For reindex: a block at this place and height; all undo data away. */
void block_files_note_height(struct block_files *f, uint32_t file, uint32_t height);
enum err_code block_files_drop_undo(struct block_files *f, struct err *err) MUST_USE;
uint64_t block_files_len(const struct block_files *f);     /* bytes on disk */
uint64_t block_files_written(const struct block_files *f); /* since open */
/* "blk00003.dat" or "rev00003.dat". */
#define BLOCK_FILE_NAME_CAP 20u
char *block_file_name(uint32_t file, bool is_undo, char out[BLOCK_FILE_NAME_CAP]);
