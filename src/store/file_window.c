#include "store/file_window.h"
#include "base/size.h"
#include <assert.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW_CAP  ((size_t)FILE_WINDOW_LEN + FILE_WINDOW_RANGE_MAX)
#define N_PAGES_MAX (FILE_WINDOW_RANGE_MAX / 4096u + 1)

/* --- the table ------------------------------------------------------------------------------- */

void file_windows_init(struct file_windows *t)
{
    *t = (struct file_windows){0};
    pthread_mutex_init(&t->lock, NULL);
}

static void window_unmap(struct file_window *w)
{
    assert(w->n_users == 0);
    if (w->file)
        munmap(w->data, WINDOW_CAP);
    *w = (struct file_window){0};
}

void file_windows_clear(struct file_windows *t)
{
    for (size_t i = 0; i < FILE_WINDOW_N; i++)
        window_unmap(&t->windows[i]);
    pthread_mutex_destroy(&t->lock);
}

void file_windows_forget(struct file_windows *t, const void *file)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < FILE_WINDOW_N; i++)
        if (t->windows[i].file == file)
            window_unmap(&t->windows[i]);
    pthread_mutex_unlock(&t->lock);
}

/* The window itself; else the idle one that was used longest ago (free ones never were); NULL: all
 * are in use. */
static struct file_window *find(struct file_windows *t, const void *file, uint64_t off)
{
    struct file_window *idle = NULL;
    for (size_t i = 0; i < FILE_WINDOW_N; i++) {
        struct file_window *w = &t->windows[i];
        if (w->file == file && w->off == off)
            return w;
        if (w->n_users == 0 && (!idle || w->used_at < idle->used_at))
            idle = w;
    }
    return idle;
}

static bool window_map(struct file_window *w, const void *file, int fd, uint64_t off)
{
    void *data = mmap(NULL, WINDOW_CAP, PROT_READ, MAP_SHARED, fd, (off_t)off);
    if (data == MAP_FAILED)
        return false;
    window_unmap(w);
    w->file = file;
    w->off = off;
    w->data = data;
    return true;
}

static struct file_window *take(struct file_windows *t, const void *file, int fd, uint64_t off)
{
    pthread_mutex_lock(&t->lock);
    struct file_window *w = find(t, file, off);
    if (w && (w->file != file || w->off != off) && !window_map(w, file, fd, off))
        w = NULL;
    if (w) {
        w->n_users++;
        w->used_at = ++t->n_takes;
    }
    pthread_mutex_unlock(&t->lock);
    return w;
}

/* --- ranges ---------------------------------------------------------------------------------- */

/* The system tells what is in the page cache only to the owner of a file and to who may write it
 * (mincore(2)); to others it says that all is. */
static bool can_tell(const struct stat *st)
{
    return st->st_uid == geteuid();
}

static bool is_resident(const struct file_window *w, uint64_t off, size_t len)
{
    unsigned char pages[N_PAGES_MAX];
    size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (size_t)(off - w->off) / page_len * page_len, to = (size_t)(off - w->off) + len;
    size_t n = div_ceil(to - from, page_len);
    if (mincore(w->data + from, to - from, pages) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(pages[i] & 1))
            return false;
    return true;
}

struct file_window *file_window_take(struct file_windows *t, const void *file, int fd, uint64_t off,
                                     size_t len, bool is_in_memory)
{
    struct stat st;
    assert(len > 0 && len <= FILE_WINDOW_RANGE_MAX);
    if (fstat(fd, &st) != 0 || off + len > (uint64_t)st.st_size || !(is_in_memory || can_tell(&st)))
        return NULL;
    struct file_window *w = take(t, file, fd, off / FILE_WINDOW_LEN * FILE_WINDOW_LEN);
    if (w && !is_in_memory && !is_resident(w, off, len)) {
        file_window_release(t, w);
        return NULL;
    }
    return w;
}

void file_window_release(struct file_windows *t, struct file_window *w)
{
    pthread_mutex_lock(&t->lock);
    assert(w->n_users > 0);
    w->n_users--;
    pthread_mutex_unlock(&t->lock);
}

const uint8_t *file_window_at(const struct file_window *w, uint64_t off)
{
    assert(off >= w->off && off - w->off < WINDOW_CAP);
    return w->data + (off - w->off);
}
