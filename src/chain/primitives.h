/* primitives: what a Bitcoin chain is made of, parsed: hashes, outpoints, transactions, blocks.
 *
 * Everything here is plain data. Scripts and witnesses are views into the raw bytes they were
 * parsed from; arrays live in the arena given to the parser (tx.h, block.h). Hashes are in wire
 * order; only functions ending in _hex_reversed show them as people write them.
 *
 * Ownership  views borrow the raw bytes and the arena: both outlive the parsed value
 * Threads    plain values; read-only after parsing, so shared between threads freely
 */
#pragma once
#include "base/bytes.h"

#define COIN_SATS      INT64_C(100000000)
#define MONEY_SATS_MAX (INT64_C(21000000) * COIN_SATS) /* consensus: no amount or sum is above it */

struct hash256 {
    uint8_t b[32];
};

struct outpoint {
    struct hash256 txid;
    uint32_t n;
};

struct tx_in {
    struct outpoint prev;
    struct bytes script_sig;
    struct bytes witness; /* the items as serialised, each a CompactSize and its bytes; no count */
    uint32_t n_witness;   /* items in it */
    uint32_t sequence;
};

struct tx_out {
    int64_t value_sat; /* as on the wire: may be negative until checked */
    struct bytes script;
};

struct tx {
    uint32_t version;
    uint32_t lock_time;
    uint32_t n_in, n_out;
    struct tx_in *in;
    struct tx_out *out;
    struct bytes raw;     /* as parsed: with marker, flag and witness when has_witness */
    size_t stripped_len;  /* without marker, flag and witness (BIP 141) */
    struct hash256 txid;  /* filled by tx_hash / block_hash_txs */
    struct hash256 wtxid; /* equal to txid without witness */
    bool has_witness;
};

#define BLOCK_HEADER_LEN 80u

struct block_header {
    int32_t version;
    struct hash256 prev, merkle_root;
    uint32_t time, bits, nonce;
};

struct block {
    struct block_header header;
    struct hash256 hash;
    struct bytes raw;
    struct tx *txs;
    uint32_t n_txs;
    size_t stripped_len; /* header, count and stripped transactions */
};

static inline bool hash256_equal(const struct hash256 *a, const struct hash256 *b)
{
    return __builtin_memcmp(a, b, sizeof *a) == 0;
}

static inline bool hash256_is_zero(const struct hash256 *a)
{
    static const struct hash256 zero;
    return hash256_equal(a, &zero);
}

/* The outpoint of a coinbase's input: no transaction, number 2^32 - 1. */
static inline bool outpoint_is_null(const struct outpoint *o)
{
    return o->n == UINT32_MAX && hash256_is_zero(&o->txid);
}

static inline bool tx_is_coinbase(const struct tx *t)
{
    return t->n_in == 1 && outpoint_is_null(&t->in[0].prev);
}

/* BIP 141, "Transaction size calculations". */
static inline size_t tx_weight(const struct tx *t)
{
    return 3 * t->stripped_len + t->raw.len;
}

static inline size_t block_weight(const struct block *b)
{
    return 3 * b->stripped_len + b->raw.len;
}
