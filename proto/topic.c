/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/topic.h"

#include "proto/utf8.h"

static const char share_prefix[] = "$share/";
#define SHARE_PREFIX_SIZE (sizeof(share_prefix) - 1)

/* The position of the first `wanted` at or after `from`, or the size. */
static uint32_t find_byte(struct slice text, uint32_t from, char wanted)
{
    if (from >= text.size)
        return text.size;
    const uint8_t *found = memchr(text.data + from, wanted, text.size - from);
    return found != NULL ? (uint32_t)(found - text.data) : text.size;
}

static bool contains(struct slice text, char wanted)
{
    return find_byte(text, 0, wanted) < text.size;
}

bool topic_name_valid(struct slice topic)
{
    if (topic.size == 0 || topic.size > TOPIC_SIZE_MAX)
        return false; /* [MQTT-4.7.3-1] [MQTT-4.7.3-3] */
    if (utf8_is_plain_name(topic))
        return true;
    /* [MQTT-3.3.2-2] [MQTT-4.7.3-2] */
    return !contains(topic, '+') && !contains(topic, '#') && !contains(topic, '\0');
}

/* A wildcard stands alone in its level, and '#' in the last one only. */
static bool level_valid(struct slice filter, uint32_t start, uint32_t end)
{
    struct slice level = slice_of(filter.data + start, end - start);

    if (level.size == 1)
        return level.data[0] != '#' || end == filter.size; /* [MQTT-4.7.1-1] */
    return !contains(level, '+') && !contains(level, '#'); /* [MQTT-4.7.1-2] */
}

bool topic_filter_valid(struct slice filter)
{
    if (filter.size == 0 || filter.size > TOPIC_SIZE_MAX)
        return false; /* [MQTT-4.7.3-1] [MQTT-4.7.3-3] */
    if (utf8_is_plain_name(filter))
        return true;
    if (contains(filter, '\0'))
        return false; /* [MQTT-4.7.3-2] */

    for (uint32_t start = 0; start <= filter.size;) {
        uint32_t end = find_byte(filter, start, '/');
        if (!level_valid(filter, start, end))
            return false;
        start = end + 1;
    }
    return true;
}

bool topic_filter_has_wildcard(struct slice filter)
{
    return contains(filter, '+') || contains(filter, '#');
}

uint32_t topic_levels(struct slice topic)
{
    uint32_t levels = 1;

    for (uint32_t at = 0; at < topic.size; at++)
        levels += topic.data[at] == '/';
    return levels;
}

bool topic_share_split(struct slice whole, bool *valid, struct slice *group, struct slice *filter)
{
    *valid = false;
    *group = (struct slice){0};
    *filter = (struct slice){0};
    if (whole.size < SHARE_PREFIX_SIZE || memcmp(whole.data, share_prefix, SHARE_PREFIX_SIZE) != 0)
        return false;

    uint32_t slash = find_byte(whole, SHARE_PREFIX_SIZE, '/');
    if (slash == whole.size)
        return true; /* [MQTT-4.8.2-2] no filter behind the group */

    *group = slice_of(whole.data + SHARE_PREFIX_SIZE, slash - SHARE_PREFIX_SIZE);
    *filter = slice_of(whole.data + slash + 1, whole.size - slash - 1);
    /* [MQTT-4.8.2-1] [MQTT-4.8.2-2] and the filter's own rules */
    *valid = group->size > 0 && !contains(*group, '+') && !contains(*group, '#') &&
             !contains(*group, '\0') && topic_filter_valid(*filter);
    return true;
}

/* One character and the end of its level: "+" or "#". */
static bool level_is(struct slice filter, uint32_t start, uint32_t end, char wildcard)
{
    return end - start == 1 && filter.data[start] == (uint8_t)wildcard;
}

bool topic_matches(struct slice filter, struct slice topic)
{
    if (filter.size == 0 || topic.size == 0)
        return false;
    /* [MQTT-4.7.2-1] */
    if (topic.data[0] == '$' && (filter.data[0] == '+' || filter.data[0] == '#'))
        return false;

    uint32_t filter_at = 0;
    uint32_t topic_at = 0;
    while (filter_at <= filter.size) {
        uint32_t filter_end = find_byte(filter, filter_at, '/');
        if (level_is(filter, filter_at, filter_end, '#'))
            return true; /* also where the topic has ended: "a/#" matches "a" */
        if (topic_at > topic.size)
            return false;

        uint32_t topic_end = find_byte(topic, topic_at, '/');
        if (!level_is(filter, filter_at, filter_end, '+') &&
            !slice_equal(slice_of(filter.data + filter_at, filter_end - filter_at),
                         slice_of(topic.data + topic_at, topic_end - topic_at)))
            return false;
        filter_at = filter_end + 1;
        topic_at = topic_end + 1;
    }
    return topic_at > topic.size;
}
