#include "base/timer.h"
#include "base/list.h"

void timers_init(struct timers *ts, struct mem *mem)
{
    heap_init(&ts->heap, mem);
}

void timers_clear(struct timers *ts)
{
    heap_clear(&ts->heap);
}

void timer_init(struct timer *t, uint32_t kind)
{
    heap_node_init(&t->in_timers);
    t->kind = kind;
}

bool timer_is_set(const struct timer *t)
{
    return t->in_timers.index != HEAP_NOT_IN;
}

enum err_code timer_set(struct timers *ts, struct timer *t, uint64_t at_us)
{
    if (!timer_is_set(t))
        return heap_push(&ts->heap, &t->in_timers, at_us);
    heap_update(&ts->heap, &t->in_timers, at_us);
    return ERR_OK;
}

void timer_stop(struct timers *ts, struct timer *t)
{
    heap_remove(&ts->heap, &t->in_timers);
}

uint64_t timers_deadline_us(const struct timers *ts)
{
    const struct heap_node *top = heap_top(&ts->heap);
    return top ? top->key : DEADLINE_NEVER;
}

struct timer *timers_pop_due(struct timers *ts, uint64_t now_us)
{
    struct heap_node *top = heap_top(&ts->heap);
    if (!top || top->key > now_us)
        return NULL;
    heap_remove(&ts->heap, top);
    return CONTAINER_OF(top, struct timer, in_timers);
}
