/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/map.h"

#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <stdlib.h>

struct item {
    uint32_t number; /* the key */
    bool     present;
    bool     seen;
};

/* A weak hash on purpose: `mask` makes collisions. */
struct hashing {
    uint64_t mask;
};

static uint64_t hash_of_number(const struct hashing *hashing, uint32_t number)
{
    uint64_t hash = (number + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return (hash ^ hash >> 32) & hashing->mask;
}

static struct slice key_of(const void *value)
{
    return slice_of(&((const struct item *)value)->number, sizeof(uint32_t));
}

static uint64_t hash_of(const void *context, const void *value)
{
    return hash_of_number(context, ((const struct item *)value)->number);
}

static const struct map_type type = {.key_of = key_of, .hash_of = hash_of};

static struct item *find(const struct map *map, const struct hashing *hashing, uint32_t number)
{
    return map_find(map, hash_of_number(hashing, number), slice_of(&number, sizeof(number)));
}

static void churn(uint64_t mask, uint32_t population, uint32_t steps)
{
    struct hashing hashing = {.mask = mask};
    struct random  random = {.state = 21};
    struct item   *items = calloc(population, sizeof(*items));
    struct map     map;
    uint64_t       count = 0;
    map_init(&map, &type, &hashing);
    for (uint32_t at = 0; at < population; at++)
        items[at].number = at;

    for (uint32_t step = 0; step < steps; step++) {
        /* Mostly in, then mostly out, then in again. */
        bool         wanted = (step / population / 2) % 2 == 0;
        struct item *item = &items[random_below(&random, population)];
        uint64_t     hash = hash_of_number(&hashing, item->number);
        cr_assert_eq(find(&map, &hashing, item->number), item->present ? item : NULL);
        if (item->present && (!wanted || random_below(&random, 4) == 0)) {
            map_remove(&map, hash, item);
            item->present = false;
            count--;
        } else if (!item->present && (wanted || random_below(&random, 4) == 0)) {
            cr_assert(map_insert(&map, hash, item));
            item->present = true;
            count++;
        }
        cr_assert_eq(map_count(&map), count);
    }

    uint64_t     cursor = 0;
    uint64_t     walked = 0;
    struct item *item;
    while ((item = map_walk(&map, &cursor)) != NULL) {
        cr_assert(item->present);
        cr_assert_not(item->seen);
        item->seen = true;
        walked++;
        if (walked % 2 == 0) {
            map_remove(&map, hash_of_number(&hashing, item->number), item);
            item->present = false;
        }
    }
    cr_assert_eq(walked, count);
    for (uint32_t at = 0; at < population; at++) {
        if (items[at].present)
            map_remove(&map, hash_of_number(&hashing, at), &items[at]);
    }
    cr_assert_eq(map_count(&map), 0);
    cr_assert_eq(map_bytes(&map), 0);
    map_fini(&map);
    free(items);
}

Test(map, agrees_with_a_plain_array_while_values_come_and_go)
{
    churn(UINT64_MAX, 10, 2000);
    churn(UINT64_MAX, 1000, 50000);
    churn(UINT64_MAX, 30000, 400000);
}

Test(map, survives_hashes_that_differ_in_few_bits)
{
    churn(UINT64_C(0xff), 1000, 20000);
    churn(UINT64_C(0xff00000000000000), 1000, 20000);
    churn(UINT64_C(0x0000000f00000000), 800, 20000);
    churn(0, 100, 3000);
}

Test(map, finds_nothing_in_an_empty_map)
{
    struct hashing hashing = {.mask = UINT64_MAX};
    struct map     map;
    uint64_t       cursor = 0;
    map_init(&map, &type, &hashing);
    cr_assert_null(find(&map, &hashing, 1));
    cr_assert_null(map_walk(&map, &cursor));
    cr_assert_null(map_walk(&map, &cursor));
    map_fini(&map);
}

Test(map, costs_about_twelve_bytes_a_value)
{
    struct hashing hashing = {.mask = UINT64_MAX};
    uint32_t       population = 200000;
    struct item   *items = calloc(population, sizeof(*items));
    struct map     map;
    map_init(&map, &type, &hashing);
    for (uint32_t at = 0; at < population; at++) {
        items[at].number = at;
        cr_assert(map_insert(&map, hash_of_number(&hashing, at), &items[at]));
        if (at > 10000)
            cr_assert_lt(map_bytes(&map), (at + UINT64_C(1)) * 16);
    }
    cr_assert_lt(map_bytes(&map), population * UINT64_C(14));
    map_fini(&map);
    free(items);
}
