/* coins_model: a script of bytes drives a coins cache over a store in memory, with faults, crashes
 * and fetches that come back late, beside a model that is two arrays. What differs aborts.
 */
#pragma once
#include "chain/coins_cache.h"
#include "chain/coins_mem.h"
#include <assert.h>

#define MODEL_OUTPOINTS 192u
#define MODEL_FETCHES   8u

/* What a coin looks like follows from its number; 0 is no coin. */
struct coins_model {
    struct mem mem, store_mem;
    struct coins_mem behind;
    struct coins_store store;
    struct coins_cache *cache;
    struct arena arena;
    uint32_t now[MODEL_OUTPOINTS], stored[MODEL_OUTPOINTS];
    uint32_t n_coins, tip_height;
    struct {
        uint64_t generation;
        uint32_t key, coin;
        bool is_used;
    } fetches[MODEL_FETCHES];
    uint8_t script[COIN_SCRIPT_LEN_MAX];
    const uint8_t *in;
    size_t left;
    uint64_t n_spent, n_writes, n_faults, n_refused, n_late, n_seen;
};

static inline uint32_t model_byte(struct coins_model *m)
{
    if (!m->left)
        return 0;
    m->left--;
    return *m->in++;
}

static inline struct outpoint model_outpoint(uint32_t key)
{
    struct outpoint at = {.n = key % 3};
    memset(at.txid.b, 0x5a, sizeof at.txid.b);
    at.txid.b[key % 2 ? 31 : 0] = (uint8_t)(key / 3);
    return at;
}

static inline struct coin model_coin(struct coins_model *m, uint32_t number)
{
    size_t len = number * 37 % 64;
    if (number % 41 == 0)
        len = number * 131 % (COIN_SCRIPT_LEN_MAX + 1);
    memset(m->script, (int)(number & 0xff), len);
    return (struct coin){.value_sat = number,
                         .script = {m->script, len},
                         .height = number / 4,
                         .is_coinbase = number & 1};
}

static inline void model_assert_coin(struct coins_model *m, const struct coin *got, uint32_t number)
{
    struct coin want = model_coin(m, number);
    assert(got->value_sat == want.value_sat && got->height == want.height &&
           got->is_coinbase == want.is_coinbase && bytes_equal(got->script, want.script));
}

static inline void model_get(struct coins_model *m, uint32_t key)
{
    struct outpoint at = model_outpoint(key);
    struct coin coin;
    bool is_found;
    struct err err = {0};
    enum err_code code = coins_cache_get(m->cache, &at, &coin, &is_found, &err);
    if (code) {
        m->n_faults++;
        return;
    }
    assert(is_found == (m->now[key] != 0));
    if (is_found)
        model_assert_coin(m, &coin, m->now[key]);
}

static inline void model_spend(struct coins_model *m, uint32_t key, bool wants_coin)
{
    struct outpoint at = model_outpoint(key);
    struct coin coin;
    bool is_found;
    struct err err = {0};
    arena_reset(&m->arena);
    enum err_code code =
        coins_cache_spend(m->cache, &at, wants_coin ? &coin : NULL, &m->arena, &is_found, &err);
    if (code) {
        m->n_faults++;
        return;
    }
    assert(is_found == (m->now[key] != 0));
    if (is_found && wants_coin)
        model_assert_coin(m, &coin, m->now[key]);
    m->n_spent += is_found;
    m->now[key] = 0;
}

/* Without may_overwrite the caller promises that there is none; a promise broken over a coin that
 * the cache holds is noticed. */
static inline void model_add(struct coins_model *m, uint32_t key, bool may_overwrite)
{
    struct outpoint at = model_outpoint(key);
    struct coin coin = model_coin(m, ++m->n_coins);
    struct err err = {0};
    if (m->now[key] && !may_overwrite) {
        bool is_found;
        if (coins_cache_get(m->cache, &at, &coin, &is_found, &err) == ERR_OK) {
            assert(coins_cache_add(m->cache, &at, &coin, false, &err) == ERR_PROTOCOL);
            m->n_refused++;
        }
        return;
    }
    if (coins_cache_add(m->cache, &at, &coin, may_overwrite, &err) == ERR_OK)
        m->now[key] = m->n_coins;
    else
        m->n_faults++;
}

static inline void model_write(struct coins_model *m, uint32_t how)
{
    struct coins_tip tip = {.height = ++m->tip_height};
    struct err err = {0};
    m->behind.write_fault = how % 8 == 1   ? COINS_MEM_LOST
                            : how % 8 == 2 ? COINS_MEM_TAKEN
                                           : COINS_MEM_FINE;
    enum err_code code = coins_cache_write(m->cache, &tip, how & 0x10, &err);
    struct coins_tip there;
    assert(m->store.tip(m->store.ctx, &there, &err) == ERR_OK);
    assert(code || there.height == tip.height);
    if (there.height == tip.height)
        memcpy(m->stored, m->now, sizeof m->stored);
    m->n_writes += !code;
    m->n_faults += code != 0;
}

static inline void model_drop(struct coins_model *m)
{
    coins_cache_drop(m->cache);
    memcpy(m->now, m->stored, sizeof m->now);
}

/* Another thread asks the store; its answer is put in at once or much later. */
static inline void model_fetch(struct coins_model *m, uint32_t key, uint32_t slot)
{
    struct outpoint at = model_outpoint(key);
    const struct outpoint *list = &at;
    uint32_t index;
    if (m->fetches[slot].is_used) {
        struct outpoint old = model_outpoint(m->fetches[slot].key);
        struct coin coin = model_coin(m, m->fetches[slot].coin);
        if (coins_cache_put_fetched(m->cache, m->fetches[slot].generation, &old,
                                    m->fetches[slot].coin ? &coin : NULL))
            m->n_faults++;
        m->fetches[slot].is_used = false;
        m->n_late++;
    }
    if (coins_cache_missing(m->cache, &list, 1, &index) == 0)
        return;
    struct coins_cache_stats stats;
    coins_cache_stats(m->cache, &stats);
    m->fetches[slot].is_used = true;
    m->fetches[slot].generation = stats.generation;
    m->fetches[slot].key = key;
    m->fetches[slot].coin = m->stored[key];
    assert(m->stored[key] == m->now[key]); /* the cache knows of no change: there is none */
}

static inline bool model_each_stored(void *ctx, const struct outpoint *at, const struct coin *coin)
{
    struct coins_model *m = ctx;
    uint32_t key;
    for (key = 0; key < MODEL_OUTPOINTS; key++) {
        struct outpoint is = model_outpoint(key);
        if (memcmp(&is, at, sizeof is) == 0)
            break;
    }
    assert(key < MODEL_OUTPOINTS && m->stored[key]);
    model_assert_coin(m, coin, m->stored[key]);
    m->n_seen++;
    return true;
}

static inline void model_check(struct coins_model *m)
{
    struct err err = {0};
    struct coins_cache_stats stats;
    size_t n = 0;
    m->n_seen = 0;
    coins_cache_check(m->cache);
    coins_cache_stats(m->cache, &stats);
    assert(stats.used_len <= m->mem.used_len);
    assert(m->store.iterate(m->store.ctx, NULL, model_each_stored, m, &err) == ERR_OK);
    for (uint32_t key = 0; key < MODEL_OUTPOINTS; key++) {
        n += m->stored[key] != 0;
        model_get(m, key);
    }
    assert(m->n_seen == n);
}

static inline void model_step(struct coins_model *m)
{
    uint32_t op = model_byte(m), key = model_byte(m) % MODEL_OUTPOINTS;
    if (op >= 0xf0)
        m->mem.fail_at = 1 + (op & 3);
    else if (op >= 0xe8)
        m->behind.fail_get_at = 1;
    else if (op >= 0xe6)
        m->store_mem.fail_at = 1 + key % 16;
    switch (op % 16) {
    case 0:
        if (op < 0x40)
            model_write(m, key);
        break;
    case 1:
        if (op == 0x11)
            model_drop(m);
        break;
    case 2:
    case 3:
    case 4:
        model_fetch(m, key, op / 16 % MODEL_FETCHES);
        break;
    case 5:
    case 6:
        model_get(m, key);
        break;
    case 7:
    case 8:
    case 9:
        model_spend(m, key, op & 0x80);
        break;
    case 10:
        model_add(m, key, true);
        break;
    default:
        model_add(m, key, false);
    }
    m->mem.fail_at = m->store_mem.fail_at = m->behind.fail_get_at = 0;
    m->behind.write_fault = COINS_MEM_FINE;
}

/* cap_len: small, so that writes make room. *m is filled with counters. */
static inline void coins_model_run(struct coins_model *m, const uint8_t *data, size_t len,
                                   size_t cap_len)
{
    *m = (struct coins_model){.in = data, .left = len};
    mem_init(&m->mem, MEM_NO_BUDGET, NULL);
    mem_init(&m->store_mem, MEM_NO_BUDGET, NULL);
    coins_mem_init(&m->behind, &m->store_mem, (struct map_seed){1, 2});
    m->store = coins_mem_store(&m->behind);
    arena_init(&m->arena, &m->mem, SIZE_MAX);
    enum err_code code =
        coins_cache_new(&m->cache, &m->mem, (struct map_seed){3, 4}, &m->store, cap_len);
    assert(code == ERR_OK);
    (void)code;
    for (uint32_t i = 1; m->left; i++) {
        model_step(m);
        if (i % 512 == 0)
            model_check(m);
    }
    model_check(m);
    coins_cache_free(m->cache);
    coins_mem_clear(&m->behind);
    arena_clear(&m->arena);
    mem_check_empty(&m->mem);
    mem_check_empty(&m->store_mem);
}
