/* tracker_udp: a script of requests, waits and datagrams. Each step begins with a byte that says what
 * it is; datagrams can be given the transaction id of the request last seen, so that the parsers
 * behind it are reached. */
#include "base/size.h"
#include "torrent/tracker_udp.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct world {
    struct tracker_udp u;
    uint64_t now_us;
    uint32_t transaction; /* of the last packet sent */
    uint64_t n_started, n_ended;
    struct addr peers[8];
    struct tracker_reply reply;
};

static struct addr endpoint(uint8_t b)
{
    struct addr a = addr_v4(10, 0, 0, b & 3, 80);
    if (b & 4)
        a.family = ADDR_V6;
    return a;
}

static void drain(struct world *w)
{
    struct tracker_udp_want want;
    while (tracker_udp_next(&w->u, w->now_us, &want)) {
        if (want.kind == TRACKER_UDP_FAILED) {
            w->n_ended++;
            continue;
        }
        struct reader r = reader_init(bytes_sub(want.packet, 12, 4));
        w->transaction = reader_u32be(&r);
    }
    assert(tracker_udp_deadline_us(&w->u) > w->now_us);
}

static void start(struct world *w, struct reader *r, bool is_scrape)
{
    struct tracker_announce what = {.port = 1};
    uint8_t hashes[TRACKER_UDP_SCRAPE_MAX][SHA1_LEN] = {{0}};
    struct addr to = endpoint(reader_u8(r));
    unsigned n_retries = reader_u8(r) % (TRACKER_UDP_N_RETRIES_MAX + 1);
    size_t n = reader_u8(r);
    uint64_t token = w->n_started + 1;
    enum err_code code;
    if (is_scrape)
        code = tracker_udp_scrape(&w->u, w->now_us, &to, (const uint8_t(*)[SHA1_LEN])hashes,
                                  n % TRACKER_UDP_SCRAPE_MAX + 1, n_retries, token);
    else
        code =
            tracker_udp_announce(&w->u, w->now_us, &to, &what, reader_take(r, n), n_retries, token);
    assert(code == ERR_OK || code == ERR_LIMIT);
    w->n_started += code == ERR_OK;
}

static void datagram(struct world *w, struct reader *r)
{
    uint8_t packet[256];
    struct tracker_udp_done done;
    struct addr from = endpoint(reader_u8(r));
    uint8_t flags = reader_u8(r);
    struct bytes in = reader_take(r, reader_u8(r));
    if (in.len)
        memcpy(packet, in.data, in.len);
    if ((flags & 1) && in.len >= 8) {
        struct writer w4 = writer_init(packet + 4, 4);
        writer_u32be(&w4, w->transaction);
    }
    tracker_udp_on_datagram(&w->u, w->now_us, &from, bytes_of(packet, in.len), &w->reply, &done);
    assert(done.n_scrapes <= TRACKER_UDP_SCRAPE_MAX && w->reply.n_peers <= 8);
    w->n_ended += done.kind != TRACKER_UDP_NONE;
}

static void step(struct world *w, struct reader *r)
{
    uint8_t what = reader_u8(r);
    switch (what % 6) {
    case 0:
        start(w, r, false);
        break;
    case 1:
        start(w, r, true);
        break;
    case 2:
        w->now_us += (uint64_t)reader_u8(r) * US_PER_S;
        break;
    case 3:
        drain(w);
        break;
    case 4: {
        size_t before = w->u.tokens.n;
        tracker_udp_cancel(&w->u, reader_u8(r));
        w->n_ended += before - w->u.tokens.n;
        break;
    }
    default:
        datagram(w, r);
        break;
    }
    tracker_udp_check(&w->u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world w;
    struct reader r = reader_init(bytes_of(data, len));
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    w = (struct world){.reply = {.peers = w.peers, .peers_cap = 8}};
    if (tracker_udp_init(&w.u, &mem, 1, 6, 3))
        abort();
    while (reader_left(&r) > 0)
        step(&w, &r);
    /* Left alone, every request comes to its end. */
    for (unsigned i = 0; i < 1000 && w.u.tokens.n > 0; i++) {
        w.now_us = u64_max(w.now_us, tracker_udp_deadline_us(&w.u));
        drain(&w);
    }
    assert(w.n_started == w.n_ended);
    tracker_udp_clear(&w.u);
    mem_check_empty(&mem);
    return 0;
}
