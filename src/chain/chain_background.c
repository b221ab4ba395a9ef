#include "chain/chain_background.h"
#include "chain/chainstate_internal.h"
#include "chain/coins_hash.h"
#include <assert.h>

#define COINS_PER_BLOCK 2048u /* ours: hashed in a step in place of a block */
#define TAKE_AHEAD      1024u /* ours: blocks made known to the second chainstate at a time */

struct chain_background {
    struct mem *mem;
    struct chainstate *main, *s;
    struct chain_store blocks; /* the main one's, as s sees it */
    struct hash256 want, got;  /* of the base's coins */
    uint32_t base;
    uint32_t n_known; /* blocks of the line that s knows: all heights below this */
    enum chain_background_state state;
    struct coins_hash *hash; /* HASHING: coins up to at */
    struct outpoint at;
    uint64_t n_hashed;
    uint32_t wrong_node;
    struct reject reject;
};

/* --- the block store, as the second chainstate sees it --------------------------------------- */

static enum err_code put_undo(void *ctx, uint32_t file, struct bytes undo,
                              const struct hash256 *prev, struct block_pos *out, struct err *err)
{
    const struct chain_store *main = ((const struct chain_background *)ctx)->main->c.blocks;
    return main->put_undo(main->ctx, file, undo, prev, out, err);
}

static enum err_code read_block(void *ctx, struct block_pos at, struct buf *out, struct err *err)
{
    const struct chain_store *main = ((const struct chain_background *)ctx)->main->c.blocks;
    return main->read_block(main->ctx, at, out, err);
}

static enum err_code read_undo(void *ctx, struct block_pos at, const struct hash256 *prev,
                               struct buf *out, struct err *err)
{
    const struct chain_store *main = ((const struct chain_background *)ctx)->main->c.blocks;
    return main->read_undo(main->ctx, at, prev, out, err);
}

static enum err_code sync(void *ctx, struct err *err)
{
    const struct chain_store *main = ((const struct chain_background *)ctx)->main->c.blocks;
    return main->sync(main->ctx, err);
}

/* What was learned of a block goes into the main chain's index. That it failed does not: the
 * snapshot did. */
static enum err_code put_record(void *ctx, const struct block_record *r, struct err *err)
{
    static const uint32_t learned = BLOCK_IS_VALID | BLOCK_IS_ASSUMED | BLOCK_HAS_UNDO;
    struct chain_background *b = ctx;
    struct hash256 hash;
    if (r->status & BLOCK_IS_FAILED)
        return ERR_OK;
    block_header_hash(&r->header, &hash);
    uint32_t node = header_chain_find(b->main->headers, &hash);
    struct block_node *n = &b->main->tree.nodes[node];
    n->status = (n->status & ~learned) | (r->status & learned);
    n->undo = r->undo;
    return chainstate_put_record(b->main, node, err);
}

static uint32_t node_at(const struct chain_background *b, uint32_t height)
{
    return header_ancestor(b->main->headers, b->base, height);
}

/* What the coins stand on, whether its data is still there or not. */
static enum err_code load(void *ctx, bool (*each)(void *each_ctx, const struct block_record *r),
                          void *each_ctx, struct err *err)
{
    struct chain_background *b = ctx;
    for (uint32_t height = 0; height < b->n_known; height++) {
        struct block_record r;
        block_tree_record(&b->main->tree, node_at(b, height), &r);
        if (!each(each_ctx, &r))
            return err_set(err, ERR_CANCELLED, "loading was stopped");
    }
    return ERR_OK;
}

/* Blocks are stored by the main chain, genesis first, and pruned by it: no doors for that. */
static struct chain_store store_of(struct chain_background *b)
{
    return (struct chain_store){.ctx = b,
                                .put_undo = put_undo,
                                .read_block = read_block,
                                .read_undo = read_undo,
                                .put_record = put_record,
                                .load = load,
                                .sync = sync};
}

/* --- opening --------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct chain_event *e)
{
    struct chain_background *b = ctx;
    if (e->kind != CHAIN_INVALID)
        return;
    b->wrong_node = e->node;
    b->reject = *e->reject;
}

/* How much of the line the coins have behind them. */
static enum err_code find_known(struct chain_background *b, const struct coins_store *coins,
                                struct err *err)
{
    struct coins_tip tip;
    if (coins->tip(coins->ctx, &tip, err))
        return err->code;
    uint32_t node = tip.is_empty ? 0 : header_chain_find(b->main->headers, &tip.block);
    if (node == HEADER_NONE || !header_is_ancestor(b->main->headers, node, b->base))
        return err_set(err, ERR_MALFORMED, "the coins are of a block that does not lead to it");
    b->n_known = header_height(b->main->headers, node) + 1;
    for (uint32_t height = 0; height < b->n_known; height++)
        if (!b->main->tree.nodes[node_at(b, height)].n_txs)
            return err_set(err, ERR_MALFORMED, "the index lacks blocks that led to the coins");
    return ERR_OK;
}

static enum err_code open_chain(struct chain_background *b, const struct chain_background_config *c,
                                struct err *err)
{
    struct chainstate *main = c->main;
    struct chainstate_config config = {.params = &main->params,
                                       .mem = c->mem,
                                       .rng_seed = c->rng_seed,
                                       .blocks = &b->blocks,
                                       .coins = c->coins,
                                       .runner = main->c.runner,
                                       .coins_cap_len = c->coins_cap_len,
                                       .assume_valid = main->c.assume_valid,
                                       .has_assume_valid = true,
                                       .in_flight_cap_len = main->c.in_flight_cap_len,
                                       .headers = main->headers,
                                       .on_event = on_event,
                                       .on_event_ctx = b};
    enum err_code code = find_known(b, c->coins, err);
    return code ? code : chainstate_open(&b->s, &config, err);
}

enum err_code chain_background_open(struct chain_background **out,
                                    const struct chain_background_config *c, struct err *err)
{
    if (c->main->tree.base == HEADER_NONE || c->main->c.is_read_only)
        return err_set(err, ERR_PROTOCOL, "there is no snapshot to validate");
    struct chain_background *b = mem_calloc(c->mem, 1, sizeof *b);
    if (!b)
        return err_set(err, ERR_NO_MEMORY, "no memory to validate a snapshot");
    b->mem = c->mem;
    b->main = c->main;
    b->base = c->main->tree.base;
    b->want = c->coins_hash;
    b->wrong_node = HEADER_NONE;
    b->blocks = store_of(b);
    enum err_code code = open_chain(b, c, err);
    if (code) {
        mem_free(b->mem, b);
        return code;
    }
    b->main->past_from = b->n_known;
    b->main->is_past_valid = false;
    *out = b;
    return ERR_OK;
}

enum err_code chain_background_close(struct chain_background *b, struct err *err)
{
    uint32_t n_done = header_height(b->main->headers, b->s->tip) + 1;
    enum err_code code = chainstate_close(b->s, err);
    if (!code)
        b->main->past_from = n_done;
    mem_free(b->mem, b->hash);
    mem_free(b->mem, b);
    return code;
}

void chain_background_advise(struct chain_background *b, void (*advise)(void *p, size_t len))
{
    chainstate_advise(b->s, advise);
}

/* --- walking --------------------------------------------------------------------------------- */

static bool is_next_here(const struct chain_background *b)
{
    return b->n_known <= header_height(b->main->headers, b->base) &&
           (b->main->tree.nodes[node_at(b, b->n_known)].status & BLOCK_HAS_DATA);
}

/* Blocks of the line that the main chain has by now. */
static enum err_code take_blocks(struct chain_background *b, struct err *err)
{
    struct block_tree *t = &b->s->tree;
    uint32_t until = header_height(b->main->headers, b->s->tip) + TAKE_AHEAD;
    enum err_code code = block_tree_grow(t);
    while (!code && b->n_known < until && is_next_here(b)) {
        struct block_record r;
        uint32_t node = node_at(b, b->n_known);
        block_tree_record(&b->main->tree, node, &r);
        code = block_tree_load(t, node, &r);
        b->n_known += !code;
    }
    return code ? err_set(err, code, "no memory for blocks") : ERR_OK;
}

static void go_wrong(struct chain_background *b)
{
    b->state = CHAIN_BACKGROUND_WRONG;
    b->main->is_past_wrong = true;
}

/* At the base: its coins are hashed from the disk. */
static enum err_code begin_hash(struct chain_background *b, struct err *err)
{
    enum err_code code = chainstate_flush(b->s, err);
    if (code)
        return code;
    b->hash = mem_alloc(b->mem, sizeof *b->hash);
    if (!b->hash)
        return err_set(err, ERR_NO_MEMORY, "no memory to hash coins");
    coins_hash_init(b->hash, COINS_HASH_SERIALIZED);
    b->state = CHAIN_BACKGROUND_HASHING;
    return ERR_OK;
}

static enum err_code walk(struct chain_background *b, size_t n_max, struct err *err)
{
    bool is_done;
    enum err_code code = take_blocks(b, err);
    if (!code)
        code = chainstate_advance(b->s, n_max, &is_done, err);
    b->main->past_from = header_height(b->main->headers, b->s->on_disk) + 1;
    if (b->wrong_node != HEADER_NONE) /* also when the world failed after that */
        return go_wrong(b), ERR_OK;
    if (code)
        return code;
    if (b->s->tip == b->base && is_done)
        return begin_hash(b, err);
    b->state =
        is_done && !is_next_here(b) ? CHAIN_BACKGROUND_NEEDS_BLOCKS : CHAIN_BACKGROUND_WALKING;
    return ERR_OK;
}

/* --- hashing --------------------------------------------------------------------------------- */

struct hashing {
    struct chain_background *b;
    uint64_t n_left;
};

static bool hash_coin(void *ctx, const struct outpoint *at, const struct coin *c)
{
    struct hashing *h = ctx;
    coins_hash_add(h->b->hash, at, c);
    h->b->at = *at;
    h->b->n_hashed++;
    return --h->n_left > 0;
}

static enum err_code end_hash(struct chain_background *b, struct err *err)
{
    struct coins_totals totals;
    if (coins_hash_final(b->hash, &totals))
        return err_set(err, ERR_NO_MEMORY, "no memory to hash coins");
    mem_free(b->mem, b->hash);
    b->hash = NULL;
    b->got = totals.serialized;
    if (!hash256_equal(&b->got, &b->want))
        return go_wrong(b), ERR_OK;
    b->state = CHAIN_BACKGROUND_VALIDATED;
    b->main->is_past_valid = true;
    return ERR_OK;
}

static enum err_code hash_some(struct chain_background *b, size_t n_max, struct err *err)
{
    const struct coins_store *coins = b->s->c.coins;
    struct hashing h = {b, n_max ? (uint64_t)n_max * COINS_PER_BLOCK : UINT64_MAX};
    struct err failed = {0};
    enum err_code code =
        coins->iterate(coins->ctx, b->n_hashed ? &b->at : NULL, hash_coin, &h, &failed);
    if (!code)
        return end_hash(b, err);
    if (code == ERR_CANCELLED)
        return ERR_OK;
    *err = failed;
    return code;
}

/* --- steps ----------------------------------------------------------------------------------- */

static bool is_at_rest(const struct chain_background *b)
{
    return b->state != CHAIN_BACKGROUND_WALKING && b->state != CHAIN_BACKGROUND_HASHING;
}

static enum err_code step(struct chain_background *b, size_t n_max, struct err *err)
{
    return b->state == CHAIN_BACKGROUND_HASHING ? hash_some(b, n_max, err) : walk(b, n_max, err);
}

enum err_code chain_background_advance(struct chain_background *b, size_t n_max, struct err *err)
{
    const struct chain_past_fault *fault = &b->main->fault;
    if (b->state == CHAIN_BACKGROUND_VALIDATED || b->state == CHAIN_BACKGROUND_WRONG)
        return ERR_OK;
    if (fault->is_known) { /* it was refused when it came, so it never gets here */
        b->wrong_node = fault->node;
        b->reject = fault->reject;
        return go_wrong(b), ERR_OK;
    }
    enum err_code code = step(b, n_max, err);
    while (!code && !n_max && !is_at_rest(b))
        code = step(b, 0, err);
    return code;
}

/* --- looking --------------------------------------------------------------------------------- */

enum chain_background_state chain_background_state(const struct chain_background *b)
{
    return b->state;
}

void chain_background_progress(const struct chain_background *b,
                               struct chain_background_progress *out)
{
    *out = (struct chain_background_progress){
        .height = header_height(b->main->headers, b->s->tip),
        .base_height = header_height(b->main->headers, b->base),
        .n_txs = b->s->stats.n_txs,
        .n_inputs = b->s->stats.n_inputs,
        .n_coins_hashed = b->n_hashed,
        .coins_hash = b->got,
        .wrong_node = b->wrong_node,
        .reject = b->wrong_node == HEADER_NONE ? NULL : &b->reject};
}

void chain_background_check(const struct chain_background *b)
{
    chainstate_check(b->s);
    assert(header_is_ancestor(b->main->headers, b->s->tip, b->base));
    assert((b->hash != NULL) == (b->state == CHAIN_BACKGROUND_HASHING));
    assert(b->state != CHAIN_BACKGROUND_VALIDATED || b->s->tip == b->base);
    assert(b->main->is_past_valid == (b->state == CHAIN_BACKGROUND_VALIDATED));
    assert(b->main->is_past_wrong == (b->state == CHAIN_BACKGROUND_WRONG));
}
