/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/fences.h"

#include "core/base/memory.h"
#include "core/broker/state.h"

#include <stdlib.h>

struct fences {
    struct fences           *next;
    struct interest_garbage *garbage;
    uint32_t                 cookie;
    uint16_t                 answers_missing;
};

void fences_wait(struct broker *broker, struct interest_garbage *garbage)
{
    if (broker->shard_count == 1) {
        interest_free_garbage(garbage);
        return;
    }
    struct fences *fence = memory_need(NULL, sizeof(*fence));
    *fence = (struct fences){
        .next = broker->fences,
        .garbage = garbage,
        .cookie = ++broker->fence_cookie,
        .answers_missing = (uint16_t)(broker->shard_count - 1),
    };
    broker->fences = fence;
    for (uint16_t shard = 0; shard < broker->shard_count; shard++)
        if (shard != broker->shard)
            broker_post(broker, shard,
                        (struct parcel){.kind = PARCEL_FENCE, .number = fence->cookie});
}

/* Parcels are received between uses of the table: whoever answers is not inside a match. */
void fences_on_fence(struct broker *broker, const struct parcel *parcel)
{
    broker_post(broker, parcel->from,
                (struct parcel){.kind = PARCEL_FENCE_DONE, .number = parcel->number});
}

void fences_on_done(struct broker *broker, const struct parcel *parcel)
{
    for (struct fences **at = &broker->fences; *at != NULL; at = &(*at)->next) {
        struct fences *fence = *at;
        if (fence->cookie != parcel->number)
            continue;
        if (--fence->answers_missing > 0)
            return;
        *at = fence->next;
        interest_free_garbage(fence->garbage);
        free(fence);
        return;
    }
}

void fences_fini(struct broker *broker)
{
    while (broker->fences != NULL) {
        struct fences *fence = broker->fences;
        broker->fences = fence->next;
        interest_free_garbage(fence->garbage);
        free(fence);
    }
}
