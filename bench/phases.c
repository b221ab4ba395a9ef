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
    uint64_t n_charges, n_clocks;
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
    t->n_clocks++;
}

static void charge(struct phases_thread *t, enum phase next)
{
    uint64_t at = ticks(), spent = at - t->at_ticks;
    t->pending[t->now] += spent;
    t->n_pending += spent;
    t->at_ticks = at;
    t->now = next;
    t->n_charges++;
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

/* Seconds for one charge and for one look at the clock. */
static void measure_counting(double *out_charge_s, double *out_clock_s)
{
    enum { N_CHARGES = 200000, N_CLOCKS = 2000 };
    struct phases_thread t = {.at_ticks = ticks()};
    uint64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < N_CLOCKS; i++)
        clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t middle = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < N_CHARGES; i++)
        charge(&t, i % 2 ? PHASE_REST : PHASE_COINS);
    uint64_t until = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    *out_clock_s = (double)(middle - from) / 1e9 / N_CLOCKS;
    *out_charge_s =
        (double)(until - middle) / 1e9 / N_CHARGES - *out_clock_s * (double)t.n_clocks / N_CHARGES;
}

static void add_thread(struct phases_sum *sum, const struct phases_thread *t, double charge_s,
                       double clock_s)
{
    for (unsigned p = 0; p < N_PHASES; p++)
        sum->cpu_s[p] += t->ns[p] / 1e9;
    for (unsigned d = 0; d < PHASES_DOORS_MAX; d++)
        sum->n_calls[d] += t->n_calls[d];
    sum->counters_s += (double)t->n_charges * charge_s + (double)t->n_clocks * clock_s;
}

void phases_stop(struct phases_sum *out)
{
    double charge_s, clock_s;
    charge(self, PHASE_REST);
    share_out(self);
    atomic_store(&is_on, false);
    *out = (struct phases_sum){0};
    out->process_s = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - process_from_ns) / 1e9;
    out->cpu_s[PHASE_DISK] = ((double)foreign_ns() - (double)foreign_from_ns) / 1e9;
    measure_counting(&charge_s, &clock_s);
    for (unsigned i = 0; i < atomic_load(&n_threads) && i < PHASES_THREADS_MAX; i++)
        add_thread(out, &threads[i], charge_s, clock_s);
}
