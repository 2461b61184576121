/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The topics below `$SYS/broker/`, under the names that Mosquitto made common, so that existing
 * dashboards work; what only this broker has is below `shards/` and `drops/`. Pure numbers and
 * text: shard 0 gives it every shard's statistics once an interval and publishes what
 * sys_tree_next hands out, which is only what has changed.
 *
 *   sys_tree_update -> sys_tree_next until false -> (an interval later) sys_tree_update ...
 */

#include "core/broker/statistics.h"
#include "proto/bytes.h"

#include <stdbool.h>
#include <stddef.h>

struct sys_tree;

struct sys_tree_input {
    const struct statistics *shards; /* [shard_count] */
    uint64_t                 uptime_s;
    uint64_t                 elapsed_ms; /* since the update before; 0 at the first */
    uint64_t                 heap_bytes; /* of the process; 0: not known */
};

/* `version` is what `$SYS/broker/version` says, such as "shardmq 0.1.0". NULL: out of memory. */
struct sys_tree *sys_tree_create(uint16_t shard_count, const char *version);
void             sys_tree_destroy(struct sys_tree *tree);

/* Takes new values in and moves the load averages on. */
void sys_tree_update(struct sys_tree *tree, const struct sys_tree_input *input);

/*
 * The next topic whose text is not the one handed out last; `*cursor` starts at 0. False at the
 * end. Both slices are views until the next call. A walk may stop and go on in a later turn.
 */
bool sys_tree_next(struct sys_tree *tree, uint32_t *cursor, struct slice *topic,
                   struct slice *value);
