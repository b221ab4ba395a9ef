#include "base/heap.h"
#include "base/size.h"
#include <assert.h>

#define HEAP_CAP_MIN 16u

void heap_init(struct heap *h, struct mem *mem)
{
    *h = (struct heap){.mem = mem};
}

void heap_clear(struct heap *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->nodes[i]->index = HEAP_NOT_IN;
    if (h->nodes)
        mem_free(h->mem, h->nodes);
    *h = (struct heap){.mem = h->mem};
}

void heap_node_init(struct heap_node *n)
{
    *n = (struct heap_node){.index = HEAP_NOT_IN};
}

static bool node_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void heap_place(struct heap *h, size_t i, struct heap_node *n)
{
    h->nodes[i] = n;
    n->index = i;
}

static void sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!node_before(n, h->nodes[parent]))
            break;
        heap_place(h, i, h->nodes[parent]);
        i = parent;
    }
    heap_place(h, i, n);
}

static void sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && node_before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!node_before(h->nodes[child], n))
            break;
        heap_place(h, i, h->nodes[child]);
    }
    heap_place(h, i, n);
}

/* n belongs somewhere above or below i. */
static void sift(struct heap *h, size_t i, struct heap_node *n)
{
    if (i > 0 && node_before(n, h->nodes[(i - 1) / 2]))
        sift_up(h, i, n);
    else
        sift_down(h, i, n);
}

enum err_code heap_push(struct heap *h, struct heap_node *n, uint64_t key)
{
    assert(n->index == HEAP_NOT_IN);
    if (h->n == h->cap) {
        size_t cap = size_max(h->cap * 2, HEAP_CAP_MIN), len;
        void *nodes =
            size_mul(&len, cap, sizeof *h->nodes) ? mem_realloc(h->mem, h->nodes, len) : NULL;
        if (!nodes)
            return ERR_NO_MEMORY;
        h->nodes = nodes;
        h->cap = cap;
    }
    n->key = key;
    n->tie = h->n_pushed++;
    sift_up(h, h->n++, n);
    return ERR_OK;
}

void heap_update(struct heap *h, struct heap_node *n, uint64_t key)
{
    assert(n->index < h->n && h->nodes[n->index] == n);
    n->key = key;
    n->tie = h->n_pushed++;
    sift(h, n->index, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->index == HEAP_NOT_IN)
        return;
    assert(n->index < h->n && h->nodes[n->index] == n);
    size_t i = n->index;
    struct heap_node *last = h->nodes[--h->n];
    n->index = HEAP_NOT_IN;
    if (last != n)
        sift(h, i, last);
}

struct heap_node *heap_top(const struct heap *h)
{
    return h->n ? h->nodes[0] : NULL;
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *n = heap_top(h);
    if (n)
        heap_remove(h, n);
    return n;
}

void heap_check(const struct heap *h)
{
    assert(h->n <= h->cap);
    for (size_t i = 0; i < h->n; i++) {
        assert(h->nodes[i]->index == i);
        assert(h->nodes[i]->tie < h->n_pushed);
        assert(i == 0 || !node_before(h->nodes[i], h->nodes[(i - 1) / 2]));
    }
}
