#include "io/tcp.h"
#include "base/size.h"
#include "base/timer.h"
#include "crypto/random.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include "io/tcp_internal.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_CONNS_DEFAULT    4000u
#define N_FDS_FOR_OTHERS   400u /* files, trackers, the database */
#define N_EVENTS           256
#define N_ACCEPTS_PER_TURN 64u
#define N_SPANS            32u
#define LISTEN_BACKLOG     512

/* --- connections ----------------------------------------------------------------------------- */

struct tcp_conn *tcp_conn_find(struct tcp *n, uint32_t id)
{
    if (n->last_found && n->last_found->id == id)
        return n->last_found;
    struct tcp_conn **c = map_get(&n->conns, &id);
    return n->last_found = c ? *c : NULL;
}

static void conn_forget(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    if (n->last_found == c)
        n->last_found = NULL;
    map_remove(&n->conns, &c->id);
}

static struct tcp_conn *conn_new(struct tcp *n, int fd)
{
    struct tcp_conn *c = mem_calloc(&n->mem, 1, sizeof *c);
    if (!c)
        return NULL;
    c->tcp = n;
    c->fd = fd;
    c->batch_len = TCP_BATCH_LEN;
    c->room_len = size_min(n->config.room_len, TCP_ROOM_LEN_FIRST);
    c->room_at_us = clock_now_us();
    bqueue_init(&c->out, &n->mem, n->config.room_len + TCP_ROOM_SLACK_LEN);
    n->n_conns++;
    return c;
}

static bool conn_name(struct tcp_conn *c, uint32_t id)
{
    struct tcp_conn **slot = map_put(&c->tcp->conns, &id, NULL);
    if (!slot)
        return false;
    *slot = c;
    c->id = id;
    return true;
}

static void unlink_from(struct list *l, struct list_node *node)
{
    if (list_node_is_linked(node))
        list_remove(l, node);
}

static void conn_unlink(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    unlink_from(&n->ready, &c->in_ready);
    unlink_from(&n->dirty, &c->in_dirty);
    unlink_from(c->state == TCP_CONNECTING ? &n->connecting : &n->flushing, &c->in_deadlines);
}

void tcp_conn_destroy(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    conn_unlink(c);
    if (c->state != TCP_FLUSHING)
        conn_forget(c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    tcp_out_clear(c);
    list_push_back(&n->graveyard, &c->in_graveyard);
    n->n_conns--;
    if (n->is_starved)
        n->listeners[0].can_accept = n->listeners[1].can_accept = true;
    n->is_starved = false;
}

static void graveyard_clear(struct tcp *n)
{
    struct list_node *node;
    while ((node = list_pop_front(&n->graveyard)))
        mem_free(&n->mem, CONTAINER_OF(node, struct tcp_conn, in_graveyard));
}

static void conn_make_ready(struct tcp_conn *c)
{
    if (!list_node_is_linked(&c->in_ready))
        list_push_back(&c->tcp->ready, &c->in_ready);
}

/* The owner hears of it in the next tcp_read, never inside a call of its own. */
void tcp_conn_fail(struct tcp_conn *c, enum err_code code, const char *what, int sys)
{
    if (c->state == TCP_FLUSHING) { /* nobody is interested any more */
        tcp_conn_destroy(c);
        return;
    }
    if (c->has_failed)
        return;
    c->has_failed = true;
    c->can_write = false;
    err_set_at(&c->err, code, what, 0, (uint64_t)sys, 0);
    conn_make_ready(c);
}

static void conn_report(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    struct err err = c->err;
    uint32_t id = c->id;
    if (c->state == TCP_CONNECTING)
        n->counters.n_connect_failed++;
    tcp_conn_destroy(c);
    n->owner.closed(n->owner.ctx, id, &err);
}

static void socket_prepare(int fd)
{
    int one = 1, lowat = (int)TCP_UNSENT_LEN_MIN;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
}

static bool watch(struct tcp *n, int fd, struct tcp_target *target, uint32_t events)
{
    struct epoll_event ev = {.events = events | EPOLLET, .data.ptr = target};
    return epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static bool conn_watch(struct tcp_conn *c)
{
    return watch(c->tcp, c->fd, &c->target, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

/* --- deadlines ------------------------------------------------------------------------------- */

static uint64_t first_deadline(const struct list *l)
{
    struct list_node *node = list_first(l);
    return node ? CONTAINER_OF(node, struct tcp_conn, in_deadlines)->deadline_us : DEADLINE_NEVER;
}

static void timer_renew(struct tcp *n)
{
    uint64_t at_us = u64_min(first_deadline(&n->connecting), first_deadline(&n->flushing));
    loop_timer_set(n->timer, at_us);
}

static void conn_set_deadline(struct tcp_conn *c, struct list *l, uint64_t after_us)
{
    c->deadline_us = clock_now_us() + after_us;
    list_push_back(l, &c->in_deadlines);
    timer_renew(c->tcp);
}

static void deadlines_passed(void *ctx)
{
    struct tcp *n = ctx;
    uint64_t now_us = clock_now_us();
    while (first_deadline(&n->flushing) <= now_us) {
        struct list_node *node = list_first(&n->flushing);
        n->counters.n_flush_timeout++;
        tcp_conn_destroy(CONTAINER_OF(node, struct tcp_conn, in_deadlines));
    }
    while (first_deadline(&n->connecting) <= now_us) {
        struct list_node *node = list_pop_front(&n->connecting);
        n->counters.n_connect_timeout++;
        tcp_conn_fail(CONTAINER_OF(node, struct tcp_conn, in_deadlines), ERR_IO,
                      "no connection in time", ETIMEDOUT);
    }
    timer_renew(n);
}

/* --- congestion control ---------------------------------------------------------------------- */

bool tcp_congestion_set(const struct tcp *n, int fd)
{
    const char *name = n->congestion_control;
    return *name == '\0' ||
           setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

/* On a socket of its own, so that a wrong name is known at once and not taken for a busy port. */
static enum err_code congestion_check(const struct tcp *n, struct err *err)
{
    int family = n->config.bind4.family == ADDR_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_set = fd >= 0 && tcp_congestion_set(n, fd);
    int code = errno;
    if (fd >= 0)
        close(fd);
    if (is_set)
        return ERR_OK;
    if (code == ENOENT)
        return err_set(err, ERR_UNSUPPORTED, "this system has no such congestion control");
    if (code == EPERM)
        return err_set(err, ERR_UNSUPPORTED, "this congestion control is only for root here");
    return err_set_at(err, ERR_IO, "cannot choose the congestion control", 0, (uint64_t)code, 0);
}

static enum err_code congestion_choose(struct tcp *n, struct err *err)
{
    const char *name = n->config.congestion_control;
    if (!name)
        return ERR_OK;
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof n->congestion_control)
        return err_set(err, ERR_UNSUPPORTED, "this system has no such congestion control");
    memcpy(n->congestion_control, name, len + 1);
    n->config.congestion_control = n->congestion_control;
    return congestion_check(n, err);
}

/* --- listening ------------------------------------------------------------------------------- */

static void listeners_close(struct tcp *n)
{
    for (size_t i = 0; i < 2; i++) {
        if (n->listeners[i].fd >= 0)
            close(n->listeners[i].fd);
        n->listeners[i].fd = -1;
    }
}

static enum err_code listener_open(struct tcp *n, struct tcp_listener *li, const struct addr *bind,
                                   uint16_t port, struct err *err)
{
    struct addr a = *bind;
    a.port = port;
    enum err_code code = sockaddr_bind(&li->fd, SOCK_STREAM, &a, err);
    if (code)
        return code;
    li->target.listener = li;
    li->can_accept = true;
    tcp_congestion_set(n, li->fd);
    if (listen(li->fd, LISTEN_BACKLOG) < 0 || !watch(n, li->fd, &li->target, EPOLLIN))
        return err_set_at(err, ERR_IO, "cannot listen", port, (uint64_t)errno, 0);
    n->port = sockaddr_of_socket(li->fd).port;
    return ERR_OK;
}

/* Both families on one port. A machine without IPv6 is content with IPv4. */
static enum err_code listen_on(struct tcp *n, uint16_t port, struct err *err)
{
    const struct tcp_config *cf = &n->config;
    enum err_code code = ERR_OK;
    if (cf->bind4.family == ADDR_V4)
        code = listener_open(n, &n->listeners[0], &cf->bind4, port, err);
    bool has_v4 = n->listeners[0].fd >= 0;
    if (code == ERR_OK && cf->bind6.family == ADDR_V6) {
        struct err note;
        code = listener_open(n, &n->listeners[1], &cf->bind6, has_v4 ? n->port : port, &note);
        bool is_absent = note.got == EAFNOSUPPORT || note.got == EADDRNOTAVAIL;
        if (code && has_v4 && code == ERR_IO && is_absent)
            code = ERR_OK;
        else if (code && err)
            *err = note;
    }
    if (code) {
        listeners_close(n);
        n->port = 0;
    }
    return code;
}

/* The port asked for, the ones after it, then any (which is tried a few times: what is free for
 * one family may be taken for the other). */
static enum err_code listen_somewhere(struct tcp *n, struct err *err)
{
    uint32_t port = n->config.port;
    uint32_t last = u64_max(n->config.port_last, port) & 0xffff;
    for (; port != 0 && port <= last; port++) {
        enum err_code code = listen_on(n, (uint16_t)port, err);
        if (code == ERR_OK || n->config.is_port_strict)
            return code;
    }
    enum err_code code = ERR_IO;
    for (int tries = 0; code && tries < 8; tries++)
        code = listen_on(n, 0, err);
    return code;
}

/* --- life ------------------------------------------------------------------------------------ */

static void events_came(void *ctx, bool is_readable, bool is_writable);

static uint32_t default_n_conns_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        limit.rlim_cur >= N_CONNS_DEFAULT + N_FDS_FOR_OTHERS)
        return N_CONNS_DEFAULT;
    return (uint32_t)(limit.rlim_cur / 2);
}

static enum err_code tcp_open(struct tcp *n, struct err *err)
{
    struct map_seed seed = {random_u64(), random_u64()};
    map_init(&n->conns, &n->mem, seed, sizeof(uint32_t), sizeof(struct tcp_conn *),
             n->config.n_conns_max + 1u);
    n->batch = aligned_alloc(4096, TCP_BATCH_LEN);
    n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!n->batch || loop_timer_new(&n->timer, n->loop, deadlines_passed, n))
        return err_set(err, ERR_NO_MEMORY, "no memory for the network");
    if (n->epoll_fd < 0 || n->spare_fd < 0)
        return err_set_at(err, ERR_IO, "cannot start the network", 0, (uint64_t)errno, 0);
    enum err_code code = loop_poll_new(&n->poll, n->loop, n->epoll_fd, events_came, n, err);
    if (code)
        return code;
    loop_poll_set(n->poll, true, false);
    code = congestion_choose(n, err);
    if (code)
        return code;
    return n->config.is_listen_off ? ERR_OK : listen_somewhere(n, err);
}

enum err_code tcp_new(struct tcp **out, struct loop *l, const struct tcp_config *config,
                      const struct tcp_owner *owner, struct err *err)
{
    *out = NULL;
    struct tcp *n = calloc(1, sizeof *n);
    if (!n)
        return err_set(err, ERR_NO_MEMORY, "no memory for the network");
    n->loop = l;
    n->config = *config;
    n->owner = *owner;
    if (!n->config.n_conns_max)
        n->config.n_conns_max = default_n_conns_max();
    if (!n->config.connect_us_max)
        n->config.connect_us_max = TCP_CONNECT_US_MAX;
    if (!n->config.room_len)
        n->config.room_len = TCP_ROOM_LEN_DEFAULT;
    mem_init(&n->mem, MEM_NO_BUDGET, NULL);
    list_init(&n->ready);
    list_init(&n->dirty);
    list_init(&n->graveyard);
    list_init(&n->connecting);
    list_init(&n->flushing);
    splice_pipe_init(&n->pipe);
    n->epoll_fd = n->spare_fd = n->listeners[0].fd = n->listeners[1].fd = -1;
    enum err_code code = tcp_open(n, err);
    if (code) {
        tcp_free(n);
        return code;
    }
    *out = n;
    return ERR_OK;
}

static void conns_destroy_all(struct tcp *n)
{
    struct list_node *node;
    while ((node = list_first(&n->flushing)))
        tcp_conn_destroy(CONTAINER_OF(node, struct tcp_conn, in_deadlines));
    const void *key;
    void *value;
    size_t cursor = 0;
    while (map_next(&n->conns, &cursor, &key, &value)) {
        tcp_conn_destroy(*(struct tcp_conn **)value);
        cursor = 0; /* the map changed */
    }
}

void tcp_free(struct tcp *n)
{
    if (!n)
        return;
    conns_destroy_all(n);
    graveyard_clear(n);
    listeners_close(n);
    loop_poll_free(n->poll);
    loop_timer_free(n->timer);
    if (n->epoll_fd >= 0)
        close(n->epoll_fd);
    if (n->spare_fd >= 0)
        close(n->spare_fd);
    map_clear(&n->conns);
    mem_check_empty(&n->mem);
    splice_pipe_clear(&n->pipe);
    free(n->batch);
    free(n);
}

uint16_t tcp_listen_port(const struct tcp *n)
{
    return n->port;
}

/* --- accepting ------------------------------------------------------------------------------- */

static bool accept_one(struct tcp *n, int fd, const struct addr *from)
{
    uint32_t id;
    struct tcp_conn *c = conn_new(n, fd);
    if (!c)
        return false;
    c->state = TCP_OPEN;
    c->can_write = true;
    if (!n->owner.accepted(n->owner.ctx, from, &id)) {
        n->counters.n_accept_refused++;
        c->state = TCP_FLUSHING; /* it has no name to remove */
        tcp_conn_destroy(c);
        return true;
    }
    n->counters.n_accepted++;
    if (!conn_name(c, id) || !conn_watch(c)) {
        struct err err = {ERR_NO_MEMORY, "no memory for a connection", 0, 0, 0};
        c->id = id;
        tcp_conn_destroy(c);
        n->owner.closed(n->owner.ctx, id, &err);
        return true;
    }
    socket_prepare(fd);
    tcp_out_open(c);
    return true;
}

/* Out of descriptors: the connection would wake us for ever, so it is taken and dropped. If not
 * even that works, listening rests until a connection ends. */
static void refuse_with_spare(struct tcp *n, struct tcp_listener *li)
{
    n->counters.n_accept_no_descriptor++;
    if (n->spare_fd >= 0)
        close(n->spare_fd);
    int fd = accept4(li->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    else if (errno != EAGAIN)
        n->is_starved = true;
    if (fd < 0)
        li->can_accept = false;
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Until the system has no more, or it is somebody else's turn. */
static void accept_some(struct tcp *n, struct tcp_listener *li)
{
    for (uint32_t i = 0; i < N_ACCEPTS_PER_TURN && li->can_accept; i++) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof ss;
        int fd = accept4(li->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct addr from = sockaddr_to_addr(&ss);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            refuse_with_spare(n, li);
        else if (fd < 0 && (errno == EAGAIN || errno == EBADF || errno == EINVAL))
            li->can_accept = false;
        else if (fd < 0)
            continue; /* ECONNABORTED and network errors: of that connection only */
        else if (n->n_conns >= n->config.n_conns_max) {
            n->counters.n_accept_limit++;
            close(fd);
        } else if (!accept_one(n, fd, &from)) {
            close(fd);
        }
    }
}

/* --- connecting ------------------------------------------------------------------------------ */

static int connect_socket(const struct tcp *n, const struct addr *from, const struct addr *to)
{
    int family = to->family == ADDR_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_storage ss;
    static const uint8_t any[16];
    if (memcmp(from->ip, any, 16) != 0) {
        struct addr a = *from;
        int one = 1;
        a.port = 0;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        socklen_t len = sockaddr_from_addr(&ss, &a);
        if (bind(fd, (struct sockaddr *)&ss, len) < 0)
            goto failed;
    }
    socket_prepare(fd);
    tcp_congestion_set(n, fd);
    socklen_t len = sockaddr_from_addr(&ss, to);
    if (connect(fd, (struct sockaddr *)&ss, len) == 0 || errno == EINPROGRESS)
        return fd;
failed:;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void connect_lost(struct tcp *n, uint32_t id)
{
    assert(n->n_lost < TCP_N_LOST_MAX); /* far more than an engine has half open */
    n->lost[n->n_lost++] = id;
}

void tcp_connect(struct tcp *n, uint32_t conn, const struct addr *to)
{
    struct tcp_conn *c = n->n_conns < n->config.n_conns_max ? conn_new(n, -1) : NULL;
    if (!c) {
        connect_lost(n, conn);
        return;
    }
    c->state = TCP_CONNECTING;
    if (!conn_name(c, conn)) {
        c->state = TCP_FLUSHING;
        tcp_conn_destroy(c);
        connect_lost(n, conn);
        return;
    }
    conn_set_deadline(c, &n->connecting, n->config.connect_us_max);
    const struct addr *from = to->family == ADDR_V4 ? &n->config.bind4 : &n->config.bind6;
    errno = EAFNOSUPPORT; /* also of a family that the user turned off */
    bool is_on = from->family != ADDR_NONE && from->family == to->family;
    c->fd = is_on ? connect_socket(n, from, to) : -1;
    if (c->fd < 0 || !conn_watch(c))
        tcp_conn_fail(c, ERR_IO, "cannot connect", errno);
}

static void connect_ended(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    int code = 0;
    socklen_t len = sizeof code;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        code = errno;
    if (code) {
        tcp_conn_fail(c, ERR_IO, "cannot connect", code);
        return;
    }
    unlink_from(&n->connecting, &c->in_deadlines);
    timer_renew(n);
    c->state = TCP_OPEN;
    c->can_write = true;
    n->counters.n_connected++;
    n->owner.connected(n->owner.ctx, c->id);
    if (c->fd < 0 || c->state != TCP_OPEN)
        return;
    tcp_out_open(c);
}

/* --- reading --------------------------------------------------------------------------------- */

static void conn_event(struct tcp_conn *c, uint32_t events)
{
    if (c->fd < 0)
        return; /* closed earlier in this batch */
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->is_ending = true;
    if (events & ~(uint32_t)EPOLLOUT) {
        c->can_read = true;
        conn_make_ready(c);
    }
    if (c->state == TCP_CONNECTING) {
        conn_make_ready(c);
        return;
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) && !c->has_failed) {
        c->can_write = true;
        if (c->n_segments && !list_node_is_linked(&c->in_dirty))
            list_push_back(&c->tcp->dirty, &c->in_dirty);
    }
}

/* Only notes what is ready; the reading is done in tcp_read, before the loop sleeps again. */
static void events_came(void *ctx, bool is_readable, bool is_writable)
{
    struct tcp *n = ctx;
    struct epoll_event events[N_EVENTS];
    (void)is_readable;
    (void)is_writable;
    int n_events = epoll_wait(n->epoll_fd, events, N_EVENTS, 0);
    for (int i = 0; i < n_events; i++) {
        struct tcp_target *t = events[i].data.ptr;
        if (t->listener)
            t->listener->can_accept = true;
        else
            conn_event(CONTAINER_OF(t, struct tcp_conn, target), events[i].events);
    }
}

static size_t spans_to_iov(const struct span *spans, size_t n, size_t len_max, struct iovec *iov,
                           size_t *out_len)
{
    size_t n_iov = 0, len = 0;
    for (size_t i = 0; i < n && len < len_max; i++) {
        size_t take = size_min(spans[i].len, len_max - len);
        iov[n_iov++] = (struct iovec){spans[i].data, take};
        len += take;
    }
    *out_len = len;
    return n_iov;
}

/* One readv; how many bytes it brought, or 0 when there is nothing more to do now. */
static size_t conn_read_once(struct tcp_conn *c, size_t len_max)
{
    struct tcp *n = c->tcp;
    struct span spans[N_SPANS];
    struct iovec iov[N_SPANS];
    size_t asked;
    size_t n_spans = n->owner.lend(n->owner.ctx, c->id, spans, N_SPANS);
    if (c->fd < 0 || c->state != TCP_OPEN)
        return 0;
    if (n_spans == 0) {
        c->is_paused = true;
        return 0;
    }
    size_t n_iov = spans_to_iov(spans, n_spans, len_max, iov, &asked);
    ssize_t len = readv(c->fd, iov, (int)n_iov);
    n->counters.n_reads++;
    if (len < 0 && errno == EINTR)
        return 0; /* still ready: tried again in the next turn */
    if (len < 0 && errno == EAGAIN) {
        c->can_read = false;
        return 0;
    }
    if (len <= 0) {
        if (len < 0)
            tcp_conn_fail(c, ERR_IO, "cannot read from a peer", errno);
        else
            tcp_conn_fail(c, ERR_OK, "closed by the far side", 0);
        return 0;
    }
    /* Less than asked for: drained, and new bytes are a new edge. Not so once the end is queued
     * behind: that edge is gone. */
    if ((size_t)len < asked && !c->is_ending)
        c->can_read = false;
    n->counters.read_len += (uint64_t)len;
    n->owner.took(n->owner.ctx, c->id, (size_t)len);
    return (size_t)len;
}

static bool conn_wants_read(const struct tcp_conn *c)
{
    return c->fd >= 0 && c->state == TCP_OPEN && c->can_read && !c->is_paused && !c->has_failed;
}

static void conn_read(struct tcp_conn *c)
{
    size_t left = TCP_READ_TURN_LEN;
    size_t len = 1;
    while (len > 0 && left > 0 && conn_wants_read(c)) {
        len = conn_read_once(c, left);
        left -= len;
    }
    if (conn_wants_read(c) || (c->fd >= 0 && c->has_failed))
        conn_make_ready(c);
}

static void conn_turn(struct tcp_conn *c)
{
    if (c->has_failed)
        conn_report(c);
    else if (c->state == TCP_CONNECTING)
        connect_ended(c);
    if (c->fd >= 0)
        conn_read(c);
}

static void report_lost(struct tcp *n)
{
    struct err err = {ERR_LIMIT, "too many connections", 0, 0, 0};
    uint32_t ids[TCP_N_LOST_MAX];
    uint32_t n_ids = n->n_lost;
    memcpy(ids, n->lost, n_ids * sizeof ids[0]);
    n->n_lost = 0;
    for (uint32_t i = 0; i < n_ids; i++) {
        n->counters.n_connect_failed++;
        n->owner.closed(n->owner.ctx, ids[i], &err);
    }
}

bool tcp_read(struct tcp *n)
{
    graveyard_clear(n);
    if (n->n_lost)
        report_lost(n);
    /* As many as wait now; those that come back to the list have had their turn. */
    for (size_t left = n->ready.n; left > 0 && n->ready.n > 0; left--)
        conn_turn(CONTAINER_OF(list_pop_front(&n->ready), struct tcp_conn, in_ready));
    bool can_accept = false;
    for (size_t i = 0; i < 2; i++) {
        if (n->listeners[i].fd >= 0)
            accept_some(n, &n->listeners[i]);
        can_accept |= n->listeners[i].fd >= 0 && n->listeners[i].can_accept;
    }
    return can_accept || n->ready.n > 0 || n->n_lost > 0;
}

void tcp_want_read(struct tcp *n, uint32_t conn)
{
    struct tcp_conn *c = tcp_conn_find(n, conn);
    if (!c || !c->is_paused)
        return;
    c->is_paused = false;
    if (c->can_read)
        conn_make_ready(c);
}

void tcp_close(struct tcp *n, uint32_t conn)
{
    struct tcp_conn *c = tcp_conn_find(n, conn);
    if (!c)
        return;
    if (c->state != TCP_OPEN || c->has_failed || c->n_segments == 0 || c->is_cold) {
        tcp_conn_destroy(c);
        return;
    }
    conn_forget(c);
    unlink_from(&n->ready, &c->in_ready);
    c->state = TCP_FLUSHING;
    conn_set_deadline(c, &n->flushing, TCP_FLUSH_US_MAX);
}

uint32_t tcp_n_conns(const struct tcp *n)
{
    return n->n_conns;
}

const struct tcp_counters *tcp_counters(const struct tcp *n)
{
    return &n->counters;
}
