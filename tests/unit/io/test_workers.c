#include "io/loop.h"
#include "io/workers.h"
#include "test_util.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define N_JOBS 2000

struct world;

struct job {
    struct work work;
    struct world *world;
    int number;
    uint64_t sum;
    bool is_done;
};

struct world {
    struct loop *loop;
    struct workers *workers;
    struct workers_port *port;
    struct job jobs[N_JOBS];
    size_t n_done, n_cancelled, n_wakes;
    int order[N_JOBS];
    atomic_int gate; /* jobs of a blocked queue wait until it is 1 */
    atomic_int n_blocked;
};

static void count_run(struct work *w, struct span scratch)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    assert_int_equal(scratch.len, WORKERS_SCRATCH_LEN);
    memset(scratch.data, j->number & 0xff, 64);
    for (int i = 0; i < 64; i++)
        j->sum += scratch.data[i];
}

static void block_run(struct work *w, struct span scratch)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    atomic_fetch_add(&j->world->n_blocked, 1);
    while (!atomic_load(&j->world->gate))
        usleep(200);
    count_run(w, scratch);
}

static void job_done(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    struct world *world = j->world;
    assert_false(j->is_done);
    j->is_done = true;
    world->order[world->n_done++] = j->number;
    world->n_cancelled += w->is_cancelled;
}

static struct world *world_new(unsigned n_threads, size_t n_jobs_max, bool has_loop)
{
    struct world *w = calloc(1, sizeof *w);
    struct err err;
    if (has_loop)
        assert_int_equal(loop_new(&w->loop, &err), ERR_OK);
    assert_int_equal(workers_new(&w->workers, n_threads, n_jobs_max, &err), ERR_OK);
    assert_int_equal(workers_port_new(&w->port, w->loop, &err), ERR_OK);
    for (int i = 0; i < N_JOBS; i++)
        w->jobs[i] = (struct job){
            .work = {.run = count_run, .done = job_done, .port = w->port}, .world = w, .number = i};
    return w;
}

static void world_free(struct world *w)
{
    workers_port_free(w->port);
    workers_free(w->workers);
    loop_free(w->loop);
    free(w);
}

static void all_jobs_come_back_on_the_loop(void **state)
{
    (void)state;
    struct world *w = world_new(3, N_JOBS, true);
    for (int i = 0; i < N_JOBS; i++) {
        uint32_t queue = workers_queue(w->workers, 100 + i % 5, 0);
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    }
    while (w->n_done < N_JOBS) {
        loop_turn(w->loop, 1000000);
        w->n_wakes++;
    }
    assert_true(w->n_wakes < N_JOBS); /* batches */
    assert_int_equal(workers_port_n_out(w->port), 0);
    for (int i = 0; i < N_JOBS; i++)
        assert_int_equal(w->jobs[i].sum, 64u * (i & 0xff));
    world_free(w);
}

/* Jobs that gather: all run once, up to four to a call, and fewer calls than jobs. */
static atomic_int n_many_calls;

static void many_run(struct work *const *ws, size_t n, struct span scratch)
{
    static uint8_t bytes[64];
    assert_in_range(n, 1, WORKERS_N_MANY);
    assert_int_equal(scratch.len, WORKERS_SCRATCH_LEN);
    atomic_fetch_add(&n_many_calls, 1);
    for (size_t i = 0; i < n; i++)
        CONTAINER_OF(ws[i], struct job, work)->sum += 1 + bytes[i];
}

static void some_jobs_run_together(void **state)
{
    (void)state;
    struct world *w = world_new(3, N_JOBS, false);
    uint32_t queue = workers_queue(w->workers, 100, 0);
    int n_many = 0;
    atomic_store(&n_many_calls, 0);
    for (int i = 0; i < N_JOBS; i++) {
        if (i % 7) {
            w->jobs[i].work.run_many = many_run;
            n_many++;
        }
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    }
    while (w->n_done < N_JOBS)
        workers_port_wait(w->port, true);
    for (int i = 0; i < N_JOBS; i++)
        assert_int_equal(w->jobs[i].sum, i % 7 ? 1u : 64u * (i & 0xff));
    assert_true(atomic_load(&n_many_calls) < n_many);
    world_free(w);
}

static void a_queue_of_one_thread_keeps_order(void **state)
{
    (void)state;
    struct world *w = world_new(4, N_JOBS, false);
    uint32_t queue = workers_queue(w->workers, WORKERS_RESUME, 1);
    for (int i = 0; i < N_JOBS; i++)
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    while (w->n_done < N_JOBS)
        workers_port_wait(w->port, true);
    for (int i = 0; i < N_JOBS; i++)
        assert_int_equal(w->order[i], i);
    world_free(w);
}

/* All threads of one device hang; another device's jobs go on. */
static void a_stuck_device_delays_only_its_own(void **state)
{
    (void)state;
    struct world *w = world_new(2, N_JOBS, false);
    uint32_t stuck = workers_queue(w->workers, 111, 0);
    uint32_t quick = workers_queue(w->workers, 222, 0);
    assert_int_not_equal(stuck, quick);
    assert_int_equal(workers_queue(w->workers, 111, 0), stuck);
    for (int i = 0; i < 10; i++) {
        w->jobs[i].work.run = block_run;
        assert_int_equal(workers_submit(w->workers, stuck, &w->jobs[i].work), ERR_OK);
    }
    for (int i = 10; i < 200; i++)
        assert_int_equal(workers_submit(w->workers, quick, &w->jobs[i].work), ERR_OK);
    while (w->n_done < 190)
        workers_port_wait(w->port, true);
    assert_true(atomic_load(&w->n_blocked) <= 2);
    atomic_store(&w->gate, 1);
    while (w->n_done < 200)
        workers_port_wait(w->port, true);
    world_free(w);
}

static void too_many_waiting_is_refused(void **state)
{
    (void)state;
    struct world *w = world_new(1, 5, false);
    uint32_t queue = workers_queue(w->workers, WORKERS_CPU, 0);
    w->jobs[0].work.run = block_run;
    assert_int_equal(workers_submit(w->workers, queue, &w->jobs[0].work), ERR_OK);
    while (!atomic_load(&w->n_blocked))
        usleep(200);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    assert_int_equal(workers_submit(w->workers, queue, &w->jobs[6].work), ERR_LIMIT);
    assert_int_equal(workers_port_n_out(w->port), 6);
    atomic_store(&w->gate, 1);
    while (w->n_done < 6)
        workers_port_wait(w->port, true);
    assert_false(w->jobs[6].is_done);
    world_free(w);
}

static void cancelled_jobs_come_back_unrun(void **state)
{
    (void)state;
    struct world *w = world_new(1, N_JOBS, false);
    uint32_t queue = workers_queue(w->workers, WORKERS_CPU, 0);
    w->jobs[0].work.run = block_run;
    for (int i = 0; i < 100; i++)
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    while (!atomic_load(&w->n_blocked))
        usleep(200);
    workers_cancel(w->workers);
    atomic_store(&w->gate, 1);
    while (w->n_done < 100)
        workers_port_wait(w->port, true);
    assert_int_equal(w->n_cancelled, 99);
    assert_int_equal(w->jobs[50].sum, 0);
    world_free(w);
}

/* More devices than queues: they share, and all jobs are still done. */
static void queues_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new(1, N_JOBS, false);
    for (int i = 0; i < 100; i++) {
        uint32_t queue = workers_queue(w->workers, 5000 + (uint64_t)i, 0);
        assert_true(queue < WORKERS_N_QUEUES_MAX);
        assert_int_equal(workers_submit(w->workers, queue, &w->jobs[i].work), ERR_OK);
    }
    while (w->n_done < 100)
        workers_port_wait(w->port, true);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_jobs_come_back_on_the_loop),
        cmocka_unit_test(some_jobs_run_together),
        cmocka_unit_test(a_queue_of_one_thread_keeps_order),
        cmocka_unit_test(a_stuck_device_delays_only_its_own),
        cmocka_unit_test(too_many_waiting_is_refused),
        cmocka_unit_test(cancelled_jobs_come_back_unrun),
        cmocka_unit_test(queues_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
