#include "base/rng.h"
#include "base/utf8.h"
#include "test_util.h"

static void test_all_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint8_t out[4];
        size_t len = utf8_write(c, out);
        struct bytes text = {out, len};
        bool is_bad = false, is_surrogate = c >= 0xd800 && c <= 0xdfff;
        uint32_t want = is_surrogate ? UTF8_REPLACEMENT : c;
        if (utf8_next(&text, &is_bad) != want || text.len != 0 || is_bad)
            fail_msg("code point %x", c);
        for (size_t cut = 1; cut < len; cut++)
            if (utf8_is_valid(bytes_of(out, cut)))
                fail_msg("code point %x cut to %zu", c, cut);
    }
    uint8_t out[4];
    assert_int_equal(utf8_write(0x110000, out), 3);
    assert_memory_equal(out, "\xef\xbf\xbd", 3);
}

/* The Unicode Standard 15, table 3-7 (well-formed byte sequences): the edges of each row. */
static const struct {
    const char *name, *hex;
    bool is_valid;
} rows[] = {
    {"empty", "", true},
    {"last of one byte", "7f", true},
    {"lone continuation", "80", false},
    {"overlong NUL", "c080", false},
    {"overlong two bytes", "c1bf", false},
    {"first of two bytes", "c280", true},
    {"overlong three bytes", "e09fbf", false},
    {"first of three bytes", "e0a080", true},
    {"last before surrogates", "ed9fbf", true},
    {"first surrogate", "eda080", false},
    {"last surrogate", "edbfbf", false},
    {"first after surrogates", "ee8080", true},
    {"overlong four bytes", "f08fbfbf", false},
    {"first of four bytes", "f0908080", true},
    {"last of all", "f48fbfbf", true},
    {"beyond the last", "f4908080", false},
    {"five bytes", "f888808080", false},
    {"ff", "ff", false},
    {"cut by ASCII", "e28241", false},
};

static void test_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t buf[8];
        if (utf8_is_valid(test_hex(rows[i].hex, buf, sizeof buf)) != rows[i].is_valid)
            fail_msg("%s", rows[i].name);
    }
}

/* A bad byte costs one byte, so decoding finds its feet again. */
static void test_bad_bytes(void **state)
{
    (void)state;
    struct bytes text = BYTES_LIT("\xe2\x82"
                                  "A\xc3\xa9");
    static const uint32_t want[] = {UTF8_REPLACEMENT, UTF8_REPLACEMENT, 'A', 0xe9};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        bool is_bad = false;
        assert_int_equal(utf8_next(&text, &is_bad), want[i]);
        assert_int_equal(is_bad, i < 2);
    }
    assert_int_equal(text.len, 0);
}

static void test_random_bytes_end(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 13);
    for (int round = 0; round < 2000; round++) {
        uint8_t in[40];
        rng_fill(&rng, in, sizeof in);
        struct bytes text = {in, rng_below(&rng, sizeof in + 1)};
        uint8_t *exact = test_exact_copy(text);
        text.data = exact;
        while (text.len) {
            size_t before = text.len;
            utf8_next(&text, NULL);
            assert_true(text.len < before);
        }
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_code_points),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_random_bytes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
