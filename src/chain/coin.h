/* coin: an unspent output and its form on disk, in undo data and in snapshots.
 *
 * Forms are Bitcoin Core's (src/compressor.h, src/undo.h, src/coins.h): VARINT of height * 2 +
 * coinbase, compressed amount, compressed script: so that undo files and snapshots can be
 * exchanged.
 *
 * Ownership  a coin borrows its script
 * Threads    pure functions
 * Errors     ERR_TRUNCATED, ERR_MALFORMED (also values above MONEY_SATS_MAX), ERR_NO_MEMORY
 */
#pragma once
#include "base/arena.h"
#include "chain/primitives.h"

#define COIN_SCRIPT_LEN_MAX 10000u /* longer scripts cannot be spent: they are never coins */

struct coin {
    int64_t value_sat;
    struct bytes script;
    uint32_t height;
    bool is_coinbase;
};

uint64_t amount_compress(uint64_t sats);
uint64_t amount_decompress(uint64_t x);

uint64_t reader_varint(struct reader *r); /* Core's base-128 VARINT with the +1 carry */
void writer_varint(struct writer *w, uint64_t v);
size_t varint_len(uint64_t v);

/* Script in compressed form: special scripts (P2PKH, P2SH, P2PK) lose what can be rebuilt. */
void script_write_compressed(struct writer *w, struct bytes script);
/* Rebuilt scripts are put in the arena; plain ones are views of the input. Scripts above 10,000
 * bytes become OP_RETURN, as Core reads them. */
enum err_code script_read_compressed(struct reader *r, struct arena *a, struct bytes *out) MUST_USE;

/* coin: varint code, compressed amount, compressed script. */
size_t coin_len_max(const struct coin *c); /* room that coin_write needs at most */
void coin_write(struct writer *w, const struct coin *c);
enum err_code coin_read(struct reader *r, struct arena *a, struct coin *out) MUST_USE;
