/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/batching.h"

#define ACTIVE_MIN    12U /* fewer connections are never delayed */
#define COUNT_MAX     256U
#define GATHER_MAX_US 500U

void batching_init(struct batching *batching, enum options_batching policy, uint32_t wait_max_us)
{
    *batching = (struct batching){.policy = policy, .wait_max_us = wait_max_us};
}

void batching_tick(struct batching *batching, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - batching->now_ms;
    if (passed_ms == 0)
        return;

    /* An eighth of the way to the new value; silent milliseconds count as zero. */
    uint32_t average_x16 = (uint32_t)((uint64_t)batching->heard * 16 / passed_ms);
    uint32_t steps = passed_ms < 64 ? (uint32_t)passed_ms : 64;
    uint32_t active_x16 = batching->active_x16;
    for (uint32_t step = 0; step < steps; step++)
        active_x16 = (active_x16 * 7 + average_x16) / 8;

    batching->active_x16 = active_x16;
    batching->heard = 0;
    batching->now_ms = now_ms;
}

uint32_t batching_active(const struct batching *batching)
{
    return batching->active_x16 / 16;
}

struct batching_wait batching_decide(enum options_batching policy, uint32_t wait_max_us,
                                     uint32_t active)
{
    const struct batching_wait at_once = {.count = 1, .gather_us = 0};

    if (wait_max_us == 0 || policy == OPTIONS_BATCHING_LATENCY)
        return at_once;
    if (policy == OPTIONS_BATCHING_THROUGHPUT)
        return (struct batching_wait){.count = COUNT_MAX, .gather_us = wait_max_us};
    if (active < ACTIVE_MIN)
        return at_once;

    return (struct batching_wait){
        .count = active / 2 < COUNT_MAX ? active / 2 : COUNT_MAX,
        .gather_us = wait_max_us < GATHER_MAX_US ? wait_max_us : GATHER_MAX_US,
    };
}
