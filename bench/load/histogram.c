/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/histogram.h"

static uint64_t bucket_upper_edge(uint32_t bucket)
{
    uint32_t steps = 1U << HISTOGRAM_STEP_BITS;
    if (bucket < steps)
        return bucket;
    uint32_t shift = (bucket >> HISTOGRAM_STEP_BITS) - 1U;
    uint64_t step = (bucket & (steps - 1U)) + steps;
    return ((step + 1U) << shift) - 1U;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;

    uint64_t rank = (uint64_t)(share * (double)(histogram->count - 1));
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > rank) {
            uint64_t edge = bucket_upper_edge(bucket);
            return edge < histogram->max ? edge : histogram->max;
        }
    }
    return histogram->max;
}
