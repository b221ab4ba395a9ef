#include "base/arena.h"
#include "base/size.h"

#define ARENA_ALIGN         16u
#define ARENA_CHUNK_LEN_MIN 1024u  /* ours: most messages fit in one */
#define ARENA_CHUNK_LEN_MAX 65536u /* ours: chunks double up to here; larger items stand alone */

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap, used_len;
    size_t pad; /* what follows stays aligned */
};

void arena_init(struct arena *a, struct mem *mem, size_t limit_len)
{
    *a = (struct arena){.mem = mem, .limit_len = limit_len};
}

static struct arena_chunk *chunk_new(struct arena *a, size_t cap)
{
    size_t len;
    struct arena_chunk *c = size_add(&len, cap, sizeof *c) ? mem_alloc(a->mem, len) : NULL;
    if (c)
        *c = (struct arena_chunk){.cap = cap};
    return c;
}

/* A chunk with room for len: a large item gets one to itself, behind the one being filled. */
static struct arena_chunk *arena_grow(struct arena *a, size_t len)
{
    size_t cap = a->chunks ? a->chunks->cap * 2 : ARENA_CHUNK_LEN_MIN;
    cap = size_min(size_max(cap, ARENA_CHUNK_LEN_MIN), ARENA_CHUNK_LEN_MAX);
    bool is_alone = len > cap / 4 && a->chunks;
    struct arena_chunk *c = chunk_new(a, is_alone ? len : size_max(cap, len));
    if (!c)
        return NULL;
    struct arena_chunk **at = is_alone ? &a->chunks->next : &a->chunks;
    c->next = *at;
    *at = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t len)
{
    size_t need;
    if (!size_add(&need, size_max(len, 1), ARENA_ALIGN - 1))
        return NULL;
    need &= ~(size_t)(ARENA_ALIGN - 1);
    if (need > a->limit_len - a->used_len)
        return NULL;
    struct arena_chunk *c = a->chunks;
    if (!c || need > c->cap - c->used_len)
        c = arena_grow(a, need);
    if (!c)
        return NULL;
    void *p = (uint8_t *)(c + 1) + c->used_len;
    c->used_len += need;
    a->used_len += need;
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t len)
{
    size_t all;
    void *p = size_mul(&all, n, len) ? arena_alloc(a, all) : NULL;
    return p ? memset(p, 0, all) : NULL;
}

struct bytes arena_dup(struct arena *a, struct bytes b)
{
    uint8_t *p = arena_alloc(a, b.len);
    if (p && b.len)
        memcpy(p, b.data, b.len);
    return (struct bytes){p, p ? b.len : 0};
}

char *arena_str(struct arena *a, struct bytes b)
{
    size_t cap;
    char *p = size_add(&cap, b.len, 1) ? arena_alloc(a, cap) : NULL;
    if (!p)
        return NULL;
    if (b.len)
        memcpy(p, b.data, b.len);
    p[b.len] = '\0';
    return p;
}

static void chunks_free(struct arena *a, struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *next = c->next;
        mem_free(a->mem, c);
        c = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->chunks) {
        chunks_free(a, a->chunks->next);
        a->chunks->next = NULL;
        a->chunks->used_len = 0;
    }
    a->used_len = 0;
}

void arena_clear(struct arena *a)
{
    chunks_free(a, a->chunks);
    a->chunks = NULL;
    a->used_len = 0;
}
