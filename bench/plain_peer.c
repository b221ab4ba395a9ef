#include "plain_peer.h"
#include "base/bytes.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK_LEN     16384u
#define HANDSHAKE_LEN 68u
#define REQUEST_LEN   17u
#define HEAD_LEN      13u
#define N_REQUESTS    65536u /* in the ring of a seed */
#define N_ROW_MAX     128u   /* blocks in a batch */
#define N_ASKED       512u   /* blocks that a downloader has asked for */
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "plain_peer: line %d: %s (%d)\n", __LINE__, #x, errno);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        CHECK(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static void read_all(int fd, uint8_t *data, size_t len)
{
    CHECK(recv(fd, data, len, MSG_WAITALL) == (ssize_t)len);
}

static void send_handshake(int fd, const struct plain_peer_info *info, char id)
{
    uint8_t h[HANDSHAKE_LEN] = {0};
    h[0] = 19;
    memcpy(h + 1, "BitTorrent protocol", 19);
    h[25] = id == 'p' ? 0x10 : 0; /* BEP 10: only a seed has something to say */
    memcpy(h + 28, info->infohash, 20);
    memset(h + 48, id, 20);
    write_all(fd, h, sizeof h);
}

/* --- seed ------------------------------------------------------------------------------------ */

struct request {
    uint32_t piece, begin, len;
};

struct seed {
    const struct plain_peer_info *info;
    int fd, file;
    uint8_t *in, *batch;
    size_t in_len, batch_len;
    struct request *ring;
    uint32_t first, n;
};

#define IN_CAP (1u << 20)

/* BEP 10: as many requests at once as shoal's own seed takes. */
static void send_reqq(const struct seed *s)
{
    static const char text[] = "\0\0\0\0\x14\0d1:mde4:reqqi2000ee";
    uint8_t m[sizeof text - 1];
    memcpy(m, text, sizeof m);
    put32(m, sizeof m - 4);
    write_all(s->fd, m, sizeof m);
}

static void send_bitfield(const struct seed *s)
{
    uint32_t n_pieces = (uint32_t)((s->info->len + s->info->piece_len - 1) / s->info->piece_len);
    uint32_t len = (n_pieces + 7) / 8;
    uint8_t *m = calloc(1, len + 10);
    CHECK(m);
    put32(m, len + 1);
    m[4] = 5;
    for (uint32_t i = 0; i < n_pieces; i++)
        m[5 + i / 8] |= (uint8_t)(0x80 >> i % 8);
    put32(m + 5 + len, 1);
    m[9 + len] = 1;
    write_all(s->fd, m, len + 10);
    free(m);
}

static void parse(struct seed *s)
{
    size_t at = 0;
    while (s->in_len - at >= 4) {
        uint32_t len = get32(s->in + at);
        CHECK(len < IN_CAP - 4);
        if (s->in_len - at - 4 < len)
            break;
        const uint8_t *m = s->in + at + 4;
        if (len == 13 && m[0] == 6) {
            CHECK(s->n < N_REQUESTS);
            s->ring[(s->first + s->n++) % N_REQUESTS] =
                (struct request){get32(m + 1), get32(m + 5), get32(m + 9)};
        }
        at += 4 + len;
    }
    memmove(s->in, s->in + at, s->in_len - at);
    s->in_len -= at;
}

/* False: the peer has left. */
static bool take(struct seed *s)
{
    ssize_t n = recv(s->fd, s->in + s->in_len, IN_CAP - s->in_len, s->n ? MSG_DONTWAIT : 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    s->in_len += (size_t)n;
    parse(s);
    return true;
}

static void read_row(const struct seed *s, uint8_t *to, uint64_t off, size_t len)
{
    if (len > 0)
        CHECK(pread(s->file, to, len, (off_t)off) == (ssize_t)len);
}

static void answer(struct seed *s)
{
    struct iovec iov[2 * N_ROW_MAX];
    uint8_t heads[N_ROW_MAX][HEAD_LEN];
    size_t n = 0, len = 0, row_at = 0, total = 0;
    uint64_t row_off = 0;
    while (s->n > 0 && n < N_ROW_MAX && len < s->batch_len) {
        struct request r = s->ring[s->first];
        uint64_t off = (uint64_t)r.piece * s->info->piece_len + r.begin;
        if (off != row_off + (len - row_at)) {
            read_row(s, s->batch + row_at, row_off, len - row_at);
            row_at = len;
            row_off = off;
        }
        put32(heads[n], 9 + r.len);
        heads[n][4] = 7;
        put32(heads[n] + 5, r.piece);
        put32(heads[n] + 9, r.begin);
        iov[2 * n] = (struct iovec){heads[n], HEAD_LEN};
        iov[2 * n + 1] = (struct iovec){s->batch + len, r.len};
        len += r.len;
        total += HEAD_LEN + r.len;
        s->first = (s->first + 1) % N_REQUESTS;
        s->n--;
        n++;
    }
    read_row(s, s->batch + row_at, row_off, len - row_at);
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2 * n};
    CHECK(sendmsg(s->fd, &msg, MSG_NOSIGNAL) == (ssize_t)total);
}

static int listen_and_tell(int port_fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    uint16_t port = ntohs(a.sin_port);
    CHECK(write(port_fd, &port, sizeof port) == (ssize_t)sizeof port);
    int conn = accept(fd, NULL, NULL);
    CHECK(conn >= 0);
    close(fd);
    return conn;
}

void plain_seed(const struct plain_peer_info *info, const char *path, int port_fd, size_t batch_len)
{
    uint8_t handshake[HANDSHAKE_LEN];
    int one = 1;
    struct seed s = {.info = info, .batch_len = batch_len, .file = open(path, O_RDONLY)};
    s.in = malloc(IN_CAP);
    s.batch = aligned_alloc(4096, batch_len + 2 * BLOCK_LEN);
    s.ring = calloc(N_REQUESTS, sizeof *s.ring);
    CHECK(s.in && s.batch && s.ring && s.file >= 0);
    s.fd = listen_and_tell(port_fd);
    setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    read_all(s.fd, handshake, sizeof handshake);
    send_handshake(s.fd, info, 'p');
    send_reqq(&s);
    send_bitfield(&s);
    while (take(&s))
        if (s.n > 0)
            answer(&s);
    close(s.fd);
    close(s.file);
    free(s.in);
    free(s.batch);
    free(s.ring);
}

/* --- downloader ------------------------------------------------------------------------------ */

static uint64_t ask(int fd, const struct plain_peer_info *info, uint64_t from, uint64_t to)
{
    uint8_t out[N_ASKED * REQUEST_LEN];
    size_t len = 0;
    for (; from < to && from < info->len; from += BLOCK_LEN) {
        uint8_t *m = out + len;
        put32(m, 13);
        m[4] = 6;
        put32(m + 5, (uint32_t)(from / info->piece_len));
        put32(m + 9, (uint32_t)(from % info->piece_len));
        put32(m + 13, BLOCK_LEN);
        len += REQUEST_LEN;
    }
    write_all(fd, out, len);
    return from;
}

/* Message by message until one of that kind. */
static void skip_until(int fd, uint8_t kind)
{
    uint8_t head[5], body[65536];
    for (head[4] = 0xff; head[4] != kind;) {
        read_all(fd, head, 4);
        uint32_t len = get32(head);
        CHECK(len <= sizeof body);
        if (len > 0)
            read_all(fd, body, len);
        head[4] = len > 0 ? body[0] : 0xff;
    }
}

/* Every byte from here on is a block or its head, as nothing else is asked for. */
void plain_get(const struct plain_peer_info *info, uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t handshake[HANDSHAKE_LEN], interested[5] = {0, 0, 0, 1, 2};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t cap = 512u << 10;
    uint8_t *buf = malloc(cap);
    CHECK(buf && fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send_handshake(fd, info, 'q');
    read_all(fd, handshake, sizeof handshake);
    write_all(fd, interested, sizeof interested);
    skip_until(fd, 1);
    uint64_t n_blocks = info->len / BLOCK_LEN, total = n_blocks * (HEAD_LEN + BLOCK_LEN), got = 0;
    uint64_t asked = ask(fd, info, 0, (uint64_t)N_ASKED * BLOCK_LEN);
    while (got < total) {
        ssize_t n = recv(fd, buf, cap, 0);
        CHECK(n > 0);
        got += (uint64_t)n;
        uint64_t want = got / (HEAD_LEN + BLOCK_LEN) * BLOCK_LEN + (uint64_t)N_ASKED * BLOCK_LEN;
        if (want - asked >= (uint64_t)N_ASKED * BLOCK_LEN / 8)
            asked = ask(fd, info, asked, want);
    }
    close(fd);
    free(buf);
}
