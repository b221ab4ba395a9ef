#include "chain/coins_pool.h"
#include <assert.h>

/* Lengths of entries. Up to 128 in steps of 8: nearly all coins; above, so that little of a slab
 * is left over. The first 8 bytes of a slab are not used: handle 0 is none. */
static const uint16_t class_len[COINS_N_CLASSES] = {
    56,  64,  72,  80,  88,  96,  104, 112,  120,  128,  144,  160,  176,  192,   224,
    256, 320, 384, 448, 512, 640, 776, 1024, 1360, 2040, 3272, 4088, 5456, 16376,
};
#define CLASS_SMALL_LEN 128u /* up to here a class is found without looking */

static_assert(COINS_ENTRY_HEAD_LEN == 52, "an entry of 80 bytes has room for 28 of script");
static_assert(COINS_ENTRY_HEAD_LEN + COIN_SCRIPT_LEN_MAX <= 16376, "every coin has a class");

static uint32_t class_of(size_t script_len)
{
    size_t len = COINS_ENTRY_HEAD_LEN + script_len;
    if (len <= CLASS_SMALL_LEN)
        return len <= class_len[0] ? 0 : (uint32_t)((len - class_len[0] + 7) / COINS_UNIT_LEN);
    uint32_t class = (CLASS_SMALL_LEN - class_len[0]) / COINS_UNIT_LEN;
    while (class_len[class] < len)
        class ++;
    return class;
}

void coins_pool_init(struct coins_pool *p, struct mem *mem)
{
    *p = (struct coins_pool){.mem = mem, .free_slab = COINS_SLAB_NONE};
    for (uint32_t i = 0; i < COINS_N_CLASSES; i++)
        p->with_room[i] = COINS_SLAB_NONE;
}

void coins_pool_clear(struct coins_pool *p)
{
    for (uint32_t i = 0; i < p->n_chunks; i++)
        mem_free(p->mem, p->chunks[i]);
    mem_free(p->mem, p->chunks);
    mem_free(p->mem, p->slabs);
    void (*advise)(void *, size_t) = p->advise;
    coins_pool_init(p, p->mem);
    p->advise = advise;
}

static bool tables_grow(struct coins_pool *p)
{
    uint32_t cap = p->chunks_cap + p->chunks_cap / 2 + 8;
    uint8_t **chunks = mem_realloc(p->mem, p->chunks, cap * sizeof *chunks);
    if (!chunks)
        return false;
    p->chunks = chunks;
    struct coins_slab *slabs =
        mem_realloc(p->mem, p->slabs, (size_t)cap * COINS_CHUNK_SLABS * sizeof *slabs);
    if (!slabs)
        return false;
    p->slabs = slabs;
    p->chunks_cap = cap;
    return true;
}

static bool pool_grow(struct coins_pool *p)
{
    if (p->n_chunks == UINT32_MAX / (COINS_CHUNK_SLABS * COINS_SLAB_UNITS) ||
        (p->n_chunks == p->chunks_cap && !tables_grow(p)))
        return false;
    uint8_t *chunk = mem_alloc(p->mem, (size_t)COINS_CHUNK_SLABS * COINS_SLAB_LEN);
    if (!chunk)
        return false;
    if (p->advise)
        p->advise(chunk, (size_t)COINS_CHUNK_SLABS * COINS_SLAB_LEN);
    p->chunks[p->n_chunks++] = chunk;
    for (uint32_t i = coins_pool_n_slabs(p); i-- > coins_pool_n_slabs(p) - COINS_CHUNK_SLABS;) {
        p->slabs[i] = (struct coins_slab){.next = p->free_slab, .class = COINS_N_CLASSES};
        p->free_slab = i;
    }
    return true;
}

/* --- slabs with room, per class -------------------------------------------------------------- */

static void slab_list(struct coins_pool *p, uint32_t i)
{
    struct coins_slab *s = &p->slabs[i];
    s->prev = COINS_SLAB_NONE;
    s->next = p->with_room[s->class];
    s->is_listed = true;
    if (s->next != COINS_SLAB_NONE)
        p->slabs[s->next].prev = i;
    p->with_room[s->class] = i;
}

static void slab_unlist(struct coins_pool *p, uint32_t i)
{
    struct coins_slab *s = &p->slabs[i];
    if (s->next != COINS_SLAB_NONE)
        p->slabs[s->next].prev = s->prev;
    if (s->prev != COINS_SLAB_NONE)
        p->slabs[s->prev].next = s->next;
    else
        p->with_room[s->class] = s->next;
    s->is_listed = false;
}

static bool slab_take(struct coins_pool *p, uint32_t class)
{
    if (p->free_slab == COINS_SLAB_NONE && !pool_grow(p))
        return false;
    uint32_t i = p->free_slab;
    p->free_slab = p->slabs[i].next;
    p->slabs[i] = (struct coins_slab){.class = (uint8_t) class};
    slab_list(p, i);
    p->n_used_slabs++;
    return true;
}

static void slab_give_back(struct coins_pool *p, uint32_t i)
{
    if (p->slabs[i].is_listed)
        slab_unlist(p, i);
    p->slabs[i] = (struct coins_slab){.next = p->free_slab, .class = COINS_N_CLASSES};
    p->free_slab = i;
    p->n_used_slabs--;
}

static uint32_t slab_n_entries(uint32_t class)
{
    return (COINS_SLAB_LEN - COINS_UNIT_LEN) / class_len[class];
}

/* --- entries --------------------------------------------------------------------------------- */

uint32_t coins_pool_nth(const struct coins_pool *p, uint32_t slab, uint32_t i)
{
    return slab * COINS_SLAB_UNITS + 1 + i * (class_len[p->slabs[slab].class] / COINS_UNIT_LEN);
}

uint32_t coins_walk_next(struct coins_walk *w)
{
    const struct coins_pool *p = w->pool;
    for (; w->slab < coins_pool_n_slabs(p); w->slab++, w->i = 0) {
        const struct coins_slab *s = &p->slabs[w->slab];
        if (s->n_live == 0 || (w->is_dirty_only && s->n_dirty == 0))
            continue;
        while (w->i < s->n_carved) {
            uint32_t handle = coins_pool_nth(p, w->slab, w->i++);
            unsigned flags = coins_pool_at(p, handle)->flags;
            if (flags && (!w->is_dirty_only || flags & COINS_DIRTY))
                return handle;
        }
    }
    return 0;
}

const struct coins_entry *coins_pool_nth_in(const uint8_t copy[COINS_SLAB_LEN],
                                            const struct coins_slab *slab, uint32_t i)
{
    return (const struct coins_entry *)(const void *)(copy + COINS_UNIT_LEN +
                                                      (size_t)i * class_len[slab->class]);
}

size_t coins_pool_entry_len(const struct coins_entry *e)
{
    return class_len[e->class];
}

/* A free entry keeps the next one's place in its key. */
static uint32_t slab_pop(struct coins_pool *p, uint32_t i)
{
    struct coins_slab *s = &p->slabs[i];
    if (!s->free_unit)
        return coins_pool_nth(p, i, s->n_carved++);
    uint32_t handle = i * COINS_SLAB_UNITS + s->free_unit;
    s->free_unit = (uint16_t)coins_pool_at(p, handle)->at.n;
    return handle;
}

uint32_t coins_pool_alloc(struct coins_pool *p, size_t script_len)
{
    uint32_t class = class_of(script_len);
    if (p->with_room[class] == COINS_SLAB_NONE && !slab_take(p, class))
        return 0;
    uint32_t i = p->with_room[class];
    uint32_t handle = slab_pop(p, i);
    if (++p->slabs[i].n_live == slab_n_entries(class))
        slab_unlist(p, i);
    struct coins_entry *e = coins_pool_at(p, handle);
    e->flags = COINS_LIVE;
    e->class = (uint8_t) class;
    return handle;
}

void coins_pool_free_entry(struct coins_pool *p, uint32_t handle)
{
    uint32_t i = handle / COINS_SLAB_UNITS;
    struct coins_slab *s = &p->slabs[i];
    struct coins_entry *e = coins_pool_at(p, handle);
    assert(e->flags & COINS_LIVE);
    e->flags = 0;
    e->at.n = s->free_unit;
    s->free_unit = (uint16_t)(handle % COINS_SLAB_UNITS);
    if (!s->is_listed)
        slab_list(p, i);
    if (--s->n_live == 0)
        slab_give_back(p, i);
}

bool coins_pool_can_shrink(const struct coins_pool *p, uint32_t handle, size_t script_len)
{
    return class_of(script_len) < coins_pool_at(p, handle)->class;
}

void coins_pool_seal(struct coins_pool *p)
{
    for (uint32_t i = 0; i < coins_pool_n_slabs(p); i++) {
        if (p->slabs[i].class == COINS_N_CLASSES)
            continue;
        if (p->slabs[i].is_listed)
            slab_unlist(p, i);
        p->slabs[i].is_sealed = true;
    }
}

void coins_pool_unload(struct coins_pool *p, uint32_t slab, uint8_t out[COINS_SLAB_LEN])
{
    assert(p->slabs[slab].is_sealed);
    memcpy(out, coins_pool_at(p, slab * COINS_SLAB_UNITS), COINS_SLAB_LEN);
    slab_give_back(p, slab);
}

size_t coins_pool_used_len(const struct coins_pool *p)
{
    return (size_t)p->n_used_slabs * COINS_SLAB_LEN +
           p->chunks_cap * (sizeof *p->chunks + COINS_CHUNK_SLABS * sizeof *p->slabs);
}

static void check_slab(const struct coins_pool *p, uint32_t i)
{
    const struct coins_slab *s = &p->slabs[i];
    uint32_t n_live = 0, n_dirty = 0, n_free = 0;
    for (uint32_t j = 0; j < s->n_carved; j++) {
        const struct coins_entry *e = coins_pool_at(p, coins_pool_nth(p, i, j));
        n_live += e->flags != 0;
        n_dirty += (e->flags & COINS_DIRTY) != 0;
        assert(!e->flags || (e->flags & COINS_LIVE && e->class == s->class));
        assert(!e->flags || COINS_ENTRY_HEAD_LEN + e->script_len <= class_len[e->class]);
    }
    for (uint32_t u = s->free_unit; u; n_free++)
        u = coins_pool_at(p, i * COINS_SLAB_UNITS + u)->at.n;
    assert(n_live == s->n_live && n_dirty == s->n_dirty && n_live > 0);
    assert(n_free == s->n_carved - n_live && s->n_carved <= slab_n_entries(s->class));
    assert(!s->is_sealed);
    assert(s->is_listed == (n_live < slab_n_entries(s->class)));
}

void coins_pool_check(const struct coins_pool *p)
{
    uint32_t n_used = 0, n_free = 0, n_listed = 0, n_with_room = 0;
    for (uint32_t i = 0; i < coins_pool_n_slabs(p); i++) {
        if (p->slabs[i].class == COINS_N_CLASSES)
            continue;
        check_slab(p, i);
        n_used++;
        n_listed += p->slabs[i].is_listed;
    }
    for (uint32_t i = p->free_slab; i != COINS_SLAB_NONE; i = p->slabs[i].next)
        n_free++;
    for (uint32_t class = 0; class < COINS_N_CLASSES; class ++)
        for (uint32_t i = p->with_room[class]; i != COINS_SLAB_NONE; i = p->slabs[i].next) {
            assert(p->slabs[i].class == class && p->slabs[i].is_listed);
            n_with_room++;
        }
    assert(n_used == p->n_used_slabs && n_used + n_free == coins_pool_n_slabs(p));
    assert(n_listed == n_with_room);
}
