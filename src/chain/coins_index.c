#include "chain/coins_index.h"
#include "base/bytes.h"
#include "base/size.h"
#include <assert.h>

#define INDEX_SLOTS_MIN 64u
#define INDEX_TAIL_MAX  512u /* longer runs at the very end make the array grow */
#define LINE_LEN        64u

/* Before the first insert: one free slot, so that searches need no special case. */
static const struct coins_slot no_slots[1];

void coins_index_init(struct coins_index *x, struct mem *mem)
{
    *x = (struct coins_index){.mem = mem, .slots = (struct coins_slot *)(uintptr_t)no_slots};
}

void coins_index_clear(struct coins_index *x)
{
    mem_free(x->mem, x->block);
    void (*advise)(void *, size_t) = x->advise;
    coins_index_init(x, x->mem);
    x->advise = advise;
}

static size_t array_len(size_t n_slots)
{
    /* a free slot behind the tail ends every search */
    return (n_slots + size_min(n_slots, INDEX_TAIL_MAX) + 1) * sizeof(struct coins_slot) + LINE_LEN;
}

static bool index_is_loaded(const struct coins_index *x)
{
    return x->n >= x->n_slots / 5 * 4;
}

static size_t next_n_slots(const struct coins_index *x)
{
    return size_max(x->n_slots + x->n_slots / 2, INDEX_SLOTS_MIN);
}

/* Slots come in order of tags: each goes to its home or right behind the one before. */
static bool copy_sorted(struct coins_index *to, const struct coins_index *from)
{
    size_t next = 0;
    for (size_t i = 0; i < from->n_slots + from->n_tail; i++) {
        if (!from->slots[i].handle)
            continue;
        next = size_max(next, coins_index_home(to, from->slots[i].tag));
        if (next == to->n_slots + to->n_tail)
            return false;
        to->slots[next++] = from->slots[i];
    }
    to->n = from->n;
    return true;
}

static enum err_code index_grow(struct coins_index *x)
{
    struct coins_index to;
    coins_index_init(&to, x->mem);
    to.advise = x->advise;
    to.n_slots = next_n_slots(x);
    to.n_tail = size_min(to.n_slots, INDEX_TAIL_MAX);
    to.block = mem_calloc(x->mem, 1, array_len(to.n_slots));
    if (!to.block)
        return ERR_NO_MEMORY;
    if (x->advise)
        x->advise(to.block, array_len(to.n_slots));
    size_t off = -(uintptr_t)to.block % LINE_LEN;
    to.slots = (struct coins_slot *)(void *)((uint8_t *)to.block + off);
    if (!copy_sorted(&to, x)) {
        coins_index_clear(&to);
        return ERR_NO_MEMORY;
    }
    coins_index_clear(x);
    *x = to;
    return ERR_OK;
}

enum err_code coins_index_reserve(struct coins_index *x)
{
    return index_is_loaded(x) ? index_grow(x) : ERR_OK;
}

enum err_code coins_index_insert(struct coins_index *x, uint32_t tag, uint32_t handle)
{
    for (;;) {
        enum err_code code = coins_index_reserve(x);
        if (code)
            return code;
        struct coins_slot *s = x->slots + coins_index_home(x, tag);
        while (s->handle && s->tag <= tag)
            s++;
        struct coins_slot *end = s;
        while (end->handle)
            end++;
        if ((size_t)(end - x->slots) < x->n_slots + x->n_tail) {
            memmove(s + 1, s, (size_t)(end - s) * sizeof *s);
            *s = (struct coins_slot){tag, handle};
            x->n++;
            return ERR_OK;
        }
        if ((code = index_grow(x)))
            return code;
    }
}

void coins_index_remove(struct coins_index *x, struct coins_slot *slot)
{
    struct coins_slot *end = slot + 1; /* what follows moves back, up to one that is at home */
    while (end->handle && x->slots + coins_index_home(x, end->tag) < end)
        end++;
    memmove(slot, slot + 1, (size_t)(end - slot - 1) * sizeof *slot);
    end[-1] = (struct coins_slot){0};
    x->n--;
}

void coins_index_reset(struct coins_index *x)
{
    if (x->block)
        memset(x->slots, 0, (x->n_slots + x->n_tail) * sizeof *x->slots);
    x->n = 0;
}

size_t coins_index_used_len(const struct coins_index *x)
{
    return x->block ? array_len(x->n_slots) : 0;
}

size_t coins_index_growth_len(const struct coins_index *x)
{
    return x->n >= x->n_slots / 4 * 3 ? array_len(next_n_slots(x)) : 0;
}

void coins_index_check(const struct coins_index *x)
{
    size_t n = 0;
    const struct coins_slot *before = NULL;
    for (size_t i = 0; i < x->n_slots + x->n_tail; i++) {
        const struct coins_slot *s = &x->slots[i];
        if (!s->handle)
            continue;
        size_t home = coins_index_home(x, s->tag);
        assert(home <= i && (!before || before->tag <= s->tag));
        assert(home == i || s[-1].handle); /* no gap between a slot and its home */
        before = s;
        n++;
    }
    assert(n == x->n && !x->slots[x->n_slots + x->n_tail].handle);
    (void)before;
}
