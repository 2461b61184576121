/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/fanout.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

#define RECEIVERS 8U

static struct stage stage;
static struct peer  publisher;
static struct peer  receivers[RECEIVERS];

/* As many as `versions` says, each with its own QoS. */
static void receivers_subscribe(const enum mqtt_version *versions, const uint8_t *qos,
                                uint32_t count, const char *filter)
{
    char name[24];
    for (uint32_t at = 0; at < count; at++) {
        (void)snprintf(name, sizeof(name), "receiver%u", at);
        peer_connect(&receivers[at], &stage, versions[at], name);
        peer_subscribe(&receivers[at], filter, qos[at]);
    }
    peer_connect(&publisher, &stage, MQTT_VERSION_5, "publisher");
}

Test(fanout, a_frame_encoded_once_outlives_a_run_that_goes_on)
{
    /* Frames larger than a chunk have one of their own: each version begins another run. */
    static const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_311, MQTT_VERSION_5,
                                                 MQTT_VERSION_311, MQTT_VERSION_5};
    static const uint8_t           qos[] = {1, 1, 1, 1, 1};
    static char                    topic[20001];
    cluster_begin(&stage, 1, NULL);
    receivers_subscribe(versions, qos, 5, "#");
    memset(topic, 't', sizeof(topic) - 1);

    peer_deliver(&publisher, topic, "payload", 1);

    for (unsigned at = 0; at < 5; at++) {
        struct publish publish = peer_expect_publish(&receivers[at], topic, "payload");
        cr_assert_eq(publish.qos, 1);
        cr_assert_eq(publish.packet_id, 1);
    }
    stage_end(&stage);
}

Test(fanout, versions_and_qos_are_mixed_freely_across_many_sizes)
{
    static const enum mqtt_version versions[] = {MQTT_VERSION_5,  MQTT_VERSION_311, MQTT_VERSION_5,
                                                 MQTT_VERSION_31, MQTT_VERSION_311, MQTT_VERSION_5};
    static const uint8_t           qos[] = {0, 1, 2, 1, 0, 1};
    static char                    payload[12001];
    cluster_begin(&stage, 1, NULL);
    receivers_subscribe(versions, qos, 6, "+");
    for (unsigned at = 0; at < 6; at++)
        receivers[at].slow = true;

    for (unsigned size = 1; size < sizeof(payload); size = size * 3 / 2 + 1) {
        memset(payload, 'a' + (int)(size % 26), size);
        payload[size] = '\0';
        peer_deliver(&publisher, "t", payload, 2);
    }

    for (unsigned at = 0; at < 6; at++) {
        uint16_t packet_id = 1;
        cluster_catch_up(&receivers[at]);
        for (unsigned size = 1; size < sizeof(payload); size = size * 3 / 2 + 1) {
            memset(payload, 'a' + (int)(size % 26), size);
            payload[size] = '\0';
            struct publish publish = peer_expect_publish(&receivers[at], "t", payload);
            cr_assert_eq(publish.qos, qos[at]);
            cr_assert_eq(publish.packet_id, qos[at] > 0 ? packet_id++ : 0);
        }
        peer_expect_silence(&receivers[at]);
    }
    stage_end(&stage);
}

Test(fanout, what_many_get_at_qos_0_lies_once)
{
    static const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_5, MQTT_VERSION_5};
    static const uint8_t           qos[] = {0, 0, 0};
    struct slice                   parts[3];
    cluster_begin(&stage, 1, NULL);
    receivers_subscribe(versions, qos, 3, "t");
    for (unsigned at = 0; at < 3; at++)
        receivers[at].slow = true;

    peer_publish(&publisher, "t", "once");

    for (unsigned at = 0; at < 3; at++)
        cr_assert_eq(broker_output(stage.brokers[0], receivers[at].link, &parts[at], 1), 1);
    cr_assert_eq(parts[0].data, parts[1].data);
    cr_assert_eq(parts[1].data, parts[2].data);
    stage_end(&stage);
}

Test(fanout, one_message_comes_once_at_the_highest_qos_with_all_identifiers)
{
    static struct peer receiver;
    struct frame       frame;
    cluster_begin(&stage, 3, NULL);
    peer_connect(&receiver, &stage, MQTT_VERSION_5, cluster_name(&stage, "receiver", 0));
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 1));
    static const char *const filters[] = {"a/b", "a/+", "#", "a/#"};
    for (uint16_t at = 0; at < 4; at++) {
        struct subscribe_entry entry = {.filter = slice_text(filters[at]),
                                        .options = {.qos = (uint8_t)(at % 3)}};
        wire_subscribe_of(&receiver.say, MQTT_VERSION_5, (uint16_t)(at + 1), at + 10U, &entry, 1);
        peer_say(&receiver);
        peer_expect(&receiver, PACKET_SUBACK, &frame);
    }

    peer_deliver(&publisher, "a/b", "x", 2);

    struct publish publish = peer_expect_publish(&receiver, "a/b", "x");
    cr_assert_eq(publish.qos, 2);
    cr_assert_eq(publish.subscription_id_count, 4);
    peer_expect_silence(&receiver);
    stage_end(&stage);
}

Test(fanout, a_shard_without_subscribers_gets_no_parcel)
{
    static struct peer receiver;
    cluster_begin(&stage, 3, NULL);
    peer_connect(&receiver, &stage, MQTT_VERSION_5, cluster_name(&stage, "receiver", 1));
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 0));
    peer_subscribe(&receiver, "a", 1);
    uint64_t before = broker_statistics(stage.brokers[2])->parcels_in;
    uint64_t at_1 = broker_statistics(stage.brokers[1])->parcels_in;

    for (unsigned number = 0; number < 10; number++)
        peer_deliver(&publisher, "a", "x", 1);

    cr_assert_eq(broker_statistics(stage.brokers[2])->parcels_in, before);
    cr_assert_eq(broker_statistics(stage.brokers[1])->parcels_in, at_1 + 10);
    cr_assert_eq(cluster_sum(&stage).parcels_false_positive, 0);
    stage_end(&stage);
}

Test(fanout, a_parcel_that_finds_nobody_is_counted_and_goes_home)
{
    static struct peer receiver;
    cluster_begin(&stage, 2, NULL);
    const char *filter = cluster_filter(&stage, "f", "", 0);
    peer_connect(&receiver, &stage, MQTT_VERSION_5, cluster_name(&stage, "receiver", 1));
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 0));
    peer_subscribe(&receiver, filter, 1);
    cluster_hold(&stage, 1, 0); /* the withdrawal does not arrive */
    wire_unsubscribe(&receiver.say, MQTT_VERSION_5, 1, filter);
    peer_say(&receiver);

    peer_deliver(&publisher, filter, "x", 1);

    cr_assert_eq(cluster_sum(&stage).parcels_false_positive, 1);
    cluster_let_go(&stage, 1, 0);
    peer_deliver(&publisher, filter, "x", 1);
    cr_assert_eq(cluster_sum(&stage).parcels_false_positive, 1, "the home knows better now");
    stage_end(&stage);
}
