#include "chain/chainstate_internal.h"
#include <assert.h>

#define FORTNIGHT_S (14u * 24u * 3600u)

static struct chain_block *first_of(const struct list *l)
{
    struct list_node *n = list_first(l);
    return n ? CONTAINER_OF(n, struct chain_block, in_list) : NULL;
}

static struct chain_block *last_of(const struct list *l)
{
    return l->n ? CONTAINER_OF(l->head.prev, struct chain_block, in_list) : NULL;
}

/* The next block whose verdict counts: the tip's child. */
static struct chain_block *next_block(const struct chainstate *s)
{
    return s->applied.n ? first_of(&s->applied) : first_of(&s->window);
}

static uint32_t last_node(const struct chainstate *s)
{
    const struct chain_block *b = last_of(s->window.n ? &s->window : &s->applied);
    return b ? b->node : s->tip;
}

/* --- taking back ----------------------------------------------------------------------------- */

void chainstate_went_back(struct chainstate *s)
{
    if (block_tree_find_candidates(&s->tree))
        return; /* the failure that brought us back is what is told */
}

/* The cache no longer stands at any block: what was not written is lost, the disk's tip counts. */
static void fall_back_to_disk(struct chainstate *s)
{
    coins_cache_drop(s->coins);
    s->tip = s->on_disk;
    s->stats.n_falls++;
    chainstate_went_back(s);
}

/* Nothing that a check points at goes before the check came back. */
static void wait_for_all(struct chainstate *s, const struct list *l)
{
    LIST_EACH(l, b, struct chain_block, in_list)
    chainstate_wait_for(s, b);
}

enum err_code chainstate_drop_window(struct chainstate *s, struct err *err)
{
    enum err_code code = ERR_OK;
    struct chain_block *b;
    wait_for_all(s, &s->applied);
    wait_for_all(s, &s->window);
    while ((b = last_of(&s->window)))
        chainstate_release(s, &s->window, b);
    while ((b = last_of(&s->applied))) {
        if (!code)
            code = b->is_broken ? err_set(err, ERR_NO_MEMORY, "no memory to take a block back")
                                : connect_unapply(&b->connect, s->coins, err);
        chainstate_release(s, &s->applied, b);
    }
    if (code)
        fall_back_to_disk(s);
    return code;
}

/* The tip's child broke a rule: it and all above fail. */
static enum err_code window_fail(struct chainstate *s, struct err *err)
{
    struct chain_block *b = next_block(s);
    struct reject r = b->reject;
    struct hash256 hash = b->hash;
    uint32_t node = b->node;
    enum err_code code = chainstate_drop_window(s, err);
    s->stats.n_invalid++;
    if (block_tree_fail(&s->tree, node, false))
        return err_set(err, ERR_NO_MEMORY, "no memory to note an invalid block");
    chainstate_tell(s, CHAIN_INVALID, node, &hash, &r);
    return code ? code : chainstate_put_record(s, node, err);
}

/* The world failed at the tip's child. */
static enum err_code window_undecided(struct chainstate *s, struct err *err)
{
    struct err why = next_block(s)->reject.err;
    struct err ignored = {0};
    s->stats.n_undecided++;
    if (chainstate_drop_window(s, &ignored))
        why = ignored;
    *err = why;
    return err->code;
}

/* --- committing ------------------------------------------------------------------------------ */

static enum err_code keep_undo(struct chainstate *s, struct chain_block *b, struct err *err)
{
    struct block_node *n = &s->tree.nodes[b->node];
    if ((n->status & BLOCK_HAS_UNDO) || s->c.is_read_only)
        return ERR_OK;
    enum err_code code = s->c.blocks->put_undo(s->c.blocks->ctx, n->block.file, b->undo,
                                               &b->block.header.prev, &n->undo, err);
    if (!code)
        n->status |= BLOCK_HAS_UNDO;
    return code;
}

static void count_connected(struct chainstate *s, const struct chain_block *b)
{
    s->stats.n_connected++;
    s->stats.n_txs += b->block.n_txs;
    s->stats.n_inputs += b->connect.first_in[b->block.n_txs];
    s->stats.block_len += b->raw.len;
    s->stats.n_scripts_skipped += !b->has_scripts;
}

static enum err_code commit(struct chainstate *s, struct err *err)
{
    struct chain_block *b = next_block(s);
    struct block_node *n = &s->tree.nodes[b->node];
    uint32_t before = n->status;
    enum err_code code = keep_undo(s, b, err);
    if (code)
        return code;
    if (b->has_scripts)
        n->status = (n->status & ~BLOCK_IS_ASSUMED) | BLOCK_IS_VALID;
    else if (!(n->status & BLOCK_IS_VALID))
        n->status |= BLOCK_IS_VALID | BLOCK_IS_ASSUMED;
    if (n->status != before && (code = chainstate_put_record(s, b->node, err))) {
        n->status = before; /* to be noted with the next try */
        return code;
    }
    s->tip = b->node;
    count_connected(s, b);
    chainstate_tell(s, CHAIN_CONNECTED, b->node, &b->hash, NULL);
    chainstate_release(s, &s->applied, b);
    return ERR_OK;
}

static void judge_scripts(struct chain_block *b)
{
    if (b->state != CHAIN_BLOCK_SCRIPTS)
        return;
    if (!b->verdict && b->has_scripts)
        b->verdict = script_jobs_verdict(&b->scripts, &b->reject);
    b->state = CHAIN_BLOCK_DONE;
}

/* The tip's child, when its checks came back. Whether anything was done. */
static bool window_commit(struct chainstate *s, struct err *err)
{
    struct chain_block *b = next_block(s);
    if (!b || b->n_out)
        return false;
    judge_scripts(b);
    if (b->verdict == VERDICT_INVALID)
        window_fail(s, err);
    else if (b->verdict == VERDICT_UNDECIDED)
        window_undecided(s, err);
    else if (b->state == CHAIN_BLOCK_DONE)
        commit(s, err);
    else
        return false;
    return true;
}

/* --- whether scripts are run ----------------------------------------------------------------- */

/* Work between node and the best header as time at the best header's difficulty. */
static bool is_buried(const struct chainstate *s, uint32_t node, uint32_t best)
{
    struct u256 a = header_work(s->headers, best), b = header_work(s->headers, node);
    struct u256 span = u256_of(FORTNIGHT_S);
    if (s->params.pow_has_no_retargeting)
        return true; /* work means nothing there: who names a block is taken at his word */
    a = u256_sub(&a, &b);
    a = u256_mul_u32(&a, s->params.pow_spacing_s);
    b = u256_work(header_bits(s->headers, best));
    a = u256_div(&a, &b);
    return u256_compare(&a, &span) > 0;
}

/* Bitcoin Core's conditions for -assumevalid (ConnectBlock). */
static bool is_assumed(const struct chainstate *s, uint32_t node)
{
    if (hash256_is_zero(&s->c.assume_valid))
        return false;
    uint32_t assumed = header_chain_find(s->headers, &s->c.assume_valid);
    uint32_t best = header_chain_best(s->headers);
    if (assumed == HEADER_NONE || !header_is_ancestor(s->headers, node, assumed) ||
        !header_is_ancestor(s->headers, assumed, best))
        return false;
    struct u256 work = header_work(s->headers, best);
    return u256_compare(&work, &s->params.min_chain_work) >= 0 && is_buried(s, node, best);
}

static bool needs_scripts(const struct chainstate *s, uint32_t node)
{
    uint32_t status = s->tree.nodes[node].status;
    if ((status & BLOCK_IS_VALID) && !(status & BLOCK_IS_ASSUMED))
        return false; /* it held once; what it builds on is the same */
    return !is_assumed(s, node);
}

/* --- applying -------------------------------------------------------------------------------- */

static enum verdict no_memory(struct chain_block *b)
{
    return reject_failed(&b->reject, ERR_NO_MEMORY, "no memory to connect a block");
}

/* Everything that could fail is ready before the coins change. */
static enum verdict apply_changes(struct chainstate *s, struct chain_block *b)
{
    bool is_broken;
    if (chain_block_put_fetched(b, s->coins) ||
        connect_init(&b->connect, &s->params, s->headers, b->node, &b->block, &b->arena))
        return no_memory(b);
    enum verdict v = connect_apply(&b->connect, s->coins, &b->arena, &b->reject, &is_broken);
    b->is_broken = is_broken;
    return v;
}

static void submit_checks(struct chainstate *s, struct chain_block *b)
{
    struct chain_job *undo;
    b->has_scripts = needs_scripts(s, b->node);
    if (b->has_scripts && script_jobs_init(&b->scripts, &b->connect, s->c.cache, b, &b->arena)) {
        b->verdict = no_memory(b);
        b->scripts.n = 0;
    }
    for (size_t i = 0; i < b->scripts.n; i++)
        chainstate_submit(s, b, &b->scripts.jobs[i].job);
    if (!(s->tree.nodes[b->node].status & BLOCK_HAS_UNDO)) {
        chain_block_undo(b, &undo);
        chainstate_submit(s, b, undo);
    }
}

static enum err_code apply_one(struct chainstate *s, struct chain_block *b, struct err *err)
{
    b->verdict = apply_changes(s, b);
    b->state = b->verdict ? CHAIN_BLOCK_FAILED : CHAIN_BLOCK_SCRIPTS;
    if (!b->verdict || b->is_broken) {
        list_remove(&s->window, &b->in_list);
        list_push_back(&s->applied, &b->in_list);
    }
    if (b->is_broken) /* in part: nothing that is in the cache can be trusted */
        return chainstate_drop_window(s, err);
    if (!b->verdict)
        submit_checks(s, b);
    return ERR_OK;
}

/* One block always may: it is what a full cache was written out for. */
static bool may_apply_more(const struct chainstate *s)
{
    return s->applied.n == 0 || (s->n_jobs_out < CHAIN_JOBS_AHEAD * (s->runner.n_threads + 1) &&
                                 !coins_cache_is_full(s->coins));
}

static bool window_apply(struct chainstate *s, struct err *err)
{
    bool any = false;
    struct chain_block *b;
    while (may_apply_more(s) && (b = first_of(&s->window))) {
        if (b->state != CHAIN_BLOCK_READY || b->n_out)
            break;
        any = true;
        if (apply_one(s, b, err) || b->state == CHAIN_BLOCK_FAILED)
            break;
    }
    return any;
}

/* --- filling --------------------------------------------------------------------------------- */

static struct chain_block *hot_find(struct chainstate *s, uint32_t node)
{
    LIST_EACH(&s->hot, b, struct chain_block, in_list)
    if (b->node == node)
        return b;
    return NULL;
}

bool chainstate_trim(struct chainstate *s)
{
    uint32_t target = block_tree_best(&s->tree, s->tip);
    size_t before = s->hot.n;
    LIST_EACH(&s->hot, b, struct chain_block, in_list)
    if (header_height(s->headers, b->node) <= header_height(s->headers, s->tip) ||
        !header_is_ancestor(s->headers, b->node, target))
        chainstate_release(s, &s->hot, b);
    return s->hot.n < before;
}

/* To be read from the disk; NULL: no memory. */
static struct chain_block *take_stored(struct chainstate *s, uint32_t node)
{
    struct chain_block *b = chainstate_take_spare(s, node);
    if (!b)
        return NULL;
    b->at = s->tree.nodes[node].block;
    b->is_on_disk = true;
    return b;
}

static bool read_into_window(struct chainstate *s, uint32_t node, struct err *err)
{
    struct chain_job *job;
    if (!(s->tree.nodes[node].status & BLOCK_HAS_DATA)) {
        err_set(err, ERR_NOT_FOUND, "a block of the best chain was pruned");
        return false;
    }
    struct chain_block *b = take_stored(s, node);
    if (!b) {
        err_set(err, ERR_NO_MEMORY, "no memory for a block");
        return false;
    }
    list_push_back(&s->window, &b->in_list);
    s->n_in_flight++;
    chain_block_prepare(b, &job);
    chainstate_submit(s, b, job);
    return true;
}

/* With nothing in the window one block is always read: what is in flight may all be stored blocks
 * that come after it. */
static bool fill_one(struct chainstate *s, uint32_t node, struct err *err)
{
    struct chain_block *b = hot_find(s, node);
    if (!b)
        return (!chainstate_is_full(s) || chainstate_trim(s) || !s->window.n) &&
               read_into_window(s, node, err);
    list_remove(&s->hot, &b->in_list);
    list_push_back(&s->window, &b->in_list);
    return true;
}

/* Blocks on the way to the best candidate. */
static bool window_fill(struct chainstate *s, struct err *err)
{
    bool any = false;
    uint32_t last = last_node(s);
    uint32_t target = block_tree_best(&s->tree, s->tip);
    while (!err->code && last != target && header_is_ancestor(s->headers, last, target)) {
        uint32_t next = header_ancestor(s->headers, target, header_height(s->headers, last) + 1);
        if (!fill_one(s, next, err))
            break;
        last = next;
        any = true;
    }
    if (s->n_in_flight > s->stats.n_in_flight_max)
        s->stats.n_in_flight_max = (uint32_t)s->n_in_flight;
    return any;
}

/* What is read and parsed asks for its coins. */
static bool window_want(struct chainstate *s)
{
    bool any = false;
    LIST_EACH(&s->window, b, struct chain_block, in_list)
    {
        struct chain_job *job = NULL;
        if (b->n_out)
            continue;
        if (b->state == CHAIN_BLOCK_PREPARING) {
            b->state = b->verdict ? CHAIN_BLOCK_FAILED : CHAIN_BLOCK_PREPARED;
            b->counted_len = b->raw.len; /* read by the job: known now */
            s->in_flight_len += b->counted_len;
        } else if (b->state == CHAIN_BLOCK_FETCHING) {
            b->state = b->verdict ? CHAIN_BLOCK_FAILED : CHAIN_BLOCK_READY;
        } else if (b->state == CHAIN_BLOCK_PREPARED && s->store_is_empty) {
            b->state = CHAIN_BLOCK_READY;
        } else if (b->state == CHAIN_BLOCK_PREPARED) {
            if (chain_block_want(b, s->coins, &job)) {
                b->verdict = no_memory(b);
                b->state = CHAIN_BLOCK_FAILED;
            } else if (job) {
                chainstate_submit(s, b, job);
            }
        } else {
            continue;
        }
        any = true;
    }
    return any;
}

/* --- turning --------------------------------------------------------------------------------- */

/* With nothing applied: full coins go to disk, and a tip that is not on the way goes back. */
static bool move_tip(struct chainstate *s, struct err *err)
{
    uint32_t target = block_tree_best(&s->tree, s->tip);
    if (coins_cache_is_full(s->coins) && chainstate_write_coins(s, err))
        return false;
    if (s->window.n || header_fork(s->headers, s->tip, target) == s->tip)
        return false;
    return chainstate_disconnect_tip(s, err) == ERR_OK;
}

bool chainstate_turn(struct chainstate *s, bool may_apply, struct err *err)
{
    bool any = chainstate_collect(s, false);
    any |= chainstate_finish_fed(s, err);
    while (!err->code && s->stats.n_connected < s->connect_until && window_commit(s, err))
        any = true;
    if (!err->code && may_apply) {
        if (s->applied.n == 0 && move_tip(s, err))
            return true;
        any |= !err->code && window_fill(s, err);
        any |= window_want(s);
        any |= !err->code && window_apply(s, err);
    }
    return any && !err->code;
}

enum err_code chainstate_settle(struct chainstate *s, struct err *err)
{
    while (!err->code && s->applied.n)
        if (!chainstate_turn(s, false, err) && !err->code)
            chainstate_collect(s, true);
    return err->code;
}

enum err_code chainstate_advance(struct chainstate *s, size_t n_max, bool *out_is_done,
                                 struct err *err)
{
    struct err failed = {0};
    *out_is_done = false;
    if (s->is_past_wrong)
        return err_set(err, ERR_PROTOCOL, "the snapshot that this chain began with is wrong");
    s->connect_until = n_max ? s->stats.n_connected + n_max : UINT64_MAX;
    while (!failed.code && s->stats.n_connected < s->connect_until) {
        if (chainstate_turn(s, true, &failed) || failed.code)
            continue;
        if (s->n_jobs_out) {
            chainstate_collect(s, true);
        } else if (!s->fed.n && !s->window.n && !s->applied.n) {
            *out_is_done = block_tree_best(&s->tree, s->tip) == s->tip;
            break;
        }
    }
    s->connect_until = UINT64_MAX;
    if (failed.code)
        *err = failed;
    return failed.code;
}

/* --- going back ------------------------------------------------------------------------------ */

static enum verdict load_undo(struct chainstate *s, struct chain_block *b)
{
    struct err err = {0};
    struct undo_block u;
    enum err_code code = chainstate_read_undo(s, b->node, &b->arena, &b->undo_raw, &u, &err);
    if (!code && connect_init(&b->connect, &s->params, s->headers, b->node, &b->block, &b->arena))
        code = err_set(&err, ERR_NO_MEMORY, "no memory to connect a block");
    if (!code)
        code = connect_take_undo(&b->connect, &u, &err);
    return code ? reject_undecided(&b->reject, &err) : VERDICT_VALID;
}

enum verdict chainstate_load(struct chainstate *s, uint32_t node, bool with_undo,
                             struct chain_block **out, struct reject *r)
{
    struct chain_job *job;
    *out = NULL;
    if (!(s->tree.nodes[node].status & BLOCK_HAS_DATA))
        return reject_failed(r, ERR_NOT_FOUND, "the block's data is not kept here");
    struct chain_block *b = take_stored(s, node);
    if (!b)
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a block");
    list_push_back(&s->spare, &b->in_list);
    chain_block_prepare(b, &job);
    job->run(job, &s->inline_mem);
    enum verdict v = b->verdict;
    if (!v && with_undo)
        v = load_undo(s, b);
    *r = b->reject;
    *out = b;
    return v;
}

enum err_code chainstate_disconnect_tip(struct chainstate *s, struct err *err)
{
    struct chain_block *b;
    struct reject r;
    uint32_t node = s->tip;
    assert(s->applied.n == 0 && node != 0);
    if (chainstate_load(s, node, true, &b, &r)) {
        if (b)
            chainstate_release(s, &s->spare, b);
        *err = r.err;
        return err->code;
    }
    struct hash256 hash = b->hash;
    enum err_code code = connect_unapply(&b->connect, s->coins, err);
    chainstate_release(s, &s->spare, b);
    if (code) {
        fall_back_to_disk(s);
        return code;
    }
    s->tip = header_parent(s->headers, node);
    s->stats.n_disconnected++;
    chainstate_tell(s, CHAIN_DISCONNECTED, node, &hash, NULL);
    return coins_cache_is_full(s->coins) ? chainstate_write_coins(s, err) : ERR_OK;
}
