/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Hash map of things that carry their own key. It keeps 8 bytes a value, 16 bits of the hash and 48
 * of the pointer, in cache lines of eight; about 12 bytes a value in all. Single-threaded.
 *
 *   directory (top bits of the hash) --> small table of lines --> value --> key
 *
 * A small table grows by a quarter, and past MAP_LINES_MAX splits in two, the directory doubling
 * where needed (extendible hashing): so no insertion ever moves more than a few hundred values,
 * whatever the size of the map. A line without a free word sends the probe on to the next;
 * therefore a value removed from a full line leaves a word behind that is not free (MAP_REMOVED).
 */

#include "core/base/word_line.h"
#include "proto/bytes.h"

#define MAP_REMOVED     UINT64_C(1)
#define MAP_POINTER     UINT64_C(0x0000ffffffffffff)
#define MAP_LINES_SHIFT 48 /* a directory word: the lines' address, above it their number */

struct map_type {
    struct slice (*key_of)(const void *value); /* NULL when only probes are used */
    /* The hash the value was inserted with: stored, or computed again (when a table grows). */
    uint64_t (*hash_of)(const void *context, const void *value);
};

struct map {
    uint64_t              *directory; /* NULL while empty */
    uint32_t               bits;      /* the directory has 1 << bits words */
    uint32_t               unused;
    uint64_t               count;
    size_t                 bytes;
    const struct map_type *type;
    const void            *context; /* handed to hash_of */
};

void map_init(struct map *map, const struct map_type *type, const void *context);
void map_fini(struct map *map); /* the values are left alone */

/* The value with this key, or NULL. */
void *map_find(const struct map *map, uint64_t hash, struct slice key);

/* `value` is at least 2-byte aligned and its key not in the map yet. False: out of memory. */
bool map_insert(struct map *map, uint64_t hash, void *value);

/* Takes out this very value, which must be there. The last one frees all memory. */
void map_remove(struct map *map, uint64_t hash, const void *value);

/*
 * Walks all values in no order; `*cursor` starts at 0; NULL at the end. Removing the value just
 * given is allowed. After insertions a walk may give a value twice or leave one out.
 */
void *map_walk(const struct map *map, uint64_t *cursor);

static inline uint64_t map_count(const struct map *map)
{
    return map->count;
}

static inline size_t map_bytes(const struct map *map)
{
    return map->bytes;
}

/*
 * Probing in steps, for callers that compare by themselves or prefetch: every value whose hash may
 * be `hash` is a candidate.
 *
 *     struct map_probe probe = map_probe_of(map, hash);
 *     while ((value = map_probe_next(&probe)) != NULL)
 *         ...
 */
struct map_probe {
    const uint64_t *lines;
    const uint64_t *hit_line; /* what `hits` is about */
    uint32_t        line;
    uint32_t        line_count; /* 0: nothing there */
    uint32_t        lines_left;
    uint32_t        hits; /* candidates not given out yet */
    uint64_t        tag;
};

/* Never 0, so that neither free words nor removed ones look like a value. */
static inline uint64_t map_tag(uint64_t hash)
{
    uint64_t tag = hash & 0xffff;
    return tag != 0 ? tag : 1;
}

/* From bits that neither the directory nor the tag uses (its top 8 at most matter). */
static inline uint32_t map_line_of(uint64_t hash, uint32_t line_count)
{
    return (uint32_t)((hash & UINT32_MAX) * line_count >> 32);
}

static inline struct map_probe map_probe_of(const struct map *map, uint64_t hash)
{
    struct map_probe probe = {.tag = map_tag(hash)};
    if (map->directory == NULL)
        return probe;

    uint64_t word = map->directory[map->bits > 0 ? hash >> (64 - map->bits) : 0];
    probe.lines = (const uint64_t *)(uintptr_t)(word & MAP_POINTER);
    probe.line_count = (uint32_t)(word >> MAP_LINES_SHIFT);
    probe.line = map_line_of(hash, probe.line_count);
    probe.lines_left = probe.line_count;
    return probe;
}

/* Where the next comparison will look, for prefetching; or NULL. */
static inline const uint64_t *map_probe_line(const struct map_probe *probe)
{
    return probe->lines_left > 0 ? probe->lines + (size_t)probe->line * LINE_WORDS : NULL;
}

static inline void *map_probe_next(struct map_probe *probe)
{
    while (probe->hits == 0) {
        if (probe->lines_left == 0)
            return NULL;
        probe->hit_line = map_probe_line(probe);
        probe->hits = line_match(probe->hit_line, probe->tag, MAP_LINES_SHIFT);
        probe->lines_left = line_free(probe->hit_line) != 0 ? 0 : probe->lines_left - 1;
        probe->line = probe->line + 1 == probe->line_count ? 0 : probe->line + 1;
    }
    uint32_t word = (uint32_t)__builtin_ctz(probe->hits);
    probe->hits &= probe->hits - 1;
    return (void *)(uintptr_t)(probe->hit_line[word] & MAP_POINTER);
}
