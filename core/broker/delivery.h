/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One message on its way to one session: waiting in the backlog or in flight. It holds a reference
 * of the message and, where more than one subscription identifier goes with it, a list of them.
 */

#include "core/broker/message.h"

struct delivery {
    struct message *message;
    uint64_t        identifiers; /* identifiers_pack */
    uint8_t         qos;
    uint8_t         flags;     /* enum delivery_flag */
    uint16_t        packet_id; /* once in flight */
    uint32_t        share;     /* number of the session's share subscription; 0 none */
};

_Static_assert(sizeof(struct delivery) == 24, "queues are made of these");

enum delivery_flag {
    DELIVERY_RETAIN = 1, /* the retain bit as this receiver gets it */
};

/* None, one, or a list, in one word. 0 with `*failed` when out of memory. */
uint64_t identifiers_pack(const uint32_t *identifiers, uint32_t count, bool *failed);
void     identifiers_free(uint64_t packed);

/* A view: `*single` serves where there is only one. Returns the count. */
uint32_t identifiers_view(uint64_t packed, uint32_t *single, const uint32_t **identifiers);

/* Lets go of what the delivery holds. */
void delivery_drop(struct delivery *delivery, struct outbox *outboxes);

/* Deliveries that wait: a ring that grows, with holes where one was taken out of the middle. */
struct backlog {
    struct delivery *ring;
    uint32_t         capacity; /* power of two */
    uint32_t         first;    /* running numbers; the delivery at `first` is never a hole */
    uint32_t         next;
    uint32_t         count; /* without holes */
    uint32_t         qos0_count;
    uint64_t         bytes;
};

struct backlog  *backlog_create(void);
void             backlog_destroy(struct backlog *backlog, struct outbox *outboxes);
bool             backlog_push(struct backlog *backlog, struct delivery delivery);
struct delivery *backlog_front(struct backlog *backlog); /* NULL when empty */
struct delivery  backlog_pop(struct backlog *backlog);   /* the front moves out */

/* Takes the oldest QoS 0 delivery out, wherever it stands; false: there is none. */
bool backlog_take_qos0(struct backlog *backlog, struct delivery *delivery);

/* What a delivery counts against the limit of bytes. */
static inline uint64_t delivery_size(const struct delivery *delivery)
{
    return (uint64_t)delivery->message->payload_size + delivery->message->forward_size +
           delivery->message->topic_size;
}
