/* list: intrusive doubly linked ring. A node says in its name which list it is for
 * (`struct list_node in_swarm;`). A zeroed node is not on any list.
 *
 * Ownership  links only; removing an element is its owner's business
 * Threads    one owner
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};

struct list {
    struct list_node head;
    size_t n;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* `it` walks the elements; the element itself may be removed inside the body. */
#define LIST_EACH(list, it, type, member)                                                          \
    for (struct list_node *it##_node = (list)->head.next, *it##_next = it##_node->next;            \
         it##_node != &(list)->head; it##_node = it##_next, it##_next = it##_node->next)           \
        for (type *it = CONTAINER_OF(it##_node, type, member); it; it = NULL)

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
    l->n = 0;
}

static inline bool list_node_is_linked(const struct list_node *n)
{
    return n->next != NULL;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->n == 0;
}

static inline void list_insert_after(struct list *l, struct list_node *at, struct list_node *n)
{
    n->prev = at;
    n->next = at->next;
    at->next->prev = n;
    at->next = n;
    l->n++;
}

static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_after(l, l->head.prev, n);
}

static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_after(l, &l->head, n);
}

static inline void list_remove(struct list *l, struct list_node *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
    l->n--;
}

/* NULL when empty. */
static inline struct list_node *list_first(const struct list *l)
{
    return l->n ? l->head.next : NULL;
}

static inline struct list_node *list_pop_front(struct list *l)
{
    struct list_node *n = list_first(l);
    if (n)
        list_remove(l, n);
    return n;
}
