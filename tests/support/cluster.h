/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A stage of a fixed number of shards, names that have their home where a test wants it, parcels
 * that wait until a test lets them go, and the sum of what all shards count.
 *
 *     cluster_begin(&stage, 3, NULL);
 *     peer_connect(&member, &stage, MQTT_VERSION_5, cluster_name(&stage, "member", 1));
 *     cluster_hold(&stage, 0, 1);    what shard 0 has for shard 1 waits
 *     cluster_let_go(&stage, 0, 1);  it is carried, and everything that follows from it
 */

#include "tests/support/stage_expect.h"

#include <stdio.h>

#define CLUSTER_NAME_SIZE 64U

static inline void cluster_begin(struct stage *stage, unsigned shards,
                                 void (*change)(struct options *options))
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", shards);
    cr_assert_eq(setenv("STAGE_SHARDS", text, 1), 0);
    stage_begin(stage, change);
}

static inline uint16_t cluster_home(const struct stage *stage, struct slice name)
{
    return home_of(name_hash(&stage->secret, name), stage->shard_count);
}

static inline uint16_t cluster_filter_home(const struct stage *stage, struct slice filter)
{
    struct interest_key key;
    interest_key_of(stage->interest, filter, &key);
    return key.home;
}

/* `prefix` and a number: the first such name (client id, topic, share name) at home on `shard`. */
static inline const char *cluster_name(const struct stage *stage, const char *prefix,
                                       uint16_t shard)
{
    static char     names[32][CLUSTER_NAME_SIZE];
    static unsigned next;
    char           *name = names[next++ % 32];
    unsigned        number = 0;

    do
        (void)snprintf(name, CLUSTER_NAME_SIZE, "%s%u", prefix, number++);
    while (cluster_home(stage, slice_text(name)) != shard);
    return name;
}

/* The same for a filter, whose interest is kept at `shard`; `suffix` goes behind the number. */
static inline const char *cluster_filter(const struct stage *stage, const char *prefix,
                                         const char *suffix, uint16_t shard)
{
    static char     filters[32][CLUSTER_NAME_SIZE];
    static unsigned next;
    char           *filter = filters[next++ % 32];
    unsigned        number = 0;

    do
        (void)snprintf(filter, CLUSTER_NAME_SIZE, "%s%u%s", prefix, number++, suffix);
    while (cluster_filter_home(stage, slice_text(filter)) != shard);
    return filter;
}

static inline void cluster_hold(struct stage *stage, uint16_t from, uint16_t to)
{
    stage->held[from][to] = true;
}

static inline void cluster_let_go(struct stage *stage, uint16_t from, uint16_t to)
{
    stage->held[from][to] = false;
    stage_begin_turn(stage);
    stage_finish_turn(stage);
}

/* Parcels that wait from one shard to another. */
static inline uint32_t cluster_waiting(const struct stage *stage, uint16_t from, uint16_t to)
{
    return outbox_count(&broker_outboxes(stage->brokers[from])[to]);
}

static inline struct statistics cluster_sum(const struct stage *stage)
{
    struct statistics sum = {0};
    for (uint16_t shard = 0; shard < stage->shard_count; shard++)
        statistics_add(&sum, broker_statistics(stage->brokers[shard]));
    return sum;
}

/* Messages dropped for `cause`, and none for any other. */
static inline void cluster_expect_drops(const struct stage *stage, enum drop_cause cause,
                                        uint64_t count)
{
    struct statistics sum = cluster_sum(stage);
    for (unsigned other = 0; other < DROP_CAUSE_COUNT; other++) {
        uint64_t expected = other == cause ? count : 0;
        cr_assert_eq(sum.drops[other], expected, "%s: %llu",
                     drop_cause_name((enum drop_cause)other), (unsigned long long)sum.drops[other]);
    }
}

/* Nothing is queued, in flight or waiting to be sent anywhere. */
static inline void cluster_expect_idle(const struct stage *stage)
{
    struct statistics sum = cluster_sum(stage);
    cr_assert_eq(sum.queued_messages, 0);
    cr_assert_eq(sum.queued_bytes, 0);
    cr_assert_eq(sum.inflight_messages, 0);
    cr_assert_eq(sum.output_bytes, 0);
}

/* What a slow peer was sent meanwhile, at last; it stays slow. */
static inline void cluster_catch_up(struct peer *peer)
{
    stage_begin_turn(peer->stage);
    stage_take(peer);
    stage_finish_turn(peer->stage);
}
