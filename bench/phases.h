/* phases: where the CPU time of an import goes, counted: every thread is in one phase at a time, and
 * its CPU time is charged to the innermost one.
 *
 * Entering and leaving read the processor's cheap counter only. The thread's CPU clock, a system
 * call, is read when enough ticks have gathered or the thread is about to sleep, and the CPU time
 * since then is shared out in proportion to the ticks: time in which the thread was not running is
 * charged to nobody.
 *
 * Threads    any thread may enter and leave; start and stop from the owner of the import. What the
 *            others counted is read at stop: they have ended, or sleep within phases_sleep
 * Memory     one static table; when more than PHASES_THREADS_MAX threads come, the rest are not
 *            counted, and the sum shows it
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PHASES_THREADS_MAX 64u
#define PHASES_DOORS_MAX   40u /* places that are counted (chain_doors.h) */

enum phase {
    PHASE_REST, /* queues, the order of blocks, what no other phase names */
    PHASE_SIGNATURES,
    PHASE_SCRIPTS,
    PHASE_HASHING,
    PHASE_PARSING,
    PHASE_COINS,
    PHASE_DISK,
    N_PHASES
};

struct phases_sum {
    double cpu_s[N_PHASES]; /* what threads that we do not know used is in PHASE_DISK: RocksDB's */
    double process_s;       /* of the whole process, by its own clock */
    double counters_s;      /* what counting cost of it: estimated by doing it for nothing */
    uint64_t n_calls[PHASES_DOORS_MAX];
};

const char *phase_name(enum phase p);

/* From here on time is counted. */
void phases_start(void);
void phases_stop(struct phases_sum *out);
bool phases_are_on(void);

/* door: below PHASES_DOORS_MAX. Returns what phases_leave wants back. */
enum phase phases_enter(enum phase p, unsigned door);
/* The same, but within PHASE_SCRIPTS and PHASE_HASHING it stays with them. */
enum phase phases_enter_hashing(unsigned door);
void phases_leave(enum phase before);
/* How often this thread came through a door. */
uint64_t phases_n_calls(unsigned door);
/* Around what sleeps. */
void phases_sleep(unsigned door);
void phases_wake(void);
