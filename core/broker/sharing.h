/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Shared subscriptions across shards (MQTT-4.8.2). A group lives at the home of its whole name; the
 * home subscribes to the filter for all members, picks one for each message, and sends it there.
 *
 *   publisher's shard --PUBLISH--> group's home --SHARE_DELIVER--> member's shard --> client
 *                                       ^---------SHARE_RETURN---------'  (member is gone)
 *
 * A member tells the home when its connection comes or goes before it returns anything, and parcels
 * between two shards keep their order: so the home never picks the same absent member twice, and a
 * message goes to nobody only when the group is empty.
 */

#include "core/broker/fanout.h"
#include "core/broker/subscribing.h"

struct sharing_member {
    struct slice name; /* `$share/group/filter`, well formed */
    uint32_t     subscription_id;
    uint8_t      qos;
    uint8_t      flags;
};

/* A share group at home here; its handle in the broker's pool is the group's tag. */
struct sharing_group {
    struct filter_node *node;
    struct share_group *group;
};

/*
 * Joins or replaces; subscribing_answered(wait, entry) follows, now or later. False: out of memory,
 * nothing follows.
 */
bool sharing_join(struct broker *broker, struct session *session,
                  const struct sharing_member *member, struct subscribe_wait *wait, uint32_t entry);
bool sharing_leave(struct broker *broker, struct session *session, struct slice name);
bool sharing_has(const struct session *session, struct slice name);

/* The session ends: leaves all groups, then gives back what other members may get. */
void sharing_leave_all(struct broker *broker, struct session *session);

/* The connection came or went. */
void sharing_presence(struct broker *broker, struct session *session, bool online);

/* The connection went: what was not sent yet goes to members that are there. */
void sharing_give_back_unsent(struct broker *broker, struct session *session);

/* One of the member's messages is done, delivered or dropped. */
void sharing_settled(struct broker *broker, const struct session *session,
                     const struct share_subscription *share);

/* At home: to one member of each group of this filter. */
void sharing_deliver(struct broker *broker, struct fanout *fanout, struct filter_node *node);

/* The broker ends: joins under way go. */
void sharing_fini(struct broker *broker);

/* PARCEL_SHARE_*. */
void sharing_on_parcel(struct broker *broker, const struct parcel *parcel);
void sharing_parcel_drop(struct parcel *parcel);
