/* map: hash map with keys and values of fixed size kept in the table itself.
 *
 * Open addressing, keyed hash (SipHash-1-3 with a seed from the owner's rng) so that a stranger
 * cannot choose collisions. Grows by doubling up to n_max items, never shrinks by itself.
 *
 * Ownership  keys and values are copied in; a value pointer is good until the next put or remove
 * Threads    one owner
 * Errors     map_put gives NULL when n_max is reached or memory is refused
 * Order      iteration order depends on the seed: nothing visible may depend on it
 */
#pragma once
#include "base/mem.h"

struct map_seed {
    uint64_t k0, k1;
};

struct map {
    struct mem *mem;
    struct map_seed seed;
    uint8_t *slots;
    size_t key_len, value_len, slot_len;
    size_t n, n_slots, n_max;
};

void map_init(struct map *m, struct mem *mem, struct map_seed seed, size_t key_len,
              size_t value_len, size_t n_max);
void map_clear(struct map *m);
void *map_get(const struct map *m, const void *key);             /* NULL when absent */
void *map_put(struct map *m, const void *key, bool *out_is_new); /* a new value is zeroed */
bool map_remove(struct map *m, const void *key);
/* Walk: start with *cursor = 0; false at the end. Put and remove end the walk's validity. */
bool map_next(const struct map *m, size_t *cursor, const void **out_key, void **out_value);
uint64_t map_hash(struct map_seed seed, const void *data, size_t len); /* SipHash-1-3 */
