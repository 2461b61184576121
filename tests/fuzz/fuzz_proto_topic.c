/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Two lines: a filter and a topic. Matching, validity, shared subscriptions and UTF-8 against
 * second versions, written another way: levels as lists, one state a character, the byte ranges
 * of the Unicode standard.
 */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEVELS_MAX 4096U

struct levels {
    struct slice at[LEVELS_MAX];
    uint32_t     count;
};

/* False where there are more levels than fit. */
static bool split(struct slice text, struct levels *levels)
{
    levels->count = 0;
    for (uint32_t start = 0, at = 0; at <= text.size; at++) {
        if (at < text.size && text.data[at] != '/')
            continue;
        if (levels->count == LEVELS_MAX)
            return false;
        levels->at[levels->count++] = slice_of(text.data + start, at - start);
        start = at + 1;
    }
    return true;
}

static bool model_matches(const struct levels *filter, const struct levels *topic)
{
    uint32_t wanted = filter->count;
    bool     open = slice_equal(filter->at[wanted - 1], slice_text("#"));

    if (open)
        wanted--;
    if (open ? topic->count < wanted : topic->count != wanted)
        return false;
    for (uint32_t index = 0; index < wanted; index++) {
        if (!slice_equal(filter->at[index], slice_text("+")) &&
            !slice_equal(filter->at[index], topic->at[index]))
            return false;
    }
    bool begins_wild = open ? filter->count == 1 : false;
    begins_wild = begins_wild || slice_equal(filter->at[0], slice_text("+"));
    bool dollar = topic->at[0].size > 0 && topic->at[0].data[0] == '$';
    return !(begins_wild && dollar);
}

static bool model_filter_valid(struct slice filter)
{
    for (uint32_t at = 0; at < filter.size; at++) {
        uint8_t byte = filter.data[at];
        bool    first = at == 0 || filter.data[at - 1] == '/';
        bool    last = at + 1 == filter.size;

        if (byte == 0 || (byte == '#' && !(first && last)))
            return false;
        if (byte == '+' && !(first && (last || filter.data[at + 1] == '/')))
            return false;
    }
    return filter.size > 0 && filter.size <= TOPIC_SIZE_MAX;
}

static bool model_name_valid(struct slice topic)
{
    for (uint32_t at = 0; at < topic.size; at++) {
        if (topic.data[at] == 0 || topic.data[at] == '+' || topic.data[at] == '#')
            return false;
    }
    return topic.size > 0 && topic.size <= TOPIC_SIZE_MAX;
}

static bool byte_in(struct slice text, uint32_t at, uint8_t low, uint8_t high)
{
    return at < text.size && text.data[at] >= low && text.data[at] <= high;
}

/* The Unicode standard, table 3-7: bytes of one character, or 0. */
static uint32_t model_character(struct slice text, uint32_t at)
{
    static const struct {
        uint8_t  lead_low, lead_high, second_low, second_high;
        uint32_t size;
    } rows[] = {
        {0x01, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        if (!byte_in(text, at, rows[row].lead_low, rows[row].lead_high))
            continue;
        if (rows[row].size > 1 &&
            !byte_in(text, at + 1, rows[row].second_low, rows[row].second_high))
            return 0;
        for (uint32_t more = 2; more < rows[row].size; more++) {
            if (!byte_in(text, at + more, 0x80, 0xbf))
                return 0;
        }
        return rows[row].size;
    }
    return 0;
}

static bool model_utf8_valid(struct slice text)
{
    uint32_t at = 0;

    while (at < text.size) {
        uint32_t size = model_character(text, at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

static void check_text(struct slice text)
{
    assert(utf8_valid(text) == model_utf8_valid(text));
    assert(!utf8_printable(text) || utf8_valid(text));
    assert(topic_filter_valid(text) == model_filter_valid(text));
    assert(topic_name_valid(text) == model_name_valid(text));
    assert(!utf8_is_plain_name(text) || text.size == 0 ||
           (model_utf8_valid(text) && (model_name_valid(text) || text.size > TOPIC_SIZE_MAX)));
}

static void check_share(struct slice whole)
{
    static struct levels levels;
    bool                 valid;
    struct slice         group;
    struct slice         filter;

    if (!split(whole, &levels))
        return;
    bool shared = levels.count > 1 && slice_equal(levels.at[0], slice_text("$share"));
    assert(topic_share_split(whole, &valid, &group, &filter) == shared);
    if (!shared)
        return;

    uint32_t rest = levels.count > 2 ? (uint32_t)(levels.at[2].data - whole.data) : whole.size;
    assert(valid == (levels.count > 2 && model_name_valid(levels.at[1]) &&
                     model_filter_valid(slice_of(whole.data + rest, whole.size - rest))));
    assert(!valid || slice_equal(group, levels.at[1]));
    assert(!valid || filter.data == whole.data + rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct levels filter_levels;
    static struct levels topic_levels_list;

    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t         cut = line != NULL ? (size_t)(line - data) : size;
    struct slice   filter = slice_of(data, cut);
    struct slice   topic = line != NULL ? slice_of(line + 1, size - cut - 1) : slice_of(data, size);

    check_text(filter);
    check_text(topic);
    check_share(filter);
    bool matches = topic_matches(filter, topic);
    if (!model_filter_valid(filter) || !model_name_valid(topic))
        return 0;
    if (!split(filter, &filter_levels) || !split(topic, &topic_levels_list))
        return 0;
    assert(topic_levels(topic) == topic_levels_list.count);
    assert(matches == model_matches(&filter_levels, &topic_levels_list));
    return 0;
}
