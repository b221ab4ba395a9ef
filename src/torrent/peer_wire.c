#include "torrent/peer_wire.h"
#include "base/size.h"

static const uint8_t protocol[20] = "\x13"
                                    "BitTorrent protocol";

/* --- handshake ------------------------------------------------------------------------------- */

static const struct {
    uint32_t feature;
    uint8_t byte, bit;
} reserved_bits[] = {
    {WIRE_DHT, 7, 0x01},
    {WIRE_FAST, 7, 0x04},
    {WIRE_EXTENSION, 5, 0x10},
    {WIRE_V2, 7, 0x10},
};

#define N_RESERVED_BITS (sizeof reserved_bits / sizeof *reserved_bits)

void handshake_set_features(struct handshake *h, uint32_t features)
{
    memset(h->reserved, 0, sizeof h->reserved);
    for (size_t i = 0; i < N_RESERVED_BITS; i++)
        if (features & reserved_bits[i].feature)
            h->reserved[reserved_bits[i].byte] |= reserved_bits[i].bit;
}

uint32_t handshake_features(const struct handshake *h)
{
    uint32_t features = 0;
    for (size_t i = 0; i < N_RESERVED_BITS; i++)
        if (h->reserved[reserved_bits[i].byte] & reserved_bits[i].bit)
            features |= reserved_bits[i].feature;
    return features;
}

enum err_code handshake_read(struct bytes in, struct handshake *out, struct err *err)
{
    struct reader r = reader_init(in);
    struct bytes name = reader_take(&r, sizeof protocol);
    if (name.len && memcmp(name.data, protocol, sizeof protocol) != 0)
        return err_set(err, ERR_UNSUPPORTED, "not a BitTorrent handshake");
    reader_copy(&r, out->reserved, sizeof out->reserved);
    reader_copy(&r, out->infohash, sizeof out->infohash);
    reader_copy(&r, out->peer_id, sizeof out->peer_id);
    enum err_code code = reader_end(&r);
    if (code && err)
        *err = r.err;
    return code;
}

void handshake_write(struct writer *w, const struct handshake *h)
{
    writer_put(w, bytes_of(protocol, sizeof protocol));
    writer_put(w, bytes_of(h->reserved, sizeof h->reserved));
    writer_put(w, bytes_of(h->infohash, sizeof h->infohash));
    writer_put(w, bytes_of(h->peer_id, sizeof h->peer_id));
}

bool handshake_may_begin(struct bytes in)
{
    size_t n = size_min(in.len, sizeof protocol);
    return n == 0 || memcmp(in.data, protocol, n) == 0;
}

/* --- messages: lengths ----------------------------------------------------------------------- */

#define HASH_REF_LEN   (SHA256_LEN + 16u)
#define HASHES_LEN_MAX (1u + HASH_REF_LEN + MERKLE_ANSWER_N_MAX * SHA256_LEN)

/* Bounds of a message, its id byte included; max 0: no such message. */
static const struct {
    uint32_t min, max;
} lens[MSG_HASH_REJECT + 1] = {
    [MSG_CHOKE] = {1, 1},
    [MSG_UNCHOKE] = {1, 1},
    [MSG_INTERESTED] = {1, 1},
    [MSG_NOT_INTERESTED] = {1, 1},
    [MSG_HAVE] = {5, 5},
    [MSG_BITFIELD] = {1, 1 + BITFIELD_LEN_MAX},
    [MSG_REQUEST] = {13, 13},
    [MSG_PIECE] = {10, 9 + REQUEST_LEN_MAX},
    [MSG_CANCEL] = {13, 13},
    [MSG_PORT] = {3, 3},
    [MSG_SUGGEST] = {5, 5},
    [MSG_HAVE_ALL] = {1, 1},
    [MSG_HAVE_NONE] = {1, 1},
    [MSG_REJECT] = {13, 13},
    [MSG_ALLOWED_FAST] = {5, 5},
    [MSG_EXTENDED] = {2, EXTENDED_LEN_MAX},
    [MSG_HASH_REQUEST] = {1 + HASH_REF_LEN, 1 + HASH_REF_LEN},
    [MSG_HASHES] = {1 + HASH_REF_LEN, HASHES_LEN_MAX},
    [MSG_HASH_REJECT] = {1 + HASH_REF_LEN, 1 + HASH_REF_LEN},
};

bool peer_msg_is_known(uint8_t id)
{
    return id <= MSG_HASH_REJECT && lens[id].max != 0;
}

uint32_t peer_msg_len_min(uint8_t id)
{
    return peer_msg_is_known(id) ? lens[id].min : 1;
}

uint32_t peer_msg_len_max(uint8_t id)
{
    return peer_msg_is_known(id) ? lens[id].max : 0;
}

/* --- messages: reading ----------------------------------------------------------------------- */

static void read_block(struct reader *r, struct wire_block *out)
{
    out->piece = reader_u32be(r);
    out->begin = reader_u32be(r);
    out->len = reader_u32be(r);
    if (out->len == 0 || out->len > REQUEST_LEN_MAX)
        reader_fail(r, ERR_LIMIT, "request length is not 1 to 131072");
}

/* Any values pass: which of them can be served is hash_xfer's business, and a reject repeats what
 * was asked. */
static void read_hash_ref(struct reader *r, struct merkle_request *out)
{
    reader_copy(r, out->root, sizeof out->root);
    out->base_layer = reader_u32be(r);
    out->index = reader_u32be(r);
    out->length = reader_u32be(r);
    out->proof_layers = reader_u32be(r);
}

static void read_hashes(struct reader *r, struct wire_msg *out)
{
    read_hash_ref(r, &out->hashes.ref);
    if (reader_left(r) == 0 || reader_left(r) % SHA256_LEN != 0)
        reader_fail(r, ERR_MALFORMED, "hashes are not whole SHA-256 values");
    out->hashes.list = reader_rest(r);
}

bool merkle_request_equal(const struct merkle_request *a, const struct merkle_request *b)
{
    return a->base_layer == b->base_layer && a->index == b->index && a->length == b->length &&
           a->proof_layers == b->proof_layers && memcmp(a->root, b->root, SHA256_LEN) == 0;
}

static void read_payload(struct reader *r, struct wire_msg *out)
{
    switch (out->id) {
    case MSG_HAVE:
    case MSG_SUGGEST:
    case MSG_ALLOWED_FAST:
        out->piece = reader_u32be(r);
        break;
    case MSG_REQUEST:
    case MSG_CANCEL:
    case MSG_REJECT:
        read_block(r, &out->block);
        break;
    case MSG_BITFIELD:
        out->bitfield = reader_rest(r);
        break;
    case MSG_PORT:
        out->port = reader_u16be(r);
        break;
    case MSG_EXTENDED:
        out->extended.id = reader_u8(r);
        out->extended.payload = reader_rest(r);
        break;
    case MSG_HASH_REQUEST:
    case MSG_HASH_REJECT:
        read_hash_ref(r, &out->hashes.ref);
        break;
    case MSG_HASHES:
        read_hashes(r, out);
        break;
    default:
        break;
    }
}

enum err_code peer_msg_read(struct bytes in, struct wire_msg *out, struct err *err)
{
    struct reader r = reader_init(in);
    *out = (struct wire_msg){.id = reader_u8(&r)};
    if (!reader_ok(&r))
        return err_set(err, ERR_TRUNCATED, "message without an id");
    if (!peer_msg_is_known(out->id) || out->id == MSG_PIECE)
        return err_set_at(err, ERR_UNSUPPORTED, "message id", 0, out->id, 0);
    if (in.len > lens[out->id].max && lens[out->id].min < lens[out->id].max)
        return err_set_at(err, ERR_LIMIT, "message too long", out->id, in.len, lens[out->id].max);
    read_payload(&r, out);
    enum err_code code = reader_end(&r);
    if (code && err)
        *err = r.err;
    return code;
}

/* --- messages: writing ----------------------------------------------------------------------- */

static void write_head(struct writer *w, enum msg_id id, size_t payload_len)
{
    writer_u32be(w, (uint32_t)(1 + payload_len));
    writer_u8(w, (uint8_t)id);
}

void peer_msg_write_keep_alive(struct writer *w)
{
    writer_u32be(w, 0);
}

void peer_msg_write_plain(struct writer *w, enum msg_id id)
{
    write_head(w, id, 0);
}

void peer_msg_write_piece_index(struct writer *w, enum msg_id id, uint32_t piece)
{
    write_head(w, id, 4);
    writer_u32be(w, piece);
}

void peer_msg_write_block(struct writer *w, enum msg_id id, const struct wire_block *b)
{
    write_head(w, id, 12);
    writer_u32be(w, b->piece);
    writer_u32be(w, b->begin);
    writer_u32be(w, b->len);
}

void peer_msg_write_bitfield(struct writer *w, struct bytes bits)
{
    write_head(w, MSG_BITFIELD, bits.len);
    writer_put(w, bits);
}

void peer_msg_write_piece_head(struct writer *w, const struct wire_block *b)
{
    write_head(w, MSG_PIECE, 8 + (size_t)b->len);
    writer_u32be(w, b->piece);
    writer_u32be(w, b->begin);
}

void peer_msg_write_port(struct writer *w, uint16_t port)
{
    write_head(w, MSG_PORT, 2);
    writer_u16be(w, port);
}

void peer_msg_write_extended(struct writer *w, uint8_t ext_id, struct bytes payload)
{
    peer_msg_write_extended_head(w, ext_id, payload.len);
    writer_put(w, payload);
}

void peer_msg_write_extended_head(struct writer *w, uint8_t ext_id, size_t payload_len)
{
    write_head(w, MSG_EXTENDED, 1 + payload_len);
    writer_u8(w, ext_id);
}

static void write_hash_ref(struct writer *w, const struct merkle_request *r)
{
    writer_put(w, bytes_of(r->root, sizeof r->root));
    writer_u32be(w, r->base_layer);
    writer_u32be(w, r->index);
    writer_u32be(w, r->length);
    writer_u32be(w, r->proof_layers);
}

void peer_msg_write_hash_request(struct writer *w, const struct merkle_request *r)
{
    write_head(w, MSG_HASH_REQUEST, HASH_REF_LEN);
    write_hash_ref(w, r);
}

void peer_msg_write_hash_reject(struct writer *w, const struct merkle_request *r)
{
    write_head(w, MSG_HASH_REJECT, HASH_REF_LEN);
    write_hash_ref(w, r);
}

void peer_msg_write_hashes(struct writer *w, const struct merkle_request *r, struct bytes list)
{
    write_head(w, MSG_HASHES, HASH_REF_LEN + list.len);
    write_hash_ref(w, r);
    writer_put(w, list);
}
