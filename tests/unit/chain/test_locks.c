#include "../../test_util.h"
#include "chain/locks.h"
#include "header_maker.h"

#define N_HEADERS 100u
#define STEP_S    1000u /* between headers, so medians of full windows are 5 of them behind */
#define BY_TIME   SEQUENCE_LOCK_BY_TIME
#define OFF       SEQUENCE_LOCK_OFF

struct world {
    struct mem mem;
    struct header_chain *c;
    uint32_t tip;
};

static int set_up(void **state)
{
    static struct world w;
    const struct chain_params *p = chain_params_find("regtest");
    mem_init(&w.mem, MEM_NO_BUDGET, NULL);
    if (header_chain_new(&w.c, &w.mem, header_maker_seed, p, N_HEADERS + 1) != ERR_OK)
        return -1;
    for (uint32_t i = 1; i <= N_HEADERS; i++) {
        struct hash256 hash;
        struct reject r;
        struct block_header h = make_header(p, header_hash(w.c, w.tip),
                                            header_time(w.c, w.tip) + STEP_S, 0x207fffff, 0, &hash);
        if (header_chain_add(w.c, &h, &hash, INT64_C(1) << 40, &w.tip, &r) != VERDICT_VALID)
            return -1;
    }
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    header_chain_free(w->c);
    mem_check_empty(&w->mem);
    return 0;
}

static bool holds(const struct world *w, uint32_t version, uint32_t sequence, uint32_t coin_height,
                  uint32_t parent_height)
{
    struct tx_in in = {.sequence = sequence};
    struct tx t = {.version = version, .n_in = 1, .in = &in};
    struct coin coin = {.height = coin_height};
    return tx_locks_hold(&t, &coin, w->c, header_ancestor(w->c, w->tip, parent_height));
}

/* BIP 68, "Specification": a coin of height h with n locks blocks before height h + n. */
static void test_by_height(void **state)
{
    const struct world *w = *state;
    for (uint32_t n = 0; n < 12; n++) {
        for (uint32_t parent = 50; parent < 70; parent++)
            assert_int_equal(holds(w, 2, n, 50, parent), parent + 1 >= 50 + n);
    }
    assert_true(holds(w, 2, 0xff000000 & ~OFF & ~BY_TIME, 50, 50)); /* only 16 bits count */
    assert_false(holds(w, 2, 0xffff, 1, N_HEADERS));
}

/* Counted in 512 seconds from the median time before the coin's block to the one before ours. */
static void test_by_time(void **state)
{
    const struct world *w = *state;
    for (uint32_t n = 0; n < 12; n++) {
        for (uint32_t parent = 50; parent < 70; parent++) {
            uint32_t elapsed = (parent - 49) * STEP_S;
            assert_int_equal(holds(w, 2, BY_TIME | n, 50, parent), elapsed >= 512 * n);
        }
    }
    /* a coin of genesis' height counts from genesis itself */
    assert_true(holds(w, 2, BY_TIME | 1, 0, N_HEADERS));
}

static void test_not_bound(void **state)
{
    const struct world *w = *state;
    assert_false(holds(w, 2, 1000, 50, 60));
    assert_true(holds(w, 1, 1000, 50, 60));
    assert_true(holds(w, 0, 1000, 50, 60));
    assert_false(holds(w, 0x80000000u, 1000, 50, 60)); /* versions have no sign here */
    assert_false(holds(w, UINT32_MAX, 1000, 50, 60));
    assert_true(holds(w, 2, OFF | 1000, 50, 60));
    assert_true(holds(w, 2, OFF | BY_TIME | 1000, 50, 60));
}

/* Every input counts. */
static void test_many_inputs(void **state)
{
    const struct world *w = *state;
    struct tx_in in[3] = {{.sequence = 1}, {.sequence = OFF}, {.sequence = 20}};
    struct coin coins[3] = {{.height = 40}, {.height = 60}, {.height = 41}};
    struct tx t = {.version = 2, .n_in = 3, .in = in};
    assert_true(tx_locks_hold(&t, coins, w->c, header_ancestor(w->c, w->tip, 60)));
    coins[2].height = 42;
    assert_false(tx_locks_hold(&t, coins, w->c, header_ancestor(w->c, w->tip, 60)));
    assert_true(tx_locks_hold(&t, coins, w->c, header_ancestor(w->c, w->tip, 61)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_height),
        cmocka_unit_test(test_by_time),
        cmocka_unit_test(test_not_bound),
        cmocka_unit_test(test_many_inputs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
