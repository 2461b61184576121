/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/interest_counts.h"

#include "core/base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COUNTS_CAPACITY_MIN 64U

void interest_counts_fini(struct interest_counts *counts)
{
    free(counts->slots);
    *counts = (struct interest_counts){0};
}

/* Keys are hashes already; one multiplication spreads those of small tests too. */
static uint64_t first_slot(const struct interest_counts *counts, uint64_t key, uint16_t home)
{
    return ((key ^ home) * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (counts->capacity - 1);
}

/* The slot of the key, or the free one where it would go. */
static struct interest_count *find_slot(const struct interest_counts *counts, uint64_t key,
                                        uint16_t home)
{
    uint64_t at = first_slot(counts, key, home);
    while (counts->slots[at].count != 0 &&
           (counts->slots[at].key != key || counts->slots[at].home != home))
        at = (at + 1) & (counts->capacity - 1);
    return &counts->slots[at];
}

static void grow(struct interest_counts *counts)
{
    struct interest_counts larger = {
        .capacity = counts->capacity == 0 ? COUNTS_CAPACITY_MIN : counts->capacity * 2,
        .used = counts->used,
    };
    larger.slots = memory_need(NULL, larger.capacity * sizeof(*larger.slots));
    memset(larger.slots, 0, larger.capacity * sizeof(*larger.slots));
    for (uint64_t at = 0; at < counts->capacity; at++)
        if (counts->slots[at].count != 0)
            *find_slot(&larger, counts->slots[at].key, counts->slots[at].home) = counts->slots[at];
    free(counts->slots);
    *counts = larger;
}

uint32_t interest_counts_add(struct interest_counts *counts, uint64_t key, uint16_t home)
{
    if (counts->used * 4 >= counts->capacity * 3)
        grow(counts);
    struct interest_count *slot = find_slot(counts, key, home);
    if (slot->count == 0) {
        *slot = (struct interest_count){.key = key, .home = home};
        counts->used++;
    }
    return ++slot->count;
}

/* Closes the gap: later slots of the same run move up, so no marker is left behind. */
static void close_gap(struct interest_counts *counts, uint64_t gap)
{
    uint64_t mask = counts->capacity - 1;
    for (uint64_t at = (gap + 1) & mask; counts->slots[at].count != 0; at = (at + 1) & mask) {
        uint64_t wanted = first_slot(counts, counts->slots[at].key, counts->slots[at].home);
        if (((at - wanted) & mask) < ((at - gap) & mask))
            continue; /* it stands between the gap and its place already */
        counts->slots[gap] = counts->slots[at];
        gap = at;
    }
    counts->slots[gap].count = 0;
}

uint32_t interest_counts_remove(struct interest_counts *counts, uint64_t key, uint16_t home)
{
    struct interest_count *slot = find_slot(counts, key, home);
    assert(slot->count > 0);
    uint32_t left = --slot->count;
    if (left == 0) {
        close_gap(counts, (uint64_t)(slot - counts->slots));
        counts->used--;
    }
    return left;
}
