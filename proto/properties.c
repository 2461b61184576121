/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/properties.h"

#include "proto/topic.h"
#include "proto/utf8.h"

enum property_kind {
    KIND_UNKNOWN,
    KIND_U8,
    KIND_U16,
    KIND_U32,
    KIND_VARIABLE,
    KIND_TEXT,
    KIND_BINARY,
    KIND_PAIR,
};

enum property_range {
    RANGE_ANY,
    RANGE_BOOLEAN,
    RANGE_NOT_ZERO,
    RANGE_ALIAS,
    RANGE_TOPIC_NAME,
};

struct property_rule {
    enum property_kind  kind;
    enum property_range range;
    uint32_t            packets; /* bit set of the packets it may stand in */
};

#define IN(packet)  (UINT32_C(1) << (packet))
#define IN_CONNECT  IN(PACKET_CONNECT)
#define IN_CONNACK  IN(PACKET_CONNACK)
#define IN_PUBLISH  IN(PACKET_PUBLISH)
#define IN_WILL     IN(PROPERTIES_OF_WILL)
#define IN_MESSAGES (IN_PUBLISH | IN_WILL)
#define IN_SESSIONS (IN_CONNECT | IN_CONNACK)
#define IN_REPLIES                                                                                 \
    (IN_CONNACK | IN(PACKET_PUBACK) | IN(PACKET_PUBREC) | IN(PACKET_PUBREL) | IN(PACKET_PUBCOMP) | \
     IN(PACKET_SUBACK) | IN(PACKET_UNSUBACK) | IN(PACKET_DISCONNECT) | IN(PACKET_AUTH))
#define IN_ALL \
    (IN_REPLIES | IN_CONNECT | IN_MESSAGES | IN(PACKET_SUBSCRIBE) | IN(PACKET_UNSUBSCRIBE))
#define IN_HANDSHAKE (IN_SESSIONS | IN(PACKET_AUTH))

/* MQTT 5.0, table 2-4; ranges as the sections of the packets say. */
static const struct property_rule rules[PROPERTY_ID_COUNT] = {
    [PROPERTY_PAYLOAD_FORMAT] = {KIND_U8, RANGE_BOOLEAN, IN_MESSAGES},
    [PROPERTY_MESSAGE_EXPIRY] = {KIND_U32, RANGE_ANY, IN_MESSAGES},
    [PROPERTY_CONTENT_TYPE] = {KIND_TEXT, RANGE_ANY, IN_MESSAGES},
    [PROPERTY_RESPONSE_TOPIC] = {KIND_TEXT, RANGE_TOPIC_NAME, IN_MESSAGES},
    [PROPERTY_CORRELATION_DATA] = {KIND_BINARY, RANGE_ANY, IN_MESSAGES},
    [PROPERTY_SUBSCRIPTION_ID] = {KIND_VARIABLE, RANGE_NOT_ZERO, IN_PUBLISH | IN(PACKET_SUBSCRIBE)},
    [PROPERTY_SESSION_EXPIRY] = {KIND_U32, RANGE_ANY, IN_SESSIONS | IN(PACKET_DISCONNECT)},
    [PROPERTY_ASSIGNED_CLIENT_ID] = {KIND_TEXT, RANGE_ANY, IN_CONNACK},
    [PROPERTY_SERVER_KEEP_ALIVE] = {KIND_U16, RANGE_ANY, IN_CONNACK},
    [PROPERTY_AUTHENTICATION_METHOD] = {KIND_TEXT, RANGE_ANY, IN_HANDSHAKE},
    [PROPERTY_AUTHENTICATION_DATA] = {KIND_BINARY, RANGE_ANY, IN_HANDSHAKE},
    [PROPERTY_REQUEST_PROBLEM_INFORMATION] = {KIND_U8, RANGE_BOOLEAN, IN_CONNECT},
    [PROPERTY_WILL_DELAY] = {KIND_U32, RANGE_ANY, IN_WILL},
    [PROPERTY_REQUEST_RESPONSE_INFORMATION] = {KIND_U8, RANGE_BOOLEAN, IN_CONNECT},
    [PROPERTY_RESPONSE_INFORMATION] = {KIND_TEXT, RANGE_ANY, IN_CONNACK},
    [PROPERTY_SERVER_REFERENCE] = {KIND_TEXT, RANGE_ANY, IN_CONNACK | IN(PACKET_DISCONNECT)},
    [PROPERTY_REASON_STRING] = {KIND_TEXT, RANGE_ANY, IN_REPLIES},
    [PROPERTY_RECEIVE_MAXIMUM] = {KIND_U16, RANGE_NOT_ZERO, IN_SESSIONS},
    [PROPERTY_TOPIC_ALIAS_MAXIMUM] = {KIND_U16, RANGE_ANY, IN_SESSIONS},
    [PROPERTY_TOPIC_ALIAS] = {KIND_U16, RANGE_ALIAS, IN_PUBLISH},
    [PROPERTY_MAXIMUM_QOS] = {KIND_U8, RANGE_BOOLEAN, IN_CONNACK},
    [PROPERTY_RETAIN_AVAILABLE] = {KIND_U8, RANGE_BOOLEAN, IN_CONNACK},
    [PROPERTY_USER_PROPERTY] = {KIND_PAIR, RANGE_ANY, IN_ALL},
    [PROPERTY_MAXIMUM_PACKET_SIZE] = {KIND_U32, RANGE_NOT_ZERO, IN_SESSIONS},
    [PROPERTY_WILDCARD_AVAILABLE] = {KIND_U8, RANGE_BOOLEAN, IN_CONNACK},
    [PROPERTY_SUBSCRIPTION_IDS_AVAILABLE] = {KIND_U8, RANGE_BOOLEAN, IN_CONNACK},
    [PROPERTY_SHARED_AVAILABLE] = {KIND_U8, RANGE_BOOLEAN, IN_CONNACK},
};

_Static_assert(PROPERTY_ID_COUNT <= 64, "seen identifiers are kept in one word");

/* An identifier is a variable byte integer, but all that exist are one byte. */
static enum property_kind read_property(struct reader *reader, struct property *property)
{
    const uint8_t     *start = reader->at;
    uint8_t            id = read_u8(reader);
    enum property_kind kind = id < PROPERTY_ID_COUNT ? rules[id].kind : KIND_UNKNOWN;

    *property = (struct property){.id = id};
    switch (kind) {
    case KIND_UNKNOWN:
        reader->failed = true;
        break;
    case KIND_U8:
        property->number = read_u8(reader);
        break;
    case KIND_U16:
        property->number = read_u16(reader);
        break;
    case KIND_U32:
        property->number = read_u32(reader);
        break;
    case KIND_VARIABLE:
        property->number = read_variable(reader);
        break;
    case KIND_TEXT:
    case KIND_BINARY:
        property->bytes = read_sized(reader);
        break;
    case KIND_PAIR:
        property->bytes = read_sized(reader);
        property->value = read_sized(reader);
        break;
    }
    property->whole = slice_of(start, (size_t)(reader->at - start));
    return kind;
}

static bool text_valid(enum property_kind kind, const struct property *property)
{
    if (kind == KIND_TEXT)
        return utf8_valid(property->bytes);
    if (kind == KIND_PAIR)
        return utf8_valid(property->bytes) && utf8_valid(property->value);
    return true;
}

static enum mqtt_reason range_check(enum property_range range, const struct property *property)
{
    switch (range) {
    case RANGE_ANY:
        return MQTT_SUCCESS;
    case RANGE_BOOLEAN:
        return property->number <= 1 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    case RANGE_NOT_ZERO:
        return property->number != 0 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    case RANGE_ALIAS:
        return property->number != 0 ? MQTT_SUCCESS : MQTT_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8] */
    case RANGE_TOPIC_NAME:
        /* [MQTT-3.3.2-14] */
        return topic_name_valid(property->bytes) ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    }
    return MQTT_MALFORMED_PACKET;
}

static bool may_repeat(enum property_id id, unsigned packet)
{
    return id == PROPERTY_USER_PROPERTY ||
           (id == PROPERTY_SUBSCRIPTION_ID && packet == PACKET_PUBLISH);
}

static enum mqtt_reason property_check(struct property_walk *walk, enum property_kind kind,
                                       const struct property *property)
{
    if (walk->reader.failed)
        return MQTT_MALFORMED_PACKET;

    const struct property_rule *rule = &rules[property->id];
    uint64_t                    bit = UINT64_C(1) << property->id;

    if ((rule->packets & IN(walk->packet)) == 0 || !text_valid(kind, property))
        return MQTT_MALFORMED_PACKET;
    if ((walk->seen & bit) != 0 && !may_repeat(property->id, walk->packet))
        return MQTT_PROTOCOL_ERROR;
    walk->seen |= bit;
    walk->user_count += property->id == PROPERTY_USER_PROPERTY;
    return range_check(rule->range, property);
}

bool property_walk_next(struct property_walk *walk, struct property *property)
{
    if (walk->reason != MQTT_SUCCESS || reader_left(&walk->reader) == 0)
        return false;
    enum property_kind kind = read_property(&walk->reader, property);
    walk->reason = property_check(walk, kind, property);
    return walk->reason == MQTT_SUCCESS;
}

enum mqtt_reason properties_check(struct slice block, unsigned packet, uint32_t *user_count)
{
    struct property_walk walk = property_walk_of(block, packet);
    struct property      property;

    while (property_walk_next(&walk, &property))
        ;
    *user_count = walk.user_count;
    return walk.reason;
}

bool properties_next(struct reader *reader, struct property *property)
{
    if (reader->failed || reader_left(reader) == 0)
        return false;
    read_property(reader, property);
    return !reader->failed;
}

struct slice read_properties(struct reader *reader)
{
    uint32_t       size = read_variable(reader);
    const uint8_t *bytes = read_bytes(reader, size);
    return bytes != NULL ? slice_of(bytes, size) : (struct slice){0};
}

bool property_is_forwarded(enum property_id id)
{
    return id != PROPERTY_TOPIC_ALIAS && id != PROPERTY_MESSAGE_EXPIRY &&
           id != PROPERTY_SUBSCRIPTION_ID && id != PROPERTY_WILL_DELAY;
}

uint32_t properties_forward_size(struct slice block)
{
    struct reader   reader = reader_of(block);
    struct property property;
    uint32_t        size = 0;

    while (properties_next(&reader, &property))
        size += property_is_forwarded(property.id) ? property.whole.size : 0;
    return size;
}

void properties_write_forward(struct slice block, struct writer *writer)
{
    struct reader   reader = reader_of(block);
    struct property property;

    while (properties_next(&reader, &property)) {
        if (property_is_forwarded(property.id))
            write_slice(writer, property.whole);
    }
}

void write_property_u8(struct writer *writer, enum property_id id, uint8_t value)
{
    assert(rules[id].kind == KIND_U8);
    write_u8(writer, (uint8_t)id);
    write_u8(writer, value);
}

void write_property_u16(struct writer *writer, enum property_id id, uint16_t value)
{
    assert(rules[id].kind == KIND_U16);
    write_u8(writer, (uint8_t)id);
    write_u16(writer, value);
}

void write_property_u32(struct writer *writer, enum property_id id, uint32_t value)
{
    assert(rules[id].kind == KIND_U32);
    write_u8(writer, (uint8_t)id);
    write_u32(writer, value);
}

void write_property_variable(struct writer *writer, enum property_id id, uint32_t value)
{
    assert(rules[id].kind == KIND_VARIABLE);
    write_u8(writer, (uint8_t)id);
    write_variable(writer, value);
}

void write_property_bytes(struct writer *writer, enum property_id id, struct slice bytes)
{
    assert(rules[id].kind == KIND_TEXT || rules[id].kind == KIND_BINARY);
    write_u8(writer, (uint8_t)id);
    write_sized(writer, bytes);
}

void write_property_user(struct writer *writer, struct slice name, struct slice value)
{
    write_u8(writer, PROPERTY_USER_PROPERTY);
    write_sized(writer, name);
    write_sized(writer, value);
}

uint32_t property_bytes_size(struct slice bytes)
{
    return 3 + bytes.size;
}

uint32_t property_user_size(struct slice name, struct slice value)
{
    return 5 + name.size + value.size;
}
