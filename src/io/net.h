/* net: TCP connections of one session over IPv4 and IPv6, on non-blocking sockets of its own.
 *
 * All sockets sit edge-triggered in one epoll set that the loop watches, so no system call is
 * spent on changing interest. Bytes are read straight into spans that the owner lends; what the
 * owner sends in one turn leaves together before the loop sleeps; data of files goes by sendfile
 * or one batched read, and only if a look-up says it would not wait for a disk.
 *
 *   net_connect --> CONNECTING --connected--> OPEN --net_close--> FLUSHING --> gone
 *                        |                      |
 *                        +------ closed --------+
 *
 * Ownership  a connection is net's; it is named by the owner's conn number (never 0)
 * Threads    the loop's thread
 * Errors     of a connection: once, through closed(); none after net_close
 * Bounds     n_conns_max; per connection: what is queued stays within the room announced (more is
 *            refused and closes it); bytes read per turn and connection; seconds for connecting
 *            and for flushing
 */
#pragma once
#include "base/addr.h"
#include "base/bytes.h"

struct loop;
struct net;

#define NET_CONNECT_US_MAX 10000000u /* ours: BEP 3 leaves it open */
#define NET_FLUSH_US_MAX   3000000u  /* ours: what was sent before close */
#define NET_READ_TURN_LEN  (1024u * 1024u)

enum net_file_state { NET_FILE_READY, NET_FILE_COLD, NET_FILE_ERROR };

struct net_file {
    uint32_t store, file; /* the owner's names */
    uint64_t off;
    uint32_t len;
};

struct net_owner {
    void *ctx;
    bool (*accepted)(void *ctx, const struct addr *from, uint32_t *out_conn); /* false: close it */
    void (*connected)(void *ctx, uint32_t conn);
    void (*closed)(void *ctx, uint32_t conn, const struct err *err); /* conn is gone */
    size_t (*lend)(void *ctx, uint32_t conn, struct span *out, size_t out_cap);
    void (*took)(void *ctx, uint32_t conn, size_t len);
    void (*room)(void *ctx, uint32_t conn, size_t room_len);
    /* A descriptor to read f from, without opening anything: given back at once by file_release.
     * can_wait: the range was warmed, so a read that might wait is fine. */
    enum net_file_state (*file_acquire)(void *ctx, const struct net_file *f, int *out_fd,
                                        bool *out_is_warm, void **out_token);
    void (*file_release)(void *ctx, void *token);
    /* Open f and bring it into the page cache, somewhere else; then net_file_ready(conn, err). */
    void (*file_warm)(void *ctx, uint32_t conn, const struct net_file *f);
    /* f cannot be read. The connection was closed; closed() is not called. */
    void (*file_failed)(void *ctx, uint32_t conn, const struct net_file *f, const struct err *err);
};

enum net_upload {
    NET_UPLOAD_BATCH,   /* one read for many blocks, one sendmsg; measured fastest for 16 KiB blocks
                         */
    NET_UPLOAD_SENDFILE /* sendfile per block behind MSG_MORE */
};

struct net_config {
    struct addr bind4,
        bind6; /* family ADDR_NONE: that family is off. Listens there, dials from there */
    uint16_t port, port_last; /* 0: any. A busy port: the next, up to port_last, then any */
    bool is_port_strict;      /* a busy port is an error instead */
    bool is_listen_off;
    uint32_t n_conns_max; /* sockets; 0: 4000, less if RLIMIT_NOFILE asks for it */
    size_t room_len;      /* queued per connection; 0: default */
    enum net_upload upload;
};

/* Why sockets were refused or closed by net itself. */
struct net_counters {
    uint64_t n_accepted, n_connected, n_accept_limit, n_accept_refused, n_accept_no_descriptor,
        n_connect_failed, n_connect_timeout, n_over_room, n_flush_timeout, n_file_cold,
        n_file_failed;
    uint64_t n_reads, n_writes, n_file_reads, read_len, write_len, file_len;
};

enum err_code net_new(struct net **out, struct loop *l, const struct net_config *config,
                      const struct net_owner *owner, struct err *err) MUST_USE;
void net_free(struct net *n);                  /* closes all at once; nothing is called back */
uint16_t net_listen_port(const struct net *n); /* 0: not listening */

void net_connect(struct net *n, uint32_t conn, const struct addr *to);
void net_send(struct net *n, uint32_t conn, struct bytes b);
void net_send_zeros(struct net *n, uint32_t conn, size_t len);
void net_send_file(struct net *n, uint32_t conn, const struct net_file *f);
void net_file_ready(struct net *n, uint32_t conn, const struct err *err); /* err NULL: it is warm */
void net_want_read(struct net *n, uint32_t conn);
void net_close(struct net *n, uint32_t conn);
/* Sends what the turn gathered and calls owner->room; true: call again before sleeping. */
bool net_flush(struct net *n);
uint32_t net_n_conns(const struct net *n); /* flushing ones included */
const struct net_counters *net_counters(const struct net *n);
