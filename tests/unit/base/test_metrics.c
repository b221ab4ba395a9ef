#include "base/metrics.h"
#include "test_util.h"

static void test_buckets(void **state)
{
    (void)state;
    struct histogram h = {0};
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    static const uint64_t values[] = {0, 1, 2, 3, 4, 1023, 1024, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        histogram_add(&h, values[i]);
    assert_int_equal(h.buckets[0], 2);
    assert_int_equal(h.buckets[1], 2);
    assert_int_equal(h.buckets[2], 1);
    assert_int_equal(h.buckets[9], 1);
    assert_int_equal(h.buckets[10], 1);
    assert_int_equal(h.buckets[63], 1);
    assert_int_equal(h.n, 8);
    assert_true(h.max == UINT64_MAX);
    assert_int_equal(histogram_quantile(&h, 0), 1);
    assert_int_equal(histogram_quantile(&h, 0.5), 3);
    assert_true(histogram_quantile(&h, 1) == UINT64_MAX);
}

/* A quantile is an upper bound, and less than twice the true value. */
static void test_quantiles_bound(void **state)
{
    (void)state;
    struct histogram h = {0};
    for (uint64_t v = 1; v <= 1000; v++)
        histogram_add(&h, v);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t got = histogram_quantile(&h, percent / 100.0), want = percent * 10;
        assert_true(got >= want && got < 2 * want);
    }
    assert_int_equal(histogram_quantile(&h, 1), 1000);
    assert_int_equal(h.sum, 500500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_quantiles_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
