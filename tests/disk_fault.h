/* disk_fault: the n-th operation of a struct disk that changes something fails, a write after a part
 * of it, and if that is to be the end of the process, nothing is done any more.
 */
#pragma once
#include "store/disk.h"
#include <errno.h>

struct fault {
    uint64_t n, fail_at; /* operations so far; which fails: 0, none */
    size_t cut_len;      /* of a write: so much is done before */
    int err_no;          /* 0: ENOSPC */
    bool is_for_good;
    enum disk_op last; /* that failed */
};

/* disk_hook.before, with a struct fault as its ctx */
static inline int fault_before(void *ctx, enum disk_op op, const char *name, uint64_t off,
                               size_t *len)
{
    struct fault *f = ctx;
    (void)name;
    (void)off;
    f->n++;
    bool is_hit = f->n == f->fail_at;
    bool is_over = f->is_for_good && f->fail_at && f->n > f->fail_at;
    if (!is_hit && !is_over)
        return 0;
    f->last = op;
    *len = is_over ? 0 : *len < f->cut_len ? *len : f->cut_len;
    return f->err_no ? f->err_no : ENOSPC;
}
