/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What the standards demand of a server around PUBLISH and its acknowledgements, as receiver and as
 * sender, and of messages on their way; see docs/conformance.md.
 */
#include "tests/support/stage_expect.h"

static struct stage stage;

static void begin(void)
{
    stage_begin(&stage, NULL);
}

static void end(void)
{
    stage_end(&stage);
}

TestSuite(conformance_publish, .init = begin, .fini = end);

static const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_311};

static void fresh_stage(void)
{
    stage_end(&stage);
    stage_begin(&stage, NULL);
}

static void say_publish(struct peer *peer, const char *topic, const char *payload, uint8_t qos,
                        uint16_t packet_id)
{
    wire_publish(&peer->say, peer->version, topic, payload, qos, packet_id);
    peer_say(peer);
}

static void retain(struct peer *peer, const char *topic, const char *payload)
{
    wire_publish_retained(&peer->say, peer->version, topic, payload, 0, 0);
    peer_say(peer);
}

/* [MQTT-3.3.1-4] [MQTT-3.3.1-2] [MQTT-2.2.1-2] [MQTT-2.2.1-3] [MQTT-3.3.2-1] [MQTT-3.3.2-2]
 * [MQTT-4.7.3-1] [MQTT-4.7.3-2], 3.1.1 alike */
Test(conformance_publish, a_malformed_publish_ends_the_link)
{
    static const uint8_t five[][9] = {
        {0x36, 6, 0, 1, 'a', 0, 1, 0, 'x'}, /* QoS 3 */
        {0x32, 6, 0, 1, 'a', 0, 0, 0, 'x'}, /* packet identifier 0 */
        {0x30, 5, 0, 1, '#', 0, 'x'},       /* a wildcard */
        {0x30, 5, 0, 1, 0, 0, 'x'},         /* a null character */
        {0x30, 5, 0, 1, 0xff, 0, 'x'},      /* not UTF-8 */
        {0x30, 4, 0, 0, 0, 'x'},            /* neither topic nor alias */
    };

    for (size_t at = 0; at < sizeof(five) / sizeof(five[0]); at++) {
        static struct peer peer;
        struct frame       frame;
        peer_connect(&peer, &stage, MQTT_VERSION_5, "five");
        peer_say_bytes(&peer, five[at], five[at][1] + 2U);
        peer_expect(&peer, PACKET_DISCONNECT, &frame);
        cr_assert_geq(frame.body.data[0], 0x80);
        peer_expect_end(&peer);
        peer_leave(&peer);

        static struct peer older;
        uint8_t            four[9]; /* without the property length */
        size_t             properties = at < 2 ? 7 : at == 5 ? 4 : 5;
        memcpy(four, five[at], properties);
        four[properties] = 'x';
        four[1]--;
        peer_connect(&older, &stage, MQTT_VERSION_311, "four");
        peer_say_bytes(&older, four, four[1] + 2U);
        peer_expect_end(&older);
        peer_leave(&older);
    }
}

/* [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8], 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6]
 * [MQTT-3.3.1-7] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.3.1-12] */
Test(conformance_publish, a_retained_message_is_replaced_left_alone_and_removed)
{
    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        static struct peer watcher;
        static struct peer late;
        peer_connect(&peer, &stage, versions[at], "client");
        peer_connect(&watcher, &stage, versions[at], "watcher");
        peer_connect(&late, &stage, versions[at], "late");

        retain(&peer, "a", "one");
        retain(&peer, "a", "two");
        peer_publish(&peer, "a", "three");
        peer_subscribe(&late, "a", 0);
        (void)peer_expect_publish(&late, "a", "two");
        peer_expect_silence(&late);

        peer_publish(&peer, "a", ""); /* empty, but not to retain: leaves it */
        peer_subscribe(&watcher, "a", 0);
        (void)peer_expect_publish(&watcher, "a", "two");

        retain(&peer, "a", "");
        (void)peer_expect_publish(&watcher, "a", ""); /* goes on like any other */
        peer_subscribe(&watcher, "+", 0);
        peer_expect_silence(&watcher);
        peer_leave(&peer);
        peer_leave(&watcher);
        peer_leave(&late);
    }
}

static struct publish_head with_properties(struct wire *block)
{
    wire_user_property(block, "b", "1");
    wire_user_property(block, "a", "2");
    struct writer writer = wire_room(block, 2);
    write_property_u8(&writer, PROPERTY_PAYLOAD_FORMAT, 1);
    writer = wire_room(block, property_bytes_size(slice_text("answer/here")));
    write_property_bytes(&writer, PROPERTY_RESPONSE_TOPIC, slice_text("answer/here"));
    writer = wire_room(block, property_bytes_size(slice_of("\0\1\2", 3)));
    write_property_bytes(&writer, PROPERTY_CORRELATION_DATA, slice_of("\0\1\2", 3));
    writer = wire_room(block, property_bytes_size(slice_text("text/plain")));
    write_property_bytes(&writer, PROPERTY_CONTENT_TYPE, slice_text("text/plain"));
    wire_user_property(block, "b", "1");
    return (struct publish_head){.topic = slice_text("a"), .forward = wire_view(block)};
}

/* [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20] */
Test(conformance_publish, properties_travel_unaltered_and_in_order)
{
    static struct peer watcher;
    static struct peer away;
    static struct peer peer;
    struct wire        block = {0};
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 1);
    cr_assert_not(peer_resume(&away, &stage, MQTT_VERSION_5, "away"));
    peer_subscribe(&away, "a", 1);
    peer_cut(&away);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    struct publish_head head = with_properties(&block);
    head.qos = 1;
    head.packet_id = 1;
    head.retain = true;

    wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("x"));
    peer_say(&peer);

    cr_assert(slice_equal(peer_expect_publish(&watcher, "a", "x").properties, wire_view(&block)));
    static struct peer back;
    cr_assert(peer_resume(&back, &stage, MQTT_VERSION_5, "away"));
    cr_assert(slice_equal(peer_expect_publish(&back, "a", "x").properties, wire_view(&block)));
    peer_subscribe(&back, "+", 0);
    cr_assert(slice_equal(peer_expect_publish(&back, "a", "x").properties, wire_view(&block)));
    wire_fini(&block);
}

/* [MQTT-3.3.2-5] [MQTT-3.3.2-6] */
Test(conformance_publish, the_message_expiry_counts_down_and_ends_what_waits)
{
    static struct peer peer;
    static struct peer away;
    cr_assert_not(peer_resume(&away, &stage, MQTT_VERSION_5, "away"));
    peer_subscribe(&away, "a", 1);
    peer_cut(&away);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    struct publish_head head = {.topic = slice_text("a"), .qos = 1, .has_message_expiry = true};
    head.message_expiry_s = 10;
    head.packet_id = 1;
    wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("short"));
    head.message_expiry_s = 100;
    head.packet_id = 2;
    wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("long"));
    peer_say(&peer);

    stage_pass(&stage, 20000);
    static struct peer back;
    cr_assert(peer_resume(&back, &stage, MQTT_VERSION_5, "away"));

    struct publish publish = peer_expect_publish(&back, "a", "long");
    cr_assert(publish.has_message_expiry);
    cr_assert_geq(publish.message_expiry_s, 79);
    cr_assert_leq(publish.message_expiry_s, 80);
    peer_expect_silence(&back);
}

/* [MQTT-3.3.2-7] [MQTT-3.3.2-12], and what a client does against [MQTT-3.3.2-8] [MQTT-3.3.2-9]
 * [MQTT-3.2.2-17] [MQTT-3.2.2-18] */
Test(conformance_publish, topic_aliases_are_taken_within_one_connection)
{
    static struct peer  watcher;
    static struct peer  peer;
    struct connect      connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    struct publish_head set = {.topic = slice_text("a/b")};
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "#", 0);
    uint16_t maximum = peer_connect_of(&peer, &stage, &connect).topic_alias_maximum;
    cr_assert_gt(maximum, 0);

    for (uint16_t alias = 1; alias <= maximum; alias++) {
        struct publish_head use = {.topic_alias = alias};
        set.topic_alias = alias;
        wire_publish_of(&peer.say, MQTT_VERSION_5, set, slice_text("set"));
        wire_publish_of(&peer.say, MQTT_VERSION_5, use, slice_text("used"));
        peer_say(&peer);
        (void)peer_expect_publish(&watcher, "a/b", "set");
        (void)peer_expect_publish(&watcher, "a/b", "used");
    }
    peer_expect_silence(&peer);
    peer_cut(&peer);

    /* One of another connection, 0, above the maximum: each ends the link. */
    static const uint8_t zero[] = {0x30, 8, 0, 1, 'a', 3, 0x23, 0, 0, 'x'};
    struct publish_head  unknown = {.topic_alias = 1};
    struct publish_head  above = {.topic = slice_text("a"), .topic_alias = (uint16_t)(maximum + 1)};
    for (unsigned which = 0; which < 3; which++) {
        static struct peer wrong;
        struct frame       frame;
        peer_connect(&wrong, &stage, MQTT_VERSION_5, "client");
        if (which == 0)
            wire_publish_of(&wrong.say, MQTT_VERSION_5, unknown, slice_text("x"));
        else if (which == 1)
            wire_raw(&wrong.say, zero, sizeof(zero));
        else
            wire_publish_of(&wrong.say, MQTT_VERSION_5, above, slice_text("x"));
        peer_say(&wrong);
        peer_expect(&wrong, PACKET_DISCONNECT, &frame);
        if (which > 0)
            cr_assert_eq(frame.body.data[0], MQTT_TOPIC_ALIAS_INVALID);
        peer_expect_end(&wrong);
        peer_leave(&wrong);
    }
    peer_expect_silence(&watcher);
}

static void without_aliases(struct options *options)
{
    options->protocol.topic_alias_max = 0;
}

/* Against [MQTT-3.2.2-18] */
Test(conformance_publish, no_alias_is_taken_where_none_is_allowed)
{
    static struct peer  peer;
    struct connect      connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    struct publish_head head = {.topic = slice_text("a"), .topic_alias = 1};
    stage_end(&stage);
    stage_begin(&stage, without_aliases);
    cr_assert_eq(peer_connect_of(&peer, &stage, &connect).topic_alias_maximum, 0);

    wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("x"));
    peer_say(&peer);

    (void)peer_expect_disconnect(&peer, MQTT_TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-3.4.2-1]
 * [MQTT-3.5.2-1] [MQTT-3.7.2-1], 3.1.1 [MQTT-3.3.4-1] [MQTT-2.3.1-6] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
 */
Test(conformance_publish, each_qos_has_its_answer_with_the_same_identifier)
{
    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        enum mqtt_reason   nobody = at == 0 ? MQTT_NO_MATCHING_SUBSCRIBERS : MQTT_SUCCESS;
        struct frame       frame;
        struct ack         ack;
        peer_connect(&peer, &stage, versions[at], "client");

        say_publish(&peer, "a", "x", 0, 0);
        peer_expect_silence(&peer);
        say_publish(&peer, "a", "x", 1, 0x1234);
        peer_expect(&peer, PACKET_PUBACK, &frame);
        cr_assert_eq(ack_decode(versions[at], PACKET_PUBACK, frame.flags, frame.body, &ack),
                     MQTT_SUCCESS);
        cr_assert_eq(ack.packet_id, 0x1234);
        cr_assert(ack.reason == MQTT_SUCCESS || ack.reason == nobody);
        say_publish(&peer, "a", "x", 2, 0x4321);
        peer_expect(&peer, PACKET_PUBREC, &frame);
        cr_assert_eq(ack_decode(versions[at], PACKET_PUBREC, frame.flags, frame.body, &ack),
                     MQTT_SUCCESS);
        cr_assert_eq(ack.packet_id, 0x4321);
        cr_assert(ack.reason == MQTT_SUCCESS || ack.reason == nobody);
        peer_ack(&peer, PACKET_PUBREL, 0x4321, MQTT_SUCCESS);
        (void)peer_expect_ack(&peer, PACKET_PUBCOMP, 0x4321, MQTT_SUCCESS);
        peer_expect_silence(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-3.6.1-1], 3.1.1 the same */
Test(conformance_publish, pubrel_with_other_flags_is_malformed)
{
    static struct peer five;
    static struct peer four;
    peer_connect(&five, &stage, MQTT_VERSION_5, "five");
    peer_connect(&four, &stage, MQTT_VERSION_311, "four");

    wire_frame(&five.say, PACKET_PUBREL, 0, slice_of("\0\1", 2));
    peer_say(&five);
    wire_frame(&four.say, PACKET_PUBREL, 0, slice_of("\0\1", 2));
    peer_say(&four);

    (void)peer_expect_disconnect(&five, MQTT_MALFORMED_PACKET);
    peer_expect_end(&four);
}

/* [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-1] [MQTT-3.6.2-2]
 * [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] */
Test(conformance_publish, acknowledgements_never_outgrow_the_client)
{
    static struct peer peer;
    struct frame       frame;
    struct connect     connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    unsigned           seen = 0;
    connect.maximum_packet_size = 32;
    (void)peer_connect_of(&peer, &stage, &connect);

    say_publish(&peer, "$SYS/broker/uptime", "x", 1, 1);
    say_publish(&peer, "$SYS/broker/uptime", "x", 2, 2);
    peer_ack(&peer, PACKET_PUBREL, 77, MQTT_SUCCESS);
    peer_ack(&peer, PACKET_PUBREC, 78, MQTT_SUCCESS);

    while (peer_hear(&peer, &frame)) {
        cr_assert_leq(frame.size, 32);
        seen |= 1U << frame.type;
    }
    if (peer.open)
        cr_assert_eq(seen, 1U << PACKET_PUBACK | 1U << PACKET_PUBREC | 1U << PACKET_PUBCOMP |
                               1U << PACKET_PUBREL);
}

/* Against [MQTT-3.3.4-6] */
Test(conformance_publish, a_subscription_identifier_from_a_client_is_a_protocol_error)
{
    static struct peer   peer;
    static const uint8_t packet[] = {0x30, 7, 0, 1, 'a', 2, 0x0b, 1, 'x'};
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    peer_say_bytes(&peer, packet, sizeof(packet));

    (void)peer_expect_disconnect(&peer, MQTT_PROTOCOL_ERROR);
}

static void with_two_at_once(struct options *options)
{
    options->protocol.receive_maximum = 2;
}

/* Against [MQTT-3.3.4-7] [MQTT-4.9.0-1] */
Test(conformance_publish, more_than_the_receive_maximum_ends_the_link)
{
    static struct peer peer;
    struct connect     connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    stage_end(&stage);
    stage_begin(&stage, with_two_at_once);
    cr_assert_eq(peer_connect_of(&peer, &stage, &connect).receive_maximum, 2);

    struct frame frame;
    for (uint16_t id = 1; id <= 3; id++)
        wire_publish(&peer.say, MQTT_VERSION_5, "a", "x", 2, id);
    peer_say(&peer);

    peer_expect(&peer, PACKET_PUBREC, &frame);
    peer_expect(&peer, PACKET_PUBREC, &frame);
    (void)peer_expect_disconnect(&peer, MQTT_RECEIVE_MAXIMUM_EXCEEDED);
}

/* 3.1.1 knows no receive maximum: whatever has an identifier may be open. */
Test(conformance_publish, the_receive_maximum_does_not_bind_3_1_1)
{
    static struct peer peer;
    stage_end(&stage);
    stage_begin(&stage, with_two_at_once);
    peer_connect(&peer, &stage, MQTT_VERSION_311, "client");

    for (uint16_t id = 1; id <= 100; id++)
        wire_publish(&peer.say, MQTT_VERSION_311, "a", "x", 2, id);
    peer_say(&peer);

    for (uint16_t id = 1; id <= 100; id++)
        (void)peer_expect_ack(&peer, PACKET_PUBREC, id, MQTT_SUCCESS);
    cr_assert(peer.open);
}

/* [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3] */
Test(conformance_publish, the_clients_receive_maximum_holds_back_publishes_alone)
{
    static struct peer peer;
    static struct peer other;
    struct connect     connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    connect.receive_maximum = 2;
    (void)peer_connect_of(&peer, &stage, &connect);
    peer_subscribe(&peer, "a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");

    peer_deliver(&other, "a", "1", 1);
    peer_deliver(&other, "a", "2", 2);
    peer_deliver(&other, "a", "3", 1);
    peer_deliver(&other, "a", "4", 2);
    uint16_t first = peer_expect_publish(&peer, "a", "1").packet_id;
    uint16_t second = peer_expect_publish(&peer, "a", "2").packet_id;
    peer_expect_silence(&peer);

    wire_ping(&peer.say, PACKET_PINGREQ);
    wire_publish(&peer.say, MQTT_VERSION_5, "b", "x", 1, 1);
    peer_say(&peer);
    struct frame frame;
    peer_expect(&peer, PACKET_PINGRESP, &frame);
    peer_expect(&peer, PACKET_PUBACK, &frame);
    peer_ack(&peer, PACKET_PUBREC, second, MQTT_SUCCESS);
    (void)peer_expect_ack(&peer, PACKET_PUBREL, second, MQTT_SUCCESS);
    peer_expect_silence(&peer); /* PUBREC alone frees nothing */

    peer_ack(&peer, PACKET_PUBACK, first, MQTT_SUCCESS);
    (void)peer_expect_publish(&peer, "a", "3");
    peer_expect_silence(&peer);
    peer_ack(&peer, PACKET_PUBCOMP, second, MQTT_SUCCESS);
    uint16_t fourth = peer_expect_publish(&peer, "a", "4").packet_id;
    peer_deliver(&other, "a", "5", 1);
    peer_expect_silence(&peer);
    peer_ack(&peer, PACKET_PUBREC, fourth, MQTT_UNSPECIFIED_ERROR);
    (void)peer_expect_publish(&peer, "a", "5");
}

/* [MQTT-4.3.2-5] [MQTT-4.3.3-12] */
Test(conformance_publish, a_packet_identifier_that_was_answered_is_new)
{
    static struct peer peer;
    static struct peer watcher;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 0);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    struct publish_head again = {
        .topic = slice_text("a"), .qos = 1, .packet_id = 50000, .duplicate = true};
    peer_deliver(&peer, "a", "one", 1);
    wire_publish_of(&peer.say, MQTT_VERSION_5, again, slice_text("two"));
    peer_say(&peer);
    struct frame frame;
    peer_expect(&peer, PACKET_PUBACK, &frame);
    peer_deliver(&peer, "a", "three", 2);
    peer_deliver(&peer, "a", "four", 2);

    (void)peer_expect_publish(&watcher, "a", "one");
    (void)peer_expect_publish(&watcher, "a", "two");
    (void)peer_expect_publish(&watcher, "a", "three");
    (void)peer_expect_publish(&watcher, "a", "four");
    peer_expect_silence(&watcher);
}

/* [MQTT-4.3.3-10] [MQTT-4.3.3-11], 3.1.1 [MQTT-4.3.3-2]; also across a reconnect. */
Test(conformance_publish, qos_2_sent_twice_is_delivered_once)
{
    for (size_t at = 0; at < 2; at++) {
        static struct peer  peer;
        static struct peer  again;
        static struct peer  watcher;
        struct publish_head head = {
            .topic = slice_text("a"), .qos = 2, .packet_id = 7, .duplicate = true};
        struct frame frame;
        peer_connect(&watcher, &stage, versions[at], "watcher");
        peer_subscribe(&watcher, "a", 0);
        cr_assert_not(peer_resume(&peer, &stage, versions[at], "client"));

        say_publish(&peer, "a", "x", 2, 7);
        wire_publish_of(&peer.say, versions[at], head, slice_text("x"));
        peer_say(&peer);
        peer_expect(&peer, PACKET_PUBREC, &frame);
        peer_expect(&peer, PACKET_PUBREC, &frame);
        peer_cut(&peer);
        cr_assert(peer_resume(&again, &stage, versions[at], "client"));
        wire_publish_of(&again.say, versions[at], head, slice_text("x"));
        peer_say(&again);
        peer_expect(&again, PACKET_PUBREC, &frame);
        peer_ack(&again, PACKET_PUBREL, 7, MQTT_SUCCESS);
        (void)peer_expect_ack(&again, PACKET_PUBCOMP, 7, MQTT_SUCCESS);

        (void)peer_expect_publish(&watcher, "a", "x");
        peer_expect_silence(&watcher);
        peer_leave(&peer);
        peer_leave(&again);
        peer_leave(&watcher);
        fresh_stage();
    }
}

/* [MQTT-4.3.3-9] */
Test(conformance_publish, a_refused_qos_2_message_frees_its_identifier)
{
    static struct peer peer;
    static struct peer watcher;
    struct frame       frame;
    struct ack         ack;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 0);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    say_publish(&peer, "$SYS/broker/uptime", "refused", 2, 7);
    peer_expect(&peer, PACKET_PUBREC, &frame);
    cr_assert_eq(ack_decode(MQTT_VERSION_5, PACKET_PUBREC, frame.flags, frame.body, &ack),
                 MQTT_SUCCESS);
    cr_assert_geq(ack.reason, MQTT_UNSPECIFIED_ERROR);
    say_publish(&peer, "a", "new", 2, 7);

    peer_expect(&peer, PACKET_PUBREC, &frame);
    (void)peer_expect_publish(&watcher, "a", "new");
}

/* [MQTT-4.3.3-13] */
Test(conformance_publish, the_exchange_goes_on_when_the_message_has_expired)
{
    static struct peer  peer;
    struct frame        frame;
    struct publish_head head = {.topic = slice_text("a"),
                                .qos = 2,
                                .packet_id = 7,
                                .has_message_expiry = true,
                                .message_expiry_s = 1};
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("x"));
    peer_say(&peer);
    peer_expect(&peer, PACKET_PUBREC, &frame);
    stage_pass(&stage, 10000);
    peer_ack(&peer, PACKET_PUBREL, 7, MQTT_SUCCESS);

    (void)peer_expect_ack(&peer, PACKET_PUBCOMP, 7, MQTT_SUCCESS);
}

/* [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-3.3.1-3], 3.1.1 [MQTT-3.3.1-3] [MQTT-4.3.1-1]
 */
Test(conformance_publish, dup_is_not_passed_on)
{
    static struct peer  peer;
    static struct peer  watcher;
    struct publish_head head = {.topic = slice_text("a"), .packet_id = 7, .duplicate = true};
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 2);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    peer_publish(&peer, "a", "x");
    cr_assert_not(peer_expect_publish(&watcher, "a", "x").duplicate);
    for (head.qos = 1; head.qos <= 2; head.qos++, head.packet_id++) {
        wire_publish_of(&peer.say, MQTT_VERSION_5, head, slice_text("x"));
        peer_say(&peer);
        cr_assert_not(peer_expect_publish(&watcher, "a", "x").duplicate);
    }
}

/* [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1], 3.1.1 [MQTT-2.3.1-1] [MQTT-2.3.1-4] [MQTT-2.3.1-5]
 */
Test(conformance_publish, packet_identifiers_are_never_0_and_never_in_use)
{
    static uint8_t     held[65536 / 8];
    static struct peer peer;
    static struct peer other;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    peer_subscribe(&peer, "a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");

    /* Each hundredth stays unanswered, while the counter runs round. */
    for (uint32_t number = 0; number < 1500; number++) {
        for (uint32_t burst = 0; burst < 50; burst++)
            wire_publish(&other.say, MQTT_VERSION_5, "a", "x", 1, (uint16_t)(burst + 1));
        peer_say(&other);
        wire_reset(&other.heard);
        other.heard_at = 0;
        for (uint32_t burst = 0; burst < 50; burst++) {
            uint16_t id = peer_expect_publish(&peer, "a", "x").packet_id;
            cr_assert_neq(id, 0);
            cr_assert_eq(held[id / 8] >> (id % 8) & 1, 0, "identifier %u is in use", id);
            if (burst == 0 && number % 100 == 0)
                held[id / 8] |= (uint8_t)(1U << (id % 8));
            else
                wire_ack(&peer.say, MQTT_VERSION_5, PACKET_PUBACK, id, MQTT_SUCCESS);
        }
        wire_reset(&peer.heard);
        peer.heard_at = 0;
        peer_say(&peer);
    }
}

/*
 * [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
 * [MQTT-4.4.0-1] [MQTT-4.5.0-1], 3.1.1 [MQTT-3.3.1-1] [MQTT-2.3.1-3] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
 * [MQTT-4.4.0-1] [MQTT-4.5.0-1]
 */
Test(conformance_publish, what_is_unacknowledged_is_sent_again_after_a_reconnect_and_only_then)
{
    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        static struct peer other;
        static struct peer again;
        cr_assert_not(peer_resume(&peer, &stage, versions[at], "client"));
        peer_subscribe(&peer, "a", 2);
        peer_connect(&other, &stage, MQTT_VERSION_5, "other");
        peer_deliver(&other, "a", "1", 1);
        peer_deliver(&other, "a", "2", 2);
        peer_deliver(&other, "a", "3", 2);
        peer_deliver(&other, "a", "4", 1);
        peer_deliver(&other, "a", "5", 1);
        uint16_t one = peer_expect_publish(&peer, "a", "1").packet_id;
        uint16_t two = peer_expect_publish(&peer, "a", "2").packet_id;
        uint16_t three = peer_expect_publish(&peer, "a", "3").packet_id;
        uint16_t four = peer_expect_publish(&peer, "a", "4").packet_id;
        uint16_t five = peer_expect_publish(&peer, "a", "5").packet_id;
        peer_ack(&peer, PACKET_PUBREC, two, MQTT_SUCCESS);
        (void)peer_expect_ack(&peer, PACKET_PUBREL, two, MQTT_SUCCESS);
        peer_ack(&peer, PACKET_PUBACK, four, MQTT_SUCCESS);
        stage_pass(&stage, 600000);
        peer_expect_silence(&peer);

        peer_cut(&peer);
        cr_assert(peer_resume(&again, &stage, versions[at], "client"));

        struct frame frame;
        bool         released = false;
        uint16_t     order[3];
        unsigned     count = 0;
        while (peer_hear(&again, &frame)) {
            struct publish publish;
            struct ack     ack;
            if (frame.type == PACKET_PUBREL) {
                cr_assert_eq(ack_decode(versions[at], PACKET_PUBREL, frame.flags, frame.body, &ack),
                             MQTT_SUCCESS);
                cr_assert_eq(ack.packet_id, two);
                released = true;
                continue;
            }
            cr_assert_eq(frame.type, PACKET_PUBLISH);
            cr_assert_eq(publish_decode(versions[at], frame.flags, frame.body, true, &publish),
                         MQTT_SUCCESS);
            cr_assert(publish.duplicate);
            cr_assert_lt(count, 3);
            order[count++] = publish.packet_id;
        }
        cr_assert(released);
        cr_assert_eq(count, 3);
        cr_assert_eq(order[0], one);
        cr_assert_eq(order[1], three);
        cr_assert_eq(order[2], five);
        peer_leave(&peer);
        peer_leave(&again);
        peer_leave(&other);
        fresh_stage();
    }
}

/* [MQTT-4.3.3-7] */
Test(conformance_publish, a_qos_2_message_that_was_sent_does_not_expire)
{
    static struct peer  peer;
    static struct peer  other;
    static struct peer  again;
    struct publish_head head = {.topic = slice_text("a"),
                                .qos = 2,
                                .packet_id = 7,
                                .has_message_expiry = true,
                                .message_expiry_s = 5};
    cr_assert_not(peer_resume(&peer, &stage, MQTT_VERSION_5, "client"));
    peer_subscribe(&peer, "a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    wire_publish_of(&other.say, MQTT_VERSION_5, head, slice_text("x"));
    peer_say(&other);
    uint16_t packet_id = peer_expect_publish(&peer, "a", "x").packet_id;

    peer_cut(&peer);
    stage_pass(&stage, 60000);
    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "client"));

    struct publish publish = peer_expect_publish(&again, "a", "x");
    cr_assert_eq(publish.packet_id, packet_id);
    cr_assert(publish.duplicate);
}

/* [MQTT-4.4.0-2] */
Test(conformance_publish, what_a_client_refuses_is_not_sent_again)
{
    static struct peer peer;
    static struct peer other;
    static struct peer again;
    cr_assert_not(peer_resume(&peer, &stage, MQTT_VERSION_5, "client"));
    peer_subscribe(&peer, "a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    peer_deliver(&other, "a", "1", 1);
    peer_deliver(&other, "a", "2", 2);

    peer_ack(&peer, PACKET_PUBACK, peer_expect_publish(&peer, "a", "1").packet_id,
             MQTT_QUOTA_EXCEEDED);
    peer_ack(&peer, PACKET_PUBREC, peer_expect_publish(&peer, "a", "2").packet_id,
             MQTT_QUOTA_EXCEEDED);
    peer_expect_silence(&peer);
    peer_cut(&peer);

    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "client"));
    peer_expect_silence(&again);
}

/* [MQTT-4.6.0-5] [MQTT-4.6.0-6], 3.1.1 [MQTT-4.6.0-5] [MQTT-4.6.0-6]; a server keeps to
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4] as well. */
Test(conformance_publish, messages_and_acknowledgements_keep_their_order)
{
    static struct peer peer;
    static struct peer watcher;
    char               payload[8];
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 2);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    for (uint16_t id = 1; id <= 60; id++) {
        (void)snprintf(payload, sizeof(payload), "%u", id);
        wire_publish(&peer.say, MQTT_VERSION_5, "a", payload, (uint8_t)(1 + id % 2), id);
    }
    peer_say(&peer);

    for (uint16_t id = 1; id <= 60; id++) {
        (void)snprintf(payload, sizeof(payload), "%u", id);
        (void)peer_expect_publish(&watcher, "a", payload);
        (void)peer_expect_ack(&peer, id % 2 == 0 ? PACKET_PUBACK : PACKET_PUBREC, id, MQTT_SUCCESS);
    }
    for (uint16_t id = 1; id <= 59; id += 2)
        wire_ack(&peer.say, MQTT_VERSION_5, PACKET_PUBREL, id, MQTT_SUCCESS);
    peer_say(&peer);
    for (uint16_t id = 1; id <= 59; id += 2)
        (void)peer_expect_ack(&peer, PACKET_PUBCOMP, id, MQTT_SUCCESS);
}

/* 3.1.1 [MQTT-3.3.5-2]: there is no code to refuse with, so it is acknowledged, or the link ends.
 */
Test(conformance_publish, what_3_1_1_may_not_publish_is_acknowledged_or_ends_the_link)
{
    static struct peer peer;
    struct frame       frame;
    peer_connect(&peer, &stage, MQTT_VERSION_311, "client");

    say_publish(&peer, "$SYS/broker/uptime", "x", 1, 1);

    if (peer_hear(&peer, &frame))
        cr_assert_eq(frame.type, PACKET_PUBACK);
    else
        peer_expect_end(&peer);
}

/* Sizes about the steps of the remaining length, to many at once, in both versions and all QoS. */
Test(conformance_publish, messages_of_every_size_reach_many_subscribers_whole)
{
    static struct peer peers[20];
    static struct peer peer;
    static char        payload[16500];
    const uint32_t     sizes[][2] = {{100, 135}, {16355, 16395}};
    for (unsigned at = 0; at < 20; at++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "c%u", at);
        peer_connect(&peers[at], &stage, versions[at % 2], name);
        peer_subscribe(&peers[at], "a/b", 2);
    }
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    memset(payload, 'x', sizeof(payload) - 1);

    for (unsigned range = 0; range < 2; range++) {
        for (uint32_t size = sizes[range][0]; size < sizes[range][1]; size++) {
            uint8_t qos = (uint8_t)(size % 3);
            char    last = payload[size];
            payload[size] = '\0';
            peer_deliver(&peer, "a/b", payload, qos);
            for (unsigned at = 0; at < 20; at++) {
                struct publish publish = peer_expect_publish(&peers[at], "a/b", payload);
                cr_assert_eq(publish.qos, qos);
                if (qos == 1)
                    peer_ack(&peers[at], PACKET_PUBACK, publish.packet_id, MQTT_SUCCESS);
                if (qos == 2) {
                    peer_ack(&peers[at], PACKET_PUBREC, publish.packet_id, MQTT_SUCCESS);
                    (void)peer_expect_ack(&peers[at], PACKET_PUBREL, publish.packet_id,
                                          MQTT_SUCCESS);
                    peer_ack(&peers[at], PACKET_PUBCOMP, publish.packet_id, MQTT_SUCCESS);
                }
                peer_expect_silence(&peers[at]);
            }
            payload[size] = last;
        }
    }
}

/* [MQTT-1.5.4-3], 3.1.1 [MQTT-1.5.3-3] */
Test(conformance_publish, a_byte_order_mark_is_part_of_a_topic)
{
    static struct peer peer;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    peer_subscribe(&peer, "\xef\xbb\xbfx", 0);

    peer_publish(&peer, "x", "without");
    peer_publish(&peer, "\xef\xbb\xbfx", "with");

    (void)peer_expect_publish(&peer, "\xef\xbb\xbfx", "with");
    peer_expect_silence(&peer);
}
