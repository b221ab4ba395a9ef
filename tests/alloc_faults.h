/* alloc_faults: the n-th allocation of the program's own code fails, in whatever thread it is made.
 *
 * For tests linked with --wrap=malloc, calloc, realloc, aligned_alloc, strdup and free
 * (alloc_fault_tests in tests/unit/meson.build): every call in an object of ours comes here, those
 * of libraries do not. Blocks that are out are counted, so that a test can say that none was lost.
 *
 * Threads    any
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t alignment, size_t len);
char *__real_strdup(const char *s);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_aligned_alloc(size_t alignment, size_t len);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static struct {
    _Atomic uint64_t n, fail_at; /* since alloc_fault_arm; 0: none fails */
    _Atomic int64_t n_out;       /* blocks allocated and not yet freed */
} alloc_fault;

/* From here on: the fail_at-th allocation fails, once. */
static inline void alloc_fault_arm(uint64_t fail_at)
{
    atomic_store(&alloc_fault.n, 0);
    atomic_store(&alloc_fault.fail_at, fail_at);
}

/* Nothing fails any more. True: something had. *out_n: allocations since alloc_fault_arm. */
static inline bool alloc_fault_disarm(uint64_t *out_n)
{
    uint64_t fail_at = atomic_exchange(&alloc_fault.fail_at, 0);
    *out_n = atomic_load(&alloc_fault.n);
    return fail_at > 0 && *out_n >= fail_at;
}

static inline int64_t alloc_fault_n_out(void)
{
    return atomic_load(&alloc_fault.n_out);
}

static inline bool alloc_fault_hits(void)
{
    uint64_t n = atomic_fetch_add(&alloc_fault.n, 1) + 1;
    return n == atomic_load(&alloc_fault.fail_at);
}

static inline void *alloc_fault_count(void *p)
{
    if (p)
        atomic_fetch_add(&alloc_fault.n_out, 1);
    return p;
}

void *__wrap_malloc(size_t len)
{
    return alloc_fault_hits() ? NULL : alloc_fault_count(__real_malloc(len));
}

void *__wrap_calloc(size_t n, size_t len)
{
    return alloc_fault_hits() ? NULL : alloc_fault_count(__real_calloc(n, len));
}

void *__wrap_realloc(void *p, size_t len)
{
    if (alloc_fault_hits())
        return NULL;
    void *moved = __real_realloc(p, len);
    return p ? moved : alloc_fault_count(moved);
}

void *__wrap_aligned_alloc(size_t alignment, size_t len)
{
    return alloc_fault_hits() ? NULL : alloc_fault_count(__real_aligned_alloc(alignment, len));
}

char *__wrap_strdup(const char *s)
{
    return alloc_fault_hits() ? NULL : alloc_fault_count(__real_strdup(s));
}

void __wrap_free(void *p)
{
    if (p)
        atomic_fetch_sub(&alloc_fault.n_out, 1);
    __real_free(p);
}
