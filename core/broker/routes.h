/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Where a topic leads: the filters of this shard that match it and the other shards that may have
 * some. Asked of the index and the interest table, and remembered for publishers that keep to their
 * topics: a small array by connection (or, for what other shards send, by publisher), each entry
 * one topic. An entry counts only while neither table has changed since, so it is never wrong;
 * where topics vary it costs a comparison and a copy.
 */

#include "core/broker/interest.h"
#include "core/broker/topic_index.h"

struct broker;
struct routes;

struct route {
    struct filter_node *const *nodes; /* valid until the next route_of, or change of the index */
    uint32_t                   count;
    struct shard_set           interested; /* with more than one shard, when asked for */
};

struct routes *routes_create(void); /* NULL: out of memory */
void           routes_destroy(struct routes *routes);

/* `hint` chooses the entry; `everywhere`: other shards too, not this one's filters alone. */
void route_of(struct broker *broker, struct slice topic, uint64_t hint, bool everywhere,
              struct route *route);
