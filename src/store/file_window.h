/* file_window: stretches of open files mapped for the kernel to send from, so that a seed's data is
 * copied once (page cache to packet) instead of twice, or lent and not copied at all.
 *
 * Only system calls read a window, never code of ours: a page that cannot be had (the file was cut,
 * the disk failed) makes sendmsg or vmsplice fail with EFAULT, it raises no signal. What is handed
 * out is in the page cache at that moment; a page that is thrown out in between is waited for. Who
 * lends pages may give the window back at once: the socket keeps the pages, not the window.
 * A window holds FILE_WINDOW_LEN of a file and the beginning of the next, so that every range of
 * up to FILE_WINDOW_RANGE_MAX lies within one.
 *
 * Ownership  a window belongs to its table; who took it releases it. The pages are the page cache's
 * Threads    any; a mutex inside, held while a window is made or goes
 * Errors     none: where there is no window the range is read instead
 * Bounds     FILE_WINDOW_N of them, least recently used out first: 40 MiB of addresses and resident
 *            pages at most, none of them anonymous
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILE_WINDOW_N         16u
#define FILE_WINDOW_LEN       (2u << 20) /* ours; measured in docs/benchmarks.md */
#define FILE_WINDOW_RANGE_MAX (512u << 10)

struct file_window {
    const void *file; /* whose it is, any name that does not change; NULL: free */
    uint64_t off;     /* in the file: a multiple of FILE_WINDOW_LEN */
    uint8_t *data;
    unsigned n_users;
    uint64_t used_at; /* in takes: the least was used longest ago */
};

struct file_windows {
    pthread_mutex_t lock;
    uint64_t n_takes;
    struct file_window windows[FILE_WINDOW_N];
};

void file_windows_init(struct file_windows *t);
void file_windows_clear(struct file_windows *t); /* none is in use */
/* The window that holds [off, off + len) of the file behind fd, in use until released; NULL: the
 * range is longer than the file or not in the page cache (not asked for a file in memory), the
 * system does not tell (files of others), or all windows are in use. */
struct file_window *file_window_take(struct file_windows *t, const void *file, int fd, uint64_t off,
                                     size_t len, bool is_in_memory);
void file_window_release(struct file_windows *t, struct file_window *w);
/* The byte of the file at off, which lies within. */
const uint8_t *file_window_at(const struct file_window *w, uint64_t off);
void file_windows_forget(struct file_windows *t, const void *file); /* none of its is in use */
