/* Entries are packed in a pool and found through an index of tags (coins_pool.h, coins_index.h): a
 * look-up costs a cache line of the index and the entry's own. A P2PKH or P2WPKH coin takes 80
 * bytes and its share of the index.
 *
 * The hash is multilinear: the sum of nine secret 64-bit keys times the outpoint's nine words, of
 * which the upper half counts. Two given outpoints collide with a chance of 2^-32 whatever they
 * are (Lemire and Kaser, 2012), and who chooses outpoints does not learn the keys.
 *
 * There is no list of dirty entries: slabs count theirs, and those that have any are walked in
 * order of memory, which is faster than following links through all of it.
 */
#include "chain/coins_cache.h"
#include "base/size.h"
#include "chain/coins_index.h"
#include "chain/coins_order.h"
#include "chain/coins_pool.h"
#include <assert.h>
#include <stdalign.h>

#define OUTPOINT_WORDS 9u
#define AGES_EXACT     512u  /* when coins must go, ages up to here are told apart by the block, */
#define AGES_ROUGH     512u  /* above by so many blocks,                                         */
#define AGE_ROUGH      2048u /* which reaches back a million                                     */

static_assert(sizeof(struct outpoint) == OUTPOINT_WORDS * 4, "an outpoint has no padding");

struct coins_cache {
    struct mem *mem;
    const struct coins_store *store;
    uint64_t keys[OUTPOINT_WORDS + 1];
    struct coins_index index;
    struct coins_pool pool;
    struct arena fetched; /* scripts of one coin on its way from the store */
    size_t cap_len, n_spent, n_dirty;
    uint64_t generation, n_hits, n_misses, n_absent, n_fresh_spent;
};

enum err_code coins_cache_new(struct coins_cache **out, struct mem *mem, struct map_seed seed,
                              const struct coins_store *store, size_t cap_len)
{
    struct coins_cache *c = mem_calloc(mem, 1, sizeof *c);
    *out = c;
    if (!c)
        return ERR_NO_MEMORY;
    c->mem = mem;
    c->store = store;
    c->cap_len = cap_len;
    for (uint8_t i = 0; i <= OUTPOINT_WORDS; i++)
        c->keys[i] = map_hash(seed, &i, 1);
    coins_index_init(&c->index, mem);
    coins_pool_init(&c->pool, mem);
    arena_init(&c->fetched, mem, SIZE_MAX);
    return ERR_OK;
}

void coins_cache_free(struct coins_cache *c)
{
    if (!c)
        return;
    coins_cache_drop(c);
    arena_clear(&c->fetched);
    mem_free(c->mem, c);
}

void coins_cache_advise(struct coins_cache *c, void (*advise)(void *p, size_t len))
{
    c->pool.advise = c->index.advise = advise;
}

void coins_cache_drop(struct coins_cache *c)
{
    coins_index_clear(&c->index);
    coins_pool_clear(&c->pool);
    c->n_spent = c->n_dirty = 0;
    c->generation++;
}

/* --- finding --------------------------------------------------------------------------------- */

static uint32_t tag_of(const struct coins_cache *c, const struct outpoint *at)
{
    uint32_t w[OUTPOINT_WORDS];
    memcpy(w, at, sizeof w);
    uint64_t sum = c->keys[OUTPOINT_WORDS];
    for (uint32_t i = 0; i < OUTPOINT_WORDS; i++)
        sum += c->keys[i] * w[i];
    return (uint32_t)(sum >> 32);
}

static bool outpoint_equal(const struct outpoint *a, const struct outpoint *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static struct coins_slot *find(const struct coins_cache *c, const struct outpoint *at, uint32_t tag)
{
    struct coins_slot *s = coins_index_first(&c->index, tag);
    for (; s && s->handle && s->tag == tag; s++)
        if (outpoint_equal(&coins_pool_at(&c->pool, s->handle)->at, at))
            return s;
    return NULL;
}

static struct coins_entry *entry_of(const struct coins_cache *c, const struct coins_slot *s)
{
    return coins_pool_at(&c->pool, s->handle);
}

static struct coin coin_of(const struct coins_entry *e)
{
    return (struct coin){.value_sat = e->value_sat,
                         .script = bytes_of(e->script, e->script_len),
                         .height = e->code >> 1,
                         .is_coinbase = e->code & 1};
}

/* --- entries and their flags ----------------------------------------------------------------- */

/* n_dirty and n_spent follow the flags here and nowhere else. */
static void set_flags(struct coins_cache *c, uint32_t handle, unsigned flags)
{
    struct coins_entry *e = coins_pool_at(&c->pool, handle);
    struct coins_slab *slab = coins_pool_slab(&c->pool, handle);
    bool was_dirty = e->flags & COINS_DIRTY, is_dirty = flags & COINS_DIRTY;
    bool was_spent = e->flags & COINS_SPENT, is_spent = flags & COINS_SPENT;
    slab->n_dirty = (uint16_t)(slab->n_dirty + is_dirty - was_dirty);
    c->n_dirty += (size_t)is_dirty - was_dirty;
    c->n_spent += (size_t)is_spent - was_spent;
    e->flags = (uint8_t)(flags | COINS_LIVE);
}

/* A new entry, in no index yet; 0 when there is no memory. */
static uint32_t entry_new(struct coins_cache *c, const struct outpoint *at, const struct coin *coin,
                          unsigned flags)
{
    uint32_t handle = coins_pool_alloc(&c->pool, coin->script.len);
    if (!handle)
        return 0;
    struct coins_entry *e = coins_pool_at(&c->pool, handle);
    e->at = *at;
    e->code = coin->height << 1 | coin->is_coinbase;
    e->value_sat = coin->value_sat;
    e->script_len = (uint16_t)coin->script.len;
    if (coin->script.len)
        memcpy(e->script, coin->script.data, coin->script.len);
    set_flags(c, handle, flags);
    return handle;
}

static void entry_free(struct coins_cache *c, uint32_t handle)
{
    set_flags(c, handle, 0);
    coins_pool_free_entry(&c->pool, handle);
}

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for a coin");
}

/* A new entry that can be found; NULL when there is no memory. */
static struct coins_entry *insert(struct coins_cache *c, const struct outpoint *at, uint32_t tag,
                                  const struct coin *coin, unsigned flags)
{
    if (coins_index_reserve(&c->index))
        return NULL;
    uint32_t handle = entry_new(c, at, coin, flags);
    if (!handle)
        return NULL;
    if (coins_index_insert(&c->index, tag, handle)) {
        entry_free(c, handle);
        return NULL;
    }
    return coins_pool_at(&c->pool, handle);
}

static bool replace(struct coins_cache *c, struct coins_slot *s, const struct coin *coin,
                    unsigned flags)
{
    uint32_t handle = entry_new(c, &entry_of(c, s)->at, coin, flags);
    if (!handle)
        return false;
    entry_free(c, s->handle);
    s->handle = handle;
    return true;
}

static void forget(struct coins_cache *c, struct coins_slot *s)
{
    entry_free(c, s->handle);
    coins_index_remove(&c->index, s);
}

/* --- from the store -------------------------------------------------------------------------- */

static enum err_code fetch(struct coins_cache *c, const struct outpoint *at, struct coin *out,
                           bool *out_found, struct arena *a, struct err *err)
{
    c->n_misses++;
    enum err_code code = c->store->get_many(c->store->ctx, &at, 1, out, out_found, a, err);
    if (!code && !*out_found)
        c->n_absent++;
    return code;
}

static enum err_code get_from_store(struct coins_cache *c, const struct outpoint *at, uint32_t tag,
                                    struct coin *out, bool *out_found, struct err *err)
{
    arena_reset(&c->fetched);
    enum err_code code = fetch(c, at, out, out_found, &c->fetched, err);
    if (code || !*out_found)
        return code;
    const struct coins_entry *e = insert(c, at, tag, out, 0);
    *out_found = e;
    if (!e)
        return no_memory(err);
    *out = coin_of(e);
    return ERR_OK;
}

enum err_code coins_cache_get(struct coins_cache *c, const struct outpoint *at, struct coin *out,
                              bool *out_found, struct err *err)
{
    uint32_t tag = tag_of(c, at);
    struct coins_slot *s = find(c, at, tag);
    *out_found = false;
    if (!s)
        return get_from_store(c, at, tag, out, out_found, err);
    c->n_hits++;
    *out_found = !(entry_of(c, s)->flags & COINS_SPENT);
    if (*out_found)
        *out = coin_of(entry_of(c, s));
    return ERR_OK;
}

/* Who looks for many outpoints goes twice over a few at a time: first the index's lines are on their
 * way to the processor's cache, then the entries'. */
static uint32_t prefetch_slot(const struct coins_cache *c, const struct outpoint *at)
{
    uint32_t tag = tag_of(c, at);
    coins_index_prefetch(&c->index, tag);
    return tag;
}

static void prefetch_entries(const struct coins_cache *c, const uint32_t *tags, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct coins_slot *s = coins_index_first(&c->index, tags[i]);
        if (s)
            __builtin_prefetch(entry_of(c, s));
    }
}

size_t coins_cache_missing(const struct coins_cache *c, const struct outpoint *const *at, size_t n,
                           uint32_t *out_index)
{
    size_t n_out = 0;
    for (size_t from = 0; from < n; from += COINS_LOOK_AHEAD) {
        uint32_t tags[COINS_LOOK_AHEAD];
        size_t n_now = size_min(n - from, COINS_LOOK_AHEAD);
        for (size_t i = 0; i < n_now; i++)
            tags[i] = prefetch_slot(c, at[from + i]);
        prefetch_entries(c, tags, n_now);
        for (size_t i = 0; i < n_now; i++)
            if (!find(c, at[from + i], tags[i]))
                out_index[n_out++] = (uint32_t)(from + i);
    }
    return n_out;
}

void coins_cache_expect(const struct coins_cache *c, const struct outpoint *at, size_t n)
{
    uint32_t tags[COINS_LOOK_AHEAD];
    for (size_t from = 0; from < n; from += COINS_LOOK_AHEAD) {
        size_t n_now = size_min(n - from, COINS_LOOK_AHEAD);
        for (size_t i = 0; i < n_now; i++)
            tags[i] = prefetch_slot(c, &at[from + i]);
        prefetch_entries(c, tags, n_now);
    }
}

enum err_code coins_cache_put_fetched(struct coins_cache *c, uint64_t generation,
                                      const struct outpoint *at, const struct coin *coin)
{
    if (!coin || generation != c->generation)
        return ERR_OK;
    uint32_t tag = tag_of(c, at);
    if (find(c, at, tag))
        return ERR_OK;
    c->n_misses++;
    return insert(c, at, tag, coin, 0) ? ERR_OK : ERR_NO_MEMORY;
}

/* --- changing -------------------------------------------------------------------------------- */

enum err_code coins_cache_add(struct coins_cache *c, const struct outpoint *at,
                              const struct coin *coin, bool may_overwrite, struct err *err)
{
    if (coin->script.len > COIN_SCRIPT_LEN_MAX)
        return err_set(err, ERR_LIMIT, "a script above 10,000 bytes is no coin");
    uint32_t tag = tag_of(c, at);
    struct coins_slot *s = find(c, at, tag);
    unsigned flags = s ? entry_of(c, s)->flags : 0;
    if (s && !(flags & COINS_SPENT) && !may_overwrite)
        return err_set(err, ERR_PROTOCOL, "an unspent coin would be overwritten");
    /* Not here, and overwriting is allowed: the store may have one that nobody looked for. */
    bool is_fresh = s ? flags & COINS_FRESH : !may_overwrite;
    flags = COINS_DIRTY | (is_fresh ? COINS_FRESH : 0);
    bool is_done = s ? replace(c, s, coin, flags) : insert(c, at, tag, coin, flags) != NULL;
    return is_done ? ERR_OK : no_memory(err);
}

/* The coin goes; what stays says so to the store. A shorter entry does for that. */
static void mark_spent(struct coins_cache *c, struct coins_slot *s)
{
    struct coin none = {.height = entry_of(c, s)->code >> 1};
    if (coins_pool_can_shrink(&c->pool, s->handle, 0) &&
        replace(c, s, &none, COINS_DIRTY | COINS_SPENT))
        return;
    set_flags(c, s->handle, COINS_DIRTY | COINS_SPENT);
}

static enum err_code spend_cached(struct coins_cache *c, struct coins_slot *s, struct coin *out,
                                  struct arena *a, struct err *err)
{
    const struct coins_entry *e = entry_of(c, s);
    if (out) {
        *out = coin_of(e);
        out->script = arena_dup(a, out->script);
        if (!out->script.data)
            return no_memory(err);
    }
    if (e->flags & COINS_FRESH) {
        c->n_fresh_spent++;
        forget(c, s);
    } else {
        mark_spent(c, s);
    }
    return ERR_OK;
}

static enum err_code spend_stored(struct coins_cache *c, const struct outpoint *at, uint32_t tag,
                                  struct coin *out, struct arena *a, bool *out_found,
                                  struct err *err)
{
    struct coin coin, none = {0};
    arena_reset(&c->fetched);
    enum err_code code = fetch(c, at, &coin, out_found, out ? a : &c->fetched, err);
    if (code || !*out_found)
        return code;
    if (!insert(c, at, tag, &none, COINS_DIRTY | COINS_SPENT)) {
        *out_found = false;
        return no_memory(err);
    }
    if (out)
        *out = coin;
    return ERR_OK;
}

enum err_code coins_cache_spend(struct coins_cache *c, const struct outpoint *at, struct coin *out,
                                struct arena *a, bool *out_found, struct err *err)
{
    uint32_t tag = tag_of(c, at);
    struct coins_slot *s = find(c, at, tag);
    *out_found = false;
    if (!s)
        return spend_stored(c, at, tag, out, a, out_found, err);
    c->n_hits++;
    if (entry_of(c, s)->flags & COINS_SPENT)
        return ERR_OK;
    enum err_code code = spend_cached(c, s, out, a, err);
    *out_found = code == ERR_OK;
    return code;
}

/* --- making room: old coins go ---------------------------------------------------------------- */

static size_t used_len(const struct coins_cache *c)
{
    return coins_pool_used_len(&c->pool) + coins_index_used_len(&c->index);
}

static uint32_t age_class(const struct coins_entry *e, uint32_t top)
{
    uint32_t age = top - (e->code >> 1);
    if (age < AGES_EXACT)
        return age;
    return (uint32_t)u64_min(AGES_EXACT + (age - AGES_EXACT) / AGE_ROUGH,
                             AGES_EXACT + AGES_ROUGH - 1);
}

static uint32_t highest(struct coins_cache *c)
{
    uint32_t height = 0;
    struct coins_walk w = {.pool = &c->pool};
    for (uint32_t handle; (handle = coins_walk_next(&w));)
        height = (uint32_t)u64_max(height, coins_pool_at(&c->pool, handle)->code >> 1);
    return height;
}

/* So many classes of age, from the youngest, fit into keep_len. */
static uint32_t ages_to_keep(struct coins_cache *c, uint32_t top, size_t keep_len)
{
    size_t len_of[AGES_EXACT + AGES_ROUGH] = {0};
    struct coins_walk w = {.pool = &c->pool};
    for (uint32_t handle; (handle = coins_walk_next(&w));) {
        const struct coins_entry *e = coins_pool_at(&c->pool, handle);
        len_of[age_class(e, top)] += coins_pool_entry_len(e);
    }
    uint32_t n = 0;
    for (size_t sum = 0; n < AGES_EXACT + AGES_ROUGH; n++) {
        sum += len_of[n];
        if (sum > keep_len)
            break;
    }
    return n;
}

/* Young coins are the ones that are spent soon. Those that stay move together: a slab is emptied
 * before what stays of it is put back, so this never takes a slab more than it gave. Everything is
 * clean here: if the index wants memory and there is none, that coin goes as well. */
static void make_room(struct coins_cache *c, size_t keep_len)
{
    uint32_t top = highest(c), n_keep = ages_to_keep(c, top, keep_len);
    uint32_t n_slabs = coins_pool_n_slabs(&c->pool);
    alignas(struct coins_entry) uint8_t copy[COINS_SLAB_LEN];
    coins_index_reset(&c->index);
    coins_pool_seal(&c->pool);
    for (uint32_t i = 0; i < n_slabs; i++) {
        struct coins_slab s = c->pool.slabs[i];
        if (!s.is_sealed)
            continue;
        coins_pool_unload(&c->pool, i, copy);
        for (uint32_t j = 0; j < s.n_carved; j++) {
            const struct coins_entry *e = coins_pool_nth_in(copy, &s, j);
            struct coin coin = coin_of(e);
            if (e->flags && age_class(e, top) < n_keep)
                insert(c, &e->at, tag_of(c, &e->at), &coin, 0);
        }
    }
}

bool coins_cache_is_full(const struct coins_cache *c)
{
    return used_len(c) + size_max(coins_index_growth_len(&c->index), coins_order_len(c->n_dirty)) >=
           c->cap_len;
}

/* --- writing out ----------------------------------------------------------------------------- */

/* In order of keys; in any order when there is no memory for that. */
struct outgoing {
    const struct coins_pool *pool;
    struct coins_order order;
    struct coins_walk walk;
    bool is_ordered;
};

static bool next_change(void *ctx, struct coins_change *out)
{
    struct outgoing *g = ctx;
    uint32_t handle = g->is_ordered ? coins_order_next(&g->order) : coins_walk_next(&g->walk);
    if (!handle)
        return false;
    const struct coins_entry *e = coins_pool_at(g->pool, handle);
    out->at = e->at;
    out->is_spent = e->flags & COINS_SPENT;
    out->coin = coin_of(e);
    return true;
}

static enum err_code send_out(struct coins_cache *c, const struct coins_tip *tip, struct err *err)
{
    struct outgoing g = {.pool = &c->pool, .walk = {.pool = &c->pool, .is_dirty_only = true}};
    g.is_ordered = coins_order_init(&g.order, c->mem, &c->pool, c->n_dirty) == ERR_OK;
    enum err_code code = c->store->write(c->store->ctx, tip, next_change, &g, err);
    if (g.is_ordered)
        coins_order_clear(&g.order);
    return code;
}

/* The store may or may not have taken it: what was fresh may be there now. */
static void after_failed_write(struct coins_cache *c)
{
    struct coins_walk w = {.pool = &c->pool, .is_dirty_only = true};
    for (uint32_t handle; (handle = coins_walk_next(&w));)
        set_flags(c, handle, coins_pool_at(&c->pool, handle)->flags & ~(unsigned)COINS_FRESH);
}

static void after_write(struct coins_cache *c)
{
    struct coins_walk w = {.pool = &c->pool, .is_dirty_only = true};
    for (uint32_t handle; (handle = coins_walk_next(&w));) {
        const struct coins_entry *e = coins_pool_at(&c->pool, handle);
        if (e->flags & COINS_SPENT)
            forget(c, find(c, &e->at, tag_of(c, &e->at)));
        else
            set_flags(c, handle, 0);
    }
}

enum err_code coins_cache_write(struct coins_cache *c, const struct coins_tip *tip, bool keep,
                                struct err *err)
{
    enum err_code code = send_out(c, tip, err);
    c->generation++;
    if (code) {
        after_failed_write(c);
        return code;
    }
    if (!keep) {
        coins_cache_drop(c);
        return ERR_OK;
    }
    after_write(c);
    size_t keep_len = c->cap_len / 2, index_len = coins_index_used_len(&c->index);
    if (used_len(c) > keep_len)
        make_room(c, keep_len > index_len ? keep_len - index_len : 0);
    return ERR_OK;
}

/* --- looking at it --------------------------------------------------------------------------- */

void coins_cache_stats(const struct coins_cache *c, struct coins_cache_stats *out)
{
    *out = (struct coins_cache_stats){.n_hits = c->n_hits,
                                      .n_misses = c->n_misses,
                                      .n_absent = c->n_absent,
                                      .n_fresh_spent = c->n_fresh_spent,
                                      .n_coins = c->index.n - c->n_spent,
                                      .n_dirty = c->n_dirty,
                                      .used_len = used_len(c),
                                      .cap_len = c->cap_len,
                                      .generation = c->generation};
}

void coins_cache_check(const struct coins_cache *c)
{
    size_t n = 0, n_dirty = 0, n_spent = 0;
    struct coins_walk w = {.pool = &c->pool};
    coins_index_check(&c->index);
    coins_pool_check(&c->pool);
    for (uint32_t handle; (handle = coins_walk_next(&w)); n++) {
        const struct coins_entry *e = coins_pool_at(&c->pool, handle);
        const struct coins_slot *s = find(c, &e->at, tag_of(c, &e->at));
        assert(s && s->handle == handle);
        assert(e->flags & COINS_DIRTY || !(e->flags & (COINS_FRESH | COINS_SPENT)));
        assert(!(e->flags & COINS_FRESH) || !(e->flags & COINS_SPENT));
        n_dirty += (e->flags & COINS_DIRTY) != 0;
        n_spent += (e->flags & COINS_SPENT) != 0;
    }
    assert(n == c->index.n && n_dirty == c->n_dirty && n_spent == c->n_spent);
}
