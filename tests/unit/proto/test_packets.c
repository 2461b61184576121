/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Three loops that serve all packets: each truncation, each single bit flipped, each packet with a
 * byte more. None may crash or read past its end; whatever is accepted makes the round trip that
 * tests/support/oracle.h demands.
 */

#include "tests/support/oracle.h"
#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

/* A packet for each number below SAMPLE_COUNT, in each version that has it. */
enum sample {
    SAMPLE_CONNECT,
    SAMPLE_CONNECT_ALL,
    SAMPLE_CONNACK,
    SAMPLE_CONNACK_ALL,
    SAMPLE_PUBLISH_QOS0,
    SAMPLE_PUBLISH_ALL,
    SAMPLE_PUBACK,
    SAMPLE_PUBREC,
    SAMPLE_PUBREL,
    SAMPLE_PUBCOMP,
    SAMPLE_SUBSCRIBE,
    SAMPLE_SUBACK,
    SAMPLE_UNSUBSCRIBE,
    SAMPLE_UNSUBACK,
    SAMPLE_PINGREQ,
    SAMPLE_PINGRESP,
    SAMPLE_DISCONNECT,
    SAMPLE_DISCONNECT_ALL,
    SAMPLE_AUTH,
    SAMPLE_COUNT,
};

static void add_connect_all(struct wire *wire, enum mqtt_version version)
{
    struct connect connect = connect_of(version, slice_text("client"));

    connect.keep_alive_s = 60;
    connect.session_expiry_s = 10;
    connect.receive_maximum = 20;
    connect.maximum_packet_size = 1000;
    connect.topic_alias_maximum = 5;
    connect.request_response_information = true;
    connect.request_problem_information = false;
    connect.has_authentication_method = true;
    connect.authentication_method = slice_text("SCRAM");
    connect.authentication_data = slice_text("data");
    connect.has_will = true;
    connect.will = (struct connect_will){.topic = slice_text("will/topic"),
                                         .payload = slice_text("gone"),
                                         .delay_s = 3,
                                         .message_expiry_s = 9,
                                         .has_message_expiry = true,
                                         .payload_format = 1,
                                         .qos = 2,
                                         .retain = true};
    connect.has_user_name = true;
    connect.user_name = slice_text("caf\xc3\xa9");
    connect.has_password = true;
    connect.password = BYTES(0x00, 0xff);
    wire_connect_of(wire, &connect);
}

static void add_connack_all(struct wire *wire, enum mqtt_version version)
{
    struct connack connack = connack_of(MQTT_SUCCESS);

    connack.session_present = version > MQTT_VERSION_31;
    connack.has_session_expiry = true;
    connack.receive_maximum = 9;
    connack.maximum_qos = 1;
    connack.retain_unavailable = true;
    connack.maximum_packet_size = 5000;
    connack.assigned_client_id = slice_text("auto");
    connack.reason_string = slice_text("why");
    connack.has_server_keep_alive = true;
    connack.server_keep_alive_s = 7;
    connack.user_properties = BYTES(0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v');
    wire_connack_of(wire, version, &connack);
}

static void add_publish_all(struct wire *wire, enum mqtt_version version)
{
    struct publish_head head = {
        .topic = slice_text("a/caf\xc3\xa9"),
        .forward = BYTES(0x01, 0x01, 0x08, 0x00, 0x01, 'r', 0x26, 0x00, 0x01, 'k', 0x00, 0x01, 'v'),
        .message_expiry_s = 60,
        .packet_id = 10,
        .topic_alias = 7,
        .qos = 2,
        .retain = true,
        .duplicate = true,
        .has_message_expiry = true,
    };
    wire_publish_of(wire, version, head, slice_text("payload"));
}

static void add_disconnect_all(struct wire *wire, enum mqtt_version version)
{
    struct disconnect disconnect = {
        .reason = MQTT_UNSPECIFIED_ERROR,
        .has_session_expiry = true,
        .session_expiry_s = 5,
        .reason_string = slice_text("why"),
        .server_reference = slice_text("other"),
    };
    wire_disconnect_of(wire, version, &disconnect);
}

static void add_ack(struct wire *wire, enum mqtt_version version, enum packet_type type)
{
    struct ack ack = {.packet_id = 10, .reason_string = slice_text("why")};
    wire_ack_of(wire, version, type, &ack);
}

/* False where the version has no such packet. */
static bool add_sample(struct wire *wire, enum mqtt_version version, enum sample sample)
{
    const uint8_t codes[] = {0, 1, 0x80};
    struct auth   auth = {.reason = MQTT_CONTINUE_AUTHENTICATION,
                          .has_method = true,
                          .method = slice_text("SCRAM"),
                          .data = slice_text("data")};

    switch (sample) {
    case SAMPLE_CONNECT:
        wire_connect(wire, version, "client");
        return true;
    case SAMPLE_CONNECT_ALL:
        add_connect_all(wire, version);
        return true;
    case SAMPLE_CONNACK:
        wire_connack(wire, version, MQTT_NOT_AUTHORIZED, false);
        return true;
    case SAMPLE_CONNACK_ALL:
        add_connack_all(wire, version);
        return true;
    case SAMPLE_PUBLISH_QOS0:
        wire_publish(wire, version, "a/b", "payload", 0, 0);
        return true;
    case SAMPLE_PUBLISH_ALL:
        add_publish_all(wire, version);
        return true;
    case SAMPLE_PUBACK:
        add_ack(wire, version, PACKET_PUBACK);
        return true;
    case SAMPLE_PUBREC:
        add_ack(wire, version, PACKET_PUBREC);
        return true;
    case SAMPLE_PUBREL:
        add_ack(wire, version, PACKET_PUBREL);
        return true;
    case SAMPLE_PUBCOMP:
        add_ack(wire, version, PACKET_PUBCOMP);
        return true;
    case SAMPLE_SUBSCRIBE:
        wire_subscribe_of(
            wire, version, 10, 200,
            (const struct subscribe_entry[]){
                {.filter = slice_text("a/+"), .options = {.qos = 1}},
                {.filter = slice_text("$share/g/#"),
                 .options = {.qos = 2, .retain_handling = 2, .retain_as_published = true}}},
            2);
        return true;
    case SAMPLE_SUBACK:
        wire_suback(wire, version, PACKET_SUBACK, 10, codes, 3);
        return true;
    case SAMPLE_UNSUBSCRIBE:
        wire_unsubscribe_of(wire, version, 10,
                            (const struct slice[]){slice_text("a/+"), slice_text("b")}, 2);
        return true;
    case SAMPLE_UNSUBACK:
        wire_suback(wire, version, PACKET_UNSUBACK, 10, codes, 1);
        return true;
    case SAMPLE_PINGREQ:
        wire_ping(wire, PACKET_PINGREQ);
        return true;
    case SAMPLE_PINGRESP:
        wire_ping(wire, PACKET_PINGRESP);
        return true;
    case SAMPLE_DISCONNECT:
        wire_disconnect(wire, version, MQTT_DISCONNECT_WITH_WILL);
        return true;
    case SAMPLE_DISCONNECT_ALL:
        add_disconnect_all(wire, version);
        return true;
    case SAMPLE_AUTH:
        wire_auth_of(wire, &auth);
        return version == MQTT_VERSION_5;
    case SAMPLE_COUNT:
        break;
    }
    return false;
}

/* Any bytes as one frame, from both directions. */
static bool take(enum mqtt_version version, struct slice bytes)
{
    struct slice copy = exact(bytes);
    struct frame frame;

    if (frame_decode(copy, &frame) != FRAME_READY)
        return false;
    bool from_client = oracle_packet(version, &frame, false);
    bool from_server = oracle_packet(version, &frame, true);
    return from_client || from_server;
}

#define FOR_EACH_SAMPLE(version, wire)                                              \
    FOR_EACH_VERSION(version)                                                       \
    for (enum sample sample = 0; sample < SAMPLE_COUNT; sample++, wire_reset(wire)) \
        if (add_sample(wire, version, sample))

Test(packets, every_sample_makes_the_round_trip)
{
    struct wire wire = {0};
    unsigned    count = 0;

    FOR_EACH_SAMPLE(version, &wire)
    {
        cr_assert(take(version, wire_view(&wire)), "sample %d of version %d", sample, version);
        count++;
    }
    cr_assert_eq(count, 3 * SAMPLE_COUNT - 2, "AUTH is of MQTT 5");
    wire_fini(&wire);
}

Test(packets, every_body_cut_short_is_refused_or_makes_the_round_trip)
{
    struct wire wire = {0};
    struct wire cut = {0};

    FOR_EACH_SAMPLE(version, &wire)
    {
        struct frame frame;
        cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
        for (uint32_t size = 0; size < frame.body.size; size++, wire_reset(&cut)) {
            wire_frame(&cut, frame.type, frame.flags, slice_of(frame.body.data, size));
            bool accepted = take(version, wire_view(&cut));
            /* A CONNECT ends where its fields do; only 3.1 lets the last two be left out. */
            if (frame.type == PACKET_CONNECT && version > MQTT_VERSION_31)
                cr_assert_not(accepted, "sample %d cut at %u", sample, size);
        }
    }
    wire_fini(&wire);
    wire_fini(&cut);
}

Test(packets, every_stream_cut_short_is_no_frame)
{
    struct wire wire = {0};

    FOR_EACH_SAMPLE(version, &wire)
    {
        for (uint32_t size = 0; size < wire.size; size++)
            cr_assert_not(take(version, slice_of(wire.data, size)));
    }
    wire_fini(&wire);
}

Test(packets, every_flipped_bit_is_refused_or_makes_the_round_trip)
{
    struct wire wire = {0};

    FOR_EACH_SAMPLE(version, &wire)
    {
        for (uint32_t bit = 0; bit < 8 * wire.size; bit++) {
            wire.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            FOR_EACH_VERSION(other)
            (void)take(other, wire_view(&wire));
            wire.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        cr_assert(take(version, wire_view(&wire)));
    }
    wire_fini(&wire);
}

/* What may follow: a payload, one more code, or (where the body was empty) a first field. */
static bool may_grow(enum packet_type type, const struct frame *frame)
{
    return type == PACKET_PUBLISH || type == PACKET_SUBACK || type == PACKET_UNSUBACK ||
           (type == PACKET_DISCONNECT && frame->body.size < 2);
}

Test(packets, a_byte_after_the_last_field_is_malformed)
{
    struct wire wire = {0};
    struct wire longer = {0};

    FOR_EACH_SAMPLE(version, &wire)
    {
        struct frame frame;
        uint8_t      body[512] = {0};
        cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
        if (may_grow(frame.type, &frame))
            continue;
        if (frame.body.size > 0)
            memcpy(body, frame.body.data, frame.body.size);
        wire_reset(&longer);
        wire_frame(&longer, frame.type, frame.flags, slice_of(body, frame.body.size + 1));
        cr_assert_not(take(version, wire_view(&longer)), "sample %d of version %d", sample,
                      version);
    }
    wire_fini(&wire);
    wire_fini(&longer);
}
