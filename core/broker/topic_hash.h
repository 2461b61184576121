/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Keys of topics and filters, and homes. One random secret, made once for all shards; levels are
 * hashed with XXH3 under the secret and folded with a multiplication per position, so that
 * collisions cannot be crafted (plain XOR of XXH3 values can be).
 */

#include "proto/bytes.h"

#define TOPIC_LEVELS_HASHED 32U /* deeper topics are matched by the overflow trie alone */

struct topic_secret {
    uint8_t  xxh3[192];
    uint64_t position_add[TOPIC_LEVELS_HASHED];
    uint64_t position_multiply[TOPIC_LEVELS_HASHED];
    uint64_t shape_salt;
    uint64_t shape_multiply;
};

/* Spreads `entropy` (at least 32 bytes of a random source, or a test's seed) over the secret. */
void topic_secret_init(struct topic_secret *secret, const uint8_t *entropy, size_t size);

/* What one topic needs for every probe; computed once a publish, used by both tables. */
struct topic_hashes {
    uint32_t levels; /* all of them; the arrays hold the first TOPIC_LEVELS_HASHED */
    bool     dollar; /* begins with '$' */
    uint64_t folded[TOPIC_LEVELS_HASHED]; /* fold of level i at position i */
    uint8_t  bucket[TOPIC_LEVELS_HASHED]; /* for tuple pruning */
};

void topic_hashes_compute(const struct topic_secret *secret, struct slice topic,
                          struct topic_hashes *hashes);

__extension__ typedef unsigned __int128 wide_product;

/* The high half of the product on the low half: not linear in either factor. */
static inline uint64_t fold(uint64_t value, uint64_t add, uint64_t multiply)
{
    wide_product product = (wide_product)(value ^ add) * multiply;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Hash of one level's name. */
uint64_t level_hash(const struct topic_secret *secret, struct slice name);

/* Hash of a whole string (client id, topic, filter), and its home among `shard_count` shards. */
uint64_t name_hash(const struct topic_secret *secret, struct slice name);

static inline uint16_t home_of(uint64_t hash, uint16_t shard_count)
{
    return (uint16_t)(__extension__((unsigned __int128)hash * shard_count) >> 64);
}
