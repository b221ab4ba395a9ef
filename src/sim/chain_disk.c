#include "sim/chain_disk.h"
#include <assert.h>

struct chain_disk_item {
    struct span data;
    bool is_synced, is_torn;
};

static void coins_init(struct chain_disk *d, struct chain_disk_coins *c)
{
    c->disk = d;
    coins_mem_init(&c->mem, d->mem, rng_map_seed(&d->rng));
    c->below = coins_mem_store(&c->mem);
}

void chain_disk_init(struct chain_disk *d, struct mem *mem, uint64_t rng_seed)
{
    *d = (struct chain_disk){.mem = mem};
    rng_init(&d->rng, rng_seed);
    coins_init(d, &d->coins);
    coins_init(d, &d->past);
}

void chain_disk_clear(struct chain_disk *d)
{
    for (size_t i = 0; i < d->n_items; i++)
        mem_free(d->mem, d->items[i].data.data);
    mem_free(d->mem, d->items);
    mem_free(d->mem, d->records);
    coins_mem_clear(&d->coins.mem);
    coins_mem_clear(&d->past.mem);
}

/* Counts an operation; false: it does not happen. */
static bool happens(struct chain_disk *d, struct err *err)
{
    if (!d->is_crashed)
        d->n_ops++;
    if (d->crash_at && d->n_ops >= d->crash_at)
        d->is_crashed = true;
    if (!d->is_crashed && d->n_ops != d->fail_at)
        return true;
    err_set(err, ERR_IO, "the simulated disk failed");
    return false;
}

/* Makes room for one more; *at moves. */
static bool room(struct chain_disk *d, void **at, size_t n, size_t *cap, size_t len)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 64;
    void *grown = mem_realloc(d->mem, *at, more * len);
    if (!grown)
        return false;
    *at = grown;
    *cap = more;
    return true;
}

static enum err_code put(struct chain_disk *d, struct bytes data, struct block_pos *out,
                         struct err *err)
{
    void *items = d->items;
    if (!happens(d, err))
        return ERR_IO;
    bool has_room = room(d, &items, d->n_items, &d->items_cap, sizeof *d->items);
    d->items = items;
    uint8_t *copy = has_room ? mem_dup(d->mem, data.data, data.len) : NULL;
    if (!copy)
        return err_set(err, ERR_NO_MEMORY, "no memory for the simulated disk");
    *out = (struct block_pos){0, (uint32_t)d->n_items, (uint32_t)data.len};
    d->items[d->n_items++] = (struct chain_disk_item){.data = {copy, data.len}};
    return ERR_OK;
}

static enum err_code get(struct chain_disk *d, struct block_pos at, struct buf *out,
                         struct err *err)
{
    if (d->is_crashed)
        return err_set(err, ERR_IO, "the simulated disk failed");
    assert(at.off < d->n_items);
    const struct chain_disk_item *item = &d->items[at.off];
    if (item->is_torn)
        return err_set(err, ERR_MALFORMED, "torn data on the simulated disk");
    buf_put(out, bytes_of(item->data.data, item->data.len));
    return out->err ? err_set(err, out->err, "no room to read into") : ERR_OK;
}

/* --- struct chain_store ---------------------------------------------------------------------- */

static enum err_code put_block(void *ctx, struct bytes raw, uint32_t height, struct block_pos *out,
                               struct err *err)
{
    (void)height;
    return put(ctx, raw, out, err);
}

static enum err_code put_undo(void *ctx, uint32_t file, struct bytes undo,
                              const struct hash256 *prev, struct block_pos *out, struct err *err)
{
    (void)file;
    (void)prev;
    return put(ctx, undo, out, err);
}

static enum err_code read_block(void *ctx, struct block_pos at, struct buf *out, struct err *err)
{
    return get(ctx, at, out, err);
}

static enum err_code read_undo(void *ctx, struct block_pos at, const struct hash256 *prev,
                               struct buf *out, struct err *err)
{
    (void)prev;
    return get(ctx, at, out, err);
}

static enum err_code put_record(void *ctx, const struct block_record *r, struct err *err)
{
    struct chain_disk *d = ctx;
    void *records = d->records;
    bool has_room = room(d, &records, d->n_records, &d->records_cap, sizeof *d->records);
    d->records = records;
    if (!has_room)
        return err_set(err, ERR_NO_MEMORY, "no memory for the simulated disk");
    d->records[d->n_records++] = *r; /* buffered: reaches the disk with a sync */
    return ERR_OK;
}

static bool same_block(const struct block_record *a, const struct block_record *b)
{
    return memcmp(&a->header, &b->header, sizeof a->header) == 0;
}

static bool is_first_of_block(const struct chain_disk *d, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_block(&d->records[k], &d->records[i]))
            return false;
    return true;
}

/* In the order in which blocks first came: parents before children. */
static enum err_code load(void *ctx, bool (*each)(void *each_ctx, const struct block_record *r),
                          void *each_ctx, struct err *err)
{
    struct chain_disk *d = ctx;
    (void)err;
    for (size_t i = 0; i < d->n_records; i++) {
        if (!is_first_of_block(d, i))
            continue;
        size_t last = i;
        for (size_t k = i; k < d->n_records; k++)
            if (same_block(&d->records[k], &d->records[i]))
                last = k;
        if (!each(each_ctx, &d->records[last]))
            break;
    }
    return ERR_OK;
}

static enum err_code sync_all(void *ctx, struct err *err)
{
    struct chain_disk *d = ctx;
    if (!happens(d, err))
        return ERR_IO;
    for (size_t i = 0; i < d->n_items; i++)
        d->items[i].is_synced = true;
    /* The index goes after what it names: its own operation. */
    if (!happens(d, err))
        return ERR_IO;
    d->n_records_synced = d->n_records;
    return ERR_OK;
}

static enum err_code prune(void *ctx, uint32_t below_height, uint64_t target_len,
                           uint32_t *out_first_kept, uint32_t *out_n_removed, struct err *err)
{
    (void)ctx;
    (void)below_height;
    (void)target_len;
    (void)err;
    *out_first_kept = 0;
    *out_n_removed = 0;
    return ERR_OK;
}

struct chain_store chain_disk_blocks(struct chain_disk *d)
{
    return (struct chain_store){.ctx = d,
                                .put_block = put_block,
                                .put_undo = put_undo,
                                .read_block = read_block,
                                .read_undo = read_undo,
                                .put_record = put_record,
                                .load = load,
                                .sync = sync_all,
                                .prune = prune};
}

/* --- struct coins_store ---------------------------------------------------------------------- */

static enum err_code coins_get_many(void *ctx, const struct outpoint *const *at, size_t n,
                                    struct coin *out, bool *out_found, struct arena *a,
                                    struct err *err)
{
    struct chain_disk_coins *c = ctx;
    if (c->disk->is_crashed)
        return err_set(err, ERR_IO, "the simulated disk failed");
    return c->below.get_many(c->below.ctx, at, n, out, out_found, a, err);
}

/* Atomic: a crash falls before it or after it. */
static enum err_code coins_write(void *ctx, const struct coins_tip *tip,
                                 bool (*next)(void *next_ctx, struct coins_change *out),
                                 void *next_ctx, struct err *err)
{
    struct chain_disk_coins *c = ctx;
    if (!happens(c->disk, err))
        return ERR_IO;
    enum err_code code = c->below.write(c->below.ctx, tip, next, next_ctx, err);
    return !code && !happens(c->disk, err) ? ERR_IO : code;
}

static enum err_code coins_tip(void *ctx, struct coins_tip *out, struct err *err)
{
    struct chain_disk_coins *c = ctx;
    return c->below.tip(c->below.ctx, out, err);
}

static enum err_code coins_iterate(void *ctx, const struct outpoint *after,
                                   bool (*each)(void *each_ctx, const struct outpoint *at,
                                                const struct coin *c),
                                   void *each_ctx, struct err *err)
{
    struct chain_disk_coins *c = ctx;
    if (c->disk->is_crashed)
        return err_set(err, ERR_IO, "the simulated disk failed");
    return c->below.iterate(c->below.ctx, after, each, each_ctx, err);
}

static void coins_stats(void *ctx, struct coins_store_stats *out)
{
    struct chain_disk_coins *c = ctx;
    c->below.stats(c->below.ctx, out);
}

static struct coins_store store_of(struct chain_disk_coins *c)
{
    return (struct coins_store){.ctx = c,
                                .get_many = coins_get_many,
                                .write = coins_write,
                                .tip = coins_tip,
                                .iterate = coins_iterate,
                                .stats = coins_stats};
}

struct coins_store chain_disk_coins(struct chain_disk *d)
{
    return store_of(&d->coins);
}

struct coins_store chain_disk_past(struct chain_disk *d)
{
    return store_of(&d->past);
}

/* --- after a crash --------------------------------------------------------------------------- */

void chain_disk_restart(struct chain_disk *d)
{
    uint32_t n_unsynced = (uint32_t)(d->n_records - d->n_records_synced);
    /* Records written at a sync that did not return: a beginning of them. They name blocks that
     * were synced before; records of a sync that never began were only in memory. */
    bool was_in_sync = d->n_items == 0 || d->items[d->n_items - 1].is_synced;
    d->n_records = d->n_records_synced;
    if (was_in_sync && n_unsynced)
        d->n_records += rng_below(&d->rng, n_unsynced + 1);
    d->n_records_synced = d->n_records;
    for (size_t i = 0; i < d->n_items; i++) {
        struct chain_disk_item *item = &d->items[i];
        item->is_torn |= !item->is_synced && rng_below(&d->rng, 2);
        item->is_synced = true;
    }
    d->is_crashed = false;
    d->crash_at = d->fail_at = 0;
    d->n_ops = 0;
}
