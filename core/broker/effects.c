/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/effects.h"

#include "core/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void effects_init(struct effects *effects, enum log_level level)
{
    *effects = (struct effects){.log_level = level};
    effects->logs = memory_need(NULL, EFFECTS_LOGS_MAX * sizeof(*effects->logs));
}

void effects_fini(struct effects *effects)
{
    free(effects->flush);
    free(effects->orders);
    free(effects->logs);
    *effects = (struct effects){0};
}

void effects_flush(struct effects *effects, struct handle link)
{
    if (effects->flush_count == effects->flush_capacity) {
        effects->flush_capacity = effects->flush_capacity == 0 ? 64 : effects->flush_capacity * 2;
        effects->flush =
            memory_need(effects->flush, effects->flush_capacity * sizeof(*effects->flush));
    }
    effects->flush[effects->flush_count++] = link;
}

void effects_order(struct effects *effects, enum order_kind kind, struct handle link,
                   uint16_t target)
{
    if (effects->order_count == effects->order_capacity) {
        effects->order_capacity = effects->order_capacity == 0 ? 64 : effects->order_capacity * 2;
        effects->orders =
            memory_need(effects->orders, effects->order_capacity * sizeof(*effects->orders));
    }
    effects->orders[effects->order_count++] =
        (struct order){.kind = (uint8_t)kind, .target = target, .link = link};
}

void effects_log(struct effects *effects, enum log_level level, const char *format, ...)
{
    if (level > effects->log_level)
        return;
    if (effects->log_count == EFFECTS_LOGS_MAX) {
        effects->logs_suppressed++;
        return;
    }

    struct log_line *line = &effects->logs[effects->log_count++];
    line->level = (uint8_t)level;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line->text, sizeof(line->text), format, arguments);
    va_end(arguments);

    /* Client ids and topics come from strangers: a log line stays one line. */
    for (char *at = line->text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
}

void effects_clear(struct effects *effects)
{
    effects->flush_count = 0;
    effects->order_count = 0;
    effects->log_count = 0;
    effects->logs_suppressed = 0;
}
