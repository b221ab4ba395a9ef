#include "store/read_ahead.h"
#include "base/size.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOOK_LEN  (1u << 20) /* ours: from one look into the cache to the next */
#define CHUNK_LEN (1u << 20) /* ours: then the readers may go on; measured in docs/benchmarks.md */
#define FILE_NONE UINT32_MAX

/* Of one file. */
struct stretch {
    uint32_t file;
    uint64_t off, len;
};

/* --- files ----------------------------------------------------------------------------------- */

static bool is_worth_it(const struct metainfo_file *f)
{
    return !(f->flags & (FILE_PAD | FILE_SYMLINK)) && f->len >= READ_AHEAD_FILE_MIN;
}

/* The next that is worth it, from `off` on; goes past it. False: nothing before `limit`. */
static bool next_stretch(struct read_ahead *r, uint64_t limit, uint64_t len_max,
                         struct stretch *out)
{
    for (; r->file < r->info->n_files; r->file++) {
        const struct metainfo_file *f = &r->info->files[r->file];
        uint64_t from = u64_max(r->off, f->off), end = u64_min(f->off + f->len, limit);
        if (f->off >= limit)
            break;
        if (is_worth_it(f) && from < end) {
            *out = (struct stretch){r->file, from - f->off, u64_min(end - from, len_max)};
            r->off = from + out->len;
            return true;
        }
        if (f->off + f->len > limit)
            break;
    }
    r->off = u64_max(r->off, limit);
    return false;
}

static bool have_open(struct read_ahead *r, uint32_t file)
{
    if (r->fd_file == file)
        return r->fd >= 0;
    if (r->fd >= 0)
        close(r->fd);
    r->fd = r->open_file(r->ctx, file);
    r->fd_file = file;
    if (r->fd >= 0)
        posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return r->fd >= 0;
}

static bool is_cold(struct read_ahead *r, const struct stretch *s)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    return have_open(r, s->file) && preadv2(r->fd, &iov, 1, (off_t)s->off, RWF_NOWAIT) < 0 &&
           errno == EAGAIN;
}

/* --- the thread ------------------------------------------------------------------------------ */

/* False: not all of it went, and the pipe is no longer empty. */
static bool drain(struct read_ahead *r, size_t n)
{
    while (n > 0) {
        ssize_t gone = splice(r->pipe[0], NULL, r->sink, NULL, n, 0);
        if (gone < 0 && errno == EINTR)
            continue;
        if (gone <= 0)
            return false;
        n -= (size_t)gone;
    }
    return true;
}

/* Waits for the disk; the pages go through the pipe without being copied. False: they do not. */
static bool bring(struct read_ahead *r, const struct stretch *s)
{
    off_t at = (off_t)s->off, end = (off_t)(s->off + s->len);
    if (!have_open(r, s->file))
        return true;
    while (at < end) {
        ssize_t n = splice(r->fd, &at, r->pipe[1], NULL, (size_t)(end - at), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true; /* it ends or fails: who reads it will see */
        if (!drain(r, (size_t)n))
            return false;
    }
    return true;
}

static void has_come(struct read_ahead *r, uint64_t off)
{
    atomic_store(&r->come_off, off);
    if (r->n_waiting > 0)
        pthread_cond_broadcast(&r->come);
}

static void *run(void *arg)
{
    struct read_ahead *r = arg;
    struct stretch s;
    pthread_mutex_lock(&r->lock);
    while (!r->is_over && r->file < r->info->n_files && !atomic_load(r->is_cancelled)) {
        uint64_t limit = r->limit;
        if (r->off >= limit) {
            pthread_cond_wait(&r->more, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        bool is_well = !next_stretch(r, limit, CHUNK_LEN, &s) || bring(r, &s);
        pthread_mutex_lock(&r->lock);
        has_come(r, r->off);
        if (!is_well)
            break;
    }
    has_come(r, UINT64_MAX);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* From a stretch on that is not in the cache. */
static void start(struct read_ahead *r, const struct stretch *s)
{
    r->is_tried = true;
    r->sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (r->sink < 0 || pipe2(r->pipe, O_CLOEXEC) != 0)
        return;
    /* As long as what is asked for: a smaller one, where this is refused, only means more calls. */
    fcntl(r->pipe[1], F_SETPIPE_SZ, (int)CHUNK_LEN);
    r->off = r->info->files[s->file].off + s->off;
    r->file = s->file;
    atomic_store(&r->come_off, r->off);
    r->has_thread = pthread_create(&r->thread, NULL, run, r) == 0;
    if (!r->has_thread)
        atomic_store(&r->come_off, UINT64_MAX);
}

/* --- its users ------------------------------------------------------------------------------- */

void read_ahead_init(struct read_ahead *r, const struct metainfo *info,
                     int (*open_file)(void *ctx, uint32_t file), void *ctx,
                     const atomic_bool *is_cancelled)
{
    *r = (struct read_ahead){.info = info,
                             .open_file = open_file,
                             .ctx = ctx,
                             .is_cancelled = is_cancelled,
                             .come_off = UINT64_MAX,
                             .fd = -1,
                             .fd_file = FILE_NONE,
                             .sink = -1,
                             .pipe = {-1, -1}};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    pthread_cond_init(&r->come, NULL);
}

void read_ahead_take(struct read_ahead *r, uint64_t end)
{
    struct stretch s;
    pthread_mutex_lock(&r->lock);
    r->limit = u64_max(r->limit, end + READ_AHEAD_LEN);
    while (!r->is_tried && next_stretch(r, r->limit, LOOK_LEN, &s))
        if (is_cold(r, &s))
            start(r, &s);
    if (r->has_thread)
        pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

void read_ahead_wait(struct read_ahead *r, uint64_t end)
{
    if (atomic_load(&r->come_off) >= end)
        return;
    pthread_mutex_lock(&r->lock);
    r->n_waiting++;
    while (atomic_load(&r->come_off) < end)
        pthread_cond_wait(&r->come, &r->lock);
    r->n_waiting--;
    pthread_mutex_unlock(&r->lock);
}

void read_ahead_clear(struct read_ahead *r)
{
    pthread_mutex_lock(&r->lock);
    r->is_over = true;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
    if (r->has_thread)
        pthread_join(r->thread, NULL);
    const int fds[] = {r->fd, r->sink, r->pipe[0], r->pipe[1]};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_cond_destroy(&r->come);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
}
