/* disk: the few operations on files that a folder of chain data is made of, each of which can be
 * made to fail, to stop half way or to be the last by a test.
 *
 * Ownership  a struct disk owns the folder's descriptor; descriptors of files are the caller's
 * Threads    one owner; disk_read from any thread
 * Errors     ERR_IO with errno in got; ERR_TRUNCATED when a file ends before what is asked for.
 *            Once a sync has failed all later ones do: the kernel may have dropped what it could
 *            not write, and would call the next one a success
 */
#pragma once
#include "base/bytes.h"

enum disk_op {
    DISK_CREATE,
    DISK_WRITE,
    DISK_SYNC,
    DISK_RESIZE,
    DISK_RESERVE,
    DISK_RENAME,
    DISK_REMOVE,
    DISK_SYNC_DIR,
};

/* Tests only. before() is called ahead of every operation that changes something: 0 lets it be
 * done, an errno makes it fail. *len (DISK_WRITE): when made shorter, only so much is written and
 * the operation fails with the errno returned. */
struct disk_hook {
    void *ctx;
    int (*before)(void *ctx, enum disk_op op, const char *name, uint64_t off, size_t *len);
};

struct disk {
    int dir_fd;
    const struct disk_hook *hook; /* NULL: none */
    bool is_dir_dirty;            /* a name was added or removed since the folder's last sync */
    bool is_broken;               /* a sync failed: what was written before may be lost */
    uint64_t written_len, n_syncs;
};

#define DISK_NAME_CAP 64u

/* dir and its parents are made when missing. */
enum err_code disk_open(struct disk *d, const char *dir, const struct disk_hook *hook,
                        struct err *err) MUST_USE;
void disk_close(struct disk *d); /* a zeroed or closed one is fine */

/* *out_fd -1 and ERR_NOT_FOUND when there is none and it may not be made. */
enum err_code disk_file_open(struct disk *d, const char *name, bool may_create, int *out_fd,
                             struct err *err) MUST_USE;
enum err_code disk_file_len(int fd, uint64_t *out, struct err *err) MUST_USE;
/* All parts, one after the other, from off on. */
enum err_code disk_write(struct disk *d, int fd, const char *name, uint64_t off,
                         const struct bytes *parts, size_t n_parts, struct err *err) MUST_USE;
/* Exactly len bytes. */
enum err_code disk_read(int fd, uint64_t off, void *out, size_t len, struct err *err) MUST_USE;
enum err_code disk_sync(struct disk *d, int fd, const char *name, struct err *err) MUST_USE;
enum err_code disk_resize(struct disk *d, int fd, const char *name, uint64_t len,
                          struct err *err) MUST_USE;
/* Space beyond the file's end, its length stays. A file system that cannot is fine. */
enum err_code disk_reserve(struct disk *d, int fd, const char *name, uint64_t off, uint64_t len,
                           struct err *err) MUST_USE;
enum err_code disk_rename(struct disk *d, const char *from, const char *to,
                          struct err *err) MUST_USE;
enum err_code disk_remove(struct disk *d, const char *name, struct err *err) MUST_USE;
/* A small file in place of the one there may be, durable when this returns; by way of NAME.new, so
 * that the old one or the new one is there, whole. */
enum err_code disk_put_file(struct disk *d, const char *name, struct bytes content,
                            struct err *err) MUST_USE;
/* Names made, renamed and removed become durable. */
enum err_code disk_sync_dir(struct disk *d, struct err *err) MUST_USE;
