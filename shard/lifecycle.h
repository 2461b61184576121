/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * How connections begin, move and end. A connection's descriptor is closed and its link forgotten
 * only when the kernel does nothing for it any more; forgetting waits for the next turn, because
 * core takes it between the beginning and the end of one.
 */

#include "shard/shard.h"

/* A descriptor of this ring becomes a link; takes `carry` over. Closed when there is no room. */
void lifecycle_open(struct shard *shard, const struct link_origin *origin, uint32_t file,
                    struct carry *carry);

void lifecycle_order(struct shard *shard, const struct order *order);

/* Moves on after an operation ended. */
void lifecycle_progress(struct shard *shard, uint32_t slot);

/* Keeps the list of connections with a clock. */
void lifecycle_update_timed(struct shard *shard, uint32_t slot);

/* Quiet connections give up their receive, endless ends are cut. Looks at a bounded number a turn.
 */
void lifecycle_scan(struct shard *shard);

/* What the last turn left for this one: links to present again, links to forget. */
void lifecycle_present_resumed(struct shard *shard);
void lifecycle_forget_ended(struct shard *shard);

/* Cuts every connection. */
void lifecycle_end_all(struct shard *shard);

/* The descriptor arrived over there, or did not. */
void lifecycle_on_send_file(struct shard *shard, uint32_t slot, int32_t result);

/* A sibling's connection, with its unread bytes. */
void lifecycle_moved_in(struct shard *shard, const struct parcel *parcel);

/* A parcel of that kind that nobody will take. */
void lifecycle_drop(const struct parcel *parcel);

enum body_parcel_kind {
    PARCEL_MOVED = PARCEL_BODY, /* number: descriptor; words[0]: listener; pointer: carry or NULL */
};
