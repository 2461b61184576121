/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Enhanced authentication at the level of bytes, with a method of two steps that the test brings
 * along: the broker itself has none. The machine alone is tested in core/access; see
 * docs/conformance.md.
 */
#include "core/broker/state.h"
#include "tests/support/stage_expect.h"

static struct stage stage;

/* "one?" wants "one"; anything else is refused. */
static struct authentication_answer step_begin(const struct authentication_method *method,
                                               struct authentication_memory       *memory,
                                               const struct connect *connect, struct slice data)
{
    (void)method;
    (void)memory;
    (void)connect;
    (void)data;
    return (struct authentication_answer){.verdict = AUTHENTICATION_VERDICT_CONTINUE,
                                          .data = slice_text("one?")};
}

static struct authentication_answer step_proceed(const struct authentication_method *method,
                                                 struct authentication_memory       *memory,
                                                 struct slice                        data)
{
    (void)method;
    (void)memory;
    if (!slice_equal(data, slice_text("one")))
        return (struct authentication_answer){.reason = MQTT_NOT_AUTHORIZED};
    return (struct authentication_answer){.verdict = AUTHENTICATION_VERDICT_ACCEPT,
                                          .data = slice_text("welcome")};
}

static const struct authentication_method methods[] = {
    {.name = "step", .begin = step_begin, .proceed = step_proceed}};

static void begin(void)
{
    stage_begin(&stage, NULL);
    for (uint16_t shard = 0; shard < stage.shard_count; shard++)
        stage.brokers[shard]->authentication_methods =
            (struct authentication_methods){.methods = methods, .count = 1};
}

static void end(void)
{
    stage_end(&stage);
}

TestSuite(conformance_auth, .init = begin, .fini = end);

static void say_auth(struct peer *peer, enum mqtt_reason reason, const char *method,
                     const char *data)
{
    struct auth auth = {.reason = reason,
                        .has_method = true,
                        .method = slice_text(method),
                        .data = slice_text(data)};
    wire_auth_of(&peer->say, &auth);
    peer_say(peer);
}

static struct auth hear_auth(struct peer *peer)
{
    struct frame frame;
    struct auth  auth;
    peer_expect(peer, PACKET_AUTH, &frame);
    cr_assert_eq(auth_decode(frame.flags, frame.body, &auth), MQTT_SUCCESS);
    cr_assert_eq(auth.reason_string.size, 0);
    return auth;
}

static void expect_auth(struct peer *peer, enum mqtt_reason reason, const char *data)
{
    struct auth auth = hear_auth(peer);
    cr_assert_eq(auth.reason, reason);
    cr_assert(slice_equal(auth.method, slice_text("step"))); /* [MQTT-4.12.0-5] */
    cr_assert(slice_equal(auth.data, slice_text(data)));
}

/* A client whose CONNECT was answered with a question. */
static void peer_begin(struct peer *peer)
{
    struct connect connect = connect_of(MQTT_VERSION_5, slice_text("client"));
    connect.has_authentication_method = true;
    connect.authentication_method = slice_text("step");
    peer_open(peer, &stage, MQTT_VERSION_5);
    wire_connect_of(&peer->say, &connect);
    peer_say(peer);
    expect_auth(peer, MQTT_CONTINUE_AUTHENTICATION, "one?");
}

static void peer_come_in(struct peer *peer)
{
    peer_begin(peer);
    say_auth(peer, MQTT_CONTINUE_AUTHENTICATION, "step", "one");
    struct connack connack = peer_expect_connack(peer, MQTT_SUCCESS);
    cr_assert(slice_equal(connack.authentication_method, slice_text("step")));
    cr_assert(slice_equal(connack.authentication_data, slice_text("welcome")));
}

/* [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.2.0-1] [MQTT-3.15.2-2] [MQTT-3.15.2-3] */
Test(conformance_auth, a_client_is_asked_and_let_in)
{
    static struct peer peer;

    peer_come_in(&peer);

    peer_subscribe(&peer, "a", 0);
    peer_publish(&peer, "a", "x");
    (void)peer_expect_publish(&peer, "a", "x");
}

/* [MQTT-4.12.0-4] */
Test(conformance_auth, a_wrong_answer_is_told_and_closed)
{
    static struct peer peer;
    peer_begin(&peer);

    say_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "step", "two");

    (void)peer_expect_connack(&peer, MQTT_NOT_AUTHORIZED);
    peer_expect_end(&peer);
}

/* [MQTT-3.1.2-30] [MQTT-3.1.4-6] */
Test(conformance_auth, nothing_else_is_taken_before_the_exchange_is_done)
{
    static struct peer watcher;
    peer_connect(&watcher, &stage, MQTT_VERSION_5, "watcher");
    peer_subscribe(&watcher, "#", 0);

    for (unsigned which = 0; which < 4; which++) {
        static struct peer peer;
        struct frame       frame;
        peer_begin(&peer);
        if (which == 0)
            wire_publish(&peer.say, MQTT_VERSION_5, "a", "x", 0, 0);
        else if (which == 1)
            wire_subscribe(&peer.say, MQTT_VERSION_5, 1, "a", 0);
        else if (which == 2)
            wire_ping(&peer.say, PACKET_PINGREQ);
        else
            wire_connect(&peer.say, MQTT_VERSION_5, "client");
        peer_say(&peer);
        if (peer_hear(&peer, &frame))
            cr_assert_eq(frame.type, PACKET_CONNACK);
        peer_expect_end(&peer);
        peer_leave(&peer);
    }
    peer_expect_silence(&watcher);
}

Test(conformance_auth, a_client_may_give_up_in_the_middle)
{
    static struct peer polite;
    static struct peer rude;
    peer_begin(&polite);
    peer_disconnect(&polite, MQTT_SUCCESS);
    peer_expect_end(&polite);

    peer_begin(&rude);
    peer_cut(&rude);
}

/* [MQTT-4.12.0-3] [MQTT-4.12.0-5] */
Test(conformance_auth, another_reason_or_method_ends_the_exchange)
{
    for (unsigned which = 0; which < 3; which++) {
        static struct peer peer;
        struct frame       frame;
        peer_begin(&peer);
        if (which == 0)
            say_auth(&peer, MQTT_REAUTHENTICATE, "step", "one");
        else if (which == 1)
            say_auth(&peer, MQTT_SUCCESS, "step", "one");
        else
            say_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "leap", "one");
        if (peer_hear(&peer, &frame)) {
            cr_assert_eq(frame.type, PACKET_CONNACK);
            cr_assert_geq(frame.body.data[1], 0x80);
        }
        peer_expect_end(&peer);
        peer_leave(&peer);
    }
}

/* [MQTT-4.12.1-1]; other packets go on meanwhile. */
Test(conformance_auth, a_running_client_authenticates_again)
{
    static struct peer peer;
    struct frame       frame;
    peer_come_in(&peer);

    say_auth(&peer, MQTT_REAUTHENTICATE, "step", "");
    expect_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "one?");
    wire_ping(&peer.say, PACKET_PINGREQ);
    peer_say(&peer);
    peer_expect(&peer, PACKET_PINGRESP, &frame);
    say_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "step", "one");

    expect_auth(&peer, MQTT_SUCCESS, "welcome");
    peer_expect_silence(&peer);
    cr_assert(peer.open);
}

/* [MQTT-4.12.1-2] */
Test(conformance_auth, a_failed_second_authentication_ends_the_link)
{
    static struct peer peer;
    static struct peer other;
    peer_come_in(&peer);
    say_auth(&peer, MQTT_REAUTHENTICATE, "step", "");
    expect_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "one?");
    say_auth(&peer, MQTT_CONTINUE_AUTHENTICATION, "step", "wrong");
    (void)peer_expect_disconnect(&peer, MQTT_NOT_AUTHORIZED);

    peer_come_in(&other);
    say_auth(&other, MQTT_REAUTHENTICATE, "leap", "");
    (void)peer_expect_disconnect(&other, MQTT_PROTOCOL_ERROR);
}

/* An exchange that is never finished falls under the connect timeout. */
Test(conformance_auth, an_exchange_has_no_more_time_than_a_connect)
{
    static struct peer peer;
    peer_begin(&peer);

    stage_pass(&stage, stage.options.protocol.connect_timeout_ms + 1000);

    cr_assert(peer.ended);
}
