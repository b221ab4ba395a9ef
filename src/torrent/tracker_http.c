#include "torrent/tracker_http.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/size.h"
#include "torrent/bencode.h"
#include <strings.h>

#define REPLY_N_TOKENS_MAX 65536u /* ours: a list of 5000 peers, with room */
#define REPLY_DEPTH_MAX    8u     /* ours: a scrape reply needs 4 */
#define PORT_HTTP          80u
#define PORT_HTTPS         443u

/* --- request URLs ---------------------------------------------------------------------------- */

static size_t find(struct bytes text, char c)
{
    const uint8_t *p = text.len ? memchr(text.data, c, text.len) : NULL;
    return p ? (size_t)(p - text.data) : text.len;
}

/* A URL as it was written, with what HTTP cannot carry percent-encoded. */
static void write_url(struct writer *w, struct bytes url)
{
    for (size_t i = 0; i < url.len; i++) {
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f)
            percent_encode(w, bytes_sub(url, i, 1));
        else
            writer_u8(w, url.data[i]);
    }
}

/* The URL without its fragment, and what joins the first parameter to it. */
static const char *write_base(struct writer *w, struct bytes url)
{
    url = bytes_sub(url, 0, find(url, '#'));
    write_url(w, url);
    return find(url, '?') == url.len ? "?" : "&";
}

static void write_u64(struct writer *w, const char *name, uint64_t value)
{
    writer_u8(w, '&');
    writer_str(w, name);
    writer_u8(w, '=');
    writer_decimal(w, value);
}

static void write_text(struct writer *w, const char *name, struct bytes value)
{
    writer_u8(w, '&');
    writer_str(w, name);
    writer_u8(w, '=');
    percent_encode(w, value);
}

static void write_addr(struct writer *w, const char *name, const struct addr *a)
{
    char text[ADDR_TEXT_CAP];
    if (a)
        write_text(w, name, bytes_of_str(addr_format_ip(a, text)));
}

static const char *event_name(enum tracker_event event)
{
    static const char *const names[] = {NULL, "completed", "started", "stopped", "paused"};
    return names[event];
}

/* Ends a URL that must be a C string. */
static enum err_code end_url(struct writer *w)
{
    writer_u8(w, 0);
    return writer_end(w);
}

enum err_code tracker_http_announce_url(struct bytes announce_url,
                                        const struct tracker_announce *what,
                                        const struct tracker_http_options *options,
                                        struct writer *out)
{
    const char *event = event_name(what->event);
    writer_str(out, write_base(out, announce_url));
    writer_str(out, "info_hash=");
    percent_encode(out, bytes_of(what->infohash, sizeof what->infohash));
    write_text(out, "peer_id", bytes_of(what->peer_id, sizeof what->peer_id));
    write_u64(out, "port", what->port);
    write_u64(out, "uploaded", what->uploaded);
    write_u64(out, "downloaded", what->downloaded);
    write_u64(out, "left", what->left);
    write_u64(out, "corrupt", what->corrupt);
    writer_printf(out, "&key=%08X", (unsigned)what->key);
    if (event)
        write_text(out, "event", bytes_of_str(event));
    if (what->numwant != TRACKER_NUMWANT_DEFAULT)
        write_u64(out, "numwant", what->numwant);
    writer_str(out, "&compact=1&no_peer_id=1"); /* BEP 23 */
    if (options->ip)
        write_text(out, "ip", bytes_of_str(options->ip));
    write_addr(out, "ipv4", options->ipv4);
    write_addr(out, "ipv6", options->ipv6);
    if (options->tracker_id.len)
        write_text(out, "trackerid", options->tracker_id);
    return end_url(out);
}

/* Offset of "announce" at the start of the last path element, or SIZE_MAX (BEP 48). */
static size_t find_announce(struct bytes url)
{
    size_t end = size_min(find(url, '?'), find(url, '#'));
    for (size_t i = end; i-- > 0;) {
        if (url.data[i] != '/')
            continue;
        struct bytes last = bytes_sub(url, i + 1, end - i - 1);
        return bytes_starts_with(last, BYTES_LIT("announce")) ? i + 1 : SIZE_MAX;
    }
    return SIZE_MAX;
}

enum err_code tracker_http_scrape_url(struct bytes announce_url,
                                      const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                      struct writer *out)
{
    size_t at = find_announce(announce_url);
    if (at == SIZE_MAX)
        return ERR_UNSUPPORTED;
    write_url(out, bytes_sub(announce_url, 0, at));
    writer_str(out, "scrape");
    const char *join = write_base(out, bytes_sub(announce_url, at + strlen("announce"), SIZE_MAX));
    for (size_t i = 0; i < n_infohashes; i++) {
        writer_str(out, i ? "&" : join);
        writer_str(out, "info_hash=");
        percent_encode(out, bytes_of(infohashes[i], SHA1_LEN));
    }
    return end_url(out);
}

/* --- replies --------------------------------------------------------------------------------- */

static enum err_code malformed(struct err *err, const char *what, struct bencode_value at)
{
    return err_set_at(err, ERR_MALFORMED, what, bencode_off(at), 0, 0);
}

static enum err_code parse(struct bencode *doc, struct bytes body, struct mem *mem, struct err *err)
{
    static const struct bencode_limits limits = {.len_max = TRACKER_HTTP_REPLY_MAX,
                                                 .n_tokens_max = REPLY_N_TOKENS_MAX,
                                                 .depth_max = REPLY_DEPTH_MAX};
    enum err_code code = bencode_parse(doc, body, mem, &limits, err);
    if (code)
        return code;
    if (bencode_type(bencode_root(doc)) == BENCODE_DICT)
        return ERR_OK;
    bencode_clear(doc);
    return err_set(err, ERR_MALFORMED, "tracker reply is not a dictionary");
}

/* A number of seconds, peers, ...: anything below 0 or absent is `fallback`. */
static uint32_t count(struct bencode_value dict, const char *key, uint32_t fallback)
{
    int64_t v;
    if (!bencode_get_int(bencode_dict_get(dict, key), &v) || v < 0)
        return fallback;
    return v >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)v;
}

static struct tracker_scrape counts(struct bencode_value dict)
{
    return (struct tracker_scrape){.n_seeders = count(dict, "complete", TRACKER_COUNT_UNKNOWN),
                                   .n_completed = count(dict, "downloaded", TRACKER_COUNT_UNKNOWN),
                                   .n_leechers = count(dict, "incomplete", TRACKER_COUNT_UNKNOWN)};
}

static void read_text(struct bencode_value dict, const char *key, char out[TRACKER_TEXT_CAP])
{
    struct bytes text;
    if (bencode_get_str(bencode_dict_get(dict, key), &text))
        log_escape(text, out, TRACKER_TEXT_CAP);
}

/* BEP 31: "retry in" is a number of minutes, or "never". */
static uint32_t read_retry_in(struct bencode_value dict)
{
    struct bencode_value v = bencode_dict_get(dict, "retry in");
    struct bytes text;
    if (bencode_get_str(v, &text))
        return bytes_equal_str(text, "never") ? TRACKER_RETRY_NEVER : 0;
    uint64_t minutes = count(dict, "retry in", 0);
    return (uint32_t)u64_min(minutes * 60, TRACKER_INTERVAL_S_MAX);
}

static void read_external(struct bencode_value dict, struct tracker_reply *out)
{
    struct bytes ip;
    uint8_t compact[ADDR_COMPACT6_LEN] = {0};
    if (!bencode_get_str(bencode_dict_get(dict, "external ip"), &ip) ||
        (ip.len != 4 && ip.len != 16))
        return; /* BEP 24: 4 or 16 bytes; a courtesy, so nothing hangs on it */
    memcpy(compact, ip.data, ip.len);
    struct reader r = reader_init(bytes_of(compact, ip.len + 2));
    if (ip.len == 4)
        addr_read_v4(&r, &out->external);
    else
        addr_read_v6(&r, &out->external);
}

/* BEP 23 and 7: peers in 6 or 18 bytes each. */
static enum err_code read_compact(struct bencode_value v, struct bytes text, bool is_v6,
                                  struct tracker_reply *out, struct err *err)
{
    struct reader r = reader_init(text);
    if (text.len % (is_v6 ? ADDR_COMPACT6_LEN : ADDR_COMPACT4_LEN))
        return malformed(err, "compact peers are not whole", v);
    while (reader_left(&r)) {
        struct addr peer;
        if (is_v6)
            addr_read_v6(&r, &peer);
        else
            addr_read_v4(&r, &peer);
        tracker_reply_add_peer(out, &peer);
    }
    return ERR_OK;
}

/* BEP 3: a list of dictionaries. A host name in place of an address is dropped: nothing here may
 * make us look up names of a stranger's choice. */
static enum err_code read_dicts(struct bencode_value list, struct tracker_reply *out,
                                struct err *err)
{
    struct bencode_iter it = bencode_iter(list);
    struct bencode_value v;
    while (bencode_next(&it, NULL, &v)) {
        struct bytes ip;
        int64_t port;
        struct addr peer;
        if (!bencode_get_str(bencode_dict_get(v, "ip"), &ip) ||
            !bencode_get_int(bencode_dict_get(v, "port"), &port))
            return malformed(err, "peer has no ip and port", v);
        if (port <= 0 || port > UINT16_MAX || addr_parse(ip, 0, &peer)) {
            out->n_peers_dropped++;
            continue;
        }
        peer.port = (uint16_t)port;
        tracker_reply_add_peer(out, &peer);
    }
    return ERR_OK;
}

static enum err_code read_peers(struct bencode_value dict, struct tracker_reply *out,
                                struct err *err)
{
    struct bencode_value v = bencode_dict_get(dict, "peers");
    struct bencode_value v6 = bencode_dict_get(dict, "peers6");
    enum err_code code = ERR_OK;
    struct bytes text;
    if (bencode_get_str(v, &text))
        code = read_compact(v, text, false, out, err);
    else if (bencode_type(v) == BENCODE_LIST)
        code = read_dicts(v, out, err);
    else if (bencode_type(v) != BENCODE_NONE)
        code = malformed(err, "peers are neither a string nor a list", v);
    if (code || bencode_type(v6) == BENCODE_NONE)
        return code;
    if (!bencode_get_str(v6, &text))
        return malformed(err, "peers6 is not a string", v6);
    return read_compact(v6, text, true, out, err);
}

static enum err_code read_reply(struct bencode_value dict, struct tracker_reply *out,
                                struct err *err)
{
    struct bytes id;
    read_text(dict, "warning message", out->warning);
    read_external(dict, out);
    if (bencode_type(bencode_dict_get(dict, "failure reason")) != BENCODE_NONE) {
        out->is_failure = true;
        out->retry_in_s = read_retry_in(dict);
        read_text(dict, "failure reason", out->failure);
        return ERR_OK;
    }
    uint32_t min_interval_s = count(dict, "min interval", 0);
    out->interval_s = tracker_clamp_interval(count(dict, "interval", 0));
    out->min_interval_s = min_interval_s ? tracker_clamp_interval(min_interval_s) : 0;
    out->counts = counts(dict);
    if (bencode_get_str(bencode_dict_get(dict, "tracker id"), &id) && id.len <= TRACKER_ID_CAP) {
        memcpy(out->tracker_id, id.data, id.len);
        out->tracker_id_len = id.len;
    }
    return read_peers(dict, out, err);
}

enum err_code tracker_http_read_reply(struct bytes body, struct mem *mem, struct tracker_reply *out,
                                      struct err *err)
{
    struct bencode doc;
    tracker_reply_reset(out);
    enum err_code code = parse(&doc, body, mem, err);
    if (code)
        return code;
    code = read_reply(bencode_root(&doc), out, err);
    bencode_clear(&doc);
    return code;
}

static enum err_code read_scrape(struct bencode_value dict, const uint8_t (*infohashes)[SHA1_LEN],
                                 size_t n_infohashes, struct tracker_scrape *out, struct err *err)
{
    struct bencode_value files = bencode_dict_get(dict, "files");
    struct bencode_iter it = bencode_iter(files);
    struct bencode_value v;
    struct bytes key;
    if (bencode_type(bencode_dict_get(dict, "failure reason")) != BENCODE_NONE)
        return err_set(err, ERR_PROTOCOL, "tracker refused to be scraped");
    if (bencode_type(files) != BENCODE_DICT)
        return malformed(err, "scrape reply has no files", dict);
    while (bencode_next(&it, &key, &v)) {
        for (size_t i = 0; i < n_infohashes; i++) {
            if (bytes_equal(key, bytes_of(infohashes[i], SHA1_LEN)))
                out[i] = counts(v);
        }
    }
    return ERR_OK;
}

enum err_code tracker_http_read_scrape(struct bytes body, struct mem *mem,
                                       const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                       struct tracker_scrape *out, struct err *err)
{
    struct bencode doc;
    for (size_t i = 0; i < n_infohashes; i++)
        out[i] = (struct tracker_scrape){TRACKER_COUNT_UNKNOWN, TRACKER_COUNT_UNKNOWN,
                                         TRACKER_COUNT_UNKNOWN};
    enum err_code code = parse(&doc, body, mem, err);
    if (code)
        return code;
    code = read_scrape(bencode_root(&doc), infohashes, n_infohashes, out, err);
    bencode_clear(&doc);
    return code;
}

/* --- announce URLs --------------------------------------------------------------------------- */

static bool take_scheme(struct bytes *text, struct tracker_url *out)
{
    static const struct {
        const char *name;
        enum tracker_scheme scheme;
        uint16_t port;
    } schemes[] = {{"http://", TRACKER_HTTP, PORT_HTTP},
                   {"https://", TRACKER_HTTPS, PORT_HTTPS},
                   {"udp://", TRACKER_UDP, 0}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i].name);
        if (text->len < len || strncasecmp((const char *)text->data, schemes[i].name, len) != 0)
            continue;
        out->scheme = schemes[i].scheme;
        out->port = schemes[i].port;
        *text = bytes_sub(*text, len, SIZE_MAX);
        return true;
    }
    return false;
}

static bool read_port(struct bytes text, uint16_t *out)
{
    uint32_t port = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *out = (uint16_t)port;
    return port > 0;
}

/* What names and addresses are made of. Nothing that another reader of URLs could take for an end,
 * and no other scripts: what a look-up makes of them differs from machine to machine. */
static bool is_host(struct bytes host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = (char)host.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            (c == 0 || !strchr("-._:%", c)))
            return false;
    }
    return host.len > 0;
}

/* "host", "host:port", "[v6]:port", with "user:password@" in front. */
static bool read_authority(struct bytes text, struct tracker_url *out)
{
    for (size_t at; (at = find(text, '@')) < text.len;)
        text = bytes_sub(text, at + 1, SIZE_MAX);
    struct bytes port;
    if (text.len && text.data[0] == '[') {
        size_t close = find(text, ']');
        if (close == text.len)
            return false;
        out->host = bytes_sub(text, 1, close - 1);
        port = bytes_sub(text, close + 1, SIZE_MAX);
        if (port.len && port.data[0] != ':')
            return false;
    } else {
        size_t colon = find(text, ':');
        out->host = bytes_sub(text, 0, colon);
        port = bytes_sub(text, colon, SIZE_MAX);
    }
    if (port.len > 1 && !read_port(bytes_sub(port, 1, SIZE_MAX), &out->port))
        return false;
    return is_host(out->host) && out->port > 0;
}

static bool has_control_bytes(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return true;
    }
    return false;
}

enum err_code tracker_url_parse(struct bytes text, struct tracker_url *out, struct err *err)
{
    *out = (struct tracker_url){0};
    if (text.len > TRACKER_URL_MAX)
        return err_set_at(err, ERR_LIMIT, "tracker URL is too long", 0, text.len, TRACKER_URL_MAX);
    if (!take_scheme(&text, out))
        return err_set(err, ERR_UNSUPPORTED, "tracker URL is not http, https or udp");
    text = bytes_sub(text, 0, find(text, '#'));
    size_t authority_len = size_min(find(text, '/'), find(text, '?'));
    out->path = bytes_sub(text, authority_len, SIZE_MAX);
    if (has_control_bytes(text) || !read_authority(bytes_sub(text, 0, authority_len), out))
        return err_set(err, ERR_MALFORMED, "tracker URL has no proper host and port");
    if (addr_parse(out->host, out->port, &out->ip) == ERR_OK) {
        out->is_ip = true;
        out->ip.port = out->port;
    }
    return ERR_OK;
}
