/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/publish.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/topic.h"
#include "proto/utf8.h"

static enum mqtt_reason properties_decode(struct publish *publish, bool from_server)
{
    struct property_walk walk = property_walk_of(publish->properties, PACKET_PUBLISH);
    struct property      property;
    uint32_t             kept = publish->properties.size;

    while (property_walk_next(&walk, &property)) {
        if (!property_is_forwarded(property.id))
            kept -= property.whole.size;
        switch ((int)property.id) {
        case PROPERTY_PAYLOAD_FORMAT:
            publish->payload_format = (uint8_t)property.number;
            break;
        case PROPERTY_MESSAGE_EXPIRY:
            publish->has_message_expiry = true;
            publish->message_expiry_s = property.number;
            break;
        case PROPERTY_TOPIC_ALIAS:
            publish->topic_alias = (uint16_t)property.number;
            break;
        case PROPERTY_RESPONSE_TOPIC:
            publish->response_topic = property.bytes;
            break;
        case PROPERTY_CORRELATION_DATA:
            publish->has_correlation_data = true;
            break;
        case PROPERTY_CONTENT_TYPE:
            publish->content_type = property.bytes;
            break;
        case PROPERTY_SUBSCRIPTION_ID:
            if (!from_server)
                return MQTT_PROTOCOL_ERROR; /* [MQTT-3.3.4-6] */
            publish->subscription_id = property.number;
            publish->subscription_id_count++;
            break;
        default:
            break;
        }
    }
    publish->user_property_count = walk.user_count;
    publish->forward_size = kept;
    return walk.reason;
}

/* Most topics are plain ASCII: one pass says so, and only the others are looked at closely. */
static enum mqtt_reason topic_check(const struct publish *publish, enum mqtt_version version)
{
    if (publish->topic.size == 0) {
        if (version < MQTT_VERSION_5)
            return MQTT_MALFORMED_PACKET; /* [MQTT-4.7.3-1] */
        return publish->topic_alias != 0 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    }
    if (utf8_is_plain_name(publish->topic))
        return MQTT_SUCCESS;
    if (!utf8_valid(publish->topic))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.2-1] */
    return topic_name_valid(publish->topic) ? MQTT_SUCCESS
                                            : MQTT_MALFORMED_PACKET; /* [MQTT-3.3.2-2] */
}

enum mqtt_reason publish_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                bool from_server, struct publish *publish)
{
    struct reader reader = reader_of(body);

    *publish = (struct publish){
        .retain = (flags & 0x1) != 0,
        .qos = (flags >> 1) & 0x3,
        .duplicate = (flags & 0x8) != 0,
    };
    if (publish->qos > 2)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-4] */
    if (publish->qos == 0 && publish->duplicate && version > MQTT_VERSION_31)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-2] */

    publish->topic = read_sized(&reader);
    if (publish->qos > 0) {
        publish->packet_id = read_u16(&reader);
        if (!reader.failed && publish->packet_id == 0)
            return MQTT_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    }
    if (version == MQTT_VERSION_5)
        publish->properties = read_properties(&reader);
    publish->payload = read_rest(&reader);
    if (reader.failed)
        return MQTT_MALFORMED_PACKET;

    if (publish->properties.size > 0) {
        enum mqtt_reason reason = properties_decode(publish, from_server);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return topic_check(publish, version);
}

void publish_write_forward(const struct publish *publish, struct writer *writer)
{
    if (publish->forward_size == publish->properties.size)
        write_slice(writer, publish->properties);
    else
        properties_write_forward(publish->properties, writer);
}

/* 0 before MQTT 5, which is also the size of an empty block. */
static uint32_t head_properties_size(enum mqtt_version version, const struct publish_head *head)
{
    if (version < MQTT_VERSION_5)
        return 0;

    uint32_t size = head->forward.size;
    size += head->topic_alias != 0 ? 3 : 0;
    size += head->has_message_expiry ? 5 : 0;
    for (uint32_t index = 0; index < head->subscription_id_count; index++)
        size += 1 + variable_size(head->subscription_ids[index]);
    return size;
}

/* The variable header alone. */
static uint32_t head_body_size(enum mqtt_version version, const struct publish_head *head,
                               uint32_t properties_size)
{
    uint32_t size = 2 + head->topic.size + (head->qos > 0 ? 2 : 0);

    if (version == MQTT_VERSION_5)
        size += variable_size(properties_size) + properties_size;
    return size;
}

uint32_t publish_head_size(enum mqtt_version version, const struct publish_head *head)
{
    uint32_t size = head_body_size(version, head, head_properties_size(version, head));
    uint64_t remaining = (uint64_t)size + head->payload_size;

    if (remaining > MQTT_REMAINING_LENGTH_MAX)
        return 0;
    return 1 + variable_size((uint32_t)remaining) + size;
}

void publish_head_write(enum mqtt_version version, const struct publish_head *head,
                        struct writer *writer)
{
    assert(head->qos <= 2);
    assert((head->qos > 0) == (head->packet_id != 0));
    assert(head->qos > 0 || !head->duplicate);

    uint32_t properties_size = head_properties_size(version, head);
    uint8_t  flags = (uint8_t)(head->duplicate << 3 | head->qos << 1 | head->retain);

    frame_write_header(writer, PACKET_PUBLISH, flags,
                       head_body_size(version, head, properties_size) + head->payload_size);
    write_sized(writer, head->topic);
    if (head->qos > 0)
        write_u16(writer, head->packet_id);
    if (version < MQTT_VERSION_5)
        return;

    write_variable(writer, properties_size);
    if (head->topic_alias != 0)
        write_property_u16(writer, PROPERTY_TOPIC_ALIAS, head->topic_alias);
    if (head->has_message_expiry)
        write_property_u32(writer, PROPERTY_MESSAGE_EXPIRY, head->message_expiry_s);
    for (uint32_t index = 0; index < head->subscription_id_count; index++)
        write_property_variable(writer, PROPERTY_SUBSCRIPTION_ID, head->subscription_ids[index]);
    write_slice(writer, head->forward);
}
