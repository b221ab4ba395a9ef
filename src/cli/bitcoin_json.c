#include "cli/bitcoin_json.h"
#include "base/hex.h"
#include "chain/descriptor.h"
#include "chain/hash256.h"
#include "chain/script_asm.h"
#include "chain/tx.h"
#include <stdlib.h>

json_t *bitcoin_json_hash(const struct hash256 *h)
{
    char hex[HASH_HEX_CAP];
    return json_string(hash256_hex_reversed(h, hex));
}

json_t *bitcoin_json_u64(uint64_t v)
{
    return json_integer((json_int_t)v);
}

json_t *bitcoin_json_btc(int64_t sats)
{
    return json_real((double)sats / (double)COIN_SATS);
}

json_t *bitcoin_json_hex(struct bytes b)
{
    char *hex = malloc(2 * b.len + 1);
    json_t *s = hex ? json_string(hex_encode(b, hex, 2 * b.len + 1)) : json_null();
    free(hex);
    return s;
}

/* --- scripts --------------------------------------------------------------------------------- */

/* What was written into room, which is freed; a script's text is ASCII. */
static json_t *json_written(struct writer *w)
{
    struct bytes text = writer_bytes(w);
    const char *chars = text.len ? (const char *)text.data : "";
    json_t *s = writer_ok(w) ? json_stringn(chars, text.len) : json_null();
    free(w->buf);
    return s;
}

/* Without memory it takes nothing, and has failed. */
static struct writer room_for(size_t len)
{
    void *room = malloc(len + 1);
    struct writer w = writer_init(room, room ? len : 0);
    if (!room)
        w.err.code = ERR_NO_MEMORY;
    return w;
}

static json_t *json_asm(struct bytes script, bool has_signatures)
{
    struct writer w = room_for(script.len * SCRIPT_ASM_GROWTH);
    script_asm_write(&w, script, has_signatures);
    return json_written(&w);
}

static json_t *json_descriptor(const struct chain_params *p, struct bytes script)
{
    struct writer w = room_for(DESCRIPTOR_LEN_MAX(script.len));
    descriptor_write(&w, p, script);
    return json_written(&w);
}

json_t *bitcoin_json_script(const struct chain_params *p, struct bytes script)
{
    char address[ADDRESS_CAP];
    json_t *o = json_object();
    json_object_set_new(o, "asm", json_asm(script, false));
    json_object_set_new(o, "desc", json_descriptor(p, script));
    json_object_set_new(o, "hex", bitcoin_json_hex(script));
    if (address_write(p, script, address))
        json_object_set_new(o, "address", json_string(address));
    json_object_set_new(o, "type", json_string(script_type_name(script)));
    return o;
}

/* --- transactions ---------------------------------------------------------------------------- */

static json_t *witness_list(const struct tx_in *in)
{
    json_t *list = json_array();
    struct bytes rest = in->witness, item;
    while (witness_next(&rest, &item))
        json_array_append_new(list, bitcoin_json_hex(item));
    return list;
}

static json_t *prevout(const struct chain_params *p, const struct coin *c)
{
    return json_pack("{s:b, s:I, s:o, s:o}", "generated", c->is_coinbase, "height",
                     (json_int_t)c->height, "value", bitcoin_json_btc(c->value_sat), "scriptPubKey",
                     bitcoin_json_script(p, c->script));
}

static json_t *input(const struct chain_params *p, const struct tx *t, uint32_t i,
                     const struct coin *spent)
{
    const struct tx_in *in = &t->in[i];
    json_t *o = json_object();
    if (tx_is_coinbase(t)) {
        json_object_set_new(o, "coinbase", bitcoin_json_hex(in->script_sig));
    } else {
        json_object_set_new(o, "txid", bitcoin_json_hash(&in->prev.txid));
        json_object_set_new(o, "vout", bitcoin_json_u64(in->prev.n));
        json_object_set_new(o, "scriptSig",
                            json_pack("{s:o, s:o}", "asm", json_asm(in->script_sig, true), "hex",
                                      bitcoin_json_hex(in->script_sig)));
    }
    if (in->n_witness)
        json_object_set_new(o, "txinwitness", witness_list(in));
    if (spent)
        json_object_set_new(o, "prevout", prevout(p, spent));
    json_object_set_new(o, "sequence", bitcoin_json_u64(in->sequence));
    return o;
}

static json_t *output(const struct chain_params *p, const struct tx_out *out, uint32_t n)
{
    return json_pack("{s:o, s:I, s:o}", "value", bitcoin_json_btc(out->value_sat), "n",
                     (json_int_t)n, "scriptPubKey", bitcoin_json_script(p, out->script));
}

static bool is_of(const struct undo_tx *undo, const struct tx *t)
{
    return undo && undo->n_spent == t->n_in;
}

int64_t bitcoin_tx_fee(const struct tx *t, const struct undo_tx *undo)
{
    int64_t fee = 0;
    if (!is_of(undo, t))
        return -1;
    for (uint32_t i = 0; i < t->n_in; i++)
        fee += undo->spent[i].value_sat;
    for (uint32_t i = 0; i < t->n_out; i++)
        fee -= t->out[i].value_sat;
    return fee;
}

json_t *bitcoin_json_tx(const struct chain_params *p, const struct tx *t,
                        const struct undo_tx *undo)
{
    json_t *in = json_array(), *out = json_array();
    for (uint32_t i = 0; i < t->n_in; i++)
        json_array_append_new(in, input(p, t, i, is_of(undo, t) ? &undo->spent[i] : NULL));
    for (uint32_t i = 0; i < t->n_out; i++)
        json_array_append_new(out, output(p, &t->out[i], i));
    json_t *o = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "txid",
                          bitcoin_json_hash(&t->txid), "hash", bitcoin_json_hash(&t->wtxid),
                          "version", (json_int_t)t->version, "size", (json_int_t)t->raw.len,
                          "vsize", (json_int_t)tx_vsize(t), "weight", (json_int_t)tx_weight(t),
                          "locktime", (json_int_t)t->lock_time, "vin", in, "vout", out);
    int64_t fee = bitcoin_tx_fee(t, undo);
    if (fee >= 0)
        json_object_set_new(o, "fee", bitcoin_json_btc(fee));
    json_object_set_new(o, "hex", bitcoin_json_hex(t->raw));
    return o;
}

json_t *bitcoin_json_coinbase(const struct tx *t)
{
    const struct tx_in *in = &t->in[0];
    struct bytes rest = in->witness, item;
    json_t *o = json_pack("{s:I, s:I, s:I, s:o}", "version", (json_int_t)t->version, "locktime",
                          (json_int_t)t->lock_time, "sequence", (json_int_t)in->sequence,
                          "coinbase", bitcoin_json_hex(in->script_sig));
    if (witness_next(&rest, &item))
        json_object_set_new(o, "witness", bitcoin_json_hex(item));
    return o;
}
