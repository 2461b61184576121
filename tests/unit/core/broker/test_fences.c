/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/fences.h"

#include "core/broker/state.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct peer  subscriber;

/* Subscribes to so many filters that this shard's segment of the interest table is replaced. */
static void grow(uint16_t home)
{
    for (unsigned number = 0; number < 400; number++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof(prefix), "f%u/", number);
        wire_subscribe(&subscriber.say, MQTT_VERSION_5, 1, cluster_filter(&stage, prefix, "", home),
                       0);
    }
    peer_say(&subscriber);
}

static void begin(void)
{
    cluster_begin(&stage, 3, NULL);
    peer_connect(&subscriber, &stage, MQTT_VERSION_5, cluster_name(&stage, "subscriber", 0));
}

Test(fences, garbage_waits_for_every_shard)
{
    begin();
    cluster_hold(&stage, 1, 0); /* its word that it has passed a turn */

    grow(0);

    cr_assert_not_null(stage.brokers[0]->fences, "arrays were replaced");
    uint32_t waiting = cluster_waiting(&stage, 1, 0);
    cr_assert_gt(waiting, 0);
    cluster_let_go(&stage, 1, 0);
    cr_assert_null(stage.brokers[0]->fences);
    stage_end(&stage);
}

Test(fences, go_in_any_order)
{
    begin();
    cluster_hold(&stage, 1, 0);
    cluster_hold(&stage, 2, 0);
    grow(0);

    cluster_let_go(&stage, 2, 0);
    cr_assert_not_null(stage.brokers[0]->fences, "the other shard is missing");
    cluster_let_go(&stage, 1, 0);

    cr_assert_null(stage.brokers[0]->fences);
    stage_end(&stage);
}

Test(fences, an_answer_to_nothing_is_ignored)
{
    begin();
    struct parcel parcel = {.kind = PARCEL_FENCE_DONE, .from = 1, .number = 12345};

    stage_begin_turn(&stage);
    broker_parcel(stage.brokers[0], &parcel);
    stage_finish_turn(&stage);

    cr_assert_null(stage.brokers[0]->fences);
    stage_end(&stage);
}

Test(fences, are_answered_with_their_number)
{
    begin();
    struct parcel parcel = {.kind = PARCEL_FENCE, .from = 2, .number = 77};

    stage_begin_turn(&stage);
    broker_parcel(stage.brokers[0], &parcel);

    struct outbox *outbox = &broker_outboxes(stage.brokers[0])[2];
    cr_assert_eq(outbox_count(outbox), 1);
    cr_assert_eq(outbox_peek(outbox)->kind, PARCEL_FENCE_DONE);
    cr_assert_eq(outbox_peek(outbox)->number, 77);
    stage_finish_turn(&stage);
    stage_end(&stage);
}

Test(fences, that_are_never_answered_end_with_the_broker)
{
    begin();
    cluster_hold(&stage, 1, 0);

    grow(0);

    cr_assert_not_null(stage.brokers[0]->fences);
    stage_end(&stage);
}
