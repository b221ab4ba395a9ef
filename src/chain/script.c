#include "chain/script.h"
#include "chain/script_num.h"
#include "chain/script_op.h"
#include "chain/tx.h"

/* --- flags ----------------------------------------------------------------------------------- */

static const char *const flag_names[SCRIPT_N_FLAGS] = {
    "P2SH",
    "STRICTENC",
    "DERSIG",
    "LOW_S",
    "NULLDUMMY",
    "SIGPUSHONLY",
    "MINIMALDATA",
    "DISCOURAGE_UPGRADABLE_NOPS",
    "CLEANSTACK",
    "CHECKLOCKTIMEVERIFY",
    "CHECKSEQUENCEVERIFY",
    "WITNESS",
    "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM",
    "MINIMALIF",
    "NULLFAIL",
    "WITNESS_PUBKEYTYPE",
    "CONST_SCRIPTCODE",
    "TAPROOT",
    "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION",
    "DISCOURAGE_OP_SUCCESS",
    "DISCOURAGE_UPGRADABLE_PUBKEYTYPE",
};

const char *script_flag_name(unsigned bit)
{
    return bit < SCRIPT_N_FLAGS ? flag_names[bit] : "UNKNOWN";
}

static bool flag_parse(struct bytes name, uint32_t *flags)
{
    if (name.len == 0 || bytes_equal_str(name, "NONE"))
        return true;
    for (unsigned i = 0; i < SCRIPT_N_FLAGS; i++) {
        if (bytes_equal_str(name, flag_names[i])) {
            *flags |= 1u << i;
            return true;
        }
    }
    return false;
}

bool script_flags_parse(struct bytes names, uint32_t *out)
{
    uint32_t flags = 0;
    while (names.len) {
        const uint8_t *comma = memchr(names.data, ',', names.len);
        size_t len = comma ? (size_t)(comma - names.data) : names.len;
        if (!flag_parse(bytes_sub(names, 0, len), &flags))
            return false;
        names = bytes_sub(names, len + 1, SIZE_MAX);
    }
    *out = flags;
    return true;
}

/* --- walking --------------------------------------------------------------------------------- */

/* Where the data of the push op at pos begins and how long it is; false when the length itself is
 * cut off. */
static bool push_extent(struct bytes s, size_t pos, uint8_t op, size_t *out_at, size_t *out_len)
{
    size_t left = s.len - pos - 1;
    const uint8_t *p = s.data + pos + 1;
    size_t n_len = op == OP_PUSHDATA1 ? 1 : op == OP_PUSHDATA2 ? 2 : op == OP_PUSHDATA4 ? 4 : 0;
    if (left < n_len)
        return false;
    *out_at = pos + 1 + n_len;
    *out_len = op;
    if (n_len == 1)
        *out_len = p[0];
    else if (n_len == 2)
        *out_len = (size_t)p[0] | (size_t)p[1] << 8;
    else if (n_len == 4)
        *out_len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    return true;
}

bool script_next(struct bytes script, size_t *pos, uint8_t *out_op, struct bytes *out_push)
{
    if (*pos >= script.len)
        return false;
    uint8_t op = script.data[*pos];
    size_t at, len;
    *out_op = op;
    *out_push = (struct bytes){0};
    if (op > OP_PUSHDATA4) {
        *pos += 1;
        return true;
    }
    if (!push_extent(script, *pos, op, &at, &len) || len > script.len - at)
        return false;
    *out_push = (struct bytes){script.data + at, len};
    *pos = at + len;
    return true;
}

void script_write_push(struct writer *w, struct bytes b)
{
    if (b.len < OP_PUSHDATA1) {
        writer_u8(w, (uint8_t)b.len);
    } else if (b.len <= 0xff) {
        writer_u8(w, OP_PUSHDATA1);
        writer_u8(w, (uint8_t)b.len);
    } else if (b.len <= 0xffff) {
        writer_u8(w, OP_PUSHDATA2);
        writer_u16le(w, (uint16_t)b.len);
    } else {
        writer_u8(w, OP_PUSHDATA4);
        writer_u32le(w, (uint32_t)b.len);
    }
    writer_put(w, b);
}

/* --- shapes ---------------------------------------------------------------------------------- */

/* BIP 16: OP_HASH160, 20 bytes, OP_EQUAL, and no other spelling. */
bool script_is_p2sh(struct bytes s)
{
    return s.len == 23 && s.data[0] == OP_HASH160 && s.data[1] == 20 && s.data[22] == OP_EQUAL;
}

bool script_is_push_only(struct bytes s)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    while (script_next(s, &pos, &op, &push)) {
        if (op > OP_16)
            return false;
    }
    return pos == s.len;
}

bool script_is_unspendable(struct bytes s)
{
    return s.len > SCRIPT_LEN_MAX || (s.len > 0 && s.data[0] == OP_RETURN);
}

/* BIP 141, "Witness program": OP_0 or OP_1 to OP_16, then one direct push of 2 to 40 bytes. */
bool script_witness_program(struct bytes s, unsigned *out_version, struct bytes *out_program)
{
    if (s.len < 4 || s.len > 42 || s.data[1] != s.len - 2)
        return false;
    if (s.data[0] != OP_0 && (s.data[0] < OP_1 || s.data[0] > OP_16))
        return false;
    *out_version = s.data[0] == OP_0 ? 0 : s.data[0] - OP_1 + 1u;
    *out_program = bytes_sub(s, 2, s.len - 2);
    return true;
}

static bool is_pubkey_sized(struct bytes key)
{
    if (key.len == 33)
        return key.data[0] == 2 || key.data[0] == 3;
    return key.len == 65 && (key.data[0] == 4 || key.data[0] == 6 || key.data[0] == 7);
}

bool script_pubkey(struct bytes s, struct bytes *out_key)
{
    *out_key = bytes_sub(s, 1, s.len - 2);
    return (s.len == 35 || s.len == 67) && s.data[0] == s.len - 2 &&
           s.data[s.len - 1] == OP_CHECKSIG && is_pubkey_sized(*out_key);
}

static bool is_pubkeyhash(struct bytes s)
{
    return s.len == 25 && s.data[0] == OP_DUP && s.data[1] == OP_HASH160 && s.data[2] == 20 &&
           s.data[23] == OP_EQUALVERIFY && s.data[24] == OP_CHECKSIG;
}

/* A number from 1 to 20 as OP_n or as the shortest push; 0 otherwise. */
static uint32_t count_of(uint8_t op, struct bytes push)
{
    int64_t v;
    if (op >= OP_1 && op <= OP_16)
        return op - OP_1 + 1u;
    if (op == OP_0 || op > OP_PUSHDATA4 || !script_push_is_minimal(op, push) ||
        !script_num_read(push, true, 4, &v))
        return 0;
    return v >= 1 && v <= SCRIPT_N_PUBKEYS_MAX ? (uint32_t)v : 0;
}

bool script_multisig(struct bytes s, struct script_multisig *out)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    out->n_keys = 0;
    if (s.len == 0 || s.data[s.len - 1] != OP_CHECKMULTISIG || !script_next(s, &pos, &op, &push))
        return false;
    out->n_needed = count_of(op, push);
    bool is_more = script_next(s, &pos, &op, &push);
    for (; is_more && is_pubkey_sized(push); is_more = script_next(s, &pos, &op, &push)) {
        if (out->n_keys == SCRIPT_N_PUBKEYS_MAX)
            return false;
        out->keys[out->n_keys++] = push;
    }
    return is_more && out->n_needed > 0 && out->n_keys >= out->n_needed &&
           count_of(op, push) == out->n_keys && pos + 1 == s.len;
}

/* --- sigops ---------------------------------------------------------------------------------- */

/* CHECKMULTISIG costs as many as its keys where op before it names their number. */
static uint32_t multisig_sigops(uint8_t op_before, bool is_accurate)
{
    if (is_accurate && op_before >= OP_1 && op_before <= OP_16)
        return op_before - OP_1 + 1u;
    return SCRIPT_N_PUBKEYS_MAX;
}

uint32_t script_sigops(struct bytes s, bool is_accurate)
{
    uint32_t n = 0;
    size_t pos = 0;
    uint8_t op, op_before = OP_RESERVED;
    struct bytes push;
    while (script_next(s, &pos, &op, &push)) {
        if (op == OP_CHECKSIG || op == OP_CHECKSIGVERIFY)
            n++;
        else if (op == OP_CHECKMULTISIG || op == OP_CHECKMULTISIGVERIFY)
            n += multisig_sigops(op_before, is_accurate);
        op_before = op;
    }
    return n;
}

/* What the last push of a push-only script leaves: the redeem script. Empty when there is none. */
static struct bytes last_push(struct bytes script_sig)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push = {0};
    while (script_next(script_sig, &pos, &op, &push)) {
        if (op > OP_16)
            return (struct bytes){0};
    }
    return pos == script_sig.len ? push : (struct bytes){0};
}

/* BIP 141, "Sigops": a key hash counts one, a script its accurate count; other versions none. */
static uint32_t witness_sigops(unsigned version, struct bytes program, struct bytes witness)
{
    struct bytes item = {0};
    if (version != 0)
        return 0;
    if (program.len == 20)
        return 1;
    if (program.len != 32)
        return 0;
    while (witness_next(&witness, &item)) {
    }
    return script_sigops(item, true);
}

static uint64_t input_sigop_cost(const struct tx_in *in, struct bytes spent, uint32_t flags)
{
    unsigned version;
    struct bytes program;
    uint64_t cost = 0;
    bool is_p2sh = (flags & SCRIPT_P2SH) && script_is_p2sh(spent);
    struct bytes redeem = is_p2sh ? last_push(in->script_sig) : (struct bytes){0};
    if (is_p2sh)
        cost = UINT64_C(4) * script_sigops(redeem, true);
    if ((flags & SCRIPT_WITNESS) &&
        script_witness_program(is_p2sh ? redeem : spent, &version, &program))
        cost += witness_sigops(version, program, in->witness);
    return cost;
}

uint32_t tx_legacy_sigops(const struct tx *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_in; i++)
        n += script_sigops(t->in[i].script_sig, false);
    for (uint32_t i = 0; i < t->n_out; i++)
        n += script_sigops(t->out[i].script, false);
    return n;
}

uint64_t tx_sigop_cost(const struct tx *t, const struct tx_out *spent, uint32_t flags)
{
    uint64_t cost = UINT64_C(4) * tx_legacy_sigops(t);
    if (tx_is_coinbase(t))
        return cost;
    for (uint32_t i = 0; i < t->n_in; i++)
        cost += input_sigop_cost(&t->in[i], spent[i].script, flags);
    return cost;
}

/* --- type names ------------------------------------------------------------------------------ */

static const char *witness_type_name(unsigned version, struct bytes program)
{
    if (version == 0 && program.len == 20)
        return "witness_v0_keyhash";
    if (version == 0)
        return program.len == 32 ? "witness_v0_scripthash" : "nonstandard";
    if (version == 1 && program.len == 32)
        return "witness_v1_taproot";
    if (version == 1 && bytes_equal(program, BYTES_LIT("\x4e\x73")))
        return "anchor";
    return "witness_unknown";
}

const char *script_type_name(struct bytes s)
{
    struct script_multisig multisig;
    unsigned version;
    struct bytes program, key;
    if (script_is_p2sh(s))
        return "scripthash";
    if (script_witness_program(s, &version, &program))
        return witness_type_name(version, program);
    if (s.len > 0 && s.data[0] == OP_RETURN && script_is_push_only(bytes_sub(s, 1, s.len - 1)))
        return "nulldata";
    if (script_pubkey(s, &key))
        return "pubkey";
    if (is_pubkeyhash(s))
        return "pubkeyhash";
    return script_multisig(s, &multisig) ? "multisig" : "nonstandard";
}
