/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/carry.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Frames of two size bytes (low first) and a body; each byte taken is kept for comparison. */
struct taker {
    uint8_t  bytes[65536];
    uint32_t size;
    uint32_t calls;
    bool     paused;
};

static struct input_result take(void *context, struct slice bytes)
{
    struct taker       *taker = context;
    struct input_result result = {0};

    taker->calls++;
    while (!taker->paused && bytes.size - result.consumed >= 2) {
        const uint8_t *frame = bytes.data + result.consumed;
        uint32_t       size = 2U + frame[0] + 256U * frame[1];
        if (bytes.size - result.consumed < size) {
            result.frame_size = size;
            break;
        }
        memcpy(taker->bytes + taker->size, frame, size);
        taker->size += size;
        result.consumed += size;
    }
    return result;
}

static uint32_t make_frames(uint8_t *bytes, const uint32_t *sizes, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes[at] = (uint8_t)sizes[i];
        bytes[at + 1] = (uint8_t)(sizes[i] >> 8);
        for (uint32_t j = 0; j < sizes[i]; j++)
            bytes[at + 2 + j] = (uint8_t)(i * 31 + j);
        at += 2 + sizes[i];
    }
    return at;
}

Test(carry, two_cuts_anywhere_lose_nothing)
{
    const uint32_t sizes[] = {0, 1, 3, 20, 0, 0, 7, 300, 2};
    uint8_t        bytes[512];
    uint32_t       size = make_frames(bytes, sizes, 9);

    for (uint32_t first = 0; first <= size; first++) {
        for (uint32_t second = first; second <= size; second++) {
            static struct taker taker;
            struct carry       *carry = NULL;
            taker = (struct taker){0};
            const struct carry_sink sink = {take, &taker};

            cr_assert_eq(carry_feed(&carry, slice_of(bytes, first), &sink), 0);
            cr_assert_eq(carry_feed(&carry, slice_of(bytes + first, second - first), &sink), 0);
            cr_assert_eq(carry_feed(&carry, slice_of(bytes + second, size - second), &sink), 0);

            cr_assert_null(carry);
            cr_assert_eq(taker.size, size);
            cr_assert_eq(memcmp(taker.bytes, bytes, size), 0);
        }
    }
}

Test(carry, byte_by_byte_is_whole_in_the_end)
{
    const uint32_t          sizes[] = {500, 0, 1, 4000};
    uint8_t                 bytes[8192];
    uint32_t                size = make_frames(bytes, sizes, 4);
    static struct taker     taker;
    struct carry           *carry = NULL;
    const struct carry_sink sink = {take, &taker};

    for (uint32_t i = 0; i < size; i++)
        cr_assert_eq(carry_feed(&carry, slice_of(bytes + i, 1), &sink), 0);

    cr_assert_null(carry);
    cr_assert_eq(memcmp(taker.bytes, bytes, size), 0);
    cr_assert(taker.calls < 100, "a frame of known size is presented when it is whole");
}

Test(carry, what_is_announced_costs_nothing_before_it_arrives)
{
    const uint8_t           start[] = {0xff, 0xff, 1, 2, 3};
    static struct taker     taker;
    struct carry           *carry = NULL;
    const struct carry_sink sink = {take, &taker};

    cr_assert_eq(carry_feed(&carry, slice_of(start, sizeof(start)), &sink), 0);

    cr_assert_eq(carry_missing(carry), 0xffff + 2 - 5);
    cr_assert_leq(carry->capacity, 64);
    free(carry);
}

Test(carry, a_paused_sink_gets_everything_later)
{
    const uint32_t          sizes[] = {5, 0, 9, 100};
    uint8_t                 bytes[512];
    uint32_t                size = make_frames(bytes, sizes, 4);
    static struct taker     taker = {.paused = true};
    struct carry           *carry = NULL;
    const struct carry_sink sink = {take, &taker};
    for (uint32_t i = 0; i < size - 3; i++)
        cr_assert_eq(carry_feed(&carry, slice_of(bytes + i, 1), &sink), 0);
    cr_assert_eq(taker.size, 0);

    taker.paused = false;
    carry_present(&carry, &sink);
    cr_assert_eq(taker.size, 7 + 2 + 11);
    cr_assert_eq(carry_feed(&carry, slice_of(bytes + size - 3, 3), &sink), 0);

    cr_assert_null(carry);
    cr_assert_eq(memcmp(taker.bytes, bytes, size), 0);
}

Test(carry, the_rest_of_a_large_frame_is_received_in_place)
{
    const uint32_t          sizes[] = {40000};
    static uint8_t          bytes[65536];
    uint32_t                size = make_frames(bytes, sizes, 1);
    static struct taker     taker;
    struct carry           *carry = NULL;
    const struct carry_sink sink = {take, &taker};
    cr_assert_eq(carry_feed(&carry, slice_of(bytes, 5000), &sink), 0);

    uint32_t at = 5000;
    while (carry != NULL) {
        cr_assert_eq(carry_reserve(&carry), 0);
        uint32_t room = carry->capacity - carry->size;
        uint32_t part = room < size - at ? room : size - at;
        cr_assert(part > 0);
        cr_assert_leq(carry->capacity, size);
        memcpy(carry->bytes + carry->size, bytes + at, part);
        at += part;
        carry_received(&carry, part, &sink);
    }

    cr_assert_eq(taker.size, size);
    cr_assert_eq(memcmp(taker.bytes, bytes, size), 0);
}
