/* locks: relative lock times (BIP 68): how old what a transaction spends must be.
 *
 * Threads    pure functions; header_chain.h says when others may read headers
 */
#pragma once
#include "chain/coin.h"
#include "chain/header_chain.h"

#define SEQUENCE_LOCK_OFF     (UINT32_C(1) << 31) /* BIP 68, "Specification" */
#define SEQUENCE_LOCK_BY_TIME (UINT32_C(1) << 22)
#define SEQUENCE_LOCK_MASK    0xffffu
#define SEQUENCE_LOCK_SHIFT   9u /* units of 512 seconds */

/* Whether t may be in the block after parent; spent[i] is what input i spends. */
bool tx_locks_hold(const struct tx *t, const struct coin *spent, const struct header_chain *headers,
                   uint32_t parent);
