/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/connect.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

/* Up to the connect flags, with a keep alive of 60 s; MQTT 5 has an empty property block more. */
#define HEAD_31(flags)  0x00, 0x06, 'M', 'Q', 'I', 's', 'd', 'p', 0x03, (flags), 0x00, 0x3c
#define HEAD_311(flags) 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x04, (flags), 0x00, 0x3c
#define HEAD_5(flags)   0x00, 0x04, 'M', 'Q', 'T', 'T', 0x05, (flags), 0x00, 0x3c
#define CLIENT_ID       0x00, 0x01, 'c'

static struct connect connect;

static enum mqtt_reason decode(struct slice body)
{
    return connect_decode(0, exact(body), &connect);
}

/* The example of section 3.1.2 (figure 3.6), with a payload */
Test(connect, the_example_of_3_1_1_is_read)
{
    struct slice body = BYTES(HEAD_311(0xce),                 /* all but will retain */
                              CLIENT_ID,                      /* client id */
                              0x00, 0x03, 'w', '/', 't',      /* will topic */
                              0x00, 0x02, 0x00, 0xff,         /* will payload: bytes */
                              0x00, 0x04, 'u', 's', 'e', 'r', /* user name */
                              0x00, 0x02, 0xff, 0x00);        /* password: bytes */

    cr_assert_eq(decode(body), MQTT_SUCCESS);
    cr_assert_eq(connect.version, MQTT_VERSION_311);
    cr_assert_eq(connect.keep_alive_s, 60);
    cr_assert(connect.clean_start);
    cr_assert(text_is(connect.client_id, "c"));
    cr_assert(connect.has_will);
    cr_assert_eq(connect.will.qos, 1);
    cr_assert_not(connect.will.retain);
    cr_assert(text_is(connect.will.topic, "w/t"));
    cr_assert_eq(connect.will.payload.size, 2);
    cr_assert(text_is(connect.user_name, "user"));
    cr_assert_eq(connect.password.size, 2);
    cr_assert_eq(connect.receive_maximum, 65535);
    cr_assert_eq(connect.maximum_packet_size, MQTT_PACKET_SIZE_MAX);
    cr_assert(connect.request_problem_information);
}

Test(connect, every_property_of_5_is_read)
{
    struct slice body = BYTES(HEAD_5(0x26), 41,             /* clean start, will, retain; block */
                              0x11, 0x00, 0x00, 0x00, 0x0a, /* session expiry 10 */
                              0x21, 0x00, 0x14,             /* receive maximum 20 */
                              0x27, 0x00, 0x01, 0x00, 0x00, /* maximum packet size 65536 */
                              0x22, 0x00, 0x0a,             /* topic alias maximum 10 */
                              0x19, 0x01, 0x17, 0x00,       /* response yes, problem no */
                              0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v',    /* user property */
                              0x15, 0x00, 0x05, 'S', 'C', 'R', 'A', 'M', /* method */
                              0x16, 0x00, 0x03, 0x00, 0x01, 0x02,        /* data */
                              CLIENT_ID, 19,                /* client id, will properties */
                              0x18, 0x00, 0x00, 0x00, 0x05, /* delay 5 */
                              0x01, 0x01,                   /* payload format */
                              0x02, 0x00, 0x00, 0x00, 0x3c, /* message expiry 60 */
                              0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', /* user property */
                              0x00, 0x01, 't', 0x00, 0x00); /* will topic, empty payload */

    cr_assert_eq(decode(body), MQTT_SUCCESS);
    cr_assert_eq(connect.session_expiry_s, 10);
    cr_assert_eq(connect.receive_maximum, 20);
    cr_assert_eq(connect.maximum_packet_size, 65536);
    cr_assert_eq(connect.topic_alias_maximum, 10);
    cr_assert(connect.request_response_information);
    cr_assert_not(connect.request_problem_information);
    cr_assert_eq(connect.user_property_count, 2, "of CONNECT and will");
    cr_assert(connect.has_authentication_method);
    cr_assert(text_is(connect.authentication_method, "SCRAM"));
    cr_assert_eq(connect.authentication_data.size, 3);
    cr_assert_eq(connect.will.delay_s, 5);
    cr_assert_eq(connect.will.payload_format, 1);
    cr_assert(connect.will.has_message_expiry);
    cr_assert_eq(connect.will.message_expiry_s, 60);
    cr_assert_eq(connect.will.properties.size, 19);
    cr_assert(connect.will.retain);
    cr_assert_eq(connect.will.payload.size, 0);
}

/* [MQTT-3.1.2-1] */
Test(connect, MQTT_3_1_2_1_another_protocol_name_gets_no_answer)
{
    cr_assert_eq(decode(BYTES(0x00, 0x04, 'H', 'T', 'T', 'P', 0x04, 0x02, 0x00, 0x3c, CLIENT_ID)),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(connect.version, MQTT_VERSION_UNKNOWN);
    cr_assert_eq(decode(BYTES(0x00, 0x04, 'm', 'q', 't', 't', 0x04, 0x02, 0x00, 0x3c, CLIENT_ID)),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode(BYTES(0x00, 0x00, 0x04, 0x02, 0x00, 0x3c, CLIENT_ID)), MQTT_PROTOCOL_ERROR);
}

/* [MQTT-3.1.2-2] */
Test(connect, MQTT_3_1_2_2_an_unknown_level_is_answered_in_the_nearest_version)
{
    static const struct {
        const char       *name;
        uint8_t           level;
        enum mqtt_version answer; /* UNKNOWN: it is accepted */
    } rows[] = {
        {"MQTT", 3, MQTT_VERSION_311},     {"MQTT", 4, MQTT_VERSION_UNKNOWN},
        {"MQTT", 5, MQTT_VERSION_UNKNOWN}, {"MQTT", 6, MQTT_VERSION_5},
        {"MQTT", 0, MQTT_VERSION_311},     {"MQTT", 0x85, MQTT_VERSION_5},
        {"MQTT", 0xff, MQTT_VERSION_5},    {"MQIsdp", 4, MQTT_VERSION_311},
        {"MQIsdp", 5, MQTT_VERSION_311},   {"MQIsdp", 3, MQTT_VERSION_UNKNOWN},
    };

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct slice name = slice_text(rows[row].name);
        uint8_t      bytes[32] = {0};
        uint32_t     at = 2 + name.size;
        bytes[1] = (uint8_t)name.size;
        memcpy(bytes + 2, name.data, name.size);
        bytes[at] = rows[row].level;
        bytes[at + 1] = 0x02;
        at += rows[row].level == 5 ? 5U : 4U;
        memcpy(bytes + at, "\0\1c", 3);

        enum mqtt_reason reason = decode(slice_of(bytes, at + 3));
        bool             accepted = rows[row].answer == MQTT_VERSION_UNKNOWN;
        cr_assert_eq(reason, accepted ? MQTT_SUCCESS : MQTT_UNSUPPORTED_VERSION, "row %zu", row);
        cr_assert_eq(connect.version, accepted ? rows[row].level : rows[row].answer);
    }
}

Test(connect, the_high_bit_of_levels_3_and_4_is_a_bridge)
{
    cr_assert_eq(decode(BYTES(0x00, 0x04, 'M', 'Q', 'T', 'T', 0x84, 0x02, 0x00, 0x3c, CLIENT_ID)),
                 MQTT_SUCCESS);
    cr_assert(connect.bridge);
    cr_assert_eq(connect.version, MQTT_VERSION_311);
    cr_assert_eq(
        decode(BYTES(0x00, 0x06, 'M', 'Q', 'I', 's', 'd', 'p', 0x83, 0x02, 0x00, 0x3c, CLIENT_ID)),
        MQTT_SUCCESS);
    cr_assert(connect.bridge);
    cr_assert_eq(connect.version, MQTT_VERSION_31);
}

/* [MQTT-3.1.2-3] */
Test(connect, MQTT_3_1_2_3_the_reserved_flag_is_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x03), CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x03), 0x00, CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_31(0x03), CLIENT_ID)), MQTT_SUCCESS, "not used in 3.1");
}

/* [MQTT-3.1.2-11] */
Test(connect, MQTT_3_1_2_11_will_qos_without_a_will_is_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x0a), CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x12), 0x00, CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_31(0x0a), CLIENT_ID)), MQTT_SUCCESS, "ignored in 3.1");
}

/* [MQTT-3.1.2-13] */
Test(connect, MQTT_3_1_2_13_will_retain_without_a_will_is_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x22), CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x22), 0x00, CLIENT_ID)), MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.1.2-12] */
Test(connect, MQTT_3_1_2_12_will_qos_3_is_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_31(0x1e), CLIENT_ID, 0x00, 0x01, 't', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_311(0x1e), CLIENT_ID, 0x00, 0x01, 't', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x1e), 0x00, CLIENT_ID, 0x00, 0x00, 0x01, 't', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.1.2-9] */
Test(connect, MQTT_3_1_2_9_a_will_flag_wants_the_fields_of_a_will)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x06), CLIENT_ID)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_311(0x06), CLIENT_ID, 0x00, 0x01, 't')), MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.1.2-22] of 3.1.1 */
Test(connect, MQTT_3_1_2_22_a_password_without_a_user_name_is_allowed_in_5_only)
{
    cr_assert_eq(decode(BYTES(HEAD_31(0x42), CLIENT_ID, 0x00, 0x01, 'p')), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_311(0x42), CLIENT_ID, 0x00, 0x01, 'p')), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x42), 0x00, CLIENT_ID, 0x00, 0x01, 'p')), MQTT_SUCCESS);
    cr_assert(connect.has_password);
    cr_assert_not(connect.has_user_name);
}

/* [MQTT-3.1.2-16] to [MQTT-3.1.2-19] */
Test(connect, MQTT_3_1_2_17_flags_and_strings_agree)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x82), CLIENT_ID)), MQTT_MALFORMED_PACKET,
                 "a user name is announced [MQTT-3.1.2-17]");
    cr_assert_eq(decode(BYTES(HEAD_311(0x02), CLIENT_ID, 0x00, 0x01, 'u')), MQTT_MALFORMED_PACKET,
                 "a user name is not announced [MQTT-3.1.2-16]");
    cr_assert_eq(decode(BYTES(HEAD_311(0xc2), CLIENT_ID, 0x00, 0x01, 'u')), MQTT_MALFORMED_PACKET,
                 "a password is announced [MQTT-3.1.2-19]");
    cr_assert_eq(decode(BYTES(HEAD_311(0x82), CLIENT_ID, 0x00, 0x01, 'u', 0x00, 0x01, 'p')),
                 MQTT_MALFORMED_PACKET, "a password is not announced [MQTT-3.1.2-18]");
}

/* MQTT 3.1, section 3.1: "the Remaining Length field takes precedence over the User Name flag" */
Test(connect, a_3_1_client_may_set_the_flags_and_leave_the_strings_out)
{
    cr_assert_eq(decode(BYTES(HEAD_31(0xc2), CLIENT_ID)), MQTT_SUCCESS);
    cr_assert_not(connect.has_user_name);
    cr_assert_not(connect.has_password);
    cr_assert_eq(decode(BYTES(HEAD_31(0xc2), CLIENT_ID, 0x00, 0x01, 'u')), MQTT_SUCCESS);
    cr_assert(connect.has_user_name);
    cr_assert_not(connect.has_password);
}

/* [MQTT-3.1.3-3] [MQTT-3.1.3-6] */
Test(connect, MQTT_3_1_3_6_an_empty_client_id_is_refused_by_3_1_only)
{
    cr_assert_eq(decode(BYTES(HEAD_31(0x02), 0x00, 0x00)), MQTT_CLIENT_ID_INVALID);
    cr_assert_eq(decode(BYTES(HEAD_311(0x02), 0x00, 0x00)), MQTT_SUCCESS);
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x00, 0x00, 0x00)), MQTT_SUCCESS);
    cr_assert_eq(decode(BYTES(HEAD_311(0x02))), MQTT_MALFORMED_PACKET, "it must be there");
}

/* [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] */
Test(connect, MQTT_3_1_3_4_strings_that_are_not_utf8_are_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x02), 0x00, 0x01, 0xff)), MQTT_MALFORMED_PACKET,
                 "client id");
    cr_assert_eq(decode(BYTES(HEAD_311(0x02), 0x00, 0x01, 0x00)), MQTT_MALFORMED_PACKET,
                 "client id of a null character");
    cr_assert_eq(decode(BYTES(HEAD_311(0x82), CLIENT_ID, 0x00, 0x03, 0xed, 0xa0, 0x80)),
                 MQTT_MALFORMED_PACKET, "user name");
    cr_assert_eq(decode(BYTES(HEAD_311(0x06), CLIENT_ID, 0x00, 0x01, 0xff, 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET, "will topic");
}

Test(connect, a_will_topic_is_a_topic_name)
{
    cr_assert_eq(decode(BYTES(HEAD_311(0x06), CLIENT_ID, 0x00, 0x01, '#', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x06), 0x00, CLIENT_ID, 0x00, 0x00, 0x01, '+', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_311(0x06), CLIENT_ID, 0x00, 0x00, 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET, "nor is it empty");
}

Test(connect, properties_are_those_of_connect_and_of_wills)
{
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x03, 0x21, 0x00, 0x00, CLIENT_ID)),
                 MQTT_PROTOCOL_ERROR, "receive maximum 0");
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x05, 0x27, 0, 0, 0, 0, CLIENT_ID)),
                 MQTT_PROTOCOL_ERROR, "maximum packet size 0");
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x05, 0x18, 0, 0, 0, 1, CLIENT_ID)),
                 MQTT_MALFORMED_PACKET, "will delay among the properties of CONNECT");
    cr_assert_eq(decode(BYTES(HEAD_5(0x06), 0x00, CLIENT_ID, 0x05, 0x11, 0, 0, 0, 1, 0x00, 0x01,
                              't', 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET, "session expiry among the properties of a will");
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x04, 0x16, 0x00, 0x01, 'd', CLIENT_ID)),
                 MQTT_PROTOCOL_ERROR, "authentication data without a method");
}

/* [MQTT-2.1.3-1] */
Test(connect, MQTT_2_1_3_1_flags_in_the_fixed_header_are_malformed)
{
    struct slice body = exact(BYTES(HEAD_311(0x02), CLIENT_ID));

    cr_assert_eq(connect_decode(0x1, body, &connect), MQTT_MALFORMED_PACKET);
    cr_assert_eq(connect.version, MQTT_VERSION_311, "to answer in");
}

/* [MQTT-3.1.3-1] */
Test(connect, MQTT_3_1_3_1_bytes_after_the_last_field_are_malformed)
{
    cr_assert_eq(decode(BYTES(HEAD_31(0x02), CLIENT_ID, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_311(0x02), CLIENT_ID, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(BYTES(HEAD_5(0x02), 0x00, CLIENT_ID, 0x00)), MQTT_MALFORMED_PACKET);
}

Test(connect, what_fields_say_is_written_as_properties)
{
    struct connect written = connect_of(MQTT_VERSION_5, slice_text("c"));
    struct wire    wire = {0};
    struct frame   frame;
    written.session_expiry_s = 100;
    written.receive_maximum = 7;
    written.maximum_packet_size = 1000;
    written.topic_alias_maximum = 3;
    written.request_response_information = true;
    written.request_problem_information = false;
    written.has_authentication_method = true;
    written.authentication_method = slice_text("M");
    written.authentication_data = slice_text("d");
    written.has_will = true;
    written.will = (struct connect_will){.topic = slice_text("t"),
                                         .payload = slice_text("p"),
                                         .delay_s = 9,
                                         .payload_format = 1,
                                         .has_message_expiry = true,
                                         .message_expiry_s = 8,
                                         .qos = 2,
                                         .retain = true};

    wire_connect_of(&wire, &written);

    cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
    cr_assert_eq(connect_decode(frame.flags, exact(frame.body), &connect), MQTT_SUCCESS);
    cr_assert_eq(connect.session_expiry_s, 100);
    cr_assert_eq(connect.receive_maximum, 7);
    cr_assert_eq(connect.maximum_packet_size, 1000);
    cr_assert_eq(connect.topic_alias_maximum, 3);
    cr_assert(connect.request_response_information);
    cr_assert_not(connect.request_problem_information);
    cr_assert(text_is(connect.authentication_method, "M"));
    cr_assert(text_is(connect.authentication_data, "d"));
    cr_assert_eq(connect.will.delay_s, 9);
    cr_assert_eq(connect.will.payload_format, 1);
    cr_assert_eq(connect.will.message_expiry_s, 8);
    cr_assert_eq(connect.will.qos, 2);
    cr_assert(connect.will.retain);
    wire_fini(&wire);
}
