/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * CONNECT, AUTH, DISCONNECT (MQTT-3.1, -3.15, -3.14): who may come in, to which session. The choice
 * is a pure function; what follows from it are small steps.
 */

#include "core/broker/link.h"
#include "core/broker/session.h"
#include "proto/connect.h"
#include "proto/frame.h"

struct admission {
    bool takes_over; /* another connection holds this client id: it goes, with 0x8E */
    bool resumes;    /* also CONNACK's session present (MQTT-3.2.2-2, -3) */
};

/* What a CONNECT means for the session that is there (or NULL). */
struct admission admission_decide(const struct session *existing, bool clean_start);

/*
 * `*handed_over`: the client's home is another shard; the order was given and the frame must not be
 * consumed. Otherwise the link is running, authenticating or over.
 */
void connecting_on_connect(struct broker *broker, struct link *link, const struct frame *frame,
                           bool *handed_over);

enum mqtt_reason connecting_on_auth(struct broker *broker, struct link *link,
                                    const struct frame *frame);
enum mqtt_reason connecting_on_disconnect(struct broker *broker, struct link *link,
                                          const struct frame *frame);
