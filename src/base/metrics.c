#include "base/metrics.h"

static unsigned bucket_of(uint64_t value)
{
    return value ? 63u - (unsigned)__builtin_clzll(value) : 0;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->n++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    if (h->n == 0)
        return 0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < 64; i++) {
        seen += h->buckets[i];
        if (h->buckets[i] && (double)seen >= q * (double)h->n) {
            uint64_t bound = i == 63 ? UINT64_MAX : (UINT64_C(2) << i) - 1;
            return bound < h->max ? bound : h->max;
        }
    }
    return h->max;
}
