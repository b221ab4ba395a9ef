#include "sim/chain_node.h"

static void on_event(void *ctx, const struct chain_event *e)
{
    struct chain_node *n = ctx;
    if (e->kind == CHAIN_DISCONNECTED) {
        n->n_back++;
    } else if (e->kind == CHAIN_CONNECTED && n->n_back) {
        n->n_replaced[n->n_back < CHAIN_DEPTHS_MAX ? n->n_back : CHAIN_DEPTHS_MAX - 1]++;
        n->n_back = 0;
    } else if (e->kind == CHAIN_INVALID || e->kind == CHAIN_REFUSED) {
        err_set(&n->err, ERR_PROTOCOL, "a simulated miner's block was refused");
    }
}

void chain_node_init(struct chain_node *n, const struct chain_params *p, uint64_t rng_seed)
{
    *n = (struct chain_node){.p = p, .tip = UINT32_MAX};
    mem_init(&n->mem, MEM_NO_BUDGET, NULL);
    mem_init(&n->disk_mem, MEM_NO_BUDGET, NULL);
    chain_disk_init(&n->disk, &n->disk_mem, rng_seed);
    n->blocks = chain_disk_blocks(&n->disk);
    n->coins = chain_disk_coins(&n->disk);
    struct chainstate_config c = {.params = p,
                                  .mem = &n->mem,
                                  .rng_seed = rng_seed,
                                  .blocks = &n->blocks,
                                  .coins = &n->coins,
                                  .on_event = on_event,
                                  .on_event_ctx = n};
    if (chainstate_open(&n->s, &c, &n->err))
        n->s = NULL;
}

void chain_node_clear(struct chain_node *n)
{
    struct err err = {0};
    if (n->s && chainstate_close(n->s, &err))
        n->err = err;
    chain_disk_clear(&n->disk);
    mem_check_empty(&n->mem);
    mem_check_empty(&n->disk_mem);
}

static bool has(const struct chain_node *n, const struct chain_sim_block *b)
{
    uint32_t node = header_chain_find(chainstate_headers(n->s), &b->hash);
    return node != HEADER_NONE && (chainstate_status(n->s, node) & BLOCK_HAS_DATA);
}

static void accept(struct chain_node *n, const struct chain_sim_block *b, int64_t now_s)
{
    struct reject r;
    uint32_t node;
    bool is_new;
    if (chainstate_accept(n->s, buf_bytes(&b->raw), now_s, &node, &is_new, &r))
        err_set(&n->err, ERR_PROTOCOL, r.reason ? r.reason : "a block could not be taken");
}

static void advance(struct chain_node *n)
{
    bool is_done = false;
    while (!is_done && !n->err.code)
        if (chainstate_advance(n->s, 0, &is_done, &n->err))
            return;
}

/* The oldest ancestor that the node lacks, or the block itself. */
static uint32_t first_missing(const struct chain_node *n, const struct chain_sim_blocks *all,
                              uint32_t index)
{
    uint32_t parent = all->items[index].parent;
    for (; parent != UINT32_MAX && !has(n, &all->items[parent]); parent = all->items[index].parent)
        index = parent;
    return index;
}

void chain_node_take(struct chain_node *n, const struct chain_sim_blocks *all, uint32_t index,
                     int64_t now_s)
{
    uint32_t before = chain_node_height(n);
    while (!n->err.code && !has(n, &all->items[index]))
        accept(n, &all->items[first_missing(n, all, index)], now_s);
    advance(n);
    if (n->err.code)
        return;
    /* Equal work stays with what was first: the tip moved only if it is higher now. */
    if (chain_node_height(n) > before)
        n->tip = index;
}

uint32_t chain_node_height(const struct chain_node *n)
{
    return header_height(chainstate_headers(n->s), chainstate_tip(n->s));
}

/* --- blocks ---------------------------------------------------------------------------------- */

static bool blocks_reserve(struct chain_sim_blocks *all)
{
    uint32_t cap = all->cap ? 2 * all->cap : 1024;
    if (all->n < all->cap)
        return true;
    struct chain_sim_block *items = mem_realloc(all->mem, all->items, cap * sizeof *items);
    if (!items)
        return false;
    all->items = items;
    all->cap = cap;
    return true;
}

uint32_t chain_sim_make(struct chain_sim_blocks *all, const struct chain_params *p, uint32_t parent,
                        uint32_t height, uint32_t time, uint64_t nonce)
{
    if (!blocks_reserve(all))
        return UINT32_MAX;
    struct chain_sim_block *b = &all->items[all->n];
    struct miner_block m = {.prev = parent == UINT32_MAX ? p->genesis : all->items[parent].hash,
                            .height = height,
                            .time = time,
                            .bits = p->genesis_header.bits,
                            .extra_nonce = nonce,
                            .coinbase_sat = 0}; /* what every height may claim */
    b->parent = parent;
    buf_init(&b->raw, all->mem, 65536);
    chain_miner_block(p, &m, &b->raw, &b->hash, NULL);
    if (b->raw.err) {
        buf_clear(&b->raw);
        return UINT32_MAX;
    }
    return all->n++;
}

void chain_sim_blocks_clear(struct chain_sim_blocks *all)
{
    for (uint32_t i = 0; i < all->n; i++)
        buf_clear(&all->items[i].raw);
    mem_free(all->mem, all->items);
    *all = (struct chain_sim_blocks){.mem = all->mem};
}
