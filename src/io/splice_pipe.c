#include "io/splice_pipe.h"
#include "base/size.h"
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

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void pipe_close(struct splice_pipe *p)
{
    close_fd(&p->read_fd);
    close_fd(&p->write_fd);
    close_fd(&p->null_fd);
    p->is_open = false;
}

void splice_pipe_clear(struct splice_pipe *p)
{
    pipe_close(p);
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

/* What was put aside stays: the message that it is of goes another way. */
static void give_up(struct splice_pipe *p)
{
    pipe_close(p);
    p->has_failed = true;
}

static bool is_usable(struct splice_pipe *p)
{
    if (!p->is_open && !p->has_failed) {
        p->is_open = pipe_open(p);
        if (!p->is_open)
            give_up(p);
    }
    return p->is_open;
}

/* --- a message ------------------------------------------------------------------------------- */

/* Pages of it that are still in a socket stay as they are; ours come anew, empty. */
static void aside_renew(struct splice_pipe *p)
{
    if (madvise(p->aside, SPLICE_PIPE_ASIDE_LEN, MADV_DONTNEED) == 0)
        p->aside_len = 0;
}

bool splice_pipe_begin(struct splice_pipe *p, size_t aside_len)
{
    if (!is_usable(p))
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

/* Back to empty, by closing it if nothing else works. */
static void pipe_drop(struct splice_pipe *p, size_t len)
{
    while (len > 0) {
        ssize_t n = splice(p->read_fd, NULL, p->null_fd, NULL, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            give_up(p);
            return;
        }
        len -= (size_t)n;
    }
}

/* A pipe counts pages, however little of each is used. */
static bool fits(const struct iovec *iov, size_t n_iov, size_t *out_len)
{
    size_t page_len = (size_t)sysconf(_SC_PAGESIZE), n_pages = 0;
    *out_len = 0;
    for (size_t i = 0; i < n_iov; i++) {
        size_t from = (size_t)((uintptr_t)iov[i].iov_base % page_len);
        n_pages += div_ceil(from + iov[i].iov_len, page_len);
        *out_len += iov[i].iov_len;
    }
    return n_pages <= SPLICE_PIPE_LEN / page_len;
}

/* All of it, or -1. */
static ssize_t lend(struct splice_pipe *p, const struct iovec *iov, size_t n_iov, size_t len)
{
    ssize_t lent;
    do {
        lent = vmsplice(p->write_fd, iov, n_iov, SPLICE_F_NONBLOCK);
    } while (lent < 0 && errno == EINTR);
    if (lent < 0 || (size_t)lent == len)
        return lent;
    pipe_drop(p, (size_t)lent); /* the pipe is long enough: a page is missing */
    errno = EFAULT;
    return -1;
}

static ssize_t hand_on(struct splice_pipe *p, int socket_fd, size_t len)
{
    ssize_t sent;
    do {
        sent = splice(p->read_fd, NULL, socket_fd, NULL, len, SPLICE_F_NONBLOCK);
    } while (sent < 0 && errno == EINTR);
    int code = errno;
    pipe_drop(p, len - (sent > 0 ? (size_t)sent : 0));
    errno = code;
    return sent;
}

/* Of splice itself; nothing that a TCP socket answers. */
static bool is_refusal(int code)
{
    return code == ENOSYS || code == EPERM || code == EINVAL;
}

bool splice_pipe_send(struct splice_pipe *p, int socket_fd, const struct iovec *iov, size_t n_iov,
                      ssize_t *out_sent)
{
    size_t len;
    assert(p->is_open);
    if (!fits(iov, n_iov, &len))
        return false;
    *out_sent = lend(p, iov, n_iov, len);
    bool is_refused = *out_sent < 0 && errno != EFAULT;
    if (*out_sent >= 0) {
        *out_sent = hand_on(p, socket_fd, len);
        is_refused = *out_sent < 0 && is_refusal(errno);
    }
    if (is_refused)
        give_up(p);
    return !is_refused;
}
