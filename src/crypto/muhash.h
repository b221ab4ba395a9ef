/* muhash: MuHash3072, a hash of a set: the order of its members does not matter, they can be added
 * and taken away one by one, and halves computed apart can be joined.
 *
 * A member becomes a number modulo 2^3072 - 1103717: its SHA-256 is the key of a ChaCha20 stream of
 * 384 bytes. The set is the product of the members added over the product of those taken away
 * (Bellare and Micciancio, 1997; Bitcoin Core doc/design, src/crypto/muhash.h).
 *
 * Ownership  plain values
 * Threads    a value belongs to one thread; several threads work on parts and join them
 * Errors     muhash_final: libcrypto has no memory, or a denominator read from strangers is zero
 */
#pragma once
#include "base/bytes.h"

#define MUHASH_LIMBS 48u
#define MUHASH_LEN   384u

struct muhash_number {
    uint64_t limb[MUHASH_LIMBS]; /* least significant first; below the prime */
};

struct muhash {
    struct muhash_number numerator, denominator;
};

void muhash_init(struct muhash *m); /* the empty set */
void muhash_add(struct muhash *m, struct bytes member);
void muhash_remove(struct muhash *m, struct bytes member);
/* The union, each member as often as in both. */
void muhash_join(struct muhash *m, const struct muhash *other);
/* SHA-256 of the reduced number, in wire order; false: no memory. The set may go on growing. */
bool muhash_final(const struct muhash *m, uint8_t out[32]) MUST_USE;

/* Numerator, then denominator, each least significant byte first, as Bitcoin Core keeps it. */
void muhash_write(const struct muhash *m, uint8_t out[2 * MUHASH_LEN]);
void muhash_read(struct muhash *m, const uint8_t in[2 * MUHASH_LEN]);
