#include "chain/address.h"
#include "chain/script.h"
#include "crypto/sha256d.h"

#define CHECK_LEN  4u
#define HASH160    20u
#define BASE58_MAX (BASE58_LEN_MAX * 138u / 100u + 1u) /* digits: log 256 / log 58 = 1.366 */

/* --- Base58 ---------------------------------------------------------------------------------- */

static const char base58_digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/* n digits of a big number, most significant first, times base plus carry. False: too long. */
static bool big_multiply_add(uint8_t *digits, size_t cap, size_t *n, unsigned base, unsigned radix,
                             unsigned carry)
{
    for (size_t i = 0; i < *n || carry; i++) {
        if (i == cap)
            return false;
        if (i == *n)
            digits[(*n)++] = 0;
        carry += digits[i] * base;
        digits[i] = (uint8_t)(carry % radix);
        carry /= radix;
    }
    return true;
}

bool base58_encode(struct bytes in, char *out, size_t out_cap)
{
    uint8_t digits[BASE58_MAX];
    size_t n = 0, n_zeros = 0;
    if (in.len > BASE58_LEN_MAX)
        return false;
    while (n_zeros < in.len && in.data[n_zeros] == 0)
        n_zeros++;
    for (size_t i = n_zeros; i < in.len; i++)
        if (!big_multiply_add(digits, sizeof digits, &n, 256, 58, in.data[i]))
            return false;
    if (n_zeros + n + 1 > out_cap)
        return false;
    memset(out, '1', n_zeros);
    for (size_t i = 0; i < n; i++)
        out[n_zeros + i] = base58_digits[digits[n - 1 - i]];
    out[n_zeros + n] = '\0';
    return true;
}

bool base58_decode(struct bytes text, uint8_t *out, size_t out_cap, size_t *out_len)
{
    uint8_t digits[BASE58_LEN_MAX];
    size_t n = 0, n_zeros = 0;
    while (n_zeros < text.len && text.data[n_zeros] == '1')
        n_zeros++;
    for (size_t i = n_zeros; i < text.len; i++) {
        const char *at = text.data[i] ? strchr(base58_digits, text.data[i]) : NULL;
        if (!at ||
            !big_multiply_add(digits, sizeof digits, &n, 58, 256, (unsigned)(at - base58_digits)))
            return false;
    }
    if (n_zeros + n > out_cap)
        return false;
    memset(out, 0, n_zeros);
    for (size_t i = 0; i < n; i++)
        out[n_zeros + i] = digits[n - 1 - i];
    *out_len = n_zeros + n;
    return true;
}

bool base58check_encode(struct bytes in, char *out, size_t out_cap)
{
    uint8_t all[BASE58_LEN_MAX], check[SHA256_LEN];
    if (in.len > sizeof all - CHECK_LEN)
        return false;
    memcpy(all, in.data, in.len);
    sha256d(in, check);
    memcpy(all + in.len, check, CHECK_LEN);
    return base58_encode(bytes_of(all, in.len + CHECK_LEN), out, out_cap);
}

bool base58check_decode(struct bytes text, uint8_t *out, size_t out_cap, size_t *out_len)
{
    uint8_t all[BASE58_LEN_MAX], check[SHA256_LEN];
    size_t len;
    if (!base58_decode(text, all, sizeof all, &len) || len < CHECK_LEN || len - CHECK_LEN > out_cap)
        return false;
    *out_len = len - CHECK_LEN;
    sha256d(bytes_of(all, *out_len), check);
    memcpy(out, all, *out_len);
    return memcmp(check, all + *out_len, CHECK_LEN) == 0;
}

/* --- Bech32 ---------------------------------------------------------------------------------- */

#define BECH32_LEN_MAX 90u /* BIP 173, "Bech32" */
#define BECH32_N_CHECK 6u
#define BECH32_END     1u          /* BIP 173: the checksum's constant */
#define BECH32M_END    0x2bc830a3u /* BIP 350 */

static const char bech32_digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* BIP 173, "Checksum": one more value of five bits through the BCH code. */
static uint32_t bech32_step(uint32_t c, uint8_t value)
{
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                         0x2a1462b3};
    uint32_t top = c >> 25;
    c = (c & 0x1ffffff) << 5 ^ value;
    for (size_t i = 0; i < 5; i++)
        c ^= top >> i & 1 ? generator[i] : 0;
    return c;
}

static uint32_t bech32_sum(const struct bech32 *b)
{
    uint32_t c = 1;
    for (const char *h = b->hrp; *h; h++)
        c = bech32_step(c, (uint8_t)*h >> 5);
    c = bech32_step(c, 0);
    for (const char *h = b->hrp; *h; h++)
        c = bech32_step(c, *h & 31);
    for (size_t i = 0; i < b->n_values; i++)
        c = bech32_step(c, b->values[i]);
    return c;
}

/* Lower case in out; false when cases are mixed or a character is not printable. */
static bool to_lower(struct bytes text, char out[BECH32_LEN_MAX])
{
    bool has_upper = false, has_lower = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_upper = c >= 'A' && c <= 'Z';
        has_upper |= is_upper;
        has_lower |= c >= 'a' && c <= 'z';
        if (c < 33 || c > 126)
            return false;
        out[i] = (char)(is_upper ? c + 32 : c);
    }
    return !(has_upper && has_lower);
}

bool bech32_read(struct bytes text, struct bech32 *out)
{
    char lower[BECH32_LEN_MAX];
    if (text.len > sizeof lower || !to_lower(text, lower))
        return false;
    const char *end = memrchr(lower, '1', text.len);
    size_t hrp_len = end ? (size_t)(end - lower) : 0, n = text.len - hrp_len - 1;
    if (hrp_len == 0 || n < BECH32_N_CHECK)
        return false;
    *out = (struct bech32){.n_values = n - BECH32_N_CHECK};
    memcpy(out->hrp, lower, hrp_len);
    uint8_t check[BECH32_N_CHECK];
    for (size_t i = 0; i < n; i++) {
        const char *at = strchr(bech32_digits, end[1 + i]);
        if (!at)
            return false;
        uint8_t value = (uint8_t)(at - bech32_digits);
        if (i < out->n_values)
            out->values[i] = value;
        else
            check[i - out->n_values] = value;
    }
    uint32_t c = bech32_sum(out);
    for (size_t i = 0; i < BECH32_N_CHECK; i++)
        c = bech32_step(c, check[i]);
    out->is_m = c == BECH32M_END;
    return out->is_m || c == BECH32_END;
}

bool bech32_write(const struct bech32 *b, char *out, size_t out_cap)
{
    size_t hrp_len = strlen(b->hrp), len = hrp_len + 1 + b->n_values + BECH32_N_CHECK;
    if (len > BECH32_LEN_MAX || len + 1 > out_cap)
        return false;
    uint32_t c = bech32_sum(b);
    for (size_t i = 0; i < BECH32_N_CHECK; i++)
        c = bech32_step(c, 0);
    c ^= b->is_m ? BECH32M_END : BECH32_END;
    memcpy(out, b->hrp, hrp_len);
    char *o = out + hrp_len;
    *o++ = '1';
    for (size_t i = 0; i < b->n_values; i++)
        *o++ = bech32_digits[b->values[i]];
    for (unsigned i = BECH32_N_CHECK; i-- > 0;)
        *o++ = bech32_digits[c >> (5 * i) & 31];
    *o = '\0';
    return true;
}

bool bech32_program(const struct bech32 *b, unsigned *out_version, uint8_t out[40], size_t *out_len)
{
    uint32_t bits = 0, n_bits = 0;
    *out_len = 0;
    if (b->n_values < 1 || b->values[0] > 16)
        return false;
    *out_version = b->values[0];
    for (size_t i = 1; i < b->n_values; i++) {
        bits = (bits << 5 | b->values[i]) & 0xfff;
        n_bits += 5;
        if (n_bits < 8)
            continue;
        if (*out_len == 40)
            return false;
        n_bits -= 8;
        out[(*out_len)++] = (uint8_t)(bits >> n_bits);
    }
    bool is_padded = n_bits < 5 && (bits & ((1u << n_bits) - 1)) == 0;
    return is_padded && *out_len >= 2 && (*out_version || *out_len == 20 || *out_len == 32);
}

/* --- addresses ------------------------------------------------------------------------------- */

/* The two old shapes: what stands before and after the hash. */
static const struct shape {
    uint8_t head[3], tail[2];
    size_t head_len, tail_len;
} shape_pubkey_hash = {{0x76, 0xa9, 20}, {0x88, 0xac}, 3, 2},
  shape_script_hash = {{0xa9, 20}, {0x87}, 2, 1};

static bool has_shape(const struct shape *s, struct bytes script)
{
    return script.len == s->head_len + HASH160 + s->tail_len &&
           memcmp(script.data, s->head, s->head_len) == 0 &&
           memcmp(script.data + s->head_len + HASH160, s->tail, s->tail_len) == 0;
}

static bool write_hash(uint8_t version, const uint8_t *hash, char out[ADDRESS_CAP])
{
    uint8_t payload[1 + HASH160] = {version};
    memcpy(payload + 1, hash, HASH160);
    return base58check_encode(bytes_of(payload, sizeof payload), out, ADDRESS_CAP);
}

static void write_shape(const struct shape *s, const uint8_t *hash, uint8_t *out, size_t *out_len)
{
    memcpy(out, s->head, s->head_len);
    memcpy(out + s->head_len, hash, HASH160);
    memcpy(out + s->head_len + HASH160, s->tail, s->tail_len);
    *out_len = s->head_len + HASH160 + s->tail_len;
}

static bool write_program(const struct chain_params *p, unsigned version, struct bytes program,
                          char out[ADDRESS_CAP])
{
    struct bech32 b = {.n_values = 1, .is_m = version > 0};
    uint32_t bits = 0, n_bits = 0;
    memcpy(b.hrp, p->bech32_hrp, strlen(p->bech32_hrp));
    b.values[0] = (uint8_t)version;
    for (size_t i = 0; i < program.len; i++) {
        bits = bits << 8 | program.data[i];
        for (n_bits += 8; n_bits >= 5; n_bits -= 5)
            b.values[b.n_values++] = bits >> (n_bits - 5) & 31;
    }
    if (n_bits)
        b.values[b.n_values++] = bits << (5 - n_bits) & 31;
    return bech32_write(&b, out, ADDRESS_CAP);
}

bool address_write(const struct chain_params *p, struct bytes script, char out[ADDRESS_CAP])
{
    unsigned version;
    struct bytes program;
    if (has_shape(&shape_pubkey_hash, script))
        return write_hash(p->base58_pubkey, script.data + 3, out);
    if (has_shape(&shape_script_hash, script))
        return write_hash(p->base58_script, script.data + 2, out);
    if (!script_witness_program(script, &version, &program))
        return false;
    if (version == 0 && program.len != 20 && program.len != 32)
        return false;
    return write_program(p, version, program, out);
}

static bool read_segwit(const struct chain_params *p, const struct bech32 *b, uint8_t *out,
                        size_t *out_len)
{
    unsigned version;
    uint8_t program[40];
    size_t len;
    if (strcmp(b->hrp, p->bech32_hrp) != 0 || !bech32_program(b, &version, program, &len) ||
        b->is_m != (version > 0)) /* BIP 350 */
        return false;
    out[0] = (uint8_t)(version ? 0x50 + version : 0);
    out[1] = (uint8_t)len;
    memcpy(out + 2, program, len);
    *out_len = 2 + len;
    return true;
}

bool address_read(const struct chain_params *p, struct bytes text, uint8_t out[ADDRESS_SCRIPT_MAX],
                  size_t *out_len)
{
    struct bech32 b;
    uint8_t payload[1 + HASH160];
    size_t len;
    if (bech32_read(text, &b))
        return read_segwit(p, &b, out, out_len);
    if (!base58check_decode(text, payload, sizeof payload, &len) || len != sizeof payload)
        return false;
    if (payload[0] != p->base58_pubkey && payload[0] != p->base58_script)
        return false;
    write_shape(payload[0] == p->base58_pubkey ? &shape_pubkey_hash : &shape_script_hash,
                payload + 1, out, out_len);
    return true;
}

bool secret_key_read(const struct chain_params *p, struct bytes text, uint8_t out[32],
                     bool *out_is_compressed)
{
    uint8_t payload[34];
    size_t len;
    if (!base58check_decode(text, payload, sizeof payload, &len) || len < 33 ||
        payload[0] != p->base58_secret || (len == 34 && payload[33] != 1))
        return false;
    *out_is_compressed = len == 34;
    memcpy(out, payload + 1, 32);
    return true;
}
