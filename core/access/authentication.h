/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Enhanced authentication (MQTT-4.12): CONNECT names a method, AUTH packets go back and forth until
 * the method accepts or refuses; later the client may ask for it again. Here is only the machine
 * that decides which packet may come when; what the packets mean is a method's affair, and a method
 * is two pure functions. None is built in: a broker without methods refuses each with 0x8C.
 *
 *   CONNECT --> EXCHANGE --method accepts--> RUNNING --AUTH 0x19--> AGAIN --method accepts-->
 * RUNNING AUTH 0x18 <-> AUTH 0x18                             AUTH 0x18 <-> AUTH 0x18
 *
 * Owned by the connection. A client that named no method has none at all: NULL stands for it in
 * every function, costs nothing, and neither sends nor gets AUTH [MQTT-4.12.0-6] [MQTT-4.12.0-7].
 */

#include "proto/connect.h"
#include "proto/disconnect.h"

/* What a method keeps between its steps; zeroed before the first, wiped with the connection. */
#define AUTHENTICATION_MEMORY_SIZE 512U
struct authentication_memory {
    _Alignas(16) uint8_t bytes[AUTHENTICATION_MEMORY_SIZE];
};

enum authentication_verdict {
    AUTHENTICATION_VERDICT_REFUSE = 0,
    AUTHENTICATION_VERDICT_CONTINUE,
    AUTHENTICATION_VERDICT_ACCEPT,
};

struct authentication_answer {
    enum authentication_verdict verdict;
    enum mqtt_reason            reason; /* of a refusal; below 0x80: MQTT_NOT_AUTHORIZED */
    struct slice                data;   /* in the memory or the method; may be empty */
};

struct authentication_method {
    const char *name;
    const void *context; /* the method's own: keys, users */

    /* `connect` is NULL when a running client authenticates again. */
    struct authentication_answer (*begin)(const struct authentication_method *method,
                                          struct authentication_memory       *memory,
                                          const struct connect *connect, struct slice data);
    struct authentication_answer (*proceed)(const struct authentication_method *method,
                                            struct authentication_memory       *memory,
                                            struct slice                        data);
};

/* What the broker knows; zero: no method at all. */
struct authentication_methods {
    const struct authentication_method *methods;
    uint32_t                            count;
};

enum authentication_action {
    AUTHENTICATION_REFUSE = 0, /* CONNACK before the client was accepted, DISCONNECT later; close */
    AUTHENTICATION_SEND_AUTH,  /* with the reason, method and data given */
    AUTHENTICATION_ADMIT,      /* the client may come in: CONNACK with the method and data given */
};

struct authentication_outcome {
    enum authentication_action action;
    enum mqtt_reason           reason;
    struct slice               method; /* empty: leave the property out */
    struct slice               data;   /* a view until the next call; empty: leave it out */
};

struct authentication;

/*
 * Of a decoded CONNECT. `*made` is what the connection keeps and destroys; NULL after a refusal and
 * for a client without a method, which is admitted at once. Out of memory: MQTT_SERVER_BUSY.
 */
struct authentication_outcome
authentication_on_connect(const struct authentication_methods *methods,
                          const struct connect *connect, struct authentication **made);

/* Of a decoded AUTH, at any time. After a refusal the connection must be closed. */
struct authentication_outcome authentication_on_auth(struct authentication *authentication,
                                                     const struct auth     *auth);

/*
 * Whether a packet other than AUTH may be handled now: only DISCONNECT before the exchange is done
 * [MQTT-3.1.2-30], everything while a running client authenticates again (MQTT-4.12.1).
 */
bool authentication_allows(const struct authentication *authentication, enum packet_type type);

/* The exchange of CONNECT is still going on: no CONNACK was given yet. */
bool authentication_pending(const struct authentication *authentication);

void authentication_destroy(struct authentication *authentication); /* NULL allowed */
