/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What a client has beyond its connection (MQTT-4.1): subscriptions, messages waiting and in
 * flight, a will, an end. Lives on the client id's home shard, in one pool, found by client id.
 * Others hold its handle, never a pointer; the local index alone points at sessions, and a session
 * takes its subscriptions out of it before it goes.
 */

#include "core/base/pool.h"
#include "core/base/timer_wheel.h"
#include "core/broker/delivery.h"
#include "core/broker/flight.h"
#include "core/broker/topic_index.h"

struct broker;
struct link;
struct will;
struct retain_job;

/*
 * One plain subscription: where this session stands in the filter's subscribers. Packed to 12
 * bytes: most sessions have one, and keep it in themselves.
 */
struct __attribute__((packed, aligned(4))) subscription {
    struct filter_node *node;
    uint32_t            index;
};

/* One shared subscription; the group lives at `home`. */
struct share_subscription {
    struct share_subscription *next;
    struct handle              group;  /* its tag at home; zero until the home was heard of */
    uint32_t                   number; /* names it in deliveries; never 0 */
    uint32_t                   subscription_id;
    uint16_t                   home;
    uint16_t                   name_size;
    uint8_t                    qos;
    uint8_t                    flags;  /* enum subscriber_flag */
    bool                       joined; /* the home has answered */
    uint32_t                   asked;  /* joins on their way */
    char                       name[]; /* the whole `$share/group/filter` */
};

/* Packet identifiers of QoS 2 messages received and not released (MQTT-4.3.3, method A). */
struct received_ids {
    uint32_t count;
    uint32_t capacity;
    uint16_t ids[];
};

/* What few sessions need; made when first needed. */
struct session_extra {
    struct received_ids       *received;
    struct share_subscription *shares; /* list */
    struct will               *will;
    struct retain_job         *retain_waiting; /* jobs that wait for room in the backlog */
    uint32_t                   share_count;
    uint32_t                   share_number_last; /* keeps numbers unique: the extra stays */
};

#define CLIENT_ID_INLINE 24U

struct session {
    struct link          *link; /* NULL while offline */
    struct backlog       *backlog;
    struct flight        *flight;
    struct session_extra *extra;
    uint64_t              hash;        /* name_hash of the client id */
    uint32_t              match_epoch; /* see fanout.c */
    uint32_t              match_index;
    uint32_t              subscription_count;
    uint32_t              expiry_s; /* MQTT_SESSION_NEVER_EXPIRES: stays */
    struct alarm          expiry;
    union __attribute__((packed, aligned(4))) {
        struct subscription  one;
        struct subscription *many; /* from two on; room for the next power of two */
    } subscriptions;
    uint16_t shape_count; /* of its subscriptions, those that brought a new filter shape */
    uint16_t client_id_size;
    union {
        char  here[CLIENT_ID_INLINE];
        char *outside; /* when it is longer */
    } client_id;
};

_Static_assert(sizeof(struct handle) + offsetof(struct session, expiry) == 64 &&
                   sizeof(struct handle) + sizeof(struct session) == 128,
               "two cache lines in the pool, and the second is for the rare");

/* The extras, made when missing; NULL: out of memory. */
struct session_extra *session_extra_need(struct session *session);

/* Frees the extras when nothing is in them. */
void session_extra_trim(struct session *session);

struct slice session_client_id(const struct session *session);

/* By client id, or NULL. */
struct session *session_find(struct broker *broker, uint64_t hash, struct slice client_id);

/* By handle, or NULL when it is gone. */
struct session *session_get(struct broker *broker, struct handle handle);

/* A new one, not connected. NULL: sessions_max, or out of memory. */
struct session *session_create(struct broker *broker, uint64_t hash, struct slice client_id);

/*
 * The session ends (MQTT-4.1): its will goes out if it is due, subscriptions end, what waits is
 * dropped and counted, shared messages go to other members. It has no link any more.
 */
void session_end(struct broker *broker, struct session *session);

/* The link went (whoever ended it): expiry begins to run, or the session ends at once. */
void session_detach(struct broker *broker, struct session *session);

/* The link is running: takes back expiry and will delay; resends and drains what waits. */
void session_attach(struct broker *broker, struct session *session, struct link *link);

/*
 * Sends as much as the client's receive maximum and the output buffer allow: first what is to be
 * resent, then the backlog.
 */
void session_pump(struct broker *broker, struct session *session);

/*
 * Takes one delivery over: sends it, queues it, or drops it by the policy, and counts. Returns
 * false when it was refused for lack of room (queue_policy refuse_new).
 */
bool session_accept(struct broker *broker, struct session *session, struct delivery delivery);

/* True when a delivery made now would be sent at once and in order. */
bool session_sends_at_once(const struct broker *broker, const struct session *session, uint8_t qos);

/*
 * Puts a QoS 1 or 2 delivery in flight, which session_sends_at_once has allowed; the caller sends
 * it. NULL: out of memory; it was dropped and counted.
 */
struct flight_entry *session_enter_flight(struct broker *broker, struct session *session,
                                          struct delivery delivery);

/* It could not be sent to this client: as if it had been completed (MQTT-3.1.2-25). */
void session_leave_flight(struct broker *broker, struct session *session,
                          struct flight_entry *entry);

/* A message that the session will not finish: settles it with its share group, frees it. */
void session_let_go(struct broker *broker, struct session *session, struct delivery *delivery);

struct share_subscription *session_share(const struct session *session, uint32_t number);

/* Gives back what an idle session does not need. */
void session_trim(struct session *session);

bool received_has(const struct session *session, uint16_t packet_id);
bool received_add(struct session *session, uint16_t packet_id); /* false: out of memory */
bool received_remove(struct session *session, uint16_t packet_id);

static inline uint32_t received_count(const struct session *session)
{
    const struct session_extra *extra = session->extra;
    return extra != NULL && extra->received != NULL ? extra->received->count : 0;
}

static inline struct share_subscription *session_shares(const struct session *session)
{
    return session->extra != NULL ? session->extra->shares : NULL;
}

static inline struct will *session_will(const struct session *session)
{
    return session->extra != NULL ? session->extra->will : NULL;
}

static inline struct retain_job *session_retain_waiting(const struct session *session)
{
    return session->extra != NULL ? session->extra->retain_waiting : NULL;
}
