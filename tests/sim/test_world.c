/* The queue of events against a slow, obvious model, and the trace. */
#include "sim/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N_EVENTS 300

struct lab_event {
    struct sim_event ev;
    uint64_t at_us, order; /* the model: order 0 is not set */
};

struct lab {
    struct mem mem;
    struct world w;
    struct lab_event events[N_EVENTS];
    uint64_t n_orders, n_fired;
    struct lab_event *expected;
};

static struct lab *the_lab;

static void on_event(struct world *w, struct sim_event *ev)
{
    assert_ptr_equal(ev, &the_lab->expected->ev);
    assert_int_equal(w->now_us, the_lab->expected->at_us);
    assert_false(sim_event_is_set(ev));
    the_lab->expected->order = 0;
    the_lab->n_fired++;
}

static struct lab_event *next_of_model(struct lab *l)
{
    struct lab_event *best = NULL;
    for (int i = 0; i < N_EVENTS; i++) {
        struct lab_event *e = &l->events[i];
        if (e->order && (!best || e->at_us < best->at_us ||
                         (e->at_us == best->at_us && e->order < best->order)))
            best = e;
    }
    return best;
}

static void test_queue_is_the_model(void **state)
{
    (void)state;
    struct lab *l = the_lab = calloc(1, sizeof *l);
    struct rng rng;
    rng_init(&rng, 3);
    mem_init(&l->mem, MEM_NO_BUDGET, NULL);
    world_init(&l->w, &l->mem, 1);
    for (int i = 0; i < N_EVENTS; i++)
        sim_event_init(&l->events[i].ev, on_event);
    for (int step = 0; step < 60000; step++) {
        struct lab_event *e = &l->events[rng_below(&rng, N_EVENTS)];
        uint32_t what = rng_below(&rng, 100);
        if (what < 55) {
            e->at_us = l->w.now_us + rng_below(&rng, 50);
            e->order = ++l->n_orders;
            world_set(&l->w, &e->ev, e->at_us);
        } else if (what < 65) {
            e->order = 0;
            world_stop(&l->w, &e->ev);
        } else {
            l->expected = next_of_model(l);
            assert_int_equal(world_next_us(&l->w),
                             l->expected ? l->expected->at_us : DEADLINE_NEVER);
            assert_int_equal(world_step(&l->w), l->expected != NULL);
        }
        assert_int_equal(sim_event_is_set(&e->ev), e->order != 0);
        if (step % 100 == 0)
            world_check(&l->w);
    }
    assert_true(l->n_fired > 10000);
    assert_true(l->w.n_entries <= 2 * N_EVENTS + 65); /* stale ones do not pile up */
    world_clear(&l->w);
    mem_check_empty(&l->mem);
    free(l);
}

static void test_trace_hash_covers_everything(void **state)
{
    (void)state;
    uint8_t hashes[6][SHA256_LEN];
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (int i = 0; i < 6; i++) {
        struct world w;
        world_init(&w, &mem, 1);
        for (uint64_t k = 0; k < 300; k++) {
            world_run(&w, k + (i == 1));
            bool is_odd = k == 150;
            world_trace(&w, i == 2 && is_odd ? TRACE_DISK : TRACE_BYTES, i == 3 && is_odd, k,
                        k + (i == 4 && is_odd));
        }
        world_trace_hash(&w, hashes[i]);
        world_clear(&w);
    }
    assert_memory_equal(hashes[0], hashes[5], SHA256_LEN);
    for (int i = 1; i < 5; i++)
        assert_memory_not_equal(hashes[0], hashes[i], SHA256_LEN);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_is_the_model),
        cmocka_unit_test(test_trace_hash_covers_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
