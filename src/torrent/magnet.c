/* magnet: the query part is split at '&', each value decoded into the arena. */
#include "torrent/magnet.h"
#include "base/hex.h"
#include "base/size.h"
#include "torrent/metainfo_internal.h"

#define ARENA_LEN_MAX (1u << 20) /* a link of 64 KiB needs less */
#define BTMH_LEN      68u        /* multihash: 12 (SHA-256), 20 (its length), 64 hex digits */
#define SCHEME_LEN    8u         /* "magnet:?" */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for a magnet link");
}

static bool equal_nocase(struct bytes a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.data, b, a.len) == 0;
}

static bool starts_nocase(struct bytes a, const char *b)
{
    return a.len >= strlen(b) && strncasecmp((const char *)a.data, b, strlen(b)) == 0;
}

bool magnet_is_link(const char *text)
{
    return starts_nocase(bytes_of_str(text), "magnet:?");
}

/* --- reading: one function per parameter ----------------------------------------------------- */

static enum err_code read_hash(struct magnet *m, struct bytes v, uint64_t at, struct err *err)
{
    if (starts_nocase(v, "urn:btih:")) {
        struct bytes text = bytes_sub(v, 9, v.len);
        uint8_t hash[SHA1_LEN];
        if ((text.len == 40 && hex_decode(text, hash, SHA1_LEN)) ||
            (text.len == 32 && base32_decode(text, hash, SHA1_LEN)) ||
            (text.len != 40 && text.len != 32))
            return err_set_at(err, ERR_MALFORMED, "'urn:btih:' is not 40 hex or 32 base32 digits",
                              at, text.len, 40);
        if (m->has_v1 && memcmp(m->infohash_v1, hash, SHA1_LEN) != 0)
            return err_set_at(err, ERR_MALFORMED, "link has two different 'urn:btih:'", at, 0, 0);
        memcpy(m->infohash_v1, hash, SHA1_LEN);
        m->has_v1 = true;
    } else if (starts_nocase(v, "urn:btmh:")) {
        struct bytes text = bytes_sub(v, 9, v.len);
        uint8_t hash[2 + SHA256_LEN];
        if (text.len != BTMH_LEN || hex_decode(text, hash, sizeof hash) || hash[0] != 0x12 ||
            hash[1] != SHA256_LEN)
            return err_set_at(err, ERR_MALFORMED, "'urn:btmh:' is not 1220 and 64 hex digits", at,
                              text.len, BTMH_LEN);
        if (m->has_v2 && memcmp(m->infohash_v2, hash + 2, SHA256_LEN) != 0)
            return err_set_at(err, ERR_MALFORMED, "link has two different 'urn:btmh:'", at, 0, 0);
        memcpy(m->infohash_v2, hash + 2, SHA256_LEN);
        m->has_v2 = true;
    }
    return ERR_OK; /* hashes of other networks */
}

/* Adds a copy to a list of at most n_max strings; doubles, empty ones and the rest are dropped. */
static enum err_code add_string(struct magnet *m, const char ***list, uint32_t *n, uint32_t n_max,
                                struct bytes v, struct err *err)
{
    bool is_kept =
        v.len > 0 && v.len <= METAINFO_URL_LEN_MAX && *n < n_max && !memchr(v.data, 0, v.len);
    for (size_t i = 0; is_kept && i < v.len; i++)
        is_kept = v.data[i] > ' ' && v.data[i] < 0x7F;
    for (uint32_t i = 0; is_kept && i < *n; i++)
        is_kept = !bytes_equal_str(v, (*list)[i]);
    if (!is_kept) {
        m->n_dropped++;
        return ERR_OK;
    }
    if (!*list)
        *list = arena_calloc(&m->arena, n_max, sizeof **list);
    const char *copy = *list ? arena_str(&m->arena, v) : NULL;
    if (!copy)
        return no_memory(err);
    (*list)[(*n)++] = copy;
    return ERR_OK;
}

static bool read_u64(struct bytes v, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] < '0' || v.data[i] > '9' || !u64_mul(&n, n, 10) ||
            !u64_add(&n, n, (uint64_t)(v.data[i] - '0')))
            return false;
    }
    *out = n;
    return v.len > 0 && n <= max;
}

/* x.pe: "name:port", "1.2.3.4:port", "[::1]:port" (BEP 9). */
static enum err_code add_peer(struct magnet *m, struct bytes v, struct err *err)
{
    struct magnet_peer peer = {0};
    uint64_t port = 0;
    const uint8_t *colon = v.len ? memrchr(v.data, ':', v.len) : NULL;
    size_t host_len = colon ? (size_t)(colon - v.data) : 0;
    bool is_kept = host_len > 0 && host_len < 256 && m->n_peers < MAGNET_N_PEERS_MAX &&
                   read_u64(bytes_sub(v, host_len + 1, v.len), 65535, &port) && port > 0;
    for (size_t i = 0; is_kept && i < host_len; i++)
        is_kept = v.data[i] > ' ' && v.data[i] < 0x7F;
    if (!is_kept) {
        m->n_dropped++;
        return ERR_OK;
    }
    if (addr_parse(v, 0, &peer.addr))
        peer.addr = (struct addr){0};
    peer.port = (uint16_t)port;
    if (!m->peers)
        m->peers = arena_calloc(&m->arena, MAGNET_N_PEERS_MAX, sizeof *m->peers);
    peer.host = m->peers ? arena_str(&m->arena, bytes_sub(v, 0, host_len)) : NULL;
    if (!peer.host)
        return no_memory(err);
    m->peers[m->n_peers++] = peer;
    return ERR_OK;
}

static bool read_range(struct bytes part, struct magnet_range *out)
{
    const uint8_t *dash = part.len ? memchr(part.data, '-', part.len) : NULL;
    size_t len = dash ? (size_t)(dash - part.data) : part.len;
    uint64_t first, last;
    if (!read_u64(bytes_sub(part, 0, len), UINT32_MAX - 1, &first))
        return false;
    last = first;
    if (dash && !read_u64(bytes_sub(part, len + 1, part.len), UINT32_MAX - 1, &last))
        return false;
    *out = (struct magnet_range){(uint32_t)first, (uint32_t)last};
    return first <= last;
}

/* Puts a range in its place among the others and joins what touches. */
static bool insert_range(struct magnet *m, struct magnet_range r)
{
    uint32_t at = 0, end;
    while (at < m->n_ranges && m->ranges[at].last + 1 < r.first)
        at++;
    for (end = at; end < m->n_ranges && m->ranges[end].first <= r.last + 1; end++) {
        if (m->ranges[end].first < r.first)
            r.first = m->ranges[end].first;
        if (m->ranges[end].last > r.last)
            r.last = m->ranges[end].last;
    }
    if (end == at && m->n_ranges == MAGNET_N_RANGES_MAX)
        return false;
    memmove(&m->ranges[at + 1], &m->ranges[end], (m->n_ranges - end) * sizeof *m->ranges);
    m->ranges[at] = r;
    m->n_ranges = m->n_ranges - (end - at) + 1;
    return true;
}

/* so=0,2,4,6-8 (BEP 53); kept as ranges, so nothing is expanded. */
static enum err_code read_selection(struct magnet *m, struct bytes v, struct err *err)
{
    if (!m->ranges)
        m->ranges = arena_calloc(&m->arena, MAGNET_N_RANGES_MAX + 1, sizeof *m->ranges);
    if (!m->ranges)
        return no_memory(err);
    while (v.len > 0) {
        const uint8_t *comma = memchr(v.data, ',', v.len);
        size_t len = comma ? (size_t)(comma - v.data) : v.len;
        struct magnet_range range;
        if (!read_range(bytes_sub(v, 0, len), &range) || !insert_range(m, range))
            m->n_dropped++;
        v = bytes_sub(v, comma ? len + 1 : len, v.len);
    }
    return ERR_OK;
}

/* "tr" and numbered forms such as "tr.1". */
static bool is_key(struct bytes key, const char *name)
{
    size_t len = strlen(name);
    if (!starts_nocase(key, name))
        return false;
    if (key.len == len)
        return true;
    uint64_t number;
    return key.data[len] == '.' && read_u64(bytes_sub(key, len + 1, key.len), UINT32_MAX, &number);
}

static enum err_code read_param(struct magnet *m, struct bytes key, struct bytes v, uint64_t at,
                                struct err *err)
{
    if (is_key(key, "xt"))
        return read_hash(m, v, at, err);
    if (is_key(key, "tr"))
        return add_string(m, &m->trackers, &m->n_trackers, MAGNET_N_TRACKERS_MAX, v, err);
    if (is_key(key, "ws"))
        return add_string(m, &m->webseeds, &m->n_webseeds, MAGNET_N_WEBSEEDS_MAX, v, err);
    if (is_key(key, "x.pe"))
        return add_peer(m, v, err);
    if (equal_nocase(key, "so"))
        return read_selection(m, v, err);
    if (equal_nocase(key, "xl") && !read_u64(v, UINT64_MAX, &m->len))
        m->len = 0;
    if (equal_nocase(key, "dn") && !m->name) {
        m->name = metainfo_text(&m->arena, v);
        return m->name ? ERR_OK : no_memory(err);
    }
    return ERR_OK;
}

static enum err_code read_params(struct magnet *m, struct bytes text, uint8_t *room,
                                 struct err *err)
{
    size_t pos = SCHEME_LEN;
    while (pos < text.len) {
        const uint8_t *amp = memchr(text.data + pos, '&', text.len - pos);
        size_t len = amp ? (size_t)(amp - (text.data + pos)) : text.len - pos, value_len;
        struct bytes param = bytes_sub(text, pos, len);
        const uint8_t *eq = param.len ? memchr(param.data, '=', param.len) : NULL;
        if (eq) {
            size_t key_len = (size_t)(eq - param.data);
            struct bytes raw = bytes_sub(param, key_len + 1, param.len);
            if (percent_decode(raw, true, room, text.len, &value_len))
                return err_set_at(err, ERR_MALFORMED, "'%' is not followed by two hex digits", pos,
                                  0, 0);
            enum err_code code =
                read_param(m, bytes_sub(param, 0, key_len), bytes_of(room, value_len), pos, err);
            if (code)
                return code;
        }
        pos += len + 1;
    }
    if (!m->has_v1 && !m->has_v2)
        return err_set_at(err, ERR_MALFORMED, "link has no 'xt=urn:btih:' or 'xt=urn:btmh:'", 0, 0,
                          0);
    return ERR_OK;
}

static enum err_code read_link(struct magnet *m, struct bytes text, struct mem *mem,
                               struct err *err)
{
    *m = (struct magnet){0};
    arena_init(&m->arena, mem, ARENA_LEN_MAX);
    uint8_t *room = mem_alloc(mem, text.len);
    enum err_code code = room ? read_params(m, text, room, err) : no_memory(err);
    mem_free(mem, room);
    if (code)
        magnet_clear(m);
    return code;
}

enum err_code magnet_read(struct magnet *m, struct bytes text, struct mem *mem, struct err *err)
{
    *m = (struct magnet){0};
    if (!starts_nocase(text, "magnet:?"))
        return err_set(err, ERR_MALFORMED, "link does not begin with 'magnet:?'");
    if (text.len > MAGNET_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "link is too long", 0, text.len, MAGNET_LEN_MAX);
    return read_link(m, text, mem, err);
}

enum err_code magnet_copy(struct magnet *m, const struct magnet *from, struct mem *mem)
{
    struct buf text;
    struct err err = {0};
    *m = (struct magnet){0};
    buf_init(&text, mem, 8 * MAGNET_LEN_MAX); /* escapes make it at most three times as long */
    magnet_write(from, &text);
    enum err_code code = text.err ? text.err : read_link(m, buf_bytes(&text), mem, &err);
    buf_clear(&text);
    return code;
}

void magnet_clear(struct magnet *m)
{
    if (m->arena.mem)
        arena_clear(&m->arena);
    *m = (struct magnet){0};
}

const uint8_t *magnet_key(const struct magnet *m)
{
    return m->has_v1 ? m->infohash_v1 : m->infohash_v2;
}

bool magnet_selects(const struct magnet *m, uint32_t file)
{
    uint32_t lo = 0, hi = m->n_ranges;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (m->ranges[mid].last < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    return m->n_ranges == 0 || (lo < m->n_ranges && m->ranges[lo].first <= file);
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_hex(struct buf *out, const uint8_t *hash, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", hash[i]);
}

static void write_hashes(struct buf *out, const uint8_t *v1, const uint8_t *v2)
{
    buf_str(out, "magnet:?");
    if (v1) {
        buf_str(out, "xt=urn:btih:");
        write_hex(out, v1, SHA1_LEN);
    }
    if (v2) {
        buf_str(out, v1 ? "&xt=urn:btmh:1220" : "xt=urn:btmh:1220");
        write_hex(out, v2, SHA256_LEN);
    }
}

static void write_param(struct buf *out, const char *key, const char *value)
{
    size_t len = strlen(value), room_len = 3 * len + 1;
    buf_printf(out, "&%s=", key);
    struct span room = buf_reserve(out, room_len);
    if (!room.data)
        return;
    struct writer w = writer_init(room.data, room.len);
    percent_encode(&w, bytes_of(value, len));
    buf_commit(out, writer_bytes(&w).len);
}

void magnet_write(const struct magnet *m, struct buf *out)
{
    write_hashes(out, m->has_v1 ? m->infohash_v1 : NULL, m->has_v2 ? m->infohash_v2 : NULL);
    if (m->name)
        write_param(out, "dn", m->name);
    if (m->len)
        buf_printf(out, "&xl=%llu", (unsigned long long)m->len);
    for (uint32_t i = 0; i < m->n_trackers; i++)
        write_param(out, "tr", m->trackers[i]);
    for (uint32_t i = 0; i < m->n_webseeds; i++)
        write_param(out, "ws", m->webseeds[i]);
    for (uint32_t i = 0; i < m->n_peers; i++) {
        char peer[256 + 8];
        snprintf(peer, sizeof peer, "%s:%u", m->peers[i].host, m->peers[i].port);
        write_param(out, "x.pe", peer);
    }
    for (uint32_t i = 0; i < m->n_ranges; i++) {
        const struct magnet_range *r = &m->ranges[i];
        buf_printf(out, i == 0 ? "&so=%u" : ",%u", r->first);
        if (r->last > r->first)
            buf_printf(out, "-%u", r->last);
    }
}

void magnet_write_metainfo(const struct metainfo *info, struct buf *out)
{
    write_hashes(out, info->has_v1 ? info->infohash_v1 : NULL,
                 info->has_v2 ? info->infohash_v2 : NULL);
    write_param(out, "dn", info->name);
    buf_printf(out, "&xl=%llu", (unsigned long long)info->layout.data_len);
    for (uint32_t i = 0; i < info->n_trackers; i++)
        write_param(out, "tr", info->trackers[i].url);
    for (uint32_t i = 0; i < info->n_webseeds; i++)
        if (!info->webseeds[i].is_httpseed)
            write_param(out, "ws", info->webseeds[i].url);
}
