/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/gate.h"

void gate_init(struct gate *gate, const struct options_limits *limits)
{
    *gate = (struct gate){
        .connections_max = limits->connections_max,
        .greeting_max = limits->unauthenticated_connections_max,
        .rate_max = limits->connection_rate_max,
    };
}

static bool within_rate(struct gate *gate, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000 & UINT32_MAX;
    uint64_t seen = atomic_load_explicit(&gate->second_and_count, memory_order_relaxed);
    uint64_t next;
    do {
        /* Clocks are read once a turn, so a sibling may still be in the second before. */
        next = seen >> 32 >= second ? seen + 1 : second << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(&gate->second_and_count, &seen, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return (next & UINT32_MAX) <= gate->rate_max;
}

enum mqtt_reason gate_enter(struct gate *gate, uint64_t now_ms)
{
    uint64_t before = atomic_fetch_add_explicit(&gate->connections, 1, memory_order_relaxed);

    if (gate->connections_max != 0 && before >= gate->connections_max)
        return MQTT_QUOTA_EXCEEDED;
    if (atomic_load_explicit(&gate->greeting, memory_order_relaxed) >= gate->greeting_max)
        return MQTT_SERVER_BUSY;
    if (gate->rate_max != 0 && !within_rate(gate, now_ms))
        return MQTT_CONNECTION_RATE_EXCEEDED;
    return MQTT_SUCCESS;
}

void gate_leave(struct gate *gate)
{
    atomic_fetch_sub_explicit(&gate->connections, 1, memory_order_relaxed);
}

void gate_greeting(struct gate *gate, uint64_t before, uint64_t now)
{
    /* Unsigned: less than before wraps to the right difference. */
    if (now != before)
        atomic_fetch_add_explicit(&gate->greeting, now - before, memory_order_relaxed);
}
