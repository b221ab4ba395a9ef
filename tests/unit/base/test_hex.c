#include "base/rng.h"
#include "test_util.h"

static void test_hex_forms(void **state)
{
    (void)state;
    char text[16];
    uint8_t out[4];
    assert_string_equal(hex_encode(BYTES_LIT("\x00\xff\x1a"), text, sizeof text), "00ff1a");
    assert_string_equal(hex_encode((struct bytes){0}, text, 1), "");
    struct writer w = writer_init(text, 6);
    writer_hex(&w, (struct bytes){0});
    writer_hex(&w, BYTES_LIT("\x00\xff\x1a"));
    assert_true(bytes_equal_str(writer_bytes(&w), "00ff1a"));
    writer_hex(&w, BYTES_LIT("a"));
    assert_int_equal(writer_end(&w), ERR_LIMIT);
    assert_int_equal(hex_decode(BYTES_LIT("00fF1A"), out, 3), ERR_OK);
    assert_memory_equal(out, "\x00\xff\x1a", 3);
    assert_int_equal(hex_decode(BYTES_LIT("00f"), out, 1), ERR_MALFORMED);
    assert_int_equal(hex_decode(BYTES_LIT("00ff"), out, 3), ERR_MALFORMED);
    assert_int_equal(hex_decode(BYTES_LIT("00ff"), out, 1), ERR_MALFORMED);
    assert_int_equal(hex_decode(BYTES_LIT("0g"), out, 1), ERR_MALFORMED);
    assert_int_equal(hex_decode(BYTES_LIT("/0"), out, 1), ERR_MALFORMED);
    assert_int_equal(hex_decode(BYTES_LIT("@0"), out, 1), ERR_MALFORMED);
    assert_int_equal(hex_decode((struct bytes){0}, out, 0), ERR_OK);
}

/* RFC 4648, section 10, without the padding. */
static const struct {
    const char *text, *bytes;
} base32_vectors[] = {
    {"", ""},
    {"MY", "f"},
    {"MZXQ", "fo"},
    {"MZXW6", "foo"},
    {"MZXW6YQ", "foob"},
    {"MZXW6YTB", "fooba"},
    {"MZXW6YTBOI", "foobar"},
};

static void test_base32(void **state)
{
    (void)state;
    uint8_t out[20];
    for (size_t i = 0; i < COUNT_OF(base32_vectors); i++) {
        const char *want = base32_vectors[i].bytes;
        struct bytes text = bytes_of_str(base32_vectors[i].text);
        assert_int_equal(base32_decode(text, out, strlen(want)), ERR_OK);
        test_assert_bytes(bytes_of(out, strlen(want)), bytes_of_str(want));
        assert_int_equal(base32_decode(text, out, strlen(want) + 1), ERR_MALFORMED);
    }
    assert_int_equal(base32_decode(BYTES_LIT("mzxw6ytb"), out, 5), ERR_OK);
    assert_memory_equal(out, "fooba", 5);
    assert_int_equal(base32_decode(BYTES_LIT("MZXW6YT1"), out, 5), ERR_MALFORMED);
    assert_int_equal(base32_decode(BYTES_LIT("MZXW6YT="), out, 5), ERR_MALFORMED);
    assert_int_equal(base32_decode(BYTES_LIT("MZ"), out, 1), ERR_MALFORMED); /* bits left over */
    assert_int_equal(base32_decode(BYTES_LIT("77777777777777777777777777777777"), out, 20), ERR_OK);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(out[i], 0xff);
}

static void check_percent(const char *text, bool plus_is_space, enum err_code code,
                          struct bytes want)
{
    uint8_t out[64];
    size_t len = 0;
    assert_int_equal(percent_decode(bytes_of_str(text), plus_is_space, out, sizeof out, &len),
                     code);
    if (!code)
        test_assert_bytes(bytes_of(out, len), want);
}

static void test_percent(void **state)
{
    (void)state;
    char text[64];
    struct writer w = writer_init(text, sizeof text);
    percent_encode(&w, BYTES_LIT("aZ09-._~ /+%\xff"));
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("aZ09-._~%20%2F%2B%25%FF"));
    check_percent("a%20b+c", false, ERR_OK, BYTES_LIT("a b+c"));
    check_percent("a%20b+c%2b", true, ERR_OK, BYTES_LIT("a b c+"));
    check_percent("%00", false, ERR_OK, BYTES_LIT("\0"));
    check_percent("", false, ERR_OK, BYTES_LIT(""));
    check_percent("%", false, ERR_MALFORMED, (struct bytes){0});
    check_percent("%2", false, ERR_MALFORMED, (struct bytes){0});
    check_percent("%2g", false, ERR_MALFORMED, (struct bytes){0});
    check_percent("%%20", false, ERR_MALFORMED, (struct bytes){0});
    uint8_t out[2];
    size_t len;
    assert_int_equal(percent_decode(BYTES_LIT("%61bc"), false, out, 2, &len), ERR_LIMIT);
    assert_int_equal(percent_decode(BYTES_LIT("%61b"), false, out, 2, &len), ERR_OK);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    for (int round = 0; round < 1000; round++) {
        uint8_t in[50], out[150];
        char text[151];
        size_t len = rng_below(&rng, sizeof in + 1), out_len;
        rng_fill(&rng, in, len);
        hex_encode(bytes_of(in, len), text, sizeof text);
        assert_int_equal(hex_decode(bytes_of_str(text), out, len), ERR_OK);
        test_assert_bytes(bytes_of(out, len), bytes_of(in, len));
        struct writer w = writer_init(text, sizeof text);
        percent_encode(&w, bytes_of(in, len));
        assert_int_equal(percent_decode(writer_bytes(&w), true, out, sizeof out, &out_len), ERR_OK);
        test_assert_bytes(bytes_of(out, out_len), bytes_of(in, len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex_forms),
        cmocka_unit_test(test_base32),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
