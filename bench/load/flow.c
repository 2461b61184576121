/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Publishers and receivers in one process, so that each knows what the other did.
 *
 * Closed loop: a publisher has at most `window` messages open and writes a quarter of them at once,
 * whenever that many places are free. A message is open until the last of its receivers has it, at
 * any QoS. Open loop: messages are due at a rate, and latency counts from when they were due.
 *
 * `left` is a publisher's ring of receivers still to come, by sequence. A receiver that gets all of
 * a publisher's messages also knows the next sequence: a jump is a loss, a step back a repetition.
 * Members of a share group see gaps, so for them order and repetition are checked, and loss at the
 * end, when a message stays open.
 */
#include "bench/load/scenario.h"
#include "bench/load/stamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OPEN_LOOP_BACKLOG 256U
#define CONNECT_AT_ONCE   100U
#define SHARED_SPAN       16U /* windows between a publisher's oldest open message and its newest */
#define TOPIC_SIZE        64U

struct flow;

struct publisher {
    struct client      client;
    struct flow       *flow;
    struct publication publication;
    uint32_t          *left; /* receivers that still lack a message: sequence & left_mask */
    uint64_t           next;
    uint64_t           oldest; /* all below it are closed; at most next - left_mask - 1 */
    uint32_t           open;
    char               topic[TOPIC_SIZE];
};

struct receiver {
    struct client client;
    struct flow  *flow;
    uint64_t     *expected; /* next sequence of each publisher it hears */
    uint32_t      first_publisher;
    uint32_t      publisher_count;
    char          filter[TOPIC_SIZE];
};

struct flow {
    struct bench     *bench;
    struct publisher *publishers;
    struct receiver  *receivers;
    uint32_t          publisher_count;
    uint32_t          receiver_count;
    uint32_t          copies; /* receivers of each message */
    uint32_t          left_mask;
    uint32_t          window;
    uint32_t          burst;
    uint64_t          quota; /* messages that may still be published */
    uint64_t          open;
    struct sample     before;
    bool              closed_loop;
    bool              shared;
};

static void publisher_write(struct publisher *publisher, uint64_t time_ns)
{
    struct flow *flow = publisher->flow;
    struct stamp stamp = {
        .run = flow->bench->run,
        .publisher = publisher->client.number,
        .sequence = publisher->next++,
        .time_ns = time_ns,
    };
    stamp_write(client_publish(&publisher->client, &publisher->publication), &stamp);
    publisher->left[stamp.sequence & flow->left_mask] = flow->copies;
    publisher->open++;
    flow->open++;
}

/* Members of a share group close messages out of order, so the ring may be full before the window.
 */
static bool publisher_has_room(struct publisher *publisher, uint32_t burst)
{
    const struct flow *flow = publisher->flow;
    while (publisher->oldest < publisher->next &&
           publisher->left[publisher->oldest & flow->left_mask] == 0)
        publisher->oldest++;
    return publisher->next + burst - publisher->oldest <= (uint64_t)flow->left_mask + 1;
}

/* Writes a quarter of the window if that many places are free, at both ends. */
static bool publisher_refill(struct publisher *publisher)
{
    struct flow *flow = publisher->flow;
    uint32_t     burst = flow->burst < flow->quota ? flow->burst : (uint32_t)flow->quota;
    if (burst == 0 || publisher->open + burst > flow->window)
        return false;
    if (publisher->publication.packet_id_at > 0 &&
        publisher->client.unacked + burst > publisher->client.receive_maximum)
        return false;
    if (!publisher_has_room(publisher, burst))
        return false;
    for (uint32_t index = 0; index < burst; index++)
        publisher_write(publisher, flow->bench->engine.now_ns);
    flow->quota -= burst;
    return true;
}

static void on_acked(struct client *client)
{
    struct publisher *publisher = (struct publisher *)client;
    if (publisher->flow->closed_loop)
        publisher_refill(publisher);
}

/* Order at the receiver. True when the message may count. */
static bool receiver_check(struct receiver *receiver, const struct publisher *publisher,
                           const struct stamp *stamp)
{
    struct flow  *flow = receiver->flow;
    struct tally *tally = &flow->bench->tally;
    uint64_t     *expected = &receiver->expected[stamp->publisher - receiver->first_publisher];

    if (stamp->sequence >= publisher->next ||
        publisher->next - stamp->sequence > (uint64_t)flow->left_mask + 1) {
        tally->foreign++;
        return false;
    }
    if (publisher->left[stamp->sequence & flow->left_mask] == 0) {
        tally->duplicated++;
        return false;
    }
    if (stamp->sequence >= *expected) {
        if (!flow->shared)
            tally->lost += stamp->sequence - *expected;
        *expected = stamp->sequence + 1;
        return true;
    }
    /* It may be a duplicate as well, as long as others still wait for it; both fail the run. */
    tally->reordered++;
    if (!flow->shared && tally->lost > 0)
        tally->lost--;
    return true;
}

static void on_message(struct client *client, struct slice payload)
{
    struct receiver *receiver = (struct receiver *)client;
    struct flow     *flow = receiver->flow;
    struct bench    *bench = flow->bench;

    if (payload.size != bench->options->size) {
        bench->tally.foreign++;
        return;
    }
    struct stamp stamp = stamp_read(payload.data);
    if (stamp.run != bench->run || stamp.publisher >= flow->publisher_count) {
        bench->tally.foreign++;
        return;
    }
    if (stamp.publisher - receiver->first_publisher >= receiver->publisher_count) {
        bench->tally.misdelivered++;
        return;
    }
    struct publisher *publisher = &flow->publishers[stamp.publisher];
    if (!receiver_check(receiver, publisher, &stamp))
        return;

    bench->tally.delivered++;
    bench_moved(bench);
    if (bench->measuring)
        histogram_add(&bench->latency, bench->engine.now_ns - stamp.time_ns);
    if (--publisher->left[stamp.sequence & flow->left_mask] > 0)
        return;
    publisher->open--;
    flow->open--;
    if (flow->closed_loop)
        publisher_refill(publisher);
}

static const struct client_events publisher_events = {.acked = on_acked};
static const struct client_events receiver_events = {.message = on_message};

static bool publisher_add(struct flow *flow, uint32_t number)
{
    const struct options *options = flow->bench->options;
    struct publisher     *publisher = &flow->publishers[number];
    publisher->flow = flow;
    publisher->client.events = &publisher_events;
    publisher->client.role = "p";
    publisher->client.number = number;
    publisher->left = calloc((size_t)flow->left_mask + 1, sizeof(*publisher->left));
    if (publisher->left == NULL)
        return bench_fail(flow->bench, "out of memory");
    (void)snprintf(publisher->topic, sizeof(publisher->topic), "bench/%08x/%u", flow->bench->run,
                   number);
    publication_encode(&publisher->publication, options->version, publisher->topic, options->qos,
                       false, options->size);
    return bench_add(flow->bench, &publisher->client);
}

/* One publisher of its own, or all of them. */
static bool receiver_add(struct flow *flow, uint32_t number, bool paired)
{
    struct receiver *receiver = &flow->receivers[number];
    receiver->flow = flow;
    receiver->first_publisher = paired ? number : 0;
    receiver->publisher_count = paired ? 1 : flow->publisher_count;
    receiver->client.events = &receiver_events;
    receiver->client.role = "s";
    receiver->client.number = number;
    receiver->client.subscribe_qos = flow->bench->options->qos;
    receiver->client.filter = receiver->filter;
    receiver->expected = calloc(receiver->publisher_count, sizeof(*receiver->expected));
    if (receiver->expected == NULL)
        return bench_fail(flow->bench, "out of memory");
    if (receiver->publisher_count == 1)
        (void)snprintf(receiver->filter, sizeof(receiver->filter), "bench/%08x/%u",
                       flow->bench->run, receiver->first_publisher);
    else
        (void)snprintf(receiver->filter, sizeof(receiver->filter), "%sbench/%08x/+",
                       flow->shared ? "$share/group/" : "", flow->bench->run);
    return bench_add(flow->bench, &receiver->client);
}

static uint32_t power_of_two_from(uint32_t value)
{
    return value <= 1 ? 1 : 1U << (32U - (uint32_t)__builtin_clz(value - 1));
}

static bool flow_open(struct flow *flow, bool paired)
{
    const struct options *options = flow->bench->options;
    flow->left_mask = power_of_two_from(flow->window * (flow->shared ? SHARED_SPAN : 1)) - 1;
    flow->burst = flow->window < 4 ? 1 : flow->window / 4;
    flow->quota = options->messages > 0 ? options->messages : UINT64_MAX;
    flow->publishers = calloc(flow->publisher_count, sizeof(*flow->publishers));
    flow->receivers = calloc(flow->receiver_count, sizeof(*flow->receivers));
    if (flow->publishers == NULL || flow->receivers == NULL) {
        bench_fail(flow->bench, "out of memory");
        return false;
    }
    for (uint32_t number = 0; number < flow->receiver_count; number++) {
        if (!receiver_add(flow, number, paired))
            return false;
    }
    for (uint32_t number = 0; number < flow->publisher_count; number++) {
        if (!publisher_add(flow, number))
            return false;
    }
    return bench_connect_all(flow->bench, CONNECT_AT_ONCE);
}

static void flow_close(struct flow *flow)
{
    bench_disconnect_all(flow->bench);
    for (uint32_t number = 0; flow->publishers != NULL && number < flow->publisher_count;
         number++) {
        client_fini(&flow->publishers[number].client);
        free(flow->publishers[number].left);
        free(flow->publishers[number].publication.frame);
    }
    for (uint32_t number = 0; flow->receivers != NULL && number < flow->receiver_count; number++) {
        client_fini(&flow->receivers[number].client);
        free(flow->receivers[number].expected);
    }
    flow->bench->client_count = 0;
    free(flow->publishers);
    free(flow->receivers);
}

/* Messages, acknowledgements and QoS 2 releases that are still under way. */
static uint64_t flow_pending(const struct flow *flow)
{
    uint64_t pending = flow->open;
    for (uint32_t number = 0; number < flow->publisher_count; number++)
        pending += flow->publishers[number].client.unacked;
    for (uint32_t number = 0; number < flow->receiver_count; number++)
        pending += flow->receivers[number].client.releases;
    return pending;
}

/* Says which message is missing, for the first publisher that lacks one. */
static void flow_describe_open(const struct flow *flow, char *text, size_t size)
{
    for (uint32_t number = 0; number < flow->publisher_count; number++) {
        const struct publisher *publisher = &flow->publishers[number];
        uint64_t                capacity = (uint64_t)flow->left_mask + 1;
        uint64_t sequence = publisher->next > capacity ? publisher->next - capacity : 0;
        for (; sequence < publisher->next; sequence++) {
            uint32_t left = publisher->left[sequence & flow->left_mask];
            if (left == 0)
                continue;
            (void)snprintf(text, size,
                           "%" PRIu64 " messages in all, the first: publisher %u, sequence %" PRIu64
                           ", lacking at %u of %u receivers",
                           flow->open, number, sequence, left, flow->copies);
            return;
        }
    }
    (void)snprintf(text, size, "acknowledgements");
}

/* A turn whose stall says what is missing; that is looked for only when it is needed. */
static bool flow_turn(struct flow *flow, uint64_t deadline_ns)
{
    struct bench *bench = flow->bench;
    char          missing[160] = "messages";
    uint64_t      silent_ns = bench->engine.now_ns - bench->moved_ns;
    if (bench->engine.now_ns > bench->moved_ns && silent_ns > bench->options->stall_ns / 2)
        flow_describe_open(flow, missing, sizeof(missing));
    return bench_turn(bench, deadline_ns, missing);
}

/* Nothing new is published; all that is open has to arrive. */
static bool flow_drain(struct flow *flow)
{
    flow->quota = 0;
    bench_moved(flow->bench);
    while (flow_pending(flow) > 0) {
        if (!flow_turn(flow, UINT64_MAX))
            return false;
    }
    return bench_check_tally(flow->bench);
}

static void flow_fill(struct flow *flow)
{
    for (uint32_t number = 0; number < flow->publisher_count; number++) {
        while (publisher_refill(&flow->publishers[number]))
            continue;
    }
}

static bool flow_measure_begin(struct flow *flow)
{
    struct bench *bench = flow->bench;
    bench->measuring = true;
    bench->measurement = (struct measurement){
        .unit = "message",
        .count = bench->tally.delivered,
        .published = bench->published,
        .has_latency = true,
    };
    return bench_sample(bench, &flow->before);
}

static bool flow_measure_end(struct flow *flow)
{
    struct bench       *bench = flow->bench;
    struct measurement *measurement = &bench->measurement;
    bench->measuring = false;
    /* Copies of an open-loop message are one message: the rate is the devices', not the readers'.
     */
    measurement->count =
        (bench->tally.delivered - measurement->count) / (flow->closed_loop ? 1 : flow->copies);
    measurement->published = bench->published - measurement->published;
    return bench_measure(bench, &flow->before);
}

/* A number of messages, from the first publish to the last acknowledgement. */
static bool flow_run_count(struct flow *flow)
{
    if (!flow_measure_begin(flow))
        return false;
    flow_fill(flow);
    while (flow->quota > 0 || flow_pending(flow) > 0) {
        if (!flow_turn(flow, UINT64_MAX))
            return false;
    }
    return flow_measure_end(flow) && bench_check_tally(flow->bench);
}

static bool flow_run_time(struct flow *flow)
{
    struct bench *bench = flow->bench;
    flow_fill(flow);
    uint64_t begin_ns = clock_now_ns() + bench->options->warmup_ns;
    while (bench->engine.now_ns < begin_ns) {
        if (!flow_turn(flow, begin_ns))
            return false;
    }
    if (!flow_measure_begin(flow))
        return false;
    uint64_t end_ns = flow->before.time_ns + bench->options->duration_ns;
    while (bench->engine.now_ns < end_ns) {
        if (!flow_turn(flow, end_ns))
            return false;
    }
    return flow_measure_end(flow) && flow_drain(flow);
}

static bool flow_run_closed(struct flow *flow, bool paired)
{
    flow->closed_loop = true;
    flow->window = flow->bench->options->window;
    bool ran = flow_open(flow, paired) &&
               (flow->bench->options->messages > 0 ? flow_run_count(flow) : flow_run_time(flow));
    flow_close(flow);
    return ran;
}

bool flow_pairs(struct bench *bench)
{
    uint32_t count = bench->options->publishers;
    if (bench->options->subscribers != count)
        return bench_fail(bench, "pairs need as many subscribers as publishers (--clients)");
    struct flow flow = {
        .bench = bench, .publisher_count = count, .receiver_count = count, .copies = 1};
    return flow_run_closed(&flow, true);
}

bool flow_fanin(struct bench *bench)
{
    struct flow flow = {.bench = bench,
                        .publisher_count = bench->options->publishers,
                        .receiver_count = 1,
                        .copies = 1};
    return flow_run_closed(&flow, false);
}

bool flow_fanout(struct bench *bench)
{
    struct flow flow = {.bench = bench,
                        .publisher_count = 1,
                        .receiver_count = bench->options->subscribers,
                        .copies = bench->options->subscribers};
    return flow_run_closed(&flow, false);
}

bool flow_shared(struct bench *bench)
{
    struct flow flow = {.bench = bench,
                        .publisher_count = bench->options->publishers,
                        .receiver_count = bench->options->subscribers,
                        .copies = 1,
                        .shared = true};
    return flow_run_closed(&flow, false);
}

/* Publishes what is due; false when a device's messages pile up beyond what can be followed. */
static bool telemetry_publish_due(struct flow *flow, uint64_t begin_ns, uint64_t *index)
{
    uint64_t rate = flow->bench->options->rate;
    for (;; (*index)++) {
        uint64_t due_ns = begin_ns + *index * 1000000000U / rate;
        if (due_ns > flow->bench->engine.now_ns || flow->quota == 0)
            return true;
        struct publisher *publisher = &flow->publishers[*index % flow->publisher_count];
        if (!publisher_has_room(publisher, 1))
            return bench_fail(flow->bench, "the broker is %" PRIu64 " messages behind", flow->open);
        publisher_write(publisher, due_ns);
        flow->quota--;
    }
}

static bool telemetry_run(struct flow *flow)
{
    struct bench         *bench = flow->bench;
    const struct options *options = bench->options;
    uint64_t              index = 0;
    uint64_t              begin_ns = clock_now_ns();
    uint64_t              measured_ns = begin_ns + options->warmup_ns;
    uint64_t              end_ns = measured_ns + options->duration_ns;

    bench_moved(bench);
    while (bench->engine.now_ns < end_ns && flow->quota > 0) {
        if (!bench->measuring && bench->engine.now_ns >= measured_ns && !flow_measure_begin(flow))
            return false;
        if (!telemetry_publish_due(flow, begin_ns, &index))
            return false;
        if (!flow_turn(flow, begin_ns + index * 1000000000U / options->rate))
            return false;
    }
    if (!bench->measuring)
        return bench_fail(bench, "--messages ended before the warm-up; give --warmup 0");
    return flow_measure_end(flow) && flow_drain(flow);
}

bool flow_telemetry(struct bench *bench)
{
    struct flow flow = {.bench = bench,
                        .publisher_count = bench->options->publishers,
                        .receiver_count = bench->options->subscribers,
                        .copies = bench->options->subscribers,
                        .window = OPEN_LOOP_BACKLOG};
    bool        ran = flow_open(&flow, false) && telemetry_run(&flow);
    flow_close(&flow);
    return ran;
}
