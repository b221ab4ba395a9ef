/* scenario_crowd: machines that come all at once, that come and go, that differ, that cannot be
 * dialled. */
#include "base/size.h"
#include "sim/scenario_parts.h"

/* --- what the figures show ------------------------------------------------------------------- */

struct crowd_plot {
    struct scenario_result *r;
    struct plot_panel *members, *flow;
    uint32_t present, have_all, rate;
    uint64_t up_before;
};

static void begin_figures(struct crowd_plot *o, struct scenario_result *r, const char *title)
{
    *o = (struct crowd_plot){.r = r};
    o->members = plot_panel(&r->plot, title, "time, s", "machines");
    o->present = plot_series(&r->plot, o->members, "in the swarm", PLOT_LINE);
    o->have_all = plot_series(&r->plot, o->members, "of them with everything", PLOT_LINE);
    o->flow = plot_panel(&r->plot, "What the swarm moves", "time, s", "MB/s");
    o->rate = plot_series(&r->plot, o->flow, "all together", PLOT_LINE);
}

#define FIGURE_EVERY_S 5u

static void draw_second(struct stage *s, struct crowd_plot *o)
{
    uint64_t up = 0, now_s = s->sim.w.now_us / US_PER_S;
    uint32_t n_present = 0, n_all = 0;
    if (now_s % FIGURE_EVERY_S)
        return;
    for (uint32_t i = 0; i < s->n_peers; i++) {
        const struct stage_peer *p = &s->peers[i];
        up += net_stats(p->h->node).up_len;
        n_present += p->is_up;
        n_all += p->is_up && (p->is_seed || p->done_at_us);
    }
    plot_add(&o->r->plot, o->members, o->present, (double)now_s, n_present);
    plot_add(&o->r->plot, o->members, o->have_all, (double)now_s, n_all);
    plot_add(&o->r->plot, o->flow, o->rate, (double)now_s,
             (double)(up - o->up_before) / 1e6 / FIGURE_EVERY_S);
    o->up_before = up;
}

static int compare_us(const void *a, const void *b)
{
    uint64_t l = *(const uint64_t *)a, r = *(const uint64_t *)b;
    return (l > r) - (l < r);
}

/* Median of the time from joining to having everything, of a class; 0: nobody. */
static double class_median_s(struct stage *s, uint8_t class)
{
    uint64_t *times = world_calloc(&s->sim.w, s->n_peers, sizeof *times);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_peers; i++)
        if (!s->peers[i].is_seed && s->peers[i].class == class && s->peers[i].done_at_us)
            times[n++] = s->peers[i].done_at_us - s->peers[i].joined_at_us;
    if (n)
        qsort(times, n, sizeof *times, compare_us);
    double median_s = n ? scenario_s(times[n / 2]) : 0;
    world_free(&s->sim.w, times);
    return median_s;
}

/* --- flash crowd ----------------------------------------------------------------------------- */

#define FLASH_AT_US (60 * US_PER_S)
#define FLASH_US    (10 * US_PER_S) /* all of them within this */
#define STAY_US     (60 * US_PER_S) /* after they are done; then they go */

static void flash_second(struct stage *s, void *ctx)
{
    draw_second(s, ctx);
    for (uint32_t i = 0; i < s->n_peers; i++) {
        struct stage_peer *p = &s->peers[i];
        if (!p->is_seed && p->is_up && p->done_at_us && s->sim.w.now_us > p->done_at_us + STAY_US)
            stage_leave(s, p);
    }
}

static void add_one(struct stage *s, uint8_t class)
{
    struct sim_host_params hp = stage_link(s, false);
    if (!s->is_broken && stage_add_peer(s, &hp, false, NULL))
        s->peers[s->n_peers - 1].class = class;
}

void run_flash_crowd(const struct scenario_params *p, struct scenario_result *r)
{
    struct crowd_plot figures;
    struct stage s;
    uint32_t n_early = p->n_peers / 20, n_crowd = p->n_peers - n_early;
    begin_figures(&figures, r, "A flash crowd: everybody comes within ten seconds");
    stage_init(&s, p, r);
    s.on_second = flash_second;
    s.ctx = &figures;
    stage_add_crowd(&s, 1, 0);
    for (uint32_t i = 0; i < n_early; i++) {
        add_one(&s, 0);
        stage_run_until(&s, FLASH_AT_US * (i + 1) / n_early);
    }
    for (uint32_t i = 0; i < n_crowd; i++) {
        add_one(&s, 1);
        stage_run_until(&s, FLASH_AT_US + FLASH_US * (i + 1) / n_crowd);
    }
    stage_run(&s);
    stage_want_all_done(&s);
    double early_s = class_median_s(&s, 0), crowd_s = class_median_s(&s, 1);
    buf_printf(&r->table, "median, the %3u early  %.1f s\nmedian, the %3u crowd  %.1f s\n", n_early,
               early_s, n_crowd, crowd_s);
    stage_clear(&s);
    if (r->is_ok && r->last_us > 4 * r->bound_us)
        scenario_fail(r, "the last of a flash crowd took more than four times the bound");
}

/* --- churn ----------------------------------------------------------------------------------- */

#define COME_MEAN_S 2u /* between two that come */

struct churn {
    struct crowd_plot figures; /* first: it is the context of draw_second */
    uint32_t n_to_come;
    uint32_t n_left_done, n_died, n_gone;
};

static void churn_second(struct stage *s, void *ctx)
{
    struct churn *c = ctx;
    draw_second(s, &c->figures);
    if (c->n_to_come && rng_below(&s->rng, COME_MEAN_S) == 0) {
        c->n_to_come--;
        add_one(s, 0);
    }
    for (uint32_t i = 0; i < s->n_peers; i++) {
        struct stage_peer *p = &s->peers[i];
        if (p->is_seed || !p->is_up)
            continue;
        if (p->done_at_us && rng_below(&s->rng, 20) == 0) {
            stage_leave(s, p); /* twenty seconds as a seed, on average */
            c->n_left_done++;
        } else if (!p->done_at_us && rng_below(&s->rng, 400) == 0) {
            stage_crash(s, p, rng_below(&s->rng, 2) ? SIM_KILL : SIM_POWER_LOSS,
                        (5 + rng_below(&s->rng, 60)) * US_PER_S);
            c->n_died++;
        } else if (!p->done_at_us && rng_below(&s->rng, 4000) == 0) {
            stage_leave(s, p);
            c->n_gone++;
        }
    }
}

void run_churn(const struct scenario_params *p, struct scenario_result *r)
{
    struct churn c = {.n_to_come = p->n_peers};
    struct stage s;
    uint64_t written = 0;
    begin_figures(&c.figures, r, "Churn: they come, die, come back, and leave when they are done");
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    s.on_second = churn_second;
    s.ctx = &c;
    while (!s.is_broken && (c.n_to_come || !stage_is_done(&s)) && s.sim.w.now_us < p->limit_us)
        stage_run_until(&s, s.sim.w.now_us + US_PER_S);
    stage_want_all_done(&s);
    for (uint32_t i = 1; i < s.n_peers; i++)
        written += s.peers[i].done_at_us ? s.peers[i].h->disk.stats.written_len : 0;
    double per_peer = (double)written / ((double)p->size * u64_max(stage_n_done(&s), 1));
    buf_printf(&r->table,
               "left when done       %u\ndied and came back   %u times\ngone for good        %u\n"
               "written by each      %.3f times the torrent\n",
               c.n_left_done, c.n_died, c.n_gone, per_peer);
    if (!c.n_died || !c.n_left_done)
        stage_fail(&s, "nobody died, or nobody left: there was no churn");
    if (per_peer > 1.25)
        stage_fail(&s, "machines that died wrote %.2f times the torrent", per_peer);
    stage_clear(&s);
}

/* --- heterogeneous links --------------------------------------------------------------------- */

static const struct link_kind {
    const char *name;
    uint64_t up_per_s, down_per_s, delay_us, jitter_us;
    uint32_t loss_ppm;
    bool is_nat;
} link_kinds[] = {
    {"fibre", 4 * MIB, 12 * MIB, 3000, 500, 0, false},
    {"cable", 512 * KIB, 4 * MIB, 12000, 3000, 100, true},
    {"ADSL", 96 * KIB, MIB, 25000, 3000, 500, true},
    {"mobile", 48 * KIB, 384 * KIB, 60000, 30000, 8000, true},
};
#define N_LINKS (sizeof link_kinds / sizeof link_kinds[0])

void run_links(const struct scenario_params *p, struct scenario_result *r)
{
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    for (uint32_t i = 0; i < p->n_peers && !s.is_broken; i++) {
        const struct link_kind *k = &link_kinds[i % N_LINKS];
        struct sim_host_params hp = stage_link(&s, false);
        hp.net.up_per_s = k->up_per_s;
        hp.net.down_per_s = k->down_per_s;
        hp.net.delay_us = k->delay_us;
        hp.net.jitter_us = k->jitter_us;
        hp.net.loss_ppm = k->loss_ppm;
        hp.net.is_nat = k->is_nat && i / N_LINKS % 2;
        stage_add_peer(&s, &hp, false, NULL);
        s.peers[s.n_peers - 1].class = (uint8_t)(i % N_LINKS);
    }
    stage_run(&s);
    stage_want_all_done(&s);
    double before_s = 0;
    buf_printf(&r->table, "%-10s %10s %14s %12s\n", "link", "median s", "its own bound", "times");
    for (size_t k = 0; k < N_LINKS; k++) {
        double median_s = class_median_s(&s, (uint8_t)k);
        double bound_s = (double)p->size / (double)link_kinds[k].down_per_s;
        buf_printf(&r->table, "%-10s %10.1f %14.1f %12.2f\n", link_kinds[k].name, median_s, bound_s,
                   median_s / bound_s);
        if (median_s + 2 < before_s)
            stage_fail(&s, "%s was done before a faster link", link_kinds[k].name);
        before_s = median_s;
    }
    stage_clear(&s);
}

/* --- NAT ------------------------------------------------------------------------------------- */

void run_nat(const struct scenario_params *p, struct scenario_result *r)
{
    static const uint32_t percents[] = {0, 25, 50, 75, 90};
    struct plot_panel *panel =
        plot_panel(&r->plot, "Machines that cannot be dialled", "of all, %", "time, s");
    uint32_t median = plot_series(&r->plot, panel, "median", PLOT_DOTS);
    uint32_t last = plot_series(&r->plot, panel, "last", PLOT_DOTS);
    struct scenario_params one = *p;
    buf_printf(&r->table, "%10s %10s %10s\n", "NAT", "median s", "last s");
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        struct scenario_result part;
        char name[32];
        one.nat_percent = percents[i];
        snprintf(name, sizeof name, "%u %% NAT", percents[i]);
        scenario_part(&one, scenario_crowd_part, NULL, r, &part, name);
        buf_printf(&r->table, "%8u %% %10.1f %10.1f\n", percents[i], scenario_s(part.median_us),
                   scenario_s(part.last_us));
        plot_add(&r->plot, panel, median, percents[i], scenario_s(part.median_us));
        plot_add(&r->plot, panel, last, percents[i], scenario_s(part.last_us));
        scenario_result_clear(&part);
    }
}
