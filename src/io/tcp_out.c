/* The out-queue of a connection: bytes in a ring, ranges of files by name, sent together. */
#include "base/size.h"
#include "io/loop.h"
#include "io/tcp_internal.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_FLUSH_ROUNDS 4 /* times that new room may call forth more in one turn */
#define N_GROUPS_MAX   32u

static_assert(TCP_N_IOV_MAX <= 1024, "IOV_MAX");

/* --- the queue ------------------------------------------------------------------------------- */

void tcp_out_clear(struct tcp_conn *c)
{
    bqueue_clear(&c->out);
    mem_free(&c->tcp->mem, c->segments);
    c->segments = NULL;
    c->n_segments = c->segments_cap = c->segments_start = 0;
    c->queued_len = 0;
}

static struct tcp_segment *segment_at(struct tcp_conn *c, uint32_t i)
{
    return &c->segments[(c->segments_start + i) & (c->segments_cap - 1)];
}

/* The ring doubles; what is queued bounds it, as every segment holds a byte at least. */
static bool segments_grow(struct tcp_conn *c)
{
    uint32_t cap = c->segments_cap ? 2 * c->segments_cap : 16;
    struct tcp_segment *ring = mem_calloc(&c->tcp->mem, cap, sizeof *ring);
    if (!ring)
        return false;
    for (uint32_t i = 0; i < c->n_segments; i++)
        ring[i] = *segment_at(c, i);
    mem_free(&c->tcp->mem, c->segments);
    c->segments = ring;
    c->segments_cap = cap;
    c->segments_start = 0;
    return true;
}

static struct tcp_segment *segment_push(struct tcp_conn *c)
{
    if (c->n_segments == c->segments_cap && !segments_grow(c))
        return NULL;
    struct tcp_segment *s = segment_at(c, c->n_segments++);
    *s = (struct tcp_segment){0};
    return s;
}

/* The connection if it may queue len more bytes. */
static struct tcp_conn *conn_to_send(struct tcp *n, uint32_t conn, size_t len)
{
    struct tcp_conn *c = tcp_conn_find(n, conn);
    if (!c || c->state != TCP_OPEN || c->has_failed || len == 0)
        return NULL;
    if (len > n->config.room_len + TCP_ROOM_SLACK_LEN - c->queued_len) {
        n->counters.n_over_room++;
        tcp_conn_fail(c, ERR_LIMIT, "more was sent than there is room for", 0);
        return NULL;
    }
    return c;
}

static void conn_queued(struct tcp_conn *c, size_t len)
{
    c->queued_len += len;
    c->room_told -= size_min(len, c->room_told);
    if (c->can_write && !list_node_is_linked(&c->in_dirty))
        list_push_back(&c->tcp->dirty, &c->in_dirty);
}

static bool push_bytes(struct tcp_conn *c, struct bytes b)
{
    struct tcp_segment *s = c->n_segments ? segment_at(c, c->n_segments - 1) : NULL;
    if (!s || s->is_file)
        s = segment_push(c);
    if (!s || bqueue_push(&c->out, b)) {
        tcp_conn_fail(c, ERR_NO_MEMORY, "no memory to send", 0);
        return false;
    }
    s->len += (uint32_t)b.len;
    return true;
}

void tcp_send(struct tcp *n, uint32_t conn, struct bytes b)
{
    struct tcp_conn *c = conn_to_send(n, conn, b.len);
    if (c && push_bytes(c, b))
        conn_queued(c, b.len);
}

void tcp_send_zeros(struct tcp *n, uint32_t conn, size_t len)
{
    static const uint8_t zeros[4096];
    struct tcp_conn *c = conn_to_send(n, conn, len);
    while (c && len > 0) {
        size_t take = size_min(len, sizeof zeros);
        if (!push_bytes(c, bytes_of(zeros, take)))
            return;
        conn_queued(c, take);
        len -= take;
    }
}

void tcp_send_file(struct tcp *n, uint32_t conn, const struct tcp_file *f)
{
    struct tcp_conn *c = conn_to_send(n, conn, f->len);
    if (!c)
        return;
    struct tcp_segment *s = segment_push(c);
    if (!s) {
        tcp_conn_fail(c, ERR_NO_MEMORY, "no memory to send", 0);
        return;
    }
    s->is_file = true;
    s->len = f->len;
    s->file = *f;
    conn_queued(c, f->len);
}

static void queue_consume(struct tcp_conn *c, size_t len)
{
    c->queued_len -= len;
    c->sent_len += len;
    c->rate_len += len;
    c->tcp->counters.write_len += len;
    while (len > 0) {
        struct tcp_segment *s = segment_at(c, 0);
        uint32_t take = (uint32_t)size_min(len, s->len);
        if (s->is_file) {
            s->file.off += take;
            s->file.len -= take;
            c->tcp->counters.file_len += take;
        } else {
            bqueue_consume(&c->out, take);
        }
        s->len -= take;
        len -= take;
        if (s->len == 0) {
            c->segments_start = (c->segments_start + 1) & (c->segments_cap - 1);
            c->n_segments--;
        }
    }
}

/* --- files ----------------------------------------------------------------------------------- */

/* Of the queue, behind bytes that may not have left yet; zeros: there is none. */
static struct tcp_file first_file(struct tcp_conn *c)
{
    for (uint32_t i = 0; i < c->n_segments; i++)
        if (segment_at(c, i)->is_file)
            return segment_at(c, i)->file;
    return (struct tcp_file){0};
}

static void file_is_cold(struct tcp_conn *c, const struct tcp_file *f)
{
    struct tcp *n = c->tcp;
    n->counters.n_file_cold++;
    if (c->state == TCP_FLUSHING) { /* a closing connection does not wait for a disk */
        tcp_conn_destroy(c);
        return;
    }
    c->is_cold = true;
    c->is_warmed = false;
    if (!n->owner.file_warm(n->owner.ctx, c->id, f))
        tcp_conn_fail(c, ERR_NO_MEMORY, "no memory to read a file", 0);
}

static void file_has_failed(struct tcp_conn *c, const struct tcp_file *f, const struct err *err)
{
    struct tcp *n = c->tcp;
    uint32_t id = c->id;
    bool is_named = c->state == TCP_OPEN;
    struct tcp_file file = *f;
    n->counters.n_file_failed++;
    tcp_conn_destroy(c);
    if (is_named)
        n->owner.file_failed(n->owner.ctx, id, &file, err);
}

/* A descriptor between file_acquire and file_release. */
struct file_use {
    int fd;
    bool is_warm, is_in_memory;
    bool may_wait; /* it was warmed for this read, or lies in memory: no look-up needed */
    void *token;
};

/* False: nothing to read from now; the connection fails if there never will be. */
static bool file_acquire(struct tcp_conn *c, const struct tcp_file *f, struct file_use *out)
{
    struct tcp *n = c->tcp;
    *out = (struct file_use){0};
    enum tcp_file_state state =
        n->owner.file_acquire(n->owner.ctx, f, &out->fd, &out->is_warm, &out->token);
    if (state == TCP_FILE_ERROR)
        tcp_conn_fail(c, ERR_NOT_FOUND, "the torrent's storage is closed", 0);
    out->is_in_memory = state == TCP_FILE_IN_MEMORY;
    out->may_wait = c->is_warmed || out->is_in_memory;
    return state == TCP_FILE_READY || state == TCP_FILE_IN_MEMORY;
}

static void file_release(struct tcp_conn *c, struct file_use *use)
{
    c->is_warmed = false;
    c->tcp->owner.file_release(c->tcp->owner.ctx, use->token);
}

/* What could be read of f without waiting (or with, once it was warmed); 0: nothing now. */
static size_t file_read_now(struct tcp_conn *c, const struct tcp_file *f,
                            const struct file_use *use, uint8_t *out)
{
    struct iovec iov = {out, f->len};
    ssize_t len = -1;
    if (!use->may_wait)
        len = preadv2(use->fd, &iov, 1, (off_t)f->off, RWF_NOWAIT);
    if (use->may_wait || (len < 0 && errno == EOPNOTSUPP && use->is_warm))
        len = pread(use->fd, out, f->len, (off_t)f->off);
    c->tcp->counters.n_file_reads++;
    return len > 0 ? (size_t)len : 0;
}

/* --- one batch: as much of the queue as one sendmsg should take ------------------------------ */

/* File data that lies together on disk: one mapping, or one read into the batch buffer. */
struct group {
    struct tcp_file file;
    size_t batch_off; /* where in the batch buffer, if it is read */
    size_t iov_from;  /* first entry of the message that can be its */
    struct file_use use;
    const uint8_t *data; /* NULL: not mapped */
    void *map;
};

struct batch {
    struct iovec iov[TCP_N_IOV_MAX];
    bool is_file[TCP_N_IOV_MAX];
    size_t n_iov, len;
    struct group groups[N_GROUPS_MAX];
    size_t n_groups, file_len, read_len; /* read: what is not mapped */
    bool is_lent;                        /* without a copy */
};

static void batch_add_iov(struct batch *b, const uint8_t *data, size_t len, bool is_file)
{
    b->is_file[b->n_iov] = is_file;
    b->iov[b->n_iov++] = (struct iovec){(void *)(uintptr_t)data, len};
    b->len += len;
}

/* Bytes [off, off + len) of the ring, which may wrap once. */
static void batch_add_bytes(struct batch *b, const struct bytes runs[2], size_t off, size_t len)
{
    if (off < runs[0].len) {
        size_t take = size_min(len, runs[0].len - off);
        batch_add_iov(b, runs[0].data + off, take, false);
        off += take;
        len -= take;
    }
    if (len > 0)
        batch_add_iov(b, runs[1].data + (off - runs[0].len), len, false);
}

/* False: no room for another group. */
static bool batch_add_file(struct tcp_conn *c, struct batch *b, const struct tcp_file *f)
{
    struct group *g = b->n_groups ? &b->groups[b->n_groups - 1] : NULL;
    bool is_next = g && g->file.store == f->store && g->file.file == f->file &&
                   g->file.off + g->file.len == f->off;
    if (!is_next) {
        if (b->n_groups == N_GROUPS_MAX)
            return false;
        g = &b->groups[b->n_groups++];
        *g = (struct group){.file = *f, .batch_off = b->file_len, .iov_from = b->n_iov};
        g->file.len = 0;
    }
    assert(f->len <= TCP_BATCH_LEN - b->file_len);
    g->file.len += f->len;
    batch_add_iov(b, c->tcp->batch + b->file_len, f->len, true);
    b->file_len += f->len;
    return true;
}

static void batch_gather(struct tcp_conn *c, struct batch *b)
{
    struct bytes runs[2] = {{0}};
    bqueue_peek2(&c->out, runs);
    size_t ring_off = 0;
    b->n_iov = b->len = b->n_groups = b->file_len = b->read_len = 0;
    b->is_lent = false;
    for (uint32_t i = 0; i < c->n_segments && b->n_iov + 2 <= TCP_N_IOV_MAX; i++) {
        struct tcp_segment *s = segment_at(c, i);
        if (!s->is_file) {
            batch_add_bytes(b, runs, ring_off, s->len);
            ring_off += s->len;
            continue;
        }
        struct tcp_file f = s->file;
        f.len = (uint32_t)size_min(f.len, c->batch_len - b->file_len);
        if (f.len == 0 || !batch_add_file(c, b, &f) || f.len < s->len)
            return;
    }
}

static bool is_in(const uint8_t *data, const uint8_t *area, size_t len)
{
    return data >= area && data < area + len;
}

static void batch_cut(struct batch *b, size_t len)
{
    size_t left = b->len = len;
    for (size_t i = 0; i < b->n_iov; i++) {
        b->iov[i].iov_len = size_min(b->iov[i].iov_len, left);
        left -= b->iov[i].iov_len;
        if (left == 0)
            b->n_iov = i + 1;
    }
}

/* How much of the message lies in front of byte `got` of the group: its blocks have other bytes
 * between them. */
static size_t message_len_until(const struct batch *b, const struct tcp *n, const struct group *g,
                                size_t got)
{
    const uint8_t *from = n->batch + g->batch_off;
    const uint8_t *to = from + got;
    size_t len = 0;
    for (size_t i = 0; i < b->n_iov; i++) {
        const uint8_t *data = b->iov[i].iov_base;
        if (is_in(data, n->batch, TCP_BATCH_LEN) && data + b->iov[i].iov_len > to)
            return len + (data < to ? (size_t)(to - data) : 0);
        len += b->iov[i].iov_len;
    }
    return len;
}

/* The message's entries for this group lead to the mapping instead of to the batch buffer. A file
 * that was warmed is read: had its mapping failed, it must be seen why. */
static bool group_map(struct tcp_conn *c, struct batch *b, struct group *g)
{
    const struct tcp_owner *owner = &c->tcp->owner;
    const uint8_t *from = c->tcp->batch + g->batch_off;
    if (!owner->file_map || c->is_warmed)
        return false;
    g->data = owner->file_map(owner->ctx, &g->file, g->use.token, g->use.is_in_memory, &g->map);
    if (!g->data)
        return false;
    for (size_t i = g->iov_from; i < b->n_iov; i++) {
        const uint8_t *at = b->iov[i].iov_base;
        if (is_in(at, from, g->file.len))
            b->iov[i].iov_base = (void *)(uintptr_t)(g->data + (at - from));
    }
    c->tcp->counters.n_file_maps++;
    return true;
}

/* How much of the group is there now. A mapped one stays acquired until the message has gone. */
static size_t group_fill(struct tcp_conn *c, struct batch *b, struct group *g)
{
    if (!file_acquire(c, &g->file, &g->use))
        return 0;
    if (group_map(c, b, g))
        return g->file.len;
    size_t got = file_read_now(c, &g->file, &g->use, c->tcp->batch + g->batch_off);
    file_release(c, &g->use);
    b->read_len += got;
    return got;
}

static void batch_release(struct tcp_conn *c, struct batch *b)
{
    const struct tcp_owner *owner = &c->tcp->owner;
    for (size_t i = 0; i < b->n_groups; i++) {
        struct group *g = &b->groups[i];
        if (!g->data)
            continue;
        owner->file_unmap(owner->ctx, g->map);
        file_release(c, &g->use);
    }
}

/* Maps or reads the files of the batch. Where one is cold the message ends in front of it, and
 * *out_cold says what to warm. */
static bool batch_fill(struct tcp_conn *c, struct batch *b, struct tcp_file *out_cold)
{
    struct tcp *n = c->tcp;
    for (size_t i = 0; i < b->n_groups; i++) {
        struct group *g = &b->groups[i];
        size_t got = group_fill(c, b, g);
        if (got == g->file.len)
            continue;
        batch_cut(b, message_len_until(b, n, g, got));
        *out_cold = g->file;
        out_cold->off += got;
        out_cold->len -= (uint32_t)got;
        return false;
    }
    return true;
}

/* --- sending --------------------------------------------------------------------------------- */

/* All of it that is of files is mapped, and it is worth it. */
static bool batch_can_be_lent(const struct tcp_conn *c, const struct batch *b)
{
    return c->is_spliced && b->read_len == 0 && b->file_len >= TCP_SPLICE_LEN_MIN;
}

/* Without a copy, but for what lies between the blocks. False: it must go by sendmsg. */
static bool batch_lend(struct tcp_conn *c, struct batch *b, ssize_t *out_sent)
{
    struct splice_pipe *pipe = &c->tcp->pipe;
    size_t aside_len = 0;
    for (size_t i = 0; i < b->n_iov; i++)
        aside_len += b->is_file[i] ? 0 : b->iov[i].iov_len;
    if (!splice_pipe_begin(pipe, aside_len))
        return false;
    for (size_t i = 0; i < b->n_iov; i++) {
        struct iovec *v = &b->iov[i];
        if (!b->is_file[i])
            v->iov_base =
                (void *)(uintptr_t)splice_pipe_put_aside(pipe, bytes_of(v->iov_base, v->iov_len));
    }
    b->is_lent = splice_pipe_send(pipe, c->fd, b->iov, b->n_iov, out_sent);
    c->tcp->counters.n_splices += b->is_lent;
    return b->is_lent;
}

static ssize_t batch_write(struct tcp_conn *c, struct batch *b)
{
    struct msghdr msg = {.msg_iov = b->iov, .msg_iovlen = b->n_iov};
    ssize_t sent;
    c->tcp->counters.n_writes++;
    if (batch_can_be_lent(c, b) && batch_lend(c, b, &sent))
        return sent;
    do {
        sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* False when the socket takes no more for now, or failed, or *out_is_torn: a mapped file was cut or
 * its disk failed. */
static bool batch_send(struct tcp_conn *c, struct batch *b, bool *out_is_torn)
{
    ssize_t sent = batch_write(c, b);
    *out_is_torn = sent < 0 && errno == EFAULT;
    if (*out_is_torn)
        return false;
    if (sent < 0 && errno != EAGAIN) {
        tcp_conn_fail(c, ERR_IO, "cannot write to a peer", errno);
        return false;
    }
    if (sent > 0)
        queue_consume(c, (size_t)sent);
    c->can_write = sent >= 0 && (size_t)sent == b->len;
    return c->can_write;
}

size_t tcp_batch_len_next(size_t batch_len, size_t asked, size_t taken)
{
    if (taken == asked)
        return size_min(2 * batch_len, TCP_BATCH_LEN);
    return size_min(size_max(taken, TCP_BATCH_LEN_MIN), TCP_BATCH_LEN);
}

/* What is mapped and copied costs nothing when it is not taken. */
static void batch_sent(struct tcp_conn *c, const struct batch *b, size_t taken)
{
    size_t cost_len = b->is_lent ? b->len : b->read_len;
    c->batch_len = cost_len == 0 ? TCP_BATCH_LEN : tcp_batch_len_next(c->batch_len, b->len, taken);
    c->tcp->counters.unsent_len += size_min(b->len - taken, cost_len);
}

static bool send_batch(struct tcp_conn *c)
{
    struct batch b;
    struct tcp_file cold;
    batch_gather(c, &b);
    bool is_whole = batch_fill(c, &b, &cold);
    bool goes_on = true, is_torn = false;
    if (b.len > 0 && c->fd >= 0) {
        size_t before = c->queued_len;
        goes_on = batch_send(c, &b, &is_torn);
        if (c->fd >= 0 && b.file_len > 0 && !is_torn)
            batch_sent(c, &b, before - c->queued_len);
    }
    batch_release(c, &b);
    if (is_torn) { /* a worker's read finds out what is the matter with it */
        is_whole = false;
        cold = first_file(c);
    }
    if (!is_whole && c->fd >= 0 && !c->has_failed)
        file_is_cold(c, &cold);
    return goes_on && is_whole;
}

static bool conn_can_send(const struct tcp_conn *c)
{
    return c->fd >= 0 && c->can_write && c->n_segments > 0 && !c->is_cold && !c->has_failed &&
           c->state != TCP_CONNECTING;
}

size_t tcp_room_len_next(size_t room_len_max, size_t sent_len, uint64_t elapsed_us)
{
    if (sent_len == 0 || elapsed_us < 1000)
        return room_len_max;
    uint64_t len = (uint64_t)sent_len * TCP_ROOM_US / elapsed_us;
    size_t room_len_min = size_min(TCP_ROOM_LEN_MIN, room_len_max);
    return len < room_len_min ? room_len_min : (size_t)u64_min(len, room_len_max);
}

size_t tcp_unsent_len_next(size_t sent_len, uint64_t elapsed_us)
{
    uint64_t len = (uint64_t)sent_len * TCP_UNSENT_US / u64_max(elapsed_us, 1);
    size_t next = TCP_UNSENT_LEN_MIN;
    while (next < len && next < TCP_UNSENT_LEN_MAX)
        next *= 2;
    return next;
}

static void follow_rate(struct tcp_conn *c, uint64_t now_us)
{
    uint64_t elapsed_us = now_us - c->rate_at_us;
    if (elapsed_us < TCP_RATE_US)
        return;
    size_t len = tcp_unsent_len_next(c->rate_len, elapsed_us);
    int lowat = (int)len;
    if (len != c->unsent_len_max &&
        setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat) == 0)
        c->unsent_len_max = len;
    c->rate_at_us = now_us;
    c->rate_len = 0;
}

static void announce(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    c->room_told = c->room_len - size_min(c->queued_len, c->room_len);
    n->owner.room(n->owner.ctx, c->id, c->room_told);
}

bool tcp_is_paced(const char *name)
{
    return strncmp(name, "bbr", 3) == 0;
}

static bool is_paced(int fd)
{
    char name[17] = ""; /* TCP_CA_NAME_MAX, which need not end in a zero */
    socklen_t len = sizeof name - 1;
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 && tcp_is_paced(name);
}

void tcp_out_open(struct tcp_conn *c)
{
    enum tcp_upload upload = c->tcp->config.upload;
    tcp_congestion_set(c->tcp, c->fd);
    c->is_spliced = upload == TCP_UPLOAD_SPLICE || (upload == TCP_UPLOAD_AUTO && !is_paced(c->fd));
    c->unsent_len_max = TCP_UNSENT_LEN_MIN;
    c->rate_at_us = clock_now_us();
    announce(c);
}

/* Half of it is used and half of the queue has gone; or there is less than the longest block may
 * need, for which the owner would wait for ever. */
static bool room_is_due(const struct tcp_conn *c)
{
    if (c->queued_len == 0 && c->room_told < size_min(TCP_ROOM_LEN_MIN, c->room_len))
        return true;
    return c->room_told <= c->room_len / 2 && c->queued_len <= c->room_len / 2;
}

static void conn_flush(struct tcp_conn *c)
{
    struct tcp *n = c->tcp;
    while (conn_can_send(c) && send_batch(c))
        ;
    if (c->fd < 0 || c->has_failed)
        return;
    if (c->state == TCP_FLUSHING && c->n_segments == 0) {
        tcp_conn_destroy(c);
        return;
    }
    if (c->state == TCP_OPEN && room_is_due(c)) {
        uint64_t now_us = clock_now_us();
        c->room_len = tcp_room_len_next(n->config.room_len, c->sent_len, now_us - c->room_at_us);
        c->room_at_us = now_us;
        c->sent_len = 0;
        follow_rate(c, now_us);
        announce(c);
    }
}

bool tcp_flush(struct tcp *n)
{
    for (int round = 0; round < N_FLUSH_ROUNDS && n->dirty.n > 0; round++)
        for (size_t left = n->dirty.n; left > 0 && n->dirty.n > 0; left--)
            conn_flush(CONTAINER_OF(list_pop_front(&n->dirty), struct tcp_conn, in_dirty));
    return n->dirty.n > 0 || n->ready.n > 0 || n->n_lost > 0;
}

void tcp_file_ready(struct tcp *n, uint32_t conn, const struct err *err)
{
    struct tcp_conn *c = tcp_conn_find(n, conn);
    if (!c || !c->is_cold) /* closed meanwhile; its number may have gone to another */
        return;
    c->is_cold = false;
    c->is_warmed = true;
    if (err) {
        struct tcp_file f = first_file(c);
        file_has_failed(c, &f, err);
        return;
    }
    if (c->can_write && !list_node_is_linked(&c->in_dirty))
        list_push_back(&n->dirty, &c->in_dirty);
}
