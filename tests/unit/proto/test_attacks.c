/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What has broken other codecs, one test for each known fault that a decoder can have; the numbers
 * are the rows of the list of attacks. The same rows go over the wire in tests/attacks.
 */

#include "tests/support/oracle.h"
#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>
#include <time.h>

#define CONNECT_5(flags) 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x05, (flags), 0x00, 0x3c

static struct connect   connect;
static struct publish   publish;
static struct subscribe subscribe;

/* CVE-2017-7651: a huge remaining length, then silence */
Test(attacks_codec, row_02_a_huge_length_is_known_before_any_of_it_is_there)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0x10, 0xff, 0xff, 0xff, 0x7f)), &frame),
                 FRAME_INCOMPLETE);
    cr_assert_eq(frame.size, MQTT_PACKET_SIZE_MAX, "so that it can be refused at once");
}

/* CVE-2017-7653 */
Test(attacks_codec, row_04_a_topic_of_invalid_utf8_is_not_forwarded)
{
    FOR_EACH_VERSION(version)
    cr_assert_eq(
        publish_decode(version, 0, exact(BYTES(0x00, 0x02, 0xc3, 0x28, 0x00)), false, &publish),
        MQTT_MALFORMED_PACKET);
}

/* CVE-2019-11779 */
Test(attacks_codec, row_14_a_filter_of_65400_levels_is_no_recursion)
{
    static uint8_t text[65400];
    struct wire    wire = {0};
    struct frame   frame;
    memset(text, '/', sizeof(text));
    struct slice           filter = slice_of(text, sizeof(text));
    struct subscribe_entry entry = {.filter = filter};
    wire_subscribe_of(&wire, MQTT_VERSION_311, 1, 0, &entry, 1);

    cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
    cr_assert_eq(subscribe_decode(MQTT_VERSION_311, frame.flags, frame.body, &subscribe),
                 MQTT_SUCCESS);
    cr_assert(topic_filter_valid(filter));
    cr_assert_eq(topic_levels(filter), 65401);
    cr_assert(topic_matches(filter, filter));
    wire_fini(&wire);
}

/* CVE-2021-28166: the bytes of the report, a CONNECT and then a CONNACK with flags */
Test(attacks_codec, row_15_the_connack_of_a_client_has_impossible_flags)
{
    struct slice stream = exact(BYTES(0x10, 0x10, 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x05, 0x02, 0x00,
                                      0x3c, 0x03, 0x21, 0x00, 0x14, 0x00, 0x00, /* CONNECT */
                                      0x29, 0x02, 0x00, 0x01,                   /* CONNACK */
                                      0xe0, 0x00));
    struct frame frame;
    struct connack connack;

    cr_assert(wire_next(&stream, &frame));
    cr_assert_eq(connect_decode(frame.flags, frame.body, &connect), MQTT_SUCCESS);
    cr_assert_eq(connect.receive_maximum, 20);
    cr_assert(wire_next(&stream, &frame));
    cr_assert_eq(frame.type, PACKET_CONNACK);
    cr_assert_eq(connack_decode(MQTT_VERSION_5, frame.flags, frame.body, &connack),
                 MQTT_MALFORMED_PACKET);
    cr_assert(wire_next(&stream, &frame), "the stream is still in step");
}

/* CVE-2021-34432 */
Test(attacks_codec, row_17_an_empty_topic_without_an_alias_is_refused)
{
    cr_assert_eq(publish_decode(MQTT_VERSION_311, 0, exact(BYTES(0x00, 0x00)), false, &publish),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(publish_decode(MQTT_VERSION_5, 0, exact(BYTES(0x00, 0x00, 0x00)), false, &publish),
                 MQTT_PROTOCOL_ERROR);
}

static double check_cpu_s(struct slice block, uint32_t *users)
{
    clock_t start = clock();
    cr_assert_eq(properties_check(block, PACKET_CONNECT, users), MQTT_SUCCESS);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* CVE-2021-41039: quadratic in the number of user properties, a minute for one packet */
Test(attacks_codec, row_20_a_million_user_properties_are_read_in_one_pass)
{
    struct wire wire = {0};
    uint32_t    users;
    for (unsigned count = 0; count < 1000000; count++)
        wire_user_property(&wire, "k", "v");

    double cpu_s = check_cpu_s(wire_view(&wire), &users);

    cr_assert_eq(users, 1000000);
    cr_assert_lt(cpu_s, 10, "even under sanitizers; quadratic would take hours");
    wire_fini(&wire);
}

/* CVE-2021-34431, CVE-2023-3592 */
Test(attacks_codec, row_23_a_will_with_properties_of_other_packets_is_refused)
{
    for (unsigned id = 0; id < 256; id++) {
        struct slice body = BYTES(CONNECT_5(0x06), 0x00, 0x00, 0x01, 'c',    /* client id */
                                  0x05, (uint8_t)id, 0x00, 0x00, 0x00, 0x01, /* will properties */
                                  0x00, 0x01, 't', 0x00, 0x00);
        bool         fits = id == PROPERTY_WILL_DELAY || id == PROPERTY_MESSAGE_EXPIRY ||
                    id == PROPERTY_USER_PROPERTY;
        enum mqtt_reason reason = connect_decode(0, exact(body), &connect);
        cr_assert(fits || reason != MQTT_SUCCESS, "0x%02x", id);
    }
}

/* CVE-2021-33175, -33176, -22116, CVE-2026-44248 */
Test(attacks_codec, row_29_a_property_length_beyond_the_packet_is_malformed)
{
    cr_assert_eq(
        connect_decode(0, exact(BYTES(CONNECT_5(0x02), 0xff, 0xff, 0xff, 0x7f, 0x00, 0x01, 'c')),
                       &connect),
        MQTT_MALFORMED_PACKET);
    cr_assert_eq(publish_decode(MQTT_VERSION_5, 0, exact(BYTES(0x00, 0x01, 't', 0xff, 0xff, 0x7f)),
                                false, &publish),
                 MQTT_MALFORMED_PACKET);
}

/* CVE-2025-59947, CVE-2025-68699 */
Test(attacks_codec, row_39_a_shared_subscription_without_a_second_slash_is_invalid)
{
    bool         valid;
    struct slice group;
    struct slice filter;

    cr_assert(topic_share_split(exact(slice_text("$share/ab")), &valid, &group, &filter));
    cr_assert_not(valid);
    cr_assert_eq(filter.size, 0);
}

/* CVE-2026-21888 */
Test(attacks_codec, row_40_a_property_length_of_five_bytes_is_malformed)
{
    cr_assert_eq(
        connect_decode(0, exact(BYTES(CONNECT_5(0x02), 0x80, 0x80, 0x80, 0x80, 0x01)), &connect),
        MQTT_MALFORMED_PACKET);
    cr_assert_eq(subscribe_decode(MQTT_VERSION_5, 0x2,
                                  exact(BYTES(0x00, 0x01, 0xff, 0xff, 0xff, 0xff)), &subscribe),
                 MQTT_MALFORMED_PACKET);
}

/* CVE-2026-25627 */
Test(attacks_codec, row_42_a_frame_of_4096_with_3_bytes_there_is_incomplete)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0x30, 0x80, 0x20, 0x00, 0x01, 't')), &frame),
                 FRAME_INCOMPLETE);
    cr_assert_eq(frame.size, 3 + 4096);
    cr_assert_eq(frame.body.size, 0);
}

/* CVE-2026-32696 */
Test(attacks_codec, row_44_missing_credentials_are_empty_views)
{
    cr_assert_eq(connect_decode(0, exact(BYTES(CONNECT_5(0x02), 0x00, 0x00, 0x01, 'c')), &connect),
                 MQTT_SUCCESS);
    cr_assert_not(connect.has_user_name);
    cr_assert_not(connect.has_password);
    cr_assert_eq(connect.user_name.size, 0);
    cr_assert_eq(connect.password.size, 0);
}

/* NanoMQ #2268: the options byte is missing, in an allocation of exactly 1024 bytes */
Test(attacks_codec, row_45_subscribe_ends_right_after_topic)
{
    uint8_t body[1024];
    memset(body, 'a', sizeof(body));
    memcpy(body, "\x00\x01\x00", 3); /* packet identifier, no properties */
    body[3] = (sizeof(body) - 5) >> 8;
    body[4] = (sizeof(body) - 5) & 0xff;

    cr_assert_eq(
        subscribe_decode(MQTT_VERSION_5, 0x2, exact(slice_of(body, sizeof(body))), &subscribe),
        MQTT_MALFORMED_PACKET);
}

/* NanoMQ #2270 */
Test(attacks_codec, row_46_publish_of_qos_1_without_a_packet_identifier_is_malformed)
{
    FOR_EACH_VERSION(version)
    {
        cr_assert_eq(publish_decode(version, 0x2, exact(BYTES(0x00, 0x01, 't')), false, &publish),
                     MQTT_MALFORMED_PACKET);
        cr_assert_eq(
            publish_decode(version, 0x4, exact(BYTES(0x00, 0x01, 't', 0x01)), false, &publish),
            MQTT_MALFORMED_PACKET);
    }
}

/* NanoMQ #1038, #1042, #1153 to #1181 */
Test(attacks_codec, row_47_malformed_subscribe_and_unsubscribe_are_refused)
{
    const struct slice bodies[] = {
        NO_BYTES,
        BYTES(0x00),
        BYTES(0x00, 0x01),
        BYTES(0x00, 0x01, 0x01),
        BYTES(0x00, 0x01, 0x02, 0x7f, 0x00, 0x00, 0x01, 'a', 0x00), /* unknown property */
        BYTES(0x00, 0x01, 0x03, 0x26, 0xff, 0xff, 0x00, 0x01, 'a'), /* name beyond its block */
        BYTES(0x00, 0x01, 0x00, 0xff, 0xff, 'a'),                   /* filter beyond the packet */
        BYTES(0x00, 0x01, 0x00, 0x00),
    };

    for (size_t row = 0; row < sizeof(bodies) / sizeof(bodies[0]); row++) {
        cr_assert_neq(subscribe_decode(MQTT_VERSION_5, 0x2, exact(bodies[row]), &subscribe),
                      MQTT_SUCCESS, "row %zu", row);
        cr_assert_neq(unsubscribe_decode(MQTT_VERSION_5, 0x2, exact(bodies[row]), &subscribe),
                      MQTT_SUCCESS, "row %zu", row);
    }
}

/* NanoNNG #1509 */
Test(attacks_codec, row_50_a_will_without_its_properties_is_malformed)
{
    cr_assert_eq(connect_decode(0, exact(BYTES(CONNECT_5(0x06), 0x00, 0x00, 0x01, 'c')), &connect),
                 MQTT_MALFORMED_PACKET);
}

/* CVE-2025-66168, CVE-2026-40046, CVE-2019-19307 */
Test(attacks_codec, row_55_a_remaining_length_of_five_bytes_never_starts_a_frame)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0x30, 0x80, 0x80, 0x80, 0x80, 0x01)), &frame),
                 FRAME_MALFORMED);
    cr_assert_eq(frame_decode(exact(BYTES(0x30, 0xff, 0xff, 0xff, 0xff, 0xff)), &frame),
                 FRAME_MALFORMED);
}

/* CVE-2019-17210 */
Test(attacks_codec, row_58_a_string_longer_than_its_packet_is_malformed)
{
    cr_assert_eq(
        publish_decode(MQTT_VERSION_311, 0, exact(BYTES(0xff, 0xff, 't')), false, &publish),
        MQTT_MALFORMED_PACKET);
    cr_assert_eq(connect_decode(0, exact(BYTES(CONNECT_5(0x02), 0x00, 0x00, 0x02, 'c')), &connect),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(connect_decode(0, exact(BYTES(0x00, 0xff, 'M')), &connect), MQTT_MALFORMED_PACKET);
}

/* aedes, KMQTT, wolfMQTT #514, #524, #527 */
Test(attacks_codec, row_60_malformed_disconnects_and_filters_are_refused)
{
    struct disconnect disconnect;

    cr_assert_eq(
        disconnect_decode(MQTT_VERSION_5, 0, exact(BYTES(0x00, 0x05, 0x11)), false, &disconnect),
        MQTT_MALFORMED_PACKET);
    cr_assert_eq(subscribe_decode(MQTT_VERSION_311, 0x2, exact(BYTES(0x00, 0x01)), &subscribe),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_not(topic_filter_valid(slice_text("a#")));
    cr_assert_not(topic_filter_valid(slice_text("sport/#/x")));
    cr_assert_not(topic_filter_valid(slice_text("a+b")));
}
