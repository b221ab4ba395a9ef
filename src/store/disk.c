#include "store/disk.h"
#include "base/size.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_PARTS_MAX 4u

static enum err_code fail(struct err *err, const char *what, uint64_t at, int err_no)
{
    return err_set_at(err, ERR_IO, what, at, (uint64_t)err_no, 0);
}

/* The test's hook, if there is one: 0, or the errno to fail with. */
static int ask(const struct disk *d, enum disk_op op, const char *name, uint64_t off, size_t *len)
{
    size_t none = 0;
    return d->hook ? d->hook->before(d->hook->ctx, op, name, off, len ? len : &none) : 0;
}

static bool make_dirs(const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n <= 0 || n >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = '\0';
            if (mkdir(path, 0777) != 0 && errno != EEXIST)
                return false;
            *at = '/';
        }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

enum err_code disk_open(struct disk *d, const char *dir, const struct disk_hook *hook,
                        struct err *err)
{
    *d = (struct disk){.dir_fd = -1, .hook = hook};
    if (!make_dirs(dir))
        return fail(err, "cannot make the folder", 0, errno);
    d->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d->dir_fd < 0 ? fail(err, "cannot open the folder", 0, errno) : ERR_OK;
}

void disk_close(struct disk *d)
{
    if (d->dir_fd > 0)
        close(d->dir_fd);
    d->dir_fd = -1;
}

enum err_code disk_file_open(struct disk *d, const char *name, bool may_create, int *out_fd,
                             struct err *err)
{
    *out_fd = openat(d->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (*out_fd >= 0)
        return ERR_OK;
    if (errno != ENOENT)
        return fail(err, "cannot open the file", 0, errno);
    if (!may_create)
        return err_set(err, ERR_NOT_FOUND, "no such file");
    int err_no = ask(d, DISK_CREATE, name, 0, NULL);
    if (err_no)
        return fail(err, "cannot make the file", 0, err_no);
    *out_fd = openat(d->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (*out_fd < 0)
        return fail(err, "cannot make the file", 0, errno);
    d->is_dir_dirty = true;
    return ERR_OK;
}

enum err_code disk_file_len(int fd, uint64_t *out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(err, "cannot look at the file", 0, errno);
    *out = (uint64_t)st.st_size;
    return ERR_OK;
}

/* Takes n bytes off the front of the list. */
static void advance(struct iovec **v, int *n_v, size_t n)
{
    while (*n_v > 0 && n >= (*v)->iov_len) {
        n -= (*v)->iov_len;
        (*v)++;
        (*n_v)--;
    }
    if (*n_v > 0) {
        (*v)->iov_base = (uint8_t *)(*v)->iov_base + n;
        (*v)->iov_len -= n;
    }
}

/* Cuts the list down to len bytes. */
static void cut(struct iovec *v, int *n_v, size_t len)
{
    for (int i = 0; i < *n_v; i++) {
        v[i].iov_len = size_min(v[i].iov_len, len);
        len -= v[i].iov_len;
    }
}

static int write_all(int fd, uint64_t off, struct iovec *v, int n_v, uint64_t *written_len)
{
    advance(&v, &n_v, 0);
    while (n_v > 0) {
        ssize_t n = pwritev(fd, v, n_v, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        off += (uint64_t)n;
        *written_len += (uint64_t)n;
        advance(&v, &n_v, (size_t)n);
    }
    return 0;
}

enum err_code disk_write(struct disk *d, int fd, const char *name, uint64_t off,
                         const struct bytes *parts, size_t n_parts, struct err *err)
{
    struct iovec v[N_PARTS_MAX];
    int n_v = (int)n_parts;
    size_t len = 0;
    assert(n_parts <= N_PARTS_MAX);
    for (size_t i = 0; i < n_parts; i++) {
        v[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].len};
        len += parts[i].len;
    }
    size_t may_len = len;
    int refused = ask(d, DISK_WRITE, name, off, &may_len);
    if (refused) {
        cut(v, &n_v, may_len < len ? may_len : 0);
        write_all(fd, off, v, n_v, &d->written_len);
        return fail(err, "cannot write", off, refused);
    }
    int err_no = write_all(fd, off, v, n_v, &d->written_len);
    return err_no ? fail(err, "cannot write", off, err_no) : ERR_OK;
}

enum err_code disk_read(int fd, uint64_t off, void *out, size_t len, struct err *err)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(fd, (uint8_t *)out + got, len - got, (off_t)(off + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "cannot read", off, errno);
        if (n == 0)
            return err_set_at(err, ERR_TRUNCATED, "the file ends too early", off, got, len);
        got += (size_t)n;
    }
    return ERR_OK;
}

enum err_code disk_sync(struct disk *d, int fd, const char *name, struct err *err)
{
    int err_no = d->is_broken ? EIO : ask(d, DISK_SYNC, name, 0, NULL);
    if (!err_no && fdatasync(fd) != 0)
        err_no = errno;
    d->n_syncs++;
    d->is_broken = d->is_broken || err_no;
    return err_no ? fail(err, "cannot bring the file to disk", 0, err_no) : ERR_OK;
}

enum err_code disk_resize(struct disk *d, int fd, const char *name, uint64_t len, struct err *err)
{
    int err_no = ask(d, DISK_RESIZE, name, len, NULL);
    if (!err_no && ftruncate(fd, (off_t)len) != 0)
        err_no = errno;
    return err_no ? fail(err, "cannot cut the file", len, err_no) : ERR_OK;
}

enum err_code disk_reserve(struct disk *d, int fd, const char *name, uint64_t off, uint64_t len,
                           struct err *err)
{
    int err_no = ask(d, DISK_RESERVE, name, off, NULL);
    if (!err_no && fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) != 0 &&
        errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        err_no = errno;
    return err_no ? fail(err, "no space for more", off, err_no) : ERR_OK;
}

enum err_code disk_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    int err_no = ask(d, DISK_RENAME, to, 0, NULL);
    if (!err_no && renameat(d->dir_fd, from, d->dir_fd, to) != 0)
        err_no = errno;
    d->is_dir_dirty = true;
    return err_no ? fail(err, "cannot rename the file", 0, err_no) : ERR_OK;
}

enum err_code disk_remove(struct disk *d, const char *name, struct err *err)
{
    int err_no = ask(d, DISK_REMOVE, name, 0, NULL);
    if (!err_no && unlinkat(d->dir_fd, name, 0) != 0 && errno != ENOENT)
        err_no = errno;
    d->is_dir_dirty = true;
    return err_no ? fail(err, "cannot remove the file", 0, err_no) : ERR_OK;
}

enum err_code disk_put_file(struct disk *d, const char *name, struct bytes content, struct err *err)
{
    char temp[DISK_NAME_CAP];
    int fd = -1;
    snprintf(temp, sizeof temp, "%s.new", name);
    enum err_code code = disk_file_open(d, temp, true, &fd, err);
    if (!code)
        code = disk_resize(d, fd, temp, 0, err);
    if (!code)
        code = disk_write(d, fd, temp, 0, &content, 1, err);
    if (!code)
        code = disk_sync(d, fd, temp, err);
    if (fd >= 0)
        close(fd);
    if (!code)
        code = disk_rename(d, temp, name, err);
    return code ? code : disk_sync_dir(d, err);
}

enum err_code disk_sync_dir(struct disk *d, struct err *err)
{
    if (!d->is_dir_dirty)
        return ERR_OK;
    int err_no = d->is_broken ? EIO : ask(d, DISK_SYNC_DIR, ".", 0, NULL);
    if (!err_no && fsync(d->dir_fd) != 0)
        err_no = errno;
    d->is_broken = d->is_broken || err_no;
    if (err_no)
        return fail(err, "cannot bring the folder to disk", 0, err_no);
    d->is_dir_dirty = false;
    return ERR_OK;
}
