/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/broker.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  one;
static struct peer  two;

Test(broker, a_connection_without_a_connect_is_closed_after_its_time)
{
    cluster_begin(&stage, 1, NULL);
    peer_open(&one, &stage, MQTT_VERSION_5);
    cr_assert_eq(cluster_sum(&stage).greeting, 1);

    stage_pass(&stage, stage.options.protocol.connect_timeout_ms - 1);
    cr_assert_not(one.ended);
    stage_pass(&stage, 200);

    peer_expect_end(&one);
    cr_assert_eq(cluster_sum(&stage).greeting, 0);
    cr_assert_eq(cluster_sum(&stage).connections, 0);
    stage_end(&stage);
}

Test(broker, half_a_connect_does_not_buy_time)
{
    static const uint8_t half[] = {PACKET_CONNECT << 4, 50, 0};
    cluster_begin(&stage, 1, NULL);
    peer_open(&one, &stage, MQTT_VERSION_5);
    stage_pass(&stage, stage.options.protocol.connect_timeout_ms - 100);

    peer_say_bytes(&one, half, sizeof(half));
    stage_pass(&stage, 300);

    peer_expect_end(&one);
    stage_end(&stage);
}

Test(broker, silence_is_borne_for_one_and_a_half_keep_alive)
{
    cluster_begin(&stage, 1, NULL);
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("one"));
    connect.keep_alive_s = 10;
    (void)peer_connect_of(&one, &stage, &connect);
    connect.client_id = slice_text("two");
    connect.keep_alive_s = 0; /* for ever */
    (void)peer_connect_of(&two, &stage, &connect);

    stage_pass(&stage, 14000);
    wire_ping(&one.say, PACKET_PINGREQ);
    peer_say(&one);
    struct frame frame;
    peer_expect(&one, PACKET_PINGRESP, &frame);
    stage_pass(&stage, 14900);
    cr_assert_not(one.ended, "15 s run from the last packet");
    stage_pass(&stage, 300);

    (void)peer_expect_disconnect(&one, MQTT_KEEP_ALIVE_TIMEOUT);
    cr_assert_eq(cluster_sum(&stage).keep_alive_timeouts, 1);
    stage_pass(&stage, 1000000);
    cr_assert_not(two.ended);
    stage_end(&stage);
}

static void four_seconds(struct options *options)
{
    options->protocol.keep_alive_max_s = 4;
}

Test(broker, the_operators_keep_alive_binds_who_wants_none)
{
    cluster_begin(&stage, 1, four_seconds);
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("one"));
    connect.keep_alive_s = 0;
    struct connack connack = peer_connect_of(&one, &stage, &connect);
    cr_assert(connack.has_server_keep_alive);
    cr_assert_eq(connack.server_keep_alive_s, 4);

    stage_pass(&stage, 5900);
    cr_assert_not(one.ended);
    stage_pass(&stage, 300);

    (void)peer_expect_disconnect(&one, MQTT_KEEP_ALIVE_TIMEOUT);
    stage_end(&stage);
}

Test(broker, stops_wills_first_and_links_then)
{
    static struct peer old;
    static struct peer greeting;
    cluster_begin(&stage, 3, NULL);
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("mortal"));
    connect.has_will = true;
    connect.will.topic = slice_text("will");
    connect.will.payload = slice_text("gone");
    connect.will.delay_s = 1000;
    connect.session_expiry_s = 5000;
    (void)peer_connect_of(&one, &stage, &connect);
    uint16_t elsewhere = (uint16_t)((one.shard + 1) % 3);
    peer_connect(&two, &stage, MQTT_VERSION_5, cluster_name(&stage, "watcher", elsewhere));
    peer_subscribe(&two, "will", 0);
    peer_connect(&old, &stage, MQTT_VERSION_311, "old");
    peer_open(&greeting, &stage, MQTT_VERSION_5);

    stage_begin_turn(&stage);
    for (uint16_t shard = 0; shard < 3; shard++)
        broker_stop_wills(stage.brokers[shard]);
    stage_finish_turn(&stage);
    (void)peer_expect_publish(&two, "will", "gone");
    cr_assert_not(one.ended);
    stage_begin_turn(&stage);
    for (uint16_t shard = 0; shard < 3; shard++)
        broker_stop_links(stage.brokers[shard]);
    stage_finish_turn(&stage);

    (void)peer_expect_disconnect(&one, MQTT_SERVER_SHUTTING_DOWN);
    (void)peer_expect_disconnect(&two, MQTT_SERVER_SHUTTING_DOWN);
    peer_expect_end(&old);
    peer_expect_end(&greeting);
    cr_assert_eq(cluster_sum(&stage).wills_sent, 1);
    cr_assert_eq(cluster_sum(&stage).connections, 0);
    stage_end(&stage);
}

Test(broker, that_stops_lets_nobody_in)
{
    cluster_begin(&stage, 1, NULL);
    peer_open(&one, &stage, MQTT_VERSION_5);
    stage_begin_turn(&stage);
    broker_stop_wills(stage.brokers[0]);
    stage_finish_turn(&stage);

    wire_connect(&one.say, MQTT_VERSION_5, "one");
    peer_say(&one);

    (void)peer_expect_connack(&one, MQTT_SERVER_UNAVAILABLE);
    peer_expect_end(&one);
    cr_assert_eq(cluster_sum(&stage).sessions, 0);
    stage_end(&stage);
}

Test(broker, who_is_refused_at_the_door_is_told_why)
{
    struct link_origin origin = {.refuse = MQTT_CONNECTION_RATE_EXCEEDED};
    cluster_begin(&stage, 1, NULL);
    peer_open(&one, &stage, MQTT_VERSION_5);
    struct handle usual = one.link;
    stage_begin_turn(&stage);
    cr_assert(broker_accept(stage.brokers[0], &origin, &one.link));

    wire_connect(&one.say, MQTT_VERSION_5, "one");
    peer_say(&one);

    (void)peer_expect_connack(&one, MQTT_CONNECTION_RATE_EXCEEDED);
    peer_expect_end(&one);
    cr_assert_eq(cluster_sum(&stage).connections_refused, 1);
    cr_assert_eq(cluster_sum(&stage).connects_refused, 1);
    stage_begin_turn(&stage);
    broker_hang_up(stage.brokers[0], usual, 0);
    broker_effects_done(stage.brokers[0]);
    broker_forget(stage.brokers[0], usual);
    stage_finish_turn(&stage);
    stage_end(&stage);
}

Test(broker, a_client_at_home_elsewhere_is_handed_over_unread)
{
    struct wire wire = {0};
    cluster_begin(&stage, 2, NULL);
    struct broker     *broker = stage.brokers[0];
    struct link_origin origin = {0};
    struct handle      link;
    wire_connect(&wire, MQTT_VERSION_5, cluster_name(&stage, "client", 1));

    stage_begin_turn(&stage);
    cr_assert(broker_accept(broker, &origin, &link));
    cr_assert_eq(broker_input(broker, link, wire_view(&wire)).consumed, 0);

    const struct effects *effects = broker_effects(broker);
    cr_assert_eq(effects->order_count, 1);
    cr_assert_eq(effects->orders[0].kind, ORDER_HANDOVER);
    cr_assert_eq(effects->orders[0].target, 1);
    cr_assert_eq(broker_input(broker, link, wire_view(&wire)).consumed, 0, "it goes along");
    broker_hang_up(broker, link, 0);
    cr_assert_eq(effects->order_count, 1, "one order for each link");
    cr_assert_eq(broker_statistics(broker)->handovers_out, 1);
    cr_assert_eq(broker_statistics(broker)->greeting, 0);
    broker_effects_done(broker);
    broker_forget(broker, link);
    stage_finish_turn(&stage);
    wire_fini(&wire);
    stage_end(&stage);
}

Test(broker, a_stale_handle_is_nobody)
{
    static const uint8_t bytes[] = {PACKET_PINGREQ << 4, 0};
    struct slice         part;
    cluster_begin(&stage, 1, NULL);
    peer_connect(&one, &stage, MQTT_VERSION_5, "one");
    struct handle stale = one.link;
    peer_cut(&one);
    peer_connect(&two, &stage, MQTT_VERSION_5, "two");
    cr_assert_eq(two.link.slot, stale.slot, "the slot was used again");

    stage_begin_turn(&stage);
    struct broker *broker = stage.brokers[0];
    cr_assert_eq(broker_input(broker, stale, slice_of(bytes, 2)).consumed, 2);
    cr_assert_eq(broker_output(broker, stale, &part, 1), 0);
    cr_assert_eq(broker_output_size(broker, stale), 0);
    broker_sent(broker, stale, 100);
    broker_hang_up(broker, stale, 0);
    stage_finish_turn(&stage);

    cr_assert_not(two.ended);
    peer_expect_silence(&two);
    stage_end(&stage);
}

Test(broker, accepts_as_many_links_as_it_has_room_for)
{
    struct handle      links[3];
    struct link_origin origin = {0};
    cluster_begin(&stage, 1, NULL);
    struct broker_place place = {
        .shard_count = 1, .secret = &stage.secret, .options = &stage.options, .links_max = 2};
    struct broker *broker = broker_create(&place, 0);

    cr_assert(broker_accept(broker, &origin, &links[0]));
    cr_assert(broker_accept(broker, &origin, &links[1]));
    cr_assert_not(broker_accept(broker, &origin, &links[2]));
    broker_hang_up(broker, links[0], 0);
    broker_forget(broker, links[0]);

    cr_assert(broker_accept(broker, &origin, &links[2]));
    cr_assert_eq(broker_statistics(broker)->connections_accepted, 3);
    broker_destroy(broker);
    stage_end(&stage);
}

Test(broker, a_link_gets_one_closing_order)
{
    cluster_begin(&stage, 1, NULL);
    peer_connect(&one, &stage, MQTT_VERSION_5, "one");
    struct broker *broker = stage.brokers[0];

    stage_begin_turn(&stage);
    broker_hang_up(broker, one.link, -104);
    broker_hang_up(broker, one.link, -104);
    broker_stop_links(broker);

    cr_assert_eq(broker_effects(broker)->order_count, 1);
    cr_assert_eq(broker_effects(broker)->orders[0].kind, ORDER_ABORT);
    stage_finish_turn(&stage);
    cr_assert(one.ended);
    stage_end(&stage);
}

Test(broker, who_feeds_a_full_outbox_is_not_read_until_it_has_drained)
{
    cluster_begin(&stage, 2, NULL);
    peer_connect(&one, &stage, MQTT_VERSION_5, cluster_name(&stage, "publisher", 0));
    peer_connect(&two, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 1));
    peer_subscribe(&two, "t", 0);

    cluster_hold(&stage, 0, 1);
    for (unsigned number = 0; number < 9000; number++)
        wire_publish(&one.say, MQTT_VERSION_5, "t", "x", 0, 0);
    peer_say(&one); /* what one turn brings is taken */
    cr_assert_not(one.paused);
    wire_publish(&one.say, MQTT_VERSION_5, "t", "the one that is too many", 0, 0);
    wire_publish(&one.say, MQTT_VERSION_5, "t", "kept back", 0, 0);
    peer_say(&one);

    cr_assert(one.paused);
    cr_assert_eq(cluster_waiting(&stage, 0, 1), 9001);
    cr_assert_eq(broker_statistics(stage.brokers[0])->reads_paused, 1);
    cr_assert_eq(broker_statistics(stage.brokers[0])->outbox_high_water, 9001);
    cr_assert_gt(one.kept.size, 0);
    cluster_let_go(&stage, 0, 1);
    cr_assert_not(one.paused);
    cr_assert_eq(one.kept.size, 0);
    for (unsigned number = 0; number < 9000; number++)
        (void)peer_expect_publish(&two, "t", "x");
    (void)peer_expect_publish(&two, "t", "the one that is too many");
    (void)peer_expect_publish(&two, "t", "kept back");
    stage_end(&stage);
}

Test(broker, a_paused_client_is_not_held_silent)
{
    cluster_begin(&stage, 2, NULL);
    struct connect connect =
        connect_of(MQTT_VERSION_5, slice_text(cluster_name(&stage, "publisher", 0)));
    connect.keep_alive_s = 10;
    (void)peer_connect_of(&one, &stage, &connect);
    peer_connect(&two, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 1));
    peer_subscribe(&two, "t", 0);
    cluster_hold(&stage, 0, 1);
    for (unsigned number = 0; number < 9000; number++)
        wire_publish(&one.say, MQTT_VERSION_5, "t", "x", 0, 0);
    peer_say(&one);
    peer_publish(&one, "t", "x");
    cr_assert(one.paused);

    stage_pass(&stage, 60000);

    cr_assert_not(one.ended);
    cluster_let_go(&stage, 0, 1);
    stage_pass(&stage, 14000);
    cr_assert_not(one.ended, "its time begins anew");
    stage_pass(&stage, 2000);
    (void)peer_expect_disconnect(&one, MQTT_KEEP_ALIVE_TIMEOUT);
    stage_end(&stage);
}

Test(broker, says_when_it_wants_its_next_turn)
{
    cluster_begin(&stage, 1, NULL);
    struct broker *broker = stage.brokers[0];
    stage_pass(&stage, 5000);

    uint64_t next_ms = broker_next_ms(broker);

    cr_assert_gt(next_ms, stage.now_ms, "nothing is due");
    cr_assert_leq(next_ms, stage.now_ms + 1100, "the sweep of retained messages");
    stage_end(&stage);
}

/* Every kind of work is under way when all ends; the sanitizers see what is left. */
Test(broker, frees_everything_with_work_in_flight)
{
    static struct peer slow;
    static struct peer away;
    static struct peer asking;
    static char        large[8001];
    memset(large, 'x', 8000);
    cluster_begin(&stage, 3, NULL);
    peer_connect(&one, &stage, MQTT_VERSION_5, cluster_name(&stage, "one", 0));
    peer_connect(&two, &stage, MQTT_VERSION_5, cluster_name(&stage, "two", 1));
    for (unsigned number = 0; number < 300; number++) {
        char topic[24];
        (void)snprintf(topic, sizeof(topic), "kept/%u", number);
        wire_publish_retained(&one.say, MQTT_VERSION_5, topic, "x", 0, 0);
    }
    peer_say(&one);
    peer_connect(&slow, &stage, MQTT_VERSION_5, cluster_name(&stage, "slow", 2));
    slow.slow = true;
    peer_connect(&asking, &stage, MQTT_VERSION_5, cluster_name(&stage, "asking", 1));
    wire_subscribe(&slow.say, MQTT_VERSION_5, 1, "#", 2);
    wire_subscribe(&slow.say, MQTT_VERSION_5, 2, "$share/group/#", 2);
    peer_say(&slow);
    for (unsigned at = 0; at < 3; at++) {
        (void)peer_resume(&away, &stage, MQTT_VERSION_5, cluster_name(&stage, "away", 2));
        peer_subscribe(&away, at == 0 ? "t" : "$share/group/#", 1);
        peer_leave(&away);
    }

    for (uint16_t from = 0; from < 3; from++)
        for (uint16_t to = 0; to < 3; to++)
            cluster_hold(&stage, from, to);
    wire_subscribe(&asking.say, MQTT_VERSION_5, 1, "kept/#", 1);
    wire_subscribe(&asking.say, MQTT_VERSION_5, 2, "$share/another/+", 1);
    peer_say(&asking);
    struct peer *publishers[] = {&one, &two};
    for (unsigned at = 0; at < 2; at++) {
        wire_publish(&publishers[at]->say, MQTT_VERSION_5, "t", large, 2, 1);
        wire_publish_retained(&publishers[at]->say, MQTT_VERSION_5, "t", "x", 1, 2);
        wire_publish(&publishers[at]->say, MQTT_VERSION_5, "t", "x", 0, 0);
        wire_unsubscribe(&publishers[at]->say, MQTT_VERSION_5, 3, "t");
        peer_say(publishers[at]);
    }

    uint32_t waiting = 0;
    for (uint16_t from = 0; from < 3; from++)
        for (uint16_t to = 0; to < 3; to++)
            waiting += cluster_waiting(&stage, from, to);
    cr_assert_gt(waiting, 5);
    stage_end(&stage);
}

/* The same, cut off after each number of turns: parcels of every kind are caught on their way. */
Test(broker, frees_everything_after_any_number_of_turns)
{
    for (unsigned turns = 0; turns < 12; turns++) {
        cluster_begin(&stage, 3, NULL);
        peer_connect(&one, &stage, MQTT_VERSION_5, cluster_name(&stage, "one", 0));
        peer_connect(&two, &stage, MQTT_VERSION_5, cluster_name(&stage, "two", 1));
        for (unsigned number = 0; number < 200; number++) {
            char topic[24];
            (void)snprintf(topic, sizeof(topic), "kept/%u", number);
            wire_publish_retained(&one.say, MQTT_VERSION_5, topic, "x", 0, 0);
        }
        peer_say(&one);
        struct wire wire = {0};
        wire_subscribe(&wire, MQTT_VERSION_5, 1, "kept/#", 1);
        wire_subscribe(&wire, MQTT_VERSION_5, 2, "$share/group/+/#", 2);
        wire_publish_retained(&wire, MQTT_VERSION_5, "kept/new", "x", 1, 3);
        wire_publish(&wire, MQTT_VERSION_5, "t", "x", 2, 4);
        wire_unsubscribe(&wire, MQTT_VERSION_5, 5, "kept/#");

        stage_begin_turn(&stage);
        (void)broker_input(stage.brokers[0], one.link, wire_view(&wire));
        (void)broker_input(stage.brokers[1], two.link, wire_view(&wire));
        for (unsigned turn = 0; turn < turns; turn++)
            (void)stage_next_turn(&stage);
        for (uint16_t from = 0; from < 3; from++)
            for (uint16_t to = 0; to < 3; to++)
                cluster_hold(&stage, from, to);

        wire_fini(&wire);
        stage_end(&stage);
    }
}
