/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/fanout.h"

#include "core/base/memory.h"
#include "core/broker/aliases.h"
#include "core/broker/retaining.h"
#include "core/broker/routes.h"
#include "core/broker/sharing.h"
#include "core/broker/state.h"
#include "proto/publish.h"

#include <assert.h>

/* From this size on a payload is sent from where it lies; below, a copy is cheaper (bench/README).
 */
#define PAYLOAD_REFERENCE_MIN 4096U

/* From so many receivers on, a frame equal for all is encoded once. */
#define SHARED_FRAME_RECEIVERS_MIN 3U

struct message *fanout_message(struct broker *broker, struct fanout *fanout)
{
    if (fanout->message != NULL || fanout->failed)
        return fanout->message;

    if (fanout->origin != NULL) {
        fanout->message = message_create_proxy(fanout->origin_owner, fanout->origin);
        if (fanout->message != NULL)
            fanout->origin = NULL; /* its reference is the proxy's now */
    } else {
        uint8_t *room = NULL;
        fanout->message = message_create(broker->shard, (uint16_t)fanout->topic.size,
                                         fanout->forward.size, fanout->payload.size, &room);
        if (fanout->message != NULL) {
            struct message *message = fanout->message;
            struct writer   writer = {.at = room,
                                      .end = room + fanout->topic.size + fanout->forward.size +
                                             fanout->payload.size};
            write_slice(&writer, fanout->topic);
            write_slice(&writer, fanout->forward);
            write_slice(&writer, fanout->payload);
            message->qos = fanout->qos;
            message->flags = fanout->retain ? MESSAGE_RETAIN : 0;
            message->publisher = fanout->publisher;
            message->publisher_shard = fanout->publisher_shard;
            message->expires_ms = fanout->expires_ms;
        }
    }
    fanout->failed = fanout->message == NULL;
    return fanout->message;
}

static struct fanout fanout_views(const struct message *message)
{
    return (struct fanout){
        .topic = message_topic(message),
        .forward = message_forward(message),
        .payload = message_payload(message),
        .publisher = message->publisher,
        .publisher_shard = (uint16_t)message->publisher_shard,
        .expires_ms = message->expires_ms,
        .qos = message->qos,
        .retain = (message->flags & MESSAGE_RETAIN) != 0,
    };
}

struct fanout fanout_of_message(struct message *message)
{
    struct fanout fanout = fanout_views(message);
    fanout.message = message_retain(message);
    return fanout;
}

struct fanout fanout_of_parcel(const struct parcel *parcel)
{
    struct fanout fanout = fanout_views(parcel->pointer);
    fanout.origin = parcel->pointer;
    fanout.origin_owner = parcel->from;
    fanout.route_hint = fanout.publisher;
    return fanout;
}

static void release_frames(struct broker *broker, struct fanout *fanout)
{
    for (unsigned format = 0; format < 2; format++)
        for (unsigned qos = 0; qos < 3; qos++)
            if (fanout->frames[format][qos].data != NULL)
                outflow_run_release(&broker->outflows, fanout->frames[format][qos].chunk);
}

void fanout_end(struct broker *broker, struct fanout *fanout)
{
    if (fanout->shares_frames)
        release_frames(broker, fanout);
    if (fanout->message != NULL)
        message_release(fanout->message, broker->outboxes);
    if (fanout->origin != NULL)
        broker_post(broker, fanout->origin_owner,
                    (struct parcel){.kind = PARCEL_RELEASE, .pointer = fanout->origin});
}

/* The topic as it goes out on this link: an alias in its place, where one was agreed on. */
static bool use_alias(struct link *link, struct publish_head *head)
{
    struct link_extra *extra = link_extra_need(link);
    if (extra == NULL)
        return false;
    if (extra->aliases_out == NULL)
        extra->aliases_out = topic_aliases_create(link->alias_max_out);
    if (extra->aliases_out == NULL)
        return false;

    bool known = false;
    head->topic_alias = topic_aliases_assign(extra->aliases_out, head->topic, &known);
    if (known)
        head->topic = (struct slice){0};
    return true;
}

static void count_sent(struct broker *broker, uint8_t qos, uint32_t payload_size)
{
    broker->statistics.publish_out++;
    broker->statistics.publish_out_qos[qos]++;
    broker->statistics.publish_bytes_out += payload_size;
}

/* A frame that is the same for all links of this wire format, encoded when first asked for. */
static const struct shared_frame *shared_frame(struct broker *broker, struct fanout *fanout,
                                               uint8_t version, uint8_t qos)
{
    struct shared_frame *frame = &fanout->frames[version == MQTT_VERSION_5][qos];
    if (frame->data != NULL)
        return frame;

    struct publish_head head = {
        .topic = fanout->topic,
        .forward = fanout->forward,
        .payload_size = fanout->payload.size,
        .qos = qos,
        .packet_id = qos > 0, /* any: each link puts its own there */
    };
    uint32_t head_size = publish_head_size(version, &head);
    if (head_size == 0)
        return NULL;
    frame->size = head_size + fanout->payload.size;
    uint8_t *room = outflow_run_reserve(&broker->outflows, frame->size, &frame->chunk);
    if (room == NULL)
        return NULL;
    struct writer writer = {.at = room, .end = room + frame->size};
    publish_head_write(version, &head, &writer);
    write_slice(&writer, fanout->payload);
    frame->data = room;
    uint32_t topic_at = 1;
    while ((room[topic_at++] & 0x80) != 0)
        continue; /* the bytes of the remaining length */
    frame->packet_id_at = topic_at + (uint32_t)sizeof(uint16_t) + fanout->topic.size;
    return frame;
}

/* The shared frame that this link may get, or NULL (counted). */
static const struct shared_frame *frame_for(struct broker *broker, struct fanout *fanout,
                                            const struct link *link, uint8_t qos)
{
    const struct shared_frame *frame = shared_frame(broker, fanout, link->version, qos);
    if (frame == NULL)
        broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
    else if (frame->size > link->packet_size_max)
        broker->statistics.drops[DROP_TOO_LARGE]++;
    else
        return frame;
    return NULL;
}

/* QoS 1 and 2 with nothing of its own but the packet identifier. */
static bool send_stamped(struct broker *broker, struct fanout *fanout, struct link *link,
                         uint8_t qos, uint16_t packet_id)
{
    const struct shared_frame *frame = frame_for(broker, fanout, link, qos);
    uint8_t *room = frame != NULL ? link_reserve(broker, link, frame->size) : NULL;
    if (room == NULL)
        return false;
    memcpy(room, frame->data, frame->size);
    room[frame->packet_id_at] = (uint8_t)(packet_id >> 8);
    room[frame->packet_id_at + 1] = (uint8_t)packet_id;
    count_sent(broker, qos, fanout->payload.size);
    return true;
}

/* QoS 0 without anything of its own: refer to the bytes that all get. */
static bool send_shared(struct broker *broker, struct fanout *fanout, struct link *link)
{
    const struct shared_frame *frame = frame_for(broker, fanout, link, 0);
    if (frame == NULL)
        return false;
    if (link->outflow == NULL)
        link->outflow = outflow_take(&broker->outflows);
    if (link->outflow == NULL || !outflow_append_run(&broker->outflows, link->outflow, frame->chunk,
                                                     frame->data, frame->size)) {
        broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
        return false;
    }
    broker->statistics.packets_out++;
    count_sent(broker, 0, fanout->payload.size);
    link_dirty(broker, link);
    return true;
}

bool fanout_encode(struct broker *broker, struct fanout *fanout, struct link *link, uint8_t qos,
                   bool retain, bool duplicate, uint16_t packet_id, const uint32_t *identifiers,
                   uint32_t count)
{
    struct publish_head head = {
        .topic = fanout->topic,
        .forward = fanout->forward,
        .subscription_ids = identifiers,
        .subscription_id_count = count,
        .payload_size = fanout->payload.size,
        .packet_id = packet_id,
        .qos = qos,
        .retain = retain,
        .duplicate = duplicate,
    };
    if (fanout->expires_ms != 0) {
        /* What is left of it, rounded up: it never reads 0 before it is over (MQTT-3.3.2-6). */
        head.has_message_expiry = true;
        head.message_expiry_s = fanout->expires_ms > broker->now_ms
                                    ? (uint32_t)((fanout->expires_ms - broker->now_ms + 999) / 1000)
                                    : 0;
    }
    uint32_t whole = publish_head_size(link->version, &head);
    if (whole == 0 || (uint64_t)whole + head.payload_size > link->packet_size_max) {
        broker->statistics.drops[DROP_TOO_LARGE]++; /* [MQTT-3.1.2-24] [MQTT-3.1.2-25] */
        return false;
    }
    if (link->alias_max_out > 0 && !use_alias(link, &head)) {
        broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
        return false;
    }

    uint32_t head_size = link->alias_max_out > 0 ? publish_head_size(link->version, &head) : whole;
    bool     reference =
        head.payload_size >= PAYLOAD_REFERENCE_MIN && fanout_message(broker, fanout) != NULL;
    uint32_t size = reference ? head_size : head_size + head.payload_size;
    uint8_t *room = link_reserve(broker, link, size);
    if (room == NULL)
        return false;
    struct writer writer = {.at = room, .end = room + size};
    publish_head_write(link->version, &head, &writer);
    if (!reference)
        write_slice(&writer, fanout->payload);
    else if (!outflow_append_payload(&broker->outflows, link->outflow, fanout->message)) {
        link_abort(broker, link); /* half a packet is in the output */
        return false;
    }
    count_sent(broker, qos, head.payload_size);
    return true;
}

/* Makes the delivery that a queue or a flight keeps. */
static bool make_delivery(struct broker *broker, struct fanout *fanout, uint8_t qos, bool retain,
                          const uint32_t *identifiers, uint32_t count, uint32_t share,
                          struct delivery *delivery)
{
    struct message *message = fanout_message(broker, fanout);
    bool            failed = message == NULL;
    uint64_t        packed = failed ? 0 : identifiers_pack(identifiers, count, &failed);
    if (failed) {
        broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
        return false;
    }
    *delivery = (struct delivery){
        .message = message_retain(message),
        .identifiers = packed,
        .qos = qos,
        .flags = retain ? DELIVERY_RETAIN : 0,
        .share = share,
    };
    return true;
}

/* Straight into the link's output. False: this client does not get it. */
static bool send_now(struct broker *broker, struct fanout *fanout, struct link *link, uint8_t qos,
                     bool retain, uint16_t packet_id, const uint32_t *identifiers, uint32_t count)
{
    bool plain = fanout->shares_frames && !retain && count == 0 && fanout->expires_ms == 0 &&
                 link->alias_max_out == 0 && fanout->payload.size < PAYLOAD_REFERENCE_MIN;
    if (!plain)
        return fanout_encode(broker, fanout, link, qos, retain, false, packet_id, identifiers,
                             count);
    return qos == 0 ? send_shared(broker, fanout, link)
                    : send_stamped(broker, fanout, link, qos, packet_id);
}

void fanout_to_session(struct broker *broker, struct fanout *fanout, struct session *session,
                       uint8_t qos, bool retain, const uint32_t *identifiers, uint32_t count,
                       uint32_t share)
{
    struct link *link = session->link;
    bool         at_once = session_sends_at_once(broker, session, qos);
    if (at_once && qos == 0) {
        fanout->accepted += send_now(broker, fanout, link, 0, retain, 0, identifiers, count);
        return;
    }

    struct delivery delivery;
    if (!make_delivery(broker, fanout, qos, retain, identifiers, count, share, &delivery))
        return;
    if (!at_once) {
        bool taken = session_accept(broker, session, delivery);
        fanout->accepted += taken;
        fanout->refused += !taken;
        return;
    }
    struct flight_entry *entry = session_enter_flight(broker, session, delivery);
    if (entry == NULL)
        return;
    fanout->accepted++;
    if (!send_now(broker, fanout, link, qos, retain, entry->delivery.packet_id, identifiers,
                  count) &&
        link->phase == LINK_RUNNING)
        session_leave_flight(broker, session, entry);
}

static uint8_t smaller(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/*
 * What a delivery touches lies in half a dozen places for each receiver. Its turn comes in three
 * steps, so that a fan-out waits for none of them.
 */
enum { PREFETCH_SESSION = 12, PREFETCH_LINK = 8, PREFETCH_OUTPUT = 4 };

static void prefetch_ahead(const struct subscriber *subscribers, uint32_t at, uint32_t count,
                           uint8_t qos)
{
    if (at + PREFETCH_SESSION < count)
        __builtin_prefetch(subscribers[at + PREFETCH_SESSION].session);
    if (at + PREFETCH_LINK < count) {
        const struct session *session = subscribers[at + PREFETCH_LINK].session;
        __builtin_prefetch(session->link);
        if (qos > 0)
            __builtin_prefetch(session->flight);
    }
    if (at + PREFETCH_OUTPUT < count) {
        const struct session *session = subscribers[at + PREFETCH_OUTPUT].session;
        if (session->link != NULL)
            __builtin_prefetch(session->link->outflow);
        if (qos > 0 && session->flight != NULL)
            flight_prefetch(session->flight);
    }
}

/* One filter, so each session stands there at most once: nothing to merge. */
static void deliver_node(struct broker *broker, struct fanout *fanout, struct filter_node *node)
{
    struct subscriber *subscribers = filter_node_subscribers(node);
    for (uint32_t at = 0; at < node->subscriber_count; at++) {
        const struct subscriber *subscriber = &subscribers[at];
        struct session          *session = subscriber->session;
        prefetch_ahead(subscribers, at, node->subscriber_count, fanout->qos);
        if ((subscriber->flags & SUBSCRIBER_NO_LOCAL) != 0 && session->hash == fanout->publisher)
            continue; /* [MQTT-3.8.3-3] */
        bool retain = fanout->retain && (subscriber->flags & SUBSCRIBER_RETAIN_AS_PUBLISHED) != 0;
        fanout_to_session(broker, fanout, session, smaller(subscriber->qos, fanout->qos), retain,
                          &subscriber->subscription_id, subscriber->subscription_id != 0, 0);
    }
}

static struct match *match_of(struct broker *broker, struct session *session)
{
    if (session->match_epoch == broker->match_epoch)
        return &broker->matches[session->match_index];

    if (broker->match_count == broker->match_capacity) {
        broker->match_capacity = broker->match_capacity == 0 ? 64 : broker->match_capacity * 2;
        broker->matches =
            memory_need(broker->matches, broker->match_capacity * sizeof(*broker->matches));
    }
    session->match_epoch = broker->match_epoch;
    session->match_index = broker->match_count;
    struct match *match = &broker->matches[broker->match_count++];
    *match = (struct match){.session = session};
    return match;
}

static void match_add_identifier(struct broker *broker, struct match *match, uint32_t identifier)
{
    if (broker->match_identifier_count >= broker->match_identifier_capacity) {
        broker->match_identifier_capacity =
            broker->match_identifier_capacity == 0 ? 64 : broker->match_identifier_capacity * 2;
        broker->match_identifiers =
            memory_need(broker->match_identifiers,
                        broker->match_identifier_capacity * sizeof(*broker->match_identifiers));
    }
    broker->match_identifiers[broker->match_identifier_count] =
        (struct match_identifier){.identifier = identifier, .next = match->identifier_first};
    match->identifier_first = broker->match_identifier_count++;
    match->identifier_count++;
}

static void merge_node(struct broker *broker, const struct fanout *fanout, struct filter_node *node)
{
    struct subscriber *subscribers = filter_node_subscribers(node);
    for (uint32_t at = 0; at < node->subscriber_count; at++) {
        const struct subscriber *subscriber = &subscribers[at];
        if ((subscriber->flags & SUBSCRIBER_NO_LOCAL) != 0 &&
            subscriber->session->hash == fanout->publisher)
            continue;
        struct match *match = match_of(broker, subscriber->session);
        if (subscriber->qos > match->qos)
            match->qos = subscriber->qos;
        if ((subscriber->flags & SUBSCRIBER_RETAIN_AS_PUBLISHED) != 0)
            match->retain_as_published = true;
        if (subscriber->subscription_id != 0)
            match_add_identifier(broker, match, subscriber->subscription_id);
    }
}

/* All identifiers of a merged match, in a scratch array. */
static const uint32_t *match_identifiers(struct broker *broker, const struct match *match)
{
    if (match->identifier_count > broker->identifier_capacity) {
        broker->identifier_capacity = match->identifier_count * 2;
        broker->identifiers = memory_need(broker->identifiers, broker->identifier_capacity *
                                                                   sizeof(*broker->identifiers));
    }
    uint32_t count = 0;
    for (uint32_t at = match->identifier_first; at != 0; at = broker->match_identifiers[at].next)
        broker->identifiers[count++] = broker->match_identifiers[at].identifier;
    return broker->identifiers;
}

/*
 * Several filters match: a session that stands at more than one gets the message once, at the
 * highest QoS, with all identifiers (MQTT-3.3.4-2, -3).
 */
static void deliver_merged(struct broker *broker, struct fanout *fanout,
                           struct filter_node *const *nodes, uint32_t count)
{
    if (++broker->match_epoch == 0)
        broker->match_epoch = 1; /* new sessions begin with 0 */
    broker->match_count = 0;
    broker->match_identifier_count = 1;

    for (uint32_t at = 0; at < count; at++)
        merge_node(broker, fanout, nodes[at]);

    fanout->shares_frames = broker->match_count >= SHARED_FRAME_RECEIVERS_MIN;
    for (uint32_t at = 0; at < broker->match_count; at++) {
        const struct match *match = &broker->matches[at];
        fanout_to_session(broker, fanout, match->session, smaller(match->qos, fanout->qos),
                          fanout->retain && match->retain_as_published,
                          match_identifiers(broker, match), match->identifier_count, 0);
    }
}

static void deliver(struct broker *broker, struct fanout *fanout, const struct route *route)
{
    uint32_t plain = 0;
    for (uint32_t at = 0; at < route->count; at++) {
        plain += route->nodes[at]->subscriber_count > 0;
        if (route->nodes[at]->shares != NULL)
            sharing_deliver(broker, fanout, route->nodes[at]);
    }
    if (plain == 1 && route->count == 1) {
        fanout->shares_frames = route->nodes[0]->subscriber_count >= SHARED_FRAME_RECEIVERS_MIN;
        deliver_node(broker, fanout, route->nodes[0]);
    } else if (plain > 0) {
        deliver_merged(broker, fanout, route->nodes, route->count);
    }
}

void fanout_local(struct broker *broker, struct fanout *fanout)
{
    struct route route;
    route_of(broker, fanout->topic, fanout->route_hint, false, &route);
    if (route.count == 0 && fanout->origin != NULL)
        broker->statistics.parcels_false_positive++;
    deliver(broker, fanout, &route);
}

/* One parcel to every other shard that may have a subscriber. */
static void spread(struct broker *broker, struct fanout *fanout, const struct shard_set *interested)
{
    for (uint32_t word = 0; word < SHARDS_MAX / 64; word++) {
        for (uint64_t rest = interested->words[word]; rest != 0; rest &= rest - 1) {
            uint16_t target = (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(rest));
            if (target == broker->shard)
                continue;
            struct message *message = fanout_message(broker, fanout);
            if (message == NULL) {
                broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
                return;
            }
            broker_post(
                broker, target,
                (struct parcel){.kind = PARCEL_PUBLISH, .pointer = message_retain(message)});
            fanout->accepted++;
        }
    }
}

void fanout_everywhere(struct broker *broker, struct fanout *fanout)
{
    struct route route;
    route_of(broker, fanout->topic, fanout->route_hint, true, &route);
    spread(broker, fanout, &route.interested);
    if (fanout->retain)
        retaining_store(broker, fanout, &route.interested);
    deliver(broker, fanout, &route);
}
