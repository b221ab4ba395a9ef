#include "base/hex.h"
#include <assert.h>

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

char *hex_encode(struct bytes b, char *out, size_t out_cap)
{
    assert(out_cap > b.len && out_cap - b.len > b.len);
    for (size_t i = 0; i < b.len; i++) {
        out[2 * i] = hex_lower[b.data[i] >> 4];
        out[2 * i + 1] = hex_lower[b.data[i] & 15];
    }
    out[2 * b.len] = '\0';
    return out;
}

void writer_hex(struct writer *w, struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        writer_u8(w, (uint8_t)hex_lower[b.data[i] >> 4]);
        writer_u8(w, (uint8_t)hex_lower[b.data[i] & 15]);
    }
}

/* 0 to 15, or -1. */
static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err_code hex_decode(struct bytes text, uint8_t *out, size_t out_len)
{
    if (text.len % 2 || text.len / 2 != out_len)
        return ERR_MALFORMED;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_MALFORMED;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ERR_OK;
}

static int base32_digit(uint8_t c)
{
    if (c >= '2' && c <= '7')
        return c - '2' + 26;
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' : -1;
}

enum err_code base32_decode(struct bytes text, uint8_t *out, size_t out_len)
{
    uint32_t held = 0, n_bits = 0;
    size_t at = 0;
    if (text.len / 8 != out_len / 5 || text.len % 8 != (out_len % 5 * 8 + 4) / 5)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base32_digit(text.data[i]);
        if (digit < 0)
            return ERR_MALFORMED;
        held = held << 5 | (uint32_t)digit;
        n_bits += 5;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[at++] = (uint8_t)(held >> n_bits);
            held &= (1u << n_bits) - 1;
        }
    }
    return held ? ERR_MALFORMED : ERR_OK; /* left-over bits are zero (RFC 4648, section 3.5) */
}

static bool is_unreserved(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void percent_encode(struct writer *w, struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        uint8_t escaped[3] = {'%', (uint8_t)hex_upper[c >> 4], (uint8_t)hex_upper[c & 15]};
        if (is_unreserved(c))
            writer_u8(w, c);
        else
            writer_put(w, bytes_of(escaped, sizeof escaped));
    }
}

enum err_code percent_decode(struct bytes text, bool plus_is_space, uint8_t *out, size_t out_cap,
                             size_t *out_len)
{
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR_MALFORMED;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (at == out_cap)
            return ERR_LIMIT;
        out[at++] = c;
    }
    *out_len = at;
    return ERR_OK;
}
