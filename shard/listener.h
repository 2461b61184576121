/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Listening sockets. On a TCP address each shard has its own (SO_REUSEPORT), so that the kernel
 * spreads new connections; a unix socket is one that all shards accept from. Opened and closed by
 * the main thread, before and after the shards run.
 */

#include "core/options/options.h"

#include <stddef.h>

struct listener {
    struct address address;     /* with the port that the kernel chose, where 0 was asked for */
    int           *descriptors; /* one for each shard; equal ones for a unix socket */
    uint16_t       count;
};

/* Negative errno, and why in one sentence; nothing stays open then. */
__attribute__((warn_unused_result)) int listener_open(struct listener               *listener,
                                                      const struct options_listener *options,
                                                      uint16_t shard_count, char *why,
                                                      size_t why_room);
void                                    listener_close(struct listener *listener);
