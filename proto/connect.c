/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/connect.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/topic.h"
#include "proto/utf8.h"

enum connect_flag {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_QOS = 0x18,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80,
};

#define WILL_QOS_SHIFT  3
#define LEVEL_OF_BRIDGE 0x80

static const struct connect connect_defaults = {
    .maximum_packet_size = MQTT_PACKET_SIZE_MAX,
    .receive_maximum = UINT16_MAX,
    .request_problem_information = true,
};

struct connect connect_of(enum mqtt_version version, struct slice client_id)
{
    struct connect connect = connect_defaults;

    connect.version = version;
    connect.client_id = client_id;
    connect.clean_start = true;
    return connect;
}

static const char *protocol_name(enum mqtt_version version)
{
    return version == MQTT_VERSION_31 ? "MQIsdp" : "MQTT";
}

/* Which standard the peer speaks, from the pair of name and level. */
static enum mqtt_reason protocol_decode(struct reader *reader, struct connect *connect)
{
    struct slice name = read_sized(reader);
    uint8_t      level = read_u8(reader);
    if (reader->failed)
        return MQTT_MALFORMED_PACKET;

    bool old = slice_equal(name, slice_text(protocol_name(MQTT_VERSION_31)));
    if (!old && !slice_equal(name, slice_text(protocol_name(MQTT_VERSION_5))))
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.1.2-1] not MQTT at all */

    uint8_t plain = (uint8_t)(level & ~LEVEL_OF_BRIDGE);
    if (plain == (old ? MQTT_VERSION_31 : MQTT_VERSION_311)) {
        connect->version = old ? MQTT_VERSION_31 : MQTT_VERSION_311;
        connect->bridge = level != plain;
        return MQTT_SUCCESS;
    }
    if (!old && level == MQTT_VERSION_5) {
        connect->version = MQTT_VERSION_5;
        return MQTT_SUCCESS;
    }
    connect->version = !old && level > MQTT_VERSION_5 ? MQTT_VERSION_5 : MQTT_VERSION_311;
    return MQTT_UNSUPPORTED_VERSION; /* [MQTT-3.1.2-2] */
}

static enum mqtt_reason flags_decode(uint8_t flags, struct connect *connect)
{
    bool old = connect->version == MQTT_VERSION_31;

    connect->clean_start = (flags & FLAG_CLEAN_START) != 0;
    connect->has_will = (flags & FLAG_WILL) != 0;
    connect->has_password = (flags & FLAG_PASSWORD) != 0;
    connect->has_user_name = (flags & FLAG_USER_NAME) != 0;
    if ((flags & FLAG_RESERVED) != 0 && !old)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-3] */
    if (connect->has_password && !connect->has_user_name && connect->version < MQTT_VERSION_5)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-22] of 3.1.1 */

    if (!connect->has_will) {
        /* [MQTT-3.1.2-11] [MQTT-3.1.2-13]; 3.1 says that they are then ignored */
        bool will_bits = (flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN)) != 0;
        return will_bits && !old ? MQTT_MALFORMED_PACKET : MQTT_SUCCESS;
    }
    connect->will.qos = (uint8_t)((flags & FLAG_WILL_QOS) >> WILL_QOS_SHIFT);
    connect->will.retain = (flags & FLAG_WILL_RETAIN) != 0;
    return connect->will.qos <= 2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-12] */
}

static enum mqtt_reason properties_decode(struct connect *connect)
{
    struct property_walk walk = property_walk_of(connect->properties, PACKET_CONNECT);
    struct property      property;
    bool                 has_data = false;

    while (property_walk_next(&walk, &property)) {
        switch ((int)property.id) {
        case PROPERTY_SESSION_EXPIRY:
            connect->session_expiry_s = property.number;
            break;
        case PROPERTY_RECEIVE_MAXIMUM:
            connect->receive_maximum = (uint16_t)property.number;
            break;
        case PROPERTY_MAXIMUM_PACKET_SIZE:
            connect->maximum_packet_size = property.number;
            break;
        case PROPERTY_TOPIC_ALIAS_MAXIMUM:
            connect->topic_alias_maximum = (uint16_t)property.number;
            break;
        case PROPERTY_REQUEST_RESPONSE_INFORMATION:
            connect->request_response_information = property.number != 0;
            break;
        case PROPERTY_REQUEST_PROBLEM_INFORMATION:
            connect->request_problem_information = property.number != 0;
            break;
        case PROPERTY_AUTHENTICATION_METHOD:
            connect->has_authentication_method = true;
            connect->authentication_method = property.bytes;
            break;
        case PROPERTY_AUTHENTICATION_DATA:
            has_data = true;
            connect->authentication_data = property.bytes;
            break;
        default:
            break;
        }
    }
    connect->user_property_count = walk.user_count;
    if (walk.reason != MQTT_SUCCESS)
        return walk.reason;
    /* MQTT 5, 3.1.2.11.10: data without a method is a protocol error. */
    return has_data && !connect->has_authentication_method ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS;
}

static enum mqtt_reason will_properties_decode(struct connect *connect)
{
    struct connect_will *will = &connect->will;
    struct property_walk walk = property_walk_of(will->properties, PROPERTIES_OF_WILL);
    struct property      property;

    while (property_walk_next(&walk, &property)) {
        switch ((int)property.id) {
        case PROPERTY_WILL_DELAY:
            will->delay_s = property.number;
            break;
        case PROPERTY_PAYLOAD_FORMAT:
            will->payload_format = (uint8_t)property.number;
            break;
        case PROPERTY_MESSAGE_EXPIRY:
            will->has_message_expiry = true;
            will->message_expiry_s = property.number;
            break;
        default:
            break;
        }
    }
    connect->user_property_count += walk.user_count;
    return walk.reason;
}

static enum mqtt_reason will_decode(struct reader *reader, struct connect *connect)
{
    struct connect_will *will = &connect->will;

    if (connect->version == MQTT_VERSION_5)
        will->properties = read_properties(reader);
    will->topic = read_sized(reader);
    will->payload = read_sized(reader);
    if (reader->failed || !utf8_valid(will->topic) || !topic_name_valid(will->topic))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.3-11] */
    return will_properties_decode(connect);
}

/* A 3.1 client may set the flags and leave the strings out: the remaining length decides there. */
static bool left_out(const struct connect *connect, const struct reader *reader)
{
    return connect->version == MQTT_VERSION_31 && reader_left(reader) == 0;
}

static void credentials_decode(struct reader *reader, struct connect *connect)
{
    connect->has_user_name = connect->has_user_name && !left_out(connect, reader);
    if (connect->has_user_name)
        connect->user_name = read_sized(reader);
    connect->has_password = connect->has_password && !left_out(connect, reader);
    if (connect->has_password)
        connect->password = read_sized(reader);
}

/* The order of the fields is [MQTT-3.1.3-1]. */
static enum mqtt_reason payload_decode(struct reader *reader, struct connect *connect)
{
    connect->client_id = read_sized(reader);
    if (reader->failed || !utf8_valid(connect->client_id))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.3-4] */

    if (connect->has_will) {
        enum mqtt_reason reason = will_decode(reader, connect);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    credentials_decode(reader, connect);
    if (!reader_done(reader) || !utf8_valid(connect->user_name))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.3-12] */
    if (connect->version == MQTT_VERSION_31 && connect->client_id.size == 0)
        return MQTT_CLIENT_ID_INVALID;
    return MQTT_SUCCESS;
}

enum mqtt_reason connect_decode(uint8_t flags, struct slice body, struct connect *connect)
{
    struct reader reader = reader_of(body);

    *connect = connect_defaults;
    enum mqtt_reason reason = protocol_decode(&reader, connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (!frame_flags_valid(connect->version, PACKET_CONNECT, flags))
        return MQTT_MALFORMED_PACKET;

    uint8_t connect_flags = read_u8(&reader);
    connect->keep_alive_s = read_u16(&reader);
    if (connect->version == MQTT_VERSION_5)
        connect->properties = read_properties(&reader);
    if (reader.failed)
        return MQTT_MALFORMED_PACKET;

    reason = flags_decode(connect_flags, connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    reason = properties_decode(connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    return payload_decode(&reader, connect);
}

static bool has_receive_maximum(const struct connect *connect)
{
    return connect->receive_maximum != 0 && connect->receive_maximum != UINT16_MAX;
}

static bool has_maximum_packet_size(const struct connect *connect)
{
    return connect->maximum_packet_size != 0 &&
           connect->maximum_packet_size != MQTT_PACKET_SIZE_MAX;
}

static uint32_t properties_size(const struct connect *connect)
{
    if (connect->properties.size > 0)
        return connect->properties.size;

    uint32_t size = 0;
    size += connect->session_expiry_s != 0 ? 5 : 0;
    size += has_receive_maximum(connect) ? 3 : 0;
    size += has_maximum_packet_size(connect) ? 5 : 0;
    size += connect->topic_alias_maximum != 0 ? 3 : 0;
    size += connect->request_response_information ? 2 : 0;
    size += connect->request_problem_information ? 0 : 2;
    if (connect->has_authentication_method) {
        size += property_bytes_size(connect->authentication_method);
        size += connect->authentication_data.size > 0
                    ? property_bytes_size(connect->authentication_data)
                    : 0;
    }
    return size;
}

static void properties_write(const struct connect *connect, struct writer *writer)
{
    write_variable(writer, properties_size(connect));
    if (connect->properties.size > 0) {
        write_slice(writer, connect->properties);
        return;
    }
    if (connect->session_expiry_s != 0)
        write_property_u32(writer, PROPERTY_SESSION_EXPIRY, connect->session_expiry_s);
    if (has_receive_maximum(connect))
        write_property_u16(writer, PROPERTY_RECEIVE_MAXIMUM, connect->receive_maximum);
    if (has_maximum_packet_size(connect))
        write_property_u32(writer, PROPERTY_MAXIMUM_PACKET_SIZE, connect->maximum_packet_size);
    if (connect->topic_alias_maximum != 0)
        write_property_u16(writer, PROPERTY_TOPIC_ALIAS_MAXIMUM, connect->topic_alias_maximum);
    if (connect->request_response_information)
        write_property_u8(writer, PROPERTY_REQUEST_RESPONSE_INFORMATION, 1);
    if (!connect->request_problem_information)
        write_property_u8(writer, PROPERTY_REQUEST_PROBLEM_INFORMATION, 0);
    if (!connect->has_authentication_method)
        return;
    write_property_bytes(writer, PROPERTY_AUTHENTICATION_METHOD, connect->authentication_method);
    if (connect->authentication_data.size > 0)
        write_property_bytes(writer, PROPERTY_AUTHENTICATION_DATA, connect->authentication_data);
}

static uint32_t will_properties_size(const struct connect_will *will)
{
    if (will->properties.size > 0)
        return will->properties.size;
    return (will->delay_s != 0 ? 5U : 0U) + (will->payload_format != 0 ? 2U : 0U) +
           (will->has_message_expiry ? 5U : 0U);
}

static void will_properties_write(const struct connect_will *will, struct writer *writer)
{
    write_variable(writer, will_properties_size(will));
    if (will->properties.size > 0) {
        write_slice(writer, will->properties);
        return;
    }
    if (will->delay_s != 0)
        write_property_u32(writer, PROPERTY_WILL_DELAY, will->delay_s);
    if (will->payload_format != 0)
        write_property_u8(writer, PROPERTY_PAYLOAD_FORMAT, will->payload_format);
    if (will->has_message_expiry)
        write_property_u32(writer, PROPERTY_MESSAGE_EXPIRY, will->message_expiry_s);
}

static uint32_t body_size(const struct connect *connect)
{
    bool     five = connect->version == MQTT_VERSION_5;
    uint32_t size = 2 + (uint32_t)strlen(protocol_name(connect->version)) + 4;

    if (five)
        size += variable_size(properties_size(connect)) + properties_size(connect);
    size += 2 + connect->client_id.size;
    if (connect->has_will) {
        const struct connect_will *will = &connect->will;
        if (five)
            size += variable_size(will_properties_size(will)) + will_properties_size(will);
        size += 2 + will->topic.size + 2 + will->payload.size;
    }
    size += connect->has_user_name ? 2 + connect->user_name.size : 0;
    size += connect->has_password ? 2 + connect->password.size : 0;
    return size;
}

uint32_t connect_size(const struct connect *connect)
{
    return frame_size(body_size(connect));
}

static uint8_t flags_of(const struct connect *connect)
{
    unsigned flags = 0;

    flags |= connect->clean_start ? FLAG_CLEAN_START : 0;
    flags |= connect->has_password ? FLAG_PASSWORD : 0;
    flags |= connect->has_user_name ? FLAG_USER_NAME : 0;
    if (connect->has_will) {
        flags |= FLAG_WILL | (unsigned)connect->will.qos << WILL_QOS_SHIFT;
        flags |= connect->will.retain ? FLAG_WILL_RETAIN : 0;
    }
    return (uint8_t)flags;
}

void connect_write(const struct connect *connect, struct writer *writer)
{
    assert(connect->version >= MQTT_VERSION_31 && connect->version <= MQTT_VERSION_5);
    assert(connect->will.qos <= 2);
    bool five = connect->version == MQTT_VERSION_5;

    frame_write_header(writer, PACKET_CONNECT, 0, body_size(connect));
    write_sized(writer, slice_text(protocol_name(connect->version)));
    write_u8(writer, (uint8_t)(connect->version | (connect->bridge ? LEVEL_OF_BRIDGE : 0U)));
    write_u8(writer, flags_of(connect));
    write_u16(writer, connect->keep_alive_s);
    if (five)
        properties_write(connect, writer);
    write_sized(writer, connect->client_id);
    if (connect->has_will) {
        if (five)
            will_properties_write(&connect->will, writer);
        write_sized(writer, connect->will.topic);
        write_sized(writer, connect->will.payload);
    }
    if (connect->has_user_name)
        write_sized(writer, connect->user_name);
    if (connect->has_password)
        write_sized(writer, connect->password);
}
