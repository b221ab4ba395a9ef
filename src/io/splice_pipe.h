/* splice_pipe: memory of ours into a socket without a copy (vmsplice(2), then splice(2)).
 *
 * Pages are lent to a pipe and handed on from there to the socket, which holds them until the far
 * side has them. So nothing in them may change before that: pages of a file that is seeded do not;
 * everything else is put aside first, where no byte is written twice. What the socket does not take
 * is dropped from the pipe again.
 *
 *   splice_pipe_begin, splice_pipe_put_aside*, splice_pipe_send
 *
 * Ownership  the pipe is the caller's; one serves any number of sockets
 * Threads    one
 * Errors     false or errno; a pipe that could not be had once is not asked for again
 * Bounds     three descriptors; SPLICE_PIPE_LEN of lent pages and SPLICE_PIPE_ASIDE_LEN of memory,
 *            and as much of either again as sockets hold
 */
#pragma once
#include "base/bytes.h"
#include <sys/types.h>
#include <sys/uio.h>

#define SPLICE_PIPE_LEN       (1024u * 1024u) /* the most that a pipe of anybody may hold, pipe(7) */
#define SPLICE_PIPE_ASIDE_LEN (64u * 1024u)

struct splice_pipe {
    bool is_open, has_failed;
    int read_fd, write_fd, null_fd;
    uint8_t *aside;
    size_t aside_len; /* used */
};

void splice_pipe_init(struct splice_pipe *p);
void splice_pipe_clear(struct splice_pipe *p);
/* For a message of these entries, of which aside_len bytes will be put aside. False: the system
 * has no pipe for us, or the message is too large for one; send it otherwise. */
bool splice_pipe_begin(struct splice_pipe *p, const struct iovec *iov, size_t n_iov,
                       size_t aside_len);
/* A copy that the entry of the message is to point at instead. */
const uint8_t *splice_pipe_put_aside(struct splice_pipe *p, struct bytes b);
/* As sendmsg on a non-blocking socket: how much it took, or -1. EFAULT: there is an entry whose
 * pages cannot be had (their file was cut, its disk failed); nothing was sent. */
ssize_t splice_pipe_send(struct splice_pipe *p, int socket_fd, const struct iovec *iov,
                         size_t n_iov);
