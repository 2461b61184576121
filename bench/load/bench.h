/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One run: the engine, the clients, what was counted and what went wrong. A scenario is a function
 * that lets turns pass until its condition holds; a failure is recorded once and ends every loop.
 */

#include "bench/load/client.h"
#include "bench/load/engine.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/process.h"

/* Any of these but `delivered` makes the run fail. */
struct tally {
    uint64_t delivered;
    uint64_t lost; /* passed over by a later message, until it arrives late */
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t misdelivered; /* by a receiver that did not ask for it */
    uint64_t foreign;      /* of another run, of the wrong size, or never sent */
};

struct sample {
    uint64_t            time_ns;
    struct process_cost broker;
    struct process_cost own;
};

/* What a scenario hands to the report: sums over the stretches that were measured. */
struct measurement {
    const char *unit; /* what `count` counts: "message", "client", "cycle" */
    uint64_t    count;
    uint64_t    published; /* 0 when it says no more than `count` */
    uint64_t    time_ns;
    uint64_t    cpu_ns; /* the broker's, when its process is known */
    uint64_t    user_ns;
    uint64_t    system_ns;
    uint64_t    own_cpu_ns;
    uint64_t    resident_bytes; /* the broker's, at the end */
    uint64_t    grown_bytes;    /* what the clients added to it, see has_growth */
    double      idle_us;        /* CPU a client and second while all are silent, see has_growth */
    bool        has_growth;
    bool        has_latency;
};

struct bench {
    struct engine         engine;
    const struct options *options;
    struct client       **clients; /* all of the run, in the order in which they connect */
    uint32_t              client_count;
    uint32_t              client_cursor; /* the next to connect */
    uint32_t              ready_count;
    uint32_t              run;       /* random, in every stamp */
    bool                  measuring; /* latencies are recorded */
    uint64_t              moved_ns;  /* when something last went forward */
    uint64_t              published;
    struct tally          tally;
    struct histogram      latency; /* ns */
    struct measurement    measurement;
    char                  failure[512]; /* empty while all is well */
};

/* Both return false after having recorded the failure. */
bool bench_open(struct bench *bench, const struct options *options);
bool bench_fail(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));

void bench_close(struct bench *bench);

static inline bool bench_failed(const struct bench *bench)
{
    return bench->failure[0] != '\0';
}

static inline void bench_moved(struct bench *bench)
{
    bench->moved_ns = bench->engine.now_ns;
}

/* Adds a client to those that bench_connect_all connects; `bench` does not own it. */
bool bench_add(struct bench *bench, struct client *client);

/*
 * Lets one turn pass, `deadline_ns` at most, and checks for a stall: nothing moved for the time
 * that the options allow. `missing` says then what was waited for. False when the run has failed.
 */
bool bench_turn(struct bench *bench, uint64_t deadline_ns, const char *missing);

/* Connects and subscribes all added clients, `at_once` handshakes at a time. */
bool bench_connect_all(struct bench *bench, uint32_t at_once);

/* Says DISCONNECT for all connected clients and lets it leave. */
void bench_disconnect_all(struct bench *bench);

bool bench_sample(struct bench *bench, struct sample *sample);

/* Takes a sample and adds what has been spent since `before`, all but `count`. */
bool bench_measure(struct bench *bench, const struct sample *before);

/* Fails the run if the tally holds anything but deliveries. */
bool bench_check_tally(struct bench *bench);
