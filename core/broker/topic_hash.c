/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/topic_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>

static uint64_t spread_next(const uint8_t *entropy, size_t size, uint64_t *counter)
{
    return XXH3_64bits_withSeed(entropy, size, (*counter)++);
}

void topic_secret_init(struct topic_secret *secret, const uint8_t *entropy, size_t size)
{
    uint64_t counter = 1;
    assert(size >= 32);
    for (size_t at = 0; at < sizeof(secret->xxh3); at += sizeof(uint64_t)) {
        uint64_t word = spread_next(entropy, size, &counter);
        memcpy(secret->xxh3 + at, &word, sizeof(word));
    }
    for (uint32_t level = 0; level < TOPIC_LEVELS_HASHED; level++) {
        secret->position_add[level] = spread_next(entropy, size, &counter);
        secret->position_multiply[level] = spread_next(entropy, size, &counter) | 1;
    }
    secret->shape_salt = spread_next(entropy, size, &counter);
    secret->shape_multiply = spread_next(entropy, size, &counter) | 1;
}

uint64_t name_hash(const struct topic_secret *secret, struct slice name)
{
    return XXH3_64bits_withSecret(name.data, name.size, secret->xxh3, sizeof(secret->xxh3));
}

uint64_t level_hash(const struct topic_secret *secret, struct slice name)
{
    return name_hash(secret, name);
}

static void add_level(const struct topic_secret *secret, const uint8_t *from, const uint8_t *to,
                      struct topic_hashes *hashes)
{
    uint32_t level = hashes->levels++;
    if (level >= TOPIC_LEVELS_HASHED)
        return;
    uint64_t hash =
        XXH3_64bits_withSecret(from, (size_t)(to - from), secret->xxh3, sizeof(secret->xxh3));
    uint64_t folded = fold(hash, secret->position_add[level], secret->position_multiply[level]);
    hashes->folded[level] = folded;
    hashes->bucket[level] = (uint8_t)(folded >> 56);
}

/* The high bit of each byte of `word` that is a slash; exact, no carry from byte to byte. */
static uint64_t slashes(uint64_t word)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t       difference = word ^ UINT64_C(0x2f2f2f2f2f2f2f2f);
    return ~(((difference & low) + low) | difference | low);
}

/* The bytes from `at` on, at most eight, zeros after the end. */
static uint64_t load_word(const uint8_t *at, const uint8_t *end, size_t size)
{
    uint64_t word = 0;
    size_t   left = (size_t)(end - at);
    if (left >= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
    } else if (size >= sizeof(word)) { /* what lies before is shifted out */
        memcpy(&word, end - sizeof(word), sizeof(word));
        word >>= 8 * (sizeof(word) - left);
    } else {
        memcpy(&word, at, left);
    }
    return word;
}

void topic_hashes_compute(const struct topic_secret *secret, struct slice topic,
                          struct topic_hashes *hashes)
{
    const uint8_t *level = topic.data;
    const uint8_t *end = topic.data + topic.size;

    hashes->levels = 0;
    hashes->dollar = topic.size > 0 && topic.data[0] == '$';
    for (const uint8_t *at = topic.data; at < end; at += sizeof(uint64_t)) {
        for (uint64_t found = slashes(load_word(at, end, topic.size)); found != 0;
             found &= found - 1) {
            const uint8_t *slash = at + __builtin_ctzll(found) / 8;
            add_level(secret, level, slash, hashes);
            level = slash + 1;
        }
    }
    add_level(secret, level, end, hashes);
}
