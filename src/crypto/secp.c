#include "crypto/secp.h"
#include <secp256k1.h>
#include <secp256k1_extrakeys.h>
#include <secp256k1_schnorrsig.h>

#define DER_SEQUENCE 0x30u
#define DER_INTEGER  0x02u

/* --- DER as old nodes read it ---------------------------------------------------------------- */

/* The length of an integer: one byte, or 0x80 + n and n bytes of which leading zeros do not count.
 * Lengths that need four bytes or more are refused. */
static size_t lax_length(struct reader *r)
{
    size_t len = reader_u8(r), n = len & 0x7f;
    if (!(len & 0x80))
        return len;
    for (; n > 0 && reader_left(r) && reader_peek_u8(r) == 0; n--)
        reader_skip(r, 1);
    if (n >= 4)
        reader_fail(r, ERR_LIMIT, "length of four bytes or more");
    for (len = 0; n > 0 && reader_ok(r); n--)
        len = len << 8 | reader_u8(r);
    return len;
}

static struct bytes lax_integer(struct reader *r)
{
    if (reader_u8(r) != DER_INTEGER)
        reader_fail(r, ERR_MALFORMED, "not an integer");
    struct bytes v = reader_take(r, lax_length(r));
    while (v.len && v.data[0] == 0) {
        v.data++;
        v.len--;
    }
    return v;
}

/* R and S; what stands behind them, and the sequence's own length, are not looked at. *out_is_zero:
 * a number does not fit below the order, and stands for one that no signature has. */
static bool lax_read(struct bytes sig, secp256k1_ecdsa_signature *out, bool *out_is_zero)
{
    struct reader reader = reader_init(sig);
    uint8_t compact[64] = {0};
    if (reader_u8(&reader) != DER_SEQUENCE)
        return false;
    uint8_t len = reader_u8(&reader);
    reader_skip(&reader, len & 0x80 ? len & 0x7f : 0);
    struct bytes r = lax_integer(&reader), s = lax_integer(&reader);
    if (!reader_ok(&reader))
        return false;
    *out_is_zero = r.len > 32 || s.len > 32;
    if (*out_is_zero)
        return true;
    if (r.len)
        memcpy(compact + 32 - r.len, r.data, r.len);
    if (s.len)
        memcpy(compact + 64 - s.len, s.data, s.len);
    *out_is_zero = !secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, out, compact);
    return true;
}

bool secp_ecdsa_verify(struct bytes sig, struct bytes pubkey, const uint8_t hash[32])
{
    const secp256k1_context *ctx = secp256k1_context_static;
    secp256k1_ecdsa_signature s;
    secp256k1_pubkey key;
    bool is_zero;
    if (!lax_read(sig, &s, &is_zero) || is_zero)
        return false;
    if (pubkey.len == 0 || !secp256k1_ec_pubkey_parse(ctx, &key, pubkey.data, pubkey.len))
        return false;
    secp256k1_ecdsa_signature_normalize(ctx, &s, &s);
    return secp256k1_ecdsa_verify(ctx, &s, hash, &key);
}

bool secp_ecdsa_is_low_s(struct bytes sig)
{
    secp256k1_ecdsa_signature s;
    bool is_zero;
    if (!lax_read(sig, &s, &is_zero))
        return false;
    return is_zero || !secp256k1_ecdsa_signature_normalize(secp256k1_context_static, NULL, &s);
}

bool secp_schnorr_verify(const uint8_t sig[SECP_SCHNORR_LEN], const uint8_t pubkey[SECP_KEY_LEN],
                         struct bytes msg)
{
    static const uint8_t nothing;
    secp256k1_xonly_pubkey key;
    if (!secp256k1_xonly_pubkey_parse(secp256k1_context_static, &key, pubkey))
        return false;
    return secp256k1_schnorrsig_verify(secp256k1_context_static, sig, msg.len ? msg.data : &nothing,
                                       msg.len, &key);
}

bool secp_tweak_check(const uint8_t output[SECP_KEY_LEN], bool is_odd,
                      const uint8_t internal[SECP_KEY_LEN], const uint8_t tweak[SECP_KEY_LEN])
{
    secp256k1_xonly_pubkey key;
    if (!secp256k1_xonly_pubkey_parse(secp256k1_context_static, &key, internal))
        return false;
    return secp256k1_xonly_pubkey_tweak_add_check(secp256k1_context_static, output, is_odd, &key,
                                                  tweak);
}

bool secp_tweak_add(const uint8_t internal[SECP_KEY_LEN], const uint8_t tweak[SECP_KEY_LEN],
                    uint8_t output[SECP_KEY_LEN], bool *out_is_odd)
{
    const secp256k1_context *ctx = secp256k1_context_static;
    secp256k1_xonly_pubkey key, x;
    secp256k1_pubkey sum;
    int parity;
    if (!secp256k1_xonly_pubkey_parse(ctx, &key, internal) ||
        !secp256k1_xonly_pubkey_tweak_add(ctx, &sum, &key, tweak) ||
        !secp256k1_xonly_pubkey_from_pubkey(ctx, &x, &parity, &sum))
        return false;
    *out_is_odd = parity;
    return secp256k1_xonly_pubkey_serialize(ctx, output, &x);
}

/* --- making ---------------------------------------------------------------------------------- */

/* The library's context under a name of ours. */
struct secp_signer;

static secp256k1_context *context_of(struct secp_signer *s)
{
    return (secp256k1_context *)s;
}

struct secp_signer *secp_signer_new(const uint8_t random[32])
{
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    if (ctx && !secp256k1_context_randomize(ctx, random)) {
        secp256k1_context_destroy(ctx);
        ctx = NULL;
    }
    return (struct secp_signer *)ctx;
}

void secp_signer_free(struct secp_signer *s)
{
    if (s)
        secp256k1_context_destroy(context_of(s));
}

bool secp_pubkey(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN], uint8_t out[33])
{
    secp256k1_pubkey key;
    size_t len = 33;
    return secp256k1_ec_pubkey_create(context_of(s), &key, secret) &&
           secp256k1_ec_pubkey_serialize(context_of(s), out, &len, &key, SECP256K1_EC_COMPRESSED);
}

bool secp_ecdsa_sign(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN],
                     const uint8_t hash[32], uint8_t out[SECP_DER_LEN_MAX], size_t *out_len)
{
    secp256k1_ecdsa_signature sig;
    *out_len = SECP_DER_LEN_MAX;
    return secp256k1_ecdsa_sign(context_of(s), &sig, hash, secret, NULL, NULL) &&
           secp256k1_ecdsa_signature_serialize_der(context_of(s), out, out_len, &sig);
}

bool secp_schnorr_sign(struct secp_signer *s, const uint8_t secret[SECP_KEY_LEN], struct bytes msg,
                       const uint8_t aux[32], uint8_t out[SECP_SCHNORR_LEN])
{
    secp256k1_schnorrsig_extraparams extra = SECP256K1_SCHNORRSIG_EXTRAPARAMS_INIT;
    secp256k1_keypair pair;
    uint8_t random[32];
    memcpy(random, aux, sizeof random);
    extra.ndata = random;
    return secp256k1_keypair_create(context_of(s), &pair, secret) &&
           secp256k1_schnorrsig_sign_custom(context_of(s), out, msg.data, msg.len, &pair, &extra);
}

bool secp_secret_tweak(struct secp_signer *s, uint8_t secret[SECP_KEY_LEN],
                       const uint8_t tweak[SECP_KEY_LEN])
{
    secp256k1_keypair pair;
    return secp256k1_keypair_create(context_of(s), &pair, secret) &&
           secp256k1_keypair_xonly_tweak_add(context_of(s), &pair, tweak) &&
           secp256k1_keypair_sec(context_of(s), secret, &pair);
}
