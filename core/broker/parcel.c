/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/parcel.h"

#include "core/base/memory.h"
#include "core/broker/broker.h"
#include "core/broker/message.h"
#include "core/broker/retaining.h"
#include "core/broker/sharing.h"
#include "core/broker/subscribing.h"

#include <stdlib.h>

#define OUTBOX_CAPACITY_MIN 256U

/* Twice the room; the numbers of the parcels stay. */
static void outbox_grow(struct outbox *outbox)
{
    uint32_t       capacity = outbox->capacity == 0 ? OUTBOX_CAPACITY_MIN : outbox->capacity * 2;
    struct parcel *parcels = memory_need(NULL, capacity * sizeof(*parcels));
    for (uint32_t number = outbox->first; number != outbox->next; number++)
        parcels[number & (capacity - 1)] = outbox->parcels[number & (outbox->capacity - 1)];
    free(outbox->parcels);
    outbox->parcels = parcels;
    outbox->capacity = capacity;
}

void outbox_push(struct outbox *outbox, struct parcel parcel)
{
    if (outbox_count(outbox) == outbox->capacity)
        outbox_grow(outbox);
    outbox->parcels[outbox->next++ & (outbox->capacity - 1)] = parcel;
}

void outbox_fini(struct outbox *outbox)
{
    struct parcel *parcel;
    while ((parcel = outbox_peek(outbox)) != NULL) {
        parcel_drop(parcel);
        outbox_pop(outbox);
    }
    free(outbox->parcels);
    *outbox = (struct outbox){0};
}

void parcel_drop(struct parcel *parcel)
{
    switch ((enum parcel_kind)parcel->kind) {
    case PARCEL_PUBLISH:
    case PARCEL_RELEASE:
    case PARCEL_RETAIN:
    case PARCEL_SHARE_DELIVER:
    case PARCEL_SHARE_RETURN:
        message_release_stopped(parcel->pointer);
        break;
    case PARCEL_INTEREST:
    case PARCEL_INTEREST_DONE:
        interest_request_drop(parcel);
        break;
    case PARCEL_RETAIN_QUERY:
    case PARCEL_RETAIN_FOUND:
    case PARCEL_RETAIN_MORE:
        retaining_parcel_drop(parcel);
        break;
    case PARCEL_SHARE_JOIN:
    case PARCEL_SHARE_LEAVE:
    case PARCEL_SHARE_DONE:
        sharing_parcel_drop(parcel);
        break;
    case PARCEL_STATISTICS:
        free(parcel->pointer);
        break;
    case PARCEL_NONE:
    case PARCEL_FENCE:
    case PARCEL_FENCE_DONE:
    case PARCEL_SHARE_SETTLED:
    case PARCEL_SHARE_PRESENCE:
    case PARCEL_CORE_COUNT:
    case PARCEL_BODY:
        break;
    }
}
