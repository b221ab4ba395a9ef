/* coins_hash: totals and hashes of the UTXO set, equal to those of Bitcoin Core's gettxoutsetinfo.
 *
 * Both hashes are over one record per coin: outpoint, height * 2 + coinbase, value, script.
 * hash_serialized_3 hashes them twice with SHA-256 as one stream, in order of txid bytes and
 * output numbers; muhash is a product over them in any order (crypto/muhash.h).
 *
 * Ownership  plain values
 * Threads    one owner each. Parts of a set may be added to several, on several threads, and
 *            joined: totals and muhash come out right, hash_serialized_3 does not
 * Errors     those of the store; ERR_NO_MEMORY
 */
#pragma once
#include "chain/coins_store.h"
#include "crypto/muhash.h"
#include "crypto/sha.h"

enum coins_hash_kind { COINS_HASH_NONE = 0, COINS_HASH_SERIALIZED = 1, COINS_HASH_MUHASH = 2 };

struct coins_totals {
    uint64_t n_coins;  /* txouts */
    uint64_t n_txs;    /* transactions: with an output unspent; in order only */
    uint64_t bogosize; /* as Core counts: 50 bytes and the script for each */
    int64_t amount_sat;
    struct hash256 serialized, muhash; /* zero when not asked for */
};

#define COINS_HASH_BUF_LEN 32768u

struct coins_hash {
    unsigned kinds; /* enum coins_hash_kind, or-ed */
    struct coins_totals totals;
    struct hash256 last_txid;
    struct sha256_state sha;
    struct muhash muhash;
    size_t buf_len; /* records on their way to sha */
    uint8_t buf[COINS_HASH_BUF_LEN];
};

void coins_hash_init(struct coins_hash *h, unsigned kinds);
void coins_hash_add(struct coins_hash *h, const struct outpoint *at, const struct coin *c);
/* muhash only: a coin that is no longer there. */
void coins_hash_remove(struct coins_hash *h, const struct outpoint *at, const struct coin *c);
void coins_hash_join(struct coins_hash *h, const struct coins_hash *other);
enum err_code coins_hash_final(struct coins_hash *h, struct coins_totals *out) MUST_USE;

/* Of all that is in the store. */
enum err_code coins_hash_store(const struct coins_store *s, unsigned kinds, struct mem *mem,
                               struct coins_totals *out, struct err *err) MUST_USE;
