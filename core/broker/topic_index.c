/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/topic_index.h"

#include "core/base/map.h"
#include "core/broker/overflow_trie.h"
#include "core/broker/shapes.h"

#include <stdlib.h>

/*
 * All nodes are in one map, by the upper 48 bits of their key. A match computes the key of each
 * candidate shape and looks there, in three passes over a queue of probes: ask for the lines,
 * compare the lines and ask for the nodes, compare the nodes.
 *
 * A filter whose key bits another filter of this index has already goes to the overflow trie (one
 * in a thousand indexes of a million filters has such a pair): so one key is one filter, which is
 * what the interest table needs.
 */
#define PROBES_MAX 64U

/* A shape that lives in the trie: no board keeps count of it. */
struct overflow_shape {
    uint64_t pattern;
    uint64_t filters;
};

struct topic_index {
    struct topic_secret  secret;
    struct map           nodes;
    struct shape_board  *board;
    struct shape_writer  shapes;
    struct overflow_trie overflow;
    struct map           overflow_shapes;
    uint32_t             shapes_max;
    size_t               node_bytes;
    uint64_t             version;
    struct filter_node **scratch; /* TOPIC_BATCH_MAX rows */
    size_t               scratch_row;
};

static uint64_t node_hash(const void *context, const void *value)
{
    (void)context;
    return key_spread(((const struct filter_node *)value)->key);
}

static uint64_t overflow_shape_hash(const void *context, const void *value)
{
    (void)context;
    return ((const struct overflow_shape *)value)->pattern;
}

static const struct map_type nodes_type = {.hash_of = node_hash};
static const struct map_type overflow_shapes_type = {.hash_of = overflow_shape_hash};

/* So that a match never fails: at most one filter a shape of the table, and all of the trie. */
static bool scratch_reserve(struct topic_index *index)
{
    size_t row = SHAPES_MAX + (size_t)index->overflow.count + 1;
    if (row <= index->scratch_row)
        return true;

    row = SHAPES_MAX + 2 * ((size_t)index->overflow.count + 1);
    struct filter_node **scratch = malloc(row * TOPIC_BATCH_MAX * sizeof(struct filter_node *));
    if (scratch == NULL)
        return false;
    free(index->scratch);
    index->scratch = scratch;
    index->scratch_row = row;
    return true;
}

struct topic_index *topic_index_create(const struct topic_secret *secret, uint32_t shapes_max)
{
    struct topic_index *index = calloc(1, sizeof(*index));
    if (index == NULL)
        return NULL;
    index->board = shape_board_create();
    if (index->board == NULL || !scratch_reserve(index)) {
        shape_board_destroy(index->board);
        free(index);
        return NULL;
    }
    index->secret = *secret;
    index->shapes_max = shapes_max;
    map_init(&index->nodes, &nodes_type, NULL);
    map_init(&index->overflow_shapes, &overflow_shapes_type, NULL);
    shape_writer_init(&index->shapes, index->board);
    overflow_trie_init(&index->overflow, &index->secret);
    return index;
}

void topic_index_destroy(struct topic_index *index)
{
    if (index == NULL)
        return;
    uint64_t            cursor = 0;
    struct filter_node *node;
    while ((node = map_walk(&index->nodes, &cursor)) != NULL) {
        if (node->subscriber_count > 1)
            free(node->subscribers.many);
        free(node);
    }
    struct overflow_shape *shape;
    cursor = 0;
    while ((shape = map_walk(&index->overflow_shapes, &cursor)) != NULL)
        free(shape);
    map_fini(&index->nodes);
    map_fini(&index->overflow_shapes);
    overflow_trie_fini(&index->overflow);
    shape_writer_fini(&index->shapes);
    shape_board_destroy(index->board);
    free(index->scratch);
    free(index);
}

static struct slice node_filter(const struct filter_node *node)
{
    return slice_of(node->filter, node->filter_size);
}

/* Filters of the trie have a key of their own, from their text. */
static uint64_t overflow_key(const struct topic_index *index, struct slice filter)
{
    return fold(name_hash(&index->secret, filter), index->secret.shape_salt,
                index->secret.shape_multiply);
}

/* The node with this text; `*taken` when another filter's node has the same key bits. */
static struct filter_node *node_find(const struct topic_index *index, uint64_t key,
                                     struct slice filter, bool *taken)
{
    struct map_probe    probe = map_probe_of(&index->nodes, key_spread(key));
    struct filter_node *node;
    while ((node = map_probe_next(&probe)) != NULL) {
        if (((node->key ^ key) & KEY_BITS) != 0)
            continue;
        if (slice_equal(node_filter(node), filter))
            return node;
        *taken = true;
    }
    return NULL;
}

static struct filter_node *find(const struct topic_index *index, const struct filter_hashes *hashes,
                                struct slice filter, bool *taken)
{
    struct filter_node *node = NULL;
    bool                ignored = false;
    if (!hashes->deep)
        node = node_find(index, hashes->key, filter, taken);
    if (node == NULL && index->overflow.count > 0)
        node = node_find(index, overflow_key(index, filter), filter, &ignored);
    return node;
}

struct filter_node *topic_index_find(const struct topic_index *index, struct slice filter)
{
    struct filter_hashes hashes;
    bool                 taken = false;
    filter_hashes_compute(&index->secret, filter, &hashes);
    return find(index, &hashes, filter, &taken);
}

static struct overflow_shape *overflow_shape_find(const struct topic_index *index, uint64_t pattern)
{
    struct map_probe       probe = map_probe_of(&index->overflow_shapes, pattern);
    struct overflow_shape *shape;
    while ((shape = map_probe_next(&probe)) != NULL) {
        if (shape->pattern == pattern)
            return shape;
    }
    return NULL;
}

static bool shape_is_new(const struct topic_index *index, const struct filter_hashes *hashes)
{
    if (!hashes->deep && shape_writer_find(&index->shapes, hashes->shape) >= 0)
        return false;
    return overflow_shape_find(index, hashes->pattern) == NULL;
}

bool topic_index_shape_is_new(const struct topic_index *index, struct slice filter)
{
    struct filter_hashes hashes;
    filter_hashes_compute(&index->secret, filter, &hashes);
    return shape_is_new(index, &hashes);
}

static bool overflow_shape_add(struct topic_index *index, uint64_t pattern)
{
    struct overflow_shape *shape = overflow_shape_find(index, pattern);
    if (shape == NULL) {
        shape = malloc(sizeof(*shape));
        if (shape == NULL)
            return false;
        *shape = (struct overflow_shape){.pattern = pattern};
        if (!map_insert(&index->overflow_shapes, pattern, shape)) {
            free(shape);
            return false;
        }
    }
    shape->filters++;
    return true;
}

static void overflow_shape_remove(struct topic_index *index, uint64_t pattern)
{
    struct overflow_shape *shape = overflow_shape_find(index, pattern);
    assert(shape != NULL);
    if (--shape->filters > 0)
        return;
    map_remove(&index->overflow_shapes, pattern, shape);
    free(shape);
}

static bool place_in_trie(struct topic_index *index, const struct filter_hashes *hashes,
                          struct filter_node *node)
{
    node->shape = FILTER_SHAPE_OVERFLOW;
    node->key = overflow_key(index, node_filter(node));
    if (!overflow_shape_add(index, hashes->pattern))
        return false;
    if (overflow_trie_insert(&index->overflow, node_filter(node), node))
        return true;
    overflow_shape_remove(index, hashes->pattern);
    return false;
}

static void take_from_trie(struct topic_index *index, const struct filter_hashes *hashes,
                           const struct filter_node *node)
{
    overflow_trie_remove(&index->overflow, node_filter(node));
    overflow_shape_remove(index, hashes->pattern);
}

/* Into the table where possible; sets the node's key and shape. */
static bool place(struct topic_index *index, const struct filter_hashes *hashes, bool taken,
                  struct filter_node *node)
{
    if (hashes->deep || taken)
        return place_in_trie(index, hashes, node);

    int slot = shape_writer_add(&index->shapes, hashes->shape, hashes->bucket);
    if (slot == SHAPE_NO_SLOT)
        return place_in_trie(index, hashes, node);
    if (slot < 0)
        return false;
    node->shape = (uint16_t)slot;
    node->key = hashes->key;
    return true;
}

static void displace(struct topic_index *index, const struct filter_hashes *hashes,
                     const struct filter_node *node)
{
    if (filter_node_overflow(node))
        take_from_trie(index, hashes, node);
    else
        shape_writer_remove(&index->shapes, hashes->shape, hashes->bucket);
}

static size_t node_bytes(const struct filter_node *node)
{
    return offsetof(struct filter_node, filter) + node->filter_size;
}

static struct filter_node *node_create(struct slice filter)
{
    size_t              bytes = offsetof(struct filter_node, filter) + filter.size;
    struct filter_node *node = malloc(bytes > sizeof(*node) ? bytes : sizeof(*node));
    if (node == NULL)
        return NULL;
    *node = (struct filter_node){.filter_size = (uint16_t)filter.size};
    memcpy(node->filter, filter.data, filter.size);
    return node;
}

struct filter_node *topic_index_insert(struct topic_index *index, struct slice filter,
                                       bool *created)
{
    struct filter_hashes hashes;
    bool                 taken = false;
    assert(filter.size > 0 && filter.size <= UINT16_MAX);
    filter_hashes_compute(&index->secret, filter, &hashes);
    struct filter_node *node = find(index, &hashes, filter, &taken);
    *created = node == NULL;
    if (node != NULL)
        return node;

    if (shape_is_new(index, &hashes) && topic_index_shapes(index) >= index->shapes_max)
        return NULL;
    if (!scratch_reserve(index))
        return NULL;
    node = node_create(filter);
    if (node == NULL)
        return NULL;
    if (!place(index, &hashes, taken, node)) {
        free(node);
        return NULL;
    }
    if (!map_insert(&index->nodes, key_spread(node->key), node)) {
        displace(index, &hashes, node);
        free(node);
        return NULL;
    }
    index->node_bytes += node_bytes(node);
    index->version++;
    return node;
}

void topic_index_remove(struct topic_index *index, struct filter_node *node)
{
    struct filter_hashes hashes;
    assert(node->shares == NULL && node->subscriber_count == 0);
    filter_hashes_compute(&index->secret, node_filter(node), &hashes);
    map_remove(&index->nodes, key_spread(node->key), node);
    displace(index, &hashes, node);
    index->node_bytes -= node_bytes(node);
    index->version++;
    free(node);
}

/* Byte by byte, but for the levels that are `+`. */
static bool filter_is_for(const struct filter_node *node, bool multi, struct slice topic)
{
    const char *filter = node->filter;
    const char *filter_end = filter + node->filter_size;
    const char *at = (const char *)topic.data;
    const char *end = at + topic.size;

    if (multi) {
        if (filter_end[-1] != '#')
            return false;
        if (filter_end == filter + 1)
            return true;
        filter_end -= 2; /* the slash, too: a parent matches */
    }
    for (;;) {
        const char *plus = memchr(filter, '+', (size_t)(filter_end - filter));
        size_t      same = (size_t)((plus != NULL ? plus : filter_end) - filter);
        if ((size_t)(end - at) < same || memcmp(filter, at, same) != 0)
            return false;
        at += same;
        if (plus == NULL)
            return at == end || (multi && *at == '/');
        const char *slash = memchr(at, '/', (size_t)(end - at));
        at = slash != NULL ? slash : end;
        filter = plus + 1;
    }
}

struct probe {
    struct map_probe    probe;
    uint64_t            key;
    uint64_t            shape;
    struct filter_node *node; /* the first candidate */
    uint16_t            slot;
    uint8_t             topic;
};

/* What one call of topic_index_match_batch works on. */
struct match_run {
    const struct topic_index *index;
    const struct slice       *topics;
    struct filter_node     ***nodes;
    uint32_t                 *counts;
    uint32_t                  probe_count;
    struct probe              probes[PROBES_MAX];
};

static void probes_finish(struct match_run *run)
{
    for (uint32_t at = 0; at < run->probe_count; at++) {
        struct probe *probe = &run->probes[at];
        probe->node = map_probe_next(&probe->probe);
        if (probe->node != NULL) {
            __builtin_prefetch(probe->node);
            __builtin_prefetch((const char *)probe->node + LINE_BYTES);
        }
    }
    for (uint32_t at = 0; at < run->probe_count; at++) {
        struct probe *probe = &run->probes[at];
        for (struct filter_node *node = probe->node; node != NULL;
             node = map_probe_next(&probe->probe)) {
            if (node->key != probe->key || node->shape != probe->slot ||
                !filter_is_for(node, shape_multi(probe->shape), run->topics[probe->topic]))
                continue;
            run->nodes[probe->topic][run->counts[probe->topic]++] = node;
            break; /* a shape has one filter for a topic */
        }
    }
    run->probe_count = 0;
}

static void probes_add(struct match_run *run, uint32_t topic, const struct topic_hashes *hashes)
{
    const struct topic_index *index = run->index;
    struct shape_candidates   candidates;
    struct level_sums         sums;
    level_sums_compute(hashes, &sums);
    shape_board_match(index->board, hashes, &candidates);

    for (uint32_t block = 0; block < candidates.blocks; block++) {
        for (uint32_t slots = candidates.slots[block]; slots != 0; slots &= slots - 1) {
            if (run->probe_count == PROBES_MAX)
                probes_finish(run);
            uint32_t      slot = block * SHAPE_BLOCK + (uint32_t)__builtin_ctz(slots);
            struct probe *probe = &run->probes[run->probe_count++];
            probe->shape = index->shapes.shapes[slot];
            probe->key = shape_key(&index->secret, &sums, probe->shape);
            probe->slot = (uint16_t)slot;
            probe->topic = (uint8_t)topic;
            probe->probe = map_probe_of(&index->nodes, key_spread(probe->key));
            __builtin_prefetch(map_probe_line(&probe->probe));
        }
    }
}

void topic_index_match_batch(struct topic_index *index, uint32_t topic_count,
                             const struct slice *topics, const struct topic_hashes *hashes,
                             struct filter_node ***nodes, uint32_t *counts)
{
    struct match_run run;
    run.index = index;
    run.topics = topics;
    run.nodes = nodes;
    run.counts = counts;
    run.probe_count = 0;
    assert(topic_count <= TOPIC_BATCH_MAX);

    for (uint32_t topic = 0; topic < topic_count; topic++) {
        counts[topic] = 0;
        nodes[topic] = index->scratch + topic * index->scratch_row;
        probes_add(&run, topic, &hashes[topic]);
    }
    probes_finish(&run);

    for (uint32_t topic = 0; index->overflow.count > 0 && topic < topic_count; topic++) {
        counts[topic] +=
            overflow_trie_match(&index->overflow, topics[topic], nodes[topic] + counts[topic]);
    }
}

struct filter_node **topic_index_match(struct topic_index *index, struct slice topic,
                                       const struct topic_hashes *hashes, uint32_t *count)
{
    struct filter_node **nodes;
    topic_index_match_batch(index, 1, &topic, hashes, &nodes, count);
    return nodes;
}

struct filter_node *topic_index_walk(const struct topic_index *index, uint64_t *cursor)
{
    return map_walk(&index->nodes, cursor);
}

uint64_t topic_index_filters(const struct topic_index *index)
{
    return map_count(&index->nodes);
}

uint32_t topic_index_shapes(const struct topic_index *index)
{
    return index->shapes.count + (uint32_t)map_count(&index->overflow_shapes);
}

size_t topic_index_bytes(const struct topic_index *index)
{
    return sizeof(*index) + map_bytes(&index->nodes) + index->node_bytes +
           shape_board_bytes(index->board) + index->shapes.bytes + index->overflow.bytes +
           map_bytes(&index->overflow.edges) + map_bytes(&index->overflow_shapes) +
           map_count(&index->overflow_shapes) * sizeof(struct overflow_shape) +
           index->scratch_row * TOPIC_BATCH_MAX * sizeof(struct filter_node *);
}

uint64_t topic_index_version(const struct topic_index *index)
{
    return index->version;
}
