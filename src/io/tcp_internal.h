/* tcp_internal: what tcp.c (sockets, reading) and tcp_out.c (queues, sending) share. */
#pragma once
#include "base/bqueue.h"
#include "base/list.h"
#include "base/map.h"
#include "io/splice_pipe.h"
#include "io/tcp.h"

#define TCP_ROOM_LEN_DEFAULT (1024u * 1024u)
#define TCP_ROOM_LEN_FIRST   (256u * 1024u)
#define TCP_ROOM_LEN_MIN     (160u * 1024u) /* holds the longest block a peer may ask for */
#define TCP_ROOM_US          500000u /* ours: what the far side takes in that time is queued */
#define TCP_ROOM_SLACK_LEN   (64u * 1024u) /* ours: small messages that crossed an announcement */
#define TCP_BATCH_LEN        TCP_FILE_MAP_LEN /* file data read or mapped for one sendmsg */
#define TCP_BATCH_LEN_MIN    (64u * 1024u)
#define TCP_SPLICE_LEN_MIN   (64u * 1024u)  /* ours: two more system calls want to be worth it */
#define TCP_UNSENT_LEN_MIN   (128u * 1024u) /* in the kernel, where it cannot be called back */
#define TCP_UNSENT_LEN_MAX   (2048u * 1024u)
#define TCP_UNSENT_US        2000u  /* ours: what the far side takes in that time, within these */
#define TCP_RATE_US          10000u /* ours: and how long that is measured at least */
#define TCP_CONGESTION_CAP   17u    /* the kernel's TCP_CA_NAME_MAX, and a zero */
#define TCP_N_IOV_MAX        128u
#define TCP_N_LOST_MAX       256u

enum tcp_conn_state { TCP_CONNECTING, TCP_OPEN, TCP_FLUSHING };

/* What epoll points at. */
struct tcp_target {
    struct tcp_listener *listener; /* NULL: a connection */
};

/* A run of the out-queue: bytes that are next in `out`, or a range of a file. */
struct tcp_segment {
    bool is_file;
    uint32_t len;
    struct tcp_file file;
};

struct tcp_conn {
    struct tcp_target target;
    struct tcp *tcp;
    struct list_node in_ready, in_dirty, in_deadlines, in_graveyard;
    uint64_t deadline_us; /* connecting, flushing */
    uint32_t id;
    int fd; /* -1: gone, freed with the graveyard */
    enum tcp_conn_state state;
    struct err err;
    bool can_read, can_write; /* until the system says EAGAIN */
    bool is_ending;           /* the far side sent its end, or an error waits */
    bool is_paused;           /* nothing was lent */
    bool is_cold;             /* waits for tcp_file_ready */
    bool is_warmed;           /* just came: the next read may wait */
    bool has_failed;          /* closed() is due */

    struct bqueue out;
    struct tcp_segment *segments; /* ring */
    uint32_t segments_start, n_segments, segments_cap;
    size_t queued_len, room_told;
    size_t room_len, sent_len; /* room at most, by what was sent since room_at_us */
    uint64_t room_at_us;
    size_t batch_len; /* file data worth reading for one sendmsg: follows what the socket takes */
    bool is_spliced;  /* what is mapped goes without a copy */
    uint64_t rate_at_us;
    size_t rate_len, unsent_len_max; /* sent since rate_at_us; TCP_NOTSENT_LOWAT */
};

struct tcp_listener {
    struct tcp_target target;
    int fd;
    bool can_accept;
};

struct tcp {
    struct loop *loop;
    struct tcp_config config;
    char congestion_control[TCP_CONGESTION_CAP]; /* "": the system's */
    struct tcp_owner owner;
    struct tcp_counters counters;
    struct mem mem;
    struct loop_poll *poll;
    struct loop_timer *timer;
    int epoll_fd, spare_fd; /* spare: given up for a moment to refuse a connection after EMFILE */
    struct tcp_listener listeners[2];
    bool is_starved; /* of descriptors: nothing can be accepted until one is closed */
    uint16_t port;
    struct map conns;            /* id -> struct tcp_conn *; connecting and open */
    struct tcp_conn *last_found; /* NULL, or one of conns: blocks go out in rows */
    uint32_t n_conns;
    struct list ready, dirty, graveyard;
    struct list connecting, flushing; /* by deadline */
    uint32_t lost[TCP_N_LOST_MAX];    /* connects that not even memory was there for */
    uint32_t n_lost;
    uint8_t *batch;
    struct splice_pipe pipe;
};

/* tcp.c */
/* The congestion control that was asked for, if one was: before a socket is connected, and for those
 * to be accepted, as bbr's pacing would stay; and after it, as routes may have named another. */
bool tcp_congestion_set(const struct tcp *n, int fd);
struct tcp_conn *tcp_conn_find(struct tcp *n, uint32_t id);
void tcp_conn_fail(struct tcp_conn *c, enum err_code code, const char *what, int sys);
void tcp_conn_destroy(struct tcp_conn *c); /* memory lives until the next tcp_read */
/* tcp_out.c */
void tcp_out_clear(struct tcp_conn *c);
void tcp_out_open(struct tcp_conn *c); /* the connection is: its room is announced */
/* Does this congestion control pace by timers of its own? bbr and its successors do. */
bool tcp_is_paced(const char *name);
/* Half a second's worth of what was sent lately, within bounds: a slow peer's queue stays short,
 * so that what the choker decides is seen soon. */
size_t tcp_room_len_next(size_t room_len_max, size_t sent_len, uint64_t elapsed_us);
/* A power of two: what a peer takes in two milliseconds, so that a fast one is served in few turns. */
size_t tcp_unsent_len_next(size_t sent_len, uint64_t elapsed_us);
/* What the socket did not take was read for nothing: read less next time, more when all went.
 * asked and taken count what lies between the blocks, too, and so can exceed TCP_BATCH_LEN. */
size_t tcp_batch_len_next(size_t batch_len, size_t asked, size_t taken);
