/* script_cache: what was found good once and need not be reckoned again: single signatures, and
 * whole transactions' scripts. Two tables of fixed size.
 *
 * Keys are SHA-256 over a secret salt, so that nobody can prepare two things with one key; 128 bits
 * of it are compared. A key has two buckets of four places; when all eight are taken, one of them,
 * picked by the key, makes room. A wrong answer can only be "not here".
 *
 * Filled where a transaction is looked at for the first time (SCRIPT_CACHE_STORE in the flags of
 * script_verify); connecting a block only asks. Until something is stored, asking costs nothing.
 *
 * Ownership  the tables are from the struct mem given to script_cache_new
 * Threads    any number at once, without locks
 * Errors     ERR_NO_MEMORY at creation, ERR_LIMIT for less than a bucket
 */
#pragma once
#include "base/mem.h"
#include "chain/script.h"

struct script_cache;

struct script_cache_key {
    uint64_t w[4];
};

/* table_len: bytes of each of the two tables, rounded down to a power of two. salt: secret random
 * bytes. */
enum err_code script_cache_new(struct script_cache **out, struct mem *mem, size_t table_len,
                               const uint8_t salt[32]) MUST_USE;
void script_cache_free(struct script_cache *c); /* NULL is fine */

/* False: neither would anything be found nor is anything to be kept. c may be NULL. */
bool script_cache_in_use(const struct script_cache *c, uint32_t flags);

/* --- signatures ------------------------------------------------------------------------------ */

/* kind: 'E' for ECDSA, 'S' for Schnorr. */
void script_cache_sig_key(const struct script_cache *c, uint8_t kind, const struct hash256 *hash,
                          struct bytes pubkey, struct bytes sig, struct script_cache_key *out);
bool script_cache_has(struct script_cache *c, const struct script_cache_key *k);
void script_cache_add(struct script_cache *c, const struct script_cache_key *k);

/* --- transactions: all scripts of wtxid hold under these flags -------------------------------- */

bool script_cache_has_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags);
void script_cache_add_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags);
/* It is in a block now and will hardly be asked for again: its place is free for others. */
void script_cache_forget_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags);

struct script_cache_stats {
    uint64_t n_sig_hits, n_sig_misses, n_sig_added, n_sig_evicted;
    uint64_t n_tx_hits, n_tx_misses, n_tx_added, n_tx_evicted;
    size_t n_places; /* in each table */
};
void script_cache_stats(const struct script_cache *c, struct script_cache_stats *out);
