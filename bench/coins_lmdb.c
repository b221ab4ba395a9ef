#include "coins_lmdb.h"
#include <lmdb.h>
#include <sys/stat.h>

struct coins_lmdb {
    MDB_env *env;
    MDB_dbi dbi;
};

static const uint8_t tip_key[1] = {0};

static enum err_code code_of(int rc, struct err *err)
{
    return rc ? err_set(err, ERR_IO, "LMDB failed") : ERR_OK;
}

enum err_code coins_lmdb_open(struct coins_lmdb **out, const char *path, size_t map_len)
{
    struct coins_lmdb *s = calloc(1, sizeof *s);
    MDB_txn *txn = NULL;
    *out = s;
    if (!s)
        return ERR_NO_MEMORY;
    (void)mkdir(path, 0777);
    int rc = mdb_env_create(&s->env);
    if (!rc)
        rc = mdb_env_set_mapsize(s->env, map_len);
    if (!rc)
        rc = mdb_env_open(s->env, path, MDB_NORDAHEAD, 0666);
    if (!rc)
        rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &s->dbi);
    if (!rc)
        rc = mdb_txn_commit(txn);
    return code_of(rc, NULL);
}

void coins_lmdb_close(struct coins_lmdb *s)
{
    mdb_env_close(s->env);
    free(s);
}

static size_t key_write(uint8_t out[36], const struct outpoint *at)
{
    memcpy(out, at->txid.b, 32);
    for (unsigned i = 0; i < 4; i++)
        out[32 + i] = (uint8_t)(at->n >> (24 - 8 * i));
    return 36;
}

static enum err_code lmdb_get_many(void *ctx, const struct outpoint *const *at, size_t n,
                                   struct coin *out, bool *out_found, struct arena *a,
                                   struct err *err)
{
    struct coins_lmdb *s = ctx;
    MDB_txn *txn;
    uint8_t raw[36];
    enum err_code code = code_of(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), err);
    if (code)
        return code;
    for (size_t i = 0; i < n && !code; i++) {
        MDB_val key = {key_write(raw, at[i]), raw}, value;
        int rc = mdb_get(txn, s->dbi, &key, &value);
        out_found[i] = rc == 0;
        if (rc && rc != MDB_NOTFOUND)
            code = code_of(rc, err);
        if (rc)
            continue;
        struct reader r = reader_init(bytes_of(value.mv_data, value.mv_size));
        code = coin_read(&r, a, &out[i]);
        out[i].script = arena_dup(a, out[i].script);
    }
    mdb_txn_abort(txn);
    return code;
}

static int put_change(struct coins_lmdb *s, MDB_txn *txn, const struct coins_change *change)
{
    uint8_t raw[36], form[COIN_SCRIPT_LEN_MAX + 64];
    MDB_val key = {key_write(raw, &change->at), raw};
    if (change->is_spent) {
        int rc = mdb_del(txn, s->dbi, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    struct writer w = writer_init(form, sizeof form);
    coin_write(&w, &change->coin);
    MDB_val value = {w.pos, form};
    return mdb_put(txn, s->dbi, &key, &value, 0);
}

static enum err_code lmdb_write(void *ctx, const struct coins_tip *tip,
                                bool (*next)(void *next_ctx, struct coins_change *out),
                                void *next_ctx, struct err *err)
{
    struct coins_lmdb *s = ctx;
    struct coins_change change = {0};
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return code_of(rc, err);
    while (!rc && next(next_ctx, &change))
        rc = put_change(s, txn, &change);
    MDB_val key = {sizeof tip_key, (void *)(uintptr_t)tip_key};
    MDB_val value = {sizeof *tip, (void *)(uintptr_t)tip};
    if (!rc)
        rc = mdb_put(txn, s->dbi, &key, &value, 0);
    if (!rc)
        return code_of(mdb_txn_commit(txn), err);
    mdb_txn_abort(txn);
    return code_of(rc, err);
}

static enum err_code lmdb_tip(void *ctx, struct coins_tip *out, struct err *err)
{
    struct coins_lmdb *s = ctx;
    MDB_txn *txn;
    MDB_val key = {sizeof tip_key, (void *)(uintptr_t)tip_key}, value;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    *out = (struct coins_tip){.is_empty = true};
    if (rc)
        return code_of(rc, err);
    rc = mdb_get(txn, s->dbi, &key, &value);
    if (!rc && value.mv_size == sizeof *out)
        memcpy(out, value.mv_data, sizeof *out);
    mdb_txn_abort(txn);
    return code_of(rc == MDB_NOTFOUND ? 0 : rc, err);
}

static enum err_code lmdb_iterate(void *ctx, const struct outpoint *after,
                                  bool (*each)(void *each_ctx, const struct outpoint *at,
                                               const struct coin *c),
                                  void *each_ctx, struct err *err)
{
    struct coins_lmdb *s = ctx;
    MDB_txn *txn;
    MDB_cursor *cursor;
    if (after)
        return err_set(err, ERR_UNSUPPORTED, "benchmarks begin with the first coin");
    MDB_val key, value;
    struct mem mem;
    struct arena a;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, SIZE_MAX);
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc || (rc = mdb_cursor_open(txn, s->dbi, &cursor)))
        return code_of(rc, err);
    while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        if (key.mv_size != 36)
            continue;
        struct outpoint at;
        struct coin coin;
        const uint8_t *k = key.mv_data;
        memcpy(at.txid.b, k, 32);
        at.n = (uint32_t)k[32] << 24 | (uint32_t)k[33] << 16 | (uint32_t)k[34] << 8 | k[35];
        struct reader r = reader_init(bytes_of(value.mv_data, value.mv_size));
        arena_reset(&a);
        if (coin_read(&r, &a, &coin) || !each(each_ctx, &at, &coin))
            break;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    arena_clear(&a);
    return code_of(rc == MDB_NOTFOUND ? 0 : rc, err);
}

static void lmdb_stats(void *ctx, struct coins_store_stats *out)
{
    (void)ctx;
    *out = (struct coins_store_stats){0};
}

struct coins_store coins_lmdb_store(struct coins_lmdb *s)
{
    return (struct coins_store){.ctx = s,
                                .get_many = lmdb_get_many,
                                .write = lmdb_write,
                                .tip = lmdb_tip,
                                .iterate = lmdb_iterate,
                                .stats = lmdb_stats};
}
