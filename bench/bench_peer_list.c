/* bench_peer_list: a full list of 3,000 endpoints under a stream of gossip, and dials that fail or
 * work. Fixed input; time and allocations per operation.
 */
#include "bench_clock.h"
#include "torrent/peer_list.h"

#define N_GOSSIP 1000000u
#define N_DIALS  500000u

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

static void report(const char *what, uint64_t n, double s, uint64_t n_allocs)
{
    printf("%-40s %8llu ops %8.1f ns/op %6.3f allocations/op\n", what, (unsigned long long)n,
           s * 1e9 / (double)n, (double)n_allocs / (double)n);
}

int main(void)
{
    struct mem mem;
    struct rng rng, dice;
    struct peer_list l;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 1);
    rng_init(&dice, 2);
    peer_list_init(&l, &mem, &rng, 0);
    struct addr own = addr_v4(198, 51, 100, 7, 6881);
    peer_list_set_own(&l, &own);

    uint64_t now_us = 0, n_allocs = mem.n_allocs;
    double from_s = now_s();
    for (uint32_t i = 0; i < N_GOSSIP; i++) {
        uint32_t ip = rng_below(&dice, 20000);
        struct addr a = addr_v4(20, (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip, 6881);
        peer_list_add(&l, now_us += 1000, &a, i % 50 ? PEER_FROM_PEX : PEER_FROM_TRACKER,
                      i % 7 == 0);
    }
    report("heard of an endpoint, list full", N_GOSSIP, now_s() - from_s, mem.n_allocs - n_allocs);
    printf("%u entries, %llu evicted, %zu bytes\n", l.n, (unsigned long long)l.counters.n_evicted,
           mem.used_len);

    uint64_t n_dialled = 0;
    n_allocs = mem.n_allocs;
    from_s = now_s();
    for (uint32_t i = 0; i < N_DIALS; i++) {
        struct peer_entry *e = peer_list_next(&l, now_us, NULL);
        if (!e) {
            now_us = peer_list_deadline_us(&l);
            continue;
        }
        n_dialled++;
        if (i % 3) {
            peer_list_on_failed(&l, now_us, e);
        } else {
            peer_list_on_connected(&l, now_us, e);
            peer_list_on_closed(&l, now_us + PEER_LIST_SHORT_US, e, false);
        }
    }
    report("chosen, dialled, failed or closed", n_dialled, now_s() - from_s,
           mem.n_allocs - n_allocs);
    peer_list_clear(&l);
    mem_check_empty(&mem);
    return 0;
}
