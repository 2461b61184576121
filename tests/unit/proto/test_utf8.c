/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/utf8.h"

#include "tests/unit/proto/codec.h"

#include <criterion/criterion.h>

Test(utf8, valid_text_of_each_length_is_accepted)
{
    static const char *const texts[] = {
        "",
        "a",
        "abc",
        "abcd",
        "abcdefg",
        "abcdefgh",
        "abcdefghijklmnopq",
        "+/#",
        "\x01\x7f",
        "\xc2\x80",         /* U+0080, the first of two bytes */
        "\xdf\xbf",         /* U+07FF */
        "\xe0\xa0\x80",     /* U+0800 */
        "\xed\x9f\xbf",     /* U+D7FF, before the surrogates */
        "\xee\x80\x80",     /* U+E000, behind them */
        "\xef\xbf\xbf",     /* U+FFFF, a non-character: allowed */
        "\xf0\x90\x80\x80", /* U+10000 */
        "\xf4\x8f\xbf\xbf", /* U+10FFFF */
        "temperature in \xc2\xb0 Celsius, \xe6\x97\xa5\xe6\x9c\xac",
    };

    for (size_t row = 0; row < sizeof(texts) / sizeof(texts[0]); row++)
        cr_assert(utf8_valid(exact(slice_text(texts[row]))), "row %zu", row);
}

/* [MQTT-1.5.4-1] */
Test(utf8, MQTT_1_5_4_1_surrogates_and_ill_formed_text_are_refused)
{
    static const char *const texts[] = {
        "\xed\xa0\x80",             /* U+D800 */
        "\xed\xbf\xbf",             /* U+DFFF */
        "\xed\xa0\x81\xed\xb0\x80", /* a pair, as CESU-8 has it */
        "\xc0\x80",                 /* U+0000 over-long */
        "\xc1\xbf",
        "\xe0\x9f\xbf",         /* over-long */
        "\xf0\x8f\xbf\xbf",     /* over-long */
        "\xf4\x90\x80\x80",     /* U+110000 */
        "\xf8\x88\x80\x80\x80", /* five bytes */
        "\xfe",
        "\xff",
        "\x80",
        "\xbf",
        "\xc2",
        "\xe2\x82",
        "\xf0\x9f\x98",
        ("\xc2"
         "a"),
        "12345678\xc3(",
    };

    for (size_t row = 0; row < sizeof(texts) / sizeof(texts[0]); row++)
        cr_assert_not(utf8_valid(exact(slice_text(texts[row]))), "row %zu", row);
}

/* [MQTT-1.5.4-2] */
Test(utf8, MQTT_1_5_4_2_a_null_character_is_refused_at_every_place)
{
    for (uint32_t size = 1; size < 40; size++) {
        for (uint32_t at = 0; at < size; at++) {
            uint8_t text[40];
            memset(text, 'x', sizeof(text));
            text[at] = 0;
            cr_assert_not(utf8_valid(exact(slice_of(text, size))), "%u of %u", at, size);
        }
    }
}

/* [MQTT-1.5.4-3] */
Test(utf8, MQTT_1_5_4_3_a_byte_order_mark_is_a_character_like_others)
{
    cr_assert(utf8_valid(exact(slice_text("\xef\xbb\xbfx"))));
}

/* Each byte at each place of each size, against the definition. */
Test(utf8, a_plain_name_is_ascii_without_null_and_wildcards)
{
    for (uint32_t size = 1; size < 26; size++) {
        for (uint32_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t text[26];
                memset(text, 'x', sizeof(text));
                text[at] = (uint8_t)byte;
                bool plain = byte > 0 && byte < 0x80 && byte != '+' && byte != '#';
                cr_assert_eq(utf8_is_plain_name(slice_of(text, size)), plain, "%u of %u: 0x%02x",
                             at, size, byte);
            }
        }
    }
}

Test(utf8, printable_text_has_no_controls_and_no_non_characters)
{
    static const char *const refused[] = {
        "\x01",         "a\n",  "\x7f",         "\xc2\x85",
        "\xef\xb7\x90", "\xff", "\xef\xbf\xbe", "\xf0\x9f\xbf\xbf"};

    cr_assert(utf8_printable(exact(slice_text("caf\xc3\xa9 \xf0\x9f\x98\x80"))));
    cr_assert(utf8_printable(NO_BYTES));
    for (size_t row = 0; row < sizeof(refused) / sizeof(refused[0]); row++)
        cr_assert_not(utf8_printable(exact(slice_text(refused[row]))), "row %zu", row);
}
