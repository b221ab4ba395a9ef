#include "../../test_util.h"
#include "base/rng.h"
#include "chain/u256.h"

static struct u256 of_hex(const char *hex)
{
    struct u256 v;
    assert_true(u256_of_hex(&v, hex));
    return v;
}

static void assert_u256(struct u256 got, const char *want_hex)
{
    char text[65];
    struct u256 want = of_hex(want_hex);
    assert_string_equal(u256_hex(&got, text), u256_hex(&want, (char[65]){0}));
}

/* Bitcoin Core src/test/arith_uint256_tests.cpp, bignum_SetCompact. */
static const struct {
    uint32_t bits;
    const char *target;
    uint32_t compact_again;
    bool is_negative, is_overflow;
} compact_rows[] = {
    {0x00000000, "0", 0, false, false},
    {0x00123456, "0", 0, false, false},
    {0x01003456, "0", 0, false, false},
    {0x02000056, "0", 0, false, false},
    {0x03000000, "0", 0, false, false},
    {0x04000000, "0", 0, false, false},
    {0x00923456, "0", 0, false, false},
    {0x01803456, "0", 0, false, false},
    {0x02800056, "0", 0, false, false},
    {0x03800000, "0", 0, false, false},
    {0x04800000, "0", 0, false, false},
    {0x01123456, "12", 0x01120000, false, false},
    {0x02123456, "1234", 0x02123400, false, false},
    {0x03123456, "123456", 0x03123456, false, false},
    {0x04123456, "12345600", 0x04123456, false, false},
    {0x04923456, "12345600", 0x04123456, true, false},
    {0x01fedcba, "7e", 0x017e0000, true, false},
    {0x05009234, "92340000", 0x05009234, false, false},
    {0x20123456, "1234560000000000000000000000000000000000000000000000000000000000", 0x20123456,
     false, false},
    {0x1d00ffff, "ffff0000000000000000000000000000000000000000000000000000", 0x1d00ffff, false,
     false},
};

static void test_compact(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(compact_rows); i++) {
        bool is_negative, is_overflow;
        struct u256 v = u256_of_compact(compact_rows[i].bits, &is_negative, &is_overflow);
        assert_u256(v, compact_rows[i].target);
        assert_int_equal(is_negative, compact_rows[i].is_negative);
        assert_int_equal(is_overflow, compact_rows[i].is_overflow);
        assert_int_equal(u256_compact(&v), compact_rows[i].compact_again);
    }
    static const uint32_t overflows[] = {0xff123456, 0x23000001, 0x22000100, 0x21010000};
    static const uint32_t fits[] = {0x22000001, 0x2100ffff, 0x20ffffff, 0xff000000};
    for (size_t i = 0; i < COUNT_OF(overflows); i++) {
        bool is_overflow;
        (void)u256_of_compact(overflows[i], NULL, &is_overflow);
        assert_true(is_overflow);
        (void)u256_of_compact(fits[i], NULL, &is_overflow);
        assert_false(is_overflow);
    }
}

static void test_work(void **state)
{
    (void)state;
    assert_u256(u256_work(0x1d00ffff), "100010001"); /* genesis, getblockheader's chainwork */
    assert_u256(u256_work(0x207fffff), "2");
    assert_u256(u256_work(0x03000001), "8000000000000000000000000000000000000000000000000000000000"
                                       "000000");
    assert_u256(u256_work(0x00000000), "0");
    assert_u256(u256_work(0x04923456), "0");
    assert_u256(u256_work(0xff123456), "0");
}

static struct u256 random_u256(struct rng *rng)
{
    struct u256 v;
    for (size_t i = 0; i < 4; i++)
        v.w[i] = rng_u64(rng);
    return u256_shr(&v, (unsigned)rng_below(rng, 256));
}

/* a = b * q + rest with rest < b, the product built from 32-bit digits of q. */
static void check_division(const struct u256 *a, const struct u256 *b)
{
    struct u256 q = u256_div(a, b), product = u256_of(0);
    for (unsigned digit = 8; digit-- > 0;) {
        struct u256 term = u256_mul_u32(b, (uint32_t)(q.w[digit / 2] >> (digit % 2 * 32)));
        product = u256_shl(&product, 32);
        product = u256_add(&product, &term);
    }
    struct u256 rest = u256_sub(a, &product);
    assert_true(u256_compare(&product, a) <= 0);
    assert_true(u256_compare(&rest, b) < 0);
}

static void test_arithmetic(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 256);
    for (int i = 0; i < 20000; i++) {
        struct u256 a = random_u256(&rng), b = random_u256(&rng);
        struct u256 sum = u256_add(&a, &b), back = u256_sub(&sum, &b);
        assert_int_equal(u256_compare(&back, &a), 0);
        if (!u256_is_zero(&b))
            check_division(&a, &b);
        unsigned n = (unsigned)rng_below(&rng, 256);
        struct u256 up = u256_shl(&a, n), down = u256_shr(&up, n);
        if (u256_bits(&a) + n <= 256)
            assert_int_equal(u256_compare(&down, &a), 0);
        uint32_t bits = u256_compact(&a);
        bool is_negative, is_overflow;
        struct u256 rounded = u256_of_compact(bits, &is_negative, &is_overflow);
        assert_true(!is_negative && !is_overflow && u256_compare(&rounded, &a) <= 0);
        assert_int_equal(u256_compact(&rounded), bits);
    }
}

static void test_forms(void **state)
{
    (void)state;
    struct u256 v;
    char text[65];
    assert_false(u256_of_hex(&v, ""));
    assert_false(u256_of_hex(&v, "xyz"));
    assert_false(
        u256_of_hex(&v, "10000000000000000000000000000000000000000000000000000000000000000"));
    assert_true(u256_of_hex(&v, "aBc"));
    assert_string_equal(u256_hex(&v, text),
                        "0000000000000000000000000000000000000000000000000000000000000abc");
    assert_int_equal(u256_bits(&v), 12);
    struct hash256 h = {{0}};
    h.b[31] = 0x80;
    v = u256_of_hash(&h);
    assert_int_equal(u256_bits(&v), 256);
    v = u256_shr(&v, 200);
    assert_true(u256_double(&v) == 36028797018963968.0);
    v = u256_shl(&v, 100);
    assert_true(u256_double(&v) == 36028797018963968.0 * 1267650600228229401496703205376.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
