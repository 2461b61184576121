/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sys_publisher.h"

#include "core/broker/fanout.h"
#include "core/broker/state.h"
#include "core/broker/sys_tree.h"

#include <stdlib.h>

#ifndef SHARDMQ_VERSION
#define SHARDMQ_VERSION "0.1.0"
#endif

struct sys_publisher {
    struct alarm       interval;
    struct broker     *broker;
    uint64_t           started_ms;
    uint64_t           updated_ms;
    struct sys_tree   *tree;   /* shard 0 */
    struct statistics *shards; /* shard 0: the latest of each */
};

static void publish_changes(struct broker *broker, struct sys_publisher *sys)
{
    uint32_t     cursor = 0;
    struct slice topic;
    struct slice value;
    while (sys_tree_next(sys->tree, &cursor, &topic, &value)) {
        struct fanout fanout = {
            .topic = topic,
            .payload = value,
            .publisher_shard = broker->shard,
            .retain = true,
        };
        fanout_everywhere(broker, &fanout);
        fanout_end(broker, &fanout);
    }
}

static void send_statistics(struct broker *broker)
{
    struct statistics *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return; /* the next interval's will do */
    *copy = broker->statistics;
    broker_post(broker, 0, (struct parcel){.kind = PARCEL_STATISTICS, .pointer = copy});
}

static void on_interval(struct alarm *alarm, void *context, uint64_t now_ms)
{
    struct broker        *broker = context;
    struct sys_publisher *sys = container_of(alarm, struct sys_publisher, interval);
    timer_wheel_arm(broker->wheel, alarm, now_ms + broker->options->sys.interval_ms);
    if (broker->shard != 0) {
        send_statistics(broker);
        return;
    }
    sys->shards[0] = broker->statistics;
    sys_tree_update(sys->tree, &(struct sys_tree_input){
                                   .shards = sys->shards,
                                   .uptime_s = (now_ms - sys->started_ms) / 1000,
                                   .elapsed_ms = now_ms - sys->updated_ms,
                               });
    sys->updated_ms = now_ms;
    publish_changes(broker, sys);
}

bool sys_publisher_open(struct broker *broker)
{
    if (broker->options->sys.interval_ms == 0)
        return true;
    struct sys_publisher *sys = calloc(1, sizeof(*sys));
    if (sys == NULL)
        return false;
    broker->sys = sys;
    sys->broker = broker;
    sys->started_ms = sys->updated_ms = broker->now_ms;
    alarm_init(&sys->interval, ALARM_SYS);
    timer_wheel_handle(broker->wheel, ALARM_SYS, on_interval, broker);
    if (broker->shard == 0) {
        sys->tree = sys_tree_create(broker->shard_count, "shardmq " SHARDMQ_VERSION);
        sys->shards = calloc(broker->shard_count, sizeof(*sys->shards));
        if (sys->tree == NULL || sys->shards == NULL)
            return false;
    }
    timer_wheel_arm(broker->wheel, &sys->interval, broker->now_ms);
    return true;
}

void sys_publisher_close(struct broker *broker)
{
    struct sys_publisher *sys = broker->sys;
    if (sys == NULL)
        return;
    timer_wheel_disarm(broker->wheel, &sys->interval);
    sys_tree_destroy(sys->tree);
    free(sys->shards);
    free(sys);
    broker->sys = NULL;
}

void sys_publisher_on_statistics(struct broker *broker, const struct parcel *parcel)
{
    if (broker->sys != NULL && broker->sys->shards != NULL)
        broker->sys->shards[parcel->from] = *(const struct statistics *)parcel->pointer;
    free(parcel->pointer);
}
