/* bench_chain_import FILE [--network NAME] [--threads N] [--coins MIB] [--assumevalid] [--dir DIR]
 *
 * Imports a chain (blk*.dat form, genesis first) as `shoal bitcoin import` does, into a folder that
 * is removed afterwards, and prints wall time, CPU time of the owner and of all threads, inputs and
 * bytes per second, what was written and the peak of resident memory. The rate of libsecp256k1 alone
 * (ECDSA, same machine, same moment) is measured before, one thread. */
#include "chain/chainstate.h"
#include "io/chain_pool.h"
#include "store/block_scan.h"
#include "store/chain_files.h"
#include "store/coins_rocksdb.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)

struct import {
    const char *file, *dir;
    const struct chain_params *params;
    unsigned n_threads;
    size_t coins_len;
    bool is_assumed;
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

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err && err->what ? err->what : "failed");
    exit(1);
}

static double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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

static void report(const struct import *in, double wall_s, double cpu_s, double own_s,
                   double close_s)
{
    struct chainstate_stats st;
    struct chain_files_stats files;
    struct coins_store_stats coins;
    struct coins_cache_stats cache;
    struct rusage ru;
    chainstate_stats(in->s, &st);
    chain_files_stats(in->files, &files);
    in->coins.stats(in->coins.ctx, &coins);
    coins_cache_stats(chainstate_coins(in->s), &cache);
    getrusage(RUSAGE_SELF, &ru);
    printf("blocks %llu, disconnected %llu, refused %llu, transactions %llu, inputs %llu\n",
           (unsigned long long)st.n_connected, (unsigned long long)st.n_disconnected,
           (unsigned long long)in->n_invalid, (unsigned long long)st.n_txs,
           (unsigned long long)st.n_inputs);
    printf("wall %.2f s (and %.2f s to write coins), CPU %.2f s (owner %.2f s)\n", wall_s, close_s,
           cpu_s, own_s);
    printf("%.0f inputs/s, %.1f MB/s, peak %.0f MiB, coins cache %.1f MiB of %llu coins\n",
           (double)st.n_inputs / wall_s, (double)st.block_len / wall_s / 1e6,
           (double)ru.ru_maxrss / 1024, (double)cache.used_len / MIB,
           (unsigned long long)cache.n_coins);
    printf("written: blocks, undo and index %.1f MB, coins %.1f MB, %.1f kB a block\n",
           (double)files.written_len / 1e6, (double)coins.written_len / 1e6,
           (double)(files.written_len + coins.written_len) / 1e3 / (double)st.n_connected);
}

static void run(struct import *in)
{
    struct err err = {0};
    read_headers(in, false);
    open_all(in);
    double wall = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID),
           own = clock_s(CLOCK_THREAD_CPUTIME_ID);
    read_headers(in, true);
    feed_all(in);
    wall = clock_s(CLOCK_MONOTONIC) - wall;
    double flush = clock_s(CLOCK_MONOTONIC);
    own = clock_s(CLOCK_THREAD_CPUTIME_ID) - own;
    if (chainstate_flush(in->s, &err))
        die("flush", &err);
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    report(in, wall, cpu, own, clock_s(CLOCK_MONOTONIC) - flush);
    if (chainstate_close(in->s, &err))
        die("close", &err);
    chain_pool_free(in->pool);
    coins_rocksdb_close(in->rocks);
    chain_files_close(in->files);
}

int main(int argc, char **argv)
{
    struct import in = {.params = chain_params_find("regtest"), .coins_len = 450u * MIB};
    char template[4096];
    const char *parent = "/dev/shm";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--assumevalid") == 0)
            in.is_assumed = true;
        else if (strcmp(argv[i], "--network") == 0 && i + 1 < argc)
            in.params = chain_params_find(argv[++i]);
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            in.n_threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--coins") == 0 && i + 1 < argc)
            in.coins_len = strtoul(argv[++i], NULL, 10) * MIB;
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            parent = argv[++i];
        else
            in.file = argv[i];
    }
    if (!in.file || !in.params) {
        fprintf(stderr, "usage: bench_chain_import FILE [--network NAME] [--threads N] "
                        "[--coins MIB] [--assumevalid] [--dir DIR]\n");
        return 2;
    }
    snprintf(template, sizeof template, "%s/shoal-import-XXXXXX", parent);
    in.dir = mkdtemp(template);
    if (!in.dir)
        die(parent, NULL);
    run(&in);
    return nftw(in.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}
