/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* UTF-8 as MQTT wants it (MQTT-1.5.4-1, -2): no surrogates, no over-long forms, no U+0000. */

#include "proto/bytes.h"

/* True when `text` is a valid UTF-8 encoded string of MQTT. ASCII runs are checked wide. */
bool utf8_valid(struct slice text);

/* Also refuses what MQTT only advises against: control characters and non-characters. */
bool utf8_printable(struct slice text);

#define UTF8_ONES UINT64_C(0x0101010101010101)

/* The top bit of some byte is set if one is above 0x7f, 0, '+' or '#'; a byte below borrows it. */
static inline uint64_t utf8_word_marks(uint64_t word)
{
    return word | (word - UTF8_ONES) | ((word ^ (UTF8_ONES * '+')) - UTF8_ONES) |
           ((word ^ (UTF8_ONES * '#')) - UTF8_ONES);
}

/*
 * True when `text` is ASCII without NUL, '+' and '#', as nearly every topic name is: then it is
 * valid UTF-8 and a valid name (unless empty). False says nothing. One pass, eight bytes at a time;
 * the last word overlaps the one before it, so that nothing outside `text` is read.
 */
static inline bool utf8_is_plain_name(struct slice text)
{
    uint64_t marks = 0;
    uint64_t word = UTF8_ONES * 'a';

    if (text.size >= sizeof(word)) {
        for (uint32_t at = 0; at + sizeof(word) < text.size; at += sizeof(word)) {
            memcpy(&word, text.data + at, sizeof(word));
            marks |= utf8_word_marks(word);
        }
        memcpy(&word, text.data + text.size - sizeof(word), sizeof(word));
    } else if (text.size >= sizeof(uint32_t)) {
        uint32_t halves[2];
        memcpy(&halves[0], text.data, sizeof(uint32_t));
        memcpy(&halves[1], text.data + text.size - sizeof(uint32_t), sizeof(uint32_t));
        memcpy(&word, halves, sizeof(word));
    } else {
        for (uint32_t at = 0; at < text.size; at++)
            word = word << 8 | text.data[at];
    }
    marks |= utf8_word_marks(word);
    return (marks & (UTF8_ONES * 0x80)) == 0;
}
