/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/client.h"

#include "proto/ack.h"
#include "proto/connack.h"
#include "proto/connect.h"
#include "proto/disconnect.h"
#include "proto/frame.h"
#include "proto/properties.h"
#include "tests/simulation/trace.h"

#include <stdio.h>
#include <stdlib.h>

#define PACKET_IDS    65536U
#define TIME_SLACK_MS 1000U

/* ---- the session's state, client's side ---- */

static void client_session_clear(struct client *client)
{
    for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++)
        client->flights[index].state = CLIENT_FLIGHT_FREE;
    free(client->inbound);
    client->inbound = calloc(PACKET_IDS, sizeof(struct inbound));
    assert(client->inbound != NULL);
    client->inbound_order = 0;
    model_session_begin(client->model, client->index);
}

void client_init(struct client *client)
{
    client->will_message = UINT32_MAX;
    client->next_packet_id = 1;
    client_session_clear(client);
}

void client_fini(struct client *client)
{
    for (uint32_t kind = 0; kind < ANSWER_COUNT; kind++)
        free(client->answers[kind].ids);
    stream_fini(&client->inbox);
    free(client->inbound);
}

static enum inbound_state inbound_state(const struct client *client, const struct inbound *inbound)
{
    if (inbound->connection != client->connection && inbound->state != INBOUND_QOS2)
        return INBOUND_FREE;
    return inbound->state;
}

static uint16_t client_take_packet_id(struct client *client)
{
    for (;;) {
        uint16_t id = client->next_packet_id++;
        bool     used = id == 0;
        for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++)
            used |= client->flights[index].state != CLIENT_FLIGHT_FREE &&
                    client->flights[index].packet_id == id;
        for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++)
            used |= client->waiting[index].used && client->waiting[index].packet_id == id;
        if (!used)
            return id;
    }
}

static struct message_record *client_message(struct client *client, uint32_t number)
{
    return &client->model->messages[number];
}

/* ---- answers ---- */

static void answer_push(struct client *client, enum answer kind, uint16_t id)
{
    struct answer_queue *queue = &client->answers[kind];

    if (queue->first + queue->count == queue->capacity) {
        if (queue->count > 0)
            memmove(queue->ids, queue->ids + queue->first, queue->count * sizeof(uint16_t));
        queue->first = 0;
        queue->capacity = 2 * queue->count + 16;
        queue->ids = realloc(queue->ids, queue->capacity * sizeof(uint16_t));
        assert(queue->ids != NULL);
    }
    queue->ids[queue->first + queue->count++] = id;
}

uint32_t client_answers_waiting(const struct client *client)
{
    uint32_t count = 0;
    for (uint32_t kind = 0; kind < ANSWER_COUNT; kind++)
        count += client->answers[kind].count;
    return count;
}

static void client_write_ack(struct client *client, enum packet_type type, uint16_t id)
{
    struct ack    ack = {.packet_id = id};
    uint8_t       bytes[64];
    struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    ack_write(client->version, type, &ack, &writer);
    wire_write(client->wire, bytes, (uint32_t)(writer.at - bytes));
    client->heard_ms = *client->now_ms;
}

static struct client_flight *client_find_flight(struct client *client, uint16_t id)
{
    for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++) {
        struct client_flight *flight = &client->flights[index];
        if (flight->state != CLIENT_FLIGHT_FREE && flight->packet_id == id)
            return flight;
    }
    return NULL;
}

static void inbound_settle(struct client *client, struct inbound *inbound)
{
    inbound->state = INBOUND_FREE;
    if (inbound->counted == client->connection) {
        inbound->counted = 0;
        client->inbound_counted--;
    }
}

static void client_answer_one(struct client *client, enum answer kind)
{
    static const enum packet_type types[ANSWER_COUNT] = {PACKET_PUBACK, PACKET_PUBREC,
                                                         PACKET_PUBREL, PACKET_PUBCOMP};
    struct answer_queue          *queue = &client->answers[kind];
    uint16_t                      id = queue->ids[queue->first++];

    queue->count--;
    if (queue->count == 0)
        queue->first = 0;
    client_write_ack(client, types[kind], id);
    if (kind == ANSWER_PUBACK || kind == ANSWER_PUBCOMP)
        inbound_settle(client, &client->inbound[id]);
    if (kind == ANSWER_PUBREL)
        client_find_flight(client, id)->state = CLIENT_FLIGHT_AWAITS_COMP;
}

void client_answer(struct client *client, uint32_t count_max)
{
    if (!client->connected)
        return;
    for (; count_max > 0 && client_answers_waiting(client) > 0; count_max--) {
        enum answer kind = (enum answer)random_below(client->random, ANSWER_COUNT);
        while (client->answers[kind].count == 0)
            kind = (enum answer)((kind + 1) % ANSWER_COUNT);
        client_answer_one(client, kind);
    }
}

/* ---- connecting ---- */

static uint32_t client_expiry_of(const struct client *client, const struct client_connect *connect)
{
    if (client->version == MQTT_VERSION_5)
        return connect->session_expiry_s;
    return connect->clean ? 0 : client->options->protocol.session_expiry_311_s;
}

bool client_may_connect(const struct client *client)
{
    return client->wire == NULL && !(client->expiry_pending && client->ended_ms_max == 0);
}

void client_settle_will(struct client *client)
{
    if (client->will_message == UINT32_MAX || !client->will_due || !client->will_certain)
        return;
    if (*client->now_ms >= client->will_due_ms && client->will_due_ms != UINT64_MAX) {
        struct message_record *will = client_message(client, client->will_message);
        if (will->acked_tick == 0)
            will->acked_tick = ++client->model->tick;
    }
}

static void client_new_will(struct client *client)
{
    client->will_message = UINT32_MAX;
    client->will_certain = false;
    client->will_due = false;
    client->will_due_ms = UINT64_MAX;
    if (!client->connect.has_will)
        return;

    uint8_t  topics[TOPICS_MAX];
    uint32_t count = 0;
    for (uint32_t topic = 0; topic < client->model->topic_count; topic++) {
        if (client->model->topics[topic].kind == TOPIC_WILL)
            topics[count++] = (uint8_t)topic;
    }
    struct message_record will = {
        .publisher = client->index,
        .topic = topics[random_below(client->random, count)],
        .qos = client->connect.will_qos,
        .retain = client->connect.will_retain,
        .payload_size = random_between(client->random, PAYLOAD_SIZE_MIN, 60),
        .is_will = true,
        .sent_ms = *client->now_ms,
        .first_sent_ms = *client->now_ms,
    };
    client->will_message = model_message(client->model, &will);
}

static void client_write_connect(struct client *client)
{
    const struct client_connect *with = &client->connect;
    uint8_t                      payload[64];
    struct connect               connect = {
                      .version = client->version,
                      .client_id = slice_text(client->id),
                      .session_expiry_s = with->session_expiry_s,
                      .maximum_packet_size = with->packet_size_max,
                      .receive_maximum = with->receive_maximum,
                      .topic_alias_maximum = with->topic_alias_max,
                      .keep_alive_s = with->keep_alive_s,
                      .clean_start = with->clean,
                      .has_will = with->has_will,
                      .request_problem_information = true,
    };

    if (with->has_will) {
        const struct message_record *will = client_message(client, client->will_message);
        model_payload_write(client->model, client->will_message, payload);
        connect.will.topic = slice_text(client->model->topics[will->topic].name);
        connect.will.payload = slice_of(payload, will->payload_size);
        connect.will.qos = will->qos;
        connect.will.retain = will->retain;
        connect.will.delay_s = client->version == MQTT_VERSION_5 ? with->will_delay_s : 0;
    }
    uint32_t      size = connect_size(&connect);
    uint8_t      *bytes = malloc(size);
    struct writer writer = {.at = bytes, .end = bytes + size};
    assert(bytes != NULL);
    connect_write(&connect, &writer);
    wire_write(client->wire, bytes, size);
    wire_mark(client->wire, WIRE_MARK_CONNECT, 0);
    free(bytes);
}

void client_connect(struct client *client, uint16_t shard, const struct client_connect *connect)
{
    assert(client->wire == NULL);
    client_settle_will(client);
    client->connect = *connect;
    if (client->force_clean)
        client->connect.clean = true;
    if (client->connect.clean)
        client_session_clear(client);
    model_packet_size(client->model, client->index, client->connect.packet_size_max);
    client->wire = cluster_connect(client->cluster, shard, client->index, client->index);
    client->connection++;
    client->connected = false;
    client->leaving = false;
    client->resumed = false;
    client->told_keep_alive = false;
    client->pings = 0;
    client->inbound_counted = 0;
    client->resend_order = 0;
    client->connect_sent_ms = *client->now_ms;
    client->heard_ms = *client->now_ms;
    memset(client->alias_set_in, 0, sizeof(client->alias_set_in));
    memset(client->alias_out, -1, sizeof(client->alias_out));
    client_new_will(client);
    client_write_connect(client);
    trace_event("client %u wire %u: CONNECT v%d clean %d expiry %u receive %u will %d",
                client->index, client->wire->number, client->version, client->connect.clean,
                client_expiry_of(client, &client->connect), client->connect.receive_maximum,
                client->connect.has_will);
}

struct presence {
    bool must;
    bool must_not;
};

/* What "session present" has to say to the CONNECT that was sent last. */
static struct presence client_presence(const struct client *client)
{
    uint64_t life_ms = client->known_expiry_s * UINT64_C(1000);

    if (client->connect.clean || client->known == SESSION_NONE)
        return (struct presence){.must_not = true};
    if (client->known == SESSION_UNSURE)
        return (struct presence){0};
    if (client->known_expiry_s == 0)
        return (struct presence){.must_not = true};
    if (client->known_expiry_s == MQTT_SESSION_NEVER_EXPIRES ||
        client->ended_ms_min + life_ms > *client->now_ms)
        return (struct presence){.must = true};
    return (struct presence){.must_not = client->ended_ms_max != 0 &&
                                         client->connect_sent_ms >
                                             client->ended_ms_max + life_ms + TIME_SLACK_MS};
}

/* ---- losing a connection ---- */

static void client_note_end(struct client *client, bool surely_present)
{
    const struct wire *wire = client->wire;

    if (client->connected) {
        client->known = SESSION_SURE;
    } else if (!wire->connect_consumed) {
        /* As if it had never been tried, but that this side may have dropped its session. */
        client->force_clean |= client->connect.clean;
        return;
    } else if (client->connect.clean || !surely_present) {
        client->known = SESSION_UNSURE;
        client->force_clean = !client->connect.clean;
    }
    client->known_expiry_s =
        client->connected ? client->known_expiry_s : client_expiry_of(client, &client->connect);
    client->ended_wire = wire->number;
    client->ended_ms_min = wire->ordered ? wire->ordered_ms : *client->now_ms;
    client->ended_ms_max = wire->ordered ? wire->ordered_ms : 0;
}

static void client_set_will_due(struct client *client, uint64_t ended_ms)
{
    uint32_t delay_s = client->version == MQTT_VERSION_5 ? client->connect.will_delay_s : 0;

    if (delay_s > client->known_expiry_s)
        delay_s = client->known_expiry_s;
    client->will_due_ms = ended_ms + delay_s * UINT64_C(1000) + TIME_SLACK_MS;
}

static void client_detach(struct client *client, bool will_follows)
{
    struct wire *wire = client->wire;

    client_note_end(client, client_presence(client).must);
    client->will_due = will_follows && client->will_certain;
    client->will_due_ms = UINT64_MAX;
    if (wire->ordered)
        client_set_will_due(client, wire->ordered_ms);
    model_connection_ended(client->model, client->index);
    stream_fini(&client->inbox);
    for (uint32_t kind = 0; kind < ANSWER_COUNT; kind++)
        client->answers[kind].first = client->answers[kind].count = 0;
    memset(client->waiting, 0, sizeof(client->waiting));
    client->connected = false;
    client->auditing = false;
    wire->client = -1;
    client->wire = NULL;
}

void client_on_ordered(struct client *client, const struct wire *wire)
{
    model_connection_closing(client->model, client->index);
    if (client->wire != NULL || wire->number != client->ended_wire)
        return;
    client->ended_ms_max = wire->ordered_ms;
    client_set_will_due(client, wire->ordered_ms);
}

void client_on_consumed(struct client *client, struct wire *wire, const struct wire_mark *mark)
{
    /* What a link gets after another one took its session over is consumed and ignored. */
    if (wire->number < client->consumed_wire)
        return;
    switch (mark->kind) {
    case WIRE_MARK_CONNECT:
        client->consumed_wire = wire->number;
        break;
    case WIRE_MARK_MESSAGE:
        if (client_message(client, mark->number)->acked_tick == 0)
            client_message(client, mark->number)->acked_tick = ++client->model->tick;
        break;
    case WIRE_MARK_DISCONNECT:
        /* Brokers that stop publish all wills first. */
        if (mark->number != UINT32_MAX && !client->stopping)
            client_message(client, mark->number)->cancelled_tick = ++client->model->tick;
        if (client->expiry_pending && wire->number == client->ended_wire)
            client->known_expiry_s = client->expiry_pending_s;
        break;
    }
}

bool client_may_lose(const struct client *client)
{
    const struct wire *wire = client->wire;

    /* A CONNECT that is on its way and read later would be one that nobody knows of. */
    return wire != NULL && (client->connected || wire->connect_consumed || wire->arrived == 0);
}

void client_lose(struct client *client, enum client_loss loss)
{
    struct wire *wire = client->wire;

    if (!client->connected && !wire->connect_consumed)
        loss = LOSS_CUT;
    trace_event("client %u wire %u: %s", client->index, wire->number,
                loss == LOSS_CUT      ? "cut"
                : loss == LOSS_CLOSED ? "closed"
                                      : "abandoned");
    client_detach(client, loss != LOSS_ABANDONED);
    if (loss == LOSS_CUT)
        wire_cut(wire);
    if (loss == LOSS_CLOSED)
        wire_close(wire);
}

void client_disconnect(struct client *client, bool with_will, bool has_expiry, uint32_t expiry_s)
{
    bool              is_5 = client->version == MQTT_VERSION_5;
    struct wire      *wire = client->wire;
    struct disconnect disconnect = {
        .reason = with_will && is_5 ? MQTT_DISCONNECT_WITH_WILL : MQTT_SUCCESS,
        .has_session_expiry = has_expiry && is_5,
        .session_expiry_s = expiry_s,
    };
    uint8_t       bytes[64];
    struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    assert(client->connected);
    disconnect_write(client->version, &disconnect, &writer);
    wire_write(wire, bytes, (uint32_t)(writer.at - bytes));
    bool cancels = disconnect.reason == MQTT_SUCCESS;
    wire_mark(wire, WIRE_MARK_DISCONNECT, cancels ? client->will_message : UINT32_MAX);
    client->expiry_pending = disconnect.has_session_expiry;
    client->expiry_pending_s = expiry_s;
    trace_event("client %u wire %u: DISCONNECT 0x%02x", client->index, wire->number,
                disconnect.reason);
    client_detach(client, !cancels && !disconnect.has_session_expiry);
    wire_close(wire);
}

void client_on_restart(struct client *client)
{
    if (client->wire != NULL) {
        client->wire = NULL;
        client->connected = false;
    }
    stream_fini(&client->inbox);
    for (uint32_t kind = 0; kind < ANSWER_COUNT; kind++)
        client->answers[kind].first = client->answers[kind].count = 0;
    memset(client->waiting, 0, sizeof(client->waiting));
    client->auditing = false;
    client->known = SESSION_NONE;
    client->force_clean = false;
    client->expiry_pending = false;
    client->ended_wire = 0;
    client->consumed_wire = 0;
    client->will_message = UINT32_MAX;
}

/* ---- publishing ---- */

static void client_write_publish(struct client *client, const struct client_flight *flight,
                                 uint32_t number, bool duplicate, uint16_t alias, bool alias_only)
{
    struct message_record *message = client_message(client, number);
    const char            *topic = client->model->topics[message->topic].name;
    struct publish_head    head = {
           .topic = alias_only ? (struct slice){0} : slice_text(topic),
           .forward = slice_of(message->forward, message->forward_size),
           .message_expiry_s = message->expiry_s,
           .has_message_expiry = message->has_expiry,
           .payload_size = message->payload_size,
           .packet_id = flight != NULL ? flight->packet_id : 0,
           .topic_alias = alias,
           .qos = message->qos,
           .retain = message->retain,
           .duplicate = duplicate,
    };
    uint32_t      head_size = publish_head_size(client->version, &head);
    uint8_t      *bytes = malloc(head_size + message->payload_size);
    struct writer writer = {.at = bytes, .end = bytes + head_size};

    assert(bytes != NULL);
    publish_head_write(client->version, &head, &writer);
    model_payload_write(client->model, number, bytes + head_size);
    wire_write(client->wire, bytes, head_size + message->payload_size);
    free(bytes);
    client->heard_ms = *client->now_ms;
    message->sent_ms = *client->now_ms;
}

static uint32_t client_flights_used(const struct client *client)
{
    uint32_t used = 0;
    for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++)
        used += client->flights[index].state != CLIENT_FLIGHT_FREE;
    return used;
}

bool client_may_publish(const struct client *client, uint8_t qos)
{
    uint32_t used = client_flights_used(client);
    return client->connected &&
           (qos == 0 || (used < CLIENT_FLIGHTS_MAX && used < client->broker_receive_maximum));
}

static void message_add_properties(struct random *random, struct message_record *message)
{
    struct writer writer = {.at = message->forward, .end = message->forward + FORWARD_MAX};
    uint32_t      users = random_once_in(random, 4) ? random_between(random, 1, 3) : 0;

    if (random_once_in(random, 6))
        write_property_bytes(&writer, PROPERTY_CONTENT_TYPE, slice_text("text/plain"));
    for (; users > 0; users--)
        write_property_user(&writer, slice_text("name"),
                            slice_text(random_once_in(random, 2) ? "" : "value"));
    if (random_once_in(random, 6))
        write_property_bytes(&writer, PROPERTY_CORRELATION_DATA, slice_of("\0\1\2", 3));
    message->forward_size = (uint8_t)(writer.at - message->forward);
}

void client_publish(struct client *client, const struct client_publish *publish)
{
    bool                  is_5 = client->version == MQTT_VERSION_5;
    struct message_record message = {
        .publisher = client->index,
        .topic = publish->topic,
        .qos = publish->qos,
        .retain = publish->retain,
        .clears = publish->clears,
        .has_expiry = is_5 && publish->has_expiry,
        .expiry_s = publish->expiry_s,
        .payload_size = publish->clears ? 0 : publish->payload_size,
        .sent_ms = *client->now_ms,
        .first_sent_ms = *client->now_ms,
    };
    struct client_flight *flight = NULL;
    uint16_t              alias = 0;
    bool                  alias_only = false;

    if (is_5)
        message_add_properties(client->random, &message);
    uint32_t number = model_message(client->model, &message);
    if (publish->qos > 0) {
        for (flight = client->flights; flight->state != CLIENT_FLIGHT_FREE;)
            flight++;
        *flight = (struct client_flight){
            .state = CLIENT_FLIGHT_AWAITS_ACK,
            .packet_id = client_take_packet_id(client),
            .message = number,
            .order = ++client->next_order,
        };
    }
    uint16_t alias_max = client->broker_alias_max < CLIENT_ALIASES_MAX ? client->broker_alias_max
                                                                       : CLIENT_ALIASES_MAX;
    if (is_5 && alias_max > 0 && random_once_in(client->random, 2)) {
        alias = (uint16_t)random_between(client->random, 1, alias_max);
        alias_only = client->alias_out[alias] == publish->topic;
        client->alias_out[alias] = publish->topic;
    }
    trace_event("client %u: PUBLISH message %u QoS %u on %s%s%s", client->index, number,
                publish->qos, client->model->topics[publish->topic].name,
                publish->retain ? " retained" : "", alias_only ? " by alias" : "");
    client_write_publish(client, flight, number, false, alias, alias_only);
    if (publish->qos == 0)
        wire_mark(client->wire, WIRE_MARK_MESSAGE, number);
}

/* [MQTT-4.4.0-1]: in the original order; what was PUBREC'ed goes on with PUBREL. */
static void client_resend(struct client *client)
{
    uint64_t done = 0;

    for (;;) {
        struct client_flight *next = NULL;
        for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++) {
            struct client_flight *flight = &client->flights[index];
            if (flight->state != CLIENT_FLIGHT_FREE && flight->order > done &&
                (next == NULL || flight->order < next->order))
                next = flight;
        }
        if (next == NULL)
            return;
        done = next->order;
        if (next->state == CLIENT_FLIGHT_AWAITS_ACK) {
            struct message_record *message = client_message(client, next->message);
            message->sends++;
            client_write_publish(client, next, next->message, true, 0, false);
            trace_event("client %u: PUBLISH message %u again", client->index, next->message);
        } else {
            next->state = CLIENT_FLIGHT_RELEASING;
            answer_push(client, ANSWER_PUBREL, next->packet_id);
        }
    }
}

/* ---- subscribing ---- */

static struct client_waiting *client_free_waiting(struct client *client)
{
    for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++) {
        if (!client->waiting[index].used)
            return &client->waiting[index];
    }
    return NULL;
}

bool client_may_subscribe(const struct client *client)
{
    bool any_free = false;
    for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++)
        any_free |= !client->waiting[index].used;
    return client->connected && any_free;
}

void client_subscribe(struct client *client, const uint8_t *names,
                      const struct subscribe_options *options, uint32_t count, uint32_t id)
{
    struct client_waiting *waiting = client_free_waiting(client);
    struct subscribe_entry entries[CLIENT_FILTERS_MAX] = {0};

    *waiting = (struct client_waiting){
        .used = true,
        .packet_id = client_take_packet_id(client),
        .count = (uint8_t)count,
    };
    for (uint32_t index = 0; index < count; index++) {
        waiting->filters[index] = names[index];
        waiting->versions[index] =
            model_subscribe_sent(client->model, client->index, names[index], &options[index], id);
        entries[index].filter = slice_text(client->model->filters[names[index]].name);
        entries[index].options = options[index];
        trace_event("client %u: SUBSCRIBE %s QoS %u id %u", client->index,
                    client->model->filters[names[index]].name, options[index].qos, id);
    }
    uint32_t      size = subscribe_size(client->version, id, entries, count);
    uint8_t      *bytes = malloc(size);
    struct writer writer = {.at = bytes, .end = bytes + size};
    assert(bytes != NULL);
    subscribe_write(client->version, waiting->packet_id, id, entries, count, &writer);
    wire_write(client->wire, bytes, size);
    free(bytes);
    client->heard_ms = *client->now_ms;
}

void client_unsubscribe(struct client *client, const uint8_t *names, uint32_t count)
{
    struct client_waiting *waiting = client_free_waiting(client);
    struct slice           slices[CLIENT_FILTERS_MAX] = {0};

    *waiting = (struct client_waiting){
        .used = true,
        .leaves = true,
        .packet_id = client_take_packet_id(client),
        .count = (uint8_t)count,
    };
    for (uint32_t index = 0; index < count; index++) {
        waiting->filters[index] = names[index];
        waiting->stood[index] =
            model_subscription_stands(client->model, client->index, names[index]);
        waiting->versions[index] =
            model_unsubscribe_sent(client->model, client->index, names[index]);
        slices[index] = slice_text(client->model->filters[names[index]].name);
        trace_event("client %u: UNSUBSCRIBE %s", client->index,
                    client->model->filters[names[index]].name);
    }
    uint32_t      size = unsubscribe_size(client->version, slices, count);
    uint8_t      *bytes = malloc(size);
    struct writer writer = {.at = bytes, .end = bytes + size};
    assert(bytes != NULL);
    unsubscribe_write(client->version, waiting->packet_id, slices, count, &writer);
    wire_write(client->wire, bytes, size);
    free(bytes);
    client->heard_ms = *client->now_ms;
}

void client_ping(struct client *client)
{
    uint8_t       bytes[PING_SIZE];
    struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    ping_write(PACKET_PINGREQ, &writer);
    wire_write(client->wire, bytes, sizeof(bytes));
    client->pings++;
    client->heard_ms = *client->now_ms;
}

/* ---- what the broker sends ---- */

static void on_connack(struct client *client, const struct frame *frame)
{
    struct connack   connack;
    enum mqtt_reason reason = connack_decode(client->version, frame->flags, frame->body, &connack);
    struct presence  presence = client_presence(client);

    if (reason != MQTT_SUCCESS || client->connected)
        trace_fail("client %u got a bad or second CONNACK (0x%02x)", client->index, reason);
    if (connack.reason != MQTT_SUCCESS && client->stopping)
        return; /* the end of the connection follows */
    if (connack.reason != MQTT_SUCCESS)
        trace_fail("client %u was refused with 0x%02x", client->index, connack.reason);
    if (client->version == MQTT_VERSION_31)
        connack.session_present = presence.must;
    trace_event("client %u: CONNACK session present %d", client->index, connack.session_present);
    if (connack.session_present ? presence.must_not : presence.must)
        trace_fail(
            "client %u: session present is %d (clean %d, expiry %u s, ended between %llu and "
            "%llu ms, CONNECT sent at %llu ms)",
            client->index, connack.session_present, client->connect.clean, client->known_expiry_s,
            (unsigned long long)client->ended_ms_min, (unsigned long long)client->ended_ms_max,
            (unsigned long long)client->connect_sent_ms);
    if (!connack.session_present && !client->connect.clean) {
        client_session_clear(client);
        model_packet_size(client->model, client->index, client->connect.packet_size_max);
    }
    client->connected = true;
    client->resumed = connack.session_present;
    client->known = SESSION_SURE;
    client->force_clean = false;
    client->expiry_pending = false;
    client->known_expiry_s = connack.has_session_expiry
                                 ? connack.session_expiry_s
                                 : client_expiry_of(client, &client->connect);
    client->will_certain = client->will_message != UINT32_MAX;
    /* Before MQTT 5 a client is not told, and has to be set up to fit. */
    client->broker_receive_maximum = client->version == MQTT_VERSION_5
                                         ? connack.receive_maximum
                                         : client->options->protocol.receive_maximum;
    client->broker_alias_max = connack.topic_alias_maximum;
    model_connected(client->model, client->index);
    if (client->resumed)
        client_resend(client);
}

static void client_resolve_alias(struct client *client, struct publish *publish)
{
    uint16_t alias = publish->topic_alias;

    if (alias == 0)
        return;
    if (alias > client->connect.topic_alias_max || alias > CLIENT_ALIASES_MAX)
        trace_fail("client %u got topic alias %u, its maximum is %u", client->index, alias,
                   client->connect.topic_alias_max);
    if (publish->topic.size > 0) {
        (void)snprintf(client->alias_in[alias], sizeof(client->alias_in[alias]), "%.*s",
                       (int)publish->topic.size, (const char *)publish->topic.data);
        client->alias_set_in[alias] = true;
    } else if (!client->alias_set_in[alias]) {
        trace_fail("client %u got topic alias %u, which was never set", client->index, alias);
    } else {
        publish->topic = slice_text(client->alias_in[alias]);
    }
}

static uint32_t publish_ids(const struct publish *publish, uint32_t *ids, uint32_t ids_max)
{
    struct reader   reader = reader_of(publish->properties);
    struct property property;
    uint32_t        count = 0;

    while (properties_next(&reader, &property)) {
        if (property.id == PROPERTY_SUBSCRIPTION_ID && count < ids_max)
            ids[count++] = property.number;
    }
    return count;
}

/* True when this is the same packet as one that was seen on an earlier connection. */
static bool client_check_packet_id(struct client *client, const struct publish *publish,
                                   uint32_t message)
{
    struct inbound    *inbound = &client->inbound[publish->packet_id];
    enum inbound_state state = inbound_state(client, inbound);
    bool same = message != UINT32_MAX && inbound->order != 0 && inbound->message == message;

    if (state != INBOUND_FREE && inbound->connection == client->connection)
        trace_fail("client %u got packet id %u%s while message %u with it is not acknowledged",
                   client->index, publish->packet_id, publish->duplicate ? " (DUP)" : "",
                   inbound->message);
    if (!publish->duplicate) {
        if (state == INBOUND_QOS2)
            trace_fail("client %u got packet id %u for message %u; message %u with it is not "
                       "released",
                       client->index, publish->packet_id, message, inbound->message);
        return false;
    }
    if (!client->resumed)
        trace_fail("client %u got message %u with DUP in a session that was not resumed",
                   client->index, message);
    if (state == INBOUND_QOS2 && message != UINT32_MAX && inbound->message != message)
        trace_fail("client %u got message %u with DUP and packet id %u of message %u",
                   client->index, message, publish->packet_id, inbound->message);
    if (!same)
        return state == INBOUND_QOS2;
    if (publish->qos == 2 && state != INBOUND_QOS2)
        trace_fail("client %u got message %u (QoS 2) again after it was released", client->index,
                   message);
    if (inbound->order <= client->resend_order)
        trace_fail("client %u: message %u is not sent again in the original order", client->index,
                   message);
    client->resend_order = inbound->order;
    return true;
}

static uint32_t client_quota(const struct client *client)
{
    uint32_t limit = client->options->limits.inflight_max;
    if (client->version == MQTT_VERSION_5 && client->connect.receive_maximum < limit)
        limit = client->connect.receive_maximum;
    return limit;
}

static void client_take_in(struct client *client, const struct publish *publish, uint32_t message,
                           bool again)
{
    struct inbound *inbound = &client->inbound[publish->packet_id];

    if (!again)
        inbound->order = ++client->inbound_order;
    inbound->message = message;
    inbound->connection = client->connection;
    inbound->counted = client->connection;
    inbound->state = publish->qos == 1 ? INBOUND_QOS1 : INBOUND_QOS2;
    if (++client->inbound_counted > client_quota(client))
        trace_fail("client %u got %u messages at once, receive maximum is %u", client->index,
                   client->inbound_counted, client_quota(client));
    answer_push(client, publish->qos == 1 ? ANSWER_PUBACK : ANSWER_PUBREC, publish->packet_id);
}

static void client_note_audit(struct client *client, const struct publish *publish, uint32_t number)
{
    if (!client->auditing || !publish->retain || number == UINT32_MAX)
        return;
    uint8_t topic = client_message(client, number)->topic;
    if (client->audit[topic] != UINT32_MAX)
        trace_fail("two retained messages on %s: %u and %u", client->model->topics[topic].name,
                   client->audit[topic], number);
    client->audit[topic] = number;
}

static void on_publish(struct client *client, const struct frame *frame)
{
    struct publish   publish;
    uint32_t         ids[FILTERS_MAX];
    enum mqtt_reason reason =
        publish_decode(client->version, frame->flags, frame->body, true, &publish);

    if (reason != MQTT_SUCCESS)
        trace_fail("client %u got a PUBLISH that does not decode: 0x%02x", client->index, reason);
    if (publish.qos == 0 && publish.duplicate)
        trace_fail("client %u got QoS 0 with DUP", client->index);
    client->got++;
    client_resolve_alias(client, &publish);
    if (publish.topic.size > 0 && publish.topic.data[0] == '$' &&
        memcmp(publish.topic.data, "$SYS/", publish.topic.size < 5 ? publish.topic.size : 5) == 0)
        trace_fail("client %u got %.*s", client->index, (int)publish.topic.size,
                   (const char *)publish.topic.data);

    uint32_t number = model_identify(client->model, publish.payload);
    trace_event("client %u: got message %d QoS %u id %u%s%s on %.*s", client->index, (int)number,
                publish.qos, publish.packet_id, publish.retain ? " retained" : "",
                publish.duplicate ? " DUP" : "", (int)publish.topic.size,
                (const char *)publish.topic.data);
    bool            again = publish.qos > 0 && client_check_packet_id(client, &publish, number);
    struct delivery delivery = {
        .publish = &publish,
        .version = client->version,
        .ids = ids,
        .id_count = client->version == MQTT_VERSION_5 ? publish_ids(&publish, ids, FILTERS_MAX) : 0,
        .now_ms = *client->now_ms,
        .again = again,
    };
    model_delivered(client->model, client->index, &delivery);
    client_note_audit(client, &publish, number);
    if (publish.qos > 0)
        client_take_in(client, &publish, number, again);
}

/* Acknowledgements come in the order of the packets [MQTT-4.6.0-2] to [MQTT-4.6.0-4]. */
static void client_check_ack_order(struct client *client, const struct client_flight *flight)
{
    uint8_t qos = client_message(client, flight->message)->qos;

    for (uint32_t index = 0; index < CLIENT_FLIGHTS_MAX; index++) {
        const struct client_flight *other = &client->flights[index];
        if (other->state == CLIENT_FLIGHT_AWAITS_ACK && other->order < flight->order &&
            client_message(client, other->message)->qos == qos)
            trace_fail("client %u: message %u is acknowledged before message %u", client->index,
                       flight->message, other->message);
    }
}

static void on_ack(struct client *client, const struct frame *frame)
{
    enum packet_type type = frame->type;
    struct ack       ack;
    enum mqtt_reason reason = ack_decode(client->version, type, frame->flags, frame->body, &ack);

    if (reason != MQTT_SUCCESS)
        trace_fail("client %u got a bad acknowledgement of type %u", client->index, type);
    struct client_flight *flight = client_find_flight(client, ack.packet_id);
    uint8_t               qos = flight == NULL ? 0 : client_message(client, flight->message)->qos;
    bool                  fits = type == PACKET_PUBCOMP
                                     ? flight != NULL && flight->state == CLIENT_FLIGHT_AWAITS_COMP
                                     : flight != NULL && flight->state == CLIENT_FLIGHT_AWAITS_ACK &&
                          qos == (type == PACKET_PUBACK ? 1 : 2);
    trace_event("client %u: got ack type %u id %u reason 0x%02x", client->index, type,
                ack.packet_id, ack.reason);
    if (!fits)
        trace_fail(
            "client %u got an acknowledgement of type %u for packet id %u, which awaits none",
            client->index, type, ack.packet_id);
    if (type == PACKET_PUBCOMP) {
        if (ack.reason != MQTT_SUCCESS && !client->resumed)
            trace_fail("client %u: PUBREL %u was answered with 0x%02x", client->index,
                       ack.packet_id, ack.reason);
        flight->state = CLIENT_FLIGHT_FREE;
        return;
    }
    client_check_ack_order(client, flight);
    if (ack.reason >= 0x80) {
        if (client->model->strict)
            trace_fail("client %u: message %u was refused with 0x%02x", client->index,
                       flight->message, ack.reason);
        flight->state = CLIENT_FLIGHT_FREE;
        return;
    }
    client_message(client, flight->message)->acked_tick = ++client->model->tick;
    if (type == PACKET_PUBACK) {
        flight->state = CLIENT_FLIGHT_FREE;
    } else {
        flight->state = CLIENT_FLIGHT_RELEASING;
        answer_push(client, ANSWER_PUBREL, ack.packet_id);
    }
}

static void on_pubrel(struct client *client, const struct frame *frame)
{
    struct ack       ack;
    enum mqtt_reason reason =
        ack_decode(client->version, PACKET_PUBREL, frame->flags, frame->body, &ack);

    if (reason != MQTT_SUCCESS)
        trace_fail("client %u got a bad PUBREL", client->index);
    struct inbound    *inbound = &client->inbound[ack.packet_id];
    enum inbound_state state = inbound_state(client, inbound);
    if (inbound->released == client->connection && state != INBOUND_QOS2)
        trace_fail("client %u got PUBREL %u twice", client->index, ack.packet_id);
    if (state != INBOUND_QOS2 && (!client->resumed || state != INBOUND_FREE))
        trace_fail("client %u got PUBREL %u for nothing", client->index, ack.packet_id);
    inbound->state = INBOUND_RELEASED;
    inbound->connection = client->connection;
    inbound->released = client->connection;
    answer_push(client, ANSWER_PUBCOMP, ack.packet_id);
}

static void on_suback(struct client *client, const struct frame *frame)
{
    enum packet_type type = frame->type;
    struct suback    suback;
    enum mqtt_reason reason =
        suback_decode(client->version, type, frame->flags, frame->body, &suback);
    struct client_waiting *waiting = NULL;

    if (reason != MQTT_SUCCESS)
        trace_fail("client %u got a bad SUBACK or UNSUBACK", client->index);
    for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++) {
        struct client_waiting *candidate = &client->waiting[index];
        if (candidate->used && candidate->packet_id == suback.packet_id &&
            candidate->leaves == (type == PACKET_UNSUBACK))
            waiting = candidate;
    }
    if (waiting == NULL)
        trace_fail("client %u got a SUBACK or UNSUBACK with packet id %u, which it did not use",
                   client->index, suback.packet_id);
    bool has_codes = type == PACKET_SUBACK || client->version == MQTT_VERSION_5;
    if (has_codes && suback.count != waiting->count)
        trace_fail("client %u got %u codes for %u filters", client->index, suback.count,
                   waiting->count);
    trace_event("client %u: got %s %u", client->index,
                type == PACKET_SUBACK ? "SUBACK" : "UNSUBACK", suback.packet_id);
    for (uint32_t index = 0; index < waiting->count; index++) {
        if (type == PACKET_UNSUBACK && has_codes && waiting->stood[index] &&
            suback.codes[index] != MQTT_SUCCESS)
            trace_fail("client %u left %s, which stood, and got 0x%02x", client->index,
                       client->model->filters[waiting->filters[index]].name, suback.codes[index]);
        if (type == PACKET_SUBACK)
            model_subscribe_acked(client->model, client->index, waiting->versions[index],
                                  suback.codes[index]);
        else
            model_unsubscribe_acked(client->model, client->index, waiting->filters[index],
                                    waiting->versions[index]);
    }
    waiting->used = false;
}

static bool client_was_silent(const struct client *client, const struct wire *wire)
{
    uint64_t patience_ms = client->connect.keep_alive_s * UINT64_C(1500);
    return patience_ms > 0 && wire->ordered_ms >= wire->heard_ms + patience_ms;
}

static void on_disconnect(struct client *client, const struct frame *frame)
{
    struct disconnect disconnect;
    enum mqtt_reason  reason =
        disconnect_decode(client->version, frame->flags, frame->body, true, &disconnect);

    if (reason != MQTT_SUCCESS || client->version != MQTT_VERSION_5)
        trace_fail("client %u got a bad DISCONNECT", client->index);
    trace_event("client %u: got DISCONNECT 0x%02x", client->index, disconnect.reason);
    bool silent =
        disconnect.reason == MQTT_KEEP_ALIVE_TIMEOUT && client_was_silent(client, client->wire);
    bool stopped = disconnect.reason == MQTT_SERVER_SHUTTING_DOWN && client->stopping;
    if (!silent && !stopped)
        trace_fail("client %u, which behaves, was disconnected with 0x%02x", client->index,
                   disconnect.reason);
    client->told_keep_alive = silent;
}

static void client_handle(struct client *client, const struct frame *frame)
{
    if (!client->connected && frame->type != PACKET_CONNACK)
        trace_fail("client %u got a packet of type %u before CONNACK", client->index, frame->type);
    if (frame->size > client->connect.packet_size_max)
        trace_fail("client %u got %u bytes of type %u, its maximum packet size is %u",
                   client->index, frame->size, frame->type, client->connect.packet_size_max);
    switch ((enum packet_type)frame->type) {
    case PACKET_CONNACK:
        on_connack(client, frame);
        break;
    case PACKET_PUBLISH:
        on_publish(client, frame);
        break;
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBCOMP:
        on_ack(client, frame);
        break;
    case PACKET_PUBREL:
        on_pubrel(client, frame);
        break;
    case PACKET_SUBACK:
    case PACKET_UNSUBACK:
        on_suback(client, frame);
        break;
    case PACKET_PINGRESP:
        if (client->pings-- == 0 || ping_decode(frame->flags, frame->body) != MQTT_SUCCESS)
            trace_fail("client %u got a bad PINGRESP or one for nothing", client->index);
        break;
    case PACKET_DISCONNECT:
        on_disconnect(client, frame);
        break;
    case PACKET_RESERVED:
    case PACKET_CONNECT:
    case PACKET_SUBSCRIBE:
    case PACKET_UNSUBSCRIBE:
    case PACKET_PINGREQ:
    case PACKET_AUTH:
    case PACKET_TYPE_COUNT:
    default:
        trace_fail("client %u got a packet of type %u", client->index, frame->type);
    }
}

static void client_handle_sabotaged(struct client *client, const struct frame *frame)
{
    struct frame changed = *frame;
    bool         hit = frame->type == PACKET_PUBLISH && random_once_in(client->random, 20);

    if (!hit || client->sabotage < SABOTAGE_DUPLICATE) {
        client_handle(client, frame);
        return;
    }
    trace_event("sabotage: of a PUBLISH to client %u", client->index);
    if (client->sabotage == SABOTAGE_DUPLICATE)
        client_handle(client, frame);
    if (client->sabotage == SABOTAGE_LOSE)
        return;
    if (client->sabotage == SABOTAGE_RETAIN)
        changed.flags ^= 1;
    uint8_t *copy = malloc(frame->body.size + 1U);
    assert(copy != NULL);
    memcpy(copy, frame->body.data, frame->body.size);
    if (client->sabotage == SABOTAGE_CORRUPT)
        copy[frame->body.size - 1] = (uint8_t)(frame->body.data[frame->body.size - 1] ^ 0x40);
    changed.body = slice_of(copy, frame->body.size);
    client_handle(client, &changed);
    free(copy);
}

static void client_on_end(struct client *client)
{
    struct wire *wire = client->wire;
    bool         refused = !wire->ordered && wire->end == WIRE_GONE;
    bool         late = !wire->connect_consumed && wire->ordered_ms - wire->accepted_ms >=
                                               client->options->protocol.connect_timeout_ms;

    trace_event("client %u wire %u: the broker closed it", client->index, wire->number);
    if (!client->stopping && !client->told_keep_alive && !refused && !late &&
        !client_was_silent(client, wire))
        trace_fail("the broker closed the connection of client %u, which behaves", client->index);
    client_detach(client, client_was_silent(client, wire));
}

void client_read(struct client *client, uint32_t size_max)
{
    struct wire *wire = client->wire;

    if (wire == NULL)
        return;
    uint32_t size = wire->to_client.size < size_max ? wire->to_client.size : size_max;
    stream_push(&client->inbox, stream_view(&wire->to_client).data, size);
    stream_pop(&wire->to_client, size);
    for (;;) {
        struct frame      frame;
        enum frame_status status = frame_decode(stream_view(&client->inbox), &frame);
        if (status == FRAME_MALFORMED)
            trace_fail("client %u got something that is no packet", client->index);
        if (status == FRAME_INCOMPLETE)
            break;
        client_handle_sabotaged(client, &frame);
        stream_pop(&client->inbox, frame.size);
    }
    if (wire->end == WIRE_GONE && wire->to_client.size == 0)
        client_on_end(client);
}

bool client_settled(const struct client *client, const char **why)
{
    static char text[160];

    *why = text;
    (void)snprintf(text, sizeof(text),
                   "client %u: connected %d, %u flights, %u answers, %u pings, %u in",
                   client->index, client->connected, client_flights_used(client),
                   client_answers_waiting(client), client->pings, client->inbound_counted);
    if (!client->connected || client_flights_used(client) > 0 || client->pings > 0 ||
        client_answers_waiting(client) > 0 || client->inbox.size > 0 || client->inbound_counted > 0)
        return false;
    for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++) {
        (void)snprintf(text, sizeof(text), "client %u awaits a SUBACK or UNSUBACK", client->index);
        if (client->waiting[index].used)
            return false;
    }
    return true;
}
