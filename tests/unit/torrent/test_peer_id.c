#include "test_util.h"
#include "torrent/peer_id.h"

static void test_make(void **state)
{
    (void)state;
    struct rng rng;
    uint8_t a[20], b[20];
    rng_init(&rng, 5);
    peer_id_make(a, &rng);
    peer_id_make(b, &rng);
    assert_memory_equal(a, "-SH0100-", 8);
    assert_memory_not_equal(a, b, 20);
    for (size_t i = 8; i < 20; i++)
        assert_true(strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", a[i]));
}

/* Styles of BEP 20, and ids seen from Debian 12's programs. */
static const struct {
    const char *id, *v, *name;
} names[] = {
    {"-TR3000-abcdefghijkl", "", "Transmission 3.00"},
    {"-TR2940-abcdefghijkl", "", "Transmission 2.94"},
    {"-TR4030-abcdefghijkl", "", "Transmission 4.0.3"},
    {"-LT2080-abcdefghijkl", "", "libtorrent 2.0.8"},
    {"-lt0D80-abcdefghijkl", "", "libTorrent (rTorrent) 0.13.8"},
    {"-qB4520-abcdefghijkl", "", "qBittorrent 4.5.2"},
    {"-SH0100-abcdefghijkl", "", "shoal 0.1.0"},
    {"-DE13F0-abcdefghijkl", "", "Deluge 1.3.15"},
    {"-UT3456-abcdefghijkl", "", "uTorrent 3.4.5.6"},
    {"A2-1-36-0-abcdefghij", "", "aria2 1.36.0"},
    {"M7-10-2--abcdefghijk", "", "BitTorrent 7.10.2"},
    {"M4-3-6--abcdefghijkl", "", "BitTorrent 4.3.6"},
    {"-TR3000-abcdefghijkl", "Transmission 3.00", "Transmission 3.00"},
    {"-TR3000-abcdefghijkl", "\xc2\xb5Torrent\n1", "\\xc2\\xb5Torrent\\x0a1"},
    {"-ZZ1234-abcdefghijkl", "", "-ZZ1234-abcdefghijkl"},
    {"-TR3\x01zz-abcdefghijkl", "", "Transmission"},
    {"Mabcdefghijklmnopqrs", "", "Mabcdefghijklmnopqrs"},
    {"M-------------------", "", "M-------------------"},
    {"exbc\x01\x02zzzzzzzzzzzzzz", "", "BitComet"},
};

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        uint8_t id[20];
        char out[PEER_CLIENT_CAP];
        memcpy(id, names[i].id, 20);
        assert_string_equal(peer_client_name(id, bytes_of_str(names[i].v), out, sizeof out),
                            names[i].name);
    }
}

/* Any id, any v, any room: terminated, printable. */
static void test_any(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t id[20], v[100];
        char out[PEER_CLIENT_CAP];
        size_t cap = 1 + rng_below(&rng, sizeof out);
        rng_fill(&rng, id, sizeof id);
        rng_fill(&rng, v, sizeof v);
        if (round % 3 == 0)
            memcpy(id, "-TR", 3);
        if (round % 3 == 1)
            memcpy(id, "M", 1);
        id[7] = round & 4 ? '-' : id[7];
        uint8_t *exact = test_exact_copy(bytes_of(id, sizeof id));
        peer_client_name(exact, bytes_of(v, round & 1 ? rng_below(&rng, 100) : 0), out, cap);
        free(exact);
        size_t len = strnlen(out, cap);
        assert_true(len < cap);
        for (size_t i = 0; i < len; i++)
            assert_true(out[i] >= ' ' && out[i] <= '~');
    }
    uint8_t zeros[20] = {0};
    char out[PEER_CLIENT_CAP];
    assert_string_equal(peer_client_name(zeros, (struct bytes){0}, out, sizeof out), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
