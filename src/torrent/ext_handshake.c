#include "torrent/ext_handshake.h"
#include "base/size.h"
#include "torrent/bencode.h"

#define EXT_N_TOKENS_MAX 256u /* ours: the handshakes we know have under 50 values */

/* In the order of their names, so that writing is canonical. */
static const struct {
    enum ext_kind kind;
    const char *name;
} names[EXT_KIND_COUNT] = {
    {EXT_DONTHAVE, "lt_donthave"},
    {EXT_METADATA, "ut_metadata"},
    {EXT_PEX, "ut_pex"},
};

void ext_peer_init(struct ext_peer *peer)
{
    *peer = (struct ext_peer){.reqq = EXT_REQQ_DEFAULT};
}

/* --- reading --------------------------------------------------------------------------------- */

/* Absent: false. Present but no integer, or out of min..max: false and counted. */
static bool get_int(struct ext_peer *peer, struct bencode_value dict, const char *key, int64_t min,
                    int64_t max, int64_t *out)
{
    struct bencode_value v = bencode_dict_get(dict, key);
    if (bencode_type(v) == BENCODE_NONE)
        return false;
    if (bencode_get_int(v, out) && *out >= min && *out <= max)
        return true;
    peer->n_ignored++;
    return false;
}

static void read_ids(struct ext_peer *peer, struct bencode_value dict)
{
    struct bencode_value m = bencode_dict_get_type(dict, "m", BENCODE_DICT);
    int64_t id;
    for (size_t i = 0; i < EXT_KIND_COUNT; i++)
        if (get_int(peer, m, names[i].name, 0, UINT8_MAX, &id))
            peer->ids[names[i].kind] = (uint8_t)id;
}

static void read_numbers(struct ext_peer *peer, struct bencode_value dict)
{
    int64_t n;
    if (get_int(peer, dict, "p", 1, UINT16_MAX, &n))
        peer->port = (uint16_t)n;
    if (get_int(peer, dict, "reqq", 1, INT64_MAX, &n))
        peer->reqq = (uint32_t)u64_min((uint64_t)n, EXT_REQQ_MAX);
    if (get_int(peer, dict, "metadata_size", 1, METADATA_LEN_MAX, &n))
        peer->metadata_size = (uint64_t)n;
    if (get_int(peer, dict, "upload_only", INT64_MIN, INT64_MAX, &n))
        peer->is_upload_only = n != 0;
    /* libtorrent says -1 while it is no seed (seen in 2.0.8). */
    if (get_int(peer, dict, "complete_ago", -1, UINT32_MAX, &n)) {
        peer->has_complete_ago = n >= 0;
        peer->complete_ago_s = n >= 0 ? (uint32_t)n : 0;
    }
}

static void read_version(struct ext_peer *peer, struct bencode_value dict)
{
    struct bytes v = bencode_str(bencode_dict_get(dict, "v"));
    if (v.len == 0)
        return;
    peer->version_len = (uint8_t)size_min(v.len, EXT_VERSION_LEN_MAX);
    memcpy(peer->version, v.data, peer->version_len);
}

/* BEP 10: yourip, ipv4 and ipv6 are addresses without a port: 4 or 16 bytes. */
static void read_ip(struct ext_peer *peer, struct bencode_value dict, const char *key, bool can_v4,
                    bool can_v6, struct addr *out)
{
    uint8_t compact[ADDR_COMPACT6_LEN] = {0};
    struct bytes ip;
    if (!bencode_get_str(bencode_dict_get(dict, key), &ip))
        return;
    if (!(can_v4 && ip.len == 4) && !(can_v6 && ip.len == 16)) {
        peer->n_ignored++;
        return;
    }
    memcpy(compact, ip.data, ip.len);
    struct reader r = reader_init(bytes_of(compact, ip.len + 2));
    if (ip.len == 4)
        addr_read_v4(&r, out);
    else
        addr_read_v6(&r, out);
}

enum err_code ext_handshake_read(struct bytes payload, struct ext_peer *peer, struct err *err)
{
    struct bencode_token tokens[EXT_N_TOKENS_MAX];
    struct bencode doc;
    enum err_code code = bencode_parse_fixed(&doc, payload, tokens, EXT_N_TOKENS_MAX, err);
    if (code)
        return code;
    struct bencode_value dict = bencode_root(&doc);
    if (bencode_type(dict) != BENCODE_DICT)
        return err_set(err, ERR_MALFORMED, "extension handshake is not a dictionary");
    read_ids(peer, dict);
    read_numbers(peer, dict);
    read_version(peer, dict);
    read_ip(peer, dict, "yourip", true, true, &peer->yourip);
    read_ip(peer, dict, "ipv4", true, false, &peer->ipv4);
    read_ip(peer, dict, "ipv6", false, true, &peer->ipv6);
    peer->n_read++;
    return ERR_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_key_int(struct writer *w, const char *key, uint64_t value)
{
    writer_printf(w, "%zu:%si%llue", strlen(key), key, (unsigned long long)value);
}

static void write_key_str(struct writer *w, const char *key, struct bytes value)
{
    writer_printf(w, "%zu:%s%zu:", strlen(key), key, value.len);
    writer_put(w, value);
}

void ext_handshake_write(struct writer *w, const struct ext_ours *ours)
{
    writer_str(w, "d1:md");
    for (size_t i = 0; i < EXT_KIND_COUNT; i++)
        if (ours->kinds[names[i].kind])
            write_key_int(w, names[i].name, EXT_OUR_ID(names[i].kind));
    writer_str(w, "e");
    if (ours->metadata_size)
        write_key_int(w, "metadata_size", ours->metadata_size);
    if (ours->port)
        write_key_int(w, "p", ours->port);
    if (ours->reqq)
        write_key_int(w, "reqq", ours->reqq);
    if (ours->is_upload_only)
        write_key_int(w, "upload_only", 1);
    if (ours->version)
        write_key_str(w, "v", bytes_of_str(ours->version));
    if (ours->yourip && ours->yourip->family != ADDR_NONE)
        write_key_str(w, "yourip",
                      bytes_of(ours->yourip->ip, ours->yourip->family == ADDR_V4 ? 4 : 16));
    writer_str(w, "e");
}

enum ext_kind ext_kind_of_id(uint8_t id)
{
    return id >= 1 && id <= EXT_KIND_COUNT ? (enum ext_kind)(id - 1) : EXT_KIND_COUNT;
}

/* --- BEP 54 ---------------------------------------------------------------------------------- */

enum err_code donthave_read(struct bytes payload, uint32_t *out_piece, struct err *err)
{
    struct reader r = reader_init(payload);
    *out_piece = reader_u32be(&r);
    enum err_code code = reader_end(&r);
    if (code && err)
        *err = r.err;
    return code;
}

void donthave_write(struct writer *w, uint32_t piece)
{
    writer_u32be(w, piece);
}
