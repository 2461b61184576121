/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/publishing.h"

#include "core/base/memory.h"
#include "core/broker/aliases.h"
#include "core/broker/fanout.h"
#include "core/broker/state.h"
#include "proto/ack.h"
#include "proto/publish.h"
#include "proto/topic.h"
#include "proto/utf8.h"

#include <assert.h>

/* The topic behind an alias, or a new one for it (MQTT-3.3.2-7 to -12). */
static enum mqtt_reason resolve_alias(struct broker *broker, struct link *link,
                                      struct publish *publish)
{
    uint16_t alias_max = broker->options->protocol.topic_alias_max;
    if (publish->topic_alias > alias_max)
        return MQTT_TOPIC_ALIAS_INVALID;

    struct link_extra *extra = link_extra_need(link);
    if (extra != NULL && extra->aliases_in == NULL)
        extra->aliases_in = topic_aliases_create(alias_max);
    if (extra == NULL || extra->aliases_in == NULL)
        return MQTT_QUOTA_EXCEEDED;

    if (publish->topic.size > 0)
        return topic_aliases_set(extra->aliases_in, publish->topic_alias, publish->topic)
                   ? MQTT_SUCCESS
                   : MQTT_QUOTA_EXCEEDED;
    publish->topic = topic_aliases_topic(extra->aliases_in, publish->topic_alias);
    return publish->topic.size > 0 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
}

/* `$SYS` is the broker's: a client's word there would be taken for the truth. */
static bool is_sys(struct slice topic)
{
    return topic.size >= 4 && memcmp(topic.data, "$SYS", 4) == 0 &&
           (topic.size == 4 || topic.data[4] == '/');
}

/* What this broker does not take, though it is well formed: MQTT_SUCCESS or why. */
static enum mqtt_reason check_message(const struct broker *broker, const struct publish *publish)
{
    const struct options *options = broker->options;
    if (publish->topic.data[0] == '$' && is_sys(publish->topic))
        return MQTT_NOT_AUTHORIZED;
    if (publish->topic.size > options->limits.topic_size_max ||
        (publish->topic.size >= options->limits.topic_levels_max && /* else too short for it */
         topic_levels(publish->topic) > options->limits.topic_levels_max))
        return MQTT_TOPIC_NAME_INVALID;
    if (publish->user_property_count > options->limits.user_properties_max)
        return MQTT_QUOTA_EXCEEDED;
    if (options->protocol.check_payload_format && publish->payload_format == 1 &&
        !utf8_valid(publish->payload))
        return MQTT_PAYLOAD_FORMAT_INVALID;
    return MQTT_SUCCESS;
}

static uint64_t expires_ms(const struct broker *broker, const struct publish *publish)
{
    uint32_t limit_s = broker->options->limits.message_expiry_max_s;
    uint32_t expiry_s = publish->message_expiry_s;
    if (!publish->has_message_expiry) {
        if (limit_s == 0)
            return 0;
        expiry_s = limit_s;
    } else if (limit_s != 0 && expiry_s > limit_s) {
        expiry_s = limit_s;
    }
    return broker->now_ms + (uint64_t)expiry_s * 1000;
}

/* The properties that travel on: mostly the block as it came. */
static struct slice forward_of(struct broker *broker, const struct publish *publish)
{
    if (publish->forward_size == publish->properties.size)
        return publish->properties;
    if (publish->forward_size == 0)
        return (struct slice){0};
    if (publish->forward_size > broker->forward_capacity) {
        broker->forward_capacity = publish->forward_size * 2;
        broker->forward = memory_need(broker->forward, broker->forward_capacity);
    }
    struct writer writer = {.at = broker->forward, .end = broker->forward + publish->forward_size};
    publish_write_forward(publish, &writer);
    return slice_of(broker->forward, publish->forward_size);
}

/* To everybody; what the acknowledgement says (MQTT-3.4.2.1, MQTT-3.5.2.1). */
static enum mqtt_reason route(struct broker *broker, struct link *link,
                              const struct publish *publish)
{
    struct fanout fanout = {
        .topic = publish->topic,
        .forward = forward_of(broker, publish),
        .payload = publish->payload,
        .publisher = link->session->hash,
        .publisher_shard = broker->shard,
        .route_hint = pool_handle_of(link).slot,
        .expires_ms = expires_ms(broker, publish),
        .qos = publish->qos,
        .retain = publish->retain,
    };
    fanout_everywhere(broker, &fanout);
    fanout_end(broker, &fanout);
    if (fanout.accepted > 0)
        return MQTT_SUCCESS;
    return fanout.refused > 0 ? MQTT_QUOTA_EXCEEDED : MQTT_NO_MATCHING_SUBSCRIBERS;
}

static enum mqtt_reason accept(struct broker *broker, struct link *link,
                               const struct publish *publish)
{
    enum mqtt_reason reason = check_message(broker, publish);
    if (reason != MQTT_SUCCESS)
        broker->statistics.publish_refused++;
    else
        reason = route(broker, link, publish);
    return reason;
}

/* Method A of MQTT-4.3.3: the identifier is kept until PUBREL; the message went out at once. */
static enum mqtt_reason accept_qos2(struct broker *broker, struct link *link,
                                    const struct publish *publish)
{
    struct session *session = link->session;
    if (received_has(session, publish->packet_id)) { /* [MQTT-4.3.3-10] once only */
        link_send_ack(broker, link, PACKET_PUBREC, publish->packet_id, MQTT_SUCCESS);
        return MQTT_SUCCESS;
    }
    /* The client's quota starts anew with each connection (MQTT-4.9). */
    uint32_t allowed = broker->options->protocol.receive_maximum + (uint32_t)link->received_before;
    if (link->version == MQTT_VERSION_5 && received_count(session) >= allowed)
        return MQTT_RECEIVE_MAXIMUM_EXCEEDED; /* [MQTT-3.3.4-7] */
    if (!received_add(session, publish->packet_id))
        return MQTT_QUOTA_EXCEEDED;

    enum mqtt_reason reason = accept(broker, link, publish);
    if (reason >= MQTT_UNSPECIFIED_ERROR && link->version == MQTT_VERSION_5)
        received_remove(session, publish->packet_id); /* the exchange ends with this PUBREC */
    link_send_ack(broker, link, PACKET_PUBREC, publish->packet_id, reason);
    return MQTT_SUCCESS;
}

enum mqtt_reason publishing_on_publish(struct broker *broker, struct link *link,
                                       const struct frame *frame)
{
    struct publish   publish;
    enum mqtt_reason reason =
        publish_decode(link->version, frame->flags, frame->body, false, &publish);
    if (reason != MQTT_SUCCESS)
        return reason;

    struct statistics *statistics = &broker->statistics;
    statistics->publish_in++;
    statistics->publish_in_qos[publish.qos]++;
    statistics->publish_bytes_in += publish.payload.size;
    if (publish.qos > broker->options->protocol.maximum_qos)
        return MQTT_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-11] */
    if (publish.retain && !broker->options->protocol.retain_available)
        return MQTT_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-14] */
    if (publish.topic_alias != 0) {
        reason = resolve_alias(broker, link, &publish);
        if (reason != MQTT_SUCCESS)
            return reason;
    }

    if (publish.qos == 2) {
        reason = accept_qos2(broker, link, &publish);
        if (reason != MQTT_SUCCESS)
            return reason;
    } else {
        reason = accept(broker, link, &publish);
        if (publish.qos == 1)
            link_send_ack(broker, link, PACKET_PUBACK, publish.packet_id, reason);
    }
    if (broker->congested)
        link_pause(broker, link);
    return MQTT_SUCCESS;
}

/* An exchange has ended: its place is free, and what waits may go. */
static void complete(struct broker *broker, struct session *session, struct flight_entry *entry)
{
    if (entry->delivery.message != NULL)
        session_let_go(broker, session, &entry->delivery);
    flight_leave(session->flight, entry);
    broker->statistics.inflight_messages--;
    if (session->backlog != NULL || session->flight->resend_count > 0 ||
        session_retain_waiting(session) != NULL)
        session_pump(broker, session);
}

/* Most acknowledgements are an identifier and nothing else. Sets `*ack`, or reads on. */
static enum mqtt_reason take_ack(const struct link *link, enum packet_type type,
                                 const struct frame *frame, struct ack *ack)
{
    const uint8_t *body = frame->body.data;
    if (frame->body.size == 2 && (body[0] | body[1]) != 0 &&
        frame->flags == (type == PACKET_PUBREL ? 2 : 0)) {
        *ack = (struct ack){.packet_id = (uint16_t)(body[0] << 8 | body[1])};
        return MQTT_SUCCESS;
    }
    return ack_decode(link->version, type, frame->flags, frame->body, ack);
}

enum mqtt_reason publishing_on_puback(struct broker *broker, struct link *link,
                                      const struct frame *frame)
{
    struct ack       ack;
    enum mqtt_reason reason = take_ack(link, PACKET_PUBACK, frame, &ack);
    if (reason != MQTT_SUCCESS)
        return reason;

    struct flight_entry *entry = flight_find(link->session->flight, ack.packet_id);
    if (entry == NULL)
        return MQTT_SUCCESS; /* of an exchange that ended with an older connection */
    if (flight_next_state(entry->state, FLIGHT_GOT_PUBACK) == FLIGHT_VIOLATION)
        return MQTT_PROTOCOL_ERROR;
    complete(broker, link->session, entry);
    return MQTT_SUCCESS;
}

enum mqtt_reason publishing_on_pubrec(struct broker *broker, struct link *link,
                                      const struct frame *frame)
{
    struct ack       ack;
    enum mqtt_reason reason = take_ack(link, PACKET_PUBREC, frame, &ack);
    if (reason != MQTT_SUCCESS)
        return reason;

    struct session      *session = link->session;
    struct flight_entry *entry = flight_find(session->flight, ack.packet_id);
    if (entry == NULL) {
        link_send_ack(broker, link, PACKET_PUBREL, ack.packet_id, MQTT_PACKET_ID_NOT_FOUND);
        return MQTT_SUCCESS;
    }
    bool    refused = ack.reason >= MQTT_UNSPECIFIED_ERROR;
    uint8_t next =
        flight_next_state(entry->state, refused ? FLIGHT_GOT_PUBREC_REFUSAL : FLIGHT_GOT_PUBREC);
    if (next == FLIGHT_VIOLATION)
        return MQTT_PROTOCOL_ERROR;
    if (next == FLIGHT_FREE) {
        complete(broker, session, entry);
        return MQTT_SUCCESS;
    }
    entry->state = next;
    if (entry->delivery.message != NULL) { /* the client has it now; the identifier stays */
        uint8_t qos = entry->delivery.qos;
        session_let_go(broker, session, &entry->delivery);
        entry->delivery.packet_id = ack.packet_id;
        entry->delivery.qos = qos;
    }
    link_send_ack(broker, link, PACKET_PUBREL, ack.packet_id, MQTT_SUCCESS);
    return MQTT_SUCCESS;
}

enum mqtt_reason publishing_on_pubrel(struct broker *broker, struct link *link,
                                      const struct frame *frame)
{
    struct ack       ack;
    enum mqtt_reason reason = take_ack(link, PACKET_PUBREL, frame, &ack);
    if (reason != MQTT_SUCCESS)
        return reason;
    bool known = received_remove(link->session, ack.packet_id);
    link_send_ack(broker, link, PACKET_PUBCOMP, ack.packet_id,
                  known ? MQTT_SUCCESS : MQTT_PACKET_ID_NOT_FOUND);
    return MQTT_SUCCESS;
}

enum mqtt_reason publishing_on_pubcomp(struct broker *broker, struct link *link,
                                       const struct frame *frame)
{
    struct ack       ack;
    enum mqtt_reason reason = take_ack(link, PACKET_PUBCOMP, frame, &ack);
    if (reason != MQTT_SUCCESS)
        return reason;

    struct flight_entry *entry = flight_find(link->session->flight, ack.packet_id);
    if (entry == NULL)
        return MQTT_SUCCESS;
    if (flight_next_state(entry->state, FLIGHT_GOT_PUBCOMP) == FLIGHT_VIOLATION)
        return MQTT_PROTOCOL_ERROR;
    complete(broker, link->session, entry);
    return MQTT_SUCCESS;
}
