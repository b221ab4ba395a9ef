/* ban_list: addresses that the session does not talk to, each until a time.
 *
 * Ownership  copies addresses
 * Threads    one owner
 * Errors     no memory: the ban is not kept (n_refused)
 * Bounds     n_max; the oldest ban goes first
 */
#pragma once
#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"

#define BAN_LIST_N_MAX 8192u

struct ban_list {
    struct mem *mem;
    struct map by_ip; /* family and ip -> struct ban * */
    struct list by_age;
    uint32_t n_max;
    uint64_t n_banned, n_hits, n_evicted, n_refused;
};

void ban_list_init(struct ban_list *l, struct mem *mem, struct rng *rng,
                   uint32_t n_max); /* 0: default */
void ban_list_clear(struct ban_list *l);
void ban_list_check(const struct ban_list *l);
/* By IP, any port. until_us UINT64_MAX: for the life of the session. A longer ban stands. */
void ban_list_add(struct ban_list *l, const struct addr *a, uint64_t until_us);
bool ban_list_has(struct ban_list *l, uint64_t now_us, const struct addr *a);
bool ban_list_remove(struct ban_list *l, const struct addr *a);
