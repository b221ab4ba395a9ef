#include "chain/chain_block.h"
#include "base/size.h"

enum err_code chain_block_new(struct chain_block **out, struct mem *mem)
{
    struct chain_block *b = mem_calloc(mem, 1, sizeof *b);
    if (!b)
        return ERR_NO_MEMORY;
    /* No parent: its jobs allocate on other threads. */
    mem_init(&b->mem, CHAIN_BLOCK_MEM_MAX, NULL);
    arena_init(&b->arena, &b->mem, CHAIN_BLOCK_MEM_MAX);
    buf_init(&b->raw, &b->mem, BLOCK_RAW_LEN_MAX);
    buf_init(&b->undo_raw, &b->mem, BLOCK_RAW_LEN_MAX);
    *out = b;
    return ERR_OK;
}

void chain_block_free(struct chain_block *b, struct mem *mem)
{
    arena_clear(&b->arena);
    buf_clear(&b->raw);
    buf_clear(&b->undo_raw);
    mem_check_empty(&b->mem);
    mem_free(mem, b);
}

void chain_block_reset(struct chain_block *b)
{
    struct arena a = b->arena;
    struct buf raw = b->raw, undo_raw;
    arena_reset(&a);
    buf_reset(&raw);
    buf_clear(&b->undo_raw);
    undo_raw = b->undo_raw;
    struct mem m = b->mem; /* as arena_reset left it */
    *b = (struct chain_block){
        .mem = m, .arena = a, .raw = raw, .undo_raw = undo_raw, .at = BLOCK_POS_NONE};
}

/* --- prepare --------------------------------------------------------------------------------- */

static enum verdict check_block(struct chain_block *b)
{
    enum verdict v = block_check(&b->block, &b->arena, &b->reject);
    if (!v && b->p->is_signet)
        v = block_check_signet(&b->block, b->p->signet_challenge, &b->arena, &b->reject);
    if (!v)
        v = block_check_context(&b->block, b->p, b->height, b->mtp_prev, &b->arena, &b->reject);
    return v;
}

static enum verdict prepare_handed_in(struct chain_block *b)
{
    struct err err = {0};
    enum err_code code = block_read(buf_bytes(&b->raw), &b->arena, &b->block, &err);
    if (code == ERR_NO_MEMORY)
        return reject_undecided(&b->reject, &err);
    /* Not a block at all: whoever sent it is at fault, the header is not. */
    return code ? reject_mutated(&b->reject, err.what, NULL) : check_block(b);
}

/* It was right when it was stored. If it is not now, the disk is at fault. */
static enum verdict prepare_stored(struct chain_block *b)
{
    struct err err = {0};
    if (b->blocks->read_block(b->blocks->ctx, b->at, &b->raw, &err))
        return reject_undecided(&b->reject, &err);
    enum err_code code = block_read(buf_bytes(&b->raw), &b->arena, &b->block, &err);
    if (code == ERR_NO_MEMORY)
        return reject_undecided(&b->reject, &err);
    if (code || !hash256_equal(&b->block.hash, &b->hash))
        return reject_failed(&b->reject, ERR_MALFORMED,
                             "the block file holds something else at this place");
    enum verdict v = check_block(b);
    return v == VERDICT_INVALID
               ? reject_failed(&b->reject, ERR_MALFORMED, "the block file is damaged at this place")
               : v;
}

static void prepare_run(struct chain_job *j, struct mem *mem)
{
    struct chain_block *b = j->owner;
    (void)mem; /* the parsed block lives in the block's own arena */
    b->verdict = b->is_on_disk ? prepare_stored(b) : prepare_handed_in(b);
}

void chain_block_prepare(struct chain_block *b, struct chain_job **out)
{
    b->state = CHAIN_BLOCK_PREPARING;
    b->prepare = (struct chain_job){.owner = b, .run = prepare_run};
    *out = &b->prepare;
}

/* --- fetch ----------------------------------------------------------------------------------- */

static void fetch_run(struct chain_job *j, struct mem *mem)
{
    struct chain_block *b = j->owner;
    struct err err = {0};
    (void)mem;
    if (b->store->get_many(b->store->ctx, b->want, b->n_want, b->got, b->got_found, &b->arena,
                           &err))
        b->verdict = reject_undecided(&b->reject, &err);
}

static size_t n_inputs(const struct block *b)
{
    size_t n = 0;
    for (uint32_t i = 1; i < b->n_txs; i++)
        n += b->txs[i].n_in;
    return n;
}

static enum err_code list_inputs(struct chain_block *b, const struct outpoint ***out, size_t *out_n)
{
    size_t n = 0;
    *out_n = n_inputs(&b->block);
    *out = arena_alloc(&b->arena, *out_n * sizeof **out);
    if (!*out)
        return ERR_NO_MEMORY;
    for (uint32_t i = 1; i < b->block.n_txs; i++)
        for (uint32_t k = 0; k < b->block.txs[i].n_in; k++)
            (*out)[n++] = &b->block.txs[i].in[k].prev;
    return ERR_OK;
}

enum err_code chain_block_want(struct chain_block *b, struct coins_cache *coins,
                               struct chain_job **out)
{
    const struct outpoint **all;
    size_t n;
    *out = NULL;
    b->state = CHAIN_BLOCK_READY;
    if (list_inputs(b, &all, &n))
        return ERR_NO_MEMORY;
    uint32_t *index = arena_alloc(&b->arena, n * sizeof *index);
    if (!index)
        return ERR_NO_MEMORY;
    b->n_want = coins_cache_missing(coins, all, n, index);
    if (!b->n_want)
        return ERR_OK;
    for (size_t i = 0; i < b->n_want; i++)
        all[i] = all[index[i]]; /* index rises: never overtakes what is still to be read */
    b->want = all;
    b->got = arena_calloc(&b->arena, b->n_want, sizeof *b->got);
    b->got_found = arena_calloc(&b->arena, b->n_want, sizeof *b->got_found);
    if (!b->got || !b->got_found)
        return ERR_NO_MEMORY;
    struct coins_cache_stats stats;
    coins_cache_stats(coins, &stats);
    b->generation = stats.generation;
    b->state = CHAIN_BLOCK_FETCHING;
    b->fetch = (struct chain_job){.owner = b, .run = fetch_run};
    *out = &b->fetch;
    return ERR_OK;
}

enum err_code chain_block_put_fetched(struct chain_block *b, struct coins_cache *coins)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; !code && i < b->n_want; i++)
        if (b->got_found[i])
            code = coins_cache_put_fetched(coins, b->generation, b->want[i], &b->got[i]);
    b->n_want = 0;
    return code;
}

/* --- undo ------------------------------------------------------------------------------------ */

static enum err_code write_undo(struct chain_block *b)
{
    struct undo_block u;
    if (connect_undo(&b->connect, &b->arena, &u))
        return ERR_NO_MEMORY;
    size_t len = undo_len(&u);
    uint8_t *data = arena_alloc(&b->arena, len);
    if (!data)
        return ERR_NO_MEMORY;
    struct writer w = writer_init(data, len);
    undo_write(&w, &u);
    b->undo = writer_bytes(&w);
    return writer_end(&w);
}

static void undo_run(struct chain_job *j, struct mem *mem)
{
    struct chain_block *b = j->owner;
    (void)mem;
    enum err_code code = write_undo(b);
    if (code)
        b->verdict = reject_failed(&b->reject, code, "no memory for undo data");
}

void chain_block_undo(struct chain_block *b, struct chain_job **out)
{
    b->undo_job = (struct chain_job){.owner = b, .run = undo_run};
    *out = &b->undo_job;
}
