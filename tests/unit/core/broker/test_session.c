/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/session.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  publisher;
static struct peer  subscriber;

/* Connects `subscriber` to its kept session, with a receive maximum of its own. */
static bool resume(uint16_t receive_maximum)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("subscriber"));
    connect.clean_start = false;
    connect.session_expiry_s = 3600;
    connect.receive_maximum = receive_maximum;
    return peer_connect_of(&subscriber, &stage, &connect).session_present;
}

/* One shard; the session has one subscription, `t`, at QoS 2. */
static void begin(void (*change)(struct options *options), uint16_t receive_maximum)
{
    cluster_begin(&stage, 1, change);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, "publisher");
    cr_assert_not(resume(receive_maximum));
    peer_subscribe(&subscriber, "t", 2);
}

static struct session *session_of_subscriber(void)
{
    struct slice id = slice_text("subscriber");
    return session_find(stage.brokers[0], name_hash(&stage.secret, id), id);
}

static void publish(const char *payload, uint8_t qos, enum mqtt_reason reason)
{
    wire_publish(&publisher.say, MQTT_VERSION_5, "t", payload, qos, qos > 0 ? 9 : 0);
    peer_say(&publisher);
    if (qos == 1)
        (void)peer_expect_ack(&publisher, PACKET_PUBACK, 9, reason);
    peer_expect_silence(&publisher);
}

static void publish_expiring(const char *payload, uint32_t expiry_s)
{
    struct publish_head head = {.topic = slice_text("t"),
                                .qos = 1,
                                .packet_id = 9,
                                .has_message_expiry = true,
                                .message_expiry_s = expiry_s};
    wire_publish_of(&publisher.say, MQTT_VERSION_5, head, slice_text(payload));
    peer_say(&publisher);
    (void)peer_expect_ack(&publisher, PACKET_PUBACK, 9, MQTT_SUCCESS);
}

static uint16_t expect(const char *payload, bool duplicate)
{
    struct publish publish = peer_expect_publish(&subscriber, "t", payload);
    cr_assert_eq(publish.duplicate, duplicate);
    return publish.packet_id;
}

static void three_messages(struct options *options)
{
    options->limits.queue_messages_max = 3;
}

static void three_messages_drop_oldest(struct options *options)
{
    three_messages(options);
    options->limits.queue_policy = OPTIONS_QUEUE_DROP_OLDEST;
}

static void three_messages_drop_qos0_first(struct options *options)
{
    three_messages(options);
    options->limits.queue_policy = OPTIONS_QUEUE_DROP_QOS0_FIRST;
    options->limits.queue_qos0_offline = true;
}

static void hundred_bytes_drop_oldest(struct options *options)
{
    options->limits.queue_bytes_max = 100;
    options->limits.queue_policy = OPTIONS_QUEUE_DROP_OLDEST;
}

static void hundred_bytes_refuse_new(struct options *options)
{
    options->limits.queue_bytes_max = 100;
}

Test(session, a_full_queue_refuses_what_is_new)
{
    begin(three_messages, 10);
    peer_leave(&subscriber);

    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    publish("2", 1, MQTT_SUCCESS);
    publish("3", 1, MQTT_QUOTA_EXCEEDED);
    publish("4", 1, MQTT_QUOTA_EXCEEDED);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 2);
    cr_assert(resume(10));
    cr_assert_eq(expect("0", false), 1);
    cr_assert_eq(expect("1", false), 2);
    cr_assert_eq(expect("2", false), 3);
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(session, a_full_queue_drops_the_oldest_where_it_is_told_to)
{
    begin(three_messages_drop_oldest, 10);
    peer_leave(&subscriber);

    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    publish("2", 1, MQTT_SUCCESS);
    publish("3", 1, MQTT_SUCCESS);
    publish("4", 1, MQTT_SUCCESS);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 2);
    cr_assert(resume(10));
    (void)expect("2", false);
    (void)expect("3", false);
    (void)expect("4", false);
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(session, a_full_queue_drops_qos_0_first_where_it_is_told_to)
{
    begin(three_messages_drop_qos0_first, 10);
    peer_leave(&subscriber);

    publish("a", 0, MQTT_SUCCESS);
    publish("b", 1, MQTT_SUCCESS);
    publish("c", 0, MQTT_SUCCESS);
    publish("d", 1, MQTT_SUCCESS); /* a goes */
    publish("e", 1, MQTT_SUCCESS); /* c goes */
    publish("f", 1, MQTT_QUOTA_EXCEEDED);
    publish("g", 0, MQTT_SUCCESS);

    struct statistics sum = cluster_sum(&stage);
    cr_assert_eq(sum.drops[DROP_QUEUE_FULL], 3, "a, c, f");
    cr_assert_eq(sum.drops[DROP_QOS0_CONGESTED], 1, "g");
    cr_assert_eq(sum.queued_messages, 3);
    cr_assert(resume(10));
    (void)expect("b", false);
    (void)expect("d", false);
    (void)expect("e", false);
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(session, the_limit_of_bytes_counts_topics_and_payloads)
{
    begin(hundred_bytes_drop_oldest, 10);
    peer_leave(&subscriber);

    publish("0123456789012345678901234567890123456789012345678", 1, MQTT_SUCCESS); /* 50 bytes */
    publish("abcdefghijabcdefghijabcdefghijabcdefghijabcdefghi", 1, MQTT_SUCCESS);
    cr_assert_eq(cluster_sum(&stage).queued_bytes, 100);
    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 0);
    publish("", 1, MQTT_SUCCESS);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 1);
    cr_assert_eq(cluster_sum(&stage).queued_bytes, 51);
    cr_assert(resume(10));
    (void)expect("abcdefghijabcdefghijabcdefghijabcdefghijabcdefghi", false);
    (void)expect("", false);
    cr_assert_eq(cluster_sum(&stage).queued_bytes, 0);
    stage_end(&stage);
}

Test(session, what_can_never_fit_takes_nobody_elses_place)
{
    static char large[200];
    begin(hundred_bytes_drop_oldest, 10);
    peer_leave(&subscriber);
    publish("first", 1, MQTT_SUCCESS);
    publish("second", 1, MQTT_SUCCESS);

    memset(large, 'x', sizeof(large) - 1);
    publish(large, 1, MQTT_QUOTA_EXCEEDED);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 1);
    cr_assert(resume(10));
    (void)expect("first", false);
    (void)expect("second", false);
    stage_end(&stage);
}

Test(session, what_can_never_fit_is_refused_by_an_empty_queue_too)
{
    static char large[200];
    begin(hundred_bytes_refuse_new, 10);
    peer_leave(&subscriber);

    memset(large, 'x', sizeof(large) - 1);
    publish(large, 1, MQTT_QUOTA_EXCEEDED);

    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 1);
    cr_assert_null(session_of_subscriber()->backlog);
    cr_assert(resume(10));
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(session, qos_0_is_not_kept_for_who_is_away)
{
    begin(NULL, 10);
    peer_leave(&subscriber);

    publish("0", 0, MQTT_SUCCESS);
    publish("1", 0, MQTT_SUCCESS);

    cluster_expect_drops(&stage, DROP_QOS0_OFFLINE, 2);
    cr_assert_null(session_of_subscriber()->backlog);
    stage_end(&stage);
}

Test(session, acknowledgements_let_the_next_ones_go)
{
    static const char *const payloads[] = {"0", "1", "2", "3", "4"};
    begin(NULL, 2);
    for (unsigned at = 0; at < 5; at++)
        publish(payloads[at], 1, MQTT_SUCCESS);
    cr_assert_eq(cluster_sum(&stage).inflight_messages, 2);
    cr_assert_eq(cluster_sum(&stage).queued_messages, 3);

    uint16_t first = expect("0", false);
    uint16_t second = expect("1", false);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBACK, second, MQTT_SUCCESS);
    uint16_t third = expect("2", false);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBACK, first, MQTT_SUCCESS);
    uint16_t fourth = expect("3", false);
    peer_ack(&subscriber, PACKET_PUBACK, fourth, MQTT_SUCCESS);
    uint16_t fifth = expect("4", false);

    peer_ack(&subscriber, PACKET_PUBACK, third, MQTT_SUCCESS);
    peer_ack(&subscriber, PACKET_PUBACK, fifth, MQTT_SUCCESS);
    cluster_expect_idle(&stage);
    cr_assert_null(session_of_subscriber()->backlog);
    cluster_expect_drops(&stage, DROP_QUEUE_FULL, 0);
    stage_end(&stage);
}

Test(session, the_window_of_qos_2_opens_with_pubcomp_or_a_refusal)
{
    begin(NULL, 1);
    peer_deliver(&publisher, "t", "0", 2);
    peer_deliver(&publisher, "t", "1", 2);
    peer_deliver(&publisher, "t", "2", 2);
    uint16_t first = expect("0", false);

    peer_ack(&subscriber, PACKET_PUBREC, first, MQTT_SUCCESS);
    (void)peer_expect_ack(&subscriber, PACKET_PUBREL, first, MQTT_SUCCESS);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBCOMP, first, MQTT_SUCCESS);
    uint16_t second = expect("1", false);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBREC, second, MQTT_UNSPECIFIED_ERROR);

    (void)expect("2", false);
    cr_assert_eq(cluster_sum(&stage).inflight_messages, 1);
    stage_end(&stage);
}

Test(session, a_resume_resends_within_the_new_window_before_anything_else)
{
    begin(NULL, 5);
    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    publish("2", 1, MQTT_SUCCESS);
    peer_leave(&subscriber);
    publish("while away", 1, MQTT_SUCCESS);

    cr_assert(resume(2));
    publish("new", 1, MQTT_SUCCESS);

    cr_assert_eq(expect("0", true), 1);
    cr_assert_eq(expect("1", true), 2);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBACK, 1, MQTT_SUCCESS);
    cr_assert_eq(expect("2", true), 3);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBACK, 2, MQTT_SUCCESS);
    peer_ack(&subscriber, PACKET_PUBACK, 3, MQTT_SUCCESS);
    (void)expect("while away", false);
    (void)expect("new", false);
    stage_end(&stage);
}

Test(session, what_is_acknowledged_before_its_resend_is_not_sent_again)
{
    begin(NULL, 5);
    publish("0", 1, MQTT_SUCCESS);
    publish("1", 1, MQTT_SUCCESS);
    publish("2", 1, MQTT_SUCCESS);
    peer_leave(&subscriber);

    cr_assert(resume(1));
    (void)expect("0", true);
    peer_ack(&subscriber, PACKET_PUBACK, 2, MQTT_SUCCESS);
    peer_expect_silence(&subscriber);
    peer_ack(&subscriber, PACKET_PUBACK, 1, MQTT_SUCCESS);

    cr_assert_eq(expect("2", true), 3);
    peer_ack(&subscriber, PACKET_PUBACK, 3, MQTT_SUCCESS);
    peer_expect_silence(&subscriber);
    cluster_expect_idle(&stage);
    stage_end(&stage);
}

Test(session, what_expires_while_it_waits_is_dropped_and_counted)
{
    begin(NULL, 10);
    peer_leave(&subscriber);
    publish_expiring("0", 10);
    publish_expiring("1", 30);
    publish("2", 1, MQTT_SUCCESS);
    publish_expiring("3", 10);

    stage_pass(&stage, 11000);
    cr_assert(resume(10));

    struct publish kept = peer_expect_publish(&subscriber, "t", "1");
    cr_assert(kept.has_message_expiry);
    cr_assert_eq(kept.message_expiry_s, 19);
    cr_assert_not(peer_expect_publish(&subscriber, "t", "2").has_message_expiry);
    peer_expect_silence(&subscriber);
    cluster_expect_drops(&stage, DROP_EXPIRED, 2);
    cr_assert_eq(cluster_sum(&stage).queued_bytes, 0);
    stage_end(&stage);
}

Test(session, what_a_session_had_is_counted_when_it_ends)
{
    begin(NULL, 2);
    for (unsigned number = 0; number < 5; number++)
        publish("x", 1, MQTT_SUCCESS);
    peer_leave(&subscriber);

    stage_pass(&stage, 3600 * 1000 + 5000);

    struct statistics sum = cluster_sum(&stage);
    cr_assert_null(session_of_subscriber());
    cr_assert_eq(sum.sessions_expired, 1);
    cr_assert_eq(sum.sessions_offline, 0);
    cr_assert_eq(sum.subscriptions, 0);
    cluster_expect_drops(&stage, DROP_SESSION_ENDED, 5);
    cluster_expect_idle(&stage);
    publish("x", 1, MQTT_NO_MATCHING_SUBSCRIBERS);
    stage_end(&stage);
}

static void small_output(struct options *options)
{
    options->limits.output_buffer_max = 4096;
}

Test(session, behind_a_full_output_messages_wait_in_the_queue)
{
    static char payload[1001];
    begin(small_output, 10);
    memset(payload, 'x', 1000);
    subscriber.slow = true;

    for (unsigned number = 0; number < 10; number++) {
        payload[0] = (char)('0' + number);
        publish(payload, 0, MQTT_SUCCESS);
    }

    /* A frame has 1007 bytes: the fifth is the first behind which there is no room. */
    cr_assert_eq(broker_output_size(stage.brokers[0], subscriber.link), 5 * 1007);
    cr_assert_eq(cluster_sum(&stage).queued_messages, 5);
    cluster_catch_up(&subscriber);
    for (unsigned number = 0; number < 10; number++) {
        payload[0] = (char)('0' + number);
        (void)expect(payload, false);
    }
    cluster_expect_idle(&stage);
    cluster_expect_drops(&stage, DROP_QOS0_CONGESTED, 0);
    stage_end(&stage);
}

static void small_output_and_queue(struct options *options)
{
    small_output(options);
    three_messages(options);
}

Test(session, qos_0_for_who_reads_too_slowly_is_dropped_and_counted)
{
    static char payload[1001];
    begin(small_output_and_queue, 10);
    memset(payload, 'x', 1000);
    subscriber.slow = true;

    for (unsigned number = 0; number < 10; number++)
        publish(payload, 0, MQTT_SUCCESS);

    cluster_expect_drops(&stage, DROP_QOS0_CONGESTED, 2);
    cluster_catch_up(&subscriber);
    for (unsigned number = 0; number < 8; number++)
        (void)expect(payload, false);
    peer_expect_silence(&subscriber);
    stage_end(&stage);
}

Test(session, what_is_too_large_for_its_client_is_counted_and_holds_no_place)
{
    static char    payload[101];
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("subscriber"));
    cluster_begin(&stage, 1, NULL);
    peer_connect(&publisher, &stage, MQTT_VERSION_5, "publisher");
    connect.maximum_packet_size = 64;
    (void)peer_connect_of(&subscriber, &stage, &connect);
    peer_subscribe(&subscriber, "t", 1);

    memset(payload, 'x', 100);
    for (unsigned number = 0; number < 3; number++) {
        wire_publish(&publisher.say, MQTT_VERSION_5, "t", payload, 1, 1);
        peer_say(&publisher);
    }

    peer_expect_silence(&subscriber);
    cluster_expect_drops(&stage, DROP_TOO_LARGE, 3);
    cluster_expect_idle(&stage);
    stage_end(&stage);
}

Test(session, an_idle_session_gives_back_what_it_does_not_need)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("subscriber"));
    cluster_begin(&stage, 1, NULL);
    connect.keep_alive_s = 60;
    (void)peer_connect_of(&subscriber, &stage, &connect);
    peer_subscribe(&subscriber, "t", 1);
    wire_publish(&subscriber.say, MQTT_VERSION_5, "t", "x", 2, 7);
    peer_say(&subscriber);
    uint16_t id = expect("x", false);
    (void)peer_expect_ack(&subscriber, PACKET_PUBREC, 7, MQTT_SUCCESS);
    peer_ack(&subscriber, PACKET_PUBACK, id, MQTT_SUCCESS);
    peer_ack(&subscriber, PACKET_PUBREL, 7, MQTT_SUCCESS);
    (void)peer_expect_ack(&subscriber, PACKET_PUBCOMP, 7, MQTT_SUCCESS);
    cr_assert_not_null(session_of_subscriber()->flight);
    cr_assert_not_null(session_of_subscriber()->extra);

    stage_pass(&stage, 80000);
    wire_ping(&subscriber.say, PACKET_PINGREQ);
    peer_say(&subscriber);
    stage_pass(&stage, 12000);

    cr_assert_null(session_of_subscriber()->flight);
    cr_assert_null(session_of_subscriber()->extra);
    stage_end(&stage);
}

Test(session, trimming_leaves_what_is_in_use)
{
    begin(NULL, 10);
    publish("x", 1, MQTT_SUCCESS);
    wire_publish(&subscriber.say, MQTT_VERSION_5, "other", "x", 2, 7);
    peer_say(&subscriber);

    session_trim(session_of_subscriber());

    cr_assert_eq(session_of_subscriber()->flight->count, 1);
    cr_assert(received_has(session_of_subscriber(), 7));
    stage_end(&stage);
}

Test(session, received_identifiers_come_and_go)
{
    struct session session = {0};
    cr_assert_eq(received_count(&session), 0);
    cr_assert_not(received_has(&session, 1));
    cr_assert_not(received_remove(&session, 1));

    for (uint16_t id = 1; id <= 100; id++)
        cr_assert(received_add(&session, id));
    for (uint16_t id = 1; id <= 100; id += 3)
        cr_assert(received_remove(&session, id));

    cr_assert_eq(received_count(&session), 66);
    for (uint16_t id = 1; id <= 100; id++)
        cr_assert_eq(received_has(&session, id), id % 3 != 1);
    cr_assert_not(received_remove(&session, 1), "gone already");
    free(session.extra->received);
    free(session.extra);
}

Test(session, a_long_client_id_is_kept_whole)
{
    static char id[301];
    cluster_begin(&stage, 3, NULL);
    memset(id, 'i', 300);

    cr_assert_not(peer_resume(&subscriber, &stage, MQTT_VERSION_5, id));
    peer_leave(&subscriber);
    id[299] = 'j';
    cr_assert_not(peer_resume(&subscriber, &stage, MQTT_VERSION_5, id), "another one");
    peer_leave(&subscriber);
    id[299] = 'i';

    cr_assert(peer_resume(&subscriber, &stage, MQTT_VERSION_5, id));
    cr_assert_eq(cluster_sum(&stage).sessions, 2);
    stage_end(&stage);
}

Test(session, gauges_follow_connections_and_sessions)
{
    begin(NULL, 10);
    struct statistics sum = cluster_sum(&stage);
    cr_assert_eq(sum.sessions, 2);
    cr_assert_eq(sum.sessions_offline, 0);
    cr_assert_eq(sum.connections, 2);

    peer_leave(&subscriber);
    sum = cluster_sum(&stage);
    cr_assert_eq(sum.sessions, 2);
    cr_assert_eq(sum.sessions_offline, 1);
    cr_assert_eq(sum.connections, 1);
    peer_leave(&publisher);

    sum = cluster_sum(&stage);
    cr_assert_eq(sum.sessions, 1, "the publisher's ended with its connection");
    cr_assert_eq(sum.sessions_offline, 1);
    cr_assert_eq(sum.connections, 0);
    stage_end(&stage);
}

Test(session, a_storm_of_takeovers_leaves_one_connection)
{
    static struct peer peers[20];
    cluster_begin(&stage, 3, NULL);

    for (unsigned at = 0; at < 20; at++) {
        bool present = peer_resume(&peers[at], &stage, MQTT_VERSION_5, "one");
        cr_assert_eq(present, at > 0);
        if (at > 0)
            (void)peer_expect_disconnect(&peers[at - 1], MQTT_SESSION_TAKEN_OVER);
    }

    struct statistics sum = cluster_sum(&stage);
    cr_assert_eq(sum.takeovers, 19);
    cr_assert_eq(sum.connections, 1);
    cr_assert_eq(sum.sessions, 1);
    cr_assert_eq(sum.greeting, 0);
    stage_end(&stage);
}
