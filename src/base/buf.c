#include "base/buf.h"
#include "base/size.h"
#include <assert.h>
#include <stdarg.h>

#define BUF_CAP_MIN 64u

void buf_init(struct buf *b, struct mem *mem, size_t limit_len)
{
    *b = (struct buf){.mem = mem, .limit_len = limit_len};
}

void buf_clear(struct buf *b)
{
    if (b->data)
        mem_free(b->mem, b->data);
    *b = (struct buf){.mem = b->mem, .limit_len = b->limit_len};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->err = ERR_OK;
}

/* Room for `more` bytes beyond len and one spare, or the sticky error. */
static bool buf_grow(struct buf *b, size_t more)
{
    size_t need, cap;
    if (b->err)
        return false;
    if (!size_add(&need, b->len, more) || need > b->limit_len) {
        b->err = ERR_LIMIT;
        return false;
    }
    if (need <= b->cap)
        return true;
    if (!size_mul(&cap, b->cap, 2))
        cap = need;
    cap = size_min(size_max(size_max(cap, need), BUF_CAP_MIN), size_max(b->limit_len, need));
    uint8_t *data = cap < SIZE_MAX ? mem_realloc(b->mem, b->data, cap + 1) : NULL;
    if (!data) {
        b->err = ERR_NO_MEMORY;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, struct bytes in)
{
    if (in.len == 0 || !buf_grow(b, in.len))
        return;
    memcpy(b->data + b->len, in.data, in.len);
    b->len += in.len;
}

void buf_str(struct buf *b, const char *s)
{
    buf_put(b, bytes_of_str(s));
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_put(b, bytes_of(&v, 1));
}

/* vsnprintf always ends with a terminator: there is a byte for it behind what counts (buf_grow). */
void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n > 0 && buf_grow(b, (size_t)n)) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

struct span buf_reserve(struct buf *b, size_t len)
{
    if (!buf_grow(b, len) || !b->data)
        return (struct span){0};
    return (struct span){b->data + b->len, len};
}

void buf_commit(struct buf *b, size_t len)
{
    assert(len <= b->cap - b->len);
    b->len += len;
}

struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->data, b->len};
}

struct span buf_take(struct buf *b)
{
    struct span taken = {b->data, b->len};
    *b = (struct buf){.mem = b->mem, .limit_len = b->limit_len};
    return taken;
}
