/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/connack.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/reason.h"

/* [MQTT-3.2.2-8] of MQTT 5 */
static const struct reason_set connack_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS),
    .failures = REASON_BIT(MQTT_UNSPECIFIED_ERROR) | REASON_BIT(MQTT_MALFORMED_PACKET) |
                REASON_BIT(MQTT_PROTOCOL_ERROR) | REASON_BIT(MQTT_IMPLEMENTATION_ERROR) |
                REASON_BIT(MQTT_UNSUPPORTED_VERSION) | REASON_BIT(MQTT_CLIENT_ID_INVALID) |
                REASON_BIT(MQTT_BAD_CREDENTIALS) | REASON_BIT(MQTT_NOT_AUTHORIZED) |
                REASON_BIT(MQTT_SERVER_UNAVAILABLE) | REASON_BIT(MQTT_SERVER_BUSY) |
                REASON_BIT(MQTT_BANNED) | REASON_BIT(MQTT_BAD_AUTHENTICATION_METHOD) |
                REASON_BIT(MQTT_TOPIC_NAME_INVALID) | REASON_BIT(MQTT_PACKET_TOO_LARGE) |
                REASON_BIT(MQTT_QUOTA_EXCEEDED) | REASON_BIT(MQTT_PAYLOAD_FORMAT_INVALID) |
                REASON_BIT(MQTT_RETAIN_NOT_SUPPORTED) | REASON_BIT(MQTT_QOS_NOT_SUPPORTED) |
                REASON_BIT(MQTT_USE_ANOTHER_SERVER) | REASON_BIT(MQTT_SERVER_MOVED) |
                REASON_BIT(MQTT_CONNECTION_RATE_EXCEEDED),
};

#define CODE_311_MAX 5U

struct connack connack_of(enum mqtt_reason reason)
{
    return (struct connack){
        .reason = reason,
        .maximum_qos = 2,
        .receive_maximum = UINT16_MAX,
        .maximum_packet_size = MQTT_PACKET_SIZE_MAX,
    };
}

/* MQTT 3.1.1, table 3.1; 0 where none of its codes says what `reason` does. */
static uint8_t code_or_none(enum mqtt_reason reason)
{
    switch ((int)reason) {
    case MQTT_UNSUPPORTED_VERSION:
        return 1;
    case MQTT_CLIENT_ID_INVALID:
        return 2;
    case MQTT_UNSPECIFIED_ERROR:
    case MQTT_IMPLEMENTATION_ERROR:
    case MQTT_SERVER_UNAVAILABLE:
    case MQTT_SERVER_BUSY:
    case MQTT_SERVER_SHUTTING_DOWN:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_CONNECTION_RATE_EXCEEDED:
    case MQTT_USE_ANOTHER_SERVER:
    case MQTT_SERVER_MOVED:
        return 3;
    case MQTT_BAD_CREDENTIALS:
    case MQTT_BAD_AUTHENTICATION_METHOD:
        return 4;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BANNED:
    case MQTT_TOPIC_NAME_INVALID:
    case MQTT_RETAIN_NOT_SUPPORTED:
    case MQTT_QOS_NOT_SUPPORTED:
        return 5;
    default:
        return 0;
    }
}

bool connack_has_code_311(enum mqtt_reason reason)
{
    return reason == MQTT_SUCCESS || code_or_none(reason) != 0;
}

uint8_t connack_code_311(enum mqtt_reason reason)
{
    if (reason == MQTT_SUCCESS)
        return 0;
    uint8_t code = code_or_none(reason);
    return code != 0 ? code : 3;
}

static bool has_receive_maximum(const struct connack *connack)
{
    return connack->receive_maximum != 0 && connack->receive_maximum != UINT16_MAX;
}

static bool has_maximum_packet_size(const struct connack *connack)
{
    return connack->maximum_packet_size != 0 &&
           connack->maximum_packet_size != MQTT_PACKET_SIZE_MAX;
}

static uint32_t optional_size(struct slice bytes)
{
    return bytes.size > 0 ? property_bytes_size(bytes) : 0;
}

static uint32_t properties_size(const struct connack *connack)
{
    uint32_t size = connack->user_properties.size;

    size += connack->has_session_expiry ? 5 : 0;
    size += has_receive_maximum(connack) ? 3 : 0;
    size += connack->maximum_qos < 2 ? 2 : 0;
    size += connack->retain_unavailable ? 2 : 0;
    size += has_maximum_packet_size(connack) ? 5 : 0;
    size += optional_size(connack->assigned_client_id);
    size += connack->topic_alias_maximum != 0 ? 3 : 0;
    size += optional_size(connack->reason_string);
    size += connack->wildcards_unavailable ? 2 : 0;
    size += connack->subscription_ids_unavailable ? 2 : 0;
    size += connack->shared_unavailable ? 2 : 0;
    size += connack->has_server_keep_alive ? 3 : 0;
    size += optional_size(connack->response_information);
    size += optional_size(connack->server_reference);
    size += optional_size(connack->authentication_method);
    size +=
        connack->has_authentication_data ? property_bytes_size(connack->authentication_data) : 0;
    return size;
}

static void write_optional(struct writer *writer, enum property_id id, struct slice bytes)
{
    if (bytes.size > 0)
        write_property_bytes(writer, id, bytes);
}

static void write_unavailable(struct writer *writer, enum property_id id, bool unavailable)
{
    if (unavailable)
        write_property_u8(writer, id, 0);
}

static void properties_write(const struct connack *connack, struct writer *writer)
{
    write_variable(writer, properties_size(connack));
    if (connack->has_session_expiry)
        write_property_u32(writer, PROPERTY_SESSION_EXPIRY, connack->session_expiry_s);
    if (has_receive_maximum(connack))
        write_property_u16(writer, PROPERTY_RECEIVE_MAXIMUM, connack->receive_maximum);
    if (connack->maximum_qos < 2)
        write_property_u8(writer, PROPERTY_MAXIMUM_QOS, connack->maximum_qos);
    write_unavailable(writer, PROPERTY_RETAIN_AVAILABLE, connack->retain_unavailable);
    if (has_maximum_packet_size(connack))
        write_property_u32(writer, PROPERTY_MAXIMUM_PACKET_SIZE, connack->maximum_packet_size);
    write_optional(writer, PROPERTY_ASSIGNED_CLIENT_ID, connack->assigned_client_id);
    if (connack->topic_alias_maximum != 0)
        write_property_u16(writer, PROPERTY_TOPIC_ALIAS_MAXIMUM, connack->topic_alias_maximum);
    write_optional(writer, PROPERTY_REASON_STRING, connack->reason_string);
    write_unavailable(writer, PROPERTY_WILDCARD_AVAILABLE, connack->wildcards_unavailable);
    write_unavailable(writer, PROPERTY_SUBSCRIPTION_IDS_AVAILABLE,
                      connack->subscription_ids_unavailable);
    write_unavailable(writer, PROPERTY_SHARED_AVAILABLE, connack->shared_unavailable);
    if (connack->has_server_keep_alive)
        write_property_u16(writer, PROPERTY_SERVER_KEEP_ALIVE, connack->server_keep_alive_s);
    write_optional(writer, PROPERTY_RESPONSE_INFORMATION, connack->response_information);
    write_optional(writer, PROPERTY_SERVER_REFERENCE, connack->server_reference);
    write_optional(writer, PROPERTY_AUTHENTICATION_METHOD, connack->authentication_method);
    if (connack->has_authentication_data)
        write_property_bytes(writer, PROPERTY_AUTHENTICATION_DATA, connack->authentication_data);
    write_slice(writer, connack->user_properties);
}

static uint32_t body_size(enum mqtt_version version, const struct connack *connack)
{
    if (version < MQTT_VERSION_5)
        return 2;
    uint32_t properties = properties_size(connack);
    return 2 + variable_size(properties) + properties;
}

uint32_t connack_size(enum mqtt_version version, const struct connack *connack)
{
    return frame_size(body_size(version, connack));
}

void connack_write(enum mqtt_version version, const struct connack *connack, struct writer *writer)
{
    /* [MQTT-3.2.2-6]; 3.1 has no such bit */
    bool present =
        connack->session_present && connack->reason == MQTT_SUCCESS && version > MQTT_VERSION_31;

    frame_write_header(writer, PACKET_CONNACK, 0, body_size(version, connack));
    write_u8(writer, present);
    if (version < MQTT_VERSION_5) {
        write_u8(writer, connack_code_311(connack->reason));
        return;
    }
    write_u8(writer, (uint8_t)connack->reason);
    properties_write(connack, writer);
}

static void property_take(const struct property *property, struct connack *connack)
{
    switch ((int)property->id) {
    case PROPERTY_SESSION_EXPIRY:
        connack->has_session_expiry = true;
        connack->session_expiry_s = property->number;
        break;
    case PROPERTY_RECEIVE_MAXIMUM:
        connack->receive_maximum = (uint16_t)property->number;
        break;
    case PROPERTY_MAXIMUM_QOS:
        connack->maximum_qos = (uint8_t)property->number;
        break;
    case PROPERTY_RETAIN_AVAILABLE:
        connack->retain_unavailable = property->number == 0;
        break;
    case PROPERTY_MAXIMUM_PACKET_SIZE:
        connack->maximum_packet_size = property->number;
        break;
    case PROPERTY_ASSIGNED_CLIENT_ID:
        connack->assigned_client_id = property->bytes;
        break;
    case PROPERTY_TOPIC_ALIAS_MAXIMUM:
        connack->topic_alias_maximum = (uint16_t)property->number;
        break;
    case PROPERTY_REASON_STRING:
        connack->reason_string = property->bytes;
        break;
    case PROPERTY_WILDCARD_AVAILABLE:
        connack->wildcards_unavailable = property->number == 0;
        break;
    case PROPERTY_SUBSCRIPTION_IDS_AVAILABLE:
        connack->subscription_ids_unavailable = property->number == 0;
        break;
    case PROPERTY_SHARED_AVAILABLE:
        connack->shared_unavailable = property->number == 0;
        break;
    case PROPERTY_SERVER_KEEP_ALIVE:
        connack->has_server_keep_alive = true;
        connack->server_keep_alive_s = (uint16_t)property->number;
        break;
    case PROPERTY_RESPONSE_INFORMATION:
        connack->response_information = property->bytes;
        break;
    case PROPERTY_SERVER_REFERENCE:
        connack->server_reference = property->bytes;
        break;
    case PROPERTY_AUTHENTICATION_METHOD:
        connack->authentication_method = property->bytes;
        break;
    case PROPERTY_AUTHENTICATION_DATA:
        connack->has_authentication_data = true;
        connack->authentication_data = property->bytes;
        break;
    default:
        break;
    }
}

static enum mqtt_reason properties_decode(struct connack *connack)
{
    struct property_walk walk = property_walk_of(connack->user_properties, PACKET_CONNACK);
    struct property      property;

    while (property_walk_next(&walk, &property))
        property_take(&property, connack);
    return walk.reason;
}

enum mqtt_reason connack_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                struct connack *connack)
{
    struct reader reader = reader_of(body);

    *connack = connack_of(MQTT_SUCCESS);
    if (!frame_flags_valid(version, PACKET_CONNACK, flags))
        return MQTT_MALFORMED_PACKET;

    uint8_t acknowledge = read_u8(&reader);
    uint8_t reason = read_u8(&reader);
    if (version == MQTT_VERSION_5)
        connack->user_properties = read_properties(&reader);
    if (!reader_done(&reader))
        return MQTT_MALFORMED_PACKET;

    connack->reason = reason;
    connack->session_present = version > MQTT_VERSION_31 && (acknowledge & 0x1) != 0;
    if (version > MQTT_VERSION_31 && (acknowledge & ~0x1) != 0)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.2.2-1] */
    if (version < MQTT_VERSION_5 ? reason > CODE_311_MAX : !reason_in(&connack_reasons, reason))
        return MQTT_PROTOCOL_ERROR;
    if (connack->session_present && reason != 0)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.2.2-6] */
    return properties_decode(connack);
}
