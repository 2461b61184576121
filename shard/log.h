/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Lines to standard error: "2026-01-31T12:00:00.123Z warning [2] text". A shard never blocks on a
 * terminal or a full pipe: its lines gather in one half of the buffer while the ring writes the
 * other. Lines that find no room are counted, and the count is said once there is room again.
 */

#include "core/broker/effects.h"
#include "shard/ring.h"

#define LOG_BUFFER_SIZE 16384U

struct log {
    struct ring   *ring;
    uint64_t       token;
    enum log_level level;
    uint16_t       shard;
    bool           writing;
    uint8_t        filling; /* which half */
    uint32_t       sizes[2];
    uint32_t       written; /* of the half that is being written */
    uint64_t       suppressed;
    char           halves[2][LOG_BUFFER_SIZE];
};

void log_init(struct log *log, struct ring *ring, uint64_t token, uint16_t shard,
              enum log_level level);

/* One line, kept back by level, and not sent before log_flush. */
void log_line(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_suppressed(struct log *log, uint32_t count);

/* Once a turn: starts a write when there is something and none is under way. */
void log_flush(struct log *log);
/* The write completed. */
void log_written(struct log *log, int32_t result);

/* What is left, directly; after the ring was closed. */
void log_fini(struct log *log);

/* "2026-01-31T12:00:00.123Z warning [2] text\n"; its size, cut at the room. */
uint32_t log_format(char *line, uint32_t room, enum log_level level, int shard, const char *text);

/* From the main thread: written at once; shard is -1. */
void log_direct(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
