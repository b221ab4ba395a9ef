#include "base/buf.h"
#include "test_util.h"

static void test_gathering(void **state)
{
    (void)state;
    struct mem mem;
    struct buf b;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&b, &mem, 1000);
    buf_put(&b, (struct bytes){0});
    buf_str(&b, "a");
    buf_u8(&b, 'b');
    buf_put(&b, BYTES_LIT("cd"));
    buf_printf(&b, "%s%d", "", 7);
    buf_printf(&b, "%s", "");
    struct span room = buf_reserve(&b, 100);
    assert_int_equal(room.len, 100);
    memset(room.data, 'e', 2);
    buf_commit(&b, 2);
    test_assert_bytes(buf_bytes(&b), BYTES_LIT("abcd7ee"));
    buf_printf(&b, "%0200d", 1);
    assert_int_equal(b.len, 207);
    assert_int_equal(b.data[206], '1');
    assert_int_equal(b.err, ERR_OK);
    struct span taken = buf_take(&b);
    assert_int_equal(taken.len, 207);
    assert_int_equal(b.len, 0);
    buf_str(&b, "new");
    test_assert_bytes(buf_bytes(&b), BYTES_LIT("new"));
    mem_free(&mem, taken.data);
    buf_clear(&b);
    mem_check_empty(&mem);
}

static void test_limit_is_sticky(void **state)
{
    (void)state;
    struct mem mem;
    struct buf b;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&b, &mem, 4);
    buf_str(&b, "abc");
    buf_str(&b, "de");
    assert_int_equal(b.err, ERR_LIMIT);
    buf_u8(&b, 'x'); /* would fit, but it has failed */
    buf_printf(&b, "y");
    assert_null(buf_reserve(&b, 1).data);
    test_assert_bytes(buf_bytes(&b), BYTES_LIT("abc"));
    buf_reset(&b);
    buf_str(&b, "abcd");
    assert_int_equal(b.err, ERR_OK);
    assert_true(mem.used_len <= 4 + 1 + 16);
    assert_null(buf_reserve(&b, SIZE_MAX).data);
    assert_int_equal(b.err, ERR_LIMIT);
    buf_clear(&b);
    mem_check_empty(&mem);
}

/* Text may fill a buffer to its limit. */
static void test_print_to_the_brim(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (size_t limit = 0; limit < 10; limit++) {
        struct buf b;
        buf_init(&b, &mem, limit);
        buf_printf(&b, "%s", "12345");
        assert_int_equal(b.err, limit < 5 ? ERR_LIMIT : ERR_OK);
        test_assert_bytes(buf_bytes(&b), limit < 5 ? BYTES_LIT("") : BYTES_LIT("12345"));
        buf_clear(&b);
    }
    mem_check_empty(&mem);
}

static bool build(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct buf b;
    buf_init(&b, mem, SIZE_MAX);
    for (int i = 0; i < 50; i++) {
        buf_printf(&b, "%d", i);
        buf_put(&b, BYTES_LIT("0123456789"));
    }
    bool is_ok = b.err == ERR_OK;
    assert_true(is_ok || b.err == ERR_NO_MEMORY);
    if (is_ok)
        assert_int_equal(b.len, 10 + 80 + 500);
    buf_clear(&b);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(build, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gathering),
        cmocka_unit_test(test_limit_is_sticky),
        cmocka_unit_test(test_print_to_the_brim),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
