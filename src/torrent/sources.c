#include "torrent/sources.h"
#include "base/size.h"
#include <assert.h>

#define SOURCES_CAP_FIRST 8u

void sources_init(struct sources *s, struct mem *mem)
{
    *s = (struct sources){.mem = mem};
}

void sources_clear(struct sources *s)
{
    mem_free(s->mem, s->items);
    *s = (struct sources){.mem = s->mem};
}

const struct source *sources_find(const struct sources *s, const struct addr *addr)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (addr_equal(&s->items[i].addr, addr))
            return &s->items[i];
    return NULL;
}

static uint64_t worth(const struct source *source)
{
    return source->down_len + source->up_len;
}

/* A place for one more: a new one, or that of the smallest if it is smaller; NULL: neither. */
static struct source *make_place(struct sources *s, uint64_t new_worth)
{
    if (s->n == s->cap && s->cap < SOURCES_MAX) {
        uint32_t cap = s->cap ? 2 * s->cap : SOURCES_CAP_FIRST;
        struct source *items = mem_realloc(s->mem, s->items, cap * sizeof *items);
        if (items) {
            s->items = items;
            s->cap = cap;
        }
    }
    if (s->n < s->cap)
        return &s->items[s->n++];
    struct source *least = NULL;
    for (uint32_t i = 0; i < s->n; i++)
        if (!least || worth(&s->items[i]) < worth(least))
            least = &s->items[i];
    s->n_forgotten++;
    return least && worth(least) < new_worth ? least : NULL;
}

/* Called when a connection ends, so a walk over the table is cheap enough. */
void sources_add(struct sources *s, const struct source *source)
{
    if (worth(source) == 0)
        return;
    struct source *known = (struct source *)(uintptr_t)sources_find(s, &source->addr);
    if (known) {
        known->down_len += source->down_len;
        known->up_len += source->up_len;
        return;
    }
    struct source *place = make_place(s, worth(source));
    if (place)
        *place = *source;
}

void sources_check(const struct sources *s)
{
    assert(s->n <= s->cap && s->cap <= SOURCES_MAX);
    for (uint32_t i = 0; i < s->n; i++)
        assert(worth(&s->items[i]) > 0 && sources_find(s, &s->items[i].addr) == &s->items[i]);
}
