/* buf: growable byte buffer with a limit, for what is built or gathered before it is used.
 *
 * Ownership  owns its storage; buf_bytes is good until the next change
 * Threads    one owner
 * Errors     sticky like a writer: after the first failure nothing is added and err tells why
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"

struct buf {
    struct mem *mem;
    uint8_t *data;
    size_t len, cap, limit_len;
    enum err_code err; /* ERR_LIMIT or ERR_NO_MEMORY */
};

void buf_init(struct buf *b, struct mem *mem, size_t limit_len);
void buf_clear(struct buf *b);
void buf_reset(struct buf *b); /* len 0 and no error; keeps the storage */
void buf_put(struct buf *b, struct bytes in);
void buf_str(struct buf *b, const char *s);
void buf_u8(struct buf *b, uint8_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room at the end, uninitialised; {0} on failure. */
struct span buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len); /* of what was reserved */
struct bytes buf_bytes(const struct buf *b);
/* Hands the storage over (free with mem_free of the same mem); the buf is empty afterwards. */
struct span buf_take(struct buf *b);
