/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/pool.h"

#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

#include <signal.h>

#define CAPACITY 1000U

struct object {
    uint64_t number;
    char     rest[40];
};

Test(pool, gives_zeroed_objects_until_it_is_full)
{
    struct handle handles[CAPACITY];
    struct handle none;
    struct pool  *pool = pool_create(sizeof(struct object), CAPACITY);
    for (uint32_t at = 0; at < CAPACITY; at++) {
        struct object *object = pool_take(pool, &handles[at]);
        cr_assert_not_null(object);
        cr_assert_eq((uintptr_t)object % 8, 0);
        cr_assert(handle_equal(pool_handle_of(object), handles[at]));
        cr_assert_eq(object->number, 0);
        object->number = at + 1;
    }

    cr_assert_null(pool_take(pool, &none));
    cr_assert_eq(none.generation, 0);
    cr_assert_eq(pool_count(pool), CAPACITY);

    pool_give(pool, handles[500]);
    struct object *again = pool_take(pool, &none);
    cr_assert_eq(again->number, 0);
    cr_assert_eq(none.slot, handles[500].slot);
    cr_assert_not(handle_equal(none, handles[500]));
    cr_assert_null(pool_get(pool, handles[500]));
    cr_assert_eq(pool_get(pool, none), again);
    pool_destroy(pool);
}

Test(pool, knows_nobody_by_a_zero_or_foreign_handle)
{
    struct handle handle;
    struct pool  *pool = pool_create(sizeof(struct object), CAPACITY);
    cr_assert_null(pool_get(pool, (struct handle){0}));
    cr_assert_not_null(pool_take(pool, &handle));

    cr_assert_null(pool_get(pool, (struct handle){0}));
    cr_assert_null(pool_get(pool, (struct handle){.slot = handle.slot}));
    cr_assert_null(pool_get(pool, (struct handle){.slot = 7, .generation = 1}));
    cr_assert_null(pool_get(pool, (struct handle){.slot = UINT32_MAX, .generation = 1}));
    pool_give(pool, handle);
    cr_assert_null(pool_get(pool, handle));
    cr_assert_null(
        pool_get(pool, (struct handle){.slot = handle.slot, .generation = handle.generation + 1}));
    pool_destroy(pool);
}

Test(pool, giving_a_stale_handle_is_a_bug, .signal = SIGABRT)
{
    struct handle handle;
    struct pool  *pool = pool_create(sizeof(struct object), CAPACITY);
    cr_assert_not_null(pool_take(pool, &handle));
    pool_give(pool, handle);
    pool_give(pool, handle);
}

Test(pool, agrees_with_a_plain_array_while_objects_come_and_go)
{
    static struct handle handles[CAPACITY];
    static bool          alive[CAPACITY];
    struct random        random = {.state = 9};
    uint32_t             count = 0;
    struct pool         *pool = pool_create(sizeof(struct object), CAPACITY);

    for (uint32_t step = 0; step < 100000; step++) {
        uint32_t at = random_below(&random, CAPACITY);
        if (alive[at]) {
            struct object *object = pool_get(pool, handles[at]);
            cr_assert_eq(object->number, at);
            cr_assert_eq(pool_at(pool, handles[at].slot), object);
            pool_give(pool, handles[at]);
            cr_assert_null(pool_at(pool, handles[at].slot));
            count--;
        } else {
            cr_assert_null(pool_get(pool, handles[at]));
            struct object *object = pool_take(pool, &handles[at]);
            object->number = at;
            cr_assert(handle_equal(pool_handle_of(object), handles[at]));
            count++;
        }
        alive[at] = !alive[at];
        cr_assert_eq(pool_count(pool), count);
    }

    uint32_t walked = 0;
    for (uint32_t slot = 0; slot < pool_slots_used(pool); slot++)
        walked += pool_at(pool, slot) != NULL;
    cr_assert_eq(walked, count);
    pool_destroy(pool);
}
