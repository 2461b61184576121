/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/statistics.h"

#include <stddef.h>

static const char *const drop_cause_names[DROP_CAUSE_COUNT] = {
    [DROP_QUEUE_FULL] = "queue_full",         [DROP_QOS0_OFFLINE] = "qos0_offline",
    [DROP_QOS0_CONGESTED] = "qos0_congested", [DROP_EXPIRED] = "expired",
    [DROP_TOO_LARGE] = "too_large",           [DROP_SESSION_ENDED] = "session_ended",
    [DROP_SHARE_NOBODY] = "share_nobody",     [DROP_OUT_OF_MEMORY] = "out_of_memory",
};

const char *drop_cause_name(enum drop_cause cause)
{
    return drop_cause_names[cause];
}

void statistics_add(struct statistics *sum, const struct statistics *other)
{
    /* All fields are counters of one type: a new one is summed without a word here. */
    _Static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "counters only");
    uint64_t        high_water = sum->outbox_high_water > other->outbox_high_water
                                     ? sum->outbox_high_water
                                     : other->outbox_high_water;
    uint64_t       *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)other;

    for (size_t field = 0; field < sizeof(*sum) / sizeof(*to); field++)
        to[field] += from[field];
    sum->outbox_high_water = high_water;
}
