/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The will of a session (MQTT-3.1.2.5): made from CONNECT, published when its delay has passed or
 * the session ends, whichever comes first; forgotten after an orderly DISCONNECT, or when the
 * client is back before the delay has passed.
 */

#include "core/base/timer_wheel.h"
#include "core/broker/message.h"
#include "proto/connect.h"

struct broker;
struct session;

struct will {
    struct message *message; /* with the will's QoS and retain bit */
    struct session *session;
    struct alarm    delay;
    uint32_t        delay_s;
    uint32_t        message_expiry_s; /* runs from when it is published */
    bool            has_message_expiry;
    bool            due; /* the connection has gone without an orderly DISCONNECT */
};

/* Takes the will of an accepted CONNECT in place of an older one. False: out of memory. */
bool will_set(struct broker *broker, struct session *session, const struct connect *connect);

/* Forgets the will, if there is one. */
void will_clear(struct broker *broker, struct session *session);

/*
 * The connection ended, and not by DISCONNECT 0x00 (that clears the will, [MQTT-3.14.4-3]): the
 * will is due after its delay, or when the session ends.
 */
void will_link_gone(struct broker *broker, struct session *session);

/* The session ends: a will that is due goes out now [MQTT-3.1.3-9]. */
void will_session_ends(struct broker *broker, struct session *session);

/* The broker stops: as if the connection had gone and the delay had passed. */
void will_publish_now(struct broker *broker, struct session *session);

void will_on_alarm(struct alarm *alarm, void *context, uint64_t now_ms);
