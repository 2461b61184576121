/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/will.h"

#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  watcher;
static struct peer  mortal;
static struct peer  again;

static struct connect with_will(uint32_t delay_s, uint32_t session_expiry_s)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("mortal"));
    connect.clean_start = false;
    connect.session_expiry_s = session_expiry_s;
    connect.has_will = true;
    connect.will.topic = slice_text("will");
    connect.will.payload = slice_text("gone");
    connect.will.qos = 1;
    connect.will.delay_s = delay_s;
    return connect;
}

/* The watcher on another shard than the one whose will it waits for. */
static void begin(void (*change)(struct options *options))
{
    cluster_begin(&stage, 3, change);
    uint16_t home = cluster_home(&stage, slice_text("mortal"));
    peer_connect(&watcher, &stage, MQTT_VERSION_5,
                 cluster_name(&stage, "watcher", (uint16_t)((home + 1) % 3)));
    peer_subscribe(&watcher, "will", 1);
}

static void live(uint32_t delay_s, uint32_t session_expiry_s)
{
    struct connect connect = with_will(delay_s, session_expiry_s);
    (void)peer_connect_of(&mortal, &stage, &connect);
}

static void expect_will(void)
{
    cr_assert_eq(peer_expect_publish(&watcher, "will", "gone").qos, 1);
    peer_expect_silence(&watcher);
    cr_assert_eq(cluster_sum(&stage).wills_sent, 1);
}

static void expect_none(void)
{
    peer_expect_silence(&watcher);
    cr_assert_eq(cluster_sum(&stage).wills_sent, 0);
}

static void short_delays(struct options *options)
{
    options->limits.will_delay_max_s = 5;
}

Test(will, without_a_delay_goes_out_when_the_connection_goes)
{
    begin(NULL);
    live(0, 100);

    peer_cut(&mortal);

    expect_will();
    stage_pass(&stage, 200000);
    cr_assert_eq(cluster_sum(&stage).wills_sent, 1);
    peer_expect_silence(&watcher);
    stage_end(&stage);
}

Test(will, goes_out_after_its_delay_and_not_before)
{
    begin(NULL);
    live(10, 100);

    peer_cut(&mortal);
    stage_pass(&stage, 9900);
    expect_none();
    stage_pass(&stage, 300);

    expect_will();
    stage_end(&stage);
}

Test(will, goes_out_when_the_session_ends_before_the_delay_has_passed)
{
    begin(NULL);
    live(100, 10);

    peer_cut(&mortal);
    stage_pass(&stage, 9900);
    expect_none();
    stage_pass(&stage, 300);

    expect_will();
    stage_pass(&stage, 100000);
    cr_assert_eq(cluster_sum(&stage).wills_sent, 1);
    peer_expect_silence(&watcher);
    stage_end(&stage);
}

Test(will, goes_out_at_once_where_the_session_ends_with_the_connection)
{
    begin(NULL);
    live(100, 0);

    peer_cut(&mortal);

    expect_will();
    stage_end(&stage);
}

Test(will, is_forgotten_when_the_client_is_back_before_the_delay_has_passed)
{
    begin(NULL);
    live(10, 100);
    peer_cut(&mortal);
    stage_pass(&stage, 5000);

    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "mortal"));
    stage_pass(&stage, 20000);
    peer_cut(&again); /* which has none */
    stage_pass(&stage, 20000);

    expect_none();
    stage_end(&stage);
}

Test(will, goes_out_when_the_client_is_back_with_a_clean_start)
{
    begin(NULL);
    live(10, 100);
    peer_cut(&mortal);

    peer_connect(&again, &stage, MQTT_VERSION_5, "mortal");

    expect_will();
    stage_end(&stage);
}

Test(will, without_a_delay_goes_out_when_the_session_is_taken_over)
{
    begin(NULL);
    live(0, 100);

    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "mortal"));

    (void)peer_expect_disconnect(&mortal, MQTT_SESSION_TAKEN_OVER);
    expect_will();
    stage_end(&stage);
}

Test(will, with_a_delay_does_not_go_out_when_the_session_is_taken_over)
{
    begin(NULL);
    live(10, 100);

    cr_assert(peer_resume(&again, &stage, MQTT_VERSION_5, "mortal"));
    stage_pass(&stage, 20000);

    expect_none();
    stage_end(&stage);
}

Test(will, goes_out_when_a_clean_start_takes_the_session_over)
{
    begin(NULL);
    live(10, 100);

    peer_connect(&again, &stage, MQTT_VERSION_5, "mortal");

    expect_will();
    stage_end(&stage);
}

Test(will, is_forgotten_after_a_normal_disconnect_and_due_after_another)
{
    begin(NULL);
    live(0, 100);
    peer_disconnect(&mortal, MQTT_SUCCESS);
    expect_none();
    peer_leave(&mortal);

    live(0, 100);
    peer_disconnect(&mortal, MQTT_DISCONNECT_WITH_WILL);

    expect_will();
    stage_end(&stage);
}

Test(will, of_a_client_that_breaks_the_rules_goes_out)
{
    begin(NULL);
    live(0, 100);

    wire_connect(&mortal.say, MQTT_VERSION_5, "mortal"); /* a second CONNECT */
    peer_say(&mortal);

    (void)peer_expect_disconnect(&mortal, MQTT_PROTOCOL_ERROR);
    expect_will();
    stage_end(&stage);
}

Test(will, delay_is_bounded_by_the_operator)
{
    begin(short_delays);
    live(1000, 10000);

    peer_cut(&mortal);
    stage_pass(&stage, 4900);
    expect_none();
    stage_pass(&stage, 300);

    expect_will();
    stage_end(&stage);
}

Test(will, expiry_runs_from_when_it_is_published)
{
    static struct peer sleeper;
    begin(NULL);
    cr_assert_not(peer_resume(&sleeper, &stage, MQTT_VERSION_5, "sleeper"));
    peer_subscribe(&sleeper, "will", 1);
    peer_leave(&sleeper);
    struct connect connect = with_will(50, 1000);
    connect.will.has_message_expiry = true;
    connect.will.message_expiry_s = 20;
    (void)peer_connect_of(&mortal, &stage, &connect);

    peer_cut(&mortal);
    stage_pass(&stage, 51000);
    stage_pass(&stage, 10000);
    cr_assert(peer_resume(&sleeper, &stage, MQTT_VERSION_5, "sleeper"));

    struct publish late = peer_expect_publish(&sleeper, "will", "gone");
    cr_assert(late.has_message_expiry);
    cr_assert_geq(late.message_expiry_s, 9);
    cr_assert_leq(late.message_expiry_s, 11);
    stage_end(&stage);
}

Test(will, of_each_connect_takes_the_place_of_the_last)
{
    begin(NULL);
    live(0, 100);
    peer_disconnect(&mortal, MQTT_SUCCESS);
    peer_leave(&mortal);
    struct connect connect = with_will(0, 100);
    connect.will.payload = slice_text("another word");
    (void)peer_connect_of(&mortal, &stage, &connect);

    peer_cut(&mortal);

    (void)peer_expect_publish(&watcher, "will", "another word");
    peer_expect_silence(&watcher);
    stage_end(&stage);
}

Test(will, below_sys_is_not_allowed)
{
    begin(NULL);
    struct connect connect = with_will(0, 0);
    connect.will.topic = slice_text("$SYS/broker/uptime");
    peer_open(&mortal, &stage, MQTT_VERSION_5);

    wire_connect_of(&mortal.say, &connect);
    peer_say(&mortal);

    (void)peer_expect_connack(&mortal, MQTT_NOT_AUTHORIZED);
    peer_expect_end(&mortal);
    stage_end(&stage);
}
