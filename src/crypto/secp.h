/* secp: signatures over the curve secp256k1, as Bitcoin checks and makes them: a thin face over
 * libsecp256k1 (0.2.0 is enough).
 *
 * ECDSA signatures come in DER, read as laxly as old Bitcoin nodes read them (BIP 66 tells what was
 * let through before it), and S may be high. Who wants the strict form checks it first
 * (chain/script_sig.h).
 *
 * Ownership  nothing is kept
 * Threads    checking shares one constant context and may run on any thread; a struct secp_signer
 *            belongs to one
 * Errors     false: does not hold. No memory is asked for but by secp_signer_new
 */
#pragma once
#include "base/bytes.h"

#define SECP_KEY_LEN     32u
#define SECP_SCHNORR_LEN 64u
#define SECP_DER_LEN_MAX 72u

/* sig without the hash type byte; pubkey 33 or 65 bytes (the hybrid forms 06 and 07 count). */
bool secp_ecdsa_verify(struct bytes sig, struct bytes pubkey, const uint8_t hash[32]);
/* S at most half the order; what cannot be read at all is not low. */
bool secp_ecdsa_is_low_s(struct bytes sig);
/* BIP 340. */
bool secp_schnorr_verify(const uint8_t sig[SECP_SCHNORR_LEN], const uint8_t pubkey[SECP_KEY_LEN],
                         struct bytes msg);
/* BIP 341: output is internal + tweak * G, and its Y has this parity. */
bool secp_tweak_check(const uint8_t output[SECP_KEY_LEN], bool is_odd,
                      const uint8_t internal[SECP_KEY_LEN], const uint8_t tweak[SECP_KEY_LEN]);
/* The same, computed; false when a key is none. */
bool secp_tweak_add(const uint8_t internal[SECP_KEY_LEN], const uint8_t tweak[SECP_KEY_LEN],
                    uint8_t output[SECP_KEY_LEN], bool *out_is_odd);

/* --- making: for tests, benchmarks and what signs -------------------------------------------- */

struct secp_signer;
/* random blinds the arithmetic; NULL without memory. */
struct secp_signer *secp_signer_new(const uint8_t random[32]);
void secp_signer_free(struct secp_signer *s);

/* Each false when secret is no key. */
bool secp_pubkey(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN], uint8_t out[33]);
bool secp_ecdsa_sign(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN],
                     const uint8_t hash[32], uint8_t out[SECP_DER_LEN_MAX], size_t *out_len);
bool secp_schnorr_sign(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN], struct bytes msg,
                       const uint8_t aux[32], uint8_t out[SECP_SCHNORR_LEN]);
/* BIP 341: the secret of the tweaked key. */
bool secp_secret_tweak(struct secp_signer *s, uint8_t secret[SECP_KEY_LEN],
                       const uint8_t tweak[SECP_KEY_LEN]);
