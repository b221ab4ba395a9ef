#include "io/http_server.h"
#include "base/timer.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <unistd.h>

#define N_CONNS_DEFAULT        1000u
#define HEADER_LEN_MAX_DEFAULT (8u * 1024u)
#define TIMEOUT_S_DEFAULT      15u
#define HEADER_LEN_OTHER       4096u         /* parsed fields, and the head of a response */
#define BODY_LEN_MAX           (64u * 1024u) /* read and dropped */
#define LISTEN_BACKLOG         512

struct http_server {
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct loop_timer *timer;
    struct addr addr;
    void (*fn)(void *ctx, const struct http_request *request, struct http_response *out);
    void *ctx;
    unsigned n_conns;
    struct http_server_counters counters;
};

/* One request, from its first line to its end. */
struct call {
    size_t body_len;
    bool has_headers;
    char *query; /* behind the '?' of uri, or its end */
    char uri[];
};

/* --- libmicrohttpd's callbacks --------------------------------------------------------------- */

/* Sees the request target as it came, before it is decoded and cut up. */
static void *request_began(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)cls;
    (void)connection;
    size_t len = strlen(uri);
    struct call *call = malloc(sizeof *call + len + 1);
    if (!call)
        return NULL;
    call->body_len = 0;
    call->has_headers = false;
    memcpy(call->uri, uri, len + 1);
    call->query = strchr(call->uri, '?');
    if (call->query)
        *call->query++ = 0;
    else
        call->query = call->uri + len;
    return call;
}

static void request_ended(void *cls, struct MHD_Connection *connection, void **con_cls,
                          enum MHD_RequestTerminationCode code)
{
    struct http_server *s = cls;
    (void)connection;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        s->counters.n_bad++;
    free(*con_cls);
    *con_cls = NULL;
}

static void connection_changed(void *cls, struct MHD_Connection *connection, void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = cls;
    (void)connection;
    (void)socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        s->counters.n_connections++;
        s->n_conns++;
    } else {
        s->n_conns--;
    }
}

static struct addr peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct sockaddr_storage ss = {0};
    if (!info || !info->client_addr)
        return (struct addr){.family = ADDR_NONE};
    bool is_v4 = info->client_addr->sa_family == AF_INET;
    memcpy(&ss, info->client_addr,
           is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    return sockaddr_to_addr(&ss);
}

static enum MHD_Result answer(struct http_server *s, struct MHD_Connection *connection,
                              const char *method, const struct call *call)
{
    struct http_request request = {method, call->uri, bytes_of_str(call->query),
                                   peer_of(connection)};
    struct http_response response = {.status = MHD_HTTP_OK};
    s->counters.n_requests++;
    s->fn(s->ctx, &request, &response);
    struct MHD_Response *r = MHD_create_response_from_buffer(
        response.body.len, (void *)(uintptr_t)response.body.data,
        response.is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                            response.content_type ? response.content_type : "text/plain");
    enum MHD_Result result =
        MHD_queue_response(connection, response.status ? response.status : MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return result;
}

/* Called with the headers, with each part of the body, and at the end. */
static enum MHD_Result request_came(void *cls, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_data_size,
                                    void **con_cls)
{
    struct http_server *s = cls;
    struct call *call = *con_cls;
    (void)url;
    (void)version;
    (void)upload_data;
    if (!call)
        return MHD_NO;
    if (!call->has_headers) {
        call->has_headers = true;
        return MHD_YES;
    }
    if (*upload_data_size > 0) {
        call->body_len += *upload_data_size;
        *upload_data_size = 0;
        return call->body_len <= BODY_LEN_MAX ? MHD_YES : MHD_NO;
    }
    return answer(s, connection, method, call);
}

/* --- on the loop ----------------------------------------------------------------------------- */

static void server_run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;
    unsigned n_before;
    /* At its limit libmicrohttpd stops listening; it looks at that only when a run begins, so one
     * more is due after a connection has ended. */
    do {
        n_before = s->n_conns;
        MHD_run(s->daemon);
    } while (s->n_conns < n_before);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        loop_timer_set(s->timer, clock_now_us() + ms * US_PER_MS);
    else
        loop_timer_stop(s->timer);
}

static void epoll_ready(void *ctx, bool is_readable, bool is_writable)
{
    (void)is_readable;
    (void)is_writable;
    server_run(ctx);
}

static void timeout_passed(void *ctx)
{
    server_run(ctx);
}

/* --- life ------------------------------------------------------------------------------------ */

static enum err_code daemon_start(struct http_server *s, const struct http_server_config *config,
                                  int fd, struct err *err)
{
    size_t header_len = config->header_len_max ? config->header_len_max : HEADER_LEN_MAX_DEFAULT;
    /* Turbo: an accepted connection is read from at once, and closed without shutdown() before. */
    unsigned flags =
        MHD_USE_EPOLL | MHD_USE_TURBO | (config->bind.family == ADDR_V6 ? MHD_USE_IPv6 : 0);
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, request_came, s, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, config->n_conns_max ? config->n_conns_max : N_CONNS_DEFAULT,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->n_conns_per_ip_max,
        /* The pool holds what was read and the head of what is written. It is wiped for each
         * request: no larger than it must be. */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, header_len + HEADER_LEN_OTHER,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)1024, MHD_OPTION_CONNECTION_TIMEOUT,
        config->timeout_s ? config->timeout_s : TIMEOUT_S_DEFAULT, MHD_OPTION_URI_LOG_CALLBACK,
        request_began, s, MHD_OPTION_NOTIFY_COMPLETED, request_ended, s,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, s, MHD_OPTION_END);
    if (!s->daemon)
        return err_set_at(err, ERR_IO, "cannot start the HTTP server", s->addr.port,
                          (uint64_t)errno, 0);
    return ERR_OK;
}

static enum err_code server_open(struct http_server *s, struct loop *l,
                                 const struct http_server_config *config, struct err *err)
{
    int fd;
    enum err_code code = sockaddr_bind(&fd, SOCK_STREAM, &config->bind, err);
    if (code)
        return code;
    s->addr = sockaddr_of_socket(fd);
    code = listen(fd, LISTEN_BACKLOG) < 0
               ? err_set_at(err, ERR_IO, "cannot listen", s->addr.port, (uint64_t)errno, 0)
               : daemon_start(s, config, fd, err);
    if (code) {
        close(fd);
        return code;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    code = loop_poll_new(&s->poll, l, info->epoll_fd, epoll_ready, s, err);
    if (code)
        return code;
    loop_poll_set(s->poll, true, false);
    if (loop_timer_new(&s->timer, l, timeout_passed, s))
        return err_set(err, ERR_NO_MEMORY, "no memory for the HTTP server");
    return ERR_OK;
}

enum err_code http_server_new(struct http_server **out, struct loop *l,
                              const struct http_server_config *config,
                              void (*fn)(void *ctx, const struct http_request *request,
                                         struct http_response *out),
                              void *ctx, struct err *err)
{
    *out = NULL;
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for the HTTP server");
    s->fn = fn;
    s->ctx = ctx;
    enum err_code code = server_open(s, l, config, err);
    if (code) {
        http_server_free(s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    loop_poll_free(s->poll);
    loop_timer_free(s->timer);
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* closes the listening socket as well */
    free(s);
}

struct addr http_server_addr(const struct http_server *s)
{
    return s->addr;
}

const struct http_server_counters *http_server_counters(const struct http_server *s)
{
    return &s->counters;
}
