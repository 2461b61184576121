/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/misfit.h"

#include "proto/connect.h"
#include "proto/publish.h"
#include "proto/subscribe.h"
#include "tests/simulation/trace.h"

/* Any number that is no client's: keeps what the broker sends in the wire until it is read. */
#define NOBODY 10000

struct violation {
    uint8_t size;
    uint8_t bytes[12];
    uint8_t version; /* 0: wrong in all versions as it stands */
};

static const struct violation violations[] = {
    {2, {0x00, 0x00}, 0},                                    /* reserved type */
    {2, {0xf0, 0x00}, 0},                                    /* AUTH without a method */
    {2, {0xf1, 0x00}, 0},                                    /* reserved flags */
    {2, {0xc1, 0x00}, 0},                                    /* PINGREQ with flags */
    {3, {0xc0, 0x01, 0x00}, 0},                              /* PINGREQ with a body */
    {4, {0x20, 0x02, 0x00, 0x00}, 0},                        /* CONNACK from a client */
    {2, {0xd0, 0x00}, 0},                                    /* PINGRESP from a client */
    {6, {0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, 0},            /* length of five bytes */
    {5, {0x30, 0xff, 0xff, 0xff, 0x7f}, 0},                  /* more than the largest packet */
    {8, {0x36, 0x06, 0x00, 0x01, 'x', 0x00, 0x01, 0x00}, 0}, /* QoS 3 */
    {8, {0x32, 0x06, 0x00, 0x01, 'x', 0x00, 0x00, 0x00}, 0}, /* packet id 0 */
    {6, {0x30, 0x04, 0x00, 0x01, '#', 0x00}, 0},             /* wildcard in a topic name */
    {7, {0x30, 0x05, 0x00, 0x02, 0xc0, 0x80, 0x00}, 0},      /* no UTF-8 */
    {3, {0x30, 0x01, 0x00}, 0},                              /* cut off inside its body */
    {8, {0x80, 0x06, 0x00, 0x01, 0x00, 0x01, 'a', 0x00}, 4}, /* SUBSCRIBE without its flags */
    {8, {0x82, 0x06, 0x00, 0x00, 0x00, 0x01, 'a', 0x00}, 4}, /* packet id 0 */
    {8, {0x82, 0x06, 0x00, 0x01, 0x00, 0x01, 'a', 0x03}, 4}, /* QoS 3 */
    {4, {0xa2, 0x02, 0x00, 0x01}, 4},                        /* UNSUBSCRIBE from nothing */
    {5, {0xa2, 0x03, 0x00, 0x01, 0x00}, 5},
    {9, {0x80, 0x07, 0x00, 0x01, 0x00, 0x00, 0x01, 'a', 0x00}, 5},
    {9, {0x82, 0x07, 0x00, 0x00, 0x00, 0x00, 0x01, 'a', 0x00}, 5},
    {11, {0x82, 0x09, 0x00, 0x01, 0x02, 0x0b, 0x00, 0x00, 0x01, 'a', 0x00}, 5}, /* identifier 0 */
    {8, {0x30, 0x06, 0x00, 0x00, 0x03, 0x23, 0x00, 0x00}, 5},                   /* alias 0 */
    {5, {0x30, 0x03, 0x00, 0x00, 0x00}, 5}, /* neither topic nor alias */
};

static void misfit_write_connect(const struct misfit *misfit, struct wire *wire)
{
    struct connect connect = {
        .version = misfit->version,
        .client_id = slice_text(misfit->id),
        .clean_start = true,
        .maximum_packet_size = MQTT_PACKET_SIZE_MAX,
        .receive_maximum = UINT16_MAX,
        .request_problem_information = true,
    };
    uint8_t       bytes[128];
    struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    connect_write(&connect, &writer);
    wire_write(wire, bytes, (uint32_t)(writer.at - bytes));
}

static void misfit_write_subscribe(const struct misfit *misfit, struct wire *wire, uint8_t qos)
{
    struct subscribe_entry entry = {.filter = slice_text("#"), .options = {.qos = qos}};
    uint8_t                bytes[64];
    struct writer          writer = {.at = bytes, .end = bytes + sizeof(bytes)};

    subscribe_write(misfit->version, 1, 0, &entry, 1, &writer);
    wire_write(wire, bytes, (uint32_t)(writer.at - bytes));
}

static void misfit_write_flood(const struct misfit *misfit, struct wire *wire,
                               struct random *random)
{
    uint8_t payload[200] = {0};

    for (uint32_t count = random_between(random, 1, 20); count > 0; count--) {
        struct publish_head head = {
            .topic = slice_text("flood/x"),
            .payload_size = random_below(random, random_once_in(random, 20) ? sizeof(payload) : 9),
            .qos = random_once_in(random, 20),
        };
        head.packet_id = (uint16_t)(head.qos == 0 ? 0 : random_between(random, 1, 3));
        uint8_t       bytes[64];
        struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};
        publish_head_write(misfit->version, &head, &writer);
        wire_write(wire, bytes, (uint32_t)(writer.at - bytes));
        wire_write(wire, payload, head.payload_size);
    }
}

static void misfit_violate(struct misfit *misfit, uint32_t slot, struct random *random)
{
    const struct violation *violation;

    do {
        violation = &violations[random_below(random, sizeof(violations) / sizeof(violations[0]))];
    } while (violation->version != 0 && violation->version != misfit->version);
    if (random_once_in(random, 10))
        misfit_write_connect(misfit, misfit->wires[slot]);
    wire_write(misfit->wires[slot], violation->bytes, violation->size);
    misfit->doomed[slot] = true;
    trace_event("%s violates: 0x%02x 0x%02x", misfit->id, violation->bytes[0], violation->bytes[1]);
}

static void misfit_open(struct misfit *misfit, uint32_t slot, struct cluster *cluster,
                        struct random *random)
{
    uint16_t shard = (uint16_t)random_below(random, cluster_shard_count(cluster));

    struct wire *wire = cluster_connect(cluster, shard, NOBODY, -1);
    misfit->wires[slot] = wire;
    misfit->doomed[slot] = false;
    trace_event("%s opens wire %u", misfit->id, wire->number);
    if (misfit->kind == MISFIT_GARBAGE) {
        uint8_t noise[100];
        for (uint32_t at = 0; at < sizeof(noise); at++)
            noise[at] = (uint8_t)random_next(random);
        noise[0] |= 0x80; /* no CONNECT */
        wire_write(wire, noise, random_between(random, 5, sizeof(noise)));
        return;
    }
    misfit_write_connect(misfit, wire);
    if (misfit->kind == MISFIT_SILENT || misfit->kind == MISFIT_NEVER_ACK)
        misfit_write_subscribe(misfit, wire, (uint8_t)random_below(random, 3));
}

static void misfit_use(struct misfit *misfit, uint32_t slot, struct random *random, bool jam)
{
    struct wire *wire = misfit->wires[slot];

    switch (misfit->kind) {
    case MISFIT_GARBAGE:
    case MISFIT_SILENT:
        break;
    case MISFIT_VIOLATOR:
        if (!misfit->doomed[slot])
            misfit_violate(misfit, slot, random);
        break;
    case MISFIT_FLOOD:
        for (uint32_t burst = jam ? 100 : 1; burst > 0 && wire->to_broker.size < 60000; burst--)
            misfit_write_flood(misfit, wire, random);
        break;
    case MISFIT_STORM:
        if (random_once_in(random, 3))
            misfit_write_subscribe(misfit, wire, (uint8_t)random_below(random, 3));
        stream_pop(&wire->to_client, wire->to_client.size);
        break;
    case MISFIT_NEVER_ACK:
        stream_pop(&wire->to_client, wire->to_client.size);
        break;
    case MISFIT_KIND_COUNT:
        break;
    }
    if (!jam && random_once_in(random, 12) && !misfit->doomed[slot]) {
        wire_cut(wire);
        misfit->wires[slot] = NULL;
    }
}

void misfit_step(struct misfit *misfit, struct cluster *cluster, struct random *random, bool jam)
{
    uint32_t slots = misfit->kind == MISFIT_STORM ? MISFIT_WIRES_MAX : 1;
    uint32_t slot = random_below(random, slots);

    if (misfit->wires[slot] != NULL && misfit->wires[slot]->end == WIRE_GONE) {
        misfit->wires[slot]->client = -1;
        misfit->wires[slot] = NULL;
    }
    if (misfit->wires[slot] == NULL)
        misfit_open(misfit, slot, cluster, random);
    else
        misfit_use(misfit, slot, random, jam);
}

bool misfit_got_away(const struct misfit *misfit)
{
    for (uint32_t slot = 0; slot < MISFIT_WIRES_MAX; slot++) {
        const struct wire *wire = misfit->wires[slot];
        if (wire != NULL && misfit->doomed[slot] && wire->end != WIRE_GONE && !wire->ordered)
            return true;
    }
    return false;
}

void misfit_cut(struct misfit *misfit)
{
    for (uint32_t slot = 0; slot < MISFIT_WIRES_MAX; slot++) {
        if (misfit->wires[slot] == NULL)
            continue;
        wire_cut(misfit->wires[slot]);
        misfit->wires[slot] = NULL;
    }
}

void misfit_on_restart(struct misfit *misfit)
{
    for (uint32_t slot = 0; slot < MISFIT_WIRES_MAX; slot++)
        misfit->wires[slot] = NULL;
}
