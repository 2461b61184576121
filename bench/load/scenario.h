/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The scenarios by name. Each fills bench->measurement, or leaves a failure. */

#include "bench/load/bench.h"

struct scenario {
    const char *name;
    const char *help;
    bool (*run)(struct bench *bench);
    /* Defaults that differ from scenario_defaults(); 0 keeps the common one. */
    uint32_t publishers;
    uint32_t subscribers;
    uint32_t window;
    uint32_t rate;
    uint8_t  qos;
    bool     five;   /* needs MQTT 5 */
    bool     prompt; /* measures latency: no gathering of events */
};

const struct scenario *scenario_find(const char *name);
void                   scenario_print_all(void);
struct options         scenario_defaults(const struct scenario *scenario);

/* flow.c: publishers and receivers, closed loop by a window or open loop by a rate. */
bool flow_pairs(struct bench *bench);
bool flow_fanin(struct bench *bench);
bool flow_fanout(struct bench *bench);
bool flow_shared(struct bench *bench);
bool flow_telemetry(struct bench *bench);

/* crowd.c: connections come, stay or go. */
bool crowd_connect(struct bench *bench);
bool crowd_churn(struct bench *bench);

/* store.c: messages that wait in the broker. */
bool store_retained(struct bench *bench);
bool store_offline(struct bench *bench);
