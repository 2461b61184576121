/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * How many filters of this shard have the same interest key. The interest table knows keys, not
 * strings; only the steps 0 -> 1 and 1 -> 0 are announced, so a key shared by two filters stays
 * until the second is gone: a false negative is impossible. Open addressing, 16 bytes a slot, and
 * only where there is more than one shard.
 */

#include <stdbool.h>
#include <stdint.h>

struct interest_count {
    uint64_t key;
    uint32_t count; /* 0: free */
    uint16_t home;
    uint16_t unused;
};

struct interest_counts {
    struct interest_count *slots;
    uint64_t               capacity; /* power of two, 0 at first */
    uint64_t               used;
};

void interest_counts_fini(struct interest_counts *counts);

/* Counts one more; the new count. */
uint32_t interest_counts_add(struct interest_counts *counts, uint64_t key, uint16_t home);

/* Counts one less; what is left. The key must be there. */
uint32_t interest_counts_remove(struct interest_counts *counts, uint64_t key, uint16_t home);
