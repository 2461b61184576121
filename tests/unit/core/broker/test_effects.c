/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/effects.h"

#include <criterion/criterion.h>

#include <string.h>

Test(effects, flushes_keep_their_order_however_many)
{
    struct effects effects;
    effects_init(&effects, LOG_INFO);

    for (uint32_t slot = 0; slot < 1000; slot++)
        effects_flush(&effects, (struct handle){.slot = slot, .generation = slot + 1});

    cr_assert_eq(effects.flush_count, 1000);
    for (uint32_t slot = 0; slot < 1000; slot++)
        cr_assert(handle_equal(effects.flush[slot],
                               (struct handle){.slot = slot, .generation = slot + 1}));
    effects_fini(&effects);
}

Test(effects, orders_keep_what_they_say_however_many)
{
    struct effects effects;
    effects_init(&effects, LOG_INFO);

    for (uint32_t slot = 0; slot < 1000; slot++)
        effects_order(&effects, slot % 2 == 0 ? ORDER_HANDOVER : ORDER_CLOSE,
                      (struct handle){.slot = slot, .generation = 1}, (uint16_t)(slot % 7));

    cr_assert_eq(effects.order_count, 1000);
    for (uint32_t slot = 0; slot < 1000; slot++) {
        cr_assert_eq(effects.orders[slot].kind, slot % 2 == 0 ? ORDER_HANDOVER : ORDER_CLOSE);
        cr_assert_eq(effects.orders[slot].link.slot, slot);
        cr_assert_eq(effects.orders[slot].target, slot % 7);
    }
    effects_fini(&effects);
}

Test(effects, clearing_keeps_the_room_and_nothing_else)
{
    struct effects effects;
    effects_init(&effects, LOG_INFO);
    effects_flush(&effects, (struct handle){1, 1});
    effects_order(&effects, ORDER_ABORT, (struct handle){1, 1}, 0);
    for (unsigned line = 0; line < EFFECTS_LOGS_MAX + 3; line++)
        effects_log(&effects, LOG_ERROR, "line %u", line);

    effects_clear(&effects);

    cr_assert_eq(effects.flush_count, 0);
    cr_assert_eq(effects.order_count, 0);
    cr_assert_eq(effects.log_count, 0);
    cr_assert_eq(effects.logs_suppressed, 0);
    cr_assert_eq(effects.log_level, LOG_INFO);
    effects_log(&effects, LOG_INFO, "again");
    cr_assert_eq(effects.log_count, 1);
    effects_fini(&effects);
}

Test(effects, only_lines_up_to_the_level_are_kept)
{
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        struct effects effects;
        effects_init(&effects, (enum log_level)level);

        for (int line = LOG_ERROR; line <= LOG_DEBUG; line++)
            effects_log(&effects, (enum log_level)line, "a line");

        cr_assert_eq(effects.log_count, (uint32_t)level + 1);
        cr_assert_eq(effects.logs[level].level, level);
        cr_assert_eq(effects.logs_suppressed, 0, "what nobody wants is not missed");
        effects_fini(&effects);
    }
}

Test(effects, a_turn_has_a_few_lines_and_the_others_are_counted)
{
    struct effects effects;
    effects_init(&effects, LOG_INFO);

    for (unsigned line = 0; line < EFFECTS_LOGS_MAX + 5; line++)
        effects_log(&effects, LOG_INFO, "line %u", line);

    cr_assert_eq(effects.log_count, EFFECTS_LOGS_MAX);
    cr_assert_eq(effects.logs_suppressed, 5);
    cr_assert_str_eq(effects.logs[0].text, "line 0");
    cr_assert_str_eq(effects.logs[EFFECTS_LOGS_MAX - 1].text, "line 15");
    effects_fini(&effects);
}

Test(effects, what_strangers_named_stays_on_one_line)
{
    struct effects effects;
    effects_init(&effects, LOG_INFO);

    effects_log(&effects, LOG_INFO, "client %s", "a\nb\r\t\x1b[31m\x7f\x01 \xc3\xa9~");

    cr_assert_str_eq(effects.logs[0].text, "client a?b???[31m?? \xc3\xa9~");
    effects_fini(&effects);
}

Test(effects, a_line_that_is_too_long_is_cut)
{
    struct effects effects;
    char           text[2 * LOG_LINE_SIZE];
    effects_init(&effects, LOG_INFO);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';

    effects_log(&effects, LOG_INFO, "%s", text);

    cr_assert_eq(strlen(effects.logs[0].text), LOG_LINE_SIZE - 1);
    effects_fini(&effects);
}
