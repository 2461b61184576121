/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One run: a world made from a seed, a scheduler that picks one thing after the other, pauses in
 * which everything comes to rest and is counted, and an end of the world without a leak.
 */

#include "tests/simulation/client.h"
#include "tests/simulation/misfit.h"

struct simulation_plan {
    uint64_t      seed;
    uint64_t      steps;
    uint32_t      shards;  /* 0: by chance */
    uint32_t      clients; /* 0: by chance */
    enum sabotage sabotage;
};

struct simulation_result {
    uint64_t          messages;
    uint64_t          deliveries;
    struct statistics statistics; /* totals; gauges mean nothing here */
    uint64_t          drops;
    uint64_t          retained_missed;
};

#define MISFITS_MAX 4U

struct simulation {
    struct simulation_plan   plan;
    struct random            random;
    struct options           options;
    uint64_t                 now_ms;
    uint64_t                 step;
    struct model             model;
    struct cluster          *cluster;
    struct client           *clients; /* the last one is the auditor */
    uint32_t                 client_count;
    struct misfit            misfits[MISFITS_MAX];
    uint32_t                 misfit_count;
    uint32_t                 mailbox_capacity;
    uint32_t                 socket_size;
    uint64_t                 drops_before; /* of brokers that were restarted */
    uint64_t                 restart_step;
    uint64_t                 jam_first; /* steps in which nothing is carried to `jam_shard` */
    uint64_t                 jam_last;
    uint16_t                 jam_shard;
    struct simulation_result result;
};

/* Runs to the end; a failure ends the process (trace_fail). */
struct simulation_result simulation_run(const struct simulation_plan *plan);

/* Something that a client might do now (script.c). */
void script_act(struct simulation *simulation, struct client *client);

/* Brings everything to rest and checks what can be checked then (rest.c). */
void rest_check(struct simulation *simulation);
/* Everybody leaves for good: every gauge has to be 0. */
void rest_leave(struct simulation *simulation);
/* The brokers end in order. */
void rest_stop(struct simulation *simulation);
