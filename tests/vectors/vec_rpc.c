/* rpc/: what Bitcoin Core's tools print of transactions, scripts and networks, field by field. */
#include "chain/address.h"
#include "chain/hash256.h"
#include "chain/script.h"
#include "chain/tx.h"
#include "chain/u256.h"
#include "cli/bitcoin_json.h"
#include "crypto/hash160.h"
#include "crypto/sha.h"
#include "vec.h"
#include <math.h>

/* --- comparing ------------------------------------------------------------------------------- */

static bool is_same_number(const json_t *got, const json_t *want)
{
    if (json_is_integer(got) && json_is_integer(want))
        return json_integer_value(got) == json_integer_value(want);
    return fabs(json_number_value(got) - json_number_value(want)) < 1e-9; /* coins */
}

static void compare(struct vec *v, const char *path, const json_t *got, const json_t *want);

static void compare_objects(struct vec *v, const char *path, json_t *got, json_t *want)
{
    const char *key;
    json_t *value;
    char below[256];
    json_object_foreach(want, key, value)
    {
        snprintf(below, sizeof below, "%s.%s", path, key);
        compare(v, below, json_object_get(got, key), value);
    }
    json_object_foreach(got, key, value)
    {
        if (!json_object_get(want, key))
            vec_case(v, false, "%s.%s is not in the file", path, key);
    }
}

static void compare_lists(struct vec *v, const char *path, const json_t *got, const json_t *want)
{
    char below[256];
    vec_case(v, json_array_size(got) == json_array_size(want), "%s has %zu members", path,
             json_array_size(got));
    for (size_t i = 0; i < json_array_size(want); i++) {
        snprintf(below, sizeof below, "%s[%zu]", path, i);
        compare(v, below, json_array_get(got, i), json_array_get(want, i));
    }
}

/* Each string, number and boolean of want is a case; got may have nothing more. */
static void compare(struct vec *v, const char *path, const json_t *got, const json_t *want)
{
    if (json_is_object(want) && json_is_object(got))
        compare_objects(v, path, (json_t *)(uintptr_t)got, (json_t *)(uintptr_t)want);
    else if (json_is_array(want) && json_is_array(got))
        compare_lists(v, path, got, want);
    else if (json_is_number(want) && json_is_number(got))
        vec_case(v, is_same_number(got, want), "%s is %.17g", path, json_number_value(got));
    else
        vec_case(v, json_equal(got, want), "%s is %s", path, got ? vec_str(got) : "not there");
}

/* --- util/NAME.hex, NAME.json: bitcoin-tx without and with -json --------------------------------- */

static struct bytes read_hex(struct vec *v, struct bytes text)
{
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    return vec_hex_of(v, text);
}

/* The witness form, or else the old one, in which a transaction may have no inputs. */
static bool read_tx(struct vec *v, struct bytes raw, struct tx *out)
{
    for (int allow_witness = 1; allow_witness >= 0; allow_witness--) {
        struct reader r = reader_init(raw);
        if (raw.data && tx_read(&r, &v->arena, allow_witness, out) == ERR_OK &&
            reader_left(&r) == 0) {
            tx_hash(out);
            return true;
        }
    }
    return false;
}

/* Written again without its witness it has the same id. */
static bool is_same_again(struct vec *v, const struct tx *t)
{
    uint8_t *room = vec_alloc(v, t->stripped_len, 1);
    struct writer w = writer_init(room, t->stripped_len);
    struct tx again;
    tx_write_stripped(&w, t);
    return read_tx(v, writer_bytes(&w), &again) && hash256_equal(&again.txid, &t->txid);
}

static void check_tx_hex(struct vec *v)
{
    struct tx t;
    if (vec_case(v, read_tx(v, read_hex(v, v->data), &t), "is no transaction"))
        vec_case(v, is_same_again(v, &t), "comes back changed");
}

/* What is printed of a transaction, from its "hex". */
static void check_tx_json(struct vec *v)
{
    struct tx t;
    json_t *want = vec_json(v);
    if (!vec_case(v, read_tx(v, vec_json_hex(v, json_object_get(want, "hex")), &t),
                  "is no transaction"))
        return;
    json_t *got = bitcoin_json_tx(chain_params_find("main"), &t, NULL);
    compare(v, "tx", got, want);
    json_decref(got);
}

/* --- rpc_decodescript.json, rpc_bip67.json ---------------------------------------------------- */

static struct bytes p2sh_of(struct vec *v, struct bytes script)
{
    uint8_t *out = vec_alloc(v, 23, 1);
    out[0] = 0xa9;
    out[1] = HASH160_LEN;
    hash160(script, out + 2);
    out[22] = 0x87;
    return bytes_of(out, 23);
}

static void check_p2sh(struct vec *v, struct bytes script, const json_t *address)
{
    char got[ADDRESS_CAP] = "";
    address_write(chain_params_find("regtest"), p2sh_of(v, script), got);
    vec_case(v, strcmp(got, vec_str(address)) == 0, "P2SH address is %s", got);
}

/* decodescript adds what the script would be inside P2SH and P2WSH. */
static void check_segwit(struct vec *v, struct bytes script, json_t *want)
{
    uint8_t program[2 + SHA256_LEN] = {0, SHA256_LEN};
    struct bytes key;
    sha256(script, program + 2);
    struct bytes wrapped = bytes_of(program, sizeof program);
    if (strcmp(script_type_name(script), "pubkeyhash") == 0 || script_pubkey(script, &key))
        wrapped = vec_json_hex(v, json_object_get(want, "hex")); /* version 0 of the key's hash */
    check_p2sh(v, wrapped, json_object_get(want, "p2sh-segwit"));
    json_object_del(want, "p2sh-segwit");
    json_t *got = bitcoin_json_script(chain_params_find("regtest"), wrapped);
    compare(v, "segwit", got, want);
    json_decref(got);
}

static void check_decodescript(struct vec *v)
{
    size_t i;
    json_t *rows = vec_json(v), *row;
    json_array_foreach(rows, i, row)
    {
        const char *hex = vec_str(json_array_get(row, 0));
        json_t *want = json_array_get(row, 1);
        struct bytes script = vec_hex(v, hex);
        json_t *got = bitcoin_json_script(chain_params_find("regtest"), script);
        if (json_object_get(want, "p2sh"))
            check_p2sh(v, script, json_object_get(want, "p2sh"));
        if (json_object_get(want, "segwit"))
            check_segwit(v, script, json_object_get(want, "segwit"));
        json_object_del(want, "p2sh");
        json_object_del(want, "segwit");
        json_object_del(got, "hex"); /* not in the answer: it was the question */
        compare(v, hex, got, want);
        json_decref(got);
    }
}

static void check_multisig(struct vec *v)
{
    size_t i;
    json_t *rows = vec_json(v), *row;
    json_array_foreach(rows, i, row)
    {
        struct script_multisig m = {0};
        struct bytes script = vec_json_hex(v, json_object_get(row, "script"));
        const json_t *keys = json_object_get(row, "sorted_keys");
        bool is_good = script_multisig(script, &m) && m.n_keys == json_array_size(keys);
        for (uint32_t k = 0; is_good && k < m.n_keys; k++)
            is_good = vec_is_hex(m.keys[k], vec_str(json_array_get(keys, k)));
        vec_case(v, is_good, "row %zu: keys", i);
        check_p2sh(v, script, json_object_get(row, "address"));
    }
}

/* --- util/getchainparams-NET.json: what of it we have ------------------------------------------ */

static void check_number(struct vec *v, const json_t *want, uint64_t got, const char *name)
{
    if (want)
        vec_case(v, (uint64_t)json_integer_value(want) == got, "%s is %llu", name,
                 (unsigned long long)got);
}

static void check_string(struct vec *v, const json_t *want, const char *got, const char *name)
{
    if (want)
        vec_case(v, strcmp(vec_str(want), got) == 0, "%s is %s", name, got);
}

static void check_pow(struct vec *v, const json_t *pow, const struct chain_params *p)
{
    char limit[65];
    const char *min = p->pow_is_bip94 ? "bip94" : p->pow_allows_min_difficulty ? "yes" : "no";
    check_string(v, json_object_get(pow, "limit"), u256_hex(&p->pow_limit, limit), "limit");
    check_string(v, json_object_get(pow, "mindiff_blocks"), min, "mindiff_blocks");
    check_number(v, json_object_get(pow, "target_spacing"), p->pow_spacing_s, "target_spacing");
    check_number(v, json_object_get(pow, "difficulty_retarget_interval"),
                 p->pow_timespan_s / p->pow_spacing_s, "difficulty_retarget_interval");
    vec_case(v, p->pow_has_no_retargeting == !json_object_get(pow, "target_spacing"),
             "retargeting");
}

static void check_chain_params(struct vec *v)
{
    json_t *want = vec_json(v), *net = json_object_get(want, "net");
    const struct chain_params *found = chain_params_find(vec_str(json_object_get(want, "chain")));
    if (!vec_case(v, found != NULL, "no such network"))
        return;
    struct chain_params p = *found;
    const json_t *challenge = json_object_get(json_object_get(want, "signet"), "challenge");
    struct bytes script = vec_json_hex(v, challenge);
    vec_case(v, p.is_signet == (challenge != NULL), "signet");
    if (challenge && !bytes_equal(script, p.signet_challenge))
        chain_params_set_challenge(&p, script); /* one of its own */
    vec_case(v, vec_is_hex(bytes_of(p.genesis.b, 32), vec_str(json_object_get(want, "genesis"))),
             "genesis");
    vec_case(v, vec_is_hex(bytes_of(p.magic, 4), vec_str(json_object_get(net, "magic"))), "magic");
    check_number(v, json_object_get(net, "default_port"), p.port, "default_port");
    check_number(v, json_object_get(want, "subsidy_halving_interval"), p.subsidy_halving_blocks,
                 "subsidy_halving_interval");
    check_string(v, json_object_get(json_object_get(want, "addresses"), "bech32_hrp"), p.bech32_hrp,
                 "bech32_hrp");
    check_pow(v, json_object_get(want, "pow"), &p);
}

const struct vec_check vec_rpc_checks[] = {
    {"rpc/util/getchainparams-main*.json", check_chain_params},
    {"rpc/util/getchainparams-regtest*.json", check_chain_params},
    {"rpc/util/getchainparams-signet*.json", check_chain_params},
    {"rpc/util/getchainparams-testnet4*.json", check_chain_params},
    {"rpc/util/t*.hex", check_tx_hex},
    {"rpc/util/blanktx*.hex", check_tx_hex},
    {"rpc/util/t*.json", check_tx_json},
    {"rpc/util/blanktx*.json", check_tx_json},
    {"rpc/rpc_decodescript*.json", check_decodescript},
    {"rpc/rpc_bip67*.json", check_multisig},
    {0},
};
