/* metrics: counters and histograms that tests, RPC and the command line can read by name.
 *
 * A module declares its counters as an enum and a table of names; every refusal has one.
 *
 * Ownership  plain arrays embedded in the owner
 * Threads    one owner; readers elsewhere take a copy through the owner
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct metrics_desc {
    const char *name; /* "request_out_of_range": as in the log event, '_' for ' ' */
    const char *help; /* one clause */
};

/* Power-of-two buckets: bucket i counts values v with floor(log2(v)) == i; 0 goes to bucket 0. */
struct histogram {
    uint64_t buckets[64];
    uint64_t n, sum, max;
};

void histogram_add(struct histogram *h, uint64_t value);
/* Upper bound of the bucket in which the q-quantile (0..1) lies; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
