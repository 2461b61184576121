/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What shards send each other. A parcel moves: after it was pushed, the sender must not look at
 * what it points at (a message excepted: it is immutable and counted at its home). Parcels of one
 * shard to another arrive in the order they were pushed.
 *
 * Outboxes: core pushes, the shard carries. A parcel waits here while the mailbox is full; core
 * stops reading the connections that feed an outbox above its mark until it has drained.
 */

#include <stdbool.h>
#include <stdint.h>

enum parcel_kind {
    PARCEL_NONE,
    PARCEL_PUBLISH,  /* pointer: message of the sender, one reference: RELEASE comes back */
    PARCEL_RELEASE,  /* pointer: message of the receiver */
    PARCEL_INTEREST, /* pointer: struct interest_request, comes back as INTEREST_DONE */
    PARCEL_INTEREST_DONE,
    PARCEL_FENCE, /* number: cookie; comes back once the receiver passed a turn */
    PARCEL_FENCE_DONE,
    PARCEL_RETAIN,       /* pointer: message to store (or to clear with) at its topic home */
    PARCEL_RETAIN_QUERY, /* pointer: struct retain_query */
    PARCEL_RETAIN_FOUND, /* pointer: struct retain_batch: some messages, last or more to come */
    PARCEL_RETAIN_MORE,  /* the batch comes back, empty: ready for the next one */
    PARCEL_SHARE_JOIN,   /* pointer: struct share_request */
    PARCEL_SHARE_LEAVE,
    PARCEL_SHARE_DONE,     /* answer to join or leave */
    PARCEL_SHARE_DELIVER,  /* pointer: message; words: session and group: give it to that member */
    PARCEL_SHARE_RETURN,   /* the same back: the member is gone, pick another */
    PARCEL_SHARE_SETTLED,  /* a member's message is done (least_inflight counts them) */
    PARCEL_SHARE_PRESENCE, /* a member's connection came or went */
    PARCEL_STATISTICS,     /* pointer: struct statistics copy, for `$SYS` on shard 0 */
    PARCEL_CORE_COUNT,
    PARCEL_BODY = 128, /* from here on the kinds are the shard's own (hand-over, stop) */
};

struct parcel {
    uint8_t  kind;
    uint8_t  flags;
    uint16_t from; /* set by the shard that carries it */
    uint32_t number;
    void    *pointer;
    uint64_t words[2];
};

_Static_assert(sizeof(struct parcel) == 32, "two parcels a cache line");

/* First in, first out; grows as needed. Filled by core, emptied from the front by the shard. */
struct outbox {
    struct parcel *parcels;
    uint32_t       capacity; /* power of two, 0 at first */
    uint32_t       first;    /* running numbers: index = number & (capacity - 1) */
    uint32_t       next;
};

static inline uint32_t outbox_count(const struct outbox *outbox)
{
    return outbox->next - outbox->first;
}

/* The oldest parcel; NULL when empty. Pop after it was carried. */
static inline struct parcel *outbox_peek(struct outbox *outbox)
{
    return outbox->first == outbox->next ? (struct parcel *)0
                                         : &outbox->parcels[outbox->first & (outbox->capacity - 1)];
}

static inline void outbox_pop(struct outbox *outbox)
{
    outbox->first++;
}

/* Aborts the process with one sentence when out of memory: a lost parcel would be a lost message.
 */
void outbox_push(struct outbox *outbox, struct parcel parcel);
void outbox_fini(struct outbox *outbox);
