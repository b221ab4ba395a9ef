#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define JOB_OF_ANNOUNCER (1ull << 63)
#define EVICT_AGE_US     (60u * (uint64_t)US_PER_S) /* ours: nobody is judged sooner */
#define PEX_PEERS_MAX    512u
#define DIAL_KEPT_OF_8   3u /* ours: room that only those who dial us fill */

/* --- whom we talk to ------------------------------------------------------------------------- */

bool session_is_addr_allowed(struct session *s, const struct addr *a)
{
    return !s->config.is_local_peers_only || addr_is_local(a) || addr_is_loopback(a);
}

void torrent_add_peer(struct torrent *t, const struct addr *a, uint8_t sources, bool is_seed)
{
    if (!session_is_addr_allowed(t->s, a)) {
        COUNT(t->s, peers_refused_local_only);
        return;
    }
    if (peer_list_add(&t->known, t->s->now_us, a, sources, is_seed))
        torrent_want_dial(t);
}

void session_ban(struct session *s, const struct addr *a, struct torrent *t, const char *why)
{
    char text[ADDR_TEXT_CAP];
    if (ban_list_has(&s->bans, s->now_us, a))
        return; /* its other blocks tell nothing new */
    COUNT(s, peers_banned);
    ban_list_add(&s->bans, a, s->now_us + BAN_US);
    LOG(s->log, LOG_INFO, "peer", "\"banned\" addr=%s why=\"%s\"", addr_format(a, text), why);
    struct session_event e = {.kind = EVENT_PEER_BANNED, .torrent = t ? t->id : 0, .addr = *a};
    e.err = (struct err){ERR_PROTOCOL, why, 0, 0, 0};
    session_event_push(s, &e);
    uint32_t cursor = 0;
    struct peer *p;
    while ((p = slots_next(&s->conns, &cursor)))
        if (addr_ip_equal(&p->addr, a))
            peer_close(p, true);
}

/* --- dialling -------------------------------------------------------------------------------- */

/* In a swarm of machines that all dial up to their limit everybody is full, and dials mostly end in a
 * refusal: for 1,000 peers that was 440 dials each in half a minute. So a part of the room is for
 * those who dial us. */
static bool torrent_has_enough_peers(const struct torrent *t)
{
    uint32_t n_max = t->s->config.n_conns_per_torrent_max;
    return t->n_peers >= n_max - n_max * DIAL_KEPT_OF_8 / 8;
}

static bool torrent_can_dial(const struct torrent *t)
{
    return torrent_takes_peers(t) && !torrent_has_enough_peers(t);
}

void torrent_want_dial(struct torrent *t)
{
    if (!list_node_is_linked(&t->in_dial) && torrent_can_dial(t) &&
        peer_list_deadline_us(&t->known) <= t->s->now_us)
        list_push_back(&t->s->dial_wait, &t->in_dial);
}

static void torrent_dial_one(struct torrent *t, struct peer_entry *e)
{
    struct session *s = t->s;
    struct peer *p = peer_new(s, t, &e->addr, false);
    if (!p) {
        COUNT(s, conn_no_memory);
        peer_list_on_cancelled(&t->known, s->now_us, e);
        return;
    }
    p->entry = e;
    token_bucket_spend(&s->dials, s->now_us, 1);
    COUNT(s, conns_dialled);
    s->host.connect(s->host.ctx, p->id, &e->addr);
}

/* Round robin over the torrents that could use a peer. */
void session_dial(struct session *s)
{
    while (!list_is_empty(&s->dial_wait)) {
        if (s->n_half_open >= s->config.n_half_open_max || s->n_conns >= s->config.n_conns_max)
            return; /* a connection that ends or opens brings us here again */
        if (!token_bucket_can_spend(&s->dials, s->now_us)) {
            s->dial_at_us = u64_max(token_bucket_ready_at_us(&s->dials, s->now_us), s->now_us + 1);
            return;
        }
        struct torrent *t = CONTAINER_OF(list_pop_front(&s->dial_wait), struct torrent, in_dial);
        struct peer_entry *e =
            torrent_can_dial(t) ? peer_list_next(&t->known, s->now_us, &s->bans) : NULL;
        session_mark_torrent(t);
        if (!e)
            continue;
        torrent_dial_one(t, e);
        torrent_want_dial(t);
    }
}

void torrent_close_peers(struct torrent *t)
{
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    peer_close(p, false);
}

/* --- room for a newcomer --------------------------------------------------------------------- */

/* The less, the less useful. */
static uint64_t peer_worth(struct peer *p)
{
    uint64_t now_us = p->s->now_us;
    uint64_t worth = rate_per_s(&p->down, now_us) + rate_per_s(&p->up, now_us);
    worth = worth * 4 + (p->am_interested ? 2 : 0) + (p->peer_interested ? 1 : 0);
    return worth;
}

bool torrent_make_room(struct torrent *t)
{
    struct peer *worst = NULL;
    uint64_t least = UINT64_MAX;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (p->state == CONN_CONNECTING || t->s->now_us - p->connected_at_us < EVICT_AGE_US)
            continue;
        uint64_t worth = peer_worth(p);
        if (worth < least) {
            least = worth;
            worst = p;
        }
    }
    /* Who gives or takes is not sent away for a stranger. */
    if (!worst || least >= 4 * BLOCK_LEN)
        return false;
    COUNT(t->s, peers_evicted);
    peer_close(worst, false);
    return true;
}

/* --- trackers -------------------------------------------------------------------------------- */

void torrent_update_progress(struct torrent *t)
{
    t->progress.uploaded = t->up_total;
    t->progress.downloaded = t->down_total;
    t->progress.corrupt = t->bad_len;
    t->progress.left = t->info ? t->info->layout.data_len - t->have_len : TRACKER_LEFT_UNKNOWN;
    t->progress.is_partial_seed = t->state == TORRENT_FINISHED;
    t->progress.wants_no_peers = torrent_has_enough_peers(t);
}

void torrent_announce_start(struct torrent *t)
{
    struct session *s = t->s;
    if (!s->announcer || t->is_announced)
        return;
    torrent_update_progress(t);
    t->is_announced = true;
    t->is_announce_stopped = false;
    t->was_completed_told = torrent_is_done(t);
    announcer_start(s->announcer, s->now_us, t->id);
    s->is_announcer_dirty = true;
}

void torrent_announce_stop(struct torrent *t)
{
    struct session *s = t->s;
    if (!s->announcer || !t->is_announced || t->is_announce_stopped)
        return;
    torrent_update_progress(t);
    announcer_stop(s->announcer, s->now_us, t->id);
    s->is_announcer_dirty = true;
}

static void announcer_on_peers(struct session *s, const struct announcer_want *w)
{
    struct torrent *t = session_torrent(s, w->torrent);
    if (!t)
        return;
    COUNT_N(s, tracker_peers, w->n_peers);
    for (size_t i = 0; i < w->n_peers; i++)
        torrent_add_peer(t, &w->peers[i], PEER_FROM_TRACKER, false);
}

static void announcer_on_status(struct session *s, const struct announcer_want *w)
{
    struct torrent *t = session_torrent(s, w->torrent);
    if (!t)
        return;
    t->tracker_err = w->err;
    t->has_tracker_answered |= !w->err.code;
    t->n_tracker_peers = (uint32_t)w->n_peers;
    struct writer text = writer_init(t->tracker_text, sizeof(t->tracker_text) - 1);
    writer_put(&text, bytes_sub(bytes_of_str(w->text ? w->text : ""), 0, text.cap));
    t->tracker_text[text.pos] = 0;
    struct session_event e = {.kind = EVENT_TRACKER,
                              .torrent = t->id,
                              .err = w->err,
                              .n = (uint32_t)w->n_peers,
                              .state = t->state};
    text = writer_init(e.text, sizeof(e.text) - 1);
    writer_put(&text, bytes_sub(bytes_of_str(w->url ? w->url : ""), 0, text.cap));
    e.text[text.pos] = 0;
    session_event_push(s, &e);
    if (w->external.family != ADDR_NONE && s->config.listen_port) {
        struct addr own = w->external;
        own.port = s->config.listen_port;
        peer_list_set_own(&t->known, &own);
    }
}

static void announcer_on_stopped(struct session *s, const struct announcer_want *w)
{
    struct torrent *t = session_torrent(s, w->torrent);
    if (!t)
        return;
    t->is_announce_stopped = true;
    t->is_announced = false;
    if (torrent_takes_peers(t) && (t->state == TORRENT_METADATA || t->was_opened))
        torrent_announce_start(t); /* started again before the stop was said */
    session_mark_torrent(t);
}

static void announcer_do(struct session *s, const struct announcer_want *w)
{
    switch (w->kind) {
    case ANNOUNCER_RESOLVE:
        s->host.resolve(s->host.ctx, w->job | JOB_OF_ANNOUNCER, w->name, w->port);
        break;
    case ANNOUNCER_DATAGRAM:
        s->host.datagram(s->host.ctx, &w->to, w->packet);
        break;
    case ANNOUNCER_FETCH: {
        struct fetch f = {.url = w->url,
                          .user_agent = s->config.user_agent,
                          .body_len_max = w->body_len_max,
                          .timeout_ms = w->timeout_ms,
                          .ip_family = w->ip_family,
                          .is_tracker = !w->is_by_hand};
        s->host.fetch(s->host.ctx, w->job | JOB_OF_ANNOUNCER, &f);
        break;
    }
    case ANNOUNCER_PEERS:
        announcer_on_peers(s, w);
        break;
    case ANNOUNCER_STATUS:
        announcer_on_status(s, w);
        break;
    case ANNOUNCER_STOPPED:
        announcer_on_stopped(s, w);
        break;
    }
}

void session_announcer_pump(struct session *s)
{
    struct announcer_want w;
    s->is_announcer_dirty = false;
    if (!s->announcer)
        return;
    while (announcer_next(s->announcer, s->now_us, &w))
        announcer_do(s, &w);
}

/* --- names in magnet links ------------------------------------------------------------------- */

void torrent_resolve_peer(struct torrent *t, const char *host, uint16_t port)
{
    struct session *s = t->s;
    struct job *job = mem_calloc(s->mem, 1, sizeof(*job));
    if (!job || !session_job_start(t, job, JOB_RESOLVE)) {
        mem_free(s->mem, job);
        return;
    }
    s->host.resolve(s->host.ctx, job->id, host, port);
}

struct job *torrent_resolve_free(struct job *job)
{
    mem_free(job->t->s->mem, job);
    return NULL;
}

/* --- gossip (BEP 11) ------------------------------------------------------------------------- */

bool peer_does_pex(const struct peer *p)
{
    return p->has_pex && p->ext.ids[EXT_PEX] && p->t->info && !p->t->info->is_private;
}

static uint8_t pex_flags_of(const struct peer *p)
{
    uint8_t flags = 0;
    if (peer_is_seed(p) || p->ext.is_upload_only)
        flags |= PEX_SEED;
    if (!p->is_incoming || p->entry->was_reached)
        flags |= PEX_OUTGOING;
    return flags;
}

static size_t peer_pex_gather(const struct peer *to, struct pex_peer *out)
{
    size_t n = 0;
    LIST_EACH(&to->t->peers, p, struct peer, in_torrent)
    {
        if (p == to || !peer_is_running(p) || !p->entry || p->entry->has_ephemeral_port ||
            n == PEX_PEERS_MAX)
            continue;
        if (!addr_equal(&p->entry->addr, &to->addr))
            out[n++] = (struct pex_peer){p->entry->addr, pex_flags_of(p)};
    }
    return n;
}

void peer_pex_write(struct peer *p)
{
    struct session *s = p->s;
    if (!peer_does_pex(p) || pex_out_deadline_us(&p->pex_out) > s->now_us)
        return;
    struct pex_peer peers[PEX_PEERS_MAX];
    uint8_t payload[PEX_OUT_LEN_MAX];
    struct writer w = writer_init(payload, sizeof(payload));
    enum err_code code = ERR_OK;
    size_t n = peer_pex_gather(p, peers);
    if (pex_out_write(&p->pex_out, s->now_us, peers, n, &w, &code))
        peer_send_extended(p, EXT_PEX, writer_bytes(&w));
    else if (code)
        p->pex_out.next_at_us = s->now_us + PEX_INTERVAL_US;
}

void peer_on_pex(struct peer *p, struct bytes payload)
{
    struct session *s = p->s;
    /* BEP 27: a private torrent's peers come from its tracker alone. Before the metadata is here
     * nobody knows; a magnet link's torrent has to be found somehow. */
    if (s->config.is_pex_off || (p->t->info && p->t->info->is_private)) {
        COUNT(s, pex_ignored);
        return;
    }
    struct pex_peer peers[PEX_IN_FIRST_MAX];
    size_t n = 0;
    enum err_code code =
        pex_in_read(&p->pex_in, s->now_us, payload, peers, PEX_IN_FIRST_MAX, &n, NULL);
    if (code == ERR_LIMIT) {
        COUNT(s, pex_early);
        return;
    }
    if (code) {
        COUNT(s, pex_malformed);
        peer_close(p, true);
        return;
    }
    COUNT_N(s, pex_peers, n);
    for (size_t i = 0; i < n; i++)
        torrent_add_peer(p->t, &peers[i].addr, PEER_FROM_PEX, peers[i].flags & PEX_SEED);
}
