/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The retained store beside a list that knows no better than topic_matches: programs of bytes are
 * run on both, with walks paused in the middle, and each difference is an assert. A unit test feeds
 * seeded noise, the fuzzer whatever it finds. Topics and filters come from small tables that
 * hold the interesting shapes, so that programs collide often.
 */

#include "core/broker/retained.h"
#include "proto/topic.h"

#include <assert.h>
#include <stdlib.h>

static const char *const model_topics[] = {
    "a",
    "a/b",
    "a/b/c",
    "a/b/c/d",
    "a/",
    "a//b",
    "/",
    "/a",
    "//",
    "b",
    "b/a",
    "b/b/c",
    "$SYS",
    "$SYS/a",
    "$SYS/a/b",
    "$",
    "b/$x",
    "b/$x/c",
    "a/bb",
    "a/level of more than eight bytes",
    "a/level of more than eight bytes/c",
    "aa",
    "aa/b",
    "c/1/x",
    "c/2/x",
    "c/3/x",
    "c/3/y",
    "c/3",
};

static const char *const model_filters[] = {
    "#",      "+",       "+/+",
    "+/#",    "a/#",     "a/+",
    "a/+/c",  "a",       "a/b",
    "a/b/#",  "+/b/#",   "$SYS/#",
    "$SYS/+", "+/a",     "/#",
    "/+",     "//",      "+/+/+",
    "b/+/#",  "c/+/x",   "c/+",
    "$SYS",   "+//b",    "a/+/+",
    "x/#",    "+/+/c/#", "a/level of more than eight bytes/#",
    "$/#",    "b/$x/+",
};

#define MODEL_TOPICS  (sizeof(model_topics) / sizeof(model_topics[0]))
#define MODEL_FILTERS (sizeof(model_filters) / sizeof(model_filters[0]))
#define MODEL_WALKS   6U

/* One paused walk and what the model expects of it. */
struct model_walk {
    struct retained_walk walk;
    bool                 open;
    struct slice         filter;
    bool                 owed[MODEL_TOPICS];  /* there since the walk began: must be given */
    bool                 given[MODEL_TOPICS]; /* never twice */
};

struct model {
    struct topic_secret    secret;
    struct retained_store *store;
    struct retained_limits limits;
    struct message        *messages[MODEL_TOPICS]; /* NULL: nothing is retained */
    struct model_walk      walks[MODEL_WALKS];
    uint64_t               now_ms;
};

static inline uint64_t model_weight(const struct message *message)
{
    return (uint64_t)message->topic_size + message->forward_size + message->payload_size;
}

static inline struct message *model_message(const char *topic, uint32_t payload_size,
                                            uint64_t expires_ms)
{
    struct slice    name = slice_text(topic);
    uint8_t        *writable;
    struct message *message = message_create(0, (uint16_t)name.size, 0, payload_size, &writable);
    assert(message != NULL);
    memcpy(writable, name.data, name.size);
    memset(writable + name.size, 'p', payload_size);
    message->expires_ms = expires_ms;
    return message;
}

static inline void model_init(struct model *model, struct retained_limits limits)
{
    static const uint8_t entropy[32] = "a secret that is always the same";

    *model = (struct model){.limits = limits, .now_ms = 1};
    topic_secret_init(&model->secret, entropy, sizeof(entropy));
    model->store = retained_create(&model->secret, &limits, NULL);
    assert(model->store != NULL);
}

/* What the broker says of itself takes no room. */
static inline bool model_is_system(const struct message *message)
{
    return message->topic_size >= 5 && memcmp(message->bytes, "$SYS/", 5) == 0;
}

/* Of the messages that the limits bind. */
static inline void model_limited(const struct model *model, uint64_t *count, uint64_t *bytes)
{
    *count = 0;
    *bytes = 0;
    for (size_t topic = 0; topic < MODEL_TOPICS; topic++) {
        if (model->messages[topic] == NULL || model_is_system(model->messages[topic]))
            continue;
        ++*count;
        *bytes += model_weight(model->messages[topic]);
    }
}

static inline void model_totals(const struct model *model, uint64_t *count, uint64_t *bytes)
{
    *count = 0;
    *bytes = 0;
    for (size_t topic = 0; topic < MODEL_TOPICS; topic++) {
        if (model->messages[topic] == NULL)
            continue;
        ++*count;
        *bytes += model_weight(model->messages[topic]);
    }
}

static inline void model_forget(struct model *model, size_t topic)
{
    message_release(model->messages[topic], NULL);
    model->messages[topic] = NULL;
    for (size_t walk = 0; walk < MODEL_WALKS; walk++)
        model->walks[walk].owed[topic] = false;
}

static inline void model_put(struct model *model, size_t topic, uint32_t payload_size,
                             uint64_t expires_ms)
{
    struct message *message = model_message(model_topics[topic], payload_size, expires_ms);
    struct message *old = model->messages[topic];
    uint64_t        count;
    uint64_t        bytes;
    model_limited(model, &count, &bytes);
    count += old == NULL ? 1 : 0;
    bytes += model_weight(message) - (old == NULL ? 0 : model_weight(old));
    bool full = !model_is_system(message) &&
                ((model->limits.messages_max != 0 && count > model->limits.messages_max) ||
                 (model->limits.bytes_max != 0 && bytes > model->limits.bytes_max));

    enum retained_outcome outcome = retained_put(model->store, message);
    if (payload_size == 0) {
        assert(outcome == (old != NULL ? RETAINED_CLEARED : RETAINED_ABSENT));
        if (old != NULL)
            model_forget(model, topic);
    } else if (full) {
        assert(outcome == RETAINED_FULL);
    } else {
        assert(outcome == (old != NULL ? RETAINED_REPLACED : RETAINED_STORED));
        if (old != NULL)
            message_release(old, NULL);
        model->messages[topic] = message_retain(message);
        if (expires_ms != 0) {
            for (size_t walk = 0; walk < MODEL_WALKS; walk++)
                model->walks[walk].owed[topic] = false; /* may expire before its turn */
        }
    }
    message_release(message, NULL);
}

static inline struct message *model_find(const struct model *model, size_t topic)
{
    struct message *message = model->messages[topic];
    return message != NULL && !message_expired(message, model->now_ms) ? message : NULL;
}

static inline void model_walk_begin(struct model *model, struct model_walk *walk, size_t filter)
{
    *walk = (struct model_walk){.open = true, .filter = slice_text(model_filters[filter])};
    bool begun = retained_walk_begin(&walk->walk, model->store, walk->filter);
    assert(begun);
    for (size_t topic = 0; topic < MODEL_TOPICS; topic++)
        walk->owed[topic] = model->messages[topic] != NULL &&
                            model->messages[topic]->expires_ms == 0 &&
                            topic_matches(walk->filter, slice_text(model_topics[topic]));
}

static inline void model_walk_end(struct model_walk *walk)
{
    retained_walk_end(&walk->walk);
    walk->open = false;
}

static inline size_t model_topic_of(const struct message *message)
{
    size_t topic = 0;
    while (topic < MODEL_TOPICS &&
           !slice_equal(slice_text(model_topics[topic]), message_topic(message)))
        topic++;
    assert(topic < MODEL_TOPICS);
    return topic;
}

/* Goes on for `steps`; checks each message given, and at the end that nothing was left out. */
static inline void model_walk_go(struct model *model, struct model_walk *walk, uint32_t steps)
{
    struct message *message;

    while ((message = retained_walk_next(&walk->walk, model->now_ms, &steps)) != NULL) {
        size_t topic = model_topic_of(message);
        assert(message == model_find(model, topic));
        assert(topic_matches(walk->filter, message_topic(message)));
        assert(!walk->given[topic]);
        walk->given[topic] = true;
    }
    assert(walk->walk.done || steps == 0);
    if (!walk->walk.done)
        return;
    for (size_t topic = 0; topic < MODEL_TOPICS; topic++)
        assert(!walk->owed[topic] || walk->given[topic]);
    model_walk_end(walk);
}

static inline void model_sweep(struct model *model, uint32_t steps)
{
    uint64_t before = retained_count(model->store);
    uint32_t dropped = retained_sweep(model->store, model->now_ms, steps);
    assert(retained_count(model->store) == before - dropped);

    /* Which ones it met is its own affair; that they were expired is not. */
    for (size_t topic = 0; topic < MODEL_TOPICS && dropped > 0; topic++) {
        struct message *message = model->messages[topic];
        if (message == NULL || !message_expired(message, model->now_ms) || message->references > 1)
            continue; /* the store still holds one */
        model_forget(model, topic);
        dropped--;
    }
    assert(dropped == 0);
}

static inline void model_check(const struct model *model)
{
    uint64_t count;
    uint64_t bytes;
    model_totals(model, &count, &bytes);
    assert(retained_count(model->store) == count);
    assert(retained_bytes(model->store) == bytes);
}

/* Two bytes an operation. */
static inline void model_step(struct model *model, uint8_t operation, uint8_t argument)
{
    size_t             topic = argument % MODEL_TOPICS;
    struct model_walk *walk = &model->walks[(operation >> 4) % MODEL_WALKS];

    switch (operation & 0xf) {
    case 0:
    case 1:
    case 2:
    case 3:
        model_put(model, topic, 1 + (operation >> 4), 0);
        break;
    case 4:
        model_put(model, topic, 3, model->now_ms + 1 + (operation >> 4));
        break;
    case 5:
    case 6:
    case 7:
        model_put(model, topic, 0, 0);
        break;
    case 8:
        assert(retained_find(model->store, slice_text(model_topics[topic]), model->now_ms) ==
               model_find(model, topic));
        break;
    case 9:
    case 10:
        if (walk->open)
            model_walk_end(walk);
        model_walk_begin(model, walk, argument % MODEL_FILTERS);
        break;
    case 11:
    case 12:
    case 13:
        if (walk->open)
            model_walk_go(model, walk, argument % 16);
        break;
    case 14:
        if (walk->open)
            model_walk_go(model, walk, UINT32_MAX);
        break;
    default:
        model->now_ms += argument % 8;
        model_sweep(model, operation >> 4);
        break;
    }
    model_check(model);
}

/* Every filter at once, then an orderly end; the sanitizer looks for what is left. */
static inline void model_fini(struct model *model)
{
    for (size_t walk = 0; walk < MODEL_WALKS; walk++) {
        if (model->walks[walk].open)
            model_walk_go(model, &model->walks[walk], UINT32_MAX);
    }
    for (size_t filter = 0; filter < MODEL_FILTERS; filter++) {
        model_walk_begin(model, &model->walks[0], filter);
        model_walk_go(model, &model->walks[0], UINT32_MAX);
    }
    retained_destroy(model->store);
    for (size_t topic = 0; topic < MODEL_TOPICS; topic++) {
        if (model->messages[topic] != NULL)
            message_release(model->messages[topic], NULL);
    }
}
