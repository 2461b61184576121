/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/connack.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static struct connack connack;

static enum mqtt_reason decode(enum mqtt_version version, struct slice body)
{
    return connack_decode(version, 0, exact(body), &connack);
}

Test(connack, a_3_1_1_answer_is_four_bytes)
{
    struct wire wire = {0};

    wire_connack(&wire, MQTT_VERSION_311, MQTT_SUCCESS, true);
    wire_connack(&wire, MQTT_VERSION_311, MQTT_NOT_AUTHORIZED, false);

    cr_assert(slice_equal(wire_view(&wire), BYTES(0x20, 0x02, 0x01, 0x00, /* session present */
                                                  0x20, 0x02, 0x00, 0x05)));
    wire_fini(&wire);
}

Test(connack, an_answer_of_5_without_properties_is_five_bytes)
{
    struct wire wire = {0};

    wire_connack(&wire, MQTT_VERSION_5, MQTT_SUCCESS, false);

    cr_assert(slice_equal(wire_view(&wire), BYTES(0x20, 0x03, 0x00, 0x00, 0x00)));
    wire_fini(&wire);
}

/* [MQTT-3.2.2-6], and 3.1, which has no such bit */
Test(connack, MQTT_3_2_2_6_a_refusal_never_says_session_present)
{
    struct wire wire = {0};

    wire_connack(&wire, MQTT_VERSION_311, MQTT_BAD_CREDENTIALS, true);
    wire_connack(&wire, MQTT_VERSION_5, MQTT_BAD_CREDENTIALS, true);
    wire_connack(&wire, MQTT_VERSION_31, MQTT_SUCCESS, true);

    cr_assert(slice_equal(wire_view(&wire),
                          BYTES(0x20, 0x02, 0x00, 0x04, 0x20, 0x03, 0x00, 0x86, 0x00, /* 311, 5 */
                                0x20, 0x02, 0x00, 0x00)));
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x01, 0x05)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x01, 0x87, 0x00)), MQTT_PROTOCOL_ERROR);
    wire_fini(&wire);
}

Test(connack, all_properties_come_back)
{
    struct connack written = connack_of(MQTT_SUCCESS);
    struct wire    wire = {0};
    struct frame   frame;
    written.session_present = true;
    written.has_session_expiry = true;
    written.session_expiry_s = 1;
    written.receive_maximum = 2;
    written.maximum_qos = 1;
    written.retain_unavailable = true;
    written.maximum_packet_size = 3;
    written.assigned_client_id = slice_text("auto");
    written.topic_alias_maximum = 4;
    written.reason_string = slice_text("why");
    written.user_properties = BYTES(0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v');
    written.wildcards_unavailable = true;
    written.subscription_ids_unavailable = true;
    written.shared_unavailable = true;
    written.has_server_keep_alive = true;
    written.server_keep_alive_s = 5;
    written.response_information = slice_text("resp");
    written.server_reference = slice_text("other");
    written.authentication_method = slice_text("M");
    written.has_authentication_data = true;
    written.authentication_data = slice_text("d");

    wire_connack_of(&wire, MQTT_VERSION_5, &written);

    cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
    cr_assert_eq(decode(MQTT_VERSION_5, frame.body), MQTT_SUCCESS);
    cr_assert(connack.session_present);
    cr_assert_eq(connack.session_expiry_s, 1);
    cr_assert_eq(connack.receive_maximum, 2);
    cr_assert_eq(connack.maximum_qos, 1);
    cr_assert(connack.retain_unavailable);
    cr_assert_eq(connack.maximum_packet_size, 3);
    cr_assert(text_is(connack.assigned_client_id, "auto"));
    cr_assert_eq(connack.topic_alias_maximum, 4);
    cr_assert(text_is(connack.reason_string, "why"));
    cr_assert(connack.wildcards_unavailable);
    cr_assert(connack.subscription_ids_unavailable);
    cr_assert(connack.shared_unavailable);
    cr_assert_eq(connack.server_keep_alive_s, 5);
    cr_assert(text_is(connack.response_information, "resp"));
    cr_assert(text_is(connack.server_reference, "other"));
    cr_assert(text_is(connack.authentication_method, "M"));
    cr_assert(text_is(connack.authentication_data, "d"));
    wire_fini(&wire);
}

Test(connack, reasons_become_the_codes_of_3_1_1)
{
    cr_assert_eq(connack_code_311(MQTT_SUCCESS), 0);
    cr_assert_eq(connack_code_311(MQTT_UNSUPPORTED_VERSION), 1);
    cr_assert_eq(connack_code_311(MQTT_CLIENT_ID_INVALID), 2);
    cr_assert_eq(connack_code_311(MQTT_SERVER_BUSY), 3);
    cr_assert_eq(connack_code_311(MQTT_QUOTA_EXCEEDED), 3);
    cr_assert_eq(connack_code_311(MQTT_BAD_CREDENTIALS), 4);
    cr_assert_eq(connack_code_311(MQTT_NOT_AUTHORIZED), 5);
    for (unsigned reason = 1; reason < 256; reason++) {
        uint8_t code = connack_code_311((enum mqtt_reason)reason);
        cr_assert(code >= 1 && code <= 5, "0x%02x", reason);
    }
}

/* [MQTT-3.2.2-6] of 3.1.1 */
Test(connack, MQTT_3_2_2_6_malformed_packets_have_no_code_in_3_1_1)
{
    cr_assert(connack_has_code_311(MQTT_SUCCESS));
    cr_assert(connack_has_code_311(MQTT_CLIENT_ID_INVALID));
    cr_assert_not(connack_has_code_311(MQTT_MALFORMED_PACKET));
    cr_assert_not(connack_has_code_311(MQTT_PROTOCOL_ERROR));
}

/* [MQTT-3.2.2-1] */
Test(connack, MQTT_3_2_2_1_reserved_acknowledge_bits_are_malformed)
{
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x02, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x81, 0x00, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_31, BYTES(0xff, 0x00)), MQTT_SUCCESS, "unused in 3.1");
    cr_assert_not(connack.session_present);
}

/* [MQTT-3.2.2-8] */
Test(connack, MQTT_3_2_2_8_other_reason_codes_are_refused)
{
    static const uint8_t allowed[] = {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                      0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97,
                                      0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f};

    for (unsigned code = 0; code < 256; code++) {
        bool known = memchr(allowed, (int)code, sizeof(allowed)) != NULL;
        cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x00, (uint8_t)code, 0x00)),
                     known ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
        cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00, (uint8_t)code)),
                     code <= 5 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
    }
}

Test(connack, flags_and_lengths_are_fixed)
{
    struct slice body = exact(BYTES(0x00, 0x00));

    cr_assert_eq(connack_decode(MQTT_VERSION_311, 1, body, &connack), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00, 0x00, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x00, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x00, 0x00, 0x00, 0x00)), MQTT_MALFORMED_PACKET);
}
