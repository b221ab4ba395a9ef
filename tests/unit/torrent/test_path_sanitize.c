#include "base/rng.h"
#include "base/utf8.h"
#include "test_util.h"
#include "torrent/path_sanitize.h"

static const struct {
    const char *in, *out;
} table[] = {
    {"plain.txt", "plain.txt"},
    {"with space ", "with space "},
    {".hidden", ".hidden"},
    {"...", "..."},
    {"", ""},
    {".", ""},
    {"..", ""},
    {"/", ""},
    {"\\\\//", ""},
    {"/../", ""}, /* what is left is ".." */
    {"./.", ""},
    {"a/../../b", "a....b"},
    {"..\\..\\etc", "....etc"},
    {"tab\there", "tab_here"},
    {"del\x7f", "del_"},
    {"\x82"
     "est/MB",
     "_estMB"},
    {"\xc3\x28", "_("},
    {"caf\xc3\xa9", "caf\xc3\xa9"},
    {"gpj.\xe2\x80\xae"
     "exe",
     "gpj.exe"},          /* U+202E turns the rest around */
    {"\xe2\x80\x8b", ""}, /* U+200B alone */
    {"\xef\xbb\xbf"
     "bom",
     "bom"},                      /* U+FEFF */
    {"\xc2\x85", "_"},            /* C1 control */
    {"\xc0\xae\xc0\xae", "____"}, /* overlong ".." */
    {"\xed\xa0\x80", "___"},      /* a surrogate */
};

static void test_table(void **state)
{
    (void)state;
    char out[PATH_ELEMENT_CAP];
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        size_t len = path_sanitize_element(bytes_of_str(table[i].in), out);
        assert_string_equal(out, table[i].out);
        assert_int_equal(len, strlen(out));
        path_sanitize_element_or(bytes_of_str(table[i].in), out);
        assert_string_equal(out, *table[i].out ? table[i].out : "_");
    }
    assert_int_equal(path_sanitize_element(BYTES_LIT("a\0b"), out), 2);
    assert_string_equal(out, "ab");
}

static void test_long(void **state)
{
    (void)state;
    char in[1000], out[PATH_ELEMENT_CAP];
    memset(in, 'a', sizeof in);
    assert_int_equal(path_sanitize_element(bytes_of(in, 240), out), 240);
    assert_int_equal(path_sanitize_element(bytes_of(in, 241), out), 240);
    memcpy(in + 296, ".txt", 4);
    assert_int_equal(path_sanitize_element(bytes_of(in, 300), out), 240);
    assert_string_equal(out + 235, "a.txt");
    /* cut between characters of three bytes */
    for (size_t i = 0; i < 300; i += 3)
        memcpy(in + i, "\xe2\x82\xac", 3);
    memcpy(in + 300, ".mp4", 4);
    size_t len = path_sanitize_element(bytes_of(in, 304), out);
    assert_true(utf8_is_valid(bytes_of(out, len)));
    assert_int_equal(len, 236 / 3 * 3 + 4);
    /* a tail that is too long to be an extension */
    memset(in, 'b', sizeof in);
    in[10] = '.';
    assert_int_equal(path_sanitize_element(bytes_of(in, 400), out), 240);
}

/* Whatever comes in: bounded, valid, no separator, not "." or "..", and clean already. */
static void test_properties(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    static const char alphabet[] = "./\\ a\xe2\x80\xae\xc3\xa9\x01";
    for (int round = 0; round < 20000; round++) {
        uint8_t in[600];
        char out[PATH_ELEMENT_CAP], again[PATH_ELEMENT_CAP];
        size_t len = rng_below(&rng, rng_below(&rng, 4) ? 8 : sizeof in);
        for (size_t i = 0; i < len; i++)
            in[i] = rng_below(&rng, 5) ? (uint8_t)alphabet[rng_below(&rng, sizeof alphabet)]
                                       : (uint8_t)rng_u64(&rng);
        size_t n = path_sanitize_element(bytes_of(in, len), out);
        assert_true(n <= PATH_ELEMENT_LEN_MAX && strlen(out) == n);
        assert_null(strchr(out, '/'));
        assert_true(strcmp(out, ".") != 0 && strcmp(out, "..") != 0);
        assert_true(utf8_is_valid(bytes_of(out, n)));
        path_sanitize_element(bytes_of(out, n), again);
        assert_string_equal(out, again);
    }
}

static void test_extension(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t off;
    } rows[] = {
        {"a.txt", 1},   {"a", 1},
        {"dir.d/a", 7}, {"dir/.hidden", 11},
        {".hidden", 7}, {"a.tar.gz", 5},
        {"dir/a.b", 5}, {"a.", 1},
        {"", 0},        {"a.0123456789012345678", 21},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(path_ext_off(bytes_of_str(rows[i].path)), rows[i].off);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_extension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
