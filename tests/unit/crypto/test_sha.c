#include "base/rng.h"
#include "crypto/sha.h"
#include "test_util.h"

/* FIPS 180-4 examples (NIST, "Secure Hash Standard" example values). */
static const struct {
    const char *text, *sha1, *sha256;
} vectors[] = {
    {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void test_vectors(void **state)
{
    (void)state;
    uint8_t out[SHA256_LEN];
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        sha1(bytes_of_str(vectors[i].text), out);
        test_assert_hex(bytes_of(out, SHA1_LEN), vectors[i].sha1);
        sha256(bytes_of_str(vectors[i].text), out);
        test_assert_hex(bytes_of(out, SHA256_LEN), vectors[i].sha256);
    }
    sha1((struct bytes){0}, out);
    test_assert_hex(bytes_of(out, SHA1_LEN), vectors[0].sha1);
}

static void test_a_million_a(void **state)
{
    (void)state;
    uint8_t chunk[1000], out[SHA256_LEN];
    struct sha1_state s1;
    struct sha256_state s256;
    memset(chunk, 'a', sizeof chunk);
    sha1_init(&s1);
    sha256_init(&s256);
    for (int i = 0; i < 1000; i++) {
        sha1_update(&s1, bytes_of(chunk, sizeof chunk));
        sha256_update(&s256, bytes_of(chunk, sizeof chunk));
    }
    sha1_final(&s1, out);
    test_assert_hex(bytes_of(out, SHA1_LEN), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    sha256_final(&s256, out);
    test_assert_hex(bytes_of(out, SHA256_LEN),
                    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Split anywhere: the same digest. A state is a value: a copy goes its own way. */
static void test_splits_and_copies(void **state)
{
    (void)state;
    uint8_t in[300], whole[2][SHA256_LEN], out[SHA256_LEN];
    struct rng rng;
    rng_init(&rng, 15);
    rng_fill(&rng, in, sizeof in);
    sha1(bytes_of(in, sizeof in), whole[0]);
    sha256(bytes_of(in, sizeof in), whole[1]);
    for (size_t at = 0; at <= sizeof in; at++) {
        struct sha1_state s1, s1_copy;
        struct sha256_state s256, s256_copy;
        sha1_init(&s1);
        sha256_init(&s256);
        sha1_update(&s1, bytes_of(in, at));
        sha256_update(&s256, bytes_of(in, at));
        s1_copy = s1;
        s256_copy = s256;
        sha1_update(&s1, BYTES_LIT("something else"));
        sha256_update(&s256, BYTES_LIT("something else"));
        sha1_update(&s1_copy, bytes_of(in + at, sizeof in - at));
        sha256_update(&s256_copy, bytes_of(in + at, sizeof in - at));
        sha1_final(&s1_copy, out);
        assert_memory_equal(out, whole[0], SHA1_LEN);
        sha256_final(&s256_copy, out);
        assert_memory_equal(out, whole[1], SHA256_LEN);
    }
}

static void test_pair(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 16);
    for (int round = 0; round < 200; round++) {
        uint8_t in[64], want[SHA256_LEN], out[SHA256_LEN];
        rng_fill(&rng, in, sizeof in);
        sha256(bytes_of(in, sizeof in), want);
        sha256_pair(in, in + 32, out);
        assert_memory_equal(out, want, sizeof out);
        sha256_pair(in, in + 32, in); /* out may be one of the inputs */
        assert_memory_equal(in, want, sizeof out);
    }
}

/* RFC 4231, test cases 1, 2, 3, 6 and 7. */
static void test_hmac(void **state)
{
    (void)state;
    uint8_t key[131], data[50], out[SHA256_LEN];
    memset(key, 0x0b, 20);
    hmac_sha256(bytes_of(key, 20), BYTES_LIT("Hi There"), out);
    test_assert_hex(bytes_of(out, 32),
                    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(BYTES_LIT("Jefe"), BYTES_LIT("what do ya want for nothing?"), out);
    test_assert_hex(bytes_of(out, 32),
                    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    hmac_sha256(bytes_of(key, 20), bytes_of(data, sizeof data), out);
    test_assert_hex(bytes_of(out, 32),
                    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    hmac_sha256(bytes_of(key, sizeof key),
                BYTES_LIT("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    test_assert_hex(bytes_of(out, 32),
                    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha256(bytes_of(key, sizeof key),
                BYTES_LIT("This is a test using a larger than block-size key and a larger than "
                          "block-size data. The key needs to be hashed before being used by the "
                          "HMAC algorithm."),
                out);
    test_assert_hex(bytes_of(out, 32),
                    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_a_million_a),
        cmocka_unit_test(test_splits_and_copies),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_hmac),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
