/* A whole announcer with up to three trackers: names, replies, datagrams and time from the input.
 *
 * Input: lines of URLs until an empty one, then records: a control byte and what it asks for.
 *   0..89    answers the oldest fetch with status 200 and so many bytes * 2 (+1 byte: other status)
 *   90..149  answers the oldest question for a name: failure, or up to three addresses
 *   150..229 a datagram of so many bytes from where the last one went, with its transaction id
 *            (odd: with one of its own)
 *   230..255 time passes, or the torrent's owner does something
 */
#include "base/size.h"
#include "torrent/announcer.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define TORRENT   7u
#define N_JOBS    64u
#define URL_LEN   300u
#define N_URLS    8u
#define WANTS_MAX 10000u

struct fuzz {
    struct mem mem;
    struct announcer *a;
    struct announcer_progress progress;
    uint64_t now_us;
    uint64_t fetches[N_JOBS], names[N_JOBS];
    size_t n_fetches, n_names;
    struct addr udp_to;
    uint8_t transaction[4];
    bool is_stopped;
};

static void keep(uint64_t *jobs, size_t *n, uint64_t job)
{
    assert(job < 1ull << 48);
    if (*n < N_JOBS) /* the others are never answered */
        jobs[(*n)++] = job;
}

static uint64_t take(uint64_t *jobs, size_t *n)
{
    if (*n == 0)
        return 12345; /* nobody's */
    uint64_t job = jobs[0];
    memmove(jobs, jobs + 1, --*n * sizeof *jobs);
    return job;
}

static void fuzz_want(struct fuzz *f, const struct announcer_want *w)
{
    switch (w->kind) {
    case ANNOUNCER_RESOLVE:
        assert(strlen(w->name) > 0);
        keep(f->names, &f->n_names, w->job);
        break;
    case ANNOUNCER_FETCH:
        assert(strlen(w->url) < TRACKER_HTTP_URL_MAX && w->body_len_max <= TRACKER_HTTP_REPLY_MAX);
        keep(f->fetches, &f->n_fetches, w->job);
        break;
    case ANNOUNCER_DATAGRAM:
        assert(w->packet.len >= 16);
        f->udp_to = w->to;
        memcpy(f->transaction, w->packet.data + 12, 4);
        break;
    case ANNOUNCER_PEERS:
        for (size_t i = 0; i < w->n_peers; i++)
            assert(w->peers[i].port && w->peers[i].family != ADDR_NONE);
        break;
    case ANNOUNCER_STATUS:
        assert(strlen(w->text) < TRACKER_TEXT_CAP * 4);
        break;
    case ANNOUNCER_STOPPED:
        f->is_stopped = true;
        break;
    }
}

static void fuzz_pump(struct fuzz *f)
{
    struct announcer_want w;
    unsigned n = 0;
    announcer_check(f->a);
    while (announcer_next(f->a, f->now_us, &w)) {
        fuzz_want(f, &w);
        assert(++n < WANTS_MAX); /* it ends */
    }
    assert(announcer_deadline_us(f->a) > f->now_us);
    announcer_check(f->a);
}

static void fuzz_urls(struct fuzz *f, struct reader *r)
{
    for (unsigned i = 0; i < N_URLS; i++) {
        char url[URL_LEN];
        size_t n = 0;
        while (reader_left(r) && n < sizeof url) {
            url[n] = (char)reader_u8(r);
            if (url[n] == '\n')
                break;
            n++;
        }
        if (n == 0)
            return;
        (void)!announcer_add_tracker(f->a, f->now_us, TORRENT, i / 2,
                                     bytes_of((const uint8_t *)url, n), i % 3 == 0);
    }
}

static void fuzz_fetched(struct fuzz *f, struct reader *r, uint8_t c)
{
    struct err err = {0};
    size_t n = size_min((size_t)c * 2, reader_left(r));
    uint32_t status = c % 8 == 7 ? 300 + c : 200;
    if (c == 1)
        err = (struct err){ERR_IO, "no answer", 0, 0, 0};
    announcer_on_fetched(f->a, f->now_us, take(f->fetches, &f->n_fetches), &err, status,
                         reader_take(r, n));
}

static void fuzz_resolved(struct fuzz *f, struct reader *r, uint8_t c)
{
    struct err err = {0};
    struct addr addrs[3];
    size_t n = c % 4;
    if (n == 0)
        err = (struct err){ERR_NOT_FOUND, "no such name", 0, 0, 0};
    for (size_t i = 0; i < n; i++) {
        if ((c + i) % 3)
            addr_read_v4(r, &addrs[i]);
        else
            addr_read_v6(r, &addrs[i]);
    }
    if (r->err.code)
        n = 0;
    announcer_on_resolved(f->a, f->now_us, take(f->names, &f->n_names), &err, addrs, n);
}

static void fuzz_datagram(struct fuzz *f, struct reader *r, uint8_t c)
{
    uint8_t packet[256];
    struct bytes in = reader_take(r, size_min(c - 150u, reader_left(r)));
    if (in.len)
        memcpy(packet, in.data, in.len);
    if (c % 2 == 0 && in.len >= 8)
        memcpy(packet + 4, f->transaction, 4);
    announcer_on_datagram(f->a, f->now_us, &f->udp_to, bytes_of(packet, in.len));
}

static void fuzz_time(struct fuzz *f, uint8_t c)
{
    static const uint64_t us[] = {1000, 1000000, 15000000, 61000000, 1800000000, 7200000000};
    switch (c) {
    case 230:
        announcer_want_peers(f->a, f->now_us, TORRENT);
        break;
    case 231:
        announcer_scrape(f->a, f->now_us, TORRENT);
        break;
    case 232:
        announcer_completed(f->a, f->now_us, TORRENT);
        break;
    case 233:
        announcer_stop(f->a, f->now_us, TORRENT);
        break;
    case 234:
        announcer_start(f->a, f->now_us, TORRENT);
        break;
    default:
        f->now_us += us[c % 6];
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz f = {.now_us = 1000000, .udp_to = addr_v4(10, 1, 2, 3, 80)};
    struct announcer_config config = {.listen_port = 6881, .peer_id = "-FZ0001-abcdefghijk"};
    struct reader r = reader_init(bytes_of(data, len));
    uint8_t v1[20] = {1}, v2[32] = {2};
    mem_init(&f.mem, MEM_NO_BUDGET, NULL);
    assert(announcer_new(&f.a, &f.mem, &config, NULL, len) == ERR_OK);
    assert(announcer_add(f.a, TORRENT, v1, len % 2 ? v2 : NULL, &f.progress) == ERR_OK);
    fuzz_urls(&f, &r);
    announcer_start(f.a, f.now_us, TORRENT);
    fuzz_pump(&f);
    for (unsigned i = 0; i < 200 && reader_left(&r); i++) {
        uint8_t c = reader_u8(&r);
        if (c < 90)
            fuzz_fetched(&f, &r, c);
        else if (c < 150)
            fuzz_resolved(&f, &r, c);
        else if (c < 230)
            fuzz_datagram(&f, &r, c);
        else
            fuzz_time(&f, c);
        fuzz_pump(&f);
        f.now_us += 1000;
    }
    f.is_stopped = false;
    announcer_stop(f.a, f.now_us, TORRENT);
    fuzz_pump(&f);
    f.now_us += ANNOUNCER_STOP_US;
    fuzz_pump(&f);
    announcer_remove(f.a, TORRENT);
    announcer_free(f.a);
    mem_check_empty(&f.mem);
    return 0;
}
