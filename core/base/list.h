/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Intrusive doubly linked ring. A node that is in no list points at itself, so that removal is
 * idempotent and needs no head.
 */

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
    node->next = node;
    node->previous = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_remove(struct list *node)
{
    node->next->previous = node->previous;
    node->previous->next = node->next;
    list_init(node);
}

/* Puts `node`, which is in no list, at the end of the ring that `head` stands for. */
static inline void list_append(struct list *head, struct list *node)
{
    node->next = head;
    node->previous = head->previous;
    head->previous->next = node;
    head->previous = node;
}

static inline struct list *list_first(const struct list *head)
{
    /* The analyzer loses a node that was removed through its neighbours and freed.
     * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    return list_empty(head) ? NULL : head->next;
}
