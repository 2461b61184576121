/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What all shards of a process share: settings that no longer change once they run, the mailboxes
 * between them, and the few atomics by which the main thread talks to them. Owned by the main
 * thread, outlives the shards.
 */

#include "core/broker/broker.h"
#include "shard/features.h"
#include "shard/gate.h"
#include "shard/listener.h"
#include "shard/loop_statistics.h"
#include "shard/mailbox.h"
#include "shard/placement.h"

enum stop_request {
    STOP_NOT = 0,
    STOP_ORDERLY,
    STOP_AT_ONCE, /* asked twice: waits for nobody any more */
};

/* Steps of an orderly stop that a shard waits for its siblings at. */
enum stop_step {
    STOP_STEP_WILLS,  /* its wills are on their way */
    STOP_STEP_CLOSED, /* its connections are closed */
    STOP_STEP_COUNT,
};

struct fabric {
    const struct options  *options;
    struct features        features;
    struct placement       placement;
    struct topic_secret    secret;
    struct interest_table *interest;
    struct listener        listeners[OPTIONS_LISTENERS_MAX];
    uint16_t               shard_count;

    struct mailbox *mailboxes; /* [from * shard_count + to] */
    struct parking *parkings;  /* [shard] */
    int            *rings;     /* plain descriptors of the shards' rings, written before they run */
    int            *events;    /* eventfd of each shard: how other threads wake it */

    struct gate gate;

    _Atomic int            stop; /* enum stop_request */
    _Atomic uint32_t       passed[STOP_STEP_COUNT];
    _Atomic uint32_t       snapshot_wanted; /* counts the requests */
    _Atomic uint32_t       snapshots_taken;
    struct shard_snapshot *snapshots; /* [shard], written by it before it counts itself taken */
};

static inline struct mailbox *fabric_mailbox(const struct fabric *fabric, uint16_t from,
                                             uint16_t to)
{
    return &fabric->mailboxes[(uint32_t)from * fabric->shard_count + to];
}
