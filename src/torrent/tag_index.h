/* tag_index: hash index from 32-bit tags to positions in an array of the owner's: open addressing,
 * linear probing, removal by moving back, so that there are no grave-stones. Equal tags may occur:
 * the owner compares what lies at the position.
 *
 * Ownership  the slots, from the mem given to each call that may allocate
 * Threads    one owner
 * Errors     tag_index_reserve: false when memory is refused; nothing has changed then
 * Safety     tags of what strangers choose come from a keyed hash (map_hash)
 */
#pragma once
#include "base/err.h"
#include "base/mem.h"
#include "base/size.h"
#include <assert.h>
#include <string.h>

#define TAG_INDEX_NONE UINT32_MAX

struct tag_slot {
    uint32_t tag, position; /* TAG_INDEX_NONE: empty */
};

struct tag_index {
    struct tag_slot *slots;
    uint32_t n, n_slots; /* n_slots is 0 or a power of two; n <= 3/4 n_slots */
};

static inline uint32_t tag_index_home(const struct tag_index *x, uint32_t tag)
{
    return tag & (x->n_slots - 1);
}

/* Walks the positions with this tag: start with *cursor = 0; TAG_INDEX_NONE at the end. */
static inline uint32_t tag_index_next(const struct tag_index *x, uint32_t tag, uint32_t *cursor)
{
    while (*cursor < x->n_slots) {
        const struct tag_slot *s = &x->slots[(tag + (*cursor)++) & (x->n_slots - 1)];
        if (s->position == TAG_INDEX_NONE)
            break;
        if (s->tag == tag)
            return s->position;
    }
    return TAG_INDEX_NONE;
}

/* Room was reserved. */
static inline void tag_index_put(struct tag_index *x, uint32_t tag, uint32_t position)
{
    assert(x->n + 1 <= x->n_slots / 4 * 3);
    uint32_t i = tag_index_home(x, tag);
    while (x->slots[i].position != TAG_INDEX_NONE)
        i = (i + 1) & (x->n_slots - 1);
    x->slots[i] = (struct tag_slot){tag, position};
    x->n++;
}

/* The slot of (tag, position), which is inside. */
static inline uint32_t tag_index_slot(const struct tag_index *x, uint32_t tag, uint32_t position)
{
    uint32_t i = tag_index_home(x, tag);
    while (x->slots[i].position != position || x->slots[i].tag != tag) {
        assert(x->slots[i].position != TAG_INDEX_NONE);
        i = (i + 1) & (x->n_slots - 1);
    }
    return i;
}

static inline void tag_index_move(struct tag_index *x, uint32_t tag, uint32_t from, uint32_t to)
{
    x->slots[tag_index_slot(x, tag, from)].position = to;
}

void tag_index_remove(struct tag_index *x, uint32_t tag, uint32_t position);
bool tag_index_reserve(struct tag_index *x, struct mem *mem, uint32_t n) MUST_USE;
void tag_index_clear(struct tag_index *x, struct mem *mem);
void tag_index_check(const struct tag_index *x);
