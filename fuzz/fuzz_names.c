/* Names that strangers chose: elements of paths, client names, tracker and announce URLs. */
#include "base/utf8.h"
#include "torrent/path_sanitize.h"
#include "torrent/peer_id.h"
#include "torrent/tracker_http.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_element(struct bytes in)
{
    char out[PATH_ELEMENT_CAP], again[PATH_ELEMENT_CAP];
    size_t n = path_sanitize_element(in, out);
    assert(n <= PATH_ELEMENT_LEN_MAX && (n == 0 || strlen(out) == n));
    assert(n == 0 || (!memchr(out, '/', n) && strcmp(out, ".") != 0 && strcmp(out, "..") != 0));
    for (size_t i = 0; i < n; i++)
        assert((uint8_t)out[i] >= 0x20 && out[i] != 0x7f);
    assert(n == 0 || path_sanitize_element(bytes_of((uint8_t *)out, n), again) == n);
    assert(n == 0 || memcmp(out, again, n) == 0);
    assert(path_ext_off(bytes_of((uint8_t *)out, n)) <= n);
    assert(path_sanitize_element_or(in, out) > 0);
}

static void check_client(struct bytes in)
{
    uint8_t id[20] = {0};
    char name[PEER_CLIENT_CAP];
    size_t n = in.len < sizeof id ? in.len : sizeof id;
    if (n)
        memcpy(id, in.data, n);
    peer_client_name(id, bytes_sub(in, n, in.len), name, sizeof name);
    assert(strlen(name) < sizeof name);
    for (const char *c = name; *c; c++)
        assert(*c >= 0x20 && *c < 0x7f);
}

static void check_url(struct bytes in)
{
    struct tracker_url url;
    static uint8_t out[TRACKER_HTTP_URL_MAX + 1];
    struct tracker_announce what = {.port = 1};
    struct tracker_http_options options = {.tracker_id = bytes_sub(in, 0, 20)};
    uint8_t hashes[2][SHA1_LEN] = {{1}, {2}};
    if (tracker_url_parse(in, &url, NULL) != ERR_OK)
        return;
    assert(url.host.len > 0 && url.port > 0 && url.scheme != TRACKER_SCHEME_NONE);
    assert(url.path.len == 0 || url.path.data[0] == '/' || url.path.data[0] == '?');
    struct writer w = writer_init(out, sizeof out);
    if (tracker_http_announce_url(in, &what, &options, &w) == ERR_OK)
        assert(strlen((char *)out) <= writer_bytes(&w).len);
    w = writer_init(out, sizeof out);
    if (tracker_http_scrape_url(in, (const uint8_t(*)[SHA1_LEN])hashes, 2, &w) == ERR_OK)
        assert(strlen((char *)out) <= writer_bytes(&w).len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes in = bytes_of(data, len);
    check_element(in);
    check_client(in);
    check_url(in);
    return 0;
}
