/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The round trip as an oracle, for fuzzers and for tests that change bits: whatever a decoder
 * accepts can be encoded again, the size foretold is the size written, and decoding that yields
 * the same packet. Failures are asserts. Whatever it refuses must be refused with an error.
 */

#include "tests/support/wire.h"

#include "proto/topic.h"
#include "proto/utf8.h"

static inline bool oracle_refused(enum mqtt_reason reason)
{
    assert(reason == MQTT_SUCCESS || reason >= MQTT_UNSPECIFIED_ERROR);
    return reason != MQTT_SUCCESS;
}

/* The one frame that `wire` holds. */
static inline struct frame oracle_frame(const struct wire *wire, enum packet_type type)
{
    struct frame frame;

    assert(frame_decode(wire_view(wire), &frame) == FRAME_READY);
    assert(frame.size == wire->size && frame.type == type);
    return frame;
}

static inline void oracle_publish_equal(const struct publish *a, const struct publish *b)
{
    assert(slice_equal(a->topic, b->topic) && slice_equal(a->payload, b->payload));
    assert(slice_equal(a->response_topic, b->response_topic));
    assert(slice_equal(a->content_type, b->content_type));
    assert(a->has_message_expiry == b->has_message_expiry);
    assert(a->message_expiry_s == b->message_expiry_s);
    assert(a->user_property_count == b->user_property_count);
    assert(a->forward_size == b->forward_size);
    assert(a->packet_id == b->packet_id && a->topic_alias == b->topic_alias);
    assert(a->qos == b->qos && a->retain == b->retain);
    assert(a->payload_format == b->payload_format);
    assert(a->has_correlation_data == b->has_correlation_data);
    assert(a->subscription_id_count == b->subscription_id_count);
    assert(a->subscription_id == b->subscription_id);
}

/* The identifiers in order; free the array. */
static inline uint32_t *oracle_subscription_ids(const struct publish *publish)
{
    struct reader   reader = reader_of(publish->properties);
    struct property property;
    uint32_t       *ids = malloc((publish->subscription_id_count + 1) * sizeof(*ids));
    uint32_t        count = 0;

    assert(ids != NULL);
    while (properties_next(&reader, &property)) {
        if (property.id == PROPERTY_SUBSCRIPTION_ID)
            ids[count++] = property.number;
    }
    assert(count == publish->subscription_id_count);
    return ids;
}

static inline bool oracle_publish(enum mqtt_version version, uint8_t flags, struct slice body,
                                  bool from_server)
{
    struct publish first;
    struct publish second;

    if (oracle_refused(publish_decode(version, flags, body, from_server, &first)))
        return false;
    assert(first.topic.size == 0 || (utf8_valid(first.topic) && topic_name_valid(first.topic)));

    struct wire   forward = {0};
    struct writer writer = wire_room(&forward, first.forward_size);
    publish_write_forward(&first, &writer);
    assert(writer.at == writer.end);
    assert(properties_forward_size(first.properties) == first.forward_size);

    uint32_t           *ids = oracle_subscription_ids(&first);
    struct publish_head head = {
        .topic = first.topic,
        .forward = wire_view(&forward),
        .subscription_ids = ids,
        .subscription_id_count = first.subscription_id_count,
        .message_expiry_s = first.message_expiry_s,
        .packet_id = first.packet_id,
        .topic_alias = first.topic_alias,
        .qos = first.qos,
        .retain = first.retain,
        .duplicate = first.duplicate && first.qos > 0,
        .has_message_expiry = first.has_message_expiry,
    };
    struct wire wire = {0};
    wire_publish_of(&wire, version, head, first.payload);
    assert(wire.size == frame_size(body.size)); /* nothing has a second form */

    struct frame frame = oracle_frame(&wire, PACKET_PUBLISH);
    assert(publish_decode(version, frame.flags, frame.body, from_server, &second) == MQTT_SUCCESS);
    oracle_publish_equal(&first, &second);
    free(ids);
    wire_fini(&forward);
    wire_fini(&wire);
    return true;
}

static inline void oracle_connect_equal(const struct connect *a, const struct connect *b)
{
    assert(a->version == b->version && a->bridge == b->bridge);
    assert(slice_equal(a->client_id, b->client_id));
    assert(a->has_user_name == b->has_user_name && slice_equal(a->user_name, b->user_name));
    assert(a->has_password == b->has_password && slice_equal(a->password, b->password));
    assert(a->has_authentication_method == b->has_authentication_method);
    assert(slice_equal(a->authentication_method, b->authentication_method));
    assert(slice_equal(a->authentication_data, b->authentication_data));
    assert(a->session_expiry_s == b->session_expiry_s);
    assert(a->maximum_packet_size == b->maximum_packet_size);
    assert(a->receive_maximum == b->receive_maximum);
    assert(a->topic_alias_maximum == b->topic_alias_maximum);
    assert(a->keep_alive_s == b->keep_alive_s && a->clean_start == b->clean_start);
    assert(a->request_response_information == b->request_response_information);
    assert(a->request_problem_information == b->request_problem_information);
    assert(a->has_will == b->has_will && slice_equal(a->will.topic, b->will.topic));
    assert(slice_equal(a->will.payload, b->will.payload));
    assert(a->will.delay_s == b->will.delay_s && a->will.qos == b->will.qos);
    assert(a->will.has_message_expiry == b->will.has_message_expiry);
    assert(a->will.message_expiry_s == b->will.message_expiry_s);
    assert(a->will.payload_format == b->will.payload_format);
    assert(a->will.retain == b->will.retain);
}

static inline void oracle_connect_again(const struct connect *connect, const struct connect *wanted)
{
    struct wire    wire = {0};
    struct connect again;

    wire_connect_of(&wire, connect);
    struct frame frame = oracle_frame(&wire, PACKET_CONNECT);
    assert(connect_decode(frame.flags, frame.body, &again) == MQTT_SUCCESS);
    oracle_connect_equal(wanted, &again);
    wire_fini(&wire);
}

static inline bool oracle_connect(uint8_t flags, struct slice body)
{
    struct connect first;

    if (oracle_refused(connect_decode(flags, body, &first)))
        return false;

    /* 3.1 ignores bits and lets strings be left out; since then a packet has one form. */
    if (first.version > MQTT_VERSION_31) {
        struct wire wire = {0};
        wire_connect_of(&wire, &first);
        assert(slice_equal(oracle_frame(&wire, PACKET_CONNECT).body, body));
        wire_fini(&wire);
    }
    oracle_connect_again(&first, &first);

    struct connect from_fields = first; /* the property blocks are made anew */
    from_fields.properties = (struct slice){0};
    from_fields.will.properties = (struct slice){0};
    oracle_connect_again(&from_fields, &first);
    return true;
}

static inline void oracle_connack_equal(const struct connack *a, const struct connack *b)
{
    assert(a->reason == b->reason && a->session_present == b->session_present);
    assert(a->has_session_expiry == b->has_session_expiry);
    assert(a->session_expiry_s == b->session_expiry_s);
    assert(a->has_server_keep_alive == b->has_server_keep_alive);
    assert(a->server_keep_alive_s == b->server_keep_alive_s);
    assert(a->has_authentication_data == b->has_authentication_data);
    assert(slice_equal(a->authentication_data, b->authentication_data));
    assert(slice_equal(a->authentication_method, b->authentication_method));
    assert(a->retain_unavailable == b->retain_unavailable);
    assert(a->wildcards_unavailable == b->wildcards_unavailable);
    assert(a->subscription_ids_unavailable == b->subscription_ids_unavailable);
    assert(a->shared_unavailable == b->shared_unavailable);
    assert(a->maximum_qos == b->maximum_qos && a->receive_maximum == b->receive_maximum);
    assert(a->topic_alias_maximum == b->topic_alias_maximum);
    assert(a->maximum_packet_size == b->maximum_packet_size);
    assert(slice_equal(a->assigned_client_id, b->assigned_client_id));
    assert(slice_equal(a->reason_string, b->reason_string));
    assert(slice_equal(a->response_information, b->response_information));
    assert(slice_equal(a->server_reference, b->server_reference));
}

static inline void oracle_connack_again(enum mqtt_version version, const struct connack *connack,
                                        const struct connack *wanted)
{
    struct wire    wire = {0};
    struct connack again;

    wire_connack_of(&wire, version, connack);
    struct frame frame = oracle_frame(&wire, PACKET_CONNACK);
    assert(connack_decode(version, frame.flags, frame.body, &again) == MQTT_SUCCESS);
    oracle_connack_equal(wanted, &again);
    wire_fini(&wire);
}

/* The reason that an encoder must be given to write the return code that 3.1.1 decoding keeps. */
static inline enum mqtt_reason oracle_reason_of_code(unsigned code)
{
    static const enum mqtt_reason reasons[] = {
        MQTT_SUCCESS,           MQTT_UNSUPPORTED_VERSION,
        MQTT_CLIENT_ID_INVALID, MQTT_SERVER_UNAVAILABLE,
        MQTT_BAD_CREDENTIALS,   MQTT_NOT_AUTHORIZED,
    };
    assert(code < sizeof(reasons) / sizeof(reasons[0]));
    return reasons[code];
}

static inline bool oracle_connack(enum mqtt_version version, uint8_t flags, struct slice body)
{
    struct connack first;

    if (oracle_refused(connack_decode(version, flags, body, &first)))
        return false;
    if (version < MQTT_VERSION_5) {
        struct connack with_reason = first;
        with_reason.reason = oracle_reason_of_code(first.reason);
        oracle_connack_again(version, &with_reason, &first);
        return true;
    }

    struct connack copied = connack_of(first.reason); /* the block as it came */
    copied.session_present = first.session_present;
    copied.user_properties = first.user_properties;
    oracle_connack_again(version, &copied, &first);

    /* Made anew, as long as no string is empty: those are then left out, and read as empty. */
    struct connack from_fields = first;
    from_fields.user_properties = (struct slice){0};
    oracle_connack_again(version, &from_fields, &first);
    return true;
}

static inline bool oracle_ack(enum mqtt_version version, enum packet_type type, uint8_t flags,
                              struct slice body)
{
    struct ack first;
    struct ack second;

    if (oracle_refused(ack_decode(version, type, flags, body, &first)))
        return false;
    assert(first.packet_id != 0);

    struct ack copied = first;
    copied.reason_string = (struct slice){0}; /* it is in the block */
    struct wire wire = {0};
    wire_ack_of(&wire, version, type, &copied);
    struct frame frame = oracle_frame(&wire, type);
    assert(ack_decode(version, type, frame.flags, frame.body, &second) == MQTT_SUCCESS);
    assert(first.packet_id == second.packet_id && first.reason == second.reason);
    assert(slice_equal(first.reason_string, second.reason_string));
    assert(slice_equal(first.user_properties, second.user_properties));
    wire_fini(&wire);
    return true;
}

static inline bool oracle_subscribe(enum mqtt_version version, uint8_t flags, struct slice body)
{
    struct subscribe first;
    struct subscribe second;

    if (oracle_refused(subscribe_decode(version, flags, body, &first)))
        return false;
    assert(first.packet_id != 0 && first.entry_count > 0);

    struct subscribe_entry *entries = malloc(first.entry_count * sizeof(*entries));
    uint32_t                count = 0;
    assert(entries != NULL);
    while (count < first.entry_count && subscribe_next(version, &first, &entries[count])) {
        assert(utf8_valid(entries[count].filter) && entries[count].options.qos <= 2);
        count++;
    }
    assert(count == first.entry_count && reader_left(&first.entries) == 0);

    struct wire wire = {0};
    wire_subscribe_of(&wire, version, first.packet_id, first.subscription_id, entries, count);
    struct frame frame = oracle_frame(&wire, PACKET_SUBSCRIBE);
    assert(subscribe_decode(version, frame.flags, frame.body, &second) == MQTT_SUCCESS);
    assert(first.packet_id == second.packet_id);
    assert(first.subscription_id == second.subscription_id && second.entry_count == count);
    for (uint32_t index = 0; index < count; index++) {
        struct subscribe_entry entry;
        assert(subscribe_next(version, &second, &entry));
        assert(slice_equal(entry.filter, entries[index].filter));
        assert(entry.options.qos == entries[index].options.qos);
        assert(entry.options.retain_handling == entries[index].options.retain_handling);
        assert(entry.options.no_local == entries[index].options.no_local);
        assert(entry.options.retain_as_published == entries[index].options.retain_as_published);
    }
    free(entries);
    wire_fini(&wire);
    return true;
}

static inline bool oracle_unsubscribe(enum mqtt_version version, uint8_t flags, struct slice body)
{
    struct subscribe first;
    struct subscribe second;

    if (oracle_refused(unsubscribe_decode(version, flags, body, &first)))
        return false;
    assert(first.packet_id != 0 && first.entry_count > 0);

    struct slice *filters = malloc(first.entry_count * sizeof(*filters));
    uint32_t      count = 0;
    assert(filters != NULL);
    while (count < first.entry_count && unsubscribe_next(&first, &filters[count]))
        count++;
    assert(count == first.entry_count && reader_left(&first.entries) == 0);

    struct wire wire = {0};
    wire_unsubscribe_of(&wire, version, first.packet_id, filters, count);
    struct frame frame = oracle_frame(&wire, PACKET_UNSUBSCRIBE);
    assert(unsubscribe_decode(version, frame.flags, frame.body, &second) == MQTT_SUCCESS);
    assert(first.packet_id == second.packet_id && second.entry_count == count);
    for (uint32_t index = 0; index < count; index++) {
        struct slice filter;
        assert(unsubscribe_next(&second, &filter) && slice_equal(filter, filters[index]));
    }
    free(filters);
    wire_fini(&wire);
    return true;
}

static inline bool oracle_suback(enum mqtt_version version, enum packet_type type, uint8_t flags,
                                 struct slice body)
{
    struct suback first;
    struct suback second;

    if (oracle_refused(suback_decode(version, type, flags, body, &first)))
        return false;

    struct wire   wire = {0};
    struct writer writer = wire_room(&wire, suback_size(version, type, &first));
    suback_write(version, type, &first, &writer);
    assert(writer.at == writer.end);
    struct frame frame = oracle_frame(&wire, type);
    assert(suback_decode(version, type, frame.flags, frame.body, &second) == MQTT_SUCCESS);
    assert(first.packet_id == second.packet_id);
    assert(slice_equal(first.reason_string, second.reason_string));
    assert(slice_equal(slice_of(first.codes, first.count), slice_of(second.codes, second.count)));
    wire_fini(&wire);
    return true;
}

static inline bool oracle_disconnect(enum mqtt_version version, uint8_t flags, struct slice body,
                                     bool from_server)
{
    struct disconnect first;
    struct disconnect second;

    if (oracle_refused(disconnect_decode(version, flags, body, from_server, &first)))
        return false;

    struct wire wire = {0};
    wire_disconnect_of(&wire, version, &first);
    struct frame frame = oracle_frame(&wire, PACKET_DISCONNECT);
    assert(disconnect_decode(version, frame.flags, frame.body, from_server, &second) ==
           MQTT_SUCCESS);
    assert(first.reason == second.reason);
    assert(first.has_session_expiry == second.has_session_expiry);
    assert(first.session_expiry_s == second.session_expiry_s);
    assert(slice_equal(first.reason_string, second.reason_string));
    assert(slice_equal(first.server_reference, second.server_reference));
    wire_fini(&wire);
    return true;
}

static inline bool oracle_auth(uint8_t flags, struct slice body)
{
    struct auth first;
    struct auth second;

    if (oracle_refused(auth_decode(flags, body, &first)))
        return false;
    assert(first.has_method || body.size == 0);

    struct wire wire = {0};
    wire_auth_of(&wire, &first);
    struct frame frame = oracle_frame(&wire, PACKET_AUTH);
    assert(auth_decode(frame.flags, frame.body, &second) == MQTT_SUCCESS);
    assert(first.reason == second.reason && first.has_method == second.has_method);
    assert(slice_equal(first.method, second.method) && slice_equal(first.data, second.data));
    assert(slice_equal(first.reason_string, second.reason_string));
    wire_fini(&wire);
    return true;
}

/* Any packet; true when it was accepted. */
static inline bool oracle_packet(enum mqtt_version version, const struct frame *frame,
                                 bool from_server)
{
    enum packet_type type = frame->type;

    switch (type) {
    case PACKET_CONNECT:
        return oracle_connect(frame->flags, frame->body);
    case PACKET_CONNACK:
        return oracle_connack(version, frame->flags, frame->body);
    case PACKET_PUBLISH:
        return oracle_publish(version, frame->flags, frame->body, from_server);
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        return oracle_ack(version, type, frame->flags, frame->body);
    case PACKET_SUBSCRIBE:
        return oracle_subscribe(version, frame->flags, frame->body);
    case PACKET_UNSUBSCRIBE:
        return oracle_unsubscribe(version, frame->flags, frame->body);
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        return oracle_suback(version, type, frame->flags, frame->body);
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        return ping_decode(frame->flags, frame->body) == MQTT_SUCCESS;
    case PACKET_DISCONNECT:
        return oracle_disconnect(version, frame->flags, frame->body, from_server);
    case PACKET_AUTH:
        return version == MQTT_VERSION_5 && oracle_auth(frame->flags, frame->body);
    case PACKET_RESERVED:
    case PACKET_TYPE_COUNT:
        break;
    }
    return false;
}
