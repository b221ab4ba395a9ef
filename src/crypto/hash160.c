#include "crypto/hash160.h"
#include "crypto/sha.h"
#include <openssl/ripemd.h>

void ripemd160(struct bytes in, uint8_t out[HASH160_LEN])
{
    RIPEMD160_CTX ctx;
    RIPEMD160_Init(&ctx);
    if (in.len)
        RIPEMD160_Update(&ctx, in.data, in.len);
    RIPEMD160_Final(out, &ctx);
}

void hash160(struct bytes in, uint8_t out[HASH160_LEN])
{
    uint8_t inner[SHA256_LEN];
    sha256(in, inner);
    ripemd160(bytes_of(inner, sizeof inner), out);
}
