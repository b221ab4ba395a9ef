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
 * Errors     as of sendmsg; where the system has no pipe for us, or does not let us (a sandbox), it
 *            is not asked again
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
/* A message begins, of which so much will be put aside. False: send it otherwise. */
bool splice_pipe_begin(struct splice_pipe *p, size_t aside_len);
/* A copy for the message to have in its place. */
const uint8_t *splice_pipe_put_aside(struct splice_pipe *p, struct bytes b);
/* To a socket that does not wait. *out_sent: how much it took, or -1 and errno: EFAULT, there is an
 * entry whose pages cannot be had (their file was cut, its disk failed), and nothing was sent.
 * False: send it otherwise, there are more pages than a pipe holds, or the system refuses. */
bool splice_pipe_send(struct splice_pipe *p, int socket_fd, const struct iovec *iov, size_t n_iov,
                      ssize_t *out_sent);
