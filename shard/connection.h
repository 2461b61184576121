/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The shard's side of a link: its descriptor, what the kernel is doing for it, and how far its end
 * has come. An array by link slot, in slabs that never move and are made when first needed.
 *
 *   OPEN --ORDER_CLOSE--> FLUSHING --all sent--> LINGERING --peer closed, or time is up--> ENDING
 *   OPEN --ORDER_HANDOVER--> MOVING --descriptor is over there--> ENDING
 *   any  --ORDER_ABORT--> ENDING --no operation left--> ENDED --next turn: broker_forget--> FREE
 *
 * FLUSHING and LINGERING read on and throw away: closing a socket with unread bytes resets it, and
 * the peer would lose the DISCONNECT that tells it why.
 */

#include "core/base/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct carry;
struct send_parts;

enum connection_life {
    LIFE_FREE = 0,
    LIFE_OPEN,
    LIFE_FLUSHING,
    LIFE_LINGERING,
    LIFE_MOVING,
    LIFE_ENDING,
    LIFE_ENDED,
};

enum receive_mode {
    RECEIVE_NONE = 0,
    RECEIVE_POLL, /* idle: told when there is something to read */
    RECEIVE_MANY, /* multishot, into the shard's buffers */
    RECEIVE_INTO, /* the rest of a large frame, straight into its carry */
};

#define NOT_TIMED UINT32_MAX

struct connection {
    _Alignas(64) struct carry *carry;
    struct send_parts *parts;       /* of the send in flight, when it has more than one */
    uint32_t           generation;  /* of the link */
    uint32_t           file;        /* direct descriptor, or plain one without a table */
    uint32_t           timed_index; /* in the shard's list of connections with a clock */
    uint32_t           heard_ms;    /* low bits; when something was received last */
    uint32_t           due_ms;      /* low bits; when FLUSHING or LINGERING is given up */
    uint16_t           listener;
    uint16_t           target; /* of the hand-over */
    uint8_t            life;
    uint8_t            receive;    /* armed in the kernel */
    uint8_t            operations; /* in the kernel, that use the link */
    bool               cancelling; /* the armed receive was told to end */
    bool               sending;
    bool               send_cancelled;
    bool               dirty; /* in the shard's list to flush */
    bool               paused;
    bool               resuming; /* in the shard's list of those to be presented again */
    bool               idle;     /* quiet for long: poll instead of receive */
    bool               hung_up;  /* nothing more will be received */
    bool               broken;   /* nothing more can be sent */
};

_Static_assert(sizeof(struct connection) == 64, "one cache line a connection");

struct connections {
    struct connection **slabs;
    uint32_t            slab_count;
    uint32_t            slabs_max;
};

/* Room for slots below `links_max`. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int connections_init(struct connections *connections,
                                                         uint32_t            links_max);
void                                    connections_fini(struct connections *connections);

/* Makes the slot usable. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int connections_reserve(struct connections *connections,
                                                            uint32_t            slot);

/* How many slots are usable: the bound of a walk. */
uint32_t connections_slots(const struct connections *connections);

#define CONNECTIONS_SLAB_SHIFT 9U

static inline struct connection *connections_at(const struct connections *connections,
                                                uint32_t                  slot)
{
    uint32_t in_slab = slot & ((1U << CONNECTIONS_SLAB_SHIFT) - 1);
    return &connections->slabs[slot >> CONNECTIONS_SLAB_SHIFT][in_slab];
}

/* NULL when the link is gone. */
struct connection *connections_get(const struct connections *connections, struct handle link);

/*
 * Slots in no order; a slot is in it once at most, so its room is that of all slots, from the
 * start: what is not used is never touched and takes no memory.
 */
struct slot_list {
    uint32_t *slots;
    uint32_t  count;
    uint32_t  capacity;
};

__attribute__((warn_unused_result)) int slot_list_init(struct slot_list *list, uint32_t capacity);
void                                    slot_list_push(struct slot_list *list, uint32_t slot);
void                                    slot_list_fini(struct slot_list *list);
