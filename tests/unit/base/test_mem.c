#include "base/rng.h"
#include "test_util.h"

static void test_counts_and_budget(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 100, NULL);
    void *a = mem_alloc(&m, 20), *b = mem_alloc(&m, 32);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(m.used_len, 20 + 32 + 2 * 16);
    assert_null(mem_alloc(&m, 1)); /* its head alone is 16 */
    assert_int_equal(m.n_refused, 1);
    mem_free(&m, b);
    assert_int_equal(m.used_len, 36);
    assert_int_equal(m.peak_len, 84);
    assert_int_equal(m.n_allocs, 2);
    mem_free(&m, a);
    mem_free(&m, NULL);
    mem_check_empty(&m);
}

static void test_parent_is_charged(void **state)
{
    (void)state;
    struct mem parent, child;
    mem_init(&parent, 64, NULL);
    mem_init(&child, MEM_NO_BUDGET, &parent);
    void *a = mem_alloc(&child, 16);
    assert_non_null(a);
    assert_int_equal(parent.used_len, 32);
    assert_null(mem_alloc(&child, 17));
    assert_int_equal(child.used_len, 32);
    assert_int_equal(child.n_refused, 1);
    assert_int_equal(parent.n_refused, 1);
    a = mem_realloc(&child, a, 48);
    assert_non_null(a);
    assert_int_equal(parent.used_len, 64);
    mem_free(&child, a);
    mem_check_empty(&parent);
    mem_check_empty(&child);
}

static void test_regrow(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 64, NULL);
    char *p = mem_realloc(&m, NULL, 4);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    assert_null(mem_realloc(&m, p, 49));
    assert_string_equal(p, "abc"); /* still there */
    p = mem_realloc(&m, p, 48);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    m.budget_len = 10; /* shrinking is always allowed in size, yet we are over the budget */
    assert_null(mem_alloc(&m, 1));
    m.budget_len = 64;
    p = mem_realloc(&m, p, 2);
    assert_int_equal(m.used_len, 18);
    mem_free(&m, p);
    mem_check_empty(&m);
}

static void test_absurd_sizes(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, MEM_NO_BUDGET, NULL);
    assert_null(mem_alloc(&m, SIZE_MAX));
    assert_null(mem_alloc(&m, SIZE_MAX - 15));
    assert_null(mem_calloc(&m, SIZE_MAX / 2, 3));
    assert_null(mem_calloc(&m, 1, SIZE_MAX - 3));
    assert_null(mem_strndup(&m, "", SIZE_MAX));
    assert_int_equal(m.n_refused, 5);
    mem_check_empty(&m);
}

static void test_small_things(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, MEM_NO_BUDGET, NULL);
    void *a = mem_alloc(&m, 0), *b = mem_alloc(&m, 0);
    assert_true(a && b && a != b);
    uint8_t *zeros = mem_calloc(&m, 7, 3);
    for (size_t i = 0; i < 21; i++)
        assert_int_equal(zeros[i], 0);
    assert_int_equal((uintptr_t)zeros % 16, 0);
    char *s = mem_strndup(&m, "shoal", 3);
    assert_string_equal(s, "sho");
    char *d = mem_dup(&m, "xy", 3);
    assert_string_equal(d, "xy");
    mem_free(&m, a);
    mem_free(&m, b);
    mem_free(&m, zeros);
    mem_free(&m, s);
    mem_free(&m, d);
    mem_check_empty(&m);
}

static void test_fail_at(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, MEM_NO_BUDGET, NULL);
    m.fail_at = 2;
    void *a = mem_alloc(&m, 1);
    assert_non_null(a);
    assert_null(mem_alloc(&m, 1));
    void *b = mem_alloc(&m, 1); /* only the one fails */
    assert_non_null(b);
    m.fail_at = 1;
    assert_null(mem_realloc(&m, a, 2));
    mem_free(&m, a);
    mem_free(&m, b);
    mem_check_empty(&m);
}

/* Random calls against a plain sum. */
static void test_model(void **state)
{
    (void)state;
    struct mem parent, m;
    struct rng rng;
    uint8_t *blocks[64] = {0};
    size_t lens[64] = {0}, sum = 0;
    rng_init(&rng, 1);
    mem_init(&parent, 5000, NULL);
    mem_init(&m, 6000, &parent);
    for (int step = 0; step < 20000; step++) {
        size_t i = rng_below(&rng, 64), len = rng_below(&rng, 300);
        if (blocks[i] && rng_below(&rng, 2)) {
            mem_free(&m, blocks[i]);
            sum -= lens[i] + 16;
            blocks[i] = NULL;
        } else {
            size_t had = blocks[i] ? lens[i] + 16 : 0;
            uint8_t *p = mem_realloc(&m, blocks[i], len);
            assert_int_equal(p != NULL, sum - had + len + 16 <= 5000);
            if (p) {
                sum += len + 16 - had;
                blocks[i] = p;
                lens[i] = len;
                memset(p, (int)i, len);
            }
        }
        assert_int_equal(m.used_len, sum);
        assert_int_equal(parent.used_len, sum);
    }
    for (size_t i = 0; i < 64; i++)
        mem_free(&m, blocks[i]);
    mem_check_empty(&parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_budget),
        cmocka_unit_test(test_parent_is_charged),
        cmocka_unit_test(test_regrow),
        cmocka_unit_test(test_absurd_sizes),
        cmocka_unit_test(test_small_things),
        cmocka_unit_test(test_fail_at),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
