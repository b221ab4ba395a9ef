#include "phases.h"
#include <dirent.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SYNC_TICKS ((uint64_t)1 << 20) /* ours: some 0.4 ms: a thousandth goes into the clock */

struct phases_thread {
    enum phase now;
    uint64_t at_ticks, n_pending;
    uint64_t pending[N_PHASES]; /* ticks since cpu_ns was read */
    uint64_t cpu_ns;
    double ns[N_PHASES];
    uint64_t n_calls[PHASES_DOORS_MAX];
    pid_t tid;
};

static struct phases_thread threads[PHASES_THREADS_MAX];
static atomic_uint n_threads;
static atomic_bool is_on;
static uint64_t process_from_ns, foreign_from_ns;
static _Thread_local struct phases_thread *self;

const char *phase_name(enum phase p)
{
    static const char *const names[N_PHASES] = {
        [PHASE_REST] = "rest",       [PHASE_SIGNATURES] = "signatures", [PHASE_SCRIPTS] = "scripts",
        [PHASE_HASHING] = "hashing", [PHASE_PARSING] = "parsing",       [PHASE_COINS] = "coins",
        [PHASE_DISK] = "disk",
    };
    return names[p];
}

/* --- clocks ---------------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return clock_ns(CLOCK_MONOTONIC);
#endif
}

/* Linux: the CPU clock of a thread by its number (clock_getcpuclockid(3), for threads). */
static clockid_t clock_of_thread(pid_t tid)
{
    return (clockid_t)(~(unsigned)tid << 3 | 6u);
}

static bool is_ours(pid_t tid)
{
    for (unsigned i = 0; i < atomic_load(&n_threads) && i < PHASES_THREADS_MAX; i++)
        if (threads[i].tid == tid)
            return true;
    return false;
}

/* CPU time of the threads that never came through a door. */
static uint64_t foreign_ns(void)
{
    uint64_t sum = 0;
    const struct dirent *e;
    DIR *d = opendir("/proc/self/task");
    while (d && (e = readdir(d))) {
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
        if (tid > 0 && !is_ours(tid))
            sum += clock_ns(clock_of_thread(tid));
    }
    if (d)
        closedir(d);
    return sum;
}

/* --- one thread ------------------------------------------------------------------------------ */

/* The CPU time since the last time, shared out. */
static void share_out(struct phases_thread *t)
{
    uint64_t now_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned p = 0; p < N_PHASES && t->n_pending; p++) {
        t->ns[p] += (double)(now_ns - t->cpu_ns) * (double)t->pending[p] / (double)t->n_pending;
        t->pending[p] = 0;
    }
    t->n_pending = 0;
    t->cpu_ns = now_ns;
}

static void charge(struct phases_thread *t, enum phase next)
{
    uint64_t at = ticks(), spent = at - t->at_ticks;
    t->pending[t->now] += spent;
    t->n_pending += spent;
    t->at_ticks = at;
    t->now = next;
    if (t->n_pending > SYNC_TICKS)
        share_out(t);
}

/* A thread that comes for the first time. What it did before is the rest. */
static struct phases_thread *join(uint64_t cpu_ns)
{
    unsigned i = atomic_fetch_add(&n_threads, 1);
    if (i >= PHASES_THREADS_MAX)
        return NULL;
    self = &threads[i];
    self->tid = gettid();
    self->cpu_ns = cpu_ns;
    self->at_ticks = ticks() - 1;
    return self;
}

static struct phases_thread *me(void)
{
    return self ? self : join(0);
}

enum phase phases_enter(enum phase p, unsigned door)
{
    struct phases_thread *t;
    if (!phases_are_on() || !(t = me()))
        return PHASE_REST;
    enum phase before = t->now;
    t->n_calls[door]++;
    if (before != p)
        charge(t, p);
    return before;
}

enum phase phases_enter_hashing(unsigned door)
{
    if (self && (self->now == PHASE_SCRIPTS || self->now == PHASE_HASHING)) {
        self->n_calls[door]++;
        return self->now;
    }
    return phases_enter(PHASE_HASHING, door);
}

void phases_leave(enum phase before)
{
    if (self && self->now != before && phases_are_on())
        charge(self, before);
}

uint64_t phases_n_calls(unsigned door)
{
    return self ? self->n_calls[door] : 0;
}

void phases_sleep(unsigned door)
{
    phases_enter(PHASE_REST, door);
    if (self && phases_are_on())
        share_out(self);
}

/* Going to sleep and waking up cost the rest. */
void phases_wake(void)
{
    struct phases_thread *t;
    if (!phases_are_on() || !(t = me()))
        return;
    charge(t, PHASE_REST);
    share_out(t);
}

/* --- all of them ----------------------------------------------------------------------------- */

bool phases_are_on(void)
{
    return atomic_load_explicit(&is_on, memory_order_relaxed);
}

void phases_start(void)
{
    process_from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    join(clock_ns(CLOCK_THREAD_CPUTIME_ID));
    foreign_from_ns = foreign_ns();
    atomic_store(&is_on, true);
}

void phases_stop(struct phases_sum *out)
{
    charge(self, PHASE_REST);
    share_out(self);
    atomic_store(&is_on, false);
    *out = (struct phases_sum){0};
    out->process_s = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - process_from_ns) / 1e9;
    out->cpu_s[PHASE_DISK] = ((double)foreign_ns() - (double)foreign_from_ns) / 1e9;
    for (unsigned i = 0; i < atomic_load(&n_threads) && i < PHASES_THREADS_MAX; i++) {
        for (unsigned p = 0; p < N_PHASES; p++)
            out->cpu_s[p] += threads[i].ns[p] / 1e9;
        for (unsigned d = 0; d < PHASES_DOORS_MAX; d++)
            out->n_calls[d] += threads[i].n_calls[d];
    }
}
