/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/retaining.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  publisher;
static struct peer  asker;

static void begin(void (*change)(struct options *options))
{
    cluster_begin(&stage, 3, change);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 0));
    (void)peer_resume(&asker, &stage, MQTT_VERSION_5, cluster_name(&stage, "asker", 1));
}

static void retain(const char *topic, const char *payload)
{
    wire_publish_retained(&publisher.say, MQTT_VERSION_5, topic, payload, 0, 0);
    peer_say(&publisher);
}

/* `r/0` and so on: topics with homes on all shards. */
static void retain_many(unsigned count)
{
    char topic[24];
    for (unsigned number = 0; number < count; number++) {
        (void)snprintf(topic, sizeof(topic), "r/%u", number);
        wire_publish_retained(&publisher.say, MQTT_VERSION_5, topic, "x", 1, 1);
    }
    peer_say(&publisher);
    for (uint16_t shard = 0; count > 20 && shard < 3; shard++)
        cr_assert_gt(retained_count(stage.brokers[shard]->retained), 0);
}

/* Retained messages heard since, all of them below `r/`. */
static uint32_t heard(struct peer *peer)
{
    struct frame   frame;
    struct publish publish;
    uint32_t       count = 0;
    while (peer_hear(peer, &frame)) {
        if (frame.type != PACKET_PUBLISH)
            continue;
        cr_assert_eq(publish_decode(peer->version, frame.flags, frame.body, true, &publish),
                     MQTT_SUCCESS);
        cr_assert(publish.retain);
        count++;
    }
    return count;
}

static void ask(const char *filter, uint8_t qos)
{
    wire_subscribe(&asker.say, MQTT_VERSION_5, 1, filter, qos);
    peer_say(&asker);
}

static void expect_no_jobs(void)
{
    for (uint16_t shard = 0; shard < 3; shard++)
        cr_assert_null(stage.brokers[shard]->retain_jobs);
}

static void pace_of_ten(struct options *options)
{
    options->retained.pace = 10;
}

static void small_output(struct options *options)
{
    options->limits.output_buffer_max = 4096;
}

static void few_retained(struct options *options)
{
    options->limits.retained_messages_max = 3;
}

Test(retaining, an_exact_filter_finds_its_topic_at_any_home)
{
    begin(NULL);
    for (uint16_t home = 0; home < 3; home++) {
        const char *topic = cluster_name(&stage, "topic", home);
        retain(topic, "kept");
        cr_assert_eq(retained_count(stage.brokers[home]->retained), 1);

        static const uint8_t granted = 1;
        ask(topic, 1);

        peer_expect_codes(&asker, PACKET_SUBACK, 1, &granted, 1);
        struct publish publish = peer_expect_publish(&asker, topic, "kept");
        cr_assert(publish.retain);
        cr_assert_eq(publish.qos, 0);
        peer_expect_silence(&asker);
    }
    stage_end(&stage);
}

Test(retaining, a_wildcard_finds_what_all_homes_have_once_each)
{
    begin(NULL);
    retain_many(500);

    ask("r/+", 1);

    cr_assert_eq(heard(&asker), 500);
    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 0);
    expect_no_jobs();
    stage_end(&stage);
}

Test(retaining, what_was_cleared_or_replaced_is_not_found)
{
    begin(NULL);
    for (uint16_t home = 0; home < 3; home++) {
        retain(cluster_name(&stage, "r/gone", home), "x");
        retain(cluster_name(&stage, "r/new", home), "old");
    }
    for (uint16_t home = 0; home < 3; home++) {
        retain(cluster_name(&stage, "r/gone", home), "");
        retain(cluster_name(&stage, "r/new", home), "new");
    }

    static const uint8_t granted = 0;
    ask("#", 0);

    peer_expect_codes(&asker, PACKET_SUBACK, 1, &granted, 1);
    for (unsigned number = 0; number < 3; number++) {
        struct frame   frame;
        struct publish publish;
        peer_expect(&asker, PACKET_PUBLISH, &frame);
        cr_assert_eq(publish_decode(MQTT_VERSION_5, frame.flags, frame.body, true, &publish),
                     MQTT_SUCCESS);
        cr_assert(slice_equal(publish.payload, slice_text("new")));
    }
    peer_expect_silence(&asker);
    cr_assert_eq(cluster_sum(&stage).retained_messages, 3);
    stage_end(&stage);
}

Test(retaining, a_turn_gives_no_more_than_its_pace)
{
    begin(pace_of_ten);
    retain_many(300);
    struct wire wire = {0};
    wire_subscribe(&wire, MQTT_VERSION_5, 1, "r/#", 0);
    uint32_t most = 0;
    uint32_t turns = 0;

    stage_begin_turn(&stage);
    cr_assert_eq(broker_input(stage.brokers[1], asker.link, wire_view(&wire)).consumed, wire.size);
    uint64_t before = cluster_sum(&stage).publish_out;
    while (stage_next_turn(&stage)) {
        uint64_t out = cluster_sum(&stage).publish_out;
        uint32_t given = (uint32_t)(out - before);
        before = out;
        most = given > most ? given : most;
        turns += given > 0;
    }

    cr_assert_eq(heard(&asker), 300);
    cr_assert_leq(most, 3 * (10 + 64), "the pace, and what is left of a batch, of each home");
    cr_assert_geq(turns, 2);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(retaining, a_session_that_ends_in_the_middle_ends_its_asks)
{
    begin(pace_of_ten);
    retain_many(300);
    struct wire wire = {0};
    wire_subscribe(&wire, MQTT_VERSION_5, 1, "r/#", 1);

    for (unsigned turns = 0; turns < 12; turns++) {
        static struct peer brief;
        peer_connect(&brief, &stage, MQTT_VERSION_5, cluster_name(&stage, "brief", 2));
        stage_begin_turn(&stage);
        (void)broker_input(stage.brokers[2], brief.link, wire_view(&wire));
        for (unsigned turn = 0; turn < turns; turn++)
            (void)stage_next_turn(&stage);
        peer_leave(&brief);

        expect_no_jobs();
        cr_assert_eq(cluster_sum(&stage).subscriptions, 0);
        cluster_expect_idle(&stage);
    }

    ask("r/#", 0);
    cr_assert_eq(heard(&asker), 300, "and nothing was taken away");
    wire_fini(&wire);
    stage_end(&stage);
}

Test(retaining, homes_wait_while_the_session_has_a_backlog)
{
    begin(small_output);
    retain_many(2000);
    asker.slow = true;

    ask("r/#", 0);

    /* A batch or two of each home, the rest stays where it is. */
    uint64_t out = cluster_sum(&stage).publish_out;
    uint64_t queued = cluster_sum(&stage).queued_messages;
    cr_assert_gt(queued, 0);
    cr_assert_lt(out + queued, 1000);
    asker.slow = false;
    cluster_catch_up(&asker);
    cr_assert_eq(heard(&asker), 2000);
    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 0);
    cluster_expect_idle(&stage);
    stage_end(&stage);
}

Test(retaining, a_session_that_ends_while_homes_wait_lets_them_go)
{
    static struct peer brief;
    begin(small_output);
    retain_many(2000);
    peer_connect(&brief, &stage, MQTT_VERSION_5, cluster_name(&stage, "brief", 2));
    brief.slow = true;
    wire_subscribe(&brief.say, MQTT_VERSION_5, 1, "r/#", 0);
    peer_say(&brief);

    peer_leave(&brief);

    expect_no_jobs();
    cluster_expect_idle(&stage);
    cr_assert_gt(cluster_sum(&stage).drops[DROP_SESSION_ENDED], 0);
    ask("r/#", 0);
    cr_assert_eq(heard(&asker), 2000);
    stage_end(&stage);
}

Test(retaining, asks_go_on_when_a_client_is_back)
{
    begin(NULL);
    retain_many(300);
    struct connect connect =
        connect_of(MQTT_VERSION_5, slice_text(cluster_name(&stage, "slow", 2)));
    static struct peer slow;
    connect.clean_start = false;
    connect.session_expiry_s = 3600;
    connect.receive_maximum = 10;
    (void)peer_connect_of(&slow, &stage, &connect);
    wire_subscribe(&slow.say, MQTT_VERSION_5, 1, "r/#", 1);
    peer_say(&slow);
    cr_assert_eq(heard(&slow), 10);
    peer_leave(&slow);

    connect.receive_maximum = 1000;
    cr_assert(peer_connect_of(&slow, &stage, &connect).session_present);

    cr_assert_eq(heard(&slow), 300, "10 of them again");
    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 0);
    stage_end(&stage);
}

/*
 * The publisher looked before the asker's interest was known, and the asker asked before the
 * message was kept: only the home can tell, and sends it after.
 */
Test(retaining, a_shard_that_became_interested_meanwhile_gets_it_from_the_home)
{
    begin(NULL);
    const char *topic = cluster_name(&stage, "topic", 2);
    cluster_hold(&stage, 0, 2);
    retain(topic, "between"); /* on its way to its home */

    static const uint8_t granted = 0;
    ask(topic, 0);
    peer_expect_codes(&asker, PACKET_SUBACK, 1, &granted, 1);
    peer_expect_silence(&asker);
    cluster_let_go(&stage, 0, 2);

    cr_assert_not(peer_expect_publish(&asker, topic, "between").retain, "a live one");
    peer_expect_silence(&asker);
    cr_assert_eq(retained_count(stage.brokers[2]->retained), 1);
    stage_end(&stage);
}

Test(retaining, who_got_it_live_does_not_get_it_after)
{
    begin(NULL);
    const char          *topic = cluster_name(&stage, "topic", 2);
    static const uint8_t granted = 0;
    ask(topic, 0);
    peer_expect_codes(&asker, PACKET_SUBACK, 1, &granted, 1);

    retain(topic, "once");

    (void)peer_expect_publish(&asker, topic, "once");
    peer_expect_silence(&asker);
    stage_end(&stage);
}

/* The asker's shard is known by then and its ask is not: a duplicate is preferred to a loss. */
Test(retaining, who_asks_while_it_is_sent_after_gets_it_both_ways)
{
    static struct peer at_home;
    begin(NULL);
    const char *topic = cluster_name(&stage, "topic", 2);
    cr_assert_eq(cluster_filter_home(&stage, slice_text(topic)), 0);
    peer_connect(&at_home, &stage, MQTT_VERSION_5, cluster_name(&stage, "athome", 2));
    cluster_hold(&stage, 0, 2);
    retain(topic, "between");
    wire_subscribe(&at_home.say, MQTT_VERSION_5, 1, topic, 0);
    peer_say(&at_home); /* the answer of the filter's home is behind the message */

    cluster_let_go(&stage, 0, 2);

    static const uint8_t granted = 0;
    cr_assert_not(peer_expect_publish(&at_home, topic, "between").retain);
    peer_expect_codes(&at_home, PACKET_SUBACK, 1, &granted, 1);
    cr_assert(peer_expect_publish(&at_home, topic, "between").retain);
    peer_expect_silence(&at_home);
    stage_end(&stage);
}

Test(retaining, limits_bind_each_home_and_what_does_not_fit_is_counted)
{
    begin(few_retained); /* one a home */
    const char *first = cluster_name(&stage, "first", 1);
    const char *second = cluster_name(&stage, "second", 1);

    retain(first, "x");
    retain(second, "y");
    retain(first, "z"); /* in its own place */

    cr_assert_eq(cluster_sum(&stage).retained_refused, 1);
    cr_assert_eq(cluster_sum(&stage).retained_messages, 1);
    static const uint8_t granted = 0;
    ask("#", 0);
    peer_expect_codes(&asker, PACKET_SUBACK, 1, &granted, 1);
    (void)peer_expect_publish(&asker, first, "z");
    peer_expect_silence(&asker);
    stage_end(&stage);
}

Test(retaining, what_expired_is_not_found_and_is_swept_away)
{
    begin(NULL);
    for (uint16_t home = 0; home < 3; home++) {
        struct publish_head head = {.topic = slice_text(cluster_name(&stage, "r/", home)),
                                    .retain = true,
                                    .has_message_expiry = true,
                                    .message_expiry_s = 5};
        wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text("x"));
    }
    peer_say(&publisher);
    cr_assert_eq(cluster_sum(&stage).retained_messages, 3);

    stage_pass(&stage, 8000);

    cr_assert_eq(cluster_sum(&stage).retained_messages, 0);
    cr_assert_eq(cluster_sum(&stage).retained_bytes, 0);
    ask("r/#", 0);
    cr_assert_eq(heard(&asker), 0);
    stage_end(&stage);
}

Test(retaining, identifiers_and_qos_of_the_subscription_are_used)
{
    begin(NULL);
    const char *topic = cluster_name(&stage, "topic", 2);
    wire_publish_retained(&publisher.say, MQTT_VERSION_5, topic, "x", 2, 5);
    peer_say(&publisher);
    struct subscribe_entry entry = {.filter = slice_text(topic), .options = {.qos = 1}};
    struct frame           frame;

    wire_subscribe_of(&asker.say, MQTT_VERSION_5, 1, 77, &entry, 1);
    peer_say(&asker);

    peer_expect(&asker, PACKET_SUBACK, &frame);
    struct publish publish = peer_expect_publish(&asker, topic, "x");
    cr_assert_eq(publish.qos, 1);
    cr_assert_eq(publish.subscription_id, 77);
    cr_assert(publish.retain);
    stage_end(&stage);
}
