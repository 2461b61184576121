/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The first bytes of every payload: who sent it, as which message, when. The receiver needs no
 * other knowledge to tell a lost, doubled, reordered, corrupted or misdelivered message.
 */

#include <stdint.h>
#include <string.h>

struct stamp {
    uint32_t run;       /* random for each run: messages of another run are foreign */
    uint32_t publisher; /* index of the publisher in this run */
    uint64_t sequence;  /* from 0, for each publisher */
    uint64_t time_ns;   /* CLOCK_MONOTONIC when it was written, or was due to be (open loop) */
};

#define STAMP_SIZE 24U

_Static_assert(sizeof(struct stamp) == STAMP_SIZE, "a stamp is copied as it lies");

/* Both ends are this process: host byte order will do. */
static inline void stamp_write(uint8_t *payload, const struct stamp *stamp)
{
    memcpy(payload, stamp, STAMP_SIZE);
}

static inline struct stamp stamp_read(const uint8_t *payload)
{
    struct stamp stamp;
    memcpy(&stamp, payload, STAMP_SIZE);
    return stamp;
}
