/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/aliases.h"

#include <xxhash.h>

#include <assert.h>
#include <stdlib.h>

struct alias_entry {
    uint8_t *topic; /* NULL: not set */
    uint64_t hash;
    uint16_t topic_size;
};

struct topic_aliases {
    uint16_t           alias_max;
    uint16_t           assigned;
    struct alias_entry entries[]; /* alias 1 is entries[0] */
};

struct topic_aliases *topic_aliases_create(uint16_t alias_max)
{
    struct topic_aliases *aliases =
        calloc(1, sizeof(*aliases) + alias_max * sizeof(aliases->entries[0]));
    if (aliases != NULL)
        aliases->alias_max = alias_max;
    return aliases;
}

void topic_aliases_destroy(struct topic_aliases *aliases)
{
    if (aliases == NULL)
        return;
    for (uint32_t at = 0; at < aliases->alias_max; at++)
        free(aliases->entries[at].topic);
    free(aliases);
}

bool topic_aliases_set(struct topic_aliases *aliases, uint16_t alias, struct slice topic)
{
    assert(alias >= 1 && alias <= aliases->alias_max);
    assert(topic.size > 0 && topic.size <= UINT16_MAX);
    struct alias_entry *entry = &aliases->entries[alias - 1];

    uint8_t *copy = malloc(topic.size);
    if (copy == NULL)
        return false;
    memcpy(copy, topic.data, topic.size);
    free(entry->topic);
    *entry = (struct alias_entry){
        .topic = copy,
        .topic_size = (uint16_t)topic.size,
        .hash = XXH3_64bits(topic.data, topic.size),
    };
    return true;
}

struct slice topic_aliases_topic(const struct topic_aliases *aliases, uint16_t alias)
{
    assert(alias >= 1 && alias <= aliases->alias_max);
    const struct alias_entry *entry = &aliases->entries[alias - 1];
    return slice_of(entry->topic, entry->topic_size);
}

uint16_t topic_aliases_assign(struct topic_aliases *aliases, struct slice topic, bool *known)
{
    uint64_t hash = XXH3_64bits(topic.data, topic.size);
    for (uint16_t at = 0; at < aliases->assigned; at++) {
        const struct alias_entry *entry = &aliases->entries[at];
        if (entry->hash == hash && slice_equal(slice_of(entry->topic, entry->topic_size), topic)) {
            *known = true;
            return (uint16_t)(at + 1);
        }
    }
    *known = false;
    if (aliases->assigned == aliases->alias_max)
        return 0;
    uint16_t alias = (uint16_t)(aliases->assigned + 1);
    if (!topic_aliases_set(aliases, alias, topic))
        return 0;
    aliases->assigned = alias;
    return alias;
}
