/* slots: a table of things named by numbers that go stale: id = generation | slot.
 *
 * An id that was given up finds nothing, also after its slot was used again: slots are reused in
 * the order they were freed, and each use counts the generation up. Id 0 is never given out.
 *
 * Ownership  items are borrowed
 * Threads    one owner
 * Errors     slots_put: 0 when the table holds n_max or memory is refused
 */
#pragma once
#include "base/mem.h"

struct slot {
    void *item;          /* NULL: free */
    uint64_t generation; /* from 1 */
    uint32_t next_free;
};

struct slots {
    struct mem *mem;
    struct slot *slots;
    uint32_t n_slots, cap, n_used, n_max;
    uint32_t free_first, free_last; /* UINT32_MAX: none */
    uint32_t slot_bits;
    uint64_t generation_mask;
};

/* Ids have id_bits (at most 64), slot_bits (under 32) of them for the slot. */
void slots_init(struct slots *t, struct mem *mem, uint32_t n_max, uint32_t slot_bits,
                uint32_t id_bits);
void slots_clear(struct slots *t);
uint64_t slots_put(struct slots *t, void *item);
void *slots_get(const struct slots *t, uint64_t id); /* NULL: stale or never given */
void slots_remove(struct slots *t, uint64_t id);     /* id is in use */
/* Walk in order of slots: start with *cursor 0; NULL at the end. Removal is fine. */
void *slots_next(const struct slots *t, uint32_t *cursor);
void slots_check(const struct slots *t);
