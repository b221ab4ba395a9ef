/* timer: deadlines on the owner's clock. Equal deadlines fire in the order they were set.
 *
 * A timer is embedded in its owner and says by `kind` what is due; nothing is called back:
 * the owner pops what is due and switches on the kind.
 *
 * Ownership  the timer belongs to whoever embeds it; stop it before it is freed
 * Threads    one owner
 * Errors     timer_set: ERR_NO_MEMORY (the heap's array could not grow)
 */
#pragma once
#include "base/heap.h"

#define DEADLINE_NEVER UINT64_MAX
#define US_PER_MS      1000u
#define US_PER_S       1000000u

struct timer {
    struct heap_node in_timers;
    uint32_t kind; /* the owner's enum */
};

struct timers {
    struct heap heap;
};

void timers_init(struct timers *ts, struct mem *mem);
void timers_clear(struct timers *ts);
void timer_init(struct timer *t, uint32_t kind);
bool timer_is_set(const struct timer *t);
enum err_code timer_set(struct timers *ts, struct timer *t, uint64_t at_us) MUST_USE; /* moves it */
void timer_stop(struct timers *ts, struct timer *t);              /* fine when not set */
uint64_t timers_deadline_us(const struct timers *ts);             /* or DEADLINE_NEVER */
struct timer *timers_pop_due(struct timers *ts, uint64_t now_us); /* NULL when none is due */
