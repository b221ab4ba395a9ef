#include "chain/sighash.h"
#include "chain/script_op.h"

/* --- a stream into SHA-256 ------------------------------------------------------------------- */

/* Small fields gather here: one call of the hash for many of them. */
struct stream {
    struct sha256_state sha;
    size_t len;
    uint8_t buf[512];
};

static void flush(struct stream *s)
{
    sha256_update(&s->sha, bytes_of(s->buf, s->len));
    s->len = 0;
}

static void put(struct stream *s, const void *data, size_t len)
{
    if (len > sizeof s->buf - s->len) {
        flush(s);
        if (len > sizeof s->buf) {
            sha256_update(&s->sha, bytes_of(data, len));
            return;
        }
    }
    if (len)
        memcpy(s->buf + s->len, data, len);
    s->len += len;
}

static void put_u8(struct stream *s, uint8_t v)
{
    put(s, &v, 1);
}

static void put_u32(struct stream *s, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    put(s, b, sizeof b);
}

static void put_i64(struct stream *s, int64_t v)
{
    put_u32(s, (uint32_t)(uint64_t)v);
    put_u32(s, (uint32_t)((uint64_t)v >> 32));
}

static void put_hash(struct stream *s, const struct hash256 *h)
{
    put(s, h->b, sizeof h->b);
}

static void put_compact(struct stream *s, size_t v)
{
    if (v < 0xfd) {
        put_u8(s, (uint8_t)v);
    } else if (v <= 0xffff) {
        uint8_t b[3] = {0xfd, (uint8_t)v, (uint8_t)(v >> 8)};
        put(s, b, sizeof b);
    } else {
        put_u8(s, 0xfe);
        put_u32(s, (uint32_t)v);
    }
}

static void put_bytes(struct stream *s, struct bytes b)
{
    put_compact(s, b.len);
    put(s, b.data, b.len);
}

static void put_outpoint(struct stream *s, const struct outpoint *o)
{
    put_hash(s, &o->txid);
    put_u32(s, o->n);
}

static void put_out(struct stream *s, const struct tx_out *o)
{
    put_i64(s, o->value_sat);
    put_bytes(s, o->script);
}

static void stream_init(struct stream *s)
{
    sha256_init(&s->sha);
    s->len = 0;
}

static void stream_final(struct stream *s, struct hash256 *out)
{
    flush(s);
    sha256_final(&s->sha, out->b);
}

static void hash_again(const struct hash256 *single, struct hash256 *out)
{
    sha256(bytes_of(single->b, sizeof single->b), out->b);
}

/* --- what all inputs share ------------------------------------------------------------------- */

static void hash_outpoints(struct tx_spend *s)
{
    struct stream prevouts, sequences;
    stream_init(&prevouts);
    stream_init(&sequences);
    for (uint32_t i = 0; i < s->tx->n_in; i++) {
        put_outpoint(&prevouts, &s->tx->in[i].prev);
        put_u32(&sequences, s->tx->in[i].sequence);
    }
    stream_final(&prevouts, &s->prevouts1);
    stream_final(&sequences, &s->sequences1);
}

static void hash_outputs(struct tx_spend *s)
{
    struct stream outputs;
    stream_init(&outputs);
    for (uint32_t i = 0; i < s->tx->n_out; i++)
        put_out(&outputs, &s->tx->out[i]);
    stream_final(&outputs, &s->outputs1);
}

static void hash_spent(struct tx_spend *s)
{
    struct stream amounts, scripts;
    stream_init(&amounts);
    stream_init(&scripts);
    for (uint32_t i = 0; i < s->tx->n_in; i++) {
        put_i64(&amounts, s->spent[i].value_sat);
        put_bytes(&scripts, s->spent[i].script);
    }
    stream_final(&amounts, &s->amounts1);
    stream_final(&scripts, &s->scripts1);
}

static void fill(struct tx_spend *s, bool has_v0, bool has_taproot)
{
    s->has_v0 = has_v0;
    s->has_taproot = has_taproot && s->spent;
    if (!has_v0 && !has_taproot)
        return;
    hash_outpoints(s);
    hash_outputs(s);
    if (has_v0) {
        hash_again(&s->prevouts1, &s->prevouts);
        hash_again(&s->sequences1, &s->sequences);
        hash_again(&s->outputs1, &s->outputs);
    }
    if (s->has_taproot)
        hash_spent(s);
}

static bool is_taproot(struct bytes script)
{
    return script.len == 34 && script.data[0] == OP_1 && script.data[1] == 32;
}

void tx_spend_init(struct tx_spend *out, const struct tx *tx, const struct tx_out *spent)
{
    bool has_v0 = false, has_taproot = false;
    out->tx = tx;
    out->spent = spent;
    for (uint32_t i = 0; i < tx->n_in && !(has_v0 && has_taproot); i++) {
        if (tx->in[i].n_witness == 0)
            continue;
        if (spent && is_taproot(spent[i].script))
            has_taproot = true;
        else
            has_v0 = true;
    }
    fill(out, has_v0, has_taproot);
}

/* --- the memo -------------------------------------------------------------------------------- */

void sighash_memo_reset(struct sighash_memo *m)
{
    for (unsigned i = 0; i < SIGHASH_N_SHAPES; i++)
        m->shapes[i].code.data = NULL;
}

/* What of the transaction is hashed depends on this much of the hash type. */
static unsigned shape_of(uint32_t hash_type)
{
    uint32_t what = hash_type & 0x1f;
    unsigned shape = what == SIGHASH_NONE ? 1 : what == SIGHASH_SINGLE ? 2 : 0;
    return hash_type & SIGHASH_ANYONECANPAY ? shape + 3 : shape;
}

static bool memo_find(const struct sighash_memo *m, struct bytes code, uint32_t hash_type,
                      struct stream *s)
{
    unsigned i = shape_of(hash_type);
    if (!m || !m->shapes[i].code.data || m->shapes[i].code.data != code.data ||
        m->shapes[i].code.len != code.len)
        return false;
    s->sha = m->shapes[i].state;
    s->len = 0;
    return true;
}

static void memo_keep(struct sighash_memo *m, struct bytes code, uint32_t hash_type,
                      struct stream *s)
{
    unsigned i = shape_of(hash_type);
    if (!m)
        return;
    flush(s);
    m->shapes[i].code = code;
    m->shapes[i].state = s->sha;
}

/* Hash type last, and double SHA-256. */
static void finish(struct stream *s, uint32_t hash_type, struct hash256 *out)
{
    struct hash256 single;
    put_u32(s, hash_type);
    stream_final(s, &single);
    hash_again(&single, out);
}

/* --- the original ---------------------------------------------------------------------------- */

static size_t count_codeseparators(struct bytes code)
{
    size_t n = 0, pos = 0;
    uint8_t op;
    struct bytes push;
    if (!code.len || !memchr(code.data, OP_CODESEPARATOR, code.len))
        return 0;
    while (script_next(code, &pos, &op, &push))
        n += op == OP_CODESEPARATOR;
    return n;
}

static void put_code(struct stream *s, struct bytes code)
{
    size_t n = count_codeseparators(code), pos = 0, from = 0;
    uint8_t op;
    struct bytes push;
    put_compact(s, code.len - n);
    while (n > 0 && script_next(code, &pos, &op, &push)) {
        if (op != OP_CODESEPARATOR)
            continue;
        put(s, code.data + from, pos - 1 - from);
        from = pos;
        n--;
    }
    if (from < code.len)
        put(s, code.data + from, code.len - from);
}

/* An input that is not being signed: no script; NONE and SINGLE leave its sequence open. */
static void put_other_in(struct stream *s, const struct tx_in *in, bool is_sequence_open)
{
    uint8_t *p = s->buf + s->len;
    uint32_t sequence = is_sequence_open ? 0 : in->sequence;
    if (sizeof s->buf - s->len < 41) {
        flush(s);
        p = s->buf;
    }
    memcpy(p, in->prev.txid.b, 32);
    for (unsigned i = 0; i < 4; i++) {
        p[32 + i] = (uint8_t)(in->prev.n >> (8 * i));
        p[37 + i] = (uint8_t)(sequence >> (8 * i));
    }
    p[36] = 0;
    s->len += 41;
}

static void put_signed_in(struct stream *s, const struct tx_in *in, struct bytes code)
{
    put_outpoint(s, &in->prev);
    put_code(s, code);
    put_u32(s, in->sequence);
}

static void put_ins(struct stream *s, const struct tx *tx, uint32_t in_index, struct bytes code,
                    uint32_t hash_type)
{
    bool is_open = (hash_type & 0x1f) == SIGHASH_NONE || (hash_type & 0x1f) == SIGHASH_SINGLE;
    if (hash_type & SIGHASH_ANYONECANPAY) {
        put_compact(s, 1);
        put_signed_in(s, &tx->in[in_index], code);
        return;
    }
    put_compact(s, tx->n_in);
    for (uint32_t i = 0; i < tx->n_in; i++) {
        if (i == in_index)
            put_signed_in(s, &tx->in[i], code);
        else
            put_other_in(s, &tx->in[i], is_open);
    }
}

/* SINGLE: outputs before the input's own become empty ones of value -1. */
static void put_outs(struct stream *s, const struct tx *tx, uint32_t in_index, uint32_t hash_type)
{
    uint32_t what = hash_type & 0x1f;
    bool is_single = what == SIGHASH_SINGLE;
    uint32_t n = what == SIGHASH_NONE ? 0 : is_single ? in_index + 1 : tx->n_out;
    put_compact(s, n);
    for (uint32_t i = 0; i < n; i++) {
        if (is_single && i < in_index)
            put_out(s, &(struct tx_out){.value_sat = -1});
        else
            put_out(s, &tx->out[i]);
    }
}

void sighash_legacy(const struct tx *tx, uint32_t in_index, struct bytes code, uint32_t hash_type,
                    struct sighash_memo *memo, struct hash256 *out)
{
    struct stream s;
    /* An old mistake that is a rule now: SINGLE without an output of that index signs the number
     * one. */
    if (in_index >= tx->n_in || ((hash_type & 0x1f) == SIGHASH_SINGLE && in_index >= tx->n_out)) {
        *out = (struct hash256){.b = {1}};
        return;
    }
    if (!memo_find(memo, code, hash_type, &s)) {
        stream_init(&s);
        put_u32(&s, tx->version);
        put_ins(&s, tx, in_index, code, hash_type);
        put_outs(&s, tx, in_index, hash_type);
        put_u32(&s, tx->lock_time);
        memo_keep(memo, code, hash_type, &s);
    }
    finish(&s, hash_type, out);
}

/* --- BIP 143 --------------------------------------------------------------------------------- */

/* BIP 143, "Specification", item 8: SINGLE takes its own output, or zeros when there is none. */
static void put_v0_outputs(struct stream *s, const struct tx_spend *spend, uint32_t in_index,
                           uint32_t hash_type)
{
    struct hash256 h = {0};
    struct stream one;
    uint32_t what = hash_type & 0x1f;
    if (what == SIGHASH_SINGLE && in_index < spend->tx->n_out) {
        stream_init(&one);
        put_out(&one, &spend->tx->out[in_index]);
        stream_final(&one, &h);
        hash_again(&h, &h);
    } else if (what != SIGHASH_SINGLE && what != SIGHASH_NONE) {
        h = spend->outputs;
    }
    put_hash(s, &h);
}

static void put_v0(struct stream *s, const struct tx_spend *spend, uint32_t in_index,
                   struct bytes code, int64_t amount_sat, uint32_t hash_type)
{
    static const struct hash256 zero;
    const struct tx_in *in = &spend->tx->in[in_index];
    bool is_alone = hash_type & SIGHASH_ANYONECANPAY;
    bool is_open = (hash_type & 0x1f) == SIGHASH_NONE || (hash_type & 0x1f) == SIGHASH_SINGLE;
    put_u32(s, spend->tx->version);
    put_hash(s, is_alone ? &zero : &spend->prevouts);
    put_hash(s, is_alone || is_open ? &zero : &spend->sequences);
    put_outpoint(s, &in->prev);
    put_bytes(s, code);
    put_i64(s, amount_sat);
    put_u32(s, in->sequence);
    put_v0_outputs(s, spend, in_index, hash_type);
    put_u32(s, spend->tx->lock_time);
}

void sighash_v0(const struct tx_spend *s, uint32_t in_index, struct bytes code, int64_t amount_sat,
                uint32_t hash_type, struct sighash_memo *memo, struct hash256 *out)
{
    struct stream stream;
    struct tx_spend filled;
    if (!memo_find(memo, code, hash_type, &stream)) {
        if (!s->has_v0) {
            filled = *s;
            fill(&filled, true, false);
            s = &filled;
        }
        stream_init(&stream);
        put_v0(&stream, s, in_index, code, amount_sat, hash_type);
        memo_keep(memo, code, hash_type, &stream);
    }
    finish(&stream, hash_type, out);
}

/* --- BIP 341 --------------------------------------------------------------------------------- */

void sighash_tag_init(struct sha256_state *s, enum sighash_tag tag)
{
    /* SHA-256 of the tag twice is one block: these are the states behind it. */
    static const uint32_t states[][8] = {
        [TAG_TAPLEAF] = {0x9ce0e4e6, 0x7c116c39, 0x38b3caf2, 0xc30f5089, 0xd3f3936c, 0x47636e60,
                         0x7db33eea, 0xddc6f0c9},
        [TAG_TAPBRANCH] = {0x23a865a9, 0xb8a40da7, 0x977c1e04, 0xc49e246f, 0xb5be1376, 0x9d24c9b7,
                           0xb583b5d4, 0xa8d226d2},
        [TAG_TAPTWEAK] = {0xd129a2f3, 0x701c655d, 0x6583b6c3, 0xb9419727, 0x95f4e232, 0x94fd54f4,
                          0xa2ae8d85, 0x47ca590b},
        [TAG_TAPSIGHASH] = {0xf504a425, 0xd7f8783b, 0x1363868a, 0xe3e55658, 0x6eee945d, 0xbc7888dd,
                            0x02a6e2c3, 0x1873fe9f},
    };
    sha256_init(s);
    for (unsigned i = 0; i < 8; i++)
        s->ctx.h[i] = states[tag][i];
    s->ctx.Nl = 512; /* bits hashed */
}

void sighash_tapleaf(uint8_t leaf_version, struct bytes script, struct hash256 *out)
{
    struct stream s;
    sighash_tag_init(&s.sha, TAG_TAPLEAF);
    s.len = 0;
    put_u8(&s, leaf_version);
    put_bytes(&s, script);
    stream_final(&s, out);
}

void sighash_tapbranch(const uint8_t a[32], const uint8_t b[32], uint8_t out[32])
{
    struct sha256_state s;
    bool is_sorted = memcmp(a, b, 32) < 0;
    sighash_tag_init(&s, TAG_TAPBRANCH);
    sha256_update(&s, bytes_of(is_sorted ? a : b, 32));
    sha256_update(&s, bytes_of(is_sorted ? b : a, 32));
    sha256_final(&s, out);
}

/* BIP 341, "Common signature message": these and no others. */
static bool v1_type_is_known(uint8_t hash_type)
{
    return hash_type <= SIGHASH_SINGLE || (hash_type > SIGHASH_ANYONECANPAY &&
                                           hash_type <= (SIGHASH_ANYONECANPAY | SIGHASH_SINGLE));
}

static void put_v1_in(struct stream *s, const struct tx_spend *spend, uint32_t in_index,
                      uint8_t hash_type, const struct sighash_taproot *t)
{
    const struct tx_in *in = &spend->tx->in[in_index];
    put_u8(s, (uint8_t)((t->is_tapscript ? 2 : 0) | (t->has_annex ? 1 : 0))); /* spend type */
    if (hash_type & SIGHASH_ANYONECANPAY) {
        put_outpoint(s, &in->prev);
        put_out(s, &spend->spent[in_index]);
        put_u32(s, in->sequence);
    } else {
        put_u32(s, in_index);
    }
    if (t->has_annex)
        put_hash(s, &t->annex);
}

static void put_v1_shared(struct stream *s, const struct tx_spend *spend, uint8_t hash_type)
{
    uint8_t what = hash_type & 3;
    put_u8(s, 0); /* epoch */
    put_u8(s, hash_type);
    put_u32(s, spend->tx->version);
    put_u32(s, spend->tx->lock_time);
    if (!(hash_type & SIGHASH_ANYONECANPAY)) {
        put_hash(s, &spend->prevouts1);
        put_hash(s, &spend->amounts1);
        put_hash(s, &spend->scripts1);
        put_hash(s, &spend->sequences1);
    }
    if (what != SIGHASH_NONE && what != SIGHASH_SINGLE)
        put_hash(s, &spend->outputs1);
}

static void put_v1_single(struct stream *s, const struct tx_out *o)
{
    struct stream one;
    struct hash256 h;
    stream_init(&one);
    put_out(&one, o);
    stream_final(&one, &h);
    put_hash(s, &h);
}

bool sighash_v1(const struct tx_spend *s, uint32_t in_index, uint8_t hash_type,
                const struct sighash_taproot *t, struct hash256 *out)
{
    struct stream stream;
    struct tx_spend filled;
    bool is_single = (hash_type & 3) == SIGHASH_SINGLE;
    if (!v1_type_is_known(hash_type) || !s->spent || (is_single && in_index >= s->tx->n_out))
        return false;
    if (!s->has_taproot) {
        filled = *s;
        fill(&filled, false, true);
        s = &filled;
    }
    sighash_tag_init(&stream.sha, TAG_TAPSIGHASH);
    stream.len = 0;
    put_v1_shared(&stream, s, hash_type);
    put_v1_in(&stream, s, in_index, hash_type, t);
    if (is_single)
        put_v1_single(&stream, &s->tx->out[in_index]);
    if (t->is_tapscript) { /* BIP 342: leaf, key version 0, place of the separator */
        put_hash(&stream, &t->leaf);
        put_u8(&stream, 0);
        put_u32(&stream, t->codesep_pos);
    }
    stream_final(&stream, out);
    return true;
}

/* --- FindAndDelete --------------------------------------------------------------------------- */

static bool pattern_is_at(struct bytes code, size_t pos, struct bytes pattern)
{
    return code.len - pos >= pattern.len && memcmp(code.data + pos, pattern.data, pattern.len) == 0;
}

size_t script_find_and_delete(struct bytes code, struct bytes pattern, uint8_t *room,
                              struct bytes *out)
{
    size_t pos = 0, from = 0, len = 0, n = 0;
    uint8_t op;
    struct bytes push;
    *out = code;
    if (pattern.len == 0 || pattern.len > code.len)
        return 0;
    do {
        size_t kept = pos - from;
        if (n > 0 || pattern_is_at(code, pos, pattern)) {
            memmove(room + len, code.data + from, kept);
            len += kept;
            for (; pattern_is_at(code, pos, pattern); n++)
                pos += pattern.len;
            from = pos;
        }
    } while (script_next(code, &pos, &op, &push));
    if (n == 0)
        return 0;
    memmove(room + len, code.data + from, code.len - from);
    *out = bytes_of(room, len + code.len - from);
    return n;
}
