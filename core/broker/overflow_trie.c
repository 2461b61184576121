/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/overflow_trie.h"

#include <assert.h>
#include <stdlib.h>

struct trie_node {
    uint64_t            hash; /* of the path */
    struct trie_node   *parent;
    struct trie_node   *plus;  /* child for `+` */
    struct filter_node *here;  /* the filter that ends with this level */
    struct filter_node *below; /* the filter that goes on with `#` */
    uint32_t            children;
    uint32_t            name_size;
    uint8_t             name[];
};

/* A node reached, and where the topic goes on: past its end when all levels are used up. */
struct trie_step {
    struct trie_node *node;
    size_t            at;
};

static uint64_t node_hash(const void *context, const void *value)
{
    (void)context;
    return ((const struct trie_node *)value)->hash;
}

static const struct map_type edges_type = {.hash_of = node_hash};

void overflow_trie_init(struct overflow_trie *trie, const struct topic_secret *secret)
{
    *trie = (struct overflow_trie){.secret = secret};
    map_init(&trie->edges, &edges_type, NULL);
}

static size_t node_bytes(const struct trie_node *node)
{
    return sizeof(*node) + node->name_size;
}

static struct trie_node *node_create(struct overflow_trie *trie, struct trie_node *parent,
                                     struct slice name, uint64_t hash)
{
    struct trie_node *node = malloc(sizeof(*node) + name.size);
    if (node == NULL)
        return NULL;
    *node = (struct trie_node){.hash = hash, .parent = parent, .name_size = name.size};
    if (name.size > 0)
        memcpy(node->name, name.data, name.size);
    trie->bytes += node_bytes(node);
    return node;
}

static void node_destroy(struct overflow_trie *trie, struct trie_node *node)
{
    trie->bytes -= node_bytes(node);
    free(node);
}

void overflow_trie_fini(struct overflow_trie *trie)
{
    uint64_t          cursor = 0;
    struct trie_node *node;
    while ((node = map_walk(&trie->edges, &cursor)) != NULL)
        node_destroy(trie, node);
    if (trie->root != NULL)
        node_destroy(trie, trie->root);
    map_fini(&trie->edges);
    free(trie->stack);
}

static uint64_t child_hash(const struct overflow_trie *trie, const struct trie_node *parent,
                           struct slice name)
{
    return fold(parent->hash ^ level_hash(trie->secret, name), trie->secret->position_add[0],
                trie->secret->position_multiply[0]);
}

static struct trie_node *child_find(const struct overflow_trie *trie,
                                    const struct trie_node *parent, struct slice name,
                                    uint64_t hash)
{
    struct map_probe  probe = map_probe_of(&trie->edges, hash);
    struct trie_node *node;
    while ((node = map_probe_next(&probe)) != NULL) {
        if (node->hash == hash && node->parent == parent &&
            slice_equal(slice_of(node->name, node->name_size), name))
            return node;
    }
    return NULL;
}

/* The level that starts at `*at`; moves `*at` to the next one, or past the end. */
static struct slice level_next(struct slice whole, size_t *at)
{
    const uint8_t *start = whole.data + *at;
    const uint8_t *slash = memchr(start, '/', whole.size - *at);
    size_t         size = slash != NULL ? (size_t)(slash - start) : whole.size - *at;
    *at += size + 1;
    return slice_of(start, size);
}

static bool is_wildcard(struct slice name, uint8_t character)
{
    return name.size == 1 && name.data[0] == character;
}

static struct trie_node *child_add(struct overflow_trie *trie, struct trie_node *parent,
                                   struct slice name)
{
    uint64_t          hash = child_hash(trie, parent, name);
    struct trie_node *node = child_find(trie, parent, name, hash);
    if (node != NULL)
        return node;

    node = node_create(trie, parent, name, hash);
    if (node == NULL)
        return NULL;
    if (!map_insert(&trie->edges, hash, node)) {
        node_destroy(trie, node);
        return NULL;
    }
    parent->children++;
    if (is_wildcard(name, '+'))
        parent->plus = node;
    return node;
}

/* Frees the node and those above it that lead nowhere any more. */
static void prune(struct overflow_trie *trie, struct trie_node *node)
{
    while (node->children == 0 && node->here == NULL && node->below == NULL) {
        struct trie_node *parent = node->parent;
        if (parent == NULL) {
            trie->root = NULL;
            node_destroy(trie, node);
            return;
        }
        if (parent->plus == node)
            parent->plus = NULL;
        parent->children--;
        map_remove(&trie->edges, node->hash, node);
        node_destroy(trie, node);
        node = parent;
    }
}

/* A walk takes one step off and puts at most two on: one more than levels is enough. */
static bool stack_reserve(struct overflow_trie *trie, struct slice filter)
{
    uint32_t levels = 2;
    for (uint32_t at = 0; at < filter.size; at++)
        levels += filter.data[at] == '/';
    if (levels <= trie->stack_capacity)
        return true;

    struct trie_step *stack = realloc(trie->stack, levels * sizeof(*stack));
    if (stack == NULL)
        return false;
    trie->bytes += (levels - trie->stack_capacity) * sizeof(*stack);
    trie->stack = stack;
    trie->stack_capacity = levels;
    return true;
}

bool overflow_trie_insert(struct overflow_trie *trie, struct slice filter,
                          struct filter_node *filter_node)
{
    assert(filter_node != NULL);
    if (!stack_reserve(trie, filter))
        return false;
    if (trie->root == NULL)
        trie->root = node_create(trie, NULL, (struct slice){0}, trie->secret->shape_salt);
    if (trie->root == NULL)
        return false;

    struct trie_node    *node = trie->root;
    struct filter_node **place = &node->here;
    for (size_t at = 0; at <= filter.size;) {
        struct slice name = level_next(filter, &at);
        if (is_wildcard(name, '#')) {
            place = &node->below;
            break;
        }
        struct trie_node *child = child_add(trie, node, name);
        if (child == NULL) {
            prune(trie, node);
            return false;
        }
        node = child;
        place = &node->here;
    }
    assert(*place == NULL);
    *place = filter_node;
    trie->count++;
    return true;
}

void overflow_trie_remove(struct overflow_trie *trie, struct slice filter)
{
    struct trie_node    *node = trie->root;
    struct filter_node **place = NULL;
    for (size_t at = 0; at <= filter.size;) {
        struct slice name = level_next(filter, &at);
        assert(node != NULL);
        if (is_wildcard(name, '#')) {
            place = &node->below;
            break;
        }
        node = child_find(trie, node, name, child_hash(trie, node, name));
        assert(node != NULL);
        place = &node->here;
    }
    assert(place != NULL && *place != NULL);
    *place = NULL;
    trie->count--;
    prune(trie, node);
}

uint32_t overflow_trie_match(struct overflow_trie *trie, struct slice topic,
                             struct filter_node **nodes)
{
    uint32_t count = 0;
    uint32_t depth = 0;
    bool     dollar = topic.size > 0 && topic.data[0] == '$';
    if (trie->root != NULL)
        trie->stack[depth++] = (struct trie_step){.node = trie->root};

    while (depth > 0) {
        struct trie_step  step = trie->stack[--depth];
        struct trie_node *node = step.node;
        bool              wildcards = node->parent != NULL || !dollar; /* [MQTT-4.7.2-1] */
        if (node->below != NULL && wildcards)
            nodes[count++] = node->below;
        if (step.at > topic.size) {
            if (node->here != NULL)
                nodes[count++] = node->here;
            continue;
        }
        if (node->children == 0)
            continue;

        size_t       at = step.at;
        struct slice name = level_next(topic, &at);
        assert(depth + 2 <= trie->stack_capacity);
        if (node->plus != NULL && wildcards)
            trie->stack[depth++] = (struct trie_step){.node = node->plus, .at = at};
        struct trie_node *child = child_find(trie, node, name, child_hash(trie, node, name));
        if (child != NULL)
            trie->stack[depth++] = (struct trie_step){.node = child, .at = at};
    }
    return count;
}
