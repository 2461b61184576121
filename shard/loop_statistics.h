/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What a shard's loop counts about itself, beside what its broker counts. Written by its thread
 * only; the main thread gets copies (struct fabric) and prints them.
 */

#include "core/broker/statistics.h"

#include <stdint.h>
#include <stdio.h>

struct loop_statistics {
    uint64_t turns;
    uint64_t waits_none; /* turns that went on at once */
    uint64_t waits_one;  /* slept until the next completion */
    uint64_t waits_many; /* gathered work first */
    uint64_t completions;
    uint64_t receives;
    uint64_t receive_bytes;
    uint64_t sends;
    uint64_t send_bytes;
    uint64_t short_sends;
    uint64_t out_of_buffers; /* receives that found no buffer and were armed again */
    uint64_t to_idle;        /* connections that went from receive to poll */
    uint64_t from_idle;
    uint64_t accepted;
    uint64_t accept_pauses; /* no descriptor or memory for a new connection */
    uint64_t wakes;         /* siblings woken */
    uint64_t parcels_in;
    uint64_t parcels_out;
    uint64_t mailbox_full;       /* parcels that waited because the mailbox was full, in turns */
    uint64_t mailbox_high_water; /* gauge: the fullest mailbox of this shard to another */
    uint64_t moved_in;           /* connections handed over */
    uint64_t moved_out;
    uint64_t turn_ns_total; /* work without waiting */
    uint64_t turn_ns_max;
    uint64_t links;  /* gauge */
    uint64_t active; /* gauge: distinct connections heard in a millisecond, smoothed */
};

struct shard_snapshot {
    struct statistics      broker;
    struct loop_statistics loop;
};

/* One readable block: each shard, then the sum. */
void loop_statistics_print(FILE *out, const struct shard_snapshot *shards, uint16_t count);
