/* test_chainstate: random lives of a chainstate on the simulated disk, raced against an obvious
 * model: blocks on random parents, some breaking a rule, said to be invalid, precious or not; disk
 * and memory failing now and then; crashes at any operation. */
#include "../../test_util.h"
#include "chain/chainstate.h"
#include "sim/chain_disk.h"
#include "sim/chain_miner.h"

#define N_BLOCKS_MAX 400u
#define N_TXS_MAX    3u
#define N_COINS_MAX  2048u
#define SUBSIDY      (50 * COIN_SATS)
#define MATURITY     2u
#define CLOCK_S      1800000000

struct model_tx {
    struct hash256 txid;
    struct miner_in in[2];
    int64_t out_sat[2];
    uint32_t n_in, n_out;
};

struct model_block {
    struct hash256 hash;
    struct buf raw;
    uint32_t parent, height, time;
    struct model_tx txs[N_TXS_MAX + 1]; /* [0] is the coinbase */
    uint32_t n_txs;
    bool is_right; /* by itself, given its ancestors */
    bool is_stored, is_manual;
    int64_t arrival, rank; /* rank: arrival, or below 0 when precious */
};

struct model_coin {
    struct outpoint at;
    int64_t sats;
    uint32_t height;
    bool is_coinbase;
};

struct life {
    struct mem mem, disk_mem, own;
    struct chain_params p;
    struct chain_disk disk;
    struct chain_store blocks;
    struct coins_store coins;
    struct chainstate *s;
    struct rng rng;
    struct model_block *b; /* [0] is genesis */
    uint32_t n;
    int64_t last_arrival, last_precious;
    struct model_coin set[N_COINS_MAX];
    uint32_t n_set;
    struct chainstate_stats total; /* of all its processes */
    uint32_t n_failures, n_crashes;
    size_t coins_cap_len;
};

/* --- the model ------------------------------------------------------------------------------- */

static int set_find(const struct life *l, const struct outpoint *at)
{
    for (uint32_t i = 0; i < l->n_set; i++)
        if (memcmp(&l->set[i].at, at, sizeof *at) == 0)
            return (int)i;
    return -1;
}

static void set_block(struct life *l, const struct model_block *b)
{
    for (uint32_t i = 0; i < b->n_txs; i++) {
        const struct model_tx *t = &b->txs[i];
        for (uint32_t k = 0; i && k < t->n_in; k++) {
            int at = set_find(l, &t->in[k].prev);
            if (at >= 0)
                l->set[at] = l->set[--l->n_set];
        }
        for (uint32_t k = 0; k < t->n_out; k++) {
            assert_true(l->n_set < N_COINS_MAX);
            l->set[l->n_set++] =
                (struct model_coin){{t->txid, k}, t->out_sat[k], b->height, i == 0};
        }
    }
}

/* The coins of the branch that ends at a block. */
static void set_build(struct life *l, uint32_t tip)
{
    uint32_t path[N_BLOCKS_MAX], n = 0;
    for (uint32_t i = tip; i; i = l->b[i].parent)
        path[n++] = i;
    l->n_set = 0;
    while (n)
        set_block(l, &l->b[path[--n]]);
}

static bool is_eligible(const struct life *l, uint32_t i)
{
    for (; i; i = l->b[i].parent)
        if (!l->b[i].is_stored || !l->b[i].is_right || l->b[i].is_manual)
            return false;
    return true;
}

static uint32_t model_best(const struct life *l)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < l->n; i++)
        if (is_eligible(l, i) &&
            (l->b[i].height > l->b[best].height ||
             (l->b[i].height == l->b[best].height && l->b[i].rank < l->b[best].rank)))
            best = i;
    return best;
}

/* --- making blocks --------------------------------------------------------------------------- */

static void take_coin(struct life *l, struct model_tx *t, uint32_t height, bool may_be_young,
                      int64_t *sum)
{
    for (int tries = 0; tries < 20 && l->n_set; tries++) {
        uint32_t i = rng_below(&l->rng, l->n_set);
        const struct model_coin *c = &l->set[i];
        bool is_young = c->is_coinbase && height - c->height < MATURITY;
        if (is_young != may_be_young)
            continue;
        t->in[t->n_in++] = (struct miner_in){c->at, UINT32_MAX};
        *sum += c->sats;
        l->set[i] = l->set[--l->n_set];
        return;
    }
}

enum defect { RIGHT, TWICE, YOUNG, TOO_MUCH, GREEDY, N_DEFECTS };

static void make_tx(struct life *l, struct model_block *b, enum defect *d, struct buf *raw)
{
    struct model_tx *t = &b->txs[b->n_txs];
    int64_t sum = 0;
    *t = (struct model_tx){0};
    take_coin(l, t, b->height, *d == YOUNG, &sum);
    if (t->n_in && *d == YOUNG)
        *d = RIGHT, b->is_right = false;
    if (!t->n_in)
        return;
    if (*d == TWICE && b->n_txs > 1) {
        t->in[0] = b->txs[1].in[0];
        *d = RIGHT;
        b->is_right = false;
    } else if (rng_below(&l->rng, 2)) {
        take_coin(l, t, b->height, false, &sum);
    }
    t->n_out = 1 + rng_below(&l->rng, 2);
    for (uint32_t i = 0; i < t->n_out; i++)
        t->out_sat[i] = sum / 3;
    if (*d == TOO_MUCH) {
        t->out_sat[0] = sum + 1;
        *d = RIGHT;
        b->is_right = false;
    }
    struct miner_tx m = {t->in, t->out_sat, t->n_in, t->n_out, 2, 0};
    chain_miner_tx(&m, raw, &t->txid);
    for (uint32_t i = 0; i < t->n_out; i++)
        l->set[l->n_set++] = (struct model_coin){{t->txid, i}, t->out_sat[i], b->height, false};
    b->n_txs++;
}

static void make_block(struct life *l, uint32_t parent)
{
    struct model_block *b = &l->b[l->n];
    struct buf raws[N_TXS_MAX];
    struct bytes txs[N_TXS_MAX];
    enum defect d = rng_below(&l->rng, 8) ? RIGHT : (enum defect)rng_below(&l->rng, N_DEFECTS);
    *b = (struct model_block){.parent = parent, .height = l->b[parent].height + 1};
    b->time = l->b[parent].time + 600;
    b->is_right = true;
    b->n_txs = 1;
    set_build(l, parent);
    for (uint32_t i = 0, n = rng_below(&l->rng, N_TXS_MAX + 1); i < N_TXS_MAX; i++) {
        buf_init(&raws[i], &l->own, 65536);
        if (i < n)
            make_tx(l, b, &d, &raws[i]);
    }
    uint32_t n_txs = 0;
    for (uint32_t i = 0; i < N_TXS_MAX; i++)
        if (raws[i].len)
            txs[n_txs++] = buf_bytes(&raws[i]);
    struct miner_block m = {.prev = l->b[parent].hash,
                            .height = b->height,
                            .time = b->time,
                            .bits = l->p.genesis_header.bits,
                            .extra_nonce = l->n,
                            .coinbase_sat = SUBSIDY,
                            .txs = txs,
                            .n_txs = n_txs};
    if (d == GREEDY) {
        m.coinbase_sat = 100 * COIN_SATS * 1000; /* more than all fees there can be */
        b->is_right = false;
    }
    b->txs[0].n_out = 1;
    b->txs[0].out_sat[0] = m.coinbase_sat;
    buf_init(&b->raw, &l->own, 1 << 20);
    chain_miner_block(&l->p, &m, &b->raw, &b->hash, &b->txs[0].txid);
    assert_int_equal(b->raw.err, ERR_OK);
    for (uint32_t i = 0; i < N_TXS_MAX; i++)
        buf_clear(&raws[i]);
    l->n++;
}

/* --- the real one ---------------------------------------------------------------------------- */

static void open_chain(struct life *l)
{
    struct err err = {0};
    struct chainstate_config c = {.params = &l->p,
                                  .mem = &l->mem,
                                  .rng_seed = rng_u64(&l->rng),
                                  .blocks = &l->blocks,
                                  .coins = &l->coins,
                                  .coins_cap_len = l->coins_cap_len,
                                  .in_flight_cap_len = 2000};
    enum err_code code = chainstate_open(&l->s, &c, &err);
    if (code)
        fail_msg("open: %s", err.what);
}

static uint32_t node_of(const struct life *l, uint32_t i)
{
    return header_chain_find(chainstate_headers(l->s), &l->b[i].hash);
}

static bool is_stored(const struct life *l, uint32_t i)
{
    uint32_t node = node_of(l, i);
    return node != HEADER_NONE && (chainstate_status(l->s, node) & BLOCK_HAS_DATA);
}

/* What this process did, before it ends. */
static void add_stats(struct life *l)
{
    struct chainstate_stats s;
    chainstate_stats(l->s, &s);
    l->total.n_connected += s.n_connected;
    l->total.n_disconnected += s.n_disconnected;
    l->total.n_invalid += s.n_invalid;
    l->total.n_inputs += s.n_inputs;
    l->total.n_refused += s.n_refused;
    l->total.n_undecided += s.n_undecided;
    l->total.n_coin_writes += s.n_coin_writes;
    l->total.n_falls += s.n_falls;
}

static void feed(struct life *l, uint32_t i);

/* What was lost comes again, as from peers; what the disk kept is what counts. */
static void crash(struct life *l)
{
    struct err err = {0};
    l->n_crashes++;
    l->disk.is_crashed = true;
    l->mem.fail_at = 0;
    add_stats(l);
    (void)!chainstate_close(l->s, &err);
    chain_disk_restart(&l->disk);
    open_chain(l);
    for (uint32_t i = 1; i < l->n; i++) {
        uint32_t node = node_of(l, i);
        uint32_t status = node == HEADER_NONE ? 0 : chainstate_status(l->s, node);
        l->b[i].is_manual = status & BLOCK_IS_MANUAL;
        l->b[i].is_stored = is_stored(l, i);
        l->b[i].rank = l->b[i].arrival; /* what was precious is so no more */
    }
}

static void refeed(struct life *l)
{
    for (uint32_t i = 1; i < l->n; i++)
        if (!l->b[i].is_stored)
            feed(l, i);
}

/* After a failure of the world: try again, or die. Whether to go on. */
static bool world_failed(struct life *l)
{
    l->n_failures++;
    l->mem.fail_at = 0;
    if (!l->disk.is_crashed)
        return true;
    crash(l);
    return false;
}

static void feed(struct life *l, uint32_t i)
{
    struct reject r;
    uint32_t node;
    bool is_new;
    for (;;) {
        enum verdict v =
            chainstate_accept(l->s, buf_bytes(&l->b[i].raw), CLOCK_S, &node, &is_new, &r);
        if (v != VERDICT_UNDECIDED)
            break;
        world_failed(l);
    }
    l->b[i].is_stored = is_stored(l, i);
    if (is_new)
        l->b[i].rank = l->b[i].arrival = ++l->last_arrival;
}

static void feed_some_way(struct life *l, uint32_t i)
{
    struct reject r;
    if (rng_below(&l->rng, 2)) {
        feed(l, i);
        return;
    }
    enum verdict v = chainstate_feed(l->s, buf_bytes(&l->b[i].raw), CLOCK_S, &r);
    if (v == VERDICT_UNDECIDED)
        world_failed(l);
    feed(l, i); /* judged by now, or again */
    if (l->b[i].is_stored && !l->b[i].arrival)
        l->b[i].rank = l->b[i].arrival = ++l->last_arrival;
}

static void advance(struct life *l)
{
    struct err err = {0};
    bool is_done = false;
    while (!is_done)
        if (chainstate_advance(l->s, rng_below(&l->rng, 4), &is_done, &err) && !world_failed(l))
            refeed(l);
}

static void compare_coins(struct life *l, uint32_t tip)
{
    struct coins_cache *cache = chainstate_coins(l->s);
    struct err err = {0};
    struct coin c;
    bool is_found;
    set_build(l, tip);
    for (uint32_t i = 1; i < l->n; i++)
        for (uint32_t t = 0; t < l->b[i].n_txs; t++)
            for (uint32_t k = 0; k < l->b[i].txs[t].n_out; k++) {
                struct outpoint at = {l->b[i].txs[t].txid, k};
                int want = set_find(l, &at);
                assert_int_equal(coins_cache_get(cache, &at, &c, &is_found, &err), ERR_OK);
                assert_int_equal(is_found, want >= 0);
                if (want < 0)
                    continue;
                assert_int_equal(c.value_sat, l->set[want].sats);
                assert_int_equal(c.height, l->set[want].height);
                assert_int_equal(c.is_coinbase, l->set[want].is_coinbase);
            }
}

static void compare(struct life *l)
{
    advance(l);
    l->mem.fail_at = l->disk.fail_at = l->disk.crash_at = 0;
    chainstate_check(l->s);
    uint32_t want = model_best(l);
    uint32_t tip = chainstate_tip(l->s);
    const struct hash256 *hash = header_hash(chainstate_headers(l->s), tip);
    if (!hash256_equal(hash, &l->b[want].hash))
        fail_msg("tip at height %u, want %u", header_height(chainstate_headers(l->s), tip),
                 l->b[want].height);
    compare_coins(l, want);
}

/* --- a life ---------------------------------------------------------------------------------- */

static uint32_t pick_parent(struct life *l)
{
    uint32_t i = rng_below(&l->rng, 3) ? model_best(l) : rng_below(&l->rng, l->n);
    return i;
}

static void say_about(struct life *l)
{
    struct err err = {0};
    uint32_t i = 1 + rng_below(&l->rng, l->n - 1), node = node_of(l, i);
    if (node == HEADER_NONE || !l->b[i].is_stored)
        return;
    switch (rng_below(&l->rng, 3)) {
    case 0:
        if (chainstate_invalidate(l->s, node, &err) == ERR_OK)
            l->b[i].is_manual = true;
        else
            l->b[i].is_manual = chainstate_status(l->s, node) & BLOCK_IS_MANUAL;
        break;
    case 1:
        if (chainstate_reconsider(l->s, node, &err))
            break;
        for (uint32_t k = 1; k < l->n; k++)
            if (node_of(l, k) != HEADER_NONE)
                l->b[k].is_manual = chainstate_status(l->s, node_of(l, k)) & BLOCK_IS_MANUAL;
        break;
    default:
        advance(l);
        node = node_of(l, i);
        if (node == HEADER_NONE || !is_eligible(l, i) ||
            l->b[i].height < l->b[model_best(l)].height)
            break;
        if (chainstate_precious(l->s, node, &err) == ERR_OK)
            l->b[i].rank = --l->last_precious;
    }
    if (err.code)
        world_failed(l);
}

static void plan_trouble(struct life *l)
{
    switch (rng_below(&l->rng, 6)) {
    case 0:
        l->disk.fail_at = l->disk.n_ops + 1 + rng_below(&l->rng, 12);
        break;
    case 1:
        l->disk.crash_at = l->disk.n_ops + 1 + rng_below(&l->rng, 30);
        break;
    case 2:
        l->mem.fail_at = 1 + rng_below(&l->rng, 60);
        break;
    default:
        break;
    }
}

static void step(struct life *l)
{
    struct err err = {0};
    plan_trouble(l);
    switch (rng_below(&l->rng, 10)) {
    case 0:
        if (chainstate_flush(l->s, &err))
            world_failed(l);
        break;
    case 1:
        if (l->n > 1)
            say_about(l);
        break;
    default:
        make_block(l, pick_parent(l));
        feed_some_way(l, l->n - 1);
    }
    refeed(l);
}

static void begin(struct life *l, uint64_t seed, size_t coins_cap_len)
{
    *l = (struct life){.coins_cap_len = coins_cap_len};
    mem_init(&l->mem, MEM_NO_BUDGET, NULL);
    mem_init(&l->disk_mem, MEM_NO_BUDGET, NULL);
    mem_init(&l->own, MEM_NO_BUDGET, NULL);
    rng_init(&l->rng, seed);
    l->p = *chain_params_find("regtest");
    l->p.coinbase_maturity = MATURITY;
    chain_disk_init(&l->disk, &l->disk_mem, seed);
    l->blocks = chain_disk_blocks(&l->disk);
    l->coins = chain_disk_coins(&l->disk);
    l->b = mem_calloc(&l->own, N_BLOCKS_MAX, sizeof *l->b);
    assert_non_null(l->b);
    l->b[0] = (struct model_block){.hash = l->p.genesis, .time = l->p.genesis_header.time};
    l->b[0].is_stored = l->b[0].is_right = true;
    l->n = 1;
    open_chain(l);
}

static void end(struct life *l)
{
    struct err err = {0};
    add_stats(l);
    assert_int_equal(chainstate_close(l->s, &err), ERR_OK);
    for (uint32_t i = 1; i < l->n; i++)
        buf_clear(&l->b[i].raw);
    mem_free(&l->own, l->b);
    chain_disk_clear(&l->disk);
    mem_check_empty(&l->mem);
    mem_check_empty(&l->disk_mem);
    mem_check_empty(&l->own);
}

static void live(struct life *l, uint64_t seed, size_t coins_cap_len, uint32_t n_steps)
{
    begin(l, seed, coins_cap_len);
    for (uint32_t i = 0; i < n_steps; i++) {
        step(l);
        if (rng_below(&l->rng, 3))
            compare(l);
    }
    compare(l);
    end(l);
}

/* Each seed is a life; together they have seen everything. */
static void random_lives(void **state)
{
    static struct life l;
    struct chainstate_stats all = {0};
    uint64_t n_crashes = 0, n_failures = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        live(&l, seed, seed % 2 ? 1 << 20 : 3000, 60);
        all.n_disconnected += l.total.n_disconnected;
        all.n_invalid += l.total.n_invalid;
        all.n_inputs += l.total.n_inputs;
        all.n_coin_writes += l.total.n_coin_writes;
        all.n_falls += l.total.n_falls;
        n_crashes += l.n_crashes;
        n_failures += l.n_failures;
    }
    print_message("%llu inputs, %llu disconnected, %llu invalid, %llu coin writes, %llu falls, "
                  "%llu failures, %llu crashes\n",
                  (unsigned long long)all.n_inputs, (unsigned long long)all.n_disconnected,
                  (unsigned long long)all.n_invalid, (unsigned long long)all.n_coin_writes,
                  (unsigned long long)all.n_falls, (unsigned long long)n_failures,
                  (unsigned long long)n_crashes);
    assert_true(all.n_inputs > 1000 && all.n_disconnected > 100 && all.n_invalid > 50);
    assert_true(all.n_coin_writes > 100 && n_crashes > 100 && n_failures > 200);
}

static uint32_t make_right_block(struct life *l, uint32_t parent)
{
    for (;;) {
        make_block(l, parent);
        if (l->b[l->n - 1].is_right)
            return l->n - 1;
        buf_clear(&l->b[--l->n].raw);
    }
}

/* A longer branch is fed behind a shorter one: when it takes over, all that may be in flight is
 * taken by its later blocks, and its first ones must be read again. */
static void a_branch_fed_whole_takes_over(void **state)
{
    static struct life l;
    struct err err = {0};
    struct reject r;
    (void)state;
    for (uint32_t n_short = 1; n_short < 8; n_short++) {
        uint32_t tip = 0;
        bool is_done = false;
        begin(&l, n_short, 1 << 20);
        for (uint32_t i = 0; i < n_short; i++)
            tip = make_right_block(&l, tip);
        tip = 0;
        for (uint32_t i = 0; i < n_short + 10; i++)
            tip = make_right_block(&l, tip);
        for (uint32_t i = 1; i < l.n; i++)
            assert_int_equal(chainstate_feed(l.s, buf_bytes(&l.b[i].raw), CLOCK_S, &r),
                             VERDICT_VALID);
        for (uint32_t i = 0; i < 100 && !is_done; i++)
            assert_int_equal(chainstate_advance(l.s, 0, &is_done, &err), ERR_OK);
        assert_true(is_done);
        assert_int_equal(chainstate_tip(l.s), node_of(&l, tip));
        end(&l);
    }
}

static void grow(struct life *l, uint32_t *tip, uint32_t n)
{
    while (n--) {
        *tip = make_right_block(l, *tip);
        feed(l, *tip);
    }
    compare(l);
}

/* Memory fails while a block is taken back, at every allocation: the chain falls to what is on disk,
 * and finds its way up again. */
static void a_fall_on_the_way_back_is_made_good(void **state)
{
    static struct life l;
    struct err err = {0};
    enum err_code code = ERR_NO_MEMORY;
    uint32_t tip = 0;
    (void)state;
    begin(&l, 1, 1 << 20);
    grow(&l, &tip, 20);
    assert_int_equal(chainstate_flush(l.s, &err), ERR_OK);
    crash(&l); /* what is below has to be fetched from here on */
    grow(&l, &tip, 5);
    for (uint64_t n = 1; code; n++) {
        l.mem.fail_at = n;
        code = chainstate_invalidate(l.s, node_of(&l, 5), &err);
        l.mem.fail_at = 0;
        l.b[5].is_manual = chainstate_status(l.s, node_of(&l, 5)) & BLOCK_IS_MANUAL;
        compare(&l);
    }
    assert_true(l.b[5].is_manual);
    end(&l);
    assert_true(l.total.n_falls > 0);
}

/* The index knows of an invalid block before the coins have left it: the process ends at each
 * operation between, and the next one opens on a branch that it must leave. */
static void a_crash_does_not_keep_an_invalid_branch(void **state)
{
    static struct life l;
    struct err err = {0};
    uint32_t n_left = 0;
    bool is_over = false;
    (void)state;
    for (uint64_t n = 1; !is_over; n++) {
        uint32_t tip = 0;
        begin(&l, n, 1 << 20);
        grow(&l, &tip, 10);
        assert_int_equal(chainstate_flush(l.s, &err), ERR_OK);
        l.disk.crash_at = l.disk.n_ops + n;
        is_over = chainstate_invalidate(l.s, node_of(&l, 5), &err) == ERR_OK &&
                  chainstate_flush(l.s, &err) == ERR_OK;
        l.b[5].is_manual = is_over;
        if (!is_over)
            crash(&l);
        n_left += (chainstate_status(l.s, chainstate_tip(l.s)) & BLOCK_ANY_FAILED) != 0;
        compare(&l);
        end(&l);
    }
    assert_true(n_left > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_lives),
                                       cmocka_unit_test(a_branch_fed_whole_takes_over),
                                       cmocka_unit_test(a_fall_on_the_way_back_is_made_good),
                                       cmocka_unit_test(a_crash_does_not_keep_an_invalid_branch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
