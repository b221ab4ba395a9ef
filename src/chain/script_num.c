#include "chain/script_num.h"
#include "chain/script_op.h"

/* The last byte holds more than a sign, or its sign bit is needed because the one before uses its
 * own. */
static bool is_shortest(struct bytes b)
{
    if (b.len == 0 || b.data[b.len - 1] & 0x7f)
        return true;
    return b.len > 1 && b.data[b.len - 2] & 0x80;
}

bool script_num_read(struct bytes b, bool is_minimal, size_t len_max, int64_t *out)
{
    uint64_t v = 0;
    if (b.len > len_max || (is_minimal && !is_shortest(b)))
        return false;
    for (size_t i = 0; i < b.len; i++)
        v |= (uint64_t)b.data[i] << (8 * i);
    bool is_negative = b.len > 0 && b.data[b.len - 1] & 0x80;
    if (is_negative)
        v &= ~(UINT64_C(0x80) << (8 * (b.len - 1)));
    *out = is_negative ? -(int64_t)v : (int64_t)v;
    return true;
}

size_t script_num_write(int64_t v, uint8_t out[SCRIPT_NUM_ROOM])
{
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t n = 0;
    for (; left; left >>= 8)
        out[n++] = (uint8_t)left;
    if (n > 0 && out[n - 1] & 0x80)
        out[n++] = 0;
    if (v < 0)
        out[n - 1] |= 0x80;
    return n;
}

bool script_bool(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i])
            return i + 1 < b.len || b.data[i] != 0x80;
    }
    return false;
}

bool script_push_is_minimal(uint8_t op, struct bytes push)
{
    if (push.len == 0)
        return op == OP_0;
    if (push.len == 1 && push.data[0] >= 1 && push.data[0] <= 16)
        return false;
    if (push.len == 1 && push.data[0] == 0x81)
        return false;
    if (push.len <= 75)
        return op == push.len;
    if (push.len <= 255)
        return op == OP_PUSHDATA1;
    return push.len > 65535 || op == OP_PUSHDATA2;
}
