/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/topic_index.h"

#include "proto/topic.h"
#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define MODEL_MAX 4096U

/* The index and a plain list of what must be in it. */
struct model {
    struct topic_secret secret;
    struct topic_index *index;
    struct filter_node *nodes[MODEL_MAX];
    uint32_t            count;
};

static void model_init(struct model *model, uint64_t seed, uint32_t shapes_max)
{
    random_secret(&model->secret, seed);
    model->index = topic_index_create(&model->secret, shapes_max);
    model->count = 0;
    cr_assert_not_null(model->index);
}

static struct slice filter_of(const struct filter_node *node)
{
    return slice_of(node->filter, node->filter_size);
}

static uint32_t model_find(const struct model *model, struct slice filter)
{
    uint32_t at = 0;
    while (at < model->count && !slice_equal(filter_of(model->nodes[at]), filter))
        at++;
    return at;
}

static struct filter_node *model_insert(struct model *model, struct slice filter)
{
    bool                created;
    uint32_t            at = model_find(model, filter);
    struct filter_node *node = topic_index_insert(model->index, filter, &created);
    if (node == NULL)
        return NULL;
    cr_assert_eq(created, at == model->count);
    cr_assert(slice_equal(filter_of(node), filter));
    if (created)
        model->nodes[model->count++] = node;
    else
        cr_assert_eq(node, model->nodes[at]);
    cr_assert_eq(topic_index_find(model->index, filter), node);
    return node;
}

static void model_remove(struct model *model, uint32_t at)
{
    topic_index_remove(model->index, model->nodes[at]);
    model->nodes[at] = model->nodes[--model->count];
}

static void model_clear(struct model *model)
{
    while (model->count > 0)
        model_remove(model, model->count - 1);
    cr_assert_eq(topic_index_filters(model->index), 0);
    cr_assert_eq(topic_index_shapes(model->index), 0);
    topic_index_destroy(model->index);
}

static bool contains(struct filter_node *const *nodes, uint32_t count,
                     const struct filter_node *node)
{
    for (uint32_t at = 0; at < count; at++) {
        if (nodes[at] == node)
            return true;
    }
    return false;
}

static void model_check_answer(const struct model *model, struct slice topic,
                               struct filter_node *const *nodes, uint32_t count)
{
    uint32_t expected = 0;
    for (uint32_t at = 0; at < model->count; at++) {
        if (!topic_matches(filter_of(model->nodes[at]), topic))
            continue;
        expected++;
        cr_assert(contains(nodes, count, model->nodes[at]), "%.*s is missed by %.*s",
                  (int)topic.size, (const char *)topic.data, (int)model->nodes[at]->filter_size,
                  model->nodes[at]->filter);
    }
    cr_assert_eq(count, expected, "%.*s: %u instead of %u", (int)topic.size,
                 (const char *)topic.data, count, expected);
}

static uint32_t model_match(struct model *model, struct slice topic)
{
    uint32_t            count;
    struct topic_hashes hashes;
    topic_hashes_compute(&model->secret, topic, &hashes);
    struct filter_node **nodes = topic_index_match(model->index, topic, &hashes, &count);
    model_check_answer(model, topic, nodes, count);
    return count;
}

static void model_match_batch(struct model *model, struct random *random,
                              const struct topic_style *style)
{
    static char          text[TOPIC_BATCH_MAX][RANDOM_TOPIC_SIZE];
    struct slice         topics[TOPIC_BATCH_MAX];
    struct topic_hashes  hashes[TOPIC_BATCH_MAX];
    struct filter_node **nodes[TOPIC_BATCH_MAX];
    uint32_t             counts[TOPIC_BATCH_MAX];
    uint32_t             topic_count = 1 + random_below(random, TOPIC_BATCH_MAX);
    for (uint32_t at = 0; at < topic_count; at++) {
        topics[at] = random_levels(random, style, false, text[at]);
        topic_hashes_compute(&model->secret, topics[at], &hashes[at]);
    }

    topic_index_match_batch(model->index, topic_count, topics, hashes, nodes, counts);

    for (uint32_t at = 0; at < topic_count; at++)
        model_check_answer(model, topics[at], nodes[at], counts[at]);
}

/* Inserts and removes around `population` filters, and compares with the plain matcher. */
static void churn(uint64_t seed, uint32_t steps, uint32_t population,
                  const struct topic_style *style, uint32_t shapes_max)
{
    static struct model model;
    static char         text[RANDOM_TOPIC_SIZE];
    struct random       random = {.state = seed};
    model_init(&model, seed, shapes_max);

    for (uint32_t step = 0; step < steps; step++) {
        if (model.count > 0 && random_below(&random, 2 * population) < model.count)
            model_remove(&model, random_below(&random, model.count));
        else
            (void)model_insert(&model, random_levels(&random, style, true, text));
        (void)model_match(&model, random_levels(&random, style, false, text));
        if (step % 8 == 0)
            model_match_batch(&model, &random, style);
        cr_assert_eq(topic_index_filters(model.index), model.count);
        cr_assert_leq(topic_index_shapes(model.index), shapes_max);
    }
    model_clear(&model);
}

Test(topic_index, agrees_with_the_plain_matcher_on_few_shapes)
{
    const struct topic_style style = {
        .levels_max = 3, .names = 6, .plus_percent = 20, .multi_percent = 20};
    for (uint64_t seed = 1; seed <= 20; seed++)
        churn(seed, 600, 100, &style, 1000);
}

Test(topic_index, agrees_with_the_plain_matcher_on_hundreds_of_shapes)
{
    const struct topic_style style = {
        .levels_max = 9, .names = 4, .plus_percent = 40, .multi_percent = 30};
    for (uint64_t seed = 1; seed <= 4; seed++)
        churn(seed, 3000, 900, &style, 4096);
}

Test(topic_index, agrees_with_the_plain_matcher_on_filters_too_deep_for_the_table)
{
    const struct topic_style style = {
        .levels_max = 40, .names = 3, .plus_percent = 60, .multi_percent = 40};
    for (uint64_t seed = 1; seed <= 4; seed++)
        churn(seed, 1500, 300, &style, 4096);
}

Test(topic_index, keeps_the_limit_of_shapes)
{
    const struct topic_style style = {
        .levels_max = 9, .names = 4, .plus_percent = 40, .multi_percent = 30};
    for (uint64_t seed = 1; seed <= 4; seed++)
        churn(seed, 1000, 300, &style, 20);
}

Test(topic_index, refuses_a_new_shape_past_the_limit_only)
{
    struct model *model = calloc(1, sizeof(*model));
    model_init(model, 7, 2);
    cr_assert_not_null(model_insert(model, slice_text("a/b")));
    cr_assert(topic_index_shape_is_new(model->index, slice_text("a/+")));
    cr_assert_not_null(model_insert(model, slice_text("a/+")));

    cr_assert_null(model_insert(model, slice_text("a/#")));
    cr_assert_not_null(model_insert(model, slice_text("c/+")));
    cr_assert_not(topic_index_shape_is_new(model->index, slice_text("d/+")));

    model_remove(model, model_find(model, slice_text("a/b")));
    cr_assert_not_null(model_insert(model, slice_text("a/#")));
    model_clear(model);
    free(model);
}

Test(topic_index, keeps_wildcards_away_from_dollar_topics)
{
    struct model *model = calloc(1, sizeof(*model));
    model_init(model, 7, 100);
    static const char *const filters[] = {"#", "+/x", "+/#", "$SYS/#", "$SYS/+", "$SYS/x", "/#"};
    for (size_t at = 0; at < sizeof(filters) / sizeof(filters[0]); at++)
        cr_assert_not_null(model_insert(model, slice_text(filters[at])));

    cr_assert_eq(model_match(model, slice_text("$SYS/x")), 3);
    cr_assert_eq(model_match(model, slice_text("$SYS")), 1);
    cr_assert_eq(model_match(model, slice_text("a/x")), 3);
    cr_assert_eq(model_match(model, slice_text("/x")), 4);
    cr_assert_eq(model_match(model, slice_text("/")), 3);
    model_clear(model);
    free(model);
}

Test(topic_index, matches_the_parent_of_a_multi_level_wildcard)
{
    struct model *model = calloc(1, sizeof(*model));
    model_init(model, 7, 100);
    cr_assert_not_null(model_insert(model, slice_text("a/#")));
    cr_assert_not_null(model_insert(model, slice_text("a/b/#")));

    cr_assert_eq(model_match(model, slice_text("a")), 1);
    cr_assert_eq(model_match(model, slice_text("a/")), 1);
    cr_assert_eq(model_match(model, slice_text("a/b")), 2);
    cr_assert_eq(model_match(model, slice_text("ab")), 0);
    model_clear(model);
    free(model);
}

Test(topic_index, takes_filters_of_two_hundred_levels)
{
    struct model *model = calloc(1, sizeof(*model));
    char          filter[400];
    char          topic[400];
    for (size_t level = 0; level < 200; level++) {
        filter[2 * level] = level % 3 == 0 ? '+' : 'x';
        topic[2 * level] = 'x';
        filter[2 * level + 1] = topic[2 * level + 1] = '/';
    }
    model_init(model, 7, 100);
    cr_assert_not_null(model_insert(model, slice_of(filter, 399)));
    cr_assert_not_null(model_insert(model, slice_of(filter, 2 * 33 - 1)));
    cr_assert_not_null(model_insert(model, slice_of(filter, 2 * 32 - 1)));
    cr_assert_not_null(model_insert(model, slice_text("x/#")));
    cr_assert(filter_node_overflow(model->nodes[0]));
    cr_assert(filter_node_overflow(model->nodes[1]));
    cr_assert_not(filter_node_overflow(model->nodes[2]));

    cr_assert_eq(model_match(model, slice_of(topic, 399)), 2);
    cr_assert_eq(model_match(model, slice_of(topic, 2 * 33 - 1)), 2);
    cr_assert_eq(model_match(model, slice_of(topic, 2 * 32 - 1)), 2);
    cr_assert_eq(model_match(model, slice_of(topic, 2 * 31 - 1)), 1);
    model_clear(model);
    free(model);
}

/* `bits` names a mask of ten levels: bit set, `+`; else x. */
static struct slice mask_filter(uint32_t bits, char *text)
{
    for (uint32_t level = 0; level < 10; level++) {
        text[2 * level] = (bits >> level & 1) != 0 ? '+' : 'x';
        text[2 * level + 1] = '/';
    }
    return slice_of(text, 19);
}

Test(topic_index, holds_more_shapes_than_the_table_has_room_for)
{
    struct model *model = calloc(1, sizeof(*model));
    char          text[32];
    model_init(model, 7, 1024);
    for (uint32_t bits = 0; bits < 1024; bits++)
        cr_assert_not_null(model_insert(model, mask_filter(bits, text)));
    cr_assert_eq(topic_index_shapes(model->index), 1024);

    cr_assert_eq(model_match(model, slice_text("x/x/x/x/x/x/x/x/x/x")), 1024);
    cr_assert_eq(model_match(model, slice_text("x/x/x/x/y/x/x/x/x/x")), 512);
    for (uint32_t bits = 0; bits < 512; bits++)
        model_remove(model, model_find(model, mask_filter(bits, text)));
    cr_assert_eq(model_match(model, slice_text("x/x/x/x/x/x/x/x/x/y")), 512);
    for (uint32_t bits = 0; bits < 512; bits++)
        cr_assert_not_null(model_insert(model, mask_filter(bits, text)));
    cr_assert_eq(model_match(model, slice_text("x/x/x/x/x/x/x/x/x/x")), 1024);
    model_clear(model);
    free(model);
}

static uint64_t walk_count(const struct topic_index *index)
{
    uint64_t cursor = 0;
    uint64_t count = 0;
    while (topic_index_walk(index, &cursor) != NULL)
        count++;
    return count;
}

Test(topic_index, walks_over_every_filter_and_gives_all_memory_back)
{
    struct topic_secret secret;
    random_secret(&secret, 3);
    struct topic_index *index = topic_index_create(&secret, 10);
    size_t              empty = topic_index_bytes(index);
    cr_assert_lt(empty, 64 * 1024);

    char text[64];
    bool created;
    for (uint32_t at = 0; at < 50000; at++) {
        (void)snprintf(text, sizeof(text), "site/%u/device/%u", at % 100, at);
        cr_assert_not_null(topic_index_insert(index, slice_text(text), &created));
    }
    cr_assert_eq(walk_count(index), 50000);
    for (uint32_t at = 0; at < 50000; at++) {
        (void)snprintf(text, sizeof(text), "site/%u/device/%u", at % 100, at);
        topic_index_remove(index, topic_index_find(index, slice_text(text)));
    }

    cr_assert_eq(walk_count(index), 0);
    cr_assert_lt(topic_index_bytes(index), empty + 64 * 1024); /* the board's cells stay */
    topic_index_destroy(index);
}

Test(topic_index, frees_nodes_and_their_subscribers_with_itself)
{
    struct topic_secret secret;
    bool                created;
    random_secret(&secret, 3);
    struct topic_index *index = topic_index_create(&secret, 10);

    struct filter_node *node = topic_index_insert(index, slice_text("a/b"), &created);
    cr_assert_eq(filter_node_subscribers(node), &node->subscribers.one);
    node->subscribers.many = calloc(2, sizeof(struct subscriber));
    node->subscriber_count = 2;
    cr_assert_eq(filter_node_subscribers(node), node->subscribers.many);

    topic_index_destroy(index); /* the leak checker looks */
}
