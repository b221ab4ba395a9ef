/* test_chain_crash: the small chain is imported onto a simulated disk that dies at its k-th operation:
 * after each death the import goes on from what is left and comes to the same tip and coins.
 *
 * SHOAL_SWEEP_STEP=1 in the environment tries every k (some minutes); without it every 53rd. */
#include "../test_util.h"
#include "chain/chainstate.h"
#include "sim/chain_disk.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define CHAIN_LEN_MAX (8u << 20)
#define SWEEP_STEP    53u /* prime: all kinds of operations come up */
#define CLOCK_S       INT64_C(4000000000)

static struct {
    struct mem mem;
    struct buf chain;
    uint32_t height;
    struct hash256 tip;
    uint64_t n_coins;
} small;

static struct hash256 hash_reversed(const char *hex)
{
    struct hash256 h;
    uint8_t raw[32];
    assert_int_equal(hex_decode(bytes_of_str(hex), raw, sizeof raw), ERR_OK);
    for (size_t i = 0; i < sizeof raw; i++)
        h.b[i] = raw[31 - i];
    return h;
}

static void read_expected(const char *path)
{
    json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(j);
    small.height = (uint32_t)json_integer_value(json_object_get(j, "height"));
    small.n_coins = (uint64_t)json_integer_value(json_object_get(j, "utxo_count"));
    small.tip = hash_reversed(json_string_value(json_object_get(j, "tip")));
    json_decref(j);
}

static void read_chain(const char *path)
{
    char command[TEST_PATH_CAP + 32];
    snprintf(command, sizeof command, "xz -dc '%s'", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    buf_init(&small.chain, &small.mem, CHAIN_LEN_MAX);
    for (;;) {
        struct span room = buf_reserve(&small.chain, 65536);
        assert_non_null(room.data);
        size_t n = fread(room.data, 1, 65536, f);
        buf_commit(&small.chain, n);
        if (!n)
            break;
    }
    assert_int_equal(pclose(f), 0);
}

/* --- one import ------------------------------------------------------------------------------ */

/* The next record of the file: magic, length, block. */
static bool next_block(struct reader *r, struct bytes *out)
{
    if (reader_left(r) < 8)
        return false;
    reader_skip(r, 4);
    *out = reader_take(r, reader_u32le(r));
    return reader_ok(r);
}

static enum err_code feed_all(struct chainstate *s, struct err *err)
{
    struct reader r = reader_init(buf_bytes(&small.chain));
    struct bytes raw;
    struct reject reject;
    bool is_done = false;
    while (next_block(&r, &raw))
        if (chainstate_feed(s, raw, CLOCK_S, &reject) == VERDICT_UNDECIDED)
            return err_set(err, ERR_IO, "the disk died");
    while (!is_done)
        if (chainstate_advance(s, 0, &is_done, err))
            return err->code;
    return ERR_OK;
}

/* ERR_OK: all is connected and on the disk. */
static enum err_code import(struct chain_disk *d, struct mem *mem)
{
    struct err err = {0};
    struct chainstate *s;
    struct chain_store blocks = chain_disk_blocks(d);
    struct coins_store coins = chain_disk_coins(d);
    struct chainstate_config c = {.params = chain_params_find("regtest"),
                                  .mem = mem,
                                  .rng_seed = 1,
                                  .blocks = &blocks,
                                  .coins = &coins,
                                  .coins_cap_len = 200000, /* coins are written often */
                                  .in_flight_cap_len = 100000};
    if (chainstate_open(&s, &c, &err))
        return err.code;
    enum err_code code = feed_all(s, &err);
    if (!code) {
        struct hash256 tip = *header_hash(chainstate_headers(s), chainstate_tip(s));
        assert_memory_equal(&tip, &small.tip, sizeof tip);
        chainstate_check(s);
    }
    enum err_code close = chainstate_close(s, &err);
    return code ? code : close;
}

static bool count_coin(void *ctx, const struct outpoint *at, const struct coin *c)
{
    uint64_t *n = ctx;
    (void)at, (void)c;
    return ++*n != 0;
}

static void compare_coins(struct chain_disk *d)
{
    struct coins_store coins = chain_disk_coins(d);
    struct coins_tip tip;
    struct err err = {0};
    uint64_t n = 0;
    assert_int_equal(coins.tip(coins.ctx, &tip, &err), ERR_OK);
    assert_memory_equal(&tip.block, &small.tip, sizeof tip.block);
    assert_int_equal(tip.height, small.height);
    assert_int_equal(coins.iterate(coins.ctx, NULL, count_coin, &n, &err), ERR_OK);
    assert_int_equal(n, small.n_coins);
}

/* Dies at operation k, then lives. Returns how many operations the first life had. */
static uint64_t die_at(uint64_t k)
{
    struct mem mem, disk_mem;
    struct chain_disk d;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    mem_init(&disk_mem, MEM_NO_BUDGET, NULL);
    chain_disk_init(&d, &disk_mem, k);
    d.crash_at = k;
    enum err_code code = import(&d, &mem);
    uint64_t n_ops = d.n_ops;
    if (d.is_crashed) {
        assert_int_not_equal(code, ERR_OK);
        chain_disk_restart(&d);
        code = import(&d, &mem);
    }
    assert_int_equal(code, ERR_OK);
    compare_coins(&d);
    chain_disk_clear(&d);
    mem_check_empty(&mem);
    mem_check_empty(&disk_mem);
    return n_ops;
}

static void operations(void **state)
{
    char path[TEST_PATH_CAP];
    const char *root = getenv("SHOAL_SOURCE_ROOT");
    (void)state;
    assert_non_null(root);
    mem_init(&small.mem, MEM_NO_BUDGET, NULL);
    snprintf(path, sizeof path, "%s/tests/vectors/chains/regtest-small-1.dat.json", root);
    read_expected(path);
    snprintf(path, sizeof path, "%s/tests/vectors/chains/regtest-small-1.dat.xz", root);
    read_chain(path);
    uint64_t n_ops = die_at(0);
    print_message("%llu operations\n", (unsigned long long)n_ops);
    assert_true(n_ops > 300);
    const char *text = getenv("SHOAL_SWEEP_STEP");
    uint64_t step = text ? strtoull(text, NULL, 10) : SWEEP_STEP;
    assert_true(step > 0);
    for (uint64_t k = 1; k <= n_ops; k += step)
        die_at(k);
    buf_clear(&small.chain);
    mem_check_empty(&small.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
