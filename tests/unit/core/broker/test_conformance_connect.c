/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What the standards demand of a server around CONNECT, CONNACK, PINGREQ, DISCONNECT and AUTH, at
 * the level of bytes. Numbers are those of MQTT 5.0; where 3.1.1 is meant, it is said. The table is
 * in docs/conformance.md.
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

TestSuite(conformance_connect, .init = begin, .fini = end);

static void begin_again(void (*change)(struct options *options))
{
    stage_end(&stage);
    stage_begin(&stage, change);
}

static struct connect client(const char *client_id)
{
    return connect_of(MQTT_VERSION_5, slice_text(client_id));
}

static void say_connect(struct peer *peer, const struct connect *connect)
{
    peer_open(peer, &stage, connect->version);
    wire_connect_of(&peer->say, connect);
    peer_say(peer);
}

/* [MQTT-3.1.0-1] [MQTT-3.14.0-1] */
Test(conformance_connect, a_packet_before_connect_ends_the_link_without_a_word)
{
    for (enum packet_type type = PACKET_RESERVED; type < PACKET_TYPE_COUNT; type++) {
        static struct peer peer;
        if (type == PACKET_CONNECT)
            continue;
        peer_open(&peer, &stage, MQTT_VERSION_5);

        wire_frame(&peer.say, type, type == PACKET_SUBSCRIBE ? 2 : 0, slice_text(""));
        peer_say(&peer);

        peer_expect_end(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-3.1.0-2] */
Test(conformance_connect, a_second_connect_is_a_protocol_error)
{
    static struct peer five;
    static struct peer four;
    peer_connect(&five, &stage, MQTT_VERSION_5, "five");
    peer_connect(&four, &stage, MQTT_VERSION_311, "four");

    wire_connect(&five.say, MQTT_VERSION_5, "five");
    peer_say(&five);
    wire_connect(&four.say, MQTT_VERSION_311, "four");
    peer_say(&four);

    (void)peer_expect_disconnect(&five, MQTT_PROTOCOL_ERROR);
    peer_expect_end(&four);
}

/* [MQTT-3.1.2-1] */
Test(conformance_connect, another_protocol_name_is_not_accepted)
{
    static const uint8_t packet[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'X', 5, 2, 0, 60, 0, 0, 0};
    static struct peer   peer;
    peer_open(&peer, &stage, MQTT_VERSION_5);

    peer_say_bytes(&peer, packet, sizeof(packet));

    struct frame frame;
    if (peer_hear(&peer, &frame))
        cr_assert_eq(frame.type, PACKET_CONNACK);
    peer_expect_end(&peer);
}

/* [MQTT-3.1.2-2], and the same number of 3.1.1 */
Test(conformance_connect, another_protocol_level_is_answered_and_closed)
{
    static const uint8_t six[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 60, 0, 0, 0};
    static const uint8_t two[] = {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 2, 2, 0, 60, 0, 0};
    static struct peer   newer;
    static struct peer   older;
    peer_open(&newer, &stage, MQTT_VERSION_5);
    peer_open(&older, &stage, MQTT_VERSION_311);

    peer_say_bytes(&newer, six, sizeof(six));
    peer_say_bytes(&older, two, sizeof(two));

    (void)peer_expect_connack(&newer, MQTT_UNSUPPORTED_VERSION);
    peer_expect_end(&newer);
    (void)peer_expect_connack(&older, (enum mqtt_reason)1);
    peer_expect_end(&older);
}

/* [MQTT-3.1.2-3] [MQTT-3.1.4-1] */
Test(conformance_connect, a_malformed_connect_ends_the_link)
{
    static const uint8_t reserved[] = {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 5, 3, 0, 60, 0, 0, 0};
    static const uint8_t cut[] = {0x10, 11, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0};
    static const uint8_t longer[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 0, 9};
    const struct slice   packets[] = {slice_of(reserved, sizeof(reserved)),
                                      slice_of(cut, sizeof(cut)), slice_of(longer, sizeof(longer))};

    for (size_t at = 0; at < 3; at++) {
        static struct peer peer;
        struct frame       frame;
        peer_open(&peer, &stage, MQTT_VERSION_5);
        peer_say_bytes(&peer, packets[at].data, packets[at].size);
        if (peer_hear(&peer, &frame)) {
            cr_assert_eq(frame.type, PACKET_CONNACK);
            cr_assert_geq(frame.body.data[1], 0x80);
        }
        peer_expect_end(&peer);
        peer_leave(&peer);
    }
}

/* 3.1.1 [MQTT-3.1.4-1] [MQTT-3.2.2-6]: there is no code for it, so nothing is said. */
Test(conformance_connect, a_malformed_connect_of_3_1_1_gets_no_connack)
{
    static const uint8_t reserved[] = {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 60, 0, 0};
    static struct peer   peer;
    peer_open(&peer, &stage, MQTT_VERSION_311);

    peer_say_bytes(&peer, reserved, sizeof(reserved));

    peer_expect_end(&peer);
}

/* [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] */
Test(conformance_connect, a_clean_start_begins_anew)
{
    static struct peer peer;
    static struct peer again;
    cr_assert_not(peer_resume(&peer, &stage, MQTT_VERSION_5, "client"));
    peer_subscribe(&peer, "a", 1);
    peer_cut(&peer);

    struct connect connect = client("client");
    struct connack connack = peer_connect_of(&again, &stage, &connect);

    cr_assert_not(connack.session_present);
    static struct peer other;
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    peer_deliver(&other, "a", "x", 1);
    peer_expect_silence(&again);
}

/* [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.2.2-3], 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5]
 */
Test(conformance_connect, a_kept_session_is_resumed_with_what_came_meanwhile)
{
    const enum mqtt_version versions[] = {MQTT_VERSION_311, MQTT_VERSION_5};

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        static struct peer again;
        static struct peer other;
        cr_assert_not(peer_resume(&peer, &stage, versions[at], "client"));
        peer_subscribe(&peer, "a", 2);
        peer_cut(&peer);
        peer_connect(&other, &stage, MQTT_VERSION_5, "other");
        peer_deliver(&other, "a", "one", 1);
        peer_deliver(&other, "a", "two", 2);

        cr_assert(peer_resume(&again, &stage, versions[at], "client"));

        cr_assert_eq(peer_expect_publish(&again, "a", "one").qos, 1);
        cr_assert_eq(peer_expect_publish(&again, "a", "two").qos, 2);
        peer_expect_silence(&again);
        peer_leave(&again);
        peer_leave(&other);
        peer_leave(&peer);
        stage_end(&stage);
        stage_begin(&stage, NULL);
    }
}

static struct connect with_will(const char *client_id)
{
    struct connect connect = client(client_id);
    connect.has_will = true;
    connect.will.topic = slice_text("will");
    connect.will.payload = slice_text("gone");
    connect.will.qos = 1;
    return connect;
}

/* [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-14] */
Test(conformance_connect, a_will_is_published_once_after_a_cut)
{
    static struct peer watcher;
    static struct peer peer;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "will", 1);
    struct connect connect = with_will("client");
    connect.session_expiry_s = 3600;
    (void)peer_connect_of(&peer, &stage, &connect);

    peer_cut(&peer);
    stage_pass(&stage, 10000);

    struct publish publish = peer_expect_publish(&watcher, "will", "gone");
    cr_assert_eq(publish.qos, 1);
    cr_assert_not(publish.retain);
    peer_ack(&watcher, PACKET_PUBACK, publish.packet_id, MQTT_SUCCESS);
    peer_leave(&peer);
    static struct peer again; /* the same session without a will: none is left in it */
    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "client"));
    peer_cut(&again);
    stage_pass(&stage, 10000);
    peer_expect_silence(&watcher);

    static struct peer late; /* it was not retained */
    peer_connect(&late, &stage, MQTT_VERSION_5, "late");
    peer_subscribe(&late, "will", 0);
    peer_expect_silence(&late);
}

/* [MQTT-3.1.2-15] */
Test(conformance_connect, a_will_with_retain_is_retained)
{
    static struct peer peer;
    struct connect     connect = with_will("client");
    connect.will.retain = true;
    (void)peer_connect_of(&peer, &stage, &connect);

    peer_cut(&peer);

    static struct peer late;
    peer_connect(&late, &stage, MQTT_VERSION_5, "late");
    peer_subscribe(&late, "will", 0);
    cr_assert(peer_expect_publish(&late, "will", "gone").retain);
}

/* [MQTT-3.14.4-3] [MQTT-3.1.2-10], 3.1.1 too; 0x04 asks for it. */
Test(conformance_connect, a_normal_disconnect_discards_the_will)
{
    static struct peer watcher;
    static struct peer five;
    static struct peer four;
    static struct peer wishes;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "will", 0);
    struct connect connect = with_will("five");
    (void)peer_connect_of(&five, &stage, &connect);
    connect = with_will("four");
    connect.version = MQTT_VERSION_311;
    (void)peer_connect_of(&four, &stage, &connect);
    connect = with_will("wishes");
    (void)peer_connect_of(&wishes, &stage, &connect);

    peer_disconnect(&five, MQTT_SUCCESS);
    peer_disconnect(&four, MQTT_SUCCESS);
    peer_expect_silence(&watcher);
    peer_disconnect(&wishes, MQTT_DISCONNECT_WITH_WILL);

    (void)peer_expect_publish(&watcher, "will", "gone");
    peer_expect_silence(&watcher);
}

/* [MQTT-3.1.3-9] [MQTT-3.1.2-8] */
Test(conformance_connect, a_will_waits_for_its_delay_and_goes_when_the_client_returns)
{
    static struct peer watcher;
    static struct peer peer;
    static struct peer again;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "will", 0);
    struct connect connect = with_will("client");
    connect.session_expiry_s = 100;
    connect.will.delay_s = 10;
    (void)peer_connect_of(&peer, &stage, &connect);

    peer_cut(&peer);
    stage_pass(&stage, 9000);
    peer_expect_silence(&watcher);
    connect.clean_start = false;
    cr_assert(peer_connect_of(&again, &stage, &connect).session_present);
    stage_pass(&stage, 20000);
    peer_expect_silence(&watcher);

    peer_cut(&again);
    stage_pass(&stage, 11000);
    (void)peer_expect_publish(&watcher, "will", "gone");
}

/* [MQTT-3.1.2-8]: the end of the session comes before the end of the delay. */
Test(conformance_connect, a_will_goes_out_when_the_session_ends)
{
    static struct peer watcher;
    static struct peer peer;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "will", 0);
    struct connect connect = with_will("client");
    connect.session_expiry_s = 5;
    connect.will.delay_s = 1000;
    (void)peer_connect_of(&peer, &stage, &connect);

    peer_cut(&peer);
    stage_pass(&stage, 4500);
    peer_expect_silence(&watcher);
    stage_pass(&stage, 2000);

    (void)peer_expect_publish(&watcher, "will", "gone");
}

/* [MQTT-3.1.3-10] */
Test(conformance_connect, user_properties_of_a_will_keep_their_order)
{
    static struct peer watcher;
    static struct peer peer;
    struct wire        block = {0};
    wire_user_property(&block, "b", "1");
    wire_user_property(&block, "a", "2");
    wire_user_property(&block, "b", "1");
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "will", 0);
    struct connect connect = with_will("client");
    connect.will.properties = wire_view(&block);
    (void)peer_connect_of(&peer, &stage, &connect);

    peer_cut(&peer);

    struct publish publish = peer_expect_publish(&watcher, "will", "gone");
    cr_assert(slice_equal(publish.properties, wire_view(&block)));
    wire_fini(&block);
}

/* [MQTT-3.1.2-22] [MQTT-3.2.2-22], 3.1.1 [MQTT-3.1.2-24] */
Test(conformance_connect, silence_for_one_and_a_half_keep_alive_ends_the_link)
{
    static struct peer five;
    static struct peer four;
    static struct peer never;
    struct connect     connect = client("five");
    connect.keep_alive_s = 10;
    cr_assert_not(peer_connect_of(&five, &stage, &connect).has_server_keep_alive);
    connect = connect_of(MQTT_VERSION_311, slice_text("four"));
    connect.keep_alive_s = 10;
    (void)peer_connect_of(&four, &stage, &connect);
    peer_connect(&never, &stage, MQTT_VERSION_5, "never");

    stage_pass(&stage, 9000);
    wire_ping(&four.say, PACKET_PINGREQ); /* any packet counts */
    peer_say(&four);
    stage_pass(&stage, 5900);
    peer_expect_silence(&five);
    stage_pass(&stage, 600);

    (void)peer_expect_disconnect(&five, MQTT_KEEP_ALIVE_TIMEOUT);
    cr_assert(four.open);
    stage_pass(&stage, 9000);
    struct frame frame;
    peer_expect(&four, PACKET_PINGRESP, &frame);
    peer_expect_end(&four);
    cr_assert(never.open);
}

/* [MQTT-3.1.2-24] [MQTT-3.1.2-25] */
Test(conformance_connect, what_is_too_large_for_a_client_counts_as_sent)
{
    static struct peer peer;
    static struct peer other;
    char               large[200];
    struct connect     connect = client("client");
    connect.maximum_packet_size = 60;
    connect.receive_maximum = 1;
    (void)peer_connect_of(&peer, &stage, &connect);
    peer_subscribe(&peer, "a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';

    for (uint8_t qos = 0; qos <= 2; qos++)
        peer_deliver(&other, "a", large, qos);
    peer_deliver(&other, "a", "small", 1);

    cr_assert_eq(peer_expect_publish(&peer, "a", "small").qos, 1);
    peer_expect_silence(&peer);
}

/* [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] */
Test(conformance_connect, topic_aliases_stay_within_what_the_client_allows)
{
    static struct peer none;
    static struct peer one;
    static struct peer other;
    struct connect     connect = client("one");
    connect.topic_alias_maximum = 1;
    (void)peer_connect_of(&one, &stage, &connect);
    peer_connect(&none, &stage, MQTT_VERSION_5, "none");
    peer_subscribe(&one, "#", 0);
    peer_subscribe(&none, "#", 0);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");

    for (unsigned round = 0; round < 12; round++)
        peer_publish(&other, round % 3 == 0 ? "topic/a" : "topic/b", "x");

    for (unsigned round = 0; round < 12; round++) {
        struct frame   frame;
        struct publish publish;
        peer_expect(&one, PACKET_PUBLISH, &frame);
        cr_assert_eq(publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &publish),
                     MQTT_SUCCESS);
        cr_assert_leq(publish.topic_alias, 1);
        publish = peer_expect_publish(&none, round % 3 == 0 ? "topic/a" : "topic/b", "x");
        cr_assert_eq(publish.topic_alias, 0);
    }
}

static void with_response_information(struct options *options)
{
    (void)snprintf(options->protocol.response_information, OPTIONS_TEXT_SIZE, "answers/");
}

/* [MQTT-3.1.2-28] */
Test(conformance_connect, response_information_is_for_who_asks)
{
    static struct peer asks;
    static struct peer silent;
    begin_again(with_response_information);

    struct connect connect = client("asks");
    connect.request_response_information = true;
    struct connack connack = peer_connect_of(&asks, &stage, &connect);
    cr_assert(slice_equal(connack.response_information, slice_text("answers/")));

    connect = client("silent");
    connack = peer_connect_of(&silent, &stage, &connect);
    cr_assert_eq(connack.response_information.size, 0);
}

/* [MQTT-3.1.2-29] */
Test(conformance_connect, without_problem_information_acknowledgements_are_bare)
{
    static struct peer peer;
    struct connect     connect = client("client");
    connect.request_problem_information = false;
    (void)peer_connect_of(&peer, &stage, &connect);

    wire_publish(&peer.say, MQTT_VERSION_5, "$SYS/broker/version", "x", 1, 1);
    wire_publish(&peer.say, MQTT_VERSION_5, "$SYS/broker/version", "x", 2, 2);
    wire_subscribe(&peer.say, MQTT_VERSION_5, 3, "a/#/b", 0);
    wire_unsubscribe(&peer.say, MQTT_VERSION_5, 4, "never");
    wire_ack(&peer.say, MQTT_VERSION_5, PACKET_PUBREL, 9, MQTT_SUCCESS);
    wire_ack(&peer.say, MQTT_VERSION_5, PACKET_PUBREC, 9, MQTT_SUCCESS);
    peer_say(&peer);

    struct frame frame;
    while (peer_hear(&peer, &frame)) {
        struct ack    ack = {0};
        struct suback suback = {0};
        if (frame.type == PACKET_SUBACK || frame.type == PACKET_UNSUBACK)
            cr_assert_eq(
                suback_decode(MQTT_VERSION_5, frame.type, frame.flags, frame.body, &suback),
                MQTT_SUCCESS);
        else if (frame.type != PACKET_DISCONNECT)
            cr_assert_eq(ack_decode(MQTT_VERSION_5, frame.type, frame.flags, frame.body, &ack),
                         MQTT_SUCCESS);
        cr_assert_eq(ack.reason_string.size + suback.reason_string.size, 0);
        cr_assert_eq(ack.user_properties.size, 0);
    }
}

/* [MQTT-4.12.0-1] [MQTT-3.2.2-7] */
Test(conformance_connect, an_unknown_authentication_method_is_refused)
{
    static struct peer peer;
    struct connect     connect = client("client");
    connect.has_authentication_method = true;
    connect.authentication_method = slice_text("SCRAM-SHA-256");

    say_connect(&peer, &connect);

    struct connack connack = peer_expect_connack(&peer, MQTT_BAD_AUTHENTICATION_METHOD);
    cr_assert_eq(connack.authentication_method.size, 0);
    peer_expect_end(&peer);
}

/* [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-3.15.1-1] */
Test(conformance_connect, without_a_method_there_is_no_auth)
{
    static struct peer peer;
    static struct peer bits;
    struct connect     connect = client("client");
    struct connack     connack = peer_connect_of(&peer, &stage, &connect);
    cr_assert_eq(connack.authentication_method.size, 0);
    peer_connect(&bits, &stage, MQTT_VERSION_5, "bits");

    struct auth auth = {
        .reason = MQTT_REAUTHENTICATE, .has_method = true, .method = slice_text("SCRAM-SHA-256")};
    wire_auth_of(&peer.say, &auth);
    peer_say(&peer);
    wire_frame(&bits.say, PACKET_AUTH, 1, slice_text(""));
    peer_say(&bits);

    (void)peer_expect_disconnect(&peer, MQTT_PROTOCOL_ERROR);
    (void)peer_expect_disconnect(&bits, MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.1.3-2] [MQTT-3.1.3-5] */
Test(conformance_connect, client_ids_of_1_to_23_letters_and_digits_are_accepted)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (unsigned size = 1; size <= 23; size++) {
        for (unsigned from = 0; from + size <= 62; from += 13) {
            static struct peer peer;
            struct connect     connect = connect_of(MQTT_VERSION_5, slice_of(letters + from, size));
            struct connack     connack = peer_connect_of(&peer, &stage, &connect);
            cr_assert_eq(connack.assigned_client_id.size, 0);
            peer_leave(&peer);
        }
    }
}

/* [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16], 3.1.1 [MQTT-3.1.3-6] */
Test(conformance_connect, an_empty_client_id_is_replaced_by_a_new_one)
{
    static struct peer first;
    static struct peer second;
    static struct peer again;
    static struct peer older;
    char               id[64];
    struct connect     connect = client("");
    connect.session_expiry_s = 100;

    struct connack connack = peer_connect_of(&first, &stage, &connect);
    cr_assert_gt(connack.assigned_client_id.size, 0);
    cr_assert_lt(connack.assigned_client_id.size, sizeof(id));
    uint32_t size = connack.assigned_client_id.size;
    memcpy(id, connack.assigned_client_id.data, size);
    connack = peer_connect_of(&second, &stage, &connect);
    cr_assert_not(slice_equal(connack.assigned_client_id, slice_of(id, size)));

    peer_cut(&first);
    connect = connect_of(MQTT_VERSION_5, slice_of(id, size));
    connect.clean_start = false;
    cr_assert(peer_connect_of(&again, &stage, &connect).session_present);
    connect = connect_of(MQTT_VERSION_311, slice_text(""));
    (void)peer_connect_of(&older, &stage, &connect);
}

static void without_empty_ids(struct options *options)
{
    options->protocol.allow_empty_client_id = false;
}

/* [MQTT-3.1.3-8] [MQTT-3.1.4-2], 3.1.1 [MQTT-3.1.3-8] [MQTT-3.1.3-9] [MQTT-3.2.2-5] */
Test(conformance_connect, a_rejected_client_id_is_told_and_closed)
{
    static struct peer four;
    struct connect     connect = connect_of(MQTT_VERSION_311, slice_text(""));
    connect.clean_start = false;
    say_connect(&four, &connect);
    (void)peer_expect_connack(&four, (enum mqtt_reason)2);
    peer_expect_end(&four);

    static struct peer five;
    static struct peer clean;
    begin_again(without_empty_ids);
    connect = client("");
    say_connect(&five, &connect);
    (void)peer_expect_connack(&five, MQTT_CLIENT_ID_INVALID);
    peer_expect_end(&five);
    connect = connect_of(MQTT_VERSION_311, slice_text(""));
    say_connect(&clean, &connect);
    (void)peer_expect_connack(&clean, (enum mqtt_reason)2);
    peer_expect_end(&clean);
}

/* [MQTT-3.1.4-3], 3.1.1 [MQTT-3.1.4-2] */
Test(conformance_connect, a_second_connection_takes_the_session_over)
{
    static struct peer five;
    static struct peer four;
    static struct peer last;
    peer_connect(&five, &stage, MQTT_VERSION_5, "client");
    peer_connect(&four, &stage, MQTT_VERSION_311, "client");
    (void)peer_expect_disconnect(&five, MQTT_SESSION_TAKEN_OVER);

    peer_connect(&last, &stage, MQTT_VERSION_5, "client");

    peer_expect_end(&four);
    cr_assert(last.open);
}

/* [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.0-2] */
Test(conformance_connect, connack_comes_first_and_once)
{
    static struct peer peer;
    cr_assert_not(peer_resume(&peer, &stage, MQTT_VERSION_5, "client"));
    peer_subscribe(&peer, "a", 1);
    peer_cut(&peer);
    static struct peer other;
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    peer_deliver(&other, "a", "waits", 1);

    static struct peer again;
    struct connect     connect = client("client");
    connect.clean_start = false;
    peer_open(&again, &stage, MQTT_VERSION_5);
    wire_connect_of(&again.say, &connect);
    wire_ping(&again.say, PACKET_PINGREQ); /* clients need not wait */
    wire_publish(&again.say, MQTT_VERSION_5, "b", "x", 1, 1);
    peer_say(&again);

    (void)peer_expect_connack(&again, MQTT_SUCCESS);
    struct frame frame;
    unsigned     count = 0;
    while (peer_hear(&again, &frame)) {
        cr_assert_neq(frame.type, PACKET_CONNACK);
        count++;
    }
    cr_assert_eq(count, 3);
}

/* [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7], 3.1.1 [MQTT-3.1.4-5] [MQTT-3.2.2-4] */
Test(conformance_connect, nothing_is_taken_behind_a_rejected_connect)
{
    const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_311};
    static struct peer      watcher;
    begin_again(without_empty_ids);
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "#", 0);

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        struct connect     connect = connect_of(versions[at], slice_text(""));
        peer_open(&peer, &stage, versions[at]);
        wire_connect_of(&peer.say, &connect);
        wire_publish(&peer.say, versions[at], "a", "x", 1, 1);
        peer_say(&peer);

        enum mqtt_reason reason =
            versions[at] == MQTT_VERSION_5 ? MQTT_CLIENT_ID_INVALID : (enum mqtt_reason)2;
        cr_assert_not(peer_expect_connack(&peer, reason).session_present);
        peer_expect_end(&peer);
        peer_leave(&peer);
    }
    peer_expect_silence(&watcher);
}

static void with_qos_1(struct options *options)
{
    options->protocol.maximum_qos = 1;
}

/* [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12], and what a client does against [MQTT-3.2.2-11] */
Test(conformance_connect, a_maximum_qos_is_said_and_enforced)
{
    static struct peer peer;
    static struct peer wills;
    begin_again(with_qos_1);

    struct connect connect = client("client");
    cr_assert_eq(peer_connect_of(&peer, &stage, &connect).maximum_qos, 1);
    static const uint8_t granted = 1;
    wire_subscribe(&peer.say, MQTT_VERSION_5, 1, "a", 2);
    peer_say(&peer);
    peer_expect_codes(&peer, PACKET_SUBACK, 1, &granted, 1);
    wire_publish(&peer.say, MQTT_VERSION_5, "a", "x", 2, 1);
    peer_say(&peer);
    (void)peer_expect_disconnect(&peer, MQTT_QOS_NOT_SUPPORTED);

    connect = with_will("wills");
    connect.will.qos = 2;
    say_connect(&wills, &connect);
    (void)peer_expect_connack(&wills, MQTT_QOS_NOT_SUPPORTED);
    peer_expect_end(&wills);
}

static void without_retaining(struct options *options)
{
    options->protocol.retain_available = false;
}

/* [MQTT-3.2.2-13], and what a client does against [MQTT-3.2.2-14] */
Test(conformance_connect, a_broker_that_does_not_retain_says_and_enforces_it)
{
    static struct peer peer;
    static struct peer wills;
    begin_again(without_retaining);

    struct connect connect = client("client");
    cr_assert(peer_connect_of(&peer, &stage, &connect).retain_unavailable);
    wire_publish_retained(&peer.say, MQTT_VERSION_5, "a", "x", 0, 0);
    peer_say(&peer);
    (void)peer_expect_disconnect(&peer, MQTT_RETAIN_NOT_SUPPORTED);

    connect = with_will("wills");
    connect.will.retain = true;
    say_connect(&wills, &connect);
    (void)peer_expect_connack(&wills, MQTT_RETAIN_NOT_SUPPORTED);
    peer_expect_end(&wills);
}

static void with_small_packets(struct options *options)
{
    options->limits.packet_size_max = 1024;
}

/* What a client does against [MQTT-3.2.2-15]; [MQTT-3.14.4-1] [MQTT-4.13.2-1] */
Test(conformance_connect, a_packet_above_the_brokers_maximum_ends_the_link)
{
    static const uint8_t head[] = {0x30, 0x80, 0x10}; /* 2,048 bytes are to come */
    static struct peer   peer;
    begin_again(with_small_packets);
    struct connect connect = client("client");
    cr_assert_eq(peer_connect_of(&peer, &stage, &connect).maximum_packet_size, 1024);

    peer_say_bytes(&peer, head, sizeof(head));

    (void)peer_expect_disconnect(&peer, MQTT_PACKET_TOO_LARGE);
}

/*
 * [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.14.2-3] [MQTT-3.14.2-4]: reasons are left out where they
 * would not fit. Nothing that the broker says may be larger than a client takes.
 */
Test(conformance_connect, reasons_that_do_not_fit_are_left_out)
{
    static struct peer refused;
    struct connect     connect = client("refused");
    connect.maximum_packet_size = 5; /* a bare refusal, and nothing more */
    connect.has_authentication_method = true;
    connect.authentication_method = slice_text("unknown");
    say_connect(&refused, &connect);
    struct frame frame;
    if (peer_hear(&refused, &frame))
        cr_assert_leq(frame.size, 5);
    peer_expect_end(&refused);

    static struct peer peer;
    connect = client("client");
    connect.maximum_packet_size = 40;
    (void)peer_connect_of(&peer, &stage, &connect);
    wire_frame(&peer.say, PACKET_PUBREL, 0, slice_text("\0\1"));
    peer_say(&peer);
    peer_expect(&peer, PACKET_DISCONNECT, &frame);
    cr_assert_leq(frame.size, 40);
    peer_expect_end(&peer);
}

/* [MQTT-3.1.2-24]: an answer that must come, and may not, is the end. */
Test(conformance_connect, answers_that_do_not_fit_end_the_link)
{
    static struct peer greeting;
    static struct peer peer;
    struct frame       frame;
    struct connect     connect = client("greeting");
    connect.maximum_packet_size = 4;
    say_connect(&greeting, &connect);
    peer_expect_end(&greeting);

    struct subscribe_entry entries[60];
    for (unsigned at = 0; at < 60; at++)
        entries[at] = (struct subscribe_entry){.filter = slice_text("a")};
    connect = client("client");
    connect.maximum_packet_size = 60;
    (void)peer_connect_of(&peer, &stage, &connect);
    wire_subscribe_of(&peer.say, MQTT_VERSION_5, 1, 0, entries, 60);
    peer_say(&peer);
    if (peer_hear(&peer, &frame)) {
        cr_assert_eq(frame.type, PACKET_DISCONNECT);
        cr_assert_leq(frame.size, 60);
    }
    peer_expect_end(&peer);
}

/* 3.1.1 [MQTT-3.1.2-12] */
Test(conformance_connect, a_cut_without_a_will_publishes_nothing)
{
    static struct peer watcher;
    static struct peer five;
    static struct peer four;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "#", 0);
    peer_connect(&five, &stage, MQTT_VERSION_5, "five");
    peer_connect(&four, &stage, MQTT_VERSION_311, "four");

    peer_cut(&five);
    peer_cut(&four);
    stage_pass(&stage, 10000);

    peer_expect_silence(&watcher);
}

static void with_one_session(struct options *options)
{
    options->limits.sessions_max = 1;
}

/* 3.1.1 [MQTT-4.8.0-2]; the limit is shared out to the shards: each must be full. */
Test(conformance_connect, a_connect_that_finds_no_room_ends_the_link)
{
    static struct peer fillers[50];
    static struct peer five;
    static struct peer four;
    begin_again(with_one_session);
    for (unsigned at = 0; at < 50; at++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "c%u", at);
        struct connect filler = client(name);
        say_connect(&fillers[at], &filler);
    }

    struct connect connect = client("five");
    say_connect(&five, &connect);
    connect = connect_of(MQTT_VERSION_311, slice_text("four"));
    say_connect(&four, &connect);

    (void)peer_expect_connack(&five, MQTT_QUOTA_EXCEEDED);
    peer_expect_end(&five);
    (void)peer_expect_connack(&four, (enum mqtt_reason)3);
    peer_expect_end(&four);
}

/* [MQTT-4.1.0-1] [MQTT-4.1.0-2] [MQTT-3.1.2-23] */
Test(conformance_connect, a_session_lives_while_connected_and_until_it_expires)
{
    static struct peer peer;
    static struct peer again;
    static struct peer late;
    struct connect     connect = client("client");
    connect.clean_start = false;
    connect.session_expiry_s = 10;
    (void)peer_connect_of(&peer, &stage, &connect);

    stage_pass(&stage, 60000);
    peer_cut(&peer);
    stage_pass(&stage, 9000);
    cr_assert(peer_connect_of(&again, &stage, &connect).session_present);
    peer_cut(&again);
    stage_pass(&stage, 11000);
    cr_assert_not(peer_connect_of(&late, &stage, &connect).session_present);
}

/* [MQTT-3.12.4-1] */
Test(conformance_connect, pingreq_is_answered)
{
    static struct peer peer;
    struct frame       frame;
    peer_connect(&peer, &stage, MQTT_VERSION_311, "client");

    wire_ping(&peer.say, PACKET_PINGREQ);
    peer_say(&peer);

    peer_expect(&peer, PACKET_PINGRESP, &frame);
    peer_expect_silence(&peer);
}

/* [MQTT-3.14.1-1] [MQTT-3.14.2-1], 3.1.1 [MQTT-3.14.1-1] */
Test(conformance_connect, a_malformed_disconnect_is_an_error)
{
    static struct peer   bits;
    static struct peer   reason;
    static struct peer   older;
    static const uint8_t unknown = 0x05;
    peer_connect(&bits, &stage, MQTT_VERSION_5, "bits");
    peer_connect(&reason, &stage, MQTT_VERSION_5, "reason");
    peer_connect(&older, &stage, MQTT_VERSION_311, "older");

    wire_frame(&bits.say, PACKET_DISCONNECT, 1, slice_text(""));
    peer_say(&bits);
    wire_frame(&reason.say, PACKET_DISCONNECT, 0, slice_of(&unknown, 1));
    peer_say(&reason);
    wire_frame(&older.say, PACKET_DISCONNECT, 1, slice_text(""));
    peer_say(&older);

    (void)peer_expect_disconnect(&bits, MQTT_MALFORMED_PACKET);
    struct frame frame;
    peer_expect(&reason, PACKET_DISCONNECT, &frame);
    peer_expect_end(&reason);
    peer_expect_end(&older);
}

/* [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] */
Test(conformance_connect, the_brokers_disconnect_is_the_last_word)
{
    static struct peer peer;
    static struct peer other;
    struct connect     connect = client("client");
    connect.session_expiry_s = 100;
    (void)peer_connect_of(&peer, &stage, &connect);
    peer_subscribe(&peer, "a", 0);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");

    wire_frame(&peer.say, PACKET_CONNACK, 0, slice_text(""));
    wire_ping(&peer.say, PACKET_PINGREQ);
    wire_publish(&peer.say, MQTT_VERSION_5, "a", "x", 1, 1);
    peer_say(&peer);
    peer_publish(&other, "a", "y");

    struct frame      frame;
    struct disconnect disconnect;
    peer_expect(&peer, PACKET_DISCONNECT, &frame);
    cr_assert_eq(disconnect_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &disconnect),
                 MQTT_SUCCESS);
    cr_assert_not(disconnect.has_session_expiry);
    peer_expect_end(&peer);
}

/* [MQTT-3.14.4-2], 3.1.1 [MQTT-3.14.4-1]: what a client sends behind its DISCONNECT is not taken.
 */
Test(conformance_connect, nothing_is_taken_behind_a_disconnect)
{
    const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_311};
    static struct peer      watcher;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "a", 0);

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        peer_connect(&peer, &stage, versions[at], "client");
        wire_disconnect(&peer.say, versions[at], MQTT_SUCCESS);
        wire_publish(&peer.say, versions[at], "a", "x", 0, 0);
        peer_say(&peer);
        peer_expect_end(&peer);
        peer_leave(&peer);
    }
    peer_expect_silence(&watcher);
}

/* [MQTT-4.13.1-1], 3.1.1 [MQTT-4.8.0-1] */
Test(conformance_connect, a_packet_that_only_servers_send_ends_the_link)
{
    const enum packet_type types[] = {PACKET_CONNACK, PACKET_SUBACK, PACKET_UNSUBACK,
                                      PACKET_PINGRESP, PACKET_RESERVED};

    for (size_t at = 0; at < sizeof(types) / sizeof(types[0]); at++) {
        static struct peer five;
        static struct peer four;
        struct frame       frame;
        peer_connect(&five, &stage, MQTT_VERSION_5, "five");
        peer_connect(&four, &stage, MQTT_VERSION_311, "four");
        wire_frame(&five.say, types[at], 0, slice_text(""));
        peer_say(&five);
        wire_frame(&four.say, types[at], 0, slice_text(""));
        peer_say(&four);
        peer_expect(&five, PACKET_DISCONNECT, &frame);
        peer_expect_end(&five);
        peer_expect_end(&four);
        peer_leave(&five);
        peer_leave(&four);
    }
}

/* 3.1.1 [MQTT-3.1.2-7]: what is retained is not part of a session. */
Test(conformance_connect, retained_messages_outlive_the_session_of_their_publisher)
{
    static struct peer peer;
    static struct peer late;
    peer_connect(&peer, &stage, MQTT_VERSION_311, "client");
    wire_publish_retained(&peer.say, MQTT_VERSION_311, "a", "kept", 0, 0);
    peer_say(&peer);
    peer_disconnect(&peer, MQTT_SUCCESS);

    peer_connect(&late, &stage, MQTT_VERSION_311, "late");
    peer_subscribe(&late, "a", 0);

    cr_assert(peer_expect_publish(&late, "a", "kept").retain);
}
