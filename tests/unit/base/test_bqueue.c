#include "base/bqueue.h"
#include "base/rng.h"
#include "test_util.h"

#define LIMIT 1000u

/* The queue races a flat array. */
static void test_model(void **state)
{
    (void)state;
    struct mem mem;
    struct bqueue q;
    struct rng rng;
    uint8_t model[LIMIT], next = 0;
    size_t n = 0;
    rng_init(&rng, 5);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    bqueue_init(&q, &mem, LIMIT);
    for (int step = 0; step < 50000; step++) {
        uint8_t in[400];
        size_t len = rng_below(&rng, rng_below(&rng, 8) ? 60 : 400);
        for (size_t i = 0; i < len; i++)
            in[i] = (uint8_t)(next + i);
        if (rng_below(&rng, 2)) {
            enum err_code code = bqueue_push(&q, bytes_of(in, len));
            assert_int_equal(code, n + len > LIMIT ? ERR_LIMIT : ERR_OK);
            if (!code) {
                memcpy(model + n, in, len);
                n += len;
                next = (uint8_t)(next + len);
            }
        } else {
            len = len > n ? n : len;
            bqueue_consume(&q, len);
            n -= len;
            memmove(model, model + len, n);
        }
        struct bytes runs[2];
        size_t n_runs = bqueue_peek2(&q, runs);
        assert_int_equal(runs[0].len + runs[1].len, n);
        assert_int_equal(n_runs, (runs[0].len > 0) + (runs[1].len > 0));
        test_assert_bytes(runs[0], bytes_of(model, runs[0].len));
        test_assert_bytes(runs[1], bytes_of(model + runs[0].len, runs[1].len));
        assert_int_equal(bqueue_peek(&q).len, runs[0].len);
        assert_int_equal(bqueue_room(&q), LIMIT - n);
        assert_true(q.cap <= 1024);
    }
    bqueue_clear(&q);
    assert_int_equal(bqueue_room(&q), LIMIT);
    mem_check_empty(&mem);
}

static void test_small_memory_first(void **state)
{
    (void)state;
    struct mem mem;
    struct bqueue q;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    bqueue_init(&q, &mem, 1u << 30);
    assert_int_equal(mem.used_len, 0);
    assert_int_equal(bqueue_push(&q, (struct bytes){0}), ERR_OK);
    assert_int_equal(mem.used_len, 0);
    assert_int_equal(bqueue_push(&q, BYTES_LIT("x")), ERR_OK);
    assert_true(mem.used_len <= 512);
    bqueue_clear(&q);
    bqueue_clear(&q);
    mem_check_empty(&mem);
}

static bool fill_queue(struct mem *mem, void *ctx)
{
    (void)ctx;
    struct bqueue q;
    bool is_ok = true;
    bqueue_init(&q, mem, 10000);
    for (size_t i = 0; i < 90 && is_ok; i++) {
        size_t before = q.len;
        enum err_code code = bqueue_push(&q, bytes_of((char[100]){0}, 100));
        is_ok = code == ERR_OK;
        if (!is_ok) {
            assert_int_equal(code, ERR_NO_MEMORY);
            assert_int_equal(q.len, before);
        }
    }
    bqueue_clear(&q);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(fill_queue, NULL) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_small_memory_first),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
