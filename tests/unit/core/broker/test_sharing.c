/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sharing.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

#define MEMBERS 3U

static struct stage stage;
static struct peer  publisher;
static struct peer  members[MEMBERS];
static const char  *names[MEMBERS];
static const char  *group; /* the whole name; its home is shard 0 */

/* Shard 0 has the group, a member lives on each shard, the publisher on shard 1. */
static void begin(void (*change)(struct options *options))
{
    cluster_begin(&stage, 3, change);
    group = cluster_name(&stage, "$share/g/t/", 0);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 1));
    for (uint16_t at = 0; at < MEMBERS; at++)
        names[at] = cluster_name(&stage, "member", at);
}

static const char *topic(void)
{
    return group + strlen("$share/g/");
}

static void subscribe(uint16_t at, uint8_t qos)
{
    peer_subscribe(&members[at], group, qos);
}

/* A member whose session is kept. */
static void join(uint16_t at, uint8_t qos)
{
    cr_assert_not(peer_resume(&members[at], &stage, MQTT_VERSION_5, names[at]));
    subscribe(at, qos);
}

static void publish(const char *payload, uint8_t qos, enum mqtt_reason reason)
{
    wire_publish(&publisher.say, MQTT_VERSION_5, topic(), payload, qos, qos > 0 ? 1 : 0);
    peer_say(&publisher);
    if (qos == 1)
        (void)peer_expect_ack(&publisher, PACKET_PUBACK, 1, reason);
    if (qos == 2) {
        (void)peer_expect_ack(&publisher, PACKET_PUBREC, 1, reason);
        peer_ack(&publisher, PACKET_PUBREL, 1, MQTT_SUCCESS);
        (void)peer_expect_ack(&publisher, PACKET_PUBCOMP, 1, MQTT_SUCCESS);
    }
}

static uint32_t heard(struct peer *member)
{
    struct frame frame;
    uint32_t     count = 0;
    while (peer_hear(member, &frame))
        count += frame.type == PACKET_PUBLISH;
    return count;
}

static void expect_groups(uint32_t count)
{
    cr_assert_eq(pool_count(stage.brokers[0]->share_groups), count);
    cr_assert_eq(pool_count(stage.brokers[1]->share_groups), 0);
    cr_assert_eq(pool_count(stage.brokers[2]->share_groups), 0);
}

Test(sharing, members_on_all_shards_take_turns)
{
    begin(NULL);
    for (uint16_t at = 0; at < MEMBERS; at++)
        join(at, 0);
    expect_groups(1);
    cr_assert_eq(cluster_sum(&stage).shared_subscriptions, 3);

    for (unsigned number = 0; number < 30; number++)
        publish("x", 0, MQTT_SUCCESS);

    for (uint16_t at = 0; at < MEMBERS; at++)
        cr_assert_eq(heard(&members[at]), 10);
    stage_end(&stage);
}

Test(sharing, who_joins_again_replaces_its_subscription)
{
    begin(NULL);
    join(1, 0);
    join(2, 1);

    subscribe(1, 2);
    subscribe(1, 1);

    cr_assert_eq(cluster_sum(&stage).shared_subscriptions, 2);
    for (unsigned number = 0; number < 4; number++)
        publish("x", 1, MQTT_SUCCESS);
    cr_assert_eq(peer_expect_publish(&members[1], topic(), "x").qos, 1);
    cr_assert_eq(heard(&members[1]), 1);
    cr_assert_eq(heard(&members[2]), 2);
    stage_end(&stage);
}

Test(sharing, who_leaves_gets_nothing_more_and_the_last_takes_the_group_along)
{
    static const uint8_t gone = MQTT_SUCCESS;
    begin(NULL);
    join(1, 0);
    join(2, 0);

    wire_unsubscribe(&members[1].say, MQTT_VERSION_5, 9, group);
    peer_say(&members[1]);
    peer_expect_codes(&members[1], PACKET_UNSUBACK, 9, &gone, 1);
    for (unsigned number = 0; number < 4; number++)
        publish("x", 0, MQTT_SUCCESS);
    cr_assert_eq(heard(&members[1]), 0);
    cr_assert_eq(heard(&members[2]), 4);
    wire_unsubscribe(&members[2].say, MQTT_VERSION_5, 9, group);
    peer_say(&members[2]);

    expect_groups(0);
    publish("x", 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    cr_assert_eq(cluster_sum(&stage).shared_subscriptions, 0);
    cr_assert_eq(cluster_sum(&stage).subscriptions, 0);
    stage_end(&stage);
}

Test(sharing, leaving_what_was_never_joined_says_so)
{
    static const uint8_t none = MQTT_NO_SUBSCRIPTION_EXISTED;
    begin(NULL);
    join(1, 0);

    wire_unsubscribe(&members[1].say, MQTT_VERSION_5, 9, "$share/other/t");
    peer_say(&members[1]);

    peer_expect_codes(&members[1], PACKET_UNSUBACK, 9, &none, 1);
    stage_end(&stage);
}

Test(sharing, a_member_that_is_away_is_asked_last)
{
    begin(NULL);
    for (uint16_t at = 0; at < MEMBERS; at++)
        join(at, 1);
    peer_cut(&members[1]);

    for (unsigned number = 0; number < 10; number++)
        publish("x", 1, MQTT_SUCCESS);

    cr_assert_eq(heard(&members[0]), 5);
    cr_assert_eq(heard(&members[2]), 5);
    cr_assert_eq(cluster_sum(&stage).queued_messages, 0);
    stage_end(&stage);
}

Test(sharing, a_member_that_is_back_takes_turns_again)
{
    begin(NULL);
    join(1, 0);
    join(2, 0);
    peer_leave(&members[1]);
    publish("x", 0, MQTT_SUCCESS);
    publish("x", 0, MQTT_SUCCESS);
    cr_assert_eq(heard(&members[2]), 2);

    cr_assert(peer_resume(&members[1], &stage, MQTT_VERSION_5, names[1]));
    for (unsigned number = 0; number < 6; number++)
        publish("x", 0, MQTT_SUCCESS);

    cr_assert_eq(heard(&members[1]), 3);
    cr_assert_eq(heard(&members[2]), 3);
    stage_end(&stage);
}

Test(sharing, when_all_are_away_one_of_them_keeps_the_message)
{
    begin(NULL);
    join(1, 1);
    join(2, 1);
    peer_leave(&members[1]);
    peer_leave(&members[2]);

    for (unsigned number = 0; number < 4; number++)
        publish("x", 1, MQTT_SUCCESS);

    cr_assert_eq(cluster_sum(&stage).queued_messages, 4);
    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 0);
    uint32_t count = 0;
    for (uint16_t at = 1; at < 3; at++) {
        cr_assert(peer_resume(&members[at], &stage, MQTT_VERSION_5, names[at]));
        count += heard(&members[at]);
    }
    cr_assert_eq(count, 4);
    stage_end(&stage);
}

/* The message is on its way to a member when it goes: somebody else gets it. */
Test(sharing, a_message_that_finds_its_member_gone_goes_to_another)
{
    begin(NULL);
    join(1, 1);
    join(2, 1);
    cluster_hold(&stage, 0, 1);
    cluster_hold(&stage, 0, 2);
    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    cr_assert_eq(cluster_waiting(&stage, 0, 1), 1);
    cr_assert_eq(cluster_waiting(&stage, 0, 2), 1);

    peer_cut(&members[1]);
    cluster_let_go(&stage, 0, 1);
    cluster_let_go(&stage, 0, 2);

    cr_assert_eq(heard(&members[2]), 2);
    cr_assert_eq(cluster_sum(&stage).share_redelivered, 1);
    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 0);
    stage_end(&stage);
}

Test(sharing, a_message_for_the_last_member_is_counted_when_it_is_gone)
{
    begin(NULL);
    peer_connect(&members[1], &stage, MQTT_VERSION_5, names[1]);
    subscribe(1, 1);
    cluster_hold(&stage, 0, 1);
    publish("x", 1, MQTT_SUCCESS);

    peer_cut(&members[1]); /* and with it the session and the group */
    expect_groups(0);
    cluster_let_go(&stage, 0, 1);

    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 1);
    cluster_expect_idle(&stage);
    stage_end(&stage);
}

Test(sharing, unacknowledged_qos_1_goes_to_another_when_the_session_ends)
{
    begin(NULL);
    peer_connect(&members[1], &stage, MQTT_VERSION_5, names[1]); /* ends with its connection */
    subscribe(1, 1);
    publish("x", 1, MQTT_SUCCESS);
    (void)peer_expect_publish(&members[1], topic(), "x");
    join(2, 1);

    peer_cut(&members[1]);

    struct publish again = peer_expect_publish(&members[2], topic(), "x");
    cr_assert_eq(again.qos, 1);
    cr_assert_not(again.duplicate, "it is the first time for this client");
    cr_assert_eq(cluster_sum(&stage).share_redelivered, 1);
    cluster_expect_drops(&stage, DROP_SESSION_ENDED, 0);
    stage_end(&stage);
}

/* [MQTT-4.8.2-5] */
Test(sharing, a_qos_2_message_that_was_sent_goes_to_nobody_else)
{
    begin(NULL);
    peer_connect(&members[1], &stage, MQTT_VERSION_5, names[1]);
    subscribe(1, 2);
    publish("x", 2, MQTT_SUCCESS);
    (void)peer_expect_publish(&members[1], topic(), "x");
    join(2, 2);

    peer_cut(&members[1]);

    peer_expect_silence(&members[2]);
    cr_assert_eq(cluster_sum(&stage).share_redelivered, 0);
    cluster_expect_drops(&stage, DROP_SESSION_ENDED, 1);
    stage_end(&stage);
}

/* What waits behind the window was not sent: it may go to another, whatever its QoS. */
Test(sharing, what_was_not_sent_yet_goes_to_another_when_the_connection_goes)
{
    begin(NULL);
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text(names[1]));
    connect.clean_start = false;
    connect.session_expiry_s = 3600;
    connect.receive_maximum = 1;
    (void)peer_connect_of(&members[1], &stage, &connect);
    subscribe(1, 2);
    publish("sent", 2, MQTT_SUCCESS);
    publish("waits", 2, MQTT_SUCCESS);
    publish("waits, too", 1, MQTT_SUCCESS);
    (void)peer_expect_publish(&members[1], topic(), "sent");
    peer_expect_silence(&members[1]);
    join(2, 2);

    peer_cut(&members[1]);

    (void)peer_expect_publish(&members[2], topic(), "waits");
    (void)peer_expect_publish(&members[2], topic(), "waits, too");
    peer_expect_silence(&members[2]);
    peer_leave(&members[1]);
    cr_assert(peer_resume(&members[1], &stage, MQTT_VERSION_5, names[1]));
    cr_assert(peer_expect_publish(&members[1], topic(), "sent").duplicate);
    peer_expect_silence(&members[1]);
    stage_end(&stage);
}

/* The member's join is not answered yet: what it was given must find the group all the same. */
Test(sharing, who_goes_before_its_join_is_answered_gives_back_what_it_got)
{
    begin(NULL);
    join(2, 1);
    peer_connect(&members[1], &stage, MQTT_VERSION_5, names[1]);
    /* Where the filter's interest is kept elsewhere, the answer waits for that home. */
    uint16_t filter_home = cluster_filter_home(&stage, slice_text(topic()));
    cluster_hold(&stage, 0, filter_home);
    wire_subscribe(&members[1].say, MQTT_VERSION_5, 7, group, 1);
    peer_say(&members[1]);
    if (filter_home != 0)
        peer_expect_silence(&members[1]);

    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    peer_cut(&members[1]);
    cluster_let_go(&stage, 0, filter_home);

    cr_assert_eq(heard(&members[2]), 2);
    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 0);
    stage_end(&stage);
}

Test(sharing, two_groups_of_a_filter_get_a_copy_each)
{
    begin(NULL);
    char other[CLUSTER_NAME_SIZE];
    (void)snprintf(other, sizeof(other), "$share/h/%s", topic());
    join(1, 0);
    cr_assert_not(peer_resume(&members[2], &stage, MQTT_VERSION_5, names[2]));
    peer_subscribe(&members[2], other, 0);

    for (unsigned number = 0; number < 5; number++)
        publish("x", 0, MQTT_SUCCESS);

    cr_assert_eq(heard(&members[1]), 5);
    cr_assert_eq(heard(&members[2]), 5);
    stage_end(&stage);
}

Test(sharing, a_plain_subscription_stands_beside_a_shared_one)
{
    begin(NULL);
    join(1, 1);
    peer_subscribe(&members[1], topic(), 0);

    publish("x", 1, MQTT_SUCCESS);

    cr_assert_eq(heard(&members[1]), 2);
    stage_end(&stage);
}

static void local_first(struct options *options)
{
    options->shared.strategy = OPTIONS_SHARED_LOCAL_FIRST;
}

static void least_inflight(struct options *options)
{
    options->shared.strategy = OPTIONS_SHARED_LEAST_INFLIGHT;
}

Test(sharing, local_first_stays_on_the_publishers_shard)
{
    begin(local_first);
    for (uint16_t at = 0; at < MEMBERS; at++)
        join(at, 0);

    for (unsigned number = 0; number < 9; number++)
        publish("x", 0, MQTT_SUCCESS);

    cr_assert_eq(heard(&members[1]), 9);
    cr_assert_eq(heard(&members[0]) + heard(&members[2]), 0);
    stage_end(&stage);
}

Test(sharing, least_inflight_spares_who_does_not_acknowledge)
{
    begin(least_inflight);
    for (uint16_t at = 0; at < MEMBERS; at++)
        join(at, 1);

    /* Only member 2 acknowledges, at once: after a round it gets everything. */
    uint32_t quick = 0;
    for (unsigned number = 0; number < 12; number++) {
        struct frame   frame;
        struct publish got;
        publish("x", 1, MQTT_SUCCESS);
        while (peer_hear(&members[2], &frame)) {
            cr_assert_eq(publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &got),
                         MQTT_SUCCESS);
            uint16_t id = got.packet_id;
            quick++;
            peer_ack(&members[2], PACKET_PUBACK, id, MQTT_SUCCESS);
        }
    }

    cr_assert_eq(heard(&members[0]), 1);
    cr_assert_eq(heard(&members[1]), 1);
    cr_assert_eq(quick, 10);
    stage_end(&stage);
}

Test(sharing, the_retain_bit_follows_the_members_subscription)
{
    begin(NULL);
    cr_assert_not(peer_resume(&members[2], &stage, MQTT_VERSION_5, names[2]));
    struct subscribe_entry entry = {.filter = slice_text(group),
                                    .options = {.qos = 1, .retain_as_published = true}};
    struct frame           frame;
    wire_subscribe_of(&members[2].say, MQTT_VERSION_5, 1, 33, &entry, 1);
    peer_say(&members[2]);
    peer_expect(&members[2], PACKET_SUBACK, &frame);

    wire_publish_retained(&publisher.say, MQTT_VERSION_5, topic(), "x", 0, 0);
    peer_say(&publisher);

    struct publish publish = peer_expect_publish(&members[2], topic(), "x");
    cr_assert(publish.retain);
    cr_assert_eq(publish.subscription_id, 33);
    peer_expect_silence(&members[2]);
    stage_end(&stage);
}

Test(sharing, members_that_come_and_go_lose_and_double_nothing)
{
    begin(NULL);
    static bool away[MEMBERS];
    uint64_t    random = 9;
    uint32_t    got = 0;
    for (uint16_t at = 0; at < MEMBERS; at++)
        join(at, 2);

    for (unsigned step = 0; step < 300; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint16_t at = (uint16_t)((random >> 40) % MEMBERS);
        if ((random >> 50) % 4 != 0) {
            publish("x", 2, MQTT_SUCCESS);
        } else if (away[at]) {
            cr_assert(peer_resume(&members[at], &stage, MQTT_VERSION_5, names[at]));
            away[at] = false;
        } else {
            peer_leave(&members[at]);
            away[at] = true;
        }
        for (uint16_t member = 0; member < MEMBERS; member++) {
            struct frame   frame;
            struct publish publish;
            while (!away[member] && peer_hear(&members[member], &frame)) {
                if (frame.type != PACKET_PUBLISH)
                    continue;
                cr_assert_eq(
                    publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &publish),
                    MQTT_SUCCESS);
                uint16_t id = publish.packet_id;
                cr_assert_not(publish.duplicate);
                got++;
                peer_ack(&members[member], PACKET_PUBREC, id, MQTT_SUCCESS);
                peer_ack(&members[member], PACKET_PUBCOMP, id, MQTT_SUCCESS);
            }
        }
    }

    cr_assert_eq(got + cluster_sum(&stage).queued_messages, cluster_sum(&stage).publish_in);
    cr_assert_eq(cluster_sum(&stage).inflight_messages, 0);
    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 0);
    stage_end(&stage);
}

/* The group's home is the member's own shard: what it gives back comes to it again, in order. */
Test(sharing, the_only_member_keeps_what_nobody_else_can_take)
{
    begin(NULL);
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text(names[0]));
    connect.clean_start = false;
    connect.session_expiry_s = 3600;
    connect.receive_maximum = 1;
    (void)peer_connect_of(&members[0], &stage, &connect);
    subscribe(0, 1);
    peer_subscribe(&members[0], "plain", 1);
    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    peer_deliver(&publisher, "plain", "2", 1);
    publish("3", 1, MQTT_SUCCESS);

    peer_leave(&members[0]);
    cr_assert_eq(cluster_sum(&stage).queued_messages, 3);
    connect.receive_maximum = 10;
    cr_assert(peer_connect_of(&members[0], &stage, &connect).session_present);

    cr_assert(peer_expect_publish(&members[0], topic(), "0").duplicate);
    (void)peer_expect_publish(&members[0], "plain", "2");
    (void)peer_expect_publish(&members[0], topic(), "1");
    (void)peer_expect_publish(&members[0], topic(), "3");
    peer_expect_silence(&members[0]);
    cluster_expect_drops(&stage, DROP_SHARE_NOBODY, 0);
    stage_end(&stage);
}
