/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * An MQTT client without a queue: it connects, subscribes to at most one filter, publishes frames
 * that were encoded beforehand, acknowledges what it gets. Scenarios hear of it by client_events.
 */

#include "bench/load/engine.h"
#include "proto/frame.h"

struct bench;
struct client;

/* NULL where a scenario does not care. */
struct client_events {
    void (*ready)(struct client *client); /* CONNACK, and SUBACK where it subscribes */
    void (*message)(struct client *client, struct slice payload);
    void (*acked)(struct client *client); /* one PUBLISH of ours is done (QoS 1 and 2) */
    void (*closed)(struct client *client);
};

enum client_phase { CLIENT_CLOSED, CLIENT_CONNECTING, CLIENT_SUBSCRIBING, CLIENT_READY };

struct client {
    struct connection           connection; /* first: the engine hands it back */
    struct bench               *bench;
    const struct client_events *events;
    const char                 *filter;  /* NULL: does not subscribe; the client does not own it */
    const char                 *role;    /* for its client id: "p", "s" */
    uint8_t                    *partial; /* a frame that has not arrived whole */
    uint32_t                    partial_size;
    uint32_t                    partial_capacity;
    uint32_t                    number;
    uint32_t                    unacked;  /* own PUBLISHes the broker has not finished */
    uint32_t                    releases; /* QoS 2 deliveries that await PUBREL */
    uint16_t                    packet_id;
    uint16_t                    receive_maximum; /* the broker's */
    uint8_t                     subscribe_qos;
    enum client_phase           phase;
    bool                        keeps_session;
    bool                        session_present;
    bool                        end_expected; /* DISCONNECT was sent */
};

/* A PUBLISH encoded once and patched for each message. */
struct publication {
    uint8_t *frame;
    uint32_t size;
    uint32_t packet_id_at; /* 0: none (QoS 0) */
    uint32_t payload_at;
};

extern const struct engine_handler client_handler;

bool client_connect(struct client *client);
void client_subscribe(struct client *client);
/* DISCONNECT; the broker is expected to close. */
void client_disconnect(struct client *client);
/* Frees what it holds; a connected one is cut. */
void client_fini(struct client *client);

/* Owned by the caller: free(publication->frame). `payload_size` zero bytes of payload. */
void publication_encode(struct publication *publication, enum mqtt_version version,
                        const char *topic, uint8_t qos, bool retain, uint32_t payload_size);

/* Writes one message and returns its payload, to be stamped at once. */
uint8_t *client_publish(struct client *client, const struct publication *publication);
