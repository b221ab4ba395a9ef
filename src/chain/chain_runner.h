/* chain_runner: the door to threads: jobs go out, run somewhere in any order, come back.
 *
 * Ownership  a job is embedded in its owner's struct and is the runner's from submit until collect
 *            gives it back
 * Threads    submit and collect from the owner's thread; run on any, the owner's too
 * Errors     none: a job keeps what went wrong in its own struct
 */
#pragma once
#include "base/mem.h"

struct chain_job {
    struct chain_job *next;                            /* the runner's while it holds the job */
    void *owner;                                       /* who gets it back */
    void (*run)(struct chain_job *j, struct mem *mem); /* mem: the running thread's own */
};

struct chain_runner {
    void *ctx;
    unsigned n_threads; /* besides the owner's */
    void (*submit)(void *ctx, struct chain_job *j);
    /* Jobs that have run, linked by next. wait: when none has and some are out, runs one that waits
     * or sleeps until one comes back. NULL: none is out (or, without wait, none has run). */
    struct chain_job *(*collect)(void *ctx, bool wait);
};
