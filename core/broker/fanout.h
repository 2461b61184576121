/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One PUBLISH on its way to everybody on this shard. It starts as views of the receive buffer; a
 * message object is made only when somebody has to keep it (QoS above 0, a queue, another shard, a
 * large payload). Where many links get the very same bytes they are encoded once.
 */

#include "core/broker/delivery.h"
#include "core/broker/outflow.h"
#include "core/broker/session.h"

/*
 * A frame encoded once for many links of one wire format. At QoS 0 the links refer to its bytes in
 * the run; at QoS 1 and 2 they copy it and put their packet identifier in.
 */
struct shared_frame {
    struct chunk  *chunk; /* a reference of ours, until fanout_end */
    const uint8_t *data;  /* NULL: not encoded yet */
    uint32_t       size;
    uint32_t       packet_id_at; /* where the packet identifier stands */
};

struct fanout {
    struct slice    topic;
    struct slice    forward;
    struct slice    payload;
    uint64_t        publisher; /* name_hash of its client id; 0: the broker */
    uint64_t        expires_ms;
    uint64_t        route_hint; /* who publishes: the same number each time (routes.h) */
    struct message *message;    /* one reference of ours, once somebody needs it */
    struct message *origin;     /* another shard's message, whose reference we were given */
    uint16_t        publisher_shard;
    uint16_t        origin_owner; /* the shard that gave it */
    uint8_t         qos;
    bool            retain;
    bool            shares_frames; /* enough receivers that encoding once pays */
    bool            failed;        /* out of memory: no message could be made */
    uint32_t        accepted;      /* receivers that take it, now or later */
    uint32_t        refused;       /* receivers without room */

    struct shared_frame frames[2][3]; /* by MQTT 3 or 5, by QoS */
};

/* The message object, made on first use; NULL: out of memory. A view: retain it to keep it. */
struct message *fanout_message(struct broker *broker, struct fanout *fanout);

/* A fan-out of a message of this shard (a will, a retained one, a returned one). */
struct fanout fanout_of_message(struct message *message);

/* Of a message that another shard sent in a parcel; its reference is ours now. */
struct fanout fanout_of_parcel(const struct parcel *parcel);

/* To all subscribers of this shard whose filters match, share groups included. */
void fanout_local(struct broker *broker, struct fanout *fanout);

/* To everybody: other shards, the retained store, this shard. */
void fanout_everywhere(struct broker *broker, struct fanout *fanout);

/* To one session, with what its subscription asked for. */
void fanout_to_session(struct broker *broker, struct fanout *fanout, struct session *session,
                       uint8_t qos, bool retain, const uint32_t *identifiers, uint32_t count,
                       uint32_t share);

/* Lets go of the frames, and of the message, if one was made, or of the other shard's reference. */
void fanout_end(struct broker *broker, struct fanout *fanout);

/*
 * Encodes one PUBLISH into the link's output. False: the client does not take a packet of this
 * size (counted), or the link takes nothing any more.
 */
bool fanout_encode(struct broker *broker, struct fanout *fanout, struct link *link, uint8_t qos,
                   bool retain, bool duplicate, uint16_t packet_id, const uint32_t *identifiers,
                   uint32_t count);
