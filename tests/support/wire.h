/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Packets for tests, appended to a buffer that grows:
 *
 *     struct wire wire = {0};
 *     wire_connect(&wire, MQTT_VERSION_5, "client");
 *     wire_subscribe(&wire, MQTT_VERSION_5, 1, "a/#", 1);
 *     ... send wire_view(&wire) ...
 *     wire_fini(&wire);
 *
 * wire_reset empties it and keeps its memory. Packets that the encoders refuse to make are written
 * with wire_raw. wire_exact copies bytes into an allocation of just their size, so that a sanitizer
 * sees a decoder read past the end.
 */

#include "proto/ack.h"
#include "proto/connack.h"
#include "proto/connect.h"
#include "proto/disconnect.h"
#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/publish.h"
#include "proto/subscribe.h"

#include <stdlib.h>

struct wire {
    uint8_t *data;
    uint32_t size;
    uint32_t capacity;
};

static inline void wire_fini(struct wire *wire)
{
    free(wire->data);
    *wire = (struct wire){0};
}

static inline void wire_reset(struct wire *wire)
{
    wire->size = 0;
}

static inline struct slice wire_view(const struct wire *wire)
{
    return slice_of(wire->data, wire->size);
}

/* Room for `size` more bytes, counted as written; the writer must fill it. */
static inline struct writer wire_room(struct wire *wire, uint32_t size)
{
    if (wire->data == NULL || wire->capacity - wire->size < size) {
        wire->capacity = 2 * wire->capacity + size + 1;
        wire->data = realloc(wire->data, wire->capacity);
        assert(wire->data != NULL);
    }
    uint8_t *at = wire->data + wire->size;
    wire->size += size;
    return (struct writer){.at = at, .end = at + size};
}

static inline void wire_raw(struct wire *wire, const void *bytes, size_t size)
{
    struct writer writer = wire_room(wire, (uint32_t)size);
    write_bytes(&writer, bytes, size);
}

/* A frame around any body. */
static inline void wire_frame(struct wire *wire, enum packet_type type, uint8_t flags,
                              struct slice body)
{
    struct writer writer = wire_room(wire, frame_size(body.size));
    frame_write_header(&writer, type, flags, body.size);
    write_slice(&writer, body);
}

static inline void wire_connect_of(struct wire *wire, const struct connect *connect)
{
    struct writer writer = wire_room(wire, connect_size(connect));
    connect_write(connect, &writer);
    assert(writer.at == writer.end);
}

/* Clean start, keep alive 60 s, nothing else. */
static inline void wire_connect(struct wire *wire, enum mqtt_version version, const char *client_id)
{
    struct connect connect = connect_of(version, slice_text(client_id));
    connect.keep_alive_s = 60;
    wire_connect_of(wire, &connect);
}

/* A session that is kept: clean start off, and in MQTT 5 `expiry_s`. */
static inline void wire_connect_kept(struct wire *wire, enum mqtt_version version,
                                     const char *client_id, uint32_t expiry_s)
{
    struct connect connect = connect_of(version, slice_text(client_id));
    connect.keep_alive_s = 60;
    connect.clean_start = false;
    connect.session_expiry_s = expiry_s;
    wire_connect_of(wire, &connect);
}

static inline void wire_connack_of(struct wire *wire, enum mqtt_version version,
                                   const struct connack *connack)
{
    struct writer writer = wire_room(wire, connack_size(version, connack));
    connack_write(version, connack, &writer);
    assert(writer.at == writer.end);
}

static inline void wire_connack(struct wire *wire, enum mqtt_version version,
                                enum mqtt_reason reason, bool session_present)
{
    struct connack connack = connack_of(reason);
    connack.session_present = session_present;
    wire_connack_of(wire, version, &connack);
}

/* `head->payload_size` is taken from `payload`. */
static inline void wire_publish_of(struct wire *wire, enum mqtt_version version,
                                   struct publish_head head, struct slice payload)
{
    head.payload_size = payload.size;
    uint32_t      head_size = publish_head_size(version, &head);
    struct writer writer = wire_room(wire, head_size + payload.size);
    assert(head_size > 0);
    publish_head_write(version, &head, &writer);
    write_slice(&writer, payload);
    assert(writer.at == writer.end);
}

/* `packet_id` is 0 for QoS 0. */
static inline void wire_publish(struct wire *wire, enum mqtt_version version, const char *topic,
                                const char *payload, uint8_t qos, uint16_t packet_id)
{
    struct publish_head head = {.topic = slice_text(topic), .qos = qos, .packet_id = packet_id};
    wire_publish_of(wire, version, head, slice_text(payload));
}

static inline void wire_publish_retained(struct wire *wire, enum mqtt_version version,
                                         const char *topic, const char *payload, uint8_t qos,
                                         uint16_t packet_id)
{
    struct publish_head head = {
        .topic = slice_text(topic), .qos = qos, .packet_id = packet_id, .retain = true};
    wire_publish_of(wire, version, head, slice_text(payload));
}

static inline void wire_ack_of(struct wire *wire, enum mqtt_version version, enum packet_type type,
                               const struct ack *ack)
{
    struct writer writer = wire_room(wire, ack_size(version, ack));
    ack_write(version, type, ack, &writer);
    assert(writer.at == writer.end);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP; `reason` is not seen before MQTT 5. */
static inline void wire_ack(struct wire *wire, enum mqtt_version version, enum packet_type type,
                            uint16_t packet_id, enum mqtt_reason reason)
{
    struct ack ack = {.packet_id = packet_id, .reason = reason};
    wire_ack_of(wire, version, type, &ack);
}

static inline void wire_subscribe_of(struct wire *wire, enum mqtt_version version,
                                     uint16_t packet_id, uint32_t subscription_id,
                                     const struct subscribe_entry *entries, uint32_t count)
{
    struct writer writer =
        wire_room(wire, subscribe_size(version, subscription_id, entries, count));
    subscribe_write(version, packet_id, subscription_id, entries, count, &writer);
    assert(writer.at == writer.end);
}

static inline void wire_subscribe(struct wire *wire, enum mqtt_version version, uint16_t packet_id,
                                  const char *filter, uint8_t qos)
{
    struct subscribe_entry entry = {.filter = slice_text(filter), .options = {.qos = qos}};
    wire_subscribe_of(wire, version, packet_id, 0, &entry, 1);
}

static inline void wire_unsubscribe_of(struct wire *wire, enum mqtt_version version,
                                       uint16_t packet_id, const struct slice *filters,
                                       uint32_t count)
{
    struct writer writer = wire_room(wire, unsubscribe_size(version, filters, count));
    unsubscribe_write(version, packet_id, filters, count, &writer);
    assert(writer.at == writer.end);
}

static inline void wire_unsubscribe(struct wire *wire, enum mqtt_version version,
                                    uint16_t packet_id, const char *filter)
{
    struct slice one = slice_text(filter);
    wire_unsubscribe_of(wire, version, packet_id, &one, 1);
}

/* SUBACK or UNSUBACK. */
static inline void wire_suback(struct wire *wire, enum mqtt_version version, enum packet_type type,
                               uint16_t packet_id, const uint8_t *codes, uint32_t count)
{
    struct suback suback = {.packet_id = packet_id, .codes = codes, .count = count};
    struct writer writer = wire_room(wire, suback_size(version, type, &suback));
    suback_write(version, type, &suback, &writer);
    assert(writer.at == writer.end);
}

static inline void wire_disconnect_of(struct wire *wire, enum mqtt_version version,
                                      const struct disconnect *disconnect)
{
    struct writer writer = wire_room(wire, disconnect_size(version, disconnect));
    disconnect_write(version, disconnect, &writer);
    assert(writer.at == writer.end);
}

static inline void wire_disconnect(struct wire *wire, enum mqtt_version version,
                                   enum mqtt_reason reason)
{
    struct disconnect disconnect = {.reason = reason};
    wire_disconnect_of(wire, version, &disconnect);
}

static inline void wire_auth_of(struct wire *wire, const struct auth *auth)
{
    struct writer writer = wire_room(wire, auth_size(auth));
    auth_write(auth, &writer);
    assert(writer.at == writer.end);
}

/* PINGREQ or PINGRESP. */
static inline void wire_ping(struct wire *wire, enum packet_type type)
{
    struct writer writer = wire_room(wire, PING_SIZE);
    ping_write(type, &writer);
}

static inline void wire_user_property(struct wire *wire, const char *name, const char *value)
{
    struct slice  name_slice = slice_text(name);
    struct slice  value_slice = slice_text(value);
    struct writer writer = wire_room(wire, property_user_size(name_slice, value_slice));
    write_property_user(&writer, name_slice, value_slice);
}

/* The next whole frame of `stream`, which is moved behind it; false when there is none. */
static inline bool wire_next(struct slice *stream, struct frame *frame)
{
    if (frame_decode(*stream, frame) != FRAME_READY)
        return false;
    *stream = slice_of(stream->data + frame->size, stream->size - frame->size);
    return true;
}

/* A copy in an allocation of just its size; free it with free((void *)slice.data). */
static inline struct slice wire_exact(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.size > 0 ? bytes.size : 1);
    assert(copy != NULL);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return slice_of(copy, bytes.size);
}
