/* read_ahead: brings the data of a torrent into the page cache in the order in which they lie in its
 * files, ahead of several threads that read at several places.
 *
 * Costs one look per MiB as long as the data are in the cache already. Where they are not, a thread
 * of its own splices the files to /dev/null: for the system a long sequential read, whose own
 * read-ahead grows and brings large folios, but nothing is copied. It stays READ_AHEAD_LEN before
 * what was taken; whoever reads waits until it has passed, so that the disk sees one reader.
 *
 * Ownership  metainfo, is_cancelled and ctx are borrowed; the open descriptor and the thread are ours
 * Threads    take and wait from any; init and clear from one, while no other uses it
 * Errors     none: what cannot be opened or read is left to who reads it
 */
#pragma once
#include "torrent/metainfo.h"
#include <pthread.h>
#include <stdatomic.h>

#define READ_AHEAD_LEN      (8u << 20) /* ours: beyond what was taken */
#define READ_AHEAD_FILE_MIN (1u << 20) /* ours: smaller files are not worth another open() */

struct read_ahead {
    const struct metainfo *info;
    int (*open_file)(void *ctx, uint32_t file); /* a new descriptor, or -1 */
    void *ctx;
    const atomic_bool *is_cancelled;

    pthread_mutex_t lock;
    pthread_cond_t more;       /* `limit` grew, or is_over */
    pthread_cond_t come;       /* `come_off` grew, and someone waits */
    uint64_t limit;            /* under the lock: in the piece space, as the others */
    _Atomic uint64_t come_off; /* what lies before it was read; UINT64_MAX: there is no thread */
    uint32_t n_waiting;        /* under the lock */
    bool is_over;              /* same */
    bool is_tried, has_thread; /* same */
    pthread_t thread;
    uint64_t off;  /* under the lock, then the thread's: where it goes on */
    uint32_t file; /* same: that holds `off`, or the first after it */
    int fd;        /* same */
    uint32_t fd_file;
    int pipe[2], sink; /* what was read goes through here to /dev/null */
};

/* open_file is called by one thread at a time. */
void read_ahead_init(struct read_ahead *r, const struct metainfo *info,
                     int (*open_file)(void *ctx, uint32_t file), void *ctx,
                     const atomic_bool *is_cancelled);
/* All before this place in the piece space is about to be read. */
void read_ahead_take(struct read_ahead *r, uint64_t end);
/* Returns when what lies before `end`, which was taken, was read or need not be. */
void read_ahead_wait(struct read_ahead *r, uint64_t end);
void read_ahead_clear(struct read_ahead *r);
