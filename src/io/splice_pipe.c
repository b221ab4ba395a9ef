#include "io/splice_pipe.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the pipe -------------------------------------------------------------------------------- */

void splice_pipe_init(struct splice_pipe *p)
{
    *p = (struct splice_pipe){.read_fd = -1, .write_fd = -1, .null_fd = -1};
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void splice_pipe_clear(struct splice_pipe *p)
{
    close_if_open(p->read_fd);
    close_if_open(p->write_fd);
    close_if_open(p->null_fd);
    if (p->aside)
        munmap(p->aside, SPLICE_PIPE_ASIDE_LEN);
    splice_pipe_init(p);
}

/* One that is too short (somebody has used up what all his pipes may hold) is of no use. */
static bool pipe_open(struct splice_pipe *p)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    p->read_fd = fds[0];
    p->write_fd = fds[1];
    p->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    void *aside = mmap(NULL, SPLICE_PIPE_ASIDE_LEN, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (aside == MAP_FAILED)
        return false;
    p->aside = aside;
    return p->null_fd >= 0 &&
           fcntl(p->write_fd, F_SETPIPE_SZ, (int)SPLICE_PIPE_LEN) >= (int)SPLICE_PIPE_LEN;
}

static bool is_usable(struct splice_pipe *p)
{
    if (!p->is_open && !p->has_failed) {
        p->is_open = pipe_open(p);
        if (!p->is_open) {
            splice_pipe_clear(p);
            p->has_failed = true;
        }
    }
    return p->is_open;
}

/* --- a message ------------------------------------------------------------------------------- */

/* A pipe counts pages, however little of each is used. An entry that is put aside may come to lie
 * across the border of two. */
static size_t n_slots_max(const struct iovec *iov, size_t n_iov)
{
    size_t page_len = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    for (size_t i = 0; i < n_iov; i++) {
        size_t from = (size_t)((uintptr_t)iov[i].iov_base % page_len);
        n += iov[i].iov_len < page_len ? 2 : (from + iov[i].iov_len + page_len - 1) / page_len;
    }
    return n;
}

/* Pages of it that are still in a socket stay as they are; ours come anew, empty. */
static void aside_renew(struct splice_pipe *p)
{
    if (madvise(p->aside, SPLICE_PIPE_ASIDE_LEN, MADV_DONTNEED) == 0)
        p->aside_len = 0;
}

bool splice_pipe_begin(struct splice_pipe *p, const struct iovec *iov, size_t n_iov,
                       size_t aside_len)
{
    if (n_slots_max(iov, n_iov) > SPLICE_PIPE_LEN / (size_t)sysconf(_SC_PAGESIZE) || !is_usable(p))
        return false;
    if (aside_len > SPLICE_PIPE_ASIDE_LEN - p->aside_len)
        aside_renew(p);
    return aside_len <= SPLICE_PIPE_ASIDE_LEN - p->aside_len;
}

const uint8_t *splice_pipe_put_aside(struct splice_pipe *p, struct bytes b)
{
    assert(p->is_open && b.len <= SPLICE_PIPE_ASIDE_LEN - p->aside_len);
    uint8_t *to = p->aside + p->aside_len;
    memcpy(to, b.data, b.len);
    p->aside_len += b.len;
    return to;
}

/* Back to empty; reads of pages that nobody waits for cannot fail. */
static void pipe_drop(struct splice_pipe *p, size_t len)
{
    while (len > 0) {
        ssize_t n = splice(p->read_fd, NULL, p->null_fd, NULL, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        assert(n > 0);
        len -= (size_t)n;
    }
}

ssize_t splice_pipe_send(struct splice_pipe *p, int socket_fd, const struct iovec *iov,
                         size_t n_iov)
{
    size_t len = 0;
    for (size_t i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    ssize_t lent = vmsplice(p->write_fd, iov, n_iov, SPLICE_F_NONBLOCK);
    if (lent < 0)
        return -1;
    if ((size_t)lent < len) { /* the pipe is long enough: a page is missing */
        pipe_drop(p, (size_t)lent);
        errno = EFAULT;
        return -1;
    }
    ssize_t sent = splice(p->read_fd, NULL, socket_fd, NULL, len, SPLICE_F_NONBLOCK);
    int code = errno;
    pipe_drop(p, len - (sent > 0 ? (size_t)sent : 0));
    errno = code;
    return sent;
}
