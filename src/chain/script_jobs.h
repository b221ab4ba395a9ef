/* script_jobs: a connected block's scripts cut into jobs for other threads.
 *
 * A job is a run of whole transactions with about as many inputs as pay for the hand-over, or a
 * part of one large transaction, whose shared hashes are then computed beforehand. Every job stops
 * at its first failure; the block's verdict is the first failure in block order among all jobs, so
 * it does not depend on which came back first.
 *
 * Ownership  jobs live in the arena; they borrow the connect and its block, which stay until every
 *            job came back
 * Threads    jobs only read; results are read once they are back
 * Errors     SCRIPT_ERR_NO_MEMORY in a job makes the block UNDECIDED
 */
#pragma once
#include "chain/chain_runner.h"
#include "chain/connect.h"
#include "chain/script_verify.h"

#define SCRIPT_JOB_N_INPUTS 48u /* ours: some 2 ms of signatures */

struct script_job {
    struct chain_job job; /* first: the runner gives it back */
    const struct connect *c;
    struct script_cache *cache;
    const struct tx_spend *shared; /* of a large transaction; NULL: made by the job */
    uint32_t first_tx, n_txs;
    uint32_t first_in, n_in; /* of the large transaction */
    enum script_err result;
    uint32_t bad_tx, bad_in;
};

struct script_jobs {
    struct script_job *jobs;
    size_t n;
};

/* Nothing to check (no inputs): n 0. */
enum err_code script_jobs_init(struct script_jobs *out, const struct connect *c,
                               struct script_cache *cache, void *owner, struct arena *a) MUST_USE;
/* When all are back. */
enum verdict script_jobs_verdict(const struct script_jobs *jobs, struct reject *r) MUST_USE;
