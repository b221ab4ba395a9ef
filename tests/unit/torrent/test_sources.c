/* The table of who gave what: totals add up, the smallest go when it is full, no memory is no harm. */
#include "test_util.h"

#include "torrent/sources.h"

static struct source source_of(uint32_t n, uint64_t down, uint64_t up)
{
    return (struct source){
        .addr = addr_v4(10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 6881),
        .client = "x",
        .down_len = down,
        .up_len = up,
    };
}

static void add(struct sources *s, uint32_t n, uint64_t down, uint64_t up)
{
    struct source source = source_of(n, down, up);
    sources_add(s, &source);
    sources_check(s);
}

static void test_totals_add_up(void **state)
{
    (void)state;
    struct mem mem;
    struct sources s;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    sources_init(&s, &mem);
    add(&s, 1, 10, 0);
    add(&s, 2, 0, 0); /* gave and took nothing */
    add(&s, 1, 5, 7);
    assert_int_equal(s.n, 1);
    struct source one = source_of(1, 0, 0);
    const struct source *got = sources_find(&s, &one.addr);
    assert_non_null(got);
    assert_int_equal(got->down_len, 15);
    assert_int_equal(got->up_len, 7);
    sources_clear(&s);
    mem_check_empty(&mem);
}

static void test_overfilled(void **state)
{
    (void)state;
    struct mem mem;
    struct sources s;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    sources_init(&s, &mem);
    for (uint32_t i = 0; i < SOURCES_MAX; i++) {
        struct source source = source_of(i, 100 + i, 0);
        sources_add(&s, &source);
    }
    add(&s, 5000, 50, 0); /* smaller than all: not kept */
    assert_int_equal(s.n_forgotten, 1);
    add(&s, 6000, 5000, 0); /* takes the place of the smallest */
    assert_int_equal(s.n_forgotten, 2);
    assert_int_equal(s.n, SOURCES_MAX);
    struct source least = source_of(0, 0, 0), kept = source_of(6000, 0, 0);
    assert_null(sources_find(&s, &least.addr));
    assert_non_null(sources_find(&s, &kept.addr));
    sources_clear(&s);
    mem_check_empty(&mem);
}

static void test_without_memory(void **state)
{
    (void)state;
    struct mem mem;
    struct sources s;
    mem_init(&mem, 0, NULL);
    sources_init(&s, &mem);
    add(&s, 1, 10, 0);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.n_forgotten, 1);
    sources_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_totals_add_up),
        cmocka_unit_test(test_overfilled),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
