#include "base/rng.h"
#include "chain/chainstate_internal.h"
#include <assert.h>

/* --- blocks in flight ------------------------------------------------------------------------ */

struct chain_block *chainstate_take_spare(struct chainstate *s, uint32_t node)
{
    struct chain_block *b = NULL;
    struct list_node *n = list_pop_front(&s->spare);
    if (n)
        b = CONTAINER_OF(n, struct chain_block, in_list);
    else if (chain_block_new(&b, s->mem))
        return NULL;
    chain_block_reset(b);
    b->p = &s->params;
    b->blocks = s->c.blocks;
    b->store = s->c.coins;
    b->node = node;
    b->height = header_height(s->headers, node);
    b->hash = *header_hash(s->headers, node);
    b->mtp_prev = node ? header_median_time(s->headers, header_parent(s->headers, node)) : 0;
    return b;
}

void chainstate_release(struct chainstate *s, struct list *from, struct chain_block *b)
{
    assert(b->n_out == 0);
    list_remove(from, &b->in_list);
    if (from != &s->spare) {
        s->in_flight_len -= b->counted_len;
        s->n_in_flight--;
    }
    if (s->spare.n < CHAIN_IN_FLIGHT_N_MIN)
        list_push_front(&s->spare, &b->in_list);
    else
        chain_block_free(b, s->mem);
}

bool chainstate_is_full(const struct chainstate *s)
{
    return s->n_in_flight >= CHAIN_IN_FLIGHT_N_MAX ||
           (s->n_in_flight >= CHAIN_IN_FLIGHT_N_MIN && s->in_flight_len >= s->c.in_flight_cap_len);
}

void chainstate_submit(struct chainstate *s, struct chain_block *b, struct chain_job *j)
{
    b->n_out++;
    b->n_owner_out = &s->n_jobs_out;
    s->n_jobs_out++;
    s->runner.submit(s->runner.ctx, j);
}

bool chainstate_collect(struct chainstate *s, bool wait)
{
    if (!s->n_jobs_out)
        return false;
    struct chain_job *j = s->runner.collect(s->runner.ctx, wait);
    bool any = j != NULL;
    while (j) {
        struct chain_job *next = j->next;
        struct chain_block *b = j->owner;
        assert(b->n_out > 0);
        b->n_out--;
        --*b->n_owner_out; /* of another chainstate, when they share a runner */
        j = next;
    }
    return any;
}

void chainstate_wait_for(struct chainstate *s, const struct chain_block *b)
{
    while (b->n_out)
        chainstate_collect(s, true);
}

/* Without threads: a job runs when it is submitted. */
static void inline_submit(void *ctx, struct chain_job *j)
{
    struct chainstate *s = ctx;
    j->run(j, &s->inline_mem);
    j->next = s->inline_done;
    s->inline_done = j;
}

static struct chain_job *inline_collect(void *ctx, bool wait)
{
    struct chainstate *s = ctx;
    struct chain_job *done = s->inline_done;
    (void)wait;
    s->inline_done = NULL;
    return done;
}

/* --- telling and noting ---------------------------------------------------------------------- */

void chainstate_tell(struct chainstate *s, enum chain_event_kind kind, uint32_t node,
                     const struct hash256 *hash, const struct reject *r)
{
    struct chain_event e = {.kind = kind, .node = node, .hash = *hash, .reject = r};
    if (!s->c.on_event)
        return;
    e.height = node == HEADER_NONE ? 0 : header_height(s->headers, node);
    s->c.on_event(s->c.on_event_ctx, &e);
}

enum err_code chainstate_put_record(struct chainstate *s, uint32_t node, struct err *err)
{
    struct block_record r;
    block_tree_record(&s->tree, node, &r);
    return s->c.is_read_only ? ERR_OK : s->c.blocks->put_record(s->c.blocks->ctx, &r, err);
}

/* --- opening --------------------------------------------------------------------------------- */

struct loading {
    struct chainstate *s;
    enum err_code code;
};

static bool load_record(void *ctx, const struct block_record *r)
{
    struct loading *l = ctx;
    struct chainstate *s = l->s;
    struct reject reject;
    struct hash256 hash;
    uint32_t node;
    block_header_hash(&r->header, &hash);
    /* The clock's rule was obeyed when it came. */
    enum verdict v = header_chain_add(s->headers, &r->header, &hash, INT64_MAX / 2, &node, &reject);
    if (v)
        l->code = v == VERDICT_UNDECIDED ? reject.err.code : ERR_MALFORMED;
    else if (block_tree_grow(&s->tree) || block_tree_load(&s->tree, node, r))
        l->code = ERR_NO_MEMORY;
    return !l->code;
}

static enum err_code load_index(struct chainstate *s, struct err *err)
{
    struct loading l = {.s = s};
    if (s->c.blocks->load(s->c.blocks->ctx, load_record, &l, err))
        return err->code;
    if (l.code == ERR_NO_MEMORY)
        return err_set(err, l.code, "no memory for the index of blocks");
    return l.code ? err_set(err, l.code, "the index of blocks holds a header that is not right")
                  : ERR_OK;
}

/* Genesis is on disk like other blocks; its coins do not exist. */
static enum err_code store_genesis(struct chainstate *s, struct err *err)
{
    struct block_node *n = &s->tree.nodes[0];
    if (n->n_txs)
        return ERR_OK;
    if (s->c.is_read_only)
        return err_set(err, ERR_NOT_FOUND, "there is no chain here yet");
    if (s->c.blocks->put_block(s->c.blocks->ctx, s->params.genesis_raw, 0, &n->block, err))
        return err->code;
    n->status |= BLOCK_HAS_DATA | BLOCK_IS_VALID;
    if (block_tree_set_seen(&s->tree, 0, 1, 0))
        return err_set(err, ERR_NO_MEMORY, "no memory for the first block");
    return chainstate_put_record(s, 0, err);
}

static enum err_code find_base(struct chainstate *s, struct err *err)
{
    if (!s->c.has_snapshot)
        return ERR_OK;
    uint32_t node = header_chain_find(s->headers, &s->c.snapshot_block);
    if (node == HEADER_NONE || node == 0)
        return err_set(err, ERR_MALFORMED, "the index lacks the block of the snapshot");
    uint64_t n_chain_txs = s->c.snapshot_n_chain_txs;
    if (block_tree_set_base(&s->tree, node,
                            n_chain_txs ? n_chain_txs : header_height(s->headers, node) + 1u))
        return err_set(err, ERR_NO_MEMORY, "no memory for the blocks of a snapshot");
    return ERR_OK;
}

static enum err_code find_tip(struct chainstate *s, struct err *err)
{
    struct coins_tip tip;
    if (s->c.coins->tip(s->c.coins->ctx, &tip, err))
        return err->code;
    s->tip = tip.is_empty ? 0 : header_chain_find(s->headers, &tip.block);
    s->on_disk = s->tip;
    s->store_is_empty = tip.is_empty;
    if (s->tip == HEADER_NONE)
        return err_set(err, ERR_MALFORMED, "the coins belong to a block that the index lacks");
    if (s->tree.base != HEADER_NONE && !header_is_ancestor(s->headers, s->tree.base, s->tip))
        return err_set(err, ERR_MALFORMED, "the coins do not come from the snapshot");
    return ERR_OK;
}

static void init_runner(struct chainstate *s)
{
    mem_init(&s->inline_mem, MEM_NO_BUDGET, NULL);
    if (s->c.runner)
        s->runner = *s->c.runner;
    else
        s->runner =
            (struct chain_runner){.ctx = s, .submit = inline_submit, .collect = inline_collect};
}

static void init_config(struct chainstate *s, const struct chainstate_config *c)
{
    s->c = *c;
    s->params = *c->params;
    s->mem = c->mem;
    if (!s->c.coins_cap_len)
        s->c.coins_cap_len = CHAIN_COINS_LEN;
    if (!s->c.in_flight_cap_len)
        s->c.in_flight_cap_len = CHAIN_IN_FLIGHT_LEN;
    if (!c->has_assume_valid)
        s->c.assume_valid = s->params.assume_valid;
    s->headers = c->headers;
    s->connect_until = UINT64_MAX;
    list_init(&s->fed);
    list_init(&s->hot);
    list_init(&s->applied);
    list_init(&s->window);
    list_init(&s->spare);
}

static enum err_code open_parts(struct chainstate *s, struct err *err)
{
    struct rng rng;
    rng_init(&rng, s->c.rng_seed);
    struct map_seed header_seed = rng_map_seed(&rng);
    if ((!s->headers &&
         header_chain_new(&s->headers, s->mem, header_seed, &s->params, HEADER_NONE - 1)) ||
        coins_cache_new(&s->coins, s->mem, rng_map_seed(&rng), s->c.coins, s->c.coins_cap_len))
        return err_set(err, ERR_NO_MEMORY, "no memory for headers and coins");
    block_tree_init(&s->tree, s->mem, s->headers);
    if (block_tree_grow(&s->tree))
        return err_set(err, ERR_NO_MEMORY, "no memory for blocks");
    enum err_code code = load_index(s, err);
    if (!code)
        code = store_genesis(s, err);
    if (!code)
        code = find_base(s, err);
    return code ? code : find_tip(s, err);
}

static void free_list(struct chainstate *s, struct list *l)
{
    struct list_node *n;
    while ((n = list_pop_front(l)))
        chain_block_free(CONTAINER_OF(n, struct chain_block, in_list), s->mem);
}

static void chainstate_free(struct chainstate *s)
{
    while (s->n_jobs_out)
        chainstate_collect(s, true);
    free_list(s, &s->fed);
    free_list(s, &s->hot);
    free_list(s, &s->applied);
    free_list(s, &s->window);
    free_list(s, &s->spare);
    block_tree_clear(&s->tree);
    if (s->coins)
        coins_cache_free(s->coins);
    if (s->headers && !s->c.headers)
        header_chain_free(s->headers);
    mem_check_empty(&s->inline_mem);
    mem_free(s->mem, s);
}

enum err_code chainstate_open(struct chainstate **out, const struct chainstate_config *c,
                              struct err *err)
{
    struct chainstate *s = mem_calloc(c->mem, 1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for the chain");
    init_config(s, c);
    init_runner(s);
    enum err_code code = open_parts(s, err);
    if (code)
        chainstate_free(s);
    else
        *out = s;
    return code;
}

void chainstate_advise(struct chainstate *s, void (*advise)(void *p, size_t len))
{
    coins_cache_advise(s->coins, advise);
}

/* --- writing --------------------------------------------------------------------------------- */

/* Blocks below this height may go. */
static uint32_t prune_height(const struct chainstate *s)
{
    uint32_t height = header_height(s->headers, s->on_disk);
    height = height > CHAIN_KEEP_BLOCKS ? height - CHAIN_KEEP_BLOCKS : 0;
    return s->tree.base != HEADER_NONE && height > s->past_from ? s->past_from : height;
}

static enum err_code prune(struct chainstate *s, struct err *err)
{
    uint32_t height = prune_height(s), first_kept, n_removed;
    if (!s->c.prune_target_len || !height)
        return ERR_OK;
    enum err_code code = s->c.blocks->prune(s->c.blocks->ctx, height, s->c.prune_target_len,
                                            &first_kept, &n_removed, err);
    for (uint32_t i = 0; !code && n_removed && i < s->tree.n; i++) {
        struct block_node *n = &s->tree.nodes[i];
        if (!(n->status & BLOCK_HAS_DATA) || n->block.file >= first_kept)
            continue;
        n->status &= ~(BLOCK_HAS_DATA | BLOCK_HAS_UNDO);
        code = chainstate_put_record(s, i, err);
    }
    return !code && n_removed ? s->c.blocks->sync(s->c.blocks->ctx, err) : code;
}

enum err_code chainstate_write_coins(struct chainstate *s, struct err *err)
{
    struct coins_tip tip = {*header_hash(s->headers, s->tip), header_height(s->headers, s->tip),
                            false};
    assert(s->applied.n == 0);
    if (s->c.is_read_only)
        return ERR_OK;
    /* What the coins' tip needs to be found again is there before the coins are. */
    enum err_code code = s->c.blocks->sync(s->c.blocks->ctx, err);
    if (!code)
        code = coins_cache_write(s->coins, &tip, true, err);
    if (code)
        return code;
    s->on_disk = s->tip;
    s->store_is_empty = false;
    s->stats.n_coin_writes++;
    return prune(s, err);
}

enum err_code chainstate_flush(struct chainstate *s, struct err *err)
{
    struct err failed = {0};
    enum err_code code = chainstate_settle(s, &failed);
    if (!code)
        code = chainstate_write_coins(s, &failed);
    if (code)
        *err = failed;
    return code;
}

enum err_code chainstate_close(struct chainstate *s, struct err *err)
{
    enum err_code code = chainstate_flush(s, err);
    chainstate_free(s);
    return code;
}

/* --- looking --------------------------------------------------------------------------------- */

uint32_t chainstate_tip(const struct chainstate *s)
{
    return s->tip;
}

uint32_t chainstate_base(const struct chainstate *s)
{
    return s->tree.base;
}

const struct header_chain *chainstate_headers(const struct chainstate *s)
{
    return s->headers;
}

uint32_t chainstate_status(const struct chainstate *s, uint32_t node)
{
    return s->tree.nodes[node].status;
}

uint32_t chainstate_n_txs(const struct chainstate *s, uint32_t node)
{
    return s->tree.nodes[node].n_txs;
}

uint64_t chainstate_n_chain_txs(const struct chainstate *s, uint32_t node)
{
    return s->tree.nodes[node].n_chain_txs;
}

struct coins_cache *chainstate_coins(struct chainstate *s)
{
    assert(s->applied.n == 0);
    return s->coins;
}

void chainstate_coins_stats(const struct chainstate *s, struct coins_cache_stats *out)
{
    coins_cache_stats(s->coins, out);
}

enum err_code chainstate_read_block(struct chainstate *s, uint32_t node, struct buf *out,
                                    struct err *err)
{
    const struct block_node *n = &s->tree.nodes[node];
    if (!(n->status & BLOCK_HAS_DATA))
        return err_set(err, ERR_NOT_FOUND, "the block's data is not kept here");
    return s->c.blocks->read_block(s->c.blocks->ctx, n->block, out, err);
}

enum err_code chainstate_read_undo(struct chainstate *s, uint32_t node, struct arena *a,
                                   struct buf *raw, struct undo_block *out, struct err *err)
{
    const struct block_node *n = &s->tree.nodes[node];
    if (!(n->status & BLOCK_HAS_UNDO))
        return err_set(err, ERR_NOT_FOUND, "the block's undo data is not kept here");
    const struct hash256 *prev = header_hash(s->headers, header_parent(s->headers, node));
    enum err_code code = s->c.blocks->read_undo(s->c.blocks->ctx, n->undo, prev, raw, err);
    return code ? code : undo_read(buf_bytes(raw), a, out, err);
}

size_t chainstate_tips(const struct chainstate *s, uint32_t *out_nodes, size_t n_max)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->tree.n && n < n_max; i++)
        if (i == s->tip || s->tree.nodes[i].first_child == HEADER_NONE)
            out_nodes[n++] = i;
    return n;
}

void chainstate_stats(const struct chainstate *s, struct chainstate_stats *out)
{
    *out = s->stats;
}

static uint32_t check_run(const struct chainstate *s, const struct list *l, uint32_t parent,
                          bool is_applied)
{
    LIST_EACH(l, b, struct chain_block, in_list)
    {
        assert(header_parent(s->headers, b->node) == parent);
        assert(is_applied == (b->state == CHAIN_BLOCK_SCRIPTS || b->state == CHAIN_BLOCK_DONE));
        parent = b->node;
    }
    return parent;
}

void chainstate_check(const struct chainstate *s)
{
    assert(s->c.headers ? s->tree.n <= header_chain_n(s->headers)
                        : s->tree.n == header_chain_n(s->headers));
    assert(s->n_in_flight == s->fed.n + s->hot.n + s->applied.n + s->window.n);
    check_run(s, &s->window, check_run(s, &s->applied, s->tip, true), false);
    assert(!(s->tree.nodes[s->tip].status & BLOCK_PARENT_FAILED));
    assert(s->tree.base == HEADER_NONE || header_is_ancestor(s->headers, s->tree.base, s->tip));
    block_tree_check(&s->tree);
    coins_cache_check(s->coins);
}
