/* file_cache: open descriptors of all torrents' files, bounded, least recently used out first.
 *
 * A slot belongs to one file of a store; between acquire and release its descriptor stays open.
 * At most n_max stay open, and one more per thread that is in the middle of a call. What is sent of
 * them is mapped in windows (file_window.h), which go with the descriptor.
 *
 * Ownership  slots are embedded by the stores; the cache owns what is open
 * Threads    any; a mutex inside, never held across a system call that can wait for a disk
 * Errors     none of its own: files are opened by the store and handed over
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* The system calls of the store, so that tests can make them fail. */
struct file_ops {
    int (*open)(int dir_fd, const char *path, int flags, mode_t mode); /* beneath_open */
    ssize_t (*preadv)(int fd, const struct iovec *iov, int n, off_t off);
    ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, off_t off);
    int (*fallocate)(int fd, off_t len);
    int (*ftruncate)(int fd, off_t len);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
};
extern const struct file_ops file_ops_system;

struct file_cache;
struct file_window;

struct open_file; /* one open descriptor, in use between acquire and release */

struct file_slot {
    struct open_file *handle; /* NULL: closed */
};

/* n_max 0: 256, or a quarter of RLIMIT_NOFILE if that is less. */
enum err_code file_cache_new(struct file_cache **out, size_t n_max, const struct file_ops *ops,
                             struct err *err) MUST_USE;
void file_cache_free(struct file_cache *c); /* every store is closed by then */
const struct file_ops *file_cache_ops(const struct file_cache *c);
size_t file_cache_n_open(struct file_cache *c);
size_t file_cache_n_open_max(struct file_cache *c); /* the most there were at once */

/* The slot's descriptor if it is open (and for writing if asked), in use until released; or NULL.
 */
struct open_file *file_slot_acquire(struct file_cache *c, struct file_slot *s, bool want_write);
/* Takes fd over and gives it back in use. Where another thread was faster, its descriptor is given
 * and fd closed. NULL: no memory; fd is closed. */
struct open_file *file_slot_install_take(struct file_cache *c, struct file_slot *s, int fd,
                                         bool can_write);
int open_file_fd(const struct open_file *h);
void open_file_release(struct file_cache *c, struct open_file *h);
/* Around a write: the system lets one at a time into a file and has the others spin for it, which
 * keeps a core from its work (measured in docs/benchmarks.md); here they sleep. */
void open_file_lock_write(struct open_file *h);
void open_file_unlock_write(struct open_file *h);
/* Part of an open file for sendmsg (file_window_take), until file_cache_window_release; h stays in
 * use as long. NULL: there is no window, read it. */
struct file_window *open_file_window(struct file_cache *c, struct open_file *h, uint64_t off,
                                     size_t len, bool is_in_memory);
void file_cache_window_release(struct file_cache *c, struct file_window *w);
/* Closes it now, or when its last user releases it. */
void file_slot_close(struct file_cache *c, struct file_slot *s);
/* Closes idle descriptors until at most n are open: after EMFILE. True if one was closed. */
bool file_cache_shrink(struct file_cache *c, size_t n);
