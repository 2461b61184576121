/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/message.h"

#include <assert.h>
#include <stdlib.h>

struct message *message_create(uint16_t shard, uint16_t topic_size, uint32_t forward_size,
                               uint32_t payload_size, uint8_t **writable)
{
    size_t          bytes = (size_t)topic_size + forward_size + payload_size;
    struct message *message = malloc(sizeof(*message) + bytes);
    if (message == NULL)
        return NULL;

    *writable = (uint8_t *)(message + 1);
    *message = (struct message){
        .references = 1,
        .home = shard,
        .topic_size = topic_size,
        .forward_size = forward_size,
        .payload_size = payload_size,
        .publisher_shard = shard,
        .bytes = *writable,
    };
    return message;
}

struct message *message_create_proxy(uint16_t owner, struct message *origin)
{
    struct message *proxy = malloc(sizeof(*proxy));
    if (proxy == NULL)
        return NULL;
    /* Every field but the count is immutable at home, so copying them needs no order. */
    *proxy = (struct message){
        .references = 1,
        .home = owner,
        .qos = origin->qos,
        .flags = origin->flags,
        .payload_size = origin->payload_size,
        .topic_size = origin->topic_size,
        .forward_size = origin->forward_size,
        .publisher_shard = origin->publisher_shard,
        .publisher = origin->publisher,
        .expires_ms = origin->expires_ms,
        .bytes = origin->bytes,
        .origin = origin,
    };
    return proxy;
}

void message_release(struct message *message, struct outbox *outboxes)
{
    assert(message->references > 0);
    if (--message->references > 0)
        return;
    if (message->origin != NULL)
        outbox_push(&outboxes[message->home],
                    (struct parcel){.kind = PARCEL_RELEASE, .pointer = message->origin});
    free(message);
}

void message_release_stopped(struct message *message)
{
    while (message != NULL) {
        assert(message->references > 0);
        if (--message->references > 0)
            return;
        struct message *origin = message->origin;
        free(message);
        message = origin;
    }
}
