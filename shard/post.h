/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Carries parcels between the broker's outboxes and the mailboxes of the siblings. Never waits:
 * what finds a mailbox full stays in its outbox, so two shards cannot block each other.
 */

#include "shard/shard.h"

/* From every sibling, a bounded number. */
void post_receive(struct shard *shard);

/* To every sibling, as many as fit; one wake for each that sleeps. */
void post_send(struct shard *shard);

/* Something lies in one of this shard's mailboxes. */
bool post_has_parcels(const struct shard *shard);

/* The ring of `sibling` could not be reached. */
void post_on_wake_failed(const struct shard *shard, uint32_t sibling);

/* After all shards have ended: frees what lies in the mailboxes. */
void post_drop_all(struct fabric *fabric);
