#include "base/rng.h"
#include "chain/script_cache.h"
#include "test_util.h"
#include <pthread.h>

static const uint8_t salt[32] = {1, 2, 3};

static struct script_cache *new_cache(struct mem *mem, size_t table_len)
{
    struct script_cache *c;
    assert_int_equal(script_cache_new(&c, mem, table_len, salt), ERR_OK);
    return c;
}

/* The key of signature number i. */
static struct script_cache_key key_of(const struct script_cache *c, uint64_t i)
{
    struct script_cache_key k;
    struct hash256 hash = {0};
    memcpy(hash.b, &i, sizeof i);
    script_cache_sig_key(c, 'E', &hash, BYTES_LIT("key"), BYTES_LIT("sig"), &k);
    return k;
}

static void test_not_in_use(void **state)
{
    struct mem mem;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 12);
    assert_false(script_cache_in_use(NULL, SCRIPT_CACHE_STORE));
    assert_false(script_cache_in_use(c, 0));
    assert_true(script_cache_in_use(c, SCRIPT_CACHE_STORE));
    struct script_cache_key k = key_of(c, 1);
    assert_false(script_cache_has(c, &k));
    script_cache_add(c, &k);
    assert_true(script_cache_has(c, &k));
    assert_true(script_cache_in_use(c, 0));
    script_cache_free(c);
    mem_check_empty(&mem);
}

/* Every part of a signature makes another key, and so does where key and signature meet. */
static void test_keys_differ(void **state)
{
    struct mem mem;
    struct hash256 h = {0}, g = {.b = {1}};
    struct script_cache_key k[6];
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 12);
    script_cache_sig_key(c, 'E', &h, BYTES_LIT("ab"), BYTES_LIT("cd"), &k[0]);
    script_cache_sig_key(c, 'S', &h, BYTES_LIT("ab"), BYTES_LIT("cd"), &k[1]);
    script_cache_sig_key(c, 'E', &g, BYTES_LIT("ab"), BYTES_LIT("cd"), &k[2]);
    script_cache_sig_key(c, 'E', &h, BYTES_LIT("abc"), BYTES_LIT("d"), &k[3]);
    script_cache_sig_key(c, 'E', &h, BYTES_LIT("ab"), BYTES_LIT("ce"), &k[4]);
    uint8_t long_key[258] = "ab"; /* as long as "ab" but for 256 bytes */
    script_cache_sig_key(c, 'E', &h, bytes_of(long_key, 258), (struct bytes){0}, &k[5]);
    script_cache_add(c, &k[0]);
    for (size_t i = 1; i < COUNT_OF(k); i++)
        assert_false(script_cache_has(c, &k[i]));
    script_cache_free(c);
}

/* The table never grows; what was added last is mostly there, and each loss is counted. */
static void test_overfill(void **state)
{
    struct mem mem;
    struct script_cache_stats stats;
    uint64_t n_found = 0, n = 20000;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 14);
    size_t used = mem.used_len;
    for (uint64_t i = 0; i < n; i++) {
        struct script_cache_key k = key_of(c, i);
        script_cache_add(c, &k);
        assert_true(script_cache_has(c, &k));
    }
    assert_int_equal(mem.used_len, used);
    for (uint64_t i = 0; i < n; i++) {
        struct script_cache_key k = key_of(c, i);
        n_found += script_cache_has(c, &k);
    }
    script_cache_stats(c, &stats);
    assert_int_equal(stats.n_places, 1024);
    assert_int_equal(stats.n_sig_added, n);
    assert_int_equal(stats.n_sig_added - stats.n_sig_evicted, n_found);
    assert_int_equal(n_found, stats.n_places); /* 20 keys for a place: all are taken */
    assert_int_equal(stats.n_sig_hits, n + n_found);
    assert_int_equal(stats.n_sig_misses, n - n_found);
    script_cache_free(c);
}

/* Nothing is lost before three quarters of the places are taken, but for the odd one. */
static void test_fill(void **state)
{
    struct mem mem;
    struct script_cache_stats stats;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 18);
    script_cache_stats(c, &stats);
    for (uint64_t i = 0; i < stats.n_places * 3 / 4; i++) {
        struct script_cache_key k = key_of(c, i);
        script_cache_add(c, &k);
    }
    script_cache_stats(c, &stats);
    assert_true(stats.n_sig_evicted < stats.n_places / 50);
    script_cache_free(c);
}

static void test_txs(void **state)
{
    struct mem mem;
    struct hash256 a = {.b = {1}}, b = {.b = {2}};
    struct script_cache_stats stats;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 12);
    assert_false(script_cache_has_tx(c, &a, SCRIPT_P2SH));
    script_cache_forget_tx(c, &a, SCRIPT_P2SH);
    script_cache_add_tx(c, &a, SCRIPT_P2SH | SCRIPT_CACHE_STORE);
    assert_true(script_cache_has_tx(c, &a, SCRIPT_P2SH));
    assert_false(script_cache_has_tx(c, &a, SCRIPT_P2SH | SCRIPT_WITNESS));
    assert_false(script_cache_has_tx(c, &b, SCRIPT_P2SH));
    script_cache_forget_tx(c, &a, SCRIPT_P2SH);
    assert_false(script_cache_has_tx(c, &a, SCRIPT_P2SH));
    script_cache_stats(c, &stats);
    assert_int_equal(stats.n_tx_hits, 1);
    assert_int_equal(stats.n_tx_misses, 3);
    assert_int_equal(stats.n_tx_added, 1);
    assert_int_equal(stats.n_sig_hits + stats.n_sig_misses, 0);
    script_cache_free(c);
}

static bool make_and_free(struct mem *mem, void *ctx)
{
    struct script_cache *c;
    (void)ctx;
    enum err_code e = script_cache_new(&c, mem, 1 << 12, salt);
    script_cache_free(c);
    return e == ERR_OK;
}

static void test_no_memory(void **state)
{
    struct script_cache *c;
    struct mem mem;
    (void)state;
    assert_int_equal(test_fail_sweep(make_and_free, NULL), 3);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(script_cache_new(&c, &mem, 63, salt), ERR_LIMIT);
}

/* Many threads on a small table: a key that nobody added is never there. */
#define N_THREADS 4
struct worker {
    pthread_t thread;
    struct script_cache *c;
    uint64_t first, n_wrong;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (uint64_t i = 0; i < 5000; i++) {
        struct script_cache_key mine = key_of(w->c, w->first + i);
        struct script_cache_key nobodys = key_of(w->c, UINT64_MAX - w->first - i);
        script_cache_add(w->c, &mine);
        (void)script_cache_has(w->c, &mine);
        w->n_wrong += script_cache_has(w->c, &nobodys);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct worker workers[N_THREADS];
    struct mem mem;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct script_cache *c = new_cache(&mem, 1 << 11);
    for (size_t i = 0; i < N_THREADS; i++) {
        workers[i] = (struct worker){.c = c, .first = i << 32};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].n_wrong, 0);
    }
    script_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_in_use), cmocka_unit_test(test_keys_differ),
        cmocka_unit_test(test_overfill),   cmocka_unit_test(test_fill),
        cmocka_unit_test(test_txs),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
