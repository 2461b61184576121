/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients as such: what a connected, subscribed, silent one costs the broker (connect), and what a
 * whole short life costs (churn: connect, subscribe, publish, receive, disconnect). A churning
 * client waits for the broker to close, so that the whole cost falls into its cycle.
 */
#include "bench/load/scenario.h"
#include "bench/load/stamp.h"

#include <stdio.h>
#include <stdlib.h>

#define TOPIC_SIZE 40U

struct crowd;

struct member {
    struct client      client;
    struct crowd      *crowd;
    struct publication publication; /* churn only */
    uint64_t           sequence;
    bool               received;
    char               topic[TOPIC_SIZE];
};

struct crowd {
    struct bench  *bench;
    struct member *members;
    uint32_t       count;
    uint32_t       alive; /* members in a cycle */
    uint64_t       cycles;
    bool           stopping;
};

static bool crowd_open(struct crowd *crowd, const struct client_events *events)
{
    struct bench         *bench = crowd->bench;
    const struct options *options = bench->options;
    crowd->count = options->subscribers;
    crowd->members = calloc(crowd->count, sizeof(*crowd->members));
    if (crowd->members == NULL)
        return bench_fail(bench, "out of memory");
    for (uint32_t number = 0; number < crowd->count; number++) {
        struct member *member = &crowd->members[number];
        member->crowd = crowd;
        member->client.events = events;
        member->client.role = "c";
        member->client.number = number;
        member->client.subscribe_qos = options->qos;
        member->client.filter = member->topic;
        (void)snprintf(member->topic, sizeof(member->topic), "bench/%08x/%u", bench->run, number);
        if (!bench_add(bench, &member->client))
            return false;
    }
    return true;
}

static void crowd_close(struct crowd *crowd)
{
    bench_disconnect_all(crowd->bench);
    for (uint32_t number = 0; crowd->members != NULL && number < crowd->count; number++) {
        client_fini(&crowd->members[number].client);
        free(crowd->members[number].publication.frame);
    }
    crowd->bench->client_count = 0;
    free(crowd->members);
}

static void on_unasked_message(struct client *client, struct slice payload)
{
    (void)payload;
    client->bench->tally.foreign++;
}

static const struct client_events silent_events = {.message = on_unasked_message};

/* Nobody says anything; whoever is cut off fails the run. */
static bool crowd_idle(struct crowd *crowd)
{
    struct bench *bench = crowd->bench;
    struct sample before;
    struct sample after;
    if (!bench_sample(bench, &before))
        return false;
    uint64_t end_ns = before.time_ns + bench->options->duration_ns;
    while (bench->engine.now_ns < end_ns) {
        bench_moved(bench);
        if (!bench_turn(bench, end_ns, "nothing"))
            return false;
    }
    if (!bench_sample(bench, &after))
        return false;
    bench->measurement.idle_us = (double)(after.broker.cpu_ns - before.broker.cpu_ns) * 1e6 /
                                 (double)(after.time_ns - before.time_ns) / (double)crowd->count;
    return true;
}

static bool crowd_connect_measured(struct crowd *crowd)
{
    struct bench *bench = crowd->bench;
    struct sample before;
    bench->measurement = (struct measurement){
        .unit = "client", .count = crowd->count, .has_growth = bench->options->pid != 0};
    if (!bench_sample(bench, &before) || !bench_connect_all(bench, bench->options->window) ||
        !bench_measure(bench, &before) || !crowd_idle(crowd))
        return false;
    uint64_t resident = bench->measurement.resident_bytes;
    bench->measurement.grown_bytes =
        resident > before.broker.resident_bytes ? resident - before.broker.resident_bytes : 0;
    return bench_check_tally(bench);
}

bool crowd_connect(struct bench *bench)
{
    struct crowd crowd = {.bench = bench};
    bool         ran = crowd_open(&crowd, &silent_events) && crowd_connect_measured(&crowd);
    crowd_close(&crowd);
    return ran;
}

static void on_churn_ready(struct client *client)
{
    struct member *member = (struct member *)client;
    struct stamp   stamp = {
          .run = client->bench->run,
          .publisher = client->number,
          .sequence = ++member->sequence,
          .time_ns = client->bench->engine.now_ns,
    };
    member->received = false;
    stamp_write(client_publish(client, &member->publication), &stamp);
}

static void churn_leave_if_done(struct member *member)
{
    if (member->received && member->client.unacked == 0 && !member->client.end_expected)
        client_disconnect(&member->client);
}

static void on_churn_message(struct client *client, struct slice payload)
{
    struct member *member = (struct member *)client;
    struct tally  *tally = &client->bench->tally;
    struct stamp   stamp = {0};
    if (payload.size == client->bench->options->size)
        stamp = stamp_read(payload.data);
    if (stamp.run != client->bench->run) {
        tally->foreign++;
    } else if (stamp.publisher != client->number) {
        tally->misdelivered++;
    } else if (stamp.sequence != member->sequence || member->received) {
        tally->duplicated++;
    } else {
        tally->delivered++;
        member->received = true;
        if (client->bench->measuring)
            histogram_add(&client->bench->latency, client->bench->engine.now_ns - stamp.time_ns);
        churn_leave_if_done(member);
    }
}

static void on_churn_acked(struct client *client)
{
    churn_leave_if_done((struct member *)client);
}

static void on_churn_closed(struct client *client)
{
    struct crowd *crowd = ((struct member *)client)->crowd;
    crowd->cycles++;
    if (crowd->stopping)
        crowd->alive--;
    else
        client_connect(client);
}

static const struct client_events churn_events = {
    .ready = on_churn_ready,
    .message = on_churn_message,
    .acked = on_churn_acked,
    .closed = on_churn_closed,
};

static bool churn_until(struct crowd *crowd, uint64_t end_ns)
{
    uint64_t cycles_end = crowd->bench->options->messages;
    while (crowd->bench->engine.now_ns < end_ns &&
           (cycles_end == 0 || crowd->cycles < cycles_end)) {
        if (!bench_turn(crowd->bench, end_ns, "a client's next step"))
            return false;
    }
    return true;
}

static bool churn_run(struct crowd *crowd)
{
    struct bench         *bench = crowd->bench;
    const struct options *options = bench->options;
    struct sample         before;
    for (uint32_t number = 0; number < crowd->count; number++) {
        struct member *member = &crowd->members[number];
        publication_encode(&member->publication, options->version, member->topic, options->qos,
                           false, options->size);
        if (!client_connect(&member->client))
            return false;
        crowd->alive++;
    }
    bool counts = options->messages > 0;
    if (!counts && !churn_until(crowd, clock_now_ns() + options->warmup_ns))
        return false;

    bench->measuring = true;
    bench->measurement = (struct measurement){.unit = "cycle", .has_latency = true};
    uint64_t cycles = crowd->cycles;
    if (!bench_sample(bench, &before) ||
        !churn_until(crowd, counts ? UINT64_MAX : before.time_ns + options->duration_ns) ||
        !bench_measure(bench, &before))
        return false;
    bench->measurement.count = crowd->cycles - cycles;
    bench->measuring = false;

    crowd->stopping = true;
    while (crowd->alive > 0) {
        if (!bench_turn(bench, UINT64_MAX, "the last clients to leave"))
            return false;
    }
    return bench_check_tally(bench);
}

bool crowd_churn(struct bench *bench)
{
    struct crowd crowd = {.bench = bench};
    bool         ran = crowd_open(&crowd, &churn_events) && churn_run(&crowd);
    crowd_close(&crowd);
    return ran;
}
