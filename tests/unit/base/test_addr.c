#include "base/addr.h"
#include "base/rng.h"
#include "test_util.h"

/* Texts and their canonical form (RFC 4291, section 2.2; RFC 5952, section 4); NULL: refused. */
static const struct {
    const char *text, *want;
} texts[] = {
    {"1.2.3.4", "1.2.3.4:9"},
    {"255.255.255.255:65535", "255.255.255.255:65535"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"::", "[::]:9"},
    {"::1", "[::1]:9"},
    {"[::1]", "[::1]:9"},
    {"[::1]:80", "[::1]:80"},
    {"1::", "[1::]:9"},
    {"2001:DB8::8:800:200C:417A", "[2001:db8::8:800:200c:417a]:9"},
    {"2001:db8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:9"},
    {"2001:0:0:1:0:0:0:1", "[2001:0:0:1::1]:9"},
    {"2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:9"},
    {"1:2:3:4:5:6:7::", "[1:2:3:4:5:6:7:0]:9"},
    {"::2:3:4:5:6:7:8", "[0:2:3:4:5:6:7:8]:9"},
    {"64:ff9b::1.2.3.4", "[64:ff9b::102:304]:9"},
    {"1:2:3:4:5:6:1.2.3.4", "[1:2:3:4:5:6:102:304]:9"},
    {"::ffff:1.2.3.4", "1.2.3.4:9"},
    {"[::ffff:102:304]:5", "1.2.3.4:5"},
    {"", NULL},
    {"1", NULL},
    {"1.2.3", NULL},
    {"1.2.3.", NULL},
    {"1.2.3.4.5", NULL},
    {"1.2.3.256", NULL},
    {"01.2.3.4", NULL},
    {"1.2.3.4:", NULL},
    {"1.2.3.4:65536", NULL},
    {"1.2.3.4:99999999999999999999", NULL},
    {"1.2.3.4 ", NULL},
    {" 1.2.3.4", NULL},
    {"[1.2.3.4]:5", NULL},
    {":", NULL},
    {":::", NULL},
    {"1:2", NULL},
    {":1::2", NULL},
    {"1::2:", NULL},
    {"1:::2", NULL},
    {"1::2::3", NULL},
    {"1:2:3:4:5:6:7", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"1:2:3:4:5:6:7:8::", NULL},
    {"::1:2:3:4:5:6:7:8", NULL},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL},
    {"::1.2.3.4:5", NULL},
    {"12345::", NULL},
    {"::g", NULL},
    {"fe80::1%eth0", NULL},
    {"[::1", NULL},
    {"[::1]80", NULL},
    {"[::1]:", NULL},
    {"::1]", NULL},
    {"[]", NULL},
    {"localhost:80", NULL},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct addr a, again;
        char out[ADDR_TEXT_CAP];
        struct bytes text = bytes_of_str(texts[i].text);
        uint8_t *exact = test_exact_copy(text);
        enum err_code code = addr_parse(bytes_of(exact, text.len), 9, &a);
        free(exact);
        if ((code == ERR_OK) != (texts[i].want != NULL))
            fail_msg("\"%s\": %s", texts[i].text, err_code_name(code));
        if (code)
            continue;
        assert_string_equal(addr_format(&a, out), texts[i].want);
        assert_int_equal(addr_parse(bytes_of_str(out), 1, &again), ERR_OK);
        assert_true(addr_equal(&a, &again));
        assert_int_equal(addr_parse(bytes_of_str(addr_format_ip(&a, out)), a.port, &again), ERR_OK);
        assert_true(addr_equal(&a, &again));
    }
    char out[ADDR_TEXT_CAP];
    assert_string_equal(addr_format(&(struct addr){0}, out), "none");
}

static struct addr random_addr(struct rng *rng)
{
    struct addr a = {.family = rng_below(rng, 2) ? ADDR_V6 : ADDR_V4};
    rng_fill(rng, a.ip, a.family == ADDR_V4 ? 4 : 16);
    for (size_t i = 0; i < 8 && a.family == ADDR_V6; i++)
        if (rng_below(rng, 2))
            memset(a.ip + 2 * i, 0, 2);
    a.ip[0] |= 1; /* never an IPv4-mapped one */
    a.port = (uint16_t)rng_u64(rng);
    return a;
}

static void test_round_trips(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 14);
    for (int round = 0; round < 20000; round++) {
        struct addr a = random_addr(&rng), b;
        char text[ADDR_TEXT_CAP];
        uint8_t wire[ADDR_COMPACT6_LEN];
        assert_int_equal(addr_parse(bytes_of_str(addr_format(&a, text)), 0, &b), ERR_OK);
        assert_true(addr_equal(&a, &b));
        struct writer w = writer_init(wire, sizeof wire);
        addr_write(&w, &a);
        struct reader r = reader_init(writer_bytes(&w));
        (a.family == ADDR_V4 ? addr_read_v4 : addr_read_v6)(&r, &b);
        assert_int_equal(reader_end(&r), ERR_OK);
        assert_true(addr_equal(&a, &b));
        r = reader_init(bytes_of(wire, w.pos - 1));
        (a.family == ADDR_V4 ? addr_read_v4 : addr_read_v6)(&r, &b);
        assert_int_equal(reader_end(&r), ERR_TRUNCATED);
    }
}

static void test_mapped_is_folded(void **state)
{
    (void)state;
    struct addr a, want = addr_v4(1, 2, 3, 4, 0x0506);
    uint8_t buf[18], key[2][ADDR_KEY_LEN];
    struct reader r =
        reader_init(test_hex("00000000000000000000ffff01020304 0506", buf, sizeof buf));
    addr_read_v6(&r, &a);
    assert_int_equal(reader_end(&r), ERR_OK);
    assert_true(addr_equal(&a, &want));
    addr_key(&a, key[0]);
    addr_key(&want, key[1]);
    assert_memory_equal(key[0], key[1], ADDR_KEY_LEN);
    test_assert_hex(bytes_of(key[0], ADDR_KEY_LEN), "04010203040000000000000000000000000506");
}

static struct addr parsed(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(bytes_of_str(text), 80, &a), ERR_OK);
    return a;
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_loopback, is_local, is_dialable;
    } rows[] = {
        {"127.0.0.1", true, true, true},
        {"127.9.9.9", true, true, true},
        {"128.0.0.1", false, false, true},
        {"10.255.0.1", false, true, true},
        {"172.15.0.1", false, false, true},
        {"172.16.0.1", false, true, true},
        {"172.31.0.1", false, true, true},
        {"172.32.0.1", false, false, true},
        {"192.168.0.1", false, true, true},
        {"192.169.0.1", false, false, true},
        {"169.254.1.1", false, true, true},
        {"0.0.0.0", false, false, false},
        {"224.0.0.1", false, false, false},
        {"239.255.255.255", false, false, false},
        {"255.255.255.255", false, false, false},
        {"1.2.3.4:0", false, false, false},
        {"::1", true, true, true},
        {"::", false, false, false},
        {"::2", false, false, true},
        {"fe80::1", false, true, true},
        {"febf::1", false, true, true},
        {"fec0::1", false, false, true},
        {"fc00::1", false, true, true},
        {"fdff::1", false, true, true},
        {"ff02::1", false, false, false},
        {"2001:db8::1", false, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct addr a = parsed(rows[i].text);
        if (addr_is_loopback(&a) != rows[i].is_loopback || addr_is_local(&a) != rows[i].is_local ||
            addr_is_dialable(&a) != rows[i].is_dialable)
            fail_msg("%s", rows[i].text);
    }
    struct addr none = {.port = 80};
    assert_false(addr_is_loopback(&none) || addr_is_local(&none) || addr_is_dialable(&none));
}

static void test_order(void **state)
{
    (void)state;
    static const char *const sorted[] = {"1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5", "9.0.0.0:1",
                                         "[::1]:5",   "[::1]:6",   "[1::]:1"};
    for (size_t i = 0; i < COUNT_OF(sorted); i++) {
        for (size_t j = 0; j < COUNT_OF(sorted); j++) {
            struct addr a = parsed(sorted[i]), b = parsed(sorted[j]);
            assert_int_equal(addr_compare(&a, &b), i < j ? -1 : i > j);
            assert_int_equal(addr_equal(&a, &b), i == j);
        }
    }
}

static uint32_t priority(const char *a_text, const char *b_text)
{
    struct addr a = parsed(a_text), b = parsed(b_text);
    uint32_t p = addr_peer_priority(&a, &b);
    assert_int_equal(addr_peer_priority(&b, &a), p);
    return p;
}

static void test_peer_priority(void **state)
{
    (void)state;
    uint8_t buf[32];
    /* BEP 40, "Examples" */
    assert_int_equal(priority("123.213.32.10", "98.76.54.32"), 0xec2d7224);
    assert_int_equal(priority("123.213.32.10", "123.213.32.234"), 0x99568189);
    /* BEP 40, "Overview": in one /16 the mask is ff.ff.ff.55 */
    assert_int_equal(priority("1.2.3.255", "1.2.4.255"),
                     crc32c(test_hex("01020355 01020455", buf, sizeof buf)));
    /* the same address: ports, sorted */
    assert_int_equal(priority("1.2.3.4:258", "1.2.3.4:2"),
                     crc32c(test_hex("0002 0102", buf, sizeof buf)));
    assert_int_equal(priority("2001:db8:1::ffff", "2001:db8:2::ffff"),
                     crc32c(test_hex("20010db80001 00000000000000005555"
                                     "20010db80002 00000000000000005555",
                                     buf, sizeof buf)));
    assert_int_equal(priority("2001:db8:1:ff::1", "2001:db8:1:1ff::1"), /* one /48 */
                     crc32c(test_hex("20010db8000100550000000000000001"
                                     "20010db8000101550000000000000001",
                                     buf, sizeof buf)));
    assert_int_equal(priority("2001:db8:1:fe:ff::", "2001:db8:1:ff:ff::"), /* one /56 */
                     crc32c(test_hex("20010db8000100fe0055000000000000"
                                     "20010db8000100ff0055000000000000",
                                     buf, sizeof buf)));
    assert_int_not_equal(priority("1.2.3.4", "2001:db8::1"), priority("1.2.3.5", "2001:db8::1"));
}

/* RFC 3720, appendix B.4, and every split of the eight-bytes-at-a-time loop. */
static void test_crc32c(void **state)
{
    (void)state;
    uint8_t buf[32] = {0};
    assert_int_equal(crc32c(bytes_of(buf, 32)), 0x8a9136aa);
    memset(buf, 0xff, 32);
    assert_int_equal(crc32c(bytes_of(buf, 32)), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        buf[i] = i;
    assert_int_equal(crc32c(bytes_of(buf, 32)), 0x46dd794e);
    assert_int_equal(crc32c(BYTES_LIT("123456789")), 0xe3069283);
    assert_int_equal(crc32c((struct bytes){0}), 0);
    for (size_t len = 0; len <= 32; len++) { /* bit by bit */
        uint32_t crc = ~0u;
        for (size_t i = 0; i < len; i++) {
            crc ^= buf[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
        assert_int_equal(crc32c(bytes_of(buf, len)), ~crc);
        assert_int_equal(crc32c_portable(bytes_of(buf, len)), ~crc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_mapped_is_folded),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_peer_priority),
        cmocka_unit_test(test_crc32c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
