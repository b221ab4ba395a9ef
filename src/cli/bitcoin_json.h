/* bitcoin_json: blocks and transactions as Bitcoin Core's RPC shows them (getblock with verbosity
 * 2, getrawtransaction), without what needs names for scripts (asm, desc, address).
 *
 * Ownership  the caller frees (json_decref)
 */
#pragma once
#include "chain/undo.h"
#include <jansson.h>

/* undo: of the transaction, for its fee; NULL: unknown, or a coinbase. */
json_t *bitcoin_json_tx(const struct tx *t, const struct undo_tx *undo, bool with_hex);
/* -1: not known. */
int64_t bitcoin_tx_fee(const struct tx *t, const struct undo_tx *undo);
