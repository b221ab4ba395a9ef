#include "../../test_util.h"
#include "base/rng.h"
#include "chain/address.h"

/* Bitcoin Core src/test/data/key_io_valid.json and BIPs 173, 350. */
static const struct {
    const char *network, *text, *script_hex;
} rows[] = {
    {"main", "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mo",
     "76a914a31c06bd463e3923bc1aadbde48b16976c08071788ac"},
    {"main", "36j4NfKv6Akva9amjWrLG6MuSQym1GuEmm",
     "a914373b819a068f32b7a6b38b6b38729647cfde01c287"},
    {"testnet4", "mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ",
     "76a914ce28b26c57472737f5c3561a1761185bd8589a4388ac"},
    {"signet", "2NC2hEhe28ULKAJkW5MjZ3jtTMJdvXmByvK",
     "a914ce0bba75891ff9ec60148d4bd4a09ee2dc5c933187"},
    {"main", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
     "0014751e76e8199196d454941c45d1b3a323f1433bd6"},
    {"testnet4", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
     "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"},
    {"main", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
     "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"},
    {"main", "bc1sw50qgdz25j", "6002751e"},
    {"main", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"},
};

static void test_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct chain_params *p = chain_params_find(rows[i].network);
        uint8_t want[64], got[ADDRESS_SCRIPT_MAX];
        size_t len;
        char text[ADDRESS_CAP];
        struct bytes script = test_hex(rows[i].script_hex, want, sizeof want);
        assert_true(address_read(p, bytes_of_str(rows[i].text), got, &len));
        test_assert_bytes(bytes_of(got, len), script);
        assert_true(address_write(p, script, text));
        assert_string_equal(text, rows[i].text);
        assert_false(address_read(chain_params_find(i < 2 || i > 3 ? "regtest" : "main"),
                                  bytes_of_str(rows[i].text), got, &len));
    }
}

static const struct {
    const char *why, *text;
} refused[] = {
    {"nothing", ""},
    {"a digit changed", "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mp"},
    {"not a digit", "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2m0"},
    {"a digit missing", "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2m"},
    {"version 0 with Bech32m", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh"}, /* BIP 350 */
    {"version 1 with Bech32",
     "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd"}, /* BIP 350 */
    {"program of one byte", "bc1pw5dgrnzv"},                            /* BIP 350 */
    {"41 bytes", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav"},
    {"cases mixed", "bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"},
    {"no data", "bc1gmk9yu"}, /* BIP 173 */
    {"too long", "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcluded"
                 "charactersbio1569pvx"}, /* BIP 173 */
    {"padding of more than four bits",
     "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf"}, /* BIP 350 */
    {"padding that is not zero",
     "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j"}, /* BIP 350 */
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        uint8_t out[ADDRESS_SCRIPT_MAX];
        size_t len;
        struct bytes text = bytes_of_str(refused[i].text);
        assert_false(address_read(chain_params_find("main"), text, out, &len));
        assert_false(address_read(chain_params_find("testnet4"), text, out, &len));
    }
    char text[ADDRESS_CAP];
    static const char *const scripts[] = {"",
                                          "51",
                                          "6a",
                                          "76a914",
                                          "001000",
                                          "00030000ff",
                                          "0012751e76e8199196d454941c45d1b3a323f143"};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        uint8_t raw[64];
        assert_false(
            address_write(chain_params_find("main"), test_hex(scripts[i], raw, sizeof raw), text));
    }
}

/* read(write(x)) is x, for every shape that has an address, on every network. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {"main", "testnet4", "signet", "regtest"};
    struct rng rng;
    rng_init(&rng, 58);
    for (int i = 0; i < 4000; i++) {
        const struct chain_params *p = chain_params_find(names[i % 4]);
        uint8_t script[ADDRESS_SCRIPT_MAX], got[ADDRESS_SCRIPT_MAX];
        size_t len = 4 + rng_below(&rng, 39), got_len;
        char text[ADDRESS_CAP];
        rng_fill(&rng, script, sizeof script);
        script[0] = (uint8_t)(0x51 + rng_below(&rng, 16));
        script[1] = (uint8_t)(len - 2);
        if (i % 3 == 0) {
            len = i % 2 ? 22 : 34;
            script[0] = 0;
            script[1] = (uint8_t)(len - 2);
        }
        assert_true(address_write(p, bytes_of(script, len), text));
        assert_true(address_read(p, bytes_of_str(text), got, &got_len));
        test_assert_bytes(bytes_of(got, got_len), bytes_of(script, len));
        size_t at = rng_below(&rng, (uint32_t)strlen(text)); /* one character off: never read */
        char was = text[at];
        text[at] = (char)(33 + rng_below(&rng, 94));
        if (text[at] != was)
            assert_false(address_read(p, bytes_of_str(text), got, &got_len));
    }
}

static void test_base58(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 85);
    for (int i = 0; i < 500; i++) {
        uint8_t in[BASE58_LEN_MAX], back[BASE58_LEN_MAX];
        char text[512];
        size_t len = rng_below(&rng, sizeof in + 1), back_len;
        rng_fill(&rng, in, sizeof in);
        memset(in, 0, rng_below(&rng, 5));
        assert_true(base58_encode(bytes_of(in, len), text, sizeof text));
        assert_true(base58_decode(bytes_of_str(text), back, sizeof back, &back_len));
        test_assert_bytes(bytes_of(back, back_len), bytes_of(in, len));
        assert_false(base58_encode(bytes_of(in, len), text, strlen(text)));
        if (len)
            assert_false(base58_decode(bytes_of_str(text), back, len - 1, &back_len));
    }
    uint8_t too_long[BASE58_LEN_MAX + 1] = {1}, out[BASE58_LEN_MAX];
    char text[512];
    size_t len;
    assert_false(base58_encode(bytes_of(too_long, sizeof too_long), text, sizeof text));
    memset(text, 'z', sizeof text);
    assert_false(base58_decode(bytes_of(text, sizeof text), out, sizeof out, &len));
    memset(text, '1', sizeof text);
    assert_false(base58_decode(bytes_of(text, sizeof text), out, sizeof out, &len));
}

/* Bitcoin Core src/test/data/base58_encode_decode.json. */
static void test_base58_known(void **state)
{
    (void)state;
    static const char *const known[][2] = {
        {"", ""},
        {"61", "2g"},
        {"626262", "a3gV"},
        {"73696d706c792061206c6f6e6720737472696e67", "2cFupjhnEsSn59qHXstmK2ffpLv2"},
        {"00eb15231dfceb60925886b67d065299925915aeb172c06647",
         "1NS17iag9jJgTHD1VXjvLCEnZuQ3rJDE9L"},
        {"00000000000000000000", "1111111111"},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        uint8_t raw[64];
        char text[64];
        assert_true(base58_encode(test_hex(known[i][0], raw, sizeof raw), text, sizeof text));
        assert_string_equal(text, known[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_base58),
        cmocka_unit_test(test_base58_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
