#include "base/rate.h"
#include "base/size.h"

#define US_PER_S 1000000u

void rate_init(struct rate *r)
{
    *r = (struct rate){0};
}

/* Lets slots fall out of the window until the newest is that of now. */
static void rate_advance(struct rate *r, uint64_t now_us)
{
    uint64_t now_index = now_us / RATE_SLOT_US;
    if (now_index <= r->slot_index)
        return;
    uint64_t n = u64_min(now_index - r->slot_index, RATE_N_SLOTS);
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t *slot = &r->slots[(now_index - n + i) % RATE_N_SLOTS];
        r->window -= *slot;
        *slot = 0;
    }
    r->slot_index = now_index;
}

void rate_add(struct rate *r, uint64_t now_us, uint64_t len)
{
    rate_advance(r, now_us);
    r->slots[r->slot_index % RATE_N_SLOTS] += len;
    r->window += len;
    r->total += len;
    if (!r->began_at_us)
        r->began_at_us = u64_max(now_us, 1);
}

uint64_t rate_per_s(struct rate *r, uint64_t now_us)
{
    uint64_t span_us, scaled;
    rate_advance(r, now_us);
    if (!r->window || now_us < r->began_at_us)
        return r->window;
    /* The newest slot is as long as the clock has come in it. A young flow is averaged over its
     * age, at least one second. */
    span_us = (uint64_t)(RATE_N_SLOTS - 1) * RATE_SLOT_US + now_us % RATE_SLOT_US;
    span_us = u64_max(u64_min(span_us, now_us - r->began_at_us), RATE_SLOT_US);
    if (!u64_mul(&scaled, r->window, US_PER_S))
        return r->window / (span_us / US_PER_S);
    return scaled / span_us;
}

void token_bucket_init(struct token_bucket *b, uint64_t now_us, uint64_t rate_per_s,
                       uint64_t burst_len)
{
    burst_len = u64_min(u64_max(burst_len, 1), INT64_MAX);
    *b = (struct token_bucket){.rate_per_s = rate_per_s,
                               .burst_len = burst_len,
                               .tokens = (int64_t)burst_len,
                               .filled_at_us = now_us};
}

static void token_bucket_fill(struct token_bucket *b, uint64_t now_us)
{
    if (now_us <= b->filled_at_us)
        return;
    uint64_t gained, elapsed_us = now_us - b->filled_at_us;
    b->filled_at_us = now_us;
    bool is_exact =
        u64_mul(&gained, elapsed_us, b->rate_per_s) && u64_add(&gained, gained, b->remainder);
    uint64_t missing = b->burst_len - (uint64_t)b->tokens; /* also right when tokens < 0 */
    if (!is_exact || gained / US_PER_S >= missing) {
        b->tokens = (int64_t)b->burst_len;
        b->remainder = 0;
        return;
    }
    b->tokens += (int64_t)(gained / US_PER_S);
    b->remainder = gained % US_PER_S;
}

bool token_bucket_can_spend(struct token_bucket *b, uint64_t now_us)
{
    if (b->rate_per_s == 0)
        return true;
    token_bucket_fill(b, now_us);
    return b->tokens > 0;
}

void token_bucket_spend(struct token_bucket *b, uint64_t now_us, uint64_t len)
{
    if (b->rate_per_s == 0)
        return;
    token_bucket_fill(b, now_us);
    int64_t tokens;
    if (len > INT64_MAX || __builtin_sub_overflow(b->tokens, (int64_t)len, &tokens))
        tokens = INT64_MIN;
    b->tokens = tokens;
}

uint64_t token_bucket_ready_at_us(struct token_bucket *b, uint64_t now_us)
{
    if (token_bucket_can_spend(b, now_us))
        return now_us;
    uint64_t need_len = 1 - (uint64_t)b->tokens, need, ready_at_us;
    if (!u64_mul(&need, need_len, US_PER_S))
        return UINT64_MAX;
    ready_at_us = div_ceil(need - b->remainder, b->rate_per_s);
    return u64_add(&ready_at_us, ready_at_us, b->filled_at_us) ? ready_at_us : UINT64_MAX;
}
