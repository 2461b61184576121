/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * How long a shard gathers work before it wakes. Each wake costs a fixed sum (a system call, cold
 * caches, one send for each connection with output), so under load it pays to wake for many
 * completions at once. With few active connections nobody else would come, and each of them waits
 * for its answer: then waiting is only delay.
 *
 * The measure is the number of distinct connections heard within a millisecond, smoothed. A shard
 * waits until that many, or half of them when they are eager, have spoken again: by that measure
 * less than a millisecond, and in any case for a bounded time. A single client, however fast,
 * counts as one and is never delayed. Nor are a few that each speak several times a millisecond:
 * they wait for their answers. Those that speak once in a while (telemetry) can wait a little, even
 * when they are few at a time.
 */

#include "core/options/options.h"

struct batching {
    enum options_batching policy;
    uint32_t              wait_max_us;
    uint32_t              heard;    /* distinct connections in the current millisecond */
    uint32_t              receives; /* from them */
    struct {
        uint32_t active_x16; /* smoothed, a millisecond, in sixteenths */
        uint32_t receives_x16;
    } load;
    uint64_t now_ms;
};

/* What a shard hears in a millisecond. */
struct batching_load {
    uint32_t active; /* distinct connections */
    uint32_t receives;
};

struct batching_wait {
    uint32_t count;     /* completions of peers worth waiting for; 1: do not gather */
    uint32_t gather_us; /* 0: do not gather */
};

void batching_init(struct batching *batching, enum options_batching policy, uint32_t wait_max_us);

/* Once a turn. */
void batching_tick(struct batching *batching, uint64_t now_ms);

/* A connection spoke; for the first time in this millisecond, or again. */
static inline void batching_heard(struct batching *batching, bool first)
{
    batching->heard += first;
    batching->receives++;
}

struct batching_load batching_load(const struct batching *batching);
struct batching_wait batching_decide(enum options_batching policy, uint32_t wait_max_us,
                                     struct batching_load load);
