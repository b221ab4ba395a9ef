#include "io/chain_pool.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define N_TAKE_MAX 4u /* ours: jobs a thread takes at once: 2 ms of work at most */

struct pool_thread {
    struct chain_pool *pool;
    pthread_t thread;
    struct mem mem;
};

struct chain_pool {
    struct chain_runner runner;
    pthread_mutex_t lock;
    pthread_cond_t work, done_some;
    /* Under the lock: */
    struct chain_job *first, **last;
    size_t n_queued;
    unsigned n_idle;
    bool is_ending;
    /* From the threads to the owner: a stack of jobs that ran. */
    _Atomic(struct chain_job *) done;
    atomic_bool owner_sleeps;
    /* The owner's: */
    size_t n_out; /* submitted, not yet collected */
    struct mem mem;
    struct chain_pool_stats stats;
    unsigned n_started;
    struct pool_thread threads[];
};

/* --- the queue ------------------------------------------------------------------------------- */

/* How many to take: many while there are many, so that the lock is taken less often. */
static size_t share_of(const struct chain_pool *p)
{
    size_t share = p->n_queued / (2 * ((size_t)p->runner.n_threads + 1));
    return share < 1 ? 1 : share > N_TAKE_MAX ? N_TAKE_MAX : share;
}

/* Takes up to n jobs off the front; the lock is held. */
static struct chain_job *take(struct chain_pool *p, size_t n)
{
    struct chain_job *jobs = p->first, **end = &p->first;
    for (; *end && n > 0; n--) {
        end = &(*end)->next;
        p->n_queued--;
    }
    p->first = *end;
    *end = NULL;
    if (!p->first)
        p->last = &p->first;
    return p->first == jobs ? NULL : jobs;
}

/* The sleeper looks at the stack after it has said that it sleeps; we put the job there before we
 * ask whether it does. So one of the two sees the other (all four are sequentially consistent). */
static void give_back(struct chain_pool *p, struct chain_job *j)
{
    struct chain_job *head = atomic_load(&p->done);
    do
        j->next = head;
    while (!atomic_compare_exchange_weak(&p->done, &head, j));
    if (!atomic_load(&p->owner_sleeps))
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->done_some);
    pthread_mutex_unlock(&p->lock);
}

static void run_all(struct chain_pool *p, struct chain_job *jobs, struct mem *mem)
{
    while (jobs) {
        struct chain_job *j = jobs;
        jobs = j->next;
        j->run(j, mem);
        give_back(p, j);
    }
}

static void *thread_main(void *arg)
{
    struct pool_thread *t = arg;
    struct chain_pool *p = t->pool;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct chain_job *jobs = p->first ? take(p, share_of(p)) : NULL;
        if (jobs) {
            pthread_mutex_unlock(&p->lock);
            run_all(p, jobs, &t->mem);
            pthread_mutex_lock(&p->lock);
        } else if (p->is_ending) {
            break;
        } else {
            p->n_idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->n_idle--;
        }
    }
    pthread_mutex_unlock(&p->lock);
    mem_check_empty(&t->mem);
    return NULL;
}

/* --- the owner's doors ----------------------------------------------------------------------- */

static void submit(void *ctx, struct chain_job *j)
{
    struct chain_pool *p = ctx;
    j->next = NULL;
    p->n_out++;
    p->stats.n_jobs++;
    pthread_mutex_lock(&p->lock);
    *p->last = j;
    p->last = &j->next;
    p->n_queued++;
    bool is_needed = p->n_idle > 0;
    pthread_mutex_unlock(&p->lock);
    if (is_needed)
        pthread_cond_signal(&p->work);
}

/* What is on the stack, in the order in which it was done. */
static struct chain_job *collect_done(struct chain_pool *p)
{
    struct chain_job *stack = atomic_exchange(&p->done, NULL), *list = NULL;
    while (stack) {
        struct chain_job *j = stack;
        stack = j->next;
        j->next = list;
        list = j;
        p->n_out--;
    }
    return list;
}

static bool run_one(struct chain_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct chain_job *j = p->first ? take(p, 1) : NULL;
    pthread_mutex_unlock(&p->lock);
    if (!j)
        return false;
    p->stats.n_by_owner++;
    run_all(p, j, &p->mem);
    return true;
}

static void sleep_until_done(struct chain_pool *p)
{
    p->stats.n_sleeps++;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->owner_sleeps, true);
    while (!atomic_load(&p->done))
        pthread_cond_wait(&p->done_some, &p->lock);
    atomic_store(&p->owner_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

static struct chain_job *collect(void *ctx, bool wait)
{
    struct chain_pool *p = ctx;
    while (p->n_out > 0) {
        struct chain_job *list = collect_done(p);
        if (list)
            return list;
        if (!wait && p->n_started > 0)
            return NULL;
        if (!run_one(p))
            sleep_until_done(p);
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static unsigned n_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : (unsigned)n;
}

static bool start_threads(struct chain_pool *p)
{
    for (unsigned i = 0; i < p->runner.n_threads; i++) {
        struct pool_thread *t = &p->threads[i];
        t->pool = p;
        mem_init(&t->mem, MEM_NO_BUDGET, NULL);
        if (pthread_create(&t->thread, NULL, thread_main, t) != 0)
            return false;
        p->n_started++;
    }
    return true;
}

enum err_code chain_pool_new(struct chain_pool **out, unsigned n_threads, struct err *err)
{
    unsigned n = n_threads ? n_threads : n_cores();
    n = n > CHAIN_POOL_THREADS_MAX ? CHAIN_POOL_THREADS_MAX : n;
    struct chain_pool *p = calloc(1, sizeof *p + (n - 1) * sizeof p->threads[0]);
    *out = NULL;
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "no memory for threads");
    p->runner = (struct chain_runner){p, n - 1, submit, collect};
    p->last = &p->first;
    mem_init(&p->mem, MEM_NO_BUDGET, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done_some, NULL);
    if (!start_threads(p)) {
        chain_pool_free(p);
        return err_set_at(err, ERR_IO, "cannot start a thread", 0, EAGAIN, 0);
    }
    *out = p;
    return ERR_OK;
}

void chain_pool_free(struct chain_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    while (run_one(p))
        continue;
    for (unsigned i = 0; i < p->n_started; i++)
        pthread_join(p->threads[i].thread, NULL);
    assert(!p->first);
    mem_check_empty(&p->mem);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->done_some);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct chain_runner *chain_pool_runner(const struct chain_pool *p)
{
    return &p->runner;
}

void chain_pool_stats(const struct chain_pool *p, struct chain_pool_stats *out)
{
    *out = p->stats;
}
