#include "../../test_util.h"
#include "base/rng.h"
#include "crypto/sha256d.h"
#include "crypto/sha_lanes.h"

#define DATA_LEN 20000u
#define N_MAX    40u

static void sha256d_plain(struct bytes in, uint8_t out[SHA256_LEN])
{
    sha256(in, out);
    sha256(bytes_of(out, SHA256_LEN), out);
}

static void assert_many(const struct bytes *in, size_t n)
{
    uint8_t got[N_MAX][SHA256_LEN], want[SHA256_LEN];
    sha256d_many(in, n, got);
    for (size_t i = 0; i < n; i++) {
        sha256d_plain(in[i], want);
        assert_memory_equal(got[i], want, SHA256_LEN);
    }
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
}

static void test_known(void **state)
{
    (void)state;
    uint8_t out[SHA256_LEN];
    sha256d(BYTES_LIT("hello"), out); /* source: python3 hashlib, twice */
    test_assert_hex(bytes_of(out, sizeof out),
                    "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50");
}

/* Every length around the padding's edges, in every place beside every other. */
static void check_lengths(void)
{
    uint8_t data[400];
    struct bytes in[3];
    fill(data, sizeof data);
    for (size_t a = 0; a <= 130; a++) {
        in[0] = bytes_of(data, a);
        assert_many(in, 1);
        for (size_t b = 0; b <= 130; b += 1 + b / 3) {
            in[1] = bytes_of(data + 1, b);
            in[2] = bytes_of(data + 2, (a * 7 + b) % 300);
            assert_many(in, 2);
            assert_many(in, 3);
        }
    }
}

static void check_random(void)
{
    static uint8_t data[DATA_LEN];
    struct bytes in[N_MAX];
    struct rng rng;
    rng_init(&rng, 7);
    fill(data, sizeof data);
    for (size_t round = 0; round < 200; round++) {
        size_t n = rng_below(&rng, N_MAX + 1);
        for (size_t i = 0; i < n; i++)
            in[i] = bytes_of(data + rng_below(&rng, 64),
                             rng_below(&rng, round % 4 ? 600 : DATA_LEN - 64));
        assert_many(in, n);
    }
}

static void check_alike(void)
{
    uint8_t data[N_MAX * 80], got[N_MAX][SHA256_LEN], want[SHA256_LEN];
    fill(data, sizeof data);
    for (size_t n = 0; n <= N_MAX; n++) {
        sha256d_headers(data, n, got);
        for (size_t i = 0; i < n; i++) {
            sha256d_plain(bytes_of(data + i * 80, 80), want);
            assert_memory_equal(got[i], want, SHA256_LEN);
        }
    }
    for (size_t n = 0; n <= N_MAX / 2; n++) {
        uint8_t level[N_MAX][SHA256_LEN], before[N_MAX][SHA256_LEN];
        memcpy(level, data, sizeof level);
        memcpy(before, data, sizeof before);
        sha256d_pairs(level[0], n, level); /* in place */
        for (size_t i = 0; i < n; i++) {
            sha256d_plain(bytes_of(before[2 * i], 64), want);
            assert_memory_equal(level[i], want, SHA256_LEN);
        }
    }
}

static void check_all(void)
{
    check_lengths();
    check_random();
    check_alike();
}

static void test_with_lanes(void **state)
{
    (void)state;
    check_all();
}

static void test_without_lanes(void **state)
{
    (void)state;
    bool before = sha_lanes_set_off(true);
    check_all();
    sha_lanes_set_off(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_with_lanes),
        cmocka_unit_test(test_without_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
