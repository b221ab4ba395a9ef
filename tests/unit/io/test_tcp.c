#include "io/loop.h"
#include "io/sockaddr.h"
#include "io/tcp.h"
#include "io/tcp_internal.h"
#include "store/file_window.h"
#include "test_util.h"
#include "torrent_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define FILE_LEN (8u << 20)
#define IN_CAP   (32u << 20)
#define BLOCK    16384u
#define WAIT_US  20000000u
#define ROOM_LEN (256u * 1024u)

/* One side: a tcp and an owner that writes down what it hears. */
struct side {
    struct tcp *tcp;
    struct loop *loop;
    struct loop_hook *hook;
    uint32_t next_conn, n_accepted, n_connected, n_closed, n_failed, n_warm;
    uint32_t conn; /* the newest */
    size_t room_len, n_rooms;
    struct err closed, failed;
    uint8_t *in;
    size_t in_len, in_limit;   /* lends nothing beyond */
    bool is_refusing, is_torn; /* torn: lends small spans */
    int file_fd;
    bool is_cold, is_warm, is_in_memory, has_no_store, is_warm_late, cannot_warm;
    bool is_mapped; /* lends windows, or `torn` in their place */
    struct file_windows windows;
    uint8_t *torn;
    size_t n_unmapped;
    struct tcp_file warm_asked;
    void (*on_room)(struct side *s);
    size_t n_blocks_to_send, n_blocks_sent;
};

static bool accepted(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    struct side *s = ctx;
    assert_true(addr_is_loopback(from));
    if (s->is_refusing)
        return false;
    s->n_accepted++;
    *out_conn = s->conn = ++s->next_conn;
    return true;
}

static void connected(void *ctx, uint32_t conn)
{
    struct side *s = ctx;
    assert_int_equal(conn, s->conn);
    s->n_connected++;
}

static void closed(void *ctx, uint32_t conn, const struct err *err)
{
    struct side *s = ctx;
    (void)conn;
    s->closed = *err;
    s->n_closed++;
}

static size_t lend(void *ctx, uint32_t conn, struct span *out, size_t out_cap)
{
    struct side *s = ctx;
    (void)conn;
    size_t left = s->in_limit - s->in_len;
    if (left == 0)
        return 0;
    if (!s->is_torn) {
        out[0] = (struct span){s->in + s->in_len, left};
        return 1;
    }
    size_t n = 0, at = s->in_len;
    for (; n < out_cap && n < 5 && left > 0; n++) {
        size_t len = left < 1000 + 7 * n ? left : 1000 + 7 * n;
        out[n] = (struct span){s->in + at, len};
        at += len;
        left -= len;
    }
    return n;
}

static void took(void *ctx, uint32_t conn, size_t len)
{
    struct side *s = ctx;
    (void)conn;
    s->in_len += len;
    assert_true(s->in_len <= s->in_limit);
}

static void room(void *ctx, uint32_t conn, size_t room_len)
{
    struct side *s = ctx;
    assert_int_equal(conn, s->conn);
    s->room_len = room_len;
    s->n_rooms++;
    if (s->on_room)
        s->on_room(s);
}

static enum tcp_file_state file_acquire(void *ctx, const struct tcp_file *f, int *out_fd,
                                        bool *out_is_warm, void **out_token)
{
    struct side *s = ctx;
    assert_int_equal(f->store, 7);
    if (s->has_no_store)
        return TCP_FILE_ERROR;
    if (s->is_cold)
        return TCP_FILE_COLD;
    *out_fd = s->file_fd;
    *out_is_warm = s->is_warm;
    *out_token = s;
    return s->is_in_memory ? TCP_FILE_IN_MEMORY : TCP_FILE_READY;
}

static void file_release(void *ctx, void *token)
{
    assert_ptr_equal(ctx, token);
}

static const uint8_t *file_map(void *ctx, const struct tcp_file *f, void *token, bool is_in_memory,
                               void **out_map)
{
    struct side *s = ctx;
    assert_ptr_equal(token, s);
    assert_int_equal(is_in_memory, s->is_in_memory);
    if (!s->is_mapped)
        return NULL;
    if (s->torn)
        return s->torn;
    struct file_window *w =
        file_window_take(&s->windows, s, s->file_fd, f->off, f->len, is_in_memory);
    *out_map = w;
    return w ? file_window_at(w, f->off) : NULL;
}

static void file_unmap(void *ctx, void *map)
{
    struct side *s = ctx;
    s->n_unmapped++;
    if (map)
        file_window_release(&s->windows, map);
}

static bool file_warm(void *ctx, uint32_t conn, const struct tcp_file *f)
{
    struct side *s = ctx;
    assert_int_equal(conn, s->conn);
    s->n_warm++;
    if (s->cannot_warm)
        return false;
    s->warm_asked = *f;
    s->is_warm_late = true;
    return true;
}

static void file_failed(void *ctx, uint32_t conn, const struct tcp_file *f, const struct err *err)
{
    struct side *s = ctx;
    (void)conn;
    assert_int_equal(f->file, 3);
    s->failed = *err;
    s->n_failed++;
}

static bool turn(void *ctx)
{
    struct side *s = ctx;
    bool has_more = tcp_read(s->tcp);
    return tcp_flush(s->tcp) || has_more;
}

static struct tcp_config config_v4(void)
{
    return (struct tcp_config){.bind4 = addr_v4(127, 0, 0, 1, 0), .room_len = ROOM_LEN};
}

static struct side *side_new(struct loop *l, const struct tcp_config *config)
{
    struct side *s = calloc(1, sizeof *s);
    struct err err = {0};
    struct tcp_owner owner = {s,          accepted,  connected,    closed,       lend,
                              took,       room,      file_acquire, file_release, file_map,
                              file_unmap, file_warm, file_failed};
    file_windows_init(&s->windows);
    s->loop = l;
    s->in = malloc(IN_CAP);
    s->in_limit = IN_CAP;
    s->file_fd = -1;
    enum err_code code = tcp_new(&s->tcp, l, config, &owner, &err);
    if (code)
        fail_msg("%s %llu", err.what, (unsigned long long)err.got);
    assert_int_equal(loop_hook_new(&s->hook, l, turn, s), ERR_OK);
    return s;
}

static void side_free(struct side *s)
{
    loop_hook_free(s->hook);
    tcp_free(s->tcp);
    file_windows_clear(&s->windows);
    if (s->torn)
        munmap(s->torn, TCP_BATCH_LEN);
    if (s->file_fd >= 0)
        close(s->file_fd);
    free(s->in);
    free(s);
}

struct pair {
    struct loop *loop;
    struct side *a, *b; /* a dials b */
    size_t n_fds;
    char dir[TEST_PATH_CAP];
    uint8_t *file;
};

static bool pair_until(struct pair *p, bool (*is_so)(struct pair *p))
{
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (!is_so(p) && clock_now_us() < end_us)
        loop_turn(p->loop, 100000);
    return is_so(p);
}

static bool is_connected(struct pair *p)
{
    return p->a->n_connected && p->b->n_accepted;
}

static struct pair pair_make(const struct tcp_config *config)
{
    struct pair p = {0};
    struct err err;
    assert_int_equal(loop_new(&p.loop, &err), ERR_OK);
    loop_free(p.loop); /* libuv's own descriptors that stay */
    p.n_fds = test_count_fds();
    assert_int_equal(loop_new(&p.loop, &err), ERR_OK);
    p.a = side_new(p.loop, config);
    p.b = side_new(p.loop, config);
    return p;
}

static const enum tcp_upload uploads[] = {TCP_UPLOAD_AUTO, TCP_UPLOAD_COPY, TCP_UPLOAD_SPLICE};

static void pair_connect(struct pair *p, struct addr to)
{
    to.port = tcp_listen_port(p->b->tcp);
    p->a->conn = ++p->a->next_conn;
    tcp_connect(p->a->tcp, p->a->conn, &to);
    assert_true(pair_until(p, is_connected));
    assert_true(p->a->on_room || p->a->room_len == ROOM_LEN);
    assert_true(p->a->on_room || p->b->room_len == ROOM_LEN);
}

static void pair_clear(struct pair *p)
{
    side_free(p->a);
    side_free(p->b);
    loop_free(p->loop);
    if (p->file)
        test_remove_dir(p->dir);
    free(p->file);
    assert_int_equal(test_count_fds(), p->n_fds);
}

/* What is on tmpfs has no RWF_NOWAIT, and needs none. */
static void pair_give_memory_file(struct pair *p)
{
    test_temp_dir(p->dir);
    p->file = malloc(FILE_LEN);
    for (uint32_t i = 0; i < FILE_LEN; i++)
        p->file[i] = fixture_byte(3, i);
    p->a->is_in_memory = true;
    p->a->file_fd = memfd_create("test_tcp", MFD_CLOEXEC);
    assert_true(p->a->file_fd >= 0);
    assert_int_equal(write(p->a->file_fd, p->file, FILE_LEN), FILE_LEN);
}

static void pair_give_file(struct pair *p)
{
    char path[TEST_PATH_CAP];
    test_temp_dir(p->dir);
    p->file = malloc(FILE_LEN);
    for (uint32_t i = 0; i < FILE_LEN; i++)
        p->file[i] = fixture_byte(3, i);
    test_write_file(test_join(path, p->dir, "f"), bytes_of(p->file, FILE_LEN));
    p->a->file_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(p->a->file_fd >= 0);
}

/* --- connecting ------------------------------------------------------------------------------ */

static bool b_has_5(struct pair *p)
{
    return p->b->in_len >= 5;
}

static bool b_is_closed(struct pair *p)
{
    return p->b->n_closed > 0;
}

static bool a_is_closed(struct pair *p)
{
    return p->a->n_closed > 0;
}

static void bytes_cross_and_ends_are_seen(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    tcp_send(p.a->tcp, p.a->conn, BYTES_LIT("hel"));
    tcp_send(p.a->tcp, p.a->conn, BYTES_LIT("lo"));
    assert_true(pair_until(&p, b_has_5));
    assert_memory_equal(p.b->in, "hello", 5);
    assert_int_equal(tcp_counters(p.a->tcp)->n_writes, 1); /* one turn, one system call */
    tcp_close(p.a->tcp, p.a->conn);
    assert_int_equal(tcp_n_conns(p.a->tcp), 0);
    assert_true(pair_until(&p, b_is_closed));
    assert_int_equal(p.b->closed.code, ERR_OK);
    assert_int_equal(p.a->n_closed, 0); /* nobody reports what the owner closed */
    pair_clear(&p);
}

static void ipv6_works_as_well(void **state)
{
    (void)state;
    struct tcp_config config = {.bind6 = {.family = ADDR_V6}, .room_len = ROOM_LEN};
    config.bind6.ip[15] = 1;
    struct addr probe = config.bind6;
    struct err err;
    int fd;
    if (sockaddr_bind(&fd, SOCK_STREAM, &probe, &err))
        skip();
    close(fd);
    struct pair p = pair_make(&config);
    pair_connect(&p, config.bind6);
    tcp_send(p.a->tcp, p.a->conn, BYTES_LIT("hello"));
    assert_true(pair_until(&p, b_has_5));
    /* IPv4 is off here */
    struct addr v4 = addr_v4(127, 0, 0, 1, 9);
    tcp_connect(p.a->tcp, ++p.a->next_conn, &v4);
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.got, EAFNOSUPPORT);
    pair_clear(&p);
}

static void a_refused_connect_is_reported_once(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    struct addr nobody = addr_v4(127, 0, 0, 1, 0);
    struct err err;
    int fd;
    assert_int_equal(sockaddr_bind(&fd, SOCK_STREAM, &nobody, &err), ERR_OK);
    nobody = sockaddr_of_socket(fd); /* bound, not listening */
    tcp_connect(p.a->tcp, ++p.a->next_conn, &nobody);
    assert_int_equal(p.a->n_closed, 0); /* never inside the call */
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.code, ERR_IO);
    assert_int_equal(p.a->closed.got, ECONNREFUSED);
    loop_turn(p.loop, 1000);
    assert_int_equal(p.a->n_closed, 1);
    assert_int_equal(tcp_counters(p.a->tcp)->n_connect_failed, 1);
    assert_int_equal(tcp_n_conns(p.a->tcp), 0);
    close(fd);
    pair_clear(&p);
}

/* A listener whose backlog is full does not answer any more. */
static void a_connect_ends_in_time(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.connect_us_max = 300000;
    struct pair p = pair_make(&config);
    struct addr mute = addr_v4(127, 0, 0, 1, 0);
    struct err err;
    int fd, fillers[8];
    assert_int_equal(sockaddr_bind(&fd, SOCK_STREAM, &mute, &err), ERR_OK);
    assert_int_equal(listen(fd, 0), 0);
    mute = sockaddr_of_socket(fd);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, &mute);
    for (int i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&ss, len);
    }
    uint64_t from_us = clock_now_us();
    tcp_connect(p.a->tcp, ++p.a->next_conn, &mute);
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.got, ETIMEDOUT);
    assert_true(clock_now_us() - from_us >= 300000);
    assert_int_equal(tcp_counters(p.a->tcp)->n_connect_timeout, 1);
    assert_int_equal(tcp_n_conns(p.a->tcp), 0);
    for (int i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
    pair_clear(&p);
}

static void a_connect_called_off_is_silent(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    struct addr to = addr_v4(127, 0, 0, 1, tcp_listen_port(p.b->tcp));
    tcp_connect(p.a->tcp, ++p.a->next_conn, &to);
    tcp_close(p.a->tcp, p.a->next_conn);
    for (int i = 0; i < 5; i++)
        loop_turn(p.loop, 2000);
    assert_int_equal(p.a->n_closed + p.a->n_connected, 0);
    pair_clear(&p);
}

static void ports_fall_back_as_asked(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    struct err err;
    struct tcp *t;
    struct tcp_owner owner = {0};
    uint16_t busy = tcp_listen_port(p.a->tcp);
    config.port = busy;
    config.is_port_strict = true;
    assert_int_equal(tcp_new(&t, p.loop, &config, &owner, &err), ERR_IO);
    assert_int_equal(err.got, EADDRINUSE);
    config.is_port_strict = false;
    config.port_last = busy;
    assert_int_equal(tcp_new(&t, p.loop, &config, &owner, &err), ERR_OK);
    assert_true(tcp_listen_port(t) != 0 && tcp_listen_port(t) != busy);
    tcp_free(t);
    config.is_listen_off = true;
    assert_int_equal(tcp_new(&t, p.loop, &config, &owner, &err), ERR_OK);
    assert_int_equal(tcp_listen_port(t), 0);
    tcp_free(t);
    pair_clear(&p);
}

/* --- refusing -------------------------------------------------------------------------------- */

static int dial_plainly(uint16_t port)
{
    struct addr to = addr_v4(127, 0, 0, 1, port);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, &to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static bool one_over_the_limit(struct pair *p)
{
    return tcp_counters(p->b->tcp)->n_accept_limit >= 5;
}

static void connections_are_limited(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.n_conns_max = 3;
    struct pair p = pair_make(&config);
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = dial_plainly(tcp_listen_port(p.b->tcp));
    assert_true(pair_until(&p, one_over_the_limit));
    assert_int_equal(p.b->n_accepted, 3);
    assert_int_equal(tcp_n_conns(p.b->tcp), 3);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    pair_clear(&p);
}

static bool one_was_refused(struct pair *p)
{
    return tcp_counters(p->b->tcp)->n_accept_refused >= 1;
}

static void the_owner_can_refuse(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    p.b->is_refusing = true;
    int fd = dial_plainly(tcp_listen_port(p.b->tcp));
    char byte;
    assert_true(pair_until(&p, one_was_refused));
    assert_int_equal(tcp_n_conns(p.b->tcp), 0);
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
    pair_clear(&p);
}

static bool none_was_left(struct pair *p)
{
    return tcp_counters(p->b->tcp)->n_accept_no_descriptor >= 1;
}

/* With no descriptor left the backlog must not spin the loop: the caller is let in and dropped. */
static void accepting_without_descriptors(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    struct rlimit old, low;
    int fd = dial_plainly(tcp_listen_port(p.b->tcp));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    int fillers[64], n_fillers = 0, last = -1;
    while (n_fillers < 64 && last < 60) /* no holes below the limit */
        last = fillers[n_fillers++] = open("/dev/null", O_RDONLY);
    low.rlim_cur = (rlim_t)last + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    bool has_seen = pair_until(&p, none_was_left);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (n_fillers > 0)
        close(fillers[--n_fillers]);
    assert_true(has_seen);
    assert_int_equal(p.b->n_accepted, 0);
    close(fd);
    int again = dial_plainly(tcp_listen_port(p.b->tcp));
    for (int i = 0; i < 50 && !p.b->n_accepted; i++)
        loop_turn(p.loop, 20000);
    assert_int_equal(p.b->n_accepted, 1);
    close(again);
    pair_clear(&p);
}

/* --- flow ------------------------------------------------------------------------------------ */

static void more_than_the_room_closes(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    for (size_t sent = 0; sent <= ROOM_LEN + 64 * 1024; sent += 1000)
        tcp_send_zeros(p.a->tcp, p.a->conn, 1000);
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.code, ERR_LIMIT);
    assert_int_equal(tcp_counters(p.a->tcp)->n_over_room, 1);
    pair_clear(&p);
}

static void fill_room(struct side *s)
{
    while (s->room_len >= BLOCK && s->n_blocks_sent < s->n_blocks_to_send) {
        uint8_t head[13] = {0, 0, 0x40, 9, 7};
        uint64_t off = (s->n_blocks_sent * BLOCK) % FILE_LEN;
        head[12] = (uint8_t)s->n_blocks_sent;
        struct tcp_file f = {7, 3, off, BLOCK};
        tcp_send(s->tcp, s->conn, bytes_of(head, sizeof head));
        tcp_send_file(s->tcp, s->conn, &f);
        s->room_len -= s->room_len < BLOCK + 13 ? s->room_len : BLOCK + 13;
        s->n_blocks_sent++;
    }
}

static bool b_has_all(struct pair *p)
{
    if (p->a->is_warm_late) { /* the owner's worker came back */
        p->a->is_warm_late = p->a->is_cold = false;
        tcp_file_ready(p->a->tcp, p->a->conn, NULL);
    }
    return p->b->in_len == p->a->n_blocks_to_send * (BLOCK + 13);
}

static void assert_blocks(const struct pair *p)
{
    for (size_t i = 0; i < p->a->n_blocks_to_send; i++) {
        const uint8_t *at = p->b->in + i * (BLOCK + 13);
        assert_int_equal(at[12], (uint8_t)i);
        assert_memory_equal(at + 13, p->file + (i * BLOCK) % FILE_LEN, BLOCK);
    }
}

/* a sends so many, and b gets what the file holds. */
static void pair_send_blocks(struct pair *p, size_t n)
{
    p->a->n_blocks_to_send = n;
    p->a->on_room = fill_room;
    pair_connect(p, addr_v4(127, 0, 0, 1, 0));
    assert_true(pair_until(p, b_has_all));
    assert_blocks(p);
}

static void send_blocks(bool is_torn, bool is_cold)
{
    struct tcp_config config = config_v4();
    config.room_len = 4 * ROOM_LEN;
    struct pair p = pair_make(&config);
    pair_give_file(&p);
    p.b->is_torn = is_torn;
    p.a->is_cold = is_cold;
    pair_send_blocks(&p, is_torn ? 256 : 1024); /* 1,024: 16 MiB */
    assert_int_equal(p.a->n_warm, is_cold ? 1 : 0);
    assert_int_equal(tcp_counters(p.a->tcp)->n_file_cold, is_cold ? 1 : 0);
    assert_int_equal(tcp_counters(p.a->tcp)->file_len, p.a->n_blocks_to_send * BLOCK);
    pair_clear(&p);
}

static void data_in_memory_needs_no_worker(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_give_memory_file(&p);
    pair_send_blocks(&p, 256);
    assert_int_equal(p.a->n_warm, 0);
    assert_int_equal(tcp_counters(p.a->tcp)->n_file_cold, 0);
    pair_clear(&p);
}

static void blocks_go_in_batches(void **state)
{
    (void)state;
    send_blocks(false, false);
    send_blocks(true, false);
}

static void send_from_mappings(enum tcp_upload upload, bool is_in_memory)
{
    struct tcp_config config = config_v4();
    config.upload = upload;
    config.room_len = 4 * ROOM_LEN;
    struct pair p = pair_make(&config);
    if (is_in_memory)
        pair_give_memory_file(&p);
    else
        pair_give_file(&p);
    p.a->is_mapped = true;
    pair_send_blocks(&p, 1024);
    const struct tcp_counters *c = tcp_counters(p.a->tcp);
    assert_true(c->n_file_maps > 0 && c->n_file_maps == p.a->n_unmapped);
    assert_int_equal(c->n_file_reads, 0);
    assert_int_equal(c->file_len, 1024 * BLOCK);
    if (upload == TCP_UPLOAD_COPY)
        assert_int_equal(c->n_splices | c->unsent_len, 0);
    if (upload == TCP_UPLOAD_SPLICE)
        assert_true(c->n_splices > c->n_writes / 2);
    pair_clear(&p);
}

/* From windows of a file on disk and of one in memory; nothing is read for it. */
static void blocks_go_from_mappings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(uploads); i++) {
        send_from_mappings(uploads[i], false);
        send_from_mappings(uploads[i], true);
    }
}

static void assert_congestion_control(const struct side *s, const char *name)
{
    char ruling[TCP_CONGESTION_CAP] = "";
    socklen_t len = sizeof ruling - 1;
    int fd = tcp_conn_find(s->tcp, s->conn)->fd;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, ruling, &len), 0);
    assert_string_equal(ruling, name);
}

/* reno is the one that every Linux has, for everybody. */
static void congestion_control_is_as_asked(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.congestion_control = "reno";
    struct pair p = pair_make(&config);
    pair_connect(&p, config.bind4);
    assert_congestion_control(p.a, "reno");
    assert_congestion_control(p.b, "reno");

    const char *unknown[] = {"nonesuch", "", "a-name-that-is-too-long-for-the-kernel"};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        struct tcp_owner owner = {0};
        struct tcp *none;
        struct err err;
        config.congestion_control = unknown[i];
        assert_int_equal(tcp_new(&none, p.loop, &config, &owner, &err), ERR_UNSUPPORTED);
        assert_null(none);
    }
    pair_clear(&p);
}

/* A mapping that the kernel cannot read stands for a file that was cut, or a disk that failed. */
static void give_torn_mapping(struct pair *p)
{
    pair_give_file(p);
    p->a->is_mapped = true;
    p->a->torn = mmap(NULL, TCP_BATCH_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p->a->torn, MAP_FAILED);
}

/* It is brought in by a worker, and then read: it arrives whole. */
static void a_torn_mapping_is_read_instead(void **state)
{
    (void)state;
    if (test_is_slow())
        skip(); /* memcheck reports what is done here on purpose: pages that are not there are sent */
    for (size_t i = 0; i < COUNT_OF(uploads); i++) {
        struct tcp_config config = config_v4();
        config.upload = uploads[i];
        config.room_len = 4 * ROOM_LEN;
        struct pair p = pair_make(&config);
        give_torn_mapping(&p);
        pair_send_blocks(&p, 64);
        assert_true(p.a->n_warm > 0);
        assert_int_equal(tcp_counters(p.a->tcp)->n_file_cold, p.a->n_warm);
        assert_int_equal(tcp_counters(p.a->tcp)->n_file_maps, p.a->n_unmapped);
        pair_clear(&p);
    }
}

static void send_longest(struct side *s)
{
    while (s->n_blocks_sent < s->n_blocks_to_send && s->room_len >= 131072 + 13) {
        tcp_send_zeros(s->tcp, s->conn, 131072 + 13);
        s->room_len -= 131072 + 13;
        s->n_blocks_sent++;
    }
}

static bool b_has_longest(struct pair *p)
{
    p->b->in_len = 0; /* only counted below */
    return tcp_counters(p->b->tcp)->read_len == p->a->n_blocks_to_send * (131072 + 13);
}

/* A slow taker of the longest blocks: room shrinks, and never below what one needs. */
static void the_longest_blocks_never_wait_for_ever(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.room_len = 1u << 20;
    struct pair p = pair_make(&config);
    p.a->n_blocks_to_send = 60;
    p.a->on_room = send_longest;
    p.b->in_limit = 20000;
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (!b_has_longest(&p) && clock_now_us() < end_us) {
        loop_turn(p.loop, 1000);
        tcp_want_read(p.b->tcp, p.b->conn);
    }
    assert_true(b_has_longest(&p));
    pair_clear(&p);
}

static void cold_data_waits_for_its_worker(void **state)
{
    (void)state;
    send_blocks(false, true);
}

static bool a_has_failed(struct pair *p)
{
    if (p->a->is_warm_late) {
        struct err err = {ERR_IO, "cannot read a file", 3, EIO, 0};
        p->a->is_warm_late = false;
        tcp_file_ready(p->a->tcp, p->a->conn, &err);
    }
    return p->a->n_failed > 0;
}

static void a_file_that_cannot_be_read_closes(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_give_file(&p);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    struct tcp_file past_the_end = {7, 3, FILE_LEN - 10, 100};
    tcp_send_file(p.a->tcp, p.a->conn, &past_the_end);
    assert_true(pair_until(&p, a_has_failed));
    assert_int_equal(p.a->n_warm, 1);
    assert_int_equal(p.a->failed.got, EIO);
    assert_int_equal(p.a->n_closed, 0);
    assert_true(pair_until(&p, b_is_closed));
    assert_int_equal(p.b->in_len, 10); /* what could be read was sent */
    pair_clear(&p);
}

/* The worker's error is what the owner hears, of the file that it asked for, though bytes that came
 * before may still be in the queue. */
static void a_torn_mapping_without_a_file_closes(void **state)
{
    (void)state;
    if (test_is_slow())
        skip(); /* as above */
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    give_torn_mapping(&p);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    tcp_send_zeros(p.a->tcp, p.a->conn, 13);
    tcp_send_file(p.a->tcp, p.a->conn, &(struct tcp_file){7, 3, 0, BLOCK});
    assert_true(pair_until(&p, a_has_failed));
    assert_int_equal(p.a->n_warm, 1);
    assert_int_equal(p.a->warm_asked.len, BLOCK);
    assert_int_equal(p.a->failed.got, EIO);
    assert_true(pair_until(&p, b_is_closed));
    pair_clear(&p);
}

static void a_closed_store_closes_the_connection(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    p.a->has_no_store = true;
    tcp_send_file(p.a->tcp, p.a->conn, &(struct tcp_file){7, 3, 0, BLOCK});
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.code, ERR_NOT_FOUND);
    pair_clear(&p);
}

/* Nobody could say when the file is warm: better no connection than one that waits for ever. */
static void a_cold_file_without_memory_fails(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    p.a->is_cold = p.a->cannot_warm = true;
    tcp_send_file(p.a->tcp, p.a->conn, &(struct tcp_file){7, 3, 0, BLOCK});
    assert_true(pair_until(&p, a_is_closed));
    assert_int_equal(p.a->closed.code, ERR_NO_MEMORY);
    assert_int_equal(p.a->n_warm, 1);
    pair_clear(&p);
}

static bool b_is_full(struct pair *p)
{
    return p->b->in_len == p->b->in_limit;
}

static void nothing_lent_nothing_read(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    p.b->in_limit = 100000;
    pair_connect(&p, addr_v4(127, 0, 0, 1, 0));
    tcp_send_zeros(p.a->tcp, p.a->conn, ROOM_LEN);
    assert_true(pair_until(&p, b_is_full));
    uint64_t n_reads = tcp_counters(p.b->tcp)->n_reads;
    for (int i = 0; i < 10; i++)
        loop_turn(p.loop, 2000);
    assert_int_equal(tcp_counters(p.b->tcp)->n_reads, n_reads);
    p.b->in_limit = ROOM_LEN;
    tcp_want_read(p.b->tcp, p.b->conn);
    assert_true(pair_until(&p, b_is_full));
    pair_clear(&p);
}

/* The reader is slow, the writer closes: all of what was sent still arrives. */
static void close_flushes(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.room_len = 8u << 20;
    struct pair p = pair_make(&config);
    struct addr to = addr_v4(127, 0, 0, 1, tcp_listen_port(p.b->tcp));
    p.b->in_limit = 1000;
    tcp_connect(p.a->tcp, p.a->conn = ++p.a->next_conn, &to);
    assert_true(pair_until(&p, is_connected));
    tcp_send_zeros(p.a->tcp, p.a->conn, 8u << 20);
    assert_true(pair_until(&p, b_is_full));
    tcp_close(p.a->tcp, p.a->conn);
    assert_int_equal(tcp_n_conns(p.a->tcp), 1);         /* flushing */
    tcp_send(p.a->tcp, p.a->conn, BYTES_LIT("nobody")); /* its number means nothing any more */
    p.b->in_limit = IN_CAP;
    tcp_want_read(p.b->tcp, p.b->conn);
    assert_true(pair_until(&p, b_is_closed));
    assert_int_equal(p.b->in_len, 8u << 20);
    assert_int_equal(tcp_n_conns(p.a->tcp), 0);
    pair_clear(&p);
}

static bool flush_has_ended(struct pair *p)
{
    return tcp_n_conns(p->a->tcp) == 0;
}

static void flushing_ends_in_time(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    config.room_len = 16u << 20;
    struct pair p = pair_make(&config);
    struct addr to = addr_v4(127, 0, 0, 1, tcp_listen_port(p.b->tcp));
    p.b->in_limit = 1000; /* and never more */
    tcp_connect(p.a->tcp, p.a->conn = ++p.a->next_conn, &to);
    assert_true(pair_until(&p, is_connected));
    tcp_send_zeros(p.a->tcp, p.a->conn, 16u << 20);
    assert_true(pair_until(&p, b_is_full));
    tcp_close(p.a->tcp, p.a->conn);
    uint64_t from_us = clock_now_us();
    assert_true(pair_until(&p, flush_has_ended));
    assert_true(clock_now_us() - from_us < 2 * TCP_FLUSH_US_MAX);
    assert_int_equal(tcp_counters(p.a->tcp)->n_flush_timeout, 1);
    pair_clear(&p);
}

static bool b_has_reset(struct pair *p)
{
    return p->b->n_closed > 0;
}

static void a_reset_is_an_error(void **state)
{
    (void)state;
    struct tcp_config config = config_v4();
    struct pair p = pair_make(&config);
    int fd = dial_plainly(tcp_listen_port(p.b->tcp));
    for (int i = 0; i < 50 && !p.b->n_accepted; i++)
        loop_turn(p.loop, 20000);
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    assert_true(pair_until(&p, b_has_reset));
    assert_int_equal(p.b->closed.code, ERR_IO);
    assert_int_equal(p.b->closed.got, ECONNRESET);
    pair_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_cross_and_ends_are_seen),
        cmocka_unit_test(ipv6_works_as_well),
        cmocka_unit_test(a_refused_connect_is_reported_once),
        cmocka_unit_test(a_connect_ends_in_time),
        cmocka_unit_test(a_connect_called_off_is_silent),
        cmocka_unit_test(ports_fall_back_as_asked),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(the_owner_can_refuse),
        cmocka_unit_test(accepting_without_descriptors),
        cmocka_unit_test(more_than_the_room_closes),
        cmocka_unit_test(blocks_go_in_batches),
        cmocka_unit_test(blocks_go_from_mappings),
        cmocka_unit_test(a_torn_mapping_is_read_instead),
        cmocka_unit_test(a_torn_mapping_without_a_file_closes),
        cmocka_unit_test(congestion_control_is_as_asked),
        cmocka_unit_test(data_in_memory_needs_no_worker),
        cmocka_unit_test(the_longest_blocks_never_wait_for_ever),
        cmocka_unit_test(cold_data_waits_for_its_worker),
        cmocka_unit_test(a_file_that_cannot_be_read_closes),
        cmocka_unit_test(a_closed_store_closes_the_connection),
        cmocka_unit_test(a_cold_file_without_memory_fails),
        cmocka_unit_test(nothing_lent_nothing_read),
        cmocka_unit_test(close_flushes),
        cmocka_unit_test(flushing_ends_in_time),
        cmocka_unit_test(a_reset_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
