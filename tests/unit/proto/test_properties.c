/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/properties.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static enum mqtt_reason check(unsigned packet, struct slice block)
{
    uint32_t users;
    return properties_check(exact(block), packet, &users);
}

/* One valid property of each identifier. */
static struct slice sample(enum property_id id)
{
    static uint8_t bytes[16];
    struct writer  writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    switch ((int)id) {
    case PROPERTY_PAYLOAD_FORMAT:
    case PROPERTY_REQUEST_PROBLEM_INFORMATION:
    case PROPERTY_REQUEST_RESPONSE_INFORMATION:
    case PROPERTY_MAXIMUM_QOS:
    case PROPERTY_RETAIN_AVAILABLE:
    case PROPERTY_WILDCARD_AVAILABLE:
    case PROPERTY_SUBSCRIPTION_IDS_AVAILABLE:
    case PROPERTY_SHARED_AVAILABLE:
        write_property_u8(&writer, id, 1);
        break;
    case PROPERTY_SERVER_KEEP_ALIVE:
    case PROPERTY_RECEIVE_MAXIMUM:
    case PROPERTY_TOPIC_ALIAS_MAXIMUM:
    case PROPERTY_TOPIC_ALIAS:
        write_property_u16(&writer, id, 1);
        break;
    case PROPERTY_MESSAGE_EXPIRY:
    case PROPERTY_SESSION_EXPIRY:
    case PROPERTY_WILL_DELAY:
    case PROPERTY_MAXIMUM_PACKET_SIZE:
        write_property_u32(&writer, id, 1);
        break;
    case PROPERTY_SUBSCRIPTION_ID:
        write_property_variable(&writer, id, 1);
        break;
    case PROPERTY_CONTENT_TYPE:
    case PROPERTY_RESPONSE_TOPIC:
    case PROPERTY_CORRELATION_DATA:
    case PROPERTY_ASSIGNED_CLIENT_ID:
    case PROPERTY_AUTHENTICATION_METHOD:
    case PROPERTY_AUTHENTICATION_DATA:
    case PROPERTY_RESPONSE_INFORMATION:
    case PROPERTY_SERVER_REFERENCE:
    case PROPERTY_REASON_STRING:
        write_property_bytes(&writer, id, slice_text("a"));
        break;
    case PROPERTY_USER_PROPERTY:
        write_property_user(&writer, slice_text("k"), slice_text("v"));
        break;
    default:
        break;
    }
    return slice_of(bytes, (size_t)(writer.at - bytes));
}

/* Table 2-4 once more, as letters: which packets each property may stand in. */
static const char *allowed_in(enum property_id id)
{
    /* C connect, A connack, P publish, p the four acks, S subscribe, s suback, U unsubscribe,
     * u unsuback, D disconnect, H auth, W will */
    switch ((int)id) {
    case PROPERTY_PAYLOAD_FORMAT:
    case PROPERTY_MESSAGE_EXPIRY:
    case PROPERTY_CONTENT_TYPE:
    case PROPERTY_RESPONSE_TOPIC:
    case PROPERTY_CORRELATION_DATA:
        return "PW";
    case PROPERTY_SUBSCRIPTION_ID:
        return "PS";
    case PROPERTY_SESSION_EXPIRY:
        return "CAD";
    case PROPERTY_AUTHENTICATION_METHOD:
    case PROPERTY_AUTHENTICATION_DATA:
        return "CAH";
    case PROPERTY_REQUEST_PROBLEM_INFORMATION:
    case PROPERTY_REQUEST_RESPONSE_INFORMATION:
        return "C";
    case PROPERTY_WILL_DELAY:
        return "W";
    case PROPERTY_SERVER_REFERENCE:
        return "AD";
    case PROPERTY_REASON_STRING:
        return "ApsuDH";
    case PROPERTY_RECEIVE_MAXIMUM:
    case PROPERTY_TOPIC_ALIAS_MAXIMUM:
    case PROPERTY_MAXIMUM_PACKET_SIZE:
        return "CA";
    case PROPERTY_TOPIC_ALIAS:
        return "P";
    case PROPERTY_USER_PROPERTY:
        return "CAPpSsUuDHW";
    default:
        return "A";
    }
}

Test(properties, each_property_is_accepted_in_the_packets_of_table_2_4_and_no_other)
{
    static const char letters[PROPERTIES_OF_WILL + 1] = {
        '-', 'C', 'A', 'P', 'p', 'p', 'p', 'p', 'S', 's', 'U', 'u', '-', '-', 'D', 'H', 'W'};
    unsigned known = 0;

    for (unsigned id = 0; id < 256; id++) {
        struct slice one = sample((enum property_id)id);
        if (one.size == 0)
            continue;
        known++;
        for (unsigned packet = 0; packet <= PROPERTIES_OF_WILL; packet++) {
            bool wanted = strchr(allowed_in((enum property_id)id), letters[packet]) != NULL;
            cr_assert_eq(check(packet, one), wanted ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET,
                         "property 0x%02x in packet %u", id, packet);
        }
    }
    cr_assert_eq(known, 27);
}

Test(properties, unknown_identifiers_are_malformed)
{
    for (unsigned id = 0; id < 256; id++) {
        if (sample((enum property_id)id).size > 0)
            continue;
        uint8_t bytes[8] = {(uint8_t)id};
        cr_assert_eq(check(PACKET_CONNECT, slice_of(bytes, sizeof(bytes))), MQTT_MALFORMED_PACKET);
    }
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x81, 0x00, 0x01)), MQTT_MALFORMED_PACKET,
                 "payload format in a longer form of its identifier");
}

Test(properties, each_property_cut_short_is_malformed)
{
    for (unsigned id = 0; id < PROPERTY_ID_COUNT; id++) {
        struct slice one = sample((enum property_id)id);
        unsigned     packet = PACKET_CONNECT;
        while (one.size > 0 && check(packet, one) != MQTT_SUCCESS)
            packet++;
        for (uint32_t size = 1; size < one.size; size++)
            cr_assert_eq(check(packet, slice_of(one.data, size)), MQTT_MALFORMED_PACKET);
    }
}

Test(properties, a_second_one_is_a_protocol_error_except_user_properties_and_identifiers_of_publish)
{
    for (unsigned id = 0; id < PROPERTY_ID_COUNT; id++) {
        struct slice one = sample((enum property_id)id);
        uint8_t      twice[32];
        memcpy(twice, one.data, one.size);
        memcpy(twice + one.size, one.data, one.size);

        for (unsigned packet = 0; packet <= PROPERTIES_OF_WILL; packet++) {
            if (one.size == 0 || check(packet, one) != MQTT_SUCCESS)
                continue;
            bool repeats = id == PROPERTY_USER_PROPERTY ||
                           (id == PROPERTY_SUBSCRIPTION_ID && packet == PACKET_PUBLISH);
            cr_assert_eq(check(packet, slice_of(twice, 2 * one.size)),
                         repeats ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x in %u", id, packet);
        }
    }
}

Test(properties, values_out_of_range_are_refused)
{
    cr_assert_eq(check(PACKET_CONNECT, BYTES(0x21, 0x00, 0x00)), MQTT_PROTOCOL_ERROR,
                 "receive maximum 0");
    cr_assert_eq(check(PACKET_CONNECT, BYTES(0x27, 0x00, 0x00, 0x00, 0x00)), MQTT_PROTOCOL_ERROR,
                 "maximum packet size 0");
    cr_assert_eq(check(PACKET_CONNECT, BYTES(0x17, 0x02)), MQTT_PROTOCOL_ERROR,
                 "request problem information 2");
    cr_assert_eq(check(PACKET_CONNECT, BYTES(0x19, 0x02)), MQTT_PROTOCOL_ERROR,
                 "request response information 2");
    cr_assert_eq(check(PACKET_CONNACK, BYTES(0x24, 0x02)), MQTT_PROTOCOL_ERROR, "maximum qos 2");
    cr_assert_eq(check(PACKET_CONNACK, BYTES(0x25, 0x02)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_CONNACK, BYTES(0x28, 0x02)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_CONNACK, BYTES(0x29, 0x02)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_CONNACK, BYTES(0x2a, 0x02)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x01, 0x02)), MQTT_PROTOCOL_ERROR, "payload format 2");
    cr_assert_eq(check(PACKET_SUBSCRIBE, BYTES(0x0b, 0x00)), MQTT_PROTOCOL_ERROR,
                 "subscription identifier 0");
    cr_assert_eq(check(PACKET_SUBSCRIBE, BYTES(0x0b, 0x80, 0x00)), MQTT_MALFORMED_PACKET,
                 "an over-long identifier");
}

/* [MQTT-3.3.2-8] */
Test(properties, MQTT_3_3_2_8_topic_alias_0_is_invalid)
{
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x23, 0x00, 0x00)), MQTT_TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.3.2-13] [MQTT-3.3.2-14] */
Test(properties, MQTT_3_3_2_14_a_response_topic_has_no_wildcard)
{
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x08, 0x00, 0x01, '+')), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PROPERTIES_OF_WILL, BYTES(0x08, 0x00, 0x01, '#')), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x08, 0x00, 0x00)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x08, 0x00, 0x01, 0xff)), MQTT_MALFORMED_PACKET);
}

/* [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-3.3.2-19] */
Test(properties, MQTT_1_5_7_1_strings_that_are_not_utf8_are_malformed)
{
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x03, 0x00, 0x02, 0xc0, 0x80)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x26, 0x00, 0x01, 0xff, 0x00, 0x01, 'v')),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x26, 0x00, 0x01, 'k', 0x00, 0x01, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(check(PACKET_PUBLISH, BYTES(0x09, 0x00, 0x02, 0xff, 0x00)), MQTT_SUCCESS,
                 "correlation data are bytes");
}

Test(properties, user_properties_are_counted_and_may_repeat_and_be_empty)
{
    struct wire wire = {0};
    uint32_t    users;
    wire_user_property(&wire, "name", "value");
    wire_user_property(&wire, "name", "value");
    wire_user_property(&wire, "", "");

    cr_assert_eq(properties_check(exact(wire_view(&wire)), PACKET_CONNECT, &users), MQTT_SUCCESS);
    cr_assert_eq(users, 3);
    wire_fini(&wire);
}

/* [MQTT-2.2.2-1] */
Test(properties, MQTT_2_2_2_1_a_block_of_length_zero_is_read)
{
    struct reader reader = reader_of(exact(BYTES(0x00)));

    cr_assert_eq(read_properties(&reader).size, 0);
    cr_assert(reader_done(&reader));
    cr_assert_eq(check(PACKET_PUBLISH, NO_BYTES), MQTT_SUCCESS);
}

Test(properties, a_block_longer_than_the_packet_is_a_failed_reader)
{
    struct reader reader = reader_of(exact(BYTES(0x03, 0x01, 0x01)));

    cr_assert_eq(read_properties(&reader).size, 0);
    cr_assert(reader.failed);
}

Test(properties, what_is_forwarded_leaves_out_what_is_for_one_hop)
{
    struct slice  block = exact(BYTES(0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', /* user property */
                                      0x23, 0x00, 0x05,                       /* topic alias */
                                      0x01, 0x01,                             /* payload format */
                                      0x02, 0x00, 0x00, 0x00, 0x3c,           /* message expiry */
                                      0x0b, 0x07,                             /* subscription id */
                                      0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'w'));
    struct slice  wanted = BYTES(0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', 0x01, 0x01, 0x26, 0x00,
                                 0x01, 'k', 0x00, 0x01, 'w');
    uint8_t       forward[64];
    struct writer writer = {.at = forward, .end = forward + sizeof(forward)};

    properties_write_forward(block, &writer);

    cr_assert_eq(properties_forward_size(block), wanted.size);
    cr_assert(slice_equal(slice_of(forward, (size_t)(writer.at - forward)), wanted));
}
