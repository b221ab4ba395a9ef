/* picker_parts: what the picker is made of; for picker*.c and nobody else.
 *
 * picker.c          life, peers, pieces, statistics
 * picker_order.c    the sorted arrays of IDLE pieces
 * picker_blocks.c   partial pieces, their blocks and the requests for them
 * picker_pick.c     what to ask of whom
 * picker_check.c    the invariants
 */
#pragma once
#include "torrent/picker.h"
#include <assert.h>

struct picker_piece {
    uint32_t
        place; /* IDLE and wanted: in its order, unless that is stale; PARTIAL, FULL: in partials */
    uint32_t n_have : 24; /* peers that have it, seeds not counted */
    uint32_t priority : 3;
    uint32_t state : 2;    /* enum picker_state */
    uint32_t is_whole : 1; /* next time from one peer alone */
};

struct picker_block {
    uint32_t request; /* the newest of its requests, PICKER_NONE; received: the sender */
    uint8_t n_active; /* requests that are not late */
    bool is_received;
};

struct picker_partial {
    uint32_t piece, n_blocks, last_len;
    uint32_t n_received, n_free; /* free: not received and no request but late ones */
    uint32_t n_active, n_requests;
    uint32_t first_free;            /* no free block stands before it */
    uint8_t speed;                  /* enum picker_speed of who began it */
    uint64_t seen;                  /* the last pick that found nothing in it */
    const struct picker_peer *sole; /* only this peer is offered its blocks, or NULL */
    struct picker_block blocks[];
};

struct picker_request {
    struct picker_peer *peer; /* NULL: not in use, next_in_block is the next such */
    uint64_t sent_at_us;
    uint32_t piece, block;
    uint32_t next_in_block;
    uint32_t prev_in_peer, next_in_peer;
    bool is_late, is_duplicate;
};

/* --- bits: eight bytes of a bitset at a time, the first bit uppermost ------------------------ */

static inline uint64_t picker_bits64(const struct bitset *b, uint32_t word)
{
    uint32_t n_bytes = b->n / 8 + (b->n % 8 != 0), at = word * 8;
    uint64_t v = 0;
    memcpy(&v, b->bits + at, n_bytes - at < 8 ? n_bytes - at : 8);
    return __builtin_bswap64(v);
}

static inline uint32_t picker_n_words(const struct bitset *b)
{
    return b->n / 64 + (b->n % 64 != 0);
}

/* The next piece from `from` on that is in both; b NULL: in a. a->n when there is none. */
uint32_t picker_next_common(const struct bitset *a, const struct bitset *b, uint32_t from);
uint32_t picker_count_common(const struct bitset *a, const struct bitset *b);

/* --- picker_order.c -------------------------------------------------------------------------- */

/* The piece's availability goes one up or down; its order follows. */
void picker_order_shift(struct picker *p, uint32_t piece, int step);
void picker_order_put(struct picker *p, uint32_t piece); /* was not in an order; its idle bit too */
void picker_order_take(struct picker *p, uint32_t piece);
bool picker_order_refresh(struct picker *p); /* false: stale and no memory to sort anew */
void picker_orders_clear(struct picker *p);

/* --- picker_blocks.c ------------------------------------------------------------------------- */

struct picker_partial *picker_partial_of(const struct picker *p, uint32_t piece); /* NULL: none */
struct picker_partial *picker_partial_open(struct picker *p, uint32_t piece); /* NULL: no memory */
void picker_partial_close(struct picker *p, struct picker_partial *t,
                          enum picker_state next); /* no requests left; IDLE or HAVE */
uint32_t picker_block_len(const struct picker_partial *t, uint32_t block);
/* The peer's request for a block, PICKER_NONE. */
uint32_t picker_request_find(const struct picker *p, const struct picker_block *b,
                             const struct picker_peer *peer);
bool picker_request_add(struct picker *p, uint64_t now_us, struct picker_peer *peer,
                        struct picker_partial *t, uint32_t block);
void picker_request_remove(struct picker *p, uint32_t request);
