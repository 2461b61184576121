/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A message that outlives the receive buffer: immutable, one allocation, counted with a plain
 * integer at its home shard (where it arrived). On another shard it is a *proxy*: a local header
 * with its own count that points at the same bytes and stands for exactly one reference of the
 * header it was made of; when the proxy goes, a RELEASE parcel takes that reference back. A message
 * that travels on from there (to a share group's member) is a proxy of a proxy: whoever sends a
 * message sends a header of its own, so nobody ever counts on another shard's header.
 *
 *      shard A                                shard B
 *   struct message  <--- origin -----------  struct message (proxy)
 *   | topic | forward | payload | <-- bytes--+
 */

#include "core/broker/parcel.h"
#include "proto/bytes.h"

struct message {
    uint32_t        references; /* of this header, by its own shard only */
    uint16_t        home;       /* owner of `origin`; without one, the shard where it arrived */
    uint8_t         qos;        /* as published */
    uint8_t         flags;      /* enum message_flag */
    uint32_t        payload_size;
    uint16_t        topic_size;
    uint16_t        unused;
    uint32_t        forward_size; /* MQTT 5 properties that travel on (publish_write_forward) */
    uint32_t        publisher_shard;
    uint64_t        publisher;  /* name_hash of the publisher's client id; 0: the broker itself */
    uint64_t        expires_ms; /* monotonic; 0 never */
    const uint8_t  *bytes;      /* topic, forward, payload, back to back */
    struct message *origin;     /* NULL unless a proxy */
};

enum message_flag {
    MESSAGE_RETAIN = 1, /* the publisher's retain bit */
};

static inline struct slice message_topic(const struct message *message)
{
    return slice_of(message->bytes, message->topic_size);
}

static inline struct slice message_forward(const struct message *message)
{
    return slice_of(message->bytes + message->topic_size, message->forward_size);
}

static inline struct slice message_payload(const struct message *message)
{
    return slice_of(message->bytes + message->topic_size + message->forward_size,
                    message->payload_size);
}

static inline bool message_expired(const struct message *message, uint64_t now_ms)
{
    return message->expires_ms != 0 && message->expires_ms <= now_ms;
}

/*
 * Room for a message of these sizes, with one reference and home `shard`. `*writable` is where
 * topic, forward and payload go. NULL when out of memory.
 */
struct message *message_create(uint16_t shard, uint16_t topic_size, uint32_t forward_size,
                               uint32_t payload_size, uint8_t **writable);

/* A proxy for one reference of `origin`, a header of shard `owner`. NULL: out of memory. */
struct message *message_create_proxy(uint16_t owner, struct message *origin);

static inline struct message *message_retain(struct message *message)
{
    message->references++;
    return message;
}

/* Drops one reference; the last one frees. A proxy pushes a RELEASE to outboxes[home]. */
void message_release(struct message *message, struct outbox *outboxes);

/* The same when all shards have stopped and any header may be touched. */
void message_release_stopped(struct message *message);
