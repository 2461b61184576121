/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A client that keeps every rule of the standard, and checks that the broker does: packet
 * identifiers, quotas, sizes, aliases, acknowledgements, resends, session present. What a delivery
 * means for the subscriptions is the model's affair.
 */

#include "core/options/options.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/model.h"

#define CLIENT_FLIGHTS_MAX 10U
#define CLIENT_WAITING_MAX 8U
#define CLIENT_FILTERS_MAX 4U
#define CLIENT_ALIASES_MAX 16U

enum flight_state {
    CLIENT_FLIGHT_FREE,
    CLIENT_FLIGHT_AWAITS_ACK, /* PUBACK or PUBREC */
    CLIENT_FLIGHT_RELEASING,  /* PUBREC was seen, PUBREL not sent yet */
    CLIENT_FLIGHT_AWAITS_COMP,
};

struct client_flight {
    enum flight_state state;
    uint16_t          packet_id;
    uint32_t          message;
    uint64_t          order; /* of sending */
};

/* A SUBSCRIBE or UNSUBSCRIBE that is not answered. */
struct client_waiting {
    bool     used;
    bool     leaves;
    uint16_t packet_id;
    uint8_t  count;
    uint8_t  filters[CLIENT_FILTERS_MAX];
    uint32_t versions[CLIENT_FILTERS_MAX];
    bool     stood[CLIENT_FILTERS_MAX]; /* UNSUBSCRIBE: it ends something */
};

enum inbound_state {
    INBOUND_FREE,
    INBOUND_QOS1,     /* got, PUBACK not sent */
    INBOUND_QOS2,     /* got, PUBREL not seen */
    INBOUND_RELEASED, /* PUBREL seen, PUBCOMP not sent */
};

struct inbound {
    uint32_t message;
    uint32_t order;      /* in which PUBLISH packets were first seen */
    uint32_t connection; /* in which `state` was reached; only INBOUND_QOS2 outlives it */
    uint32_t counted;    /* connection whose receive maximum it counts against, 0 none */
    uint32_t released;   /* connection in which PUBREL was seen last */
    uint8_t  state;
};

/* Answers that wait to be sent, first in first out for each kind. */
struct answer_queue {
    uint16_t *ids;
    uint32_t  capacity;
    uint32_t  first;
    uint32_t  count;
};

enum answer { ANSWER_PUBACK, ANSWER_PUBREC, ANSWER_PUBREL, ANSWER_PUBCOMP, ANSWER_COUNT };

enum session_known { SESSION_NONE, SESSION_SURE, SESSION_UNSURE };

struct client_connect {
    bool     clean;
    uint16_t keep_alive_s;
    uint32_t session_expiry_s;
    uint32_t packet_size_max;
    uint16_t receive_maximum;
    uint16_t topic_alias_max;
    bool     has_will;
    uint8_t  will_qos;
    bool     will_retain;
    uint32_t will_delay_s;
};

struct client {
    uint16_t              index;
    bool                  shares;
    uint8_t               share_filter;
    char                  id[24];
    enum mqtt_version     version;
    struct model         *model;
    struct cluster       *cluster;
    struct random        *random;
    const struct options *options;
    const uint64_t       *now_ms;
    enum sabotage         sabotage;
    bool                  stopping; /* the brokers were asked to stop */

    /* the connection */
    struct wire          *wire;      /* NULL: none */
    bool                  connected; /* CONNACK seen */
    bool                  leaving;   /* DISCONNECT sent */
    bool                  resumed;
    bool                  told_keep_alive; /* DISCONNECT 0x8D seen */
    uint32_t              connection;      /* running number, from 1 */
    struct client_connect connect;
    struct stream         inbox;
    uint64_t              connect_sent_ms;
    uint64_t              heard_ms; /* when this client last sent something */
    uint32_t              pings;    /* not answered */
    uint16_t              broker_receive_maximum;
    uint16_t              broker_alias_max;
    uint32_t              inbound_counted;
    uint32_t              resend_order; /* of the last packet that was sent again */
    bool                  alias_set_in[CLIENT_ALIASES_MAX + 1];
    char                  alias_in[CLIENT_ALIASES_MAX + 1][128];
    int16_t               alias_out[CLIENT_ALIASES_MAX + 1]; /* topic, -1 */

    /* the session */
    enum session_known    known;
    bool                  force_clean;
    uint32_t              known_expiry_s;
    uint64_t              ended_ms_min; /* when the last connection ended, at the earliest */
    uint64_t              ended_ms_max; /* 0: the broker may not know yet */
    uint32_t              ended_wire;
    uint32_t              consumed_wire;  /* whose CONNECT was read last */
    bool                  expiry_pending; /* a DISCONNECT that changes it is under way */
    uint32_t              expiry_pending_s;
    uint16_t              next_packet_id;
    uint64_t              next_order;
    struct client_flight  flights[CLIENT_FLIGHTS_MAX];
    struct client_waiting waiting[CLIENT_WAITING_MAX];
    struct inbound       *inbound; /* by packet identifier */
    uint32_t              inbound_order;
    struct answer_queue   answers[ANSWER_COUNT];

    /* the will of the present or last connection */
    uint32_t will_message; /* UINT32_MAX: none */
    bool     will_certain; /* CONNACK was seen */
    bool     will_due;     /* the connection ended without DISCONNECT */
    uint64_t will_due_ms;

    /* what a look at retained messages found */
    bool     auditing;
    uint32_t audit[TOPICS_MAX]; /* by topic: a message, UINT32_MAX none */
    uint64_t got;               /* PUBLISH packets seen */
};

void client_init(struct client *client);
void client_fini(struct client *client);

/* Whether a CONNECT may be sent now, so that the session's fate stays known. */
bool client_may_connect(const struct client *client);
void client_connect(struct client *client, uint16_t shard, const struct client_connect *connect);
void client_disconnect(struct client *client, bool with_will, bool has_expiry, uint32_t expiry_s);

/* Whether the connection may go away now; then: reset, half closed, or left for a take-over. */
bool client_may_lose(const struct client *client);
enum client_loss { LOSS_CUT, LOSS_CLOSED, LOSS_ABANDONED };
void client_lose(struct client *client, enum client_loss loss);

struct client_publish {
    uint8_t  topic;
    uint8_t  qos;
    bool     retain;
    bool     clears;
    bool     has_expiry;
    uint32_t expiry_s;
    uint32_t payload_size;
};

bool client_may_publish(const struct client *client, uint8_t qos);
void client_publish(struct client *client, const struct client_publish *publish);

bool client_may_subscribe(const struct client *client);
void client_subscribe(struct client *client, const uint8_t *filters,
                      const struct subscribe_options *options, uint32_t count, uint32_t id);
void client_unsubscribe(struct client *client, const uint8_t *filters, uint32_t count);
void client_ping(struct client *client);

/* Sends up to `count_max` answers that wait; kinds by chance, in order within each. */
void     client_answer(struct client *client, uint32_t count_max);
uint32_t client_answers_waiting(const struct client *client);

/* Takes up to `size_max` bytes out of the wire and handles whole packets. */
void client_read(struct client *client, uint32_t size_max);

/* Told by the cluster. */
void client_on_consumed(struct client *client, struct wire *wire, const struct wire_mark *mark);
void client_on_ordered(struct client *client, const struct wire *wire);

/* All brokers died. The wire is freed already. */
void client_on_restart(struct client *client);

/* Nothing is under way for this client; false with a reason otherwise. */
bool client_settled(const struct client *client, const char **why);

/* Decides whether the will must have been published by now. */
void client_settle_will(struct client *client);
