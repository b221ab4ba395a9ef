#include "torrent/ut_pex.h"
#include "torrent/bencode.h"

#define UT_PEX_N_TOKENS_MAX 64u /* ours: a message has six keys; others are ignored */

static struct bytes get(struct bencode_value dict, const char *key)
{
    return bencode_str(bencode_dict_get(dict, key));
}

enum err_code ut_pex_read(struct bytes payload, struct ut_pex_msg *out, struct err *err)
{
    struct bencode_token tokens[UT_PEX_N_TOKENS_MAX];
    struct bencode doc;
    enum err_code code = bencode_parse_fixed(&doc, payload, tokens, UT_PEX_N_TOKENS_MAX, err);
    if (code)
        return code;
    struct bencode_value dict = bencode_root(&doc);
    if (bencode_type(dict) != BENCODE_DICT)
        return err_set(err, ERR_MALFORMED, "peer exchange is not a dictionary");
    *out = (struct ut_pex_msg){
        .added4 = get(dict, "added"),
        .added4_flags = get(dict, "added.f"),
        .added6 = get(dict, "added6"),
        .added6_flags = get(dict, "added6.f"),
        .dropped4 = get(dict, "dropped"),
        .dropped6 = get(dict, "dropped6"),
    };
    if (out->added4.len % ADDR_COMPACT4_LEN || out->dropped4.len % ADDR_COMPACT4_LEN ||
        out->added6.len % ADDR_COMPACT6_LEN || out->dropped6.len % ADDR_COMPACT6_LEN)
        return err_set(err, ERR_MALFORMED, "peer exchange list is not whole addresses");
    return ERR_OK;
}

size_t ut_pex_n_added(const struct ut_pex_msg *m)
{
    return m->added4.len / ADDR_COMPACT4_LEN + m->added6.len / ADDR_COMPACT6_LEN;
}

size_t ut_pex_n_dropped(const struct ut_pex_msg *m)
{
    return m->dropped4.len / ADDR_COMPACT4_LEN + m->dropped6.len / ADDR_COMPACT6_LEN;
}

/* Entry `index` of the two lists one after the other. */
static struct pex_peer entry(struct bytes v4, struct bytes v4_flags, struct bytes v6,
                             struct bytes v6_flags, size_t index)
{
    struct pex_peer p = {0};
    size_t n4 = v4.len / ADDR_COMPACT4_LEN;
    bool is_v4 = index < n4;
    size_t i = is_v4 ? index : index - n4;
    size_t len = is_v4 ? ADDR_COMPACT4_LEN : ADDR_COMPACT6_LEN;
    struct bytes flags = is_v4 ? v4_flags : v6_flags;
    struct reader r = reader_init(bytes_sub(is_v4 ? v4 : v6, i * len, len));
    if (is_v4)
        addr_read_v4(&r, &p.addr);
    else
        addr_read_v6(&r, &p.addr);
    if (i < flags.len)
        p.flags = flags.data[i];
    return p;
}

struct pex_peer ut_pex_added(const struct ut_pex_msg *m, size_t index)
{
    return entry(m->added4, m->added4_flags, m->added6, m->added6_flags, index);
}

struct pex_peer ut_pex_dropped(const struct ut_pex_msg *m, size_t index)
{
    struct bytes none = {0};
    return entry(m->dropped4, none, m->dropped6, none, index);
}

/* --- writing --------------------------------------------------------------------------------- */

static size_t count(const struct pex_peer *peers, size_t n, enum addr_family family)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += peers[i].addr.family == family;
    return found;
}

static void write_addrs(struct writer *w, const char *key, const struct pex_peer *peers, size_t n,
                        enum addr_family family)
{
    size_t found = count(peers, n, family);
    if (found == 0)
        return;
    writer_printf(w, "%zu:%s%zu:", strlen(key), key,
                  found * (family == ADDR_V4 ? ADDR_COMPACT4_LEN : ADDR_COMPACT6_LEN));
    for (size_t i = 0; i < n; i++)
        if (peers[i].addr.family == family)
            addr_write(w, &peers[i].addr);
}

static void write_flags(struct writer *w, const char *key, const struct pex_peer *peers, size_t n,
                        enum addr_family family)
{
    size_t found = count(peers, n, family);
    if (found == 0)
        return;
    writer_printf(w, "%zu:%s%zu:", strlen(key), key, found);
    for (size_t i = 0; i < n; i++)
        if (peers[i].addr.family == family)
            writer_u8(w, peers[i].flags);
}

void ut_pex_write(struct writer *w, const struct pex_peer *added, size_t n_added,
                  const struct pex_peer *dropped, size_t n_dropped)
{
    writer_str(w, "d");
    write_addrs(w, "added", added, n_added, ADDR_V4);
    write_flags(w, "added.f", added, n_added, ADDR_V4);
    write_addrs(w, "added6", added, n_added, ADDR_V6);
    write_flags(w, "added6.f", added, n_added, ADDR_V6);
    write_addrs(w, "dropped", dropped, n_dropped, ADDR_V4);
    write_addrs(w, "dropped6", dropped, n_dropped, ADDR_V6);
    writer_str(w, "e");
}
