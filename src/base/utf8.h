/* utf8: decoding of text that a stranger wrote.
 *
 * utf8_next reads one code point; on a bad byte it gives U+FFFD, takes one byte and sets
 * *out_is_bad. Overlong forms, surrogates and values above U+10FFFF are bad.
 */
#pragma once
#include "base/bytes.h"

#define UTF8_REPLACEMENT 0xFFFDu
uint32_t utf8_next(struct bytes *text, bool *out_is_bad);
size_t utf8_write(uint32_t code_point, uint8_t out[4]); /* number of bytes */
bool utf8_is_valid(struct bytes text);
