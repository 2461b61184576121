/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The limits on connections that bind the whole process: how many, how many that have not
 * authenticated, how many new ones a second. Counted with relaxed atomics by all shards; a few too
 * many for a moment do no harm.
 */

#include "core/options/options.h"

#include <stdatomic.h>

struct gate {
    uint32_t         connections_max; /* 0: no bound here */
    uint32_t         greeting_max;
    uint32_t         rate_max; /* 0: no bound */
    _Atomic uint64_t connections;
    _Atomic uint64_t greeting;
    _Atomic uint64_t second_and_count; /* second << 32 | connections in it */
};

void gate_init(struct gate *gate, const struct options_limits *limits);

/*
 * Counts a connection that was accepted now. MQTT_SUCCESS, or what its CONNECT is to be answered
 * with; it counts in either case until gate_leave.
 */
enum mqtt_reason gate_enter(struct gate *gate, uint64_t now_ms);
void             gate_leave(struct gate *gate);

/* A shard has `now` greeting connections and last said `before`. */
void gate_greeting(struct gate *gate, uint64_t before, uint64_t now);
