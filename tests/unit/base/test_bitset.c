#include "base/bitset.h"
#include "base/rng.h"
#include "test_util.h"

#define N_MAX 200u

static void check_against(const struct bitset *b, const bool *model, uint32_t n)
{
    uint32_t n_set = 0, next_set = n, next_unset = n;
    for (uint32_t i = n; i-- > 0;) {
        assert_int_equal(bitset_get(b, i), model[i]);
        n_set += model[i];
        if (model[i])
            next_set = i;
        else
            next_unset = i;
        assert_int_equal(bitset_next_set(b, i), next_set);
        assert_int_equal(bitset_next_unset(b, i), next_unset);
    }
    assert_int_equal(b->n_set, n_set);
    assert_int_equal(bitset_is_full(b), n_set == n);
    assert_false(bitset_get(b, n));
    assert_int_equal(bitset_next_set(b, n), n);
    assert_int_equal(bitset_next_unset(b, UINT32_MAX), n);
    struct bytes wire = bitset_bytes(b);
    assert_int_equal(wire.len, (n + 7) / 8);
    for (size_t i = n; i < 8 * wire.len; i++)
        assert_int_equal(wire.data[i / 8] >> (7 - i % 8) & 1, 0);
}

static void test_model(void **state)
{
    (void)state;
    struct mem mem;
    struct rng rng;
    rng_init(&rng, 4);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (uint32_t n = 0; n <= N_MAX; n++) {
        struct bitset b;
        bool model[N_MAX] = {0};
        assert_int_equal(bitset_init(&b, &mem, n), ERR_OK);
        check_against(&b, model, n);
        for (uint32_t step = 0; n && step < 2 * n; step++) {
            uint32_t i = rng_below(&rng, n);
            bool want = rng_below(&rng, 4) > 0;
            assert_int_equal(want ? bitset_set(&b, i) : bitset_unset(&b, i), model[i] != want);
            model[i] = want;
        }
        check_against(&b, model, n);
        bitset_set_all(&b);
        memset(model, true, sizeof model);
        check_against(&b, model, n);
        bitset_unset_all(&b);
        memset(model, false, sizeof model);
        check_against(&b, model, n);
        bitset_clear(&b);
    }
    mem_check_empty(&mem);
}

/* BEP 3, "bitfield": the high bit of the first byte is piece 0; spare bits at the end are zero. */
static void test_wire(void **state)
{
    (void)state;
    struct mem mem;
    struct bitset b;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(bitset_init(&b, &mem, 12), ERR_OK);
    bitset_set(&b, 0);
    bitset_set(&b, 11);
    test_assert_hex(bitset_bytes(&b), "8010");
    assert_int_equal(bitset_read(&b, BYTES_LIT("\x7f\xe0")), ERR_OK);
    assert_int_equal(b.n_set, 10);
    assert_int_equal(bitset_next_set(&b, 0), 1);
    assert_int_equal(bitset_read(&b, BYTES_LIT("\xff\xf8")), ERR_MALFORMED);
    assert_int_equal(bitset_read(&b, BYTES_LIT("\xff\xf1")), ERR_MALFORMED);
    assert_int_equal(bitset_read(&b, BYTES_LIT("\xff")), ERR_MALFORMED);
    assert_int_equal(bitset_read(&b, BYTES_LIT("\xff\xf0\x00")), ERR_MALFORMED);
    assert_int_equal(b.n_set, 10); /* a refused bitfield changes nothing */
    bitset_clear(&b);
    bitset_clear(&b); /* harmless */
    assert_int_equal(bitset_init(&b, &mem, 0), ERR_OK);
    assert_int_equal(bitset_read(&b, (struct bytes){0}), ERR_OK);
    assert_true(bitset_is_full(&b));
    bitset_clear(&b);
    mem_check_empty(&mem);
}

static bool make_bitset(struct mem *mem, void *ctx)
{
    struct bitset b;
    bool is_ok = bitset_init(&b, mem, *(const uint32_t *)ctx) == ERR_OK;
    if (!is_ok)
        assert_int_equal(b.n, 0);
    bitset_clear(&b);
    return is_ok;
}

static void test_failing_memory(void **state)
{
    (void)state;
    uint32_t n = 1000;
    assert_int_equal(test_fail_sweep(make_bitset, &n), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
