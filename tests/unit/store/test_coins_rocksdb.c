#include "base/rng.h"
#include "chain/coins_mem.h"
#include "store/coins_rocksdb.h"
#include "test_util.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* A script long enough that a few thousand coins make files instead of a batch. */
static const uint8_t long_script[1200] = {0x51};

static struct outpoint outpoint_nth(uint32_t i)
{
    static const uint32_t numbers[] = {0, 1, 252, 253, 254, 255, 256, 65535, 65536, 16777216};
    struct outpoint at = {.n = numbers[i % COUNT_OF(numbers)]};
    uint64_t mixed = (i / COUNT_OF(numbers)) * 0x9e3779b97f4a7c15; /* all over the key space */
    memcpy(at.txid.b, &mixed, sizeof mixed);
    return at;
}

static struct coin coin_nth(uint32_t i, uint32_t version, size_t script_len)
{
    return (struct coin){.value_sat = i,
                         .height = version,
                         .is_coinbase = i % 2,
                         .script = {long_script, script_len}};
}

/* Changes to first .. first + n - 1: every third erased, the others put. */
struct feed {
    uint32_t first, n, i, version;
    size_t script_len;
    bool is_all_put;
};

static bool feed_next(void *ctx, struct coins_change *out)
{
    struct feed *f = ctx;
    if (f->i == f->n)
        return false;
    uint32_t i = f->first + f->i++;
    *out = (struct coins_change){.at = outpoint_nth(i),
                                 .is_spent = !f->is_all_put && i % 3 == f->version % 3,
                                 .coin = coin_nth(i, f->version, f->script_len)};
    return true;
}

static enum err_code write_feed(const struct coins_store *s, struct feed f, uint32_t height)
{
    struct coins_tip tip = {.height = height};
    struct err err = {0};
    tip.block.b[3] = (uint8_t)height;
    return s->write(s->ctx, &tip, feed_next, &f, &err);
}

/* --- the same in two stores -------------------------------------------------------------------- */

struct seen {
    struct mem *mem;
    struct outpoint *at;
    struct coin *coins; /* scripts: only their lengths */
    size_t n, cap;
};

static bool see(void *ctx, const struct outpoint *at, const struct coin *c)
{
    struct seen *s = ctx;
    assert_true(s->n < s->cap);
    s->at[s->n] = *at;
    s->coins[s->n++] = *c;
    return true;
}

static void assert_same_iteration(const struct coins_store *a, const struct coins_store *b)
{
    enum { CAP = 60000 };
    static struct outpoint at[2][CAP];
    static struct coin coins[2][CAP];
    struct seen x = {.at = at[0], .coins = coins[0], .cap = CAP},
                y = {.at = at[1], .coins = coins[1], .cap = CAP};
    struct err err = {0};
    assert_int_equal(a->iterate(a->ctx, NULL, see, &x, &err), ERR_OK);
    assert_int_equal(b->iterate(b->ctx, NULL, see, &y, &err), ERR_OK);
    assert_int_equal(x.n, y.n);
    for (size_t i = 0; i < x.n; i++) {
        assert_memory_equal(&x.at[i], &y.at[i], sizeof x.at[i]);
        assert_true(x.coins[i].value_sat == y.coins[i].value_sat &&
                    x.coins[i].height == y.coins[i].height &&
                    x.coins[i].is_coinbase == y.coins[i].is_coinbase &&
                    x.coins[i].script.len == y.coins[i].script.len);
    }
}

static void assert_same_gets(const struct coins_store *a, const struct coins_store *b,
                             struct rng *rng, uint32_t n_keys)
{
    enum { N = 200 };
    struct outpoint at[N];
    const struct outpoint *list[N];
    struct coin x[N], y[N];
    bool x_found[N], y_found[N];
    struct mem mem;
    struct arena arena;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, SIZE_MAX);
    for (uint32_t i = 0; i < N; i++) {
        at[i] = outpoint_nth(rng_below(rng, n_keys));
        list[i] = &at[i];
    }
    assert_int_equal(a->get_many(a->ctx, list, N, x, x_found, &arena, &err), ERR_OK);
    assert_int_equal(b->get_many(b->ctx, list, N, y, y_found, &arena, &err), ERR_OK);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(x_found[i], y_found[i]);
        if (!x_found[i])
            continue;
        assert_true(x[i].value_sat == y[i].value_sat && x[i].height == y[i].height);
        test_assert_bytes(x[i].script, y[i].script);
    }
    arena_clear(&arena);
}

struct world {
    char dir[TEST_PATH_CAP];
    struct mem mem;
    struct coins_rocksdb_config config;
    struct coins_rocksdb *db;
    struct coins_store store;
};

static void world_open(struct world *w)
{
    struct err err = {0};
    assert_int_equal(coins_rocksdb_open(&w->db, &w->mem, &w->config, &err), ERR_OK);
    w->store = coins_rocksdb_store(w->db);
}

static void world_init(struct world *w)
{
    test_temp_dir(w->dir);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    w->config = (struct coins_rocksdb_config){.path = w->dir, .memory_len = 1};
    world_open(w);
}

static void world_clear(struct world *w)
{
    coins_rocksdb_close(w->db);
    mem_check_empty(&w->mem);
    test_remove_dir(w->dir);
}

static void test_like_memory(void **state)
{
    (void)state;
    enum { N_KEYS = 30000 };
    struct world w;
    struct coins_mem model;
    struct rng rng;
    struct coins_tip tip;
    struct err err = {0};
    world_init(&w);
    rng_init(&rng, 9);
    coins_mem_init(&model, &w.mem, (struct map_seed){1, 2});
    struct coins_store there = coins_mem_store(&model);
    assert_int_equal(w.store.tip(w.store.ctx, &tip, &err), ERR_OK);
    assert_true(tip.is_empty);
    for (uint32_t round = 1; round <= 12; round++) {
        /* small ones are a batch, large ones make files, in any order of keys */
        struct feed f = {.first = rng_below(&rng, N_KEYS / 2),
                         .n = round % 3 ? rng_below(&rng, 2000) : N_KEYS / 2,
                         .version = round,
                         .script_len = rng_below(&rng, round % 3 ? 60 : sizeof long_script)};
        assert_int_equal(write_feed(&w.store, f, round), ERR_OK);
        assert_int_equal(write_feed(&there, f, round), ERR_OK);
        assert_same_gets(&w.store, &there, &rng, N_KEYS);
        if (round % 4 == 0) {
            struct coins_store_stats stats;
            w.store.stats(w.store.ctx, &stats);
            assert_true(stats.written_len > stats.put_len / 2 && stats.n_gets > stats.n_found);
            coins_rocksdb_close(w.db);
            world_open(&w);
        }
        assert_int_equal(w.store.tip(w.store.ctx, &tip, &err), ERR_OK);
        assert_true(!tip.is_empty && tip.height == round && tip.block.b[3] == round);
    }
    assert_same_iteration(&w.store, &there);
    coins_rocksdb_compact(w.db);
    assert_same_iteration(&w.store, &there);
    coins_mem_clear(&model);
    world_clear(&w);
}

static bool see_two(void *ctx, const struct outpoint *at, const struct coin *c)
{
    (void)at;
    (void)c;
    return ++*(uint32_t *)ctx < 2;
}

static void test_stops(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint32_t n = 0;
    world_init(&w);
    assert_int_equal(write_feed(&w.store, (struct feed){.n = 50, .is_all_put = true}, 1), ERR_OK);
    assert_int_equal(w.store.iterate(w.store.ctx, NULL, see_two, &n, &err), ERR_CANCELLED);
    assert_int_equal(n, 2);
    world_clear(&w);
}

/* --- kill -9 ----------------------------------------------------------------------------------- */

#define KILL_KEYS 6000u

/* Coins of tip h: all of KILL_KEYS, with height h. */
static struct feed kill_feed(uint32_t h)
{
    return (struct feed){.n = KILL_KEYS,
                         .version = h,
                         .script_len = h % 2 ? 1000 : 30, /* files, batch */
                         .is_all_put = true};
}

/* The writer is this program once more: RocksDB's threads do not survive a fork. */
#define WRITER_WORD "--write-until-killed"
#define READY_FD    3

static int write_until_killed(const char *dir)
{
    const struct coins_rocksdb_config config = {.path = dir, .memory_len = 1};
    struct mem mem;
    struct coins_rocksdb *db;
    struct coins_tip tip;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (coins_rocksdb_open(&db, &mem, &config, &err))
        return 1;
    struct coins_store s = coins_rocksdb_store(db);
    if (s.tip(s.ctx, &tip, &err) || write(READY_FD, "", 1) != 1)
        return 1;
    for (uint32_t h = tip.is_empty ? 1 : tip.height + 1;; h++)
        if (write_feed(&s, kill_feed(h), h))
            return 1;
}

struct one_tip {
    uint32_t height, n;
};

static bool is_of_tip(void *ctx, const struct outpoint *at, const struct coin *c)
{
    struct one_tip *t = ctx;
    (void)at;
    t->n++;
    return c->height == t->height;
}

static void test_kill(void **state)
{
    (void)state;
    struct world w;
    struct rng rng;
    struct err err = {0};
    struct coins_tip tip;
    uint32_t height = 0;
    char self[TEST_PATH_CAP] = {0}; /* by name: behind the link stands valgrind, where it runs us */
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    world_init(&w);
    coins_rocksdb_close(w.db);
    rng_init(&rng, (uint64_t)time(NULL));
    for (uint32_t round = 0; round < 8; round++) {
        int ready[2];
        char byte;
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            if (dup2(ready[1], READY_FD) == READY_FD)
                execl(self, "writer", WRITER_WORD, w.dir, (char *)NULL);
            _exit(1);
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        struct timespec some = {.tv_nsec = 1000000L * rng_below(&rng, 300)};
        nanosleep(&some, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ready[0]);
        world_open(&w);
        assert_int_equal(w.store.tip(w.store.ctx, &tip, &err), ERR_OK);
        assert_true(tip.is_empty || tip.height >= height);
        height = tip.is_empty ? 0 : tip.height;
        struct one_tip t = {.height = height};
        assert_int_equal(w.store.iterate(w.store.ctx, NULL, is_of_tip, &t, &err), ERR_OK);
        assert_int_equal(t.n, height ? KILL_KEYS : 0);
        coins_rocksdb_close(w.db);
    }
    world_open(&w);
    world_clear(&w);
}

/* --- damage ------------------------------------------------------------------------------------ */

/* Flips a byte in the middle of each file whose name ends so; returns how many. */
static uint32_t damage_files(const char *dir, const char *suffix)
{
    char path[TEST_PATH_CAP];
    uint32_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name), suffix_len = strlen(suffix);
        if (len < suffix_len || strcmp(e->d_name + len - suffix_len, suffix) != 0)
            continue;
        test_join(path, dir, e->d_name);
        int fd = open(path, O_RDWR);
        struct stat st;
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, st.st_size / 3), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 3), 1);
        close(fd);
        n++;
    }
    closedir(d);
    return n;
}

static void test_damage(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    struct one_tip t = {.height = 1};
    world_init(&w);
    assert_int_equal(write_feed(&w.store, kill_feed(1), 1), ERR_OK);
    coins_rocksdb_close(w.db);
    assert_true(damage_files(w.dir, ".sst") > 0);
    world_open(&w);
    assert_int_equal(w.store.iterate(w.store.ctx, NULL, is_of_tip, &t, &err), ERR_MALFORMED);
    assert_true(strlen(coins_rocksdb_error(w.db)) > 0);
    assert_true(t.n < KILL_KEYS);
    world_clear(&w);
}

static void test_opening(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    char path[TEST_PATH_CAP];
    struct coins_rocksdb *second;
    world_init(&w);
    /* held by another */
    assert_int_equal(coins_rocksdb_open(&second, &w.mem, &w.config, &err), ERR_IO);
    assert_null(second);
    /* a file in the way */
    test_join(path, w.dir, "file");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct coins_rocksdb_config config = {.path = path};
    assert_int_equal(coins_rocksdb_open(&second, &w.mem, &config, &err), ERR_IO);
    /* what a killed process left behind goes */
    test_join(path, w.dir, "0.ingest");
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    coins_rocksdb_close(w.db);
    world_open(&w);
    assert_int_equal(access(path, F_OK), -1);
    world_clear(&w);
}

static bool run_writes(struct mem *mem, void *ctx)
{
    const struct world *w = ctx;
    struct coins_rocksdb_config config = w->config;
    struct coins_rocksdb *db;
    struct err err = {0};
    if (coins_rocksdb_open(&db, mem, &config, &err))
        return false;
    struct coins_store s = coins_rocksdb_store(db);
    bool is_ok =
        write_feed(&s, kill_feed(2), 2) == ERR_OK && write_feed(&s, kill_feed(3), 3) == ERR_OK;
    coins_rocksdb_close(db);
    return is_ok;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    coins_rocksdb_close(w.db);
    test_fail_sweep(run_writes, &w);
    world_open(&w);
    world_clear(&w);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], WRITER_WORD) == 0)
        return write_until_killed(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_memory), cmocka_unit_test(test_stops),
        cmocka_unit_test(test_kill),        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_opening),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
