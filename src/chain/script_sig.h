/* script_sig: the forms of signatures and keys that rules and policies ask for, and the check of a
 * signature with the cache in front.
 *
 * Threads    pure but for the cache (script_cache.h)
 */
#pragma once
#include "chain/script_verify.h"

/* All of these look at a signature with its hash type, as it lies on the stack. */
bool script_sig_is_strict_der(struct bytes sig); /* BIP 66 */
/* What the flags ask of an ECDSA signature and of its key; empty signatures are fine. */
enum script_err script_sig_check_form(struct bytes sig, uint32_t flags);
enum script_err script_key_check_form(struct bytes pubkey, bool is_witness_v0, uint32_t flags);

/* sig without its hash type. What was found good before is not reckoned again; with
 * SCRIPT_CACHE_STORE in flags, what is found good is kept. */
bool script_sig_verify_ecdsa(struct script_cache *cache, uint32_t flags, struct bytes sig,
                             struct bytes pubkey, const struct hash256 *hash);
bool script_sig_verify_schnorr(struct script_cache *cache, uint32_t flags, const uint8_t sig[64],
                               const uint8_t pubkey[32], const struct hash256 *hash);
