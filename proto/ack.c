/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/ack.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/reason.h"
#include "proto/utf8.h"

/* [MQTT-3.4.2-1] [MQTT-3.5.2-1]: PUBACK and PUBREC answer a message. */
static const struct reason_set answer_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_NO_MATCHING_SUBSCRIBERS),
    .failures = REASON_BIT(MQTT_UNSPECIFIED_ERROR) | REASON_BIT(MQTT_IMPLEMENTATION_ERROR) |
                REASON_BIT(MQTT_NOT_AUTHORIZED) | REASON_BIT(MQTT_TOPIC_NAME_INVALID) |
                REASON_BIT(MQTT_PACKET_ID_IN_USE) | REASON_BIT(MQTT_QUOTA_EXCEEDED) |
                REASON_BIT(MQTT_PAYLOAD_FORMAT_INVALID),
};

/* [MQTT-3.6.2-1] [MQTT-3.7.2-1]: PUBREL and PUBCOMP only speak of the packet identifier. */
static const struct reason_set release_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS),
    .failures = REASON_BIT(MQTT_PACKET_ID_NOT_FOUND),
};

static bool type_is_answer(enum packet_type type)
{
    return type == PACKET_PUBACK || type == PACKET_PUBREC;
}

static enum mqtt_reason properties_decode(enum packet_type type, struct ack *ack)
{
    struct property_walk walk = property_walk_of(ack->user_properties, type);
    struct property      property;

    while (property_walk_next(&walk, &property)) {
        if (property.id == PROPERTY_REASON_STRING)
            ack->reason_string = property.bytes;
    }
    return walk.reason;
}

enum mqtt_reason ack_decode(enum mqtt_version version, enum packet_type type, uint8_t flags,
                            struct slice body, struct ack *ack)
{
    assert(type >= PACKET_PUBACK && type <= PACKET_PUBCOMP);
    struct reader reader = reader_of(body);

    *ack = (struct ack){0};
    if (!frame_flags_valid(version, type, flags))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.6.1-1] */

    ack->packet_id = read_u16(&reader);
    if (!reader.failed && ack->packet_id == 0)
        return MQTT_PROTOCOL_ERROR;
    if (version == MQTT_VERSION_5 && reader_left(&reader) > 0)
        ack->reason = read_u8(&reader);
    if (version == MQTT_VERSION_5 && reader_left(&reader) > 0)
        ack->user_properties = read_properties(&reader);
    if (!reader_done(&reader))
        return MQTT_MALFORMED_PACKET;

    if (!reason_in(type_is_answer(type) ? &answer_reasons : &release_reasons, (uint8_t)ack->reason))
        return MQTT_PROTOCOL_ERROR;
    return properties_decode(type, ack);
}

static uint32_t properties_size(const struct ack *ack)
{
    uint32_t reason_string =
        ack->reason_string.size > 0 ? property_bytes_size(ack->reason_string) : 0;
    return reason_string + ack->user_properties.size;
}

static uint32_t body_size(enum mqtt_version version, const struct ack *ack)
{
    if (version < MQTT_VERSION_5)
        return 2;
    uint32_t properties = properties_size(ack);
    if (properties > 0)
        return 3 + variable_size(properties) + properties;
    return ack->reason != MQTT_SUCCESS ? 3 : 2;
}

uint32_t ack_size(enum mqtt_version version, const struct ack *ack)
{
    return frame_size(body_size(version, ack));
}

void ack_write(enum mqtt_version version, enum packet_type type, const struct ack *ack,
               struct writer *writer)
{
    assert(type >= PACKET_PUBACK && type <= PACKET_PUBCOMP);
    assert(ack->packet_id != 0);
    uint32_t size = body_size(version, ack);

    frame_write_header(writer, type, type == PACKET_PUBREL ? 0x2 : 0x0, size);
    write_u16(writer, ack->packet_id);
    if (size > 2)
        write_u8(writer, (uint8_t)ack->reason);
    if (size <= 3)
        return;
    write_variable(writer, properties_size(ack));
    if (ack->reason_string.size > 0)
        write_property_bytes(writer, PROPERTY_REASON_STRING, ack->reason_string);
    write_slice(writer, ack->user_properties);
}
