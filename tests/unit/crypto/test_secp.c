#include "crypto/hash160.h"
#include "crypto/secp.h"
#include "test_util.h"

static const char generator[] =
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/* The usual answers of RIPEMD-160, by its authors. */
static void test_ripemd160(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"},
        {"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"},
        {"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"},
    };
    uint8_t out[HASH160_LEN];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ripemd160(bytes_of_str(rows[i].in), out);
        test_assert_hex(bytes_of(out, sizeof out), rows[i].want);
    }
}

/* The key of the secret 1, as in every list of odd addresses. */
static void test_hash160(void **state)
{
    uint8_t key[33], out[HASH160_LEN];
    (void)state;
    hash160(test_hex(generator, key, sizeof key), out);
    test_assert_hex(bytes_of(out, sizeof out), "751e76e8199196d454941c45d1b3a323f1433bd6");
}

struct signed_hash {
    struct secp_signer *s;
    uint8_t secret[32], hash[32], pubkey[33], der[SECP_DER_LEN_MAX];
    size_t der_len;
};

static void sign(struct signed_hash *t)
{
    static const uint8_t random[32] = {1, 2, 3};
    t->s = secp_signer_new(random);
    assert_non_null(t->s);
    memset(t->secret, 0x11, 32);
    memset(t->hash, 0x22, 32);
    assert_true(secp_pubkey(t->s, t->secret, t->pubkey));
    assert_true(secp_ecdsa_sign(t->s, t->secret, t->hash, t->der, &t->der_len));
}

/* R and S of a strict signature, spelled by a writer. */
static size_t spell(const struct signed_hash *t, uint8_t *out, const char *how)
{
    const uint8_t *r = t->der + 4, *s = t->der + 6 + t->der[3];
    size_t r_len = t->der[3], s_len = s[-1], n = 0;
    bool is_padded = strcmp(how, "padded") == 0, is_long = strcmp(how, "long") == 0;
    out[n++] = 0x30;
    out[n++] = strcmp(how, "wrong sequence length") == 0 ? 0x7f : 0;
    for (int i = 0; i < 2; i++) {
        size_t len = i ? s_len : r_len, zeros = is_padded ? 5 : 0;
        out[n++] = 0x02;
        if (is_long)
            memcpy(out + n, "\x83\x00\x00", 3), n += 3;
        out[n++] = (uint8_t)(len + zeros);
        memset(out + n, 0, zeros);
        n += zeros;
        memcpy(out + n, i ? s : r, len);
        n += len;
    }
    if (strcmp(how, "trailing") == 0)
        out[n++] = 0x55;
    return n;
}

/* What OpenSSL of 2014 read as a signature still counts in blocks of its time. */
static void test_lax_der(void **state)
{
    static const char *const hows[] = {"wrong sequence length", "padded", "long", "trailing"};
    struct signed_hash t;
    uint8_t out[128];
    (void)state;
    sign(&t);
    struct bytes key = bytes_of(t.pubkey, 33);
    assert_true(secp_ecdsa_verify(bytes_of(t.der, t.der_len), key, t.hash));
    for (size_t i = 0; i < COUNT_OF(hows); i++) {
        size_t n = spell(&t, out, hows[i]);
        assert_true(secp_ecdsa_verify(bytes_of(out, n), key, t.hash));
        t.hash[0] ^= 1;
        assert_false(secp_ecdsa_verify(bytes_of(out, n), key, t.hash));
        t.hash[0] ^= 1;
    }
    for (size_t n = 0; n < t.der_len; n++) {
        uint8_t *copy = test_exact_copy(bytes_of(t.der, n));
        assert_false(secp_ecdsa_verify(bytes_of(copy, n), key, t.hash));
        free(copy);
    }
    secp_signer_free(t.s);
}

/* S and the order minus S sign the same. */
static void test_high_s(void **state)
{
    static const char order[] = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    struct signed_hash t;
    uint8_t n[32], high[SECP_DER_LEN_MAX + 2];
    (void)state;
    sign(&t);
    test_hex(order, n, sizeof n);
    size_t at = 6 + t.der[3], len = t.der[at - 1];
    assert_int_equal(len, 32); /* of this fixed signature */
    memcpy(high, t.der, at);
    high[1]++;
    high[at - 1] = 33;
    high[at] = 0;
    for (int i = 31, borrow = 0; i >= 0; i--) {
        int d = n[i] - t.der[at + (size_t)i] - borrow;
        borrow = d < 0;
        high[at + 1 + (size_t)i] = (uint8_t)d;
    }
    assert_true(secp_ecdsa_is_low_s(bytes_of(t.der, t.der_len)));
    assert_false(secp_ecdsa_is_low_s(bytes_of(high, t.der_len + 1)));
    assert_true(secp_ecdsa_verify(bytes_of(high, t.der_len + 1), bytes_of(t.pubkey, 33), t.hash));
    secp_signer_free(t.s);
}

static void test_beyond_order(void **state)
{
    uint8_t sig[80] = {0x30, 70, 0x02, 33, 0};
    struct signed_hash t;
    (void)state;
    sign(&t);
    memset(sig + 5, 0xff, 32);
    sig[37] = 0x02, sig[38] = 1, sig[39] = 1;
    assert_false(secp_ecdsa_verify(bytes_of(sig, 40), bytes_of(t.pubkey, 33), t.hash));
    assert_true(secp_ecdsa_is_low_s(bytes_of(sig, 40))); /* read as zero */
    assert_false(secp_ecdsa_is_low_s(BYTES_LIT("\x31")));
    secp_signer_free(t.s);
}

static void test_keys(void **state)
{
    struct signed_hash t;
    uint8_t zero[32] = {0}, out[33];
    (void)state;
    sign(&t);
    struct bytes sig = bytes_of(t.der, t.der_len);
    assert_false(secp_ecdsa_verify(sig, (struct bytes){0}, t.hash));
    assert_false(secp_ecdsa_verify(sig, bytes_of(t.pubkey, 32), t.hash));
    t.pubkey[0] ^= 1;
    assert_false(secp_ecdsa_verify(sig, bytes_of(t.pubkey, 33), t.hash));
    assert_false(secp_pubkey(t.s, zero, out));
    assert_false(secp_schnorr_verify(t.der, zero, bytes_of(t.hash, 32)));
    secp_signer_free(t.s);
}

/* A tweaked key and its tweaked secret belong together. */
static void test_tweak(void **state)
{
    struct signed_hash t;
    uint8_t output[32], key[33], tweak[32], sig[64], zero[32] = {0};
    bool is_odd;
    (void)state;
    sign(&t);
    memset(tweak, 7, sizeof tweak);
    assert_true(secp_tweak_add(t.pubkey + 1, tweak, output, &is_odd));
    assert_true(secp_tweak_check(output, is_odd, t.pubkey + 1, tweak));
    assert_false(secp_tweak_check(output, !is_odd, t.pubkey + 1, tweak));
    assert_true(secp_secret_tweak(t.s, t.secret, tweak));
    assert_true(secp_pubkey(t.s, t.secret, key));
    assert_memory_equal(key + 1, output, 32);
    assert_true(secp_schnorr_sign(t.s, t.secret, bytes_of(t.hash, 32), zero, sig));
    assert_true(secp_schnorr_verify(sig, output, bytes_of(t.hash, 32)));
    sig[40] ^= 1;
    assert_false(secp_schnorr_verify(sig, output, bytes_of(t.hash, 32)));
    memset(tweak, 0xff, sizeof tweak); /* not below the order */
    assert_false(secp_tweak_add(t.pubkey + 1, tweak, output, &is_odd));
    assert_false(secp_tweak_check(output, is_odd, t.pubkey + 1, tweak));
    secp_signer_free(t.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ripemd160),    cmocka_unit_test(test_hash160),
        cmocka_unit_test(test_lax_der),      cmocka_unit_test(test_high_s),
        cmocka_unit_test(test_beyond_order), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_tweak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
