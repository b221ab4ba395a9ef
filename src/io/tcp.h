/* tcp: TCP connections of one session over IPv4 and IPv6, on non-blocking sockets of its own.
 *
 * All sockets sit edge-triggered in one epoll set that the loop watches, so no system call is
 * spent on changing interest. Bytes are read straight into spans that the owner lends; what the
 * owner sends in one turn leaves together before the loop sleeps; data of files goes out of a
 * mapping, lent or copied, or by one batched read, and only if that would not wait for a disk.
 *
 *   tcp_connect --> CONNECTING --connected--> OPEN --tcp_close--> FLUSHING --> gone
 *                        |                      |
 *                        +------ closed --------+
 *
 * Ownership  a connection is the tcp's; it is named by the owner's conn number (never 0)
 * Threads    the loop's thread
 * Errors     of a connection: once, through closed(); none after tcp_close
 * Bounds     n_conns_max; per connection: what is queued stays within the room announced (more is
 *            refused and closes it); bytes read per turn and connection; seconds for connecting
 *            and for flushing
 */
#pragma once
#include "base/addr.h"
#include "base/bytes.h"

struct loop;
struct tcp;

#define TCP_CONNECT_US_MAX 10000000u /* default, ours: BEP 3 leaves it open */
#define TCP_FLUSH_US_MAX   3000000u  /* ours: what was sent before close */
#define TCP_READ_TURN_LEN  (1024u * 1024u)
#define TCP_FILE_MAP_LEN   (512u * 1024u) /* file data in one message */

enum tcp_file_state {
    TCP_FILE_READY,
    TCP_FILE_IN_MEMORY, /* ready, and no read of it waits: on a file system without a disk */
    TCP_FILE_COLD,
    TCP_FILE_ERROR
};

struct tcp_file {
    uint32_t store, file; /* the owner's names */
    uint64_t off;
    uint32_t len;
};

struct tcp_owner {
    void *ctx;
    bool (*accepted)(void *ctx, const struct addr *from, uint32_t *out_conn); /* false: close it */
    void (*connected)(void *ctx, uint32_t conn);
    void (*closed)(void *ctx, uint32_t conn, const struct err *err); /* conn is gone */
    size_t (*lend)(void *ctx, uint32_t conn, struct span *out, size_t out_cap);
    void (*took)(void *ctx, uint32_t conn, size_t len);
    void (*room)(void *ctx, uint32_t conn, size_t room_len);
    /* A descriptor to read f from, without opening anything; given back at once by file_release.
     * *out_is_warm: f was read or written just now, so that a plain read will hardly wait; asked
     * where the file system cannot say it itself (RWF_NOWAIT). */
    enum tcp_file_state (*file_acquire)(void *ctx, const struct tcp_file *f, int *out_fd,
                                        bool *out_is_warm, void **out_token);
    void (*file_release)(void *ctx, void *token);
    /* f, up to TCP_FILE_MAP_LEN, for system calls alone to copy from or to lend from, which then do
     * not wait for a disk; until file_unmap, before file_release. NULL: it must be read. */
    const uint8_t *(*file_map)(void *ctx, const struct tcp_file *f, void *token, bool is_in_memory,
                               void **out_map);
    void (*file_unmap)(void *ctx, void *map);
    /* Open f and bring it into the page cache, somewhere else; then tcp_file_ready(conn, err).
     * False: there is no memory for that; the connection fails. */
    bool (*file_warm)(void *ctx, uint32_t conn, const struct tcp_file *f);
    /* f cannot be read. The connection was closed; closed() is not called. */
    void (*file_failed)(void *ctx, uint32_t conn, const struct tcp_file *f, const struct err *err);
};

/* How many blocks leave together. Lending pages (splice_pipe.h) saves a copy, but not where TCP paces
 * itself by timers (bbr): there time passes anyway, and each packet that is ready too early costs an
 * interrupt. */
enum tcp_upload {
    TCP_UPLOAD_AUTO,   /* as the socket's congestion control has it */
    TCP_UPLOAD_COPY,   /* sendmsg */
    TCP_UPLOAD_SPLICE, /* without a copy what is mapped, if the system lets us */
};

struct tcp_config {
    struct addr bind4,
        bind6; /* family ADDR_NONE: that family is off. Listens there, dials from there */
    uint16_t port, port_last; /* 0: any. A busy port: the next, up to port_last, then any */
    bool is_port_strict;      /* a busy port is an error instead */
    bool is_listen_off;
    uint32_t n_conns_max; /* sockets; 0: 4000, less if RLIMIT_NOFILE asks for it */
    size_t room_len;      /* queued per connection; 0: default */
    enum tcp_upload upload;
    const char *congestion_control; /* of all connections (TCP_CONGESTION); NULL: the system's */
    uint32_t connect_us_max;        /* 0: TCP_CONNECT_US_MAX */
};

/* Why sockets were refused or closed without the owner. */
struct tcp_counters {
    uint64_t n_accepted, n_connected, n_accept_limit, n_accept_refused, n_accept_no_descriptor,
        n_connect_failed, n_connect_timeout, n_over_room, n_flush_timeout, n_file_cold,
        n_file_failed;
    uint64_t n_reads, n_writes, n_file_reads, n_file_maps, read_len, write_len, file_len;
    uint64_t n_splices;  /* of n_writes */
    uint64_t unsent_len; /* of files, read or lent for a message that was not taken whole */
};

/* ERR_UNSUPPORTED: the system does not have that congestion control, or only for root. */
enum err_code tcp_new(struct tcp **out, struct loop *l, const struct tcp_config *config,
                      const struct tcp_owner *owner, struct err *err) MUST_USE;
void tcp_free(struct tcp *n);                  /* closes all at once; nothing is called back */
uint16_t tcp_listen_port(const struct tcp *n); /* 0: not listening */

void tcp_connect(struct tcp *n, uint32_t conn, const struct addr *to);
void tcp_send(struct tcp *n, uint32_t conn, struct bytes b);
void tcp_send_zeros(struct tcp *n, uint32_t conn, size_t len);
void tcp_send_file(struct tcp *n, uint32_t conn, const struct tcp_file *f);
void tcp_file_ready(struct tcp *n, uint32_t conn, const struct err *err); /* err NULL: it is warm */
void tcp_want_read(struct tcp *n, uint32_t conn);
/* Flushes what is queued, except data of files that are not in the page cache. */
void tcp_close(struct tcp *n, uint32_t conn);
/* Both once per turn, from a loop hook; true: call again before sleeping. tcp_read accepts, reads
 * and reports; tcp_flush sends what the turn gathered and announces room. */
bool tcp_read(struct tcp *n);
bool tcp_flush(struct tcp *n);
uint32_t tcp_n_conns(const struct tcp *n); /* flushing ones included */
const struct tcp_counters *tcp_counters(const struct tcp *n);
