#include "chain/tx.h"
#include "base/size.h"
#include "crypto/sha256d.h"
#include <assert.h>

#define COMPACT_SIZE_MAX 0x02000000u /* Bitcoin Core src/serialize.h, MAX_SIZE */
#define TX_IN_LEN_MIN    41u         /* outpoint, empty script, sequence */
#define TX_OUT_LEN_MIN   9u          /* value, empty script */
#define OUTPOINT_LEN     36u

/* --- CompactSize ----------------------------------------------------------------------------- */

static uint64_t compact_size_long(struct reader *r, uint8_t first)
{
    uint64_t v, least;
    if (first == 0xfd)
        v = reader_u16le(r), least = 0xfd;
    else if (first == 0xfe)
        v = reader_u32le(r), least = 0x10000;
    else
        v = reader_u64le(r), least = UINT64_C(0x100000000);
    if (reader_ok(r) && v < least)
        reader_fail(r, ERR_MALFORMED, "non-canonical ReadCompactSize()");
    else if (v > COMPACT_SIZE_MAX)
        reader_fail(r, ERR_LIMIT, "ReadCompactSize(): size too large");
    return reader_ok(r) ? v : 0;
}

uint64_t reader_compact_size(struct reader *r)
{
    uint8_t first = reader_u8(r);
    return first < 0xfd ? first : compact_size_long(r, first);
}

void writer_compact_size(struct writer *w, uint64_t v)
{
    if (v < 0xfd) {
        writer_u8(w, (uint8_t)v);
    } else if (v <= 0xffff) {
        writer_u8(w, 0xfd);
        writer_u16le(w, (uint16_t)v);
    } else if (v <= 0xffffffff) {
        writer_u8(w, 0xfe);
        writer_u32le(w, (uint32_t)v);
    } else {
        writer_u8(w, 0xff);
        writer_u64le(w, v);
    }
}

size_t compact_size_len(uint64_t v)
{
    return v < 0xfd ? 1 : v <= 0xffff ? 3 : v <= 0xffffffff ? 5 : 9;
}

/* --- parsing --------------------------------------------------------------------------------- */

static uint32_t load_u32le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static struct bytes read_script(struct reader *r)
{
    return reader_take(r, (size_t)reader_compact_size(r));
}

/* A promised number of items of at least item_len_min bytes: refused when they cannot be there. */
static uint32_t read_count(struct reader *r, size_t item_len_min)
{
    uint64_t n = reader_compact_size(r);
    if (n > reader_left(r) / item_len_min)
        reader_fail(r, ERR_TRUNCATED, "more items promised than bytes are left for");
    return reader_ok(r) ? (uint32_t)n : 0;
}

static void *read_array(struct reader *r, struct arena *a, uint32_t n, size_t item_len)
{
    if (n == 0)
        return NULL;
    void *items = arena_alloc(a, n * item_len); /* n is below the input's length: no overflow */
    if (!items)
        reader_fail(r, ERR_NO_MEMORY, "no memory for a transaction");
    return items;
}

static void read_in(struct reader *r, struct tx_in *in)
{
    struct bytes prev = reader_take(r, OUTPOINT_LEN);
    if (!prev.len)
        return;
    memcpy(in->prev.txid.b, prev.data, sizeof in->prev.txid.b);
    in->prev.n = load_u32le(prev.data + sizeof in->prev.txid.b);
    in->script_sig = read_script(r);
    in->witness = (struct bytes){0};
    in->n_witness = 0;
    in->sequence = reader_u32le(r);
}

static void read_ins(struct reader *r, struct arena *a, struct tx *t, uint32_t n)
{
    t->in = read_array(r, a, n, sizeof *t->in);
    for (uint32_t i = 0; i < n && reader_ok(r); i++)
        read_in(r, &t->in[i]);
    t->n_in = n;
}

static void read_outs(struct reader *r, struct arena *a, struct tx *t)
{
    uint32_t n = read_count(r, TX_OUT_LEN_MIN);
    t->out = read_array(r, a, n, sizeof *t->out);
    for (uint32_t i = 0; i < n && reader_ok(r); i++) {
        t->out[i].value_sat = (int64_t)reader_u64le(r);
        t->out[i].script = read_script(r);
    }
    t->n_out = n;
}

/* The items of one input's witness; their bytes, lengths and all, stay where they are. */
static void read_witness(struct reader *r, struct tx_in *in)
{
    in->n_witness = read_count(r, 1);
    size_t from = r->pos;
    for (uint32_t i = 0; i < in->n_witness && reader_ok(r); i++)
        reader_skip(r, (size_t)reader_compact_size(r));
    if (reader_ok(r))
        in->witness = bytes_of(r->buf + from, r->pos - from);
}

/* BIP 144: a witness for each input, at least one of them with an item. */
static void read_witnesses(struct reader *r, struct tx *t)
{
    for (uint32_t i = 0; i < t->n_in && reader_ok(r); i++) {
        read_witness(r, &t->in[i]);
        t->has_witness |= t->in[i].n_witness > 0;
    }
    if (!t->has_witness)
        reader_fail(r, ERR_MALFORMED, "Superfluous witness record");
}

/* What follows the marker (an input count of zero): the flag, and the body that it announces. A
 * flag of zero is the empty output count of a transaction that has nothing at all. */
static uint8_t read_flagged(struct reader *r, struct arena *a, struct tx *t)
{
    uint8_t flag = reader_u8(r);
    if (!flag)
        return 0;
    read_ins(r, a, t, read_count(r, TX_IN_LEN_MIN));
    read_outs(r, a, t);
    return flag;
}

enum err_code tx_read(struct reader *r, struct arena *a, bool allow_witness, struct tx *out)
{
    size_t from = r->pos;
    *out = (struct tx){.version = reader_u32le(r)};
    uint32_t n_in = read_count(r, TX_IN_LEN_MIN);
    uint8_t flag = 0;
    if (n_in == 0 && allow_witness) {
        flag = read_flagged(r, a, out);
    } else {
        read_ins(r, a, out, n_in);
        read_outs(r, a, out);
    }
    size_t witness_from = r->pos;
    if (flag & 1)
        read_witnesses(r, out);
    if (flag & ~1u)
        reader_fail(r, ERR_MALFORMED, "Unknown transaction optional data");
    size_t witness_len = r->pos - witness_from;
    out->lock_time = reader_u32le(r);
    if (!reader_ok(r)) {
        *out = (struct tx){0};
        return r->err.code;
    }
    out->raw = bytes_of(r->buf + from, r->pos - from);
    out->stripped_len = out->raw.len - witness_len - (flag ? 2 : 0);
    return ERR_OK;
}

/* --- hashes ---------------------------------------------------------------------------------- */

#define STRIPPED_LEN_MAX 8192u /* ours: longer transactions are hashed by themselves, from pieces */
#define HASH_BATCH       32u   /* ours: messages handed to the lanes at once */

/* The three runs that make up the stripped form: version; counts, inputs and outputs; lock time. */
static void stripped_parts(const struct tx *t, struct bytes out[3])
{
    size_t skip = t->has_witness ? 2 : 0;
    out[0] = bytes_sub(t->raw, 0, 4);
    out[1] = bytes_sub(t->raw, 4 + skip, t->stripped_len - 8);
    out[2] = bytes_sub(t->raw, t->raw.len - 4, 4);
}

void tx_write_stripped(struct writer *w, const struct tx *t)
{
    struct bytes parts[3];
    stripped_parts(t, parts);
    for (size_t i = 0; i < 3; i++)
        writer_put(w, parts[i]);
}

static void hash_from_parts(const struct tx *t, struct hash256 *out)
{
    struct bytes parts[3];
    struct sha256_state s;
    sha256_init(&s);
    stripped_parts(t, parts);
    for (size_t i = 0; i < 3; i++)
        sha256_update(&s, parts[i]);
    sha256_final(&s, out->b);
    sha256(bytes_of(out->b, sizeof out->b), out->b);
}

/* Messages gathered for the lanes, and where their digests go. */
struct hash_batch {
    struct bytes in[HASH_BATCH];
    struct hash256 *to[HASH_BATCH];
    uint8_t scratch[STRIPPED_LEN_MAX];
    size_t n, scratch_len;
};

static void batch_run(struct hash_batch *b)
{
    uint8_t digests[HASH_BATCH][SHA256_LEN];
    sha256d_many(b->in, b->n, digests);
    for (size_t i = 0; i < b->n; i++)
        memcpy(b->to[i]->b, digests[i], sizeof b->to[i]->b);
    b->n = b->scratch_len = 0;
}

static void batch_add(struct hash_batch *b, struct bytes in, struct hash256 *to)
{
    if (b->n == HASH_BATCH)
        batch_run(b);
    b->in[b->n] = in;
    b->to[b->n++] = to;
}

/* txid of a transaction with witness: its stripped form is copied together, unless too long. */
static void batch_add_stripped(struct hash_batch *b, struct tx *t)
{
    if (t->stripped_len > STRIPPED_LEN_MAX) {
        hash_from_parts(t, &t->txid);
        return;
    }
    if (b->n == HASH_BATCH || t->stripped_len > STRIPPED_LEN_MAX - b->scratch_len)
        batch_run(b);
    struct writer w = writer_init(b->scratch + b->scratch_len, t->stripped_len);
    tx_write_stripped(&w, t);
    b->scratch_len += t->stripped_len;
    batch_add(b, writer_bytes(&w), &t->txid);
}

void tx_hash_many(struct tx *txs, size_t n)
{
    struct hash_batch b;
    b.n = b.scratch_len = 0;
    for (size_t i = 0; i < n; i++) {
        batch_add(&b, txs[i].raw, txs[i].has_witness ? &txs[i].wtxid : &txs[i].txid);
        if (txs[i].has_witness)
            batch_add_stripped(&b, &txs[i]);
    }
    batch_run(&b);
    for (size_t i = 0; i < n; i++)
        if (!txs[i].has_witness)
            txs[i].wtxid = txs[i].txid;
}

void tx_hash(struct tx *t)
{
    tx_hash_many(t, 1);
}

/* --- writing, sizes -------------------------------------------------------------------------- */

void tx_out_write(struct writer *w, const struct tx_out *o)
{
    writer_u64le(w, (uint64_t)o->value_sat);
    writer_compact_size(w, o->script.len);
    writer_put(w, o->script);
}

size_t tx_vsize(const struct tx *t)
{
    return (tx_weight(t) + 3) / 4;
}

bool witness_next(struct bytes *rest, struct bytes *out_item)
{
    struct reader r = reader_init(*rest);
    if (!rest->len)
        return false;
    *out_item = read_script(&r);
    *rest = reader_rest(&r);
    assert(reader_ok(&r));
    return true;
}
