/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * All shards of the program: started together or not at all, stopped together. Called by the main
 * thread, which does nothing else but wait for signals.
 */

#include "core/options/options.h"

#include <stddef.h>
#include <stdio.h>

struct process;

/*
 * Returns when every shard takes connections. Negative errno, with one sentence in `why`, when
 * anything failed; nothing stays open then. `options` must outlive the process.
 */
__attribute__((warn_unused_result)) int
process_start(struct process **process, const struct options *options, char *why, size_t why_room);

/* Where it listens, how many shards, what of the kernel is used: one line. Returns `text`. */
char *process_describe(const struct process *process, char *text, size_t room);

/* The port of a TCP listener, also when the kernel chose it. */
uint16_t process_port(const struct process *process, uint16_t listener);

/* The most connections that all shards can hold. */
uint64_t process_links_max(const struct process *process);

/* Asks for the end; with `at_once`, clients and siblings are not waited for. */
void process_stop(struct process *process, bool at_once);
bool process_has_ended(struct process *process);

/* Waits until all shards have ended and frees everything. */
void process_finish(struct process *process);

/* Every shard's counts; waits up to two seconds for shards that are busy. */
void process_print_statistics(struct process *process, FILE *out);
