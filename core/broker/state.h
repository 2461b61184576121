/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The broker of one shard: what its modules share. Included by core/broker only. */

#include "core/base/map.h"
#include "core/base/pool.h"
#include "core/base/timer_wheel.h"
#include "core/broker/broker.h"
#include "core/broker/link.h"
#include "core/broker/outflow.h"
#include "core/broker/retained.h"
#include "core/broker/session.h"

/* Alarms of the broker's wheel. */
enum broker_alarm { ALARM_LINK, ALARM_SESSION_EXPIRY, ALARM_WILL_DELAY, ALARM_SYS, ALARM_SWEEP };

/* One receiver of a publish that matched several filters (fanout.c). */
struct match {
    struct session *session;
    uint32_t        identifier_first; /* in the broker's match_identifiers; 0 none */
    uint32_t        identifier_count;
    uint8_t         qos;
    bool            retain_as_published;
};

struct match_identifier {
    uint32_t identifier;
    uint32_t next; /* 0: the last */
};

struct sys_publisher;

struct broker {
    uint16_t                   shard;
    uint16_t                   shard_count;
    bool                       stopping;
    bool                       congested; /* an outbox is above its mark */
    const struct options      *options;
    const struct topic_secret *secret;
    struct interest_table     *interest;
    uint64_t                   now_ms;

    struct pool        *links;
    struct pool        *sessions;
    struct pool        *share_groups; /* struct sharing_group: those at home here */
    struct map          sessions_by_id;
    struct topic_index *index;
    struct routes      *routes;
    struct outflow_pool outflows;
    struct timer_wheel *wheel;
    struct effects      effects;
    struct outbox      *outboxes; /* [shard_count] */
    struct statistics   statistics;

    struct fences *fences; /* waits for all shards to pass a turn */
    uint32_t       fence_cookie;

    struct list waits;       /* SUBSCRIBEs not answered yet (subscribing.c) */
    struct list share_joins; /* joins whose filter is being announced (sharing.c) */

    struct retained_store *retained;
    struct retain_job     *retain_jobs; /* walks over this shard's retained messages */
    struct retain_job     *retain_jobs_last;
    struct alarm           sweep; /* expired retained messages */

    struct authentication_methods authentication_methods;
    struct sys_publisher         *sys;

    struct handle *paused; /* links waiting for the outboxes to drain */
    uint32_t       paused_count;
    uint32_t       paused_capacity;

    struct handle *aborted; /* links whose sessions are detached at the end of the turn */
    uint32_t       aborted_count;
    uint32_t       aborted_capacity;

    /* Scratch of one publish. */
    uint32_t                 match_epoch;
    struct match            *matches;
    uint32_t                 match_count;
    uint32_t                 match_capacity;
    struct match_identifier *match_identifiers; /* [0] is unused */
    uint32_t                 match_identifier_count;
    uint32_t                 match_identifier_capacity;
    uint32_t                *identifiers;
    uint32_t                 identifier_capacity;
    uint8_t                 *forward; /* properties that had to be put together */
    uint32_t                 forward_capacity;

    uint64_t random; /* state of the generator for assigned client ids */
};

/* A share of a process-wide limit, rounded up; 0 stays "no limit". */
static inline uint64_t broker_share_of(const struct broker *broker, uint64_t limit)
{
    return (limit + broker->shard_count - 1) / broker->shard_count;
}

static inline uint16_t broker_home(const struct broker *broker, uint64_t hash)
{
    return home_of(hash, broker->shard_count);
}

static inline void broker_post(struct broker *broker, uint16_t shard, struct parcel parcel)
{
    broker->statistics.parcels_out++;
    outbox_push(&broker->outboxes[shard], parcel);
}
