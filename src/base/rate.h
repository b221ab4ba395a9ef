/* rate: two small clocks for bytes: an estimate of what flows and a bucket that bounds it.
 *
 * Threads    one owner
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define RATE_N_SLOTS 20u
#define RATE_SLOT_US 1000000u /* BEP 3: "rolling 20-second average" */

/* Bytes over the last RATE_N_SLOTS seconds. */
struct rate {
    uint64_t slots[RATE_N_SLOTS];
    uint64_t total;       /* since init */
    uint64_t window;      /* sum of slots */
    uint64_t slot_index;  /* absolute number of the newest slot */
    uint64_t began_at_us; /* first bytes seen; 0 before */
};

void rate_init(struct rate *r);
void rate_add(struct rate *r, uint64_t now_us, uint64_t len);
uint64_t rate_per_s(struct rate *r, uint64_t now_us); /* bytes per second */

/* Token bucket; rate 0 means no limit. Tokens may go negative by one spend, so that a block is
 * never split: it is paid for afterwards. */
struct token_bucket {
    uint64_t rate_per_s, burst_len;
    int64_t tokens;
    uint64_t filled_at_us;
    uint64_t remainder; /* of the last fill, in byte-microseconds: no drift */
};

void token_bucket_init(struct token_bucket *b, uint64_t now_us, uint64_t rate_per_s,
                       uint64_t burst_len);
bool token_bucket_can_spend(struct token_bucket *b, uint64_t now_us); /* tokens > 0 or no limit */
void token_bucket_spend(struct token_bucket *b, uint64_t now_us, uint64_t len);
/* When can_spend turns true; now_us when it already is. */
uint64_t token_bucket_ready_at_us(struct token_bucket *b, uint64_t now_us);
