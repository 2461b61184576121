/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/subscribing.h"

#include "core/broker/retaining.h"
#include "core/broker/sharing.h"
#include "core/broker/state.h"
#include "proto/subscribe.h"
#include "proto/topic.h"

#include <assert.h>
#include <stdlib.h>

struct wait_entry {
    uint8_t code;           /* what SUBACK says */
    bool    sends_retained; /* once everything is answered */
};

struct subscribe_wait {
    struct list        link_of_waits; /* in the broker's list, until it is finished */
    struct handle      session;
    struct handle      link; /* SUBACK goes nowhere else */
    enum mqtt_version  version;
    uint16_t           packet_id;
    uint32_t           subscription_id;
    uint32_t           count;
    uint32_t           missing;
    uint8_t           *body; /* copy of the packet: the filters are read again for retained ones */
    uint32_t           body_size;
    uint8_t            flags;
    struct wait_entry *entries;
};

static struct subscription *subscriptions_of(struct session *session)
{
    return session->subscription_count > 1 ? session->subscriptions.many
                                           : &session->subscriptions.one;
}

static struct subscription *subscription_of(struct session *session, const struct filter_node *node)
{
    struct subscription *all = subscriptions_of(session);
    for (uint32_t at = 0; at < session->subscription_count; at++)
        if (all[at].node == node)
            return &all[at];
    return NULL;
}

/* An array has room for the next power of two: no need to remember it. */
static bool session_add(struct session *session, struct subscription subscription)
{
    uint32_t count = session->subscription_count;
    if (count > 0 && (count & (count - 1)) == 0) {
        struct subscription *many = realloc(count > 1 ? session->subscriptions.many : NULL,
                                            (size_t)count * 2 * sizeof(*many));
        if (many == NULL)
            return false;
        if (count == 1)
            many[0] = session->subscriptions.one;
        session->subscriptions.many = many;
    }
    session->subscription_count++;
    subscriptions_of(session)[count] = subscription;
    return true;
}

static void session_take_out(struct session *session, struct subscription *subscription)
{
    struct subscription *all = subscriptions_of(session);
    *subscription = all[session->subscription_count - 1];
    if (session->subscription_count == 2) {
        session->subscriptions.one = all[0];
        free(all);
    }
    session->subscription_count--;
}

/* The same for the other side: most filters have one subscriber most of the time. */
static bool node_add(struct filter_node *node, const struct subscriber *subscriber)
{
    uint32_t count = node->subscriber_count;
    if (count > 0 && (count & (count - 1)) == 0) {
        struct subscriber *many =
            realloc(count > 1 ? node->subscribers.many : NULL, (size_t)count * 2 * sizeof(*many));
        if (many == NULL)
            return false;
        if (count == 1)
            many[0] = node->subscribers.one;
        node->subscribers.many = many;
    }
    node->subscriber_count++;
    filter_node_subscribers(node)[count] = *subscriber;
    return true;
}

static void node_take_out(struct filter_node *node, uint32_t index)
{
    struct subscriber *all = filter_node_subscribers(node);
    all[index] = all[node->subscriber_count - 1];
    if (node->subscriber_count == 2) {
        node->subscribers.one = all[0];
        free(all);
    }
    node->subscriber_count--;
}

static bool add_subscriber(struct session *session, struct filter_node *node,
                           const struct subscriber *subscriber)
{
    struct subscription subscription = {.node = node, .index = node->subscriber_count};
    if (!node_add(node, subscriber))
        return false;
    if (!session_add(session, subscription)) {
        node_take_out(node, subscription.index);
        return false;
    }
    return true;
}

static void remove_subscriber(struct broker *broker, struct session *session,
                              struct subscription *subscription)
{
    struct filter_node      *node = subscription->node;
    uint32_t                 index = subscription->index;
    const struct subscriber *subscriber = &filter_node_subscribers(node)[index];
    assert(subscriber->session == session);
    if ((subscriber->flags & SUBSCRIBER_BROUGHT_SHAPE) != 0)
        session->shape_count--;

    session_take_out(session, subscription);
    node_take_out(node, index);
    if (index < node->subscriber_count) /* the last has moved here */
        subscription_of(filter_node_subscribers(node)[index].session, node)->index = index;
    broker->statistics.subscriptions--;
    subscribing_trim_node(broker, node);
}

void subscribing_trim_node(struct broker *broker, struct filter_node *node)
{
    if (node->subscriber_count > 0 || node->shares != NULL)
        return;
    interest_withdraw(broker, node);
    topic_index_remove(broker->index, node);
}

void subscribing_remove_all(struct broker *broker, struct session *session)
{
    while (session->subscription_count > 0)
        remove_subscriber(broker, session,
                          &subscriptions_of(session)[session->subscription_count - 1]);
}

static void wait_free(struct subscribe_wait *wait)
{
    list_remove(&wait->link_of_waits);
    free(wait->entries);
    free(wait->body);
    free(wait);
}

void subscribing_fini(struct broker *broker)
{
    while (!list_empty(&broker->waits))
        wait_free(container_of(list_first(&broker->waits), struct subscribe_wait, link_of_waits));
}

static struct subscribe_wait *wait_create(struct broker *broker, const struct link *link,
                                          const struct frame     *frame,
                                          const struct subscribe *subscribe)
{
    struct subscribe_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL)
        return NULL;
    list_append(&broker->waits, &wait->link_of_waits);
    wait->session = pool_handle_of(link->session);
    wait->link = pool_handle_of(link);
    wait->version = link->version;
    wait->packet_id = subscribe->packet_id;
    wait->subscription_id = subscribe->subscription_id;
    wait->count = subscribe->entry_count;
    wait->missing = 1; /* ours, until all entries were begun */
    wait->flags = frame->flags;
    wait->body_size = frame->body.size;
    wait->body = malloc(frame->body.size);
    wait->entries = calloc(wait->count, sizeof(*wait->entries));
    if (wait->body == NULL || wait->entries == NULL) {
        wait_free(wait);
        return NULL;
    }
    memcpy(wait->body, frame->body.data, frame->body.size);
    return wait;
}

static bool send_suback(struct broker *broker, struct link *link, enum packet_type type,
                        uint16_t packet_id, const uint8_t *codes, uint32_t count)
{
    struct suback suback = {.packet_id = packet_id, .count = count, .codes = codes};
    uint32_t      size = suback_size(link->version, type, &suback);
    uint8_t      *room = link_reserve(broker, link, size);
    if (room == NULL)
        return false;
    struct writer writer = {.at = room, .end = room + size};
    suback_write(link->version, type, &suback, &writer);
    return true;
}

static void ask_retained(struct broker *broker, struct session *session,
                         const struct subscribe_wait *wait)
{
    struct subscribe       subscribe;
    struct subscribe_entry entry;
    enum mqtt_reason       reason = subscribe_decode(wait->version, wait->flags,
                                                     slice_of(wait->body, wait->body_size), &subscribe);
    assert(reason == MQTT_SUCCESS);
    (void)reason;

    for (uint32_t at = 0; subscribe_next(wait->version, &subscribe, &entry); at++) {
        if (!wait->entries[at].sends_retained || wait->entries[at].code >= 0x80)
            continue;
        struct retain_ask ask = {
            .session = pool_handle_of(session),
            .filter = entry.filter,
            .qos = wait->entries[at].code,
            .subscription_id = wait->subscription_id,
        };
        retaining_ask(broker, &ask);
    }
}

/* All answers are in: SUBACK, then the retained messages. */
static void wait_finish(struct broker *broker, struct subscribe_wait *wait)
{
    struct session *session = session_get(broker, wait->session);
    struct link    *link = pool_get(broker->links, wait->link);
    if (session != NULL && link != NULL && link->session == session) {
        uint8_t *codes = malloc(wait->count);
        if (codes != NULL) {
            for (uint32_t at = 0; at < wait->count; at++) {
                uint8_t code = wait->entries[at].code;
                codes[at] = code >= 0x80 && wait->version != MQTT_VERSION_5 ? 0x80 : code;
            }
            send_suback(broker, link, PACKET_SUBACK, wait->packet_id, codes, wait->count);
            free(codes);
        } else {
            link_abort(broker, link);
        }
    }
    if (session != NULL)
        ask_retained(broker, session, wait);
    wait_free(wait);
}

void subscribing_answered(struct broker *broker, struct subscribe_wait *wait, uint32_t entry,
                          enum mqtt_reason reason)
{
    assert(wait->missing > 0);
    if (reason != MQTT_SUCCESS)
        wait->entries[entry].code = (uint8_t)reason;
    if (--wait->missing == 0)
        wait_finish(broker, wait);
}

/* The filter of entry `entry`, once more from the packet's copy. */
static struct slice wait_filter(const struct subscribe_wait *wait, uint32_t entry)
{
    struct subscribe       subscribe;
    struct subscribe_entry at = {0};
    if (subscribe_decode(wait->version, wait->flags, slice_of(wait->body, wait->body_size),
                         &subscribe) != MQTT_SUCCESS)
        return (struct slice){0};
    for (uint32_t number = 0; number <= entry; number++)
        subscribe_next(wait->version, &subscribe, &at);
    return at.filter;
}

/* The home has answered; where it could not take the filter, the subscription is taken back. */
static void on_announced(struct broker *broker, void *context, uint32_t entry, bool done)
{
    struct subscribe_wait *wait = context;
    struct session        *session = session_get(broker, wait->session);
    if (!done && session != NULL) {
        struct filter_node  *node = topic_index_find(broker->index, wait_filter(wait, entry));
        struct subscription *subscription = node != NULL ? subscription_of(session, node) : NULL;
        if (subscription != NULL)
            remove_subscriber(broker, session, subscription);
    }
    subscribing_answered(broker, wait, entry, done ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED);
}

/* What a filter may not be, whatever else is there. */
static enum mqtt_reason check_filter(const struct broker *broker, struct slice filter)
{
    const struct options *options = broker->options;
    if (!topic_filter_valid(filter) || filter.size > options->limits.topic_size_max ||
        topic_levels(filter) > options->limits.topic_levels_max)
        return MQTT_TOPIC_FILTER_INVALID;
    if (!options->protocol.wildcard_subscriptions && topic_filter_has_wildcard(filter))
        return MQTT_WILDCARDS_NOT_SUPPORTED;
    return MQTT_SUCCESS;
}

static uint8_t subscriber_flags(const struct subscribe_options *options)
{
    return (uint8_t)((options->no_local ? SUBSCRIBER_NO_LOCAL : 0) |
                     (options->retain_as_published ? SUBSCRIBER_RETAIN_AS_PUBLISHED : 0));
}

static bool has_room(const struct broker *broker, const struct session *session)
{
    uint32_t limit = broker->options->limits.subscriptions_per_client_max;
    uint32_t shares = session->extra != NULL ? session->extra->share_count : 0;
    return limit == 0 || session->subscription_count + shares < limit;
}

/* One plain filter; MQTT_SUCCESS: granted, or on its way (`wait` is counted up). */
static enum mqtt_reason subscribe_plain(struct broker *broker, struct session *session,
                                        const struct subscribe_entry *entry,
                                        struct subscribe_wait *wait, uint32_t number)
{
    enum mqtt_reason reason = check_filter(broker, entry->filter);
    if (reason != MQTT_SUCCESS)
        return reason;

    struct subscriber subscriber = {
        .session = session,
        .subscription_id = wait->subscription_id,
        .qos = wait->entries[number].code,
        .flags = subscriber_flags(&entry->options),
    };
    struct filter_node  *node = topic_index_find(broker->index, entry->filter);
    struct subscription *existing = node != NULL ? subscription_of(session, node) : NULL;
    bool                 is_new = existing == NULL;
    wait->entries[number].sends_retained =
        entry->options.retain_handling == 0 || (entry->options.retain_handling == 1 && is_new);
    if (!is_new) { /* [MQTT-3.8.4-3] */
        struct subscriber *old = &filter_node_subscribers(node)[existing->index];
        subscriber.flags |= old->flags & SUBSCRIBER_BROUGHT_SHAPE;
        *old = subscriber;
        /* The first SUBSCRIBE may still wait for the home: this SUBACK says as much as that one. */
        wait->missing++;
        if (interest_announce(broker, node, false, on_announced, wait, number))
            wait->missing--;
        return MQTT_SUCCESS;
    }

    bool created = false;
    if (!has_room(broker, session))
        return MQTT_QUOTA_EXCEEDED;
    if (node == NULL) {
        bool new_shape = topic_index_shape_is_new(broker->index, entry->filter);
        if (new_shape &&
            session->shape_count >= broker->options->limits.filter_shapes_per_client_max)
            return MQTT_QUOTA_EXCEEDED;
        node = topic_index_insert(broker->index, entry->filter, &created);
        if (node == NULL)
            return MQTT_QUOTA_EXCEEDED;
        if (new_shape)
            subscriber.flags |= SUBSCRIBER_BROUGHT_SHAPE;
    }
    if (!add_subscriber(session, node, &subscriber)) {
        if (created)
            topic_index_remove(broker->index, node);
        return MQTT_QUOTA_EXCEEDED;
    }
    if ((subscriber.flags & SUBSCRIBER_BROUGHT_SHAPE) != 0)
        session->shape_count++;
    broker->statistics.subscriptions++;
    wait->missing++;
    if (interest_announce(broker, node, created, on_announced, wait, number))
        wait->missing--;
    return MQTT_SUCCESS;
}

static enum mqtt_reason subscribe_shared(struct broker *broker, struct session *session,
                                         const struct subscribe_entry *entry, bool valid,
                                         struct slice filter, struct subscribe_wait *wait,
                                         uint32_t number)
{
    if (!valid)
        return MQTT_TOPIC_FILTER_INVALID;
    if (!broker->options->protocol.shared_subscriptions)
        return MQTT_SHARED_NOT_SUPPORTED;
    enum mqtt_reason reason = check_filter(broker, filter);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (!has_room(broker, session) && !sharing_has(session, entry->filter))
        return MQTT_QUOTA_EXCEEDED;

    struct sharing_member member = {
        .name = entry->filter,
        .subscription_id = wait->subscription_id,
        .qos = wait->entries[number].code,
        .flags = subscriber_flags(&entry->options),
    };
    wait->missing++;
    if (sharing_join(broker, session, &member, wait, number))
        return MQTT_SUCCESS;
    wait->missing--;
    return MQTT_QUOTA_EXCEEDED;
}

/* No Local makes no sense in a group and is a protocol error [MQTT-3.8.3-4]. */
static bool shared_no_local(enum mqtt_version version, struct subscribe subscribe)
{
    struct subscribe_entry entry;
    bool                   valid = false;
    struct slice           group;
    struct slice           filter;
    while (subscribe_next(version, &subscribe, &entry))
        if (entry.options.no_local && topic_share_split(entry.filter, &valid, &group, &filter))
            return true;
    return false;
}

enum mqtt_reason subscribing_on_subscribe(struct broker *broker, struct link *link,
                                          const struct frame *frame)
{
    struct subscribe subscribe;
    enum mqtt_reason reason =
        subscribe_decode(link->version, frame->flags, frame->body, &subscribe);
    if (reason != MQTT_SUCCESS)
        return reason;
    const struct options *options = broker->options;
    if (subscribe.user_property_count > options->limits.user_properties_max)
        return MQTT_QUOTA_EXCEEDED;
    if (subscribe.subscription_id != 0 && !options->protocol.subscription_identifiers)
        return MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED;
    if (shared_no_local(link->version, subscribe))
        return MQTT_PROTOCOL_ERROR;

    struct session        *session = link->session;
    struct subscribe_wait *wait = wait_create(broker, link, frame, &subscribe);
    if (wait == NULL)
        return MQTT_QUOTA_EXCEEDED;

    struct subscribe_entry entry;
    for (uint32_t at = 0; subscribe_next(link->version, &subscribe, &entry); at++) {
        bool         valid = false;
        struct slice group = {0};
        struct slice filter = {0};
        uint8_t      qos = entry.options.qos;
        wait->entries[at].code =
            qos < options->protocol.maximum_qos ? qos : options->protocol.maximum_qos;
        if (at >= options->limits.filters_per_packet_max)
            reason = MQTT_QUOTA_EXCEEDED;
        else if (!topic_share_split(entry.filter, &valid, &group, &filter))
            reason = subscribe_plain(broker, session, &entry, wait, at);
        else
            reason = subscribe_shared(broker, session, &entry, valid, filter, wait, at);
        if (reason != MQTT_SUCCESS)
            wait->entries[at].code = (uint8_t)reason;
    }
    subscribing_answered(broker, wait, 0, MQTT_SUCCESS);
    return MQTT_SUCCESS;
}

static enum mqtt_reason unsubscribe_one(struct broker *broker, struct session *session,
                                        struct slice whole)
{
    bool         valid = false;
    struct slice group;
    struct slice filter;
    if (topic_share_split(whole, &valid, &group, &filter)) {
        if (!valid)
            return MQTT_TOPIC_FILTER_INVALID;
        return sharing_leave(broker, session, whole) ? MQTT_SUCCESS : MQTT_NO_SUBSCRIPTION_EXISTED;
    }
    if (!topic_filter_valid(whole))
        return MQTT_TOPIC_FILTER_INVALID;

    struct filter_node  *node = topic_index_find(broker->index, whole);
    struct subscription *subscription = node != NULL ? subscription_of(session, node) : NULL;
    if (subscription == NULL)
        return MQTT_NO_SUBSCRIPTION_EXISTED;
    remove_subscriber(broker, session, subscription);
    return MQTT_SUCCESS;
}

enum mqtt_reason subscribing_on_unsubscribe(struct broker *broker, struct link *link,
                                            const struct frame *frame)
{
    struct subscribe unsubscribe;
    enum mqtt_reason reason =
        unsubscribe_decode(link->version, frame->flags, frame->body, &unsubscribe);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (unsubscribe.user_property_count > broker->options->limits.user_properties_max)
        return MQTT_QUOTA_EXCEEDED;

    uint8_t *codes = malloc(unsubscribe.entry_count);
    if (codes == NULL)
        return MQTT_QUOTA_EXCEEDED;
    struct slice filter;
    uint32_t     count = 0;
    while (unsubscribe_next(&unsubscribe, &filter)) {
        codes[count] = count < broker->options->limits.filters_per_packet_max
                           ? (uint8_t)unsubscribe_one(broker, link->session, filter)
                           : MQTT_IMPLEMENTATION_ERROR; /* UNSUBACK has no quota */
        count++;
    }
    send_suback(broker, link, PACKET_UNSUBACK, unsubscribe.packet_id, codes, count);
    free(codes);
    return MQTT_SUCCESS;
}
