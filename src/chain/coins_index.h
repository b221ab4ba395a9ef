/* coins_index: from an outpoint's tag to its entry's handle: open addressing in one array of 8-byte
 * slots, sorted by tag.
 *
 * A tag's home is its share of the array (tag * n / 2^32), so tags keep their order and the array
 * grows by copying from front to back, without a look at the entries. Runs are sorted: a search
 * for what is not there ends as early as one for what is.
 *
 * Ownership  owns the array; knows handles as numbers only
 * Threads    one owner; looking is fine from others while nothing changes
 * Errors     ERR_NO_MEMORY
 */
#pragma once
#include "base/err.h"
#include "base/mem.h"

struct coins_slot {
    uint32_t tag, handle; /* handle 0: free */
};

struct coins_index {
    struct mem *mem;
    void (*advise)(void *p, size_t len); /* of each array; may be NULL */
    void *block;                         /* as allocated; slots begin at its first cache line */
    struct coins_slot *slots;            /* n_slots and a tail for runs that go past the end */
    size_t n_slots, n_tail, n;
};

void coins_index_init(struct coins_index *x, struct mem *mem);
void coins_index_clear(struct coins_index *x);
/* Room for one more: after this coins_index_insert rarely needs memory. */
enum err_code coins_index_reserve(struct coins_index *x) MUST_USE;
enum err_code coins_index_insert(struct coins_index *x, uint32_t tag, uint32_t handle) MUST_USE;
void coins_index_remove(struct coins_index *x, struct coins_slot *slot);
void coins_index_reset(struct coins_index *x); /* empty; keeps the array */
size_t coins_index_used_len(const struct coins_index *x);
/* What the next growth will take on top, once it is near; 0 before. */
size_t coins_index_growth_len(const struct coins_index *x);
void coins_index_check(const struct coins_index *x);

static inline size_t coins_index_home(const struct coins_index *x, uint32_t tag)
{
    return (size_t)(((uint64_t)tag * x->n_slots) >> 32);
}

static inline void coins_index_prefetch(const struct coins_index *x, uint32_t tag)
{
    __builtin_prefetch(x->slots + coins_index_home(x, tag));
}

/* The first slot with this tag or NULL; further ones with the same tag follow it at once. */
static inline struct coins_slot *coins_index_first(const struct coins_index *x, uint32_t tag)
{
    struct coins_slot *s = x->slots + coins_index_home(x, tag);
    while (s->handle && s->tag < tag)
        s++;
    return s->handle && s->tag == tag ? s : NULL;
}
