/* bitcoin_json: scripts, transactions and blocks as Bitcoin Core's RPC shows them (decodescript,
 * getrawtransaction, getblock), with the names of its fields. An amount is a number of coins: 0.001
 * where Core writes 0.00100000.
 *
 * Ownership  the caller frees (json_decref)
 * Errors     without memory, null stands where something is missing
 */
#pragma once
#include "chain/params.h"
#include "chain/undo.h"
#include <jansson.h>

json_t *bitcoin_json_hash(const struct hash256 *h);
json_t *bitcoin_json_u64(uint64_t v);
json_t *bitcoin_json_btc(int64_t sats);
json_t *bitcoin_json_hex(struct bytes b);

/* A scriptPubKey: asm, desc, hex, address (where there is one), type. */
json_t *bitcoin_json_script(const struct chain_params *p, struct bytes script);
/* undo: of the transaction, for the fee and what each input spends ("prevout", as with verbosity 3
 * of getblock and 2 of getrawtransaction); NULL: unknown, or a coinbase. Ends with "hex". */
json_t *bitcoin_json_tx(const struct chain_params *p, const struct tx *t,
                        const struct undo_tx *undo);
/* The "coinbase_tx" of a block. */
json_t *bitcoin_json_coinbase(const struct tx *t);
/* -1: not known. */
int64_t bitcoin_tx_fee(const struct tx *t, const struct undo_tx *undo);
