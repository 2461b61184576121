/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/input.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  peer;

/* A well-formed packet of each type; nothing for those that have none. */
static void write_packet(struct wire *wire, enum packet_type type)
{
    static const uint8_t granted = 0;
    switch (type) {
    case PACKET_CONNECT:
        wire_connect(wire, MQTT_VERSION_5, "again");
        break;
    case PACKET_CONNACK:
        wire_connack(wire, MQTT_VERSION_5, MQTT_SUCCESS, false);
        break;
    case PACKET_PUBLISH:
        wire_publish(wire, MQTT_VERSION_5, "t", "x", 0, 0);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        wire_ack(wire, MQTT_VERSION_5, type, 1, MQTT_SUCCESS);
        break;
    case PACKET_SUBSCRIBE:
        wire_subscribe(wire, MQTT_VERSION_5, 1, "t", 0);
        break;
    case PACKET_UNSUBSCRIBE:
        wire_unsubscribe(wire, MQTT_VERSION_5, 1, "t");
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        wire_suback(wire, MQTT_VERSION_5, type, 1, &granted, 1);
        break;
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        wire_ping(wire, type);
        break;
    case PACKET_DISCONNECT:
        wire_disconnect(wire, MQTT_VERSION_5, MQTT_SUCCESS);
        break;
    case PACKET_AUTH:
        wire_auth_of(wire, &(struct auth){.reason = MQTT_REAUTHENTICATE,
                                          .method = slice_text("method"),
                                          .has_method = true});
        break;
    case PACKET_RESERVED:
    case PACKET_TYPE_COUNT:
    default:
        wire_frame(wire, type, 0, (struct slice){0});
        break;
    }
}

static struct input_result input(const struct peer *from, const void *bytes, size_t size)
{
    struct slice exact = wire_exact(slice_of(bytes, size));
    stage_begin_turn(&stage);
    struct input_result result = broker_input(stage.brokers[from->shard], from->link, exact);
    stage_finish_turn(&stage);
    free((void *)exact.data);
    return result;
}

static void thousand_bytes(struct options *options)
{
    options->limits.packet_size_max = 1000;
}

Test(input, before_a_connect_nothing_else_is_taken_or_answered)
{
    cluster_begin(&stage, 1, NULL);

    for (unsigned type = 0; type < PACKET_TYPE_COUNT; type++) {
        if (type == PACKET_CONNECT)
            continue;
        uint64_t errors = cluster_sum(&stage).protocol_errors;
        peer_open(&peer, &stage, MQTT_VERSION_5);
        write_packet(&peer.say, (enum packet_type)type);
        peer_say(&peer);

        peer_expect_end(&peer);
        cr_assert_eq(cluster_sum(&stage).protocol_errors, errors + 1, "type %u", type);
        cr_assert_eq(cluster_sum(&stage).greeting, 0);
        peer_leave(&peer);
    }

    stage_end(&stage);
}

Test(input, a_running_link_takes_what_clients_send_and_nothing_else)
{
    static const enum packet_type answers[PACKET_TYPE_COUNT] = {
        [PACKET_PUBREC] = PACKET_PUBREL,       [PACKET_PUBREL] = PACKET_PUBCOMP,
        [PACKET_SUBSCRIBE] = PACKET_SUBACK,    [PACKET_UNSUBSCRIBE] = PACKET_UNSUBACK,
        [PACKET_PINGREQ] = PACKET_PINGRESP,    [PACKET_CONNECT] = PACKET_DISCONNECT,
        [PACKET_CONNACK] = PACKET_DISCONNECT,  [PACKET_SUBACK] = PACKET_DISCONNECT,
        [PACKET_UNSUBACK] = PACKET_DISCONNECT, [PACKET_PINGRESP] = PACKET_DISCONNECT,
        [PACKET_AUTH] = PACKET_DISCONNECT, /* it named no method */
        [PACKET_RESERVED] = PACKET_DISCONNECT,
    };
    cluster_begin(&stage, 1, NULL);

    for (unsigned type = 0; type < PACKET_TYPE_COUNT; type++) {
        struct frame frame;
        peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
        write_packet(&peer.say, (enum packet_type)type);
        peer_say(&peer);

        if (answers[type] != 0)
            peer_expect(&peer, answers[type], &frame);
        peer_expect_silence(&peer);
        bool ends = answers[type] == PACKET_DISCONNECT || type == PACKET_DISCONNECT;
        cr_assert_eq(peer.ended, ends, "type %u", type);
        peer_leave(&peer);
    }

    stage_end(&stage);
}

Test(input, a_packet_that_comes_byte_by_byte_is_taken_when_it_is_whole)
{
    struct wire wire = {0};
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
    wire_subscribe(&wire, MQTT_VERSION_5, 1, "filter", 1);

    for (uint32_t size = 0; size < wire.size; size++) {
        struct input_result result = input(&peer, wire.data, size);
        cr_assert_eq(result.consumed, 0);
        cr_assert_eq(result.frame_size, size < 2 ? 0 : wire.size, "after %u bytes", size);
        peer_expect_silence(&peer);
    }
    struct input_result whole = input(&peer, wire.data, wire.size);

    cr_assert_eq(whole.consumed, wire.size);
    cr_assert_eq(whole.frame_size, 0);
    static const uint8_t granted = 1;
    peer_expect_codes(&peer, PACKET_SUBACK, 1, &granted, 1);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(input, whole_packets_are_taken_and_the_rest_is_left)
{
    struct wire wire = {0};
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
    for (unsigned number = 0; number < 3; number++)
        wire_ping(&wire, PACKET_PINGREQ);
    wire_publish(&wire, MQTT_VERSION_5, "topic", "payload", 0, 0);

    struct input_result result = input(&peer, wire.data, wire.size - 3);

    cr_assert_eq(result.consumed, 6);
    cr_assert_eq(result.frame_size, wire.size - 6);
    struct frame frame;
    for (unsigned number = 0; number < 3; number++)
        peer_expect(&peer, PACKET_PINGRESP, &frame);
    peer_expect_silence(&peer);
    cr_assert_eq(cluster_sum(&stage).publish_in, 0);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(input, a_packet_above_the_limit_is_refused_by_its_first_bytes)
{
    static const uint8_t start[] = {PACKET_PUBLISH << 4, 0xe8, 0x07}; /* 1000 and 3 bytes */
    cluster_begin(&stage, 1, thousand_bytes);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");

    peer_say_bytes(&peer, start, sizeof(start));

    (void)peer_expect_disconnect(&peer, MQTT_PACKET_TOO_LARGE);
    stage_end(&stage);
}

Test(input, a_whole_packet_above_the_limit_is_refused_and_one_at_the_limit_is_not)
{
    static char payload[1000];
    cluster_begin(&stage, 1, thousand_bytes);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");

    memset(payload, 'x', 993); /* with head, topic and properties: 1000 bytes */
    wire_publish(&peer.say, MQTT_VERSION_5, "t", payload, 0, 0);
    cr_assert_eq(peer.say.size, 1000);
    peer_say(&peer);
    cr_assert_not(peer.ended);
    payload[993] = 'x';
    wire_publish(&peer.say, MQTT_VERSION_5, "t", payload, 0, 0);
    peer_say(&peer);

    (void)peer_expect_disconnect(&peer, MQTT_PACKET_TOO_LARGE);
    cr_assert_eq(cluster_sum(&stage).publish_in, 1);
    stage_end(&stage);
}

Test(input, a_connect_above_the_limit_gets_no_answer)
{
    static const uint8_t start[] = {PACKET_CONNECT << 4, 0xff, 0xff, 0x7f};
    cluster_begin(&stage, 1, thousand_bytes);
    peer_open(&peer, &stage, MQTT_VERSION_5);

    peer_say_bytes(&peer, start, sizeof(start));

    peer_expect_end(&peer);
    stage_end(&stage);
}

Test(input, a_length_that_is_none_is_malformed)
{
    static const uint8_t five[] = {PACKET_PUBLISH << 4, 0xff, 0xff, 0xff, 0xff, 0x01};
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");

    peer_say_bytes(&peer, five, sizeof(five));

    (void)peer_expect_disconnect(&peer, MQTT_MALFORMED_PACKET);
    stage_end(&stage);
}

Test(input, behind_the_last_word_everything_is_swallowed)
{
    struct wire wire = {0};
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
    wire_disconnect(&wire, MQTT_VERSION_5, MQTT_SUCCESS);
    wire_publish(&wire, MQTT_VERSION_5, "t", "x", 0, 0);
    wire_raw(&wire, "\xff\xff\xff", 3);

    struct input_result result = input(&peer, wire.data, wire.size);

    cr_assert_eq(result.consumed, wire.size);
    cr_assert_eq(cluster_sum(&stage).publish_in, 0);
    peer_expect_end(&peer);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(input, a_paused_link_takes_nothing_more_until_it_is_read_again)
{
    struct wire wire = {0};
    cluster_begin(&stage, 2, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
    wire_publish(&wire, MQTT_VERSION_5, "t", "x", 0, 0);
    uint32_t one = wire.size;
    wire_publish(&wire, MQTT_VERSION_5, "t", "x", 0, 0);
    struct slice   exact = wire_exact(wire_view(&wire));
    struct broker *broker = stage.brokers[peer.shard];

    stage_begin_turn(&stage);
    broker->congested = true; /* until the next turn begins: nothing waits in truth */
    cr_assert_eq(broker_input(broker, peer.link, exact).consumed, one);
    cr_assert_eq(broker_input(broker, peer.link, exact).consumed, 0);

    cr_assert_eq(broker_statistics(broker)->reads_paused, 1);
    cr_assert_eq(broker_effects(broker)->order_count, 1);
    cr_assert_eq(broker_effects(broker)->orders[0].kind, ORDER_PAUSE);
    stage_finish_turn(&stage);
    cr_assert_not(peer.paused, "and read again");
    cr_assert_eq(input(&peer, exact.data + one, one).consumed, one);
    cr_assert_eq(broker_statistics(broker)->publish_in, 2);
    free((void *)exact.data);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(input, bytes_and_packets_are_counted)
{
    cluster_begin(&stage, 1, NULL);
    peer_connect(&peer, &stage, MQTT_VERSION_5, "peer");
    struct statistics before = cluster_sum(&stage);

    for (unsigned number = 0; number < 5; number++)
        wire_ping(&peer.say, PACKET_PINGREQ);
    peer_say(&peer);

    struct statistics after = cluster_sum(&stage);
    cr_assert_eq(after.packets_in - before.packets_in, 5);
    cr_assert_eq(after.packets_out - before.packets_out, 5);
    cr_assert_eq(after.bytes_in - before.bytes_in, 10);
    cr_assert_eq(after.bytes_out - before.bytes_out, 10);
    stage_end(&stage);
}
