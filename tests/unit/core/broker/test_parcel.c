/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/broker.h"
#include "core/broker/message.h"
#include "core/broker/parcel.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static void push(struct outbox *outbox, uint32_t number)
{
    outbox_push(outbox, (struct parcel){.kind = PARCEL_FENCE, .number = number});
}

static void expect(struct outbox *outbox, uint32_t number)
{
    const struct parcel *parcel = outbox_peek(outbox);
    cr_assert_not_null(parcel);
    cr_assert_eq(parcel->number, number);
    outbox_pop(outbox);
}

Test(parcel, an_outbox_gives_parcels_in_order_across_growth)
{
    struct outbox outbox = {0};
    uint32_t      pushed = 0;
    uint32_t      popped = 0;
    cr_assert_null(outbox_peek(&outbox));

    for (unsigned round = 0; round < 300; round++) {
        for (unsigned number = 0; number < 7; number++)
            push(&outbox, pushed++);
        for (unsigned number = 0; number < 4; number++)
            expect(&outbox, popped++);
        cr_assert_eq(outbox_count(&outbox), pushed - popped);
    }

    cr_assert_gt(outbox.capacity, 256);
    while (popped < pushed)
        expect(&outbox, popped++);
    cr_assert_null(outbox_peek(&outbox));
    outbox_fini(&outbox);
}

Test(parcel, the_running_numbers_of_an_outbox_wrap)
{
    struct outbox outbox = {.first = UINT32_MAX - 100, .next = UINT32_MAX - 100};

    for (uint32_t number = 0; number < 1000; number++)
        push(&outbox, number);

    cr_assert_eq(outbox_count(&outbox), 1000);
    for (uint32_t number = 0; number < 1000; number++)
        expect(&outbox, number);
    cr_assert_eq(outbox_count(&outbox), 0);
    outbox_fini(&outbox);
}

Test(parcel, an_outbox_that_grows_keeps_what_a_parcel_says)
{
    struct outbox outbox = {0};
    int           thing = 0;
    outbox_push(&outbox, (struct parcel){.kind = PARCEL_SHARE_SETTLED,
                                         .flags = 3,
                                         .number = 9,
                                         .pointer = &thing,
                                         .words = {1, UINT64_MAX}});

    for (uint32_t number = 0; number < 256; number++)
        push(&outbox, number);

    const struct parcel *parcel = outbox_peek(&outbox);
    cr_assert_eq(parcel->kind, PARCEL_SHARE_SETTLED);
    cr_assert_eq(parcel->flags, 3);
    cr_assert_eq(parcel->number, 9);
    cr_assert_eq(parcel->pointer, &thing);
    cr_assert_eq(parcel->words[0], 1);
    cr_assert_eq(parcel->words[1], UINT64_MAX);
    outbox_fini(&outbox);
}

Test(parcel, a_message_that_is_never_carried_goes)
{
    static const uint8_t kinds[] = {PARCEL_PUBLISH, PARCEL_RELEASE, PARCEL_RETAIN,
                                    PARCEL_SHARE_DELIVER, PARCEL_SHARE_RETURN};
    uint8_t             *room = NULL;
    struct message      *message = message_create(0, 1, 0, 1, &room);

    for (size_t at = 0; at < sizeof(kinds); at++) {
        struct parcel parcel = {.kind = kinds[at], .pointer = message_retain(message)};
        parcel_drop(&parcel);
        cr_assert_eq(message->references, 1, "kind %u", kinds[at]);
    }

    message_release(message, NULL);
}

Test(parcel, kinds_that_own_nothing_are_left_alone)
{
    static const uint8_t kinds[] = {PARCEL_NONE, PARCEL_FENCE, PARCEL_FENCE_DONE,
                                    PARCEL_SHARE_SETTLED, PARCEL_SHARE_PRESENCE};
    int                  nobodys = 0;

    for (size_t at = 0; at < sizeof(kinds); at++) {
        struct parcel parcel = {.kind = kinds[at], .pointer = &nobodys};
        parcel_drop(&parcel);
    }

    cr_assert_eq(nobodys, 0);
}

Test(parcel, an_outbox_that_ends_drops_what_is_in_it)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(0, 1, 0, 1, &room);
    struct outbox   outbox = {0};
    for (unsigned number = 0; number < 3; number++)
        outbox_push(&outbox,
                    (struct parcel){.kind = PARCEL_PUBLISH, .pointer = message_retain(message)});
    outbox_push(&outbox, (struct parcel){.kind = PARCEL_STATISTICS,
                                         .pointer = calloc(1, sizeof(struct statistics))});
    outbox_pop(&outbox); /* carried: not ours any more */

    outbox_fini(&outbox);

    cr_assert_eq(message->references, 2);
    cr_assert_eq(outbox_count(&outbox), 0);
    message_release(message, NULL);
    message_release(message, NULL);
}
