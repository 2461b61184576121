/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/publish.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static struct publish publish;

static enum mqtt_reason decode(enum mqtt_version version, uint8_t flags, struct slice body)
{
    return publish_decode(version, flags, exact(body), false, &publish);
}

/* MQTT 3.1.1, figure 3.11 */
Test(publish, the_example_of_the_standard_is_read)
{
    struct slice body = BYTES(0x00, 0x03, 'a', '/', 'b', /* topic */
                              0x00, 0x0a,                /* packet identifier 10 */
                              'h', 'i');                 /* payload */

    cr_assert_eq(decode(MQTT_VERSION_311, 0xb, body), MQTT_SUCCESS);
    cr_assert(text_is(publish.topic, "a/b"));
    cr_assert(text_is(publish.payload, "hi"));
    cr_assert_eq(publish.packet_id, 10);
    cr_assert_eq(publish.qos, 1);
    cr_assert(publish.duplicate);
    cr_assert(publish.retain);
}

Test(publish, every_property_is_read)
{
    struct slice body = BYTES(0x00, 0x01, 't', 0x00, 0x01, 40,        /* topic, id, block */
                              0x01, 0x01,                             /* payload format */
                              0x02, 0x00, 0x00, 0x0e, 0x10,           /* message expiry 3600 */
                              0x23, 0x00, 0x07,                       /* topic alias 7 */
                              0x08, 0x00, 0x01, 'r',                  /* response topic */
                              0x09, 0x00, 0x02, 0x00, 0xff,           /* correlation data */
                              0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', /* user property */
                              0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', /* and again */
                              0x03, 0x00, 0x04, 'j', 's', 'o', 'n',   /* content type */
                              'x');

    cr_assert_eq(decode(MQTT_VERSION_5, 0x2, body), MQTT_SUCCESS);
    cr_assert_eq(publish.payload_format, 1);
    cr_assert(publish.has_message_expiry);
    cr_assert_eq(publish.message_expiry_s, 3600);
    cr_assert_eq(publish.topic_alias, 7);
    cr_assert(text_is(publish.response_topic, "r"));
    cr_assert(publish.has_correlation_data);
    cr_assert_eq(publish.user_property_count, 2);
    cr_assert(text_is(publish.content_type, "json"));
    cr_assert_eq(publish.properties.size, 40);
    cr_assert_eq(publish.forward_size, 40 - 5 - 3);
    cr_assert(text_is(publish.payload, "x"));
}

/* [MQTT-3.3.2-17] [MQTT-3.3.2-18] */
Test(publish, MQTT_3_3_2_18_user_properties_go_on_in_order)
{
    struct slice  body = BYTES(0x00, 0x01, 't', 17,                    /* topic, block */
                               0x26, 0x00, 0x01, 'b', 0x00, 0x01, '1', /* user property */
                               0x23, 0x00, 0x01,                       /* topic alias */
                               0x26, 0x00, 0x01, 'a', 0x00, 0x01, '2');
    struct slice  wanted = BYTES(0x26, 0x00, 0x01, 'b', 0x00, 0x01, '1', /* in order */
                                 0x26, 0x00, 0x01, 'a', 0x00, 0x01, '2');
    uint8_t       forward[14];
    struct writer writer = {.at = forward, .end = forward + sizeof(forward)};

    cr_assert_eq(decode(MQTT_VERSION_5, 0, body), MQTT_SUCCESS);
    publish_write_forward(&publish, &writer);

    cr_assert_eq(publish.forward_size, sizeof(forward));
    cr_assert_eq(writer.at, writer.end);
    cr_assert(slice_equal(slice_of(forward, sizeof(forward)), wanted));
}

Test(publish, an_empty_payload_is_valid)
{
    cr_assert_eq(decode(MQTT_VERSION_311, 1, BYTES(0x00, 0x01, 't')), MQTT_SUCCESS);
    cr_assert_eq(publish.payload.size, 0);
}

/* [MQTT-3.3.1-4] */
Test(publish, MQTT_3_3_1_4_qos_3_is_malformed)
{
    FOR_EACH_VERSION(version)
    cr_assert_eq(decode(version, 0x6, BYTES(0x00, 0x01, 't', 0x00, 0x01, 0x00)),
                 MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.3.1-2] */
Test(publish, MQTT_3_3_1_2_a_duplicate_of_qos_0_is_malformed)
{
    struct slice body = BYTES(0x00, 0x01, 't', 0x00);

    cr_assert_eq(decode(MQTT_VERSION_311, 0x8, body), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, 0x8, body), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_31, 0x8, body), MQTT_SUCCESS, "3.1 does not say so");
}

/* [MQTT-2.2.1-3] */
Test(publish, MQTT_2_2_1_3_packet_identifier_0_is_refused)
{
    FOR_EACH_VERSION(version)
    cr_assert_eq(decode(version, 0x2, BYTES(0x00, 0x01, 't', 0x00, 0x00, 0x00)),
                 MQTT_PROTOCOL_ERROR);
}

/* [MQTT-2.2.1-2] */
Test(publish, MQTT_2_2_1_2_qos_0_has_no_packet_identifier)
{
    cr_assert_eq(decode(MQTT_VERSION_311, 0, BYTES(0x00, 0x01, 't', 0x00, 0x05)), MQTT_SUCCESS);
    cr_assert_eq(publish.packet_id, 0);
    cr_assert_eq(publish.payload.size, 2);
}

/* [MQTT-3.3.2-1] [MQTT-1.5.4-1] */
Test(publish, MQTT_3_3_2_1_a_topic_that_is_not_utf8_is_malformed)
{
    FOR_EACH_VERSION(version)
    {
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x03, 0xed, 0xa0, 0x80, 0x00)),
                     MQTT_MALFORMED_PACKET, "a surrogate");
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x02, 0xc0, 0x80, 0x00)), MQTT_MALFORMED_PACKET,
                     "an over-long form");
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x02, 'a', 0x00, 0x00)), MQTT_MALFORMED_PACKET,
                     "a null character [MQTT-1.5.4-2]");
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x03, 0xe2, 0x82, 0xac, 0x00)), MQTT_SUCCESS);
    }
}

/* [MQTT-3.3.2-2] */
Test(publish, MQTT_3_3_2_2_a_topic_with_a_wildcard_is_malformed)
{
    FOR_EACH_VERSION(version)
    {
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x03, 'a', '/', '#', 0x00)),
                     MQTT_MALFORMED_PACKET);
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x01, '+', 0x00)), MQTT_MALFORMED_PACKET);
        cr_assert_eq(decode(version, 0, BYTES(0x00, 0x03, 0xc3, 0xa9, '+', 0x00)),
                     MQTT_MALFORMED_PACKET);
    }
}

/* [MQTT-4.7.3-1], and MQTT 5, 3.3.2.3.4 */
Test(publish, MQTT_4_7_3_1_an_empty_topic_needs_an_alias)
{
    cr_assert_eq(decode(MQTT_VERSION_31, 0, BYTES(0x00, 0x00)), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_311, 0, BYTES(0x00, 0x00, 'x')), MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_5, 0, BYTES(0x00, 0x00, 0x00)), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode(MQTT_VERSION_5, 0, BYTES(0x00, 0x00, 0x03, 0x23, 0x00, 0x01)),
                 MQTT_SUCCESS);
    cr_assert_eq(publish.topic_alias, 1);
}

/* [MQTT-3.3.2-8] */
Test(publish, MQTT_3_3_2_8_topic_alias_0_is_refused)
{
    cr_assert_eq(decode(MQTT_VERSION_5, 0, BYTES(0x00, 0x01, 't', 0x03, 0x23, 0x00, 0x00)),
                 MQTT_TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.3.4-6] */
Test(publish, MQTT_3_3_4_6_subscription_identifiers_come_from_servers_only)
{
    struct slice body = exact(BYTES(0x00, 0x01, 't', 0x05, 0x0b, 0x01, 0x0b, 0x80, 0x01, 'x'));

    cr_assert_eq(publish_decode(MQTT_VERSION_5, 0, body, false, &publish), MQTT_PROTOCOL_ERROR);
    cr_assert_eq(publish_decode(MQTT_VERSION_5, 0, body, true, &publish), MQTT_SUCCESS);
    cr_assert_eq(publish.subscription_id_count, 2);
    cr_assert_eq(publish.subscription_id, 128);
    cr_assert_eq(publish.forward_size, 0);
}

/* MQTT 5, figure of 3.3: one receiver's packet, byte by byte */
Test(publish, a_head_is_written_as_the_standard_says)
{
    const uint32_t      ids[] = {5, 300};
    struct publish_head head = {
        .topic = slice_text("a/b"),
        .forward = BYTES(0x01, 0x01),
        .subscription_ids = ids,
        .subscription_id_count = 2,
        .message_expiry_s = 60,
        .packet_id = 10,
        .topic_alias = 7,
        .qos = 2,
        .retain = true,
        .duplicate = true,
        .has_message_expiry = true,
    };
    struct slice wanted = BYTES(0x3d, 25,                                  /* flags, length */
                                0x00, 0x03, 'a', '/', 'b', 0x00, 0x0a, 15, /* topic, id, block */
                                0x23, 0x00, 0x07, 0x02, 0x00, 0x00, 0x00, 0x3c, /* alias, expiry */
                                0x0b, 0x05, 0x0b, 0xac, 0x02, 0x01, 0x01,       /* ids, forward */
                                'h', 'i');
    struct wire  wire = {0};

    wire_publish_of(&wire, MQTT_VERSION_5, head, slice_text("hi"));

    cr_assert(slice_equal(wire_view(&wire), wanted));
    wire_fini(&wire);
}

Test(publish, a_head_before_version_5_has_no_properties)
{
    struct publish_head head = {.topic = slice_text("t"),
                                .forward = BYTES(0x01, 0x01),
                                .topic_alias = 3,
                                .payload_size = 1};
    uint8_t             bytes[8];
    struct writer       writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    cr_assert_eq(publish_head_size(MQTT_VERSION_311, &head), 5);
    publish_head_write(MQTT_VERSION_311, &head, &writer);
    cr_assert(slice_equal(slice_of(bytes, (size_t)(writer.at - bytes)),
                          BYTES(0x30, 0x04, 0x00, 0x01, 't')));
}

Test(publish, a_packet_above_the_largest_size_has_no_head)
{
    struct publish_head head = {.topic = slice_text("t"),
                                .payload_size = MQTT_REMAINING_LENGTH_MAX - 3};

    cr_assert_eq(publish_head_size(MQTT_VERSION_311, &head), 8);
    head.payload_size++;
    cr_assert_eq(publish_head_size(MQTT_VERSION_311, &head), 0);
    head.payload_size = UINT32_MAX;
    cr_assert_eq(publish_head_size(MQTT_VERSION_311, &head), 0);
}
