/* mem: an allocator that its owner passes in: it carries a budget, counts, and lets a test fail
 * the n-th allocation.
 *
 * Ownership  what mem_alloc returns goes back through mem_free of the same struct mem
 * Threads    one owner; a thread that allocates has its own
 * Errors     NULL when the budget or the system says no; the owner turns it into ERR_NO_MEMORY
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_NO_BUDGET SIZE_MAX

struct mem {
    size_t budget_len; /* most bytes out at once                                  */
    size_t used_len;   /* bytes out now, as asked for plus a header per allocation */
    size_t peak_len;
    uint64_t n_allocs;  /* calls that gave memory, since init                      */
    uint64_t n_refused; /* calls that did not                                      */
    uint64_t fail_at;   /* test: this allocation (1 = the next) fails; 0 = none    */
    struct mem *parent; /* charged as well; may be NULL                            */
};

void mem_init(struct mem *m, size_t budget_len, struct mem *parent);
void *mem_alloc(struct mem *m, size_t len); /* uninitialised; len 0 gives a unique pointer */
/* Zeroed, product checked. */
void *mem_calloc(struct mem *m, size_t n, size_t len);
/* On NULL the old block is still there. */
void *mem_realloc(struct mem *m, void *p, size_t len);
void *mem_dup(struct mem *m, const void *data, size_t len);
char *mem_strndup(struct mem *m, const char *s, size_t len); /* adds the terminator */
void mem_free(struct mem *m, void *p);                       /* NULL is fine */
void mem_check_empty(const struct mem *m);                   /* asserts used_len == 0 */
