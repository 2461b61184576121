/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/ack.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static const enum packet_type types[] = {PACKET_PUBACK, PACKET_PUBREC, PACKET_PUBREL,
                                         PACKET_PUBCOMP};

#define FOR_EACH_TYPE(type) for (const enum packet_type *type = types; type < types + 4; type++)

static struct ack ack;

static uint8_t flags_of(enum packet_type type)
{
    return type == PACKET_PUBREL ? 0x2 : 0x0;
}

static enum mqtt_reason decode(enum mqtt_version version, enum packet_type type, struct slice body)
{
    return ack_decode(version, type, flags_of(type), exact(body), &ack);
}

Test(ack, two_bytes_are_success_in_each_version)
{
    FOR_EACH_VERSION(version)
    {
        FOR_EACH_TYPE(type)
        {
            cr_assert_eq(decode(version, *type, BYTES(0x12, 0x34)), MQTT_SUCCESS);
            cr_assert_eq(ack.packet_id, 0x1234);
            cr_assert_eq(ack.reason, MQTT_SUCCESS);
        }
    }
}

/* MQTT 5, 3.4.2.1: the reason alone, without the length of the properties */
Test(ack, three_bytes_are_a_reason_in_version_5_only)
{
    cr_assert_eq(decode(MQTT_VERSION_5, PACKET_PUBACK, BYTES(0x00, 0x01, 0x10)), MQTT_SUCCESS);
    cr_assert_eq(ack.reason, MQTT_NO_MATCHING_SUBSCRIBERS);
    cr_assert_eq(decode(MQTT_VERSION_311, PACKET_PUBACK, BYTES(0x00, 0x01, 0x00)),
                 MQTT_MALFORMED_PACKET);
}

Test(ack, properties_are_read)
{
    struct slice body = BYTES(0x00, 0x01, 0x87, 12,                    /* id, reason, block */
                              0x1f, 0x00, 0x02, 'n', 'o',              /* reason string */
                              0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v'); /* user property */

    cr_assert_eq(decode(MQTT_VERSION_5, PACKET_PUBREC, body), MQTT_SUCCESS);
    cr_assert_eq(ack.reason, MQTT_NOT_AUTHORIZED);
    cr_assert(text_is(ack.reason_string, "no"));
    cr_assert_eq(ack.user_properties.size, 12, "the whole block");
}

Test(ack, the_shortest_form_is_written)
{
    struct wire wire = {0};
    struct ack  with_reason_string = {
         .packet_id = 3, .reason = MQTT_PACKET_ID_NOT_FOUND, .reason_string = slice_text("x")};

    wire_ack(&wire, MQTT_VERSION_5, PACKET_PUBACK, 1, MQTT_SUCCESS);
    wire_ack(&wire, MQTT_VERSION_5, PACKET_PUBREL, 2, MQTT_PACKET_ID_NOT_FOUND);
    wire_ack(&wire, MQTT_VERSION_311, PACKET_PUBREL, 2, MQTT_PACKET_ID_NOT_FOUND);
    wire_ack_of(&wire, MQTT_VERSION_5, PACKET_PUBCOMP, &with_reason_string);

    cr_assert(slice_equal(wire_view(&wire),
                          BYTES(0x40, 0x02, 0x00, 0x01,       /* success is left out */
                                0x62, 0x03, 0x00, 0x02, 0x92, /* no length of properties */
                                0x62, 0x02, 0x00, 0x02,       /* no reason before 5 */
                                0x70, 0x08, 0x00, 0x03, 0x92, 0x04, 0x1f, 0x00, 0x01, 'x')));
    wire_fini(&wire);
}

/* [MQTT-2.2.1-3] [MQTT-2.2.1-4] */
Test(ack, MQTT_2_2_1_3_packet_identifier_0_is_refused)
{
    FOR_EACH_VERSION(version)
    FOR_EACH_TYPE(type)
    cr_assert_eq(decode(version, *type, BYTES(0x00, 0x00)), MQTT_PROTOCOL_ERROR);
}

/* [MQTT-3.6.1-1] [MQTT-2.1.3-1]; 3.1 may set DUP in a PUBREL */
Test(ack, MQTT_3_6_1_1_flags_are_fixed)
{
    struct slice body = exact(BYTES(0x00, 0x01));

    FOR_EACH_TYPE(type)
    {
        for (uint8_t flags = 0; flags < 16; flags++) {
            enum mqtt_reason wanted =
                flags == flags_of(*type) ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
            cr_assert_eq(ack_decode(MQTT_VERSION_311, *type, flags, body, &ack), wanted);
            cr_assert_eq(ack_decode(MQTT_VERSION_5, *type, flags, body, &ack), wanted);
        }
    }
    cr_assert_eq(ack_decode(MQTT_VERSION_31, PACKET_PUBREL, 0xa, body, &ack), MQTT_SUCCESS);
}

/* [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] */
Test(ack, MQTT_3_4_2_1_each_type_has_its_reason_codes)
{
    static const uint8_t answers[] = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
    static const uint8_t releases[] = {0x00, 0x92};

    for (unsigned code = 0; code < 256; code++) {
        bool answer = memchr(answers, (int)code, sizeof(answers)) != NULL;
        bool release = memchr(releases, (int)code, sizeof(releases)) != NULL;
        FOR_EACH_TYPE(type)
        {
            bool allowed = *type <= PACKET_PUBREC ? answer : release;
            cr_assert_eq(decode(MQTT_VERSION_5, *type, BYTES(0x00, 0x01, (uint8_t)code, 0x00)),
                         allowed ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
        }
    }
}

Test(ack, a_body_too_short_or_too_long_is_malformed)
{
    FOR_EACH_VERSION(version)
    {
        cr_assert_eq(decode(version, PACKET_PUBACK, NO_BYTES), MQTT_MALFORMED_PACKET);
        cr_assert_eq(decode(version, PACKET_PUBACK, BYTES(0x01)), MQTT_MALFORMED_PACKET);
        cr_assert_eq(decode(version, PACKET_PUBACK, BYTES(0x00, 0x01, 0x00, 0x00, 0x00)),
                     MQTT_MALFORMED_PACKET);
    }
    cr_assert_eq(decode(MQTT_VERSION_5, PACKET_PUBACK, BYTES(0x00, 0x01, 0x00, 0x05, 0x1f)),
                 MQTT_MALFORMED_PACKET);
}
