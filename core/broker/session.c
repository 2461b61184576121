/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/session.h"

#include "core/broker/fanout.h"
#include "core/broker/link.h"
#include "core/broker/retaining.h"
#include "core/broker/sharing.h"
#include "core/broker/state.h"
#include "core/broker/subscribing.h"
#include "core/broker/will.h"

#include <assert.h>
#include <stdlib.h>

struct slice session_client_id(const struct session *session)
{
    bool outside = session->client_id_size > CLIENT_ID_INLINE;
    return slice_of(outside ? session->client_id.outside : session->client_id.here,
                    session->client_id_size);
}

struct session *session_find(struct broker *broker, uint64_t hash, struct slice client_id)
{
    return map_find(&broker->sessions_by_id, hash, client_id);
}

struct session *session_get(struct broker *broker, struct handle handle)
{
    return pool_get(broker->sessions, handle);
}

static bool store_client_id(struct session *session, struct slice client_id)
{
    session->client_id_size = (uint16_t)client_id.size;
    char *to = session->client_id.here;
    if (client_id.size > CLIENT_ID_INLINE) {
        to = malloc(client_id.size);
        if (to == NULL)
            return false;
        session->client_id.outside = to;
    }
    memcpy(to, client_id.data, client_id.size);
    return true;
}

static void free_client_id(struct session *session)
{
    if (session->client_id_size > CLIENT_ID_INLINE)
        free(session->client_id.outside);
}

struct session_extra *session_extra_need(struct session *session)
{
    if (session->extra == NULL)
        session->extra = calloc(1, sizeof(*session->extra));
    return session->extra;
}

void session_extra_trim(struct session *session)
{
    const struct session_extra *extra = session->extra;
    if (extra == NULL || extra->received != NULL || extra->will != NULL ||
        extra->retain_waiting != NULL || extra->share_number_last != 0)
        return;
    free(session->extra);
    session->extra = NULL;
}

struct session *session_create(struct broker *broker, uint64_t hash, struct slice client_id)
{
    uint64_t limit = broker_share_of(broker, broker->options->limits.sessions_max);
    if (limit != 0 && broker->statistics.sessions >= limit)
        return NULL;

    struct handle   self;
    struct session *session = pool_take(broker->sessions, &self);
    if (session == NULL)
        return NULL;
    session->hash = hash;
    alarm_init(&session->expiry, ALARM_SESSION_EXPIRY);
    if (!store_client_id(session, client_id))
        goto give_back;
    if (!map_insert(&broker->sessions_by_id, hash, session))
        goto free_id;

    broker->statistics.sessions++;
    broker->statistics.sessions_offline++;
    return session;

free_id:
    free_client_id(session);
give_back:
    pool_give(broker->sessions, self);
    return NULL;
}

struct share_subscription *session_share(const struct session *session, uint32_t number)
{
    for (struct share_subscription *share = session_shares(session); share != NULL;
         share = share->next)
        if (share->number == number)
            return share;
    return NULL;
}

void session_let_go(struct broker *broker, struct session *session, struct delivery *delivery)
{
    if (delivery->share != 0) {
        const struct share_subscription *share = session_share(session, delivery->share);
        if (share != NULL)
            sharing_settled(broker, session, share);
    }
    delivery_drop(delivery, broker->outboxes);
}

/* Backlogs and flights exist only while something is in them. */
static void backlog_release(struct broker *broker, struct session *session)
{
    backlog_destroy(session->backlog, broker->outboxes);
    session->backlog = NULL;
}

static struct delivery backlog_take_front(struct broker *broker, struct session *session)
{
    uint64_t        before = session->backlog->bytes;
    struct delivery delivery = backlog_pop(session->backlog);
    broker->statistics.queued_messages--;
    broker->statistics.queued_bytes -= before - session->backlog->bytes;
    return delivery;
}

static void drop(struct broker *broker, struct session *session, struct delivery *delivery,
                 enum drop_cause cause)
{
    broker->statistics.drops[cause]++;
    session_let_go(broker, session, delivery);
}

/* Gives the session's own flight and backlog up, counting what nobody will get. */
static void drop_waiting(struct broker *broker, struct session *session)
{
    if (session->backlog != NULL) {
        while (session->backlog->count > 0) {
            struct delivery delivery = backlog_take_front(broker, session);
            drop(broker, session, &delivery, DROP_SESSION_ENDED);
        }
        backlog_release(broker, session);
    }
    if (session->flight != NULL) {
        broker->statistics.inflight_messages -= session->flight->count;
        for (uint32_t at = 0; at < session->flight->capacity; at++) {
            struct flight_entry *entry = &session->flight->entries[at];
            if (entry->state != FLIGHT_FREE && entry->delivery.message != NULL)
                drop(broker, session, &entry->delivery, DROP_SESSION_ENDED);
        }
        flight_destroy(session->flight, broker->outboxes);
        session->flight = NULL;
    }
}

void session_end(struct broker *broker, struct session *session)
{
    assert(session->link == NULL);
    timer_wheel_disarm(broker->wheel, &session->expiry);

    subscribing_remove_all(broker, session);
    sharing_leave_all(broker, session);
    drop_waiting(broker, session);
    retaining_forget_session(broker, session);
    will_session_ends(broker, session); /* last: it is not for the session itself */

    map_remove(&broker->sessions_by_id, session->hash, session);
    free_client_id(session);
    if (session->extra != NULL)
        free(session->extra->received);
    free(session->extra);
    broker->statistics.sessions--;
    broker->statistics.sessions_offline--;
    pool_give(broker->sessions, pool_handle_of(session));
}

void session_detach(struct broker *broker, struct session *session)
{
    struct link *link = session->link;
    assert(link != NULL && link->session == session);

    link->session = NULL;
    session->link = NULL;
    broker->statistics.sessions_offline++;
    sharing_presence(broker, session, false);
    will_link_gone(broker, session);

    if (session->expiry_s == 0) {
        session_end(broker, session);
        return;
    }
    if (session->expiry_s != MQTT_SESSION_NEVER_EXPIRES)
        timer_wheel_arm(broker->wheel, &session->expiry,
                        broker->now_ms + (uint64_t)session->expiry_s * 1000);
    sharing_give_back_unsent(broker, session);
}

void session_attach(struct broker *broker, struct session *session, struct link *link)
{
    assert(session->link == NULL);
    session->link = link;
    link->session = session;
    link->received_before = (uint16_t)received_count(session);
    broker->statistics.sessions_offline--;
    timer_wheel_disarm(broker->wheel, &session->expiry);
    sharing_presence(broker, session, true);
    if (session->flight != NULL && !flight_resume(session->flight)) {
        effects_log(&broker->effects, LOG_ERROR, "client %s: out of memory, connection closed",
                    link_name(broker, link));
        link_abort(broker, link);
    }
}

static bool output_has_room(const struct broker *broker, const struct link *link)
{
    return link->outflow == NULL || link->outflow->size < broker->options->limits.output_buffer_max;
}

static bool window_open(const struct session *session)
{
    return session->flight == NULL || session->flight->charged < session->link->receive_maximum;
}

bool session_sends_at_once(const struct broker *broker, const struct session *session, uint8_t qos)
{
    const struct link *link = session->link;
    if (link == NULL || link->phase != LINK_RUNNING || session->backlog != NULL ||
        !output_has_room(broker, link))
        return false;
    if (session->flight != NULL && session->flight->resend_count > 0)
        return false; /* what is resent goes first */
    return qos == 0 || window_open(session);
}

/* Encodes what a delivery says; the message stays the caller's. */
static bool send_delivery(struct broker *broker, struct session *session,
                          const struct delivery *delivery, bool duplicate)
{
    uint32_t        single = 0;
    const uint32_t *identifiers = NULL;
    uint32_t        count = identifiers_view(delivery->identifiers, &single, &identifiers);
    struct fanout   fanout = fanout_of_message(delivery->message);

    bool sent = fanout_encode(broker, &fanout, session->link, delivery->qos,
                              (delivery->flags & DELIVERY_RETAIN) != 0, duplicate,
                              delivery->packet_id, identifiers, count);
    fanout_end(broker, &fanout);
    return sent;
}

struct flight_entry *session_enter_flight(struct broker *broker, struct session *session,
                                          struct delivery delivery)
{
    if (session->flight == NULL)
        session->flight = flight_create();
    struct flight_entry *entry =
        session->flight == NULL ? NULL : flight_enter(&session->flight, delivery);
    if (entry == NULL)
        drop(broker, session, &delivery, DROP_OUT_OF_MEMORY);
    else
        broker->statistics.inflight_messages++;
    return entry;
}

void session_leave_flight(struct broker *broker, struct session *session,
                          struct flight_entry *entry)
{
    session_let_go(broker, session, &entry->delivery);
    flight_leave(session->flight, entry);
    broker->statistics.inflight_messages--;
}

/* Sends one delivery now; it is in flight or done afterwards. */
static void send_now(struct broker *broker, struct session *session, struct delivery delivery)
{
    if (delivery.qos == 0) {
        send_delivery(broker, session, &delivery, false);
        session_let_go(broker, session, &delivery);
        return;
    }
    struct flight_entry *entry = session_enter_flight(broker, session, delivery);
    if (entry != NULL && !send_delivery(broker, session, &entry->delivery, false) &&
        session->link->phase == LINK_RUNNING)
        session_leave_flight(broker, session, entry);
}

/* Room in the backlog for one more, by the policy; false: refuse the new one. */
static bool make_room(struct broker *broker, struct session *session, uint64_t size)
{
    const struct options_limits *limits = &broker->options->limits;
    struct backlog              *backlog = session->backlog;

    if (limits->queue_bytes_max != 0 && size > limits->queue_bytes_max)
        return false; /* whatever goes to make room */
    while (backlog->count > 0 &&
           ((limits->queue_messages_max != 0 && backlog->count >= limits->queue_messages_max) ||
            (limits->queue_bytes_max != 0 && backlog->bytes + size > limits->queue_bytes_max))) {
        struct delivery oldest;
        uint64_t        before = backlog->bytes;
        switch (limits->queue_policy) {
        case OPTIONS_QUEUE_DROP_OLDEST:
            oldest = backlog_pop(backlog);
            break;
        case OPTIONS_QUEUE_DROP_QOS0_FIRST:
            if (!backlog_take_qos0(backlog, &oldest))
                return false;
            break;
        case OPTIONS_QUEUE_REFUSE_NEW:
        default:
            return false;
        }
        broker->statistics.queued_messages--;
        broker->statistics.queued_bytes -= before - backlog->bytes;
        drop(broker, session, &oldest, DROP_QUEUE_FULL);
    }
    return true;
}

bool session_accept(struct broker *broker, struct session *session, struct delivery delivery)
{
    if (session_sends_at_once(broker, session, delivery.qos)) {
        send_now(broker, session, delivery);
        return true;
    }
    if (delivery.qos == 0 && session->link == NULL && !broker->options->limits.queue_qos0_offline) {
        drop(broker, session, &delivery, DROP_QOS0_OFFLINE);
        return true; /* no fault of the publisher's */
    }

    if (session->backlog == NULL)
        session->backlog = backlog_create();
    if (session->backlog == NULL) {
        drop(broker, session, &delivery, DROP_OUT_OF_MEMORY);
        return false;
    }
    uint64_t size = delivery_size(&delivery);
    bool     fits = make_room(broker, session, size);
    if (!fits || !backlog_push(session->backlog, delivery)) {
        enum drop_cause cause = fits                ? DROP_OUT_OF_MEMORY
                                : delivery.qos == 0 ? DROP_QOS0_CONGESTED
                                                    : DROP_QUEUE_FULL;
        drop(broker, session, &delivery, cause);
        if (session->backlog->count == 0)
            backlog_release(broker, session);
        return false;
    }
    broker->statistics.queued_messages++;
    broker->statistics.queued_bytes += size;
    return true;
}

/* One entry of the last connection: PUBLISH again with DUP, or PUBREL (MQTT-4.4.0-1). */
static void resend(struct broker *broker, struct session *session, struct flight_entry *entry)
{
    if (entry->state == FLIGHT_AWAITS_PUBCOMP) {
        link_send_ack(broker, session->link, PACKET_PUBREL, entry->delivery.packet_id,
                      MQTT_SUCCESS);
        return;
    }
    if (send_delivery(broker, session, &entry->delivery, true)) {
        entry->charged = true;
        session->flight->charged++;
    } else if (session->link->phase == LINK_RUNNING) {
        session_leave_flight(broker, session, entry);
    }
}

static bool pump_resends(struct broker *broker, struct session *session)
{
    while (session->flight != NULL && session->link->phase == LINK_RUNNING) {
        struct flight_entry *entry = flight_to_resend(session->flight);
        if (entry == NULL)
            return true;
        if (!output_has_room(broker, session->link) ||
            (entry->state != FLIGHT_AWAITS_PUBCOMP && !window_open(session)))
            return false;
        resend(broker, session, entry);
        flight_resent(session->flight);
    }
    return true;
}

void session_pump(struct broker *broker, struct session *session)
{
    struct link *link = session->link;
    if (link == NULL || !pump_resends(broker, session))
        return;

    while (session->backlog != NULL && link->phase == LINK_RUNNING &&
           output_has_room(broker, link)) {
        struct delivery *front = backlog_front(session->backlog);
        if (front == NULL) {
            backlog_release(broker, session);
            break;
        }
        bool expired = message_expired(front->message, broker->now_ms);
        if (!expired && front->qos > 0 && !window_open(session))
            break;
        struct delivery delivery = backlog_take_front(broker, session);
        if (expired)
            drop(broker, session, &delivery, DROP_EXPIRED);
        else
            send_now(broker, session, delivery);
    }
    if (session->backlog == NULL && session_retain_waiting(session) != NULL)
        retaining_go_on(broker, session);
}

void session_trim(struct session *session)
{
    if (session->flight != NULL && session->flight->count == 0) {
        flight_destroy(session->flight, NULL); /* empty: nothing to release */
        session->flight = NULL;
    }
    if (session->extra != NULL && received_count(session) == 0) {
        free(session->extra->received);
        session->extra->received = NULL;
    }
    session_extra_trim(session);
}

bool received_has(const struct session *session, uint16_t packet_id)
{
    for (uint32_t at = 0; at < received_count(session); at++)
        if (session->extra->received->ids[at] == packet_id)
            return true;
    return false;
}

bool received_add(struct session *session, uint16_t packet_id)
{
    struct session_extra *extra = session_extra_need(session);
    if (extra == NULL)
        return false;
    struct received_ids *received = extra->received;
    if (received == NULL || received->count == received->capacity) {
        uint32_t             capacity = received == NULL ? 8 : received->capacity * 2;
        struct received_ids *larger =
            realloc(received, sizeof(*received) + capacity * sizeof(received->ids[0]));
        if (larger == NULL)
            return false;
        if (received == NULL)
            larger->count = 0;
        larger->capacity = capacity;
        extra->received = received = larger;
    }
    received->ids[received->count++] = packet_id;
    return true;
}

bool received_remove(struct session *session, uint16_t packet_id)
{
    for (uint32_t at = 0; at < received_count(session); at++) {
        struct received_ids *received = session->extra->received;
        if (received->ids[at] == packet_id) {
            received->ids[at] = received->ids[--received->count];
            return true;
        }
    }
    return false;
}
