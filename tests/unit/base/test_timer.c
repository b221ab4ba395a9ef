#include "base/timer.h"
#include "test_util.h"

static void test_order(void **state)
{
    (void)state;
    struct mem mem;
    struct timers ts;
    struct timer a, b, c;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    timers_init(&ts, &mem);
    timer_init(&a, 1);
    timer_init(&b, 2);
    timer_init(&c, 3);
    assert_true(timers_deadline_us(&ts) == DEADLINE_NEVER);
    assert_null(timers_pop_due(&ts, UINT64_MAX));
    assert_int_equal(timer_set(&ts, &a, 20), ERR_OK);
    assert_int_equal(timer_set(&ts, &b, 10), ERR_OK);
    assert_int_equal(timer_set(&ts, &c, 20), ERR_OK);
    assert_int_equal(timers_deadline_us(&ts), 10);
    assert_null(timers_pop_due(&ts, 9));
    assert_ptr_equal(timers_pop_due(&ts, 10), &b);
    assert_false(timer_is_set(&b));
    assert_null(timers_pop_due(&ts, 19));
    assert_int_equal(timer_set(&ts, &a, 20), ERR_OK); /* set anew: now behind c */
    assert_ptr_equal(timers_pop_due(&ts, 30), &c);
    assert_ptr_equal(timers_pop_due(&ts, 30), &a);
    assert_null(timers_pop_due(&ts, 30));
    timers_clear(&ts);
    mem_check_empty(&mem);
}

static void test_stop_and_move(void **state)
{
    (void)state;
    struct mem mem;
    struct timers ts;
    struct timer t[50];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    timers_init(&ts, &mem);
    for (uint32_t i = 0; i < COUNT_OF(t); i++) {
        timer_init(&t[i], i);
        timer_stop(&ts, &t[i]); /* not set: fine */
        assert_int_equal(timer_set(&ts, &t[i], i), ERR_OK);
    }
    for (uint32_t i = 0; i < COUNT_OF(t); i += 2)
        timer_stop(&ts, &t[i]);
    for (uint32_t i = 1; i < COUNT_OF(t); i += 2)
        assert_int_equal(timer_set(&ts, &t[i], 1000 - i), ERR_OK);
    for (uint32_t i = COUNT_OF(t) - 1; i < COUNT_OF(t); i -= 2) {
        struct timer *due = timers_pop_due(&ts, DEADLINE_NEVER - 1);
        assert_ptr_equal(due, &t[i]);
        assert_int_equal(due->kind, i);
    }
    assert_int_equal(timer_set(&ts, &t[0], 5), ERR_OK);
    timers_clear(&ts);
    assert_false(timer_is_set(&t[0]));
    mem_check_empty(&mem);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct mem mem;
    struct timers ts;
    struct timer t;
    mem_init(&mem, 0, NULL);
    timers_init(&ts, &mem);
    timer_init(&t, 0);
    assert_int_equal(timer_set(&ts, &t, 1), ERR_NO_MEMORY);
    assert_false(timer_is_set(&t));
    timers_clear(&ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_stop_and_move),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
