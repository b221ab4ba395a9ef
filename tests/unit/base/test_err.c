#include "base/err.h"
#include "test_util.h"
#include <errno.h>

static void test_set(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_LIMIT, "too many"), ERR_LIMIT);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_string_equal(e.what, "too many");
    assert_int_equal(err_set_at(&e, ERR_TRUNCATED, "short", 1, 2, 3), ERR_TRUNCATED);
    assert_true(e.at == 1 && e.got == 2 && e.want == 3);
    assert_int_equal(err_set(NULL, ERR_IO, "nobody asks"), ERR_IO);
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ERR_CODE_COUNT; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(err_code_name((enum err_code)i),
                                    err_code_name((enum err_code)j));
    assert_string_equal(err_code_name((enum err_code)99), "unknown");
}

static void test_format(void **state)
{
    (void)state;
    char out[64];
    struct err e = {ERR_TRUNCATED, "input ends inside a field", 17, 3, 20};
    assert_string_equal(err_format(&e, out, sizeof out),
                        "input ends inside a field (at 17, got 3, want 20)");
    e = (struct err){.code = ERR_LIMIT, .what = "nested too deep", .at = 100};
    assert_string_equal(err_format(&e, out, sizeof out), "nested too deep (at 100)");
    e = (struct err){.code = ERR_PROTOCOL, .what = "not now"};
    assert_string_equal(err_format(&e, out, sizeof out), "not now");
    e = (struct err){.code = ERR_NO_MEMORY};
    assert_string_equal(err_format(&e, out, sizeof out), "no memory");
    e = (struct err){.code = ERR_IO, .what = "cannot open x", .got = ENOENT};
    assert_string_equal(err_format(&e, out, sizeof out),
                        "cannot open x: No such file or directory");
    assert_string_equal(err_format(&e, out, 5), "cann");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
