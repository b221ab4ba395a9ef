#include "cli/bitcoin_json.h"
#include "base/hex.h"
#include "chain/script.h"
#include "chain/tx.h"
#include "cli/bitcoin.h"

static json_t *json_hex(struct bytes b)
{
    char *hex = malloc(2 * b.len + 1);
    if (!hex)
        return json_null();
    json_t *s = json_string(hex_encode(b, hex, 2 * b.len + 1));
    free(hex);
    return s;
}

static json_t *witness_list(const struct tx_in *in)
{
    json_t *list = json_array();
    struct bytes rest = in->witness, item;
    while (witness_next(&rest, &item))
        json_array_append_new(list, json_hex(item));
    return list;
}

static json_t *input(const struct tx *t, uint32_t i)
{
    const struct tx_in *in = &t->in[i];
    json_t *o = json_object();
    if (tx_is_coinbase(t)) {
        json_object_set_new(o, "coinbase", json_hex(in->script_sig));
    } else {
        json_object_set_new(o, "txid", bitcoin_json_hash(&in->prev.txid));
        json_object_set_new(o, "vout", bitcoin_json_u64(in->prev.n));
        json_object_set_new(o, "scriptSig", json_pack("{s:o}", "hex", json_hex(in->script_sig)));
    }
    if (in->n_witness)
        json_object_set_new(o, "txinwitness", witness_list(in));
    json_object_set_new(o, "sequence", bitcoin_json_u64(in->sequence));
    return o;
}

static json_t *output(const struct tx_out *out, uint32_t n)
{
    return json_pack("{s:o, s:I, s:{s:o, s:s}}", "value", bitcoin_json_btc(out->value_sat), "n",
                     (json_int_t)n, "scriptPubKey", "hex", json_hex(out->script), "type",
                     script_type_name(out->script));
}

int64_t bitcoin_tx_fee(const struct tx *t, const struct undo_tx *undo)
{
    int64_t fee = 0;
    if (!undo || undo->n_spent != t->n_in)
        return -1;
    for (uint32_t i = 0; i < t->n_in; i++)
        fee += undo->spent[i].value_sat;
    for (uint32_t i = 0; i < t->n_out; i++)
        fee -= t->out[i].value_sat;
    return fee;
}

json_t *bitcoin_json_tx(const struct tx *t, const struct undo_tx *undo, bool with_hex)
{
    json_t *in = json_array(), *out = json_array();
    for (uint32_t i = 0; i < t->n_in; i++)
        json_array_append_new(in, input(t, i));
    for (uint32_t i = 0; i < t->n_out; i++)
        json_array_append_new(out, output(&t->out[i], i));
    json_t *o = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "txid",
                          bitcoin_json_hash(&t->txid), "hash", bitcoin_json_hash(&t->wtxid),
                          "version", (json_int_t)t->version, "size", (json_int_t)t->raw.len,
                          "vsize", (json_int_t)tx_vsize(t), "weight", (json_int_t)tx_weight(t),
                          "locktime", (json_int_t)t->lock_time, "vin", in, "vout", out);
    int64_t fee = bitcoin_tx_fee(t, undo);
    if (fee >= 0)
        json_object_set_new(o, "fee", bitcoin_json_btc(fee));
    if (with_hex)
        json_object_set_new(o, "hex", json_hex(t->raw));
    return o;
}
