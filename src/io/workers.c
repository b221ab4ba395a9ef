#include "io/workers.h"
#include "io/loop.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define N_THREADS_PER_QUEUE_MAX 64u

struct worker_queue {
    struct workers *workers;
    uint64_t key;
    struct list jobs;
    pthread_cond_t has_jobs, has_gathered;
    unsigned n_threads_max, n_threads, n_begun, n_idle;
    unsigned n_many;                  /* threads that gather or are in a run_many */
    bool is_gathering;                /* one of them waits for WORKERS_N_MANY jobs, or a moment */
    uint64_t many_at_us, many_gap_us; /* the last job that gathers; between two, smoothed */
    pthread_t threads[N_THREADS_PER_QUEUE_MAX];
    uint8_t *scratch[N_THREADS_PER_QUEUE_MAX];
};

struct workers {
    pthread_mutex_t lock; /* all below */
    unsigned n_threads_default;
    size_t n_jobs, n_jobs_max; /* waiting in queues */
    bool is_stopping;
    uint32_t n_queues;
    struct worker_queue queues[WORKERS_N_QUEUES_MAX];
};

struct workers_port {
    struct loop_async *async; /* NULL: workers_port_wait only */
    pthread_mutex_t lock;     /* ready, n_out */
    pthread_cond_t has_ready;
    struct list ready;
    size_t n_out;
};

/* --- jobs come back --------------------------------------------------------------------------- */

/* Only the job that finds the list empty wakes the loop: one wake-up per batch. */
static void port_post(struct work *w)
{
    struct workers_port *p = w->port;
    pthread_mutex_lock(&p->lock);
    bool was_empty = list_is_empty(&p->ready);
    list_push_back(&p->ready, &w->in_queue);
    if (was_empty) {
        pthread_cond_signal(&p->has_ready);
        if (p->async) /* under the lock: once it is free the port may be gone */
            loop_async_send(p->async);
    }
    pthread_mutex_unlock(&p->lock);
}

static void port_wake(void *ctx)
{
    workers_port_wait(ctx, false);
}

enum err_code workers_port_new(struct workers_port **out, struct loop *l, struct err *err)
{
    struct workers_port *p = *out = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "no memory for a port");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->has_ready, NULL);
    list_init(&p->ready);
    if (l && loop_async_new(&p->async, l, port_wake, p)) {
        workers_port_free(p);
        *out = NULL;
        return err_set(err, ERR_NO_MEMORY, "no memory for a port");
    }
    return ERR_OK;
}

void workers_port_free(struct workers_port *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    assert(p->n_out == 0);
    pthread_mutex_unlock(&p->lock);
    loop_async_free(p->async);
    pthread_cond_destroy(&p->has_ready);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

size_t workers_port_n_out(const struct workers_port *p)
{
    struct workers_port *q = (struct workers_port *)(uintptr_t)p;
    pthread_mutex_lock(&q->lock);
    size_t n = q->n_out;
    pthread_mutex_unlock(&q->lock);
    return n;
}

size_t workers_port_wait(struct workers_port *p, bool wait)
{
    pthread_mutex_lock(&p->lock);
    while (wait && p->n_out > 0 && list_is_empty(&p->ready))
        pthread_cond_wait(&p->has_ready, &p->lock);
    struct list batch;
    list_init(&batch);
    struct list_node *node;
    while ((node = list_pop_front(&p->ready)))
        list_push_back(&batch, node);
    p->n_out -= batch.n;
    pthread_mutex_unlock(&p->lock);
    size_t n = batch.n;
    while ((node = list_pop_front(&batch))) {
        struct work *w = CONTAINER_OF(node, struct work, in_queue);
        w->done(w);
    }
    return n;
}

/* --- threads ---------------------------------------------------------------------------------- */

/* So long that at the pace of the last ones as many as can be run together will have come; not at
 * all where that would be long. */
static uint64_t gather_us(const struct worker_queue *q)
{
    uint64_t us = WORKERS_N_MANY * q->many_gap_us;
    return us <= WORKERS_GATHER_US ? us : 0;
}

static void note_pace(struct worker_queue *q)
{
    uint64_t at_us = clock_now_us(), gap_us = at_us - q->many_at_us;
    if (gap_us > WORKERS_GATHER_US)
        gap_us = WORKERS_GATHER_US;
    q->many_gap_us = (3 * q->many_gap_us + gap_us) / 4;
    q->many_at_us = at_us;
}

/* The first of jobs that are better run together is here: a moment for the others to come. */
static void queue_gather(struct worker_queue *q)
{
    struct workers *ws = q->workers;
    uint64_t end_us = clock_now_us() + gather_us(q);
    struct timespec deadline = {(time_t)(end_us / 1000000u), (long)(end_us % 1000000u) * 1000};
    size_t n_before = q->jobs.n;
    bool is_over = gather_us(q) == 0;
    q->is_gathering = true;
    q->n_many++;
    while (!is_over && q->jobs.n > 0 && q->jobs.n < WORKERS_N_MANY && !ws->is_stopping)
        is_over = pthread_cond_timedwait(&q->has_gathered, &ws->lock, &deadline) != 0;
    if (is_over && q->jobs.n <= n_before) /* none came: whoever sends them may wait for us */
        q->many_gap_us = WORKERS_GATHER_US;
    q->n_many--;
    q->is_gathering = false;
}

/* The first job; while a thread gathers, the first that it does not wait for. */
static struct work *queue_first(const struct worker_queue *q)
{
    LIST_EACH(&q->jobs, w, struct work, in_queue)
    if (!q->is_gathering || !w->run_many)
        return w;
    return NULL;
}

static struct work *queue_wait(struct worker_queue *q)
{
    struct work *w;
    while (!(w = queue_first(q)) && !q->workers->is_stopping) {
        q->n_idle++;
        pthread_cond_wait(&q->has_jobs, &q->workers->lock);
        q->n_idle--;
    }
    return w;
}

/* A job, with those behind it that can be run in one call. */
static size_t queue_remove(struct worker_queue *q, struct work *first, struct work **out)
{
    size_t n = 0;
    struct list_node *node = &first->in_queue, *next;
    for (; node != &q->jobs.head && n < WORKERS_N_MANY; node = next) {
        struct work *w = CONTAINER_OF(node, struct work, in_queue);
        if (n > 0 && (!w->run_many || w->run_many != first->run_many))
            break;
        next = node->next;
        list_remove(&q->jobs, node);
        out[n++] = w;
    }
    q->workers->n_jobs -= n;
    return n;
}

/* What to run next; 0: stop. */
static size_t queue_take(struct worker_queue *q, struct work **out)
{
    struct work *w = queue_wait(q);
    if (w && w->run_many) {
        queue_gather(q);
        w = queue_wait(q); /* it may have been cancelled */
    }
    size_t n = w ? queue_remove(q, w, out) : 0;
    if (queue_first(q)) /* kept from others while this thread gathered */
        pthread_cond_signal(&q->has_jobs);
    return n;
}

static void run_jobs(struct work *const *jobs, size_t n, struct span scratch)
{
    if (jobs[0]->run_many)
        jobs[0]->run_many(jobs, n, scratch);
    else
        jobs[0]->run(jobs[0], scratch);
    for (size_t i = 0; i < n; i++)
        port_post(jobs[i]);
}

static void *worker_main(void *arg)
{
    struct worker_queue *q = arg;
    struct workers *ws = q->workers;
    pthread_mutex_lock(&ws->lock); /* held until the thread is counted */
    struct span scratch = {q->scratch[q->n_begun++], WORKERS_SCRATCH_LEN};
    struct work *jobs[WORKERS_N_MANY];
    size_t n;
    while ((n = queue_take(q, jobs))) {
        bool is_many = jobs[0]->run_many; /* after run_jobs they are the owner's again */
        q->n_many += is_many;
        pthread_mutex_unlock(&ws->lock);
        run_jobs(jobs, n, scratch);
        pthread_mutex_lock(&ws->lock);
        q->n_many -= is_many;
    }
    pthread_mutex_unlock(&ws->lock);
    return NULL;
}

/* All signals stay with the loop's thread. */
static bool queue_start_thread(struct worker_queue *q)
{
    sigset_t all, old;
    uint8_t *scratch = aligned_alloc(4096, WORKERS_SCRATCH_LEN);
    if (!scratch)
        return false;
    q->scratch[q->n_threads] = scratch;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&q->threads[q->n_threads], NULL, worker_main, q);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code == 0)
        q->n_threads++;
    else
        free(scratch);
    return code == 0;
}

static unsigned default_n_threads(void)
{
    long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = n_cores > 0 ? (unsigned)n_cores : 1;
    return (n < N_THREADS_PER_QUEUE_MAX ? n : N_THREADS_PER_QUEUE_MAX - 1) + 1;
}

enum err_code workers_new(struct workers **out, unsigned n_threads, size_t n_jobs_max,
                          struct err *err)
{
    struct workers *ws = *out = calloc(1, sizeof *ws);
    if (!ws)
        return err_set(err, ERR_NO_MEMORY, "no memory for workers");
    pthread_mutex_init(&ws->lock, NULL);
    ws->n_threads_default = n_threads ? n_threads : default_n_threads();
    if (ws->n_threads_default > N_THREADS_PER_QUEUE_MAX)
        ws->n_threads_default = N_THREADS_PER_QUEUE_MAX;
    ws->n_jobs_max = n_jobs_max;
    return ERR_OK;
}

void workers_cancel(struct workers *ws)
{
    struct list cancelled;
    list_init(&cancelled);
    pthread_mutex_lock(&ws->lock);
    for (uint32_t i = 0; i < ws->n_queues; i++) {
        struct list_node *node;
        while ((node = list_pop_front(&ws->queues[i].jobs)))
            list_push_back(&cancelled, node);
    }
    ws->n_jobs = 0;
    pthread_mutex_unlock(&ws->lock);
    struct list_node *node;
    while ((node = list_pop_front(&cancelled))) {
        struct work *w = CONTAINER_OF(node, struct work, in_queue);
        w->is_cancelled = true;
        port_post(w);
    }
}

void workers_free(struct workers *ws)
{
    if (!ws)
        return;
    pthread_mutex_lock(&ws->lock);
    ws->is_stopping = true;
    for (uint32_t i = 0; i < ws->n_queues; i++) {
        pthread_cond_broadcast(&ws->queues[i].has_jobs);
        pthread_cond_broadcast(&ws->queues[i].has_gathered);
    }
    pthread_mutex_unlock(&ws->lock);
    for (uint32_t i = 0; i < ws->n_queues; i++) {
        struct worker_queue *q = &ws->queues[i];
        for (unsigned t = 0; t < q->n_threads; t++)
            pthread_join(q->threads[t], NULL);
        for (unsigned t = 0; t < q->n_threads; t++)
            free(q->scratch[t]);
        pthread_cond_destroy(&q->has_jobs);
        pthread_cond_destroy(&q->has_gathered);
    }
    pthread_mutex_destroy(&ws->lock);
    free(ws);
}

/* --- queues ----------------------------------------------------------------------------------- */

static uint32_t queue_find(struct workers *ws, uint64_t key, unsigned n_threads)
{
    for (uint32_t i = 0; i < ws->n_queues; i++)
        if (ws->queues[i].key == key)
            return i;
    if (ws->n_queues == WORKERS_N_QUEUES_MAX)
        return (uint32_t)(key % WORKERS_N_QUEUES_MAX);
    struct worker_queue *q = &ws->queues[ws->n_queues];
    q->workers = ws;
    q->key = key;
    q->n_threads_max = n_threads ? n_threads : ws->n_threads_default;
    if (q->n_threads_max > N_THREADS_PER_QUEUE_MAX)
        q->n_threads_max = N_THREADS_PER_QUEUE_MAX;
    q->many_gap_us = WORKERS_GATHER_US;
    list_init(&q->jobs);
    pthread_cond_init(&q->has_jobs, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->has_gathered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return ws->n_queues++;
}

uint32_t workers_queue(struct workers *ws, uint64_t key, unsigned n_threads)
{
    pthread_mutex_lock(&ws->lock);
    uint32_t queue = queue_find(ws, key, n_threads);
    pthread_mutex_unlock(&ws->lock);
    return queue;
}

static void port_count(struct workers_port *p, bool is_out)
{
    pthread_mutex_lock(&p->lock);
    if (is_out)
        p->n_out++;
    else
        p->n_out--;
    pthread_mutex_unlock(&p->lock);
}

/* A thread that runs such jobs now takes this one next, together with others. */
static bool queue_gathers(const struct worker_queue *q, const struct work *w)
{
    return w->run_many && q->n_many > 0 && q->jobs.n + 1 < WORKERS_N_MANY;
}

/* A thread more while jobs wait with nobody idle. The first must start, or the job is refused. */
static bool queue_push(struct worker_queue *q, struct work *w)
{
    struct workers *ws = q->workers;
    if (ws->n_jobs >= ws->n_jobs_max)
        return false;
    bool gathers = queue_gathers(q, w);
    if (w->run_many)
        note_pace(q);
    if (!gathers && q->n_idle <= q->jobs.n && q->n_threads < q->n_threads_max &&
        !queue_start_thread(q) && q->n_threads == 0)
        return false;
    list_push_back(&q->jobs, &w->in_queue);
    ws->n_jobs++;
    if (!gathers)
        pthread_cond_signal(q->is_gathering && w->run_many ? &q->has_gathered : &q->has_jobs);
    return true;
}

enum err_code workers_submit(struct workers *ws, uint32_t queue, struct work *w)
{
    assert(w->port && w->run && w->done);
    w->is_cancelled = false;
    port_count(w->port, true);
    pthread_mutex_lock(&ws->lock);
    assert(queue < ws->n_queues);
    bool is_queued = queue_push(&ws->queues[queue], w);
    pthread_mutex_unlock(&ws->lock);
    if (is_queued)
        return ERR_OK;
    port_count(w->port, false);
    return ERR_LIMIT;
}
