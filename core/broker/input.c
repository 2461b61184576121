/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/input.h"

#include "core/broker/connecting.h"
#include "core/broker/publishing.h"
#include "core/broker/state.h"
#include "core/broker/subscribing.h"
#include "proto/disconnect.h"
#include "proto/frame.h"

typedef enum mqtt_reason (*frame_handler)(struct broker *broker, struct link *link,
                                          const struct frame *frame);

static enum mqtt_reason on_pingreq(struct broker *broker, struct link *link,
                                   const struct frame *frame)
{
    enum mqtt_reason reason = ping_decode(frame->flags, frame->body);
    if (reason != MQTT_SUCCESS)
        return reason;
    uint8_t *room = link_reserve(broker, link, PING_SIZE);
    if (room != NULL) {
        struct writer writer = {.at = room, .end = room + PING_SIZE};
        ping_write(PACKET_PINGRESP, &writer); /* [MQTT-3.12.4-1] */
    }
    return MQTT_SUCCESS;
}

#define IN_PHASE(phase) (1U << (phase))

struct packet_rule {
    frame_handler handle;
    unsigned      phases;
};

/* CONNECT stands apart (it may hand the link over); what has no row is never for a server. */
static const struct packet_rule packet_rules[PACKET_TYPE_COUNT] = {
    [PACKET_PUBLISH] = {publishing_on_publish, IN_PHASE(LINK_RUNNING)},
    [PACKET_PUBACK] = {publishing_on_puback, IN_PHASE(LINK_RUNNING)},
    [PACKET_PUBREC] = {publishing_on_pubrec, IN_PHASE(LINK_RUNNING)},
    [PACKET_PUBREL] = {publishing_on_pubrel, IN_PHASE(LINK_RUNNING)},
    [PACKET_PUBCOMP] = {publishing_on_pubcomp, IN_PHASE(LINK_RUNNING)},
    [PACKET_SUBSCRIBE] = {subscribing_on_subscribe, IN_PHASE(LINK_RUNNING)},
    [PACKET_UNSUBSCRIBE] = {subscribing_on_unsubscribe, IN_PHASE(LINK_RUNNING)},
    [PACKET_PINGREQ] = {on_pingreq, IN_PHASE(LINK_RUNNING)},
    [PACKET_DISCONNECT] = {connecting_on_disconnect,
                           IN_PHASE(LINK_RUNNING) | IN_PHASE(LINK_AUTHENTICATING)},
    [PACKET_AUTH] = {connecting_on_auth, IN_PHASE(LINK_RUNNING) | IN_PHASE(LINK_AUTHENTICATING)},
};

/* A violation: the reason goes out (MQTT 5), the connection closes (MQTT-4.13.1-1). */
static void violated(struct broker *broker, struct link *link, enum mqtt_reason reason,
                     uint8_t packet_type)
{
    broker->statistics.protocol_errors++;
    effects_log(&broker->effects, LOG_INFO, "client %s: packet type %u, closed with 0x%02x",
                link_name(broker, link), packet_type, (unsigned)reason);
    link_close(broker, link, reason);
}

/* One whole packet. False: it was not consumed, the link goes to another shard. */
static bool handle(struct broker *broker, struct link *link, const struct frame *frame)
{
    if (frame->type == PACKET_CONNECT && link->phase == LINK_GREETING) {
        bool handed_over = false;
        connecting_on_connect(broker, link, frame, &handed_over);
        return !handed_over;
    }

    const struct packet_rule *rule = &packet_rules[frame->type];
    enum mqtt_reason          reason = MQTT_PROTOCOL_ERROR;
    if (rule->handle != NULL && (rule->phases & IN_PHASE(link->phase)) != 0)
        reason = rule->handle(broker, link, frame);
    if (reason != MQTT_SUCCESS)
        violated(broker, link, reason, frame->type);
    return true;
}

/*
 * A packet whose end is not here yet. What may be refused by its first bytes is refused now, so
 * that nobody makes us wait for, or keep, what will not be taken.
 */
static void check_incomplete(struct broker *broker, struct link *link, const struct frame *frame,
                             uint32_t left)
{
    if (left == 0)
        return;
    if (link->phase == LINK_GREETING && frame->type != PACKET_CONNECT)
        violated(broker, link, MQTT_PROTOCOL_ERROR, frame->type);
    else if (frame->size > broker->options->limits.packet_size_max)
        violated(broker, link, MQTT_PACKET_TOO_LARGE, frame->type);
}

struct input_result input_take(struct broker *broker, struct link *link, struct slice bytes)
{
    struct input_result result = {0};
    while (link->phase != LINK_OVER && (link->flags & LINK_PAUSED) == 0) {
        struct slice rest = slice_of(bytes.data + result.consumed, bytes.size - result.consumed);
        struct frame frame;
        enum frame_status status = frame_decode(rest, &frame);
        if (status == FRAME_MALFORMED) {
            violated(broker, link, MQTT_MALFORMED_PACKET, frame.type);
            break;
        }
        if (status == FRAME_INCOMPLETE) {
            check_incomplete(broker, link, &frame, rest.size);
            result.frame_size = frame.size;
            break;
        }
        if (frame.size > broker->options->limits.packet_size_max) {
            violated(broker, link, MQTT_PACKET_TOO_LARGE, frame.type);
            break;
        }
        /* Whole packets count, not bytes: half a packet, dripped, keeps nobody alive. */
        link->heard_ms = (uint32_t)broker->now_ms;
        broker->statistics.packets_in++;
        if (!handle(broker, link, &frame))
            return result; /* handed over: the CONNECT goes along */
        result.consumed += frame.size;
    }
    if (link->phase == LINK_OVER)
        result = (struct input_result){.consumed = bytes.size};
    broker->statistics.bytes_in += result.consumed;
    return result;
}
