/* hex, base32, percent: text forms of bytes.
 *
 * Errors     decoders: ERR_MALFORMED (character or length), ERR_LIMIT (out too small)
 */
#pragma once
#include "base/bytes.h"

/* out_cap must hold 2 * b.len + 1; terminated. Returns out. */
char *hex_encode(struct bytes b, char *out, size_t out_cap);
void writer_hex(struct writer *w, struct bytes b); /* lower case, not terminated */
/* text.len must be 2 * out_len. */
enum err_code hex_decode(struct bytes text, uint8_t *out, size_t out_len) MUST_USE;
/* RFC 4648 base32 without padding, either case (magnet links, BEP 9). */
enum err_code base32_decode(struct bytes text, uint8_t *out, size_t out_len) MUST_USE;
/* RFC 3986: everything but unreserved characters becomes %XX. */
void percent_encode(struct writer *w, struct bytes b);
/* %XX and, if plus_is_space, '+'; *out_len bytes written to out (cap >= text.len). */
enum err_code percent_decode(struct bytes text, bool plus_is_space, uint8_t *out, size_t out_cap,
                             size_t *out_len) MUST_USE;
