#include "base/rng.h"
#include "test_util.h"

/* The authors' C code of xoshiro256** 1.0 with s = {1, 2, 3, 4}; the first outputs can be followed
 * by hand: rotl(2 * 5, 7) * 9 = 11520. */
static void test_xoshiro_vectors(void **state)
{
    (void)state;
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240};
    struct rng r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(rng_u64(&r) == want[i]);
}

/* SplitMix64 from seed 0 (the generator that seeds the state). */
static void test_seeding(void **state)
{
    (void)state;
    struct rng r, again;
    rng_init(&r, 0);
    assert_true(r.s[0] == 0xe220a8397b1dcdaf);
    assert_true(r.s[1] == 0x6e789e6aa1b965f4);
    rng_init(&r, 42);
    rng_init(&again, 42);
    for (int i = 0; i < 100; i++)
        assert_true(rng_u64(&r) == rng_u64(&again));
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct rng r;
    uint32_t n_seen[2][7] = {0};
    rng_init(&r, 11);
    for (int i = 0; i < 70000; i++) {
        n_seen[0][rng_below(&r, 7)]++;
        n_seen[1][rng_below64(&r, 7)]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(n_seen[0][i], 9600, 10400); /* four sigma are 370 */
        assert_in_range(n_seen[1][i], 9600, 10400);
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT32_MAX) < UINT32_MAX);
        assert_true(rng_below64(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
        double unit = rng_unit(&r);
        assert_true(unit >= 0 && unit < 1);
    }
}

static void test_fill_and_shuffle(void **state)
{
    (void)state;
    struct rng a, b;
    uint8_t out[20] = {0};
    uint32_t items[100];
    bool seen[100] = {0};
    rng_init(&a, 12);
    b = a;
    rng_fill(&a, out, 19);
    uint64_t first = rng_u64(&b);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(out[i], (uint8_t)(first >> (8 * i)));
    assert_int_equal(out[19], 0);
    for (uint32_t i = 0; i < 100; i++)
        items[i] = i;
    rng_shuffle_u32(&a, items, 100);
    rng_shuffle_u32(&a, items, 0);
    uint32_t n_moved = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_false(seen[items[i]]);
        seen[items[i]] = true;
        n_moved += items[i] != i;
    }
    assert_true(n_moved > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xoshiro_vectors),
        cmocka_unit_test(test_seeding),
        cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_fill_and_shuffle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
