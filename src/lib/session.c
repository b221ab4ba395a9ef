/* The session half of shoal/session.h: life, loop, events, counters. */
#include "crypto/random.h"
#include "io/fetch.h"
#include "io/resolve.h"
#include "io/tracker_host.h"
#include "io/workers.h"
#include "lib/lib.h"
#include "store/file_cache.h"
#include "store/resume_store.h"
#include "torrent/peer_id.h"

#define CACHE_LEN_DEFAULT (32u << 20)
#define PATH_CAP          4096u
#define WORKER_JOBS_MAX   65536u
#define PORT_SPREAD       64u /* ports after a busy one that are tried, unless is_port_fixed */

void shoal_session_options_init(struct shoal_session_options *options)
{
    *options = (struct shoal_session_options){0};
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_log(void *ctx, enum log_level level, const char *subsystem, const char *line)
{
    struct shoal_session *s = ctx;
    if (s->log_fn)
        s->log_fn(s->log_ctx, (int)level, subsystem, line);
}

static enum err_code parse_bind(struct shoal_session *s, const char *text, struct err *err)
{
    if (!text) {
        s->bind4 = (struct addr){.family = ADDR_V4};
        s->bind6 = (struct addr){.family = ADDR_V6};
        return ERR_OK;
    }
    struct addr a;
    if (addr_parse(bytes_of_str(text), 0, &a))
        return err_set(err, ERR_MALFORMED, "the address to bind is not an IPv4 or IPv6 address");
    *(a.family == ADDR_V4 ? &s->bind4 : &s->bind6) = a;
    s->is_bound = true;
    return ERR_OK;
}

static enum err_code open_state(struct shoal_session *s, const char *dir, char culprit[PATH_CAP],
                                struct err *err)
{
    char path[PATH_CAP];
    bool was_damaged;
    if (!dir) {
        if (resume_store_default_dir(path, sizeof path, err))
            return err->code;
        dir = path;
    }
    if (resume_store_open(&s->resume, dir, &was_damaged, err)) {
        snprintf(culprit, PATH_CAP, "%s", dir);
        return err->code;
    }
    if (was_damaged)
        LOG(&s->log, LOG_WARN, "state", "resume database damaged, moved aside dir=%s", dir);
    return ERR_OK;
}

static enum err_code open_machinery(struct shoal_session *s, const struct shoal_session_options *o,
                                    struct err *err)
{
    if (loop_new(&s->loop, err) || workers_new(&s->workers, o->n_workers, WORKER_JOBS_MAX, err) ||
        file_cache_new(&s->files, 0, &file_ops_system, err) ||
        fetch_client_new(&s->fetch, s->loop, &s->bind4, &s->bind6, err) ||
        resolver_new(&s->resolver, s->loop, err))
        return err->code;
    return ERR_OK;
}

static void drain_engine(void *ctx, uint64_t now_us);

static enum err_code open_host(struct shoal_session *s, const struct shoal_session_options *o,
                               struct err *err)
{
    struct io_host_config config = {
        .loop = s->loop,
        .workers = s->workers,
        .files = s->files,
        .resume = s->resume,
        .log = &s->log,
        .net = {.bind4 = s->bind4,
                .bind6 = s->bind6,
                .congestion_control = o->congestion_control,
                .port = o->port,
                .port_last = (uint16_t)u64_min(65535, (uint64_t)o->port + PORT_SPREAD),
                .is_port_strict = o->is_port_fixed},
        .on_turn = drain_engine,
        .on_turn_ctx = s,
    };
    return io_host_new(&s->host, &config, err);
}

static enum err_code open_engine(struct shoal_session *s, const struct shoal_session_options *o,
                                 struct err *err)
{
    struct session_config config = {
        .listen_port = io_host_listen_port(s->host),
        .n_conns_max = o->n_conns_max,
        .max_down_per_s = o->max_down_per_s,
        .max_up_per_s = o->max_up_per_s,
        .cache_len_max = o->cache_len_max ? o->cache_len_max : CACHE_LEN_DEFAULT,
        .is_pex_off = o->is_pex_off,
        .is_announce_off = o->is_announce_off,
        .has_no_v4 = s->bind4.family == ADDR_NONE,
        .has_no_v6 = s->bind6.family == ADDR_NONE,
    };
    struct rng rng;
    rng_init(&rng, random_u64());
    peer_id_make(config.peer_id, &rng);
    snprintf(config.user_agent, sizeof config.user_agent, "shoal/%s", SHOAL_VERSION);
    enum err_code code = session_new(&s->engine, &s->mem, io_host_table(s->host), &config, &s->log,
                                     clock_now_us(), random_u64(), err);
    if (!code)
        io_host_attach(s->host, s->engine);
    return code;
}

static void on_wake(void *ctx)
{
    struct shoal_session *s = ctx;
    s->is_woken = true;
}

static enum err_code open_all(struct shoal_session *s, const struct shoal_session_options *o,
                              char culprit[PATH_CAP], struct err *err)
{
    if (parse_bind(s, o->bind_addr, err)) {
        snprintf(culprit, PATH_CAP, "%s", o->bind_addr);
        return err->code;
    }
    if (open_machinery(s, o, err) || open_state(s, o->state_dir, culprit, err))
        return err->code;
    if (open_host(s, o, err)) {
        if (err->code == ERR_UNSUPPORTED && o->congestion_control)
            snprintf(culprit, PATH_CAP, "%s", o->congestion_control);
        return err->code;
    }
    if (open_engine(s, o, err))
        return err->code;
    if (loop_async_new(&s->wake, s->loop, on_wake, s))
        return err_set(err, ERR_NO_MEMORY, "no memory for a session");
    return ERR_OK;
}

static void free_all(struct shoal_session *s)
{
    while (!list_is_empty(&s->torrents))
        lib_torrent_free(s, CONTAINER_OF(list_first(&s->torrents), struct lib_torrent, in_session));
    tracker_host_free(s->tracker);
    if (s->host)
        io_host_free(s->host);
    session_free(s->engine);
    resolver_free(s->resolver);
    fetch_client_free(s->fetch);
    resume_store_close(s->resume);
    workers_free(s->workers);
    file_cache_free(s->files);
    loop_async_free(s->wake);
    loop_free(s->loop);
    mem_free(&s->mem, s->events);
    mem_check_empty(&s->mem);
    free(s);
}

enum shoal_err shoal_session_new(struct shoal_session **out,
                                 const struct shoal_session_options *options,
                                 struct shoal_note *note)
{
    struct shoal_session *s = calloc(1, sizeof *s);
    if (!s)
        return lib_note_text(note, SHOAL_ERR_NO_MEMORY, "no memory for a session");
    mem_init(&s->mem, MEM_NO_BUDGET, NULL);
    list_init(&s->torrents);
    s->log_fn = options->log;
    s->log_ctx = options->log_ctx;
    s->next_handle = 1;
    log_init(&s->log, (enum log_level)options->log_level, on_log, s);
    struct err err = {0};
    char culprit[PATH_CAP] = ""; /* what the user said that will not do */
    if (open_all(s, options, culprit, &err)) {
        free_all(s);
        lib_note(note, &err);
        lib_note_path(note, culprit[0] ? culprit : NULL);
        return (enum shoal_err)err.code;
    }
    *out = s;
    return SHOAL_OK;
}

void shoal_session_free(struct shoal_session *s, int timeout_ms)
{
    if (!s)
        return;
    uint64_t deadline_us = clock_now_us() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * US_PER_MS;
    LIST_EACH(&s->torrents, t, struct lib_torrent, in_session)
    if (t->is_known)
        session_remove(s->engine, clock_now_us(), t->torrent);
    for (uint64_t now = clock_now_us(); !list_is_empty(&s->torrents) && now < deadline_us;
         now = clock_now_us()) {
        LIST_EACH(&s->torrents, t, struct lib_torrent, in_session)
        if (!t->is_known)
            lib_torrent_free(s, t);
        struct shoal_event ignored;
        io_host_poke(s->host);
        if (!list_is_empty(&s->torrents))
            loop_turn(s->loop, deadline_us - now);
        while (shoal_session_next_event(s, &ignored))
            continue;
    }
    free_all(s);
}

uint16_t shoal_session_port(const struct shoal_session *s)
{
    return io_host_listen_port(s->host);
}

void shoal_session_set_limits(struct shoal_session *s, uint64_t max_down_per_s,
                              uint64_t max_up_per_s)
{
    session_set_limits(s->engine, clock_now_us(), max_down_per_s, max_up_per_s);
    io_host_poke(s->host);
}

/* --- running --------------------------------------------------------------------------------- */

void shoal_session_run(struct shoal_session *s, int timeout_ms)
{
    uint64_t deadline_us =
        timeout_ms < 0 ? DEADLINE_NEVER : clock_now_us() + (uint64_t)timeout_ms * US_PER_MS;
    drain_engine(s, clock_now_us());
    do {
        uint64_t now = clock_now_us();
        bool has_events = s->n_events > 0;
        loop_turn(s->loop, has_events || now >= deadline_us ? 0 : deadline_us - now);
    } while (!s->n_events && !s->is_woken && clock_now_us() < deadline_us);
    s->is_woken = false;
}

int shoal_session_fd(const struct shoal_session *s)
{
    return loop_fd(s->loop);
}

int shoal_session_timeout_ms(const struct shoal_session *s)
{
    return s->n_events ? 0 : loop_timeout_ms(s->loop);
}

void shoal_session_wake(struct shoal_session *s)
{
    loop_async_send(s->wake);
}

/* --- events ---------------------------------------------------------------------------------- */

static struct shoal_event *event_at(struct shoal_session *s, size_t i)
{
    return &s->events[(s->events_start + i) % s->n_events_cap];
}

static bool grow_events(struct shoal_session *s)
{
    size_t cap = s->n_events_cap ? s->n_events_cap * 2 : 16;
    struct shoal_event *bigger = mem_alloc(&s->mem, cap * sizeof *bigger);
    if (!bigger)
        return false;
    for (size_t i = 0; i < s->n_events; i++)
        bigger[i] = *event_at(s, i);
    mem_free(&s->mem, s->events);
    s->events = bigger;
    s->n_events_cap = cap;
    s->events_start = 0;
    return true;
}

/* Makes room in a full queue: the oldest event about a piece goes, or the oldest of all. */
static void drop_one_event(struct shoal_session *s)
{
    size_t victim = 0;
    while (victim < s->n_events && event_at(s, victim)->kind != SHOAL_EVENT_PIECE)
        victim++;
    if (victim == s->n_events)
        victim = 0;
    for (size_t i = victim; i + 1 < s->n_events; i++)
        *event_at(s, i) = *event_at(s, i + 1);
    s->n_events--;
}

void lib_push_event(struct shoal_session *s, const struct shoal_event *e)
{
    if (s->n_events == LIB_EVENTS_MAX)
        drop_one_event(s);
    if (s->n_events == s->n_events_cap && !grow_events(s))
        return;
    s->n_events++;
    *event_at(s, s->n_events - 1) = *e;
}

bool shoal_session_next_event(struct shoal_session *s, struct shoal_event *out)
{
    if (!s->n_events)
        return false;
    *out = *event_at(s, 0);
    s->events_start = (s->events_start + 1) % s->n_events_cap;
    s->n_events--;
    return true;
}

enum shoal_state lib_state(enum torrent_state state)
{
    static const enum shoal_state states[] = {
        [TORRENT_OPENING] = SHOAL_STATE_OPENING,   [TORRENT_CHECKING] = SHOAL_STATE_CHECKING,
        [TORRENT_METADATA] = SHOAL_STATE_METADATA, [TORRENT_DOWNLOADING] = SHOAL_STATE_DOWNLOADING,
        [TORRENT_FINISHED] = SHOAL_STATE_FINISHED, [TORRENT_SEEDING] = SHOAL_STATE_SEEDING,
        [TORRENT_ERROR] = SHOAL_STATE_ERROR,       [TORRENT_PAUSED] = SHOAL_STATE_PAUSED,
        [TORRENT_STOPPING] = SHOAL_STATE_STOPPING, [TORRENT_STOPPED] = SHOAL_STATE_STOPPED,
    };
    return states[state];
}

static enum shoal_event_kind public_kind(enum session_event_kind kind)
{
    static const enum shoal_event_kind kinds[] = {
        [EVENT_STATE] = SHOAL_EVENT_STATE,
        [EVENT_METADATA] = SHOAL_EVENT_METADATA,
        [EVENT_PIECE] = SHOAL_EVENT_PIECE,
        [EVENT_PIECE_BAD] = SHOAL_EVENT_PIECE_BAD,
        [EVENT_PEER_BANNED] = SHOAL_EVENT_PEER_BANNED,
        [EVENT_TRACKER] = SHOAL_EVENT_TRACKER,
        [EVENT_ERROR] = SHOAL_EVENT_ERROR,
        [EVENT_GOAL] = SHOAL_EVENT_GOAL,
        [EVENT_STOPPED] = SHOAL_EVENT_REMOVED,
    };
    return kinds[kind];
}

static void take_engine_event(struct shoal_session *s, const struct session_event *in)
{
    struct lib_torrent *t = lib_torrent_of_engine(s, in->torrent);
    if (!t)
        return;
    struct shoal_event e = {
        .kind = public_kind(in->kind),
        .torrent = t->handle,
        .piece = in->piece,
        .n = in->n,
        .state = lib_state(in->state),
    };
    if (in->err.code)
        lib_note(&e.note, &in->err);
    if (in->kind == EVENT_PEER_BANNED)
        addr_format(&in->addr, e.text);
    else
        snprintf(e.text, sizeof e.text, "%s", in->text);
    if (in->kind == EVENT_ERROR)
        lib_note_storage(&e.note, &in->err, session_metainfo(s->engine, in->torrent),
                         t->options.dir);
    if (in->kind == EVENT_METADATA)
        lib_torrent_on_metadata(s, t);
    lib_push_event(s, &e);
    if (in->kind == EVENT_STOPPED)
        lib_torrent_free(s, t);
}

static void drain_engine(void *ctx, uint64_t now_us)
{
    struct shoal_session *s = ctx;
    struct session_event e;
    bool has_news = false;
    (void)now_us;
    while (session_next_event(s->engine, &e)) {
        take_engine_event(s, &e);
        has_news = true;
    }
    if (has_news) /* this runs just before the loop sleeps: it must not, somebody waits for these */
        loop_async_send(s->wake);
}

/* --- counters and the tracker ---------------------------------------------------------------- */

bool shoal_session_counter(const struct shoal_session *s, size_t index, const char **out_name,
                           uint64_t *out_value)
{
    if (index >= session_n_counters())
        return false;
    *out_name = session_counter_name(index);
    *out_value = session_counter(s->engine, *out_name);
    return true;
}

enum shoal_err shoal_session_serve_tracker(struct shoal_session *s, uint16_t port, char *out_url,
                                           size_t out_url_cap, struct shoal_note *note)
{
    struct tracker_host_config config = {.port = port};
    struct addr at;
    struct err err = {0};
    char text[ADDR_TEXT_CAP];
    if (s->tracker)
        return lib_note_text(note, SHOAL_ERR_PROTOCOL, "the session runs a tracker already");
    if (s->is_bound)
        config.binds[config.n_binds++] = s->bind4.family ? s->bind4 : s->bind6;
    if (tracker_host_new(&s->tracker, s->loop, &config, &err))
        return lib_note(note, &err);
    if (tracker_host_addrs(s->tracker, &at, 1) == 0)
        at = addr_v4(127, 0, 0, 1, tracker_host_port(s->tracker));
    snprintf(out_url, out_url_cap, "http://%s/announce", addr_format(&at, text));
    return SHOAL_OK;
}
