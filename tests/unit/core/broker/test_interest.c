/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/interest.h"

#include "proto/topic.h"
#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static void collect_garbage(struct interest_table *table, uint16_t shard_count)
{
    for (uint16_t home = 0; home < shard_count; home++)
        interest_free_garbage(interest_take_garbage(table, home));
}

static struct shard_set match(const struct interest_table *table, const struct topic_secret *secret,
                              struct slice topic)
{
    struct topic_hashes hashes;
    struct shard_set    set = {0};
    topic_hashes_compute(secret, topic, &hashes);
    interest_match(table, &hashes, &set);
    return set;
}

static void add(struct interest_table *table, const char *filter, uint16_t shard)
{
    struct interest_key key;
    interest_key_of(table, slice_text(filter), &key);
    cr_assert(interest_add(table, &key, shard));
}

static void take(struct interest_table *table, const char *filter, uint16_t shard)
{
    struct interest_key key;
    interest_key_of(table, slice_text(filter), &key);
    interest_remove(table, &key, shard);
}

Test(interest, names_each_shard_with_a_matching_filter)
{
    struct topic_secret secret;
    random_secret(&secret, 1);
    struct interest_table *table = interest_create(&secret, 4);
    add(table, "a/+", 1);
    add(table, "a/b", 3);
    add(table, "a/c", 2);
    add(table, "#", 0);

    struct shard_set set = match(table, &secret, slice_text("a/b"));

    cr_assert_eq(set.words[0], 0xb);
    cr_assert_eq(match(table, &secret, slice_text("$SYS/b")).words[0], 0);
    interest_destroy(table);
}

Test(interest, adding_twice_and_removing_once_leaves_nothing)
{
    static const uint16_t shard_counts[] = {1, 4, 16, 17, 256};
    for (size_t at = 0; at < sizeof(shard_counts) / sizeof(shard_counts[0]); at++) {
        struct topic_secret secret;
        uint16_t            last = (uint16_t)(shard_counts[at] - 1);
        random_secret(&secret, 1);
        struct interest_table *table = interest_create(&secret, shard_counts[at]);
        char                   deep[] = "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/"
                                        "23/24/25/26/27/28/29/30/31/32/33/34";

        add(table, "a/+", last);
        add(table, "a/+", last);
        add(table, deep, last);
        add(table, deep, last);
        cr_assert_eq(interest_filters(table), 2);
        take(table, "a/+", last);
        struct shard_set set = match(table, &secret, slice_text(deep));
        cr_assert(shard_set_has(&set, last));
        take(table, deep, last);
        take(table, deep, last);
        take(table, "a/+", last);

        set = match(table, &secret, slice_text("a/b"));
        cr_assert(shard_set_empty(&set));
        cr_assert_eq(interest_filters(table), 0);
        interest_destroy(table);
    }
}

#define POPULATION 1500U

struct entry {
    struct interest_key key;
    uint16_t            shard;
    bool                alive;
    char                filter[RANDOM_TOPIC_SIZE];
    uint32_t            filter_size;
};

/* False when this filter of this shard is announced already (its shard would not do it twice). */
static bool is_new(const struct entry *entries, struct slice filter, uint16_t shard)
{
    for (uint32_t at = 0; at < POPULATION; at++) {
        if (entries[at].alive && entries[at].shard == shard &&
            slice_equal(slice_of(entries[at].filter, entries[at].filter_size), filter))
            return false;
    }
    return true;
}

static void check(const struct entry *entries, struct slice topic, const struct shard_set *set)
{
    for (uint32_t at = 0; at < POPULATION; at++) {
        struct slice filter = slice_of(entries[at].filter, entries[at].filter_size);
        if (entries[at].alive && topic_matches(filter, topic))
            cr_assert(shard_set_has(set, entries[at].shard), "%.*s misses %.*s", (int)topic.size,
                      (const char *)topic.data, (int)filter.size, (const char *)filter.data);
    }
}

static void churn(uint64_t seed, uint16_t shard_count, uint32_t steps,
                  const struct topic_style *style)
{
    struct entry       *entries = calloc(POPULATION, sizeof(*entries));
    struct topic_secret secret;
    struct random       random = {.state = seed};
    static char         text[RANDOM_TOPIC_SIZE];
    random_secret(&secret, seed);
    struct interest_table *table = interest_create(&secret, shard_count);

    for (uint32_t step = 0; step < steps; step++) {
        struct entry *entry = &entries[random_below(&random, POPULATION)];
        if (entry->alive) {
            interest_remove(table, &entry->key, entry->shard);
            entry->alive = false;
        } else {
            struct slice filter = random_levels(&random, style, true, text);
            uint16_t     shard = (uint16_t)random_below(&random, shard_count);
            if (is_new(entries, filter, shard)) {
                entry->shard = shard;
                entry->filter_size = filter.size;
                memcpy(entry->filter, filter.data, filter.size);
                interest_key_of(table, filter, &entry->key);
                cr_assert(interest_add(table, &entry->key, shard));
                entry->alive = true;
            }
        }
        struct slice     topic = random_levels(&random, style, false, text);
        struct shard_set set = match(table, &secret, topic);
        check(entries, topic, &set);
        if (step % 64 == 0)
            collect_garbage(table, shard_count);
    }

    for (uint32_t at = 0; at < POPULATION; at++) {
        if (entries[at].alive)
            interest_remove(table, &entries[at].key, entries[at].shard);
    }
    cr_assert_eq(interest_filters(table), 0);
    struct shard_set set = match(table, &secret, slice_text("a/b"));
    cr_assert(shard_set_empty(&set));
    interest_destroy(table);
    free(entries);
}

Test(interest, never_misses_while_filters_come_and_go)
{
    const struct topic_style style = {
        .levels_max = 4, .names = 6, .plus_percent = 20, .multi_percent = 20};
    churn(1, 1, 10000, &style);
    churn(2, 4, 10000, &style);
    churn(3, 16, 10000, &style);
}

Test(interest, never_misses_with_more_shards_than_a_word_has_bits)
{
    const struct topic_style style = {
        .levels_max = 3, .names = 4, .plus_percent = 20, .multi_percent = 20};
    churn(1, 17, 10000, &style);
    churn(2, 256, 10000, &style);
}

Test(interest, never_misses_with_more_shapes_than_fit)
{
    const struct topic_style style = {
        .levels_max = 10, .names = 3, .plus_percent = 40, .multi_percent = 30};
    churn(1, 3, 10000, &style);
    const struct topic_style deep = {
        .levels_max = 40, .names = 3, .plus_percent = 50, .multi_percent = 40};
    churn(2, 3, 6000, &deep);
}

Test(interest, answers_a_batch_as_one_by_one)
{
    const struct topic_style style = {
        .levels_max = 4, .names = 6, .plus_percent = 30, .multi_percent = 20};
    static char         text[RANDOM_TOPIC_SIZE];
    struct topic_secret secret;
    struct random       random = {.state = 9};
    random_secret(&secret, 1);
    struct interest_table *table = interest_create(&secret, 8);
    for (uint32_t at = 0; at < 500; at++) {
        struct interest_key key;
        interest_key_of(table, random_levels(&random, &style, true, text), &key);
        cr_assert(interest_add(table, &key, (uint16_t)random_below(&random, 8)));
    }

    for (uint32_t round = 0; round < 200; round++) {
        struct topic_hashes hashes[8];
        struct shard_set    sets[8] = {0};
        for (uint32_t at = 0; at < 8; at++)
            topic_hashes_compute(&secret, random_levels(&random, &style, false, text), &hashes[at]);
        interest_match_batch(table, 8, hashes, sets);
        for (uint32_t at = 0; at < 8; at++) {
            struct shard_set set = {0};
            interest_match(table, &hashes[at], &set);
            cr_assert_arr_eq(&set, &sets[at], sizeof(set));
        }
    }
    interest_destroy(table);
}

Test(interest, costs_about_twelve_bytes_a_filter_and_gives_them_back)
{
    struct topic_secret secret;
    char                text[64];
    random_secret(&secret, 1);
    struct interest_table *table = interest_create(&secret, 4);
    for (uint32_t at = 0; at < 100000; at++) {
        (void)snprintf(text, sizeof(text), "device/%u/state", at);
        add(table, text, (uint16_t)(at % 4));
        collect_garbage(table, 4);
    }

    cr_assert_eq(interest_filters(table), 100000);
    cr_assert_lt(interest_bytes(table), 100000 * 14);

    for (uint32_t at = 0; at < 100000; at++) {
        (void)snprintf(text, sizeof(text), "device/%u/state", at);
        take(table, text, (uint16_t)(at % 4));
    }
    collect_garbage(table, 4);
    cr_assert_eq(interest_filters(table), 0);
    cr_assert_lt(interest_bytes(table), 64 * 1024);
    interest_destroy(table);
}

/*
 * One writer a home churns while readers look for filters that are there all the time. The thread
 * sanitizer build runs this, too.
 */
#define STABLE     400U
#define CHURNED    20000U
#define HOMES      2U
#define READERS    2U
#define STAGE_TEXT 64U

struct stage {
    struct topic_secret    secret;
    struct interest_table *table;
    atomic_bool            done;
    atomic_uint            missed;
    atomic_uint            rounds;
};

struct home_writer {
    struct stage *stage;
    uint16_t      home;
};

/* More than eight shapes, so that pruning takes part. */
static struct slice stage_filter(uint32_t number, bool stable, char *text)
{
    static const char *const before[] = {"W", "+", "W", "W",   "W", "W",
                                         "W", "W", "W", "W/+", "+", "W"};
    static const char *const after[] = {"/x/y",   "/x/W", "/+/y", "/x/+", "/#",   "/x/#",
                                        "/x/y/#", "/+/+", "/+/#", "/y",   "/+/W", "/+/y/#"};
    const char              *word = stable ? "stable" : "churned";
    const char              *form = before[number % 12];
    size_t                   size = 0;
    for (uint32_t part = 0; part < 2; part++, form = after[number % 12]) {
        for (; *form != '\0'; form++) {
            if (*form == 'W')
                size += (size_t)snprintf(text + size, STAGE_TEXT - size, "%s", word);
            else
                text[size++] = *form;
        }
        if (part == 0)
            size += (size_t)snprintf(text + size, STAGE_TEXT - size, "/%u", number);
    }
    return slice_of(text, size);
}

static void *write_home(void *argument)
{
    const struct home_writer *writer = argument;
    struct stage             *stage = writer->stage;
    struct random             random = {.state = 77U + writer->home};
    bool                     *present = calloc(CHURNED, sizeof(*present));
    char                      text[64];
    for (uint32_t step = 0; step < 60000; step++) {
        /* Waves, so that tables grow, empty and are cleaned. */
        uint32_t            range = step / 10000 % 2 == 0 ? CHURNED : 500;
        uint32_t            number = random_below(&random, range);
        struct interest_key key;
        interest_key_of(stage->table, stage_filter(number, false, text), &key);
        if (key.home != writer->home)
            continue;
        if (present[number])
            interest_remove(stage->table, &key, 1);
        else if (!interest_add(stage->table, &key, 1))
            atomic_fetch_add(&stage->missed, 1);
        present[number] = !present[number];
    }
    free(present);
    return NULL;
}

static void *read_all(void *argument)
{
    struct stage *stage = argument;
    char          text[64];
    while (!atomic_load(&stage->done)) {
        for (uint32_t number = 0; number < STABLE; number++) {
            struct topic_hashes hashes;
            struct shard_set    set = {0};
            int                 size;
            if (number % 12 == 1 || number % 12 == 10)
                size = snprintf(text, sizeof(text), "any/%u/x/stable", number);
            else if (number % 12 == 9)
                size = snprintf(text, sizeof(text), "stable/any/%u/y", number);
            else
                size = snprintf(text, sizeof(text), "stable/%u/x/y", number);
            topic_hashes_compute(&stage->secret, slice_of(text, (size_t)size), &hashes);
            interest_match(stage->table, &hashes, &set);
            if (!shard_set_has(&set, 0))
                atomic_fetch_add(&stage->missed, 1);
        }
        atomic_fetch_add(&stage->rounds, 1);
    }
    return NULL;
}

Test(interest, readers_never_miss_what_is_there_while_others_write)
{
    static struct stage stage;
    struct home_writer  writers[HOMES];
    pthread_t           threads[HOMES + READERS];
    char                text[64];
    random_secret(&stage.secret, 1);
    stage.table = interest_create(&stage.secret, HOMES);
    for (uint32_t number = 0; number < STABLE; number++) {
        struct interest_key key;
        interest_key_of(stage.table, stage_filter(number, true, text), &key);
        cr_assert(interest_add(stage.table, &key, 0));
    }

    for (uint32_t at = 0; at < READERS; at++)
        cr_assert_eq(pthread_create(&threads[HOMES + at], NULL, read_all, &stage), 0);
    for (uint16_t home = 0; home < HOMES; home++) {
        writers[home] = (struct home_writer){.stage = &stage, .home = home};
        cr_assert_eq(pthread_create(&threads[home], NULL, write_home, &writers[home]), 0);
    }
    for (uint32_t at = 0; at < HOMES; at++)
        cr_assert_eq(pthread_join(threads[at], NULL), 0);
    atomic_store(&stage.done, true);
    for (uint32_t at = 0; at < READERS; at++)
        cr_assert_eq(pthread_join(threads[HOMES + at], NULL), 0);

    cr_assert_eq(atomic_load(&stage.missed), 0);
    cr_assert_gt(atomic_load(&stage.rounds), 0);
    interest_destroy(stage.table);
}
