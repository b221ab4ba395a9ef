#include "../tests/coins_model.h"
#include "base/rng.h"
#include "chain/coins_cache.h"
#include "chain/coins_index.h"
#include "test_util.h"

struct world {
    struct mem mem;
    struct coins_mem behind;
    struct coins_store store;
    struct coins_cache *cache;
    struct arena arena;
};

static void world_init(struct world *w, size_t cap_len)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    coins_mem_init(&w->behind, &w->mem, (struct map_seed){1, 2});
    w->store = coins_mem_store(&w->behind);
    arena_init(&w->arena, &w->mem, SIZE_MAX);
    assert_int_equal(
        coins_cache_new(&w->cache, &w->mem, (struct map_seed){3, 4}, &w->store, cap_len), ERR_OK);
}

static void world_clear(struct world *w)
{
    coins_cache_free(w->cache);
    coins_mem_clear(&w->behind);
    arena_clear(&w->arena);
    mem_check_empty(&w->mem);
}

static struct outpoint outpoint_nth(uint32_t i)
{
    struct outpoint at = {.n = i % 4};
    for (uint32_t j = 0; j < 8; j++)
        at.txid.b[j * 4] = (uint8_t)(i / 4 >> (j % 4 * 8));
    return at;
}

static const uint8_t p2wpkh[22] = {0, 20};

static struct coin coin_at(uint32_t height)
{
    return (struct coin){.value_sat = 5, .script = {p2wpkh, sizeof p2wpkh}, .height = height};
}

static void add(struct world *w, uint32_t i, bool may_overwrite)
{
    struct outpoint at = outpoint_nth(i);
    struct coin coin = coin_at(i);
    struct err err = {0};
    assert_int_equal(coins_cache_add(w->cache, &at, &coin, may_overwrite, &err), ERR_OK);
}

static bool spend(struct world *w, uint32_t i)
{
    struct outpoint at = outpoint_nth(i);
    struct coin coin;
    struct err err = {0};
    bool is_found;
    assert_int_equal(coins_cache_spend(w->cache, &at, &coin, &w->arena, &is_found, &err), ERR_OK);
    return is_found;
}

static bool has(struct world *w, uint32_t i)
{
    struct outpoint at = outpoint_nth(i);
    struct coin coin;
    struct err err = {0};
    bool is_found;
    assert_int_equal(coins_cache_get(w->cache, &at, &coin, &is_found, &err), ERR_OK);
    return is_found;
}

static void write_out(struct world *w, bool keep)
{
    struct coins_tip tip = {.height = 1};
    struct err err = {0};
    assert_int_equal(coins_cache_write(w->cache, &tip, keep, &err), ERR_OK);
    coins_cache_check(w->cache);
}

/* The picture in coins_cache.h, arrow by arrow: what the store is told. */
static void test_what_reaches_the_store(void **state)
{
    (void)state;
    struct world w;
    struct coins_store_stats s;
    struct coins_cache_stats c;
    world_init(&w, 1 << 20);
    add(&w, 0, false); /* made and spent in between: nothing */
    assert_true(spend(&w, 0));
    assert_false(spend(&w, 0));
    assert_false(has(&w, 0));
    add(&w, 1, false);
    write_out(&w, true);
    w.store.stats(w.store.ctx, &s);
    assert_int_equal(s.n_puts, 1);
    assert_int_equal(s.n_erases, 0);
    coins_cache_stats(w.cache, &c);
    assert_int_equal(c.n_fresh_spent, 1);
    assert_int_equal(c.n_coins, 1);
    assert_int_equal(c.n_dirty, 0);

    assert_true(spend(&w, 1)); /* clean, spent: erased */
    add(&w, 2, true);          /* may be there: not fresh, so spending it erases */
    assert_true(spend(&w, 2));
    coins_cache_stats(w.cache, &c);
    assert_int_equal(c.n_coins, 0);
    assert_int_equal(c.n_dirty, 2);
    write_out(&w, true);
    w.store.stats(w.store.ctx, &s);
    assert_int_equal(s.n_puts, 1);
    assert_int_equal(s.n_erases, 2);

    add(&w, 3, false);
    write_out(&w, false); /* nothing kept */
    coins_cache_stats(w.cache, &c);
    assert_int_equal(c.n_coins, 0);
    assert_true(spend(&w, 3)); /* from the store, spent, made again: overwritten */
    add(&w, 3, false);
    write_out(&w, true);
    w.store.stats(w.store.ctx, &s);
    assert_int_equal(s.n_puts, 3);
    assert_int_equal(s.n_erases, 2);
    assert_true(has(&w, 3));
    world_clear(&w);
}

/* A write whose answer was lost: what was fresh may be on disk, so spending it must erase it. */
static void test_failed_write(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    struct coins_tip tip = {.height = 1};
    world_init(&w, 1 << 20);
    add(&w, 7, false);
    w.behind.write_fault = COINS_MEM_TAKEN;
    assert_int_equal(coins_cache_write(w.cache, &tip, true, &err), ERR_IO);
    assert_true(spend(&w, 7));
    write_out(&w, false);
    assert_false(has(&w, 7));
    world_clear(&w);
}

static void test_refusals(void **state)
{
    (void)state;
    static uint8_t long_script[COIN_SCRIPT_LEN_MAX + 1];
    struct world w;
    struct err err = {0};
    struct outpoint at = outpoint_nth(1);
    struct coin coin = {.script = {long_script, sizeof long_script}}, got;
    bool is_found;
    world_init(&w, 1 << 20);
    assert_int_equal(coins_cache_add(w.cache, &at, &coin, false, &err), ERR_LIMIT);
    coin.script.len--;
    assert_int_equal(coins_cache_add(w.cache, &at, &coin, false, &err), ERR_OK);
    assert_int_equal(coins_cache_add(w.cache, &at, &coin, false, &err), ERR_PROTOCOL);
    assert_int_equal(coins_cache_add(w.cache, &at, &coin, true, &err), ERR_OK);
    assert_int_equal(coins_cache_get(w.cache, &at, &got, &is_found, &err), ERR_OK);
    assert_int_equal(got.script.len, COIN_SCRIPT_LEN_MAX);
    world_clear(&w);
}

/* A fetch that comes back after a write is stale: the coin was spent and erased meanwhile. */
static void test_stale_fetch(void **state)
{
    (void)state;
    struct world w;
    struct coins_cache_stats c;
    world_init(&w, 1 << 20);
    add(&w, 1, false);
    write_out(&w, false);
    struct outpoint at = outpoint_nth(1);
    struct coin coin = coin_at(1);
    coins_cache_stats(w.cache, &c);
    uint64_t generation = c.generation;
    assert_true(spend(&w, 1));
    assert_int_equal(coins_cache_put_fetched(w.cache, generation, &at, &coin), ERR_OK);
    assert_false(has(&w, 1)); /* the cache knew better */
    write_out(&w, true);
    assert_int_equal(coins_cache_put_fetched(w.cache, generation, &at, &coin), ERR_OK);
    assert_false(has(&w, 1)); /* too old */
    world_clear(&w);
}

static void test_missing(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct outpoint at[N];
    const struct outpoint *list[N];
    uint32_t index[N];
    struct world w;
    world_init(&w, 1 << 20);
    for (uint32_t i = 0; i < N; i++) {
        at[i] = outpoint_nth(i);
        list[i] = &at[i];
    }
    assert_int_equal(coins_cache_missing(w.cache, list, N, index), N); /* also of an empty cache */
    for (uint32_t i = 0; i < N; i += 3)
        add(&w, i, true);
    for (uint32_t i = 0; i < N; i += 9)
        assert_true(spend(&w, i)); /* spent is known: not missing */
    size_t n = coins_cache_missing(w.cache, list, N, index);
    assert_int_equal(n, N - (N + 2) / 3);
    for (size_t i = 0; i < n; i++)
        assert_true(index[i] % 3 != 0 && (i == 0 || index[i] > index[i - 1]));
    world_clear(&w);
}

/* Any number of coins may be expected, there or not; nothing changes, the store is not asked. */
static void test_expect(void **state)
{
    (void)state;
    enum { N = 3 * COINS_LOOK_AHEAD + 1 };
    static struct outpoint at[N];
    struct coins_cache_stats before, after;
    struct world w;
    world_init(&w, 1 << 20);
    for (uint32_t i = 0; i < N; i++)
        at[i] = outpoint_nth(i);
    coins_cache_expect(w.cache, at, N); /* of an empty cache */
    for (uint32_t i = 0; i < N; i += 2)
        add(&w, i, true);
    coins_cache_stats(w.cache, &before);
    for (size_t n = 0; n <= N; n++)
        coins_cache_expect(w.cache, at, n);
    coins_cache_stats(w.cache, &after);
    assert_memory_equal(&before, &after, sizeof before);
    coins_cache_check(w.cache);
    world_clear(&w);
}

/* --- the order of what is written -------------------------------------------------------------- */

struct listener {
    struct outpoint last;
    uint32_t n, n_spent;
    bool is_sorted;
};

static enum err_code hear_write(void *ctx, const struct coins_tip *tip,
                                bool (*next)(void *next_ctx, struct coins_change *out),
                                void *next_ctx, struct err *err)
{
    struct listener *l = ctx;
    struct coins_change change = {0};
    (void)tip;
    (void)err;
    for (l->n = l->n_spent = 0, l->is_sorted = true; next(next_ctx, &change); l->n++) {
        int order = memcmp(&change.at.txid, &l->last.txid, sizeof change.at.txid);
        if (l->n && (order < 0 || (order == 0 && change.at.n <= l->last.n)))
            l->is_sorted = false;
        l->last = change.at;
        l->n_spent += change.is_spent;
    }
    return ERR_OK;
}

static void test_order(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 10, 300, 5000, 60000};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        struct world w;
        struct listener l = {0};
        world_init(&w, 1 << 30);
        w.store.ctx = &l;
        w.store.write = hear_write;
        for (uint32_t i = 0; i < sizes[k]; i++)
            add(&w, i * 0x9e3779b1u, i % 2);
        for (uint32_t i = 0; i < sizes[k]; i += 3)
            assert_true(spend(&w, i * 0x9e3779b1u));
        uint32_t n_gone = 0, n_spent = 0; /* fresh ones leave no trace */
        for (uint32_t i = 0; i < sizes[k]; i += 3)
            i % 2 ? n_spent++ : n_gone++;
        write_out(&w, true);
        assert_true(l.is_sorted && l.n == sizes[k] - n_gone && l.n_spent == n_spent);
        /* without memory for the order it still goes out */
        add(&w, 7, true);
        w.mem.fail_at = 1;
        write_out(&w, true);
        assert_int_equal(l.n, 1);
        world_clear(&w);
    }
}

/* Overfilled: is_full says so before the bound, writing makes room, the youngest stay. */
static void test_overfill(void **state)
{
    (void)state;
    enum { CAP = 4 << 20 };
    struct world w;
    struct coins_cache_stats c;
    uint32_t n = 0;
    world_init(&w, CAP);
    for (uint32_t round = 0; round < 4; round++) {
        while (!coins_cache_is_full(w.cache))
            add(&w, n++, false);
        coins_cache_stats(w.cache, &c);
        assert_true(c.used_len < CAP + 16384 && c.used_len > CAP / 10 * 8);
        write_out(&w, true);
        coins_cache_stats(w.cache, &c);
        assert_true(c.used_len <= CAP / 2 + (1 << 19)); /* slabs begun, one for each size */
        assert_true(c.n_coins > CAP / 2 / 120);
        uint64_t n_misses = c.n_misses;
        for (uint32_t i = n - 1000; i < n; i++)
            assert_true(has(&w, i));
        coins_cache_stats(w.cache, &c);
        assert_int_equal(c.n_misses, n_misses);
    }
    assert_true(has(&w, 0));
    coins_cache_stats(w.cache, &c);
    assert_int_equal(c.n_misses, 1);
    for (uint32_t i = 0; i < n; i++)
        assert_true(spend(&w, i));
    write_out(&w, true);
    coins_cache_stats(w.cache, &c);
    assert_int_equal(c.n_coins, 0);
    assert_int_equal(w.behind.coins.n, 0);
    world_clear(&w);
}

/* Bytes per coin, index included: what docs/benchmarks.md says. */
static void test_memory_per_coin(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct world w;
    struct coins_cache_stats c;
    world_init(&w, 1 << 30);
    for (uint32_t i = 0; i < N; i++)
        add(&w, i, false);
    coins_cache_stats(w.cache, &c);
    assert_true(c.used_len / N < 98);
    /* all that was asked for: the chunk begun, the tables */
    assert_true(w.mem.used_len <= c.used_len + (1 << 20) + 65536);
    world_clear(&w);
}

static void test_model(void **state)
{
    (void)state;
    static struct coins_model m;
    static uint8_t script[100000];
    struct rng rng;
    uint64_t n_spent = 0, n_writes = 0, n_faults = 0, n_refused = 0, n_late = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        rng_init(&rng, seed);
        rng_fill(&rng, script, sizeof script);
        coins_model_run(&m, script, sizeof script, seed % 2 ? 65536 : 1 << 20);
        n_spent += m.n_spent;
        n_writes += m.n_writes;
        n_faults += m.n_faults;
        n_refused += m.n_refused;
        n_late += m.n_late;
    }
    assert_true(n_spent > 1000 && n_writes > 1000 && n_faults > 1000 && n_refused > 1000 &&
                n_late > 1000);
}

static bool run_all(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct coins_mem behind;
    struct coins_cache *cache;
    struct arena arena;
    struct err err = {0};
    struct coins_tip tip = {0};
    bool is_ok = true, is_found;
    struct coin coin;
    coins_mem_init(&behind, mem, (struct map_seed){1, 2});
    arena_init(&arena, mem, SIZE_MAX);
    struct coins_store store = coins_mem_store(&behind);
    if (coins_cache_new(&cache, mem, (struct map_seed){3, 4}, &store, 1 << 20))
        return false;
    for (uint32_t i = 0; i < 300 && is_ok; i++) {
        struct outpoint at = outpoint_nth(i);
        coin = coin_at(i);
        is_ok = coins_cache_add(cache, &at, &coin, false, &err) == ERR_OK;
    }
    is_ok = is_ok && coins_cache_write(cache, &tip, false, &err) == ERR_OK;
    for (uint32_t i = 0; i < 300 && is_ok; i++) {
        struct outpoint at = outpoint_nth(i);
        is_ok = i % 2 ? coins_cache_get(cache, &at, &coin, &is_found, &err) == ERR_OK
                      : coins_cache_spend(cache, &at, &coin, &arena, &is_found, &err) == ERR_OK;
        assert_true(!is_ok || is_found);
    }
    coins_cache_check(cache);
    is_ok = is_ok && coins_cache_write(cache, &tip, true, &err) == ERR_OK;
    coins_cache_check(cache);
    coins_cache_free(cache);
    coins_mem_clear(&behind);
    arena_clear(&arena);
    return is_ok;
}

static void test_no_memory(void **state)
{
    (void)state;
    test_fail_sweep(run_all, NULL);
}

/* --- the index by itself: growth and long runs at the very end -------------------------------- */

static void test_index(void **state)
{
    (void)state;
    enum { N = 60000 };
    static uint32_t tags[N + 1];
    struct mem mem;
    struct coins_index x;
    struct rng rng;
    rng_init(&rng, 5);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    coins_index_init(&x, &mem);
    assert_null(coins_index_first(&x, 7));
    for (uint32_t i = 1; i <= N; i++) {
        /* all over, or a few hundred crowded before the end */
        tags[i] = i % 100 ? (uint32_t)rng_u64(&rng) : UINT32_MAX - rng_below(&rng, 1000000);
        assert_int_equal(coins_index_insert(&x, tags[i], i), ERR_OK);
    }
    coins_index_check(&x);
    for (uint32_t i = 1; i <= N; i++) {
        struct coins_slot *s = coins_index_first(&x, tags[i]);
        assert_non_null(s);
        while (s->handle != i)
            assert_true((++s)->tag == tags[i]);
        if (i % 2)
            coins_index_remove(&x, s);
    }
    coins_index_check(&x);
    assert_int_equal(x.n, N / 2);
    for (uint32_t i = 2; i <= N; i += 2)
        coins_index_remove(&x, coins_index_first(&x, tags[i]));
    assert_int_equal(x.n, 0);
    coins_index_clear(&x);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_reaches_the_store),
        cmocka_unit_test(test_failed_write),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stale_fetch),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_overfill),
        cmocka_unit_test(test_memory_per_coin),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
