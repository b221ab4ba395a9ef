/* chain_files: a chain's blocks, undo data and index in one folder, as the chainstate wants them
 * (chain_store.h): block_files below blocks/, block_index below index/.
 *
 * Order on disk: blocks and undo data, then files.log, then the index: what the index names is
 * there. What is not (files pruned by a process that ended before it told the index, files taken
 * away or cut short from outside) loses its HAS_DATA or HAS_UNDO when the index is loaded.
 *
 * Ownership  owns both; *store of chain_files_store is good until close
 * Threads    as chain_store.h
 * Errors     ERR_IO, ERR_NO_MEMORY; ERR_MALFORMED: damaged, chain_files_reindex builds it anew
 */
#pragma once
#include "chain/chain_store.h"
#include "store/block_files.h"
#include "store/block_index.h"

struct chain_files;

struct chain_files_config {
    const char *dir;
    uint8_t magic[4];
    uint64_t file_len_max; /* 0: 128 MiB */
    bool use_xor;
    const struct disk_hook *hook; /* tests; NULL */
};

struct chain_files_stats {
    uint64_t len;         /* of blocks and undo data on disk */
    uint64_t written_len; /* bytes written since open: blocks, undo data, index */
    uint64_t n_data_lost; /* blocks of the index whose data is not there */
    uint64_t n_undo_lost;
    uint64_t n_torn; /* records of a sync that did not end */
    uint32_t first_file, last_file;
};

enum err_code chain_files_open(struct chain_files **out, const struct chain_files_config *c,
                               struct err *err) MUST_USE;
void chain_files_close(struct chain_files *f); /* NULL is fine; does not sync */
void chain_files_store(struct chain_files *f, struct chain_store *out);
void chain_files_stats(const struct chain_files *f, struct chain_files_stats *out);

/* What reindex asks and tells. */
struct reindex {
    void *ctx;
    struct hash256 genesis;
    /* Is this a block that belongs to its header? Fills *out_n_txs. May be NULL: believed. */
    bool (*check)(void *ctx, struct bytes raw, uint32_t *out_n_txs);
    /* Bytes in file that are no record, or a record that check refused: for a warning. */
    void (*damaged)(void *ctx, uint32_t file, uint32_t off, uint64_t len);
    /* Every so often; false stops (ERR_CANCELLED). */
    bool (*progress)(void *ctx, uint32_t file, uint32_t n_files, uint64_t n_blocks);
    /* Out: */
    uint64_t n_blocks, n_twice, n_orphans;
};
/* Throws index and undo data away and builds the index anew from the block files: every block that
 * descends from genesis, with data, not yet judged. Works on the blocks/ of Bitcoin Core as well
 * when dir holds it. */
enum err_code chain_files_reindex(const struct chain_files_config *c, struct reindex *r,
                                  struct err *err) MUST_USE;
