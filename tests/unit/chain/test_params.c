#include "../../test_util.h"
#include "chain/block.h"
#include "chain/header_chain.h"
#include "chain/script.h"
#include "crypto/sha256d.h"

static const char *const names[] = {"main", "testnet4", "signet", "regtest"};

static const struct chain_params *find(const char *name)
{
    const struct chain_params *p = chain_params_find(name);
    assert_non_null(p);
    return p;
}

static struct hash256 hash_of_hex(const char *hex_reversed)
{
    struct hash256 h, back;
    test_hex(hex_reversed, back.b, sizeof back.b);
    for (size_t i = 0; i < sizeof h.b; i++)
        h.b[i] = back.b[sizeof h.b - 1 - i];
    return h;
}

static void assert_hash(const struct hash256 *got, const char *want_reversed)
{
    struct hash256 want = hash_of_hex(want_reversed);
    test_assert_bytes(bytes_of(got->b, sizeof got->b), bytes_of(want.b, sizeof want.b));
}

/* What the genesis blocks are made from: Bitcoin Core src/kernel/chainparams.cpp. */
#define TIMES "The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"
#define SATOSHI_KEY                                                                                \
    "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"                           \
    "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
#define NO_KEY "000000000000000000000000000000000000000000000000000000000000000000"
static const struct {
    const char *name, *text, *key_hex, *hash;
    uint32_t time, bits, nonce;
} genesis[] = {
    {"main", TIMES, SATOSHI_KEY, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
     1231006505, 0x1d00ffff, 2083236893},
    {"testnet4", "03/May/2024 000000000000000000001ebd58c244970b3aa9d783bb001011fbe8ea8e98e00e",
     NO_KEY, "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043", 1714777860,
     0x1d00ffff, 393743547},
    {"signet", TIMES, SATOSHI_KEY,
     "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6", 1598918400, 0x1e0377ae,
     52613770},
    {"regtest", TIMES, SATOSHI_KEY,
     "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", 1296688602, 0x207fffff, 2},
};

static struct bytes genesis_tx(size_t i, uint8_t *out, size_t cap)
{
    struct writer w = writer_init(out, cap);
    uint8_t key[65];
    struct bytes key_view = test_hex(genesis[i].key_hex, key, sizeof key);
    size_t text_len = strlen(genesis[i].text);
    writer_u32le(&w, 1);
    writer_u8(&w, 1);
    writer_fill(&w, 0, 32);
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, (uint8_t)(7 + (text_len < 76 ? 1 : 2) + text_len));
    writer_put(&w, BYTES_LIT("\x04\xff\xff\x00\x1d\x01\x04"));
    if (text_len >= 76)
        writer_u8(&w, 0x4c); /* OP_PUSHDATA1 */
    writer_u8(&w, (uint8_t)text_len);
    writer_str(&w, genesis[i].text);
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, 1);
    writer_u64le(&w, (uint64_t)(50 * COIN_SATS));
    writer_u8(&w, (uint8_t)(key_view.len + 2));
    writer_u8(&w, (uint8_t)key_view.len);
    writer_put(&w, key_view);
    writer_u8(&w, 0xac); /* OP_CHECKSIG */
    writer_u32le(&w, 0);
    assert_true(writer_ok(&w));
    return writer_bytes(&w);
}

static void test_genesis_is_rebuilt(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(genesis); i++) {
        const struct chain_params *p = find(genesis[i].name);
        struct block_header h = {.version = 1,
                                 .time = genesis[i].time,
                                 .bits = genesis[i].bits,
                                 .nonce = genesis[i].nonce};
        uint8_t raw[400], tx[300];
        struct hash256 hash;
        struct bytes tx_view = genesis_tx(i, tx, sizeof tx);
        sha256d(tx_view, h.merkle_root.b);
        struct writer w = writer_init(raw, sizeof raw);
        block_header_write(&w, &h);
        writer_u8(&w, 1);
        writer_put(&w, tx_view);
        test_assert_bytes(p->genesis_raw, writer_bytes(&w));
        block_header_hash(&h, &hash);
        assert_hash(&hash, genesis[i].hash);
        assert_hash(&p->genesis, genesis[i].hash);
        block_header_hash(&p->genesis_header, &hash);
        assert_hash(&hash, genesis[i].hash);
        assert_true(header_pow_is_right(&hash, h.bits, p));
    }
}

static void test_long_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *name, *pow_limit, *min_work, *assume_valid;
        uint32_t n_assumeutxo;
    } want[] = {
        {"main", "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
         "01128750f82f4c366153a3a030",
         "00000000000000000000ccebd6d74d9194d8dcdc1d177c478e094bfad51ba5ac", 4},
        {"testnet4", "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
         "09a0fe15d0177d086304", "0000000002368b1e4ee27e2e85676ae6f9f9e69579b29093e9a82c170bf7cf8a",
         2},
        {"signet", "00000377ae000000000000000000000000000000000000000000000000000000",
         "0b463ea0a4b8", "00000008414aab61092ef93f1aacc54cf9e9f16af29ddad493b908a01ff5c329", 2},
        {"regtest", "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "0",
         "0000000000000000000000000000000000000000000000000000000000000000", 3},
    };
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        const struct chain_params *p = find(want[i].name);
        struct u256 v;
        assert_true(u256_of_hex(&v, want[i].pow_limit));
        assert_int_equal(u256_compare(&v, &p->pow_limit), 0);
        assert_true(u256_of_hex(&v, want[i].min_work));
        assert_int_equal(u256_compare(&v, &p->min_chain_work), 0);
        assert_hash(&p->assume_valid, want[i].assume_valid);
        assert_int_equal(p->n_assumeutxo, want[i].n_assumeutxo);
        assert_int_equal(p->genesis_header.bits, u256_compact(&p->pow_limit));
    }
    const struct chain_params *main_net = find("main");
    assert_hash(&main_net->assumeutxo[3].coins_hash,
                "e4b90ef9eae834f56c4b64d2d50143cee10ad87994c614d7d04125e2a6025050");
    assert_hash(&main_net->bip30_exceptions[0].block,
                "00000000000a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec");
    assert_hash(&main_net->bip34_hash,
                "000000000000024b89b42a942fe0d9fea3bb44ab7bd1b19115dd6a759c0808b8");
}

static void test_script_flags(void **state)
{
    (void)state;
    const struct chain_params *p = find("main");
    const uint32_t always = SCRIPT_P2SH | SCRIPT_WITNESS | SCRIPT_TAPROOT;
    const struct hash256 some = {{1}};
    struct hash256 no_p2sh =
        hash_of_hex("00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22");
    struct hash256 no_taproot =
        hash_of_hex("0000000000000000000f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad");
    const uint32_t late =
        SCRIPT_DERSIG | SCRIPT_CHECKLOCKTIMEVERIFY | SCRIPT_CHECKSEQUENCEVERIFY | SCRIPT_NULLDUMMY;
    assert_int_equal(chain_params_script_flags(p, &some, 1), always);
    assert_int_equal(chain_params_script_flags(p, &some, 363724), always);
    assert_int_equal(chain_params_script_flags(p, &some, 363725), always | SCRIPT_DERSIG);
    assert_int_equal(chain_params_script_flags(p, &some, 388381),
                     always | SCRIPT_DERSIG | SCRIPT_CHECKLOCKTIMEVERIFY);
    assert_int_equal(chain_params_script_flags(p, &some, 481823), (always | late) & ~16u);
    assert_int_equal(chain_params_script_flags(p, &some, 481824), always | late);
    assert_int_equal(chain_params_script_flags(p, &no_p2sh, 170060), 0);
    assert_int_equal(chain_params_script_flags(p, &no_taproot, 692261),
                     SCRIPT_P2SH | SCRIPT_WITNESS | late);
    assert_int_equal(chain_params_script_flags(find("regtest"), &some, 0),
                     always | SCRIPT_NULLDUMMY);
    assert_int_equal(chain_params_script_flags(find("regtest"), &some, 1), always | late);
}

static void test_height_options(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_understood;
    } rows[] = {{"bip34@2", true},           {"dersig@102", true},
                {"cltv@111", true},          {"csv@432", true},
                {"segwit@2147483646", true}, {"segwit@2147483647", false},
                {"segwit@", false},          {"segwit", false},
                {"taproot@1", false},        {"@1", false},
                {"csv@-1", false},           {"csv@1x", false},
                {"csv@99999999999", false}};
    struct chain_params p = *find("regtest");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(chain_params_set_height(&p, rows[i].text), rows[i].is_understood);
    assert_int_equal(p.active_height[DEPLOY_BIP34], 2);
    assert_int_equal(p.active_height[DEPLOY_DERSIG], 102);
    assert_int_equal(p.active_height[DEPLOY_CLTV], 111);
    assert_int_equal(p.active_height[DEPLOY_CSV], 432);
    assert_int_equal(p.active_height[DEPLOY_SEGWIT], 2147483646);
}

static void test_signet_magic(void **state)
{
    (void)state;
    struct chain_params p = *find("signet");
    uint8_t want[4];
    memcpy(want, p.magic, sizeof want);
    memset(p.magic, 0, sizeof p.magic);
    chain_params_set_challenge(&p, find("signet")->signet_challenge);
    assert_memory_equal(p.magic, want, sizeof want); /* the public one is computed the same way */
    assert_true(u256_is_zero(&p.min_chain_work) && p.n_assumeutxo == 0);
    uint8_t challenge[64];
    /* Bitcoin Core test/functional/data/util/getchainparams-signet-custom.json */
    chain_params_set_challenge(
        &p, test_hex("512102f7561d208dd9ae99bf497273e16f389bdbd6c4742ddb8e6b216e64fa2928ad8f51ae",
                     challenge, sizeof challenge));
    test_assert_hex(bytes_of(p.magic, sizeof p.magic), "a5df2dcb");
    chain_params_set_challenge(&p, BYTES_LIT("\x51")); /* OP_TRUE */
    test_assert_hex(bytes_of(p.magic, sizeof p.magic), "54d26fbd");
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_string_equal(find(names[i])->name, names[i]);
    assert_null(chain_params_find("testnet3"));
    assert_null(chain_params_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genesis_is_rebuilt), cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_script_flags),       cmocka_unit_test(test_height_options),
        cmocka_unit_test(test_signet_magic),       cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
