/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/link.h"

#include "core/base/memory.h"
#include "core/broker/aliases.h"
#include "core/broker/reason_text.h"
#include "core/broker/state.h"
#include "proto/ack.h"
#include "proto/disconnect.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Closing orders are given once; output that waits is sent first, but for an abort. */
static void order_end(struct broker *broker, struct link *link, enum order_kind kind)
{
    assert(link->phase != LINK_OVER);
    if (link->phase != LINK_RUNNING)
        broker->statistics.greeting--;
    link->phase = LINK_OVER;
    timer_wheel_disarm(broker->wheel, &link->alarm);
    effects_order(&broker->effects, kind, pool_handle_of(link), 0);
}

void link_dirty(struct broker *broker, struct link *link)
{
    if ((link->flags & LINK_DIRTY) != 0)
        return;
    link->flags |= LINK_DIRTY;
    effects_flush(&broker->effects, pool_handle_of(link));
}

uint8_t *link_reserve(struct broker *broker, struct link *link, uint32_t size)
{
    if (link->phase == LINK_OVER)
        return NULL;
    if (size > link->packet_size_max) { /* an answer that must come, and may not [MQTT-3.1.2-24] */
        effects_log(&broker->effects, LOG_INFO,
                    "client %s: takes no packet of %u bytes, connection closed",
                    link_name(broker, link), size);
        link_abort(broker, link);
        return NULL;
    }
    if (link->outflow == NULL)
        link->outflow = outflow_take(&broker->outflows);

    uint8_t *room = link->outflow == NULL
                        ? NULL
                        : outflow_append(&broker->outflows, link->outflow, size, link->chunk_class);
    if (room == NULL) {
        effects_log(&broker->effects, LOG_ERROR, "client %s: out of memory, connection closed",
                    link_name(broker, link));
        link_abort(broker, link);
        return NULL;
    }
    broker->statistics.packets_out++;
    link_dirty(broker, link);
    return room;
}

/* Longer than any packet that carries a reason string is without it. */
#define REASON_PACKET_SIZE 256U

struct slice link_reason_text(const struct broker *broker, const struct link *link,
                              enum mqtt_reason reason)
{
    bool wanted = broker->options->protocol.reason_strings && link->version == MQTT_VERSION_5 &&
                  link->packet_size_max >= REASON_PACKET_SIZE;
    return wanted ? reason_text(reason) : (struct slice){0};
}

void link_send_ack(struct broker *broker, struct link *link, enum packet_type type,
                   uint16_t packet_id, enum mqtt_reason reason)
{
    struct ack ack = {.packet_id = packet_id, .reason = reason};
    if (reason >= MQTT_UNSPECIFIED_ERROR && (link->flags & LINK_PROBLEM_INFO) != 0)
        ack.reason_string = link_reason_text(broker, link, reason); /* [MQTT-3.1.2-29] */
    uint32_t size = ack_size(link->version, &ack);
    uint8_t *room = link_reserve(broker, link, size);
    if (room == NULL)
        return;
    struct writer writer = {.at = room, .end = room + size};
    ack_write(link->version, type, &ack, &writer);
}

static void send_disconnect(struct broker *broker, struct link *link, enum mqtt_reason reason)
{
    struct disconnect disconnect = {
        .reason = reason,
        .reason_string = link_reason_text(broker, link, reason),
    };
    uint32_t size = disconnect_size(link->version, &disconnect);
    uint8_t *room = link_reserve(broker, link, size);
    if (room == NULL)
        return;
    struct writer writer = {.at = room, .end = room + size};
    disconnect_write(link->version, &disconnect, &writer);
}

void link_close(struct broker *broker, struct link *link, enum mqtt_reason reason)
{
    if (link->phase == LINK_OVER)
        return;
    /* Before MQTT 5 a server has no DISCONNECT, and none goes out before CONNACK. */
    if (reason != MQTT_SUCCESS && link->phase == LINK_RUNNING && link->version == MQTT_VERSION_5)
        send_disconnect(broker, link, reason);
    if (link->phase == LINK_OVER)
        return; /* no memory for the DISCONNECT */
    struct session *session = link->session;
    order_end(broker, link, ORDER_CLOSE);
    if (session != NULL)
        session_detach(broker, session);
}

void link_hang_up(struct broker *broker, struct link *link)
{
    if (link->phase == LINK_OVER)
        return;
    struct session *session = link->session;
    order_end(broker, link, ORDER_ABORT);
    if (session != NULL)
        session_detach(broker, session);
}

void link_hand_over(struct broker *broker, struct link *link, uint16_t target)
{
    assert(link->phase == LINK_GREETING);
    broker->statistics.greeting--;
    broker->statistics.handovers_out++;
    link->phase = LINK_OVER;
    link->flags |= LINK_HANDED_OVER;
    timer_wheel_disarm(broker->wheel, &link->alarm);
    effects_order(&broker->effects, ORDER_HANDOVER, pool_handle_of(link), target);
}

void link_abort(struct broker *broker, struct link *link)
{
    if (link->phase == LINK_OVER)
        return;
    order_end(broker, link, ORDER_ABORT);
    if (link->session == NULL)
        return;
    if (broker->aborted_count == broker->aborted_capacity) {
        broker->aborted_capacity =
            broker->aborted_capacity == 0 ? 64 : broker->aborted_capacity * 2;
        broker->aborted =
            memory_need(broker->aborted, broker->aborted_capacity * sizeof(*broker->aborted));
    }
    broker->aborted[broker->aborted_count++] = pool_handle_of(link);
}

void link_detach_aborted(struct broker *broker)
{
    for (uint32_t at = 0; at < broker->aborted_count; at++) {
        const struct link *link = pool_get(broker->links, broker->aborted[at]);
        if (link != NULL && link->session != NULL)
            session_detach(broker, link->session);
    }
    broker->aborted_count = 0;
}

struct link_extra *link_extra_need(struct link *link)
{
    if (link->extra == NULL)
        link->extra = calloc(1, sizeof(*link->extra));
    return link->extra;
}

void link_extra_free(struct link *link)
{
    struct link_extra *extra = link->extra;
    if (extra == NULL)
        return;
    topic_aliases_destroy(extra->aliases_in);
    topic_aliases_destroy(extra->aliases_out);
    authentication_destroy(extra->authentication);
    free(extra->greeting);
    free(extra);
    link->extra = NULL;
}

void link_pause(struct broker *broker, struct link *link)
{
    if ((link->flags & LINK_PAUSED) != 0 || link->phase == LINK_OVER)
        return;
    if (broker->paused_count == broker->paused_capacity) {
        broker->paused_capacity = broker->paused_capacity == 0 ? 64 : broker->paused_capacity * 2;
        broker->paused =
            memory_need(broker->paused, broker->paused_capacity * sizeof(*broker->paused));
    }
    broker->paused[broker->paused_count++] = pool_handle_of(link);
    link->flags |= LINK_PAUSED;
    broker->statistics.reads_paused++;
    effects_order(&broker->effects, ORDER_PAUSE, pool_handle_of(link), 0);
}

const char *link_name(const struct broker *broker, const struct link *link)
{
    static _Thread_local char name[96];
    if (link->session == NULL) {
        (void)snprintf(name, sizeof(name), "(connection %u of shard %u)", pool_handle_of(link).slot,
                       broker->shard);
        return name;
    }
    struct slice id = session_client_id(link->session);
    (void)snprintf(name, sizeof(name), "%.*s", id.size < 80 ? (int)id.size : 80,
                   (const char *)id.data);
    return name;
}
