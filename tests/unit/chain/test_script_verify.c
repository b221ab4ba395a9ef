#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/sighash.h"
#include "chain/tx.h"
#include "crypto/hash160.h"
#include "crypto/secp.h"
#include "test_util.h"

#define ROOM_LEN (1u << 17)
#define RULES                                                                                      \
    (SCRIPT_P2SH | SCRIPT_DERSIG | SCRIPT_CHECKLOCKTIMEVERIFY | SCRIPT_CHECKSEQUENCEVERIFY |       \
     SCRIPT_WITNESS | SCRIPT_NULLDUMMY | SCRIPT_TAPROOT)

/* One input that spends one output, and the room in which their scripts are written. */
struct world {
    struct tx tx;
    struct tx_in in;
    struct tx_out out, spent;
    uint8_t sig[ROOM_LEN], script[ROOM_LEN], witness[ROOM_LEN], program[34];
    struct writer sig_w, script_w, witness_w;
};

static struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->tx = (struct tx){.version = 2, .n_in = 1, .n_out = 1, .in = &w->in, .out = &w->out};
    w->out.script = BYTES_LIT("\x6a");
    w->spent.value_sat = 1000;
    w->sig_w = writer_init(w->sig, sizeof w->sig);
    w->script_w = writer_init(w->script, sizeof w->script);
    w->witness_w = writer_init(w->witness, sizeof w->witness);
    return w;
}

static void item(struct world *w, struct bytes b)
{
    writer_compact_size(&w->witness_w, b.len);
    writer_put(&w->witness_w, b);
    w->in.n_witness++;
}

static const char *run(struct world *w, uint32_t flags)
{
    struct tx_spend s;
    assert_true(writer_ok(&w->sig_w) && writer_ok(&w->script_w) && writer_ok(&w->witness_w));
    w->in.script_sig = writer_bytes(&w->sig_w);
    w->in.witness = writer_bytes(&w->witness_w);
    if (!w->spent.script.data)
        w->spent.script = writer_bytes(&w->script_w);
    tx_spend_init(&s, &w->tx, &w->spent);
    return script_err_name(script_verify(&s, 0, flags, NULL, NULL));
}

/* n times op in front of OP_1 as the output's script, after n_push pushes of nothing. */
static const char *run_repeated(size_t n_push, uint8_t op, size_t n)
{
    struct world *w = new_world();
    writer_fill(&w->sig_w, OP_1, n_push);
    writer_fill(&w->script_w, op, n);
    writer_u8(&w->script_w, OP_1);
    const char *e = run(w, SCRIPT_P2SH);
    free(w);
    return e;
}

static void test_limits(void **state)
{
    (void)state;
    assert_string_equal(run_repeated(0, OP_NOP, 201), "OK");
    assert_string_equal(run_repeated(0, OP_NOP, 202), "OP_COUNT");
    assert_string_equal(run_repeated(0, OP_1, 999), "OK");
    assert_string_equal(run_repeated(0, OP_1, 1000), "STACK_SIZE");
    assert_string_equal(run_repeated(999, OP_NOP, 1), "OK");
    assert_string_equal(run_repeated(1000, OP_NOP, 1), "STACK_SIZE");
    assert_string_equal(run_repeated(1001, OP_DROP, 1), "STACK_SIZE");
    assert_string_equal(run_repeated(998, OP_3DUP, 1), "STACK_SIZE");
    assert_string_equal(run_repeated(997, OP_3DUP, 1), "STACK_SIZE"); /* OP_1 is one more */
    assert_string_equal(run_repeated(996, OP_3DUP, 1), "OK");
    assert_string_equal(run_repeated(999, OP_TOALTSTACK, 200), "OK");
    assert_string_equal(run_repeated(1000, OP_TOALTSTACK, 200), "STACK_SIZE");
    assert_string_equal(run_repeated(0, OP_RESERVED, 1), "BAD_OPCODE");
}

static void test_script_size(void **state)
{
    (void)state;
    for (size_t n = 9998; n <= 9999; n++) {
        struct world *w = new_world();
        writer_u8(&w->script_w, OP_1);
        for (size_t left = n; left > 0;) {
            size_t len = left < 523 ? left - 3 : 520;
            writer_u8(&w->script_w, OP_PUSHDATA2);
            writer_u16le(&w->script_w, (uint16_t)len);
            writer_fill(&w->script_w, 1, len);
            left -= len + 3;
        }
        writer_u8(&w->script_w, OP_1);
        assert_string_equal(run(w, 0), n == 9998 ? "OK" : "SCRIPT_SIZE");
        free(w);
    }
}

/* P2SH: the hash that OP_HASH160 pushes counts for the stack too. */
static void test_p2sh_stack(void **state)
{
    static const uint8_t redeem[] = {1, OP_1};
    (void)state;
    for (size_t n = 998; n <= 999; n++) {
        struct world *w = new_world();
        uint8_t script[23] = {OP_HASH160, 20, [22] = OP_EQUAL};
        writer_fill(&w->sig_w, OP_1, n);
        writer_put(&w->sig_w, bytes_of(redeem, sizeof redeem));
        hash160(BYTES_LIT("\x51"), script + 2);
        writer_put(&w->script_w, bytes_of(script, sizeof script));
        assert_string_equal(run(w, SCRIPT_P2SH), n == 998 ? "OK" : "STACK_SIZE");
        free(w);
    }
}

/* A redeem script that lies on the stack as OP_1 to OP_16 leave it. */
static void test_p2sh_tiny(void **state)
{
    struct world *w = new_world();
    uint8_t script[23] = {OP_HASH160, 20, [22] = OP_EQUAL};
    (void)state;
    writer_u8(&w->sig_w, OP_1); /* the script 01: a push that is cut off */
    hash160(BYTES_LIT("\x01"), script + 2);
    writer_put(&w->script_w, bytes_of(script, sizeof script));
    assert_string_equal(run(w, SCRIPT_P2SH), "BAD_OPCODE");
    assert_string_equal(run(w, 0), "OK");
    free(w);
}

/* The witness script is whatever was written as script; before it lie n empty items. */
static const char *run_p2wsh(struct world *w, size_t n)
{
    struct bytes script = writer_bytes(&w->script_w);
    for (size_t i = 0; i < n; i++)
        item(w, (struct bytes){0});
    item(w, script);
    w->program[0] = OP_0;
    w->program[1] = 32;
    sha256(script, w->program + 2);
    w->spent.script = bytes_of(w->program, 34);
    return run(w, RULES);
}

/* Version 0 has no rule for how many items a witness begins with, only for the stack after the first
 * operation. */
static void test_long_witness(void **state)
{
    static const struct {
        size_t n;
        const char *want;
    } rows[] = {{1001, "CLEANSTACK"},
                {1002, "CLEANSTACK"},
                {1003, "STACK_SIZE"},
                {1070, "STACK_SIZE"},
                {60000, "STACK_SIZE"}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world *w = new_world();
        writer_u8(&w->script_w, OP_2DROP);
        assert_string_equal(run_p2wsh(w, rows[i].n), rows[i].want);
        free(w);
    }
}

static void test_witness_item_size(void **state)
{
    static const uint8_t zeros[521];
    (void)state;
    for (size_t len = 520; len <= 521; len++) {
        struct world *w = new_world();
        item(w, bytes_of(zeros, len));
        writer_put(&w->script_w, BYTES_LIT("\x75\x51"));
        assert_string_equal(run_p2wsh(w, 0), len == 520 ? "OK" : "PUSH_SIZE");
        free(w);
    }
}

/* Conditions nest as deep as a tapscript is long, at no cost. */
static void lock_tapscript(struct world *w, uint8_t control[33])
{
    static const char g[] = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    struct hash256 leaf;
    struct sha256_state s;
    uint8_t tweak[32];
    bool is_odd;
    test_hex(g, control + 1, 32);
    sighash_tapleaf(0xc0, writer_bytes(&w->script_w), &leaf);
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, bytes_of(control + 1, 32));
    sha256_update(&s, bytes_of(leaf.b, 32));
    sha256_final(&s, tweak);
    assert_true(secp_tweak_add(control + 1, tweak, w->program + 2, &is_odd));
    control[0] = (uint8_t)(0xc0 | is_odd);
    w->program[0] = OP_1;
    w->program[1] = 32;
    w->spent.script = bytes_of(w->program, 34);
}

static const char *run_tapscript(struct world *w, size_t n_items)
{
    uint8_t control[33];
    for (size_t i = 0; i < n_items; i++)
        item(w, BYTES_LIT("\x01"));
    lock_tapscript(w, control);
    item(w, writer_bytes(&w->script_w));
    item(w, bytes_of(control, sizeof control));
    return run(w, RULES);
}

static void test_deep_conditions(void **state)
{
    struct world *w = new_world();
    (void)state;
    writer_u8(&w->script_w, OP_0);
    writer_fill(&w->script_w, OP_IF, 50000);
    writer_fill(&w->script_w, OP_ENDIF, 50000);
    writer_u8(&w->script_w, OP_1);
    assert_string_equal(run_tapscript(w, 0), "OK");
    free(w);
}

static void test_tapscript_stack(void **state)
{
    (void)state;
    for (size_t n = 1000; n <= 1001; n++) {
        struct world *w = new_world();
        for (size_t i = 0; i < 499; i++)
            writer_u8(&w->script_w, OP_2DROP);
        writer_u8(&w->script_w, OP_DROP);
        assert_string_equal(run_tapscript(w, n), n == 1000 ? "OK" : "STACK_SIZE");
        free(w);
        w = new_world();
        writer_u8(&w->script_w, OP_RESERVED); /* wins over any limit */
        assert_string_equal(run_tapscript(w, n), "OK");
        free(w);
    }
}

/* A thousand hashes of hashes: items that own their bytes move about and stay what they are. */
static void test_own_items(void **state)
{
    struct world *w = new_world();
    uint8_t want[32];
    (void)state;
    sha256((struct bytes){0}, want);
    writer_u8(&w->script_w, OP_0);
    writer_u8(&w->script_w, OP_SHA256);
    writer_put(&w->script_w, BYTES_LIT("\x76\x76\x6b\x7b\x7c\x6c\x7d")); /* DUP DUP TOALT ROT ... */
    writer_u8(&w->script_w, 32);
    writer_put(&w->script_w, bytes_of(want, 32));
    writer_put(&w->script_w, BYTES_LIT("\x88\x88\x87"));
    assert_string_equal(run(w, 0), "INVALID_STACK_OPERATION"); /* ROT needs three */
    free(w);
    w = new_world();
    writer_put(&w->script_w, BYTES_LIT("\x00\xa8\x76\x76\x76\x6b\x7b\x7c\x6c\x7d"));
    writer_u8(&w->script_w, 32);
    writer_put(&w->script_w, bytes_of(want, 32));
    writer_put(&w->script_w, BYTES_LIT("\x88\x88\x87"));
    assert_string_equal(run(w, 0), "OK");
    free(w);
}

/* Anyone may spend an anchor; nested in P2SH it is a version yet unknown. */
static void test_anchor(void **state)
{
    struct world *w = new_world();
    (void)state;
    writer_put(&w->script_w, BYTES_LIT("\x51\x02\x4e\x73"));
    assert_string_equal(run(w, RULES | SCRIPT_DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM), "OK");
    item(w, BYTES_LIT("x"));
    assert_string_equal(run(w, RULES), "OK");
    free(w);
}

/* The memo gives what a fresh hash gives, whatever was asked before. */
static void test_memo(void **state)
{
    static const uint32_t types[] = {1, 2, 3, 0x81, 0x82, 0x83, 0, 0x1f, 0x41, 1, 3, 0xff};
    struct world *w = new_world();
    struct sighash_memo memo;
    struct hash256 a, b;
    struct tx_spend s;
    static const uint8_t code[2] = {OP_1, OP_CHECKSIG};
    (void)state;
    tx_spend_init(&s, &w->tx, &w->spent);
    for (unsigned is_v0 = 0; is_v0 < 2; is_v0++) {
        sighash_memo_reset(&memo);
        for (size_t i = 0; i < 2 * COUNT_OF(types); i++) {
            uint32_t type = types[i % COUNT_OF(types)];
            struct bytes c = bytes_of(code + i / COUNT_OF(types), 1);
            if (is_v0) {
                sighash_v0(&s, 0, c, 5, type, &memo, &a);
                sighash_v0(&s, 0, c, 5, type, NULL, &b);
            } else {
                sighash_legacy(&w->tx, 0, c, type, &memo, &a);
                sighash_legacy(&w->tx, 0, c, type, NULL, &b);
            }
            assert_memory_equal(&a, &b, sizeof a);
        }
    }
    free(w);
}

static void test_tags(void **state)
{
    static const char *const names[] = {"TapLeaf", "TapBranch", "TapTweak", "TapSighash"};
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        struct sha256_state s, want;
        uint8_t tag[32], a[32], b[32];
        sha256(bytes_of_str(names[i]), tag);
        sha256_init(&want);
        sha256_update(&want, bytes_of(tag, 32));
        sha256_update(&want, bytes_of(tag, 32));
        sighash_tag_init(&s, (enum sighash_tag)i);
        sha256_update(&s, BYTES_LIT("some bytes"));
        sha256_update(&want, BYTES_LIT("some bytes"));
        sha256_final(&s, a);
        sha256_final(&want, b);
        assert_memory_equal(a, b, 32);
    }
}

static void test_find_and_delete(void **state)
{
    static const struct {
        const char *code, *pattern, *want;
        size_t n;
    } rows[] = {
        {"0302ff03", "0302ff03", "", 1},
        {"0302ff030302ff03", "0302ff03", "", 2},
        {"0302ff030302ff03", "02", "0302ff030302ff03", 0}, /* no opcode begins there */
        {"0302ff030302ff03", "ff", "0302ff030302ff03", 0},
        {"0302ff030302ff03", "03", "02ff0302ff03", 2},
        {"02feed5169", "feed51", "02feed5169", 0},
        {"02feed5169", "02feed51", "69", 1},
        {"516902feed5169", "feed51", "516902feed5169", 0},
        {"516902feed5169", "02feed51", "516969", 1},
        {"00005151", "00", "5151", 2},
        {"0003feed", "03feed", "00", 1}, /* in the broken push at the end */
        {"0003feed", "00", "03feed", 1},
    };
    uint8_t code[64], pattern[64], want[64], room[64];
    struct bytes out;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes c = test_hex(rows[i].code, code, sizeof code);
        struct bytes p = test_hex(rows[i].pattern, pattern, sizeof pattern);
        assert_int_equal(script_find_and_delete(c, p, room, &out), rows[i].n);
        test_assert_bytes(out, test_hex(rows[i].want, want, sizeof want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_script_size),
        cmocka_unit_test(test_p2sh_stack),
        cmocka_unit_test(test_p2sh_tiny),
        cmocka_unit_test(test_long_witness),
        cmocka_unit_test(test_witness_item_size),
        cmocka_unit_test(test_deep_conditions),
        cmocka_unit_test(test_tapscript_stack),
        cmocka_unit_test(test_own_items),
        cmocka_unit_test(test_anchor),
        cmocka_unit_test(test_memo),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_find_and_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
