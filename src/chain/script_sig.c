#include "chain/script_sig.h"
#include "chain/script_cache.h"
#include "chain/sighash.h"
#include "crypto/secp.h"

/* --- forms ----------------------------------------------------------------------------------- */

/* BIP 66: an integer of the strict form: not empty, not negative, no zero in front but to keep it
 * positive. */
static bool is_strict_integer(struct bytes v)
{
    if (v.len == 0 || v.data[0] & 0x80)
        return false;
    return v.len == 1 || v.data[0] != 0 || v.data[1] & 0x80;
}

/* 30 len 02 len R 02 len S hashtype, and nothing else. */
bool script_sig_is_strict_der(struct bytes sig)
{
    if (sig.len < 9 || sig.len > 73 || sig.data[0] != 0x30 || sig.data[1] != sig.len - 3)
        return false;
    size_t r_len = sig.data[3];
    if (sig.data[2] != 0x02 || r_len + 5 >= sig.len)
        return false;
    size_t s_len = sig.data[5 + r_len];
    if (r_len + s_len + 7 != sig.len || sig.data[4 + r_len] != 0x02)
        return false;
    return is_strict_integer(bytes_sub(sig, 4, r_len)) &&
           is_strict_integer(bytes_sub(sig, 6 + r_len, s_len));
}

static bool has_known_hash_type(struct bytes sig)
{
    uint8_t type = sig.data[sig.len - 1] & (uint8_t)~SIGHASH_ANYONECANPAY;
    return type >= SIGHASH_ALL && type <= SIGHASH_SINGLE;
}

enum script_err script_sig_check_form(struct bytes sig, uint32_t flags)
{
    if (sig.len == 0)
        return SCRIPT_ERR_OK;
    if (flags & (SCRIPT_DERSIG | SCRIPT_LOW_S | SCRIPT_STRICTENC) && !script_sig_is_strict_der(sig))
        return SCRIPT_ERR_SIG_DER;
    if (flags & SCRIPT_LOW_S && !secp_ecdsa_is_low_s(bytes_sub(sig, 0, sig.len - 1)))
        return SCRIPT_ERR_SIG_HIGH_S;
    if (flags & SCRIPT_STRICTENC && !has_known_hash_type(sig))
        return SCRIPT_ERR_SIG_HASHTYPE;
    return SCRIPT_ERR_OK;
}

static bool is_compressed(struct bytes key)
{
    return key.len == 33 && (key.data[0] == 2 || key.data[0] == 3);
}

enum script_err script_key_check_form(struct bytes pubkey, bool is_witness_v0, uint32_t flags)
{
    bool is_uncompressed = pubkey.len == 65 && pubkey.data[0] == 4;
    if (flags & SCRIPT_STRICTENC && !is_compressed(pubkey) && !is_uncompressed)
        return SCRIPT_ERR_PUBKEYTYPE;
    if (flags & SCRIPT_WITNESS_PUBKEYTYPE && is_witness_v0 && !is_compressed(pubkey))
        return SCRIPT_ERR_WITNESS_PUBKEYTYPE;
    return SCRIPT_ERR_OK;
}

/* --- with the cache -------------------------------------------------------------------------- */

bool script_sig_verify_ecdsa(struct script_cache *cache, uint32_t flags, struct bytes sig,
                             struct bytes pubkey, const struct hash256 *hash)
{
    struct script_cache_key key;
    bool is_cached = script_cache_in_use(cache, flags);
    if (is_cached) {
        script_cache_sig_key(cache, 'E', hash, pubkey, sig, &key);
        if (script_cache_has(cache, &key))
            return true;
    }
    if (!secp_ecdsa_verify(sig, pubkey, hash->b))
        return false;
    if (is_cached && flags & SCRIPT_CACHE_STORE)
        script_cache_add(cache, &key);
    return true;
}

bool script_sig_verify_schnorr(struct script_cache *cache, uint32_t flags, const uint8_t sig[64],
                               const uint8_t pubkey[32], const struct hash256 *hash)
{
    struct script_cache_key key;
    bool is_cached = script_cache_in_use(cache, flags);
    if (is_cached) {
        script_cache_sig_key(cache, 'S', hash, bytes_of(pubkey, 32), bytes_of(sig, 64), &key);
        if (script_cache_has(cache, &key))
            return true;
    }
    if (!secp_schnorr_verify(sig, pubkey, bytes_of(hash->b, sizeof hash->b)))
        return false;
    if (is_cached && flags & SCRIPT_CACHE_STORE)
        script_cache_add(cache, &key);
    return true;
}
