/* io_host: the real world behind struct torrent_host, for one session on one loop.
 *
 *   io_host_new(&host, ...);                    sockets are bound, the port is known
 *   session_new(..., io_host_table(host), ...); the session's table
 *   io_host_attach(host, session);              from here on inputs reach the session
 *   loop_run(loop);
 *   io_host_free(host); session_free(session);  in this order: jobs under way end first
 *
 * Ownership  loop, workers, resume store and session are borrowed
 * Threads    the loop's thread
 * Errors     io_host_new: ERR_IO (bind), ERR_NO_MEMORY; later ones become inputs of the session
 */
#pragma once
#include "base/log.h"
#include "io/tcp.h"
#include "torrent/host.h"

struct loop;
struct workers;
struct file_cache;
struct resume_store;
struct session;
struct io_host;

struct io_host_config {
    struct loop *loop;
    struct workers *workers;
    struct file_cache *files;    /* descriptors, shared by all hosts of the process */
    struct resume_store *resume; /* NULL: resume_save succeeds and keeps nothing */
    struct log *log;             /* may be NULL */
    struct tcp_config net;
    bool is_udp_off;
    /* Once per turn, after its inputs: drain events here. It may call session_* functions. May be
     * NULL. */
    void (*on_turn)(void *ctx, uint64_t now_us);
    void *on_turn_ctx;
};

enum err_code io_host_new(struct io_host **out, const struct io_host_config *config,
                          struct err *err) MUST_USE;
const struct torrent_host *io_host_table(struct io_host *h); /* lives as long as the host */
void io_host_attach(struct io_host *h, struct session *s);
uint16_t io_host_listen_port(const struct io_host *h);
/* After calling session_* from outside the loop's callbacks: a turn comes without delay. */
void io_host_poke(struct io_host *h);
const struct tcp_counters *io_host_tcp_counters(const struct io_host *h);
/* Closes connections at once, waits for storage jobs under way; no input reaches the session. To
 * end well, stop the torrents first and run the loop until their EVENT_STOPPED. */
void io_host_free(struct io_host *h);
