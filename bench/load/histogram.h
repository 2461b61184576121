/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Latencies in logarithmic buckets with 64 linear steps each: a percentile read from it is at most
 * 1.6 % above the truth, from a nanosecond to hours. Adding is two shifts and an increment, so it
 * stays on while millions of messages a second are counted. Histograms of one shape add up.
 */

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6U
#define HISTOGRAM_BUCKETS   ((64U - HISTOGRAM_STEP_BITS + 1U) << HISTOGRAM_STEP_BITS)

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value < (1U << HISTOGRAM_STEP_BITS))
        return (uint32_t)value;
    uint32_t shift = 63U - (uint32_t)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return ((shift + 1U) << HISTOGRAM_STEP_BITS) + (uint32_t)(value >> shift) -
           (1U << HISTOGRAM_STEP_BITS);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[histogram_bucket(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The upper edge of the bucket that holds the `share` (0 to 1) quantile; 0 when nothing was added.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double share);
