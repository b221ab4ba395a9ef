#include "test_util.h"
#include "torrent/bencode.h"

static const struct {
    const char *text;
    enum err_code code;
} table[] = {
    {"i0e", ERR_OK}, /* BEP 3, "bencoding" */
    {"i-3e", ERR_OK},
    {"i9223372036854775807e", ERR_OK},
    {"i-9223372036854775808e", ERR_OK}, /* survey e.9: INT_MIN */
    {"i9223372036854775808e", ERR_MALFORMED},
    {"i-9223372036854775809e", ERR_MALFORMED},
    {"i99999999999999999999999999e", ERR_MALFORMED},
    {"i-0e", ERR_MALFORMED}, /* BEP 3 */
    {"i03e", ERR_MALFORMED}, /* BEP 3 */
    {"i00e", ERR_MALFORMED},
    {"ie", ERR_MALFORMED},
    {"i-e", ERR_MALFORMED},
    {"i--1e", ERR_MALFORMED},
    {"i+1e", ERR_MALFORMED},
    {"i1.0e", ERR_MALFORMED},
    {"i 1e", ERR_MALFORMED},
    {"i1", ERR_TRUNCATED},
    {"i", ERR_TRUNCATED},
    {"0:", ERR_OK},
    {"4:spam", ERR_OK},
    {"4:spamtail", ERR_OK}, /* the rest is the caller's affair */
    {"4:spa", ERR_TRUNCATED},
    {"4", ERR_TRUNCATED},
    {"04:spam", ERR_MALFORMED},
    {"00:", ERR_MALFORMED},
    {"4spam", ERR_MALFORMED},
    {"-1:a", ERR_MALFORMED},
    {"4294967296:a", ERR_TRUNCATED},
    {"18446744073709551620:a", ERR_TRUNCATED},
    {"99999999999999999999999999999:a", ERR_TRUNCATED},
    {"le", ERR_OK},
    {"de", ERR_OK},
    {"l4:spam4:eggse", ERR_OK},
    {"d3:cow3:moo4:spam4:eggse", ERR_OK},
    {"d4:spaml1:a1:bee", ERR_OK},
    {"d1:b0:1:a0:e", ERR_OK}, /* order is bencode_check_keys' affair */
    {"d1:a0:1:a0:e", ERR_OK},
    {"d1:ae", ERR_MALFORMED},
    {"di1e1:ae", ERR_MALFORMED},
    {"dle1:ae", ERR_MALFORMED},
    {"d1:a", ERR_TRUNCATED},
    {"d", ERR_TRUNCATED},
    {"l", ERR_TRUNCATED},
    {"e", ERR_MALFORMED},
    {"lee", ERR_OK},
    {"", ERR_TRUNCATED},
    {"x", ERR_MALFORMED},
    {"lxe", ERR_MALFORMED},
    {"\xff", ERR_MALFORMED},
};

static enum err_code parse_exact(struct bytes in, struct mem *mem, struct bencode *b,
                                 uint8_t **out_copy)
{
    struct err err = {0};
    *out_copy = test_exact_copy(in);
    enum err_code code = bencode_parse(b, bytes_of(*out_copy, in.len), mem, NULL, &err);
    assert_int_equal(code, err.code);
    assert_true(err.at <= in.len);
    return code;
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct mem mem;
        struct bencode b;
        uint8_t *copy;
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        enum err_code code = parse_exact(bytes_of_str(table[i].text), &mem, &b, &copy);
        if (code != table[i].code)
            fail_msg("'%s': %s, want %s", table[i].text, err_code_name(code),
                     err_code_name(table[i].code));
        bencode_clear(&b);
        free(copy);
        mem_check_empty(&mem);
    }
}

static const char sample[] = "d3:agei-42e4:listl1:ai7eli1eee4:name5:shoal3:subd1:kd0:0:eee";

static void test_prefixes(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof sample - 1; len++) {
        struct mem mem;
        struct bencode b;
        uint8_t *copy;
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        assert_int_equal(parse_exact(bytes_of(sample, len), &mem, &b, &copy), ERR_TRUNCATED);
        free(copy);
        mem_check_empty(&mem);
    }
}

static void test_cursors(void **state)
{
    (void)state;
    struct bencode_token tokens[32];
    struct bencode b;
    struct err err = {0};
    struct bytes key;
    struct bencode_value v, list;
    assert_int_equal(bencode_parse_fixed(&b, bytes_of_str(sample), tokens, 32, &err), ERR_OK);
    struct bencode_value root = bencode_root(&b);
    assert_int_equal(b.used_len, sizeof sample - 1);
    assert_int_equal(bencode_int_or(bencode_dict_get(root, "age"), 5), -42);
    assert_int_equal(bencode_int_or(bencode_dict_get(root, "name"), 5), 5);
    assert_int_equal(bencode_int_or(bencode_dict_get(root, "none"), 5), 5);
    assert_true(bytes_equal_str(bencode_str(bencode_dict_get(root, "name")), "shoal"));
    assert_int_equal(bencode_str(bencode_dict_get(root, "age")).len, 0);
    assert_true(bytes_equal_str(bencode_raw(bencode_dict_get(root, "list")), "l1:ai7eli1eee"));
    assert_true(bytes_equal_str(bencode_raw(root), sample));
    list = bencode_dict_get_type(root, "list", BENCODE_LIST);
    assert_int_equal(bencode_n_items(list), 3);
    assert_int_equal(bencode_n_items(root), 4);
    assert_int_equal(bencode_type(bencode_dict_get_type(root, "list", BENCODE_DICT)), BENCODE_NONE);
    /* what is absent stays absent */
    v = bencode_dict_get(bencode_dict_get(bencode_dict_get(root, "x"), "y"), "z");
    assert_int_equal(bencode_type(v), BENCODE_NONE);
    assert_int_equal(bencode_raw(v).len, 0);
    assert_int_equal(bencode_n_items(v), 0);
    assert_int_equal(bencode_type(bencode_dict_get(list, "a")), BENCODE_NONE);
    struct bencode_iter it = bencode_iter(root);
    static const char *const keys[] = {"age", "list", "name", "sub"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(bencode_next(&it, &key, &v));
        assert_true(bytes_equal_str(key, keys[i]));
    }
    assert_false(bencode_next(&it, &key, &v));
    it = bencode_iter(list);
    assert_true(bencode_next(&it, &key, &v) && key.len == 0);
    assert_true(bencode_next(&it, NULL, &v));
    assert_int_equal(bencode_int_or(v, 0), 7);
}

static char *nested(size_t depth)
{
    char *text = malloc(2 * depth + 1);
    memset(text, 'l', depth);
    memset(text + depth, 'e', depth);
    text[2 * depth] = 0;
    return text;
}

static void test_limits(void **state)
{
    (void)state;
    struct mem mem;
    struct bencode b;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (size_t depth = 99; depth <= 101; depth++) {
        char *text = nested(depth);
        assert_int_equal(bencode_parse(&b, bytes_of_str(text), &mem, NULL, &err),
                         depth > BENCODE_DEPTH_MAX ? ERR_LIMIT : ERR_OK);
        bencode_clear(&b);
        free(text);
    }
    struct bencode_token tokens[4];
    struct bytes four = BYTES_LIT("l0:0:0:e"), five = BYTES_LIT("l0:0:0:0:e");
    assert_int_equal(bencode_parse_fixed(&b, four, tokens, 4, &err), ERR_OK);
    assert_int_equal(bencode_parse_fixed(&b, five, tokens, 4, &err), ERR_LIMIT);
    struct bencode_limits limits = {8, 4, 1};
    assert_int_equal(bencode_parse(&b, four, &mem, &limits, &err), ERR_OK);
    bencode_clear(&b);
    assert_int_equal(bencode_parse(&b, five, &mem, &limits, &err), ERR_LIMIT);
    limits.len_max = 7;
    assert_int_equal(bencode_parse(&b, four, &mem, &limits, &err), ERR_LIMIT);
    /* three million values and one */
    size_t n = BENCODE_N_TOKENS_MAX;
    char *text = malloc(2 * n + 2);
    text[0] = 'l';
    for (size_t i = 0; i < n; i++)
        memcpy(text + 1 + 2 * i, "0:", 2);
    text[1 + 2 * n] = 'e';
    assert_int_equal(bencode_parse(&b, bytes_of(text, 2 * n + 2), &mem, NULL, &err), ERR_LIMIT);
    text[1 + 2 * (n - 1)] = 'e';
    assert_int_equal(bencode_parse(&b, bytes_of(text, 2 * n), &mem, NULL, &err), ERR_OK);
    bencode_clear(&b);
    free(text);
    mem_check_empty(&mem);
}

static const struct {
    const char *text;
    enum err_code sorted, unique;
} keys[] = {
    {"d1:a0:1:b0:e", ERR_OK, ERR_OK},
    {"d1:a0:2:aa0:1:b0:e", ERR_OK, ERR_OK},
    {"d0:0:1:a0:e", ERR_OK, ERR_OK},
    {"d1:b0:1:a0:e", ERR_MALFORMED, ERR_OK},
    {"d1:a0:1:a0:e", ERR_MALFORMED, ERR_MALFORMED},
    {"d1:b0:1:a0:1:b0:e", ERR_MALFORMED, ERR_MALFORMED},
    {"d1:c0:1:a0:1:b0:1:a0:e", ERR_MALFORMED, ERR_MALFORMED},
    {"d1:ad1:z0:1:y0:ee", ERR_MALFORMED, ERR_OK}, /* inner ones count */
    {"d1:ald1:z0:1:z0:eee", ERR_MALFORMED, ERR_MALFORMED},
    {"le", ERR_OK, ERR_OK},
    {"i1e", ERR_OK, ERR_OK},
};

static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct mem mem;
        struct bencode b;
        struct err err = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        assert_int_equal(bencode_parse(&b, bytes_of_str(keys[i].text), &mem, NULL, &err), ERR_OK);
        assert_int_equal(bencode_check_keys(bencode_root(&b), true, &mem, &err), keys[i].sorted);
        assert_int_equal(bencode_check_keys(bencode_root(&b), false, &mem, &err), keys[i].unique);
        bencode_clear(&b);
        mem_check_empty(&mem);
    }
}

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct bencode b;
    struct err err = {0};
    enum err_code code = bencode_parse(&b, *(struct bytes *)ctx, mem, NULL, &err);
    if (!code)
        code = bencode_check_keys(bencode_root(&b), false, mem, &err);
    bencode_clear(&b);
    assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
    return code == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    char text[1024] = "d";
    for (int i = 99; i >= 0; i--)
        snprintf(text + strlen(text), sizeof text - strlen(text), "2:%02d0:", i);
    text[strlen(text)] = 'e';
    struct bytes in = bytes_of_str(text);
    assert_int_equal(test_fail_sweep(run_sweep, &in), 4); /* 64, 128, 256 tokens and the keys */
}

static void test_writer(void **state)
{
    (void)state;
    struct mem mem;
    struct buf out;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1000);
    bencode_write_dict(&out);
    bencode_write_key_int(&out, "age", -42);
    bencode_write_cstr(&out, "list");
    bencode_write_list(&out);
    bencode_write_cstr(&out, "a");
    bencode_write_int(&out, 7);
    bencode_write_list(&out);
    bencode_write_int(&out, 1);
    bencode_write_end(&out);
    bencode_write_end(&out);
    bencode_write_key_str(&out, "name", BYTES_LIT("shoal"));
    bencode_write_cstr(&out, "sub");
    bencode_write_dict(&out);
    bencode_write_cstr(&out, "k");
    bencode_write_dict(&out);
    bencode_write_key_str(&out, "", (struct bytes){0});
    bencode_write_end(&out);
    bencode_write_end(&out);
    bencode_write_end(&out);
    assert_int_equal(out.err, ERR_OK);
    test_assert_bytes(buf_bytes(&out), bytes_of_str(sample));
    buf_reset(&out);
    bencode_write_int(&out, INT64_MIN);
    test_assert_bytes(buf_bytes(&out), BYTES_LIT("i-9223372036854775808e"));
    buf_clear(&out);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_cursors), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_keys),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
