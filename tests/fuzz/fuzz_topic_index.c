/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Both topic tables against the plain matcher. The input is a program, a line a step:
 *
 *     +filter   insert, and announce
 *     -filter   remove, and withdraw
 *     ?topic    match: the local index must find exactly what matches, the interest tables (one
 * with a bit a shard, one with a word a shard) at least those shards
 */

#include "core/broker/interest.h"
#include "core/broker/topic_index.h"
#include "proto/topic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILTERS_MAX  400U
#define SHAPES_LIMIT 350U /* more than the table has room for */

static const uint16_t shard_counts[] = {3, 20};
#define TABLES (sizeof(shard_counts) / sizeof(shard_counts[0]))

struct entry {
    struct filter_node *node;
    uint16_t            shards[TABLES];
    struct interest_key keys[TABLES];
};

struct world {
    struct topic_secret    secret;
    struct topic_index    *index;
    struct interest_table *tables[TABLES];
    struct entry           entries[FILTERS_MAX];
    uint32_t               count;
    uint32_t               inserted;
};

static void must(bool truth)
{
    if (!truth)
        abort();
}

static struct slice filter_of(const struct filter_node *node)
{
    return slice_of(node->filter, node->filter_size);
}

static uint32_t entry_find(const struct world *world, struct slice filter)
{
    uint32_t at = 0;
    while (at < world->count && !slice_equal(filter_of(world->entries[at].node), filter))
        at++;
    return at;
}

static void insert(struct world *world, struct slice filter)
{
    bool     created;
    uint32_t at = entry_find(world, filter);
    if (!topic_filter_valid(filter) || (at == world->count && at == FILTERS_MAX))
        return;
    struct filter_node *node = topic_index_insert(world->index, filter, &created);
    if (node == NULL) {
        must(at == world->count && topic_index_shapes(world->index) >= SHAPES_LIMIT);
        return;
    }
    must(created == (at == world->count));
    if (!created)
        return;

    struct entry *entry = &world->entries[world->count++];
    entry->node = node;
    world->inserted++;
    for (size_t table = 0; table < TABLES; table++) {
        entry->shards[table] = (uint16_t)(world->inserted % shard_counts[table]);
        interest_key_of(world->tables[table], filter, &entry->keys[table]);
        entry->keys[table].overflow |= filter_node_overflow(node);
        must(interest_add(world->tables[table], &entry->keys[table], entry->shards[table]));
    }
}

static void take_out(struct world *world, struct slice filter)
{
    uint32_t at = entry_find(world, filter);
    if (at == world->count)
        return;
    struct entry *entry = &world->entries[at];
    for (size_t table = 0; table < TABLES; table++) {
        interest_remove(world->tables[table], &entry->keys[table], entry->shards[table]);
        interest_free_garbage(interest_take_garbage(world->tables[table], entry->keys[table].home));
    }
    topic_index_remove(world->index, entry->node);
    *entry = world->entries[--world->count];
}

static void match(struct world *world, struct slice topic)
{
    struct topic_hashes hashes;
    struct shard_set    sets[TABLES] = {0};
    uint32_t            count;
    uint32_t            expected = 0;
    if (!topic_name_valid(topic))
        return;
    topic_hashes_compute(&world->secret, topic, &hashes);
    struct filter_node **nodes = topic_index_match(world->index, topic, &hashes, &count);
    for (size_t table = 0; table < TABLES; table++)
        interest_match(world->tables[table], &hashes, &sets[table]);

    for (uint32_t at = 0; at < count; at++)
        must(topic_matches(filter_of(nodes[at]), topic));
    for (uint32_t at = 0; at < world->count; at++) {
        const struct entry *entry = &world->entries[at];
        if (!topic_matches(filter_of(entry->node), topic))
            continue;
        expected++;
        for (size_t table = 0; table < TABLES; table++)
            must(shard_set_has(&sets[table], entry->shards[table]));
    }
    must(count == expected); /* none twice: a node is in one place */
}

static void run(struct world *world, struct slice program)
{
    const uint8_t *line = program.data;
    const uint8_t *end = program.data + program.size;
    while (line < end) {
        const uint8_t *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            stop = end;
        if (stop - line > 1 && stop - line < 4096) {
            struct slice rest = slice_of(line + 1, (size_t)(stop - line - 1));
            if (line[0] == '+')
                insert(world, rest);
            else if (line[0] == '-')
                take_out(world, rest);
            else
                match(world, rest);
        }
        line = stop + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    world.count = 0;
    world.inserted = 0;
    topic_secret_init(&world.secret, (const uint8_t *)"the secret of this fuzzer, 32 by", 32);
    world.index = topic_index_create(&world.secret, SHAPES_LIMIT);
    for (size_t table = 0; table < TABLES; table++)
        world.tables[table] = interest_create(&world.secret, shard_counts[table]);

    if (size <= UINT32_MAX)
        run(&world, slice_of(data, size));

    while (world.count > 0)
        take_out(&world, filter_of(world.entries[world.count - 1].node));
    must(topic_index_filters(world.index) == 0 && topic_index_shapes(world.index) == 0);
    topic_index_destroy(world.index);
    for (size_t table = 0; table < TABLES; table++) {
        must(interest_filters(world.tables[table]) == 0);
        interest_destroy(world.tables[table]);
    }
    return 0;
}
