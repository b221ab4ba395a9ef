/* The HTTP client and the HTTP server, one against the other and against canned answers. */
#include "io/fetch.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include "test_util.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

/* --- a world: loop, server, client ----------------------------------------------------------- */

struct answer {
    unsigned n;
    struct err err;
    uint32_t status;
    char body[1000];
    size_t body_len;
};

struct world {
    struct loop *loop;
    struct http_server *server;
    struct fetch_client *client;
    char method[10], path[200], query[200];
    struct addr peer;
    unsigned n_requests;
    struct answer answers[100];
    unsigned n_answers;
};

static void handle(void *ctx, const struct http_request *request, struct http_response *out)
{
    struct world *w = ctx;
    w->n_requests++;
    snprintf(w->method, sizeof w->method, "%s", request->method);
    snprintf(w->path, sizeof w->path, "%s", request->path);
    snprintf(w->query, sizeof w->query, "%.*s", (int)request->query.len,
             (const char *)request->query.data);
    w->peer = request->peer;
    if (strcmp(request->path, "/none") == 0)
        out->status = 404;
    out->content_type = "text/plain; charset=utf-8";
    out->body = BYTES_LIT("d8:intervali1800ee");
}

static void fetched(void *ctx, uint64_t job, const struct err *err, uint32_t http_status,
                    struct bytes body)
{
    struct world *w = ctx;
    struct answer *a = &w->answers[job];
    a->n++;
    w->n_answers++;
    a->err = err ? *err : (struct err){0};
    a->status = http_status;
    a->body_len = body.len;
    if (body.len)
        memcpy(a->body, body.data, body.len < sizeof a->body ? body.len : sizeof a->body);
}

static const struct addr any4 = {.family = ADDR_V4}, any6 = {.family = ADDR_V6};

static struct world *world_new(const struct http_server_config *config, const struct addr *bind4)
{
    struct world *w = calloc(1, sizeof *w);
    struct http_server_config plain = {.bind = addr_v4(127, 0, 0, 1, 0)};
    struct err err = {0};
    assert_int_equal(loop_new(&w->loop, &err), ERR_OK);
    assert_int_equal(
        http_server_new(&w->server, w->loop, config ? config : &plain, handle, w, &err), ERR_OK);
    assert_int_equal(fetch_client_new(&w->client, w->loop, bind4 ? bind4 : &any4, &any6, &err),
                     ERR_OK);
    return w;
}

static void world_free(struct world *w)
{
    fetch_client_free(w->client);
    http_server_free(w->server);
    loop_free(w->loop);
    free(w);
}

static void world_wait(struct world *w, unsigned n_answers)
{
    uint64_t end_us = clock_now_us() + 20000000;
    while (w->n_answers < n_answers && clock_now_us() < end_us)
        loop_turn(w->loop, 100000);
    assert_int_equal(w->n_answers, n_answers);
}

static struct fetch request_for(const char *url)
{
    return (struct fetch){
        .url = url, .user_agent = "shoal/test", .body_len_max = 100000, .timeout_ms = 5000};
}

static const struct answer *world_fetch(struct world *w, const struct fetch *request)
{
    unsigned job = w->n_answers;
    assert_int_equal(fetch_start(w->client, request, fetched, w, job), ERR_OK);
    world_wait(w, job + 1);
    assert_int_equal(fetch_n_out(w->client), 0);
    return &w->answers[job];
}

static const char *url_of(const struct world *w, const char *rest)
{
    static char url[400];
    char text[ADDR_TEXT_CAP];
    struct addr a = http_server_addr(w->server);
    snprintf(url, sizeof url, "http://%s%s", addr_format(&a, text), rest);
    return url;
}

/* --- a server that says what it was told, whatever it is asked ------------------------------- */

struct canned {
    int fd;
    pthread_t thread;
    struct addr addr;
    const uint8_t *data;
    size_t len;
    bool is_silent; /* never answers, never closes until the caller does */
    char request[2000];
    unsigned n_served;
};

static void canned_serve(struct canned *c, int fd)
{
    size_t len = 0;
    while (len < sizeof c->request - 1) {
        ssize_t n = read(fd, c->request + len, sizeof c->request - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        c->request[len] = 0;
        if (strstr(c->request, "\r\n\r\n") && !c->is_silent)
            break;
    }
    for (size_t done = 0; !c->is_silent && done < c->len;) {
        ssize_t n = send(fd, c->data + done, c->len - done, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
}

static void *canned_main(void *arg)
{
    struct canned *c = arg;
    int fd;
    while ((fd = accept(c->fd, NULL, NULL)) >= 0) {
        c->n_served++;
        canned_serve(c, fd);
    }
    return NULL;
}

static void canned_start(struct canned *c, struct addr bind, const void *data, size_t len)
{
    struct err err;
    memset(c, 0, sizeof *c);
    c->data = data;
    c->len = len;
    assert_int_equal(sockaddr_bind(&c->fd, SOCK_STREAM, &bind, &err), ERR_OK);
    assert_int_equal(fcntl(c->fd, F_SETFL, 0), 0);
    assert_int_equal(listen(c->fd, 5), 0);
    c->addr = sockaddr_of_socket(c->fd);
}

static void canned_run(struct canned *c)
{
    assert_int_equal(pthread_create(&c->thread, NULL, canned_main, c), 0);
}

static void canned_stop(struct canned *c)
{
    shutdown(c->fd, SHUT_RDWR);
    pthread_join(c->thread, NULL);
    close(c->fd);
}

static const char *canned_url(const struct canned *c)
{
    static char url[100];
    char text[ADDR_TEXT_CAP];
    snprintf(url, sizeof url, "http://%s/x", addr_format(&c->addr, text));
    return url;
}

static const struct answer *fetch_canned(struct world *w, const void *data, size_t len,
                                         size_t body_len_max)
{
    struct canned c;
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), data, len);
    canned_run(&c);
    struct fetch request = request_for(canned_url(&c));
    request.body_len_max = body_len_max;
    const struct answer *a = world_fetch(w, &request);
    canned_stop(&c);
    return a;
}

/* --- client and server ----------------------------------------------------------------------- */

static void a_request_comes_as_it_was_written(void **state)
{
    (void)state;
    struct err err;
    struct loop *l; /* libuv's and libcurl's descriptors that stay */
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    loop_free(l);
    world_free(world_new(NULL, NULL));
    size_t n_fds = test_count_fds();
    struct world *w = world_new(NULL, NULL);
    struct fetch request =
        request_for(url_of(w, "/ann%6funce/a?info_hash=%00%ff%25&left=1&=&x=%zz+y"));
    const struct answer *a = world_fetch(w, &request);
    assert_int_equal(a->err.code, ERR_OK);
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_len, 18);
    assert_memory_equal(a->body, "d8:intervali1800ee", 18);
    assert_string_equal(w->method, "GET");
    assert_string_equal(w->path, "/ann%6funce/a");
    assert_string_equal(w->query, "info_hash=%00%ff%25&left=1&=&x=%zz+y");
    assert_true(addr_is_loopback(&w->peer));
    request = request_for(url_of(w, "/none"));
    a = world_fetch(w, &request);
    assert_int_equal(a->err.code, ERR_OK);
    assert_int_equal(a->status, 404);
    assert_string_equal(w->query, "");
    assert_int_equal(http_server_counters(w->server)->n_requests, 2);
    world_free(w);
    assert_int_equal(test_count_fds(), n_fds);
}

static void many_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct fetch request = request_for(url_of(w, "/announce?x=1"));
    for (uint64_t job = 0; job < 100; job++)
        assert_int_equal(fetch_start(w->client, &request, fetched, w, job), ERR_OK);
    world_wait(w, 100);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(w->answers[i].n, 1);
        assert_int_equal(w->answers[i].status, 200);
    }
    world_free(w);
}

static void ipv6_server(void **state)
{
    (void)state;
    struct http_server_config config = {.bind = {.family = ADDR_V6}};
    config.bind.ip[15] = 1;
    int fd;
    struct err err;
    if (sockaddr_bind(&fd, SOCK_STREAM, &config.bind, &err))
        skip();
    close(fd);
    struct world *w = world_new(&config, NULL);
    struct fetch request = request_for(url_of(w, "/a"));
    assert_int_equal(world_fetch(w, &request)->status, 200);
    assert_int_equal(w->peer.family, ADDR_V6);
    request.ip_family = ADDR_V4; /* the literal is of the other family */
    assert_int_not_equal(world_fetch(w, &request)->err.code, ERR_OK);
    world_free(w);
}

static void dials_from_the_bind_address(void **state)
{
    (void)state;
    struct addr bind = addr_v4(127, 0, 0, 77, 0);
    struct world *w = world_new(NULL, &bind);
    struct fetch request = request_for(url_of(w, "/a"));
    assert_int_equal(world_fetch(w, &request)->status, 200);
    assert_true(addr_ip_equal(&w->peer, &bind));
    world_free(w);
}

static void raw_exchange(struct world *w, const char *out, size_t out_len, char *in, size_t in_cap)
{
    struct addr to = http_server_addr(w->server);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, &to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    (void)!send(fd, out, out_len, MSG_NOSIGNAL);
    memset(in, 0, in_cap);
    size_t got = 0;
    uint64_t end_us = clock_now_us() + 5000000;
    while (clock_now_us() < end_us) {
        loop_turn(w->loop, 5000);
        ssize_t n = recv(fd, in + got, in_cap - 1 - got, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        got += n > 0 ? (size_t)n : 0;
        if (strstr(in, "ee"))
            break;
    }
    close(fd);
}

static void server_refuses_what_is_too_long(void **state)
{
    (void)state;
    struct http_server_config config = {.bind = addr_v4(127, 0, 0, 1, 0), .header_len_max = 4096};
    struct world *w = world_new(&config, NULL);
    static char out[100000], in[4000];
    int n = snprintf(out, sizeof out,
                     "GET /ok HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    raw_exchange(w, out, (size_t)n, in, sizeof in);
    assert_non_null(strstr(in, "200 OK"));
    assert_non_null(strstr(in, "Content-Type: text/plain; charset=utf-8"));
    assert_true(addr_is_loopback(&w->peer));
    n = snprintf(out, sizeof out, "GET /%050000d HTTP/1.1\r\nHost: x\r\n\r\n", 7);
    raw_exchange(w, out, (size_t)n, in, sizeof in);
    assert_null(strstr(in, "200 OK"));
    n = snprintf(out, sizeof out, "GET / HTTP/1.1\r\nHost: x\r\nA: %050000d\r\n\r\n", 7);
    raw_exchange(w, out, (size_t)n, in, sizeof in);
    assert_null(strstr(in, "200 OK"));
    n = snprintf(out, sizeof out,
                 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n%090000d", 7);
    raw_exchange(w, out, (size_t)n, in, sizeof in);
    assert_null(strstr(in, "200 OK"));
    n = snprintf(out, sizeof out, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n%0900d",
                 7);
    raw_exchange(w, out, (size_t)n, in, sizeof in);
    assert_non_null(strstr(in, "200 OK"));
    assert_string_equal(w->method, "POST");
    raw_exchange(w, "\0\1\2garbage\r\n\r\n", 14, in, sizeof in);
    assert_null(strstr(in, "200 OK"));
    assert_int_equal(w->n_requests, 2);
    world_free(w);
}

static void server_limits_connections(void **state)
{
    (void)state;
    struct http_server_config config = {
        .bind = addr_v4(127, 0, 0, 1, 0), .n_conns_max = 3, .timeout_s = 1};
    struct world *w = world_new(&config, NULL);
    struct addr to = http_server_addr(w->server);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, &to);
    int fds[6];
    for (int i = 0; i < 6; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&ss, len), 0);
    }
    for (int i = 0; i < 20; i++)
        loop_turn(w->loop, 5000);
    assert_true(http_server_counters(w->server)->n_connections <= 3);
    uint64_t end_us = clock_now_us() + 4000000; /* silence ends them, and others get their turn */
    while (http_server_counters(w->server)->n_connections < 6 && clock_now_us() < end_us)
        loop_turn(w->loop, 50000);
    assert_int_equal(http_server_counters(w->server)->n_connections, 6);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    world_free(w);
}

/* --- the client and bad servers -------------------------------------------------------------- */

/* gzip of 200,000 zero bytes (made with Python's gzip, mtime 0) */
static const uint8_t bomb[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xed, 0xc1, 0x31, 0x01, 0x00, 0x00,
    0x00, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x06, 0x7f, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0xd7, 0x00, 0x7b, 0x58, 0xe0,
    0x5c, 0x40, 0x0d, 0x03, 0x00,
};

static void bodies_are_bounded_after_unpacking(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    static uint8_t text[1000];
    int n = snprintf((char *)text, sizeof text,
                     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                     sizeof bomb);
    memcpy(text + n, bomb, sizeof bomb);
    const struct answer *a = fetch_canned(w, text, (size_t)n + sizeof bomb, 200000);
    assert_int_equal(a->err.code, ERR_OK);
    assert_int_equal(a->body_len, 200000);
    a = fetch_canned(w, text, (size_t)n + sizeof bomb, 199999);
    assert_int_equal(a->err.code, ERR_LIMIT);
    assert_int_equal(a->err.want, 199999);
    assert_int_equal(a->body_len, 0);
    text[(size_t)n + sizeof bomb - 6] ^= 0x55; /* its checksum */
    a = fetch_canned(w, text, (size_t)n + sizeof bomb, 200000);
    assert_int_not_equal(a->err.code, ERR_OK);
    world_free(w);
}

static void bad_answers_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum err_code code;
    } answers[] = {
        {"cut body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ERR_TRUNCATED},
        {"nothing", "", ERR_TRUNCATED},
        {"HTTP/0.9", "just text", ERR_MALFORMED},
        {"file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
         ERR_MALFORMED},
        {"gopher",
         "HTTP/1.1 302 Found\r\nLocation: gopher://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
         ERR_MALFORMED},
    };
    struct world *w = world_new(NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *a = fetch_canned(w, answers[i].text, strlen(answers[i].text), 1000);
        if (a->err.code != answers[i].code)
            fail_msg("%s: %s", answers[i].name, a->err.what);
    }
    static const char *const urls[] = {"ftp://127.0.0.1/", "file:///etc/passwd", "", "http://",
                                       "x"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct fetch request = request_for(urls[i]);
        assert_int_not_equal(world_fetch(w, &request)->err.code, ERR_OK);
    }
    struct fetch request = request_for("http://127.0.0.1:1/");
    const struct answer *a = world_fetch(w, &request);
    assert_int_equal(a->err.code, ERR_IO);
    assert_int_equal(a->err.got, ECONNREFUSED);
    world_free(w);
}

static void redirects_are_followed_and_counted(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    char text[600];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                     url_of(w, "/there?q"));
    const struct answer *a = fetch_canned(w, text, (size_t)n, 1000);
    assert_int_equal(a->status, 200);
    assert_string_equal(w->path, "/there");
    static const char again[] = "HTTP/1.1 302 Found\r\nLocation: /again\r\nConnection: close\r\n"
                                "Content-Length: 0\r\n\r\n";
    struct canned c;
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), again, strlen(again));
    canned_run(&c);
    struct fetch request = request_for(canned_url(&c));
    a = world_fetch(w, &request);
    assert_int_equal(a->err.code, ERR_PROTOCOL);
    canned_stop(&c);
    assert_int_equal(c.n_served, 1 + FETCH_N_REDIRECTS_MAX);
    world_free(w);
}

static void silence_ends_in_time(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct canned c;
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), "", 0);
    c.is_silent = true;
    canned_run(&c);
    struct fetch request = request_for(canned_url(&c));
    request.timeout_ms = 300;
    uint64_t from_us = clock_now_us();
    const struct answer *a = world_fetch(w, &request);
    assert_int_equal(a->err.code, ERR_IO);
    assert_int_equal(a->err.got, ETIMEDOUT);
    assert_true(clock_now_us() - from_us < 3000000);
    canned_stop(&c);
    world_free(w);
}

static void ranges_are_asked_for(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct canned c;
    static const char text[] = "HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nhi";
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), text, strlen(text));
    canned_run(&c);
    struct fetch request = request_for(canned_url(&c));
    request.range_from = 1ull << 33;
    request.range_len = 16384;
    const struct answer *a = world_fetch(w, &request);
    assert_int_equal(a->status, 206);
    canned_stop(&c);
    assert_non_null(strstr(c.request, "Range: bytes=8589934592-8589950975\r\n"));
    assert_null(strstr(c.request, "Accept-Encoding"));
    assert_non_null(strstr(c.request, "User-Agent: shoal/test\r\n"));
    world_free(w);
}

static void freed_with_requests_under_way(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct canned c;
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), "", 0);
    c.is_silent = true;
    canned_run(&c);
    struct fetch request = request_for(canned_url(&c));
    for (uint64_t job = 0; job < 5; job++)
        assert_int_equal(fetch_start(w->client, &request, fetched, w, job), ERR_OK);
    for (int i = 0; i < 5; i++)
        loop_turn(w->loop, 5000);
    world_free(w);
    canned_stop(&c);
}

/* What a torrent or a link names as its tracker cannot be any service of this machine. */
static void strangers_trackers_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        bool is_asked;
    } urls[] = {
        {"/announce?x", true},
        {"/announce.php", true},
        {"/scrape", true},
        {"/admin", false},
        {"/", false},
        {"/x/announce", false},
        {"/announce/../admin", false},
        {"?announce", false},
        {"/%61nnounce", false},
    };
    struct world *w = world_new(NULL, NULL);
    unsigned n_asked = 0;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        for (int is_named = 0; is_named < 2; is_named++) {
            char named[300];
            struct addr a = http_server_addr(w->server);
            snprintf(named, sizeof named, "http://localhost:%u%s", a.port, urls[i].rest);
            struct fetch request = request_for(is_named ? named : url_of(w, urls[i].rest));
            request.is_tracker = true;
            request.ip_family = ADDR_V4;
            enum err_code want = urls[i].is_asked ? ERR_OK : ERR_PROTOCOL;
            assert_int_equal(world_fetch(w, &request)->err.code, want);
            n_asked += urls[i].is_asked;
            assert_int_equal(w->n_requests, n_asked);
        }
    /* the user's own may be anywhere, and what they keep open helps nobody else */
    struct fetch own = request_for(url_of(w, "/admin"));
    assert_int_equal(world_fetch(w, &own)->status, 200);
    own.is_tracker = true;
    assert_int_equal(world_fetch(w, &own)->err.code, ERR_PROTOCOL);
    assert_int_equal(w->n_requests, n_asked + 1);
    world_free(w);
}

/* ... nor send us on to one. */
static void strangers_trackers_do_not_redirect(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct canned c;
    char text[600], url[300];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                     url_of(w, "/admin"));
    canned_start(&c, addr_v4(127, 0, 0, 1, 0), text, (size_t)n);
    canned_run(&c);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/announce", c.addr.port);
    struct fetch request = request_for(url);
    request.is_tracker = true;
    assert_int_equal(world_fetch(w, &request)->err.code, ERR_PROTOCOL);
    assert_int_equal(w->n_requests, 0);
    canned_stop(&c);
    world_free(w);
}

static void strangers_tracker_at(struct addr a, const char *path, bool is_asked)
{
    struct http_server_config config = {.bind = a};
    struct world *w = world_new(&config, NULL);
    struct fetch request = request_for(url_of(w, path));
    request.is_tracker = true;
    assert_int_equal(world_fetch(w, &request)->err.code, is_asked ? ERR_OK : ERR_PROTOCOL);
    assert_int_equal(w->n_requests, is_asked);
    world_free(w);
}

/* Last: it moves this process into a network namespace of its own, where a global address can be
 * had. A tracker out there must not make us ask our own network. */
static void no_redirect_from_global_to_local(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNET) ||
        system("ip link set lo up && ip addr add 198.51.100.7/32 dev lo && "
               "ip addr add 192.168.7.7/32 dev lo && ip addr add 169.254.9.9/32 dev lo") != 0)
        skip(); /* needs root */
    strangers_tracker_at(addr_v4(192, 168, 7, 7, 0), "/passkey/announce", true);
    strangers_tracker_at(addr_v4(192, 168, 7, 7, 0), "/passkey", false);
    strangers_tracker_at(addr_v4(169, 254, 9, 9, 0), "/passkey/announce", false);
    strangers_tracker_at(addr_v4(198, 51, 100, 7, 0), "/anything", true);
    struct world *w = world_new(NULL, NULL);
    struct canned global;
    char text[600];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                     url_of(w, "/secret"));
    for (int round = 0; round < 2; round++) {
        canned_start(&global, addr_v4(198, 51, 100, 7, 0), text, (size_t)n);
        canned_run(&global);
        struct fetch request = request_for(canned_url(&global));
        const struct answer *a = world_fetch(w, &request);
        assert_int_equal(a->err.code, ERR_PROTOCOL);
        canned_stop(&global);
        assert_int_equal(w->n_requests, round); /* the local server heard nothing */
        /* a connection to it that is kept open from a request of our own changes nothing */
        request = request_for(url_of(w, "/mine"));
        assert_int_equal(world_fetch(w, &request)->status, 200);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_as_it_was_written),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(ipv6_server),
        cmocka_unit_test(dials_from_the_bind_address),
        cmocka_unit_test(server_refuses_what_is_too_long),
        cmocka_unit_test(server_limits_connections),
        cmocka_unit_test(bodies_are_bounded_after_unpacking),
        cmocka_unit_test(bad_answers_are_errors),
        cmocka_unit_test(redirects_are_followed_and_counted),
        cmocka_unit_test(silence_ends_in_time),
        cmocka_unit_test(ranges_are_asked_for),
        cmocka_unit_test(freed_with_requests_under_way),
        cmocka_unit_test(strangers_trackers_are_bounded),
        cmocka_unit_test(strangers_trackers_do_not_redirect),
        cmocka_unit_test(no_redirect_from_global_to_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
