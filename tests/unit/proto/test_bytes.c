/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/bytes.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

Test(bytes, a_reader_remembers_that_it_failed)
{
    struct reader reader = reader_of(exact(BYTES(0x01, 0x02, 0x03)));

    cr_assert_eq(read_u16(&reader), 0x0102);
    cr_assert_eq(read_u16(&reader), 0);
    cr_assert(reader.failed);
    cr_assert_eq(read_u8(&reader), 0, "the byte that is left is not given after a failure");
    cr_assert_not(reader_done(&reader));
}

Test(bytes, an_empty_slice_without_an_address_can_be_read)
{
    struct reader reader = reader_of(NO_BYTES);

    cr_assert(reader_done(&reader));
    cr_assert_eq(read_rest(&reader).size, 0);
    cr_assert(reader_done(&reader));
    cr_assert_eq(read_u32(&reader), 0);
    cr_assert(reader.failed);
}

Test(bytes, sized_bytes_may_be_empty_but_not_short)
{
    struct reader empty = reader_of(exact(BYTES(0x00, 0x00)));
    struct reader whole = reader_of(exact(BYTES(0x00, 0x02, 'a', 'b')));
    struct reader cut = reader_of(exact(BYTES(0x00, 0x03, 'a', 'b')));

    cr_assert_eq(read_sized(&empty).size, 0);
    cr_assert(reader_done(&empty));
    cr_assert(text_is(read_sized(&whole), "ab"));
    cr_assert(reader_done(&whole));
    cr_assert_eq(read_sized(&cut).size, 0);
    cr_assert(cut.failed);
}

/* MQTT 5, table 1-1 */
Test(bytes, variable_integers_of_each_size_come_back)
{
    static const struct {
        uint32_t value;
        uint32_t size;
    } rows[] = {{0, 1},     {127, 1},     {128, 2},     {16383, 2},
                {16384, 3}, {2097151, 3}, {2097152, 4}, {MQTT_REMAINING_LENGTH_MAX, 4}};

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        uint8_t       bytes[4];
        struct writer writer = {.at = bytes, .end = bytes + sizeof(bytes)};
        write_variable(&writer, rows[row].value);
        uint32_t size = (uint32_t)(writer.at - bytes);

        struct reader reader = reader_of(exact(slice_of(bytes, size)));
        cr_assert_eq(size, rows[row].size);
        cr_assert_eq(variable_size(rows[row].value), rows[row].size);
        cr_assert_eq(read_variable(&reader), rows[row].value);
        cr_assert(reader_done(&reader));

        struct reader cut = reader_of(exact(slice_of(bytes, size - 1)));
        cr_assert_eq(read_variable(&cut), 0);
        cr_assert(cut.failed);
    }
}

/* [MQTT-1.5.5-1] */
Test(bytes, MQTT_1_5_5_1_a_variable_integer_in_a_longer_form_fails)
{
    const struct slice forms[] = {BYTES(0x80, 0x00), BYTES(0xff, 0x80, 0x00),
                                  BYTES(0x81, 0x80, 0x80, 0x00)};

    for (size_t row = 0; row < sizeof(forms) / sizeof(forms[0]); row++) {
        struct reader reader = reader_of(exact(forms[row]));
        (void)read_variable(&reader);
        cr_assert(reader.failed, "row %zu", row);
    }
}

Test(bytes, a_fifth_byte_of_a_variable_integer_fails)
{
    struct reader reader = reader_of(exact(BYTES(0xff, 0xff, 0xff, 0xff, 0x7f)));

    (void)read_variable(&reader);
    cr_assert(reader.failed);
}
