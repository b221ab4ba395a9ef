#include "io/chain_pool.h"
#include "test_util.h"
#include <stdatomic.h>
#include <time.h>

#define N_JOBS 20000u

struct job {
    struct chain_job base;
    uint32_t in, out;
    unsigned n_runs; /* not atomic: a race would be two threads with one job */
    bool is_slow;
};

static void run_job(struct chain_job *base, struct mem *mem)
{
    struct job *j = (struct job *)(void *)base;
    uint32_t *scratch = mem_alloc(mem, 64);
    *scratch = j->in;
    if (j->is_slow)
        nanosleep(&(struct timespec){0, 200000}, NULL);
    j->out = *scratch * 3 + 1;
    j->n_runs++;
    mem_free(mem, scratch);
}

static struct job *jobs_new(size_t n)
{
    struct job *jobs = calloc(n, sizeof *jobs);
    assert_non_null(jobs);
    for (uint32_t i = 0; i < n; i++)
        jobs[i] = (struct job){.base.run = run_job, .in = i, .is_slow = i % 64 == 0 && n < 2000};
    return jobs;
}

static size_t check_list(struct chain_job *list)
{
    size_t n = 0;
    while (list) {
        struct job *j = (struct job *)(void *)list;
        list = list->next;
        assert_int_equal(j->n_runs, 1);
        assert_int_equal(j->out, j->in * 3 + 1);
        n++;
    }
    return n;
}

/* Every job comes back once, whoever ran it and however it is asked for. */
static void each_job_runs_once(unsigned n_threads, size_t n_jobs, size_t n_window)
{
    struct chain_pool *p;
    struct err err;
    struct chain_pool_stats stats;
    assert_int_equal(chain_pool_new(&p, n_threads, &err), ERR_OK);
    const struct chain_runner *r = chain_pool_runner(p);
    struct job *jobs = jobs_new(n_jobs);
    size_t n_back = 0;
    assert_null(r->collect(r->ctx, true)); /* nothing is out */
    for (size_t i = 0; i < n_jobs; i++) {
        r->submit(r->ctx, &jobs[i].base);
        n_back += check_list(r->collect(r->ctx, false));
        while (i + 1 - n_back >= n_window)
            n_back += check_list(r->collect(r->ctx, true));
    }
    while (n_back < n_jobs) {
        size_t n = check_list(r->collect(r->ctx, true));
        assert_true(n > 0);
        n_back += n;
    }
    assert_null(r->collect(r->ctx, true));
    chain_pool_stats(p, &stats);
    assert_int_equal(stats.n_jobs, n_jobs);
    if (n_threads == 1)
        assert_int_equal(stats.n_by_owner, n_jobs);
    chain_pool_free(p);
    free(jobs);
}

static void jobs_run_once_each(void **state)
{
    (void)state;
    static const unsigned n_threads[] = {0, 1, 2, 3, 8};
    static const size_t n_window[] = {1, 7, 500};
    for (size_t t = 0; t < COUNT_OF(n_threads); t++)
        for (size_t w = 0; w < COUNT_OF(n_window); w++) {
            each_job_runs_once(n_threads[t], N_JOBS, n_window[w]);
            each_job_runs_once(n_threads[t], 500, n_window[w]);
        }
}

static void freeing_lets_everything_run(void **state)
{
    (void)state;
    for (unsigned n_threads = 1; n_threads <= 4; n_threads++)
        for (size_t n = 0; n < 200; n += 37) {
            struct chain_pool *p;
            struct err err;
            struct job *jobs = jobs_new(n + 1);
            assert_int_equal(chain_pool_new(&p, n_threads, &err), ERR_OK);
            const struct chain_runner *r = chain_pool_runner(p);
            for (size_t i = 0; i < n; i++)
                r->submit(r->ctx, &jobs[i].base);
            chain_pool_free(p);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(jobs[i].n_runs, 1);
            free(jobs);
        }
}

/* The owner is not idle while work is queued. */
static void the_owner_joins_in(void **state)
{
    struct chain_pool *p;
    struct chain_pool_stats stats;
    struct err err;
    struct job *jobs = jobs_new(200);
    size_t n_back = 0;
    (void)state;
    assert_int_equal(chain_pool_new(&p, 2, &err), ERR_OK);
    const struct chain_runner *r = chain_pool_runner(p);
    assert_int_equal(r->n_threads, 1);
    for (size_t i = 0; i < 200; i++) {
        jobs[i].is_slow = true;
        r->submit(r->ctx, &jobs[i].base);
    }
    while (n_back < 200)
        n_back += check_list(r->collect(r->ctx, true));
    chain_pool_stats(p, &stats);
    assert_true(stats.n_by_owner > 20);
    chain_pool_free(p);
    free(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_once_each),
        cmocka_unit_test(freeing_lets_everything_run),
        cmocka_unit_test(the_owner_joins_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
