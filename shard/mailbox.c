/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int mailbox_init(struct mailbox *mailbox, uint32_t capacity)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);

    /* Not touched until used: pages of pairs that never talk cost nothing. */
    *mailbox = (struct mailbox){.capacity = capacity};
    mailbox->slots = calloc(capacity, sizeof(*mailbox->slots));
    return mailbox->slots != NULL ? 0 : -ENOMEM;
}

void mailbox_fini(struct mailbox *mailbox)
{
    free(mailbox->slots);
    mailbox->slots = NULL;
}

bool mailbox_push(struct mailbox *mailbox, const struct parcel *parcel)
{
    assert(parcel->kind != PARCEL_NONE);

    if (mailbox->pushed - mailbox->popped_seen == mailbox->capacity) {
        /* The slots are free again; pairs with the release in mailbox_return. */
        mailbox->popped_seen = atomic_load_explicit(&mailbox->popped, memory_order_acquire);
        if (mailbox->pushed - mailbox->popped_seen == mailbox->capacity)
            return false;
    }
    mailbox->slots[mailbox->pushed & (mailbox->capacity - 1)] = *parcel;
    mailbox->pushed++;
    return true;
}

void mailbox_publish(struct mailbox *mailbox)
{
    /*
     * Publishes the slots; pairs with the acquire of `published` in mailbox_pop. Sequentially
     * consistent because the load of `parked` in parking_claim must not pass it.
     */
    atomic_store_explicit(&mailbox->published, mailbox->pushed, memory_order_seq_cst);

    uint32_t popped = atomic_load_explicit(&mailbox->popped, memory_order_acquire);
    mailbox->popped_seen = popped;
    if (mailbox->pushed - popped > mailbox->high_water)
        mailbox->high_water = mailbox->pushed - popped;
}

bool mailbox_pop(struct mailbox *mailbox, struct parcel *parcel)
{
    if (mailbox->taken == mailbox->acquired) {
        /* Pairs with the store in mailbox_publish. */
        mailbox->acquired = atomic_load_explicit(&mailbox->published, memory_order_acquire);
        if (mailbox->taken == mailbox->acquired)
            return false;
    }
    *parcel = mailbox->slots[mailbox->taken & (mailbox->capacity - 1)];
    mailbox->taken++;
    assert(parcel->kind != PARCEL_NONE);
    return true;
}

void mailbox_return(struct mailbox *mailbox)
{
    /* Gives the slots back; pairs with the acquire in mailbox_push. */
    atomic_store_explicit(&mailbox->popped, mailbox->taken, memory_order_release);
}

bool mailbox_has_parcels(const struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->published, memory_order_seq_cst) != mailbox->taken;
}

void parking_enter(struct parking *parking)
{
    /* In one total order with `published`: see the header. */
    atomic_store_explicit(&parking->parked, true, memory_order_seq_cst);
}

void parking_leave(struct parking *parking)
{
    atomic_store_explicit(&parking->parked, false, memory_order_relaxed);
}

bool parking_claim(struct parking *parking)
{
    return atomic_load_explicit(&parking->parked, memory_order_seq_cst) &&
           atomic_exchange_explicit(&parking->parked, false, memory_order_seq_cst);
}
