#include "base/rng.h"
#include "test_util.h"
#include "torrent/tag_index.h"

#define N_KEYS 600u

/* The model: which positions are inside, and their tags. Tags are few, so that runs are long and
 * equal tags common. */
struct model {
    bool is_inside[N_KEYS];
    uint32_t tags[N_KEYS];
};

static void compare(const struct tag_index *x, const struct model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_KEYS; i++) {
        uint32_t cursor = 0, got;
        unsigned n_found = 0;
        n += m->is_inside[i];
        while ((got = tag_index_next(x, m->tags[i], &cursor)) != TAG_INDEX_NONE) {
            assert_true(m->is_inside[got]);
            assert_int_equal(m->tags[got], m->tags[i]);
            n_found += got == i;
        }
        assert_int_equal(n_found, m->is_inside[i]);
    }
    assert_int_equal(x->n, n);
    tag_index_check(x);
}

static void test_against_model(void **state)
{
    (void)state;
    static const uint32_t n_tags[] = {3, 40, UINT32_MAX};
    for (size_t k = 0; k < COUNT_OF(n_tags); k++) {
        struct mem mem;
        struct rng rng;
        struct tag_index x = {0};
        struct model m = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        rng_init(&rng, k);
        for (unsigned step = 0; step < 20000; step++) {
            uint32_t i = rng_below(&rng, step % 4000 < 2000 ? N_KEYS : 50);
            if (!m.is_inside[i]) {
                m.tags[i] = rng_below(&rng, n_tags[k]);
                assert_true(tag_index_reserve(&x, &mem, x.n + 1));
                tag_index_put(&x, m.tags[i], i);
            } else {
                tag_index_remove(&x, m.tags[i], i);
            }
            m.is_inside[i] = !m.is_inside[i];
            if (step % 500 == 0)
                compare(&x, &m);
        }
        compare(&x, &m);
        tag_index_clear(&x, &mem);
        mem_check_empty(&mem);
    }
}

static void test_move(void **state)
{
    (void)state;
    struct mem mem;
    struct tag_index x = {0};
    uint32_t cursor = 0;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(tag_index_next(&x, 5, &cursor), TAG_INDEX_NONE); /* empty, no slots */
    assert_true(tag_index_reserve(&x, &mem, 2));
    tag_index_put(&x, 5, 1);
    tag_index_put(&x, 5, 2);
    tag_index_move(&x, 5, 1, 7);
    cursor = 0;
    assert_int_equal(tag_index_next(&x, 5, &cursor), 7);
    assert_int_equal(tag_index_next(&x, 5, &cursor), 2);
    assert_int_equal(tag_index_next(&x, 5, &cursor), TAG_INDEX_NONE);
    tag_index_clear(&x, &mem);
}

static void test_refused_memory_changes_nothing(void **state)
{
    (void)state;
    struct mem mem;
    struct tag_index x = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    mem.fail_at = 1;
    assert_false(tag_index_reserve(&x, &mem, 1));
    assert_true(tag_index_reserve(&x, &mem, 12));
    for (uint32_t i = 0; i < 12; i++)
        tag_index_put(&x, i, i);
    mem.fail_at = 1;
    assert_false(tag_index_reserve(&x, &mem, 13));
    tag_index_check(&x);
    assert_int_equal(x.n, 12);
    tag_index_clear(&x, &mem);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_refused_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
