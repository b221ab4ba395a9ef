/* chain_pool: threads for a chainstate (chain/chain_runner.h).
 *
 * One queue, first come first served; a job is 50 to 500 us of work, so a lock around the queue
 * costs nothing to speak of. A thread takes several jobs at once while the queue is long, one at a
 * time near the end, so that all finish together. The owner joins in: while it waits it runs what
 * is queued, and sleeps only when others are running the rest.
 *
 * Ownership  a job is the pool's from submit until collect gives it back. The queue is threaded
 *            through the jobs: nothing is allocated, and how many there are is bounded by who
 *            submits them (the chainstate's window)
 * Threads    submit and collect on the owner's thread; run() on any, with that thread's struct mem
 * Errors     chain_pool_new: ERR_NO_MEMORY, ERR_IO (no thread to be had)
 * Shutdown   chain_pool_free lets everything queued run, then ends the threads
 */
#pragma once
#include "base/err.h"
#include "chain/chain_runner.h"

struct chain_pool;

#define CHAIN_POOL_THREADS_MAX 256u

struct chain_pool_stats {
    uint64_t n_jobs, n_by_owner; /* run; of them by the owner while it waited */
    uint64_t n_sleeps;           /* times the owner had nothing to do but wait */
};

/* n_threads counts the owner: 1 starts none, and collect runs the jobs. 0: one per core. */
enum err_code chain_pool_new(struct chain_pool **out, unsigned n_threads, struct err *err) MUST_USE;
void chain_pool_free(struct chain_pool *p); /* NULL is fine */
/* Good until chain_pool_free. */
const struct chain_runner *chain_pool_runner(const struct chain_pool *p);
void chain_pool_stats(const struct chain_pool *p, struct chain_pool_stats *out);
