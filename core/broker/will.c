/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/will.h"

#include "core/broker/fanout.h"
#include "core/broker/state.h"
#include "proto/properties.h"

#include <stdlib.h>

static struct message *will_message(struct broker *broker, const struct session *session,
                                    const struct connect_will *from)
{
    uint32_t        forward = properties_forward_size(from->properties);
    uint8_t        *room = NULL;
    struct message *message = message_create(broker->shard, (uint16_t)from->topic.size, forward,
                                             from->payload.size, &room);
    if (message == NULL)
        return NULL;

    struct writer writer = {.at = room,
                            .end = room + from->topic.size + forward + from->payload.size};
    write_slice(&writer, from->topic);
    properties_write_forward(from->properties, &writer);
    write_slice(&writer, from->payload);
    message->qos = from->qos;
    message->flags = from->retain ? MESSAGE_RETAIN : 0;
    message->publisher = session->hash;
    return message;
}

bool will_set(struct broker *broker, struct session *session, const struct connect *connect)
{
    will_clear(broker, session);
    if (!connect->has_will)
        return true;

    struct will *will = calloc(1, sizeof(*will));
    if (will == NULL)
        return false;
    if (session_extra_need(session) != NULL)
        will->message = will_message(broker, session, &connect->will);
    if (will->message == NULL) {
        free(will);
        return false;
    }
    will->session = session;
    will->delay_s = connect->will.delay_s;
    if (will->delay_s > broker->options->limits.will_delay_max_s)
        will->delay_s = broker->options->limits.will_delay_max_s;
    will->has_message_expiry = connect->will.has_message_expiry;
    will->message_expiry_s = connect->will.message_expiry_s;
    alarm_init(&will->delay, ALARM_WILL_DELAY);
    session->extra->will = will;
    return true;
}

void will_clear(struct broker *broker, struct session *session)
{
    struct will *will = session_will(session);
    if (will == NULL)
        return;
    timer_wheel_disarm(broker->wheel, &will->delay);
    message_release(will->message, broker->outboxes);
    free(will);
    session->extra->will = NULL;
    session_extra_trim(session);
}

void will_publish_now(struct broker *broker, struct session *session)
{
    struct will *will = session_will(session);
    if (will == NULL)
        return;
    uint32_t expiry_s = will->message_expiry_s;
    uint32_t expiry_max_s = broker->options->limits.message_expiry_max_s;
    if (expiry_max_s != 0 && (!will->has_message_expiry || expiry_s > expiry_max_s))
        expiry_s = expiry_max_s;
    if (will->has_message_expiry || expiry_max_s != 0) /* nobody else holds the message yet */
        will->message->expires_ms = broker->now_ms + (uint64_t)expiry_s * 1000;

    struct fanout fanout = fanout_of_message(will->message);
    will_clear(broker, session);
    fanout_everywhere(broker, &fanout);
    fanout_end(broker, &fanout);
    broker->statistics.wills_sent++;
}

void will_link_gone(struct broker *broker, struct session *session)
{
    struct will *will = session_will(session);
    if (will == NULL)
        return;
    will->due = true;
    if (session->expiry_s == 0)
        return; /* the session ends now, and the will with it */
    if (will->delay_s == 0)
        will_publish_now(broker, session);
    else
        timer_wheel_arm(broker->wheel, &will->delay,
                        broker->now_ms + (uint64_t)will->delay_s * 1000);
}

void will_session_ends(struct broker *broker, struct session *session)
{
    const struct will *will = session_will(session);
    if (will != NULL && will->due)
        will_publish_now(broker, session);
    else
        will_clear(broker, session);
}

void will_on_alarm(struct alarm *alarm, void *context, uint64_t now_ms)
{
    (void)now_ms;
    struct will *will = container_of(alarm, struct will, delay);
    will_publish_now(context, will->session);
}
