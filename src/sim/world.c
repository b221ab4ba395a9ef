/* world: a queue of events and a running SHA-256. */
#include "sim/world.h"
#include "base/size.h"
#include <assert.h>

void world_init(struct world *w, struct mem *mem, uint64_t rng_seed)
{
    *w = (struct world){.mem = mem, .rng_seed = rng_seed};
    rng_init(&w->rng, rng_seed);
    sha256_init(&w->trace);
}

void world_clear(struct world *w)
{
    world_free(w, w->entries);
    world_free(w, w->slots);
}

static _Noreturn void out_of_memory(void)
{
    fputs("shoal: the simulated world is out of memory\n", stderr);
    abort();
}

/* --- the queue ------------------------------------------------------------------------------- */

#define HEAP_WIDTH 4u /* children of a node: a cache line and a half */

static bool is_before(const struct world_entry *a, const struct world_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->tie < b->tie;
}

static bool is_stale(const struct world *w, const struct world_entry *e)
{
    const struct world_slot *s = &w->slots[e->slot];
    return !s->ev || s->tie != e->tie;
}

static void sift_up(struct world *w, size_t i, struct world_entry e)
{
    while (i > 0) {
        size_t parent = (i - 1) / HEAP_WIDTH;
        if (!is_before(&e, &w->entries[parent]))
            break;
        w->entries[i] = w->entries[parent];
        i = parent;
    }
    w->entries[i] = e;
}

static void sift_down(struct world *w, size_t i, struct world_entry e)
{
    for (;;) {
        size_t first = i * HEAP_WIDTH + 1, end = size_min(first + HEAP_WIDTH, w->n_entries);
        size_t least = first;
        if (first >= w->n_entries)
            break;
        for (size_t k = first + 1; k < end; k++)
            if (is_before(&w->entries[k], &w->entries[least]))
                least = k;
        if (!is_before(&w->entries[least], &e))
            break;
        w->entries[i] = w->entries[least];
        i = least;
    }
    w->entries[i] = e;
}

static void drop_stale(struct world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_entries; i++)
        if (!is_stale(w, &w->entries[i]))
            w->entries[n++] = w->entries[i];
    w->n_entries = n;
    for (size_t i = n / HEAP_WIDTH + 1; i-- > 0;)
        if (i < n)
            sift_down(w, i, w->entries[i]);
}

static void pop_entry(struct world *w)
{
    struct world_entry last = w->entries[--w->n_entries];
    if (w->n_entries)
        sift_down(w, 0, last);
}

static void push_entry(struct world *w, const struct world_entry *e)
{
    if (w->n_entries > 2 * w->n_set + 64)
        drop_stale(w);
    if (w->n_entries == w->entries_cap) {
        w->entries_cap = w->entries_cap ? 2 * w->entries_cap : 256;
        w->entries = world_realloc(w, w->entries, w->entries_cap * sizeof *w->entries);
    }
    w->n_entries++;
    sift_up(w, w->n_entries - 1, *e);
}

static uint32_t take_slot(struct world *w)
{
    uint32_t slot = w->free_slot;
    if (slot) {
        w->free_slot = (uint32_t)w->slots[slot - 1].tie;
        return slot;
    }
    if (w->n_slots == w->slots_cap) {
        w->slots_cap = w->slots_cap ? 2 * w->slots_cap : 256;
        w->slots = world_realloc(w, w->slots, w->slots_cap * sizeof *w->slots);
    }
    return ++w->n_slots;
}

static void give_slot(struct world *w, struct sim_event *ev)
{
    w->slots[ev->slot - 1] = (struct world_slot){.tie = w->free_slot};
    w->free_slot = ev->slot;
    ev->slot = 0;
    w->n_set--;
}

/* --- events ---------------------------------------------------------------------------------- */

void sim_event_init(struct sim_event *ev, void (*fire)(struct world *w, struct sim_event *ev))
{
    *ev = (struct sim_event){.fire = fire};
}

bool sim_event_is_set(const struct sim_event *ev)
{
    return ev->slot != 0;
}

void world_set(struct world *w, struct sim_event *ev, uint64_t at_us)
{
    assert(at_us >= w->now_us);
    if (!ev->slot) {
        ev->slot = take_slot(w);
        w->n_set++;
    }
    ev->at_us = at_us;
    struct world_entry e = {at_us, ++w->n_ties, ev->slot - 1};
    w->slots[e.slot] = (struct world_slot){ev, e.tie};
    push_entry(w, &e);
}

void world_stop(struct world *w, struct sim_event *ev)
{
    if (ev->slot)
        give_slot(w, ev);
}

uint64_t world_next_us(struct world *w)
{
    while (w->n_entries && is_stale(w, &w->entries[0]))
        pop_entry(w);
    return w->n_entries ? w->entries[0].at_us : DEADLINE_NEVER;
}

bool world_step(struct world *w)
{
    uint64_t at_us = world_next_us(w);
    if (at_us == DEADLINE_NEVER)
        return false;
    struct sim_event *ev = w->slots[w->entries[0].slot].ev;
    assert(at_us >= w->now_us && ev->at_us == at_us);
    pop_entry(w);
    give_slot(w, ev);
    w->now_us = at_us;
    w->n_events++;
    ev->fire(w, ev);
    return true;
}

void world_check(const struct world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_entries; i++) {
        n += !is_stale(w, &w->entries[i]);
        assert(i == 0 || !is_before(&w->entries[i], &w->entries[(i - 1) / HEAP_WIDTH]));
    }
    assert(n == w->n_set);
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
