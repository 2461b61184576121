/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/overflow_trie.h"

#include "core/broker/topic_index.h"
#include "proto/topic.h"
#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static struct filter_node *node_of(struct slice filter)
{
    struct filter_node *node = calloc(1, sizeof(*node) + filter.size);
    cr_assert_not_null(node);
    node->filter_size = (uint16_t)filter.size;
    memcpy(node->filter, filter.data, filter.size);
    return node;
}

static struct slice filter_of(const struct filter_node *node)
{
    return slice_of(node->filter, node->filter_size);
}

Test(overflow_trie, agrees_with_the_plain_matcher_while_filters_come_and_go)
{
    enum { POPULATION = 200 };
    static struct filter_node *nodes[POPULATION];
    static struct filter_node *found[POPULATION];
    static char                text[RANDOM_TOPIC_SIZE];
    const struct topic_style   style = {
          .levels_max = 6, .names = 4, .plus_percent = 30, .multi_percent = 30};
    struct topic_secret  secret;
    struct overflow_trie trie;
    struct random        random = {.state = 11};
    random_secret(&secret, 1);
    overflow_trie_init(&trie, &secret);

    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t at = random_below(&random, POPULATION);
        if (nodes[at] != NULL) {
            overflow_trie_remove(&trie, filter_of(nodes[at]));
            free(nodes[at]);
            nodes[at] = NULL;
        } else {
            struct slice filter = random_levels(&random, &style, true, text);
            bool         present = false;
            for (uint32_t other = 0; other < POPULATION; other++)
                present |= nodes[other] != NULL && slice_equal(filter_of(nodes[other]), filter);
            if (!present) {
                nodes[at] = node_of(filter);
                cr_assert(overflow_trie_insert(&trie, filter, nodes[at]));
            }
        }

        struct slice topic = random_levels(&random, &style, false, text);
        uint32_t     count = overflow_trie_match(&trie, topic, found);
        uint32_t     expected = 0;
        for (uint32_t other = 0; other < POPULATION; other++)
            expected += nodes[other] != NULL && topic_matches(filter_of(nodes[other]), topic);
        cr_assert_eq(count, expected);
        for (uint32_t hit = 0; hit < count; hit++)
            cr_assert(topic_matches(filter_of(found[hit]), topic));
    }

    for (uint32_t at = 0; at < POPULATION; at++) {
        if (nodes[at] != NULL)
            overflow_trie_remove(&trie, filter_of(nodes[at]));
        free(nodes[at]);
    }
    cr_assert_eq(trie.count, 0);
    cr_assert_null(trie.root);
    cr_assert_eq(map_count(&trie.edges), 0);
    overflow_trie_fini(&trie);
}

Test(overflow_trie, walks_the_deepest_filter_without_recursion)
{
    struct topic_secret  secret;
    struct overflow_trie trie;
    struct filter_node  *found[2];
    uint8_t             *filter = malloc(TOPIC_SIZE_MAX);
    random_secret(&secret, 1);
    overflow_trie_init(&trie, &secret);
    memset(filter, '/', TOPIC_SIZE_MAX);
    struct filter_node *node = node_of(slice_text("x"));

    cr_assert(overflow_trie_insert(&trie, slice_of(filter, TOPIC_SIZE_MAX), node));
    cr_assert_eq(overflow_trie_match(&trie, slice_of(filter, TOPIC_SIZE_MAX), found), 1);
    cr_assert_eq(overflow_trie_match(&trie, slice_of(filter, TOPIC_SIZE_MAX - 1), found), 0);
    overflow_trie_remove(&trie, slice_of(filter, TOPIC_SIZE_MAX));

    cr_assert_null(trie.root);
    overflow_trie_fini(&trie);
    free(node);
    free(filter);
}

Test(overflow_trie, gives_its_nodes_back_when_it_goes_with_filters_in_it)
{
    struct topic_secret  secret;
    struct overflow_trie trie;
    random_secret(&secret, 1);
    overflow_trie_init(&trie, &secret);
    struct filter_node *node = node_of(slice_text("a/+/c/#"));
    cr_assert(overflow_trie_insert(&trie, filter_of(node), node));

    overflow_trie_fini(&trie); /* the leak checker looks */
    free(node);
}
