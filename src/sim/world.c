/* world: a heap of events and a running SHA-256. */
#include "sim/world.h"
#include "base/list.h"
#include <assert.h>

void world_init(struct world *w, struct mem *mem, uint64_t rng_seed)
{
    *w = (struct world){.mem = mem, .rng_seed = rng_seed};
    rng_init(&w->rng, rng_seed);
    heap_init(&w->events, mem);
    sha256_init(&w->trace);
}

void world_clear(struct world *w)
{
    heap_clear(&w->events);
}

static _Noreturn void out_of_memory(void)
{
    fputs("shoal: the simulated world is out of memory\n", stderr);
    abort();
}

void sim_event_init(struct sim_event *ev, void (*fire)(struct world *w, struct sim_event *ev))
{
    heap_node_init(&ev->in_events);
    ev->fire = fire;
}

bool sim_event_is_set(const struct sim_event *ev)
{
    return ev->in_events.index != HEAP_NOT_IN;
}

void world_set(struct world *w, struct sim_event *ev, uint64_t at_us)
{
    assert(at_us >= w->now_us);
    if (sim_event_is_set(ev))
        heap_update(&w->events, &ev->in_events, at_us);
    else if (heap_push(&w->events, &ev->in_events, at_us))
        out_of_memory();
}

void world_stop(struct world *w, struct sim_event *ev)
{
    heap_remove(&w->events, &ev->in_events);
}

uint64_t world_next_us(const struct world *w)
{
    const struct heap_node *top = heap_top(&w->events);
    return top ? top->key : DEADLINE_NEVER;
}

bool world_step(struct world *w)
{
    struct heap_node *top = heap_pop(&w->events);
    if (!top)
        return false;
    assert(top->key >= w->now_us);
    w->now_us = top->key;
    w->n_events++;
    struct sim_event *ev = CONTAINER_OF(top, struct sim_event, in_events);
    ev->fire(w, ev);
    return true;
}

void world_run(struct world *w, uint64_t until_us)
{
    while (world_next_us(w) <= until_us)
        world_step(w);
    if (w->now_us < until_us)
        w->now_us = until_us;
}

void world_trace(struct world *w, enum trace_kind kind, uint32_t node, uint64_t a, uint64_t b)
{
    if (w->trace_len + 32 > WORLD_TRACE_CAP) {
        sha256_update(&w->trace, bytes_of(w->trace_buf, w->trace_len));
        w->trace_len = 0;
    }
    struct writer out = writer_init(w->trace_buf + w->trace_len, 32);
    writer_u64le(&out, w->now_us);
    writer_u32le(&out, (uint32_t)kind);
    writer_u32le(&out, node);
    writer_u64le(&out, a);
    writer_u64le(&out, b);
    w->trace_len += 32;
    w->n_traced++;
}

void world_trace_hash(const struct world *w, uint8_t out[SHA256_LEN])
{
    struct sha256_state s = w->trace;
    sha256_update(&s, bytes_of(w->trace_buf, w->trace_len));
    sha256_final(&s, out);
}

void world_fork_rng(struct world *w, struct rng *out)
{
    rng_init(out, rng_u64(&w->rng));
}

bool world_chance(struct world *w, uint32_t ppm)
{
    return ppm > 0 && rng_below(&w->rng, 1000000) < ppm;
}

void *world_alloc(struct world *w, size_t len)
{
    void *p = mem_alloc(w->mem, len);
    if (!p)
        out_of_memory();
    return p;
}

void *world_calloc(struct world *w, size_t n, size_t len)
{
    void *p = mem_calloc(w->mem, n, len);
    if (!p)
        out_of_memory();
    return p;
}

void *world_realloc(struct world *w, void *p, size_t len)
{
    p = mem_realloc(w->mem, p, len);
    if (!p)
        out_of_memory();
    return p;
}

void world_free(struct world *w, void *p)
{
    mem_free(w->mem, p);
}
