/* bench_choker: a session with 1,000 interested peers, half of them of torrents that we seed: what a
 * rechoke, a look for free capacity and a change of interest cost. Fixed input; the argument is the
 * number of peers.
 */
#include "bench_clock.h"
#include "torrent/choker.h"

#define N_PEERS_MAX 10000u
#define SECOND      1000000u

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

static void report(const char *what, uint64_t n, double s, uint64_t n_allocs)
{
    printf("%-40s %8llu ops %10.1f ns/op %6llu allocations in all\n", what, (unsigned long long)n,
           s * 1e9 / (double)n, (unsigned long long)n_allocs);
}

static void change_rates(struct choker_peer *peers, uint32_t n, struct rng *rng)
{
    for (uint32_t i = 0; i < n; i++) {
        peers[i].down_per_s = rng_below(rng, 1000000);
        peers[i].up_per_s = peers[i].is_unchoked ? rng_below(rng, 1000000) : 0;
        peers[i].up_total += peers[i].up_per_s * 10;
    }
}

int main(int argc, char **argv)
{
    static struct choker_peer peers[N_PEERS_MAX];
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    n = n < N_PEERS_MAX ? n : N_PEERS_MAX;
    struct mem mem;
    struct rng rng;
    struct choker c;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 1);
    uint64_t now_us = SECOND;
    choker_init(&c, &mem, &rng, now_us, 0, 50u << 20);
    for (uint32_t i = 0; i < n; i++) {
        choker_peer_init(&peers[i]);
        peers[i].is_seeding = i % 2;
        peers[i].piece_len = 1u << 20;
        if (choker_add(&c, now_us, &peers[i]) != ERR_OK)
            return 1;
        choker_on_interest(&c, now_us, &peers[i], true);
    }
    printf("%u peers, %u slots\n", n, c.n_slots);

    double spent_s = 0;
    for (uint32_t i = 0; i < 200; i++) {
        change_rates(peers, n, &rng);
        now_us += CHOKER_RECHOKE_US;
        double from_s = now_s();
        choker_on_tick(&c, now_us);
        spent_s += now_s() - from_s;
        while (choker_next_change(&c))
            ;
    }
    report("rechoke", 200, spent_s, mem.n_allocs);

    double from_s = now_s();
    for (uint32_t i = 0; i < 500; i++) {
        now_us += CHOKER_GROW_US;
        choker_on_tick(&c, now_us);
    }
    report("look for capacity (and rechokes)", 500, now_s() - from_s, mem.n_allocs);

    from_s = now_s();
    for (uint32_t i = 0; i < 20000; i++)
        choker_on_interest(&c, now_us, &peers[i * 7 % n], i / n % 2);
    report("interest comes or goes", 20000, now_s() - from_s, mem.n_allocs);

    while (n > 0)
        choker_remove(&c, now_us, &peers[--n]);
    choker_clear(&c);
    mem_check_empty(&mem);
    return 0;
}
