/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/link.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

#define FILTERS 60U

static struct stage stage;
static struct peer  small;
static struct peer  other;

/* A client with a kept session that takes packets of 50 bytes. */
static struct connect small_client(void)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("small"));
    connect.clean_start = false;
    connect.session_expiry_s = 3600;
    connect.maximum_packet_size = 50;
    return connect;
}

/* A SUBSCRIBE whose answer has more bytes than that. */
static void write_many(struct wire *wire)
{
    static char            names[FILTERS][8];
    struct subscribe_entry entries[FILTERS];
    for (unsigned at = 0; at < FILTERS; at++) {
        (void)snprintf(names[at], sizeof(names[at]), "f/%u", at);
        entries[at] =
            (struct subscribe_entry){.filter = slice_text(names[at]), .options = {.qos = 1}};
    }
    wire_subscribe_of(wire, MQTT_VERSION_5, 1, 0, entries, FILTERS);
}

Test(link, an_answer_that_the_client_does_not_take_ends_it_without_a_word)
{
    cluster_begin(&stage, 1, NULL);
    struct connect connect = small_client();
    (void)peer_connect_of(&small, &stage, &connect);

    write_many(&small.say);
    peer_say(&small);

    peer_expect_end(&small);
    cr_assert(small.deaf, "aborted, not closed");
    cr_assert_eq(cluster_sum(&stage).connections, 0);
    cr_assert_eq(cluster_sum(&stage).sessions_offline, 1);
    cr_assert_eq(cluster_sum(&stage).subscriptions, FILTERS, "of its session, which is kept");
    stage_end(&stage);
}

Test(link, what_an_aborted_link_would_have_got_waits_in_its_session)
{
    struct wire wire = {0};
    cluster_begin(&stage, 1, NULL);
    struct connect connect = small_client();
    (void)peer_connect_of(&small, &stage, &connect);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    write_many(&small.say);

    stage_begin_turn(&stage); /* both in one turn: the session is still at its link */
    (void)broker_input(stage.brokers[0], small.link, wire_view(&small.say));
    wire_publish(&wire, MQTT_VERSION_5, "f/1", "x", 1, 9);
    (void)broker_input(stage.brokers[0], other.link, wire_view(&wire));
    stage_finish_turn(&stage);

    (void)peer_expect_ack(&other, PACKET_PUBACK, 9, MQTT_SUCCESS);
    cr_assert_eq(cluster_sum(&stage).queued_messages, 1);
    wire_reset(&small.say);
    peer_leave(&small);
    cr_assert(peer_connect_of(&small, &stage, &connect).session_present);
    (void)peer_expect_publish(&small, "f/1", "x");
    wire_fini(&wire);
    stage_end(&stage);
}

Test(link, aborted_and_taken_over_in_one_turn_leaves_the_session_to_the_new_one)
{
    struct wire wire = {0};
    cluster_begin(&stage, 1, NULL);
    struct connect connect = small_client();
    (void)peer_connect_of(&small, &stage, &connect);
    peer_open(&other, &stage, MQTT_VERSION_5);
    write_many(&small.say);
    connect.maximum_packet_size = MQTT_PACKET_SIZE_MAX;
    wire_connect_of(&wire, &connect);

    stage_begin_turn(&stage);
    (void)broker_input(stage.brokers[0], small.link, wire_view(&small.say));
    (void)broker_input(stage.brokers[0], other.link, wire_view(&wire));
    stage_finish_turn(&stage);

    cr_assert(peer_expect_connack(&other, MQTT_SUCCESS).session_present);
    cr_assert(small.ended);
    cr_assert_not(other.ended);
    cr_assert_eq(cluster_sum(&stage).sessions, 1);
    cr_assert_eq(cluster_sum(&stage).sessions_offline, 0);
    wire_reset(&small.say);
    peer_publish(&other, "f/1", "x");
    (void)peer_expect_publish(&other, "f/1", "x");
    wire_fini(&wire);
    stage_end(&stage);
}

Test(link, reason_strings_are_left_out_where_the_client_or_the_operator_wants_none)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("quiet"));
    cluster_begin(&stage, 1, NULL);
    connect.request_problem_information = false;
    (void)peer_connect_of(&small, &stage, &connect);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");

    wire_publish(&small.say, MQTT_VERSION_5, "$SYS/x", "x", 1, 1);
    peer_say(&small);
    wire_publish(&other.say, MQTT_VERSION_5, "$SYS/x", "x", 1, 1);
    peer_say(&other);

    cr_assert_eq(peer_expect_ack(&small, PACKET_PUBACK, 1, MQTT_NOT_AUTHORIZED).reason_string.size,
                 0);
    cr_assert_gt(peer_expect_ack(&other, PACKET_PUBACK, 1, MQTT_NOT_AUTHORIZED).reason_string.size,
                 0);
    stage.options.protocol.reason_strings = false;
    wire_publish(&other.say, MQTT_VERSION_5, "$SYS/x", "x", 1, 2);
    peer_say(&other);
    cr_assert_eq(peer_expect_ack(&other, PACKET_PUBACK, 2, MQTT_NOT_AUTHORIZED).reason_string.size,
                 0);
    stage_end(&stage);
}

Test(link, is_flushed_once_a_turn_however_much_it_gets)
{
    cluster_begin(&stage, 1, NULL);
    peer_connect(&other, &stage, MQTT_VERSION_5, "other");
    struct wire wire = {0};
    for (unsigned number = 0; number < 100; number++)
        wire_ping(&wire, PACKET_PINGREQ);

    stage_begin_turn(&stage);
    (void)broker_input(stage.brokers[0], other.link, wire_view(&wire));
    (void)broker_input(stage.brokers[0], other.link, wire_view(&wire));

    cr_assert_eq(broker_effects(stage.brokers[0])->flush_count, 1);
    cr_assert_eq(broker_output_size(stage.brokers[0], other.link), 400);
    stage_finish_turn(&stage);
    wire_fini(&wire);
    stage_end(&stage);
}
