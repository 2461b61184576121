/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The QoS 1 and 2 messages that one session has sent and that its client has not finished
 * (MQTT-4.3, MQTT-4.4), found by packet identifier: a ring indexed by the identifier's low bits, at
 * least twice as large as what is in it, so that the next free identifier is found at once and two
 * in flight never collide.
 */

#include "core/broker/delivery.h"

enum flight_state {
    FLIGHT_FREE = 0,
    FLIGHT_AWAITS_PUBACK,
    FLIGHT_AWAITS_PUBREC,
    FLIGHT_AWAITS_PUBCOMP,
    FLIGHT_STATE_COUNT,
};

enum flight_event {
    FLIGHT_SENT_QOS1,
    FLIGHT_SENT_QOS2,
    FLIGHT_GOT_PUBACK,
    FLIGHT_GOT_PUBREC,
    FLIGHT_GOT_PUBREC_REFUSAL, /* reason 0x80 and above: the exchange ends (MQTT-4.3.3) */
    FLIGHT_GOT_PUBCOMP,
    FLIGHT_EVENT_COUNT,
};

#define FLIGHT_VIOLATION 0xff

struct flight_entry {
    struct delivery delivery; /* its message is gone once PUBREC arrived */
    uint32_t        order;    /* of sending, for the resend */
    uint8_t         state;
    bool            charged; /* counts against the client's receive maximum */
    uint16_t        unused;
};

struct flight {
    uint32_t            capacity; /* power of two */
    uint32_t            count;
    uint32_t            charged; /* entries that count against the receive maximum */
    uint32_t            next_order;
    uint16_t            next_id;
    uint16_t           *resend; /* identifiers in original order, after a resume */
    uint32_t            resend_at;
    uint32_t            resend_count;
    struct flight_entry entries[];
};

/* The state that `event` leads to from `state`, or FLIGHT_VIOLATION. */
uint8_t flight_next_state(uint8_t state, enum flight_event event);

struct flight *flight_create(void);
void           flight_destroy(struct flight *flight, struct outbox *outboxes);

/*
 * Enters a delivery (QoS 1 or 2), giving it a packet identifier. May move `*flight`. NULL: out of
 * memory or all 65,535 identifiers are in use; the delivery is still the caller's then.
 */
struct flight_entry *flight_enter(struct flight **flight, struct delivery delivery);

/* Where the next delivery will probably be entered. */
static inline void flight_prefetch(const struct flight *flight)
{
    __builtin_prefetch(&flight->entries[flight->next_id & (flight->capacity - 1)], 1);
}

/* The entry of a packet identifier, or NULL. */
struct flight_entry *flight_find(struct flight *flight, uint16_t packet_id);

/* Ends an exchange: frees the identifier; the delivery was dropped or moved before. */
void flight_leave(struct flight *flight, struct flight_entry *entry);

/*
 * A new connection: nothing counts against its receive maximum yet, and everything is to be resent
 * in the order it was first sent (MQTT-4.4.0-1, MQTT-4.6.0-1). False: out of memory.
 */
bool flight_resume(struct flight *flight);

/* The next entry to resend, or NULL; flight_resent moves on. */
struct flight_entry *flight_to_resend(struct flight *flight);
void                 flight_resent(struct flight *flight);
