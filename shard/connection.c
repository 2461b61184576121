/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SLAB_SLOTS (1U << CONNECTIONS_SLAB_SHIFT)
#define SLAB_ALIGN 4096U /* whole pages: the allocator adds none of its own */

int connections_init(struct connections *connections, uint32_t links_max)
{
    uint32_t slabs_max = (links_max + SLAB_SLOTS - 1) / SLAB_SLOTS;
    *connections = (struct connections){.slabs_max = slabs_max};
    /* An array of pointers: NOLINTNEXTLINE(bugprone-sizeof-expression) */
    connections->slabs = calloc(slabs_max, sizeof(*connections->slabs));
    return connections->slabs != NULL ? 0 : -ENOMEM;
}

void connections_fini(struct connections *connections)
{
    for (uint32_t slab = 0; slab < connections->slab_count; slab++)
        free(connections->slabs[slab]);
    free(connections->slabs);
    *connections = (struct connections){0};
}

int connections_reserve(struct connections *connections, uint32_t slot)
{
    assert(slot >> CONNECTIONS_SLAB_SHIFT < connections->slabs_max);

    while (connections->slab_count <= slot >> CONNECTIONS_SLAB_SHIFT) {
        struct connection *slab = aligned_alloc(SLAB_ALIGN, SLAB_SLOTS * sizeof(*slab));
        if (slab == NULL)
            return -ENOMEM;
        for (uint32_t i = 0; i < SLAB_SLOTS; i++)
            slab[i] = (struct connection){.timed_index = NOT_TIMED};
        connections->slabs[connections->slab_count++] = slab;
    }
    return 0;
}

uint32_t connections_slots(const struct connections *connections)
{
    return connections->slab_count << CONNECTIONS_SLAB_SHIFT;
}

struct connection *connections_get(const struct connections *connections, struct handle link)
{
    if (link.slot >= connections_slots(connections))
        return NULL;
    struct connection *connection = connections_at(connections, link.slot);
    return connection->life != LIFE_FREE && connection->generation == link.generation ? connection
                                                                                      : NULL;
}

int slot_list_init(struct slot_list *list, uint32_t capacity)
{
    *list = (struct slot_list){.capacity = capacity};
    list->slots = malloc(capacity * sizeof(*list->slots));
    return list->slots != NULL ? 0 : -ENOMEM;
}

void slot_list_push(struct slot_list *list, uint32_t slot)
{
    assert(list->count < list->capacity);
    list->slots[list->count++] = slot;
}

void slot_list_fini(struct slot_list *list)
{
    free(list->slots);
    *list = (struct slot_list){0};
}
