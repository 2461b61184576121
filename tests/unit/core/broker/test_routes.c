/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/routes.h"

#include "core/broker/state.h"
#include "proto/topic.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  publisher;
static struct peer  peers[4];

static const char *const filters[] = {"a",   "a/b", "a/+", "+/b",   "#",
                                      "a/#", "+",   "+/+", "a/b/#", "$SYS/x"};
static const char *const topics[] = {"a", "a/b", "a/c", "c/b", "d"};

#define FILTERS (sizeof(filters) / sizeof(filters[0]))
#define TOPICS  (sizeof(topics) / sizeof(topics[0]))

static struct route route_to(uint16_t shard, const char *topic, uint64_t hint)
{
    struct route route;
    route_of(stage.brokers[shard], slice_text(topic), hint, true, &route);
    return route;
}

static void connect_all(void)
{
    for (uint16_t at = 0; at < 4; at++)
        peer_connect(&peers[at], &stage, MQTT_VERSION_5,
                     cluster_name(&stage, at == 0 ? "first" : "peer", (uint16_t)(at % 3)));
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 1));
}

Test(routes, are_the_same_when_remembered)
{
    cluster_begin(&stage, 3, NULL);
    connect_all();
    peer_subscribe(&peers[0], "a/+", 0);
    peer_subscribe(&peers[3], "a/#", 0); /* on shard 0, too */
    peer_subscribe(&peers[2], "a/b", 0);

    for (unsigned round = 0; round < 3; round++) {
        struct route route = route_to(0, "a/b", 5);
        cr_assert_eq(route.count, 2);
        cr_assert(shard_set_has(&route.interested, 2));
        cr_assert_not(shard_set_has(&route.interested, 1));
    }

    stage_end(&stage);
}

Test(routes, of_two_topics_in_one_place_are_told_apart)
{
    cluster_begin(&stage, 3, NULL);
    connect_all();
    peer_subscribe(&peers[0], "a/b", 0);

    for (unsigned round = 0; round < 3; round++) {
        cr_assert_eq(route_to(0, "a/b", 5).count, 1);
        cr_assert_eq(route_to(0, "a/c", 5).count, 0);
        cr_assert_eq(route_to(0, "a/b/", 5 + 1024).count, 0);
    }

    stage_end(&stage);
}

Test(routes, change_with_the_filters_of_this_shard_and_of_others)
{
    static const uint8_t gone = MQTT_SUCCESS;
    cluster_begin(&stage, 3, NULL);
    connect_all();
    cr_assert_eq(route_to(0, "a", 5).count, 0);

    peer_subscribe(&peers[0], "+", 0);
    cr_assert_eq(route_to(0, "a", 5).count, 1);
    peer_subscribe(&peers[2], "a", 0);
    struct route with_others = route_to(0, "a", 5);
    cr_assert(shard_set_has(&with_others.interested, 2));
    wire_unsubscribe(&peers[2].say, MQTT_VERSION_5, 1, "a");
    peer_say(&peers[2]);
    peer_expect_codes(&peers[2], PACKET_UNSUBACK, 1, &gone, 1);
    struct route without = route_to(0, "a", 5);
    cr_assert_not(shard_set_has(&without.interested, 2));
    peer_cut(&peers[0]);

    cr_assert_eq(route_to(0, "a", 5).count, 0);
    stage_end(&stage);
}

Test(routes, with_many_matches_or_long_topics_are_right_too)
{
    static char              topic[201];
    static const char *const many[] = {"#", "+/#", "+/+", "a/+", "+/b", "a/b", "a/#"};
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peers[0], &stage, MQTT_VERSION_5, "peer");
    for (unsigned at = 0; at < 7; at++)
        peer_subscribe(&peers[0], many[at], 0);
    memset(topic, 't', 200);

    for (unsigned round = 0; round < 3; round++) {
        cr_assert_eq(route_to(0, "a/b", 5).count, 7);
        cr_assert_eq(route_to(0, topic, 5).count, 2, "# and +/#");
        cr_assert_eq(route_to(0, "a", 5).count, 3, "and a/#");
    }

    stage_end(&stage);
}

Test(routes, lead_to_exactly_those_who_asked_however_they_change)
{
    static bool subscribed[4][FILTERS];
    uint64_t    random = 31;
    cluster_begin(&stage, 3, NULL);
    connect_all();

    for (unsigned step = 0; step < 400; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned     at = (unsigned)(random >> 40) % 4;
        unsigned     filter = (unsigned)(random >> 50) % FILTERS;
        struct frame frame;
        if (subscribed[at][filter])
            wire_unsubscribe(&peers[at].say, MQTT_VERSION_5, 1, filters[filter]);
        else
            wire_subscribe(&peers[at].say, MQTT_VERSION_5, 1, filters[filter], 0);
        peer_say(&peers[at]);
        peer_expect(&peers[at], subscribed[at][filter] ? PACKET_UNSUBACK : PACKET_SUBACK, &frame);
        subscribed[at][filter] = !subscribed[at][filter];

        for (unsigned topic = 0; topic < TOPICS; topic++) {
            peer_publish(&publisher, topics[topic], "x");
            for (unsigned other = 0; other < 4; other++) {
                bool expected = false;
                for (unsigned number = 0; number < FILTERS; number++)
                    expected |=
                        subscribed[other][number] &&
                        topic_matches(slice_text(filters[number]), slice_text(topics[topic]));
                if (expected)
                    (void)peer_expect_publish(&peers[other], topics[topic], "x");
                peer_expect_silence(&peers[other]);
            }
        }
    }

    stage_end(&stage);
}
