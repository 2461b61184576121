/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/map.h"

#include <assert.h>
#include <stdlib.h>

/* A table of this many lines (1024 words) is split rather than grown: some 30 us. */
#define MAP_LINES_MAX 128U
#define MAP_LINES_MIN 2U
#define MAP_BITS_MAX  32U /* the lower half of the hash is for lines and tags */

/* In front of the lines, and as large as one, so that these stay aligned. */
struct table {
    _Alignas(LINE_BYTES) uint32_t depth; /* leading hash bits that all its values share */
    uint32_t line_count;
    uint32_t live;
    uint32_t removed; /* MAP_REMOVED words */
    uint64_t lines[];
};

#define TABLE_HEAD LINE_BYTES

static uint64_t *table_lines(struct table *table)
{
    return (uint64_t *)(void *)((char *)table + TABLE_HEAD);
}

static size_t table_bytes(uint32_t line_count)
{
    return TABLE_HEAD + (size_t)line_count * LINE_BYTES;
}

static uint64_t table_word(struct table *table)
{
    uint64_t address = (uint64_t)(uintptr_t)table_lines(table);
    assert((address & ~MAP_POINTER) == 0);
    return address | (uint64_t)table->line_count << MAP_LINES_SHIFT;
}

static struct table *table_of(uint64_t word)
{
    if (word == 0)
        return NULL;
    return (struct table *)(void *)((char *)(uintptr_t)(word & MAP_POINTER) - TABLE_HEAD);
}

static struct table *table_create(struct map *map, uint32_t depth, uint32_t line_count)
{
    size_t        bytes = table_bytes(line_count);
    struct table *table = aligned_alloc(LINE_BYTES, bytes);
    if (table == NULL)
        return NULL;
    memset(table, 0, bytes);
    table->depth = depth;
    table->line_count = line_count;
    map->bytes += bytes;
    return table;
}

static void table_destroy(struct map *map, struct table *table)
{
    if (table == NULL)
        return;
    map->bytes -= table_bytes(table->line_count);
    free(table);
}

/* Three quarters. */
static uint32_t table_limit(uint32_t line_count)
{
    return line_count * LINE_WORDS / 4 * 3;
}

/* Room for `live` with some to spare before the next growth. */
static uint32_t lines_for(uint32_t live)
{
    uint32_t lines = (live * 8 / 5 + LINE_WORDS) / LINE_WORDS;
    return lines > MAP_LINES_MIN ? lines : MAP_LINES_MIN;
}

/* The caller has made sure that there is room. */
static void table_put(struct table *table, uint64_t hash, const void *value)
{
    uint64_t *lines = table_lines(table);
    uint32_t  line = map_line_of(hash, table->line_count);
    for (;;) {
        uint64_t *words = lines + (size_t)line * LINE_WORDS;
        uint32_t  room = line_free(words) | line_match(words, MAP_REMOVED, 0);
        if (room != 0) {
            uint64_t *place = &words[__builtin_ctz(room)];
            table->removed -= *place == MAP_REMOVED;
            table->live++;
            *place = (uint64_t)(uintptr_t)value | map_tag(hash) << MAP_LINES_SHIFT;
            return;
        }
        line = line + 1 == table->line_count ? 0 : line + 1;
    }
}

/* Points every directory word under the first `depth` bits of `hash` at `table` (or at nothing). */
static void directory_set(struct map *map, uint64_t hash, uint32_t depth, struct table *table)
{
    uint32_t below = map->bits - depth;
    size_t   first = depth > 0 ? (size_t)(hash >> (64 - depth)) << below : 0;
    uint64_t word = table != NULL ? table_word(table) : 0;
    for (size_t at = first; at < first + ((size_t)1 << below); at++)
        map->directory[at] = word;
}

static bool directory_double(struct map *map)
{
    size_t    words = (size_t)1 << map->bits;
    uint64_t *directory = malloc(2 * words * sizeof(*directory));
    if (directory == NULL)
        return false;
    for (size_t at = 0; at < words; at++) {
        directory[2 * at] = map->directory[at];
        directory[2 * at + 1] = map->directory[at];
    }
    free(map->directory);
    map->directory = directory;
    map->bits++;
    map->bytes += words * sizeof(*directory);
    return true;
}

static void *word_value(uint64_t word)
{
    return word > MAP_REMOVED ? (void *)(uintptr_t)(word & MAP_POINTER) : NULL;
}

/* Values lie anywhere: asking for all of them first makes the misses overlap. */
static void table_prefetch(struct table *table)
{
    uint64_t *lines = table_lines(table);
    for (size_t at = 0; at < (size_t)table->line_count * LINE_WORDS; at++)
        __builtin_prefetch(word_value(lines[at]));
}

static bool table_resize(struct map *map, struct table *table, uint64_t hash, uint32_t line_count)
{
    struct table *larger = table_create(map, table->depth, line_count);
    if (larger == NULL)
        return false;

    uint64_t *words = table_lines(table);
    table_prefetch(table);
    for (size_t at = 0; at < (size_t)table->line_count * LINE_WORDS; at++) {
        const void *value = word_value(words[at]);
        if (value != NULL)
            table_put(larger, map->type->hash_of(map->context, value), value);
    }
    directory_set(map, hash, table->depth, larger);
    table_destroy(map, table);
    return true;
}

/* Into two tables, by the first hash bit that its values do not share. */
static bool table_split(struct map *map, struct table *table, uint64_t hash)
{
    uint64_t bit = UINT64_C(1) << (63 - table->depth);
    uint32_t ones_count = 0;
    if (table->depth == map->bits && !directory_double(map))
        return false;

    uint64_t *words = table_lines(table);
    size_t    word_count = (size_t)table->line_count * LINE_WORDS;
    table_prefetch(table);
    for (size_t at = 0; at < word_count; at++) {
        const void *value = word_value(words[at]);
        ones_count += value != NULL && (map->type->hash_of(map->context, value) & bit) != 0;
    }

    /* A side that would be empty gets no table: a table always has a value. */
    uint32_t      zeros_count = table->live - ones_count;
    struct table *zeros = table_create(map, table->depth + 1, lines_for(zeros_count));
    struct table *ones = table_create(map, table->depth + 1, lines_for(ones_count));
    if (zeros == NULL || ones == NULL) {
        table_destroy(map, zeros);
        table_destroy(map, ones);
        return false;
    }
    for (size_t at = 0; at < word_count; at++) {
        const void *value = word_value(words[at]);
        if (value == NULL)
            continue;
        uint64_t value_hash = map->type->hash_of(map->context, value);
        table_put((value_hash & bit) != 0 ? ones : zeros, value_hash, value);
    }
    directory_set(map, hash & ~bit, table->depth + 1, zeros_count > 0 ? zeros : NULL);
    directory_set(map, hash | bit, table->depth + 1, ones_count > 0 ? ones : NULL);
    table_destroy(map, zeros_count > 0 ? NULL : zeros);
    table_destroy(map, ones_count > 0 ? NULL : ones);
    table_destroy(map, table);
    return true;
}

/* Not where the directory would outgrow the values, as hashes that agree in many bits make it. */
static bool table_may_split(const struct map *map, const struct table *table)
{
    return table->depth < MAP_BITS_MAX && map->count >> table->depth >= MAP_LINES_MAX;
}

static bool table_make_room(struct map *map, struct table *table, uint64_t hash)
{
    if (table->removed > table->live / 4)
        return table_resize(map, table, hash, table->line_count);
    if (table->line_count >= MAP_LINES_MAX && table_may_split(map, table))
        return table_split(map, table, hash);

    uint32_t line_count = table->line_count + (table->line_count + 3) / 4;
    return line_count <= UINT16_MAX && table_resize(map, table, hash, line_count);
}

static uint64_t *directory_word(const struct map *map, uint64_t hash)
{
    return &map->directory[map->bits > 0 ? hash >> (64 - map->bits) : 0];
}

/* The table that has room for one more of this hash; NULL: out of memory. */
static struct table *table_with_room(struct map *map, uint64_t hash)
{
    if (map->directory == NULL) {
        map->directory = calloc(1, sizeof(*map->directory));
        if (map->directory == NULL)
            return NULL;
        map->bits = 0;
        map->bytes += sizeof(*map->directory);
    }
    for (;;) {
        struct table *table = table_of(*directory_word(map, hash));
        if (table == NULL) {
            table = table_create(map, map->bits, MAP_LINES_MIN);
            if (table != NULL)
                directory_set(map, hash, map->bits, table);
            return table;
        }
        if (table->live + table->removed < table_limit(table->line_count))
            return table;
        if (!table_make_room(map, table, hash))
            return NULL;
    }
}

static void directory_free(struct map *map)
{
    if (map->directory == NULL)
        return;
    map->bytes -= sizeof(*map->directory) << map->bits;
    free(map->directory);
    map->directory = NULL;
    map->bits = 0;
}

void map_init(struct map *map, const struct map_type *type, const void *context)
{
    *map = (struct map){.type = type, .context = context};
}

void map_fini(struct map *map)
{
    size_t words = map->directory != NULL ? (size_t)1 << map->bits : 0;
    for (size_t at = 0; at < words;) {
        struct table *table = table_of(map->directory[at]);
        at += table != NULL ? (size_t)1 << (map->bits - table->depth) : 1;
        table_destroy(map, table);
    }
    directory_free(map);
    assert(map->bytes == 0);
    map->count = 0;
}

void *map_find(const struct map *map, uint64_t hash, struct slice key)
{
    struct map_probe probe = map_probe_of(map, hash);
    void            *value;
    while ((value = map_probe_next(&probe)) != NULL) {
        if (slice_equal(map->type->key_of(value), key))
            return value;
    }
    return NULL;
}

bool map_insert(struct map *map, uint64_t hash, void *value)
{
    assert(((uintptr_t)value & (1 | ~MAP_POINTER)) == 0 && value != NULL);
    struct table *table = table_with_room(map, hash);
    if (table == NULL) {
        if (map->count == 0)
            directory_free(map);
        return false;
    }
    table_put(table, hash, value);
    map->count++;
    return true;
}

static void table_drop(struct map *map, struct table *table, uint64_t hash)
{
    directory_set(map, hash, table->depth, NULL);
    table_destroy(map, table);
    if (map->count == 0)
        directory_free(map);
}

void map_remove(struct map *map, uint64_t hash, const void *value)
{
    struct map_probe probe = map_probe_of(map, hash);
    const void      *found;
    do {
        found = map_probe_next(&probe);
        assert(found != NULL);
    } while (found != value);

    struct table *table = table_of(*directory_word(map, hash));
    uint64_t      wanted = (uint64_t)(uintptr_t)value | map_tag(hash) << MAP_LINES_SHIFT;
    size_t        at = (size_t)(probe.hit_line - table_lines(table));
    uint64_t     *words = table_lines(table) + at;
    uint32_t      word = (uint32_t)__builtin_ctz(line_match(words, wanted, 0));

    bool full = line_free(words) == 0;
    words[word] = full ? MAP_REMOVED : 0;
    table->removed += full;
    table->live--;
    map->count--;
    if (table->live == 0)
        table_drop(map, table, hash);
}

/* The cursor: below, a position in a table; above, the hash prefix of the table. */
#define CURSOR_WORD_BITS 20

void *map_walk(const struct map *map, uint64_t *cursor)
{
    uint64_t at = *cursor & ((UINT64_C(1) << CURSOR_WORD_BITS) - 1);
    uint64_t prefix = *cursor - at;
    while (map->directory != NULL && prefix != UINT64_MAX << CURSOR_WORD_BITS) {
        struct table *table = table_of(*directory_word(map, prefix));
        uint32_t      depth = table != NULL ? table->depth : map->bits;
        uint64_t      words = table != NULL ? (uint64_t)table->line_count * LINE_WORDS : 0;
        for (; at < words; at++) {
            void *value = word_value(table_lines(table)[at]);
            if (value != NULL) {
                *cursor = prefix | (at + 1);
                return value;
            }
        }
        at = 0;
        uint64_t span = depth > 0 ? UINT64_C(1) << (64 - depth) : 0;
        prefix = depth > 0 ? (prefix & ~(span - 1)) + span : 0;
        if (prefix == 0) /* past the last one */
            prefix = UINT64_MAX << CURSOR_WORD_BITS;
    }
    *cursor = UINT64_MAX << CURSOR_WORD_BITS;
    return NULL;
}
