/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/aliases.h"

#include <criterion/criterion.h>

#include <stdio.h>

static uint16_t assign(struct topic_aliases *aliases, const char *topic, bool expect_known)
{
    bool     known = !expect_known;
    uint16_t alias = topic_aliases_assign(aliases, slice_text(topic), &known);
    cr_assert_eq(known, expect_known, "%s", topic);
    return alias;
}

Test(aliases, an_alias_has_no_topic_until_it_is_set)
{
    struct topic_aliases *aliases = topic_aliases_create(3);

    cr_assert(topic_aliases_set(aliases, 2, slice_text("a/b")));

    cr_assert_eq(topic_aliases_topic(aliases, 1).size, 0);
    cr_assert(slice_equal(topic_aliases_topic(aliases, 2), slice_text("a/b")));
    cr_assert_eq(topic_aliases_topic(aliases, 3).size, 0);
    topic_aliases_destroy(aliases);
}

Test(aliases, setting_again_replaces_the_topic_of_that_alias_alone)
{
    struct topic_aliases *aliases = topic_aliases_create(2);
    cr_assert(topic_aliases_set(aliases, 1, slice_text("first")));
    cr_assert(topic_aliases_set(aliases, 2, slice_text("second")));

    cr_assert(topic_aliases_set(aliases, 1, slice_text("another one")));

    cr_assert(slice_equal(topic_aliases_topic(aliases, 1), slice_text("another one")));
    cr_assert(slice_equal(topic_aliases_topic(aliases, 2), slice_text("second")));
    topic_aliases_destroy(aliases);
}

Test(aliases, the_topic_is_a_copy)
{
    struct topic_aliases *aliases = topic_aliases_create(1);
    char                  buffer[] = "here";

    cr_assert(topic_aliases_set(aliases, 1, slice_text(buffer)));
    buffer[0] = 't';

    cr_assert(slice_equal(topic_aliases_topic(aliases, 1), slice_text("here")));
    topic_aliases_destroy(aliases);
}

Test(aliases, each_topic_gets_one_until_all_are_taken)
{
    struct topic_aliases *aliases = topic_aliases_create(3);

    cr_assert_eq(assign(aliases, "a", false), 1);
    cr_assert_eq(assign(aliases, "b", false), 2);
    cr_assert_eq(assign(aliases, "a", true), 1);
    cr_assert_eq(assign(aliases, "c", false), 3);

    cr_assert_eq(assign(aliases, "d", false), 0);
    cr_assert_eq(assign(aliases, "d", false), 0);
    cr_assert_eq(assign(aliases, "b", true), 2);
    cr_assert_eq(assign(aliases, "c", true), 3);
    topic_aliases_destroy(aliases);
}

Test(aliases, without_any_allowed_none_is_given)
{
    struct topic_aliases *aliases = topic_aliases_create(0);

    cr_assert_eq(assign(aliases, "a", false), 0);
    topic_aliases_destroy(aliases);
}

Test(aliases, the_largest_number_and_the_longest_topic_work)
{
    static uint8_t        longest[65535];
    struct topic_aliases *aliases = topic_aliases_create(65535);
    memset(longest, 't', sizeof(longest));

    cr_assert(topic_aliases_set(aliases, 65535, slice_of(longest, sizeof(longest))));

    cr_assert(slice_equal(topic_aliases_topic(aliases, 65535), slice_of(longest, sizeof(longest))));
    topic_aliases_destroy(aliases);
}

Test(aliases, many_topics_keep_theirs)
{
    struct topic_aliases *aliases = topic_aliases_create(500);
    char                  topic[16];
    for (unsigned number = 0; number < 500; number++) {
        (void)snprintf(topic, sizeof(topic), "t/%u", number);
        cr_assert_eq(assign(aliases, topic, false), number + 1);
    }

    for (unsigned number = 500; number-- > 0;) {
        (void)snprintf(topic, sizeof(topic), "t/%u", number);
        cr_assert_eq(assign(aliases, topic, true), number + 1);
    }

    topic_aliases_destroy(aliases);
    topic_aliases_destroy(NULL);
}
