/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The only source of chance in a simulation: one seed, one sequence (xorshift128+). */

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t a;
    uint64_t b;
};

static inline uint64_t random_mix(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static inline struct random random_of(uint64_t seed)
{
    struct random random;
    random.a = random_mix(&seed) | 1;
    random.b = random_mix(&seed);
    return random;
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t x = random->a;
    uint64_t y = random->b;
    random->a = y;
    x ^= x << 23;
    random->b = x ^ y ^ x >> 17 ^ y >> 26;
    return random->b + y;
}

/* 0 to bound - 1; 0 for a bound of 0. */
static inline uint32_t random_below(struct random *random, uint32_t bound)
{
    uint64_t number = random_next(random) >> 16;
    return bound == 0 ? 0 : (uint32_t)(number % bound);
}

static inline uint32_t random_between(struct random *random, uint32_t low, uint32_t high)
{
    return low + random_below(random, high - low + 1);
}

/* True once in `rarity` times. */
static inline bool random_once_in(struct random *random, uint32_t rarity)
{
    return random_below(random, rarity) == 0;
}
