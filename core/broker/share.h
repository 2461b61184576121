/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Share groups (MQTT-4.8.2): kept at the home shard of the group's whole name
 * (`$share/group/filter`), which subscribes to the filter on behalf of its members on all shards,
 * and picks one of them for each message. Pure data and choice; parcels are the broker's affair.
 */

#include "core/base/pool.h"
#include "proto/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order of the option's values (core/options). */
enum share_strategy {
    SHARE_ROUND_ROBIN,
    SHARE_LOCAL_FIRST, /* members on the publisher's shard, in turn; else round robin */
    SHARE_STICKY,      /* one member until it goes */
    SHARE_HASH_CLIENT, /* by the publisher */
    SHARE_HASH_TOPIC,
    SHARE_LEAST_INFLIGHT,
    SHARE_STRATEGY_COUNT,
};

struct share_member {
    struct handle session; /* on `shard` */
    uint64_t      client;  /* name_hash of its client id */
    uint32_t      subscription_id;
    uint32_t      inflight; /* given out and not settled yet (least_inflight) */
    uint32_t      number;   /* the session's own name for its subscription */
    uint16_t      shard;
    uint8_t       qos;
    uint8_t       flags;  /* enum subscriber_flag */
    bool          online; /* a connection is there: offline members are asked last */
};

struct share_group; /* one group of one filter */

/*
 * All groups of one filter; hangs on the filter's node in the local index. Found by a chained table
 * that grows with them: one client may well name thousands.
 */
struct share_groups {
    struct share_group  *first;
    struct share_group  *last;
    struct share_group **table; /* table_size chains; NULL while there are few */
    uint32_t             table_size;
    uint32_t             count;
};

struct share_group *share_group_find(const struct share_groups *groups, struct slice name);

/* Made empty, appended. NULL: out of memory. `*groups` is made when NULL. */
struct share_group *share_group_insert(struct share_groups **groups, struct slice name);

/* Takes an empty group out and frees it; frees `*groups` and makes it NULL after the last. */
void share_group_remove(struct share_groups **groups, struct share_group *group);

/* All groups with all their members; `*groups` becomes NULL. */
void share_groups_destroy(struct share_groups **groups);

struct share_group *share_group_next(const struct share_group *group); /* NULL after the last */
struct slice        share_group_name(const struct share_group *group);
uint32_t            share_group_size(const struct share_group *group);

/* A handle of the owner's choice that goes with the group; zero at first. */
struct handle share_group_tag(const struct share_group *group);
void          share_group_set_tag(struct share_group *group, struct handle tag);

/* Adds, or replaces the one of the same shard and session (keeping its inflight count). */
bool share_group_join(struct share_group *group, const struct share_member *member, bool *is_new);
bool share_group_leave(struct share_group *group, uint16_t shard, struct handle session);
struct share_member *share_group_member(struct share_group *group, uint16_t shard,
                                        struct handle session);

struct share_choice {
    enum share_strategy strategy;
    uint16_t            publisher_shard;
    uint64_t            publisher;  /* name_hash; 0 the broker itself */
    uint64_t            topic_hash; /* name_hash of the topic */
    bool                exclude;    /* not this one (it just failed), unless it is the only one */
    uint16_t            exclude_shard;
    struct handle       exclude_session;
};

/*
 * Picks a member by the strategy; online ones before offline ones; NULL only when the group is
 * empty. Moves the turn of round robin. O(1) but for least_inflight and for skipping offline
 * members (bounded by the group). Views of members hold until the next join or leave.
 */
struct share_member *share_group_pick(struct share_group *group, const struct share_choice *choice);
