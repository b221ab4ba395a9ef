/* address: what people write for a scriptPubKey: Base58Check (P2PKH, P2SH), Bech32 (BIP 173) for
 * witness version 0 and Bech32m (BIP 350) for the others; and keys in wallet import format.
 *
 * Threads    pure functions
 * Errors     false for what is no address, is of another network, or does not fit
 */
#pragma once
#include "chain/params.h"

#define ADDRESS_CAP        91u  /* BIP 173: at most 90 characters; and the terminator */
#define ADDRESS_SCRIPT_MAX 42u  /* version, length and 40 bytes */
#define BASE58_LEN_MAX     256u /* ours: bytes that go through the codec at once */

/* Without checksum: big numbers in base 58, zeros in front kept. Terminated. */
bool base58_encode(struct bytes in, char *out, size_t out_cap);
bool base58_decode(struct bytes text, uint8_t *out, size_t out_cap, size_t *out_len);
/* The last four bytes are a double SHA-256's first. */
bool base58check_encode(struct bytes in, char *out, size_t out_cap);
bool base58check_decode(struct bytes text, uint8_t *out, size_t out_cap, size_t *out_len);

/* A whole Bech32 string: prefix in lower case, values of five bits without the checksum. */
struct bech32 {
    char hrp[84];
    uint8_t values[84];
    size_t n_values;
    bool is_m; /* Bech32m's checksum */
};
bool bech32_read(struct bytes text, struct bech32 *out);
bool bech32_write(const struct bech32 *b, char *out, size_t out_cap);
/* The values as a witness program (BIP 173, "Segwit address format"), whichever checksum. */
bool bech32_program(const struct bech32 *b, unsigned *out_version, uint8_t out[40],
                    size_t *out_len);

/* False for scripts that have no address. */
bool address_write(const struct chain_params *p, struct bytes script, char out[ADDRESS_CAP]);
bool address_read(const struct chain_params *p, struct bytes text, uint8_t out[ADDRESS_SCRIPT_MAX],
                  size_t *out_len);
/* 32 bytes of a secret key; whether its public key is written compressed. */
bool secret_key_read(const struct chain_params *p, struct bytes text, uint8_t out[32],
                     bool *out_is_compressed);
