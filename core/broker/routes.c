/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/routes.h"

#include "core/broker/state.h"

#include <stdlib.h>

#define ROUTES_COUNT    1024U /* power of two */
#define ROUTE_NODES     4U    /* more matches than that are not remembered */
#define ROUTE_TOPIC_MAX 104U  /* nor are longer topics */

struct remembered {
    uint64_t            index_version;
    uint64_t            interest_version;
    struct filter_node *nodes[ROUTE_NODES];
    struct shard_set    interested;
    uint16_t            count;
    uint8_t             topic_size; /* 0: nothing is remembered */
    bool                everywhere;
    uint8_t             topic[ROUTE_TOPIC_MAX];
};

struct routes {
    struct remembered entries[ROUTES_COUNT];
};

struct routes *routes_create(void)
{
    return calloc(1, sizeof(struct routes));
}

void routes_destroy(struct routes *routes)
{
    free(routes);
}

static bool is_current(const struct remembered *entry, struct slice topic, uint64_t index_version,
                       uint64_t interest_version, bool everywhere)
{
    return entry->topic_size == topic.size && entry->index_version == index_version &&
           entry->interest_version == interest_version && (entry->everywhere || !everywhere) &&
           memcmp(entry->topic, topic.data, topic.size) == 0;
}

void route_of(struct broker *broker, struct slice topic, uint64_t hint, bool everywhere,
              struct route *route)
{
    bool others = everywhere && broker->shard_count > 1;
    /* Read before the tables: a change in between makes the entry old, never wrong. */
    uint64_t           index_version = topic_index_version(broker->index);
    uint64_t           interest_version = others ? interest_version_of(broker->interest) : 0;
    struct remembered *entry = &broker->routes->entries[hint & (ROUTES_COUNT - 1)];
    if (is_current(entry, topic, index_version, interest_version, others)) {
        *route = (struct route){
            .nodes = entry->nodes, .count = entry->count, .interested = entry->interested};
        return;
    }

    struct topic_hashes hashes;
    *route = (struct route){0};
    topic_hashes_compute(broker->secret, topic, &hashes);
    if (others)
        interest_match(broker->interest, &hashes, &route->interested);
    route->nodes = topic_index_match(broker->index, topic, &hashes, &route->count);
    if (route->count > ROUTE_NODES || topic.size > ROUTE_TOPIC_MAX)
        return;

    entry->index_version = index_version;
    entry->interest_version = interest_version;
    entry->interested = route->interested;
    entry->everywhere = others;
    entry->count = (uint16_t)route->count;
    entry->topic_size = (uint8_t)topic.size;
    memcpy(entry->topic, topic.data, topic.size);
    for (uint32_t at = 0; at < route->count; at++)
        entry->nodes[at] = route->nodes[at];
}
