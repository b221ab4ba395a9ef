#include "chain/chainstate_internal.h"

static enum verdict no_memory(struct reject *r)
{
    return reject_failed(r, ERR_NO_MEMORY, "no memory for a block");
}

enum verdict chainstate_add_header(struct chainstate *s, const struct block_header *h,
                                   int64_t now_s, uint32_t *out_node, struct reject *r)
{
    struct hash256 hash;
    *r = REJECT_NONE;
    block_header_hash(h, &hash);
    uint32_t parent = header_chain_find(s->headers, &h->prev);
    uint32_t known = header_chain_find(s->headers, &hash);
    if (known != HEADER_NONE && (s->tree.nodes[known].status & BLOCK_ANY_FAILED)) {
        *out_node = known;
        return reject_block(r, "duplicate-invalid", "known to be invalid");
    }
    if (parent != HEADER_NONE && (s->tree.nodes[parent].status & BLOCK_ANY_FAILED))
        return reject_block(r, "bad-prevblk", "builds on an invalid block");
    enum verdict v = header_chain_add(s->headers, h, &hash, now_s, out_node, r);
    if (!v && block_tree_grow(&s->tree))
        return no_memory(r);
    return v;
}

/* --- storing --------------------------------------------------------------------------------- */

/* The data is wrong although the header is right and committed to it: the block can never be
 * valid. A mutated one says nothing about the header. */
static enum err_code note_refusal(struct chainstate *s, struct chain_block *b, struct err *err)
{
    const struct reject *r = &b->reject;
    s->stats.n_refused++;
    s->stats.n_mutated += r->is_mutated;
    chainstate_tell(s, CHAIN_REFUSED, b->node, &b->hash, r);
    if (r->is_mutated || r->is_transient || s->tree.nodes[b->node].n_txs)
        return ERR_OK;
    if (chainstate_is_past(s, b->node)) { /* what was built on it came from the snapshot */
        s->fault = (struct chain_past_fault){true, b->node, *r};
        return ERR_OK;
    }
    if (block_tree_fail(&s->tree, b->node, false))
        return err_set(err, ERR_NO_MEMORY, "no memory to note an invalid block");
    return chainstate_put_record(s, b->node, err);
}

static enum err_code store_block(struct chainstate *s, struct chain_block *b, struct err *err)
{
    struct block_node *n = &s->tree.nodes[b->node];
    enum err_code code =
        s->c.blocks->put_block(s->c.blocks->ctx, buf_bytes(&b->raw), b->height, &n->block, err);
    if (code)
        return code;
    n->status |= BLOCK_HAS_DATA;
    if (!n->n_txs && block_tree_set_seen(&s->tree, b->node, b->block.n_txs, 0))
        return err_set(err, ERR_NO_MEMORY, "no memory to link a block");
    b->at = n->block;
    b->is_on_disk = true;
    s->stats.n_accepted++;
    return chainstate_put_record(s, b->node, err);
}

/* An ancestor may have failed since it was fed. */
static void judge_ancestry(struct chainstate *s, struct chain_block *b)
{
    if (!b->verdict && (s->tree.nodes[b->node].status & BLOCK_ANY_FAILED))
        b->verdict = reject_block(&b->reject, "bad-prevblk", "builds on an invalid block");
}

static enum err_code finish_one(struct chainstate *s, struct chain_block *b, struct err *err)
{
    enum err_code code = ERR_OK;
    bool is_kept = false;
    judge_ancestry(s, b);
    if (b->verdict == VERDICT_UNDECIDED) {
        s->stats.n_undecided++;
        *err = b->reject.err;
        code = err->code;
    } else if (b->verdict == VERDICT_INVALID) {
        code = note_refusal(s, b, err);
    } else if (s->tree.nodes[b->node].status & BLOCK_HAS_DATA) {
        s->stats.n_duplicate++;
    } else {
        code = store_block(s, b, err);
        is_kept = !code;
    }
    if (!is_kept) {
        chainstate_release(s, &s->fed, b);
        return code;
    }
    list_remove(&s->fed, &b->in_list);
    list_push_back(&s->hot, &b->in_list);
    chainstate_tell(s, CHAIN_STORED, b->node, &b->hash, NULL);
    return ERR_OK;
}

bool chainstate_finish_fed(struct chainstate *s, struct err *err)
{
    bool any = false;
    while (!err->code && s->fed.n) {
        struct chain_block *b = CONTAINER_OF(list_first(&s->fed), struct chain_block, in_list);
        if (b->n_out)
            break;
        b->state = CHAIN_BLOCK_PREPARED;
        any = true;
        if (finish_one(s, b, err))
            break;
    }
    return any;
}

/* --- feeding --------------------------------------------------------------------------------- */

static enum err_code make_room(struct chainstate *s, struct err *err)
{
    while (!err->code && chainstate_is_full(s))
        if (!chainstate_turn(s, true, err) && !err->code && !chainstate_collect(s, true) &&
            !chainstate_trim(s))
            break; /* nothing moves: what is in flight waits for more */
    return err->code;
}

static enum verdict start(struct chainstate *s, struct bytes raw, uint32_t node,
                          struct chain_block **out, struct reject *r)
{
    struct chain_job *job;
    struct chain_block *b = chainstate_take_spare(s, node);
    if (!b)
        return no_memory(r);
    buf_put(&b->raw, raw);
    if (b->raw.err) {
        list_push_back(&s->spare, &b->in_list);
        return b->raw.err == ERR_LIMIT ? reject_mutated(r, "bad-blk-length", "size limits failed")
                                       : no_memory(r);
    }
    list_push_back(&s->fed, &b->in_list);
    b->counted_len = b->raw.len;
    s->in_flight_len += b->counted_len;
    s->n_in_flight++;
    chain_block_prepare(b, &job);
    chainstate_submit(s, b, job);
    *out = b;
    return VERDICT_VALID;
}

/* Judges the header. *out_is_known: the data is here, or was judged. */
static enum verdict begin(struct chainstate *s, struct bytes raw, int64_t now_s, uint32_t *out_node,
                          bool *out_is_known, struct reject *r)
{
    struct block_header h;
    struct reader in = reader_init(raw);
    *out_node = HEADER_NONE;
    *out_is_known = false;
    if (block_header_read(&in, &h))
        return reject_mutated(r, "input ends inside a header", NULL);
    enum verdict v = chainstate_add_header(s, &h, now_s, out_node, r);
    if (v) {
        s->stats.n_refused += v == VERDICT_INVALID;
        return v;
    }
    *out_is_known = (s->tree.nodes[*out_node].status & BLOCK_HAS_DATA) ||
                    header_parent(s->headers, *out_node) == HEADER_NONE;
    s->stats.n_duplicate += *out_is_known;
    return VERDICT_VALID;
}

enum verdict chainstate_feed(struct chainstate *s, struct bytes raw, int64_t now_s,
                             struct reject *r)
{
    struct err err = {0};
    struct chain_block *b;
    uint32_t node;
    bool is_known;
    *r = REJECT_NONE;
    chainstate_collect(s, false);
    if (make_room(s, &err))
        return reject_undecided(r, &err);
    enum verdict v = begin(s, raw, now_s, &node, &is_known, r);
    return v || is_known ? v : start(s, raw, node, &b, r);
}

/* Judges everything that was fed before. */
static enum err_code finish_all(struct chainstate *s, struct err *err)
{
    while (!err->code && s->fed.n)
        if (!chainstate_finish_fed(s, err))
            chainstate_collect(s, true);
    return err->code;
}

enum verdict chainstate_accept(struct chainstate *s, struct bytes raw, int64_t now_s,
                               uint32_t *out_node, bool *out_is_new, struct reject *r)
{
    struct err err = {0};
    struct chain_block *b;
    bool is_known;
    *out_is_new = false;
    *r = REJECT_NONE;
    if (finish_all(s, &err) || make_room(s, &err))
        return reject_undecided(r, &err);
    enum verdict v = begin(s, raw, now_s, out_node, &is_known, r);
    if (!v && !is_known)
        v = start(s, raw, *out_node, &b, r);
    if (v || is_known)
        return v;
    chainstate_wait_for(s, b);
    judge_ancestry(s, b);
    *r = b->reject;
    v = b->verdict;
    if (finish_all(s, &err) && !v)
        return reject_undecided(r, &err);
    *out_is_new = !v;
    return v;
}
