/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/reason_text.h"

struct reason_row {
    uint8_t     reason;
    const char *text;
};

static const struct reason_row rows[] = {
    {MQTT_UNSPECIFIED_ERROR, "not possible here"},
    {MQTT_MALFORMED_PACKET, "the packet does not follow its format"},
    {MQTT_PROTOCOL_ERROR, "the packet is not allowed here"},
    {MQTT_IMPLEMENTATION_ERROR, "not accepted by this server"},
    {MQTT_UNSUPPORTED_VERSION, "this protocol version is not served"},
    {MQTT_CLIENT_ID_INVALID, "the client identifier is not allowed"},
    {MQTT_BAD_CREDENTIALS, "user name or password is wrong"},
    {MQTT_NOT_AUTHORIZED, "no permission"},
    {MQTT_SERVER_UNAVAILABLE, "the server is not available"},
    {MQTT_SERVER_BUSY, "the server is busy, try again later"},
    {MQTT_BANNED, "this client is banned"},
    {MQTT_SERVER_SHUTTING_DOWN, "the server is shutting down"},
    {MQTT_BAD_AUTHENTICATION_METHOD, "the authentication method is not known or not the same"},
    {MQTT_KEEP_ALIVE_TIMEOUT, "nothing was heard for 1.5 times the keep alive"},
    {MQTT_SESSION_TAKEN_OVER, "another connection uses this client identifier"},
    {MQTT_TOPIC_FILTER_INVALID, "the topic filter is not valid or not allowed"},
    {MQTT_TOPIC_NAME_INVALID, "the topic name is not accepted (limits.topic_*)"},
    {MQTT_PACKET_ID_NOT_FOUND, "the packet identifier is not known"},
    {MQTT_RECEIVE_MAXIMUM_EXCEEDED, "more in flight than the server's receive maximum"},
    {MQTT_TOPIC_ALIAS_INVALID, "the topic alias is above the server's maximum"},
    {MQTT_PACKET_TOO_LARGE, "the packet is above the server's maximum packet size"},
    {MQTT_QUOTA_EXCEEDED, "a limit of this server is reached"},
    {MQTT_PAYLOAD_FORMAT_INVALID, "the payload is not the UTF-8 that it claims to be"},
    {MQTT_RETAIN_NOT_SUPPORTED, "retained messages are switched off"},
    {MQTT_QOS_NOT_SUPPORTED, "the QoS is above the server's maximum"},
    {MQTT_SHARED_NOT_SUPPORTED, "shared subscriptions are switched off"},
    {MQTT_CONNECTION_RATE_EXCEEDED, "too many connections a second"},
    {MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED, "subscription identifiers are switched off"},
    {MQTT_WILDCARDS_NOT_SUPPORTED, "wildcards are switched off"},
};

struct slice reason_text(enum mqtt_reason reason)
{
    for (size_t at = 0; at < sizeof(rows) / sizeof(rows[0]); at++)
        if (rows[at].reason == reason)
            return slice_text(rows[at].text);
    return (struct slice){0};
}
