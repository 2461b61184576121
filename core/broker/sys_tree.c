/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sys_tree.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC_SIZE 96U
#define VALUE_SIZE 64U
#define NEVER      UINT64_MAX /* not handed out yet */

/*
 * Topics are rows with one number each; the text is made when a row is handed out. Rows of
 * the whole broker, then of causes of drops, loads, and of each shard in turn.
 */
enum broker_row {
    ROW_VERSION, /* its number never changes */
    ROW_UPTIME,
    ROW_CLIENTS_TOTAL,
    ROW_CLIENTS_MAXIMUM,
    ROW_CLIENTS_ACTIVE,
    ROW_CLIENTS_CONNECTED,
    ROW_CLIENTS_INACTIVE,
    ROW_CLIENTS_DISCONNECTED,
    ROW_CLIENTS_EXPIRED,
    ROW_MESSAGES_RECEIVED,
    ROW_MESSAGES_SENT,
    ROW_MESSAGES_INFLIGHT,
    ROW_MESSAGES_STORED,
    ROW_STORE_COUNT,
    ROW_STORE_BYTES,
    ROW_BYTES_RECEIVED,
    ROW_BYTES_SENT,
    ROW_PUBLISH_RECEIVED,
    ROW_PUBLISH_SENT,
    ROW_PUBLISH_DROPPED,
    ROW_PUBLISH_BYTES_RECEIVED,
    ROW_PUBLISH_BYTES_SENT,
    ROW_SUBSCRIPTIONS,
    ROW_SHARED_SUBSCRIPTIONS,
    ROW_RETAINED,
    ROW_OUTPUT_BYTES,
    ROW_SOCKETS,
    ROW_SHARDS,
    ROW_HEAP,
    ROW_HEAP_MAXIMUM,
    BROKER_ROW_COUNT,
};

static const char *const broker_topics[BROKER_ROW_COUNT] = {
    [ROW_VERSION] = "version",
    [ROW_UPTIME] = "uptime",
    [ROW_CLIENTS_TOTAL] = "clients/total",
    [ROW_CLIENTS_MAXIMUM] = "clients/maximum",
    [ROW_CLIENTS_ACTIVE] = "clients/active",
    [ROW_CLIENTS_CONNECTED] = "clients/connected",
    [ROW_CLIENTS_INACTIVE] = "clients/inactive",
    [ROW_CLIENTS_DISCONNECTED] = "clients/disconnected",
    [ROW_CLIENTS_EXPIRED] = "clients/expired",
    [ROW_MESSAGES_RECEIVED] = "messages/received",
    [ROW_MESSAGES_SENT] = "messages/sent",
    [ROW_MESSAGES_INFLIGHT] = "messages/inflight",
    [ROW_MESSAGES_STORED] = "messages/stored",
    [ROW_STORE_COUNT] = "store/messages/count",
    [ROW_STORE_BYTES] = "store/messages/bytes",
    [ROW_BYTES_RECEIVED] = "bytes/received",
    [ROW_BYTES_SENT] = "bytes/sent",
    [ROW_PUBLISH_RECEIVED] = "publish/messages/received",
    [ROW_PUBLISH_SENT] = "publish/messages/sent",
    [ROW_PUBLISH_DROPPED] = "publish/messages/dropped",
    [ROW_PUBLISH_BYTES_RECEIVED] = "publish/bytes/received",
    [ROW_PUBLISH_BYTES_SENT] = "publish/bytes/sent",
    [ROW_SUBSCRIPTIONS] = "subscriptions/count",
    [ROW_SHARED_SUBSCRIPTIONS] = "shared_subscriptions/count",
    [ROW_RETAINED] = "retained messages/count",
    [ROW_OUTPUT_BYTES] = "packet/out/bytes",
    [ROW_SOCKETS] = "connections/socket/count",
    [ROW_SHARDS] = "shards/count",
    [ROW_HEAP] = "heap/current",
    [ROW_HEAP_MAXIMUM] = "heap/maximum",
};

/* Below `shards/N/`: plain fields of a shard's statistics. */
struct shard_row {
    const char *topic;
    size_t      field; /* offset in struct statistics */
};

#define SHARD_ROW(topic, field)                   \
    {                                             \
        topic, offsetof(struct statistics, field) \
    }

static const struct shard_row shard_rows[] = {
    SHARD_ROW("connections/count", connections),
    SHARD_ROW("connections/greeting", greeting),
    SHARD_ROW("connections/refused", connections_refused),
    SHARD_ROW("sessions/count", sessions),
    SHARD_ROW("sessions/offline", sessions_offline),
    SHARD_ROW("subscriptions/count", subscriptions),
    SHARD_ROW("retained/count", retained_messages),
    SHARD_ROW("retained/bytes", retained_bytes),
    SHARD_ROW("queued/count", queued_messages),
    SHARD_ROW("queued/bytes", queued_bytes),
    SHARD_ROW("messages/received", packets_in),
    SHARD_ROW("messages/sent", packets_out),
    SHARD_ROW("bytes/received", bytes_in),
    SHARD_ROW("bytes/sent", bytes_out),
    SHARD_ROW("publish/received", publish_in),
    SHARD_ROW("publish/sent", publish_out),
    SHARD_ROW("publish/refused", publish_refused),
    SHARD_ROW("handovers/in", handovers_in),
    SHARD_ROW("handovers/out", handovers_out),
    SHARD_ROW("takeovers", takeovers),
    SHARD_ROW("parcels/received", parcels_in),
    SHARD_ROW("parcels/sent", parcels_out),
    SHARD_ROW("parcels/false_positive", parcels_false_positive),
    SHARD_ROW("outbox/high_water", outbox_high_water),
    SHARD_ROW("reads/paused", reads_paused),
};

#define SHARD_ROW_COUNT (sizeof(shard_rows) / sizeof(shard_rows[0]))

/* A load is a moving average of what a counter gained a minute, over 1, 5 and 15 minutes. */
enum load_counter {
    LOAD_MESSAGES_RECEIVED,
    LOAD_MESSAGES_SENT,
    LOAD_PUBLISH_DROPPED,
    LOAD_PUBLISH_RECEIVED,
    LOAD_PUBLISH_SENT,
    LOAD_BYTES_RECEIVED,
    LOAD_BYTES_SENT,
    LOAD_SOCKETS,
    LOAD_CONNECTIONS,
    LOAD_COUNTER_COUNT,
};

static const char *const load_topics[LOAD_COUNTER_COUNT] = {
    [LOAD_MESSAGES_RECEIVED] = "messages/received",
    [LOAD_MESSAGES_SENT] = "messages/sent",
    [LOAD_PUBLISH_DROPPED] = "publish/dropped",
    [LOAD_PUBLISH_RECEIVED] = "publish/received",
    [LOAD_PUBLISH_SENT] = "publish/sent",
    [LOAD_BYTES_RECEIVED] = "bytes/received",
    [LOAD_BYTES_SENT] = "bytes/sent",
    [LOAD_SOCKETS] = "sockets",
    [LOAD_CONNECTIONS] = "connections",
};

static const struct load_span {
    const char *name;
    double      seconds;
} load_spans[] = {{"1min", 60}, {"5min", 300}, {"15min", 900}};

#define LOAD_SPAN_COUNT (sizeof(load_spans) / sizeof(load_spans[0]))
#define LOAD_ROW_COUNT  (LOAD_COUNTER_COUNT * LOAD_SPAN_COUNT)

#define FIRST_DROP_ROW  ((uint32_t)BROKER_ROW_COUNT)
#define FIRST_LOAD_ROW  (FIRST_DROP_ROW + DROP_CAUSE_COUNT)
#define FIRST_SHARD_ROW ((uint32_t)(FIRST_LOAD_ROW + LOAD_ROW_COUNT))

/* What a row shows now, and what it showed when it was handed out. Loads: in hundredths. */
struct row {
    uint64_t number;
    uint64_t handed_out;
};

struct sys_tree {
    const char *version; /* the caller's literal */
    uint16_t    shard_count;
    bool        updated;
    uint32_t    row_count;
    uint64_t    counters[LOAD_COUNTER_COUNT]; /* at the update before */
    double      loads[LOAD_COUNTER_COUNT][LOAD_SPAN_COUNT];
    char        topic[TOPIC_SIZE];
    char        value[VALUE_SIZE];
    struct row  rows[];
};

struct sys_tree *sys_tree_create(uint16_t shard_count, const char *version)
{
    uint32_t         row_count = FIRST_SHARD_ROW + (uint32_t)SHARD_ROW_COUNT * shard_count;
    struct sys_tree *tree = calloc(1, sizeof(*tree) + row_count * sizeof(tree->rows[0]));
    if (tree == NULL)
        return NULL;

    tree->version = version;
    tree->shard_count = shard_count;
    tree->row_count = row_count;
    for (uint32_t row = 0; row < row_count; row++)
        tree->rows[row].handed_out = NEVER;
    return tree;
}

void sys_tree_destroy(struct sys_tree *tree)
{
    free(tree);
}

static uint64_t drops_of(const struct statistics *sum)
{
    uint64_t drops = 0;
    for (enum drop_cause cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        drops += sum->drops[cause];
    return drops;
}

static void set(struct sys_tree *tree, enum broker_row row, uint64_t number)
{
    tree->rows[row].number = number;
}

static void set_maximum(struct sys_tree *tree, enum broker_row row, uint64_t number)
{
    if (number > tree->rows[row].number)
        tree->rows[row].number = number;
}

/* A session that goes offline between two shards' reports must not become a huge number. */
static uint64_t less(uint64_t whole, uint64_t part)
{
    return whole > part ? whole - part : 0;
}

static void update_clients(struct sys_tree *tree, const struct statistics *sum)
{
    uint64_t connected = less(sum->sessions, sum->sessions_offline);

    set(tree, ROW_CLIENTS_TOTAL, sum->sessions);
    set_maximum(tree, ROW_CLIENTS_MAXIMUM, sum->sessions);
    set(tree, ROW_CLIENTS_ACTIVE, connected);
    set(tree, ROW_CLIENTS_CONNECTED, connected);
    set(tree, ROW_CLIENTS_INACTIVE, sum->sessions_offline);
    set(tree, ROW_CLIENTS_DISCONNECTED, sum->sessions_offline);
    set(tree, ROW_CLIENTS_EXPIRED, sum->sessions_expired);
}

static void update_messages(struct sys_tree *tree, const struct statistics *sum)
{
    uint64_t stored = sum->retained_messages + sum->queued_messages;

    set(tree, ROW_MESSAGES_RECEIVED, sum->packets_in);
    set(tree, ROW_MESSAGES_SENT, sum->packets_out);
    set(tree, ROW_MESSAGES_INFLIGHT, sum->inflight_messages);
    set(tree, ROW_MESSAGES_STORED, stored);
    set(tree, ROW_STORE_COUNT, stored);
    set(tree, ROW_STORE_BYTES, sum->retained_bytes + sum->queued_bytes);
    set(tree, ROW_BYTES_RECEIVED, sum->bytes_in);
    set(tree, ROW_BYTES_SENT, sum->bytes_out);
    set(tree, ROW_PUBLISH_RECEIVED, sum->publish_in);
    set(tree, ROW_PUBLISH_SENT, sum->publish_out);
    set(tree, ROW_PUBLISH_DROPPED, drops_of(sum));
    set(tree, ROW_PUBLISH_BYTES_RECEIVED, sum->publish_bytes_in);
    set(tree, ROW_PUBLISH_BYTES_SENT, sum->publish_bytes_out);
    set(tree, ROW_SUBSCRIPTIONS, sum->subscriptions);
    set(tree, ROW_SHARED_SUBSCRIPTIONS, sum->shared_subscriptions);
    set(tree, ROW_RETAINED, sum->retained_messages);
    set(tree, ROW_OUTPUT_BYTES, sum->output_bytes);
    set(tree, ROW_SOCKETS, sum->connections_accepted);
    for (enum drop_cause cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        tree->rows[FIRST_DROP_ROW + cause].number = sum->drops[cause];
}

/* The first update only takes the counters; its loads are 0. */
static void update_loads(struct sys_tree *tree, const struct statistics *sum, uint64_t elapsed_ms)
{
    const uint64_t counters[LOAD_COUNTER_COUNT] = {
        [LOAD_MESSAGES_RECEIVED] = sum->packets_in, [LOAD_MESSAGES_SENT] = sum->packets_out,
        [LOAD_PUBLISH_DROPPED] = drops_of(sum),     [LOAD_PUBLISH_RECEIVED] = sum->publish_in,
        [LOAD_PUBLISH_SENT] = sum->publish_out,     [LOAD_BYTES_RECEIVED] = sum->bytes_in,
        [LOAD_BYTES_SENT] = sum->bytes_out,         [LOAD_SOCKETS] = sum->connections_accepted,
        [LOAD_CONNECTIONS] = sum->connects,
    };

    if (tree->updated && elapsed_ms == 0)
        return; /* what has come since counts at the next update */
    double elapsed_s = (double)elapsed_ms / 1000;
    for (enum load_counter counter = 0; counter < LOAD_COUNTER_COUNT; counter++) {
        double a_minute = 0;
        if (tree->updated)
            a_minute = (double)less(counters[counter], tree->counters[counter]) * 60 / elapsed_s;
        tree->counters[counter] = counters[counter];

        for (size_t span = 0; span < LOAD_SPAN_COUNT; span++) {
            double *load = &tree->loads[counter][span];
            double  kept = exp(-elapsed_s / load_spans[span].seconds);
            *load = a_minute + kept * (*load - a_minute);
            tree->rows[FIRST_LOAD_ROW + counter * LOAD_SPAN_COUNT + span].number =
                (uint64_t)llround(*load * 100);
        }
    }
}

static void update_shard(struct sys_tree *tree, uint16_t shard, const struct statistics *statistics)
{
    struct row *rows = &tree->rows[FIRST_SHARD_ROW + SHARD_ROW_COUNT * shard];

    for (size_t row = 0; row < SHARD_ROW_COUNT; row++)
        rows[row].number = *(const uint64_t *)((const char *)statistics + shard_rows[row].field);
}

void sys_tree_update(struct sys_tree *tree, const struct sys_tree_input *input)
{
    struct statistics sum = {0};

    for (uint16_t shard = 0; shard < tree->shard_count; shard++) {
        statistics_add(&sum, &input->shards[shard]);
        update_shard(tree, shard, &input->shards[shard]);
    }
    set(tree, ROW_UPTIME, input->uptime_s);
    set(tree, ROW_SHARDS, tree->shard_count);
    set(tree, ROW_HEAP, input->heap_bytes);
    set_maximum(tree, ROW_HEAP_MAXIMUM, input->heap_bytes);
    update_clients(tree, &sum);
    update_messages(tree, &sum);
    update_loads(tree, &sum, input->elapsed_ms);
    tree->updated = true;
}

static void write_topic(struct sys_tree *tree, uint32_t row)
{
    int written;

    if (row < FIRST_DROP_ROW) {
        written = snprintf(tree->topic, TOPIC_SIZE, "$SYS/broker/%s", broker_topics[row]);
    } else if (row < FIRST_LOAD_ROW) {
        written = snprintf(tree->topic, TOPIC_SIZE, "$SYS/broker/drops/%s",
                           drop_cause_name((enum drop_cause)(row - FIRST_DROP_ROW)));
    } else if (row < FIRST_SHARD_ROW) {
        uint32_t load = row - FIRST_LOAD_ROW;
        written =
            snprintf(tree->topic, TOPIC_SIZE, "$SYS/broker/load/%s/%s",
                     load_topics[load / LOAD_SPAN_COUNT], load_spans[load % LOAD_SPAN_COUNT].name);
    } else {
        uint32_t of_shard = row - FIRST_SHARD_ROW;
        written = snprintf(tree->topic, TOPIC_SIZE, "$SYS/broker/shards/%u/%s",
                           (unsigned)(of_shard / SHARD_ROW_COUNT),
                           shard_rows[of_shard % SHARD_ROW_COUNT].topic);
    }
    assert(written > 0 && written < (int)TOPIC_SIZE);
}

static void write_value(struct sys_tree *tree, uint32_t row, uint64_t number)
{
    bool is_load = row >= FIRST_LOAD_ROW && row < FIRST_SHARD_ROW;

    if (row == ROW_VERSION)
        (void)snprintf(tree->value, VALUE_SIZE, "%s", tree->version);
    else if (row == ROW_UPTIME)
        (void)snprintf(tree->value, VALUE_SIZE, "%" PRIu64 " seconds", number);
    else if (is_load)
        (void)snprintf(tree->value, VALUE_SIZE, "%" PRIu64 ".%02u", number / 100,
                       (unsigned)(number % 100));
    else
        (void)snprintf(tree->value, VALUE_SIZE, "%" PRIu64, number);
}

/* A heap that nobody told us of is not shown. */
static bool row_hidden(const struct sys_tree *tree, uint32_t row)
{
    return (row == ROW_HEAP || row == ROW_HEAP_MAXIMUM) && tree->rows[ROW_HEAP_MAXIMUM].number == 0;
}

bool sys_tree_next(struct sys_tree *tree, uint32_t *cursor, struct slice *topic,
                   struct slice *value)
{
    while (*cursor < tree->row_count) {
        uint32_t    number = (*cursor)++;
        struct row *row = &tree->rows[number];
        if (row->number == row->handed_out || row_hidden(tree, number))
            continue;

        row->handed_out = row->number;
        write_topic(tree, number);
        write_value(tree, number, row->number);
        *topic = slice_text(tree->topic);
        *value = slice_text(tree->value);
        return true;
    }
    return false;
}
