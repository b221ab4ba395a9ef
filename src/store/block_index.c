#include "store/block_index.h"
#include "base/map.h"
#include "base/size.h"
#include "crypto/random.h"
#include "crypto/sha.h"
#include "store/record_log.h"
#include <assert.h>

#define RECORD_LEN  120u
#define HEADER_LEN  BLOCK_HEADER_LEN /* at the record's beginning, as on the wire */
#define N_PUTS_MAX  (1u << 20)       /* ours: 120 MB; mainnet's headers fit */
#define COMPACT_MIN 4096u            /* ours: below this many records it is not worth it */
#define NONE        UINT32_MAX

struct block_index {
    struct mem mem;
    struct disk disk;
    struct record_log *log;
    struct map_seed seed;
    uint8_t *puts; /* waiting for sync, RECORD_LEN each */
    size_t n_puts, puts_cap;
    struct map put_at; /* header -> its place among them */
    bool is_loaded;
};

/* Every block's last record, while loading. */
struct table {
    struct block_index *x;
    uint8_t *records;
    struct hash256 *hashes;
    uint32_t *slots; /* hash table of record numbers, NONE: free */
    size_t n, cap, n_slots;
};

/* --- records --------------------------------------------------------------------------------- */

static void pos_write(struct writer *w, struct block_pos p)
{
    writer_u32le(w, p.file);
    writer_u32le(w, p.off);
    writer_u32le(w, p.len);
}

static struct block_pos pos_read(struct reader *r)
{
    struct block_pos p;
    p.file = reader_u32le(r);
    p.off = reader_u32le(r);
    p.len = reader_u32le(r);
    return p;
}

static void record_write(const struct block_record *r, uint8_t out[RECORD_LEN])
{
    struct writer w = writer_init(out, RECORD_LEN);
    writer_u32le(&w, (uint32_t)r->header.version);
    writer_put(&w, bytes_of(r->header.prev.b, 32));
    writer_put(&w, bytes_of(r->header.merkle_root.b, 32));
    writer_u32le(&w, r->header.time);
    writer_u32le(&w, r->header.bits);
    writer_u32le(&w, r->header.nonce);
    assert(w.pos == HEADER_LEN);
    writer_u32le(&w, r->n_txs);
    writer_u32le(&w, r->status);
    pos_write(&w, r->block);
    pos_write(&w, r->undo);
    writer_u64le(&w, r->sequence);
    assert(writer_end(&w) == ERR_OK && w.pos == RECORD_LEN);
}

static void record_read(const uint8_t *in, struct block_record *out)
{
    struct reader r = reader_init(bytes_of(in, RECORD_LEN));
    out->header.version = (int32_t)reader_u32le(&r);
    reader_copy(&r, out->header.prev.b, 32);
    reader_copy(&r, out->header.merkle_root.b, 32);
    out->header.time = reader_u32le(&r);
    out->header.bits = reader_u32le(&r);
    out->header.nonce = reader_u32le(&r);
    out->n_txs = reader_u32le(&r);
    out->status = reader_u32le(&r);
    out->block = pos_read(&r);
    out->undo = pos_read(&r);
    out->sequence = reader_u64le(&r);
}

static void hash_record(const uint8_t *record, struct hash256 *out)
{
    sha256(bytes_of(record, HEADER_LEN), out->b);
    sha256(bytes_of(out->b, sizeof out->b), out->b);
}

/* --- life ------------------------------------------------------------------------------------ */

enum err_code block_index_open(struct block_index **out, const char *dir, struct err *err)
{
    return block_index_open_hooked(out, dir, NULL, err);
}

enum err_code block_index_open_hooked(struct block_index **out, const char *dir,
                                      const struct disk_hook *hook, struct err *err)
{
    struct block_index *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return err_set(err, ERR_NO_MEMORY, "no memory for the block index");
    mem_init(&x->mem, MEM_NO_BUDGET, NULL);
    x->disk.dir_fd = -1;
    x->seed = (struct map_seed){random_u64(), random_u64()};
    map_init(&x->put_at, &x->mem, x->seed, HEADER_LEN, sizeof(uint32_t), N_PUTS_MAX);
    enum err_code code = disk_open(&x->disk, dir, hook, err);
    if (!code)
        code = record_log_open(&x->log, &x->disk, "index.log", "shoalidx", RECORD_LEN, err);
    if (code)
        block_index_close(x);
    else
        *out = x;
    return code;
}

void block_index_close(struct block_index *x)
{
    if (!x)
        return;
    record_log_close(x->log);
    disk_close(&x->disk);
    map_clear(&x->put_at);
    mem_free(&x->mem, x->puts);
    mem_check_empty(&x->mem);
    free(x);
}

/* --- loading --------------------------------------------------------------------------------- */

/* The slot of this hash, or the free one where it belongs. */
static uint32_t *table_slot(const struct table *t, const struct hash256 *hash)
{
    size_t i = (size_t)map_hash(t->x->seed, hash->b, sizeof hash->b) & (t->n_slots - 1);
    while (t->slots[i] != NONE && !hash256_equal(&t->hashes[t->slots[i]], hash))
        i = (i + 1) & (t->n_slots - 1);
    return &t->slots[i];
}

static bool table_grow(struct table *t)
{
    struct mem *mem = &t->x->mem;
    size_t cap = t->cap ? t->cap * 2 : 1024;
    uint8_t *records = mem_realloc(mem, t->records, cap * RECORD_LEN);
    if (records)
        t->records = records;
    struct hash256 *hashes = mem_realloc(mem, t->hashes, cap * sizeof *hashes);
    if (hashes)
        t->hashes = hashes;
    uint32_t *slots = mem_alloc(mem, cap * 2 * sizeof *slots);
    if (!records || !hashes || !slots || cap > NONE / 4) {
        mem_free(mem, slots);
        return false;
    }
    mem_free(mem, t->slots);
    t->slots = slots;
    t->n_slots = cap * 2;
    t->cap = cap;
    memset(slots, 0xff, t->n_slots * sizeof *slots);
    for (uint32_t i = 0; i < t->n; i++)
        *table_slot(t, &t->hashes[i]) = i;
    return true;
}

static bool table_add(void *ctx, const uint8_t *record)
{
    struct table *t = ctx;
    struct hash256 hash;
    if (t->n == t->cap && !table_grow(t))
        return false;
    hash_record(record, &hash);
    uint32_t *slot = table_slot(t, &hash);
    if (*slot == NONE) {
        *slot = (uint32_t)t->n;
        t->hashes[t->n++] = hash;
    }
    memcpy(t->records + (size_t)*slot * RECORD_LEN, record, RECORD_LEN);
    return true;
}

static void table_clear(struct table *t)
{
    struct mem *mem = &t->x->mem;
    mem_free(mem, t->records);
    mem_free(mem, t->hashes);
    mem_free(mem, t->slots);
}

static uint32_t table_parent(const struct table *t, uint32_t i)
{
    struct hash256 prev;
    memcpy(prev.b, t->records + (size_t)i * RECORD_LEN + 4, sizeof prev.b);
    return *table_slot(t, &prev);
}

/* Numbers of records such that parents come first, otherwise as they came. */
static bool table_order(const struct table *t, uint32_t *order)
{
    struct mem *mem = &t->x->mem;
    bool *is_done = mem_calloc(mem, t->n, sizeof *is_done);
    uint32_t *stack = mem_alloc(mem, t->n * sizeof *stack);
    size_t n = 0;
    for (uint32_t i = 0; is_done && stack && i < t->n; i++) {
        size_t depth = 0;
        for (uint32_t at = i; at != NONE && !is_done[at]; at = table_parent(t, at)) {
            is_done[at] = true;
            stack[depth++] = at;
        }
        while (depth > 0)
            order[n++] = stack[--depth];
    }
    mem_free(mem, stack);
    mem_free(mem, is_done);
    return n == t->n;
}

struct ordered {
    const struct table *t;
    const uint32_t *order;
};

static void ordered_get(void *ctx, size_t i, uint8_t *out)
{
    struct ordered *o = ctx;
    memcpy(out, o->t->records + (size_t)o->order[i] * RECORD_LEN, RECORD_LEN);
}

static enum err_code hand_out(struct block_index *x, const struct table *t, const uint32_t *order,
                              bool (*each)(void *ctx, const struct block_record *r), void *ctx,
                              struct err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        struct block_record r;
        record_read(t->records + (size_t)order[i] * RECORD_LEN, &r);
        if (!each(ctx, &r))
            return err_set(err, ERR_CANCELLED, "loading the block index was stopped");
    }
    uint64_t n = record_log_n(x->log);
    if (n < COMPACT_MIN || n <= 2 * (uint64_t)t->n)
        return ERR_OK;
    return record_log_rewrite(x->log, t->n, ordered_get, &(struct ordered){t, order}, err);
}

enum err_code block_index_load(struct block_index *x,
                               bool (*each)(void *ctx, const struct block_record *r), void *ctx,
                               struct err *err)
{
    struct table t = {.x = x};
    uint32_t *order = NULL;
    enum err_code code = table_grow(&t) ? record_log_load(x->log, table_add, &t, err)
                                        : err_set(err, ERR_NO_MEMORY, "no memory for the index");
    if (!code) {
        x->is_loaded = true;
        order = mem_alloc(&x->mem, t.n * sizeof *order);
        code = order && table_order(&t, order)
                   ? hand_out(x, &t, order, each, ctx, err)
                   : err_set(err, ERR_NO_MEMORY, "no memory to order the index");
    }
    mem_free(&x->mem, order);
    table_clear(&t);
    return code;
}

/* --- writing --------------------------------------------------------------------------------- */

static bool puts_grow(struct block_index *x)
{
    size_t cap = x->puts_cap ? x->puts_cap * 2 : 256;
    uint8_t *grown = mem_realloc(&x->mem, x->puts, cap * RECORD_LEN);
    if (!grown)
        return false;
    x->puts = grown;
    x->puts_cap = cap;
    return true;
}

enum err_code block_index_put(struct block_index *x, const struct block_record *r, struct err *err)
{
    uint8_t record[RECORD_LEN];
    bool is_new;
    assert(x->is_loaded);
    if (x->n_puts == N_PUTS_MAX)
        return err_set(err, ERR_LIMIT, "too many index records wait to be written");
    if (x->n_puts == x->puts_cap && !puts_grow(x))
        return err_set(err, ERR_NO_MEMORY, "no memory for index records");
    record_write(r, record);
    uint32_t *at = map_put(&x->put_at, record, &is_new);
    if (!at)
        return err_set(err, ERR_NO_MEMORY, "no memory for index records");
    if (is_new)
        *at = (uint32_t)x->n_puts++;
    memcpy(x->puts + (size_t)*at * RECORD_LEN, record, RECORD_LEN);
    return ERR_OK;
}

enum err_code block_index_sync(struct block_index *x, struct err *err)
{
    if (x->n_puts == 0)
        return ERR_OK;
    enum err_code code = record_log_append(x->log, x->puts, x->n_puts, err);
    if (code)
        return code;
    x->n_puts = 0;
    map_clear(&x->put_at);
    return ERR_OK;
}

uint64_t block_index_written(const struct block_index *x)
{
    return x->disk.written_len;
}

uint64_t block_index_n_torn(const struct block_index *x)
{
    return record_log_n_torn(x->log);
}
