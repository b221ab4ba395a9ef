#include "io/udp.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_BATCH            64u
#define N_BATCHES_PER_TURN 16u
#define SOCKET_BUFFER_LEN  (1024 * 1024) /* a burst of a tracker's announces */

struct datagrams {
    struct mmsghdr headers[N_BATCH];
    struct iovec iov[N_BATCH];
    struct sockaddr_storage addrs[N_BATCH];
    uint8_t bytes[N_BATCH][UDP_DATAGRAM_LEN_MAX];
};

struct udp {
    int fd;
    struct loop_poll *poll;
    struct loop_hook *hook;
    void (*fn)(void *ctx, const struct addr *from, struct bytes b);
    void (*after_batch)(void *ctx);
    void *ctx;
    struct udp_counters counters;
    unsigned n_out;
    struct datagrams in, out;
};

static void datagrams_init(struct datagrams *d)
{
    for (unsigned i = 0; i < N_BATCH; i++) {
        d->iov[i] = (struct iovec){d->bytes[i], UDP_DATAGRAM_LEN_MAX};
        d->headers[i].msg_hdr =
            (struct msghdr){.msg_name = &d->addrs[i], .msg_iov = &d->iov[i], .msg_iovlen = 1};
    }
}

static bool flush_hook(void *ctx)
{
    udp_flush(ctx);
    return false;
}

/* How many the system gave; they went to fn. */
static unsigned receive_batch(struct udp *u)
{
    struct datagrams *d = &u->in;
    for (unsigned i = 0; i < N_BATCH; i++)
        d->headers[i].msg_hdr.msg_namelen = sizeof d->addrs[i];
    int n = recvmmsg(u->fd, d->headers, N_BATCH, 0, NULL);
    for (int i = 0; i < n; i++) {
        struct addr from = sockaddr_to_addr(&d->addrs[i]);
        u->counters.n_received++;
        if (d->headers[i].msg_hdr.msg_flags & MSG_TRUNC)
            u->counters.n_too_long++;
        else if (from.family != ADDR_NONE)
            u->fn(u->ctx, &from, bytes_of(d->bytes[i], d->headers[i].msg_len));
    }
    return n > 0 ? (unsigned)n : 0;
}

static void datagrams_came(void *ctx, bool is_readable, bool is_writable)
{
    struct udp *u = ctx;
    (void)is_readable;
    (void)is_writable;
    for (unsigned i = 0; i < N_BATCHES_PER_TURN && receive_batch(u) == N_BATCH; i++)
        continue;
    if (u->after_batch)
        u->after_batch(u->ctx);
}

enum err_code udp_new(struct udp **out, struct loop *l, const struct addr *bind,
                      void (*fn)(void *ctx, const struct addr *from, struct bytes b),
                      void (*after_batch)(void *ctx), void *ctx, struct err *err)
{
    *out = NULL;
    struct udp *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, ERR_NO_MEMORY, "no memory for a datagram socket");
    u->fn = fn;
    u->after_batch = after_batch;
    u->ctx = ctx;
    datagrams_init(&u->in);
    datagrams_init(&u->out);
    enum err_code code = sockaddr_bind(&u->fd, SOCK_DGRAM, bind, err);
    if (code == ERR_OK) {
        int len = SOCKET_BUFFER_LEN;
        setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
        code = loop_poll_new(&u->poll, l, u->fd, datagrams_came, u, err);
    }
    if (code == ERR_OK && loop_hook_new(&u->hook, l, flush_hook, u))
        code = err_set(err, ERR_NO_MEMORY, "no memory for a datagram socket");
    if (code) {
        udp_free(u);
        return code;
    }
    loop_poll_set(u->poll, true, false);
    *out = u;
    return ERR_OK;
}

void udp_free(struct udp *u)
{
    if (!u)
        return;
    if (u->n_out)
        udp_flush(u);
    loop_poll_free(u->poll);
    loop_hook_free(u->hook);
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

struct addr udp_addr(const struct udp *u)
{
    return sockaddr_of_socket(u->fd);
}

void udp_send(struct udp *u, const struct addr *to, struct bytes b)
{
    if (b.len > UDP_DATAGRAM_LEN_MAX) {
        u->counters.n_too_long++;
        return;
    }
    if (u->n_out == N_BATCH)
        udp_flush(u);
    struct datagrams *d = &u->out;
    unsigned i = u->n_out++;
    if (b.len)
        memcpy(d->bytes[i], b.data, b.len);
    d->iov[i].iov_len = b.len;
    d->headers[i].msg_hdr.msg_namelen = sockaddr_from_addr(&d->addrs[i], to);
}

/* Each datagram is tried once: one that fails is skipped, a full socket drops the rest. */
void udp_flush(struct udp *u)
{
    unsigned done = 0;
    while (done < u->n_out) {
        int n = sendmmsg(u->fd, u->out.headers + done, u->n_out - done, MSG_NOSIGNAL);
        if (n > 0) {
            u->counters.n_sent += (unsigned)n;
            done += (unsigned)n;
        } else if (errno == EAGAIN) {
            u->counters.n_send_full += u->n_out - done;
            break;
        } else if (errno != EINTR) {
            u->counters.n_send_failed++;
            done++;
        }
    }
    u->n_out = 0;
}

const struct udp_counters *udp_counters(const struct udp *u)
{
    return &u->counters;
}
