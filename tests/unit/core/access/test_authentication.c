/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/access/authentication.h"

#include <criterion/criterion.h>

/*
 * The method of these tests: it asks for "one", then for "two", and remembers in its memory where
 * it is. "now" as the first data admits at once; anything unexpected is refused.
 */
static struct authentication_answer ask(const char *question)
{
    return (struct authentication_answer){.verdict = AUTHENTICATION_VERDICT_CONTINUE,
                                          .data = slice_text(question)};
}

static struct authentication_answer steps_begin(const struct authentication_method *method,
                                                struct authentication_memory       *memory,
                                                const struct connect *connect, struct slice data)
{
    (void)method;
    (void)connect;
    if (slice_equal(data, slice_text("now")))
        return (struct authentication_answer){.verdict = AUTHENTICATION_VERDICT_ACCEPT};
    if (slice_equal(data, slice_text("banned")))
        return (struct authentication_answer){.reason = MQTT_BANNED};
    cr_assert_eq(memory->bytes[0], 0);
    memory->bytes[0] = 1;
    return ask("one?");
}

static struct authentication_answer steps_proceed(const struct authentication_method *method,
                                                  struct authentication_memory       *memory,
                                                  struct slice                        data)
{
    (void)method;
    if (memory->bytes[0] == 1 && slice_equal(data, slice_text("one"))) {
        memory->bytes[0] = 2;
        return ask("two?");
    }
    if (memory->bytes[0] == 2 && slice_equal(data, slice_text("two")))
        return (struct authentication_answer){.verdict = AUTHENTICATION_VERDICT_ACCEPT,
                                              .data = slice_text("welcome")};
    return (struct authentication_answer){0};
}

static const struct authentication_method steps[] = {
    {.name = "steps", .begin = steps_begin, .proceed = steps_proceed}};
static const struct authentication_methods one_method = {.methods = steps, .count = 1};
static const struct authentication_methods no_methods = {0};

static struct connect connect_with(const char *method, const char *data)
{
    struct connect connect = {.version = MQTT_VERSION_5};
    if (method != NULL) {
        connect.has_authentication_method = true;
        connect.authentication_method = slice_text(method);
    }
    if (data != NULL)
        connect.authentication_data = slice_text(data);
    return connect;
}

static struct auth auth_of(enum mqtt_reason reason, const char *method, const char *data)
{
    struct auth auth = {.reason = reason, .data = slice_text(data)};
    if (method != NULL) {
        auth.has_method = true;
        auth.method = slice_text(method);
    }
    return auth;
}

static struct authentication_outcome on_auth(struct authentication *authentication,
                                             enum mqtt_reason reason, const char *method,
                                             const char *data)
{
    struct auth auth = auth_of(reason, method, data);
    return authentication_on_auth(authentication, &auth);
}

/* A client whose CONNECT was answered with "one?". */
static struct authentication *begun(void)
{
    struct connect                connect = connect_with("steps", NULL);
    struct authentication        *authentication;
    struct authentication_outcome outcome =
        authentication_on_connect(&one_method, &connect, &authentication);
    cr_assert_eq(outcome.action, AUTHENTICATION_SEND_AUTH);
    return authentication;
}

static struct authentication *running(void)
{
    struct connect                connect = connect_with("steps", "now");
    struct authentication        *authentication;
    struct authentication_outcome outcome =
        authentication_on_connect(&one_method, &connect, &authentication);
    cr_assert_eq(outcome.action, AUTHENTICATION_ADMIT);
    return authentication;
}

static void assert_refused(struct authentication_outcome outcome, enum mqtt_reason reason)
{
    cr_assert_eq(outcome.action, AUTHENTICATION_REFUSE);
    cr_assert_eq(outcome.reason, reason);
    cr_assert_eq(outcome.method.size, 0);
}

Test(authentication, a_client_without_a_method_is_admitted_at_once_and_costs_nothing)
{
    struct connect         connect = connect_with(NULL, NULL);
    struct authentication *authentication;

    struct authentication_outcome outcome =
        authentication_on_connect(&one_method, &connect, &authentication);

    cr_assert_eq(outcome.action, AUTHENTICATION_ADMIT);
    cr_assert_eq(outcome.method.size, 0); /* [MQTT-4.12.0-6] */
    cr_assert_null(authentication);
    cr_assert_not(authentication_pending(NULL));
    cr_assert(authentication_allows(NULL, PACKET_PUBLISH));
}

/* [MQTT-4.12.0-1] */
Test(authentication, an_unknown_method_is_refused_with_0x8c)
{
    struct connect         connect = connect_with("SCRAM-SHA-256", "n,,n=user");
    struct authentication *authentication;

    assert_refused(authentication_on_connect(&no_methods, &connect, &authentication),
                   MQTT_BAD_AUTHENTICATION_METHOD);
    cr_assert_null(authentication);
    assert_refused(authentication_on_connect(&one_method, &connect, &authentication),
                   MQTT_BAD_AUTHENTICATION_METHOD);
    cr_assert_null(authentication);
}

Test(authentication, data_without_a_method_is_a_protocol_error)
{
    struct connect         connect = connect_with(NULL, "secret");
    struct authentication *authentication;

    assert_refused(authentication_on_connect(&one_method, &connect, &authentication),
                   MQTT_PROTOCOL_ERROR);
}

/* [MQTT-4.12.0-7] */
Test(authentication, a_client_without_a_method_may_not_send_auth)
{
    assert_refused(on_auth(NULL, MQTT_CONTINUE_AUTHENTICATION, "steps", ""), MQTT_PROTOCOL_ERROR);
    assert_refused(on_auth(NULL, MQTT_REAUTHENTICATE, "steps", ""), MQTT_PROTOCOL_ERROR);
    assert_refused(on_auth(NULL, MQTT_SUCCESS, "steps", ""), MQTT_PROTOCOL_ERROR);
}

/* [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] */
Test(authentication, two_steps_lead_in)
{
    struct authentication *authentication = begun();

    struct authentication_outcome second =
        on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "one");
    cr_assert_eq(second.action, AUTHENTICATION_SEND_AUTH);
    cr_assert_eq(second.reason, MQTT_CONTINUE_AUTHENTICATION);
    cr_assert(slice_equal(second.method, slice_text("steps")));
    cr_assert(slice_equal(second.data, slice_text("two?")));
    cr_assert(authentication_pending(authentication));

    struct authentication_outcome last =
        on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "two");
    cr_assert_eq(last.action, AUTHENTICATION_ADMIT);
    cr_assert_eq(last.reason, MQTT_SUCCESS);
    cr_assert(slice_equal(last.method, slice_text("steps")));
    cr_assert(slice_equal(last.data, slice_text("welcome")));
    cr_assert_not(authentication_pending(authentication));
    authentication_destroy(authentication);
}

/* [MQTT-3.1.2-30] */
Test(authentication, before_the_exchange_is_done_only_auth_and_disconnect_may_come)
{
    struct authentication *authentication = begun();

    for (enum packet_type type = PACKET_CONNECT; type < PACKET_TYPE_COUNT; type++)
        cr_assert_eq(authentication_allows(authentication, type),
                     type == PACKET_AUTH || type == PACKET_DISCONNECT);
    authentication_destroy(authentication);
}

Test(authentication, only_continue_may_come_before_connack)
{
    const enum mqtt_reason wrong[] = {MQTT_SUCCESS, MQTT_REAUTHENTICATE};

    for (size_t at = 0; at < 2; at++) {
        struct authentication *authentication = begun();
        assert_refused(on_auth(authentication, wrong[at], "steps", "one"), MQTT_PROTOCOL_ERROR);
        cr_assert_not(authentication_allows(authentication, PACKET_PUBLISH));
        authentication_destroy(authentication);
    }
}

/* [MQTT-4.12.0-4] */
Test(authentication, a_refusal_of_the_method_ends_it)
{
    struct connect         connect = connect_with("steps", "banned");
    struct authentication *authentication;
    assert_refused(authentication_on_connect(&one_method, &connect, &authentication), MQTT_BANNED);
    cr_assert_null(authentication);

    authentication = begun();
    assert_refused(on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "wrong"),
                   MQTT_NOT_AUTHORIZED);
    assert_refused(on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "one"),
                   MQTT_PROTOCOL_ERROR);
    authentication_destroy(authentication);
}

/* [MQTT-4.12.0-5] [MQTT-4.12.1-1] */
Test(authentication, another_method_or_none_than_in_connect_is_refused)
{
    const char *const wrong[] = {"other", NULL, "step", "stepss"};

    for (size_t at = 0; at < 4; at++) {
        struct authentication *before = begun();
        assert_refused(on_auth(before, MQTT_CONTINUE_AUTHENTICATION, wrong[at], "one"),
                       MQTT_PROTOCOL_ERROR);
        authentication_destroy(before);

        struct authentication *later = running();
        assert_refused(on_auth(later, MQTT_REAUTHENTICATE, wrong[at], ""), MQTT_PROTOCOL_ERROR);
        authentication_destroy(later);
    }
}

/* [MQTT-4.12.1-1], and other packets go on meanwhile. */
Test(authentication, a_running_client_authenticates_again)
{
    struct authentication *authentication = running();
    cr_assert(authentication_allows(authentication, PACKET_PUBLISH));

    struct authentication_outcome first = on_auth(authentication, MQTT_REAUTHENTICATE, "steps", "");
    cr_assert_eq(first.action, AUTHENTICATION_SEND_AUTH);
    cr_assert_eq(first.reason, MQTT_CONTINUE_AUTHENTICATION);
    cr_assert(authentication_allows(authentication, PACKET_PUBLISH));
    cr_assert_not(authentication_pending(authentication));
    (void)on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "one");
    struct authentication_outcome last =
        on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "two");

    cr_assert_eq(last.action, AUTHENTICATION_SEND_AUTH);
    cr_assert_eq(last.reason, MQTT_SUCCESS);
    cr_assert(slice_equal(last.method, slice_text("steps")));
    first = on_auth(authentication, MQTT_REAUTHENTICATE, "steps", ""); /* with a clean memory */
    cr_assert_eq(first.action, AUTHENTICATION_SEND_AUTH);
    authentication_destroy(authentication);
}

/* [MQTT-4.12.1-2] */
Test(authentication, a_failed_second_authentication_is_refused)
{
    struct authentication *authentication = running();
    (void)on_auth(authentication, MQTT_REAUTHENTICATE, "steps", "");

    assert_refused(on_auth(authentication, MQTT_CONTINUE_AUTHENTICATION, "steps", "wrong"),
                   MQTT_NOT_AUTHORIZED);
    authentication_destroy(authentication);
}

Test(authentication, a_running_client_sends_neither_continue_nor_success_nor_asks_twice)
{
    const enum mqtt_reason wrong[] = {MQTT_CONTINUE_AUTHENTICATION, MQTT_SUCCESS};

    for (size_t at = 0; at < 2; at++) {
        struct authentication *authentication = running();
        assert_refused(on_auth(authentication, wrong[at], "steps", ""), MQTT_PROTOCOL_ERROR);
        authentication_destroy(authentication);
    }
    struct authentication *authentication = running();
    (void)on_auth(authentication, MQTT_REAUTHENTICATE, "steps", "");
    assert_refused(on_auth(authentication, MQTT_REAUTHENTICATE, "steps", ""), MQTT_PROTOCOL_ERROR);
    authentication_destroy(authentication);
}
