#include "chain/block_tree.h"
#include <assert.h>
#include <string.h>

void block_tree_init(struct block_tree *t, struct mem *mem, const struct header_chain *headers)
{
    *t = (struct block_tree){.mem = mem, .headers = headers, .base = HEADER_NONE};
}

void block_tree_clear(struct block_tree *t)
{
    mem_free(t->mem, t->nodes);
    mem_free(t->mem, t->heap);
    *t = (struct block_tree){.mem = t->mem, .headers = t->headers, .base = HEADER_NONE};
}

static bool is_candidate(const struct block_node *n)
{
    return n->n_chain_txs != 0 && !(n->status & BLOCK_ANY_FAILED);
}

bool block_tree_beats(const struct block_tree *t, uint32_t a, uint32_t b)
{
    int by_work = header_compare_work(t->headers, a, b);
    return by_work != 0 ? by_work > 0 : t->nodes[a].rank < t->nodes[b].rank;
}

/* --- the heap -------------------------------------------------------------------------------- */

static enum err_code heap_reserve(struct block_tree *t, size_t n)
{
    if (n <= t->heap_cap)
        return ERR_OK;
    size_t cap = t->heap_cap ? 2 * t->heap_cap : 64;
    cap = cap < n ? n : cap;
    uint32_t *heap = mem_realloc(t->mem, t->heap, cap * sizeof *heap);
    if (!heap)
        return ERR_NO_MEMORY;
    t->heap = heap;
    t->heap_cap = cap;
    return ERR_OK;
}

static void heap_swap(struct block_tree *t, size_t a, size_t b)
{
    uint32_t node = t->heap[a];
    t->heap[a] = t->heap[b];
    t->heap[b] = node;
}

static enum err_code heap_put(struct block_tree *t, uint32_t node)
{
    if (heap_reserve(t, t->n_heap + 1))
        return ERR_NO_MEMORY;
    size_t i = t->n_heap++;
    t->heap[i] = node;
    for (; i && block_tree_beats(t, t->heap[i], t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_swap(t, i, (i - 1) / 2);
    return ERR_OK;
}

static void heap_drop_top(struct block_tree *t)
{
    t->heap[0] = t->heap[--t->n_heap];
    for (size_t i = 0;;) {
        size_t best = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < t->n_heap; child++)
            if (block_tree_beats(t, t->heap[child], t->heap[best]))
                best = child;
        if (best == i)
            return;
        heap_swap(t, i, best);
        i = best;
    }
}

/* --- growing --------------------------------------------------------------------------------- */

static enum err_code nodes_reserve(struct block_tree *t, size_t n)
{
    if (n <= t->cap)
        return ERR_OK;
    size_t cap = t->cap ? t->cap + t->cap / 2 : 1024;
    cap = cap < n ? n : cap;
    struct block_node *nodes = mem_realloc(t->mem, t->nodes, cap * sizeof *nodes);
    if (!nodes)
        return ERR_NO_MEMORY;
    t->nodes = nodes;
    t->cap = cap;
    return ERR_OK;
}

static void node_init(struct block_tree *t, uint32_t node)
{
    struct block_node *n = &t->nodes[node];
    uint32_t parent = header_parent(t->headers, node);
    *n = (struct block_node){.block = BLOCK_POS_NONE,
                             .undo = BLOCK_POS_NONE,
                             .first_child = HEADER_NONE,
                             .next_sibling = HEADER_NONE};
    if (parent == HEADER_NONE)
        return;
    n->next_sibling = t->nodes[parent].first_child;
    t->nodes[parent].first_child = node;
    if (t->nodes[parent].status & BLOCK_ANY_FAILED)
        n->status |= BLOCK_PARENT_FAILED;
}

enum err_code block_tree_grow(struct block_tree *t)
{
    size_t n = header_chain_n(t->headers);
    if (nodes_reserve(t, n))
        return ERR_NO_MEMORY;
    for (; t->n < n; t->n++)
        node_init(t, (uint32_t)t->n);
    return ERR_OK;
}

/* The next node of the subtree under top after node, parents first; NONE at the end. with_children:
 * whether to go below node. */
static uint32_t subtree_next(const struct block_tree *t, uint32_t top, uint32_t node,
                             bool with_children)
{
    if (with_children && t->nodes[node].first_child != HEADER_NONE)
        return t->nodes[node].first_child;
    while (node != top) {
        if (t->nodes[node].next_sibling != HEADER_NONE)
            return t->nodes[node].next_sibling;
        node = header_parent(t->headers, node);
    }
    return HEADER_NONE;
}

/* Counts the chain's transactions up to node when its parent's are known; whether they now are. */
static bool node_link(struct block_tree *t, uint32_t node)
{
    struct block_node *n = &t->nodes[node];
    uint32_t parent = header_parent(t->headers, node);
    uint64_t before = parent == HEADER_NONE ? 0 : t->nodes[parent].n_chain_txs;
    if (n->n_txs == 0 || n->n_chain_txs != 0 || (parent != HEADER_NONE && before == 0))
        return false;
    n->n_chain_txs = before + n->n_txs;
    if (!n->arrival)
        n->arrival = ++t->last_arrival;
    n->rank = n->arrival;
    return true;
}

static enum err_code link_from(struct block_tree *t, uint32_t top)
{
    for (uint32_t node = top; node != HEADER_NONE;) {
        bool is_linked = node_link(t, node);
        if (is_linked && is_candidate(&t->nodes[node]) && heap_put(t, node))
            return ERR_NO_MEMORY;
        node = subtree_next(t, top, node, is_linked);
    }
    return ERR_OK;
}

enum err_code block_tree_set_seen(struct block_tree *t, uint32_t node, uint32_t n_txs,
                                  int64_t arrival)
{
    struct block_node *n = &t->nodes[node];
    assert(n_txs > 0 && n->n_txs == 0);
    n->n_txs = n_txs;
    if (!n->n_chain_txs) /* the base is counted before it is seen */
        n->arrival = arrival;
    t->last_arrival = arrival > t->last_arrival ? arrival : t->last_arrival;
    return link_from(t, node);
}

enum err_code block_tree_load(struct block_tree *t, uint32_t node, const struct block_record *r)
{
    struct block_node *n = &t->nodes[node];
    n->block = r->block;
    n->undo = r->undo;
    n->status = (n->status & BLOCK_PARENT_FAILED) | r->status;
    return r->n_txs && !n->n_txs ? block_tree_set_seen(t, node, r->n_txs, (int64_t)r->sequence)
                                 : ERR_OK;
}

void block_tree_record(const struct block_tree *t, uint32_t node, struct block_record *out)
{
    const struct block_node *n = &t->nodes[node];
    *out = (struct block_record){.n_txs = n->n_txs,
                                 .status = n->status & ~BLOCK_PARENT_FAILED,
                                 .block = n->block,
                                 .undo = n->undo,
                                 .sequence = (uint64_t)n->arrival};
    header_get(t->headers, node, &out->header);
}

/* --- failing and forgiving ------------------------------------------------------------------- */

static void mark_descendants(struct block_tree *t, uint32_t top)
{
    uint32_t node = subtree_next(t, top, top, true);
    while (node != HEADER_NONE) {
        t->nodes[node].status |= BLOCK_PARENT_FAILED;
        node = subtree_next(t, top, node, true);
    }
}

enum err_code block_tree_fail(struct block_tree *t, uint32_t node, bool is_manual)
{
    t->nodes[node].status |= BLOCK_IS_FAILED | (is_manual ? BLOCK_IS_MANUAL : 0);
    mark_descendants(t, node);
    return block_tree_find_candidates(t);
}

struct forgiving {
    struct block_tree *t;
    void (*changed)(void *ctx, uint32_t node);
    void *ctx;
};

static void forgive_node(const struct forgiving *f, uint32_t node)
{
    struct block_node *n = &f->t->nodes[node];
    bool is_own = n->status & BLOCK_IS_FAILED;
    n->status &= ~(BLOCK_ANY_FAILED | BLOCK_IS_MANUAL);
    if (is_own && f->changed)
        f->changed(f->ctx, node);
}

enum err_code block_tree_forgive(struct block_tree *t, uint32_t node,
                                 void (*changed)(void *ctx, uint32_t node), void *ctx)
{
    struct forgiving f = {t, changed, ctx};
    uint32_t top = node;
    for (uint32_t up = node; up != HEADER_NONE; up = header_parent(t->headers, up)) {
        if (t->nodes[up].status & BLOCK_ANY_FAILED)
            top = up;
        forgive_node(&f, up);
    }
    for (uint32_t down = node; down != HEADER_NONE; down = subtree_next(t, node, down, true))
        forgive_node(&f, down);
    /* Branches that were failed through an ancestor, and branches that failed by themselves and
     * stay so, with what is above them. */
    for (uint32_t down = top; down != HEADER_NONE;) {
        bool is_failed = t->nodes[down].status & BLOCK_IS_FAILED;
        t->nodes[down].status &= ~BLOCK_PARENT_FAILED;
        if (is_failed)
            mark_descendants(t, down);
        down = subtree_next(t, top, down, !is_failed);
    }
    return block_tree_find_candidates(t);
}

enum err_code block_tree_prefer(struct block_tree *t, uint32_t node)
{
    t->nodes[node].rank = --t->last_precious;
    return block_tree_find_candidates(t);
}

/* --- the base -------------------------------------------------------------------------------- */

static enum err_code link_children(struct block_tree *t, uint32_t node)
{
    uint32_t child = t->nodes[node].first_child;
    for (; child != HEADER_NONE; child = t->nodes[child].next_sibling)
        if (link_from(t, child))
            return ERR_NO_MEMORY;
    return ERR_OK;
}

enum err_code block_tree_set_base(struct block_tree *t, uint32_t node, uint64_t n_chain_txs)
{
    struct block_node *n = &t->nodes[node];
    assert(t->base == HEADER_NONE && node != 0 && n_chain_txs > 0);
    t->base = node;
    if (!n->n_chain_txs) {
        n->n_chain_txs = n_chain_txs;
        if (!n->arrival)
            n->arrival = ++t->last_arrival;
        n->rank = n->arrival;
        if (link_children(t, node))
            return ERR_NO_MEMORY;
    }
    return block_tree_find_candidates(t);
}

enum err_code block_tree_clear_base(struct block_tree *t)
{
    uint32_t base = t->base;
    const struct block_node *n = &t->nodes[base];
    uint64_t before = t->nodes[header_parent(t->headers, base)].n_chain_txs;
    uint64_t more = before + n->n_txs - n->n_chain_txs; /* may wrap: less */
    assert(n->n_txs && before);
    t->base = HEADER_NONE;
    for (uint32_t node = base; more && node != HEADER_NONE;) {
        bool is_linked = t->nodes[node].n_chain_txs != 0;
        t->nodes[node].n_chain_txs += is_linked ? more : 0;
        node = subtree_next(t, base, node, is_linked);
    }
    return block_tree_find_candidates(t);
}

/* --- choosing -------------------------------------------------------------------------------- */

/* Coins of other branches cannot be had: there is no undo data below the base. */
static bool can_be_reached(const struct block_tree *t, uint32_t node)
{
    return t->base == HEADER_NONE || header_is_ancestor(t->headers, t->base, node);
}

uint32_t block_tree_best(struct block_tree *t, uint32_t tip)
{
    bool is_any_better = tip == HEADER_NONE || (t->nodes[tip].status & BLOCK_ANY_FAILED);
    while (t->n_heap) {
        uint32_t node = t->heap[0];
        if (is_candidate(&t->nodes[node]) && can_be_reached(t, node) &&
            (is_any_better || block_tree_beats(t, node, tip)))
            return node;
        heap_drop_top(t);
    }
    return tip;
}

enum err_code block_tree_find_candidates(struct block_tree *t)
{
    t->n_heap = 0;
    for (uint32_t node = 0; node < t->n; node++) {
        bool is_leaf = is_candidate(&t->nodes[node]);
        uint32_t child = t->nodes[node].first_child;
        for (; is_leaf && child != HEADER_NONE; child = t->nodes[child].next_sibling)
            is_leaf = !is_candidate(&t->nodes[child]);
        if (is_leaf && heap_put(t, node))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static void node_check(const struct block_tree *t, uint32_t node)
{
    const struct block_node *n = &t->nodes[node];
    uint32_t parent = header_parent(t->headers, node);
    if (parent == HEADER_NONE)
        return;
    const struct block_node *up = &t->nodes[parent];
    assert(!(up->status & BLOCK_ANY_FAILED) == !(n->status & BLOCK_PARENT_FAILED));
    if (node == t->base)
        return;
    assert(n->n_chain_txs == 0 || n->n_chain_txs == up->n_chain_txs + n->n_txs);
    assert(n->n_chain_txs != 0 || n->n_txs == 0 || up->n_chain_txs == 0);
}

void block_tree_check(const struct block_tree *t)
{
    assert(t->n <= header_chain_n(t->headers) && t->n_heap <= t->heap_cap);
    for (uint32_t node = 0; node < t->n; node++)
        node_check(t, node);
    for (size_t i = 1; i < t->n_heap; i++)
        assert(!block_tree_beats(t, t->heap[i], t->heap[(i - 1) / 2]));
}
