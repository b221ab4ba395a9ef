#include "chain/script_jobs.h"
#include "base/size.h"

static bool job_input(struct script_job *j, const struct tx_spend *s, uint32_t tx_index,
                      uint32_t in_index, struct mem *mem)
{
    j->result = script_verify(s, in_index, j->c->script_flags, j->cache, mem);
    j->bad_tx = tx_index;
    j->bad_in = in_index;
    return j->result == SCRIPT_ERR_OK;
}

static bool job_tx(struct script_job *j, uint32_t tx_index, struct mem *mem)
{
    const struct tx *t = &j->c->block->txs[tx_index];
    struct tx_spend s;
    tx_spend_init(&s, t, j->c->spent + j->c->first_in[tx_index]);
    for (uint32_t i = 0; i < t->n_in; i++)
        if (!job_input(j, &s, tx_index, i, mem))
            return false;
    return true;
}

static void job_run(struct chain_job *job, struct mem *mem)
{
    struct script_job *j = (struct script_job *)(void *)job;
    if (j->shared) {
        for (uint32_t i = 0; i < j->n_in; i++)
            if (!job_input(j, j->shared, j->first_tx, j->first_in + i, mem))
                return;
        return;
    }
    for (uint32_t i = 0; i < j->n_txs; i++)
        if (!job_tx(j, j->first_tx + i, mem))
            return;
}

struct cutter {
    const struct connect *c;
    struct script_cache *cache;
    void *owner;
    struct arena *a;
    struct script_job *jobs; /* NULL: only counted */
    size_t n;
};

static void cut(struct cutter *k, struct script_job job)
{
    if (k->jobs) {
        job.job.owner = k->owner;
        job.job.run = job_run;
        job.c = k->c;
        job.cache = k->cache;
        k->jobs[k->n] = job;
    }
    k->n++;
}

static enum err_code cut_large(struct cutter *k, uint32_t tx_index)
{
    const struct tx *t = &k->c->block->txs[tx_index];
    struct tx_spend *shared = NULL;
    if (k->jobs) {
        shared = arena_alloc(k->a, sizeof *shared);
        if (!shared)
            return ERR_NO_MEMORY;
        tx_spend_init(shared, t, k->c->spent + k->c->first_in[tx_index]);
    }
    for (uint32_t i = 0; i < t->n_in; i += SCRIPT_JOB_N_INPUTS) {
        uint32_t n = t->n_in - i < SCRIPT_JOB_N_INPUTS ? t->n_in - i : SCRIPT_JOB_N_INPUTS;
        cut(k, (struct script_job){
                   .shared = shared, .first_tx = tx_index, .n_txs = 1, .first_in = i, .n_in = n});
    }
    return ERR_OK;
}

static enum err_code cut_all(struct cutter *k)
{
    const struct block *b = k->c->block;
    uint32_t first = 1, n_in = 0;
    for (uint32_t i = 1; i <= b->n_txs; i++) {
        bool is_large = i < b->n_txs && b->txs[i].n_in > 2 * SCRIPT_JOB_N_INPUTS;
        if (i > first && (i == b->n_txs || is_large || n_in >= SCRIPT_JOB_N_INPUTS)) {
            cut(k, (struct script_job){.first_tx = first, .n_txs = i - first});
            first = i;
            n_in = 0;
        }
        if (is_large) {
            if (cut_large(k, i))
                return ERR_NO_MEMORY;
            first = i + 1;
        } else if (i < b->n_txs) {
            n_in += b->txs[i].n_in;
        }
    }
    return ERR_OK;
}

enum err_code script_jobs_init(struct script_jobs *out, const struct connect *c,
                               struct script_cache *cache, void *owner, struct arena *a)
{
    struct cutter k = {.c = c, .cache = cache, .owner = owner, .a = a};
    *out = (struct script_jobs){0};
    if (cut_all(&k)) /* counting cannot fail */
        return ERR_NO_MEMORY;
    k.jobs = arena_calloc(a, k.n, sizeof *k.jobs);
    size_t n = k.n;
    k.n = 0;
    if (!k.jobs || cut_all(&k))
        return ERR_NO_MEMORY;
    *out = (struct script_jobs){k.jobs, n};
    return ERR_OK;
}

static bool is_before(const struct script_job *a, const struct script_job *b)
{
    return a->bad_tx != b->bad_tx ? a->bad_tx < b->bad_tx : a->bad_in < b->bad_in;
}

enum verdict script_jobs_verdict(const struct script_jobs *jobs, struct reject *r)
{
    const struct script_job *first = NULL;
    for (size_t i = 0; i < jobs->n; i++) {
        const struct script_job *j = &jobs->jobs[i];
        if (j->result == SCRIPT_ERR_NO_MEMORY)
            return reject_failed(r, ERR_NO_MEMORY, "no memory to check a script");
        if (j->result && (!first || is_before(j, first)))
            first = j;
    }
    if (!first)
        return VERDICT_VALID;
    return reject_tx(r, "block-script-verify-flag-failed", script_err_text(first->result),
                     first->bad_tx, first->bad_in);
}
