/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/batching.h"

#define EAGER_ACTIVE_MIN 12U /* fewer connections that wait for answers are never delayed */
#define CALM_ACTIVE_MIN  4U  /* nor fewer of those that speak once in a while */
#define EAGER_RECEIVES   3U  /* a millisecond and connection */
#define COUNT_MAX        256U
#define EAGER_GATHER_US  500U
#define CALM_GATHER_US   700U

void batching_init(struct batching *batching, enum options_batching policy, uint32_t wait_max_us)
{
    *batching = (struct batching){.policy = policy, .wait_max_us = wait_max_us};
}

/* An eighth of the way to the new value for each millisecond; silent ones count as zero. */
static void smooth(uint32_t *value_x16, uint32_t count, uint64_t passed_ms)
{
    uint32_t average_x16 = (uint32_t)((uint64_t)count * 16 / passed_ms);
    uint64_t steps = passed_ms < 64 ? passed_ms : 64;
    for (uint64_t step = 0; step < steps; step++)
        *value_x16 = (*value_x16 * 7 + average_x16) / 8;
}

void batching_tick(struct batching *batching, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - batching->now_ms;
    if (passed_ms == 0)
        return;

    smooth(&batching->load.active_x16, batching->heard, passed_ms);
    smooth(&batching->load.receives_x16, batching->receives, passed_ms);
    batching->heard = 0;
    batching->receives = 0;
    batching->now_ms = now_ms;
}

struct batching_load batching_load(const struct batching *batching)
{
    return (struct batching_load){.active = batching->load.active_x16 / 16,
                                  .receives = batching->load.receives_x16 / 16};
}

struct batching_wait batching_decide(enum options_batching policy, uint32_t wait_max_us,
                                     struct batching_load load)
{
    const struct batching_wait at_once = {.count = 1, .gather_us = 0};

    if (wait_max_us == 0 || policy == OPTIONS_BATCHING_LATENCY)
        return at_once;
    if (policy == OPTIONS_BATCHING_THROUGHPUT)
        return (struct batching_wait){.count = COUNT_MAX, .gather_us = wait_max_us};

    bool eager = load.receives >= EAGER_RECEIVES * load.active;
    if (load.active < (eager ? EAGER_ACTIVE_MIN : CALM_ACTIVE_MIN))
        return at_once;

    /* The calm ones may wait for a millisecond's worth; half of the eager ones, for each other. */
    uint32_t count = eager ? load.active / 2 : load.active;
    uint32_t gather_us = eager ? EAGER_GATHER_US : CALM_GATHER_US;
    return (struct batching_wait){
        .count = count < COUNT_MAX ? count : COUNT_MAX,
        .gather_us = wait_max_us < gather_us ? wait_max_us : gather_us,
    };
}
