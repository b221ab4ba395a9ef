#include "torrent/tag_index.h"

#define N_SLOTS_MIN 16u
#define N_SLOTS_MAX (1u << 31)

void tag_index_remove(struct tag_index *x, uint32_t tag, uint32_t position)
{
    uint32_t mask = x->n_slots - 1;
    uint32_t hole = tag_index_slot(x, tag, position);
    for (uint32_t i = (hole + 1) & mask; x->slots[i].position != TAG_INDEX_NONE;
         i = (i + 1) & mask) {
        /* It may move into the hole unless its home lies behind the hole. */
        uint32_t home = tag_index_home(x, x->slots[i].tag);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        x->slots[hole] = x->slots[i];
        hole = i;
    }
    x->slots[hole].position = TAG_INDEX_NONE;
    x->n--;
}

bool tag_index_reserve(struct tag_index *x, struct mem *mem, uint32_t n)
{
    uint32_t n_slots = x->n_slots ? x->n_slots : N_SLOTS_MIN;
    while (n > n_slots / 4 * 3) {
        if (n_slots == N_SLOTS_MAX)
            return false;
        n_slots *= 2;
    }
    if (n_slots == x->n_slots)
        return true;
    struct tag_index grown = {.n_slots = n_slots};
    grown.slots = mem_alloc(mem, (size_t)n_slots * sizeof *grown.slots);
    if (!grown.slots)
        return false;
    memset(grown.slots, 0xff, (size_t)n_slots * sizeof *grown.slots);
    for (uint32_t i = 0; i < x->n_slots; i++) {
        if (x->slots[i].position != TAG_INDEX_NONE)
            tag_index_put(&grown, x->slots[i].tag, x->slots[i].position);
    }
    mem_free(mem, x->slots);
    *x = grown;
    return true;
}

void tag_index_clear(struct tag_index *x, struct mem *mem)
{
    mem_free(mem, x->slots);
    *x = (struct tag_index){0};
}

void tag_index_check(const struct tag_index *x)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n_slots; i++) {
        if (x->slots[i].position == TAG_INDEX_NONE)
            continue;
        n++;
        /* Every slot from its home to here is taken. */
        for (uint32_t j = tag_index_home(x, x->slots[i].tag); j != i;
             j = (j + 1) & (x->n_slots - 1))
            assert(x->slots[j].position != TAG_INDEX_NONE);
    }
    assert(n == x->n && n <= x->n_slots / 4 * 3);
}
