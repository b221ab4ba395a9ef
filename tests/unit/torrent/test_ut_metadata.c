#include "test_util.h"
#include "torrent/ut_metadata.h"

static enum err_code read_bytes(struct bytes b, struct ut_metadata_msg *m, struct err *err)
{
    uint8_t *exact = test_exact_copy(b);
    enum err_code code = ut_metadata_read(bytes_of(exact, b.len), m, err);
    m->data = (struct bytes){.len = m->data.len}; /* the copy goes */
    free(exact);
    return code;
}

/* BEP 9's examples. */
static void test_golden(void **state)
{
    (void)state;
    uint8_t buf[UT_METADATA_HEAD_MAX];
    struct writer w = writer_init(buf, sizeof buf);
    ut_metadata_write_request(&w, 0);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("d8:msg_typei0e5:piecei0ee"));
    w = writer_init(buf, sizeof buf);
    ut_metadata_write_data(&w, 0, 34256);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("d8:msg_typei1e5:piecei0e10:total_sizei34256ee"));
    w = writer_init(buf, sizeof buf);
    ut_metadata_write_reject(&w, 0);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("d8:msg_typei2e5:piecei0ee"));
    w = writer_init(buf, sizeof buf);
    ut_metadata_write_data(&w, UINT32_MAX, UINT64_MAX);
    assert_int_equal(writer_end(&w), ERR_OK);
}

static void test_read(void **state)
{
    (void)state;
    struct ut_metadata_msg m;
    struct bytes data = BYTES_LIT("d8:msg_typei1e5:piecei2e10:total_sizei34256eexxxx");
    assert_int_equal(read_bytes(BYTES_LIT("d8:msg_typei0e5:piecei7ee"), &m, NULL), ERR_OK);
    assert_int_equal(m.type, UT_METADATA_REQUEST);
    assert_int_equal(m.piece, 7);
    assert_int_equal(read_bytes(BYTES_LIT("d8:msg_typei2e5:piecei65535eetail"), &m, NULL), ERR_OK);
    assert_int_equal(m.type, UT_METADATA_REJECT);
    assert_int_equal(m.piece, 65535);
    assert_int_equal(m.data.len, 0);
    assert_int_equal(ut_metadata_read(data, &m, NULL), ERR_OK);
    assert_int_equal(m.type, UT_METADATA_DATA);
    assert_int_equal(m.piece, 2);
    assert_int_equal(m.total_size, 34256);
    test_assert_bytes(m.data, BYTES_LIT("xxxx"));
}

static const struct {
    const char *text;
    enum err_code code;
} refused[] = {
    {"", ERR_TRUNCATED},
    {"d8:msg_typei0e5:piecei0e", ERR_TRUNCATED},
    {"i5e", ERR_MALFORMED},
    {"le", ERR_MALFORMED},
    {"de", ERR_MALFORMED},
    {"d8:msg_typei0ee", ERR_MALFORMED},
    {"d5:piecei0ee", ERR_MALFORMED},
    {"d8:msg_type1:05:piecei0ee", ERR_MALFORMED},
    {"d8:msg_typei0e5:piece1:0e", ERR_MALFORMED},
    {"d8:msg_typei0e5:piecei-1ee", ERR_LIMIT},
    {"d8:msg_typei0e5:piecei65536ee", ERR_LIMIT},
    {"d8:msg_typei0e5:piecei4294967296ee", ERR_LIMIT},
    {"d8:msg_typei3e5:piecei0ee", ERR_UNSUPPORTED},
    {"d8:msg_typei-1e5:piecei0ee", ERR_UNSUPPORTED},
    {"d8:msg_typei4294967296e5:piecei0ee", ERR_UNSUPPORTED},
    {"d8:msg_typei1e5:piecei0eex", ERR_MALFORMED},
    {"d8:msg_typei1e5:piecei0e10:total_sizei0eex", ERR_MALFORMED},
    {"d8:msg_typei1e5:piecei0e10:total_sizei-9eex", ERR_MALFORMED},
    {"d8:msg_typei1e5:piecei0e10:total_sizei9ee", ERR_LIMIT},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct ut_metadata_msg m;
        struct err err = {0};
        enum err_code code = read_bytes(bytes_of_str(refused[i].text), &m, &err);
        if (code != refused[i].code)
            fail_msg("%s: %s", refused[i].text, err_code_name(code));
        assert_int_equal(err.code, code);
    }
}

/* A dictionary that ends early is TRUNCATED, wherever it ends. */
static void test_prefixes(void **state)
{
    (void)state;
    struct bytes whole = BYTES_LIT("d8:msg_typei1e5:piecei2e10:total_sizei34256ee");
    for (size_t len = 0; len < whole.len; len++) {
        struct ut_metadata_msg m;
        assert_int_equal(read_bytes(bytes_sub(whole, 0, len), &m, NULL), ERR_TRUNCATED);
    }
}

static void test_data_len(void **state)
{
    (void)state;
    uint8_t buf[UT_METADATA_HEAD_MAX + METADATA_PIECE_LEN + 1] = {0};
    struct ut_metadata_msg m;
    struct writer w = writer_init(buf, sizeof buf);
    ut_metadata_write_data(&w, 1, 5000000);
    size_t head = w.pos;
    assert_int_equal(read_bytes(bytes_of(buf, head + 1), &m, NULL), ERR_OK);
    assert_int_equal(read_bytes(bytes_of(buf, head + METADATA_PIECE_LEN), &m, NULL), ERR_OK);
    assert_int_equal(m.data.len, METADATA_PIECE_LEN);
    assert_int_equal(read_bytes(bytes_of(buf, head + METADATA_PIECE_LEN + 1), &m, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),   cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_data_len),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
