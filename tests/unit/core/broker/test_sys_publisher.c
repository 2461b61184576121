/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sys_publisher.h"

#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  watcher;
static struct peer  others[4];

static void each_second(struct options *options)
{
    options->sys.interval_ms = 1000;
}

/* The last value of `topic` among what was heard since, in `value`; how often it came. */
static unsigned heard(const char *topic, char *value, size_t size)
{
    struct frame   frame;
    struct publish publish;
    unsigned       count = 0;
    while (peer_hear(&watcher, &frame)) {
        if (frame.type != PACKET_PUBLISH)
            continue;
        cr_assert_eq(publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &publish),
                     MQTT_SUCCESS);
        cr_assert_eq(publish.qos, 0);
        cr_assert_eq(memcmp(publish.topic.data, "$SYS/", 5), 0);
        if (!slice_equal(publish.topic, slice_text(topic)))
            continue;
        (void)snprintf(value, size, "%.*s", (int)publish.payload.size,
                       (const char *)publish.payload.data);
        count++;
    }
    return count;
}

Test(sys_publisher, numbers_are_of_all_shards)
{
    char value[32] = "";
    cluster_begin(&stage, 3, each_second);
    peer_connect(&watcher, &stage, MQTT_VERSION_5, cluster_name(&stage, "watcher", 2));
    for (uint16_t at = 0; at < 4; at++)
        peer_connect(&others[at], &stage, MQTT_VERSION_5,
                     cluster_name(&stage, at < 3 ? "other" : "another", (uint16_t)(at % 3)));
    wire_subscribe(&watcher.say, MQTT_VERSION_5, 1, "$SYS/broker/clients/connected", 1);
    peer_say(&watcher);

    stage_pass(&stage, 3500);

    cr_assert_geq(heard("$SYS/broker/clients/connected", value, sizeof(value)), 1);
    cr_assert_str_eq(value, "5");
    peer_cut(&others[0]);
    stage_pass(&stage, 3500);
    cr_assert_geq(heard("$SYS/broker/clients/connected", value, sizeof(value)), 1);
    cr_assert_str_eq(value, "4");
    stage_end(&stage);
}

Test(sys_publisher, values_are_retained_for_who_comes_later)
{
    char value[32] = "";
    cluster_begin(&stage, 3, each_second);
    stage_pass(&stage, 3500);
    cr_assert_gt(cluster_sum(&stage).retained_messages, 20);

    peer_connect(&watcher, &stage, MQTT_VERSION_5, cluster_name(&stage, "watcher", 1));
    wire_subscribe(&watcher.say, MQTT_VERSION_5, 1, "$SYS/#", 0);
    peer_say(&watcher);

    cr_assert_eq(heard("$SYS/broker/version", value, sizeof(value)), 1);
    cr_assert_eq(strncmp(value, "shardmq ", 8), 0);
    stage_end(&stage);
}

Test(sys_publisher, what_does_not_change_is_not_said_again)
{
    char value[32] = "";
    cluster_begin(&stage, 2, each_second);
    peer_connect(&watcher, &stage, MQTT_VERSION_5, cluster_name(&stage, "watcher", 1));
    wire_subscribe(&watcher.say, MQTT_VERSION_5, 1, "$SYS/broker/version", 0);
    peer_say(&watcher);

    stage_pass(&stage, 20000);

    cr_assert_eq(heard("$SYS/broker/version", value, sizeof(value)), 1);
    stage_end(&stage);
}

Test(sys_publisher, a_plain_wildcard_does_not_see_it)
{
    cluster_begin(&stage, 2, each_second);
    peer_connect(&watcher, &stage, MQTT_VERSION_5, cluster_name(&stage, "watcher", 1));
    peer_subscribe(&watcher, "#", 0);
    peer_subscribe(&watcher, "+/broker/version", 0);

    stage_pass(&stage, 5000);

    peer_expect_silence(&watcher);
    stage_end(&stage);
}

Test(sys_publisher, switched_off_says_nothing)
{
    cluster_begin(&stage, 2, NULL);

    stage_pass(&stage, 60000);

    cr_assert_eq(cluster_sum(&stage).retained_messages, 0);
    cr_assert_eq(cluster_sum(&stage).parcels_out, 0);
    stage_end(&stage);
}
