/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/simulation.h"

#include "tests/simulation/trace.h"

#include <inttypes.h>

#define ROUNDS_MAX   20000U
#define QUIET_ROUNDS 4U

/* One round in which everything that can happen happens. */
static void rest_round(struct simulation *simulation)
{
    uint16_t shards = cluster_shard_count(simulation->cluster);

    simulation->now_ms += 2;
    trace_step(simulation->step, simulation->now_ms);
    for (uint16_t shard = 0; shard < shards; shard++)
        cluster_turn(simulation->cluster, shard, true);
    for (uint16_t from = 0; from < shards; from++) {
        for (uint16_t to = 0; to < shards; to++)
            cluster_carry(simulation->cluster, from, to, true);
    }
    for (uint32_t index = 0; index < simulation->client_count; index++) {
        struct client *client = &simulation->clients[index];
        client_read(client, UINT32_MAX);
        client_answer(client, UINT32_MAX);
        if (client->connected && client->connect.keep_alive_s > 0 && client->pings == 0 &&
            simulation->now_ms - client->heard_ms > client->connect.keep_alive_s * UINT64_C(500))
            client_ping(client);
    }
    cluster_sweep(simulation->cluster);
}

/* Connects whoever may have a session, so that what waits for it comes out. */
static void rest_connect(struct simulation *simulation, struct client *client)
{
    struct client_connect connect = {
        .clean = client->version == MQTT_VERSION_31,
        .session_expiry_s = client->version == MQTT_VERSION_5 ? 3600 : 0,
        .packet_size_max = client->model->subscribers[client->index].packet_size_max,
        .receive_maximum = (uint16_t)(client->version == MQTT_VERSION_5
                                          ? random_between(&simulation->random, 1, 50)
                                          : UINT16_MAX),
    };

    if (connect.packet_size_max == 0)
        connect.packet_size_max = MQTT_PACKET_SIZE_MAX;
    if (client_may_connect(client))
        client_connect(
            client,
            (uint16_t)random_below(&simulation->random, cluster_shard_count(simulation->cluster)),
            &connect);
}

/* Where an answer was lost it is not known whether a subscription stands: make sure it does not. */
static void rest_unsubscribe(struct simulation *simulation, struct client *client, bool all)
{
    uint8_t names[CLIENT_FILTERS_MAX];
    uint8_t count = 0;

    if (!client_may_subscribe(client))
        return;
    for (uint32_t index = 0; index < CLIENT_WAITING_MAX; index++) {
        if (client->waiting[index].used)
            return;
    }
    for (uint32_t filter = 0; filter < simulation->model.filter_count; filter++) {
        bool stands = simulation->model.subscribers[client->index].latest[filter] >= 0;
        bool sure = model_subscription_sure(&simulation->model, client->index, (uint8_t)filter);
        if (stands && (all || !sure) && count < CLIENT_FILTERS_MAX)
            names[count++] = (uint8_t)filter;
    }
    if (count > 0)
        client_unsubscribe(client, names, count);
}

/* Rounds until nothing is under way; `leaves_all`: and no subscription is left. */
static void rest_settle(struct simulation *simulation, bool leaves_all)
{
    uint32_t    quiet = 0;
    const char *why = "";

    for (uint32_t round = 0; round < ROUNDS_MAX && quiet < QUIET_ROUNDS; round++) {
        bool settled = true;
        for (uint32_t index = 0; index + 1 < simulation->client_count; index++) {
            struct client *client = &simulation->clients[index];
            if (client->wire == NULL)
                rest_connect(simulation, client);
            rest_unsubscribe(simulation, client, leaves_all);
        }
        rest_round(simulation);
        for (uint32_t index = 0; index + 1 < simulation->client_count && settled; index++)
            settled = client_settled(&simulation->clients[index], &why);
        const struct client *auditor = &simulation->clients[simulation->client_count - 1];
        if (settled && auditor->wire != NULL)
            settled = client_settled(auditor, &why);
        settled = settled && cluster_quiet(simulation->cluster, &why);
        quiet = settled ? quiet + 1 : 0;
    }
    if (quiet < QUIET_ROUNDS)
        trace_fail("it does not come to rest: %s", why);
}

static void rest_end_misfits(struct simulation *simulation)
{
    for (uint32_t round = 0; round < 60; round++)
        rest_round(simulation);
    for (uint32_t index = 0; index < simulation->misfit_count; index++) {
        if (misfit_got_away(&simulation->misfits[index]))
            trace_fail("%s broke the rules and is still connected", simulation->misfits[index].id);
        misfit_cut(&simulation->misfits[index]);
    }
    for (uint32_t slot = 0; slot < cluster_wire_count(simulation->cluster); slot++) {
        struct wire *wire = cluster_wire(simulation->cluster, slot);
        if (wire->client < 0 && !wire->client_gone)
            wire_cut(wire);
    }
}

static void expect_gauge(const char *name, uint64_t is, uint64_t expected)
{
    if (is != expected)
        trace_fail("at rest %s is %" PRIu64 ", it should be %" PRIu64, name, is, expected);
}

static void rest_check_gauges(struct simulation *simulation)
{
    struct statistics sum;
    uint64_t          online = 0;

    cluster_sum(simulation->cluster, &sum);
    for (uint32_t index = 0; index < simulation->client_count; index++)
        online += simulation->clients[index].connected;
    expect_gauge("connections", sum.connections, online);
    expect_gauge("greeting", sum.greeting, 0);
    expect_gauge("sessions", sum.sessions, online);
    expect_gauge("sessions_offline", sum.sessions_offline, 0);
    expect_gauge("subscriptions", sum.subscriptions,
                 model_subscriptions(&simulation->model, false));
    expect_gauge("shared_subscriptions", sum.shared_subscriptions,
                 model_subscriptions(&simulation->model, true));
    expect_gauge("queued_messages", sum.queued_messages, 0);
    expect_gauge("queued_bytes", sum.queued_bytes, 0);
    expect_gauge("inflight_messages", sum.inflight_messages, 0);
    expect_gauge("output_bytes", sum.output_bytes, 0);
}

static void rest_trace_drops(const struct simulation *simulation)
{
    struct statistics sum;

    cluster_sum(simulation->cluster, &sum);
    for (uint32_t cause = 0; cause < DROP_CAUSE_COUNT; cause++) {
        if (sum.drops[cause] > 0)
            trace_event("%" PRIu64 " drops: %s", sum.drops[cause],
                        drop_cause_name((enum drop_cause)cause));
    }
}

static void rest_check_drops(struct simulation *simulation)
{
    struct statistics sum;
    uint64_t          drops = simulation->drops_before;

    cluster_sum(simulation->cluster, &sum);
    for (uint32_t cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        drops += sum.drops[cause];
    simulation->result.drops = drops;
    expect_gauge("drops for want of memory", sum.drops[DROP_OUT_OF_MEMORY], 0);
    if (simulation->model.strict) {
        expect_gauge("drops of full queues", sum.drops[DROP_QUEUE_FULL], 0);
        expect_gauge("drops of slow readers", sum.drops[DROP_QOS0_CONGESTED], 0);
    }
    if (simulation->model.missing > drops)
        trace_fail("%" PRIu64 " deliveries are missing, but only %" PRIu64 " drops were counted",
                   simulation->model.missing, drops);
}

/* A client that looks at all retained messages. */
static void rest_audit(struct simulation *simulation)
{
    struct client        *auditor = &simulation->clients[simulation->client_count - 1];
    struct model         *model = &simulation->model;
    struct client_connect connect = {
        .clean = true, .packet_size_max = MQTT_PACKET_SIZE_MAX, .receive_maximum = UINT16_MAX};
    struct subscribe_options options[2] = {{.qos = 2}, {.qos = 1}};
    uint8_t                  names[2] = {0};
    struct statistics        sum;

    for (uint32_t filter = 0; filter < model->filter_count; filter++) {
        if (strcmp(model->filters[filter].name, "r/#") == 0)
            names[0] = (uint8_t)filter;
        if (strcmp(model->filters[filter].name, "w/#") == 0)
            names[1] = (uint8_t)filter;
    }
    client_connect(auditor, 0, &connect);
    rest_settle(simulation, false);
    auditor->auditing = true;
    memset(auditor->audit, 0xff, sizeof(auditor->audit));
    client_subscribe(auditor, names, options, 2, 0);
    rest_settle(simulation, false);

    uint32_t seen = 0;
    for (uint32_t topic = 0; topic < model->topic_count; topic++) {
        uint32_t found = auditor->audit[topic];
        seen += found != UINT32_MAX;
        if (found != UINT32_MAX && model->strict)
            model_check_retained(model, found);
        if (model->topics[topic].kind != TOPIC_RETAINED || !model->strict || model->may_refuse)
            continue; /* where limits are tight a replay may be dropped, or not be granted */
        if (!model_may_be_retained(model, (uint8_t)topic, found, simulation->now_ms))
            trace_fail("message %d is retained on %s, which cannot be", (int)found,
                       model->topics[topic].name);
    }
    cluster_sum(simulation->cluster, &sum);
    /* Expired ones may still be counted; and where the broker publishes, its own are. */
    if (sum.retained_messages < seen ||
        (simulation->options.sys.interval_ms == 0 && sum.retained_messages > model->topic_count))
        trace_fail("%" PRIu64 " retained messages are counted, %u were found",
                   sum.retained_messages, seen);
    rest_check_gauges(simulation);
    client_unsubscribe(auditor, names, 2);
    rest_settle(simulation, false);
    auditor->auditing = false;
    client_disconnect(auditor, false, false, 0);
    rest_settle(simulation, false);
}

void rest_check(struct simulation *simulation)
{
    trace_event("rest: everybody connects, everything flows");
    rest_end_misfits(simulation);
    rest_settle(simulation, false);
    rest_check_gauges(simulation);
    rest_audit(simulation);
    rest_trace_drops(simulation);
    model_check_settled(&simulation->model, simulation->now_ms);
    rest_check_drops(simulation);
}

static void rest_clear_retained(struct simulation *simulation, struct client *client)
{
    for (uint32_t topic = 0; topic < simulation->model.topic_count; topic++) {
        struct client_publish publish = {
            .topic = (uint8_t)topic, .qos = 1, .retain = true, .clears = true};
        if (simulation->model.topics[topic].kind == TOPIC_LIVE)
            continue;
        while (!client_may_publish(client, 1))
            rest_round(simulation);
        client_publish(client, &publish);
    }
}

/* Everybody who is connected, or will be soon, says goodbye; until no connection is left. */
static void rest_disconnect(struct simulation *simulation)
{
    const char *why = "";
    uint32_t    quiet = 0;

    for (uint32_t round = 0; round < ROUNDS_MAX && quiet < QUIET_ROUNDS; round++) {
        for (uint32_t index = 0; index + 1 < simulation->client_count; index++) {
            struct client *client = &simulation->clients[index];
            if (client->connected)
                client_disconnect(client, false, client->known_expiry_s > 0, 0);
        }
        rest_round(simulation);
        bool settled = cluster_quiet(simulation->cluster, &why) &&
                       cluster_wire_count(simulation->cluster) == 0;
        quiet = settled ? quiet + 1 : 0;
    }
    if (quiet < QUIET_ROUNDS)
        trace_fail("after everybody left it does not come to rest: %s", why);
}

void rest_leave(struct simulation *simulation)
{
    trace_event("rest: everybody leaves");
    rest_settle(simulation, true);
    rest_clear_retained(simulation, &simulation->clients[0]);
    rest_settle(simulation, true);
    rest_disconnect(simulation);
    /* Before MQTT 5 only a clean session ends with its connection. */
    for (uint32_t index = 0; index + 1 < simulation->client_count; index++) {
        struct client        *client = &simulation->clients[index];
        struct client_connect connect = {
            .clean = true, .packet_size_max = MQTT_PACKET_SIZE_MAX, .receive_maximum = UINT16_MAX};
        if (client->version != MQTT_VERSION_5)
            client_connect(client, 0, &connect);
    }
    rest_disconnect(simulation);
    rest_check_gauges(simulation);

    struct statistics sum;
    cluster_sum(simulation->cluster, &sum);
    if (simulation->options.sys.interval_ms == 0) {
        expect_gauge("retained_messages", sum.retained_messages, 0);
        expect_gauge("retained_bytes", sum.retained_bytes, 0);
    }
    expect_gauge("filters in the interest table", cluster_interest_filters(simulation->cluster), 0);
}

void rest_stop(struct simulation *simulation)
{
    trace_event("rest: the brokers stop");
    for (uint32_t index = 0; index < simulation->client_count; index++)
        simulation->clients[index].stopping = true;
    cluster_stop_wills(simulation->cluster);
    for (uint32_t round = 0; round < 3; round++)
        rest_round(simulation);
    cluster_stop_links(simulation->cluster);
    for (uint32_t index = 0; index < simulation->misfit_count; index++)
        misfit_cut(&simulation->misfits[index]);
    for (uint32_t round = 0; round < 200; round++)
        rest_round(simulation);
    if (cluster_wire_count(simulation->cluster) > 0)
        trace_fail("%u connections are open after the brokers stopped",
                   cluster_wire_count(simulation->cluster));
}
