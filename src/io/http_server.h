/* http_server: small HTTP/1.1 server (libmicrohttpd) on the loop: the tracker, later RPC.
 *
 * The handler is called for each whole request and answers at once. The peer's address is that of
 * the socket: X-Forwarded-For is not looked at.
 *
 * Ownership  the request is valid during the call; the response's body is copied unless is_static
 * Threads    the loop's thread
 * Errors     http_server_new: ERR_IO (bind), ERR_NO_MEMORY
 * Bounds     connections, connections per address, header bytes, seconds of silence; a request
 *            body is read and dropped (up to 64 KiB, then the connection is closed)
 */
#pragma once
#include "base/addr.h"

struct loop;
struct http_server;

struct http_request {
    const char *method; /* "GET" */
    const char *path;   /* decoded by nobody: as it came, before '?' */
    struct bytes query; /* raw, after '?'; empty when there is none */
    struct addr peer;
};

struct http_response {
    uint32_t status;          /* 200 when left 0 */
    const char *content_type; /* NULL: text/plain */
    struct bytes body;
    bool is_static; /* the body outlives the server */
};

struct http_server_config {
    struct addr bind;            /* one family; port 0: any */
    uint32_t n_conns_max;        /* 0: 1000 */
    uint32_t n_conns_per_ip_max; /* 0: no limit of its own */
    size_t header_len_max;       /* 0: 8 KiB, request line included */
    uint32_t timeout_s;          /* 0: 15 */
};

struct http_server_counters {
    uint64_t n_requests, n_connections, n_bad; /* bad: malformed, too long, or an unknown body */
};

enum err_code http_server_new(struct http_server **out, struct loop *l,
                              const struct http_server_config *config,
                              void (*fn)(void *ctx, const struct http_request *request,
                                         struct http_response *out),
                              void *ctx, struct err *err) MUST_USE;
void http_server_free(struct http_server *s); /* NULL is fine */
struct addr http_server_addr(const struct http_server *s);
const struct http_server_counters *http_server_counters(const struct http_server *s);
