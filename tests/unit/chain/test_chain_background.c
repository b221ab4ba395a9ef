/* test_chain_background: chains that begin with a snapshot and validate its past, against a chain
 * that never had one: any order of blocks, heavier branches from below the base, snapshots that are
 * wrong, disks and memory that fail, crashes at every operation. */
#include "../../test_util.h"
#include "chain/chain_background.h"
#include "chain/coins_hash.h"
#include "io/chain_pool.h"
#include "sim/chain_disk.h"
#include "sim/chain_miner.h"

#define MATURITY     2u
#define CLOCK_S      1800000000
#define SUBSIDY      (50 * COIN_SATS)
#define N_BLOCKS_MAX 512u
#define N_PLACES_MAX (N_BLOCKS_MAX + 1)

/* --- blocks ---------------------------------------------------------------------------------- */

struct made_block {
    struct hash256 hash, coinbase, txid; /* txid: of its other transaction, if any */
    struct buf raw;
    uint32_t parent, height;
    bool has_tx;
};

struct world {
    struct mem own;
    struct chain_params p;
    struct made_block b[N_BLOCKS_MAX]; /* [0] is genesis */
    uint32_t n;
    int64_t greed_sat; /* what the next coinbase takes too much */
};

static struct world w;

static uint32_t ancestor(uint32_t i, uint32_t n)
{
    while (n--)
        i = w.b[i].parent;
    return i;
}

/* Spends the coinbase that has just matured and, now and then, what the parent made of another. */
static void make_tx(struct made_block *b, struct buf *raw)
{
    struct miner_in in[2];
    int64_t out_sat[2] = {20 * COIN_SATS, 29 * COIN_SATS};
    struct miner_tx t = {in, out_sat, 1, 2, 2, 0};
    const struct made_block *from = &w.b[ancestor(b->parent, MATURITY)];
    const struct made_block *parent = &w.b[b->parent];
    b->has_tx = from->height > 0;
    if (!b->has_tx)
        return;
    in[0] = (struct miner_in){{from->coinbase, 0}, UINT32_MAX};
    if (parent->has_tx && b->height % 3)
        in[t.n_in++] = (struct miner_in){{parent->txid, b->height % 2}, UINT32_MAX};
    chain_miner_tx(&t, raw, &b->txid);
}

static uint32_t mine(uint32_t parent)
{
    struct made_block *b = &w.b[w.n];
    struct buf raw;
    buf_init(&raw, &w.own, 65536);
    *b = (struct made_block){.parent = parent, .height = w.b[parent].height + 1};
    make_tx(b, &raw);
    struct bytes tx = buf_bytes(&raw);
    struct miner_block m = {.prev = w.b[parent].hash,
                            .height = b->height,
                            .time = w.p.genesis_header.time + 600 * b->height,
                            .bits = w.p.genesis_header.bits,
                            .extra_nonce = w.n,
                            .coinbase_sat = SUBSIDY + w.greed_sat,
                            .txs = &tx,
                            .n_txs = b->has_tx};
    buf_init(&b->raw, &w.own, 1 << 20);
    chain_miner_block(&w.p, &m, &b->raw, &b->hash, &b->coinbase);
    assert_int_equal(b->raw.err, ERR_OK);
    buf_clear(&raw);
    w.greed_sat = 0;
    return w.n++;
}

static uint32_t mine_many(uint32_t parent, uint32_t n)
{
    while (n--)
        parent = mine(parent);
    return parent;
}

static void world_begin(void)
{
    w = (struct world){.n = 1};
    mem_init(&w.own, MEM_NO_BUDGET, NULL);
    w.p = *chain_params_find("regtest");
    w.p.coinbase_maturity = MATURITY;
    w.p.subsidy_halving_blocks = 100000;
    w.b[0].hash = w.p.genesis;
}

static void world_end(void)
{
    for (uint32_t i = 1; i < w.n; i++)
        buf_clear(&w.b[i].raw);
    mem_check_empty(&w.own);
}

/* --- a node ---------------------------------------------------------------------------------- */

struct node {
    struct mem mem, disk_mem;
    struct chain_disk disk;
    struct chain_store blocks;
    struct coins_store coins, past_coins;
    struct chainstate *s;
    struct chain_background *past;
    const struct chain_runner *runner;
    /* Kept outside of the chain, as snapshot.json is. */
    bool has_snapshot;
    struct hash256 base, coins_hash;
    size_t coins_cap_len;
    uint64_t prune_target_len;
};

static enum err_code node_open(struct node *d, struct err *err)
{
    struct chainstate_config c = {.params = &w.p,
                                  .mem = &d->mem,
                                  .rng_seed = 1,
                                  .blocks = &d->blocks,
                                  .coins = &d->coins,
                                  .runner = d->runner,
                                  .coins_cap_len = d->coins_cap_len,
                                  .prune_target_len = d->prune_target_len,
                                  .in_flight_cap_len = 2000,
                                  .has_snapshot = d->has_snapshot,
                                  .snapshot_block = d->base};
    return chainstate_open(&d->s, &c, err);
}

static enum err_code node_open_past(struct node *d, struct err *err)
{
    struct chain_background_config c = {.main = d->s,
                                        .mem = &d->mem,
                                        .rng_seed = 2,
                                        .coins = &d->past_coins,
                                        .coins_cap_len = d->coins_cap_len,
                                        .coins_hash = d->coins_hash};
    return chain_background_open(&d->past, &c, err);
}

static void node_begin(struct node *d)
{
    *d = (struct node){.coins_cap_len = 1 << 20};
    mem_init(&d->mem, MEM_NO_BUDGET, NULL);
    mem_init(&d->disk_mem, MEM_NO_BUDGET, NULL);
    chain_disk_init(&d->disk, &d->disk_mem, 7);
    d->blocks = chain_disk_blocks(&d->disk);
    d->coins = chain_disk_coins(&d->disk);
    d->past_coins = chain_disk_past(&d->disk);
}

static void node_close(struct node *d)
{
    struct err err = {0};
    if (d->past)
        assert_int_equal(chain_background_close(d->past, &err), ERR_OK);
    d->past = NULL;
    assert_int_equal(chainstate_close(d->s, &err), ERR_OK);
    d->s = NULL;
}

static void node_end(struct node *d)
{
    if (d->s)
        node_close(d);
    chain_disk_clear(&d->disk);
    mem_check_empty(&d->mem);
    mem_check_empty(&d->disk_mem);
}

static uint32_t node_of(const struct node *d, uint32_t i)
{
    return header_chain_find(chainstate_headers(d->s), &w.b[i].hash);
}

static enum verdict feed(struct node *d, uint32_t i, struct reject *r)
{
    return chainstate_feed(d->s, buf_bytes(&w.b[i].raw), CLOCK_S, r);
}

static void give(struct node *d, uint32_t i)
{
    struct reject r;
    assert_int_equal(feed(d, i, &r), VERDICT_VALID);
}

/* A branch without its first n_without blocks, lowest first. */
static void give_line(struct node *d, uint32_t tip, uint32_t n_without)
{
    for (uint32_t h = n_without + 1; h <= w.b[tip].height; h++)
        give(d, ancestor(tip, w.b[tip].height - h));
}

static void advance(struct node *d)
{
    struct err err = {0};
    bool is_done = false;
    while (!is_done)
        assert_int_equal(chainstate_advance(d->s, 3, &is_done, &err), ERR_OK);
    chainstate_check(d->s);
}

static void assert_tip(const struct node *d, uint32_t i)
{
    assert_int_equal(chainstate_tip(d->s), node_of(d, i));
}

static struct hash256 hash_of(const struct node *d)
{
    struct coins_totals t;
    struct err err = {0};
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(coins_hash_store(&d->coins, COINS_HASH_SERIALIZED, &mem, &t, &err), ERR_OK);
    return t.serialized;
}

/* --- snapshots ------------------------------------------------------------------------------- */

struct copy {
    struct coins_change changes[4 * N_BLOCKS_MAX];
    uint8_t scripts[4 * N_BLOCKS_MAX][64];
    size_t n, at;
};

static struct copy copied;

static bool copy_coin(void *ctx, const struct outpoint *at, const struct coin *c)
{
    struct copy *k = ctx;
    assert_true(k->n < 4 * N_BLOCKS_MAX && c->script.len <= 64);
    memcpy(k->scripts[k->n], c->script.data, c->script.len);
    k->changes[k->n] = (struct coins_change){.at = *at, .coin = *c};
    k->changes[k->n].coin.script = bytes_of(k->scripts[k->n], c->script.len);
    k->n++;
    return true;
}

static bool next_copy(void *ctx, struct coins_change *out)
{
    struct copy *k = ctx;
    if (k->at == k->n)
        return false;
    *out = k->changes[k->at++];
    return true;
}

/* The coins at a block, from a chain that connected them all. */
static void take_coins(uint32_t base, struct hash256 *out)
{
    static struct node whole;
    struct err err = {0};
    node_begin(&whole);
    assert_int_equal(node_open(&whole, &err), ERR_OK);
    give_line(&whole, base, 0);
    advance(&whole);
    assert_tip(&whole, base);
    assert_int_equal(chainstate_flush(whole.s, &err), ERR_OK);
    *out = hash_of(&whole);
    copied.n = copied.at = 0;
    assert_int_equal(whole.coins.iterate(whole.coins.ctx, NULL, copy_coin, &copied, &err), ERR_OK);
    node_end(&whole);
}

/* Headers up to the base in the index, the coins copied in: as load-snapshot leaves it. */
static void load(struct node *d, uint32_t base)
{
    struct err err = {0};
    struct coins_tip tip = {w.b[base].hash, w.b[base].height, false};
    assert_int_equal(node_open(d, &err), ERR_OK);
    for (uint32_t h = 1; h <= w.b[base].height; h++) {
        struct block_record r = {.block = BLOCK_POS_NONE, .undo = BLOCK_POS_NONE};
        struct bytes raw = buf_bytes(&w.b[ancestor(base, w.b[base].height - h)].raw);
        struct reader in = reader_init(bytes_sub(raw, 0, BLOCK_HEADER_LEN));
        assert_int_equal(block_header_read(&in, &r.header), ERR_OK);
        assert_int_equal(d->blocks.put_record(d->blocks.ctx, &r, &err), ERR_OK);
    }
    assert_int_equal(chainstate_close(d->s, &err), ERR_OK);
    copied.at = 0;
    assert_int_equal(d->coins.write(d->coins.ctx, &tip, next_copy, &copied, &err), ERR_OK);
    d->has_snapshot = true;
    d->base = w.b[base].hash;
    assert_int_equal(node_open(d, &err), ERR_OK);
}

static void begin_with_snapshot(struct node *d, uint32_t base)
{
    struct err err = {0};
    struct hash256 hash;
    take_coins(base, &hash);
    node_begin(d);
    d->coins_hash = hash;
    load(d, base);
    assert_int_equal(chainstate_base(d->s), node_of(d, base));
    assert_int_equal(node_open_past(d, &err), ERR_OK);
}

static enum chain_background_state walk(struct node *d, size_t n_max)
{
    struct err err = {0};
    if (chain_background_advance(d->past, n_max, &err))
        fail_msg("the past: %s", err.what);
    chain_background_check(d->past);
    chainstate_check(d->s);
    return chain_background_state(d->past);
}

/* What the owner does once the past is validated. */
static void trust(struct node *d)
{
    struct err err = {0};
    assert_int_equal(chain_background_close(d->past, &err), ERR_OK);
    d->past = NULL;
    d->has_snapshot = false;
    assert_int_equal(chainstate_trust_past(d->s, &err), ERR_OK);
    assert_int_equal(chainstate_base(d->s), HEADER_NONE);
    chainstate_check(d->s);
}

/* Tip, coins and counts are those of a chain that saw the same blocks from the first on. */
static void compare_with_whole(struct node *d, uint32_t tip)
{
    static struct node whole;
    struct err err = {0};
    node_begin(&whole);
    assert_int_equal(node_open(&whole, &err), ERR_OK);
    give_line(&whole, tip, 0);
    advance(&whole);
    assert_tip(&whole, tip);
    assert_tip(d, tip);
    assert_int_equal(chainstate_n_chain_txs(d->s, chainstate_tip(d->s)),
                     chainstate_n_chain_txs(whole.s, chainstate_tip(whole.s)));
    assert_int_equal(chainstate_flush(d->s, &err), ERR_OK);
    assert_int_equal(chainstate_flush(whole.s, &err), ERR_OK);
    struct hash256 a = hash_of(d), b = hash_of(&whole);
    assert_memory_equal(&a, &b, sizeof a);
    node_end(&whole);
}

/* --- it is right ----------------------------------------------------------------------------- */

/* The tip goes on, the past is walked in between as its blocks come, from the last to the first;
 * then a branch that leaves below the base wins. */
static void a_heavier_branch_from_below_wins(void **state)
{
    static struct node d;
    struct err err = {0};
    struct chain_background_progress p;
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 30), tip = mine_many(base, 8);
    uint32_t rival = mine_many(ancestor(base, 10), 25);
    begin_with_snapshot(&d, base);
    assert_int_equal(walk(&d, 4), CHAIN_BACKGROUND_NEEDS_BLOCKS);
    give_line(&d, tip, 30);
    advance(&d);
    assert_tip(&d, tip);
    for (uint32_t i = base; i > 15; i--)
        give(&d, i);
    assert_int_equal(walk(&d, 4), CHAIN_BACKGROUND_NEEDS_BLOCKS);
    for (uint32_t i = 15; i > 0; i--) {
        assert_int_equal(walk(&d, 4), CHAIN_BACKGROUND_NEEDS_BLOCKS);
        give(&d, i);
        advance(&d);
    }
    /* The rival is known and complete; its coins cannot be had yet. */
    give_line(&d, rival, 20);
    advance(&d);
    assert_tip(&d, tip);
    assert_true(header_compare_work(chainstate_headers(d.s), node_of(&d, rival), node_of(&d, tip)) >
                0);
    assert_true(chainstate_n_chain_txs(d.s, node_of(&d, rival)) > 0);
    assert_int_equal(chainstate_status(d.s, node_of(&d, rival)) & BLOCK_ANY_FAILED, 0);
    assert_int_equal(chainstate_invalidate(d.s, node_of(&d, base), &err), ERR_PROTOCOL);
    assert_int_equal(chainstate_invalidate(d.s, node_of(&d, 3), &err), ERR_PROTOCOL);
    assert_int_equal(chainstate_precious(d.s, node_of(&d, rival), &err), ERR_OK);
    advance(&d);
    assert_tip(&d, tip);
    uint32_t n_steps = 0;
    while (walk(&d, 4) == CHAIN_BACKGROUND_WALKING)
        n_steps++;
    assert_true(n_steps >= 5);
    assert_int_equal(chain_background_state(d.past), CHAIN_BACKGROUND_HASHING);
    assert_int_equal(walk(&d, 1), CHAIN_BACKGROUND_VALIDATED);
    chain_background_progress(d.past, &p);
    assert_int_equal(p.height, 30);
    assert_int_equal(p.n_coins_hashed, copied.n);
    assert_memory_equal(&p.coins_hash, &d.coins_hash, sizeof p.coins_hash);
    advance(&d);
    assert_tip(&d, tip); /* not before the owner has noted it */
    trust(&d);
    advance(&d);
    compare_with_whole(&d, rival);
    assert_int_equal(chainstate_invalidate(d.s, node_of(&d, 12), &err), ERR_OK);
    advance(&d);
    compare_with_whole(&d, ancestor(rival, 45 - 11));
    assert_int_equal(chainstate_reconsider(d.s, node_of(&d, 12), &err), ERR_OK);
    advance(&d);
    compare_with_whole(&d, rival);
    node_close(&d);
    assert_int_equal(node_open(&d, &err), ERR_OK); /* nothing remembers the snapshot */
    compare_with_whole(&d, rival);
    node_end(&d);
    world_end();
}

/* Closed and opened after every few blocks. */
static void it_goes_on_where_it_was(void **state)
{
    static struct node d;
    struct err err = {0};
    struct chain_background_progress p;
    uint32_t height = 0;
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 20), tip = mine_many(base, 5);
    begin_with_snapshot(&d, base);
    give_line(&d, tip, 0);
    advance(&d);
    while (walk(&d, 2) != CHAIN_BACKGROUND_VALIDATED) {
        chain_background_progress(d.past, &p);
        assert_true(p.height >= height && p.height <= height + 2);
        assert_int_equal(p.base_height, 20);
        height = p.height;
        node_close(&d);
        assert_int_equal(node_open(&d, &err), ERR_OK);
        assert_int_equal(node_open_past(&d, &err), ERR_OK);
        chain_background_progress(d.past, &p);
        assert_true(p.height >= height); /* what was under way is finished first */
        height = p.height;
        if (height == 20) /* the hash is not kept */
            break;
    }
    assert_int_equal(walk(&d, 0), CHAIN_BACKGROUND_VALIDATED);
    trust(&d);
    advance(&d);
    compare_with_whole(&d, tip);
    assert_int_equal(node_open_past(&d, &err), ERR_PROTOCOL);
    node_end(&d);
    world_end();
}

/* Coins small enough that they are written out at nearly every block; threads shared by both. */
static void threads_are_shared(void **state)
{
    static struct node d;
    struct err err = {0};
    struct chain_pool *pool;
    struct reject r;
    bool is_done;
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 60), tip = mine_many(base, 60);
    assert_int_equal(chain_pool_new(&pool, 3, &err), ERR_OK);
    node_begin(&d);
    d.runner = chain_pool_runner(pool);
    take_coins(base, &d.coins_hash);
    d.coins_cap_len = 3000;
    load(&d, base);
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    for (uint32_t i = 1; i <= 60; i++) { /* jobs of both are out at the same time */
        assert_int_equal(feed(&d, ancestor(tip, 60 - i), &r), VERDICT_VALID);
        assert_int_equal(feed(&d, ancestor(base, 60 - i), &r), VERDICT_VALID);
        if (i % 3 == 0)
            assert_int_equal(chain_background_advance(d.past, 1, &err), ERR_OK);
        if (i % 5 == 0)
            assert_int_equal(chainstate_advance(d.s, 1, &is_done, &err), ERR_OK);
    }
    advance(&d);
    assert_int_equal(chain_background_advance(d.past, 0, &err), ERR_OK);
    assert_int_equal(chain_background_state(d.past), CHAIN_BACKGROUND_VALIDATED);
    trust(&d);
    compare_with_whole(&d, tip);
    node_end(&d);
    chain_pool_free(pool);
    world_end();
}

/* --- it is wrong ----------------------------------------------------------------------------- */

static void assert_wrong(struct node *d, uint32_t bad)
{
    struct chain_background_progress p;
    struct err err = {0};
    bool is_done;
    assert_int_equal(walk(d, 0), CHAIN_BACKGROUND_WRONG);
    chain_background_progress(d->past, &p);
    assert_int_equal(p.wrong_node, bad ? node_of(d, bad) : HEADER_NONE);
    assert_int_equal(p.reject != NULL, bad != 0);
    assert_int_equal(walk(d, 1), CHAIN_BACKGROUND_WRONG);
    assert_int_equal(chainstate_advance(d->s, 0, &is_done, &err), ERR_PROTOCOL);
}

static void other_coins(void **state)
{
    static struct node d;
    struct err err = {0};
    struct chain_background_progress p;
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 12);
    node_begin(&d);
    take_coins(base, &d.coins_hash);
    copied.changes[3].coin.value_sat++;
    load(&d, base);
    d.coins_hash = hash_of(&d); /* what its maker says of it */
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    give_line(&d, base, 0);
    advance(&d);
    assert_wrong(&d, 0);
    chain_background_progress(d.past, &p);
    assert_memory_not_equal(&p.coins_hash, &d.coins_hash, sizeof p.coins_hash);
    node_end(&d);
    world_end();
}

/* A block of the line takes more than it may: found when it is connected. */
static void a_block_that_breaks_a_rule(void **state)
{
    static struct node d;
    (void)state;
    struct err err = {0};
    struct chain_background_progress p;
    world_begin();
    uint32_t before = mine_many(0, 6);
    w.greed_sat = COIN_SATS * 2000;
    uint32_t bad = mine(before), base = mine_many(bad, 5);
    node_begin(&d);
    take_coins(before, &d.coins_hash); /* any coins */
    load(&d, base);
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    give_line(&d, base, 0);
    advance(&d);
    assert_wrong(&d, bad);
    chain_background_progress(d.past, &p);
    assert_string_equal(p.reject->reason, "bad-cb-amount");
    assert_int_equal(p.height, 6);
    node_end(&d);
    world_end();
}

/* One that breaks a rule by itself is refused when it comes, and never connected. */
static void a_block_that_is_refused(void **state)
{
    static struct node d;
    struct err err = {0};
    struct block_header h;
    (void)state;
    world_begin();
    uint32_t before = mine_many(0, 6);
    /* Its height is not the one in its coinbase: BIP 34. */
    w.b[before].height += 5;
    uint32_t bad = mine(before);
    w.b[before].height -= 5;
    w.b[bad].height -= 5;
    struct reader in = reader_init(buf_bytes(&w.b[bad].raw));
    assert_int_equal(block_header_read(&in, &h), ERR_OK);
    uint32_t base = mine_many(bad, 4);
    node_begin(&d);
    take_coins(before, &d.coins_hash);
    load(&d, base);
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    give_line(&d, base, 0);
    advance(&d);
    assert_wrong(&d, bad);
    node_end(&d);
    world_end();
}

static void opened_for_another_line(void **state)
{
    static struct node d;
    struct err err = {0};
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 8), other = mine_many(ancestor(base, 3), 2);
    begin_with_snapshot(&d, base);
    give_line(&d, base, 0);
    give_line(&d, other, 5);
    assert_int_equal(chain_background_close(d.past, &err), ERR_OK);
    d.past = NULL;
    struct coins_tip tip = {w.b[other].hash, w.b[other].height, false};
    copied.at = copied.n;
    assert_int_equal(d.past_coins.write(d.past_coins.ctx, &tip, next_copy, &copied, &err), ERR_OK);
    assert_int_equal(node_open_past(&d, &err), ERR_MALFORMED);
    assert_int_equal(chainstate_close(d.s, &err), ERR_OK);
    d.s = NULL;
    d.base = w.b[other].hash; /* a note that does not belong to the coins */
    assert_int_equal(node_open(&d, &err), ERR_MALFORMED);
    d.base = (struct hash256){{1}};
    assert_int_equal(node_open(&d, &err), ERR_MALFORMED);
    node_end(&d);
    world_end();
}

/* --- pruning --------------------------------------------------------------------------------- */

static uint32_t pruned_below; /* the highest that was asked for */

static enum err_code note_prune(void *ctx, uint32_t below_height, uint64_t target_len,
                                uint32_t *out_first_kept, uint32_t *out_n_removed, struct err *err)
{
    (void)ctx, (void)target_len, (void)err;
    pruned_below = below_height > pruned_below ? below_height : pruned_below;
    *out_first_kept = *out_n_removed = 0;
    return ERR_OK;
}

static void pruning_waits_for_the_past(void **state)
{
    static struct node d;
    struct err err = {0};
    struct chain_background_progress p;
    (void)state;
    world_begin();
    uint32_t base = mine_many(0, 100), tip = mine_many(base, 320);
    pruned_below = 0;
    node_begin(&d);
    d.blocks.prune = note_prune;
    d.prune_target_len = 1;
    take_coins(base, &d.coins_hash);
    load(&d, base);
    give_line(&d, tip, 0);
    advance(&d);
    assert_int_equal(chainstate_flush(d.s, &err), ERR_OK);
    assert_int_equal(pruned_below, 0); /* nobody has begun to validate */
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    assert_int_equal(walk(&d, 40), CHAIN_BACKGROUND_WALKING);
    assert_int_equal(chainstate_flush(d.s, &err), ERR_OK);
    assert_int_equal(pruned_below, 1); /* it would begin anew after a crash */
    chain_background_progress(d.past, &p);
    assert_int_equal(chain_background_close(d.past, &err), ERR_OK);
    assert_int_equal(chainstate_flush(d.s, &err), ERR_OK);
    assert_int_equal(pruned_below, p.height + 1);
    assert_true(p.height >= 40 && p.height < 100);
    assert_int_equal(node_open_past(&d, &err), ERR_OK);
    assert_int_equal(walk(&d, 0), CHAIN_BACKGROUND_VALIDATED);
    trust(&d);
    assert_int_equal(chainstate_flush(d.s, &err), ERR_OK);
    assert_int_equal(pruned_below, 420 - 288);
    compare_with_whole(&d, tip);
    node_end(&d);
    world_end();
}

/* --- the world fails ------------------------------------------------------------------------- */

/* Until it is taken. False: the disk died. */
static bool insist(struct node *d, uint32_t i)
{
    struct reject r;
    uint32_t node;
    bool is_new;
    enum verdict v;
    do
        v = chainstate_accept(d->s, buf_bytes(&w.b[i].raw), CLOCK_S, &node, &is_new, &r);
    while (v == VERDICT_UNDECIDED && !d->disk.is_crashed);
    assert_int_not_equal(v, VERDICT_INVALID);
    return v == VERDICT_VALID;
}

static bool insist_on_line(struct node *d, uint32_t tip)
{
    bool is_fine = true;
    for (uint32_t h = 1; is_fine && h <= w.b[tip].height; h++)
        is_fine = insist(d, ancestor(tip, w.b[tip].height - h));
    return is_fine;
}

/* One step of a node with a snapshot; what fails is tried again. */
static void step(struct node *d)
{
    struct err err = {0};
    bool is_done;
    if (chainstate_advance(d->s, 2, &is_done, &err) || (!d->past && node_open_past(d, &err)) ||
        chain_background_advance(d->past, 2, &err) ||
        chain_background_state(d->past) != CHAIN_BACKGROUND_VALIDATED)
        return;
    enum err_code code = chain_background_close(d->past, &err);
    d->past = NULL;
    d->has_snapshot = code != ERR_OK;
    while (!code && chainstate_trust_past(d->s, &err))
        continue;
}

/* Everything a node does with a snapshot, up to the rival on top. False: the disk died. */
static bool live(struct node *d, uint32_t tip, uint32_t rival)
{
    struct err err = {0};
    bool is_done = false;
    if (!insist_on_line(d, tip) || !insist_on_line(d, rival))
        return false;
    while (d->has_snapshot && !d->disk.is_crashed)
        step(d);
    while (!is_done && !d->disk.is_crashed)
        (void)!chainstate_advance(d->s, 0, &is_done, &err);
    return !d->disk.is_crashed;
}

static void die(struct node *d)
{
    struct err err = {0};
    d->mem.fail_at = 0;
    if (d->past)
        (void)!chain_background_close(d->past, &err);
    d->past = NULL;
    if (d->s)
        (void)!chainstate_close(d->s, &err);
    d->s = NULL;
    chain_disk_restart(&d->disk);
    if (node_open(d, &err))
        fail_msg("after the crash: %s", err.what);
}

enum trouble { CRASH, DISK_FAULT, NO_MEMORY };

/* Returns how many operations (or allocations) it took. copied holds the base's coins. */
static uint64_t sweep_one(enum trouble what, uint64_t k, uint32_t base, const struct hash256 *hash,
                          uint32_t tip, uint32_t rival, const struct hash256 *rival_hash)
{
    static struct node d;
    struct err err = {0};
    node_begin(&d);
    d.coins_hash = *hash;
    d.coins_cap_len = 3000;
    load(&d, base);
    uint64_t before = what == NO_MEMORY ? d.mem.n_allocs : d.disk.n_ops;
    if (what == CRASH)
        d.disk.crash_at = k ? before + k : 0;
    else if (what == DISK_FAULT)
        d.disk.fail_at = k ? before + k : 0;
    else
        d.mem.fail_at = k;
    bool is_alive = live(&d, tip, rival);
    uint64_t n = (what == NO_MEMORY ? d.mem.n_allocs : d.disk.n_ops) - before;
    if (!is_alive) {
        die(&d);
        assert_true(live(&d, tip, rival));
    }
    d.disk.fail_at = d.disk.crash_at = d.mem.fail_at = 0;
    chainstate_check(d.s);
    assert_tip(&d, rival);
    assert_int_equal(chainstate_flush(d.s, &err), ERR_OK);
    struct hash256 got = hash_of(&d);
    assert_memory_equal(&got, rival_hash, sizeof got);
    /* Undo data of all of them is there. */
    assert_int_equal(chainstate_invalidate(d.s, node_of(&d, 1), &err), ERR_OK);
    assert_int_equal(header_height(chainstate_headers(d.s), chainstate_tip(d.s)), 0);
    node_end(&d);
    return n;
}

static void sweep(enum trouble what, uint64_t step)
{
    world_begin();
    uint32_t base = mine_many(0, 9), tip = mine_many(base, 3), rival = mine_many(4, 10);
    struct hash256 hash, rival_hash;
    take_coins(rival, &rival_hash);
    take_coins(base, &hash);
    uint64_t n = sweep_one(what, 0, base, &hash, tip, rival, &rival_hash);
    assert_true(n > 40);
    for (uint64_t k = 1; k <= n; k += step)
        sweep_one(what, k, base, &hash, tip, rival, &rival_hash);
    print_message("%llu places\n", (unsigned long long)n);
    world_end();
}

static void crashes(void **state)
{
    (void)state;
    sweep(CRASH, 1);
}

static void disk_faults(void **state)
{
    (void)state;
    sweep(DISK_FAULT, 1);
}

static void allocation_failures(void **state)
{
    (void)state;
    sweep(NO_MEMORY, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_heavier_branch_from_below_wins),
                                       cmocka_unit_test(it_goes_on_where_it_was),
                                       cmocka_unit_test(threads_are_shared),
                                       cmocka_unit_test(other_coins),
                                       cmocka_unit_test(a_block_that_breaks_a_rule),
                                       cmocka_unit_test(a_block_that_is_refused),
                                       cmocka_unit_test(opened_for_another_line),
                                       cmocka_unit_test(pruning_waits_for_the_past),
                                       cmocka_unit_test(crashes),
                                       cmocka_unit_test(disk_faults),
                                       cmocka_unit_test(allocation_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
