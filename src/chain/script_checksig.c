#include "chain/script_interp.h"
#include "chain/script_sig.h"

/* --- ECDSA ----------------------------------------------------------------------------------- */

static struct bytes script_code(const struct interp *m)
{
    return bytes_sub(m->script, m->code_from, m->script.len - m->code_from);
}

/* A script that pushes b in the way that signatures are looked for (not always the shortest:
 * small numbers are spelled out too). */
static struct bytes spell_push(struct bytes b, uint8_t room[SCRIPT_ELEMENT_LEN_MAX + 3])
{
    struct writer w = writer_init(room, SCRIPT_ELEMENT_LEN_MAX + 3);
    script_write_push(&w, b);
    return writer_bytes(&w);
}

/* Before segwit a signature cannot sign itself: its push is taken out of the script code. */
static enum script_err take_out_sig(struct interp *m, struct bytes sig, struct bytes *code)
{
    uint8_t room[SCRIPT_ELEMENT_LEN_MAX + 3];
    if (m->version != SIG_BASE || sig.len >= code->len)
        return SCRIPT_ERR_OK;
    if (script_find_and_delete(*code, spell_push(sig, room), m->room, code) == 0)
        return SCRIPT_ERR_OK;
    sighash_memo_reset(&m->memo); /* it may know another script that lay in this room */
    return m->flags & SCRIPT_CONST_SCRIPTCODE ? SCRIPT_ERR_SIG_FINDANDDELETE : SCRIPT_ERR_OK;
}

static bool is_good(struct interp *m, struct bytes sig, struct bytes pubkey, struct bytes code)
{
    struct hash256 hash;
    if (sig.len == 0)
        return false;
    uint8_t hash_type = sig.data[sig.len - 1];
    if (m->version == SIG_BASE)
        sighash_legacy(m->spend->tx, m->in_index, code, hash_type, &m->memo, &hash);
    else
        sighash_v0(m->spend, m->in_index, code, m->amount_sat, hash_type, &m->memo, &hash);
    return script_sig_verify_ecdsa(m->cache, m->flags, bytes_sub(sig, 0, sig.len - 1), pubkey,
                                   &hash);
}

static enum script_err check_forms(const struct interp *m, struct bytes sig, struct bytes pubkey)
{
    enum script_err e = script_sig_check_form(sig, m->flags);
    return e ? e : script_key_check_form(pubkey, m->version == SIG_WITNESS_V0, m->flags);
}

static enum script_err checksig_ecdsa(struct interp *m, struct bytes sig, struct bytes pubkey,
                                      bool *out)
{
    struct bytes code = script_code(m);
    enum script_err e = take_out_sig(m, sig, &code);
    if (!e)
        e = check_forms(m, sig, pubkey);
    if (e)
        return e;
    *out = is_good(m, sig, pubkey, code);
    return !*out && m->flags & SCRIPT_NULLFAIL && sig.len ? SCRIPT_ERR_NULLFAIL : SCRIPT_ERR_OK;
}

/* --- Schnorr --------------------------------------------------------------------------------- */

/* BIP 341, "Signature validation rules": 64 bytes, or 65 with a hash type that is not the default. */
enum script_err interp_check_schnorr(struct interp *m, struct bytes sig, struct bytes pubkey)
{
    struct hash256 hash;
    uint8_t hash_type = SIGHASH_DEFAULT;
    if (sig.len != 64 && sig.len != 65)
        return SCRIPT_ERR_SCHNORR_SIG_SIZE;
    if (sig.len == 65) {
        hash_type = sig.data[64];
        if (hash_type == SIGHASH_DEFAULT)
            return SCRIPT_ERR_SCHNORR_SIG_HASHTYPE;
    }
    if (!sighash_v1(m->spend, m->in_index, hash_type, &m->tap, &hash))
        return SCRIPT_ERR_SCHNORR_SIG_HASHTYPE;
    return script_sig_verify_schnorr(m->cache, m->flags, sig.data, pubkey.data, &hash)
               ? SCRIPT_ERR_OK
               : SCRIPT_ERR_SCHNORR_SIG;
}

/* BIP 342, "Rules for signature opcodes": an empty signature is a no; a bad one ends the script; a
 * key of a length yet unknown accepts anything. */
static enum script_err checksig_tapscript(struct interp *m, struct bytes sig, struct bytes pubkey,
                                          bool *out)
{
    *out = sig.len > 0;
    if (*out) {
        m->weight_left -= WEIGHT_PER_CHECK;
        if (m->weight_left < 0)
            return SCRIPT_ERR_TAPSCRIPT_VALIDATION_WEIGHT;
    }
    if (pubkey.len == 0)
        return SCRIPT_ERR_TAPSCRIPT_EMPTY_PUBKEY;
    if (pubkey.len == 32)
        return *out ? interp_check_schnorr(m, sig, pubkey) : SCRIPT_ERR_OK;
    return m->flags & SCRIPT_DISCOURAGE_UPGRADABLE_PUBKEYTYPE
               ? SCRIPT_ERR_DISCOURAGE_UPGRADABLE_PUBKEYTYPE
               : SCRIPT_ERR_OK;
}

enum script_err interp_checksig(struct interp *m, struct bytes sig, struct bytes pubkey, bool *out)
{
    if (m->version == SIG_TAPSCRIPT)
        return checksig_tapscript(m, sig, pubkey, out);
    return checksig_ecdsa(m, sig, pubkey, out);
}

/* --- CHECKMULTISIG --------------------------------------------------------------------------- */

/* From the top: the number of keys, the keys, the number of signatures, the signatures, and one
 * more item that an old mistake takes away. Places count from the top, which is 1. */
struct multisig {
    uint32_t n_keys, n_sigs;
    uint32_t keys_at, sigs_at;
    uint32_t n_items; /* without the one too many */
};

static enum script_err read_count(struct interp *m, uint32_t at, int64_t max,
                                  enum script_err beyond, uint32_t *out)
{
    int64_t v;
    if (!has_items(m, at))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, at, SCRIPT_NUM_LEN_MAX, &v);
    if (e)
        return e;
    if (v < 0 || v > max)
        return beyond;
    *out = (uint32_t)v;
    return SCRIPT_ERR_OK;
}

static enum script_err read_multisig(struct interp *m, struct multisig *ms)
{
    enum script_err e =
        read_count(m, 1, SCRIPT_N_PUBKEYS_MAX, SCRIPT_ERR_PUBKEY_COUNT, &ms->n_keys);
    if (e)
        return e;
    m->n_ops += ms->n_keys;
    if (m->n_ops > SCRIPT_N_OPS_MAX)
        return SCRIPT_ERR_OP_COUNT;
    ms->keys_at = 2;
    e = read_count(m, 2 + ms->n_keys, ms->n_keys, SCRIPT_ERR_SIG_COUNT, &ms->n_sigs);
    if (e)
        return e;
    ms->sigs_at = 3 + ms->n_keys;
    ms->n_items = 2 + ms->n_keys + ms->n_sigs;
    return has_items(m, ms->n_items) ? SCRIPT_ERR_OK : SCRIPT_ERR_INVALID_STACK_OPERATION;
}

/* Each signature takes the first key below that fits; keys that are passed do not come back. */
static enum script_err match_sigs(struct interp *m, const struct multisig *ms, struct bytes code,
                                  bool *out)
{
    uint32_t n_sigs = ms->n_sigs, n_keys = ms->n_keys;
    while (n_sigs > 0 && n_sigs <= n_keys) {
        struct bytes sig = top_bytes(m, ms->sigs_at + ms->n_sigs - n_sigs);
        struct bytes key = top_bytes(m, ms->keys_at + ms->n_keys - n_keys);
        enum script_err e = check_forms(m, sig, key);
        if (e)
            return e;
        n_sigs -= is_good(m, sig, key, code);
        n_keys--;
    }
    *out = n_sigs == 0;
    return SCRIPT_ERR_OK;
}

/* BIP 147: the item too many is empty. NULLFAIL: so are all signatures when they did not do. */
static enum script_err drop_multisig(struct interp *m, const struct multisig *ms, bool is_success)
{
    for (uint32_t i = 0; !is_success && m->flags & SCRIPT_NULLFAIL && i < ms->n_sigs; i++) {
        if (top(m, ms->sigs_at + i)->len)
            return SCRIPT_ERR_NULLFAIL;
    }
    pop(m, ms->n_items);
    if (!has_items(m, 1))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    if (m->flags & SCRIPT_NULLDUMMY && top(m, 1)->len)
        return SCRIPT_ERR_SIG_NULLDUMMY;
    pop(m, 1);
    return SCRIPT_ERR_OK;
}

enum script_err interp_checkmultisig(struct interp *m, bool *out)
{
    struct multisig ms;
    struct bytes code = script_code(m);
    if (m->version == SIG_TAPSCRIPT)
        return SCRIPT_ERR_TAPSCRIPT_CHECKMULTISIG;
    enum script_err e = read_multisig(m, &ms);
    for (uint32_t i = 0; !e && i < ms.n_sigs; i++)
        e = take_out_sig(m, top_bytes(m, ms.sigs_at + i), &code);
    if (!e)
        e = match_sigs(m, &ms, code, out);
    return e ? e : drop_multisig(m, &ms, *out);
}
