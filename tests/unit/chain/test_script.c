#include "chain/script.h"
#include "chain/script_num.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "test_util.h"

static struct bytes script(const char *hex)
{
    static uint8_t room[16][600];
    static unsigned turn;
    return test_hex(hex, room[turn++ % 16], sizeof room[0]);
}

/* Walks to the end; the number of opcodes, or -1 for a malformed push. */
static int walk(struct bytes s)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    int n = 0;
    while (script_next(s, &pos, &op, &push))
        n++;
    return pos == s.len ? n : -1;
}

static void test_walk(void **state)
{
    static const struct {
        const char *hex;
        int n;
    } rows[] = {
        {"", 0},          {"00", 1},         {"51ac", 2},          {"02aabb87", 2},
        {"02aa", -1},     {"4c", -1},        {"4c01", -1},         {"4c01aa", 1},
        {"4d0100", -1},   {"4d0100aa51", 2}, {"4e01000000aa", 1},  {"4effffffff", -1},
        {"4e010000", -1}, {"4c00", 1},       {"4effffff7faa", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes s = script(rows[i].hex);
        uint8_t *copy = test_exact_copy(s);
        assert_int_equal(walk(bytes_of(copy, s.len)), rows[i].n);
        free(copy);
    }
}

static void test_flags(void **state)
{
    uint32_t f;
    (void)state;
    assert_true(script_flags_parse(BYTES_LIT("P2SH,WITNESS"), &f));
    assert_int_equal(f, SCRIPT_P2SH | SCRIPT_WITNESS);
    assert_true(script_flags_parse(BYTES_LIT("NONE"), &f));
    assert_int_equal(f, 0);
    assert_true(script_flags_parse(BYTES_LIT(""), &f));
    assert_int_equal(f, 0);
    f = 9;
    assert_false(script_flags_parse(BYTES_LIT("P2SH,P2S"), &f));
    assert_int_equal(f, 9);
    for (unsigned i = 0; i < SCRIPT_N_FLAGS; i++) {
        assert_true(script_flags_parse(bytes_of_str(script_flag_name(i)), &f));
        assert_int_equal(f, 1u << i);
    }
    assert_string_equal(script_flag_name(SCRIPT_N_FLAGS), "UNKNOWN");
}

#define HASH20 "1111111111111111111111111111111111111111"
#define HASH32 "2222222222222222222222222222222222222222222222222222222222222222"
#define KEY33  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

/* Names as getblock prints them. */
static void test_types(void **state)
{
    static const struct {
        const char *hex, *name;
    } rows[] = {
        {"76a914" HASH20 "88ac", "pubkeyhash"},
        {"a914" HASH20 "87", "scripthash"},
        {"0014" HASH20, "witness_v0_keyhash"},
        {"0020" HASH32, "witness_v0_scripthash"},
        {"5120" HASH32, "witness_v1_taproot"},
        {"51024e73", "anchor"},
        {"5220" HASH32, "witness_unknown"},
        {"5114" HASH20, "witness_unknown"},
        {"0015" HASH20 "11", "nonstandard"},
        {"21" KEY33 "ac", "pubkey"},
        {"2104" HASH32 "ac", "nonstandard"},
        {"6a", "nulldata"},
        {"6a0411223344", "nulldata"},
        {"6aac", "nonstandard"},
        {"5121" KEY33 "51ae", "multisig"},
        {"5121" KEY33 "21" KEY33 "52ae", "multisig"},
        {"5221" KEY33 "21" KEY33 "0102ae", "nonstandard"}, /* not the shortest way */
        {"5321" KEY33 "21" KEY33 "52ae", "nonstandard"},
        {"5121" KEY33 "52ae", "nonstandard"},
        {"0021" KEY33 "51ae", "nonstandard"},
        {"", "nonstandard"},
        {"ae", "nonstandard"},
        {"51", "nonstandard"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(script_type_name(script(rows[i].hex)), rows[i].name);
}

static void test_shapes(void **state)
{
    unsigned version;
    struct bytes program;
    uint8_t large[SCRIPT_LEN_MAX + 1] = {0};
    (void)state;
    assert_true(script_witness_program(script("600201ff"), &version, &program));
    assert_int_equal(version, 16);
    assert_int_equal(program.len, 2);
    assert_false(script_witness_program(script("600101"), &version, &program));
    assert_false(script_witness_program(script("4f020101"), &version, &program));
    assert_false(script_witness_program(script("514c020101"), &version, &program));
    assert_true(script_is_push_only(script("0051604f5002aabb")));
    assert_false(script_is_push_only(script("61")));
    assert_false(script_is_push_only(script("0511")));
    assert_true(script_is_unspendable(script("6a")));
    assert_false(script_is_unspendable(script("516a")));
    assert_false(script_is_unspendable((struct bytes){0}));
    assert_false(script_is_unspendable(bytes_of(large, SCRIPT_LEN_MAX)));
    assert_true(script_is_unspendable(bytes_of(large, SCRIPT_LEN_MAX + 1)));
}

static void test_sigops(void **state)
{
    (void)state;
    assert_int_equal(script_sigops(script("acad"), false), 2);
    assert_int_equal(script_sigops(script("52ae"), false), 20);
    assert_int_equal(script_sigops(script("52ae"), true), 2);
    assert_int_equal(script_sigops(script("60af"), true), 16);
    assert_int_equal(script_sigops(script("0111ae"), true), 20); /* 17 is no OP_n */
    assert_int_equal(script_sigops(script("63ac67ac68"), true), 2);
    assert_int_equal(script_sigops(script("ac05ac"), true), 1); /* up to the broken push */
    assert_int_equal(script_sigops(script("ba"), true), 0);     /* CHECKSIGADD does not count */
}

struct cost_row {
    const char *name, *script_sig, *spent, *witness;
    uint32_t n_witness;
    uint64_t cost;
};

/* BIP 141, "Sigops". One input, one output OP_CHECKSIG (cost 4). */
static void test_sigop_cost(void **state)
{
    static const struct cost_row rows[] = {
        {"bare", "", "ac", "", 0, 4},
        {"in scriptSig", "ac", "51", "", 0, 8},
        {"P2SH, unknown n", "0261ae", "a914" HASH20 "87", "", 0, 4 + 80},
        {"P2SH", "0252ae", "a914" HASH20 "87", "", 0, 4 + 8},
        {"P2SH not push only", "610252ae", "a914" HASH20 "87", "", 0, 4},
        {"P2SH, OP_1 last", "0252ae51", "a914" HASH20 "87", "", 0, 4},
        {"key hash", "", "0014" HASH20, "", 0, 5},
        {"script hash", "", "0020" HASH32, "01aa0252ae", 2, 6},
        {"script hash, no witness", "", "0020" HASH32, "", 0, 4},
        {"version 1", "", "5120" HASH32, "0252ae", 1, 4},
        {"nested key hash", "160014" HASH20, "a914" HASH20 "87", "", 0, 5},
        {"nested script hash", "220020" HASH32, "a914" HASH20 "87", "0252ae", 1, 6},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tx_in in = {.script_sig = script(rows[i].script_sig),
                           .witness = script(rows[i].witness),
                           .n_witness = rows[i].n_witness};
        struct tx_out out = {.script = script("ac")}, spent = {.script = script(rows[i].spent)};
        struct tx t = {.n_in = 1, .n_out = 1, .in = &in, .out = &out};
        assert_int_equal(tx_sigop_cost(&t, &spent, SCRIPT_P2SH | SCRIPT_WITNESS), rows[i].cost);
    }
}

static void test_coinbase_cost(void **state)
{
    struct tx_in in = {.prev.n = UINT32_MAX, .script_sig = BYTES_LIT("\xac")};
    struct tx t = {.n_in = 1, .in = &in};
    (void)state;
    assert_int_equal(tx_sigop_cost(&t, NULL, SCRIPT_P2SH | SCRIPT_WITNESS), 4);
}

static void test_numbers(void **state)
{
    static const struct {
        const char *hex;
        int64_t v;
        bool is_minimal;
    } rows[] = {
        {"", 0, true},
        {"00", 0, false},
        {"80", 0, false},
        {"01", 1, true},
        {"81", -1, true},
        {"7f", 127, true},
        {"8000", 128, true},
        {"ff", -127, true},
        {"8080", -128, true},
        {"0100", 1, false},
        {"0180", -1, false},
        {"ff7f", 32767, true},
        {"ffffff7f", 2147483647, true},
        {"ffffffff", -2147483647, true},
    };
    int64_t v;
    uint8_t room[SCRIPT_NUM_ROOM];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes b = script(rows[i].hex);
        assert_true(script_num_read(b, false, 4, &v));
        assert_true(v == rows[i].v);
        assert_int_equal(script_num_read(b, true, 4, &v), rows[i].is_minimal);
        if (rows[i].is_minimal)
            test_assert_bytes(bytes_of(room, script_num_write(rows[i].v, room)), b);
    }
    assert_false(script_num_read(script("0102030405"), false, 4, &v));
    assert_true(script_num_read(script("0102030485"), false, 5, &v));
    assert_true(v == -INT64_C(0x0504030201));
    assert_int_equal(script_num_write(INT64_MIN, room), 9);
}

static void test_bool_and_pushes(void **state)
{
    (void)state;
    assert_false(script_bool(script("")));
    assert_false(script_bool(script("0000")));
    assert_false(script_bool(script("000080")));
    assert_true(script_bool(script("8000")));
    assert_true(script_bool(script("0001")));
    assert_true(script_push_is_minimal(OP_0, script("")));
    assert_false(script_push_is_minimal(OP_PUSHDATA1, script("")));
    assert_false(script_push_is_minimal(1, script("01")));
    assert_false(script_push_is_minimal(1, script("81")));
    assert_true(script_push_is_minimal(1, script("11")));
    assert_true(script_push_is_minimal(1, script("00")));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(script_op_name(OP_DUP), "OP_DUP");
    assert_string_equal(script_op_name(OP_16), "16");
    assert_string_equal(script_op_name(0xff), "OP_UNKNOWN");
    for (unsigned e = 0; e < SCRIPT_ERR_COUNT; e++) {
        assert_non_null(script_err_name((enum script_err)e));
        assert_non_null(script_err_text((enum script_err)e));
    }
    assert_string_equal(script_err_name(SCRIPT_ERR_EVAL_FALSE), "EVAL_FALSE");
    assert_string_equal(script_err_name(SCRIPT_ERR_COUNT), "UNKNOWN_ERROR");
}

/* Bitcoin Core, CScript::operator<<: at each bound the next longer form. */
static void test_write_push(void **state)
{
    static const struct {
        size_t len;
        const char *head_hex;
    } rows[] = {
        {0, "00"},     {1, "01"},       {75, "4b"},        {76, "4c4c"},
        {255, "4cff"}, {256, "4d0001"}, {65535, "4dffff"}, {65536, "4e00000100"},
    };
    (void)state;
    uint8_t *data = calloc(1, 65536), *room = malloc(65536 + 5), op;
    assert_non_null(data);
    assert_non_null(room);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct writer w = writer_init(room, 65536 + 5);
        struct bytes head = script(rows[i].head_hex), push;
        size_t pos = 0;
        script_write_push(&w, bytes_of(data, rows[i].len));
        assert_int_equal(writer_bytes(&w).len, head.len + rows[i].len);
        assert_memory_equal(room, head.data, head.len);
        assert_true(script_next(writer_bytes(&w), &pos, &op, &push));
        assert_int_equal(pos, head.len + rows[i].len);
        assert_int_equal(push.len, rows[i].len);
    }
    free(room);
    free(data);
}

#define KEY_2 "02a5613bd857b7048924264d1e70e08fb2a7e6527d32b7ab1bb993ac59964ff397"
#define KEY_3 "031ac43c7ff740014c3b33737ede99c967e4764553d1b2b83db77c83b8715fa72d"

static void test_multisig(void **state)
{
    struct script_multisig m;
    (void)state;
    assert_true(script_multisig(script("5121" KEY_2 "21" KEY_3 "52ae"), &m));
    assert_int_equal(m.n_needed, 1);
    assert_int_equal(m.n_keys, 2);
    test_assert_hex(m.keys[0], KEY_2);
    test_assert_hex(m.keys[1], KEY_3);
    /* 01 is to be spelled OP_1 */
    assert_false(script_multisig(script("01014c21" KEY_2 "51ae"), &m));
    assert_false(script_multisig(script("5221" KEY_2 "51ae"), &m)); /* two of one */
    assert_false(script_multisig(script("5021" KEY_2 "51ae"), &m));
    assert_false(script_multisig(script("5121" KEY_2 "51aeae"), &m));
    assert_false(script_multisig(script("5121" KEY_2 "51af"), &m));
    assert_false(script_multisig(script("ae"), &m));
    assert_false(script_multisig(script(""), &m));
}

/* Twenty keys are the most; their number is then a push. */
static void test_multisig_full(void **state)
{
    (void)state;
    for (unsigned n = 20; n <= 21; n++) {
        struct script_multisig m;
        uint8_t room[1000];
        struct writer w = writer_init(room, sizeof room);
        writer_u8(&w, OP_1);
        for (unsigned i = 0; i < n; i++)
            script_write_push(&w, script(KEY_2));
        uint8_t count = (uint8_t)n;
        script_write_push(&w, bytes_of(&count, 1));
        writer_u8(&w, OP_CHECKMULTISIG);
        assert_true(script_multisig(writer_bytes(&w), &m) == (n == 20));
        assert_int_equal(m.n_keys, 20);
    }
}

static void test_pubkey(void **state)
{
    struct bytes key;
    (void)state;
    assert_true(script_pubkey(script("21" KEY_2 "ac"), &key));
    test_assert_hex(key, KEY_2);
    assert_false(script_pubkey(script("21" KEY_2 "ad"), &key));
    assert_false(script_pubkey(script("21"), &key));
    assert_false(script_pubkey(script(""), &key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_sigops),
        cmocka_unit_test(test_sigop_cost),
        cmocka_unit_test(test_coinbase_cost),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bool_and_pushes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_write_push),
        cmocka_unit_test(test_multisig),
        cmocka_unit_test(test_multisig_full),
        cmocka_unit_test(test_pubkey),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
