/* scenario_scale: one seed and N machines, N growing: how the time grows, and how near it comes to
 * what no protocol can beat. */
#include "base/size.h"
#include "sim/scenario_parts.h"

struct scale_plot {
    struct plot_panel *time, *near;
    uint32_t median, last, bound, alone, median_near, last_near;
};

static void begin_plot(struct scenario_result *r, const struct scenario_params *p,
                       struct scale_plot *o)
{
    char title[128];
    snprintf(title, sizeof title, "One seed, N machines, %llu MiB: time until they have everything",
             (unsigned long long)(p->size / MIB));
    o->time = plot_panel(&r->plot, title, "machines N", "time, s");
    o->near = plot_panel(&r->plot, "How near to the bound", "machines N", "time / bound");
    if (o->time)
        o->time->is_x_log = o->time->is_y_log = true;
    if (o->near)
        o->near->is_x_log = true;
    o->last = plot_series(&r->plot, o->time, "last", PLOT_DOTS);
    o->median = plot_series(&r->plot, o->time, "median", PLOT_DOTS);
    o->bound = plot_series(&r->plot, o->time, "bound", PLOT_DASHED);
    o->alone = plot_series(&r->plot, o->time, "the seed alone, one after the other", PLOT_DASHED);
    o->last_near = plot_series(&r->plot, o->near, "last", PLOT_DOTS);
    o->median_near = plot_series(&r->plot, o->near, "median", PLOT_DOTS);
}

static void add_row(struct scenario_result *r, const struct scenario_params *p,
                    const struct scenario_result *part, const struct scale_plot *o)
{
    double n = p->n_peers, bound_s = scenario_s(part->bound_us);
    double alone_s = n * (double)p->size / (double)u64_max(p->seed_up_per_s, 1);
    buf_printf(&r->table, "%7u %8.1f %8.1f %8.1f %8.1f %10.0f %7.2f %7.2f %9.1f %8.0f %9.0f\n",
               p->n_peers, scenario_s(part->first_us), scenario_s(part->median_us),
               scenario_s(part->last_us), bound_s, alone_s, scenario_s(part->median_us) / bound_s,
               scenario_s(part->last_us) / bound_s, scenario_s(part->real_us),
               (double)part->engines_mem_len / KIB / n, (double)part->world_mem_len / KIB / n);
    plot_add(&r->plot, o->time, o->median, n, scenario_s(part->median_us));
    plot_add(&r->plot, o->time, o->last, n, scenario_s(part->last_us));
    plot_add(&r->plot, o->time, o->bound, n, bound_s);
    plot_add(&r->plot, o->time, o->alone, n, alone_s);
    plot_add(&r->plot, o->near, o->median_near, n, scenario_s(part->median_us) / bound_s);
    plot_add(&r->plot, o->near, o->last_near, n, scenario_s(part->last_us) / bound_s);
}

void run_scale(const struct scenario_params *p, struct scenario_result *r)
{
    struct scenario_params one = *p;
    struct scenario_result part;
    struct scale_plot plot;
    char name[32];
    begin_plot(r, p, &plot);
    buf_printf(&r->table, "%7s %8s %8s %8s %8s %10s %7s %7s %9s %8s %9s\n", "N", "first s",
               "median s", "last s", "bound s", "1 by 1 s", "med/b", "last/b", "CPU s", "KiB each",
               "world KiB");
    for (uint32_t n = 10; n <= p->n_peers && r->is_ok;
         n = n == p->n_peers ? n + 1
                             : (uint32_t)u64_min(n % 3 ? n * 3ull : n / 3 * 10ull, p->n_peers)) {
        one.n_peers = n;
        snprintf(name, sizeof name, "N = %u", n);
        scenario_part(&one, scenario_crowd_part, NULL, r, &part, name);
        add_row(r, &one, &part, &plot);
        if (r->is_ok && part.last_us > 6 * part.bound_us)
            scenario_fail(r, "%s: the last took more than six times the bound", name);
        scenario_result_clear(&part);
    }
}
