/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/broker.h"

#include "core/broker/fanout.h"
#include "core/broker/fences.h"
#include "core/broker/input.h"
#include "core/broker/message.h"
#include "core/broker/retaining.h"
#include "core/broker/routes.h"
#include "core/broker/sharing.h"
#include "core/broker/state.h"
#include "core/broker/subscribing.h"
#include "core/broker/sys_publisher.h"
#include "core/broker/will.h"

#include <assert.h>
#include <stdlib.h>

/* Alarms that ring in one turn; the rest is taken up in the next. */
#define ALARMS_A_TURN 4096U

/* Parcels waiting for one sibling above which publishers are no longer read, and read again. */
#define OUTBOX_HIGH 8192U
#define OUTBOX_LOW  1024U

/* Where no limit is configured. */
#define SESSIONS_MAX     (1U << 24)
#define SHARE_GROUPS_MAX (1U << 20)

static struct slice key_of_session(const void *value)
{
    return session_client_id(value);
}

static uint64_t hash_of_session(const void *context, const void *value)
{
    (void)context;
    return ((const struct session *)value)->hash;
}

static const struct map_type sessions_type = {.key_of = key_of_session, .hash_of = hash_of_session};

/* Connect timeout, or silence: an alarm that rang too soon goes back to sleep. */
static void on_link_alarm(struct alarm *alarm, void *context, uint64_t now_ms)
{
    struct broker *broker = context;
    struct link   *link = container_of(alarm, struct link, alarm);
    if (link->phase != LINK_RUNNING) {
        effects_log(&broker->effects, LOG_INFO, "%s: no CONNECT within the connect timeout",
                    link_name(broker, link));
        link_close(broker, link, MQTT_SUCCESS);
        return;
    }
    uint32_t silence_ms = (uint32_t)now_ms - link->heard_ms;
    bool     silent = silence_ms >= link->silence_ms_max;
    if (!silent || (link->flags & LINK_PAUSED) != 0) {
        /* Whom we do not read we cannot have heard. */
        timer_wheel_arm(broker->wheel, alarm,
                        now_ms + (silent ? 1000 : link->silence_ms_max - silence_ms));
        session_trim(link->session);
        return;
    }
    broker->statistics.keep_alive_timeouts++;
    effects_log(&broker->effects, LOG_INFO, "client %s: silent for 1.5 times its keep alive",
                link_name(broker, link));
    link_close(broker, link, MQTT_KEEP_ALIVE_TIMEOUT); /* [MQTT-3.1.2-22] */
}

static void on_session_expiry(struct alarm *alarm, void *context, uint64_t now_ms)
{
    (void)now_ms;
    struct broker *broker = context;
    broker->statistics.sessions_expired++;
    session_end(broker, container_of(alarm, struct session, expiry));
}

static void register_alarms(struct broker *broker)
{
    timer_wheel_handle(broker->wheel, ALARM_LINK, on_link_alarm, broker);
    timer_wheel_handle(broker->wheel, ALARM_SESSION_EXPIRY, on_session_expiry, broker);
    timer_wheel_handle(broker->wheel, ALARM_WILL_DELAY, will_on_alarm, broker);
    timer_wheel_handle(broker->wheel, ALARM_SWEEP, retaining_on_sweep, broker);
    alarm_init(&broker->sweep, ALARM_SWEEP);
    timer_wheel_arm(broker->wheel, &broker->sweep, broker->now_ms);
}

struct broker *broker_create(const struct broker_place *place, uint64_t now_ms)
{
    assert(place->shard < place->shard_count);
    assert(place->interest != NULL || place->shard_count == 1);
    struct broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL)
        return NULL;

    const struct options *options = place->options;
    broker->shard = place->shard;
    broker->shard_count = place->shard_count;
    broker->options = options;
    broker->secret = place->secret;
    broker->interest = place->interest;
    broker->now_ms = now_ms;
    broker->random = place->seed;
    list_init(&broker->waits);
    list_init(&broker->share_joins);
    map_init(&broker->sessions_by_id, &sessions_type, NULL);
    effects_init(&broker->effects, (enum log_level)options->log_level);

    struct retained_limits limits = {
        .messages_max = broker_share_of(broker, options->limits.retained_messages_max),
        .bytes_max = broker_share_of(broker, options->limits.retained_bytes_max),
    };
    broker->outboxes = calloc(broker->shard_count, sizeof(*broker->outboxes));
    outflow_pool_init(&broker->outflows, broker->outboxes);
    broker->links = pool_create(sizeof(struct link), place->links_max);
    uint64_t sessions_max = broker_share_of(broker, options->limits.sessions_max);
    broker->sessions = pool_create(
        sizeof(struct session),
        sessions_max != 0 && sessions_max < SESSIONS_MAX ? (uint32_t)sessions_max : SESSIONS_MAX);
    broker->share_groups = pool_create(sizeof(struct sharing_group), SHARE_GROUPS_MAX);
    broker->index = topic_index_create(place->secret, options->limits.filter_shapes_max);
    broker->routes = routes_create();
    broker->wheel = timer_wheel_create(now_ms);
    broker->retained = retained_create(place->secret, &limits, broker->outboxes);
    if (broker->outboxes == NULL || broker->links == NULL || broker->sessions == NULL ||
        broker->share_groups == NULL || broker->index == NULL || broker->routes == NULL ||
        broker->wheel == NULL || broker->retained == NULL || !sys_publisher_open(broker)) {
        broker_destroy(broker);
        return NULL;
    }
    register_alarms(broker);
    return broker;
}

/* Sessions go without a word to anybody: the process ends, nothing is kept. */
static void destroy_sessions(struct broker *broker)
{
    for (uint32_t slot = 0; slot < pool_slots_used(broker->links); slot++) {
        struct link *link = pool_at(broker->links, slot);
        if (link == NULL)
            continue;
        if (link->session != NULL)
            link->session->link = NULL;
        if (link->outflow != NULL)
            outflow_drop(&broker->outflows, link->outflow);
        link_extra_free(link);
    }
    for (uint32_t slot = 0; slot < pool_slots_used(broker->sessions); slot++) {
        struct session *session = pool_at(broker->sessions, slot);
        if (session == NULL)
            continue;
        will_clear(broker, session);
        session_end(broker, session);
    }
}

void broker_destroy(struct broker *broker)
{
    if (broker == NULL)
        return;
    if (broker->links != NULL && broker->sessions != NULL && broker->wheel != NULL) {
        sys_publisher_close(broker);
        destroy_sessions(broker);
    }
    subscribing_fini(broker);
    sharing_fini(broker);
    retaining_fini(broker);
    retained_destroy(broker->retained);
    timer_wheel_destroy(broker->wheel);
    topic_index_destroy(broker->index);
    routes_destroy(broker->routes);
    pool_destroy(broker->share_groups);
    pool_destroy(broker->sessions);
    pool_destroy(broker->links);
    map_fini(&broker->sessions_by_id);
    outflow_pool_fini(&broker->outflows);
    fences_fini(broker);
    for (uint16_t shard = 0; broker->outboxes != NULL && shard < broker->shard_count; shard++)
        outbox_fini(&broker->outboxes[shard]);
    free(broker->outboxes);
    effects_fini(&broker->effects);
    free(broker->paused);
    free(broker->aborted);
    free(broker->matches);
    free(broker->match_identifiers);
    free(broker->identifiers);
    free(broker->forward);
    free(broker);
}

/* Once all outboxes have drained, whoever was paused is read again. */
static void relieve(struct broker *broker)
{
    for (uint16_t shard = 0; shard < broker->shard_count; shard++)
        if (outbox_count(&broker->outboxes[shard]) > OUTBOX_LOW)
            return;
    broker->congested = false;
    for (uint32_t at = 0; at < broker->paused_count; at++) {
        struct link *link = pool_get(broker->links, broker->paused[at]);
        if (link == NULL)
            continue;
        link->flags &= (uint8_t)~LINK_PAUSED;
        link->heard_ms = (uint32_t)broker->now_ms;
        if (link->phase != LINK_OVER)
            effects_order(&broker->effects, ORDER_RESUME, pool_handle_of(link), 0);
    }
    broker->paused_count = 0;
}

void broker_begin_turn(struct broker *broker, uint64_t now_ms)
{
    assert(now_ms >= broker->now_ms);
    broker->now_ms = now_ms;
    if (broker->congested)
        relieve(broker);
}

static void take_stock(struct broker *broker)
{
    struct statistics *statistics = &broker->statistics;
    statistics->connections = pool_count(broker->links);
    statistics->retained_messages = retained_count(broker->retained);
    statistics->retained_bytes = retained_bytes(broker->retained);
    statistics->output_bytes = broker->outflows.bytes;
    if (broker->shard_count == 1)
        return;
    for (uint16_t shard = 0; shard < broker->shard_count; shard++) {
        uint32_t count = outbox_count(&broker->outboxes[shard]);
        if (count > statistics->outbox_high_water)
            statistics->outbox_high_water = count;
        if (count > OUTBOX_HIGH)
            broker->congested = true;
    }
}

bool broker_end_turn(struct broker *broker)
{
    bool more = timer_wheel_advance(broker->wheel, broker->now_ms, ALARMS_A_TURN) == ALARMS_A_TURN;
    more |= retaining_turn(broker);
    link_detach_aborted(broker);
    take_stock(broker);
    return more || broker->effects.order_count > 0;
}

uint64_t broker_next_ms(const struct broker *broker)
{
    return timer_wheel_next_ms(broker->wheel);
}

bool broker_accept(struct broker *broker, const struct link_origin *origin, struct handle *handle)
{
    struct link *link = pool_take(broker->links, handle);
    if (link == NULL)
        return false;
    link->phase = LINK_GREETING;
    link->refuse = (uint8_t)origin->refuse;
    link->listener = (uint8_t)origin->listener;
    link->heard_ms = (uint32_t)broker->now_ms;
    link->packet_size_max = MQTT_PACKET_SIZE_MAX;
    alarm_init(&link->alarm, ALARM_LINK);
    timer_wheel_arm(broker->wheel, &link->alarm,
                    broker->now_ms + broker->options->protocol.connect_timeout_ms);
    broker->statistics.greeting++;
    broker->statistics.connections_accepted += !origin->handed_over;
    broker->statistics.handovers_in += origin->handed_over;
    broker->statistics.connections_refused += origin->refuse != MQTT_SUCCESS;
    return true;
}

struct input_result broker_input(struct broker *broker, struct handle handle, struct slice bytes)
{
    struct link *link = pool_get(broker->links, handle);
    if (link != NULL && (link->flags & LINK_HANDED_OVER) != 0)
        return (struct input_result){0};
    if (link == NULL || link->phase == LINK_OVER)
        return (struct input_result){.consumed = bytes.size};
    return input_take(broker, link, bytes);
}

void broker_hang_up(struct broker *broker, struct handle handle, int status)
{
    struct link *link = pool_get(broker->links, handle);
    if (link == NULL)
        return;
    effects_log(&broker->effects, LOG_DEBUG, "client %s: connection closed by the peer (%d)",
                link_name(broker, link), status);
    link_hang_up(broker, link);
}

uint32_t broker_output(struct broker *broker, struct handle handle, struct slice *parts,
                       uint32_t parts_max)
{
    const struct link *link = pool_get(broker->links, handle);
    if (link == NULL || link->outflow == NULL)
        return 0;
    return outflow_view(link->outflow, parts, parts_max);
}

uint64_t broker_output_size(const struct broker *broker, struct handle handle)
{
    const struct link *link = pool_get(broker->links, handle);
    return link == NULL || link->outflow == NULL ? 0 : link->outflow->size;
}

/* The chunk that would have held what this output was: the next one is likely to be alike. */
static uint8_t chunk_class_for(uint64_t total)
{
    return total <= 200 ? 0 : total <= 2000 ? 1 : 2;
}

void broker_sent(struct broker *broker, struct handle handle, uint32_t size)
{
    struct link *link = pool_get(broker->links, handle);
    if (link == NULL || link->outflow == NULL)
        return;
    broker->statistics.bytes_out += size;
    if (outflow_sent(&broker->outflows, link->outflow, size)) {
        link->chunk_class = chunk_class_for(link->outflow->total);
        outflow_drop(&broker->outflows, link->outflow);
        link->outflow = NULL;
    }

    struct session *session = link->session;
    if (session == NULL || (link->outflow != NULL &&
                            link->outflow->size * 2 > broker->options->limits.output_buffer_max))
        return;
    if (session->backlog != NULL || session_retain_waiting(session) != NULL ||
        (session->flight != NULL && session->flight->resend_count > 0))
        session_pump(broker, session);
}

void broker_forget(struct broker *broker, struct handle handle)
{
    struct link *link = pool_get(broker->links, handle);
    assert(link != NULL && link->phase == LINK_OVER);
    if (link->session != NULL)
        session_detach(broker, link->session);
    if (link->outflow != NULL)
        outflow_drop(&broker->outflows, link->outflow);
    link_extra_free(link);
    pool_give(broker->links, handle);
}

static void on_publish_parcel(struct broker *broker, const struct parcel *parcel)
{
    struct fanout fanout = fanout_of_parcel(parcel);
    fanout_local(broker, &fanout);
    fanout_end(broker, &fanout);
}

void broker_parcel(struct broker *broker, const struct parcel *parcel)
{
    assert(parcel->from < broker->shard_count && parcel->from != broker->shard);
    broker->statistics.parcels_in++;
    switch ((enum parcel_kind)parcel->kind) {
    case PARCEL_PUBLISH:
        on_publish_parcel(broker, parcel);
        break;
    case PARCEL_RELEASE:
        message_release(parcel->pointer, broker->outboxes);
        break;
    case PARCEL_INTEREST:
        interest_on_request(broker, parcel);
        break;
    case PARCEL_INTEREST_DONE:
        interest_on_done(broker, parcel);
        break;
    case PARCEL_FENCE:
        fences_on_fence(broker, parcel);
        break;
    case PARCEL_FENCE_DONE:
        fences_on_done(broker, parcel);
        break;
    case PARCEL_RETAIN:
    case PARCEL_RETAIN_QUERY:
    case PARCEL_RETAIN_FOUND:
    case PARCEL_RETAIN_MORE:
        retaining_on_parcel(broker, parcel);
        break;
    case PARCEL_SHARE_JOIN:
    case PARCEL_SHARE_LEAVE:
    case PARCEL_SHARE_DONE:
    case PARCEL_SHARE_DELIVER:
    case PARCEL_SHARE_RETURN:
    case PARCEL_SHARE_SETTLED:
    case PARCEL_SHARE_PRESENCE:
        sharing_on_parcel(broker, parcel);
        break;
    case PARCEL_STATISTICS:
        sys_publisher_on_statistics(broker, parcel);
        break;
    case PARCEL_NONE:
    case PARCEL_CORE_COUNT:
    case PARCEL_BODY:
        assert(false && "a parcel of the body, or none");
    }
}

struct effects *broker_effects(struct broker *broker)
{
    return &broker->effects;
}

void broker_effects_done(struct broker *broker)
{
    for (uint32_t at = 0; at < broker->effects.flush_count; at++) {
        struct link *link = pool_get(broker->links, broker->effects.flush[at]);
        if (link != NULL)
            link->flags &= (uint8_t)~LINK_DIRTY;
    }
    effects_clear(&broker->effects);
}

struct outbox *broker_outboxes(struct broker *broker)
{
    return broker->outboxes;
}

void broker_stop_wills(struct broker *broker)
{
    broker->stopping = true;
    for (uint32_t slot = 0; slot < pool_slots_used(broker->sessions); slot++) {
        struct session *session = pool_at(broker->sessions, slot);
        if (session != NULL && session->link != NULL)
            will_publish_now(broker, session);
    }
}

void broker_stop_links(struct broker *broker)
{
    broker->stopping = true;
    for (uint32_t slot = 0; slot < pool_slots_used(broker->links); slot++) {
        struct link *link = pool_at(broker->links, slot);
        if (link != NULL)
            link_close(broker, link, MQTT_SERVER_SHUTTING_DOWN);
    }
}

const struct statistics *broker_statistics(const struct broker *broker)
{
    return &broker->statistics;
}
