/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/delivery.h"

#include <assert.h>
#include <stdlib.h>

/* The list behind a packed word; its address is even, a single identifier is kept odd. */
struct identifier_list {
    uint32_t count;
    uint32_t identifiers[];
};

uint64_t identifiers_pack(const uint32_t *identifiers, uint32_t count, bool *failed)
{
    if (count == 0)
        return 0;
    if (count == 1)
        return (uint64_t)identifiers[0] << 1 | 1;

    struct identifier_list *list = malloc(sizeof(*list) + count * sizeof(*identifiers));
    if (list == NULL) {
        *failed = true;
        return 0;
    }
    list->count = count;
    memcpy(list->identifiers, identifiers, count * sizeof(*identifiers));
    return (uint64_t)(uintptr_t)list;
}

void identifiers_free(uint64_t packed)
{
    if ((packed & 1) == 0)
        free((void *)(uintptr_t)packed);
}

uint32_t identifiers_view(uint64_t packed, uint32_t *single, const uint32_t **identifiers)
{
    if (packed == 0)
        return 0;
    if ((packed & 1) != 0) {
        *single = (uint32_t)(packed >> 1);
        *identifiers = single;
        return 1;
    }
    const struct identifier_list *list = (const void *)(uintptr_t)packed;
    *identifiers = list->identifiers;
    return list->count;
}

void delivery_drop(struct delivery *delivery, struct outbox *outboxes)
{
    message_release(delivery->message, outboxes);
    identifiers_free(delivery->identifiers);
    *delivery = (struct delivery){0};
}

struct backlog *backlog_create(void)
{
    return calloc(1, sizeof(struct backlog));
}

static struct delivery *backlog_at(const struct backlog *backlog, uint32_t number)
{
    return &backlog->ring[number & (backlog->capacity - 1)];
}

void backlog_destroy(struct backlog *backlog, struct outbox *outboxes)
{
    for (; backlog->first != backlog->next; backlog->first++) {
        struct delivery *delivery = backlog_at(backlog, backlog->first);
        if (delivery->message != NULL)
            delivery_drop(delivery, outboxes);
    }
    free(backlog->ring);
    free(backlog);
}

static bool backlog_grow(struct backlog *backlog)
{
    uint32_t         capacity = backlog->capacity == 0 ? 8 : backlog->capacity * 2;
    struct delivery *ring = malloc(capacity * sizeof(*ring));
    if (ring == NULL)
        return false;

    /* Holes are left behind. */
    uint32_t kept = 0;
    for (uint32_t number = backlog->first; number != backlog->next; number++)
        if (backlog_at(backlog, number)->message != NULL)
            ring[kept++] = *backlog_at(backlog, number);
    free(backlog->ring);
    backlog->ring = ring;
    backlog->capacity = capacity;
    backlog->first = 0;
    backlog->next = kept;
    return true;
}

bool backlog_push(struct backlog *backlog, struct delivery delivery)
{
    if (backlog->next - backlog->first == backlog->capacity && !backlog_grow(backlog))
        return false;
    backlog->bytes += delivery_size(&delivery);
    backlog->count++;
    backlog->qos0_count += delivery.qos == 0;
    *backlog_at(backlog, backlog->next++) = delivery;
    return true;
}

struct delivery *backlog_front(struct backlog *backlog)
{
    return backlog->count == 0 ? NULL : backlog_at(backlog, backlog->first);
}

static struct delivery backlog_take(struct backlog *backlog, uint32_t number)
{
    struct delivery *slot = backlog_at(backlog, number);
    struct delivery  taken = *slot;

    assert(taken.message != NULL);
    backlog->bytes -= delivery_size(&taken);
    backlog->count--;
    backlog->qos0_count -= taken.qos == 0;
    slot->message = NULL;
    while (backlog->first != backlog->next && backlog_at(backlog, backlog->first)->message == NULL)
        backlog->first++;
    return taken;
}

struct delivery backlog_pop(struct backlog *backlog)
{
    assert(backlog->count > 0);
    return backlog_take(backlog, backlog->first);
}

bool backlog_take_qos0(struct backlog *backlog, struct delivery *delivery)
{
    if (backlog->qos0_count == 0)
        return false;
    uint32_t number = backlog->first;
    while (backlog_at(backlog, number)->message == NULL || backlog_at(backlog, number)->qos != 0)
        number++;
    *delivery = backlog_take(backlog, number);
    return true;
}
