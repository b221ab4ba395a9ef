#include "cli/sim_report.h"
#include "base/hex.h"
#include "base/timer.h"
#include "cli/ui.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static double seconds(uint64_t us)
{
    return (double)us / US_PER_S;
}

static const char *trace_text(const struct scenario_result *r, char out[2 * SHA256_LEN + 1])
{
    return hex_encode(bytes_of(r->trace_hash, SHA256_LEN), out, 2 * SHA256_LEN + 1);
}

/* --- the table ------------------------------------------------------------------------------- */

static void print_times(const struct scenario_result *r)
{
    printf("first, median, last  %.1f s, %.1f s, %.1f s\n", seconds(r->first_us),
           seconds(r->median_us), seconds(r->last_us));
    printf("no way to be faster  %.1f s", seconds(r->bound_us));
    if (r->bound_us)
        printf("   (the last took %.2f times as long)", (double)r->last_us / (double)r->bound_us);
    putchar('\n');
}

static void print_swarm(const struct scenario_result *r)
{
    char size[UI_NUMBER_CAP];
    printf("have everything      %u of %u\n", r->n_done, r->n_honest);
    if (r->n_parts)
        printf("worlds               %u, of which all that follows is the sum\n", r->n_parts);
    else
        print_times(r);
    printf("sent by the seed     %s of ", ui_size(r->seed_up_len, size));
    printf("%s\n", ui_size(r->up_len, size));
    printf("wasted or bad        %s; %" PRIu64 " pieces failed, %" PRIu64 " peers banned\n",
           ui_size(r->wasted_len, size), r->n_pieces_bad, r->n_banned);
    printf("connections dialled  %" PRIu64 "\n", r->n_dials);
    printf("honest ones banned   %" PRIu64 "\n", r->n_honest_banned);
    printf("largest engine       %s; ", ui_size(r->peak_mem_len, size));
    printf("world %s\n", ui_size(r->world_mem_len, size));
}

static void print_table(const struct scenario *sc, const struct sim_options *s,
                        const struct scenario_result *r)
{
    const struct scenario_params *p = &s->p;
    char size[UI_NUMBER_CAP], hex[2 * SHA256_LEN + 1];
    printf("scenario             %s: %s\n", sc->name, sc->help);
    printf("world                %u machines, %s, seed number %" PRIu64 "\n", p->n_peers,
           ui_size(p->size, size), p->rng_seed);
    printf("outcome              %s%s\n", r->is_ok ? "good" : "BAD: ", r->why);
    if (r->n_honest) /* a swarm: chains have no such numbers */
        print_swarm(r);
    fwrite(r->table.data, 1, r->table.len, stdout);
    printf("simulated            %.1f s in %.1f s of CPU, %" PRIu64 " events, %" PRIu64
           " ticks of one engine\n",
           seconds(r->end_us), seconds(r->real_us), r->n_events, r->n_ticks_max);
    printf("trace                %.16s (%" PRIu64 " entries)\n", trace_text(r, hex), r->n_traced);
    if (s->want_times)
        fwrite(r->times.data, 1, r->times.len, stdout);
}

static void print_line(const struct scenario *sc, const struct sim_options *s,
                       const struct scenario_result *r)
{
    printf("%s --seed %" PRIu64 ": %s%s, last %.1f s, bound %.1f s, %.1f s of CPU\n", sc->name,
           s->p.rng_seed, r->is_ok ? "good" : "BAD: ", r->why, seconds(r->last_us),
           seconds(r->bound_us), seconds(r->real_us));
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *points_json(const struct plot_series *s)
{
    json_t *points = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(points, json_pack("[ff]", s->points[i].x, s->points[i].y));
    return json_pack("{s:s, s:o}", "name", s->name, "points", points);
}

static json_t *plot_json(const struct plot *p)
{
    json_t *panels = json_array();
    for (uint32_t i = 0; i < p->n_panels; i++) {
        const struct plot_panel *panel = p->panels[i];
        json_t *series = json_array();
        for (uint32_t k = 0; k < panel->n_series; k++)
            json_array_append_new(series, points_json(&panel->series[k]));
        json_array_append_new(panels,
                              json_pack("{s:s, s:s, s:s, s:o}", "title", panel->title, "x",
                                        panel->x_label, "y", panel->y_label, "series", series));
    }
    return panels;
}

static json_t *counters_json(const struct scenario_result *r)
{
    json_t *counters = json_object();
    for (size_t i = 0; i < N_SESSION_COUNTERS; i++)
        if (r->counters[i])
            json_object_set_new(counters, session_counter_descs[i].name,
                                json_integer((json_int_t)r->counters[i]));
    return counters;
}

static json_t *numbers_json(const struct scenario_result *r)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"n_done", r->n_done},
                   {"n_honest", r->n_honest},
                   {"first_us", r->first_us},
                   {"median_us", r->median_us},
                   {"last_us", r->last_us},
                   {"bound_us", r->bound_us},
                   {"end_us", r->end_us},
                   {"seed_up_len", r->seed_up_len},
                   {"up_len", r->up_len},
                   {"wasted_len", r->wasted_len},
                   {"n_pieces_bad", r->n_pieces_bad},
                   {"n_banned", r->n_banned},
                   {"n_honest_banned", r->n_honest_banned},
                   {"n_errors", r->n_errors},
                   {"n_dials", r->n_dials},
                   {"peak_mem_len", r->peak_mem_len},
                   {"engines_mem_len", r->engines_mem_len},
                   {"world_mem_len", r->world_mem_len},
                   {"n_events", r->n_events},
                   {"cpu_us", r->real_us}};
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        json_object_set_new(o, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    return o;
}

static void print_json(const struct scenario *sc, const struct sim_options *s,
                       const struct scenario_result *r)
{
    char hex[2 * SHA256_LEN + 1];
    json_t *o =
        json_pack("{s:s, s:I, s:i, s:I, s:b, s:s, s:o, s:o, s:o, s:s, s:s%}", "scenario", sc->name,
                  "seed", (json_int_t)s->p.rng_seed, "peers", (int)s->p.n_peers, "size",
                  (json_int_t)s->p.size, "good", r->is_ok, "why", r->why, "numbers",
                  numbers_json(r), "counters", counters_json(r), "figures", plot_json(&r->plot),
                  "trace", trace_text(r, hex), "table", (const char *)r->table.data, r->table.len);
    json_dumpf(o, stdout, JSON_INDENT(s->n_seeds == 1 ? 2 : 0) | JSON_ENSURE_ASCII);
    json_decref(o);
    putchar('\n');
}

void sim_report_print(const struct scenario *sc, const struct sim_options *s,
                      const struct scenario_result *r)
{
    if (s->is_json)
        print_json(sc, s, r);
    else if (s->n_seeds == 1)
        print_table(sc, s, r);
    else
        print_line(sc, s, r);
    fflush(stdout);
}

/* --- figures --------------------------------------------------------------------------------- */

bool sim_report_svg(const struct sim_options *s, const struct scenario_result *r)
{
    struct buf svg;
    struct mem mem;
    if (!s->svg_path)
        return true;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&svg, &mem, SIZE_MAX);
    plot_write_svg(&r->plot, &svg);
    FILE *f = svg.len && !svg.err ? fopen(s->svg_path, "w") : NULL;
    bool is_ok = f && fwrite(svg.data, 1, svg.len, f) == svg.len;
    if (f && fclose(f))
        is_ok = false;
    if (!svg.len)
        fprintf(stderr, "shoal sim: nothing to draw for %s\n", s->svg_path);
    else if (!is_ok)
        fprintf(stderr, "shoal sim: %s: %s\n", s->svg_path, strerror(errno));
    buf_clear(&svg);
    return is_ok;
}
