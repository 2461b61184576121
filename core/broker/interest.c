/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/interest.h"

#include "core/base/map.h"
#include "core/broker/shapes.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TABLE_LINES_MAX    256U /* 2048 words; a larger table is split, in some 20 us */
#define TABLE_LINES_MIN    2U
#define DIRECTORY_BITS_MAX 32U /* the lower half of the spread key is for lines */
#define WORD_WHO           UINT64_C(0xffff)
#define NARROW_SHARDS      16U
#define NO_HASH_LEVEL      255U
#define PROBES_MAX         64U

/* What readers load is an address and, in the 16 bits above it, a number. */
#define PACKED_SHIFT   48
#define PACKED_ADDRESS UINT64_C(0x0000ffffffffffff)

/*
 * Before the words of a table or directory, a line that readers never touch: so that retiring needs
 * no memory.
 */
struct interest_garbage {
    _Alignas(LINE_BYTES) struct interest_garbage *next;
    uint64_t bytes;
    uint32_t depth; /* a table: leading bits that all its keys share */
    uint32_t live;  /* a table: words that say somebody */
    uint32_t used;  /* a table: words that are not free */
    uint32_t line_count;
};
_Static_assert(sizeof(struct interest_garbage) == LINE_BYTES, "words begin on a line");

struct overflow_entry {
    uint64_t         key;
    struct shard_set shards;
};

struct segment {
    _Alignas(LINE_BYTES) _Atomic uint64_t directory; /* packed with its bits; 0: empty */
    /* Below: the home's own, but for the two counts that anybody may look at. */
    _Alignas(LINE_BYTES) atomic_size_t bytes;
    _Atomic uint64_t         filters;
    struct interest_garbage *garbage;
    struct shape_writer      shapes;
    struct map               overflow;
};

struct interest_table {
    struct topic_secret secret;
    struct shape_board *board;
    uint16_t            shard_count;
    bool                wide; /* a word for each shard */
    atomic_uint         overflow_total;
    atomic_ullong       version;
    atomic_uint         overflow_counts[SHARDS_MAX];
    struct segment      segments[];
};

static uint64_t overflow_hash(const void *context, const void *value)
{
    (void)context;
    return key_spread(((const struct overflow_entry *)value)->key);
}

static const struct map_type overflow_type = {.hash_of = overflow_hash};

struct interest_table *interest_create(const struct topic_secret *secret, uint16_t shard_count)
{
    assert(shard_count > 0 && shard_count <= SHARDS_MAX);
    struct interest_table *table;
    size_t                 bytes = sizeof(*table) + shard_count * sizeof(struct segment);
    table = aligned_alloc(LINE_BYTES, bytes);
    if (table == NULL)
        return NULL;
    memset(table, 0, bytes);
    table->board = shape_board_create();
    if (table->board == NULL) {
        free(table);
        return NULL;
    }
    table->secret = *secret;
    table->shard_count = shard_count;
    table->wide = shard_count > NARROW_SHARDS;
    for (uint16_t home = 0; home < shard_count; home++) {
        map_init(&table->segments[home].overflow, &overflow_type, NULL);
        shape_writer_init(&table->segments[home].shapes, table->board);
    }
    return table;
}

static void *packed_address(uint64_t packed)
{
    return (void *)(uintptr_t)(packed & PACKED_ADDRESS);
}

static uint32_t packed_number(uint64_t packed)
{
    return (uint32_t)(packed >> PACKED_SHIFT);
}

static uint64_t pack(const void *address, uint32_t number)
{
    assert(((uintptr_t)address & ~PACKED_ADDRESS) == 0 && number <= UINT16_MAX);
    return (uint64_t)(uintptr_t)address | (uint64_t)number << PACKED_SHIFT;
}

static _Atomic uint64_t *words_of(struct interest_garbage *head)
{
    return (_Atomic uint64_t *)(void *)((char *)head + LINE_BYTES);
}

static struct interest_garbage *head_of(uint64_t packed)
{
    if (packed == 0)
        return NULL;
    return (struct interest_garbage *)(void *)((char *)packed_address(packed) - LINE_BYTES);
}

static struct interest_garbage *block_create(struct segment *segment, size_t words)
{
    size_t bytes = LINE_BYTES + (words * 8 + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    struct interest_garbage *head = aligned_alloc(LINE_BYTES, bytes);
    if (head == NULL)
        return NULL;
    memset(head, 0, bytes);
    head->bytes = bytes;
    atomic_fetch_add_explicit(&segment->bytes, bytes, memory_order_relaxed);
    return head;
}

/* Never published: nobody else has seen it. */
static void block_destroy(struct segment *segment, struct interest_garbage *head)
{
    if (head == NULL)
        return;
    atomic_fetch_sub_explicit(&segment->bytes, head->bytes, memory_order_relaxed);
    free(head);
}

/* Readers may still be in it. */
static void block_retire(struct segment *segment, struct interest_garbage *head)
{
    atomic_fetch_sub_explicit(&segment->bytes, head->bytes, memory_order_relaxed);
    head->next = segment->garbage;
    segment->garbage = head;
}

struct interest_garbage *interest_take_garbage(struct interest_table *table, uint16_t home)
{
    struct interest_garbage *garbage = table->segments[home].garbage;
    table->segments[home].garbage = NULL;
    return garbage;
}

void interest_free_garbage(struct interest_garbage *garbage)
{
    while (garbage != NULL) {
        struct interest_garbage *next = garbage->next;
        free(garbage);
        garbage = next;
    }
}

/* The words of a directory, as its writer sees them. */
struct directory {
    _Atomic uint64_t *words;
    uint32_t          bits;
};

static struct directory directory_of(const struct segment *segment)
{
    uint64_t packed = atomic_load_explicit(&segment->directory, memory_order_relaxed);
    return (struct directory){.words = packed_address(packed), .bits = packed_number(packed)};
}

static uint64_t directory_at(uint64_t spread, uint32_t bits)
{
    return bits > 0 ? spread >> (64 - bits) : 0;
}

static uint32_t line_of(uint64_t spread, uint32_t line_count)
{
    return (uint32_t)((spread & UINT32_MAX) * line_count >> 32);
}

static void segment_fini(struct segment *segment)
{
    struct directory directory = directory_of(segment);
    for (size_t at = 0; directory.words != NULL && at < (size_t)1 << directory.bits;) {
        struct interest_garbage *table = head_of(atomic_load(&directory.words[at]));
        at += table != NULL ? (size_t)1 << (directory.bits - table->depth) : 1;
        free(table);
    }
    free(head_of(atomic_load(&segment->directory)));
    interest_free_garbage(segment->garbage);

    struct overflow_entry *entry;
    uint64_t               cursor = 0;
    while ((entry = map_walk(&segment->overflow, &cursor)) != NULL)
        free(entry);
    map_fini(&segment->overflow);
    shape_writer_fini(&segment->shapes);
}

void interest_destroy(struct interest_table *table)
{
    if (table == NULL)
        return;
    for (uint16_t home = 0; home < table->shard_count; home++)
        segment_fini(&table->segments[home]);
    shape_board_destroy(table->board);
    free(table);
}

void interest_key_of(const struct interest_table *table, struct slice filter,
                     struct interest_key *key)
{
    struct filter_hashes hashes;
    filter_hashes_compute(&table->secret, filter, &hashes);
    *key = (struct interest_key){.hash_level = NO_HASH_LEVEL, .overflow = hashes.deep};
    if (hashes.deep) {
        key->key = fold(name_hash(&table->secret, filter), table->secret.shape_salt,
                        table->secret.shape_multiply);
    } else {
        uint32_t length = shape_length(hashes.shape);
        uint64_t all = (UINT64_C(1) << length) - 1;
        key->key = hashes.key;
        key->levels = (uint8_t)(length + shape_multi(hashes.shape));
        if (shape_multi(hashes.shape))
            key->hash_level = (uint8_t)length;
        key->plus_mask = (uint32_t)all & ~shape_names(hashes.shape);
        memcpy(key->bucket, hashes.bucket, sizeof(key->bucket));
    }
    key->home = home_of(key->key & KEY_BITS, table->shard_count);
}

static uint64_t shape_of_key(const struct interest_key *key)
{
    bool     multi = key->hash_level != NO_HASH_LEVEL;
    uint32_t length = multi ? key->hash_level : key->levels;
    uint64_t all = (UINT64_C(1) << length) - 1;
    return shape_of((uint32_t)all & ~key->plus_mask, length, multi);
}

/* The words of one table, as its writer walks them. */
struct word_probe {
    _Atomic uint64_t *line;
    _Atomic uint64_t *lines;
    uint32_t          at;
    uint32_t          line_count;
    uint32_t          left;
};

static struct word_probe word_probe_of(struct interest_garbage *table, uint64_t spread)
{
    return (struct word_probe){.lines = words_of(table),
                               .line_count = table->line_count,
                               .left = table->line_count,
                               .at = line_of(spread, table->line_count)};
}

static bool word_probe_next(struct word_probe *probe)
{
    if (probe->left == 0)
        return false;
    probe->left--;
    probe->line = probe->lines + (size_t)probe->at * LINE_WORDS;
    probe->at = probe->at + 1 == probe->line_count ? 0 : probe->at + 1;
    return true;
}

/* Line comparisons are for plain words: the qualifier is all that is taken away. */
static const uint64_t *plain(const _Atomic uint64_t *line)
{
    return (const uint64_t *)(const void *)line;
}

/* The word that says, or in the narrow form could say, that the shard is interested; or NULL. */
static _Atomic uint64_t *word_find(const struct interest_table *table,
                                   struct interest_garbage *words, uint64_t key, uint16_t shard)
{
    struct word_probe probe = word_probe_of(words, key_spread(key));
    while (word_probe_next(&probe)) {
        uint32_t hits = line_match(plain(probe.line), key >> KEY_SHIFT, KEY_SHIFT);
        for (; hits != 0; hits &= hits - 1) {
            _Atomic uint64_t *word = &probe.line[__builtin_ctz(hits)];
            uint64_t          who = atomic_load_explicit(word, memory_order_relaxed) & WORD_WHO;
            if (!table->wide || who == (uint64_t)shard + 1)
                return word;
        }
        if (line_free(plain(probe.line)) != 0)
            break;
    }
    return NULL;
}

/* The first word on the way that says nobody. The caller has made sure that there is one. */
static _Atomic uint64_t *word_room(struct interest_garbage *table, uint64_t spread)
{
    struct word_probe probe = word_probe_of(table, spread);
    while (word_probe_next(&probe)) {
        for (uint32_t at = 0; at < LINE_WORDS; at++) {
            if ((atomic_load_explicit(&probe.line[at], memory_order_relaxed) & WORD_WHO) == 0)
                return &probe.line[at];
        }
    }
    assert(false);
    return NULL;
}

static void word_put(struct interest_garbage *table, uint64_t value)
{
    _Atomic uint64_t *word = word_room(table, key_spread(value));
    table->used += atomic_load_explicit(word, memory_order_relaxed) == 0;
    table->live++;
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static struct interest_garbage *table_create(struct segment *segment, uint32_t depth,
                                             uint32_t line_count)
{
    struct interest_garbage *table = block_create(segment, (size_t)line_count * LINE_WORDS);
    if (table != NULL) {
        table->depth = depth;
        table->line_count = line_count;
    }
    return table;
}

static uint32_t table_limit(uint32_t line_count)
{
    return line_count * LINE_WORDS / 4 * 3;
}

/* Publishes the table under the first `depth` bits of `spread`; pairs with the acquire in probe_of.
 */
static void directory_set(struct directory directory, uint64_t spread, uint32_t depth,
                          struct interest_garbage *table)
{
    size_t   span = (size_t)1 << (directory.bits - depth);
    size_t   first = directory_at(spread, depth) * span;
    uint64_t packed = pack(words_of(table), table->line_count);
    for (size_t at = first; at < first + span; at++)
        atomic_store_explicit(&directory.words[at], packed, memory_order_release);
}

/* Publishes; pairs with the acquire in probe_of. */
static void segment_publish(struct segment *segment, struct interest_garbage *directory,
                            uint32_t bits)
{
    uint64_t packed = pack(words_of(directory), bits);
    atomic_store_explicit(&segment->directory, packed, memory_order_release);
}

static bool directory_double(struct segment *segment)
{
    struct directory         old = directory_of(segment);
    size_t                   words = (size_t)1 << old.bits;
    struct interest_garbage *head = block_create(segment, 2 * words);
    if (head == NULL)
        return false;
    for (size_t at = 0; at < 2 * words; at++) {
        uint64_t packed = atomic_load_explicit(&old.words[at / 2], memory_order_relaxed);
        atomic_store_explicit(&words_of(head)[at], packed, memory_order_relaxed);
    }
    segment_publish(segment, head, old.bits + 1);
    block_retire(segment, head_of(pack(old.words, 0)));
    return true;
}

static uint64_t live_word(struct interest_garbage *table, size_t at)
{
    uint64_t word = atomic_load_explicit(&words_of(table)[at], memory_order_relaxed);
    return (word & WORD_WHO) != 0 ? word : 0;
}

static bool table_resize(struct segment *segment, struct interest_garbage *table, uint64_t spread,
                         uint32_t line_count)
{
    struct interest_garbage *other = table_create(segment, table->depth, line_count);
    if (other == NULL)
        return false;
    for (size_t at = 0; at < (size_t)table->line_count * LINE_WORDS; at++) {
        uint64_t word = live_word(table, at);
        if (word != 0)
            word_put(other, word);
    }
    directory_set(directory_of(segment), spread, table->depth, other);
    block_retire(segment, table);
    return true;
}

static uint32_t lines_for(uint32_t live)
{
    uint32_t lines = (live * 8 / 5 + LINE_WORDS) / LINE_WORDS;
    return lines > TABLE_LINES_MIN ? lines : TABLE_LINES_MIN;
}

static bool table_split(struct segment *segment, struct interest_garbage *table, uint64_t spread)
{
    uint64_t bit = UINT64_C(1) << (63 - table->depth);
    size_t   word_count = (size_t)table->line_count * LINE_WORDS;
    uint32_t ones_count = 0;
    if (table->depth == directory_of(segment).bits && !directory_double(segment))
        return false;

    for (size_t at = 0; at < word_count; at++) {
        uint64_t word = live_word(table, at);
        ones_count += word != 0 && (key_spread(word) & bit) != 0;
    }
    uint32_t                 depth = table->depth + 1;
    struct interest_garbage *zeros =
        table_create(segment, depth, lines_for(table->live - ones_count));
    struct interest_garbage *ones = table_create(segment, depth, lines_for(ones_count));
    if (zeros == NULL || ones == NULL) {
        block_destroy(segment, zeros);
        block_destroy(segment, ones);
        return false;
    }
    for (size_t at = 0; at < word_count; at++) {
        uint64_t word = live_word(table, at);
        if (word != 0)
            word_put((key_spread(word) & bit) != 0 ? ones : zeros, word);
    }
    directory_set(directory_of(segment), spread & ~bit, depth, zeros);
    directory_set(directory_of(segment), spread | bit, depth, ones);
    block_retire(segment, table);
    return true;
}

/* Not where the directory would outgrow the words, as keys that agree in many bits make it. */
static bool table_may_split(const struct segment *segment, const struct interest_garbage *table)
{
    uint64_t filters = atomic_load_explicit(&segment->filters, memory_order_relaxed);
    return table->depth < DIRECTORY_BITS_MAX && filters >> table->depth >= TABLE_LINES_MAX;
}

static bool table_make_room(struct segment *segment, struct interest_garbage *table,
                            uint64_t spread)
{
    if (table->used - table->live > table->live / 4)
        return table_resize(segment, table, spread, table->line_count);
    if (table->line_count >= TABLE_LINES_MAX && table_may_split(segment, table))
        return table_split(segment, table, spread);

    uint32_t line_count = table->line_count + (table->line_count + 3) / 4;
    return line_count <= UINT16_MAX && table_resize(segment, table, spread, line_count);
}

/* The table for this key, or NULL. */
static struct interest_garbage *table_at(const struct segment *segment, uint64_t spread)
{
    struct directory directory = directory_of(segment);
    if (directory.words == NULL)
        return NULL;
    _Atomic uint64_t *word = &directory.words[directory_at(spread, directory.bits)];
    return head_of(atomic_load_explicit(word, memory_order_relaxed));
}

static bool segment_begin(struct segment *segment)
{
    struct interest_garbage *directory = block_create(segment, 1);
    struct interest_garbage *table = table_create(segment, 0, TABLE_LINES_MIN);
    if (directory == NULL || table == NULL) {
        block_destroy(segment, directory);
        block_destroy(segment, table);
        return false;
    }
    directory_set((struct directory){.words = words_of(directory)}, 0, 0, table);
    segment_publish(segment, directory, 0);
    return true;
}

static struct interest_garbage *table_with_room(struct segment *segment, uint64_t spread)
{
    if (directory_of(segment).words == NULL && !segment_begin(segment))
        return NULL;
    for (;;) {
        struct interest_garbage *table = table_at(segment, spread);
        if (table->used < table_limit(table->line_count))
            return table;
        if (!table_make_room(segment, table, spread))
            return NULL;
    }
}

/* An empty segment that has been large gives its memory back. */
static void segment_end(struct segment *segment)
{
    struct directory directory = directory_of(segment);
    if (directory.bits == 0 && table_at(segment, 0)->line_count <= 2 * TABLE_LINES_MIN)
        return;
    atomic_store_explicit(&segment->directory, 0, memory_order_release);
    for (size_t at = 0; at < (size_t)1 << directory.bits;) {
        struct interest_garbage *table =
            head_of(atomic_load_explicit(&directory.words[at], memory_order_relaxed));
        at += (size_t)1 << (directory.bits - table->depth);
        block_retire(segment, table);
    }
    block_retire(segment, head_of(pack(directory.words, 0)));
}

static void filters_change(struct segment *segment, int64_t change)
{
    uint64_t filters = atomic_load_explicit(&segment->filters, memory_order_relaxed);
    atomic_store_explicit(&segment->filters, filters + (uint64_t)change, memory_order_relaxed);
}

static bool word_says(const struct interest_table *table, const _Atomic uint64_t *word,
                      uint16_t shard)
{
    uint64_t who = atomic_load_explicit(word, memory_order_relaxed) & WORD_WHO;
    return table->wide ? who == (uint64_t)shard + 1 : (who >> shard & 1) != 0;
}

/* Says that the shard is interested, or not. */
static void word_set(const struct interest_table *table, struct segment *segment,
                     struct interest_garbage *words, _Atomic uint64_t *word, uint16_t shard,
                     bool interested)
{
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t who = table->wide ? (uint64_t)shard + 1 : UINT64_C(1) << shard;
    uint64_t new = table->wide ? (old & KEY_BITS) | (interested ? who : 0)
                               : (interested ? old | who : old & ~who);
    bool before = (old & WORD_WHO) != 0;
    bool after = (new &WORD_WHO) != 0;
    if (new == 0) /* only for a key of zero: must not look free */
        new = UINT64_C(1) << KEY_SHIFT;
    words->used += old == 0;
    words->live += (uint32_t)after - (uint32_t)before;
    filters_change(segment, (int64_t)after - (int64_t)before);
    atomic_store_explicit(word, new, memory_order_relaxed);
}

static struct overflow_entry *overflow_find(const struct segment *segment, uint64_t key)
{
    struct map_probe       probe = map_probe_of(&segment->overflow, key_spread(key));
    struct overflow_entry *entry;
    while ((entry = map_probe_next(&probe)) != NULL) {
        if (entry->key == key)
            return entry;
    }
    return NULL;
}

static bool overflow_has(const struct segment *segment, uint64_t key, uint16_t shard)
{
    const struct overflow_entry *entry = overflow_find(segment, key);
    return entry != NULL && shard_set_has(&entry->shards, shard);
}

static bool overflow_add(struct interest_table *table, struct segment *segment, uint64_t key,
                         uint16_t shard)
{
    struct overflow_entry *entry = overflow_find(segment, key);
    if (entry == NULL) {
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL)
            return false;
        entry->key = key;
        if (!map_insert(&segment->overflow, key_spread(key), entry)) {
            free(entry);
            return false;
        }
        filters_change(segment, 1);
    }
    shard_set_add(&entry->shards, shard);
    atomic_fetch_add_explicit(&table->overflow_counts[shard], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->overflow_total, 1, memory_order_relaxed);
    return true;
}

static void overflow_remove(struct interest_table *table, struct segment *segment, uint64_t key,
                            uint16_t shard)
{
    struct overflow_entry *entry = overflow_find(segment, key);
    if (entry == NULL || !shard_set_has(&entry->shards, shard))
        return;
    atomic_fetch_sub_explicit(&table->overflow_counts[shard], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&table->overflow_total, 1, memory_order_relaxed);
    shard_set_remove(&entry->shards, shard);
    if (!shard_set_empty(&entry->shards))
        return;
    map_remove(&segment->overflow, key_spread(key), entry);
    free(entry);
    filters_change(segment, -1);
}

/* A word of its own for key and shard, which have none. */
static bool word_add(const struct interest_table *table, struct segment *segment, uint64_t key,
                     uint16_t shard)
{
    struct interest_garbage *words = table_with_room(segment, key_spread(key));
    if (words == NULL)
        return false;
    uint64_t who = table->wide ? (uint64_t)shard + 1 : UINT64_C(1) << shard;
    word_put(words, (key & KEY_BITS) | who);
    filters_change(segment, 1);
    return true;
}

static bool add(struct interest_table *table, const struct interest_key *key, uint16_t shard)
{
    struct segment *segment = &table->segments[key->home];
    assert(shard < table->shard_count && key->home < table->shard_count);
    if (map_count(&segment->overflow) > 0 && overflow_has(segment, key->key, shard))
        return true;
    if (key->overflow)
        return overflow_add(table, segment, key->key, shard);

    struct interest_garbage *words = table_at(segment, key_spread(key->key));
    _Atomic uint64_t        *word = words != NULL ? word_find(table, words, key->key, shard) : NULL;
    uint64_t                 shape = shape_of_key(key);
    if (word != NULL && word_says(table, word, shard))
        return true;

    /* The shape first: who finds the word by it must find the shape. */
    int slot = shape_writer_add(&segment->shapes, shape, key->bucket);
    if (slot == SHAPE_NO_SLOT)
        return overflow_add(table, segment, key->key, shard);
    if (slot < 0)
        return false;
    if (word != NULL) {
        word_set(table, segment, words, word, shard, true);
        return true;
    }
    if (word_add(table, segment, key->key, shard))
        return true;
    shape_writer_remove(&segment->shapes, shape, key->bucket);
    return false;
}

/* Homes write side by side; the release pairs with the acquire of interest_version_of. */
static void version_up(struct interest_table *table)
{
    atomic_fetch_add_explicit(&table->version, 1, memory_order_release);
}

uint64_t interest_version_of(const struct interest_table *table)
{
    return atomic_load_explicit(&table->version, memory_order_acquire);
}

bool interest_add(struct interest_table *table, const struct interest_key *key, uint16_t shard)
{
    bool done = add(table, key, shard);
    version_up(table);
    return done;
}

static void remove_key(struct interest_table *table, const struct interest_key *key, uint16_t shard)
{
    struct segment *segment = &table->segments[key->home];
    assert(shard < table->shard_count && key->home < table->shard_count);
    if (key->overflow || overflow_has(segment, key->key, shard)) {
        overflow_remove(table, segment, key->key, shard);
        return;
    }
    struct interest_garbage *words = table_at(segment, key_spread(key->key));
    _Atomic uint64_t        *word = words != NULL ? word_find(table, words, key->key, shard) : NULL;
    if (word == NULL || !word_says(table, word, shard))
        return;
    word_set(table, segment, words, word, shard, false);
    shape_writer_remove(&segment->shapes, shape_of_key(key), key->bucket);
    if (segment->shapes.count == 0)
        segment_end(segment);
}

void interest_remove(struct interest_table *table, const struct interest_key *key, uint16_t shard)
{
    remove_key(table, key, shard);
    version_up(table);
}

/* A line to be compared, asked for and not yet looked at. */
struct probe {
    const uint64_t *lines;
    uint64_t        key; /* as in a word */
    uint32_t        line;
    uint32_t        line_count;
    uint32_t        topic;
};

struct match_run {
    const struct interest_table *table;
    struct shard_set            *sets;
    uint32_t                     probe_count;
    struct probe                 probes[PROBES_MAX];
};

/* False: nothing lies there. */
static bool probe_of(const struct interest_table *table, uint64_t key, struct probe *probe)
{
    const struct segment *segment = &table->segments[home_of(key & KEY_BITS, table->shard_count)];
    uint64_t              spread = key_spread(key);
    /* Pairs with the release in segment_publish. */
    uint64_t packed = atomic_load_explicit(&segment->directory, memory_order_acquire);
    if (packed == 0)
        return false;
    const _Atomic uint64_t *words = packed_address(packed);
    /* Pairs with the release in directory_set. */
    packed = atomic_load_explicit(&words[directory_at(spread, packed_number(packed))],
                                  memory_order_acquire);
    probe->lines = packed_address(packed);
    probe->line_count = packed_number(packed);
    probe->line = line_of(spread, probe->line_count);
    probe->key = key >> KEY_SHIFT;
    return true;
}

static void set_add_word(const struct interest_table *table, struct shard_set *set, uint64_t word)
{
    uint64_t who = word & WORD_WHO;
    if (!table->wide)
        set->words[0] |= who;
    else if (who != 0)
        shard_set_add(set, (uint16_t)(who - 1));
}

static void probe_finish(const struct match_run *run, const struct probe *probe)
{
    uint32_t at = probe->line;
    for (uint32_t left = probe->line_count; left > 0; left--) {
        const uint64_t *line = probe->lines + (size_t)at * LINE_WORDS;
        uint32_t        hits = line_match(line, probe->key, KEY_SHIFT);
        for (; hits != 0; hits &= hits - 1) {
            const _Atomic uint64_t *word =
                (const _Atomic uint64_t *)(const void *)&line[__builtin_ctz(hits)];
            uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
            /* The word may have become another's since: then it says nothing of ours. */
            if (value >> KEY_SHIFT == probe->key)
                set_add_word(run->table, &run->sets[probe->topic], value);
        }
        if (line_free(line) != 0)
            return;
        at = at + 1 == probe->line_count ? 0 : at + 1;
    }
}

static void probes_finish(struct match_run *run)
{
    for (uint32_t at = 0; at < run->probe_count; at++)
        probe_finish(run, &run->probes[at]);
    run->probe_count = 0;
}

static void probes_add(struct match_run *run, uint32_t topic, const struct topic_hashes *hashes)
{
    const struct interest_table *table = run->table;
    struct shape_candidates      candidates;
    struct level_sums            sums;
    level_sums_compute(hashes, &sums);
    shape_board_match(table->board, hashes, &candidates);

    for (uint32_t block = 0; block < candidates.blocks; block++) {
        for (uint32_t slots = candidates.slots[block]; slots != 0; slots &= slots - 1) {
            if (run->probe_count == PROBES_MAX)
                probes_finish(run);
            uint32_t      slot = block * SHAPE_BLOCK + (uint32_t)__builtin_ctz(slots);
            uint64_t      shape = shape_board_at(table->board, slot);
            struct probe *probe = &run->probes[run->probe_count];
            if (!probe_of(table, shape_key(&table->secret, &sums, shape), probe))
                continue;
            probe->topic = topic;
            run->probe_count++;
            __builtin_prefetch(probe->lines + (size_t)probe->line * LINE_WORDS);
        }
    }
}

static void add_overflow(const struct interest_table *table, struct shard_set *set)
{
    for (uint16_t shard = 0; shard < table->shard_count; shard++) {
        if (atomic_load_explicit(&table->overflow_counts[shard], memory_order_relaxed) > 0)
            shard_set_add(set, shard);
    }
}

void interest_match_batch(const struct interest_table *table, uint32_t topic_count,
                          const struct topic_hashes *hashes, struct shard_set *sets)
{
    struct match_run run;
    run.table = table;
    run.sets = sets;
    run.probe_count = 0;
    for (uint32_t topic = 0; topic < topic_count; topic++)
        probes_add(&run, topic, &hashes[topic]);
    probes_finish(&run);

    if (atomic_load_explicit(&table->overflow_total, memory_order_relaxed) == 0)
        return;
    for (uint32_t topic = 0; topic < topic_count; topic++)
        add_overflow(table, &sets[topic]);
}

void interest_match(const struct interest_table *table, const struct topic_hashes *hashes,
                    struct shard_set *set)
{
    interest_match_batch(table, 1, hashes, set);
}

uint64_t interest_filters(const struct interest_table *table)
{
    uint64_t filters = 0;
    for (uint16_t home = 0; home < table->shard_count; home++)
        filters += atomic_load_explicit(&table->segments[home].filters, memory_order_relaxed);
    return filters;
}

size_t interest_bytes(const struct interest_table *table)
{
    size_t bytes = sizeof(*table) + table->shard_count * sizeof(struct segment) +
                   shape_board_bytes(table->board);
    for (uint16_t home = 0; home < table->shard_count; home++)
        bytes += atomic_load_explicit(&table->segments[home].bytes, memory_order_relaxed);
    return bytes;
}
