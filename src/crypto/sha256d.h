/* sha256d: SHA-256 twice, as Bitcoin hashes transactions, headers and merkle nodes; several
 * messages at a time on one core (sha_lanes.h says how and whether; many of 64 or 80 bytes go
 * through AVX-512 where the machine has it and it passes its test against libcrypto at first use).
 *
 * Ownership  all memory is the caller's
 * Threads    any
 * Errors     none
 */
#pragma once
#include "crypto/sha.h"

void sha256d(struct bytes in, uint8_t out[SHA256_LEN]);

/* Digest of each of n messages; their lengths may differ as they like. */
void sha256d_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA256_LEN]);

/* A level of a merkle tree: n messages of 64 bytes (two digests) each, one after another. out may
 * be where in is. */
void sha256d_pairs(const uint8_t *in, size_t n, uint8_t (*out)[SHA256_LEN]);

/* n messages of 80 bytes each, one after another: block headers. */
void sha256d_headers(const uint8_t *in, size_t n, uint8_t (*out)[SHA256_LEN]);

/* How messages of 64 and 80 bytes are hashed on this machine: for benchmarks. */
const char *sha256d_name(void);
