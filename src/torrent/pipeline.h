/* pipeline: how many requests a peer should have under way, and when a request is late.
 *
 * Sized in time, not blocks: what is under way must last for the delay there and back and for the
 * batching at both ends.
 *
 *     START ------- two rounds without 1/8 more rate ------> STEADY
 *       ^                                                      |
 *       +------------- unchoked again (pipeline_restart) ------+
 *
 * START    the target grows by one for each block received: it doubles each round, as TCP's
 *          slow start does
 * STEADY   target = rate * (2 * least delay + PIPELINE_MARGIN_US), rounded up. If the queue was the
 *          bound, the rate follows the target up, and the target the rate
 *
 * Both are held within PIPELINE_N_MIN and the least of the peer's reqq, PIPELINE_N_MAX and the cap
 * in bytes that the caller gives. A snubbing peer gets 1 until its next block comes.
 *
 * The least delay is that between a request and its block, the least since the queue was last empty
 * (first request, unchoke): only then it is free of our own queue at the peer. What a window would
 * forget cannot be measured again while the queue stands, so none is kept.
 *
 * Threads    one owner; a plain value, owns nothing
 * Errors     none
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define PIPELINE_N_MIN            2u
#define PIPELINE_N_START          4u      /* ours: first requests to a stranger */
#define PIPELINE_N_MAX            8192u   /* ours: 128 MiB under way */
#define PIPELINE_REQQ_DEFAULT     250u    /* BEP 10 by custom */
#define PIPELINE_MARGIN_US        250000u /* ours: batching of hosts, pulses of rate limiters */
#define PIPELINE_DELAY_US_MAX     1500000u
#define PIPELINE_ROUND_US_MIN     100000u
#define PIPELINE_TIMEOUT_US_START 20000000u
#define PIPELINE_TIMEOUT_US_MIN   4000000u
#define PIPELINE_TIMEOUT_US_MAX   60000000u
#define PIPELINE_PATIENCE_US_MAX  5000000u
#define PIPELINE_SNUB_US_MIN      20000000u
#define PIPELINE_SNUB_US_MAX      60000000u /* BEP 3: over a minute without a piece */
#define PIPELINE_WHOLE_US         20000000u /* as libtorrent: a piece sooner than this is fast */

struct pipeline {
    uint32_t reqq;   /* the peer's; PIPELINE_REQQ_DEFAULT until it says */
    uint32_t target; /* blocks, before the bounds */
    bool is_starting, is_snubbed;
    uint8_t n_flat_rounds;
    uint64_t rate_per_s; /* smoothed over rounds; 0 before the first round ends */
    uint64_t round_at_us, round_len;
    uint64_t delay_us_min;     /* UINT64_MAX: none yet */
    uint64_t waiting_since_us; /* last block, or when the queue turned from empty */
    uint64_t empty_since_us;   /* when pending_len fell to 0 */
    uint64_t pending_len;      /* asked for and not yet here, dropped or rejected */
};

void pipeline_init(struct pipeline *p);
/* From the extension handshake (BEP 10); 0 is taken as 1. */
void pipeline_set_reqq(struct pipeline *p, uint32_t reqq);
/* UNCHOKE: begin again with slow start, keeping what is known of rate and delay as a floor. */
void pipeline_restart(struct pipeline *p);

void pipeline_on_request(struct pipeline *p, uint64_t now_us, uint32_t len);
/* A block asked for at sent_at_us is here. */
void pipeline_on_block(struct pipeline *p, uint64_t now_us, uint64_t sent_at_us, uint32_t len);
/* Rejected, cancelled or dropped by a choke. Late ones still count until they come. */
void pipeline_on_dropped(struct pipeline *p, uint64_t now_us, uint64_t len);

/* Blocks that should be under way now. len_max: the caller's share of memory; 0: no bound. */
uint32_t pipeline_target(const struct pipeline *p, uint64_t len_max);
/* A request older than this is late (picker_expire). */
uint64_t pipeline_timeout_us(const struct pipeline *p);
/* So long all that is under way may well take: end-game copies wait for it. 0: not known. */
uint64_t pipeline_patience_us(const struct pipeline *p);
/* So long one block takes, asked for when nothing else is under way. 0: not known. */
uint64_t pipeline_pace_us(const struct pipeline *p);
/* Notices silence: sets is_snubbed, true when it just did. Call each second or so. */
bool pipeline_on_tick(struct pipeline *p, uint64_t now_us);
uint64_t pipeline_snub_us(const struct pipeline *p); /* silence that makes a snub */
uint64_t pipeline_rate_per_s(const struct pipeline *p);
/* enum picker_speed: FAST when a whole piece takes under PIPELINE_WHOLE_US, SLOW when it takes
 * eight times as long or the rate is not known yet, else MEDIUM. */
uint8_t pipeline_speed(const struct pipeline *p, uint32_t piece_len);
