/* murmur3: MurmurHash3 (x86, 32 bits; Appleby), which BIP 37 picks the bits of a Bloom filter with.
 * Anybody can make collisions: for nothing else.
 *
 * Threads    pure
 */
#pragma once
#include "base/bytes.h"

uint32_t murmur3(uint32_t seed, struct bytes in);
