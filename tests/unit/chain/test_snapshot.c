#include "base/rng.h"
#include "chain/coins_mem.h"
#include "chain/snapshot.h"
#include "coins_feed.h"
#include "test_util.h"

#define N_COINS 400u

static const uint8_t regtest_magic[4] = {0xfa, 0xbf, 0xb5, 0xda};
static const uint8_t script[COIN_SCRIPT_LEN_MAX] = {0x51};

struct world {
    struct mem mem;
    struct coins_mem behind;
    struct coins_store store;
    struct buf file;
    struct snapshot_reader reader;
    size_t read_at, read_step; /* the source gives so many bytes at a time */
    bool read_fails;
};

static void world_init(struct world *w)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    coins_mem_init(&w->behind, &w->mem, (struct map_seed){1, 2});
    w->store = coins_mem_store(&w->behind);
    buf_init(&w->file, &w->mem, SIZE_MAX);
    w->read_at = 0;
    w->read_step = SIZE_MAX;
    w->read_fails = false;
}

static void world_clear(struct world *w)
{
    buf_clear(&w->file);
    coins_mem_clear(&w->behind);
    mem_check_empty(&w->mem);
}

static struct outpoint outpoint_nth(uint32_t i)
{
    static const uint32_t numbers[] = {0, 252, 253, 255, 256, 16511, 16512, 70000};
    struct outpoint at = {.n = numbers[i % COUNT_OF(numbers)]};
    at.txid.b[0] = (uint8_t)(i / COUNT_OF(numbers) * 3);
    return at;
}

static struct coin coin_nth(uint32_t i)
{
    return (struct coin){.value_sat = (int64_t)i * 100000,
                         .height = i,
                         .is_coinbase = i % 5 == 0,
                         .script = {script, i % 50 == 49 ? sizeof script - i : i % 70}};
}

static struct coins_feed feed_of(uint32_t n)
{
    return (struct coins_feed){.n = n, .outpoint = outpoint_nth, .coin = coin_nth};
}

static enum err_code put_file(void *ctx, struct bytes b, struct err *err)
{
    struct world *w = ctx;
    buf_put(&w->file, b);
    return w->file.err ? err_set(err, w->file.err, "no memory for the test's file") : ERR_OK;
}

static enum err_code read_file(void *ctx, uint8_t *out, size_t cap, size_t *out_len,
                               struct err *err)
{
    struct world *w = ctx;
    if (w->read_fails && w->read_at > 60)
        return err_set(err, ERR_IO, "this read was to fail");
    size_t len = w->file.len - w->read_at;
    len = len < cap ? len : cap;
    len = len < w->read_step ? len : w->read_step;
    memcpy(out, w->file.data + w->read_at, len);
    w->read_at += len;
    *out_len = len;
    return ERR_OK;
}

static enum err_code write_file(struct world *w, uint64_t n_coins)
{
    struct snapshot_head head = {.n_coins = n_coins};
    struct err err = {0};
    memcpy(head.magic, regtest_magic, 4);
    head.block.b[0] = 7;
    return snapshot_write(&w->store, &head, &w->mem, put_file, w, &err);
}

static void fill_store(struct world *w, uint32_t n)
{
    struct coins_tip tip = {0};
    struct err err = {0};
    struct coins_feed feed = feed_of(n);
    assert_int_equal(w->store.write(w->store.ctx, &tip, coins_feed_next, &feed, &err), ERR_OK);
}

/* The whole file into an empty store; what became of it. */
static enum err_code load(struct world *w, struct coins_mem *to, uint32_t height_max)
{
    struct snapshot_source source = {w, read_file};
    struct coins_tip tip = {.height = 5};
    struct err err = {0};
    coins_mem_init(to, &w->mem, (struct map_seed){3, 4});
    struct coins_store s = coins_mem_store(to);
    w->read_at = 0;
    enum err_code code =
        snapshot_reader_init(&w->reader, &w->mem, source, regtest_magic, height_max, &err);
    if (!code)
        code = snapshot_load(&w->reader, &s, &tip, &err);
    snapshot_reader_clear(&w->reader);
    assert_true(code == ERR_OK || (to->tip.is_empty && to->coins.n == 0));
    assert_int_equal(err.code, code);
    if (code)
        coins_mem_clear(to);
    return code;
}

static void assert_loads(struct world *w, uint32_t n)
{
    struct coins_mem to;
    assert_int_equal(load(w, &to, N_COINS), ERR_OK);
    assert_int_equal(to.coins.n, n);
    assert_int_equal(to.tip.height, 5);
    struct coins_store s = coins_mem_store(&to);
    struct arena a;
    arena_init(&a, &w->mem, SIZE_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct outpoint at = outpoint_nth(i);
        const struct outpoint *list = &at;
        struct coin got, want = coin_nth(i);
        bool is_found;
        struct err err = {0};
        assert_int_equal(s.get_many(s.ctx, &list, 1, &got, &is_found, &a, &err), ERR_OK);
        assert_true(is_found && got.value_sat == want.value_sat && got.height == want.height &&
                    got.is_coinbase == want.is_coinbase);
        test_assert_bytes(got.script, want.script);
    }
    arena_clear(&a);
    coins_mem_clear(&to);
}

static void test_round_trip(void **state)
{
    (void)state;
    static struct world w;
    world_init(&w);
    fill_store(&w, N_COINS);
    assert_int_equal(write_file(&w, N_COINS), ERR_OK);
    static const size_t steps[] = {SIZE_MAX, 1, 7, 4096, 65535};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        w.read_step = steps[i];
        assert_loads(&w, N_COINS);
    }
    world_clear(&w);
}

/* Head, then one transaction of 3: outputs 1, 16512, 300 in VARINT order; golden bytes. */
static const char golden[] = "7574786fff"
                             "0200"
                             "fabfb5da"
                             "0700000000000000000000000000000000000000000000000000000000000000"
                             "0300000000000000"
                             "aa00000000000000000000000000000000000000000000000000000000000000"
                             "03"
                             "01"
                             "02"
                             "09"
                             "0751" /* height 1, one coin, OP_1 */
                             "fd8040"
                             "02"
                             "09"
                             "0751" /* 16512 is 80 80 00 */
                             "fd2c01"
                             "02"
                             "09"
                             "0751"; /* 300 is 81 2c */

static bool golden_next(void *ctx, struct coins_change *out)
{
    static const uint32_t numbers[] = {300, 16512, 1};
    uint32_t *i = ctx;
    if (*i == 3)
        return false;
    *out = (struct coins_change){
        .at.n = numbers[*i], .coin = {.value_sat = COIN_SATS, .height = 1, .script = {script, 1}}};
    out->at.txid.b[0] = 0xaa;
    ++*i;
    return true;
}

static void test_golden(void **state)
{
    (void)state;
    static struct world w;
    uint8_t want[256];
    struct coins_tip tip = {0};
    struct err err = {0};
    struct coins_mem to;
    world_init(&w);
    assert_int_equal(w.store.write(w.store.ctx, &tip, golden_next, &(uint32_t){0}, &err), ERR_OK);
    assert_int_equal(write_file(&w, 3), ERR_OK);
    test_assert_bytes(buf_bytes(&w.file), test_hex(golden, want, sizeof want));
    assert_int_equal(load(&w, &to, 1), ERR_OK);
    assert_int_equal(to.coins.n, 3);
    coins_mem_clear(&to);
    world_clear(&w);
}

/* A miscount is noticed by the writer, either way. */
static void test_miscounted(void **state)
{
    (void)state;
    static struct world w;
    world_init(&w);
    fill_store(&w, 10);
    assert_int_equal(write_file(&w, 9), ERR_PROTOCOL);
    assert_int_equal(write_file(&w, 11), ERR_PROTOCOL);
    world_clear(&w);
}

static void test_prefixes(void **state)
{
    (void)state;
    static struct world w;
    struct coins_mem to;
    world_init(&w);
    fill_store(&w, 20);
    assert_int_equal(write_file(&w, 20), ERR_OK);
    size_t len = w.file.len;
    for (w.file.len = 0; w.file.len < len; w.file.len++)
        assert_int_equal(load(&w, &to, N_COINS), ERR_TRUNCATED);
    buf_u8(&w.file, 0);
    assert_int_equal(load(&w, &to, N_COINS), ERR_MALFORMED); /* a byte too many */
    w.file.len = len;
    w.read_fails = true;
    w.read_step = 40;
    assert_int_equal(load(&w, &to, N_COINS), ERR_IO);
    world_clear(&w);
}

#define HEAD                                                                                       \
    "7574786fff"                                                                                   \
    "0200"                                                                                         \
    "fabfb5da"                                                                                     \
    "0700000000000000000000000000000000000000000000000000000000000000"
#define TXID_A "aa00000000000000000000000000000000000000000000000000000000000000"
#define TXID_B "bb00000000000000000000000000000000000000000000000000000000000000"
#define ONE    "0100000000000000"
#define TWO    "0200000000000000"
#define COIN                                                                                       \
    "02"                                                                                           \
    "09"                                                                                           \
    "0751"

static const struct {
    const char *name, *hex;
    enum err_code code;
} hostile[] = {
    {"one coin",
     HEAD ONE TXID_A "01"
                     "00" COIN,
     ERR_OK},
    {"no coins", HEAD "0000000000000000", ERR_OK},
    {"two transactions",
     HEAD TWO TXID_A "01"
                     "00" COIN TXID_B "01"
                     "00" COIN,
     ERR_OK},
    {"a head cut short", "7574786fff0200", ERR_TRUNCATED},
    {"not a snapshot",
     "75747870"
     "ff"
     "0200"
     "fabfb5da" TXID_A ONE,
     ERR_MALFORMED},
    {"version 3",
     "7574786fff"
     "0300"
     "fabfb5da" TXID_A ONE,
     ERR_UNSUPPORTED},
    {"mainnet's",
     "7574786fff"
     "0200"
     "f9beb4d9" TXID_A ONE,
     ERR_PROTOCOL},
    {"a promise of 2^64 - 1 coins",
     HEAD "ffffffffffffffff" TXID_A "01"
          "00" COIN,
     ERR_TRUNCATED},
    {"more in a transaction than in all",
     HEAD ONE TXID_A "02"
                     "00" COIN "01" COIN,
     ERR_MALFORMED},
    {"none in a transaction",
     HEAD ONE TXID_A "00" TXID_B "01"
                     "00" COIN,
     ERR_MALFORMED},
    {"count spelled long",
     HEAD ONE TXID_A "fd0100"
                     "00" COIN,
     ERR_MALFORMED},
    {"transactions twice",
     HEAD TWO TXID_A "01"
                     "00" COIN TXID_A "01"
                     "01" COIN,
     ERR_MALFORMED},
    {"transactions backwards",
     HEAD TWO TXID_B "01"
                     "00" COIN TXID_A "01"
                     "00" COIN,
     ERR_MALFORMED},
    {"an output twice",
     HEAD TWO TXID_A "02"
                     "01" COIN "01" COIN,
     ERR_MALFORMED},
    {"outputs backwards",
     HEAD TWO TXID_A "02"
                     "01" COIN "00" COIN,
     ERR_MALFORMED},
    {"a script of 10,001",
     HEAD ONE TXID_A "01"
                     "00"
                     "02"
                     "09"
                     "cd17",
     ERR_LIMIT},
    {"a script of 2^63",
     HEAD ONE TXID_A "01"
                     "00"
                     "02"
                     "09"
                     "80fefefefefefefefe00",
     ERR_LIMIT},
    {"a key off the curve",
     HEAD ONE TXID_A "01"
                     "00"
                     "02"
                     "09"
                     "04"
                     "0000000000000000000000000000000000000000000000000000000000000005",
     ERR_MALFORMED},
    {"a coin from the future",
     HEAD ONE TXID_A "01"
                     "00"
                     "9f7f"
                     "09"
                     "0751",
     ERR_MALFORMED},
    {"left over",
     HEAD ONE TXID_A "01"
                     "00" COIN "00",
     ERR_MALFORMED},
};

static void test_hostile(void **state)
{
    (void)state;
    static struct world w;
    uint8_t in[512];
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        struct coins_mem to;
        world_init(&w);
        buf_put(&w.file, test_hex(hostile[i].hex, in, sizeof in));
        enum err_code code = load(&w, &to, 1000);
        if (code != hostile[i].code)
            fail_msg("%s: %s", hostile[i].name, err_code_name(code));
        coins_mem_clear(&to);
        world_clear(&w);
    }
}

static bool run_all(struct mem *mem, void *ctx)
{
    struct world *w = ctx;
    struct coins_mem to;
    struct snapshot_source source = {w, read_file};
    struct snapshot_head head = {.n_coins = 100};
    struct coins_tip tip = {0};
    struct err err = {0};
    coins_mem_init(&to, mem, (struct map_seed){3, 4});
    struct coins_store s = coins_mem_store(&to);
    memcpy(head.magic, regtest_magic, 4);
    buf_reset(&w->file);
    w->read_at = 0;
    bool is_ok = snapshot_write(&w->store, &head, mem, put_file, w, &err) == ERR_OK;
    if (is_ok) {
        is_ok =
            snapshot_reader_init(&w->reader, mem, source, regtest_magic, 1000, &err) == ERR_OK &&
            snapshot_load(&w->reader, &s, &tip, &err) == ERR_OK;
        snapshot_reader_clear(&w->reader);
    }
    coins_mem_clear(&to);
    return is_ok;
}

static void test_no_memory(void **state)
{
    (void)state;
    static struct world w;
    world_init(&w);
    fill_store(&w, 100);
    test_fail_sweep(run_all, &w);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_golden),
        cmocka_unit_test(test_miscounted), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_hostile),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
