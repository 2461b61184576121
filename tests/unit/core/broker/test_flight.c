/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/flight.h"

#include <criterion/criterion.h>

#include <stdlib.h>

/* A delivery that is told apart by `tag`; nothing is held, so nothing has to be dropped. */
static struct delivery tagged(uint32_t tag, uint8_t qos)
{
    return (struct delivery){.share = tag, .qos = qos};
}

static uint16_t enter(struct flight **flight, uint32_t tag, uint8_t qos)
{
    struct flight_entry *entry = flight_enter(flight, tagged(tag, qos));
    cr_assert_not_null(entry);
    return entry->delivery.packet_id;
}

static void expect_resend(struct flight *flight, uint32_t tag)
{
    const struct flight_entry *entry = flight_to_resend(flight);
    cr_assert_not_null(entry);
    cr_assert_eq(entry->delivery.share, tag, "%u instead of %u", entry->delivery.share, tag);
    flight_resent(flight);
}

static uint32_t random_next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

Test(flight, every_pair_of_state_and_event_leads_where_the_standard_says)
{
    static const uint8_t expected[FLIGHT_STATE_COUNT][FLIGHT_EVENT_COUNT] = {
        [FLIGHT_FREE] = {FLIGHT_AWAITS_PUBACK, FLIGHT_AWAITS_PUBREC, FLIGHT_VIOLATION,
                         FLIGHT_VIOLATION, FLIGHT_VIOLATION, FLIGHT_VIOLATION},
        [FLIGHT_AWAITS_PUBACK] = {FLIGHT_VIOLATION, FLIGHT_VIOLATION, FLIGHT_FREE, FLIGHT_VIOLATION,
                                  FLIGHT_VIOLATION, FLIGHT_VIOLATION},
        [FLIGHT_AWAITS_PUBREC] = {FLIGHT_VIOLATION, FLIGHT_VIOLATION, FLIGHT_VIOLATION,
                                  FLIGHT_AWAITS_PUBCOMP, FLIGHT_FREE, FLIGHT_VIOLATION},
        [FLIGHT_AWAITS_PUBCOMP] = {FLIGHT_VIOLATION, FLIGHT_VIOLATION, FLIGHT_VIOLATION,
                                   FLIGHT_AWAITS_PUBCOMP, FLIGHT_VIOLATION, FLIGHT_FREE},
    };

    for (uint8_t state = 0; state < FLIGHT_STATE_COUNT; state++) {
        for (uint8_t event = 0; event < FLIGHT_EVENT_COUNT; event++) {
            uint8_t next = flight_next_state(state, (enum flight_event)event);
            cr_assert_eq(next, expected[state][event], "state %u, event %u", state, event);
        }
    }
}

Test(flight, an_entry_begins_where_its_qos_says_and_is_charged)
{
    struct flight *flight = flight_create();

    uint16_t one = enter(&flight, 1, 1);
    uint16_t two = enter(&flight, 2, 2);

    cr_assert_eq(one, 1);
    cr_assert_eq(two, 2);
    cr_assert_eq(flight_find(flight, one)->state, FLIGHT_AWAITS_PUBACK);
    cr_assert_eq(flight_find(flight, two)->state, FLIGHT_AWAITS_PUBREC);
    cr_assert_eq(flight->count, 2);
    cr_assert_eq(flight->charged, 2);
    flight_destroy(flight, NULL);
}

Test(flight, an_unknown_identifier_is_nobody)
{
    struct flight *flight = flight_create();
    uint16_t       id = enter(&flight, 1, 1);

    cr_assert_null(flight_find(NULL, 1));
    cr_assert_null(flight_find(flight, 0));
    cr_assert_null(flight_find(flight, (uint16_t)(id + flight->capacity)), "the same low bits");

    flight_leave(flight, flight_find(flight, id));
    cr_assert_null(flight_find(flight, id));
    cr_assert_eq(flight->count, 0);
    cr_assert_eq(flight->charged, 0);
    flight_destroy(flight, NULL);
}

Test(flight, identifiers_wrap_and_skip_0)
{
    struct flight *flight = flight_create();
    flight->next_id = 65534;

    uint16_t ids[4];
    for (uint32_t at = 0; at < 4; at++)
        ids[at] = enter(&flight, at, 1);

    cr_assert_eq(ids[0], 65534);
    cr_assert_eq(ids[1], 65535);
    cr_assert_eq(ids[2], 1);
    cr_assert_eq(ids[3], 2);
    flight_destroy(flight, NULL);
}

Test(flight, growth_keeps_every_entry)
{
    struct flight *flight = flight_create();
    uint32_t       before = flight->capacity;

    uint16_t ids[5000];
    for (uint32_t tag = 0; tag < 5000; tag++)
        ids[tag] = enter(&flight, tag, tag % 2 == 0 ? 1 : 2);

    cr_assert_gt(flight->capacity, before);
    cr_assert_eq(flight->count, 5000);
    cr_assert_eq(flight->charged, 5000);
    for (uint32_t tag = 0; tag < 5000; tag++) {
        const struct flight_entry *entry = flight_find(flight, ids[tag]);
        cr_assert_not_null(entry);
        cr_assert_eq(entry->delivery.share, tag);
        cr_assert_eq(entry->order, tag);
    }
    flight_destroy(flight, NULL);
}

Test(flight, all_identifiers_may_be_in_use_and_no_more)
{
    struct flight *flight = flight_create();
    for (uint32_t tag = 1; tag <= 65535; tag++)
        cr_assert_eq(enter(&flight, tag, 1), tag);

    cr_assert_null(flight_enter(&flight, tagged(0, 1)));
    flight_leave(flight, flight_find(flight, 40000));

    cr_assert_eq(enter(&flight, 7, 1), 40000, "the only one that is free");
    cr_assert_eq(flight->count, 65535);
    flight_destroy(flight, NULL);
}

Test(flight, identifiers_never_collide_however_they_come_and_go)
{
    static uint32_t tag_of[65536]; /* 0: not in use */
    static uint16_t in_use[65536];
    struct flight  *flight = flight_create();
    uint64_t        random = 1;
    uint32_t        count = 0;
    uint32_t        tag = 0;

    for (unsigned step = 0; step < 400000; step++) {
        /* The bound swells and sinks, up to nearly all identifiers. */
        uint32_t bound = step / 50000 % 2 == 0 ? 60000 : 300;
        bool     enters = count == 0 || (count < bound && random_next(&random) % 16 < 11);
        if (enters) {
            uint16_t id = enter(&flight, ++tag, 1);
            cr_assert_neq(id, 0);
            cr_assert_eq(tag_of[id], 0, "identifier %u was in use", id);
            tag_of[id] = tag;
            in_use[count++] = id;
        } else {
            uint32_t             at = random_next(&random) % count;
            uint16_t             id = in_use[at];
            struct flight_entry *entry = flight_find(flight, id);
            cr_assert_not_null(entry);
            cr_assert_eq(entry->delivery.share, tag_of[id]);
            flight_leave(flight, entry);
            tag_of[id] = 0;
            in_use[at] = in_use[--count];
        }
        cr_assert_eq(flight->count, count);
    }

    for (uint32_t id = 0; id < 65536; id++)
        cr_assert_eq(flight_find(flight, (uint16_t)id) != NULL, tag_of[id] != 0);
    flight_destroy(flight, NULL);
}

Test(flight, what_is_resent_keeps_its_order_though_orders_and_identifiers_wrap)
{
    struct flight *flight = flight_create();
    flight->next_order = UINT32_MAX - 3;
    flight->next_id = 65530;
    for (uint32_t tag = 0; tag < 40; tag++)
        enter(&flight, tag, tag % 3 == 0 ? 2 : 1);

    cr_assert(flight_resume(flight));

    cr_assert_eq(flight->charged, 0);
    for (uint32_t tag = 0; tag < 40; tag++)
        expect_resend(flight, tag);
    cr_assert_null(flight_to_resend(flight));
    cr_assert_eq(flight->resend_count, 0);
    flight_destroy(flight, NULL);
}

Test(flight, what_was_finished_before_its_turn_is_not_resent)
{
    struct flight *flight = flight_create();
    uint16_t       ids[4];
    for (uint32_t tag = 0; tag < 4; tag++)
        ids[tag] = enter(&flight, tag, 1);
    cr_assert(flight_resume(flight));

    expect_resend(flight, 0);
    flight_leave(flight, flight_find(flight, ids[1]));
    flight_leave(flight, flight_find(flight, ids[3]));

    expect_resend(flight, 2);
    cr_assert_null(flight_to_resend(flight));
    flight_destroy(flight, NULL);
}

Test(flight, an_identifier_that_was_used_again_is_not_resent)
{
    struct flight *flight = flight_create();
    uint16_t       ids[3];
    for (uint32_t tag = 0; tag < 3; tag++)
        ids[tag] = enter(&flight, tag, 1);
    cr_assert(flight_resume(flight));

    flight_leave(flight, flight_find(flight, ids[1]));
    flight->next_id = ids[1];
    cr_assert_eq(enter(&flight, 99, 1), ids[1]);

    expect_resend(flight, 0);
    expect_resend(flight, 2);
    cr_assert_null(flight_to_resend(flight));
    cr_assert_eq(flight->charged, 1, "the new one alone");
    flight_destroy(flight, NULL);
}

Test(flight, a_resume_in_the_middle_of_a_resend_begins_anew_and_outlives_growth)
{
    struct flight *flight = flight_create();
    for (uint32_t tag = 0; tag < 7; tag++)
        enter(&flight, tag, 1);
    cr_assert(flight_resume(flight));
    expect_resend(flight, 0);

    cr_assert(flight_resume(flight));
    expect_resend(flight, 0);
    for (uint32_t tag = 100; tag < 200; tag++)
        enter(&flight, tag, 1);

    for (uint32_t tag = 1; tag < 7; tag++)
        expect_resend(flight, tag);
    cr_assert_null(flight_to_resend(flight));
    flight_destroy(flight, NULL);
}

Test(flight, an_empty_flight_has_nothing_to_resend)
{
    struct flight *flight = flight_create();

    cr_assert(flight_resume(flight));

    cr_assert_null(flight_to_resend(flight));
    cr_assert_eq(flight->resend_count, 0);
    flight_destroy(flight, NULL);
}

Test(flight, destroying_lets_go_of_messages)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(0, 1, 0, 2, &room);
    struct flight  *flight = flight_create();
    for (unsigned number = 0; number < 3; number++) {
        struct delivery delivery = {.message = message_retain(message), .qos = 2};
        cr_assert_not_null(flight_enter(&flight, delivery));
    }

    cr_assert(flight_resume(flight));
    flight_destroy(flight, NULL);

    cr_assert_eq(message->references, 1);
    message_release(message, NULL);
}
