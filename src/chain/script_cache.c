#include "chain/script_cache.h"
#include "base/size.h"
#include "crypto/sha.h"
#include <stdatomic.h>

#define PLACES 4u /* in a bucket of 64 bytes: one cache line */

/* Two halves, each atomic on its own. Halves of different keys side by side match no key: both are
 * SHA-256 over a secret. Both zero: free. */
struct place {
    _Atomic uint64_t a, b;
};

struct bucket {
    _Alignas(64) struct place places[PLACES];
};

struct table {
    struct bucket *buckets;
    void *storage; /* what buckets is aligned within */
    size_t mask;
    _Atomic uint64_t n_hits, n_misses, n_added, n_evicted;
};

struct script_cache {
    struct mem *mem;
    struct sha256_state salted;
    struct table sigs, txs;
    _Atomic bool has_sigs, has_txs;
};

/* --- one table ------------------------------------------------------------------------------- */

static bool table_init(struct table *t, struct mem *mem, size_t table_len)
{
    size_t n = 1;
    while (n <= table_len / sizeof(struct bucket) / 2)
        n *= 2;
    t->storage = mem_calloc(mem, n + 1, sizeof(struct bucket));
    if (!t->storage)
        return false;
    uintptr_t at = ((uintptr_t)t->storage + 63) & ~(uintptr_t)63;
    t->buckets = (struct bucket *)at;
    t->mask = n - 1;
    return true;
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool place_holds(struct place *p, uint64_t a, uint64_t b)
{
    return atomic_load_explicit(&p->a, memory_order_relaxed) == a &&
           atomic_load_explicit(&p->b, memory_order_relaxed) == b;
}

static void place_set(struct place *p, uint64_t a, uint64_t b)
{
    atomic_store_explicit(&p->a, a, memory_order_relaxed);
    atomic_store_explicit(&p->b, b, memory_order_relaxed);
}

/* The place in either bucket that holds this pair, or NULL. */
static struct place *table_find(const struct table *t, const struct script_cache_key *k, uint64_t a,
                                uint64_t b)
{
    for (unsigned i = 0; i < 2; i++) {
        struct bucket *bucket = &t->buckets[k->w[2 + i] & t->mask];
        for (unsigned p = 0; p < PLACES; p++) {
            if (place_holds(&bucket->places[p], a, b))
                return &bucket->places[p];
        }
    }
    return NULL;
}

/* A free place in the bucket that has more of them, or NULL: so both fill alike, and the first
 * eviction comes late. */
static struct place *table_find_free(const struct table *t, const struct script_cache_key *k)
{
    struct place *found[2] = {NULL, NULL};
    unsigned n_free[2] = {0, 0};
    for (unsigned i = 0; i < 2; i++) {
        struct bucket *bucket = &t->buckets[k->w[2 + i] & t->mask];
        for (unsigned p = 0; p < PLACES; p++) {
            if (!place_holds(&bucket->places[p], 0, 0))
                continue;
            found[i] = &bucket->places[p];
            n_free[i]++;
        }
    }
    return found[n_free[1] > n_free[0]];
}

static bool table_has(struct table *t, const struct script_cache_key *k)
{
    bool is_there = table_find(t, k, k->w[0], k->w[1]);
    count(is_there ? &t->n_hits : &t->n_misses);
    return is_there;
}

static void table_add(struct table *t, const struct script_cache_key *k)
{
    if (table_find(t, k, k->w[0], k->w[1]))
        return;
    struct place *p = table_find_free(t, k);
    count(&t->n_added);
    if (!p) {
        unsigned pick = k->w[3] >> 61; /* bits that choose no bucket */
        p = &t->buckets[k->w[2 + pick / PLACES] & t->mask].places[pick % PLACES];
        count(&t->n_evicted);
    }
    place_set(p, k->w[0], k->w[1]);
}

/* --- the cache ------------------------------------------------------------------------------- */

enum err_code script_cache_new(struct script_cache **out, struct mem *mem, size_t table_len,
                               const uint8_t salt[32])
{
    *out = NULL;
    if (table_len < sizeof(struct bucket))
        return ERR_LIMIT;
    struct script_cache *c = mem_calloc(mem, 1, sizeof *c);
    if (!c)
        return ERR_NO_MEMORY;
    c->mem = mem;
    /* A whole block of salt: its state is the same for every key and costs nothing afterwards. */
    sha256_init(&c->salted);
    sha256_update(&c->salted, bytes_of(salt, 32));
    sha256_update(&c->salted, bytes_of(salt, 32));
    if (!table_init(&c->sigs, mem, table_len) || !table_init(&c->txs, mem, table_len)) {
        script_cache_free(c);
        return ERR_NO_MEMORY;
    }
    *out = c;
    return ERR_OK;
}

void script_cache_free(struct script_cache *c)
{
    if (!c)
        return;
    mem_free(c->mem, c->sigs.storage);
    mem_free(c->mem, c->txs.storage);
    mem_free(c->mem, c);
}

bool script_cache_in_use(const struct script_cache *c, uint32_t flags)
{
    return c &&
           (flags & SCRIPT_CACHE_STORE || atomic_load_explicit(&c->has_sigs, memory_order_relaxed));
}

static void key_final(struct sha256_state *s, struct script_cache_key *out)
{
    uint8_t digest[SHA256_LEN];
    sha256_final(s, digest);
    memcpy(out->w, digest, sizeof out->w);
    out->w[0] |= 1; /* never that of a free place */
}

void script_cache_sig_key(const struct script_cache *c, uint8_t kind, const struct hash256 *hash,
                          struct bytes pubkey, struct bytes sig, struct script_cache_key *out)
{
    struct sha256_state s = c->salted;
    /* The length says where key and signature meet. */
    uint8_t head[3] = {kind, (uint8_t)pubkey.len, (uint8_t)(pubkey.len >> 8)};
    sha256_update(&s, bytes_of(head, sizeof head));
    sha256_update(&s, bytes_of(hash->b, sizeof hash->b));
    sha256_update(&s, pubkey);
    sha256_update(&s, sig);
    key_final(&s, out);
}

bool script_cache_has(struct script_cache *c, const struct script_cache_key *k)
{
    return table_has(&c->sigs, k);
}

void script_cache_add(struct script_cache *c, const struct script_cache_key *k)
{
    table_add(&c->sigs, k);
    atomic_store_explicit(&c->has_sigs, true, memory_order_relaxed);
}

static void tx_key(const struct script_cache *c, const struct hash256 *wtxid, uint32_t flags,
                   struct script_cache_key *out)
{
    struct sha256_state s = c->salted;
    uint8_t rules[5] = {'T', (uint8_t)flags, (uint8_t)(flags >> 8), (uint8_t)(flags >> 16),
                        (uint8_t)((flags & ~SCRIPT_CACHE_STORE) >> 24)};
    sha256_update(&s, bytes_of(rules, sizeof rules));
    sha256_update(&s, bytes_of(wtxid->b, sizeof wtxid->b));
    key_final(&s, out);
}

bool script_cache_has_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags)
{
    struct script_cache_key k;
    if (!atomic_load_explicit(&c->has_txs, memory_order_relaxed))
        return false;
    tx_key(c, wtxid, flags, &k);
    return table_has(&c->txs, &k);
}

void script_cache_add_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags)
{
    struct script_cache_key k;
    tx_key(c, wtxid, flags, &k);
    table_add(&c->txs, &k);
    atomic_store_explicit(&c->has_txs, true, memory_order_relaxed);
}

void script_cache_forget_tx(struct script_cache *c, const struct hash256 *wtxid, uint32_t flags)
{
    struct script_cache_key k;
    if (!atomic_load_explicit(&c->has_txs, memory_order_relaxed))
        return;
    tx_key(c, wtxid, flags, &k);
    struct place *p = table_find(&c->txs, &k, k.w[0], k.w[1]);
    if (p)
        place_set(p, 0, 0);
}

static void table_stats(const struct table *t, uint64_t out[4])
{
    out[0] = atomic_load_explicit(&t->n_hits, memory_order_relaxed);
    out[1] = atomic_load_explicit(&t->n_misses, memory_order_relaxed);
    out[2] = atomic_load_explicit(&t->n_added, memory_order_relaxed);
    out[3] = atomic_load_explicit(&t->n_evicted, memory_order_relaxed);
}

void script_cache_stats(const struct script_cache *c, struct script_cache_stats *out)
{
    uint64_t sigs[4], txs[4];
    table_stats(&c->sigs, sigs);
    table_stats(&c->txs, txs);
    *out = (struct script_cache_stats){
        .n_sig_hits = sigs[0],
        .n_sig_misses = sigs[1],
        .n_sig_added = sigs[2],
        .n_sig_evicted = sigs[3],
        .n_tx_hits = txs[0],
        .n_tx_misses = txs[1],
        .n_tx_added = txs[2],
        .n_tx_evicted = txs[3],
        .n_places = PLACES * (c->sigs.mask + 1),
    };
}
