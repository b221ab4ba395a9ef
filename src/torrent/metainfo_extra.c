/* metainfo_extra: what stands beside the file lists. Nothing in here makes a torrent invalid: an
 * entry of the wrong form, a double, or one beyond the maximum is dropped and counted. */
#include "base/size.h"
#include "base/utf8.h"
#include "torrent/metainfo_internal.h"

#define LIST_CAP_FIRST 4u
#define TEXT_LEN_MAX   (64u * 1024u) /* ours: comments and the like are cut here */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the trackers and texts of a torrent");
}

const char *metainfo_text(struct arena *arena, struct bytes text)
{
    text = bytes_sub(text, 0, TEXT_LEN_MAX);
    char *out = arena_alloc(arena, utf8_is_valid(text) ? text.len + 1 : 3 * text.len + 1);
    size_t len = 0;
    while (out && text.len > 0) {
        bool is_bad = false;
        uint32_t c = utf8_next(&text, &is_bad);
        if (c != 0)
            len += utf8_write(c, (uint8_t *)out + len);
    }
    if (out)
        out[len] = '\0';
    return out;
}

static enum err_code read_text(struct info_reader *r, struct bencode_value dict,
                               const char *utf8_key, const char *key, const char **out)
{
    struct bencode_value v = bencode_dict_get_type(dict, utf8_key, BENCODE_STR);
    struct bytes text;
    if (bencode_type(v) == BENCODE_NONE)
        v = bencode_dict_get(dict, key);
    if (*out || !bencode_get_str(v, &text))
        return ERR_OK;
    *out = metainfo_text(&r->m->arena, text);
    return *out ? ERR_OK : no_memory(r->err);
}

/* Room for item n in a list that begins with four and doubles; NULL for no memory. Most torrents
 * have a tracker or two, so the maximum is not set aside. */
static void *list_room(struct arena *arena, void *items, uint32_t n, size_t item_len)
{
    if (n != 0 && (n < LIST_CAP_FIRST || (n & (n - 1)) != 0))
        return items;
    void *more = arena_calloc(arena, n ? 2 * (size_t)n : LIST_CAP_FIRST, item_len);
    if (more && n)
        memcpy(more, items, n * item_len);
    return more;
}

/* --- urls ------------------------------------------------------------------------------------ */

static struct bytes trim(struct bytes s)
{
    while (s.len > 0 && s.data[0] <= ' ')
        s = bytes_sub(s, 1, s.len);
    while (s.len > 0 && s.data[s.len - 1] <= ' ')
        s.len--;
    return s;
}

/* A trimmed URL with what may not stand in one percent-encoded; NULL with *out_code OK: not usable. */
static const char *clean_url(struct arena *arena, struct bytes raw, const char *end,
                             enum err_code *out_code)
{
    static const char hex[] = "0123456789ABCDEF";
    *out_code = ERR_OK;
    raw = trim(raw);
    if (raw.len == 0 || raw.len > METAINFO_URL_LEN_MAX)
        return NULL;
    char *out = arena_alloc(arena, 3 * raw.len + 2), *p = out;
    if (!out) {
        *out_code = ERR_NO_MEMORY;
        return NULL;
    }
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = raw.data[i];
        if (c > ' ' && c < 0x7F && !strchr("\"<>\\^`{|}", c)) {
            *p++ = (char)c;
            continue;
        }
        *p++ = '%';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }
    if (*end && p[-1] != *end)
        *p++ = *end;
    *p = '\0';
    return out;
}

enum err_code metainfo_add_tracker(struct metainfo *m, const char *url, uint32_t tier)
{
    enum err_code code;
    const char *clean = m->n_trackers < METAINFO_N_TRACKERS_MAX
                            ? clean_url(&m->arena, bytes_of_str(url), "", &code)
                            : (code = ERR_OK, NULL);
    for (uint32_t i = 0; clean && i < m->n_trackers; i++)
        if (strcmp(m->trackers[i].url, clean) == 0)
            clean = NULL;
    if (!clean) {
        m->n_dropped += code == ERR_OK;
        return code;
    }
    void *room = list_room(&m->arena, m->trackers, m->n_trackers, sizeof *m->trackers);
    if (!room)
        return ERR_NO_MEMORY;
    m->trackers = room;
    uint32_t at = m->n_trackers++;
    for (; at > 0 && m->trackers[at - 1].tier > tier; at--)
        m->trackers[at] = m->trackers[at - 1];
    m->trackers[at] = (struct metainfo_tracker){clean, tier};
    return ERR_OK;
}

static enum err_code add_webseed(struct metainfo *m, struct bytes url, bool is_httpseed)
{
    enum err_code code;
    bool is_folder = m->is_multi_file && m->n_files > 1 && !is_httpseed;
    const char *clean = m->n_webseeds < METAINFO_N_WEBSEEDS_MAX
                            ? clean_url(&m->arena, url, is_folder ? "/" : "", &code)
                            : (code = ERR_OK, NULL);
    for (uint32_t i = 0; clean && i < m->n_webseeds; i++)
        if (strcmp(m->webseeds[i].url, clean) == 0)
            clean = NULL;
    if (!clean) {
        m->n_dropped += code == ERR_OK;
        return code;
    }
    void *room = list_room(&m->arena, m->webseeds, m->n_webseeds, sizeof *m->webseeds);
    if (!room)
        return ERR_NO_MEMORY;
    m->webseeds = room;
    m->webseeds[m->n_webseeds++] = (struct metainfo_webseed){clean, is_httpseed};
    return ERR_OK;
}

enum err_code metainfo_add_webseed(struct metainfo *m, const char *url)
{
    return add_webseed(m, bytes_of_str(url), false);
}

/* --- trackers -------------------------------------------------------------------------------- */

static enum err_code add_tracker_value(struct info_reader *r, struct bencode_value v, uint32_t tier)
{
    char url[METAINFO_URL_LEN_MAX + 1];
    struct bytes raw;
    if (!bencode_get_str(v, &raw) || raw.len > METAINFO_URL_LEN_MAX ||
        memchr(raw.data, 0, raw.len)) {
        r->m->n_dropped++;
        return ERR_OK;
    }
    memcpy(url, raw.data, raw.len);
    url[raw.len] = '\0';
    return metainfo_add_tracker(r->m, url, tier) ? no_memory(r->err) : ERR_OK;
}

/* BEP 12: a list of tiers. Some programs write a flat list; each entry is then a tier. */
static enum err_code read_tiers(struct info_reader *r, struct bencode_value tiers)
{
    struct bencode_iter it = bencode_iter(tiers);
    struct bencode_value tier, url;
    uint32_t index = 0;
    while (bencode_next(&it, NULL, &tier)) {
        uint32_t n_before = r->m->n_trackers;
        struct bencode_iter in_tier = bencode_iter(tier);
        enum err_code code = ERR_OK;
        if (bencode_type(tier) != BENCODE_LIST)
            code = add_tracker_value(r, tier, index);
        while (!code && bencode_next(&in_tier, NULL, &url))
            code = add_tracker_value(r, url, index);
        if (code)
            return code;
        index += r->m->n_trackers > n_before;
    }
    return ERR_OK;
}

/* BEP 12: "announce" is ignored where there is an announce-list that names any. */
static enum err_code read_trackers(struct info_reader *r, struct bencode_value top)
{
    enum err_code code = read_tiers(r, bencode_dict_get_type(top, "announce-list", BENCODE_LIST));
    struct bencode_value announce = bencode_dict_get(top, "announce");
    if (!code && r->m->n_trackers == 0 && bencode_type(announce))
        code = add_tracker_value(r, announce, 0);
    return code;
}

/* --- seeds, nodes ---------------------------------------------------------------------------- */

/* One string or a list of them (BEP 19, BEP 17). */
static enum err_code read_seeds(struct info_reader *r, struct bencode_value v, bool is_httpseed)
{
    struct bencode_iter it = bencode_iter(v);
    struct bencode_value item;
    struct bytes url;
    if (bencode_get_str(v, &url))
        return add_webseed(r->m, url, is_httpseed) ? no_memory(r->err) : ERR_OK;
    while (!it.is_dict && bencode_next(&it, NULL, &item)) {
        if (!bencode_get_str(item, &url))
            r->m->n_dropped++;
        else if (add_webseed(r->m, url, is_httpseed))
            return no_memory(r->err);
    }
    return ERR_OK;
}

static bool read_node(struct bencode_value pair, struct bytes *out_host, uint16_t *out_port)
{
    struct bencode_iter it = bencode_iter(pair);
    struct bencode_value host, port;
    int64_t number = 0;
    if (it.is_dict || !bencode_next(&it, NULL, &host) || !bencode_next(&it, NULL, &port) ||
        !bencode_get_str(host, out_host) || !bencode_get_int(port, &number))
        return false;
    *out_port = (uint16_t)number;
    return out_host->len > 0 && out_host->len < 256 && number > 0 && number < 65536;
}

static enum err_code read_nodes(struct info_reader *r, struct bencode_value list)
{
    struct metainfo *m = r->m;
    struct bencode_iter it = bencode_iter(list);
    struct bencode_value pair;
    size_t n = size_min(bencode_n_items(list), METAINFO_N_NODES_MAX);
    if (it.is_dict || n == 0)
        return ERR_OK;
    m->nodes = arena_calloc(&m->arena, n, sizeof *m->nodes);
    if (!m->nodes)
        return no_memory(r->err);
    while (bencode_next(&it, NULL, &pair)) {
        struct bytes host;
        uint16_t port;
        if (m->n_nodes == n || !read_node(pair, &host, &port)) {
            m->n_dropped++;
            continue;
        }
        struct metainfo_node *node = &m->nodes[m->n_nodes];
        *node = (struct metainfo_node){metainfo_text(&m->arena, host), port};
        if (!node->host)
            return no_memory(r->err);
        m->n_nodes++;
    }
    return ERR_OK;
}

/* --- BEP 38: may stand in the info dictionary and beside it ---------------------------------- */

static bool has_collection(const struct metainfo *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_collections; i++)
        if (strcmp(m->collections[i], name) == 0)
            return true;
    return false;
}

static enum err_code read_collections(struct info_reader *r, struct bencode_value list)
{
    struct metainfo *m = r->m;
    struct bencode_iter it = bencode_iter(list);
    struct bencode_value v;
    struct bytes raw;
    while (!it.is_dict && bencode_next(&it, NULL, &v)) {
        if (!bencode_get_str(v, &raw) || m->n_collections == METAINFO_N_SIMILAR_MAX) {
            m->n_dropped++;
            continue;
        }
        const char *name = metainfo_text(&m->arena, raw);
        if (!name)
            return no_memory(r->err);
        if (has_collection(m, name))
            continue;
        void *room = list_room(&m->arena, m->collections, m->n_collections, sizeof *m->collections);
        if (!room)
            return no_memory(r->err);
        m->collections = room;
        m->collections[m->n_collections++] = name;
    }
    return ERR_OK;
}

static enum err_code read_similar(struct info_reader *r, struct bencode_value list)
{
    struct metainfo *m = r->m;
    struct bencode_iter it = bencode_iter(list);
    struct bencode_value v;
    struct bytes hash;
    while (!it.is_dict && bencode_next(&it, NULL, &v)) {
        if (!bencode_get_str(v, &hash) || hash.len != SHA1_LEN ||
            m->n_similar == METAINFO_N_SIMILAR_MAX) {
            m->n_dropped++;
            continue;
        }
        void *room = list_room(&m->arena, m->similar, m->n_similar, sizeof *m->similar);
        if (!room)
            return no_memory(r->err);
        m->similar = room;
        memcpy(m->similar[m->n_similar++], hash.data, SHA1_LEN);
    }
    return ERR_OK;
}

static enum err_code read_bep38(struct info_reader *r, struct bencode_value dict)
{
    enum err_code code =
        read_collections(r, bencode_dict_get_type(dict, "collections", BENCODE_LIST));
    return code ? code : read_similar(r, bencode_dict_get_type(dict, "similar", BENCODE_LIST));
}

/* ----------------------------------------------------------------------------------------------------- */

enum err_code metainfo_read_info_extra(struct info_reader *r)
{
    r->m->is_private = bencode_int_or(bencode_dict_get(r->info, "private"), 0) == 1; /* BEP 27 */
    enum err_code code = read_text(r, r->info, "source", "source", &r->m->source);
    return code ? code : read_bep38(r, r->info);
}

enum err_code metainfo_read_extra(struct info_reader *r, struct bencode_value top)
{
    struct metainfo *m = r->m;
    m->has_creation_date =
        bencode_get_int(bencode_dict_get(top, "creation date"), &m->creation_date);
    enum err_code code = read_trackers(r, top);
    if (!code)
        code = read_seeds(r, bencode_dict_get(top, "url-list"), false);
    if (!code)
        code = read_seeds(r, bencode_dict_get(top, "httpseeds"), true);
    if (!code)
        code = read_nodes(r, bencode_dict_get_type(top, "nodes", BENCODE_LIST));
    if (!code)
        code = read_bep38(r, top);
    if (!code)
        code = read_text(r, top, "comment.utf-8", "comment", &m->comment);
    if (!code)
        code = read_text(r, top, "created by.utf-8", "created by", &m->created_by);
    if (!code)
        code = read_text(r, top, "source", "source", &m->source);
    return code;
}
