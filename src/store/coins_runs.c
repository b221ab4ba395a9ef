#include "store/coins_runs.h"
#include "base/arena.h"
#include <dirent.h>
#include <unistd.h>

#define ERASE        UINT32_MAX
#define KEY_LEN_MAX  63u
#define HEAD_LEN     5u
#define RUN_SUFFIX   ".ingest"
#define RUN_PATH_CAP 4096u

enum err_code coins_runs_init(struct coins_runs *r, struct mem *mem, const char *dir,
                              const rocksdb_options_t *options, size_t buf_cap)
{
    *r = (struct coins_runs){.mem = mem, .dir = dir, .options = options, .buf_cap = buf_cap};
    r->buf = mem_alloc(mem, buf_cap);
    return r->buf ? ERR_OK : ERR_NO_MEMORY;
}

static bool run_path(const struct coins_runs *r, size_t i, char out[RUN_PATH_CAP])
{
    int len = snprintf(out, RUN_PATH_CAP, "%s/%zu" RUN_SUFFIX, r->dir, i);
    return len > 0 && (size_t)len < RUN_PATH_CAP;
}

void coins_runs_clear(struct coins_runs *r)
{
    char path[RUN_PATH_CAP];
    if (r->file)
        rocksdb_sstfilewriter_destroy(r->file);
    for (size_t i = 0; i < r->n_files; i++)
        if (run_path(r, i, path))
            (void)unlink(path);
    mem_free(r->mem, r->buf);
    mem_free(r->mem, r->offs);
    *r = (struct coins_runs){0};
}

void coins_runs_sweep(const char *dir)
{
    char path[RUN_PATH_CAP];
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));) {
        struct bytes name = bytes_of_str(e->d_name);
        size_t suffix_len = sizeof RUN_SUFFIX - 1;
        if (name.len <= suffix_len ||
            !bytes_equal_str(bytes_sub(name, name.len - suffix_len, suffix_len), RUN_SUFFIX))
            continue;
        int len = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (len > 0 && (size_t)len < sizeof path)
            (void)unlink(path);
    }
    (void)closedir(d);
}

/* --- records --------------------------------------------------------------------------------- */

static struct bytes record_key(const uint8_t *p)
{
    return bytes_of(p + HEAD_LEN, p[0]);
}

/* data NULL: erase */
static struct bytes record_value(const uint8_t *p)
{
    uint32_t len;
    memcpy(&len, p + 1, sizeof len);
    return len == ERASE ? (struct bytes){0} : bytes_of(p + HEAD_LEN + p[0], len);
}

static int compare_records(const void *a, const void *b, void *buf)
{
    const uint32_t *x = a, *y = b;
    return bytes_compare(record_key((uint8_t *)buf + *x), record_key((uint8_t *)buf + *y));
}

static void sort_records(struct coins_runs *r)
{
    bool is_sorted = true;
    for (size_t i = 1; i < r->n && is_sorted; i++)
        is_sorted = compare_records(&r->offs[i - 1], &r->offs[i], r->buf) < 0;
    if (!is_sorted)
        qsort_r(r->offs, r->n, sizeof *r->offs, compare_records, r->buf);
}

rocksdb_writebatch_t *coins_runs_batch(struct coins_runs *r)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    sort_records(r);
    for (size_t i = 0; i < r->n; i++) {
        struct bytes key = record_key(r->buf + r->offs[i]);
        struct bytes value = record_value(r->buf + r->offs[i]);
        if (value.data)
            rocksdb_writebatch_put(batch, (const char *)key.data, key.len, (const char *)value.data,
                                   value.len);
        else
            rocksdb_writebatch_delete(batch, (const char *)key.data, key.len);
    }
    return batch;
}

/* --- files ----------------------------------------------------------------------------------- */

static enum err_code code_of(const char *error)
{
    return !error                                                      ? ERR_OK
           : bytes_starts_with(bytes_of_str(error), BYTES_LIT("Corr")) ? ERR_MALFORMED
                                                                       : ERR_IO;
}

static enum err_code file_finish(struct coins_runs *r, char **error)
{
    uint64_t len = 0;
    if (!r->file)
        return ERR_OK;
    rocksdb_sstfilewriter_finish(r->file, error);
    rocksdb_sstfilewriter_file_size(r->file, &len);
    rocksdb_sstfilewriter_destroy(r->file);
    r->file = NULL;
    r->file_len += len;
    return code_of(*error);
}

static enum err_code file_begin(struct coins_runs *r, char **error)
{
    char path[RUN_PATH_CAP];
    if (r->n_files == COINS_RUNS_FILES_MAX)
        return ERR_LIMIT;
    if (!run_path(r, r->n_files, path))
        return ERR_LIMIT;
    rocksdb_envoptions_t *env = rocksdb_envoptions_create();
    r->file = rocksdb_sstfilewriter_create(env, r->options);
    rocksdb_envoptions_destroy(env);
    r->n_files++;
    rocksdb_sstfilewriter_open(r->file, path, error);
    return code_of(*error);
}

static enum err_code write_record(struct coins_runs *r, const uint8_t *p, char **error)
{
    struct bytes key = record_key(p), value = record_value(p);
    if (value.data)
        rocksdb_sstfilewriter_put(r->file, (const char *)key.data, key.len,
                                  (const char *)value.data, value.len, error);
    else
        rocksdb_sstfilewriter_delete(r->file, (const char *)key.data, key.len, error);
    return code_of(*error);
}

/* What is in the buffer goes to a file: the one that is open, if it continues its order. */
static enum err_code spill(struct coins_runs *r, char **error)
{
    enum err_code code = ERR_OK;
    if (r->n == 0)
        return ERR_OK;
    sort_records(r);
    struct bytes first = record_key(r->buf + r->offs[0]);
    if (r->file && bytes_compare(first, bytes_of(r->last_key, r->last_key_len)) <= 0)
        code = file_finish(r, error);
    if (!code && !r->file)
        code = file_begin(r, error);
    for (size_t i = 0; i < r->n && !code; i++)
        code = write_record(r, r->buf + r->offs[i], error);
    struct bytes last = record_key(r->buf + r->offs[r->n - 1]);
    memcpy(r->last_key, last.data, last.len);
    r->last_key_len = last.len;
    r->n = r->buf_len = 0;
    return code;
}

enum err_code coins_runs_put(struct coins_runs *r, struct bytes key, struct bytes value,
                             char **error)
{
    size_t len = HEAD_LEN + key.len + value.len;
    if (key.len > KEY_LEN_MAX || len > r->buf_cap)
        return ERR_LIMIT;
    if (len > r->buf_cap - r->buf_len) {
        enum err_code code = spill(r, error);
        if (code)
            return code;
    }
    if (r->n == r->n_cap) {
        size_t cap = r->n_cap * 2 + 1024;
        uint32_t *offs = mem_realloc(r->mem, r->offs, cap * sizeof *offs);
        if (!offs)
            return ERR_NO_MEMORY;
        r->offs = offs;
        r->n_cap = cap;
    }
    uint8_t *p = r->buf + r->buf_len;
    uint32_t value_len = value.data ? (uint32_t)value.len : ERASE;
    p[0] = (uint8_t)key.len;
    memcpy(p + 1, &value_len, sizeof value_len);
    memcpy(p + HEAD_LEN, key.data, key.len);
    if (value.len)
        memcpy(p + HEAD_LEN + key.len, value.data, value.len);
    r->offs[r->n++] = (uint32_t)r->buf_len;
    r->buf_len += len;
    return ERR_OK;
}

static enum err_code list_paths(const struct coins_runs *r, struct arena *a, const char ***out)
{
    char path[RUN_PATH_CAP];
    *out = arena_calloc(a, r->n_files, sizeof **out);
    for (size_t i = 0; i < r->n_files; i++) {
        if (!*out || !run_path(r, i, path))
            return ERR_NO_MEMORY;
        (*out)[i] = arena_str(a, bytes_of_str(path));
        if (!(*out)[i])
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

enum err_code coins_runs_ingest(struct coins_runs *r, rocksdb_t *db, char **error)
{
    const char **paths;
    struct arena a;
    enum err_code code = spill(r, error);
    if (!code)
        code = file_finish(r, error);
    if (code)
        return code;
    arena_init(&a, r->mem, SIZE_MAX);
    code = list_paths(r, &a, &paths);
    if (!code) {
        rocksdb_ingestexternalfileoptions_t *how = rocksdb_ingestexternalfileoptions_create();
        rocksdb_ingestexternalfileoptions_set_move_files(how, 1);
        rocksdb_ingest_external_file(db, paths, r->n_files, how, error);
        rocksdb_ingestexternalfileoptions_destroy(how);
        code = code_of(*error);
    }
    arena_clear(&a);
    return code;
}
