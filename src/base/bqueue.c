#include "base/bqueue.h"
#include "base/size.h"
#include <assert.h>

#define BQUEUE_CAP_MIN 256u /* ours: a handshake and a few messages */

void bqueue_init(struct bqueue *q, struct mem *mem, size_t limit_len)
{
    *q = (struct bqueue){.mem = mem, .limit_len = limit_len};
}

void bqueue_clear(struct bqueue *q)
{
    if (q->ring)
        mem_free(q->mem, q->ring);
    *q = (struct bqueue){.mem = q->mem, .limit_len = q->limit_len};
}

/* A ring of the next power of two, its content moved to the front. */
static enum err_code bqueue_grow(struct bqueue *q, size_t need)
{
    size_t cap = size_max(q->cap, BQUEUE_CAP_MIN);
    while (cap < need)
        if (!size_mul(&cap, cap, 2))
            return ERR_NO_MEMORY;
    uint8_t *ring = mem_alloc(q->mem, cap);
    if (!ring)
        return ERR_NO_MEMORY;
    struct bytes runs[2];
    size_t n = bqueue_peek2(q, runs), at = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(ring + at, runs[i].data, runs[i].len);
        at += runs[i].len;
    }
    mem_free(q->mem, q->ring);
    q->ring = ring;
    q->cap = cap;
    q->start = 0;
    return ERR_OK;
}

enum err_code bqueue_push(struct bqueue *q, struct bytes b)
{
    if (b.len > bqueue_room(q))
        return ERR_LIMIT;
    if (b.len == 0)
        return ERR_OK;
    if (b.len > q->cap - q->len) {
        enum err_code code = bqueue_grow(q, q->len + b.len);
        if (code)
            return code;
    }
    size_t end = (q->start + q->len) & (q->cap - 1);
    size_t first = size_min(b.len, q->cap - end);
    memcpy(q->ring + end, b.data, first);
    if (first < b.len)
        memcpy(q->ring, b.data + first, b.len - first);
    q->len += b.len;
    return ERR_OK;
}

struct bytes bqueue_peek(const struct bqueue *q)
{
    if (q->len == 0)
        return (struct bytes){0};
    return (struct bytes){q->ring + q->start, size_min(q->len, q->cap - q->start)};
}

size_t bqueue_peek2(const struct bqueue *q, struct bytes out[2])
{
    out[0] = bqueue_peek(q);
    out[1] = (struct bytes){0};
    if (out[0].len == q->len)
        return q->len ? 1 : 0;
    out[1] = (struct bytes){q->ring, q->len - out[0].len};
    return 2;
}

void bqueue_consume(struct bqueue *q, size_t n)
{
    assert(n <= q->len);
    q->len -= n;
    q->start = q->len ? (q->start + n) & (q->cap - 1) : 0;
}

size_t bqueue_room(const struct bqueue *q)
{
    return q->len < q->limit_len ? q->limit_len - q->len : 0;
}
