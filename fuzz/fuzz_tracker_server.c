/* tracker_server: a script of HTTP queries, UDP packets and waits against a small tracker, whose
 * limits are soon reached. */
#include "torrent/bencode.h"
#include "torrent/tracker_server.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct world {
    struct mem mem;
    struct tracker_server *s;
    uint64_t now_us;
};

static struct addr from(uint8_t b)
{
    struct addr a = addr_v4(b & 0x80 ? 9 : 10, 0, 0, b & 0x3f, 1000);
    if (b & 0x40)
        a.family = ADDR_V6;
    return a;
}

static void http(struct world *w, struct reader *r)
{
    static uint8_t out[TRACKER_SERVER_HTTP_CAP];
    struct writer reply = writer_init(out, sizeof out);
    struct addr a = from(reader_u8(r));
    struct bytes path = reader_u8(r) & 1 ? BYTES_LIT("/scrape") : BYTES_LIT("/announce");
    struct bytes query = reader_take(r, reader_u8(r));
    struct bencode doc;
    struct err err;
    tracker_server_http(w->s, w->now_us, path, query, &a, &reply);
    if (bencode_parse(&doc, writer_bytes(&reply), &w->mem, NULL, &err) ||
        bencode_check_keys(bencode_root(&doc), true, &w->mem, &err))
        abort();
    assert(doc.used_len == reply.pos);
    bencode_clear(&doc);
}

static void udp(struct world *w, struct reader *r, bool has_id)
{
    uint8_t packet[256], out[TRACKER_SERVER_UDP_CAP];
    struct addr a = from(reader_u8(r));
    struct bytes in = reader_take(r, reader_u8(r));
    if (in.len)
        memcpy(packet, in.data, in.len);
    if (has_id && in.len >= 8) {
        static const uint8_t connect[16] = {0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80};
        if (tracker_server_udp(w->s, w->now_us, &a, bytes_of(connect, 16), out) != 16)
            abort();
        memcpy(packet, out + 8, 8);
    }
    size_t len = tracker_server_udp(w->s, w->now_us, &a, bytes_of(packet, in.len), out);
    assert(len <= (has_id ? TRACKER_SERVER_UDP_CAP : in.len) || in.len >= 98);
}

static void step(struct world *w, struct reader *r)
{
    switch (reader_u8(r) % 6) {
    case 0:
    case 1:
        http(w, r);
        break;
    case 2:
        udp(w, r, false);
        break;
    case 3:
        udp(w, r, true);
        break;
    case 4:
        w->now_us += (uint64_t)reader_u8(r) * 16 * US_PER_S;
        tracker_server_tick(w->s, w->now_us);
        break;
    default: {
        struct err err;
        enum err_code code =
            tracker_server_set_allow_list(w->s, reader_take(r, reader_u8(r)), &err);
        assert(code == ERR_OK || code == ERR_MALFORMED);
        break;
    }
    }
    tracker_server_check(w->s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world w = {0};
    struct reader r = reader_init(bytes_of(data, len));
    struct tracker_server_config config = {
        .n_peers_max = 12, .n_swarms_max = 3, .secret = {7}, .trusts_ip_parameter = true};
    mem_init(&w.mem, MEM_NO_BUDGET, NULL);
    if (tracker_server_new(&w.s, &w.mem, &config, 0, 1))
        abort();
    while (reader_left(&r) > 0)
        step(&w, &r);
    tracker_server_free(w.s);
    mem_check_empty(&w.mem);
    return 0;
}
