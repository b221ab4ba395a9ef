/* bench_coins_store: what keeps the coins on disk: RocksDB (universal and leveled) beside LMDB, the same
 * coins with random keys through the same interface.
 *
 * usage: bench_coins_store ENGINE FOLDER N     ENGINE: universal, leveled, lmdb
 *
 * Fill with N coins in large commits; replace a tenth in small ones (half erased, half new); look
 * up what is there and what is not, warm and cold (the files' pages dropped, a new process);
 * iterate; kill -9 in the middle of a commit and open again.
 */
#include "base/rng.h"
#include "base/size.h"
#include "bench_clock.h"
#include "coins_lmdb.h"
#include "store/coins_rocksdb.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILL_COMMITS  8u
#define CHURN_COMMITS 10u
#define N_GETS        100000u
#define N_COLD_GETS   10000u
#define GETS_AT_ONCE  32u
#define DB_MEMORY     (256u << 20)

struct bench {
    const char *engine, *dir;
    struct mem mem;
    struct coins_rocksdb *rocksdb;
    struct coins_lmdb *lmdb;
    struct coins_store store;
    uint32_t n;
};

static void stop(const char *what, const struct bench *b)
{
    fprintf(stderr, "%s %s\n", what, b->rocksdb ? coins_rocksdb_error(b->rocksdb) : "");
    exit(1);
}

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* What the kernel counts as to be written for this process, mapped pages included. */
static double written_mb(void)
{
    char line[128];
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "write_bytes: %llu", &n) == 1)
            break;
    if (f)
        fclose(f);
    return (double)n / 1e6;
}

static void open_store(struct bench *b)
{
    struct err err = {0};
    if (strcmp(b->engine, "lmdb") == 0) {
        if (coins_lmdb_open(&b->lmdb, b->dir, (size_t)64 << 30))
            stop("cannot open", b);
        b->store = coins_lmdb_store(b->lmdb);
        return;
    }
    struct coins_rocksdb_config config = {
        .path = b->dir, .memory_len = DB_MEMORY, .is_leveled = strcmp(b->engine, "leveled") == 0};
    if (coins_rocksdb_open(&b->rocksdb, &b->mem, &config, &err))
        stop("cannot open", b);
    b->store = coins_rocksdb_store(b->rocksdb);
}

static void close_store(struct bench *b)
{
    if (b->lmdb)
        coins_lmdb_close(b->lmdb);
    coins_rocksdb_close(b->rocksdb);
    b->lmdb = NULL;
    b->rocksdb = NULL;
}

/* --- files ----------------------------------------------------------------------------------- */

static double each_file(const char *dir, bool is_dropped)
{
    char path[4096];
    double mb = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
            mb += (double)st.st_blocks * 512 / 1e6;
            if (is_dropped) {
                fsync(fd);
                posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            }
        }
        close(fd);
    }
    if (d)
        closedir(d);
    return mb;
}

/* --- coins ----------------------------------------------------------------------------------- */

static struct outpoint outpoint_nth(uint32_t i)
{
    struct outpoint at = {0};
    struct rng rng;
    rng_init(&rng, i);
    for (size_t j = 0; j < 4; j++) {
        uint64_t word = rng_u64(&rng);
        memcpy(at.txid.b + 8 * j, &word, 8);
    }
    return at;
}

struct item {
    struct outpoint at;
    uint32_t i;
    bool is_spent;
};

struct feed {
    struct item *items;
    size_t n, next;
};

static int compare_items(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash256));
}

static bool feed_next(void *ctx, struct coins_change *out)
{
    static const uint8_t script[22] = {0, 20};
    struct feed *f = ctx;
    if (f->next == f->n)
        return false;
    const struct item *item = &f->items[f->next++];
    *out = (struct coins_change){.at = item->at,
                                 .is_spent = item->is_spent,
                                 .coin = {.value_sat = item->i * INT64_C(7919),
                                          .height = 900000,
                                          .script = {script, sizeof script}}};
    return true;
}

/* The items are sorted first, as the cache hands them over; that is not counted. */
static void commit(struct bench *b, struct item *items, size_t n, uint32_t height, double *s)
{
    struct feed f = {.items = items, .n = n};
    struct coins_tip tip = {.height = height};
    struct err err = {0};
    qsort(items, n, sizeof *items, compare_items);
    double from_s = now_s();
    if (b->store.write(b->store.ctx, &tip, feed_next, &f, &err))
        stop("cannot write", b);
    *s += now_s() - from_s;
}

static void fill(struct bench *b, struct item *items)
{
    double commit_s = 0, from_cpu_s = cpu_s();
    uint32_t per = b->n / FILL_COMMITS;
    for (uint32_t c = 0; c < FILL_COMMITS; c++) {
        for (uint32_t j = 0; j < per; j++)
            items[j] = (struct item){outpoint_nth(c * per + j), c * per + j, false};
        commit(b, items, per, c + 1, &commit_s);
    }
    printf("%-10s fill    %9u coins %8.1f s in commits %8.1f s CPU %9.0f MB written %8.0f MB on "
           "disk\n",
           b->engine, b->n, commit_s, cpu_s() - from_cpu_s, written_mb(), each_file(b->dir, false));
}

/* Coins 0, 10, 20 ... go; as many new ones come. */
static void churn(struct bench *b, struct item *items)
{
    double commit_s = 0, worst_s = 0, from_cpu_s = cpu_s(), from_mb = written_mb();
    uint32_t per = b->n / 20 / CHURN_COMMITS;
    for (uint32_t c = 0; c < CHURN_COMMITS; c++) {
        double one_s = 0;
        for (uint32_t j = 0; j < per; j++) {
            uint32_t old = (c * per + j) * 10, new = b->n + c *per + j;
            items[2 * j] = (struct item){outpoint_nth(old), old, true};
            items[2 * j + 1] = (struct item){outpoint_nth(new), new, false};
        }
        commit(b, items, 2 * per, FILL_COMMITS + c + 1, &one_s);
        commit_s += one_s;
        worst_s = one_s > worst_s ? one_s : worst_s;
    }
    printf(
        "%-10s churn   %9u coins %8.1f s in commits %8.1f s CPU %9.0f MB written %8.0f MB on disk, "
        "longest commit %.2f s\n",
        b->engine, 2 * per * CHURN_COMMITS, commit_s, cpu_s() - from_cpu_s, written_mb() - from_mb,
        each_file(b->dir, false), worst_s);
}

static void look_up(struct bench *b, const char *what, uint32_t n, bool is_there, uint64_t seed)
{
    struct outpoint at[GETS_AT_ONCE];
    const struct outpoint *list[GETS_AT_ONCE];
    struct coin coins[GETS_AT_ONCE];
    bool is_found[GETS_AT_ONCE];
    struct arena a;
    struct rng rng;
    struct err err = {0};
    arena_init(&a, &b->mem, SIZE_MAX);
    rng_init(&rng, seed);
    double from_s = now_s(), from_cpu_s = cpu_s();
    for (uint32_t i = 0; i < n; i += GETS_AT_ONCE) {
        for (uint32_t j = 0; j < GETS_AT_ONCE; j++) {
            uint32_t k = rng_below(&rng, b->n / 10) * 10 + 1;
            at[j] = outpoint_nth(is_there ? k : k + 0x80000000);
            list[j] = &at[j];
        }
        if (b->store.get_many(b->store.ctx, list, GETS_AT_ONCE, coins, is_found, &a, &err))
            stop("cannot read", b);
        for (uint32_t j = 0; j < GETS_AT_ONCE; j++)
            if (is_found[j] != is_there)
                stop("a coin is not as it should be", b);
        arena_reset(&a);
    }
    printf("%-10s get     %-24s %9u coins %8.2f us each %8.2f us CPU\n", b->engine, what, n,
           (now_s() - from_s) * 1e6 / n, (cpu_s() - from_cpu_s) * 1e6 / n);
    arena_clear(&a);
}

static bool count_each(void *ctx, const struct outpoint *at, const struct coin *c)
{
    (void)at;
    (void)c;
    ++*(uint64_t *)ctx;
    return true;
}

static void iterate(struct bench *b)
{
    uint64_t n = 0;
    struct err err = {0};
    double from_s = now_s();
    if (b->store.iterate(b->store.ctx, NULL, count_each, &n, &err))
        stop("cannot iterate", b);
    printf("%-10s iterate %9llu coins %8.2f s\n", b->engine, (unsigned long long)n,
           now_s() - from_s);
}

/* Children are this program again: RocksDB's threads do not survive a fork. */
static pid_t start(const struct bench *b, const char *what)
{
    char n[16];
    snprintf(n, sizeof n, "%u", b->n);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "bench_coins_store", b->engine, b->dir, n, what, (char *)NULL);
        _exit(1);
    }
    return child;
}

static void write_for_ever(struct bench *b, struct item *items)
{
    double s = 0;
    open_store(b);
    for (uint32_t c = 0;; c++) {
        uint32_t per = b->n / 40;
        for (uint32_t j = 0; j < per; j++)
            items[j] = (struct item){outpoint_nth(2 * b->n + c * per + j), j, false};
        commit(b, items, per, 1000 + c, &s);
    }
}

static void kill_and_open(struct bench *b)
{
    struct coins_tip tip;
    struct err err = {0};
    pid_t child = start(b, "write");
    struct timespec some = {.tv_sec = 4};
    nanosleep(&some, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    double from_s = now_s();
    open_store(b);
    if (b->store.tip(b->store.ctx, &tip, &err))
        stop("cannot read the tip", b);
    printf("%-10s killed in a commit, open and tip %u after %.2f s\n", b->engine, tip.height,
           now_s() - from_s);
    close_store(b);
}

static int whole(struct bench *b, struct item *items)
{
    open_store(b);
    fill(b, items);
    churn(b, items);
    look_up(b, "first look", N_GETS, true, 1);
    look_up(b, "the same, warm", N_GETS, true, 1);
    look_up(b, "not there, warm", N_GETS, false, 2);
    iterate(b);
    close_store(b);
    printf("%-10s closed: %.0f MB on disk, %.0f MB written in all\n", b->engine,
           each_file(b->dir, true), written_mb());
    waitpid(start(b, "cold"), NULL, 0);
    kill_and_open(b);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s universal|leveled|lmdb FOLDER N\n", argv[0]);
        return 2;
    }
    struct bench b = {.engine = argv[1], .dir = argv[2], .n = (uint32_t)strtoul(argv[3], NULL, 10)};
    mem_init(&b.mem, MEM_NO_BUDGET, NULL);
    if (argc == 5 && strcmp(argv[4], "cold") == 0) {
        open_store(&b);
        look_up(&b, "cold", N_COLD_GETS, true, 3);
        close_store(&b);
        return 0;
    }
    struct item *items = mem_calloc(&b.mem, b.n / FILL_COMMITS + 1, sizeof *items);
    if (!items)
        return 1;
    if (argc == 5)
        write_for_ever(&b, items);
    return whole(&b, items);
}
