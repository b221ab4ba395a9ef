/* tracker_load: announces to a tracker as fast as it answers, over UDP (BEP 15) or HTTP (BEP 3, 23):
 * the same load for every tracker. bench/tracker.py runs it beside shoal and opentracker.
 *
 *   tracker_load hashes N_SWARMS                     the info-hashes in hex, for an allow-list
 *   tracker_load KIND ADDR PORT N_SWARMS N_PEERS SECONDS NUMWANT
 *
 * KIND is udp, http (connections are kept) or http-close (one announce each). N_PEERS is per swarm.
 * SECONDS 0: every peer announces once; else peers are drawn by lot for so long. Prints one JSON line.
 *
 * N_SOURCES addresses of 127/8 announce, each with WINDOW requests under way (all of them together
 * fit into the receive buffer that a socket has when nobody asks for more); a peer is an address
 * and a port of its own. Bench code: it exits where a tool would report.
 */
#include "base/bytes.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define N_SOURCES     16u
#define WINDOW        16u /* UDP: requests of a source under way */
#define N_HTTP        64u /* connections at once */
#define PORT_FIRST    1024u
#define REPLY_LEN_MAX 2048u
#define HTTP_LEN_MAX  16384u
#define LOST_US       1000000u /* no answer for so long: what was under way is given up */

struct load {
    struct sockaddr_in server;
    uint64_t n_swarms, n_peers, numwant, n_total;
    uint64_t left; /* announces to make; UINT64_MAX: until the time is over */
    uint64_t end_us, rng;
    uint64_t next[N_SOURCES]; /* row of the next peer, when each announces once */
    uint64_t n_done, n_lost, n_errors, n_peers_seen;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Sebastiano Vigna's splitmix64, as a hash. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void infohash_of(uint64_t swarm, uint8_t out[20])
{
    for (uint64_t i = 0; i < 20; i += 4) {
        uint32_t word = (uint32_t)mix(swarm * 8 + i / 4);
        memcpy(out + i, &word, 4);
    }
}

/* The next peer of this source; false: no more. Peers lie in rows of one for each source. */
static bool next_peer(struct load *l, uint64_t source, uint64_t *out)
{
    uint64_t n_rows = l->n_total / N_SOURCES, row;
    if (l->left == UINT64_MAX) {
        l->rng = mix(l->rng);
        row = l->rng % n_rows;
    } else if (l->next[source] == n_rows) {
        return false;
    } else {
        l->left--;
        row = l->next[source]++;
    }
    *out = row * N_SOURCES + source;
    return true;
}

struct peer {
    uint64_t swarm;
    uint16_t port;
    bool is_seed;
};

static struct peer peer_of(const struct load *l, uint64_t n)
{
    struct peer p = {n / l->n_peers, (uint16_t)(PORT_FIRST + n % l->n_peers), mix(n) % 10 == 0};
    return p;
}

static void bind_source(int fd, uint64_t source)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(0x7f000a01u + (uint32_t)source)};
    int one = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a))
        die("bind");
}

/* --- UDP ------------------------------------------------------------------------------------- */

struct source {
    int fd;
    uint64_t number, connection, heard_at_us;
    unsigned n_out;
};

struct batch {
    struct mmsghdr headers[WINDOW];
    struct iovec iov[WINDOW];
    uint8_t bytes[WINDOW][REPLY_LEN_MAX];
};

static void batch_init(struct batch *b, size_t len)
{
    memset(b, 0, sizeof *b);
    for (unsigned i = 0; i < WINDOW; i++) {
        b->iov[i] = (struct iovec){b->bytes[i], len};
        b->headers[i].msg_hdr = (struct msghdr){.msg_iov = &b->iov[i], .msg_iovlen = 1};
    }
}

static void udp_connect(struct load *l, struct source *s)
{
    uint8_t bytes[16];
    struct writer w = writer_init(bytes, sizeof bytes);
    writer_u64be(&w, 0x41727101980u);
    writer_u32be(&w, 0);
    writer_u32be(&w, 77);
    struct timeval limit = {.tv_sec = 2};
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bind_source(s->fd, s->number);
    if (connect(s->fd, (struct sockaddr *)&l->server, sizeof l->server) ||
        send(s->fd, bytes, 16, 0) != 16 || recv(s->fd, bytes, 16, 0) != 16)
        die("connect over UDP");
    struct reader r = reader_init(bytes_of(bytes, 16));
    reader_u64be(&r);
    s->connection = reader_u64be(&r);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
}

static void write_announce(const struct load *l, const struct source *s, uint64_t n, uint8_t *out)
{
    uint8_t infohash[20];
    struct peer p = peer_of(l, n);
    struct writer w = writer_init(out, 98);
    infohash_of(p.swarm, infohash);
    writer_u64be(&w, s->connection);
    writer_u32be(&w, 1);
    writer_u32be(&w, (uint32_t)n);
    writer_put(&w, bytes_of(infohash, 20));
    writer_put(&w, bytes_of_str("-LD0001-abcdefghijkl"));
    writer_u64be(&w, 0);
    writer_u64be(&w, p.is_seed ? 0 : 1);
    writer_u64be(&w, 0);
    writer_u32be(&w, 0);
    writer_u32be(&w, 0);
    writer_u32be(&w, 0);
    writer_u32be(&w, (uint32_t)l->numwant);
    writer_u16be(&w, p.port);
}

static void udp_fill(struct load *l, struct source *s, struct batch *out)
{
    unsigned n = 0;
    uint64_t peer;
    while (s->n_out + n < WINDOW && next_peer(l, s->number, &peer))
        write_announce(l, s, peer, out->bytes[n++]);
    int sent = n ? sendmmsg(s->fd, out->headers, n, 0) : 0;
    if (sent < 0 && errno != EAGAIN && errno != ECONNREFUSED)
        die("sendmmsg");
    s->n_out += n; /* what did not leave counts as lost, later */
}

static void udp_take(struct load *l, struct source *s, struct batch *in, uint64_t now)
{
    int n;
    while ((n = recvmmsg(s->fd, in->headers, WINDOW, 0, NULL)) > 0) {
        s->heard_at_us = now;
        for (int i = 0; i < n; i++) {
            struct reader r = reader_init(bytes_of(in->bytes[i], in->headers[i].msg_len));
            if (reader_u32be(&r) != 1)
                l->n_errors++;
            l->n_peers_seen += in->headers[i].msg_len > 20 ? (in->headers[i].msg_len - 20) / 6 : 0;
        }
        l->n_done += (unsigned)n;
        s->n_out -= (unsigned)n < s->n_out ? (unsigned)n : s->n_out;
        if ((unsigned)n < WINDOW)
            break;
    }
}

static bool udp_give_up(struct load *l, struct source *sources, uint64_t now)
{
    bool is_idle = true;
    for (unsigned i = 0; i < N_SOURCES; i++) {
        struct source *s = &sources[i];
        if (s->n_out && now - s->heard_at_us > LOST_US) {
            l->n_lost += s->n_out;
            s->n_out = 0;
        }
        is_idle = is_idle && s->n_out == 0;
    }
    return is_idle;
}

static void run_udp(struct load *l)
{
    static struct source sources[N_SOURCES];
    static struct batch in, out;
    struct epoll_event events[N_SOURCES];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    batch_init(&in, REPLY_LEN_MAX);
    batch_init(&out, 98);
    for (unsigned i = 0; i < N_SOURCES; i++) {
        sources[i].number = i;
        udp_connect(l, &sources[i]);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &sources[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, sources[i].fd, &e);
        sources[i].heard_at_us = now_us();
        udp_fill(l, &sources[i], &out);
    }
    for (uint64_t now = now_us(), look_at = now; now < l->end_us; now = now_us()) {
        int n = epoll_wait(ep, events, N_SOURCES, 20);
        for (int i = 0; i < n; i++) {
            udp_take(l, events[i].data.ptr, &in, now);
            udp_fill(l, events[i].data.ptr, &out);
        }
        if (now < look_at)
            continue;
        look_at = now + LOST_US / 4;
        if (udp_give_up(l, sources, now) && l->left == 0)
            break;
        for (unsigned i = 0; i < N_SOURCES; i++)
            if (sources[i].n_out == 0)
                udp_fill(l, &sources[i], &out);
    }
}

/* --- HTTP ------------------------------------------------------------------------------------ */

struct http_conn {
    int fd;
    uint64_t number;
    size_t len, want; /* of the reply; want 0: its length is not known yet */
    char text[HTTP_LEN_MAX + 1];
};

static void http_open(const struct load *l, struct http_conn *c, int ep)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bind_source(c->fd, c->number % N_SOURCES);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (const struct sockaddr *)&l->server, sizeof l->server) &&
        errno != EINPROGRESS)
        die("connect");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static bool http_ask(struct load *l, struct http_conn *c, bool is_kept)
{
    uint64_t n;
    uint8_t infohash[20];
    char request[512], hash[61];
    if (!next_peer(l, c->number % N_SOURCES, &n))
        return false;
    struct peer p = peer_of(l, n);
    infohash_of(p.swarm, infohash);
    for (unsigned i = 0; i < 20; i++)
        snprintf(hash + (size_t)3 * i, 4, "%%%02x", infohash[i]);
    int len = snprintf(request, sizeof request,
                       "GET /announce?info_hash=%s&peer_id=-LD0001-abcdefghijkl&port=%u&uploaded=0&"
                       "downloaded=0&left=%u&compact=1&numwant=%llu HTTP/1.1\r\nHost: tracker\r\n"
                       "User-Agent: load\r\nAccept-Encoding: gzip\r\nConnection: %s\r\n\r\n",
                       hash, p.port, !p.is_seed, (unsigned long long)l->numwant,
                       is_kept ? "keep-alive" : "close");
    c->len = c->want = 0;
    for (unsigned tries = 0; send(c->fd, request, (size_t)len, MSG_NOSIGNAL) != len; tries++) {
        struct pollfd writable = {.fd = c->fd, .events = POLLOUT};
        if (errno != EAGAIN || tries > 3 || poll(&writable, 1, 1000) <= 0) /* still connecting */
            return false;
    }
    return true;
}

/* The length of the whole reply, once its head is there. */
static size_t http_reply_len(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n"), *field = strcasestr(text, "\r\ncontent-length:");
    if (!end || !field || field > end)
        return 0;
    return (size_t)(end + 4 - text) + strtoul(field + 17, NULL, 10);
}

static void http_count(struct load *l, const struct http_conn *c)
{
    const char *peers = memmem(c->text, c->len, "5:peers", 7); /* there are zeros before it */
    l->n_done++;
    if (!peers || strncmp(c->text + 8, " 200", 4) != 0)
        l->n_errors++;
    else
        l->n_peers_seen += strtoul(peers + 7, NULL, 10) / 6;
}

/* False: the connection is over, by its end or by an error. */
static bool http_take(struct load *l, struct http_conn *c, bool *is_done)
{
    ssize_t n = recv(c->fd, c->text + c->len, HTTP_LEN_MAX - c->len, 0);
    *is_done = false;
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0)
        return false;
    c->len += (size_t)n;
    c->text[c->len] = 0;
    if (c->want == 0)
        c->want = http_reply_len(c->text);
    *is_done = c->want && c->len >= c->want;
    if (*is_done)
        http_count(l, c);
    return true;
}

static void http_restart(struct load *l, struct http_conn *c, int ep, bool is_kept)
{
    close(c->fd);
    http_open(l, c, ep);
    http_ask(l, c, is_kept);
}

static void run_http(struct load *l, bool is_kept)
{
    static struct http_conn conns[N_HTTP];
    struct epoll_event events[N_HTTP];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < N_HTTP; i++) {
        conns[i].number = i;
        http_open(l, &conns[i], ep);
        http_ask(l, &conns[i], is_kept);
    }
    uint64_t heard_at = now_us();
    for (uint64_t now = heard_at; now < l->end_us && now - heard_at < 2000000u; now = now_us()) {
        int n = epoll_wait(ep, events, N_HTTP, 20);
        for (int i = 0; i < n; i++) {
            struct http_conn *c = events[i].data.ptr;
            bool is_done, is_open = http_take(l, c, &is_done);
            heard_at = now;
            if (!is_open && !is_done)
                l->n_lost++;
            if (!is_open || (is_done && !is_kept))
                http_restart(l, c, ep, is_kept);
            else if (is_done && !http_ask(l, c, is_kept) && l->left)
                http_restart(l, c, ep, is_kept);
        }
    }
}

/* --- main ------------------------------------------------------------------------------------ */

static int print_hashes(uint64_t n)
{
    uint8_t infohash[20];
    for (uint64_t i = 0; i < n; i++) {
        infohash_of(i, infohash);
        for (unsigned k = 0; k < 20; k++)
            printf("%02x", infohash[k]);
        printf("\n");
    }
    return 0;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "hashes") == 0)
        return print_hashes(strtoull(argv[2], NULL, 10));
    if (argc != 8) {
        fprintf(stderr,
                "usage: %s hashes N | udp|http|http-close ADDR PORT SWARMS PEERS SECONDS NUMWANT\n",
                argv[0]);
        return 2;
    }
    struct load l = {.n_swarms = strtoull(argv[4], NULL, 10),
                     .n_peers = strtoull(argv[5], NULL, 10),
                     .numwant = strtoull(argv[7], NULL, 10),
                     .left = UINT64_MAX,
                     .rng = now_us()};
    uint64_t seconds = strtoull(argv[6], NULL, 10), began = now_us();
    l.server.sin_family = AF_INET;
    l.server.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
    inet_pton(AF_INET, argv[2], &l.server.sin_addr);
    l.n_total = l.n_swarms * l.n_peers;
    l.end_us = seconds ? began + seconds * 1000000u : UINT64_MAX;
    if (!seconds)
        l.left = l.n_total / N_SOURCES * N_SOURCES;
    if (strcmp(argv[1], "udp") == 0)
        run_udp(&l);
    else
        run_http(&l, strcmp(argv[1], "http") == 0);
    printf("{\"announces\": %llu, \"lost\": %llu, \"errors\": %llu, \"peers\": %llu, \"seconds\": "
           "%.6f, "
           "\"cpu_s\": %.6f}\n",
           (unsigned long long)l.n_done, (unsigned long long)l.n_lost,
           (unsigned long long)l.n_errors, (unsigned long long)l.n_peers_seen,
           (double)(now_us() - began) / 1e6, cpu_s());
    return 0;
}
