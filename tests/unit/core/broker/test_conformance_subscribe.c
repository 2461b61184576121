/* SPDX-License-Identifier: GPL-3.0-or-later */

/* What the standards demand of a server around SUBSCRIBE and UNSUBSCRIBE; see docs/conformance.md.
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

TestSuite(conformance_subscribe, .init = begin, .fini = end);

static const enum mqtt_version versions[] = {MQTT_VERSION_5, MQTT_VERSION_311};

/* The link ends with this reason (5.0), or just ends (3.1.1). */
static void assert_refused(const struct slice *packets, size_t count, enum mqtt_reason reason,
                           enum mqtt_version version)
{
    for (size_t at = 0; at < count; at++) {
        static struct peer peer;
        peer_connect(&peer, &stage, version, "client");
        peer_say_bytes(&peer, packets[at].data, packets[at].size);
        if (version == MQTT_VERSION_5)
            (void)peer_expect_disconnect(&peer, reason);
        else
            peer_expect_end(&peer);
        peer_leave(&peer);
    }
}

static void subscribe_with(struct peer *peer, const char *filter, struct subscribe_options options)
{
    struct subscribe_entry entry = {.filter = slice_text(filter), .options = options};
    wire_subscribe_of(&peer->say, peer->version, 7, 0, &entry, 1);
    peer_say(peer);
    peer_expect_codes(peer, PACKET_SUBACK, 7, &options.qos, 1);
}

/* [MQTT-3.8.1-1] [MQTT-3.8.3-5] [MQTT-3.10.1-1], 3.1.1 [MQTT-3.8.3-4] */
Test(conformance_subscribe, reserved_bits_are_malformed)
{
    static const uint8_t five[][9] = {
        {0x80, 7, 0, 1, 0, 0, 1, 'a', 0},    /* flags of the fixed header */
        {0x82, 7, 0, 1, 0, 0, 1, 'a', 0x40}, /* options */
        {0x82, 7, 0, 1, 0, 0, 1, 'a', 0x80},
        {0xa0, 6, 0, 1, 0, 0, 1, 'a'},
    };
    static const uint8_t four[][8] = {
        {0x80, 6, 0, 1, 0, 1, 'a', 0},
        {0x82, 6, 0, 1, 0, 1, 'a', 0x04},
        {0x82, 6, 0, 1, 0, 1, 'a', 0x03},
        {0xa0, 5, 0, 1, 0, 1, 'a'},
    };

    for (size_t at = 0; at < 4; at++) {
        struct slice packet = slice_of(five[at], five[at][1] + 2U);
        assert_refused(&packet, 1, MQTT_MALFORMED_PACKET, MQTT_VERSION_5);
        packet = slice_of(four[at], four[at][1] + 2U);
        assert_refused(&packet, 1, MQTT_MALFORMED_PACKET, MQTT_VERSION_311);
    }
}

/* MQTT-3.8.3.1 calls these two protocol errors. */
Test(conformance_subscribe, qos_3_and_retain_handling_3_are_protocol_errors)
{
    static const uint8_t qos[] = {0x82, 7, 0, 1, 0, 0, 1, 'a', 0x03};
    static const uint8_t handling[] = {0x82, 7, 0, 1, 0, 0, 1, 'a', 0x30};
    const struct slice   packets[] = {slice_of(qos, 9), slice_of(handling, 9)};

    assert_refused(packets, 2, MQTT_PROTOCOL_ERROR, MQTT_VERSION_5);
}

/* [MQTT-3.8.3-2] [MQTT-3.10.3-2], 3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2] */
Test(conformance_subscribe, at_least_one_filter_must_be_there)
{
    static const uint8_t five[][5] = {{0x82, 3, 0, 1, 0}, {0xa2, 3, 0, 1, 0}};
    static const uint8_t four[][4] = {{0x82, 2, 0, 1}, {0xa2, 2, 0, 1}};
    const struct slice   in_five[] = {slice_of(five[0], 5), slice_of(five[1], 5)};
    const struct slice   in_four[] = {slice_of(four[0], 4), slice_of(four[1], 4)};

    assert_refused(in_five, 2, MQTT_PROTOCOL_ERROR, MQTT_VERSION_5);
    assert_refused(in_four, 2, MQTT_PROTOCOL_ERROR, MQTT_VERSION_311);
}

/* [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-1.5.4-1] [MQTT-1.5.4-2], 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2]
 */
Test(conformance_subscribe, filters_that_are_not_utf_8_are_malformed)
{
    static const uint8_t five[][9] = {{0x82, 7, 0, 1, 0, 0, 1, 0xff, 0},
                                      {0x82, 7, 0, 1, 0, 0, 1, 0x00, 0},
                                      {0xa2, 6, 0, 1, 0, 0, 1, 0xff}};
    static const uint8_t four[][8] = {{0x82, 6, 0, 1, 0, 1, 0xff, 0}, {0xa2, 5, 0, 1, 0, 1, 0xff}};
    const struct slice   in_five[] = {slice_of(five[0], 9), slice_of(five[1], 9),
                                      slice_of(five[2], 8)};
    const struct slice   in_four[] = {slice_of(four[0], 8), slice_of(four[1], 7)};

    assert_refused(in_five, 3, MQTT_MALFORMED_PACKET, MQTT_VERSION_5);
    assert_refused(in_four, 2, MQTT_MALFORMED_PACKET, MQTT_VERSION_311);
}

/* [MQTT-3.8.3-4] */
Test(conformance_subscribe, no_local_on_a_shared_subscription_is_a_protocol_error)
{
    static struct peer     peer;
    struct subscribe_entry entry = {.filter = slice_text("$share/g/a"),
                                    .options = {.no_local = true}};
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");

    wire_subscribe_of(&peer.say, MQTT_VERSION_5, 1, 0, &entry, 1);
    peer_say(&peer);

    (void)peer_expect_disconnect(&peer, MQTT_PROTOCOL_ERROR);
}

/* [MQTT-3.8.3-3] */
Test(conformance_subscribe, no_local_spares_the_publisher)
{
    static struct peer peer;
    static struct peer other;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    subscribe_with(&peer, "a", (struct subscribe_options){.no_local = true});

    peer_publish(&peer, "a", "own");
    peer_publish(&other, "a", "others");

    (void)peer_expect_publish(&peer, "a", "others");
    peer_expect_silence(&peer);
}

/*
 * [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]
 * [MQTT-3.9.3-2] [MQTT-2.2.1-6], 3.1.1 [MQTT-3.8.4-1] to [MQTT-3.8.4-5] [MQTT-3.9.3-1]
 * [MQTT-3.9.3-2]
 */
Test(conformance_subscribe, one_suback_answers_each_filter_in_its_place)
{
    const struct subscribe_entry entries[] = {
        {.filter = slice_text("a"), .options = {.qos = 2}},
        {.filter = slice_text("a/#/b"), .options = {.qos = 1}},
        {.filter = slice_text("b/+"), .options = {.qos = 1}},
        {.filter = slice_text("c"), .options = {.qos = 0}},
    };

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        uint8_t            bad = versions[at] == MQTT_VERSION_5 ? MQTT_TOPIC_FILTER_INVALID : 0x80;
        uint8_t            codes[] = {2, bad, 1, 0};
        peer_connect(&peer, &stage, versions[at], "client");
        wire_subscribe_of(&peer.say, versions[at], 4711, 0, entries, 4);
        peer_say(&peer);
        peer_expect_codes(&peer, PACKET_SUBACK, 4711, codes, 4);
        peer_expect_silence(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-3.8.4-3] [MQTT-3.8.4-4], 3.1.1 [MQTT-3.8.4-3] */
Test(conformance_subscribe, the_same_filter_replaces_the_subscription)
{
    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        peer_connect(&peer, &stage, versions[at], "client");
        wire_publish_retained(&peer.say, versions[at], "a", "kept", 1, 1);
        peer_say(&peer);
        struct frame frame;
        peer_expect(&peer, PACKET_PUBACK, &frame);
        peer_subscribe(&peer, "a", 1);
        (void)peer_expect_publish(&peer, "a", "kept");

        peer_subscribe(&peer, "a", 0);
        cr_assert_eq(peer_expect_publish(&peer, "a", "kept").qos, 0); /* sent again */
        peer_deliver(&peer, "a", "once", 0);

        cr_assert_eq(peer_expect_publish(&peer, "a", "once").qos, 0);
        peer_expect_silence(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-3.8.4-8] [MQTT-4.8.2-3], 3.1.1 [MQTT-3.8.4-6] */
Test(conformance_subscribe, messages_come_at_the_lower_of_both_qos)
{
    const char *const filters[] = {"a", "$share/g/a"};

    for (size_t at = 0; at < 2; at++) {
        for (uint8_t granted = 0; granted <= 2; granted++) {
            for (uint8_t published = 0; published <= 2; published++) {
                static struct peer peer;
                static struct peer other;
                peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
                peer_connect(&other, &stage, MQTT_VERSION_5, "other");
                peer_subscribe(&peer, filters[at], granted);
                peer_deliver(&other, "a", "x", published);
                cr_assert_eq(peer_expect_publish(&peer, "a", "x").qos,
                             published < granted ? published : granted);
                peer_expect_silence(&peer);
                peer_leave(&peer);
                peer_leave(&other);
            }
        }
    }
}

/* [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] */
Test(conformance_subscribe, suback_and_unsuback_fit_the_client)
{
    static struct peer peer;
    struct frame       frame;
    struct connect     connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    connect.maximum_packet_size = 40;
    (void)peer_connect_of(&peer, &stage, &connect);

    wire_subscribe(&peer.say, MQTT_VERSION_5, 1, "a/#/b", 0);
    wire_unsubscribe(&peer.say, MQTT_VERSION_5, 2, "a/#/b");
    peer_say(&peer);

    peer_expect(&peer, PACKET_SUBACK, &frame);
    cr_assert_leq(frame.size, 40);
    if (peer_hear(&peer, &frame))
        cr_assert_leq(frame.size, 40);
}

/* [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
 * [MQTT-3.11.3-2], 3.1.1 the same numbers */
Test(conformance_subscribe, one_unsuback_answers_each_filter_and_what_was_named_ends)
{
    const struct slice   filters[] = {slice_text("a/+"), slice_text("a/x"), slice_text("never")};
    static const uint8_t codes[] = {MQTT_SUCCESS, MQTT_NO_SUBSCRIPTION_EXISTED,
                                    MQTT_NO_SUBSCRIPTION_EXISTED};

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        peer_connect(&peer, &stage, versions[at], "client");
        peer_subscribe(&peer, "a/+", 0);
        peer_subscribe(&peer, "a/#", 0);
        peer_subscribe(&peer, "A/+", 0);

        wire_unsubscribe_of(&peer.say, versions[at], 99, filters, 3);
        peer_say(&peer);

        peer_expect_codes(&peer, PACKET_UNSUBACK, 99, codes, at == 0 ? 3 : 0);
        peer_publish(&peer, "a/x", "still by a/#");
        (void)peer_expect_publish(&peer, "a/x", "still by a/#");
        wire_unsubscribe(&peer.say, versions[at], 100, "a/#");
        peer_say(&peer);
        peer_expect_codes(&peer, PACKET_UNSUBACK, 100, codes, at == 0 ? 1 : 0);
        peer_publish(&peer, "a/x", "no more");
        peer_publish(&peer, "A/x", "not touched");
        (void)peer_expect_publish(&peer, "A/x", "not touched");
        peer_expect_silence(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-3.10.4-3], 3.1.1 the same */
Test(conformance_subscribe, what_was_begun_is_finished_after_unsubscribing)
{
    static const uint8_t codes[] = {MQTT_SUCCESS};

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        static struct peer other;
        static struct peer again;
        cr_assert_not(peer_resume(&peer, &stage, versions[at], "client"));
        peer_connect(&other, &stage, MQTT_VERSION_5, "other");
        peer_subscribe(&peer, "a", 2);
        peer_deliver(&other, "a", "one", 1);
        peer_deliver(&other, "a", "two", 2);
        (void)peer_expect_publish(&peer, "a", "one");
        uint16_t two = peer_expect_publish(&peer, "a", "two").packet_id;

        wire_unsubscribe(&peer.say, versions[at], 5, "a");
        peer_say(&peer);
        peer_expect_codes(&peer, PACKET_UNSUBACK, 5, codes, at == 0 ? 1 : 0);
        peer_ack(&peer, PACKET_PUBREC, two, MQTT_SUCCESS);
        (void)peer_expect_ack(&peer, PACKET_PUBREL, two, MQTT_SUCCESS);
        peer_cut(&peer);

        cr_assert(peer_resume(&again, &stage, versions[at], "client"));
        cr_assert(peer_expect_publish(&again, "a", "one").duplicate);
        (void)peer_expect_ack(&again, PACKET_PUBREL, two, MQTT_SUCCESS);
        peer_leave(&peer);
        peer_leave(&again);
        peer_leave(&other);
        stage_end(&stage);
        stage_begin(&stage, NULL);
    }
}

static void without_wildcards(struct options *options)
{
    options->protocol.wildcard_subscriptions = false;
}

/* 3.1.1 [MQTT-3.8.3-2] */
Test(conformance_subscribe, wildcards_that_are_not_served_are_refused)
{
    static const uint8_t five = MQTT_WILDCARDS_NOT_SUPPORTED;
    static const uint8_t four = 0x80;
    stage_end(&stage);
    stage_begin(&stage, without_wildcards);

    for (size_t at = 0; at < 2; at++) {
        static struct peer peer;
        peer_connect(&peer, &stage, versions[at], "client");
        wire_subscribe(&peer.say, versions[at], 1, "a/+", 0);
        peer_say(&peer);
        peer_expect_codes(&peer, PACKET_SUBACK, 1, at == 0 ? &five : &four, 1);
        peer_leave(&peer);
    }
}

/* [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2] */
Test(conformance_subscribe, filters_that_break_the_rules_are_refused)
{
    const char *const filters[] = {
        "a/#/b",    "a#",        "a+",          "+a/b",       "",          "$share/",
        "$share/g", "$share//a", "$share/g+/a", "$share/#/a", "$share/g/", "$share/g/a#"};

    for (size_t at = 0; at < sizeof(filters) / sizeof(filters[0]); at++) {
        static struct peer peer;
        struct frame       frame;
        struct suback      suback;
        peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
        wire_subscribe(&peer.say, MQTT_VERSION_5, 1, filters[at], 0);
        peer_say(&peer);
        cr_assert(peer_hear(&peer, &frame), "%s", filters[at]);
        if (frame.type == PACKET_SUBACK) {
            cr_assert_eq(
                suback_decode(MQTT_VERSION_5, PACKET_SUBACK, frame.flags, frame.body, &suback),
                MQTT_SUCCESS);
            cr_assert_eq(suback.codes[0], MQTT_TOPIC_FILTER_INVALID, "%s", filters[at]);
        } else {
            cr_assert_eq(frame.type, PACKET_DISCONNECT, "%s", filters[at]);
        }
        peer_leave(&peer);
    }
}

/* [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-3.3.2-3] */
Test(conformance_subscribe, matching_is_byte_by_byte_and_spares_dollar_topics)
{
    static struct peer peer;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    peer_subscribe(&peer, "#", 0);
    peer_subscribe(&peer, "+/x", 0);
    peer_subscribe(&peer, "\xc3\xa9", 0); /* composed */

    peer_publish(&peer, "$own/x", "no");
    peer_publish(&peer, "e\xcc\x81", "decomposed");
    (void)peer_expect_publish(&peer, "e\xcc\x81", "decomposed");
    wire_unsubscribe(&peer.say, MQTT_VERSION_5, 1, "#");
    peer_say(&peer);
    static const uint8_t code = MQTT_SUCCESS;
    peer_expect_codes(&peer, PACKET_UNSUBACK, 1, &code, 1);
    peer_publish(&peer, "e\xcc\x81", "decomposed");
    peer_publish(&peer, "X/X", "upper case");
    peer_publish(&peer, "/a/x", "three levels");
    peer_publish(&peer, "\xc3\xa9", "composed");

    (void)peer_expect_publish(&peer, "\xc3\xa9", "composed");
    peer_expect_silence(&peer);
}

/* [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] */
Test(conformance_subscribe, retain_handling_decides_what_a_subscription_brings)
{
    static struct peer peer;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    wire_publish_retained(&peer.say, MQTT_VERSION_5, "a", "kept", 0, 0);
    peer_say(&peer);

    subscribe_with(&peer, "a", (struct subscribe_options){.retain_handling = 2});
    peer_expect_silence(&peer);
    subscribe_with(&peer, "a", (struct subscribe_options){.retain_handling = 1});
    peer_expect_silence(&peer); /* it existed */
    subscribe_with(&peer, "a", (struct subscribe_options){.retain_handling = 0});
    (void)peer_expect_publish(&peer, "a", "kept");
    subscribe_with(&peer, "+", (struct subscribe_options){.retain_handling = 1});
    (void)peer_expect_publish(&peer, "a", "kept");
    peer_expect_silence(&peer);
}

/* [MQTT-3.3.1-12] [MQTT-3.3.1-13], 3.1.1 [MQTT-3.3.1-8] [MQTT-3.3.1-9] */
Test(conformance_subscribe, the_retain_flag_says_why_a_message_comes)
{
    static struct peer plain;
    static struct peer as_published;
    static struct peer older;
    static struct peer other;
    peer_connect(&plain, &stage, MQTT_VERSION_5, "plain");
    peer_connect(&as_published, &stage, MQTT_VERSION_5, "as published");
    peer_connect(&older, &stage, MQTT_VERSION_311, "older");
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    peer_subscribe(&plain, "a", 0);
    subscribe_with(&as_published, "a", (struct subscribe_options){.retain_as_published = true});
    peer_subscribe(&older, "a", 0);

    wire_publish_retained(&other.say, MQTT_VERSION_5, "a", "one", 0, 0);
    peer_say(&other);
    peer_publish(&other, "a", "two");

    cr_assert_not(peer_expect_publish(&plain, "a", "one").retain);
    cr_assert_not(peer_expect_publish(&plain, "a", "two").retain);
    cr_assert(peer_expect_publish(&as_published, "a", "one").retain);
    cr_assert_not(peer_expect_publish(&as_published, "a", "two").retain);
    cr_assert_not(peer_expect_publish(&older, "a", "one").retain);
    cr_assert_not(peer_expect_publish(&older, "a", "two").retain);
    peer_subscribe(&older, "+", 0); /* a new subscription: the flag is set */
    cr_assert(peer_expect_publish(&older, "a", "one").retain);
}

/* [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5], 3.1.1 [MQTT-3.3.5-1] */
Test(conformance_subscribe, overlapping_subscriptions_give_one_message_with_all_identifiers)
{
    static struct peer     peer;
    static struct peer     older;
    struct subscribe_entry entry = {.filter = slice_text("a/b"), .options = {.qos = 0}};
    static const uint8_t   zero = 0;
    static const uint8_t   two = 2;
    peer_connect(&peer, &stage, MQTT_VERSION_5, "client");
    peer_connect(&older, &stage, MQTT_VERSION_311, "older");
    wire_subscribe_of(&peer.say, MQTT_VERSION_5, 1, 11, &entry, 1);
    peer_say(&peer);
    peer_expect_codes(&peer, PACKET_SUBACK, 1, &zero, 1);
    entry = (struct subscribe_entry){.filter = slice_text("a/+"), .options = {.qos = 2}};
    wire_subscribe_of(&peer.say, MQTT_VERSION_5, 2, 22, &entry, 1);
    peer_say(&peer);
    peer_expect_codes(&peer, PACKET_SUBACK, 2, &two, 1);
    peer_subscribe(&peer, "#", 1); /* without an identifier */
    peer_subscribe(&older, "a/b", 0);
    peer_subscribe(&older, "a/+", 2);

    wire_publish(&peer.say, MQTT_VERSION_5, "a/b", "x", 2, 9);
    peer_say(&peer);

    struct frame frame;
    unsigned     publishes = 0;
    while (peer_hear(&peer, &frame)) {
        struct publish  publish;
        struct reader   reader;
        struct property property;
        uint32_t        sum = 0;
        if (frame.type != PACKET_PUBLISH)
            continue;
        cr_assert_eq(publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &publish),
                     MQTT_SUCCESS);
        cr_assert_eq(publish.qos, 2);
        cr_assert_eq(publish.subscription_id_count, 2);
        reader = reader_of(publish.properties);
        while (properties_next(&reader, &property))
            sum += property.number;
        cr_assert_eq(sum, 11 + 22);
        publishes++;
    }
    cr_assert_eq(publishes, 1);
    cr_assert_eq(peer_expect_publish(&older, "a/b", "x").qos, 2);
    peer_expect_silence(&older);
}

/* [MQTT-4.8.2-4] [MQTT-4.8.2-5] */
Test(conformance_subscribe, a_qos_2_message_sent_to_a_member_stays_with_it)
{
    static struct peer first;
    static struct peer second;
    static struct peer other;
    cr_assert_not(peer_resume(&first, &stage, MQTT_VERSION_5, "first"));
    peer_subscribe(&first, "$share/g/a", 2);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    peer_deliver(&other, "a", "one", 2);
    (void)peer_expect_publish(&first, "a", "one");
    peer_connect(&second, &stage, MQTT_VERSION_5, "second");
    peer_subscribe(&second, "$share/g/a", 2);

    peer_cut(&first);
    peer_expect_silence(&second);
    peer_leave(&first);
    cr_assert(peer_resume(&first, &stage, MQTT_VERSION_5, "first"));
    struct publish again = peer_expect_publish(&first, "a", "one");
    cr_assert(again.duplicate);
    peer_cut(&first);
    stage_pass(&stage, 3700000); /* the session ends */

    peer_expect_silence(&second);
}

/* [MQTT-4.8.2-6] */
Test(conformance_subscribe, what_a_member_refuses_goes_to_nobody_else)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        static struct peer first;
        static struct peer second;
        static struct peer other;
        peer_connect(&first, &stage, MQTT_VERSION_5, "first");
        peer_connect(&second, &stage, MQTT_VERSION_5, "second");
        peer_connect(&other, &stage, MQTT_VERSION_5, "other");
        peer_subscribe(&first, "$share/g/a", qos);
        peer_subscribe(&second, "$share/g/a", qos);
        peer_deliver(&other, "a", "x", qos);

        bool         is_first = first.heard_at < first.heard.size;
        struct peer *chosen = is_first ? &first : &second;
        uint16_t     packet_id = peer_expect_publish(chosen, "a", "x").packet_id;
        peer_ack(chosen, qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, packet_id,
                 MQTT_UNSPECIFIED_ERROR);
        stage_pass(&stage, 10000);
        peer_expect_silence(&first);
        peer_expect_silence(&second);

        peer_cut(chosen);
        peer_expect_silence(is_first ? &second : &first);
        peer_leave(&first);
        peer_leave(&second);
        peer_leave(&other);
    }
}
