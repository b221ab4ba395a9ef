/* sha256d_x16: double SHA-256 of sixteen messages of one length at a time, in the 32-bit lanes of
 * AVX-512 registers. For merkle nodes and block headers; chosen by sha256d.c.
 *
 * Ownership  all memory is the caller's
 * Threads    pure functions
 * Errors     none; on a machine without AVX-512 they must not be called
 */
#pragma once
#include "crypto/sha.h"

#define SHA256D_X16_N 16u

bool sha256d_x16_is_there(void);
/* Sixteen messages of len bytes (64 or 80), one after another. out may be where in is. */
void sha256d_x16(const uint8_t *in, size_t len, uint8_t (*out)[SHA256_LEN]);
