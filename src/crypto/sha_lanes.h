/* sha_lanes: SHA-1 and SHA-256 of several independent messages at a time on one core.
 *
 * The SHA units of x86 wait on latency within one message: a round needs the one before it. Two
 * or more messages interleaved fill the gaps. Where the machine has no such units, or the routine
 * fails its own test against libcrypto at first use, messages are hashed one after the other:
 * the results are the same, and sha_lanes_name() says which it is.
 *
 * Ownership  all memory is the caller's
 * Threads    any; the choice is made once, atomically
 * Errors     none
 */
#pragma once
#include "crypto/sha.h"

#define SHA_LANES_MAX 4u

/* Digest of each of n messages; best when neighbours have the same length. */
void sha1_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA1_LEN]);
void sha256_many(const struct bytes *in, size_t n, uint8_t (*out)[SHA256_LEN]);

/* A level of a merkle tree: out[i] = SHA-256(in[2i] in[2i + 1]) for i < n. out may be in. */
void sha256_pairs(const uint8_t (*in)[SHA256_LEN], size_t n, uint8_t (*out)[SHA256_LEN]);

/* What double hashing is built from (sha256d.h): n_blocks blocks of 64 bytes more for each of n
 * digests on their way, whose words are h[i]. */
#define SHA256_N_LANES 2u /* more at once gain nothing */
void sha256_blocks_many(uint32_t *const *h, const uint8_t *const *data, size_t n, size_t n_blocks);

/* Continue n streams (n <= SHA_LANES_MAX) with as many bytes each. */
void sha1_update_many(struct sha1_state *const *states, const uint8_t *const *data, size_t n,
                      size_t len);

/* "x86 SHA units, interleaved" or "one message at a time": for benchmarks. */
const char *sha_lanes_name(void);
/* Tests and benchmarks: pretend there are no units. Returns what was before. */
bool sha_lanes_set_off(bool is_off);
bool sha_lanes_are_off(void);
