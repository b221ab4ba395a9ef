/* sim_report: what `shoal sim` prints of a run: a table, a line when there are many runs, a JSON
 * object; and its figures.
 *
 * Ownership  borrows the result
 * Errors     sim_report_svg: said on stderr; false
 */
#pragma once
#include "sim/scenario.h"

struct sim_options {
    struct scenario_params p;
    uint64_t n_seeds;
    bool want_times, want_log, is_json;
    const char *svg_path; /* NULL: no figures */
};

void sim_report_print(const struct scenario *sc, const struct sim_options *s,
                      const struct scenario_result *r);
bool sim_report_svg(const struct sim_options *s, const struct scenario_result *r);
