/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The interest table: which shards have a subscriber for a filter? One a process, shared. A segment
 * a home shard: written by that shard only, read by all with plain atomic loads; no lock, nothing
 * to reclaim but whole arrays. It may be wrong only towards too much.
 *
 *   subscriber's shard --announce (0 -> 1)--> home of the filter: interest_add, then answers
 *   publisher's shard  --interest_match-->    set of shards, by loads alone
 *
 *   segment --> directory (top bits of the spread key) --> small table of lines of eight words
 *
 * A word is 48 bits of the key and 16 bits that say who: one bit a shard where there are up to 16
 * shards; else a shard's number and one, a word for each shard. A word that says nobody stays until
 * another key needs it, because a line without a free word sends the probe on to the next: so no
 * change ever hides a key that is there. A table that grows or splits is copied and then replaced
 * in the directory; the old one is garbage, for readers may still be in it.
 *
 * Two filters may have the same 48 bits. On different shards that is harmless: the shape and the
 * pruning buckets are counted for each pair of key and shard. On one shard, the local index puts
 * the second into its trie, and it is announced as overflow, under its 64 bits: so that taking one
 * away never takes the other.
 */

#include "core/broker/topic_hash.h"
#include "proto/bytes.h"

/* A set of shards, wider than 64 where needed. */
#define SHARDS_MAX 256U
struct shard_set {
    uint64_t words[SHARDS_MAX / 64];
};

static inline void shard_set_add(struct shard_set *set, uint16_t shard)
{
    set->words[shard / 64] |= UINT64_C(1) << (shard % 64);
}

static inline bool shard_set_has(const struct shard_set *set, uint16_t shard)
{
    return (set->words[shard / 64] >> (shard % 64) & 1) != 0;
}

static inline void shard_set_remove(struct shard_set *set, uint16_t shard)
{
    set->words[shard / 64] &= ~(UINT64_C(1) << (shard % 64));
}

static inline bool shard_set_empty(const struct shard_set *set)
{
    uint64_t any = 0;
    for (uint32_t word = 0; word < SHARDS_MAX / 64; word++)
        any |= set->words[word];
    return any == 0;
}

struct interest_table;

struct interest_table *interest_create(const struct topic_secret *secret, uint16_t shard_count);
void                   interest_destroy(struct interest_table *table);

/*
 * What a filter is to this table: enough to add or remove it with no string at hand; travels in a
 * parcel.
 */
struct interest_key {
    uint64_t key;
    uint16_t home;     /* the segment's shard */
    bool     overflow; /* not in the table: the whole shard counts as interested */
    uint8_t  levels;
    uint8_t  hash_level;                  /* position of `#`, 255 none */
    uint32_t plus_mask;                   /* levels that are `+` */
    uint8_t  bucket[TOPIC_LEVELS_HASHED]; /* for pruning */
};

/*
 * `overflow` comes out true for filters that are too deep. The caller must set it, too, where the
 * filter's node of its own index says filter_node_overflow: then each of its filters has a key of
 * its own here, and is announced when its node is made and withdrawn when its node goes.
 */
void interest_key_of(const struct interest_table *table, struct slice filter,
                     struct interest_key *key);

/*
 * On the home shard only. Idempotent per (key, shard): add twice, remove once -> gone. False: out
 * of memory; nothing changed.
 */
bool interest_add(struct interest_table *table, const struct interest_key *key, uint16_t shard);
void interest_remove(struct interest_table *table, const struct interest_key *key, uint16_t shard);

/* On any shard: every shard that may have a matching subscriber. Adds to `*set`. */
void interest_match(const struct interest_table *table, const struct topic_hashes *hashes,
                    struct shard_set *set);
void interest_match_batch(const struct interest_table *table, uint32_t topic_count,
                          const struct topic_hashes *hashes, struct shard_set *sets);

/*
 * Arrays of `home`'s segment that readers may still be in. After taking them, the home asks every
 * shard (by parcel) whether it has passed a turn, then frees them.
 */
struct interest_garbage;
struct interest_garbage *interest_take_garbage(struct interest_table *table, uint16_t home);
void                     interest_free_garbage(struct interest_garbage *garbage);

/* Words in use and overflow filters: with more than 16 shards a filter counts once a shard. */
/*
 * Another number once a change is visible to all. Who reads it, then matches, and later finds it
 * the same, has missed nothing that was announced before he looked.
 */
uint64_t interest_version_of(const struct interest_table *table);

uint64_t interest_filters(const struct interest_table *table);
size_t   interest_bytes(const struct interest_table *table);
