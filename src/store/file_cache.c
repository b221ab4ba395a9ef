#include "store/file_cache.h"
#include "base/list.h"
#include "store/beneath.h"
#include "store/file_window.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#define N_OPEN_DEFAULT 256u

struct open_file {
    struct list_node in_lru; /* linked while nobody uses it */
    struct file_slot *slot;  /* NULL: detached, closes with its last user */
    int fd;
    unsigned n_users;
    bool can_write;
    pthread_mutex_t write_lock; /* one pwritev at a time */
};

struct file_cache {
    const struct file_ops *ops;
    pthread_mutex_t lock;
    struct list lru; /* front: longest unused */
    size_t n_open, n_open_max, n_max;
    struct file_windows windows;
};

/* --- the system's calls ---------------------------------------------------------------------- */

static int system_fallocate(int fd, off_t len)
{
    int code = posix_fallocate(fd, 0, len);
    if (code)
        errno = code;
    return code ? -1 : 0;
}

const struct file_ops file_ops_system = {
    .open = beneath_open,
    .preadv = preadv,
    .pwritev = pwritev,
    .fallocate = system_fallocate,
    .ftruncate = ftruncate,
    .fdatasync = fdatasync,
    .fsync = fsync,
};

/* --- life ------------------------------------------------------------------------------------ */

static size_t default_n_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < N_OPEN_DEFAULT)
        return limit.rlim_cur / 4 ? limit.rlim_cur / 4 : 1;
    return N_OPEN_DEFAULT;
}

enum err_code file_cache_new(struct file_cache **out, size_t n_max, const struct file_ops *ops,
                             struct err *err)
{
    struct file_cache *c = *out = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "no memory for open files");
    c->ops = ops ? ops : &file_ops_system;
    c->n_max = n_max ? n_max : default_n_max();
    pthread_mutex_init(&c->lock, NULL);
    file_windows_init(&c->windows);
    list_init(&c->lru);
    return ERR_OK;
}

void file_cache_free(struct file_cache *c)
{
    if (!c)
        return;
    assert(c->n_open == 0);
    file_windows_clear(&c->windows);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const struct file_ops *file_cache_ops(const struct file_cache *c)
{
    return c->ops;
}

size_t file_cache_n_open(struct file_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->n_open;
    pthread_mutex_unlock(&c->lock);
    return n;
}

size_t file_cache_n_open_max(struct file_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->n_open_max;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* --- slots ----------------------------------------------------------------------------------- */

/* Out of its slot; onto `closing` if nobody uses it. close() itself waits until the lock is free. */
static void handle_detach(struct file_cache *c, struct open_file *h, struct list *closing)
{
    assert(h->slot); /* without one it is in use, and closed by who uses it last */
    h->slot->handle = NULL;
    h->slot = NULL;
    if (h->n_users)
        return;
    list_remove(&c->lru, &h->in_lru);
    list_push_back(closing, &h->in_lru);
    c->n_open--;
}

static void detach_oldest(struct file_cache *c, size_t n, struct list *closing)
{
    while (c->n_open > n && !list_is_empty(&c->lru))
        handle_detach(c, CONTAINER_OF(list_first(&c->lru), struct open_file, in_lru), closing);
}

static void close_all(struct file_cache *c, struct list *closing)
{
    struct list_node *node;
    while ((node = list_pop_front(closing))) {
        struct open_file *h = CONTAINER_OF(node, struct open_file, in_lru);
        file_windows_forget(&c->windows, h);
        close(h->fd);
        pthread_mutex_destroy(&h->write_lock);
        free(h);
    }
}

static void handle_use(struct file_cache *c, struct open_file *h)
{
    if (h->n_users++ == 0)
        list_remove(&c->lru, &h->in_lru);
}

struct open_file *file_slot_acquire(struct file_cache *c, struct file_slot *s, bool want_write)
{
    pthread_mutex_lock(&c->lock);
    struct open_file *h = s->handle;
    if (h && want_write && !h->can_write)
        h = NULL;
    if (h)
        handle_use(c, h);
    pthread_mutex_unlock(&c->lock);
    return h;
}

struct open_file *file_slot_install_take(struct file_cache *c, struct file_slot *s, int fd,
                                         bool can_write)
{
    struct open_file *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        close(fd);
        return NULL;
    }
    pthread_mutex_init(&fresh->write_lock, NULL);
    fresh->fd = fd;
    fresh->can_write = can_write;
    struct list closing;
    list_init(&closing);
    pthread_mutex_lock(&c->lock);
    struct open_file *h = s->handle;
    if (h && (h->can_write || !can_write)) {
        handle_use(c, h);
        list_push_back(&closing, &fresh->in_lru);
    } else {
        if (h)
            handle_detach(c, h, &closing);
        h = fresh;
        h->slot = s;
        h->n_users = 1;
        s->handle = h;
        c->n_open++;
        detach_oldest(c, c->n_max, &closing);
        if (c->n_open > c->n_open_max)
            c->n_open_max = c->n_open;
    }
    pthread_mutex_unlock(&c->lock);
    close_all(c, &closing);
    return h;
}

int open_file_fd(const struct open_file *h)
{
    return h->fd;
}

void open_file_release(struct file_cache *c, struct open_file *h)
{
    struct list closing;
    list_init(&closing);
    pthread_mutex_lock(&c->lock);
    if (--h->n_users == 0) {
        list_push_back(h->slot ? &c->lru : &closing, &h->in_lru);
        if (!h->slot)
            c->n_open--;
        detach_oldest(c, c->n_max, &closing);
    }
    pthread_mutex_unlock(&c->lock);
    close_all(c, &closing);
}

void open_file_lock_write(struct open_file *h)
{
    pthread_mutex_lock(&h->write_lock);
}

void open_file_unlock_write(struct open_file *h)
{
    pthread_mutex_unlock(&h->write_lock);
}

struct file_window *open_file_window(struct file_cache *c, struct open_file *h, uint64_t off,
                                     size_t len, bool is_in_memory)
{
    return file_window_take(&c->windows, h, h->fd, off, len, is_in_memory);
}

void file_cache_window_release(struct file_cache *c, struct file_window *w)
{
    file_window_release(&c->windows, w);
}

void file_slot_close(struct file_cache *c, struct file_slot *s)
{
    struct list closing;
    list_init(&closing);
    pthread_mutex_lock(&c->lock);
    if (s->handle)
        handle_detach(c, s->handle, &closing);
    pthread_mutex_unlock(&c->lock);
    close_all(c, &closing);
}

bool file_cache_shrink(struct file_cache *c, size_t n)
{
    struct list closing;
    list_init(&closing);
    pthread_mutex_lock(&c->lock);
    detach_oldest(c, n, &closing);
    pthread_mutex_unlock(&c->lock);
    bool has_closed = !list_is_empty(&closing);
    close_all(c, &closing);
    return has_closed;
}
