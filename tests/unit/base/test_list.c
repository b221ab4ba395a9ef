#include "base/list.h"
#include "base/rng.h"
#include "base/size.h"
#include "test_util.h"

struct item {
    struct list_node in_list;
    int value;
};

static void test_order(void **state)
{
    (void)state;
    struct list l;
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&l);
    assert_true(list_is_empty(&l));
    assert_null(list_pop_front(&l));
    list_push_back(&l, &items[1].in_list);
    list_push_back(&l, &items[3].in_list);
    list_push_front(&l, &items[0].in_list);
    list_insert_after(&l, &items[1].in_list, &items[2].in_list);
    int want = 0;
    LIST_EACH(&l, it, struct item, in_list)
    assert_int_equal(it->value, want++);
    assert_int_equal(want, 4);
    LIST_EACH(&l, it, struct item, in_list) /* the element itself may go */
    if (it->value % 2)
        list_remove(&l, &it->in_list);
    assert_int_equal(l.n, 2);
    assert_false(list_node_is_linked(&items[1].in_list));
    assert_true(list_node_is_linked(&items[2].in_list));
    assert_ptr_equal(list_pop_front(&l), &items[0].in_list);
    assert_ptr_equal(list_pop_front(&l), &items[2].in_list);
    assert_true(list_is_empty(&l));
}

static void test_checked_arithmetic(void **state)
{
    (void)state;
    size_t s = 7;
    uint64_t u = 7;
    assert_false(size_add(&s, SIZE_MAX, 1));
    assert_false(size_mul(&s, SIZE_MAX / 2 + 1, 2));
    assert_false(u64_add(&u, UINT64_MAX, 1));
    assert_false(u64_mul(&u, UINT64_MAX / 2 + 1, 2));
    assert_true(s == 7 && u == 7); /* untouched on overflow */
    assert_true(size_add(&s, SIZE_MAX - 1, 1) && s == SIZE_MAX);
    assert_true(u64_mul(&u, 1u << 31, 4) && u == UINT64_C(1) << 33);
    assert_int_equal(div_ceil(0, 5), 0);
    assert_int_equal(div_ceil(10, 5), 2);
    assert_int_equal(div_ceil(11, 5), 3);
    assert_true(div_ceil(UINT64_MAX, 2) == UINT64_C(1) << 63);
    assert_int_equal(u64_min(1, 2), 1);
    assert_int_equal(u64_max(1, 2), 2);
    assert_int_equal(size_min(1, 2), 1);
    assert_int_equal(size_max(1, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_checked_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
