/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * One walk over the code points. Runs of ASCII are taken eight bytes at a time; a multi-byte form
 * is read by its length, then judged by its value: too small for its length is over-long, and so
 * on.
 */

#include "proto/utf8.h"

#define CODE_POINT_INVALID UINT32_MAX
#define CODE_POINT_MAX     0x10ffffU

/* Reads one code point of at least two bytes. */
static uint32_t read_multibyte(struct reader *reader)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};

    uint8_t  lead = read_u8(reader);
    uint32_t more = lead >= 0xf8 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (more == 0)
        return CODE_POINT_INVALID; /* a stray continuation byte, or a form of five bytes */

    uint32_t point = lead & (0x3fU >> more);
    for (uint32_t index = 0; index < more; index++) {
        uint8_t byte = read_u8(reader);
        if ((byte & 0xc0) != 0x80)
            return CODE_POINT_INVALID;
        point = point << 6 | (byte & 0x3f);
    }

    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    if (point < smallest[more] || point > CODE_POINT_MAX || surrogate)
        return CODE_POINT_INVALID;
    return point;
}

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point <= 0x9f);
}

static bool is_non_character(uint32_t point)
{
    return (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) == 0xfffe;
}

/* Skips whole words of ASCII without NUL. */
static void skip_ascii(struct reader *reader)
{
    uint64_t word;

    while (reader_left(reader) >= sizeof(word)) {
        memcpy(&word, reader->at, sizeof(word));
        if (((word | (word - UTF8_ONES)) & (UTF8_ONES * 0x80)) != 0)
            return;
        reader->at += sizeof(word);
    }
}

bool utf8_valid(struct slice text)
{
    if (utf8_is_plain_name(text))
        return true;

    struct reader reader = reader_of(text);
    while (reader_left(&reader) > 0) {
        skip_ascii(&reader);
        if (reader_left(&reader) == 0)
            break;
        if (*reader.at == 0)
            return false; /* [MQTT-1.5.4-2] */
        if (*reader.at < 0x80)
            reader.at++;
        else if (read_multibyte(&reader) == CODE_POINT_INVALID)
            return false; /* [MQTT-1.5.4-1] */
    }
    return true;
}

bool utf8_printable(struct slice text)
{
    struct reader reader = reader_of(text);

    while (reader_left(&reader) > 0) {
        uint32_t point = *reader.at < 0x80 ? read_u8(&reader) : read_multibyte(&reader);
        if (point == CODE_POINT_INVALID || is_control(point) || is_non_character(point))
            return false;
    }
    return true;
}
