/* block_index: what is known of every block, on disk: header, height, status, places in the block
 * files. Can be rebuilt from the files (reindex).
 *
 * An append-only log (record_log.h) of fixed records with checksums, the last record of a block
 * counts; read in one go at start, compacted then when it is more than twice what it needs to be.
 * Between two syncs a block is written once, however often it was put. (Measured: mainnet's
 * 900,000 headers are 110 MB and load in under two seconds.)
 *
 * Ownership  records are copied
 * Threads    one owner
 * Errors     ERR_IO; ERR_MALFORMED: damage in the middle (a torn tail is cut off silently, counted)
 */
#pragma once
#include "chain/block_record.h"
#include "store/disk.h"

struct block_index;

enum err_code block_index_open(struct block_index **out, const char *dir, struct err *err) MUST_USE;
enum err_code block_index_open_hooked(struct block_index **out, const char *dir,
                                      const struct disk_hook *hook, struct err *err) MUST_USE;
void block_index_close(struct block_index *x); /* NULL is fine */
/* Every block once, parents before children. Comes before the first put. each() false stops:
 * ERR_CANCELLED. */
enum err_code block_index_load(struct block_index *x,
                               bool (*each)(void *ctx, const struct block_record *r), void *ctx,
                               struct err *err) MUST_USE;
/* New or changed; buffered until sync. ERR_LIMIT: a million of them wait. */
enum err_code block_index_put(struct block_index *x, const struct block_record *r,
                              struct err *err) MUST_USE;
enum err_code block_index_sync(struct block_index *x, struct err *err) MUST_USE;
uint64_t block_index_written(const struct block_index *x);
/* Records of a sync that did not end, cut off by load. */
uint64_t block_index_n_torn(const struct block_index *x);
