/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Filters that the tables have no shape for: deeper than TOPIC_LEVELS_HASHED, or one shape too
 * many. A node a level; the edges of all nodes are in one hash map, so that a node may have any
 * number of children. Walked only when not empty. No recursion: a match keeps a stack that never
 * grows beyond the depth of the deepest filter, whatever the topic.
 */

#include "core/base/map.h"
#include "core/broker/topic_hash.h"

struct filter_node;
struct trie_node;

struct overflow_trie {
    const struct topic_secret *secret;
    struct map                 edges;
    struct trie_node          *root;
    struct trie_step          *stack;
    uint32_t                   stack_capacity;
    uint32_t                   count; /* filters */
    size_t                     bytes;
};

/* `secret` must outlive the trie. Nothing is allocated before the first filter. */
void overflow_trie_init(struct overflow_trie *trie, const struct topic_secret *secret);
void overflow_trie_fini(struct overflow_trie *trie); /* the filters are left alone */

/* `filter` is valid and not in the trie. False: out of memory; nothing changed. */
bool overflow_trie_insert(struct overflow_trie *trie, struct slice filter,
                          struct filter_node *node);

/* `filter` is in the trie. */
void overflow_trie_remove(struct overflow_trie *trie, struct slice filter);

/* All that match, `$` rule kept, written to `nodes`, which has room for `count`. */
uint32_t overflow_trie_match(struct overflow_trie *trie, struct slice topic,
                             struct filter_node **nodes);
