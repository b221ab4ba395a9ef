#include "chain/script_interp.h"

static enum script_err too_few(void)
{
    return SCRIPT_ERR_INVALID_STACK_OPERATION;
}

/* Copies of the n items that end i below the top, in order. */
static void copy_up(struct interp *m, uint32_t n, uint32_t i)
{
    memcpy(&m->items[m->n], top(m, i + n), n * sizeof m->items[0]);
    m->n += n;
}

/* The i-th from the top leaves; those above move down, and room is left at the top. */
static struct script_item take_out(struct interp *m, uint32_t i)
{
    struct script_item taken = *top(m, i);
    memmove(top(m, i), top(m, i) + 1, (i - 1) * sizeof taken);
    m->n--;
    return taken;
}

static void rotate(struct interp *m, uint32_t i)
{
    struct script_item taken = take_out(m, i);
    push_item(m, &taken);
}

static enum script_err to_alt(struct interp *m)
{
    if (!has_items(m, 1))
        return too_few();
    struct script_item taken = *top(m, 1);
    pop(m, 1);
    m->n_alt++;
    m->items[STACK_ROOM - m->n_alt] = taken;
    return SCRIPT_ERR_OK;
}

static enum script_err from_alt(struct interp *m)
{
    if (m->n_alt < 1)
        return SCRIPT_ERR_INVALID_ALTSTACK_OPERATION;
    struct script_item taken = m->items[STACK_ROOM - m->n_alt];
    m->n_alt--;
    push_item(m, &taken);
    return SCRIPT_ERR_OK;
}

/* PICK copies, ROLL moves, what the number on top says counted from below it. */
static enum script_err pick_or_roll(struct interp *m, bool is_roll)
{
    int64_t n;
    if (!has_items(m, 2))
        return too_few();
    enum script_err e = top_num(m, 1, SCRIPT_NUM_LEN_MAX, &n);
    if (e)
        return e;
    pop(m, 1);
    if (n < 0 || n >= m->n)
        return too_few();
    if (is_roll)
        rotate(m, (uint32_t)n + 1);
    else
        copy_up(m, 1, (uint32_t)n);
    return SCRIPT_ERR_OK;
}

static enum script_err tuck(struct interp *m)
{
    struct script_item taken = *top(m, 1);
    *top(m, 1) = *top(m, 2);
    *top(m, 2) = taken;
    push_item(m, &taken);
    return SCRIPT_ERR_OK;
}

static uint32_t items_needed(uint8_t op)
{
    switch (op) {
    case OP_2ROT:
        return 6;
    case OP_2OVER:
    case OP_2SWAP:
        return 4;
    case OP_3DUP:
    case OP_ROT:
        return 3;
    case OP_2DROP:
    case OP_2DUP:
    case OP_NIP:
    case OP_OVER:
    case OP_SWAP:
    case OP_TUCK:
        return 2;
    case OP_DEPTH:
        return 0;
    default:
        return 1;
    }
}

static enum script_err shuffle(struct interp *m, uint8_t op)
{
    switch (op) {
    case OP_2DUP:
        copy_up(m, 2, 0);
        break;
    case OP_3DUP:
        copy_up(m, 3, 0);
        break;
    case OP_2OVER:
        copy_up(m, 2, 2);
        break;
    case OP_2ROT:
        rotate(m, 6);
        rotate(m, 6);
        break;
    case OP_2SWAP:
        rotate(m, 4);
        rotate(m, 4);
        break;
    case OP_OVER:
        copy_up(m, 1, 1);
        break;
    case OP_ROT:
        rotate(m, 3);
        break;
    case OP_SWAP:
        rotate(m, 2);
        break;
    default:
        return tuck(m);
    }
    return SCRIPT_ERR_OK;
}

enum script_err interp_stack_op(struct interp *m, uint8_t op)
{
    if (op == OP_TOALTSTACK)
        return to_alt(m);
    if (op == OP_FROMALTSTACK)
        return from_alt(m);
    if (op == OP_PICK || op == OP_ROLL)
        return pick_or_roll(m, op == OP_ROLL);
    if (!has_items(m, items_needed(op)))
        return too_few();
    switch (op) {
    case OP_DUP:
        copy_up(m, 1, 0);
        return SCRIPT_ERR_OK;
    case OP_DROP:
        pop(m, 1);
        return SCRIPT_ERR_OK;
    case OP_2DROP:
        pop(m, 2);
        return SCRIPT_ERR_OK;
    case OP_NIP:
        (void)take_out(m, 2);
        return SCRIPT_ERR_OK;
    case OP_IFDUP:
        if (top_bool(m))
            copy_up(m, 1, 0);
        return SCRIPT_ERR_OK;
    case OP_DEPTH:
        push_num(m, m->n);
        return SCRIPT_ERR_OK;
    case OP_SIZE:
        push_num(m, top(m, 1)->len);
        return SCRIPT_ERR_OK;
    default:
        return shuffle(m, op);
    }
}
