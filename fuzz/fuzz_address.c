/* address: a string that is an address is written the same again (but for its cases), on one kind
 * of network only; bytes survive Base58 and come back. */
#include "chain/address.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_address(struct bytes text)
{
    static const char *const names[] = {"main", "testnet4", "regtest"};
    int n_networks = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct chain_params *p = chain_params_find(names[i]);
        uint8_t script[ADDRESS_SCRIPT_MAX], key[32];
        char again[ADDRESS_CAP];
        size_t script_len;
        bool is_compressed;
        if (!address_read(p, text, script, &script_len))
            continue;
        n_networks++;
        assert(script_len <= sizeof script && !secret_key_read(p, text, key, &is_compressed));
        bool is_written = address_write(p, bytes_of(script, script_len), again);
        assert(is_written && strlen(again) == text.len);
        assert(strncasecmp(again, (const char *)text.data, text.len) == 0);
        (void)is_written;
    }
    assert(n_networks <= 2); /* test networks share their Base58 versions */
}

static void check_bech32(struct bytes text)
{
    struct bech32 b, again;
    char out[ADDRESS_CAP];
    uint8_t program[40];
    size_t program_len;
    unsigned version;
    if (!bech32_read(text, &b))
        return;
    bool is_good = bech32_write(&b, out, sizeof out) && bech32_read(bytes_of_str(out), &again);
    assert(is_good && again.n_values == b.n_values && again.is_m == b.is_m);
    assert(memcmp(again.values, b.values, b.n_values) == 0 && strcmp(again.hrp, b.hrp) == 0);
    (void)is_good;
    if (bech32_program(&b, &version, program, &program_len))
        assert(version <= 16 && program_len >= 2 && program_len <= sizeof program);
}

static void check_base58(struct bytes in)
{
    uint8_t back[BASE58_LEN_MAX];
    char text[BASE58_LEN_MAX * 2];
    size_t len;
    if (base58_encode(in, text, sizeof text)) {
        bool is_read = base58_decode(bytes_of_str(text), back, sizeof back, &len);
        assert(is_read && bytes_equal(bytes_of(back, len), in));
        (void)is_read;
    }
    if (base58_decode(in, back, sizeof back, &len)) {
        bool is_written = base58_encode(bytes_of(back, len), text, sizeof text);
        assert(is_written && bytes_equal_str(in, text));
        (void)is_written;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check_address(bytes_of(data, len));
    check_bech32(bytes_of(data, len));
    check_base58(bytes_of(data, len));
    return 0;
}
