/* stage: builds, runs, judges. */
#include "sim/stage.h"
#include "base/size.h"
#include <assert.h>
#include <stdarg.h>

#define TRACKER_NAME    "tracker.sim"
#define TRACKER_PORT    6969
#define ANNOUNCE_S      60u
#define WHY_PEERS       3u
#define PEERS_SHOWN     50u
#define ENGINE_LEN      (4u << 20)  /* lists, tables, resume data: what depends on no peer */
#define CONN_LEN        (96u << 10) /* queues, tables and early bytes of one connection */
#define CONNS_DEFAULT   100u        /* of a torrent: session.h */
#define CACHE_DEFAULT   (32u << 20) /* session.h */
#define N_STRANGERS     128u        /* connections that have not named a torrent, about */
#define STRANGER_LEN    4096u
#define PIECE_LEN       128u  /* hashes, order, files */
#define TICKS_PER_S_MAX 2000u /* of one engine on average: more is a deadline that runs wild */

void stage_fail(struct stage *s, const char *fmt, ...)
{
    va_list ap;
    if (s->r->why[0])
        return;
    va_start(ap, fmt);
    vsnprintf(s->r->why, sizeof s->r->why, fmt, ap);
    va_end(ap);
}

void stage_init(struct stage *s, const struct scenario_params *p, struct scenario_result *r)
{
    static const char *const http[] = {"http://" TRACKER_NAME ":6969/announce", NULL};
    static const char *const udp[] = {"udp://" TRACKER_NAME ":6969/announce", NULL};
    struct content_params cp = {.name = "shared",
                                .len = p->size,
                                .piece_len = p->piece_len,
                                .n_files = p->n_files,
                                .version = p->version,
                                .is_phantom = p->is_phantom,
                                .trackers = p->is_udp_tracker ? udp : http,
                                .key = p->rng_seed};
    struct err err = {0};
    *s = (struct stage){.p = p, .r = r};
    mem_init(&s->mem, MEM_NO_BUDGET, NULL);
    sim_init(&s->sim, &s->mem, p->rng_seed);
    s->sim.log = p->log;
    world_fork_rng(&s->sim.w, &s->rng);
    s->tracker = tracker_node_new(&s->sim.n, TRACKER_NAME, TRACKER_PORT, ANNOUNCE_S);
    if (sim_add_content(&s->sim, &cp, &s->content, &err)) {
        stage_fail(s, "no content: %s", err.what);
        s->is_broken = true;
    }
    s->check_at_us = p->check_us;
}

struct sim_host_params stage_link(struct stage *s, bool is_seed)
{
    const struct scenario_params *p = s->p;
    struct sim_host_params hp = {0};
    hp.net = (struct net_params){
        .up_per_s = is_seed ? p->seed_up_per_s : p->up_per_s,
        .down_per_s = p->down_per_s,
        .delay_us = p->delay_us ? 1000 + rng_below64(&s->rng, p->delay_us) : 0,
        .jitter_us = p->jitter_us,
        .loss_ppm = p->loss_ppm,
        .split_ppm = 50000,
        .is_nat = !is_seed && rng_below(&s->rng, 100) < p->nat_percent,
    };
    hp.config.n_conns_per_torrent_max = p->n_conns;
    hp.config.cache_len_max = p->cache_len;
    hp.disk = (struct disk_params){
        .latency_us = 200, .write_per_s = 100u << 20, .read_per_s = 200u << 20};
    return hp;
}

static bool join(struct stage *s, struct stage_peer *p, const struct addr *knows)
{
    struct err err = {0};
    struct sim_add add = {.content = s->content,
                          .is_magnet = s->p->is_magnet && !p->is_seed,
                          .is_sequential = s->order == ORDER_SEQUENTIAL,
                          .is_random_order = s->order == ORDER_RANDOM,
                          .peers = knows,
                          .n_peers = knows ? 1 : 0};
    if (p->is_seed && p->n_crashes == 0)
        add.check = CHECK_TRUST;
    if (sim_host_start(p->h, &err) || sim_host_add(p->h, &add, &p->torrent, &err)) {
        stage_fail(s, "the engine refuses: %s", err.what);
        s->is_broken = true;
        return false;
    }
    p->is_up = true;
    return true;
}

static struct liar *liar_at(const struct stage *s, const struct addr *a)
{
    for (uint32_t i = 0; i < s->n_liars; i++)
        if (addr_ip_equal(net_addr(s->liars[i]->node), a))
            return s->liars[i];
    return NULL;
}

static void on_event(void *ctx, struct sim_host *h, const struct session_event *e)
{
    struct stage *s = ctx;
    if (e->kind == EVENT_PIECE && s->on_piece)
        s->on_piece(s, h);
    if (e->kind == EVENT_PEER_BANNED) {
        struct liar *l = liar_at(s, &e->addr);
        *(l ? &l->stats.n_banned : &s->r->n_honest_banned) += 1;
    }
}

struct stage_peer *stage_add_peer(struct stage *s, const struct sim_host_params *hp, bool is_seed,
                                  const struct addr *knows)
{
    if (s->n_peers == s->peers_cap) {
        s->peers_cap = s->peers_cap ? 2 * s->peers_cap : 64;
        s->peers = world_realloc(&s->sim.w, s->peers, s->peers_cap * sizeof *s->peers);
    }
    struct stage_peer *p = &s->peers[s->n_peers++];
    *p = (struct stage_peer){.h = sim_host_new(&s->sim, hp), .is_seed = is_seed};
    p->joined_at_us = s->sim.w.now_us;
    p->h->on_event = on_event;
    p->h->ctx = s;
    if (s->is_broken)
        return NULL;
    if (is_seed)
        disk_fill(&p->h->disk, s->content);
    return join(s, p, knows) ? p : NULL;
}

uint32_t stage_random_peer(struct stage *s)
{
    return rng_below(&s->rng, s->n_peers);
}

void stage_add_crowd(struct stage *s, uint32_t n_seeds, uint32_t n_peers)
{
    for (uint32_t i = 0; i < n_seeds + n_peers && !s->is_broken; i++) {
        if (s->p->arrive_us && i >= n_seeds)
            stage_run_until(s, s->p->arrive_us * (i - n_seeds) / n_peers);
        struct sim_host_params hp = stage_link(s, i < n_seeds);
        stage_add_peer(s, &hp, i < n_seeds, NULL);
    }
}

struct liar *stage_add_liar(struct stage *s, enum liar_kind kind)
{
    struct sim_host_params hp = stage_link(s, false);
    hp.net.is_nat = false;
    struct liar *l = liar_new(&s->sim.n, &hp.net, s->content, kind);
    s->liars = world_realloc(&s->sim.w, s->liars, (s->n_liars + 1) * sizeof(struct liar *));
    s->liars[s->n_liars++] = l;
    tracker_node_add(s->tracker, metainfo_key(s->content->info), net_addr(l->node), true);
    return l;
}

#define WRONG_MIN 8u /* blocks: of fewer none may have mattered */

uint32_t stage_n_found(const struct stage *s, enum liar_kind kind, uint32_t *out_n_guilty)
{
    uint32_t n = 0;
    *out_n_guilty = 0;
    for (uint32_t i = 0; i < s->n_liars; i++) {
        const struct liar_stats *st = &s->liars[i]->stats;
        bool is_guilty = kind == LIAR_METADATA ? st->n_sent > 0 : st->n_blocks_wrong >= WRONG_MIN;
        if (s->liars[i]->kind != kind || !is_guilty)
            continue;
        *out_n_guilty += 1;
        n += st->n_banned > 0;
    }
    return n;
}

static void keep_counters(struct stage *s, const struct stage_peer *p)
{
    for (size_t k = 0; p->is_up && k < N_SESSION_COUNTERS; k++)
        s->r->counters[k] += session_counter(p->h->session, session_counter_name(k));
}

void stage_leave(struct stage *s, struct stage_peer *p)
{
    keep_counters(s, p);
    sim_host_crash(p->h, SIM_KILL);
    p->is_up = false;
    p->has_left = true;
    p->restart_at_us = 0;
}

void stage_crash(struct stage *s, struct stage_peer *p, enum sim_crash how, uint64_t down_us)
{
    keep_counters(s, p);
    sim_host_crash(p->h, how);
    p->is_up = false;
    p->n_crashes++;
    p->restart_at_us = s->sim.w.now_us + down_us;
}

static bool has_error(struct stage *s, const struct stage_peer *p, struct torrent_stats *st)
{
    return p->is_up && session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, st) &&
           st->state == TORRENT_ERROR;
}

bool stage_has_error(struct stage *s, const struct stage_peer *p)
{
    struct torrent_stats st;
    return has_error(s, p, &st);
}

bool stage_mend_disk(struct stage *s, struct stage_peer *p)
{
    struct torrent_stats before, after;
    if (!has_error(s, p, &before))
        return false;
    if (before.err.code != ERR_IO || !before.err.what)
        stage_fail(s, "a disk failed and the torrent's error is code %d", (int)before.err.code);
    p->h->disk.p.cap_len = 0;
    for (int k = 0; k < DISK_FAULT_COUNT; k++)
        disk_plan_fault(&p->h->disk, (enum disk_fault)k, 0, 0, false);
    sim_host_resume(p->h, p->torrent);
    session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, &after);
    if (after.n_have < before.n_have)
        stage_fail(s, "peer %u lost %u verified pieces over a disk fault", (uint32_t)(p - s->peers),
                   before.n_have - after.n_have);
    p->n_fixes++;
    return true;
}

/* --- running --------------------------------------------------------------------------------- */

static bool has_all(const struct stage *s, const struct stage_peer *p)
{
    struct torrent_stats st;
    return p->is_up && session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, &st) &&
           st.state == TORRENT_SEEDING;
}

uint32_t stage_n_done(const struct stage *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_peers; i++)
        n += !s->peers[i].is_seed && s->peers[i].done_at_us;
    return n;
}

static uint32_t n_downloaders(const struct stage *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_peers; i++)
        n += !s->peers[i].is_seed && (!s->peers[i].has_left || s->peers[i].done_at_us);
    return n;
}

bool stage_is_done(const struct stage *s)
{
    for (uint32_t i = 0; i < s->n_peers; i++)
        if (!s->peers[i].done_at_us && !s->peers[i].is_seed && !s->peers[i].has_left)
            return false;
    return true;
}

/* A machine that ends before it is done has to do it again after its restart. */
static void note_done(struct stage *s)
{
    for (uint32_t i = 0; i < s->n_peers; i++) {
        struct stage_peer *p = &s->peers[i];
        if (p->done_at_us || p->is_seed || !has_all(s, p))
            continue;
        p->done_at_us = u64_max(p->h->stats.finished_at_us, 1);
    }
}

static void restart(struct stage *s)
{
    for (uint32_t i = 0; i < s->n_peers; i++) {
        struct stage_peer *p = &s->peers[i];
        if (p->is_up || !p->restart_at_us || p->restart_at_us > s->sim.w.now_us)
            continue;
        p->restart_at_us = 0;
        join(s, p, NULL);
    }
}

static void check_all(struct stage *s)
{
    for (uint32_t i = 0; i < s->n_peers; i++)
        if (s->peers[i].is_up)
            sim_host_check(s->peers[i].h, s->peers[i].torrent, s->content);
    net_check(&s->sim.n);
}

/* Whom it knows, and how things stand between them. */
static void say_peers(struct stage *s, struct stage_peer *p)
{
    struct peer_stats *peers = world_calloc(&s->sim.w, PEERS_SHOWN, sizeof *peers);
    size_t n = session_peers(p->h->session, s->sim.w.now_us, p->torrent, peers, PEERS_SHOWN);
    for (size_t i = 0; i < n; i++) {
        const struct peer_stats *q = &peers[i];
        char addr[ADDR_TEXT_CAP];
        buf_printf(&s->r->table, "    %-20s has %u, asked for %u of %u, %llu B/s%s%s%s%s\n",
                   addr_format(&q->addr, addr), q->n_have, q->n_requests_out, q->queue_target,
                   (unsigned long long)q->down_per_s, q->peer_choking ? ", chokes us" : "",
                   q->am_interested ? ", interesting" : "", q->is_snubbed ? ", snubbed" : "",
                   liar_at(s, &q->addr) ? ", liar" : "");
    }
    world_free(&s->sim.w, peers);
}

/* The slowest, in the words of their own engines. */
static void say_why(struct stage *s)
{
    char why[2000];
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_peers && n < WHY_PEERS; i++) {
        struct stage_peer *p = &s->peers[i];
        struct torrent_stats st = {0};
        if (p->is_seed || p->done_at_us || !p->is_up)
            continue;
        n++;
        session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, &st);
        session_torrent_why(p->h->session, s->sim.w.now_us, p->torrent, why, sizeof why);
        buf_printf(&s->r->table, "at %llu s, peer %u: state %d, %u of %u pieces, %u peers: %s\n",
                   (unsigned long long)(s->sim.w.now_us / US_PER_S), i, (int)st.state, st.n_have,
                   st.n_pieces, st.n_peers, why);
        if (s->p->why_us)
            say_peers(s, p);
    }
}

static void second(struct stage *s)
{
    world_run(&s->sim.w, s->sim.w.now_us + US_PER_S);
    note_done(s);
    restart(s);
    if (s->on_second)
        s->on_second(s, s->ctx);
    if (s->p->why_us && s->sim.w.now_us >= s->why_at_us) {
        s->why_at_us = s->sim.w.now_us + s->p->why_us;
        say_why(s);
    }
    if (s->p->check_us && s->sim.w.now_us >= s->check_at_us) {
        s->check_at_us = s->sim.w.now_us + s->p->check_us;
        check_all(s);
    }
}

void stage_run_until(struct stage *s, uint64_t until_us)
{
    while (!s->is_broken && s->sim.w.now_us < until_us)
        second(s);
}

void stage_run(struct stage *s)
{
    while (!s->is_broken && !stage_is_done(s) && s->sim.w.now_us < s->p->limit_us)
        second(s);
}

void stage_want_all_done(struct stage *s)
{
    if (s->is_broken || stage_is_done(s))
        return;
    say_why(s);
    stage_fail(s, "%u of %u peers are not done after %llu s", n_downloaders(s) - stage_n_done(s),
               n_downloaders(s), (unsigned long long)(s->sim.w.now_us / US_PER_S));
}

/* --- the end --------------------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t l = *(const uint64_t *)a, r = *(const uint64_t *)b;
    return (l > r) - (l < r);
}

static void count_times(struct stage *s)
{
    struct scenario_result *r = s->r;
    uint64_t *times = world_calloc(&s->sim.w, s->n_peers + 1, sizeof *times);
    r->done_at_us = mem_calloc(&r->mem, s->n_peers + 1, sizeof *r->done_at_us);
    for (uint32_t i = 0; i < s->n_peers; i++) {
        const struct stage_peer *p = &s->peers[i];
        if (p->is_seed || (p->has_left && !p->done_at_us))
            continue;
        r->n_honest++;
        if (r->done_at_us && p->done_at_us)
            r->done_at_us[r->n_done] = p->done_at_us;
        if (p->done_at_us)
            times[r->n_done++] = p->done_at_us - u64_min(p->done_at_us, p->joined_at_us);
        if (p->done_at_us)
            buf_printf(&r->times, "%.3f\n", (double)times[r->n_done - 1] / US_PER_S);
        else
            buf_str(&r->times, "-\n");
    }
    qsort(times, r->n_done, sizeof *times, compare_u64);
    if (r->done_at_us)
        qsort(r->done_at_us, r->n_done, sizeof *r->done_at_us, compare_u64);
    if (r->n_done) {
        r->first_us = times[0];
        r->median_us = times[r->n_done / 2];
        r->last_us = times[r->n_done - 1];
    }
    world_free(&s->sim.w, times);
}

static void count_peers(struct stage *s)
{
    struct scenario_result *r = s->r;
    for (uint32_t i = 0; i < s->n_peers; i++) {
        const struct stage_peer *p = &s->peers[i];
        const struct sim_host_stats *st = &p->h->stats;
        struct net_stats ns = net_stats(p->h->node);
        struct torrent_stats ts;
        r->n_lies += st->n_lies;
        r->n_banned += st->n_banned;
        r->n_pieces_bad += st->n_pieces_bad;
        r->n_errors += st->n_errors;
        r->n_ticks_max = u64_max(r->n_ticks_max, st->n_ticks);
        r->n_over_room += ns.n_over_room;
        r->up_len += ns.up_len;
        r->n_dials += ns.n_dials;
        r->seed_up_len += p->is_seed ? ns.up_len : 0;
        r->peak_mem_len = size_max(r->peak_mem_len, p->h->mem.peak_len);
        r->engines_mem_len += p->h->mem.used_len;
        keep_counters(s, p);
        if (p->is_up && session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, &ts))
            r->wasted_len += ts.wasted_len + ts.bad_len;
    }
}

static void add_counters(struct stage *s)
{
    for (size_t k = 0; s->p->wants_counters && k < session_n_counters(); k++)
        if (s->r->counters[k])
            buf_printf(&s->r->table, "%-30s %llu\n", session_counter_name(k),
                       (unsigned long long)s->r->counters[k]);
}

/* max(F/u_s, F/d_min, N F / (u_s + sum u)): Kumar and Ross, 2006. */
static uint64_t time_for(uint64_t len, uint64_t per_s)
{
    return per_s ? (uint64_t)((double)len / (double)per_s * US_PER_S) : 0;
}

static uint64_t lower_bound(const struct stage *s)
{
    const struct scenario_params *p = s->p;
    uint64_t n = n_downloaders(s), bound = time_for(p->size, p->seed_up_per_s);
    bound = u64_max(bound, time_for(p->size, p->down_per_s));
    if (p->seed_up_per_s && p->up_per_s)
        bound = u64_max(bound, time_for(n * p->size, p->seed_up_per_s + n * p->up_per_s));
    return bound;
}

size_t stage_engine_len_max(const struct scenario_params *p)
{
    size_t n_conns = p->n_conns ? p->n_conns : CONNS_DEFAULT;
    size_t cache_len = p->cache_len ? p->cache_len : CACHE_DEFAULT;
    size_t n_pieces = (size_t)(p->size / u64_max(p->piece_len, 1)) + p->n_files + 1;
    return ENGINE_LEN + cache_len + n_conns * CONN_LEN + N_STRANGERS * STRANGER_LEN +
           n_pieces * (PIECE_LEN + n_conns / 8);
}

void stage_clear(struct stage *s)
{
    struct scenario_result *r = s->r;
    check_all(s);
    count_times(s);
    count_peers(s);
    add_counters(s);
    r->end_us = s->sim.w.now_us;
    r->bound_us = lower_bound(s);
    r->world_mem_len = s->mem.peak_len;
    r->n_events = s->sim.w.n_events;
    r->n_traced = s->sim.w.n_traced;
    world_trace_hash(&s->sim.w, r->trace_hash);
    if (r->n_lies)
        stage_fail(s, "%llu times something was believed or sent that is not right on the disk",
                   (unsigned long long)r->n_lies);
    if (r->n_honest_banned && !s->may_ban_honest)
        stage_fail(s, "%llu times an honest machine was banned",
                   (unsigned long long)r->n_honest_banned);
    if (r->peak_mem_len > stage_engine_len_max(s->p))
        stage_fail(s, "an engine took %zu bytes, more than its bound of %zu", r->peak_mem_len,
                   stage_engine_len_max(s->p));
    if (r->n_ticks_max / TICKS_PER_S_MAX > r->end_us / US_PER_S + 1)
        stage_fail(s, "an engine asked for %llu ticks", (unsigned long long)r->n_ticks_max);
    if (r->n_over_room)
        stage_fail(s, "%llu times more was sent than there was room for",
                   (unsigned long long)r->n_over_room);
    for (uint32_t i = 0; i < s->n_liars; i++)
        liar_free(s->liars[i]);
    world_free(&s->sim.w, s->liars);
    world_free(&s->sim.w, s->peers);
    for (struct list_node *n = s->sim.hosts.head.next; n != &s->sim.hosts.head; n = n->next)
        sim_host_crash(CONTAINER_OF(n, struct sim_host, in_hosts), SIM_KILL);
    tracker_node_free(s->tracker);
    sim_clear(&s->sim);
    mem_check_empty(&s->mem);
    r->is_ok = r->why[0] == 0;
}
