/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * How the bytes of one connection come and go.
 *
 * Receiving: a connection that speaks has a multishot receive armed, into buffers that belong to
 * the shard. One that was quiet for long has a poll instead, which costs the kernel a third. The
 * rest of a large frame is received straight into its carry. Changing over means cancelling what is
 * armed and arming the other when the cancelled one has completed; what arrives meanwhile is not
 * lost.
 *
 * Sending: at most one send in the kernel, with everything there is. What core gave out stays as it
 * is until broker_sent, so the next send begins where a short one ended.
 */

#include "shard/shard.h"

/* Arms or cancels, so that what is armed comes to be what the connection's state wants. */
void transport_update_receive(struct shard *shard, uint32_t slot);

/* Shows the broker what it has not consumed, after a pause or a hand-over. */
void transport_present(struct shard *shard, uint32_t slot);

void transport_on_receive(struct shard *shard, uint32_t slot, const struct completion *completion);
void transport_on_poll(struct shard *shard, uint32_t slot);
void transport_on_send(struct shard *shard, uint32_t slot, int32_t result);

/* Puts it on the list to flush. */
void transport_mark_dirty(struct shard *shard, uint32_t slot);

/* Sends for connections on the list, as many as this turn may. True when some are left. */
bool transport_flush_dirty(struct shard *shard);

void transport_cancel_send(struct shard *shard, uint32_t slot);

/* Frees what was kept for sends. */
void transport_fini(struct shard *shard);
