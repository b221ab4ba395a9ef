#include "store/record_log.h"
#include "base/map.h"
#include "base/size.h"
#include <assert.h>
#include <unistd.h>

#define FILE_HEADER_LEN 16u
#define MARK_LEN        16u
#define SLOTS_OFF       (FILE_HEADER_LEN + MARK_LEN)
#define SLOT_TAIL_LEN   12u
#define CHUNK_N         4096u /* ours: slots read or written at once */
#define FORMAT_VERSION  1u
#define MARK_KEY        0x6c6f676d61726bu

static_assert(RECORD_LOG_RECORD_LEN_MAX + SLOT_TAIL_LEN <= 512, "a slot is small");

struct record_log {
    struct mem mem;
    struct disk *disk;
    const char *name, *magic;
    int fd;
    size_t record_len, slot_len;
    uint64_t n, n_torn;
    uint64_t n_marked; /* slots known to be on disk */
    uint32_t batch;    /* number of the last whole one */
    bool is_loaded;
    bool is_tail_dirty; /* bytes behind slot n that must go before the next append */
    uint8_t *chunk;     /* CHUNK_N slots */
};

static uint64_t checksum(const struct record_log *l, uint64_t index, const uint8_t *slot)
{
    return map_hash((struct map_seed){0x73686f616c6c6f67u, index}, slot, l->record_len + 4);
}

static uint64_t slot_off(const struct record_log *l, uint64_t index)
{
    return SLOTS_OFF + index * l->slot_len;
}

/* --- the file's head -------------------------------------------------------------------------- */

static void head_write(const struct record_log *l, uint8_t out[FILE_HEADER_LEN])
{
    struct writer w = writer_init(out, FILE_HEADER_LEN);
    writer_str(&w, l->magic);
    writer_u32le(&w, FORMAT_VERSION);
    writer_u32le(&w, (uint32_t)l->record_len);
    assert(writer_end(&w) == ERR_OK && w.pos == FILE_HEADER_LEN);
}

static void mark_write(uint64_t n, uint8_t out[MARK_LEN])
{
    struct writer w = writer_init(out, MARK_LEN);
    writer_u64le(&w, n);
    writer_u64le(&w, map_hash((struct map_seed){MARK_KEY, MARK_LEN}, out, 8));
}

/* How many slots were on disk; 0 when the mark itself is damaged. */
static uint64_t mark_read(const uint8_t in[MARK_LEN])
{
    uint8_t want[MARK_LEN];
    struct reader r = reader_init(bytes_of(in, MARK_LEN));
    uint64_t n = reader_u64le(&r);
    mark_write(n, want);
    return memcmp(in, want, MARK_LEN) == 0 ? n : 0;
}

static enum err_code head_make(struct record_log *l, int fd, const char *name, uint64_t n,
                               struct err *err)
{
    uint8_t head[SLOTS_OFF];
    head_write(l, head);
    mark_write(n, head + FILE_HEADER_LEN);
    return disk_write(l->disk, fd, name, 0, &(struct bytes){head, sizeof head}, 1, err);
}

/* What was appended is on disk and stays valid without the mark: it failing changes nothing. */
static void set_mark(struct record_log *l)
{
    uint8_t mark[MARK_LEN];
    struct err ignored = {0};
    mark_write(l->n, mark);
    if (disk_write(l->disk, l->fd, l->name, FILE_HEADER_LEN, &(struct bytes){mark, sizeof mark}, 1,
                   &ignored))
        return;
}

/* A file shorter than its head was being made when everything stopped: made again. */
static enum err_code head_check(struct record_log *l, struct err *err)
{
    uint8_t want[FILE_HEADER_LEN], got[SLOTS_OFF];
    uint64_t len;
    enum err_code code = disk_file_len(l->fd, &len, err);
    if (code)
        return code;
    if (len < SLOTS_OFF) {
        code = head_make(l, l->fd, l->name, 0, err);
        if (!code)
            code = disk_sync(l->disk, l->fd, l->name, err);
        return code ? code : disk_sync_dir(l->disk, err);
    }
    head_write(l, want);
    code = disk_read(l->fd, 0, got, sizeof got, err);
    if (!code && memcmp(want, got, sizeof want) != 0)
        code = err_set_at(err, ERR_MALFORMED, "not a log of this kind and version", 0, 0, 0);
    if (!code)
        l->n_marked = mark_read(got + FILE_HEADER_LEN);
    return code;
}

enum err_code record_log_open(struct record_log **out, struct disk *d, const char *name,
                              const char *magic, size_t record_len, struct err *err)
{
    assert(record_len <= RECORD_LOG_RECORD_LEN_MAX && strlen(magic) == 8);
    struct record_log *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return err_set(err, ERR_NO_MEMORY, "no memory for a log");
    *l = (struct record_log){.disk = d,
                             .name = name,
                             .magic = magic,
                             .fd = -1,
                             .record_len = record_len,
                             .slot_len = record_len + SLOT_TAIL_LEN};
    mem_init(&l->mem, MEM_NO_BUDGET, NULL);
    l->chunk = mem_alloc(&l->mem, CHUNK_N * l->slot_len);
    enum err_code code = l->chunk ? disk_file_open(d, name, true, &l->fd, err)
                                  : err_set(err, ERR_NO_MEMORY, "no memory for a log");
    if (!code)
        code = head_check(l, err);
    if (code)
        record_log_close(l);
    else
        *out = l;
    return code;
}

void record_log_close(struct record_log *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    mem_free(&l->mem, l->chunk);
    mem_check_empty(&l->mem);
    free(l);
}

/* --- loading ---------------------------------------------------------------------------------- */

/* What a walk over the slots found. */
struct walk {
    uint64_t n_slots;      /* whole ones in the file */
    uint64_t n_good;       /* end of the last whole batch */
    uint32_t batch;        /* its number */
    uint64_t n_seen;       /* slots that fit what comes before them */
    bool is_broken;        /* one did not: */
    uint32_t batch_broken; /* it should have been of this batch */
    bool is_damaged;       /* and a later batch follows */
};

static void walk_slot(const struct record_log *l, struct walk *k, uint64_t index,
                      const uint8_t *slot)
{
    struct reader r = reader_init(bytes_of(slot + l->record_len, SLOT_TAIL_LEN));
    uint32_t tag = reader_u32le(&r);
    uint64_t sum = reader_u64le(&r);
    bool is_good = sum == checksum(l, index, slot);
    if (k->is_broken) {
        k->is_damaged = k->is_damaged || (is_good && tag >> 1 > k->batch_broken);
        return;
    }
    if (!is_good || tag >> 1 != k->batch + 1) {
        k->is_broken = true;
        k->batch_broken = k->batch + 1;
        return;
    }
    k->n_seen = index + 1;
    if (tag & 1) {
        k->n_good = index + 1;
        k->batch++;
    }
}

static enum err_code read_chunk(struct record_log *l, uint64_t first, uint64_t end, size_t *out_n,
                                struct err *err)
{
    *out_n = (size_t)u64_min(CHUNK_N, end - first);
    return disk_read(l->fd, slot_off(l, first), l->chunk, *out_n * l->slot_len, err);
}

static enum err_code walk_all(struct record_log *l, struct walk *k, struct err *err)
{
    uint64_t len;
    size_t n;
    enum err_code code = disk_file_len(l->fd, &len, err);
    if (code)
        return code;
    k->n_slots = (len - SLOTS_OFF) / l->slot_len;
    for (uint64_t at = 0; at < k->n_slots; at += n) {
        code = read_chunk(l, at, k->n_slots, &n, err);
        if (code)
            return code;
        for (size_t i = 0; i < n; i++)
            walk_slot(l, k, at + i, l->chunk + i * l->slot_len);
    }
    l->is_tail_dirty = slot_off(l, k->n_good) != len;
    return ERR_OK;
}

static enum err_code deliver(struct record_log *l, bool (*each)(void *ctx, const uint8_t *record),
                             void *ctx, struct err *err)
{
    size_t n;
    for (uint64_t at = 0; at < l->n; at += n) {
        enum err_code code = read_chunk(l, at, l->n, &n, err);
        if (code)
            return code;
        for (size_t i = 0; i < n; i++)
            if (!each(ctx, l->chunk + i * l->slot_len))
                return err_set(err, ERR_NO_MEMORY, "no memory for what the log holds");
    }
    return ERR_OK;
}

/* Bytes behind the last whole batch go, so that nothing old can follow what comes next. */
static enum err_code cut_tail(struct record_log *l, struct err *err)
{
    if (!l->is_tail_dirty)
        return ERR_OK;
    enum err_code code = disk_resize(l->disk, l->fd, l->name, slot_off(l, l->n), err);
    if (!code)
        l->is_tail_dirty = false;
    return code;
}

enum err_code record_log_load(struct record_log *l, bool (*each)(void *ctx, const uint8_t *record),
                              void *ctx, struct err *err)
{
    struct walk k = {0};
    enum err_code code = walk_all(l, &k, err);
    if (code)
        return code;
    if (k.is_damaged || k.n_good < l->n_marked)
        return err_set_at(err, ERR_MALFORMED, "damaged record in a log", slot_off(l, k.n_seen), 0,
                          0);
    l->n = k.n_good;
    l->batch = k.batch;
    l->n_torn = k.n_slots - k.n_good;
    l->is_loaded = true;
    code = cut_tail(l, err);
    return code ? code : deliver(l, each, ctx, err);
}

/* --- appending -------------------------------------------------------------------------------- */

/* The slot for record number index into out. */
static void slot_write(const struct record_log *l, uint64_t index, const uint8_t *record,
                       uint32_t batch, bool is_last, uint8_t *out)
{
    memmove(out, record, l->record_len);
    struct writer w = writer_init(out + l->record_len, SLOT_TAIL_LEN);
    writer_u32le(&w, batch << 1 | is_last);
    writer_u64le(&w, checksum(l, index, out));
}

static enum err_code write_batch(struct record_log *l, const uint8_t *records, size_t n,
                                 struct err *err)
{
    size_t n_chunk;
    for (size_t at = 0; at < n; at += n_chunk) {
        n_chunk = size_min(CHUNK_N, n - at);
        for (size_t i = 0; i < n_chunk; i++)
            slot_write(l, l->n + at + i, records + (at + i) * l->record_len, l->batch + 1,
                       at + i + 1 == n, l->chunk + i * l->slot_len);
        enum err_code code = disk_write(l->disk, l->fd, l->name, slot_off(l, l->n + at),
                                        &(struct bytes){l->chunk, n_chunk * l->slot_len}, 1, err);
        if (code)
            return code;
    }
    return disk_sync(l->disk, l->fd, l->name, err);
}

enum err_code record_log_append(struct record_log *l, const uint8_t *records, size_t n,
                                struct err *err)
{
    struct err ignored = {0};
    assert(l->is_loaded && l->batch < UINT32_MAX >> 1);
    if (n == 0)
        return ERR_OK;
    enum err_code code = cut_tail(l, err);
    if (code)
        return code;
    l->is_tail_dirty = true;
    code = write_batch(l, records, n, err);
    if (code) {
        if (cut_tail(l, &ignored))
            return code; /* before the next append, then */
        return code;
    }
    l->is_tail_dirty = false;
    l->n += n;
    l->batch++;
    l->n_marked = l->n;
    set_mark(l);
    return ERR_OK;
}

/* --- compaction ------------------------------------------------------------------------------- */

static enum err_code write_new(struct record_log *l, int fd, const char *name, size_t n,
                               void (*get)(void *ctx, size_t i, uint8_t *out), void *ctx,
                               struct err *err)
{
    size_t n_chunk;
    enum err_code code = head_make(l, fd, name, n, err);
    for (size_t at = 0; at < n && !code; at += n_chunk) {
        n_chunk = size_min(CHUNK_N, n - at);
        for (size_t i = 0; i < n_chunk; i++) {
            uint8_t *slot = l->chunk + i * l->slot_len;
            get(ctx, at + i, slot);
            slot_write(l, at + i, slot, 1, at + i + 1 == n, slot);
        }
        code = disk_write(l->disk, fd, name, slot_off(l, at),
                          &(struct bytes){l->chunk, n_chunk * l->slot_len}, 1, err);
    }
    return code ? code : disk_sync(l->disk, fd, name, err);
}

enum err_code record_log_rewrite(struct record_log *l, size_t n,
                                 void (*get)(void *ctx, size_t i, uint8_t *out), void *ctx,
                                 struct err *err)
{
    char name[DISK_NAME_CAP];
    struct err ignored = {0};
    int fd = -1;
    snprintf(name, sizeof name, "%s.new", l->name);
    enum err_code code = disk_file_open(l->disk, name, true, &fd, err);
    if (!code)
        code = disk_resize(l->disk, fd, name, 0, err);
    if (!code)
        code = write_new(l, fd, name, n, get, ctx, err);
    if (!code)
        code = disk_rename(l->disk, name, l->name, err);
    if (code) {
        if (fd >= 0)
            close(fd);
        if (disk_remove(l->disk, name, &ignored))
            return code; /* it is cut to nothing the next time */
        return code;
    }
    close(l->fd);
    l->fd = fd;
    l->n = l->n_marked = n;
    l->batch = n > 0;
    l->is_loaded = true;
    l->is_tail_dirty = false;
    return disk_sync_dir(l->disk, err);
}

uint64_t record_log_n(const struct record_log *l)
{
    return l->n;
}

uint64_t record_log_n_torn(const struct record_log *l)
{
    return l->n_torn;
}
