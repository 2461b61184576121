/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Parcels from one shard to another: a ring of one producer and one consumer for each ordered pair.
 * Many are pushed, then published at once: one shared store a turn, not one a parcel.
 *
 *   producer's line            slots                  consumer's line
 *   pushed   (private)    [ . . P P P . . . ]         popped (shared, written by the consumer)
 *   published (shared) ------------^  ^-------------- acquired (private copy of published)
 *   popped_seen (private)
 *
 * Who may sleep says so in a parked flag (one a shard) and looks into its mailboxes once more; who
 * publishes looks at the flag afterwards. Both in the one total order, so one of them sees the
 * other.
 */

#include "core/broker/parcel.h"

#include <stdatomic.h>

#define CACHE_LINE 64

struct mailbox {
    _Alignas(CACHE_LINE) struct parcel *slots;
    uint32_t capacity; /* power of two */

    /* the producer's */
    _Alignas(CACHE_LINE) uint32_t pushed;
    uint32_t popped_seen;
    uint32_t high_water;

    _Alignas(CACHE_LINE) _Atomic uint32_t published;

    /* the consumer's */
    _Alignas(CACHE_LINE) _Atomic uint32_t popped;
    uint32_t taken;
    uint32_t acquired;
};

/* -ENOMEM or 0. */
__attribute__((warn_unused_result)) int mailbox_init(struct mailbox *mailbox, uint32_t capacity);
void                                    mailbox_fini(struct mailbox *mailbox);

/* Producer: false when full. Seen by the consumer after mailbox_publish. */
bool mailbox_push(struct mailbox *mailbox, const struct parcel *parcel);
void mailbox_publish(struct mailbox *mailbox);

/* Consumer: false when empty. Room is given back by mailbox_return. */
bool mailbox_pop(struct mailbox *mailbox, struct parcel *parcel);
void mailbox_return(struct mailbox *mailbox);
bool mailbox_has_parcels(const struct mailbox *mailbox);

struct parking {
    _Alignas(CACHE_LINE) _Atomic bool parked;
};

/* Before the consumer looks into its mailboxes for the last time, and after it slept. */
void parking_enter(struct parking *parking);
void parking_leave(struct parking *parking);

/* After publishing: true when the consumer must be woken, told to one producer only. */
bool parking_claim(struct parking *parking);
