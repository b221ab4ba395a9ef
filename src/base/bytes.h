/* bytes: borrowed views of memory, and the two sticky cursors that parse and build messages.
 *
 * Ownership  a view borrows; whoever hands one out says until when it lives
 * Threads    plain values
 * Errors     a reader or writer that has failed stays failed: every later read gives zeros, every
 *            later write does nothing, and reader_end()/writer_end() report the first failure.
 *            So a codec is a list of reads and one check.
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

/* Room that its owner lends out to be written. */
struct span {
    uint8_t *data;
    size_t len;
};

#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

struct bytes bytes_of(const void *data, size_t len);
struct bytes bytes_of_str(const char *s); /* without the terminator */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_str(struct bytes a, const char *s);
bool bytes_starts_with(struct bytes a, struct bytes prefix);
int bytes_compare(struct bytes a, struct bytes b);              /* memcmp order, shorter first */
struct bytes bytes_sub(struct bytes a, size_t off, size_t len); /* clamped to a */
bool bytes_equal_secret(struct bytes a, struct bytes b);        /* constant time in the content */

/* --- reader: bounds-checked, sticky ---------------------------------------------------------- */

struct reader {
    const uint8_t *buf;
    size_t len, pos; /* pos <= len, always */
    struct err err;  /* the first failure; once set, every read gives zeros */
};

struct reader reader_init(struct bytes in);
size_t reader_left(const struct reader *r); /* 0 once failed */
bool reader_ok(const struct reader *r);
void reader_fail(struct reader *r, enum err_code code, const char *what); /* at = pos; first wins */
struct bytes reader_take(struct reader *r, size_t n); /* a view of the input; empty once failed */
struct bytes reader_rest(struct reader *r);           /* everything left; consumes it */
void reader_skip(struct reader *r, size_t n);
void reader_copy(struct reader *r, void *out, size_t n); /* zeros once failed */
uint8_t reader_u8(struct reader *r);
uint8_t reader_peek_u8(const struct reader *r); /* 0 at the end */
uint16_t reader_u16be(struct reader *r);
uint32_t reader_u32be(struct reader *r);
uint64_t reader_u64be(struct reader *r);
uint16_t reader_u16le(struct reader *r);
uint32_t reader_u32le(struct reader *r);
uint64_t reader_u64le(struct reader *r);

/* ERR_MALFORMED if bytes are left over; otherwise the first failure or ERR_OK. */
enum err_code reader_end(struct reader *r) MUST_USE;

/* --- writer: bounded at init, sticky --------------------------------------------------------- */

struct writer {
    uint8_t *buf;
    size_t cap, pos; /* pos <= cap, always */
    struct err err;  /* ERR_LIMIT at the write that did not fit */
};

struct writer writer_init(void *buf, size_t cap);
bool writer_ok(const struct writer *w);
size_t writer_room(const struct writer *w);
void writer_put(struct writer *w, struct bytes b);
void writer_str(struct writer *w, const char *s); /* without the terminator */
void writer_fill(struct writer *w, uint8_t byte, size_t n);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16be(struct writer *w, uint16_t v);
void writer_u32be(struct writer *w, uint32_t v);
void writer_u64be(struct writer *w, uint64_t v);
void writer_u16le(struct writer *w, uint16_t v);
void writer_u32le(struct writer *w, uint32_t v);
void writer_u64le(struct writer *w, uint64_t v);
void writer_decimal(struct writer *w, uint64_t v); /* ASCII, no padding */
/* printf into the writer; all of it or, sticky, nothing. */
void writer_printf(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What was written so far; empty if the writer has failed. */
struct bytes writer_bytes(const struct writer *w);
enum err_code writer_end(const struct writer *w) MUST_USE;
