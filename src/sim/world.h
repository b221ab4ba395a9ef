/* world: a virtual clock, what will happen on it, one source of chance and a hash of all that did.
 *
 * The simulator's ground floor: everything in sim/ is a struct sim_event embedded in its owner.
 * Events fire in order of time, those of one time in the order they were set; an event that fires
 * may set others, also at the present time. Nothing depends on addresses or on the real clock, so
 * one seed gives the same run to the last byte: world_trace_hash is the proof.
 *
 * Ownership  events belong to whoever embeds them; stop them before they are freed
 * Threads    one owner
 * Errors     none: a world that could not remember an event would be worth nothing, so running out
 *            of memory in sim/ ends the process (world_alloc). Engines in it have their own budgets
 */
#pragma once
#include "base/mem.h"
#include "base/rng.h"
#include "base/timer.h"
#include "crypto/sha.h"

struct world;

struct sim_event {
    void (*fire)(struct world *w, struct sim_event *ev);
    uint64_t at_us;
    uint32_t slot; /* in world.slots + 1; 0: not set */
};

/* What the trace tells apart. */
enum trace_kind {
    TRACE_CONNECT = 1,
    TRACE_CONNECTED,
    TRACE_CLOSED,
    TRACE_BYTES,
    TRACE_DATAGRAM,
    TRACE_DISK,
    TRACE_FETCH,
    TRACE_TICK,
    TRACE_NODE,
    TRACE_OWNER
};

#define WORLD_TRACE_CAP 4096u

/* The queue: a heap of keys kept in the array itself, so that sifting a million of them does not
 * touch a million events. An entry whose slot has another tie is stale: the event was moved or
 * stopped. Stale entries are dropped when met, and all at once when they are the majority. */
struct world_entry {
    uint64_t at_us, tie;
    uint32_t slot;
};

struct world_slot {
    struct sim_event *ev; /* NULL: free */
    uint64_t tie;         /* of the entry that counts; free: the next free slot */
};

struct world {
    struct mem *mem;
    uint64_t now_us;
    uint64_t rng_seed;
    struct rng rng;
    struct world_entry *entries;
    struct world_slot *slots;
    size_t n_entries, entries_cap, n_set;
    uint32_t n_slots, slots_cap, free_slot; /* free_slot: + 1; 0: none */
    uint64_t n_ties;
    uint64_t n_events; /* fired so far */
    uint64_t n_traced;
    struct sha256_state trace;
    size_t trace_len;
    uint8_t trace_buf[WORLD_TRACE_CAP];
};

void world_init(struct world *w, struct mem *mem, uint64_t rng_seed);
void world_clear(struct world *w);

void sim_event_init(struct sim_event *ev, void (*fire)(struct world *w, struct sim_event *ev));
bool sim_event_is_set(const struct sim_event *ev);
void world_set(struct world *w, struct sim_event *ev,
               uint64_t at_us);                         /* moves it; not before now */
void world_stop(struct world *w, struct sim_event *ev); /* fine when not set */

uint64_t world_next_us(struct world *w); /* or DEADLINE_NEVER */
bool world_step(struct world *w);        /* one event; false when there is none */
/* Everything up to and including until_us; the clock then stands there. */
void world_run(struct world *w, uint64_t until_us);

void world_trace(struct world *w, enum trace_kind kind, uint32_t node, uint64_t a, uint64_t b);
void world_check(const struct world *w);
void world_trace_hash(const struct world *w, uint8_t out[SHA256_LEN]);

/* A generator of its own for one part of the world, so that more chance in one place does not
 * change all others. */
void world_fork_rng(struct world *w, struct rng *out);
bool world_chance(struct world *w, uint32_t ppm);

void *world_alloc(struct world *w, size_t len);
void *world_calloc(struct world *w, size_t n, size_t len);
void *world_realloc(struct world *w, void *p, size_t len);
void world_free(struct world *w, void *p);
