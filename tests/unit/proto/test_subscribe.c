/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/subscribe.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static struct subscribe subscribe;
static struct suback    suback;

static enum mqtt_reason decode(enum mqtt_version version, struct slice body)
{
    return subscribe_decode(version, 0x2, exact(body), &subscribe);
}

static enum mqtt_reason decode_unsubscribe(enum mqtt_version version, struct slice body)
{
    return unsubscribe_decode(version, 0x2, exact(body), &subscribe);
}

static enum mqtt_reason decode_suback(enum mqtt_version version, enum packet_type type,
                                      struct slice body)
{
    return suback_decode(version, type, 0, exact(body), &suback);
}

/* MQTT 3.1.1, figure 3.23 */
Test(subscribe, the_example_of_the_standard_is_read)
{
    struct slice           body = BYTES(0x00, 0x0a,                       /* packet identifier 10 */
                                        0x00, 0x03, 'a', '/', 'b', 0x01,  /* a/b, QoS 1 */
                                        0x00, 0x03, 'c', '/', 'd', 0x02); /* c/d, QoS 2 */
    struct subscribe_entry entry;

    cr_assert_eq(decode(MQTT_VERSION_311, body), MQTT_SUCCESS);
    cr_assert_eq(subscribe.packet_id, 10);
    cr_assert_eq(subscribe.entry_count, 2);
    cr_assert(subscribe_next(MQTT_VERSION_311, &subscribe, &entry));
    cr_assert(text_is(entry.filter, "a/b"));
    cr_assert_eq(entry.options.qos, 1);
    cr_assert(subscribe_next(MQTT_VERSION_311, &subscribe, &entry));
    cr_assert(text_is(entry.filter, "c/d"));
    cr_assert_eq(entry.options.qos, 2);
    cr_assert_not(subscribe_next(MQTT_VERSION_311, &subscribe, &entry));
}

Test(subscribe, properties_and_options_of_5_are_read)
{
    struct slice           body = BYTES(0x00, 0x0a, 10,   /* id, block */
                                        0x0b, 0xac, 0x02, /* subscription id 300 */
                                        0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v', /* user property */
                                        0x00, 0x01, '#', 0x2d); /* QoS 1, no local, as published, 2 */
    struct subscribe_entry entry;

    cr_assert_eq(decode(MQTT_VERSION_5, body), MQTT_SUCCESS);
    cr_assert_eq(subscribe.subscription_id, 300);
    cr_assert_eq(subscribe.user_property_count, 1);
    cr_assert(subscribe_next(MQTT_VERSION_5, &subscribe, &entry));
    cr_assert_eq(entry.options.qos, 1);
    cr_assert(entry.options.no_local);
    cr_assert(entry.options.retain_as_published);
    cr_assert_eq(entry.options.retain_handling, 2);
}

/* [MQTT-3.8.1-1] [MQTT-3.10.1-1] */
Test(subscribe, MQTT_3_8_1_1_flags_are_fixed)
{
    struct slice body = exact(BYTES(0x00, 0x0a, 0x00, 0x01, 'a', 0x00));
    struct slice filters = exact(BYTES(0x00, 0x0a, 0x00, 0x01, 'a'));

    for (uint8_t flags = 0; flags < 16; flags++) {
        enum mqtt_reason wanted = flags == 0x2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
        cr_assert_eq(subscribe_decode(MQTT_VERSION_311, flags, body, &subscribe), wanted);
        cr_assert_eq(unsubscribe_decode(MQTT_VERSION_311, flags, filters, &subscribe), wanted);
    }
    cr_assert_eq(subscribe_decode(MQTT_VERSION_31, 0xa, body, &subscribe), MQTT_SUCCESS,
                 "3.1 sets DUP in a packet sent again");
}

/* [MQTT-2.2.1-3] */
Test(subscribe, MQTT_2_2_1_3_packet_identifier_0_is_refused)
{
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00, 0x00, 0x00, 0x01, 'a', 0x00)),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode_unsubscribe(MQTT_VERSION_311, BYTES(0x00, 0x00, 0x00, 0x01, 'a')),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode_suback(MQTT_VERSION_311, PACKET_SUBACK, BYTES(0x00, 0x00, 0x00)),
                 MQTT_PROTOCOL_ERROR);
}

/* [MQTT-3.8.3-2] [MQTT-3.10.3-2] */
Test(subscribe, MQTT_3_8_3_2_a_packet_without_a_filter_is_refused)
{
    FOR_EACH_VERSION(version)
    {
        struct slice body = BYTES(0x00, 0x0a, 0x00);
        body.size = version == MQTT_VERSION_5 ? 3 : 2;
        cr_assert_eq(decode(version, body), MQTT_PROTOCOL_ERROR);
        cr_assert_eq(decode_unsubscribe(version, body), MQTT_PROTOCOL_ERROR);
    }
}

/* [MQTT-3.8.3-1] [MQTT-3.10.3-1] */
Test(subscribe, MQTT_3_8_3_1_a_filter_that_is_not_utf8_is_malformed)
{
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00, 0x0a, 0x00, 0x01, 0xff, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode(MQTT_VERSION_311, BYTES(0x00, 0x0a, 0x00, 0x01, 0x00, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode_unsubscribe(MQTT_VERSION_311, BYTES(0x00, 0x0a, 0x00, 0x01, 0xff)),
                 MQTT_MALFORMED_PACKET);
}

/* [MQTT-3.8.3-5] of 5, [MQTT-3.8.3-4] of 3.1.1, and the values that 5 refuses */
Test(subscribe, MQTT_3_8_3_5_reserved_option_bits_are_malformed)
{
    for (unsigned options = 0; options < 256; options++) {
        struct slice     body_5 = BYTES(0x00, 0x0a, 0x00, 0x00, 0x01, 'a', (uint8_t)options);
        struct slice     body_3 = BYTES(0x00, 0x0a, 0x00, 0x01, 'a', (uint8_t)options);
        enum mqtt_reason wanted_5 = (options & 0xc0) != 0      ? MQTT_MALFORMED_PACKET
                                    : (options & 0x03) == 0x03 ? MQTT_PROTOCOL_ERROR
                                    : (options & 0x30) == 0x30 ? MQTT_PROTOCOL_ERROR
                                                               : MQTT_SUCCESS;

        cr_assert_eq(decode(MQTT_VERSION_5, body_5), wanted_5, "0x%02x", options);
        cr_assert_eq(decode(MQTT_VERSION_311, body_3),
                     options <= 2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET, "0x%02x", options);
        cr_assert_eq(decode(MQTT_VERSION_31, body_3),
                     (options & 3) <= 2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET, "0x%02x", options);
    }
}

Test(subscribe, subscription_identifier_0_and_a_second_one_are_refused)
{
    cr_assert_eq(decode(MQTT_VERSION_5, BYTES(0x00, 0x0a, 0x02, 0x0b, 0x00, 0x00, 0x01, 'a', 0x00)),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(decode(MQTT_VERSION_5,
                        BYTES(0x00, 0x0a, 0x04, 0x0b, 0x01, 0x0b, 0x02, 0x00, 0x01, 'a', 0x00)),
                 MQTT_PROTOCOL_ERROR);
    cr_assert_eq(
        decode_unsubscribe(MQTT_VERSION_5, BYTES(0x00, 0x0a, 0x02, 0x0b, 0x01, 0x00, 0x01, 'a')),
        MQTT_MALFORMED_PACKET, "nor may it stand in UNSUBSCRIBE");
}

Test(subscribe, an_entry_cut_short_is_malformed)
{
    struct slice body = BYTES(0x00, 0x0a, 0x00, 0x03, 'a', '/', 'b', 0x01);

    for (uint32_t size = 3; size < body.size; size++)
        cr_assert_eq(decode(MQTT_VERSION_311, slice_of(body.data, size)), MQTT_MALFORMED_PACKET);
}

/* MQTT 3.1.1, figure 3.30 */
Test(subscribe, unsubscribe_is_read)
{
    struct slice body = BYTES(0x00, 0x0a,                 /* packet identifier 10 */
                              0x00, 0x03, 'a', '/', 'b',  /* a/b */
                              0x00, 0x03, 'c', '/', 'd'); /* c/d */
    struct slice filter;

    cr_assert_eq(decode_unsubscribe(MQTT_VERSION_311, body), MQTT_SUCCESS);
    cr_assert_eq(subscribe.entry_count, 2);
    cr_assert(unsubscribe_next(&subscribe, &filter));
    cr_assert(text_is(filter, "a/b"));
    cr_assert(unsubscribe_next(&subscribe, &filter));
    cr_assert(text_is(filter, "c/d"));
    cr_assert_not(unsubscribe_next(&subscribe, &filter));
}

Test(subscribe, packets_are_written_as_the_standard_says)
{
    struct wire            wire = {0};
    struct subscribe_entry entry = {
        .filter = slice_text("a"),
        .options = {.qos = 2, .retain_handling = 1, .no_local = true, .retain_as_published = true}};

    wire_subscribe_of(&wire, MQTT_VERSION_5, 1, 128, &entry, 1);
    wire_subscribe_of(&wire, MQTT_VERSION_311, 1, 128, &entry, 1);
    wire_unsubscribe(&wire, MQTT_VERSION_5, 2, "a");
    wire_unsubscribe(&wire, MQTT_VERSION_31, 2, "a");

    cr_assert(slice_equal(wire_view(&wire),
                          BYTES(0x82, 0x0a, 0x00, 0x01, 0x03, 0x0b, 0x80, 0x01, 0x00, 0x01, 'a',
                                0x1e, 0x82, 0x06, 0x00, 0x01, 0x00, 0x01, 'a', 0x02, /* 3.1.1 */
                                0xa2, 0x06, 0x00, 0x02, 0x00, 0x00, 0x01, 'a',       /* 5 */
                                0xa2, 0x05, 0x00, 0x02, 0x00, 0x01, 'a')));
    wire_fini(&wire);
}

/* [MQTT-3.9.3-2] of 3.1.1 */
Test(subscribe, MQTT_3_9_3_2_every_failure_is_0x80_before_5)
{
    const uint8_t codes[] = {0, 1, 2, MQTT_NOT_AUTHORIZED, MQTT_QUOTA_EXCEEDED};
    struct wire   wire = {0};

    wire_suback(&wire, MQTT_VERSION_311, PACKET_SUBACK, 10, codes, 5);
    wire_suback(&wire, MQTT_VERSION_5, PACKET_SUBACK, 10, codes, 5);
    wire_suback(&wire, MQTT_VERSION_311, PACKET_UNSUBACK, 10, codes, 5);

    cr_assert(slice_equal(wire_view(&wire),
                          BYTES(0x90, 0x07, 0x00, 0x0a, 0, 1, 2, 0x80, 0x80,       /* 3.1.1 */
                                0x90, 0x08, 0x00, 0x0a, 0x00, 0, 1, 2, 0x87, 0x97, /* 5 */
                                0xb0, 0x02, 0x00, 0x0a)));
    wire_fini(&wire);
}

/* [MQTT-3.9.3-2] [MQTT-3.11.3-2] */
Test(subscribe, MQTT_3_11_3_2_answers_have_their_reason_codes)
{
    static const uint8_t subacks[] = {0x00, 0x01, 0x02, 0x80, 0x83, 0x87,
                                      0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2};
    static const uint8_t unsubacks[] = {0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91};

    for (unsigned code = 0; code < 256; code++) {
        struct slice body = BYTES(0x00, 0x0a, 0x00, 0x00, (uint8_t)code);
        bool         sub = memchr(subacks, (int)code, sizeof(subacks)) != NULL;
        bool         unsub = memchr(unsubacks, (int)code, sizeof(unsubacks)) != NULL;
        bool         old = code <= 2 || code == 0x80;
        cr_assert_eq(decode_suback(MQTT_VERSION_5, PACKET_SUBACK, body),
                     sub ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
        cr_assert_eq(decode_suback(MQTT_VERSION_5, PACKET_UNSUBACK, body),
                     unsub ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
        cr_assert_eq(decode_suback(MQTT_VERSION_311, PACKET_SUBACK, body),
                     old ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR, "0x%02x", code);
    }
}

Test(subscribe, answers_have_a_code_or_none_as_their_version_says)
{
    cr_assert_eq(decode_suback(MQTT_VERSION_311, PACKET_SUBACK, BYTES(0x00, 0x0a)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode_suback(MQTT_VERSION_311, PACKET_UNSUBACK, BYTES(0x00, 0x0a)), MQTT_SUCCESS);
    cr_assert_eq(decode_suback(MQTT_VERSION_311, PACKET_UNSUBACK, BYTES(0x00, 0x0a, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode_suback(MQTT_VERSION_5, PACKET_UNSUBACK, BYTES(0x00, 0x0a, 0x00)),
                 MQTT_MALFORMED_PACKET);
    cr_assert_eq(decode_suback(MQTT_VERSION_5, PACKET_SUBACK,
                               BYTES(0x00, 0x0a, 0x04, 0x1f, 0x00, 0x01, 'r', 0x01)),
                 MQTT_SUCCESS);
    cr_assert(text_is(suback.reason_string, "r"));
    cr_assert_eq(suback.count, 1);
    cr_assert_eq(suback.codes[0], MQTT_GRANTED_QOS1);
}
