/* scenario: the table, and how each of them goes. */
#include "sim/scenario.h"
#include "base/size.h"
#include "sim/scenario_parts.h"
#include <errno.h>
#include <stdarg.h>
#include <time.h>

/* --- swarm: one seed, N downloaders ---------------------------------------------------------- */

static void run_swarm(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, p->n_peers);
    stage_run(&s);
    stage_want_all_done(&s);
    stage_clear(&s);
}

/* --- stuck: liars of every kind that keep others waiting ------------------------------------- */

static void liar_rows(struct stage *s)
{
    for (uint32_t i = 0; i < s->n_liars; i++) {
        const struct liar_stats *st = &s->liars[i]->stats;
        buf_printf(&s->r->table,
                   "%-14s %4llu connections, asked %6llu, sent right %6llu wrong %5llu, ignored "
                   "%6llu, rejected %6llu\n",
                   liar_kind_name(s->liars[i]->kind), (unsigned long long)st->n_conns,
                   (unsigned long long)st->n_requests, (unsigned long long)st->n_blocks_right,
                   (unsigned long long)st->n_blocks_wrong, (unsigned long long)st->n_ignored,
                   (unsigned long long)st->n_rejected);
    }
}

static void run_stuck(const struct scenario_params *p, struct scenario_result *r)
{
    static const enum liar_kind kinds[] = {LIAR_STALLER, LIAR_SILENT, LIAR_BITFIELD, LIAR_CORRUPTER,
                                           LIAR_DRIP};
    struct stage s;
    stage_init(&s, p, r);
    for (uint32_t i = 0; i < p->n_liars; i++) {
        struct liar *l = stage_add_liar(&s, kinds[i % 5]);
        l->wrong_ppm = i % 2 ? 1000000 : 200000;
    }
    stage_add_crowd(&s, 1, p->n_peers);
    for (uint32_t i = 0; i < s.n_liars; i++)
        for (uint32_t k = 0; k < 5 && k < s.n_peers; k++)
            liar_dial(s.liars[i], net_addr(s.peers[stage_random_peer(&s)].h->node));
    stage_run(&s);
    stage_want_all_done(&s);
    liar_rows(&s);
    uint32_t n_guilty, n_found = stage_n_found(&s, LIAR_CORRUPTER, &n_guilty);
    buf_printf(&r->table, "corrupters found     %u of %u\n", n_found, n_guilty);
    if (n_found < n_guilty)
        stage_fail(&s, "%u of %u corrupters were not found", n_guilty - n_found, n_guilty);
    stage_clear(&s);
}

/* --- hostile: those that attack the program, not the transfer -------------------------------- */

static void run_hostile(const struct scenario_params *p, struct scenario_result *r)
{
    static const enum liar_kind kinds[] = {LIAR_FLOODER, LIAR_OUT_OF_RANGE, LIAR_GARBAGE,
                                           LIAR_PEX,     LIAR_UNASKED,      LIAR_METADATA};
    struct stage s;
    stage_init(&s, p, r);
    for (uint32_t i = 0; i < p->n_liars; i++)
        stage_add_liar(&s, kinds[i % 6]);
    stage_add_crowd(&s, 1, p->n_peers);
    for (uint32_t i = 0; i < s.n_liars; i++)
        for (uint32_t k = 0; k < s.n_peers; k++)
            liar_dial(s.liars[i], net_addr(s.peers[k].h->node));
    stage_run(&s);
    stage_want_all_done(&s);
    for (uint32_t i = 0; i < s.n_liars; i++)
        buf_printf(&r->table, "%-14s %4llu connections, %llu of its messages\n",
                   liar_kind_name(s.liars[i]->kind), (unsigned long long)s.liars[i]->stats.n_conns,
                   (unsigned long long)s.liars[i]->stats.n_sent);
    stage_clear(&s);
}

/* --- tracker-dies: the swarm goes on by gossip ----------------------------------------------- */

struct gossip {
    struct plot_panel *panel;
    uint32_t least, mean, n_early;
};

/* Of late comers that still download: how many members they know. */
static void draw_gossip(struct stage *s, void *ctx)
{
    const struct gossip *g = ctx;
    double now_s = (double)s->sim.w.now_us / US_PER_S;
    uint32_t n = 0, n_least = UINT32_MAX;
    uint64_t sum = 0;
    for (uint32_t i = 1 + g->n_early; i < s->n_peers; i++) {
        struct torrent_stats st = {0};
        const struct stage_peer *p = &s->peers[i];
        if (p->done_at_us ||
            !session_torrent_stats(p->h->session, s->sim.w.now_us, p->torrent, &st))
            continue;
        n_least = st.n_known_peers < n_least ? st.n_known_peers : n_least;
        sum += st.n_known_peers;
        n++;
    }
    if (!n)
        return;
    plot_add(&s->r->plot, g->panel, g->least, now_s, n_least);
    plot_add(&s->r->plot, g->panel, g->mean, now_s, (double)sum / n);
}

static void run_tracker_dies(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    uint32_t n_early = p->n_peers - p->n_peers / 4;
    struct gossip g = {.n_early = n_early};
    g.panel = plot_panel(&r->plot, "Late comers, after the tracker died: whom they hear of",
                         "time, s", "members they know");
    g.mean = plot_series(&r->plot, g.panel, "on average", PLOT_LINE);
    g.least = plot_series(&r->plot, g.panel, "who knows fewest", PLOT_LINE);
    stage_init(&s, p, r);
    s.on_second = draw_gossip;
    s.ctx = &g;
    stage_add_crowd(&s, 1, n_early);
    stage_run_until(&s, 10 * US_PER_S);
    if (s.is_broken) {
        stage_clear(&s);
        return;
    }
    tracker_node_crash(s.tracker);
    /* each that comes now knows one member, by --peer or x.pe, and no tracker */
    for (uint32_t i = n_early; i < p->n_peers; i++) {
        struct sim_host_params hp = stage_link(&s, false);
        const struct addr *knows = net_addr(s.peers[1 + rng_below(&s.rng, n_early)].h->node);
        stage_add_peer(&s, &hp, false, knows);
        stage_run_until(&s, s.sim.w.now_us + US_PER_S);
    }
    stage_run_until(&s, s.sim.w.now_us + 150 * US_PER_S); /* gossip goes once a minute */
    uint32_t n_lonely = 0, n_waiting = 0, n_least = UINT32_MAX;
    for (uint32_t i = 1 + n_early; i < s.n_peers; i++) {
        struct torrent_stats st = {0};
        if (s.peers[i].done_at_us) /* it met nobody else because it needed nobody else */
            continue;
        n_waiting++;
        session_torrent_stats(s.peers[i].h->session, s.sim.w.now_us, s.peers[i].torrent, &st);
        n_least = st.n_known_peers < n_least ? st.n_known_peers : n_least;
        n_lonely += st.n_known_peers < 3;
    }
    buf_printf(&r->table, "late comers          %u, each told of one member\n",
               p->n_peers - n_early);
    buf_printf(&r->table, "still downloading    %u of them, who know at least %u members\n",
               n_waiting, n_least);
    if (!n_waiting)
        stage_fail(&s,
                   "the late comers are done before gossip could reach them: --size is too small");
    if (n_lonely)
        stage_fail(&s, "%u late comers know fewer than 3 members: gossip did not reach them",
                   n_lonely);
    stage_run(&s);
    stage_want_all_done(&s);
    stage_clear(&s);
    scenario_plot_done(r, scenario_panel_done(r, "Who has everything when"), r, "all members");
}

/* --- partition: half of the swarm cannot reach the other, nor the tracker ------------------------
 */

#define PARTITION_US (200 * US_PER_S) /* longer than connections survive silence */

static void run_partition(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, p->n_peers);
    stage_run_until(&s, s.sim.w.now_us + 5 * US_PER_S);
    for (uint32_t i = 0; i < s.n_peers && !s.is_broken; i += 2)
        net_set_group(s.peers[i].h->node, 1); /* the seed is among them */
    stage_run_until(&s, s.sim.w.now_us + PARTITION_US);
    uint32_t n_done = stage_n_done(&s);
    for (uint32_t i = 0; i < s.n_peers && !s.is_broken; i += 2)
        net_set_group(s.peers[i].h->node, 0);
    uint64_t healed_at_us = s.sim.w.now_us;
    stage_run(&s);
    stage_want_all_done(&s);
    buf_printf(&r->table, "done before it heals %u\nall done            %.1f s after\n", n_done,
               (double)(s.sim.w.now_us - healed_at_us) / US_PER_S);
    stage_clear(&s);
}

/* --- crash-restart --------------------------------------------------------------------------- */

struct crash_state {
    uint64_t n_kills, n_power_losses, n_until;
};

static void crash_somebody(struct stage *s, void *ctx)
{
    struct crash_state *c = ctx;
    struct stage_peer *p = &s->peers[stage_random_peer(s)];
    if (c->n_kills + c->n_power_losses >= c->n_until || !p->is_up || rng_below(&s->rng, 3) == 0)
        return;
    if (p->done_at_us && !p->is_seed)
        return;
    enum sim_crash how = rng_below(&s->rng, 2) ? SIM_KILL : SIM_POWER_LOSS;
    *(how == SIM_KILL ? &c->n_kills : &c->n_power_losses) += 1;
    stage_crash(s, p, how, (1 + rng_below(&s->rng, 10)) * US_PER_S);
}

static void run_crash_restart(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    struct crash_state c = {.n_until = 2 * p->n_peers};
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, p->n_peers);
    s.on_second = crash_somebody;
    s.ctx = &c;
    stage_run(&s);
    stage_want_all_done(&s);
    uint64_t written = 0, n_rewrites = 0, n_lost = 0;
    for (uint32_t i = 0; i < s.n_peers; i++) {
        const struct disk_stats *d = &s.peers[i].h->disk.stats;
        written += s.peers[i].is_seed ? 0 : d->written_len;
        n_rewrites += d->n_rewrites;
        n_lost += d->n_lost_blocks + d->n_torn_blocks;
    }
    buf_printf(&r->table, "kills                %llu\npower losses         %llu\n",
               (unsigned long long)c.n_kills, (unsigned long long)c.n_power_losses);
    buf_printf(&r->table, "blocks lost or torn  %llu\nright ones rewritten %llu\n",
               (unsigned long long)n_lost, (unsigned long long)n_rewrites);
    buf_printf(&r->table, "written per peer     %.2f times the torrent\n",
               (double)written / ((double)p->size * p->n_peers));
    stage_clear(&s);
}

/* --- disk-faults ----------------------------------------------------------------------------- */

static void mend_disks(struct stage *s, void *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < s->n_peers; i++)
        if (stage_has_error(s, &s->peers[i]) && rng_below(&s->rng, 5) == 0)
            stage_mend_disk(s, &s->peers[i]);
}

static void plan_disk_faults(struct stage *s)
{
    uint64_t n_puts = s->p->size / (4 * BLOCK_LEN) + 1;
    for (uint32_t i = 1; i < s->n_peers; i++) {
        struct disk *d = &s->peers[i].h->disk;
        uint64_t after = rng_below64(&s->rng, n_puts);
        switch (i % 5) {
        case 0:
            disk_plan_fault(d, DISK_WRITE, after, EIO, true);
            break;
        case 1:
            d->p.cap_len = 1 + rng_below64(&s->rng, s->p->size);
            break;
        case 2:
            disk_plan_fault(d, DISK_READ, after, EIO, true);
            break;
        case 3:
            disk_plan_fault(d, DISK_SYNC, 0, EIO, true);
            break;
        default:
            break;
        }
    }
}

static void run_disk_faults(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, p->n_peers);
    plan_disk_faults(&s);
    s.on_second = mend_disks;
    stage_run(&s);
    stage_want_all_done(&s);
    uint32_t n_fixes = 0;
    uint64_t n_faults = 0;
    for (uint32_t i = 0; i < s.n_peers; i++) {
        n_fixes += s.peers[i].n_fixes;
        n_faults += s.peers[i].h->disk.stats.n_faults;
    }
    buf_printf(&r->table, "faults that struck   %llu\ntorrents resumed     %u\n",
               (unsigned long long)n_faults, n_fixes);
    if (n_fixes == 0)
        stage_fail(&s, "no disk fault stopped a torrent");
    stage_clear(&s);
}

/* --- the table ------------------------------------------------------------------------------- */

#define BASE                                                                                       \
    .rng_seed = 1, .version = CONTENT_V1, .down_per_s = 8 * MIB, .delay_us = 40000,                \
    .jitter_us = 2000, .limit_us = 3600ull * US_PER_S
#define COMMON BASE, .n_files = 1, .piece_len = 256u << 10, .check_us = 10 * US_PER_S
#define TINY   BASE, .piece_len = 64u << 10, .check_us = US_PER_S
#define SMALL  BASE, .piece_len = 64u << 10, .is_phantom = true /* pieces; for large swarms */

#define FAST .seed_up_per_s = 4 * MIB, .up_per_s = MIB
#define SLOW .seed_up_per_s = MIB / 4, .up_per_s = MIB / 8

const struct scenario scenarios[] = {
    {"swarm",
     "one seed, everybody else begins with nothing",
     {COMMON, FAST, .n_peers = 50, .size = 64 * MIB, .is_phantom = true},
     run_swarm},
    {"scale",
     "one seed and N machines, N = 10, 30, 100, ... up to --peers",
     {SMALL, FAST, .n_peers = 300, .size = 8 * MIB, .n_conns = 20},
     run_scale},
    {"chain",
     "Bitcoin miners and delays: forks, and private branches against the formulas",
     {.n_peers = 8, .n_liars = 1500},
     run_chain},
    {"selection",
     "rarest first, random and sequential; a seed that leaves early",
     {SMALL, .seed_up_per_s = MIB / 2, .up_per_s = MIB / 4, .n_peers = 40, .size = 8 * MIB},
     run_selection},
    {"free-riders",
     "a quarter gives nothing, while capacity is scarce and while it is not",
     {SMALL, .seed_up_per_s = 192 * KIB, .up_per_s = 64 * KIB, .n_peers = 48, .size = 16 * MIB},
     run_free_riders},
    {"clusters",
     "slow, medium and fast ones: who trades with whom",
     {SMALL, .seed_up_per_s = 2 * MIB, .up_per_s = 32 * KIB, .n_peers = 45, .size = 32 * MIB},
     run_clusters},
    {"newcomers",
     "join a swarm that trades, with and without the optimistic unchoke",
     {SMALL, .seed_up_per_s = 512 * KIB, .up_per_s = 64 * KIB, .n_peers = 40, .size = 32 * MIB},
     run_newcomers},
    {"flash-crowd",
     "a few early ones, then everybody within ten seconds; they go when done",
     {SMALL, FAST, .n_peers = 200, .size = 32 * MIB},
     run_flash_crowd},
    {"churn",
     "machines come, die, come back, and leave when they are done",
     {SMALL, .seed_up_per_s = MIB, .up_per_s = MIB / 4, .n_peers = 120, .size = 16 * MIB},
     run_churn},
    {"links",
     "fibre, cable, ADSL and mobile in one swarm",
     {SMALL, FAST, .n_peers = 60, .size = 32 * MIB},
     run_links},
    {"nat",
     "none to nine in ten cannot be dialled",
     {SMALL, FAST, .n_peers = 60, .size = 16 * MIB, .arrive_us = 10 * US_PER_S},
     run_nat},
    {"stuck",
     "stalled, silent, slow and lying peers among the honest",
     {COMMON, FAST, .n_peers = 20, .n_liars = 20, .size = 32 * MIB},
     run_stuck},
    {"hostile",
     "floods, garbage, gossip spam and pieces that nobody asked for",
     {COMMON, FAST, .n_peers = 10, .n_liars = 12, .size = 32 * MIB},
     run_hostile},
    {"adversaries",
     "one world for each way to misbehave, and one with all of them",
     {BASE, .seed_up_per_s = MIB, .up_per_s = MIB / 4, .piece_len = 128 * KIB,
      .check_us = 10 * US_PER_S, .cache_len = 4 * MIB, .n_peers = 10, .n_liars = 10,
      .size = 16 * MIB},
     run_adversaries},
    {"tracker-dies",
     "the tracker goes after ten seconds, members still come",
     {COMMON, SLOW, .n_peers = 40, .size = 32 * MIB, .is_phantom = true},
     run_tracker_dies},
    {"partition",
     "half of the swarm is cut off for 200 seconds, the seed with it",
     {COMMON, FAST, .n_peers = 20, .size = 32 * MIB, .is_phantom = true},
     run_partition},
    {"crash-restart",
     "processes are killed and machines lose power, and come back",
     {COMMON, FAST, .n_peers = 20, .size = 64 * MIB},
     run_crash_restart},
    {"disk-faults",
     "full disks and I/O errors; somebody mends them later",
     {COMMON, FAST, .n_peers = 20, .size = 32 * MIB},
     run_disk_faults},
    {"crash-sweep",
     "a kill and a loss of power at every request of the disk of a small download",
     {TINY, .n_peers = 1, .seed_up_per_s = 64 * KIB, .size = 2 * MIB + 777, .n_files = 3},
     run_crash_sweep},
    {"fault-sweep",
     "a failing write, read, sync, open or a full disk at every point of a small download",
     {TINY, .n_peers = 1, .seed_up_per_s = 64 * KIB, .size = 2 * MIB + 777, .n_files = 3},
     run_fault_sweep},
    {NULL, NULL, {0}, NULL},
};

const struct scenario *scenario_find(const char *name)
{
    for (const struct scenario *s = scenarios; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static uint64_t real_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * US_PER_S + (uint64_t)t.tv_nsec / 1000;
}

static void result_init(struct scenario_result *r)
{
    *r = (struct scenario_result){.is_ok = true};
    mem_init(&r->mem, MEM_NO_BUDGET, NULL);
    buf_init(&r->table, &r->mem, 4 * MIB);
    buf_init(&r->times, &r->mem, MIB);
    plot_init(&r->plot, &r->mem);
}

void scenario_plot_done(struct scenario_result *whole, struct plot_panel *panel,
                        const struct scenario_result *part, const char *name)
{
    uint32_t s = plot_series(&whole->plot, panel, name, PLOT_STEPS);
    size_t step = part->n_done / 200 + 1;
    plot_add(&whole->plot, panel, s, 0, 0);
    for (uint32_t i = 0; part->done_at_us && i < part->n_done; i++)
        if (i % step == 0 || i + 1 == part->n_done)
            plot_add(&whole->plot, panel, s, (double)part->done_at_us[i] / US_PER_S,
                     100.0 * (i + 1) / part->n_honest);
}

struct plot_panel *scenario_panel_done(struct scenario_result *r, const char *title)
{
    return plot_panel(&r->plot, title, "time, s", "machines that have everything, %");
}

/* The hash of a whole covers those of its parts, in their order. */
static void chain_trace(struct scenario_result *whole, const struct scenario_result *part)
{
    struct sha256_state s;
    sha256_init(&s);
    sha256_update(&s, bytes_of(whole->trace_hash, SHA256_LEN));
    sha256_update(&s, bytes_of(part->trace_hash, SHA256_LEN));
    sha256_final(&s, whole->trace_hash);
}

static void add_up(struct scenario_result *whole, const struct scenario_result *part)
{
    whole->n_parts++;
    whole->n_done += part->n_done;
    whole->n_honest += part->n_honest;
    whole->first_us = part->first_us;
    whole->median_us = part->median_us;
    whole->last_us = part->last_us;
    whole->bound_us = part->bound_us;
    whole->end_us += part->end_us;
    whole->n_lies += part->n_lies;
    whole->n_over_room += part->n_over_room;
    whole->n_banned += part->n_banned;
    whole->n_pieces_bad += part->n_pieces_bad;
    whole->n_errors += part->n_errors;
    whole->n_honest_banned += part->n_honest_banned;
    whole->n_ticks_max = u64_max(whole->n_ticks_max, part->n_ticks_max);
    whole->wasted_len += part->wasted_len;
    whole->seed_up_len += part->seed_up_len;
    whole->up_len += part->up_len;
    whole->n_dials += part->n_dials;
    whole->peak_mem_len = size_max(whole->peak_mem_len, part->peak_mem_len);
    whole->world_mem_len = size_max(whole->world_mem_len, part->world_mem_len);
    whole->engines_mem_len = size_max(whole->engines_mem_len, part->engines_mem_len);
    whole->n_events += part->n_events;
    whole->n_traced += part->n_traced;
    for (size_t i = 0; i < N_SESSION_COUNTERS; i++)
        whole->counters[i] += part->counters[i];
}

void scenario_part(const struct scenario_params *p,
                   void (*run)(const struct scenario_params *p, struct scenario_result *r,
                               void *ctx),
                   void *ctx, struct scenario_result *whole, struct scenario_result *part,
                   const char *name)
{
    uint64_t from_us = real_now_us();
    result_init(part);
    run(p, part, ctx);
    part->real_us = real_now_us() - from_us;
    add_up(whole, part);
    chain_trace(whole, part);
    if (!part->is_ok && whole->is_ok)
        snprintf(whole->why, sizeof whole->why, "%.60s: %.180s", name, part->why);
    whole->is_ok &= part->is_ok;
    if (!part->is_ok)
        buf_put(&whole->table, buf_bytes(&part->table));
}

void scenario_crowd_part(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct stage s;
    (void)ctx;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, p->n_peers);
    stage_run(&s);
    stage_want_all_done(&s);
    stage_clear(&s);
}

void scenario_fail(struct scenario_result *r, const char *fmt, ...)
{
    va_list ap;
    r->is_ok = false;
    if (r->why[0])
        return;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
}

void scenario_run(const struct scenario *s, const struct scenario_params *p,
                  struct scenario_result *r)
{
    uint64_t from_us = real_now_us();
    result_init(r);
    s->run(p, r);
    r->real_us = real_now_us() - from_us;
    if (r->plot.n_panels == 0 && r->n_done)
        scenario_plot_done(r, scenario_panel_done(r, s->help), r, s->name);
}

void scenario_result_clear(struct scenario_result *r)
{
    plot_clear(&r->plot);
    mem_free(&r->mem, r->done_at_us);
    buf_clear(&r->table);
    buf_clear(&r->times);
    mem_check_empty(&r->mem);
}
