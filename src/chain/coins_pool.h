/* coins_pool: packed entries of the coins cache: an outpoint, a coin and its script in one piece,
 * in slabs of equal size.
 *
 * A handle is 32 bits: slab number and place in it, in units of 8 bytes: 32 GiB of entries. A slab
 * whose last entry goes is free for any size. Entries are walked slab by slab, in order of memory.
 *
 * Ownership  entries live until coins_pool_free_entry or _clear; they never move
 * Threads    one owner; looking at entries is fine from others while nothing changes
 * Errors     handle 0 when there is no memory
 */
#pragma once
#include "base/mem.h"
#include "chain/coin.h"

enum coins_flag {
    COINS_LIVE = 1,  /* not on a free list                                    */
    COINS_DIRTY = 2, /* the store has something else, or nothing              */
    COINS_FRESH = 4, /* the store has no unspent coin here; only with DIRTY   */
    COINS_SPENT = 8  /* to be erased from the store; only with DIRTY          */
};

struct coins_entry {
    struct outpoint at;
    uint32_t code; /* height * 2 + coinbase */
    int64_t value_sat;
    uint16_t script_len;
    uint8_t flags; /* enum coins_flag; 0: free */
    uint8_t class;
    uint8_t script[];
};

#define COINS_ENTRY_HEAD_LEN offsetof(struct coins_entry, script)
#define COINS_UNIT_LEN       8u
#define COINS_SLAB_LEN       16384u
#define COINS_SLAB_UNITS     (COINS_SLAB_LEN / COINS_UNIT_LEN)
#define COINS_CHUNK_SLABS    256u /* 4 MiB is asked for at a time: holds a huge page whole */
#define COINS_N_CLASSES      29u
#define COINS_SLAB_NONE      UINT32_MAX

struct coins_slab {
    uint32_t next, prev; /* slabs of the class with room, or free slabs (next only) */
    uint16_t free_unit;  /* first free entry, 0: none */
    uint16_t n_live;     /* entries in use */
    uint16_t n_carved;   /* entries that were ever in use since the slab was taken */
    uint16_t n_dirty;    /* the cache's: entries with COINS_DIRTY */
    uint8_t class;       /* COINS_N_CLASSES: free */
    bool is_listed, is_sealed;
};

struct coins_pool {
    struct mem *mem;
    void (*advise)(void *p, size_t len); /* of each chunk; may be NULL */
    uint8_t **chunks;
    struct coins_slab *slabs; /* of all chunks */
    uint32_t n_chunks, chunks_cap;
    uint32_t free_slab, n_used_slabs;
    uint32_t with_room[COINS_N_CLASSES];
};

void coins_pool_init(struct coins_pool *p, struct mem *mem);
void coins_pool_clear(struct coins_pool *p);
/* An entry with room for a script of this length; flags and class are set, nothing else. */
uint32_t coins_pool_alloc(struct coins_pool *p, size_t script_len);
void coins_pool_free_entry(struct coins_pool *p, uint32_t handle);
/* Would this length live in a smaller entry than the one at handle? */
bool coins_pool_can_shrink(const struct coins_pool *p, uint32_t handle, size_t script_len);

/* Bytes of slabs in use and of the tables. Chunks keep free slabs for later: what was taken from
 * mem is the most that this ever was. */
size_t coins_pool_used_len(const struct coins_pool *p);

static inline struct coins_entry *coins_pool_at(const struct coins_pool *p, uint32_t handle)
{
    size_t unit = handle % (COINS_CHUNK_SLABS * COINS_SLAB_UNITS);
    uint8_t *chunk = p->chunks[handle / (COINS_CHUNK_SLABS * COINS_SLAB_UNITS)];
    return (struct coins_entry *)(void *)(chunk + unit * COINS_UNIT_LEN);
}

static inline struct coins_slab *coins_pool_slab(const struct coins_pool *p, uint32_t handle)
{
    return &p->slabs[handle / COINS_SLAB_UNITS];
}

static inline uint32_t coins_pool_n_slabs(const struct coins_pool *p)
{
    return p->n_chunks * COINS_CHUNK_SLABS;
}

/* Handle of the i-th carved entry of a slab; its flags are 0 when it is free. */
uint32_t coins_pool_nth(const struct coins_pool *p, uint32_t slab, uint32_t i);
/* Walks entries in order of memory: the next one's handle, 0 at the end. An entry may be freed
 * before the next step. */
struct coins_walk {
    const struct coins_pool *pool;
    uint32_t slab, i;
    bool is_dirty_only;
};
uint32_t coins_walk_next(struct coins_walk *w);

/* The same in a copy of the slab. */
const struct coins_entry *coins_pool_nth_in(const uint8_t copy[COINS_SLAB_LEN],
                                            const struct coins_slab *slab, uint32_t i);
size_t coins_pool_entry_len(const struct coins_entry *e);

/* To move entries together: after seal no entry is put into the slabs that are in use; unload
 * copies a sealed slab and frees it. All of them are to be unloaded. */
void coins_pool_seal(struct coins_pool *p);
void coins_pool_unload(struct coins_pool *p, uint32_t slab, uint8_t out[COINS_SLAB_LEN]);
void coins_pool_check(const struct coins_pool *p);
