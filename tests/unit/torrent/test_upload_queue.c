#include "test_util.h"

#include "base/rng.h"
#include "torrent/upload_queue.h"

#define MODEL_MAX 64u

static struct wire_block block(uint32_t piece, uint32_t i)
{
    return (struct wire_block){piece, i * 16384, 16384};
}

/* A plain array does the same, over random operations. */
static void test_model(void **state)
{
    (void)state;
    struct mem mem;
    struct rng rng;
    struct upload_queue q;
    struct wire_block model[MODEL_MAX], b, got;
    uint32_t n = 0;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 9);
    upload_queue_init(&q, &mem, MODEL_MAX);
    for (uint32_t step = 0; step < 40000; step++) {
        b = block(rng_below(&rng, 10), rng_below(&rng, 10));
        uint32_t at = 0, what = rng_below(&rng, 100);
        while (at < n && memcmp(&model[at], &b, sizeof b) != 0)
            at++;
        if (what < 60) {
            enum upload_queue_result want = at < n           ? UPLOAD_DUPLICATE
                                            : n == MODEL_MAX ? UPLOAD_FULL
                                                             : UPLOAD_QUEUED;
            assert_int_equal(upload_queue_push(&q, &b), want);
            if (want == UPLOAD_QUEUED)
                model[n++] = b;
        } else if (what < 80) {
            assert_int_equal(upload_queue_pop(&q, &got), n > 0);
            if (n > 0) {
                assert_memory_equal(&got, &model[0], sizeof got);
                memmove(model, model + 1, --n * sizeof *model);
            }
        } else if (what < 99) {
            assert_int_equal(upload_queue_cancel(&q, &b), at < n);
            if (at < n)
                memmove(model + at, model + at + 1, (--n - at) * sizeof *model);
        } else {
            const uint32_t keep[] = {3, 7};
            for (uint32_t i = 0; i < n;) {
                if (model[i].piece == 3 || model[i].piece == 7) {
                    i++;
                    continue;
                }
                assert_true(upload_queue_flush_next(&q, keep, 2, &got));
                assert_memory_equal(&got, &model[i], sizeof got);
                memmove(model + i, model + i + 1, (--n - i) * sizeof *model);
            }
            assert_false(upload_queue_flush_next(&q, keep, 2, &got));
        }
        assert_int_equal(q.n, n);
        upload_queue_check(&q);
    }
    upload_queue_clear(&q);
    mem_check_empty(&mem);
}

static void test_full(void **state)
{
    (void)state;
    struct mem mem;
    struct upload_queue q;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    upload_queue_init(&q, &mem, UPLOAD_QUEUE_N_MAX);
    for (uint32_t i = 0; i < UPLOAD_QUEUE_N_MAX; i++) {
        struct wire_block b = block(i, 0);
        assert_int_equal(upload_queue_push(&q, &b), UPLOAD_QUEUED);
    }
    struct wire_block more = block(UPLOAD_QUEUE_N_MAX, 0), first = block(0, 0);
    assert_int_equal(upload_queue_push(&q, &more), UPLOAD_FULL);
    assert_int_equal(upload_queue_push(&q, &first), UPLOAD_DUPLICATE);
    assert_int_equal(q.len, (uint64_t)UPLOAD_QUEUE_N_MAX * 16384);
    first.len = 100; /* another request at the same place is not the one that waits */
    assert_false(upload_queue_cancel(&q, &first));
    upload_queue_clear(&q);
    mem_check_empty(&mem);
}

/* A fast peer that no one can refuse may ask for so many (transfer_up.c), each for a byte of the same
 * block if it wants: they are told apart as fast as any others, and counted right. */
static void test_more_than_sixteen_bits(void **state)
{
    (void)state;
    struct mem mem;
    struct upload_queue q;
    const uint32_t n = 70000;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    upload_queue_init(&q, &mem, n);
    for (uint32_t i = 0; i < n; i++) {
        struct wire_block b = {7, i, 1};
        assert_int_equal(upload_queue_push(&q, &b), UPLOAD_QUEUED);
    }
    struct wire_block b = {7, n - 1, 1};
    assert_int_equal(upload_queue_push(&q, &b), UPLOAD_DUPLICATE);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(upload_queue_pop(&q, &b));
        assert_int_equal(b.begin, i);
    }
    upload_queue_check(&q);
    upload_queue_clear(&q);
    mem_check_empty(&mem);
}

static bool fill(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct upload_queue q;
    upload_queue_init(&q, mem, 100);
    bool is_ok = true;
    for (uint32_t i = 0; i < 50; i++) {
        struct wire_block b = block(i, 1);
        is_ok &= upload_queue_push(&q, &b) == UPLOAD_QUEUED;
        upload_queue_check(&q);
    }
    upload_queue_clear(&q);
    return is_ok;
}

static void test_shortage_of_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(fill, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_more_than_sixteen_bits),
        cmocka_unit_test(test_shortage_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
