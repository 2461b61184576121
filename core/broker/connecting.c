/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/connecting.h"

#include "core/broker/state.h"
#include "core/broker/will.h"
#include "proto/connack.h"
#include "proto/disconnect.h"
#include "proto/topic.h"
#include "proto/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct admission admission_decide(const struct session *existing, bool clean_start)
{
    return (struct admission){
        .takes_over = existing != NULL && existing->link != NULL,
        .resumes = existing != NULL && !clean_start,
    };
}

static void send_connack(struct broker *broker, struct link *link, enum mqtt_version version,
                         const struct connack *connack)
{
    uint32_t size = connack_size(version, connack);
    uint8_t *room = link_reserve(broker, link, size);
    if (room == NULL)
        return;
    struct writer writer = {.at = room, .end = room + size};
    connack_write(version, connack, &writer);
}

/* A CONNACK that says no, then the end (MQTT-3.1.4-1, MQTT-3.2.2-6, -7). */
static void refuse(struct broker *broker, struct link *link, enum mqtt_version version,
                   enum mqtt_reason reason)
{
    broker->statistics.connects_refused++;
    effects_log(&broker->effects, LOG_DEBUG, "%s: CONNECT refused with 0x%02x",
                link_name(broker, link), (unsigned)reason);
    struct connack connack = connack_of(reason);
    link->version = (uint8_t)version;
    connack.reason_string = link_reason_text(broker, link, reason); /* [MQTT-3.2.2-19] */
    send_connack(broker, link, version, &connack);
    link_close(broker, link, MQTT_SUCCESS);
}

/*
 * A CONNECT that could not be read: MQTT 5 names the fault; 3.1 and 3.1.1 have a code for the
 * version and the client id alone, and otherwise the connection just closes (MQTT-3.1.4-1).
 */
static void refuse_unread(struct broker *broker, struct link *link, const struct connect *connect,
                          enum mqtt_reason reason)
{
    broker->statistics.protocol_errors++;
    bool speaks = connect->version == MQTT_VERSION_5 || connack_has_code_311(reason);
    if (speaks && connect->version != MQTT_VERSION_UNKNOWN)
        refuse(broker, link, connect->version, reason);
    else
        link_close(broker, link, MQTT_SUCCESS);
}

static enum mqtt_reason check_will(const struct broker *broker, const struct connect_will *will)
{
    const struct options *options = broker->options;
    if (will->qos > options->protocol.maximum_qos)
        return MQTT_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-12] */
    if (will->retain && !options->protocol.retain_available)
        return MQTT_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-13] */
    if (will->topic.size > options->limits.topic_size_max ||
        topic_levels(will->topic) > options->limits.topic_levels_max)
        return MQTT_TOPIC_NAME_INVALID;
    if (will->topic.size >= 4 && memcmp(will->topic.data, "$SYS", 4) == 0)
        return MQTT_NOT_AUTHORIZED;
    if (options->protocol.check_payload_format && will->payload_format == 1 &&
        !utf8_valid(will->payload))
        return MQTT_PAYLOAD_FORMAT_INVALID;
    return MQTT_SUCCESS;
}

/* What stands in the CONNECT and is not served, whoever sends it. */
static enum mqtt_reason check_connect(const struct broker *broker, const struct connect *connect)
{
    const struct options *options = broker->options;
    if ((options->protocol.versions >> connect->version & 1) == 0)
        return MQTT_UNSUPPORTED_VERSION;
    if (connect->user_property_count > options->limits.user_properties_max)
        return MQTT_QUOTA_EXCEEDED;
    if (connect->client_id.size == 0 &&
        (!options->protocol.allow_empty_client_id || connect->version == MQTT_VERSION_31 ||
         (connect->version == MQTT_VERSION_311 && !connect->clean_start)))
        return MQTT_CLIENT_ID_INVALID; /* [MQTT-3.1.3-8] */
    if (connect->has_will)
        return check_will(broker, &connect->will);
    return MQTT_SUCCESS;
}

static uint64_t next_random(struct broker *broker)
{
    uint64_t mixed = broker->random += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

#define ASSIGNED_ID_SIZE 24U

/* A client id that has its home on this shard, so that nothing is handed over (MQTT-3.1.3-6). */
static struct slice assign_client_id(struct broker *broker, char text[ASSIGNED_ID_SIZE + 1])
{
    struct slice id;
    uint64_t     hash;
    do {
        (void)snprintf(text, ASSIGNED_ID_SIZE + 1, "shardmq-%016llx",
                       (unsigned long long)next_random(broker));
        id = slice_text(text);
        hash = name_hash(broker->secret, id);
    } while (broker_home(broker, hash) != broker->shard || session_find(broker, hash, id) != NULL);
    return id;
}

static uint32_t session_expiry(const struct broker *broker, const struct connect *connect)
{
    const struct options_protocol *protocol = &broker->options->protocol;
    uint32_t                       asked = connect->session_expiry_s;
    if (connect->version != MQTT_VERSION_5)
        asked = connect->clean_start ? 0 : protocol->session_expiry_311_s;
    return asked < protocol->session_expiry_max_s ? asked : protocol->session_expiry_max_s;
}

static uint16_t keep_alive(const struct broker *broker, const struct connect *connect)
{
    uint16_t limit_s = broker->options->protocol.keep_alive_max_s;
    if (limit_s != 0 && (connect->keep_alive_s == 0 || connect->keep_alive_s > limit_s))
        return limit_s;
    return connect->keep_alive_s;
}

/* The link obeys what the client said of itself. */
static void set_up_link(struct broker *broker, struct link *link, const struct connect *connect)
{
    const struct options *options = broker->options;
    uint16_t              inflight_max = options->limits.inflight_max;
    link->version = (uint8_t)connect->version;
    link->packet_size_max = connect->maximum_packet_size;
    link->receive_maximum =
        connect->receive_maximum < inflight_max ? connect->receive_maximum : inflight_max;
    link->alias_max_out = connect->topic_alias_maximum < options->protocol.topic_alias_max_outbound
                              ? connect->topic_alias_maximum
                              : options->protocol.topic_alias_max_outbound;
    if (connect->request_problem_information)
        link->flags |= LINK_PROBLEM_INFO;
    link->silence_ms_max = (uint32_t)keep_alive(broker, connect) * 1500; /* [MQTT-3.1.2-22] */
    link->heard_ms = (uint32_t)broker->now_ms;
    timer_wheel_disarm(broker->wheel, &link->alarm);
    if (link->silence_ms_max != 0)
        timer_wheel_arm(broker->wheel, &link->alarm, broker->now_ms + link->silence_ms_max);
}

/* The session of an admitted CONNECT; NULL: no room for one more. */
static struct session *open_session(struct broker *broker, uint64_t hash, struct slice client_id,
                                    bool clean_start, bool *present)
{
    struct session  *existing = session_find(broker, hash, client_id);
    struct admission admission = admission_decide(existing, clean_start);
    *present = admission.resumes;

    if (admission.takes_over) {
        broker->statistics.takeovers++;
        /* A clean start ends the session even where its expiry would keep it. */
        link_close(broker, existing->link, MQTT_SESSION_TAKEN_OVER); /* [MQTT-3.1.4-3] */
        existing = session_find(broker, hash, client_id);
        if (existing != NULL && existing->link != NULL)
            session_detach(broker, existing); /* its link was aborted earlier in this turn */
        existing = session_find(broker, hash, client_id);
        *present = existing != NULL && !clean_start;
    }
    if (existing != NULL && clean_start) {
        session_end(broker, existing); /* [MQTT-3.1.2-4] */
        existing = NULL;
    }
    return existing != NULL ? existing : session_create(broker, hash, client_id);
}

static void welcome(struct broker *broker, struct link *link, const struct connect *connect,
                    const struct session *session, bool present, bool assigned,
                    const struct authentication_outcome *outcome)
{
    const struct options_protocol *protocol = &broker->options->protocol;
    struct connack                 connack = {
                        .reason = MQTT_SUCCESS,
                        .session_present = present,
                        .retain_unavailable = !protocol->retain_available,
                        .wildcards_unavailable = !protocol->wildcard_subscriptions,
                        .subscription_ids_unavailable = !protocol->subscription_identifiers,
                        .shared_unavailable = !protocol->shared_subscriptions,
                        .maximum_qos = protocol->maximum_qos,
                        .receive_maximum = protocol->receive_maximum,
                        .topic_alias_maximum = protocol->topic_alias_max,
                        .maximum_packet_size = broker->options->limits.packet_size_max,
                        .authentication_method = outcome->method,
                        .authentication_data = outcome->data,
                        .has_authentication_data = outcome->data.size > 0,
    };
    if (session->expiry_s != connect->session_expiry_s) {
        connack.has_session_expiry = true; /* MQTT-3.2.2.3.2: what is used instead */
        connack.session_expiry_s = session->expiry_s;
    }
    if (keep_alive(broker, connect) != connect->keep_alive_s) {
        connack.has_server_keep_alive = true; /* [MQTT-3.2.2-21] */
        connack.server_keep_alive_s = keep_alive(broker, connect);
    }
    if (assigned)
        connack.assigned_client_id = session_client_id(session); /* [MQTT-3.2.2-16] */
    if (connect->request_response_information)
        connack.response_information = slice_text(protocol->response_information);
    send_connack(broker, link, connect->version, &connack);
}

/* Everything is checked: the client comes in. */
static void admit(struct broker *broker, struct link *link, const struct connect *connect,
                  const struct authentication_outcome *outcome)
{
    char         text[ASSIGNED_ID_SIZE + 1];
    bool         assigned = connect->client_id.size == 0;
    struct slice client_id = assigned ? assign_client_id(broker, text) : connect->client_id;
    uint64_t     hash = name_hash(broker->secret, client_id);

    bool            present = false;
    struct session *session = open_session(broker, hash, client_id, connect->clean_start, &present);
    if (session == NULL) {
        refuse(broker, link, connect->version, MQTT_QUOTA_EXCEEDED);
        return;
    }
    session->expiry_s = session_expiry(broker, connect);
    /* Kept or replaced: back before its delay has passed, so the old one does not go out. */
    if (!will_set(broker, session, connect)) {
        refuse(broker, link, connect->version, MQTT_QUOTA_EXCEEDED);
        if (!present)
            session_end(broker, session);
        return;
    }

    set_up_link(broker, link, connect);
    link->phase = LINK_RUNNING;
    broker->statistics.greeting--;
    broker->statistics.connects++;
    welcome(broker, link, connect, session, present, assigned, outcome);
    if (link->phase == LINK_OVER) { /* CONNACK could not go out: nobody came in */
        will_clear(broker, session);
        if (!present)
            session_end(broker, session);
        return;
    }
    session_attach(broker, session, link);
    session_pump(broker, session);
}

static void send_auth(struct broker *broker, struct link *link,
                      const struct authentication_outcome *outcome)
{
    struct auth auth = {
        .reason = outcome->reason,
        .method = outcome->method,
        .data = outcome->data,
        .has_method = outcome->method.size > 0,
    };
    uint32_t size = auth_size(&auth);
    uint8_t *room = link_reserve(broker, link, size);
    if (room == NULL)
        return;
    struct writer writer = {.at = room, .end = room + size};
    auth_write(&auth, &writer);
}

/* The CONNECT is needed again once the exchange is through. */
static bool keep_greeting(struct link *link, const struct frame *frame)
{
    struct link_extra *extra = link->extra;
    extra->greeting = malloc(frame->body.size);
    if (extra->greeting == NULL)
        return false;
    memcpy(extra->greeting, frame->body.data, frame->body.size);
    extra->greeting_size = frame->body.size;
    extra->greeting_flags = frame->flags;
    return true;
}

static void on_outcome(struct broker *broker, struct link *link, const struct connect *connect,
                       const struct authentication_outcome *outcome)
{
    switch (outcome->action) {
    case AUTHENTICATION_SEND_AUTH:
        link->version = MQTT_VERSION_5;
        link->phase = LINK_AUTHENTICATING;
        send_auth(broker, link, outcome);
        break;
    case AUTHENTICATION_ADMIT:
        admit(broker, link, connect, outcome);
        break;
    case AUTHENTICATION_REFUSE:
    default:
        refuse(broker, link, connect->version, outcome->reason);
        break;
    }
}

static void authenticate(struct broker *broker, struct link *link, const struct connect *connect,
                         const struct frame *frame)
{
    static const struct authentication_outcome anyone = {.action = AUTHENTICATION_ADMIT};
    if (!connect->has_authentication_method) {
        admit(broker, link, connect, &anyone);
        return;
    }
    struct link_extra *extra = link_extra_need(link);
    if (extra == NULL) {
        refuse(broker, link, connect->version, MQTT_SERVER_BUSY);
        return;
    }
    struct authentication_outcome outcome =
        authentication_on_connect(&broker->authentication_methods, connect, &extra->authentication);
    if (outcome.action == AUTHENTICATION_SEND_AUTH && !keep_greeting(link, frame)) {
        refuse(broker, link, connect->version, MQTT_SERVER_BUSY);
        return;
    }
    on_outcome(broker, link, connect, &outcome);
}

void connecting_on_connect(struct broker *broker, struct link *link, const struct frame *frame,
                           bool *handed_over)
{
    struct connect   connect;
    enum mqtt_reason reason = connect_decode(frame->flags, frame->body, &connect);
    *handed_over = false;
    if (connect.maximum_packet_size != 0) /* which is refused; the refusal may be any size then */
        link->packet_size_max = connect.maximum_packet_size;
    if (reason != MQTT_SUCCESS) {
        refuse_unread(broker, link, &connect, reason);
        return;
    }
    reason = check_connect(broker, &connect);
    if (reason == MQTT_SUCCESS && link->refuse != 0)
        reason = (enum mqtt_reason)link->refuse;
    if (reason == MQTT_SUCCESS && broker->stopping)
        reason = MQTT_SERVER_UNAVAILABLE;
    if (reason != MQTT_SUCCESS) {
        refuse(broker, link, connect.version, reason);
        return;
    }

    uint16_t home = connect.client_id.size == 0
                        ? broker->shard
                        : broker_home(broker, name_hash(broker->secret, connect.client_id));
    if (home != broker->shard) {
        *handed_over = true;
        link_hand_over(broker, link, home);
        return;
    }
    authenticate(broker, link, &connect, frame);
}

enum mqtt_reason connecting_on_auth(struct broker *broker, struct link *link,
                                    const struct frame *frame)
{
    struct auth      auth;
    enum mqtt_reason reason = link->version == MQTT_VERSION_5
                                  ? auth_decode(frame->flags, frame->body, &auth)
                                  : MQTT_PROTOCOL_ERROR;
    if (reason != MQTT_SUCCESS)
        return reason;

    struct link_extra            *extra = link->extra;
    struct authentication        *machine = extra != NULL ? extra->authentication : NULL;
    struct authentication_outcome outcome = authentication_on_auth(machine, &auth);
    if (link->phase == LINK_RUNNING) {
        if (outcome.action == AUTHENTICATION_REFUSE)
            return outcome.reason;
        send_auth(broker, link, &outcome);
        return MQTT_SUCCESS;
    }

    assert(link->phase == LINK_AUTHENTICATING && extra != NULL);
    struct connect connect;
    reason = connect_decode(extra->greeting_flags, slice_of(extra->greeting, extra->greeting_size),
                            &connect);
    assert(reason == MQTT_SUCCESS);
    on_outcome(broker, link, &connect, &outcome);
    if (link->phase == LINK_RUNNING) {
        free(extra->greeting);
        extra->greeting = NULL;
    }
    return MQTT_SUCCESS;
}

enum mqtt_reason connecting_on_disconnect(struct broker *broker, struct link *link,
                                          const struct frame *frame)
{
    struct disconnect disconnect;
    enum mqtt_reason  reason =
        disconnect_decode(link->version, frame->flags, frame->body, false, &disconnect);
    if (reason != MQTT_SUCCESS)
        return reason;
    struct session *session = link->session;
    if (session == NULL) { /* while authenticating */
        link_close(broker, link, MQTT_SUCCESS);
        return MQTT_SUCCESS;
    }
    if (disconnect.has_session_expiry) {
        if (session->expiry_s == 0 && disconnect.session_expiry_s != 0)
            return MQTT_PROTOCOL_ERROR; /* MQTT-3.14.2.2.2 */
        uint32_t limit_s = broker->options->protocol.session_expiry_max_s;
        session->expiry_s =
            disconnect.session_expiry_s < limit_s ? disconnect.session_expiry_s : limit_s;
    }
    if (disconnect.reason == MQTT_SUCCESS)
        will_clear(broker, session); /* [MQTT-3.14.4-3] */
    link_close(broker, link, MQTT_SUCCESS);
    return MQTT_SUCCESS;
}
