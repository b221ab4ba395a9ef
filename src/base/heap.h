/* heap: intrusive binary min-heap over (key, tie). Equal keys leave in the order they came.
 *
 * Ownership  nodes are embedded in their owner's struct; the heap owns its array of pointers
 * Threads    one owner
 * Errors     heap_push: ERR_NO_MEMORY
 */
#pragma once
#include "base/err.h"
#include "base/mem.h"

#define HEAP_NOT_IN SIZE_MAX

struct heap_node {
    uint64_t key;
    uint64_t tie; /* set by heap_push, rises by one each time */
    size_t index; /* place in the array, HEAP_NOT_IN when outside */
};

struct heap {
    struct mem *mem;
    struct heap_node **nodes;
    size_t n, cap;
    uint64_t n_pushed;
};

void heap_init(struct heap *h, struct mem *mem);
void heap_clear(struct heap *h);
void heap_node_init(struct heap_node *n);
enum err_code heap_push(struct heap *h, struct heap_node *n, uint64_t key) MUST_USE;
void heap_update(struct heap *h, struct heap_node *n, uint64_t key); /* n is inside; new tie */
void heap_remove(struct heap *h, struct heap_node *n);               /* fine when outside     */
struct heap_node *heap_top(const struct heap *h);                    /* NULL when empty       */
struct heap_node *heap_pop(struct heap *h);
void heap_check(const struct heap *h);
