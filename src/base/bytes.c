#include "base/bytes.h"
#include <stdarg.h>

struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, len};
}

struct bytes bytes_of_str(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool bytes_equal_str(struct bytes a, const char *s)
{
    return bytes_equal(a, bytes_of_str(s));
}

bool bytes_starts_with(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && bytes_equal(bytes_sub(a, 0, prefix.len), prefix);
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

struct bytes bytes_sub(struct bytes a, size_t off, size_t len)
{
    if (off >= a.len)
        return (struct bytes){0};
    return (struct bytes){a.data + off, len < a.len - off ? len : a.len - off};
}

bool bytes_equal_secret(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t differs = 0;
    for (size_t i = 0; i < a.len; i++)
        differs |= a.data[i] ^ b.data[i];
    return differs == 0;
}

/* --- reader ---------------------------------------------------------------------------------- */

struct reader reader_init(struct bytes in)
{
    return (struct reader){.buf = in.data, .len = in.len};
}

size_t reader_left(const struct reader *r)
{
    return r->err.code ? 0 : r->len - r->pos;
}

bool reader_ok(const struct reader *r)
{
    return r->err.code == ERR_OK;
}

void reader_fail(struct reader *r, enum err_code code, const char *what)
{
    if (!r->err.code)
        r->err = (struct err){.code = code, .what = what, .at = r->pos};
}

struct bytes reader_take(struct reader *r, size_t n)
{
    if (r->err.code || n == 0)
        return (struct bytes){0};
    if (n > r->len - r->pos) { /* this subtraction cannot wrap; pos + n could */
        err_set_at(&r->err, ERR_TRUNCATED, "input ends inside a field", r->pos, r->len - r->pos, n);
        return (struct bytes){0};
    }
    struct bytes view = {r->buf + r->pos, n};
    r->pos += n;
    return view;
}

struct bytes reader_rest(struct reader *r)
{
    return reader_take(r, reader_left(r));
}

void reader_skip(struct reader *r, size_t n)
{
    (void)reader_take(r, n);
}

void reader_copy(struct reader *r, void *out, size_t n)
{
    struct bytes view = reader_take(r, n);
    if (view.len)
        memcpy(out, view.data, n);
    else if (n)
        memset(out, 0, n);
}

uint8_t reader_u8(struct reader *r)
{
    struct bytes view = reader_take(r, 1);
    return view.len ? view.data[0] : 0;
}

uint8_t reader_peek_u8(const struct reader *r)
{
    return reader_left(r) ? r->buf[r->pos] : 0;
}

uint16_t reader_u16be(struct reader *r)
{
    uint8_t b[2];
    reader_copy(r, b, sizeof b);
    return (uint16_t)(b[0] << 8 | b[1]);
}

uint32_t reader_u32be(struct reader *r)
{
    uint8_t b[4];
    reader_copy(r, b, sizeof b);
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

uint64_t reader_u64be(struct reader *r)
{
    uint8_t b[8];
    uint64_t v = 0;
    reader_copy(r, b, sizeof b);
    for (size_t i = 0; i < sizeof b; i++)
        v = v << 8 | b[i];
    return v;
}

uint16_t reader_u16le(struct reader *r)
{
    uint8_t b[2];
    reader_copy(r, b, sizeof b);
    return (uint16_t)(b[1] << 8 | b[0]);
}

uint32_t reader_u32le(struct reader *r)
{
    uint8_t b[4];
    reader_copy(r, b, sizeof b);
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

uint64_t reader_u64le(struct reader *r)
{
    uint8_t b[8];
    uint64_t v = 0;
    reader_copy(r, b, sizeof b);
    for (size_t i = sizeof b; i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

enum err_code reader_end(struct reader *r)
{
    if (!r->err.code && r->pos != r->len)
        err_set_at(&r->err, ERR_MALFORMED, "bytes are left over", r->pos, r->len, r->pos);
    return r->err.code;
}

/* --- writer ---------------------------------------------------------------------------------- */

struct writer writer_init(void *buf, size_t cap)
{
    return (struct writer){.buf = buf, .cap = cap};
}

bool writer_ok(const struct writer *w)
{
    return w->err.code == ERR_OK;
}

size_t writer_room(const struct writer *w)
{
    return w->err.code ? 0 : w->cap - w->pos;
}

/* The next n bytes of room; NULL once failed or when n does not fit. */
static uint8_t *writer_claim(struct writer *w, size_t n)
{
    if (w->err.code)
        return NULL;
    if (n > w->cap - w->pos) {
        err_set_at(&w->err, ERR_LIMIT, "output does not fit", w->pos, n, w->cap - w->pos);
        return NULL;
    }
    uint8_t *room = w->buf + w->pos;
    w->pos += n;
    return room;
}

void writer_put(struct writer *w, struct bytes b)
{
    uint8_t *out = b.len ? writer_claim(w, b.len) : NULL;
    if (out)
        memcpy(out, b.data, b.len);
}

void writer_str(struct writer *w, const char *s)
{
    writer_put(w, bytes_of_str(s));
}

void writer_fill(struct writer *w, uint8_t byte, size_t n)
{
    uint8_t *out = n ? writer_claim(w, n) : NULL;
    if (out)
        memset(out, byte, n);
}

void writer_u8(struct writer *w, uint8_t v)
{
    writer_put(w, bytes_of(&v, 1));
}

static void writer_be(struct writer *w, uint64_t v, size_t n)
{
    uint8_t *out = writer_claim(w, n);
    for (size_t i = n; out && i-- > 0; v >>= 8)
        out[i] = (uint8_t)v;
}

static void writer_le(struct writer *w, uint64_t v, size_t n)
{
    uint8_t *out = writer_claim(w, n);
    for (size_t i = 0; out && i < n; i++, v >>= 8)
        out[i] = (uint8_t)v;
}

void writer_u16be(struct writer *w, uint16_t v)
{
    writer_be(w, v, 2);
}

void writer_u32be(struct writer *w, uint32_t v)
{
    writer_be(w, v, 4);
}

void writer_u64be(struct writer *w, uint64_t v)
{
    writer_be(w, v, 8);
}

void writer_u16le(struct writer *w, uint16_t v)
{
    writer_le(w, v, 2);
}

void writer_u32le(struct writer *w, uint32_t v)
{
    writer_le(w, v, 4);
}

void writer_u64le(struct writer *w, uint64_t v)
{
    writer_le(w, v, 8);
}

void writer_decimal(struct writer *w, uint64_t v)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v);
    writer_put(w, bytes_of(digits + at, sizeof digits - at));
}

/* vsnprintf always ends with a terminator, for which the writer may have no room: the text that
 * fits exactly takes a detour. */
static void print_exactly(uint8_t *out, size_t n, const char *fmt, va_list args, struct err *err)
{
    char *text;
    if (vasprintf(&text, fmt, args) < 0) {
        err_set(err, ERR_NO_MEMORY, "no memory for formatted text");
        return;
    }
    memcpy(out, text, n);
    free(text);
}

void writer_printf(struct writer *w, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = writer_room(w);
    size_t at = w->pos;
    int n = vsnprintf(room ? (char *)w->buf + at : NULL, room, fmt, args);
    uint8_t *out = n > 0 ? writer_claim(w, (size_t)n) : NULL;
    if (out && (size_t)n == room)
        print_exactly(out, (size_t)n, fmt, again, &w->err);
    va_end(again);
    va_end(args);
}

struct bytes writer_bytes(const struct writer *w)
{
    return w->err.code ? (struct bytes){0} : (struct bytes){w->buf, w->pos};
}

enum err_code writer_end(const struct writer *w)
{
    return w->err.code;
}
