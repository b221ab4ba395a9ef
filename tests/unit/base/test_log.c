#include "base/log.h"
#include "test_util.h"

struct seen {
    char line[2000];
    char subsystem[20];
    enum log_level level;
    unsigned n;
};

static void keep(void *ctx, enum log_level level, const char *subsystem, const char *line)
{
    struct seen *seen = ctx;
    snprintf(seen->line, sizeof seen->line, "%s", line);
    snprintf(seen->subsystem, sizeof seen->subsystem, "%s", subsystem);
    seen->level = level;
    seen->n++;
}

static void test_levels(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct log l, *none = NULL;
    log_init(&l, LOG_INFO, keep, &seen);
    LOG(&l, LOG_INFO, "peer", "request refused piece=%d", 7);
    assert_string_equal(seen.line, "request refused piece=7");
    assert_string_equal(seen.subsystem, "peer");
    assert_int_equal(seen.level, LOG_INFO);
    LOG(&l, LOG_DEBUG, "peer", "more");
    log_line(&l, LOG_TRACE, "peer", "more");
    LOG(none, LOG_ERROR, "peer", "nobody listens");
    assert_int_equal(seen.n, 1);
    assert_int_equal(l.n_lines, 1);
    log_init(&l, LOG_TRACE, NULL, NULL);
    LOG(&l, LOG_ERROR, "peer", "no sink");
    assert_int_equal(l.n_lines, 0);
}

static void test_only_some_subsystems(void **state)
{
    (void)state;
    static const struct {
        const char *only, *subsystem;
        unsigned n;
    } rows[] = {
        {NULL, "peer", 1},           {"peer", "peer", 1},
        {"tracker,peer", "peer", 1}, {"tracker,peer", "peers", 0},
        {"tracker,peer", "er", 0},   {"peerpeer,peer", "peer", 1},
        {"peers,speer", "peer", 0},  {"", "peer", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct seen seen = {0};
        struct log l;
        log_init(&l, LOG_INFO, keep, &seen);
        l.only = rows[i].only;
        LOG(&l, LOG_INFO, rows[i].subsystem, "x");
        assert_int_equal(seen.n, rows[i].n);
    }
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct log l;
    log_init(&l, LOG_INFO, keep, &seen);
    log_line(&l, LOG_INFO, "x", "%01024d", 1);
    assert_int_equal(strlen(seen.line), 1023);
    assert_string_equal(seen.line + 1020, "...");
    log_line(&l, LOG_INFO, "x", "%01023d", 1);
    assert_string_equal(seen.line + 1020, "001");
}

static void test_escape(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
        size_t cap;
    } rows[] = {
        {"plain text", "plain text", 64},
        {"a\nb\"c\\d\x7f", "a\\x0ab\\x22c\\x5cd\\x7f", 64},
        {"12345", "12345", 6},
        {"123456", "12...", 6},
        {"\xff\xff", "\\xff\\xff", 9},
        {"\xff\xff", "\\xff...", 8},
        {"\xff\xff", "...", 7},
        {"1234", "...", 4},
        {"1234", "..", 3},
        {"1234", "", 1},
        {"", "", 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[65];
        memset(out, 0x5a, sizeof out);
        log_escape(bytes_of_str(rows[i].in), out, rows[i].cap);
        assert_string_equal(out, rows[i].want);
        assert_int_equal(out[rows[i].cap], 0x5a);
    }
    char untouched = 'x';
    log_escape(BYTES_LIT("abc"), &untouched, 0);
    assert_int_equal(untouched, 'x');
}

static void test_names(void **state)
{
    (void)state;
    for (enum log_level level = LOG_ERROR; level <= LOG_TRACE; level++) {
        enum log_level parsed = LOG_ERROR;
        assert_true(log_level_parse(log_level_name(level), &parsed));
        assert_int_equal(parsed, level);
    }
    enum log_level level;
    assert_false(log_level_parse("loud", &level));
    assert_string_equal(log_level_name((enum log_level)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_only_some_subsystems),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
