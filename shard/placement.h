/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * How many shards, on which CPUs, and how many connections each may hold. The table of direct
 * descriptors of each ring is bounded by RLIMIT_NOFILE, so more shards than CPUs hold more
 * connections under a low limit.
 */

#include "core/options/options.h"

#include <stddef.h>

#define PLACEMENT_FILES_SPARE 64U /* slots of connections that are closing while others come */

struct placement {
    uint16_t shard_count;
    uint16_t cpus[OPTIONS_CPUS_MAX];
    uint32_t cpu_count;
    uint32_t files;     /* size of each ring's table */
    uint32_t links_max; /* connections a shard */
    uint64_t files_limit;
};

/* Pure: from the CPUs that the process may use and the limit of descriptors. 0, or -EINVAL. */
__attribute__((warn_unused_result)) int
placement_decide(struct placement *placement, const struct options *options,
                 const uint16_t *allowed, uint32_t allowed_count, uint64_t files_limit, char *why,
                 size_t why_room);

/* Asks the system, raises RLIMIT_NOFILE as far as allowed, and decides. */
__attribute__((warn_unused_result)) int placement_make(struct placement     *placement,
                                                       const struct options *options, char *why,
                                                       size_t why_room);

/* Pins the calling thread: shard `number` to its CPU, or, with more shards than CPUs, to them all.
 */
int placement_pin(const struct placement *placement, uint16_t number);
