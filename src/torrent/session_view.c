#include "base/size.h"
#include "torrent/peer_id.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

/* --- events ---------------------------------------------------------------------------------- */

static bool session_grow_events(struct session *s)
{
    if (s->events_cap == SESSION_EVENTS_MAX)
        return false;
    uint32_t cap = s->events_cap ? s->events_cap * 2 : 16;
    struct session_event *more = mem_alloc(s->mem, cap * sizeof(*more));
    if (!more)
        return false;
    for (uint32_t i = 0; i < s->n_events; i++)
        more[i] = s->events[(s->event_first + i) % s->events_cap];
    mem_free(s->mem, s->events);
    s->events = more;
    s->events_cap = cap;
    s->event_first = 0;
    return true;
}

/* When nobody fetches them the oldest go; what matters can be asked for. */
void session_event_push(struct session *s, const struct session_event *e)
{
    if (s->n_events == s->events_cap && !session_grow_events(s)) {
        COUNT(s, events_dropped);
        if (s->n_events == 0)
            return;
        s->event_first = (s->event_first + 1) % s->events_cap;
        s->n_events--;
    }
    s->events[(s->event_first + s->n_events++) % s->events_cap] = *e;
}

bool session_next_event(struct session *s, struct session_event *out)
{
    if (!s->n_events)
        return false;
    *out = s->events[s->event_first];
    s->event_first = --s->n_events ? (s->event_first + 1) % s->events_cap : 0;
    return true;
}

/* --- torrents -------------------------------------------------------------------------------- */

static void view_peers(struct torrent *t, struct torrent_stats *out)
{
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (!peer_is_running(p))
            continue;
        out->n_peers++;
        out->n_seeds += peer_is_seed(p);
        out->n_unchoked += !p->am_choking;
        out->n_interested += p->peer_interested;
    }
    out->n_connecting = t->n_peers - out->n_peers;
    out->n_known_peers = t->known.n;
}

bool session_torrent_stats(struct session *s, uint64_t now_us, uint32_t torrent,
                           struct torrent_stats *out)
{
    struct torrent *t = session_torrent(s, torrent);
    if (!t)
        return false;
    *out = (struct torrent_stats){.state = t->state,
                                  .err = t->err,
                                  .total_len = t->info ? t->info->layout.data_len : 0,
                                  .wanted_len = t->wanted_len,
                                  .have_len = t->have_len,
                                  .have_wanted_len = t->have_wanted_len,
                                  .n_pieces = t->info ? t->info->n_pieces : 0,
                                  .n_have = t->have.n_set,
                                  .n_checked = t->n_checked,
                                  .down_total = t->down_total,
                                  .up_total = t->up_total,
                                  .down_session = t->down.total,
                                  .up_session = t->up.total,
                                  .down_per_s = rate_per_s(&t->down, now_us),
                                  .up_per_s = rate_per_s(&t->up, now_us),
                                  .wasted_len = t->wasted_len,
                                  .bad_len = t->bad_len,
                                  .progress_at_us = t->progress_at_us,
                                  .tracker_next_at_us = DEADLINE_NEVER};
    view_peers(t, out);
    if (t->has_picker)
        out->min_availability = picker_min_availability(&t->picker);
    if (s->announcer)
        out->tracker_next_at_us = announcer_next_at_us(s->announcer, t->id);
    return true;
}

static void view_peer(struct peer *p, uint64_t now_us, struct peer_stats *out)
{
    const struct torrent *t = p->t;
    *out = (struct peer_stats){.addr = p->addr,
                               .down_total = p->down.total,
                               .up_total = p->up.total,
                               .down_per_s = rate_per_s(&p->down, now_us),
                               .up_per_s = rate_per_s(&p->up, now_us),
                               .n_requests_out = p->pp.n_requests,
                               .n_requests_in = p->uploads.n,
                               .queue_target = pipeline_target(&p->pipeline, 0),
                               .am_choking = p->am_choking,
                               .am_interested = p->am_interested,
                               .peer_choking = p->peer_choking,
                               .peer_interested = p->peer_interested,
                               .is_snubbed = p->cp.is_snubbed,
                               .is_optimistic = p->cp.is_optimistic,
                               .is_incoming = p->is_incoming,
                               .is_seed = peer_is_seed(p),
                               .is_upload_only = p->ext.is_upload_only,
                               .is_v2 = peer_can(p, WIRE_V2)};
    memcpy(out->peer_id, p->peer_id, PEER_ID_LEN);
    if (p->is_have_known)
        out->n_have = p->have.n ? p->have.n_set : t->info->n_pieces;
    peer_client_name(p->peer_id, bytes_of(p->ext.version, p->ext.version_len), out->client,
                     sizeof(out->client));
}

size_t session_peers(struct session *s, uint64_t now_us, uint32_t torrent, struct peer_stats *out,
                     size_t out_cap)
{
    struct torrent *t = session_torrent(s, torrent);
    size_t n = 0;
    if (!t)
        return 0;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    if (n < out_cap && peer_is_running(p))
        view_peer(p, now_us, &out[n++]);
    return n;
}

struct source peer_source(const struct peer *p)
{
    struct source source = {
        .addr = p->entry ? p->entry->addr : p->addr,
        .down_len = p->down.total,
        .up_len = p->up.total,
    };
    peer_client_name(p->peer_id, bytes_of(p->ext.version, p->ext.version_len), source.client,
                     sizeof source.client);
    return source;
}

static void view_source(const struct source *source, struct peer_stats *out)
{
    *out = (struct peer_stats){
        .addr = source->addr,
        .down_total = source->down_len,
        .up_total = source->up_len,
    };
    memcpy(out->client, source->client, sizeof out->client);
}

/* Peers that are here join a copy of the table of those that left. */
size_t session_sources(struct session *s, uint64_t now_us, uint32_t torrent, struct peer_stats *out,
                       size_t out_cap)
{
    struct sources all;
    struct torrent *t = session_torrent(s, torrent);
    (void)now_us;
    if (!t)
        return 0;
    sources_init(&all, s->mem);
    for (uint32_t i = 0; i < t->sources.n; i++)
        sources_add(&all, &t->sources.items[i]);
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        struct source source = peer_source(p);
        sources_add(&all, &source);
    }
    size_t n = all.n;
    for (size_t i = 0; i < n && i < out_cap; i++)
        view_source(&all.items[i], &out[i]);
    sources_clear(&all);
    return n;
}

const struct metainfo *session_metainfo(const struct session *s, uint32_t torrent)
{
    const struct torrent *t = session_torrent(s, torrent);
    return t ? t->info : NULL;
}

const uint8_t *session_have_bits(const struct session *s, uint32_t torrent)
{
    const struct torrent *t = session_torrent(s, torrent);
    return t && t->info ? t->have.bits : NULL;
}

/* --- counters -------------------------------------------------------------------------------- */

uint64_t session_counter(const struct session *s, const char *name)
{
    for (size_t i = 0; i < N_SESSION_COUNTERS; i++)
        if (strcmp(session_counter_descs[i].name, name) == 0)
            return s->counters[i];
    assert(!"a counter of this name");
    return 0;
}

size_t session_n_counters(void)
{
    return N_SESSION_COUNTERS;
}

const char *session_counter_name(size_t index)
{
    return index < N_SESSION_COUNTERS ? session_counter_descs[index].name : NULL;
}

/* --- invariants ------------------------------------------------------------------------------ */

static size_t session_count_blocks(const struct session *s)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->ahead.n_spares; i++)
        n += s->ahead.spares[i] != NULL;
    uint32_t cursor = 0;
    const struct peer *p;
    while ((p = slots_next(&s->conns, &cursor)))
        n += p->block != NULL;
    LIST_EACH(&s->cached_pieces, pi, struct piece_in, in_cached)
    n += pi->n_cached;
    return n;
}

static void session_check_conns(const struct session *s)
{
    uint32_t n = 0, n_half_open = 0, n_in_choker = 0, cursor = 0;
    const struct peer *p;
    while ((p = slots_next(&s->conns, &cursor))) {
        peer_check(p);
        n++;
        n_half_open += p->state == CONN_CONNECTING;
        n_in_choker += p->is_in_choker;
    }
    assert(n == s->n_conns && n_half_open == s->n_half_open);
    assert(n_half_open <= s->config.n_half_open_max);
    assert(n_in_choker == s->choker.n_peers);
}

void session_check(const struct session *s)
{
    uint32_t cursor = 0, n_puts = 0;
    const struct torrent *t;
    assert(list_is_empty(&s->dirty_peers) && list_is_empty(&s->dirty_torrents));
    assert(list_is_empty(&s->graveyard));
    slots_check(&s->conns);
    slots_check(&s->torrents);
    slots_check(&s->jobs);
    heap_check(&s->timers.heap);
    block_cache_check(&s->cache);
    choker_check(&s->choker);
    session_check_conns(s);
    while ((t = slots_next(&s->torrents, &cursor))) {
        torrent_check(t);
        LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
        n_puts += pi->job.id && pi->job.kind == JOB_PUT;
    }
    assert(n_puts == s->n_puts);
    assert(session_count_blocks(s) == s->cache.n_out);
    if (s->announcer)
        announcer_check(s->announcer);
}
