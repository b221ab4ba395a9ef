#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define CONN_SLOT_BITS    17u /* 131071 connections; the other 15 bits count the uses of a slot */
#define TORRENT_SLOT_BITS 18u
#define JOB_SLOT_BITS     24u
#define JOB_ID_BITS       62u
#define JOB_OF_ANNOUNCER  (1ull << 63)
#define STRANGERS_PART    4u  /* ours: of n_conns_max */
#define STRANGERS_MIN     8u  /* ours */
#define TRIM_N_IDLE       64u /* buffers that are kept for the next block */

uint64_t session_deadline_us(const struct session *s)
{
    return u64_min(timers_deadline_us(&s->timers), s->rescan_at_us);
}

/* --- marks, timers, jobs --------------------------------------------------------------------- */

void session_mark_torrent(struct torrent *t)
{
    if (!list_node_is_linked(&t->in_dirty))
        list_push_back(&t->s->dirty_torrents, &t->in_dirty);
}

void session_mark_peer(struct peer *p)
{
    if (p->state != CONN_CLOSED && !list_node_is_linked(&p->in_dirty))
        list_push_back(&p->s->dirty_peers, &p->in_dirty);
}

void session_set_timer(struct session *s, struct timer *timer, uint64_t at_us)
{
    if (at_us == DEADLINE_NEVER)
        timer_stop(&s->timers, timer);
    else if (timer_is_set(timer) && timer->in_timers.key == at_us)
        return;
    else if (timer_set(&s->timers, timer, at_us))
        s->rescan_at_us = u64_min(s->rescan_at_us, s->now_us + 100000);
}

bool session_job_start(struct torrent *t, struct job *job, enum job_kind kind)
{
    assert(job->id == 0);
    uint64_t id = slots_put(&t->s->jobs, job);
    if (!id)
        return false;
    job->id = id;
    job->kind = kind;
    job->t = t;
    t->n_jobs++;
    return true;
}

static void job_end(struct session *s, struct job *job)
{
    slots_remove(&s->jobs, job->id);
    job->id = 0;
    assert(job->t->n_jobs > 0);
    job->t->n_jobs--;
}

void session_job_drop(struct session *s, struct job *job)
{
    if (job->id)
        job_end(s, job);
}

/* --- torrents by number and hash ------------------------------------------------------------- */

struct torrent *session_torrent(const struct session *s, uint32_t id)
{
    return slots_get(&s->torrents, id);
}

struct torrent *session_torrent_by_hash(const struct session *s, const uint8_t hash[SHA1_LEN])
{
    const uint32_t *id = map_get(&s->by_hash, hash);
    return id ? session_torrent(s, *id) : NULL;
}

bool session_hash_put(struct session *s, const uint8_t hash[SHA1_LEN], uint32_t torrent)
{
    bool is_new;
    uint32_t *id = map_put(&s->by_hash, hash, &is_new);
    if (!id)
        return false;
    assert(is_new || *id == torrent);
    *id = torrent;
    return true;
}

void session_hash_remove(struct session *s, const uint8_t hash[SHA1_LEN], uint32_t torrent)
{
    const uint32_t *id = map_get(&s->by_hash, hash);
    if (id && *id == torrent)
        map_remove(&s->by_hash, hash);
}

/* --- life ------------------------------------------------------------------------------------ */

static void session_defaults(struct session_config *c)
{
    if (!c->n_conns_max)
        c->n_conns_max = SESSION_CONNS_DEFAULT;
    if (!c->n_conns_per_torrent_max)
        c->n_conns_per_torrent_max = SESSION_CONNS_PER_TORRENT;
    if (!c->n_half_open_max)
        c->n_half_open_max = SESSION_HALF_OPEN_DEFAULT;
    if (!c->cache_len_max)
        c->cache_len_max = SESSION_CACHE_LEN_DEFAULT;
    c->user_agent[sizeof(c->user_agent) - 1] = 0;
}

/* A second's worth, so that a limit is smooth and a block always fits. */
static uint64_t burst_of(uint64_t rate_per_s)
{
    return u64_max(rate_per_s / 4, 2 * BLOCK_LEN);
}

static void session_init_lists(struct session *s)
{
    list_init(&s->dirty_torrents);
    list_init(&s->dirty_peers);
    list_init(&s->graveyard);
    list_init(&s->strangers);
    list_init(&s->cache_wait);
    list_init(&s->down_wait);
    list_init(&s->up_wait);
    list_init(&s->dial_wait);
    list_init(&s->cached_pieces);
}

static void session_init_parts(struct session *s, uint64_t rng_seed)
{
    const struct session_config *c = &s->config;
    rng_init(&s->rng, rng_seed);
    timers_init(&s->timers, s->mem);
    timer_init(&s->choker_timer, TIMER_CHOKER);
    timer_init(&s->session_timer, TIMER_SESSION);
    slots_init(&s->torrents, s->mem, SESSION_TORRENTS_MAX, TORRENT_SLOT_BITS, 32);
    slots_init(&s->conns, s->mem, UINT32_MAX, CONN_SLOT_BITS, 32);
    slots_init(&s->jobs, s->mem, SESSION_JOBS_MAX, JOB_SLOT_BITS, JOB_ID_BITS);
    map_init(&s->by_hash, s->mem, rng_map_seed(&s->rng), SHA1_LEN, sizeof(uint32_t),
             2 * SESSION_TORRENTS_MAX);
    session_init_lists(s);
    block_cache_init(&s->cache, s->mem, c->cache_len_max);
    choker_init(&s->choker, s->mem, &s->rng, s->now_us, c->n_upload_slots, c->max_up_per_s);
    s->choker.is_optimistic_off = c->is_optimistic_off;
    ban_list_init(&s->bans, s->mem, &s->rng, 0);
    token_bucket_init(&s->up, s->now_us, c->max_up_per_s, burst_of(c->max_up_per_s));
    token_bucket_init(&s->down, s->now_us, c->max_down_per_s, burst_of(c->max_down_per_s));
    token_bucket_init(&s->dials, s->now_us, SESSION_DIALS_PER_S, SESSION_DIALS_PER_S);
    s->rescan_at_us = s->trim_at_us = s->dial_at_us = DEADLINE_NEVER;
    s->up_at_us = s->down_at_us = DEADLINE_NEVER;
}

static enum err_code session_init_announcer(struct session *s)
{
    if (s->config.is_announce_off)
        return ERR_OK;
    struct announcer_config c = {.listen_port = s->config.listen_port,
                                 .has_no_v4 = s->config.has_no_v4,
                                 .has_no_v6 = s->config.has_no_v6,
                                 .announce_ip = s->announce_ip};
    memcpy(c.peer_id, s->config.peer_id, sizeof(c.peer_id));
    return announcer_new(&s->announcer, s->mem, &c, s->log, rng_u64(&s->rng));
}

enum err_code session_new(struct session **out, struct mem *mem, const struct torrent_host *host,
                          const struct session_config *config, struct log *log, uint64_t now_us,
                          uint64_t rng_seed, struct err *err)
{
    *out = NULL;
    struct session *s = mem_calloc(mem, 1, sizeof(*s));
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for a session");
    s->mem = mem;
    s->host = *host;
    s->config = *config;
    s->log = log;
    s->now_us = now_us;
    session_defaults(&s->config);
    session_init_parts(s, rng_seed);
    if (config->announce_ip)
        s->announce_ip = mem_strndup(mem, config->announce_ip, strlen(config->announce_ip));
    s->config.announce_ip = s->announce_ip;
    if ((config->announce_ip && !s->announce_ip) || session_init_announcer(s)) {
        session_free(s);
        return err_set(err, ERR_NO_MEMORY, "no memory for a session");
    }
    *out = s;
    return ERR_OK;
}

static void session_bury(struct session *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->graveyard)))
        peer_free(CONTAINER_OF(n, struct peer, in_grave));
}

void session_free(struct session *s)
{
    if (!s)
        return;
    uint32_t cursor = 0;
    struct peer *p;
    while ((p = slots_next(&s->conns, &cursor)))
        peer_closed(p, false);
    struct torrent *t;
    cursor = 0;
    while ((t = slots_next(&s->torrents, &cursor)))
        torrent_free(t);
    session_bury(s);
    announcer_free(s->announcer);
    ban_list_clear(&s->bans);
    choker_clear(&s->choker);
    session_give_spares(s);
    block_cache_clear(&s->cache);
    map_clear(&s->by_hash);
    slots_clear(&s->jobs);
    slots_clear(&s->conns);
    slots_clear(&s->torrents);
    timers_clear(&s->timers);
    mem_free(s->mem, s->announce_ip);
    mem_free(s->mem, s->events);
    mem_free(s->mem, s);
}

/* --- the end of every door ------------------------------------------------------------------- */

static void session_enter(struct session *s, uint64_t now_us)
{
    s->now_us = u64_max(s->now_us, now_us);
}

static void session_work_torrents(struct session *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->dirty_torrents)))
        torrent_work(CONTAINER_OF(n, struct torrent, in_dirty));
}

static void session_work_peers(struct session *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->dirty_peers)))
        peer_work(CONTAINER_OF(n, struct peer, in_dirty));
}

static bool session_has_marks(const struct session *s)
{
    return !list_is_empty(&s->dirty_torrents) || !list_is_empty(&s->dirty_peers) ||
           s->is_choker_dirty || s->is_announcer_dirty;
}

static void session_arm(struct session *s)
{
    if (s->announcer && s->is_announcer_dirty)
        s->is_announcer_dirty = false;
    uint64_t at_us =
        u64_min(u64_min(s->trim_at_us, s->dial_at_us), u64_min(s->up_at_us, s->down_at_us));
    if (s->announcer)
        at_us = u64_min(at_us, announcer_deadline_us(s->announcer));
    session_set_timer(s, &s->session_timer, at_us);
    session_set_timer(s, &s->choker_timer, choker_deadline_us(&s->choker));
}

void session_flush(struct session *s)
{
    while (session_has_marks(s)) {
        session_work_torrents(s);
        if (s->is_choker_dirty)
            session_choker_work(s);
        session_work_peers(s);
        if (s->is_announcer_dirty)
            session_announcer_pump(s);
    }
    if (!list_is_empty(&s->dial_wait)) {
        session_dial(s);
        session_work_torrents(s);
        session_work_peers(s);
    }
    if (!list_is_empty(&s->cache_wait) || !list_is_empty(&s->down_wait))
        session_wake_readers(s);
    if (!list_is_empty(&s->graveyard))
        session_bury(s);
    session_arm(s);
}

/* --- doors of the owner ---------------------------------------------------------------------- */

enum err_code session_add(struct session *s, uint64_t now_us, const struct torrent_params *params,
                          uint32_t *out_torrent, struct err *err)
{
    session_enter(s, now_us);
    struct torrent *t;
    enum err_code code = torrent_new(s, params, &t, err);
    if (code)
        return code;
    *out_torrent = t->id;
    if (params->is_paused) {
        t->is_paused_by_user = true;
        torrent_set_state(t, TORRENT_PAUSED);
    } else {
        torrent_start(t);
    }
    session_mark_torrent(t);
    session_flush(s);
    return ERR_OK;
}

void session_remove(struct session *s, uint64_t now_us, uint32_t torrent)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (!t || t->state == TORRENT_STOPPING)
        return;
    torrent_stop(t);
    session_flush(s);
}

void session_pause(struct session *s, uint64_t now_us, uint32_t torrent)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (!t || t->state == TORRENT_STOPPING || t->state == TORRENT_PAUSED)
        return;
    torrent_pause(t);
    session_flush(s);
}

void session_resume(struct session *s, uint64_t now_us, uint32_t torrent)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (!t || (t->state != TORRENT_PAUSED && t->state != TORRENT_ERROR))
        return;
    torrent_resume(t);
    session_flush(s);
}

void session_add_peer(struct session *s, uint64_t now_us, uint32_t torrent, const struct addr *a)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (t)
        torrent_add_peer(t, a, PEER_FROM_MANUAL, false);
    session_flush(s);
}

void session_set_limits(struct session *s, uint64_t now_us, uint64_t max_down_per_s,
                        uint64_t max_up_per_s)
{
    session_enter(s, now_us);
    s->config.max_down_per_s = max_down_per_s;
    s->config.max_up_per_s = max_up_per_s;
    token_bucket_init(&s->up, s->now_us, max_up_per_s, burst_of(max_up_per_s));
    token_bucket_init(&s->down, s->now_us, max_down_per_s, burst_of(max_down_per_s));
    choker_set_limits(&s->choker, s->now_us, s->config.n_upload_slots, max_up_per_s);
    s->is_choker_dirty = true;
    session_wake_uploads(s);
    session_flush(s);
}

enum err_code session_set_file_priorities(struct session *s, uint64_t now_us, uint32_t torrent,
                                          const uint8_t *priorities, size_t n)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (!t)
        return ERR_NOT_FOUND;
    if (n > METAINFO_N_FILES_MAX)
        return ERR_LIMIT;
    uint8_t *copy = mem_dup(s->mem, priorities, n);
    if (!copy)
        return ERR_NO_MEMORY;
    mem_free(s->mem, t->file_priorities);
    t->file_priorities = copy;
    t->n_file_priorities = (uint32_t)n;
    torrent_apply_priorities(t);
    session_flush(s);
    return ERR_OK;
}

/* --- doors of connections -------------------------------------------------------------------- */

static struct peer *session_conn(struct session *s, uint32_t conn)
{
    struct peer *p = slots_get(&s->conns, conn);
    if (!p)
        COUNT(s, conn_stale);
    return p;
}

/* Connections that have not named a torrent may take a part of the room only: the oldest gives way,
 * so that many that say nothing cannot keep everybody else out. */
static void session_limit_strangers(struct session *s)
{
    uint32_t n_max = s->config.n_conns_max / STRANGERS_PART;
    if (s->strangers.n <= STRANGERS_MIN || s->strangers.n < n_max)
        return;
    COUNT(s, strangers_evicted);
    peer_close(CONTAINER_OF(list_first(&s->strangers), struct peer, in_torrent), false);
}

bool session_on_accept(struct session *s, uint64_t now_us, const struct addr *from,
                       uint32_t *out_conn)
{
    session_enter(s, now_us);
    *out_conn = SESSION_CONN_NONE;
    if (!session_is_addr_allowed(s, from)) {
        COUNT(s, accept_refused_local_only);
        return false;
    }
    if (ban_list_has(&s->bans, s->now_us, from)) {
        COUNT(s, accept_refused_banned);
        return false;
    }
    /* A few above the limit may wait for their handshake; then the least useful gives way. */
    if (s->n_conns >= s->config.n_conns_max + s->config.n_conns_max / 8 + 4) {
        COUNT(s, accept_refused_limit);
        return false;
    }
    session_limit_strangers(s);
    struct peer *p = peer_new(s, NULL, from, true);
    if (!p) {
        COUNT(s, conn_no_memory);
        return false;
    }
    COUNT(s, conns_accepted);
    *out_conn = p->id;
    session_flush(s);
    return true;
}

void session_on_connected(struct session *s, uint64_t now_us, uint32_t conn)
{
    session_enter(s, now_us);
    struct peer *p = session_conn(s, conn);
    if (!p || p->state != CONN_CONNECTING)
        return;
    peer_on_connected(p);
    session_flush(s);
}

void session_on_closed(struct session *s, uint64_t now_us, uint32_t conn, const struct err *err)
{
    session_enter(s, now_us);
    struct peer *p = session_conn(s, conn);
    if (!p)
        return;
    (void)err;
    if (p->state == CONN_CONNECTING)
        COUNT(s, connect_failed);
    else
        COUNT(s, peers_closed_by_them);
    peer_closed(p, false);
    session_flush(s);
}

size_t session_lend(struct session *s, uint64_t now_us, uint32_t conn, struct span *out,
                    size_t out_cap)
{
    session_enter(s, now_us);
    struct peer *p = session_conn(s, conn);
    if (!p || p->state == CONN_CONNECTING)
        return 0;
    return peer_lend(p, out, out_cap);
}

void session_on_bytes(struct session *s, uint64_t now_us, uint32_t conn, size_t len)
{
    session_enter(s, now_us);
    struct peer *p = session_conn(s, conn);
    if (!p || p->state == CONN_CONNECTING)
        return;
    p->heard_at_us = s->now_us;
    p->read_len = len;
    wire_in_laid(&p->in, len);
    peer_on_events(p);
    session_mark_peer(p);
    session_flush(s);
}

void session_on_room(struct session *s, uint64_t now_us, uint32_t conn, size_t room_len)
{
    session_enter(s, now_us);
    struct peer *p = session_conn(s, conn);
    if (!p)
        return;
    p->room_len = room_len;
    session_mark_peer(p);
    session_flush(s);
}

/* --- doors of trackers and storage ----------------------------------------------------------- */

void session_on_datagram(struct session *s, uint64_t now_us, const struct addr *from,
                         struct bytes b)
{
    session_enter(s, now_us);
    if (!s->announcer || !announcer_on_datagram(s->announcer, s->now_us, from, b))
        COUNT(s, datagram_stray);
    s->is_announcer_dirty = s->announcer != NULL;
    session_flush(s);
}

static void session_resolved_peer(struct session *s, uint64_t job, const struct err *err,
                                  const struct addr *addrs, size_t n_addrs)
{
    struct job *j = slots_get(&s->jobs, job);
    if (!j || j->kind != JOB_RESOLVE) {
        COUNT(s, job_stale);
        return;
    }
    struct torrent *t = j->t;
    job_end(s, j);
    torrent_resolve_free(j);
    for (size_t i = 0; !err->code && i < n_addrs; i++)
        torrent_add_peer(t, &addrs[i], PEER_FROM_MAGNET, false);
    session_mark_torrent(t);
}

void session_on_resolved(struct session *s, uint64_t now_us, uint64_t job, const struct err *err,
                         const struct addr *addrs, size_t n_addrs)
{
    session_enter(s, now_us);
    if (!(job & JOB_OF_ANNOUNCER)) {
        session_resolved_peer(s, job, err, addrs, n_addrs);
    } else if (s->announcer) {
        announcer_on_resolved(s->announcer, s->now_us, job & ~JOB_OF_ANNOUNCER, err, addrs,
                              n_addrs);
        s->is_announcer_dirty = true;
    }
    session_flush(s);
}

void session_on_fetched(struct session *s, uint64_t now_us, uint64_t job, const struct err *err,
                        uint32_t http_status, struct bytes body)
{
    session_enter(s, now_us);
    if ((job & JOB_OF_ANNOUNCER) && s->announcer) {
        announcer_on_fetched(s->announcer, s->now_us, job & ~JOB_OF_ANNOUNCER, err, http_status,
                             body);
        s->is_announcer_dirty = true;
    } else {
        COUNT(s, job_stale);
    }
    session_flush(s);
}

static void session_answer(struct job *j, enum job_kind kind, const struct err *err)
{
    struct torrent *t = j->t;
    switch (kind) {
    case JOB_OPEN:
        torrent_on_opened(t, err);
        break;
    case JOB_PUT:
        torrent_on_put(CONTAINER_OF(j, struct piece_in, job), err);
        break;
    case JOB_READBACK:
        torrent_on_readback(CONTAINER_OF(j, struct piece_in, job), err);
        break;
    case JOB_BLAME_READ:
        torrent_on_blame_read(CONTAINER_OF(j, struct piece_in, job), err);
        break;
    case JOB_CHECK:
        torrent_on_checked(t, CONTAINER_OF(j, struct check_slot, job), err);
        break;
    case JOB_LEAVES:
        torrent_on_leaves_read(CONTAINER_OF(j, struct leaves_read, job), err);
        break;
    case JOB_SYNC:
        torrent_on_synced(t, err);
        break;
    case JOB_STAT:
        torrent_on_stat(t, err);
        break;
    case JOB_SAVE:
        torrent_on_saved(t, err);
        break;
    case JOB_CLOSE:
        torrent_on_store_closed(t, err);
        break;
    case JOB_RESOLVE:
        torrent_resolve_free(j);
        break;
    }
    session_mark_torrent(t);
}

void session_on_done(struct session *s, uint64_t now_us, uint64_t job, const struct err *err)
{
    session_enter(s, now_us);
    struct job *j = slots_get(&s->jobs, job);
    if (!j) {
        COUNT(s, job_stale);
    } else {
        static const struct err none = {0};
        job_end(s, j);
        session_answer(j, j->kind, err ? err : &none);
    }
    session_flush(s);
}

void session_on_store_error(struct session *s, uint64_t now_us, uint32_t torrent,
                            const struct err *err)
{
    session_enter(s, now_us);
    struct torrent *t = session_torrent(s, torrent);
    if (t)
        torrent_fail(t, err);
    session_flush(s);
}

/* --- time ------------------------------------------------------------------------------------ */

static void session_rescan(struct session *s)
{
    s->rescan_at_us = DEADLINE_NEVER;
    uint32_t cursor = 0;
    struct peer *p;
    while ((p = slots_next(&s->conns, &cursor)))
        peer_arm(p);
    cursor = 0;
    struct torrent *t;
    while ((t = slots_next(&s->torrents, &cursor)))
        session_mark_torrent(t);
}

static void session_on_own_timer(struct session *s)
{
    if (s->now_us >= s->up_at_us) {
        s->up_at_us = DEADLINE_NEVER;
        session_wake_uploads(s);
    }
    if (s->now_us >= s->down_at_us)
        s->down_at_us = DEADLINE_NEVER; /* the flush wakes them */
    if (s->now_us >= s->dial_at_us)
        s->dial_at_us = DEADLINE_NEVER;
    if (s->now_us >= s->trim_at_us) {
        s->trim_at_us = DEADLINE_NEVER;
        session_give_spares(s);
        block_cache_trim(&s->cache, TRIM_N_IDLE);
    }
    s->is_announcer_dirty = s->announcer != NULL;
}

void session_on_tick(struct session *s, uint64_t now_us)
{
    session_enter(s, now_us);
    struct timer *due;
    if (s->now_us >= s->rescan_at_us)
        session_rescan(s);
    while ((due = timers_pop_due(&s->timers, s->now_us))) {
        switch ((enum session_timer)due->kind) {
        case TIMER_PEER:
            peer_on_timer(CONTAINER_OF(due, struct peer, timer));
            break;
        case TIMER_TORRENT:
            torrent_on_timer(CONTAINER_OF(due, struct torrent, timer));
            break;
        case TIMER_CHOKER:
            s->is_choker_dirty = true;
            break;
        case TIMER_SESSION:
            session_on_own_timer(s);
            break;
        }
    }
    session_flush(s);
}
