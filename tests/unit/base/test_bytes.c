#include "base/rng.h"
#include "test_util.h"

static void test_views(void **state)
{
    (void)state;
    struct bytes a = BYTES_LIT("shoal"), none = {0};
    assert_true(bytes_equal(a, bytes_of("shoal", 5)));
    assert_false(bytes_equal(a, BYTES_LIT("shoals")));
    assert_true(bytes_equal(none, BYTES_LIT("")));
    assert_true(bytes_equal_str(a, "shoal"));
    assert_true(bytes_starts_with(a, BYTES_LIT("sho")));
    assert_true(bytes_starts_with(a, none));
    assert_false(bytes_starts_with(BYTES_LIT("sh"), BYTES_LIT("sho")));
    assert_int_equal(bytes_compare(BYTES_LIT("a"), BYTES_LIT("b")), -1);
    assert_int_equal(bytes_compare(BYTES_LIT("ab"), BYTES_LIT("a")), 1);
    assert_int_equal(bytes_compare(BYTES_LIT("\xff"), BYTES_LIT("\x01")), 1); /* unsigned */
    assert_int_equal(bytes_compare(none, BYTES_LIT("")), 0);
    test_assert_bytes(bytes_sub(a, 1, 3), BYTES_LIT("hoa"));
    test_assert_bytes(bytes_sub(a, 3, SIZE_MAX), BYTES_LIT("al"));
    assert_int_equal(bytes_sub(a, 6, 1).len, 0);
    assert_true(bytes_equal_secret(a, BYTES_LIT("shoal")));
    assert_false(bytes_equal_secret(a, BYTES_LIT("shoam")));
    assert_false(bytes_equal_secret(a, BYTES_LIT("shoa")));
}

static void test_orders(void **state)
{
    (void)state;
    struct reader r =
        reader_init(BYTES_LIT("\x01\x02\x03\x04\x05\x06\x07\x08"
                              "\x01\x02\x03\x04\x05\x06\x07\x08"
                              "\x01\x02\x03\x04\x01\x02\x03\x04\x01\x02\x01\x02\xfe"));
    assert_true(reader_u64be(&r) == 0x0102030405060708);
    assert_true(reader_u64le(&r) == 0x0807060504030201);
    assert_int_equal(reader_u32be(&r), 0x01020304);
    assert_int_equal(reader_u32le(&r), 0x04030201);
    assert_int_equal(reader_u16be(&r), 0x0102);
    assert_int_equal(reader_u16le(&r), 0x0201);
    assert_int_equal(reader_peek_u8(&r), 0xfe);
    assert_int_equal(reader_u8(&r), 0xfe);
    assert_int_equal(reader_peek_u8(&r), 0);
    assert_int_equal(reader_end(&r), ERR_OK);
}

static void test_reader_is_sticky(void **state)
{
    (void)state;
    uint8_t out[3] = {9, 9, 9};
    struct reader r = reader_init(BYTES_LIT("abc"));
    reader_skip(&r, 2);
    assert_int_equal(reader_u16be(&r), 0);
    assert_int_equal(r.err.code, ERR_TRUNCATED);
    assert_int_equal(r.err.at, 2);
    assert_int_equal(r.err.got, 1);
    assert_int_equal(r.err.want, 2);
    assert_int_equal(reader_left(&r), 0);
    assert_int_equal(reader_u8(&r), 0); /* would fit, but it has failed */
    assert_int_equal(reader_peek_u8(&r), 0);
    assert_int_equal(reader_rest(&r).len, 0);
    reader_copy(&r, out, sizeof out);
    assert_memory_equal(out, "\0\0\0", 3);
    reader_fail(&r, ERR_LIMIT, "later");
    assert_false(reader_ok(&r));
    assert_int_equal(reader_end(&r), ERR_TRUNCATED); /* the first wins */
}

static void test_reader_ends(void **state)
{
    (void)state;
    struct reader r = reader_init(BYTES_LIT("abc"));
    reader_skip(&r, 1);
    assert_int_equal(reader_end(&r), ERR_MALFORMED);
    r = reader_init(BYTES_LIT("abc"));
    test_assert_bytes(reader_rest(&r), BYTES_LIT("abc"));
    assert_int_equal(reader_end(&r), ERR_OK);
    r = reader_init((struct bytes){0});
    assert_int_equal(reader_take(&r, 0).len, 0);
    reader_copy(&r, NULL, 0);
    assert_int_equal(reader_end(&r), ERR_OK);
    r = reader_init(BYTES_LIT("abc"));
    assert_int_equal(reader_take(&r, SIZE_MAX).len, 0);
    assert_int_equal(reader_end(&r), ERR_TRUNCATED);
}

/* One of each write, chosen by the values, and the read that gives it back. */
static void write_fields(struct writer *w, const uint64_t v[6])
{
    writer_u8(w, (uint8_t)v[0]);
    writer_u16be(w, (uint16_t)v[1]);
    writer_u32be(w, (uint32_t)v[2]);
    writer_u64be(w, v[3]);
    writer_u16le(w, (uint16_t)v[1]);
    writer_u32le(w, (uint32_t)v[4]);
    writer_u64le(w, v[5]);
}

static enum err_code read_fields(struct bytes in, const uint64_t v[6])
{
    struct reader r = reader_init(in);
    bool is_same = reader_u8(&r) == (uint8_t)v[0];
    is_same &= reader_u16be(&r) == (uint16_t)v[1];
    is_same &= reader_u32be(&r) == (uint32_t)v[2];
    is_same &= reader_u64be(&r) == v[3];
    is_same &= reader_u16le(&r) == (uint16_t)v[1];
    is_same &= reader_u32le(&r) == (uint32_t)v[4];
    is_same &= reader_u64le(&r) == v[5];
    enum err_code code = reader_end(&r);
    assert_true(is_same || code);
    return code;
}

static void test_round_trip_and_prefixes(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 2);
    for (int round = 0; round < 200; round++) {
        uint64_t v[6];
        uint8_t out[64];
        rng_fill(&rng, v, sizeof v);
        struct writer w = writer_init(out, sizeof out);
        write_fields(&w, v);
        assert_int_equal(writer_end(&w), ERR_OK);
        struct bytes all = writer_bytes(&w);
        assert_int_equal(all.len, 29);
        assert_int_equal(read_fields(all, v), ERR_OK);
        for (size_t len = 0; len < all.len; len++) {
            uint8_t *cut = test_exact_copy(bytes_sub(all, 0, len));
            assert_int_equal(read_fields(bytes_of(cut, len), v), ERR_TRUNCATED);
            free(cut);
            struct writer small = writer_init(out, len);
            write_fields(&small, v);
            assert_int_equal(writer_end(&small), ERR_LIMIT);
            assert_int_equal(writer_bytes(&small).len, 0);
        }
        assert_int_equal(read_fields(bytes_of(out, 30), v), ERR_MALFORMED);
    }
}

static void test_writer_is_sticky(void **state)
{
    (void)state;
    uint8_t out[4];
    struct writer w = writer_init(out, sizeof out);
    writer_str(&w, "abc");
    writer_u16be(&w, 1); /* does not fit */
    writer_u8(&w, 1);    /* would fit, but it has failed */
    assert_int_equal(w.err.code, ERR_LIMIT);
    assert_int_equal(w.err.at, 3);
    assert_int_equal(w.pos, 3);
    assert_int_equal(writer_room(&w), 0);
    assert_false(writer_ok(&w));
}

static void test_writer_text(void **state)
{
    (void)state;
    uint8_t out[32];
    struct writer w = writer_init(out, sizeof out);
    writer_decimal(&w, 0);
    writer_fill(&w, ' ', 2);
    writer_decimal(&w, UINT64_MAX);
    writer_printf(&w, "%s", "");
    writer_printf(&w, ":%d", 42);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("0  18446744073709551615:42"));
    for (size_t cap = 0; cap < 8; cap++) {
        memset(out, 0xee, sizeof out);
        w = writer_init(out, cap);
        writer_printf(&w, "%s", "12345");
        assert_int_equal(writer_end(&w), cap < 5 ? ERR_LIMIT : ERR_OK);
        if (cap >= 5)
            test_assert_bytes(writer_bytes(&w), BYTES_LIT("12345"));
        assert_int_equal(out[cap], 0xee);
        if (cap == 5)
            assert_int_equal(out[5], 0xee); /* no terminator past the end */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_reader_is_sticky),
        cmocka_unit_test(test_reader_ends),
        cmocka_unit_test(test_round_trip_and_prefixes),
        cmocka_unit_test(test_writer_is_sticky),
        cmocka_unit_test(test_writer_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
