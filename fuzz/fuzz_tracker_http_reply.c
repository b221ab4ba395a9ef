/* tracker_http: replies to announces and scrapes, and announce URLs, from bytes of a stranger. */
#include "torrent/tracker_http.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_url(struct bytes in)
{
    struct tracker_url url;
    char out[TRACKER_HTTP_URL_MAX];
    struct writer w = writer_init(out, sizeof out);
    struct tracker_announce what = {0};
    struct tracker_http_options options = {0};
    static const uint8_t hash[1][SHA1_LEN];
    if (tracker_url_parse(in, &url, NULL))
        return;
    assert(url.host.len > 0 && url.port > 0);
    assert(url.host.data >= in.data && url.host.data + url.host.len <= in.data + in.len);
    if (tracker_http_announce_url(in, &what, &options, &w) == ERR_OK) {
        for (const char *p = out; *p; p++)
            assert(*p > ' ' && *p < 0x7f);
    }
    w = writer_init(out, sizeof out);
    if (tracker_http_scrape_url(in, hash, 1, &w) == ERR_OK)
        assert(strlen(out) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t hashes[2][SHA1_LEN] = {"aaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbb"};
    struct bytes in = bytes_of(data, len);
    struct addr peers[16];
    struct tracker_reply reply = {.peers = peers, .peers_cap = 16};
    struct tracker_scrape counts[2];
    struct mem mem;
    struct err err;
    mem_init(&mem, 1u << 26, NULL);
    if (tracker_http_read_reply(in, &mem, &reply, &err) == ERR_OK) {
        assert(reply.n_peers <= 16);
        assert(reply.interval_s >= TRACKER_INTERVAL_S_MIN &&
               reply.interval_s <= TRACKER_INTERVAL_S_MAX);
        assert(reply.min_interval_s <= TRACKER_INTERVAL_S_MAX);
        for (size_t i = 0; i < reply.n_peers; i++)
            assert(addr_is_dialable(&peers[i]));
        assert(strlen(reply.failure) < TRACKER_TEXT_CAP);
    }
    if (tracker_http_read_scrape(in, &mem, hashes, 2, counts, &err) != ERR_OK)
        assert(err.what);
    mem_check_empty(&mem);
    read_url(in);
    return 0;
}
