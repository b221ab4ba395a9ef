#include "test_util.h"
#include "torrent/name_cache.h"

static const struct map_seed seed = {1, 2};

static struct name_entry *get(struct name_cache *c, uint64_t now_us, const char *name)
{
    struct name_entry *e;
    assert_int_equal(name_cache_get(c, now_us, bytes_of_str(name), &e), ERR_OK);
    name_cache_check(c);
    return e;
}

static void answer(struct name_cache *c, uint64_t now_us, const char *name, size_t n)
{
    struct addr addrs[] = {addr_v4(1, 1, 1, 1, 0), addr_v4(2, 2, 2, 2, 0)};
    struct name_entry *e = name_cache_next_to_ask(c);
    assert_non_null(e);
    assert_string_equal(e->text, name);
    name_cache_answer(e, now_us, addrs, n);
    name_cache_check(c);
}

static void test_life_of_a_name(void **state)
{
    (void)state;
    struct mem mem;
    struct name_cache c;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    name_cache_init(&c, &mem, seed, 4);
    assert_true(get(&c, 0, "a")->is_asking);
    assert_true(get(&c, 0, "a")->is_asking); /* asked once */
    answer(&c, 0, "a", 2);
    assert_null(name_cache_next_to_ask(&c));
    struct name_entry *e = get(&c, NAME_LIFE_US - 1, "a");
    assert_false(e->is_asking);
    assert_int_equal(name_entry_addr(e, ADDR_V4)->ip[0], 1);
    assert_null(name_entry_addr(e, ADDR_V6));
    name_cache_turn(&c, BYTES_LIT("a"), ADDR_V4);
    assert_int_equal(name_entry_addr(e, ADDR_V4)->ip[0], 2);
    name_cache_turn(&c, BYTES_LIT("a"), ADDR_V4);
    assert_int_equal(name_entry_addr(e, ADDR_V4)->ip[0], 1);
    name_cache_turn(&c, BYTES_LIT("a"), ADDR_V6); /* none there: nothing happens */
    name_cache_turn(&c, BYTES_LIT("b"), ADDR_V4);
    assert_true(get(&c, NAME_LIFE_US, "a")->is_asking);
    answer(&c, NAME_LIFE_US, "a", 0);
    assert_null(name_entry_addr(get(&c, NAME_LIFE_US + 1, "a"), ADDR_V4));
    assert_true(get(&c, NAME_LIFE_US + NAME_FAILED_LIFE_US, "a")->is_asking);
    name_cache_clear(&c);
    mem_check_empty(&mem);
}

static void test_more_addresses_than_are_kept(void **state)
{
    (void)state;
    struct mem mem;
    struct name_cache c;
    struct addr addrs[40];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    name_cache_init(&c, &mem, seed, 4);
    for (unsigned i = 0; i < COUNT_OF(addrs); i++)
        addrs[i] = addr_v4(1, 1, 1, (uint8_t)i, 0);
    struct name_entry *e = get(&c, 0, "a");
    name_cache_next_to_ask(&c);
    name_cache_answer(e, 0, addrs, COUNT_OF(addrs));
    assert_int_equal(e->n_addrs[0], NAME_ADDRS_MAX);
    name_cache_clear(&c);
}

static void test_overfill(void **state)
{
    (void)state;
    struct mem mem;
    struct name_cache c;
    struct name_entry *e;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    name_cache_init(&c, &mem, seed, 3);
    get(&c, 0, "a");
    answer(&c, 0, "a", 1);
    get(&c, 0, "b");
    answer(&c, 0, "b", 1);
    get(&c, 0, "c");
    name_cache_next_to_ask(&c);
    get(&c, 1, "a"); /* used again: b is now unused for longest */
    get(&c, 1, "d");
    assert_int_equal(c.by_name.n, 3);
    assert_false(get(&c, 1, "a")->is_asking);
    get(&c, 1, "b"); /* takes the place of a */
    assert_int_equal(name_cache_get(&c, 1, BYTES_LIT("e"), &e), ERR_LIMIT); /* all are asked for */
    name_cache_check(&c);
    name_cache_clear(&c);
    mem_check_empty(&mem);
}

static bool run_once(struct mem *mem, void *ctx)
{
    struct name_cache c;
    struct name_entry *e;
    (void)ctx;
    name_cache_init(&c, mem, seed, 3);
    bool is_done = name_cache_get(&c, 0, BYTES_LIT("a"), &e) == ERR_OK;
    name_cache_check(&c);
    name_cache_clear(&c);
    return is_done;
}

static void test_memory_failures(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(run_once, NULL) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_name),
        cmocka_unit_test(test_more_addresses_than_are_kept),
        cmocka_unit_test(test_overfill),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
