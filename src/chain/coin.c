#include "chain/coin.h"
#include "crypto/secp_pubkey.h"

/* --- amounts: without their trailing decimal zeros (Bitcoin Core src/compressor.cpp) ----------
 * x - 1 = 10 * (9 * n + d - 1) + e for (10 n + d) * 10^e, where d is 1 to 9; with e = 9 the last
 * digit may be anything: x - 1 = 10 * (n - 1) + 9. Zero stays zero. */

uint64_t amount_compress(uint64_t sats)
{
    if (sats == 0)
        return 0;
    uint64_t e = 0, n = sats;
    for (; n % 10 == 0 && e < 9; e++)
        n /= 10;
    return e < 9 ? 1 + (n / 10 * 9 + n % 10 - 1) * 10 + e : 1 + (n - 1) * 10 + 9;
}

uint64_t amount_decompress(uint64_t x)
{
    if (x == 0)
        return 0;
    uint64_t e = (x - 1) % 10, n = (x - 1) / 10;
    n = e < 9 ? n / 9 * 10 + n % 9 + 1 : n + 1;
    for (; e; e--)
        n *= 10; /* may wrap: coin_read bounds what comes out */
    return n;
}

/* --- VARINT: most significant group first; each further byte also adds one, so that every number
 * has one form only --------------------------------------------------------------------------- */

uint64_t reader_varint(struct reader *r)
{
    uint64_t v = 0;
    for (;;) {
        uint8_t b = reader_u8(r);
        if (!reader_ok(r))
            return 0;
        if (v > UINT64_MAX >> 7)
            break;
        v = v << 7 | (b & 0x7f);
        if (!(b & 0x80))
            return v;
        if (v == UINT64_MAX)
            break;
        v++;
    }
    reader_fail(r, ERR_MALFORMED, "VARINT is above 64 bits");
    return 0;
}

#define VARINT_LEN_MAX 10u

/* Into the end of out; returns the length. */
static size_t varint_put(uint8_t out[VARINT_LEN_MAX], uint64_t v)
{
    size_t at = VARINT_LEN_MAX;
    out[--at] = v & 0x7f;
    while (v > 0x7f) {
        v = (v >> 7) - 1;
        out[--at] = (v & 0x7f) | 0x80;
    }
    return VARINT_LEN_MAX - at;
}

void writer_varint(struct writer *w, uint64_t v)
{
    uint8_t b[VARINT_LEN_MAX];
    size_t len = varint_put(b, v);
    writer_put(w, bytes_of(b + VARINT_LEN_MAX - len, len));
}

size_t varint_len(uint64_t v)
{
    size_t len = 1;
    for (; v > 0x7f; v = (v >> 7) - 1)
        len++;
    return len;
}

/* --- scripts ---------------------------------------------------------------------------------
 * The length's VARINT carries 6 more than the length; below 6 it names a script by its kind. */

enum script_kind {
    KIND_P2PKH,  /* 20 bytes: hash of the key                            */
    KIND_P2SH,   /* 20 bytes: hash of the script                         */
    KIND_P2PK_2, /* 32 bytes: x of a short key; 3: odd y                 */
    KIND_P2PK_3, /*                                                      */
    KIND_P2PK_4, /* 32 bytes: x of a long key, y computed; 5: odd y      */
    KIND_P2PK_5, /*                                                      */
    N_SCRIPT_KINDS
};

#define OP_DUP         0x76
#define OP_EQUAL       0x87
#define OP_EQUALVERIFY 0x88
#define OP_HASH160     0xa9
#define OP_CHECKSIG    0xac
#define OP_RETURN      0x6a

static size_t kind_len(uint64_t kind)
{
    return kind <= KIND_P2SH ? 20 : 32;
}

/* The kind, N_SCRIPT_KINDS when there is none; *out: what is kept of the script. */
static enum script_kind script_classify(struct bytes s, struct bytes *out)
{
    const uint8_t *p = s.data;
    if (s.len == 25 && p[0] == OP_DUP && p[1] == OP_HASH160 && p[2] == 20 &&
        p[23] == OP_EQUALVERIFY && p[24] == OP_CHECKSIG) {
        *out = bytes_of(p + 3, 20);
        return KIND_P2PKH;
    }
    if (s.len == 23 && p[0] == OP_HASH160 && p[1] == 20 && p[22] == OP_EQUAL) {
        *out = bytes_of(p + 2, 20);
        return KIND_P2SH;
    }
    if (s.len == 35 && p[0] == 33 && p[34] == OP_CHECKSIG && (p[1] == 2 || p[1] == 3)) {
        *out = bytes_of(p + 2, 32);
        return p[1] == 2 ? KIND_P2PK_2 : KIND_P2PK_3;
    }
    if (s.len == 67 && p[0] == 65 && p[66] == OP_CHECKSIG && secp_pubkey_long_is_valid(p + 1)) {
        *out = bytes_of(p + 2, 32);
        return p[65] & 1 ? KIND_P2PK_5 : KIND_P2PK_4;
    }
    return N_SCRIPT_KINDS;
}

void script_write_compressed(struct writer *w, struct bytes script)
{
    struct bytes kept;
    enum script_kind kind = script_classify(script, &kept);
    if (kind == N_SCRIPT_KINDS) {
        writer_varint(w, (uint64_t)script.len + N_SCRIPT_KINDS);
        writer_put(w, script);
        return;
    }
    writer_u8(w, (uint8_t)kind);
    writer_put(w, kept);
}

#define SCRIPT_BUILT_LEN_MAX 67u

/* The script of a kind from what was kept of it; 0 when the bytes are no point of the curve. */
static size_t script_build(uint64_t kind, const uint8_t *kept, uint8_t out[SCRIPT_BUILT_LEN_MAX])
{
    struct writer w = writer_init(out, SCRIPT_BUILT_LEN_MAX);
    uint8_t key[SECP_PUBKEY_SHORT_LEN];
    switch (kind) {
    case KIND_P2PKH:
        writer_put(&w, bytes_of((const uint8_t[]){OP_DUP, OP_HASH160, 20}, 3));
        writer_put(&w, bytes_of(kept, 20));
        writer_put(&w, bytes_of((const uint8_t[]){OP_EQUALVERIFY, OP_CHECKSIG}, 2));
        break;
    case KIND_P2SH:
        writer_put(&w, bytes_of((const uint8_t[]){OP_HASH160, 20}, 2));
        writer_put(&w, bytes_of(kept, 20));
        writer_u8(&w, OP_EQUAL);
        break;
    case KIND_P2PK_2:
    case KIND_P2PK_3:
        writer_put(&w, bytes_of((const uint8_t[]){33, (uint8_t)kind}, 2));
        writer_put(&w, bytes_of(kept, 32));
        writer_u8(&w, OP_CHECKSIG);
        break;
    default:
        key[0] = (uint8_t)(kind - 2);
        memcpy(key + 1, kept, 32);
        if (!secp_pubkey_decompress(key, out + 1))
            return 0;
        out[0] = 65;
        out[66] = OP_CHECKSIG;
        return 67;
    }
    return w.pos;
}

enum err_code script_read_compressed(struct reader *r, struct arena *a, struct bytes *out)
{
    uint64_t n = reader_varint(r);
    if (reader_ok(r) && n < N_SCRIPT_KINDS) {
        uint8_t built[SCRIPT_BUILT_LEN_MAX];
        struct bytes kept = reader_take(r, kind_len(n));
        size_t len = reader_ok(r) ? script_build(n, kept.data, built) : 0;
        if (!len)
            reader_fail(r, ERR_MALFORMED, "compressed key is no point of the curve");
        *out = len ? arena_dup(a, bytes_of(built, len)) : (struct bytes){0};
        if (len && !out->data)
            reader_fail(r, ERR_NO_MEMORY, "no memory for a script");
        return r->err.code;
    }
    n -= N_SCRIPT_KINDS;
    if (n > COIN_SCRIPT_LEN_MAX && n <= reader_left(r)) {
        static const uint8_t unspendable[] = {OP_RETURN};
        reader_skip(r, n);
        *out = bytes_of(unspendable, sizeof unspendable);
        return r->err.code;
    }
    if (reader_ok(r) && n > reader_left(r))
        reader_fail(r, ERR_TRUNCATED, "input ends inside a script");
    *out = reader_take(r, n);
    return r->err.code;
}

/* --- coins ----------------------------------------------------------------------------------- */

size_t coin_len_max(const struct coin *c)
{
    return 2 * VARINT_LEN_MAX + VARINT_LEN_MAX + c->script.len;
}

void coin_write(struct writer *w, const struct coin *c)
{
    writer_varint(w, (uint64_t)c->height << 1 | c->is_coinbase);
    writer_varint(w, amount_compress((uint64_t)c->value_sat));
    script_write_compressed(w, c->script);
}

enum err_code coin_read(struct reader *r, struct arena *a, struct coin *out)
{
    uint64_t code = reader_varint(r);
    if (code > UINT32_MAX)
        reader_fail(r, ERR_MALFORMED, "height of a coin is above 31 bits");
    uint64_t sats = amount_decompress(reader_varint(r));
    if (sats > (uint64_t)MONEY_SATS_MAX)
        reader_fail(r, ERR_MALFORMED, "value of a coin is above 21 million");
    *out = (struct coin){
        .value_sat = (int64_t)sats, .height = (uint32_t)(code >> 1), .is_coinbase = code & 1};
    return script_read_compressed(r, a, &out->script);
}
