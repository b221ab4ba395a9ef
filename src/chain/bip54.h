/* bip54: the Consensus Cleanup (BIP 54), which no network has: only with chain_params.has_bip54.
 *
 * Threads    pure functions
 * Errors     a verdict; reasons are ours, for Bitcoin Core has none yet
 */
#pragma once
#include "chain/block.h"
#include "chain/header_chain.h"

#define BIP54_SIGOPS_MAX 2500u /* BIP 54, "Specification": of one transaction */

/* The first header of a difficulty period may be two hours before its parent, the last not before
 * the first. time: of the child of parent; period: headers in one. */
enum verdict bip54_check_time(const struct header_chain *c, uint32_t parent, uint32_t time,
                              uint32_t period, struct reject *r) MUST_USE;
/* No transaction of 64 bytes; the coinbase is locked to the height before and not final. */
enum verdict bip54_check_block(const struct block *b, uint32_t height, struct reject *r) MUST_USE;
bool bip54_tx_len_is_right(const struct tx *t);
/* Signature operations that may run outside witnesses: of each input's script, of what it spends,
 * of the P2SH script. spent[i] is what input i spends; not for a coinbase. */
uint32_t bip54_sigops(const struct tx *t, const struct tx_out *spent);
