/* tx: transactions in one pass: bytes in, arrays in an arena and views out (BIP 144).
 *
 * Ownership  see primitives.h: the value borrows the input bytes and the arena
 * Threads    pure functions
 * Errors     ERR_TRUNCATED, ERR_MALFORMED (sticky in the reader), ERR_LIMIT for counts that cannot
 *            fit in what is left: refused before memory is asked for; ERR_NO_MEMORY from the arena
 */
#pragma once
#include "base/arena.h"
#include "chain/primitives.h"

/* CompactSize, shortest form only; values above 0x02000000 are refused (Bitcoin Core's bound). */
uint64_t reader_compact_size(struct reader *r);
void writer_compact_size(struct writer *w, uint64_t v);
size_t compact_size_len(uint64_t v);

/* Parses one transaction at the reader's place. Witness form when marker and flag are there and
 * witness is allowed; a witness form without any witness item is malformed ("superfluous").
 * Hashes are left zero: tx_hash. */
enum err_code tx_read(struct reader *r, struct arena *a, bool allow_witness,
                      struct tx *out) MUST_USE;
/* Fills txid and wtxid. */
void tx_hash(struct tx *t);
void tx_hash_many(struct tx *txs, size_t n); /* several at a time on one core */

/* Serialised without witness: t->stripped_len bytes. */
void tx_write_stripped(struct writer *w, const struct tx *t);
void tx_out_write(struct writer *w, const struct tx_out *o);

/* BIP 141: virtual size, rounded up. */
size_t tx_vsize(const struct tx *t);

/* The next item of a serialised witness (tx_in.witness); false at the end. Parsed before: never
 * fails on what tx_read accepted. */
bool witness_next(struct bytes *rest, struct bytes *out_item);

/* The rules that need nothing but the transaction (CheckTransaction in Bitcoin Core): counts,
 * size, amounts, duplicate inputs, coinbase shape. The reason, or NULL when fine. */
const char *tx_check(const struct tx *t, struct arena *scratch);
