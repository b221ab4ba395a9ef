/* upload_queue: the requests of one peer that wait to be served, in order (BEP 3; BEP 6 wants each
 * answered by a piece or a reject; BEP 10: reqq says how many we take).
 *
 * Ownership  owns its ring
 * Threads    one owner
 * Errors     as results of upload_queue_push; nothing else fails
 * Bounds     n_max, which the caller may raise; what comes beyond is refused (it rejects and counts)
 */
#pragma once
#include "base/mem.h"
#include "torrent/peer_wire.h"

#define UPLOAD_QUEUE_N_MAX 2000u /* our reqq; ours: 32 MB under way, as libtorrent's */

struct upload_queue {
    struct mem *mem;
    uint64_t *keys; /* ring: piece << 32 | begin */
    uint32_t *lens;
    uint32_t *n_hashed;     /* 8 * cap: how many keys fall there; 0 spares a look through all */
    uint32_t start, n, cap; /* cap is 0 or a power of two */
    uint32_t n_max;
    uint64_t len; /* bytes asked for */
};

enum upload_queue_result {
    UPLOAD_QUEUED,
    UPLOAD_DUPLICATE, /* the same piece and begin wait already: the request is dropped, not answered
                       */
    UPLOAD_FULL       /* n_max, or no memory */
};

void upload_queue_init(struct upload_queue *q, struct mem *mem, uint32_t n_max);
void upload_queue_clear(struct upload_queue *q);
void upload_queue_check(const struct upload_queue *q);

enum upload_queue_result upload_queue_push(struct upload_queue *q, const struct wire_block *b);
bool upload_queue_peek(const struct upload_queue *q, struct wire_block *out);
bool upload_queue_pop(struct upload_queue *q, struct wire_block *out);
/* CANCEL. True: it was waiting and is gone (BEP 6: answer with a reject). False: unknown or already
 * served: nothing is owed. */
bool upload_queue_cancel(struct upload_queue *q, const struct wire_block *b);
/* Takes out all requests (choke), first to last, except those for the keep_n pieces of keep
 * (allowed fast, BEP 6): call until false, rejecting each *out. */
bool upload_queue_flush_next(struct upload_queue *q, const uint32_t *keep, size_t keep_n,
                             struct wire_block *out);
