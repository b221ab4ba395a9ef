#include "chain/script_verify.h"
#include "chain/script_interp.h"
#include "crypto/hash160.h"

/* --- names ----------------------------------------------------------------------------------- */

static const struct {
    const char *name, *text;
} errors[SCRIPT_ERR_COUNT] = {
#define E(name, text) [SCRIPT_ERR_##name] = {#name, text}
    E(OK, "No error"),
    E(UNKNOWN_ERROR, "unknown error"),
    E(EVAL_FALSE,
      "Script evaluated without error but finished with a false/empty top stack element"),
    E(OP_RETURN, "OP_RETURN was encountered"),
    E(SCRIPT_SIZE, "Script is too big"),
    E(PUSH_SIZE, "Push value size limit exceeded"),
    E(OP_COUNT, "Operation limit exceeded"),
    E(STACK_SIZE, "Stack size limit exceeded"),
    E(SIG_COUNT, "Signature count negative or greater than pubkey count"),
    E(PUBKEY_COUNT, "Pubkey count negative or limit exceeded"),
    E(VERIFY, "Script failed an OP_VERIFY operation"),
    E(EQUALVERIFY, "Script failed an OP_EQUALVERIFY operation"),
    E(CHECKMULTISIGVERIFY, "Script failed an OP_CHECKMULTISIGVERIFY operation"),
    E(CHECKSIGVERIFY, "Script failed an OP_CHECKSIGVERIFY operation"),
    E(NUMEQUALVERIFY, "Script failed an OP_NUMEQUALVERIFY operation"),
    E(BAD_OPCODE, "Opcode missing or not understood"),
    E(DISABLED_OPCODE, "Attempted to use a disabled opcode"),
    E(INVALID_STACK_OPERATION, "Operation not valid with the current stack size"),
    E(INVALID_ALTSTACK_OPERATION, "Operation not valid with the current altstack size"),
    E(UNBALANCED_CONDITIONAL, "Invalid OP_IF construction"),
    E(SCRIPTNUM, "Script number overflowed or is non-minimally encoded"),
    E(NEGATIVE_LOCKTIME, "Negative locktime"),
    E(UNSATISFIED_LOCKTIME, "Locktime requirement not satisfied"),
    E(SIG_HASHTYPE, "Signature hash type missing or not understood"),
    E(SIG_DER, "Non-canonical DER signature"),
    E(MINIMALDATA, "Data push larger than necessary"),
    E(SIG_PUSHONLY, "Only push operators allowed in signatures"),
    E(SIG_HIGH_S, "Non-canonical signature: S value is unnecessarily high"),
    E(SIG_NULLDUMMY, "Dummy CHECKMULTISIG argument must be zero"),
    E(PUBKEYTYPE, "Public key is neither compressed or uncompressed"),
    E(CLEANSTACK, "Stack size must be exactly one after execution"),
    E(MINIMALIF, "OP_IF/NOTIF argument must be minimal"),
    E(NULLFAIL, "Signature must be zero for failed CHECK(MULTI)SIG operation"),
    E(DISCOURAGE_UPGRADABLE_NOPS, "NOPx reserved for soft-fork upgrades"),
    E(DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM, "Witness version reserved for soft-fork upgrades"),
    E(DISCOURAGE_UPGRADABLE_TAPROOT_VERSION, "Taproot version reserved for soft-fork upgrades"),
    E(DISCOURAGE_OP_SUCCESS, "OP_SUCCESSx reserved for soft-fork upgrades"),
    E(DISCOURAGE_UPGRADABLE_PUBKEYTYPE, "Public key version reserved for soft-fork upgrades"),
    E(WITNESS_PROGRAM_WRONG_LENGTH, "Witness program has incorrect length"),
    E(WITNESS_PROGRAM_WITNESS_EMPTY, "Witness program was passed an empty witness"),
    E(WITNESS_PROGRAM_MISMATCH, "Witness program hash mismatch"),
    E(WITNESS_MALLEATED, "Witness requires empty scriptSig"),
    E(WITNESS_MALLEATED_P2SH, "Witness requires only-redeemscript scriptSig"),
    E(WITNESS_UNEXPECTED, "Witness provided for non-witness script"),
    E(WITNESS_PUBKEYTYPE, "Using non-compressed keys in segwit"),
    E(SCHNORR_SIG_SIZE, "Invalid Schnorr signature size"),
    E(SCHNORR_SIG_HASHTYPE, "Invalid Schnorr signature hash type"),
    E(SCHNORR_SIG, "Invalid Schnorr signature"),
    E(TAPROOT_WRONG_CONTROL_SIZE, "Invalid Taproot control block size"),
    E(TAPSCRIPT_VALIDATION_WEIGHT, "Too much signature validation relative to witness weight"),
    E(TAPSCRIPT_CHECKMULTISIG, "OP_CHECKMULTISIG(VERIFY) is not available in tapscript"),
    E(TAPSCRIPT_MINIMALIF, "OP_IF/NOTIF argument must be minimal in tapscript"),
    E(TAPSCRIPT_EMPTY_PUBKEY, "Empty public key in tapscript"),
    E(OP_CODESEPARATOR, "Using OP_CODESEPARATOR in non-witness script"),
    E(SIG_FINDANDDELETE, "Signature is found in scriptCode"),
    E(NO_MEMORY, "out of memory"),
#undef E
};

const char *script_err_name(enum script_err e)
{
    return (unsigned)e < SCRIPT_ERR_COUNT ? errors[e].name : "UNKNOWN_ERROR";
}

const char *script_err_text(enum script_err e)
{
    return (unsigned)e < SCRIPT_ERR_COUNT ? errors[e].text : "unknown error";
}

/* --- witness programs ------------------------------------------------------------------------ */

struct unlocking {
    struct bytes script_sig, script_pubkey, witness;
    uint32_t n_witness;
};

/* The first n_items of the witness become the stack. Of more than a machine holds only the last
 * matter: the limit is broken after the first operation. */
static enum script_err load_witness(struct interp *m, struct bytes witness, uint32_t n_items)
{
    struct bytes item;
    m->n = 0;
    for (uint32_t i = 0; i < n_items && witness_next(&witness, &item); i++) {
        if (item.len > SCRIPT_ELEMENT_LEN_MAX)
            return SCRIPT_ERR_PUSH_SIZE;
        if (n_items - i <= STACK_ROOM - STACK_SLACK / 2)
            push_view(m, item);
    }
    return SCRIPT_ERR_OK;
}

/* BIP 141: one item must be left, and be true; not a policy here. */
enum script_err interp_witness_script(struct interp *m, struct bytes script,
                                      enum sig_version version, struct bytes witness,
                                      uint32_t n_items)
{
    enum script_err e = load_witness(m, witness, n_items);
    if (!e)
        e = interp_run(m, script, version);
    if (e)
        return e;
    if (m->n != 1)
        return SCRIPT_ERR_CLEANSTACK;
    return top_bool(m) ? SCRIPT_ERR_OK : SCRIPT_ERR_EVAL_FALSE;
}

static enum script_err p2wsh(struct interp *m, struct bytes program, const struct unlocking *u)
{
    struct bytes rest = u->witness, script = {0};
    uint8_t digest[SHA256_LEN];
    if (u->n_witness == 0)
        return SCRIPT_ERR_WITNESS_PROGRAM_WITNESS_EMPTY;
    while (witness_next(&rest, &script)) {
    }
    sha256(script, digest);
    if (memcmp(digest, program.data, sizeof digest) != 0)
        return SCRIPT_ERR_WITNESS_PROGRAM_MISMATCH;
    return interp_witness_script(m, script, SIG_WITNESS_V0, u->witness, u->n_witness - 1);
}

/* BIP 141, "P2WPKH": runs as OP_DUP OP_HASH160 program OP_EQUALVERIFY OP_CHECKSIG. */
static enum script_err p2wpkh(struct interp *m, struct bytes program, const struct unlocking *u)
{
    uint8_t script[25] = {OP_DUP, OP_HASH160, 20, [23] = OP_EQUALVERIFY, [24] = OP_CHECKSIG};
    if (u->n_witness != 2)
        return SCRIPT_ERR_WITNESS_PROGRAM_MISMATCH;
    memcpy(script + 3, program.data, 20);
    return interp_witness_script(m, bytes_of(script, sizeof script), SIG_WITNESS_V0, u->witness, 2);
}

static enum script_err witness_program(struct interp *m, unsigned version, struct bytes program,
                                       const struct unlocking *u, bool is_p2sh)
{
    if (version == 0 && program.len == 20)
        return p2wpkh(m, program, u);
    if (version == 0 && program.len == 32)
        return p2wsh(m, program, u);
    if (version == 0)
        return SCRIPT_ERR_WITNESS_PROGRAM_WRONG_LENGTH;
    if (version == 1 && program.len == 32 && !is_p2sh)
        return interp_taproot(m, program, u->witness, u->n_witness);
    if (version == 1 && bytes_equal(program, BYTES_LIT("\x4e\x73")) && !is_p2sh)
        return SCRIPT_ERR_OK; /* pay to anchor: anyone may spend it */
    return m->flags & SCRIPT_DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
               ? SCRIPT_ERR_DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
               : SCRIPT_ERR_OK;
}

/* --- the input ------------------------------------------------------------------------------- */

static enum script_err run_true(struct interp *m, struct bytes script)
{
    enum script_err e = interp_run(m, script, SIG_BASE);
    if (e)
        return e;
    return m->n > 0 && top_bool(m) ? SCRIPT_ERR_OK : SCRIPT_ERR_EVAL_FALSE;
}

/* OP_HASH160 hash OP_EQUAL, run by hand: it looks at the top item and leaves the stack as it is,
 * for what BIP 16 does with it next. *out_redeem: the top item. */
static enum script_err match_p2sh(struct interp *m, struct bytes script_pubkey,
                                  struct bytes *out_redeem)
{
    uint8_t digest[HASH160_LEN];
    if (m->n == 0)
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    if (m->n + 1 > SCRIPT_N_STACK_MAX) /* the pushed hash would be one too many */
        return SCRIPT_ERR_STACK_SIZE;
    *out_redeem = top_bytes(m, 1);
    hash160(*out_redeem, digest);
    return memcmp(digest, script_pubkey.data + 2, sizeof digest) == 0 ? SCRIPT_ERR_OK
                                                                      : SCRIPT_ERR_EVAL_FALSE;
}

/* BIP 141: of a nested program nothing but the push of the redeem script may be in scriptSig. */
static bool is_push_of(struct bytes script_sig, struct bytes redeem)
{
    return script_sig.len == redeem.len + 1 && script_sig.data[0] == redeem.len &&
           redeem.len < OP_PUSHDATA1;
}

/* What is left to do after scriptSig, for a P2SH output. *out_had_witness: it was a program. */
static enum script_err spend_p2sh(struct interp *m, const struct unlocking *u,
                                  bool *out_had_witness)
{
    unsigned version;
    struct bytes redeem, program;
    uint8_t own[ITEM_OWN_LEN];
    enum script_err e = match_p2sh(m, u->script_pubkey, &redeem);
    if (e)
        return e;
    if (!script_is_push_only(u->script_sig))
        return SCRIPT_ERR_SIG_PUSHONLY;
    if (!top(m, 1)->data) { /* the place on the stack is used again while the script runs */
        memcpy(own, redeem.data, redeem.len);
        redeem.data = own;
    }
    pop(m, 1);
    e = run_true(m, redeem);
    if (e || !(m->flags & SCRIPT_WITNESS) || !script_witness_program(redeem, &version, &program))
        return e;
    *out_had_witness = true;
    if (!is_push_of(u->script_sig, redeem))
        return SCRIPT_ERR_WITNESS_MALLEATED_P2SH;
    e = witness_program(m, version, program, u, true);
    m->n = 1;
    return e;
}

static enum script_err spend_plain(struct interp *m, const struct unlocking *u,
                                   bool *out_had_witness)
{
    unsigned version;
    struct bytes program;
    enum script_err e = run_true(m, u->script_pubkey);
    if (e || !(m->flags & SCRIPT_WITNESS) ||
        !script_witness_program(u->script_pubkey, &version, &program))
        return e;
    *out_had_witness = true;
    if (u->script_sig.len != 0)
        return SCRIPT_ERR_WITNESS_MALLEATED;
    e = witness_program(m, version, program, u, false);
    m->n = 1;
    return e;
}

static enum script_err verify(struct interp *m, const struct unlocking *u)
{
    bool had_witness = false;
    if (m->flags & SCRIPT_SIGPUSHONLY && !script_is_push_only(u->script_sig))
        return SCRIPT_ERR_SIG_PUSHONLY;
    enum script_err e = interp_run(m, u->script_sig, SIG_BASE);
    if (e)
        return e;
    if (m->flags & SCRIPT_P2SH && script_is_p2sh(u->script_pubkey))
        e = spend_p2sh(m, u, &had_witness);
    else
        e = spend_plain(m, u, &had_witness);
    if (e)
        return e;
    if (m->flags & SCRIPT_CLEANSTACK && m->n != 1)
        return SCRIPT_ERR_CLEANSTACK;
    if (m->flags & SCRIPT_WITNESS && !had_witness && u->n_witness > 0)
        return SCRIPT_ERR_WITNESS_UNEXPECTED;
    return SCRIPT_ERR_OK;
}

enum script_err script_verify_with(const struct tx_spend *s, uint32_t in_index,
                                   struct bytes script_sig, struct bytes script_pubkey,
                                   struct bytes witness, uint32_t n_witness, int64_t amount_sat,
                                   uint32_t flags, struct script_cache *cache, struct mem *mem)
{
    struct interp m; /* large, and but for these fields not initialised: it costs what is used */
    const struct unlocking u = {script_sig, script_pubkey, witness, n_witness};
    (void)mem;
    m.spend = s;
    m.cache = cache;
    m.amount_sat = amount_sat;
    m.in_index = in_index;
    m.flags = flags;
    m.n = 0;
    return verify(&m, &u);
}

enum script_err script_verify(const struct tx_spend *s, uint32_t in_index, uint32_t flags,
                              struct script_cache *cache, struct mem *mem)
{
    const struct tx_in *in = &s->tx->in[in_index];
    return script_verify_with(s, in_index, in->script_sig, s->spent[in_index].script, in->witness,
                              in->n_witness, s->spent[in_index].value_sat, flags, cache, mem);
}
