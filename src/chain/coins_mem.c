#include "chain/coins_mem.h"
#include <assert.h>

struct coins_mem_value {
    struct coin coin; /* the script is a block of its own */
    bool is_here;     /* false only within a write */
};

void coins_mem_init(struct coins_mem *m, struct mem *mem, struct map_seed seed)
{
    *m = (struct coins_mem){.mem = mem, .tip = {.is_empty = true}};
    map_init(&m->coins, mem, seed, sizeof(struct outpoint), sizeof(struct coins_mem_value),
             SIZE_MAX);
}

static void value_free(struct coins_mem *m, struct coins_mem_value *v)
{
    mem_free(m->mem, (void *)(uintptr_t)v->coin.script.data);
}

void coins_mem_clear(struct coins_mem *m)
{
    void *v;
    for (size_t cursor = 0; map_next(&m->coins, &cursor, NULL, &v);)
        value_free(m, v);
    map_clear(&m->coins);
}

static void lock(struct coins_mem *m)
{
    while (__atomic_test_and_set(&m->lock, __ATOMIC_ACQUIRE)) {
    }
}

static void unlock(struct coins_mem *m)
{
    __atomic_clear(&m->lock, __ATOMIC_RELEASE);
}

/* --- get ------------------------------------------------------------------------------------- */

static enum err_code get_one(struct coins_mem *m, const struct outpoint *at, struct coin *out,
                             bool *out_found, struct arena *a, struct err *err)
{
    const struct coins_mem_value *v = map_get(&m->coins, at);
    m->stats.n_gets++;
    *out_found = v;
    if (!v)
        return ERR_OK;
    m->stats.n_found++;
    *out = v->coin;
    out->script = arena_dup(a, v->coin.script);
    if (!out->script.data)
        return err_set(err, ERR_NO_MEMORY, "no memory for a coin");
    return ERR_OK;
}

static enum err_code mem_get_many(void *ctx, const struct outpoint *const *at, size_t n,
                                  struct coin *out, bool *out_found, struct arena *a,
                                  struct err *err)
{
    struct coins_mem *m = ctx;
    enum err_code code = ERR_OK;
    lock(m);
    if (m->fail_get_at && --m->fail_get_at == 0)
        code = err_set(err, ERR_IO, "this read was to fail");
    for (size_t i = 0; i < n && !code; i++)
        code = get_one(m, at[i], &out[i], &out_found[i], a, err);
    unlock(m);
    return code;
}

/* --- write: everything that can fail comes first --------------------------------------------- */

struct staged {
    struct outpoint at;
    bool is_spent;
    struct coin coin; /* its script copied */
};

struct stage {
    struct coins_mem *m;
    struct staged *items;
    size_t n, cap;
};

static bool stage_put(struct stage *s, const struct coins_change *change)
{
    if (s->n == s->cap) {
        size_t cap = s->cap * 2 + 16;
        struct staged *items = mem_realloc(s->m->mem, s->items, cap * sizeof *items);
        if (!items)
            return false;
        s->items = items;
        s->cap = cap;
    }
    struct staged *item = &s->items[s->n];
    *item = (struct staged){change->at, change->is_spent, change->coin};
    if (!change->is_spent) {
        uint8_t *script = mem_dup(s->m->mem, change->coin.script.data, change->coin.script.len);
        bool is_new;
        struct coins_mem_value *v = script ? map_put(&s->m->coins, &change->at, &is_new) : NULL;
        if (!v) {
            mem_free(s->m->mem, script);
            return false;
        }
        item->coin.script.data = script;
    }
    s->n++;
    return true;
}

static void stage_apply(struct stage *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct staged *item = &s->items[i];
        struct coins_mem_value *v = map_get(&s->m->coins, &item->at);
        assert(item->is_spent || v);
        if (v)
            value_free(s->m, v);
        if (item->is_spent)
            map_remove(&s->m->coins, &item->at);
        else
            *v = (struct coins_mem_value){item->coin, true};
        s->m->stats.put_len += sizeof item->at + (item->is_spent ? 0 : coin_len_max(&item->coin));
        s->m->stats.n_erases += item->is_spent;
        s->m->stats.n_puts += !item->is_spent;
    }
    s->m->stats.n_writes++;
}

static void stage_undo(struct stage *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct staged *item = &s->items[i];
        if (item->is_spent)
            continue;
        mem_free(s->m->mem, (void *)(uintptr_t)item->coin.script.data);
        struct coins_mem_value *v = map_get(&s->m->coins, &item->at);
        if (v && !v->is_here)
            map_remove(&s->m->coins, &item->at);
    }
}

static enum err_code write_locked(struct coins_mem *m, const struct coins_tip *tip,
                                  bool (*next)(void *next_ctx, struct coins_change *out),
                                  void *next_ctx, struct err *err)
{
    enum coins_mem_fault fault = m->write_fault;
    struct stage s = {.m = m};
    struct coins_change change = {0};
    bool is_staged = true;
    m->write_fault = COINS_MEM_FINE;
    while (is_staged && next(next_ctx, &change))
        is_staged = stage_put(&s, &change);
    if (is_staged && !change.is_cancelled && fault != COINS_MEM_LOST) {
        stage_apply(&s);
        m->tip = *tip;
        m->tip.is_empty = false;
    } else {
        stage_undo(&s);
    }
    mem_free(m->mem, s.items);
    if (change.is_cancelled)
        return err_set(err, ERR_CANCELLED, "stopped by the caller");
    if (fault)
        return err_set(err, ERR_IO, "this write was to fail");
    return is_staged ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for coins to write");
}

static enum err_code mem_write(void *ctx, const struct coins_tip *tip,
                               bool (*next)(void *next_ctx, struct coins_change *out),
                               void *next_ctx, struct err *err)
{
    struct coins_mem *m = ctx;
    lock(m);
    enum err_code code = write_locked(m, tip, next, next_ctx, err);
    unlock(m);
    return code;
}

/* --- tip, iteration, counters ---------------------------------------------------------------- */

static enum err_code mem_tip(void *ctx, struct coins_tip *out, struct err *err)
{
    (void)err;
    *out = ((const struct coins_mem *)ctx)->tip;
    return ERR_OK;
}

/* Output numbers are compared as numbers. */
static int compare_outpoints(const void *a, const void *b)
{
    const struct outpoint *x = a, *y = b;
    int order = memcmp(&x->txid, &y->txid, sizeof x->txid);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static enum err_code mem_iterate(void *ctx, const struct outpoint *after,
                                 bool (*each)(void *each_ctx, const struct outpoint *at,
                                              const struct coin *c),
                                 void *each_ctx, struct err *err)
{
    struct coins_mem *m = ctx;
    size_t n = 0;
    const void *key;
    enum err_code code = ERR_OK;
    lock(m);
    struct outpoint *keys = mem_calloc(m->mem, m->coins.n, sizeof *keys);
    for (size_t cursor = 0; keys && map_next(&m->coins, &cursor, &key, NULL); n++)
        memcpy(&keys[n], key, sizeof keys[n]);
    if (keys)
        qsort(keys, n, sizeof *keys, compare_outpoints);
    else
        code = err_set(err, ERR_NO_MEMORY, "no memory to sort coins");
    for (size_t i = 0; i < n && !code; i++) {
        if (after && compare_outpoints(&keys[i], after) <= 0)
            continue;
        const struct coins_mem_value *v = map_get(&m->coins, &keys[i]);
        if (!each(each_ctx, &keys[i], &v->coin))
            code = err_set(err, ERR_CANCELLED, "stopped by the caller");
    }
    mem_free(m->mem, keys);
    unlock(m);
    return code;
}

static void mem_stats(void *ctx, struct coins_store_stats *out)
{
    struct coins_mem *m = ctx;
    lock(m);
    *out = m->stats;
    unlock(m);
    out->written_len = out->put_len;
}

struct coins_store coins_mem_store(struct coins_mem *m)
{
    return (struct coins_store){.ctx = m,
                                .get_many = mem_get_many,
                                .write = mem_write,
                                .tip = mem_tip,
                                .iterate = mem_iterate,
                                .stats = mem_stats};
}
