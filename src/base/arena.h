/* arena: many small allocations with one lifetime.
 *
 * Ownership  everything from arena_alloc dies at arena_reset or arena_clear
 * Threads    one owner
 * Errors     NULL when limit_len or the struct mem below says no
 */
#pragma once
#include "base/bytes.h"
#include "base/mem.h"

struct arena_chunk;

struct arena {
    struct mem *mem;
    struct arena_chunk *chunks; /* newest first */
    size_t limit_len, used_len;
};

void arena_init(struct arena *a, struct mem *mem, size_t limit_len);
void *arena_alloc(struct arena *a, size_t len); /* 16-byte aligned, uninitialised */
void *arena_calloc(struct arena *a, size_t n, size_t len);
struct bytes arena_dup(struct arena *a, struct bytes b); /* .data NULL on failure */
char *arena_str(struct arena *a, struct bytes b);        /* a terminated copy */
void arena_reset(struct arena *a);                       /* keeps one chunk */
void arena_clear(struct arena *a);
