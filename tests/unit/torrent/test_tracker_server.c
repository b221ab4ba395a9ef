/* Layouts of BEP 15 and 41, replies of BEP 3, 7, 21, 23, 24, 48. */
#include "test_util.h"
#include "torrent/bencode.h"
#include "torrent/tracker_server.h"

#define S UINT64_C(1000000)
#define A "info_hash=aaaaaaaaaaaaaaaaaaaa&"
#define B "info_hash=bbbbbbbbbbbbbbbbbbbb&"

struct fixture {
    struct mem mem;
    struct tracker_server *s;
    uint64_t now_us;
    struct addr from;
    uint8_t body[TRACKER_SERVER_HTTP_CAP + 1];
    size_t body_len;
    uint8_t reply[TRACKER_SERVER_UDP_CAP];
    size_t reply_len;
};

static void begin(struct fixture *f, const struct tracker_server_config *config)
{
    static const struct tracker_server_config defaults = {.secret = {1, 2, 3}};
    *f = (struct fixture){.now_us = 1000 * S, .from = addr_v4(10, 0, 0, 1, 50000)};
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(tracker_server_new(&f->s, &f->mem, config ? config : &defaults, f->now_us, 1),
                     ERR_OK);
}

static void end(struct fixture *f)
{
    tracker_server_check(f->s);
    tracker_server_free(f->s);
    mem_check_empty(&f->mem);
}

static uint64_t counter(struct fixture *f, enum tracker_server_counter which)
{
    struct tracker_server_stats stats;
    tracker_server_stats(f->s, &stats);
    return stats.counters[which];
}

static const char *http(struct fixture *f, const char *path, const char *query)
{
    struct writer w = writer_init(f->body, TRACKER_SERVER_HTTP_CAP);
    uint8_t *exact = test_exact_copy(bytes_of_str(query));
    uint32_t status = tracker_server_http(f->s, f->now_us, bytes_of_str(path),
                                          bytes_of(exact, strlen(query)), &f->from, &w);
    free(exact);
    f->body_len = w.pos;
    f->body[f->body_len] = 0;
    assert_true(status == 200 || status == 404 || status == 414);
    /* Whatever is said is canonical bencode. */
    struct bencode doc;
    assert_int_equal(bencode_parse(&doc, bytes_of(f->body, f->body_len), &f->mem, NULL, NULL),
                     ERR_OK);
    assert_int_equal(doc.used_len, f->body_len);
    assert_int_equal(bencode_check_keys(bencode_root(&doc), true, &f->mem, NULL), ERR_OK);
    bencode_clear(&doc);
    return (const char *)f->body;
}

static void expect_body(struct fixture *f, const void *want, size_t len)
{
    assert_int_equal(f->body_len, len);
    assert_memory_equal(f->body, want, len);
}
/* Anywhere in the body, which may hold zeros. */
static void expect_inside(struct fixture *f, const char *want)
{
    assert_non_null(memmem(f->body, f->body_len, want, strlen(want)));
}
#define EXPECT(f, lit) expect_body(f, lit, sizeof(lit) - 1)

static void from_host(struct fixture *f, uint8_t host)
{
    f->from.ip[3] = host;
}

static void from_v6(struct fixture *f)
{
    assert_int_equal(addr_parse(BYTES_LIT("2001:db8::1"), 50000, &f->from), ERR_OK);
}

/* --- HTTP ------------------------------------------------------------------------------------ */

static void test_http_announce(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    http(&f, "/announce",
         A "port=6881&left=0&peer_id=%2dSH0100-000000000000&uploaded=0&event=started");
    EXPECT(&f, "d8:completei1e10:downloadedi0e11:external ip4:\x0a\x00\x00\x01"
               "10:incompletei0e8:intervali1800e12:min intervali60e5:peers0:e");
    from_host(&f, 2);
    http(&f, "/announce", A "port=80&left=5");
    EXPECT(&f, "d8:completei1e10:downloadedi0e11:external ip4:\x0a\x00\x00\x02"
               "10:incompletei1e8:intervali1800e12:min intervali60e5:peers6:\x0a\x00\x00\x01\x1a"
               "\xe1"
               "e");
    http(&f, "/announce", A "port=80&left=0&event=completed&compact=0&numwant=7");
    expect_inside(&f, "downloadedi1e");
    from_host(&f, 3);
    http(&f, "/announce", A "port=80&compact=0&numwant=1000000000000");
    expect_inside(&f, "5:peersld2:ip8:10.0.0.");
    expect_inside(&f, "4:porti6881ee");
    http(&f, "/announce", A "port=80&left=9&numwant=0");
    assert_non_null(memmem(f.body, f.body_len, "5:peers0:", 9));
    http(&f, "/announce", A "port=80&left=9&event=stopped");
    assert_non_null(memmem(f.body, f.body_len, "incompletei0e", 13));
    assert_int_equal(counter(&f, TRACKER_SERVER_HTTP_ANNOUNCES), 6);
    end(&f);
}

static void test_families_are_kept_apart(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    http(&f, "/announce", A "port=6881&left=1");
    from_v6(&f);
    http(&f, "/announce", A "port=6882&left=1");
    assert_non_null(memmem(f.body, f.body_len, "5:peers0:6:peers60:e", 20));
    f.from.ip[15] = 2;
    http(&f, "/announce", A "port=6883&left=1&compact=1");
    assert_non_null(memmem(f.body, f.body_len,
                           "5:peers0:6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe2"
                           "e",
                           39));
    http(&f, "/announce", A "port=6883&left=1&compact=0");
    expect_inside(&f, "5:peersld2:ip11:2001:db8::14:porti6882eeee");
    http(&f, "/scrape", A);
    expect_inside(&f, "incompletei3e");
    end(&f);
}

static void test_http_refusals(void **state)
{
    static const struct {
        const char *query;
        enum tracker_server_counter counter;
    } cases[] = {
        {"", TRACKER_SERVER_INFOHASH_MISSING},
        {"port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {"info_hash=&port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {"info_hash=aaaaaaaaaaaaaaaaaaa&port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {"info_hash=aaaaaaaaaaaaaaaaaaaaa&port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {"info_hash=aaaaaaaaaaaaaaaaaaa%6&port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {"info_hash=aaaaaaaaaaaaaaaaaaa%zz&port=1", TRACKER_SERVER_INFOHASH_MISSING},
        {A, TRACKER_SERVER_PORT_MISSING},
        {A "port=65536", TRACKER_SERVER_PORT_MISSING},
        {A "port=", TRACKER_SERVER_QUERY_MALFORMED},
        {A "port=-1", TRACKER_SERVER_QUERY_MALFORMED},
        {A "port=99999999999999999999999", TRACKER_SERVER_QUERY_MALFORMED},
        {A "port=1&left=x", TRACKER_SERVER_QUERY_MALFORMED},
        {A "port=1&peer_id=abc", TRACKER_SERVER_PEER_ID_BAD},
    };
    (void)state;
    struct fixture f;
    struct tracker_server_stats stats;
    begin(&f, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t before = counter(&f, cases[i].counter);
        http(&f, "/announce", cases[i].query);
        expect_inside(&f, "d14:failure reason");
        assert_int_equal(counter(&f, cases[i].counter), before + 1);
    }
    http(&f, "/", A "port=1");
    assert_int_equal(counter(&f, TRACKER_SERVER_HTTP_PATH_UNKNOWN), 1);
    static char query[TRACKER_SERVER_QUERY_MAX + 2];
    memset(query, '&', sizeof query - 1);
    http(&f, "/announce", query);
    assert_int_equal(counter(&f, TRACKER_SERVER_QUERY_TOO_LONG), 1);
    tracker_server_stats(f.s, &stats);
    assert_int_equal(stats.n_swarms, 0);
    end(&f);
}

static void test_odd_queries_are_fine(void **state)
{
    static const char *const queries[] = {
        A "port=1&numwant=-1",
        A "port=1&&&x&=&=y&left",
        "port=1&" A "key=%%%",
        A "port=1&event=paused",
        A "port=1&event=&compact=&numwant=",
        A "port=1&ip=%00",
        A "port=1&ip=example.com",
        /* the wiki's example of an encoded hash */
        "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&port=1",
    };
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        const char *query = queries[i];
        if (strstr(query, "&left")) { /* no number after left: refused, and harmless */
            http(&f, "/announce", query);
            continue;
        }
        http(&f, "/announce", query);
        expect_inside(&f, "interval");
    }
    end(&f);
}

static void test_port_zero_is_not_listed(void **state)
{
    (void)state;
    struct fixture f;
    struct tracker_server_stats stats;
    begin(&f, NULL);
    http(&f, "/announce", A "port=1");
    from_host(&f, 2);
    http(&f, "/announce", A "port=0");
    assert_non_null(memmem(f.body, f.body_len, "5:peers6:", 9));
    tracker_server_stats(f.s, &stats);
    assert_int_equal(stats.n_peers_v4, 1);
    assert_int_equal(stats.counters[TRACKER_SERVER_PORT_ZERO], 1);
    end(&f);
}

static void test_ip_parameter(void **state)
{
    (void)state;
    for (unsigned trusts = 0; trusts < 2; trusts++) {
        struct fixture f;
        struct tracker_server_config config = {.trusts_ip_parameter = trusts};
        begin(&f, &config);
        http(&f, "/announce", A "port=1&left=0&ip=8.8.8.8"); /* asked from 10.0.0.1: local */
        from_host(&f, 2);
        http(&f, "/announce", A "port=1");
        assert_non_null(memmem(f.body, f.body_len,
                               trusts ? "6:\x08\x08\x08\x08\0\x01" : "6:\x0a\0\0\x01\0\x01", 8));
        f.from = addr_v4(9, 9, 9, 9, 1); /* not local: never believed */
        http(&f, "/announce", A "port=1&ip=8.8.4.4");
        assert_non_null(memmem(f.body, f.body_len, "external ip4:\x09\x09\x09\x09", 17));
        http(&f, "/announce", A "port=1&ip=9.9.9.9"); /* says the same: nothing to ignore */
        assert_int_equal(counter(&f, TRACKER_SERVER_IP_PARAMETER_IGNORED), trusts ? 1 : 2);
        end(&f);
    }
}

static void test_http_scrape(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    http(&f, "/announce", B "port=1&left=0");
    from_host(&f, 2);
    http(&f, "/announce", B "port=1&left=1&event=paused");
    from_host(&f, 3);
    http(&f, "/announce", B "port=1&left=1");
    http(&f, "/scrape", B "x=y&" A B "z"); /* sorted, each once */
    EXPECT(&f, "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei0e10:downloadedi0e11:downloadersi0e"
               "10:incompletei0ee20:bbbbbbbbbbbbbbbbbbbbd8:completei1e10:downloadedi0e"
               "11:downloadersi1e10:incompletei2eee5:flagsd20:min_request_intervali60eee");
    http(&f, "/scrape", "");
    assert_int_equal(counter(&f, TRACKER_SERVER_FULL_SCRAPE_REFUSED), 1);
    static char query[8000];
    for (unsigned i = 0; i < 100; i++)
        snprintf(query + strlen(query), 64, "info_hash=aaaaaaaaaaaaaaaaaa%02u&", i);
    http(&f, "/scrape", query);
    assert_int_equal(counter(&f, TRACKER_SERVER_SCRAPE_CUT), 1);
    end(&f);
}

/* The largest replies fit the room that the header promises. */
static void test_largest_replies(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        for (unsigned i = 0; i < 300; i++) {
            char query[100];
            if (v6)
                assert_int_equal(
                    addr_parse(BYTES_LIT("2001:db8:1111:2222:3333:4444:5555:6666"), 1, &f.from),
                    ERR_OK);
            snprintf(query, sizeof query, A "port=%u&compact=0&numwant=300", 60000 + i);
            http(&f, "/announce", query);
        }
        assert_true(f.body_len > 200 * 20 && f.body_len < TRACKER_SERVER_HTTP_CAP / 2);
    }
    end(&f);
}

/* --- the allow-list -------------------------------------------------------------------------- */

static void test_allow_list(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    struct tracker_server_stats stats;
    begin(&f, NULL);
    http(&f, "/announce", A "port=1");
    http(&f, "/announce", B "port=1");
    /* a as a v1 hash, b as the first 20 bytes of a v2 hash (0x62...) */
    assert_int_equal(
        tracker_server_set_allow_list(
            f.s,
            BYTES_LIT("# ours\r\n\n  6161616161616161616161616161616161616161 \r\n"
                      "6262626262626262626262626262626262626262000102030405060708090a0b"),
            &err),
        ERR_OK);
    tracker_server_stats(f.s, &stats);
    assert_int_equal(stats.n_allowed, 2);
    assert_int_equal(stats.n_swarms, 2);
    http(&f, "/announce", "info_hash=cccccccccccccccccccc&port=1");
    expect_inside(&f, "failure reason");
    http(&f, "/scrape", "info_hash=cccccccccccccccccccc");
    expect_inside(&f, "d5:filesde5:flags");
    assert_int_equal(counter(&f, TRACKER_SERVER_NOT_ALLOWED), 2);
    assert_int_equal(tracker_server_set_allow_list(
                         f.s, BYTES_LIT("6161616161616161616161616161616161616161"), &err),
                     ERR_OK);
    tracker_server_stats(f.s, &stats);
    assert_int_equal(stats.n_swarms, 1); /* b went with the list */
    static const char *const bad[] = {"616161", "zz61616161616161616161616161616161616161",
                                      "6161616161616161616161616161616161616161 x"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[200];
        snprintf(text, sizeof text, "\n#\n%s\n", bad[i]);
        assert_int_equal(tracker_server_set_allow_list(f.s, bytes_of_str(text), &err),
                         ERR_MALFORMED);
        assert_int_equal(err.at, 3);
    }
    http(&f, "/announce", A "port=1"); /* the list before is in force */
    expect_inside(&f, "interval");
    assert_int_equal(tracker_server_set_allow_list(f.s, (struct bytes){0}, &err), ERR_OK);
    http(&f, "/announce", A "port=1"); /* an empty list allows nothing */
    expect_inside(&f, "failure reason");
    end(&f);
}

/* --- UDP ------------------------------------------------------------------------------------- */

static size_t udp(struct fixture *f, struct bytes packet)
{
    uint8_t *exact = test_exact_copy(packet);
    f->reply_len =
        tracker_server_udp(f->s, f->now_us, &f->from, bytes_of(exact, packet.len), f->reply);
    free(exact);
    return f->reply_len;
}

static uint64_t udp_connect(struct fixture *f)
{
    uint8_t packet[16];
    udp(f, test_hex("0000041727101980 00000000 01020304", packet, sizeof packet));
    assert_int_equal(f->reply_len, 16);
    assert_memory_equal(f->reply, "\0\0\0\0\x01\x02\x03\x04", 8);
    struct reader r = reader_init(bytes_of(f->reply + 8, 8));
    return reader_u64be(&r);
}

struct announce {
    uint64_t id, left;
    uint32_t event, numwant;
    uint16_t port;
    struct bytes options;
};

static size_t udp_announce(struct fixture *f, const struct announce *a)
{
    uint8_t packet[300];
    struct writer w = writer_init(packet, sizeof packet);
    writer_u64be(&w, a->id);
    writer_u32be(&w, 1);
    writer_u32be(&w, 0xcafe);
    writer_fill(&w, 'a', 20);
    writer_fill(&w, 'p', 20);
    writer_u64be(&w, 0);
    writer_u64be(&w, a->left);
    writer_u64be(&w, 0);
    writer_u32be(&w, a->event);
    writer_u32be(&w, 0x08080808); /* an address of his choice: not looked at */
    writer_u32be(&w, 0);
    writer_u32be(&w, a->numwant);
    writer_u16be(&w, a->port);
    assert_int_equal(w.pos, 98);
    writer_put(&w, a->options);
    return udp(f, writer_bytes(&w));
}

static void test_udp_announce(void **state)
{
    (void)state;
    struct fixture f;
    struct tracker_server_config config = {.interval_s = 900};
    begin(&f, &config);
    struct announce a = {.id = udp_connect(&f), .event = 2, .numwant = UINT32_MAX, .port = 6881};
    udp_announce(&f, &a);
    test_assert_hex(bytes_of(f.reply, f.reply_len), "000000010000cafe000003840000000000000001");
    from_host(&f, 2);
    a.id = udp_connect(&f);
    a.left = 1;
    udp_announce(&f, &a);
    test_assert_hex(bytes_of(f.reply, f.reply_len),
                    "000000010000cafe0000038400000001000000010a0000011ae1");
    a.left = 0;
    a.event = 1;
    udp_announce(&f, &a);
    http(&f, "/scrape", A);
    expect_inside(&f, "completei2e10:downloadedi1e");
    a.event = 3;
    udp_announce(&f, &a);
    test_assert_hex(bytes_of(f.reply, f.reply_len), "000000010000cafe000003840000000000000001");
    from_v6(&f);
    a.id = udp_connect(&f);
    a.event = 0;
    udp_announce(&f, &a);
    f.from.ip[15] = 9;
    a.id = udp_connect(&f);
    a.left = 5;
    udp_announce(&f, &a);
    test_assert_hex(bytes_of(f.reply, f.reply_len), "000000010000cafe000003840000000100000001"
                                                    "20010db80000000000000000000000011ae1");
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_ANNOUNCES), 6);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_CONNECTS), 4);
    end(&f);
}

static void test_udp_ids(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    struct announce a = {.id = udp_connect(&f), .port = 1};
    f.from.port++; /* an address translator may change it */
    udp_announce(&f, &a);
    assert_int_equal(f.reply[3], 1);
    f.now_us += 120 * S; /* BEP 15: two minutes after it was sent */
    udp_announce(&f, &a);
    assert_int_equal(f.reply[3], 1);
    f.now_us += 121 * S;
    udp_announce(&f, &a);
    assert_int_equal(f.reply[3], 3);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_ID_WRONG), 1);
    a.id = udp_connect(&f);
    from_host(&f, 2); /* another's id */
    udp_announce(&f, &a);
    assert_int_equal(f.reply[3], 3);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_ID_WRONG), 2);
    end(&f);
}

/* Replies to one whose address is not known to be his are not longer than what he sent. */
static void test_udp_does_not_amplify(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t packet[200] = {0};
    begin(&f, NULL);
    for (size_t len = 0; len <= sizeof packet; len++) {
        for (uint8_t action = 0; action < 5; action++) {
            packet[11] = action;
            assert_true(udp(&f, bytes_of(packet, len)) <= len);
        }
    }
    memcpy(packet, "\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0", 12);
    for (size_t len = 0; len < 16; len++)
        assert_int_equal(udp(&f, bytes_of(packet, len)), 0);
    assert_int_equal(udp(&f, bytes_of(packet, 16)), 16);
    end(&f);
}

static void test_udp_refusals(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t packet[98] = {0};
    begin(&f, NULL);
    uint64_t id = udp_connect(&f);
    struct writer w = writer_init(packet, 8);
    writer_u64be(&w, id);
    for (size_t len = 0; len < 98; len++) { /* each prefix of an announce */
        packet[11] = 1;
        assert_int_equal(udp(&f, bytes_of(packet, len)), 0);
    }
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_TOO_SHORT), 98);
    packet[11] = 2;
    assert_int_equal(udp(&f, bytes_of(packet, 35)), 0);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_TOO_SHORT), 99);
    packet[11] = 3;
    assert_int_equal(udp(&f, bytes_of(packet, 98)), 0);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_ACTION_UNKNOWN), 1);
    packet[11] = 0;
    assert_int_equal(udp(&f, bytes_of(packet, 98)), 0);
    assert_int_equal(counter(&f, TRACKER_SERVER_UDP_MAGIC_WRONG), 1);
    assert_int_equal(tracker_server_set_allow_list(f.s, (struct bytes){0}, NULL), ERR_OK);
    struct announce a = {.id = id, .port = 1};
    udp_announce(&f, &a);
    assert_int_equal(f.reply[3], 3);
    assert_int_equal(counter(&f, TRACKER_SERVER_NOT_ALLOWED), 1);
    end(&f);
}

static void test_udp_options(void **state)
{
    static const struct {
        const char *name, *hex;
        bool is_malformed;
    } cases[] = {
        {"BEP 41, first example", "020c2f6469723f613d6226633d64", false},
        {"BEP 41, second example", "020c2f6469723f613d6226633d64010100", false},
        {"BEP 41, third example", "0200", false},
        {"end of options, then anything", "00ffffff", false},
        {"unknown option", "7f03010203", false},
        {"no length", "02", true},
        {"longer than the packet", "02ff00", true},
    };
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    struct announce a = {.id = udp_connect(&f), .port = 1};
    uint64_t n_malformed = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t options[64];
        a.options = test_hex(cases[i].hex, options, sizeof options);
        assert_int_equal(udp_announce(&f, &a), 20); /* answered in any case */
        n_malformed += cases[i].is_malformed;
        assert_int_equal(counter(&f, TRACKER_SERVER_UDP_OPTION_MALFORMED), n_malformed);
    }
    end(&f);
}

static void test_udp_scrape(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t packet[16 + 20 * 100];
    begin(&f, NULL);
    http(&f, "/announce", B "port=1&left=0");
    for (size_t n = 1; n <= 100; n += 33) {
        struct writer w = writer_init(packet, sizeof packet);
        writer_u64be(&w, udp_connect(&f));
        writer_u32be(&w, 2);
        writer_u32be(&w, 7);
        for (size_t i = 0; i < n; i++)
            writer_fill(&w, i == 0 ? 'b' : 'a', 20);
        udp(&f, writer_bytes(&w));
        assert_int_equal(f.reply_len, 8 + 12 * (n < 74 ? n : 74));
        test_assert_hex(bytes_of(f.reply, 20), "0000000200000007000000010000000000000000");
    }
    assert_int_equal(counter(&f, TRACKER_SERVER_SCRAPE_CUT), 1);
    end(&f);
}

static void test_udp_replies_fit_a_packet(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        if (v6)
            from_v6(&f);
        struct announce a = {.id = udp_connect(&f), .numwant = 100000, .left = 1};
        for (unsigned i = 1; i < 400; i++) {
            a.port = (uint16_t)i;
            udp_announce(&f, &a);
        }
        assert_int_equal(f.reply_len, 20 + (v6 ? 80 * 18 : 200 * 6));
    }
    end(&f);
}

/* --- memory ---------------------------------------------------------------------------------- */

static bool run_once(struct mem *mem, void *ctx)
{
    struct fixture *f = ctx;
    static const struct tracker_server_config config = {.secret = {1}};
    bool is_done = tracker_server_new(&f->s, mem, &config, 0, 1) == ERR_OK;
    if (!is_done)
        return false;
    is_done = tracker_server_set_allow_list(
                  f->s, BYTES_LIT("6161616161616161616161616161616161616161"), NULL) == ERR_OK;
    for (unsigned i = 1; i < 60; i++) {
        struct announce a = {.id = udp_connect(f), .port = (uint16_t)i};
        assert_true(udp_announce(f, &a) >= 20);
    }
    is_done = is_done && counter(f, TRACKER_SERVER_NO_MEMORY) == 0;
    tracker_server_check(f->s);
    tracker_server_free(f->s);
    return is_done;
}

static void test_memory_failures(void **state)
{
    (void)state;
    struct fixture f = {.from = addr_v4(10, 0, 0, 1, 50000)};
    assert_true(test_fail_sweep(run_once, &f) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_announce),
        cmocka_unit_test(test_families_are_kept_apart),
        cmocka_unit_test(test_http_refusals),
        cmocka_unit_test(test_odd_queries_are_fine),
        cmocka_unit_test(test_port_zero_is_not_listed),
        cmocka_unit_test(test_ip_parameter),
        cmocka_unit_test(test_http_scrape),
        cmocka_unit_test(test_largest_replies),
        cmocka_unit_test(test_allow_list),
        cmocka_unit_test(test_udp_announce),
        cmocka_unit_test(test_udp_ids),
        cmocka_unit_test(test_udp_does_not_amplify),
        cmocka_unit_test(test_udp_refusals),
        cmocka_unit_test(test_udp_options),
        cmocka_unit_test(test_udp_scrape),
        cmocka_unit_test(test_udp_replies_fit_a_packet),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
