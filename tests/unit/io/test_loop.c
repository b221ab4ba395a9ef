#include "io/loop.h"
#include "test_util.h"
#include <pthread.h>
#include <signal.h>

struct seen {
    struct loop *loop;
    int n, order[8];
    uint64_t at_us;
    unsigned n_hooks, n_more;
};

static void fired_a(void *ctx)
{
    struct seen *s = ctx;
    s->order[s->n++] = 1;
    s->at_us = clock_now_us();
}

static void fired_b(void *ctx)
{
    struct seen *s = ctx;
    s->order[s->n++] = 2;
    loop_stop(s->loop);
}

static void timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    struct seen s = {0};
    struct loop_timer *a, *b, *never;
    struct err err;
    assert_int_equal(loop_new(&s.loop, &err), ERR_OK);
    assert_int_equal(loop_timer_new(&a, s.loop, fired_a, &s), ERR_OK);
    assert_int_equal(loop_timer_new(&b, s.loop, fired_b, &s), ERR_OK);
    assert_int_equal(loop_timer_new(&never, s.loop, fired_b, &s), ERR_OK);
    uint64_t at_us = clock_now_us() + 5300;
    loop_timer_set(b, at_us + 20000);
    loop_timer_set(a, at_us);
    loop_timer_set(never, at_us + 100);
    loop_timer_set(never, UINT64_MAX);
    loop_run(s.loop);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.order[0], 1);
    assert_int_equal(s.order[1], 2);
    assert_true(s.at_us >= at_us);
    loop_timer_free(a);
    loop_timer_free(b);
    loop_timer_free(never);
    loop_free(s.loop);
}

static void readable(void *ctx, bool is_readable, bool is_writable)
{
    struct seen *s = ctx;
    assert_true(is_readable);
    assert_false(is_writable);
    s->n++;
    loop_stop(s->loop);
}

static void poll_sees_bytes(void **state)
{
    (void)state;
    struct seen s = {0};
    struct loop_poll *p;
    struct err err;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_new(&s.loop, &err), ERR_OK);
    assert_int_equal(loop_poll_new(&p, s.loop, fds[0], readable, &s, &err), ERR_OK);
    loop_poll_set(p, true, false);
    loop_turn(s.loop, 1000);
    assert_int_equal(s.n, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(s.loop);
    assert_int_equal(s.n, 1);
    loop_poll_set(p, false, false);
    loop_turn(s.loop, 1000);
    assert_int_equal(s.n, 1);
    loop_poll_free(p);
    close(fds[0]);
    close(fds[1]);
    loop_free(s.loop);
}

static bool hook(void *ctx)
{
    struct seen *s = ctx;
    s->n_hooks++;
    return s->n_more > 0 && s->n_more-- > 0;
}

/* A hook with more to do keeps the loop from sleeping. */
static void hooks_run_each_turn(void **state)
{
    (void)state;
    struct seen s = {.n_more = 3};
    struct loop_hook *h;
    struct err err;
    assert_int_equal(loop_new(&s.loop, &err), ERR_OK);
    assert_int_equal(loop_hook_new(&h, s.loop, hook, &s), ERR_OK);
    uint64_t before_us = clock_now_us();
    for (int i = 0; i < 3; i++)
        loop_turn(s.loop, 10000000);
    assert_true(clock_now_us() - before_us < 5000000);
    assert_int_equal(s.n_hooks, 3);
    loop_turn(s.loop, 1000);
    assert_int_equal(s.n_hooks, 4);
    loop_hook_free(h);
    loop_free(s.loop);
}

static void signalled(void *ctx, int signum)
{
    struct seen *s = ctx;
    s->n = signum;
    loop_stop(s->loop);
}

static void signals_come_in_the_loop(void **state)
{
    (void)state;
    struct seen s = {0};
    struct loop_signal *sig;
    struct err err;
    assert_int_equal(loop_new(&s.loop, &err), ERR_OK);
    assert_int_equal(loop_signal_new(&sig, s.loop, SIGUSR1, signalled, &s), ERR_OK);
    raise(SIGUSR1);
    loop_run(s.loop);
    assert_int_equal(s.n, SIGUSR1);
    loop_signal_free(sig);
    loop_free(s.loop);
}

static void *send_async(void *arg)
{
    for (int i = 0; i < 1000; i++)
        loop_async_send(arg);
    return NULL;
}

static void async_came(void *ctx)
{
    struct seen *s = ctx;
    s->n++;
    loop_stop(s->loop);
}

static void async_wakes_from_a_thread(void **state)
{
    (void)state;
    struct seen s = {0};
    struct loop_async *a;
    struct err err;
    pthread_t thread;
    assert_int_equal(loop_new(&s.loop, &err), ERR_OK);
    assert_int_equal(loop_async_new(&a, s.loop, async_came, &s), ERR_OK);
    assert_int_equal(pthread_create(&thread, NULL, send_async, a), 0);
    loop_run(s.loop);
    assert_true(s.n >= 1);
    pthread_join(thread, NULL);
    loop_async_free(a);
    loop_free(s.loop);
}

static void nothing_leaks(void **state)
{
    (void)state;
    struct err err;
    struct loop *l;
    assert_int_equal(loop_new(&l, &err), ERR_OK); /* libuv keeps its signal pipe from here on */
    loop_free(l);
    size_t before = test_count_fds();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(loop_new(&l, &err), ERR_OK);
        loop_turn(l, 0);
        loop_free(l);
    }
    assert_int_equal(test_count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_not_early),
        cmocka_unit_test(poll_sees_bytes),
        cmocka_unit_test(hooks_run_each_turn),
        cmocka_unit_test(signals_come_in_the_loop),
        cmocka_unit_test(async_wakes_from_a_thread),
        cmocka_unit_test(nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
