#include "test_util.h"

#include "base/rng.h"
#include "chain/undo.h"

static struct bytes script_of(struct rng *rng, struct arena *a)
{
    static const char *const known[] = {
        "76a9140102030405060708090a0b0c0d0e0f101112131488ac", /* P2PKH */
        "a9140102030405060708090a0b0c0d0e0f101112131487",     /* P2SH */
        "00140102030405060708090a0b0c0d0e0f1011121314",       /* P2WPKH */
        "",
        "51",
    };
    uint8_t raw[64];
    if (rng_below(rng, 4) != 0)
        return arena_dup(a, test_hex(known[rng_below(rng, 5)], raw, sizeof raw));
    size_t len = rng_below(rng, 300);
    uint8_t *script = arena_alloc(a, len + 1);
    rng_fill(rng, script, len);
    return bytes_of(script, len);
}

static struct undo_block made(struct rng *rng, struct arena *a)
{
    struct undo_block u = {.n_txs = rng_below(rng, 5)};
    u.txs = arena_calloc(a, u.n_txs + 1, sizeof *u.txs);
    for (uint32_t i = 0; i < u.n_txs; i++) {
        struct undo_tx *t = &u.txs[i];
        t->n_spent = rng_below(rng, 300);
        t->spent = arena_calloc(a, t->n_spent + 1, sizeof *t->spent);
        for (uint32_t k = 0; k < t->n_spent; k++)
            t->spent[k] = (struct coin){
                .value_sat = (int64_t)rng_below64(rng, (uint64_t)MONEY_SATS_MAX + 1),
                .script = script_of(rng, a),
                .height = rng_below(rng, 3) == 0 ? 0 : rng_below(rng, 1u << 30),
                .is_coinbase = rng_below(rng, 2),
            };
    }
    return u;
}

static void assert_same(const struct undo_block *a, const struct undo_block *b)
{
    assert_int_equal(a->n_txs, b->n_txs);
    for (uint32_t i = 0; i < a->n_txs; i++) {
        assert_int_equal(a->txs[i].n_spent, b->txs[i].n_spent);
        for (uint32_t k = 0; k < a->txs[i].n_spent; k++) {
            const struct coin *x = &a->txs[i].spent[k], *y = &b->txs[i].spent[k];
            assert_int_equal(x->value_sat, y->value_sat);
            assert_int_equal(x->height, y->height);
            assert_int_equal(x->is_coinbase, y->is_coinbase);
            test_assert_bytes(x->script, y->script);
        }
    }
}

/* Write, read, each proper prefix, one byte too many. */
static void reading_gives_back_what_was_written(void **state)
{
    struct mem mem;
    struct arena a, b;
    struct rng rng;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 1u << 26);
    arena_init(&b, &mem, 1u << 26);
    rng_init(&rng, 1);
    for (int round = 0; round < 40; round++) {
        struct undo_block u = made(&rng, &a), got;
        struct err err;
        size_t len_max = undo_len(&u);
        uint8_t *out = malloc(len_max + 1);
        struct writer w = writer_init(out, len_max);
        undo_write(&w, &u);
        assert_int_equal(writer_end(&w), ERR_OK);
        struct bytes whole = writer_bytes(&w);
        assert_int_equal(undo_read(whole, &b, &got, &err), ERR_OK);
        assert_same(&u, &got);
        size_t step = whole.len / 200 + 1;
        for (size_t len = 0; len < whole.len; len += step) {
            uint8_t *exact = test_exact_copy(bytes_of(out, len));
            enum err_code code = undo_read(bytes_of(exact, len), &b, &got, &err);
            assert_true(code == ERR_TRUNCATED || code == ERR_LIMIT);
            assert_int_equal(got.n_txs, 0);
            free(exact);
        }
        out[whole.len] = 0;
        assert_int_equal(undo_read(bytes_of(out, whole.len + 1), &b, &got, &err), ERR_MALFORMED);
        free(out);
        arena_reset(&a);
        arena_reset(&b);
    }
    arena_clear(&a);
    arena_clear(&b);
    mem_check_empty(&mem);
}

static const struct {
    const char *name, *hex;
    enum err_code code;
    size_t n_txs;
} golden[] = {
    {"no transactions", "00", ERR_OK, 0},
    /* source: written out by hand after Bitcoin Core's src/undo.h: one transaction, one input,
     * height 1 coinbase (VARINT 3), dummy 0, 50 BTC (VARINT 50), P2PKH of 20 bytes 01 to 14. */
    {"one coin", "0101 03 00 32 00 0102030405060708090a0b0c0d0e0f1011121314", ERR_OK, 1},
    {"height 0: no dummy", "0101 01 32 00 0102030405060708090a0b0c0d0e0f1011121314", ERR_OK, 1},
    {"more transactions than bytes", "fdffff00", ERR_LIMIT, 0},
    {"more inputs than bytes", "01fdffff000000", ERR_LIMIT, 0},
    {"amount beyond all money", "0101 03 00 fffefefefefefefefe7f 06", ERR_MALFORMED, 0},
    {"height beyond 31 bits", "0101 fefefefefe7f 00 32 06", ERR_MALFORMED, 0},
};

static void golden_bytes(void **state)
{
    struct mem mem;
    struct arena a;
    uint8_t raw[128], out[256];
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 1u << 20);
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        struct undo_block u;
        struct err err = {0};
        struct bytes in = test_hex(golden[i].hex, raw, sizeof raw);
        enum err_code code = undo_read(in, &a, &u, &err);
        if (code != golden[i].code)
            fail_msg("%s: %d (%s)", golden[i].name, code, err.what);
        assert_int_equal(u.n_txs, golden[i].n_txs);
        if (code)
            continue;
        struct writer w = writer_init(out, sizeof out);
        undo_write(&w, &u);
        test_assert_bytes(writer_bytes(&w), in);
    }
    arena_clear(&a);
    mem_check_empty(&mem);
}

static bool read_with(struct mem *mem, void *ctx)
{
    struct arena a;
    struct undo_block u;
    struct err err = {0};
    arena_init(&a, mem, 1u << 26);
    enum err_code code = undo_read(*(struct bytes *)ctx, &a, &u, &err);
    assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
    arena_clear(&a);
    return !code;
}

static void memory_may_fail(void **state)
{
    struct mem mem;
    struct arena a;
    struct rng rng;
    (void)state;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, 1u << 26);
    rng_init(&rng, 5);
    struct undo_block u = made(&rng, &a);
    uint8_t *out = malloc(undo_len(&u));
    struct writer w = writer_init(out, undo_len(&u));
    undo_write(&w, &u);
    struct bytes whole = writer_bytes(&w);
    test_fail_sweep(read_with, &whole);
    free(out);
    arena_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_gives_back_what_was_written),
        cmocka_unit_test(golden_bytes),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
