#include "base/bytes.h"
#include <endian.h>
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

/* The next n bytes; NULL once failed. n > 0 is a constant of the caller's, and all is in sight of the
 * compiler: a number costs a comparison, a load and a swap. */
static inline const uint8_t *reader_claim(struct reader *r, size_t n)
{
    if (r->err.code || n > r->len - r->pos)
        return reader_take(r, n).data;
    const uint8_t *at = r->buf + r->pos;
    r->pos += n;
    return at;
}

uint8_t reader_u8(struct reader *r)
{
    const uint8_t *at = reader_claim(r, 1);
    return at ? *at : 0;
}

uint8_t reader_peek_u8(const struct reader *r)
{
    return reader_left(r) ? r->buf[r->pos] : 0;
}

uint16_t reader_u16be(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint16_t));
    uint16_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return be16toh(v);
}

uint16_t reader_u16le(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint16_t));
    uint16_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return le16toh(v);
}

uint32_t reader_u32be(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint32_t));
    uint32_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return be32toh(v);
}

uint32_t reader_u32le(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint32_t));
    uint32_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return le32toh(v);
}

uint64_t reader_u64be(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint64_t));
    uint64_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return be64toh(v);
}

uint64_t reader_u64le(struct reader *r)
{
    const uint8_t *at = reader_claim(r, sizeof(uint64_t));
    uint64_t v = 0;
    if (at)
        memcpy(&v, at, sizeof v);
    return le64toh(v);
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
    uint8_t *out = writer_claim(w, 1);
    if (out)
        *out = v;
}

void writer_u16be(struct writer *w, uint16_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htobe16(v);
    if (out)
        memcpy(out, &v, sizeof v);
}

void writer_u16le(struct writer *w, uint16_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htole16(v);
    if (out)
        memcpy(out, &v, sizeof v);
}

void writer_u32be(struct writer *w, uint32_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htobe32(v);
    if (out)
        memcpy(out, &v, sizeof v);
}

void writer_u32le(struct writer *w, uint32_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htole32(v);
    if (out)
        memcpy(out, &v, sizeof v);
}

void writer_u64be(struct writer *w, uint64_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htobe64(v);
    if (out)
        memcpy(out, &v, sizeof v);
}

void writer_u64le(struct writer *w, uint64_t v)
{
    uint8_t *out = writer_claim(w, sizeof v);
    v = htole64(v);
    if (out)
        memcpy(out, &v, sizeof v);
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
