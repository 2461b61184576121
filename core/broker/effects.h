/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What core wants done, as data. Core appends during a turn; the shard carries it out and clears
 * it. Nothing in core calls out, so nothing re-enters it, and tests assert on these lists.
 */

#include "core/base/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum order_kind {
    ORDER_CLOSE,    /* send what is there (bounded in time), then close */
    ORDER_ABORT,    /* close at once; nothing more is sent */
    ORDER_PAUSE,    /* stop reading this connection */
    ORDER_RESUME,   /* read it again; first present what was not consumed */
    ORDER_HANDOVER, /* to shard `target`, with the bytes not consumed */
};

struct order {
    uint8_t       kind;
    uint16_t      target;
    struct handle link;
};

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

#define LOG_LINE_SIZE 240U

struct log_line {
    uint8_t level;
    char    text[LOG_LINE_SIZE]; /* NUL-terminated, one line, printable */
};

struct effects {
    struct handle   *flush; /* links with output, each once a turn */
    uint32_t         flush_count;
    uint32_t         flush_capacity;
    struct order    *orders;
    uint32_t         order_count;
    uint32_t         order_capacity;
    struct log_line *logs; /* at most EFFECTS_LOGS_MAX a turn; more are counted */
    uint32_t         log_count;
    uint32_t         logs_suppressed;
    enum log_level   log_level;
};

#define EFFECTS_LOGS_MAX 16U

void effects_init(struct effects *effects, enum log_level level);
void effects_fini(struct effects *effects);
void effects_flush(struct effects *effects, struct handle link);
void effects_order(struct effects *effects, enum order_kind kind, struct handle link,
                   uint16_t target);
void effects_log(struct effects *effects, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void effects_clear(struct effects *effects);
