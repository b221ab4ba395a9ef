/* path_sanitize: one pass, character by character, into 240 bytes. */
#include "torrent/path_sanitize.h"
#include "base/utf8.h"

static bool is_dropped(uint32_t c)
{
    return c == 0 || c == '/' || c == '\\' || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x2064) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

/* Cleans into out up to cap bytes; false when it did not all fit. */
static bool clean(struct bytes in, char *out, size_t cap, size_t *out_len)
{
    size_t len = 0;
    while (in.len > 0) {
        bool is_bad = false;
        uint8_t encoded[4];
        uint32_t c = utf8_next(&in, &is_bad);
        if (!is_bad && is_dropped(c))
            continue;
        size_t n = utf8_write(is_bad || is_control(c) ? '_' : c, encoded);
        if (n > cap - len) {
            *out_len = len;
            return false;
        }
        memcpy(out + len, encoded, n);
        len += n;
    }
    *out_len = len;
    return true;
}

static size_t cut_at_character(const char *s, size_t len)
{
    while (len > 0 && ((uint8_t)s[len] & 0xC0) == 0x80)
        len--;
    return len;
}

size_t path_ext_off(struct bytes path)
{
    for (size_t i = path.len; i > 1 && path.len - i < PATH_EXT_LEN_MAX; i--) {
        if (path.data[i - 1] == '/')
            break;
        if (path.data[i - 1] == '.')
            return path.data[i - 2] == '/' ? path.len : i - 1;
    }
    return path.len;
}

size_t path_sanitize_element(struct bytes in, char out[PATH_ELEMENT_CAP])
{
    size_t len, ext_len = 0;
    if (!clean(in, out, PATH_ELEMENT_LEN_MAX, &len)) {
        char ext[PATH_EXT_LEN_MAX];
        size_t ext_off = path_ext_off(in);
        if (!clean(bytes_sub(in, ext_off, in.len - ext_off), ext, sizeof ext, &ext_len) ||
            ext_len > sizeof ext)
            ext_len = 0;
        if (len > PATH_ELEMENT_LEN_MAX - ext_len)
            len = cut_at_character(out, PATH_ELEMENT_LEN_MAX - ext_len);
        memcpy(out + len, ext, ext_len);
        len += ext_len;
    }
    if (len <= 2 && (len == 0 || memcmp(out, "..", len) == 0))
        len = 0;
    out[len] = '\0';
    return len;
}

size_t path_sanitize_element_or(struct bytes in, char out[PATH_ELEMENT_CAP])
{
    size_t len = path_sanitize_element(in, out);
    if (len > 0)
        return len;
    memcpy(out, "_", 2);
    return 1;
}
