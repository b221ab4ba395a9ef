/* coins_runs: changes on their way into RocksDB in sorted order: gathered in a buffer, sorted, and
 * appended to a file ("N.ingest") for as long as the order allows. Changes that come in order of
 * keys make one file; others make several, which overlap and are still right.
 *
 * Ownership  files belong to the runs until the database took them; coins_runs_clear removes what
 *            is left
 * Threads    one owner
 * Errors     ERR_NO_MEMORY; ERR_LIMIT above COINS_RUNS_FILES_MAX; ERR_IO and ERR_MALFORMED with RocksDB's words in *error (free())
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"
#include <rocksdb/c.h>

#define COINS_RUNS_FILES_MAX 256u /* ours: bounds open files; 8 GiB in any order */

struct coins_runs {
    struct mem *mem;
    const char *dir;
    const rocksdb_options_t *options;
    uint8_t *buf; /* records: length of key, length of value (or erase), key, value */
    uint32_t *offs;
    size_t buf_cap, buf_len, n, n_cap;
    rocksdb_sstfilewriter_t *file; /* open */
    uint8_t last_key[64];
    size_t last_key_len, n_files;
    uint64_t file_len; /* of finished files */
};

enum err_code coins_runs_init(struct coins_runs *r, struct mem *mem, const char *dir,
                              const rocksdb_options_t *options, size_t buf_cap) MUST_USE;
void coins_runs_clear(struct coins_runs *r);
/* value.data NULL: erase. The key is at most 63 bytes. */
enum err_code coins_runs_put(struct coins_runs *r, struct bytes key, struct bytes value,
                             char **error) MUST_USE;
/* Nothing went to a file yet: all there is, in order, as a batch. */
rocksdb_writebatch_t *coins_runs_batch(struct coins_runs *r);
/* The last file is finished; then the database takes all of them in one step. */
enum err_code coins_runs_ingest(struct coins_runs *r, rocksdb_t *db, char **error) MUST_USE;
/* What an earlier process left behind. */
void coins_runs_sweep(const char *dir);
