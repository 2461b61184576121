/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/post.h"

#include "shard/lifecycle.h"

#include <sys/eventfd.h>

#define PARCELS_A_TURN 1024U /* from each sibling */

static void receive_from(struct shard *shard, uint16_t sibling)
{
    struct mailbox *mailbox = fabric_mailbox(shard->fabric, sibling, shard->number);
    struct parcel   parcel;
    uint32_t        count = 0;

    while (count < PARCELS_A_TURN && mailbox_pop(mailbox, &parcel)) {
        parcel.from = sibling;
        if (parcel.kind < PARCEL_CORE_COUNT)
            broker_parcel(shard->broker, &parcel);
        else
            lifecycle_moved_in(shard, &parcel);
        count++;
    }
    if (count == 0)
        return;
    mailbox_return(mailbox);
    shard->statistics.parcels_in += count;
    shard->parcels_moved = true;
    shard->parcels_left |= count == PARCELS_A_TURN;
}

void post_receive(struct shard *shard)
{
    shard->parcels_left = false;
    for (uint16_t sibling = 0; sibling < shard->fabric->shard_count; sibling++) {
        if (sibling != shard->number)
            receive_from(shard, sibling);
    }
}

static void wake(struct shard *shard, uint16_t sibling)
{
    if (!parking_claim(&shard->fabric->parkings[sibling]))
        return;
    shard->statistics.wakes++;
    if (shard->fabric->features.ring_wake)
        ring_wake(shard->ring, token_of(OPERATION_WAKE, sibling, 0), shard->fabric->rings[sibling],
                  token_of(OPERATION_WOKEN, 0, 0));
    else
        post_on_wake_failed(shard, sibling);
}

void post_on_wake_failed(const struct shard *shard, uint32_t sibling)
{
    /* Cannot block or fail: the counter would have to reach 2^64. */
    (void)eventfd_write(shard->fabric->events[sibling], 1);
}

static void send_to(struct shard *shard, uint16_t sibling, struct outbox *outbox)
{
    struct mailbox *mailbox = fabric_mailbox(shard->fabric, shard->number, sibling);
    uint32_t        count = 0;

    for (struct parcel *parcel = outbox_peek(outbox); parcel != NULL;
         parcel = outbox_peek(outbox)) {
        parcel->from = shard->number;
        if (!mailbox_push(mailbox, parcel))
            break;
        outbox_pop(outbox);
        count++;
    }
    if (count > 0) {
        mailbox_publish(mailbox);
        shard->statistics.parcels_out += count;
        shard->parcels_moved = true;
        if (mailbox->high_water > shard->statistics.mailbox_high_water)
            shard->statistics.mailbox_high_water = mailbox->high_water;
        wake(shard, sibling);
    }
    if (outbox_count(outbox) > 0) {
        shard->statistics.mailbox_full++;
        shard->parcels_wait = true;
    }
}

void post_send(struct shard *shard)
{
    struct outbox *outboxes = broker_outboxes(shard->broker);

    shard->parcels_wait = false;
    for (uint16_t sibling = 0; sibling < shard->fabric->shard_count; sibling++) {
        if (sibling != shard->number && outbox_count(&outboxes[sibling]) > 0)
            send_to(shard, sibling, &outboxes[sibling]);
    }
}

bool post_has_parcels(const struct shard *shard)
{
    for (uint16_t sibling = 0; sibling < shard->fabric->shard_count; sibling++) {
        if (sibling != shard->number &&
            mailbox_has_parcels(fabric_mailbox(shard->fabric, sibling, shard->number)))
            return true;
    }
    return false;
}

void post_drop_all(struct fabric *fabric)
{
    uint32_t      pairs = (uint32_t)fabric->shard_count * fabric->shard_count;
    struct parcel parcel;

    for (uint32_t pair = 0; pair < pairs; pair++) {
        while (mailbox_pop(&fabric->mailboxes[pair], &parcel)) {
            if (parcel.kind < PARCEL_CORE_COUNT)
                parcel_drop(&parcel);
            else
                lifecycle_drop(&parcel);
        }
    }
}
