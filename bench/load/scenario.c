/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/scenario.h"

#include <stdio.h>
#include <string.h>

static const struct scenario scenarios[] = {
    {.name = "pairs",
     .help = "N publishers, N subscribers, each pair on a topic of its own",
     .run = flow_pairs,
     .publishers = 100,
     .subscribers = 100},
    {.name = "fanin",
     .help = "N publishers, one subscriber",
     .run = flow_fanin,
     .publishers = 50,
     .subscribers = 1},
    {.name = "fanout",
     .help = "one publisher, N subscribers of its topic",
     .run = flow_fanout,
     .publishers = 1,
     .subscribers = 100,
     .window = 32},
    {.name = "shared",
     .help = "N publishers, a $share group of M",
     .run = flow_shared,
     .publishers = 50,
     .subscribers = 4,
     .five = true},
    {.name = "telemetry",
     .help = "N devices, mostly idle, at a rate (open loop); M collectors get all of it",
     .run = flow_telemetry,
     .publishers = 5000,
     .subscribers = 2,
     .rate = 10000,
     .qos = 1,
     .prompt = true},
    {.name = "pingpong",
     .help = "one pair, one message at a time: latency",
     .run = flow_pairs,
     .publishers = 1,
     .subscribers = 1,
     .window = 1,
     .prompt = true},
    {.name = "connect",
     .help = "N clients connect, subscribe and stay: CPU and memory of each",
     .run = crowd_connect,
     .subscribers = 10000,
     .prompt = true},
    {.name = "churn",
     .help = "N at once, again and again: connect, subscribe, publish, disconnect",
     .run = crowd_churn,
     .subscribers = 50,
     .qos = 1,
     .prompt = true},
    {.name = "retained",
     .help = "store --count retained messages, collect them with a wildcard",
     .run = store_retained,
     .publishers = 1,
     .subscribers = 1},
    {.name = "offline",
     .help = "queue --count messages for a client that is away, drain them when it returns",
     .run = store_offline,
     .publishers = 1,
     .subscribers = 1,
     .qos = 1},
};

#define SCENARIO_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

const struct scenario *scenario_find(const char *name)
{
    for (size_t index = 0; index < SCENARIO_COUNT; index++) {
        if (strcmp(scenarios[index].name, name) == 0)
            return &scenarios[index];
    }
    return NULL;
}

void scenario_print_all(void)
{
    for (size_t index = 0; index < SCENARIO_COUNT; index++)
        printf("  %-14s %s\n", scenarios[index].name, scenarios[index].help);
}

struct options scenario_defaults(const struct scenario *scenario)
{
    return (struct options){
        .host = "127.0.0.1",
        .version = scenario->five ? MQTT_VERSION_5 : MQTT_VERSION_311,
        .duration_ns = 3000000000U,
        .warmup_ns = 1000000000U,
        .stall_ns = 5000000000U,
        .publishers = scenario->publishers,
        .subscribers = scenario->subscribers,
        .size = 64,
        .window = scenario->window > 0 ? scenario->window : 64,
        .rate = scenario->rate,
        .count = 50000,
        .gather_us = scenario->prompt ? 0 : 30,
        .port = 1883,
        .qos = scenario->qos,
    };
}
