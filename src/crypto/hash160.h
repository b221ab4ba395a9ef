/* hash160: RIPEMD-160, and RIPEMD-160 of SHA-256, which Bitcoin's scripts use for addresses.
 *
 * libcrypto's block functions: they need no provider, so they are there when the "legacy" one is
 * not.
 *
 * Threads    pure functions
 */
#pragma once
#include "base/bytes.h"

#define HASH160_LEN 20u

void ripemd160(struct bytes in, uint8_t out[HASH160_LEN]);
void hash160(struct bytes in, uint8_t out[HASH160_LEN]);
