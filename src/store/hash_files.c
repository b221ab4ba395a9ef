/* hash_files: a shared counter hands out spans of pieces; each worker fills its buffer with as many
 * whole pieces as fit (or with parts of one piece, when pieces are larger), in long reads, and
 * hashes them while they are in its cache. */
#include "store/hash_files.h"
#include "base/size.h"
#include "torrent/merkle.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUF_LEN       (1u << 20) /* ours: longer reads gain nothing, and this stays in L2 */
#define SPAN_LEN      (8u << 20) /* ours: what a worker takes at once, for sequential disks */
#define N_THREADS_MAX 256u
#define PROGRESS_NS   100000000l

static_assert(BUF_LEN % MERKLE_BLOCK_LEN == 0, "parts of a large piece end between leaves");

/* A stretch of one file on its way into the buffer. */
struct stretch {
    uint32_t file;
    uint64_t off;
    size_t len;
    uint8_t *to;
};

struct shared {
    struct hash_files *h;
    uint32_t n_pieces_span; /* pieces a worker takes at once */
    uint32_t n_pieces_fill; /* whole pieces that fit the buffer; 0: pieces are larger */
    _Atomic uint32_t next_piece;
    _Atomic uint64_t done_len;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned n_running; /* under the lock */
};

struct worker {
    struct shared *shared;
    pthread_t thread;
    int fd;
    uint32_t fd_file;
    uint8_t *buf, *leaves;
    uint32_t first_piece; /* of what is in the buffer */
};

/* --- paths and states ------------------------------------------------------------------------ */

unsigned hash_files_n_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : (unsigned)n;
}

static bool path_of(const struct hash_files *h, const char *path, char *out, size_t out_cap)
{
    const char *below = h->info->is_multi_file ? path + strlen(h->info->name) : "";
    int n = snprintf(out, out_cap, "%s%s", h->top, below);
    return n > 0 && (size_t)n < out_cap;
}

bool hash_files_path(const struct hash_files *h, uint32_t file, char *out, size_t out_cap)
{
    return path_of(h, h->info->files[file].path, out, out_cap);
}

static void set_state(struct hash_files *h, uint32_t file, enum hash_file_state state, int err_no)
{
    atomic_store(&h->files[file].err_no, err_no);
    atomic_store(&h->files[file].state, (uint8_t)state);
}

/* The link leads to the place in the torrent that it should. */
static enum hash_file_state look_at_link(const struct hash_files *h, uint32_t file,
                                         const char *path)
{
    char target[PATH_MAX], real[PATH_MAX], want[PATH_MAX];
    if (!path_of(h, h->info->files[file].symlink, target, sizeof target))
        return HASH_FILE_FAILED;
    if (!realpath(path, real) || !realpath(target, want))
        return HASH_FILE_ABSENT;
    return strcmp(real, want) == 0 ? HASH_FILE_OK : HASH_FILE_WRONG_KIND;
}

static void look_at(struct hash_files *h, uint32_t file)
{
    const struct metainfo_file *f = &h->info->files[file];
    char path[PATH_MAX];
    struct stat st;
    if (f->flags & FILE_PAD)
        return;
    if (!hash_files_path(h, file, path, sizeof path))
        set_state(h, file, HASH_FILE_FAILED, ENAMETOOLONG);
    else if ((f->flags & FILE_SYMLINK ? lstat(path, &st) : stat(path, &st)) != 0)
        set_state(h, file,
                  errno == ENOENT || errno == ENOTDIR ? HASH_FILE_ABSENT : HASH_FILE_FAILED, errno);
    else if (f->flags & FILE_SYMLINK)
        set_state(h, file, S_ISLNK(st.st_mode) ? look_at_link(h, file, path) : HASH_FILE_WRONG_KIND,
                  0);
    else if (!S_ISREG(st.st_mode))
        set_state(h, file, HASH_FILE_WRONG_KIND, 0);
    else {
        h->files[file].len = (uint64_t)st.st_size;
        if (h->files[file].len != f->len)
            set_state(h, file, HASH_FILE_WRONG_LEN, 0);
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static bool open_file(struct worker *w, uint32_t file)
{
    struct hash_files *h = w->shared->h;
    char path[PATH_MAX];
    uint8_t state = atomic_load(&h->files[file].state);
    if (w->fd >= 0 && w->fd_file == file)
        return true;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    if ((state != HASH_FILE_OK && state != HASH_FILE_WRONG_LEN) ||
        !hash_files_path(h, file, path, sizeof path))
        return false;
    w->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    w->fd_file = file;
    if (w->fd < 0)
        set_state(h, file, HASH_FILE_FAILED, errno);
    return w->fd >= 0;
}

/* Bytes read; less than the stretch when the file ends or fails. */
static size_t read_stretch(struct worker *w, const struct stretch *s)
{
    size_t got = 0;
    if (!open_file(w, s->file))
        return 0;
    while (got < s->len) {
        ssize_t n = pread(w->fd, s->to + got, s->len - got, (off_t)(s->off + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            set_state(w->shared->h, s->file, HASH_FILE_FAILED, errno);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* Which pieces of the buffer lack bytes [from, to): they lie one after the other in it. */
static void mark_missing(struct worker *w, uint32_t n_pieces, size_t from, size_t to)
{
    const struct layout *l = &w->shared->h->info->layout;
    size_t at = 0;
    for (uint32_t i = 0; i < n_pieces && at < to; i++) {
        size_t len = layout_piece_len(l, w->first_piece + i);
        if (at + len > from)
            w->shared->h->is_missing[w->first_piece + i] = 1;
        at += len;
    }
}

static void flush_stretch(struct worker *w, struct stretch *s, uint32_t n_pieces)
{
    if (s->len > 0) {
        size_t got = read_stretch(w, s), to = (size_t)(s->to - w->buf) + s->len;
        if (got < s->len)
            mark_missing(w, n_pieces, to - s->len + got, to);
    }
    s->len = 0;
}

/* Lays [begin, begin + len) of a piece down at *to, joining what follows on in one file. */
static void gather(struct worker *w, struct stretch *s, uint32_t n_pieces, uint32_t piece,
                   uint32_t begin, uint32_t len, uint8_t **to)
{
    struct layout_walk walk = layout_walk(&w->shared->h->info->layout, piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        if (run.is_pad) {
            memset(*to, 0, run.len);
        } else if (s->len > 0 && s->file == run.file && s->off + s->len == run.file_off &&
                   s->to + s->len == *to) {
            s->len += run.len;
        } else {
            flush_stretch(w, s, n_pieces);
            *s = (struct stretch){run.file, run.file_off, run.len, *to};
        }
        *to += run.len;
    }
}

/* --- hashing --------------------------------------------------------------------------------- */

static uint32_t hash_leaves(const uint8_t *data, size_t len, uint8_t *leaves)
{
    uint32_t n = 0;
    for (size_t off = 0; off < len; off += MERKLE_BLOCK_LEN, n++)
        sha256(bytes_of(data + off, size_min(len - off, MERKLE_BLOCK_LEN)),
               leaves + (size_t)n * SHA256_LEN);
    return n;
}

static void finish_v2(struct worker *w, uint32_t piece, uint32_t n_leaves)
{
    const struct metainfo *m = w->shared->h->info;
    struct merkle_shape shape;
    uint32_t file, index;
    if (n_leaves == 0 || !layout_piece_file(&m->layout, piece, &file, &index) ||
        !merkle_shape_of(m->files[file].len, m->piece_len, &shape))
        return;
    merkle_piece_root(&shape, w->leaves, n_leaves, w->shared->h->v2 + (size_t)piece * SHA256_LEN);
}

static void hash_small(struct worker *w, uint32_t piece, const uint8_t *data)
{
    struct hash_files *h = w->shared->h;
    const struct layout *l = &h->info->layout;
    if (h->want_v1)
        sha1(bytes_of(data, layout_piece_len(l, piece)), h->v1 + (size_t)piece * SHA1_LEN);
    if (h->want_v2)
        finish_v2(w, piece, hash_leaves(data, layout_piece_data_len(l, piece), w->leaves));
}

/* Whole pieces, as many as fit the buffer. */
static void hash_fill(struct worker *w, uint32_t first, uint32_t n)
{
    struct hash_files *h = w->shared->h;
    struct stretch s = {0};
    uint8_t *to = w->buf;
    w->first_piece = first;
    for (uint32_t i = 0; i < n; i++)
        gather(w, &s, n, first + i, 0, layout_piece_len(&h->info->layout, first + i), &to);
    flush_stretch(w, &s, n);
    const uint8_t *data = w->buf;
    for (uint32_t i = 0; i < n; i++) {
        if (!h->is_missing[first + i])
            hash_small(w, first + i, data);
        data += layout_piece_len(&h->info->layout, first + i);
    }
    atomic_fetch_add(&w->shared->done_len, (uint64_t)(to - w->buf));
}

/* One piece that is larger than the buffer, part by part. */
static void hash_large(struct worker *w, uint32_t piece)
{
    struct hash_files *h = w->shared->h;
    uint32_t len = layout_piece_len(&h->info->layout, piece), n_leaves = 0;
    uint32_t data_len = layout_piece_data_len(&h->info->layout, piece);
    struct sha1_state v1;
    sha1_init(&v1);
    w->first_piece = piece;
    for (uint32_t off = 0; off < len; off += BUF_LEN) {
        uint32_t part = (uint32_t)u64_min(len - off, BUF_LEN);
        struct stretch s = {0};
        uint8_t *to = w->buf;
        if (!h->is_missing[piece] && !atomic_load(&h->is_cancelled)) {
            gather(w, &s, 1, piece, off, part, &to);
            flush_stretch(w, &s, 1);
            if (h->want_v1)
                sha1_update(&v1, bytes_of(w->buf, part));
            if (h->want_v2 && off < data_len)
                n_leaves += hash_leaves(w->buf, u64_min(part, data_len - off),
                                        w->leaves + (size_t)n_leaves * SHA256_LEN);
        }
        atomic_fetch_add(&w->shared->done_len, part);
    }
    if (h->is_missing[piece])
        return;
    if (h->want_v1)
        sha1_final(&v1, h->v1 + (size_t)piece * SHA1_LEN);
    if (h->want_v2)
        finish_v2(w, piece, n_leaves);
}

/* --- workers --------------------------------------------------------------------------------- */

static void hash_span(struct worker *w, uint32_t first, uint32_t end)
{
    uint32_t n_fill = w->shared->n_pieces_fill;
    while (first < end && !atomic_load(&w->shared->h->is_cancelled)) {
        uint32_t n = n_fill ? (uint32_t)u64_min(n_fill, end - first) : 1;
        if (n_fill)
            hash_fill(w, first, n);
        else
            hash_large(w, first);
        first += n;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    uint32_t n_pieces = s->h->info->n_pieces;
    for (;;) {
        uint32_t first = atomic_fetch_add(&s->next_piece, s->n_pieces_span);
        if (first >= n_pieces || atomic_load(&s->h->is_cancelled))
            break;
        hash_span(w, first, first + (uint32_t)u64_min(s->n_pieces_span, n_pieces - first));
    }
    if (w->fd >= 0)
        close(w->fd);
    pthread_mutex_lock(&s->lock);
    s->n_running--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void report(struct shared *s)
{
    if (s->h->progress)
        s->h->progress(s->h->ctx, atomic_load(&s->done_len), s->h->info->total_len);
}

static void wait_for_workers(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->n_running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROGRESS_NS;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        pthread_cond_timedwait(&s->ended, &s->lock, &until);
        pthread_mutex_unlock(&s->lock);
        report(s);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static bool worker_init(struct worker *w, struct shared *s)
{
    struct hash_files *h = s->h;
    *w = (struct worker){.shared = s, .fd = -1};
    w->buf = mem_alloc(h->mem, BUF_LEN);
    if (h->want_v2)
        w->leaves = mem_calloc(h->mem, div_ceil(h->info->piece_len, MERKLE_BLOCK_LEN), SHA256_LEN);
    return w->buf && (w->leaves || !h->want_v2);
}

static void worker_clear(struct worker *w)
{
    mem_free(w->shared->h->mem, w->buf);
    mem_free(w->shared->h->mem, w->leaves);
}

/* Starts as many as it can; at least one must run. */
static enum err_code run_workers(struct shared *s, struct worker *workers, unsigned n,
                                 struct err *err)
{
    unsigned n_started = 0;
    int failed = 0;
    s->n_running = n;
    for (; n_started < n; n_started++) {
        failed = pthread_create(&workers[n_started].thread, NULL, work, &workers[n_started]);
        if (failed)
            break;
    }
    pthread_mutex_lock(&s->lock);
    s->n_running -= n - n_started;
    pthread_mutex_unlock(&s->lock);
    wait_for_workers(s);
    for (unsigned i = 0; i < n_started; i++)
        pthread_join(workers[i].thread, NULL);
    if (n_started == 0)
        return err_set_at(err, ERR_IO, "cannot start a thread", 0, (uint64_t)failed, 0);
    if (atomic_load(&s->h->is_cancelled))
        return err_set(err, ERR_CANCELLED, "hashing was called off");
    report(s);
    return ERR_OK;
}

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to hash files");
}

static enum err_code run(struct shared *s, struct err *err)
{
    struct hash_files *h = s->h;
    unsigned n = h->n_threads ? h->n_threads : hash_files_n_cores(), n_init = 0;
    n = (unsigned)u64_min(u64_min(n, N_THREADS_MAX), div_ceil(h->info->n_pieces, s->n_pieces_span));
    struct worker *workers = mem_calloc(h->mem, n, sizeof *workers);
    if (!workers)
        return no_memory(err);
    bool is_ready = true;
    while (n_init < n && is_ready)
        is_ready = worker_init(&workers[n_init++], s);
    enum err_code code = is_ready ? run_workers(s, workers, n, err) : no_memory(err);
    while (n_init > 0)
        worker_clear(&workers[--n_init]);
    mem_free(h->mem, workers);
    return code;
}

static bool make_results(struct hash_files *h)
{
    const struct metainfo *m = h->info;
    if (h->want_v1 && !(h->v1 = mem_calloc(h->mem, m->n_pieces, SHA1_LEN)))
        return false;
    if (h->want_v2 && !(h->v2 = mem_calloc(h->mem, m->n_pieces, SHA256_LEN)))
        return false;
    h->is_missing = mem_calloc(h->mem, m->n_pieces, 1);
    h->files = mem_calloc(h->mem, m->n_files, sizeof *h->files);
    return h->is_missing && h->files;
}

enum err_code hash_files_run(struct hash_files *h, struct err *err)
{
    const struct metainfo *m = h->info;
    struct shared s = {.h = h, .n_pieces_fill = BUF_LEN / m->piece_len};
    s.n_pieces_span = (uint32_t)u64_max(1, SPAN_LEN / m->piece_len);
    if (!make_results(h))
        return no_memory(err);
    for (uint32_t i = 0; i < m->n_files; i++)
        look_at(h, i);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s.ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s.lock, NULL);
    enum err_code code = run(&s, err);
    pthread_mutex_destroy(&s.lock);
    pthread_cond_destroy(&s.ended);
    return code;
}

void hash_files_clear(struct hash_files *h)
{
    if (!h->mem)
        return;
    mem_free(h->mem, h->v1);
    mem_free(h->mem, h->v2);
    mem_free(h->mem, h->is_missing);
    mem_free(h->mem, h->files);
    h->v1 = h->v2 = h->is_missing = NULL;
    h->files = NULL;
}
