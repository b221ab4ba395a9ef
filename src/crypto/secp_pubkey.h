/* secp_pubkey: public keys of secp256k1 between their forms (SEC 1, 2.3.3 and 2.3.4).
 *
 * Threads    pure functions
 * Errors     false: no point of the curve has this form
 */
#pragma once
#include "base/bytes.h"

#define SECP_PUBKEY_SHORT_LEN 33u /* 02 or 03, x    */
#define SECP_PUBKEY_LONG_LEN  65u /* 04, x, y       */

/* 33 bytes to 65: y is found from x. */
bool secp_pubkey_decompress(const uint8_t in[SECP_PUBKEY_SHORT_LEN],
                            uint8_t out[SECP_PUBKEY_LONG_LEN]);
/* 65 bytes that begin with 04 and are a point of the curve. */
bool secp_pubkey_long_is_valid(const uint8_t in[SECP_PUBKEY_LONG_LEN]);
