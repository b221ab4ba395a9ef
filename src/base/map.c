/* Linear probing. A slot is the value (so that it is aligned), the key, and in its last four bytes
 * a tag: 0 when free, otherwise the top bit and 31 bits of the hash, which also give the slot's
 * home, so that growing and closing gaps need not hash again. Removal moves later items of the
 * run back into the gap; there are no tombstones.
 */
#include "base/map.h"
#include "base/siphash.h"
#include "base/size.h"
#include <assert.h>

#define MAP_ALIGN     8u
#define MAP_SLOTS_MIN 8u
#define MAP_SLOTS_MAX ((size_t)1 << 31) /* the bits of a tag */
#define TAG_USED      0x80000000u

static size_t align_up(size_t len)
{
    return (len + MAP_ALIGN - 1) & ~(size_t)(MAP_ALIGN - 1);
}

void map_init(struct map *m, struct mem *mem, struct map_seed seed, size_t key_len,
              size_t value_len, size_t n_max)
{
    *m = (struct map){.mem = mem,
                      .seed = seed,
                      .key_len = key_len,
                      .value_len = value_len,
                      .slot_len = align_up(align_up(value_len) + key_len + sizeof(uint32_t)),
                      .n_max = n_max};
}

void map_clear(struct map *m)
{
    if (m->slots)
        mem_free(m->mem, m->slots);
    m->slots = NULL;
    m->n = m->n_slots = 0;
}

static uint8_t *slot_at(const struct map *m, size_t i)
{
    return m->slots + i * m->slot_len;
}

static uint8_t *slot_key(const struct map *m, uint8_t *slot)
{
    return slot + align_up(m->value_len);
}

static uint32_t slot_tag(const struct map *m, const uint8_t *slot)
{
    uint32_t tag;
    memcpy(&tag, slot + m->slot_len - sizeof tag, sizeof tag);
    return tag;
}

static void slot_set_tag(const struct map *m, uint8_t *slot, uint32_t tag)
{
    memcpy(slot + m->slot_len - sizeof tag, &tag, sizeof tag);
}

static uint32_t key_tag(const struct map *m, const void *key)
{
    return (uint32_t)map_hash(m->seed, key, m->key_len) | TAG_USED;
}

/* The slot that holds the key, or the free one where it would go. There is always a free one. */
static uint8_t *map_find(const struct map *m, const void *key, uint32_t tag)
{
    for (size_t i = tag & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
        uint8_t *slot = slot_at(m, i);
        uint32_t found = slot_tag(m, slot);
        if (!found || (found == tag && memcmp(slot_key(m, slot), key, m->key_len) == 0))
            return slot;
    }
}

void *map_get(const struct map *m, const void *key)
{
    if (m->n == 0)
        return NULL;
    uint8_t *slot = map_find(m, key, key_tag(m, key));
    return slot_tag(m, slot) ? slot : NULL;
}

static uint8_t *find_free(const struct map *m, uint32_t tag)
{
    size_t i = tag & (m->n_slots - 1);
    while (slot_tag(m, slot_at(m, i)))
        i = (i + 1) & (m->n_slots - 1);
    return slot_at(m, i);
}

static bool map_grow(struct map *m)
{
    struct map old = *m;
    size_t n_slots = size_max(m->n_slots * 2, MAP_SLOTS_MIN);
    uint8_t *slots = n_slots <= MAP_SLOTS_MAX ? mem_calloc(m->mem, n_slots, m->slot_len) : NULL;
    if (!slots)
        return false;
    m->slots = slots;
    m->n_slots = n_slots;
    for (size_t i = 0; i < old.n_slots; i++) {
        uint32_t tag = slot_tag(m, slot_at(&old, i));
        if (tag)
            memcpy(find_free(m, tag), slot_at(&old, i), m->slot_len);
    }
    mem_free(m->mem, old.slots);
    return true;
}

void *map_put(struct map *m, const void *key, bool *out_is_new)
{
    uint32_t tag = key_tag(m, key);
    uint8_t *slot = m->n_slots ? map_find(m, key, tag) : NULL;
    bool is_new = !slot || !slot_tag(m, slot);
    if (out_is_new)
        *out_is_new = is_new;
    if (!is_new)
        return slot;
    if (m->n >= m->n_max)
        return NULL;
    if (m->n >= m->n_slots / 4 * 3) { /* at most three quarters are used */
        if (!map_grow(m))
            return NULL;
        slot = find_free(m, tag);
    }
    memset(slot, 0, m->value_len);
    memcpy(slot_key(m, slot), key, m->key_len);
    slot_set_tag(m, slot, tag);
    m->n++;
    return slot;
}

bool map_remove(struct map *m, const void *key)
{
    if (m->n == 0)
        return false;
    size_t mask = m->n_slots - 1;
    uint8_t *gap = map_find(m, key, key_tag(m, key));
    if (!slot_tag(m, gap))
        return false;
    size_t gap_index = (size_t)(gap - m->slots) / m->slot_len;
    for (size_t i = (gap_index + 1) & mask;; i = (i + 1) & mask) {
        uint32_t tag = slot_tag(m, slot_at(m, i));
        if (!tag)
            break;
        /* An item may move back into the gap if its home is not beyond it. */
        if (((i - tag) & mask) < ((i - gap_index) & mask))
            continue;
        memcpy(slot_at(m, gap_index), slot_at(m, i), m->slot_len);
        gap_index = i;
    }
    slot_set_tag(m, slot_at(m, gap_index), 0);
    m->n--;
    return true;
}

bool map_next(const struct map *m, size_t *cursor, const void **out_key, void **out_value)
{
    for (; *cursor < m->n_slots; ++*cursor) {
        uint8_t *slot = slot_at(m, *cursor);
        if (!slot_tag(m, slot))
            continue;
        if (out_key)
            *out_key = slot_key(m, slot);
        if (out_value)
            *out_value = slot;
        ++*cursor;
        return true;
    }
    return false;
}

/* SipHash-1-3: one round for each word and three at the end. */
uint64_t map_hash(struct map_seed seed, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t v[4];
    siphash_start(v, seed.k0, seed.k1);
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8)
        siphash_word(v, siphash_load(p), 1);
    siphash_word(v, siphash_load_part(p, left) | (uint64_t)len << 56, 1);
    return siphash_end(v, 0xff, 3);
}
