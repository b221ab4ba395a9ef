#include "chain/hash256.h"
#include "base/hex.h"

static struct hash256 turn(const uint8_t in[32])
{
    struct hash256 out;
    for (size_t i = 0; i < sizeof out.b; i++)
        out.b[i] = in[31 - i];
    return out;
}

char *hash256_hex_reversed(const struct hash256 *h, char out[HASH_HEX_CAP])
{
    struct hash256 turned = turn(h->b);
    return hex_encode(bytes_of(turned.b, sizeof turned.b), out, HASH_HEX_CAP);
}

bool hash256_of_hex_reversed(const char *hex, struct hash256 *out)
{
    uint8_t raw[32];
    if (hex_decode(bytes_of_str(hex), raw, sizeof raw))
        return false;
    *out = turn(raw);
    return true;
}
