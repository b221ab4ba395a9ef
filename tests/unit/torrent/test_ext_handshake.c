#include "test_util.h"
#include "torrent/ext_handshake.h"

static enum err_code read_str(const char *text, struct ext_peer *peer, struct err *err)
{
    uint8_t *exact = test_exact_copy(bytes_of_str(text));
    enum err_code code = ext_handshake_read(bytes_of(exact, strlen(text)), peer, err);
    free(exact);
    return code;
}

/* --- reading --------------------------------------------------------------------------------- */

static void test_everything(void **state)
{
    (void)state;
    struct ext_peer p;
    ext_peer_init(&p);
    assert_int_equal(p.reqq, EXT_REQQ_DEFAULT);
    assert_int_equal(read_str("d12:complete_agoi22934e4:ipv44:\x01\x02\x03\x04"
                              "1:md11:lt_donthavei7e12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee"
                              "13:metadata_sizei138876e1:pi6881e4:reqqi500e11:upload_onlyi1e"
                              "1:v9:shoal/0.16:yourip4:\x7f\x01\x01\x01"
                              "e",
                              &p, NULL),
                     ERR_OK);
    assert_int_equal(p.ids[EXT_METADATA], 2);
    assert_int_equal(p.ids[EXT_PEX], 1);
    assert_int_equal(p.ids[EXT_DONTHAVE], 7);
    assert_int_equal(p.metadata_size, 138876);
    assert_int_equal(p.port, 6881);
    assert_int_equal(p.reqq, 500);
    assert_true(p.is_upload_only);
    assert_true(p.has_complete_ago);
    assert_int_equal(p.complete_ago_s, 22934);
    test_assert_bytes(bytes_of(p.version, p.version_len), BYTES_LIT("shoal/0.1"));
    assert_int_equal(p.yourip.family, ADDR_V4);
    assert_memory_equal(p.yourip.ip, "\x7f\x01\x01\x01", 4);
    assert_int_equal(p.ipv4.family, ADDR_V4);
    assert_int_equal(p.ipv6.family, ADDR_NONE);
    assert_int_equal(p.n_read, 1);
    assert_int_equal(p.n_ignored, 0);
}

/* The example of BEP 10, "handshake message". */
static void test_bep_example(void **state)
{
    (void)state;
    struct ext_peer p;
    ext_peer_init(&p);
    assert_int_equal(
        read_str("d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e", &p,
                 NULL),
        ERR_OK);
    assert_int_equal(p.port, 6881);
    assert_int_equal(p.ids[EXT_METADATA], 0);
    assert_int_equal(p.ids[EXT_PEX], 0);
    test_assert_bytes(bytes_of(p.version, p.version_len), BYTES_LIT("\xc2\xb5Torrent 1.2"));
}

/* BEP 10: m is additive, 0 switches off, other keys keep what they said. */
static void test_again(void **state)
{
    (void)state;
    struct ext_peer p;
    ext_peer_init(&p);
    assert_int_equal(read_str("d1:md11:ut_metadatai2e6:ut_pexi1ee1:pi99e1:v1:xe", &p, NULL),
                     ERR_OK);
    assert_int_equal(read_str("d1:md6:ut_pexi0eee", &p, NULL), ERR_OK);
    assert_int_equal(p.ids[EXT_METADATA], 2);
    assert_int_equal(p.ids[EXT_PEX], 0);
    assert_int_equal(p.port, 99);
    assert_int_equal(p.version_len, 1);
    assert_int_equal(read_str("d1:md6:ut_pexi9ee11:upload_onlyi1ee", &p, NULL), ERR_OK);
    assert_int_equal(p.ids[EXT_PEX], 9);
    assert_true(p.is_upload_only);
    assert_int_equal(read_str("d11:upload_onlyi0ee", &p, NULL), ERR_OK);
    assert_false(p.is_upload_only);
    assert_int_equal(p.n_read, 4);
}

/* A key that cannot be used changes nothing but the count. */
static const char *const ignored[] = {
    "d1:pi0ee",
    "d1:pi65536ee",
    "d1:pi-1ee",
    "d1:p4:6881e",
    "d4:reqqi0ee",
    "d4:reqqi-5ee",
    "d13:metadata_sizei0ee",
    "d13:metadata_sizei-1ee",
    "d13:metadata_sizei10485761ee",
    "d13:metadata_sizei9223372036854775807ee",
    "d11:upload_only1:1e",
    "d12:complete_agoi-2ee",
    "d1:md6:ut_pexi256eee",
    "d1:md6:ut_pexi-1eee",
    "d1:md6:ut_pex1:1ee",
    "d6:yourip3:abce",
    "d6:yourip5:abcdee",
    "d4:ipv416:aaaaaaaaaaaaaaaae",
    "d4:ipv64:aaaae",
};

static void test_ignored(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ignored); i++) {
        struct ext_peer p, fresh;
        ext_peer_init(&p);
        ext_peer_init(&fresh);
        assert_int_equal(read_str(ignored[i], &p, NULL), ERR_OK);
        if (p.n_ignored != 1)
            fail_msg("%s", ignored[i]);
        p.n_ignored = p.n_read = 0;
        assert_memory_equal(&p, &fresh, sizeof p);
    }
}

static const char *const quiet[] = {"d12:complete_agoi-1ee",
                                    "de",
                                    "d1:mi5ee",
                                    "d1:m0:e",
                                    "d1:vi3ee",
                                    "d1:v0:e",
                                    "d1:x3:abce",
                                    "detrailing"};

static void test_quiet(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(quiet); i++) {
        struct ext_peer p, fresh;
        ext_peer_init(&p);
        ext_peer_init(&fresh);
        assert_int_equal(read_str(quiet[i], &p, NULL), ERR_OK);
        assert_int_equal(p.n_ignored, 0);
        p.n_read = 0;
        assert_memory_equal(&p, &fresh, sizeof p);
    }
}

static const char *const refused[] = {"",     "i1e",     "le",        "3:abc", "d",
                                      "d1:m", "d1:pi1e", "d1:pi01ee", "x"};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct ext_peer p, fresh;
        struct err err = {0};
        ext_peer_init(&p);
        ext_peer_init(&fresh);
        enum err_code code = read_str(refused[i], &p, &err);
        assert_true(code == ERR_MALFORMED || code == ERR_TRUNCATED);
        assert_int_equal(err.code, code);
        assert_memory_equal(&p, &fresh, sizeof p);
    }
}

/* A dictionary that ends early is TRUNCATED, wherever it ends. */
static void test_prefixes(void **state)
{
    (void)state;
    static const char whole[] = "d1:md6:ut_pexi1ee1:pi6881e1:v5:shoale";
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        struct ext_peer p;
        uint8_t *exact = test_exact_copy(bytes_of(whole, len));
        ext_peer_init(&p);
        assert_int_equal(ext_handshake_read(bytes_of(exact, len), &p, NULL), ERR_TRUNCATED);
        assert_int_equal(p.n_read, 0);
        free(exact);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct ext_peer p;
    char text[400];
    ext_peer_init(&p);
    assert_int_equal(read_str("d4:reqqi9999999999ee", &p, NULL), ERR_OK);
    assert_int_equal(p.reqq, EXT_REQQ_MAX);
    assert_int_equal(read_str("d13:metadata_sizei10485760ee", &p, NULL), ERR_OK);
    assert_int_equal(p.metadata_size, METADATA_LEN_MAX);
    snprintf(text, sizeof text, "d1:v300:%0300de", 0);
    assert_int_equal(read_str(text, &p, NULL), ERR_OK);
    assert_int_equal(p.version_len, EXT_VERSION_LEN_MAX);
    assert_int_equal(read_str("d6:yourip16:\x20\x01\x0d\xb8"
                              "aaaaaaaaaaaae",
                              &p, NULL),
                     ERR_OK);
    assert_int_equal(p.yourip.family, ADDR_V6);
    /* a hundred thousand names in m: refused by number, not by patience */
    size_t n = 120000;
    char *big = malloc(n + 16);
    assert_non_null(big);
    memcpy(big, "d1:ml", 5);
    memset(big + 5, 'l', n);
    assert_int_equal(ext_handshake_read(bytes_of(big, n), &p, NULL), ERR_LIMIT);
    free(big);
}

/* What qBittorrent 4.4 sent (from rqbit; the capture is not copied into the tree). */
static void test_capture(void **state)
{
    (void)state;
    char path[TEST_PATH_CAP];
    struct span file = test_read_file(
        test_source_path(path, "../shared/torrents/captures/extended-handshake.bin"));
    struct ext_peer p;
    if (!file.data)
        skip();
    ext_peer_init(&p);
    assert_true(file.len > 6);
    assert_int_equal(ext_handshake_read(bytes_of(file.data + 6, file.len - 6), &p, NULL), ERR_OK);
    assert_int_equal(p.ids[EXT_METADATA], 2);
    assert_int_equal(p.ids[EXT_PEX], 1);
    assert_int_equal(p.ids[EXT_DONTHAVE], 7);
    assert_int_equal(p.metadata_size, 138876);
    assert_int_equal(p.reqq, 500);
    assert_true(p.is_upload_only);
    assert_int_equal(p.complete_ago_s, 22934);
    assert_int_equal(p.port, 0);
    test_assert_bytes(bytes_of(p.version, p.version_len), BYTES_LIT("qBittorrent/4.4.0alpha1"));
    assert_int_equal(p.n_ignored, 0);
    free(file.data);
}

/* --- writing --------------------------------------------------------------------------------- */

static void test_golden(void **state)
{
    (void)state;
    uint8_t buf[EXT_HANDSHAKE_LEN_MAX];
    struct addr v4 = addr_v4(10, 0, 0, 1, 0), v6 = {.family = ADDR_V6, .ip = {0x20, 1}};
    struct ext_ours all = {.kinds = {true, true, true},
                           .version = "shoal/0.1.0",
                           .port = 6881,
                           .reqq = 500,
                           .metadata_size = 1234,
                           .is_upload_only = true,
                           .yourip = &v4};
    struct writer w = writer_init(buf, sizeof buf);
    ext_handshake_write(&w, &all);
    test_assert_bytes(writer_bytes(&w),
                      BYTES_LIT("d1:md11:lt_donthavei3e11:ut_metadatai1e6:ut_pexi2ee"
                                "13:metadata_sizei1234e1:pi6881e4:reqqi500e11:upload_onlyi1e"
                                "1:v11:shoal/0.1.06:yourip4:\x0a\x00\x00\x01"
                                "e"));
    struct ext_ours none = {0};
    w = writer_init(buf, sizeof buf);
    ext_handshake_write(&w, &none);
    test_assert_bytes(writer_bytes(&w), BYTES_LIT("d1:mdee"));
    all.version = "0123456789012345678901234567890123456789012345678901234567890123";
    all.metadata_size = METADATA_LEN_MAX;
    all.port = UINT16_MAX;
    all.reqq = UINT32_MAX;
    all.yourip = &v6;
    w = writer_init(buf, sizeof buf);
    ext_handshake_write(&w, &all);
    assert_int_equal(writer_end(&w), ERR_OK);
    struct ext_peer p;
    ext_peer_init(&p);
    assert_int_equal(ext_handshake_read(writer_bytes(&w), &p, NULL), ERR_OK);
    for (int kind = 0; kind < EXT_KIND_COUNT; kind++)
        assert_int_equal(ext_kind_of_id(p.ids[kind]), kind);
    assert_int_equal(p.port, UINT16_MAX);
    assert_int_equal(p.metadata_size, METADATA_LEN_MAX);
    assert_true(addr_ip_equal(&p.yourip, &v6));
}

static void test_ids(void **state)
{
    (void)state;
    assert_int_equal(ext_kind_of_id(EXT_ID_HANDSHAKE), EXT_KIND_COUNT);
    assert_int_equal(ext_kind_of_id(EXT_OUR_ID(EXT_PEX)), EXT_PEX);
    assert_int_equal(ext_kind_of_id(EXT_KIND_COUNT + 1), EXT_KIND_COUNT);
    assert_int_equal(ext_kind_of_id(255), EXT_KIND_COUNT);
}

static void test_donthave(void **state)
{
    (void)state;
    uint8_t buf[5] = {0};
    uint32_t piece;
    struct writer w = writer_init(buf, sizeof buf);
    donthave_write(&w, 0x01020304);
    test_assert_hex(writer_bytes(&w), "01020304");
    assert_int_equal(donthave_read(writer_bytes(&w), &piece, NULL), ERR_OK);
    assert_int_equal(piece, 0x01020304);
    for (size_t len = 0; len < 4; len++)
        assert_int_equal(donthave_read(bytes_of(buf, len), &piece, NULL), ERR_TRUNCATED);
    assert_int_equal(donthave_read(bytes_of(buf, 5), &piece, NULL), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything), cmocka_unit_test(test_bep_example),
        cmocka_unit_test(test_again),      cmocka_unit_test(test_ignored),
        cmocka_unit_test(test_quiet),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_capture),    cmocka_unit_test(test_golden),
        cmocka_unit_test(test_ids),        cmocka_unit_test(test_donthave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
