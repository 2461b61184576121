/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One connection as core sees it: where the protocol stands, what the client allows, what waits to
 * be sent. The shard that owns the broker owns the descriptor; neither knows the other's half.
 */

#include "core/access/authentication.h"
#include "core/base/pool.h"
#include "core/base/timer_wheel.h"
#include "core/broker/outflow.h"
#include "proto/mqtt.h"

struct broker;
struct session;
struct topic_aliases;

enum link_phase {
    LINK_GREETING,       /* no CONNECT yet */
    LINK_AUTHENTICATING, /* CONNECT read, AUTH packets go back and forth */
    LINK_RUNNING,
    LINK_OVER, /* a closing order was given; input is ignored */
};

enum link_flag {
    LINK_DIRTY = 1,        /* stands in this turn's flush list */
    LINK_PAUSED = 2,       /* is not being read */
    LINK_PROBLEM_INFO = 4, /* the client takes reason strings (MQTT-3.1.2-29) */
    LINK_HANDED_OVER = 8,  /* what comes in is for another shard: nothing is consumed */
};

/* What few links need; made when first needed. */
struct link_extra {
    struct topic_aliases  *aliases_in;
    struct topic_aliases  *aliases_out;
    struct authentication *authentication; /* NULL: the client named no method */
    uint8_t               *greeting;       /* the CONNECT's body, while authenticating */
    uint32_t               greeting_size;
    uint8_t                greeting_flags;
};

struct link {
    /* What a fan-out touches, next to the handle that the pool keeps in front. */
    struct outflow *outflow;         /* while something waits to be sent */
    uint32_t        packet_size_max; /* the client's */
    uint16_t        receive_maximum; /* the client's, and not above inflight_max */
    uint16_t        alias_max_out;   /* aliases we may use towards the client */
    uint8_t         version;         /* enum mqtt_version */
    uint8_t         phase;
    uint8_t         flags;
    uint8_t         chunk_class; /* by what it sent in the last turn */

    uint8_t            refuse; /* answer CONNECT with this; 0: admit */
    uint8_t            listener;
    uint16_t           received_before; /* QoS 2 identifiers open since earlier connections */
    struct session    *session;         /* while LINK_RUNNING */
    struct link_extra *extra;
    uint32_t           heard_ms;       /* low bits; when the client last sent something */
    uint32_t           silence_ms_max; /* 0: may be silent for ever */
    struct alarm       alarm;          /* connect timeout, then keep-alive */
};

_Static_assert(sizeof(struct link) == 72, "one for each client");

/*
 * Room for one encoded packet of exactly `size` bytes, which the caller writes at once; the link is
 * flushed at the end of the turn. NULL: the link takes nothing any more, or it was closed just now:
 * out of memory, or more than the client takes.
 */
uint8_t *link_reserve(struct broker *broker, struct link *link, uint32_t size);

/* Marks the link for this turn's flush. */
void link_dirty(struct broker *broker, struct link *link);

/* PUBACK, PUBREC, PUBREL or PUBCOMP. */
void link_send_ack(struct broker *broker, struct link *link, enum packet_type type,
                   uint16_t packet_id, enum mqtt_reason reason);

/*
 * Ends the link from our side: DISCONNECT with `reason` (MQTT 5, once it is running), then
 * ORDER_CLOSE. The session stays and its will is due, unless the caller took care of it.
 * Idempotent.
 */
void link_close(struct broker *broker, struct link *link, enum mqtt_reason reason);

/*
 * The same without a word to the client. May be called in the middle of a fan-out: the session
 * stays where it is until link_detach_aborted, at the end of the turn.
 */
void link_abort(struct broker *broker, struct link *link);
void link_detach_aborted(struct broker *broker);

/* The peer went: nothing can be sent any more. Never in the middle of a fan-out. */
void link_hang_up(struct broker *broker, struct link *link);

/* The client's home is shard `target`. */
void link_hand_over(struct broker *broker, struct link *link, uint16_t target);

/* A reason string, where the operator and the client's packet size allow one; else empty. */
struct slice link_reason_text(const struct broker *broker, const struct link *link,
                              enum mqtt_reason reason);

/* The extras, made when missing; NULL: out of memory. */
struct link_extra *link_extra_need(struct link *link);
void               link_extra_free(struct link *link);

/* Stops reading a link until the outboxes have drained. */
void link_pause(struct broker *broker, struct link *link);

/* Client id and shard for a log line: a NUL-terminated view, valid until the next call. */
const char *link_name(const struct broker *broker, const struct link *link);
