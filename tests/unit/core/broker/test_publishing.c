/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/publishing.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  publisher;
static struct peer  subscriber;

static void begin(void (*change)(struct options *options), enum mqtt_version version)
{
    cluster_begin(&stage, 3, change);
    peer_connect(&publisher, &stage, version, cluster_name(&stage, "publisher", 0));
    peer_connect(&subscriber, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 0));
    peer_subscribe(&subscriber, "#", 2);
}

static void say_publish(const char *topic, uint16_t alias, uint8_t qos, uint16_t packet_id)
{
    struct publish_head head = {
        .topic = slice_text(topic), .topic_alias = alias, .qos = qos, .packet_id = packet_id};
    wire_publish_of(&publisher.say, publisher.version, head, slice_text("x"));
    peer_say(&publisher);
}

static void expect_reason(uint8_t qos, uint16_t packet_id, enum mqtt_reason reason)
{
    (void)peer_expect_ack(&publisher, qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, packet_id, reason);
}

Test(publishing, an_alias_stands_for_its_topic_until_it_is_given_another)
{
    begin(NULL, MQTT_VERSION_5);

    say_publish("first", 3, 0, 0);
    say_publish("", 3, 0, 0);
    say_publish("second", 3, 0, 0);
    say_publish("", 3, 0, 0);

    (void)peer_expect_publish(&subscriber, "first", "x");
    (void)peer_expect_publish(&subscriber, "first", "x");
    (void)peer_expect_publish(&subscriber, "second", "x");
    (void)peer_expect_publish(&subscriber, "second", "x");
    stage_end(&stage);
}

Test(publishing, an_alias_without_a_topic_is_a_protocol_error)
{
    begin(NULL, MQTT_VERSION_5);

    say_publish("", 3, 0, 0);

    (void)peer_expect_disconnect(&publisher, MQTT_PROTOCOL_ERROR);
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(publishing, an_alias_above_the_maximum_is_refused)
{
    begin(NULL, MQTT_VERSION_5);
    uint16_t alias_max = stage.options.protocol.topic_alias_max;

    say_publish("a", alias_max, 0, 0);
    (void)peer_expect_publish(&subscriber, "a", "x");
    say_publish("a", (uint16_t)(alias_max + 1), 0, 0);

    (void)peer_expect_disconnect(&publisher, MQTT_TOPIC_ALIAS_INVALID);
    stage_end(&stage);
}

Test(publishing, sys_is_the_brokers_own)
{
    static const char *const topics[] = {"$SYS", "$SYS/", "$SYS/broker/uptime"};
    begin(NULL, MQTT_VERSION_5);

    for (uint16_t at = 0; at < 3; at++) {
        say_publish(topics[at], 0, 1, 5);
        expect_reason(1, 5, MQTT_NOT_AUTHORIZED);
        say_publish(topics[at], 0, 2, 6);
        expect_reason(2, 6, MQTT_NOT_AUTHORIZED);
        say_publish(topics[at], 0, 0, 0);
        peer_expect_silence(&publisher);
    }

    cr_assert_eq(cluster_sum(&stage).publish_refused, 9);
    cr_assert_not(publisher.ended);
    say_publish("$SYSTEM", 0, 1, 5);
    expect_reason(1, 5, MQTT_NO_MATCHING_SUBSCRIBERS);
    stage_end(&stage);
}

Test(publishing, sys_is_the_brokers_own_for_3_1_1_too)
{
    static struct peer sys;
    begin(NULL, MQTT_VERSION_311);
    peer_connect(&sys, &stage, MQTT_VERSION_5, "sys");
    peer_subscribe(&sys, "$SYS/#", 1);

    say_publish("$SYS/x", 0, 1, 5);

    expect_reason(1, 5, MQTT_SUCCESS); /* there is no other word for it */
    peer_expect_silence(&sys);
    cr_assert_eq(cluster_sum(&stage).publish_refused, 1);
    stage_end(&stage);
}

Test(publishing, without_subscribers_the_acknowledgement_says_so)
{
    cluster_begin(&stage, 3, NULL);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, "publisher");

    say_publish("a", 0, 1, 1);
    expect_reason(1, 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    say_publish("a", 0, 2, 2);
    expect_reason(2, 2, MQTT_NO_MATCHING_SUBSCRIBERS);

    peer_ack(&publisher, PACKET_PUBREL, 2, MQTT_SUCCESS);
    (void)peer_expect_ack(&publisher, PACKET_PUBCOMP, 2, MQTT_SUCCESS);
    stage_end(&stage);
}

static void one_message(struct options *options)
{
    options->limits.queue_messages_max = 1;
}

/* Two sessions that are away, each with room for one message. */
static void two_are_away(void)
{
    static struct peer away;
    cluster_begin(&stage, 1, one_message);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, "publisher");
    for (unsigned at = 0; at < 2; at++) {
        (void)peer_resume(&away, &stage, MQTT_VERSION_5, at == 0 ? "one" : "two");
        peer_subscribe(&away, at == 0 ? "both" : "+", 2);
        peer_leave(&away);
    }
}

Test(publishing, a_quota_is_exceeded_when_all_queues_are_full)
{
    two_are_away();

    say_publish("only two", 0, 1, 1);
    expect_reason(1, 1, MQTT_SUCCESS);
    say_publish("both", 0, 1, 2); /* one takes it */
    expect_reason(1, 2, MQTT_SUCCESS);
    say_publish("both", 0, 1, 3);
    expect_reason(1, 3, MQTT_QUOTA_EXCEEDED);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 3);
    stage_end(&stage);
}

Test(publishing, a_qos_2_exchange_that_was_refused_is_over)
{
    two_are_away();
    say_publish("both", 0, 2, 1);
    expect_reason(2, 1, MQTT_SUCCESS);

    say_publish("both", 0, 2, 2);
    expect_reason(2, 2, MQTT_QUOTA_EXCEEDED);
    peer_ack(&publisher, PACKET_PUBREL, 2, MQTT_SUCCESS);

    (void)peer_expect_ack(&publisher, PACKET_PUBCOMP, 2, MQTT_PACKET_ID_NOT_FOUND);
    peer_ack(&publisher, PACKET_PUBREL, 1, MQTT_SUCCESS);
    (void)peer_expect_ack(&publisher, PACKET_PUBCOMP, 1, MQTT_SUCCESS);
    stage_end(&stage);
}

static void receive_two(struct options *options)
{
    options->protocol.receive_maximum = 2;
}

Test(publishing, more_than_the_receive_maximum_at_once_ends_the_link)
{
    begin(receive_two, MQTT_VERSION_5);
    say_publish("a", 0, 2, 1);
    say_publish("b", 0, 2, 2);
    say_publish("b", 0, 2, 2); /* again: the same exchange */
    expect_reason(2, 1, MQTT_SUCCESS);
    expect_reason(2, 2, MQTT_SUCCESS);
    expect_reason(2, 2, MQTT_SUCCESS);
    peer_ack(&publisher, PACKET_PUBREL, 1, MQTT_SUCCESS);
    (void)peer_expect_ack(&publisher, PACKET_PUBCOMP, 1, MQTT_SUCCESS);

    say_publish("c", 0, 2, 3);
    expect_reason(2, 3, MQTT_SUCCESS);
    say_publish("d", 0, 2, 4);

    (void)peer_expect_disconnect(&publisher, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
    (void)peer_expect_publish(&subscriber, "a", "x");
    (void)peer_expect_publish(&subscriber, "b", "x");
    (void)peer_expect_publish(&subscriber, "c", "x");
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

/* MQTT-4.9: what is open since an earlier connection is not in the new one's quota. */
Test(publishing, the_receive_maximum_begins_anew_with_a_connection)
{
    begin(receive_two, MQTT_VERSION_5);
    const char *id = cluster_name(&stage, "keeper", 0);
    peer_leave(&publisher);
    cr_assert_not(peer_resume(&publisher, &stage, MQTT_VERSION_5, id));
    say_publish("a", 0, 2, 1);
    say_publish("b", 0, 2, 2);
    expect_reason(2, 1, MQTT_SUCCESS);
    expect_reason(2, 2, MQTT_SUCCESS);
    peer_leave(&publisher);

    cr_assert(peer_resume(&publisher, &stage, MQTT_VERSION_5, id));
    say_publish("c", 0, 2, 3);
    say_publish("d", 0, 2, 4);
    expect_reason(2, 3, MQTT_SUCCESS);
    expect_reason(2, 4, MQTT_SUCCESS);
    say_publish("e", 0, 2, 5);

    (void)peer_expect_disconnect(&publisher, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
    stage_end(&stage);
}

static void narrow(struct options *options)
{
    options->limits.topic_size_max = 10;
    options->limits.topic_levels_max = 3;
    options->limits.user_properties_max = 2;
    options->protocol.check_payload_format = true;
}

Test(publishing, topics_beyond_the_limits_are_refused_by_name)
{
    begin(narrow, MQTT_VERSION_5);

    say_publish("0123456789", 0, 1, 1);
    expect_reason(1, 1, MQTT_SUCCESS);
    say_publish("0123456789a", 0, 1, 2);
    expect_reason(1, 2, MQTT_TOPIC_NAME_INVALID);
    say_publish("a/b/c", 0, 1, 3);
    expect_reason(1, 3, MQTT_SUCCESS);
    say_publish("a/b/c/d", 0, 1, 4);
    expect_reason(1, 4, MQTT_TOPIC_NAME_INVALID);

    cr_assert_eq(cluster_sum(&stage).publish_refused, 2);
    stage_end(&stage);
}

Test(publishing, user_properties_beyond_the_limit_are_refused)
{
    struct wire properties = {0};
    begin(narrow, MQTT_VERSION_5);

    for (unsigned count = 1; count <= 3; count++) {
        wire_user_property(&properties, "name", "value");
        struct publish_head head = {
            .topic = slice_text("a"), .qos = 1, .packet_id = 1, .forward = wire_view(&properties)};
        wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("x"));
        peer_say(&publisher);
        expect_reason(1, 1, count <= 2 ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED);
    }

    wire_fini(&properties);
    stage_end(&stage);
}

Test(publishing, a_payload_is_checked_where_it_claims_to_be_text)
{
    static const uint8_t text[] = {PROPERTY_PAYLOAD_FORMAT, 1};
    static const uint8_t bytes[] = {PROPERTY_PAYLOAD_FORMAT, 0};
    begin(narrow, MQTT_VERSION_5);
    struct publish_head head = {.topic = slice_text("a"), .qos = 1, .packet_id = 1};

    head.forward = slice_of(text, sizeof(text));
    wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("\xff"));
    wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("\xc3\xa9"));
    head.forward = slice_of(bytes, sizeof(bytes));
    wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("\xff"));
    peer_say(&publisher);

    expect_reason(1, 1, MQTT_PAYLOAD_FORMAT_INVALID);
    expect_reason(1, 1, MQTT_SUCCESS);
    expect_reason(1, 1, MQTT_SUCCESS);
    stage_end(&stage);
}

static void all_expire(struct options *options)
{
    options->limits.message_expiry_max_s = 100;
}

Test(publishing, the_operator_bounds_the_expiry)
{
    static const uint32_t asked[] = {50, 500};
    static const uint32_t given[] = {50, 100};
    begin(all_expire, MQTT_VERSION_5);

    say_publish("a", 0, 0, 0);
    cr_assert_eq(peer_expect_publish(&subscriber, "a", "x").message_expiry_s, 100);
    for (unsigned at = 0; at < 2; at++) {
        struct publish_head head = {
            .topic = slice_text("a"), .has_message_expiry = true, .message_expiry_s = asked[at]};
        wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("x"));
        peer_say(&publisher);
        cr_assert_eq(peer_expect_publish(&subscriber, "a", "x").message_expiry_s, given[at]);
    }

    stage_end(&stage);
}

Test(publishing, acknowledgements_of_nothing_are_answered_or_ignored)
{
    begin(NULL, MQTT_VERSION_5);

    peer_ack(&subscriber, PACKET_PUBACK, 77, MQTT_SUCCESS);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBCOMP, 77, MQTT_SUCCESS);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBREC, 77, MQTT_SUCCESS);
    (void)peer_expect_ack(&subscriber, PACKET_PUBREL, 77, MQTT_PACKET_ID_NOT_FOUND);
    peer_ack(&subscriber, PACKET_PUBREL, 77, MQTT_SUCCESS);

    (void)peer_expect_ack(&subscriber, PACKET_PUBCOMP, 77, MQTT_PACKET_ID_NOT_FOUND);
    cr_assert_not(subscriber.ended);
    stage_end(&stage);
}

Test(publishing, an_acknowledgement_of_another_kind_is_a_protocol_error)
{
    static const struct {
        uint8_t          qos;
        enum packet_type wrong;
    } rows[] = {
        {1, PACKET_PUBREC},
        {1, PACKET_PUBCOMP},
        {2, PACKET_PUBACK},
        {2, PACKET_PUBCOMP},
    };

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        begin(NULL, MQTT_VERSION_5);
        peer_deliver(&publisher, "a", "x", rows[row].qos);
        uint16_t id = peer_expect_publish(&subscriber, "a", "x").packet_id;

        peer_ack(&subscriber, rows[row].wrong, id, MQTT_SUCCESS);

        (void)peer_expect_disconnect(&subscriber, MQTT_PROTOCOL_ERROR);
        stage_end(&stage);
    }
}

Test(publishing, every_packet_is_counted_by_qos)
{
    begin(NULL, MQTT_VERSION_5);

    peer_deliver(&publisher, "a", "xx", 0);
    peer_deliver(&publisher, "a", "xx", 1);
    peer_deliver(&publisher, "a", "xx", 2);
    peer_deliver(&publisher, "a", "xx", 2);

    struct statistics sum = cluster_sum(&stage);
    cr_assert_eq(sum.publish_in, 4);
    cr_assert_eq(sum.publish_bytes_in, 8);
    cr_assert_eq(sum.publish_out, 4);
    cr_assert_eq(sum.publish_bytes_out, 8);
    for (unsigned qos = 0; qos < 3; qos++) {
        cr_assert_eq(sum.publish_in_qos[qos], qos == 2 ? 2 : 1);
        cr_assert_eq(sum.publish_out_qos[qos], qos == 2 ? 2 : 1);
    }
    stage_end(&stage);
}
