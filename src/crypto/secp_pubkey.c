#include "crypto/secp_pubkey.h"
#include <secp256k1.h>

bool secp_pubkey_decompress(const uint8_t in[SECP_PUBKEY_SHORT_LEN],
                            uint8_t out[SECP_PUBKEY_LONG_LEN])
{
    secp256k1_pubkey key;
    size_t out_len = SECP_PUBKEY_LONG_LEN;
    return secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, in, SECP_PUBKEY_SHORT_LEN) &&
           secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &out_len, &key,
                                         SECP256K1_EC_UNCOMPRESSED);
}

bool secp_pubkey_long_is_valid(const uint8_t in[SECP_PUBKEY_LONG_LEN])
{
    secp256k1_pubkey key;
    return in[0] == 0x04 &&
           secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, in, SECP_PUBKEY_LONG_LEN);
}
