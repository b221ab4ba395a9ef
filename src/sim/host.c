/* host: the doors of the engine and the calls it makes, joined to network and disk. */
#include "sim/host.h"
#include "base/size.h"
#include "torrent/magnet.h"
#include <assert.h>
#include <errno.h>

#define RESOLVE_US      20000u /* a name server near by */
#define HTTP_HEAD_LEN   300u   /* of a request or answer, besides URL and body */
#define TICKS_MAX       10000u /* at one time, and the engine is not going to rest */
#define BLOCK_HEAD_MAX  32u
#define MAGNET_TEXT_MAX 65536u

/* --- sim ------------------------------------------------------------------------------------- */

void sim_init(struct sim *s, struct mem *mem, uint64_t rng_seed)
{
    *s = (struct sim){.mem = mem};
    world_init(&s->w, mem, rng_seed);
    net_init(&s->n, &s->w);
    list_init(&s->hosts);
}

enum err_code sim_add_content(struct sim *s, const struct content_params *p,
                              const struct content **out, struct err *err)
{
    struct content *c;
    enum err_code code = content_new(&c, s->mem, p, err);
    if (code)
        return code;
    s->contents = world_realloc(&s->w, s->contents, (s->n_contents + 1) * sizeof *s->contents);
    s->contents[s->n_contents++] = c;
    *out = c;
    return ERR_OK;
}

static const struct content *find_content(const struct sim *s, const struct metainfo *info)
{
    for (size_t i = 0; i < s->n_contents; i++)
        if (memcmp(metainfo_key(s->contents[i]->info), metainfo_key(info), SHA1_LEN) == 0)
            return s->contents[i];
    return NULL;
}

void sim_clear(struct sim *s)
{
    LIST_EACH(&s->hosts, h, struct sim_host, in_hosts)
    {
        sim_host_crash(h, SIM_KILL);
        disk_clear(&h->disk);
        world_free(&s->w, h);
    }
    net_clear(&s->n);
    for (size_t i = 0; i < s->n_contents; i++)
        content_free(s->contents[i]);
    world_free(&s->w, s->contents);
    world_clear(&s->w);
}

/* --- after each input ------------------------------------------------------------------------ */

static void note_event(struct sim_host *h, const struct session_event *e)
{
    switch (e->kind) {
    case EVENT_PIECE:
        h->stats.n_pieces++;
        break;
    case EVENT_PIECE_BAD:
        h->stats.n_pieces_bad++;
        break;
    case EVENT_PEER_BANNED:
        h->stats.n_banned++;
        break;
    case EVENT_ERROR:
        h->stats.n_errors++;
        break;
    case EVENT_STATE:
        if ((e->state == TORRENT_SEEDING || e->state == TORRENT_FINISHED) &&
            !h->stats.finished_at_us)
            h->stats.finished_at_us = h->sim->w.now_us;
        break;
    default:
        break;
    }
    world_trace(&h->sim->w, TRACE_OWNER, h->index, (uint64_t)e->kind, e->piece);
}

static void after_input(struct sim_host *h)
{
    struct world *w = &h->sim->w;
    struct session_event e;
    h->stats.n_inputs++;
    while (session_next_event(h->session, &e)) {
        note_event(h, &e);
        if (h->on_event)
            h->on_event(h->ctx, h, &e);
    }
    uint64_t at_us = session_deadline_us(h->session);
    if (at_us == DEADLINE_NEVER)
        world_stop(w, &h->tick);
    else if (!sim_event_is_set(&h->tick) || h->tick.at_us != u64_max(at_us, w->now_us))
        world_set(w, &h->tick, u64_max(at_us, w->now_us));
}

static void on_tick(struct world *w, struct sim_event *ev)
{
    struct sim_host *h = CONTAINER_OF(ev, struct sim_host, tick);
    h->n_ticks_here = h->tick_at_us == w->now_us ? h->n_ticks_here + 1 : 0;
    h->tick_at_us = w->now_us;
    assert(h->n_ticks_here < TICKS_MAX); /* the engine's deadline does not move */
    h->stats.n_ticks++;
    session_on_tick(h->session, w->now_us);
    after_input(h);
}

/* --- inputs from network and disk ------------------------------------------------------------ */

static uint64_t now_of(const struct sim_host *h)
{
    return h->sim->w.now_us;
}

static bool door_accept(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    struct sim_host *h = ctx;
    bool is_taken = session_on_accept(h->session, now_of(h), from, out_conn);
    after_input(h);
    return is_taken;
}

static void door_connected(void *ctx, uint32_t conn)
{
    struct sim_host *h = ctx;
    session_on_connected(h->session, now_of(h), conn);
    after_input(h);
}

static void door_closed(void *ctx, uint32_t conn, const struct err *err)
{
    struct sim_host *h = ctx;
    session_on_closed(h->session, now_of(h), conn, err);
    after_input(h);
}

static size_t door_lend(void *ctx, uint32_t conn, struct span *out, size_t out_cap)
{
    struct sim_host *h = ctx;
    return session_lend(h->session, now_of(h), conn, out, out_cap);
}

static void door_laid(void *ctx, uint32_t conn, size_t len)
{
    struct sim_host *h = ctx;
    session_on_bytes(h->session, now_of(h), conn, len);
    after_input(h);
}

static void door_room(void *ctx, uint32_t conn, size_t room_len)
{
    struct sim_host *h = ctx;
    session_on_room(h->session, now_of(h), conn, room_len);
    after_input(h);
}

static void door_datagram(void *ctx, const struct addr *from, struct bytes b)
{
    struct sim_host *h = ctx;
    session_on_datagram(h->session, now_of(h), from, b);
    after_input(h);
}

static const struct net_program host_program = {
    .accept = door_accept,
    .connected = door_connected,
    .closed = door_closed,
    .lend = door_lend,
    .laid = door_laid,
    .room = door_room,
    .datagram = door_datagram,
};

static void disk_done(void *ctx, uint64_t job, const struct err *err)
{
    struct sim_host *h = ctx;
    session_on_done(h->session, now_of(h), job, err);
    after_input(h);
}

/* --- the table: connections ------------------------------------------------------------------ */

static void host_connect(void *ctx, uint32_t conn, const struct addr *to)
{
    struct sim_host *h = ctx;
    net_connect(h->node, conn, to);
}

static void host_send(void *ctx, uint32_t conn, struct bytes b)
{
    struct sim_host *h = ctx;
    net_send(h->node, conn, b);
}

static void host_want_read(void *ctx, uint32_t conn)
{
    struct sim_host *h = ctx;
    net_want_read(h->node, conn);
}

static void host_close(void *ctx, uint32_t conn)
{
    struct sim_host *h = ctx;
    net_close(h->node, conn);
}

static void host_datagram(void *ctx, const struct addr *to, struct bytes b)
{
    struct sim_host *h = ctx;
    net_datagram(h->node, to, b);
}

/* --- jobs: what the host itself answers later ------------------------------------------------ */

enum job_kind { JOB_RESOLVE, JOB_FETCH, JOB_SEND_FAILED };

struct host_job {
    struct list_node in_jobs;
    struct sim_event ev;
    struct sim_host *h;
    enum job_kind kind;
    uint64_t job, given_up_at_us;
    uint32_t conn, torrent; /* JOB_SEND_FAILED */
    struct err err;
    struct addr addr;
    struct net_node *server; /* JOB_FETCH */
    bool is_answer, is_lost;
    uint32_t status;
    size_t body_len_max;
    struct buf body;
    char url[]; /* what is after the host */
};

static void job_free(struct host_job *j)
{
    struct world *w = &j->h->sim->w;
    world_stop(w, &j->ev);
    buf_clear(&j->body);
    list_remove(&j->h->jobs, &j->in_jobs);
    world_free(w, j);
}

static struct host_job *job_new(struct sim_host *h, enum job_kind kind, uint64_t job,
                                struct bytes url, void (*fire)(struct world *, struct sim_event *))
{
    struct host_job *j = world_calloc(&h->sim->w, 1, sizeof *j + url.len + 1);
    j->h = h;
    j->kind = kind;
    j->job = job;
    if (url.len)
        memcpy(j->url, url.data, url.len);
    buf_init(&j->body, h->sim->mem, SIZE_MAX);
    sim_event_init(&j->ev, fire);
    list_push_back(&h->jobs, &j->in_jobs);
    return j;
}

static void resolve_done(struct world *w, struct sim_event *ev)
{
    struct host_job *j = CONTAINER_OF(ev, struct host_job, ev);
    struct sim_host *h = j->h;
    bool is_found = j->addr.family != ADDR_NONE;
    if (!is_found)
        err_set(&j->err, ERR_NOT_FOUND, "no such name");
    session_on_resolved(h->session, w->now_us, j->job, &j->err, &j->addr, is_found);
    job_free(j);
    after_input(h);
}

static struct addr look_up(const struct sim *s, struct bytes name, uint16_t port)
{
    struct addr a = {0};
    const struct addr *known = net_resolve(&s->n, name);
    if (known)
        a = *known;
    else if (addr_parse(name, port, &a))
        return (struct addr){0};
    a.port = port;
    return a;
}

static void host_resolve(void *ctx, uint64_t job, const char *name, uint16_t port)
{
    struct sim_host *h = ctx;
    struct host_job *j = job_new(h, JOB_RESOLVE, job, (struct bytes){0}, resolve_done);
    j->addr = look_up(h->sim, bytes_of_str(name), port);
    world_set(&h->sim->w, &j->ev, h->sim->w.now_us + RESOLVE_US);
}

/* "http://name[:port]" and the rest. */
static bool cut_url(const char *url, struct bytes *name, uint16_t *port, struct bytes *rest)
{
    const char *at = strstr(url, "://");
    if (!at)
        return false;
    at += 3;
    size_t host_len = strcspn(at, "/?"), name_len = strcspn(at, ":/?");
    *port = strncmp(url, "https", 5) == 0 ? 443 : 80;
    if (name_len < host_len)
        *port = (uint16_t)strtoul(at + name_len + 1, NULL, 10);
    *name = bytes_of(at, name_len);
    *rest = bytes_of_str(at + host_len);
    return true;
}

static void fetch_ends(struct host_job *j, enum err_code code, const char *what, uint64_t err_no)
{
    struct sim_host *h = j->h;
    if (code)
        j->err = (struct err){.code = code, .what = what, .got = err_no};
    world_trace(&h->sim->w, TRACE_FETCH, h->index, (uint64_t)code, j->body.len);
    h->stats.fetched_len += j->body.len;
    struct bytes body = code ? (struct bytes){0} : buf_bytes(&j->body);
    session_on_fetched(h->session, now_of(h), j->job, &j->err, code ? 0 : j->status, body);
    job_free(j);
    after_input(h);
}

/* The request is at the server, or then the answer here. */
static void fetch_moves(struct world *w, struct sim_event *ev)
{
    struct host_job *j = CONTAINER_OF(ev, struct host_job, ev);
    struct sim_host *h = j->h;
    if (j->is_lost || (j->server && !net_can_reach(h->node, j->server))) {
        if (w->now_us >= j->given_up_at_us) {
            fetch_ends(j, ERR_IO, "no answer in time", ETIMEDOUT);
            return;
        }
        j->is_lost = true;
        world_set(w, ev, j->given_up_at_us);
        return;
    }
    if (!j->server) {
        fetch_ends(j, ERR_IO, "could not resolve host name", 0);
    } else if (j->is_answer) {
        if (j->status == 0)
            fetch_ends(j, ERR_IO, "connection refused", ECONNREFUSED);
        else if (j->body.len > j->body_len_max)
            fetch_ends(j, ERR_LIMIT, "answer is too long", 0);
        else
            fetch_ends(j, ERR_OK, NULL, 0);
    } else {
        j->status = net_http(j->server, net_addr(h->node), bytes_of_str(j->url), &j->body);
        j->is_answer = true;
        net_charge(j->server, h->node, (uint32_t)j->body.len + HTTP_HEAD_LEN);
        uint64_t at_us = w->now_us + net_path_us(&h->sim->n, j->server, h->node);
        world_set(w, ev, u64_min(at_us, j->given_up_at_us));
    }
}

static void host_fetch(void *ctx, uint64_t job, const struct fetch *q)
{
    struct sim_host *h = ctx;
    struct world *w = &h->sim->w;
    struct bytes name, rest = {0};
    uint16_t port;
    struct addr to = {0};
    if (cut_url(q->url, &name, &port, &rest))
        to = look_up(h->sim, name, port);
    struct host_job *j = job_new(h, JOB_FETCH, job, rest, fetch_moves);
    j->server = to.family != ADDR_NONE ? net_find(&h->sim->n, &to) : NULL;
    j->body_len_max = q->body_len_max;
    j->given_up_at_us = w->now_us + (uint64_t)q->timeout_ms * US_PER_MS;
    uint64_t us = RESOLVE_US;
    if (j->server) { /* the handshake, and then the request */
        net_charge(h->node, j->server, (uint32_t)rest.len + HTTP_HEAD_LEN);
        for (int i = 0; i < 3; i++)
            us += net_path_us(&h->sim->n, h->node, j->server);
    } else if (to.family != ADDR_NONE) {
        j->is_lost = true;
        us = (uint64_t)q->timeout_ms * US_PER_MS;
    }
    world_set(w, &j->ev, u64_min(w->now_us + us, j->given_up_at_us));
}

/* --- the table: storage ---------------------------------------------------------------------- */

static void send_failed(struct world *w, struct sim_event *ev)
{
    struct host_job *j = CONTAINER_OF(ev, struct host_job, ev);
    struct sim_host *h = j->h;
    struct err err = j->err;
    uint32_t conn = j->conn, torrent = j->torrent;
    job_free(j);
    session_on_store_error(h->session, w->now_us, torrent, &err);
    if (net_reset(h->node, conn))
        session_on_closed(h->session, w->now_us, conn, &err);
    after_input(h);
}

static void send_as_it_is(struct sim_host *h, uint32_t conn, const struct content *c,
                          uint32_t piece, uint32_t begin, uint32_t len)
{
    uint8_t *bytes = world_calloc(&h->sim->w, 1, len);
    disk_peek(&h->disk, c, piece, begin, len, bytes);
    net_send(h->node, conn, bytes_of(bytes, len));
    world_free(&h->sim->w, bytes);
    h->stats.n_lies++;
}

static void host_send_block(void *ctx, uint32_t conn, struct bytes head, uint32_t torrent,
                            uint32_t piece, uint32_t begin, uint32_t len)
{
    struct sim_host *h = ctx;
    const struct content *c = disk_content(&h->disk, torrent);
    struct err err = {0};
    assert(c && layout_has_range(&c->info->layout, piece, begin, len));
    enum disk_range range = disk_send(&h->disk, torrent, piece, begin, len, &err);
    if (range == DISK_FAILED) {
        struct host_job *j = job_new(h, JOB_SEND_FAILED, 0, (struct bytes){0}, send_failed);
        j->conn = conn;
        j->torrent = torrent;
        j->err = err;
        world_set(&h->sim->w, &j->ev, h->sim->w.now_us);
        return;
    }
    net_send(h->node, conn, head);
    uint64_t off = (uint64_t)piece * c->info->piece_len + begin;
    if (range == DISK_RIGHT)
        net_send_content(h->node, conn, c, off, len, 0);
    else
        send_as_it_is(h, conn, c, piece, begin, len);
}

static void host_store_open(void *ctx, uint64_t job, struct store_open *q)
{
    struct sim_host *h = ctx;
    const struct content *c = find_content(h->sim, q->info);
    assert(c); /* only contents of this world are shared in it */
    disk_store_open(&h->disk, job, q, c);
}

static void host_store_put(void *ctx, uint64_t job, struct store_put *q)
{
    struct sim_host *h = ctx;
    disk_store_put(&h->disk, job, q);
}

static void host_store_check(void *ctx, uint64_t job, struct store_check *q)
{
    struct sim_host *h = ctx;
    disk_store_check(&h->disk, job, q);
}

static void host_store_read(void *ctx, uint64_t job, struct store_read *q)
{
    struct sim_host *h = ctx;
    disk_store_read(&h->disk, job, q);
}

static void host_store_sync(void *ctx, uint64_t job, uint32_t torrent)
{
    struct sim_host *h = ctx;
    disk_store_sync(&h->disk, job, torrent);
}

static void host_store_stat(void *ctx, uint64_t job, uint32_t torrent,
                            struct store_file_stat *out_files)
{
    struct sim_host *h = ctx;
    disk_store_stat(&h->disk, job, torrent, out_files);
}

static void host_store_close(void *ctx, uint64_t job, uint32_t torrent)
{
    struct sim_host *h = ctx;
    disk_store_close(&h->disk, job, torrent);
}

static void host_resume_save(void *ctx, uint64_t job, struct bytes key, struct bytes resume,
                             bool is_final)
{
    struct sim_host *h = ctx;
    disk_resume_save(&h->disk, job, key, resume, is_final);
}

/* --- machines -------------------------------------------------------------------------------- */

static struct torrent_host table_of(struct sim_host *h)
{
    return (struct torrent_host){
        .ctx = h,
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
}

struct sim_host *sim_host_new(struct sim *s, const struct sim_host_params *p)
{
    struct sim_host *h = world_calloc(&s->w, 1, sizeof *h);
    h->sim = s;
    h->node = net_add_node(&s->n, &p->net);
    h->index = net_index(h->node);
    h->table = table_of(h);
    h->config = p->config;
    world_fork_rng(&s->w, &h->rng);
    disk_init(&h->disk, &s->w, h->index, &p->disk);
    mem_init(&h->mem, p->mem_budget ? p->mem_budget : MEM_NO_BUDGET, NULL);
    sim_event_init(&h->tick, on_tick);
    list_init(&h->jobs);
    list_push_back(&s->hosts, &h->in_hosts);
    return h;
}

static void name_itself(struct sim_host *h)
{
    struct session_config *c = &h->config;
    memcpy(c->peer_id, "-SH0100-", 8);
    rng_fill(&h->rng, c->peer_id + 8, PEER_ID_LEN - 8);
    if (!c->user_agent[0])
        snprintf(c->user_agent, sizeof c->user_agent, "shoal/" SHOAL_VERSION);
    c->listen_port = net_addr(h->node)->port;
}

enum err_code sim_host_start(struct sim_host *h, struct err *err)
{
    assert(!h->session);
    h->stats.finished_at_us = 0;
    name_itself(h);
    enum err_code code = session_new(&h->session, &h->mem, &h->table, &h->config, h->sim->log,
                                     now_of(h), rng_u64(&h->rng), err);
    if (code) {
        h->session = NULL;
        return code;
    }
    net_start(h->node, &host_program, h);
    disk_attach(&h->disk, disk_done, h);
    after_input(h);
    return ERR_OK;
}

void sim_host_crash(struct sim_host *h, enum sim_crash how)
{
    if (!h->session)
        return;
    net_crash(h->node, how == SIM_POWER_LOSS);
    disk_crash(&h->disk, how == SIM_POWER_LOSS);
    LIST_EACH(&h->jobs, j, struct host_job, in_jobs)
    job_free(j);
    world_stop(&h->sim->w, &h->tick);
    session_free(h->session);
    h->session = NULL;
    mem_check_empty(&h->mem);
}

static enum err_code read_magnet(struct sim_host *h, const struct content *c, struct magnet *out,
                                 struct err *err)
{
    struct buf text;
    buf_init(&text, h->sim->mem, MAGNET_TEXT_MAX);
    magnet_write_metainfo(c->info, &text);
    enum err_code code = text.err ? err_set(err, text.err, "magnet link is too long")
                                  : magnet_read(out, buf_bytes(&text), h->sim->mem, err);
    buf_clear(&text);
    return code;
}

enum err_code sim_host_add(struct sim_host *h, const struct sim_add *a, uint32_t *out_torrent,
                           struct err *err)
{
    struct torrent_params p = {.dir = "/sim",
                               .check = a->check,
                               .is_sequential = a->is_sequential,
                               .is_random_order = a->is_random_order};
    struct magnet magnet;
    enum err_code code;
    p.resume = disk_resume(&h->disk, bytes_of(metainfo_key(a->content->info), SHA1_LEN));
    if (a->is_magnet) {
        code = read_magnet(h, a->content, &magnet, err);
        p.magnet = &magnet;
    } else {
        code = content_metainfo(a->content, &h->mem, &p.info, err);
    }
    if (code)
        return code;
    code = session_add(h->session, now_of(h), &p, out_torrent, err);
    if (a->is_magnet)
        magnet_clear(&magnet);
    if (code) {
        metainfo_free(p.info);
        return code;
    }
    for (size_t i = 0; i < a->n_peers; i++)
        session_add_peer(h->session, now_of(h), *out_torrent, &a->peers[i]);
    after_input(h);
    return ERR_OK;
}

void sim_host_remove(struct sim_host *h, uint32_t torrent)
{
    session_remove(h->session, now_of(h), torrent);
    after_input(h);
}

void sim_host_add_peer(struct sim_host *h, uint32_t torrent, const struct addr *a)
{
    session_add_peer(h->session, now_of(h), torrent, a);
    after_input(h);
}

void sim_host_resume(struct sim_host *h, uint32_t torrent)
{
    session_resume(h->session, now_of(h), torrent);
    after_input(h);
}

void sim_host_check(struct sim_host *h, uint32_t torrent, const struct content *c)
{
    if (!h->session)
        return;
    session_check(h->session);
    const uint8_t *have = session_have_bits(h->session, torrent);
    for (uint32_t i = 0; have && i < c->info->n_pieces; i++)
        if ((have[i >> 3] >> (7 - (i & 7)) & 1) && !disk_piece_is_right(&h->disk, c, i))
            h->stats.n_lies++;
}
