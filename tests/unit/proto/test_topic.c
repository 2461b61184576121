/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/topic.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

static bool matches(const char *filter, const char *topic)
{
    return topic_matches(exact(slice_text(filter)), exact(slice_text(topic)));
}

static bool filter_valid(const char *filter)
{
    return topic_filter_valid(exact(slice_text(filter)));
}

/* [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-3.3.2-2] */
Test(topic, MQTT_4_7_3_1_names_are_not_empty_and_have_no_wildcard_or_null)
{
    cr_assert(topic_name_valid(slice_text("a")));
    cr_assert(topic_name_valid(slice_text("/")));
    cr_assert(topic_name_valid(slice_text(" a b/c ")));
    cr_assert(topic_name_valid(slice_text("caf\xc3\xa9/x")));
    cr_assert_not(topic_name_valid(NO_BYTES));
    cr_assert_not(topic_name_valid(slice_text("a/+")));
    cr_assert_not(topic_name_valid(slice_text("caf\xc3\xa9/#")));
    cr_assert_not(topic_name_valid(BYTES('a', 0x00)));
}

/* [MQTT-4.7.3-3] */
Test(topic, MQTT_4_7_3_3_names_and_filters_hold_at_most_65535_bytes)
{
    static uint8_t text[TOPIC_SIZE_MAX + 1];
    memset(text, 'a', sizeof(text));

    cr_assert(topic_name_valid(slice_of(text, TOPIC_SIZE_MAX)));
    cr_assert(topic_filter_valid(slice_of(text, TOPIC_SIZE_MAX)));
    cr_assert_not(topic_name_valid(slice_of(text, sizeof(text))));
    cr_assert_not(topic_filter_valid(slice_of(text, sizeof(text))));
}

/* [MQTT-4.7.1-1], with the standard's examples */
Test(topic, MQTT_4_7_1_1_a_hash_stands_alone_and_last)
{
    cr_assert(filter_valid("#"));
    cr_assert(filter_valid("sport/tennis/#"));
    cr_assert(filter_valid("/#"));
    cr_assert_not(filter_valid("sport/tennis#"));
    cr_assert_not(filter_valid("sport/tennis/#/ranking"));
    cr_assert_not(filter_valid("#/"));
    cr_assert_not(filter_valid("##"));
    cr_assert_not(filter_valid("#a"));
}

/* [MQTT-4.7.1-2], with the standard's examples */
Test(topic, MQTT_4_7_1_2_a_plus_takes_a_whole_level)
{
    cr_assert(filter_valid("+"));
    cr_assert(filter_valid("+/tennis/#"));
    cr_assert(filter_valid("sport/+/player1"));
    cr_assert(filter_valid("/+"));
    cr_assert(filter_valid("+/+"));
    cr_assert_not(filter_valid("sport+"));
    cr_assert_not(filter_valid("+sport"));
    cr_assert_not(filter_valid("a/b+/c"));
    cr_assert_not(filter_valid("++"));
    cr_assert_not(filter_valid(""));
    cr_assert_not(topic_filter_valid(BYTES('+', '/', 0x00)));
}

/* The examples of section 4.7.1.2 */
Test(topic, a_hash_matches_the_parent_and_all_below)
{
    cr_assert(matches("sport/tennis/player1/#", "sport/tennis/player1"));
    cr_assert(matches("sport/tennis/player1/#", "sport/tennis/player1/ranking"));
    cr_assert(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
    cr_assert(matches("sport/#", "sport"));
    cr_assert(matches("#", "a/b/c"));
    cr_assert(matches("#", "/"));
    cr_assert(matches("/#", "/"));
    cr_assert(matches("+/#", "a"));
    cr_assert_not(matches("sport/#", "sports"));
    cr_assert_not(matches("sport/tennis/#", "sport"));
}

/* The examples of section 4.7.1.3 */
Test(topic, a_plus_matches_one_level_even_an_empty_one)
{
    cr_assert(matches("sport/tennis/+", "sport/tennis/player1"));
    cr_assert(matches("sport/tennis/+", "sport/tennis/player2"));
    cr_assert_not(matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    cr_assert_not(matches("sport/+", "sport"));
    cr_assert(matches("sport/+", "sport/"));
    cr_assert(matches("+/+", "/finance"));
    cr_assert(matches("/+", "/finance"));
    cr_assert_not(matches("+", "/finance"));
    cr_assert(matches("a/+/+/d", "a///d"));
}

/* [MQTT-4.7.3-4] */
Test(topic, MQTT_4_7_3_4_levels_are_compared_byte_by_byte)
{
    cr_assert(matches("ACCOUNTS/payable", "ACCOUNTS/payable"));
    cr_assert_not(matches("ACCOUNTS", "Accounts"));
    cr_assert_not(matches("/finance", "finance"));
    cr_assert_not(matches("a/b", "a/b/c"));
    cr_assert_not(matches("a/b/c", "a/b"));
    cr_assert_not(matches("a/b", "a/b/"));
    cr_assert_not(topic_matches(NO_BYTES, slice_text("a")));
    cr_assert_not(topic_matches(slice_text("#"), NO_BYTES));
}

/* [MQTT-4.7.2-1] */
Test(topic, MQTT_4_7_2_1_a_leading_wildcard_does_not_match_a_dollar)
{
    cr_assert_not(matches("#", "$SYS/uptime"));
    cr_assert_not(matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    cr_assert_not(matches("+", "$SYS"));
    cr_assert(matches("$SYS/#", "$SYS/uptime"));
    cr_assert(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
    cr_assert(matches("a/#", "a/$SYS"));
    cr_assert(matches("+/+", "a/$SYS"));
}

Test(topic, levels_are_the_slashes_and_one)
{
    cr_assert_eq(topic_levels(slice_text("a")), 1);
    cr_assert_eq(topic_levels(slice_text("/")), 2);
    cr_assert_eq(topic_levels(slice_text("a/b/c")), 3);
    cr_assert_eq(topic_levels(slice_text("//a/")), 4);
}

Test(topic, wildcards_are_found)
{
    cr_assert(topic_filter_has_wildcard(slice_text("a/+/b")));
    cr_assert(topic_filter_has_wildcard(slice_text("#")));
    cr_assert_not(topic_filter_has_wildcard(slice_text("a/b")));
    cr_assert_not(topic_filter_has_wildcard(NO_BYTES));
}

static bool share_valid(const char *whole)
{
    bool         valid;
    struct slice group;
    struct slice filter;

    cr_assert(topic_share_split(exact(slice_text(whole)), &valid, &group, &filter), "%s", whole);
    return valid;
}

Test(topic, a_shared_subscription_is_split)
{
    bool         valid;
    struct slice group;
    struct slice filter;

    cr_assert(
        topic_share_split(slice_text("$share/consumer1/sport/tennis/+"), &valid, &group, &filter));
    cr_assert(valid);
    cr_assert(text_is(group, "consumer1"));
    cr_assert(text_is(filter, "sport/tennis/+"));
    cr_assert(topic_share_split(slice_text("$share/c//finance"), &valid, &group, &filter));
    cr_assert(valid);
    cr_assert(text_is(filter, "/finance"));
}

Test(topic, other_filters_are_not_shared)
{
    static const char *const filters[] = {"",           "a",        "$share", "$shared/g/a",
                                          "$SHARE/g/a", "share/g/a"};
    bool                     valid;
    struct slice             group;
    struct slice             filter;

    for (size_t row = 0; row < sizeof(filters) / sizeof(filters[0]); row++)
        cr_assert_not(topic_share_split(exact(slice_text(filters[row])), &valid, &group, &filter));
}

/* [MQTT-4.8.2-1] */
Test(topic, MQTT_4_8_2_1_a_share_name_has_at_least_one_character)
{
    cr_assert_not(share_valid("$share//a"));
    cr_assert_not(share_valid("$share/"));
    cr_assert(share_valid("$share/g/a"));
}

/* [MQTT-4.8.2-2] */
Test(topic, MQTT_4_8_2_2_a_share_name_has_no_wildcard_and_a_filter_behind_it)
{
    cr_assert_not(share_valid("$share/g+/a"));
    cr_assert_not(share_valid("$share/#/a"));
    cr_assert_not(share_valid("$share/+/a"));
    cr_assert_not(share_valid("$share/ab"));
    cr_assert_not(share_valid("$share/ab/"));
    cr_assert_not(share_valid("$share/ab/x#"));
    cr_assert(share_valid("$share/ab//"));
    cr_assert(share_valid("$share/ab/#"));
}
