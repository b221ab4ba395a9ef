#include "../../test_util.h"
#include "chain/hash256.h"
#include "chain/script_asm.h"

static char *assemble(const char *hex, bool has_signatures)
{
    static uint8_t script[1000];
    static char text[sizeof script * SCRIPT_ASM_GROWTH + 1];
    struct bytes s = test_hex(hex, script, sizeof script);
    struct writer w = writer_init(text, s.len * SCRIPT_ASM_GROWTH);
    script_asm_write(&w, s, has_signatures);
    assert_true(writer_ok(&w));
    text[w.pos] = '\0';
    return text;
}

static const struct {
    const char *hex, *text;
} rows[] = {
    {"", ""},
    /* Bitcoin Core, test/functional/data/rpc_decodescript.json */
    {"5120eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
     "1 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"},
    {"5102eeee", "1 -28398"},
    {"a914eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee87",
     "OP_HASH160 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee OP_EQUAL"},
    {"6a00", "OP_RETURN 0"},
    {"6aee", "OP_RETURN OP_UNKNOWN"},
    {"6a02ee", "OP_RETURN [error]"},
    {"ba", "OP_CHECKSIGADD"},
    {"50", "OP_RESERVED"},
    /* ours, by the rules of Bitcoin Core's ScriptToAsmStr */
    {"4f516001", "-1 1 16 [error]"},
    {"0180", "0"}, /* minus zero */
    {"0181 01ff 017f", "-1 -127 127"},
    {"020001 03000001", "256 65536"},
    {"04ffffff7f 04ffffffff", "2147483647 -2147483647"},
    {"0500000000ff", "00000000ff"},
    {"4c0105 4d010005 4e0100000005", "5 5 5"}, /* however it is pushed */
    {"4c00", "0"},
    {"b1b2bbff", "OP_CHECKLOCKTIMEVERIFY OP_CHECKSEQUENCEVERIFY OP_UNKNOWN OP_UNKNOWN"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(assemble(rows[i].hex, false), rows[i].text);
        assert_string_equal(assemble(rows[i].hex, true), rows[i].text);
    }
}

/* BIP 66's form with R and S of one byte: the shortest signature there is. */
#define DER "3006020101020101"

static void test_signatures(void **state)
{
    static const struct {
        const char *hex, *text;
    } sigs[] = {
        {"09" DER "01", DER "[ALL]"},
        {"09" DER "02", DER "[NONE]"},
        {"09" DER "03", DER "[SINGLE]"},
        {"09" DER "81", DER "[ALL|ANYONECANPAY]"},
        {"09" DER "82", DER "[NONE|ANYONECANPAY]"},
        {"09" DER "83", DER "[SINGLE|ANYONECANPAY]"},
        {"09" DER "00", DER "00"}, /* no type of ECDSA's */
        {"09" DER "04", DER "04"},
        {"08" DER, DER},
        {"00 09" DER "01 51", "0 " DER "[ALL] 1"},
        {"6a09" DER "01", "OP_RETURN " DER "01"}, /* nobody signs there */
        {"0930060201010201"
         "0101",
         "30060201010201"
         "01[ALL]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sigs); i++)
        assert_string_equal(assemble(sigs[i].hex, true), sigs[i].text);
    assert_string_equal(assemble("09" DER "01", false), DER "01");
}

/* Every opcode and every length of push stays within the growth that callers make room for. */
static void test_growth(void **state)
{
    (void)state;
    for (unsigned op = 0; op < 256; op++) {
        uint8_t script[256];
        char text[sizeof script * SCRIPT_ASM_GROWTH];
        memset(script, (int)op, sizeof script);
        for (size_t len = 0; len <= sizeof script; len += 51) {
            struct writer w = writer_init(text, len * SCRIPT_ASM_GROWTH);
            script_asm_write(&w, bytes_of(script, len), true);
            assert_true(writer_ok(&w));
        }
    }
}

static void test_hash256(void **state)
{
    (void)state;
    static const char hex[] = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    char again[HASH_HEX_CAP];
    struct hash256 h;
    assert_true(hash256_of_hex_reversed(hex, &h)); /* the main chain's first block */
    assert_int_equal(h.b[0], 0x6f);
    assert_int_equal(h.b[31], 0);
    assert_string_equal(hash256_hex_reversed(&h, again), hex);
    assert_false(hash256_of_hex_reversed(hex + 1, &h));
    assert_false(hash256_of_hex_reversed(hex + 2, &h));
    assert_false(hash256_of_hex_reversed("", &h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_hash256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
