/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What the micro benchmarks share: clocks and seeded numbers. */

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Time this thread has run: what others take from it does not count. Slower to ask for. */
static inline uint64_t ran_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* What two calls of ran_ns have between them when nothing is. */
static inline uint64_t ran_ns_overhead(void)
{
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < 1000; round++) {
        uint64_t begin = ran_ns();
        uint64_t ns = ran_ns() - begin;
        if (ns < least)
            least = ns;
    }
    return least;
}

/* The n-th number of the sequence `seed`: can be asked for in any order. */
static inline uint64_t number_at(uint64_t seed, uint64_t n)
{
    uint64_t mixed = (seed * 1000003 + n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static inline uint32_t number_below(uint64_t seed, uint64_t n, uint32_t bound)
{
    return (uint32_t)((number_at(seed, n) >> 32) * bound >> 32);
}
