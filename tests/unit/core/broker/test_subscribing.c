/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/subscribing.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  publisher;
static struct peer  subscriber;

/* The subscriber on shard 0, the publisher on shard 1. */
static void begin(void (*change)(struct options *options))
{
    cluster_begin(&stage, 3, change);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 1));
    (void)peer_resume(&subscriber, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 0));
}

static void say_subscribe(uint16_t packet_id, const char *filter, uint8_t qos)
{
    wire_subscribe(&subscriber.say, MQTT_VERSION_5, packet_id, filter, qos);
    peer_say(&subscriber);
}

static void expect_code(uint16_t packet_id, uint8_t code)
{
    peer_expect_codes(&subscriber, PACKET_SUBACK, packet_id, &code, 1);
}

static void unsubscribe(const char *filter, uint8_t code)
{
    wire_unsubscribe(&subscriber.say, MQTT_VERSION_5, 99, filter);
    peer_say(&subscriber);
    peer_expect_codes(&subscriber, PACKET_UNSUBACK, 99, &code, 1);
}

static void expect_interest(uint64_t filters)
{
    cr_assert_eq(interest_filters(stage.interest), filters);
    cr_assert_eq(cluster_sum(&stage).subscriptions, filters);
}

Test(subscribing, the_answer_waits_for_the_filters_home)
{
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    cluster_hold(&stage, 0, 2);

    say_subscribe(5, filter, 1);
    peer_expect_silence(&subscriber);
    cr_assert_eq(cluster_waiting(&stage, 0, 2), 1);
    cluster_let_go(&stage, 0, 2);

    expect_code(5, 1);
    peer_deliver(&publisher, filter, "after the answer", 1);
    (void)peer_expect_publish(&subscriber, filter, "after the answer");
    expect_interest(1);
    stage_end(&stage);
}

Test(subscribing, the_answer_waits_for_the_way_back_too)
{
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    cluster_hold(&stage, 2, 0);

    say_subscribe(5, filter, 1);
    peer_expect_silence(&subscriber);
    peer_deliver(&publisher, filter, "early", 1); /* is delivered already */
    (void)peer_expect_publish(&subscriber, filter, "early");
    cluster_let_go(&stage, 2, 0);

    expect_code(5, 1);
    stage_end(&stage);
}

Test(subscribing, a_filter_at_home_here_is_answered_at_once)
{
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 0);
    for (uint16_t to = 1; to < 3; to++)
        cluster_hold(&stage, 0, to);

    say_subscribe(5, filter, 2);

    expect_code(5, 2);
    stage_end(&stage);
}

Test(subscribing, one_answer_comes_when_all_homes_have_answered)
{
    static const uint8_t codes[] = {0, 1, 2, MQTT_TOPIC_FILTER_INVALID};
    begin(NULL);
    struct subscribe_entry entries[4];
    for (uint16_t home = 0; home < 3; home++)
        entries[home] =
            (struct subscribe_entry){.filter = slice_text(cluster_filter(&stage, "f/", "/+", home)),
                                     .options = {.qos = (uint8_t)home}};
    entries[3] = (struct subscribe_entry){.filter = slice_text("not#valid")};
    cluster_hold(&stage, 0, 1);
    cluster_hold(&stage, 0, 2);

    wire_subscribe_of(&subscriber.say, MQTT_VERSION_5, 5, 0, entries, 4);
    peer_say(&subscriber);
    peer_expect_silence(&subscriber);
    cluster_let_go(&stage, 0, 2);
    peer_expect_silence(&subscriber);
    cluster_let_go(&stage, 0, 1);

    peer_expect_codes(&subscriber, PACKET_SUBACK, 5, codes, 4);
    expect_interest(3);
    stage_end(&stage);
}

Test(subscribing, the_answer_of_a_connection_that_went_goes_nowhere)
{
    static struct peer again;
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    cluster_hold(&stage, 0, 2);
    say_subscribe(5, filter, 1);

    peer_cut(&subscriber);
    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 0)));
    cluster_let_go(&stage, 0, 2);

    peer_expect_silence(&again);
    peer_deliver(&publisher, filter, "x", 1);
    (void)peer_expect_publish(&again, filter, "x");
    stage_end(&stage);
}

Test(subscribing, the_answer_of_a_session_that_ended_is_let_go)
{
    static struct peer brief;
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    peer_connect(&brief, &stage, MQTT_VERSION_5, cluster_name(&stage, "brief", 0));
    cluster_hold(&stage, 0, 2);
    wire_subscribe(&brief.say, MQTT_VERSION_5, 5, filter, 1);
    peer_say(&brief);

    peer_cut(&brief);
    cluster_let_go(&stage, 0, 2);

    expect_interest(0);
    cr_assert(list_empty(&stage.brokers[0]->waits));
    stage_end(&stage);
}

Test(subscribing, a_second_subscribe_does_not_overtake_the_first)
{
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    cluster_hold(&stage, 0, 2);

    say_subscribe(5, filter, 1);
    say_subscribe(6, filter, 2);
    peer_expect_silence(&subscriber);
    cluster_let_go(&stage, 0, 2);

    expect_code(5, 1);
    expect_code(6, 2);
    expect_interest(1);
    unsubscribe(filter, MQTT_SUCCESS);
    expect_interest(0);
    stage_end(&stage);
}

Test(subscribing, adding_removing_and_adding_while_nothing_is_carried_ends_as_added)
{
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "", 2);
    cluster_hold(&stage, 0, 2);

    say_subscribe(5, filter, 1);
    unsubscribe(filter, MQTT_SUCCESS);
    say_subscribe(6, filter, 1);
    cluster_let_go(&stage, 0, 2);

    expect_code(5, 1);
    expect_code(6, 1);
    expect_interest(1);
    peer_deliver(&publisher, filter, "x", 1);
    (void)peer_expect_publish(&subscriber, filter, "x");
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(subscribing, one_shards_interest_lasts_until_its_last_subscriber_goes)
{
    static struct peer another;
    begin(NULL);
    const char *filter = cluster_filter(&stage, "f/", "/#", 2);
    peer_connect(&another, &stage, MQTT_VERSION_5, cluster_name(&stage, "another", 0));
    peer_subscribe(&subscriber, filter, 0);
    peer_subscribe(&another, filter, 0);
    cr_assert_eq(interest_filters(stage.interest), 1);

    unsubscribe(filter, MQTT_SUCCESS);
    cr_assert_eq(interest_filters(stage.interest), 1);
    peer_cut(&another);

    expect_interest(0);
    stage_end(&stage);
}

Test(subscribing, the_same_filter_replaces_the_subscription)
{
    begin(NULL);
    peer_subscribe(&subscriber, "f/+", 2);

    peer_subscribe(&subscriber, "f/+", 0);

    expect_interest(1);
    peer_deliver(&publisher, "f/x", "x", 2);
    cr_assert_eq(peer_expect_publish(&subscriber, "f/x", "x").qos, 0);
    peer_expect_silence(&subscriber);
    unsubscribe("f/+", MQTT_SUCCESS);
    unsubscribe("f/+", MQTT_NO_SUBSCRIPTION_EXISTED);
    stage_end(&stage);
}

Test(subscribing, subscribers_of_one_filter_come_and_go_in_any_order)
{
    static struct peer peers[12];
    static bool        subscribed[12];
    uint64_t           random = 21;
    begin(NULL);
    for (unsigned at = 0; at < 12; at++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "peer%u", at);
        peer_connect(&peers[at], &stage, MQTT_VERSION_5, name);
    }

    for (unsigned step = 0; step < 300; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned at = (unsigned)(random >> 40) % 12;
        if (subscribed[at]) {
            static const uint8_t gone = MQTT_SUCCESS;
            wire_unsubscribe(&peers[at].say, MQTT_VERSION_5, 1, "t");
            peer_say(&peers[at]);
            peer_expect_codes(&peers[at], PACKET_UNSUBACK, 1, &gone, 1);
        } else {
            peer_subscribe(&peers[at], "t", 0);
        }
        subscribed[at] = !subscribed[at];
        peer_publish(&publisher, "t", "x");
        for (unsigned other = 0; other < 12; other++) {
            if (subscribed[other])
                (void)peer_expect_publish(&peers[other], "t", "x");
            peer_expect_silence(&peers[other]);
        }
    }

    stage_end(&stage);
}

static void two_subscriptions(struct options *options)
{
    options->limits.subscriptions_per_client_max = 2;
}

Test(subscribing, a_client_has_a_limited_number_of_subscriptions)
{
    begin(two_subscriptions);
    peer_subscribe(&subscriber, "a", 0);
    peer_subscribe(&subscriber, "$share/g/b", 0);

    say_subscribe(1, "c", 0);
    expect_code(1, MQTT_QUOTA_EXCEEDED);
    say_subscribe(2, "$share/g/c", 0);
    expect_code(2, MQTT_QUOTA_EXCEEDED);
    peer_subscribe(&subscriber, "a", 2); /* in its own place */
    peer_subscribe(&subscriber, "$share/g/b", 2);

    unsubscribe("a", MQTT_SUCCESS);
    peer_subscribe(&subscriber, "c", 0);
    cr_assert_eq(cluster_sum(&stage).subscriptions, 2);
    stage_end(&stage);
}

static void two_shapes(struct options *options)
{
    options->limits.filter_shapes_per_client_max = 2;
}

Test(subscribing, a_client_brings_a_limited_number_of_new_shapes)
{
    static struct peer another;
    begin(two_shapes);
    peer_connect(&another, &stage, MQTT_VERSION_5, cluster_name(&stage, "another", 0));
    peer_subscribe(&subscriber, "a/+", 0);
    peer_subscribe(&subscriber, "b/+", 0); /* the same shape */
    peer_subscribe(&subscriber, "a/+/c", 0);

    say_subscribe(1, "+/b/+/d", 0);
    expect_code(1, MQTT_QUOTA_EXCEEDED);

    peer_subscribe(&another, "+/b/+/d", 0); /* which has brought none */
    peer_subscribe(&subscriber, "+/b/+/d", 0);
    stage_end(&stage);
}

Test(subscribing, a_shape_that_goes_makes_room_for_another)
{
    begin(two_shapes);
    peer_subscribe(&subscriber, "plain", 0);
    peer_subscribe(&subscriber, "plain", 1);

    for (unsigned round = 0; round < 100; round++) {
        peer_subscribe(&subscriber, "+/b/+/d", 0);
        peer_subscribe(&subscriber, "+/b/+/d", 1); /* replaced: still the one that brought it */
        unsubscribe("+/b/+/d", MQTT_SUCCESS);
    }

    peer_subscribe(&subscriber, "a/+/c", 0);
    say_subscribe(1, "+/b/+/d", 0);
    expect_code(1, MQTT_QUOTA_EXCEEDED);
    stage_end(&stage);
}

static void two_filters(struct options *options)
{
    options->limits.filters_per_packet_max = 2;
}

Test(subscribing, filters_beyond_those_of_a_packet_are_refused_each)
{
    static const uint8_t         granted[] = {0, 1, MQTT_QUOTA_EXCEEDED, MQTT_QUOTA_EXCEEDED};
    static const uint8_t         ended[] = {MQTT_SUCCESS, MQTT_SUCCESS, MQTT_IMPLEMENTATION_ERROR};
    const struct subscribe_entry entries[] = {
        {.filter = slice_text("a"), .options = {.qos = 0}},
        {.filter = slice_text("b"), .options = {.qos = 1}},
        {.filter = slice_text("c"), .options = {.qos = 2}},
        {.filter = slice_text("d"), .options = {.qos = 2}},
    };
    const struct slice filters[] = {slice_text("a"), slice_text("b"), slice_text("c")};
    begin(two_filters);

    wire_subscribe_of(&subscriber.say, MQTT_VERSION_5, 1, 0, entries, 4);
    peer_say(&subscriber);
    peer_expect_codes(&subscriber, PACKET_SUBACK, 1, granted, 4);
    expect_interest(2);
    wire_unsubscribe_of(&subscriber.say, MQTT_VERSION_5, 2, filters, 3);
    peer_say(&subscriber);

    peer_expect_codes(&subscriber, PACKET_UNSUBACK, 2, ended, 3);
    expect_interest(0);
    stage_end(&stage);
}

static void no_sharing(struct options *options)
{
    options->protocol.shared_subscriptions = false;
    options->protocol.wildcard_subscriptions = false;
}

Test(subscribing, what_is_switched_off_is_refused_by_name)
{
    begin(no_sharing);

    say_subscribe(1, "$share/g/a", 0);
    expect_code(1, MQTT_SHARED_NOT_SUPPORTED);
    say_subscribe(2, "a/#", 0);
    expect_code(2, MQTT_WILDCARDS_NOT_SUPPORTED);
    say_subscribe(3, "a", 0);

    expect_code(3, 0);
    expect_interest(1);
    stage_end(&stage);
}

static void no_identifiers(struct options *options)
{
    options->protocol.subscription_identifiers = false;
}

Test(subscribing, identifiers_that_are_switched_off_end_the_link)
{
    struct subscribe_entry entry = {.filter = slice_text("a")};
    begin(no_identifiers);

    wire_subscribe_of(&subscriber.say, MQTT_VERSION_5, 1, 7, &entry, 1);
    peer_say(&subscriber);

    (void)peer_expect_disconnect(&subscriber, MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED);
    stage_end(&stage);
}

Test(subscribing, a_session_that_ends_takes_all_its_subscriptions_along)
{
    static struct peer brief;
    char               filter[32];
    begin(NULL);
    peer_connect(&brief, &stage, MQTT_VERSION_5, cluster_name(&stage, "brief", 0));
    for (unsigned number = 0; number < 100; number++) {
        (void)snprintf(filter, sizeof(filter), "f/%u/%s", number, number % 2 == 0 ? "+" : "#");
        peer_subscribe(&brief, filter, 1);
    }
    expect_interest(100);

    peer_cut(&brief);

    expect_interest(0);
    stage_end(&stage);
}
