/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/subscribe.h"

#include "proto/frame.h"
#include "proto/properties.h"
#include "proto/reason.h"
#include "proto/utf8.h"

enum option_bits {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RETAIN_HANDLING = 0x30,
    OPTION_RESERVED = 0xc0,
};

#define RETAIN_HANDLING_SHIFT 4

static const struct reason_set suback_reasons = {
    .successes =
        REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_GRANTED_QOS1) | REASON_BIT(MQTT_GRANTED_QOS2),
    .failures = REASON_BIT(MQTT_UNSPECIFIED_ERROR) | REASON_BIT(MQTT_IMPLEMENTATION_ERROR) |
                REASON_BIT(MQTT_NOT_AUTHORIZED) | REASON_BIT(MQTT_TOPIC_FILTER_INVALID) |
                REASON_BIT(MQTT_PACKET_ID_IN_USE) | REASON_BIT(MQTT_QUOTA_EXCEEDED) |
                REASON_BIT(MQTT_SHARED_NOT_SUPPORTED) |
                REASON_BIT(MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED) |
                REASON_BIT(MQTT_WILDCARDS_NOT_SUPPORTED),
};

/* [MQTT-3.9.3-2] of 3.1.1 */
static const struct reason_set suback_reasons_311 = {
    .successes =
        REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_GRANTED_QOS1) | REASON_BIT(MQTT_GRANTED_QOS2),
    .failures = REASON_BIT(MQTT_UNSPECIFIED_ERROR),
};

static const struct reason_set unsuback_reasons = {
    .successes = REASON_BIT(MQTT_SUCCESS) | REASON_BIT(MQTT_NO_SUBSCRIPTION_EXISTED),
    .failures = REASON_BIT(MQTT_UNSPECIFIED_ERROR) | REASON_BIT(MQTT_IMPLEMENTATION_ERROR) |
                REASON_BIT(MQTT_NOT_AUTHORIZED) | REASON_BIT(MQTT_TOPIC_FILTER_INVALID) |
                REASON_BIT(MQTT_PACKET_ID_IN_USE),
};

static enum mqtt_reason properties_decode(enum packet_type type, struct subscribe *subscribe)
{
    struct property_walk walk = property_walk_of(subscribe->properties, type);
    struct property      property;

    while (property_walk_next(&walk, &property)) {
        if (property.id == PROPERTY_SUBSCRIPTION_ID)
            subscribe->subscription_id = property.number;
    }
    subscribe->user_property_count = walk.user_count;
    return walk.reason;
}

/* All before the first entry. */
static enum mqtt_reason head_decode(enum mqtt_version version, enum packet_type type, uint8_t flags,
                                    struct slice body, struct subscribe *subscribe)
{
    struct reader reader = reader_of(body);

    *subscribe = (struct subscribe){0};
    if (!frame_flags_valid(version, type, flags))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.1-1] [MQTT-3.10.1-1] */

    subscribe->packet_id = read_u16(&reader);
    if (version == MQTT_VERSION_5)
        subscribe->properties = read_properties(&reader);
    if (reader.failed)
        return MQTT_MALFORMED_PACKET;
    if (subscribe->packet_id == 0)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    subscribe->entries = reader;
    return properties_decode(type, subscribe);
}

static enum mqtt_reason options_check(enum mqtt_version version, uint8_t options)
{
    if (version == MQTT_VERSION_31)
        options &= OPTION_QOS; /* the upper bits are not used there */
    if (version < MQTT_VERSION_5)
        return options <= 2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET; /* [MQTT-3.8.3-4] of 3.1.1 */

    if ((options & OPTION_RESERVED) != 0)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.3-5] */
    if ((options & OPTION_QOS) == OPTION_QOS)
        return MQTT_PROTOCOL_ERROR;
    return (options & OPTION_RETAIN_HANDLING) != OPTION_RETAIN_HANDLING ? MQTT_SUCCESS
                                                                        : MQTT_PROTOCOL_ERROR;
}

static struct subscribe_options options_of(enum mqtt_version version, uint8_t options)
{
    if (version < MQTT_VERSION_5)
        return (struct subscribe_options){.qos = options & OPTION_QOS};
    return (struct subscribe_options){
        .qos = options & OPTION_QOS,
        .retain_handling = (uint8_t)((options & OPTION_RETAIN_HANDLING) >> RETAIN_HANDLING_SHIFT),
        .no_local = (options & OPTION_NO_LOCAL) != 0,
        .retain_as_published = (options & OPTION_RETAIN_AS_PUBLISHED) != 0,
    };
}

static enum mqtt_reason entry_check(enum mqtt_version version, enum packet_type type,
                                    struct reader *reader)
{
    struct slice filter = read_sized(reader);
    uint8_t      options = type == PACKET_SUBSCRIBE ? read_u8(reader) : 0;

    if (reader->failed || !utf8_valid(filter))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.3-1] [MQTT-3.10.3-1] */
    return options_check(version, options);
}

static enum mqtt_reason entries_check(enum mqtt_version version, enum packet_type type,
                                      struct subscribe *subscribe)
{
    struct reader reader = subscribe->entries;

    if (reader_left(&reader) == 0)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.8.3-2] [MQTT-3.10.3-2] */
    while (reader_left(&reader) > 0) {
        enum mqtt_reason reason = entry_check(version, type, &reader);
        if (reason != MQTT_SUCCESS)
            return reason;
        subscribe->entry_count++;
    }
    return MQTT_SUCCESS;
}

static enum mqtt_reason either_decode(enum mqtt_version version, enum packet_type type,
                                      uint8_t flags, struct slice body, struct subscribe *subscribe)
{
    enum mqtt_reason reason = head_decode(version, type, flags, body, subscribe);
    return reason == MQTT_SUCCESS ? entries_check(version, type, subscribe) : reason;
}

enum mqtt_reason subscribe_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                  struct subscribe *subscribe)
{
    return either_decode(version, PACKET_SUBSCRIBE, flags, body, subscribe);
}

enum mqtt_reason unsubscribe_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                    struct subscribe *unsubscribe)
{
    return either_decode(version, PACKET_UNSUBSCRIBE, flags, body, unsubscribe);
}

bool subscribe_next(enum mqtt_version version, struct subscribe *subscribe,
                    struct subscribe_entry *entry)
{
    if (reader_left(&subscribe->entries) == 0)
        return false;
    entry->filter = read_sized(&subscribe->entries);
    entry->options = options_of(version, read_u8(&subscribe->entries));
    assert(!subscribe->entries.failed);
    return true;
}

bool unsubscribe_next(struct subscribe *unsubscribe, struct slice *filter)
{
    if (reader_left(&unsubscribe->entries) == 0)
        return false;
    *filter = read_sized(&unsubscribe->entries);
    assert(!unsubscribe->entries.failed);
    return true;
}

/* The properties with their length: a subscription identifier or none. */
static uint32_t id_size(uint32_t subscription_id)
{
    return subscription_id != 0 ? 1 + variable_size(subscription_id) : 0;
}

static uint32_t subscribe_body_size(enum mqtt_version version, uint32_t subscription_id,
                                    const struct subscribe_entry *entries, uint32_t count)
{
    uint32_t size = 2 + (version == MQTT_VERSION_5 ? 1 + id_size(subscription_id) : 0);

    for (uint32_t index = 0; index < count; index++)
        size += 2 + entries[index].filter.size + 1;
    return size;
}

uint32_t subscribe_size(enum mqtt_version version, uint32_t subscription_id,
                        const struct subscribe_entry *entries, uint32_t count)
{
    return frame_size(subscribe_body_size(version, subscription_id, entries, count));
}

static uint8_t options_byte(enum mqtt_version version, const struct subscribe_options *options)
{
    assert(options->qos <= 2 && options->retain_handling <= 2);
    if (version < MQTT_VERSION_5)
        return options->qos;
    return (uint8_t)(options->qos | (options->no_local ? OPTION_NO_LOCAL : 0) |
                     (options->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0) |
                     options->retain_handling << RETAIN_HANDLING_SHIFT);
}

void subscribe_write(enum mqtt_version version, uint16_t packet_id, uint32_t subscription_id,
                     const struct subscribe_entry *entries, uint32_t count, struct writer *writer)
{
    assert(packet_id != 0 && count > 0);

    frame_write_header(writer, PACKET_SUBSCRIBE, 0x2,
                       subscribe_body_size(version, subscription_id, entries, count));
    write_u16(writer, packet_id);
    if (version == MQTT_VERSION_5) {
        write_variable(writer, id_size(subscription_id));
        if (subscription_id != 0)
            write_property_variable(writer, PROPERTY_SUBSCRIPTION_ID, subscription_id);
    }
    for (uint32_t index = 0; index < count; index++) {
        write_sized(writer, entries[index].filter);
        write_u8(writer, options_byte(version, &entries[index].options));
    }
}

static uint32_t unsubscribe_body_size(enum mqtt_version version, const struct slice *filters,
                                      uint32_t count)
{
    uint32_t size = 2 + (version == MQTT_VERSION_5 ? 1 : 0);

    for (uint32_t index = 0; index < count; index++)
        size += 2 + filters[index].size;
    return size;
}

uint32_t unsubscribe_size(enum mqtt_version version, const struct slice *filters, uint32_t count)
{
    return frame_size(unsubscribe_body_size(version, filters, count));
}

void unsubscribe_write(enum mqtt_version version, uint16_t packet_id, const struct slice *filters,
                       uint32_t count, struct writer *writer)
{
    assert(packet_id != 0 && count > 0);

    frame_write_header(writer, PACKET_UNSUBSCRIBE, 0x2,
                       unsubscribe_body_size(version, filters, count));
    write_u16(writer, packet_id);
    if (version == MQTT_VERSION_5)
        write_variable(writer, 0);
    for (uint32_t index = 0; index < count; index++)
        write_sized(writer, filters[index]);
}

/* An UNSUBACK carries codes only since MQTT 5. */
static bool has_codes(enum mqtt_version version, enum packet_type type)
{
    return type == PACKET_SUBACK || version == MQTT_VERSION_5;
}

static uint32_t reason_string_size(const struct suback *suback)
{
    return suback->reason_string.size > 0 ? property_bytes_size(suback->reason_string) : 0;
}

static uint32_t suback_body_size(enum mqtt_version version, enum packet_type type,
                                 const struct suback *suback)
{
    uint32_t size = 2 + (has_codes(version, type) ? suback->count : 0);

    if (version == MQTT_VERSION_5)
        size += variable_size(reason_string_size(suback)) + reason_string_size(suback);
    return size;
}

uint32_t suback_size(enum mqtt_version version, enum packet_type type, const struct suback *suback)
{
    return frame_size(suback_body_size(version, type, suback));
}

void suback_write(enum mqtt_version version, enum packet_type type, const struct suback *suback,
                  struct writer *writer)
{
    assert(type == PACKET_SUBACK || type == PACKET_UNSUBACK);

    frame_write_header(writer, type, 0, suback_body_size(version, type, suback));
    write_u16(writer, suback->packet_id);
    if (version == MQTT_VERSION_5) {
        write_variable(writer, reason_string_size(suback));
        if (suback->reason_string.size > 0)
            write_property_bytes(writer, PROPERTY_REASON_STRING, suback->reason_string);
        write_bytes(writer, suback->codes, suback->count);
        return;
    }
    for (uint32_t index = 0; has_codes(version, type) && index < suback->count; index++) {
        uint8_t code = suback->codes[index];
        write_u8(writer, code < MQTT_UNSPECIFIED_ERROR ? code : MQTT_UNSPECIFIED_ERROR);
    }
}

static const struct reason_set *codes_allowed(enum mqtt_version version, enum packet_type type)
{
    if (version < MQTT_VERSION_5)
        return &suback_reasons_311;
    return type == PACKET_SUBACK ? &suback_reasons : &unsuback_reasons;
}

static enum mqtt_reason codes_check(enum mqtt_version version, enum packet_type type,
                                    const struct suback *suback)
{
    const struct reason_set *allowed = codes_allowed(version, type);

    if (has_codes(version, type) == (suback->count == 0))
        return MQTT_MALFORMED_PACKET;
    for (uint32_t index = 0; index < suback->count; index++) {
        if (!reason_in(allowed, suback->codes[index]))
            return MQTT_PROTOCOL_ERROR; /* [MQTT-3.9.3-2] [MQTT-3.11.3-2] */
    }
    return MQTT_SUCCESS;
}

enum mqtt_reason suback_decode(enum mqtt_version version, enum packet_type type, uint8_t flags,
                               struct slice body, struct suback *suback)
{
    assert(type == PACKET_SUBACK || type == PACKET_UNSUBACK);
    struct reader reader = reader_of(body);
    struct slice  properties = {0};

    *suback = (struct suback){0};
    if (!frame_flags_valid(version, type, flags))
        return MQTT_MALFORMED_PACKET;

    suback->packet_id = read_u16(&reader);
    if (version == MQTT_VERSION_5)
        properties = read_properties(&reader);
    struct slice codes = read_rest(&reader);
    if (reader.failed)
        return MQTT_MALFORMED_PACKET;
    if (suback->packet_id == 0)
        return MQTT_PROTOCOL_ERROR;
    suback->codes = codes.data;
    suback->count = codes.size;

    struct property_walk walk = property_walk_of(properties, type);
    struct property      property;
    while (property_walk_next(&walk, &property)) {
        if (property.id == PROPERTY_REASON_STRING)
            suback->reason_string = property.bytes;
    }
    return walk.reason == MQTT_SUCCESS ? codes_check(version, type, suback) : walk.reason;
}
