/* scenario: swarms that say something: a table of them by name, their numbers, how they ended.
 *
 * A scenario builds a world, runs it until everybody is done or a limit on the virtual clock, and
 * judges: `is_ok` with the reason when not. All of them look at every engine's invariants and at
 * the truth on the disks at regular times; a lie, a send beyond the room announced or a leak fails
 * any scenario.
 *
 * Ownership  scenario_result_clear frees a result; a result stays where it is until then
 * Threads    one owner per run; runs share nothing
 * Errors     ERR_NOT_FOUND: no such scenario; otherwise the result tells
 */
#pragma once
#include "base/buf.h"
#include "sim/content.h"
#include "sim/plot.h"
#include "sim/world.h"
#include "torrent/session_counters.h"

struct log;

struct scenario_params {
    uint32_t n_peers; /* that begin with nothing */
    uint32_t n_liars;
    uint64_t rng_seed;
    uint64_t size;
    uint32_t piece_len, n_files;
    enum content_version version;
    uint64_t seed_up_per_s, up_per_s, down_per_s; /* bytes; 0: no bound */
    uint64_t delay_us, jitter_us;                 /* delay: of each node from none to this */
    uint32_t loss_ppm;
    uint32_t n_conns;     /* of each machine at most; 0: the engine's default */
    size_t cache_len;     /* of each engine; 0: its default */
    uint64_t arrive_us;   /* machines join over this time; 0: all at once */
    uint32_t nat_percent; /* of peers that cannot be dialled */
    uint64_t limit_us;
    uint64_t check_us; /* between looks at the invariants; 0: only at the end */
    uint64_t why_us;   /* so often what the slowest wait for is put into the table; 0: at the end */
    bool is_phantom;
    bool is_udp_tracker, is_magnet;
    bool wants_counters; /* of all engines together, in the table */
    struct log *log;
};

struct scenario_result {
    struct mem mem; /* of table, times, figures */
    bool is_ok;
    char why[256];    /* when not */
    uint32_t n_parts; /* worlds that it compared; the times below are then those of the last */
    uint32_t n_done, n_honest;
    uint64_t first_us, median_us, last_us; /* of completion; 0: nobody */
    uint64_t bound_us;                     /* no protocol can be faster */
    uint64_t end_us;                       /* on the virtual clock */
    uint64_t n_lies, n_over_room, n_banned, n_pieces_bad, n_errors;
    uint64_t n_honest_banned;
    uint64_t n_ticks_max;                     /* of the engine that asked for most */
    uint64_t wasted_len, seed_up_len, up_len; /* up_len: through all up links */
    uint64_t n_dials;
    size_t peak_mem_len;    /* of the engine that used most */
    size_t world_mem_len;   /* of the world without the engines */
    size_t engines_mem_len; /* of all engines together, at the end */
    uint64_t n_events, n_traced, real_us;
    uint8_t trace_hash[SHA256_LEN];
    struct buf table;     /* for people: lines of text */
    struct buf times;     /* per honest peer, in its order: "12.345\n" seconds, or "-" */
    uint64_t *done_at_us; /* n_done of them on the virtual clock, in order; may be NULL */
    uint64_t counters[N_SESSION_COUNTERS]; /* of all engines together */
    struct plot plot;
};

struct scenario {
    const char *name, *help;
    struct scenario_params defaults;
    void (*run)(const struct scenario_params *p, struct scenario_result *r);
};

extern const struct scenario scenarios[]; /* ends with a NULL name */
const struct scenario *scenario_find(const char *name);
/* Runs it and fills in what all results have in common. */
void scenario_run(const struct scenario *s, const struct scenario_params *p,
                  struct scenario_result *r);
void scenario_result_clear(struct scenario_result *r);
