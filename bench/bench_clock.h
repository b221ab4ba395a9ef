/* bench_clock: the machine's clocks in seconds: CLOCK_MONOTONIC for what passes on the wall,
 * CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID for CPU time.
 *
 * Threads    any
 */
#pragma once
#include <time.h>

static inline double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
