#include "io/host.h"
#include "base/timer.h"
#include "io/fetch.h"
#include "io/host_jobs.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/udp.h"
#include "store/file_window.h"
#include "store/resume_store.h"
#include "torrent/layout.h"
#include "torrent/session.h"
#include <assert.h>

#define N_LOST_MAX 64u

/* A look-up or fetch that could not even begin. */
struct lost_job {
    uint64_t job;
    bool is_fetch;
};

struct io_host {
    struct io_host_config config;
    struct torrent_host table;
    struct session *session; /* NULL: not attached yet, or shutting down */
    struct loop_hook *hook;
    struct loop_timer *timer;
    struct tcp *tcp;
    struct udp *udp4, *udp6;
    struct fetch_client *fetch;
    struct resolver *resolver;
    struct host_jobs *jobs;
    struct lost_job lost[N_LOST_MAX];
    uint32_t n_lost;
};

/* --- inputs: what the parts report, as doors of the session ---------------------------------- */

static bool in_accepted(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    struct io_host *h = ctx;
    return h->session && session_on_accept(h->session, clock_now_us(), from, out_conn);
}

static void in_connected(void *ctx, uint32_t conn)
{
    struct io_host *h = ctx;
    session_on_connected(h->session, clock_now_us(), conn);
}

static void in_closed(void *ctx, uint32_t conn, const struct err *err)
{
    struct io_host *h = ctx;
    session_on_closed(h->session, clock_now_us(), conn, err);
}

static size_t in_lend(void *ctx, uint32_t conn, struct span *out, size_t out_cap)
{
    struct io_host *h = ctx;
    return session_lend(h->session, clock_now_us(), conn, out, out_cap);
}

static void in_took(void *ctx, uint32_t conn, size_t len)
{
    struct io_host *h = ctx;
    session_on_bytes(h->session, clock_now_us(), conn, len);
}

static void in_room(void *ctx, uint32_t conn, size_t room_len)
{
    struct io_host *h = ctx;
    session_on_room(h->session, clock_now_us(), conn, room_len);
}

static void datagram_came(void *ctx, const struct addr *from, struct bytes b)
{
    struct io_host *h = ctx;
    if (h->session)
        session_on_datagram(h->session, clock_now_us(), from, b);
}

static void resolved(void *ctx, uint64_t job, const struct err *err, const struct addr *addrs,
                     size_t n_addrs)
{
    struct io_host *h = ctx;
    if (h->session)
        session_on_resolved(h->session, clock_now_us(), job, err, addrs, n_addrs);
}

static void fetched(void *ctx, uint64_t job, const struct err *err, uint32_t http_status,
                    struct bytes body)
{
    struct io_host *h = ctx;
    if (h->session)
        session_on_fetched(h->session, clock_now_us(), job, err, http_status, body);
}

static void job_done(void *ctx, uint64_t job, const struct err *err)
{
    struct io_host *h = ctx;
    if (h->session)
        session_on_done(h->session, clock_now_us(), job, err);
}

/* --- files for the network ------------------------------------------------------------------- */

static enum tcp_file_state file_acquire(void *ctx, const struct tcp_file *f, int *out_fd,
                                        bool *out_is_warm, void **out_token)
{
    struct io_host *h = ctx;
    struct file_store *fs = host_jobs_store(h->jobs, f->store);
    if (!fs)
        return TCP_FILE_ERROR;
    struct open_file *of = file_store_open_file(fs, f->file);
    if (!of)
        return TCP_FILE_COLD;
    *out_fd = open_file_fd(of);
    *out_is_warm = !file_store_is_in_memory(fs) &&
                   host_jobs_is_warm(h->jobs, f->store, f->file, f->off, f->len);
    *out_token = of;
    return file_store_is_in_memory(fs) ? TCP_FILE_IN_MEMORY : TCP_FILE_READY;
}

static void file_release(void *ctx, void *token)
{
    struct io_host *h = ctx;
    open_file_release(h->config.files, token);
}

static_assert(FILE_WINDOW_RANGE_MAX >= TCP_FILE_MAP_LEN, "what tcp asks for fits a window");

static const uint8_t *file_map(void *ctx, const struct tcp_file *f, void *token, bool is_in_memory,
                               void **out_map)
{
    struct io_host *h = ctx;
    struct file_window *w = open_file_window(h->config.files, token, f->off, f->len, is_in_memory);
    *out_map = w;
    return w ? file_window_at(w, f->off) : NULL;
}

static void file_unmap(void *ctx, void *map)
{
    struct io_host *h = ctx;
    file_cache_window_release(h->config.files, map);
}

static bool file_warm(void *ctx, uint32_t conn, const struct tcp_file *f)
{
    struct io_host *h = ctx;
    return host_jobs_warm(h->jobs, conn, f->store, f->file, f->off, f->len);
}

static void file_warmed(void *ctx, uint32_t conn, const struct err *err)
{
    struct io_host *h = ctx;
    tcp_file_ready(h->tcp, conn, err);
}

static void file_failed(void *ctx, uint32_t conn, const struct tcp_file *f, const struct err *err)
{
    struct io_host *h = ctx;
    uint64_t now_us = clock_now_us();
    uint32_t torrent = f->store;
    LOG(h->config.log, LOG_DEBUG, "host", "upload failed torrent=%u file=%u", torrent, f->file);
    session_on_closed(h->session, now_us, conn, err);
    session_on_store_error(h->session, now_us, torrent, err);
}

/* --- a turn of the loop ---------------------------------------------------------------------- */

static void deliver_lost(struct io_host *h)
{
    struct err err = {ERR_NO_MEMORY, "no memory for a request", 0, 0, 0};
    struct lost_job lost[N_LOST_MAX];
    uint32_t n = h->n_lost;
    memcpy(lost, h->lost, n * sizeof lost[0]);
    h->n_lost = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (lost[i].is_fetch)
            fetched(h, lost[i].job, &err, 0, (struct bytes){0});
        else
            resolved(h, lost[i].job, &err, NULL, 0);
    }
}

/* Reads what came, lets the session act, sends what that gave, sets the alarm, and sleeps. */
static bool turn(void *ctx)
{
    struct io_host *h = ctx;
    struct session *s = h->session;
    if (!s)
        return false;
    bool has_more = tcp_read(h->tcp);
    has_more |= host_jobs_deliver(h->jobs);
    if (h->n_lost)
        deliver_lost(h);
    uint64_t now_us = clock_now_us();
    if (session_deadline_us(s) <= now_us)
        session_on_tick(s, now_us);
    has_more |= tcp_flush(h->tcp);
    if (h->config.on_turn) {
        h->config.on_turn(h->config.on_turn_ctx, now_us);
        has_more |= tcp_flush(h->tcp);
    }
    loop_timer_set(h->timer, session_deadline_us(s));
    return has_more || h->n_lost > 0 || host_jobs_has_answers(h->jobs);
}

/* Only wakes the loop: the turn itself comes before it sleeps again. */
static void deadline_passed(void *ctx)
{
    (void)ctx;
}

/* --- the table ------------------------------------------------------------------------------- */

static void host_connect(void *ctx, uint32_t conn, const struct addr *to)
{
    struct io_host *h = ctx;
    tcp_connect(h->tcp, conn, to);
}

static void host_send(void *ctx, uint32_t conn, struct bytes b)
{
    struct io_host *h = ctx;
    tcp_send(h->tcp, conn, b);
}

static void host_send_block(void *ctx, uint32_t conn, struct bytes head, uint32_t torrent,
                            uint32_t piece, uint32_t begin, uint32_t len)
{
    struct io_host *h = ctx;
    const struct layout *l = host_jobs_layout(h->jobs, torrent);
    tcp_send(h->tcp, conn, head);
    if (!l) { /* the connection fails when this is to be read */
        tcp_send_file(h->tcp, conn, &(struct tcp_file){torrent, 0, 0, len});
        return;
    }
    struct layout_walk walk = layout_walk(l, piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        struct tcp_file f = {torrent, run.file, run.file_off, run.len};
        if (run.is_pad)
            tcp_send_zeros(h->tcp, conn, run.len);
        else
            tcp_send_file(h->tcp, conn, &f);
    }
}

static void host_want_read(void *ctx, uint32_t conn)
{
    struct io_host *h = ctx;
    tcp_want_read(h->tcp, conn);
}

static void host_close(void *ctx, uint32_t conn)
{
    struct io_host *h = ctx;
    tcp_close(h->tcp, conn);
}

static void host_datagram(void *ctx, const struct addr *to, struct bytes b)
{
    struct io_host *h = ctx;
    struct udp *u = to->family == ADDR_V4 ? h->udp4 : h->udp6;
    if (u)
        udp_send(u, to, b);
}

static void note_lost(struct io_host *h, uint64_t job, bool is_fetch)
{
    assert(h->n_lost < N_LOST_MAX);
    h->lost[h->n_lost++] = (struct lost_job){job, is_fetch};
}

static void host_resolve(void *ctx, uint64_t job, const char *name, uint16_t port)
{
    struct io_host *h = ctx;
    if (resolve_start(h->resolver, name, port, resolved, h, job))
        note_lost(h, job, false);
}

static void host_fetch(void *ctx, uint64_t job, const struct fetch *request)
{
    struct io_host *h = ctx;
    if (fetch_start(h->fetch, request, fetched, h, job))
        note_lost(h, job, true);
}

static void host_store_open(void *ctx, uint64_t job, struct store_open *request)
{
    struct io_host *h = ctx;
    host_jobs_open(h->jobs, job, request);
}

static void host_store_put(void *ctx, uint64_t job, struct store_put *request)
{
    struct io_host *h = ctx;
    host_jobs_put(h->jobs, job, request);
}

static void host_store_check(void *ctx, uint64_t job, struct store_check *request)
{
    struct io_host *h = ctx;
    host_jobs_check(h->jobs, job, request);
}

static void host_store_read(void *ctx, uint64_t job, struct store_read *request)
{
    struct io_host *h = ctx;
    host_jobs_read(h->jobs, job, request);
}

static void host_store_sync(void *ctx, uint64_t job, uint32_t torrent)
{
    struct io_host *h = ctx;
    host_jobs_sync(h->jobs, job, torrent);
}

static void host_store_stat(void *ctx, uint64_t job, uint32_t torrent,
                            struct store_file_stat *out_files)
{
    struct io_host *h = ctx;
    host_jobs_stat(h->jobs, job, torrent, out_files);
}

static void host_store_close(void *ctx, uint64_t job, uint32_t torrent)
{
    struct io_host *h = ctx;
    host_jobs_close(h->jobs, job, torrent);
}

static void host_resume_save(void *ctx, uint64_t job, struct bytes key, struct bytes resume,
                             bool is_final)
{
    struct io_host *h = ctx;
    host_jobs_resume(h->jobs, job, key, resume, is_final);
}

static const struct torrent_host table = {
    .connect = host_connect,
    .send = host_send,
    .send_block = host_send_block,
    .want_read = host_want_read,
    .close = host_close,
    .datagram = host_datagram,
    .resolve = host_resolve,
    .fetch = host_fetch,
    .store_open = host_store_open,
    .store_put = host_store_put,
    .store_check = host_store_check,
    .store_read = host_store_read,
    .store_sync = host_store_sync,
    .store_stat = host_store_stat,
    .store_close = host_store_close,
    .resume_save = host_resume_save,
};

/* --- life ------------------------------------------------------------------------------------ */

/* On the port of the TCP listener where that is free, else on any. A family that the machine does
 * not have is left out. */
static void udp_open(struct io_host *h, struct udp **out, const struct addr *bind)
{
    struct addr a = *bind;
    if (a.family == ADDR_NONE || h->config.is_udp_off)
        return;
    a.port = tcp_listen_port(h->tcp);
    if (udp_new(out, h->config.loop, &a, datagram_came, NULL, h, NULL) == ERR_OK)
        return;
    a.port = 0;
    struct err err;
    char text[100];
    if (udp_new(out, h->config.loop, &a, datagram_came, NULL, h, &err))
        LOG(h->config.log, LOG_WARN, "host", "no datagrams family=%u: %s", bind->family,
            err_format(&err, text, sizeof text));
}

static enum err_code host_open(struct io_host *h, struct err *err)
{
    const struct io_host_config *cf = &h->config;
    struct tcp_owner owner = {h,          in_accepted, in_connected, in_closed,    in_lend,
                              in_took,    in_room,     file_acquire, file_release, file_map,
                              file_unmap, file_warm,   file_failed};
    struct host_jobs_owner jobs_owner = {h, job_done, file_warmed};
    enum err_code code = tcp_new(&h->tcp, cf->loop, &cf->net, &owner, err);
    if (code)
        return code;
    udp_open(h, &h->udp4, &cf->net.bind4);
    udp_open(h, &h->udp6, &cf->net.bind6);
    code = fetch_client_new(&h->fetch, cf->loop, &cf->net.bind4, &cf->net.bind6, err);
    if (code == ERR_OK)
        code = resolver_new(&h->resolver, cf->loop, err);
    if (code == ERR_OK)
        code =
            host_jobs_new(&h->jobs, cf->loop, cf->workers, cf->files, cf->resume, &jobs_owner, err);
    if (code == ERR_OK && (loop_timer_new(&h->timer, cf->loop, deadline_passed, h) ||
                           loop_hook_new(&h->hook, cf->loop, turn, h)))
        code = err_set(err, ERR_NO_MEMORY, "no memory for the host");
    return code;
}

enum err_code io_host_new(struct io_host **out, const struct io_host_config *config,
                          struct err *err)
{
    *out = NULL;
    struct io_host *h = calloc(1, sizeof *h);
    if (!h)
        return err_set(err, ERR_NO_MEMORY, "no memory for the host");
    h->config = *config;
    h->table = table;
    h->table.ctx = h;
    enum err_code code = host_open(h, err);
    if (code) {
        io_host_free(h);
        return code;
    }
    *out = h;
    return ERR_OK;
}

const struct torrent_host *io_host_table(struct io_host *h)
{
    return &h->table;
}

void io_host_attach(struct io_host *h, struct session *s)
{
    h->session = s;
}

uint16_t io_host_listen_port(const struct io_host *h)
{
    return tcp_listen_port(h->tcp);
}

void io_host_poke(struct io_host *h)
{
    loop_timer_set(h->timer, clock_now_us());
}

const struct tcp_counters *io_host_tcp_counters(const struct io_host *h)
{
    return tcp_counters(h->tcp);
}

void io_host_free(struct io_host *h)
{
    if (!h)
        return;
    h->session = NULL;
    loop_hook_free(h->hook);
    loop_timer_free(h->timer);
    udp_free(h->udp4);
    udp_free(h->udp6);
    fetch_client_free(h->fetch);
    resolver_free(h->resolver);
    tcp_free(h->tcp);
    host_jobs_free(h->jobs); /* engine buffers are free again after this */
    free(h);
}
