/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/delivery.h"

#include <criterion/criterion.h>

/* `number` is the payload's size, so that messages are told apart by it; the topic is one byte. */
static struct delivery delivery_of(uint32_t number, uint8_t qos)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(0, 1, 0, number, &room);
    cr_assert_not_null(message);
    return (struct delivery){.message = message, .qos = qos};
}

static void push(struct backlog *backlog, uint32_t number, uint8_t qos)
{
    cr_assert(backlog_push(backlog, delivery_of(number, qos)));
}

static void expect_pop(struct backlog *backlog, uint32_t number)
{
    cr_assert_eq(backlog_front(backlog)->message->payload_size, number);
    struct delivery delivery = backlog_pop(backlog);
    cr_assert_eq(delivery.message->payload_size, number);
    delivery_drop(&delivery, NULL);
}

static void expect_qos0(struct backlog *backlog, uint32_t number)
{
    struct delivery delivery;
    cr_assert(backlog_take_qos0(backlog, &delivery));
    cr_assert_eq(delivery.qos, 0);
    cr_assert_eq(delivery.message->payload_size, number);
    delivery_drop(&delivery, NULL);
}

Test(delivery, no_identifier_packs_to_nothing)
{
    bool            failed = false;
    uint32_t        single = 0;
    const uint32_t *view = NULL;

    uint64_t packed = identifiers_pack(NULL, 0, &failed);

    cr_assert_eq(packed, 0);
    cr_assert_not(failed);
    cr_assert_eq(identifiers_view(packed, &single, &view), 0);
    identifiers_free(packed);
}

Test(delivery, one_identifier_packs_into_the_word_itself)
{
    static const uint32_t values[] = {1, 2, 127, 128, 268435455};

    for (size_t at = 0; at < sizeof(values) / sizeof(values[0]); at++) {
        bool            failed = false;
        uint32_t        single = 0;
        const uint32_t *view = NULL;
        uint64_t        packed = identifiers_pack(&values[at], 1, &failed);

        cr_assert_not(failed);
        cr_assert_eq(identifiers_view(packed, &single, &view), 1);
        cr_assert_eq(view, &single);
        cr_assert_eq(single, values[at]);
        identifiers_free(packed);
    }
}

Test(delivery, many_identifiers_pack_into_a_list_in_order)
{
    uint32_t        values[300];
    bool            failed = false;
    uint32_t        single = 0;
    const uint32_t *view = NULL;
    for (uint32_t at = 0; at < 300; at++)
        values[at] = 268435455 - at;

    for (uint32_t count = 2; count <= 300; count += 149) {
        uint64_t packed = identifiers_pack(values, count, &failed);
        cr_assert_eq(identifiers_view(packed, &single, &view), count);
        cr_assert_arr_eq(view, values, count * sizeof(values[0]));
        identifiers_free(packed);
    }
    cr_assert_not(failed);
}

Test(delivery, dropping_lets_go_of_message_and_identifiers)
{
    static const uint32_t identifiers[] = {1, 2, 3};
    bool                  failed = false;
    struct delivery       delivery = delivery_of(4, 1);
    struct message       *message = message_retain(delivery.message);
    delivery.identifiers = identifiers_pack(identifiers, 3, &failed);

    delivery_drop(&delivery, NULL);

    cr_assert_eq(message->references, 1);
    cr_assert_null(delivery.message);
    cr_assert_eq(delivery.identifiers, 0);
    message_release(message, NULL);
}

Test(delivery, its_size_is_topic_properties_and_payload)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(0, 5, 30, 200, &room);
    struct delivery delivery = {.message = message};

    cr_assert_eq(delivery_size(&delivery), 235);
    delivery_drop(&delivery, NULL);
}

Test(backlog, first_in_first_out_across_growth_and_wrap)
{
    struct backlog *backlog = backlog_create();
    uint32_t        pushed = 0;
    uint32_t        popped = 0;
    cr_assert_null(backlog_front(backlog));

    for (unsigned round = 0; round < 60; round++) {
        for (unsigned number = 0; number < 5; number++)
            push(backlog, pushed++, 1);
        for (unsigned number = 0; number < 3; number++)
            expect_pop(backlog, popped++);
        cr_assert_eq(backlog->count, pushed - popped);
    }

    while (popped < pushed)
        expect_pop(backlog, popped++);
    cr_assert_null(backlog_front(backlog));
    cr_assert_eq(backlog->bytes, 0);
    backlog_destroy(backlog, NULL);
}

Test(backlog, counts_what_is_in_it)
{
    struct backlog *backlog = backlog_create();

    push(backlog, 10, 0);
    push(backlog, 20, 1);
    push(backlog, 30, 0);
    cr_assert_eq(backlog->count, 3);
    cr_assert_eq(backlog->qos0_count, 2);
    cr_assert_eq(backlog->bytes, 63, "a byte of topic each");

    expect_qos0(backlog, 10);
    expect_pop(backlog, 20);
    cr_assert_eq(backlog->count, 1);
    cr_assert_eq(backlog->qos0_count, 1);
    cr_assert_eq(backlog->bytes, 31);
    backlog_destroy(backlog, NULL);
}

Test(backlog, the_oldest_qos_0_is_taken_out_of_the_middle)
{
    struct backlog *backlog = backlog_create();
    struct delivery none;
    for (uint32_t number = 0; number < 8; number++)
        push(backlog, number, number % 3 == 2 ? 0 : 1); /* 2 and 5 */

    expect_qos0(backlog, 2);
    expect_qos0(backlog, 5);
    cr_assert_not(backlog_take_qos0(backlog, &none));

    cr_assert_eq(backlog->count, 6);
    static const uint32_t rest[] = {0, 1, 3, 4, 6, 7};
    for (unsigned at = 0; at < 6; at++)
        expect_pop(backlog, rest[at]);
    cr_assert_null(backlog_front(backlog));
    backlog_destroy(backlog, NULL);
}

Test(backlog, the_front_is_never_a_hole)
{
    struct backlog *backlog = backlog_create();
    push(backlog, 0, 0);
    push(backlog, 1, 0);
    push(backlog, 2, 1);
    push(backlog, 3, 0);
    push(backlog, 4, 0);

    expect_qos0(backlog, 0); /* the front itself */
    expect_qos0(backlog, 1);
    cr_assert_eq(backlog_front(backlog)->message->payload_size, 2);
    expect_qos0(backlog, 3); /* a hole behind the front */

    expect_pop(backlog, 2);
    cr_assert_eq(backlog_front(backlog)->message->payload_size, 4);
    expect_qos0(backlog, 4);
    cr_assert_null(backlog_front(backlog));
    backlog_destroy(backlog, NULL);
}

Test(backlog, growth_leaves_holes_behind)
{
    struct backlog *backlog = backlog_create();
    for (uint32_t number = 0; number < 8; number++)
        push(backlog, number, number % 2 == 1 ? 0 : 1);
    expect_qos0(backlog, 1);
    expect_qos0(backlog, 3);
    expect_qos0(backlog, 5);
    cr_assert_eq(backlog->next - backlog->first, 8, "holes take room");

    push(backlog, 8, 1);

    cr_assert_eq(backlog->next - backlog->first, 6);
    cr_assert_eq(backlog->count, 6);
    cr_assert_eq(backlog->qos0_count, 1);
    static const uint32_t rest[] = {0, 2, 4, 6, 7, 8};
    for (unsigned at = 0; at < 6; at++)
        expect_pop(backlog, rest[at]);
    backlog_destroy(backlog, NULL);
}

Test(backlog, destroying_lets_go_of_what_is_in_it_but_not_of_holes)
{
    struct backlog *backlog = backlog_create();
    struct delivery kept;
    for (uint32_t number = 0; number < 6; number++)
        push(backlog, number, number == 3 ? 0 : 1);
    cr_assert(backlog_take_qos0(backlog, &kept));

    backlog_destroy(backlog, NULL);

    cr_assert_eq(kept.message->references, 1);
    delivery_drop(&kept, NULL);
}

Test(backlog, agrees_with_a_plain_list_over_a_random_program)
{
    struct backlog *backlog = backlog_create();
    uint32_t        numbers[64];
    uint8_t         qos[64];
    uint32_t        count = 0;
    uint32_t        pushed = 0;
    uint64_t        random = 5;

    for (unsigned step = 0; step < 20000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        uint32_t what = (uint32_t)(random >> 40) % 5;
        uint32_t taken = 64; /* nothing */
        if (what < 3 && count < 60) {
            qos[count] = (uint8_t)((random >> 50) % 3);
            push(backlog, pushed % 100, qos[count]);
            numbers[count++] = pushed++ % 100;
        } else if (what == 3 && count > 0) {
            expect_pop(backlog, numbers[0]);
            taken = 0;
        } else if (what == 4) {
            for (taken = 0; taken < count && qos[taken] != 0;)
                taken++;
            if (taken < count)
                expect_qos0(backlog, numbers[taken]);
        }
        if (taken < count) {
            count--;
            memmove(&numbers[taken], &numbers[taken + 1], (count - taken) * sizeof(numbers[0]));
            memmove(&qos[taken], &qos[taken + 1], count - taken);
        }
        cr_assert_eq(backlog->count, count);
    }

    backlog_destroy(backlog, NULL);
}
