/* coins_lmdb: a coins_store on LMDB, for comparison only (bench_coins_store). Keys and values as in
 * coins_rocksdb; changes are to come in order of keys.
 *
 * Ownership  the handle outlives the store
 * Threads    reads from any, writes from one
 * Errors     ERR_IO for whatever LMDB says
 */
#pragma once
#include "chain/coins_store.h"

struct coins_lmdb;

enum err_code coins_lmdb_open(struct coins_lmdb **out, const char *path, size_t map_len);
void coins_lmdb_close(struct coins_lmdb *s);
struct coins_store coins_lmdb_store(struct coins_lmdb *s);
