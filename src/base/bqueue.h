/* bqueue: bounded queue of bytes (a ring that grows up to its limit).
 *
 * Ownership  owns its ring; views from bqueue_peek are good until the next call
 * Threads    one owner
 * Errors     bqueue_push: ERR_LIMIT beyond limit_len, ERR_NO_MEMORY; all or nothing
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"

struct bqueue {
    struct mem *mem;
    uint8_t *ring;
    size_t cap, start, len; /* cap is 0 or a power of two */
    size_t limit_len;
};

void bqueue_init(struct bqueue *q, struct mem *mem, size_t limit_len);
void bqueue_clear(struct bqueue *q);
enum err_code bqueue_push(struct bqueue *q, struct bytes b) MUST_USE;
struct bytes bqueue_peek(const struct bqueue *q);                 /* the first run */
size_t bqueue_peek2(const struct bqueue *q, struct bytes out[2]); /* both runs; returns how many */
void bqueue_consume(struct bqueue *q, size_t n);                  /* n <= len */
size_t bqueue_room(const struct bqueue *q);
