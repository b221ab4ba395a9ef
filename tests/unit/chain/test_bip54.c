#include "../../test_util.h"
#include "chain/bip54.h"
#include "header_maker.h"

#define NOW_S (INT64_C(1) << 40)

/* --- times ----------------------------------------------------------------------------------- */

struct world {
    struct mem mem;
    struct chain_params p;
    struct header_chain *c;
    uint8_t n;
};

/* Periods of eight headers; work is made up. */
static void world_new(struct world *w, bool has_bip54)
{
    *w = (struct world){.p = *chain_params_find("regtest")};
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    w->p.pow_timespan_s = 8 * w->p.pow_spacing_s;
    w->p.has_bip54 = has_bip54;
    assert_int_equal(header_chain_new(&w->c, &w->mem, header_maker_seed, &w->p, 100), ERR_OK);
}

static void world_free(struct world *w)
{
    header_chain_free(w->c);
    mem_check_empty(&w->mem);
}

static enum verdict add(struct world *w, uint32_t parent, uint32_t time, uint32_t *out_node,
                        struct reject *r)
{
    struct hash256 hash = {{++w->n}};
    struct block_header h = {.version = 4,
                             .prev = *header_hash(w->c, parent),
                             .time = time,
                             .bits = w->p.genesis_header.bits};
    return header_chain_add(w->c, &h, &hash, NOW_S, out_node, r);
}

static uint32_t add_to_height(struct world *w, uint32_t height, uint32_t step)
{
    struct reject r;
    uint32_t node = 0;
    for (uint32_t i = 1; i <= height; i++)
        assert_int_equal(add(w, node, header_time(w->c, node) + step, &node, &r), VERDICT_VALID);
    return node;
}

/* BIP 54, "Specification": the first block of a period. */
static void test_first_of_a_period(void **state)
{
    (void)state;
    for (int has_bip54 = 0; has_bip54 < 2; has_bip54++) {
        struct world w;
        struct reject r;
        uint32_t node;
        world_new(&w, has_bip54);
        uint32_t last = add_to_height(&w, 7, 3000), time = header_time(w.c, last);
        enum verdict v = add(&w, last, time - 7201, &node, &r);
        assert_int_equal(v, has_bip54 ? VERDICT_INVALID : VERDICT_VALID);
        if (has_bip54)
            assert_string_equal(r.reason, "time-timewarp-attack");
        assert_int_equal(add(&w, last, time - 7200, &node, &r), VERDICT_VALID);
        world_free(&w);
    }
}

/* The last of a period, of two: not before the first, which came late. */
static void test_last_of_a_period(void **state)
{
    (void)state;
    for (int has_bip54 = 0; has_bip54 < 2; has_bip54++) {
        struct world w;
        struct reject r;
        uint32_t node;
        world_new(&w, has_bip54);
        uint32_t tip = add_to_height(&w, 7, 1), from = header_time(w.c, tip);
        assert_int_equal(add(&w, tip, from + 100000, &tip, &r), VERDICT_VALID);
        for (uint32_t i = 1; i < 7; i++)
            assert_int_equal(add(&w, tip, from + i, &tip, &r), VERDICT_VALID);
        assert_int_equal(header_height(w.c, tip), 14);
        enum verdict v = add(&w, tip, from + 99999, &node, &r);
        assert_int_equal(v, has_bip54 ? VERDICT_INVALID : VERDICT_VALID);
        if (has_bip54)
            assert_string_equal(r.reason, "time-murch-zawy-attack");
        assert_int_equal(add(&w, tip, from + 100000, &node, &r), VERDICT_VALID);
        world_free(&w);
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void test_block(void **state)
{
    (void)state;
    static const struct {
        uint32_t lock_time, sequence;
        size_t second_len;
        const char *reason;
    } rows[] = {
        {41, 0xfffffffe, 63, NULL},
        {41, 0, 65, NULL},
        {40, 0, 65, "bad-cb-locktime"},
        {42, 0, 65, "bad-cb-locktime"},
        {41, UINT32_MAX, 65, "bad-cb-sequence"},
        {41, 0, 64, "bad-txns-size-64"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tx_in in = {.sequence = rows[i].sequence};
        struct tx txs[2] = {
            {.lock_time = rows[i].lock_time, .n_in = 1, .in = &in, .stripped_len = 100},
            {.stripped_len = rows[i].second_len},
        };
        struct block b = {.txs = txs, .n_txs = 2};
        struct reject r = REJECT_NONE;
        enum verdict v = bip54_check_block(&b, 42, &r);
        assert_int_equal(v, rows[i].reason ? VERDICT_INVALID : VERDICT_VALID);
        if (rows[i].reason)
            assert_string_equal(r.reason, rows[i].reason);
    }
}

/* BIP 54, "Specification": counted as BIP 16 does, input by input. */
static void test_sigops(void **state)
{
    (void)state;
    static const struct {
        const char *sig_hex, *spent_hex;
        uint32_t n;
    } rows[] = {
        {"", "ac", 1},
        {"", "acad", 2},
        {"", "53ae", 3},
        {"", "ae", 20},
        {"", "60af", 16},
        {"ac", "ac", 2},
        {"03525253ae", "51", 20}, /* after a push, no number that counts */
        {"0352ae51", "a914000000000000000000000000000000000000000087", 2},
        {"0252ae", "a914000000000000000000000000000000000000000087", 2},
        {"0252aeac", "a914000000000000000000000000000000000000000087", 1}, /* not push-only */
        {"", "0014000000000000000000000000000000000000000000", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t sig[32], spent_script[32];
        struct tx_in in[2] = {{.script_sig = test_hex(rows[i].sig_hex, sig, sizeof sig)}};
        struct tx_out spent[2] = {
            {.script = test_hex(rows[i].spent_hex, spent_script, sizeof spent_script)},
            {.script = BYTES_LIT("\xac")}};
        struct tx t = {.n_in = 2, .in = in};
        assert_int_equal(bip54_sigops(&t, spent), rows[i].n + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_of_a_period),
        cmocka_unit_test(test_last_of_a_period),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_sigops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
