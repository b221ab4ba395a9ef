/* sha: SHA-1 and SHA-256 by value: no allocation, no context objects, streams that can be copied.
 *
 * A thin face over libcrypto's block functions (which use the SHA units where the machine has
 * them). FIPS 180-4.
 *
 * Ownership  states are plain values in the caller's storage
 * Threads    a state belongs to one thread at a time; the functions share nothing
 * Errors     none
 */
#pragma once
#include "base/bytes.h"
#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED /* the block functions: OpenSSL 3 would rather see EVP used */
#endif
#include <openssl/sha.h>

#define SHA1_LEN   20u
#define SHA256_LEN 32u

struct sha1_state {
    SHA_CTX ctx;
};

struct sha256_state {
    SHA256_CTX ctx;
};

void sha1_init(struct sha1_state *s);
void sha1_update(struct sha1_state *s, struct bytes in);
void sha1_final(struct sha1_state *s, uint8_t out[SHA1_LEN]);
void sha1(struct bytes in, uint8_t out[SHA1_LEN]);

void sha256_init(struct sha256_state *s);
void sha256_update(struct sha256_state *s, struct bytes in);
void sha256_final(struct sha256_state *s, uint8_t out[SHA256_LEN]);
void sha256(struct bytes in, uint8_t out[SHA256_LEN]);
void sha256_pair(const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN],
                 uint8_t out[SHA256_LEN]); /* SHA-256 of the two joined: a merkle step */

void hmac_sha256(struct bytes key, struct bytes in, uint8_t out[SHA256_LEN]);
