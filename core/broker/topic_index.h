/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The local topic index: which filters of this shard match a topic, by hashing the topic's levels
 * under the mask of each live shape and probing once a shape (tuple space search). Private to a
 * shard. Always compares key, shape and string: never wrong.
 */

#include "core/broker/topic_hash.h"
#include "proto/bytes.h"

struct session;
struct share_groups;

/* One subscriber of one filter. What the bytes mean is the subscription's affair. */
struct subscriber {
    struct session *session;
    uint32_t        subscription_id; /* 0 none */
    uint8_t         qos;
    uint8_t         flags; /* enum subscriber_flag */
    uint16_t        unused;
};

enum subscriber_flag {
    SUBSCRIBER_NO_LOCAL = 1,
    SUBSCRIBER_RETAIN_AS_PUBLISHED = 2,
    SUBSCRIBER_BROUGHT_SHAPE = 4, /* counted in its session's shape_count */
};

/*
 * A filter with at least one subscriber or share group. The index owns the node and its head; the
 * subscriber fields are read and written by subscription code. One subscriber, the common case, is
 * kept inline.
 */
struct filter_node {
    uint64_t key;
    union {
        struct subscriber  one;
        struct subscriber *many; /* from two on; malloc'ed, room for the next power of two */
    } subscribers;
    struct share_groups *shares; /* NULL where there are none */
    uint32_t             subscriber_count;
    uint16_t             shape;
    uint16_t             filter_size;
    uint8_t              flags; /* of the subscription code; zero at first */
    char                 filter[];
};

/*
 * The node is in the overflow trie: too deep, no room for its shape, or another filter here has the
 * same key bits. Its interest is announced with interest_key.overflow set (interest.h says why).
 */
#define FILTER_SHAPE_OVERFLOW UINT16_MAX

static inline bool filter_node_overflow(const struct filter_node *node)
{
    return node->shape == FILTER_SHAPE_OVERFLOW;
}

static inline struct subscriber *filter_node_subscribers(struct filter_node *node)
{
    return node->subscriber_count > 1 ? node->subscribers.many : &node->subscribers.one;
}

struct topic_index;

/* `shapes_max`: distinct shapes alive in all, overflow included (docs: filter_shapes_max). */
struct topic_index *topic_index_create(const struct topic_secret *secret, uint32_t shapes_max);
void                topic_index_destroy(struct topic_index *index); /* frees nodes, and `many` */

/*
 * The node of `filter`, which is valid (topic.h); made when missing (`*created`). NULL: a new shape
 * would exceed shapes_max, or out of memory.
 */
struct filter_node *topic_index_insert(struct topic_index *index, struct slice filter,
                                       bool *created);
struct filter_node *topic_index_find(const struct topic_index *index, struct slice filter);

/* Takes the node out and frees it (not `many`, not `shares`: both must be gone). */
void topic_index_remove(struct topic_index *index, struct filter_node *node);

/* True when `filter` would bring a new shape into this index (per-client shape limits). */
bool topic_index_shape_is_new(const struct topic_index *index, struct slice filter);

/*
 * All nodes that match, `$` rule kept. The array is the index's own scratch, valid until the next
 * match or insertion. Never fails: its room is the number of live shapes and overflow filters.
 */
struct filter_node **topic_index_match(struct topic_index *index, struct slice topic,
                                       const struct topic_hashes *hashes, uint32_t *count);

/*
 * The same for up to TOPIC_BATCH_MAX topics in three passes with prefetch (2 to 4 times faster when
 * cold). nodes[i] and counts[i] answer topics[i].
 */
#define TOPIC_BATCH_MAX 8U
void topic_index_match_batch(struct topic_index *index, uint32_t topic_count,
                             const struct slice *topics, const struct topic_hashes *hashes,
                             struct filter_node ***nodes, uint32_t *counts);

/* Walks all nodes in no order; `*cursor` starts at 0. NULL at the end. No change while walking. */
struct filter_node *topic_index_walk(const struct topic_index *index, uint64_t *cursor);

/* Another number after each insertion or removal: what was matched before may have changed. */
uint64_t topic_index_version(const struct topic_index *index);

uint64_t topic_index_filters(const struct topic_index *index);
uint32_t topic_index_shapes(const struct topic_index *index);
size_t   topic_index_bytes(const struct topic_index *index); /* memory held */
