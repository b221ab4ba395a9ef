/* hash256: hashes of blocks and transactions as people write them: 64 hex digits, last byte first.
 *
 * Threads    pure functions
 */
#pragma once
#include "chain/primitives.h"

#define HASH_HEX_CAP 65u
char *hash256_hex_reversed(const struct hash256 *h, char out[HASH_HEX_CAP]); /* returns out */
bool hash256_of_hex_reversed(const char *hex, struct hash256 *out);
