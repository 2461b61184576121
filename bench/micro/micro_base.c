/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What the structures of core/base cost: nanoseconds an operation, median of five rounds.
 *
 *     shardmq-micro-base
 */

#include "bench/micro/micro.h"
#include "core/base/map.h"
#include "core/base/pool.h"
#include "core/base/timer_wheel.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 5

static int compare_doubles(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return (first > second) - (first < second);
}

/* The median time of `operation`, which is done `count` times by one call. */
static void report(const char *name, uint32_t count, void (*operation)(uint32_t count))
{
    double ns[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begin = now_ns();
        operation(count);
        ns[round] = (double)(now_ns() - begin) / count;
    }
    qsort(ns, ROUNDS, sizeof(ns[0]), compare_doubles);
    printf("%-44s %8u %8.1f\n", name, count, ns[ROUNDS / 2]);
}

struct connection {
    struct alarm alarm;
    char         rest[240]; /* so that alarms lie as far apart as in the broker */
};

static struct timer_wheel *wheel;
static struct connection  *connections;
static uint64_t            now_ms;
static uint64_t            rings;

static void ring_again(struct alarm *alarm, void *context, uint64_t now)
{
    (void)context;
    rings++;
    timer_wheel_arm(wheel, alarm, now + 60000);
}

static void arm(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++)
        timer_wheel_arm(wheel, &connections[at].alarm, now_ms + 1 + number_below(1, at, 60000));
}

static void disarm_and_arm(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++) {
        uint32_t which = number_below(2, at, count);
        timer_wheel_disarm(wheel, &connections[which].alarm);
        timer_wheel_arm(wheel, &connections[which].alarm, now_ms + 1 + which % 60000);
    }
}

/* A minute: each alarm rings once, and is armed anew. */
static void ring_all(uint32_t count)
{
    (void)count;
    for (uint64_t end = now_ms + 60000; now_ms < end; now_ms += 1)
        (void)timer_wheel_advance(wheel, now_ms, UINT32_MAX);
}

static void measure_wheel(uint32_t count)
{
    now_ms = 1000;
    wheel = timer_wheel_create(now_ms);
    connections = calloc(count, sizeof(*connections));
    if (wheel == NULL || connections == NULL)
        abort();
    timer_wheel_handle(wheel, 0, ring_again, NULL);
    for (uint32_t at = 0; at < count; at++)
        alarm_init(&connections[at].alarm, 0);
    report("timer wheel: arm again, in order", count, arm);
    report("timer wheel: disarm and arm, at random", count, disarm_and_arm);
    report("timer wheel: ring and arm again, cascades too", count, ring_all);
    timer_wheel_destroy(wheel);
    free(connections);
}

static struct pool   *pool;
static struct handle *handles;

static void take_and_give(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++) {
        uint32_t which = number_below(3, at, count);
        pool_give(pool, handles[which]);
        if (pool_take(pool, &handles[which]) == NULL)
            abort();
    }
}

static void get(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++)
        rings += *(const uint8_t *)pool_get(pool, handles[number_below(4, at, count)]);
}

static void measure_pool(uint32_t count)
{
    pool = pool_create(256, count);
    handles = calloc(count, sizeof(*handles));
    if (pool == NULL || handles == NULL)
        abort();
    for (uint32_t at = 0; at < count; at++) {
        if (pool_take(pool, &handles[at]) == NULL)
            abort();
    }
    report("pool: give and take 256 bytes, at random", count, take_and_give);
    report("pool: get, at random", count, get);
    pool_destroy(pool);
    free(handles);
}

static struct map map;
static uint64_t  *values;

static struct slice key_of(const void *value)
{
    return slice_of(value, sizeof(uint64_t));
}

static uint64_t hash_of(const void *context, const void *value)
{
    (void)context;
    return *(const uint64_t *)value;
}

static const struct map_type map_type = {.key_of = key_of, .hash_of = hash_of};

static void find(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++) {
        const uint64_t *value = &values[number_below(5, at, count)];
        rings += map_find(&map, *value, key_of(value)) == value;
    }
}

static void remove_and_insert(uint32_t count)
{
    for (uint32_t at = 0; at < count; at++) {
        uint64_t *value = &values[number_below(6, at, count)];
        map_remove(&map, *value, value);
        if (!map_insert(&map, *value, value))
            abort();
    }
}

static void measure_map(uint32_t count)
{
    uint64_t overhead_ns = ran_ns_overhead();
    uint64_t longest_ns = 0;
    map_init(&map, &map_type, NULL);
    values = malloc(count * sizeof(*values));
    if (values == NULL)
        abort();
    for (uint32_t at = 0; at < count; at++) {
        values[at] = number_at(7, at);
        uint64_t begin = ran_ns();
        if (!map_insert(&map, values[at], &values[at]))
            abort();
        uint64_t ns = ran_ns() - begin;
        longest_ns = ns > longest_ns ? ns : longest_ns;
    }
    report("map: find, at random", count, find);
    report("map: remove and insert, at random", count, remove_and_insert);
    printf("%-44s %8u %8.1f\n", "map: bytes a value", count, (double)map_bytes(&map) / count);
    printf("%-44s %8u %8.0f\n", "map: longest insertion", count,
           (double)(longest_ns - overhead_ns));
    map_fini(&map);
    free(values);
}

int main(void)
{
    static const uint32_t counts[] = {1000, 100000, 1000000};
    printf("%-44s %8s %8s\n", "", "count", "ns");
    for (size_t at = 0; at < sizeof(counts) / sizeof(counts[0]); at++) {
        measure_wheel(counts[at]);
        measure_pool(counts[at]);
        measure_map(counts[at]);
    }
    return rings == 0;
}
