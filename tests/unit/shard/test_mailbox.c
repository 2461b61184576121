/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/mailbox.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

static struct parcel numbered(uint32_t number)
{
    return (struct parcel){.kind = PARCEL_FENCE, .number = number};
}

Test(mailbox, nothing_is_seen_before_it_was_published)
{
    struct mailbox mailbox;
    struct parcel  parcel = numbered(1);
    cr_assert_eq(mailbox_init(&mailbox, 8), 0);

    cr_assert(mailbox_push(&mailbox, &parcel));

    cr_assert_not(mailbox_has_parcels(&mailbox));
    cr_assert_not(mailbox_pop(&mailbox, &parcel));
    mailbox_publish(&mailbox);
    cr_assert(mailbox_has_parcels(&mailbox));
    cr_assert(mailbox_pop(&mailbox, &parcel));
    cr_assert_eq(parcel.number, 1);
    mailbox_fini(&mailbox);
}

Test(mailbox, is_full_at_its_capacity_and_has_room_again_when_parcels_were_returned)
{
    struct mailbox mailbox;
    struct parcel  parcel;
    cr_assert_eq(mailbox_init(&mailbox, 4), 0);
    for (uint32_t i = 0; i < 4; i++) {
        parcel = numbered(i);
        cr_assert(mailbox_push(&mailbox, &parcel));
    }
    mailbox_publish(&mailbox);

    cr_assert_not(mailbox_push(&mailbox, &parcel));
    cr_assert(mailbox_pop(&mailbox, &parcel));
    cr_assert_not(mailbox_push(&mailbox, &parcel), "popped, but not returned yet");
    mailbox_return(&mailbox);

    cr_assert(mailbox_push(&mailbox, &parcel));
    cr_assert_eq(mailbox.high_water, 4);
    mailbox_fini(&mailbox);
}

Test(mailbox, running_numbers_may_wrap)
{
    struct mailbox mailbox;
    cr_assert_eq(mailbox_init(&mailbox, 4), 0);
    uint32_t start = UINT32_MAX - 5;
    mailbox.pushed = mailbox.popped_seen = mailbox.taken = mailbox.acquired = start;
    atomic_store(&mailbox.published, start);
    atomic_store(&mailbox.popped, start);

    for (uint32_t i = 0; i < 20; i++) {
        struct parcel parcel = numbered(i);
        cr_assert(mailbox_push(&mailbox, &parcel));
        mailbox_publish(&mailbox);
        cr_assert(mailbox_pop(&mailbox, &parcel));
        cr_assert_eq(parcel.number, i);
        mailbox_return(&mailbox);
    }
    mailbox_fini(&mailbox);
}

#define PARCELS 200000U

static struct mailbox shared;

static void *produce(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < PARCELS;) {
        for (uint32_t batch = 0; batch < 7 && i < PARCELS; batch++) {
            struct parcel parcel = numbered(i);
            if (!mailbox_push(&shared, &parcel))
                break;
            i++;
        }
        mailbox_publish(&shared);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

Test(mailbox, two_threads_lose_and_reorder_nothing)
{
    pthread_t     producer;
    struct parcel parcel;
    cr_assert_eq(mailbox_init(&shared, 64), 0);
    cr_assert_eq(pthread_create(&producer, NULL, produce, NULL), 0);

    for (uint32_t expected = 0; expected < PARCELS;) {
        while (mailbox_pop(&shared, &parcel)) {
            cr_assert_eq(parcel.number, expected);
            expected++;
        }
        mailbox_return(&shared);
        sched_yield();
    }

    pthread_join(producer, NULL);
    mailbox_fini(&shared);
}

Test(mailbox, only_one_producer_may_wake_a_parked_consumer)
{
    struct parking parking = {0};

    cr_assert_not(parking_claim(&parking));
    parking_enter(&parking);
    cr_assert(parking_claim(&parking));
    cr_assert_not(parking_claim(&parking));
    parking_enter(&parking);
    parking_leave(&parking);
    cr_assert_not(parking_claim(&parking));
}

#define ROUNDS 20000U

static struct parking flag;
static _Atomic bool   woken;

static void *produce_and_wake(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct parcel parcel = numbered(i);
        while (!mailbox_push(&shared, &parcel))
            sched_yield();
        mailbox_publish(&shared);
        if (parking_claim(&flag))
            atomic_store(&woken, true);
    }
    return NULL;
}

/* A consumer that "sleeps" until it is woken would hang here for ever if a wake were lost. */
Test(mailbox, no_wake_is_lost, .timeout = 60)
{
    pthread_t     producer;
    struct parcel parcel;
    uint32_t      expected = 0;
    cr_assert_eq(mailbox_init(&shared, 16), 0);
    cr_assert_eq(pthread_create(&producer, NULL, produce_and_wake, NULL), 0);

    while (expected < ROUNDS) {
        while (mailbox_pop(&shared, &parcel))
            cr_assert_eq(parcel.number, expected++);
        mailbox_return(&shared);
        if (expected == ROUNDS)
            break;
        atomic_store(&woken, false);
        parking_enter(&flag);
        while (!mailbox_has_parcels(&shared) && !atomic_load(&woken))
            sched_yield();
        parking_leave(&flag);
    }

    pthread_join(producer, NULL);
    mailbox_fini(&shared);
}
