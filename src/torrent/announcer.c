#include "base/size.h"
#include "torrent/announcer_private.h"
#include <assert.h>
#include <strings.h>

#define N_FETCHES_DEFAULT 40u
#define N_UDP_DEFAULT     1000u
#define NUMWANT_DEFAULT   200u               /* ours, as libtorrent */
#define N_ENDPOINTS_MAX   256u               /* ours: UDP trackers with an id at once */
#define N_NAMES_MAX       512u               /* ours: tracker hosts remembered */
#define N_TORRENTS_MAX    (1u << 20)         /* ours */
#define N_JOBS_MAX        (1u << 17)         /* fetches, UDP requests and names at most */
#define BACKOFF_US        (10u * US_PER_S)   /* ours: doubles with each round that failed */
#define BACKOFF_US_MAX    (1800u * US_PER_S) /* ours */
#define MIN_INTERVAL_S    300u               /* ours, as libtorrent: when a tracker names none */
#define JITTER_DIVISOR    16u                /* ours: up to 1/16 later than the interval */

const char *const announcer_counter_names[ANNOUNCER_N_COUNTERS] = {
    "tracker_url_refused", "tracker_limit_reached", "loopback_tracker_refused",
    "reply_malformed",     "reply_failure",         "http_status_bad",
    "fetch_failed",        "resolve_failed",        "udp_failed",
    "late_answer",         "peers_dropped"};

/* --- life ------------------------------------------------------------------------------------ */

static void fill_defaults(struct announcer_config *c)
{
    if (c->n_fetches_max == 0)
        c->n_fetches_max = N_FETCHES_DEFAULT;
    if (c->n_udp_requests_max == 0)
        c->n_udp_requests_max = N_UDP_DEFAULT;
    if (c->numwant == 0)
        c->numwant = NUMWANT_DEFAULT;
}

enum err_code announcer_new(struct announcer **out, struct mem *mem,
                            const struct announcer_config *config, struct log *log,
                            uint64_t rng_seed)
{
    struct announcer *a = mem_calloc(mem, 1, sizeof *a);
    if (!a)
        return ERR_NO_MEMORY;
    a->mem = mem;
    a->config = *config;
    a->log = log;
    fill_defaults(&a->config);
    rng_init(&a->rng, rng_seed);
    enum err_code code = tracker_udp_init(&a->udp, mem, rng_u64(&a->rng),
                                          a->config.n_udp_requests_max, N_ENDPOINTS_MAX);
    if (code) {
        mem_free(mem, a);
        return code;
    }
    map_init(&a->torrents, mem, rng_map_seed(&a->rng), sizeof(uint32_t),
             sizeof(struct announcer_torrent *), N_TORRENTS_MAX);
    map_init(&a->jobs, mem, rng_map_seed(&a->rng), sizeof(uint64_t), sizeof(struct announcer_job),
             N_JOBS_MAX);
    name_cache_init(&a->names, mem, rng_map_seed(&a->rng), N_NAMES_MAX);
    timers_init(&a->timers, mem);
    list_init(&a->fetch_queue);
    list_init(&a->udp_queue);
    list_init(&a->stopped);
    a->reply.peers = a->reply_peers;
    a->reply.peers_cap = TRACKER_PEERS_MAX;
    *out = a;
    return ERR_OK;
}

static struct announcer_torrent *torrent_get(const struct announcer *a, uint32_t id)
{
    struct announcer_torrent **slot = map_get(&a->torrents, &id);
    return slot ? *slot : NULL;
}

static void tracker_free(struct announcer *a, struct announcer_tracker *tracker)
{
    mem_free(a->mem, tracker->url);
    mem_free(a->mem, tracker->text);
    mem_free(a->mem, tracker->tracker_id);
    mem_free(a->mem, tracker);
}

static void cancel_ops(struct announcer *a, struct announcer_torrent *t)
{
    LIST_EACH(&t->ops, op, struct announcer_op, in_torrent)
    {
        op_cancel(a, op);
    }
    t->n_round_ops = 0;
}

static void torrent_free(struct announcer *a, struct announcer_torrent *t)
{
    cancel_ops(a, t);
    a->has_status = a->has_status && a->status.torrent != t->id;
    a->has_peers = a->has_peers && a->peers.torrent != t->id;
    timer_stop(&a->timers, &t->timer);
    if (list_node_is_linked(&t->in_stopped))
        list_remove(&a->stopped, &t->in_stopped);
    for (size_t i = 0; i < t->n_trackers; i++)
        tracker_free(a, t->trackers[i]);
    mem_free(a->mem, t->trackers);
    mem_free(a->mem, t);
}

void announcer_free(struct announcer *a)
{
    const void *key;
    void *value;
    if (!a)
        return;
    for (size_t cursor = 0; map_next(&a->torrents, &cursor, &key, &value);)
        torrent_free(a, *(struct announcer_torrent **)value);
    map_clear(&a->torrents);
    map_clear(&a->jobs);
    name_cache_clear(&a->names);
    tracker_udp_clear(&a->udp);
    timers_clear(&a->timers);
    mem_free(a->mem, a);
}

/* The timer of a torrent is in the heap from announcer_add on, so that moving it cannot fail. */
static void torrent_wake(struct announcer *a, struct announcer_torrent *t, uint64_t at_us)
{
    enum err_code code = timer_set(&a->timers, &t->timer, at_us);
    assert(code == ERR_OK);
    (void)code;
    t->next_at_us = at_us;
}

static void set_infohash(struct announcer_torrent *t, const uint8_t *v1, const uint8_t *v2)
{
    const uint8_t *hashes[N_HASHES] = {v1, v2};
    for (unsigned i = 0; i < N_HASHES; i++) {
        t->has_infohash[i] = hashes[i] != NULL;
        if (hashes[i])
            memcpy(t->infohash[i], hashes[i], SHA1_LEN); /* BEP 52: v2 cut to 20 bytes */
    }
}

enum err_code announcer_add(struct announcer *a, uint32_t torrent, const uint8_t *infohash_v1,
                            const uint8_t *infohash_v2, const struct announcer_progress *progress)
{
    bool is_new;
    struct announcer_torrent *t = mem_calloc(a->mem, 1, sizeof *t);
    if (!t)
        return ERR_NO_MEMORY;
    timer_init(&t->timer, 0);
    list_init(&t->ops);
    struct announcer_torrent **slot = NULL;
    if (timer_set(&a->timers, &t->timer, DEADLINE_NEVER) == ERR_OK)
        slot = map_put(&a->torrents, &torrent, &is_new);
    if (!slot) {
        timer_stop(&a->timers, &t->timer);
        mem_free(a->mem, t);
        return a->torrents.n == N_TORRENTS_MAX ? ERR_LIMIT : ERR_NO_MEMORY;
    }
    assert(is_new);
    *slot = t;
    t->id = torrent;
    t->key = (uint32_t)(rng_u64(&a->rng) >> 32);
    t->progress = progress;
    t->next_at_us = DEADLINE_NEVER;
    set_infohash(t, infohash_v1, infohash_v2);
    return ERR_OK;
}

void announcer_set_infohash(struct announcer *a, uint32_t torrent, const uint8_t *infohash_v1,
                            const uint8_t *infohash_v2)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (t)
        set_infohash(t, infohash_v1, infohash_v2);
}

void announcer_remove(struct announcer *a, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t)
        return;
    map_remove(&a->torrents, &torrent);
    torrent_free(a, t);
}

/* --- trackers -------------------------------------------------------------------------------- */

/* A torrent file must not make us ask any service of this machine: on loopback only a path that
 * looks like a tracker's. Names that resolve to loopback are the host's to judge (host.h). */
static bool is_loopback_abuse(const struct tracker_url *url)
{
    bool is_loopback =
        url->is_ip ? addr_is_loopback(&url->ip)
                   : url->host.len == strlen("localhost") &&
                         strncasecmp((const char *)url->host.data, "localhost", url->host.len) == 0;
    return is_loopback && url->scheme != TRACKER_UDP &&
           !bytes_starts_with(url->path, BYTES_LIT("/announce"));
}

static enum err_code refuse(struct announcer *a, enum announcer_counter counter, enum err_code code)
{
    a->counters[counter]++;
    return code;
}

static bool has_tracker(const struct announcer_torrent *t, struct bytes url)
{
    for (size_t i = 0; i < t->n_trackers; i++) {
        if (bytes_equal_str(url, t->trackers[i]->url))
            return true;
    }
    return false;
}

static bool grow_trackers(struct announcer *a, struct announcer_torrent *t)
{
    if (t->n_trackers < t->trackers_cap)
        return true;
    size_t cap = t->trackers_cap ? t->trackers_cap * 2 : 2;
    struct announcer_tracker **grown = mem_realloc(a->mem, t->trackers, cap * sizeof *grown);
    if (!grown)
        return false;
    t->trackers = grown;
    t->trackers_cap = cap;
    return true;
}

static struct announcer_tracker *tracker_new(struct announcer *a, struct bytes url, uint32_t tier,
                                             bool is_by_hand)
{
    struct announcer_tracker *tracker = mem_calloc(a->mem, 1, sizeof *tracker);
    char *text = mem_strndup(a->mem, (const char *)url.data, url.len);
    if (!tracker || !text || tracker_url_parse(bytes_of(text, url.len), &tracker->parts, NULL)) {
        mem_free(a->mem, tracker);
        mem_free(a->mem, text);
        return NULL;
    }
    tracker->url = text;
    tracker->tier = tier;
    tracker->is_by_hand = is_by_hand;
    tracker->counts = (struct tracker_scrape){TRACKER_COUNT_UNKNOWN, TRACKER_COUNT_UNKNOWN,
                                              TRACKER_COUNT_UNKNOWN};
    return tracker;
}

/* BEP 12, order of processing: tiers in order, and within its tier a place drawn by lot. */
static size_t draw_place(struct announcer *a, const struct announcer_torrent *t, uint32_t tier)
{
    size_t from = 0;
    while (from < t->n_trackers && t->trackers[from]->tier < tier)
        from++;
    size_t to = from;
    while (to < t->n_trackers && t->trackers[to]->tier == tier)
        to++;
    return from + rng_below(&a->rng, (uint32_t)(to - from + 1));
}

enum err_code announcer_add_tracker(struct announcer *a, uint64_t now_us, uint32_t torrent,
                                    uint32_t tier, struct bytes url, bool is_by_hand)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    struct tracker_url parts;
    enum err_code code = tracker_url_parse(url, &parts, NULL);
    assert(t);
    if (code)
        return refuse(a, ANNOUNCER_TRACKER_URL_REFUSED, code);
    if (!parts.is_ip && parts.host.len > NAME_LEN_MAX)
        return refuse(a, ANNOUNCER_TRACKER_URL_REFUSED, ERR_LIMIT);
    if (!is_by_hand && is_loopback_abuse(&parts))
        return refuse(a, ANNOUNCER_LOOPBACK_TRACKER_REFUSED, ERR_PROTOCOL);
    if (has_tracker(t, url))
        return ERR_OK;
    if (t->n_trackers == ANNOUNCER_TRACKERS_MAX)
        return refuse(a, ANNOUNCER_TRACKER_LIMIT_REACHED, ERR_LIMIT);
    struct announcer_tracker *tracker =
        grow_trackers(a, t) ? tracker_new(a, url, tier, is_by_hand) : NULL;
    if (!tracker)
        return ERR_NO_MEMORY;
    size_t at = draw_place(a, t, tier);
    memmove(t->trackers + at + 1, t->trackers + at, (t->n_trackers - at) * sizeof *t->trackers);
    t->trackers[at] = tracker;
    t->n_trackers++;
    if (t->n_round_ops > 0 && at <= t->current)
        t->current++;
    else if (t->state == T_RUNNING && t->n_round_ops == 0 && t->next_at_us == DEADLINE_NEVER)
        torrent_wake(a, t, now_us);
    return ERR_OK;
}

/* BEP 12: the tracker that answered moves to the front of its tier. */
static void tracker_to_front(struct announcer_torrent *t, struct announcer_tracker *tracker)
{
    size_t at = 0;
    while (t->trackers[at] != tracker)
        at++;
    size_t front = at;
    while (front > 0 && t->trackers[front - 1]->tier == tracker->tier)
        front--;
    memmove(t->trackers + front + 1, t->trackers + front, (at - front) * sizeof *t->trackers);
    t->trackers[front] = tracker;
}

static void set_text(struct announcer *a, struct announcer_tracker *tracker, const char *text)
{
    mem_free(a->mem, tracker->text);
    tracker->text = *text ? mem_strndup(a->mem, text, strlen(text)) : NULL;
}

static void set_tracker_id(struct announcer *a, struct announcer_tracker *tracker)
{
    if (a->reply.tracker_id_len == 0)
        return; /* BEP 3 by custom: a reply without one leaves the old one in force */
    mem_free(a->mem, tracker->tracker_id);
    tracker->tracker_id = mem_dup(a->mem, a->reply.tracker_id, a->reply.tracker_id_len);
    tracker->tracker_id_len = tracker->tracker_id ? a->reply.tracker_id_len : 0;
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void say_status(struct announcer *a, const struct announcer_torrent *t,
                       const struct announcer_tracker *tracker, const struct err *err,
                       const char *text)
{
    a->status = (struct announcer_want){.kind = ANNOUNCER_STATUS,
                                        .torrent = t->id,
                                        .url = tracker->url,
                                        .err = *err,
                                        .text = text,
                                        .n_peers = err->code ? 0 : a->reply.n_peers};
    if (!err->code)
        a->status.external = a->reply.external;
    a->has_status = true;
    LOG(a->log, err->code ? LOG_INFO : LOG_DEBUG, "announcer",
        "\"%s\" torrent=%u url=%s what=%s%s%s", err->code ? "announce failed" : "announced", t->id,
        tracker->url, err->code ? err->what : "ok", *text ? " text=" : "", text);
}

static enum tracker_event pick_event(const struct announcer_torrent *t,
                                     const struct announcer_tracker *tracker, unsigned stream)
{
    if (!(tracker->heard_started >> stream & 1))
        return TRACKER_EVENT_STARTED;
    if (t->is_completed && !(tracker->heard_completed >> stream & 1))
        return TRACKER_EVENT_COMPLETED;
    return t->progress->is_partial_seed ? TRACKER_EVENT_PAUSED : TRACKER_EVENT_NONE; /* BEP 21 */
}

/* Asks one tracker: for each info-hash, over each family. */
static enum err_code ask_tracker(struct announcer *a, struct announcer_torrent *t,
                                 struct announcer_tracker *tracker)
{
    static const enum addr_family families[] = {ADDR_V4, ADDR_V6};
    enum err_code code = ERR_NOT_FOUND;
    for (uint8_t stream = 0; stream < N_STREAMS; stream++) {
        enum addr_family family = families[stream % 2];
        if (!t->has_infohash[stream / 2] || !op_family_is_usable(a, tracker, family))
            continue;
        code = op_start(a, t, tracker, OP_ANNOUNCE, pick_event(t, tracker, stream), stream / 2,
                        family);
        t->n_round_ops += code == ERR_OK;
    }
    return code;
}

static uint64_t backoff_us(struct announcer *a, uint32_t n_fails)
{
    uint64_t us = u64_min((uint64_t)BACKOFF_US << (n_fails < 16 ? n_fails : 16), BACKOFF_US_MAX);
    return us - us / 4 + rng_below64(&a->rng, us / 2 + 1); /* a quarter to either side */
}

/* Nobody answered: all of it again, later and later. */
static void round_failed(struct announcer *a, uint64_t now_us, struct announcer_torrent *t)
{
    uint64_t allowed_us = DEADLINE_NEVER;
    for (size_t i = 0; i < t->n_trackers; i++)
        allowed_us = u64_min(allowed_us, t->trackers[i]->not_before_us);
    t->current = 0;
    torrent_wake(a, t, u64_max(allowed_us, now_us + backoff_us(a, t->n_fails)));
    t->n_fails++;
}

static void tracker_failed(struct announcer *a, struct announcer_torrent *t,
                           struct announcer_tracker *tracker, const struct err *err,
                           const char *text)
{
    tracker->err = *err;
    tracker->n_fails++;
    set_text(a, tracker, text);
    say_status(a, t, tracker, err, text);
}

/* Goes on with the tracker at t->current, or the next that may be asked (BEP 31). */
static void round_go(struct announcer *a, uint64_t now_us, struct announcer_torrent *t)
{
    t->round_has_ok = false;
    t->round_err = (struct err){0};
    t->round_text[0] = 0;
    for (; t->current < t->n_trackers; t->current++) {
        struct announcer_tracker *tracker = t->trackers[t->current];
        if (tracker->not_before_us > now_us)
            continue;
        enum err_code code = ask_tracker(a, t, tracker);
        if (t->n_round_ops > 0)
            return;
        struct err err;
        err_set(&err, code,
                code == ERR_NO_MEMORY ? "no memory for a tracker request"
                                      : "tracker is of a family that we do not have");
        tracker_failed(a, t, tracker, &err, "");
    }
    round_failed(a, now_us, t);
}

static void round_begin(struct announcer *a, uint64_t now_us, struct announcer_torrent *t)
{
    cancel_ops(a, t);
    t->current = 0;
    torrent_wake(a, t, DEADLINE_NEVER);
    if (t->n_trackers > 0)
        round_go(a, now_us, t);
}

/* Something is to be said before the interval is over: completed (BEP 3, event). */
static bool has_news(const struct announcer_torrent *t, const struct announcer_tracker *tracker)
{
    return t->is_completed && (tracker->heard_started & ~tracker->heard_completed) != 0;
}

static void round_succeeded(struct announcer *a, uint64_t now_us, struct announcer_torrent *t,
                            struct announcer_tracker *tracker)
{
    uint32_t interval_s = a->reply.interval_s;
    uint32_t min_s = a->reply.min_interval_s;
    if (min_s == 0)
        min_s = interval_s < MIN_INTERVAL_S ? interval_s : MIN_INTERVAL_S;
    if (interval_s < min_s)
        interval_s = min_s;
    uint64_t interval_us = (uint64_t)interval_s * US_PER_S;
    t->round_has_ok = true;
    t->n_fails = 0;
    t->current = 0;
    t->allowed_at_us = now_us + (uint64_t)min_s * US_PER_S;
    tracker->err = (struct err){0};
    tracker->n_fails = 0;
    tracker->announced_at_us = now_us;
    tracker_to_front(t, tracker);
    torrent_wake(a, t, now_us + interval_us + rng_below64(&a->rng, interval_us / JITTER_DIVISOR));
}

static void hear(struct announcer_tracker *tracker, const struct announcer_op *op)
{
    uint8_t bit = (uint8_t)(1u << op_stream(op));
    if (op->event == TRACKER_EVENT_STOPPED) {
        tracker->heard_started &= (uint8_t)~bit;
        return;
    }
    tracker->heard_started |= bit;
    if (op->was_completed)
        tracker->heard_completed |= bit;
}

static void take_counts(struct announcer_tracker *tracker, const struct tracker_scrape *counts)
{
    if (counts->n_seeders != TRACKER_COUNT_UNKNOWN)
        tracker->counts.n_seeders = counts->n_seeders;
    if (counts->n_leechers != TRACKER_COUNT_UNKNOWN)
        tracker->counts.n_leechers = counts->n_leechers;
    if (counts->n_completed != TRACKER_COUNT_UNKNOWN)
        tracker->counts.n_completed = counts->n_completed;
}

static void announce_succeeded(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                               const char *text)
{
    struct announcer_torrent *t = op->torrent;
    struct announcer_tracker *tracker = op->tracker;
    static const struct err ok = {0};
    hear(tracker, op);
    take_counts(tracker, &a->reply.counts);
    set_tracker_id(a, tracker);
    set_text(a, tracker, text);
    tracker->n_peers = (uint32_t)a->reply.n_peers;
    if (!t->round_has_ok)
        round_succeeded(a, now_us, t, tracker);
    if (t->n_round_ops == 0 && has_news(t, tracker))
        torrent_wake(a, t, now_us);
    say_status(a, t, tracker, &ok, text);
    if (a->reply.n_peers == 0)
        return;
    a->peers = (struct announcer_want){.kind = ANNOUNCER_PEERS,
                                       .torrent = t->id,
                                       .peers = a->reply.peers,
                                       .n_peers = a->reply.n_peers};
    a->has_peers = true;
}

static void obey_retry_in(struct announcer *a, uint64_t now_us, struct announcer_tracker *tracker)
{
    uint32_t retry_in_s = a->reply.retry_in_s; /* BEP 31 */
    if (retry_in_s == TRACKER_RETRY_NEVER)
        tracker->not_before_us = DEADLINE_NEVER;
    else if (retry_in_s)
        tracker->not_before_us = now_us + (uint64_t)retry_in_s * US_PER_S;
}

static void announce_failed(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                            const struct op_outcome *outcome)
{
    struct announcer_torrent *t = op->torrent;
    /* What the tracker said in words tells more than that it has no address of some family. */
    if (!t->round_err.code || *outcome->text || t->round_err.code == ERR_NOT_FOUND) {
        t->round_err = outcome->err;
        snprintf(t->round_text, sizeof t->round_text, "%s", outcome->text);
    }
    if (outcome->text == a->reply.failure)
        obey_retry_in(a, now_us, op->tracker);
    if (t->n_round_ops > 0)
        return;
    if (t->round_has_ok) {
        if (has_news(t, op->tracker))
            torrent_wake(a, t, now_us);
        return;
    }
    tracker_failed(a, t, op->tracker, &t->round_err, t->round_text);
    a->status.text = op->tracker->text ? op->tracker->text : "";
    t->current++;
    round_go(a, now_us, t);
}

static void scrape_done(struct announcer *a, struct announcer_op *op,
                        const struct op_outcome *outcome)
{
    if (!outcome->err.code)
        take_counts(op->tracker, &a->reply.counts);
    say_status(a, op->torrent, op->tracker, &outcome->err, outcome->text);
}

/* --- stopping -------------------------------------------------------------------------------- */

static void say_stopped(struct announcer *a, struct announcer_torrent *t)
{
    cancel_ops(a, t);
    torrent_wake(a, t, DEADLINE_NEVER);
    t->state = T_STOPPED;
    if (!list_node_is_linked(&t->in_stopped))
        list_push_back(&a->stopped, &t->in_stopped);
}

static void stop_at_tracker(struct announcer *a, struct announcer_torrent *t,
                            struct announcer_tracker *tracker)
{
    for (uint8_t stream = 0; stream < N_STREAMS; stream++) {
        if (!(tracker->heard_started >> stream & 1))
            continue;
        enum err_code code = op_start(a, t, tracker, OP_ANNOUNCE, TRACKER_EVENT_STOPPED, stream / 2,
                                      stream % 2 ? ADDR_V6 : ADDR_V4);
        t->n_round_ops += code == ERR_OK; /* without memory it is left to the tracker's time-out */
    }
}

/* A fetch cannot be called back: its tracker will hear of us, so it must hear the end, too. */
static void hear_fetches(struct announcer_torrent *t)
{
    LIST_EACH(&t->ops, op, struct announcer_op, in_torrent)
    {
        if (op->kind == OP_ANNOUNCE && op->state == OP_FETCHING &&
            op->event != TRACKER_EVENT_STOPPED)
            hear(op->tracker, op);
    }
}

void announcer_stop(struct announcer *a, uint64_t now_us, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t || t->state == T_STOPPING)
        return;
    hear_fetches(t);
    cancel_ops(a, t);
    t->state = T_STOPPING;
    for (size_t i = 0; i < t->n_trackers; i++)
        stop_at_tracker(a, t, t->trackers[i]);
    if (t->n_round_ops == 0)
        say_stopped(a, t);
    else
        torrent_wake(a, t, now_us + ANNOUNCER_STOP_US);
}

/* --- what the owner asks for ----------------------------------------------------------------- */

void announcer_start(struct announcer *a, uint64_t now_us, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t || t->state == T_RUNNING)
        return;
    cancel_ops(a, t);
    if (list_node_is_linked(&t->in_stopped))
        list_remove(&a->stopped, &t->in_stopped);
    for (size_t i = 0; i < t->n_trackers; i++) {
        t->trackers[i]->heard_started = t->trackers[i]->heard_completed = 0;
        t->trackers[i]->not_before_us = 0;
    }
    t->state = T_RUNNING;
    t->is_completed = false;
    t->n_fails = 0;
    torrent_wake(a, t, now_us);
}

void announcer_completed(struct announcer *a, uint64_t now_us, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t || t->state != T_RUNNING || t->is_completed)
        return;
    t->is_completed = true;
    if (t->n_round_ops == 0 && t->n_fails == 0 && t->n_trackers > 0 && has_news(t, t->trackers[0]))
        torrent_wake(a, t, now_us);
}

void announcer_want_peers(struct announcer *a, uint64_t now_us, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t || t->state != T_RUNNING || t->n_fails > 0 || t->next_at_us == DEADLINE_NEVER)
        return;
    uint64_t at_us = u64_max(now_us, t->allowed_at_us);
    if (at_us < t->next_at_us)
        torrent_wake(a, t, at_us);
}

static bool has_scrape(const struct announcer_torrent *t)
{
    LIST_EACH(&t->ops, op, const struct announcer_op, in_torrent)
    {
        if (op->kind == OP_SCRAPE)
            return true;
    }
    return false;
}

void announcer_scrape(struct announcer *a, uint64_t now_us, uint32_t torrent)
{
    struct announcer_torrent *t = torrent_get(a, torrent);
    (void)now_us;
    if (!t || t->n_trackers == 0 || t->state == T_STOPPING || has_scrape(t))
        return;
    uint8_t hash = t->has_infohash[0] ? 0 : 1;
    enum err_code code =
        op_start(a, t, t->trackers[0], OP_SCRAPE, TRACKER_EVENT_NONE, hash, ADDR_NONE);
    (void)code; /* without memory there is no scrape; the owner may ask again */
}

/* --- answers and what is wanted -------------------------------------------------------------- */

void announcer_op_done(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                       const struct op_outcome *outcome)
{
    struct announcer_torrent *t = op->torrent;
    if (op->kind == OP_SCRAPE) {
        scrape_done(a, op, outcome);
        return;
    }
    assert(t->n_round_ops > 0);
    t->n_round_ops--;
    if (t->state == T_STOPPING) {
        hear(op->tracker, op);
        if (t->n_round_ops == 0)
            say_stopped(a, t);
    } else if (outcome->err.code) {
        announce_failed(a, now_us, op, outcome);
    } else {
        announce_succeeded(a, now_us, op, outcome->text);
    }
}

static bool next_told(struct announcer *a, struct announcer_want *out)
{
    if (a->has_peers) {
        a->has_peers = false;
        *out = a->peers;
        return true;
    }
    if (a->has_status) {
        a->has_status = false;
        *out = a->status;
        return true;
    }
    struct list_node *node = list_pop_front(&a->stopped);
    if (!node)
        return false;
    struct announcer_torrent *t = CONTAINER_OF(node, struct announcer_torrent, in_stopped);
    *out = (struct announcer_want){.kind = ANNOUNCER_STOPPED, .torrent = t->id};
    return true;
}

static bool run_timer(struct announcer *a, uint64_t now_us)
{
    struct timer *timer = timers_pop_due(&a->timers, now_us);
    if (!timer)
        return false;
    struct announcer_torrent *t = CONTAINER_OF(timer, struct announcer_torrent, timer);
    if (t->state == T_STOPPING)
        say_stopped(a, t);
    else
        round_begin(a, now_us, t);
    return true;
}

bool announcer_next(struct announcer *a, uint64_t now_us, struct announcer_want *out)
{
    for (;;) {
        if (next_told(a, out) || op_next(a, now_us, out))
            return true;
        if (a->has_status || a->has_peers || !list_is_empty(&a->stopped))
            continue;
        if (!run_timer(a, now_us))
            return false;
    }
}

uint64_t announcer_deadline_us(const struct announcer *a)
{
    if (a->has_status || a->has_peers || !list_is_empty(&a->stopped) || op_has_next(a))
        return 0;
    return u64_min(tracker_udp_deadline_us(&a->udp), timers_deadline_us(&a->timers));
}

/* --- what the owner may look at -------------------------------------------------------------- */

size_t announcer_n_trackers(const struct announcer *a, uint32_t torrent)
{
    const struct announcer_torrent *t = torrent_get(a, torrent);
    return t ? t->n_trackers : 0;
}

static enum announcer_tracker_state tracker_state(const struct announcer_torrent *t,
                                                  const struct announcer_tracker *tracker)
{
    LIST_EACH(&t->ops, op, const struct announcer_op, in_torrent)
    {
        if (op->tracker == tracker && op->kind == OP_ANNOUNCE && !t->round_has_ok)
            return ANNOUNCER_ANNOUNCING;
    }
    if (tracker->n_fails > 0)
        return ANNOUNCER_BAD;
    return t->trackers[0] == tracker && t->next_at_us != DEADLINE_NEVER ? ANNOUNCER_WAITING
                                                                        : ANNOUNCER_IDLE;
}

/* How often UDP requests under way were repeated. */
static unsigned n_retries(const struct announcer *a, const struct announcer_torrent *t,
                          const struct announcer_tracker *tracker)
{
    unsigned n = 0;
    LIST_EACH(&t->ops, op, const struct announcer_op, in_torrent)
    {
        if (op->tracker == tracker && op->state == OP_ASKING_UDP && !t->round_has_ok)
            n = (unsigned)u64_max(n, tracker_udp_n_retries(&a->udp, op->job));
    }
    return n;
}

bool announcer_tracker_status(const struct announcer *a, uint32_t torrent, size_t index,
                              struct announcer_tracker_status *out)
{
    const struct announcer_torrent *t = torrent_get(a, torrent);
    if (!t || index >= t->n_trackers)
        return false;
    const struct announcer_tracker *tracker = t->trackers[index];
    bool is_asked_next = index == 0 || t->n_fails > 0;
    struct err err = tracker->err;
    if (n_retries(a, t, tracker) > 0)
        err_set(&err, ERR_IO, "no answer yet");
    *out = (struct announcer_tracker_status){.url = tracker->url,
                                             .text = tracker->text ? tracker->text : "",
                                             .tier = tracker->tier,
                                             .state = tracker_state(t, tracker),
                                             .err = err,
                                             .n_seeders = tracker->counts.n_seeders,
                                             .n_leechers = tracker->counts.n_leechers,
                                             .n_completed = tracker->counts.n_completed,
                                             .n_peers = tracker->n_peers,
                                             .n_fails = tracker->n_fails,
                                             .announced_at_us = tracker->announced_at_us,
                                             .next_at_us =
                                                 is_asked_next ? t->next_at_us : DEADLINE_NEVER};
    return true;
}

uint64_t announcer_next_at_us(const struct announcer *a, uint32_t torrent)
{
    const struct announcer_torrent *t = torrent_get(a, torrent);
    return t ? t->next_at_us : DEADLINE_NEVER;
}

uint64_t announcer_counter(const struct announcer *a, enum announcer_counter which)
{
    return a->counters[which];
}

uint64_t announcer_udp_counter(const struct announcer *a, enum tracker_udp_counter which)
{
    return a->udp.counters[which];
}

static void check_torrent(const struct announcer *a, const struct announcer_torrent *t)
{
    uint32_t n_announces = 0;
    LIST_EACH(&t->ops, op, const struct announcer_op, in_torrent)
    {
        assert(op->torrent == t);
        n_announces += op->kind == OP_ANNOUNCE;
        op_check(a, op);
    }
    assert(n_announces == t->n_round_ops);
    assert(timer_is_set(&t->timer));
    assert(t->state != T_RUNNING || t->n_trackers == 0 || t->n_round_ops > 0 ||
           t->next_at_us != DEADLINE_NEVER || t->n_fails > 0);
    assert(t->state != T_STOPPED || t->n_round_ops == 0);
    assert(t->n_trackers <= ANNOUNCER_TRACKERS_MAX);
    for (size_t i = 1; i < t->n_trackers; i++)
        assert(t->trackers[i - 1]->tier <= t->trackers[i]->tier);
}

void announcer_check(const struct announcer *a)
{
    const void *key;
    void *value;
    for (size_t cursor = 0; map_next(&a->torrents, &cursor, &key, &value);)
        check_torrent(a, *(struct announcer_torrent **)value);
    assert(a->n_fetches <= a->config.n_fetches_max);
    name_cache_check(&a->names);
    tracker_udp_check(&a->udp);
    heap_check(&a->timers.heap);
}
