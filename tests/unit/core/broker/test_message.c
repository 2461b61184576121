/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/message.h"

#include <criterion/criterion.h>

#define SHARDS 3U

static struct message *message_of(uint16_t shard, const char *topic, const char *payload)
{
    uint8_t        *room = NULL;
    struct slice    topic_slice = slice_text(topic);
    struct slice    payload_slice = slice_text(payload);
    struct message *message =
        message_create(shard, (uint16_t)topic_slice.size, 0, payload_slice.size, &room);
    cr_assert_not_null(message);
    memcpy(room, topic_slice.data, topic_slice.size);
    memcpy(room + topic_slice.size, payload_slice.data, payload_slice.size);
    return message;
}

/* What `shard` has for `target`; it must be one RELEASE of `message`. */
static void expect_release(struct outbox outboxes[SHARDS], uint16_t target,
                           const struct message *message)
{
    const struct parcel *parcel = outbox_peek(&outboxes[target]);
    cr_assert_not_null(parcel);
    cr_assert_eq(parcel->kind, PARCEL_RELEASE);
    cr_assert_eq(parcel->pointer, message);
    outbox_pop(&outboxes[target]);
}

static void expect_quiet(struct outbox outboxes[SHARDS])
{
    for (uint16_t target = 0; target < SHARDS; target++)
        cr_assert_eq(outbox_count(&outboxes[target]), 0);
}

static void end(struct outbox outboxes[SHARDS])
{
    for (uint16_t target = 0; target < SHARDS; target++)
        outbox_fini(&outboxes[target]);
}

Test(message, topic_properties_and_payload_lie_back_to_back)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(2, 3, 4, 5, &room);

    memcpy(room, "topPROPhello", 12);

    cr_assert(slice_equal(message_topic(message), slice_text("top")));
    cr_assert(slice_equal(message_forward(message), slice_text("PROP")));
    cr_assert(slice_equal(message_payload(message), slice_text("hello")));
    cr_assert_eq(message->references, 1);
    cr_assert_eq(message->home, 2);
    cr_assert_eq(message->publisher_shard, 2);
    cr_assert_null(message->origin);
    message_release(message, NULL);
}

Test(message, expires_when_its_moment_has_come)
{
    struct message message = {.expires_ms = 1000};

    cr_assert_not(message_expired(&message, 999));
    cr_assert(message_expired(&message, 1000));
    message.expires_ms = 0;
    cr_assert_not(message_expired(&message, UINT64_MAX), "0 is never");
}

Test(message, the_last_reference_frees_and_says_nothing)
{
    struct outbox   outboxes[SHARDS] = {0};
    struct message *message = message_of(0, "a", "x");
    (void)message_retain(message);

    message_release(message, outboxes);
    cr_assert_eq(message->references, 1);
    message_release(message, outboxes);

    expect_quiet(outboxes);
    end(outboxes);
}

Test(message, a_proxy_has_the_same_bytes_and_its_own_count)
{
    struct outbox   of_1[SHARDS] = {0};
    struct message *origin = message_of(0, "a/b", "payload");
    origin->qos = 2;
    origin->flags = MESSAGE_RETAIN;
    origin->publisher = 77;
    origin->expires_ms = 5000;

    struct message *proxy = message_create_proxy(0, origin);
    (void)message_retain(proxy);

    cr_assert_eq(proxy->bytes, origin->bytes);
    cr_assert(slice_equal(message_topic(proxy), slice_text("a/b")));
    cr_assert(slice_equal(message_payload(proxy), slice_text("payload")));
    cr_assert_eq(proxy->qos, 2);
    cr_assert_eq(proxy->flags, MESSAGE_RETAIN);
    cr_assert_eq(proxy->publisher, 77);
    cr_assert_eq(proxy->expires_ms, 5000);
    cr_assert_eq(proxy->references, 2);
    cr_assert_eq(origin->references, 1, "the one it stands for");
    message_release(proxy, of_1);
    expect_quiet(of_1);
    message_release(proxy, of_1);
    expect_release(of_1, 0, origin);
    expect_quiet(of_1);
    message_release(origin, NULL);
    end(of_1);
}

/* 0 published, 1 has the share group, 2 the member: each counts on its own header only. */
Test(message, a_proxy_of_a_proxy_goes_home_step_by_step)
{
    struct outbox   of_0[SHARDS] = {0};
    struct outbox   of_1[SHARDS] = {0};
    struct outbox   of_2[SHARDS] = {0};
    struct message *origin = message_of(0, "a", "x");
    struct message *at_1 = message_create_proxy(0, message_retain(origin));
    struct message *at_2 = message_create_proxy(1, message_retain(at_1));
    message_release(origin, of_0); /* the publisher is through */
    message_release(at_1, of_1);   /* the group's home, too */
    expect_quiet(of_0);
    expect_quiet(of_1);

    message_release(at_2, of_2);
    expect_release(of_2, 1, at_1);
    message_release(at_1, of_1);
    expect_release(of_1, 0, origin);
    message_release(origin, of_0);

    expect_quiet(of_0);
    expect_quiet(of_1);
    expect_quiet(of_2);
    end(of_0);
    end(of_1);
    end(of_2);
}

Test(message, a_chain_ends_at_once_when_all_shards_have_stopped)
{
    struct message *origin = message_of(0, "a", "x");
    struct message *at_1 = message_create_proxy(0, origin);
    struct message *at_2 = message_create_proxy(1, at_1);
    (void)message_retain(origin);

    message_release_stopped(at_2);

    cr_assert_eq(origin->references, 1);
    message_release_stopped(origin);
    message_release_stopped(NULL);
}
