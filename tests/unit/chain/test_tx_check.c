#include "../../test_util.h"
#include "base/rng.h"
#include "chain/tx.h"

/* Transactions as structs: tx_check reads no raw bytes. */
#define N_MAX 3000u

struct world {
    struct mem mem;
    struct arena scratch;
    struct tx tx;
    struct tx_in in[N_MAX];
    struct tx_out out[4];
};

static void world_init(struct world *w, uint32_t n_in, uint32_t n_out)
{
    memset(w, 0, sizeof *w);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    arena_init(&w->scratch, &w->mem, 1u << 20);
    w->tx =
        (struct tx){.n_in = n_in, .n_out = n_out, .in = w->in, .out = w->out, .stripped_len = 100};
    for (uint32_t i = 0; i < n_in; i++)
        w->in[i].prev = (struct outpoint){.txid = {{1}}, .n = i};
}

static void assert_reason(struct world *w, const char *want)
{
    const char *got = tx_check(&w->tx, &w->scratch);
    if (want) {
        assert_non_null(got);
        assert_string_equal(got, want);
    } else {
        assert_null(got);
    }
    arena_clear(&w->scratch);
    mem_check_empty(&w->mem);
}

/* Reasons: Bitcoin Core src/consensus/tx_check.cpp. */
static void test_counts_and_size(void **state)
{
    struct world *w = *state;
    world_init(w, 0, 1);
    assert_reason(w, "bad-txns-vin-empty");
    world_init(w, 1, 0);
    assert_reason(w, "bad-txns-vout-empty");
    world_init(w, 1, 1);
    assert_reason(w, NULL);
    w->tx.stripped_len = 1000000;
    assert_reason(w, NULL);
    w->tx.stripped_len = 1000001;
    assert_reason(w, "bad-txns-oversize");
}

static void test_amounts(void **state)
{
    struct world *w = *state;
    static const struct {
        int64_t a, b;
        const char *reason;
    } rows[] = {
        {0, 0, NULL},
        {MONEY_SATS_MAX, 0, NULL},
        {MONEY_SATS_MAX + 1, 0, "bad-txns-vout-toolarge"},
        {MONEY_SATS_MAX, 1, "bad-txns-txouttotal-toolarge"},
        {1, MONEY_SATS_MAX, "bad-txns-txouttotal-toolarge"},
        {1, MONEY_SATS_MAX - 1, NULL},
        {-1, 0, "bad-txns-vout-negative"},
        {0, -1, "bad-txns-vout-negative"},
        {INT64_MIN, 0, "bad-txns-vout-negative"},
        {INT64_MAX, INT64_MAX, "bad-txns-vout-toolarge"}, /* CVE-2010-5139: no sum wraps */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        world_init(w, 1, 2);
        w->out[0].value_sat = rows[i].a;
        w->out[1].value_sat = rows[i].b;
        assert_reason(w, rows[i].reason);
    }
}

static void test_coinbase_shape(void **state)
{
    struct world *w = *state;
    static const uint8_t script[101];
    static const struct {
        size_t len;
        const char *reason;
    } rows[] = {
        {0, "bad-cb-length"}, {1, "bad-cb-length"}, {2, NULL}, {100, NULL}, {101, "bad-cb-length"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        world_init(w, 1, 1);
        w->in[0].prev = (struct outpoint){.n = UINT32_MAX};
        w->in[0].script_sig = bytes_of(script, rows[i].len);
        assert_reason(w, rows[i].reason);
    }
    world_init(w, 2, 1);
    w->in[1].prev = (struct outpoint){.n = UINT32_MAX};
    assert_reason(w, "bad-txns-prevout-null");
    world_init(w, 1, 1);
    w->in[0].prev = (struct outpoint){.n = 0}; /* the null transaction, output 0: not a coinbase */
    assert_reason(w, NULL);
}

/* One duplicate at any two places, for counts around every threshold. */
static void check_duplicates(struct world *w, struct rng *rng, bool is_crowded, bool has_memory)
{
    static const uint32_t counts[] = {2, 5, 6, 7, 20, 127, 128, 129, 130, 1000};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        for (int round = 0; round < 6; round++) {
            uint32_t n = counts[i];
            world_init(w, n, 1);
            for (uint32_t k = 0; k < n; k++) {
                if (!is_crowded) {
                    rng_fill(rng, &w->in[k].prev, sizeof w->in[k].prev);
                    continue;
                }
                /* the hash reads the first eight bytes and n: all fall on one slot */
                w->in[k].prev.n = 7;
                memcpy(w->in[k].prev.txid.b + 20, &k, sizeof k);
            }
            w->mem.fail_at = has_memory ? 0 : 1;
            assert_reason(w, NULL);
            uint32_t a = rng_below(rng, n), b = (a + 1 + rng_below(rng, n - 1)) % n;
            w->in[a].prev = w->in[b].prev;
            w->mem.fail_at = has_memory ? 0 : 1;
            assert_reason(w, "bad-txns-inputs-duplicate");
        }
    }
}

static void test_duplicate_inputs(void **state)
{
    struct rng rng;
    rng_init(&rng, 17);
    check_duplicates(*state, &rng, false, true);
    check_duplicates(*state, &rng, true, true);
    check_duplicates(*state, &rng, false, false);
    check_duplicates(*state, &rng, true, false);
}

static int set_up(void **state)
{
    *state = malloc(sizeof(struct world));
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_size),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_coinbase_shape),
        cmocka_unit_test(test_duplicate_inputs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
