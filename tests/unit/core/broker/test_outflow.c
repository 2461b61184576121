/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/outflow.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static void append_text(struct outflow_pool *pool, struct outflow *outflow, const char *text)
{
    uint32_t size = (uint32_t)strlen(text);
    uint8_t *room = outflow_append(pool, outflow, size, 0);
    cr_assert_not_null(room);
    memcpy(room, text, size);
}

static struct message *message_of(uint32_t size, uint8_t fill)
{
    uint8_t        *room = NULL;
    struct message *message = message_create(0, 1, 0, size, &room);
    cr_assert_not_null(message);
    memset(room, fill, size + 1);
    return message;
}

/* All that waits, in one allocation of just its size. */
static uint8_t *copy_of(const struct outflow *outflow)
{
    static struct slice parts[4096];
    uint32_t            count = outflow_view(outflow, parts, 4096);
    uint8_t            *copy = malloc(outflow->size > 0 ? outflow->size : 1);
    uint64_t            size = 0;
    cr_assert_not_null(copy);
    for (uint32_t at = 0; at < count; at++) {
        cr_assert_leq(size + parts[at].size, outflow->size);
        memcpy(copy + size, parts[at].data, parts[at].size);
        size += parts[at].size;
    }
    cr_assert_eq(size, outflow->size);
    return copy;
}

static void expect_text(const struct outflow *outflow, const char *text)
{
    uint8_t *copy = copy_of(outflow);
    cr_assert_eq(outflow->size, strlen(text));
    cr_assert_arr_eq(copy, text, strlen(text));
    free(copy);
}

Test(outflow, neighbouring_frames_are_one_part)
{
    struct outflow_pool pool;
    struct slice        parts[4];
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);

    append_text(&pool, outflow, "one");
    append_text(&pool, outflow, "two");
    append_text(&pool, outflow, "three");

    cr_assert_eq(outflow_view(outflow, parts, 4), 1);
    cr_assert(slice_equal(parts[0], slice_text("onetwothree")));
    cr_assert_eq(outflow->size, 11);
    cr_assert_eq(outflow->total, 11);
    cr_assert_eq(pool.bytes, 11);
    outflow_drop(&pool, outflow);
    cr_assert_eq(pool.bytes, 0);
    outflow_pool_fini(&pool);
}

Test(outflow, the_first_chunk_is_of_the_class_that_was_asked_for)
{
    static const uint32_t whole[CHUNK_CLASSES] = {256, 2048, CHUNK_SIZE_MAX};
    struct outflow_pool   pool;
    outflow_pool_init(&pool, NULL);

    for (uint32_t class = 0; class < CHUNK_CLASSES; class ++) {
        struct outflow *outflow = outflow_take(&pool);
        cr_assert_not_null(outflow_append(&pool, outflow, 1, class));
        cr_assert_eq(outflow->tail->class, class);
        cr_assert_eq(outflow->tail->capacity, whole[class] - sizeof(struct chunk));
        outflow_drop(&pool, outflow);
    }

    outflow_pool_fini(&pool);
}

Test(outflow, a_frame_that_does_not_fit_its_class_gets_a_larger_one)
{
    struct outflow_pool pool;
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);

    uint8_t *room = outflow_append(&pool, outflow, 1000, 0);
    memset(room, 1, 1000);

    cr_assert_eq(outflow->tail->class, 1);
    outflow_drop(&pool, outflow);
    outflow_pool_fini(&pool);
}

Test(outflow, behind_a_full_first_chunk_comes_the_largest)
{
    struct outflow_pool pool;
    struct slice        parts[4];
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    memset(outflow_append(&pool, outflow, 200, 0), 1, 200);

    memset(outflow_append(&pool, outflow, 100, 0), 2, 100);

    cr_assert_eq(outflow->tail->class, CHUNK_CLASSES - 1);
    cr_assert_eq(outflow_view(outflow, parts, 4), 2);
    cr_assert_eq(parts[0].size, 200);
    cr_assert_eq(parts[1].size, 100);
    outflow_drop(&pool, outflow);
    outflow_pool_fini(&pool);
}

Test(outflow, a_frame_larger_than_any_chunk_gets_one_of_its_own_that_is_not_kept)
{
    struct outflow_pool pool;
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);

    memset(outflow_append(&pool, outflow, 100000, 0), 7, 100000);

    cr_assert_eq(outflow->tail->class, CHUNK_CLASSES);
    cr_assert_eq(outflow->size, 100000);
    outflow_drop(&pool, outflow);
    for (uint32_t class = 0; class < CHUNK_CLASSES; class ++)
        cr_assert_eq(pool.free_chunk_count[class], 0);
    outflow_pool_fini(&pool);
}

Test(outflow, chunks_and_outflows_are_used_again)
{
    struct outflow_pool pool;
    outflow_pool_init(&pool, NULL);
    struct outflow *first = outflow_take(&pool);
    append_text(&pool, first, "a");
    const struct chunk *chunk = first->tail;

    outflow_drop(&pool, first);
    cr_assert_eq(pool.free_outflow_count, 1);
    cr_assert_eq(pool.free_chunk_count[0], 1);
    struct outflow *second = outflow_take(&pool);
    append_text(&pool, second, "b");

    cr_assert_eq(second, first);
    cr_assert_eq(second->tail, chunk);
    cr_assert_eq(pool.free_outflow_count, 0);
    cr_assert_eq(pool.free_chunk_count[0], 0);
    expect_text(second, "b");
    outflow_drop(&pool, second);
    outflow_pool_fini(&pool);
}

Test(outflow, a_payload_is_sent_from_where_it_lies)
{
    struct outflow_pool pool;
    struct slice        parts[4];
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    struct message *message = message_of(5000, 'p');

    append_text(&pool, outflow, "head");
    cr_assert(outflow_append_payload(&pool, outflow, message));
    append_text(&pool, outflow, "next");

    cr_assert_eq(outflow_view(outflow, parts, 4), 3);
    cr_assert_eq(parts[1].data, message_payload(message).data);
    cr_assert_eq(parts[1].size, 5000);
    cr_assert_eq(message->references, 2);
    cr_assert_eq(pool.bytes, 5008);
    cr_assert_not(outflow_sent(&pool, outflow, 5003));
    cr_assert_eq(message->references, 2, "a byte of it is still to be sent");
    cr_assert_not(outflow_sent(&pool, outflow, 1));
    cr_assert_eq(message->references, 1);
    expect_text(outflow, "next");
    outflow_drop(&pool, outflow);
    message_release(message, NULL);
    outflow_pool_fini(&pool);
}

Test(outflow, a_payload_of_another_shard_goes_home_when_it_was_sent)
{
    struct outbox       outboxes[2] = {0};
    struct outflow_pool pool;
    outflow_pool_init(&pool, outboxes);
    struct outflow *outflow = outflow_take(&pool);
    struct message *origin = message_of(5000, 'p');
    struct message *proxy = message_create_proxy(1, origin);
    cr_assert(outflow_append_payload(&pool, outflow, proxy));
    message_release(proxy, outboxes);

    cr_assert_eq(outbox_count(&outboxes[1]), 0);
    cr_assert(outflow_sent(&pool, outflow, 5000));

    cr_assert_eq(outbox_count(&outboxes[1]), 1);
    cr_assert_eq(outbox_peek(&outboxes[1])->kind, PARCEL_RELEASE);
    cr_assert_eq(outbox_peek(&outboxes[1])->pointer, origin);
    outflow_drop(&pool, outflow);
    outbox_fini(&outboxes[1]);
    outflow_pool_fini(&pool);
}

Test(outflow, many_links_refer_to_one_run)
{
    struct outflow_pool pool;
    struct outflow     *outflows[100];
    struct chunk       *chunk = NULL;
    outflow_pool_init(&pool, NULL);
    uint8_t *frame = outflow_run_reserve(&pool, 5, &chunk);
    memcpy(frame, "frame", 5);

    for (unsigned at = 0; at < 100; at++) {
        outflows[at] = outflow_take(&pool);
        cr_assert(outflow_append_run(&pool, outflows[at], chunk, frame, 5));
    }

    outflow_run_release(&pool, chunk);
    cr_assert_eq(chunk->references, 101, "the pool itself holds one");
    cr_assert_eq(pool.bytes, 500);
    for (unsigned at = 0; at < 100; at++) {
        struct slice part;
        cr_assert_eq(outflow_view(outflows[at], &part, 1), 1);
        cr_assert_eq(part.data, frame);
        cr_assert(outflow_sent(&pool, outflows[at], 5));
        outflow_drop(&pool, outflows[at]);
    }
    cr_assert_eq(chunk->references, 1);
    cr_assert_eq(pool.bytes, 0);
    outflow_pool_fini(&pool);
}

Test(outflow, frames_that_follow_each_other_in_a_run_are_one_part)
{
    struct outflow_pool pool;
    struct slice        parts[8];
    struct chunk       *chunk = NULL;
    outflow_pool_init(&pool, NULL);
    struct outflow *all = outflow_take(&pool);
    struct outflow *some = outflow_take(&pool);

    for (unsigned number = 0; number < 4; number++) {
        uint8_t *frame = outflow_run_reserve(&pool, 3, &chunk);
        memset(frame, 'a' + (int)number, 3);
        cr_assert(outflow_append_run(&pool, all, chunk, frame, 3));
        if (number != 1)
            cr_assert(outflow_append_run(&pool, some, chunk, frame, 3));
        outflow_run_release(&pool, chunk);
    }

    cr_assert_eq(outflow_view(all, parts, 8), 1);
    expect_text(all, "aaabbbcccddd");
    cr_assert_eq(outflow_view(some, parts, 8), 2);
    expect_text(some, "aaacccddd");
    outflow_drop(&pool, all);
    outflow_drop(&pool, some);
    outflow_pool_fini(&pool);
}

Test(outflow, a_run_that_is_full_lives_as_long_as_somebody_sends_it)
{
    struct outflow_pool pool;
    struct chunk       *first = NULL;
    struct chunk       *second = NULL;
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    uint8_t        *frame = outflow_run_reserve(&pool, 16000, &first);
    memset(frame, 'r', 16000);
    cr_assert(outflow_append_run(&pool, outflow, first, frame, 16000));

    uint8_t *another = outflow_run_reserve(&pool, 16000, &second);
    memset(another, 's', 16000);

    cr_assert_neq(first, second);
    cr_assert_eq(first->references, 2);
    outflow_run_release(&pool, first);
    outflow_run_release(&pool, second);
    cr_assert_eq(first->references, 1);
    uint8_t *copy = copy_of(outflow);
    cr_assert_eq(copy[0], 'r');
    cr_assert_eq(copy[15999], 'r');
    free(copy);
    outflow_drop(&pool, outflow);
    cr_assert_eq(pool.free_chunk_count[CHUNK_CLASSES - 1], 1);
    outflow_pool_fini(&pool);
}

Test(outflow, a_view_shows_as_many_parts_as_there_is_room_for)
{
    struct outflow_pool pool;
    struct slice        parts[2];
    struct message     *message = message_of(4096, 'm');
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    for (unsigned number = 0; number < 3; number++)
        cr_assert(outflow_append_payload(&pool, outflow, message));

    cr_assert_eq(outflow_view(outflow, parts, 0), 0);
    cr_assert_eq(outflow_view(outflow, parts, 2), 2);

    outflow_drop(&pool, outflow);
    cr_assert_eq(message->references, 1);
    message_release(message, NULL);
    outflow_pool_fini(&pool);
}

/* The ring of parts grows and wraps while its front is half sent. */
Test(outflow, the_ring_of_parts_grows_while_partially_sent)
{
    struct outflow_pool pool;
    struct message     *message = message_of(10, 'm');
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    uint64_t        appended = 0;
    uint64_t        sent = 0;

    for (unsigned round = 0; round < 200; round++) {
        for (unsigned number = 0; number < 3; number++, appended += 10)
            cr_assert(outflow_append_payload(&pool, outflow, message));
        cr_assert_not(outflow_sent(&pool, outflow, 17)); /* never a whole number of parts */
        sent += 17;
        cr_assert_eq(outflow->size, appended - sent);
    }

    cr_assert_gt(outflow->capacity, OUTFLOW_PARTS_INLINE);
    cr_assert_eq(message->references, 1 + (outflow->size + 9) / 10);
    cr_assert(outflow_sent(&pool, outflow, outflow->size));
    cr_assert_eq(message->references, 1);
    cr_assert_eq(outflow->total, appended);
    outflow_drop(&pool, outflow);
    message_release(message, NULL);
    outflow_pool_fini(&pool);
}

Test(outflow, bytes_come_out_in_order_when_sent_one_by_one)
{
    struct outflow_pool pool;
    struct message     *message = message_of(6, 'M');
    struct chunk       *chunk = NULL;
    char                heard[64];
    size_t              size = 0;
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);
    uint8_t        *frame = outflow_run_reserve(&pool, 3, &chunk);
    memcpy(frame, "run", 3);
    append_text(&pool, outflow, "first");
    cr_assert(outflow_append_payload(&pool, outflow, message));
    cr_assert(outflow_append_run(&pool, outflow, chunk, frame, 3));
    outflow_run_release(&pool, chunk);
    append_text(&pool, outflow, "last");

    bool empty = false;
    while (!empty) {
        struct slice part;
        cr_assert_eq(outflow_view(outflow, &part, 1), 1);
        heard[size++] = (char)part.data[0];
        if (size == 7)
            append_text(&pool, outflow, "!"); /* in the middle of the payload */
        empty = outflow_sent(&pool, outflow, 1);
    }

    heard[size] = '\0';
    cr_assert_str_eq(heard, "firstMMMMMMrunlast!");
    cr_assert_eq(pool.bytes, 0);
    cr_assert_eq(message->references, 1);
    outflow_drop(&pool, outflow);
    message_release(message, NULL);
    outflow_pool_fini(&pool);
}

Test(outflow, dropping_in_the_middle_lets_go_of_everything)
{
    struct outflow_pool pool;
    struct message     *message = message_of(5000, 'm');
    struct chunk       *chunk = NULL;
    outflow_pool_init(&pool, NULL);
    struct outflow *dropped = outflow_take(&pool);
    struct outflow *other = outflow_take(&pool);
    uint8_t        *frame = outflow_run_reserve(&pool, 3, &chunk);
    memcpy(frame, "run", 3);
    for (unsigned number = 0; number < 10; number++) {
        append_text(&pool, dropped, "frame");
        cr_assert(outflow_append_payload(&pool, dropped, message));
        cr_assert(outflow_append_run(&pool, dropped, chunk, frame, 3));
    }
    append_text(&pool, other, "stays");
    cr_assert_not(outflow_sent(&pool, dropped, 7777));

    outflow_drop(&pool, dropped);

    cr_assert_eq(pool.bytes, 5);
    cr_assert_eq(message->references, 1);
    cr_assert_eq(chunk->references, 2, "the pool's and ours");
    outflow_run_release(&pool, chunk);
    expect_text(other, "stays");
    outflow_drop(&pool, other);
    message_release(message, NULL);
    outflow_pool_fini(&pool);
}

Test(outflow, agrees_with_a_plain_buffer_over_a_random_program)
{
    static uint8_t      model[1 << 20];
    uint32_t            first = 0;
    uint32_t            next = 0;
    struct outflow_pool pool;
    uint64_t            random = 11;
    outflow_pool_init(&pool, NULL);
    struct outflow *outflow = outflow_take(&pool);

    for (unsigned step = 0; step < 4000 && next < sizeof(model) - 40000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t size = (uint32_t)(random >> 33) % ((random >> 20) % 16 == 0 ? 20000 : 300) + 1;
        uint8_t  fill = (uint8_t)step;
        switch ((random >> 60) % 4) {
        case 0: {
            struct message *message = message_of(size, fill);
            cr_assert(outflow_append_payload(&pool, outflow, message));
            message_release(message, NULL);
            break;
        }
        case 1: {
            struct chunk *chunk = NULL;
            uint8_t      *frame = outflow_run_reserve(&pool, size, &chunk);
            memset(frame, fill, size);
            cr_assert(outflow_append_run(&pool, outflow, chunk, frame, size));
            outflow_run_release(&pool, chunk);
            break;
        }
        case 2:
            memset(outflow_append(&pool, outflow, size, step % 3), fill, size);
            break;
        default:
            size = size > next - first ? next - first : size;
            cr_assert_eq(outflow_sent(&pool, outflow, size), size == next - first);
            first += size;
            size = 0;
            break;
        }
        memset(model + next, fill, size);
        next += size;
        cr_assert_eq(outflow->size, next - first);
        cr_assert_eq(pool.bytes, next - first);
        if (step % 64 == 0) {
            uint8_t *copy = copy_of(outflow);
            cr_assert_arr_eq(copy, model + first, next - first);
            free(copy);
        }
    }

    uint8_t *copy = copy_of(outflow);
    cr_assert_arr_eq(copy, model + first, next - first);
    free(copy);
    outflow_drop(&pool, outflow);
    cr_assert_eq(pool.bytes, 0);
    outflow_pool_fini(&pool);
}
