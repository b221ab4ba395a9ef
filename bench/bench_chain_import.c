/* bench_chain_import FILE [--network NAME] [--threads N] [--coins MIB] [--assumevalid] [--dir DIR]
 *                    [--split] [--json]
 *
 * Imports a chain (blk*.dat form, genesis first) as `shoal bitcoin import` does, into a folder that
 * is removed afterwards, and prints wall time, CPU time of the owner and of all threads, inputs and
 * bytes per second, what was written and the peak of resident memory.
 *
 * --split counts where the CPU time goes (phases.h), and then checks some of the import's own
 * signatures in a tight loop on as many threads: the raw rate of libsecp256k1. It fails when the
 * phases do not add up to the CPU time of the process, or a door was not gone through. --json
 * prints the figures as one object; bench/chain.py makes its table of them. */
#include "bench_clock.h"
#include "chain/chainstate.h"
#include "chain_doors.h"
#include "io/chain_pool.h"
#include "io/huge_pages.h"
#include "raw_checks.h"
#include "store/block_scan.h"
#include "store/chain_files.h"
#include "store/coins_rocksdb.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB      (1u << 20)
#define RAW_S    3.0  /* ours: the tight loop's time */
#define SLIP_MAX 0.02 /* ours: of the CPU time, that no phase has or two have */

struct import {
    const char *file, *dir;
    const struct chain_params *params;
    unsigned n_threads;
    size_t coins_len;
    bool is_assumed, is_split, is_json;
    struct hash256 last; /* of the file's headers */
    struct mem mem;
    struct chain_files *files;
    struct coins_rocksdb *rocks;
    struct chain_store blocks;
    struct coins_store coins;
    struct chain_pool *pool;
    struct chainstate *s;
    uint64_t n_invalid;
};

struct figures {
    double wall_s, close_s, cpu_s, own_s;
    double peak_mib;
    unsigned n_threads;
    struct chainstate_stats chain;
    struct chain_files_stats files;
    struct coins_store_stats coins;
    struct coins_cache_stats cache;
    struct phases_sum phases;
    struct raw_checks_rate raw;
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err && err->what ? err->what : "failed");
    exit(1);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void on_event(void *ctx, const struct chain_event *e)
{
    struct import *in = ctx;
    in->n_invalid += e->kind == CHAIN_INVALID || e->kind == CHAIN_REFUSED;
}

static void open_all(struct import *in)
{
    struct err err = {0};
    char path[4096];
    struct chain_files_config files = {.dir = in->dir};
    memcpy(files.magic, in->params->magic, sizeof files.magic);
    mem_init(&in->mem, MEM_NO_BUDGET, NULL);
    if (chain_files_open(&in->files, &files, &err))
        die("block files", &err);
    chain_files_store(in->files, &in->blocks);
    snprintf(path, sizeof path, "%s/coins", in->dir);
    struct coins_rocksdb_config coins = {.path = path};
    if (coins_rocksdb_open(&in->rocks, &in->mem, &coins, &err))
        die("coins", &err);
    in->coins = coins_rocksdb_store(in->rocks);
    chain_doors_take(&in->blocks, &in->coins);
    if (chain_pool_new(&in->pool, in->n_threads, &err))
        die("threads", &err);
    struct chainstate_config c = {.params = in->params,
                                  .mem = &in->mem,
                                  .rng_seed = 1,
                                  .blocks = &in->blocks,
                                  .coins = &in->coins,
                                  .runner = chain_pool_runner(in->pool),
                                  .coins_cap_len = in->coins_len,
                                  .on_event = on_event,
                                  .on_event_ctx = in};
    if (in->is_assumed) {
        c.has_assume_valid = true;
        c.assume_valid = in->last;
    }
    if (chainstate_open(&in->s, &c, &err))
        die("chain", &err);
    chainstate_advise(in->s, huge_pages_advise);
}

/* The file's headers, as a node has them before it asks for blocks. */
static void read_headers(struct import *in, bool add)
{
    struct err err = {0};
    struct block_scan *scan;
    struct bytes raw;
    uint64_t at, skipped;
    struct reject r;
    uint32_t node;
    if (block_scan_open(&scan, in->file, in->params->magic, &err))
        die(in->file, &err);
    while (block_scan_next(scan, &raw, &at, &skipped, &err) == ERR_OK) {
        struct block_header h;
        struct reader reader = reader_init(raw);
        if (block_header_read(&reader, &h))
            continue;
        block_header_hash(&h, &in->last);
        if (add && chainstate_add_header(in->s, &h, INT64_C(4000000000), &node, &r))
            fprintf(stderr, "a header was refused: %s\n", r.reason);
    }
    block_scan_close(scan);
}

static void feed_all(struct import *in)
{
    struct err err = {0};
    struct block_scan *scan;
    struct bytes raw;
    uint64_t at, skipped;
    struct reject r;
    bool is_done = false;
    if (block_scan_open(&scan, in->file, in->params->magic, &err))
        die(in->file, &err);
    while (block_scan_next(scan, &raw, &at, &skipped, &err) == ERR_OK)
        if (chainstate_feed(in->s, raw, INT64_C(4000000000), &r) == VERDICT_UNDECIDED)
            die("feed", &r.err);
    block_scan_close(scan);
    err = (struct err){0};
    while (!is_done)
        if (chainstate_advance(in->s, 0, &is_done, &err))
            die("advance", &err);
}

static void take_stats(struct import *in, struct figures *f)
{
    struct rusage ru;
    chainstate_stats(in->s, &f->chain);
    chain_files_stats(in->files, &f->files);
    in->coins.stats(in->coins.ctx, &f->coins);
    coins_cache_stats(chainstate_coins(in->s), &f->cache);
    getrusage(RUSAGE_SELF, &ru);
    f->peak_mib = (double)ru.ru_maxrss / 1024;
}

static void import(struct import *in, struct figures *f)
{
    struct err err = {0};
    double wall = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID),
           own = clock_s(CLOCK_THREAD_CPUTIME_ID);
    if (in->is_split)
        phases_start();
    read_headers(in, true);
    feed_all(in);
    double fed = clock_s(CLOCK_MONOTONIC);
    if (chainstate_flush(in->s, &err))
        die("flush", &err);
    take_stats(in, f);
    if (chainstate_close(in->s, &err))
        die("close", &err);
    f->own_s = clock_s(CLOCK_THREAD_CPUTIME_ID) - own;
    chain_pool_free(in->pool);
    if (in->is_split)
        phases_stop(&f->phases);
    f->wall_s = fed - wall;
    f->close_s = clock_s(CLOCK_MONOTONIC) - fed;
    f->cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    coins_rocksdb_close(in->rocks);
    chain_files_close(in->files);
}

/* --- telling --------------------------------------------------------------------------------- */

static void print_plain(const struct figures *f, uint64_t n_invalid)
{
    printf("blocks %llu, disconnected %llu, refused %llu, transactions %llu, inputs %llu\n",
           (unsigned long long)f->chain.n_connected, (unsigned long long)f->chain.n_disconnected,
           (unsigned long long)n_invalid, (unsigned long long)f->chain.n_txs,
           (unsigned long long)f->chain.n_inputs);
    printf("wall %.2f s (and %.2f s to write coins), CPU %.2f s (owner %.2f s)\n", f->wall_s,
           f->close_s, f->cpu_s, f->own_s);
    printf("%.0f inputs/s, %.1f MB/s, peak %.0f MiB, coins cache %.1f MiB of %llu coins\n",
           (double)f->chain.n_inputs / f->wall_s, (double)f->chain.block_len / f->wall_s / 1e6,
           f->peak_mib, (double)f->cache.used_len / MIB, (unsigned long long)f->cache.n_coins);
    printf("written: blocks, undo and index %.1f MB, coins %.1f MB, %.1f kB a block\n",
           (double)f->files.written_len / 1e6, (double)f->coins.written_len / 1e6,
           (double)(f->files.written_len + f->coins.written_len) / 1e3 /
               (double)f->chain.n_connected);
}

static void print_split(const struct figures *f)
{
    for (unsigned p = 0; p < N_PHASES; p++)
        printf("%-10s %8.3f s\n", phase_name(p), f->phases.cpu_s[p]);
    printf("of them counting %6.3f s\n", f->phases.counters_s);
    printf("%llu signature checks", (unsigned long long)chain_doors_n_checks(&f->phases));
    if (f->raw.n_checks)
        printf("; raw, on as many threads: %.0f/s, %.0f per CPU s",
               (double)f->raw.n_checks / f->raw.wall_s, (double)f->raw.n_checks / f->raw.cpu_s);
    printf("\n");
}

static void print_json(const struct figures *f)
{
    printf("{\"blocks\": %llu, \"txs\": %llu, \"inputs\": %llu, \"block_len\": %llu, "
           "\"wall_s\": %.4f, \"close_s\": %.4f, \"cpu_s\": %.4f, \"peak_mib\": %.1f, "
           "\"written_len\": %llu, \"n_checks\": %llu, \"threads\": %u",
           (unsigned long long)f->chain.n_connected, (unsigned long long)f->chain.n_txs,
           (unsigned long long)f->chain.n_inputs, (unsigned long long)f->chain.block_len, f->wall_s,
           f->close_s, f->cpu_s, f->peak_mib,
           (unsigned long long)(f->files.written_len + f->coins.written_len),
           (unsigned long long)chain_doors_n_checks(&f->phases), f->n_threads);
    for (unsigned p = 0; p < N_PHASES; p++)
        printf(", \"%s_s\": %.4f", phase_name(p), f->phases.cpu_s[p]);
    printf(", \"counters_s\": %.4f", f->phases.counters_s);
    printf(", \"raw_checks\": %llu, \"raw_wall_s\": %.4f, \"raw_cpu_s\": %.4f}\n",
           (unsigned long long)f->raw.n_checks, f->raw.wall_s, f->raw.cpu_s);
}

/* --- what the counters say of themselves ----------------------------------------------------- */

static bool adds_up(const struct phases_sum *sum)
{
    double total_s = 0;
    for (unsigned p = 0; p < N_PHASES; p++)
        total_s += sum->cpu_s[p];
    double slip = total_s / sum->process_s - 1;
    if (slip <= SLIP_MAX && slip >= -SLIP_MAX)
        return true;
    fprintf(stderr, "the phases have %.3f s, the process %.3f s\n", total_s, sum->process_s);
    return false;
}

static bool check_split(const struct import *in, const struct figures *f)
{
    const bool has[N_DOOR_WHENS] = {[DOOR_ALWAYS] = true,
                                    [DOOR_SCRIPTS] = !in->is_assumed,
                                    [DOOR_REORG] = f->chain.n_disconnected > 0,
                                    [DOOR_FETCH] = f->chain.n_coin_writes > 1,
                                    [DOOR_THREADS] = f->n_threads > 1};
    return chain_doors_check(&f->phases, has) && adds_up(&f->phases);
}

static void run(struct import *in)
{
    struct figures f = {0};
    read_headers(in, false);
    open_all(in);
    f.n_threads = chain_pool_runner(in->pool)->n_threads + 1;
    import(in, &f);
    if (in->is_split && !check_split(in, &f))
        die("the counters", NULL);
    if (in->is_split && !in->is_assumed && !raw_checks_run(f.n_threads, RAW_S, &f.raw))
        die("the tight loop", NULL);
    if (in->is_json) {
        print_json(&f);
        return;
    }
    print_plain(&f, in->n_invalid);
    if (in->is_split)
        print_split(&f);
}

static void read_arguments(struct import *in, const char **parent, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--assumevalid") == 0)
            in->is_assumed = true;
        else if (strcmp(argv[i], "--split") == 0)
            in->is_split = true;
        else if (strcmp(argv[i], "--json") == 0)
            in->is_json = true;
        else if (strcmp(argv[i], "--network") == 0 && i + 1 < argc)
            in->params = chain_params_find(argv[++i]);
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            in->n_threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--coins") == 0 && i + 1 < argc)
            in->coins_len = strtoul(argv[++i], NULL, 10) * MIB;
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            *parent = argv[++i];
        else
            in->file = argv[i];
    }
}

int main(int argc, char **argv)
{
    struct import in = {.params = chain_params_find("regtest"), .coins_len = 450u * MIB};
    char template[4096];
    const char *parent = "/dev/shm";
    read_arguments(&in, &parent, argc, argv);
    if (!in.file || !in.params) {
        fprintf(stderr, "usage: bench_chain_import FILE [--network NAME] [--threads N] "
                        "[--coins MIB] [--assumevalid] [--dir DIR] [--split] [--json]\n");
        return 2;
    }
    snprintf(template, sizeof template, "%s/shoal-import-XXXXXX", parent);
    in.dir = mkdtemp(template);
    if (!in.dir)
        die(parent, NULL);
    run(&in);
    return nftw(in.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}
