#include "test_util.h"
#include "torrent/magnet.h"

#define V1_HEX "2e34989b1c60df821b2d046c884d8f4d1858b97a"
#define V1_B32 "FY2JRGY4MDPYEGZNARWIQTMPJUMFROL2"
#define V2_HEX "597b180c1a170a585dfc5e85d834d69013ceda174b8f357d5bb1a0ca509faf0a"
#define V1_XT  "xt=urn:btih:" V1_HEX
#define V2_XT  "xt=urn:btmh:1220" V2_HEX

static const struct {
    const char *link;
    enum err_code code;
} table[] = {
    {"magnet:?" V1_XT, ERR_OK},
    {"MAGNET:?XT=urn:btih:" V1_HEX, ERR_OK},
    {"magnet:?xt=urn:btih:" V1_B32, ERR_OK},
    {"magnet:?xt=urn%3Abtih%3A" V1_HEX, ERR_OK},
    {"magnet:?xt.1=urn:btih:" V1_HEX "&xt.2=urn:btmh:1220" V2_HEX, ERR_OK},
    {"magnet:?" V2_XT, ERR_OK},
    {"magnet:?" V1_XT "&" V2_XT, ERR_OK},
    {"magnet:?" V1_XT "&" V1_XT, ERR_OK},
    {"magnet:?" V1_XT "&&&=&x&so&dn", ERR_OK},
    {"magnet:?xt=urn:sha1:ABC&" V1_XT, ERR_OK}, /* other networks' hashes */
    {"magnet:?" V1_XT "&xt=urn:btih:" V1_B32, ERR_OK},
    {"magnet:", ERR_MALFORMED},
    {"magnet:?", ERR_MALFORMED},
    {"http://x", ERR_MALFORMED},
    {"", ERR_MALFORMED},
    {"magnet:?dn=only+a+name", ERR_MALFORMED},
    {"magnet:?xt=urn:btih:", ERR_MALFORMED},
    {"magnet:?xt=urn:btih:" V1_HEX "0", ERR_MALFORMED},
    {"magnet:?xt=urn:btih:zz34989b1c60df821b2d046c884d8f4d1858b97a", ERR_MALFORMED},
    {"magnet:?xt=urn:btih:1Y2JRGY4MDPYEGZNARWIQTMPJUMFROL2", ERR_MALFORMED}, /* no 1 in base32 */
    {"magnet:?xt=urn:btmh:" V2_HEX, ERR_MALFORMED},
    {"magnet:?xt=urn:btmh:1120" V2_HEX, ERR_MALFORMED}, /* another hash function */
    {"magnet:?xt=urn:btmh:1221" V2_HEX, ERR_MALFORMED},
    {"magnet:?" V1_XT "&xt=urn:btih:0000000000000000000000000000000000000000", ERR_MALFORMED},
    {"magnet:?" V1_XT "&dn=%4", ERR_MALFORMED},
    {"magnet:?" V1_XT "&dn=%zz", ERR_MALFORMED},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct mem mem;
        struct magnet m;
        struct err err = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        uint8_t *copy = test_exact_copy(bytes_of_str(table[i].link));
        enum err_code code = magnet_read(&m, bytes_of(copy, strlen(table[i].link)), &mem, &err);
        if (code != table[i].code)
            fail_msg("'%s': %s", table[i].link, code ? err.what : "accepted");
        if (!code && m.has_v1)
            test_assert_hex(bytes_of(m.infohash_v1, SHA1_LEN), V1_HEX);
        if (!code && m.has_v2)
            test_assert_hex(bytes_of(m.infohash_v2, SHA256_LEN), V2_HEX);
        magnet_clear(&m);
        free(copy);
        mem_check_empty(&mem);
    }
}

static const char full[] =
    "magnet:?" V1_XT "&" V2_XT "&dn=some%20name%26more&xl=12345"
    "&tr=http%3A%2F%2Fa.example%2Fannounce&tr.2=udp%3A%2F%2Fb.example%3A80"
    "&tr=http%3A%2F%2Fa.example%2Fannounce&ws=http://c.example/x"
    "&x.pe=1.2.3.4:5&x.pe=%5B%3A%3A1%5D:6&x.pe=host.example:7&x.pe=bad&x.pe=:8&x.pe=h:0"
    "&x.pe=h:99999&so=9,0,2,4,6-8,3,99-1,x&unknown=1";

static void check_full(const struct magnet *m)
{
    assert_true(m->has_v1 && m->has_v2);
    assert_string_equal(m->name, "some name&more");
    assert_int_equal(m->len, 12345);
    assert_int_equal(m->n_trackers, 2);
    assert_string_equal(m->trackers[0], "http://a.example/announce");
    assert_string_equal(m->trackers[1], "udp://b.example:80");
    assert_int_equal(m->n_webseeds, 1);
    assert_int_equal(m->n_peers, 3);
    assert_int_equal(m->peers[0].addr.family, ADDR_V4);
    assert_int_equal(m->peers[0].addr.port, 5);
    assert_int_equal(m->peers[1].addr.family, ADDR_V6);
    assert_int_equal(m->peers[2].addr.family, ADDR_NONE);
    assert_string_equal(m->peers[2].host, "host.example");
    assert_int_equal(m->peers[2].port, 7);
    assert_int_equal(m->n_ranges, 3); /* 0, 2-4, 6-9 */
    static const bool selected[] = {1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0};
    for (uint32_t i = 0; i < COUNT_OF(selected); i++)
        assert_int_equal(magnet_selects(m, i), selected[i]);
}

static void test_full(void **state)
{
    (void)state;
    struct mem mem;
    struct magnet m, copy;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(magnet_read(&m, bytes_of_str(full), &mem, &err), ERR_OK);
    check_full(&m);
    assert_int_equal(m.n_dropped, 1 + 4 + 2); /* a double, four peers, two ranges */
    assert_int_equal(magnet_copy(&copy, &m, &mem), ERR_OK);
    magnet_clear(&m);
    check_full(&copy);
    assert_int_equal(copy.n_dropped, 0);
    magnet_clear(&copy);
    mem_check_empty(&mem);
}

/* Each list has its end; what is beyond is counted. */
static void test_overfull(void **state)
{
    (void)state;
    struct mem mem;
    struct buf link;
    struct magnet m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&link, &mem, 1 << 20);
    buf_str(&link, "magnet:?" V1_XT);
    for (unsigned i = 0; i < 140; i++)
        buf_printf(&link, "&tr=http://h/%u&ws=http://h/%u&x.pe=1.2.3.4:%u", i, i, i + 1);
    buf_str(&link, "&so=");
    for (unsigned i = 0; i < 1200; i++)
        buf_printf(&link, "%u,", 3 * i);
    assert_int_equal(magnet_read(&m, buf_bytes(&link), &mem, &err), ERR_OK);
    assert_int_equal(m.n_trackers, MAGNET_N_TRACKERS_MAX);
    assert_int_equal(m.n_webseeds, MAGNET_N_WEBSEEDS_MAX);
    assert_int_equal(m.n_peers, MAGNET_N_PEERS_MAX);
    assert_int_equal(m.n_ranges, MAGNET_N_RANGES_MAX);
    assert_int_equal(m.n_dropped, 3 * 12 + 1200 - MAGNET_N_RANGES_MAX);
    magnet_clear(&m);
    while (link.len <= MAGNET_LEN_MAX)
        buf_str(&link, "&x=y");
    assert_int_equal(magnet_read(&m, buf_bytes(&link), &mem, &err), ERR_LIMIT);
    buf_clear(&link);
    /* a selection of everything stays one range */
    assert_int_equal(magnet_read(&m, BYTES_LIT("magnet:?" V1_XT "&so=0-4294967294"), &mem, &err),
                     ERR_OK);
    assert_int_equal(m.n_ranges, 1);
    assert_true(magnet_selects(&m, 4000000000u));
    magnet_clear(&m);
    mem_check_empty(&mem);
}

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct magnet m, copy;
    struct err err = {0};
    (void)ctx;
    enum err_code code = magnet_read(&m, bytes_of_str(full), mem, &err);
    if (code)
        return magnet_clear(&m), false;
    code = magnet_copy(&copy, &m, mem);
    magnet_clear(&m);
    magnet_clear(&copy);
    return code == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(run_sweep, NULL) > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_overfull),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
