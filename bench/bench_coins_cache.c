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

struct bench {
    struct mem mem;
    struct arena arena;
    struct coins_mem behind;
    struct coins_store store;
    struct coins_cache *c;
    struct outpoint *at;
    uint32_t *order, n; /* outpoints, and how they are asked for */
    const struct outpoint *block[BLOCK_INPUTS];
};

static void start(struct bench *b, uint32_t n, bool has_huge_pages)
{
    struct rng rng;
    mem_init(&b->mem, MEM_NO_BUDGET, NULL);
    arena_init(&b->arena, &b->mem, SIZE_MAX);
    coins_mem_init(&b->behind, &b->mem, (struct map_seed){1, 2});
    b->store = coins_mem_store(&b->behind);
    check(coins_cache_new(&b->c, &b->mem, (struct map_seed){3, 4}, &b->store, SIZE_MAX));
    if (has_huge_pages)
        coins_cache_advise(b->c, huge_pages_advise);
    b->n = n;
    b->at = mem_calloc(&b->mem, n, sizeof *b->at);
    b->order = mem_calloc(&b->mem, n, sizeof *b->order);
    if (!b->at || !b->order)
        abort();
    for (uint32_t i = 0; i < n; i++) {
        b->at[i] = outpoint_nth(i);
        b->order[i] = i;
    }
    rng_init(&rng, 1);
    rng_shuffle_u32(&rng, b->order, n);
}

static void stop(struct bench *b)
{
    arena_clear(&b->arena);
    mem_free(&b->mem, b->at);
    mem_free(&b->mem, b->order);
    coins_cache_free(b->c);
    coins_mem_clear(&b->behind);
}

static void add_all(struct bench *b)
{
    static const uint8_t script[25] = {0, 20};
    struct coins_cache_stats stats;
    struct err err = {0};
    struct span_of_time t = begin();
    for (uint32_t i = 0; i < b->n; i++) {
        struct coin coin = {
            .value_sat = i, .script = {script, i % 2 ? 22 : 25}, .height = i / 4000};
        check(coins_cache_add(b->c, &b->at[i], &coin, false, &err));
    }
    end(t, "add", b->n);
    coins_cache_stats(b->c, &stats);
    printf("%-44s %9zu coins %6.1f bytes/coin\n", "memory, index and slabs", stats.n_coins,
           (double)stats.used_len / (double)stats.n_coins);
}

static void get_any(struct bench *b)
{
    struct coin coin;
    struct err err = {0};
    bool is_found;
    struct span_of_time t = begin();
    for (uint32_t i = 0; i < b->n; i++) {
        check(coins_cache_get(b->c, &b->at[b->order[i]], &coin, &is_found, &err));
        if (!is_found)
            abort();
    }
    end(t, "get, any coin", b->n);
}

/* How many of a block's inputs, from the from-th outpoint on, the cache has not. */
static size_t n_missing(struct bench *b, uint32_t from)
{
    static uint32_t index[BLOCK_INPUTS];
    for (uint32_t j = 0; j < BLOCK_INPUTS; j++)
        b->block[j] = &b->at[b->order[from + j]];
    return coins_cache_missing(b->c, b->block, BLOCK_INPUTS, index);
}

static void look_for_blocks(struct bench *b)
{
    uint64_t n_asked = 0;
    struct span_of_time t = begin();
    for (uint32_t i = 0; i + BLOCK_INPUTS <= b->n; i += BLOCK_INPUTS, n_asked += BLOCK_INPUTS)
        if (n_missing(b, i) != 0)
            abort();
    end(t, "missing, a block's inputs at a time", n_asked);
}

static void spend(struct bench *b, const struct outpoint *at)
{
    struct coin coin;
    struct err err = {0};
    bool is_found;
    check(coins_cache_spend(b->c, at, &coin, &b->arena, &is_found, &err));
}

static void spend_any(struct bench *b)
{
    struct span_of_time t = begin();
    for (uint32_t i = 0; i < b->n / 2; i++) {
        spend(b, &b->at[b->order[i]]);
        if (i % BLOCK_INPUTS == 0)
            arena_reset(&b->arena);
    }
    end(t, "spend, any fresh coin", b->n / 2);
}

static void spend_blocks(struct bench *b)
{
    struct span_of_time t = begin();
    for (uint32_t i = b->n / 2; i + BLOCK_INPUTS <= b->n; i += BLOCK_INPUTS) {
        (void)n_missing(b, i);
        for (uint32_t j = 0; j < BLOCK_INPUTS; j++)
            spend(b, b->block[j]);
        arena_reset(&b->arena);
    }
    end(t, "missing, then spend", b->n / 2);
}

int main(int argc, char **argv)
{
    static struct bench b;
    start(&b, argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000000, argc < 3);
    counter_open();
    add_all(&b);
    get_any(&b);
    look_for_blocks(&b);
    spend_any(&b);
    spend_blocks(&b);
    stop(&b);
    return 0;
}
