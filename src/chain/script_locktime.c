#include "chain/script_interp.h"

#define LOCK_TIME_THRESHOLD   500000000 /* below: a height, else seconds (consensus) */
#define LOCK_NUM_LEN_MAX      5u        /* BIP 65, BIP 112: more than 2^31 - 1 is needed */
#define SEQUENCE_FINAL        UINT32_MAX
#define SEQUENCE_DISABLE_FLAG (INT64_C(1) << 31) /* BIP 68, "Specification" */
#define SEQUENCE_TYPE_FLAG    (INT64_C(1) << 22)
#define SEQUENCE_MASK         0xffff

static enum script_err lock_operand(struct interp *m, int64_t *out)
{
    if (!has_items(m, 1))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, 1, LOCK_NUM_LEN_MAX, out);
    if (e)
        return e;
    return *out < 0 ? SCRIPT_ERR_NEGATIVE_LOCKTIME : SCRIPT_ERR_OK;
}

/* BIP 65: the transaction's lock time is of the same kind, at least the operand, and in force. */
enum script_err interp_check_lock_time(struct interp *m)
{
    const struct tx *tx = m->spend->tx;
    int64_t wanted;
    enum script_err e = lock_operand(m, &wanted);
    if (e)
        return e;
    if ((wanted < LOCK_TIME_THRESHOLD) != (tx->lock_time < LOCK_TIME_THRESHOLD) ||
        wanted > tx->lock_time || tx->in[m->in_index].sequence == SEQUENCE_FINAL)
        return SCRIPT_ERR_UNSATISFIED_LOCKTIME;
    return SCRIPT_ERR_OK;
}

/* BIP 112: the input's sequence is a relative lock of the same kind and at least the operand. */
enum script_err interp_check_sequence(struct interp *m)
{
    const struct tx *tx = m->spend->tx;
    int64_t wanted, mask = SEQUENCE_TYPE_FLAG | SEQUENCE_MASK;
    enum script_err e = lock_operand(m, &wanted);
    if (e || wanted & SEQUENCE_DISABLE_FLAG)
        return e;
    int64_t have = tx->in[m->in_index].sequence;
    if (tx->version < 2 || have & SEQUENCE_DISABLE_FLAG)
        return SCRIPT_ERR_UNSATISFIED_LOCKTIME;
    have &= mask;
    wanted &= mask;
    if ((wanted < SEQUENCE_TYPE_FLAG) != (have < SEQUENCE_TYPE_FLAG) || wanted > have)
        return SCRIPT_ERR_UNSATISFIED_LOCKTIME;
    return SCRIPT_ERR_OK;
}
