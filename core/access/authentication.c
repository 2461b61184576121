/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/access/authentication.h"

#include <stdlib.h>
#include <string.h>

/* Zero is what every step that the standard does not allow leads to. */
enum authentication_state {
    STATE_VIOLATION = 0,
    STATE_PLAIN,    /* CONNECT named no method */
    STATE_START,    /* CONNECT named a method that we know */
    STATE_EXCHANGE, /* AUTH to and fro, no CONNACK yet */
    STATE_RUNNING,
    STATE_AGAIN, /* running, and AUTH to and fro */
    STATE_COUNT,
};

enum authentication_event {
    EVENT_METHOD_CONTINUES,
    EVENT_METHOD_ACCEPTS,
    EVENT_GOT_CONTINUE,
    EVENT_GOT_REAUTHENTICATE,
    EVENT_GOT_SUCCESS, /* only a server may say so */
    EVENT_GOT_OTHER,   /* any packet but AUTH and DISCONNECT */
    EVENT_COUNT,
};

static const uint8_t next_states[STATE_COUNT][EVENT_COUNT] = {
    [STATE_PLAIN][EVENT_GOT_OTHER] = STATE_PLAIN,
    [STATE_START][EVENT_METHOD_CONTINUES] = STATE_EXCHANGE,
    [STATE_START][EVENT_METHOD_ACCEPTS] = STATE_RUNNING,
    [STATE_EXCHANGE][EVENT_GOT_CONTINUE] = STATE_EXCHANGE, /* [MQTT-4.12.0-3] */
    [STATE_EXCHANGE][EVENT_METHOD_CONTINUES] = STATE_EXCHANGE,
    [STATE_EXCHANGE][EVENT_METHOD_ACCEPTS] = STATE_RUNNING,
    [STATE_RUNNING][EVENT_GOT_OTHER] = STATE_RUNNING,
    [STATE_RUNNING][EVENT_GOT_REAUTHENTICATE] = STATE_AGAIN, /* [MQTT-4.12.1-1] */
    [STATE_AGAIN][EVENT_GOT_OTHER] = STATE_AGAIN,
    [STATE_AGAIN][EVENT_GOT_CONTINUE] = STATE_AGAIN,
    [STATE_AGAIN][EVENT_METHOD_CONTINUES] = STATE_AGAIN,
    [STATE_AGAIN][EVENT_METHOD_ACCEPTS] = STATE_RUNNING,
};

struct authentication {
    const struct authentication_method *method;
    enum authentication_state           state;
    struct authentication_memory        memory;
};

static enum authentication_state state_of(const struct authentication *authentication)
{
    return authentication != NULL ? authentication->state : STATE_PLAIN;
}

static struct authentication_outcome refuse(enum mqtt_reason reason)
{
    return (struct authentication_outcome){.action = AUTHENTICATION_REFUSE, .reason = reason};
}

static const struct authentication_method *method_find(const struct authentication_methods *methods,
                                                       struct slice                         name)
{
    for (uint32_t index = 0; index < methods->count; index++) {
        if (slice_equal(slice_text(methods->methods[index].name), name))
            return &methods->methods[index];
    }
    return NULL;
}

/* What the method said becomes a step of the machine and what is sent. */
static struct authentication_outcome apply(struct authentication              *authentication,
                                           const struct authentication_answer *answer)
{
    enum authentication_state     before = authentication->state;
    enum authentication_event     event = EVENT_METHOD_CONTINUES;
    struct authentication_outcome outcome = {
        .method = slice_text(authentication->method->name),
        .data = answer->data,
    };

    switch (answer->verdict) {
    case AUTHENTICATION_VERDICT_CONTINUE:
        outcome.action = AUTHENTICATION_SEND_AUTH;
        outcome.reason = MQTT_CONTINUE_AUTHENTICATION; /* [MQTT-4.12.0-2] */
        break;
    case AUTHENTICATION_VERDICT_ACCEPT:
        event = EVENT_METHOD_ACCEPTS;
        outcome.action = before == STATE_AGAIN ? AUTHENTICATION_SEND_AUTH : AUTHENTICATION_ADMIT;
        outcome.reason = MQTT_SUCCESS;
        break;
    case AUTHENTICATION_VERDICT_REFUSE:
        authentication->state = STATE_VIOLATION;
        return refuse(answer->reason >= MQTT_UNSPECIFIED_ERROR ? answer->reason
                                                               : MQTT_NOT_AUTHORIZED);
    }
    authentication->state = next_states[before][event];
    assert(authentication->state != STATE_VIOLATION);
    return outcome;
}

struct authentication_outcome
authentication_on_connect(const struct authentication_methods *methods,
                          const struct connect *connect, struct authentication **made)
{
    *made = NULL;
    if (!connect->has_authentication_method) {
        if (connect->authentication_data.data != NULL)
            return refuse(MQTT_PROTOCOL_ERROR); /* data without a method: MQTT-3.1.2.11.10 */
        return (struct authentication_outcome){.action = AUTHENTICATION_ADMIT};
    }

    const struct authentication_method *method =
        method_find(methods, connect->authentication_method);
    if (method == NULL)
        return refuse(MQTT_BAD_AUTHENTICATION_METHOD); /* [MQTT-4.12.0-1] */

    struct authentication *authentication = calloc(1, sizeof(*authentication));
    if (authentication == NULL)
        return refuse(MQTT_SERVER_BUSY);
    authentication->method = method;
    authentication->state = STATE_START;

    struct authentication_answer answer =
        method->begin(method, &authentication->memory, connect, connect->authentication_data);
    struct authentication_outcome outcome = apply(authentication, &answer);
    if (outcome.action == AUTHENTICATION_REFUSE)
        authentication_destroy(authentication);
    else
        *made = authentication;
    return outcome;
}

/* AUTH with other reasons was refused by the decoder [MQTT-3.15.2-1]. */
static enum authentication_event event_of(enum mqtt_reason reason)
{
    if (reason == MQTT_CONTINUE_AUTHENTICATION)
        return EVENT_GOT_CONTINUE;
    return reason == MQTT_REAUTHENTICATE ? EVENT_GOT_REAUTHENTICATE : EVENT_GOT_SUCCESS;
}

struct authentication_outcome authentication_on_auth(struct authentication *authentication,
                                                     const struct auth     *auth)
{
    enum authentication_event event = event_of(auth->reason);
    enum authentication_state next = next_states[state_of(authentication)][event];

    if (next == STATE_VIOLATION) {
        if (authentication != NULL)
            authentication->state = STATE_VIOLATION;
        return refuse(MQTT_PROTOCOL_ERROR);
    }

    const struct authentication_method *method = authentication->method;
    if (!auth->has_method || !slice_equal(slice_text(method->name), auth->method)) {
        authentication->state = STATE_VIOLATION;
        return refuse(MQTT_PROTOCOL_ERROR); /* [MQTT-4.12.0-5] [MQTT-4.12.1-1] */
    }

    authentication->state = next;
    struct authentication_answer answer;
    if (event == EVENT_GOT_REAUTHENTICATE) {
        authentication->memory = (struct authentication_memory){0};
        answer = method->begin(method, &authentication->memory, NULL, auth->data);
    } else {
        answer = method->proceed(method, &authentication->memory, auth->data);
    }
    return apply(authentication, &answer);
}

bool authentication_allows(const struct authentication *authentication, enum packet_type type)
{
    if (type == PACKET_DISCONNECT || type == PACKET_AUTH)
        return true; /* AUTH has rules of its own, in authentication_on_auth */
    return next_states[state_of(authentication)][EVENT_GOT_OTHER] != STATE_VIOLATION;
}

bool authentication_pending(const struct authentication *authentication)
{
    return state_of(authentication) == STATE_EXCHANGE;
}

void authentication_destroy(struct authentication *authentication)
{
    if (authentication == NULL)
        return;
    explicit_bzero(&authentication->memory, sizeof(authentication->memory));
    free(authentication);
}
