#include "store/beneath.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_at2(int dir_fd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
}

int beneath_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    int fd;
    do { /* EAGAIN: a rename raced with the look-up; it says nothing about the name */
        fd = open_at2(dir_fd, path, flags, mode);
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    /* EPERM: a sandbox from before the call existed */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return beneath_open_walk(dir_fd, path, flags, mode);
    return fd;
}

/* The next element of *path into out; false at the end or, with errno, where one is not allowed. */
static bool next_element(const char **path, char out[NAME_MAX + 1])
{
    size_t len = strcspn(*path, "/");
    bool is_dots = len <= 2 && strspn(*path, ".") == len; /* "", ".", ".." */
    if (is_dots || len > NAME_MAX) {
        errno = len > NAME_MAX ? ENAMETOOLONG : EXDEV;
        return false;
    }
    memcpy(out, *path, len);
    out[len] = 0;
    *path += len;
    if ((*path)[0] == '/' && (*path)[1] != 0) /* a slash at the end stays, as an empty element */
        (*path)++;
    return true;
}

/* fd is closed; the folder `name` in it, made if asked, or -1. */
static int step_into_take(int fd, const char *name, bool is_made)
{
    int next = -1;
    if (!is_made || mkdirat(fd, name, 0777) == 0 || errno == EEXIST)
        next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int code = errno;
    close(fd);
    errno = code;
    return next;
}

/* The folder above the last element, whose name comes in `name`. */
static int walk_to_parent(int dir_fd, const char *path, bool is_made, char name[NAME_MAX + 1])
{
    int fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0) {
        if (!next_element(&path, name)) {
            int code = errno;
            close(fd);
            errno = code;
            return -1;
        }
        if (*path == 0)
            return fd;
        fd = step_into_take(fd, name, is_made);
    }
    return -1;
}

int beneath_open_walk(int dir_fd, const char *path, int flags, mode_t mode)
{
    char name[NAME_MAX + 1];
    int parent = walk_to_parent(dir_fd, path, false, name);
    if (parent < 0)
        return -1;
    int fd = openat(parent, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    int code = errno;
    close(parent);
    errno = code;
    return fd;
}

int beneath_make_parent(int dir_fd, const char *path)
{
    char name[NAME_MAX + 1];
    return walk_to_parent(dir_fd, path, true, name);
}
