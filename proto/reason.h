/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Sets of reason codes: which of them a packet may carry is a constant of two words. */

#include "proto/mqtt.h"

#include <stdbool.h>
#include <stdint.h>

struct reason_set {
    uint64_t successes; /* 1 << code, for codes below 0x40 */
    uint64_t failures;  /* 1 << (code - 0x80), for codes from 0x80 to 0xbf */
};

#define REASON_BIT(code) (UINT64_C(1) << ((unsigned)(code)&0x3f))

static inline bool reason_in(const struct reason_set *set, uint8_t code)
{
    switch (code & 0xc0) {
    case 0x00:
        return (set->successes & REASON_BIT(code)) != 0;
    case 0x80:
        return (set->failures & REASON_BIT(code)) != 0;
    default:
        return false;
    }
}
