/* shoal sim: runs a scenario of the simulator and prints how it went. */
#include "base/log.h"
#include "base/timer.h"
#include "cli/cli.h"
#include "cli/sim_report.h"
#include "cli/ui.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_PEERS,
    OPT_LIARS,
    OPT_SEED,
    OPT_SEEDS,
    OPT_SIZE,
    OPT_PIECE,
    OPT_FILES,
    OPT_VERSION,
    OPT_UP,
    OPT_DOWN,
    OPT_SEED_UP,
    OPT_DELAY,
    OPT_LOSS,
    OPT_NAT,
    OPT_CONNS,
    OPT_CACHE,
    OPT_ARRIVE,
    OPT_LIMIT,
    OPT_CHECK,
    OPT_WHY,
    OPT_PHANTOM,
    OPT_REAL,
    OPT_UDP,
    OPT_MAGNET,
    OPT_TIMES,
    OPT_COUNTERS,
    OPT_LOG,
    OPT_SVG,
    OPT_JSON
};

static const struct ui_option options[] = {
    [OPT_PEERS] = {"peers", 'n', "N", "machines that begin with nothing"},
    [OPT_LIARS] = {"liars", 0, "N", "machines that misbehave, where the scenario has some"},
    [OPT_SEED] = {"seed", 's', "NUMBER", "of the generator: the same number, the same run"},
    [OPT_SEEDS] = {"seeds", 0, "N", "run N times, with the numbers from --seed on"},
    [OPT_SIZE] = {"size", 0, "SIZE", "of the torrent"},
    [OPT_PIECE] = {"piece", 0, "SIZE", "of its pieces: a power of two from 16K"},
    [OPT_FILES] = {"files", 0, "N", "files in it"},
    [OPT_VERSION] = {"type", 0, "v1|v2|hybrid", "of the torrent"},
    [OPT_UP] = {"up", 0, "RATE", "of each machine, bytes per second; 0: no bound"},
    [OPT_DOWN] = {"down", 0, "RATE", "of each machine"},
    [OPT_SEED_UP] = {"seed-up", 0, "RATE", "of the seed"},
    [OPT_DELAY] = {"delay", 0, "MS", "each machine is up to this far from the middle"},
    [OPT_LOSS] = {"loss", 0, "PPM", "packets lost at each machine, in a million"},
    [OPT_NAT] = {"nat", 0, "PERCENT", "of the machines cannot be dialled"},
    [OPT_CONNS] = {"conns", 0, "N", "connections of each machine at most"},
    [OPT_CACHE] = {"cache", 0, "SIZE", "of each engine's blocks in memory"},
    [OPT_ARRIVE] = {"arrive", 0, "TIME", "machines join over this time, not all at once"},
    [OPT_LIMIT] = {"limit", 0, "TIME", "on the virtual clock"},
    [OPT_CHECK] = {"check", 0, "TIME", "between looks at all invariants; 0: only at the end"},
    [OPT_WHY] = {"why", 0, "TIME", "so often tell what the slowest wait for"},
    [OPT_PHANTOM] = {"phantom", 0, NULL, "bytes of blocks are only pretended: faster"},
    [OPT_REAL] = {"real", 0, NULL, "every byte is there and is hashed"},
    [OPT_UDP] = {"udp", 0, NULL, "the tracker speaks UDP instead of HTTP"},
    [OPT_MAGNET] = {"magnet", 0, NULL, "machines begin with a magnet link"},
    [OPT_TIMES] = {"times", 0, NULL, "also print when each machine had everything"},
    [OPT_COUNTERS] = {"counters", 0, NULL, "also print what the engines counted, together"},
    [OPT_LOG] = {"log", 0, NULL, "the engines' own log on stderr"},
    [OPT_SVG] = {"svg", 0, "FILE", "also draw the scenario's figures"},
    [OPT_JSON] = {"json", 'j', NULL, "one JSON object instead of the table"},
    {NULL, 0, NULL, NULL},
};

static void print_log(void *ctx, enum log_level level, const char *subsystem, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%s %s: %s\n", log_level_name(level), subsystem, line);
}

static bool read_version(struct ui_options *o, enum content_version *out)
{
    static const char *const names[] = {"v1", "v2", "hybrid"};
    for (int i = 0; i < 3; i++)
        if (strcmp(o->value, names[i]) == 0) {
            *out = (enum content_version)(i + 1);
            return true;
        }
    ui_usage(o->command, "--type is v1, v2 or hybrid, not '%s'", o->value);
    return false;
}

static bool read_u32(struct ui_options *o, uint64_t max, uint32_t *out)
{
    uint64_t v = 0;
    if (!ui_read_u64(o, 0, max, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool read_len(struct ui_options *o, size_t *out)
{
    uint64_t v = 0;
    if (!ui_read_size(o, &v))
        return false;
    *out = (size_t)v;
    return true;
}

static bool read_time(struct ui_options *o, uint64_t *out_us)
{
    uint64_t s = 0;
    if (!ui_read_duration_s(o, &s))
        return false;
    *out_us = s * US_PER_S;
    return true;
}

static bool read_delay(struct ui_options *o, uint64_t *out_us)
{
    uint64_t ms = 0;
    if (!ui_read_u64(o, 0, 60000, &ms))
        return false;
    *out_us = ms * US_PER_MS;
    return true;
}

static bool read_piece(struct ui_options *o, uint32_t *out)
{
    uint64_t v = 0;
    if (!ui_read_size(o, &v))
        return false;
    if (v < 16384 || v > (64u << 20) || (v & (v - 1))) {
        ui_usage(o->command, "--piece is a power of two from 16K to 64M");
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

static bool read_option(struct ui_options *o, int which, struct sim_options *s)
{
    struct scenario_params *p = &s->p;
    switch (which) {
    case OPT_PEERS:
        return read_u32(o, 100000, &p->n_peers);
    case OPT_LIARS:
        return read_u32(o, 100000, &p->n_liars);
    case OPT_SEED:
        return ui_read_u64(o, 0, UINT64_MAX, &p->rng_seed);
    case OPT_SEEDS:
        return ui_read_u64(o, 1, 1000000, &s->n_seeds);
    case OPT_SIZE:
        return ui_read_size(o, &p->size);
    case OPT_PIECE:
        return read_piece(o, &p->piece_len);
    case OPT_FILES:
        return read_u32(o, 10000, &p->n_files);
    case OPT_VERSION:
        return read_version(o, &p->version);
    case OPT_UP:
        return ui_read_size(o, &p->up_per_s);
    case OPT_DOWN:
        return ui_read_size(o, &p->down_per_s);
    case OPT_SEED_UP:
        return ui_read_size(o, &p->seed_up_per_s);
    case OPT_DELAY:
        return read_delay(o, &p->delay_us);
    case OPT_LOSS:
        return read_u32(o, 450000, &p->loss_ppm);
    case OPT_NAT:
        return read_u32(o, 100, &p->nat_percent);
    case OPT_CONNS:
        return read_u32(o, 100000, &p->n_conns);
    case OPT_CACHE:
        return read_len(o, &p->cache_len);
    case OPT_ARRIVE:
        return read_time(o, &p->arrive_us);
    case OPT_LIMIT:
        return read_time(o, &p->limit_us);
    case OPT_CHECK:
        return read_time(o, &p->check_us);
    case OPT_WHY:
        return read_time(o, &p->why_us);
    case OPT_PHANTOM:
    case OPT_REAL:
        p->is_phantom = which == OPT_PHANTOM;
        return true;
    case OPT_UDP:
        p->is_udp_tracker = true;
        return true;
    case OPT_MAGNET:
        p->is_magnet = true;
        return true;
    case OPT_COUNTERS:
        p->wants_counters = true;
        return true;
    case OPT_TIMES:
        s->want_times = true;
        return true;
    case OPT_SVG:
        s->svg_path = o->value;
        return true;
    case OPT_JSON:
        s->is_json = true;
        return true;
    default:
        s->want_log = true;
        return true;
    }
}

static void print_scenarios(void)
{
    for (const struct scenario *s = scenarios; s->name; s++)
        printf("  %-14s %s\n", s->name, s->help);
}

static bool run_one(const struct scenario *sc, struct sim_options *s)
{
    struct scenario_result r;
    struct log log;
    log_init(&log, LOG_DEBUG, print_log, NULL);
    s->p.log = s->want_log ? &log : NULL;
    scenario_run(sc, &s->p, &r);
    bool is_ok = r.is_ok;
    sim_report_print(sc, s, &r);
    is_ok = sim_report_svg(s, &r) && is_ok;
    scenario_result_clear(&r);
    return is_ok;
}

int cmd_sim(int argc, char **argv)
{
    struct ui_options o;
    struct sim_options s = {.n_seeds = 1};
    int n_rest, which;
    const struct scenario *sc = argc > 1 ? scenario_find(argv[1]) : NULL;
    if (sc)
        s.p = sc->defaults;
    ui_options_init(&o, "SCENARIO [OPTION...]",
                    "Runs the engine by the hundred in a simulated network. 'shoal sim list' names "
                    "the scenarios.",
                    options, argc, argv);
    while ((which = ui_options_next(&o)) >= 0)
        if (!read_option(&o, which, &s))
            return EXIT_USAGE;
    if (which == UI_OPTION_BAD)
        return EXIT_USAGE;
    char **rest = ui_options_rest(&o, &n_rest);
    if (n_rest == 1 && strcmp(rest[0], "list") == 0) {
        print_scenarios();
        return EXIT_OK;
    }
    if (!sc || n_rest != 1)
        return ui_usage("sim", "name one scenario, first; 'shoal sim list' names them");
    bool is_ok = true;
    for (uint64_t i = 0; i < s.n_seeds; i++) {
        is_ok = run_one(sc, &s) && is_ok;
        s.p.rng_seed++;
    }
    return is_ok ? EXIT_OK : EXIT_FAIL;
}
