/* scenario_parts: what the files that make up the table of scenarios share. A scenario that compares
 * runs each world as a part (scenario_part): the parts' numbers are added up, their trace hashes
 * chained, the first that fails names itself.
 *
 *   scenario.c          the table; swarms, gossip, partitions, crashes, faults of disks
 *   scenario_chain.c   Bitcoin: forks and reorganisations
 *   scenario_scale.c    N = 10 .. 10,000 against the bound
 *   scenario_choice.c   order of pieces; who gives to whom
 *   scenario_crowd.c    machines that come, go and differ
 *   scenario_attack.c   adversaries
 *   scenario_faults.c   a crash or a fault at every request of a disk
 */
#pragma once
#include "sim/stage.h"

#define MIB (1u << 20)
#define KIB (1u << 10)

/* *part is filled; clear it with scenario_result_clear. */
void scenario_part(const struct scenario_params *p,
                   void (*run)(const struct scenario_params *p, struct scenario_result *r,
                               void *ctx),
                   void *ctx, struct scenario_result *whole, struct scenario_result *part,
                   const char *name);
/* For scenario_part: one seed and n_peers machines, until all have everything. */
void scenario_crowd_part(const struct scenario_params *p, struct scenario_result *r, void *ctx);
void scenario_fail(struct scenario_result *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct plot_panel *scenario_panel_done(struct scenario_result *r, const char *title);
/* A series of when machines had everything. */
void scenario_plot_done(struct scenario_result *whole, struct plot_panel *panel,
                        const struct scenario_result *part, const char *name);

static inline double scenario_s(uint64_t us)
{
    return (double)us / US_PER_S;
}

void run_selection(const struct scenario_params *p, struct scenario_result *r);
void run_free_riders(const struct scenario_params *p, struct scenario_result *r);
void run_clusters(const struct scenario_params *p, struct scenario_result *r);
void run_newcomers(const struct scenario_params *p, struct scenario_result *r);
void run_flash_crowd(const struct scenario_params *p, struct scenario_result *r);
void run_churn(const struct scenario_params *p, struct scenario_result *r);
void run_links(const struct scenario_params *p, struct scenario_result *r);
void run_nat(const struct scenario_params *p, struct scenario_result *r);
void run_chain(const struct scenario_params *p, struct scenario_result *r);
void run_crash_sweep(const struct scenario_params *p, struct scenario_result *r);
void run_fault_sweep(const struct scenario_params *p, struct scenario_result *r);
void run_adversaries(const struct scenario_params *p, struct scenario_result *r);
void run_scale(const struct scenario_params *p, struct scenario_result *r);
