#include "io/udp.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_BATCH            64u
#define N_BATCHES_PER_TURN 16u
#define CONTROL_LEN        CMSG_SPACE(sizeof(struct in6_pktinfo)) /* the longer one */
#define SOCKET_BUFFER_LEN  (1024 * 1024) /* a burst of a tracker's announces */

struct datagrams {
    struct mmsghdr headers[N_BATCH];
    struct iovec iov[N_BATCH];
    struct sockaddr_storage addrs[N_BATCH];
    uint8_t bytes[N_BATCH][UDP_DATAGRAM_LEN_MAX];
    alignas(struct cmsghdr) uint8_t control[N_BATCH][CONTROL_LEN];
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
    bool is_wildcard;           /* bound to every address of the machine */
    const struct msghdr *heard; /* during fn: what it is called for */
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

/* So that each datagram comes with the address that it was sent to. */
static void want_destinations(struct udp *u, uint8_t family)
{
    int one = 1;
    if (family == ADDR_V4)
        setsockopt(u->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    else
        setsockopt(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
}

/* Makes `out` leave from where `heard` was sent to. */
static void answer_from(struct msghdr *out, struct msghdr heard)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&heard); c; c = CMSG_NXTHDR(&heard, c)) {
        bool is_v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO;
        bool is_v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO;
        if (!is_v4 && !is_v6)
            continue;
        out->msg_controllen = CMSG_SPACE(c->cmsg_len - CMSG_LEN(0));
        memcpy(out->msg_control, c, c->cmsg_len);
        struct cmsghdr *copy = CMSG_FIRSTHDR(out);
        if (is_v4) { /* the interface is the routing table's choice */
            struct in_pktinfo *info = (struct in_pktinfo *)(void *)CMSG_DATA(copy);
            info->ipi_ifindex = 0;
        } else {
            struct in6_pktinfo *info = (struct in6_pktinfo *)(void *)CMSG_DATA(copy);
            if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
                info->ipi6_ifindex = 0;
        }
        return;
    }
}

/* How many the system gave; they went to fn. */
static unsigned receive_batch(struct udp *u)
{
    struct datagrams *d = &u->in;
    for (unsigned i = 0; i < N_BATCH; i++) {
        struct msghdr *h = &d->headers[i].msg_hdr;
        h->msg_namelen = sizeof d->addrs[i];
        h->msg_control = u->is_wildcard ? d->control[i] : NULL;
        h->msg_controllen = u->is_wildcard ? CONTROL_LEN : 0;
    }
    int n = recvmmsg(u->fd, d->headers, N_BATCH, 0, NULL);
    for (int i = 0; i < n; i++) {
        struct addr from = sockaddr_to_addr(&d->addrs[i]);
        u->heard = &d->headers[i].msg_hdr;
        u->counters.n_received++;
        if (d->headers[i].msg_hdr.msg_flags & MSG_TRUNC)
            u->counters.n_too_long++;
        else if (from.family != ADDR_NONE)
            u->fn(u->ctx, &from, bytes_of(d->bytes[i], d->headers[i].msg_len));
    }
    u->heard = NULL;
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

static bool is_any(const struct addr *a)
{
    static const uint8_t none[16];
    return memcmp(a->ip, none, sizeof none) == 0;
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
    u->is_wildcard = is_any(bind);
    datagrams_init(&u->in);
    datagrams_init(&u->out);
    enum err_code code = sockaddr_bind(&u->fd, SOCK_DGRAM, bind, err);
    if (code == ERR_OK) {
        int len = SOCKET_BUFFER_LEN;
        setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
        if (u->is_wildcard)
            want_destinations(u, bind->family);
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
    d->headers[i].msg_hdr.msg_control = d->control[i];
    d->headers[i].msg_hdr.msg_controllen = 0;
}

void udp_reply(struct udp *u, const struct addr *to, struct bytes b)
{
    assert(u->heard);
    unsigned n = u->n_out == N_BATCH ? 0 : u->n_out; /* where it comes to lie */
    udp_send(u, to, b);
    if (u->is_wildcard && u->n_out == n + 1)
        answer_from(&u->out.headers[n].msg_hdr, *u->heard);
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
