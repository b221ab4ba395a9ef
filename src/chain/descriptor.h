/* descriptor: an output descriptor (BIP 380) for a script of which nothing else is known, as
 * Bitcoin Core infers it: pk(KEY) and multi(M,KEY,...) (BIPs 381, 383) where the script shows its
 * keys, rawtr(KEY) (BIP 386), addr(ADDRESS) and raw(HEX) (BIP 385) for the rest.
 *
 * Threads    pure functions
 * Errors     the writer's: DESCRIPTOR_LEN_MAX is enough. descriptor_checksum: false for characters
 *            that no descriptor has
 */
#pragma once
#include "chain/address.h"

#define DESCRIPTOR_CHECK_LEN           8u
#define DESCRIPTOR_LEN_MAX(script_len) (2 * (script_len) + 128u)

/* BIP 380, "Checksum": of the text before '#'. Terminated. */
bool descriptor_checksum(struct bytes text, char out[DESCRIPTOR_CHECK_LEN + 1]);

/* With '#' and checksum; not terminated. */
void descriptor_write(struct writer *w, const struct chain_params *p, struct bytes script);
