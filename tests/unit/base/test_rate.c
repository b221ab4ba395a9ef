#include "base/rate.h"
#include "base/rng.h"
#include "test_util.h"

#define S 1000000u

static void test_steady_flow(void **state)
{
    (void)state;
    struct rate r;
    rate_init(&r);
    assert_int_equal(rate_per_s(&r, 0), 0);
    assert_int_equal(rate_per_s(&r, 5 * S), 0);
    for (uint64_t now_us = 100 * S; now_us < 160 * S; now_us += S / 10) {
        rate_add(&r, now_us, 1000);
        uint64_t got = rate_per_s(&r, now_us);
        if (now_us > 103 * S)
            assert_in_range(got, 9500, 10500);
    }
    assert_int_equal(r.total, 600000);
    assert_in_range(rate_per_s(&r, 170 * S), 4500, 5500);
    assert_int_equal(rate_per_s(&r, 180 * S), 0);
    assert_int_equal(r.window, 0);
    assert_int_equal(rate_per_s(&r, UINT64_MAX), 0);
}

static void test_burst_is_not_exaggerated(void **state)
{
    (void)state;
    struct rate r;
    rate_init(&r);
    rate_add(&r, 50 * S, 5000);
    assert_int_equal(rate_per_s(&r, 50 * S), 5000); /* at least over a second */
    assert_int_equal(rate_per_s(&r, 55 * S), 1000);
    assert_int_equal(rate_per_s(&r, 45 * S), 5000); /* a clock that steps back does no harm */
    rate_init(&r);
    rate_add(&r, 0, UINT64_MAX / 2);
    assert_true(rate_per_s(&r, 2 * S) > UINT64_MAX / 5);
}

/* Against a list of all that was added. */
static void test_window_model(void **state)
{
    (void)state;
    static struct {
        uint64_t at_us, len;
    } all[5000];
    struct rate r;
    struct rng rng;
    uint64_t now_us = 0;
    rng_init(&rng, 9);
    rate_init(&r);
    for (size_t n = 0; n < COUNT_OF(all); n++) {
        now_us += rng_below(&rng, rng_below(&rng, 50) ? S / 2 : 30 * S);
        all[n].at_us = now_us;
        all[n].len = rng_below(&rng, 16384);
        rate_add(&r, now_us, all[n].len);
        uint64_t want = 0;
        for (size_t i = n + 1; i-- > 0 && all[i].at_us / S + RATE_N_SLOTS > now_us / S;)
            want += all[i].len;
        assert_int_equal(r.window, want);
    }
}

static void test_bucket_limits_exactly(void **state)
{
    (void)state;
    struct token_bucket b;
    struct rng rng;
    uint64_t now_us = 7, spent = 0;
    rng_init(&rng, 10);
    token_bucket_init(&b, now_us, 12345, 20000);
    while (now_us < 100 * S) {
        if (token_bucket_can_spend(&b, now_us)) {
            uint64_t len = 1 + rng_below(&rng, 16384);
            token_bucket_spend(&b, now_us, len);
            spent += len;
        } else {
            uint64_t ready_at_us = token_bucket_ready_at_us(&b, now_us);
            assert_true(ready_at_us > now_us);
            struct token_bucket copy = b;
            assert_false(token_bucket_can_spend(&copy, ready_at_us - 1));
            now_us = ready_at_us - rng_below(&rng, 2); /* odd steps must not lose time */
            assert_int_equal(token_bucket_can_spend(&b, now_us), now_us == ready_at_us);
        }
    }
    uint64_t bound = 20000 + (uint64_t)(now_us * 12345.0 / S);
    assert_true(spent <= bound + 16384);
    assert_true(spent + 16384 >= bound - 20000);
}

static void test_bucket_edges(void **state)
{
    (void)state;
    struct token_bucket b;
    token_bucket_init(&b, 0, 0, 0); /* no limit */
    token_bucket_spend(&b, 0, UINT64_MAX);
    assert_true(token_bucket_can_spend(&b, 0));
    assert_int_equal(token_bucket_ready_at_us(&b, 5), 5);
    token_bucket_init(&b, 0, 1, 0); /* a burst of nothing would never open */
    assert_true(token_bucket_can_spend(&b, 0));
    token_bucket_spend(&b, 0, 1);
    assert_false(token_bucket_can_spend(&b, S - 1));
    assert_int_equal(token_bucket_ready_at_us(&b, S - 1), S);
    assert_true(token_bucket_can_spend(&b, S));
    token_bucket_spend(&b, S, UINT64_MAX);
    assert_false(token_bucket_can_spend(&b, 2 * S));
    token_bucket_spend(&b, 2 * S, UINT64_MAX);
    assert_true(token_bucket_ready_at_us(&b, 2 * S) > 2 * S);
    token_bucket_init(&b, 0, UINT64_MAX, UINT64_MAX);
    token_bucket_spend(&b, 0, INT64_MAX);
    assert_true(token_bucket_can_spend(&b, UINT64_MAX));
    assert_true(token_bucket_can_spend(&b, 1)); /* a clock that steps back does no harm */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_flow),  cmocka_unit_test(test_burst_is_not_exaggerated),
        cmocka_unit_test(test_window_model), cmocka_unit_test(test_bucket_limits_exactly),
        cmocka_unit_test(test_bucket_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
