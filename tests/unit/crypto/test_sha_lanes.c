/* Several messages at a time must be what one at a time is, at every length and number. */
#include "test_util.h"

#include "base/rng.h"
#include "crypto/sha_lanes.h"

#define N_MESSAGES 9
#define LEN_MAX    700

static uint8_t data[N_MESSAGES][LEN_MAX];

static void fill(void)
{
    struct rng rng;
    rng_init(&rng, 11);
    rng_fill(&rng, data, sizeof data);
}

/* lens[i] taken round: equal ones side by side, then a mixture. */
static void check_many(const size_t *lens, size_t n_lens)
{
    struct bytes in[N_MESSAGES];
    uint8_t got1[N_MESSAGES][SHA1_LEN], want1[SHA1_LEN];
    uint8_t got256[N_MESSAGES][SHA256_LEN], want256[SHA256_LEN];
    for (size_t i = 0; i < N_MESSAGES; i++)
        in[i] = bytes_of(data[i], lens[i % n_lens]);
    for (size_t n = 0; n <= N_MESSAGES; n++) {
        sha1_many(in, n, got1);
        sha256_many(in, n, got256);
        for (size_t i = 0; i < n; i++) {
            sha1(in[i], want1);
            sha256(in[i], want256);
            assert_memory_equal(got1[i], want1, SHA1_LEN);
            assert_memory_equal(got256[i], want256, SHA256_LEN);
        }
    }
}

static void test_every_length(void **state)
{
    (void)state;
    fill();
    for (size_t len = 0; len < 200; len++)
        check_many(&len, 1);
    static const size_t mixed[] = {64, 64, 64, 0, 1, 64, 700};
    check_many(mixed, COUNT_OF(mixed));
}

static void test_pairs_in_place(void **state)
{
    (void)state;
    uint8_t level[16][SHA256_LEN], want[8][SHA256_LEN];
    memcpy(level, data, sizeof level);
    for (size_t i = 0; i < 8; i++)
        sha256_pair(level[2 * i], level[2 * i + 1], want[i]);
    for (size_t n = 1; n <= 8; n++) {
        uint8_t copy[16][SHA256_LEN];
        memcpy(copy, level, sizeof copy);
        sha256_pairs((const uint8_t(*)[SHA256_LEN])copy, n, copy);
        assert_memory_equal(copy, want, n * SHA256_LEN);
    }
}

/* Streams that stand at any offset, continued together, end as if they had been alone. */
static void test_streams(void **state)
{
    (void)state;
    for (size_t first = 0; first < 130; first += 13) {
        for (size_t n = 1; n <= SHA_LANES_MAX; n++) {
            struct sha1_state s[SHA_LANES_MAX], *ps[SHA_LANES_MAX];
            const uint8_t *p[SHA_LANES_MAX];
            uint8_t got[SHA1_LEN], want[SHA1_LEN];
            for (size_t i = 0; i < n; i++) {
                sha1_init(&s[i]);
                sha1_update(&s[i], bytes_of(data[i], first));
                ps[i] = &s[i], p[i] = data[i] + first;
            }
            sha1_update_many(ps, p, n, LEN_MAX - first);
            for (size_t i = 0; i < n; i++) {
                sha1_final(&s[i], got);
                sha1(bytes_of(data[i], LEN_MAX), want);
                assert_memory_equal(got, want, SHA1_LEN);
            }
        }
    }
}

static void test_without_units(void **state)
{
    bool before = sha_lanes_set_off(true);
    assert_string_equal(sha_lanes_name(), "one message at a time");
    test_every_length(state);
    test_pairs_in_place(state);
    test_streams(state);
    sha_lanes_set_off(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_pairs_in_place),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_without_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
