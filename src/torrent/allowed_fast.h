/* allowed_fast: the pieces that a peer may ask for while choked (BEP 6, "Allowed Fast Set
 * Generation"): the same for everybody who knows the peer's address and the info-hash.
 *
 * Threads    pure function
 * Errors     none: no set (0) for IPv6, for which the BEP has no rule, and for no pieces
 */
#pragma once
#include "base/addr.h"
#include "crypto/sha.h"

#define ALLOWED_FAST_K     10u /* BEP 6: "We currently set k to 10" */
#define ALLOWED_FAST_K_MAX 64u /* ours */

/* Fills out with at most k (and at most ALLOWED_FAST_K_MAX, and at most n_pieces) distinct
 * indices in the order of the BEP; returns how many. */
size_t allowed_fast_set(const struct addr *peer, const uint8_t infohash[SHA1_LEN],
                        uint32_t n_pieces, size_t k, uint32_t *out);
