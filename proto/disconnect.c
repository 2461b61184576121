/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/disconnect.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/reason.h"

/* MQTT 5, table 3-13, column "sent by" [MQTT-3.14.2-1]. */
#define FAILURES_OF_BOTH                                                               \
    (REASON_BIT(MQTT_UNSPECIFIED_ERROR) | REASON_BIT(MQTT_MALFORMED_PACKET) |          \
     REASON_BIT(MQTT_PROTOCOL_ERROR) | REASON_BIT(MQTT_IMPLEMENTATION_ERROR) |         \
     REASON_BIT(MQTT_TOPIC_NAME_INVALID) | REASON_BIT(MQTT_RECEIVE_MAXIMUM_EXCEEDED) | \
     REASON_BIT(MQTT_TOPIC_ALIAS_INVALID) | REASON_BIT(MQTT_PACKET_TOO_LARGE) |        \
     REASON_BIT(MQTT_MESSAGE_RATE_TOO_HIGH) | REASON_BIT(MQTT_QUOTA_EXCEEDED) |        \
     REASON_BIT(MQTT_ADMINISTRATIVE_ACTION) | REASON_BIT(MQTT_PAYLOAD_FORMAT_INVALID))

static const struct reason_set client_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_DISCONNECT_WITH_WILL),
    .failures = FAILURES_OF_BOTH,
};

/* Bad authentication method is in table 2-6 only, which names DISCONNECT for it. */
static const struct reason_set server_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS),
    .failures = FAILURES_OF_BOTH | REASON_BIT(MQTT_NOT_AUTHORIZED) | REASON_BIT(MQTT_SERVER_BUSY) |
                REASON_BIT(MQTT_SERVER_SHUTTING_DOWN) | REASON_BIT(MQTT_BAD_AUTHENTICATION_METHOD) |
                REASON_BIT(MQTT_KEEP_ALIVE_TIMEOUT) | REASON_BIT(MQTT_SESSION_TAKEN_OVER) |
                REASON_BIT(MQTT_TOPIC_FILTER_INVALID) | REASON_BIT(MQTT_RETAIN_NOT_SUPPORTED) |
                REASON_BIT(MQTT_QOS_NOT_SUPPORTED) | REASON_BIT(MQTT_USE_ANOTHER_SERVER) |
                REASON_BIT(MQTT_SERVER_MOVED) | REASON_BIT(MQTT_SHARED_NOT_SUPPORTED) |
                REASON_BIT(MQTT_CONNECTION_RATE_EXCEEDED) | REASON_BIT(MQTT_MAXIMUM_CONNECT_TIME) |
                REASON_BIT(MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED) |
                REASON_BIT(MQTT_WILDCARDS_NOT_SUPPORTED),
};

static const struct reason_set auth_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_CONTINUE_AUTHENTICATION) |
                 REASON_BIT(MQTT_REAUTHENTICATE),
};

static enum mqtt_reason properties_decode(struct slice block, bool from_server,
                                          struct disconnect *disconnect)
{
    struct property_walk walk = property_walk_of(block, PACKET_DISCONNECT);
    struct property      property;

    while (property_walk_next(&walk, &property)) {
        switch ((int)property.id) {
        case PROPERTY_SESSION_EXPIRY:
            if (from_server)
                return MQTT_PROTOCOL_ERROR; /* [MQTT-3.14.2-2] */
            disconnect->has_session_expiry = true;
            disconnect->session_expiry_s = property.number;
            break;
        case PROPERTY_REASON_STRING:
            disconnect->reason_string = property.bytes;
            break;
        case PROPERTY_SERVER_REFERENCE:
            disconnect->server_reference = property.bytes;
            break;
        default:
            break;
        }
    }
    disconnect->user_property_count = walk.user_count;
    return walk.reason;
}

enum mqtt_reason disconnect_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                   bool from_server, struct disconnect *disconnect)
{
    struct reader reader = reader_of(body);
    struct slice  properties = {0};

    *disconnect = (struct disconnect){0};
    if (!frame_flags_valid(version, PACKET_DISCONNECT, flags))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.14.1-1] */

    if (version == MQTT_VERSION_5) {
        /* Both may be left out: remaining length 0, and 1. */
        if (reader_left(&reader) > 0)
            disconnect->reason = read_u8(&reader);
        if (reader_left(&reader) > 0)
            properties = read_properties(&reader);
    }
    if (!reader_done(&reader))
        return MQTT_MALFORMED_PACKET;
    if (!reason_in(from_server ? &server_reasons : &client_reasons, (uint8_t)disconnect->reason))
        return MQTT_PROTOCOL_ERROR;
    return properties_decode(properties, from_server, disconnect);
}

static uint32_t optional_size(struct slice bytes)
{
    return bytes.size > 0 ? property_bytes_size(bytes) : 0;
}

static uint32_t disconnect_properties_size(const struct disconnect *disconnect)
{
    return (disconnect->has_session_expiry ? 5U : 0U) + optional_size(disconnect->reason_string) +
           optional_size(disconnect->server_reference);
}

static uint32_t disconnect_body_size(enum mqtt_version version, const struct disconnect *disconnect)
{
    if (version < MQTT_VERSION_5)
        return 0;
    uint32_t properties = disconnect_properties_size(disconnect);
    if (properties > 0)
        return 1 + variable_size(properties) + properties;
    return disconnect->reason != MQTT_SUCCESS ? 1 : 0;
}

uint32_t disconnect_size(enum mqtt_version version, const struct disconnect *disconnect)
{
    return frame_size(disconnect_body_size(version, disconnect));
}

void disconnect_write(enum mqtt_version version, const struct disconnect *disconnect,
                      struct writer *writer)
{
    uint32_t size = disconnect_body_size(version, disconnect);

    frame_write_header(writer, PACKET_DISCONNECT, 0, size);
    if (size > 0)
        write_u8(writer, (uint8_t)disconnect->reason);
    if (size <= 1)
        return;
    write_variable(writer, disconnect_properties_size(disconnect));
    if (disconnect->has_session_expiry)
        write_property_u32(writer, PROPERTY_SESSION_EXPIRY, disconnect->session_expiry_s);
    if (disconnect->reason_string.size > 0)
        write_property_bytes(writer, PROPERTY_REASON_STRING, disconnect->reason_string);
    if (disconnect->server_reference.size > 0)
        write_property_bytes(writer, PROPERTY_SERVER_REFERENCE, disconnect->server_reference);
}

static enum mqtt_reason auth_properties_decode(struct slice block, struct auth *auth)
{
    struct property_walk walk = property_walk_of(block, PACKET_AUTH);
    struct property      property;

    while (property_walk_next(&walk, &property)) {
        switch ((int)property.id) {
        case PROPERTY_AUTHENTICATION_METHOD:
            auth->has_method = true;
            auth->method = property.bytes;
            break;
        case PROPERTY_AUTHENTICATION_DATA:
            auth->data = property.bytes;
            break;
        case PROPERTY_REASON_STRING:
            auth->reason_string = property.bytes;
            break;
        default:
            break;
        }
    }
    auth->user_property_count = walk.user_count;
    if (walk.reason != MQTT_SUCCESS)
        return walk.reason;
    return auth->has_method ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR; /* 3.15.2.2.2 */
}

enum mqtt_reason auth_decode(uint8_t flags, struct slice body, struct auth *auth)
{
    struct reader reader = reader_of(body);

    *auth = (struct auth){0};
    if (!frame_flags_valid(MQTT_VERSION_5, PACKET_AUTH, flags))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.15.1-1] */
    if (body.size == 0)
        return MQTT_SUCCESS; /* success without properties leaves out all */

    auth->reason = read_u8(&reader);
    struct slice properties = read_properties(&reader);
    if (!reader_done(&reader))
        return MQTT_MALFORMED_PACKET;
    if (!reason_in(&auth_reasons, (uint8_t)auth->reason))
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.15.2-1] */
    return auth_properties_decode(properties, auth);
}

static uint32_t auth_properties_size(const struct auth *auth)
{
    return (auth->has_method ? property_bytes_size(auth->method) : 0) + optional_size(auth->data) +
           optional_size(auth->reason_string);
}

static uint32_t auth_body_size(const struct auth *auth)
{
    uint32_t properties = auth_properties_size(auth);

    if (properties == 0 && auth->reason == MQTT_SUCCESS)
        return 0;
    return 1 + variable_size(properties) + properties;
}

uint32_t auth_size(const struct auth *auth)
{
    return frame_size(auth_body_size(auth));
}

void auth_write(const struct auth *auth, struct writer *writer)
{
    uint32_t size = auth_body_size(auth);

    frame_write_header(writer, PACKET_AUTH, 0, size);
    if (size == 0)
        return;
    write_u8(writer, (uint8_t)auth->reason);
    write_variable(writer, auth_properties_size(auth));
    if (auth->has_method)
        write_property_bytes(writer, PROPERTY_AUTHENTICATION_METHOD, auth->method);
    if (auth->data.size > 0)
        write_property_bytes(writer, PROPERTY_AUTHENTICATION_DATA, auth->data);
    if (auth->reason_string.size > 0)
        write_property_bytes(writer, PROPERTY_REASON_STRING, auth->reason_string);
}

enum mqtt_reason ping_decode(uint8_t flags, struct slice body)
{
    return flags == 0 && body.size == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

void ping_write(enum packet_type type, struct writer *writer)
{
    assert(type == PACKET_PINGREQ || type == PACKET_PINGRESP);
    frame_write_header(writer, type, 0, 0);
}
