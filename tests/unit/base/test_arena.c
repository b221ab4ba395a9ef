#include "base/arena.h"
#include "base/rng.h"
#include "test_util.h"

static void test_items_do_not_overlap(void **state)
{
    (void)state;
    struct mem mem;
    struct arena a;
    struct rng rng;
    struct span items[500];
    rng_init(&rng, 3);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, SIZE_MAX);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT_OF(items); i++) {
            size_t len = rng_below(&rng, rng_below(&rng, 50) ? 200 : 200000);
            items[i] = (struct span){arena_alloc(&a, len), len};
            assert_non_null(items[i].data);
            assert_int_equal((uintptr_t)items[i].data % 16, 0);
            memset(items[i].data, (int)i, len);
        }
        for (size_t i = 0; i < COUNT_OF(items); i++)
            for (size_t j = 0; j < items[i].len; j++)
                assert_true(items[i].data[j] == (uint8_t)i);
        arena_reset(&a);
        assert_int_equal(a.used_len, 0);
        assert_true(mem.used_len < 300000); /* one chunk is kept */
    }
    arena_clear(&a);
    mem_check_empty(&mem);
}

static void test_limit(void **state)
{
    (void)state;
    struct mem mem;
    struct arena a;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 64);
    assert_non_null(arena_alloc(&a, 1)); /* takes 16 */
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 0)); /* even nothing needs a place of its own */
    arena_reset(&a);
    assert_null(arena_alloc(&a, 65));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 4));
    assert_non_null(arena_alloc(&a, 64));
    arena_clear(&a);
    mem_check_empty(&mem);
    assert_non_null(arena_alloc(&a, 64)); /* of use again after clear */
    arena_clear(&a);
}

static void test_copies(void **state)
{
    (void)state;
    struct mem mem;
    struct arena a;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 4096);
    test_assert_bytes(arena_dup(&a, BYTES_LIT("abc")), BYTES_LIT("abc"));
    assert_non_null(arena_dup(&a, (struct bytes){0}).data);
    assert_string_equal(arena_str(&a, BYTES_LIT("abc")), "abc");
    assert_string_equal(arena_str(&a, (struct bytes){0}), "");
    uint8_t *zeros = arena_calloc(&a, 10, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_null(arena_dup(&a, bytes_of("", 5000)).data);
    arena_clear(&a);
    mem_check_empty(&mem);
}

static bool fill_arena(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct arena a;
    bool is_ok = true;
    arena_init(&a, mem, SIZE_MAX);
    for (size_t i = 0; i < 100 && is_ok; i++)
        is_ok = arena_alloc(&a, 10 * i) && arena_str(&a, BYTES_LIT("x"));
    arena_clear(&a);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(fill_arena, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_do_not_overlap),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
