/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/frame.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

Test(frame, a_whole_frame_is_viewed_and_what_follows_is_left)
{
    struct frame frame;
    /* PUBACK, remaining length 2, then the first byte of another packet */
    struct slice input = exact(BYTES(0x40, 0x02, 0x00, 0x0a, 0xc0));

    cr_assert_eq(frame_decode(input, &frame), FRAME_READY);
    cr_assert_eq(frame.type, PACKET_PUBACK);
    cr_assert_eq(frame.flags, 0);
    cr_assert_eq(frame.size, 4);
    cr_assert_eq(frame.body.size, 2);
    cr_assert_eq(frame.body.data, input.data + 2);
}

Test(frame, every_cut_is_incomplete_and_the_size_is_known_with_the_length)
{
    struct wire  wire = {0};
    struct frame frame;
    wire_publish(&wire, MQTT_VERSION_311, "topic",
                 "a payload long enough that the remaining length of its packet takes two bytes, "
                 "which is any body above one hundred and twenty-seven bytes",
                 0, 0);

    for (uint32_t size = 0; size < wire.size; size++) {
        cr_assert_eq(frame_decode(exact(slice_of(wire.data, size)), &frame), FRAME_INCOMPLETE);
        cr_assert_eq(frame.size, size < 3 ? 0 : wire.size, "cut at %u", size);
        cr_assert_eq(frame.body.size, 0);
    }
    cr_assert_eq(frame_decode(wire_view(&wire), &frame), FRAME_READY);
    wire_fini(&wire);
}

Test(frame, the_longest_remaining_length_is_announced)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0x30, 0xff, 0xff, 0xff, 0x7f)), &frame),
                 FRAME_INCOMPLETE);
    cr_assert_eq(frame.size, MQTT_PACKET_SIZE_MAX);
}

/* [MQTT-1.5.5-1] */
Test(frame, MQTT_1_5_5_1_a_longer_form_of_the_length_is_malformed)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0xc0, 0x80, 0x00)), &frame), FRAME_MALFORMED);
    cr_assert_eq(frame_decode(exact(BYTES(0xc0, 0x80, 0x80, 0x80, 0x00)), &frame), FRAME_MALFORMED);
}

Test(frame, a_fourth_length_byte_that_wants_a_fifth_is_malformed)
{
    struct frame frame;

    cr_assert_eq(frame_decode(exact(BYTES(0xc0, 0xff, 0xff, 0xff, 0xff)), &frame), FRAME_MALFORMED);
}

/* [MQTT-2.1.3-1], and 3.1, where they are unused or DUP */
Test(frame, MQTT_2_1_3_1_the_flags_of_each_type_are_fixed)
{
    for (enum packet_type type = PACKET_CONNECT; type < PACKET_TYPE_COUNT; type++) {
        bool two = type == PACKET_PUBREL || type == PACKET_SUBSCRIBE || type == PACKET_UNSUBSCRIBE;
        for (uint8_t flags = 0; flags < 16; flags++) {
            bool valid = flags == (two ? 2 : 0);
            cr_assert_eq(frame_flags_valid(MQTT_VERSION_311, type, flags), valid);
            cr_assert_eq(frame_flags_valid(MQTT_VERSION_5, type, flags), valid);
            cr_assert(frame_flags_valid(MQTT_VERSION_31, type, flags));
        }
    }
}
