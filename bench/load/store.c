/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages that wait in the broker: retained ones, collected by a wildcard subscription again and
 * again, and those queued for a persistent session that is away, drained when it returns. Only the
 * collecting and the draining are measured; whole rounds are repeated until the duration is over.
 */
#include "bench/load/scenario.h"
#include "bench/load/stamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC_SIZE 64U

struct store {
    struct client writer; /* first two: events find the store through `of_writer`, `of_reader` */
    struct client reader;
    struct bench *bench;
    uint8_t      *seen;     /* retained: one byte a message, cleared each round */
    uint64_t      expected; /* offline: the next sequence */
    uint32_t      count;
    uint32_t      written;
    uint32_t      received;
    uint8_t       qos; /* of the writer, at least 1: acknowledged means stored */
    bool          ordered;
    bool          erasing;
    char          filter[TOPIC_SIZE];
};

static struct store *store_of_writer(struct client *client)
{
    return (struct store *)((uint8_t *)client - offsetof(struct store, writer));
}

static struct store *store_of_reader(struct client *client)
{
    return (struct store *)((uint8_t *)client - offsetof(struct store, reader));
}

static void store_write_one(struct store *store)
{
    const struct options *options = store->bench->options;
    struct publication    publication;
    char                  topic[TOPIC_SIZE];
    uint32_t              number = store->written++;
    if (store->ordered)
        (void)snprintf(topic, sizeof(topic), "bench/%08x", store->bench->run);
    else
        (void)snprintf(topic, sizeof(topic), "bench/%08x/%u/%u", store->bench->run, number / 1000,
                       number % 1000);
    publication_encode(&publication, options->version, topic, store->qos, !store->ordered,
                       store->erasing ? 0 : options->size);
    uint8_t     *payload = client_publish(&store->writer, &publication);
    struct stamp stamp = {.run = store->bench->run, .sequence = number};
    if (!store->erasing)
        stamp_write(payload, &stamp);
    free(publication.frame);
}

static void store_write_some(struct store *store)
{
    uint32_t window = store->bench->options->window;
    if (window > store->writer.receive_maximum)
        window = store->writer.receive_maximum;
    while (store->written < store->count && store->writer.unacked < window)
        store_write_one(store);
}

static void on_acked(struct client *client)
{
    store_write_some(store_of_writer(client));
}

static bool store_write_all(struct store *store)
{
    store->written = 0;
    store_write_some(store);
    while (store->written < store->count || store->writer.unacked > 0) {
        if (!bench_turn(store->bench, UINT64_MAX, "acknowledgements of stored messages"))
            return false;
    }
    return true;
}

static void store_count_ordered(struct store *store, uint64_t sequence)
{
    struct tally *tally = &store->bench->tally;
    if (sequence < store->expected) {
        tally->duplicated++;
        return;
    }
    tally->lost += sequence - store->expected;
    store->expected = sequence + 1;
    store->received++;
    tally->delivered++;
}

static void store_count_once(struct store *store, uint64_t sequence)
{
    struct tally *tally = &store->bench->tally;
    if (store->seen[sequence] != 0) {
        tally->duplicated++;
        return;
    }
    store->seen[sequence] = 1;
    store->received++;
    tally->delivered++;
}

static void on_message(struct client *client, struct slice payload)
{
    struct store *store = store_of_reader(client);
    struct stamp  stamp = {0};
    if (payload.size == store->bench->options->size)
        stamp = stamp_read(payload.data);
    if (stamp.run != store->bench->run || stamp.sequence >= store->count) {
        store->bench->tally.foreign++;
        return;
    }
    if (store->ordered)
        store_count_ordered(store, stamp.sequence);
    else
        store_count_once(store, stamp.sequence);
    bench_moved(store->bench);
}

static const struct client_events writer_events = {.acked = on_acked};
static const struct client_events reader_events = {.message = on_message};

static bool store_open(struct store *store)
{
    const struct options *options = store->bench->options;
    store->count = options->count;
    store->qos = options->qos > 0 ? options->qos : 1;
    store->seen = calloc(1, store->count);
    if (store->seen == NULL)
        return bench_fail(store->bench, "out of memory");
    (void)snprintf(store->filter, sizeof(store->filter), "bench/%08x%s", store->bench->run,
                   store->ordered ? "" : "/#");
    store->writer.events = &writer_events;
    store->writer.role = "p";
    store->reader.events = &reader_events;
    store->reader.role = "s";
    store->reader.filter = store->filter;
    store->reader.subscribe_qos = store->ordered ? store->qos : options->qos;
    return bench_add(store->bench, &store->writer) && bench_connect_all(store->bench, 1);
}

static void store_close(struct store *store)
{
    bench_disconnect_all(store->bench);
    client_fini(&store->writer);
    client_fini(&store->reader);
    store->bench->client_count = 0;
    free(store->seen);
}

static void store_round_begin(struct store *store)
{
    memset(store->seen, 0, store->count);
    store->received = 0;
    store->expected = 0;
}

static bool store_round_finish(struct store *store)
{
    while (store->received + store->bench->tally.lost < store->count ||
           store->reader.releases > 0) {
        char missing[64];
        (void)snprintf(missing, sizeof(missing), "%u of %u stored messages",
                       store->count - store->received, store->count);
        if (!bench_turn(store->bench, UINT64_MAX, missing))
            return false;
    }
    return bench_check_tally(store->bench);
}

static bool reader_leave(struct store *store)
{
    client_disconnect(&store->reader);
    while (store->reader.phase != CLIENT_CLOSED) {
        if (!bench_turn(store->bench, UINT64_MAX, "the end of the reader's connection"))
            return false;
    }
    return true;
}

static bool reader_return(struct store *store)
{
    if (!client_connect(&store->reader))
        return false;
    while (store->reader.phase != CLIENT_READY) {
        if (!bench_turn(store->bench, UINT64_MAX, "CONNACK or SUBACK"))
            return false;
    }
    return true;
}

static bool store_measure_round(struct store *store, const struct sample *before)
{
    if (!bench_measure(store->bench, before))
        return false;
    store->bench->measurement.count += store->received;
    return true;
}

static bool retained_run(struct store *store)
{
    struct bench *bench = store->bench;
    struct sample before;
    /* The first round warms up; it starts with the subscription of the connecting reader. */
    if (!store_open(store) || !store_write_all(store))
        return false;
    store_round_begin(store);
    if (!reader_return(store) || !store_round_finish(store))
        return false;

    bench->measurement = (struct measurement){.unit = "message"};
    while (bench->measurement.time_ns < bench->options->duration_ns) {
        store_round_begin(store);
        if (!bench_sample(bench, &before))
            return false;
        /* Subscribing anew to the same filter sends the retained messages again: MQTT-3.8.4-3. */
        client_subscribe(&store->reader);
        if (!store_round_finish(store) || !store_measure_round(store, &before))
            return false;
    }
    store->erasing = true;
    return reader_leave(store) && store_write_all(store);
}

bool store_retained(struct bench *bench)
{
    struct store store = {.bench = bench, .writer.bench = bench, .reader.bench = bench};
    bool         ran = retained_run(&store);
    store_close(&store);
    return ran;
}

static bool offline_round(struct store *store)
{
    struct sample before;
    store_round_begin(store);
    if (!reader_leave(store) || !store_write_all(store) || !bench_sample(store->bench, &before) ||
        !reader_return(store))
        return false;
    if (!store->reader.session_present)
        return bench_fail(store->bench, "the broker has forgotten the session");
    return store_round_finish(store) && store_measure_round(store, &before);
}

static bool offline_run(struct store *store)
{
    struct bench *bench = store->bench;
    if (!store_open(store) || !reader_return(store))
        return false;
    bench->measurement = (struct measurement){.unit = "message"};
    uint64_t end_ns = clock_now_ns() + bench->options->duration_ns;
    do {
        if (!offline_round(store))
            return false;
    } while (bench->engine.now_ns < end_ns);

    /* Leaves nothing behind: a clean start ends the session. */
    store->reader.keeps_session = false;
    return reader_leave(store) && reader_return(store);
}

bool store_offline(struct bench *bench)
{
    struct store store = {.bench = bench,
                          .writer.bench = bench,
                          .reader.bench = bench,
                          .reader.keeps_session = true,
                          .ordered = true};
    bool         ran = offline_run(&store);
    store_close(&store);
    return ran;
}
