/* coins_cache: the UTXO set in front of a coins_store: knows fresh from dirty, so that coins made
 * and spent between two writes never reach the disk.
 *
 *            add                    spend
 *   (none) -------> FRESH|DIRTY ------------> (none)         never reaches the store
 *   (store) -get--> clean -----spend--------> SPENT|DIRTY    erased at the next write
 *   SPENT|DIRTY ---add--> DIRTY                              overwritten at the next write
 *
 * Ownership  coins handed out are views until the next call that changes the cache
 * Threads    one owner. coins_cache_missing and coins_cache_put_fetched let other threads fetch
 *            from the store: they touch the store only, the owner puts the results in
 * Errors     ERR_IO, ERR_MALFORMED from the store; ERR_NO_MEMORY
 * Memory     bounded by cap_len, counted exactly, with what the next write needs to sort; the owner writes out (coins_cache_write) when
 *            coins_cache_is_full. A single block may push it over by what that block touches
 */
#pragma once
#include "base/map.h"
#include "chain/coins_store.h"

struct coins_cache;

#define COINS_LOOK_AHEAD 16u /* ours: outpoints whose cache lines are fetched side by side */

struct coins_cache_stats {
    uint64_t n_hits, n_misses, n_absent, n_fresh_spent; /* fresh_spent: died before the disk */
    size_t n_coins, n_dirty, used_len, cap_len;
    uint64_t generation; /* grows at each write: what was fetched before is stale */
};

enum err_code coins_cache_new(struct coins_cache **out, struct mem *mem, struct map_seed seed,
                              const struct coins_store *store, size_t cap_len) MUST_USE;
void coins_cache_free(struct coins_cache *c);
/* Calls advise for each large block of memory from now on: look-ups are all over it, and with huge
 * pages they cost a third less (io/huge_pages.h). */
void coins_cache_advise(struct coins_cache *c, void (*advise)(void *p, size_t len));
/* Forget everything that was not written. */
void coins_cache_drop(struct coins_cache *c);

/* *out_found false: there is no such coin (never was, or spent). out->script is a view. */
enum err_code coins_cache_get(struct coins_cache *c, const struct outpoint *at, struct coin *out,
                              bool *out_found, struct err *err) MUST_USE;
/* What of these must come from the store: indices into at; returns how many. No store access. */
size_t coins_cache_missing(const struct coins_cache *c, const struct outpoint *const *at, size_t n,
                           uint32_t *out_index);
/* These will be asked for soon: nothing changes but what is near the processor. */
void coins_cache_expect(const struct coins_cache *c, const struct outpoint *at, size_t n);
/* Take over what get_many of the store gave for an outpoint, unless the cache knows better or has
 * been written since generation. coin NULL: it was not found. */
enum err_code coins_cache_put_fetched(struct coins_cache *c, uint64_t generation,
                                      const struct outpoint *at, const struct coin *coin) MUST_USE;

/* New coin (script copied). may_overwrite: only for the coinbases that BIP 30 lets repeat, and for
 * rolling back; otherwise an unspent coin in its place is ERR_PROTOCOL. */
enum err_code coins_cache_add(struct coins_cache *c, const struct outpoint *at,
                              const struct coin *coin, bool may_overwrite,
                              struct err *err) MUST_USE;
/* Spend; *out_found false when there is none. *out: script copied into the arena (may be NULL). */
enum err_code coins_cache_spend(struct coins_cache *c, const struct outpoint *at, struct coin *out,
                                struct arena *a, bool *out_found, struct err *err) MUST_USE;

bool coins_cache_is_full(const struct coins_cache *c);
/* Everything dirty to the store, in one atomic change with the tip. keep: clean coins stay in the
 * cache (while below half of cap_len). */
enum err_code coins_cache_write(struct coins_cache *c, const struct coins_tip *tip, bool keep,
                                struct err *err) MUST_USE;
void coins_cache_stats(const struct coins_cache *c, struct coins_cache_stats *out);
void coins_cache_check(const struct coins_cache *c);
