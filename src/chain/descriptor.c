#include "chain/descriptor.h"
#include "base/hex.h"
#include "chain/script.h"
#include "crypto/secp_pubkey.h"

/* --- checksum -------------------------------------------------------------------------------- */

/* BIP 380: three groups of 32; a character's place in its group is one symbol of five bits, and the
 * groups of three characters are another one. */
static const char characters[] = "0123456789()[],'/*abcdefgh@:$%{}"
                                 "IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~"
                                 "ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";
static const char check_digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* BIP 380: one more symbol through the BCH code of 40 bits. */
static uint64_t check_step(uint64_t c, unsigned symbol)
{
    static const uint64_t generator[] = {0xf5dee51989, 0xa9fdca3312, 0x1bab10e32d, 0x3706b1677a,
                                         0x644d626ffd};
    unsigned top = (unsigned)(c >> 35);
    c = (c & 0x7ffffffff) << 5 ^ symbol;
    for (unsigned i = 0; i < 5; i++)
        c ^= top >> i & 1 ? generator[i] : 0;
    return c;
}

bool descriptor_checksum(struct bytes text, char out[DESCRIPTOR_CHECK_LEN + 1])
{
    uint64_t c = 1;
    unsigned groups = 0, n_groups = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] ? strchr(characters, text.data[i]) : NULL;
        if (!at)
            return false;
        unsigned v = (unsigned)(at - characters);
        c = check_step(c, v & 31);
        groups = groups * 3 + (v >> 5);
        if (++n_groups == 3) {
            c = check_step(c, groups);
            groups = n_groups = 0;
        }
    }
    if (n_groups)
        c = check_step(c, groups);
    for (unsigned i = 0; i < DESCRIPTOR_CHECK_LEN; i++)
        c = check_step(c, 0);
    c ^= 1;
    for (unsigned i = 0; i < DESCRIPTOR_CHECK_LEN; i++)
        out[i] = check_digits[c >> (5 * (DESCRIPTOR_CHECK_LEN - 1 - i)) & 31];
    out[DESCRIPTOR_CHECK_LEN] = '\0';
    return true;
}

/* --- what a script shows --------------------------------------------------------------------- */

/* Descriptors have no word for the hybrid forms 06 and 07. */
static bool is_hybrid(struct bytes key)
{
    return key.data[0] > 4;
}

static bool has_hybrid(const struct script_multisig *m)
{
    for (uint32_t i = 0; i < m->n_keys; i++)
        if (is_hybrid(m->keys[i]))
            return true;
    return false;
}

static void write_hex(struct writer *w, const char *name, struct bytes b)
{
    writer_str(w, name);
    writer_hex(w, b);
    writer_str(w, ")");
}

static void write_multi(struct writer *w, const struct script_multisig *m)
{
    writer_str(w, "multi(");
    writer_decimal(w, m->n_needed);
    for (uint32_t i = 0; i < m->n_keys; i++) {
        writer_u8(w, ',');
        writer_hex(w, m->keys[i]);
    }
    writer_u8(w, ')');
}

/* BIP 341: 32 bytes of version 1 that are the X of a point. */
static bool taproot_key(struct bytes script, struct bytes *out_key)
{
    unsigned version;
    uint8_t key[SECP_PUBKEY_SHORT_LEN] = {2}, point[SECP_PUBKEY_LONG_LEN];
    if (!script_witness_program(script, &version, out_key) || version != 1 || out_key->len != 32)
        return false;
    memcpy(key + 1, out_key->data, out_key->len);
    return secp_pubkey_decompress(key, point);
}

static void write_body(struct writer *w, const struct chain_params *p, struct bytes script)
{
    struct script_multisig multisig;
    struct bytes key;
    char address[ADDRESS_CAP];
    if (script_pubkey(script, &key) && !is_hybrid(key)) {
        write_hex(w, "pk(", key);
    } else if (script_multisig(script, &multisig) && !has_hybrid(&multisig)) {
        write_multi(w, &multisig);
    } else if (taproot_key(script, &key)) {
        write_hex(w, "rawtr(", key);
    } else if (address_write(p, script, address)) {
        writer_str(w, "addr(");
        writer_str(w, address);
        writer_str(w, ")");
    } else {
        write_hex(w, "raw(", script);
    }
}

void descriptor_write(struct writer *w, const struct chain_params *p, struct bytes script)
{
    char check[DESCRIPTOR_CHECK_LEN + 1];
    size_t from = w->pos;
    write_body(w, p, script);
    if (!writer_ok(w) || !descriptor_checksum(bytes_of(w->buf + from, w->pos - from), check))
        return;
    writer_u8(w, '#');
    writer_str(w, check);
}
