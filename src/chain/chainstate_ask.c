#include "chain/chainstate_internal.h"
#include <assert.h>

/* --- what the user says about blocks --------------------------------------------------------- */

/* Nothing in flight any more but what is stored. */
static enum err_code come_to_rest(struct chainstate *s, struct err *err)
{
    struct err failed = {0};
    enum err_code code = chainstate_settle(s, &failed);
    if (!code)
        code = chainstate_drop_window(s, &failed);
    if (code)
        *err = failed;
    return code;
}

enum err_code chainstate_invalidate(struct chainstate *s, uint32_t node, struct err *err)
{
    struct err failed = {0};
    if (node == 0)
        return err_set(err, ERR_PROTOCOL, "the first block cannot be invalid");
    if (chainstate_is_past(s, node))
        return err_set(err, ERR_PROTOCOL,
                       "it leads to the snapshot, whose past is not validated yet");
    enum err_code code = come_to_rest(s, &failed);
    while (!code && header_is_ancestor(s->headers, node, s->tip))
        code = chainstate_disconnect_tip(s, &failed);
    if (!code && block_tree_fail(&s->tree, node, true))
        code = err_set(&failed, ERR_NO_MEMORY, "no memory to note an invalid block");
    if (!code)
        code = chainstate_put_record(s, node, &failed);
    if (code) {
        chainstate_went_back(s);
        *err = failed;
    }
    return code;
}

struct forgiven {
    struct chainstate *s;
    struct err err;
};

static void note_forgiven(void *ctx, uint32_t node)
{
    struct forgiven *f = ctx;
    struct err err = {0};
    if (chainstate_put_record(f->s, node, &err))
        f->err = err;
}

enum err_code chainstate_reconsider(struct chainstate *s, uint32_t node, struct err *err)
{
    struct forgiven f = {.s = s};
    enum err_code code = come_to_rest(s, err);
    if (!code && block_tree_forgive(&s->tree, node, note_forgiven, &f))
        return err_set(err, ERR_NO_MEMORY, "no memory to find the best chain");
    if (f.err.code)
        *err = f.err;
    return code ? code : f.err.code;
}

enum err_code chainstate_precious(struct chainstate *s, uint32_t node, struct err *err)
{
    enum err_code code = come_to_rest(s, err);
    if (code || header_compare_work(s->headers, node, s->tip) < 0 ||
        !s->tree.nodes[node].n_chain_txs)
        return code; /* less work, or not all there: nothing to prefer */
    if (block_tree_prefer(&s->tree, node))
        return err_set(err, ERR_NO_MEMORY, "no memory to find the best chain");
    return ERR_OK;
}

enum err_code chainstate_trust_past(struct chainstate *s, struct err *err)
{
    assert(s->tree.base != HEADER_NONE && s->is_past_valid);
    if (block_tree_clear_base(&s->tree))
        return err_set(err, ERR_NO_MEMORY, "no memory to find the best chain");
    return ERR_OK;
}

/* --- checking again -------------------------------------------------------------------------- */

static enum verdict verify_scripts(struct chainstate *s, struct chain_block *b, struct reject *r)
{
    if (script_jobs_init(&b->scripts, &b->connect, NULL, b, &b->arena))
        return reject_failed(r, ERR_NO_MEMORY, "no memory to check scripts");
    for (size_t i = 0; i < b->scripts.n; i++)
        chainstate_submit(s, b, &b->scripts.jobs[i].job);
    chainstate_wait_for(s, b);
    return script_jobs_verdict(&b->scripts, r);
}

enum verdict chainstate_verify_block(struct chainstate *s, uint32_t node, unsigned level,
                                     struct reject *r)
{
    struct chain_block *b;
    *r = REJECT_NONE;
    /* Genesis spends nothing and has no undo data. */
    enum verdict v = chainstate_load(s, node, level >= 3 && node != 0, &b, r);
    if (!v && level >= 3 && node != 0)
        v = connect_judge(&b->connect, r);
    if (!v && level >= 4 && node != 0)
        v = verify_scripts(s, b, r);
    if (b)
        chainstate_release(s, &s->spare, b);
    return v;
}
