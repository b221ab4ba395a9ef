#include "chain/script_interp.h"

/* The top item is a verdict: good ones go, others end the script. */
static enum script_err verify_top(struct interp *m, enum script_err otherwise)
{
    if (!top_bool(m))
        return otherwise;
    pop(m, 1);
    return SCRIPT_ERR_OK;
}

static int64_t reckon_one(uint8_t op, int64_t a)
{
    switch (op) {
    case OP_1ADD:
        return a + 1;
    case OP_1SUB:
        return a - 1;
    case OP_NEGATE:
        return -a;
    case OP_ABS:
        return a < 0 ? -a : a;
    case OP_NOT:
        return a == 0;
    default: /* OP_0NOTEQUAL */
        return a != 0;
    }
}

static int64_t reckon_two(uint8_t op, int64_t a, int64_t b)
{
    switch (op) {
    case OP_ADD:
        return a + b;
    case OP_SUB:
        return a - b;
    case OP_BOOLAND:
        return a != 0 && b != 0;
    case OP_BOOLOR:
        return a != 0 || b != 0;
    case OP_NUMEQUAL:
    case OP_NUMEQUALVERIFY:
        return a == b;
    case OP_NUMNOTEQUAL:
        return a != b;
    case OP_LESSTHAN:
        return a < b;
    case OP_GREATERTHAN:
        return a > b;
    case OP_LESSTHANOREQUAL:
        return a <= b;
    case OP_GREATERTHANOREQUAL:
        return a >= b;
    case OP_MIN:
        return a < b ? a : b;
    default: /* OP_MAX */
        return a > b ? a : b;
    }
}

static enum script_err within(struct interp *m)
{
    int64_t v, low, high;
    if (!has_items(m, 3))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, 3, SCRIPT_NUM_LEN_MAX, &v);
    if (!e)
        e = top_num(m, 2, SCRIPT_NUM_LEN_MAX, &low);
    if (!e)
        e = top_num(m, 1, SCRIPT_NUM_LEN_MAX, &high);
    if (e)
        return e;
    pop(m, 3);
    push_bool(m, low <= v && v < high);
    return SCRIPT_ERR_OK;
}

static enum script_err one_number(struct interp *m, uint8_t op)
{
    int64_t v;
    if (!has_items(m, 1))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, 1, SCRIPT_NUM_LEN_MAX, &v);
    if (e)
        return e;
    pop(m, 1);
    push_num(m, reckon_one(op, v));
    return SCRIPT_ERR_OK;
}

enum script_err interp_num_op(struct interp *m, uint8_t op)
{
    int64_t a, b;
    if (op == OP_WITHIN)
        return within(m);
    if (op <= OP_0NOTEQUAL)
        return one_number(m, op);
    if (!has_items(m, 2))
        return SCRIPT_ERR_INVALID_STACK_OPERATION;
    enum script_err e = top_num(m, 2, SCRIPT_NUM_LEN_MAX, &a);
    if (!e)
        e = top_num(m, 1, SCRIPT_NUM_LEN_MAX, &b);
    if (e)
        return e;
    pop(m, 2);
    push_num(m, reckon_two(op, a, b));
    return op == OP_NUMEQUALVERIFY ? verify_top(m, SCRIPT_ERR_NUMEQUALVERIFY) : SCRIPT_ERR_OK;
}
