/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * For the few small growing arrays whose loss would mean a lost message or effect: they grow with
 * the turn, not with what a peer sends, so running out here means that the machine is out of
 * memory, and the process ends with one sentence.
 */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((warn_unused_result)) static inline void *memory_need(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (memory == NULL) {
        (void)fprintf(stderr, "shardmq: out of memory: %zu bytes were needed to go on\n", size);
        abort();
    }
    return memory;
}
