#include "base/rng.h"
#include "test_util.h"
#include "torrent/ut_pex.h"

static struct pex_peer v4(uint8_t last, uint8_t flags)
{
    return (struct pex_peer){addr_v4(10, 0, 0, last, 0x1ae1), flags};
}

static struct pex_peer v6(uint8_t last, uint8_t flags)
{
    struct pex_peer p = {.addr = {.family = ADDR_V6, .port = 0x1ae2}, .flags = flags};
    p.addr.ip[0] = 0x20;
    p.addr.ip[1] = 0x01;
    p.addr.ip[15] = last;
    return p;
}

static void test_golden(void **state)
{
    (void)state;
    uint8_t buf[400], want_buf[400];
    struct pex_peer added[] = {v4(1, PEX_SEED | PEX_OUTGOING), v6(2, PEX_UTP), v4(3, 0)};
    struct pex_peer dropped[] = {v6(4, 0), v4(5, 0)};
    struct writer w = writer_init(buf, sizeof buf), want = writer_init(want_buf, sizeof want_buf);
    ut_pex_write(&w, added, 3, dropped, 2);
    writer_str(&want, "d5:added12:");
    writer_put(&want, BYTES_LIT("\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x03\x1a\xe1"));
    writer_str(&want, "7:added.f2:");
    writer_put(&want, BYTES_LIT("\x12\x00"));
    writer_str(&want, "6:added618:");
    writer_put(&want, BYTES_LIT("\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x1a\xe2"));
    writer_str(&want, "8:added6.f1:");
    writer_put(&want, BYTES_LIT("\x04"));
    writer_str(&want, "7:dropped6:");
    writer_put(&want, BYTES_LIT("\x0a\x00\x00\x05\x1a\xe1"));
    writer_str(&want, "8:dropped618:");
    writer_put(&want, BYTES_LIT("\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\x1a\xe2"));
    writer_str(&want, "e");
    test_assert_bytes(writer_bytes(&w), writer_bytes(&want));
    w = writer_init(buf, sizeof buf);
    ut_pex_write(&w, NULL, 0, dropped + 1, 1);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("d7:dropped6:\x0a\x00\x00\x05\x1a\xe1"
                                                  "e"));
}

/* read(write(x)) is x, IPv4 before IPv6. */
static void test_round_trip(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 2);
    for (unsigned round = 0; round < 200; round++) {
        struct pex_peer added[50], dropped[50];
        uint8_t buf[UT_PEX_LEN_MAX(50, 50)];
        struct ut_pex_msg m;
        size_t n_added = rng_below(&rng, 51), n_dropped = rng_below(&rng, 51), at = 0;
        for (size_t i = 0; i < n_added; i++)
            added[i] = rng_below(&rng, 2) ? v4((uint8_t)i, (uint8_t)rng_u64(&rng))
                                          : v6((uint8_t)i, (uint8_t)rng_u64(&rng));
        for (size_t i = 0; i < n_dropped; i++)
            dropped[i] = rng_below(&rng, 2) ? v4((uint8_t)i, 0) : v6((uint8_t)i, 0);
        struct writer w = writer_init(buf, sizeof buf);
        ut_pex_write(&w, added, n_added, dropped, n_dropped);
        assert_int_equal(writer_end(&w), ERR_OK);
        assert_int_equal(ut_pex_read(writer_bytes(&w), &m, NULL), ERR_OK);
        assert_int_equal(ut_pex_n_added(&m), n_added);
        assert_int_equal(ut_pex_n_dropped(&m), n_dropped);
        for (enum addr_family family = ADDR_V4; family <= ADDR_V6; family += 2)
            for (size_t i = 0; i < n_added; i++) {
                if (added[i].addr.family != family)
                    continue;
                struct pex_peer got = ut_pex_added(&m, at++);
                assert_true(addr_equal(&got.addr, &added[i].addr));
                assert_int_equal(got.flags, added[i].flags);
            }
        assert_int_equal(at, n_added);
    }
}

static const struct {
    const char *text;
    enum err_code code;
} refused[] = {
    {"", ERR_TRUNCATED},
    {"d5:added6:123", ERR_TRUNCATED},
    {"le", ERR_MALFORMED},
    {"i1e", ERR_MALFORMED},
    {"d5:added5:12345e", ERR_MALFORMED},
    {"d5:added7:1234567e", ERR_MALFORMED},
    {"d6:added66:123456e", ERR_MALFORMED},
    {"d7:dropped1:1e", ERR_MALFORMED},
    {"d8:dropped617:12345678901234567e", ERR_MALFORMED},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct ut_pex_msg m;
        struct err err = {0};
        assert_int_equal(ut_pex_read(bytes_of_str(refused[i].text), &m, &err), refused[i].code);
        assert_int_equal(err.code, refused[i].code);
    }
}

/* A dictionary that ends early is TRUNCATED, wherever it ends. */
static void test_prefixes(void **state)
{
    (void)state;
    struct bytes whole = BYTES_LIT("d5:added6:abcdef7:added.f1:x7:dropped6:abcdefe");
    for (size_t len = 0; len < whole.len; len++) {
        struct ut_pex_msg m;
        uint8_t *exact = test_exact_copy(bytes_sub(whole, 0, len));
        assert_int_equal(ut_pex_read(bytes_of(exact, len), &m, NULL), ERR_TRUNCATED);
        free(exact);
    }
}

/* Missing, short and long flags; keys of another type; keys nobody knows. */
static void test_tolerant(void **state)
{
    (void)state;
    struct ut_pex_msg m;
    assert_int_equal(ut_pex_read(BYTES_LIT("d5:added12:abcdefghijkl7:added.f1:\x02"
                                           "e"),
                                 &m, NULL),
                     ERR_OK);
    assert_int_equal(ut_pex_n_added(&m), 2);
    assert_int_equal(ut_pex_added(&m, 0).flags, 2);
    assert_int_equal(ut_pex_added(&m, 1).flags, 0);
    assert_int_equal(ut_pex_read(BYTES_LIT("d5:addedi5e7:added.f3:abce"), &m, NULL), ERR_OK);
    assert_int_equal(ut_pex_n_added(&m), 0);
    assert_int_equal(ut_pex_read(BYTES_LIT("d1:xi1ee"), &m, NULL), ERR_OK);
    assert_int_equal(ut_pex_n_dropped(&m), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_tolerant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
