#include "base/rng.h"
#include "chain/coin.h"
#include "test_util.h"

/* Amounts: Bitcoin Core src/test/compress_tests.cpp, values. */
static void test_amounts(void **state)
{
    (void)state;
    static const struct {
        uint64_t sats, compressed;
    } rows[] = {
        {0, 0},         {1, 1},           {1000000, 7},
        {100000000, 9}, {5000000000, 50}, {2100000000000000, 21000000},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(amount_compress(rows[i].sats) == rows[i].compressed);
        assert_true(amount_decompress(rows[i].compressed) == rows[i].sats);
    }
    struct rng rng;
    rng_init(&rng, 3);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t sats = rng_u64(&rng) >> 8 >> rng_below(&rng, 56);
        for (uint32_t zeros = rng_below(&rng, 12); zeros && sats < UINT64_C(1) << 56; zeros--)
            sats *= 10;
        assert_true(amount_decompress(amount_compress(sats)) == sats);
        assert_true(amount_compress(amount_decompress(i)) == i);
    }
}

/* VARINT: Bitcoin Core src/serialize.h, the examples in its comment, and the ends. */
static void test_varints(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        const char *hex;
    } rows[] = {
        {0, "00"},
        {1, "01"},
        {127, "7f"},
        {128, "8000"},
        {255, "807f"},
        {256, "8100"},
        {16383, "fe7f"},
        {16384, "ff00"},
        {16511, "ff7f"},
        {65535, "82fe7f"},
        {1ull << 32, "8efefeff00"},
        {UINT64_MAX, "80fefefefefefefefe7f"},
    };
    uint8_t want[16], got[16];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes b = test_hex(rows[i].hex, want, sizeof want);
        struct writer w = writer_init(got, sizeof got);
        writer_varint(&w, rows[i].v);
        test_assert_bytes(writer_bytes(&w), b);
        assert_int_equal(varint_len(rows[i].v), b.len);
        struct reader r = reader_init(b);
        assert_true(reader_varint(&r) == rows[i].v);
        assert_int_equal(reader_end(&r), ERR_OK);
        for (size_t len = 0; len < b.len; len++) {
            r = reader_init(bytes_sub(b, 0, len));
            assert_true(reader_varint(&r) == 0);
            assert_int_equal(r.err.code, ERR_TRUNCATED);
        }
    }
    static const char *const too_large[] = {"80fefefefefefefeff00", "80fefefefefefefefe8000",
                                            "ffffffffffffffffffff7f"};
    for (size_t i = 0; i < COUNT_OF(too_large); i++) {
        struct reader r = reader_init(test_hex(too_large[i], want, sizeof want));
        reader_varint(&r);
        assert_int_equal(r.err.code, ERR_MALFORMED);
    }
}

/* The generator of secp256k1 (SEC 2, 2.4.1), short and long. */
#define G_X "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
#define G_Y "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
/* y has the other parity: the field's prime minus G_Y */
#define G_Y_ODD "b7c52588d95c3b9aa25b0403f1eef75702e84bb7597aabe663b82f6f04ef2777"
#define H20     "000102030405060708090a0b0c0d0e0f10111213"

static const struct {
    const char *name, *script, *compressed;
} scripts[] = {
    {"P2PKH", "76a914" H20 "88ac", "00" H20},
    {"P2SH", "a914" H20 "87", "01" H20},
    {"P2PK even", "2102" G_X "ac", "02" G_X},
    {"P2PK odd", "2103" G_X "ac", "03" G_X},
    {"P2PK long even", "4104" G_X G_Y "ac", "04" G_X},
    {"P2PK long odd", "4104" G_X G_Y_ODD "ac", "05" G_X},
    {"P2PK hybrid stays", "4106" G_X G_Y "ac", "4906" G_X G_Y "ac" /* 67 + 6 before it */},
    {"P2PK short, no point", "2102" H20 "ffffffffffffffffffffffffac",
     "02" H20 "ffffffffffffffffffffffff"},
    {"empty", "", "06"},
    {"P2WPKH", "0014" H20, "1c0014" H20},
    {"P2PKH but for a byte", "76a914" H20 "88ad", "1f76a914" H20 "88ad"},
    {"P2SH but for a byte", "a914" H20 "88", "1da914" H20 "88"},
};

static void test_scripts(void **state)
{
    (void)state;
    uint8_t a[256], b[256], got[256];
    struct mem mem;
    struct arena arena;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bytes script = test_hex(scripts[i].script, a, sizeof a), out;
        struct bytes form;
        if (i == 6) { /* the hybrid key: length, then the script itself */
            b[0] = 67 + 6;
            memcpy(b + 1, a, 67);
            form = bytes_of(b, 68);
        } else {
            form = test_hex(scripts[i].compressed, b, sizeof b);
        }
        struct writer w = writer_init(got, sizeof got);
        script_write_compressed(&w, script);
        test_assert_bytes(writer_bytes(&w), form);
        uint8_t *exact = test_exact_copy(form);
        struct reader r = reader_init(bytes_of(exact, form.len));
        assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_OK);
        test_assert_bytes(out, script);
        assert_int_equal(reader_end(&r), ERR_OK);
        for (size_t len = 0; len < form.len; len++) {
            r = reader_init(bytes_of(exact, len));
            assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_TRUNCATED);
        }
        free(exact);
    }
    arena_clear(&arena);
    mem_check_empty(&mem);
}

static void test_odd_scripts(void **state)
{
    (void)state;
    uint8_t in[64];
    struct mem mem;
    struct arena arena;
    struct bytes out;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, SIZE_MAX);
    /* x = 5 has no y on the curve */
    struct reader r = reader_init(test_hex(
        "040000000000000000000000000000000000000000000000000000000000000005", in, sizeof in));
    assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_MALFORMED);

    /* 10,000 bytes are kept, 10,001 become OP_RETURN, and what follows is in its place. */
    for (size_t len = COIN_SCRIPT_LEN_MAX; len <= COIN_SCRIPT_LEN_MAX + 1; len++) {
        uint8_t *buf = calloc(1, len + 16);
        assert_non_null(buf);
        struct writer w = writer_init(buf, len + 16);
        writer_varint(&w, len + 6);
        writer_fill(&w, 0x51, len);
        writer_u8(&w, 0x99);
        r = reader_init(writer_bytes(&w));
        assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_OK);
        assert_int_equal(out.len, len == COIN_SCRIPT_LEN_MAX ? len : 1);
        assert_int_equal(out.data[0], len == COIN_SCRIPT_LEN_MAX ? 0x51 : 0x6a);
        assert_int_equal(reader_u8(&r), 0x99);
        r = reader_init(bytes_of(buf, len));
        assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_TRUNCATED);
        free(buf);
    }
    /* A length that wraps when anything is added or taken away. */
    r = reader_init(test_hex("80fefefefefefefefe7f00", in, sizeof in));
    assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_TRUNCATED);
    mem.fail_at = 1;
    arena_clear(&arena);
    r = reader_init(test_hex("00" H20, in, sizeof in));
    assert_int_equal(script_read_compressed(&r, &arena, &out), ERR_NO_MEMORY);
    arena_clear(&arena);
    mem_check_empty(&mem);
}

static void assert_coin_equal(const struct coin *a, const struct coin *b)
{
    assert_true(a->value_sat == b->value_sat && a->height == b->height &&
                a->is_coinbase == b->is_coinbase);
    test_assert_bytes(a->script, b->script);
}

static void test_coins(void **state)
{
    (void)state;
    struct mem mem;
    struct arena arena;
    struct rng rng;
    uint8_t script[300], buf[400];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, SIZE_MAX);
    rng_init(&rng, 11);
    for (uint32_t i = 0; i < 5000; i++) {
        struct coin c = {.value_sat = (int64_t)rng_below64(&rng, (uint64_t)MONEY_SATS_MAX + 1),
                         .height = rng_below(&rng, 1u << 31),
                         .is_coinbase = i & 1,
                         .script = {script, rng_below(&rng, sizeof script)}};
        rng_fill(&rng, script, sizeof script);
        if (i % 3 == 0)
            c.script = test_hex(scripts[i % COUNT_OF(scripts)].script, script, sizeof script);
        struct writer w = writer_init(buf, coin_len_max(&c));
        coin_write(&w, &c);
        assert_int_equal(writer_end(&w), ERR_OK);
        struct coin got;
        struct reader r = reader_init(writer_bytes(&w));
        assert_int_equal(coin_read(&r, &arena, &got), ERR_OK);
        assert_int_equal(reader_end(&r), ERR_OK);
        assert_coin_equal(&got, &c);
        size_t cut = rng_below(&rng, (uint32_t)w.pos);
        r = reader_init(bytes_of(buf, cut));
        assert_int_equal(coin_read(&r, &arena, &got), ERR_TRUNCATED);
        arena_reset(&arena);
    }
    arena_clear(&arena);
}

/* code, amount, script */
static void test_coins_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hex;
        enum err_code code;
    } rows[] = {
        {"height 2^31 - 1, coinbase",
         "8efefefe7f"
         "00"
         "06",
         ERR_OK},
        {"height 2^31",
         "8efefeff00"
         "00"
         "06",
         ERR_MALFORMED},
        {"21 million",
         "00"
         "8980dd40"
         "06",
         ERR_OK},
        {"above 21 million",
         "00"
         "8980dd4a"
         "06",
         ERR_MALFORMED},
        {"a value that wraps",
         "00"
         "80fefefefefefefefe7f"
         "06",
         ERR_MALFORMED},
    };
    uint8_t in[64];
    struct mem mem;
    struct arena arena;
    struct coin c;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reader r = reader_init(test_hex(rows[i].hex, in, sizeof in));
        enum err_code code = coin_read(&r, &arena, &c);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].name, err_code_name(code));
    }
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_amounts), cmocka_unit_test(test_varints),
        cmocka_unit_test(test_scripts), cmocka_unit_test(test_odd_scripts),
        cmocka_unit_test(test_coins),   cmocka_unit_test(test_coins_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
