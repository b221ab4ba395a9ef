/* disk: a queue of requests with a clock, over volumes.
 *
 * A request takes effect when it is answered, except that a crash may let part of it happen. */
#include "sim/disk.h"
#include "base/size.h"
#include "sim/disk_volume.h"
#include <assert.h>
#include <errno.h>

struct disk_resume_entry {
    struct list_node in_resumes;
    struct buf key, latest, durable;
};

struct disk_op {
    struct list_node in_ops;
    struct sim_event ev;
    struct disk *d;
    struct disk_volume *v;
    uint64_t job;
    enum disk_op_kind kind;
    union {
        struct store_open *open;
        struct store_put *put;
        struct store_check *check;
        struct store_read *read;
        struct store_file_stat *stat;
    } q;
    struct disk_resume_entry *resume; /* OP_RESUME: with what it is replaced */
    struct buf saved;
    bool is_final;
};

void disk_init(struct disk *d, struct world *w, uint32_t node, const struct disk_params *p)
{
    *d = (struct disk){.w = w, .node = node, .p = *p};
    world_fork_rng(w, &d->rng);
    list_init(&d->ops);
    list_init(&d->volumes);
    list_init(&d->resumes);
}

static void op_free(struct disk_op *op)
{
    world_stop(op->d->w, &op->ev);
    list_remove(&op->d->ops, &op->in_ops);
    if (op->kind == OP_RESUME)
        buf_clear(&op->saved);
    world_free(op->d->w, op);
}

void disk_clear(struct disk *d)
{
    LIST_EACH(&d->ops, op, struct disk_op, in_ops)
    op_free(op);
    LIST_EACH(&d->volumes, v, struct disk_volume, in_volumes)
    volume_free(v);
    LIST_EACH(&d->resumes, e, struct disk_resume_entry, in_resumes)
    {
        buf_clear(&e->key);
        buf_clear(&e->latest);
        buf_clear(&e->durable);
        world_free(d->w, e);
    }
}

void disk_attach(struct disk *d, void (*done)(void *ctx, uint64_t job, const struct err *err),
                 void *ctx)
{
    assert(list_is_empty(&d->ops));
    d->done = done;
    d->ctx = ctx;
    d->busy_until_us = 0;
}

/* --- faults ---------------------------------------------------------------------------------- */

void disk_plan_fault(struct disk *d, enum disk_fault kind, uint64_t after, int err_no,
                     bool is_lasting)
{
    d->faults[kind] =
        (struct disk_fault_plan){.after = after, .err_no = err_no, .is_lasting = is_lasting};
}

void disk_plan_crash(struct disk *d, uint64_t at_op, bool is_after, void (*crash)(void *ctx),
                     void *ctx)
{
    d->crash_at_op = at_op;
    d->is_crash_after = is_after;
    d->crash = crash;
    d->crash_ctx = ctx;
}

static bool fault_strikes(struct disk *d, enum disk_fault kind, struct err *err)
{
    struct disk_fault_plan *f = &d->faults[kind];
    if (!f->err_no || f->after-- > 0)
        return false;
    f->after = 0;
    d->stats.n_faults++;
    *err = (struct err){.code = ERR_IO,
                        .what = "simulated fault of the disk",
                        .got = (uint64_t)f->err_no,
                        .at = STORE_NO_FILE};
    if (!f->is_lasting)
        f->err_no = 0;
    return true;
}

/* --- requests -------------------------------------------------------------------------------- */

static struct disk_volume *find_volume(const struct disk *d, uint32_t torrent)
{
    LIST_EACH(&d->volumes, v, struct disk_volume, in_volumes)
    if (v->is_open && v->torrent == torrent)
        return v;
    return NULL;
}

static struct disk_volume *volume_of(const struct disk *d, const struct content *c)
{
    LIST_EACH(&d->volumes, v, struct disk_volume, in_volumes)
    if (v->content == c)
        return v;
    return NULL;
}

/* A write that fails, or that a crash meets, may have been done in part. */
static void put_part(struct disk *d, struct disk_op *op)
{
    const struct store_put *q = op->q.put;
    if (rng_below(&d->rng, 2) == 0)
        return;
    uint64_t need = volume_need_len(op->v, q->piece, q->begin, q->len);
    d->stats.n_torn_blocks += volume_write_part(op->v, q, &d->rng);
    d->used_len += need - volume_need_len(op->v, q->piece, q->begin, q->len);
}

static void do_put(struct disk *d, struct disk_op *op, struct err *err)
{
    struct store_put *q = op->q.put;
    q->is_bad = !volume_hash(op->v, q);
    q->is_written = false;
    d->stats.n_puts++;
    if (q->is_bad || q->is_hash_only)
        return;
    uint64_t need = volume_need_len(op->v, q->piece, q->begin, q->len);
    if (d->p.cap_len && d->used_len + need > d->p.cap_len) {
        *err = (struct err){.code = ERR_IO, .what = "simulated disk is full", .got = ENOSPC};
        err->at = volume_file_of(op->v, q->piece, q->begin);
        put_part(d, op);
        d->used_len = u64_min(d->used_len, d->p.cap_len);
        return;
    }
    if (fault_strikes(d, DISK_WRITE, err)) {
        err->at = volume_file_of(op->v, q->piece, q->begin);
        put_part(d, op);
        return;
    }
    d->used_len += need;
    d->stats.written_len += q->len;
    d->stats.n_rewrites += volume_write(op->v, q);
    q->is_written = true;
}

static void do_open(struct disk *d, struct disk_op *op, struct err *err)
{
    struct store_open *q = op->q.open;
    if (fault_strikes(d, DISK_OPEN, err)) {
        op->v->is_open = false;
        return;
    }
    if (q->alloc == STORE_FULL && !q->is_read_only) {
        uint64_t need = volume_allocate(op->v);
        d->used_len += need;
        if (d->p.cap_len && d->used_len > d->p.cap_len)
            *err = (struct err){
                .code = ERR_IO, .what = "simulated disk is full", .got = ENOSPC, .at = 0};
    }
    volume_stat(op->v, q->files);
    op->v->is_open = err->code == ERR_OK; /* what could not be opened is not closed either */
}

static void replace(struct buf *b, struct bytes with)
{
    buf_reset(b);
    buf_put(b, with);
}

static void do_save(struct disk_op *op)
{
    replace(&op->resume->latest, buf_bytes(&op->saved));
    if (op->is_final)
        replace(&op->resume->durable, buf_bytes(&op->saved));
}

static void do_op(struct disk *d, struct disk_op *op, struct err *err)
{
    switch (op->kind) {
    case OP_OPEN:
        do_open(d, op, err);
        break;
    case OP_PUT:
        do_put(d, op, err);
        break;
    case OP_CHECK:
        if (!fault_strikes(d, DISK_READ, err))
            volume_check(op->v, op->q.check);
        break;
    case OP_READ:
        if (!fault_strikes(d, DISK_READ, err) &&
            !volume_read(op->v, op->q.read->piece, op->q.read->begin, op->q.read->len,
                         op->q.read->out))
            *err = (struct err){.code = ERR_IO, .what = "file is short", .got = EIO};
        break;
    case OP_SYNC:
        d->stats.n_syncs++;
        if (!fault_strikes(d, DISK_SYNC, err))
            volume_sync(op->v, op->job);
        break;
    case OP_STAT:
        volume_stat(op->v, op->q.stat);
        break;
    case OP_CLOSE:
        op->v->is_open = false;
        break;
    case OP_RESUME:
        if (!fault_strikes(d, DISK_SAVE, err))
            do_save(op);
        break;
    }
}

static void on_op(struct world *w, struct sim_event *ev)
{
    struct disk_op *op = CONTAINER_OF(ev, struct disk_op, ev);
    struct disk *d = op->d;
    struct err err = {0};
    uint64_t job = op->job;
    bool is_crash = ++d->n_ops == d->crash_at_op;
    if (is_crash && !d->is_crash_after) {
        d->crash(d->crash_ctx);
        return;
    }
    do_op(d, op, &err);
    world_trace(w, TRACE_DISK, d->node, (uint64_t)op->kind, (uint64_t)err.code);
    op_free(op);
    if (is_crash)
        d->crash(d->crash_ctx);
    else
        d->done(d->ctx, job, &err);
}

/* Moving len bytes occupies the device; the latency of one request hides behind others. */
static uint64_t finish_us(struct disk *d, uint64_t len, uint64_t rate_per_s)
{
    uint64_t start_us = u64_max(d->busy_until_us, d->w->now_us);
    if (rate_per_s)
        start_us += len * US_PER_S / rate_per_s;
    d->busy_until_us = start_us;
    if (d->p.latency_us)
        start_us += d->p.latency_us + rng_below64(&d->rng, d->p.latency_us);
    return start_us;
}

static struct disk_op *submit(struct disk *d, enum disk_op_kind kind, uint64_t job,
                              struct disk_volume *v, uint64_t at_us)
{
    struct disk_op *op = world_calloc(d->w, 1, sizeof *op);
    assert(d->done);
    *op = (struct disk_op){.d = d, .v = v, .job = job, .kind = kind};
    sim_event_init(&op->ev, on_op);
    list_push_back(&d->ops, &op->in_ops);
    if (v)
        v->last_us = u64_max(v->last_us, at_us);
    world_set(d->w, &op->ev, at_us);
    return op;
}

void disk_store_open(struct disk *d, uint64_t job, struct store_open *q, const struct content *c)
{
    struct disk_volume *v = volume_of(d, c);
    if (!v)
        v = volume_new(d, c);
    assert(!v->is_open && !find_volume(d, q->torrent));
    v->is_open = true;
    v->torrent = q->torrent;
    submit(d, OP_OPEN, job, v, finish_us(d, 0, 0))->q.open = q;
}

void disk_store_put(struct disk *d, uint64_t job, struct store_put *q)
{
    struct disk_volume *v = find_volume(d, q->torrent);
    assert(v && q->len > 0 && q->begin % BLOCK_LEN == 0);
    assert(q->begin + q->len <= layout_piece_data_len(volume_layout(v), q->piece));
    uint64_t at_us = finish_us(d, q->is_hash_only ? 0 : q->len, d->p.write_per_s);
    submit(d, OP_PUT, job, v, at_us)->q.put = q;
}

void disk_store_check(struct disk *d, uint64_t job, struct store_check *q)
{
    struct disk_volume *v = find_volume(d, q->torrent);
    assert(v);
    uint32_t len = layout_piece_data_len(volume_layout(v), q->piece);
    d->stats.read_len += len;
    submit(d, OP_CHECK, job, v, finish_us(d, len, d->p.read_per_s))->q.check = q;
}

void disk_store_read(struct disk *d, uint64_t job, struct store_read *q)
{
    struct disk_volume *v = find_volume(d, q->torrent);
    assert(v && layout_has_range(volume_layout(v), q->piece, q->begin, q->len));
    d->stats.read_len += q->len;
    submit(d, OP_READ, job, v, finish_us(d, q->len, d->p.read_per_s))->q.read = q;
}

void disk_store_sync(struct disk *d, uint64_t job, uint32_t torrent)
{
    struct disk_volume *v = find_volume(d, torrent);
    assert(v);
    volume_mark_sync(v, job);
    submit(d, OP_SYNC, job, v, finish_us(d, 0, 0) + 2 * d->p.latency_us);
}

void disk_store_stat(struct disk *d, uint64_t job, uint32_t torrent, struct store_file_stat *out)
{
    struct disk_volume *v = find_volume(d, torrent);
    assert(v);
    submit(d, OP_STAT, job, v, finish_us(d, 0, 0))->q.stat = out;
}

void disk_store_close(struct disk *d, uint64_t job, uint32_t torrent)
{
    struct disk_volume *v = find_volume(d, torrent);
    assert(v);
    submit(d, OP_CLOSE, job, v, u64_max(v->last_us, finish_us(d, 0, 0)));
}

/* --- resume data ----------------------------------------------------------------------------- */

static struct disk_resume_entry *find_resume(const struct disk *d, struct bytes key)
{
    LIST_EACH(&d->resumes, e, struct disk_resume_entry, in_resumes)
    if (bytes_equal(buf_bytes(&e->key), key))
        return e;
    return NULL;
}

void disk_resume_save(struct disk *d, uint64_t job, struct bytes key, struct bytes resume,
                      bool is_final)
{
    struct disk_resume_entry *e = find_resume(d, key);
    if (!e) {
        e = world_calloc(d->w, 1, sizeof *e);
        buf_init(&e->key, d->w->mem, SIZE_MAX);
        buf_init(&e->latest, d->w->mem, SIZE_MAX);
        buf_init(&e->durable, d->w->mem, SIZE_MAX);
        buf_put(&e->key, key);
        list_push_back(&d->resumes, &e->in_resumes);
    }
    struct disk_op *op = submit(d, OP_RESUME, job, NULL, finish_us(d, 0, 0));
    op->resume = e;
    op->is_final = is_final;
    buf_init(&op->saved, d->w->mem, SIZE_MAX);
    buf_put(&op->saved, resume);
}

struct bytes disk_resume(const struct disk *d, struct bytes key)
{
    const struct disk_resume_entry *e = find_resume(d, key);
    return e ? buf_bytes(&e->latest) : (struct bytes){0};
}

/* --- crash ----------------------------------------------------------------------------------- */

void disk_crash(struct disk *d, bool is_power_lost)
{
    LIST_EACH(&d->ops, op, struct disk_op, in_ops)
    {
        if (op->kind == OP_PUT && !op->q.put->is_hash_only)
            put_part(d, op);
        if (op->kind == OP_RESUME && rng_below(&d->rng, 2))
            do_save(op);
        op_free(op);
    }
    LIST_EACH(&d->volumes, v, struct disk_volume, in_volumes)
    {
        v->is_open = false;
        volume_forget_marks(v);
        if (is_power_lost)
            volume_lose_power(v, &d->rng, &d->stats);
    }
    LIST_EACH(&d->resumes, e, struct disk_resume_entry, in_resumes)
    if (is_power_lost && rng_below(&d->rng, 2))
        replace(&e->latest, buf_bytes(&e->durable));
    d->done = NULL;
}

/* --- truth ----------------------------------------------------------------------------------- */

const struct content *disk_content(const struct disk *d, uint32_t torrent)
{
    const struct disk_volume *v = find_volume(d, torrent);
    return v ? v->content : NULL;
}

enum disk_range disk_send(struct disk *d, uint32_t torrent, uint32_t piece, uint32_t begin,
                          uint32_t len, struct err *err)
{
    struct disk_volume *v = find_volume(d, torrent);
    assert(v);
    d->stats.read_len += len;
    if (fault_strikes(d, DISK_READ, err))
        return DISK_FAILED;
    return volume_is_right(v, piece, begin, len) ? DISK_RIGHT : DISK_NOT_RIGHT;
}

bool disk_peek(struct disk *d, const struct content *c, uint32_t piece, uint32_t begin,
               uint32_t len, uint8_t *out)
{
    struct disk_volume *v = volume_of(d, c);
    return v && volume_read(v, piece, begin, len, out);
}

bool disk_piece_is_right(const struct disk *d, const struct content *c, uint32_t piece)
{
    struct disk_volume *v = volume_of(d, c);
    uint32_t len = layout_piece_data_len(&c->info->layout, piece);
    return len == 0 || (v && volume_is_right(v, piece, 0, len));
}

bool disk_piece_is_durable(const struct disk *d, const struct content *c, uint32_t piece)
{
    struct disk_volume *v = volume_of(d, c);
    return layout_piece_data_len(&c->info->layout, piece) == 0 ||
           (v && volume_is_durable(v, piece));
}

void disk_fill(struct disk *d, const struct content *c)
{
    struct disk_volume *v = volume_of(d, c);
    if (!v)
        v = volume_new(d, c);
    d->used_len += volume_fill(v);
}

void disk_damage(struct disk *d, const struct content *c, uint32_t piece, uint32_t block,
                 bool is_time_kept)
{
    struct disk_volume *v = volume_of(d, c);
    assert(v);
    volume_damage(v, piece, block, is_time_kept);
}
