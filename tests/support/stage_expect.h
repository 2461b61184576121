/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What a peer on the stage expects to hear, asserted with Criterion, and whole exchanges of a
 * client. */

#include "tests/support/stage.h"

#include <criterion/criterion.h>

static inline void peer_expect(struct peer *peer, enum packet_type type, struct frame *frame)
{
    cr_assert(peer_hear(peer, frame), "nothing was sent, packet %u expected", type);
    cr_assert_eq(frame->type, type, "packet %u instead of %u", frame->type, type);
}

static inline void peer_expect_silence(struct peer *peer)
{
    struct frame frame;
    cr_assert_not(peer_hear(peer, &frame), "packet %u was not expected", frame.type);
}

/* The broker closed, and said nothing more. */
static inline void peer_expect_end(struct peer *peer)
{
    peer_expect_silence(peer);
    cr_assert(peer->ended);
}

static inline struct connack peer_expect_connack(struct peer *peer, enum mqtt_reason reason)
{
    struct frame   frame;
    struct connack connack;

    peer_expect(peer, PACKET_CONNACK, &frame);
    cr_assert_eq(connack_decode(peer->version, frame.flags, frame.body, &connack), MQTT_SUCCESS);
    cr_assert_eq(connack.reason, reason, "CONNACK 0x%02x", connack.reason);
    return connack;
}

/* The view holds until the peer hears more. */
static inline struct publish peer_expect_publish(struct peer *peer, const char *topic,
                                                 const char *payload)
{
    struct frame   frame;
    struct publish publish;

    peer_expect(peer, PACKET_PUBLISH, &frame);
    cr_assert_eq(publish_decode(peer->version, frame.flags, frame.body, true, &publish),
                 MQTT_SUCCESS);
    cr_assert(slice_equal(publish.topic, slice_text(topic)), "topic %.*s", (int)publish.topic.size,
              (const char *)publish.topic.data);
    cr_assert(slice_equal(publish.payload, slice_text(payload)), "payload %.*s",
              (int)publish.payload.size, (const char *)publish.payload.data);
    return publish;
}

static inline struct ack peer_expect_ack(struct peer *peer, enum packet_type type,
                                         uint16_t packet_id, enum mqtt_reason reason)
{
    struct frame frame;
    struct ack   ack;

    peer_expect(peer, type, &frame);
    cr_assert_eq(ack_decode(peer->version, type, frame.flags, frame.body, &ack), MQTT_SUCCESS);
    cr_assert_eq(ack.packet_id, packet_id);
    cr_assert_eq(ack.reason, reason, "reason 0x%02x", ack.reason);
    return ack;
}

static inline struct suback peer_expect_suback(struct peer *peer, enum packet_type type)
{
    struct frame  frame;
    struct suback suback;

    peer_expect(peer, type, &frame);
    cr_assert_eq(suback_decode(peer->version, type, frame.flags, frame.body, &suback),
                 MQTT_SUCCESS);
    return suback;
}

/* SUBACK or UNSUBACK of `count` codes. */
static inline void peer_expect_codes(struct peer *peer, enum packet_type type, uint16_t packet_id,
                                     const uint8_t *codes, uint32_t count)
{
    struct suback suback = peer_expect_suback(peer, type);

    cr_assert_eq(suback.packet_id, packet_id);
    cr_assert_eq(suback.count, count);
    for (uint32_t at = 0; at < count; at++)
        cr_assert_eq(suback.codes[at], codes[at], "code 0x%02x of filter %u", suback.codes[at], at);
}

/* A DISCONNECT with this reason, then the end. */
static inline struct disconnect peer_expect_disconnect(struct peer *peer, enum mqtt_reason reason)
{
    struct frame      frame;
    struct disconnect disconnect;

    peer_expect(peer, PACKET_DISCONNECT, &frame);
    cr_assert_eq(disconnect_decode(peer->version, frame.flags, frame.body, true, &disconnect),
                 MQTT_SUCCESS);
    cr_assert_eq(disconnect.reason, reason, "DISCONNECT 0x%02x", disconnect.reason);
    peer_expect_end(peer);
    return disconnect;
}

/* Connects and takes the CONNACK; `connect` as wire_connect makes it where NULL. */
static inline struct connack peer_connect_of(struct peer *peer, struct stage *stage,
                                             const struct connect *connect)
{
    peer_open(peer, stage, connect->version);
    wire_connect_of(&peer->say, connect);
    peer_say(peer);
    return peer_expect_connack(peer, MQTT_SUCCESS);
}

static inline void peer_connect(struct peer *peer, struct stage *stage, enum mqtt_version version,
                                const char *client_id)
{
    struct connect connect = connect_of(version, slice_text(client_id));
    (void)peer_connect_of(peer, stage, &connect);
}

/* A kept session; true when it was there before. */
static inline bool peer_resume(struct peer *peer, struct stage *stage, enum mqtt_version version,
                               const char *client_id)
{
    struct connect connect = connect_of(version, slice_text(client_id));
    connect.clean_start = false;
    connect.session_expiry_s = version == MQTT_VERSION_5 ? 3600 : 0;
    return peer_connect_of(peer, stage, &connect).session_present;
}

static inline void peer_subscribe(struct peer *peer, const char *filter, uint8_t qos)
{
    wire_subscribe(&peer->say, peer->version, 60000, filter, qos);
    peer_say(peer);
    peer_expect_codes(peer, PACKET_SUBACK, 60000, &qos, 1);
}

/* QoS 0, from a peer that expects no answer. */
static inline void peer_publish(struct peer *peer, const char *topic, const char *payload)
{
    wire_publish(&peer->say, peer->version, topic, payload, 0, 0);
    peer_say(peer);
}

/* The whole exchange of QoS 1 or 2 as publisher. */
static inline void peer_deliver(struct peer *peer, const char *topic, const char *payload,
                                uint8_t qos)
{
    wire_publish(&peer->say, peer->version, topic, payload, qos, qos > 0 ? 50000 : 0);
    peer_say(peer);
    struct frame frame;
    if (qos == 1)
        peer_expect(peer, PACKET_PUBACK, &frame);
    if (qos == 2) {
        peer_expect(peer, PACKET_PUBREC, &frame);
        wire_ack(&peer->say, peer->version, PACKET_PUBREL, 50000, MQTT_SUCCESS);
        peer_say(peer);
        peer_expect(peer, PACKET_PUBCOMP, &frame);
    }
}

static inline void peer_ack(struct peer *peer, enum packet_type type, uint16_t packet_id,
                            enum mqtt_reason reason)
{
    wire_ack(&peer->say, peer->version, type, packet_id, reason);
    peer_say(peer);
}

static inline void peer_disconnect(struct peer *peer, enum mqtt_reason reason)
{
    wire_disconnect(&peer->say, peer->version, reason);
    peer_say(peer);
}
