#include "torrent/pipeline.h"
#include "base/size.h"
#include "torrent/picker.h"

#define US_PER_SECOND 1000000u
#define N_FLAT_ROUNDS 2u /* as the picture in the header says */

void pipeline_init(struct pipeline *p)
{
    *p = (struct pipeline){.reqq = PIPELINE_REQQ_DEFAULT,
                           .target = PIPELINE_N_START,
                           .is_starting = true,
                           .delay_us_min = UINT64_MAX};
}

void pipeline_set_reqq(struct pipeline *p, uint32_t reqq)
{
    p->reqq = reqq ? reqq : 1;
}

static uint64_t least_delay_us(const struct pipeline *p)
{
    return u64_min(p->delay_us_min, PIPELINE_DELAY_US_MAX);
}

/* Blocks that the rate brings in the time to be covered. */
static uint32_t blocks_for_rate(const struct pipeline *p)
{
    uint64_t span_us = PIPELINE_MARGIN_US;
    if (p->delay_us_min != UINT64_MAX)
        span_us += 2 * least_delay_us(p);
    uint64_t len = p->rate_per_s > UINT64_MAX / (4 * US_PER_SECOND)
                       ? UINT64_MAX
                       : p->rate_per_s * span_us / US_PER_SECOND;
    return (uint32_t)u64_min(div_ceil(len, PICKER_BLOCK_LEN), PIPELINE_N_MAX);
}

void pipeline_restart(struct pipeline *p)
{
    uint32_t known = blocks_for_rate(p);
    p->is_starting = true;
    p->n_flat_rounds = 0;
    p->target = known > PIPELINE_N_START ? known : PIPELINE_N_START;
    p->delay_us_min = UINT64_MAX;
}

/* --- what happens ---------------------------------------------------------------------------- */

void pipeline_on_request(struct pipeline *p, uint64_t now_us, uint32_t len)
{
    if (p->pending_len == 0) {
        p->waiting_since_us = now_us;
        if (p->round_at_us == 0)
            p->round_at_us = now_us;
        else /* time without requests says nothing of the rate */
            p->round_at_us += now_us - p->empty_since_us;
    }
    p->pending_len += len;
}

void pipeline_on_dropped(struct pipeline *p, uint64_t now_us, uint64_t len)
{
    if (p->pending_len == 0)
        return;
    p->pending_len -= u64_min(len, p->pending_len);
    if (p->pending_len == 0)
        p->empty_since_us = now_us;
}

/* Up at once, down by a quarter: a queue that is too long costs less than one that runs dry. */
static void end_round(struct pipeline *p, uint64_t now_us)
{
    uint64_t rate = p->round_len * US_PER_SECOND / (now_us - p->round_at_us);
    bool is_growing = rate > p->rate_per_s + p->rate_per_s / 8;
    p->n_flat_rounds = is_growing ? 0 : (uint8_t)(p->n_flat_rounds + 1);
    if (rate > p->rate_per_s)
        p->rate_per_s = rate;
    else
        p->rate_per_s -= (p->rate_per_s - rate) / 4;
    p->round_at_us = now_us;
    p->round_len = 0;
    if (p->is_starting && p->n_flat_rounds >= N_FLAT_ROUNDS)
        p->is_starting = false;
    if (!p->is_starting) {
        p->n_flat_rounds = 0;
        p->target = blocks_for_rate(p);
    }
}

void pipeline_on_block(struct pipeline *p, uint64_t now_us, uint64_t sent_at_us, uint32_t len)
{
    p->delay_us_min = u64_min(p->delay_us_min, now_us - sent_at_us);
    pipeline_on_dropped(p, now_us, len);
    p->is_snubbed = false;
    p->waiting_since_us = now_us;
    p->round_len += len;
    if (p->is_starting && p->target < PIPELINE_N_MAX)
        p->target++;
    uint64_t round_us = u64_max(PIPELINE_ROUND_US_MIN, least_delay_us(p));
    if (now_us - p->round_at_us >= round_us)
        end_round(p, now_us);
}

/* --- what to do ------------------------------------------------------------------------------ */

uint32_t pipeline_target(const struct pipeline *p, uint64_t len_max)
{
    if (p->is_snubbed)
        return 1;
    uint64_t n = u64_max(p->target, PIPELINE_N_MIN);
    if (len_max)
        n = u64_min(n, u64_max(len_max / PICKER_BLOCK_LEN, PIPELINE_N_MIN));
    return (uint32_t)u64_min(u64_min(n, p->reqq), PIPELINE_N_MAX);
}

/* How long the last of what is under way should take. */
static uint64_t expected_us(const struct pipeline *p)
{
    uint64_t n_pending = u64_min(p->pending_len, UINT64_MAX / US_PER_SECOND);
    return least_delay_us(p) + n_pending * US_PER_SECOND / p->rate_per_s;
}

static uint64_t clamp(uint64_t v, uint64_t least, uint64_t most)
{
    return v < least ? least : v > most ? most : v;
}

uint64_t pipeline_timeout_us(const struct pipeline *p)
{
    if (p->rate_per_s == 0)
        return PIPELINE_TIMEOUT_US_START;
    uint64_t margin_us = PIPELINE_TIMEOUT_US_MIN / 2;
    return clamp(u64_min(expected_us(p), PIPELINE_TIMEOUT_US_MAX) * 3 + margin_us,
                 PIPELINE_TIMEOUT_US_MIN, PIPELINE_TIMEOUT_US_MAX);
}

uint64_t pipeline_patience_us(const struct pipeline *p)
{
    if (p->rate_per_s == 0)
        return 0;
    return u64_min(u64_min(expected_us(p), PIPELINE_PATIENCE_US_MAX) * 2, PIPELINE_PATIENCE_US_MAX);
}

uint64_t pipeline_pace_us(const struct pipeline *p)
{
    if (p->rate_per_s == 0)
        return 0;
    return u64_min(least_delay_us(p) + (uint64_t)PICKER_BLOCK_LEN * US_PER_SECOND / p->rate_per_s,
                   PIPELINE_PATIENCE_US_MAX);
}

/* Silence is measured against the time one block takes, not the whole queue. */
uint64_t pipeline_snub_us(const struct pipeline *p)
{
    if (p->rate_per_s == 0)
        return PIPELINE_SNUB_US_MAX;
    uint64_t block_us = (uint64_t)PICKER_BLOCK_LEN * US_PER_SECOND / p->rate_per_s;
    return clamp(u64_min(block_us, PIPELINE_SNUB_US_MAX) * 16, PIPELINE_SNUB_US_MIN,
                 PIPELINE_SNUB_US_MAX);
}

bool pipeline_on_tick(struct pipeline *p, uint64_t now_us)
{
    if (p->is_snubbed || p->pending_len == 0)
        return false;
    if (now_us - p->waiting_since_us < pipeline_snub_us(p))
        return false;
    p->is_snubbed = true;
    p->is_starting = true; /* if it comes back, begin anew */
    p->target = PIPELINE_N_START;
    p->rate_per_s = 0;
    p->delay_us_min = UINT64_MAX;
    p->n_flat_rounds = 0;
    return true;
}

uint64_t pipeline_rate_per_s(const struct pipeline *p)
{
    return p->rate_per_s;
}

uint8_t pipeline_speed(const struct pipeline *p, uint32_t piece_len)
{
    if (p->rate_per_s == 0)
        return PICKER_SLOW;
    uint64_t piece_us = (uint64_t)piece_len * US_PER_SECOND / p->rate_per_s;
    if (piece_us < PIPELINE_WHOLE_US)
        return PICKER_FAST;
    return piece_us < 8 * (uint64_t)PIPELINE_WHOLE_US ? PICKER_MEDIUM : PICKER_SLOW;
}
