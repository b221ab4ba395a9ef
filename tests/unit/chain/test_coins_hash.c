#include "base/rng.h"
#include "chain/coins_hash.h"
#include "chain/coins_mem.h"
#include "chain/tx.h"
#include "coins_feed.h"
#include "test_util.h"

#define N_COINS 700u

static const uint8_t script[COIN_SCRIPT_LEN_MAX] = {0x51};

/* Two outputs for most transactions; in order of txid bytes and numbers. */
static struct outpoint outpoint_nth(uint32_t i)
{
    struct outpoint at = {.n = i % 2 ? 300 : 2};
    at.txid.b[0] = (uint8_t)(i / 2 >> 8);
    at.txid.b[1] = (uint8_t)(i / 2);
    return at;
}

static struct coin coin_nth(uint32_t i)
{
    return (struct coin){.value_sat = (int64_t)i * 1000,
                         .height = i / 3,
                         .is_coinbase = i % 5 == 0,
                         .script = {script, i % 100 == 99 ? sizeof script : i % 300}};
}

/* In any order: 337 has no factor of N_COINS. */
static struct coins_feed feed_of(uint32_t n)
{
    return (struct coins_feed){.n = n, .outpoint = outpoint_nth, .coin = coin_nth, .step = 337};
}

/* The stream as the survey's words have it, built in one piece. */
static void serialized_obvious(uint32_t n, uint8_t out[32])
{
    size_t cap = n * (COIN_SCRIPT_LEN_MAX + 64u);
    uint8_t *buf = malloc(cap);
    assert_non_null(buf);
    struct writer w = writer_init(buf, cap);
    for (uint32_t i = 0; i < n; i++) {
        struct outpoint at = outpoint_nth(i);
        struct coin c = coin_nth(i);
        writer_put(&w, bytes_of(at.txid.b, 32));
        writer_u32le(&w, at.n);
        writer_u32le(&w, c.height * 2 + c.is_coinbase);
        writer_u64le(&w, (uint64_t)c.value_sat);
        writer_compact_size(&w, c.script.len);
        writer_put(&w, c.script);
    }
    assert_int_equal(writer_end(&w), ERR_OK);
    sha256(writer_bytes(&w), out);
    sha256(bytes_of(out, 32), out);
    free(buf);
}

static void test_of_a_store(void **state)
{
    (void)state;
    struct mem mem;
    struct coins_mem behind;
    struct coins_tip tip = {0};
    struct coins_totals got;
    struct err err = {0};
    uint8_t want[32];
    int64_t amount = 0;
    uint64_t bogosize = 0;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    coins_mem_init(&behind, &mem, (struct map_seed){1, 2});
    struct coins_store s = coins_mem_store(&behind);
    struct coins_feed feed = feed_of(N_COINS);
    assert_int_equal(s.write(s.ctx, &tip, coins_feed_next, &feed, &err), ERR_OK);
    assert_int_equal(
        coins_hash_store(&s, COINS_HASH_SERIALIZED | COINS_HASH_MUHASH, &mem, &got, &err), ERR_OK);
    serialized_obvious(N_COINS, want);
    assert_memory_equal(got.serialized.b, want, 32);
    for (uint32_t i = 0; i < N_COINS; i++) {
        struct coin c = coin_nth(i);
        amount += c.value_sat;
        bogosize += 50 + c.script.len;
    }
    assert_int_equal(got.n_coins, N_COINS);
    assert_int_equal(got.n_txs, N_COINS / 2);
    assert_true(got.amount_sat == amount && got.bogosize == bogosize);

    /* muhash of parts, in any order, with members that came and went */
    static struct coins_hash a, b;
    struct coins_totals joined;
    coins_hash_init(&a, COINS_HASH_MUHASH);
    coins_hash_init(&b, COINS_HASH_MUHASH);
    for (uint32_t i = 0; i < N_COINS + 9; i++) {
        struct outpoint at = outpoint_nth(i);
        struct coin c = coin_nth(i);
        coins_hash_add(i % 2 ? &a : &b, &at, &c);
    }
    for (uint32_t i = N_COINS; i < N_COINS + 9; i++) {
        struct outpoint at = outpoint_nth(i);
        struct coin c = coin_nth(i);
        coins_hash_remove(&a, &at, &c);
    }
    coins_hash_join(&a, &b);
    assert_int_equal(coins_hash_final(&a, &joined), ERR_OK);
    assert_memory_equal(joined.muhash.b, got.muhash.b, 32);
    assert_true(joined.n_coins == N_COINS && joined.amount_sat == amount &&
                joined.bogosize == bogosize);
    coins_mem_clear(&behind);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_of_a_store)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
