/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/disconnect.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static struct disconnect disconnect;
static struct auth       auth;

static enum mqtt_reason decode(enum mqtt_version version, bool from_server, struct slice body)
{
    return disconnect_decode(version, 0, exact(body), from_server, &disconnect);
}

static enum mqtt_reason decode_auth(struct slice body)
{
    return auth_decode(0, exact(body), &auth);
}

/* MQTT 5, 3.14.2.1 and 3.14.2.2.1 */
Test(disconnect, the_short_forms_mean_success_and_no_properties)
{
    cr_assert_eq(decode(MQTT_VERSION_5, false, NO_BYTES), MQTT_SUCCESS);
    cr_assert_eq(disconnect.reason, MQTT_SUCCESS);
    cr_assert_eq(decode(MQTT_VERSION_5, false, BYTES(0x04)), MQTT_SUCCESS);
    cr_assert_eq(disconnect.reason, MQTT_DISCONNECT_WITH_WILL);
    cr_assert_eq(decode(MQTT_VERSION_5, false, BYTES(0x00, 0x00)), MQTT_SUCCESS);
}

Test(disconnect, before_version_5_the_body_is_empty)
{
    cr_assert_eq(decode(MQTT_VERSION_311, false, NO_BYTES), MQTT_SUCCESS);
    cr_assert_eq(decode(MQTT_VERSION_311, false, BYTES(0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_31, false, BYTES(0x00)), MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.14.1-1] */
Test(disconnect, MQTT_3_14_1_1_flags_are_malformed)
{
    for (uint8_t flags = 1; flags < 16; flags++) {
        cr_assert_eq(disconnect_decode(MQTT_VERSION_311, flags, NO_BYTES, false, &disconnect),
                     MQTT_MALFORMED_PACKET);
        cr_assert_eq(disconnect_decode(MQTT_VERSION_5, flags, NO_BYTES, false, &disconnect),
                     MQTT_MALFORMED_PACKET);
    }
}

/* [MQTT-3.14.2-1] */
Test(disconnect, MQTT_3_14_2_1_each_side_has_its_reason_codes)
{
    static const uint8_t both[] = {0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93,
                                   0x94, 0x95, 0x96, 0x97, 0x98, 0x99};
    static const uint8_t server[] = {0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x9a,
                                     0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2};

    for (unsigned code = 0; code < 256; code++) {
        bool of_both = memchr(both, (int)code, sizeof(both)) != NULL;
        bool of_client = of_both || code == MQTT_DISCONNECT_WITH_WILL;
        bool of_server = of_both || memchr(server, (int)code, sizeof(server)) != NULL;
        cr_assert_eq(decode(MQTT_VERSION_5, false, BYTES((uint8_t)code)),
                     of_client ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
        cr_assert_eq(decode(MQTT_VERSION_5, true, BYTES((uint8_t)code)),
                     of_server ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
    }
}

/* [MQTT-3.14.2-2] */
Test(disconnect, MQTT_3_14_2_2_session_expiry_comes_from_clients_only)
{
    struct slice body = BYTES(0x00, 0x05, 0x11, 0x00, 0x00, 0x00, 0x3c);

    cr_assert_eq(decode(MQTT_VERSION_5, false, body), MQTT_SUCCESS);
    cr_assert(disconnect.has_session_expiry);
    cr_assert_eq(disconnect.session_expiry_s, 60);
    cr_assert_eq(decode(MQTT_VERSION_5, true, body), MQTT_PROTOCOL_ERROR);
}

Test(disconnect, bytes_after_the_properties_are_malformed)
{
    cr_assert_eq(decode(MQTT_VERSION_5, false, BYTES(0x00, 0x00, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, false, BYTES(0x00, 0x01)), MQTT_MALFORMED_PACKET);
}

Test(disconnect, the_shortest_form_is_written)
{
    struct wire       wire = {0};
    struct disconnect moved = {.reason = MQTT_SERVER_MOVED, .server_reference = slice_text("o")};

    wire_disconnect(&wire, MQTT_VERSION_311, MQTT_SERVER_SHUTTING_DOWN);
    wire_disconnect(&wire, MQTT_VERSION_5, MQTT_SUCCESS);
    wire_disconnect(&wire, MQTT_VERSION_5, MQTT_SERVER_SHUTTING_DOWN);
    wire_disconnect_of(&wire, MQTT_VERSION_5, &moved);

    cr_assert(slice_equal(wire_view(&wire), BYTES(0xe0, 0x00,       /* no reason before 5 */
                                                  0xe0, 0x00,       /* success is left out */
                                                  0xe0, 0x01, 0x8b, /* no properties */
                                                  0xe0, 0x06, 0x9d, 0x04, 0x1c, 0x00, 0x01, 'o')));
    wire_fini(&wire);
}

Test(disconnect, auth_is_read_and_written)
{
    struct slice body = BYTES(0x18, 12,               /* continue, block */
                              0x15, 0x00, 0x01, 'M',  /* method */
                              0x16, 0x00, 0x01, 0xff, /* data */
                              0x1f, 0x00, 0x01, 'r'); /* reason string */
    struct wire  wire = {0};

    cr_assert_eq(decode_auth(body), MQTT_SUCCESS);
    cr_assert_eq(auth.reason, MQTT_CONTINUE_AUTHENTICATION);
    cr_assert(text_is(auth.method, "M"));
    cr_assert_eq(auth.data.size, 1);
    cr_assert(text_is(auth.reason_string, "r"));

    wire_auth_of(&wire, &auth);
    cr_assert(slice_equal(slice_of(wire.data + 2, wire.size - 2), body));
    cr_assert_eq(wire.data[0], 0xf0);
    wire_fini(&wire);
}

/* [MQTT-3.15.1-1] */
Test(disconnect, MQTT_3_15_1_1_flags_of_auth_are_malformed)
{
    cr_assert_eq(auth_decode(0x1, NO_BYTES, &auth), MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.15.2-1] */
Test(disconnect, MQTT_3_15_2_1_auth_has_three_reason_codes)
{
    for (unsigned code = 0; code < 256; code++) {
        bool known = code == 0x00 || code == 0x18 || code == 0x19;
        cr_assert_eq(decode_auth(BYTES((uint8_t)code, 0x04, 0x15, 0x00, 0x01, 'M')),
                     known ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
    }
}

/* MQTT 5, 3.15.2.1 and 3.15.2.2.2 */
Test(disconnect, auth_has_a_method_unless_it_is_empty)
{
    cr_assert_eq(decode_auth(NO_BYTES), MQTT_SUCCESS);
    cr_assert_eq(auth.reason, MQTT_SUCCESS);
    cr_assert_eq(decode_auth(BYTES(0x18, 0x00)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode_auth(BYTES(0x18)), MQTT_MALFORMED_PACKET);
}

Test(disconnect, pings_are_two_bytes)
{
    struct wire wire = {0};

    wire_ping(&wire, PACKET_PINGREQ);
    wire_ping(&wire, PACKET_PINGRESP);

    cr_assert(slice_equal(wire_view(&wire), BYTES(0xc0, 0x00, 0xd0, 0x00)));
    cr_assert_eq(ping_decode(0, NO_BYTES), MQTT_SUCCESS);
    cr_assert_eq(ping_decode(1, NO_BYTES), MQTT_MALFORMED_PACKET);
    cr_assert_eq(ping_decode(0, BYTES(0x00)), MQTT_MALFORMED_PACKET);
    wire_fini(&wire);
}
