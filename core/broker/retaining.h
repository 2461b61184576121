/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Retained messages across shards: storing at the topic's home, asking all homes for what matches a
 * new subscription. An ask is a job: one object that moves between asker and home, so it is in one
 * place at a time and a home never sends faster than the asker takes.
 *
 *   asker --RETAIN_QUERY--> home: walks, some messages a turn
 *         <--RETAIN_FOUND-- with a batch
 *         --RETAIN_MORE-->  once the session has sent what it got
 *
 * Jobs run at the end of a turn, after the parcels of all shards were received once more: what was
 * acknowledged to a publisher before the subscriber asked is in the store by then.
 */

#include "core/broker/fanout.h"
#include "core/broker/interest.h"

struct retain_job;

struct retain_ask {
    struct handle session;
    struct slice  filter;
    uint8_t       qos; /* granted */
    uint32_t      subscription_id;
};

/*
 * The publish's message to its topic's home. `sent_to`: the shards that got it live; the home sends
 * it to those that became interested meanwhile and whose ask may have come before it.
 */
void retaining_store(struct broker *broker, struct fanout *fanout, const struct shard_set *sent_to);

/* All retained messages that match go to the session, marked as retained. */
void retaining_ask(struct broker *broker, const struct retain_ask *ask);

/* The session has drained: its jobs go on. */
void retaining_go_on(struct broker *broker, struct session *session);

/* The session ends. */
void retaining_forget_session(struct broker *broker, struct session *session);

/* Some work of this home's jobs; true: there is more. */
bool retaining_turn(struct broker *broker);

void retaining_on_parcel(struct broker *broker, const struct parcel *parcel);
void retaining_parcel_drop(struct parcel *parcel);
void retaining_fini(struct broker *broker);

void retaining_on_sweep(struct alarm *alarm, void *context, uint64_t now_ms);
