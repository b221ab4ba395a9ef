/* keys/: what people write for scripts and keys. */
#include "chain/address.h"
#include "vec.h"
#include <ctype.h>

/* --- base58_encode_decode.json ---------------------------------------------------------------- */

static void check_base58(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        char text[512];
        uint8_t back[BASE58_LEN_MAX];
        size_t len = 0;
        struct bytes raw = vec_json_hex(v, json_array_get(row, 0));
        const char *want = vec_str(json_array_get(row, 1));
        bool is_good = base58_encode(raw, text, sizeof text) && strcmp(text, want) == 0 &&
                       base58_decode(bytes_of_str(want), back, sizeof back, &len) &&
                       bytes_equal(bytes_of(back, len), raw);
        vec_case(v, is_good, "row %zu", i);
    }
}

/* --- key_io_valid.json, key_io_invalid.json ----------------------------------------------------- */

/* The old test network writes addresses like the new ones. */
static const struct chain_params *network(const char *chain)
{
    const struct chain_params *p = chain_params_find(chain);
    return p ? p : chain_params_find("testnet4");
}

static bool reads_as_key(const struct chain_params *p, const char *text, struct bytes want,
                         bool is_compressed)
{
    uint8_t key[32];
    bool got_compressed;
    return secret_key_read(p, bytes_of_str(text), key, &got_compressed) &&
           got_compressed == is_compressed && bytes_equal(bytes_of(key, sizeof key), want);
}

static bool reads_as_script(const struct chain_params *p, const char *text, struct bytes want)
{
    uint8_t script[ADDRESS_SCRIPT_MAX];
    size_t len;
    return address_read(p, bytes_of_str(text), script, &len) &&
           bytes_equal(bytes_of(script, len), want);
}

static bool writes_as(const struct chain_params *p, struct bytes script, const char *want)
{
    char text[ADDRESS_CAP];
    return address_write(p, script, text) && strcasecmp(text, want) == 0;
}

/* As it is and with its cases turned, if that may be. */
static bool holds_flipped(const struct chain_params *p, const char *text, struct bytes want,
                          bool may_flip)
{
    char flipped[256] = {0};
    for (size_t i = 0; text[i] && i < sizeof flipped - 1; i++)
        flipped[i] = (char)(islower((uint8_t)text[i]) ? toupper((uint8_t)text[i])
                                                      : tolower((uint8_t)text[i]));
    return reads_as_script(p, flipped, want) == may_flip;
}

static void check_key_io_valid(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        const char *text = vec_str(json_array_get(row, 0));
        struct bytes want = vec_json_hex(v, json_array_get(row, 1));
        const json_t *about = json_array_get(row, 2);
        const struct chain_params *p = network(vec_str(json_object_get(about, "chain")));
        bool is_good;
        if (json_is_true(json_object_get(about, "isPrivkey")))
            is_good =
                reads_as_key(p, text, want, json_is_true(json_object_get(about, "isCompressed"))) &&
                !reads_as_script(p, text, want);
        else
            is_good =
                reads_as_script(p, text, want) && writes_as(p, want, text) &&
                holds_flipped(p, text, want, json_is_true(json_object_get(about, "tryCaseFlip")));
        vec_case(v, is_good, "row %zu: %s", i, text);
    }
}

static void check_key_io_invalid(struct vec *v)
{
    static const char *const names[] = {"main", "testnet4", "signet", "regtest"};
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        const char *text = vec_str(json_array_get(row, 0));
        bool is_refused = true;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            uint8_t out[ADDRESS_SCRIPT_MAX];
            size_t len;
            bool is_compressed;
            const struct chain_params *p = chain_params_find(names[k]);
            is_refused &= !address_read(p, bytes_of_str(text), out, &len) &&
                          !secret_key_read(p, bytes_of_str(text), out, &is_compressed);
        }
        vec_case(v, is_refused, "row %zu: %s", i, text);
    }
}

/* --- bip173.json ------------------------------------------------------------------------------- */

/* The file's U+0080 to U+00FF are single bytes. */
static struct bytes single_bytes(struct vec *v, const char *utf8)
{
    uint8_t *out = vec_alloc(v, strlen(utf8) + 1, 1);
    size_t n = 0;
    for (; *utf8; utf8++) {
        if (((uint8_t)*utf8 & 0xc0) == 0xc0) {
            out[n++] = (uint8_t)(((uint8_t)utf8[0] & 3) << 6 | ((uint8_t)utf8[1] & 0x3f));
            utf8++;
        } else {
            out[n++] = (uint8_t)*utf8;
        }
    }
    return bytes_of(out, n);
}

/* BIP 173 alone: any version goes with Bech32's first checksum. */
static bool read_old_address(struct bytes text, uint8_t out[ADDRESS_SCRIPT_MAX], size_t *out_len)
{
    struct bech32 b;
    unsigned version;
    size_t len;
    if (!bech32_read(text, &b) || b.is_m || !bech32_program(&b, &version, out + 2, &len) ||
        (strcmp(b.hrp, "bc") != 0 && strcmp(b.hrp, "tb") != 0))
        return false;
    out[0] = (uint8_t)(version ? 0x50 + version : 0);
    out[1] = (uint8_t)len;
    *out_len = len + 2;
    return true;
}

static bool survives_writing(struct bytes text)
{
    struct bech32 b;
    char again[ADDRESS_CAP];
    return bech32_read(text, &b) && bech32_write(&b, again, sizeof again) &&
           strncasecmp(again, (const char *)text.data, text.len) == 0 && strlen(again) == text.len;
}

/* The rows say what they are about in "string" or "address", or are the string itself. */
static const char *text_of(const json_t *row)
{
    const json_t *s = json_object_get(row, "string");
    const json_t *a = json_object_get(row, "address");
    return vec_str(s ? s : a ? a : row);
}

static void check_bip173_row(struct vec *v, const char *list, size_t i, const json_t *row)
{
    struct bytes text = single_bytes(v, text_of(row));
    uint8_t script[ADDRESS_SCRIPT_MAX];
    size_t len = 0;
    struct bech32 b;
    bool is_good;
    if (strcmp(list, "valid") == 0)
        is_good = survives_writing(text);
    else if (strcmp(list, "invalid") == 0)
        is_good = !bech32_read(text, &b);
    else if (strcmp(list, "address_valid") == 0)
        is_good = read_old_address(text, script, &len) &&
                  vec_is_hex(bytes_of(script, len), vec_str(json_object_get(row, "scriptPubKey")));
    else
        is_good = !read_old_address(text, script, &len);
    vec_case(v, is_good, "%s, row %zu", list, i);
}

static void check_bip173(struct vec *v)
{
    static const char *const lists[] = {"valid", "invalid", "address_valid", "address_invalid"};
    json_t *all = vec_json(v), *row;
    size_t i;
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        json_array_foreach(json_object_get(all, lists[k]), i, row)
        {
            check_bip173_row(v, lists[k], i, row);
        }
    }
}

const struct vec_check vec_address_checks[] = {
    {"keys/base58*.json", check_base58},
    {"keys/key_io_valid*.json", check_key_io_valid},
    {"keys/key_io_invalid*.json", check_key_io_invalid},
    {"keys/bip173*.json", check_bip173},
    {0},
};
