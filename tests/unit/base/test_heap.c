#include "base/heap.h"
#include "base/list.h"
#include "base/rng.h"
#include "test_util.h"

#define N_ITEMS 300u

struct item {
    struct heap_node in_heap;
    uint64_t order; /* the model's tie */
    bool is_in;
};

static bool item_before(const struct item *a, const struct item *b)
{
    if (a->in_heap.key != b->in_heap.key)
        return a->in_heap.key < b->in_heap.key;
    return a->order < b->order;
}

static struct item *least(struct item *items)
{
    struct item *best = NULL;
    for (size_t i = 0; i < N_ITEMS; i++)
        if (items[i].is_in && (!best || item_before(&items[i], best)))
            best = &items[i];
    return best;
}

/* Pushes, updates, removals and pops against a scan of all items. Few keys, so many are equal. */
static void test_model(void **state)
{
    (void)state;
    struct mem mem;
    struct heap h;
    struct rng rng;
    struct item items[N_ITEMS] = {0};
    uint64_t n_ordered = 0;
    rng_init(&rng, 6);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    heap_init(&h, &mem);
    for (size_t i = 0; i < N_ITEMS; i++)
        heap_node_init(&items[i].in_heap);
    for (int step = 0; step < 20000; step++) {
        struct item *it = &items[rng_below(&rng, N_ITEMS)];
        uint64_t key = rng_below(&rng, 40);
        switch (rng_below(&rng, 4)) {
        case 0:
            heap_remove(&h, &it->in_heap);
            it->is_in = false;
            break;
        case 1: {
            struct item *want = least(items);
            struct heap_node *got = heap_pop(&h);
            assert_ptr_equal(got, want ? &want->in_heap : NULL);
            if (want)
                want->is_in = false;
            break;
        }
        default:
            if (it->is_in)
                heap_update(&h, &it->in_heap, key);
            else
                assert_int_equal(heap_push(&h, &it->in_heap, key), ERR_OK);
            it->is_in = true;
            it->order = n_ordered++;
        }
        struct item *want = least(items);
        assert_ptr_equal(heap_top(&h), want ? &want->in_heap : NULL);
        if (step % 64 == 0)
            heap_check(&h);
    }
    heap_clear(&h);
    for (size_t i = 0; i < N_ITEMS; i++)
        assert_true(items[i].in_heap.index == HEAP_NOT_IN);
    mem_check_empty(&mem);
}

static void test_equal_keys_keep_their_order(void **state)
{
    (void)state;
    struct mem mem;
    struct heap h;
    struct heap_node nodes[100];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    heap_init(&h, &mem);
    assert_null(heap_pop(&h));
    for (size_t i = 0; i < COUNT_OF(nodes); i++) {
        heap_node_init(&nodes[i]);
        assert_int_equal(heap_push(&h, &nodes[i], 7), ERR_OK);
    }
    for (size_t i = 0; i < COUNT_OF(nodes); i++)
        assert_ptr_equal(heap_pop(&h), &nodes[i]);
    heap_clear(&h);
    mem_check_empty(&mem);
}

static bool push_many(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct heap h;
    struct heap_node nodes[100];
    bool is_ok = true;
    heap_init(&h, mem);
    for (size_t i = 0; i < COUNT_OF(nodes) && is_ok; i++) {
        heap_node_init(&nodes[i]);
        is_ok = heap_push(&h, &nodes[i], 100 - i) == ERR_OK;
        assert_int_equal(nodes[i].index != HEAP_NOT_IN, is_ok);
        heap_check(&h);
    }
    heap_clear(&h);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(push_many, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_equal_keys_keep_their_order),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
