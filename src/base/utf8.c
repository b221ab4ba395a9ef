#include "base/utf8.h"

/* The length that a first byte promises and the smallest value that needs it; 0 for none. */
static size_t lead_len(uint8_t lead, uint32_t *out_bits, uint32_t *out_min)
{
    static const uint32_t mins[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = lead < 0x80       ? 1
                 : lead >> 5 == 6  ? 2
                 : lead >> 4 == 14 ? 3
                 : lead >> 3 == 30 ? 4
                                   : 0;
    *out_bits = len == 1 ? lead : lead & (0x7fu >> len);
    *out_min = mins[len];
    return len;
}

static uint32_t take_bad(struct bytes *text, bool *out_is_bad)
{
    text->data++;
    text->len--;
    if (out_is_bad)
        *out_is_bad = true;
    return UTF8_REPLACEMENT;
}

uint32_t utf8_next(struct bytes *text, bool *out_is_bad)
{
    uint32_t value, min;
    if (text->len == 0)
        return 0;
    size_t len = lead_len(text->data[0], &value, &min);
    if (len == 0 || len > text->len)
        return take_bad(text, out_is_bad);
    for (size_t i = 1; i < len; i++) {
        if (text->data[i] >> 6 != 2)
            return take_bad(text, out_is_bad);
        value = value << 6 | (text->data[i] & 0x3f);
    }
    if (value < min || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return take_bad(text, out_is_bad);
    text->data += len;
    text->len -= len;
    return value;
}

size_t utf8_write(uint32_t code_point, uint8_t out[4])
{
    if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff))
        code_point = UTF8_REPLACEMENT;
    if (code_point < 0x80) {
        out[0] = (uint8_t)code_point;
        return 1;
    }
    size_t len = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; code_point >>= 6)
        out[i] = (uint8_t)(0x80 | (code_point & 0x3f));
    out[0] = (uint8_t)((0xf00u >> len) | code_point);
    return len;
}

bool utf8_is_valid(struct bytes text)
{
    bool is_bad = false;
    while (text.len && !is_bad)
        utf8_next(&text, &is_bad);
    return !is_bad;
}
