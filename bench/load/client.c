/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/client.h"

#include "bench/load/bench.h"
#include "proto/connack.h"
#include "proto/connect.h"
#include "proto/publish.h"
#include "proto/subscribe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP_ALIVE_S     600U /* nothing here answers for longer; no run is silent for so long */
#define SESSION_EXPIRY_S 3600U
#define PARTIAL_SIZE_MIN 256U
#define CLIENT_ID_SIZE   48U

typedef bool frame_handler(struct client *client, const struct frame *frame);

static struct client *client_of(struct connection *connection)
{
    return (struct client *)connection;
}

static enum mqtt_version client_version(const struct client *client)
{
    return client->bench->options->version;
}

static bool client_violated(struct client *client, const char *what)
{
    return bench_fail(client->bench, "client %s%u: the broker sent %s", client->role,
                      client->number, what);
}

bool client_connect(struct client *client)
{
    assert(client->phase == CLIENT_CLOSED);
    client->phase = CLIENT_CONNECTING;
    client->partial_size = 0;
    client->unacked = 0;
    client->releases = 0;
    client->end_expected = false;
    int status = engine_connect(&client->bench->engine, &client->connection);
    if (status == -EMFILE)
        return bench_fail(client->bench,
                          "%u clients are more than RLIMIT_NOFILE allows one generator",
                          client->bench->client_count);
    if (status < 0)
        return bench_fail(client->bench, "socket: %s", strerror(-status));
    return true;
}

static void on_connected(struct connection *connection)
{
    struct client *client = client_of(connection);
    char           id[CLIENT_ID_SIZE];
    int            id_size =
        snprintf(id, sizeof(id), "b%08x-%s%u", client->bench->run, client->role, client->number);
    uint8_t        expiry[5] = {PROPERTY_SESSION_EXPIRY, 0, 0, SESSION_EXPIRY_S >> 8,
                                SESSION_EXPIRY_S & 0xff};
    bool           five = client_version(client) == MQTT_VERSION_5;
    struct connect connect = {
        .version = client_version(client),
        .client_id = slice_of(id, (size_t)id_size),
        .properties = slice_of(expiry, five && client->keeps_session ? sizeof(expiry) : 0),
        .session_expiry_s = five && client->keeps_session ? SESSION_EXPIRY_S : 0,
        .maximum_packet_size = MQTT_PACKET_SIZE_MAX,
        .receive_maximum = UINT16_MAX,
        .keep_alive_s = KEEP_ALIVE_S,
        .clean_start = !client->keeps_session,
        .request_problem_information = true,
    };
    uint32_t      size = connect_size(&connect);
    uint8_t      *room = engine_room(connection, size);
    struct writer writer = {.at = room, .end = room + size};
    connect_write(&connect, &writer);
    bench_moved(client->bench);
}

void client_subscribe(struct client *client)
{
    struct subscribe_entry entry = {.filter = slice_text(client->filter),
                                    .options.qos = client->subscribe_qos};
    uint32_t               size = subscribe_size(client_version(client), 0, &entry, 1);
    uint8_t               *room = engine_room(&client->connection, size);
    struct writer          writer = {.at = room, .end = room + size};
    subscribe_write(client_version(client), 1, 0, &entry, 1, &writer);
}

void client_disconnect(struct client *client)
{
    client->end_expected = true;
    memcpy(engine_room(&client->connection, 2), (const uint8_t[2]){PACKET_DISCONNECT << 4, 0}, 2);
}

void client_fini(struct client *client)
{
    engine_forget(&client->connection);
    free(client->partial);
    client->partial = NULL;
}

static void client_ready(struct client *client)
{
    client->phase = CLIENT_READY;
    client->bench->ready_count++;
    bench_moved(client->bench);
    if (client->events->ready != NULL)
        client->events->ready(client);
}

static bool on_connack(struct client *client, const struct frame *frame)
{
    struct connack connack;
    if (client->phase != CLIENT_CONNECTING ||
        connack_decode(client_version(client), frame->flags, frame->body, &connack) != MQTT_SUCCESS)
        return client_violated(client, "a malformed or unexpected CONNACK");
    if (connack.reason != MQTT_SUCCESS)
        return bench_fail(client->bench, "client %s%u: connection refused, code 0x%02x",
                          client->role, client->number, connack.reason);

    client->receive_maximum = connack.receive_maximum;
    client->session_present = connack.session_present;
    bool subscribes = client->filter != NULL && !connack.session_present;
    if (!subscribes) {
        client_ready(client);
        return true;
    }
    client->phase = CLIENT_SUBSCRIBING;
    client_subscribe(client);
    return true;
}

static bool on_suback(struct client *client, const struct frame *frame)
{
    struct suback suback;
    if (suback_decode(client_version(client), PACKET_SUBACK, frame->flags, frame->body, &suback) !=
            MQTT_SUCCESS ||
        suback.count != 1)
        return client_violated(client, "a malformed SUBACK");
    if (suback.codes[0] != client->subscribe_qos)
        return bench_fail(client->bench, "client %s%u: subscription to %s answered 0x%02x",
                          client->role, client->number, client->filter, suback.codes[0]);
    if (client->phase == CLIENT_SUBSCRIBING)
        client_ready(client);
    return true;
}

static void acknowledge(struct client *client, uint8_t first_byte, uint16_t packet_id)
{
    uint8_t ack[4] = {first_byte, 2, (uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    memcpy(engine_room(&client->connection, sizeof(ack)), ack, sizeof(ack));
}

/* Not publish_decode: the broker's correctness is its tests' affair, here it costs our core. */
static bool on_publish(struct client *client, const struct frame *frame)
{
    struct reader reader = reader_of(frame->body);
    unsigned      qos = frame->flags >> 1 & 3U;
    read_sized(&reader);
    uint16_t packet_id = qos > 0 ? read_u16(&reader) : 0;
    if (client_version(client) == MQTT_VERSION_5)
        read_bytes(&reader, read_variable(&reader));
    if (reader.failed)
        return client_violated(client, "a malformed PUBLISH");

    if (qos == 1) {
        acknowledge(client, PACKET_PUBACK << 4, packet_id);
    } else if (qos == 2) {
        acknowledge(client, PACKET_PUBREC << 4, packet_id);
        client->releases++;
    }
    client->events->message(client, read_rest(&reader));
    return true;
}

static bool on_puback_or_pubcomp(struct client *client, const struct frame *frame)
{
    if (frame->body.size < 2 || client->unacked == 0)
        return client_violated(client, "an acknowledgement of nothing");
    if (frame->body.size > 2 && frame->body.data[2] >= MQTT_UNSPECIFIED_ERROR)
        return bench_fail(client->bench, "client %s%u: message refused, code 0x%02x", client->role,
                          client->number, frame->body.data[2]);
    client->unacked--;
    bench_moved(client->bench);
    if (client->events->acked != NULL)
        client->events->acked(client);
    return true;
}

static bool on_pubrec(struct client *client, const struct frame *frame)
{
    if (frame->body.size < 2 || client->unacked == 0)
        return client_violated(client, "a PUBREC of nothing");
    if (frame->body.size > 2 && frame->body.data[2] >= MQTT_UNSPECIFIED_ERROR)
        return bench_fail(client->bench, "client %s%u: message refused, code 0x%02x", client->role,
                          client->number, frame->body.data[2]);
    acknowledge(client, PACKET_PUBREL << 4 | 2,
                (uint16_t)(frame->body.data[0] << 8 | frame->body.data[1]));
    return true;
}

static bool on_pubrel(struct client *client, const struct frame *frame)
{
    if (frame->body.size < 2 || client->releases == 0)
        return client_violated(client, "a PUBREL of nothing");
    client->releases--;
    acknowledge(client, PACKET_PUBCOMP << 4,
                (uint16_t)(frame->body.data[0] << 8 | frame->body.data[1]));
    bench_moved(client->bench);
    return true;
}

static bool on_disconnect(struct client *client, const struct frame *frame)
{
    return bench_fail(client->bench, "client %s%u: disconnected by the broker, code 0x%02x",
                      client->role, client->number,
                      frame->body.size > 0 ? frame->body.data[0] : 0U);
}

static frame_handler *const frame_handlers[PACKET_TYPE_COUNT] = {
    [PACKET_CONNACK] = on_connack,
    [PACKET_PUBLISH] = on_publish,
    [PACKET_PUBACK] = on_puback_or_pubcomp,
    [PACKET_PUBREC] = on_pubrec,
    [PACKET_PUBREL] = on_pubrel,
    [PACKET_PUBCOMP] = on_puback_or_pubcomp,
    [PACKET_SUBACK] = on_suback,
    [PACKET_DISCONNECT] = on_disconnect,
};

static bool client_handle(struct client *client, const struct frame *frame)
{
    frame_handler *handler = frame_handlers[frame->type];
    if (handler == NULL)
        return client_violated(client, "a packet no server sends");
    return handler(client, frame);
}

/* Handles whole frames at the start of `bytes` and returns what is left of it. */
static struct slice client_consume(struct client *client, struct slice bytes)
{
    struct frame frame;
    while (!bench_failed(client->bench)) {
        enum frame_status status = frame_decode(bytes, &frame);
        if (status == FRAME_INCOMPLETE)
            return bytes;
        if (status == FRAME_MALFORMED) {
            client_violated(client, "a malformed fixed header");
            break;
        }
        client_handle(client, &frame);
        bytes = slice_of(bytes.data + frame.size, bytes.size - frame.size);
    }
    return (struct slice){0};
}

static void partial_append(struct client *client, struct slice bytes)
{
    uint32_t size = client->partial_size + bytes.size;
    if (size > client->partial_capacity) {
        uint32_t capacity = size > PARTIAL_SIZE_MIN ? size : PARTIAL_SIZE_MIN;
        client->partial = realloc(client->partial, capacity);
        if (client->partial == NULL)
            abort();
        client->partial_capacity = capacity;
    }
    memcpy(client->partial + client->partial_size, bytes.data, bytes.size);
    client->partial_size = size;
}

/* Completes the frame that an earlier buffer began; returns what follows it. */
static struct slice partial_complete(struct client *client, struct slice bytes)
{
    while (client->partial_size > 0 && bytes.size > 0) {
        struct frame frame;
        frame_decode(slice_of(client->partial, client->partial_size), &frame);
        /* One byte at a time only while the length itself is cut. */
        uint32_t wanted = frame.size > 0 ? frame.size - client->partial_size : 1;
        uint32_t taken = wanted < bytes.size ? wanted : bytes.size;
        partial_append(client, slice_of(bytes.data, taken));
        bytes = slice_of(bytes.data + taken, bytes.size - taken);
        if (client_consume(client, slice_of(client->partial, client->partial_size)).size == 0)
            client->partial_size = 0;
    }
    return bytes;
}

static void on_received(struct connection *connection, struct slice bytes)
{
    struct client *client = client_of(connection);
    if (client->partial_size > 0)
        bytes = partial_complete(client, bytes);
    bytes = client_consume(client, bytes);
    if (bytes.size > 0)
        partial_append(client, bytes);
}

static void on_closed(struct connection *connection, int status)
{
    struct client *client = client_of(connection);
    if (client->phase == CLIENT_READY)
        client->bench->ready_count--;
    client->phase = CLIENT_CLOSED;
    bench_moved(client->bench);
    if (!client->end_expected) {
        bench_fail(client->bench, "client %s%u: connection lost: %s", client->role, client->number,
                   status == 0 ? "closed by the broker" : strerror(-status));
        return;
    }
    if (client->events->closed != NULL)
        client->events->closed(client);
}

const struct engine_handler client_handler = {
    .connected = on_connected,
    .received = on_received,
    .closed = on_closed,
};

void publication_encode(struct publication *publication, enum mqtt_version version,
                        const char *topic, uint8_t qos, bool retain, uint32_t payload_size)
{
    struct publish_head head = {
        .topic = slice_text(topic),
        .payload_size = payload_size,
        .packet_id = qos > 0 ? 1 : 0,
        .qos = qos,
        .retain = retain,
    };
    uint32_t head_size = publish_head_size(version, &head);
    uint32_t size = head_size + payload_size;
    uint8_t *frame = calloc(1, size);
    assert(head_size > 0 && frame != NULL);
    struct writer writer = {.at = frame, .end = frame + size};
    publish_head_write(version, &head, &writer);

    uint32_t id_end = version == MQTT_VERSION_5 ? head_size - 1 : head_size;
    *publication = (struct publication){
        .frame = frame,
        .size = size,
        .packet_id_at = qos > 0 ? id_end - 2 : 0,
        .payload_at = head_size,
    };
}

uint8_t *client_publish(struct client *client, const struct publication *publication)
{
    uint8_t *frame = engine_room(&client->connection, publication->size);
    memcpy(frame, publication->frame, publication->size);
    if (publication->packet_id_at > 0) {
        client->packet_id = client->packet_id == UINT16_MAX ? 1 : (uint16_t)(client->packet_id + 1);
        frame[publication->packet_id_at] = (uint8_t)(client->packet_id >> 8);
        frame[publication->packet_id_at + 1] = (uint8_t)client->packet_id;
        client->unacked++;
    }
    client->bench->published++;
    return frame + publication->payload_at;
}
