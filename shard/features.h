/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What this kernel can do, found out by trying, not by its version: distributions backport, and
 * containers forbid. Linux 6.1 must do; what newer ones add is used when there.
 */

#include <stdbool.h>
#include <stddef.h>

#define FEATURES_TEXT_SIZE 192U

struct features {
    bool ring_wake;   /* MSG_RING reaches another ring; else siblings are woken by eventfd */
    bool send_file;   /* MSG_RING carries direct descriptors; else plain descriptors are used */
    bool min_wait;    /* 6.12: wait for many completions, but only so long */
    bool incremental; /* 6.12: one receive buffer serves many small receives */
    char release[64]; /* "6.1.0-28-amd64" */
};

/* Negative errno, with a sentence in `why`, when there is no usable io_uring at all. */
__attribute__((warn_unused_result)) int features_probe(struct features *features, char *why,
                                                       size_t why_room);

/* "min-wait, incremental buffers; without ..." Returns `text`. */
char *features_print(const struct features *features, char *text, size_t room);
