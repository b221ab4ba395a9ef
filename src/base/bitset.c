#include "base/bitset.h"
#include "base/size.h"
#include <assert.h>

static size_t bitset_len(const struct bitset *b)
{
    return (size_t)div_ceil(b->n, 8);
}

/* The bits of the last byte that mean something; 0xff when all do. */
static uint8_t last_mask(const struct bitset *b)
{
    return (uint8_t)(b->n % 8 ? 0xff00u >> (b->n % 8) : 0xff);
}

enum err_code bitset_init(struct bitset *b, struct mem *mem, uint32_t n)
{
    *b = (struct bitset){.mem = mem};
    b->bits = mem_calloc(mem, (size_t)div_ceil(n, 8), 1);
    if (!b->bits)
        return ERR_NO_MEMORY;
    b->n = n;
    return ERR_OK;
}

void bitset_clear(struct bitset *b)
{
    if (b->mem)
        mem_free(b->mem, b->bits);
    *b = (struct bitset){.mem = b->mem};
}

bool bitset_set(struct bitset *b, uint32_t i)
{
    assert(i < b->n);
    uint8_t bit = (uint8_t)(0x80 >> (i & 7));
    if (b->bits[i >> 3] & bit)
        return false;
    b->bits[i >> 3] |= bit;
    b->n_set++;
    return true;
}

bool bitset_unset(struct bitset *b, uint32_t i)
{
    assert(i < b->n);
    uint8_t bit = (uint8_t)(0x80 >> (i & 7));
    if (!(b->bits[i >> 3] & bit))
        return false;
    b->bits[i >> 3] &= (uint8_t)~bit;
    b->n_set--;
    return true;
}

void bitset_set_all(struct bitset *b)
{
    size_t len = bitset_len(b);
    if (len == 0)
        return;
    memset(b->bits, 0xff, len);
    b->bits[len - 1] = last_mask(b);
    b->n_set = b->n;
}

void bitset_unset_all(struct bitset *b)
{
    if (b->n)
        memset(b->bits, 0, bitset_len(b));
    b->n_set = 0;
}

bool bitset_is_full(const struct bitset *b)
{
    return b->n_set == b->n;
}

enum err_code bitset_read(struct bitset *b, struct bytes wire)
{
    size_t len = bitset_len(b);
    if (wire.len != len)
        return ERR_MALFORMED;
    if (len == 0)
        return ERR_OK;
    if (wire.data[len - 1] & (uint8_t)~last_mask(b))
        return ERR_MALFORMED;
    memcpy(b->bits, wire.data, len);
    b->n_set = 0;
    for (size_t i = 0; i < len; i++)
        b->n_set += (uint32_t)__builtin_popcount(b->bits[i]);
    return ERR_OK;
}

struct bytes bitset_bytes(const struct bitset *b)
{
    return (struct bytes){b->bits, bitset_len(b)};
}

/* The first bit at or after `from` that is set in bits ^ flip, eight bytes at a time. */
static uint32_t bitset_next(const struct bitset *b, uint32_t from, uint8_t flip)
{
    if (from >= b->n)
        return b->n;
    size_t len = bitset_len(b), i = from >> 3;
    uint8_t byte = (uint8_t)((b->bits[i] ^ flip) & (0xff >> (from & 7)));
    uint64_t dull = flip ? UINT64_MAX : 0;
    while (!byte && ++i < len) {
        for (uint64_t word; i + sizeof word <= len; i += sizeof word) {
            memcpy(&word, b->bits + i, sizeof word);
            if (word != dull)
                break;
        }
        if (i < len)
            byte = b->bits[i] ^ flip;
    }
    if (!byte)
        return b->n;
    uint64_t found = (uint64_t)i * 8 + (uint64_t)__builtin_clz(byte) - 24;
    return (uint32_t)u64_min(found, b->n); /* spare bits count as unset */
}

uint32_t bitset_next_set(const struct bitset *b, uint32_t from)
{
    return bitset_next(b, from, 0);
}

uint32_t bitset_next_unset(const struct bitset *b, uint32_t from)
{
    return bitset_next(b, from, 0xff);
}
