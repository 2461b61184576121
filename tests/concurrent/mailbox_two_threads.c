/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Two shards' mailboxes between two real threads, each sleeping when it has nothing to do and woken
 * by the other: every parcel goes to and fro once. A plain program, because TSan is to watch it and
 * Criterion does not run under TSan. A lost wake-up is a hang, which ctest's timeout ends.
 */

#include "shard/mailbox.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define PARCELS  200000U
#define CAPACITY 64U

struct side {
    struct mailbox inbox; /* written by the other side */
    struct parking parking;
    sem_t          awake;
    struct side   *other;
    bool           begins; /* sends parcels of its own; else gives back what comes */
};

static void wake_other(struct side *side)
{
    mailbox_publish(&side->other->inbox);
    if (parking_claim(&side->other->parking))
        (void)sem_post(&side->other->awake);
}

static void sleep_until_parcels(struct side *side)
{
    parking_enter(&side->parking);
    if (!mailbox_has_parcels(&side->inbox))
        while (sem_wait(&side->awake) != 0) {
        }
    parking_leave(&side->parking);
}

/* Both sides: send while there is room, take while there is something, sleep when neither. */
static void *run(void *argument)
{
    struct side *side = argument;
    uint32_t     sent = 0;
    uint32_t     taken = 0;

    while (taken < PARCELS || sent < PARCELS) {
        bool          moved = false;
        struct parcel parcel;

        while (side->begins && sent < PARCELS && sent - taken < CAPACITY / 2) {
            bool pushed = mailbox_push(&side->other->inbox,
                                       &(struct parcel){.kind = PARCEL_BODY, .number = sent});
            assert(pushed); /* no more are under way than fit */
            sent++;
            moved = true;
        }
        while (mailbox_pop(&side->inbox, &parcel)) {
            assert(parcel.number == taken); /* in order, none lost, none twice */
            taken++;
            moved = true;
            if (!side->begins) {
                bool pushed = mailbox_push(&side->other->inbox, &parcel);
                assert(pushed);
                sent++;
            }
        }
        mailbox_return(&side->inbox);
        if (moved)
            wake_other(side);
        else
            sleep_until_parcels(side);
    }
    return NULL;
}

int main(void)
{
    static struct side sides[2];

    for (int index = 0; index < 2; index++) {
        sides[index].other = &sides[1 - index];
        sides[index].begins = index == 0;
        if (mailbox_init(&sides[index].inbox, CAPACITY) != 0 ||
            sem_init(&sides[index].awake, 0, 0) != 0)
            return EXIT_FAILURE;
    }

    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &sides[1]) != 0)
        return EXIT_FAILURE;
    (void)run(&sides[0]);
    (void)pthread_join(thread, NULL);

    for (int index = 0; index < 2; index++)
        mailbox_fini(&sides[index].inbox);
    printf("%u parcels there and back\n", PARCELS);
    return EXIT_SUCCESS;
}
