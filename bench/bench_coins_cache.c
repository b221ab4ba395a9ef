/* bench_coins_cache: what a coin costs in the coins cache: ns and instructions for each operation, with
 * far more coins than fit in the processor's caches, and bytes of memory per coin. Fixed input; the
 * argument is the number of coins, a second one leaves huge pages out.
 */
#include "base/rng.h"
#include "bench_clock.h"
#include "chain/coins_cache.h"
#include "chain/coins_mem.h"
#include "io/huge_pages.h"
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK_INPUTS 4000u /* looked for together, as a block's inputs are */

static int counter_fd = -1;

static void counter_open(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1};
    counter_fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t instructions(void)
{
    uint64_t n = 0;
    return counter_fd >= 0 && read(counter_fd, &n, sizeof n) == sizeof n ? n : 0;
}

static double cpu_s(void)
{
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

struct span_of_time {
    double from_s;
    uint64_t from_n;
};

static struct span_of_time begin(void)
{
    return (struct span_of_time){cpu_s(), instructions()};
}

static void end(struct span_of_time t, const char *what, uint64_t n)
{
    double ns = (cpu_s() - t.from_s) * 1e9 / (double)n;
    uint64_t n_instructions = instructions() - t.from_n;
    printf("%-44s %9llu ops %8.1f ns/op", what, (unsigned long long)n, ns);
    if (counter_fd >= 0)
        printf(" %7.0f instructions/op", (double)n_instructions / (double)n);
    printf("\n");
}

static struct outpoint outpoint_nth(uint32_t i)
{
    struct outpoint at = {.n = i % 3};
    struct rng rng;
    rng_init(&rng, i / 3);
    for (size_t j = 0; j < 4; j++) {
        uint64_t word = rng_u64(&rng);
        memcpy(at.txid.b + 8 * j, &word, 8);
    }
    return at;
}

static void check(enum err_code code)
{
    if (code)
        abort();
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000000;
    static const uint8_t script[25] = {0, 20};
    static uint32_t index[BLOCK_INPUTS];
    static const struct outpoint *list[BLOCK_INPUTS];
    struct mem mem;
    struct coins_mem behind;
    struct coins_cache *c;
    struct err err = {0};
    struct rng rng;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    coins_mem_init(&behind, &mem, (struct map_seed){1, 2});
    struct coins_store store = coins_mem_store(&behind);
    check(coins_cache_new(&c, &mem, (struct map_seed){3, 4}, &store, SIZE_MAX));
    if (argc < 3)
        coins_cache_advise(c, huge_pages_advise);
    struct outpoint *at = mem_calloc(&mem, n, sizeof *at);
    uint32_t *order = mem_calloc(&mem, n, sizeof *order);
    if (!at || !order)
        return 1;
    for (uint32_t i = 0; i < n; i++) {
        at[i] = outpoint_nth(i);
        order[i] = i;
    }
    rng_init(&rng, 1);
    rng_shuffle_u32(&rng, order, n);
    counter_open();

    struct span_of_time t = begin();
    for (uint32_t i = 0; i < n; i++) {
        struct coin coin = {
            .value_sat = i, .script = {script, i % 2 ? 22 : 25}, .height = i / 4000};
        check(coins_cache_add(c, &at[i], &coin, false, &err));
    }
    end(t, "add", n);
    struct coins_cache_stats stats;
    coins_cache_stats(c, &stats);
    printf("%-44s %9zu coins %6.1f bytes/coin\n", "memory, index and slabs", stats.n_coins,
           (double)stats.used_len / (double)stats.n_coins);

    struct coin coin;
    bool is_found;
    t = begin();
    for (uint32_t i = 0; i < n; i++) {
        check(coins_cache_get(c, &at[order[i]], &coin, &is_found, &err));
        if (!is_found)
            return 1;
    }
    end(t, "get, any coin", n);

    t = begin();
    uint64_t n_asked = 0;
    for (uint32_t i = 0; i + BLOCK_INPUTS <= n; i += BLOCK_INPUTS, n_asked += BLOCK_INPUTS) {
        for (uint32_t j = 0; j < BLOCK_INPUTS; j++)
            list[j] = &at[order[i + j]];
        if (coins_cache_missing(c, list, BLOCK_INPUTS, index) != 0)
            return 1;
    }
    end(t, "missing, a block's inputs at a time", n_asked);

    struct arena arena;
    arena_init(&arena, &mem, SIZE_MAX);
    t = begin();
    for (uint32_t i = 0; i < n / 2; i++) {
        check(coins_cache_spend(c, &at[order[i]], &coin, &arena, &is_found, &err));
        if (i % BLOCK_INPUTS == 0)
            arena_reset(&arena);
    }
    end(t, "spend, any fresh coin", n / 2);

    t = begin();
    for (uint32_t i = n / 2; i + BLOCK_INPUTS <= n; i += BLOCK_INPUTS) {
        for (uint32_t j = 0; j < BLOCK_INPUTS; j++)
            list[j] = &at[order[i + j]];
        (void)coins_cache_missing(c, list, BLOCK_INPUTS, index);
        for (uint32_t j = 0; j < BLOCK_INPUTS; j++)
            check(coins_cache_spend(c, list[j], &coin, &arena, &is_found, &err));
        arena_reset(&arena);
    }
    end(t, "missing, then spend", n / 2);
    arena_clear(&arena);
    mem_free(&mem, at);
    mem_free(&mem, order);
    coins_cache_free(c);
    coins_mem_clear(&behind);
    return 0;
}
