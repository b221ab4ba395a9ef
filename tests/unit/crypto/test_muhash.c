#include "base/rng.h"
#include "crypto/muhash.h"
#include "test_util.h"
#include <openssl/bn.h>

static void add_nth(struct muhash *m, uint8_t i, bool is_removed)
{
    uint8_t member[32] = {i};
    (is_removed ? muhash_remove : muhash_add)(m, bytes_of(member, sizeof member));
}

/* Bitcoin Core src/test/crypto_tests.cpp, values; the hash there is printed byte-reversed. */
static void test_vector(void **state)
{
    (void)state;
    uint8_t want[32], got[32];
    struct muhash m;
    muhash_init(&m);
    add_nth(&m, 0, false);
    add_nth(&m, 1, false);
    add_nth(&m, 2, true);
    assert_true(muhash_final(&m, got));
    test_hex("10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863", want, 32);
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(got[i], want[31 - i]);
    struct bytes start = test_hex(
        "1fa093295ea30a6a3acdc7b3f770fa538eff537528e990e2910e40bbcfd7f669", want, sizeof want);
    uint8_t raw[2 * MUHASH_LEN];
    muhash_init(&m);
    add_nth(&m, 1, false);
    add_nth(&m, 2, false);
    muhash_write(&m, raw);
    assert_memory_equal(raw, start.data, start.len);
    assert_int_equal(raw[MUHASH_LEN], 1); /* nothing was taken away */
    for (size_t i = MUHASH_LEN + 1; i < sizeof raw; i++)
        assert_int_equal(raw[i], 0);
}

static void assert_same_set(const struct muhash *a, const struct muhash *b)
{
    uint8_t x[32], y[32];
    assert_true(muhash_final(a, x) && muhash_final(b, y));
    assert_memory_equal(x, y, sizeof x);
}

static void test_sets(void **state)
{
    (void)state;
    struct muhash a, b, part;
    muhash_init(&a);
    muhash_init(&b);
    assert_same_set(&a, &b);
    for (uint8_t i = 0; i < 40; i++)
        add_nth(&a, i, false);
    for (uint8_t i = 40; i-- > 20;) /* in another order */
        add_nth(&b, i, false);
    muhash_init(&part); /* and in parts */
    for (uint8_t i = 0; i < 20; i++)
        add_nth(&part, i, false);
    muhash_join(&b, &part);
    assert_same_set(&a, &b);
    add_nth(&a, 99, false);
    uint8_t x[32], y[32];
    assert_true(muhash_final(&a, x) && muhash_final(&b, y));
    assert_memory_not_equal(x, y, sizeof x);
    add_nth(&a, 99, true);
    assert_same_set(&a, &b);
    uint8_t raw[2 * MUHASH_LEN];
    muhash_write(&a, raw);
    muhash_read(&part, raw);
    assert_same_set(&a, &part);
}

/* Our products beside libcrypto's, over numbers that carry far: all ones, near the prime, zeros. */
static void test_products(void **state)
{
    (void)state;
    static uint8_t raw[2][2 * MUHASH_LEN];
    struct rng rng;
    uint8_t want[MUHASH_LEN];
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *prime = BN_new(), *x = BN_new(), *y = BN_new();
    assert_true(BN_set_bit(prime, 3072) && BN_sub_word(prime, 1103717));
    rng_init(&rng, 21);
    for (uint32_t i = 0; i < 3000; i++) {
        for (size_t side = 0; side < 2; side++) {
            uint8_t *n = raw[side];
            rng_fill(&rng, n, MUHASH_LEN);
            for (uint32_t runs = rng_below(&rng, 4); runs; runs--) {
                size_t from = rng_below(&rng, MUHASH_LEN);
                memset(n + from, runs % 2 ? 0xff : 0,
                       rng_below(&rng, (uint32_t)(MUHASH_LEN - from)));
            }
            if (i % 16 == side)
                memset(n + 3, 0xff, MUHASH_LEN - 3); /* above or right below the prime */
            if (i % 16 == 2)
                memset(n, 0xff, MUHASH_LEN);
            memset(n + MUHASH_LEN, 0, MUHASH_LEN);
            n[MUHASH_LEN] = 1;
        }
        struct muhash a, b;
        muhash_read(&a, raw[0]);
        muhash_read(&b, raw[1]);
        muhash_join(&a, &b);
        assert_non_null(BN_lebin2bn(raw[0], MUHASH_LEN, x));
        assert_non_null(BN_lebin2bn(raw[1], MUHASH_LEN, y));
        assert_true(BN_mod_mul(x, x, y, prime, ctx));
        assert_int_equal(BN_bn2lebinpad(x, want, MUHASH_LEN), MUHASH_LEN);
        muhash_write(&a, raw[0]);
        assert_memory_equal(raw[0], want, MUHASH_LEN);
    }
    BN_free(x);
    BN_free(y);
    BN_free(prime);
    BN_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
