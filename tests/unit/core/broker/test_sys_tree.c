/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sys_tree.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

/* What one walk handed out: the value of `wanted`, or NULL when it was not among it. */
static const char *published(struct sys_tree *tree, const char *wanted)
{
    static char  text[64];
    const char  *found = NULL;
    uint32_t     cursor = 0;
    struct slice topic;
    struct slice value;

    while (sys_tree_next(tree, &cursor, &topic, &value)) {
        if (!slice_equal(topic, slice_text(wanted)))
            continue;
        (void)snprintf(text, sizeof(text), "%.*s", (int)value.size, (const char *)value.data);
        found = text;
    }
    return found;
}

static uint32_t published_count(struct sys_tree *tree)
{
    uint32_t     count = 0;
    uint32_t     cursor = 0;
    struct slice topic;
    struct slice value;

    while (sys_tree_next(tree, &cursor, &topic, &value))
        count++;
    return count;
}

static struct sys_tree *tree_of(uint16_t shard_count)
{
    struct sys_tree *tree = sys_tree_create(shard_count, "shardmq 0.1.0");
    cr_assert_not_null(tree);
    return tree;
}

static void update(struct sys_tree *tree, const struct statistics *shards, uint64_t uptime_s,
                   uint64_t elapsed_ms)
{
    struct sys_tree_input input = {
        .shards = shards, .uptime_s = uptime_s, .elapsed_ms = elapsed_ms};
    sys_tree_update(tree, &input);
}

static void assert_value(const struct statistics *shards, const char *topic, const char *value)
{
    struct sys_tree *fresh = tree_of(2);
    update(fresh, shards, 7, 0);
    const char *text = published(fresh, topic);
    cr_assert_not_null(text, "%s", topic);
    cr_assert_str_eq(text, value, "%s: %s", topic, text);
    sys_tree_destroy(fresh);
}

Test(sys_tree, values_are_sums_over_the_shards_under_the_common_names)
{
    const struct statistics shards[2] = {
        {.sessions = 5,
         .sessions_offline = 2,
         .sessions_expired = 1,
         .packets_in = 10,
         .packets_out = 20,
         .inflight_messages = 3,
         .queued_messages = 4,
         .retained_messages = 6,
         .retained_bytes = 60,
         .queued_bytes = 40,
         .bytes_in = 1000,
         .bytes_out = 2000,
         .publish_in = 7,
         .publish_out = 8,
         .publish_bytes_in = 70,
         .publish_bytes_out = 80,
         .subscriptions = 9,
         .shared_subscriptions = 2,
         .connections_accepted = 11,
         .drops = {[DROP_EXPIRED] = 3}},
        {.sessions = 1, .packets_in = 1, .drops = {[DROP_QUEUE_FULL] = 2}},
    };
    const char *const expected[][2] = {
        {"$SYS/broker/version", "shardmq 0.1.0"},
        {"$SYS/broker/uptime", "7 seconds"},
        {"$SYS/broker/clients/total", "6"},
        {"$SYS/broker/clients/maximum", "6"},
        {"$SYS/broker/clients/active", "4"},
        {"$SYS/broker/clients/connected", "4"},
        {"$SYS/broker/clients/inactive", "2"},
        {"$SYS/broker/clients/disconnected", "2"},
        {"$SYS/broker/clients/expired", "1"},
        {"$SYS/broker/messages/received", "11"},
        {"$SYS/broker/messages/sent", "20"},
        {"$SYS/broker/messages/inflight", "3"},
        {"$SYS/broker/messages/stored", "10"},
        {"$SYS/broker/store/messages/count", "10"},
        {"$SYS/broker/store/messages/bytes", "100"},
        {"$SYS/broker/bytes/received", "1000"},
        {"$SYS/broker/bytes/sent", "2000"},
        {"$SYS/broker/publish/messages/received", "7"},
        {"$SYS/broker/publish/messages/sent", "8"},
        {"$SYS/broker/publish/messages/dropped", "5"},
        {"$SYS/broker/publish/bytes/received", "70"},
        {"$SYS/broker/publish/bytes/sent", "80"},
        {"$SYS/broker/subscriptions/count", "9"},
        {"$SYS/broker/shared_subscriptions/count", "2"},
        {"$SYS/broker/retained messages/count", "6"},
        {"$SYS/broker/connections/socket/count", "11"},
        {"$SYS/broker/drops/expired", "3"},
        {"$SYS/broker/drops/queue_full", "2"},
        {"$SYS/broker/load/messages/received/1min", "0.00"},
        {"$SYS/broker/load/connections/15min", "0.00"},
        {"$SYS/broker/shards/count", "2"},
        {"$SYS/broker/shards/0/sessions/count", "5"},
        {"$SYS/broker/shards/1/sessions/count", "1"},
        {"$SYS/broker/shards/1/bytes/sent", "0"},
    };

    for (size_t at = 0; at < sizeof(expected) / sizeof(expected[0]); at++)
        assert_value(shards, expected[at][0], expected[at][1]);
}

Test(sys_tree, only_what_has_changed_is_handed_out_again)
{
    struct sys_tree  *tree = tree_of(1);
    struct statistics shard = {0};

    update(tree, &shard, 0, 0);
    cr_assert_gt(published_count(tree), 60);
    cr_assert_eq(published_count(tree), 0);

    update(tree, &shard, 10, 10000);
    cr_assert_eq(published_count(tree), 1); /* the uptime */

    shard.subscriptions = 1;
    update(tree, &shard, 10, 10000);
    cr_assert_eq(published_count(tree), 2); /* in all, and of shard 0 */
    sys_tree_destroy(tree);
}

Test(sys_tree, a_walk_goes_on_where_it_stopped)
{
    struct sys_tree  *tree = tree_of(1);
    struct statistics shard = {0};
    struct slice      topic;
    struct slice      value;
    uint32_t          cursor = 0;

    update(tree, &shard, 0, 0);
    cr_assert(sys_tree_next(tree, &cursor, &topic, &value));
    cr_assert(slice_equal(topic, slice_text("$SYS/broker/version")));
    cr_assert(sys_tree_next(tree, &cursor, &topic, &value));
    cr_assert(slice_equal(topic, slice_text("$SYS/broker/uptime")));
    sys_tree_destroy(tree);
}

/* A steady 600 a minute for a minute: the averages know 1 - e^-1, 1 - e^-1/5, 1 - e^-1/15 of it. */
Test(sys_tree, loads_are_exponential_averages_a_minute)
{
    struct sys_tree  *tree = tree_of(1);
    struct statistics shard = {0};
    update(tree, &shard, 0, 0);
    (void)published_count(tree);

    for (uint64_t interval = 1; interval <= 6; interval++) {
        shard.packets_in += 100;
        shard.publish_in += 100;
        update(tree, &shard, interval * 10, 10000);
    }

    char         one[64];
    const double spans[] = {60, 300, 900};
    const char  *names[] = {"1min", "5min", "15min"};
    uint32_t     cursor = 0;
    unsigned     met = 0;
    struct slice topic;
    struct slice value;
    while (sys_tree_next(tree, &cursor, &topic, &value)) {
        for (size_t span = 0; span < 3; span++) {
            (void)snprintf(one, sizeof(one), "$SYS/broker/load/messages/received/%s", names[span]);
            if (!slice_equal(topic, slice_text(one)))
                continue;
            char wanted[32];
            (void)snprintf(wanted, sizeof(wanted), "%.2f", 600 * (1 - exp(-60 / spans[span])));
            cr_assert(slice_equal(value, slice_text(wanted)), "%.*s", (int)value.size,
                      (const char *)value.data);
            met++;
        }
    }
    cr_assert_eq(met, 3);
    sys_tree_destroy(tree);
}

Test(sys_tree, the_largest_number_of_clients_is_remembered)
{
    struct sys_tree  *tree = tree_of(1);
    struct statistics shard = {.sessions = 9};

    update(tree, &shard, 0, 0);
    (void)published_count(tree);
    shard.sessions = 4;
    update(tree, &shard, 1, 1000);
    cr_assert_null(published(tree, "$SYS/broker/clients/maximum"));
    shard.sessions = 12;
    update(tree, &shard, 2, 1000);
    cr_assert_str_eq(published(tree, "$SYS/broker/clients/maximum"), "12");
    sys_tree_destroy(tree);
}

Test(sys_tree, the_heap_is_shown_when_it_is_known)
{
    struct sys_tree      *tree = tree_of(1);
    struct statistics     shard = {0};
    struct sys_tree_input input = {.shards = &shard};

    sys_tree_update(tree, &input);
    cr_assert_null(published(tree, "$SYS/broker/heap/current"));
    input.heap_bytes = 4096;
    sys_tree_update(tree, &input);
    cr_assert_str_eq(published(tree, "$SYS/broker/heap/current"), "4096");
    sys_tree_destroy(tree);
}
