/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * For the tests of the codec. Every body is decoded from an allocation of its exact size, so that
 * ASan sees a read past its end. The copies live as long as the test: views into them stay valid.
 */

#include "tests/support/wire.h"

#define EXACT_MAX 256

/* Bytes written out: BYTES(0x00, 0x01, 'a') */
#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define NO_BYTES   ((struct slice){0})

static inline struct slice exact(struct slice bytes)
{
    static void    *copies[EXACT_MAX];
    static unsigned next;

    struct slice copy = wire_exact(bytes);
    free(copies[next % EXACT_MAX]);
    copies[next++ % EXACT_MAX] = (void *)copy.data;
    return copy;
}

static inline bool text_is(struct slice slice, const char *text)
{
    return slice_equal(slice, slice_text(text));
}

#define FOR_EACH_VERSION(version) \
    for (enum mqtt_version version = MQTT_VERSION_31; version <= MQTT_VERSION_5; version++)
