/* sighash: for any transaction, script code and hash type the streamed signature hashes are those of
 * a plain serialisation into one buffer, with the memo and without; and taking signatures out of a
 * script is the same as doing it opcode by opcode.
 */
#include "base/arena.h"
#include "chain/script_op.h"
#include "chain/sighash.h"
#include "chain/tx.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROOM_LEN (1u << 20)

static uint8_t room[ROOM_LEN];

static void hash_twice(const struct writer *w, struct hash256 *out)
{
    assert(writer_ok(w));
    sha256(writer_bytes(w), out->b);
    sha256(bytes_of(out->b, 32), out->b);
}

static void put_script(struct writer *w, struct bytes script)
{
    writer_compact_size(w, script.len);
    writer_put(w, script);
}

/* The script code without OP_CODESEPARATOR: first its length, then byte by byte. */
static void put_code(struct writer *w, struct bytes code)
{
    size_t n = code.len, pos = 0, from = 0;
    uint8_t op;
    struct bytes push;
    while (script_next(code, &pos, &op, &push))
        n -= op == OP_CODESEPARATOR;
    writer_compact_size(w, n);
    for (pos = 0; script_next(code, &pos, &op, &push); from = pos) {
        if (op != OP_CODESEPARATOR)
            writer_put(w, bytes_sub(code, from, pos - from));
    }
    writer_put(w, bytes_sub(code, from, code.len));
}

static void put_outpoint(struct writer *w, const struct outpoint *o)
{
    writer_put(w, bytes_of(o->txid.b, 32));
    writer_u32le(w, o->n);
}

/* Bitcoin's first signature hash as a changed copy of the transaction. */
static void model_legacy(const struct tx *t, uint32_t index, struct bytes code, uint32_t type,
                         struct hash256 *out)
{
    struct writer w = writer_init(room, sizeof room);
    bool is_none = (type & 0x1f) == SIGHASH_NONE, is_single = (type & 0x1f) == SIGHASH_SINGLE;
    bool is_alone = type & SIGHASH_ANYONECANPAY;
    if (is_single && index >= t->n_out) {
        *out = (struct hash256){.b = {1}};
        return;
    }
    writer_u32le(&w, t->version);
    writer_compact_size(&w, is_alone ? 1 : t->n_in);
    for (uint32_t i = is_alone ? index : 0; i < (is_alone ? index + 1 : t->n_in); i++) {
        put_outpoint(&w, &t->in[i].prev);
        if (i == index)
            put_code(&w, code);
        else
            writer_u8(&w, 0);
        writer_u32le(&w, i != index && (is_none || is_single) ? 0 : t->in[i].sequence);
    }
    writer_compact_size(&w, is_none ? 0 : is_single ? index + 1 : t->n_out);
    for (uint32_t i = 0; i < (is_none ? 0 : is_single ? index + 1 : t->n_out); i++) {
        bool is_blank = is_single && i < index;
        writer_u64le(&w, is_blank ? UINT64_MAX : (uint64_t)t->out[i].value_sat);
        put_script(&w, is_blank ? (struct bytes){0} : t->out[i].script);
    }
    writer_u32le(&w, t->lock_time);
    writer_u32le(&w, type);
    hash_twice(&w, out);
}

static struct hash256 hash_ins(const struct tx *t, bool is_sequences)
{
    struct writer w = writer_init(room, sizeof room);
    struct hash256 h;
    for (uint32_t i = 0; i < t->n_in; i++) {
        if (is_sequences)
            writer_u32le(&w, t->in[i].sequence);
        else
            put_outpoint(&w, &t->in[i].prev);
    }
    hash_twice(&w, &h);
    return h;
}

static struct hash256 hash_outs(const struct tx *t, uint32_t from, uint32_t to)
{
    struct writer w = writer_init(room, sizeof room);
    struct hash256 h;
    for (uint32_t i = from; i < to; i++) {
        writer_u64le(&w, (uint64_t)t->out[i].value_sat);
        put_script(&w, t->out[i].script);
    }
    hash_twice(&w, &h);
    return h;
}

/* BIP 143, "Specification", item by item. */
static void model_v0(const struct tx *t, uint32_t index, struct bytes code, int64_t amount_sat,
                     uint32_t type, struct hash256 *out)
{
    struct hash256 prevouts = {0}, sequences = {0}, outputs = {0};
    bool is_none = (type & 0x1f) == SIGHASH_NONE, is_single = (type & 0x1f) == SIGHASH_SINGLE;
    if (!(type & SIGHASH_ANYONECANPAY))
        prevouts = hash_ins(t, false);
    if (!(type & SIGHASH_ANYONECANPAY) && !is_none && !is_single)
        sequences = hash_ins(t, true);
    if (!is_none && !is_single)
        outputs = hash_outs(t, 0, t->n_out);
    else if (is_single && index < t->n_out)
        outputs = hash_outs(t, index, index + 1);
    struct writer w = writer_init(room, sizeof room);
    writer_u32le(&w, t->version);
    writer_put(&w, bytes_of(prevouts.b, 32));
    writer_put(&w, bytes_of(sequences.b, 32));
    put_outpoint(&w, &t->in[index].prev);
    put_script(&w, code);
    writer_u64le(&w, (uint64_t)amount_sat);
    writer_u32le(&w, t->in[index].sequence);
    writer_put(&w, bytes_of(outputs.b, 32));
    writer_u32le(&w, t->lock_time);
    writer_u32le(&w, type);
    hash_twice(&w, out);
}

/* Copies that begin where an opcode does go; what follows a copy may be the next one. */
static size_t model_delete(struct bytes code, struct bytes pattern, struct writer *w)
{
    size_t n = 0, pos = 0;
    uint8_t op;
    struct bytes push;
    for (;;) {
        while (pattern.len && bytes_starts_with(bytes_sub(code, pos, code.len), pattern)) {
            pos += pattern.len;
            n++;
        }
        size_t from = pos;
        bool is_more = script_next(code, &pos, &op, &push);
        writer_put(w, bytes_sub(code, from, is_more ? pos - from : code.len));
        if (!is_more)
            return n;
    }
}

static void check_delete(struct bytes code, struct bytes pattern)
{
    static uint8_t deleted[ROOM_LEN];
    struct writer w = writer_init(room, sizeof room);
    struct bytes out;
    size_t n = model_delete(code, pattern, &w);
    assert(script_find_and_delete(code, pattern, deleted, &out) == n);
    assert(bytes_equal(out, n ? writer_bytes(&w) : code));
}

static void check_hashes(const struct tx *t, uint32_t index, struct bytes code, uint32_t type)
{
    struct hash256 want, got;
    struct sighash_memo memo;
    struct tx_spend s;
    sighash_memo_reset(&memo);
    model_legacy(t, index, code, type, &want);
    for (unsigned i = 0; i < 2; i++) {
        sighash_legacy(t, index, code, type, &memo, &got);
        assert(hash256_equal(&got, &want));
    }
    tx_spend_init(&s, t, NULL);
    sighash_memo_reset(&memo);
    model_v0(t, index, code, 77, type, &want);
    for (unsigned i = 0; i < 2; i++) {
        sighash_v0(&s, index, code, 77, type, &memo, &got);
        assert(hash256_equal(&got, &want));
    }
    struct sighash_taproot tap = {.codesep_pos = UINT32_MAX};
    assert(!sighash_v1(&s, index, (uint8_t)type, &tap, &got)); /* nobody said what is spent */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_init(bytes_of(data, len));
    struct mem mem;
    struct arena arena;
    struct tx t;
    uint32_t type = reader_u32le(&r), index = reader_u16le(&r);
    struct bytes code = reader_take(&r, reader_u8(&r));
    struct bytes pattern = reader_take(&r, reader_u8(&r) % 8);
    check_delete(code, pattern);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, 1 << 24);
    if (reader_ok(&r) && tx_read(&r, &arena, true, &t) == ERR_OK && t.n_in > 0 && len < 65536)
        check_hashes(&t, index % t.n_in, code.data ? code : BYTES_LIT("\xac"), type);
    arena_clear(&arena);
    mem_check_empty(&mem);
    return 0;
}
