/* faulty_disk: a disk that fails when it is told to. Preloaded into the program (LD_PRELOAD), it sits
 * between it and the C library's calls on files below one folder.
 *
 *   FAULTY_DIR    files whose path begins so
 *   FAULTY_CALL   pwritev, preadv, preadv2, pread, pwrite, sync (fsync, fdatasync), ftruncate,
 *                 fallocate, or read (any of the reading ones). Where reading fails
 *                 nothing can be mapped: data come by these calls alone
 *   FAULTY_AT     the n-th such call fails, from 1
 *   FAULTY_COUNT  and so many in all; 0: every one from then on (default 1)
 *   FAULTY_HOW    a number: errno; "short": half of what was asked for is done
 *   FAULTY_LOG    a file that gets a line for each fault
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAULT_NONE  0
#define FAULT_SHORT (-1)

static atomic_ulong n_calls;

static unsigned long number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

static int is_in_folder(int fd)
{
    const char *dir = getenv("FAULTY_DIR");
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(name, path, sizeof path - 1);
    if (!dir || len < 0)
        return 0;
    path[len] = 0;
    return strncmp(path, dir, strlen(dir)) == 0;
}

static void note(const char *call, unsigned long n)
{
    const char *path = getenv("FAULTY_LOG");
    FILE *f = path ? fopen(path, "ae") : NULL;
    if (f) {
        fprintf(f, "%s %lu\n", call, n);
        fclose(f);
    }
}

static int is_read(const char *wanted, const char *call)
{
    return strcmp(wanted, "read") == 0 && strncmp(call, "pread", 5) == 0;
}

/* What becomes of this call: FAULT_NONE, FAULT_SHORT, or an errno. */
static int fault(const char *call, int fd)
{
    const char *wanted = getenv("FAULTY_CALL"), *how = getenv("FAULTY_HOW");
    if (!wanted || !how || (strcmp(wanted, call) != 0 && !is_read(wanted, call)) ||
        !is_in_folder(fd))
        return FAULT_NONE;
    unsigned long n = atomic_fetch_add(&n_calls, 1) + 1, at = number("FAULTY_AT", 1);
    unsigned long count = number("FAULTY_COUNT", 1);
    if (n < at || (count && n >= at + count))
        return FAULT_NONE;
    note(call, n);
    return strcmp(how, "short") == 0 ? FAULT_SHORT : (int)strtol(how, NULL, 10);
}

static void *real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

/* Half of the first buffer alone; at least a byte, or it would look like the end of the file. */
static struct iovec half_of(const struct iovec *iov)
{
    return (struct iovec){iov->iov_base, iov->iov_len > 1 ? iov->iov_len / 2 : iov->iov_len};
}

#define FAIL_WITH(code) return errno = (code), -1

/* With 64-bit offsets these names are compiled to the ...64 ones, which is what the program calls. */
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    ssize_t (*f)(int, const struct iovec *, int, off_t) = real("pwritev64");
    int code = fault("pwritev", fd);
    if (code > 0)
        FAIL_WITH(code);
    struct iovec half = half_of(iov);
    return code == FAULT_SHORT ? f(fd, &half, 1, off) : f(fd, iov, n, off);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
    ssize_t (*f)(int, const struct iovec *, int, off_t) = real("preadv64");
    int code = fault("preadv", fd);
    if (code > 0)
        FAIL_WITH(code);
    struct iovec half = half_of(iov);
    return code == FAULT_SHORT ? f(fd, &half, 1, off) : f(fd, iov, n, off);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
    ssize_t (*f)(int, const struct iovec *, int, off_t, int) = real("preadv64v2");
    int code = fault("preadv2", fd);
    if (code > 0)
        FAIL_WITH(code);
    struct iovec half = half_of(iov);
    return code == FAULT_SHORT ? f(fd, &half, 1, off, flags) : f(fd, iov, n, off, flags);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    void *(*f)(void *, size_t, int, int, int, off_t) = real("mmap64");
    const char *wanted = getenv("FAULTY_CALL");
    bool fails_reads = wanted && (strcmp(wanted, "read") == 0 || strncmp(wanted, "pread", 5) == 0);
    if (fd >= 0 && fails_reads && is_in_folder(fd))
        return errno = ENODEV, MAP_FAILED;
    return f(at, len, prot, flags, fd, off);
}

ssize_t pread(int fd, void *out, size_t len, off_t off)
{
    ssize_t (*f)(int, void *, size_t, off_t) = real("pread64");
    int code = fault("pread", fd);
    if (code > 0)
        FAIL_WITH(code);
    return f(fd, out, code == FAULT_SHORT && len > 1 ? len / 2 : len, off);
}

ssize_t pwrite(int fd, const void *in, size_t len, off_t off)
{
    ssize_t (*f)(int, const void *, size_t, off_t) = real("pwrite64");
    int code = fault("pwrite", fd);
    if (code > 0)
        FAIL_WITH(code);
    return f(fd, in, code == FAULT_SHORT && len > 1 ? len / 2 : len, off);
}

int fdatasync(int fd)
{
    int (*f)(int) = real("fdatasync"), code = fault("sync", fd);
    if (code > 0)
        FAIL_WITH(code);
    return f(fd);
}

int fsync(int fd)
{
    int (*f)(int) = real("fsync"), code = fault("sync", fd);
    if (code > 0)
        FAIL_WITH(code);
    return f(fd);
}

int ftruncate(int fd, off_t len)
{
    int (*f)(int, off_t) = real("ftruncate64");
    int code = fault("ftruncate", fd);
    if (code > 0)
        FAIL_WITH(code);
    return f(fd, len);
}

int posix_fallocate(int fd, off_t off, off_t len)
{
    int (*f)(int, off_t, off_t) = real("posix_fallocate64");
    int code = fault("fallocate", fd);
    return code > 0 ? code : f(fd, off, len);
}
