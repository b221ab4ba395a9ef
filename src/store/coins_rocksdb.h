/* coins_rocksdb: the UTXO set in RocksDB, behind chain/coins_store.h.
 *
 * Key: txid, then the output's number in 1, 3 or 5 bytes so that the order of bytes is the order
 * of numbers. Value: coin_write's form. The tip has a key of its own, before all coins.
 *
 * A small write is one batch through the write-ahead log, synced. A large one becomes sorted files
 * that are taken over in one step together with the tip (coins_runs.h): nothing is written twice,
 * and memory stays within the bound. Either is there as a whole after a crash, or not at all.
 *
 * Ownership  the handle outlives the store taken from it
 * Threads    as coins_store.h: reads from any, writes from one at a time
 * Errors     ERR_IO, ERR_MALFORMED (checksums, or bytes that are no coin), ERR_NO_MEMORY;
 *            coins_rocksdb_error has RocksDB's own words
 */
#pragma once
#include "base/mem.h"
#include "chain/coins_store.h"

struct coins_rocksdb;

struct coins_rocksdb_config {
    const char *path;        /* a folder of its own, made when absent */
    size_t memory_len;       /* block cache and write buffers; a quarter more in write; 0: 64 MiB */
    unsigned max_open_files; /* 0: 500 */
    bool is_leveled;         /* reads touch fewer files, far more is written; for measurements */
};

enum err_code coins_rocksdb_open(struct coins_rocksdb **out, struct mem *mem,
                                 const struct coins_rocksdb_config *config,
                                 struct err *err) MUST_USE;
void coins_rocksdb_close(struct coins_rocksdb *s); /* NULL is fine */
struct coins_store coins_rocksdb_store(struct coins_rocksdb *s);
/* What RocksDB said at the first failure; "" before. */
const char *coins_rocksdb_error(const struct coins_rocksdb *s);
/* Merges all files into one: for measurements and before a long rest. */
void coins_rocksdb_compact(struct coins_rocksdb *s);
