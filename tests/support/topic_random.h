/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Random topics and filters that hit each other often, from a seed. */

#include "core/broker/topic_hash.h"
#include "proto/bytes.h"

struct random {
    uint64_t state; /* not 0 */
};

static inline uint64_t random_next(struct random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint32_t random_below(struct random *random, uint32_t bound)
{
    return (uint32_t)(random_next(random) >> 32) % bound;
}

static inline void random_secret(struct topic_secret *secret, uint64_t seed)
{
    uint64_t entropy[4] = {seed, seed ^ 0x1234, ~seed, seed * 77};
    topic_secret_init(secret, (const uint8_t *)entropy, sizeof(entropy));
}

#define RANDOM_TOPIC_SIZE 1024U

struct topic_style {
    uint32_t levels_max;
    uint32_t names; /* how many distinct names; the first is empty, the second begins with `$` */
    uint32_t plus_percent;  /* filters only */
    uint32_t multi_percent; /* filters only */
};

static inline size_t random_name(struct random *random, const struct topic_style *style, char *text)
{
    uint32_t name = random_below(random, style->names);
    if (name == 0)
        return 0;
    if (name == 1) {
        memcpy(text, "$s", 2);
        return 2;
    }
    size_t size = 0;
    for (uint32_t rest = name; rest > 0; rest /= 26)
        text[size++] = (char)('a' + rest % 26);
    return size;
}

/* A valid topic name, or filter, of at most RANDOM_TOPIC_SIZE bytes in `text`. */
static inline struct slice random_levels(struct random *random, const struct topic_style *style,
                                         bool filter, char *text)
{
    size_t size = 0;
    while (size == 0) {
        uint32_t levels = 1 + random_below(random, style->levels_max);
        for (uint32_t level = 0; level < levels; level++) {
            if (level > 0)
                text[size++] = '/';
            bool last = level + 1 == levels;
            if (filter && last && random_below(random, 100) < style->multi_percent)
                text[size++] = '#';
            else if (filter && random_below(random, 100) < style->plus_percent)
                text[size++] = '+';
            else
                size += random_name(random, style, text + size);
        }
    }
    return slice_of(text, size);
}
