/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/retained.h"

#include "tests/support/retained_model.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct topic_secret secret;

static struct retained_store *store_of(struct retained_limits limits)
{
    static const uint8_t entropy[32] = "a secret that is always the same";
    topic_secret_init(&secret, entropy, sizeof(entropy));
    struct retained_store *store = retained_create(&secret, &limits, NULL);
    cr_assert_not_null(store);
    return store;
}

static enum retained_outcome put(struct retained_store *store, const char *topic,
                                 uint32_t payload_size)
{
    struct message       *message = model_message(topic, payload_size, 0);
    enum retained_outcome outcome = retained_put(store, message);
    message_release(message, NULL);
    return outcome;
}

static struct message *find(struct retained_store *store, const char *topic)
{
    return retained_find(store, slice_text(topic), 1);
}

/* Walks to the end; returns how many messages came, and counts the steps. */
static uint32_t collect(struct retained_store *store, const char *filter, uint32_t *steps_used)
{
    struct retained_walk walk;
    uint32_t             steps = UINT32_MAX;
    uint32_t             count = 0;

    cr_assert(retained_walk_begin(&walk, store, slice_text(filter)));
    while (retained_walk_next(&walk, 1, &steps) != NULL)
        count++;
    cr_assert(walk.done);
    retained_walk_end(&walk);
    if (steps_used != NULL)
        *steps_used = UINT32_MAX - steps;
    return count;
}

Test(retained, a_message_is_stored_replaced_found_and_cleared)
{
    struct retained_store *store = store_of((struct retained_limits){0});

    cr_assert_eq(put(store, "a/b", 3), RETAINED_STORED);
    cr_assert_eq(find(store, "a/b")->payload_size, 3);
    cr_assert_eq(put(store, "a/b", 5), RETAINED_REPLACED);
    cr_assert_eq(find(store, "a/b")->payload_size, 5);
    cr_assert_eq(retained_count(store), 1);
    cr_assert_eq(retained_bytes(store), 3 + 5);

    cr_assert_null(find(store, "a"));
    cr_assert_null(find(store, "a/b/c"));
    cr_assert_eq(put(store, "a/b", 0), RETAINED_CLEARED);
    cr_assert_eq(put(store, "a/b", 0), RETAINED_ABSENT);
    cr_assert_null(find(store, "a/b"));
    cr_assert_eq(retained_count(store), 0);
    retained_destroy(store);
}

Test(retained, a_full_store_takes_replacements_and_refuses_new_topics)
{
    struct retained_store *store =
        store_of((struct retained_limits){.messages_max = 2, .bytes_max = 20});

    cr_assert_eq(put(store, "a", 4), RETAINED_STORED);
    cr_assert_eq(put(store, "b", 4), RETAINED_STORED);
    cr_assert_eq(put(store, "c", 4), RETAINED_FULL);
    cr_assert_eq(put(store, "a", 14), RETAINED_REPLACED);
    cr_assert_eq(put(store, "a", 15), RETAINED_FULL);
    cr_assert_eq(find(store, "a")->payload_size, 14);
    cr_assert_eq(put(store, "b", 0), RETAINED_CLEARED);
    cr_assert_eq(put(store, "c", 4), RETAINED_STORED);
    cr_assert_eq(put(store, "c/d", 1), RETAINED_FULL);
    retained_destroy(store);
}

Test(retained, expired_messages_are_not_given_out_and_swept)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    struct message        *message = model_message("a/b", 1, 100);
    cr_assert_eq(retained_put(store, message), RETAINED_STORED);
    put(store, "a/c", 1);

    cr_assert_not_null(retained_find(store, slice_text("a/b"), 99));
    cr_assert_null(retained_find(store, slice_text("a/b"), 100));
    struct retained_walk walk;
    uint32_t             steps = 1000;
    cr_assert(retained_walk_begin(&walk, store, slice_text("#")));
    struct message *only = retained_walk_next(&walk, 100, &steps);
    cr_assert(slice_equal(message_topic(only), slice_text("a/c")));
    cr_assert_null(retained_walk_next(&walk, 100, &steps));
    cr_assert(walk.done);
    retained_walk_end(&walk);

    cr_assert_eq(retained_sweep(store, 99, 1000), 0);
    cr_assert_eq(message->references, 2);
    cr_assert_eq(retained_sweep(store, 100, 1000), 1);
    cr_assert_eq(message->references, 1);
    cr_assert_eq(retained_count(store), 1);
    message_release(message, NULL);
    retained_destroy(store);
}

Test(retained, sweeping_a_few_nodes_at_a_time_meets_all)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    char                   topic[32];
    for (unsigned number = 0; number < 100; number++) {
        (void)snprintf(topic, sizeof(topic), "sensor/%u/temperature", number);
        struct message *message = model_message(topic, 1, 50);
        cr_assert_eq(retained_put(store, message), RETAINED_STORED);
        message_release(message, NULL);
    }

    uint32_t dropped = 0;
    for (unsigned turn = 0; turn < 60; turn++)
        dropped += retained_sweep(store, 50, 7);

    cr_assert_eq(dropped, 100);
    cr_assert_eq(retained_count(store), 0);
    retained_destroy(store);
}

Test(retained, a_filter_that_begins_with_a_wildcard_never_meets_dollar_topics)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    put(store, "$SYS", 1);
    put(store, "$SYS/a", 1);
    put(store, "$SYS/a/b", 1);
    put(store, "x/$SYS", 1);

    cr_assert_eq(collect(store, "#", NULL), 1);
    cr_assert_eq(collect(store, "+", NULL), 0);
    cr_assert_eq(collect(store, "+/#", NULL), 1);
    cr_assert_eq(collect(store, "+/a", NULL), 0);
    cr_assert_eq(collect(store, "$SYS/#", NULL), 3);
    cr_assert_eq(collect(store, "$SYS/+", NULL), 1);
    cr_assert_eq(collect(store, "x/+", NULL), 1);
    retained_destroy(store);
}

Test(retained, a_hash_matches_the_level_above_it_too)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    put(store, "a", 1);
    put(store, "a/b", 1);
    put(store, "a/b/c", 1);
    put(store, "ab", 1);

    cr_assert_eq(collect(store, "a/#", NULL), 3);
    cr_assert_eq(collect(store, "a/b/#", NULL), 2);
    cr_assert_eq(collect(store, "+/#", NULL), 4);
    cr_assert_eq(collect(store, "a/b/c/d/#", NULL), 0);
    retained_destroy(store);
}

Test(retained, empty_levels_are_levels)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    put(store, "/", 1);
    put(store, "//", 1);
    put(store, "a/", 1);
    put(store, "/a", 1);

    cr_assert_not_null(find(store, "/"));
    cr_assert_null(find(store, "a"));
    cr_assert_eq(collect(store, "/", NULL), 1);
    cr_assert_eq(collect(store, "+/+", NULL), 3);
    cr_assert_eq(collect(store, "/+", NULL), 2);
    cr_assert_eq(collect(store, "/#", NULL), 3);
    cr_assert_eq(collect(store, "+/", NULL), 2);
    retained_destroy(store);
}

Test(retained, topics_of_200_levels_are_stored_walked_and_cleared)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    char                   topic[400] = {0};
    char                   pluses[400] = {0};
    for (size_t level = 0; level < 200; level++) {
        topic[2 * level] = 'l';
        pluses[2 * level] = '+';
        if (level > 0)
            topic[2 * level - 1] = pluses[2 * level - 1] = '/';
    }

    put(store, topic, 1);
    put(store, "l/l", 1);

    cr_assert_not_null(find(store, topic));
    cr_assert_eq(collect(store, pluses, NULL), 1);
    cr_assert_eq(collect(store, "l/#", NULL), 2);
    cr_assert_eq(put(store, topic, 0), RETAINED_CLEARED);
    cr_assert_eq(collect(store, "#", NULL), 1);
    retained_destroy(store);
}

Test(retained, a_walk_survives_the_removal_of_the_node_it_stands_on)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    const char *const      topics[] = {"a/1", "a/2", "a/3", "a/4"};
    for (size_t at = 0; at < 4; at++)
        put(store, topics[at], 1);
    struct retained_walk walk;
    uint32_t             steps = 1000;
    cr_assert(retained_walk_begin(&walk, store, slice_text("a/+")));
    struct message *first = retained_walk_next(&walk, 1, &steps);
    cr_assert_not_null(first);

    for (size_t at = 0; at < 4; at++)
        put(store, topics[at], 0);
    put(store, "a/5", 1);

    cr_assert_null(retained_walk_next(&walk, 1, &steps));
    cr_assert(walk.done);
    retained_walk_end(&walk);
    retained_walk_end(&walk);
    cr_assert_eq(collect(store, "#", NULL), 1);
    retained_destroy(store);
}

Test(retained, a_walk_of_one_step_at_a_time_gives_everything_once)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    char                   topic[32];
    for (unsigned number = 0; number < 60; number++) {
        (void)snprintf(topic, sizeof(topic), "t/%u/%u", number % 7, number);
        put(store, topic, 1);
    }
    struct retained_walk walk;
    cr_assert(retained_walk_begin(&walk, store, slice_text("t/#")));

    uint32_t given = 0;
    while (!walk.done) {
        uint32_t steps = 1;
        given += retained_walk_next(&walk, 1, &steps) != NULL;
        cr_assert_eq(steps, 0);
    }

    cr_assert_eq(given, 60);
    retained_walk_end(&walk);
    retained_destroy(store);
}

Test(retained, seeded_programs_agree_with_a_plain_list)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model model;
        uint64_t     noise = seed * UINT64_C(0x9e3779b97f4a7c15);
        model_init(&model, (struct retained_limits){.messages_max = seed % 3 == 0 ? 9 : 0,
                                                    .bytes_max = seed % 5 == 0 ? 120 : 0});
        for (unsigned step = 0; step < 600; step++) {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            model_step(&model, (uint8_t)(noise >> 24), (uint8_t)(noise >> 40));
        }
        model_fini(&model);
    }
}

/* Steps, not time: what a look-up touches must not grow with what it does not ask for. */
Test(retained, among_a_million_topics_a_prefix_touches_only_its_own)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    char                   topic[48];
    for (unsigned number = 0; number < 1000000; number++) {
        (void)snprintf(topic, sizeof(topic), "site/%u/dev%u", number / 100, number);
        cr_assert_eq(put(store, topic, 1), RETAINED_STORED);
    }
    cr_assert_eq(retained_count(store), 1000000);

    uint32_t steps;
    cr_assert_eq(collect(store, "site/4321/dev432100", &steps), 1);
    cr_assert_leq(steps, 8);
    cr_assert_eq(collect(store, "site/4321/#", &steps), 100);
    cr_assert_leq(steps, 300);
    cr_assert_eq(collect(store, "site/4321/+", &steps), 100);
    cr_assert_leq(steps, 300);
    cr_assert_eq(collect(store, "nowhere/#", &steps), 0);
    cr_assert_leq(steps, 4);
    cr_assert_eq(collect(store, "site/+/dev432100", &steps), 1);
    cr_assert_leq(steps, 30010);
    retained_destroy(store);
}

Test(retained, a_topic_costs_about_a_hundred_bytes_besides_its_message)
{
    struct retained_store *store = store_of((struct retained_limits){0});
    char                   topic[48];
    for (unsigned number = 0; number < 200000; number++) {
        (void)snprintf(topic, sizeof(topic), "device/%u/status",
                       number); /* two levels of its own */
        put(store, topic, 1);
    }

    cr_assert_lt(retained_memory(store) / 200000, 110);
    retained_destroy(store);
}
