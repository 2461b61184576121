/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * A slot is its handle and the object; the generation is odd while the object is alive, even while
 * free, so that handles of a free slot match nothing. Free slots are reused last in, first out
 * (warm memory first).
 *
 * Slabs are whole pages: 512 slots of a multiple of 8 bytes. Asking for the alignment keeps the
 * allocator from adding a page of its own, and pages of a slab not used yet take no memory.
 */
#define SLAB_SLOTS 512U
#define SLAB_ALIGN 4096U
#define SLOT_ALIGN 8U
#define NO_SLOT    UINT32_MAX

_Static_assert((SLAB_SLOTS * SLOT_ALIGN) % SLAB_ALIGN == 0, "slabs are whole pages");

struct slot {
    struct handle head; /* while free, `slot` says which is free next */
    char          object[];
};

struct pool {
    char   **slabs; /* NULL where not needed yet */
    size_t   slot_size;
    size_t   object_size;
    uint32_t capacity;
    uint32_t count;
    uint32_t used;
    uint32_t free_first;
};

static struct slot *slot_at(const struct pool *pool, uint32_t slot)
{
    char *slab = pool->slabs[slot / SLAB_SLOTS];
    return (struct slot *)(void *)(slab + (size_t)(slot % SLAB_SLOTS) * pool->slot_size);
}

static bool alive(const struct slot *slot)
{
    return (slot->head.generation & 1) != 0;
}

struct pool *pool_create(size_t object_size, uint32_t capacity)
{
    assert(object_size > 0 && capacity > 0 && capacity < NO_SLOT);
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->slabs = calloc(capacity / SLAB_SLOTS + 1, sizeof(*pool->slabs));
    if (pool->slabs == NULL) {
        free(pool);
        return NULL;
    }
    pool->object_size = object_size;
    pool->slot_size =
        (sizeof(struct slot) + object_size + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
    pool->capacity = capacity;
    pool->free_first = NO_SLOT;
    return pool;
}

void pool_destroy(struct pool *pool)
{
    if (pool == NULL)
        return;
    for (uint32_t slab = 0; slab <= pool->capacity / SLAB_SLOTS; slab++)
        free(pool->slabs[slab]);
    free(pool->slabs);
    free(pool);
}

/* The number of a free slot, or NO_SLOT. */
static uint32_t slot_take(struct pool *pool)
{
    if (pool->free_first != NO_SLOT) {
        uint32_t slot = pool->free_first;
        pool->free_first = slot_at(pool, slot)->head.slot;
        return slot;
    }
    if (pool->used == pool->capacity)
        return NO_SLOT;

    char **slab = &pool->slabs[pool->used / SLAB_SLOTS];
    if (*slab == NULL) {
        *slab = aligned_alloc(SLAB_ALIGN, SLAB_SLOTS * pool->slot_size);
        if (*slab == NULL)
            return NO_SLOT;
    }
    slot_at(pool, pool->used)->head.generation = 0;
    return pool->used++;
}

void *pool_take(struct pool *pool, struct handle *handle)
{
    uint32_t number = slot_take(pool);
    if (number == NO_SLOT) {
        *handle = (struct handle){0};
        return NULL;
    }
    struct slot *slot = slot_at(pool, number);
    slot->head = (struct handle){.slot = number, .generation = slot->head.generation + 1};
    pool->count++;
    *handle = slot->head;
    return memset(slot->object, 0, pool->object_size);
}

void pool_give(struct pool *pool, struct handle handle)
{
    assert(pool_get(pool, handle) != NULL);
    struct slot *slot = slot_at(pool, handle.slot);
    slot->head.generation++;
    slot->head.slot = pool->free_first;
    pool->free_first = handle.slot;
    pool->count--;
}

void *pool_get(const struct pool *pool, struct handle handle)
{
    if (handle.slot >= pool->used)
        return NULL;
    struct slot *slot = slot_at(pool, handle.slot);
    return alive(slot) && slot->head.generation == handle.generation ? slot->object : NULL;
}

void *pool_at(const struct pool *pool, uint32_t number)
{
    if (number >= pool->used)
        return NULL;
    struct slot *slot = slot_at(pool, number);
    return alive(slot) ? slot->object : NULL;
}

uint32_t pool_count(const struct pool *pool)
{
    return pool->count;
}

uint32_t pool_slots_used(const struct pool *pool)
{
    return pool->used;
}
