/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/simulation.h"

#include "tests/simulation/trace.h"

#include <stdio.h>
#include <stdlib.h>

#define START_MS 1000000U

/* Limits that never bind, or (tight) that bind all the time. */
static void simulation_choose_options(struct simulation *simulation, bool tight)
{
    struct random        *random = &simulation->random;
    struct options       *options = &simulation->options;
    static const uint32_t expiries[] = {30, 3600, OPTIONS_NEVER};

    options_defaults(options);
    options->sys.interval_ms = random_once_in(random, 3) ? 1000 : 0;
    options->protocol.session_expiry_311_s = expiries[random_below(random, 3)];
    options->protocol.session_expiry_max_s = OPTIONS_NEVER;
    options->protocol.keep_alive_max_s = 0;
    options->protocol.receive_maximum = (uint16_t)random_between(random, 1, 40);
    options->protocol.topic_alias_max = (uint16_t)(random_once_in(random, 2) ? 0 : 10);
    options->protocol.topic_alias_max_outbound = (uint16_t)random_below(random, 20);
    options->protocol.connect_timeout_ms = 10000;
    options->limits.connection_rate_max = 0;
    options->limits.unauthenticated_connections_max = 100000;
    options->limits.connections_max = 0;
    options->limits.subscriptions_per_client_max = 1000;
    options->limits.filter_shapes_per_client_max = 1000;
    options->limits.will_delay_max_s = OPTIONS_NEVER;
    options->limits.message_expiry_max_s = 0;
    options->limits.inflight_max = (uint16_t)random_between(random, 1, 100);
    options->limits.queue_messages_max = 1000000;
    options->limits.queue_bytes_max = UINT64_C(1) << 40;
    options->limits.output_buffer_max = UINT32_C(1) << 30;
    options->limits.queue_qos0_offline = random_once_in(random, 3);
    options->limits.filter_shapes_max =
        random_once_in(random, 5) ? random_between(random, 2, 12) : 256;
    options->shared.strategy =
        (enum options_shared_strategy)random_below(random, OPTIONS_SHARED_LEAST_INFLIGHT + 1);
    options->retained.pace = random_between(random, 1, 40);
    if (!tight)
        return;
    options->limits.retained_messages_max = random_between(random, 1, 20);
    options->limits.queue_messages_max = random_between(random, 1, 12);
    options->limits.queue_bytes_max = random_between(random, 200, 100000);
    options->limits.output_buffer_max = random_between(random, 1000, 8000);
    options->limits.queue_policy = (enum options_queue_policy)random_below(random, 3);
}

static void on_consumed(void *context, struct wire *wire, const struct wire_mark *mark)
{
    struct simulation *simulation = context;
    if (wire->owner >= 0)
        client_on_consumed(&simulation->clients[wire->owner], wire, mark);
}

static void on_ordered(void *context, struct wire *wire)
{
    struct simulation *simulation = context;
    if (wire->owner >= 0)
        client_on_ordered(&simulation->clients[wire->owner], wire);
}

static void simulation_start_cluster(struct simulation *simulation)
{
    struct cluster_place place = {
        .options = &simulation->options,
        .shard_count = (uint16_t)simulation->plan.shards,
        .mailbox_capacity = simulation->mailbox_capacity,
        .socket_size = simulation->socket_size,
        .seed = simulation->plan.seed,
        .sabotage = simulation->plan.sabotage,
        .events = {.consumed = on_consumed, .ordered = on_ordered, .context = simulation},
    };
    simulation->cluster = cluster_create(&place, &simulation->random, &simulation->now_ms);
    for (uint32_t index = 0; index < simulation->client_count; index++)
        simulation->clients[index].cluster = simulation->cluster;
}

static void simulation_add_clients(struct simulation *simulation)
{
    static const enum mqtt_version versions[] = {MQTT_VERSION_5,   MQTT_VERSION_5,
                                                 MQTT_VERSION_5,   MQTT_VERSION_311,
                                                 MQTT_VERSION_311, MQTT_VERSION_31};
    struct random                 *random = &simulation->random;
    struct model                  *model = &simulation->model;

    for (uint32_t index = 0; index < simulation->client_count; index++) {
        struct client *client = &simulation->clients[index];
        bool           audits = index + 1 == simulation->client_count;
        *client = (struct client){
            .index = (uint16_t)index,
            .version = audits ? MQTT_VERSION_5 : versions[random_below(random, 6)],
            .model = model,
            .random = random,
            .options = &simulation->options,
            .now_ms = &simulation->now_ms,
            .sabotage = simulation->plan.sabotage,
            .shares = !audits && index > 0 && random_once_in(random, 3),
        };
        while (client->shares && !model->filters[client->share_filter].shared)
            client->share_filter = (uint8_t)random_below(random, model->filter_count);
        (void)snprintf(client->id, sizeof(client->id), "client-%u", index);
        model->subscribers[index].shares = client->shares;
        model->subscribers[index].share_filter = client->share_filter;
        client_init(client);
    }
    for (uint32_t index = 0; index < simulation->misfit_count; index++) {
        struct misfit *misfit = &simulation->misfits[index];
        misfit->kind = (enum misfit_kind)random_below(random, MISFIT_KIND_COUNT);
        if (index == 0 && simulation->jam_last > 0)
            misfit->kind = MISFIT_FLOOD;
        misfit->version = random_once_in(random, 2) ? MQTT_VERSION_5 : MQTT_VERSION_311;
        (void)snprintf(misfit->id, sizeof(misfit->id), "MISFIT=%u=%u", index, misfit->kind);
    }
}

static void simulation_open(struct simulation *simulation, const struct simulation_plan *plan)
{
    struct random *random = &simulation->random;

    simulation->plan = *plan;
    *random = random_of(plan->seed);
    if (plan->shards == 0)
        simulation->plan.shards = random_between(random, 1, 5);
    if (plan->clients == 0)
        simulation->plan.clients = random_between(random, 3, 18);
    bool tight = plan->sabotage == SABOTAGE_NONE && random_once_in(random, 4);
    simulation_choose_options(simulation, tight);
    simulation->now_ms = START_MS;
    simulation->mailbox_capacity =
        random_once_in(random, 2) ? random_between(random, 1, 8) : random_between(random, 8, 200);
    if (plan->sabotage != SABOTAGE_NONE)
        simulation->mailbox_capacity += 8; /* some room for mischief */
    simulation->socket_size = random_once_in(random, 2) ? 500 : 60000;
    simulation->client_count = simulation->plan.clients + 1;
    simulation->misfit_count = random_below(random, MISFITS_MAX + 1);
    simulation->restart_step =
        random_once_in(random, 3) ? random_below(random, (uint32_t)plan->steps) : UINT64_MAX;
    if (simulation->plan.shards > 1 && simulation->misfit_count > 0 && random_once_in(random, 3)) {
        simulation->jam_first = random_below(random, (uint32_t)plan->steps);
        simulation->jam_last =
            simulation->jam_first + random_below(random, (uint32_t)plan->steps / 2);
        simulation->jam_shard = (uint16_t)random_below(random, simulation->plan.shards);
    }
    model_init(&simulation->model, simulation->client_count);
    simulation->model.strict = !tight;
    simulation->model.may_refuse = simulation->options.limits.filter_shapes_max < 256;
    simulation->clients = calloc(simulation->client_count, sizeof(struct client));
    assert(simulation->clients != NULL);
    simulation_add_clients(simulation);
    simulation_start_cluster(simulation);
    trace_event("%u shards, %u clients, %u misfits, mailboxes of %u, %s limits",
                simulation->plan.shards, simulation->plan.clients, simulation->misfit_count,
                simulation->mailbox_capacity, tight ? "tight" : "wide");
}

/* Nothing is durable: what the brokers knew is gone, and the clients' wires with it. */
static void simulation_restart(struct simulation *simulation)
{
    struct statistics sum;

    trace_event("restart");
    if (random_once_in(&simulation->random, 2))
        rest_stop(simulation);
    cluster_sum(simulation->cluster, &sum);
    statistics_add(&simulation->result.statistics, &sum);
    for (uint32_t cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        simulation->drops_before += sum.drops[cause];
    cluster_destroy(simulation->cluster);
    for (uint32_t index = 0; index < simulation->misfit_count; index++)
        misfit_on_restart(&simulation->misfits[index]);
    for (uint32_t index = 0; index < simulation->client_count; index++) {
        simulation->clients[index].stopping = false;
        client_on_restart(&simulation->clients[index]);
    }
    model_restart(&simulation->model);
    simulation_start_cluster(simulation);
}

/* [MQTT-3.1.2-22]: whoever is silent for 1.5 times its keep alive is disconnected. */
static void simulation_check_keep_alive(struct simulation *simulation)
{
    for (uint32_t index = 0; index < simulation->client_count; index++) {
        const struct client *client = &simulation->clients[index];
        const struct wire   *wire = client->wire;
        if (wire == NULL || !wire->connect_consumed || wire->end != WIRE_LINKED || wire->ordered ||
            wire->paused || client->connect.keep_alive_s == 0)
            continue;
        if (simulation->now_ms >
            wire->input_ms + client->connect.keep_alive_s * UINT64_C(1500) + 2000)
            trace_fail("client %u is silent since %llu ms, its keep alive is %u s, and it is still "
                       "connected",
                       index, (unsigned long long)wire->input_ms, client->connect.keep_alive_s);
    }
}

static void simulation_advance(struct simulation *simulation)
{
    struct random *random = &simulation->random;
    uint32_t       dice = random_below(random, 1000);

    if (dice < 750)
        simulation->now_ms += random_between(random, 1, 20);
    else if (dice < 975)
        simulation->now_ms += random_between(random, 20, 3000);
    else if (dice < 995)
        simulation->now_ms += random_between(random, 3000, 120000);
    else
        simulation->now_ms += random_between(random, 600000, 10800000);
    trace_step(simulation->step, simulation->now_ms);
    cluster_turn_due(simulation->cluster);
    simulation_check_keep_alive(simulation);
}

static bool simulation_jams(const struct simulation *simulation)
{
    return simulation->step >= simulation->jam_first && simulation->step < simulation->jam_last;
}

static void simulation_use_misfit(struct simulation *simulation)
{
    uint32_t index = random_below(&simulation->random, simulation->misfit_count);

    misfit_step(&simulation->misfits[index], simulation->cluster, &simulation->random,
                simulation_jams(simulation));
}

/* In a jam one shard's mailboxes are not filled for long: its siblings' outboxes have to bear it.
 */
static void simulation_carry(struct simulation *simulation)
{
    uint16_t shards = cluster_shard_count(simulation->cluster);
    uint16_t from = (uint16_t)random_below(&simulation->random, shards);
    uint16_t to = (uint16_t)random_below(&simulation->random, shards);

    if (!simulation_jams(simulation) || to != simulation->jam_shard)
        cluster_carry(simulation->cluster, from, to, false);
}

static void simulation_step(struct simulation *simulation)
{
    struct random *random = &simulation->random;
    uint16_t       shards = cluster_shard_count(simulation->cluster);
    uint32_t       dice = random_below(random, 1000);
    struct client *client =
        &simulation->clients[random_below(random, simulation->client_count - 1)];

    if (dice < 430) {
        cluster_turn(simulation->cluster, (uint16_t)random_below(random, shards), false);
    } else if (dice < 560) {
        simulation_carry(simulation);
    } else if (dice < 740) {
        client_read(client, random_once_in(random, 3) ? random_between(random, 1, 40)
                                                      : random_between(random, 40, 9000));
    } else if (dice < 965) {
        script_act(simulation, client);
    } else if (dice < 980) {
        if (simulation->misfit_count > 0)
            simulation_use_misfit(simulation);
    } else {
        simulation_advance(simulation);
    }
}

/* How the world ends: everybody leaves, the brokers stop in order, or they just die. */
static void simulation_end(struct simulation *simulation)
{
    switch (random_below(&simulation->random, 4)) {
    case 0:
        break;
    case 1:
        rest_stop(simulation);
        break;
    default:
        rest_check(simulation);
        rest_leave(simulation);
        rest_stop(simulation);
        break;
    }
}

struct simulation_result simulation_run(const struct simulation_plan *plan)
{
    struct simulation *simulation = calloc(1, sizeof(*simulation));
    struct statistics  sum;
    uint64_t           rest_every = plan->steps / 3 + 1;

    assert(simulation != NULL);
    simulation_open(simulation, plan);
    for (simulation->step = 1; simulation->step <= plan->steps; simulation->step++) {
        trace_step(simulation->step, simulation->now_ms);
        simulation_step(simulation);
        if (simulation->step % 64 == 0)
            cluster_sweep(simulation->cluster);
        if (simulation->step == simulation->restart_step)
            simulation_restart(simulation);
        if (simulation->step % rest_every == 0)
            rest_check(simulation);
    }
    simulation_end(simulation);
    cluster_sum(simulation->cluster, &sum);
    statistics_add(&simulation->result.statistics, &sum);
    simulation->result.messages = simulation->model.message_count;
    simulation->result.deliveries = simulation->model.deliveries;
    simulation->result.retained_missed = simulation->model.retained_missed;

    struct simulation_result result = simulation->result;
    cluster_destroy(simulation->cluster);
    for (uint32_t index = 0; index < simulation->client_count; index++)
        client_fini(&simulation->clients[index]);
    free(simulation->clients);
    model_fini(&simulation->model);
    free(simulation);
    return result;
}
