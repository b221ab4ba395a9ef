/* Universal compaction: of all that RocksDB offers it writes least, at the price of space while it
 * merges (docs/architecture.md, "The coins"). Filters and indexes are partitioned, so that they
 * share the block cache with the data instead of staying in memory whole; the lowest run has no
 * filters, because what is asked of the store is nearly always there.
 */
#include "store/coins_rocksdb.h"
#include "base/size.h"
#include "store/coins_runs.h"
#include <rocksdb/c.h>
#include <sys/stat.h>

#define MEMORY_DEFAULT     (64u << 20)
#define MEMORY_MIN         (8u << 20)
#define OPEN_FILES_DEFAULT 500u
#define FILTER_BITS        10         /* per key: one in a hundred look-ups is in vain */
#define BATCH_LEN_MAX      (4u << 20) /* ours: above, files are cheaper than log and memtable */
#define RUN_BUF_LEN_MAX    (32u << 20)
#define GET_AT_ONCE        64u
#define KEY_LEN_MAX        37u
#define TIP_VERSION        1u
#define TIP_LEN            37u

static const uint8_t tip_key[1] = {0}; /* before every txid: coins have longer keys */

struct coins_rocksdb {
    struct mem *mem;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *sync;
    char *path;
    size_t run_buf_len;
    struct coins_store_stats stats; /* changed with atomics */
    uint64_t ingested_len;
    char error[256]; /* of the first failure */
    char has_error;
};

/* --- keys ------------------------------------------------------------------------------------ */

static size_t key_write(uint8_t out[KEY_LEN_MAX], const struct outpoint *at)
{
    struct writer w = writer_init(out, KEY_LEN_MAX);
    writer_put(&w, bytes_of(at->txid.b, sizeof at->txid.b));
    if (at->n < 0xfd) {
        writer_u8(&w, (uint8_t)at->n);
    } else if (at->n <= UINT16_MAX) {
        writer_u8(&w, 0xfd);
        writer_u16be(&w, (uint16_t)at->n);
    } else {
        writer_u8(&w, 0xfe);
        writer_u32be(&w, at->n);
    }
    return w.pos;
}

static enum err_code key_read(struct bytes key, struct outpoint *out)
{
    struct reader r = reader_init(key);
    reader_copy(&r, out->txid.b, sizeof out->txid.b);
    out->n = reader_u8(&r);
    if (out->n == 0xfd)
        out->n = reader_u16be(&r);
    else if (out->n == 0xfe)
        out->n = reader_u32be(&r);
    return reader_end(&r) ? ERR_MALFORMED : ERR_OK;
}

/* --- failures -------------------------------------------------------------------------------- */

/* Takes error, RocksDB's words, over; keeps what fits of the first. */
static enum err_code fail(struct coins_rocksdb *s, char *error, struct err *err)
{
    bool is_damage = bytes_starts_with(bytes_of_str(error), BYTES_LIT("Corruption"));
    if (!__atomic_test_and_set(&s->has_error, __ATOMIC_ACQUIRE))
        snprintf(s->error, sizeof s->error, "%s", error);
    rocksdb_free(error);
    return is_damage ? err_set(err, ERR_MALFORMED, "the coins database is damaged")
                     : err_set(err, ERR_IO, "the coins database cannot read or write");
}

static enum err_code fail_damaged(struct err *err)
{
    return err_set(err, ERR_MALFORMED, "a record of the coins database is no coin");
}

const char *coins_rocksdb_error(const struct coins_rocksdb *s)
{
    return s->error;
}

static void count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* --- opening --------------------------------------------------------------------------------- */

static void set_table(rocksdb_options_t *o, size_t cache_len)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(cache_len);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_cache_destroy(cache); /* the table holds it */
    rocksdb_block_based_options_set_block_size(t, 4096);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_filter_policy(
        t, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS));
    rocksdb_block_based_options_set_index_type(
        t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_metadata_block_size(t, 4096);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    rocksdb_block_based_options_set_data_block_index_type(
        t, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

static void set_compaction(rocksdb_options_t *o, bool is_leveled)
{
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_compaction_readahead_size(o, 2u << 20);
    rocksdb_options_set_optimize_filters_for_hits(o, 1);
    rocksdb_options_set_max_background_jobs(o, 2);
    if (is_leveled) {
        rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
        return;
    }
    rocksdb_universal_compaction_options_t *u = rocksdb_universal_compaction_options_create();
    rocksdb_options_set_compaction_style(o, rocksdb_universal_compaction);
    rocksdb_universal_compaction_options_set_max_size_amplification_percent(u, 50);
    rocksdb_options_set_universal_compaction_options(o, u);
    rocksdb_universal_compaction_options_destroy(u);
}

static rocksdb_options_t *options_new(const struct coins_rocksdb_config *c, size_t memory_len)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_max_open_files(
        o, (int)(c->max_open_files ? c->max_open_files : OPEN_FILES_DEFAULT));
    rocksdb_options_set_write_buffer_size(o, memory_len / 8);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    rocksdb_options_set_info_log_level(o, 3); /* errors */
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_enable_statistics(o);
    set_table(o, memory_len / 4 * 3);
    set_compaction(o, c->is_leveled);
    return o;
}

static enum err_code open_db(struct coins_rocksdb *s, struct err *err)
{
    char *error = NULL;
    const char *const names[] = {"default"};
    const rocksdb_options_t *const options[] = {s->options};
    if (mkdir(s->path, 0777)) {
        struct stat st;
        if (stat(s->path, &st) || !S_ISDIR(st.st_mode))
            return err_set(err, ERR_IO, "the coins folder cannot be made");
    }
    coins_runs_sweep(s->path);
    s->db =
        rocksdb_open_column_families(s->options, s->path, 1, names, options, &s->family, &error);
    return error ? fail(s, error, err) : ERR_OK;
}

enum err_code coins_rocksdb_open(struct coins_rocksdb **out, struct mem *mem,
                                 const struct coins_rocksdb_config *config, struct err *err)
{
    size_t memory_len =
        config->memory_len ? size_max(config->memory_len, MEMORY_MIN) : MEMORY_DEFAULT;
    struct coins_rocksdb *s = mem_calloc(mem, 1, sizeof *s);
    *out = NULL;
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for the coins database");
    s->mem = mem;
    s->run_buf_len = size_min(memory_len / 4, RUN_BUF_LEN_MAX);
    s->path = mem_strndup(mem, config->path, strlen(config->path));
    if (!s->path) {
        mem_free(mem, s);
        return err_set(err, ERR_NO_MEMORY, "no memory for the coins database");
    }
    s->options = options_new(config, memory_len);
    s->read = rocksdb_readoptions_create();
    s->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(s->scan, 0);
    rocksdb_readoptions_set_readahead_size(s->scan, 2u << 20);
    s->sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->sync, 1);
    enum err_code code = open_db(s, err);
    if (code) {
        coins_rocksdb_close(s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

void coins_rocksdb_close(struct coins_rocksdb *s)
{
    if (!s)
        return;
    if (s->db) {
        rocksdb_column_family_handle_destroy(s->family);
        rocksdb_close(s->db);
    }
    rocksdb_writeoptions_destroy(s->sync);
    rocksdb_readoptions_destroy(s->scan);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_options_destroy(s->options);
    mem_free(s->mem, s->path);
    mem_free(s->mem, s);
}

void coins_rocksdb_compact(struct coins_rocksdb *s)
{
    rocksdb_compact_range(s->db, NULL, 0, NULL, 0);
}

/* --- reading --------------------------------------------------------------------------------- */

/* The script that a coin was read with may be a view of value, which goes away. */
static enum err_code take_coin(struct bytes value, struct coin *out, struct arena *a,
                               struct err *err)
{
    struct reader r = reader_init(value);
    enum err_code code = coin_read(&r, a, out);
    if (code == ERR_NO_MEMORY)
        return err_set(err, code, "no memory for a coin");
    if (code || reader_end(&r))
        return fail_damaged(err);
    if (out->script.data < value.data || out->script.data > value.data + value.len)
        return ERR_OK;
    out->script = arena_dup(a, out->script);
    return out->script.data ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for a coin");
}

struct some {
    uint8_t keys[GET_AT_ONCE][KEY_LEN_MAX];
    const char *key[GET_AT_ONCE];
    size_t key_len[GET_AT_ONCE];
    rocksdb_pinnableslice_t *value[GET_AT_ONCE];
    char *error[GET_AT_ONCE];
};

static enum err_code take_some(struct coins_rocksdb *s, struct some *b, size_t n, struct coin *out,
                               bool *out_found, struct arena *a, struct err *err)
{
    enum err_code code = ERR_OK;
    uint64_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        if (b->error[i] && !code)
            code = fail(s, b->error[i], err);
        else if (b->error[i])
            rocksdb_free(b->error[i]);
        out_found[i] = b->value[i];
        if (b->value[i]) {
            size_t len;
            const char *data = rocksdb_pinnableslice_value(b->value[i], &len);
            if (!code)
                code = take_coin(bytes_of(data, len), &out[i], a, err);
            rocksdb_pinnableslice_destroy(b->value[i]);
            n_found++;
        }
    }
    count(&s->stats.n_found, n_found);
    return code;
}

static enum err_code rocksdb_get_many_coins(void *ctx, const struct outpoint *const *at, size_t n,
                                            struct coin *out, bool *out_found, struct arena *a,
                                            struct err *err)
{
    struct coins_rocksdb *s = ctx;
    struct some b;
    enum err_code code = ERR_OK;
    for (size_t from = 0; from < n && !code; from += GET_AT_ONCE) {
        size_t n_now = size_min(n - from, GET_AT_ONCE);
        for (size_t i = 0; i < n_now; i++) {
            b.key_len[i] = key_write(b.keys[i], at[from + i]);
            b.key[i] = (const char *)b.keys[i];
        }
        rocksdb_batched_multi_get_cf(s->db, s->read, s->family, n_now, b.key, b.key_len, b.value,
                                     b.error, false);
        count(&s->stats.n_gets, n_now);
        code = take_some(s, &b, n_now, out + from, out_found + from, a, err);
    }
    return code;
}

static enum err_code read_tip(struct coins_rocksdb *s, struct coins_tip *out, struct err *err)
{
    char *error = NULL;
    *out = (struct coins_tip){.is_empty = true};
    rocksdb_pinnableslice_t *value =
        rocksdb_get_pinned(s->db, s->read, (const char *)tip_key, sizeof tip_key, &error);
    if (error)
        return fail(s, error, err);
    if (!value)
        return ERR_OK;
    size_t len;
    const char *data = rocksdb_pinnableslice_value(value, &len);
    struct reader r = reader_init(bytes_of(data, len));
    uint8_t version = reader_u8(&r);
    reader_copy(&r, out->block.b, sizeof out->block.b);
    out->height = reader_u32le(&r);
    out->is_empty = false;
    enum err_code code = reader_end(&r);
    rocksdb_pinnableslice_destroy(value);
    if (code || version != TIP_VERSION)
        return err_set(err, ERR_MALFORMED, "the coins database has a tip of another form");
    return ERR_OK;
}

static enum err_code rocksdb_tip(void *ctx, struct coins_tip *out, struct err *err)
{
    return read_tip(ctx, out, err);
}

/* --- iterating: an iterator sees the database as it was when it was made ----------------------- */

static enum err_code each_coin(rocksdb_iterator_t *it, struct arena *a,
                               bool (*each)(void *each_ctx, const struct outpoint *at,
                                            const struct coin *c),
                               void *each_ctx, struct err *err)
{
    struct outpoint at;
    struct coin coin;
    size_t key_len, value_len;
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &value_len);
        if (key_len == sizeof tip_key)
            continue;
        struct reader r = reader_init(bytes_of(value, value_len));
        arena_reset(a);
        if (key_read(bytes_of(key, key_len), &at) || coin_read(&r, a, &coin) || reader_end(&r))
            return r.err.code == ERR_NO_MEMORY ? err_set(err, ERR_NO_MEMORY, "no memory for a coin")
                                               : fail_damaged(err);
        if (!each(each_ctx, &at, &coin))
            return err_set(err, ERR_CANCELLED, "stopped by the caller");
    }
    return ERR_OK;
}

/* To the first key behind after. */
static void seek(rocksdb_iterator_t *it, const struct outpoint *after)
{
    uint8_t key[KEY_LEN_MAX];
    if (!after) {
        rocksdb_iter_seek_to_first(it);
        return;
    }
    size_t len = key_write(key, after), at_len;
    rocksdb_iter_seek(it, (const char *)key, len);
    const char *at = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &at_len) : NULL;
    if (at && at_len == len && memcmp(at, key, len) == 0)
        rocksdb_iter_next(it);
}

static enum err_code rocksdb_iterate(void *ctx, const struct outpoint *after,
                                     bool (*each)(void *each_ctx, const struct outpoint *at,
                                                  const struct coin *c),
                                     void *each_ctx, struct err *err)
{
    struct coins_rocksdb *s = ctx;
    struct mem mem; /* its own: other threads may be iterating, too */
    struct arena a;
    char *error = NULL;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, SIZE_MAX);
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->scan);
    seek(it, after);
    enum err_code code = each_coin(it, &a, each, each_ctx, err);
    rocksdb_iter_get_error(it, &error);
    if (error && !code)
        code = fail(s, error, err);
    else if (error)
        rocksdb_free(error);
    rocksdb_iter_destroy(it);
    arena_clear(&a);
    return code;
}

/* --- writing --------------------------------------------------------------------------------- */

static enum err_code put_tip(struct coins_runs *r, const struct coins_tip *tip, char **error)
{
    uint8_t value[TIP_LEN];
    struct writer w = writer_init(value, sizeof value);
    writer_u8(&w, TIP_VERSION);
    writer_put(&w, bytes_of(tip->block.b, sizeof tip->block.b));
    writer_u32le(&w, tip->height);
    return coins_runs_put(r, bytes_of(tip_key, sizeof tip_key), writer_bytes(&w), error);
}

static enum err_code put_change(struct coins_rocksdb *s, struct coins_runs *r,
                                const struct coins_change *change, char **error)
{
    uint8_t key[KEY_LEN_MAX], value[COIN_SCRIPT_LEN_MAX + 64];
    struct writer w = writer_init(value, sizeof value);
    size_t key_len = key_write(key, &change->at);
    if (change->is_spent)
        count(&s->stats.n_erases, 1);
    else
        count(&s->stats.n_puts, 1);
    count(&s->stats.put_len, key_len);
    if (change->is_spent)
        return coins_runs_put(r, bytes_of(key, key_len), (struct bytes){0}, error);
    coin_write(&w, &change->coin);
    if (writer_end(&w))
        return ERR_LIMIT;
    count(&s->stats.put_len, w.pos);
    return coins_runs_put(r, bytes_of(key, key_len), writer_bytes(&w), error);
}

static enum err_code commit(struct coins_rocksdb *s, struct coins_runs *r, char **error)
{
    if (r->n_files || r->buf_len > BATCH_LEN_MAX) {
        enum err_code code = coins_runs_ingest(r, s->db, error);
        count(&s->ingested_len, r->file_len);
        return code;
    }
    rocksdb_writebatch_t *batch = coins_runs_batch(r);
    rocksdb_write(s->db, s->sync, batch, error);
    rocksdb_writebatch_destroy(batch);
    return ERR_OK;
}

static enum err_code rocksdb_write_coins(void *ctx, const struct coins_tip *tip,
                                         bool (*next)(void *next_ctx, struct coins_change *out),
                                         void *next_ctx, struct err *err)
{
    struct coins_rocksdb *s = ctx;
    struct coins_change change = {0};
    struct coins_runs runs;
    char *error = NULL;
    enum err_code code = coins_runs_init(&runs, s->mem, s->path, s->options, s->run_buf_len);
    if (!code)
        code = put_tip(&runs, tip, &error);
    while (!code && next(next_ctx, &change))
        code = put_change(s, &runs, &change, &error);
    if (!code && change.is_cancelled)
        code = ERR_CANCELLED;
    if (!code)
        code = commit(s, &runs, &error);
    coins_runs_clear(&runs);
    count(&s->stats.n_writes, 1);
    if (error)
        return fail(s, error, err);
    return code ? err_set(err, code, "the coins cannot be written") : ERR_OK;
}

/* --- counters -------------------------------------------------------------------------------- */

/* "name COUNT : 123" among RocksDB's statistics. */
static uint64_t ticker(const char *all, const char *name)
{
    const char *at = strstr(all, name);
    at = at ? strstr(at, "COUNT : ") : NULL;
    return at ? strtoull(at + sizeof "COUNT : " - 1, NULL, 10) : 0;
}

static void rocksdb_stats(void *ctx, struct coins_store_stats *out)
{
    struct coins_rocksdb *s = ctx;
    char *all = rocksdb_options_statistics_get_string(s->options);
    *out = s->stats;
    out->written_len = s->ingested_len;
    if (!all)
        return;
    out->written_len += ticker(all, "rocksdb.wal.bytes ") +
                        ticker(all, "rocksdb.flush.write.bytes ") +
                        ticker(all, "rocksdb.compact.write.bytes ");
    rocksdb_free(all);
}

struct coins_store coins_rocksdb_store(struct coins_rocksdb *s)
{
    return (struct coins_store){.ctx = s,
                                .get_many = rocksdb_get_many_coins,
                                .write = rocksdb_write_coins,
                                .tip = rocksdb_tip,
                                .iterate = rocksdb_iterate,
                                .stats = rocksdb_stats};
}
