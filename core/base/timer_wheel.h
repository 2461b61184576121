/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Hierarchical timer wheel, one a shard. Alarms are embedded in what they belong to; arming and
 * disarming cost a few stores, whatever their number. The wheel rounds up: an alarm may ring late
 * by a tick, never early. Time is an argument (milliseconds, monotonic), so hours are tested in
 * microseconds.
 *
 * Four levels of 256 slots; a tick is TIMER_TICK_MS. What is due beyond the last level waits in its
 * farthest slot and is looked at again.
 */

#include "core/base/list.h"

#include <stdint.h>

#define TIMER_TICK_MS 8U

struct timer_wheel;
struct alarm;

/* Rings with the alarm already disarmed: the handler may arm it again or free its owner. */
typedef void (*alarm_handler)(struct alarm *alarm, void *context, uint64_t now_ms);

struct alarm {
    struct list link;     /* points at itself while disarmed */
    uint64_t    due : 56; /* tick */
    uint64_t    kind : 8; /* which handler of the wheel rings */
};

#define TIMER_KIND_COUNT 16U

struct timer_wheel *timer_wheel_create(uint64_t now_ms);
void                timer_wheel_destroy(struct timer_wheel *wheel); /* alarms are left alone */

/* Handlers are registered once per kind: an alarm then needs no pointer of its own. */
void timer_wheel_handle(struct timer_wheel *wheel, uint8_t kind, alarm_handler handler,
                        void *context);

void alarm_init(struct alarm *alarm, uint8_t kind);
bool alarm_armed(const struct alarm *alarm);

/* (Re-)arms for `due_ms`; a moment in the past rings at the next advance. */
void timer_wheel_arm(struct timer_wheel *wheel, struct alarm *alarm, uint64_t due_ms);
void timer_wheel_disarm(struct timer_wheel *wheel, struct alarm *alarm); /* idempotent */

/*
 * Rings what is due at `now_ms`. Ringing one alarm, or moving one a level down, takes one from
 * `budget`; returns how much was taken. Less than budget: all that was due has rung.
 */
uint32_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, uint32_t budget);

/* When to call next, at the latest (never later than the earliest alarm); UINT64_MAX: no alarm. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);
