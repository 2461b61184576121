/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/timer_wheel.h"

#include <assert.h>
#include <stdlib.h>

/*
 * An alarm that is due in fewer than 256^(n+1) ticks lies in level n, in the slot that the n-th
 * byte of its due tick names. When the wheel comes to the first tick of a slot of an upper level,
 * the slot's alarms move down. A bit for each slot that is not empty tells the next tick at which
 * anything happens, so the wheel jumps over idle time instead of stepping through it.
 */
#define LEVELS     4U
#define SLOT_BITS  8U
#define SLOTS      (1U << SLOT_BITS)
#define DELTA_MAX  ((UINT64_C(1) << (LEVELS * SLOT_BITS)) - 1)
#define DUE_MAX    ((UINT64_C(1) << 56) - 1) /* millions of years */
#define NO_TICK    UINT64_MAX
#define BITMAP_ROW (SLOTS / 64)

struct timer_wheel {
    uint64_t    tick;    /* everything up to it has been taken out of the slots */
    struct list ringing; /* due at `tick` or before */
    struct list moving;  /* of an upper slot that begins at `tick`: to be put again */
    uint64_t    occupied[LEVELS][BITMAP_ROW];
    struct list slots[LEVELS][SLOTS];
    struct {
        alarm_handler call;
        void         *context;
    } handlers[TIMER_KIND_COUNT];
};

struct timer_wheel *timer_wheel_create(uint64_t now_ms)
{
    struct timer_wheel *wheel = calloc(1, sizeof(*wheel));
    if (wheel == NULL)
        return NULL;
    wheel->tick = now_ms / TIMER_TICK_MS;
    list_init(&wheel->ringing);
    list_init(&wheel->moving);
    for (uint32_t level = 0; level < LEVELS; level++) {
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
    return wheel;
}

void timer_wheel_destroy(struct timer_wheel *wheel)
{
    free(wheel);
}

void timer_wheel_handle(struct timer_wheel *wheel, uint8_t kind, alarm_handler handler,
                        void *context)
{
    assert(kind < TIMER_KIND_COUNT);
    wheel->handlers[kind].call = handler;
    wheel->handlers[kind].context = context;
}

void alarm_init(struct alarm *alarm, uint8_t kind)
{
    assert(kind < TIMER_KIND_COUNT);
    list_init(&alarm->link);
    alarm->due = 0;
    alarm->kind = kind;
}

bool alarm_armed(const struct alarm *alarm)
{
    return !list_empty(&alarm->link);
}

/* Puts the alarm, which is in no list, where it belongs as seen from `wheel->tick`. */
static void place(struct timer_wheel *wheel, struct alarm *alarm)
{
    if (alarm->due <= wheel->tick) {
        list_append(&wheel->ringing, &alarm->link);
        return;
    }
    uint64_t delta = alarm->due - wheel->tick;
    if (delta > DELTA_MAX)
        delta = DELTA_MAX;

    uint32_t level = (uint32_t)(63 - __builtin_clzll(delta)) / SLOT_BITS;
    uint32_t slot = (uint32_t)((wheel->tick + delta) >> (level * SLOT_BITS)) % SLOTS;
    list_append(&wheel->slots[level][slot], &alarm->link);
    wheel->occupied[level][slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void mark_empty(struct timer_wheel *wheel, const struct list *slot)
{
    size_t at = (size_t)(slot - &wheel->slots[0][0]);
    wheel->occupied[at / SLOTS][at % SLOTS / 64] &= ~(UINT64_C(1) << (at % 64));
}

static bool is_slot(const struct timer_wheel *wheel, const struct list *link)
{
    uintptr_t first = (uintptr_t)&wheel->slots[0][0];
    return (uintptr_t)link - first < sizeof(wheel->slots);
}

void timer_wheel_disarm(struct timer_wheel *wheel, struct alarm *alarm)
{
    struct list *neighbour = alarm->link.next;
    list_remove(&alarm->link);
    if (list_empty(neighbour) && is_slot(wheel, neighbour))
        mark_empty(wheel, neighbour);
}

void timer_wheel_arm(struct timer_wheel *wheel, struct alarm *alarm, uint64_t due_ms)
{
    timer_wheel_disarm(wheel, alarm);
    uint64_t tick = due_ms / TIMER_TICK_MS + (due_ms % TIMER_TICK_MS != 0);
    alarm->due = (tick < DUE_MAX ? tick : DUE_MAX) & DUE_MAX;
    place(wheel, alarm);
}

/* How many slots after `slot` (1 to 256) the next occupied one of the level is; 0: none. */
static uint32_t distance_to_occupied(const uint64_t *occupied, uint32_t slot)
{
    for (uint32_t step = 1; step <= SLOTS;) {
        uint32_t at = (slot + step) % SLOTS;
        uint64_t rest = occupied[at / 64] >> (at % 64);
        if (rest != 0) {
            uint32_t distance = step + (uint32_t)__builtin_ctzll(rest);
            return distance <= SLOTS ? distance : 0;
        }
        step += 64 - at % 64;
    }
    return 0;
}

/* The first tick after `wheel->tick` at which a slot begins that is not empty. */
static uint64_t next_tick(const struct timer_wheel *wheel)
{
    uint64_t next = NO_TICK;
    for (uint32_t level = 0; level < LEVELS; level++) {
        uint64_t unit = wheel->tick >> (level * SLOT_BITS);
        uint32_t distance = distance_to_occupied(wheel->occupied[level], (uint32_t)(unit % SLOTS));
        if (distance == 0)
            continue;
        uint64_t tick = (unit + distance) << (level * SLOT_BITS);
        if (tick < next)
            next = tick;
    }
    return next;
}

/* Moves all of `from` to the end of `to`. */
static void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

/* Takes out the slots that begin at `tick`. */
static void enter_tick(struct timer_wheel *wheel, uint64_t tick)
{
    wheel->tick = tick;
    for (uint32_t level = 0; level < LEVELS; level++) {
        uint64_t below = (UINT64_C(1) << (level * SLOT_BITS)) - 1;
        if ((tick & below) != 0)
            break;
        struct list *slot = &wheel->slots[level][(tick >> (level * SLOT_BITS)) % SLOTS];
        list_splice(level == 0 ? &wheel->ringing : &wheel->moving, slot);
        mark_empty(wheel, slot);
    }
}

static uint32_t move_down(struct timer_wheel *wheel, uint32_t budget)
{
    uint32_t moved = 0;
    for (; moved < budget && !list_empty(&wheel->moving); moved++) {
        struct alarm *alarm = container_of(wheel->moving.next, struct alarm, link);
        list_remove(&alarm->link);
        place(wheel, alarm);
    }
    return moved;
}

static uint32_t ring(struct timer_wheel *wheel, struct list *due, uint64_t now_ms, uint32_t budget)
{
    uint32_t rung = 0;
    for (; rung < budget && !list_empty(due); rung++) {
        struct alarm *alarm = container_of(due->next, struct alarm, link);
        list_remove(&alarm->link);
        assert(wheel->handlers[alarm->kind].call != NULL);
        wheel->handlers[alarm->kind].call(alarm, wheel->handlers[alarm->kind].context, now_ms);
    }
    return rung;
}

uint32_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, uint32_t budget)
{
    uint64_t    target = now_ms / TIMER_TICK_MS;
    uint32_t    taken = 0;
    struct list due;
    list_init(&due);

    /* All that is due is collected before the first rings: what handlers arm for now waits. */
    for (;;) {
        taken += move_down(wheel, budget - taken);
        uint64_t tick = taken < budget ? next_tick(wheel) : NO_TICK;
        if (tick > target)
            break;
        enter_tick(wheel, tick);
    }
    if (taken < budget && wheel->tick < target)
        wheel->tick = target;

    list_splice(&due, &wheel->ringing);
    taken += ring(wheel, &due, now_ms, budget - taken);
    /* In front of what handlers have armed meanwhile. */
    list_splice(&due, &wheel->ringing);
    list_splice(&wheel->ringing, &due);
    return taken;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    if (!list_empty(&wheel->ringing) || !list_empty(&wheel->moving))
        return wheel->tick * TIMER_TICK_MS;
    uint64_t tick = next_tick(wheel);
    return tick != NO_TICK ? tick * TIMER_TICK_MS : UINT64_MAX;
}
