/* bitset: bits 0..n-1, most significant bit of each byte first, as BEP 3's bitfield has them,
 * so that the wire form is the memory. Spare bits at the end are always zero.
 *
 * Ownership  owns its bytes
 * Threads    one owner
 * Errors     bitset_init: ERR_NO_MEMORY; bitset_read: ERR_MALFORMED (length or spare bits)
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"

struct bitset {
    struct mem *mem;
    uint8_t *bits;
    uint32_t n, n_set;
};

enum err_code bitset_init(struct bitset *b, struct mem *mem, uint32_t n) MUST_USE; /* all clear */
void bitset_clear(struct bitset *b);
static inline bool bitset_get(const struct bitset *b, uint32_t i)
{
    return i < b->n && (b->bits[i >> 3] >> (7 - (i & 7)) & 1);
}
bool bitset_set(struct bitset *b, uint32_t i);   /* true when it was clear; i < n */
bool bitset_unset(struct bitset *b, uint32_t i); /* true when it was set */
void bitset_set_all(struct bitset *b);
void bitset_unset_all(struct bitset *b);
bool bitset_is_full(const struct bitset *b);
enum err_code bitset_read(struct bitset *b, struct bytes wire) MUST_USE; /* replaces the content */
struct bytes bitset_bytes(const struct bitset *b);                 /* the wire form, borrowed */
uint32_t bitset_next_set(const struct bitset *b, uint32_t from);   /* n when none */
uint32_t bitset_next_unset(const struct bitset *b, uint32_t from); /* n when none */
