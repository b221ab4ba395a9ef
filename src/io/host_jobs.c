#include "io/host_jobs.h"
#include "base/size.h"
#include "crypto/random.h"
#include "io/loop.h"
#include "store/resume_store.h"
#include "torrent/metainfo.h"
#include <assert.h>

#define DEVICE_KEY_BIT (1ull << 63) /* tells device numbers from enum workers_key */
#define N_LOST_MAX     1024u

enum job_kind {
    JOB_OPEN,
    JOB_PUT,
    JOB_CHECK,
    JOB_READ,
    JOB_SYNC,
    JOB_STAT,
    JOB_CLOSE,
    JOB_RESUME,
    JOB_WARM,
    JOB_REFUSED /* answered without a worker */
};

struct warm_range {
    uint32_t file;
    uint64_t off, end, at_us;
};

/* A torrent whose storage is open, or being opened or closed. */
struct host_store {
    struct file_store *files; /* NULL until opened */
    const struct metainfo *info;
    uint32_t queue;
    size_t n_out;               /* jobs under way */
    struct host_job *last_job;  /* kept ready, as closing must not want memory; then close_job */
    struct host_job *close_job; /* begins when the others have ended */
    struct warm_range *warm;    /* HOST_N_WARM, from the first one on */
    uint32_t next_warm;
};

struct host_job {
    struct work work;
    struct list_node in_list; /* free, or answers */
    struct host_jobs *owner;
    enum job_kind kind;
    uint64_t job;
    uint32_t torrent;
    struct host_store *store;
    struct file_store *files; /* of the store; what JOB_OPEN opened */
    struct err err;           /* code ERR_OK: done */
    union {
        struct store_open *open;
        struct store_put *put;
        struct store_check *check;
        struct store_read *read;
        struct store_file_stat *stat;
        struct {
            uint8_t *data; /* key, then resume data */
            size_t key_len, resume_len;
            bool is_final;
        } resume;
        struct {
            uint32_t conn, file;
            uint64_t off, len;
        } warm;
    };
};

struct host_jobs {
    struct workers *workers;
    struct workers_port *port;
    struct file_cache *files;
    struct resume_store *resume;
    struct host_jobs_owner owner;
    struct mem mem;
    struct map stores;             /* torrent -> struct host_store * */
    struct host_store *last_found; /* NULL, or one of stores, of last_torrent */
    uint32_t last_torrent;
    struct list free, answers;
    uint32_t open_queue, resume_queue;
    uint64_t lost[N_LOST_MAX]; /* jobs that not even memory was there for */
    uint32_t n_lost;
    atomic_bool is_closing; /* read by workers: what is queued need not be done any more */
};

/* --- on a worker ----------------------------------------------------------------------------- */

static enum err_code run_resume(struct host_job *j)
{
    struct resume_store *rs = j->owner->resume;
    struct bytes key = bytes_of(j->resume.data, j->resume.key_len);
    struct bytes resume = bytes_of(j->resume.data + j->resume.key_len, j->resume.resume_len);
    return rs ? resume_store_put(rs, key, resume, j->resume.is_final, &j->err) : ERR_OK;
}

static enum err_code run_kind(struct host_job *j, struct span scratch)
{
    struct file_store *fs = j->files;
    switch (j->kind) {
    case JOB_OPEN:
        return file_store_open(&j->files, j->owner->files, j->open, &j->err);
    case JOB_PUT:
        return file_store_put(fs, j->put, &j->err);
    case JOB_CHECK:
        return file_store_check(fs, j->check, scratch, &j->err);
    case JOB_READ:
        return file_store_read(fs, j->read, &j->err);
    case JOB_SYNC:
        return file_store_sync(fs, &j->err);
    case JOB_STAT:
        return file_store_stat(fs, j->stat, &j->err);
    case JOB_CLOSE:
        file_store_close(fs);
        return ERR_OK;
    case JOB_RESUME:
        return run_resume(j);
    case JOB_WARM:
        return file_store_warm(fs, j->warm.file, j->warm.off, j->warm.len, scratch, &j->err);
    case JOB_REFUSED:
        break;
    }
    return ERR_OK;
}

/* True, and j says so: the session goes away, and nobody wants this any more. */
static bool job_is_off(struct host_job *j)
{
    bool must_run = j->kind == JOB_RESUME || j->kind == JOB_CLOSE;
    if (must_run || !atomic_load_explicit(&j->owner->is_closing, memory_order_relaxed))
        return false;
    err_set(&j->err, ERR_CANCELLED, "shutting down");
    return true;
}

static void job_run(struct work *w, struct span scratch)
{
    struct host_job *j = CONTAINER_OF(w, struct host_job, work);
    j->err.code = ERR_OK;
    if (!job_is_off(j))
        j->err.code = run_kind(j, scratch);
}

/* Puts that gathered: their pieces are hashed side by side. */
static void jobs_put(struct work *const *ws, size_t n, struct span scratch)
{
    (void)scratch;
    struct store_put_item items[WORKERS_N_MANY];
    static_assert(WORKERS_N_MANY <= STORE_PUTS_MAX, "a store takes them all at once");
    size_t n_items = 0;
    for (size_t i = 0; i < n; i++) {
        struct host_job *j = CONTAINER_OF(ws[i], struct host_job, work);
        if (!job_is_off(j))
            items[n_items++] = (struct store_put_item){j->files, j->put, &j->err};
    }
    file_store_put_many(items, n_items);
}

/* The same for pieces on disk. */
static void jobs_check(struct work *const *ws, size_t n, struct span scratch)
{
    struct store_check_item items[WORKERS_N_MANY];
    static_assert(WORKERS_N_MANY <= STORE_PUTS_MAX, "a store takes them all at once");
    size_t n_items = 0;
    for (size_t i = 0; i < n; i++) {
        struct host_job *j = CONTAINER_OF(ws[i], struct host_job, work);
        if (!job_is_off(j))
            items[n_items++] = (struct store_check_item){j->files, j->check, &j->err};
    }
    if (n_items > 0)
        file_store_check_many(items, n_items, scratch);
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void job_done(struct work *w);

static void job_init(struct host_job *j, struct host_jobs *hj, enum job_kind kind, uint64_t job)
{
    *j = (struct host_job){.work = {.run = job_run, .done = job_done, .port = hj->port},
                           .owner = hj,
                           .kind = kind,
                           .job = job};
}

static struct host_job *job_new(struct host_jobs *hj, enum job_kind kind, uint64_t job)
{
    struct list_node *node = list_pop_front(&hj->free);
    struct host_job *j =
        node ? CONTAINER_OF(node, struct host_job, in_list) : mem_alloc(&hj->mem, sizeof *j);
    if (j)
        job_init(j, hj, kind, job);
    return j;
}

static void job_free(struct host_job *j)
{
    struct host_jobs *hj = j->owner;
    if (j->kind == JOB_RESUME)
        mem_free(&hj->mem, j->resume.data);
    list_push_front(&hj->free, &j->in_list);
}

/* Answers in the next turn: a host function never calls back. */
static void job_refuse(struct host_job *j, enum err_code code, const char *what)
{
    err_set_at(&j->err, code, what, STORE_NO_FILE, 0, 0);
    list_push_back(&j->owner->answers, &j->in_list);
}

static void job_lost(struct host_jobs *hj, uint64_t job)
{
    assert(hj->n_lost < N_LOST_MAX); /* more than a turn can ask for without memory */
    hj->lost[hj->n_lost++] = job;
}

static void store_free(struct host_jobs *hj, struct host_store *s)
{
    mem_free(&hj->mem, s->last_job);
    mem_free(&hj->mem, s->warm);
    mem_free(&hj->mem, s);
}

static void store_forget(struct host_jobs *hj, uint32_t torrent)
{
    struct host_store **slot = map_get(&hj->stores, &torrent);
    if (!slot)
        return;
    hj->last_found = NULL;
    store_free(hj, *slot);
    map_remove(&hj->stores, &torrent);
}

/* The workers have too much to do already. Closing cannot be refused: it is done here. */
static void job_not_submitted(struct host_job *j)
{
    struct host_store *s = j->store;
    if (s)
        s->n_out--;
    if (j->kind == JOB_CLOSE)
        file_store_close(j->files);
    if (j->kind == JOB_CLOSE || j->kind == JOB_OPEN)
        store_forget(j->owner, j->torrent);
    job_refuse(j, j->kind == JOB_CLOSE ? ERR_OK : ERR_LIMIT,
               j->kind == JOB_CLOSE ? NULL : "too many storage requests are waiting");
}

static void job_submit(struct host_job *j, uint32_t queue)
{
    if (workers_submit(j->owner->workers, queue, &j->work))
        job_not_submitted(j);
}

static void store_try_close(struct host_store *s)
{
    if (s->n_out > 0 || !s->close_job)
        return;
    s->n_out++;
    s->close_job->files = s->files;
    job_submit(s->close_job, s->queue);
}

static void store_opened(struct host_job *j)
{
    struct host_store *s = j->store;
    s->files = j->files; /* NULL when it failed and a close waits, which then has nothing to do */
    if (s->files)
        s->queue =
            workers_queue(j->owner->workers, file_store_device(s->files) | DEVICE_KEY_BIT, 0);
}

static void note_warm(struct host_job *j)
{
    struct host_store *s = j->store;
    if (!s->warm)
        s->warm = mem_calloc(&j->owner->mem, HOST_N_WARM, sizeof *s->warm);
    if (j->err.code || !s->warm)
        return;
    s->warm[s->next_warm++ % HOST_N_WARM] =
        (struct warm_range){j->warm.file, j->warm.off, j->warm.off + j->warm.len, clock_now_us()};
}

/* What the host keeps is put right before the engine hears of it. */
static void job_settle(struct host_job *j)
{
    struct host_store *s = j->store;
    if (!s)
        return;
    s->n_out--;
    bool has_not_opened = j->kind == JOB_OPEN && !j->files && !s->close_job;
    if (j->kind == JOB_CLOSE || has_not_opened) {
        store_forget(j->owner, j->torrent);
        return;
    }
    if (j->kind == JOB_OPEN)
        store_opened(j);
    else if (j->kind == JOB_WARM)
        note_warm(j);
    store_try_close(s);
}

static void job_answer(struct host_job *j)
{
    struct host_jobs *hj = j->owner;
    struct host_jobs_owner owner = hj->owner;
    enum job_kind kind = j->kind;
    uint64_t job = j->job;
    uint32_t conn = kind == JOB_WARM ? j->warm.conn : 0;
    struct err err = j->err;
    job_free(j);
    if (!owner.done || atomic_load(&hj->is_closing))
        return;
    if (kind == JOB_WARM)
        owner.warmed(owner.ctx, conn, err.code ? &err : NULL);
    else
        owner.done(owner.ctx, job, err.code ? &err : NULL);
}

static void job_done(struct work *w)
{
    struct host_job *j = CONTAINER_OF(w, struct host_job, work);
    if (w->is_cancelled)
        err_set(&j->err, ERR_CANCELLED, "shutting down");
    job_settle(j);
    job_answer(j);
}

bool host_jobs_has_answers(const struct host_jobs *hj)
{
    return hj->answers.n + hj->n_lost > 0;
}

bool host_jobs_deliver(struct host_jobs *hj)
{
    bool had_some = host_jobs_has_answers(hj);
    struct err err = {ERR_NO_MEMORY, "no memory for a storage request", STORE_NO_FILE, 0, 0};
    uint64_t lost[N_LOST_MAX];
    uint32_t n_lost = hj->n_lost;
    memcpy(lost, hj->lost, n_lost * sizeof lost[0]);
    hj->n_lost = 0;
    for (size_t left = hj->answers.n; left > 0; left--)
        job_answer(CONTAINER_OF(list_pop_front(&hj->answers), struct host_job, in_list));
    for (uint32_t i = 0; i < n_lost; i++)
        hj->owner.done(hj->owner.ctx, lost[i], &err);
    return had_some;
}

/* --- life ------------------------------------------------------------------------------------ */

enum err_code host_jobs_new(struct host_jobs **out, struct loop *l, struct workers *workers,
                            struct file_cache *files, struct resume_store *resume,
                            const struct host_jobs_owner *owner, struct err *err)
{
    *out = NULL;
    struct host_jobs *hj = calloc(1, sizeof *hj);
    if (!hj)
        return err_set(err, ERR_NO_MEMORY, "no memory for storage requests");
    enum err_code code = workers_port_new(&hj->port, l, err);
    if (code) {
        free(hj);
        return code;
    }
    hj->workers = workers;
    hj->files = files;
    hj->resume = resume;
    hj->owner = *owner;
    mem_init(&hj->mem, MEM_NO_BUDGET, NULL);
    struct map_seed seed = {random_u64(), random_u64()};
    map_init(&hj->stores, &hj->mem, seed, sizeof(uint32_t), sizeof(struct host_store *),
             HOST_N_TORRENTS_MAX);
    list_init(&hj->free);
    list_init(&hj->answers);
    hj->open_queue = workers_queue(workers, WORKERS_OPEN, 0);
    hj->resume_queue = workers_queue(workers, WORKERS_RESUME, 1);
    *out = hj;
    return ERR_OK;
}

static void free_list(struct host_jobs *hj, struct list *l)
{
    struct list_node *node;
    while ((node = list_pop_front(l)))
        mem_free(&hj->mem, CONTAINER_OF(node, struct host_job, in_list));
}

static void free_stores(struct host_jobs *hj)
{
    const void *key;
    void *value;
    size_t cursor = 0;
    while (map_next(&hj->stores, &cursor, &key, &value)) {
        struct host_store *s = *(struct host_store **)value;
        file_store_close(s->files);
        store_free(hj, s);
    }
    map_clear(&hj->stores);
}

void host_jobs_free(struct host_jobs *hj)
{
    if (!hj)
        return;
    atomic_store(&hj->is_closing, true);
    while (workers_port_n_out(hj->port) > 0)
        workers_port_wait(hj->port, true);
    while (!list_is_empty(&hj->answers)) /* a close may follow what ended */
        job_free(CONTAINER_OF(list_pop_front(&hj->answers), struct host_job, in_list));
    free_stores(hj);
    free_list(hj, &hj->free);
    workers_port_free(hj->port);
    mem_check_empty(&hj->mem);
    free(hj);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct host_store *store_find(struct host_jobs *hj, uint32_t torrent)
{
    if (hj->last_found && hj->last_torrent == torrent)
        return hj->last_found;
    struct host_store **slot = map_get(&hj->stores, &torrent);
    hj->last_torrent = torrent;
    return hj->last_found = slot ? *slot : NULL;
}

static struct host_store *store_new(struct host_jobs *hj, const struct store_open *request)
{
    struct host_store *s = mem_calloc(&hj->mem, 1, sizeof *s);
    if (!s)
        return NULL;
    s->last_job = mem_alloc(&hj->mem, sizeof *s->last_job);
    struct host_store **slot = s->last_job ? map_put(&hj->stores, &request->torrent, NULL) : NULL;
    if (!slot) {
        store_free(hj, s);
        return NULL;
    }
    s->info = request->info;
    s->queue = hj->open_queue;
    *slot = s;
    return s;
}

void host_jobs_open(struct host_jobs *hj, uint64_t job, struct store_open *request)
{
    struct host_job *j = job_new(hj, JOB_OPEN, job);
    if (!j) {
        job_lost(hj, job);
        return;
    }
    j->open = request;
    j->torrent = request->torrent;
    if (store_find(hj, request->torrent)) {
        job_refuse(j, ERR_PROTOCOL, "the storage is open already");
        return;
    }
    j->store = store_new(hj, request);
    if (!j->store) {
        job_refuse(j, ERR_NO_MEMORY, "no memory for the files of a torrent");
        return;
    }
    j->store->n_out++;
    job_submit(j, j->store->queue);
}

/* For everything that needs open storage; NULL: the answer is on its way. */
static struct host_job *store_job(struct host_jobs *hj, enum job_kind kind, uint64_t job,
                                  uint32_t torrent)
{
    struct host_job *j = job_new(hj, kind, job);
    if (!j) {
        job_lost(hj, job);
        return NULL;
    }
    struct host_store *s = store_find(hj, torrent);
    if (!s || !s->files || s->close_job) {
        j->kind = JOB_REFUSED;
        job_refuse(j, ERR_NOT_FOUND, "the torrent's storage is not open");
        return NULL;
    }
    j->torrent = torrent;
    j->store = s;
    return j;
}

static void store_submit(struct host_job *j)
{
    j->store->n_out++;
    j->files = j->store->files;
    job_submit(j, j->store->queue);
}

void host_jobs_put(struct host_jobs *hj, uint64_t job, struct store_put *request)
{
    struct host_job *j = store_job(hj, JOB_PUT, job, request->torrent);
    if (!j)
        return;
    j->put = request;
    if (request->v1) /* leaves of v2 are hashed side by side within one put */
        j->work.run_many = jobs_put;
    store_submit(j);
}

void host_jobs_check(struct host_jobs *hj, uint64_t job, struct store_check *request)
{
    struct host_job *j = store_job(hj, JOB_CHECK, job, request->torrent);
    if (!j)
        return;
    j->check = request;
    if (request->want_v1)
        j->work.run_many = jobs_check;
    store_submit(j);
}

void host_jobs_read(struct host_jobs *hj, uint64_t job, struct store_read *request)
{
    struct host_job *j = store_job(hj, JOB_READ, job, request->torrent);
    if (!j)
        return;
    j->read = request;
    store_submit(j);
}

void host_jobs_sync(struct host_jobs *hj, uint64_t job, uint32_t torrent)
{
    struct host_job *j = store_job(hj, JOB_SYNC, job, torrent);
    if (j)
        store_submit(j);
}

void host_jobs_stat(struct host_jobs *hj, uint64_t job, uint32_t torrent,
                    struct store_file_stat *out_files)
{
    struct host_job *j = store_job(hj, JOB_STAT, job, torrent);
    if (!j)
        return;
    j->stat = out_files;
    store_submit(j);
}

void host_jobs_close(struct host_jobs *hj, uint64_t job, uint32_t torrent)
{
    struct host_store *s = store_find(hj, torrent);
    if (s && !s->close_job) {
        s->close_job = s->last_job;
        s->last_job = NULL;
        job_init(s->close_job, hj, JOB_CLOSE, job);
        s->close_job->torrent = torrent;
        s->close_job->store = s;
        store_try_close(s);
        return;
    }
    struct host_job *j = job_new(hj, JOB_REFUSED, job);
    if (j)
        job_refuse(j, ERR_OK, NULL); /* nothing is open: done */
    else
        job_lost(hj, job);
}

void host_jobs_resume(struct host_jobs *hj, uint64_t job, struct bytes key, struct bytes resume,
                      bool is_final)
{
    struct host_job *j = job_new(hj, JOB_RESUME, job);
    if (!j) {
        job_lost(hj, job);
        return;
    }
    size_t len;
    j->resume.data = size_add(&len, key.len, resume.len) ? mem_alloc(&hj->mem, len) : NULL;
    if (!j->resume.data) {
        job_refuse(j, ERR_NO_MEMORY, "no memory for resume data");
        return;
    }
    memcpy(j->resume.data, key.data, key.len);
    if (resume.len)
        memcpy(j->resume.data + key.len, resume.data, resume.len);
    j->resume.key_len = key.len;
    j->resume.resume_len = resume.len;
    j->resume.is_final = is_final;
    job_submit(j, hj->resume_queue);
}

/* --- uploads --------------------------------------------------------------------------------- */

struct file_store *host_jobs_store(struct host_jobs *hj, uint32_t torrent)
{
    struct host_store *s = store_find(hj, torrent);
    return s && !s->close_job ? s->files : NULL;
}

const struct layout *host_jobs_layout(struct host_jobs *hj, uint32_t torrent)
{
    struct host_store *s = store_find(hj, torrent);
    return s && s->files && !s->close_job ? &s->info->layout : NULL;
}

bool host_jobs_is_warm(struct host_jobs *hj, uint32_t torrent, uint32_t file, uint64_t off,
                       uint32_t len)
{
    struct host_store *s = store_find(hj, torrent);
    uint64_t now_us = clock_now_us();
    for (uint32_t i = 0; s && s->warm && i < HOST_N_WARM; i++) {
        const struct warm_range *w = &s->warm[i];
        if (w->file == file && w->off <= off && off + len <= w->end &&
            now_us - w->at_us < HOST_WARM_US)
            return true;
    }
    return false;
}

bool host_jobs_warm(struct host_jobs *hj, uint32_t conn, uint32_t torrent, uint32_t file,
                    uint64_t off, uint32_t len)
{
    struct host_job *j = job_new(hj, JOB_WARM, 0);
    struct host_store *s = store_find(hj, torrent);
    assert(s && s->files && !s->close_job); /* the network asked for the store just now */
    if (!j)
        return false;
    j->torrent = torrent;
    j->store = s;
    j->warm.conn = conn;
    j->warm.file = file;
    j->warm.off = off;
    j->warm.len = u64_max(len, HOST_WARM_LEN);
    store_submit(j);
    return true;
}
