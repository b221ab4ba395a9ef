#include "crypto/random.h"
#include "test_util.h"

static void test_fills_all_and_no_more(void **state)
{
    (void)state;
    static uint8_t out[70000]; /* more than the kernel gives at once without interruption */
    size_t n_seen[256] = {0};
    random_fill(out, sizeof out - 1);
    for (size_t i = 0; i < sizeof out - 1; i++)
        n_seen[out[i]]++;
    for (size_t i = 0; i < 256; i++)
        assert_in_range(n_seen[i], 150, 400); /* 273 expected, sigma 17 */
    assert_int_equal(out[sizeof out - 1], 0);
    random_fill(NULL, 0);
    assert_true(random_u64() != random_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fills_all_and_no_more)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
