#include "base/siphash.h"
#include "test_util.h"

/* Key 00 01 ... 0f, message 00 01 ... of each length: Aumasson and Bernstein, appendix A for 15
 * bytes, their reference code's vectors.h for the others. */
#define K0 0x0706050403020100u
#define K1 0x0f0e0d0c0b0a0908u
static const struct {
    size_t len;
    uint64_t hash;
} vectors_24[] = {
    {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
    {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}, {16, 0x3f2acc7f57c29bdb},
};

static void test_24(void **state)
{
    (void)state;
    uint8_t message[16];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    for (size_t i = 0; i < COUNT_OF(vectors_24); i++)
        assert_true(siphash_24(K0, K1, bytes_of(message, vectors_24[i].len)) == vectors_24[i].hash);
}

/* Cut into three anywhere it is the same message. */
static void test_24_split(void **state)
{
    (void)state;
    uint8_t message[40];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 7);
    struct bytes all = bytes_of(message, sizeof message);
    uint64_t want = siphash_24(1, 2, all);
    for (size_t i = 0; i <= all.len; i++) {
        for (size_t j = i; j <= all.len; j++) {
            struct siphash s;
            siphash_24_init(&s, 1, 2);
            siphash_24_add(&s, bytes_sub(all, 0, i));
            siphash_24_add(&s, bytes_sub(all, i, j - i));
            siphash_24_add(&s, bytes_sub(all, j, all.len));
            assert_true(siphash_24_end(&s) == want);
            assert_true(siphash_24_end(&s) == want); /* asking changes nothing */
        }
    }
}

/* Bitcoin Core, src/test/data/siphash.json. */
static void test_13uj(void **state)
{
    (void)state;
    struct siphash_13uj s;
    siphash_13uj_init(&s, 0, 0);
    assert_true(siphash_13uj_end(&s) == 0x74fdd8982aa99156);
    siphash_13uj_init(&s, K0, K1);
    assert_true(siphash_13uj_end(&s) == 0xfeee657d7e331ac3);
    siphash_13uj_word(&s, 0);
    assert_true(siphash_13uj_end(&s) == 0x6a74cba00ddbfeba);
    uint8_t block[32];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(0x10 + i);
    siphash_13uj_init(&s, K0, K1);
    siphash_13uj_jumbo(&s, block);
    siphash_13uj_word(&s, 0x2726252423222120);
    assert_true(siphash_13uj_end(&s) == 0xcdcd25f7a2ba32c5);
}

/* A word is a jumbo block that ends in zeros. */
static void test_13uj_word(void **state)
{
    (void)state;
    struct siphash_13uj a, b;
    uint8_t block[32] = {1, 2, 3, 4, 5, 6, 7, 8};
    siphash_13uj_init(&a, 5, 6);
    siphash_13uj_init(&b, 5, 6);
    siphash_13uj_word(&a, siphash_load(block));
    siphash_13uj_jumbo(&b, block);
    assert_true(siphash_13uj_end(&a) == siphash_13uj_end(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_24),
        cmocka_unit_test(test_24_split),
        cmocka_unit_test(test_13uj),
        cmocka_unit_test(test_13uj_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
