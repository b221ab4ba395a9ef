#include "base/map.h"
#include "base/rng.h"
#include "test_util.h"

/* Key zero over the bytes 00, 00 01, ...: what CPython 3.11 answers to hash(bytes(range(len))) when
 * PYTHONHASHSEED is 0; it hashes bytes with SipHash-1-3. */
static void test_siphash_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint64_t want;
    } vectors[] = {
        {1, 0x68a914128e01e473},  {2, 0x010bac45c41e3669},  {3, 0x4d4c9a4a8ef6e0ad},
        {7, 0x2f098ab0c751325a},  {8, 0xead411e67ebe2eea},  {9, 0x75927f9d95124362},
        {15, 0xf30eb725bb91c9ea}, {16, 0x8972188433a5c5b7}, {17, 0x4883c49a2c009c1d},
        {31, 0x169739443111d49b}, {63, 0x385d3e39e5f37359},
    };
    struct map_seed seed = {0, 0};
    uint8_t in[64];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    for (size_t i = 0; i < COUNT_OF(vectors); i++)
        assert_true(map_hash(seed, in, vectors[i].len) == vectors[i].want);
}

/* Every key is an index into a plain array. */
static void check_model(struct map *m, const uint32_t *model, uint32_t n_keys)
{
    uint32_t n = 0, n_walked = 0;
    for (uint32_t key = 0; key < n_keys; key++) {
        const uint32_t *value = map_get(m, &key);
        assert_int_equal(value ? *value : 0, model[key]);
        n += model[key] != 0;
    }
    assert_int_equal(m->n, n);
    const void *key;
    void *value;
    for (size_t cursor = 0; map_next(m, &cursor, &key, &value); n_walked++)
        assert_int_equal(*(uint32_t *)value, model[*(const uint32_t *)key]);
    assert_int_equal(n_walked, n);
}

static void test_model(void **state)
{
    (void)state;
    static uint32_t model[2000];
    struct mem mem;
    struct map m;
    struct rng rng;
    rng_init(&rng, 7);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    map_init(&m, &mem, rng_map_seed(&rng), sizeof(uint32_t), sizeof(uint32_t), SIZE_MAX);
    for (uint32_t step = 1; step <= 400000; step++) {
        /* The share of puts swings, so that the table fills and empties. */
        uint32_t key = rng_below(&rng, COUNT_OF(model));
        if (rng_below(&rng, 100) < (step / 50000 % 2 ? 20 : 80)) {
            bool is_new;
            uint32_t *value = map_put(&m, &key, &is_new);
            assert_non_null(value);
            assert_int_equal(is_new, model[key] == 0);
            assert_int_equal(*value, model[key]); /* a new one is zeroed */
            *value = model[key] = step;
        } else {
            assert_int_equal(map_remove(&m, &key), model[key] != 0);
            model[key] = 0;
        }
        if (step % 10000 == 0)
            check_model(&m, model, COUNT_OF(model));
    }
    map_clear(&m);
    uint32_t key = 1;
    assert_null(map_get(&m, &key));
    assert_false(map_remove(&m, &key));
    mem_check_empty(&mem);
}

static void test_limit(void **state)
{
    (void)state;
    struct mem mem;
    struct map m;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    map_init(&m, &mem, (struct map_seed){1, 2}, 8, 8, 100);
    for (uint64_t key = 0; key < 200; key++)
        assert_int_equal(map_put(&m, &key, NULL) != NULL, key < 100);
    assert_int_equal(m.n, 100);
    uint64_t key = 5;
    bool is_new;
    assert_non_null(map_put(&m, &key, &is_new)); /* present: needs no room */
    assert_false(is_new);
    assert_true(map_remove(&m, &key));
    key = 1000;
    assert_non_null(map_put(&m, &key, &is_new));
    assert_true(is_new);
    map_clear(&m);
    mem_check_empty(&mem);
}

/* Keys and values of odd lengths; values stay aligned to eight bytes. */
static void test_shapes(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (size_t key_len = 1; key_len <= 40; key_len++) {
        struct map m;
        size_t value_len = 40 - key_len;
        uint8_t key[40] = {0};
        map_init(&m, &mem, (struct map_seed){3, key_len}, key_len, value_len, 1000);
        for (unsigned i = 0; i < 200; i++) {
            key[key_len - 1] = (uint8_t)i;
            uint8_t *value = map_put(&m, key, NULL);
            assert_int_equal((uintptr_t)value % 8, 0);
            memset(value, (int)i, value_len);
        }
        for (unsigned i = 0; i < 200; i++) {
            key[key_len - 1] = (uint8_t)i;
            uint8_t *value = map_get(&m, key);
            assert_non_null(value);
            for (size_t j = 0; j < value_len; j++)
                assert_int_equal(value[j], i);
        }
        map_clear(&m);
    }
    mem_check_empty(&mem);
}

static bool fill_map(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct map m;
    bool is_ok = true;
    map_init(&m, mem, (struct map_seed){4, 5}, sizeof(uint32_t), sizeof(uint32_t), 1000);
    for (uint32_t key = 0; key < 100 && is_ok; key++) {
        uint32_t *value = map_put(&m, &key, NULL);
        is_ok = value != NULL;
        if (is_ok)
            *value = key;
        for (uint32_t old = 0; old < m.n; old++)
            assert_int_equal(*(uint32_t *)map_get(&m, &old), old); /* none is lost */
    }
    map_clear(&m);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(fill_map, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_vectors), cmocka_unit_test(test_model),
        cmocka_unit_test(test_limit),           cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
