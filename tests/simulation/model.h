/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What the clients know about the world, and so what a broker owes them. No broker's code is used
 * to decide anything here: filters are matched by a table made with a matcher of its own.
 *
 * Clients and brokers run concurrently, so the model says *must*, *may* or *must not*, by a clock
 * that counts what clients did and saw (ticks):
 *
 *   SUBSCRIBE sent --- SUBACK seen ---------------- UNSUBSCRIBE sent --- UNSUBACK seen
 *   |      may         |            must            |        may         |  must not
 *
 * A message must be delivered when it was sent while the subscription certainly stood, the broker
 * acknowledged it, and the subscription and the session stand until the moment of the check. Each
 * SUBSCRIBE of a filter makes a new *version* of the subscription, because options differ; a chain
 * of versions without an UNSUBSCRIBE between them loses nothing [MQTT-3.8.4-3].
 */

#include "proto/publish.h"
#include "proto/subscribe.h"
#include "tests/simulation/random.h"

#define TOPICS_MAX      64U
#define FILTERS_MAX     64U
#define SUBSCRIBERS_MAX 64U
#define FORWARD_MAX     96U
#define NO_PUBLISHER    0xffffU

enum topic_kind {
    TOPIC_LIVE,     /* never retained: copies are counted exactly */
    TOPIC_RETAINED, /* now and then retained */
    TOPIC_WILL,
};

struct topic {
    char            name[128];
    enum topic_kind kind;
};

struct filter {
    char name[128];  /* as in SUBSCRIBE */
    char plain[128]; /* without `$share/group/` */
    bool shared;
    bool takes_qos0; /* shared, and all members subscribe with QoS 0; else none does */
    bool matches[TOPICS_MAX];
};

struct message_record {
    uint64_t sent_tick;
    uint64_t acked_tick; /* 0: the broker never said that it has it */
    uint64_t sent_ms;    /* of the last time */
    uint64_t first_sent_ms;
    uint64_t cancelled_tick; /* a will that must not be published any more */
    uint32_t sequence;       /* of its publisher, all topics */
    uint32_t payload_size;
    uint32_t expiry_s; /* valid with has_expiry */
    uint16_t publisher;
    uint16_t sends; /* QoS 1: each may become a copy */
    uint8_t  topic;
    uint8_t  qos;
    bool     retain;
    bool     has_expiry;
    bool     is_will;
    bool     clears; /* retained, empty payload: it has no body to know it by */
    uint8_t  forward_size;
    uint8_t  forward[FORWARD_MAX];
};

struct version {
    struct subscribe_options options;
    uint8_t                  filter;
    uint8_t                  granted;
    bool                     left;        /* UNSUBSCRIBE sent */
    bool                     replays;     /* its SUBSCRIBE may be answered with retained messages */
    bool                     must_replay; /* it has to be */
    uint32_t                 id;          /* subscription identifier, 0 none */
    uint64_t                 sent_tick;
    uint64_t                 acked_tick;
    uint64_t                 replaced_tick; /* the next SUBSCRIBE or UNSUBSCRIBE was sent */
    uint64_t                 ended_tick;    /* and answered */
    int32_t                  next;          /* the version that replaced it, -1 */
};

/* One client's session as far as deliveries are concerned. */
struct subscriber {
    uint16_t        index;
    bool            shares;       /* has shared subscriptions only; else plain ones only */
    uint8_t         share_filter; /* the only one, if it shares */
    struct version *versions;
    uint32_t        version_count;
    uint32_t        version_capacity;
    int32_t         latest[FILTERS_MAX]; /* index of a version, -1 */
    uint8_t        *copies;              /* by message */
    uint8_t        *replays;             /* by message: how often it came as a retained one */
    uint32_t        replays_capacity;
    uint32_t        copies_capacity;
    uint32_t       *sequences;       /* [publisher][topic][published qos][effective qos] */
    uint64_t        connected_tick;  /* CONNACK of the present connection, 0: none */
    uint32_t        packet_size_max; /* the smallest of its connections' */
};

struct share_record {
    uint8_t *copies; /* by message, all members together */
    uint32_t copies_capacity;
    uint32_t packet_size_max; /* the smallest that a member ever had */
    uint64_t left_tick;       /* a member unsubscribed */
    uint64_t last_death_tick; /* a member's connection, session or subscription ended */
};

struct model {
    struct topic           topics[TOPICS_MAX];
    uint32_t               topic_count;
    struct filter          filters[FILTERS_MAX];
    uint32_t               filter_count;
    struct message_record *messages;
    uint32_t               message_count;
    uint32_t               message_capacity;
    struct subscriber     *subscribers;
    uint32_t               subscriber_count;
    struct share_record    shares[FILTERS_MAX];
    uint32_t               world_first;   /* messages before it went down with a restart */
    uint32_t               settled_count; /* messages before it were checked, wills excepted */
    uint64_t               settled_tick;  /* when nothing was under way for the last time */
    uint64_t               tick;
    uint32_t              *publisher_sequences;
    uint64_t               deliveries;
    uint64_t               retained_missed; /* subscribers that a retained message has overtaken */
    uint64_t               missing;         /* owed and not delivered: must be explained by drops */
    bool                   strict;          /* limits are wide: nothing may be missing */
    bool                   may_refuse;      /* a limit of filters may bind */
};

void model_init(struct model *model, uint32_t subscriber_count);
void model_fini(struct model *model);

uint32_t model_message(struct model *model, const struct message_record *message);

/* The payload that says which message it is; `bytes` has room for payload_size. */
#define PAYLOAD_SIZE_MIN 12U
void model_payload_write(const struct model *model, uint32_t number, uint8_t *bytes);

/* Which message a payload is, every byte compared; UINT32_MAX: none of ours. */
uint32_t model_identify(const struct model *model, struct slice payload);

/* Subscriptions of one client. */
void     model_session_begin(struct model *model, uint16_t subscriber); /* empty, from now on */
void     model_connected(struct model *model, uint16_t subscriber);
void     model_connection_ended(struct model *model, uint16_t subscriber);
void     model_connection_closing(struct model *model, uint16_t subscriber); /* by the broker */
uint32_t model_subscribe_sent(struct model *model, uint16_t subscriber, uint8_t filter,
                              const struct subscribe_options *options, uint32_t id);
/* What is too large for a connection is dropped and does not come with the next. */
void model_packet_size(struct model *model, uint16_t subscriber, uint32_t packet_size_max);
void model_subscribe_acked(struct model *model, uint16_t subscriber, uint32_t version,
                           uint8_t granted);
/* Returns what its answer has to be told with. */
uint32_t model_unsubscribe_sent(struct model *model, uint16_t subscriber, uint8_t filter);
void     model_unsubscribe_acked(struct model *model, uint16_t subscriber, uint8_t filter,
                                 uint32_t before);
bool     model_subscription_stands(const struct model *model, uint16_t subscriber, uint8_t filter);
bool     model_subscription_sure(const struct model *model, uint16_t subscriber, uint8_t filter);
uint32_t model_subscriptions(const struct model *model, bool shared_only);

/* One PUBLISH that a client got. */
struct delivery {
    const struct publish *publish; /* topic filled in where an alias stood for it */
    enum mqtt_version     version;
    const uint32_t       *ids;
    uint32_t              id_count;
    uint64_t              now_ms;
    bool                  again; /* the same packet as one that was seen before */
};

/* Checks it and counts it; the number of the message, or UINT32_MAX for what is not ours. */
uint32_t model_delivered(struct model *model, uint16_t subscriber, const struct delivery *delivery);

/* When nothing is under way any more: what is owed has been delivered. */
void model_check_settled(struct model *model, uint64_t now_ms);
/* Says what retained messages a topic may hold: true if `number` (UINT32_MAX: none) is one. */
bool model_may_be_retained(const struct model *model, uint8_t topic, uint32_t number,
                           uint64_t now_ms);

/* At rest: message `number` is retained, so whoever asked for such messages has got it. */
void model_check_retained(struct model *model, uint32_t number);

/* All brokers died: nothing that was published before is owed or expected any more. */
void model_restart(struct model *model);
