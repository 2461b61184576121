/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/timer_wheel.h"

#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define ALARMS 300U

/* An alarm, when it was to ring, and when it did. */
struct bell {
    struct alarm alarm;
    uint64_t     due_ms;
    uint64_t     rung_ms;
    uint32_t     rings;
};

static void note(struct alarm *alarm, void *context, uint64_t now_ms)
{
    struct bell *bell = container_of(alarm, struct bell, alarm);
    uint32_t    *rings = context;
    cr_assert_not(alarm_armed(alarm));
    bell->rung_ms = now_ms;
    bell->rings++;
    (*rings)++;
}

static uint64_t rounded_up(uint64_t ms)
{
    return (ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS * TIMER_TICK_MS;
}

static uint64_t random_delay(struct random *random)
{
    static const uint32_t spans[] = {10, 1000, 3000, 60000, 4000000, 700000000};
    return random_below(random, spans[random_below(random, 6)]);
}

/* What must have rung by now, rings; nothing rings early. Returns the earliest that is left. */
static uint64_t check(const struct bell *bells, uint64_t now_ms)
{
    uint64_t earliest = UINT64_MAX;
    for (uint32_t at = 0; at < ALARMS; at++) {
        if (!alarm_armed(&bells[at].alarm))
            continue;
        cr_assert_gt(rounded_up(bells[at].due_ms), now_ms / TIMER_TICK_MS * TIMER_TICK_MS);
        if (rounded_up(bells[at].due_ms) < earliest)
            earliest = rounded_up(bells[at].due_ms);
    }
    return earliest;
}

Test(timer_wheel, rings_each_alarm_once_and_never_early_over_days)
{
    static struct bell  bells[ALARMS];
    struct random       random = {.state = 3};
    uint64_t            now = 123456789;
    uint32_t            rings = 0;
    uint32_t            expected = 0;
    struct timer_wheel *wheel = timer_wheel_create(now);
    timer_wheel_handle(wheel, 2, note, &rings);
    for (uint32_t at = 0; at < ALARMS; at++)
        alarm_init(&bells[at].alarm, 2);

    for (uint32_t step = 0; step < 100000; step++) {
        struct bell *bell = &bells[random_below(&random, ALARMS)];
        if (random_below(&random, 4) == 0) {
            expected -= alarm_armed(&bell->alarm);
            timer_wheel_disarm(wheel, &bell->alarm);
        } else {
            expected += !alarm_armed(&bell->alarm);
            bell->due_ms = now + random_delay(&random);
            bell->rings = 0;
            timer_wheel_arm(wheel, &bell->alarm, bell->due_ms);
        }

        if (random_below(&random, 3) != 0)
            continue;
        uint64_t before = rings;
        now += random_delay(&random) / (random_below(&random, 20) == 0 ? 1 : 50);
        while (timer_wheel_advance(wheel, now, 7) == 7)
            ;
        expected -= (uint32_t)(rings - before);
        uint64_t earliest = check(bells, now);
        uint64_t next = timer_wheel_next_ms(wheel);
        cr_assert_leq(next, earliest);
        cr_assert_eq(next == UINT64_MAX, earliest == UINT64_MAX);
        cr_assert_gt(next, now / TIMER_TICK_MS * TIMER_TICK_MS);
        for (uint32_t at = 0; at < ALARMS; at++) {
            cr_assert_leq(bells[at].rings, 1);
            if (bells[at].rings == 1)
                cr_assert_geq(bells[at].rung_ms, bells[at].due_ms);
        }
    }
    uint32_t armed = 0;
    for (uint32_t at = 0; at < ALARMS; at++)
        armed += alarm_armed(&bells[at].alarm);
    cr_assert_eq(armed, expected);
    timer_wheel_destroy(wheel);
}

Test(timer_wheel, tells_when_to_come_back_and_rings_when_one_does)
{
    struct random       random = {.state = 5};
    struct bell         bell = {0};
    uint32_t            rings = 0;
    uint64_t            now = 1000;
    struct timer_wheel *wheel = timer_wheel_create(now);
    timer_wheel_handle(wheel, 0, note, &rings);
    alarm_init(&bell.alarm, 0);
    cr_assert_eq(timer_wheel_next_ms(wheel), UINT64_MAX);

    for (uint32_t round = 0; round < 1000; round++) {
        bell.due_ms = now + random_delay(&random);
        timer_wheel_arm(wheel, &bell.alarm, bell.due_ms);
        uint32_t wakes = 0;
        while (alarm_armed(&bell.alarm)) {
            uint64_t next = timer_wheel_next_ms(wheel);
            cr_assert_leq(next, rounded_up(bell.due_ms));
            now = next > now ? next : now;
            (void)timer_wheel_advance(wheel, now, 100);
            wakes++;
        }
        cr_assert_leq(now, rounded_up(bell.due_ms));
        cr_assert_geq(now, bell.due_ms);
        cr_assert_leq(wakes, 5); /* one a level, and the ring */
    }
    timer_wheel_destroy(wheel);
}

Test(timer_wheel, jumps_over_a_long_idle_gap)
{
    struct bell         bell = {0};
    uint32_t            rings = 0;
    struct timer_wheel *wheel = timer_wheel_create(0);
    timer_wheel_handle(wheel, 0, note, &rings);
    alarm_init(&bell.alarm, 0);
    const uint64_t year_ms = UINT64_C(365) * 24 * 3600 * 1000;

    timer_wheel_arm(wheel, &bell.alarm, 40 * year_ms);
    for (uint64_t now = 0; now < 40 * year_ms; now += year_ms)
        cr_assert_lt(timer_wheel_advance(wheel, now, 100), 100);
    cr_assert_eq(rings, 0);
    cr_assert_lt(timer_wheel_advance(wheel, 40 * year_ms, 100), 100);

    cr_assert_eq(rings, 1);
    timer_wheel_destroy(wheel);
}

Test(timer_wheel, takes_an_alarm_that_is_never_due)
{
    struct bell         bell = {0};
    uint32_t            rings = 0;
    struct timer_wheel *wheel = timer_wheel_create(5000);
    timer_wheel_handle(wheel, 0, note, &rings);
    alarm_init(&bell.alarm, 0);

    timer_wheel_arm(wheel, &bell.alarm, UINT64_MAX);
    (void)timer_wheel_advance(wheel, UINT64_C(1) << 50, 100);

    cr_assert_eq(rings, 0);
    cr_assert(alarm_armed(&bell.alarm));
    timer_wheel_disarm(wheel, &bell.alarm);
    cr_assert_eq(timer_wheel_next_ms(wheel), UINT64_MAX);
    timer_wheel_destroy(wheel);
}

Test(timer_wheel, keeps_to_its_budget)
{
    enum { COUNT = 1000 };
    struct bell        *bells = calloc(COUNT, sizeof(*bells));
    uint32_t            rings = 0;
    struct timer_wheel *wheel = timer_wheel_create(0);
    timer_wheel_handle(wheel, 0, note, &rings);
    for (uint32_t at = 0; at < COUNT; at++) {
        alarm_init(&bells[at].alarm, 0);
        timer_wheel_arm(wheel, &bells[at].alarm, 10000000);
    }

    uint32_t calls = 1;
    for (uint32_t before = 0; timer_wheel_advance(wheel, 10000000, 64) == 64; calls++) {
        cr_assert_leq(rings - before, 64);
        before = rings;
        cr_assert_leq(timer_wheel_next_ms(wheel), 10000000);
    }

    cr_assert_eq(rings, COUNT);
    cr_assert_leq(calls, 4 * COUNT / 64 + 2);
    timer_wheel_destroy(wheel);
    free(bells);
}

static struct timer_wheel *again_wheel;

static void again(struct alarm *alarm, void *context, uint64_t now_ms)
{
    ++*(uint32_t *)context;
    timer_wheel_arm(again_wheel, alarm, now_ms);
}

static void disarm_other(struct alarm *alarm, void *context, uint64_t now_ms)
{
    (void)alarm;
    (void)now_ms;
    timer_wheel_disarm(again_wheel, context);
}

Test(timer_wheel, rings_what_a_handler_arms_for_now_at_the_next_advance)
{
    uint32_t     rings = 0;
    struct alarm alarm;
    again_wheel = timer_wheel_create(0);
    timer_wheel_handle(again_wheel, 0, again, &rings);
    alarm_init(&alarm, 0);
    timer_wheel_arm(again_wheel, &alarm, 0);

    cr_assert_eq(timer_wheel_advance(again_wheel, 0, 10), 1);
    cr_assert_leq(timer_wheel_next_ms(again_wheel), 0);
    cr_assert_eq(timer_wheel_advance(again_wheel, 0, 10), 1);

    cr_assert_eq(rings, 2);
    timer_wheel_destroy(again_wheel);
}

Test(timer_wheel, lets_a_handler_disarm_what_is_due_with_it)
{
    struct alarm first;
    struct alarm second;
    again_wheel = timer_wheel_create(0);
    alarm_init(&first, 1);
    alarm_init(&second, 2);
    timer_wheel_handle(again_wheel, 1, disarm_other, &second);
    timer_wheel_arm(again_wheel, &first, 50);
    timer_wheel_arm(again_wheel, &second, 50);

    (void)timer_wheel_advance(again_wheel, 100, 10); /* kind 2 has no handler: it would assert */

    cr_assert_not(alarm_armed(&second));
    timer_wheel_disarm(again_wheel, &second);
    timer_wheel_destroy(again_wheel);
}
