#include "crypto/sha.h"
#include <openssl/crypto.h>

void sha1_init(struct sha1_state *s)
{
    SHA1_Init(&s->ctx);
}

void sha1_update(struct sha1_state *s, struct bytes in)
{
    if (in.len)
        SHA1_Update(&s->ctx, in.data, in.len);
}

void sha1_final(struct sha1_state *s, uint8_t out[SHA1_LEN])
{
    SHA1_Final(out, &s->ctx);
}

/* Not libcrypto's SHA1(): that one looks the algorithm up by name each time. */
void sha1(struct bytes in, uint8_t out[SHA1_LEN])
{
    struct sha1_state s;
    sha1_init(&s);
    sha1_update(&s, in);
    sha1_final(&s, out);
}

void sha256_init(struct sha256_state *s)
{
    SHA256_Init(&s->ctx);
}

void sha256_update(struct sha256_state *s, struct bytes in)
{
    if (in.len)
        SHA256_Update(&s->ctx, in.data, in.len);
}

void sha256_final(struct sha256_state *s, uint8_t out[SHA256_LEN])
{
    SHA256_Final(out, &s->ctx);
}

void sha256(struct bytes in, uint8_t out[SHA256_LEN])
{
    struct sha256_state s;
    sha256_init(&s);
    sha256_update(&s, in);
    sha256_final(&s, out);
}

/* Two blocks, of which the second is always the same padding: FIPS 180-4, section 5.1.1, for a
 * message of 512 bits. */
void sha256_pair(const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN],
                 uint8_t out[SHA256_LEN])
{
    static const uint8_t padding[64] = {[0] = 0x80, [62] = 0x02};
    uint8_t block[2 * SHA256_LEN];
    SHA256_CTX ctx;
    memcpy(block, left, SHA256_LEN);
    memcpy(block + SHA256_LEN, right, SHA256_LEN);
    SHA256_Init(&ctx);
    SHA256_Transform(&ctx, block);
    SHA256_Transform(&ctx, padding);
    for (size_t i = 0; i < SHA256_LEN; i++)
        out[i] = (uint8_t)(ctx.h[i / 4] >> (24 - 8 * (i % 4)));
}

/* RFC 2104 with SHA-256: hash((key ^ opad) || hash((key ^ ipad) || in)). */
void hmac_sha256(struct bytes key, struct bytes in, uint8_t out[SHA256_LEN])
{
    uint8_t pad[SHA256_CBLOCK] = {0}, inner[SHA256_LEN];
    struct sha256_state s;
    if (key.len > sizeof pad)
        sha256(key, pad);
    else if (key.len)
        memcpy(pad, key.data, key.len);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36;
    sha256_init(&s);
    sha256_update(&s, bytes_of(pad, sizeof pad));
    sha256_update(&s, in);
    sha256_final(&s, inner);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    sha256_init(&s);
    sha256_update(&s, bytes_of(pad, sizeof pad));
    sha256_update(&s, bytes_of(inner, sizeof inner));
    sha256_final(&s, out);
    OPENSSL_cleanse(pad, sizeof pad);
    OPENSSL_cleanse(&s, sizeof s);
}
