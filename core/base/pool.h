/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Fixed-size objects by number. Objects live in slabs that never move and are made when first
 * needed; a free slot keeps its generation, so a handle {slot, generation} of something gone is
 * detected and never dereferenced. Objects are aligned to 8 bytes. Single-threaded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handle {
    uint32_t slot;
    uint32_t generation; /* 0 is never given out: a zero handle is nobody */
};

static inline bool handle_equal(struct handle a, struct handle b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

struct pool;

/* `capacity` bounds the number of objects alive. NULL when out of memory. */
struct pool *pool_create(size_t object_size, uint32_t capacity);
void         pool_destroy(struct pool *pool); /* objects still alive go with it */

/* A zeroed object, or NULL when full or out of memory. */
void *pool_take(struct pool *pool, struct handle *handle);
void  pool_give(struct pool *pool, struct handle handle); /* asserts that the handle is alive */

/* The handle of an object alive: it stands in front of it, so objects need not keep their own. */
static inline struct handle pool_handle_of(const void *object)
{
    return ((const struct handle *)object)[-1];
}

/* The object, or NULL when the handle is stale. */
void *pool_get(const struct pool *pool, struct handle handle);

/* The object in use at `slot`, or NULL; for walks over all. */
void *pool_at(const struct pool *pool, uint32_t slot);

uint32_t pool_count(const struct pool *pool);      /* objects alive */
uint32_t pool_slots_used(const struct pool *pool); /* slots ever used: the bound of a walk */
