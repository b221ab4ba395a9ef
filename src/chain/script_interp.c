#include "chain/script_interp.h"
#include "crypto/hash160.h"
#include "crypto/sha256d.h"

/* --- conditions ------------------------------------------------------------------------------ */

/* Only the outermost false one matters: what is inside does not run whatever it says. */
static bool is_running(const struct interp *m)
{
    return m->first_false == CONDITION_NONE;
}

static void condition_push(struct interp *m, bool v)
{
    if (is_running(m) && !v)
        m->first_false = m->n_conditions;
    m->n_conditions++;
}

static enum script_err condition_else(struct interp *m)
{
    if (m->n_conditions == 0)
        return SCRIPT_ERR_UNBALANCED_CONDITIONAL;
    if (is_running(m))
        m->first_false = m->n_conditions - 1;
    else if (m->first_false == m->n_conditions - 1)
        m->first_false = CONDITION_NONE;
    return SCRIPT_ERR_OK;
}

static enum script_err condition_pop(struct interp *m)
{
    if (m->n_conditions == 0)
        return SCRIPT_ERR_UNBALANCED_CONDITIONAL;
    m->n_conditions--;
    if (m->first_false == m->n_conditions)
        m->first_false = CONDITION_NONE;
    return SCRIPT_ERR_OK;
}

/* Minimal IF: nothing or exactly one. A rule in tapscript (BIP 342), a policy in version 0. */
static enum script_err check_minimal_if(const struct interp *m, struct bytes v)
{
    if (v.len == 0 || (v.len == 1 && v.data[0] == 1))
        return SCRIPT_ERR_OK;
    if (m->version == SIG_TAPSCRIPT)
        return SCRIPT_ERR_TAPSCRIPT_MINIMALIF;
    if (m->version == SIG_WITNESS_V0 && m->flags & SCRIPT_MINIMALIF)
        return SCRIPT_ERR_MINIMALIF;
    return SCRIPT_ERR_OK;
}

static enum script_err condition_if(struct interp *m, bool is_not)
{
    bool v = false;
    if (is_running(m)) {
        if (!has_items(m, 1))
            return SCRIPT_ERR_INVALID_STACK_OPERATION;
        enum script_err e = check_minimal_if(m, top_bytes(m, 1));
        if (e)
            return e;
        v = top_bool(m) != is_not;
        pop(m, 1);
    }
    condition_push(m, v);
    return SCRIPT_ERR_OK;
}

/* --- hashes, comparison ---------------------------------------------------------------------- */

static void hash_of(uint8_t op, struct bytes in, uint8_t *out)
{
    switch (op) {
    case OP_RIPEMD160:
        ripemd160(in, out);
        break;
    case OP_SHA1:
        sha1(in, out);
        break;
    case OP_HASH160:
        hash160(in, out);
        break;
    case OP_SHA256:
        sha256(in, out);
        break;
    default: /* OP_HASH256 */
        sha256d(in, out);
    }
}

static enum script_err run_hash(struct interp *m, uint8_t op)
{
    uint8_t digest[SHA256_LEN];
    uint32_t len = op == OP_SHA256 || op == OP_HASH256 ? SHA256_LEN : HASH160_LEN;
    if (!has_items(m, 1))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    hash_of(op, top_bytes(m, 1), digest);
    pop(m, 1);
    memcpy(push_own(m, len), digest, len);
    return SCRIPT_ERR_OK;
}

static enum script_err run_equal(struct interp *m, bool is_verify)
{
    if (!has_items(m, 2))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    bool v = bytes_equal(top_bytes(m, 1), top_bytes(m, 2));
    pop(m, 2);
    if (is_verify)
        return v ? SCRIPT_ERR_OK : SCRIPT_ERR_EQUALVERIFY;
    push_bool(m, v);
    return SCRIPT_ERR_OK;
}

static enum script_err run_verify(struct interp *m)
{
    if (!has_items(m, 1))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    if (!top_bool(m))
        return SCRIPT_ERR_VERIFY;
    pop(m, 1);
    return SCRIPT_ERR_OK;
}

/* --- signatures ------------------------------------------------------------------------------ */

static enum script_err run_checksig(struct interp *m, bool is_verify)
{
    bool is_good;
    if (!has_items(m, 2))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = interp_checksig(m, top_bytes(m, 2), top_bytes(m, 1), &is_good);
    if (e)
        return e;
    pop(m, 2);
    if (is_verify)
        return is_good ? SCRIPT_ERR_OK : SCRIPT_ERR_CHECKSIGVERIFY;
    push_bool(m, is_good);
    return SCRIPT_ERR_OK;
}

/* BIP 342: signature, number, key; the number grows by one when the signature is good. */
static enum script_err run_checksigadd(struct interp *m)
{
    bool is_good;
    int64_t n;
    if (m->version != SIG_TAPSCRIPT)
        return SCRIPT_ERR_BAD_OPCODE;
    if (!has_items(m, 3))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, 2, SCRIPT_NUM_LEN_MAX, &n);
    if (!e)
        e = interp_checksig(m, top_bytes(m, 3), top_bytes(m, 1), &is_good);
    if (e)
        return e;
    pop(m, 3);
    push_num(m, n + is_good);
    return SCRIPT_ERR_OK;
}

static enum script_err run_checkmultisig(struct interp *m, bool is_verify)
{
    bool is_good;
    enum script_err e = interp_checkmultisig(m, &is_good);
    if (e)
        return e;
    if (is_verify)
        return is_good ? SCRIPT_ERR_OK : SCRIPT_ERR_CHECKMULTISIGVERIFY;
    push_bool(m, is_good);
    return SCRIPT_ERR_OK;
}

static enum script_err run_nop(const struct interp *m)
{
    return m->flags & SCRIPT_DISCOURAGE_UPGRADABLE_NOPS ? SCRIPT_ERR_DISCOURAGE_UPGRADABLE_NOPS
                                                        : SCRIPT_ERR_OK;
}

/* --- one opcode ------------------------------------------------------------------------------ */

/* Fail even where they do not run; OP_SUCCESS in tapscript has ended the matter before. */
static bool is_disabled(uint8_t op)
{
    return (op >= OP_CAT && op <= OP_RIGHT) || (op >= OP_INVERT && op <= OP_XOR) || op == OP_2MUL ||
           op == OP_2DIV || (op >= OP_MUL && op <= OP_RSHIFT);
}

static enum script_err run_op(struct interp *m, uint8_t op)
{
    switch (op) {
    case OP_1NEGATE:
        push_num(m, -1);
        return SCRIPT_ERR_OK;
    case OP_NOP:
        return SCRIPT_ERR_OK;
    case OP_CHECKLOCKTIMEVERIFY:
        return m->flags & SCRIPT_CHECKLOCKTIMEVERIFY ? interp_check_lock_time(m) : SCRIPT_ERR_OK;
    case OP_CHECKSEQUENCEVERIFY:
        return m->flags & SCRIPT_CHECKSEQUENCEVERIFY ? interp_check_sequence(m) : SCRIPT_ERR_OK;
    case OP_IF:
    case OP_NOTIF:
        return condition_if(m, op == OP_NOTIF);
    case OP_ELSE:
        return condition_else(m);
    case OP_ENDIF:
        return condition_pop(m);
    case OP_VERIFY:
        return run_verify(m);
    case OP_RETURN:
        return SCRIPT_ERR_OP_RETURN;
    case OP_EQUAL:
    case OP_EQUALVERIFY:
        return run_equal(m, op == OP_EQUALVERIFY);
    case OP_CODESEPARATOR:
        m->code_from = m->pos;
        m->tap.codesep_pos = m->op_index;
        return SCRIPT_ERR_OK;
    case OP_CHECKSIG:
    case OP_CHECKSIGVERIFY:
        return run_checksig(m, op == OP_CHECKSIGVERIFY);
    case OP_CHECKSIGADD:
        return run_checksigadd(m);
    case OP_CHECKMULTISIG:
    case OP_CHECKMULTISIGVERIFY:
        return run_checkmultisig(m, op == OP_CHECKMULTISIGVERIFY);
    }
    if (op >= OP_1 && op <= OP_16) {
        *push_own(m, 1) = (uint8_t)(op - OP_1 + 1);
        return SCRIPT_ERR_OK;
    }
    if ((op >= OP_TOALTSTACK && op <= OP_TUCK) || op == OP_SIZE)
        return interp_stack_op(m, op);
    if (op >= OP_1ADD && op <= OP_WITHIN)
        return interp_num_op(m, op);
    if (op >= OP_RIPEMD160 && op <= OP_HASH256)
        return run_hash(m, op);
    if (op >= OP_NOP1 && op <= OP_NOP10)
        return run_nop(m);
    return SCRIPT_ERR_BAD_OPCODE;
}

static enum script_err run_push(struct interp *m, uint8_t op, struct bytes push)
{
    if (m->flags & SCRIPT_MINIMALDATA && !script_push_is_minimal(op, push))
        return SCRIPT_ERR_MINIMALDATA;
    push_view(m, push);
    return SCRIPT_ERR_OK;
}

/* Rules that hold for every opcode, running or not. */
static enum script_err check_op(struct interp *m, uint8_t op, struct bytes push)
{
    if (push.len > SCRIPT_ELEMENT_LEN_MAX)
        return SCRIPT_ERR_PUSH_SIZE;
    if (op <= OP_16)
        return SCRIPT_ERR_OK;
    if (m->version != SIG_TAPSCRIPT && ++m->n_ops > SCRIPT_N_OPS_MAX)
        return SCRIPT_ERR_OP_COUNT;
    if (is_disabled(op))
        return SCRIPT_ERR_DISABLED_OPCODE;
    if (op == OP_CODESEPARATOR && m->version == SIG_BASE && m->flags & SCRIPT_CONST_SCRIPTCODE)
        return SCRIPT_ERR_OP_CODESEPARATOR;
    return SCRIPT_ERR_OK;
}

static enum script_err step(struct interp *m, uint8_t op, struct bytes push)
{
    enum script_err e = check_op(m, op, push);
    if (e)
        return e;
    if (is_running(m))
        e = op <= OP_PUSHDATA4 ? run_push(m, op, push) : run_op(m, op);
    else if (op >= OP_IF && op <= OP_ENDIF)
        e = run_op(m, op);
    if (e)
        return e;
    return m->n + m->n_alt > SCRIPT_N_STACK_MAX ? SCRIPT_ERR_STACK_SIZE : SCRIPT_ERR_OK;
}

enum script_err interp_run(struct interp *m, struct bytes script, enum sig_version version)
{
    uint8_t op;
    struct bytes push;
    m->version = version;
    m->script = script;
    m->pos = m->code_from = 0;
    m->n_ops = m->op_index = 0;
    m->n_conditions = 0;
    m->first_false = CONDITION_NONE;
    m->n_alt = 0;
    m->tap.codesep_pos = UINT32_MAX;
    sighash_memo_reset(&m->memo);
    if (version != SIG_TAPSCRIPT && script.len > SCRIPT_LEN_MAX)
        return SCRIPT_ERR_SCRIPT_SIZE;
    for (; script_next(script, &m->pos, &op, &push); m->op_index++) {
        enum script_err e = step(m, op, push);
        if (e)
            return e;
    }
    if (m->pos < script.len)
        return SCRIPT_ERR_BAD_OPCODE;
    return m->n_conditions ? SCRIPT_ERR_UNBALANCED_CONDITIONAL : SCRIPT_ERR_OK;
}
