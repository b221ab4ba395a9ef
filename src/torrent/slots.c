#include "torrent/slots.h"
#include <assert.h>

#define SLOT_NONE UINT32_MAX

void slots_init(struct slots *t, struct mem *mem, uint32_t n_max, uint32_t slot_bits,
                uint32_t id_bits)
{
    assert(slot_bits < 32 && id_bits > slot_bits && id_bits <= 64);
    uint32_t most = (1u << slot_bits) - 1;
    *t = (struct slots){.mem = mem,
                        .n_max = n_max < most ? n_max : most,
                        .free_first = SLOT_NONE,
                        .free_last = SLOT_NONE,
                        .slot_bits = slot_bits,
                        .generation_mask = UINT64_MAX >> (64 - (id_bits - slot_bits))};
}

void slots_clear(struct slots *t)
{
    mem_free(t->mem, t->slots);
    t->slots = NULL;
    t->n_slots = t->cap = t->n_used = 0;
    t->free_first = t->free_last = SLOT_NONE;
}

static bool slots_grow(struct slots *t)
{
    uint32_t cap = t->cap ? t->cap * 2 : 16;
    if (cap > t->n_max)
        cap = t->n_max;
    if (cap <= t->cap)
        return false;
    struct slot *bigger = mem_realloc(t->mem, t->slots, (size_t)cap * sizeof(*bigger));
    if (!bigger)
        return false;
    t->slots = bigger;
    t->cap = cap;
    return true;
}

static uint32_t slots_take_free(struct slots *t)
{
    uint32_t i = t->free_first;
    t->free_first = t->slots[i].next_free;
    if (t->free_first == SLOT_NONE)
        t->free_last = SLOT_NONE;
    return i;
}

uint64_t slots_put(struct slots *t, void *item)
{
    assert(item);
    uint32_t i;
    /* A fresh slot first: a freed one rests as long as the table may grow without a copy. */
    if (t->n_slots < t->cap || (t->free_first == SLOT_NONE && slots_grow(t))) {
        i = t->n_slots++;
        t->slots[i].generation = 0;
    } else if (t->free_first != SLOT_NONE) {
        i = slots_take_free(t);
    } else {
        return 0;
    }
    struct slot *slot = &t->slots[i];
    slot->generation = (slot->generation + 1) & t->generation_mask;
    if (slot->generation == 0)
        slot->generation = 1;
    slot->item = item;
    slot->next_free = SLOT_NONE;
    t->n_used++;
    return slot->generation << t->slot_bits | i;
}

void *slots_get(const struct slots *t, uint64_t id)
{
    uint64_t i = id & ((1u << t->slot_bits) - 1);
    if (i >= t->n_slots || t->slots[i].generation != id >> t->slot_bits)
        return NULL;
    return t->slots[i].item;
}

void slots_remove(struct slots *t, uint64_t id)
{
    uint32_t i = (uint32_t)(id & ((1u << t->slot_bits) - 1));
    assert(slots_get(t, id));
    t->slots[i].item = NULL;
    t->slots[i].next_free = SLOT_NONE;
    if (t->free_last == SLOT_NONE)
        t->free_first = i;
    else
        t->slots[t->free_last].next_free = i;
    t->free_last = i;
    t->n_used--;
}

void *slots_next(const struct slots *t, uint32_t *cursor)
{
    while (*cursor < t->n_slots) {
        void *item = t->slots[(*cursor)++].item;
        if (item)
            return item;
    }
    return NULL;
}

void slots_check(const struct slots *t)
{
    uint32_t n_used = 0, n_free = 0;
    for (uint32_t i = 0; i < t->n_slots; i++)
        n_used += t->slots[i].item != NULL;
    for (uint32_t i = t->free_first; i != SLOT_NONE; i = t->slots[i].next_free) {
        assert(i < t->n_slots && !t->slots[i].item);
        assert(++n_free <= t->n_slots);
    }
    assert(n_used == t->n_used && n_used + n_free == t->n_slots && t->n_slots <= t->cap);
}
