/* hash_files: a shared counter hands out spans of pieces; each worker takes them in groups that go
 * through the SHA units side by side. Small pieces: as many whole ones as fit the buffer, in long
 * reads. Large ones: up to SHA_LANES_MAX of them in step, a part of each at a time, so that what
 * is hashed was just read into the worker's cache however large the pieces are. One reader ahead of
 * all workers (read_ahead.h) brings what is not in the page cache in order. */
#include "store/hash_files.h"
#include "base/size.h"
#include "crypto/sha_lanes.h"
#include "store/read_ahead.h"
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

#define BUF_LEN       (512u << 10) /* ours: stays in L2; measured in docs/benchmarks.md */
#define PART_LEN      (BUF_LEN / SHA_LANES_MAX) /* of a piece that goes in step with others */
#define SPAN_LEN      (8u << 20)                /* ours: what a worker takes at once */
#define GROUP_LEN_MAX (256u << 20)              /* ours: of pieces in step; it is read ahead */
#define N_LEAVES_BUF  (BUF_LEN / MERKLE_BLOCK_LEN)
#define N_THREADS_MAX 256u
#define PROGRESS_NS   100000000l

static_assert(PART_LEN % MERKLE_BLOCK_LEN == 0, "parts of a large piece end between leaves");

/* A stretch of one file on its way into the buffer. */
struct stretch {
    uint32_t file;
    uint64_t off;
    size_t len;
    uint8_t *to;
};

/* A piece that goes in step with others; the files it is read from are its own, too, so that four
 * pieces in four files open each of them once. Small pieces are read through the first lane. */
struct lane {
    int fd;
    uint32_t fd_file;
    uint32_t piece, len, data_len;
    uint32_t n_leaves;
    uint8_t *leaves; /* of the piece; of the first lane: at least N_LEAVES_BUF */
    struct sha1_state v1;
};

struct shared {
    struct hash_files *h;
    unsigned n_workers;
    uint32_t n_pieces_span;  /* pieces a worker takes at once */
    uint32_t n_pieces_group; /* of these, hashed side by side */
    bool is_small;           /* a group of whole pieces fits the buffer */
    _Atomic uint32_t next_piece;
    _Atomic uint64_t done_len;
    struct read_ahead ahead;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned n_running; /* under the lock */
};

struct worker {
    struct shared *shared;
    pthread_t thread;
    uint8_t *buf, *leaves;
    struct lane lanes[SHA_LANES_MAX];
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

static int open_file(void *hash_files, uint32_t file)
{
    struct hash_files *h = hash_files;
    char path[PATH_MAX];
    uint8_t state = atomic_load(&h->files[file].state);
    if ((state != HASH_FILE_OK && state != HASH_FILE_WRONG_LEN) ||
        !hash_files_path(h, file, path, sizeof path))
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        set_state(h, file, HASH_FILE_FAILED, errno);
    return fd;
}

static bool lane_open(struct lane *l, struct hash_files *h, uint32_t file)
{
    if (l->fd >= 0 && l->fd_file == file)
        return true;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = open_file(h, file);
    l->fd_file = file;
    return l->fd >= 0;
}

/* Bytes read; less than the stretch when the file ends or fails. */
static size_t read_stretch(struct shared *shared, struct lane *l, const struct stretch *s)
{
    struct hash_files *h = shared->h;
    size_t got = 0;
    if (!lane_open(l, h, s->file))
        return 0;
    read_ahead_wait(&shared->ahead, h->info->files[s->file].off + s->off + s->len);
    while (got < s->len) {
        ssize_t n = pread(l->fd, s->to + got, s->len - got, (off_t)(s->off + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            set_state(h, s->file, HASH_FILE_FAILED, errno);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* --- filling the buffer ---------------------------------------------------------------------- */

/* What goes into the buffer: [begin, end) of the first piece, then others that follow on. */
struct fill {
    struct worker *w;
    struct lane *lane;
    struct stretch s; /* not yet read */
    uint8_t *from, *to;
    uint32_t first_piece, n_pieces;
};

/* Which pieces lack bytes [from, to) of the fill: they lie one after the other in it. */
static void mark_missing(const struct fill *f, size_t from, size_t to)
{
    struct hash_files *h = f->w->shared->h;
    size_t at = 0;
    for (uint32_t i = 0; i < f->n_pieces && at < to; i++) {
        size_t len = layout_piece_len(&h->info->layout, f->first_piece + i);
        if (at + len > from)
            h->is_missing[f->first_piece + i] = 1;
        at += len;
    }
}

static void flush_stretch(struct fill *f)
{
    struct stretch *s = &f->s;
    if (s->len > 0) {
        size_t got = read_stretch(f->w->shared, f->lane, s);
        size_t to = (size_t)(s->to - f->from) + s->len;
        if (got < s->len)
            mark_missing(f, to - s->len + got, to);
    }
    s->len = 0;
}

/* Lays [begin, begin + len) of a piece down, joining what follows on in one file. */
static void gather(struct fill *f, uint32_t piece, uint32_t begin, uint32_t len)
{
    struct stretch *s = &f->s;
    struct layout_walk walk = layout_walk(&f->w->shared->h->info->layout, piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        if (run.is_pad) {
            memset(f->to, 0, run.len);
        } else if (s->len > 0 && s->file == run.file && s->off + s->len == run.file_off &&
                   s->to + s->len == f->to) {
            s->len += run.len;
        } else {
            flush_stretch(f);
            *s = (struct stretch){run.file, run.file_off, run.len, f->to};
        }
        f->to += run.len;
    }
}

/* --- hashing --------------------------------------------------------------------------------- */

/* len <= BUF_LEN. Returns how many leaves that makes. */
static uint32_t hash_leaves(const uint8_t *data, size_t len, uint8_t *leaves)
{
    struct bytes in[N_LEAVES_BUF];
    uint32_t n = 0;
    for (size_t off = 0; off < len; off += MERKLE_BLOCK_LEN)
        in[n++] = bytes_of(data + off, size_min(len - off, MERKLE_BLOCK_LEN));
    sha256_many(in, n, (uint8_t(*)[SHA256_LEN])(void *)leaves);
    return n;
}

static void finish_v2(struct hash_files *h, uint32_t piece, const uint8_t *leaves,
                      uint32_t n_leaves)
{
    const struct metainfo *m = h->info;
    struct merkle_shape shape;
    uint32_t file, index;
    if (n_leaves == 0 || !layout_piece_file(&m->layout, piece, &file, &index) ||
        !merkle_shape_of(m->files[file].len, m->piece_len, &shape))
        return;
    merkle_piece_root(&shape, leaves, n_leaves, h->v2 + (size_t)piece * SHA256_LEN);
}

static void hash_small_v1(struct hash_files *h, uint32_t first, uint32_t n, const uint8_t *data)
{
    struct bytes in[N_LEAVES_BUF];
    for (uint32_t done = 0, k; done < n; done += k) {
        for (k = 0; k < N_LEAVES_BUF && done + k < n; k++) {
            in[k] = bytes_of(data, layout_piece_len(&h->info->layout, first + done + k));
            data += in[k].len;
        }
        sha1_many(in, k, (uint8_t(*)[SHA1_LEN])(void *)(h->v1 + (size_t)(first + done) * SHA1_LEN));
    }
}

/* The leaves of all pieces first, so that small pieces have neighbours; pads have none. */
static void hash_small_v2(struct hash_files *h, uint32_t first, uint32_t n, const uint8_t *data,
                          uint8_t *leaves)
{
    const struct layout *l = &h->info->layout;
    struct bytes in[N_LEAVES_BUF];
    uint32_t n_leaves = 0;
    for (uint32_t i = first; i < first + n; data += layout_piece_len(l, i), i++)
        for (uint32_t b = 0; b < layout_n_blocks(l, i); b++) {
            assert(n_leaves < N_LEAVES_BUF); /* pieces of v2 are 16 KiB and more */
            in[n_leaves++] =
                bytes_of(data + (size_t)b * MERKLE_BLOCK_LEN, layout_block_len(l, i, b));
        }
    sha256_many(in, n_leaves, (uint8_t(*)[SHA256_LEN])(void *)leaves);
    for (uint32_t i = first; i < first + n; i++) {
        finish_v2(h, i, leaves, layout_n_blocks(l, i));
        leaves += (size_t)layout_n_blocks(l, i) * SHA256_LEN;
    }
}

/* Whole pieces, all in the buffer; runs of those that were read. */
static void hash_small(struct worker *w, uint32_t first, uint32_t n)
{
    struct hash_files *h = w->shared->h;
    const struct layout *l = &h->info->layout;
    struct fill f = {.w = w, .lane = w->lanes, .first_piece = first, .n_pieces = n};
    f.from = f.to = w->buf;
    for (uint32_t i = first; i < first + n; i++)
        gather(&f, i, 0, layout_piece_len(l, i));
    flush_stretch(&f);
    const uint8_t *data = w->buf;
    for (uint32_t i = first, end; i < first + n; i = end) {
        const uint8_t *from = data;
        for (end = i; end < first + n && h->is_missing[end] == h->is_missing[i]; end++)
            data += layout_piece_len(l, end);
        if (!h->is_missing[i] && h->want_v2)
            hash_small_v2(h, i, end - i, from, w->lanes[0].leaves);
        if (!h->is_missing[i] && h->want_v1)
            hash_small_v1(h, i, end - i, from);
    }
    atomic_fetch_add(&w->shared->done_len, (uint64_t)(f.to - f.from));
}

/* Reads [off, off + len) of a lane's piece and hashes its leaves. False: v1 has nothing to do. */
static bool take_part(struct worker *w, struct lane *l, uint32_t off, uint32_t len, uint8_t *to)
{
    struct hash_files *h = w->shared->h;
    struct fill f = {.w = w, .lane = l, .first_piece = l->piece, .n_pieces = 1};
    f.from = f.to = to;
    if (h->is_missing[l->piece])
        return false;
    gather(&f, l->piece, off, len);
    flush_stretch(&f);
    if (h->is_missing[l->piece])
        return false;
    if (h->want_v2 && off < l->data_len)
        l->n_leaves += hash_leaves(to, u64_min(len, l->data_len - off),
                                   l->leaves + (size_t)l->n_leaves * SHA256_LEN);
    return h->want_v1;
}

/* The part at off of every lane that has it; whole ones side by side. */
static void take_parts(struct worker *w, uint32_t n, uint32_t off, uint32_t part_len)
{
    struct sha1_state *states[SHA_LANES_MAX];
    const uint8_t *data[SHA_LANES_MAX];
    size_t n_whole = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct lane *l = &w->lanes[i];
        uint8_t *to = w->buf + (size_t)i * part_len;
        uint32_t len = off < l->len ? (uint32_t)u64_min(l->len - off, part_len) : 0;
        bool has_v1 = len > 0 && take_part(w, l, off, len, to);
        atomic_fetch_add(&w->shared->done_len, len);
        if (has_v1 && len < part_len)
            sha1_update(&l->v1, bytes_of(to, len));
        if (!has_v1 || len < part_len)
            continue;
        states[n_whole] = &l->v1;
        data[n_whole++] = to;
    }
    if (n_whole > 0)
        sha1_update_many(states, data, n_whole, part_len);
}

static void lane_begin(struct lane *l, const struct layout *layout, uint32_t piece)
{
    l->piece = piece;
    l->len = layout_piece_len(layout, piece);
    l->data_len = layout_piece_data_len(layout, piece);
    l->n_leaves = 0;
    sha1_init(&l->v1);
}

static void lane_end(struct lane *l, struct hash_files *h)
{
    if (h->is_missing[l->piece])
        return;
    if (h->want_v1)
        sha1_final(&l->v1, h->v1 + (size_t)l->piece * SHA1_LEN);
    if (h->want_v2)
        finish_v2(h, l->piece, l->leaves, l->n_leaves);
}

/* n <= SHA_LANES_MAX pieces that are larger than their share of the buffer, in step. */
static void hash_large(struct worker *w, uint32_t first, uint32_t n)
{
    struct hash_files *h = w->shared->h;
    for (uint32_t i = 0; i < n; i++)
        lane_begin(&w->lanes[i], &h->info->layout, first + i);
    uint32_t part_len = BUF_LEN / n / MERKLE_BLOCK_LEN * MERKLE_BLOCK_LEN;
    for (uint64_t off = 0; off < h->info->piece_len; off += part_len) {
        if (atomic_load(&h->is_cancelled))
            return;
        take_parts(w, n, (uint32_t)off, part_len);
    }
    for (uint32_t i = 0; i < n; i++)
        lane_end(&w->lanes[i], h);
}

/* --- workers --------------------------------------------------------------------------------- */

static void hash_span(struct worker *w, uint32_t first, uint32_t end)
{
    const struct shared *s = w->shared;
    while (first < end && !atomic_load(&s->h->is_cancelled)) {
        uint32_t n = (uint32_t)u64_min(s->n_pieces_group, end - first);
        if (s->is_small)
            hash_small(w, first, n);
        else
            hash_large(w, first, n);
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
        uint32_t end = first + (uint32_t)u64_min(s->n_pieces_span, n_pieces - first);
        read_ahead_take(&s->ahead, (uint64_t)end * s->h->info->piece_len);
        hash_span(w, first, end);
    }
    for (size_t i = 0; i < SHA_LANES_MAX; i++)
        if (w->lanes[i].fd >= 0)
            close(w->lanes[i].fd);
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
    uint64_t n_leaves = u64_max(div_ceil(h->info->piece_len, MERKLE_BLOCK_LEN), N_LEAVES_BUF);
    uint32_t n_lanes = s->is_small ? 1 : s->n_pieces_group;
    *w = (struct worker){.shared = s};
    for (size_t i = 0; i < SHA_LANES_MAX; i++)
        w->lanes[i].fd = -1;
    w->buf = mem_alloc(h->mem, BUF_LEN);
    if (h->want_v2)
        w->leaves = mem_calloc(h->mem, (size_t)n_lanes * n_leaves, SHA256_LEN);
    for (size_t i = 0; i < n_lanes && w->leaves; i++)
        w->lanes[i].leaves = w->leaves + i * n_leaves * SHA256_LEN;
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

/* Workers, groups and spans. What is little is divided evenly rather than hashed four at a time by
 * one worker while the other waits. */
static void make_plan(struct shared *s)
{
    const struct hash_files *h = s->h;
    uint64_t n_pieces = h->info->n_pieces, piece_len = h->info->piece_len;
    uint64_t n = h->n_threads ? h->n_threads : hash_files_n_cores();
    n = u64_min(u64_min(n, N_THREADS_MAX), div_ceil(n_pieces * piece_len, BUF_LEN));
    s->is_small = piece_len <= PART_LEN;
    uint64_t n_group = s->is_small ? BUF_LEN / piece_len : 1;
    if (!s->is_small && h->want_v1)
        n_group = u64_min(u64_max(GROUP_LEN_MAX / piece_len, 1), SHA_LANES_MAX);
    uint64_t n_groups = div_ceil(n_pieces, n_group);
    if (n_groups < 4 * n)
        n_groups = div_ceil(n_groups, n) * n;
    s->n_workers = (unsigned)u64_min(n, n_pieces);
    s->n_pieces_group = (uint32_t)div_ceil(n_pieces, n_groups);
    uint64_t n_span = u64_min(SPAN_LEN / piece_len, n_pieces / (4 * n)) / s->n_pieces_group;
    s->n_pieces_span = (uint32_t)u64_max(1, n_span) * s->n_pieces_group;
}

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory to hash files");
}

static enum err_code run(struct shared *s, struct err *err)
{
    struct hash_files *h = s->h;
    unsigned n = s->n_workers, n_init = 0;
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
    struct shared s = {.h = h};
    if (!make_results(h))
        return no_memory(err);
    for (uint32_t i = 0; i < m->n_files; i++)
        look_at(h, i);
    make_plan(&s);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s.ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s.lock, NULL);
    read_ahead_init(&s.ahead, m, open_file, h, &h->is_cancelled);
    enum err_code code = run(&s, err);
    read_ahead_clear(&s.ahead);
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
