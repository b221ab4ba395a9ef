/* Replies: the forms of BEP 3 (dictionaries), 23 and 7 (compact), 24, 31, 48. */
#include "test_util.h"
#include "torrent/tracker_http.h"

/* --- request URLs ---------------------------------------------------------------------------- */

static struct tracker_announce announce(void)
{
    struct tracker_announce a = {.downloaded = 1,
                                 .uploaded = 2,
                                 .left = 3,
                                 .corrupt = 4,
                                 .key = 0xabc,
                                 .numwant = 50,
                                 .port = 6881,
                                 .event = TRACKER_EVENT_STARTED};
    static const uint8_t hash[20] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1, 0x23, 0x45,
                                     0x67, 0x89, 0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x9a};
    memcpy(a.infohash, hash, 20);
    memcpy(a.peer_id, "-SH0100-~._-xxxxxxx ", 20);
    return a;
}

/* The hash is the example of the wiki.theory.org specification, "URL-encoded". */
#define HASH "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A"
#define PARAMS                                                                                     \
    HASH "&peer_id=-SH0100-~._-xxxxxxx%20&port=6881&uploaded=2&downloaded=1&left=3&corrupt=4"      \
         "&key=00000ABC"
#define TAIL "&compact=1&no_peer_id=1"

static void expect_url(const char *url, const struct tracker_announce *a,
                       const struct tracker_http_options *options, const char *want)
{
    char out[TRACKER_HTTP_URL_MAX];
    struct writer w = writer_init(out, sizeof out);
    assert_int_equal(tracker_http_announce_url(bytes_of_str(url), a, options, &w), ERR_OK);
    assert_string_equal(out, want);
}

static void test_announce_url(void **state)
{
    (void)state;
    struct tracker_http_options none = {0};
    struct tracker_announce a = announce();
    expect_url("http://t/announce", &a, &none,
               "http://t/announce?" PARAMS "&event=started&numwant=50" TAIL);
    expect_url("http://t/announce?passkey=a%20b", &a, &none,
               "http://t/announce?passkey=a%20b&" PARAMS "&event=started&numwant=50" TAIL);
    expect_url("http://t/announce?x#part", &a, &none,
               "http://t/announce?x&" PARAMS "&event=started&numwant=50" TAIL);
    expect_url("http://t/\xc3\xa4 b", &a, &none,
               "http://t/%C3%A4%20b?" PARAMS "&event=started&numwant=50" TAIL);
    static const char *const events[] = {"", "&event=completed", "&event=started", "&event=stopped",
                                         "&event=paused"};
    for (unsigned e = 0; e < COUNT_OF(events); e++) {
        char want[600];
        a.event = (enum tracker_event)e;
        a.numwant = TRACKER_NUMWANT_DEFAULT;
        snprintf(want, sizeof want, "%s%s%s", "http://t?" PARAMS, events[e], TAIL);
        expect_url("http://t", &a, &none, want);
    }
}

static void test_announce_url_options(void **state)
{
    (void)state;
    struct tracker_announce a = announce();
    struct addr v4 = addr_v4(1, 2, 3, 4, 5), v6;
    assert_int_equal(addr_parse(BYTES_LIT("[2001:db8::1]:6"), 0, &v6), ERR_OK);
    struct tracker_http_options options = {
        .ip = "1.2.3.4", .ipv4 = &v4, .ipv6 = &v6, .tracker_id = BYTES_LIT("a&b")};
    expect_url("http://t/", &a, &options,
               "http://t/?" PARAMS "&event=started&numwant=50" TAIL
               "&ip=1.2.3.4&ipv4=1.2.3.4&ipv6=2001%3Adb8%3A%3A1&trackerid=a%26b");
}

static void test_url_without_room(void **state)
{
    (void)state;
    struct tracker_announce a = announce();
    struct tracker_http_options none = {0};
    char out[400];
    for (size_t cap = 0; cap < 200; cap++) {
        struct writer w = writer_init(out, cap);
        assert_int_equal(tracker_http_announce_url(BYTES_LIT("http://t/"), &a, &none, &w),
                         ERR_LIMIT);
    }
}

static void test_scrape_url(void **state)
{
    static const struct {
        const char *url, *want; /* source: BEP 48, "Scrape convention" has the same cases */
    } cases[] = {
        {"http://example.com/announce", "http://example.com/scrape?" HASH},
        {"http://example.com/x/announce", "http://example.com/x/scrape?" HASH},
        {"http://example.com/announce.php", "http://example.com/scrape.php?" HASH},
        {"http://example.com/announce?x2%0644", "http://example.com/scrape?x2%0644&" HASH},
        {"http://example.com/announce?x=2/4", "http://example.com/scrape?x=2/4&" HASH},
        {"http://example.com/a", NULL},
        {"http://example.com/x%064announce", NULL},
        {"http://example.com/announce/x", NULL},
        {"http://announce", "http://scrape?" HASH}, /* odd, and harmless */
        {"", NULL},
    };
    (void)state;
    struct tracker_announce a = announce();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[500];
        struct writer w = writer_init(out, sizeof out);
        enum err_code code = tracker_http_scrape_url(bytes_of_str(cases[i].url),
                                                     (const uint8_t(*)[20])a.infohash, 1, &w);
        assert_int_equal(code, cases[i].want ? ERR_OK : ERR_UNSUPPORTED);
        if (cases[i].want)
            assert_string_equal(out, cases[i].want);
    }
    uint8_t hashes[2][20];
    char out[500];
    struct writer w = writer_init(out, sizeof out);
    memset(hashes, 'a', sizeof hashes);
    assert_int_equal(tracker_http_scrape_url(BYTES_LIT("http://t/announce"),
                                             (const uint8_t(*)[20])hashes, 2, &w),
                     ERR_OK);
    assert_string_equal(out, "http://t/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa"
                             "&info_hash=aaaaaaaaaaaaaaaaaaaa");
}

/* --- replies --------------------------------------------------------------------------------- */

struct fixture {
    struct mem mem;
    struct addr peers[8];
    struct tracker_reply reply;
    struct err err;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){0};
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    f->reply.peers = f->peers;
    f->reply.peers_cap = COUNT_OF(f->peers);
}

static enum err_code read_bytes(struct fixture *f, struct bytes body)
{
    uint8_t *exact = test_exact_copy(body);
    enum err_code code =
        tracker_http_read_reply(bytes_of(exact, body.len), &f->mem, &f->reply, &f->err);
    free(exact);
    mem_check_empty(&f->mem);
    return code;
}

#define READ(f, lit) read_bytes(f, bytes_of(lit, sizeof(lit) - 1))

static void test_compact_reply(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(READ(&f, "d8:completei5e10:downloadedi7e11:external ip4:\x01\x02\x03\x04"
                              "10:incompletei6e8:intervali900e12:min intervali300e"
                              "5:peers12:\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x00\x50"
                              "6:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                              "\x00\x00\x01\x00\x51"
                              "10:tracker id3:a&b15:warning message5:be\x01goe"),
                     ERR_OK);
    assert_int_equal(f.reply.n_peers, 3);
    char text[ADDR_TEXT_CAP];
    assert_string_equal(addr_format(&f.reply.peers[0], text), "10.0.0.1:6881");
    assert_string_equal(addr_format(&f.reply.peers[1], text), "10.0.0.2:80");
    assert_string_equal(addr_format(&f.reply.peers[2], text), "[2001:db8::1]:81");
    assert_string_equal(addr_format_ip(&f.reply.external, text), "1.2.3.4");
    assert_int_equal(f.reply.counts.n_seeders, 5);
    assert_int_equal(f.reply.counts.n_leechers, 6);
    assert_int_equal(f.reply.counts.n_completed, 7);
    assert_int_equal(f.reply.interval_s, 900);
    assert_int_equal(f.reply.min_interval_s, 300);
    assert_int_equal(f.reply.tracker_id_len, 3);
    assert_string_equal(f.reply.warning, "be\\x01go");
    assert_false(f.reply.is_failure);
}

static void test_dictionary_reply(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(READ(&f, "d8:intervali900e5:peersl"
                              "d2:ip8:10.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee"
                              "d2:ip11:2001:db8::14:porti1ee"
                              "d2:ip11:example.com4:porti1ee" /* a name: dropped */
                              "d2:ip8:10.0.0.14:porti0ee"
                              "d2:ip8:10.0.0.14:porti65536ee"
                              "d2:ip7:0.0.0.04:porti6881eeee"),
                     ERR_OK);
    assert_int_equal(f.reply.n_peers, 2);
    assert_int_equal(f.reply.n_peers_dropped, 4);
    assert_int_equal(f.reply.counts.n_seeders, TRACKER_COUNT_UNKNOWN);
}

static void test_failures(void **state)
{
    static const struct {
        const char *body, *text;
        uint32_t retry_in_s;
    } cases[] = {
        {"d14:failure reason4:noooe", "nooo", 0},
        {"d14:failure reason2:no8:retry ini5ee", "no", 300}, /* BEP 31: minutes */
        {"d14:failure reason2:no8:retry in5:nevere", "no", TRACKER_RETRY_NEVER},
        {"d14:failure reason2:no8:retry in3:notee", NULL, 0},
        {"d14:failure reason2:no8:retry in3:note", "no", 0},
        {"d14:failure reason2:no8:retry ini-5ee", "no", 0},
        {"d14:failure reason2:no8:retry ini9999999999999eee", NULL, 0},
        {"d14:failure reason2:no8:retry ini9999999999999ee", "no", TRACKER_INTERVAL_S_MAX},
        {"d14:failure reasoni5ee", "", 0}, /* of the wrong type: a failure all the same */
    };
    (void)state;
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum err_code code = read_bytes(&f, bytes_of_str(cases[i].body));
        if (!cases[i].text) /* bytes after the end are the parser's affair: either way no crash */
            continue;
        assert_int_equal(code, ERR_OK);
        assert_true(f.reply.is_failure);
        assert_string_equal(f.reply.failure, cases[i].text);
        assert_int_equal(f.reply.retry_in_s, cases[i].retry_in_s);
    }
}

static void test_intervals_are_clamped(void **state)
{
    static const struct {
        const char *body;
        uint32_t interval_s, min_interval_s;
    } cases[] = {
        {"de", TRACKER_INTERVAL_S, 0},
        {"d8:intervali0ee", TRACKER_INTERVAL_S, 0},
        {"d8:intervali-1ee", TRACKER_INTERVAL_S, 0},
        {"d8:interval3:900e", TRACKER_INTERVAL_S, 0},
        {"d8:intervali1ee", TRACKER_INTERVAL_S_MIN, 0},
        {"d8:intervali9223372036854775807ee", TRACKER_INTERVAL_S_MAX, 0},
        {"d8:intervali900e12:min intervali1ee", 900, TRACKER_INTERVAL_S_MIN},
        {"d12:min intervali99999999ee", TRACKER_INTERVAL_S, TRACKER_INTERVAL_S_MAX},
    };
    (void)state;
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(read_bytes(&f, bytes_of_str(cases[i].body)), ERR_OK);
        assert_int_equal(f.reply.interval_s, cases[i].interval_s);
        assert_int_equal(f.reply.min_interval_s, cases[i].min_interval_s);
    }
}

static void test_malformed(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "le",
        "i5e",
        "d",
        "d5:peersi5ee",
        "d5:peersdee",
        "d5:peers5:12345e",
        "d5:peers7:1234567e",
        "d5:peerslee5",
        "d5:peersli5eee",
        "d5:peersld2:ip8:10.0.0.1eee",
        "d6:peers6lee",
        "d6:peers617:12345678901234567e",
        "llllllllllllllllllllleeeeeeeeeeeeeeeeeeeee",
    };
    (void)state;
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        enum err_code code = read_bytes(&f, bytes_of_str(bodies[i]));
        if (strcmp(bodies[i], "d5:peerslee5") == 0) /* what follows the value is not looked at */
            assert_int_equal(code, ERR_OK);
        else
            assert_int_not_equal(code, ERR_OK);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    static const char body[] = "d8:completei5e8:intervali900e12:min intervali300e"
                               "5:peers12:\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x00\x50"
                               "10:tracker id3:a&be";
    (void)state;
    struct fixture f;
    begin(&f);
    for (size_t len = 0; len < sizeof body - 1; len++)
        assert_int_equal(read_bytes(&f, bytes_of(body, len)), ERR_TRUNCATED);
    assert_int_equal(read_bytes(&f, bytes_of(body, sizeof body - 1)), ERR_OK);
}

static void test_peers_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    static uint8_t body[64 + 6 * 1000];
    struct writer w = writer_init(body, sizeof body);
    begin(&f);
    writer_str(&w, "d5:peers6000:");
    for (unsigned i = 0; i < 1000; i++) {
        writer_u32be(&w, 0x0a000001 + i);
        writer_u16be(&w, 80);
    }
    writer_u8(&w, 'e');
    assert_int_equal(read_bytes(&f, writer_bytes(&w)), ERR_OK);
    assert_int_equal(f.reply.n_peers, COUNT_OF(f.peers));
    assert_int_equal(f.reply.n_peers_dropped, 1000 - COUNT_OF(f.peers));
}

static void test_long_tracker_id_is_ignored(void **state)
{
    (void)state;
    struct fixture f;
    char body[400];
    begin(&f);
    snprintf(body, sizeof body, "d10:tracker id%u:%*se", TRACKER_ID_CAP + 1,
             (int)TRACKER_ID_CAP + 1, "x");
    assert_int_equal(read_bytes(&f, bytes_of_str(body)), ERR_OK);
    assert_int_equal(f.reply.tracker_id_len, 0);
}

static void test_scrape_reply(void **state)
{
    (void)state;
    struct fixture f;
    struct tracker_scrape s[2];
    uint8_t hashes[2][20];
    begin(&f);
    memset(hashes[0], 'a', 20);
    memset(hashes[1], 'b', 20);
    assert_int_equal(tracker_http_read_scrape(
                         BYTES_LIT("d5:filesd20:bbbbbbbbbbbbbbbbbbbbd8:completei1e10:downloadedi2e"
                                   "10:incompletei3ee20:ccccccccccccccccccccdeee"),
                         &f.mem, (const uint8_t(*)[20])hashes, 2, s, &f.err),
                     ERR_OK);
    assert_int_equal(s[0].n_seeders, TRACKER_COUNT_UNKNOWN);
    assert_int_equal(s[1].n_seeders, 1);
    assert_int_equal(s[1].n_completed, 2);
    assert_int_equal(s[1].n_leechers, 3);
    assert_int_equal(tracker_http_read_scrape(BYTES_LIT("d14:failure reason2:noe"), &f.mem,
                                              (const uint8_t(*)[20])hashes, 2, s, &f.err),
                     ERR_PROTOCOL);
    assert_int_equal(tracker_http_read_scrape(BYTES_LIT("d5:filesi1ee"), &f.mem,
                                              (const uint8_t(*)[20])hashes, 2, s, &f.err),
                     ERR_MALFORMED);
    mem_check_empty(&f.mem);
}

static bool run_once(struct mem *mem, void *ctx)
{
    struct fixture *f = ctx;
    return tracker_http_read_reply(BYTES_LIT("d5:peersld2:ip8:10.0.0.14:porti6881eeee"), mem,
                                   &f->reply, &f->err) == ERR_OK;
}

static void test_memory_failures(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_true(test_fail_sweep(run_once, &f) > 0);
}

/* --- announce URLs --------------------------------------------------------------------------- */

static void test_url_parse(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
        enum tracker_scheme scheme;
        const char *host;
        uint16_t port;
        const char *path;
        bool is_ip;
    } cases[] = {
        {"http://a.b/announce", ERR_OK, TRACKER_HTTP, "a.b", 80, "/announce", false},
        {"HTTPS://a", ERR_OK, TRACKER_HTTPS, "a", 443, "", false},
        {"http://a:8080?x=1", ERR_OK, TRACKER_HTTP, "a", 8080, "?x=1", false},
        {"http://u:p@a:81/x@y", ERR_OK, TRACKER_HTTP, "a", 81, "/x@y", false},
        {"http://u@b@a:81/x", ERR_OK, TRACKER_HTTP, "a", 81, "/x", false},
        {"http://u@b@127.0.0.1/x", ERR_OK, TRACKER_HTTP, "127.0.0.1", 80, "/x", true},
        {"http://a?announce", ERR_OK, TRACKER_HTTP, "a", 80, "?announce", false},
        {"http://a\\@b/x", ERR_OK, TRACKER_HTTP, "b", 80, "/x", false},
        {"http://a\\b/x", ERR_MALFORMED, TRACKER_SCHEME_NONE, NULL, 0, NULL, false},
        {"http://\xe2\x91\xa0.example/x", ERR_MALFORMED, TRACKER_SCHEME_NONE, NULL, 0, NULL, false},
        {"http://a b/x", ERR_MALFORMED, TRACKER_SCHEME_NONE, NULL, 0, NULL, false},
        {"udp://a:1/dir?a=b&c=d#e", ERR_OK, TRACKER_UDP, "a", 1, "/dir?a=b&c=d", false},
        {"udp://1.2.3.4:65535", ERR_OK, TRACKER_UDP, "1.2.3.4", 65535, "", true},
        {"http://[2001:db8::1]/x", ERR_OK, TRACKER_HTTP, "2001:db8::1", 80, "/x", true},
        {"http://[::1]:5/x", ERR_OK, TRACKER_HTTP, "::1", 5, "/x", true},
        {"http://a:/x", ERR_OK, TRACKER_HTTP, "a", 80, "/x", false},
        {"udp://a", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"udp://a:0", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"udp://a:65536", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"udp://a:99999999999999999999", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"udp://a:+1", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"http://", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"http://:80/", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"http://[::1", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"http://[::1]x", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"http://a/\r\nHost: b", ERR_MALFORMED, 0, NULL, 0, NULL, false},
        {"ftp://a/", ERR_UNSUPPORTED, 0, NULL, 0, NULL, false},
        {"a", ERR_UNSUPPORTED, 0, NULL, 0, NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tracker_url url;
        struct err err;
        uint8_t *exact = test_exact_copy(bytes_of_str(cases[i].text));
        struct bytes text = bytes_of(exact, strlen(cases[i].text));
        assert_int_equal(tracker_url_parse(text, &url, &err), cases[i].code);
        if (cases[i].code == ERR_OK) {
            assert_int_equal(url.scheme, cases[i].scheme);
            assert_true(bytes_equal_str(url.host, cases[i].host));
            assert_int_equal(url.port, cases[i].port);
            assert_true(bytes_equal_str(url.path, cases[i].path));
            assert_int_equal(url.is_ip, cases[i].is_ip);
            assert_true(!url.is_ip || url.ip.port == url.port);
        }
        free(exact);
    }
    static uint8_t text[TRACKER_URL_MAX + 1];
    struct tracker_url url;
    memset(text, 'x', sizeof text);
    memcpy(text, "http://", 7);
    assert_int_equal(tracker_url_parse(bytes_of(text, TRACKER_URL_MAX), &url, NULL), ERR_OK);
    assert_int_equal(tracker_url_parse(bytes_of(text, sizeof text), &url, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announce_url),      cmocka_unit_test(test_announce_url_options),
        cmocka_unit_test(test_url_without_room),  cmocka_unit_test(test_scrape_url),
        cmocka_unit_test(test_compact_reply),     cmocka_unit_test(test_dictionary_reply),
        cmocka_unit_test(test_failures),          cmocka_unit_test(test_intervals_are_clamped),
        cmocka_unit_test(test_malformed),         cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_peers_are_bounded), cmocka_unit_test(test_long_tracker_id_is_ignored),
        cmocka_unit_test(test_scrape_reply),      cmocka_unit_test(test_memory_failures),
        cmocka_unit_test(test_url_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
