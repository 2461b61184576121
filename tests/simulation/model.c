/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/model.h"

#include "tests/simulation/trace.h"

#include <stdio.h>
#include <stdlib.h>

#define PAYLOAD_MAGIC 0x53494d55U /* "SIMU" */
#define COPIES_MANY   255U

static const char *const live_topics[] = {
    "t/0",
    "t/1",
    "t/2",
    "t/0/a",
    "t/1/a",
    "t/2/a",
    "t/0/a/b",
    "t//x",
    "/t",
    "t",
    "u/0/a",
    "u/1/a",
    "deep/1/2/3/4/5/6/7/8",
    "$own/0",
    "t/1/",
    "long/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3",
};
static const char *const retained_topics[] = {"r/0", "r/1", "r/2", "r/0/x", "r/1/x", "r/"};
static const char *const will_topics[] = {"w/0", "w/1", "w/1/x"};

static const char *const filters[] = {
    "t/0",
    "t/+",
    "t/#",
    "#",
    "+/+",
    "+/0/a",
    "t/+/a",
    "t//x",
    "/+",
    "+",
    "t/0/#",
    "r/#",
    "r/+",
    "r/0",
    "w/#",
    "w/1",
    "$own/#",
    "$own/+",
    "u/#",
    "+/#",
    "deep/#",
    "deep/+/2/+/4/+/6/+/8",
    "t/0/a/b",
    "nobody/publishes/this",
    "+/+/+",
    "t/1",
    "t/2/#",
    "long/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/+",
    "$share/one/t/#",
    "$share/one/t/+",
    "$share/two/#",
    "$share/two/u/0/a",
    "$share/three/t/+/a",
};

/* [MQTT-4.7] in the most obvious way; the broker's matchers are what it is compared with. */
static bool matches(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    while (*filter != '\0') {
        if (filter[0] == '#')
            return true;
        if (filter[0] == '+') {
            while (*topic != '\0' && *topic != '/')
                topic++;
            filter++;
        } else {
            while (*filter != '\0' && *filter != '/') {
                if (*filter++ != *topic++)
                    return false;
            }
        }
        if (*topic != '\0' && *topic != '/')
            return false;
        if (*topic == '\0')
            return *filter == '\0' || strcmp(filter, "/#") == 0;
        if (*filter == '\0')
            return false;
        filter++;
        topic++;
    }
    return *topic == '\0';
}

static void model_add_topics(struct model *model, const char *const *names, size_t count,
                             enum topic_kind kind)
{
    for (size_t index = 0; index < count; index++) {
        struct topic *topic = &model->topics[model->topic_count++];
        assert(model->topic_count <= TOPICS_MAX);
        (void)snprintf(topic->name, sizeof(topic->name), "%s", names[index]);
        topic->kind = kind;
    }
}

static void model_add_filter(struct model *model, const char *name)
{
    struct filter *filter = &model->filters[model->filter_count++];

    assert(model->filter_count <= FILTERS_MAX);
    filter->shared = strncmp(name, "$share/", 7) == 0;
    (void)snprintf(filter->name, sizeof(filter->name), "%s", name);
    (void)snprintf(filter->plain, sizeof(filter->plain), "%s",
                   filter->shared ? strchr(name + 7, '/') + 1 : name);
    filter->takes_qos0 = strncmp(name, "$share/three/", 13) == 0;
    for (uint32_t topic = 0; topic < model->topic_count; topic++)
        filter->matches[topic] = matches(filter->plain, model->topics[topic].name);
}

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static uint32_t sequences_count(const struct model *model)
{
    return model->subscriber_count * model->topic_count * 9;
}

void model_init(struct model *model, uint32_t subscriber_count)
{
    *model = (struct model){.subscriber_count = subscriber_count, .tick = 1};
    model_add_topics(model, live_topics, COUNT_OF(live_topics), TOPIC_LIVE);
    model_add_topics(model, retained_topics, COUNT_OF(retained_topics), TOPIC_RETAINED);
    model_add_topics(model, will_topics, COUNT_OF(will_topics), TOPIC_WILL);
    for (size_t index = 0; index < COUNT_OF(filters); index++) {
        model_add_filter(model, filters[index]);
        model->shares[index].packet_size_max = MQTT_PACKET_SIZE_MAX;
    }
    model->subscribers = calloc(subscriber_count, sizeof(struct subscriber));
    model->publisher_sequences = calloc(subscriber_count, sizeof(uint32_t));
    assert(model->subscribers != NULL && model->publisher_sequences != NULL);
    for (uint32_t index = 0; index < subscriber_count; index++) {
        struct subscriber *subscriber = &model->subscribers[index];
        subscriber->index = (uint16_t)index;
        subscriber->sequences = calloc(sequences_count(model), sizeof(uint32_t));
        assert(subscriber->sequences != NULL);
        memset(subscriber->latest, -1, sizeof(subscriber->latest));
    }
}

void model_fini(struct model *model)
{
    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        free(model->subscribers[index].versions);
        free(model->subscribers[index].copies);
        free(model->subscribers[index].replays);
        free(model->subscribers[index].sequences);
    }
    for (uint32_t filter = 0; filter < model->filter_count; filter++)
        free(model->shares[filter].copies);
    free(model->subscribers);
    free(model->publisher_sequences);
    free(model->messages);
}

uint32_t model_message(struct model *model, const struct message_record *message)
{
    if (model->message_count == model->message_capacity) {
        model->message_capacity = 2 * model->message_capacity + 256;
        model->messages =
            realloc(model->messages, model->message_capacity * sizeof(struct message_record));
        assert(model->messages != NULL);
    }
    struct message_record *record = &model->messages[model->message_count];
    *record = *message;
    record->sent_tick = ++model->tick;
    record->sequence = ++model->publisher_sequences[message->publisher];
    record->sends = 1;
    return model->message_count++;
}

static uint8_t payload_filler(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

void model_payload_write(const struct model *model, uint32_t number, uint8_t *bytes)
{
    const struct message_record *message = &model->messages[number];
    struct writer                writer = {.at = bytes, .end = bytes + message->payload_size};

    if (message->payload_size == 0)
        return;
    write_u32(&writer, PAYLOAD_MAGIC);
    write_u32(&writer, number);
    write_u32(&writer, message->sequence);
    for (uint32_t at = PAYLOAD_SIZE_MIN; at < message->payload_size; at++)
        write_u8(&writer, payload_filler(number, at));
}

uint32_t model_identify(const struct model *model, struct slice payload)
{
    struct reader reader = reader_of(payload);
    uint32_t      magic = read_u32(&reader);
    uint32_t      number = read_u32(&reader);

    read_u32(&reader);
    if (reader.failed || magic != PAYLOAD_MAGIC)
        return UINT32_MAX;
    if (number >= model->message_count || model->messages[number].payload_size != payload.size)
        trace_fail("a payload claims to be message %u with %u bytes", number, payload.size);
    for (uint32_t at = PAYLOAD_SIZE_MIN; at < payload.size; at++) {
        if (payload.data[at] != payload_filler(number, at))
            trace_fail("byte %u of the payload of message %u changed", at, number);
    }
    return number;
}

static void copies_reserve(uint8_t **copies, uint32_t *capacity, uint32_t number)
{
    if (number < *capacity)
        return;
    uint32_t grown = 2 * number + 256;
    *copies = realloc(*copies, grown);
    assert(*copies != NULL);
    memset(*copies + *capacity, 0, grown - *capacity);
    *capacity = grown;
}

static uint8_t copies_of(const uint8_t *copies, uint32_t capacity, uint32_t number)
{
    return number < capacity ? copies[number] : 0;
}

/* A member may have taken messages with it that nobody else gets, or that others get again. */
static void share_death(struct model *model, const struct subscriber *subscriber)
{
    if (subscriber->shares)
        model->shares[subscriber->share_filter].last_death_tick = model->tick;
}

void model_session_begin(struct model *model, uint16_t index)
{
    struct subscriber *subscriber = &model->subscribers[index];

    model->tick++;
    share_death(model, subscriber);
    subscriber->version_count = 0;
    subscriber->packet_size_max = MQTT_PACKET_SIZE_MAX;
    memset(subscriber->latest, -1, sizeof(subscriber->latest));
    if (subscriber->copies_capacity > 0)
        memset(subscriber->copies, 0, subscriber->copies_capacity);
    if (subscriber->replays_capacity > 0)
        memset(subscriber->replays, 0, subscriber->replays_capacity);
    memset(subscriber->sequences, 0, sequences_count(model) * sizeof(uint32_t));
}

void model_packet_size(struct model *model, uint16_t index, uint32_t packet_size_max)
{
    struct subscriber   *subscriber = &model->subscribers[index];
    struct share_record *share = &model->shares[subscriber->share_filter];

    if (packet_size_max < subscriber->packet_size_max)
        subscriber->packet_size_max = packet_size_max;
    if (subscriber->shares && packet_size_max < share->packet_size_max)
        share->packet_size_max = packet_size_max;
}

void model_connected(struct model *model, uint16_t index)
{
    model->subscribers[index].connected_tick = ++model->tick;
    share_death(model, &model->subscribers[index]); /* a session before this one ended just now */
}

void model_connection_ended(struct model *model, uint16_t index)
{
    model->tick++;
    share_death(model, &model->subscribers[index]);
    model->subscribers[index].connected_tick = 0;
}

void model_connection_closing(struct model *model, uint16_t index)
{
    model->tick++;
    share_death(model, &model->subscribers[index]);
}

uint32_t model_subscribe_sent(struct model *model, uint16_t index, uint8_t filter,
                              const struct subscribe_options *options, uint32_t id)
{
    struct subscriber *subscriber = &model->subscribers[index];

    if (subscriber->version_count == subscriber->version_capacity) {
        subscriber->version_capacity = 2 * subscriber->version_capacity + 16;
        subscriber->versions =
            realloc(subscriber->versions, subscriber->version_capacity * sizeof(struct version));
        assert(subscriber->versions != NULL);
    }
    uint32_t number = subscriber->version_count++;
    int32_t  old = subscriber->latest[filter];
    bool     stood =
        old >= 0 && subscriber->versions[old].acked_tick != 0 && !subscriber->versions[old].left;
    bool replays = options->retain_handling == 0 || (options->retain_handling == 1 && !stood);
    model->tick++;
    if (old >= 0) {
        subscriber->versions[old].next = (int32_t)number;
        if (subscriber->versions[old].replaced_tick == 0)
            subscriber->versions[old].replaced_tick = model->tick;
    }
    subscriber->versions[number] = (struct version){
        .options = *options,
        .filter = filter,
        .must_replay =
            !model->filters[filter].shared &&
            (options->retain_handling == 0 || (options->retain_handling == 1 && old < 0)),
        .replays = replays && !model->filters[filter].shared,
        .id = id,
        .sent_tick = model->tick,
        .next = -1,
    };
    subscriber->latest[filter] = (int32_t)number;
    return number;
}

static void versions_end(struct model *model, struct subscriber *subscriber, uint8_t filter,
                         uint32_t before)
{
    for (uint32_t number = 0; number < before; number++) {
        struct version *version = &subscriber->versions[number];
        if (version->filter == filter && version->ended_tick == 0)
            version->ended_tick = model->tick;
    }
}

void model_subscribe_acked(struct model *model, uint16_t index, uint32_t number, uint8_t granted)
{
    struct subscriber *subscriber = &model->subscribers[index];
    struct version    *version = &subscriber->versions[number];

    model->tick++;
    if (granted >= 0x80 && model->may_refuse) {
        versions_end(model, subscriber, version->filter, number + 1);
        if (subscriber->latest[version->filter] == (int32_t)number)
            subscriber->latest[version->filter] = -1;
        return;
    }
    if (granted > version->options.qos)
        trace_fail("client %u asked for %s with QoS %u and was granted 0x%02x", index,
                   model->filters[version->filter].name, version->options.qos, granted);
    version->acked_tick = model->tick;
    version->granted = granted;
    versions_end(model, subscriber, version->filter, number);
}

uint32_t model_unsubscribe_sent(struct model *model, uint16_t index, uint8_t filter)
{
    struct subscriber *subscriber = &model->subscribers[index];
    int32_t            number = subscriber->latest[filter];

    model->tick++;
    share_death(model, subscriber);
    if (subscriber->shares)
        model->shares[filter].left_tick = model->tick;
    if (number >= 0) {
        subscriber->versions[number].left = true;
        if (subscriber->versions[number].replaced_tick == 0)
            subscriber->versions[number].replaced_tick = model->tick;
    }
    return subscriber->version_count;
}

void model_unsubscribe_acked(struct model *model, uint16_t index, uint8_t filter, uint32_t before)
{
    struct subscriber *subscriber = &model->subscribers[index];

    model->tick++;
    int32_t number = subscriber->latest[filter];
    versions_end(model, subscriber, filter, before);
    if (number >= 0 && (uint32_t)number < before)
        subscriber->latest[filter] = -1;
}

bool model_subscription_stands(const struct model *model, uint16_t index, uint8_t filter)
{
    const struct subscriber *subscriber = &model->subscribers[index];
    int32_t                  number = subscriber->latest[filter];

    return number >= 0 && subscriber->versions[number].acked_tick != 0 &&
           !subscriber->versions[number].left;
}

bool model_subscription_sure(const struct model *model, uint16_t index, uint8_t filter)
{
    const struct subscriber *subscriber = &model->subscribers[index];
    int32_t                  number = subscriber->latest[filter];

    return number < 0 ||
           (subscriber->versions[number].acked_tick != 0 && !subscriber->versions[number].left);
}

uint32_t model_subscriptions(const struct model *model, bool shared_only)
{
    uint32_t count = 0;

    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        for (uint32_t filter = 0; filter < model->filter_count; filter++) {
            bool counted = !shared_only || model->filters[filter].shared;
            count += counted && model->subscribers[index].latest[filter] >= 0;
        }
    }
    return count;
}

static uint8_t lower(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* What the versions of a client's subscriptions allow and demand for one message. */
struct claim {
    bool     any;          /* some version may stand behind a delivery */
    bool     as_published; /* one of them keeps the retain bit */
    bool     keeps_bit;    /* and one that does stood when the message was sent */
    bool     stands;       /* one of them stood when the message was sent */
    uint8_t  qos_max;
    uint8_t  qos_min; /* that a version which certainly stands demands */
    uint32_t shares;
};

static bool version_concerns(const struct model *model, const struct subscriber *subscriber,
                             const struct version *version, const struct message_record *message)
{
    if (!model->filters[version->filter].matches[message->topic])
        return false;
    if (version->options.no_local && message->publisher == subscriber->index)
        return false;
    return version->ended_tick == 0 || version->ended_tick > message->sent_tick;
}

static bool version_stands(const struct version *version, const struct message_record *message)
{
    return version->acked_tick != 0 && version->acked_tick < message->sent_tick &&
           version->replaced_tick == 0;
}

static struct claim claim_of(const struct model *model, const struct subscriber *subscriber,
                             const struct message_record *message)
{
    struct claim claim = {0};

    for (uint32_t number = 0; number < subscriber->version_count; number++) {
        const struct version *version = &subscriber->versions[number];
        if (!version_concerns(model, subscriber, version, message))
            continue;
        uint8_t qos = lower(version->options.qos, message->qos);
        claim.any = true;
        claim.as_published |= version->options.retain_as_published;
        if (qos > claim.qos_max)
            claim.qos_max = qos;
        claim.stands |= version_stands(version, message);
        claim.keeps_bit |= version_stands(version, message) && version->options.retain_as_published;
        if (version_stands(version, message) &&
            lower(version->granted, message->qos) > claim.qos_min)
            claim.qos_min = lower(version->granted, message->qos);
    }
    return claim;
}

/*
 * How often a retained message may be replayed: once for each SUBSCRIBE that asks for it. A
 * replayed message did not match when it was published, and a No Local subscription of its
 * publisher gets it, too.
 */
static uint32_t replays_possible(const struct model *model, const struct subscriber *subscriber,
                                 const struct message_record *message)
{
    uint32_t count = 0;

    for (uint32_t number = 0; number < subscriber->version_count; number++) {
        const struct version *version = &subscriber->versions[number];
        count += version->replays && model->filters[version->filter].matches[message->topic];
    }
    return count;
}

static void check_ids(const struct model *model, const struct subscriber *subscriber,
                      const struct message_record *message, const struct delivery *delivery,
                      bool replay)
{
    for (uint32_t at = 0; at < delivery->id_count; at++) {
        bool found = false;
        for (uint32_t number = 0; number < subscriber->version_count; number++) {
            const struct version *version = &subscriber->versions[number];
            found |= version->id == delivery->ids[at] &&
                     model->filters[version->filter].matches[message->topic];
        }
        if (!found)
            trace_fail("client %u got %s with subscription identifier %u, which is of no "
                       "matching subscription",
                       subscriber->index, model->topics[message->topic].name, delivery->ids[at]);
    }
    if (replay)
        return;
    for (uint32_t number = 0; number < subscriber->version_count; number++) {
        const struct version *version = &subscriber->versions[number];
        if (version->id == 0 || !version_concerns(model, subscriber, version, message) ||
            !version_stands(version, message))
            continue;
        uint32_t found = 0;
        for (uint32_t at = 0; at < delivery->id_count; at++)
            found += delivery->ids[at] == version->id;
        if (found == 0)
            trace_fail("client %u got %s without the subscription identifier %u of %s",
                       subscriber->index, model->topics[message->topic].name, version->id,
                       model->filters[version->filter].name);
    }
}

static void check_properties(const struct subscriber     *subscriber,
                             const struct message_record *message, uint32_t number,
                             const struct delivery *delivery)
{
    const struct publish *publish = delivery->publish;

    if (delivery->version != MQTT_VERSION_5)
        return;
    uint8_t      *bytes = malloc(publish->forward_size + 1U);
    struct writer writer = {.at = bytes, .end = bytes + publish->forward_size};
    assert(bytes != NULL);
    publish_write_forward(publish, &writer);
    bool same = publish->forward_size == message->forward_size &&
                memcmp(bytes, message->forward, message->forward_size) == 0;
    free(bytes);
    if (!same)
        trace_fail("client %u got message %u with other properties than it was sent with",
                   subscriber->index, number);
    if (publish->has_message_expiry != message->has_expiry)
        trace_fail("client %u got message %u %s message expiry", subscriber->index, number,
                   publish->has_message_expiry ? "with a" : "without its");
    if (!message->has_expiry)
        return;
    uint64_t waited_s = (delivery->now_ms - message->first_sent_ms + 999) / 1000;
    if (publish->message_expiry_s > message->expiry_s)
        trace_fail("client %u got message %u with expiry %u, more than the %u it was sent with",
                   subscriber->index, number, publish->message_expiry_s, message->expiry_s);
    if (publish->message_expiry_s + waited_s + 1 < message->expiry_s)
        trace_fail("client %u got message %u with expiry %u of %u after %llu s only",
                   subscriber->index, number, publish->message_expiry_s, message->expiry_s,
                   (unsigned long long)waited_s);
}

static void check_order(const struct model *model, struct subscriber *subscriber,
                        const struct message_record *message, uint32_t number,
                        uint8_t effective_qos)
{
    uint32_t at =
        ((message->publisher * model->topic_count + message->topic) * 3 + message->qos) * 3 +
        effective_qos;
    uint32_t *last = &subscriber->sequences[at];

    if (message->sequence < *last)
        trace_fail("client %u got message %u (sequence %u) of client %u on %s after sequence %u",
                   subscriber->index, number, message->sequence, message->publisher,
                   model->topics[message->topic].name, *last);
    *last = message->sequence;
}

static uint32_t foreign_delivered(const struct model *model, const struct subscriber *subscriber,
                                  const struct delivery *delivery)
{
    char name[128];

    (void)snprintf(name, sizeof(name), "%.*s", (int)delivery->publish->topic.size,
                   (const char *)delivery->publish->topic.data);
    for (uint32_t topic = 0; topic < model->topic_count; topic++) {
        bool clears =
            model->topics[topic].kind == TOPIC_RETAINED && delivery->publish->payload.size == 0;
        if (strcmp(model->topics[topic].name, name) == 0 && !clears)
            trace_fail("client %u got %u bytes on %s that nobody sent", subscriber->index,
                       delivery->publish->payload.size, name);
    }
    for (uint32_t number = 0; number < subscriber->version_count; number++) {
        if (matches(model->filters[subscriber->versions[number].filter].plain, name))
            return UINT32_MAX;
    }
    trace_fail("client %u got something on %s without a subscription", subscriber->index, name);
}

/* Who shares does so with one group only, so what he gets is the group's. */
static void check_shared_copies(struct model *model, const struct subscriber *subscriber,
                                const struct message_record *message, uint32_t number)
{
    struct share_record *share = &model->shares[subscriber->share_filter];

    copies_reserve(&share->copies, &share->copies_capacity, number);
    if (share->copies[number] < COPIES_MANY)
        share->copies[number]++;
    bool calm = share->last_death_tick < message->sent_tick;
    if (share->copies[number] > message->sends && (calm || message->qos == 0))
        trace_fail("message %u reached %u members of %s", number, share->copies[number],
                   model->filters[subscriber->share_filter].name);
}

static void check_replays(const struct model *model, struct subscriber *subscriber,
                          const struct message_record *message, uint32_t number)
{
    uint32_t possible = replays_possible(model, subscriber, message);

    copies_reserve(&subscriber->replays, &subscriber->replays_capacity, number);
    if (subscriber->replays[number] < COPIES_MANY)
        subscriber->replays[number]++;
    if (subscriber->replays[number] > possible && possible < COPIES_MANY)
        trace_fail("client %u got the retained message %u %u times for %u subscriptions",
                   subscriber->index, number, subscriber->replays[number], possible);
}

/*
 * A first copy may have been dropped where limits are tight, or have expired. And a retained
 * message that was published while the subscription came into being may take the way over its
 * topic's home.
 */
static bool order_is_owed(const struct model *model, const struct message_record *message,
                          const struct claim *claim)
{
    bool first_copy_came =
        model->strict && claim->stands && claim->qos_min > 0 && !message->has_expiry;
    return (message->sends == 1 || first_copy_came) && (!message->retain || claim->stands);
}

uint32_t model_delivered(struct model *model, uint16_t index, const struct delivery *delivery)
{
    struct subscriber    *subscriber = &model->subscribers[index];
    const struct publish *publish = delivery->publish;
    uint32_t              number = model_identify(model, publish->payload);

    model->tick++;
    model->deliveries++;
    if (number == UINT32_MAX)
        return foreign_delivered(model, subscriber, delivery);

    struct message_record *message = &model->messages[number];
    const char            *topic = model->topics[message->topic].name;
    struct claim           claim = claim_of(model, subscriber, message);
    bool                   replay =
        publish->retain && message->retain && replays_possible(model, subscriber, message) > 0;

    if (!slice_equal(publish->topic, slice_text(topic)))
        trace_fail("client %u got message %u of %s on %.*s", index, number, topic,
                   (int)publish->topic.size, (const char *)publish->topic.data);
    if (!claim.any && !replay)
        trace_fail("client %u got message %u on %s without a subscription", index, number, topic);
    if (publish->retain && !message->retain)
        trace_fail("client %u got message %u retained; it was not", index, number);
    if (publish->retain && !replay && !claim.as_published)
        trace_fail("client %u got message %u with the retain bit and never asked for it", index,
                   number);
    if (!publish->retain && message->retain && claim.keeps_bit)
        trace_fail("client %u got message %u without the retain bit it asked to keep", index,
                   number);
    if (message->cancelled_tick != 0)
        trace_fail("client %u got the will %u of client %u, which disconnected normally", index,
                   number, message->publisher);
    if (publish->qos > message->qos || (!replay && publish->qos > claim.qos_max))
        trace_fail("client %u got message %u with QoS %u, at most %u is right", index, number,
                   publish->qos, lower(message->qos, claim.qos_max));
    if (!replay && publish->qos < claim.qos_min)
        trace_fail("client %u got message %u with QoS %u, at least %u is right", index, number,
                   publish->qos, claim.qos_min);
    check_properties(subscriber, message, number, delivery);
    check_ids(model, subscriber, message, delivery, replay);
    if (delivery->again)
        return number;

    copies_reserve(&subscriber->copies, &subscriber->copies_capacity, number);
    if (subscriber->copies[number] < COPIES_MANY)
        subscriber->copies[number]++;
    if (publish->retain && !claim.as_published)
        check_replays(model, subscriber, message, number);
    if (publish->retain && !subscriber->shares)
        return number; /* may be a replay: any number of them is right */
    bool once = message->qos != 1;
    if (!message->retain && subscriber->copies[number] > (once ? 1 : message->sends))
        trace_fail("client %u got message %u (QoS %u, sent %u times) %u times", index, number,
                   message->qos, message->sends, subscriber->copies[number]);
    if (subscriber->shares)
        check_shared_copies(model, subscriber, message, number);
    else if (subscriber->copies[number] == 1 && !message->is_will &&
             order_is_owed(model, message, &claim))
        check_order(model, subscriber, message, number, publish->qos);
    return number;
}

/* The least QoS that the chain of versions from here on gives, -1: it may give nothing. */
static int32_t chain_qos(const struct model *model, const struct subscriber *subscriber,
                         const struct version *version, const struct message_record *message)
{
    uint8_t qos = message->qos;

    if (version->acked_tick == 0 || version->acked_tick >= message->sent_tick ||
        !version_concerns(model, subscriber, version, message) ||
        (version->ended_tick != 0 && version->next < 0))
        return -1;
    qos = lower(qos, version->granted);
    for (;;) {
        if (version->left)
            return -1;
        if (version->next < 0)
            return qos;
        version = &subscriber->versions[version->next];
        if (version->options.no_local && message->publisher == subscriber->index)
            return -1;
        qos = lower(qos, version->acked_tick != 0 ? version->granted : version->options.qos);
    }
}

static bool message_counts(const struct message_record *message, uint64_t now_ms)
{
    if (message->acked_tick == 0 || message->clears)
        return false;
    return !message->has_expiry ||
           message->first_sent_ms + message->expiry_s * UINT64_C(1000) > now_ms + 2000;
}

static bool subscriber_owed(const struct model *model, const struct subscriber *subscriber,
                            const struct message_record *message)
{
    int32_t best = -1;

    if (message->payload_size + message->forward_size + 300U > subscriber->packet_size_max)
        return false;
    for (uint32_t number = 0; number < subscriber->version_count; number++) {
        int32_t qos = chain_qos(model, subscriber, &subscriber->versions[number], message);
        if (qos > best)
            best = qos;
    }
    if (best > 0)
        return true;
    /* QoS 0 is owed to a connection that stood all the time. */
    return best == 0 && subscriber->connected_tick != 0 &&
           subscriber->connected_tick < message->sent_tick;
}

static void settle_plain(struct model *model, uint32_t number, uint64_t now_ms)
{
    const struct message_record *message = &model->messages[number];

    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        struct subscriber *subscriber = &model->subscribers[index];
        if (subscriber->shares || !subscriber_owed(model, subscriber, message) ||
            copies_of(subscriber->copies, subscriber->copies_capacity, number) > 0)
            continue;
        model->missing++;
        trace_event("missing: client %u did not get message %u", index, number);
        if (model->strict)
            trace_fail(
                "client %u never got message %u: QoS %u of client %u on %s, sent at %llu ms, "
                "now %llu",
                index, number, message->qos, message->publisher, model->topics[message->topic].name,
                (unsigned long long)message->sent_ms, (unsigned long long)now_ms);
        copies_reserve(&subscriber->copies, &subscriber->copies_capacity, number);
        subscriber->copies[number] = 1; /* counted once */
    }
}

/* True when a member stood all the time and no member could have swallowed the message. */
static bool share_owed(const struct model *model, uint8_t filter,
                       const struct message_record *message)
{
    const struct share_record *share = &model->shares[filter];
    bool                       stood = false;

    /* What is on its way to a member at QoS 2 goes to nobody else [MQTT-4.8.2-5]. */
    bool swallowed = message->qos != 1 || model->filters[filter].takes_qos0;
    if (message->payload_size + message->forward_size + 300U > share->packet_size_max)
        return false;
    /* What was sent to a member before it left is the member's, also if its session ends then. */
    if (share->left_tick >= message->sent_tick && message->qos > 0)
        return false;
    if (swallowed && share->last_death_tick >= message->sent_tick)
        return false;
    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        const struct subscriber *subscriber = &model->subscribers[index];
        if (!subscriber->shares)
            continue;
        for (uint32_t number = 0; number < subscriber->version_count; number++) {
            const struct version *version = &subscriber->versions[number];
            if (version->filter != filter)
                continue;
            int32_t qos = chain_qos(model, subscriber, version, message);
            stood |= qos > 0 || (qos == 0 && subscriber->connected_tick != 0 &&
                                 subscriber->connected_tick < message->sent_tick);
        }
    }
    return stood;
}

static void settle_shared(struct model *model, uint32_t number, uint64_t now_ms)
{
    const struct message_record *message = &model->messages[number];

    for (uint32_t filter = 0; filter < model->filter_count; filter++) {
        struct share_record *share = &model->shares[filter];
        if (!model->filters[filter].shared || !model->filters[filter].matches[message->topic] ||
            !share_owed(model, (uint8_t)filter, message) ||
            copies_of(share->copies, share->copies_capacity, number) > 0)
            continue;
        model->missing++;
        trace_event("missing: no member of %s got message %u", model->filters[filter].name, number);
        if (model->strict)
            trace_fail("no member of %s ever got message %u: QoS %u on %s, sent at %llu ms, now "
                       "%llu",
                       model->filters[filter].name, number, message->qos,
                       model->topics[message->topic].name, (unsigned long long)message->sent_ms,
                       (unsigned long long)now_ms);
        copies_reserve(&share->copies, &share->copies_capacity, number);
        share->copies[number] = 1;
    }
}

void model_check_settled(struct model *model, uint64_t now_ms)
{
    for (uint32_t number = model->world_first; number < model->message_count; number++) {
        const struct message_record *message = &model->messages[number];
        if (number < model->settled_count && !message->is_will)
            continue;
        if (!message_counts(message, now_ms))
            continue;
        settle_plain(model, number, now_ms);
        settle_shared(model, number, now_ms);
    }
    model->settled_count = model->message_count;
    model->settled_tick = ++model->tick;
}

static bool retained_owed(const struct model *model, const struct subscriber *subscriber,
                          const struct version *version, const struct message_record *message)
{
    if (!version->must_replay || !model->filters[version->filter].matches[message->topic] ||
        (version->options.no_local && message->publisher == subscriber->index) ||
        message->payload_size + message->forward_size + 300U > subscriber->packet_size_max)
        return false;
    return lower(version->granted, message->qos) > 0 ||
           (subscriber->connected_tick != 0 && subscriber->connected_tick < version->sent_tick);
}

void model_check_retained(struct model *model, uint32_t number)
{
    const struct message_record *message = &model->messages[number];

    if (message->has_expiry)
        return;
    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        const struct subscriber *subscriber = &model->subscribers[index];
        for (uint32_t filter = 0; filter < model->filter_count; filter++) {
            if (!model_subscription_stands(model, (uint16_t)index, (uint8_t)filter))
                continue;
            const struct version *version = &subscriber->versions[subscriber->latest[filter]];
            if (!retained_owed(model, subscriber, version, message) ||
                copies_of(subscriber->copies, subscriber->copies_capacity, number) > 0)
                continue;
            model->retained_missed++;
            /* On its way to its home it is overtaken by a question for it: no order is owed. */
            if (message->sent_tick < model->settled_tick &&
                version->sent_tick > model->settled_tick)
                trace_fail("client %u subscribed to %s and never got message %u, which is "
                           "retained on %s",
                           index, model->filters[filter].name, number,
                           model->topics[message->topic].name);
        }
    }
}

void model_restart(struct model *model)
{
    model->world_first = model->message_count;
    model->settled_count = model->message_count;
    for (uint32_t index = 0; index < model->subscriber_count; index++) {
        model_connection_ended(model, (uint16_t)index);
        model_session_begin(model, (uint16_t)index);
    }
}

/* `later` certainly came to the topic's home after `earlier`. */
static bool supersedes(const struct message_record *later, const struct message_record *earlier,
                       uint64_t settled_tick)
{
    if (later->acked_tick == 0 || later->is_will)
        return false;
    if (later->publisher == earlier->publisher && later->sequence > earlier->sequence)
        return later->qos == earlier->qos || earlier->sent_tick < settled_tick;
    return earlier->sent_tick < settled_tick && later->sent_tick > settled_tick;
}

bool model_may_be_retained(const struct model *model, uint8_t topic, uint32_t number,
                           uint64_t now_ms)
{
    bool may = false;
    bool some_candidate = false;

    for (uint32_t at = model->world_first; at < model->message_count; at++) {
        const struct message_record *message = &model->messages[at];
        if (message->topic != topic || !message->retain)
            continue;
        bool superseded = false;
        for (uint32_t other = model->world_first; other < model->message_count && !superseded;
             other++) {
            const struct message_record *later = &model->messages[other];
            superseded = later->topic == topic && later->retain && other != at &&
                         supersedes(later, message, model->settled_tick);
        }
        if (superseded)
            continue;
        bool may_be_gone =
            message->clears || message->acked_tick == 0 ||
            (message->has_expiry &&
             message->first_sent_ms + message->expiry_s * UINT64_C(1000) <= now_ms + 2000);
        some_candidate |= message->acked_tick != 0;
        may |= number == UINT32_MAX ? may_be_gone : number == at;
    }
    return may || (number == UINT32_MAX && !some_candidate);
}
